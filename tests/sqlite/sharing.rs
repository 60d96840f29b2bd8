//! Imports, views and restores of one SQLite file: what the battery leaves open, and what they
//! leave on the disk.

use std::fs;

use mneme::store::{ImportMode, SqliteStore, Store, StoreError};

use super::place::{open, place, version};
use super::snapshots::{restore, snapshot};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::rows::{entry, hash, put};

mneme_tests::tests![
    a_new_view_is_of_a_new_instant,
    a_view_refuses_writes_and_lasts,
    numbers_beyond_sqlite_leave_nothing_of_an_import,
    a_restore_into_a_store_that_filled_meanwhile_is_refused,
    a_killed_process_leaves_nothing_of_its_import_and_restore,
    a_pair_that_comes_twice_in_an_import_is_named,
];
mneme_tests::children![child_imports_and_restores];

fn a_new_view_is_of_a_new_instant() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    store.begin_view().unwrap();
    put(&mut other, entry("a", 1));
    assert_eq!(store.count(None).unwrap(), 0);
    store.begin_view().unwrap();
    assert_eq!(store.count(None).unwrap(), 1);
}

fn a_view_refuses_writes_and_lasts() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    let id = put(&mut store, entry("a", 1));
    let bytes = snapshot(&mut store);
    store.begin_view().unwrap();
    put(&mut other, entry("a", 2));
    store.begin_import(ImportMode::Merge).unwrap();
    let refusals = [
        store.insert(vec![entry("a", 3)]).map(drop),
        store.delete_by_id(id).map(drop),
        store.clear_namespace(None).map(drop),
        store.set_namespace_quota("a", Some(1)),
        store.replace_meta("k", None, Some("v")).map(drop),
        store.commit_import(&[], &[]).map(drop),
        restore(&mut store, &bytes),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(StoreError::InvalidArgument(_))),
            "{refusal:?}"
        );
    }
    assert_eq!(store.count(None).unwrap(), 1, "the view was over");
    store.end_view().unwrap();
    assert_eq!(store.count(None).unwrap(), 2);
    put(&mut store, entry("a", 3));
}

fn numbers_beyond_sqlite_leave_nothing_of_an_import() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Replace).unwrap();
    let mut huge = entry("b", 1);
    huge.ttl = Some(u64::MAX);
    let refusal = store.write_import(vec![entry("b", 2), huge]);
    assert!(
        matches!(refusal, Err(StoreError::InvalidArgument(_))),
        "{refusal:?}"
    );
    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(vec![entry("b", 2)]).unwrap();
    let refusal = store.commit_import(&[("b".to_owned(), u64::MAX)], &[]);
    assert!(
        matches!(refusal, Err(StoreError::InvalidArgument(_))),
        "{refusal:?}"
    );
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"]);
    assert_eq!(version(&mut store), 1);
}

fn a_restore_into_a_store_that_filled_meanwhile_is_refused() {
    let place = place();
    let source = super::place::place();
    let mut from = open(&source.path);
    put(&mut from, entry("a", 1));
    let bytes = snapshot(&mut from);
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    let receive = |store: &mut SqliteStore| {
        store.begin_restore().unwrap();
        store.write_restore(&bytes).unwrap();
        store.check_restore().unwrap().entries
    };
    assert_eq!(receive(&mut store), 1);
    put(&mut other, entry("b", 1));
    let before = (store.iter_since(0, 10).unwrap(), version(&mut store));
    let refusal = store.commit_restore(true);
    assert!(
        matches!(refusal, Err(StoreError::Checkpoint(_))),
        "{refusal:?}"
    );
    assert_eq!(
        (store.iter_since(0, 10).unwrap(), version(&mut store)),
        before
    );
    let again = store.commit_restore(false);
    assert!(
        matches!(again, Err(StoreError::InvalidArgument(_))),
        "{again:?}"
    );
    put(&mut other, entry("b", 2));
    other.clear_namespace(None).unwrap();
    receive(&mut store);
    store.commit_restore(true).unwrap();
    assert_eq!(other.list_namespaces(None, 1000).unwrap(), ["a"]);
    assert!(store.integrity_check().unwrap());
}

fn a_killed_process_leaves_nothing_of_its_import_and_restore() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let arguments = [("PATH", place.path.to_str().unwrap())];
    let mut child = Running::named("child_imports_and_restores", &arguments);
    assert_eq!(child.line().as_deref(), Some("ready"));
    let files = || fs::read_dir(place.dir.path()).unwrap().count();
    assert_eq!(files(), 3 + 2, "its import and its restore");
    // What is in use stays.
    store.begin_import(ImportMode::Merge).unwrap();
    store.end_import().unwrap();
    assert_eq!(files(), 3 + 2);
    child.kill();
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"]);
    assert!(store.integrity_check().unwrap());
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    if cfg!(unix) {
        assert_eq!(files(), 3);
    }
}

fn child_imports_and_restores() {
    let mut store = open(argument("PATH").as_ref());
    store.begin_import(ImportMode::Replace).unwrap();
    for part in 0..20 {
        let list = (0..500).map(|n| entry("b", part * 500 + n)).collect();
        store.write_import(list).unwrap();
    }
    store.begin_restore().unwrap();
    store.write_restore(&[0; 10_000]).unwrap();
    say("ready");
    // Until it is killed, or the other end has gone.
    hear();
}

fn a_pair_that_comes_twice_in_an_import_is_named() {
    let place = place();
    let mut store = open(&place.path);
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("c", 1)]).unwrap();
    match store.write_import(vec![entry("d", 1), entry("c", 1)]) {
        Err(StoreError::Checkpoint(text)) => {
            assert!(text.contains("\"c\"") && text.contains(&hash(1)), "{text}");
        }
        other => panic!("{other:?}"),
    }
}
