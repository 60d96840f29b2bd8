//! Bad requests, bad data, and a store that fails at any call.

use super::*;
use crate::testing::entry;
use std::collections::BTreeSet;

#[test]
fn bad_requests_are_refused_and_change_nothing() {
    let (mut cache, _, store) = new_cache(|o| {
        o.max_query_bytes = 10;
        o.max_response_bytes = 20;
        o.max_metadata_bytes = 30;
    });
    let put = |change: fn(&mut PutRequest)| {
        let mut request = response("q", 0.0);
        change(&mut request);
        request
    };
    let bad_puts = [
        put(|r| r.namespace.clear()),
        put(|r| r.namespace = "x".repeat(10_240)),
        put(|r| r.namespace = "a\0".into()),
        put(|r| r.query = "x".repeat(11)),
        put(|r| r.response = "x".repeat(21)),
        put(|r| r.metadata = format!("{{\"k\": \"{}\"}}", "x".repeat(30))),
        put(|r| r.metadata = "[]".into()),
        put(|r| r.vector = VectorSource::Given(vec![f32::INFINITY, 0.0])),
        put(|r| r.vector = VectorSource::Given(vec![0.0, 0.0])),
        put(|r| r.vector = embedded(vec![f32::NAN, 0.0])),
    ];
    for request in bad_puts {
        let batch = vec![response("good", 0.0), request.clone()];
        assert!(matches!(cache.put(request), Err(Error::InvalidArgument(_))));
        let Err(Error::InvalidArgument(message)) = cache.put_many(batch) else {
            panic!("accepted");
        };
        assert!(message.starts_with("request 1 "), "{message}");
    }
    let wrong_dim = put(|r| r.vector = VectorSource::Given(vec![1.0]));
    assert!(matches!(
        cache.put(wrong_dim),
        Err(Error::EmbedderDimension(_))
    ));
    let failed = put(|r| r.vector = VectorSource::Failed("down".into()));
    assert!(matches!(cache.put(failed), Err(Error::Backend(_))));
    assert_eq!(queries(&store), [""; 0]);

    for bad in [
        GetRequest {
            namespace: String::new(),
            ..ask("q", 0.0)
        },
        GetRequest {
            threshold: Some(1.5),
            ..ask("q", 0.0)
        },
        GetRequest {
            max_age: Some(1 << 53),
            ..ask("q", 0.0)
        },
        GetRequest {
            threshold: Some(f32::NAN),
            ..ask("q", 0.0)
        },
        GetRequest {
            vector: VectorSource::Given(vec![f32::NAN, 1.0]),
            ..ask("q", 0.0)
        },
        ask("a query too long", 0.0),
    ] {
        assert!(matches!(cache.get(bad), Err(Error::InvalidArgument(_))));
    }
    assert!(cache.set_similarity_threshold(2.0).is_err());
    assert!(cache.set_namespace_quota("", Some(1)).is_err());
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);
}

#[test]
fn vectors_that_are_no_embeddings_are_left_out_and_reported() {
    let store = TestStore::opened(2);
    store
        .insert(&[
            entry("n", "bad", &[f32::NAN, 0.0], 0),
            entry("n", "good", &at_angle(0.0), 1000),
        ])
        .unwrap();
    let (mut cache, _) = cache_on(&store, |_| {});
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, "good");
    hit(cache.get(ask("bad", 0.0)).unwrap());
    let health = cache.health(true).unwrap();
    assert!(
        !health.healthy && health.problems[0].contains("1 entries"),
        "{health:?}"
    );
}

#[test]
fn a_trouble_free_cache_is_healthy() {
    let (mut cache, host, _) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    host.set(1042);
    let health = cache.health(true).unwrap();
    assert!(health.healthy, "{health:?}");
    let deep = health.deep.unwrap();
    assert_eq!(deep.integrity_ok, Some(true));
    assert_eq!((deep.entries, deep.namespaces), (1, 1));
    assert_eq!(deep.oldest_entry_age_seconds, Some(42));
}

#[test]
fn the_cheap_check_asks_the_store_twice_whatever_it_holds() {
    let (mut cache, _, store) = new_cache(|_| {});
    for i in 0..300 {
        cache.put(response(&format!("q{i}"), 0.0)).unwrap();
    }
    let (calls, rows) = (store.calls(), store.rows_read());
    let health = cache.health(false).unwrap();
    assert!(health.healthy && health.store_ok && health.deep.is_none());
    assert_eq!((store.calls() - calls, store.rows_read() - rows), (2, 0));
}

