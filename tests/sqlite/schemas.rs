//! Files and snapshots whose statements are not those of a cache.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mneme::PutRequest;
use mneme::embedder::Precomputed;
use mneme::store::{SqliteStore, Store, StoreError};
use rusqlite::Connection;

use super::place::{open, place, version};
use super::snapshots::{altered, restore, snapshot};
use mneme_tests::rows::{DIM, FINGERPRINT, entry, get, key, put};
use mneme_tests::sqlite;

mneme_tests::tests![
    a_changed_statement_is_refused_everywhere,
    what_no_cache_has_is_refused_everywhere,
    tenants_stay_apart_whatever_a_snapshot_says,
    tenants_stay_apart_whatever_an_index_says,
    a_snapshot_that_would_compute_is_refused_at_once,
    texts_in_another_encoding_are_refused,
    what_analyze_makes_is_allowed,
    layouts_of_older_releases_are_completed,
    white_space_is_of_no_account,
    a_restore_takes_over_rows_and_nothing_else,
];

/// Replaces text in the statement of a table or an index.
pub fn rewrite(name: &str, from: &str, to: &str) -> String {
    let quoted = |text: &str| text.replace('\'', "''");
    format!(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, '{}', '{}') WHERE name = '{name}';
         PRAGMA writable_schema = OFF;",
        quoted(from),
        quoted(to)
    )
}

/// Statements that a cache does not have, by the name of what has them.
pub const CHANGES: &[(&str, &str, &str)] = &[
    (
        "entries",
        "namespace TEXT NOT NULL",
        "namespace TEXT COLLATE NOCASE NOT NULL",
    ),
    (
        "entries",
        "query_hash TEXT NOT NULL",
        "query_hash TEXT NOT NULL COLLATE RTRIM",
    ),
    (
        "entries",
        "query TEXT NOT NULL",
        "query TEXT NOT NULL CHECK (query <> 'x')",
    ),
    ("entries", "metadata TEXT NOT NULL", "metadata TEXT"),
    ("entries", "created_at INTEGER", "created_at ANY"),
    ("entries", "DEFAULT 'default'", "DEFAULT 'Default'"),
    ("entries", "DEFAULT 'default'", "DEFAULT 'default '"),
    ("entries", "AUTOINCREMENT", "  AUTOINCREMENT /**/"),
    (
        "entries",
        "ttl INTEGER,",
        "ttl INTEGER, more GENERATED ALWAYS AS (hex(zeroblob(490000000))),",
    ),
    ("entries", "response TEXT", "response text"),
    ("entries", "context TEXT", "context TEXT COLLATE NOCASE"),
    ("entries", "DEFAULT '[]'", "DEFAULT '[\"t\"]'"),
    ("entries", "context TEXT NOT NULL DEFAULT '',", ""),
    ("entry_tags", "tag TEXT", "tag TEXT COLLATE NOCASE"),
    (
        "entry_tags",
        "PRIMARY KEY (tag, id)",
        "PRIMARY KEY (id, tag)",
    ),
    // U+00A0 and U+FEFF are letters to SQLite, not white space.
    ("entries", "query TEXT NOT NULL", "query TEXT NOT\u{a0}NULL"),
    (
        "entries",
        "response TEXT NOT NULL",
        "response TEXT\u{feff}NOT NULL",
    ),
    (
        "schema_meta",
        "value TEXT NOT NULL",
        "value TEXT NOT NULL DEFAULT 'v'",
    ),
    (
        "namespace_quotas",
        "namespace TEXT PRIMARY KEY",
        "namespace TEXT COLLATE NOCASE PRIMARY KEY",
    ),
    (
        "multi_process_state",
        "value TEXT NOT NULL",
        "value TEXT NOT NULL UNIQUE ON CONFLICT IGNORE",
    ),
    (
        "cache_counters",
        "value INTEGER NOT NULL",
        "value INTEGER NOT NULL CHECK (value > random())",
    ),
    (
        "idx_entries_ns_hash",
        "(namespace, query_hash)",
        "(namespace, query_hash) WHERE id > 7",
    ),
    (
        "idx_entries_created_at",
        "(created_at)",
        "(created_at DESC)",
    ),
    ("idx_entries_id", "(id)", "(abs(id))"),
    ("idx_entries_expiry", "created_at + ttl", "created_at - ttl"),
    ("sqlite_sequence", "(name,seq)", "(name,seq,more)"),
];

/// Statements that make what a cache does not have, and its name.
pub const ADDITIONS: &[(&str, &str)] = &[
    ("more", "CREATE TABLE more (a)"),
    (
        "more",
        "CREATE TABLE more (a, b AS (hex(zeroblob(490000000))))",
    ),
    ("more", "CREATE UNIQUE INDEX more ON entries(created_at)"),
    ("more", "CREATE INDEX more ON entries(id) WHERE ttl > 7"),
    ("more", "CREATE INDEX more ON entries(length(query))"),
    (
        "more",
        "CREATE INDEX more ON entries(namespace COLLATE NOCASE)",
    ),
    ("more", "CREATE VIEW more AS SELECT * FROM entries"),
    (
        "more",
        "CREATE TRIGGER more AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
    ),
    ("more", "CREATE VIRTUAL TABLE more USING fts5(text)"),
    ("more", "CREATE VIRTUAL TABLE more USING rtree(id, a, b)"),
    ("entries", "ALTER TABLE entries ADD COLUMN more"),
    (
        "entries",
        "ALTER TABLE entries ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(490000000)))",
    ),
    ("entries", "ALTER TABLE entries RENAME COLUMN ttl TO other"),
    ("schema_meta", "ALTER TABLE schema_meta ADD COLUMN more"),
];

