//! Eviction: which entries go, and what it costs.

use super::checkpoints::{dump_with, load_with};
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
fn far_too_many_entries_go_in_slices_that_cost_the_same() {
    const ENTRIES: u64 = 3_000;
    const QUOTA: u64 = 10;
    for indexed in [false, true] {
        let (mut cache, store) = full(ENTRIES, indexed, |_| {});
        cache.set_namespace_quota("n", Some(QUOTA)).unwrap();
        let mut left = ENTRIES;
        let mut calls_of_a_slice = Vec::new();
        let rows = store.rows_read();
        for put in 1.. {
            let calls = store.calls();
            cache.put(response("new", 0.0)).unwrap();
            let now_left = store.entries().len() as u64;
            let evicted = left + u64::from(put == 1) - now_left;
            left = now_left;
            if left <= QUOTA {
                break;
            }
            assert_eq!(evicted, 64);
            let calls = store.calls() - calls;
            // Some slices find what has to go, for those that follow.
            calls_of_a_slice.push(calls);
            assert!(put <= ENTRIES / 64 + 1, "it takes too long");
        }
        let read = store.rows_read() - rows;
        assert!(read <= ENTRIES + 50, "read {read} rows to evict {ENTRIES}");
        let fewest = calls_of_a_slice.iter().min().copied();
        let more = calls_of_a_slice.iter().skip(1);
        let more = more.filter(|&&calls| Some(calls) > fewest).count();
        assert!(more <= 3, "{more} slices looked for the oldest");
        let kept = queries(&store);
        assert!(kept.contains(&"q1".into()) && kept.contains(&"new".into()));
        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.counters.evictions, ENTRIES + 1 - left);
    }
}

/// The bytes of what a store holds, as `max-bytes` counts them.
fn bytes(store: &TestStore) -> u64 {
    let of = |entry: &Entry| {
        let texts = [
            &entry.query,
            &entry.response,
            &entry.metadata,
            &entry.context,
        ];
        let texts = texts.into_iter().chain(&entry.tags).map(String::len);
        texts.sum::<usize>() + 4 * entry.embedding.len()
    };
    store.entries().iter().map(|entry| of(entry) as u64).sum()
}

fn sized(n: u64, bytes: usize) -> PutRequest {
    PutRequest {
        response: "x".repeat(bytes),
        ..response(&format!("q{n}"), 0.0)
    }
}

#[test]
fn entries_never_have_more_bytes_than_the_cap() {
    const CAP: u64 = 100_000;
    let (mut cache, _, store) = new_cache(|options| options.max_bytes = Some(CAP));
    assert_eq!(cache.stats(None).unwrap().bytes, None);
    for n in 0..2_000 {
        let length = if n % 97 == 0 {
            20_000
        } else {
            10 + n as usize % 700
        };
        cache.put(sized(n, length)).unwrap();
        let now = bytes(&store);
        assert!(now <= CAP, "{now} bytes after put {n}");
        assert!(n < 300 || now > CAP / 2, "{now} bytes after put {n}");
        if n % 100 == 0 {
            let stats = cache.stats(None).unwrap();
            assert_eq!((stats.bytes, stats.max_bytes), (Some(now), Some(CAP)));
        }
    }
    // One that is larger than all stays until others come.
    cache.put(sized(5_000, 150_000)).unwrap();
    assert_eq!(store.entries().len(), 1);
    cache.put(sized(5_001, 10)).unwrap();
    assert_eq!(queries(&store), ["q5001"]);
}

#[test]
fn the_cap_of_bytes_holds_for_what_was_there_before() {
    let (mut cache, _, store) = new_cache(|_| {});
    for n in 0..3_000 {
        cache.put(sized(n, 100 + 300 * (n as usize % 2))).unwrap();
    }
    cache.close().unwrap();
    let all = bytes(&store);
    let (mut cache, host) = cache_on(&store, |options| options.max_bytes = Some(all / 2));
    host.tick_millis.set(1);
    let mut puts = 0;
    while bytes(&store) > all / 2 {
        cache.put(sized(10_000 + puts, 10)).unwrap();
        puts += 1;
        assert!(puts < 60, "{} of {all} bytes", bytes(&store));
    }
    // A few more may go: what an earlier cache has stored is estimated.
    for more in 0..10 {
        cache.put(sized(20_000 + more, 10)).unwrap();
    }
    let now = bytes(&store);
    assert!(
        now > all / 2 * 8 / 10 && now <= all / 2 * 11 / 10,
        "{now} of {all}"
    );
    assert!(
        !queries(&store).contains(&"q0".into()),
        "the oldest go first"
    );
}

