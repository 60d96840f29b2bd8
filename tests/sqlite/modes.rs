//! What opening may do: create, write, or only read.

use std::fs;
use std::path::Path;

use mneme::store::sqlite::Mode;
use mneme::store::{self, Access, ImportMode, SqliteStore, Store, StoreError, Touch};

use super::place::{open, place};
use super::snapshots::snapshot;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};

mneme_tests::tests![
    only_one_mode_creates,
    a_url_says_the_mode,
    what_is_read_only_answers_and_refuses_writes,
];

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[track_caller]
fn is_missing(outcome: Result<(), StoreError>, path: &Path) {
    let Err(StoreError::Backend(error)) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(!error.retryable, "{error:?}");
    for part in [
        "there is no cache here",
        "storing something",
        &path.display().to_string(),
    ] {
        assert!(error.message.contains(part), "{error:?}");
    }
}

fn only_one_mode_creates() {
    for empty in [false, true] {
        let place = place();
        if empty {
            fs::write(&place.path, b"").unwrap();
        }
        let before = files(place.dir.path());
        for mode in [Mode::Existing, Mode::ReadOnly] {
            let mut store = SqliteStore::new(&place.path).mode(mode);
            is_missing(store.open(FINGERPRINT, DIM), &place.path);
            drop(store);
            let left = files(place.dir.path());
            assert_eq!(left, before, "{mode:?}");
        }
        let url = format!("sqlite:{}", place.path.display());
        let mut store = store::from_url_for(&url, Access::Existing).unwrap();
        is_missing(store.open(FINGERPRINT, DIM), &place.path);
        let mut store = store::from_url_for(&url, Access::Create).unwrap();
        store.open(FINGERPRINT, DIM).unwrap();
        store.close().unwrap();
        let mut store = store::from_url_for(&url, Access::Existing).unwrap();
        store.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(put(&mut *store, entry("a", 1)), 1);
    }
}

fn a_url_says_the_mode() {
    let place = place();
    let url = |mode: &str| format!("sqlite://{}?mode={mode}", place.path.display());
    let opened = |mode: &str| {
        let mut store = store::from_url(&url(mode)).unwrap();
        store.open(FINGERPRINT, DIM).map(|()| store)
    };
    for mode in ["rw", "ro"] {
        is_missing(opened(mode).map(drop), &place.path);
    }
    put(&mut *opened("rwc").unwrap(), entry("a", 1));
    put(&mut *opened("rw").unwrap(), entry("a", 2));
    let mut store = opened("ro").unwrap();
    assert_eq!(store.count(None).unwrap(), 2);
    assert!(store.insert(vec![entry("a", 3)]).is_err());
}

fn what_is_read_only_answers_and_refuses_writes() {
    let place = place();
    let mut writer = open(&place.path);
    writer
        .insert((0..9).map(|n| entry("a", n)).collect())
        .unwrap();
    let mut store = SqliteStore::new(&place.path).mode(Mode::ReadOnly);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(store.count(None).unwrap(), 9);
    assert_eq!(get(&mut store, "a", 7).unwrap().response, "response 7");
    assert_eq!(store.iter_since(0, 100).unwrap().len(), 9);
    assert_eq!(store.iter_vectors(0, 100).unwrap().ids.len(), 9);
    assert_eq!(store.iter_stamps(0, 100).unwrap().ids.len(), 9);
    assert!(store.integrity_check().unwrap());
    assert!(store.begin_view().unwrap());
    store.end_view().unwrap();
    let entries = snapshot(&mut store);
    assert!(entries.starts_with(b"SQLite format 3\0"));
    let beside = files(place.dir.path());
    store.begin_snapshot().unwrap();
    assert_eq!(files(place.dir.path()), beside);
    store.end_snapshot().unwrap();
    // Nobody who asked for it is told.
    assert_eq!((store.read_only(), writer.read_only()), (None, None));
    // What others write is seen.
    put(&mut writer, entry("a", 9));
    assert_eq!(store.count(None).unwrap(), 10);

    let touch = Touch {
        id: 1,
        hits: 1,
        last_accessed_at: 9000,
    };
    store.update_access(&[touch]).unwrap();
    for outcome in [
        store.insert(vec![entry("a", 99)]).map(drop),
        store.delete_by_id(1).map(drop),
        store.delete_expired(1, None, 9).map(drop),
        store.clear_namespace(None).map(drop),
        store.set_namespace_quota("a", Some(1)),
        store.replace_meta("k", None, Some("v")).map(drop),
        store.write_blob("a", vec![1]),
        store.begin_import(ImportMode::Merge),
        store.begin_restore(),
    ] {
        let Err(StoreError::Unsupported(message)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(message.contains("can only be read here"), "{message}");
        assert!(message.contains("mode=ro"), "{message}");
    }
    assert_eq!(writer.read_version_counter().unwrap(), 2);
    assert_eq!(get(&mut writer, "a", 0).unwrap().access_count, 0);
}
