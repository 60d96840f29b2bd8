//! Clearing and compacting go in turns, and end.

use super::turns::{ROWS, assert_in_step, exact, hasty, nearest, store_of};
use super::*;
use crate::testing::entry;

#[test]
fn a_clear_takes_turns_and_counts_what_it_deletes() {
    for indexed in [false, true] {
        let store = store_of(1_000);
        store.plant(Entry {
            id: 5_000,
            ..entry("m", "other", &at_angle(0.0), 900)
        });
        let (mut cache, host) = hasty(&store, |o| {
            o.events = true;
            o.namespace_quotas = vec![("n".into(), 20_000)];
        });
        if indexed {
            while cache.warm_up().unwrap().more {}
        }
        hit(cache.get(exact("q1000")).unwrap());
        let (mut deleted, mut turns) = (0, 0);
        loop {
            let step = cache.clear_namespace("n").unwrap();
            deleted += step.entries;
            if !step.more {
                break;
            }
            turns += 1;
            let other = GetRequest {
                namespace: "m".into(),
                ..exact("other")
            };
            hit(cache.get(other).unwrap());
            let left = store.entries().len() as u64;
            assert_eq!(cache.stats(None).unwrap().entries, left);
            if indexed {
                assert_in_step(&mut cache, &store);
            }
            let counters = cache.stats(Some("n")).unwrap().counters;
            assert_eq!(counters.hits_exact, 1, "the counters go last");
        }
        assert_eq!((deleted, turns), (1_000, 7));
        assert_eq!(queries(&store), ["other"]);
        let stats = cache.stats(Some("n")).unwrap();
        assert_eq!(stats.counters.hits_exact, 0);
        assert_eq!(stats.namespaces[0].quota, Some(20_000));
        let events = host.events.borrow();
        let deletions = events.iter().filter_map(|event| match event {
            Event::Deletion(of) => Some((of.namespace.as_str(), of.count)),
            _ => None,
        });
        let counts: Vec<_> = deletions.collect();
        assert!(counts.iter().all(|(namespace, _)| *namespace == "n"));
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
    }
}

