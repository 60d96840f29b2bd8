//! Behaviour of the cache over a store in memory.

use crate::cache::Cache;
use crate::store::Store;
use crate::testing::{TestHost, TestStore, ask, at_angle, cache_on, entry, response};
use crate::types::*;
use proptest::prelude::*;

type TestCache = Cache<TestStore, TestHost>;

fn new_cache(change: impl FnOnce(&mut Options)) -> (TestCache, TestHost, TestStore) {
    let store = TestStore::default();
    let (cache, host) = cache_on(&store, change);
    (cache, host, store)
}

fn hit(lookup: Lookup) -> Hit {
    match lookup {
        Lookup::Hit(hit) => hit,
        other => panic!("not a hit: {other:?}"),
    }
}

fn miss(lookup: Lookup) -> MissReason {
    match lookup {
        Lookup::Miss(reason) => reason,
        other => panic!("not a miss: {other:?}"),
    }
}

fn queries(store: &TestStore) -> Vec<String> {
    store
        .entries()
        .into_iter()
        .map(|entry| entry.query)
        .collect()
}

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
    let (mut cache, _, _) = new_cache(|_| {});
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
        MissReason::NoMatch,
        "confidence is below the cut-off"
    );
}

#[test]
fn equal_similarities_go_to_the_lower_id_however_many() {
    let (mut cache, _, _) = new_cache(|_| {});
    for i in 0..200 {
        cache.put(response(&format!("q{i}"), 10.0)).unwrap();
    }
    assert_eq!(hit(cache.get(ask("x", 10.0)).unwrap()).id, 1);
    cache.delete("q0", "n").unwrap();
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
        Lookup::NeedsEmbedding("a".into())
    );
    let put = PutRequest {
        vector: VectorSource::Pending,
        ..response("A", 0.0)
    };
    assert_eq!(
        cache.put(put.clone()).unwrap(),
        PutOutcome::NeedsEmbedding("a".into())
    );
    assert_eq!(
        cache.put_many(vec![response("b", 0.0), put]).unwrap(),
        [PutOutcome::Ready, PutOutcome::NeedsEmbedding("a".into())]
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
fn batches_are_split_by_number_and_by_size() {
    let (mut cache, _, store) = new_cache(|o| o.max_response_bytes = u32::MAX);
    let puts = |n: usize, bytes: usize| -> Vec<PutRequest> {
        (0..n)
            .map(|i| PutRequest {
                response: "x".repeat(bytes),
                ..response(&format!("{n} {i}"), 0.0)
            })
            .collect()
    };
    let mut calls = |requests| {
        let before = store.read_version_counter().unwrap();
        cache.put_many(requests).unwrap();
        store.read_version_counter().unwrap() - before
    };
    assert_eq!(calls(puts(7, 1)), 3, "the store takes three at a time");
    assert_eq!(calls(puts(3, 5 << 20)), 1);
    assert_eq!(calls(puts(2, 9 << 20)), 2, "16 MiB at a time");
    assert_eq!(
        calls(puts(1, 17 << 20)),
        1,
        "whatever its size, one entry is one"
    );
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
        (
            with(VectorSource::Embedded(vec![1.0])),
            MissReason::DimMismatch,
        ),
        (
            with(VectorSource::Embedded(vec![f32::NAN, 0.0])),
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
        put(|r| r.vector = VectorSource::Embedded(vec![f32::NAN, 0.0])),
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
fn entries_expire_at_the_second() {
    let (mut cache, host, store) = new_cache(|o| o.default_ttl = Some(10));
    cache.put(response("inherit", 0.0)).unwrap();
    cache
        .put(PutRequest {
            ttl: TtlChoice::Seconds(20),
            ..response("own", 40.0)
        })
        .unwrap();
    cache
        .put(PutRequest {
            ttl: TtlChoice::Unlimited,
            ..response("never", 80.0)
        })
        .unwrap();
    cache
        .put(PutRequest {
            ttl: TtlChoice::Seconds(0),
            ..response("at once", 120.0)
        })
        .unwrap();
    assert_eq!(
        miss(cache.get(ask("at once", 120.0)).unwrap()),
        MissReason::BelowThreshold
    );
    host.set(1009);
    assert_eq!(hit(cache.get(ask("inherit", 0.0)).unwrap()).age_seconds, 9);
    host.set(1010);
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    assert_eq!(queries(&store), ["own", "never"]);
    host.set(1020);
    assert_eq!(cache.vacuum(None, true).unwrap(), 1);
    hit(cache.get(ask("never", 0.0)).unwrap());
    assert_eq!(cache.stats(None).unwrap().counters.expirations, 3);
}

#[test]
fn an_entry_replaced_by_another_process_outlives_its_expired_version() {
    let store = TestStore::default();
    let (mut cache, host) = cache_on(&store, |o| o.default_ttl = Some(10));
    cache.put(response("q", 0.0)).unwrap();
    host.set(1010);
    let stale = store.entries()[0].clone();
    store
        .insert(&[entry("n", "q", &at_angle(0.0), 1010)])
        .unwrap();
    let stale = EntryRef {
        id: stale.id,
        namespace: "n".into(),
        created_at: stale.created_at,
    };
    assert_eq!(store.delete_unchanged(&[stale]).unwrap(), [0_u64; 0]);
    hit(cache.get(ask("q", 0.0)).unwrap());
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
fn confidence_decays_with_age_and_never_stops_an_exact_hit() {
    let (mut cache, host, store) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    host.set(1000 + 86_400);
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
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
    assert_eq!(queries(&store), [""; 0]);
}

#[test]
fn putting_again_replaces_under_the_same_id() {
    let (mut cache, host, store) = new_cache(|_| {});
    let PutOutcome::Stored(id) = cache.put(response("q", 0.0)).unwrap() else {
        panic!()
    };
    hit(cache.get(ask("x", 1.0)).unwrap());
    host.set(1005);
    let again = PutRequest {
        response: "new".into(),
        ..response(" Q ", 90.0)
    };
    assert_eq!(cache.put(again).unwrap(), PutOutcome::Stored(id));
    assert_eq!(
        miss(cache.get(ask("x", 1.0)).unwrap()),
        MissReason::BelowThreshold
    );
    let found = hit(cache.get(ask("x", 91.0)).unwrap());
    assert_eq!((found.id, found.response.as_str()), (id, "new"));
    cache.flush().unwrap();
    let stored = &store.entries()[0];
    assert_eq!((stored.created_at, stored.access_count), (1005, 1));
}

#[test]
fn quotas_and_the_cap_evict_the_least_recently_used() {
    let (mut cache, host, store) = new_cache(|o| {
        o.max_entries = Some(30);
        o.namespace_quotas = vec![("n".into(), 3)];
        o.events = true;
    });
    for i in 0..3 {
        host.set(1000 + i);
        cache.put(response(&format!("q{i}"), 0.0)).unwrap();
    }
    host.set(1010);
    hit(cache.get(ask("q0", 0.0)).unwrap());
    cache.put(response("q3", 0.0)).unwrap();
    assert_eq!(
        queries(&store),
        ["q0", "q2", "q3"],
        "a hit that waits in memory counts"
    );
    let elsewhere = |i: u64| PutRequest {
        namespace: "m".into(),
        ..response(&format!("m{i}"), 0.0)
    };
    for i in 0..28 {
        host.set(1020 + i);
        cache.put(elsewhere(i)).unwrap();
    }
    // 31 entries: a tenth of the cap goes, oldest first, whatever the namespace.
    let evicted = Event::Eviction(CountEvent {
        namespace: "n".into(),
        count: 3,
    });
    assert!(host.events.borrow().contains(&evicted));
    assert_eq!(store.entries().len(), 28);
    let stats = cache.stats(None).unwrap();
    assert_eq!((stats.entries, stats.counters.evictions), (28, 4));
    cache.set_namespace_quota("m", Some(0)).unwrap();
    assert!(matches!(
        cache.put(elsewhere(99)),
        Err(Error::QuotaExceeded(_))
    ));
    cache.set_namespace_quota("m", None).unwrap();
    cache.put(elsewhere(99)).unwrap();
    assert_eq!(cache.namespace_quota("m").unwrap(), None);
}

#[test]
fn clearing_resets_entries_and_counters_and_keeps_quotas() {
    let (mut cache, _, _) = new_cache(|o| o.namespace_quotas = vec![("n".into(), 9)]);
    cache.put(response("a", 0.0)).unwrap();
    cache
        .put(PutRequest {
            namespace: "m".into(),
            ..response("a", 0.0)
        })
        .unwrap();
    hit(cache.get(ask("a", 0.0)).unwrap());
    cache.flush().unwrap();
    hit(cache.get(ask("x", 0.0)).unwrap());
    assert_eq!(cache.clear_namespace("n").unwrap(), 1);
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    let stats = cache.stats(Some("n")).unwrap();
    assert_eq!(
        (stats.counters.hits_exact, stats.counters.hits_semantic),
        (0, 0)
    );
    assert_eq!(stats.namespaces[0].quota, Some(9));
    assert_eq!(cache.list_namespaces().unwrap(), ["m"]);
    assert_eq!(cache.clear().unwrap(), 1);
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);
}

#[test]
fn counters_and_access_data_survive_reopening() {
    let (mut cache, _, store) = new_cache(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    hit(cache.get(ask("a", 0.0)).unwrap());
    hit(cache.get(ask("x", 0.0)).unwrap());
    cache.close().unwrap();
    assert!(matches!(cache.get(ask("a", 0.0)), Err(Error::Closed)));
    cache.close().unwrap();
    assert_eq!(store.entries()[0].access_count, 2);
    let (mut cache, _) = cache_on(&store, |_| {});
    let counters = cache.stats(None).unwrap().counters;
    assert_eq!((counters.hits_exact, counters.hits_semantic), (1, 1));
}

#[test]
fn requantizing_changes_memory_and_not_answers() {
    let (mut cache, _, _) = new_cache(|_| {});
    for i in 0..50 {
        cache.put(response(&format!("q{i}"), f64::from(i))).unwrap();
    }
    let before = hit(cache.get(ask("x", 20.3)).unwrap());
    for dtype in [
        VectorDtype::Float16,
        VectorDtype::Int8,
        VectorDtype::Float32,
    ] {
        cache.requantize(dtype).unwrap();
        let after = hit(cache.get(ask("x", 20.3)).unwrap());
        assert_eq!((after.id, after.similarity), (before.id, before.similarity));
        assert_eq!(cache.stats(None).unwrap().vector_dtype, dtype);
    }
}

#[test]
fn a_stale_tolerant_reader_follows_inserts_deletes_and_replacements() {
    let store = TestStore::default();
    let (mut writer, clock) = cache_on(&store, |_| {});
    let (mut reader, reader_clock) = cache_on(&store, |o| {
        o.coordination = Coordination::StaleTolerant(5_000)
    });
    writer.put(response("a", 0.0)).unwrap();
    hit(reader.get(ask("x", 0.0)).unwrap());
    writer.put(response("b", 90.0)).unwrap();
    writer.delete("a", "n").unwrap();
    assert_eq!(
        miss(reader.get(ask("x", 0.0)).unwrap()),
        MissReason::BelowThreshold,
        "a deleted entry never answers, not even before the check"
    );
    for time in [1005, 1010, 1015, 1020] {
        clock.set(time);
        reader_clock.set(time);
        // The same query with another vector, first in the same second, later not.
        let angle = (time - 1000) as f64;
        writer.put(response("b", 90.0 + angle)).unwrap();
        let found = hit(reader.get(ask("x", 90.0 + angle)).unwrap());
        assert!(found.similarity > 0.999_99, "at {time}");
        writer.put(response("b", 180.0 + angle)).unwrap();
    }
    writer.clear().unwrap();
    reader_clock.set(1030);
    assert_eq!(
        miss(reader.get(ask("x", 90.0)).unwrap()),
        MissReason::NoMatch
    );
}

#[test]
fn own_writes_do_not_make_a_follower_compare() {
    let (mut cache, host, store) = new_cache(|o| o.coordination = Coordination::StaleTolerant(0));
    cache.put(response("a", 0.0)).unwrap();
    hit(cache.get(ask("x", 0.0)).unwrap());
    cache
        .put_many((0..7).map(|i| response(&format!("q{i}"), 50.0)).collect())
        .unwrap();
    cache.delete("q1", "n").unwrap();
    host.set(1500);
    let before = store.calls();
    hit(cache.get(ask("x", 0.0)).unwrap());
    // Exact layer, version counter, candidates, and the touches that are due: no stamps.
    assert!(store.calls() - before <= 6, "{}", store.calls() - before);
    assert_eq!(cache.stats(None).unwrap().index_rows, 7);
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
    let health = cache.health().unwrap();
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
    let health = cache.health().unwrap();
    assert!(health.healthy, "{health:?}");
    assert_eq!((health.entries, health.namespaces), (1, 1));
    assert_eq!(health.oldest_entry_age_seconds, Some(42));
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
    results.push(show(cache.delete("q1", "n")));
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
            (Lookup::Miss(MissReason::BelowThreshold), None) => {}
            (got, expected) => prop_assert!(false, "{got:?} instead of {expected:?}"),
        }
    }
}
