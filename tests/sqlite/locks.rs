//! A cache whose file another connection has locked for writing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use mneme::observe::{Observer, Timing};
use mneme::{Event, GetRequest, PutRequest, SemanticCache, SqliteStore, embedder::Precomputed};
use rusqlite::Connection;

use super::place::{Place, place};

mneme_tests::tests![
    exact_hits_go_on_while_puts_wait_for_a_lock,
    after_one_timeout_others_fail_at_once_until_a_put_succeeds,
    what_waited_for_a_lock_is_done_once,
];

/// Counts calls of the store that failed, and what was told of puts, deletions and evictions.
#[derive(Default)]
struct Seen {
    failures: AtomicU64,
    puts: AtomicU64,
    deletions: AtomicU64,
}

impl Observer for Seen {
    fn store_call(&self, timing: &Timing<'_>) {
        if timing.failed {
            self.failures.fetch_add(1, SeqCst);
        }
    }

    fn event(&self, event: &Event) {
        match event {
            Event::Put(put) => self.puts.fetch_add(put.count, SeqCst),
            Event::Deletion(deletion) => self.deletions.fetch_add(deletion.count, SeqCst),
            _ => 0,
        };
    }
}

struct Shared {
    cache: SemanticCache,
    seen: Arc<Seen>,
    other: Connection,
    _place: Place,
}

/// A cache that waits so long, and a connection of another program.
fn shared(timeout: Duration) -> Shared {
    let place = place();
    let seen = Arc::new(Seen::default());
    let cache = SemanticCache::builder()
        .store(SqliteStore::new(&place.path).busy_timeout(timeout))
        .embedder(Precomputed::new("v", 2))
        .observer(Arc::clone(&seen))
        .open()
        .unwrap();
    cache.put(answer("known")).unwrap();
    let other = Connection::open(&place.path).unwrap();
    Shared {
        cache,
        seen,
        other,
        _place: place,
    }
}

fn answer(query: &str) -> PutRequest {
    PutRequest::new(query, format!("answer to {query}")).embedding(vec![1.0, 0.0])
}

impl Shared {
    fn lock(&self) {
        self.other.execute_batch("BEGIN IMMEDIATE").unwrap();
    }

    fn release(&self) {
        self.other.execute_batch("ROLLBACK").unwrap();
    }

    /// Asks what is known until the store has failed so often, and returns how long each hit took.
    fn ask_until(&self, failures: u64) -> Vec<Duration> {
        let (end, mut took) = (Instant::now() + Duration::from_secs(60), Vec::new());
        while self.seen.failures.load(SeqCst) < failures {
            assert!(Instant::now() < end, "nobody asks for the lock");
            took.push(self.ask());
        }
        took
    }

    fn ask(&self) -> Duration {
        let start = Instant::now();
        assert!(self.cache.get(GetRequest::new("known")).unwrap().is_hit());
        start.elapsed()
    }
}

fn exact_hits_go_on_while_puts_wait_for_a_lock() {
    let shared = shared(Duration::from_secs(60));
    shared.lock();
    std::thread::scope(|scope| {
        let cache = &shared.cache;
        let one = |n| move || cache.put(answer(&format!("new {n}")));
        let mut waiting: Vec<_> = (0..20).map(|n| scope.spawn(one(n))).collect();
        let many = || cache.put_many((0..600).map(|n| answer(&format!("of many {n}"))).collect());
        let many = scope.spawn(many);
        let mut took = shared.ask_until(60);
        took.extend((0..200).map(|_| shared.ask()));
        took.sort_unstable();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        assert!(worst < Duration::from_secs(1), "{worst:?}");
        assert!(median < Duration::from_millis(100), "{median:?}");
        println!("{} hits: median {median:?}, worst {worst:?}", took.len());
        assert!(waiting.iter().all(|put| !put.is_finished()) && !many.is_finished());
        shared.release();
        for put in waiting.drain(..) {
            put.join().unwrap().unwrap();
        }
        assert_eq!(many.join().unwrap().unwrap().len(), 600);
    });
    assert_eq!(shared.cache.stats(None).unwrap().entries, 621);
    assert_eq!(shared.seen.puts.load(SeqCst), 621, "each is told once");
}

fn after_one_timeout_others_fail_at_once_until_a_put_succeeds() {
    let timeout = Duration::from_millis(1500);
    let shared = shared(timeout);
    let failing = |n: usize| {
        let start = Instant::now();
        let error = shared.cache.put(answer(&format!("new {n}"))).unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(error.to_string().contains("busy timeout"), "{error}");
        start.elapsed()
    };
    for _ in 0..2 {
        shared.lock();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..8).map(|n| scope.spawn(move || failing(n))).collect();
            let took: Vec<Duration> = waiting.into_iter().map(|put| put.join().unwrap()).collect();
            assert!(took.iter().any(|took| *took >= timeout), "{took:?}");
        });
        assert!(start.elapsed() < 2 * timeout, "{:?}", start.elapsed());
        // None of them waits as long as the first did.
        let start = Instant::now();
        for n in 0..10 {
            failing(n);
        }
        assert!(start.elapsed() < timeout, "{:?}", start.elapsed());
        shared.release();
        shared.cache.put(answer("known")).unwrap();
        // It is patient again.
    }
    assert_eq!(shared.cache.stats(None).unwrap().entries, 1);
}

fn what_waited_for_a_lock_is_done_once() {
    let shared = shared(Duration::from_secs(60));
    let requests = (0..300).map(|n| answer(&format!("{n}")).namespace("many"));
    shared.cache.put_many(requests.collect()).unwrap();
    shared.cache.set_namespace_quota("few", Some(9)).unwrap();
    type Call = fn(&SemanticCache) -> mneme::Result<u64>;
    let calls: [(&str, Call, u64); 4] = [
        ("put", |cache| cache.put(answer("other")), 302),
        (
            "delete",
            |cache| cache.delete("other", "default").map(u64::from),
            1,
        ),
        ("clear", |cache| cache.clear_namespace("small"), 0),
        (
            "quota",
            |cache| cache.set_namespace_quota("few", None).map(|()| 7),
            7,
        ),
    ];
    for (name, call, expected) in calls {
        shared.lock();
        let failures = shared.seen.failures.load(SeqCst);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| call(&shared.cache));
            shared.ask_until(failures + 3);
            assert!(!waiting.is_finished(), "{name}");
            shared.release();
            assert_eq!(waiting.join().unwrap().unwrap(), expected, "{name}");
        });
    }
    assert_eq!(shared.seen.deletions.load(SeqCst), 1);
    assert_eq!(shared.cache.namespace_quota("few").unwrap(), None);
    assert_eq!(shared.cache.clear_namespace("many").unwrap(), 300);
}
