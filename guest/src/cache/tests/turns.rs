//! Long work goes in turns: what others get in between, and what they may do.

use super::*;
use crate::testing::entry;

/// More than two pages of vectors.
pub(super) const ROWS: u64 = 10_000;

/// A store whose namespace `n` has so many entries.
pub(super) fn store_of(rows: u64) -> TestStore {
    let store = TestStore::opened(2);
    for id in 1..=rows {
        store.plant(Entry {
            id,
            ..entry("n", &format!("q{id}"), &at_angle(angle(id)), 900)
        });
    }
    store
}

/// A cache each of whose looks at the clock ends the turn.
pub(super) fn hasty(store: &TestStore, change: impl FnOnce(&mut Options)) -> (TestCache, TestHost) {
    let (cache, host) = cache_on(store, change);
    host.tick_millis.set(10);
    (cache, host)
}

/// Every hundredth row stands alone, a degree from the next: 100 at 1°, up to 10,000 at 100°. The
/// others are a crowd between 200° and 250°.
fn angle(id: u64) -> f64 {
    match id % 100 {
        0 => id as f64 / 100.0,
        rest => 200.0 + rest as f64 / 2.0,
    }
}

/// Asks again until there is an answer, and does something in between, which is told how often
/// it was called.
fn ask_on(
    cache: &mut TestCache,
    request: &GetRequest,
    mut between: impl FnMut(&mut TestCache, u64),
) -> (Lookup, u64) {
    for turn in 0..1_000 {
        match cache.get(request.clone()).unwrap() {
            Lookup::Later => between(cache, turn),
            answer => return (answer, turn),
        }
    }
    panic!("it takes too long");
}

pub(super) fn nearest(cache: &mut TestCache, degrees: f64) -> String {
    hit(ask_on(cache, &ask("in other words", degrees), |_, _| {}).0).query
}

pub(super) fn exact(query: &str) -> GetRequest {
    GetRequest {
        vector: VectorSource::Absent,
        ..ask(query, 0.0)
    }
}

/// Whether the index has exactly the rows of the store.
pub(super) fn assert_in_step(cache: &mut TestCache, store: &TestStore) {
    let stats = cache.stats(None).unwrap();
    assert_eq!(stats.index_rows, store.entries().len() as u64);
    assert_eq!(stats.entries, stats.index_rows);
    assert_eq!(cache.health(false).unwrap().problems, [""; 0]);
}

