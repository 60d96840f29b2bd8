//! One Postgres schema for the Python library mneme-cache, which runs for it, and for ours.

use mneme::store::{Entry, ImportMode, MetaChange, Store, StoreError, Touch};
use mneme::{Coordination, GetRequest, Hit, Layer, PostgresStore, PutRequest, SemanticCache};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words, axis};
use mneme_tests::peer::{Peer, joined};
use mneme_tests::python::Python;
use mneme_tests::rows::hash;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::unless_it_hangs;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::thread;

mneme_tests::tests![
    both_make_the_same_tables,
    their_cache_passes_over_blobs,
    rows_of_theirs_are_read_and_changed,
    rows_of_ours_are_read_and_changed,
    what_we_import_is_read_and_changed,
    both_use_one_schema_at_the_same_time,
    neither_disturbs_the_other,
    an_empty_schema_may_be_opened_by_both_at_once,
    another_embedder_is_refused_by_both,
];

/// The Python library, with a cache open on a schema.
fn open_peer(python: &Path, server: &Postgres, schema: &str, more: &Value) -> Peer {
    Peer::open_at(python, "postgres_interop.py", place(server, schema, more))
}

/// What `open` there wants.
fn place(server: &Postgres, schema: &str, more: &Value) -> Value {
    let basic =
        json!({"url": server.url(), "schema": schema, "fingerprint": FINGERPRINT, "dim": DIM});
    joined(basic, more.clone())
}

/// A row as it is stored there.
fn row(namespace: &str, n: u64, more: &Value) -> Value {
    let row = json!({
        "id": 0, "namespace": namespace, "query_hash": hash(n), "query": format!("query {n}"),
        "response": "theirs", "embedding": axis(n as usize), "metadata": {}, "created_at": 1000,
        "last_accessed_at": 2000, "ttl": null, "access_count": 0,
    });
    joined(row, more.clone())
}

fn entry(namespace: &str, n: u64) -> Entry {
    Entry {
        embedding: axis(n as usize),
        ..mneme_tests::rows::entry(namespace, n)
    }
}

fn opened(server: &Postgres, schema: &str) -> PostgresStore {
    let mut store = server.store(schema);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn ours(server: &Postgres, schema: &str) -> SemanticCache {
    let builder = SemanticCache::builder()
        .store(server.store(schema))
        .embedder(Words);
    let coordination = Coordination::StaleTolerant(0);
    builder
        .coordination(coordination)
        .touches(1, 0)
        .open()
        .unwrap()
}

fn ask(cache: &SemanticCache, namespace: &str, query: &str) -> Option<Hit> {
    cache
        .get(GetRequest::new(query).namespace(namespace))
        .unwrap()
        .hit()
}

fn with_peer(
    python: Python,
    server: Arc<Postgres>,
    test: impl FnOnce(&'static Path, Arc<Postgres>) + Send + 'static,
) {
    unless_it_hangs(move || test(python.0, server));
}

/// Tables, columns, defaults, constraints, indexes and sequences of a schema.
fn layout(server: &Postgres, schema: &str) -> String {
    let own = "('metadata_text', 'metadata_text_of')";
    // So is this table.
    let blobs = "derived_blobs";
    let parts = [
        format!(
            "SELECT table_name, column_name, data_type, is_nullable, column_default
             FROM information_schema.columns
             WHERE table_schema = '{schema}' AND column_name NOT IN {own}
                 AND table_name <> '{blobs}'
             ORDER BY table_name, ordinal_position"
        ),
        format!(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
             WHERE connamespace = '{schema}'::regnamespace
                 AND conrelid::regclass::text NOT LIKE '%{blobs}' ORDER BY 1, 2"
        ),
        format!(
            "SELECT indexname, indexdef FROM pg_indexes
             WHERE schemaname = '{schema}' AND tablename <> '{blobs}' ORDER BY 1"
        ),
        format!(
            "SELECT sequencename, data_type, start_value, increment_by, cycle, cache_size
             FROM pg_sequences WHERE schemaname = '{schema}'"
        ),
        format!("SELECT key, value FROM {schema}.schema_meta ORDER BY 1"),
        format!("SELECT key, value FROM {schema}.multi_process_state ORDER BY 1"),
    ];
    let lines: Vec<String> = parts.iter().map(|sql| server.sql(sql)).collect();
    lines.join("\n").replace(schema, "SCHEMA")
}

fn both_make_the_same_tables(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        open_peer(python, &server, "made_by_them", &json!({})).close();
        let mut store = opened(&server, "made_by_us");
        // Closing, it stores its counters, which are a meta key like others.
        assert!(store.replace_meta("counters", None, Some("{}")).unwrap());
        let theirs = layout(&server, "made_by_them");
        assert!(
            theirs.contains("entries_namespace_query_hash_key"),
            "{theirs}"
        );
        assert_eq!(layout(&server, "made_by_us"), theirs);
        // Ours adds its two columns to theirs, and nothing else.
        opened(&server, "made_by_them");
        assert_eq!(layout(&server, "made_by_them"), theirs);
    });
}

