//! The limits of the Redis store: numbers that are doubles, keys that are made by joining, ids
//! and the order of what was used last.

use mneme::RedisStore;
use mneme::store::{Entry, Store, StoreError, Touch};
use mneme_tests::proxy::Proxy;
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, hash, ids, put};
use mneme_tests::servers::redis::Redis;

mneme_tests::tests![
    entries_used_at_one_time_come_in_order_of_their_ids,
    numbers_are_exact_or_refused,
    prefixes_are_apart,
    ids_are_never_given_twice,
    a_call_that_is_too_large_is_refused,
    pages_of_many_namespaces_take_few_scripts,
];

const GREATEST: u64 = (1 << 53) - 1;

fn opened(server: &Redis, prefix: &str) -> RedisStore {
    let mut store = server.store(prefix);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn entries_used_at_one_time_come_in_order_of_their_ids(server: Redis) {
    let mut store = opened(&server, "p");
    // As text, "10" comes before "2".
    let at = |name: &str, n: u64, time: u64| Entry {
        last_accessed_at: time,
        ..entry(name, n)
    };
    let mut all = Vec::new();
    for n in 0..1200 {
        let name = ["a", "b", "c"][n as usize % 3];
        all.push(at(name, n, [7, 7, 3, 7, GREATEST][n as usize % 5]));
    }
    for part in all.chunks(1000) {
        store.insert(part.to_vec()).unwrap();
    }
    for name in [None, Some("a"), Some("c"), Some("none")] {
        let mut expected: Vec<(u64, u64)> = all
            .iter()
            .zip(1..)
            .filter(|(entry, _)| name.is_none_or(|name| name == entry.namespace))
            .map(|(entry, id)| (entry.last_accessed_at, id))
            .collect();
        expected.sort_unstable();
        let expected: Vec<u64> = expected.into_iter().map(|(_, id)| id).collect();
        for n in [0, 1, 11, 99, 500, 1200, u32::MAX] {
            let found = store.iter_lru_ids(n, name).unwrap();
            let found_ids: Vec<u64> = found.iter().map(|entry| entry.id).collect();
            assert_eq!(
                found_ids,
                expected[..expected.len().min(n as usize)],
                "{n} of {name:?}"
            );
            for entry in found {
                let given = &all[entry.id as usize - 1];
                assert_eq!(
                    (&entry.namespace, entry.created_at),
                    (&given.namespace, given.created_at)
                );
            }
        }
    }
}

fn numbers_are_exact_or_refused(server: Redis) {
    let mut store = opened(&server, "p");
    let greatest = Entry {
        created_at: GREATEST,
        last_accessed_at: GREATEST,
        ttl: Some(GREATEST),
        access_count: GREATEST,
        ..entry("a", 1)
    };
    let id = put(&mut store, greatest.clone());
    assert_eq!(
        get(&mut store, "a", 1),
        Some(Entry {
            id,
            ..greatest.clone()
        })
    );
    assert_eq!(store.iter_stamps(0, 9).unwrap().created_at, [GREATEST]);
    assert_eq!(store.iter_vectors(0, 9).unwrap().created_at, [GREATEST]);
    assert_eq!(store.iter_lru_ids(9, None).unwrap()[0].created_at, GREATEST);
    // A count that cannot grow stays.
    store
        .update_access(&[Touch {
            id,
            hits: 9,
            last_accessed_at: 1,
        }])
        .unwrap();
    assert_eq!(
        get(&mut store, "a", 1),
        Some(Entry {
            id,
            ..greatest.clone()
        })
    );

    let too_great = [
        Entry {
            created_at: GREATEST + 1,
            ..entry("a", 2)
        },
        Entry {
            last_accessed_at: u64::MAX,
            ..entry("a", 2)
        },
        Entry {
            ttl: Some(1 << 53),
            ..entry("a", 2)
        },
        Entry {
            access_count: 1 << 63,
            ..entry("a", 2)
        },
        Entry {
            query_hash: "a:b".into(),
            ..entry("a", 2)
        },
    ];
    for wrong in too_great {
        let outcome = store.insert(vec![entry("a", 3), wrong]);
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
    let touch = Touch {
        id,
        hits: 1,
        last_accessed_at: GREATEST + 1,
    };
    let outcome = store.update_access(&[touch]);
    assert!(
        matches!(outcome, Err(StoreError::InvalidArgument(_))),
        "{outcome:?}"
    );
    assert_eq!(
        (
            store.count(None).unwrap(),
            store.read_version_counter().unwrap()
        ),
        (1, 1)
    );
    let outcome = store.set_namespace_quota("a", Some(GREATEST + 1));
    assert!(
        matches!(outcome, Err(StoreError::InvalidArgument(_))),
        "{outcome:?}"
    );
    store.set_namespace_quota("a", Some(GREATEST)).unwrap();
    assert_eq!(store.get_namespace_quota("a").unwrap(), Some(GREATEST));

    // The sum of both is beyond what a double holds.
    let expires = 2 * GREATEST;
    assert!(
        store
            .delete_expired(expires - 1, None, 9)
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.delete_expired(expires, None, 9).unwrap().len(), 1);
    for (created_at, ttl) in [
        (GREATEST, 1),
        (GREATEST, 2),
        (1, GREATEST),
        (GREATEST - 1, 1),
        (5, 0),
    ] {
        let entry = Entry {
            created_at,
            ttl: Some(ttl),
            ..entry("a", 4)
        };
        put(&mut store, entry);
        assert!(
            store
                .delete_expired(created_at + ttl - 1, None, 9)
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            store
                .delete_expired(created_at + ttl, None, 9)
                .unwrap()
                .len(),
            1
        );
    }
    put(&mut store, greatest);
    assert_eq!(store.delete_expired(u64::MAX, None, 9).unwrap().len(), 1);
    assert_eq!(store.count(None).unwrap(), 0);
}

fn prefixes_are_apart(server: Redis) {
    let names = [
        "a",
        "ab",
        "a:b",
        "{a}",
        "a*",
        "a?",
        "a[b]",
        "a\\",
        "\"'",
        "ü\u{1f600}",
        "a\0b",
        " ",
        "\r\n",
        "a|1",
        ":",
    ];
    let mut stores: Vec<RedisStore> = names.iter().map(|name| opened(&server, name)).collect();
    for (n, store) in stores.iter_mut().enumerate() {
        let n = n as u64 + 1;
        for namespace in ["b:x", "", "meta"] {
            put(store, entry(namespace, n));
        }
        store.set_namespace_quota("b:x", Some(n)).unwrap();
        store.set_namespace_quota("\0:*", Some(n)).unwrap();
        assert!(store.replace_meta("k", None, Some(&n.to_string())).unwrap());
    }
    for (n, store) in stores.iter_mut().enumerate() {
        let n = n as u64 + 1;
        assert_eq!(store.count(None).unwrap(), 3);
        assert_eq!(
            store.list_namespaces(None, 1000).unwrap(),
            ["", "b:x", "meta"]
        );
        assert_eq!(
            store.list_namespace_quotas().unwrap(),
            [("\0:*".to_owned(), n), ("b:x".to_owned(), n)]
        );
        assert_eq!(store.read_meta("k").unwrap(), Some(n.to_string()));
        assert_eq!(ids(store), [1, 2, 3]);
        assert_eq!(get(store, "", n).unwrap().query_hash, hash(n));
        assert!(store.integrity_check().unwrap());
    }
    for store in &mut stores {
        assert_eq!(store.clear_namespace(None).unwrap(), 3);
    }
    for refused in ["", "a:entry", "a:quota:x", "a:b:lru"] {
        let outcome = server.store(refused).open(FINGERPRINT, DIM);
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
}

fn ids_are_never_given_twice(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "p");
    assert_eq!(put(&mut store, entry("a", 1)), 1);
    client.run::<()>(&["SET", "p:next_id", "99999999999999"]);
    // 14 digits are what Lua writes by itself.
    assert_eq!(put(&mut store, entry("a", 2)), 100_000_000_000_000);
    assert_eq!(put(&mut store, entry("a", 3)), 100_000_000_000_001);
    for lost in ["0", "100000000000000"] {
        client.run::<()>(&["SET", "p:next_id", lost]);
        assert!(!store.integrity_check().unwrap());
        let next = ids(&mut store).pop().unwrap() + 1;
        assert_eq!(put(&mut store, entry("b", next)), next);
        assert!(store.integrity_check().unwrap());
    }
    client.run::<()>(&["SET", "p:next_id", &(GREATEST - 1).to_string()]);
    let outcome = store.insert(vec![entry("a", 9)]);
    assert!(
        matches!(&outcome, Err(StoreError::Corrupt(text)) if text.contains("p:next_id")),
        "{outcome:?}"
    );
    assert_eq!(store.count(None).unwrap(), 5);
}

fn a_call_that_is_too_large_is_refused(server: Redis) {
    let mut store = opened(&server, "p");
    let large = "r".repeat(270 << 20);
    let batch = (1..3).map(|n| Entry {
        response: large.clone(),
        ..entry("a", n)
    });
    let outcome = store.insert(batch.collect());
    assert!(
        matches!(&outcome, Err(StoreError::InvalidArgument(text)) if text.contains("fewer")),
        "{outcome:?}"
    );
    assert_eq!(store.count(None).unwrap(), 0);
}

/// Up to 16,384 namespaces are counted by one script; of more, it counts those of the page.
fn pages_of_many_namespaces_take_few_scripts(server: Redis) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    let name = |n: u64| format!("n{n:06}");
    let mut filled = 0;
    for many in [16_384, 20_000] {
        while filled < many {
            let end = (filled + 1000).min(many);
            let entries = (filled..end).map(|n| entry(&name(n), n));
            store.insert(entries.collect()).unwrap();
            filled = end;
        }
        let names: Vec<String> = (0..many).map(name).collect();
        let is_many = many > 16_384;
        for (after, limit, trips) in [
            (None, 65_536, if is_many { 3 } else { 1 }),
            (Some(&names[4]), 10, if is_many { 2 } else { 1 }),
            (names.last(), 10, 1),
        ] {
            let first = after.map_or(0, |after| names.partition_point(|name| name <= after));
            let wanted = names[first..].iter().take(limit as usize);
            let after = after.map(String::as_str);
            // The first time, the server does not know the script.
            store.list_namespaces(after, limit).unwrap();
            let (taken, counts) = proxy.count(|| store.count_by_namespace(after, limit).unwrap());
            assert_eq!(taken, trips, "{many}, {limit} after {after:?}");
            assert!(counts.iter().all(|(_, count)| *count == 1));
            assert!(counts.iter().map(|(name, _)| name).eq(wanted));
        }
    }
    // A namespace that went is in no page, and leaves no gap in one.
    assert_eq!(store.clear_namespace(Some(&name(7))).unwrap(), 1);
    let after = store.list_namespaces(Some(&name(5)), 2).unwrap();
    assert_eq!(after, [name(6), name(8)]);
}
