//! Imports into the Redis store: keys, their expiry, and limits, which the battery cannot see.

use mneme::RedisStore;
use mneme::store::{Entry, ImportMode, Result, Store, StoreError};
use mneme_tests::children::{Running, argument, hear, say};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids, put};
use mneme_tests::servers::redis::{Client, Redis};
use std::collections::BTreeMap;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

mneme_tests::tests![
    what_is_staged_has_keys_of_its_own_that_expire,
    a_replacement_leaves_three_keys_and_every_neighbour,
    an_entry_refuses_an_empty_import_until_redis_expires_it,
    a_pair_comes_once_in_an_import,
    what_redis_cannot_hold_ends_the_import,
    what_is_forgotten_leaves_no_key,
    what_others_write_meanwhile_stays,
    times_to_live_begin_with_the_commit,
    many_entries_are_one_step,
    a_killed_process_leaves_nothing_for_long,
];

mneme_tests::children![child_imports,];

const MODES: [ImportMode; 3] = [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace];

fn opened(server: &Redis, prefix: &str) -> RedisStore {
    let mut store = server.store(prefix);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn entries(namespace: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Entry> {
    let numbers = numbers.into_iter();
    numbers.map(|n| entry(namespace, n)).collect()
}

fn quota(namespace: &str, limit: u64) -> (String, u64) {
    (namespace.to_owned(), limit)
}

fn checkpoint<T: std::fmt::Debug>(outcome: Result<T>, part: &str) {
    assert!(
        matches!(&outcome, Err(StoreError::Checkpoint(text)) if text.contains(part)),
        "{outcome:?}"
    );
}

/// The import is over, and nothing is left of it.
fn is_over(store: &mut RedisStore, client: &mut Client, before: &BTreeMap<String, String>) {
    for outcome in [
        store.write_import(Vec::new()),
        store.commit_import(&[], &[]).map(drop),
    ] {
        assert!(
            matches!(&outcome, Err(StoreError::InvalidArgument(text)) if text.contains("begin_import")),
            "{outcome:?}"
        );
    }
    assert_eq!(client.dump(), *before);
}

/// A store with two entries, a quota and a meta value.
fn filled(server: &Redis) -> RedisStore {
    let mut store = opened(server, "p");
    store.insert(vec![entry("a", 1), entry("b", 2)]).unwrap();
    store.set_namespace_quota("b", Some(5)).unwrap();
    assert!(store.replace_meta("k", None, Some("old")).unwrap());
    store
}

fn what_is_staged_has_keys_of_its_own_that_expire(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    let before = client.dump();
    store.begin_import(ImportMode::Merge).unwrap();
    let replaced = Entry {
        response: "new".into(),
        access_count: 7,
        created_at: 5,
        last_accessed_at: 6,
        ..entry("b", 2)
    };
    store.write_import(entries("c|:", [9, 8])).unwrap();
    store
        .write_import(vec![entry("a", 7), replaced.clone()])
        .unwrap();
    store.write_import(Vec::new()).unwrap();

    let staged = client.dump();
    for (key, value) in &staged {
        match before.get(key) {
            Some(old) => assert_eq!(value, old, "{key}"),
            None => {
                assert!(key.starts_with("p:import:"), "{key}");
                let left: i64 = client.run(&["TTL", key]);
                assert!((3000..=3600).contains(&left), "{key} {left}");
            }
        }
    }
    assert_eq!(staged.len(), before.len() + 4 + 1);
    assert!(store.integrity_check().unwrap());
    assert!(store.commit_import(&[], &[]).unwrap());
    let after = client.dump();
    assert!(after.keys().all(|key| !key.contains("import")), "{after:?}");
    is_over(&mut store, &mut client, &after);

    // The keys are those that inserts would have made.
    let mut twin = opened(&server, "q");
    twin.insert(vec![entry("a", 1), entry("b", 2)]).unwrap();
    let rest = [entry("c|:", 9), entry("c|:", 8), entry("a", 7), replaced];
    twin.insert(rest.to_vec()).unwrap();
    for (key, value) in client.dump() {
        let Some(name) = key.strip_prefix("q:") else {
            continue;
        };
        if !["meta", "quotas"].contains(&name) {
            assert_eq!(after[&format!("p:{name}")], value, "{name}");
        }
    }
}

fn a_replacement_leaves_three_keys_and_every_neighbour(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    store.begin_import(ImportMode::Replace).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    let left: Vec<String> = client.dump().into_keys().collect();
    assert_eq!(left, ["p:meta", "p:next_id", "p:version"]);

    // A neighbour whose names a pattern could match.
    let mut near = opened(&server, "p*");
    near.set_namespace_quota("b", Some(1)).unwrap();
    put(&mut near, entry("b", 1));
    for mode in MODES {
        store.begin_import(mode).unwrap();
        store.write_import(vec![entry("b", 1)]).unwrap();
        assert!(store.commit_import(&[quota("z", 2)], &[]).unwrap());
        assert_eq!(near.list_namespace_quotas().unwrap(), [quota("b", 1)]);
        assert_eq!(near.count(None).unwrap(), 1);
    }
}

fn an_entry_refuses_an_empty_import_until_redis_expires_it(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "p");
    let mut other = opened(&server, "p");
    store.begin_import(ImportMode::Empty).unwrap();
    store.write_import(entries("a", 1..=5)).unwrap();
    put(&mut other, entry("b", 1));
    let before = client.dump().into_iter();
    let before = before.filter(|(key, _)| !key.contains("import")).collect();
    checkpoint(store.commit_import(&[], &[]), "has entries");
    is_over(&mut store, &mut client, &before);
    checkpoint(store.begin_import(ImportMode::Empty), "has entries");
    is_over(&mut store, &mut client, &before);

    // An entry that Redis has expired is missing.
    let mortal = Entry {
        ttl: Some(10),
        ..entry("b", 1)
    };
    assert_eq!(put(&mut other, mortal), 1);
    client.run::<()>(&["DEL", "p:entry:1"]);
    store.begin_import(ImportMode::Empty).unwrap();
    store.write_import(entries("b", [1])).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(
        get(&mut store, "b", 1).unwrap(),
        Entry {
            id: 2,
            ..entry("b", 1)
        }
    );
    assert_eq!((ids(&mut store), store.count(None).unwrap()), (vec![2], 1));
    assert!(store.integrity_check().unwrap());
}

fn a_pair_comes_once_in_an_import(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    let before = client.dump();
    let batches: [&[&[Entry]]; 2] = [
        &[&[entry("a", 1), entry("a", 2), entry("b", 1), entry("a", 2)]],
        &[
            &[entry("a", 1), entry("a", 2)],
            &[entry("b", 2), entry("a", 1)],
        ],
    ];
    for batches in batches {
        store.begin_import(ImportMode::Merge).unwrap();
        let (last, first) = batches.split_last().unwrap();
        for batch in first {
            store.write_import(batch.to_vec()).unwrap();
        }
        let twice = last.last().unwrap();
        checkpoint(store.write_import(last.to_vec()), &twice.query_hash);
        is_over(&mut store, &mut client, &before);
    }
}

fn what_redis_cannot_hold_ends_the_import(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    let before = client.dump();
    let wrong: [Vec<Entry>; 2] = [
        vec![Entry {
            query_hash: "a:b".into(),
            ..entry("a", 9)
        }],
        vec![Entry {
            ttl: Some(1 << 53),
            ..entry("a", 9)
        }],
    ];
    for wrong in wrong {
        store.begin_import(ImportMode::Replace).unwrap();
        store.write_import(entries("a", [5])).unwrap();
        let outcome = store.write_import(wrong);
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
        is_over(&mut store, &mut client, &before);
    }
}

fn what_is_forgotten_leaves_no_key(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    let before = client.dump();
    is_over(&mut store, &mut client, &before);
    store.end_import().unwrap();
    let ways: [fn(&mut RedisStore); 3] = [
        |store| store.end_import().unwrap(),
        |store| {
            store.close().unwrap();
            store.open(FINGERPRINT, DIM).unwrap();
        },
        |store| store.open(FINGERPRINT, DIM).unwrap(),
    ];
    for end in ways {
        store.begin_import(ImportMode::Merge).unwrap();
        store.write_import(entries("a", 1..=900)).unwrap();
        end(&mut store);
        is_over(&mut store, &mut client, &before);
    }
    assert_eq!(client.run::<Vec<String>>(&["KEYS", "*import*"]), [""; 0]);
}

fn what_others_write_meanwhile_stays(server: Redis) {
    let mut store = opened(&server, "p");
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u64)
            .map(|thread| {
                let server = &server;
                scope.spawn(move || {
                    let mut store = opened(server, "p");
                    for n in 0..150 {
                        put(&mut store, entry("both", n));
                        put(&mut store, entry("own", thread * 1000 + n));
                    }
                })
            })
            .collect();
        let mut imports = 0;
        while imports < 3 || writers.iter().any(|writer| !writer.is_finished()) {
            store.begin_import(ImportMode::Merge).unwrap();
            store.write_import(entries("both", 100..400)).unwrap();
            store.write_import(entries("imported", 0..100)).unwrap();
            assert!(store.commit_import(&[], &[]).unwrap());
            imports += 1;
        }
        let version = store.read_version_counter().unwrap();
        assert!(version <= imports + 3 * 300);
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(store.read_version_counter().unwrap(), imports + 3 * 300);
    });
    assert_eq!(store.count(Some("own")).unwrap(), 450);
    assert_eq!(store.count(Some("both")).unwrap(), 400);
    assert_eq!(store.count(Some("imported")).unwrap(), 100);
    assert!(ids(&mut store).is_sorted_by(|a, b| a < b));
    assert_eq!(ids(&mut store).len(), 950);
    assert!(store.integrity_check().unwrap());
}