#[test]
fn an_entry_of_another_tenant_or_question_never_answers() {
    for (namespace, query) in [("m", "q"), ("n", "p")] {
        let (mut cache, _, store) = new_cache(|_| {});
        let other = PutRequest {
            namespace: namespace.into(),
            ..response(query, 0.0)
        };
        cache.put(other).unwrap();
        store.mislead(store.entries()[0].id);
        let outcomes = [
            cache.get(ask("q", 90.0)).map(drop),
            cache.delete("q", "n", "").map(drop),
            cache.explain(ask("q", 90.0), 1).map(drop),
        ];
        for outcome in outcomes {
            let message = outcome.unwrap_err();
            assert!(
                matches!(&message, Error::Corrupt(what) if what.contains("check its integrity")),
                "{message:?}"
            );
        }
        assert_eq!(store.entries().len(), 1);
    }
}

#[test]
fn a_store_that_lost_its_data_is_not_healthy() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    hit(cache.get(ask("x", 0.0)).unwrap());
    store.lose_data();
    let health = cache.health(false).unwrap();
    assert!(!health.healthy && !health.store_ok);
    let problems = health.problems.join("; ");
    assert!(problems.contains("went back from 1 to 0"), "{problems}");
    assert!(
        problems.contains("no longer names an embedder"),
        "{problems}"
    );
}

#[test]
fn a_hit_does_not_fail_where_its_access_cannot_be_written() {
    for touch_limit in [0, 128] {
        let (mut cache, host, store) = new_cache(|o| o.touch_limit = touch_limit);
        cache.put(response("a", 0.0)).unwrap();
        let brief = PutRequest {
            ttl: TtlChoice::Seconds(1),
            ..response("brief", 5.0)
        };
        cache.put(brief).unwrap();
        hit(cache.get(ask("x", 0.0)).unwrap());
        store.refuse_writes(true);
        let mut attempts = 0;
        for millis in (2_000_000..2_010_000).step_by(100) {
            host.millis.set(millis);
            let before = store.refused_writes();
            hit(cache.get(ask("a", 0.0)).unwrap());
            hit(cache.get(ask("x", 6.0)).unwrap());
            assert_eq!(
                miss(cache.get(ask("brief", 90.0)).unwrap()),
                MissReason::BelowThreshold
            );
            attempts += store.refused_writes() - before;
        }
        assert!((1..=3).contains(&attempts), "{attempts} attempts in 10 s");
        let health = cache.health(false).unwrap();
        assert!(health.store_ok && !health.healthy, "{health:?}");
        store.refuse_writes(false);
        host.set(2_100);
        hit(cache.get(ask("a", 0.0)).unwrap());
        miss(cache.get(ask("brief", 90.0)).unwrap());
        cache.flush().unwrap();
        assert!(cache.health(false).unwrap().healthy);
        assert_eq!(queries(&store), ["a"]);
        let counters = cache.stats(None).unwrap().counters;
        assert_eq!((counters.hits_exact, counters.expirations), (101, 1));
    }
}

#[test]
fn similarity_needs_no_open_cache_and_checks_its_vectors() {
    use crate::vector::similarity;
    let s = similarity(vec![3.0, 4.0], vec![4.0, 3.0], VectorDtype::Float32).unwrap();
    assert!((s - 0.96).abs() < 1e-6);
    assert!(matches!(
        similarity(vec![1.0], vec![1.0, 0.0], VectorDtype::Int8),
        Err(Error::EmbedderDimension(_))
    ));
    assert!(similarity(Vec::new(), Vec::new(), VectorDtype::Float32).is_err());
}

/// What the calls of a script returned, made comparable.
fn run_script(cache: &mut TestCache, host: &TestHost) -> Vec<std::result::Result<String, Error>> {
    fn show<T: std::fmt::Debug>(result: crate::error::Result<T>) -> crate::error::Result<String> {
        result.map(|value| format!("{value:?}"))
    }
    let mut results = Vec::new();
    for i in 0..4_u64 {
        host.set(1000 + i * 7);
        let angle = i as f64 * 30.0;
        results.push(show(cache.put(response(&format!("q{i}"), angle))));
        results.push(show(cache.put(PutRequest {
            ttl: TtlChoice::Seconds(5),
            ..response(&format!("t{i}"), angle + 10.0)
        })));
        results.push(show(cache.get(ask(&format!("q{i}"), angle))));
        results.push(show(cache.get(ask("x", angle))));
    }
    results.push(show(cache.get_many(vec![ask("q1", 30.0), ask("x", 90.0)])));
    results.push(show(
        cache.put_many((0..5).map(|i| response(&format!("m{i}"), 5.0)).collect()),
    ));
    results.push(show(cache.delete("q1", "n", "")));
    results.push(show(cache.set_namespace_quota("n", Some(6))));
    results.push(show(cache.put(response("one more", 70.0))));
    results.push(show(cache.requantize(VectorDtype::Int8)));
    results.push(show(cache.vacuum(None, true)));
    results.push(show(cache.stats(None).map(|stats| stats.entries > 0)));
    results.push(show(cache.flush()));
    results.push(show(cache.clear_namespace("n")));
    results.push(show(cache.clear()));
    results
}

