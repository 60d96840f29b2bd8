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
    let min_age = filter.min_age.filter(|&age| age > 0);
    let everything = EntryFilter {
        min_age,
        ..filter.clone()
    } == ALL;
    let (mut ids, mut next, mut moved) = (Vec::new(), Some(0), 0);
    while let Some(after) = next {
        let step = cache
            .erase(filter.clone(), everything, dry_run, after)
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
        EntryFilter {
            min_age: Some(0),
            ..ALL
        },
        EntryFilter {
            max_age: Some((1 << 53) - 1),
            ..ALL
        },
        EntryFilter {
            min_age: Some(0),
            max_age: Some(1012),
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
        let is_valid = filter.min_age.unwrap_or(0) == 0 && filter.max_age != Some(1 << 53);
        if filter != ALL && !(is_valid && (filter.min_age.is_some() || filter.max_age.is_some())) {
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
    let filter = EntryFilter {
        tags: vec!["t1".into()],
        ..ALL
    };
    let mut stopped = 0;
    for n in 1..60 {
        let (mut cache, _, store) = filled();
        store.write_blob("index/head", b"{}").unwrap();
        store.fail_at(n);
        let outcome = cache.erase(filter.clone(), false, false, 0);
        let failed = store.has_failed();
        store.fail_never();
        let left: Vec<u64> = store.entries().iter().map(|entry| entry.id).collect();
        match &outcome {
            Ok(step) => {
                // What is gone is told, whatever failed after it.
                assert_eq!(step.failed.is_some(), failed);
                stopped += usize::from(failed);
                assert_eq!((step.ids.len(), left.len()), (6, 6));
                assert!(!step.ids.iter().any(|id| left.contains(id)));
            }
            Err(_) => assert_eq!((failed, left.len()), (true, 12)),
        }
        erased(&mut cache, &filter, false);
        assert_eq!(store.entries().len(), 6);
        assert_eq!(cache.stats(None).unwrap().entries, 6);
        if !failed {
            assert!(stopped > 2 && store.blobs().is_empty());
            return;
        }
    }
    panic!("it never ended");
}

#[test]
fn an_index_that_knows_what_was_erased_is_neither_kept_nor_read() {
    let filled = |store: &TestStore| {
        let shared = |options: &mut Options| {
            options.coordination = Coordination::StaleTolerant(1_000_000);
        };
        let (mut cache, host) = cache_on(store, shared);
        for n in 0..1200_u32 {
            let angle = f64::from(n % 90);
            cache.put(response(&format!("q{n}"), angle)).unwrap();
        }
        while cache.warm_up().unwrap().more {}
        (cache, host, shared)
    };
    let one = EntryFilter {
        ids: Some(vec![7]),
        ..ALL
    };
    // Another process erases, and this one has not followed yet.
    let store = TestStore::opened(2);
    let (mut cache, _, shared) = filled(&store);
    let (mut other, _) = cache_on(&store, shared);
    erased(&mut other, &one, false);
    cache.close().unwrap();
    assert!(store.blobs().is_empty(), "it holds codes of entry 7");
    // One that was written all the same, by a process that was killed then.
    let store = TestStore::opened(2);
    let (mut cache, _, shared) = filled(&store);
    while cache.flush().unwrap() {}
    let old = store.blobs().clone();
    erased(&mut cache, &one, false);
    assert!(store.blobs().is_empty());
    *store.blobs() = old;
    let (mut other, _) = cache_on(&store, shared);
    while other.warm_up().unwrap().more {}
    assert!(store.blobs().is_empty());
    assert_eq!(other.stats(None).unwrap().index_rows, 1199);
    // A mark that is no number is somebody else's.
    store
        .replace_meta("erased", Some("1201"), Some("x"))
        .unwrap();
    while other.flush().unwrap() {}
    erased(
        &mut other,
        &EntryFilter {
            ids: Some(vec![8]),
            ..ALL
        },
        false,
    );
    assert_eq!(store.read_meta("erased").unwrap(), Some("1202".into()));
}
