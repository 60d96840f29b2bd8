//! How many quotas a cache may have.

use super::checkpoints::{dump_with, load_with};
use super::{TestCache, new_cache};
use crate::checkpoint::default_dump_options;
use crate::error::{Result, describe};
use crate::options;
use crate::quotas::{MAX_BYTES, size};
use crate::store::Store;
use crate::testing::{TestArchive, TestHost, TestStore, cache_on};
use crate::types::*;

/// A namespace whose name is as long as it may be.
fn name(n: u64) -> String {
    format!("{n:05}{}", "\"".repeat(1019))
}

/// As many quotas with such names as a cache may have, from the nth on.
fn full_from(n: u64) -> Vec<(String, u64)> {
    let most = MAX_BYTES / size(&name(n));
    (n..n + most).map(|n| (name(n), n)).collect()
}

fn full_cache() -> (TestCache, TestStore) {
    let (cache, _, store) = new_cache(|o| o.namespace_quotas = full_from(0));
    assert_eq!(store.content().1.len(), full_from(0).len());
    (cache, store)
}

/// The message of a refusal for too many quotas.
fn too_many<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.unwrap_err();
    let message = describe(&error);
    for part in ["too many quotas", "remove the quotas", "14680064"] {
        assert!(message.contains(part), "{message}");
    }
    error
}

#[test]
fn one_quota_too_many_is_refused_and_changes_nothing() {
    let (mut cache, store) = full_cache();
    let before = store.content();
    let error = too_many(cache.set_namespace_quota(&name(90_000), Some(1)));
    assert!(
        matches!(&error, Error::InvalidArgument(m) if m.contains("90000")),
        "{error:?}"
    );
    assert_eq!(store.content(), before);
    // What is there can be changed and removed, which makes room.
    cache.set_namespace_quota(&name(7), Some(8)).unwrap();
    cache.set_namespace_quota(&name(7), None).unwrap();
    cache.set_namespace_quota(&name(7), None).unwrap();
    cache.set_namespace_quota(&name(90_000), Some(1)).unwrap();
    too_many(cache.set_namespace_quota(&name(7), Some(1)));
    // Room that others make is found.
    store.set_namespace_quota(&name(9), None).unwrap();
    cache.set_namespace_quota(&name(7), Some(1)).unwrap();
}

#[test]
fn quotas_are_counted_without_reading_them_all_again() {
    let (mut cache, _, store) = new_cache(|o| o.coordination = Coordination::StaleTolerant(0));
    cache.set_namespace_quota("first", Some(1)).unwrap();
    let before = store.calls();
    for n in 0..50 {
        cache.set_namespace_quota(&name(n), Some(n)).unwrap();
        cache.set_namespace_quota(&name(n / 2), None).unwrap();
    }
    // One that reads what the namespace has, and one that writes.
    assert_eq!(store.calls() - before, 2 * 100);
}

#[test]
fn a_quota_that_others_set_is_known_once_it_is_set_again() {
    let (mut cache, _, store) = new_cache(|o| o.coordination = Coordination::Single);
    cache.set_namespace_quota("n", Some(5)).unwrap();
    cache.put(crate::testing::response("a", 0.0)).unwrap();
    store.set_namespace_quota("n", Some(0)).unwrap();
    cache.set_namespace_quota("n", Some(0)).unwrap();
    assert!(cache.put(crate::testing::response("b", 90.0)).is_err());
}

#[test]
fn quotas_named_at_opening_are_limited_before_any_is_set() {
    let open = |store: &TestStore, quotas: Vec<(String, u64)>| {
        let mut options = options::defaults("f", 2);
        options.namespace_quotas = quotas;
        crate::cache::Cache::new(store.clone(), TestHost::at(1000)).open(options)
    };
    let store = TestStore::default();
    let mut more = full_from(0);
    more.push((name(90_000), 1));
    let error = too_many(open(&store, more));
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    // Together with those that are there.
    let (mut cache, _) = cache_on(&store, |_| {});
    cache.set_namespace_quota(&name(90_000), Some(1)).unwrap();
    cache.close().unwrap();
    let before = store.content();
    let error = too_many(open(&store, full_from(0)));
    assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
    assert_eq!(store.content(), before);
    // What is there already is not counted twice, and the last of one name counts.
    open(&store, full_from(90_000)).unwrap();
    open(&store, full_from(90_000)).unwrap();
    let name = name(90_000);
    open(&store, vec![(name.clone(), 3), (name.clone(), 90_000)]).unwrap();
    assert_eq!(store.content().1[&name], 90_000);
}

#[test]
fn a_damaged_quota_is_set_again() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.set_namespace_quota("n", Some(5)).unwrap();
    store.damage_quota("n");
    cache.set_namespace_quota("n", Some(6)).unwrap();
    assert_eq!(cache.namespace_quota("n"), Ok(Some(6)));
    store.damage_quota("n");
    cache.set_namespace_quota("n", None).unwrap();
    assert_eq!(cache.namespace_quota("n"), Ok(None));
}

#[test]
fn what_a_cache_may_have_is_dumped_and_loaded_and_what_is_more_is_not() {
    for layout in [Layout::Native, Layout::Portable] {
        let (mut cache, store) = full_cache();
        store.snapshots.set(true);
        let archive = dump_with(&mut cache, |o| o.layout = Some(layout));
        let (mut target, _, copy) = new_cache(|_| {});
        copy.snapshots.set(true);
        load_with(&mut target, &archive, |_| {}).unwrap();
        assert_eq!(copy.content().1, store.content().1);

        // An import takes them with those that are there.
        let (mut target, _, copy) = new_cache(|o| o.namespace_quotas = vec![(name(90_000), 1)]);
        copy.snapshots.set(true);
        let before = copy.content();
        for mode in [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace] {
            let error = too_many(load_with(&mut target, &archive, |o| o.mode = mode));
            assert!(matches!(&error, Error::Checkpoint(m) if m.contains("nothing was loaded")));
            assert_eq!(copy.content(), before, "{mode:?}");
        }
        let many = [full_from(0), full_from(10_000)].concat();
        let error = too_many(load_with(&mut target, &archive, |o| o.quotas = Some(many)));
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        load_with(&mut target, &archive, |o| {
            o.mode = ImportMode::Merge;
            o.quotas = Some(vec![]);
        })
        .unwrap();

        // Others do not count.
        store.set_namespace_quota(&name(90_000), Some(1)).unwrap();
        let options = DumpOptions {
            layout: Some(layout),
            ..default_dump_options()
        };
        let error = too_many(cache.dump(&options, &TestArchive::default()));
        assert!(
            matches!(&error, Error::Checkpoint(m) if m.contains("the cache cannot be dumped")),
            "{error:?}"
        );
    }
}
