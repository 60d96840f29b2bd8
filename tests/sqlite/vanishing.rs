//! Files that go away, or become others, while they are open.

use std::fs;
use std::time::{Duration, Instant};

use mneme::store::{Entry, SqliteStore, Store, StoreError, Touch};
use rusqlite::Connection;
use rusqlite::backup::Backup;

#[cfg(unix)]
use super::place::Place;
use super::place::{open, place};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};

mneme_tests::tests![
    #[cfg(unix)]
    a_removed_file_fails_every_call_until_it_is_back,
    #[cfg(unix)]
    a_replaced_file_is_not_touched,
    #[cfg(unix)]
    a_removed_log_fails_every_call_and_loses_nothing,
    #[cfg(unix)]
    what_lies_beside_the_file_must_be_what_was_opened,
    #[cfg(unix)]
    a_log_is_looked_for_where_a_link_leads,
    a_file_beside_a_cache_is_no_cache,
    data_of_another_cache_are_not_touched,
    a_file_that_is_emptied_is_told,
    bookkeeping_waits_only_briefly,
];

/// Fails unless calls fail for good, and say so.
#[track_caller]
fn assert_all_fail(store: &mut SqliteStore, says: &str) {
    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9000,
    };
    for outcome in [
        store.insert(vec![entry("a", 5)]).map(drop),
        store.update_access(&[touch]),
        store.delete_by_id(1).map(drop),
        store.set_namespace_quota("a", Some(1)),
        store.replace_meta("k", None, Some("v")).map(drop),
        store.write_blob("a", vec![1]),
        store.read_version_counter().map(drop),
    ] {
        let Err(StoreError::Backend(error)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            !error.retryable && error.message.contains(says),
            "{error:?}"
        );
        assert!(error.message.contains("open it again"), "{error:?}");
    }
}

#[cfg(unix)]
fn a_removed_file_fails_every_call_until_it_is_back() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let aside = place.dir.path().join("aside.db");
    fs::rename(&place.path, &aside).unwrap();
    assert_all_fail(&mut store, "removed or moved away");
    assert!(get_fails(&mut store));
    fs::rename(&aside, &place.path).unwrap();
    assert_eq!(put(&mut store, entry("a", 2)), 2);

    fs::remove_file(&place.path).unwrap();
    assert_all_fail(&mut store, "removed or moved away");
    assert!(get_fails(&mut store));
    store.close().unwrap();
    assert!(!place.path.exists());
}

fn get_fails(store: &mut SqliteStore) -> bool {
    let key = mneme_tests::rows::key("a", 1);
    store.get_by_hash(&[key], true).is_err()
}

#[cfg(unix)]
fn a_replaced_file_is_not_touched() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    fs::remove_file(&place.path).unwrap();
    let wal = place.dir.path().join("cache.db-wal");
    fs::remove_file(&wal).unwrap();
    fs::remove_file(place.dir.path().join("cache.db-shm")).unwrap();
    let mut other = open(&place.path);
    for n in 0..20 {
        put(&mut other, entry("b", n));
    }
    assert_all_fail(&mut store, "another file");
    assert!(get_fails(&mut store));
    // What closes must not remove the log of the new file.
    store.close().unwrap();
    assert!(fs::metadata(&wal).unwrap().len() > 0);
    assert_eq!(open(&place.path).count(Some("b")).unwrap(), 20);
    assert!(other.integrity_check().unwrap());
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(get(&mut store, "b", 7).unwrap().response, "response 7");
}

/// Without closing anything, as a process that is killed leaves it.
#[cfg(unix)]
fn entries_of_a_copy(place: &Place) -> u64 {
    let copy = place.dir.path().join("copy.db");
    // Whoever opens and closes the file in this process drops the locks on it.
    let copied = std::process::Command::new("cp")
        .args([&place.path, &copy])
        .status();
    assert!(copied.unwrap().success());
    let count = open(&copy).count(None).unwrap();
    fs::remove_file(copy).unwrap();
    count
}

#[cfg(unix)]
fn a_removed_log_fails_every_call_and_loses_nothing() {
    for is_seen in [true, false] {
        let place = place();
        let mut store = open(&place.path);
        for n in 0..5 {
            put(&mut store, entry("a", n));
        }
        let log = place.dir.path().join("cache.db-wal");
        fs::remove_file(&log).unwrap();
        if is_seen {
            assert_all_fail(&mut store, "-wal file beside it was removed");
            assert!(get_fails(&mut store));
            assert!(store.begin_view().is_err());
            assert_eq!(entries_of_a_copy(&place), 5);
        }
        store.close().unwrap();
        drop(store);
        assert!(!log.exists());
        let mut store = open(&place.path);
        assert_eq!(store.count(Some("a")).unwrap(), 5, "{is_seen}");
        assert!(store.integrity_check().unwrap());
        put(&mut store, entry("a", 6));
    }
}

#[cfg(unix)]
fn what_lies_beside_the_file_must_be_what_was_opened() {
    for suffix in ["-wal", "-shm"] {
        let place = place();
        let mut store = open(&place.path);
        put(&mut store, entry("a", 1));
        let beside = place.dir.path().join(format!("cache.db{suffix}"));
        let aside = place.dir.path().join("aside");
        fs::rename(&beside, &aside).unwrap();
        assert_all_fail(
            &mut store,
            &format!("the {suffix} file beside it was removed"),
        );
        fs::rename(&aside, &beside).unwrap();
        assert_eq!(put(&mut store, entry("a", 2)), 2);

        fs::remove_file(&beside).unwrap();
        fs::write(&beside, "an archive").unwrap();
        assert_all_fail(
            &mut store,
            &format!("the {suffix} file beside it is another one"),
        );
        assert!(get_fails(&mut store));
        // It belongs to others.
        store.close().unwrap();
        drop(store);
        assert_eq!(fs::read(&beside).unwrap(), b"an archive");
    }
    // A cache that was made in another mode has its log from the beginning, too.
    let place = place();
    put(&mut open(&place.path), entry("a", 1));
    Connection::open(&place.path)
        .unwrap()
        .execute_batch("PRAGMA journal_mode = DELETE")
        .unwrap();
    let log = place.dir.path().join("cache.db-wal");
    assert!(!log.exists());
    let mut store = open(&place.path);
    fs::remove_file(&log).unwrap();
    assert_all_fail(&mut store, "-wal file beside it was removed");
}

