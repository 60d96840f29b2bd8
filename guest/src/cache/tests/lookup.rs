//! Which answer is given, and why none is.

use super::*;
use proptest::prelude::*;

#[test]
fn the_exact_layer_compares_normalised_queries() {
    let (mut cache, _, _) = new_cache(|_| {});
    cache.put(response("How  are YOU?", 0.0)).unwrap();
    let hit = hit(cache.get(ask(" how are\tyou? ", 90.0)).unwrap());
    assert_eq!((hit.layer, hit.similarity), (Layer::Exact, 1.0));
    assert_eq!(hit.query, "How  are YOU?");
}

#[test]
fn without_normalising_texts_are_compared_as_they_are() {
    let (mut cache, _, _) = new_cache(|o| o.normalize = false);
    cache.put(response("Ping", 0.0)).unwrap();
    assert_eq!(
        miss(cache.get(ask("ping", 90.0)).unwrap()),
        MissReason::BelowThreshold
    );
    assert_eq!(
        hit(cache.get(ask("Ping", 90.0)).unwrap()).layer,
        Layer::Exact
    );
}

#[test]
fn the_semantic_layer_finds_the_most_similar() {
    let (mut cache, _, _) = new_cache(|o| o.confidence = decay());
    for (query, angle) in [("a", 0.0), ("b", 20.0), ("c", 24.0)] {
        cache.put(response(query, angle)).unwrap();
    }
    let found = hit(cache.get(ask("x", 21.0)).unwrap());
    assert_eq!((found.query.as_str(), found.layer), ("b", Layer::Semantic));
    assert!((found.similarity - 1.0_f32.to_radians().cos()).abs() < 1e-6);
    assert_eq!(
        miss(cache.get(ask("x", 90.0)).unwrap()),
        MissReason::BelowThreshold
    );
    let strict = GetRequest {
        threshold: Some(1.0),
        ..ask("x", 21.0)
    };
    assert_eq!(miss(cache.get(strict).unwrap()), MissReason::BelowThreshold);
    let lax = GetRequest {
        threshold: Some(-1.0),
        ..ask("x", 180.0)
    };
    assert_eq!(
        miss(cache.get(lax).unwrap()),
        MissReason::LowConfidence,
        "confidence is below the cut-off"
    );
}

#[test]
fn what_is_older_than_a_request_takes_does_not_answer_it() {
    let (mut cache, host, store) = new_cache(|_| {});
    cache.put(response("old", 0.0)).unwrap();
    host.set(1_100);
    cache.put(response("new", 20.0)).unwrap();
    host.set(1_160);
    let within = |max_age, query: &str, angle| GetRequest {
        max_age: Some(max_age),
        ..ask(query, angle)
    };
    // The exact layer, then the semantic one.
    assert_eq!(
        hit(cache.get(within(160, "old", 0.0)).unwrap()).query,
        "old"
    );
    let next = hit(cache.get(within(159, "old", 0.0)).unwrap());
    assert_eq!((next.query.as_str(), next.age_seconds), ("new", 60));
    assert_eq!(
        miss(cache.get(within(59, "old", 0.0)).unwrap()),
        MissReason::TooOld
    );
    assert_eq!(
        miss(cache.get(within(59, "old", 90.0)).unwrap()),
        MissReason::BelowThreshold
    );
    for (max_age, reason) in [(159, MissReason::TooOld), (160, MissReason::NoMatch)] {
        let only_exact = GetRequest {
            vector: VectorSource::Absent,
            ..within(max_age, "old", 0.0)
        };
        match cache.get(only_exact).unwrap() {
            Lookup::Hit(hit) => assert_eq!((hit.query.as_str(), max_age), ("old", 160)),
            other => assert_eq!(miss(other), reason),
        }
    }
    // They stay, for whoever takes them.
    assert_eq!(queries(&store), ["old", "new"]);
    // With 0, what was stored in this second.
    cache.put(response("now", 90.0)).unwrap();
    assert_eq!(hit(cache.get(within(0, "x", 90.0)).unwrap()).query, "now");
    // The age of what a wrong clock has stored is not known.
    host.set(500);
    assert_eq!(
        miss(cache.get(within(1_000, "x", 90.0)).unwrap()),
        MissReason::TooOld
    );
    assert_eq!(hit(cache.get(ask("x", 90.0)).unwrap()).query, "now");
}

