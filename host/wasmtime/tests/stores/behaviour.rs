//! The contract of `wit/store.wit`, over every store.

use mneme::store::{Entry, EntryRef, MemoryStore, Store, StoreError, Touch};

use super::support::*;

/// Runs each test on an empty, open store of either kind.
macro_rules! on_every_store {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() {
                let mut store = super::MemoryStore::new();
                store_open(&mut store);
                super::$test(&mut store);
            })*
            use super::store_open;
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().unwrap();
                let mut store = mneme::store::SqliteStore::new(dir.path().join("cache.db"));
                store_open(&mut store);
                super::$test(&mut store);
            })*
            use super::store_open;
        }
    };
}

fn store_open(store: &mut dyn Store) {
    store.open(FINGERPRINT, DIM).unwrap();
}

on_every_store! {
    a_new_store_is_empty
    an_entry_comes_back_whole
    text_is_kept_byte_for_byte
    keys_match_exactly
    look_ups_answer_in_the_order_asked
    ids_start_at_one_and_grow
    a_replacement_keeps_the_id_and_takes_every_field
    ids_are_not_used_again
    ids_and_data_survive_reopening
    a_pair_twice_in_a_list_is_its_last
    too_long_a_list_stores_nothing
    a_wrong_vector_stores_nothing
    the_counter_moves_by_one_on_changes_only
    pages_are_ascending_and_limited
    a_walk_sees_each_row_once_while_others_write
    vectors_come_in_one_block
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
    a_batch_of_the_largest_size_is_accepted
    snapshots_are_what_the_capabilities_say
}

fn a_new_store_is_empty(store: &mut dyn Store) {
    assert_eq!(store.count(None).unwrap(), 0);
    assert_eq!(store.count(Some("a")).unwrap(), 0);
    assert!(store.list_namespaces().unwrap().is_empty());
    assert_eq!(version(store), 0);
    assert_eq!(store.get_by_hash(&[key("a", &hash(1))]).unwrap(), [None]);
    assert!(store.get_by_hash(&[]).unwrap().is_empty());
    assert!(store.get_by_ids(&[]).unwrap().is_empty());
    assert!(store.insert(Vec::new()).unwrap().is_empty());
    assert!(store.iter_since(0, 10).unwrap().is_empty());
    assert!(store.iter_lru_ids(10, None).unwrap().is_empty());
    assert_eq!(version(store), 0);
}

fn an_entry_comes_back_whole(store: &mut dyn Store) {
    let given = Entry {
        ttl: Some(60),
        access_count: 7,
        metadata: r#"{"a":[1,NaN]}"#.to_owned(),
        embedding: vec![f32::MIN_POSITIVE / 2.0, -0.0, 1.0],
        ..entry("a", 1)
    };
    let id = put(store, given.clone());
    let stored = Entry {
        id,
        ..given.clone()
    };
    let found = store.get_by_hash(&[key("a", &hash(1))]).unwrap();
    assert_eq!(found, [Some(stored.clone())]);
    assert_eq!(by_id(store, id), Some(stored.clone()));
    let found = store.iter_since(0, 1).unwrap();
    let bits = |entry: &Entry| {
        entry
            .embedding
            .iter()
            .map(|v| v.to_bits())
            .collect::<Vec<_>>()
    };
    assert_eq!(bits(&found[0]), bits(&given));
    assert_eq!(found, [stored]);
}

fn text_is_kept_byte_for_byte(store: &mut dyn Store) {
    let texts = [
        "",
        " ",
        "\0",
        "a\0b",
        "a:b",
        "a/b",
        "a|b",
        "a%_b",
        "'\"\\",
        "\u{10FFFF}",
        "🦀 é e\u{301}",
        "\u{FEFF}x",
        "\r\n\t",
        "default",
    ];
    for (n, text) in texts.iter().enumerate() {
        let given = Entry {
            namespace: (*text).to_owned(),
            query: (*text).to_owned(),
            response: (*text).to_owned(),
            metadata: format!("{{\"k\":\"{text}\"}}"),
            ..entry("", n as u64)
        };
        let id = put(store, given.clone());
        let found = store.get_by_hash(&[key(text, &hash(n as u64))]).unwrap();
        assert_eq!(found, [Some(Entry { id, ..given })], "{text:?}");
        assert_eq!(store.count(Some(text)).unwrap(), 1, "{text:?}");
    }
    assert_eq!(store.count(None).unwrap(), texts.len() as u64);
}

