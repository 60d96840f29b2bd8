//! Data on Redis exchanged with the Python library mneme-cache, which runs for it.

use mneme::embedder::Precomputed;
use mneme::store::{ImportMode, Store};
use mneme::{
    Builder, Coordination, Embedder, Error, GetRequest, Hit, Layer, ManualClock, PutRequest,
    SemanticCache, Ttl,
};
use mneme_tests::embedders::{By, DIM, FINGERPRINT, Words, axis};
use mneme_tests::peer::{Peer, joined};
use mneme_tests::python::Python;
use mneme_tests::servers::redis::Redis;
use mneme_tests::unless_it_hangs;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

mneme_tests::tests![
    their_cache_passes_over_blobs,
    both_write_the_same_keys_and_values,
    data_of_theirs_answers_through_ours,
    data_of_ours_answers_through_theirs,
    an_import_is_nothing_to_theirs_until_it_is_data,
    both_use_one_prefix_at_the_same_time,
    what_expires_is_gone_for_both,
    another_embedder_is_refused_by_both,
];

/// Namespaces whose names are hard on keys made by joining.
const ODD: [&str; 5] = ["a:b|c", "é\u{1f600}", "x|7", "{tag}", "'\"\\ *?"];

/// The Python library, with a cache open on the server.
fn open_peer(python: &Path, server: &Redis, prefix: &str, more: Value) -> Peer {
    let place = joined(json!({"url": server.url(), "prefix": prefix}), more);
    Peer::open_at(python, "redis_interop.py", place)
}

fn ours(server: &Redis, prefix: &str) -> Builder {
    SemanticCache::builder()
        .store(server.store(prefix))
        .embedder(Words)
        .touches(1, 0)
}

fn ask(cache: &SemanticCache, namespace: &str, query: &str) -> Option<Hit> {
    cache
        .get(GetRequest::new(query).namespace(namespace))
        .unwrap()
        .hit()
}

fn put(cache: &SemanticCache, namespace: &str, query: &str, response: &str) {
    cache
        .put(PutRequest::new(query, response).namespace(namespace))
        .unwrap();
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

fn with_peer(
    python: Python,
    server: Redis,
    test: impl FnOnce(&'static Path, Redis) + Send + 'static,
) {
    unless_it_hangs(move || test(python.0, server));
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

fn their_cache_passes_over_blobs(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        store.write_blob("index/1", vec![7; 1 << 20]).unwrap();
        let mut peer = open_peer(python, &server, "p", json!({}));
        peer.put("default", "one two three", "first", json!({}));
        peer.put("other", "one two three", "first", json!({}));
        assert_eq!(peer.get("default", "three two one")["response"], "first");
        assert_eq!(peer.call("stats", json!({}))["entries"], 2);
        assert_eq!(
            peer.call("list_namespaces", json!({})),
            json!(["default", "other"])
        );
        assert_eq!(
            peer.call("delete", json!({"query": "one two three"})),
            json!(true)
        );
        peer.close();
        assert_eq!(store.count(None).unwrap(), 1);
        assert_eq!(store.read_version_counter().unwrap(), 3);
        assert_eq!(store.list_blobs().unwrap(), ["index/1"]);
        assert_eq!(store.read_blob("index/1").unwrap(), Some(vec![7; 1 << 20]));
        assert!(store.integrity_check().unwrap());
    });
}

fn both_write_the_same_keys_and_values(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let quotas = json!({"namespace_quotas": {"a:b|c": 5}});
        let mut peer = open_peer(python, &server, "theirs", quotas);
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

fn data_of_theirs_answers_through_ours(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(
            python,
            &server,
            "p",
            json!({"namespace_quotas": {"small": 2}}),
        );
        let metadata = json!({"a": [1, {"ü": null}]});
        peer.put(
            "default",
            "one two three",
            "first",
            json!({"metadata": metadata}),
        );
        peer.put("default", "soon to be gone", "old", json!({"ttl": 100}));
        for namespace in ODD {
            peer.put(namespace, "alpha beta", namespace, json!({}));
        }
        for query in ["ONE two three", "one two three", "three one two"] {
            assert_eq!(peer.get("default", query)["response"], "first");
        }
        assert!(peer.get("default", "nothing like that").is_null());
        peer.close();

        let clock = ManualClock::at(now() + 50);
        let cache = ours(&server, "p").clock(clock.clone()).open().unwrap();
        let counters = cache.stats(Some("default")).unwrap().counters;
        assert_eq!(
            (counters.hits_exact, counters.hits_semantic, counters.misses),
            (2, 1, 1)
        );
        let hit = ask(&cache, "default", " One\tTWO three ").unwrap();
        assert_eq!((hit.layer, &*hit.response), (Layer::Exact, "first"));
        assert!((50..90).contains(&hit.age_seconds));
        assert_eq!(
            serde_json::from_str::<Value>(&hit.metadata).unwrap(),
            metadata
        );
        let hit = ask(&cache, "default", "three two one").unwrap();
        assert_eq!((hit.layer, &*hit.response), (Layer::Semantic, "first"));
        for namespace in ODD {
            assert_eq!(
                ask(&cache, namespace, "beta alpha").unwrap().response,
                namespace
            );
        }
        assert_eq!(
            ask(&cache, "default", "soon to be gone").unwrap().response,
            "old"
        );
        clock.advance(Duration::from_secs(60));
        assert!(ask(&cache, "default", "soon to be gone").is_none());
        assert_eq!(cache.namespace_quota("small").unwrap(), Some(2));
        assert_eq!(cache.stats(None).unwrap().entries, 6);
        assert!(cache.health().unwrap().healthy);
        cache.close().unwrap();
    });
}

