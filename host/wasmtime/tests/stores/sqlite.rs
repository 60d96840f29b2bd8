//! What holds for the SQLite store alone: files, processes, snapshots.

use std::fs;
use std::path::{Path, PathBuf};

use mneme::store::{Entry, SqliteStore, Store, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;

use super::support::*;

struct Place {
    dir: TempDir,
    path: PathBuf,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache.db");
    Place { dir, path }
}

fn open(path: &Path) -> SqliteStore {
    let mut store = SqliteStore::new(path);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

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

fn snapshot(store: &mut SqliteStore) -> Vec<u8> {
    let size = store.begin_snapshot().unwrap();
    let mut bytes = Vec::new();
    loop {
        let chunk = store.read_snapshot(1_000).unwrap();
        assert!(chunk.len() <= 1_000);
        if chunk.is_empty() {
            break;
        }
        bytes.extend(chunk);
    }
    store.end_snapshot().unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

fn restore(store: &mut SqliteStore, bytes: &[u8]) -> Result<(), StoreError> {
    store.begin_restore()?;
    for chunk in bytes.chunks(777) {
        store.write_restore(chunk)?;
    }
    store.commit_restore()
}

#[cfg(unix)]
#[test]
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

#[test]
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

#[test]
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
    ]);
    assert_eq!(columns("entries"), entries);
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

#[test]
fn an_empty_file_becomes_a_cache() {
    let place = place();
    fs::write(&place.path, b"").unwrap();
    put(&mut open(&place.path), entry("a", 1));
    assert_eq!(open(&place.path).count(None).unwrap(), 1);
}

#[test]
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

#[test]
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

#[test]
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

#[test]
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

#[test]
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

#[test]
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
}

#[test]
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

#[test]
fn a_lock_held_too_long_is_retryable() {
    let place = place();
    let mut store = SqliteStore::new(&place.path).busy_timeout(std::time::Duration::ZERO);
    store.open(FINGERPRINT, DIM).unwrap();
    let other = Connection::open(&place.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.insert(vec![entry("a", 1)]).unwrap_err();
    says(&error, &place.path, &["locked", "retryable: true"]);
    assert_eq!(store.count(None).unwrap(), 0);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(put(&mut store, entry("a", 1)), 1);
}

#[test]
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
                    store.replace_meta("k", Some("no"), "v").unwrap();
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

#[test]
fn foreign_numbers_and_rows_are_tolerated() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((1..=4).map(|n| entry("a", n)).collect())
        .unwrap();
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch(
        "UPDATE entries SET ttl = -5, created_at = -7 WHERE id = 1;
         UPDATE entries SET ttl = 1.5, created_at = 100 WHERE id = 2;
         UPDATE entries SET access_count = -1, last_accessed_at = -9223372036854775808 WHERE id = 3;
         UPDATE entries SET ttl = 1e300 WHERE id = 4;",
    )
    .unwrap();
    let read = store.iter_since(0, 9).unwrap();
    assert_eq!((read[0].ttl, read[0].created_at), (Some(0), 0));
    assert_eq!(read[1].ttl, Some(1));
    assert_eq!((read[2].access_count, read[2].last_accessed_at), (0, 0));
    let gone = store.delete_expired(100, None, 9).unwrap();
    assert_eq!(gone.iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
    let gone = store.delete_expired(101, None, 9).unwrap();
    assert_eq!(gone.iter().map(|one| one.id).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_number_beyond_sqlite_is_refused() {
    let place = place();
    let mut store = open(&place.path);
    for wrong in [
        Entry {
            ttl: Some(u64::MAX),
            ..entry("a", 1)
        },
        Entry {
            created_at: 1 << 63,
            ..entry("a", 1)
        },
        Entry {
            last_accessed_at: u64::MAX,
            ..entry("a", 1)
        },
        Entry {
            access_count: u64::MAX,
            ..entry("a", 1)
        },
    ] {
        let outcome = store.insert(vec![entry("a", 2), wrong]);
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
    let outcome = store.set_namespace_quota("a", Some(u64::MAX));
    assert!(matches!(outcome, Err(StoreError::InvalidArgument(_))));
    assert_eq!((store.count(None).unwrap(), version(&mut store)), (0, 0));
}

#[test]
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
        let error = store.get_by_hash(&[key("a", &hash(2))]).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        says(
            &error,
            &place.path,
            &["entries", column, "id 2", "checkpoint"],
        );
        assert_eq!(store.get_by_ids(&[1]).unwrap().len(), 1);
        assert_eq!(store.integrity_check().unwrap(), column != "embedding");
        assert!(store.delete_by_id(2).unwrap());
        assert!(store.integrity_check().unwrap());
    }
}

#[test]
fn damaged_pages_fail_the_integrity_check() {
    use std::os::unix::fs::FileExt;
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..900).map(|n| entry("a", n)).collect())
        .unwrap();
    store.close().unwrap();
    let mut store = open(&place.path);
    // Not through the store's own process-wide locks: overwritten in place, never closed.
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

#[test]
fn a_snapshot_round_trip_brings_everything_back() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..50).map(|n| entry("a", n)).collect())
        .unwrap();
    store.set_namespace_quota("a", Some(9)).unwrap();
    store.replace_meta("k", None, "v").unwrap();
    let before = store.iter_since(0, 100).unwrap();
    let bytes = snapshot(&mut store);

    let mut other = open(&place.path);
    store.clear_namespace(None).unwrap();
    let late = put(&mut store, entry("b", 1));
    store.set_namespace_quota("a", None).unwrap();
    let counter = version(&mut store);
    assert_eq!(other.count(None).unwrap(), 1);

    restore(&mut store, &bytes).unwrap();
    for handle in [&mut store, &mut other] {
        assert_eq!(handle.iter_since(0, 100).unwrap(), before);
        assert_eq!(handle.get_namespace_quota("a").unwrap(), Some(9));
        assert_eq!(handle.read_meta("k").unwrap().as_deref(), Some("v"));
        assert!(version(handle) > counter);
        assert!(handle.integrity_check().unwrap());
    }
    assert!(
        put(&mut other, entry("c", 1)) > late,
        "an id was given twice"
    );
    drop((store, other));
    assert_eq!(open(&place.path).count(None).unwrap(), 51);
}

