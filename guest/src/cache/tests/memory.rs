//! Memory that is too short for the index, or for a part of it.

use super::*;
use crate::testing::entry;
use crate::testing::memory::with_memory;

const DIM: usize = 256;
const ROWS: u64 = 20_000;
const MIB: usize = 1 << 20;
/// All vectors, and some more.
const ENOUGH: usize = 64 * MIB;
/// All codes, and a third of the vectors.
const CODES: usize = 14 * MIB;
/// Some of the codes, with what reading them needs.
const SOME_CODES: usize = 9 * MIB / 2;
/// Less than all codes.
const TOO_LITTLE: usize = 2 * MIB;

/// The unit vector of an entry.
fn vector(n: u64) -> Vec<f32> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let values: Vec<f32> = (0..DIM).map(|_| random()).collect();
    crate::vector::unit(values, DIM as u32).unwrap()
}

fn filled() -> TestStore {
    let store = TestStore::opened(DIM as u32);
    for n in 1..=ROWS {
        store.plant(Entry {
            id: n,
            ..entry("n", &format!("q{n}"), &vector(n), 900)
        });
    }
    store
}

fn opened(store: &TestStore) -> (TestCache, TestHost) {
    cache_on(store, |options| {
        options.embedder_dim = DIM as u32;
        options.persist_index = IndexKeeping::Write;
    })
}

/// Asks in other words for an entry, until there is an answer.
fn get(cache: &mut TestCache, n: u64) -> crate::error::Result<Lookup> {
    loop {
        let request = GetRequest {
            vector: VectorSource::Given(vector(n)),
            ..ask("in other words", 0.0)
        };
        match cache.get(request)? {
            Lookup::Later => {}
            answer => return Ok(answer),
        }
    }
}

/// The message of a look-up for which there is no index.
fn refused(cache: &mut TestCache) -> String {
    match get(cache, 1) {
        Err(Error::IndexUnavailable(message)) => message,
        other => panic!("{other:?}"),
    }
}

fn finds_all(cache: &mut TestCache) {
    for n in (1..=ROWS).step_by(1_999) {
        assert_eq!(hit(get(cache, n).unwrap()).query, format!("q{n}"));
    }
}

/// The exact layer answers, whatever becomes of the index.
fn answers_exactly(cache: &mut TestCache) {
    let request = GetRequest {
        vector: VectorSource::Absent,
        ..ask("q77", 0.0)
    };
    assert_eq!(hit(cache.get(request).unwrap()).query, "q77");
}

#[test]
fn codes_stay_while_vectors_leave_memory() {
    let store = filled();
    let (mut cache, _) = opened(&store);
    with_memory(CODES, || {
        finds_all(&mut cache);
        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.index_rows, ROWS);
        let resident = stats.index_resident_rows;
        assert!((1..ROWS / 2).contains(&resident), "{resident}");
        assert!(stats.index_coded_rows >= ROWS - resident);
        // Rows that come later find their place.
        for n in ROWS + 1..ROWS + 600 {
            let put = PutRequest {
                vector: VectorSource::Given(vector(n)),
                ..response(&format!("q{n}"), 0.0)
            };
            cache.put(put).unwrap();
        }
        assert_eq!(hit(get(&mut cache, ROWS + 599).unwrap()).query, "q20599");
    });
}

#[test]
fn an_index_that_cannot_fit_is_not_read() {
    let store = filled();
    let (mut cache, host) = opened(&store);
    with_memory(TOO_LITTLE, || {
        let message = refused(&mut cache);
        assert!(message.contains("20000 rows"), "{message}");
        assert_eq!(store.rows_read(), 0);
        // For a while nothing is tried.
        let calls = store.calls();
        assert_eq!(refused(&mut cache), message);
        let exact_layer = store.calls() - calls;
        assert!(exact_layer <= 1, "{exact_layer}");
        answers_exactly(&mut cache);
    });
    // There may be more memory by then.
    refused(&mut cache);
    host.set(1_010);
    finds_all(&mut cache);
}

#[test]
fn an_index_that_does_not_fit_is_read_once_in_a_while() {
    let store = filled();
    let (mut cache, host) = opened(&store);
    host.tick_millis.set(1);
    with_memory(SOME_CODES, || {
        let message = refused(&mut cache);
        assert!(message.contains("after"), "{message}");
        let read = store.rows_read();
        assert!((1..ROWS).contains(&read), "{read}");
        assert_eq!(refused(&mut cache), message);
        assert_eq!(store.rows_read(), read);
        answers_exactly(&mut cache);
        assert_eq!(cache.stats(None).unwrap().index_rows, 0);
        host.set(5_000);
        refused(&mut cache);
        assert!(store.rows_read() > read);
        // What is gone needs no memory.
        while cache.clear().unwrap().more {}
        assert_eq!(miss(get(&mut cache, 1).unwrap()), MissReason::NoMatch);
    });
}

/// A store with all entries and an index.
fn kept() -> TestStore {
    let store = filled();
    let (mut cache, _) = opened(&store);
    while cache.warm_up().unwrap().more {}
    cache.close().unwrap();
    assert!(store.blobs().len() >= 2);
    store
}

#[test]
fn a_stored_index_that_does_not_fit_is_left_as_it_is() {
    let store = kept();
    let blobs = store.blobs().len();
    for memory in [TOO_LITTLE / 2, TOO_LITTLE] {
        let read = store.rows_read();
        let (mut cache, _) = opened(&store);
        with_memory(memory, || {
            let message = refused(&mut cache);
            assert!(message.contains("20000 rows"), "{message}");
            assert_eq!(refused(&mut cache), message);
            answers_exactly(&mut cache);
            assert_eq!(store.rows_read(), read);
            assert!(cache.health(true).unwrap().healthy);
        });
        assert_eq!(store.blobs().len(), blobs);
    }
}

#[test]
fn vectors_that_do_not_fit_beside_a_stored_index_stay_in_the_store() {
    let store = kept();
    for (memory, all) in [(ENOUGH, true), (CODES, false), (5 * MIB, false)] {
        let (mut cache, _) = opened(&store);
        with_memory(memory, || {
            finds_all(&mut cache);
            while cache.warm_up().unwrap().more {}
            finds_all(&mut cache);
            let stats = cache.stats(None).unwrap();
            assert_eq!(stats.index_rows, ROWS);
            assert_eq!(stats.index_resident_rows == ROWS, all, "{memory}");
        });
    }
}