fn times_to_live_begin_with_the_commit(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "p");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let with = |n, created_at, ttl| Entry {
        created_at,
        ttl,
        ..entry("a", n)
    };
    // One that had a ttl, and one that gets one.
    store
        .insert(vec![with(1, now, Some(5000)), entry("a", 2)])
        .unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    let given = vec![
        with(1, now, None),
        with(2, now, Some(7000)),
        with(3, now, Some(9_000_000)),
        with(4, 1000, Some(10)),
        with(5, 1000, None),
        with(6, now, Some((1 << 53) - 2)),
    ];
    store.write_import(given.clone()).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    let at = |offset: u64| i64::try_from(now + offset).unwrap();
    // The fourth is over already, and stays until it is deleted, as after an insert.
    for (id, expected) in (1..).zip([-1, at(7000), at(9_000_000), -1, -1, -1]) {
        let time: i64 = client.run(&["EXPIRETIME", &format!("p:entry:{id}")]);
        assert_eq!(time, expected, "{id}");
        assert_eq!(
            get(&mut store, "a", id).unwrap(),
            Entry {
                id,
                ..given[id as usize - 1].clone()
            }
        );
    }
    let twin: Vec<Entry> = given.into_iter().collect();
    let mut other = opened(&server, "q");
    other.insert(twin).unwrap();
    let all = client.dump();
    for name in ["by_ttl", "expiring", "by_id", "lru:a", "namespaces"] {
        assert_eq!(
            all[&format!("p:{name}")],
            all[&format!("q:{name}")],
            "{name}"
        );
    }
    let expired = store.delete_expired(now, None, 9).unwrap();
    assert_eq!(
        expired.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        [4]
    );

    // What Redis has expired comes back as another entry.
    client.run::<()>(&["PEXPIRE", "p:entry:2", "0"]);
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(entries("a", [2])).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(get(&mut store, "a", 2).unwrap().id, 7);
    assert_eq!(ids(&mut store), [1, 3, 5, 6, 7]);
    assert_eq!(store.count(Some("a")).unwrap(), 5);
    let record: Option<String> = client.run(&["HGET", "p:expiring", "2"]);
    assert_eq!(record, None);
}