fn their_cache_passes_over_blobs(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "blobs", &json!({}));
        assert_eq!(peer.call("store.insert", row("a", 1, &json!({}))), 1);
        let mut store = opened(&server, "blobs");
        assert!(store.begin_view().unwrap());
        assert_eq!(store.read_blob("index/1").unwrap(), None);
        assert!(store.list_blobs().unwrap().is_empty());
        assert_eq!(store.count(None).unwrap(), 1, "the view goes on");
        store.end_view().unwrap();
        store.delete_blobs(&["index/1".to_owned()]).unwrap();
        assert_eq!(tables(&server), "5", "only a write makes the table");
        store.write_blob("index/1", vec![0; 1 << 20]).unwrap();
        assert_eq!(tables(&server), "6");
        assert_eq!(peer.call("store.insert", row("a", 2, &json!({}))), 2);
        peer.close();
        open_peer(python, &server, "blobs", &json!({})).close();
        assert_eq!(store.count(None).unwrap(), 2);
        assert_eq!(store.read_version_counter().unwrap(), 2);
        assert_eq!(store.list_blobs().unwrap(), ["index/1"]);
        assert_eq!(store.read_blob("index/1").unwrap(), Some(vec![0; 1 << 20]));
        assert!(store.integrity_check().unwrap());
    });
    fn tables(server: &Postgres) -> String {
        server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'blobs'")
    }
}

fn rows_of_theirs_are_read_and_changed(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "their_rows", &json!({}));
        let odd = "'\"\\ %_:/| 🦀\u{10FFFF}\u{FEFF}\n";
        let metadata = json!({"b": 1.5, "a": [null, "ü🦀", {"x": 12345678901234567890_u64}]});
        for (n, more) in [
            (
                1,
                json!({"query": odd, "response": "", "metadata": metadata, "ttl": 50, "access_count": 3}),
            ),
            (2, json!({"namespace": odd})),
            (3, json!({"ttl": 0})),
        ] {
            assert_eq!(peer.call("store.insert", row("a", n, &more)), n);
        }
        peer.call(
            "store.set_namespace_quota",
            json!({"namespace": odd, "max_entries": 5}),
        );
        peer.call("store.write_meta", json!({"key": odd, "value": odd}));

        let mut store = opened(&server, "their_rows");
        assert_eq!(store.read_version_counter().unwrap(), 3);
        assert_eq!(store.list_namespaces().unwrap(), [odd, "a"]);
        assert_eq!(
            store.list_namespace_quotas().unwrap(),
            [(odd.to_owned(), 5)]
        );
        assert_eq!(store.read_meta(odd).unwrap().as_deref(), Some(odd));
        let found = store.iter_since(0, 10).unwrap();
        assert_eq!((&*found[0].query, &*found[0].response), (odd, ""));
        assert_eq!((found[0].ttl, found[0].access_count), (Some(50), 3));
        assert_eq!(
            serde_json::from_str::<Value>(&found[0].metadata).unwrap(),
            metadata
        );
        assert_eq!(found[0].embedding, axis(1));

        // Replaced by us, then by them: each time the metadata are the last ones.
        let mine = Entry {
            metadata: r#"{"mine":  "\u0000"}"#.into(),
            ..entry("a", 1)
        };
        let inserted = store.insert(vec![mine.clone()]).unwrap();
        assert_eq!((inserted[0].id, inserted[0].replaced), (1, true));
        let theirs = peer.call("store.get_by_id", json!({"id": 1}));
        assert_eq!(theirs["metadata"], json!({"mine": "\u{10FFFE}0"}));
        assert_eq!(theirs["embedding"], json!(axis(1)));
        assert_eq!(store.get_by_ids(&[1]).unwrap()[0].metadata, mine.metadata);
        assert_eq!(
            peer.call(
                "store.insert",
                row("a", 1, &json!({"metadata": {"theirs": 1}}))
            ),
            1
        );
        assert_eq!(
            store.get_by_ids(&[1]).unwrap()[0].metadata,
            r#"{"theirs": 1}"#
        );

        store
            .update_access(&[Touch {
                id: 1,
                hits: 2,
                last_accessed_at: 5000,
            }])
            .unwrap();
        peer.call("store.update_access", json!({"id": 1, "now": 6000}));
        let found = store.get_by_ids(&[1]).unwrap();
        assert_eq!(
            (found[0].access_count, found[0].last_accessed_at),
            (3, 6000)
        );
        assert_eq!(store.delete_expired(1000, None, 9).unwrap()[0].id, 3);
        assert_eq!(peer.call("store.count", json!({})), 2);
        assert_eq!(store.read_version_counter().unwrap(), 3 + 3);
        assert_eq!(peer.call("store.delete_by_id", json!({"id": 2})), true);
        assert_eq!(store.get_by_ids(&[2]).unwrap(), []);
        assert!(store.integrity_check().unwrap());
        assert_eq!(peer.call("store.integrity_check", json!({})), true);
        peer.close();
    });
}

