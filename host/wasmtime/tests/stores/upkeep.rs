//! Access data, deletion, expiry, quotas, meta and the life cycle, in every store.

use mneme::store::{Entry, EntryRef, ImportMode, Store, StoreError, Touch};

use super::support::*;

on_every_store! {
    touches_add_hits_and_never_move_back
    the_least_recently_used_come_first
    deleting_by_id_tells_whether_it_was_there
    only_unchanged_versions_are_deleted
    expiry_is_at_created_at_plus_ttl
    expiry_respects_limit_and_namespace
    expiry_of_huge_numbers_does_not_overflow
    clearing_tells_how_many
    namespaces_are_sorted_by_bytes
    quotas_are_set_overwritten_and_removed
    meta_is_compared_and_set
    reserved_meta_is_refused
    another_embedder_is_refused
    a_closed_store_says_so
    opening_twice_is_allowed
    sound_data_is_sound
    snapshots_are_what_the_capabilities_say
}

fn touches_add_hits_and_never_move_back(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    let touch = |id, hits, last_accessed_at| Touch {
        id,
        hits,
        last_accessed_at,
    };
    store.update_access(&[]).unwrap();
    store
        .update_access(&[
            touch(id, 2, 5_000),
            touch(99, 1, 1),
            touch(0, 1, 1),
            touch(u64::MAX, 1, 1),
            touch(id, 1, 4_000),
        ])
        .unwrap();
    let read = by_id(store, id).unwrap();
    assert_eq!((read.access_count, read.last_accessed_at), (3, 5_000));
    store.update_access(&[touch(id, 1, 10)]).unwrap();
    let read = by_id(store, id).unwrap();
    assert_eq!((read.access_count, read.last_accessed_at), (4, 5_000));
    assert_eq!(
        Entry {
            access_count: 0,
            last_accessed_at: 2_001,
            ..read
        },
        Entry {
            id,
            ..entry("a", 1)
        }
    );
}

