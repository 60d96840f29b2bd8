//! The Redis store on a real server: what it writes, and what only Redis makes hard.

use mneme::RedisStore;
use mneme::store::{Entry, EntryKey, Filter, Inserted, Store, StoreError, Touch};
use mneme_tests::proxy::Proxy;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, key, put};
use mneme_tests::servers::redis::Redis;
use std::collections::BTreeMap;
use std::thread;

mneme_tests::tests![
    the_keys_are_those_of_the_shared_layout,
    each_call_takes_as_many_round_trips_as_it_must,
    writers_at_one_time_lose_nothing,
    long_pages_and_deletes_go_in_steps,
    a_server_that_forgets_the_scripts_is_told_again,
    databases_of_a_server_are_apart,
];

const GREATEST: u64 = (1 << 53) - 1;

fn opened(server: &Redis, prefix: &str) -> RedisStore {
    let mut store = server.store(prefix);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn dump<const N: usize>(expected: [(&str, &str); N]) -> BTreeMap<String, String> {
    let text = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    expected.into_iter().map(text).collect()
}

fn the_keys_are_those_of_the_shared_layout(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "mneme");
    let meta = "embedder_dim=3 embedder_fingerprint=test-rows-1 schema_version=1";
    let empty = dump([
        ("mneme:meta", meta),
        ("mneme:next_id", "0"),
        ("mneme:version", "0"),
    ]);
    assert_eq!(client.dump(), empty);

    let given = Entry {
        query: "é".into(),
        metadata: r#"{"a": "\u00fc"}"#.into(),
        ..entry("n|s:x", 1)
    };
    put(&mut store, given);
    let far = Entry {
        ttl: Some(GREATEST - 2000),
        ..entry("b", 2)
    };
    put(&mut store, far);
    store.set_namespace_quota("n|s:x", Some(7)).unwrap();
    assert!(store.replace_meta("k", None, Some("v")).unwrap());
    let touch = Touch {
        id: 1,
        hits: 2,
        last_accessed_at: 5000,
    };
    store.update_access(&[touch]).unwrap();

    let (one, two) = (hash(1), hash(2));
    let mut expected = dump([
        ("mneme:by_id", "1=1 2=2"),
        ("mneme:by_ttl", "b|2=9007199254739993"),
        (
            "mneme:entry:1",
            &format!(
                r#"access_count=2 created_at=1001 embedding=\x00\x00\x80?\x00\x00\x00\xbf\x00\x00\x80> last_accessed_at=5000 metadata={{\"a\": \"\\u00fc\"}} namespace=n|s:x query=\xc3\xa9 query_hash={one} response=response 1 ttl="#
            ),
        ),
        (
            "mneme:entry:2",
            &format!(
                r"access_count=0 created_at=1002 embedding=\x00\x00\x00@\x00\x00\x00\xbf\x00\x00\x80> last_accessed_at=2002 metadata={{}} namespace=b query=query 2 query_hash={two} response=response 2 ttl=9007199254738991"
            ),
        ),
        ("mneme:expiring", &format!("2={two}:b")),
        (&format!("mneme:hash:b:{two}"), "2"),
        (&format!("mneme:hash:n|s:x:{one}"), "1"),
        ("mneme:lru:b", "2=2002"),
        ("mneme:lru:n|s:x", "1=5000"),
        (
            "mneme:meta",
            "embedder_dim=3 embedder_fingerprint=test-rows-1 k=v schema_version=1",
        ),
        ("mneme:namespaces", "b n|s:x"),
        ("mneme:next_id", "2"),
        ("mneme:quota:n|s:x", "7"),
        ("mneme:version", "2"),
    ]);
    let found = client.dump();
    for (key, value) in &expected {
        assert_eq!(found.get(key), Some(value), "{key}");
    }
    assert_eq!(found.len(), expected.len());

    // A replacement without a ttl, and a delete.
    put(&mut store, entry("b", 2));
    assert_eq!(client.run::<i64>(&["TTL", "mneme:entry:2"]), -1);
    assert!(store.delete_by_id(1).unwrap());
    for gone in [
        "by_ttl",
        "entry:1",
        "expiring",
        &format!("hash:n|s:x:{one}"),
        "lru:n|s:x",
    ] {
        expected.remove(&format!("mneme:{gone}")).unwrap();
    }
    let found = client.dump();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    assert_eq!(
        (&*found["mneme:by_id"], &*found["mneme:namespaces"]),
        ("2=2", "b")
    );

    assert_eq!(store.clear_namespace(None).unwrap(), 1);
    store.set_namespace_quota("n|s:x", None).unwrap();
    assert!(store.replace_meta("k", Some("v"), None).unwrap());
    let left = dump([
        ("mneme:meta", meta),
        ("mneme:next_id", "2"),
        ("mneme:version", "5"),
    ]);
    assert_eq!(client.dump(), left);
}