fn rows_of_ours_are_read_and_changed(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let mut store = opened(&server, "our_rows");
        let given = Entry {
            query: "'\"\\🦀".into(),
            metadata: r#"{ "b":1.0, "a":"é" }"#.into(),
            ttl: Some(7),
            ..entry("a", 1)
        };
        store
            .insert(vec![given.clone(), entry("b", 2), entry("b", 3)])
            .unwrap();
        store.set_namespace_quota("b", Some(4)).unwrap();
        assert!(store.replace_meta("k", None, Some("v")).unwrap());

        let mut peer = open_peer(python, &server, "our_rows", &json!({}));
        let theirs = peer.call(
            "store.get_by_hash",
            json!({"namespace": "a", "query_hash": hash(1)}),
        );
        assert_eq!(
            theirs,
            json!({
                "id": 1, "namespace": "a", "query_hash": hash(1), "query": given.query,
                "response": given.response, "embedding": given.embedding,
                "metadata": {"b": 1.0, "a": "é"}, "created_at": 1001, "last_accessed_at": 2001,
                "ttl": 7, "access_count": 0,
            })
        );
        assert_eq!(
            peer.call("store.iter_lru_ids", json!({"n": 2})),
            json!([1, 2])
        );
        assert_eq!(
            peer.call("store.list_namespaces", json!({})),
            json!(["a", "b"])
        );
        assert_eq!(
            peer.call("store.get_namespace_quota", json!({"namespace": "b"})),
            4
        );
        assert_eq!(peer.call("store.read_meta", json!({"key": "k"})), "v");
        assert_eq!(peer.call("store.read_version_counter", json!({})), 1);
        assert_eq!(peer.call("store.delete_expired", json!({"now": 1008})), 1);
        assert_eq!(store.read_version_counter().unwrap(), 2);
        assert_eq!(
            peer.call("store.clear_namespace", json!({"namespace": "b"})),
            2
        );
        assert_eq!(store.read_version_counter().unwrap(), 3);
        assert_eq!(store.count(None).unwrap(), 0);
        // Neither uses an id again.
        assert_eq!(peer.call("store.insert", row("a", 1, &json!({}))), 4);
        assert_eq!(store.insert(vec![entry("a", 2)]).unwrap()[0].id, 5);
        peer.close();
    });
}