fn many_entries_are_one_step(server: Redis) {
    let mut client = server.client();
    let mut store = opened(&server, "p");
    for (mode, first) in [
        (ImportMode::Empty, 1),
        (ImportMode::Replace, 20_002),
        (ImportMode::Merge, 20_002),
    ] {
        store.begin_import(mode).unwrap();
        for from in (0..20_000).step_by(1000) {
            let batch = (from..from + 1000).map(|n| entry(["a", "b"][n as usize % 2], n));
            store.write_import(batch.collect()).unwrap();
        }
        // All are renewed in time.
        let age = "local keys = redis.call('KEYS', 'p:import:*')
            for _, key in ipairs(keys) do redis.call('EXPIRE', key, 2000) end
            return #keys";
        assert_eq!(client.run::<u64>(&["EVAL", age, "0"]), 20_001);
        store.write_import(vec![entry("last", 1)]).unwrap();
        let least = "local least = 9999
            for _, key in ipairs(redis.call('KEYS', 'p:import:*')) do
                least = math.min(least, redis.call('TTL', key))
            end
            return least";
        assert!(client.run::<i64>(&["EVAL", least, "0"]) > 3000);
        let version = store.read_version_counter().unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        assert_eq!(store.read_version_counter().unwrap(), version + 1);
        assert_eq!(ids(&mut store), (first..first + 20_001).collect::<Vec<_>>());
        assert_eq!(store.count(Some("b")).unwrap(), 10_000);
        assert_eq!(get(&mut store, "b", 19_999).unwrap().id, first + 19_999);
        assert!(store.integrity_check().unwrap());
        assert_eq!(client.run::<usize>(&["DBSIZE"]), 20_001 * 2 + 4 + 3 + 2);
    }
    // A long one is forgotten too.
    store.begin_import(ImportMode::Replace).unwrap();
    for from in (0..20_000).step_by(1000) {
        store.write_import(entries("c", from..from + 1000)).unwrap();
    }
    store.end_import().unwrap();
    assert_eq!(client.run::<Vec<String>>(&["KEYS", "*import*"]), [""; 0]);
}

fn a_killed_process_leaves_nothing_for_long(server: Redis) {
    let mut client = server.client();
    let mut store = filled(&server);
    let before = client.dump();
    let mut child = Running::named("child_imports", &[("URL", &server.url())]);
    assert_eq!(child.line().as_deref(), Some("written"));
    child.kill();
    let left = client.dump();
    assert_eq!(left.len(), before.len() + 300 + 1);
    for key in left.keys().filter(|key| !before.contains_key(*key)) {
        assert!(key.starts_with("p:import:"), "{key}");
        assert!(client.run::<i64>(&["TTL", key]) > 0, "{key}");
    }
    assert!(store.integrity_check().unwrap());
    // It does not disturb the next one, nor a clearing.
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(entries("a", 1..=300)).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    assert_eq!(store.count(None).unwrap(), 301);
    assert_eq!(store.clear_namespace(None).unwrap(), 301);
}

fn child_imports() {
    let url = argument("URL");
    let mut store = RedisStore::from_url(&url).unwrap().prefix("p");
    store.open(FINGERPRINT, DIM).unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(entries("a", 1..=300)).unwrap();
    say("written");
    hear();
    panic!("it was not killed");
}
