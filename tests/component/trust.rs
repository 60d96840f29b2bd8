//! Vetoes, and a verifier that says yes or no, hangs, fails or talks nonsense.

use mneme::observe::{Observer, Verified};
use mneme::verifier::{Opinion, VerifyError};
use mneme::{
    AsyncSemanticCache, Builder, Candidate, Error, ExplainedOutcome, GetRequest, Layer, Lookup,
    MemoryStore, MissReason, PutRequest, SemanticCache, Verdict, VetoKind,
};
use mneme_tests::embedders::Words;
use mneme_tests::unless_it_hangs;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mneme_tests::tests![
    what_a_veto_forbids_is_answered_by_no_route,
    hostile_texts_are_judged_without_harm,
    a_verifier_decides_about_the_candidate_that_is_about_to_answer,
    a_verifier_that_hangs_or_fails_lets_nothing_answer_and_holds_up_nobody,
    many_questions_are_verified_at_once,
    what_is_verified_later_hits_exactly_next_time,
    a_band_needs_a_verifier,
];

const ON: &str = "how do i turn on the light in the kitchen";
const OFF: &str = "how do i turn off the light in the kitchen";
const AGAIN: &str = "how do i turn on the light in our kitchen";

fn builder() -> Builder {
    SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Words)
        .similarity_threshold(0.8)
}

fn filled(builder: Builder) -> SemanticCache {
    let cache = builder.open().unwrap();
    cache.put(PutRequest::new(ON, "Press the button.")).unwrap();
    cache
}

fn reason(lookup: Lookup) -> MissReason {
    match lookup {
        Lookup::Miss(miss) => miss.reason,
        hit => panic!("{hit:?}"),
    }
}

fn what_a_veto_forbids_is_answered_by_no_route() {
    let cache = filled(builder());
    assert_eq!(reason(cache.get(OFF).unwrap()), MissReason::Vetoed);
    let many = cache.get_many(vec![OFF.into(), AGAIN.into()]).unwrap();
    let mut many = many.into_iter();
    assert_eq!(reason(many.next().unwrap()), MissReason::Vetoed);
    assert!(many.next().unwrap().is_hit());
    let computed = cache.get_or_compute(OFF, || Ok::<_, Error>("Press it again."));
    assert_eq!(computed.unwrap().response, "Press it again.");
    let kept = cache.get(ON).unwrap().hit().unwrap();
    assert_eq!(kept.response, "Press the button.");
    let explained = cache.explain(
        GetRequest::new("how do i turn off the light in our kitchen"),
        5,
    );
    let explanation = explained.unwrap().explanation;
    assert_eq!(explanation.outcome, ExplainedOutcome::Hit(Layer::Semantic));
    let vetoed = explanation
        .candidates
        .iter()
        .find(|entry| entry.query == ON);
    let vetoed = vetoed.unwrap();
    assert_eq!(vetoed.verdict, Verdict::Vetoed);
    assert_eq!(vetoed.vetoes[0].kind, VetoKind::Opposites);
    assert_eq!(
        (&*vetoed.vetoes[0].query, &*vetoed.vetoes[0].entry),
        ("turn off", "turn on")
    );
    // Switched off for one question.
    let cache = filled(builder());
    assert!(cache.get(GetRequest::new(OFF).vetoes([])).unwrap().is_hit());
    let cache = filled(builder().vetoes([]));
    assert!(cache.get(OFF).unwrap().is_hit());
    let strict = GetRequest::new(OFF).vetoes(VetoKind::ALL);
    assert_eq!(reason(cache.get(strict).unwrap()), MissReason::Vetoed);
}

