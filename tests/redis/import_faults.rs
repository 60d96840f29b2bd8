//! Imports into the Redis store when the server, or what is between, fails.

use super::outcomes::fails;
use mneme::RedisStore;
use mneme::store::{Entry, ImportMode, MetaChange, Result, Store, StoreError};
use mneme_tests::proxy::{Fault, Proxy};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, ids};
use mneme_tests::servers::redis::{Client, Redis};
use mneme_tests::suite::Ran;
use mneme_tests::unless_it_hangs;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mneme_tests::tests![
    a_lost_connection_ends_the_import_and_changes_nothing,
    a_commit_without_an_answer_is_unknown,
    a_server_that_is_silent_is_waited_for_no_longer_than_was_said,
    a_killed_server_has_all_or_nothing,
    a_server_that_is_killed_during_a_commit_has_all_or_nothing,
    what_was_staged_and_is_gone_is_missed,
    a_full_memory_stores_nothing_of_an_import,
    damage_stops_a_commit_before_it_begins,
    in_a_cluster_all_of_an_import_is_on_one_node,
];

fn change() -> [MetaChange; 1] {
    [MetaChange {
        key: "k".into(),
        expected: Some("old".into()),
        value: "new".into(),
    }]
}

fn quotas() -> [(String, u64); 1] {
    [("a".to_owned(), 1)]
}

fn commit(store: &mut RedisStore) -> Result<bool> {
    store.commit_import(&quotas(), &change())
}

fn batch(from: u64) -> Vec<Entry> {
    (from..from + 100).map(|n| entry("b", n)).collect()
}

/// A store through a proxy that holds entries, and whose server knows the scripts of imports.
fn behind(server: &Redis, more: &str) -> (Proxy, RedisStore) {
    let proxy = Proxy::start(server.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}?prefix=p{more}", proxy.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    store.open(FINGERPRINT, DIM).unwrap();
    store.insert(vec![entry("a", 1), entry("b", 50)]).unwrap();
    assert!(store.replace_meta("k", None, Some("old")).unwrap());
    store.set_namespace_quota("z", Some(9)).unwrap();
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(vec![entry("b", 50)]).unwrap();
    assert!(store.commit_import(&[], &[]).unwrap());
    store.end_import().unwrap();
    (proxy, store)
}

fn begin(store: &mut RedisStore) {
    store.begin_import(ImportMode::Replace).unwrap();
    store.write_import(batch(0)).unwrap();
}

/// All keys but those of imports.
fn data(client: &mut Client) -> BTreeMap<String, String> {
    let all = client.dump().into_iter();
    all.filter(|(key, _)| !key.starts_with("p:import:"))
        .collect()
}

fn staged(client: &mut Client) -> usize {
    client.run::<Vec<String>>(&["KEYS", "p:import:*"]).len()
}

/// That all keys of imports expire.
fn expire(client: &mut Client) {
    for key in client.run::<Vec<String>>(&["KEYS", "p:import:*"]) {
        assert!(client.run::<i64>(&["TTL", &key]) > 0, "{key}");
    }
}

fn is_over(store: &mut RedisStore) {
    for outcome in [store.write_import(batch(0)), commit(store).map(drop)] {
        assert!(
            matches!(outcome, Err(StoreError::InvalidArgument(_))),
            "{outcome:?}"
        );
    }
}

fn a_lost_connection_ends_the_import_and_changes_nothing(server: Redis) {
    unless_it_hangs(move || {
        let mut client = server.client();
        let (proxy, mut store) = behind(&server, "");
        let before = client.dump();
        for fault in [
            Fault::CutRequest(10),
            Fault::CutRequest(9000),
            Fault::CutReply(0),
            Fault::CutReply(5),
        ] {
            begin(&mut store);
            proxy.set(fault);
            let outcome = store.write_import(batch(100));
            assert!(!proxy.is_armed());
            if outcome.is_ok() {
                // It was noticed before all was sent, and sent once more.
                assert!(matches!(fault, Fault::CutRequest(_)));
            } else {
                fails(outcome, "call again", true);
                is_over(&mut store);
            }
            assert_eq!(data(&mut client), before);
            expire(&mut client);
            store.end_import().unwrap();
            assert_eq!(client.dump(), before);
        }
        // The next one is not disturbed.
        begin(&mut store);
        assert!(commit(&mut store).unwrap());
        assert_eq!(store.count(None).unwrap(), 100);
        assert_eq!(staged(&mut client), 0);
    });
}