#[test]
fn a_put_of_much_evicts_as_much_however_small_the_others_are() {
    const CAP: u64 = 1_000_000;
    let (mut cache, host, store) = new_cache(|options| options.max_bytes = Some(CAP));
    for n in 0..4_000 {
        cache.put(sized(n, 100)).unwrap();
    }
    host.tick_millis.set(1);
    for n in 0..10 {
        cache.put(sized(10_000 + n, 300_000)).unwrap();
        assert!(bytes(&store) <= CAP + 300_000, "{} bytes", bytes(&store));
    }
}

#[test]
fn what_was_used_since_the_oldest_were_read_is_spared() {
    let (mut cache, store) = full(3_000, false, |_| {});
    cache.set_namespace_quota("n", Some(10)).unwrap();
    cache.put(response("new", 0.0)).unwrap();
    assert!(queries(&store).iter().all(|query| query != "q2937"));
    // The next ones to go: one is hit, one replaced, one deleted by another process.
    let next = GetRequest {
        vector: VectorSource::Absent,
        ..ask("q2936", 0.0)
    };
    hit(cache.get(next).unwrap());
    cache.put(response("q2800", 0.0)).unwrap();
    assert!(store.delete_by_id(2_700).unwrap());
    while store.entries().len() > 10 {
        cache.put(response("new", 0.0)).unwrap();
    }
    let kept = queries(&store);
    for query in ["new", "q2936", "q2800", "q1"] {
        assert!(kept.contains(&query.into()), "{query}: {kept:?}");
    }
}

#[test]
fn a_list_longer_than_the_quota_keeps_its_end() {
    let (mut cache, store) = full(600, false, |_| {});
    cache.set_namespace_quota("n", Some(3)).unwrap();
    let list = (0..700).map(|i| response(&format!("new {i}"), 0.0));
    cache.put_many(list.collect()).unwrap();
    assert_eq!(queries(&store), ["new 697", "new 698", "new 699"]);
}

#[test]
fn a_put_by_a_clock_that_is_behind_is_kept() {
    let (mut cache, host, store) = new_cache(|o| o.namespace_quotas = vec![("n".into(), 3)]);
    for i in 0..3 {
        cache.put(response(&format!("q{i}"), 0.0)).unwrap();
    }
    host.set(995);
    cache.put(response("behind", 0.0)).unwrap();
    assert_eq!(queries(&store), ["q1", "q2", "behind"]);
}

#[test]
fn expired_entries_go_before_live_ones() {
    let (mut cache, host, store) = new_cache(|o| o.max_entries = Some(4));
    cache.put(response("old", 0.0)).unwrap();
    for i in 0..3 {
        host.set(1001 + i);
        let brief = PutRequest {
            ttl: TtlChoice::Seconds(10),
            ..response(&format!("brief {i}"), 0.0)
        };
        cache.put(brief).unwrap();
    }
    host.set(1012);
    cache.put(response("new", 0.0)).unwrap();
    // Two had expired; only one had to go, and no live one did.
    assert_eq!(queries(&store), ["old", "brief 1", "brief 2", "new"]);
    let counters = cache.stats(None).unwrap().counters;
    assert_eq!((counters.evictions, counters.expirations), (0, 1));
}