fn data_of_ours_answers_through_theirs(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let cache = ours(&server, "p")
            .namespace_quota("small", 2)
            .open()
            .unwrap();
        let request = PutRequest::new("one two three", "first");
        cache
            .put(request.metadata(r#"{"a": [1, {"ü": null}]}"#))
            .unwrap();
        for namespace in ODD {
            let request = PutRequest::new("alpha beta", namespace).namespace(namespace);
            cache.put(request.ttl(Ttl::Seconds(1000))).unwrap();
        }
        for query in ["One two three", "three two one", "unlike everything else"] {
            cache.get(query).unwrap();
        }
        cache.close().unwrap();

        let mut peer = open_peer(python, &server, "p", json!({}));
        let hit = peer.get("default", " ONE two\tthree");
        assert_eq!(
            (&hit["layer"], &hit["response"]),
            (&json!("exact"), &json!("first"))
        );
        assert_eq!(hit["metadata"], json!({"a": [1, {"ü": null}]}));
        let hit = peer.get("default", "three two one");
        assert_eq!(
            (&hit["layer"], &hit["response"]),
            (&json!("semantic"), &json!("first"))
        );
        for namespace in ODD {
            assert_eq!(peer.get(namespace, "beta alpha")["response"], namespace);
            assert_eq!(peer.get(namespace, "alpha beta")["layer"], "exact");
        }
        let stats = peer.call("stats", json!({}));
        assert_eq!(stats["entries"], 6);
        assert_eq!(
            (&stats["hits_exact"], &stats["misses"]),
            (&json!(1 + 6), &json!(1))
        );
        let health = peer.call("health", json!({}));
        assert_eq!(
            (&health["healthy"], &health["schema_version"]),
            (&json!(true), &json!(1))
        );
        let quota = peer.call("store.get_namespace_quota", json!({"namespace": "small"}));
        assert_eq!(quota, 2);
        let mut expected = ODD.to_vec();
        expected.push("default");
        expected.sort_unstable();
        let mut names: Vec<String> =
            serde_json::from_value(peer.call("list_namespaces", json!({}))).unwrap();
        names.sort_unstable();
        assert_eq!(names, expected);
        peer.close();
        // What it has touched is as we would have left it.
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        assert!(store.integrity_check().unwrap());
        assert!(
            store
                .iter_since(0, 9)
                .unwrap()
                .iter()
                .all(|entry| entry.access_count > 0)
        );
    });
}

fn an_import_is_nothing_to_theirs_until_it_is_data(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut source = server.store("source");
        source.open(FINGERPRINT, DIM).unwrap();
        let cache = ours(&server, "source").open().unwrap();
        for namespace in ODD {
            let request = PutRequest::new("alpha beta", namespace).namespace(namespace);
            cache.put(request.ttl(Ttl::Seconds(1000))).unwrap();
        }
        cache.close().unwrap();
        let entries = source.iter_since(0, 99).unwrap();

        let mut peer = open_peer(python, &server, "p", json!({}));
        peer.put("default", "one two three", "first", json!({}));
        peer.put(ODD[0], "alpha beta", "theirs", json!({"ttl": 10}));
        let mut store = server.store("p");
        store.open(FINGERPRINT, DIM).unwrap();
        store.begin_import(ImportMode::Merge).unwrap();
        store.write_import(entries).unwrap();
        assert_eq!(peer.call("stats", json!({}))["entries"], 2);
        assert_eq!(peer.get(ODD[0], "alpha beta")["response"], "theirs");
        assert!(peer.get(ODD[1], "alpha beta").is_null());
        assert!(peer.delete("default", "one two three") == json!(true));
        let quotas = [("small".to_owned(), 2)];
        assert!(store.commit_import(&quotas, &[]).unwrap());
        peer.close();

        let mut peer = open_peer(python, &server, "p", json!({}));
        for namespace in ODD {
            assert_eq!(peer.get(namespace, "beta alpha")["response"], namespace);
            assert_eq!(peer.get(namespace, "alpha beta")["layer"], "exact");
        }
        assert_eq!(peer.call("stats", json!({}))["entries"], 5);
        assert_eq!(peer.call("health", json!({}))["healthy"], true);
        let quota = peer.call("store.get_namespace_quota", json!({"namespace": "small"}));
        assert_eq!(quota, 2);
        peer.put("default", "another one", "later", json!({}));
        assert_eq!(peer.delete(ODD[0], "alpha beta"), json!(true));
        peer.close();
        assert_eq!(store.count(None).unwrap(), 5);
        let last = store.iter_since(0, 9).unwrap().pop().unwrap();
        assert_eq!((last.id, &*last.response), (7, "later"));
        assert!(store.integrity_check().unwrap());
    });
}

