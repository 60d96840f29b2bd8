//! What holds for the SQLite store alone: files, other writers, damage.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mneme::store::cancel::Cancel;
use mneme::store::{Entry, ImportMode, SqliteStore, Store, StoreError, Touch};
use rusqlite::Connection;

use super::place::{Place, by_id, open, place, version};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, key, put};

mneme_tests::tests![
    #[cfg(unix)]
    files_are_for_their_owner_alone,
    temporary_files_do_not_outlive_the_store,
    the_tables_are_those_of_the_shared_layout,
    an_empty_file_becomes_a_cache,
    what_is_no_database_is_refused_untouched,
    a_truncated_file_is_refused_untouched,
    a_newer_schema_is_refused,
    a_foreign_database_is_refused_untouched,
    tables_without_meta_are_completed_while_empty,
    paths_that_cannot_be_are_refused,
    handles_on_one_file_see_each_other,
    a_lock_held_too_long_is_retryable,
    a_locked_file_is_waited_for_once_and_not_one_after_the_other,
    a_wait_that_was_given_up_makes_nobody_impatient,
    many_writers_never_see_a_lock,
    fractions_of_others_are_cut_off,
    a_number_out_of_range_is_refused,
    a_number_out_of_range_in_a_file_is_damage,
    a_last_id_out_of_range_is_damage,
    damaged_rows_are_named,
    #[cfg(unix)]
    damaged_pages_fail_the_integrity_check,
    the_greatest_numbers_are_no_trap,
    metadata_that_only_python_calls_json_are_kept,
];

fn refusal(path: &Path) -> StoreError {
    let mut store = SqliteStore::new(path);
    let error = store.open(FINGERPRINT, DIM).unwrap_err();
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    error
}

/// Fails unless the text of the error names the path and the other parts.
#[track_caller]
fn says(error: &StoreError, path: &Path, parts: &[&str]) {
    let text = format!("{error:?}");
    assert!(text.contains(&path.display().to_string()), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text} lacks {part}");
    }
}

#[cfg(unix)]
fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    store.begin_snapshot().unwrap();
    let mut files = 0;
    for file in fs::read_dir(place.dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        files += 1;
    }
    assert_eq!(files, 4, "database, log, shared memory, snapshot");
}

fn temporary_files_do_not_outlive_the_store() {
    let place = place();
    let mut store = open(&place.path);
    store.begin_snapshot().unwrap();
    store.begin_restore().unwrap();
    store.close().unwrap();
    let mut store = open(&place.path);
    store.begin_snapshot().unwrap();
    store.begin_snapshot().unwrap();
    drop(store);
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
}

fn the_tables_are_those_of_the_shared_layout() {
    let place = place();
    open(&place.path).close().unwrap();
    let conn = Connection::open(&place.path).unwrap();
    let columns = |table: &str| -> Vec<(String, String, bool)> {
        let mut query = conn
            .prepare("SELECT name, type, \"notnull\" FROM pragma_table_info(?1)")
            .unwrap();
        let rows = query.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().map(Result::unwrap).collect()
    };
    let expected = |list: &[(&str, &str, bool)]| -> Vec<(String, String, bool)> {
        list.iter()
            .map(|(n, t, c)| ((*n).to_owned(), (*t).to_owned(), *c))
            .collect()
    };
    let entries = expected(&[
        ("id", "INTEGER", false),
        ("namespace", "TEXT", true),
        ("query_hash", "TEXT", true),
        ("query", "TEXT", true),
        ("response", "TEXT", true),
        ("embedding", "BLOB", true),
        ("metadata", "TEXT", true),
        ("created_at", "INTEGER", true),
        ("last_accessed_at", "INTEGER", true),
        ("ttl", "INTEGER", false),
        ("access_count", "INTEGER", true),
        ("context", "TEXT", true),
        ("tags", "TEXT", true),
    ]);
    assert_eq!(columns("entries"), entries);
    let tags = expected(&[("tag", "TEXT", true), ("id", "INTEGER", true)]);
    assert_eq!(columns("entry_tags"), tags);
    let pairs = expected(&[("key", "TEXT", false), ("value", "TEXT", true)]);
    assert_eq!(columns("schema_meta"), pairs);
    assert_eq!(columns("multi_process_state"), pairs);
    assert_eq!(columns("namespace_quotas").len(), 2);
    assert_eq!(columns("cache_counters").len(), 3);
    let meta = |key: &str| -> String {
        let sql = "SELECT value FROM schema_meta WHERE key = ?1";
        conn.query_row(sql, [key], |row| row.get(0)).unwrap()
    };
    assert_eq!(meta("schema_version"), "1");
    assert_eq!(meta("embedder_fingerprint"), FINGERPRINT);
    assert_eq!(meta("embedder_dim"), "3");
    let sql =
        "SELECT typeof(value) || value FROM multi_process_state WHERE key = 'version_counter'";
    let counter: String = conn.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(counter, "text0");
    let mode: String = conn
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
}

