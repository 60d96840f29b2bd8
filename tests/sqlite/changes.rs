//! The log of changes in a file.

use mneme::store::sqlite::Mode;
use mneme::store::{ImportMode, SqliteStore, Store};

use super::place::{open, place, version};
use super::snapshots::{restore, snapshot};
use mneme_tests::changes::{self, since};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, put};
use mneme_tests::sqlite;

mneme_tests::tests![
    every_write_of_entries_is_in_the_log,
    whole_versions_come_in_parts,
    what_is_not_in_the_log_is_not_known,
    the_log_keeps_what_it_says_and_little_more,
    a_file_without_the_table_knows_nothing,
];

fn every_write_of_entries_is_in_the_log() {
    let place = place();
    changes::every_write_of_entries_is_in_the_log(|| open(&place.path));
}

fn whole_versions_come_in_parts() {
    changes::whole_versions_come_in_parts(&mut open(&place().path));
}

fn what_is_not_in_the_log_is_not_known() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    // As mneme-cache does.
    sqlite::execute(
        &place.path,
        "UPDATE multi_process_state SET value = CAST(value + 1 AS TEXT)",
    );
    assert_eq!(since(&mut store, 0), None);
    assert_eq!(since(&mut store, 1), None);
    assert_eq!(since(&mut store, 2), Some(vec![]));
    put(&mut store, entry("a", 1));
    assert_eq!(since(&mut store, 1), None);
    assert_eq!(since(&mut store, 2), Some(vec!["3 1".to_owned()]));
    // A write that is too long, an import, a restore.
    store
        .insert((1..1001).map(|n| entry("a", n)).collect())
        .unwrap();
    put(&mut store, entry("a", 2000));
    assert_eq!(since(&mut store, 3).unwrap().len(), 1001);
    store.clear_namespace(Some("a")).unwrap();
    let now = version(&mut store);
    assert_eq!(since(&mut store, now - 1), None);
    put(&mut store, entry("a", 1));
    assert_eq!(since(&mut store, now).unwrap().len(), 1);
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(since(&mut store, now), None);
    assert_eq!(since(&mut store, now + 2), Some(vec![]));
    let bytes = snapshot(&mut store);
    put(&mut store, entry("a", 3));
    restore(&mut store, &bytes).unwrap();
    let restored = version(&mut store);
    for before in 0..restored {
        assert_eq!(since(&mut store, before), None, "{before}");
    }
    put(&mut store, entry("a", 4));
    assert_eq!(since(&mut store, restored).unwrap().len(), 1);
    sqlite::execute(&place.path, "UPDATE changes SET deleted = 'x'");
    assert!(store.changes_since(restored, 9).is_err());
}

fn the_log_keeps_what_it_says_and_little_more() {
    let place = place();
    let mut store = open(&place.path);
    let most = u64::from(store.capabilities().max_changes);
    for n in 0..100 {
        let rows = (0..1000).map(|k| entry("a", n % 2 * 1000 + k)).collect();
        store.insert(rows).unwrap();
    }
    let rows: i64 = sqlite::value(&place.path, "SELECT count(*) FROM changes");
    let rows = rows.unsigned_abs();
    assert!((most..most + 10_000).contains(&rows), "{rows}");
    let kept = since(&mut store, 100 - rows / 1000).unwrap();
    assert_eq!(kept.len() as u64, rows);
    assert_eq!(since(&mut store, 100 - rows / 1000 - 1), None);
}

fn a_file_without_the_table_knows_nothing() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    store.close().unwrap();
    sqlite::execute(&place.path, "DROP TABLE changes");
    let mut store = SqliteStore::new(&place.path).mode(Mode::ReadOnly);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(since(&mut store, 0), None);
    assert_eq!(since(&mut store, 1), Some(vec![]));
    let mut writer = open(&place.path);
    put(&mut writer, entry("a", 2));
    assert_eq!(since(&mut store, 1), Some(vec!["2 2".to_owned()]));
}