/// Each ends within the limit of a call, and none traps.
fn hostile_texts_are_judged_without_harm() {
    let cache = builder()
        .call_timeout(Duration::from_secs(20))
        .open()
        .unwrap();
    let digits = "7".repeat(32 << 10);
    let words = "off ".repeat(8 << 10);
    let numbers: String = (0..6_000).map(|n| format!("{n} ")).collect();
    let marks = "\u{202e}turn on\u{200b}\u{2060}".repeat(1 << 10);
    let homoglyphs = "t\u{443}rn \u{43e}n th\u{435} light ".repeat(1 << 9);
    let dashes = "--".repeat(16 << 10);
    let emoji = "\u{1f469}\u{200d}\u{1f4bb}".repeat(2 << 10);
    let texts = [
        &digits,
        &words,
        &numbers,
        &marks,
        &homoglyphs,
        &dashes,
        &emoji,
    ];
    for a in texts {
        for b in texts {
            let judged = cache.judge(a, b, &VetoKind::ALL).unwrap();
            assert_eq!(judged.partial, a.len() > 8 << 10 || b.len() > 8 << 10);
            assert!(a != b || judged.vetoes.is_empty(), "{:?}", judged.vetoes);
            for veto in judged.vetoes {
                assert!(veto.query.chars().count() <= 64 && veto.entry.chars().count() <= 64);
            }
        }
    }
    // What only looks like a space or a letter hides no word.
    let hidden = "how do i turn o\u{200b}ff the light in the kitchen";
    assert!(
        !cache
            .judge(hidden, ON, &VetoKind::ALL)
            .unwrap()
            .vetoes
            .is_empty()
    );
}

/// A cache whose verifier gives these opinions, and what it was asked.
fn verified(
    opinion: impl Fn(&Candidate) -> Result<Opinion, VerifyError> + Send + Sync + 'static,
) -> (Builder, Arc<Mutex<Vec<Candidate>>>) {
    let asked = Arc::<Mutex<Vec<Candidate>>>::default();
    let seen = Arc::clone(&asked);
    let builder = builder().vetoes([]).verifier(move |candidate: &Candidate| {
        seen.lock().unwrap().push(candidate.clone());
        opinion(candidate)
    });
    (builder, asked)
}

#[derive(Clone, Default)]
struct Opinions(Arc<Mutex<Vec<Opinion>>>);

impl Observer for Opinions {
    fn verification(&self, verified: &Verified) {
        self.0.lock().unwrap().push(verified.opinion);
    }
}

fn a_verifier_decides_about_the_candidate_that_is_about_to_answer() {
    let told = Opinions::default();
    let (builder, asked) = verified(|candidate| {
        Ok(match candidate.query.contains(" off ") {
            true => Opinion::No,
            false if candidate.query.contains(" our ") => Opinion::Yes,
            false => Opinion::Unknown,
        })
    });
    let cache = filled(builder.observer(told.clone()));
    assert_eq!(reason(cache.get(OFF).unwrap()), MissReason::Unverified);
    assert!(cache.get(AGAIN).unwrap().is_hit());
    // What it cannot tell, the similarity decides.
    let unsure = "how do i turn on a light in the kitchen";
    assert!(cache.get(unsure).unwrap().is_hit());
    // It is not asked about the exact layer, nor about what is not similar.
    assert!(cache.get(ON).unwrap().is_hit());
    assert!(!cache.get("what is the weather in oslo").unwrap().is_hit());
    let asked_for: Vec<_> = asked
        .lock()
        .unwrap()
        .iter()
        .map(|c| c.query.clone())
        .collect();
    assert_eq!(asked_for, [OFF, AGAIN, unsure]);
    let first = asked.lock().unwrap()[0].clone();
    assert_eq!(
        (&*first.entry_query, &*first.response),
        (ON, "Press the button.")
    );
    let opinions = told.0.lock().unwrap().clone();
    assert_eq!(opinions, [Opinion::No, Opinion::Yes, Opinion::Unknown]);
    let explanation = cache.explain(OFF, 5).unwrap().explanation;
    assert_eq!(explanation.verification.unwrap().opinion, Opinion::No);
    assert_eq!(explanation.candidates[0].verdict, Verdict::Unverified);
    assert_eq!(cache.stats(None).unwrap().entries, 1);
}