fn an_empty_file_becomes_a_cache() {
    let place = place();
    fs::write(&place.path, b"").unwrap();
    put(&mut open(&place.path), entry("a", 1));
    assert_eq!(open(&place.path).count(None).unwrap(), 1);
}

fn what_is_no_database_is_refused_untouched() {
    let place = place();
    for content in [b"no database".to_vec(), vec![0x55; 100_000]] {
        fs::write(&place.path, &content).unwrap();
        let error = refusal(&place.path);
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        says(&error, &place.path, &["not a database", "path"]);
        assert_eq!(fs::read(&place.path).unwrap(), content);
        assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 1);
    }
}

fn a_truncated_file_is_refused_untouched() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..500).map(|n| entry("a", n)).collect())
        .unwrap();
    store.close().unwrap();
    let whole = fs::read(&place.path).unwrap();
    for length in [4096 * 3, 4096 + 100, 500, 50] {
        fs::write(&place.path, &whole[..length]).unwrap();
        let error = refusal(&place.path);
        assert!(
            matches!(error, StoreError::Corrupt(_)),
            "{length}: {error:?}"
        );
        says(&error, &place.path, &["move the file away"]);
        assert_eq!(fs::read(&place.path).unwrap().len(), length);
    }
}

fn a_newer_schema_is_refused() {
    let place = place();
    open(&place.path).close().unwrap();
    let set = |version: &str| {
        let conn = Connection::open(&place.path).unwrap();
        let sql = "UPDATE schema_meta SET value = ?1 WHERE key = 'schema_version'";
        conn.execute(sql, [version]).unwrap();
    };
    for version in ["2", "0", "x"] {
        set(version);
        let error = refusal(&place.path);
        assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
        says(&error, &place.path, &["schema_version", version]);
    }
    set("1");
    open(&place.path);
}

fn a_foreign_database_is_refused_untouched() {
    for journal in ["DELETE", "WAL"] {
        for foreign in [
            "CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (1)",
            "CREATE TABLE schema_meta (version INTEGER); INSERT INTO schema_meta VALUES (3)",
            "CREATE TABLE entries (title TEXT); CREATE TABLE notes (text TEXT)",
        ] {
            let place = place();
            let conn = Connection::open(&place.path).unwrap();
            let sql = format!("PRAGMA journal_mode = {journal}; {foreign};");
            conn.execute_batch(&sql).unwrap();
            drop(conn);
            let before = fs::read(&place.path).unwrap();
            let error = refusal(&place.path);
            assert!(matches!(error, StoreError::Schema(_)), "{error:?}");
            says(&error, &place.path, &["another path"]);
            assert_eq!(fs::read(&place.path).unwrap(), before);
        }
    }
}

fn tables_without_meta_are_completed_while_empty() {
    let place = place();
    open(&place.path).close().unwrap();
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch(
        "DELETE FROM schema_meta; DROP INDEX idx_entries_id; DROP TABLE namespace_quotas;",
    )
    .unwrap();
    drop(conn);
    put(&mut open(&place.path), entry("a", 1));
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch("DELETE FROM schema_meta").unwrap();
    drop(conn);
    let error = refusal(&place.path);
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    says(&error, &place.path, &["schema_meta", "schema_version"]);
}

