//! Lanes: several instances of one cache over one store, which are one cache to whoever asks.

use mneme::checkpoint::{DumpOptions, ImportMode, LoadOptions};
use mneme::embedder::Precomputed;
use mneme::{
    Builder, EntryFilter, Error, GetRequest, ManualClock, MemoryStore, PutRequest, SemanticCache,
    SqliteStore, Ttl, VectorDtype,
};
use mneme_tests::embedders::Words;
use mneme_tests::stores::Hooked;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

mneme_tests::tests![
    everybody_sees_what_was_just_stored,
    everybody_misses_what_was_just_removed,
    counters_and_events_are_those_of_all,
    quotas_and_caps_hold_and_favourites_stay,
    settings_and_archives_reach_every_lane,
    lanes_answer_at_the_same_time,
    a_lane_that_is_stopped_is_replaced_and_the_others_go_on,
    callbacks_that_call_the_cache_are_refused_in_every_lane,
    lanes_that_cannot_be_are_refused,
];

const THREADS: u64 = 6;

fn with_lanes(path: &Path, exact: u32, semantic: u32) -> Builder {
    let path: PathBuf = path.into();
    mneme_tests::builder()
        .store_handles(move || Ok(Box::new(SqliteStore::new(&path))))
        .lanes(exact, semantic)
        .embedder(Words)
}

/// Runs it with caches of different lanes, each in a new file.
fn each(run: impl Fn(Builder)) {
    for (exact, semantic) in [(0, 1), (2, 1), (0, 3), (3, 2)] {
        let folder = tempfile::tempdir().unwrap();
        run(with_lanes(&folder.path().join("c.db"), exact, semantic));
    }
}

/// Two texts with one meaning and different hashes, of which each number has others.
fn texts(n: u64) -> (String, String) {
    let (a, b, c) = (format!("x{n}"), format!("y{n}"), format!("z{n}"));
    (format!("{a} {b} {c}"), format!("{c} {b} {a}"))
}

fn semantically(cache: &SemanticCache, text: &str) -> Option<String> {
    let lookup = cache.get(GetRequest::new(text).threshold(0.9999)).unwrap();
    lookup.hit().map(|hit| hit.response)
}

fn in_threads(run: impl Fn(u64) + Sync) {
    let barrier = Barrier::new(THREADS as usize);
    thread::scope(|scope| {
        for t in 0..THREADS {
            let (run, barrier) = (&run, &barrier);
            scope.spawn(move || {
                barrier.wait();
                run(t);
            });
        }
    });
}

fn everybody_sees_what_was_just_stored() {
    each(|builder| {
        let cache = builder.open().unwrap();
        in_threads(|t| {
            for n in 0..40 {
                let (text, reworded) = texts(1_000 * t + n);
                for version in ["first", "second"] {
                    let put = PutRequest::new(&text, version);
                    cache.put(put).unwrap();
                    assert_eq!(semantically(&cache, &text).as_deref(), Some(version));
                    assert_eq!(semantically(&cache, &reworded).as_deref(), Some(version));
                }
            }
        });
        assert_eq!(cache.stats(None).unwrap().entries, 40 * THREADS);
        cache.close().unwrap();
    });
}

fn everybody_misses_what_was_just_removed() {
    each(|builder| {
        let clock = ManualClock::at(10_000);
        let cache = builder.clock(clock.clone()).open().unwrap();
        let removed: [fn(&SemanticCache, &str); 4] = [
            |cache, text| assert!(cache.delete(text, "default").unwrap()),
            |cache, text| {
                let filter = EntryFilter::new().query(text);
                assert_eq!(cache.erase(&filter, false).unwrap().ids.len(), 1);
            },
            |cache, _| assert!(cache.clear_namespace("default").unwrap() > 0),
            |cache, _| assert!(cache.clear().unwrap() > 0),
        ];
        for (round, remove) in removed.into_iter().enumerate() {
            for n in 0..20 {
                cache.put(PutRequest::new(texts(n).0, "r")).unwrap();
            }
            let misses = |n: u64| {
                let (text, reworded) = texts(n);
                // Until every lane has its index.
                in_threads(|_| assert_eq!(semantically(&cache, &reworded).as_deref(), Some("r")));
                remove(&cache, &text);
                in_threads(|_| {
                    assert_eq!(semantically(&cache, &text), None);
                    assert_eq!(semantically(&cache, &reworded), None);
                });
            };
            match round {
                0 | 1 => (0..20).for_each(misses),
                _ => misses(7),
            }
        }
        // What has expired goes through whichever lane meets it first, and is counted once.
        for n in 0..20 {
            let put = PutRequest::new(texts(n).0, "r").ttl(Ttl::Seconds(10));
            cache.put(put).unwrap();
        }
        clock.advance(Duration::from_secs(11));
        in_threads(|_| (0..20).for_each(|n| assert_eq!(semantically(&cache, &texts(n).0), None)));
        let stats = cache.stats(None).unwrap();
        assert_eq!((stats.entries, stats.counters.expirations), (0, 20));
    });
}

