//! The index that is kept in the store.

use super::*;
use crate::testing::entry;

const ROWS: usize = 1500;

/// What is done to a store.
type Damage<'a> = Box<dyn Fn(&TestStore) + 'a>;

/// A store with an index that a cache has kept in it, and that cache's host.
fn kept() -> (TestStore, TestHost) {
    kept_at(1000)
}

/// As [`kept`], but the index was made at this second.
fn kept_at(seconds: u64) -> (TestStore, TestHost) {
    let store = TestStore::default();
    let (mut cache, host) = cache_on(&store, |_| {});
    for n in 0..ROWS {
        cache.put(response(&format!("q{n}"), angle(n))).unwrap();
    }
    host.set(seconds);
    assert_eq!(cache.warm_up().unwrap().entries, ROWS as u64);
    cache.close().unwrap();
    assert!(store.blobs().len() >= 2);
    (store, host)
}

/// Of the entry with this number.
fn angle(n: usize) -> f64 {
    n as f64 * 360.0 / ROWS as f64
}

/// The query of the entry that is nearest to an angle.
fn nearest(cache: &mut TestCache, degrees: f64) -> String {
    hit(cache.get(ask("in other words", degrees)).unwrap()).query
}

/// How many rows have their vectors in memory, of how many.
fn resident(cache: &mut TestCache) -> (u64, u64) {
    let stats = cache.stats(None).unwrap();
    (stats.index_resident_rows, stats.index_rows)
}

fn problems(cache: &mut TestCache) -> String {
    cache.health(true).unwrap().problems.join("; ")
}

#[test]
fn names_of_other_writers_do_not_spoil_it() {
    let long = "x".repeat(2_000);
    let store = TestStore::opened(2);
    for n in 1..=ROWS as u64 {
        let namespace = ["n", "", &long][n as usize % 3];
        store.plant(Entry {
            id: n,
            ..entry(
                namespace,
                &format!("q{n}"),
                &at_angle(angle(n as usize)),
                900,
            )
        });
    }
    let (mut cache, _) = cache_on(&store, |_| {});
    cache.warm_up().unwrap();
    cache.close().unwrap();
    assert!(store.blobs().contains_key("index/head"));
    let (mut next, _) = cache_on(&store, |_| {});
    assert_eq!(nearest(&mut next, angle(300) + 0.01), "q300");
    assert_eq!(resident(&mut next), (0, ROWS as u64), "it was kept");
    assert_eq!(problems(&mut next), "");
}

#[test]
fn the_next_cache_answers_before_it_has_read_vectors_and_reads_them_bit_by_bit() {
    let (store, _) = kept();
    let (mut cache, _) = cache_on(&store, |_| {});
    assert_eq!(nearest(&mut cache, angle(70) + 0.01), "q70");
    assert_eq!(resident(&mut cache), (0, ROWS as u64));
    for n in 0..20 {
        assert_eq!(
            nearest(&mut cache, angle(70 * n) + 0.01),
            format!("q{}", 70 * n)
        );
    }
    assert_eq!(resident(&mut cache), (ROWS as u64, ROWS as u64));
    assert_eq!(nearest(&mut cache, angle(700) + 0.01), "q700");
    assert_eq!(problems(&mut cache), "");
}

#[test]
fn what_others_have_changed_since_is_seen() {
    for coordination in [Coordination::Single, Coordination::StaleTolerant(0)] {
        let (store, _) = kept();
        // It has no index, so it stores none.
        let (mut other, host) = cache_on(&store, |_| {});
        other.put(response("new", angle(10) + 0.05)).unwrap();
        other.delete("q20", "n", "").unwrap();
        // Within the second in which it was stored.
        other.put(response("q30", angle(40) + 0.05)).unwrap();
        host.set(5000);
        other.put(response("q50", angle(60) + 0.05)).unwrap();
        other.close().unwrap();
        let (mut cache, host) = cache_on(&store, |o| o.coordination = coordination);
        host.set(5000);
        for (at, query) in [(10, "new"), (40, "q30"), (60, "q50"), (70, "q70")] {
            let found = cache.get(GetRequest {
                threshold: Some(0.999),
                ..ask("in other words", angle(at) + 0.05)
            });
            assert_eq!(hit(found.unwrap()).query, query);
        }
        for gone in [20, 30, 50] {
            assert_ne!(nearest(&mut cache, angle(gone)), format!("q{gone}"));
        }
        assert_eq!(problems(&mut cache), "");
    }
}