/// An index that a cache has kept.
fn kept_of(rows: u64) -> TestStore {
    let store = store_of(rows);
    let (mut cache, _) = cache_on(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    cache.close().unwrap();
    assert!(store.blobs().contains_key("index/head"));
    store
}

#[test]
fn exact_look_ups_are_served_while_the_index_is_read() {
    for store in [store_of(ROWS), kept_of(ROWS)] {
        let (mut cache, _) = hasty(&store, |_| {});
        let (answer, turns) = ask_on(&mut cache, &ask("x", 7.0), |cache, turn| {
            let calls = store.calls();
            hit(cache.get(exact(&format!("q{}", turn + 1))).unwrap());
            assert!(store.calls() - calls <= 2, "it does not load");
        });
        assert_eq!(hit(answer).query, "q700");
        assert!(turns >= 2, "it was read in {turns} turns");
        assert_in_step(&mut cache, &store);
        let counters = cache.stats(None).unwrap().counters;
        assert_eq!((counters.hits_semantic, counters.misses), (1, 0));
    }
}

#[test]
fn what_is_written_while_the_index_is_read_is_in_it() {
    for (store, coordination) in [
        (store_of(ROWS), Coordination::Single),
        (kept_of(ROWS), Coordination::Single),
        (store_of(ROWS), Coordination::StaleTolerant(0)),
        (kept_of(ROWS), Coordination::StaleTolerant(0)),
    ] {
        let (mut cache, _) = hasty(&store, |o| o.coordination = coordination);
        let (mut other, other_host) = cache_on(&store, |_| {});
        other_host.set(2_000);
        let is_shared = coordination != Coordination::Single;
        let (_, turns) = ask_on(&mut cache, &ask("x", 0.0), |cache, turn| {
            if turn >= 9 {
                return;
            }
            let at = turn as f64;
            // Of the first page, and of the last.
            for id in [100 + 100 * turn, ROWS - 100 * turn] {
                cache.delete(&format!("q{id}"), "n", "").unwrap();
            }
            for (id, to) in [(2_000, 260.0), (8_000, 280.0)] {
                let moved = format!("q{}", id + 100 * turn);
                cache.put(response(&moved, to + at)).unwrap();
            }
            cache
                .put(response(&format!("new {turn}"), 110.0 + at))
                .unwrap();
            if is_shared {
                other
                    .put(response(&format!("other {turn}"), 130.0 + at))
                    .unwrap();
                other
                    .delete(&format!("q{}", 4_000 + 100 * turn), "n", "")
                    .unwrap();
            }
        });
        assert!(turns >= 2, "it was read in {turns} turns");
        for turn in 0..turns.min(9) {
            let at = turn as f64;
            assert_eq!(nearest(&mut cache, 110.0 + at), format!("new {turn}"));
            if is_shared {
                assert_eq!(nearest(&mut cache, 130.0 + at), format!("other {turn}"));
            }
            for (id, to) in [(2_000, 260.0), (8_000, 280.0)] {
                let id = id + 100 * turn;
                assert_ne!(nearest(&mut cache, angle(id)), format!("q{id}"));
                assert_eq!(nearest(&mut cache, to + at), format!("q{id}"));
            }
            for id in [100 + 100 * turn, ROWS - 100 * turn] {
                assert_ne!(nearest(&mut cache, angle(id)), format!("q{id}"));
            }
        }
        // What others have written may still be on its way.
        for _ in 0..100 {
            nearest(&mut cache, 0.0);
        }
        assert_in_step(&mut cache, &store);
    }
}

#[test]
fn a_clear_while_the_index_is_read_leaves_nothing_of_it() {
    for store in [store_of(ROWS), kept_of(ROWS)] {
        for all in [false, true] {
            let (mut cache, _) = hasty(&store, |_| {});
            let (answer, _) = ask_on(&mut cache, &ask("x", 0.0), |cache, turn| {
                if turn == 1 {
                    while match all {
                        true => cache.clear().unwrap().more,
                        false => cache.clear_namespace("n").unwrap().more,
                    } {}
                    cache.put(response("new", 90.0)).unwrap();
                }
            });
            assert_eq!(miss(answer), MissReason::BelowThreshold);
            assert_eq!(nearest(&mut cache, 90.0), "new");
            assert_in_step(&mut cache, &store);
        }
    }
}

#[test]
fn a_search_goes_in_turns_and_misses_nothing() {
    let store = store_of(ROWS);
    let (mut cache, host) = hasty(&store, |_| {});
    assert_eq!(nearest(&mut cache, 7.0), "q700");
    // The answer is among the last rows.
    let (answer, turns) = ask_on(&mut cache, &ask("x", 100.0), |cache, turn| {
        hit(cache.get(exact("q1")).unwrap());
        // Others search for the same at the same time.
        if turn == 0 {
            assert_eq!(nearest(cache, 100.0), format!("q{ROWS}"));
        }
    });
    assert_eq!(hit(answer).query, format!("q{ROWS}"));
    assert!(turns >= 2, "{turns} turns");
    // Whoever begins after a write sees it, even if others were searching for the same.
    for query in ["q5", "new"] {
        let degrees = 120.0 + query.len() as f64;
        assert!(matches!(cache.get(ask("y", degrees)), Ok(Lookup::Later)));
        cache.put(response(query, degrees)).unwrap();
        assert_eq!(nearest(&mut cache, degrees), query);
    }
    // What was the best is gone at the end.
    assert!(matches!(cache.get(ask("z", 7.0)), Ok(Lookup::Later)));
    assert!(cache.delete("q700", "n", "").unwrap());
    assert_ne!(nearest(&mut cache, 7.0), "q700");
    // So is the index.
    assert!(matches!(cache.get(ask("z", 9.0)), Ok(Lookup::Later)));
    while cache.requantize(VectorDtype::Int8).unwrap() {}
    assert_eq!(nearest(&mut cache, 9.0), "q900");
    // An explanation takes turns as well.
    let explained = (0..100).find_map(|_| match cache.explain(ask("x", 7.4), 40).unwrap() {
        Explained::Explanation(explanation) => Some(explanation),
        _ => None,
    });
    let candidates = explained.unwrap().candidates;
    assert_eq!(candidates.len(), 40);
    assert_eq!(candidates[0].query, "q800");
    host.tick_millis.set(0);
    let answer = cache.get(ask("in other words", 7.4)).unwrap();
    assert_eq!(hit(answer).query, "q800");
}

#[test]
fn a_failure_while_the_index_is_read_is_told_and_it_is_read_again() {
    for store in [store_of(ROWS), kept_of(ROWS)] {
        for failing in 1..8 {
            let (mut cache, _) = hasty(&store, |_| {});
            assert!(matches!(cache.get(ask("x", 0.0)), Ok(Lookup::Later)));
            store.fail_at(failing);
            let failed = (0..3).any(|_| cache.get(ask("x", 0.0)).is_err());
            // Without a stored index, all vectors are read.
            assert!(failed || !store.has_failed() || !store.blobs().is_empty());
            store.fail_never();
            assert_eq!(nearest(&mut cache, 7.0), "q700");
        }
    }
}

#[test]
fn warming_up_takes_turns_and_says_how_many_rows_there_are() {
    let store = store_of(ROWS);
    let (mut cache, _) = hasty(&store, |_| {});
    let mut turns = 0;
    let step = loop {
        let step = cache.warm_up().unwrap();
        if !step.more {
            break step;
        }
        turns += 1;
        hit(cache.get(exact("q1")).unwrap());
    };
    assert_eq!(step.entries, ROWS);
    assert!(turns >= 2, "{turns} turns");
    assert_eq!(cache.stats(None).unwrap().index_coded_rows, ROWS);
}

#[test]
fn the_old_index_answers_until_requantizing_is_done() {
    let store = store_of(ROWS);
    let (mut cache, _) = hasty(&store, |o| {
        o.coordination = Coordination::StaleTolerant(0);
        o.persist_index = IndexKeeping::None;
    });
    let (mut other, _) = cache_on(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    // Begun and left, it does no harm: the index goes on following.
    assert!(cache.requantize(VectorDtype::Float16).unwrap());
    other.put(response("other", 120.0)).unwrap();
    for _ in 0..100 {
        nearest(&mut cache, 100.0);
    }
    assert_eq!(nearest(&mut cache, 120.0), "other");
    let mut turns = 0;
    while cache.requantize(VectorDtype::Int8).unwrap() {
        assert_eq!(
            cache.stats(None).unwrap().vector_dtype,
            VectorDtype::Float32
        );
        let degrees = 140.0 + turns as f64;
        cache
            .put(response(&format!("new {turns}"), degrees))
            .unwrap();
        assert_eq!(nearest(&mut cache, degrees), format!("new {turns}"));
        turns += 1;
    }
    assert!(turns >= 2, "{turns} turns");
    for turn in 0..turns {
        assert_eq!(
            nearest(&mut cache, 140.0 + turn as f64),
            format!("new {turn}")
        );
    }
    assert_eq!(nearest(&mut cache, 120.0), "other");
    assert_in_step(&mut cache, &store);
    assert_eq!(cache.stats(None).unwrap().vector_dtype, VectorDtype::Int8);
}

/// Rows that get another vector while the index is kept.
const MOVED: [(u64, f64); 2] = [(2_000, 260.0), (9_000, 280.0)];

#[test]
fn the_index_is_kept_in_turns_whatever_is_written_in_between() {
    for begun in 0..12 {
        let store = store_of(ROWS);
        let (mut cache, host) = hasty(&store, |_| {});
        while cache.warm_up().unwrap().more {}
        let mut turns = 0;
        while cache.flush().unwrap() {
            if turns == begun {
                cache.delete("q1000", "n", "").unwrap();
                cache.delete(&format!("q{ROWS}"), "n", "").unwrap();
                for (id, to) in MOVED {
                    cache.put(response(&format!("q{id}"), to)).unwrap();
                }
                cache.put(response("new", 120.0)).unwrap();
            }
            turns += 1;
        }
        assert!(turns >= 4, "{turns} turns");
        let (mut next, next_host) = cache_on(&store, |_| {});
        next_host.millis.set(host.millis.get());
        for cache in [&mut cache, &mut next] {
            if begun < turns {
                assert_eq!(nearest(cache, 120.0), "new");
                for (id, to) in MOVED {
                    assert_ne!(nearest(cache, angle(id)), format!("q{id}"));
                    assert_eq!(nearest(cache, to), format!("q{id}"));
                }
                assert_ne!(nearest(cache, 10.0), "q1000");
            }
            assert_eq!(nearest(cache, 7.0), "q700");
            assert_in_step(cache, &store);
        }
        assert!(
            next.stats(None).unwrap().index_coded_rows > ROWS / 2,
            "it was read from what was kept"
        );
        drop(cache.close());
    }
}

#[test]
fn a_clear_while_the_index_is_kept_leaves_no_pieces() {
    let store = store_of(ROWS);
    let (mut cache, _) = hasty(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    for _ in 0..3 {
        assert!(cache.flush().unwrap());
    }
    while cache.clear().unwrap().more {}
    while cache.flush().unwrap() {}
    assert_eq!(store.blobs().len(), 0);
    let (mut next, _) = cache_on(&store, |_| {});
    assert_eq!(miss(next.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
}

#[test]
fn an_index_whose_pieces_another_process_removes_is_not_kept() {
    let store = store_of(ROWS);
    let (mut cache, _) = hasty(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    while !store.blobs().keys().any(|name| name.ends_with("/0")) {
        assert!(cache.flush().unwrap(), "it has pieces before its end");
    }
    store.blobs().clear();
    while cache.flush().unwrap() {}
    assert!(!store.blobs().contains_key("index/head"));
    while cache.flush().unwrap() {}
    assert!(
        store.blobs().contains_key("index/head"),
        "the next time it is"
    );
}

#[test]
fn lists_are_answered_and_stored_as_far_as_a_turn_goes() {
    let store = store_of(10);
    let (mut cache, _) = hasty(&store, |_| {});
    let requests: Vec<_> = (1..=3).map(|id| exact(&format!("q{id}"))).collect();
    let answers = cache.get_many(requests).unwrap();
    assert!(matches!(
        answers.as_slice(),
        [Lookup::Hit(_), Lookup::Later, Lookup::Later]
    ));
    assert_eq!(cache.stats(None).unwrap().counters.hits_exact, 1);
    let many: Vec<_> = (0..600).map(|n| response(&format!("r{n}"), 0.0)).collect();
    let outcomes = cache.put_many(many).unwrap();
    let is_stored = |outcome: &PutOutcome| matches!(outcome, PutOutcome::Stored(_));
    let stored = store.capabilities().max_batch as usize;
    assert!(outcomes[..stored].iter().all(is_stored));
    assert!(
        outcomes[stored..]
            .iter()
            .all(|one| *one == PutOutcome::Ready)
    );
    assert_eq!(store.entries().len(), 10 + stored);
    assert!(is_stored(&cache.put(response("r300", 0.0)).unwrap()));
}
