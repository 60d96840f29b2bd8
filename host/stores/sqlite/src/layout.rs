//! The tables: what a file must hold to be ours, and their creation.
//!
//! The layout is shared with the Python library `mneme-cache`; schema version 1 fixes
//! tables, columns and indexes. Ours alone are:
//!
//! | | |
//! |---|---|
//! | `entries.context` | TEXT NOT NULL DEFAULT '' |
//! | `entries.tags` | TEXT NOT NULL DEFAULT '[]': a JSON array of strings |
//! | `entry_tags` | tag TEXT, id INTEGER: by which tags are found; see `labels` |
//! | `changes` | version INTEGER, id INTEGER, deleted INTEGER: the log of changes; see `changes` |
//! | `derived_blobs` | name TEXT PRIMARY KEY, bytes BLOB NOT NULL: there only once something was kept in it; see `blobs` |
//! | `idx_entries_lru`, `idx_entries_expiry` | indexes |
//!
//! Opening for writing adds what is missing. What can only be read is read without it.

use rusqlite::{Connection, ErrorCode, Row};

use super::error::{Fault, Outcome};
use super::labels;
use super::rows;
use super::schema::{ADD_LABELS, OBJECTS, SHOW_LABELS, Schema, TAGS};
use mneme_store::checks::{Embedder, GREATEST};

/// The schema version that this release reads and writes.
const SCHEMA_VERSION: u64 = 1;

const START_COUNTER: &str = "INSERT INTO multi_process_state (key, value)
    VALUES ('version_counter', '0') ON CONFLICT (key) DO NOTHING";

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
    Cache { embedder: Embedder, schema: Schema },
}

impl Found {
    /// Whether it is a cache with all tables and indexes.
    pub fn is_complete(&self) -> bool {
        matches!(self, Self::Cache { schema, .. } if schema.is_complete())
    }
}

/// Looks without writing. Run it in a transaction, or it may see half of what another
/// process is creating. A database with a statement that no cache has is refused before any
/// of its tables is read.
pub(super) fn inspect(conn: &Connection) -> Outcome<Found> {
    let schema = Schema::read(conn)?;
    if !schema.has("schema_meta")
        && let Some(names) = schema.of_others()
    {
        return Err(Fault::Schema(format!(
            "this database belongs to something else (it has {names}, and no schema version of a cache); give another path"
        )));
    }
    // Of a later release, the version says more than the statements.
    if schema.knows("schema_meta")
        && let Some(version) = meta(conn, "schema_version")?
    {
        check_version(&version)?;
    }
    schema.accept()?;
    refuse_encoding(conn)?;
    let has_entries = schema.has("entries") && has_entries(conn)?;
    let lacks = |what: &str| match has_entries {
        true => Err(Fault::Corrupt(format!(
            "table schema_meta lacks {what} though there are entries; restore a checkpoint"
        ))),
        false => Ok(Found::New),
    };
    if !schema.has("schema_meta") || meta(conn, "schema_version")?.is_none() {
        return lacks("the key schema_version");
    }
    let Some(embedder) = embedder(conn)? else {
        return lacks("embedder_fingerprint or embedder_dim");
    };
    if schema.has("sqlite_sequence") {
        check_last_id(conn)?;
    }
    Ok(Found::Cache { embedder, schema })
}

/// Creates what is missing and records the embedder where none is. Run it in a write
/// transaction.
pub(super) fn provision(conn: &Connection, embedder: &Embedder) -> Outcome<()> {
    let schema = Schema::read(conn)?;
    if schema.has("entries") && !schema.has_labels {
        conn.execute_batch(ADD_LABELS)?;
    }
    for object in OBJECTS.iter().filter(|object| !schema.has(object.name)) {
        conn.execute_batch(object.sql)?;
    }
    if schema.has_labels && !schema.has(TAGS) {
        labels::fill(conn)?;
    }
    conn.execute_batch(START_COUNTER)?;
    let mut record = conn.prepare(
        "INSERT INTO schema_meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO NOTHING",
    )?;
    record.execute(("schema_version", SCHEMA_VERSION.to_string()))?;
    record.execute(("embedder_fingerprint", &embedder.fingerprint))?;
    record.execute(("embedder_dim", embedder.dim.to_string()))?;
    Ok(())
}

