//! Many threads, and many tasks, on one cache.

use mneme::{
    AsyncSemanticCache, Clock, Error, GetRequest, MemoryStore, Origin, PutRequest, SemanticCache,
    SqliteStore,
};
use mneme_tests::embedders::{Gated, Words, axis};
use mneme_tests::unless_it_hangs;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier, Mutex, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

mneme_tests::tests![
    eight_threads_get_their_own_answers,
    no_lock_is_held_while_embedding,
    the_same_question_at_the_same_time_is_computed_once,
    different_questions_are_computed_at_the_same_time,
    tasks_that_ask_the_same_share_one_computation,
    questions_that_differ_in_case_are_computed_apart_where_case_counts,
    a_computation_that_is_dropped_passes_to_the_next,
    a_failed_computation_is_not_shared_and_not_kept,
    a_call_from_inside_a_call_fails_instead_of_waiting_for_itself,
    the_runtime_goes_on_while_the_embedder_is_slow,
    #[cfg(target_os = "linux")]
    no_caller_is_passed_over,
];

fn cache(embedder: impl mneme::Embedder + 'static) -> SemanticCache {
    mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(embedder)
        .open()
        .unwrap()
}

fn eight_threads_get_their_own_answers() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let cache = mneme_tests::builder()
            .store(SqliteStore::new(dir.path().join("cache.db")))
            .embedder(Words)
            .touches(16, 5_000)
            .open()
            .unwrap();
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (cache, start) = (cache.clone(), &start);
                scope.spawn(move || {
                    start.wait();
                    mixed_calls(&cache, &format!("space {thread}"));
                });
            }
        });
        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.entries, 8 * 50);
        assert_eq!(stats.counters.hits_exact, 8 * 100);
        assert_eq!(stats.counters.hits_semantic, 8 * 100);
        assert_eq!(stats.counters.misses, 8 * 50);
        assert!(cache.health(true).unwrap().healthy);
    });
}

/// Puts 100 answers into a namespace, asks for each exactly and reworded, and deletes
/// every other one.
fn mixed_calls(cache: &SemanticCache, namespace: &str) {
    for n in 0..100 {
        let (query, reworded) = (
            format!("red{n} green{n} blue{n}"),
            format!("blue{n} red{n} green{n}"),
        );
        let ask = |query: &str| {
            cache
                .get(GetRequest::new(query).namespace(namespace).threshold(0.99))
                .unwrap()
        };
        cache
            .put(PutRequest::new(&query, format!("{namespace}: {n}")).namespace(namespace))
            .unwrap();
        for query in [&query, &reworded] {
            assert_eq!(
                ask(query).hit().unwrap().response,
                format!("{namespace}: {n}")
            );
        }
        if n % 2 == 0 {
            assert!(cache.delete(&query, namespace).unwrap());
            assert!(!ask(&reworded).is_hit());
        }
    }
}

fn no_lock_is_held_while_embedding() {
    unless_it_hangs(|| {
        let (embedder, gate) = Gated::new();
        let cache = cache(embedder);
        cache
            .put(PutRequest::new("quick question", "quick answer"))
            .unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| cache.get("slow question").unwrap().is_hit());
            assert_eq!(gate.arrivals.recv().unwrap(), "slow question");
            // The embedder is at work. Everybody else goes on.
            assert!(cache.get("quick question").unwrap().is_hit());
            assert!(cache.get("question quick").unwrap().is_hit());
            cache
                .put(PutRequest::new("slow question", "found").embedding(axis(0)))
                .unwrap();
            assert!(cache.delete("slow question", "default").unwrap());
            assert!(!slow.is_finished());
            gate.open.send(()).unwrap();
            assert!(!slow.join().unwrap());
        });
    });
}

fn the_same_question_at_the_same_time_is_computed_once() {
    unless_it_hangs(|| {
        let cache = cache(Words);
        for round in 0..400 {
            let (computed, start) = (AtomicUsize::new(0), Barrier::new(8));
            std::thread::scope(|scope| {
                for thread in 0..8 {
                    let (cache, computed, start) = (&cache, &computed, &start);
                    scope.spawn(move || {
                        let question = if thread % 2 == 0 {
                            "The  Question"
                        } else {
                            "the question"
                        };
                        start.wait();
                        let answer = cache
                            .get_or_compute(
                                GetRequest::new(question).namespace(format!("{round}")),
                                || {
                                    computed.fetch_add(1, Ordering::SeqCst);
                                    Ok::<_, Infallible>(format!("answer {round}"))
                                },
                            )
                            .unwrap();
                        assert_eq!(answer.response, format!("answer {round}"));
                        if let Origin::Computed(stored) = answer.origin {
                            stored.unwrap();
                        }
                    });
                }
            });
            assert_eq!(computed.into_inner(), 1, "round {round}");
        }
    });
}

