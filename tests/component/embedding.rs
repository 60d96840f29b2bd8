//! What becomes of look-ups and puts when the embedder hangs, fails, or cannot read a text.

use mneme::embedder::{EmbedError, Embedder};
use mneme::observe::{Availability, Observer};
use mneme::{
    AsyncSemanticCache, Computed, Error, GetRequest, Layer, Lookup, ManualClock, MemoryStore,
    MissReason, Origin, PutRequest, SemanticCache, Ttl,
};
use mneme_tests::embedders::{By, Words, words};
use mneme_tests::stores::Hooked;
use mneme_tests::unless_it_hangs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

mneme_tests::tests![
    exact_hits_go_on_while_every_embedding_hangs,
    while_the_embedder_is_down_the_exact_layer_keeps_what_is_computed,
    a_refused_key_is_asked_for_once_and_told,
    long_prompts_that_begin_alike_are_not_the_same,
    questions_in_scripts_that_the_encoder_does_not_know_are_not_the_same,
    what_the_validator_refuses_is_not_kept,
    a_stored_answer_that_the_validator_refuses_is_computed_and_replaced,
    a_computation_says_how_long_and_with_what_it_is_kept,
    a_bypassed_computation_is_kept_with_a_vector_made_before,
    a_computation_asks_the_store_once_before_it_begins,
    a_request_says_how_old_an_answer_may_be_and_whether_its_words_must_be_the_same,
    many_threads_are_served_in_turn,
    a_blank_text_is_of_the_exact_layer_and_never_embedded,
];

/// An embedder that never answers a text with `slow` in it, as long as the sender lives.
fn hanging(gate: Receiver<()>) -> impl Embedder {
    let gate = Mutex::new(gate);
    let texts = move |texts: &[&str]| {
        if texts.iter().any(|text| text.contains("slow")) {
            drop(gate.lock().map(|gate| gate.recv()));
        }
        Ok(texts.iter().map(|text| words(text)).collect())
    };
    By(texts)
}

fn exact_hits_go_on_while_every_embedding_hangs() {
    unless_it_hangs(|| {
        let (open, gate): (Sender<()>, _) = channel();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .unwrap();
        runtime.block_on(async {
            let cache = mneme_tests::builder()
                .store(MemoryStore::new())
                .embedder(hanging(gate))
                .embed_timeout(Duration::from_secs(20))
                .open()
                .unwrap();
            let cache = AsyncSemanticCache::new(cache);
            cache.put(PutRequest::new("known", "answer")).await.unwrap();
            let hung: Vec<_> = (0..600)
                .map(|n| {
                    let cache = cache.clone();
                    tokio::spawn(async move { cache.get(format!("slow question {n}")).await })
                })
                .collect();
            let mut took = Vec::new();
            for _ in 0..1000 {
                let start = Instant::now();
                assert!(cache.get("known").await.unwrap().is_hit());
                took.push(start.elapsed());
            }
            cache.health(false).await.unwrap();
            took.sort_unstable();
            println!(
                "exact hits beside 600 hung embeddings: p50 {:?}, p99 {:?}, longest {:?}",
                took[500], took[990], took[999]
            );
            assert!(took[990] < Duration::from_millis(500), "{:?}", took[990]);
            assert!(hung.iter().all(|look_up| !look_up.is_finished()));
            drop(open);
            for look_up in hung {
                assert!(!look_up.await.unwrap().unwrap().is_hit());
            }
        });
    });
}

