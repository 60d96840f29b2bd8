//! Imports and lists of meta, in every store.

use mneme::store::{Entry, ImportMode, MetaChange, Store, StoreError};

use super::support::*;

on_every_store! {
    an_import_becomes_part_of_the_data_in_one_step
    merging_keeps_ids_and_what_is_not_named
    replacing_deletes_what_was_there
    the_empty_mode_refuses_entries
    the_counter_moves_only_for_entries
    an_unexpected_meta_value_can_be_tried_again
    meta_is_not_compared_where_it_is_replaced
    a_pair_twice_in_an_import_ends_it
    what_insert_refuses_ends_an_import
    reserved_meta_ends_an_import
    a_begun_or_closed_import_is_forgotten
    an_ended_import_is_over
    others_write_while_an_import_waits
    meta_is_listed_by_the_bytes_of_its_keys
    a_view_answers_like_the_store
}

const EMPTY: ImportMode = ImportMode::Empty;
const MERGE: ImportMode = ImportMode::Merge;
const REPLACE: ImportMode = ImportMode::Replace;

/// Entries whose access data an insert of the cache would not have.
fn aged(namespace: &str, n: u64) -> Entry {
    Entry {
        id: 900 - n,
        ttl: Some(40 + n),
        access_count: 7 + n,
        ..entry(namespace, n)
    }
}

fn change(key: &str, expected: Option<&str>, value: &str) -> MetaChange {
    MetaChange {
        key: key.to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    }
}

/// All data that an import could change.
type Data = (Vec<Entry>, Vec<(String, u64)>, Vec<(String, String)>, u64);

fn data(store: &mut dyn Store) -> Data {
    (
        store.iter_since(0, 10_000).unwrap(),
        store.list_namespace_quotas().unwrap(),
        store.list_meta().unwrap(),
        version(store),
    )
}

fn some_data(store: &mut dyn Store) -> Data {
    store
        .insert(vec![entry("a", 1), entry("a", 2), entry("b", 1)])
        .unwrap();
    store.set_namespace_quota("a", Some(5)).unwrap();
    store.set_namespace_quota("b", Some(6)).unwrap();
    store.replace_meta("kept", None, Some("old")).unwrap();
    store.replace_meta("counters", None, Some("1")).unwrap();
    data(store)
}

fn pairs<T: Clone>(list: &[(&str, T)]) -> Vec<(String, T)> {
    let owned = list
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()));
    owned.collect()
}

#[track_caller]
fn is_over(store: &mut dyn Store) {
    for refusal in [
        store.commit_import(&[], &[]).map(drop),
        store.write_import(Vec::new()),
    ] {
        assert!(
            matches!(refusal, Err(StoreError::InvalidArgument(_))),
            "{refusal:?}"
        );
    }
}

