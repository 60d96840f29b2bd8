//! What both libraries do to one Postgres schema: tables, types and races.

use crate::rows::{entry, fields};
use mneme::PostgresStore;
use mneme::store::{Entry, ImportMode, Store};
use mneme_tests::embedders::{DIM, FINGERPRINT, axis};
use mneme_tests::peer::Peer;
use mneme_tests::python::Python;
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::unless_it_hangs;
use serde_json::{Value, json};
use std::sync::Arc;
use std::thread;

mneme_tests::tests![
    both_make_the_same_tables,
    only_a_write_makes_the_table_of_blobs,
    what_a_jsonb_cannot_hold_is_read_by_both,
    neither_disturbs_the_other,
    an_empty_schema_may_be_opened_by_both_at_once,
];

/// What names a schema to the Python library.
fn place(server: &Postgres, schema: &str) -> Value {
    json!(["postgres", {"dsn": server.url(), "schema": schema}])
}

fn theirs(python: Python, server: &Postgres, schema: &str) -> Peer {
    Peer::open(python, &place(server, schema), json!({}))
}

fn opened(server: &Postgres, schema: &str) -> PostgresStore {
    let mut store = server.store(schema);
    store.open(FINGERPRINT, DIM).unwrap();
    store
}

fn with_peer(
    python: Python,
    server: Arc<Postgres>,
    test: impl FnOnce(Python, Arc<Postgres>) + Send + 'static,
) {
    unless_it_hangs(move || test(python, server));
}

/// Tables, columns, defaults, constraints, indexes and sequences of a schema.
fn layout(server: &Postgres, schema: &str) -> String {
    let own = "('metadata_text', 'metadata_text_of', 'context', 'tags')";
    // So are these tables.
    let tables = "('derived_blobs', 'entry_tags', 'changes')";
    let parts = [
        format!(
            "SELECT table_name, column_name, data_type, is_nullable, column_default
             FROM information_schema.columns
             WHERE table_schema = '{schema}' AND column_name NOT IN {own}
                 AND table_name NOT IN {tables}
             ORDER BY table_name, ordinal_position"
        ),
        format!(
            "SELECT conrelid::regclass, conname, pg_get_constraintdef(oid) FROM pg_constraint
             WHERE connamespace = '{schema}'::regnamespace AND conrelid NOT IN
                 (SELECT oid FROM pg_class WHERE relname IN {tables}) ORDER BY 1, 2"
        ),
        format!(
            "SELECT indexname, indexdef FROM pg_indexes
             WHERE schemaname = '{schema}' AND tablename NOT IN {tables}
                 AND indexname NOT IN ('idx_entries_lru', 'idx_entries_expiry') ORDER BY 1"
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
        theirs(python, &server, "made_by_them").close();
        let mut store = opened(&server, "made_by_us");
        // Closing, it stores its counters, which are a meta key like others.
        assert!(store.replace_meta("counters", None, Some("{}")).unwrap());
        let theirs = layout(&server, "made_by_them");
        assert!(
            theirs.contains("entries_namespace_query_hash_key"),
            "{theirs}"
        );
        assert_eq!(layout(&server, "made_by_us"), theirs);
        // Ours adds its columns and its tables to theirs, and nothing else.
        opened(&server, "made_by_them");
        assert_eq!(layout(&server, "made_by_them"), theirs);
    });
}

fn only_a_write_makes_the_table_of_blobs(python: Python, server: Arc<Postgres>) {
    fn tables(server: &Postgres) -> String {
        server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'blobs'")
    }
    with_peer(python, server, |python, server| {
        theirs(python, &server, "blobs").close();
        let mut store = opened(&server, "blobs");
        assert!(store.begin_view().unwrap());
        assert_eq!(store.read_blob("index/1").unwrap(), None);
        assert!(store.list_blobs().unwrap().is_empty());
        assert_eq!(store.count(None).unwrap(), 0, "the view goes on");
        store.end_view().unwrap();
        store.delete_blobs(&["index/1".to_owned()]).unwrap();
        assert_eq!(tables(&server), "7", "only a write makes the table");
        store.write_blob("index/1", vec![0; 1 << 20]).unwrap();
        assert_eq!(tables(&server), "8");
        theirs(python, &server, "blobs").close();
    });
}

fn what_a_jsonb_cannot_hold_is_read_by_both(python: Python, server: Arc<Postgres>) {
    with_peer(python, server, |python, server| {
        let mut peer = theirs(python, &server, "odd_metadata");
        let mut store = opened(&server, "odd_metadata");
        let mine = Entry {
            metadata: r#"{"mine":  "\u0000"}"#.into(),
            ..entry("a", 1)
        };
        store.insert(vec![mine.clone()]).unwrap();
        let theirs = peer.call("store.get_by_id", json!({"id": 1}));
        assert_eq!(theirs["metadata"], json!({"mine": "\u{10FFFE}0"}));
        assert_eq!(theirs["embedding"], json!(axis(1)));
        assert_eq!(
            store.get_by_ids(&[1], true).unwrap()[0].metadata,
            mine.metadata
        );
        // Replaced by an import.
        store.begin_import(ImportMode::Merge).unwrap();
        let replaced = Entry {
            metadata: r#"{ "b":1.0, "a":"\u0000" }"#.into(),
            ..mine
        };
        store.write_import(vec![replaced]).unwrap();
        assert!(store.commit_import(&[], &[]).unwrap());
        let theirs = peer.call("store.get_by_id", json!({"id": 1}));
        assert_eq!(theirs["metadata"], json!({"b": 1.0, "a": "\u{10FFFE}0"}));
        // Replaced by them: the metadata are the last ones.
        let given = Entry {
            metadata: r#"{"x": [null, 12345678901234567890, "ü🦀"]}"#.into(),
            ..entry("a", 1)
        };
        assert_eq!(peer.call("store.insert", fields(&given)), 1);
        let found = store.get_by_ids(&[1], true).unwrap().remove(0);
        let metadata: Value = serde_json::from_str(&found.metadata).unwrap();
        assert_eq!(metadata, fields(&given)["metadata"]);
        peer.close();
    });
}

/// Both write the same rows as fast as they can. It has no means against a deadlock, so
/// ours must give way.
fn neither_disturbs_the_other(python: Python, server: Arc<Postgres>) {
    const ROUNDS: u64 = 150;
    with_peer(python, server, |python, server| {
        let mut peer = theirs(python, &server, "rush");
        let mut store = opened(&server, "rush");
        // It looks for a row and then adds it, and fails where another was faster. So the
        // rows are there.
        let rows = (0..5).map(|n| entry("a", n));
        store.insert(rows.collect()).unwrap();
        let theirs = thread::spawn(move || {
            for n in 0..ROUNDS {
                peer.call("store.insert", fields(&entry("a", n % 5)));
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
            let mut peer = Peer::start(python);
            peer.ask(
                "open",
                json!({"place": place(&server, &schema), "fingerprint": FINGERPRINT, "dim": DIM}),
            );
            let mut store = server.store(&schema);
            store.open(FINGERPRINT, DIM).unwrap();
            // It has no means against such a race, and may have lost it.
            if peer.answer().is_err() {
                peer = theirs(python, &server, &schema);
            }
            assert_eq!(peer.call("store.insert", fields(&entry("a", 1))), 1);
            assert_eq!(store.insert(vec![entry("a", 1)]).unwrap()[0].id, 1);
            peer.close();
        }
    });
}
