//! Imports, views and restores of one SQLite file beside other handles and processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use mneme::store::{ImportMode, SqliteStore, Store, StoreError};

use super::place::{open, place};
use super::snapshots::{restore, snapshot};
use super::support::*;

#[test]
fn a_view_does_not_see_what_others_write() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    store
        .insert((0..50).map(|n| entry("a", n)).collect())
        .unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    let before = (store.iter_since(0, 100).unwrap(), version(&mut store));
    assert!(store.begin_view().unwrap());
    for n in 0..20 {
        put(&mut other, entry("b", n));
    }
    other.delete_by_id(1).unwrap();
    other.replace_meta("k", Some("v"), None).unwrap();
    other.set_namespace_quota("a", Some(1)).unwrap();
    assert_eq!(
        (store.iter_since(0, 100).unwrap(), version(&mut store)),
        before
    );
    assert_eq!(store.count(None).unwrap(), 50);
    assert_eq!(store.list_namespaces().unwrap(), ["a"]);
    assert_eq!(store.iter_vectors(0, 100).unwrap().ids.len(), 50);
    assert_eq!(store.list_meta().unwrap().len(), 1);
    assert!(store.list_namespace_quotas().unwrap().is_empty());
    assert_eq!(store.get_by_ids(&[1, 2]).unwrap().len(), 2);
    let keys = [key("a", &hash(0)), key("b", &hash(0))];
    assert_eq!(
        store.get_by_hash(&keys).unwrap().iter().flatten().count(),
        1
    );
    store.end_view().unwrap();
    assert_eq!(store.count(None).unwrap(), 69);
    assert!(store.list_meta().unwrap().is_empty());
}

#[test]
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

#[test]
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

#[test]
fn an_import_is_invisible_until_it_is_committed() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    put(&mut store, entry("a", 1));
    store.begin_import(ImportMode::Replace).unwrap();
    for part in 0..5 {
        let list = (0..500).map(|n| entry("b", part * 500 + n)).collect();
        store.write_import(list).unwrap();
        assert_eq!(other.list_namespaces().unwrap(), ["a"]);
        put(&mut other, entry("a", 2 + part));
    }
    let counter = version(&mut other);
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(other.list_namespaces().unwrap(), ["b"]);
    assert_eq!(other.count(None).unwrap(), 2_500);
    assert_eq!(version(&mut other), counter + 1);
    assert!(ids(&mut other)[0] > 6, "an id was used again");
    assert_eq!(fs::read_dir(place.dir.path()).unwrap().count(), 3);
}

#[test]
fn two_imports_into_an_empty_store_are_one() {
    let place = place();
    let mut store = open(&place.path);
    let mut other = open(&place.path);
    store.begin_import(ImportMode::Empty).unwrap();
    other.begin_import(ImportMode::Empty).unwrap();
    store.write_import(vec![entry("a", 1)]).unwrap();
    other.write_import(vec![entry("b", 1)]).unwrap();
    assert!(other.commit_import(&[], &[]).unwrap());
    let refusal = store.commit_import(&[("a".to_owned(), 1)], &[]);
    assert!(
        matches!(refusal, Err(StoreError::Checkpoint(_))),
        "{refusal:?}"
    );
    assert_eq!(store.list_namespaces().unwrap(), ["b"]);
    assert!(store.list_namespace_quotas().unwrap().is_empty());
}

#[test]
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
    assert_eq!(store.list_namespaces().unwrap(), ["a"]);
    assert_eq!(version(&mut store), 1);
}

#[test]
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
    assert_eq!(other.list_namespaces().unwrap(), ["a"]);
    assert!(store.integrity_check().unwrap());
}

const CHILD: &str = "MNEME_TEST_IMPORT_INTO";

#[test]
fn a_killed_process_leaves_nothing_of_its_import_and_restore() {
    if let Some(path) = std::env::var_os(CHILD) {
        return import_and_wait(Path::new(&path));
    }
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let name = "stores::sharing::a_killed_process_leaves_nothing_of_its_import_and_restore";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, &place.path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("ready")));
    let files = || fs::read_dir(place.dir.path()).unwrap().count();
    assert_eq!(files(), 3 + 2, "its import and its restore");
    // What is in use stays.
    store.begin_import(ImportMode::Merge).unwrap();
    store.end_import().unwrap();
    assert_eq!(files(), 3 + 2);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(store.list_namespaces().unwrap(), ["a"]);
    assert!(store.integrity_check().unwrap());
    store.begin_import(ImportMode::Merge).unwrap();
    store.end_import().unwrap();
    if cfg!(unix) {
        assert_eq!(files(), 3);
    }
}

fn import_and_wait(path: &Path) {
    let mut store = open(path);
    store.begin_import(ImportMode::Replace).unwrap();
    for part in 0..20 {
        let list = (0..500).map(|n| entry("b", part * 500 + n)).collect();
        store.write_import(list).unwrap();
    }
    store.begin_restore().unwrap();
    store.write_restore(&[0; 10_000]).unwrap();
    println!("ready");
    // Until it is killed, or the other end has gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}