#[test]
fn entries_stored_while_vectors_are_absent_are_found_and_kept() {
    let (store, host) = kept();
    let (mut cache, _) = cache_on(&store, |_| {});
    assert_eq!(nearest(&mut cache, angle(1)), "q1");
    for n in 0..ROWS {
        cache
            .put(response(&format!("r{n}"), angle(n) + 0.1))
            .unwrap();
    }
    cache.put(response("q3", angle(5) + 0.05)).unwrap();
    cache.delete("q7", "n", "").unwrap();
    for _ in 0..2 {
        assert_eq!(nearest(&mut cache, angle(900) + 0.1), "r900");
        assert_eq!(nearest(&mut cache, angle(5) + 0.05), "q3");
        assert_ne!(nearest(&mut cache, angle(7)), "q7");
    }
    cache.warm_up().unwrap();
    assert_eq!(
        resident(&mut cache),
        (2 * ROWS as u64 - 1, 2 * ROWS as u64 - 1)
    );
    let before = store.blobs().clone();
    cache.flush().unwrap();
    assert_ne!(*store.blobs(), before, "half of it has changed");
    assert!(
        before
            .keys()
            .filter(|name| *name != "index/head")
            .all(|name| !store.blobs().contains_key(name))
    );
    let (mut cache, _) = cache_on(&store, |_| {});
    host.set(1000);
    assert_eq!(nearest(&mut cache, angle(900) + 0.1), "r900");
    assert_eq!(resident(&mut cache).0, 0);
}

#[test]
fn damage_is_noticed_reported_and_mended() {
    let (store, _) = kept();
    let sound = store.blobs().clone();
    let names: Vec<String> = sound.keys().cloned().collect();
    let mut damages: Vec<Damage> = Vec::new();
    for name in &names {
        let length = sound[name].len();
        for at in [0, length / 3, length / 2, length - 1] {
            damages.push(Box::new(move |store| {
                store.blobs().get_mut(name).unwrap()[at] ^= 4
            }));
        }
        damages.push(Box::new(|store| {
            store.blobs().get_mut(name).unwrap().truncate(100)
        }));
        damages.push(Box::new(|store| {
            store.blobs().get_mut(name).unwrap().clear()
        }));
        if name != "index/head" {
            damages.push(Box::new(|store| drop(store.blobs().remove(name))));
        }
    }
    for (n, damage) in damages.iter().enumerate() {
        *store.blobs() = sound.clone();
        damage(&store);
        let (mut cache, _) = cache_on(&store, |_| {});
        assert_eq!(nearest(&mut cache, angle(70) + 0.01), "q70", "damage {n}");
        // A flipped bit of the head may leave another number that is a number.
        if resident(&mut cache).0 > 0 {
            assert!(
                problems(&mut cache).contains("keeping the index"),
                "damage {n}"
            );
            cache.warm_up().unwrap();
            cache.flush().unwrap();
            assert_eq!(problems(&mut cache), "", "damage {n}");
            let (mut next, _) = cache_on(&store, |_| {});
            assert_eq!(nearest(&mut next, angle(70) + 0.01), "q70");
            assert_eq!(resident(&mut next).0, 0, "damage {n}");
        }
        assert_eq!(nearest(&mut cache, angle(71) + 0.01), "q71", "damage {n}");
    }
}

#[test]
fn an_index_of_another_dtype_is_rebuilt() {
    let (store, _) = kept();
    for (dtype, usable) in [
        (VectorDtype::Float16, true),
        (VectorDtype::Int8, false),
        (VectorDtype::Float32, true),
    ] {
        let (mut cache, _) = cache_on(&store, |o| o.vector_dtype = dtype);
        assert_eq!(nearest(&mut cache, angle(70) + 0.01), "q70");
        assert_eq!(resident(&mut cache).0 == 0, usable, "{dtype:?}");
    }
    // Int8 is kept with all of its codes.
    let (mut cache, _) = cache_on(&store, |o| o.vector_dtype = VectorDtype::Int8);
    cache.warm_up().unwrap();
    cache.close().unwrap();
    let (mut cache, _) = cache_on(&store, |o| o.vector_dtype = VectorDtype::Int8);
    assert_eq!(nearest(&mut cache, angle(70) + 0.01), "q70");
    assert_eq!(resident(&mut cache), (ROWS as u64, ROWS as u64));
    assert_eq!(cache.stats(None).unwrap().index_coded_rows, ROWS as u64);
}