fn different_questions_are_computed_at_the_same_time() {
    unless_it_hangs(|| {
        let (cache, together) = (cache(Words), Barrier::new(4));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (cache, together) = (&cache, &together);
                scope.spawn(move || {
                    // Passes only when all four are at it.
                    let compute = || {
                        together.wait();
                        Ok::<_, Infallible>("r".to_owned())
                    };
                    let question = GetRequest::new("q").namespace(format!("{thread}"));
                    cache.get_or_compute(question, compute).unwrap();
                });
            }
        });
    });
}

fn the_runtime_goes_on_while_the_embedder_is_slow() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    runtime.block_on(goes_on_while_the_embedder_is_slow());
}

async fn goes_on_while_the_embedder_is_slow() {
    let (embedder, gate) = Gated::new();
    let cache = AsyncSemanticCache::new(cache(embedder));
    cache
        .put(PutRequest::new("quick question", "quick answer"))
        .await
        .unwrap();
    let slow = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("slow question").await.unwrap().is_hit() }
    });
    // This task and that one share the one thread of the runtime: it sees the question
    // arrive only if the thread is free.
    let arrived = loop {
        match gate.arrivals.try_recv() {
            Ok(text) => break text,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(arrived, "slow question");
    assert!(cache.get("quick question").await.unwrap().is_hit());
    assert!(cache.get("question quick").await.unwrap().is_hit());
    cache
        .put(PutRequest::new("another", "answer"))
        .await
        .unwrap();
    assert!(!slow.is_finished());
    gate.open.send(()).unwrap();
    assert!(!slow.await.unwrap());
    cache.close().await.unwrap();
}

fn questions_that_differ_in_case_are_computed_apart_where_case_counts() {
    unless_it_hangs(|| {
        let cache = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Words)
            .normalize(false)
            .open()
            .unwrap();
        // Neither computation ends before both have begun.
        let both = Barrier::new(2);
        let ask = |query: &'static str| {
            let answer = cache.get_or_compute(query, || {
                both.wait();
                Ok::<_, Infallible>(query.to_owned())
            });
            answer.unwrap().response
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(|| ask("US"));
            assert_eq!(ask("us"), "us");
            assert_eq!(other.join().unwrap(), "US");
        });
    });
}

fn tasks_that_ask_the_same_share_one_computation() {
    unless_it_hangs(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache = AsyncSemanticCache::new(cache(Words));
            for round in 0..100 {
                let computed = Arc::new(AtomicUsize::new(0));
                let tasks: Vec<_> = (0..8)
                    .map(|_| {
                        let (cache, computed) = (cache.clone(), Arc::clone(&computed));
                        tokio::spawn(async move {
                            let compute = async {
                                computed.fetch_add(1, Ordering::SeqCst);
                                tokio::task::yield_now().await;
                                Ok::<_, Infallible>("answer".to_owned())
                            };
                            let question =
                                GetRequest::new("question").namespace(format!("{round}"));
                            cache
                                .get_or_compute(question, compute)
                                .await
                                .unwrap()
                                .response
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await.unwrap(), "answer");
                }
                assert_eq!(computed.load(Ordering::SeqCst), 1, "round {round}");
            }
        });
    });
}

fn a_computation_that_is_dropped_passes_to_the_next() {
    unless_it_hangs(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache = AsyncSemanticCache::new(cache(Words));
            let (begun, begins) = tokio::sync::oneshot::channel();
            let first = tokio::spawn({
                let cache = cache.clone();
                async move {
                    let compute = async {
                        begun.send(()).unwrap();
                        std::future::pending::<Result<String, Infallible>>().await
                    };
                    cache.get_or_compute("question", compute).await.map(drop)
                }
            });
            begins.await.unwrap();
            let second = tokio::spawn({
                let cache = cache.clone();
                async move {
                    let compute = async { Ok::<_, Infallible>("second".to_owned()) };
                    cache
                        .get_or_compute("question", compute)
                        .await
                        .unwrap()
                        .response
                }
            });
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert!(
                !second.is_finished(),
                "the first computation is still under way"
            );
            first.abort();
            assert_eq!(second.await.unwrap(), "second");
        });
    });
}

fn a_failed_computation_is_not_shared_and_not_kept() {
    let cache = cache(Words);
    let failed = cache
        .get_or_compute("question", || Err::<String, _>("no"))
        .unwrap_err();
    assert_eq!(failed, "no");
    let answer = cache
        .get_or_compute("question", || Ok::<_, Infallible>("yes"))
        .unwrap();
    assert_eq!(answer.response, "yes");
    // The model behind the cache matters more than the cache.
    cache.close().unwrap();
    let answer = cache
        .get_or_compute("question", || Ok::<_, Infallible>("without"))
        .unwrap();
    assert_eq!(answer.response, "without");
    assert!(matches!(
        answer.origin,
        Origin::Computed(Err(mneme::Error::Closed))
    ));
}