#[test]
fn a_clear_that_is_left_or_fails_leaves_the_rest_whole() {
    let store = store_of(1_000);
    let (mut cache, _) = hasty(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    assert!(cache.clear().unwrap().more);
    store.fail_at(2);
    assert!(cache.clear().is_err());
    store.fail_never();
    assert_eq!(store.entries().len(), 1_000 - 128);
    assert_in_step(&mut cache, &store);
    assert_eq!(nearest(&mut cache, 9.0), "q900");
    while cache.clear().unwrap().more {}
    assert_in_step(&mut cache, &store);
}

#[test]
fn a_clear_ends_while_others_store() {
    for all in [false, true] {
        let store = store_of(1_000);
        let (mut cache, _) = hasty(&store, |_| {});
        let (mut deleted, mut stored, mut turns) = (0, 0, 0);
        loop {
            let step = match all {
                true => cache.clear().unwrap(),
                false => cache.clear_namespace("n").unwrap(),
            };
            deleted += step.entries;
            if !step.more {
                break;
            }
            turns += 1;
            // More than a turn deletes.
            for id in 0..200 {
                let id = 10_000 + stored + id;
                store.plant(Entry {
                    id,
                    ..entry("n", &format!("new {id}"), &at_angle(0.0), 900)
                });
            }
            stored += 200;
            assert!(turns < 100, "it does not end");
        }
        assert_eq!((turns, deleted), (7, 1_000 + stored));
        assert_eq!(store.entries().len(), 0);
    }
}

#[test]
fn clears_of_two_namespaces_end_beside_each_other() {
    let store = store_of(1_000);
    let plant = |namespace: &str, from: u64, count: u64| {
        for id in from..from + count {
            let entry = entry(namespace, &format!("new {id}"), &at_angle(0.0), 900);
            store.plant(Entry { id, ..entry });
        }
    };
    plant("m", 2_000, 1_000);
    let (mut cache, _) = hasty(&store, |_| {});
    for turn in 1..=8 {
        for namespace in ["m", "n"] {
            let more = cache.clear_namespace(namespace).unwrap().more;
            assert_eq!(more, turn < 8, "{namespace}, turn {turn}");
        }
        let from = 10_000 + 1_000 * turn;
        plant("m", from, 200);
        plant("n", from + 200, 200);
    }
    assert_eq!(store.entries().len(), 400, "what came after the end");
}

#[test]
fn a_clear_that_was_left_begins_again_later() {
    let store = store_of(300);
    let (mut cache, host) = hasty(&store, |_| {});
    assert!(cache.clear().unwrap().more);
    assert!(cache.clear().unwrap().more);
    for id in 1_000..1_300 {
        store.plant(Entry {
            id,
            ..entry("n", &format!("new {id}"), &at_angle(0.0), 900)
        });
    }
    host.millis.set(host.millis.get() + 60_000);
    let step = cache.clear().unwrap();
    assert_eq!((step.entries, step.more), (128, true));
    assert_eq!(store.entries().len(), 44 + 300 - 128);
}

/// A cache whose index has three blocks, 100 deleted rows in each.
fn riddled(store: &TestStore, change: impl FnOnce(&mut Options)) -> (TestCache, TestHost) {
    let (mut cache, host) = hasty(store, change);
    while cache.warm_up().unwrap().more {}
    for id in (1..=100).chain(5_001..=5_100).chain(9_001..=9_100) {
        assert!(cache.delete(&format!("q{id}"), "n", "").unwrap());
    }
    assert_eq!(cache.stats(None).unwrap().index_tombstones, 300);
    (cache, host)
}

#[test]
fn compacting_takes_turns_and_ends_while_others_delete() {
    for vacuum in [false, true] {
        let store = store_of(ROWS);
        let (mut cache, _) = riddled(&store, |_| {});
        let compact = |cache: &mut TestCache| match vacuum {
            true => cache.vacuum(None, true).unwrap(),
            false => cache.compact().unwrap(),
        };
        let (mut freed, mut left) = (0, Vec::new());
        loop {
            let step = compact(&mut cache);
            freed += step.entries;
            left.push(cache.stats(None).unwrap().index_tombstones);
            if !step.more {
                break;
            }
            hit(cache.get(exact("q200")).unwrap());
            // In the first block again.
            let query = format!("q{}", 300 + left.len());
            assert!(cache.delete(&query, "n", "").unwrap());
        }
        assert_eq!(left, [200, 101, 2, 3]);
        assert_eq!(freed, if vacuum { 0 } else { 300 });
        assert_in_step(&mut cache, &store);
        assert_eq!(nearest(&mut cache, 95.0), "q9500");
    }
}

#[test]
fn compacting_that_was_left_begins_again_later() {
    let store = store_of(ROWS);
    let (mut cache, host) = riddled(&store, |_| {});
    assert!(cache.compact().unwrap().more);
    assert!(cache.delete("q200", "n", "").unwrap());
    host.millis.set(host.millis.get() + 60_000);
    let mut freed = 0;
    while {
        let step = cache.compact().unwrap();
        freed += step.entries;
        step.more
    } {}
    assert_eq!(freed, 201);
    assert_eq!(cache.stats(None).unwrap().index_tombstones, 0);
}

#[test]
fn graphs_are_built_in_turns() {
    let store = store_of(ROWS);
    let (mut cache, _) = hasty(&store, |o| {
        o.index = IndexKind::Hnsw;
        (o.graph.ef_search, o.graph.ef_construction) = (8, 8);
    });
    let mut turns = 0;
    while cache.compact().unwrap().more {
        hit(cache.get(exact("q1")).unwrap());
        turns += 1;
        assert!(turns < 100, "it does not end");
    }
    // Three pages are read, and the last block has room.
    assert!(turns >= 4, "{turns} turns");
    assert_eq!(cache.stats(None).unwrap().index_graph_rows, 8_192);
}