fn the_least_recently_used_come_first(store: &mut dyn Store) {
    let at = |namespace, n, last_accessed_at| Entry {
        last_accessed_at,
        ..entry(namespace, n)
    };
    store
        .insert(vec![
            at("a", 1, 30),
            at("b", 2, 10),
            at("a", 3, 10),
            at("a", 4, 20),
            at("b", 5, 20),
        ])
        .unwrap();
    let mut order = |n, namespace: Option<&str>| {
        let refs = store.iter_lru_ids(n, namespace).unwrap();
        for one in &refs {
            assert_eq!(one.created_at, 1_000 + one.id);
        }
        refs.into_iter()
            .map(|one| (one.id, one.namespace))
            .collect::<Vec<_>>()
    };
    let pairs = |list: &[(u64, &str)]| {
        list.iter()
            .map(|(id, name)| (*id, (*name).to_owned()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        order(9, None),
        pairs(&[(2, "b"), (3, "a"), (4, "a"), (5, "b"), (1, "a")])
    );
    assert_eq!(order(3, None), pairs(&[(2, "b"), (3, "a"), (4, "a")]));
    assert_eq!(order(2, Some("a")), pairs(&[(3, "a"), (4, "a")]));
    assert_eq!(order(0, None), []);
    assert_eq!(order(5, Some("c")), []);
    store
        .update_access(&[Touch {
            id: 2,
            hits: 1,
            last_accessed_at: 40,
        }])
        .unwrap();
    let refs = store.iter_lru_ids(u32::MAX, None).unwrap();
    assert_eq!(
        refs.iter().map(|one| one.id).collect::<Vec<_>>(),
        [3, 4, 5, 1, 2]
    );
}

fn deleting_by_id_tells_whether_it_was_there(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    for unknown in [0, id + 1, u64::MAX] {
        assert!(!store.delete_by_id(unknown).unwrap());
    }
    assert!(store.delete_by_id(id).unwrap());
    assert!(!store.delete_by_id(id).unwrap());
    assert_eq!(store.get_by_hash(&[key("a", &hash(1))]).unwrap(), [None]);
    assert!(store.iter_lru_ids(9, None).unwrap().is_empty());
    assert!(store.list_namespaces().unwrap().is_empty());
}

fn only_unchanged_versions_are_deleted(store: &mut dyn Store) {
    store
        .insert((1..=4).map(|n| entry("a", n)).collect())
        .unwrap();
    store
        .insert(vec![Entry {
            created_at: 5_000,
            ..entry("a", 2)
        }])
        .unwrap();
    let named = |id: u64, namespace: &str| EntryRef {
        id,
        namespace: namespace.to_owned(),
        created_at: 1_000 + id,
    };
    let list = [
        named(4, "another"),
        named(2, "a"),
        named(1, "a"),
        named(1, "a"),
        named(99, "a"),
        named(u64::MAX - 1_000, "a"),
    ];
    assert_eq!(store.delete_unchanged(&list).unwrap(), [4, 1]);
    assert_eq!(ids(store), [2, 3]);
    assert!(store.delete_unchanged(&[]).unwrap().is_empty());
}

fn expiry_is_at_created_at_plus_ttl(store: &mut dyn Store) {
    let with = |n, ttl| Entry {
        created_at: 100,
        ttl,
        ..entry("a", n)
    };
    store
        .insert(vec![
            with(1, Some(10)),
            with(2, Some(0)),
            with(3, None),
            with(4, Some(11)),
        ])
        .unwrap();
    let mut gone = |now| {
        let refs = store.delete_expired(now, None, 9).unwrap();
        refs.iter()
            .for_each(|one| assert_eq!((one.created_at, one.namespace.as_str()), (100, "a")));
        refs.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert!(gone(99).is_empty());
    assert_eq!(gone(100), [2]);
    assert!(gone(109).is_empty());
    assert_eq!(gone(110), [1]);
    assert_eq!(gone(u64::MAX), [4]);
    assert_eq!(ids(store), [3]);
}

fn expiry_respects_limit_and_namespace(store: &mut dyn Store) {
    let list = (1..=6).map(|n| Entry {
        ttl: Some(1),
        ..entry(if n % 2 == 0 { "b" } else { "a" }, n)
    });
    store.insert(list.collect()).unwrap();
    let mut gone = |namespace: Option<&str>, limit| {
        let refs = store.delete_expired(9_999, namespace, limit).unwrap();
        refs.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    assert!(gone(None, 0).is_empty());
    assert_eq!(gone(Some("b"), 2), [2, 4]);
    assert!(gone(Some("c"), 2).is_empty());
    assert_eq!(gone(None, 2), [1, 3]);
    assert_eq!(gone(None, 9), [5, 6]);
}

fn expiry_of_huge_numbers_does_not_overflow(store: &mut dyn Store) {
    let huge = i64::MAX as u64;
    let list = vec![
        Entry {
            created_at: huge,
            ttl: Some(huge),
            ..entry("a", 1)
        },
        Entry {
            created_at: 1,
            ttl: Some(huge),
            last_accessed_at: huge,
            access_count: huge,
            ..entry("a", 2)
        },
    ];
    store.insert(list).unwrap();
    store
        .update_access(&[Touch {
            id: 2,
            hits: u32::MAX,
            last_accessed_at: huge,
        }])
        .unwrap();
    assert!(store.delete_expired(huge - 1, None, 9).unwrap().is_empty());
    let read = by_id(store, 2).unwrap();
    assert!(read.access_count >= huge);
    assert_eq!((read.ttl, read.last_accessed_at), (Some(huge), huge));
}

fn clearing_tells_how_many(store: &mut dyn Store) {
    store
        .insert(vec![
            entry("a", 1),
            entry("b", 1),
            entry("a", 2),
            entry("c", 1),
        ])
        .unwrap();
    store.set_namespace_quota("a", Some(3)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 2);
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 0);
    assert_eq!(store.list_namespaces().unwrap(), ["b", "c"]);
    assert_eq!(store.clear_namespace(None).unwrap(), 2);
    assert_eq!(store.count(None).unwrap(), 0);
    assert_eq!(store.get_namespace_quota("a").unwrap(), Some(3));
    assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("v"));
}

fn namespaces_are_sorted_by_bytes(store: &mut dyn Store) {
    let names = [
        "b",
        "B",
        "é",
        "",
        "a",
        "a\0",
        "\u{FFFF}",
        "\u{10000}",
        "ab",
        "a",
    ];
    store
        .insert(
            names
                .iter()
                .zip(0..)
                .map(|(name, n)| entry(name, n))
                .collect(),
        )
        .unwrap();
    let expected = ["", "B", "a", "a\0", "ab", "b", "é", "\u{FFFF}", "\u{10000}"];
    assert_eq!(store.list_namespaces().unwrap(), expected);
    assert_eq!(store.count(Some("a")).unwrap(), 2);
}

fn quotas_are_set_overwritten_and_removed(store: &mut dyn Store) {
    assert_eq!(store.get_namespace_quota("a").unwrap(), None);
    store.set_namespace_quota("a", Some(0)).unwrap();
    store.set_namespace_quota("B", Some(1 << 40)).unwrap();
    store.set_namespace_quota("a", Some(7)).unwrap();
    store.set_namespace_quota("", Some(1)).unwrap();
    assert_eq!(store.get_namespace_quota("a").unwrap(), Some(7));
    let all = [
        (String::new(), 1),
        ("B".to_owned(), 1 << 40),
        ("a".to_owned(), 7),
    ];
    assert_eq!(store.list_namespace_quotas().unwrap(), all);
    store.set_namespace_quota("a", None).unwrap();
    store.set_namespace_quota("never", None).unwrap();
    assert_eq!(store.get_namespace_quota("a").unwrap(), None);
    assert_eq!(store.list_namespace_quotas().unwrap().len(), 2);
    assert!(store.list_namespaces().unwrap().is_empty());
}

fn meta_is_compared_and_set(store: &mut dyn Store) {
    for key in ["k", "", "a\0b", "version_counter", "counters", "🦀"] {
        assert_eq!(store.read_meta(key).unwrap(), None);
        assert!(!store.replace_meta(key, Some("x"), Some("y")).unwrap());
        assert_eq!(store.read_meta(key).unwrap(), None);
        assert!(store.replace_meta(key, None, Some("")).unwrap());
        assert!(!store.replace_meta(key, None, Some("z")).unwrap());
        assert!(!store.replace_meta(key, Some("z"), Some("z")).unwrap());
        assert!(
            store
                .replace_meta(key, Some(""), Some("n\0\u{10FFFF}"))
                .unwrap()
        );
        assert_eq!(
            store.read_meta(key).unwrap().as_deref(),
            Some("n\0\u{10FFFF}")
        );
        assert!(
            store
                .replace_meta(key, Some("n\0\u{10FFFF}"), Some("same"))
                .unwrap()
        );
        assert!(!store.replace_meta(key, Some("other"), None).unwrap());
        assert!(store.replace_meta(key, Some("same"), None).unwrap());
        assert_eq!(store.read_meta(key).unwrap(), None);
        assert!(store.replace_meta(key, None, None).unwrap());
    }
    assert_eq!(version(store), 0);
}

fn reserved_meta_is_refused(store: &mut dyn Store) {
    for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        let present = store.read_meta(key).unwrap();
        for expected in [None, present.as_deref()] {
            let outcome = store.replace_meta(key, expected, Some("1"));
            assert!(
                matches!(outcome, Err(StoreError::InvalidArgument(_))),
                "{key}"
            );
        }
        assert_eq!(store.read_meta(key).unwrap(), present);
    }
}

fn another_embedder_is_refused(store: &mut dyn Store) {
    put(store, entry("a", 1));
    store.close().unwrap();
    match store.open("another", DIM) {
        Err(StoreError::EmbedderMismatch(error)) => {
            assert_eq!(
                (error.stored.as_str(), error.given.as_str()),
                (FINGERPRINT, "another")
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    match store.open(FINGERPRINT, DIM + 1) {
        Err(StoreError::EmbedderDimension(error)) => {
            assert_eq!((error.expected, error.actual), (DIM, DIM + 1));
        }
        other => panic!("{other:?}"),
    }
    for dim in [0, 65_537] {
        assert!(matches!(
            store.open(FINGERPRINT, dim),
            Err(StoreError::InvalidArgument(_))
        ));
    }
    reopen(store);
    assert_eq!(store.count(None).unwrap(), 1);
}

fn a_closed_store_says_so(store: &mut dyn Store) {
    put(store, entry("a", 1));
    store.close().unwrap();
    store.close().unwrap();
    assert!(!store.capabilities().name.is_empty());
    let snapshot = store.capabilities().snapshot;
    macro_rules! closed {
        ($($call:expr),* $(,)?) => {
            $(assert!(matches!($call, Err(StoreError::Closed)), stringify!($call));)*
        };
    }
    closed!(
        store.get_by_hash(&[]),
        store.get_by_ids(&[]),
        store.count(None),
        store.list_namespaces(),
        store.iter_lru_ids(1, None),
        store.iter_since(0, 1),
        store.iter_vectors(0, 1),
        store.iter_stamps(0, 1),
        store.insert(Vec::new()),
        store.update_access(&[]),
        store.delete_by_id(1),
        store.delete_unchanged(&[]),
        store.delete_expired(0, None, 1),
        store.clear_namespace(None),
        store.set_namespace_quota("a", None),
        store.get_namespace_quota("a"),
        store.list_namespace_quotas(),
        store.read_version_counter(),
        store.read_meta("k"),
        store.replace_meta("k", None, Some("v")),
        store.replace_meta("schema_version", None, Some("v")),
        store.list_meta(),
        store.integrity_check(),
        store.begin_view(),
        store.end_view(),
        store.begin_import(ImportMode::Merge),
        store.write_import(Vec::new()),
        store.commit_import(&[], &[]),
        store.end_import(),
    );
    if snapshot {
        closed!(
            store.begin_snapshot(),
            store.read_snapshot(1),
            store.end_snapshot(),
            store.begin_restore(),
            store.write_restore(&[]),
            store.check_restore(),
            store.read_restore(0, 1),
            store.commit_restore(false),
            store.end_restore(),
        );
    }
}

fn opening_twice_is_allowed(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    reopen(store);
    assert!(by_id(store, id).is_some());
    assert!(store.open("another", DIM).is_err());
    reopen(store);
    assert!(by_id(store, id).is_some());
}

fn sound_data_is_sound(store: &mut dyn Store) {
    assert!(store.integrity_check().unwrap());
    put(store, entry("a", 1));
    assert!(store.integrity_check().unwrap());
}

fn snapshots_are_what_the_capabilities_say(store: &mut dyn Store) {
    if store.capabilities().snapshot {
        assert!(store.begin_snapshot().unwrap() > 0);
        store.end_snapshot().unwrap();
        return;
    }
    let refusals = [
        store.begin_snapshot().map(drop),
        store.read_snapshot(1).map(drop),
        store.end_snapshot(),
        store.begin_restore(),
        store.write_restore(&[]),
        store.check_restore().map(drop),
        store.read_restore(0, 1).map(drop),
        store.commit_restore(false),
        store.end_restore(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(StoreError::Unsupported(_))),
            "{refusal:?}"
        );
    }
}