/// Others who ask the same wait while it is computed and kept, so nothing is embedded then.
fn a_bypassed_computation_is_kept_with_a_vector_made_before() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let note = |order: &Mutex<Vec<&str>>, what| order.lock().unwrap().push(what);
    let embedded = Arc::clone(&order);
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(By(move |texts: &[&str]| {
            note(&embedded, "embedded");
            Ok(texts.iter().map(|text| words(text)).collect())
        }))
        .open()
        .unwrap();
    let ask = |query: &str| GetRequest::new(query).bypass(true);
    let compute = || {
        note(&order, "computed");
        Ok::<_, Error>("there")
    };
    let answer = cache.get_or_compute(ask("Where is it?"), compute).unwrap();
    assert!(matches!(answer.origin, Origin::Computed(Ok(1))));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let front = AsyncSemanticCache::new(cache.clone());
    let computed = front.get_or_compute(ask("And when?"), async { compute() });
    let answer = runtime.unwrap().block_on(computed).unwrap();
    assert!(matches!(answer.origin, Origin::Computed(Ok(2))));
    assert_eq!(
        *order.lock().unwrap(),
        ["embedded", "computed", "embedded", "computed"]
    );
    for query in ["it? where is", "when? and"] {
        let hit = cache.get(query).unwrap().hit().unwrap();
        assert_eq!((hit.layer, &*hit.response), (Layer::Semantic, "there"));
    }
}