/// Fails unless a file is refused for its object `name`, by opening, by the integrity check of
/// an open store, and as a snapshot; and nothing has changed.
#[track_caller]
fn assert_refused(name: &str, sql: &str) {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..3).map(|n| entry("a", n)).collect())
        .unwrap();
    let good = snapshot(&mut store);
    let bad = altered(&good, sql);

    let path = place.dir.path().join("bad.db");
    fs::write(&path, &bad).unwrap();
    let refused = |outcome: Result<(), StoreError>| {
        let Err(StoreError::Schema(message)) = outcome else {
            panic!("{sql}: {outcome:?}");
        };
        assert!(message.contains(&format!("{name:?}")), "{sql}: {message}");
        assert!(
            message.contains("another path") || message.contains("nothing was changed"),
            "{message}"
        );
    };
    refused(SqliteStore::new(&path).open(FINGERPRINT, DIM));
    refused(SqliteStore::new(&path).recorded_embedder().map(drop));
    assert_eq!(fs::read(&path).unwrap(), bad, "{sql}");

    let before = store.iter_since(0, 9).unwrap();
    let counter = version(&mut store);
    refused(restore(&mut store, &bad));
    assert_eq!(store.iter_since(0, 9).unwrap(), before);
    assert_eq!(version(&mut store), counter);

    assert!(store.integrity_check().unwrap());
    drop(Connection::open(&place.path).unwrap().execute_batch(sql));
    assert!(!store.integrity_check().unwrap(), "{sql}");
}

fn a_changed_statement_is_refused_everywhere() {
    for (name, from, to) in CHANGES {
        assert_refused(name, &rewrite(name, from, to));
    }
}

fn what_no_cache_has_is_refused_everywhere() {
    for (name, sql) in ADDITIONS {
        assert_refused(name, sql);
    }
}

fn tenants_stay_apart_whatever_a_snapshot_says() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let change = rewrite("entries", "namespace TEXT", "namespace TEXT COLLATE NOCASE");
    let bad = altered(&snapshot(&mut store), &(change + "VACUUM;"));
    let outcome = restore(&mut store, &bad);
    assert!(matches!(outcome, Err(StoreError::Schema(_))), "{outcome:?}");
    put(&mut store, entry("acme", 7));
    assert_eq!(get(&mut store, "ACME", 7), None);
}

/// The index of the hashes leads from a key of `mallory` to the row that comes next.
fn tenants_stay_apart_whatever_an_index_says() {
    let place = place();
    let mut store = open(&place.path);
    assert_eq!(put(&mut store, entry("alice", 1)), 1);
    store.close().unwrap();
    let lie = format!(
        "CREATE TABLE lie (namespace TEXT, query_hash TEXT, UNIQUE (namespace, query_hash));
         CREATE INDEX lie_2 ON lie (namespace, query_hash);
         INSERT INTO lie (rowid, namespace, query_hash)
             SELECT id, namespace, query_hash FROM entries UNION ALL SELECT 2, 'mallory', '{}';
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage =
             (SELECT rootpage FROM sqlite_schema WHERE name = 'sqlite_autoindex_lie_1')
             WHERE name = 'sqlite_autoindex_entries_1';
         UPDATE sqlite_schema SET rootpage =
             (SELECT rootpage FROM sqlite_schema WHERE name = 'lie_2')
             WHERE name = 'idx_entries_ns_hash';
         DELETE FROM sqlite_schema WHERE tbl_name = 'lie';",
        mneme_tests::rows::hash(2)
    );
    sqlite::execute(&place.path, &lie);
    let cache = mneme_tests::builder()
        .store(SqliteStore::new(&place.path))
        .embedder(Precomputed::new(FINGERPRINT, DIM))
        .open()
        .unwrap();
    let vector = || vec![1.0; DIM as usize];
    let of_alice = PutRequest::new("salary?", "90000").namespace("alice");
    // Its hash is not the one of the lie, so the entry goes where it belongs.
    cache.put(of_alice.embedding(vector())).unwrap();
    cache.close().unwrap();

    let mut store = open(&place.path);
    let found = store.get_by_hash(&[key("mallory", 2)], true).unwrap();
    let led = found.into_iter().next().flatten();
    assert_eq!(led.unwrap().namespace, "alice", "the index lies");
    let outcome = store.insert(vec![entry("mallory", 2)]);
    assert!(
        matches!(outcome, Err(StoreError::Corrupt(_))),
        "{outcome:?}"
    );
    let of_alice = store.get_by_ids(&[2], true).unwrap();
    assert_eq!(of_alice[0].response, "90000");
}