#[test]
fn a_hit_says_when_it_was_stored_and_when_it_expires() {
    let (mut cache, host, _) = new_cache(|_| {});
    cache.put(response("kept", 0.0)).unwrap();
    let short = PutRequest {
        ttl: TtlChoice::Seconds(60),
        ..response("short", 90.0)
    };
    cache.put(short).unwrap();
    host.set(1_059);
    for (angle, ttl_left) in [(0.0, None), (90.0, Some(1))] {
        let hit = hit(cache.get(ask("x", angle)).unwrap());
        assert_eq!(
            (hit.created_at, hit.age_seconds, hit.ttl_left),
            (1_000, 59, ttl_left)
        );
    }
}

#[test]
fn by_default_age_refuses_nothing() {
    let (mut cache, host, _) = new_cache(|o| o.similarity_threshold = 0.5);
    cache.put(response("a", 0.0)).unwrap();
    host.set(1000 + 10 * 365 * 86_400);
    assert_eq!(hit(cache.get(ask("x", 59.0)).unwrap()).query, "a");
}

#[test]
fn the_same_vector_hits_at_threshold_one() {
    for degrees in 0..360 {
        let (mut cache, _, _) = new_cache(|o| o.similarity_threshold = 1.0);
        let angle = f64::from(degrees) + 0.123;
        cache.put(response("near", angle + 0.03)).unwrap();
        cache.put(response("same", angle)).unwrap();
        let found = hit(cache.get(ask("x", angle)).unwrap());
        assert_eq!((found.query.as_str(), found.similarity), ("same", 1.0));
    }
}

fn reading(tokens: u32, tokens_read: u32, tokens_unknown: u32) -> VectorSource {
    VectorSource::Embedded(Embedding {
        vector: at_angle(0.0),
        reading: Some(Reading {
            tokens,
            tokens_read,
            tokens_unknown,
        }),
    })
}

#[test]
fn what_the_embedder_could_not_read_is_of_the_exact_layer() {
    let with = |query: &str, vector| GetRequest {
        vector,
        ..ask(query, 0.0)
    };
    let (cut, unknown) = (reading(200, 126, 0), reading(5, 5, 5));
    for source in [cut, unknown, VectorSource::Absent] {
        let (mut cache, _, store) = new_cache(|o| o.similarity_threshold = -1.0);
        let put = PutRequest {
            vector: source.clone(),
            ..response("long", 0.0)
        };
        assert_eq!(cache.put(put).unwrap(), PutOutcome::Stored(1));
        assert_eq!(store.entries()[0].embedding, [0.0, 0.0]);
        // Also for an index that was read from the store.
        for warm in [false, true] {
            if warm {
                cache.requantize(VectorDtype::Int8).unwrap();
                cache.warm_up().unwrap();
            }
            assert_eq!(
                miss(cache.get(ask("other", 0.0)).unwrap()),
                MissReason::BelowThreshold
            );
            let found = hit(cache.get(with("LONG", VectorSource::Absent)).unwrap());
            assert_eq!((found.layer, found.similarity), (Layer::Exact, 1.0));
        }
        assert!(cache.health(true).unwrap().healthy);
    }
    let (mut cache, _, _) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    assert_eq!(
        miss(cache.get(with("x", reading(200, 126, 0))).unwrap()),
        MissReason::Unreadable
    );
    assert_eq!(
        miss(cache.get(with("x", VectorSource::Absent)).unwrap()),
        MissReason::NoMatch
    );
    hit(cache.get(with("x", reading(9, 9, 2))).unwrap());
    let (mut cache, _, _) = new_cache(|o| o.allow_unreadable = true);
    cache.put(response("a", 0.0)).unwrap();
    hit(cache.get(with("x", reading(200, 126, 99))).unwrap());
}

