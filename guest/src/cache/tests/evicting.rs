//! Eviction: which entries go, and what it costs.

use super::*;
use crate::testing::entry;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A cache whose namespace `n` holds so many entries. The lowest ids were used last.
fn full(entries: u64, indexed: bool, change: impl FnOnce(&mut Options)) -> (TestCache, TestStore) {
    let (mut cache, host, store) = new_cache(change);
    for id in 1..=entries {
        store.plant(Entry {
            id,
            last_accessed_at: 1000 + entries - id,
            ..entry("n", &format!("q{id}"), &at_angle(id as f64), 1000)
        });
    }
    host.set(1000 + entries);
    if indexed {
        cache.warm_up().unwrap();
    }
    (cache, store)
}

#[test]
fn one_put_evicts_many_in_as_many_calls_as_one() {
    const ENTRIES: u64 = 20_000;
    for indexed in [false, true] {
        let mut costs = Vec::new();
        for quota in [ENTRIES, 10] {
            let (mut cache, store) = full(ENTRIES, indexed, |_| {});
            cache.set_namespace_quota("n", Some(quota)).unwrap();
            let (calls, rows) = (store.calls(), store.rows_read());
            cache.put(response("new", 0.0)).unwrap();
            let evicted = ENTRIES + 1 - store.entries().len() as u64;
            assert_eq!(store.rows_read() - rows, evicted, "each is read once");
            costs.push((evicted, store.calls() - calls));
            let kept = queries(&store);
            assert!(kept.contains(&"q1".into()) && kept.contains(&"new".into()));
            assert_eq!(cache.stats(None).unwrap().counters.evictions, evicted);
        }
        let (few, many) = (costs[0], costs[1]);
        assert_eq!((few.0, many.0), (ENTRIES / 10, ENTRIES - 9));
        assert_eq!(few.1, many.1, "calls of the store");
    }
}

#[test]
fn a_cap_is_enforced_a_tenth_at_a_time() {
    const CAP: u64 = 2_000;
    let (mut cache, store) = full(CAP, true, |o| o.max_entries = Some(CAP));
    let (calls, rows) = (store.calls(), store.rows_read());
    for n in 0..CAP {
        cache.put(response(&format!("new {n}"), 0.0)).unwrap();
        assert!(store.entries().len() as u64 <= CAP);
    }
    assert_eq!(store.rows_read() - rows, CAP, "each is read once");
    // Ten evictions of a few calls each, and what is written later.
    assert!(store.calls() - calls < CAP + CAP / 10);
    assert!(queries(&store).iter().all(|query| query.starts_with("new")));
}

#[derive(Clone, Debug)]
enum Step {
    /// Queries by namespace and number.
    Put(Vec<(usize, u8)>),
    Hit(usize, u8),
    Quota(usize, Option<u64>),
    Wait(u64),
}

const NAMES: [&str; 2] = ["m", "n"];

fn step() -> impl Strategy<Value = Step> {
    let key = || (0..NAMES.len(), 0..20_u8);
    prop_oneof![
        6 => prop::collection::vec(key(), 1..8).prop_map(Step::Put),
        3 => key().prop_map(|(n, query)| Step::Hit(n, query)),
        1 => (0..NAMES.len(), prop::option::of(1..12_u64)).prop_map(|(n, q)| Step::Quota(n, q)),
        4 => (0..3_u64).prop_map(Step::Wait),
    ]
}

/// Ids and times of last access, by namespace and query; quotas by namespace.
#[derive(Default)]
struct Model {
    entries: BTreeMap<(usize, u8), (u64, u64)>,
    quotas: BTreeMap<usize, u64>,
    last_id: u64,
}

impl Model {
    fn put(&mut self, keys: &[(usize, u8)], now: u64, cap: Option<u64>) {
        for key in keys {
            let id = self.entries.get(key).map_or(self.last_id + 1, |old| old.0);
            self.last_id = self.last_id.max(id);
            self.entries.insert(*key, (id, now));
        }
        for n in 0..NAMES.len() {
            if keys.iter().any(|key| key.0 == n) {
                self.evict(self.quotas.get(&n).copied(), |other| other == n);
            }
        }
        self.evict(cap, |_| true);
    }

    fn evict(&mut self, limit: Option<u64>, is_in: impl Fn(usize) -> bool) {
        let mut keys: Vec<_> = self.entries.keys().copied().collect();
        keys.retain(|key| is_in(key.0));
        let Some(limit) = limit.filter(|&limit| keys.len() as u64 > limit) else {
            return;
        };
        keys.sort_by_key(|key| {
            let (id, accessed) = self.entries[key];
            (accessed, id)
        });
        let excess = keys.len() as u64 - limit;
        for key in &keys[..excess.max(limit / 10) as usize] {
            self.entries.remove(key);
        }
    }
}

proptest! {
    #[test]
    fn the_least_recently_used_are_evicted(
        steps in prop::collection::vec(step(), 0..40),
        cap in prop::option::of(1..30_u64),
        indexed in any::<bool>(),
    ) {
        let (mut cache, host, store) = new_cache(|o| o.max_entries = cap);
        let mut model = Model::default();
        let mut now = 1000;
        if indexed {
            cache.warm_up().unwrap();
        }
        for step in &steps {
            match step {
                Step::Put(keys) => {
                    let requests = keys.iter().map(|(n, query)| PutRequest {
                        namespace: NAMES[*n].into(),
                        ..response(&query.to_string(), f64::from(*query))
                    });
                    cache.put_many(requests.collect()).unwrap();
                    model.put(keys, now, cap);
                }
                Step::Hit(n, query) => {
                    let request = GetRequest {
                        namespace: NAMES[*n].into(),
                        vector: VectorSource::Pending,
                        ..ask(&query.to_string(), 0.0)
                    };
                    let found = cache.get(request).unwrap();
                    let known = model.entries.get_mut(&(*n, *query));
                    prop_assert_eq!(matches!(found, Lookup::Hit(_)), known.is_some());
                    if let Some((_, accessed)) = known {
                        *accessed = now;
                    }
                }
                Step::Quota(n, quota) => {
                    cache.set_namespace_quota(NAMES[*n], *quota).unwrap();
                    match quota {
                        Some(quota) => drop(model.quotas.insert(*n, *quota)),
                        None => drop(model.quotas.remove(n)),
                    }
                }
                Step::Wait(seconds) => {
                    now += seconds;
                    host.set(now);
                }
            }
            let mut stored: Vec<_> = store
                .entries()
                .into_iter()
                .map(|entry| (entry.id, entry.namespace, entry.query))
                .collect();
            let mut expected: Vec<_> = model
                .entries
                .iter()
                .map(|((n, query), (id, _))| (*id, NAMES[*n].to_owned(), query.to_string()))
                .collect();
            stored.sort();
            expected.sort();
            prop_assert_eq!(stored, expected);
            if indexed {
                prop_assert_eq!(cache.stats(None).unwrap().index_rows, model.entries.len() as u64);
            }
        }
    }
}