fn counters_and_events_are_those_of_all() {
    each(|builder| {
        let events = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&events);
        let cache = builder
            .on_event(move |event| {
                if matches!(event, mneme::Event::Hit(_) | mneme::Event::Miss(_)) {
                    told.fetch_add(1, SeqCst);
                }
            })
            .open()
            .unwrap();
        cache.put(PutRequest::new(texts(0).0, "r")).unwrap();
        in_threads(|t| {
            for n in 0..30 {
                let (text, reworded) = texts(0);
                semantically(&cache, &text).unwrap();
                semantically(&cache, &reworded).unwrap();
                let exact = GetRequest::new(texts(100 + 100 * t + n).0).exact_only();
                assert!(!cache.get(exact).unwrap().is_hit());
            }
        });
        let counters = cache.stats(None).unwrap().counters;
        let each = 30 * THREADS;
        assert_eq!(
            (counters.hits_exact, counters.hits_semantic, counters.misses),
            (each, each, each)
        );
        assert_eq!(events.load(SeqCst), 3 * each);
        cache.flush().unwrap();
        let listed = cache.list_entries(&EntryFilter::new(), 0, 10).unwrap();
        assert_eq!(listed.entries[0].access_count, 2 * each);
        // Whatever lane has counted, clearing counts from the beginning.
        semantically(&cache, &texts(0).0).unwrap();
        cache.clear().unwrap();
        assert_eq!(cache.stats(None).unwrap().counters.hits_exact, 0);
    });
}

fn quotas_and_caps_hold_and_favourites_stay() {
    each(|builder| {
        let clock = ManualClock::at(10_000);
        let cache = builder
            .clock(clock)
            .max_entries(100)
            .namespace_quota("small", 10)
            .open()
            .unwrap();
        let favourite = texts(1_000_000).0;
        cache.put(PutRequest::new(&favourite, "r")).unwrap();
        for n in 0..1_000 {
            cache.put(PutRequest::new(texts(n).0, "r")).unwrap();
            if n % 20 == 0 {
                // Through another lane each time.
                assert_eq!(
                    semantically(&cache, &favourite).as_deref(),
                    Some("r"),
                    "{n}"
                );
            }
        }
        in_threads(|t| {
            for n in 0..30 {
                let put = PutRequest::new(texts(10_000 + 100 * t + n).0, "r").namespace("small");
                cache.put(put).unwrap();
            }
        });
        assert_eq!(cache.stats(Some("small")).unwrap().entries, 10);
        assert!(cache.stats(None).unwrap().entries <= 100);
    });
}

fn settings_and_archives_reach_every_lane() {
    each(|builder| {
        let cache = builder.open().unwrap();
        for n in 0..50 {
            cache.put(PutRequest::new(texts(n).0, "r")).unwrap();
        }
        cache.warm_up().unwrap();
        cache.requantize(VectorDtype::Int8).unwrap();
        cache.set_similarity_threshold(-1.0).unwrap();
        in_threads(|_| {
            for n in 0..20 {
                assert!(cache.get(format!("of other words {n}")).unwrap().is_hit());
            }
        });
        cache.set_similarity_threshold(0.9999).unwrap();
        let (_, archive) = cache
            .dump(Cursor::new(Vec::new()), DumpOptions::new())
            .unwrap();
        let archive = archive.into_inner();
        assert_eq!(
            cache.stats(None).unwrap().counters.hits_semantic,
            20 * THREADS
        );
        cache.clear().unwrap();
        cache.put(PutRequest::new(texts(99).0, "r")).unwrap();
        let options = LoadOptions::new().mode(ImportMode::Replace);
        cache.load(Cursor::new(archive), options).unwrap();
        in_threads(|_| {
            for n in 0..20 {
                assert!(cache.get(texts(n).1.as_str()).unwrap().is_hit());
            }
            assert!(!cache.get(texts(99).1.as_str()).unwrap().is_hit());
        });
        cache.reopen().unwrap();
        in_threads(|_| assert!(cache.get(texts(3).1.as_str()).unwrap().is_hit()));
        cache.close().unwrap();
        in_threads(|_| {
            assert!(matches!(cache.get(texts(3).1.as_str()), Err(Error::Closed)));
            assert!(matches!(cache.get(texts(3).0.as_str()), Err(Error::Closed)));
        });
    });
}