fn keys_match_exactly(store: &mut dyn Store) {
    put(store, entry("Name", 0xAB));
    for near in ["name", "Name ", " Name", "Name\0", "Nam", ""] {
        assert_eq!(
            store.get_by_hash(&[key(near, &hash(0xAB))]).unwrap(),
            [None]
        );
    }
    let upper = hash(0xAB).to_uppercase();
    assert_eq!(store.get_by_hash(&[key("Name", &upper)]).unwrap(), [None]);
    let composed = put(store, entry("é", 1));
    let decomposed = put(store, entry("e\u{301}", 1));
    assert_ne!(composed, decomposed);
    let tricky = [
        ("a:b", "c"),
        ("a", "b:c"),
        ("a|b", "c"),
        ("a", "b|c"),
        ("a\0b", "c"),
        ("a", "b\0c"),
    ];
    for (n, (namespace, hash)) in tricky.into_iter().enumerate() {
        let given = Entry {
            query_hash: hash.to_owned(),
            ..entry(namespace, n as u64)
        };
        put(store, given);
    }
    for (n, (namespace, hash)) in tricky.into_iter().enumerate() {
        let found = store.get_by_hash(&[key(namespace, hash)]).unwrap();
        assert_eq!(found[0].as_ref().unwrap().query, format!("query {n}"));
    }
}

fn look_ups_answer_in_the_order_asked(store: &mut dyn Store) {
    let one = put(store, entry("a", 1));
    let two = put(store, entry("b", 1));
    let keys = [
        key("b", &hash(1)),
        key("c", &hash(1)),
        key("a", &hash(1)),
        key("b", &hash(1)),
    ];
    let found = store.get_by_hash(&keys).unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|entry| entry.map(|entry| entry.id))
        .collect();
    assert_eq!(found, [Some(two), None, Some(one), Some(two)]);
    let asked = [two, 0, 99, u64::MAX, one, two];
    let found = store.get_by_ids(&asked).unwrap();
    let found: Vec<_> = found.into_iter().map(|entry| entry.id).collect();
    assert_eq!(found, [two, one, two]);
}

fn ids_start_at_one_and_grow(store: &mut dyn Store) {
    let given = vec![
        Entry {
            id: 77,
            ..entry("a", 1)
        },
        entry("b", 1),
        entry("a", 2),
    ];
    let inserted = store.insert(given).unwrap();
    assert!(inserted.iter().all(|one| !one.replaced));
    let given: Vec<_> = inserted.iter().map(|one| one.id).collect();
    assert_eq!(given[0], 1);
    assert!(given.is_sorted_by(|a, b| a < b));
    assert_eq!(ids(store), given);
}

fn a_replacement_keeps_the_id_and_takes_every_field(store: &mut dyn Store) {
    let id = put(
        store,
        Entry {
            ttl: Some(5),
            ..entry("a", 1)
        },
    );
    let other = put(store, entry("b", 1));
    store
        .update_access(&[Touch {
            id,
            hits: 9,
            last_accessed_at: 9_000,
        }])
        .unwrap();
    let new = Entry {
        query: "Query 1".to_owned(),
        response: "new".to_owned(),
        embedding: vec![9.0, 8.0, 7.0],
        metadata: r#"{"v":2}"#.to_owned(),
        created_at: 5,
        last_accessed_at: 6,
        ttl: None,
        access_count: 3,
        ..entry("a", 1)
    };
    let inserted = store.insert(vec![new.clone()]).unwrap();
    assert!(inserted[0].replaced);
    assert_eq!(inserted[0].id, id);
    assert_eq!(by_id(store, id), Some(Entry { id, ..new }));
    assert_eq!(by_id(store, other).unwrap().response, "response 1");
    assert_eq!(store.count(None).unwrap(), 2);
    assert_eq!(store.iter_lru_ids(1, Some("a")).unwrap()[0].id, id);
    assert!(put(store, entry("a", 2)) > other);
}

fn ids_are_not_used_again(store: &mut dyn Store) {
    put(store, entry("a", 1));
    let highest = put(store, entry("a", 2));
    assert!(store.delete_by_id(highest).unwrap());
    let next = put(store, entry("a", 2));
    assert!(next > highest);
    store.delete_by_id(next).unwrap();
    store.close().unwrap();
    store_open(store);
    let after = put(store, entry("a", 3));
    assert!(after > next);
    store.clear_namespace(None).unwrap();
    assert!(put(store, entry("a", 4)) > after);
}

fn ids_and_data_survive_reopening(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    store.set_namespace_quota("a", Some(4)).unwrap();
    store.replace_meta("k", None, "v").unwrap();
    let before = (by_id(store, id), version(store));
    store.close().unwrap();
    store_open(store);
    assert_eq!((by_id(store, id), version(store)), before);
    assert_eq!(store.get_namespace_quota("a").unwrap(), Some(4));
    assert_eq!(store.read_meta("k").unwrap().as_deref(), Some("v"));
    assert!(store.insert(vec![entry("a", 1)]).unwrap()[0].replaced);
}

