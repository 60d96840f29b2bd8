//! Replacing, expiring, evicting, clearing, counting.

use super::*;

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
    assert_eq!(cache.vacuum(None, true).unwrap().entries, 1);
    hit(cache.get(ask("never", 0.0)).unwrap());
    assert_eq!(cache.stats(None).unwrap().counters.expirations, 3);
}

#[test]
fn a_validated_put_stores_no_failure() {
    let (mut cache, _, store) = new_cache(|_| {});
    let validated = |text: &str, vector| PutRequest {
        response: text.into(),
        vector,
        validate: true,
        ..response(text, 0.0)
    };
    let given = || VectorSource::Given(at_angle(0.0));
    for bad in ["", " \n", "[ERROR] down"] {
        for vector in [VectorSource::Pending, given(), VectorSource::Absent] {
            let outcome = cache.put(validated(bad, vector)).unwrap();
            assert_eq!(outcome, PutOutcome::Refused, "{bad:?}");
        }
    }
    let outcomes = cache
        .put_many(vec![
            validated("", given()),
            validated("yes", given()),
            validated("[ERROR]", VectorSource::Pending),
            validated("no", given()),
        ])
        .unwrap();
    let [refused, stored] = [PutOutcome::Refused, PutOutcome::Stored(1)];
    assert_eq!(
        outcomes,
        [refused.clone(), stored, refused, PutOutcome::Stored(2)]
    );
    assert_eq!(queries(&store), ["yes", "no"]);
    // Without being asked, the cache keeps what it is given.
    let unasked = PutRequest {
        validate: false,
        ..validated("", given())
    };
    assert_eq!(cache.put(unasked).unwrap(), PutOutcome::Stored(3));
    // The host's validator is asked too.
    let (mut cache, own, store) = new_cache(|o| o.validator = ValidatorRule::Host);
    own.refused.replace("yes".into());
    assert_eq!(
        cache.put(validated("yes", given())).unwrap(),
        PutOutcome::Refused
    );
    assert_eq!(queries(&store), [""; 0]);
}

#[test]
fn times_lifetimes_and_quotas_have_one_range() {
    let (mut cache, host, store) = new_cache(|_| {});
    let with_ttl = |ttl| PutRequest {
        ttl: TtlChoice::Seconds(ttl),
        ..response("a", 0.0)
    };
    cache.put(with_ttl(crate::range::MAX)).unwrap();
    cache
        .set_namespace_quota("n", Some(crate::range::MAX))
        .unwrap();
    let before = store.content();
    let refused = |result: crate::error::Result<String>| {
        let Err(Error::InvalidArgument(message)) = result else {
            panic!("{result:?}");
        };
        assert!(message.contains("9007199254740991"), "{message}");
    };
    let show = |outcome: PutOutcome| format!("{outcome:?}");
    refused(cache.put(with_ttl(1 << 53)).map(show));
    refused(cache.put(with_ttl(u64::MAX)).map(show));
    let quota = cache.set_namespace_quota("n", Some(1 << 53));
    refused(quota.map(|()| String::new()));
    host.millis.set(u64::MAX);
    refused(cache.put(response("a", 0.0)).map(show));
    assert_eq!(store.content(), before);
}

#[test]
fn a_vacuum_stops_after_a_while_and_says_so() {
    let (mut cache, host, store) = new_cache(|_| {});
    for id in 1..=5_000 {
        store.plant(Entry {
            id,
            ttl: Some(1),
            ..crate::testing::entry("n", &format!("q{id}"), &[1.0, 0.0], 0)
        });
    }
    host.set(1_000);
    assert_eq!(
        cache.vacuum(None, true).unwrap(),
        Step {
            entries: 4_096,
            more: true
        }
    );
    assert_eq!(
        cache.vacuum(None, true).unwrap(),
        Step {
            entries: 904,
            more: false
        }
    );
    assert_eq!(cache.stats(None).unwrap().counters.expirations, 5_000);
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
    assert_eq!(cache.clear_namespace("n").unwrap().entries, 1);
    assert_eq!(miss(cache.get(ask("x", 0.0)).unwrap()), MissReason::NoMatch);
    let stats = cache.stats(Some("n")).unwrap();
    assert_eq!(
        (stats.counters.hits_exact, stats.counters.hits_semantic),
        (0, 0)
    );
    assert_eq!(stats.namespaces[0].quota, Some(9));
    assert_eq!(cache.list_namespaces(None, 9).unwrap(), ["m"]);
    assert_eq!(cache.clear().unwrap().entries, 1);
    assert_eq!(cache.stats(None).unwrap().counters.misses, 0);
}

/// With many namespaces a call of the store for each would take minutes on a slow one.
#[test]
fn reports_and_clears_call_the_store_no_more_often_where_there_are_more_namespaces() {
    let calls = |namespaces: u64| {
        let (mut cache, _, store) = new_cache(|o| {
            o.events = true;
            o.max_entries = None;
        });
        for n in 0..namespaces {
            let of_namespace = |query: &str| PutRequest {
                namespace: format!("{n:04}"),
                ..response(query, 0.0)
            };
            let mut requests = vec![of_namespace("a")];
            requests.extend((n % 2 == 0).then(|| of_namespace("b")));
            cache.put_many(requests).unwrap();
        }
        cache
            .set_namespace_quota("full of nothing", Some(7))
            .unwrap();
        cache.flush().unwrap();
        let mut before = store.calls();
        let mut made = || store.calls() - std::mem::replace(&mut before, store.calls());
        let stats = cache.stats(None).unwrap();
        let for_stats = made();
        while cache.clear().unwrap().more {}
        let for_clear = made();
        assert!(for_clear <= 6 + 2 * stats.entries / 128, "{for_clear}");
        let entries: Vec<u64> = stats.namespaces.iter().map(|n| n.entries).collect();
        let expected = (0..namespaces).map(|n| 2 - n % 2).chain([0]);
        assert_eq!(entries, expected.collect::<Vec<_>>());
        assert_eq!(stats.entries, entries.iter().sum::<u64>());
        assert_eq!(stats.namespaces.last().unwrap().quota, Some(7));
        for_stats
    };
    assert_eq!(calls(1000), calls(2));
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