#[test]
fn nothing_is_kept_where_that_is_not_wanted_or_does_not_pay() {
    let store = TestStore::default();
    let (mut cache, _) = cache_on(&store, |o| o.persist_index = IndexKeeping::None);
    for n in 0..ROWS {
        cache.put(response(&format!("q{n}"), angle(n))).unwrap();
    }
    cache.warm_up().unwrap();
    cache.close().unwrap();
    assert_eq!(store.blobs().len(), 0);

    let (store, _) = kept_at(1010);
    let before = store.blobs().clone();
    let (mut cache, _) = cache_on(&store, |_| {});
    cache.put(response("new", 0.0)).unwrap();
    cache.warm_up().unwrap();
    cache.close().unwrap();
    assert_eq!(
        *store.blobs(),
        before,
        "one row is read faster than all are written"
    );
    let (mut cache, _) = cache_on(&store, |o| o.persist_index = IndexKeeping::None);
    nearest(&mut cache, 0.0);
    assert_eq!(
        resident(&mut cache).0,
        ROWS as u64 + 1,
        "nor is it read then"
    );
}

#[test]
fn a_store_that_fails_while_the_index_is_kept_or_read_spoils_nothing() {
    let (store, _) = kept();
    for n in 1.. {
        let (mut cache, _) = cache_on(&store, |_| {});
        store.fail_at(n);
        let answer = cache.get(ask("in other words", angle(70) + 0.01));
        let failed = store.has_failed();
        store.fail_never();
        assert_eq!(nearest(&mut cache, angle(70) + 0.01), "q70", "call {n}");
        if !failed {
            hit(answer.unwrap());
            break;
        }
    }
    for n in 1.. {
        let (mut cache, _) = cache_on(&store, |_| {});
        cache.clear_namespace("n").unwrap();
        for n in 0..ROWS {
            cache.put(response(&format!("s{n}"), angle(n))).unwrap();
        }
        cache.warm_up().unwrap();
        store.fail_at(n);
        let _ = cache.close();
        let failed = store.has_failed();
        store.fail_never();
        let (mut next, _) = cache_on(&store, |_| {});
        assert_eq!(nearest(&mut next, angle(70) + 0.01), "s70", "call {n}");
        if !failed {
            break;
        }
    }
}

#[test]
fn a_native_archive_has_it_and_a_portable_one_has_not() {
    for snapshots in [true, false] {
        let store = TestStore::default();
        store.snapshots.set(snapshots);
        let (mut source, _) = cache_on(&store, |_| {});
        for n in 0..ROWS {
            source.put(response(&format!("q{n}"), angle(n))).unwrap();
        }
        source.warm_up().unwrap();
        let archive = checkpoints::dump_with(&mut source, |_| {});
        let copy = TestStore::default();
        copy.snapshots.set(snapshots);
        let (mut target, _) = cache_on(&copy, |_| {});
        checkpoints::load_with(&mut target, &archive, |_| {}).unwrap();
        assert_eq!(nearest(&mut target, angle(70) + 0.01), "q70");
        let coded = target.stats(None).unwrap().index_coded_rows;
        assert_eq!(coded, if snapshots { ROWS as u64 } else { 0 });
    }
}

/// With a log of changes, the index is brought up to what has happened since it was kept.
#[test]
fn what_was_put_before_it_was_read_is_found() {
    for dtype in [VectorDtype::Float32, VectorDtype::Int8] {
        let store = TestStore::default();
        let change = |o: &mut Options| {
            o.coordination = Coordination::StaleTolerant(0);
            o.vector_dtype = dtype;
        };
        let (mut cache, _) = cache_on(&store, change);
        for n in 0..ROWS {
            cache.put(response(&format!("q{n}"), angle(n))).unwrap();
        }
        cache.warm_up().unwrap();
        cache.close().unwrap();
        let (mut next, _) = cache_on(&store, change);
        next.put(response("mine", angle(700) + 0.12)).unwrap();
        next.put(response("q300", angle(900) + 0.12)).unwrap();
        assert_eq!(nearest(&mut next, angle(700) + 0.12), "mine", "{dtype:?}");
        assert_eq!(nearest(&mut next, angle(900) + 0.12), "q300", "{dtype:?}");
        assert_eq!(next.stats(None).unwrap().index_rows, ROWS as u64 + 1);
    }
}