#[test]
fn entries_that_expire_between_two_puts_go_before_live_ones() {
    const ENTRIES: u64 = 3_000;
    let (mut cache, host, store) = new_cache(|_| {});
    // Those that expire were used last.
    for id in 1..=ENTRIES {
        store.plant(Entry {
            id,
            last_accessed_at: 900 + id / 100,
            ttl: (id > ENTRIES - 500).then_some(101),
            ..entry("n", &format!("q{id}"), &at_angle(id as f64), 900)
        });
    }
    cache.set_namespace_quota("n", Some(10)).unwrap();
    cache.put(response("new", 0.0)).unwrap();
    host.set(1_001);
    let live = || {
        let mut entries = store.entries();
        entries.retain(|entry| entry.ttl.is_none());
        entries.len()
    };
    let before = live();
    for expired in [436, 372, 308, 244, 180, 116, 52] {
        cache.put(response("new", 0.0)).unwrap();
        assert_eq!((store.entries().len(), live()), (before + expired, before));
    }
    cache.put(response("new", 0.0)).unwrap();
    assert_eq!((store.entries().len(), live()), (before - 64, before - 64));
    while store.entries().len() > 10 {
        cache.put(response("new", 0.0)).unwrap();
    }
    let counters = cache.stats(None).unwrap().counters;
    assert_eq!((counters.evictions, counters.expirations), (2_491, 500));
}

#[test]
fn a_clock_that_is_set_does_not_make_old_counts_true_for_years() {
    const TEN_YEARS: u64 = 10 * 365 * 86_400;
    for (at, tick_millis, corrected) in [
        // A long count by a clock that is ahead, and is then corrected.
        (1_000 + TEN_YEARS, 6, Some(1_000)),
        // A count during which the clock is set ahead.
        (1_000, 1_000 * TEN_YEARS, None),
    ] {
        let (mut cache, host, store) = new_cache(|o| {
            o.coordination = Coordination::StaleTolerant(0);
            o.max_entries = Some(10);
        });
        let (mut other, _) = cache_on(&store, |_| {});
        host.set(at);
        host.tick_millis.set(tick_millis);
        cache.put(response("first", 0.0)).unwrap();
        host.tick_millis.set(0);
        host.set(corrected.unwrap_or(host.millis.get() / 1_000 + 60));
        for n in 0..20 {
            other.put(response(&format!("other {n}"), 0.0)).unwrap();
        }
        hit(cache.get(ask("x", 0.0)).unwrap());
        cache.put(response("last", 0.0)).unwrap();
        assert_eq!(store.entries().len(), 10);
    }
}

#[test]
fn a_cap_is_enforced_a_tenth_at_a_time() {
    const CAP: u64 = 600;
    let (mut cache, store) = full(CAP, true, |o| o.max_entries = Some(CAP));
    let (calls, rows) = (store.calls(), store.rows_read());
    for n in 0..CAP {
        cache.put(response(&format!("new {n}"), 0.0)).unwrap();
        assert!(store.entries().len() as u64 <= CAP);
    }
    // Each is read once, and those that are spared beside them.
    assert!(store.rows_read() - rows <= CAP + 10);
    // Ten evictions of a few calls each, and what is written later.
    assert!(store.calls() - calls < CAP + CAP / 10);
    assert!(queries(&store).iter().all(|query| query.starts_with("new")));
}

#[test]
fn a_favourite_is_kept_within_one_second() {
    const CAP: u64 = 1_000;
    let (mut cache, _, store) = new_cache(|o| o.max_entries = Some(CAP));
    let favourite = GetRequest {
        vector: VectorSource::Absent,
        ..ask("favourite", 0.0)
    };
    cache.put(response("favourite", 0.0)).unwrap();
    for n in 0..100_000 {
        cache.put(response(&format!("{n}"), 0.0)).unwrap();
        if n % 50 == 0 {
            hit(cache.get(favourite.clone()).unwrap());
        }
    }
    assert!(store.entries().len() as u64 <= CAP);
}

#[derive(Clone, Debug)]
enum Step {
    /// Queries by namespace and number.
    Put(Vec<(usize, u8)>, Option<u64>),
    Hit(usize, u8),
    Quota(usize, Option<u64>),
    Wait(u64),
}

const NAMES: [&str; 2] = ["m", "n"];