fn a_pair_twice_in_a_list_is_its_last(store: &mut dyn Store) {
    let last = Entry {
        response: "last".to_owned(),
        ..entry("a", 1)
    };
    let inserted = store
        .insert(vec![entry("a", 1), entry("a", 2), last])
        .unwrap();
    assert_eq!(inserted[0].id, inserted[2].id);
    assert_ne!(inserted[0].id, inserted[1].id);
    assert_eq!((inserted[0].replaced, inserted[2].replaced), (false, true));
    assert_eq!(by_id(store, inserted[0].id).unwrap().response, "last");
    assert_eq!(store.count(None).unwrap(), 2);
    assert_eq!(version(store), 1);
}

fn too_long_a_list_stores_nothing(store: &mut dyn Store) {
    let most = u64::from(store.capabilities().max_batch);
    let list = (0..=most).map(|n| entry("a", n)).collect();
    assert!(matches!(
        store.insert(list),
        Err(StoreError::InvalidArgument(_))
    ));
    assert_eq!((store.count(None).unwrap(), version(store)), (0, 0));
}

fn a_batch_of_the_largest_size_is_accepted(store: &mut dyn Store) {
    let most = u64::from(store.capabilities().max_batch);
    let list = (0..most).map(|n| entry("a", n)).collect();
    assert_eq!(store.insert(list).unwrap().len() as u64, most);
    assert_eq!((store.count(Some("a")).unwrap(), version(store)), (most, 1));
}