fn an_import_becomes_part_of_the_data_in_one_step(store: &mut dyn Store) {
    let used = put(store, entry("z", 1));
    store.clear_namespace(None).unwrap();
    let before = data(store);
    store.begin_import(EMPTY).unwrap();
    store
        .write_import(vec![aged("b", 3), aged("a", 9)])
        .unwrap();
    store.write_import(Vec::new()).unwrap();
    store.write_import(vec![aged("a", 3)]).unwrap();
    assert_eq!(data(store), before, "an import was visible");
    assert!(store.list_namespaces().unwrap().is_empty());
    let quotas = pairs(&[("z", 0), ("a", 3)]);
    let meta = [change("counters", None, "{}"), change("k", None, "")];
    assert!(store.commit_import(&quotas, &meta).unwrap());

    let (entries, quotas, meta, counter) = data(store);
    let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
    assert!(ids[0] > used && ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let expected = [aged("b", 3), aged("a", 9), aged("a", 3)];
    let expected = expected.into_iter().zip(ids);
    let expected: Vec<Entry> = expected.map(|(entry, id)| Entry { id, ..entry }).collect();
    assert_eq!(entries, expected);
    assert_eq!(quotas, pairs(&[("a", 3), ("z", 0)]));
    assert_eq!(
        meta,
        [
            ("counters".into(), "{}".into()),
            ("k".into(), String::new())
        ]
    );
    assert_eq!(counter, before.3 + 1);
    let oldest = store.iter_lru_ids(1, Some("a")).unwrap();
    assert_eq!(oldest[0].id, entries[2].id);
    assert!(store.integrity_check().unwrap());
    is_over(store);
}

fn merging_keeps_ids_and_what_is_not_named(store: &mut dyn Store) {
    let before = some_data(store);
    store.begin_import(MERGE).unwrap();
    store
        .write_import(vec![aged("c", 1), aged("a", 2), aged("a", 3)])
        .unwrap();
    let quotas = pairs(&[("b", 1), ("c", 2)]);
    assert!(
        store
            .commit_import(&quotas, &[change("new", None, "v")])
            .unwrap()
    );

    let (entries, quotas, meta, counter) = data(store);
    let replaced = before.0[1].id;
    assert_eq!(entries.len(), 5);
    assert_eq!(entries[0], before.0[0]);
    assert_eq!(
        entries[1],
        Entry {
            id: replaced,
            ..aged("a", 2)
        }
    );
    assert_eq!(entries[2], before.0[2]);
    assert_eq!(
        (entries[3].namespace.as_str(), entries[4].namespace.as_str()),
        ("c", "a")
    );
    assert_eq!(quotas, pairs(&[("a", 5), ("b", 1), ("c", 2)]));
    assert_eq!(meta.len(), 3);
    assert_eq!(store.read_meta("kept").unwrap().as_deref(), Some("old"));
    assert_eq!(counter, before.3 + 1);
}

fn replacing_deletes_what_was_there(store: &mut dyn Store) {
    let before = some_data(store);
    let highest = before.0[2].id;
    store.begin_import(REPLACE).unwrap();
    store
        .write_import(vec![aged("b", 1), aged("d", 1)])
        .unwrap();
    let quotas = pairs(&[("d", 1)]);
    assert!(
        store
            .commit_import(&quotas, &[change("k", None, "v")])
            .unwrap()
    );
    let (entries, quotas, meta, counter) = data(store);
    assert_eq!(entries.len(), 2);
    assert!(
        entries.iter().all(|entry| entry.id > highest),
        "an id was used again"
    );
    assert_eq!(quotas, pairs(&[("d", 1)]));
    assert_eq!(meta, [("k".to_owned(), "v".to_owned())]);
    assert_eq!(counter, before.3 + 1);
    assert_eq!(store.list_namespaces().unwrap(), ["b", "d"]);
    store.close().unwrap();
    reopen(store);
    assert_eq!(data(store).0, entries);
}

fn the_empty_mode_refuses_entries(store: &mut dyn Store) {
    store.begin_import(EMPTY).unwrap();
    store.write_import(vec![entry("a", 2)]).unwrap();
    put(store, entry("a", 1));
    let before = data(store);
    let refusal = store.commit_import(&pairs(&[("a", 1)]), &[]);
    assert!(
        matches!(refusal, Err(StoreError::Checkpoint(_))),
        "{refusal:?}"
    );
    is_over(store);
    let refusal = store.begin_import(EMPTY);
    assert!(
        matches!(refusal, Err(StoreError::Checkpoint(_))),
        "{refusal:?}"
    );
    is_over(store);
    assert_eq!(data(store), before);
}

fn the_counter_moves_only_for_entries(store: &mut dyn Store) {
    let mut moved = |mode, by: u64| {
        let before = version(store);
        store.begin_import(mode).unwrap();
        let quotas = pairs(&[("a", 3)]);
        assert!(store.commit_import(&quotas, &[]).unwrap());
        assert_eq!(version(store), before + by, "{mode:?}");
        put(store, entry("a", 1));
    };
    moved(EMPTY, 0);
    moved(MERGE, 0);
    moved(REPLACE, 1);
    store.clear_namespace(None).unwrap();
    let before = version(store);
    store.begin_import(REPLACE).unwrap();
    assert!(store.commit_import(&[], &[change("k", None, "v")]).unwrap());
    assert_eq!(version(store), before, "there was nothing to delete");
    assert!(store.list_namespace_quotas().unwrap().is_empty());
}

fn an_unexpected_meta_value_can_be_tried_again(store: &mut dyn Store) {
    let before = some_data(store);
    store.begin_import(MERGE).unwrap();
    store.write_import(vec![aged("c", 1)]).unwrap();
    for expected in [None, Some("other"), Some("OLD"), Some("")] {
        let changes = [
            change("counters", Some("1"), "2"),
            change("kept", expected, "new"),
        ];
        assert!(!store.commit_import(&pairs(&[("c", 1)]), &changes).unwrap());
        assert_eq!(data(store), before, "{expected:?}");
    }
    assert!(
        !store
            .commit_import(&[], &[change("none", Some("v"), "w")])
            .unwrap()
    );
    let right = [
        change("counters", Some("1"), "2"),
        change("kept", Some("old"), "new"),
    ];
    assert!(store.commit_import(&[], &right).unwrap());
    assert_eq!(store.count(None).unwrap(), 4);
    assert_eq!(store.read_meta("kept").unwrap().as_deref(), Some("new"));
    assert_eq!(version(store), before.3 + 1);
}

fn meta_is_not_compared_where_it_is_replaced(store: &mut dyn Store) {
    some_data(store);
    store.begin_import(REPLACE).unwrap();
    let changes = [change("kept", None, "new"), change("gone", Some("x"), "y")];
    assert!(store.commit_import(&[], &changes).unwrap());
    let expected = [("gone", "y".to_owned()), ("kept", "new".to_owned())];
    assert_eq!(store.list_meta().unwrap(), pairs(&expected));
}

fn a_pair_twice_in_an_import_ends_it(store: &mut dyn Store) {
    let before = some_data(store);
    for (first, second) in [
        (
            vec![entry("c", 1), entry("c", 2), entry("c", 1)],
            Vec::new(),
        ),
        (vec![entry("c", 1)], vec![entry("d", 1), entry("c", 1)]),
    ] {
        store.begin_import(MERGE).unwrap();
        let outcome = store.write_import(first);
        let outcome = outcome.and_then(|()| store.write_import(second));
        match outcome {
            Err(StoreError::Checkpoint(text)) => {
                assert!(text.contains("\"c\"") && text.contains(&hash(1)), "{text}");
            }
            other => panic!("{other:?}"),
        }
        is_over(store);
        assert_eq!(data(store), before);
    }
    // A pair that the data has is no such pair, nor are pairs that differ in bytes.
    store.begin_import(MERGE).unwrap();
    store
        .write_import(vec![entry("a", 1), entry("A", 1), entry("a ", 1)])
        .unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(store.count(None).unwrap(), 5);
}

fn what_insert_refuses_ends_an_import(store: &mut dyn Store) {
    let before = some_data(store);
    let short = Entry {
        embedding: vec![1.0; 2],
        ..entry("c", 2)
    };
    store.begin_import(MERGE).unwrap();
    match store.write_import(vec![entry("c", 1), short]) {
        Err(StoreError::EmbedderDimension(error)) => {
            assert_eq!((error.expected, error.actual), (DIM, 2));
        }
        other => panic!("{other:?}"),
    }
    is_over(store);
    let most = u64::from(store.capabilities().max_batch);
    store.begin_import(MERGE).unwrap();
    store
        .write_import((0..most).map(|n| entry("c", n)).collect())
        .unwrap();
    let refusal = store.write_import((0..=most).map(|n| entry("d", n)).collect());
    assert!(
        matches!(refusal, Err(StoreError::InvalidArgument(_))),
        "{refusal:?}"
    );
    is_over(store);
    assert_eq!(data(store), before);
}

fn reserved_meta_ends_an_import(store: &mut dyn Store) {
    let before = some_data(store);
    for mode in [MERGE, REPLACE] {
        for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
            store.begin_import(mode).unwrap();
            store.write_import(vec![entry("c", 1)]).unwrap();
            let refusal = store.commit_import(&[], &[change(key, Some("x"), "y")]);
            assert!(
                matches!(refusal, Err(StoreError::InvalidArgument(_))),
                "{refusal:?}"
            );
            is_over(store);
            assert_eq!(data(store), before);
        }
    }
}