/// A store with many handles, and with a hook before each call of any.
fn hooked(
    exact: u32,
    semantic: u32,
    hook: impl Fn(&'static str) + Send + Sync + 'static,
) -> Builder {
    let store = Hooked::new(|_| Ok(()));
    let hook = Arc::new(hook);
    let handle = move || {
        let hook = Arc::clone(&hook);
        store.with_hook(move |operation| {
            hook(operation);
            Ok(())
        })
    };
    mneme_tests::builder()
        .store_handles(move || Ok(Box::new(handle())))
        .lanes(exact, semantic)
        .embedder(Words)
}

fn lanes_answer_at_the_same_time() {
    // Calls of the store that meet there, as many as there are lanes.
    let meets = Arc::new(AtomicBool::new(false));
    let barrier = Arc::new(Barrier::new(3));
    let hook = {
        let (meets, barrier) = (Arc::clone(&meets), Arc::clone(&barrier));
        move |operation: &'static str| {
            if meets.load(SeqCst) && operation == "get_by_hash" {
                barrier.wait();
            }
        }
    };
    let cache = hooked(3, 1, hook).open().unwrap();
    cache.put(PutRequest::new("a", "r")).unwrap();
    meets.store(true, SeqCst);
    thread::scope(|scope| {
        for _ in 0..3 {
            let cache = &cache;
            scope.spawn(move || assert!(cache.get("a").unwrap().is_hit()));
        }
    });
}

fn a_lane_that_is_stopped_is_replaced_and_the_others_go_on() {
    let slow = Arc::new(AtomicU64::new(0));
    let hook = {
        let slow = Arc::clone(&slow);
        move |operation: &'static str| {
            let take = |left: u64| left.checked_sub(1);
            if matches!(operation, "get_by_hash" | "get_by_ids")
                && slow.fetch_update(SeqCst, SeqCst, take).is_ok()
            {
                // Longer than a call may take.
                thread::sleep(Duration::from_millis(400));
            }
        }
    };
    let cache = hooked(2, 2, hook)
        .call_timeout(Duration::from_millis(300))
        .open()
        .unwrap();
    for n in 0..20 {
        cache.put(PutRequest::new(texts(n).0, "r")).unwrap();
    }
    cache.warm_up().unwrap();
    for _ in 0..4 {
        slow.store(2, SeqCst);
        let stopped = AtomicU64::new(0);
        in_threads(|t| {
            for n in 0..10 {
                let (text, reworded) = texts(n);
                let asked = if t % 2 == 0 { text } else { reworded };
                match cache.get(asked.as_str()) {
                    Ok(lookup) => assert!(lookup.is_hit()),
                    Err(Error::Limit(_)) => drop(stopped.fetch_add(1, SeqCst)),
                    Err(error) => panic!("{error}"),
                }
            }
        });
        assert!((1..=2).contains(&stopped.load(SeqCst)));
    }
    assert_eq!(cache.stats(None).unwrap().entries, 20);
}

fn callbacks_that_call_the_cache_are_refused_in_every_lane() {
    for (exact, semantic) in [(0, 1), (2, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(std::sync::OnceLock::<SemanticCache>::new());
        let refused = Arc::new(AtomicU64::new(0));
        let (itself, count) = (Arc::clone(&cache), Arc::clone(&refused));
        let opened = with_lanes(&folder.path().join("c.db"), exact, semantic)
            .on_event(move |_| {
                if let Some(cache) = itself.get() {
                    let inner = cache.get(GetRequest::new("other").exact_only());
                    assert!(matches!(inner, Err(Error::InvalidArgument(_))));
                    count.fetch_add(1, SeqCst);
                }
            })
            .open()
            .unwrap();
        opened.put(PutRequest::new(texts(1).0, "r")).unwrap();
        let _ = cache.set(opened.clone());
        semantically(&opened, &texts(1).0).unwrap();
        semantically(&opened, &texts(1).1).unwrap();
        assert_eq!(refused.load(SeqCst), 2);
    }
}

fn lanes_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.db");
    for (exact, semantic) in [(0, 0), (1, 0), (65, 1), (0, 65), (u32::MAX, u32::MAX)] {
        let refused = with_lanes(&path, exact, semantic).open();
        assert!(matches!(refused, Err(Error::InvalidArgument(_))));
    }
    assert!(!path.exists());
    let one_handle = mneme_tests::builder().store(MemoryStore::new());
    let refused = one_handle.lanes(1, 1).embedder(Words).open();
    assert!(
        matches!(refused, Err(Error::InvalidArgument(reason)) if reason.contains("store_handles"))
    );
    // One of another embedder among them.
    let other = folder.path().join("other.db");
    let opened = mneme_tests::builder().store(SqliteStore::new(&other));
    drop(
        opened
            .embedder(Precomputed::new("other", 3))
            .open()
            .unwrap(),
    );
    let paths = std::sync::Mutex::new(vec![other, path.clone()]);
    let mixed = mneme_tests::builder()
        .store_handles(move || {
            let path = paths.lock().unwrap().pop().unwrap();
            Ok(Box::new(SqliteStore::new(path)))
        })
        .lanes(1, 1)
        .embedder(Words)
        .open();
    assert!(matches!(mixed, Err(Error::EmbedderMismatch { .. })));
}
