//! Snapshots and restores of SQLite files.

use std::fs;

use mneme::store::{SqliteStore, Store, StoreError};
use rusqlite::Connection;

use super::place::{open, place, version};
use mneme_tests::rows::{entry, put};

mneme_tests::tests![
    a_snapshot_round_trip_brings_everything_back,
    a_snapshot_is_one_picture_while_others_write,
    a_restore_beside_writers_loses_no_counter_step,
    unfit_snapshots_leave_the_data_as_it_is,
    a_snapshot_with_other_pages_is_taken,
    a_checked_snapshot_can_be_read_before_it_is_committed,
    rows_of_a_snapshot_that_are_no_entries_are_corrupt,
    a_last_id_below_the_entries_is_raised,
    ids_that_leave_no_room_for_others_are_refused,
    snapshot_calls_out_of_order_are_refused,
];

/// A snapshot of a store.
pub fn snapshot(store: &mut SqliteStore) -> Vec<u8> {
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

/// Replaces all data by a snapshot.
pub fn restore(store: &mut SqliteStore, bytes: &[u8]) -> Result<(), StoreError> {
    receive(store, bytes)?;
    store.commit_restore(false)
}

/// Hands all bytes of a snapshot to a store.
pub fn receive(store: &mut SqliteStore, bytes: &[u8]) -> Result<(), StoreError> {
    store.begin_restore()?;
    for chunk in bytes.chunks(777) {
        store.write_restore(chunk)?;
    }
    Ok(())
}

/// A snapshot, changed by SQL.
pub fn altered(good: &[u8], sql: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("altered.db");
    fs::write(&path, good).unwrap();
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    fs::read(&path).unwrap()
}

fn a_snapshot_round_trip_brings_everything_back() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..50).map(|n| entry("a", n)).collect())
        .unwrap();
    store.set_namespace_quota("a", Some(9)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
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
    let target = super::place::place();
    let mut target_store = open(&target.path);
    restore(&mut target_store, &bytes).unwrap();
    assert_eq!(target_store.count(None).unwrap(), 200);
    assert!(target_store.integrity_check().unwrap());
}

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

fn unfit_snapshots_leave_the_data_as_it_is() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..300).map(|n| entry("a", n)).collect())
        .unwrap();
    let good = snapshot(&mut store);
    let before = (store.iter_since(0, 1_000).unwrap(), version(&mut store));

    let altered = |sql: &str| altered(&good, sql);
    let mut torn = good.clone();
    let middle = good.len() / 8192 * 4096;
    torn[middle..middle + 4096].fill(0xFF);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Corrupt", Vec::new()),
        ("Corrupt", b"garbage".to_vec()),
        ("Corrupt", vec![0; 50_000]),
        ("Corrupt", good[..good.len() - 4096].to_vec()),
        ("Corrupt", good[..good.len() - 1].to_vec()),
        ("Corrupt", torn),
        (
            "Corrupt",
            altered("UPDATE entries SET embedding = x'00' WHERE id = 7"),
        ),
        (
            "Corrupt",
            altered("UPDATE entries SET id = -5 WHERE id = 1"),
        ),
        (
            "Schema",
            altered("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END"),
        ),
        ("Schema", altered("CREATE VIEW v AS SELECT 1")),
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
        for checked_first in [false, true] {
            let error = if checked_first {
                receive(&mut store, &bytes).unwrap();
                store.check_restore().map(drop)
            } else {
                restore(&mut store, &bytes)
            };
            let error = error.unwrap_err();
            assert!(format!("{error:?}").contains(kind), "{kind}: {error:?}");
            let again = store.commit_restore(false).unwrap_err();
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
    }
    restore(&mut store, &good).unwrap();
}

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

fn a_checked_snapshot_can_be_read_before_it_is_committed() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..30).map(|n| entry("a", n)).collect())
        .unwrap();
    for (namespace, quota) in [("b", 2), ("a", 1)] {
        store.set_namespace_quota(namespace, Some(quota)).unwrap();
    }
    for key in ["z", "counters"] {
        store.replace_meta(key, None, Some("v")).unwrap();
    }
    let entries = store.iter_since(0, 100).unwrap();
    let bytes = snapshot(&mut store);
    store.clear_namespace(None).unwrap();

    receive(&mut store, &bytes).unwrap();
    for _ in 0..2 {
        let restored = store.check_restore().unwrap();
        assert_eq!(restored.entries, 30);
        assert_eq!(restored.quotas, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        let meta = ["counters", "z"].map(|key| (key.to_owned(), "v".to_owned()));
        assert_eq!(restored.meta, meta);
    }
    let more = store.write_restore(b"x");
    assert!(matches!(more, Err(StoreError::InvalidArgument(_))));
    let mut read = Vec::new();
    loop {
        let last = read
            .last()
            .map_or(0, |entry: &mneme::store::Entry| entry.id);
        let page = store.read_restore(last, 7).unwrap();
        assert!(page.len() <= 7);
        if page.is_empty() {
            break;
        }
        read.extend(page);
    }
    assert_eq!(read, entries);
    assert_eq!(store.count(None).unwrap(), 0, "it is not committed");
    store.commit_restore(true).unwrap();
    assert_eq!(store.iter_since(0, 100).unwrap(), entries);
}

