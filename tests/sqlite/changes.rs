//! The log of changes in a file.

use mneme::store::sqlite::Mode;
use mneme::store::{Entry, EntryRef, ImportMode, SqliteStore, Store};

use super::place::{open, place, version};
use super::snapshots::{restore, snapshot};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, put};
use mneme_tests::sqlite;

mneme_tests::tests![
    every_write_of_entries_is_in_the_log,
    whole_versions_come_in_parts,
    what_is_not_in_the_log_is_not_known,
    the_log_keeps_what_it_says_and_little_more,
    a_file_without_the_table_knows_nothing,
];

/// What is known after a version: the changes as `version id`, with a minus sign for a deletion.
fn since(store: &mut dyn Store, version: u64) -> Option<Vec<String>> {
    let page = store.changes_since(version, u32::MAX).unwrap()?;
    let sign = |deleted| if deleted { "-" } else { "" };
    let changes = page.changes.iter();
    let texts = changes.map(|one| format!("{} {}{}", one.version, sign(one.deleted), one.id));
    Some(texts.collect())
}

fn every_write_of_entries_is_in_the_log() {
    let place = place();
    let mut store = open(&place.path);
    assert_eq!(since(&mut store, 0), Some(vec![]));
    assert_eq!(since(&mut store, 1), None);
    store
        .insert(vec![entry("a", 1), entry("a", 2), entry("a", 1)])
        .unwrap();
    put(&mut store, entry("a", 1));
    assert!(store.delete_by_id(1).unwrap());
    assert!(!store.delete_by_id(1).unwrap());
    let named = EntryRef {
        id: 2,
        namespace: "a".to_owned(),
        created_at: 1002,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [2]);
    let ids: Vec<u64> = (3..6)
        .map(|n| {
            put(
                &mut store,
                Entry {
                    ttl: Some(n),
                    ..entry("b", n)
                },
            )
        })
        .collect();
    assert_eq!(store.delete_expired(1003 + 3, None, 9).unwrap().len(), 1);
    store.set_namespace_quota("a", Some(1)).unwrap();
    assert_eq!(store.clear_namespace(Some("b")).unwrap(), 2);
    assert_eq!(store.clear_namespace(None).unwrap(), 0);
    let [a, b, c] = ids[..] else {
        panic!("{ids:?}")
    };
    let mut expected: Vec<String> = ["1 1", "1 2", "2 1", "3 -1", "4 -2"]
        .map(str::to_owned)
        .to_vec();
    for (version, change) in (5..).zip([
        a.to_string(),
        b.to_string(),
        c.to_string(),
        format!("-{a}"),
        format!("-{b}"),
    ]) {
        expected.push(format!("{version} {change}"));
    }
    expected.push(format!("9 -{c}"));
    assert_eq!(since(&mut store, 0), Some(expected.clone()));
    let mut other = open(&place.path);
    assert_eq!(since(&mut other, 8), Some(expected[9..].to_vec()));
    assert_eq!(since(&mut other, 9), Some(vec![]));
    assert_eq!(since(&mut other, 10), None);
}

fn whole_versions_come_in_parts() {
    let place = place();
    let mut store = open(&place.path);
    for first in [1, 4, 5] {
        store
            .insert((first..first + 3).map(|n| entry("a", n)).collect())
            .unwrap();
    }
    for (after, limit, count, version) in [
        (0, 1, 3, 1),
        (0, 3, 3, 1),
        (0, 5, 3, 1),
        (0, 6, 6, 2),
        (1, 4, 3, 2),
        (2, 0, 3, 3),
        (0, 9, 9, 3),
    ] {
        let page = store.changes_since(after, limit).unwrap().unwrap();
        assert_eq!(
            (page.changes.len(), page.version),
            (count, version),
            "{after} {limit}"
        );
    }
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