fn step() -> impl Strategy<Value = Step> {
    let key = || (0..NAMES.len(), 0..20_u8);
    prop_oneof![
        6 => (prop::collection::vec(key(), 1..8), prop::option::of(0..4_u64))
            .prop_map(|(keys, ttl)| Step::Put(keys, ttl)),
        3 => key().prop_map(|(n, query)| Step::Hit(n, query)),
        1 => (0..NAMES.len(), prop::option::of(1..12_u64)).prop_map(|(n, q)| Step::Quota(n, q)),
        4 => (0..3_u64).prop_map(Step::Wait),
    ]
}

struct Row {
    id: u64,
    /// In seconds, and in the order of all uses.
    accessed: (u64, u64),
    expires: Option<u64>,
}

/// Entries by namespace and query; quotas by namespace.
#[derive(Default)]
struct Model {
    entries: BTreeMap<(usize, u8), Row>,
    quotas: BTreeMap<usize, u64>,
    last_id: u64,
    uses: u64,
}

impl Model {
    fn put(&mut self, keys: &[(usize, u8)], ttl: Option<u64>, now: u64, cap: Option<u64>) {
        let mut stored = Vec::new();
        for key in keys {
            let id = self.entries.get(key).map_or(self.last_id + 1, |old| old.id);
            self.last_id = self.last_id.max(id);
            stored.push(id);
            self.uses += 1;
            let row = Row {
                id,
                accessed: (now, self.uses),
                expires: ttl.map(|ttl| now + ttl),
            };
            self.entries.insert(*key, row);
        }
        for n in 0..NAMES.len() {
            if keys.iter().any(|key| key.0 == n) {
                let quota = self.quotas.get(&n).copied();
                self.evict(quota, |other| other == n, &stored, now);
            }
        }
        self.evict(cap, |_| true, &stored, now);
    }

    fn evict(
        &mut self,
        limit: Option<u64>,
        is_in: impl Fn(usize) -> bool,
        stored: &[u64],
        now: u64,
    ) {
        let mut keys: Vec<_> = self.entries.keys().copied().collect();
        keys.retain(|key| is_in(key.0));
        let Some(limit) = limit.filter(|&limit| keys.len() as u64 > limit) else {
            return;
        };
        let to_go = |keys: &[_]| (keys.len() as u64 - limit).max(limit / 10) as usize;
        keys.sort_by_key(|key| self.entries[key].id);
        let mut expired = keys.clone();
        expired.retain(|key| self.entries[key].is_expired(now));
        expired.truncate(to_go(&keys));
        for key in &expired {
            self.entries.remove(key);
        }
        keys.retain(|key| self.entries.contains_key(key));
        if keys.len() as u64 <= limit {
            return;
        }
        let spared = &stored[stored.len().saturating_sub(limit as usize)..];
        let n = to_go(&keys);
        keys.retain(|key| !spared.contains(&self.entries[key].id));
        keys.sort_by_key(|key| self.entries[key].accessed);
        for key in keys.iter().take(n) {
            self.entries.remove(key);
        }
    }
}

impl Row {
    fn is_expired(&self, now: u64) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }
}