fn paths_that_cannot_be_are_refused() {
    let place = place();
    let missing = place.dir.path().join("missing/cache.db");
    says(
        &refusal(&missing),
        &missing,
        &["directory", "retryable: false"],
    );
    says(&refusal(place.dir.path()), place.dir.path(), &["directory"]);
    assert!(matches!(
        refusal(Path::new(":memory:")),
        StoreError::InvalidArgument(_)
    ));
    assert!(matches!(
        refusal(Path::new("")),
        StoreError::InvalidArgument(_)
    ));
    assert!(matches!(
        refusal(Path::new("file:t.db")),
        StoreError::InvalidArgument(_)
    ));
    assert!(!Path::new("file:t.db").exists());
}

fn handles_on_one_file_see_each_other() {
    let place = place();
    let (mut one, mut two) = (open(&place.path), open(&place.path));
    let id = put(&mut one, entry("a", 1));
    assert_eq!(by_id(&mut two, id).unwrap().response, "response 1");
    assert_eq!(version(&mut two), 1);
    assert!(two.delete_by_id(id).unwrap());
    assert_eq!(by_id(&mut one, id), None);
    assert_eq!(version(&mut one), 2);
    assert!(put(&mut one, entry("a", 1)) > id);
}

/// A store that waits so long, on a file that another connection has locked for writing.
fn locked(timeout: Duration) -> (Place, SqliteStore, Connection) {
    let place = place();
    let mut store = SqliteStore::new(&place.path).busy_timeout(timeout);
    store.open(FINGERPRINT, DIM).unwrap();
    let other = Connection::open(&place.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    (place, store, other)
}

fn a_lock_held_too_long_is_retryable() {
    let (place, mut store, other) = locked(Duration::ZERO);
    let error = store.insert(vec![entry("a", 1)]).unwrap_err();
    says(&error, &place.path, &["locked", "retryable: true"]);
    assert_eq!(store.count(None).unwrap(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(put(&mut store, entry("a", 1)), 1);
}

fn a_locked_file_is_waited_for_once_and_not_one_after_the_other() {
    let timeout = Duration::from_millis(500);
    let (_place, mut store, other) = locked(timeout);
    let start = Instant::now();
    store.insert(vec![entry("a", 1)]).unwrap_err();
    assert!(start.elapsed() >= timeout);
    let start = Instant::now();
    for n in 0..20 {
        store.insert(vec![entry("a", n)]).unwrap_err();
        assert_eq!(store.count(None).unwrap(), 0);
    }
    assert!(start.elapsed() < 10 * timeout, "{:?}", start.elapsed());
    other.execute_batch("ROLLBACK").unwrap();
    put(&mut store, entry("a", 1));
    // It is patient again.
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    store.insert(vec![entry("a", 2)]).unwrap_err();
    assert!(start.elapsed() >= timeout);
}

fn a_wait_that_was_given_up_makes_nobody_impatient() {
    let timeout = Duration::from_millis(500);
    let (place, mut store, _other) = locked(timeout);
    let given_up = Cancel::default();
    given_up.cancel();
    let error = given_up.during(|| store.insert(vec![entry("a", 1)]));
    says(
        &error.unwrap_err(),
        &place.path,
        &["was given up", "retryable: false"],
    );
    let start = Instant::now();
    store.insert(vec![entry("a", 2)]).unwrap_err();
    assert!(start.elapsed() >= timeout, "{:?}", start.elapsed());
}

fn many_writers_never_see_a_lock() {
    let place = place();
    let rounds = 40;
    // Opening a new file at one moment is part of the test.
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &place.path;
            scope.spawn(move || {
                let mut store = open(path);
                for n in 0..rounds {
                    let list = (0..20).map(|k| entry("a", thread * 10_000 + n * 20 + k));
                    store.insert(list.collect()).unwrap();
                    put(&mut store, entry("shared", n));
                    store.count(None).unwrap();
                    store.replace_meta("k", Some("no"), Some("v")).unwrap();
                }
                store.close().unwrap();
            });
        }
    });
    let mut store = open(&place.path);
    assert_eq!(store.count(Some("a")).unwrap(), 4 * rounds * 20);
    assert_eq!(store.count(Some("shared")).unwrap(), rounds);
    assert_eq!(version(&mut store), 4 * rounds * 2);
    assert!(store.integrity_check().unwrap());
}