#[test]
fn entries_of_the_future_expire_if_they_have_a_ttl() {
    let (mut cache, host, store) = new_cache(|o| o.default_ttl = Some(60));
    host.set(315_360_000);
    cache.put(response("wrong clock", 0.0)).unwrap();
    host.set(315_360_000 - 300);
    hit(cache.get(ask("x", 0.0)).unwrap());
    host.set(315_360_000 - 301);
    let problems = cache.health(true).unwrap().problems.join("; ");
    assert!(
        problems.contains("1 entries were stored by a clock that is ahead"),
        "{problems}"
    );
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    let exact = GetRequest {
        vector: VectorSource::Absent,
        ..ask("wrong clock", 0.0)
    };
    assert_eq!(miss(cache.get(exact).unwrap()), MissReason::NoMatch);
    // It stays: this clock may be the wrong one.
    assert_eq!(queries(&store), ["wrong clock"]);
}

#[test]
fn equal_similarities_go_to_the_lower_id_however_many() {
    let (mut cache, _, _) = new_cache(|_| {});
    for i in 0..200 {
        cache.put(response(&format!("q{i}"), 10.0)).unwrap();
    }
    assert_eq!(hit(cache.get(ask("x", 10.0)).unwrap()).id, 1);
    cache.delete("q0", "n", "").unwrap();
    assert_eq!(hit(cache.get(ask("x", 12.0)).unwrap()).id, 2);
}

#[test]
fn namespaces_never_meet() {
    let (mut cache, _, _) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    let elsewhere = GetRequest {
        namespace: "m".into(),
        ..ask("a", 0.0)
    };
    assert_eq!(miss(cache.get(elsewhere).unwrap()), MissReason::NoMatch);
}

#[test]
fn a_vector_is_asked_for_only_when_it_is_needed() {
    let (mut cache, _, store) = new_cache(|_| {});
    let pending = |query: &str| GetRequest {
        vector: VectorSource::Pending,
        ..ask(query, 0.0)
    };
    assert_eq!(
        cache.get(pending(" A ")).unwrap(),
        Lookup::NeedsEmbedding(normalized("a"))
    );
    let put = PutRequest {
        vector: VectorSource::Pending,
        ..response("A", 0.0)
    };
    assert_eq!(
        cache.put(put.clone()).unwrap(),
        PutOutcome::NeedsEmbedding(normalized("a"))
    );
    assert_eq!(
        cache.put_many(vec![response("b", 0.0), put]).unwrap(),
        [
            PutOutcome::Ready,
            PutOutcome::NeedsEmbedding(normalized("a"))
        ]
    );
    assert_eq!(queries(&store), [""; 0]);
    cache.put(response("A", 0.0)).unwrap();
    hit(cache.get(pending("a")).unwrap());
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);
}

#[test]
fn a_look_up_costs_few_calls_of_the_store() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    cache.get(ask("x", 1.0)).unwrap();
    let calls = |cache: &mut TestCache, request| {
        let before = store.calls();
        hit(cache.get(request).unwrap());
        store.calls() - before
    };
    assert_eq!(calls(&mut cache, ask("a", 0.0)), 1);
    assert_eq!(calls(&mut cache, ask("x", 1.0)), 2);
    let before = store.calls();
    cache.put(response("b", 50.0)).unwrap();
    assert_eq!(store.calls() - before, 1);
}

