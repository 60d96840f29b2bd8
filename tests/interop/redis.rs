//! What both libraries write to Redis, key by key.

use crate::place::{ODD, ask, put};
use mneme::store::{Entry, Filter, Store};
use mneme::{Builder, PutRequest, Ttl};
use mneme_tests::embedders::{By, DIM, FINGERPRINT, Words, axis};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::servers::redis::Redis;
use mneme_tests::unless_it_hangs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

mneme_tests::tests![
    both_write_the_same_keys_and_values,
    what_both_delete_leaves_three_keys,
    what_expires_is_gone_for_both,
    what_the_peer_replaces_keeps_its_context_and_tags,
];

fn theirs(python: Python, server: &Redis, prefix: &str, more: Value) -> Peer {
    let place = json!(["redis", {"url": server.url(), "key_prefix": prefix}]);
    Peer::open(python, &place, more)
}

fn ours(server: &Redis, prefix: &str) -> Builder {
    mneme_tests::builder()
        .store(server.store(prefix))
        .embedder(Words)
        .touches(1, 0)
}

fn with_peer(python: Python, server: Redis, test: impl FnOnce(Python, Redis) + Send + 'static) {
    unless_it_hangs(move || test(python, server));
}

/// What is under a prefix, with the prefix taken off.
fn under(server: &Redis, prefix: &str) -> BTreeMap<String, String> {
    let all = server.client().dump().into_iter();
    all.filter_map(|(key, value)| {
        let name = key.strip_prefix(prefix)?.strip_prefix(':')?.to_owned();
        Some((name, value))
    })
    .collect()
}

fn both_write_the_same_keys_and_values(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let quotas = json!({"namespace_quotas": {"a:b|c": 5}});
        let mut peer = theirs(python, &server, "theirs", quotas);
        // Exactly of unit length, as the two round otherwise.
        let cache = ours(&server, "ours")
            .embedder(By(|texts: &[&str]| Ok(vec![axis(1); texts.len()])))
            .namespace_quota("a:b|c", 5)
            .open()
            .unwrap();
        for namespace in ODD {
            peer.put(
                namespace,
                "one two",
                "first\0",
                json!({"embedding": axis(1)}),
            );
            put(&cache, namespace, "one two", "first\0");
            peer.put(
                namespace,
                "ttl",
                "t",
                json!({"ttl": 100_000, "embedding": axis(1)}),
            );
            let request = PutRequest::new("ttl", "t").namespace(namespace);
            cache.put(request.ttl(Ttl::Seconds(100_000))).unwrap();
            peer.put(
                namespace,
                "gone",
                "g",
                json!({"ttl": 100_000, "embedding": axis(1)}),
            );
            let request = PutRequest::new("gone", "g").namespace(namespace);
            cache.put(request.ttl(Ttl::Seconds(100_000))).unwrap();
        }
        // Replaced with another ttl, used, deleted.
        peer.put(
            "{tag}",
            "ttl",
            "t2",
            json!({"ttl": 200_000, "embedding": axis(1)}),
        );
        let request = PutRequest::new("ttl", "t2").namespace("{tag}");
        cache.put(request.ttl(Ttl::Seconds(200_000))).unwrap();
        for namespace in ODD {
            assert_eq!(peer.get(namespace, "one two")["response"], "first\0");
            assert_eq!(
                ask(&cache, namespace, "one two").unwrap().response,
                "first\0"
            );
            assert_eq!(peer.delete(namespace, "gone"), json!(true));
            assert!(cache.delete("gone", namespace).unwrap());
        }
        for query in ["one two", "ttl"] {
            assert_eq!(peer.delete("x|7", query), json!(true));
            assert!(cache.delete(query, "x|7").unwrap());
        }
        peer.close();
        cache.close().unwrap();

        let (theirs, mut mine) = (under(&server, "theirs"), under(&server, "ours"));
        assert!(mine.remove("expiring").is_some(), "a key of ours alone");
        assert_eq!(
            mine.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>()
        );
        // The two were not written in the same second, and count in JSON of another look.
        let steady = |key: &str, text: &str| -> String {
            let parts = text.split(' ');
            let kept = parts.map(|part| match part.split_once('=') {
                Some((name @ ("created_at" | "last_accessed_at"), _)) => format!("{name}=TIME"),
                Some((name, _)) if key == "by_ttl" || key.starts_with("lru:") => {
                    format!("{name}=TIME")
                }
                _ => part.to_owned(),
            });
            kept.collect::<Vec<_>>().join(" ")
        };
        for (key, text) in &theirs {
            if key != "meta" {
                assert_eq!(steady(key, &mine[key]), steady(key, text), "{key}");
            }
        }
        let mut client = server.client();
        for name in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
            let mut read =
                |prefix: &str| -> String { client.run(&["HGET", &format!("{prefix}:meta"), name]) };
            assert_eq!(read("ours"), read("theirs"), "{name}");
        }
        for key in theirs.keys().filter(|key| key.starts_with("entry:")) {
            let mut left =
                |prefix: &str| -> i64 { client.run(&["TTL", &format!("{prefix}:{key}")]) };
            let (mine, theirs) = (left("ours"), left("theirs"));
            assert!(
                (mine - theirs).abs() < 60 && (mine < 0) == (theirs < 0),
                "{key}: {mine} {theirs}"
            );
        }
    });
}