fn a_wrong_vector_stores_nothing(store: &mut dyn Store) {
    for embedding in [vec![], vec![1.0; 2], vec![1.0; 4]] {
        let actual = embedding.len() as u32;
        let wrong = Entry {
            embedding,
            ..entry("a", 2)
        };
        match store.insert(vec![entry("a", 1), wrong]) {
            Err(StoreError::EmbedderDimension(error)) => {
                assert_eq!((error.expected, error.actual), (DIM, actual));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((store.count(None).unwrap(), version(store)), (0, 0));
    put(store, entry("a", 1));
}

fn the_counter_moves_by_one_on_changes_only(store: &mut dyn Store) {
    let mut seen = 0;
    let mut moved = |store: &mut dyn Store, by: u64, what: &str| {
        seen += by;
        assert_eq!(version(store), seen, "{what}");
    };
    store
        .insert((0..9).map(|n| entry("a", n)).collect())
        .unwrap();
    moved(store, 1, "insert of a list");
    store.insert(vec![entry("a", 1)]).unwrap();
    moved(store, 1, "replacement");
    store
        .update_access(&[Touch {
            id: 1,
            hits: 1,
            last_accessed_at: 9_999,
        }])
        .unwrap();
    moved(store, 0, "update_access");
    store.delete_by_id(9).unwrap();
    moved(store, 1, "delete_by_id");
    store.delete_by_id(9).unwrap();
    moved(store, 0, "delete_by_id of nothing");
    let reference = |id: u64, created_at| EntryRef {
        id,
        namespace: "a".to_owned(),
        created_at,
    };
    store
        .delete_unchanged(&[reference(1, 1_000), reference(2, 1_001)])
        .unwrap();
    moved(store, 1, "delete_unchanged of two");
    store
        .delete_unchanged(&[reference(1, 1_000), reference(3, 5)])
        .unwrap();
    moved(store, 0, "delete_unchanged of nothing");
    store
        .insert(vec![Entry {
            ttl: Some(1),
            ..entry("a", 1)
        }])
        .unwrap();
    moved(store, 1, "insert with a ttl");
    store.delete_expired(10, None, 9).unwrap();
    moved(store, 0, "delete_expired of nothing");
    store.delete_expired(9_999, None, 9).unwrap();
    moved(store, 1, "delete_expired");
    store.set_namespace_quota("a", Some(1)).unwrap();
    store.set_namespace_quota("a", None).unwrap();
    store.replace_meta("k", None, "v").unwrap();
    moved(store, 0, "quota and meta");
    store.clear_namespace(Some("b")).unwrap();
    moved(store, 0, "clear_namespace of nothing");
    store.clear_namespace(Some("a")).unwrap();
    moved(store, 1, "clear_namespace");
    store.clear_namespace(None).unwrap();
    moved(store, 0, "clear_namespace of an empty store");
}

fn pages_are_ascending_and_limited(store: &mut dyn Store) {
    let list = [5, 3, 9, 1, 7, 2].map(|n| entry("a", n));
    store.insert(list.to_vec()).unwrap();
    store.delete_by_id(2).unwrap();
    assert_eq!(ids(store), [1, 3, 4, 5, 6]);
    for (last, limit, expected) in [
        (0, 2, vec![1, 3]),
        (1, 2, vec![3, 4]),
        (2, 9, vec![3, 4, 5, 6]),
        (4, 2, vec![5, 6]),
        (6, 2, vec![]),
        (0, 0, vec![]),
        (u64::MAX, 5, vec![]),
        (0, u32::MAX, vec![1, 3, 4, 5, 6]),
    ] {
        let page = store.iter_since(last, limit).unwrap();
        assert_eq!(
            page.iter().map(|entry| entry.id).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(store.iter_vectors(last, limit).unwrap().ids, expected);
        assert_eq!(store.iter_stamps(last, limit).unwrap().ids, expected);
    }
}

fn a_walk_sees_each_row_once_while_others_write(store: &mut dyn Store) {
    store
        .insert((0..20).map(|n| entry("a", n)).collect())
        .unwrap();
    let mut seen = Vec::new();
    let mut last = 0;
    loop {
        let page = store.iter_stamps(last, 3).unwrap().ids;
        let Some(end) = page.last() else { break };
        last = *end;
        seen.extend(&page);
        if last < 15 {
            // A replacement of what was read, a delete ahead, and a new row.
            store.insert(vec![entry("a", page[0] - 1)]).unwrap();
            store.delete_by_id(last + 4).unwrap();
            put(store, entry("b", last));
        }
    }
    assert!(seen.is_sorted_by(|a, b| a < b));
    for id in ids(store) {
        assert!(seen.contains(&id), "{id} was missed");
    }
}

fn vectors_come_in_one_block(store: &mut dyn Store) {
    store
        .insert(vec![entry("a", 1), entry("b", 2), entry("a", 3)])
        .unwrap();
    let page = store.iter_vectors(1, 2).unwrap();
    assert_eq!(page.ids, [2, 3]);
    assert_eq!(page.namespaces, ["b", "a"]);
    assert_eq!(page.created_at, [1_002, 1_003]);
    assert_eq!(page.vectors, [2.0, -0.5, 0.25, 3.0, -0.5, 0.25]);
    let page = store.iter_stamps(0, 2).unwrap();
    assert_eq!(
        (page.ids, page.created_at),
        (vec![1, 2], vec![1_001, 1_002])
    );
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
    assert_eq!(gone(99), []);
    assert_eq!(gone(100), [2]);
    assert_eq!(gone(109), []);
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
    assert_eq!(gone(None, 0), []);
    assert_eq!(gone(Some("b"), 2), [2, 4]);
    assert_eq!(gone(Some("c"), 2), []);
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
    store.replace_meta("k", None, "v").unwrap();
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
        assert!(!store.replace_meta(key, Some("x"), "y").unwrap());
        assert_eq!(store.read_meta(key).unwrap(), None);
        assert!(store.replace_meta(key, None, "").unwrap());
        assert!(!store.replace_meta(key, None, "z").unwrap());
        assert!(!store.replace_meta(key, Some("z"), "z").unwrap());
        assert!(store.replace_meta(key, Some(""), "n\0\u{10FFFF}").unwrap());
        assert_eq!(
            store.read_meta(key).unwrap().as_deref(),
            Some("n\0\u{10FFFF}")
        );
        assert!(
            store
                .replace_meta(key, Some("n\0\u{10FFFF}"), "same")
                .unwrap()
        );
    }
    assert_eq!(version(store), 0);
}

fn reserved_meta_is_refused(store: &mut dyn Store) {
    for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        let present = store.read_meta(key).unwrap();
        for expected in [None, present.as_deref()] {
            let outcome = store.replace_meta(key, expected, "1");
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
    store_open(store);
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
        store.replace_meta("k", None, "v"),
        store.replace_meta("schema_version", None, "v"),
        store.integrity_check(),
    );
    if snapshot {
        closed!(
            store.begin_snapshot(),
            store.read_snapshot(1),
            store.end_snapshot(),
            store.begin_restore(),
            store.write_restore(&[]),
            store.commit_restore(),
        );
    }
}

fn opening_twice_is_allowed(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    store_open(store);
    assert!(by_id(store, id).is_some());
    assert!(store.open("another", DIM).is_err());
    store_open(store);
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
        store.commit_restore(),
    ];
    for refusal in refusals {
        assert!(
            matches!(refusal, Err(StoreError::Unsupported(_))),
            "{refusal:?}"
        );
    }
}
