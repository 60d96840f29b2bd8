//! Blobs in SQLite files: their table, other handles, snapshots, damage.

use mneme::store::{SqliteStore, Store, StoreError};
use rusqlite::Connection;

use super::place::{open, place};
use super::snapshots::{altered, restore, snapshot};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, ids, put};

mneme_tests::tests![
    only_a_write_makes_the_table_and_every_handle_sees_it,
    a_view_reads_the_blobs_of_its_instant_and_writes_none,
    a_snapshot_carries_blobs_and_a_restore_replaces_them,
    rows_that_are_no_blobs_are_damage_and_not_restored,
    a_table_of_others_is_told_and_left,
];

const TABLE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'derived_blobs'";

fn count(path: &std::path::Path, sql: &str) -> i64 {
    let conn = Connection::open(path).unwrap();
    conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Every blob.
fn blobs(store: &mut SqliteStore) -> Vec<(String, Vec<u8>)> {
    let names = store.list_blobs().unwrap().into_iter();
    names
        .map(|name| (name.clone(), store.read_blob(&name).unwrap().unwrap()))
        .collect()
}

fn blob(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

fn only_a_write_makes_the_table_and_every_handle_sees_it() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    for store in [&mut store, &mut other] {
        assert_eq!(store.read_blob("a").unwrap(), None);
        assert!(store.list_blobs().unwrap().is_empty());
        store.delete_blobs(&["a".to_owned()]).unwrap();
    }
    assert!(store.write_blob("A", vec![1]).is_err());
    assert_eq!(count(&place.path, TABLE), 0);
    store.write_blob("a", vec![1]).unwrap();
    assert_eq!(count(&place.path, TABLE), 1);
    assert_eq!(blobs(&mut other), [blob("a", &[1])]);
    other.write_blob("a", vec![2, 3]).unwrap();
    assert_eq!(blobs(&mut store), [blob("a", &[2, 3])]);
    // Whoever replaces the file by one without it, as an older release would.
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch("DROP TABLE derived_blobs").unwrap();
    for store in [&mut store, &mut other] {
        assert_eq!(store.read_blob("a").unwrap(), None);
        assert!(store.list_blobs().unwrap().is_empty());
        assert!(store.integrity_check().unwrap());
    }
    other.write_blob("b", vec![4]).unwrap();
    assert_eq!(blobs(&mut store), [blob("b", &[4])]);
}

fn a_view_reads_the_blobs_of_its_instant_and_writes_none() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    store.begin_view().unwrap();
    other.write_blob("a", vec![1]).unwrap();
    assert_eq!(store.read_blob("a").unwrap(), None);
    store.begin_view().unwrap();
    other.write_blob("a", vec![2]).unwrap();
    assert_eq!(store.read_blob("a").unwrap(), Some(vec![1]));
    for outcome in [
        store.write_blob("a", vec![3]),
        store.delete_blobs(&["a".to_owned()]),
    ] {
        assert!(matches!(outcome, Err(StoreError::InvalidArgument(_))));
    }
    store.end_view().unwrap();
    assert_eq!(store.read_blob("a").unwrap(), Some(vec![2]));
}

fn a_snapshot_carries_blobs_and_a_restore_replaces_them() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let without = snapshot(&mut store);
    let large: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    store.write_blob("index/1", large.clone()).unwrap();
    store.write_blob("index/2", Vec::new()).unwrap();
    let with = snapshot(&mut store);
    store.write_blob("index/2", vec![1]).unwrap();
    store.write_blob("index/3", vec![1]).unwrap();

    restore(&mut store, &with).unwrap();
    let expected = [blob("index/1", &large), blob("index/2", &[])];
    assert_eq!(blobs(&mut store), expected);
    assert!(store.integrity_check().unwrap());
    assert_eq!(blobs(&mut open(&place.path)), expected);
    restore(&mut store, &without).unwrap();
    assert!(blobs(&mut store).is_empty());
    assert_eq!(ids(&mut store), [1]);
}

fn rows_that_are_no_blobs_are_damage_and_not_restored() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    store.write_blob("good", vec![1]).unwrap();
    let good = snapshot(&mut store);
    let insert = |row: &str| format!("INSERT INTO derived_blobs VALUES ({row})");
    for row in [
        "'text', 'x'",
        "'number', 7",
        "'', x'00'",
        "'Upper', x'00'",
        "'a b', x'00'",
        "'../a\n', x'00'",
        "printf('%0101d', 1), x'00'",
        "'large', zeroblob(4194305)",
        "NULL, x'00'",
        "x'61', x'00'",
    ] {
        let sql = insert(row);
        let outcome = restore(&mut store, &altered(&good, &sql));
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt(what)) if what.contains("nothing was changed")),
            "{row}: {outcome:?}"
        );
        assert_eq!(blobs(&mut store), [blob("good", &[1])]);
        let conn = Connection::open(&place.path).unwrap();
        conn.execute_batch(&sql).unwrap();
        assert!(!store.integrity_check().unwrap(), "{row}");
        conn.execute_batch("DELETE FROM derived_blobs WHERE name IS NOT 'good'")
            .unwrap();
        assert!(store.integrity_check().unwrap(), "{row}");
    }
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch(&insert("'text', 'x'")).unwrap();
    let error = store.read_blob("text").unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt(what) if what.contains("row text holds no bytes")),
        "{error:?}"
    );
    store.write_blob("text", vec![2]).unwrap();
    assert_eq!(store.read_blob("text").unwrap(), Some(vec![2]));
}

fn a_table_of_others_is_told_and_left() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let foreign = "CREATE TABLE derived_blobs (key, value)";
    let conn = Connection::open(&place.path).unwrap();
    conn.execute_batch(foreign).unwrap();
    for outcome in [
        store.read_blob("a").map(drop),
        store.write_blob("a", vec![1]),
        store.delete_blobs(&["a".to_owned()]),
        store.list_blobs().map(drop),
        SqliteStore::new(&place.path).open(FINGERPRINT, DIM),
    ] {
        assert!(matches!(outcome, Err(StoreError::Schema(_))), "{outcome:?}");
    }
    assert!(!store.integrity_check().unwrap());
    assert_eq!(ids(&mut store), [1]);
    put(&mut store, entry("a", 2));
    assert_eq!(count(&place.path, "SELECT count(*) FROM derived_blobs"), 0);
    let target = self::place();
    let mut other = open(&target.path);
    let outcome = restore(&mut other, &snapshot(&mut store));
    assert!(matches!(outcome, Err(StoreError::Schema(_))), "{outcome:?}");
}
