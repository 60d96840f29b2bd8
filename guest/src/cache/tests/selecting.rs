//! Listing and erasing entries.

use super::*;

const ALL: EntryFilter = EntryFilter {
    namespace: None,
    context: None,
    tags: Vec::new(),
    query: None,
    ids: None,
    min_age: None,
    max_age: None,
};

fn filled() -> (Cache<TestStore, TestHost>, TestHost, TestStore) {
    let (mut cache, host, store) = new_cache(|_| {});
    for n in 0..12_u32 {
        host.set(1000 + u64::from(n));
        let mut request = response(&format!("q{}", n % 4), f64::from(n));
        request.namespace = if n < 6 { "a" } else { "b" }.into();
        request.context = format!("c{}", n % 3);
        request.tags = vec![format!("t{}", n % 2), "all".into()];
        cache.put(request).unwrap();
    }
    (cache, host, store)
}

fn listed(cache: &mut Cache<TestStore, TestHost>, filter: &EntryFilter, limit: u32) -> Vec<u64> {
    let (mut ids, mut next) = (Vec::new(), Some(0));
    while let Some(after) = next {
        let page = cache.list_entries(filter.clone(), after, limit).unwrap();
        assert!(page.entries.len() <= limit as usize);
        assert!(page.entries.iter().all(|entry| entry.embedding.is_empty()));
        ids.extend(page.entries.iter().map(|entry| entry.id));
        assert!(page.next.is_none_or(|next| next > after));
        next = page.next;
    }
    ids
}

fn erased(
    cache: &mut Cache<TestStore, TestHost>,
    filter: &EntryFilter,
    dry_run: bool,
) -> (Vec<u64>, u64) {
    let (mut ids, mut next, mut moved) = (Vec::new(), Some(0), 0);
    while let Some(after) = next {
        let step = cache
            .erase(filter.clone(), *filter == ALL, dry_run, after)
            .unwrap();
        ids.extend(step.ids);
        moved += step.version_after - step.version_before;
        next = step.next;
    }
    (ids, moved)
}

fn filters() -> Vec<(EntryFilter, Vec<u64>)> {
    let text = |text: &str| Some(text.to_owned());
    vec![
        (ALL, (1..=12).collect()),
        (
            EntryFilter {
                namespace: text("b"),
                ..ALL
            },
            (7..=12).collect(),
        ),
        (
            EntryFilter {
                context: text("c1"),
                ..ALL
            },
            vec![2, 5, 8, 11],
        ),
        (
            EntryFilter {
                context: text(""),
                ..ALL
            },
            vec![],
        ),
        (
            EntryFilter {
                tags: vec!["t1".into()],
                ..ALL
            },
            vec![2, 4, 6, 8, 10, 12],
        ),
        (
            EntryFilter {
                tags: vec!["t1".into(), "t0".into()],
                ..ALL
            },
            vec![],
        ),
        (
            EntryFilter {
                query: text(" Q1 "),
                ..ALL
            },
            vec![2, 6, 10],
        ),
        (
            EntryFilter {
                query: text("q1"),
                namespace: text("b"),
                context: text("c0"),
                ..ALL
            },
            vec![10],
        ),
        (
            EntryFilter {
                query: text("q1"),
                namespace: text("b"),
                context: text("c2"),
                ..ALL
            },
            vec![],
        ),
        (
            EntryFilter {
                ids: Some(vec![9, 3, 99, 3]),
                ..ALL
            },
            vec![3, 9],
        ),
        (
            EntryFilter {
                ids: Some(vec![3, 9]),
                namespace: text("b"),
                ..ALL
            },
            vec![9],
        ),
        (
            EntryFilter {
                ids: Some(vec![]),
                ..ALL
            },
            vec![],
        ),
        // It is second 1,011, and entry 12 was stored in it.
        (
            EntryFilter {
                min_age: Some(9),
                ..ALL
            },
            vec![1, 2, 3],
        ),
        (
            EntryFilter {
                min_age: Some(0),
                ..ALL
            },
            (1..=12).collect(),
        ),
        (
            EntryFilter {
                max_age: Some(1),
                ..ALL
            },
            vec![11, 12],
        ),
        (
            EntryFilter {
                min_age: Some(5),
                max_age: Some(6),
                ..ALL
            },
            vec![6, 7],
        ),
        (
            EntryFilter {
                min_age: Some(5000),
                ..ALL
            },
            vec![],
        ),
        (
            EntryFilter {
                namespace: text("none"),
                ..ALL
            },
            vec![],
        ),
    ]
}

#[test]
fn pages_have_what_meets_the_filter_and_all_of_it() {
    let (mut cache, _, store) = filled();
    let before = store.content();
    for (filter, ids) in filters() {
        for limit in [1, 2, 5, 1024] {
            assert_eq!(listed(&mut cache, &filter, limit), ids, "{filter:?}");
        }
    }
    assert_eq!(store.content(), before);
}