fn a_snapshot_that_would_compute_is_refused_at_once() {
    let place = place();
    let mut store = open(&place.path);
    store
        .insert((0..30).map(|n| entry("a", n)).collect())
        .unwrap();
    let good = snapshot(&mut store);
    let column =
        "ALTER TABLE entries ADD COLUMN more GENERATED ALWAYS AS (hex(zeroblob(490000000)))";
    for sql in [
        column,
        &rewrite(
            "entries",
            "embedding BLOB NOT NULL",
            "embedding BLOB AS (zeroblob(490000000))",
        ),
    ] {
        let bad = altered(&good, sql);
        let start = Instant::now();
        let outcome = restore(&mut store, &bad);
        assert!(matches!(outcome, Err(StoreError::Schema(_))), "{outcome:?}");
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "{:?}",
            start.elapsed()
        );
    }
}

fn texts_in_another_encoding_are_refused() {
    let place = place();
    let mut store = open(&place.path);
    let path = place.dir.path().join("utf16.db");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("PRAGMA encoding = 'UTF-16'; CREATE TABLE schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);")
        .unwrap();
    drop(conn);
    let outcomes = [
        SqliteStore::new(&path).open(FINGERPRINT, DIM),
        restore(&mut store, &fs::read(&path).unwrap()),
    ];
    for outcome in outcomes {
        assert!(
            matches!(&outcome, Err(StoreError::Schema(what)) if what.contains("UTF-16")),
            "{outcome:?}"
        );
    }
}

/// A file of a release that did other things, with an entry.
fn older(path: &Path, sql: &str) -> Vec<u8> {
    let mut store = open(path);
    put(&mut store, entry("a", 1));
    store.close().unwrap();
    sqlite::execute(path, sql);
    let bytes = fs::read(path).unwrap();
    put(&mut open(path), entry("a", 2));
    bytes
}

/// Fails unless the file and the snapshot were taken, and the file is complete again.
fn assert_taken(path: &Path, bytes: &[u8], sql: &str) {
    let mut store = open(path);
    assert_eq!(store.count(None).unwrap(), 2, "{sql}");
    assert!(store.integrity_check().unwrap(), "{sql}");
    restore(&mut store, bytes).unwrap();
    assert_eq!(store.count(None).unwrap(), 1, "{sql}");
    const INDEXES: &str = "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'idx~_%' ESCAPE '~'";
    assert_eq!(sqlite::value::<i64>(path, INDEXES), 6, "{sql}");
    assert!(store.integrity_check().unwrap(), "{sql}");
}

fn what_analyze_makes_is_allowed() {
    let place = place();
    let bytes = older(&place.path, "PRAGMA journal_mode = DELETE; ANALYZE");
    assert_taken(&place.path, &bytes, "ANALYZE");
}

fn layouts_of_older_releases_are_completed() {
    for sql in [
        "DROP INDEX idx_entries_lru; DROP INDEX idx_entries_expiry",
        "DROP INDEX idx_entries_expiry; DROP INDEX idx_entries_id; DROP TABLE cache_counters",
        "DROP TABLE entry_tags",
    ] {
        let place = place();
        let bytes = older(&place.path, &format!("PRAGMA journal_mode = DELETE; {sql}"));
        assert_taken(&place.path, &bytes, sql);
    }
}

fn white_space_is_of_no_account() {
    let place = place();
    // As mneme-cache writes it.
    let sql = rewrite(
        "multi_process_state",
        "(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "(\n    key TEXT PRIMARY KEY,\n    value TEXT NOT NULL\n)",
    );
    let bytes = older(&place.path, &format!("PRAGMA journal_mode = DELETE; {sql}"));
    assert_taken(&place.path, &bytes, &sql);
}

fn a_restore_takes_over_rows_and_nothing_else() {
    let place = place();
    let mut store = open(&place.path);
    put(&mut store, entry("a", 1));
    let bytes = altered(
        &snapshot(&mut store),
        "PRAGMA user_version = 7; PRAGMA application_id = 8; PRAGMA auto_vacuum = 1; VACUUM;
         ANALYZE; INSERT INTO sqlite_stat1 VALUES ('entries', NULL, 'unordered');
         INSERT INTO sqlite_sequence VALUES ('other', 5)",
    );
    restore(&mut store, &bytes).unwrap();
    assert_eq!(store.count(None).unwrap(), 1);
    for (sql, expected) in [
        ("PRAGMA user_version", 0),
        ("PRAGMA application_id", 0),
        ("PRAGMA auto_vacuum", 0),
        (
            "SELECT count(*) FROM sqlite_schema WHERE name LIKE 'sqlite~_stat%' ESCAPE '~'",
            0,
        ),
        ("SELECT count(*) FROM sqlite_sequence", 1),
    ] {
        assert_eq!(sqlite::value::<i64>(&place.path, sql), expected, "{sql}");
    }
}