#[test]
fn a_snapshot_is_one_picture_while_others_write() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    store
        .insert((0..200).map(|n| entry("a", n)).collect())
        .unwrap();
    store.begin_snapshot().unwrap();
    let mut bytes = Vec::new();
    for n in 0.. {
        let chunk = store.read_snapshot(4_096).unwrap();
        if chunk.is_empty() {
            break;
        }
        bytes.extend(chunk);
        put(&mut other, entry("b", n));
    }
    let target = self::place();
    let mut target_store = open(&target.path);
    restore(&mut target_store, &bytes).unwrap();
    assert_eq!(target_store.count(None).unwrap(), 200);
    assert!(target_store.integrity_check().unwrap());
}

#[test]
fn a_restore_beside_writers_loses_no_counter_step() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..200).map(|n| entry("a", n)).collect())
        .unwrap();
    let bytes = snapshot(&mut store);
    std::thread::scope(|scope| {
        let path = &place.path;
        scope.spawn(move || {
            let mut other = open(path);
            let (mut last, mut last_id) = (0, 0);
            for n in 0..300 {
                let id = put(&mut other, entry("b", 100_000 + n));
                let now = version(&mut other);
                assert!(now > last, "the counter went back");
                assert!(id > last_id, "an id was given twice");
                (last, last_id) = (now, id);
            }
        });
        for _ in 0..5 {
            restore(&mut store, &bytes).unwrap();
        }
    });
    assert!(store.integrity_check().unwrap());
}

#[test]
fn unfit_snapshots_leave_the_data_as_it_is() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..300).map(|n| entry("a", n)).collect())
        .unwrap();
    let good = snapshot(&mut store);
    let before = (store.iter_since(0, 1_000).unwrap(), version(&mut store));

    let altered = |sql: &str| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("altered.db");
        fs::write(&path, &good).unwrap();
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        fs::read(&path).unwrap()
    };
    let mut torn = good.clone();
    let middle = good.len() / 8192 * 4096;
    torn[middle..middle + 4096].fill(0xFF);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Corrupt", Vec::new()),
        ("Corrupt", b"garbage".to_vec()),
        ("Corrupt", vec![0; 50_000]),
        ("Corrupt", good[..good.len() - 4096].to_vec()),
        ("Corrupt", torn),
        (
            "Corrupt",
            altered("UPDATE entries SET embedding = x'00' WHERE id = 7"),
        ),
        (
            "Corrupt",
            altered("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END"),
        ),
        ("Corrupt", altered("CREATE VIEW v AS SELECT 1")),
        (
            "Corrupt",
            altered("UPDATE multi_process_state SET value = 'x'"),
        ),
        (
            "Schema",
            altered("UPDATE schema_meta SET value = '9' WHERE key = 'schema_version'"),
        ),
        (
            "Schema",
            altered("ALTER TABLE entries RENAME COLUMN ttl TO other"),
        ),
        (
            "EmbedderMismatch",
            altered("UPDATE schema_meta SET value = 'x' WHERE key = 'embedder_fingerprint'"),
        ),
        (
            "EmbedderDimension",
            altered("UPDATE schema_meta SET value = '4' WHERE key = 'embedder_dim'"),
        ),
    ];
    for (kind, bytes) in cases {
        let error = restore(&mut store, &bytes).unwrap_err();
        assert!(format!("{error:?}").contains(kind), "{kind}: {error:?}");
        let again = store.commit_restore().unwrap_err();
        assert!(
            matches!(again, StoreError::InvalidArgument(_)),
            "the restore was over"
        );
        assert_eq!(
            (store.iter_since(0, 1_000).unwrap(), version(&mut store)),
            before
        );
        assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 3);
    }
    restore(&mut store, &good).unwrap();
}

#[test]
fn a_snapshot_with_other_pages_is_taken() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let bytes = snapshot(&mut store);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pages.db");
    fs::write(&path, &bytes).unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = WAL;")
        .unwrap();
    drop(conn);
    store.clear_namespace(None).unwrap();
    restore(&mut store, &fs::read(&path).unwrap()).unwrap();
    assert_eq!(store.count(None).unwrap(), 1);
    put(&mut store, entry("a", 2));
}

#[test]
fn snapshot_calls_out_of_order_are_refused() {
    let place = place();
    let mut store = open(&place.path);
    store.end_snapshot().unwrap();
    for outcome in [
        store.read_snapshot(1).map(drop),
        store.write_restore(b"x"),
        store.commit_restore(),
    ] {
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
}