fn rows_of_a_snapshot_that_are_no_entries_are_corrupt() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..9).map(|n| entry("a", n)).collect())
        .unwrap();
    store.set_namespace_quota("a", Some(7)).unwrap();
    let good = snapshot(&mut store);
    let entries = |set: &str| format!("UPDATE entries SET {set} WHERE id = 5");
    for (sql, parts) in [
        (entries("query = x'FF'"), ["entries", "query"]),
        (
            entries("response = CAST(x'FF' AS TEXT)"),
            ["entries", "response"],
        ),
        (entries("created_at = 'soon'"), ["entries", "created_at"]),
        (entries("created_at = -1"), ["entries", "created_at"]),
        (
            entries("created_at = 9007199254740992"),
            ["entries", "created_at"],
        ),
        (
            entries("last_accessed_at = -1"),
            ["entries", "last_accessed_at"],
        ),
        (entries("ttl = -1"), ["entries", "ttl"]),
        (entries("ttl = 1e17"), ["entries", "ttl"]),
        (entries("access_count = -1"), ["entries", "access_count"]),
        (entries("id = 9007199254740992"), ["entries", "id"]),
        (entries("namespace = ''"), ["entries", "is empty"]),
        (
            entries("namespace = printf('%01025d', 0)"),
            ["entries", "1024 bytes"],
        ),
        (entries("namespace = 'a' || char(0)"), ["entries", "U+0000"]),
        (
            "UPDATE namespace_quotas SET max_entries = -1".to_owned(),
            ["namespace_quotas", "max_entries"],
        ),
        (
            "UPDATE namespace_quotas SET max_entries = 1e17".to_owned(),
            ["namespace_quotas", "max_entries"],
        ),
        (
            "UPDATE namespace_quotas SET namespace = ''".to_owned(),
            ["namespace_quotas", "is empty"],
        ),
        (
            "UPDATE sqlite_sequence SET seq = 9223372036854775807".to_owned(),
            ["sqlite_sequence", "seq"],
        ),
        (
            "UPDATE sqlite_sequence SET seq = -1".to_owned(),
            ["sqlite_sequence", "seq"],
        ),
        (
            "UPDATE multi_process_state SET value = '9007199254740992'".to_owned(),
            ["multi_process_state", "version_counter"],
        ),
    ] {
        receive(&mut store, &altered(&good, &sql)).unwrap();
        let error = store.check_restore().unwrap_err();
        let text = format!("{error:?}");
        assert!(matches!(error, StoreError::Corrupt(_)), "{sql}: {text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert!(
            parts.iter().all(|part| text.contains(part)),
            "{sql}: {text}"
        );
        let over = store.commit_restore(false);
        assert!(matches!(over, Err(StoreError::InvalidArgument(_))));
        assert_eq!(store.count(None).unwrap(), 9);
    }
}

fn a_last_id_below_the_entries_is_raised() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..9).map(|n| entry("a", n)).collect())
        .unwrap();
    let low = altered(&snapshot(&mut store), "UPDATE sqlite_sequence SET seq = 2");
    let none = altered(&low, "DELETE FROM sqlite_sequence");
    for bytes in [low, none] {
        let other = super::place::place();
        let mut target = open(&other.path);
        restore(&mut target, &bytes).unwrap();
        assert_eq!(put(&mut target, entry("b", 1)), 10);
    }
}

fn snapshot_calls_out_of_order_are_refused() {
    let place = place();
    let mut store = open(&place.path);
    store.end_snapshot().unwrap();
    store.end_restore().unwrap();
    for outcome in [
        store.read_snapshot(1).map(drop),
        store.write_restore(b"x"),
        store.check_restore().map(drop),
        store.read_restore(0, 1).map(drop),
        store.commit_restore(false),
        store
            .begin_restore()
            .and_then(|()| store.read_restore(0, 1))
            .map(drop),
    ] {
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
}

fn ids_that_leave_no_room_for_others_are_refused() {
    let from = place();
    let mut source = open(&from.path);
    source
        .insert((0..3).map(|n| entry("a", n)).collect())
        .unwrap();
    let good = snapshot(&mut source);
    let target = place();
    let mut target = open(&target.path);
    put(&mut target, entry("kept", 1));
    for sql in [
        "UPDATE entries SET id = 9007199254740991 WHERE id = 2",
        "UPDATE entries SET id = 4503599627370496 WHERE id = 3",
        "UPDATE sqlite_sequence SET seq = 9007199254740990",
    ] {
        let Err(StoreError::Corrupt(message)) = restore(&mut target, &altered(&good, sql)) else {
            panic!("{sql}: it was taken");
        };
        assert!(message.contains("its ids go up to"), "{message}");
        assert_eq!(target.count(None).unwrap(), 1);
    }
    let greatest = "UPDATE entries SET id = 4503599627370495 WHERE id = 3";
    restore(&mut target, &altered(&good, greatest)).unwrap();
    assert_eq!(put(&mut target, entry("a", 9)), 1 << 52);
}
