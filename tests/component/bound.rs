//! The error bound: labels by comparing and by feedback, through the real component.

use mneme::calibration;
use mneme::embedder::EmbedError;
use mneme::{
    AsyncSemanticCache, BoundReport, BoundState, Builder, Embedder, Error, ErrorBound, GetRequest,
    Label, LabelSource, Lookup, ManualClock, MemoryStore, Miss, MissReason, Origin, PutRequest,
    SemanticCache,
};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

mneme_tests::tests![
    get_or_compute_labels_its_misses_until_answers_open,
    what_differs_closes_it_and_stats_say_why,
    answers_are_compared_as_the_program_says,
    without_a_label_nobody_is_told_a_lie,
    feedback_comes_from_anywhere_once,
    a_bound_and_what_needs_one_are_checked,
    the_asynchronous_front_labels_too,
];

/// Texts that begin with a word are near each other: the word, then a number.
struct Near {
    fails: Arc<AtomicBool>,
}

impl Near {
    fn new() -> (Self, Arc<AtomicBool>) {
        let fails = Arc::new(AtomicBool::new(false));
        (
            Near {
                fails: Arc::clone(&fails),
            },
            fails,
        )
    }
}

impl Embedder for Near {
    fn fingerprint(&self) -> &str {
        "near"
    }

    fn dim(&self) -> u32 {
        3
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if self.fails.load(SeqCst) && texts.iter().any(|text| text.starts_with("answer")) {
            return Err(EmbedError::transient("the model is away"));
        }
        let embed = |text: &&str| {
            let number: String = text.chars().filter(char::is_ascii_digit).collect();
            let number = number.parse().unwrap_or(0.0_f32) / 10_000.0;
            match text.starts_with("other") {
                true => vec![0.0, 1.0, number],
                false => vec![1.0, 0.0, number],
            }
        };
        Ok(texts.iter().map(embed).collect())
    }
}

fn builder() -> Builder {
    SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Near::new().0)
        .clock(ManualClock::at(1_000_000))
        .vetoes([])
        .error_bound(ErrorBound::answers(0.05))
}

fn report(cache: &SemanticCache) -> BoundReport {
    cache.stats(Some("default")).unwrap().bound.unwrap()
}

/// Asks so many questions near each other, with this answer where it is not stored.
fn ask(cache: &SemanticCache, numbers: std::ops::Range<u32>, answer: &str) -> usize {
    let from_cache = |n: u32| {
        let computed = || Ok::<_, Error>(answer);
        let answer = cache.get_or_compute(format!("question {n}"), computed);
        matches!(answer.unwrap().origin, Origin::Cache(_))
    };
    numbers.filter(|n| from_cache(*n)).count()
}

fn get_or_compute_labels_its_misses_until_answers_open() {
    let cache = builder().open().unwrap();
    assert_eq!(ask(&cache, 0..100, "the same"), 0);
    let few = report(&cache);
    assert!(matches!(few.state, BoundState::TooFewLabels(needed) if needed > 100));
    assert_eq!((few.threshold, few.share), (None, None));
    let hits = ask(&cache, 100..1000, " THE  same");
    let open = report(&cache);
    assert_eq!((open.state, open.wrong), (BoundState::Open, 0));
    assert!(open.share.unwrap() <= 0.05);
    // Some 210 labels open it, and one would-be answer in 20 explores.
    let explored = cache.stats(Some("default")).unwrap().counters.explored;
    assert!((650..800).contains(&hits), "{hits}");
    assert!((15..80).contains(&explored), "{explored}");
    assert_eq!(cache.bounds().unwrap().len(), 1);
    // Another namespace has labels of its questions only.
    let other = cache.get(GetRequest::new("question 2000").namespace("other"));
    assert!(matches!(
        other.unwrap(),
        Lookup::Miss(Miss { nearest: None, .. })
    ));
}

fn what_differs_closes_it_and_stats_say_why() {
    let cache = builder()
        .same_answer(|candidate, response| match candidate.response == response {
            true => Label::Same,
            false => Label::Different,
        })
        .open()
        .unwrap();
    ask(&cache, 0..400, "the same");
    assert_eq!(report(&cache).state, BoundState::Open);
    let explanation = cache.explain("question 900", 3).unwrap().explanation;
    assert!(explanation.open_from.is_some());
    // A fifth of all labels is wrong.
    for n in 0..60 {
        let ticket = match cache.get(format!("question {}", 1000 + n)).unwrap() {
            Lookup::Hit(hit) => hit.ticket.unwrap(),
            Lookup::Miss(miss) => miss.nearest.unwrap().ticket,
        };
        cache
            .feedback("default", &ticket, Label::Different, LabelSource::User)
            .unwrap();
    }
    let closed = report(&cache);
    assert_eq!(
        (closed.state, closed.threshold),
        (BoundState::LabelsErr, None)
    );
    let Lookup::Miss(miss) = cache.get("question 3000").unwrap() else {
        panic!("nothing is open");
    };
    assert_eq!(miss.reason, MissReason::Unproven);
    let nearest = miss.nearest.unwrap();
    assert!(nearest.candidate.similarity > 0.9 && nearest.candidate.response == "the same");
}

