//! Explanations say what a look-up does, and change nothing.

use super::*;
use proptest::prelude::*;

fn explained(cache: &mut TestCache, request: GetRequest, limit: u32) -> Explanation {
    match cache.explain(request, limit).unwrap() {
        Explained::Explanation(explanation) => explanation,
        other => panic!("not an explanation: {other:?}"),
    }
}

fn verdicts(explanation: &Explanation) -> Vec<(&str, Verdict)> {
    let candidates = explanation.candidates.iter();
    candidates.map(|c| (c.query.as_str(), c.verdict)).collect()
}

#[test]
fn every_rule_is_named() {
    let (mut cache, host, store) = new_cache(|o| {
        o.similarity_threshold = 0.9;
        o.confidence = decay();
    });
    let put = |cache: &mut TestCache, query: &str, angle: f64, ttl, text: &str| {
        let request = PutRequest {
            ttl,
            response: text.into(),
            ..response(query, angle)
        };
        cache.put(request).unwrap();
    };
    host.set(100_000 - 86_400);
    put(&mut cache, "old", 1.0, TtlChoice::Inherit, "r");
    host.set(100_000);
    put(&mut cache, "refused", 2.0, TtlChoice::Inherit, "[ERROR] x");
    put(&mut cache, "expired", 3.0, TtlChoice::Seconds(0), "r");
    put(&mut cache, "right", 4.0, TtlChoice::Inherit, "r");
    put(&mut cache, "later", 5.0, TtlChoice::Inherit, "r");
    put(&mut cache, "far", 60.0, TtlChoice::Inherit, "r");
    let before = store.entries();
    let explanation = explained(&mut cache, ask(" X ", 0.0), 10);
    assert_eq!(
        verdicts(&explanation),
        [
            ("old", Verdict::LowConfidence),
            ("refused", Verdict::Refused),
            ("expired", Verdict::Expired),
            ("right", Verdict::Answers),
            ("later", Verdict::Outranked),
            ("far", Verdict::BelowThreshold),
        ]
    );
    assert_eq!(explanation.outcome, ExplainedOutcome::Hit(Layer::Semantic));
    assert_eq!(explanation.normalized.text, "x");
    assert_eq!(explanation.normalized.hash, crate::query::hash("x", ""));
    assert_eq!((explanation.threshold, explanation.cut_off), (0.9, 0.7));
    assert_eq!((explanation.rows, explanation.exact), (6, None));
    assert!(!explanation.candidates[1].accepted && explanation.candidates[0].accepted);
    assert_eq!(explanation.candidates[0].age_seconds, 86_400);
    assert_eq!(store.entries(), before);
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);

    // A limit leaves out what did not decide.
    let short = explained(&mut cache, ask("x", 0.0), 1);
    assert_eq!(
        verdicts(&short),
        [("old", Verdict::LowConfidence), ("right", Verdict::Answers)]
    );
}

#[test]
fn the_exact_layer_comes_first() {
    let (mut cache, host, _) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    cache.put(response("b", 1.0)).unwrap();
    let explanation = explained(&mut cache, ask("A", 0.0), 10);
    let exact = explanation.exact.as_ref().unwrap();
    assert_eq!((exact.query.as_str(), exact.similarity), ("a", 1.0));
    assert_eq!(exact.verdict, Verdict::Answers);
    assert_eq!(verdicts(&explanation), [("b", Verdict::Outranked)]);
    assert_eq!(explanation.outcome, ExplainedOutcome::Hit(Layer::Exact));

    // Also where the embedder has failed, and not once it has expired.
    let failed = GetRequest {
        vector: VectorSource::Failed("down".into()),
        ..ask("a", 0.0)
    };
    let explanation = explained(&mut cache, failed.clone(), 10);
    assert_eq!(explanation.outcome, ExplainedOutcome::Hit(Layer::Exact));
    cache
        .put(PutRequest {
            ttl: TtlChoice::Seconds(5),
            ..response("a", 0.0)
        })
        .unwrap();
    host.set(1005);
    let explanation = explained(&mut cache, failed, 10);
    assert_eq!(explanation.exact.unwrap().verdict, Verdict::Expired);
    let miss = ExplainedOutcome::Miss(MissReason::EmbedderFailure);
    assert_eq!(explanation.outcome, miss);
    assert!(matches!(cache.get(ask("a", 0.0)).unwrap(), Lookup::Hit(hit) if hit.query == "b"));
}

#[test]
fn bad_requests_are_refused_and_a_bypass_has_no_entries() {
    let (mut cache, _, _) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    for limit in [0, 1001] {
        let error = cache.explain(ask("a", 0.0), limit).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument(text) if text.contains("1 to 1000")));
    }
    let pending = GetRequest {
        vector: VectorSource::Pending,
        ..ask(" A", 0.0)
    };
    assert_eq!(
        cache.explain(pending, 1).unwrap(),
        Explained::NeedsEmbedding(normalized("a"))
    );
    let bypass = GetRequest {
        bypass: true,
        ..ask("a", 0.0)
    };
    let explanation = explained(&mut cache, bypass, 1);
    let miss = ExplainedOutcome::Miss(MissReason::Bypass);
    assert_eq!(explanation.outcome, miss);
    assert!(explanation.exact.is_none() && explanation.candidates.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// What `explain` says is what `get` does.
    #[test]
    fn explanations_are_true(
        entries in prop::collection::vec((0_u32..12, 0_u64..3, 0_u64..2, any::<bool>()), 0..50),
        asked in 0_u32..14,
        query in 0_usize..60,
        threshold in 0.9_f32..=1.0,
        max_age in prop::option::of(0_u64..100_000),
        limit in 1_u32..60,
    ) {
        let (mut cache, host, store) = new_cache(|o| o.touch_limit = 0);
        for (i, (angle, age, ttl, refused)) in entries.iter().enumerate() {
            host.set(200_000 - age * 40_000);
            cache.put(PutRequest {
                ttl: if *ttl == 0 { TtlChoice::Inherit } else { TtlChoice::Seconds(ttl * 60_000) },
                response: if *refused { String::new() } else { "r".into() },
                ..response(&format!("q{i}"), f64::from(*angle))
            }).unwrap();
        }
        host.set(200_000);
        let before = store.entries();
        let request = GetRequest {
            threshold: Some(threshold),
            max_age,
            ..ask(&format!("q{query}"), f64::from(asked))
        };
        let explanation = explained(&mut cache, request.clone(), limit);
        prop_assert_eq!(store.entries(), before);
        let nearest: Vec<f32> = explanation.candidates.iter().map(|c| c.similarity).collect();
        prop_assert!(nearest.is_sorted_by(|a, b| a >= b));
        let others = entries.len() - usize::from(explanation.exact.is_some());
        prop_assert!(nearest.len() >= others.min(limit as usize));
        let answering: Vec<&JudgedEntry> = explanation
            .exact
            .iter()
            .chain(&explanation.candidates)
            .filter(|entry| entry.verdict == Verdict::Answers)
            .collect();
        match cache.get(request).unwrap() {
            Lookup::Hit(hit) => {
                prop_assert_eq!(explanation.outcome, ExplainedOutcome::Hit(hit.layer));
                prop_assert_eq!(answering.len(), 1);
                let entry = answering[0];
                prop_assert_eq!(
                    (entry.id, entry.similarity, entry.confidence, entry.age_seconds),
                    (hit.id, hit.similarity, hit.confidence, hit.age_seconds)
                );
            }
            Lookup::Miss(miss) => {
                prop_assert_eq!(explanation.outcome, ExplainedOutcome::Miss(miss.reason));
                prop_assert!(answering.is_empty());
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