fn fractions_of_others_are_cut_off() {
    let place = place();
    let mut store = open(&place.path);
    store.insert(vec![entry("a", 1)]).unwrap();
    // mneme-cache stores any TTL that it is given.
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch("UPDATE entries SET ttl = 1.5, created_at = 100")
        .unwrap();
    assert_eq!(store.iter_since(0, 9).unwrap()[0].ttl, Some(1));
    assert!(store.integrity_check().unwrap());
    assert!(store.delete_expired(100, None, 9).unwrap().is_empty());
    let gone = store.delete_expired(101, None, 9).unwrap();
    assert_eq!(gone.iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
}

const GREATEST: u64 = (1 << 53) - 1;

type Set = fn(&mut Entry, u64);

/// Every number of an entry, and how it is set.
const NUMBERS: [(&str, Set); 4] = [
    ("created_at", |entry, n| entry.created_at = n),
    ("last_accessed_at", |entry, n| entry.last_accessed_at = n),
    ("ttl", |entry, n| entry.ttl = Some(n)),
    ("access_count", |entry, n| entry.access_count = n),
];

fn a_number_out_of_range_is_refused() {
    let place = place();
    let mut store = open(&place.path);
    for wrong in [GREATEST + 1, i64::MAX as u64, 1 << 63, u64::MAX] {
        for (column, set) in NUMBERS {
            let mut given = entry("a", 1);
            set(&mut given, wrong);
            for outcome in [
                store.insert(vec![entry("a", 2), given.clone()]).map(drop),
                store
                    .begin_import(ImportMode::Merge)
                    .and_then(|()| store.write_import(vec![given])),
            ] {
                assert!(
                    matches!(&outcome, Err(StoreError::InvalidArgument(what)) if what.contains(column)),
                    "{column} {wrong}: {outcome:?}"
                );
            }
        }
        let touch = Touch {
            id: 1,
            hits: 1,
            last_accessed_at: wrong,
        };
        store.begin_import(ImportMode::Merge).unwrap();
        for outcome in [
            store.set_namespace_quota("a", Some(wrong)),
            store.update_access(&[touch]),
            store
                .commit_import(&[("a".to_owned(), wrong)], &[])
                .map(drop),
        ] {
            assert!(
                matches!(&outcome, Err(StoreError::InvalidArgument(_))),
                "{wrong}: {outcome:?}"
            );
        }
    }
    assert_eq!((store.count(None).unwrap(), version(&mut store)), (0, 0));
    assert!(store.list_namespace_quotas().unwrap().is_empty());
}

fn a_number_out_of_range_in_a_file_is_damage() {
    for wrong in [
        "-1",
        "9007199254740992",
        "9223372036854775807",
        "1e300",
        "-0.5",
    ] {
        for (column, _) in NUMBERS {
            let place = place();
            let mut store = open(&place.path);
            store
                .insert(vec![entry("a", 1), entry("a", 2), entry("a", 3)])
                .unwrap();
            let conn = Connection::open(&place.path).unwrap();
            conn.execute_batch(&format!(
                "UPDATE entries SET ttl = 5, created_at = 5 WHERE id > 1;
                 UPDATE entries SET {column} = {wrong} WHERE id = 2"
            ))
            .unwrap();
            let error = store.get_by_ids(&[2], true).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
            says(
                &error,
                &place.path,
                &["table entries", column, "id 2", "9007199254740991"],
            );
            assert!(!store.integrity_check().unwrap(), "{column} {wrong}");
            // It keeps nothing else from expiring.
            let gone = store.delete_expired(GREATEST, None, 9).unwrap();
            let gone: Vec<_> = gone.iter().map(|one| one.id).collect();
            let unread = column == "created_at" || column == "ttl";
            assert_eq!(gone, if unread { vec![3] } else { vec![2, 3] });
        }
    }
}

fn a_last_id_out_of_range_is_damage() {
    for wrong in [
        "9223372036854775807",
        "9007199254740992",
        "-1",
        "'x'",
        "NULL",
    ] {
        let place = place();
        let mut store = open(&place.path);
        put(&mut store, entry("a", 1));
        let conn = Connection::open(&place.path).unwrap();
        let set = |value: &str| {
            conn.execute_batch(&format!("UPDATE sqlite_sequence SET seq = {value}"))
                .unwrap();
        };
        set(wrong);
        let parts = [
            "table sqlite_sequence",
            "column seq",
            "UPDATE sqlite_sequence",
        ];
        if wrong.starts_with('9') {
            // Under an open handle too, and not as a full disk.
            let error = store.insert(vec![entry("a", 2)]).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
            says(&error, &place.path, &parts);
        }
        let error = refusal(&place.path);
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        says(&error, &place.path, &parts);
        assert!(!store.integrity_check().unwrap());
        // The remedy.
        set("(SELECT ifnull(max(id), 0) FROM entries)");
        assert_eq!(put(&mut open(&place.path), entry("a", 2)), 2);
    }
}

fn damaged_rows_are_named() {
    for (damage, column) in [
        ("embedding = x'0102'", "embedding"),
        ("embedding = 'text'", "embedding"),
        ("query = CAST(x'ff' AS TEXT)", "query"),
        ("response = x'00'", "response"),
        ("created_at = 'soon'", "created_at"),
        ("ttl = x'01'", "ttl"),
    ] {
        let place = place();
        let mut store = open(&place.path);
        store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
        let conn = Connection::open(&place.path).unwrap();
        conn.execute_batch(&format!("UPDATE entries SET {damage} WHERE id = 2"))
            .unwrap();
        let error = store.get_by_hash(&[key("a", 2)], true).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        says(
            &error,
            &place.path,
            &["entries", column, "id 2", "checkpoint"],
        );
        assert_eq!(store.get_by_ids(&[1], true).unwrap().len(), 1);
        assert!(!store.integrity_check().unwrap(), "{damage}");
        assert!(store.delete_by_id(2).unwrap());
        assert!(store.integrity_check().unwrap());
    }
}

#[cfg(unix)]
fn damaged_pages_fail_the_integrity_check() {
    use std::os::unix::fs::FileExt;
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..900).map(|n| entry("a", n)).collect())
        .unwrap();
    store.close().unwrap();
    let mut store = open(&place.path);
    // Closing this descriptor would drop the locks that the store holds on the file.
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&place.path)
        .unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    for page in 3..pages {
        file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    assert!(!store.integrity_check().unwrap());
    assert!(store.iter_since(0, 1_000).is_err());
    std::mem::forget(file);
}

