//! Lists and statistics of many namespaces.

use super::*;
use crate::error::describe;
use crate::store::NAMESPACES_PER_PAGE;
use crate::testing::entry;

/// The nth of many namespaces.
fn name(n: u32) -> String {
    format!("n{n:06}")
}

/// A cache with so many namespaces of an entry each, the last with two.
fn cache_of(namespaces: u32) -> (TestCache, TestStore) {
    let (cache, _, store) = new_cache(|_| {});
    for n in 0..=namespaces {
        store.plant(Entry {
            id: u64::from(n) + 1,
            ..entry(
                &name(n.min(namespaces - 1)),
                &n.to_string(),
                &at_angle(0.0),
                900,
            )
        });
    }
    (cache, store)
}

#[test]
fn namespaces_are_listed_in_pages_of_a_limited_size() {
    let (mut cache, store) = cache_of(5);
    let calls = store.calls();
    for limit in [0, (1 << 20) + 1, u32::MAX] {
        let error = cache.list_namespaces(None, limit).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(_)), "{error:?}");
        let message = describe(&error);
        assert!(message.contains("must be 1 to 1048576"), "{message}");
    }
    assert_eq!(store.calls(), calls);
    let names: Vec<_> = (0..5).map(name).collect();
    assert_eq!(cache.list_namespaces(None, 1 << 20).unwrap(), names);
    assert_eq!(cache.list_namespaces(None, 2).unwrap(), names[..2]);
    let after = cache.list_namespaces(Some(&names[1]), 2);
    assert_eq!(after.unwrap(), names[2..4]);
    let between = cache.list_namespaces(Some("n000003x"), 9);
    assert_eq!(between.unwrap(), names[4..]);
    assert!(cache.list_namespaces(Some("o"), 9).unwrap().is_empty());
}

#[test]
fn statistics_list_the_first_namespaces_and_count_all() {
    let many = NAMESPACES_PER_PAGE;
    for (count, pages) in [(many - 1, 1), (many, 2), (many + 3, 2)] {
        let (mut cache, store) = cache_of(count);
        let last = name(count - 1);
        cache.set_namespace_quota("a", Some(7)).unwrap();
        cache.set_namespace_quota("z", Some(8)).unwrap();
        cache.set_namespace_quota(&last, Some(9)).unwrap();
        for namespace in ["y", &last] {
            let request = GetRequest {
                namespace: namespace.into(),
                ..ask("unknown", 90.0)
            };
            miss(cache.get(request).unwrap());
        }
        cache.flush().unwrap();
        let calls = store.calls();
        let stats = cache.stats(None).unwrap();
        // The counters and the quotas are the two others.
        assert_eq!(store.calls() - calls, 2 + pages);
        assert_eq!(stats.entries, u64::from(count) + 1);
        assert_eq!(stats.namespace_count, u64::from(count) + 3);
        assert_eq!(stats.counters.misses, 2);
        let listed = &stats.namespaces;
        assert_eq!(listed.len(), (count as usize + 3).min(many as usize));
        assert!(listed.is_sorted_by(|one, next| one.namespace < next.namespace));
        assert_eq!((listed[0].entries, listed[0].quota), (0, Some(7)));
        assert_eq!(listed[1].namespace, name(0));
        let one = cache.stats(Some(&last)).unwrap();
        assert_eq!((one.entries, one.namespace_count), (2, 1));
        assert_eq!(one.counters.misses, 1);
        assert_eq!(one.namespaces[0].quota, Some(9));
        let deep = cache.health(true).unwrap().deep.unwrap();
        assert_eq!(deep.namespaces, u64::from(count));
    }
}