fn both_use_one_prefix_at_the_same_time(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let shared = json!({"multi_process_mode": "stale-tolerant"});
        let mut peer = open_peer(python, &server, "p", shared);
        let cache = ours(&server, "p")
            .coordination(Coordination::StaleTolerant(0))
            .open()
            .unwrap();
        for n in 0..30 {
            let namespace = ODD[n % ODD.len()];
            let (theirs, mine) = (
                format!("their{n} alpha beta{n}"),
                format!("mine{n} gamma delta{n}"),
            );
            let (turned, mine_turned) = (
                format!("beta{n} their{n} alpha"),
                format!("delta{n} mine{n} gamma"),
            );
            peer.put(
                namespace,
                &theirs,
                &format!("theirs {n}"),
                json!({"ttl": 1000}),
            );
            put(&cache, namespace, &mine, &format!("mine {n}"));
            for query in [&theirs, &turned] {
                assert_eq!(
                    ask(&cache, namespace, query).unwrap().response,
                    format!("theirs {n}")
                );
            }
            for query in [&mine, &mine_turned] {
                assert_eq!(peer.get(namespace, query)["response"], format!("mine {n}"));
            }
            // Replaced and deleted by the other side.
            peer.put(namespace, &mine, &format!("replaced {n}"), json!({}));
            put(&cache, namespace, &theirs, &format!("taken {n}"));
            for query in [&mine, &mine_turned] {
                assert_eq!(
                    ask(&cache, namespace, query).unwrap().response,
                    format!("replaced {n}")
                );
            }
            assert_eq!(
                peer.get(namespace, &theirs)["response"],
                format!("taken {n}")
            );
            assert_eq!(peer.delete(namespace, &theirs), json!(true));
            for query in [&theirs, &turned] {
                assert!(
                    ask(&cache, namespace, query).is_none(),
                    "{query} was deleted"
                );
            }
            assert!(cache.delete(&mine, namespace).unwrap());
            assert!(peer.get(namespace, &mine).is_null(), "{mine} was deleted");
        }
        assert_eq!(cache.stats(None).unwrap().entries, 0);
        assert!(cache.health().unwrap().healthy);
        assert_eq!(peer.call("health", json!({}))["healthy"], true);
        peer.close();
        cache.close().unwrap();
        let left: Vec<String> = under(&server, "p").into_keys().collect();
        assert_eq!(left, ["meta", "next_id", "version"]);
    });
}

fn what_expires_is_gone_for_both(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "p", json!({}));
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
        assert_eq!(store.list_namespaces().unwrap(), ["stays"]);
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

fn another_embedder_is_refused_by_both(python: Python, server: Redis) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "p", json!({}));
        peer.put("default", "question", "answer", json!({}));
        peer.close();
        let before = server.client().dump();
        let open = |embedder: Box<dyn Embedder>| {
            let builder = SemanticCache::builder().store(server.store("p"));
            builder.boxed_embedder(embedder).open().unwrap_err()
        };
        let error = open(Box::new(Precomputed::new("another-1", DIM)));
        assert!(
            matches!(&error, Error::EmbedderMismatch { stored, .. } if stored == FINGERPRINT),
            "{error:?}"
        );
        let error = open(Box::new(Precomputed::new(FINGERPRINT, 8)));
        assert!(
            matches!(
                error,
                Error::EmbedderDimension {
                    expected: DIM,
                    actual: 8
                }
            ),
            "{error:?}"
        );
        assert_eq!(server.client().dump(), before);

        ours(&server, "q").open().unwrap().close().unwrap();
        let mut peer = Peer::start(python, "redis_interop.py");
        let arguments =
            json!({"url": server.url(), "prefix": "q", "fingerprint": "another-1", "dim": DIM});
        let error = peer.attempt("open", arguments).unwrap_err();
        assert!(error.starts_with("EmbedderMismatchError"), "{error}");
    });
}