fn what_we_import_is_read_and_changed(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "our_import", &json!({}));
        for n in 1..=2 {
            peer.call("store.insert", row("a", n, &json!({})));
        }
        let mut store = opened(&server, "our_import");
        store.begin_import(ImportMode::Merge).unwrap();
        let replaced = Entry {
            metadata: r#"{ "b":1.0, "a":"\u0000" }"#.into(),
            ttl: Some(7),
            access_count: 3,
            ..entry("a", 2)
        };
        store.write_import(vec![entry("b", 9), replaced]).unwrap();
        store.write_import(vec![entry("b", 3)]).unwrap();
        // Theirs may write meanwhile.
        assert_eq!(peer.call("store.insert", row("b", 3, &json!({}))), 3);
        let meta = MetaChange {
            key: "k".into(),
            expected: None,
            value: "v".into(),
        };
        let quotas = [("b".to_owned(), 4)];
        assert!(store.commit_import(&quotas, &[meta]).unwrap());

        assert_eq!(peer.call("store.count", json!({})), 4);
        assert_eq!(peer.call("store.read_version_counter", json!({})), 4);
        let theirs = peer.call("store.get_by_id", json!({"id": 2}));
        assert_eq!(theirs["metadata"], json!({"b": 1.0, "a": "\u{10FFFE}0"}));
        assert_eq!(theirs["embedding"], json!(axis(2)));
        assert_eq!(
            (&theirs["ttl"], &theirs["access_count"]),
            (&json!(7), &json!(3))
        );
        let key = json!({"namespace": "b", "query_hash": hash(3)});
        let theirs = peer.call("store.get_by_hash", key);
        assert_eq!(
            (&theirs["id"], &theirs["response"]),
            (&json!(3), &json!("response 3"))
        );
        let quota = peer.call("store.get_namespace_quota", json!({"namespace": "b"}));
        assert_eq!(quota, 4);
        assert_eq!(peer.call("store.read_meta", json!({"key": "k"})), "v");
        assert_eq!(peer.call("store.integrity_check", json!({})), true);
        let next = peer.call("store.insert", row("c", 1, &json!({})));
        assert!(
            store
                .iter_stamps(0, 9)
                .unwrap()
                .ids
                .ends_with(&[next.as_u64().unwrap()])
        );
        peer.close();
    });
}

fn both_use_one_schema_at_the_same_time(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let shared = json!({"multi_process_mode": "stale-tolerant"});
        let mut peer = open_peer(python, &server, "live", &shared);
        let cache = ours(&server, "live");
        for n in 0..15 {
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
            for (query, layer) in [(&theirs, Layer::Exact), (&turned, Layer::Semantic)] {
                let hit = ask(&cache, "default", query).unwrap();
                assert_eq!((hit.layer, hit.response), (layer, format!("theirs {n}")));
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

/// Both write the same rows as fast as they can. It has no means against a deadlock, so
/// ours must give way.
fn neither_disturbs_the_other(python: Python, server: Arc<Postgres>) {
    const ROUNDS: u64 = 150;
    with_peer(python, server, |python, server| {
        let mut peer = open_peer(python, &server, "rush", &json!({}));
        let mut store = opened(&server, "rush");
        // It looks for a row and then adds it, and fails where another was faster. So the
        // rows are there.
        let rows = (0..5).map(|n| entry("a", n));
        store.insert(rows.collect()).unwrap();
        let theirs = thread::spawn(move || {
            for n in 0..ROUNDS {
                peer.call("store.insert", row("a", n % 5, &json!({})));
            }
            peer
        });
        for n in 0..ROUNDS {
            let pair = vec![entry("a", n % 5), entry("a", (n + 1) % 5)];
            store.insert(pair).unwrap();
        }
        let mut peer = theirs.join().unwrap();
        assert_eq!(store.read_version_counter().unwrap(), 1 + 2 * ROUNDS);
        assert_eq!(store.count(None).unwrap(), 5);
        assert_eq!(peer.call("store.count", json!({})), 5);
        peer.close();
    });
}

fn an_empty_schema_may_be_opened_by_both_at_once(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        for round in 0..4 {
            let schema = format!("both_{round}");
            let mut peer = Peer::start(python, "postgres_interop.py");
            peer.ask("open", place(&server, &schema, &json!({})));
            let mut store = server.store(&schema);
            store.open(FINGERPRINT, DIM).unwrap();
            // It has no means against such a race, and may have lost it.
            if peer.answer().is_err() {
                peer = open_peer(python, &server, &schema, &json!({}));
            }
            assert_eq!(peer.call("store.insert", row("a", 1, &json!({}))), 1);
            assert_eq!(store.insert(vec![entry("a", 1)]).unwrap()[0].id, 1);
            peer.close();
        }
    });
}

fn another_embedder_is_refused_by_both(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        open_peer(python, &server, "embedder_of_theirs", &json!({})).close();
        let mut store = server.store("embedder_of_theirs");
        assert!(matches!(
            store.open("another", DIM),
            Err(StoreError::EmbedderMismatch(_))
        ));
        assert!(matches!(
            store.open(FINGERPRINT, 8),
            Err(StoreError::EmbedderDimension(_))
        ));
        opened(&server, "embedder_of_ours");
        let mut peer = Peer::start(python, "postgres_interop.py");
        let another = json!({"fingerprint": "another-1"});
        let error = peer
            .attempt("open", place(&server, "embedder_of_ours", &another))
            .unwrap_err();
        assert!(error.starts_with("EmbedderMismatchError"), "{error}");
    });
}
