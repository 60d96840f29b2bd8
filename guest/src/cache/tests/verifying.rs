use super::*;

/// A cache whose answers are verified; its threshold is the cosine of 20 degrees.
fn verified(band: Option<f32>, later: bool) -> (TestCache, TestHost, TestStore) {
    let (mut cache, host, store) = new_cache(|options| {
        options.similarity_threshold = 0.939;
        options.verifying = Some(Verifying { band, later });
    });
    cache.put(response("one", 0.0)).unwrap();
    (cache, host, store)
}

fn to_verify(lookup: Lookup) -> Candidate {
    match lookup {
        Lookup::NeedsVerification(candidate) => candidate,
        other => panic!("nothing to verify: {other:?}"),
    }
}

/// The same question again, with the verifier's opinion of a candidate.
fn said(request: GetRequest, candidate: &Candidate, opinion: Opinion) -> GetRequest {
    GetRequest {
        verification: Some(Verification {
            id: candidate.id,
            created_at: candidate.created_at,
            opinion,
        }),
        ..request
    }
}

fn explained(cache: &mut TestCache, request: GetRequest) -> Explanation {
    match cache.explain(request, 10).unwrap() {
        Explained::Explanation(explanation) => explanation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_candidate_about_to_answer_is_verified() {
    let (mut cache, host, _) = verified(None, false);
    host.set(1030);
    let request = || ask("two", 10.0);
    let candidate = to_verify(cache.get(request()).unwrap());
    assert_eq!((&*candidate.query, &*candidate.entry_query), ("two", "one"));
    assert_eq!((candidate.created_at, candidate.age_seconds), (1000, 30));
    // Nothing is counted until it is decided.
    assert_eq!(cache.stats(None).unwrap().counters, crate::counters::ZERO);
    for (opinion, outcome) in [
        (Opinion::Yes, None),
        (Opinion::Unknown, None),
        (Opinion::No, Some(MissReason::Unverified)),
        (Opinion::Failed, Some(MissReason::VerifierFailure)),
    ] {
        let request = said(request(), &candidate, opinion);
        let explanation = explained(&mut cache, request.clone());
        assert_eq!(explanation.verification, request.verification);
        let verdict = explanation.candidates[0].verdict;
        match (cache.get(request).unwrap(), outcome) {
            (Lookup::Hit(hit), None) => {
                assert_eq!(hit.query, "one");
                assert_eq!(verdict, Verdict::Answers);
            }
            (Lookup::Miss(miss), Some(reason)) => {
                assert_eq!(
                    miss,
                    Miss {
                        reason,
                        doubt: None,
                        nearest: None,
                    }
                );
                assert_eq!(explanation.outcome, ExplainedOutcome::Miss(reason));
                assert_eq!(verdict, Verdict::Unverified);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(cache.stats(None).unwrap().entries, 1);
    // Nobody verifies the exact layer, nor what is not similar.
    assert_eq!(
        hit(cache.get(ask("one", 10.0)).unwrap()).layer,
        Layer::Exact
    );
    let far = cache.get(ask("two", 30.0)).unwrap();
    assert_eq!(miss(far), MissReason::BelowThreshold);
}

#[test]
fn an_opinion_is_of_one_version_of_one_entry() {
    let (mut cache, host, _) = verified(None, false);
    let candidate = to_verify(cache.get(ask("two", 10.0)).unwrap());
    let request = said(ask("two", 10.0), &candidate, Opinion::Yes);
    host.set(1001);
    cache.put(response("one", 0.0)).unwrap();
    let replaced = cache.get(request.clone()).unwrap();
    assert_eq!(miss(replaced), MissReason::Unverified);
    cache.put(response("three", 9.0)).unwrap();
    assert_eq!(miss(cache.get(request).unwrap()), MissReason::Unverified);
    // A forged one names what is not there.
    let forged = Candidate {
        id: 77,
        ..candidate
    };
    let forged = said(ask("two", 10.0), &forged, Opinion::Yes);
    assert_eq!(miss(cache.get(forged).unwrap()), MissReason::Unverified);
}

#[test]
fn candidates_of_the_band_answer_only_if_the_verifier_says_yes() {
    let (mut cache, _, _) = verified(Some(0.8), false);
    let request = || ask("two", 30.0);
    let candidate = to_verify(cache.get(request()).unwrap());
    assert!((candidate.similarity - 0.866).abs() < 1e-3);
    let mut outcome = |opinion| cache.get(said(request(), &candidate, opinion)).unwrap();
    assert_eq!(hit(outcome(Opinion::Yes)).query, "one");
    assert_eq!(miss(outcome(Opinion::No)), MissReason::Unverified);
    assert_eq!(miss(outcome(Opinion::Unknown)), MissReason::BelowThreshold);
    assert_eq!(miss(outcome(Opinion::Failed)), MissReason::VerifierFailure);
    let below = cache.get(ask("two", 40.0)).unwrap();
    assert_eq!(miss(below), MissReason::BelowThreshold);
    match cache.explain(request(), 10).unwrap() {
        Explained::NeedsVerification(asked) => assert_eq!(asked, candidate),
        other => panic!("{other:?}"),
    }
    let explanation = explained(&mut cache, said(request(), &candidate, Opinion::Yes));
    assert_eq!(explanation.verified_from, Some(0.8));
    assert_eq!(explanation.outcome, ExplainedOutcome::Hit(Layer::Semantic));
}

#[test]
fn what_is_verified_later_is_a_doubt_that_may_be_linked() {
    let (mut cache, host, store) = verified(Some(0.8), true);
    let miss = match cache.get(ask("two", 30.0)).unwrap() {
        Lookup::Miss(miss) => miss,
        other => panic!("{other:?}"),
    };
    assert_eq!(miss.reason, MissReason::BelowThreshold);
    let doubt = miss.doubt.unwrap();
    assert_eq!(doubt.entry_query, "one");
    let explanation = explained(&mut cache, ask("two", 30.0));
    let reason = ExplainedOutcome::Miss(MissReason::BelowThreshold);
    assert_eq!(explanation.outcome, reason);
    // What is similar enough is verified at once.
    to_verify(cache.get(ask("two", 10.0)).unwrap());

    host.set(1010);
    let mut link = |query: &str, namespace: &str, created_at| {
        cache.link(
            query.into(),
            namespace.into(),
            String::new(),
            doubt.id,
            created_at,
        )
    };
    assert_eq!(link("two", "n", 999).unwrap(), None, "another version");
    assert_eq!(link("two", "other", 1000).unwrap(), None);
    assert_eq!(link("one", "n", 1000).unwrap(), None, "it has an answer");
    assert!(matches!(
        link("two", "", 1000),
        Err(Error::InvalidArgument(_))
    ));
    let id = link("two", "n", 1000).unwrap().unwrap();
    assert_eq!(link("two", "n", 1000).unwrap(), None);
    let found = hit(cache.get(ask("TWO", 90.0)).unwrap());
    assert_eq!((found.id, found.layer), (id, Layer::Exact));
    assert_eq!(found.response, "response to one");
    // The copy is of the exact layer only: it makes no neighbourhood larger.
    assert_eq!(
        miss_of(&mut cache, "three", 31.0),
        MissReason::BelowThreshold
    );
    assert_eq!(queries(&store), ["one", "two"]);
}

fn miss_of(cache: &mut TestCache, query: &str, degrees: f64) -> MissReason {
    miss(cache.get(ask(query, degrees)).unwrap())
}

#[test]
fn a_link_keeps_the_lifetime_the_tags_and_the_metadata() {
    let (mut cache, host, store) = verified(Some(0.8), true);
    let id = match cache
        .put(PutRequest {
            ttl: TtlChoice::Seconds(100),
            tags: vec!["t".into()],
            metadata: r#"{"a":1}"#.into(),
            ..response("ten", 5.0)
        })
        .unwrap()
    {
        PutOutcome::Stored(id) => id,
        other => panic!("{other:?}"),
    };
    host.set(1040);
    let mut link = |query: &str| cache.link(query.into(), "n".into(), String::new(), id, 1000);
    link("two").unwrap().unwrap();
    let copy = store
        .entries()
        .into_iter()
        .find(|e| e.query == "two")
        .unwrap();
    assert_eq!((copy.ttl, copy.created_at), (Some(100), 1000));
    assert_eq!(
        (copy.tags, &*copy.metadata),
        (vec!["t".to_owned()], r#"{"a":1}"#)
    );
    host.set(1100);
    assert_eq!(link("three").unwrap(), None, "it has expired");
}

#[test]
fn a_band_is_a_cosine() {
    for band in [1.1, f32::NAN] {
        let store = TestStore::default();
        let mut cache = Cache::new(store, TestHost::at(1000));
        let mut options = crate::options::defaults("f", 2);
        options.verifying = Some(Verifying {
            band: Some(band),
            later: false,
        });
        match cache.open(options) {
            Err(Error::InvalidArgument(message)) => assert!(message.contains("band"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