fn a_commit_without_an_answer_is_unknown(server: Redis) {
    unless_it_hangs(move || {
        let mut client = server.client();
        let (proxy, mut store) = behind(&server, "");
        let before = client.dump();
        // The request never arrives as a whole.
        begin(&mut store);
        proxy.set(Fault::CutRequest(50));
        let outcome = commit(&mut store);
        let done = outcome.is_ok();
        if !done {
            assert!(matches!(outcome, Err(StoreError::Backend(_))));
            assert_eq!(data(&mut client), before);
            is_over(&mut store);
            store.end_import().unwrap();
            assert_eq!(client.dump(), before);
        }
        // It is done, and nobody hears of it.
        let version = store.read_version_counter().unwrap();
        store.begin_import(ImportMode::Replace).unwrap();
        store.write_import(batch(300)).unwrap();
        proxy.set(Fault::CutReply(0));
        fails(store.commit_import(&[], &[]), "unknown whether", false);
        is_over(&mut store);
        store.end_import().unwrap();
        assert_eq!(store.count(None).unwrap(), 100);
        assert!(get(&mut store, "b", 399).is_some());
        assert_eq!(store.read_version_counter().unwrap(), version + 1);
        assert_eq!(staged(&mut client), 0);
        assert!(store.integrity_check().unwrap());
    });
}

fn a_server_that_is_silent_is_waited_for_no_longer_than_was_said(server: Redis) {
    unless_it_hangs(move || {
        let (proxy, mut store) = behind(&server, "&call_timeout_ms=300&connect_timeout_ms=300");
        begin(&mut store);
        proxy.set(Fault::Stall);
        // 100 entries; a commit may take longer for each.
        fails(store.commit_import(&[], &[]), "within 320 ms", false);
        fails(store.end_import(), "calls fail at once", true);
        proxy.set(Fault::None);
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.end_import().is_err() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        is_over(&mut store);
        assert_eq!(store.read_version_counter().unwrap(), 3);
        proxy.set(Fault::Stall);
        fails(store.count(None), "within 300 ms", true);
        proxy.set(Fault::None);
    });
}

fn a_killed_server_has_all_or_nothing(mut server: Redis) {
    unless_it_hangs(move || {
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        store.insert(batch(0)).unwrap();
        let before = server.client().dump();
        begin(&mut store);
        server.kill();
        assert!(matches!(commit(&mut store), Err(StoreError::Backend(_))));
        is_over(&mut store);
        server.restart().unwrap();
        let mut client = server.client();
        assert_eq!(data(&mut client), before);
        expire(&mut client);
        store.end_import().unwrap();
        assert_eq!(client.dump(), before);
        // What was staged survives a restart as the data does.
        store.begin_import(ImportMode::Replace).unwrap();
        store.write_import(batch(200)).unwrap();
        server.restart().unwrap();
        // A write may find the old connection.
        while let Err(error) = store.write_import(batch(300)) {
            assert!(matches!(error, StoreError::Backend(_)), "{error:?}");
            store.begin_import(ImportMode::Replace).unwrap();
            store.write_import(batch(200)).unwrap();
        }
        assert!(store.commit_import(&[], &[]).unwrap());
        server.restart().unwrap();
        assert_eq!(ids(&mut store), (101..=300).collect::<Vec<_>>());
        assert_eq!(staged(&mut server.client()), 0);
    });
}

fn a_server_that_is_killed_during_a_commit_has_all_or_nothing(mut server: Redis) {
    unless_it_hangs(move || {
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        let all =
            |namespace: &str| -> Vec<Entry> { (0..1000).map(|n| entry(namespace, n)).collect() };
        store.insert(all("old")).unwrap();
        for answers in 0..8 {
            let old = store.list_namespaces(None, 1000).unwrap();
            let new = format!("new {answers}");
            store.begin_import(ImportMode::Replace).unwrap();
            store.write_import(all(&new)).unwrap();
            store.write_import(all("rest")).unwrap();
            let mut client = server.client();
            let before = data(&mut client);
            let outcome = std::thread::scope(|scope| {
                let commit = scope.spawn(|| store.commit_import(&[], &[]));
                for _ in 0..answers * 3 {
                    client.run::<()>(&["PING"]);
                }
                server.kill();
                commit.join().unwrap()
            });
            server.restart().unwrap();
            let found = store.list_namespaces(None, 1000).unwrap();
            if found == old {
                assert!(outcome.is_err());
                assert_eq!(data(&mut server.client()), before);
            } else {
                assert_eq!(found, [new, "rest".to_owned()]);
                assert_eq!(store.count(None).unwrap(), 2000);
                assert_eq!(staged(&mut server.client()), 0);
            }
            assert!(store.integrity_check().unwrap());
            store.end_import().unwrap();
            assert_eq!(staged(&mut server.client()), 0);
        }
    });
}