/// An exact look-up, a semantic one, and the insert: nothing is asked for twice.
fn a_computation_asks_the_store_once_before_it_begins() {
    let calls: Arc<Mutex<Vec<&str>>> = Arc::default();
    let told = Arc::clone(&calls);
    let store = Hooked::new(move |operation| {
        told.lock().unwrap().push(operation);
        Ok(())
    });
    let cache = mneme_tests::builder()
        .store(store)
        .embedder(Words)
        .open()
        .unwrap();
    let front = AsyncSemanticCache::new(cache.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    // Loads the index.
    cache.put(PutRequest::new("another", "thing")).unwrap();
    assert!(!cache.get("unlike it").unwrap().is_hit());
    let is_read = |call: &&str| call.starts_with("get_by");
    for (query, is_async) in [("first question", false), ("second", true)] {
        calls.lock().unwrap().clear();
        let compute = || Ok::<_, Error>("there");
        let answer = match is_async {
            false => cache.get_or_compute(query, compute),
            true => runtime.block_on(front.get_or_compute(query, async { compute() })),
        };
        assert!(matches!(answer.unwrap().origin, Origin::Computed(Ok(_))));
        let mut calls = calls.lock().unwrap().clone();
        calls.retain(is_read);
        assert_eq!(calls, ["get_by_hash"], "{query}");
    }
}

/// A cache with an embedder of words and this clock.
fn cache_at(clock: &ManualClock) -> SemanticCache {
    mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .clock(clock.clone())
        .open()
        .unwrap()
}

fn a_request_says_how_old_an_answer_may_be_and_whether_its_words_must_be_the_same() {
    let clock = ManualClock::at(1_000);
    let cache = cache_at(&clock);
    let put = PutRequest::new("Where is it?", "there").ttl(Ttl::Seconds(100));
    cache.put(put).unwrap();
    clock.advance(Duration::from_secs(60));
    let within = |query: &str, seconds| cache.get(GetRequest::new(query).max_age(seconds)).unwrap();
    for query in ["where is it?", "it? where is"] {
        let hit = within(query, 60).hit().unwrap();
        assert_eq!(
            (hit.created_at, hit.age_seconds, hit.ttl_left),
            (1_000, 60, Some(40))
        );
        match within(query, 59) {
            Lookup::Miss(miss) => assert_eq!(miss.reason, MissReason::TooOld),
            hit => panic!("{hit:?}"),
        }
    }
    let exact = |query: &str| cache.get(GetRequest::new(query).exact_only()).unwrap();
    assert!(exact("where is it?").is_hit());
    assert!(!exact("it? where is").is_hit());
    // What is too old is computed again, and replaced.
    let request = GetRequest::new("where is it?").max_age(10);
    let computed = cache.get_or_compute(request, || Ok::<_, Error>("here"));
    assert!(matches!(computed.unwrap().origin, Origin::Computed(Ok(1))));
    assert_eq!(within("where is it?", 0).hit().unwrap().response, "here");
}

/// What an observer was told of the embedder.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<bool>>>);

impl Observer for Told {
    fn availability(&self, change: &Availability<'_>) {
        self.0.lock().unwrap().push(change.error.is_none());
    }
}

type Errors = Arc<Mutex<Vec<String>>>;

/// A cache whose embedder works while the flag is set, with what it told and the errors reported.
fn failing(
    error: EmbedError,
) -> (
    SemanticCache,
    Arc<AtomicBool>,
    Arc<AtomicUsize>,
    Told,
    Errors,
) {
    let (works, calls) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (told, errors) = (Told::default(), Arc::new(Mutex::new(Vec::new())));
    let (flag, counted, reported) = (Arc::clone(&works), Arc::clone(&calls), Arc::clone(&errors));
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(By(move |texts: &[&str]| {
            counted.fetch_add(1, SeqCst);
            match flag.load(SeqCst) {
                true => Ok(texts.iter().map(|text| words(text)).collect()),
                false => Err(error.clone()),
            }
        }))
        .observer(told.clone())
        .on_error(move |error| reported.lock().unwrap().push(error.to_string()))
        .open()
        .unwrap();
    (cache, works, calls, told, errors)
}

fn reason(lookup: Lookup) -> MissReason {
    match lookup {
        Lookup::Miss(miss) => miss.reason,
        Lookup::Hit(hit) => panic!("{hit:?}"),
    }
}

fn while_the_embedder_is_down_the_exact_layer_keeps_what_is_computed() {
    let (cache, works, calls, told, errors) = failing(EmbedError::transient("the server is down"));
    for n in 0..20 {
        let question = format!("question {n}");
        let answer = cache
            .get_or_compute(question.as_str(), || Ok::<_, Error>(format!("answer {n}")))
            .unwrap();
        assert!(
            matches!(answer.origin, Origin::Computed(Ok(_))),
            "{answer:?}"
        );
        // Only asked once, and then found by the exact layer.
        let again = cache
            .get_or_compute(question.as_str(), || -> Result<String, Error> {
                panic!("it is kept")
            })
            .unwrap();
        assert_eq!(again.response, format!("answer {n}"));
    }
    assert_eq!(calls.load(SeqCst), 5, "then it is left alone");
    assert_eq!(*told.0.lock().unwrap(), [true, false]);
    assert_eq!(errors.lock().unwrap().len(), 20);
    let miss = cache.get("another").unwrap();
    let Lookup::Miss(miss) = miss else {
        panic!("{miss:?}")
    };
    assert_eq!(miss.reason, MissReason::EmbedderFailure);
    let message = miss.embedder_error.unwrap().message;
    assert!(
        message.contains("was not asked") && message.contains("the server is down"),
        "{message}"
    );
    let put = cache.put(PutRequest::new("another", "answer")).unwrap_err();
    assert!(put.is_retryable(), "{put}");
    // A probe finds out that it works again.
    works.store(true, SeqCst);
    let deadline = Instant::now() + Duration::from_secs(60);
    while cache
        .put(PutRequest::new("another question", "answer"))
        .is_err()
    {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(cache.get("question another").unwrap().is_hit());
    assert_eq!(*told.0.lock().unwrap(), [true, false, true]);
    // What was kept for the exact layer only is not found by meaning.
    assert!(!cache.get("0 question").unwrap().is_hit());
}

fn a_refused_key_is_asked_for_once_and_told() {
    let (cache, _, calls, told, _) = failing(EmbedError::down("the key is refused (401)"));
    for n in 0..10 {
        assert_eq!(
            reason(cache.get(format!("question {n}")).unwrap()),
            MissReason::EmbedderFailure
        );
    }
    assert_eq!(calls.load(SeqCst), 1);
    assert_eq!(*told.0.lock().unwrap(), [true, false]);
}

fn minilm() -> SemanticCache {
    mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(mneme::embedder::MiniLm::new())
        .open()
        .unwrap()
}

fn long_prompts_that_begin_alike_are_not_the_same() {
    let cache = minilm();
    let begin = "Please summarise the following report for the board. ".repeat(20);
    let [first, second] = ["Revenue rose.", "Revenue fell."].map(|end| format!("{begin}{end}"));
    cache.put(PutRequest::new(&first, "rose")).unwrap();
    for threshold in [0.5, 1.0] {
        let asked = cache
            .get(GetRequest::new(&second).threshold(threshold))
            .unwrap();
        assert_eq!(reason(asked), MissReason::Unreadable);
    }
    let hit = cache.get(&first).unwrap().hit().expect("the exact layer");
    assert_eq!(hit.response, "rose");
    // Nor is a short question answered by what only begins like it.
    assert!(
        !cache
            .get("Please summarise the following report for the board.")
            .unwrap()
            .is_hit()
    );
}

fn questions_in_scripts_that_the_encoder_does_not_know_are_not_the_same() {
    let cache = minilm();
    let pairs = [
        ("如何重置我的密码？", "今天天气怎么样？"),
        ("как сбросить пароль?", "какая сегодня погода?"),
        ("كيف أعيد تعيين كلمة المرور؟", "كيف حال الطقس اليوم؟"),
        ("パスワードをリセットするには？", "今日の天気はどうですか？"),
        ("मैं अपना पासवर्ड कैसे बदलूं?", "आज मौसम कैसा है?"),
        ("πώς αλλάζω τον κωδικό μου;", "τι καιρό κάνει σήμερα;"),
        ("비밀번호를 어떻게 재설정하나요?", "오늘 날씨가 어때요?"),
        ("🔑❓", "🌧️☀️"),
        ("😀", "😢"),
    ];
    for (known, other) in pairs {
        cache.put(PutRequest::new(known, known)).unwrap();
        assert_eq!(
            reason(cache.get(other).unwrap()),
            MissReason::Unreadable,
            "{other}"
        );
        let hit = cache.get(known).unwrap().hit().expect("the exact layer");
        assert_eq!(hit.response, known);
    }
    // In a language that it reads, the semantic layer goes on.
    cache
        .put(PutRequest::new("How do I reset my password?", "so"))
        .unwrap();
    let asked = GetRequest::new("how can I reset my password").threshold(0.75);
    assert!(cache.get(asked).unwrap().is_hit());
}

fn what_the_validator_refuses_is_not_kept() {
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .open()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let asynchronous = AsyncSemanticCache::new(cache.clone());
    for bad in ["", "  \n", "[LLM Error] overloaded", " [ERROR] no"] {
        for is_async in [false, true] {
            let answer = match is_async {
                false => cache.get_or_compute("question", || Ok::<_, Error>(bad)),
                true => runtime.block_on(
                    asynchronous.get_or_compute("question", async { Ok::<_, Error>(bad) }),
                ),
            };
            let answer = answer.unwrap();
            assert_eq!(answer.response, bad, "the caller has it");
            let Origin::Computed(Err(Error::Refused(_))) = answer.origin else {
                panic!("{bad:?}: {answer:?}");
            };
            assert!(!cache.get("question").unwrap().is_hit());
        }
    }
    let refused = cache.put(PutRequest::new("question", "").validate(true));
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    let good = cache
        .get_or_compute("question", || Ok::<_, Error>("good"))
        .unwrap();
    assert!(matches!(good.origin, Origin::Computed(Ok(_))));
    assert_eq!(
        cache.get("question").unwrap().hit().unwrap().response,
        "good"
    );
}

fn a_stored_answer_that_the_validator_refuses_is_computed_and_replaced() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for bad in ["", "[ERROR] no"] {
        for is_async in [false, true] {
            let cache = mneme_tests::builder()
                .store(MemoryStore::new())
                .embedder(Words)
                .open()
                .unwrap();
            let asynchronous = AsyncSemanticCache::new(cache.clone());
            let compute = |response: &'static str| {
                let answer = match is_async {
                    false => cache.get_or_compute("question", || Ok::<_, Error>(response)),
                    true => runtime.block_on(
                        asynchronous.get_or_compute("question", async { Ok::<_, Error>(response) }),
                    ),
                };
                answer.unwrap()
            };
            cache.put(PutRequest::new("question", bad)).unwrap();
            let plain = cache.get("question").unwrap().hit().unwrap();
            assert_eq!(plain.response, bad, "get asks no validator");
            let computed = compute("good");
            assert_eq!(computed.response, "good");
            assert!(matches!(computed.origin, Origin::Computed(Ok(_))));
            let cached = compute("other");
            assert_eq!(cached.response, "good");
            assert!(matches!(cached.origin, Origin::Cache(_)));
        }
    }
}

