//! The Redis store in a Redis Cluster.

use super::outcomes::fails;
use super::production::{grant, rights, works};
use mneme::RedisStore;
use mneme::store::{BackendError, Result, Store, StoreError};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, put};
use mneme_tests::servers::redis::Redis;
use mneme_tests::servers::redis::cluster::Cluster;
use mneme_tests::unless_it_hangs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

mneme_tests::tests![
    any_node_leads_to_the_data,
    a_slot_that_moves_is_followed_when_it_has_moved,
    a_killed_master_is_replaced_and_half_a_cluster_waits,
    a_server_without_cluster_mode_is_told,
    nodes_that_send_in_a_circle_are_left,
];

fn open(store: &mut RedisStore) -> Result<()> {
    store.open(FINGERPRINT, DIM)
}

fn any_node_leads_to_the_data(cluster: Cluster) {
    unless_it_hangs(move || {
        let owner = cluster.owner("{p}");
        // Replicas too.
        for node in 0..cluster.nodes.len() {
            works(&mut cluster.store(&[node], "p")).unwrap();
        }
        let mut store = cluster.store(&[0, 5], "p");
        open(&mut store).unwrap();
        put(&mut store, entry("{x}", 1));
        // A prefix with a tag is the same cache.
        let mut same = cluster.store(&[3], "{p}");
        open(&mut same).unwrap();
        assert!(get(&mut same, "{x}", 1).is_some());
        let keys: Vec<String> = cluster.nodes[owner].client().run(&["KEYS", "*"]);
        assert!(keys.contains(&"{p}:meta".to_owned()), "{keys:?}");
        assert!(keys.iter().all(|key| key.starts_with("{p}:")), "{keys:?}");

        // The other forms of URL say which one is right.
        let other = (0..6).find(|node| *node != owner).unwrap();
        for prefix in ["p", "{p}"] {
            for node in [owner, other] {
                let outcome = open(&mut cluster.nodes[node].store(prefix));
                if (prefix, node) == ("{p}", owner) {
                    outcome.unwrap();
                } else {
                    fails(outcome, "redis+cluster://", false);
                }
            }
        }
        assert_eq!(same.clear_namespace(None).unwrap(), 1);
        // The documented rights, with those for clusters, on each node.
        let rules = rights("{p}");
        let mut rules: Vec<&str> = rules.iter().map(|rule| &**rule).collect();
        rules.extend(["+readwrite", "+asking"]);
        let url = cluster.url(&[0, 1, 2]).replace("//", "//some:secret@");
        for node in &cluster.nodes {
            grant(&mut node.client(), &rules);
        }
        works(&mut RedisStore::from_url(&url).unwrap().prefix("p")).unwrap();
        for node in &cluster.nodes {
            grant(&mut node.client(), &["-readwrite"]);
        }
        let refused = RedisStore::from_url(&url)
            .unwrap()
            .prefix("p")
            .open(FINGERPRINT, DIM);
        fails(refused, "the command READWRITE", false);
        let wrong = url.replace("secret", "wrong");
        fails(
            RedisStore::from_url(&wrong).unwrap().open(FINGERPRINT, DIM),
            "right user and password",
            false,
        );
    });
}

fn a_slot_that_moves_is_followed_when_it_has_moved(cluster: Cluster) {
    unless_it_hangs(move || {
        let from = cluster.owner("{p}");
        let to = (0..6).find(|&node| {
            let role: String = cluster.nodes[node].client().run(&["INFO", "replication"]);
            node != from && role.contains("role:master")
        });
        let to = to.unwrap();
        let (mut source, mut target) = (cluster.nodes[from].client(), cluster.nodes[to].client());
        let slot = source
            .run::<u64>(&["CLUSTER", "KEYSLOT", "{p}"])
            .to_string();
        let id = |client: &mut mneme_tests::servers::redis::Client| {
            client.run::<String>(&["CLUSTER", "MYID"])
        };
        let (source_id, target_id) = (id(&mut source), id(&mut target));

        let mut store = cluster.store(&[to], "p");
        open(&mut store).unwrap();
        store
            .insert((1..=30).map(|n| entry("a", n)).collect())
            .unwrap();
        store.write_blob("x", vec![7]).unwrap();
        store.set_namespace_quota("a", Some(99)).unwrap();
        let before = source.dump();
        target.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source_id]);
        source.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &target_id]);
        let refuses = |store: &mut RedisStore| {
            for outcome in [
                store.insert(vec![entry("a", 31)]).map(drop),
                store.delete_by_id(1).map(drop),
                store.get_by_ids(&[1, 2], true).map(drop),
                store.count(None).map(drop),
                store.list_namespace_quotas().map(drop),
                store.clear_namespace(None).map(drop),
            ] {
                fails(outcome, "so call again", true);
            }
            // A single key is where it is.
            assert_eq!(store.read_blob("x").unwrap(), Some(vec![7]));
            assert_eq!(store.get_namespace_quota("a").unwrap(), Some(99));
            assert_eq!(store.get_namespace_quota("b").unwrap(), None);
        };
        refuses(&mut store);
        assert_eq!(source.dump(), before);
        // Key by key, those that every script begins with among the first.
        let mut keys: Vec<String> = source.run(&["KEYS", "{p}:*"]);
        keys.sort();
        let host = ["127.0.0.1".to_owned(), cluster.nodes[to].port().to_string()];
        for (n, key) in keys.iter().enumerate() {
            source.run::<()>(&["MIGRATE", &host[0], &host[1], key, "0", "5000"]);
            if n % 20 == 0 || key.ends_with(":blobs") || key.ends_with(":by_id") {
                refuses(&mut store);
            }
        }
        refuses(&mut store);
        for client in [&mut target, &mut source] {
            client.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &target_id]);
        }
        // The connection is to the source still.
        assert_eq!(store.count(None).unwrap(), 30);
        put(&mut store, entry("a", 31));
        assert_eq!(
            store.list_namespace_quotas().unwrap(),
            [("a".to_owned(), 99)]
        );
        assert!(store.integrity_check().unwrap());
        assert_eq!(source.run::<u64>(&["DBSIZE"]), 0);
        // What was there is as it was, but for the write and the counters.
        let after = target.dump();
        for (key, value) in &before {
            let counts = ["version", "next_id", "by_id", "lru:a"];
            if !counts.iter().any(|name| key.ends_with(name)) {
                assert_eq!(after.get(key), Some(value), "{key}");
            }
        }
    });
}

