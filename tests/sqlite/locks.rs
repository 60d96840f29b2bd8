//! A cache whose file another connection has locked for writing.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mneme::checkpoint::{DumpOptions, ImportMode, Layout, LoadOptions};
use mneme::observe::{Observer, Timing};
use mneme::{
    AsyncSemanticCache, Event, GetRequest, PutRequest, SemanticCache, SqliteStore, Ttl,
    embedder::Precomputed,
};
use mneme_store::checks::Embedder;
use mneme_store::{CapabilitySet, Result, Store, for_each_operation};
use rusqlite::Connection;

use super::place::{Place, place};

mneme_tests::tests![
    exact_hits_go_on_while_puts_wait_for_a_lock,
    exact_hits_of_tokio_programs_go_on_beside_more_puts_than_threads,
    after_one_timeout_others_fail_at_once_until_a_put_succeeds,
    what_waited_for_a_lock_is_done_once,
    a_load_waits_for_a_lock_before_it_begins,
    a_load_that_gets_no_lock_changes_nothing,
    bookkeeping_that_finds_a_lock_is_told_as_failed,
];

/// A store that counts the calls that found a lock, or failed for another reason.
struct Tried {
    store: SqliteStore,
    tries: Arc<AtomicU64>,
}

macro_rules! tried {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            let outcome = self.store.$name($($arg),*);
            self.tries.fetch_add(outcome.is_err().into(), SeqCst);
            outcome
        })*
    };
}

#[deny(clippy::missing_trait_methods)]
impl Store for Tried {
    fn capabilities(&self) -> CapabilitySet {
        self.store.capabilities()
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.store.recorded_embedder()
    }

    fn server_time(&mut self) -> Result<Option<Duration>> {
        self.store.server_time()
    }

    fn read_only(&self) -> Option<String> {
        self.store.read_only()
    }

    fn warnings(&self) -> Vec<String> {
        self.store.warnings()
    }

    for_each_operation!(tried![]);
}

/// Keeps which writes of the store were told, whether they failed and how long they took, and counts
/// what was told of puts and deletions.
#[derive(Default)]
struct Seen {
    writes: Mutex<Vec<(String, bool, Duration)>>,
    puts: AtomicU64,
    deletions: AtomicU64,
}

impl Seen {
    /// The names of the writes told since this was last asked, and whether they failed.
    fn writes(&self) -> Vec<(String, bool)> {
        let told = std::mem::take(&mut *self.writes.lock().unwrap());
        told.into_iter()
            .map(|(name, failed, _)| (name, failed))
            .collect()
    }
}