fn the_greatest_numbers_are_no_trap() {
    let place = place();
    let mut store = open(&place.path);
    let list = vec![
        Entry {
            created_at: GREATEST,
            ttl: Some(GREATEST),
            ..entry("a", 1)
        },
        Entry {
            created_at: 1,
            ttl: Some(GREATEST),
            last_accessed_at: GREATEST,
            access_count: GREATEST,
            ..entry("a", 2)
        },
    ];
    store.insert(list).unwrap();
    let touch = Touch {
        id: 2,
        hits: u32::MAX,
        last_accessed_at: GREATEST,
    };
    store.update_access(&[touch]).unwrap();
    assert!(store.delete_expired(GREATEST, None, 9).unwrap().is_empty());
    let read = get(&mut store, "a", 2).unwrap();
    assert_eq!(read.access_count, GREATEST);
    assert_eq!(
        (read.ttl, read.last_accessed_at),
        (Some(GREATEST), GREATEST)
    );
    assert_eq!(store.delete_expired(u64::MAX, None, 9).unwrap().len(), 2);
}

fn metadata_that_only_python_calls_json_are_kept() {
    let place = place();
    let mut store = open(&place.path);
    let metadata = r#"{"a":[1,NaN]}"#;
    let given = Entry {
        metadata: metadata.to_owned(),
        ..entry("a", 1)
    };
    put(&mut store, given);
    assert_eq!(get(&mut store, "a", 1).unwrap().metadata, metadata);
}