proptest! {
    #[test]
    fn the_least_recently_used_are_evicted(
        steps in prop::collection::vec(step(), 0..40),
        cap in prop::option::of(1..30_u64),
        indexed in any::<bool>(),
    ) {
        // Without any limit it does not matter in which order entries are used.
        let (mut cache, host, store) = new_cache(|o| o.max_entries = cap.or(Some(1_000_000)));
        let mut model = Model::default();
        let mut now = 1000;
        if indexed {
            cache.warm_up().unwrap();
        }
        for step in &steps {
            match step {
                Step::Put(keys, ttl) => {
                    let requests = keys.iter().map(|(n, query)| PutRequest {
                        namespace: NAMES[*n].into(),
                        ttl: ttl.map_or(TtlChoice::Unlimited, TtlChoice::Seconds),
                        ..response(&query.to_string(), f64::from(*query))
                    });
                    cache.put_many(requests.collect()).unwrap();
                    model.put(keys, *ttl, now, cap);
                }
                Step::Hit(n, query) => {
                    let request = GetRequest {
                        namespace: NAMES[*n].into(),
                        vector: VectorSource::Pending,
                        ..ask(&query.to_string(), 0.0)
                    };
                    let found = cache.get(request).unwrap();
                    model.entries.retain(|key, row| *key != (*n, *query) || !row.is_expired(now));
                    let known = model.entries.get_mut(&(*n, *query));
                    prop_assert_eq!(matches!(found, Lookup::Hit(_)), known.is_some());
                    if let Some(row) = known {
                        model.uses += 1;
                        row.accessed = (now, model.uses);
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
                .map(|((n, query), row)| (row.id, NAMES[*n].to_owned(), query.to_string()))
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

/// Puts one entry after another beyond the cap, and returns which entries went, in their order.
fn evicted_in_order(cache: &mut TestCache, store: &TestStore, many: usize) -> Vec<String> {
    let mut gone = Vec::new();
    for n in 0..many {
        let before = queries(store);
        cache.put(response(&format!("new {n}"), 0.0)).unwrap();
        let after = queries(store);
        gone.extend(before.into_iter().filter(|query| !after.contains(query)));
    }
    gone
}

proptest! {
    /// Whatever was put, hit and replaced within a second, and in seconds before.
    #[test]
    fn an_archive_keeps_the_order_in_which_entries_are_evicted(
        steps in prop::collection::vec((0..12_u8, 0..8_u8), 12..80),
        pages in any::<bool>(),
    ) {
        let (mut cache, host, store) = new_cache(|o| o.max_entries = Some(12));
        let mut now = 1000;
        for (query, kind) in steps {
            let large = if pages { 1_000_000 } else { 1 };
            match kind {
                0 => now += 1,
                1..=4 => drop(cache.get(GetRequest {
                    vector: VectorSource::Pending,
                    ..ask(&query.to_string(), 0.0)
                }).unwrap()),
                _ => drop(cache.put(PutRequest {
                    response: "r".repeat(large),
                    ..response(&query.to_string(), f64::from(query))
                }).unwrap()),
            }
            host.set(now);
        }
        let archive = dump_with(&mut cache, |_| {});
        let (mut copy, copied_host, copied) = new_cache(|o| o.max_entries = Some(12));
        copied_host.set(now);
        load_with(&mut copy, &archive, |_| {}).unwrap();
        let ids = |store: &TestStore| -> Vec<u64> {
            store.entries().iter().map(|entry| entry.id).collect()
        };
        prop_assert_eq!(ids(&copied), (1..=ids(&store).len() as u64).collect::<Vec<_>>());
        let sorted = |store: &TestStore| {
            let mut entries = store.entries();
            entries.iter_mut().for_each(|entry| entry.id = 0);
            entries.sort_by(|a, b| a.query.cmp(&b.query));
            entries
        };
        prop_assert_eq!(sorted(&copied), sorted(&store));
        let all = store.entries().len();
        let many = 12 + all;
        let gone = evicted_in_order(&mut cache, &store, many);
        prop_assert_eq!(&gone[..all], &evicted_in_order(&mut copy, &copied, many)[..all]);
    }
}

/// Others use entries, and delete them, while an archive without a view is written.
#[test]
fn an_entry_that_others_have_used_since_stands_where_it_was() {
    let (mut cache, _, store) = new_cache(|o| o.max_entries = Some(12));
    for query in ["a", "b", "c"] {
        cache.put(response(query, 0.0)).unwrap();
    }
    for query in ["b", "a"] {
        hit(cache.get(ask(query, 0.0)).unwrap());
    }
    cache.flush().unwrap();
    store
        .update_access(&[Touch {
            id: 1,
            hits: 1,
            last_accessed_at: 1001,
        }])
        .unwrap();
    let archive = dump_with(&mut cache, |_| {});
    let (mut copy, _, copied) = new_cache(|o| o.max_entries = Some(12));
    load_with(&mut copy, &archive, |_| {}).unwrap();
    assert_eq!(queries(&copied), ["a", "c", "b"]);
}