#[test]
fn misses_say_why() {
    let (mut cache, host, _) = new_cache(|o| o.events = true);
    let with = |vector| GetRequest {
        vector,
        ..ask("x", 0.0)
    };
    let cases = [
        (
            GetRequest {
                bypass: true,
                ..ask("x", 0.0)
            },
            MissReason::Bypass,
        ),
        (ask("x", 0.0), MissReason::NoMatch),
        (with(embedded(vec![1.0])), MissReason::DimMismatch),
        (
            with(embedded(vec![f32::NAN, 0.0])),
            MissReason::EmbedderFailure,
        ),
        (
            with(VectorSource::Failed("down".into())),
            MissReason::EmbedderFailure,
        ),
    ];
    for (request, reason) in cases {
        assert_eq!(miss(cache.get(request).unwrap()), reason);
        let event = Event::Miss(MissEvent {
            namespace: "n".into(),
            reason,
        });
        assert_eq!(host.events.borrow_mut().pop(), Some(event));
    }
    assert_eq!(cache.stats(Some("n")).unwrap().counters.misses, 5);
}

#[test]
fn refused_candidates_are_deleted_and_the_next_one_answers() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache
        .put(PutRequest {
            response: " [ERROR] x".into(),
            ..response("a", 0.0)
        })
        .unwrap();
    cache.put(response("b", 5.0)).unwrap();
    assert_eq!(hit(cache.get(ask("a", 0.0)).unwrap()).layer, Layer::Exact);
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, "b");
    assert_eq!(queries(&store), ["b"]);
}

#[test]
fn an_exact_hit_is_validated_if_it_is_asked_for() {
    let blank = || PutRequest {
        response: " ".into(),
        ..response("a", 0.0)
    };
    let validated = |vector| GetRequest {
        vector,
        validate: true,
        ..ask("a", 0.0)
    };
    let given = || VectorSource::Given(at_angle(0.0));
    for vector in [VectorSource::Pending, VectorSource::Absent, given()] {
        let (mut cache, _, store) = new_cache(|_| {});
        cache.put(blank()).unwrap();
        assert_eq!(hit(cache.get(ask("a", 0.0)).unwrap()).response, " ");
        let explained = cache.explain(validated(vector.clone()), 1).unwrap();
        let answer = cache.get(validated(vector.clone())).unwrap();
        match vector {
            VectorSource::Pending => assert_eq!(answer, Lookup::NeedsEmbedding(normalized("a"))),
            _ => {
                let reason = miss(answer);
                assert_eq!(reason, MissReason::NoMatch, "{vector:?}");
                let Explained::Explanation(explained) = explained else {
                    panic!("{explained:?}");
                };
                assert_eq!(explained.outcome, ExplainedOutcome::Miss(reason));
                let exact = explained.exact.unwrap();
                assert_eq!((exact.accepted, exact.verdict), (false, Verdict::Refused));
            }
        }
        cache.put(response("a", 0.0)).unwrap();
        assert_eq!(
            hit(cache.get(validated(vector)).unwrap()).layer,
            Layer::Exact
        );
        assert_eq!(queries(&store), ["a"]);
    }
    // Another entry that is similar enough answers in its place.
    let (mut cache, host, _) = new_cache(|o| o.validator = ValidatorRule::Host);
    cache.put(response("a", 0.0)).unwrap();
    cache.put(response("b", 1.0)).unwrap();
    host.refused.replace("response to a".into());
    assert_eq!(hit(cache.get(validated(given())).unwrap()).query, "b");
    assert_eq!(hit(cache.get(ask("a", 0.0)).unwrap()).query, "a");
    // With no validator nothing is refused.
    let (mut cache, _, _) = new_cache(|o| o.validator = ValidatorRule::None);
    cache.put(blank()).unwrap();
    assert_eq!(hit(cache.get(validated(given())).unwrap()).response, " ");
}

#[test]
fn confidence_decays_with_age_and_never_stops_an_exact_hit() {
    let (mut cache, host, store) = new_cache(|o| o.confidence = decay());
    cache.put(response("a", 0.0)).unwrap();
    host.set(1000 + 86_400);
    assert_eq!(
        miss(cache.get(ask("x", 0.0)).unwrap()),
        MissReason::LowConfidence
    );
    assert_eq!(hit(cache.get(ask("a", 0.0)).unwrap()).confidence, 0.5);
    assert_eq!(queries(&store), ["a"]);
}