fn answers_are_compared_as_the_program_says() {
    // Answers that are worded otherwise are unknown by default.
    let cache = builder().open().unwrap();
    for n in 0..30 {
        ask(&cache, n..n + 1, &format!("answer {n}"));
    }
    let unknown = report(&cache);
    assert_eq!(
        (unknown.labels, unknown.wrong, unknown.unknown),
        (29, 29, 29)
    );
    // By their embeddings they are near each other.
    let cache = builder().same_answer_from(0.9).open().unwrap();
    for n in 0..30 {
        ask(&cache, n..n + 1, &format!("answer {n}"));
    }
    ask(&cache, 30..31, "other answer");
    let compared = report(&cache);
    assert_eq!(
        (compared.labels, compared.wrong, compared.unknown),
        (30, 1, 0)
    );
    // Whoever computes elsewhere has it compared.
    let Lookup::Miss(miss) = cache.get("question 77").unwrap() else {
        panic!("too few labels");
    };
    let label = cache.compare_answer(miss.nearest.unwrap(), "other answer of 500");
    assert_eq!(label.unwrap(), Label::Same);
}

fn without_a_label_nobody_is_told_a_lie() {
    let (embedder, fails) = Near::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let cache = builder()
        .embedder(embedder)
        .same_answer_from(0.9)
        .on_error(move |error| heard.lock().unwrap().push(error.to_string()))
        .open()
        .unwrap();
    ask(&cache, 0..1, "answer 0");
    fails.store(true, SeqCst);
    // The caller has its answer; the failure is told, and no label is made.
    ask(&cache, 1000..1001, "answer 1");
    assert_eq!(report(&cache).labels, 0);
    let told = told.lock().unwrap().join("\n");
    assert!(told.contains("the model is away"), "{told}");
    // Equal answers need no embedding.
    ask(&cache, 2000..2001, "answer 1");
    assert_eq!((report(&cache).labels, report(&cache).wrong), (1, 0));
    // What is not stored is no answer to compare with.
    ask(&cache, 3000..3001, "[ERROR] busy");
    assert_eq!(report(&cache).labels, 1);
}

fn feedback_comes_from_anywhere_once() {
    let folder = tempfile::TempDir::new().unwrap();
    let clock = ManualClock::at(1_000_000);
    let open = || {
        let store = mneme::SqliteStore::new(folder.path().join("c.db"));
        builder().store(store).clock(clock.clone()).open().unwrap()
    };
    let cache = open();
    cache.put(PutRequest::new("question 1", "r")).unwrap();
    let ticket = |cache: &SemanticCache, query: &str| match cache.get(query).unwrap() {
        Lookup::Miss(miss) => miss.nearest.unwrap().ticket,
        hit => panic!("{hit:?}"),
    };
    let first = ticket(&cache, "question 2");
    let second = ticket(&cache, "question 3");
    let give = |cache: &SemanticCache, name: &str, ticket: &str| match cache.feedback(
        name,
        ticket,
        Label::Same,
        LabelSource::Judged,
    ) {
        Ok(()) => String::new(),
        Err(Error::InvalidArgument(message)) => message,
        Err(error) => panic!("{error}"),
    };
    cache.close().unwrap();
    // Another process.
    let cache = open();
    assert_eq!(give(&cache, "default", &first), "");
    assert!(give(&cache, "default", &first).contains("was used"));
    assert!(give(&cache, "other", &second).contains("was not issued"));
    for forged in ["", "00", &"0".repeat(92), &second.replace('0', "1")] {
        assert!(
            give(&cache, "default", forged).contains("was not issued"),
            "{forged}"
        );
    }
    cache.close().unwrap();
    let cache = open();
    assert!(give(&cache, "default", &first).contains("was used"));
    assert_eq!(report(&cache).labels, 1);
    clock.advance(std::time::Duration::from_secs(86_401));
    assert!(give(&cache, "default", &second).contains("86401 s old"));
    let stranger = builder().open().unwrap();
    assert!(give(&stranger, "default", &second).contains("was not issued"));
    let without = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Near::new().0)
        .open()
        .unwrap();
    assert!(give(&without, "default", &second).contains("no error bound"));
    assert!(without.bounds().unwrap().is_empty());
}

fn a_bound_and_what_needs_one_are_checked() {
    let refused = |builder: Builder, expected: &str| {
        let error = builder.open().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    for delta in [0.0, 1.0, -1.0, f64::NAN] {
        let bound = ErrorBound::requests(delta);
        refused(builder().error_bound(bound), "delta of the error bound");
    }
    let explore = ErrorBound {
        explore: 1.1,
        ..ErrorBound::answers(0.05)
    };
    refused(builder().error_bound(explore), "explore");
    refused(builder().same_answer_from(f32::NAN), "-1 to 1");
    let without = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Near::new().0)
        .same_answer_from(0.9);
    refused(without, "has no error bound");
    assert!(calibration::assess(&[], ErrorBound::answers(2.0)).is_err());
}

fn the_asynchronous_front_labels_too() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let cache = builder().open().unwrap();
    runtime.block_on(async {
        let cache = AsyncSemanticCache::new(cache.clone());
        for n in 0..20 {
            let compute = async { Ok::<_, Error>("the same") };
            cache
                .get_or_compute(format!("question {n}"), compute)
                .await
                .unwrap();
        }
        let Lookup::Miss(miss) = cache.get("question 50").await.unwrap() else {
            panic!("too few labels");
        };
        let ticket = miss.nearest.unwrap().ticket;
        let (same, user) = (Label::Same, LabelSource::User);
        cache.feedback("default", ticket, same, user).await.unwrap();
        let Lookup::Miss(miss) = cache.get("question 51").await.unwrap() else {
            panic!("too few labels");
        };
        let label = cache.compare_answer(miss.nearest.unwrap(), "The Same");
        assert_eq!(label.await.unwrap(), Label::Same);
    });
    assert_eq!((report(&cache).labels, report(&cache).wrong), (21, 0));
}