fn a_call_from_inside_a_call_fails_instead_of_waiting_for_itself() {
    unless_it_hangs(|| {
        let itself: Arc<OnceLock<SemanticCache>> = Arc::default();
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let (inside, seen) = (Arc::clone(&itself), Arc::clone(&outcomes));
        let cache = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Words)
            .on_event(move |_| {
                if let Some(cache) = inside.get() {
                    seen.lock().unwrap().push(cache.get("question"));
                }
            })
            .open()
            .unwrap();
        itself.set(cache.clone()).unwrap();
        cache.put(PutRequest::new("question", "answer")).unwrap();
        assert!(cache.get("question").unwrap().is_hit());
        let outcomes = std::mem::take(&mut *outcomes.lock().unwrap());
        assert_eq!(outcomes.len(), 2);
        for outcome in outcomes {
            assert!(
                matches!(outcome, Err(Error::InvalidArgument(_))),
                "{outcome:?}"
            );
        }
    });
}

/// A clock that stands still. It holds up calls while somebody has the gate, and notes how many
/// calls of the greedy thread had ended when a thread was first served.
#[derive(Clone, Default)]
struct Noting {
    gate: Arc<Mutex<()>>,
    ended: Arc<AtomicUsize>,
    served: Arc<Mutex<HashMap<ThreadId, usize>>>,
}

impl Clock for Noting {
    fn now(&self) -> Duration {
        let ended = self.ended.load(Ordering::SeqCst);
        let thread = std::thread::current().id();
        self.served.lock().unwrap().entry(thread).or_insert(ended);
        drop(self.gate.lock().unwrap());
        Duration::from_secs(1000)
    }
}

/// Whether a thread of this process waits, and how often it has given up its processor.
#[cfg(target_os = "linux")]
fn sleep_of(thread: &str) -> (bool, String) {
    let status = std::fs::read_to_string(format!("/proc/self/task/{thread}/status")).unwrap();
    let line = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name));
        found.unwrap().trim().to_owned()
    };
    (
        line("State:").starts_with('S'),
        line("voluntary_ctxt_switches:"),
    )
}

#[cfg(target_os = "linux")]
fn no_caller_is_passed_over() {
    unless_it_hangs(|| {
        let noting = Noting::default();
        let cache = mneme_tests::builder()
            .store(MemoryStore::new())
            .embedder(Words)
            .clock(noting.clone())
            .open()
            .unwrap();
        cache.put(PutRequest::new("question", "answer")).unwrap();
        let shut = noting.gate.lock().unwrap();
        let all_served = AtomicUsize::new(0);
        let passed = std::thread::scope(|scope| {
            let (cache, noting, all_served) = (&cache, &noting, &all_served);
            let ask = || assert!(cache.get("question").unwrap().is_hit());
            let greedy = scope.spawn(move || {
                while all_served.load(Ordering::SeqCst) < 15 {
                    ask();
                    noting.ended.fetch_add(1, Ordering::SeqCst);
                }
            });
            let is_inside = || {
                let served = noting.served.lock().unwrap();
                served.contains_key(&greedy.thread().id())
            };
            while !is_inside() {
                std::thread::yield_now();
            }
            // It has the turn. The others come, and wait.
            let (tell, told) = channel();
            let waiting: Vec<_> = (0..15)
                .map(|_| {
                    let tell = tell.clone();
                    scope.spawn(move || {
                        let path = std::fs::read_link("/proc/thread-self").unwrap();
                        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                        tell.send(name).unwrap();
                        ask();
                        all_served.fetch_add(1, Ordering::SeqCst);
                        std::thread::current().id()
                    })
                })
                .collect();
            let names: Vec<String> = told.iter().take(15).collect();
            let sleeps = || names.iter().map(|name| sleep_of(name)).collect::<Vec<_>>();
            let mut before = sleeps();
            loop {
                std::thread::sleep(Duration::from_millis(20));
                let now = sleeps();
                if now == before && now.iter().all(|(sleeps, _)| *sleeps) {
                    break;
                }
                before = now;
            }
            drop(shut);
            let threads: Vec<_> = waiting.into_iter().map(|one| one.join().unwrap()).collect();
            let served = noting.served.lock().unwrap();
            threads
                .iter()
                .map(|thread| served[thread])
                .collect::<Vec<_>>()
        });
        // The call that had the turn may end before any of them, and no other.
        assert!(passed.iter().all(|passed| *passed <= 1), "{passed:?}");
    });
}
