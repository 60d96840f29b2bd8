//! Storing entries, finding them, and walking over them, in every store.

use mneme::store::{Entry, EntryRef, Store, StoreError, Touch};

use super::support::*;

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
    a_batch_of_the_largest_size_is_accepted
    a_wrong_vector_stores_nothing
    the_counter_moves_by_one_on_changes_only
    pages_are_ascending_and_limited
    a_walk_sees_each_row_once_while_others_write
    vectors_come_in_one_block
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
    reopen(store);
    let after = put(store, entry("a", 3));
    assert!(after > next);
    store.clear_namespace(None).unwrap();
    assert!(put(store, entry("a", 4)) > after);
}

fn ids_and_data_survive_reopening(store: &mut dyn Store) {
    let id = put(store, entry("a", 1));
    store.set_namespace_quota("a", Some(4)).unwrap();
    store.replace_meta("k", None, Some("v")).unwrap();
    let before = (by_id(store, id), version(store));
    store.close().unwrap();
    reopen(store);
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
    store.replace_meta("k", None, Some("v")).unwrap();
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