#[test]
fn a_store_may_fail_at_any_call() {
    let options = |o: &mut Options| {
        o.coordination = Coordination::StaleTolerant(0);
        o.max_entries = Some(8);
        o.touch_limit = 2;
    };
    let mut at = 0;
    loop {
        at += 1;
        let (mut cache, host, store) = new_cache(options);
        store.fail_at(at);
        let results = run_script(&mut cache, &host);
        if !store.has_failed() {
            assert!(at > 60, "the script is too short to mean anything");
            break;
        }
        let failures: Vec<_> = results.iter().filter(|result| result.is_err()).collect();
        // Writing later and evicting are tried again; everything else is reported.
        assert!(failures.len() <= 1, "call {at}: {failures:?}");
        assert!(
            failures.iter().all(|f| matches!(f, Err(Error::Backend(_)))),
            "call {at}"
        );
        // Whatever failed, the cache is right about the store afterwards.
        cache.set_namespace_quota("n", None).unwrap();
        cache.put(response("after", 33.0)).unwrap();
        assert_eq!(hit(cache.get(ask("y", 33.0)).unwrap()).query, "after");
        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.entries, store.entries().len() as u64, "call {at}");
        assert_eq!(stats.index_rows, stats.entries, "call {at}");
        cache.close().unwrap();
    }
}

#[test]
fn an_open_that_fails_leaves_the_cache_closed_and_able_to_open() {
    let store = TestStore::default();
    let mut cache = Cache::new(store.clone(), TestHost::at(1000));
    let mut options = crate::options::defaults("f", 2);
    options.namespace_quotas = vec![("n".into(), 5)];
    for at in 1..=3 {
        store.fail_at(at);
        assert!(
            matches!(cache.open(options.clone()), Err(Error::Backend(_))),
            "call {at}"
        );
        assert!(matches!(cache.get(ask("q", 0.0)), Err(Error::Closed)));
    }
    store.fail_never();
    cache.open(options.clone()).unwrap();
    assert!(matches!(
        cache.open(options),
        Err(Error::InvalidArgument(_))
    ));
}

#[test]
fn what_failed_later_in_a_turn_is_told_by_the_next() {
    // A write that fails after others of the same call ends the turn; what was done is told.
    let many = || (0..600).map(|n| response(&format!("q{n}"), f64::from(n) / 10.0));
    let (mut cache, _, store) = new_cache(|_| {});
    let calls = store.calls();
    cache.put_many(many().collect()).unwrap();
    let calls = store.calls() - calls;
    let mut told = BTreeSet::new();
    for at in 1..=calls {
        let (mut cache, _, store) = new_cache(|_| {});
        store.fail_at(at);
        let mut rest: Vec<PutRequest> = many().collect();
        while !rest.is_empty() {
            match cache.put_many(rest.clone()) {
                Ok(outcomes) => {
                    let stored = outcomes
                        .iter()
                        .filter(|o| matches!(o, PutOutcome::Stored(_)));
                    let stored = stored.count();
                    assert!(stored > 0 && store.entries().len() == 600 - rest.len() + stored);
                    rest.drain(..stored);
                }
                Err(error) => {
                    assert!(crate::error::is_retryable(&error), "{error:?}");
                    assert_eq!(
                        store.entries().len(),
                        600 - rest.len(),
                        "nothing was stored"
                    );
                    told.insert(at);
                }
            }
        }
        assert_eq!(cache.stats(None).unwrap().index_rows, 0);
    }
    assert!(!told.is_empty() && (told.len() as u64) < calls, "{told:?}");

    // All that is deleted is counted once.
    for all in [true, false] {
        for at in 1..=12 {
            let (mut cache, host, store) = new_cache(|o| o.default_ttl = Some(5));
            cache.put_many(many().collect()).unwrap();
            host.set(1_010);
            store.fail_at(at);
            let (mut deleted, mut failures) = (0, 0);
            loop {
                let step = match all {
                    true => cache.clear(),
                    false => cache.vacuum(None, false),
                };
                match step {
                    Ok(step) => {
                        deleted += step.entries;
                        if !step.more {
                            break;
                        }
                    }
                    Err(_) => failures += 1,
                }
            }
            assert_eq!((deleted, store.entries().len()), (600, 0), "{all} {at}");
            assert!(failures <= 1);
        }
    }
}
