//! Long work in turns.

use super::{PER_TURN, SemanticCache, late};
use crate::embedder::Precomputed;
use crate::host::Clock;
use crate::store::MemoryStore;
use crate::{GetRequest, PutRequest, VectorDtype};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;

/// A clock that moves on by so many milliseconds whenever it is asked.
#[derive(Clone, Default)]
struct Ticking {
    now: Arc<AtomicU64>,
    tick: Arc<AtomicU64>,
}

impl Clock for Ticking {
    fn now(&self) -> Duration {
        let tick = self.tick.load(SeqCst);
        Duration::from_millis(1_000_000 + self.now.fetch_add(tick, SeqCst))
    }
}

fn cache(clock: &Ticking) -> SemanticCache {
    SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Precomputed::new("v", 2))
        .clock(clock.clone())
        .open()
        .unwrap()
}

fn puts(entries: usize) -> Vec<PutRequest> {
    let one = |n| PutRequest::new(format!("q{n}"), format!("r{n}")).embedding(vec![1.0, n as f32]);
    (0..entries).map(one).collect()
}

#[test]
fn only_the_first_late_ones_are_handed_over_again() {
    let all = vec![true; 10_000];
    assert_eq!(late(&all, |late| *late), (0..PER_TURN).collect::<Vec<_>>());
    let some: Vec<usize> = (0..1000).collect();
    assert_eq!(late(&some, |n| n % 400 == 1), [1, 401, 801]);
    assert!(late(&some, |_| false).is_empty());
}

#[test]
fn many_requests_are_answered_in_order_however_short_the_turns() {
    let clock = Ticking::default();
    let cache = cache(&clock);
    clock.tick.store(11, SeqCst);
    let ids = cache.put_many(puts(1500)).unwrap();
    assert_eq!(ids, (1..=1500).collect::<Vec<u64>>());
    let asked = (0..1500).map(|n| GetRequest::new(format!("q{n}")));
    let answers = cache.get_many(asked.collect()).unwrap();
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.hit().unwrap().response, format!("r{n}"));
    }
}

#[test]
fn two_that_requantize_at_once_both_end() {
    let clock = Ticking::default();
    let cache = cache(&clock);
    cache.put_many(puts(13_000)).unwrap();
    cache.warm_up().unwrap();
    clock.tick.store(11, SeqCst);
    let (done, ended) = channel();
    for dtype in [VectorDtype::Float16, VectorDtype::Int8] {
        let (cache, done) = (cache.clone(), done.clone());
        std::thread::spawn(move || done.send(cache.requantize(dtype)));
    }
    for _ in 0..2 {
        let outcome = ended.recv_timeout(Duration::from_secs(60));
        outcome.expect("it ends").unwrap();
    }
    let stats = cache.stats(None).unwrap();
    assert_eq!(stats.index_rows, 13_000);
    assert_ne!(stats.vector_dtype, VectorDtype::Float32);
}