fn each_call_takes_as_many_round_trips_as_it_must(server: Redis) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let mut trips = |count: u64, what: &str, work: &mut dyn FnMut(&mut RedisStore)| {
        // The first time, the server does not know the script.
        work(&mut store);
        let (taken, ()) = proxy.count(|| work(&mut store));
        assert_eq!(taken, count, "{what}");
    };
    let batch = |from: u64| {
        (from..from + 1000)
            .map(|n| entry("a", n))
            .collect::<Vec<_>>()
    };
    trips(1, "insert", &mut |store| {
        drop(store.insert(batch(1)).unwrap())
    });
    trips(1, "insert", &mut |store| {
        drop(store.insert(batch(1001)).unwrap())
    });
    let keys: Vec<EntryKey> = (1..=1000).map(|n| key("a", n)).collect();
    trips(1, "get_by_hash of one", &mut |store| {
        assert!(store.get_by_hash(&keys[..1], true).unwrap()[0].is_some());
    });
    trips(1, "get_by_hash", &mut |store| {
        assert!(
            store
                .get_by_hash(&keys, true)
                .unwrap()
                .iter()
                .all(Option::is_some)
        );
    });
    let ids: Vec<u64> = (1..=1000).collect();
    trips(1, "get_by_ids", &mut |store| {
        assert_eq!(store.get_by_ids(&ids, true).unwrap().len(), 1000);
    });
    let touches: Vec<Touch> = (1..=2000)
        .map(|id| Touch {
            id,
            hits: 1,
            last_accessed_at: 9,
        })
        .collect();
    trips(1, "update_access", &mut |store| {
        store.update_access(&touches).unwrap()
    });
    trips(1, "iter_since", &mut |store| {
        assert_eq!(store.iter_since(0, 1000).unwrap().len(), 1000);
    });
    trips(1, "iter_vectors", &mut |store| {
        assert_eq!(store.iter_vectors(0, 2000).unwrap().ids.len(), 2000);
    });
    trips(1, "iter_stamps", &mut |store| {
        assert_eq!(store.iter_stamps(0, 262_144).unwrap().ids.len(), 2000);
    });
    trips(1, "count", &mut |store| {
        assert_eq!(store.count(None).unwrap(), 2000)
    });
    trips(1, "list_namespaces", &mut |store| {
        assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["a"])
    });
    trips(1, "count_by_namespace", &mut |store| {
        let counts = store.count_by_namespace(None, 1000).unwrap();
        assert_eq!(counts, [("a".to_owned(), 2000)]);
    });
    trips(1, "iter_lru_ids", &mut |store| {
        assert_eq!(store.iter_lru_ids(1500, None).unwrap().len(), 1500);
    });
    trips(1, "read_version_counter", &mut |store| {
        assert!(store.read_version_counter().unwrap() > 0);
    });
    trips(1, "changes_since", &mut |store| {
        assert!(store.changes_since(0, 9).unwrap().is_some());
    });
    trips(1, "select", &mut |store| {
        let all = Filter {
            namespace: None,
            context: None,
            tags: Vec::new(),
            created_from: None,
            created_before: None,
        };
        assert_eq!(store.select(&all, 0, 1000).unwrap().entries.len(), 1000);
    });
    trips(1, "read_meta", &mut |store| {
        assert!(store.read_meta("x").unwrap().is_none())
    });
    trips(1, "replace_meta", &mut |store| {
        assert!(!store.replace_meta("x", Some("y"), None).unwrap());
    });
    trips(1, "set_namespace_quota", &mut |store| {
        store.set_namespace_quota("a", Some(1)).unwrap()
    });
    let mut there = true;
    trips(1, "delete_by_id", &mut |store| {
        assert_eq!(store.delete_by_id(1).unwrap(), there);
        there = false;
    });
    let refs = store.iter_lru_ids(1000, None).unwrap();
    let mut halves = refs.chunks(500);
    store.delete_unchanged(halves.next().unwrap()).unwrap();
    let (taken, deleted) = proxy.count(|| store.delete_unchanged(halves.next().unwrap()).unwrap());
    assert_eq!((taken, deleted.len()), (1, 500));
    assert_eq!(proxy.connections(), 1);
}