fn a_begun_or_closed_import_is_forgotten(store: &mut dyn Store) {
    store.begin_import(EMPTY).unwrap();
    store.write_import(vec![entry("a", 1)]).unwrap();
    store.begin_import(MERGE).unwrap();
    store
        .write_import(vec![entry("a", 1), entry("a", 2)])
        .unwrap();
    store.close().unwrap();
    reopen(store);
    is_over(store);
    assert_eq!((store.count(None).unwrap(), version(store)), (0, 0));
    store.begin_import(MERGE).unwrap();
    reopen(store);
    is_over(store);
}

fn an_ended_import_is_over(store: &mut dyn Store) {
    store.end_import().unwrap();
    is_over(store);
    store.begin_import(EMPTY).unwrap();
    store.write_import(vec![entry("a", 1)]).unwrap();
    store.end_import().unwrap();
    store.end_import().unwrap();
    is_over(store);
    assert_eq!((store.count(None).unwrap(), version(store)), (0, 0));
}

fn others_write_while_an_import_waits(store: &mut dyn Store) {
    store.begin_import(MERGE).unwrap();
    store
        .write_import(vec![aged("a", 1), aged("a", 2)])
        .unwrap();
    let meanwhile = put(store, entry("a", 2));
    assert_eq!(ids(store), [meanwhile]);
    assert!(store.commit_import(&[], &[]).unwrap());
    let expected = Entry {
        id: meanwhile,
        ..aged("a", 2)
    };
    assert_eq!(by_id(store, meanwhile), Some(expected));
    assert_eq!(store.count(None).unwrap(), 2);
}

