//! Files exchanged with the Python library mneme-cache, which runs for it.

use mneme::embedder::Precomputed;
use mneme::store::Store;
use mneme::{
    Builder, Coordination, Embedder, Error, GetRequest, Hit, Layer, ManualClock, PutRequest,
    SemanticCache, SqliteStore, Ttl,
};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::{sqlite, unless_it_hangs};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

mneme_tests::tests![
    a_file_of_theirs_answers_through_ours,
    a_file_of_ours_answers_through_theirs,
    both_use_one_file_at_the_same_time,
    their_cache_passes_over_blobs,
    another_embedder_is_refused_by_both,
];

fn ours(path: &Path) -> Builder {
    SemanticCache::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
}

fn ask(cache: &SemanticCache, namespace: &str, query: &str) -> Option<Hit> {
    cache
        .get(GetRequest::new(query).namespace(namespace))
        .unwrap()
        .hit()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn with_peer(python: Python, test: impl FnOnce(&'static Path, PathBuf) + Send + 'static) {
    unless_it_hangs(move || {
        let dir: TempDir = tempfile::tempdir().unwrap();
        test(python.0, dir.path().join("cache.db"));
    });
}

const UNICODE: &str = "Straße  nach\u{3000}ΌΔΟΣ 😀 café";

fn a_file_of_theirs_answers_through_ours(python: Python) {
    with_peer(python, |python, path| {
        let mut peer = Peer::open(python, &path, json!({"namespace_quotas": {"small": 2}}));
        peer.put(
            "default",
            "one two three",
            "first",
            json!({"metadata": {"a": [1, {"ü": null}]}}),
        );
        peer.put("default", UNICODE, "second\0\u{1f600}", json!({}));
        peer.put("default", "soon to be gone", "old", json!({"ttl": 100}));
        for n in 0..2 {
            peer.put("small", &format!("alpha{n} beta{n}"), "r", json!({}));
        }
        for query in ["ONE two three", "one two three", "three one two"] {
            assert_eq!(peer.get("default", query)["response"], "first");
        }
        assert!(peer.get("default", "nothing like that").is_null());
        peer.close();

        let clock = ManualClock::at(now() + 50);
        let cache = ours(&path).clock(clock.clone()).open().unwrap();
        let counters = cache.stats(Some("default")).unwrap().counters;
        assert_eq!(
            (counters.hits_exact, counters.hits_semantic, counters.misses),
            (2, 1, 1)
        );
        let hit = ask(&cache, "default", " One\tTWO three ").unwrap();
        assert_eq!((hit.layer, &*hit.response), (Layer::Exact, "first"));
        assert!((50..60).contains(&hit.age_seconds));
        let metadata: Value = serde_json::from_str(&hit.metadata).unwrap();
        assert_eq!(metadata, json!({"a": [1, {"ü": null}]}));
        let hit = ask(&cache, "default", "three two one").unwrap();
        assert_eq!((hit.layer, &*hit.response), (Layer::Semantic, "first"));
        assert!(hit.similarity > 0.9999);
        let hit = ask(&cache, "default", "STRASSE nach όδος 😀 CAFÉ").unwrap();
        assert_eq!(
            (hit.layer, &*hit.response, &*hit.query),
            (Layer::Exact, "second\0\u{1f600}", UNICODE)
        );
        assert!(ask(&cache, "small", "one two three").is_none());

        assert_eq!(
            ask(&cache, "default", "soon to be gone").unwrap().response,
            "old"
        );
        clock.advance(Duration::from_secs(60));
        assert!(ask(&cache, "default", "soon to be gone").is_none());

        assert_eq!(cache.namespace_quota("small").unwrap(), Some(2));
        assert!(ask(&cache, "small", "alpha0 beta0").is_some());
        cache
            .put(PutRequest::new("one more", "r").namespace("small"))
            .unwrap();
        assert!(
            ask(&cache, "small", "alpha0 beta0").is_some(),
            "it was used last"
        );
        assert!(
            ask(&cache, "small", "alpha1 beta1").is_none(),
            "it was used least"
        );

        let stats = cache.stats(None).unwrap();
        assert_eq!(stats.entries, 4);
        let counters = stats.counters;
        assert_eq!(
            (counters.hits_exact, counters.hits_semantic),
            (2 + 5, 1 + 1)
        );
        assert_eq!((counters.expirations, counters.evictions), (1, 1));
        assert!(cache.health().unwrap().healthy);
        cache.close().unwrap();
    });
}

fn a_file_of_ours_answers_through_theirs(python: Python) {
    with_peer(python, |python, path| {
        // An hour ago, so that what lives for a minute is long gone.
        let past = ours(&path)
            .clock(ManualClock::at(now() - 3600))
            .open()
            .unwrap();
        past.put(PutRequest::new("soon to be gone", "old").ttl(Ttl::Seconds(60)))
            .unwrap();
        past.put(PutRequest::new("one two three", "first").metadata(r#"{"a": [1, {"ü": null}]}"#))
            .unwrap();
        past.close().unwrap();
        let cache = ours(&path).namespace_quota("small", 2).open().unwrap();
        cache
            .put(PutRequest::new(UNICODE, "second\0\u{1f600}").ttl(Ttl::Seconds(1000)))
            .unwrap();
        for n in 0..2 {
            cache
                .put(PutRequest::new(format!("alpha{n} beta{n}"), "r").namespace("small"))
                .unwrap();
        }
        for query in ["One two three", "three two one", "unlike everything else"] {
            cache.get(query).unwrap();
        }
        cache.close().unwrap();
        let version = |path: &Path| -> u64 {
            sqlite::value::<String>(
                path,
                "SELECT value FROM multi_process_state WHERE key = 'version_counter'",
            )
            .parse()
            .unwrap()
        };
        assert_eq!(version(&path), 5);

        // It enforces the quotas that it was opened with, not those of the file.
        let mut peer = Peer::open(python, &path, json!({"namespace_quotas": {"small": 2}}));
        let hit = peer.get("default", " ONE two\tthree");
        assert_eq!(
            (&hit["layer"], &hit["response"]),
            (&json!("exact"), &json!("first"))
        );
        assert_eq!(hit["metadata"], json!({"a": [1, {"ü": null}]}));
        assert!((3600..3700).contains(&hit["age_seconds"].as_u64().unwrap()));
        let hit = peer.get("default", "three two one");
        assert_eq!(
            (&hit["layer"], &hit["response"]),
            (&json!("semantic"), &json!("first"))
        );
        let hit = peer.get("default", "STRASSE nach όδος 😀 CAFÉ");
        assert_eq!(
            (&hit["layer"], &hit["response"]),
            (&json!("exact"), &json!("second\0\u{1f600}"))
        );
        assert!(peer.get("default", "soon to be gone").is_null());
        assert!(!peer.get("small", "alpha0 beta0").is_null());
        peer.put("small", "one more", "r", json!({}));
        let stats = peer.call("stats", json!({}));
        assert_eq!(stats["entries"], 4);
        assert_eq!(
            (&stats["hits_exact"], &stats["hits_semantic"]),
            (&json!(1 + 3), &json!(1 + 1))
        );
        assert_eq!(
            (&stats["misses"], &stats["expirations"], &stats["evictions"]),
            (&json!(1 + 1), &json!(1), &json!(1))
        );
        let health = peer.call("health", json!({}));
        assert_eq!(
            (&health["healthy"], &health["schema_version"]),
            (&json!(true), &json!(1))
        );
        assert_eq!(
            peer.call("list_namespaces", json!({})),
            json!(["default", "small"])
        );
        peer.close();
        assert!(version(&path) > 5, "their writes move the counter on");
    });
}

fn both_use_one_file_at_the_same_time(python: Python) {
    with_peer(python, |python, path| {
        let shared = json!({"multi_process_mode": "stale-tolerant"});
        let mut peer = Peer::open(python, &path, shared);
        let cache = ours(&path)
            .coordination(Coordination::StaleTolerant(0))
            .touches(1, 0)
            .open()
            .unwrap();
        for n in 0..30 {
            let (theirs, mine) = (
                format!("their{n} alpha beta{n}"),
                format!("mine{n} gamma delta{n}"),
            );
            let (turned, mine_turned) = (
                format!("beta{n} their{n} alpha"),
                format!("delta{n} mine{n} gamma"),
            );
            peer.put("default", &theirs, &format!("theirs {n}"), json!({}));
            cache
                .put(PutRequest::new(&mine, format!("mine {n}")))
                .unwrap();
            for query in [&theirs, &turned] {
                assert_eq!(
                    ask(&cache, "default", query).unwrap().response,
                    format!("theirs {n}")
                );
            }
            for query in [&mine, &mine_turned] {
                assert_eq!(peer.get("default", query)["response"], format!("mine {n}"));
            }
            // Replaced and deleted by the other side.
            peer.put("default", &mine, &format!("replaced {n}"), json!({}));
            for query in [&mine, &mine_turned] {
                assert_eq!(
                    ask(&cache, "default", query).unwrap().response,
                    format!("replaced {n}")
                );
            }
            assert_eq!(peer.call("delete", json!({"query": theirs})), json!(true));
            for query in [&theirs, &turned] {
                assert!(
                    ask(&cache, "default", query).is_none(),
                    "{query} was deleted"
                );
            }
            assert!(cache.delete(&mine, "default").unwrap());
            assert!(
                peer.call("get", json!({"query": mine})).is_null(),
                "{mine} was deleted"
            );
        }
        assert_eq!(cache.stats(None).unwrap().entries, 0);
        assert!(cache.health().unwrap().healthy);
        assert_eq!(peer.call("health", json!({}))["healthy"], true);
        cache.close().unwrap();
        peer.close();
    });
}

fn their_cache_passes_over_blobs(python: Python) {
    with_peer(python, |python, path| {
        let mut peer = Peer::open(python, &path, json!({}));
        peer.put("default", "one two three", "first", json!({}));
        peer.close();
        let index: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 253) as u8).collect();
        let mut store = SqliteStore::new(&path);
        store.open(FINGERPRINT, DIM).unwrap();
        store.write_blob("index/1", index.clone()).unwrap();
        store.write_blob("index/empty", Vec::new()).unwrap();
        let version = store.read_version_counter().unwrap();
        store.close().unwrap();

        let mut peer = Peer::open(python, &path, json!({}));
        assert_eq!(peer.get("default", "three two one")["response"], "first");
        peer.put("default", "alpha beta", "second", json!({}));
        assert_eq!(peer.call("health", json!({}))["healthy"], true);
        assert_eq!(peer.call("stats", json!({}))["entries"], 2);
        assert_eq!(
            peer.call("delete", json!({"query": "one two three"})),
            json!(true)
        );
        peer.close();

        store.open(FINGERPRINT, DIM).unwrap();
        assert_eq!(store.read_version_counter().unwrap(), version + 2);
        assert_eq!(store.count(None).unwrap(), 1);
        assert_eq!(store.list_blobs().unwrap(), ["index/1", "index/empty"]);
        assert_eq!(store.read_blob("index/1").unwrap(), Some(index));
        assert_eq!(store.read_blob("index/empty").unwrap(), Some(Vec::new()));
        assert!(store.integrity_check().unwrap());
    });
}

fn another_embedder_is_refused_by_both(python: Python) {
    with_peer(python, |python, path| {
        let mut peer = Peer::open(python, &path, json!({}));
        peer.put("default", "question", "answer", json!({}));
        peer.close();
        let before = sqlite::dump(&path);
        let open = |embedder: Box<dyn Embedder>| {
            SemanticCache::builder()
                .store(SqliteStore::new(&path))
                .boxed_embedder(embedder)
                .open()
                .unwrap_err()
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
        assert_eq!(sqlite::dump(&path), before);

        let path = path.with_file_name("ours.db");
        let cache = ours(&path).open().unwrap();
        cache.put(PutRequest::new("question", "answer")).unwrap();
        cache.close().unwrap();
        let mut peer = Peer::start(python, "interop.py");
        let error = peer
            .attempt(
                "open",
                json!({"path": path, "fingerprint": "another-1", "dim": DIM}),
            )
            .unwrap_err();
        assert!(error.starts_with("EmbedderMismatchError"), "{error}");
    });
}
