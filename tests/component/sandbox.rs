//! The component itself: what it asks of a host, how it meets its limits, and what
//! becomes of a cache whose store fails, panics or hangs.

use mneme::embedder::EmbedError;
use mneme::store::{Store, StoreError};
use mneme::{
    Coordination, Embedder, Error, Limit, ManualClock, MemoryStore, PutRequest, SemanticCache, Ttl,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words, axis};
use mneme_tests::stores::{Hooked, fault};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wasmparser::{Parser, Payload};

mneme_tests::tests![
    the_component_imports_its_own_interfaces_and_the_clock,
    an_index_beyond_the_memory_limit_leaves_the_exact_layer,
    codes_stay_where_memory_is_too_short_for_vectors,
    a_call_beyond_its_time_is_stopped_and_the_next_works,
    a_policy_that_spins_is_stopped_when_it_returns,
    a_batch_beyond_the_host_call_limit_stores_nothing,
    closing_what_was_stopped_does_not_open_the_store_again,
    after_a_panic_of_the_store_calls_return_a_typed_error,
    a_fault_in_any_call_of_the_store_is_a_typed_error_and_passes,
];

/// The names of the component's own imports and exports, not those of what it is made of.
fn interfaces() -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(mneme::component()) {
        match payload.expect("the component is well formed") {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                imports.extend(
                    section
                        .into_iter()
                        .map(|import| import.unwrap().name.name.to_owned()),
                );
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                exports.extend(
                    section
                        .into_iter()
                        .map(|export| export.unwrap().name.name.to_owned()),
                );
            }
            _ => {}
        }
    }
    (imports, exports)
}

fn the_component_imports_its_own_interfaces_and_the_clock() {
    let (mut imports, exports) = interfaces();
    imports.sort();
    assert_eq!(
        imports,
        [
            "mneme:cache/archive@0.2.0",
            "mneme:cache/events@0.2.0",
            "mneme:cache/policy@0.2.0",
            "mneme:cache/store@0.2.0",
            "mneme:cache/trust@0.2.0",
            "mneme:cache/types@0.2.0",
            "wasi:clocks/wall-clock@0.2.6",
        ]
    );
    assert_eq!(
        exports,
        ["mneme:cache/cache@0.2.0", "mneme:cache/checkpoint@0.2.0"]
    );
    wasmparser::Validator::new()
        .validate_all(mneme::component())
        .expect("the component is valid");
}

fn open(store: impl Store + 'static) -> SemanticCache {
    mneme_tests::builder()
        .store(store)
        .embedder(Words)
        .open()
        .unwrap()
}

fn answer(cache: &SemanticCache, query: &str) -> Option<String> {
    cache.get(query).unwrap().hit().map(|hit| hit.response)
}

/// `n` requests with a vector each, for `range`.
fn puts(range: std::ops::Range<usize>, response: &str) -> Vec<PutRequest> {
    range
        .map(|n| PutRequest::new(format!("question {n}"), response).embedding(axis(n)))
        .collect()
}

fn an_index_beyond_the_memory_limit_leaves_the_exact_layer() {
    let pages = Arc::new(AtomicU64::new(0));
    let read = Arc::clone(&pages);
    let store = Hooked::new(move |operation| {
        read.fetch_add(u64::from(operation == "iter_vectors"), Ordering::Relaxed);
        Ok(())
    });
    let cache = mneme_tests::builder()
        .store(store.clone())
        .embedder(Words)
        .memory_limit(4 << 20)
        .open()
        .unwrap();
    for start in (0..60_000).step_by(1000) {
        cache.put_many(puts(start..start + 1000, "r")).unwrap();
    }
    for _ in 0..3 {
        let error = cache.get("nothing like it").unwrap_err();
        assert!(matches!(error, Error::IndexUnavailable(_)), "{error:?}");
        assert!(error.to_string().contains("memory"), "{error}");
        assert_eq!(answer(&cache, "QUESTION 59999").as_deref(), Some("r"));
    }
    cache.put(PutRequest::new("one more", "kept")).unwrap();
    assert_eq!(answer(&cache, "one more").as_deref(), Some("kept"));
    assert_eq!(store.inner().count(None).unwrap(), 60_001);
    assert_eq!(pages.load(Ordering::Relaxed), 0, "it cannot fit");
}