fn meta_is_listed_by_the_bytes_of_its_keys(store: &mut dyn Store) {
    assert!(store.list_meta().unwrap().is_empty());
    let keys = [
        "",
        "B",
        "a",
        "a\0",
        "a b",
        "counters",
        "version_counter",
        "\u{FB03}",
        "🦀",
    ];
    for key in keys.iter().rev() {
        assert!(
            store
                .replace_meta(key, None, Some(&format!("={key}")))
                .unwrap()
        );
    }
    let expected: Vec<_> = keys
        .iter()
        .map(|key| ((*key).to_owned(), format!("={key}")))
        .collect();
    assert_eq!(store.list_meta().unwrap(), expected);
    store.replace_meta("a", Some("=a"), None).unwrap();
    assert_eq!(store.list_meta().unwrap().len(), keys.len() - 1);
}

fn a_view_answers_like_the_store(store: &mut dyn Store) {
    let before = some_data(store);
    store.end_view().unwrap();
    assert!(store.begin_view().unwrap());
    assert!(store.begin_view().unwrap());
    assert_eq!(data(store), before);
    let keys = [key("b", &hash(1)), key("c", &hash(1)), key("a", &hash(1))];
    let found = store.get_by_hash(&keys).unwrap();
    assert_eq!(found.iter().flatten().count(), 2);
    assert_eq!(store.get_by_ids(&[3, 1, 7]).unwrap().len(), 2);
    assert!(store.integrity_check().unwrap());
    store.end_view().unwrap();
    store.end_view().unwrap();
    put(store, entry("c", 1));
    assert!(store.begin_view().unwrap());
    assert_eq!(store.count(None).unwrap(), 4);
    store.close().unwrap();
    reopen(store);
    put(store, entry("c", 2));
    assert_eq!(store.count(None).unwrap(), 5);
}