impl Observer for Seen {
    fn store_call(&self, timing: &Timing<'_>) {
        let is_read = ["get_", "iter_", "read_", "count", "list_"]
            .iter()
            .any(|read| timing.name.starts_with(read));
        if !is_read || timing.failed {
            let told = (timing.name.to_owned(), timing.failed, timing.took);
            self.writes.lock().unwrap().push(told);
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
    tries: Arc<AtomicU64>,
    other: Connection,
    _place: Place,
}

/// A cache that waits so long, and a connection of another program.
fn shared(timeout: Duration) -> Shared {
    let place = place();
    let (seen, tries) = (Arc::new(Seen::default()), Arc::new(AtomicU64::new(0)));
    let store = Tried {
        store: SqliteStore::new(&place.path).busy_timeout(timeout),
        tries: Arc::clone(&tries),
    };
    let cache = mneme_tests::builder()
        .store(store)
        .embedder(Precomputed::new("v", 2))
        .observer(Arc::clone(&seen))
        // Hits are written when that is asked for.
        .touches(u32::MAX, u32::MAX)
        .open()
        .unwrap();
    cache.put(answer("known")).unwrap();
    seen.writes();
    let other = Connection::open(&place.path).unwrap();
    Shared {
        cache,
        seen,
        tries,
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

    /// Asks what is known until the lock was found so often more, and returns how long each hit took.
    fn ask_while_tried(&self, tries: u64) -> Vec<Duration> {
        let (end, mut took) = (Instant::now() + Duration::from_secs(60), Vec::new());
        let tries = self.tries.load(SeqCst) + tries;
        while self.tries.load(SeqCst) < tries {
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

/// Nobody waited as long as a lock is held.
fn assert_quick(mut took: Vec<Duration>) {
    took.sort_unstable();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    assert!(median < Duration::from_millis(100), "{median:?}");
}

/// What is told of a write that succeeded.
fn once(name: &str) -> (String, bool) {
    (name.to_owned(), false)
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
        let mut took = shared.ask_while_tried(60);
        took.extend((0..200).map(|_| shared.ask()));
        assert_quick(took);
        assert!(waiting.iter().all(|put| !put.is_finished()) && !many.is_finished());
        shared.release();
        for put in waiting.drain(..) {
            put.join().unwrap().unwrap();
        }
        assert_eq!(many.join().unwrap().unwrap().len(), 600);
    });
    assert_eq!(shared.cache.stats(None).unwrap().entries, 621);
    assert_eq!(shared.seen.puts.load(SeqCst), 621, "each is told once");
    let told = shared.seen.writes();
    assert!(told.iter().all(|told| *told == once("insert")), "{told:?}");
    assert!((20..60).contains(&told.len()), "{}", told.len());
}

fn exact_hits_of_tokio_programs_go_on_beside_more_puts_than_threads() {
    const PUTS: usize = 300;
    const { assert!(PUTS > AsyncSemanticCache::MAX_CALLS) };
    let shared = shared(Duration::from_secs(60));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let front = AsyncSemanticCache::new(shared.cache.clone());
    shared.lock();
    runtime.block_on(async {
        let put = |n| {
            let front = front.clone();
            runtime.spawn(async move { front.put(answer(&format!("new {n}"))).await })
        };
        let waiting: Vec<_> = (0..PUTS).map(put).collect();
        let (end, mut took) = (Instant::now() + Duration::from_secs(60), Vec::new());
        while shared.tries.load(SeqCst) < 60 || took.len() < 200 {
            assert!(Instant::now() < end, "nobody asks for the lock");
            let start = Instant::now();
            assert!(front.get("known").await.unwrap().is_hit());
            took.push(start.elapsed());
        }
        assert_quick(took);
        assert_eq!(front.stats(None).await.unwrap().entries, 1);
        let names = front.run_reading(SemanticCache::list_namespaces).await;
        assert_eq!(names.unwrap(), ["default"]);
        assert!(waiting.iter().all(|put| !put.is_finished()));
        shared.release();
        for put in waiting {
            put.await.unwrap().unwrap();
        }
    });
    assert_eq!(shared.cache.stats(None).unwrap().entries, PUTS as u64 + 1);
    assert_eq!(shared.seen.writes(), vec![once("insert"); PUTS]);
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
        let told = shared.seen.writes();
        let (failed, stored): (Vec<_>, Vec<_>) = told.into_iter().partition(|(_, failed)| *failed);
        assert_eq!(stored, [once("insert")]);
        assert_eq!(failed, vec![("insert".to_owned(), true); 18], "each once");
    }
    assert_eq!(shared.cache.stats(None).unwrap().entries, 1);
}

fn what_waited_for_a_lock_is_done_once() {
    let shared = shared(Duration::from_secs(60));
    let requests = |namespace: &'static str| {
        let requests = (0..300).map(move |n| answer(&format!("{n}")).namespace(namespace));
        shared.cache.put_many(requests.collect()).unwrap();
    };
    requests("many");
    requests("more");
    let brief = answer("brief").namespace("brief").ttl(Ttl::Seconds(0));
    shared.cache.put(brief).unwrap();
    shared.cache.set_namespace_quota("few", Some(9)).unwrap();
    shared.seen.writes();
    type Call = fn(&SemanticCache) -> mneme::Result<u64>;
    let calls: [(&str, Call, u64, &[&str]); 8] = [
        ("put", |cache| cache.put(answer("other")), 603, &["insert"]),
        (
            "delete",
            |cache| cache.delete("other", "default").map(u64::from),
            1,
            &["delete_by_id"],
        ),
        (
            "quota",
            |cache| cache.set_namespace_quota("few", None).map(|()| 7),
            7,
            &["set_namespace_quota"],
        ),
        (
            "flush",
            |cache| cache.flush().map(|()| 7),
            7,
            &["update_access", "replace_meta"],
        ),
        (
            "vacuum",
            |cache| cache.vacuum(Some("brief"), false),
            1,
            &["delete_expired"],
        ),
        (
            "clear of none",
            |cache| cache.clear_namespace("small"),
            0,
            &["clear_namespace"],
        ),
        (
            "clear of many",
            |cache| cache.clear_namespace("many"),
            300,
            &["delete_unchanged", "delete_unchanged", "clear_namespace"],
        ),
        (
            "requantize",
            |cache| cache.requantize(mneme::VectorDtype::Int8).map(|()| 7),
            7,
            &[],
        ),
    ];
    for (name, call, expected, writes) in calls {
        shared.lock();
        let start = Instant::now();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| call(&shared.cache));
            if !writes.is_empty() {
                // Each of them waits for 20 ms, and then for others: longer than bookkeeping may.
                assert_quick(shared.ask_while_tried(10));
                assert!(!waiting.is_finished(), "{name}");
                shared.release();
            }
            assert_eq!(waiting.join().unwrap().unwrap(), expected, "{name}");
        });
        let waited = start.elapsed();
        let told: Vec<_> = shared.seen.writes.lock().unwrap().drain(..).collect();
        let names: Vec<&str> = told.iter().map(|(name, ..)| name.as_str()).collect();
        let is_told = names.starts_with(writes) && told.iter().all(|(_, failed, _)| !failed);
        assert!(is_told, "{name}: {told:?}");
        if let Some((_, _, took)) = told.first().filter(|_| !writes.is_empty()) {
            let least = Duration::from_millis(200);
            assert!(*took > least && *took <= waited, "{name}: {took:?}");
        } else {
            shared.release();
        }
    }
    // What one call has deleted, and the step after which it gave way, are told once.
    assert_eq!(shared.seen.deletions.load(SeqCst), 301);
    assert_eq!(shared.cache.namespace_quota("few").unwrap(), None);
    shared.lock();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| shared.cache.clear());
        shared.ask_while_tried(10);
        assert!(!waiting.is_finished());
        shared.release();
        assert_eq!(waiting.join().unwrap().unwrap(), 301);
    });
    assert_eq!(shared.seen.deletions.load(SeqCst), 602);
}

