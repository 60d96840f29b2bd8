//! An index that the store keeps: the cache asks it for candidates, and judges them itself.

use super::*;

type Misfind = fn(&mut Vec<Neighbour>);

/// A cache over a store that searches vectors, and changes what it has found.
fn cache_with(misfind: Misfind) -> (TestCache, TestHost, TestStore) {
    let store = TestStore::default();
    store.nearest.set(Some(misfind));
    let (cache, host) = cache_on(&store, |o| o.index = IndexKind::Store);
    (cache, host, store)
}

#[test]
fn a_store_that_does_not_search_is_refused() {
    let store = TestStore::default();
    let mut options = crate::options::defaults("f", 2);
    options.index = IndexKind::Store;
    let mut cache = Cache::new(store.clone(), TestHost::at(1000));
    let refused = cache.open(options);
    assert!(
        matches!(&refused, Err(Error::Unsupported(why)) if why.contains("does not search vectors")),
        "{refused:?}"
    );
    assert_eq!(store.calls(), 0, "the store stays closed");
}

#[test]
fn the_store_finds_and_the_cache_holds_nothing() {
    let (mut cache, _, store) = cache_with(|_| {});
    for (query, angle) in [("a", 0.0), ("b", 20.0), ("c", 24.0)] {
        cache.put(response(query, angle)).unwrap();
    }
    assert!(!cache.warm_up().unwrap().more);
    let found = hit(cache.get(ask("x", 21.0)).unwrap());
    assert_eq!((found.query.as_str(), found.layer), ("b", Layer::Semantic));
    assert!((found.similarity - 1.0_f32.to_radians().cos()).abs() < 1e-6);
    assert_eq!(
        miss(cache.get(ask("x", 90.0)).unwrap()),
        MissReason::BelowThreshold
    );
    let elsewhere = GetRequest {
        context: "other".into(),
        ..ask("x", 21.0)
    };
    assert_eq!(miss(cache.get(elsewhere).unwrap()), MissReason::NoMatch);
    assert_eq!(store.rows_read(), 0, "no page of vectors was read");
    let stats = cache.stats(None).unwrap();
    assert_eq!((stats.index_loaded, stats.index_rows), (false, 0));
    assert!(store.blobs().is_empty());
}

#[test]
fn what_others_write_answers_at_once() {
    let (mut cache, _, store) = cache_with(|_| {});
    let (mut other, _) = cache_on(&store, |o| o.index = IndexKind::Store);
    other.put(response("theirs", 0.0)).unwrap();
    assert_eq!(hit(cache.get(ask("x", 1.0)).unwrap()).query, "theirs");
    other.delete("theirs", "n", "").unwrap();
    assert_eq!(miss(cache.get(ask("x", 1.0)).unwrap()), MissReason::NoMatch);
}

#[test]
fn tags_and_lifetimes_are_part_of_the_search() {
    let (mut cache, host, _) = cache_with(|found| found.truncate(1));
    let tagged = PutRequest {
        tags: vec!["t".into()],
        ..response("tagged", 10.0)
    };
    let short = PutRequest {
        ttl: TtlChoice::Seconds(10),
        ..response("short", 0.0)
    };
    cache.put_many(vec![tagged, short]).unwrap();
    host.set(1_010);
    // Only one is found, and it is the right one.
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, "tagged");
    let with_tag = GetRequest {
        tags: vec!["t".into()],
        ..ask("x", 0.0)
    };
    assert_eq!(hit(cache.get(with_tag).unwrap()).query, "tagged");
}

#[test]
fn an_explanation_shows_what_does_not_answer_too() {
    let (mut cache, host, _) = cache_with(|_| {});
    let short = PutRequest {
        ttl: TtlChoice::Seconds(10),
        ..response("short", 0.0)
    };
    cache.put_many(vec![short, response("long", 30.0)]).unwrap();
    host.set(1_010);
    let Explained::Explanation(explanation) = cache.explain(ask("x", 1.0), 5).unwrap() else {
        panic!("no explanation");
    };
    let verdicts: Vec<_> = explanation
        .candidates
        .iter()
        .map(|one| one.verdict)
        .collect();
    assert_eq!(verdicts, [Verdict::Expired, Verdict::Answers]);
    assert_eq!(explanation.rows, 2);
}

/// What an index that is damaged, late or made for other rows may say.
#[test]
fn what_the_store_says_wrongly_answers_nothing_wrong() {
    let lies: [(&str, Misfind); 6] = [
        ("a deleted row", |found| {
            found.insert(
                0,
                Neighbour {
                    id: 999,
                    similarity: 1.0,
                },
            );
        }),
        ("a row of another scope", |found| {
            found.insert(
                0,
                Neighbour {
                    id: 3,
                    similarity: 1.0,
                },
            );
        }),
        ("half precision", |found| {
            found.iter_mut().for_each(|one| one.similarity -= 0.009);
        }),
        ("no numbers", |found| {
            found.iter_mut().for_each(|one| one.similarity = f32::NAN);
        }),
        ("the worst first, and twice", |found| {
            found.reverse();
            found.extend(found.clone());
        }),
        ("more than it was asked for", |found| {
            let more = (1_000..1_100).map(|id| Neighbour {
                id,
                similarity: 0.99,
            });
            found.extend(more);
        }),
    ];
    for (what, lie) in lies {
        let (mut cache, _, _) = cache_with(lie);
        cache.put(response("far", 60.0)).unwrap();
        cache.put(response("near", 0.0)).unwrap();
        let elsewhere = PutRequest {
            context: "other".into(),
            ..response("elsewhere", 0.0)
        };
        cache.put(elsewhere).unwrap();
        let found = hit(cache.get(ask("x", 0.5)).unwrap());
        assert_eq!(found.query, "near", "{what}");
        let similarity = 0.5_f32.to_radians().cos();
        assert!((found.similarity - similarity).abs() < 1e-6, "{what}");
        let reason = miss(cache.get(ask("x", 120.0)).unwrap());
        assert_eq!(reason, MissReason::BelowThreshold, "{what}");
    }
}

#[test]
fn more_is_asked_for_until_one_may_answer() {
    let store = TestStore::default();
    store.nearest.set(Some(|_| {}));
    let (mut cache, host) = cache_on(&store, |o| {
        (o.index, o.validator) = (IndexKind::Store, ValidatorRule::Host);
    });
    *host.refused.borrow_mut() = "refused".into();
    for n in 0..40 {
        let refused = PutRequest {
            response: "refused".into(),
            ..response(&format!("r{n}"), f64::from(n) * 0.01)
        };
        cache.put(refused).unwrap();
    }
    cache.put(response("good", 20.0)).unwrap();
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, "good");
}

#[test]
fn a_failure_of_the_search_is_the_callers() {
    let (mut cache, _, store) = cache_with(|_| {});
    cache.put(response("a", 0.0)).unwrap();
    // The exact layer, then the search.
    store.fail_at(2);
    let failed = cache.get(ask("x", 0.0));
    assert!(matches!(failed, Err(Error::Backend(_))), "{failed:?}");
    store.fail_never();
    assert_eq!(hit(cache.get(ask("x", 0.0)).unwrap()).query, "a");
}