/// Has statements find the columns that the file lacks.
pub(super) fn show_labels(conn: &Connection, schema: &Schema) -> Outcome<()> {
    if !schema.has_labels {
        conn.execute_batch(SHOW_LABELS)?;
    }
    Ok(())
}

/// Refuses texts that are not UTF-8, which sort in another order.
fn refuse_encoding(conn: &Connection) -> Outcome<()> {
    let encoding: String = conn.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    match &*encoding {
        "UTF-8" => Ok(()),
        _ => Err(Fault::Schema(format!(
            "the encoding of the database is {encoding}, and that of a cache is UTF-8; give another path"
        ))),
    }
}

/// Refuses a last id that no cache has given. Ids go on from it.
pub(super) fn check_last_id(conn: &Connection) -> Outcome<()> {
    const WRONG: &str = "SELECT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'entries'
        AND (typeof(seq) <> 'integer' OR seq NOT BETWEEN 0 AND ?1))";
    let wrong: bool = conn.query_row(WRONG, [GREATEST], |row| row.get(0))?;
    match wrong {
        true => Err(wrong_last_id()),
        false => Ok(()),
    }
}

/// The error for an invalid last id.
pub(super) fn wrong_last_id() -> Fault {
    Fault::Corrupt(format!(
        "table sqlite_sequence, row entries, column seq is not a number from 0 to {GREATEST}, so no entry can get an id; run UPDATE sqlite_sequence SET seq = (SELECT ifnull(max(id), 0) FROM entries) WHERE name = 'entries', or restore a checkpoint"
    ))
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
    let mut found = query.query([key])?;
    let row = found.next()?;
    row.map(|row| meta_value(row, 0, key)).transpose()
}

/// The value of a key of `schema_meta`.
pub(super) fn meta_value(row: &Row<'_>, index: usize, key: &str) -> Outcome<String> {
    let remedy =
        "restore a checkpoint, or delete that row, unless it names the schema or the embedder";
    let place = || format!("table schema_meta, column value of the row with key {key:?}");
    rows::text_at(row, index, place, remedy)
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

/// Does something about a table that a cache may lack; `none` where there is no table.
pub(super) fn unless_missing<T>(
    conn: &Connection,
    table: &str,
    none: T,
    work: impl Fn(&Connection) -> rusqlite::Result<T>,
) -> Outcome<T> {
    match work(conn) {
        Err(error) if is_uncompiled(&error) => match has_table(conn, table)? {
            false => Ok(none),
            // Another process may just have made it.
            true => work(conn).map_err(misfit),
        },
        outcome => Ok(outcome?),
    }
}

/// Whether the file has the table.
pub(super) fn has_table(conn: &Connection, table: &str) -> Outcome<bool> {
    const HAS: &str = "SELECT EXISTS (SELECT 1 FROM main.sqlite_schema WHERE name = ?1)";
    Ok(conn.query_row(HAS, [table], |row| row.get(0))?)
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

/// Refuses data of another embedder than the one that the store was opened with. Of one cache it
/// never changes.
pub(super) fn still_of(conn: &Connection, embedder: &Embedder) -> Outcome<()> {
    if meta(conn, "embedder_fingerprint")?.as_deref() != Some(&embedder.fingerprint) {
        return Err(Fault::replaced("it has another embedder"));
    }
    Ok(())
}

/// Whether there is any entry.
pub(super) fn has_entries(conn: &Connection) -> Outcome<bool> {
    Ok(
        conn.query_row("SELECT EXISTS (SELECT 1 FROM entries)", [], |row| {
            row.get(0)
        })?,
    )
}
