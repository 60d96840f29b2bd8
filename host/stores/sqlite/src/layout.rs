//! The tables: what a file must hold to be ours, and their creation.
//!
//! The layout is shared with the Python library `mneme-cache`; schema version 1 fixes
//! tables, columns and indexes. The table `derived_blobs` (name TEXT PRIMARY KEY, bytes BLOB
//! NOT NULL) is ours alone, and there only once something was kept in it; see `blobs`.

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::error::{Fault, Outcome};
use mneme_store::checks::Embedder;

/// The schema version that this release reads and writes.
const SCHEMA_VERSION: u64 = 1;

const TABLES: [&str; 5] = [
    "schema_meta",
    "entries",
    "cache_counters",
    "namespace_quotas",
    "multi_process_state",
];

/// The table of blobs, which a cache may lack.
pub(super) const BLOBS: &str = "derived_blobs";

const INDEXES: [&str; 4] = [
    "idx_entries_ns_hash",
    "idx_entries_ns_lru",
    "idx_entries_created_at",
    "idx_entries_id",
];

const CREATE: &str = "
CREATE TABLE IF NOT EXISTS schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL DEFAULT 'default',
    query_hash TEXT NOT NULL,
    query TEXT NOT NULL,
    response TEXT NOT NULL,
    embedding BLOB NOT NULL,
    metadata TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    last_accessed_at INTEGER NOT NULL,
    ttl INTEGER,
    access_count INTEGER NOT NULL DEFAULT 0,
    UNIQUE(namespace, query_hash)
);
CREATE INDEX IF NOT EXISTS idx_entries_ns_hash ON entries(namespace, query_hash);
CREATE INDEX IF NOT EXISTS idx_entries_ns_lru ON entries(namespace, last_accessed_at);
CREATE INDEX IF NOT EXISTS idx_entries_created_at ON entries(created_at);
CREATE INDEX IF NOT EXISTS idx_entries_id ON entries(id);
CREATE TABLE IF NOT EXISTS cache_counters (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
);
CREATE TABLE IF NOT EXISTS namespace_quotas (
    namespace TEXT PRIMARY KEY,
    max_entries INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '0')
    ON CONFLICT (key) DO NOTHING;
";

/// SQL for "a key that `replace_meta` may set".
macro_rules! user_meta {
    () => {
        "key NOT IN ('schema_version', 'embedder_fingerprint', 'embedder_dim')"
    };
}
pub(super) use user_meta;

/// What a file is, seen from here.
#[derive(Debug)]
pub(super) enum Found {
    /// No cache yet: nothing at all, or our tables without any entry or embedder.
    New,
    /// A cache made with this embedder.
    Cache {
        embedder: Embedder,
        /// All tables and indexes are there.
        complete: bool,
    },
}

/// Looks without writing. Run it in a transaction, or it may see half of what another
/// process is creating.
pub(super) fn inspect(conn: &Connection) -> Outcome<Found> {
    let names = object_names(conn)?;
    let has = |name: &str| names.iter().any(|present| present == name);
    let version = match has("schema_meta") {
        true => meta(conn, "schema_version")?,
        false => None,
    };
    let Some(version) = version else {
        let foreign: Vec<_> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !TABLES.contains(name) && !INDEXES.contains(name) && *name != BLOBS)
            .collect();
        if !foreign.is_empty() {
            return Err(Fault::Schema(format!(
                "this database belongs to something else (it has {}, and no schema version of a cache); give another path",
                foreign.join(", ")
            )));
        }
        if has("entries") && has_entries(conn)? {
            return Err(Fault::Corrupt(
                "table schema_meta lacks the key schema_version though there are entries; restore a checkpoint".into(),
            ));
        }
        return Ok(Found::New);
    };
    check_version(&version)?;
    let Some(embedder) = embedder(conn)? else {
        if has("entries") && has_entries(conn)? {
            return Err(Fault::Corrupt(
                "table schema_meta lacks embedder_fingerprint or embedder_dim though there are entries; restore a checkpoint".into(),
            ));
        }
        return Ok(Found::New);
    };
    let complete = TABLES.iter().chain(&INDEXES).all(|name| has(name));
    Ok(Found::Cache { embedder, complete })
}

/// Creates what is missing and records the embedder where none is. Run it in a write
/// transaction.
pub(super) fn provision(conn: &Connection, embedder: &Embedder) -> Outcome<()> {
    conn.execute_batch(CREATE)?;
    let mut record = conn.prepare(
        "INSERT INTO schema_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
    )?;
    record.execute(("schema_version", SCHEMA_VERSION.to_string()))?;
    record.execute(("embedder_fingerprint", &embedder.fingerprint))?;
    record.execute(("embedder_dim", embedder.dim.to_string()))?;
    Ok(())
}

/// Prepares `statements`, which fails where a table lacks a column or a constraint
/// that the store builds on.
pub(super) fn probe(conn: &Connection, statements: &[&str]) -> Outcome<()> {
    for sql in statements {
        conn.prepare_cached(sql).map_err(misfit)?;
    }
    Ok(())
}

/// A value of `schema_meta`.
pub(super) fn meta(conn: &Connection, key: &str) -> Outcome<Option<String>> {
    let mut query = conn
        .prepare_cached("SELECT value FROM schema_meta WHERE key = ?1")
        .map_err(misfit)?;
    Ok(query.query_row([key], |row| row.get(0)).optional()?)
}

/// Statements of ours that do not compile mean tables that are not ours.
pub(super) fn misfit(error: rusqlite::Error) -> Fault {
    if is_uncompiled(&error) {
        return Fault::Schema(format!(
            "the tables are not those of a cache ({error}); give another path"
        ));
    }
    Fault::Sqlite(error)
}

/// Whether a statement does not compile, because a table or a column is missing, say.
pub(super) fn is_uncompiled(error: &rusqlite::Error) -> bool {
    matches!(error, rusqlite::Error::SqlInputError { .. })
        || error.sqlite_error_code() == Some(ErrorCode::Unknown)
}

fn check_version(text: &str) -> Outcome<()> {
    match text.parse::<u64>() {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(newer) if newer > SCHEMA_VERSION => Err(Fault::Schema(format!(
            "schema_version is {newer}, and this release knows {SCHEMA_VERSION}; use the release that wrote the file, or a later one"
        ))),
        _ => Err(Fault::Schema(format!(
            "table schema_meta, key schema_version holds {text:?}, which is not a version of a cache; restore a checkpoint, or give another path"
        ))),
    }
}

fn embedder(conn: &Connection) -> Outcome<Option<Embedder>> {
    let fingerprint = meta(conn, "embedder_fingerprint")?;
    let dim = meta(conn, "embedder_dim")?;
    let (Some(fingerprint), Some(dim)) = (fingerprint, dim) else {
        return Ok(None);
    };
    let dim = dim.parse().map_err(|_| {
        Fault::Corrupt(format!(
            "table schema_meta, key embedder_dim holds {dim:?}, which is not a number of dimensions; restore a checkpoint"
        ))
    })?;
    Ok(Some(Embedder { fingerprint, dim }))
}

/// Whether there is any entry.
pub(super) fn has_entries(conn: &Connection) -> Outcome<bool> {
    Ok(
        conn.query_row("SELECT EXISTS (SELECT 1 FROM entries)", [], |row| {
            row.get(0)
        })?,
    )
}

fn object_names(conn: &Connection) -> Outcome<Vec<String>> {
    let mut query =
        conn.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'")?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<rusqlite::Result<_>>()?)
}