fn a_computation_says_how_long_and_with_what_it_is_kept() {
    let clock = ManualClock::at(1_000);
    let cache = cache_at(&clock);
    let compute = || {
        let computed = Computed::new("answer").ttl(Ttl::Seconds(60));
        Ok::<_, Error>(computed.metadata(r#"{"model":"small"}"#))
    };
    cache.get_or_compute("question", compute).unwrap();
    let hit = cache.get("question").unwrap().hit().unwrap();
    assert_eq!(hit.metadata, r#"{"model":"small"}"#);
    clock.advance(Duration::from_secs(60));
    assert!(!cache.get("question").unwrap().is_hit());
    // Metadata that is not an object is not stored, and the answer is not lost.
    let bad = || Ok::<_, Error>(Computed::new("answer").metadata("[]"));
    let answer = cache.get_or_compute("question", bad).unwrap();
    assert_eq!(answer.response, "answer");
    assert!(matches!(
        answer.origin,
        Origin::Computed(Err(Error::InvalidArgument(_)))
    ));
}

fn many_threads_are_served_in_turn() {
    const THREADS: usize = 16;
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .open()
        .unwrap();
    cache.put(PutRequest::new("known", "answer")).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (cache, stop) = (cache.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut calls, mut longest) = (0u64, Duration::ZERO);
                while !stop.load(SeqCst) {
                    let start = Instant::now();
                    assert!(cache.get("known").unwrap().is_hit());
                    longest = longest.max(start.elapsed());
                    calls += 1;
                }
                (calls, longest)
            })
        })
        .collect();
    // The time that is measured.
    std::thread::park_timeout(Duration::from_secs(2));
    stop.store(true, SeqCst);
    let served: Vec<(u64, Duration)> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let all: u64 = served.iter().map(|(calls, _)| calls).sum();
    let least = served.iter().map(|(calls, _)| *calls).min().unwrap_or(0);
    let longest = served
        .iter()
        .map(|(_, longest)| *longest)
        .max()
        .unwrap_or_default();
    println!(
        "16 threads for 2 s: {all} exact hits, the least served {least}, the longest wait {longest:?}"
    );
    assert!(least * THREADS as u64 * 2 > all, "{least} of {all}");
}

