//! Data under a prefix that is not as the store left it.

use mneme::RedisStore;
use mneme::store::{EntryRef, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, key, put};
use mneme_tests::servers::redis::Redis;

mneme_tests::tests![
    data_of_another_embedder_or_version_is_refused,
    what_is_missing_is_recorded_while_it_can_be,
    keys_of_the_wrong_type_are_named,
    blobs_of_the_wrong_type_are_named_and_the_rest_works,
    writes_that_meet_damage_change_nothing,
    damaged_entries_are_named_and_can_be_deleted,
    an_entry_that_lost_its_name_goes_from_every_key,
    other_damage_fails_the_integrity_check,
    damaged_values_beside_the_entries_are_named,
];

fn opened(server: &Redis) -> RedisStore {
    let mut store = server.store("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

/// Fails unless it is [`StoreError::Corrupt`] with these parts.
#[track_caller]
fn corrupt<T: std::fmt::Debug>(outcome: Result<T, StoreError>, parts: &[&str]) {
    match outcome {
        Err(StoreError::Corrupt(text)) => {
            for part in parts.iter().chain(&["127.0.0.1", "prefix \"p\""]) {
                assert!(text.contains(part), "{text} lacks {part}");
            }
        }
        other => panic!("{other:?}"),
    }
}

fn data_of_another_embedder_or_version_is_refused(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    put(&mut store, entry("a", 1));
    let before = client.dump();
    let outcome = store.open("another", DIM);
    assert!(
        matches!(&outcome, Err(StoreError::EmbedderMismatch(error)) if error.stored == FINGERPRINT),
        "{outcome:?}"
    );
    assert!(matches!(store.count(None), Err(StoreError::Closed)));
    let outcome = store.open(FINGERPRINT, DIM + 1);
    assert!(
        matches!(&outcome, Err(StoreError::EmbedderDimension(error)) if error.expected == DIM),
        "{outcome:?}"
    );
    assert_eq!(client.dump(), before);
    for version in ["2", "0", "x", ""] {
        client.run::<()>(&["HSET", "p:meta", "schema_version", version]);
        let outcome = store.open(FINGERPRINT, DIM);
        assert!(
            matches!(&outcome, Err(StoreError::Schema(text)) if text.contains("schema_version")),
            "{outcome:?}"
        );
    }
    client.run::<()>(&["HSET", "p:meta", "schema_version", "1"]);
    store.open(FINGERPRINT, DIM).unwrap();
}

fn what_is_missing_is_recorded_while_it_can_be(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    let fresh = client.dump();
    for lost in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        client.run::<()>(&["HDEL", "p:meta", lost]);
        store.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(client.dump(), fresh);
    }
    // Nothing is added to what another embedder has begun.
    client.run::<()>(&["HDEL", "p:meta", "embedder_dim"]);
    let begun = client.dump();
    assert!(matches!(
        store.open("another", DIM),
        Err(StoreError::EmbedderMismatch(_))
    ));
    assert_eq!(client.dump(), begun);
    client.run::<()>(&["DEL", "p:meta", "p:version", "p:next_id"]);
    store.open(FINGERPRINT, DIM).unwrap();
    assert_eq!(client.dump(), fresh);

    put(&mut store, entry("a", 1));
    client.run::<()>(&["HDEL", "p:meta", "schema_version"]);
    store.open(FINGERPRINT, DIM).unwrap();
    for lost in ["embedder_fingerprint", "embedder_dim"] {
        client.run::<()>(&["HDEL", "p:meta", lost]);
        corrupt(
            store.open(FINGERPRINT, DIM),
            &["though there are entries", lost],
        );
    }
    client.run::<()>(&[
        "HSET",
        "p:meta",
        "embedder_fingerprint",
        FINGERPRINT,
        "embedder_dim",
        "many",
    ]);
    corrupt(store.open(FINGERPRINT, DIM), &["embedder_dim", "many"]);
}

fn keys_of_the_wrong_type_are_named(server: Redis) {
    let mut client = server.client();
    for name in [
        "meta",
        "by_id",
        "by_ttl",
        "namespaces",
        "version",
        "next_id",
        "expiring",
    ] {
        client.run::<()>(&["FLUSHALL"]);
        let key = format!("p:{name}");
        client.run::<()>(&["RPUSH", &key, "x"]);
        corrupt(server.store("p").open(FINGERPRINT, DIM), &[&key, "list"]);
        assert_eq!(client.run::<u64>(&["DBSIZE"]), 1);
    }
    for (name, value) in [
        ("version", "many"),
        ("version", "-1"),
        ("next_id", "1e3"),
        ("next_id", "9007199254740991"),
    ] {
        client.run::<()>(&["FLUSHALL"]);
        let key = format!("p:{name}");
        client.run::<()>(&["SET", &key, value]);
        corrupt(
            server.store("p").open(FINGERPRINT, DIM),
            &[&key, "not a count"],
        );
    }
}

fn blobs_of_the_wrong_type_are_named_and_the_rest_works(server: Redis) {
    let mut client = server.client();
    client.run::<()>(&["SET", "p:blobs", "x"]);
    let mut store = opened(&server);
    corrupt(store.read_blob("a"), &["p:blobs", "wrong type"]);
    corrupt(store.write_blob("a", vec![1]), &["p:blobs", "wrong type"]);
    corrupt(store.delete_blobs(&["a".to_owned()]), &["p:blobs"]);
    corrupt(store.list_blobs(), &["p:blobs"]);
    put(&mut store, entry("a", 1));
    client.run::<()>(&["DEL", "p:blobs"]);
    store.write_blob("a", vec![0, 255]).unwrap();
    assert_eq!(client.run::<Vec<u8>>(&["HGET", "p:blobs", "a"]), [0, 255]);
    client.run::<()>(&["HSET", "p:blobs", "\u{e9}", "x"]);
    assert_eq!(store.list_blobs().unwrap(), ["a", "\u{e9}"]);
    assert!(store.integrity_check().unwrap());
}

fn writes_that_meet_damage_change_nothing(server: Redis) {
    let mut client = server.client();
    let two = format!("p:hash:a:{}", hash(2));
    for key in [
        "p:by_id",
        "p:by_ttl",
        "p:namespaces",
        "p:version",
        "p:next_id",
        "p:expiring",
        "p:lru:a",
        "p:entry:2",
        &two,
    ] {
        client.run::<()>(&["FLUSHALL"]);
        let mut store = opened(&server);
        store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
        client.run::<()>(&["DEL", key]);
        client.run::<()>(&["RPUSH", key, "x"]);
        let before = client.dump();
        corrupt(
            store.insert(vec![entry("a", 3), entry("a", 1), entry("a", 2)]),
            &[key, "wrong type"],
        );
        assert_eq!(client.dump(), before, "{key}");
        assert!(!store.integrity_check().unwrap(), "{key}");
    }
}

fn damaged_entries_are_named_and_can_be_deleted(server: Redis) {
    let mut client = server.client();
    let damages: [(&[&str], &str); 10] = [
        (
            &["HSET", "p:entry:2", "embedding", "12345"],
            "field embedding",
        ),
        (&["HDEL", "p:entry:2", "embedding"], "field embedding"),
        (&["HDEL", "p:entry:2", "response"], "field response"),
        (&["HDEL", "p:entry:2", "metadata"], "field metadata"),
        (&["HDEL", "p:entry:2", "created_at"], "field created_at"),
        (
            &["HSET", "p:entry:2", "created_at", "soon"],
            "field created_at",
        ),
        (&["HSET", "p:entry:2", "ttl", "x"], "field ttl"),
        (
            &["HSET", "p:entry:2", "access_count", "nan"],
            "field access_count",
        ),
        (
            &["HSET", "p:entry:2", "last_accessed_at", ""],
            "field last_accessed_at",
        ),
        (&["SET", "p:entry:2", "text"], "p:entry:2"),
    ];
    for (damage, field) in damages {
        client.run::<()>(&["FLUSHALL"]);
        let mut store = opened(&server);
        store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
        assert!(store.integrity_check().unwrap());
        client.run::<()>(damage);
        corrupt(
            store.get_by_hash(&[key("a", 1), key("a", 2)], true),
            &["p:entry:2", field],
        );
        corrupt(store.get_by_ids(&[2], true), &["p:entry:2", field]);
        corrupt(store.iter_since(0, 9), &["p:entry:2", field]);
        assert!(get(&mut store, "a", 1).is_some());
        assert_eq!(store.iter_since(0, 1).unwrap().len(), 1);
        if field == "field embedding" {
            corrupt(store.iter_vectors(0, 9), &["p:entry:2", field]);
        }
        assert!(!store.integrity_check().unwrap(), "{damage:?}");
        assert!(store.delete_by_id(2).unwrap(), "{damage:?}");
        assert!(store.integrity_check().unwrap());
        assert_eq!(
            (store.count(None).unwrap(), store.count(Some("a")).unwrap()),
            (1, 1)
        );
        assert_eq!(client.run::<u64>(&["EXISTS", "p:entry:2"]), 0);
        store.insert(vec![entry("a", 2)]).unwrap();
        assert!(get(&mut store, "a", 2).is_some());
        assert!(store.integrity_check().unwrap());
    }
}

fn an_entry_that_lost_its_name_goes_from_every_key(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    store.insert(vec![entry("a", 1), entry("b", 2)]).unwrap();
    client.run::<()>(&["HDEL", "p:entry:2", "namespace"]);
    corrupt(
        store.get_by_hash(&[key("b", 2)], true),
        &["p:entry:2", "field namespace is missing"],
    );
    assert!(!store.integrity_check().unwrap());
    let named = |created_at| EntryRef {
        id: 2,
        namespace: "b".into(),
        created_at,
    };
    assert!(store.delete_unchanged(&[named(7)]).unwrap().is_empty());
    assert_eq!(store.delete_unchanged(&[named(1002)]).unwrap(), [2]);
    assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"]);
    assert!(!client.dump().contains_key("p:lru:b"));
}

fn other_damage_fails_the_integrity_check(server: Redis) {
    let mut client = server.client();
    let (one, two) = (
        format!("p:hash:a:{}", hash(1)),
        format!("p:hash:a:{}", hash(2)),
    );
    let damages: [&[&str]; 9] = [
        &["DEL", &two],
        &["SET", &two, "1"],
        &["SET", &two, "x"],
        &["ZREM", "p:lru:a", "2"],
        &["SET", "p:lru:a", "x"],
        &["SET", "p:version", "many"],
        &["SET", "p:next_id", "1"],
        &["ZADD", "p:by_id", "7", "2"],
        &["ZADD", "p:by_id", "7", "x"],
    ];
    for damage in damages {
        client.run::<()>(&["FLUSHALL"]);
        let mut store = opened(&server);
        store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
        assert!(store.integrity_check().unwrap());
        if damage[0] == "SET" {
            client.run::<()>(&["DEL", damage[1]]);
        }
        client.run::<()>(damage);
        assert!(!store.integrity_check().unwrap(), "{damage:?}");
    }
    // Two programs stored one pair at one time; the key names the later.
    client.run::<()>(&["FLUSHALL"]);
    let mut store = opened(&server);
    store.insert(vec![entry("a", 1), entry("a", 2)]).unwrap();
    client.run::<()>(&["HSET", "p:entry:2", "query_hash", &hash(1)]);
    client.run::<()>(&["SET", &one, "2"]);
    assert!(store.integrity_check().unwrap());
    assert!(store.delete_by_id(1).unwrap());
    assert_eq!(get(&mut store, "a", 1).unwrap().id, 2);
}

fn damaged_values_beside_the_entries_are_named(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server);
    client.run::<()>(&["SET", "p:quota:a", "some"]);
    corrupt(store.get_namespace_quota("a"), &["p:quota:a"]);
    corrupt(store.list_namespace_quotas(), &["p:quota:a"]);
    client.run::<()>(&["SET", "p:version", "many"]);
    corrupt(store.read_version_counter(), &["p:version", "many"]);
    client.run::<()>(&["DEL", "p:version", "p:quota:a"]);
    client.run::<()>(&["RPUSH", "p:version", "x"]);
    corrupt(
        store.read_version_counter(),
        &["key p:version is of the wrong type"],
    );
    client.run::<()>(&["DEL", "p:version"]);
    assert_eq!(store.read_version_counter().unwrap(), 0);
    // A quota whose key holds no text is ignored.
    client.run::<()>(&["RPUSH", "p:quota:a", "x"]);
    assert_eq!(store.list_namespace_quotas().unwrap(), []);
    // Numbers of other programs: below zero is 0, fractions are cut off.
    put(&mut store, entry("a", 1));
    client.run::<()>(&[
        "HSET",
        "p:entry:1",
        "created_at",
        "12.9",
        "access_count",
        "-3",
        "ttl",
        "5.5",
    ]);
    let found = get(&mut store, "a", 1).unwrap();
    assert_eq!(
        (found.created_at, found.access_count, found.ttl),
        (12, 0, Some(5))
    );
    assert_eq!(store.iter_stamps(0, 9).unwrap().created_at, [12]);
    let named = EntryRef {
        id: 1,
        namespace: "a".into(),
        created_at: 12,
    };
    assert_eq!(store.delete_unchanged(&[named]).unwrap(), [1]);
    client.run::<()>(&["DEL", "p:meta"]);
    client.run::<()>(&["SET", "p:meta", "x"]);
    corrupt(store.list_meta(), &["p:meta"]);
}