fn writers_at_one_time_lose_nothing(server: Redis) {
    let rounds = 60;
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let server = &server;
            scope.spawn(move || {
                let mut store = opened(server, "p");
                for n in 0..rounds {
                    put(&mut store, entry("shared", n));
                    let own = (0..10).map(|k| entry("own", thread * 100_000 + n * 10 + k));
                    let own: Vec<Inserted> = store.insert(own.collect()).unwrap();
                    store
                        .update_access(&[Touch {
                            id: own[0].id,
                            hits: 1,
                            last_accessed_at: 9999,
                        }])
                        .unwrap();
                    assert!(store.delete_by_id(own[1].id).unwrap());
                }
            });
        }
    });
    let mut store = opened(&server, "p");
    assert_eq!(store.count(Some("shared")).unwrap(), rounds);
    assert_eq!(store.count(Some("own")).unwrap(), 4 * rounds * 9);
    assert_eq!(store.read_version_counter().unwrap(), 4 * rounds * 3);
    let all = ids(&mut store);
    assert_eq!(all.len() as u64, store.count(None).unwrap());
    assert!(all.is_sorted_by(|a, b| a < b));
    assert!(store.integrity_check().unwrap());
}

fn long_pages_and_deletes_go_in_steps(server: Redis) {
    let mut store = opened(&server, "p");
    for from in 0..21 {
        let batch = (from * 1000..from * 1000 + 1000).map(|n| entry(["a", "b"][n as usize % 2], n));
        store.insert(batch.collect()).unwrap();
    }
    let all: Vec<u64> = (1..=21_000).collect();
    assert_eq!(ids(&mut store), all);
    assert_eq!(store.iter_stamps(5, 20_000).unwrap().ids, all[5..20_005]);
    let page = store.iter_vectors(3, 15_000).unwrap();
    assert_eq!(page.ids, all[3..15_003]);
    assert_eq!(page.vectors.len(), 15_000 * 3);
    assert_eq!(page.vectors[3 * 9_000], 9_003.0);
    let page = store.iter_since(1, 2500).unwrap();
    assert_eq!(
        page.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        all[1..2501]
    );

    let limit = u64::from(store.capabilities().max_delete);
    assert_eq!(limit, 10_000);
    let before = store.read_version_counter().unwrap();
    let oldest = store.iter_lru_ids(10_100, None).unwrap();
    assert_eq!(store.delete_unchanged(&oldest).unwrap(), all[..10_100]);
    assert_eq!(store.read_version_counter().unwrap(), before + 2);
    assert_eq!(store.clear_namespace(Some("a")).unwrap(), 5450);
    assert_eq!(store.read_version_counter().unwrap(), before + 3);
    assert_eq!(store.clear_namespace(None).unwrap(), 5450);
    assert_eq!(store.read_version_counter().unwrap(), before + 4);
    assert_eq!(server.client().dump().len(), 3);
}

fn a_server_that_forgets_the_scripts_is_told_again(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "p");
    for n in 1..4 {
        client.run::<()>(&["SCRIPT", "FLUSH"]);
        assert_eq!(put(&mut store, entry("a", n)), n);
        client.run::<()>(&["SCRIPT", "FLUSH"]);
        assert!(get(&mut store, "a", n).is_some());
    }
    assert_eq!(store.read_version_counter().unwrap(), 3);
}

fn databases_of_a_server_are_apart(server: Redis) {
    let url = format!("{}/3?prefix=p", server.url());
    let mut three = RedisStore::from_url(&url).unwrap();
    three.open(FINGERPRINT, DIM).unwrap();
    put(&mut three, entry("a", 1));
    let mut zero = opened(&server, "p");
    assert_eq!(zero.count(None).unwrap(), 0);
    assert_eq!(server.client().run::<usize>(&["DBSIZE"]), 4);
    let url = format!("{}/99", server.url());
    let outcome = RedisStore::from_url(&url).unwrap().open(FINGERPRINT, DIM);
    assert!(
        matches!(&outcome, Err(StoreError::Backend(error)) if !error.retryable && error.message.contains("DB index")),
        "{outcome:?}"
    );
}