fn a_verifier_that_hangs_or_fails_lets_nothing_answer_and_holds_up_nobody() {
    unless_it_hangs(|| {
        let (open, gate): (Sender<()>, _) = channel();
        let gate = Mutex::new(gate);
        let errors = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&errors);
        let (builder, _) = verified(move |candidate| match &*candidate.query {
            query if query.contains(" off ") => {
                drop(gate.lock().map(|gate| gate.recv()));
                Ok(Opinion::Yes)
            }
            query if query.contains(" our ") => Err(VerifyError::transient("no judge today")),
            query if query.contains(" a ") => panic!("as it was told"),
            _ => Ok(Opinion::Failed),
        });
        let cache = filled(
            builder
                .verify_timeout(Duration::from_millis(200))
                .on_error(move |error| heard.lock().unwrap().push(error.to_string())),
        );
        let failed = [
            OFF,
            AGAIN,
            "how do i turn on a light in the kitchen",
            "how do i turn on the light in this kitchen",
        ];
        for query in failed {
            assert_eq!(
                reason(cache.get(query).unwrap()),
                MissReason::VerifierFailure
            );
            assert!(cache.get(ON).unwrap().is_hit());
        }
        let told = errors.lock().unwrap().clone();
        for (error, expected) in told.iter().zip([
            "did not answer within 200ms",
            "no judge today",
            "panicked",
            "failed",
        ]) {
            assert!(
                error.starts_with("the verifier failed:") && error.contains(expected),
                "{error}"
            );
        }
        assert_eq!(told.len(), 4);
        // The caller of a cache without threads to spare goes on too.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let front = AsyncSemanticCache::new(cache.clone());
        let outcome = runtime.block_on(front.get(OFF)).unwrap();
        assert_eq!(reason(outcome), MissReason::VerifierFailure);
        assert_eq!(cache.stats(None).unwrap().entries, 1);
        drop(open);
    });
}

fn many_questions_are_verified_at_once() {
    unless_it_hangs(|| {
        let (all_here, together) = channel();
        let (all_here, together) = (Mutex::new(all_here), Mutex::new(together));
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        // Each waits until all three are under way.
        let (builder, _) = verified(move |candidate| {
            if counted.fetch_add(1, SeqCst) == 2 {
                (0..3).for_each(|_| all_here.lock().unwrap().send(()).unwrap());
            }
            while together.lock().unwrap().try_recv().is_err() {
                std::thread::yield_now();
            }
            Ok(match candidate.query.contains(" off ") {
                true => Opinion::No,
                false => Opinion::Yes,
            })
        });
        let cache = filled(builder);
        let questions = [
            ON,
            OFF,
            "what is the weather in oslo",
            AGAIN,
            "how do i turn on a light in the kitchen",
        ];
        let answers = cache
            .get_many(questions.map(GetRequest::new).into())
            .unwrap();
        let hits: Vec<bool> = answers.iter().map(Lookup::is_hit).collect();
        assert_eq!(hits, [true, false, false, true, true]);
        assert_eq!(count.load(SeqCst), 3);
    });
}

fn what_is_verified_later_hits_exactly_next_time() {
    unless_it_hangs(|| {
        let (builder, asked) = verified(|candidate| {
            Ok(match candidate.query.contains(" off ") {
                true => Opinion::No,
                false => Opinion::Yes,
            })
        });
        let cache = filled(
            builder
                .similarity_threshold(0.999)
                .verify_band(0.8)
                .verify_later(true),
        );
        for query in [OFF, AGAIN] {
            assert_eq!(
                reason(cache.get(query).unwrap()),
                MissReason::BelowThreshold
            );
        }
        let linked = loop {
            if let Some(hit) = cache
                .get(GetRequest::new(AGAIN).exact_only())
                .unwrap()
                .hit()
            {
                break hit;
            }
            std::thread::yield_now();
        };
        assert_eq!(
            (linked.layer, &*linked.response),
            (Layer::Exact, "Press the button.")
        );
        assert_eq!(
            reason(cache.get(GetRequest::new(OFF).exact_only()).unwrap()),
            MissReason::NoMatch
        );
        assert_eq!(asked.lock().unwrap().len(), 2);
        // Closing waits for no verifier.
        cache.get(OFF).unwrap();
        cache.close().unwrap();
    });
}

fn a_band_needs_a_verifier() {
    let error = builder().verify_band(0.7).open().unwrap_err().to_string();
    assert!(error.contains("Builder::verifier"), "{error}");
    let (builder, _) = verified(|_| Ok(Opinion::Yes));
    let error = builder.verify_band(1.5).open().unwrap_err().to_string();
    assert!(error.contains("the band begins at 1.5"), "{error}");
    let error = self::builder()
        .vetoes([VetoKind::Roles, VetoKind::Roles])
        .open()
        .unwrap_err()
        .to_string();
    assert!(error.contains("the veto roles comes twice"), "{error}");
}