#[test]
fn the_host_may_decide() {
    let (mut cache, host, store) = new_cache(|o| {
        o.confidence = ConfidenceRule::Host(0.5);
        o.validator = ValidatorRule::Host;
    });
    cache.put(response("a", 0.0)).unwrap();
    for (confidence, answers) in [(0.4, false), (f32::NAN, false), (7.0, true)] {
        host.confidence.set(confidence);
        assert_eq!(
            matches!(cache.get(ask("x", 0.0)).unwrap(), Lookup::Hit(_)),
            answers
        );
    }
    host.refused.replace("response to a".into());
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    assert_eq!(queries(&store), ["a"], "only useless answers are deleted");
}

#[test]
fn a_candidate_both_refused_and_faded_is_deleted() {
    let (mut cache, host, store) = new_cache(|o| o.confidence = decay());
    let failed = PutRequest {
        response: "[ERROR] down".into(),
        ..response("a", 0.0)
    };
    cache.put(failed).unwrap();
    host.set(1000 + 86_400);
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    assert_eq!(queries(&store), [""; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The cache answers what a search through all of the store's entries answers.
    #[test]
    fn answers_equal_brute_force(
        angles in prop::collection::vec(0_u32..360, 1..40),
        asked in 0_u32..360,
        threshold in -1.0_f32..=1.0,
        dtype in prop_oneof![Just(VectorDtype::Float32), Just(VectorDtype::Float16), Just(VectorDtype::Int8)],
    ) {
        let (mut cache, _, store) = new_cache(|o| {
            o.vector_dtype = dtype;
            o.confidence = ConfidenceRule::Decay(Decay { half_life_seconds: 1, cut_off: 0.0 });
        });
        for (i, angle) in angles.iter().enumerate() {
            cache.put(response(&format!("q{i}"), f64::from(*angle))).unwrap();
        }
        let query = at_angle(f64::from(asked));
        let best = store
            .entries()
            .into_iter()
            .map(|e| (crate::vector::cosine(&query, &e.embedding), e.id))
            .filter(|(similarity, _)| *similarity >= threshold)
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let request = GetRequest { threshold: Some(threshold), ..ask("x", f64::from(asked)) };
        match (cache.get(request).unwrap(), best) {
            (Lookup::Hit(hit), Some((similarity, id))) => {
                prop_assert_eq!((hit.similarity, hit.id), (similarity, id));
            }
            (Lookup::Miss(miss), None) => {
                prop_assert_eq!(miss.reason, MissReason::BelowThreshold);
            }
            (got, expected) => prop_assert!(false, "{got:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn a_blank_text_is_of_the_exact_layer_and_never_embedded() {
    for (normalize, blank) in [
        (true, ""),
        (true, " \u{3000}\n"),
        (false, " "),
        (false, "\u{1f}"),
    ] {
        let (mut cache, _, store) = new_cache(|o| {
            o.normalize = normalize;
            o.allow_unreadable = true;
        });
        let pending = || GetRequest {
            vector: VectorSource::Pending,
            ..ask(blank, 0.0)
        };
        let asked = |cache: &mut TestCache| miss(cache.get(pending()).unwrap());
        assert_eq!(asked(&mut cache), MissReason::Unreadable, "{blank:?}");
        let outcome = cache
            .put(PutRequest {
                vector: VectorSource::Pending,
                ..response(blank, 0.0)
            })
            .unwrap();
        assert!(matches!(outcome, PutOutcome::Stored(_)), "{outcome:?}");
        assert_eq!(store.entries()[0].embedding, [0.0, 0.0]);
        let found = hit(cache.get(pending()).unwrap());
        assert_eq!(found.layer, Layer::Exact);
        let other = cache.get(ask("x", 0.0)).unwrap();
        assert_eq!(miss(other), MissReason::BelowThreshold);
    }
    // A vector that the caller gives is one.
    let (mut cache, _, _) = new_cache(|_| {});
    cache.put(response(" ", 0.0)).unwrap();
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, " ");
}