fn a_killed_master_is_replaced_and_half_a_cluster_waits(mut cluster: Cluster) {
    unless_it_hangs(move || {
        let all = [0, 1, 2, 3, 4, 5];
        let mut store = RedisStore::from_url(&cluster.url(&all))
            .unwrap()
            .prefix("p")
            .connect_timeout(Duration::from_secs(2))
            .call_timeout(Duration::from_secs(2));
        open(&mut store).unwrap();
        let owner = cluster.owner("{p}");
        let replica = cluster.replica_of(owner);
        for n in 1..=20 {
            put(&mut store, entry("a", n));
        }
        // Of what was answered Redis may lose what no replica has, so wait for that.
        cluster.nodes[replica].catch_up(&cluster.nodes[owner]);
        cluster.nodes[owner].kill();
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut failed = 0;
        loop {
            let start = Instant::now();
            match store.insert(vec![entry("a", 21)]) {
                Ok(_) => break,
                Err(StoreError::Backend(BackendError {
                    retryable: true, ..
                })) => failed += 1,
                Err(error) => panic!("{error:?}"),
            }
            assert!(
                start.elapsed() < Duration::from_secs(5),
                "{:?}",
                start.elapsed()
            );
            if let Ok(found) = store.get_by_ids(&[1], true) {
                assert_eq!(found[0].response, "response 1");
            }
            assert!(Instant::now() < deadline, "there is no new master");
        }
        assert!(failed > 0);
        assert_eq!(cluster.owner("{p}"), replica);
        for n in 1..=21 {
            assert_eq!(get(&mut store, "a", n).unwrap().query, format!("query {n}"));
        }
        assert!(store.integrity_check().unwrap());
        assert_eq!(store.changes_since(20, 99).unwrap(), None, "all compare");

        // Without most of its nodes no node answers.
        for node in all {
            if node != replica && cluster.nodes[node].is_running() {
                cluster.nodes[node].kill();
            }
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.count(None).is_ok() {
            assert!(Instant::now() < deadline, "the node goes on alone");
        }
        fails(
            store.insert(vec![entry("a", 22)]),
            "cluster lacks nodes",
            true,
        );
        let start = Instant::now();
        fails(open(&mut store), "cluster lacks nodes", true);
        assert!(start.elapsed() < Duration::from_secs(5));
        cluster.nodes[replica].kill();
        fails(open(&mut store), "no connection to 127.0.0.1:", true);
    });
}

fn a_server_without_cluster_mode_is_told(server: Redis) {
    let url = format!("redis+cluster://127.0.0.1:{}?prefix=p", server.port());
    let mut store = RedisStore::from_url(&url).unwrap();
    fails(
        open(&mut store),
        "is no node of a cluster; write redis://",
        false,
    );
    let refused = RedisStore::from_url(&url)
        .unwrap()
        .prefix("}")
        .open(FINGERPRINT, DIM);
    assert!(
        matches!(refused, Err(StoreError::InvalidArgument(_))),
        "{refused:?}"
    );
    assert_eq!(server.client().run::<u64>(&["DBSIZE"]), 0);
}

/// A node that knows nothing but where all keys are: at `to`, or at this one.
fn fake(to: Option<u16>, has_by_id: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut request = [0; 65_536];
            while let Ok(length @ 1..) = client.read(&mut request) {
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                let answer = match &text {
                    text if text.contains("PING") || text.contains("READWRITE") => "+OK\r\n".into(),
                    text if text.contains("EXISTS") && has_by_id && !text.contains("EVAL") => {
                        ":1\r\n".into()
                    }
                    _ => format!("-MOVED 1 127.0.0.1:{}\r\n", to.unwrap_or(own)),
                };
                // The other side may have gone.
                let _ = client.write_all(answer.as_bytes());
            }
        }
    });
    own
}

fn nodes_that_send_in_a_circle_are_left() {
    unless_it_hangs(|| {
        let itself = fake(None, false);
        let circle = fake(Some(itself), false);
        let says_both = fake(None, true);
        for port in [itself, circle, says_both] {
            let url = format!("redis+cluster://127.0.0.1:{port}");
            let start = Instant::now();
            fails(
                RedisStore::from_url(&url).unwrap().open(FINGERPRINT, DIM),
                "from one to the other",
                true,
            );
            assert!(start.elapsed() < Duration::from_secs(15));
        }
        // Nodes that accept and say nothing.
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = silent.local_addr().unwrap().port();
        let url = format!(
            "redis+cluster://127.0.0.1:{port},127.0.0.1:{port},127.0.0.1:{port}?connect_timeout_ms=600"
        );
        let start = Instant::now();
        fails(
            RedisStore::from_url(&url).unwrap().open(FINGERPRINT, DIM),
            "within the connect timeout",
            true,
        );
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );
    });
}