fn a_blank_text_is_of_the_exact_layer_and_never_embedded() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let cache = mneme_tests::builder()
        .store(MemoryStore::new())
        .embedder(By(move |texts: &[&str]| {
            counted.fetch_add(texts.len(), SeqCst);
            Ok(texts.iter().map(|text| words(text)).collect())
        }))
        .open()
        .unwrap();
    let front = AsyncSemanticCache::new(cache.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap();
    for blank in ["", " ", "\t\n"] {
        for lookup in [
            cache.get(blank).unwrap(),
            runtime.block_on(front.get(blank)).unwrap(),
            cache.get_many(vec![blank.into()]).unwrap().remove(0),
        ] {
            let Lookup::Miss(miss) = lookup else {
                panic!("{lookup:?}");
            };
            assert_eq!(miss.reason, MissReason::Unreadable, "{blank:?}");
            assert_eq!(miss.embedder_error, None);
        }
        let puts: [&dyn Fn(); 4] = [
            &|| {
                cache.put(PutRequest::new(blank, "r")).unwrap();
            },
            &|| drop(cache.put_many(vec![PutRequest::new(blank, "r")]).unwrap()),
            &|| {
                let ask = GetRequest::new(blank).bypass(true);
                let compute = || Ok::<_, Error>("r");
                cache.get_or_compute(ask, compute).unwrap();
            },
            &|| {
                let compute = async { Ok::<_, Error>("r") };
                let answer = front.get_or_compute(blank, compute);
                runtime.block_on(answer).unwrap();
            },
        ];
        for put in puts {
            put();
            let hit = cache.get(blank).unwrap().hit().unwrap();
            assert_eq!((hit.layer, &*hit.response), (Layer::Exact, "r"));
            assert!(cache.delete(blank, "default").unwrap());
        }
    }
    assert_eq!(asked.load(SeqCst), 0);
    cache.put(PutRequest::new("a question", "r")).unwrap();
    assert_eq!(asked.load(SeqCst), 1);
}