/// An archive with this many entries, of a cache beside.
fn archive(entries: u32, layout: Layout) -> Vec<u8> {
    let other = shared(Duration::ZERO);
    other.cache.clear().unwrap();
    let requests = (0..entries).map(|n| answer(&format!("loaded {n}")));
    other.cache.put_many(requests.collect()).unwrap();
    let options = DumpOptions::new().layout(layout);
    other.cache.dump(Vec::new(), options).unwrap().1
}

fn a_load_waits_for_a_lock_before_it_begins() {
    for (layout, begins, mode, after) in [
        (Layout::Portable, "begin_import", ImportMode::Merge, 701),
        (Layout::Native, "begin_restore", ImportMode::Replace, 700),
    ] {
        let archive = archive(700, layout);
        let shared = shared(Duration::from_secs(60));
        shared.lock();
        std::thread::scope(|scope| {
            let options = LoadOptions::new().mode(mode);
            let bytes = std::io::Cursor::new(archive);
            let waiting = scope.spawn(|| shared.cache.load(bytes, options));
            let mut took = shared.ask_while_tried(10);
            took.extend((0..200).map(|_| shared.ask()));
            assert_quick(took);
            assert!(!waiting.is_finished());
            shared.release();
            let report = waiting.join().unwrap().unwrap();
            assert_eq!((report.entries, report.manifest.layout), (700, layout));
        });
        assert_eq!(shared.cache.stats(None).unwrap().entries, after);
        let told = shared.seen.writes();
        let begun = told.iter().filter(|(name, _)| name == begins).count();
        assert_eq!(begun, 1, "{told:?}");
        assert!(told.iter().all(|(_, failed)| !failed), "{told:?}");
    }
}

fn a_load_that_gets_no_lock_changes_nothing() {
    let shared = shared(Duration::from_millis(300));
    let archive = archive(3, Layout::Portable);
    let load = |archive: &[u8]| {
        let options = LoadOptions::new().mode(ImportMode::Replace);
        let archive = std::io::Cursor::new(archive.to_vec());
        shared.cache.load(archive, options)
    };
    shared.lock();
    let error = load(&archive).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.to_string().contains("begin_import"), "{error}");
    shared.ask();
    let told = shared.seen.writes();
    assert!(
        told.contains(&("begin_import".to_owned(), true)),
        "{told:?}"
    );
    shared.release();
    assert_eq!(load(&archive).unwrap().entries, 3);
}

fn bookkeeping_that_finds_a_lock_is_told_as_failed() {
    let place = place();
    let seen = Arc::new(Seen::default());
    let cache = mneme_tests::builder()
        .store(SqliteStore::new(&place.path))
        .embedder(Precomputed::new("v", 2))
        .observer(Arc::clone(&seen))
        .touches(1, u32::MAX)
        .open()
        .unwrap();
    cache.put(answer("known")).unwrap();
    seen.writes();
    let other = Connection::open(&place.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(cache.get("known").unwrap().is_hit());
    other.execute_batch("ROLLBACK").unwrap();
    let failed = ("update_access".to_owned(), true);
    assert_eq!(seen.writes(), [failed], "nobody repeats it");
    cache.flush().unwrap();
    assert_eq!(seen.writes()[0], once("update_access"));
}