#[cfg(unix)]
fn a_log_is_looked_for_where_a_link_leads() {
    let place = place();
    let mut other = open(&place.path);
    put(&mut other, entry("a", 1));
    let links = tempfile::tempdir().unwrap();
    let link = links.path().join("link.db");
    std::os::unix::fs::symlink(&place.path, &link).unwrap();
    let mut store = open(&link);
    assert_eq!(put(&mut store, entry("a", 2)), 2);
    assert!(!links.path().join("link.db-wal").exists());
    fs::remove_file(place.dir.path().join("cache.db-wal")).unwrap();
    assert_all_fail(&mut store, "-wal file beside it was removed");
}

fn a_file_beside_a_cache_is_no_cache() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let files = SqliteStore::files(&place.path);
    assert!(files[0].ends_with("cache.db") && files[1].ends_with("cache.db-wal"));
    let before: Vec<_> = files.iter().map(|file| fs::read(file).ok()).collect();
    for file in &files[1..] {
        let mut other = SqliteStore::new(file);
        let Err(StoreError::Backend(error)) = other.open(FINGERPRINT, DIM) else {
            panic!("{file:?}");
        };
        assert!(error.message.contains("keeps beside"), "{error:?}");
    }
    let after: Vec<_> = files.iter().map(|file| fs::read(file).ok()).collect();
    assert!(before == after);
    // Without a database there, it is a name like any other.
    open(&place.dir.path().join("other.db-wal"));
}

/// Puts all pages of another database into the file, as `sqlite3 cache.db '.restore other.db'`.
fn overwrite(path: &std::path::Path, other: &std::path::Path) {
    let source = Connection::open(other).unwrap();
    let mut target = Connection::open(path).unwrap();
    let backup = Backup::new(&source, &mut target).unwrap();
    backup
        .run_to_completion(1000, Duration::from_millis(1), None)
        .unwrap();
}

fn data_of_another_cache_are_not_touched() {
    let place = place();
    let mut store = open(&place.path);
    for n in 0..9 {
        put(&mut store, entry("a", n));
    }
    let other = place.dir.path().join("other.db");
    put(&mut open(&other), entry("b", 1));
    overwrite(&place.path, &other);
    for outcome in [
        store.insert(vec![entry("a", 5)]).map(drop),
        store.delete_by_id(1).map(drop),
        store.read_version_counter().map(drop),
    ] {
        let text = format!("{outcome:?}");
        assert!(text.contains("version counter"), "{text}");
        assert!(text.contains("retryable: false"), "{text}");
    }
    assert_eq!(open(&place.path).count(None).unwrap(), 1);

    // With a greater counter, and another embedder.
    let mut store = open(&place.path);
    let other = place.dir.path().join("third.db");
    let mut third = SqliteStore::new(&other);
    third.open("another-embedder", DIM).unwrap();
    for n in 0..30 {
        put(&mut third, entry("c", n));
    }
    third.close().unwrap();
    overwrite(&place.path, &other);
    let outcome = store.insert(vec![entry("a", 5)]);
    assert!(
        format!("{outcome:?}").contains("another embedder"),
        "{outcome:?}"
    );
    let outcome = store.set_namespace_quota("a", Some(1));
    assert!(outcome.is_err());
}

fn a_file_that_is_emptied_is_told() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let empty = place.dir.path().join("empty.db");
    Connection::open(&empty)
        .unwrap()
        .execute_batch("CREATE TABLE t (a); DROP TABLE t")
        .unwrap();
    overwrite(&place.path, &empty);
    for outcome in [
        store.insert(vec![entry("a", 2)]).map(drop),
        store.count(None).map(drop),
    ] {
        let Err(StoreError::Corrupt(message) | StoreError::Schema(message)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(message.contains("not those of a cache"), "{message}");
    }
    assert!(!store.integrity_check().unwrap());
}

fn bookkeeping_waits_only_briefly() {
    let place = place();
    let mut store = SqliteStore::new(&place.path).busy_timeout(Duration::from_secs(30));
    store.open(FINGERPRINT, DIM).unwrap();
    let id = put(&mut store, entry("a", 1));
    let other = Connection::open(&place.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let touch = Touch {
        id,
        hits: 1,
        last_accessed_at: 9000,
    };
    let start = Instant::now();
    for outcome in [
        store.update_access(&[touch]),
        store.write_blob("a", vec![1]),
        store.delete_blobs(&["a".to_owned()]),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::Backend(error)) if error.retryable),
            "{outcome:?}"
        );
    }
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(get(&mut store, "a", 1).is_some());
    // A write waits as long as it was told to.
    std::thread::scope(|scope| {
        let wait = scope.spawn(|| store.insert(vec![entry("a", 2)]));
        while start.elapsed() < Duration::from_millis(600) {
            std::thread::yield_now();
        }
        other.execute_batch("COMMIT").unwrap();
        wait.join().unwrap().unwrap();
    });
    store.update_access(&[touch]).unwrap();
    let Entry { access_count, .. } = get(&mut store, "a", 1).unwrap();
    assert_eq!(access_count, 1);
}