fn what_both_delete_leaves_three_keys(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = theirs(python, &server, "p", json!({}));
        let cache = ours(&server, "p").open().unwrap();
        for namespace in ODD {
            peer.put(namespace, "theirs", "r", json!({"ttl": 1000}));
            put(&cache, namespace, "mine", "r");
            put(&cache, namespace, "theirs", "taken");
            assert_eq!(peer.delete(namespace, "mine"), json!(true));
            assert!(cache.delete("theirs", namespace).unwrap());
        }
        peer.close();
        cache.close().unwrap();
        let left: Vec<String> = under(&server, "p").into_keys().collect();
        assert_eq!(left, ["meta", "next_id", "version"]);
    });
}

fn what_expires_is_gone_for_both(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = theirs(python, &server, "p", json!({}));
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        peer.put("theirs", "short", "r", json!({"ttl": 1}));
        // Its replacement keeps the time at which Redis deletes it.
        peer.put("dropped", "short", "r", json!({"ttl": 1}));
        peer.put("dropped", "short", "r2", json!({}));
        let cache = ours(&server, "p").open().unwrap();
        let request = PutRequest::new("short", "r").namespace("ours");
        cache.put(request.ttl(Ttl::Seconds(1))).unwrap();
        put(&cache, "stays", "long", "r");
        let start = Instant::now();
        while store.count(None).unwrap() > 1 {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "they never expire"
            );
        }
        assert_eq!(store.list_namespaces(None, 1000).unwrap(), ["stays"]);
        assert!(store.integrity_check().unwrap());
        let version = store.read_version_counter().unwrap();
        assert!(store.delete_expired(u64::MAX, None, 9).unwrap().is_empty());
        assert_eq!(store.read_version_counter().unwrap(), version);
        let namespaces = peer.call("list_namespaces", json!({}));
        assert_eq!(
            namespaces,
            json!(["stays"]),
            "nothing is left of the others"
        );
        assert_eq!(peer.call("store.count", json!({})), 1);
        for namespace in ["theirs", "dropped", "ours"] {
            put(&cache, namespace, "short", "again");
            assert_eq!(peer.get(namespace, "short")["response"], "again");
        }
        assert_eq!(store.count(None).unwrap(), 4);
        cache.close().unwrap();
        peer.close();
    });
}

fn what_the_peer_replaces_keeps_its_context_and_tags(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = theirs(python, &server, "p", json!({}));
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        let filter = Filter {
            namespace: None,
            context: None,
            tags: vec!["doc:1".to_owned()],
            created_from: None,
            created_before: None,
        };
        peer.put("a", "one", "theirs", json!({}));
        let first = store.iter_since(0, 9).unwrap().remove(0);
        assert_eq!((&*first.context, first.tags.len()), ("", 0));
        let ours = Entry {
            response: "ours".to_owned(),
            context: "c".to_owned(),
            tags: vec!["doc:1".to_owned(), "user:2".to_owned()],
            ..first
        };
        store.insert(vec![ours.clone()]).unwrap();
        assert_eq!(peer.get("a", "one")["response"], "ours");

        // It sets the fields that it knows, and writes nothing to the log of changes.
        let version = store.read_version_counter().unwrap();
        let logged = store.changes_since(version - 1, 9).unwrap().unwrap();
        assert_eq!(logged.changes.len(), 1);
        peer.put("a", "one", "theirs again", json!({}));
        for after in [0, version - 1, version] {
            assert!(store.changes_since(after, 9).unwrap().is_none());
        }
        let none = store.changes_since(version + 1, 9).unwrap().unwrap();
        assert_eq!((none.changes.len(), none.version), (0, version + 1));
        let replaced = store.iter_since(0, 9).unwrap().remove(0);
        assert_eq!(replaced.response, "theirs again");
        assert_eq!(
            (&replaced.context, &replaced.tags),
            (&ours.context, &ours.tags)
        );
        assert_eq!(store.select(&filter, 0, 9).unwrap().entries.len(), 1);
        assert!(store.integrity_check().unwrap());

        // What it deletes is in no selection.
        assert_eq!(peer.delete("a", "one"), json!(true));
        assert!(store.select(&filter, 0, 9).unwrap().entries.is_empty());
        assert!(store.integrity_check().unwrap());
        peer.put("a", "one", "new", json!({}));
        let new = store.iter_since(0, 9).unwrap().remove(0);
        assert_eq!((&*new.context, new.tags.len()), ("", 0));
        assert!(store.select(&filter, 0, 9).unwrap().entries.is_empty());
        store
            .insert(vec![Entry {
                tags: ours.tags,
                ..new
            }])
            .unwrap();
        peer.call("clear", json!({}));
        assert_eq!(store.count(None).unwrap(), 0);
        assert!(store.select(&filter, 0, 9).unwrap().entries.is_empty());
        peer.close();
    });
}