#[test]
fn what_is_listed_is_erased_and_nothing_else() {
    for (filter, ids) in filters() {
        let (mut cache, _, store) = filled();
        let before = store.content();
        assert_eq!(
            erased(&mut cache, &filter, true),
            (ids.clone(), 0),
            "{filter:?}"
        );
        assert_eq!(store.content(), before, "a dry run changes nothing");
        let (gone, moved) = erased(&mut cache, &filter, false);
        assert_eq!((&gone, moved > 0), (&ids, !ids.is_empty()), "{filter:?}");
        let left = store.entries().into_iter().map(|entry| entry.id);
        let expected = (1..=12).filter(|id| !ids.contains(id));
        assert!(left.eq(expected), "{filter:?}");
        assert_eq!(erased(&mut cache, &filter, false), (vec![], 0), "again");
    }
}

#[test]
fn what_is_erased_does_not_answer_and_is_counted_out() {
    let (mut cache, host, _) = new_cache(|o| o.events = true);
    let mut request = response("q", 0.0);
    request.tags = vec!["user:1".into()];
    cache.put(request).unwrap();
    cache.put(response("other", 90.0)).unwrap();
    hit(cache.get(ask("x", 0.0)).unwrap());
    host.events.borrow_mut().clear();
    let filter = EntryFilter {
        tags: vec!["user:1".into()],
        ..ALL
    };
    assert_eq!(erased(&mut cache, &filter, false).0, [1]);
    let of_n = CountEvent {
        namespace: "n".into(),
        count: 1,
    };
    assert_eq!(*host.events.borrow(), [Event::Deletion(of_n)]);
    miss(cache.get(ask("q", 0.0)).unwrap());
    let stats = cache.stats(None).unwrap();
    assert_eq!((stats.entries, stats.index_rows), (1, 1));
}

#[test]
fn the_kept_index_goes_with_what_was_erased_and_is_kept_again() {
    let (mut cache, _, store) = new_cache(|_| {});
    for n in 0..1200_u32 {
        cache
            .put(response(&format!("q{n}"), f64::from(n % 90)))
            .unwrap();
    }
    while cache.warm_up().unwrap().more {}
    while cache.flush().unwrap() {}
    assert!(store.blobs().contains_key("index/head"));
    let none = EntryFilter {
        namespace: Some("none".into()),
        ..ALL
    };
    erased(&mut cache, &none, false);
    let one = EntryFilter {
        ids: Some(vec![7]),
        ..ALL
    };
    erased(&mut cache, &one, true);
    assert!(
        store.blobs().contains_key("index/head"),
        "nothing was erased"
    );
    erased(&mut cache, &one, false);
    assert!(store.blobs().is_empty());
    while cache.flush().unwrap() {}
    assert!(store.blobs().contains_key("index/head"));
    let (mut cache, _) = cache_on(&store, |_| {});
    while cache.warm_up().unwrap().more {}
    assert_eq!(cache.stats(None).unwrap().index_rows, 1199);
}

#[test]
fn bad_filters_are_refused_and_nothing_changes() {
    let (mut cache, _, store) = filled();
    let before = store.content();
    let bad = [
        ALL,
        EntryFilter {
            namespace: Some(String::new()),
            ..ALL
        },
        EntryFilter {
            context: Some("a\0".into()),
            ..ALL
        },
        EntryFilter {
            tags: vec![String::new()],
            ..ALL
        },
        EntryFilter {
            query: Some("q".repeat(40_000)),
            ..ALL
        },
        EntryFilter {
            ids: Some((0..1025).collect()),
            ..ALL
        },
        EntryFilter {
            ids: Some(vec![u64::MAX]),
            ..ALL
        },
        EntryFilter {
            min_age: Some(u64::MAX),
            ..ALL
        },
        EntryFilter {
            max_age: Some(1 << 53),
            ..ALL
        },
    ];
    for filter in bad {
        for dry_run in [false, true] {
            let outcome = cache.erase(filter.clone(), false, dry_run, 0);
            assert!(
                matches!(outcome, Err(Error::InvalidArgument(_))),
                "{filter:?}"
            );
        }
        if filter != ALL {
            let outcome = cache.list_entries(filter.clone(), 0, 10);
            assert!(
                matches!(outcome, Err(Error::InvalidArgument(_))),
                "{filter:?}"
            );
        }
    }
    let some = EntryFilter {
        namespace: Some("a".into()),
        ..ALL
    };
    assert!(
        cache.erase(some, true, false, 0).is_err(),
        "everything, and not everything"
    );
    for limit in [0, 1025] {
        assert!(cache.list_entries(ALL, 0, limit).is_err());
    }
    assert!(cache.list_entries(ALL, 1 << 53, 1).is_err());
    assert_eq!(store.content(), before);
}

#[test]
fn a_store_that_fails_in_between_leaves_an_erasure_that_can_be_repeated() {
    for n in 1..40 {
        let (mut cache, _, store) = filled();
        store.fail_at(n);
        let outcome = cache.erase(
            EntryFilter {
                tags: vec!["t1".into()],
                ..ALL
            },
            false,
            false,
            0,
        );
        let failed = store.has_failed();
        store.fail_never();
        assert_eq!(outcome.is_err(), failed);
        erased(
            &mut cache,
            &EntryFilter {
                tags: vec!["t1".into()],
                ..ALL
            },
            false,
        );
        assert_eq!(store.entries().len(), 6);
        assert_eq!(cache.stats(None).unwrap().entries, 6);
        if !failed {
            return;
        }
    }
    panic!("it never ended");
}