fn what_was_staged_and_is_gone_is_missed(server: Redis) {
    let mut client = server.client();
    let (_proxy, mut store) = behind(&server, "");
    let before = client.dump();
    let losses: [fn(&str) -> bool; 3] = [
        |key| key.ends_with(":7"),
        |key| key.ends_with(":known"),
        |_| true,
    ];
    for lost in losses {
        for writes in [false, true] {
            begin(&mut store);
            for key in client.run::<Vec<String>>(&["KEYS", "p:import:*"]) {
                if lost(&key) {
                    client.run::<()>(&["PEXPIRE", &key, "0"]);
                }
            }
            let mut outcome = Ok(());
            if writes {
                outcome = store.write_import(batch(100));
            }
            if outcome.is_ok() {
                outcome = commit(&mut store).map(drop);
            }
            fails(outcome, "begin the import again", false);
            is_over(&mut store);
            assert_eq!(client.dump(), before);
        }
    }
}

fn a_full_memory_stores_nothing_of_an_import(server: Redis) {
    let mut client = server.client();
    let (_proxy, mut store) = behind(&server, "");
    let before = client.dump();
    let limit = |client: &mut Client, limit: &str| {
        client.run::<()>(&["CONFIG", "SET", "maxmemory", limit]);
    };
    for mode in [ImportMode::Merge, ImportMode::Replace] {
        store.begin_import(mode).unwrap();
        store.write_import(batch(0)).unwrap();
        limit(&mut client, "100kb");
        fails(commit(&mut store), "nothing was stored", false);
        is_over(&mut store);
        assert_eq!(client.dump(), before);
        fails(store.begin_import(mode), "maxmemory", false);
        limit(&mut client, "0");
        begin(&mut store);
        limit(&mut client, "100kb");
        fails(store.write_import(batch(100)), "nothing was stored", false);
        is_over(&mut store);
        assert_eq!(client.dump(), before);
        limit(&mut client, "0");
    }
}

fn damage_stops_a_commit_before_it_begins(server: Redis) {
    let mut client = server.client();
    let (_proxy, mut store) = behind(&server, "");
    let hash_key = format!("p:hash:b:{:064x}", 3);
    for key in [
        "p:lru:b",
        "p:version",
        "p:next_id",
        "p:by_ttl",
        "p:expiring",
        "p:namespaces",
        "p:meta",
        &hash_key,
    ] {
        client.run::<()>(&["COPY", key, "kept"]);
        client.run::<()>(&["DEL", key]);
        client.run::<()>(&["RPUSH", key, "x"]);
        let before = data(&mut client);
        let outcome = (|| {
            store.begin_import(ImportMode::Merge)?;
            store.write_import(batch(0))?;
            commit(&mut store)
        })();
        assert!(
            matches!(&outcome, Err(StoreError::Corrupt(text)) if text.contains(key)),
            "{key}: {outcome:?}"
        );
        assert_eq!(data(&mut client), before, "{key}");
        assert_eq!(staged(&mut client), 0, "{key}");
        client.run::<()>(&["DEL", key]);
        client
            .attempt::<()>(&["RENAME", "kept", key])
            .unwrap_or_default();
    }
    assert!(store.integrity_check().unwrap());
    begin(&mut store);
    assert!(commit(&mut store).unwrap());
}

fn in_a_cluster_all_of_an_import_is_on_one_node() -> Ran {
    let server = Redis::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-require-full-coverage",
        "no",
    ])?;
    let mut client = server.client();
    let slot: u16 = client.run(&["CLUSTER", "KEYSLOT", "{p}"]);
    client.run::<()>(&["CLUSTER", "ADDSLOTS", &slot.to_string()]);
    while !client
        .run::<String>(&["CLUSTER", "INFO"])
        .contains("cluster_state:ok")
    {
        std::thread::yield_now();
    }
    let mut store = server.store("{p}");
    store.open(FINGERPRINT, DIM).unwrap();
    store.set_namespace_quota("old", Some(1)).unwrap();
    for mode in [ImportMode::Empty, ImportMode::Merge, ImportMode::Replace] {
        store.begin_import(mode).unwrap();
        store
            .write_import(vec![entry("a{x}", 1), entry("{y}", 2)])
            .unwrap();
        assert!(store.commit_import(&quotas(), &[]).unwrap());
        assert_eq!(store.count(None).unwrap(), 2);
    }
    assert_eq!(store.list_namespace_quotas().unwrap(), quotas());
    store.begin_import(ImportMode::Merge).unwrap();
    store.write_import(batch(0)).unwrap();
    store.end_import().unwrap();
    assert_eq!(client.run::<Vec<String>>(&["KEYS", "*import*"]), [""; 0]);
    Ok(())
}