/// Embeds texts as vectors that are far from each other, and long beside their codes.
struct Long;

impl Embedder for Long {
    fn fingerprint(&self) -> &str {
        "long"
    }

    fn dim(&self) -> u32 {
        384
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let embed = |text: &&str| {
            let number = text
                .rsplit(' ')
                .next()
                .map_or(0, |word| word.parse().unwrap_or(0));
            long(number)
        };
        Ok(texts.iter().map(embed).collect())
    }
}

fn long(number: usize) -> Vec<f32> {
    let mut state = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let random = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..384).map(random).collect()
}

/// 92 MB of vectors, whose codes take 7.
const LONG_ROWS: usize = 60_000;
const ROOM_FOR_CODES: usize = 40 << 20;
/// Bytes of a response.
const LARGE: usize = 1 << 19;

fn codes_stay_where_memory_is_too_short_for_vectors() {
    let store = Hooked::new(|_| Ok(()));
    let open = |kept: bool| {
        mneme_tests::builder()
            .store(store.clone())
            .embedder(Long)
            .memory_limit(ROOM_FOR_CODES)
            .persist_index(kept)
            .open()
            .unwrap()
    };
    let cache = open(true);
    for start in (0..LONG_ROWS).step_by(1000) {
        let put = |n| PutRequest::new(format!("question {n}"), "r").embedding(long(n));
        cache
            .put_many((start..start + 1000).map(put).collect())
            .unwrap();
    }
    let holds_all = |cache: &SemanticCache| {
        for n in (0..LONG_ROWS).step_by(7_001) {
            let found = cache.get(format!("in other words {n}")).unwrap().hit();
            assert_eq!(found.unwrap().query, format!("question {n}"));
        }
        let stats = cache.stats(None).unwrap();
        let (rows, resident) = (stats.index_rows, stats.index_resident_rows);
        assert!(
            rows >= LONG_ROWS as u64 && resident < rows / 2,
            "{resident} of {rows}"
        );
        // There is still room for what calls carry.
        let large = PutRequest::new("large", "x".repeat(LARGE)).embedding(long(1));
        cache.put(large).unwrap();
        let found = answer(cache, "large").map(|response| response.len());
        assert_eq!(found, Some(LARGE));
    };
    holds_all(&cache);
    cache.warm_up().unwrap();
    holds_all(&cache);
    cache.close().unwrap();
    for kept in [true, false] {
        holds_all(&open(kept));
    }
}

/// A limit that no call of these tests comes near on a busy machine, unless it is slow.
const TIMEOUT: Duration = Duration::from_millis(300);
const SLOW: Duration = Duration::from_millis(1500);

fn a_call_beyond_its_time_is_stopped_and_the_next_works() {
    let store = Hooked::new(|operation| {
        if operation == "iter_vectors" {
            std::thread::sleep(SLOW);
        }
        Ok(())
    });
    let cache = mneme_tests::builder()
        .store(store.clone())
        .embedder(Words)
        .call_timeout(TIMEOUT)
        .open()
        .unwrap();
    cache.put(PutRequest::new("kept", "here")).unwrap();
    let error = cache.get("something else").unwrap_err();
    assert!(
        matches!(error, Error::Limit(Limit::Time { milliseconds: 300 })),
        "{error:?}"
    );
    assert!(
        error.to_string().contains("Builder::call_timeout"),
        "{error}"
    );
    assert_eq!(answer(&cache, "kept").as_deref(), Some("here"));
    store.set_hook(|_| Ok(()));
    assert_eq!(answer(&cache, "something else"), None);
    assert!(cache.health(true).unwrap().healthy);
    assert_eq!(store.inner().count(None).unwrap(), 1);
}

fn a_policy_that_spins_is_stopped_when_it_returns() {
    let spinning = Arc::new(AtomicU64::new(1));
    let spins = Arc::clone(&spinning);
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .call_timeout(TIMEOUT)
        .validator(move |_| {
            let start = Instant::now();
            while spins.load(Ordering::SeqCst) == 1 && start.elapsed() < SLOW {}
            true
        })
        .open()
        .unwrap();
    cache.put(PutRequest::new("one two three", "r")).unwrap();
    let reworded = || cache.get("three two one");
    assert!(matches!(
        reworded().unwrap_err(),
        Error::Limit(Limit::Time { .. })
    ));
    spinning.store(0, Ordering::SeqCst);
    assert_eq!(reworded().unwrap().hit().unwrap().response, "r");
}

fn closing_what_was_stopped_does_not_open_the_store_again() {
    let opened = Arc::new(AtomicU64::new(0));
    let opens = Arc::clone(&opened);
    let store = Hooked::new(move |operation| {
        if operation == "open" {
            opens.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    });
    let cache = mneme_tests::builder()
        .store(store)
        .embedder(Words)
        .host_call_bytes(256 << 10)
        .open()
        .unwrap();
    let error = cache.put_many(puts(0..10, &"x".repeat(100 << 10)));
    assert!(matches!(
        error.unwrap_err(),
        Error::Limit(Limit::HostCall { .. })
    ));
    cache.close().unwrap();
    assert!(cache.is_closed());
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

fn a_batch_beyond_the_host_call_limit_stores_nothing() {
    let store = Hooked::new(|_| Ok(()));
    let cache = mneme_tests::builder()
        .store(store.clone())
        .embedder(Words)
        .host_call_bytes(256 << 10)
        .open()
        .unwrap();
    let long = "x".repeat(100 << 10);
    let error = cache.put_many(puts(0..10, &long)).unwrap_err();
    assert!(
        matches!(error, Error::Limit(Limit::HostCall { bytes: 262_144 })),
        "{error:?}"
    );
    assert!(error.to_string().contains("put smaller batches"), "{error}");
    assert_eq!(store.inner().count(None).unwrap(), 0);
    assert_eq!(store.inner().read_version_counter().unwrap(), 0);
    // The limit is one of a call, not of a life.
    for n in 0..10 {
        cache.put_many(puts(n..n + 1, &long)).unwrap();
    }
    assert_eq!(answer(&cache, "question 9"), Some(long));
}

fn after_a_panic_of_the_store_calls_return_a_typed_error() {
    let store = Hooked::new(|operation| {
        assert!(operation != "get_by_hash", "the store of the test panics");
        Ok(())
    });
    let cache = open(store.clone());
    let panic = std::thread::scope(|scope| scope.spawn(|| cache.get("anything")).join());
    assert!(panic.is_err(), "the panic reaches the caller");
    store.set_hook(|_| Ok(()));
    for _ in 0..2 {
        let error = cache.get("anything").unwrap_err();
        assert!(matches!(error, Error::Component(_)), "{error:?}");
        assert!(error.to_string().contains("open it again"), "{error}");
    }
    cache.close().unwrap();
    assert!(matches!(cache.get("anything"), Err(Error::Closed)));
    let again = open(store);
    again.put(PutRequest::new("anything", "works")).unwrap();
    assert_eq!(answer(&again, "anything").as_deref(), Some("works"));
}

/// One call of the script.
type Step = fn(&SemanticCache, &ManualClock) -> mneme::Result<()>;

/// Calls that between them use every operation of the store that a cache uses.
const SCRIPT: &[(&str, Step)] = &[
    ("put", |cache, _| {
        cache
            .put(PutRequest::new("one two three", "first"))
            .map(drop)
    }),
    ("put many", |cache, _| {
        cache.put_many(puts(0..4, "r")).map(drop)
    }),
    ("put with ttl", |cache, _| {
        cache
            .put(PutRequest::new("soon gone", "old").ttl(Ttl::Seconds(5)))
            .map(drop)
    }),
    ("get exact", |cache, _| cache.get("ONE TWO three").map(drop)),
    ("get semantic", |cache, _| {
        cache.get("three two one").map(drop)
    }),
    ("get many", |cache, _| {
        cache
            .get_many(vec!["two one three".into(), "question 1".into()])
            .map(drop)
    }),
    ("replace", |cache, _| {
        cache
            .put(PutRequest::new("one two three", "second"))
            .map(drop)
    }),
    ("flush", |cache, _| cache.flush()),
    ("expire semantic", |cache, clock| {
        clock.advance(Duration::from_secs(10));
        cache.get("gone soon").map(drop)
    }),
    ("put ttl again", |cache, _| {
        cache
            .put(PutRequest::new("soon gone", "old").ttl(Ttl::Seconds(5)))
            .map(drop)
    }),
    ("vacuum", |cache, clock| {
        clock.advance(Duration::from_secs(10));
        cache.vacuum(None, true).map(drop)
    }),
    ("quota", |cache, _| {
        cache.set_namespace_quota("small", Some(2))
    }),
    ("evict", |cache, _| {
        cache
            .put_many(
                puts(0..4, "r")
                    .into_iter()
                    .map(|put| put.namespace("small"))
                    .collect(),
            )
            .map(drop)
    }),
    ("read quota", |cache, _| {
        cache.namespace_quota("small").map(drop)
    }),
    ("delete", |cache, _| {
        cache.delete("question 2", "default").map(drop)
    }),
    ("namespaces", |cache, _| cache.list_namespaces().map(drop)),
    ("stats", |cache, _| cache.stats(None).map(drop)),
    ("health", |cache, _| cache.health(true).map(drop)),
    ("requantize", |cache, _| {
        cache.requantize(mneme::VectorDtype::Int8)
    }),
    ("get after it", |cache, _| {
        cache.get("two three one").map(drop)
    }),
    ("clear one", |cache, _| {
        cache.clear_namespace("small").map(drop)
    }),
    ("clear", |cache, _| cache.clear().map(drop)),
    ("put at the end", |cache, _| {
        cache.put(PutRequest::new("at the end", "kept")).map(drop)
    }),
];

/// Runs the script with a fault in the `nth` call of the store, checks what each error
/// is, and returns the number of calls made and which operation failed.
fn run_with_fault(
    nth: u64,
    coordination: Coordination,
    retryable: bool,
) -> (u64, Option<&'static str>) {
    let calls = Arc::new(AtomicU64::new(0));
    let failed = Arc::new(std::sync::Mutex::new(None));
    let (count, note) = (Arc::clone(&calls), Arc::clone(&failed));
    let store = Hooked::new(move |operation| {
        if count.fetch_add(1, Ordering::SeqCst) + 1 != nth {
            return Ok(());
        }
        *note.lock().unwrap() = Some(operation);
        Err(match retryable {
            true => fault(operation),
            false => StoreError::Corrupt(format!("injected damage in {operation}; call again")),
        })
    });
    let failed_operation = || *failed.lock().unwrap();
    let clock = ManualClock::at(1_000);
    let opened = mneme_tests::builder()
        .store(store.clone())
        .embedder(Words)
        .clock(clock.clone())
        .coordination(coordination)
        .touches(3, 1_000_000)
        .open();
    let cache = match opened {
        Ok(cache) => cache,
        Err(error) => {
            assert!(
                error.to_string().contains("injected"),
                "open, call {nth}: {error:?}"
            );
            store.inner().open(FINGERPRINT, DIM).unwrap();
            assert_eq!(store.inner().count(None).unwrap(), 0);
            return (calls.load(Ordering::SeqCst), failed_operation());
        }
    };
    for (name, step) in SCRIPT {
        let before = failed_operation();
        let outcome = step(&cache, &clock);
        let hit_now = before.is_none() && failed_operation().is_some();
        match outcome {
            Ok(()) => {}
            Err(error) => {
                assert!(
                    hit_now,
                    "{name}, call {nth} of {:?}: {error:?}",
                    failed_operation()
                );
                let typed = match retryable {
                    true => matches!(
                        error,
                        Error::Backend {
                            retryable: true,
                            ..
                        }
                    ),
                    false => matches!(error, Error::Corrupt(_)),
                };
                assert!(
                    typed && error.to_string().contains("injected"),
                    "{name}, call {nth}: {error:?}"
                );
                step(&cache, &clock)
                    .unwrap_or_else(|e| panic!("{name} again, after call {nth}: {e:?}"));
            }
        }
        if hit_now {
            answers_are_right(&cache, name, nth);
        }
    }
    // A close that fails has closed all the same.
    if let Err(error) = cache.close() {
        assert!(
            error.to_string().contains("injected"),
            "close, call {nth}: {error:?}"
        );
    }
    assert!(matches!(cache.get("anything"), Err(Error::Closed)));
    let calls = calls.load(Ordering::SeqCst);
    store.set_hook(|_| Ok(()));
    let again = open(store.clone());
    assert!(again.health(true).unwrap().healthy, "call {nth}");
    assert_eq!(again.stats(None).unwrap().entries, 1, "call {nth}");
    assert_eq!(
        answer(&again, "at the end").as_deref(),
        Some("kept"),
        "call {nth}"
    );
    (calls, failed_operation())
}

/// What was put after a fault is found by both layers, and gone when it is deleted.
fn answers_are_right(cache: &SemanticCache, name: &str, nth: u64) {
    let probe = || -> mneme::Result<()> {
        cache.put(PutRequest::new("alpha beta gamma", "probe"))?;
        for query in ["Alpha  beta gamma", "gamma beta alpha"] {
            let hit = cache.get(query)?.hit().map(|hit| hit.response);
            assert_eq!(
                hit.as_deref(),
                Some("probe"),
                "{query:?} after {name}, call {nth}"
            );
        }
        assert!(cache.delete("alpha beta gamma", "default")?);
        assert!(
            !cache.get("gamma beta alpha")?.is_hit(),
            "after {name}, call {nth}"
        );
        Ok(())
    };
    probe().unwrap_or_else(|error| panic!("after {name}, call {nth}: {error:?}"));
}

fn a_fault_in_any_call_of_the_store_is_a_typed_error_and_passes() {
    let used = [
        "open",
        "close",
        "get_by_hash",
        "get_by_ids",
        "count",
        "list_namespaces",
        "count_by_namespace",
        "iter_lru_ids",
        "iter_vectors",
        "insert",
        "update_access",
        "delete_by_id",
        "delete_unchanged",
        "delete_expired",
        "clear_namespace",
        "set_namespace_quota",
        "get_namespace_quota",
        "list_namespace_quotas",
        "read_meta",
        "replace_meta",
        "integrity_check",
    ];
    for coordination in [Coordination::Single, Coordination::StaleTolerant(0)] {
        let mut failed = std::collections::BTreeSet::new();
        for retryable in [true, false] {
            let (calls, none) = run_with_fault(u64::MAX, coordination, retryable);
            assert_eq!(none, None);
            for nth in 1..=calls {
                let (_, operation) = run_with_fault(nth, coordination, retryable);
                failed.extend(operation);
            }
        }
        for operation in used {
            assert!(
                failed.contains(operation),
                "the script never makes {operation} fail"
            );
        }
        if let Coordination::StaleTolerant(_) = coordination {
            assert!(failed.contains("read_version_counter"));
        }
    }
}
