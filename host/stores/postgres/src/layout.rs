//! The tables: what a schema must hold to be ours, and their creation.
//!
//! The layout is shared with the Python library `mneme-cache`; schema version 1 fixes
//! tables, columns and indexes. Ours alone are:
//!
//! | | |
//! |---|---|
//! | `entries.metadata_text`, `entries.metadata_text_of` | TEXT and BYTEA: a JSONB does not keep the text that it was made from |
//! | `entries.context` | TEXT NOT NULL DEFAULT '' |
//! | `entries.tags` | JSONB NOT NULL DEFAULT '[]': an array of strings |
//! | `entry_tags` | tag TEXT, id BIGINT: by which tags are found; see `tags` |
//! | `idx_entries_lru`, `idx_entries_expiry` | indexes of `entries` |
//! | `changes` | version BIGINT, id BIGINT, deleted BOOLEAN: the log of changes; see `changes` |
//! | `derived_blobs` | name TEXT, bytes BYTEA: a cache may lack it; see `blobs` |
//!
//! Opening adds what is missing. Where the role or the server can only read, it is read without.

use std::hash::{BuildHasher, Hasher, RandomState};

use tokio_postgres::Row;

use super::connection::{BEGIN, COMMIT, Connection, quoted};
use super::error::{Fault, Outcome};
use super::rows::{column, escaped, unescaped};
use super::tags;
use super::writes::transaction;
use mneme_store::checks::{self, Embedder};

/// The schema version that this release reads and writes.
const SCHEMA_VERSION: u64 = 1;

/// How often creating is tried again when another process creates the same.
const TRIES: u32 = 8;

/// Every column, by table.
const COLUMNS: [(&str, &str, &str); 29] = [
    ("schema_meta", "key", "text"),
    ("schema_meta", "value", "text"),
    ("entries", "id", "bigint"),
    ("entries", "namespace", "text"),
    ("entries", "query_hash", "text"),
    ("entries", "query", "text"),
    ("entries", "response", "text"),
    ("entries", "embedding", "bytea"),
    ("entries", "metadata", "jsonb"),
    ("entries", "created_at", "bigint"),
    ("entries", "last_accessed_at", "bigint"),
    ("entries", "ttl", "bigint"),
    ("entries", "access_count", "bigint"),
    ("entries", "metadata_text", "text"),
    ("entries", "metadata_text_of", "bytea"),
    ("entries", "context", "text"),
    ("entries", "tags", "jsonb"),
    ("cache_counters", "namespace", "text"),
    ("cache_counters", "name", "text"),
    ("cache_counters", "value", "bigint"),
    ("namespace_quotas", "namespace", "text"),
    ("namespace_quotas", "max_entries", "bigint"),
    ("multi_process_state", "key", "text"),
    ("multi_process_state", "value", "text"),
    (TAGS, "tag", "text"),
    (TAGS, "id", "bigint"),
    (CHANGES, "version", "bigint"),
    (CHANGES, "id", "bigint"),
    (CHANGES, "deleted", "boolean"),
];

/// The table of tags.
const TAGS: &str = "entry_tags";

/// The log of changes.
pub(super) const CHANGES: &str = "changes";

/// The tables that the Python library does not make, and that follow from the entries.
const OWN_TABLES: [&str; 2] = [TAGS, CHANGES];

/// SQL for the meta keys that only a store itself writes.
macro_rules! own_keys {
    () => {
        "('schema_version', 'embedder_fingerprint', 'embedder_dim')"
    };
}
pub(super) use own_keys;

/// A column of the entries that the Python library does not make.
#[derive(Debug)]
pub(super) struct OwnColumn {
    pub name: &'static str,
    /// What it would hold where it is missing.
    pub without: &'static str,
}

/// What a cache lacks that can only be read here.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    pub columns: Vec<&'static OwnColumn>,
    /// The log of changes.
    pub log: bool,
}

const OWN_COLUMNS: [OwnColumn; 4] = [
    OwnColumn {
        name: "metadata_text",
        without: "NULL::text",
    },
    OwnColumn {
        name: "metadata_text_of",
        without: "NULL::bytea",
    },
    OwnColumn {
        name: "context",
        without: "''::text",
    },
    OwnColumn {
        name: "tags",
        without: "'[]'::jsonb",
    },
];

const CREATE_TABLES: &str = "
CREATE TABLE IF NOT EXISTS {schema}.schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS {schema}.entries (
    id BIGSERIAL PRIMARY KEY,
    namespace TEXT NOT NULL DEFAULT 'default',
    query_hash TEXT NOT NULL,
    query TEXT NOT NULL,
    response TEXT NOT NULL,
    embedding BYTEA NOT NULL,
    metadata JSONB NOT NULL,
    created_at BIGINT NOT NULL,
    last_accessed_at BIGINT NOT NULL,
    ttl BIGINT,
    access_count BIGINT NOT NULL DEFAULT 0,
    UNIQUE (namespace, query_hash)
);
CREATE INDEX IF NOT EXISTS idx_entries_ns_hash ON {schema}.entries (namespace, query_hash);
CREATE INDEX IF NOT EXISTS idx_entries_ns_lru ON {schema}.entries (namespace, last_accessed_at);
CREATE INDEX IF NOT EXISTS idx_entries_created_at ON {schema}.entries (created_at);
CREATE TABLE IF NOT EXISTS {schema}.cache_counters (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value BIGINT NOT NULL,
    PRIMARY KEY (namespace, name)
);
CREATE TABLE IF NOT EXISTS {schema}.namespace_quotas (
    namespace TEXT PRIMARY KEY,
    max_entries BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS {schema}.multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL);
";
/// Not compressed: it would cost every read, and what is derived from vectors hardly shrinks.
pub(super) const CREATE_BLOBS: &str = "
CREATE TABLE IF NOT EXISTS {schema}.derived_blobs (name TEXT COLLATE \"C\" PRIMARY KEY, bytes BYTEA NOT NULL);
ALTER TABLE {schema}.derived_blobs ALTER COLUMN bytes SET STORAGE EXTERNAL;
";
/// SQL for when an entry expires, as an index has it. The sum cannot overflow.
macro_rules! expires_at {
    () => {
        "greatest(created_at, 0)::numeric + greatest(ttl, 0)"
    };
}
pub(super) use expires_at;
/// Changes no row. The indexes are those of eviction and expiry; a cache that lacks them is slower.
const ADD_OWN: &str = concat!(
    "ALTER TABLE {schema}.entries
    ADD COLUMN IF NOT EXISTS metadata_text TEXT,
    ADD COLUMN IF NOT EXISTS metadata_text_of BYTEA,
    ADD COLUMN IF NOT EXISTS context TEXT NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS tags JSONB NOT NULL DEFAULT '[]';
CREATE TABLE IF NOT EXISTS {schema}.entry_tags (tag TEXT COLLATE \"C\", id BIGINT, PRIMARY KEY (tag, id));
CREATE TABLE IF NOT EXISTS {schema}.changes (version BIGINT, id BIGINT, deleted BOOLEAN NOT NULL, PRIMARY KEY (version, id));
CREATE INDEX IF NOT EXISTS idx_entries_lru ON {schema}.entries (last_accessed_at, id);
CREATE INDEX IF NOT EXISTS idx_entries_expiry ON {schema}.entries
    ((",
    expires_at!(),
    ")) WHERE ttl IS NOT NULL;"
);
/// Who may do what with the entries may do it with the tables that follow from them.
const GRANTED: &str = "
    SELECT CASE grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(grantee)::text END, privilege_type
    FROM pg_catalog.pg_class, aclexplode(relacl)
    WHERE oid = to_regclass($1) AND grantee <> relowner
        AND privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE')";
const MAY_WRITE: &str = "SELECT has_table_privilege(to_regclass($1), 'INSERT, UPDATE, DELETE')";
const ROLE: &str = "SELECT current_user::text";
pub(super) const START_COUNTER: &str = "INSERT INTO {schema}.multi_process_state (key, value)
    VALUES ('version_counter', '0') ON CONFLICT (key) DO NOTHING";
const RECORD: &str = "INSERT INTO {schema}.schema_meta (key, value)
    SELECT * FROM unnest($1::text[], $2::text[]) ON CONFLICT (key) DO NOTHING";
/// Processes that create the same schema at the same time do so one after another.
pub(super) const CREATION_LOCK: &str =
    "SELECT pg_advisory_xact_lock(hashtextextended('mneme ' || $1, 0))";

/// Which cache it is, among all that were ever begun in the schema: in a table that the Python
/// library makes and does not use.
const INCARNATION: &str = "SELECT value FROM {schema}.cache_counters
    WHERE namespace = '' AND name = 'incarnation'";
const MARK: &str = "INSERT INTO {schema}.cache_counters (namespace, name, value)
    VALUES ('', 'incarnation', $1) ON CONFLICT (namespace, name) DO NOTHING";

const HAS_SCHEMA: &str = "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)";
const FIND_COLUMNS: &str = "
    SELECT c.relname::text, a.attname::text, format_type(a.atttypid, NULL)
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE n.nspname = $1 AND c.relname = ANY ($2::text[])
        AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped";
pub(super) const META: &str = "SELECT value FROM {schema}.schema_meta WHERE key = $1";
const OWN_META: &str = concat!(
    "SELECT key, value FROM {schema}.schema_meta WHERE key IN ",
    own_keys!()
);
const HAS_ENTRIES: &str = "SELECT EXISTS (SELECT FROM {schema}.entries)";

/// What a schema is, seen from here.
#[derive(Debug)]
enum Found {
    /// No cache yet: nothing of ours, or our tables without any entry or embedder.
    New { has_schema: bool },
    /// A cache made with this embedder.
    Cache {
        embedder: Embedder,
        missing: Missing,
    },
}

/// What has to be created. Each needs rights that a role which only uses the cache may
/// lack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Nothing,
    /// These columns of a table that the Python library makes, or of one that it does not make.
    Own(Vec<(&'static str, &'static str)>),
    Tables,
}

/// Creates what is missing, records the embedder where none is, and compares it where one
/// is. Returns what is missing still, for nothing can be written here.
pub(super) async fn open(conn: &Connection, schema: &str, embedder: &Embedder) -> Outcome<Lacking> {
    for tries in 1.. {
        let (mut lacking, mut lacks_own) = (Lacking::default(), false);
        if let Found::Cache {
            embedder: stored,
            missing,
        } = inspect(conn, schema).await?
        {
            stored.accept(embedder)?;
            match missing {
                Missing::Nothing => return Ok(lacking),
                Missing::Own(columns) => {
                    let own = OWN_COLUMNS.iter();
                    lacking
                        .columns
                        .extend(own.filter(|own| columns.contains(&("entries", own.name))));
                    lacking.log = columns.iter().any(|(table, _)| *table == CHANGES);
                    lacks_own = true;
                }
                Missing::Tables => {}
            }
        }
        match provision(conn, schema, embedder).await {
            Err(fault) if lacks_own && cannot_write(conn, &fault).await? => return Ok(lacking),
            Err(fault) if lacks_own && fault.code() == "42501" => {
                return Err(Fault::System(remedy(conn).await?));
            }
            Ok(()) if tries < TRIES => {}
            Ok(()) => break,
            Err(fault) if fault.is_creation_race() && !fault.is_lost() && tries < TRIES => {}
            Err(fault) => return Err(fault),
        }
    }
    Err(Fault::System(
        "the tables were created, and are not there; check what else writes to the schema".into(),
    ))
}

/// Whether this role or server could not write to the cache either.
async fn cannot_write(conn: &Connection, fault: &Fault) -> Outcome<bool> {
    match fault.code() {
        "25006" => Ok(true),
        "42501" => {
            let table = conn.text("{schema}.entries");
            Ok(!exists(&conn.query(MAY_WRITE, &[&table]).await?)?)
        }
        _ => Ok(false),
    }
}

/// What an owner has to do for a role that may write and not create.
async fn remedy(conn: &Connection) -> Outcome<String> {
    let role: String = match conn.query(ROLE, &[]).await?.first() {
        Some(row) => column(row, 0)?,
        None => String::new(),
    };
    Ok(format!(
        "table entries lacks the columns that keep metadata as given, contexts and tags, or there is no table {TAGS} or {CHANGES}, and this role does not own the table; let its owner run: {} GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}",
        conn.text(ADD_OWN),
        conn.text("{schema}.entry_tags, {schema}.changes"),
        quoted(&role)
    ))
}

/// SQL for the table of entries with the columns that it lacks. It holds when they are added too.
pub(super) fn supplied(lacking: &[&OwnColumn]) -> String {
    let columns = COLUMNS.iter().filter(|(table, ..)| *table == "entries");
    let columns = columns.map(|(_, name, _)| {
        let lacking = lacking.iter().find(|own| own.name == *name);
        let value = lacking.map_or(*name, |own| own.without);
        format!("{value} AS {name}")
    });
    let columns: Vec<String> = columns.collect();
    format!("(SELECT {} FROM {{schema}}.entries)", columns.join(", "))
}

/// The incarnation of the cache. `None` if it has none yet and this role or server cannot record one.
pub(super) async fn incarnation(conn: &Connection) -> Outcome<Option<i64>> {
    let found = recorded_incarnation(conn).await?;
    if found.is_some() {
        return Ok(found);
    }
    let fresh = RandomState::new().build_hasher().finish().cast_signed();
    match conn.query(MARK, &[&fresh]).await {
        Err(fault) if matches!(fault.code(), "25006" | "42501") => Ok(None),
        Err(fault) => Err(fault),
        // Another process may have been faster.
        Ok(_) => recorded_incarnation(conn).await,
    }
}

async fn recorded_incarnation(conn: &Connection) -> Outcome<Option<i64>> {
    let rows = conn.query(INCARNATION, &[]).await?;
    rows.first().map(|row| column(row, 0)).transpose()
}

/// The embedder of the cache in the schema, if there is one. Writes nothing.
pub(super) async fn recorded_embedder(
    conn: &Connection,
    schema: &str,
) -> Outcome<Option<Embedder>> {
    match inspect(conn, schema).await? {
        Found::Cache { embedder, .. } => Ok(Some(embedder)),
        Found::New { .. } => Ok(None),
    }
}

/// Checks that a schema which was opened before still is that cache.
pub(super) async fn verify(conn: &Connection, embedder: &Embedder) -> Outcome<()> {
    match recorded(&conn.query(OWN_META, &[]).await?)? {
        Recorded::Embedder(stored) => Ok(stored.accept(embedder)?),
        _ => Err(Fault::Corrupt(checks::vanished())),
    }
}

/// Looks without writing.
async fn inspect(conn: &Connection, schema: &str) -> Outcome<Found> {
    let has_schema = exists(&conn.query(HAS_SCHEMA, &[&schema]).await?)?;
    let mut tables: Vec<&str> = COLUMNS.iter().map(|(table, ..)| *table).collect();
    tables.dedup();
    let mut present = Vec::new();
    for row in conn.query(FIND_COLUMNS, &[&schema, &tables]).await? {
        present.push((column(&row, 0)?, column(&row, 1)?, column(&row, 2)?));
    }
    check_columns(&present)?;
    let has = |table: &str| present.iter().any(|(name, ..)| name == table);
    let has_entries = match has("entries") {
        true => has_entry(conn).await?,
        false => false,
    };
    let recorded = match has("schema_meta") {
        true => recorded(&conn.query(OWN_META, &[]).await?)?,
        false => Recorded::Nothing,
    };
    let missing = match recorded {
        Recorded::Embedder(embedder) => {
            let missing = COLUMNS.iter().filter(|(table, column, _)| {
                let mut fields = present.iter();
                !fields.any(|(name, field, _)| name == table && field == column)
            });
            let mut own = Vec::new();
            let mut is_theirs_missing = false;
            for (table, column, _) in missing {
                match is_own(table, column) {
                    true => own.push((*table, *column)),
                    false => is_theirs_missing = true,
                }
            }
            let missing = match own.is_empty() {
                _ if is_theirs_missing => Missing::Tables,
                true => Missing::Nothing,
                false => Missing::Own(own),
            };
            return Ok(Found::Cache { embedder, missing });
        }
        Recorded::Version => "embedder_fingerprint or embedder_dim",
        Recorded::Nothing => "schema_version",
    };
    match has_entries {
        true => Err(Fault::Corrupt(format!(
            "table schema_meta lacks the key {missing} though there are entries; restore a backup, or give another schema"
        ))),
        false => Ok(Found::New { has_schema }),
    }
}

/// Whether the Python library does not make it.
fn is_own(table: &str, column: &str) -> bool {
    OWN_TABLES.contains(&table)
        || (table == "entries" && OWN_COLUMNS.iter().any(|own| own.name == column))
}

/// Refuses tables that have our names and not our columns.
fn check_columns(present: &[(String, String, String)]) -> Outcome<()> {
    for (table, column, kind) in COLUMNS {
        let mut fields = present.iter().filter(|(name, ..)| name == table).peekable();
        let is_own = table == "entries" && is_own(table, column);
        if fields.peek().is_none() {
            continue;
        }
        let wrong = match fields.find(|(_, field, _)| field == column) {
            Some((.., found)) if found == kind => continue,
            Some((.., found)) => format!("is of type {found}, where a cache has {kind}"),
            None if is_own => continue,
            None => "is missing".to_owned(),
        };
        return Err(Fault::Schema(format!(
            "table {table} is not that of a cache: column {column} {wrong}; give another schema"
        )));
    }
    Ok(())
}

/// Creates what is missing and records the embedder where none is, in one transaction.
async fn provision(conn: &Connection, schema: &str, embedder: &Embedder) -> Outcome<()> {
    transaction(conn, async || {
        conn.begin(BEGIN).await?;
        create(conn, schema, embedder).await?;
        conn.end(COMMIT).await
    })
    .await
}

async fn create(conn: &Connection, schema: &str, embedder: &Embedder) -> Outcome<()> {
    conn.query(CREATION_LOCK, &[&schema]).await?;
    let found = inspect(conn, schema).await?;
    let missing = match found {
        Found::Cache { missing, .. } => missing,
        Found::New { has_schema } => {
            if !has_schema {
                let create = format!("CREATE SCHEMA {}", quoted(schema));
                conn.plain(&create).await?;
            }
            Missing::Tables
        }
    };
    match &missing {
        Missing::Nothing => return Ok(()),
        Missing::Own(_) => {}
        Missing::Tables => {
            conn.plain(&conn.text(CREATE_TABLES)).await?;
            conn.plain(&conn.text(CREATE_BLOBS)).await?;
        }
    }
    add_own(conn).await?;
    // The tags were there, and the table was not.
    if matches!(&missing, Missing::Own(columns) if columns.contains(&(TAGS, "tag")) && !columns.contains(&("entries", "tags")))
    {
        conn.query(tags::FILL, &[]).await?;
    }
    conn.plain(&conn.text(START_COUNTER)).await?;
    let keys = ["schema_version", "embedder_fingerprint", "embedder_dim"];
    let values = [
        SCHEMA_VERSION.to_string(),
        escaped(&embedder.fingerprint).into_owned(),
        embedder.dim.to_string(),
    ];
    conn.query(RECORD, &[&&keys[..], &&values[..]]).await?;
    Ok(())
}

/// Adds what the Python library does not make.
async fn add_own(conn: &Connection) -> Outcome<()> {
    conn.plain(&conn.text(ADD_OWN)).await?;
    grant(conn, &OWN_TABLES, &["SELECT", "INSERT", "UPDATE", "DELETE"]).await
}

/// Gives those of these rights that others have on the entries on further tables.
pub(super) async fn grant(conn: &Connection, tables: &[&str], rights: &[&str]) -> Outcome<()> {
    let entries = conn.text("{schema}.entries");
    for row in conn.query(GRANTED, &[&entries]).await? {
        let (role, right): (Option<&str>, &str) = (column(&row, 0)?, column(&row, 1)?);
        let role = role.map_or("PUBLIC".to_owned(), quoted);
        for own in tables.iter().filter(|_| rights.contains(&right)) {
            let grant = format!("GRANT {right} ON {{schema}}.{own} TO {role}");
            conn.plain(&conn.text(&grant)).await?;
        }
    }
    Ok(())
}

/// What `schema_meta` says of the cache.
enum Recorded {
    Nothing,
    /// A version, which is ours.
    Version,
    Embedder(Embedder),
}

fn recorded(rows: &[Row]) -> Outcome<Recorded> {
    let mut found = [None, None, None];
    for row in rows {
        let (key, value): (&str, &str) = (column(row, 0)?, column(row, 1)?);
        let place = match key {
            "schema_version" => 0,
            "embedder_fingerprint" => 1,
            _ => 2,
        };
        found[place] = Some(unescaped(value));
    }
    let [version, fingerprint, dim] = found;
    let Some(version) = version else {
        return Ok(Recorded::Nothing);
    };
    check_version(&version)?;
    let (Some(fingerprint), Some(dim)) = (fingerprint, dim) else {
        return Ok(Recorded::Version);
    };
    let dim = dim.parse().map_err(|_| {
        Fault::Corrupt(format!(
            "table schema_meta, key embedder_dim holds {dim:?}, which is not a number of dimensions; restore a backup"
        ))
    })?;
    Ok(Recorded::Embedder(Embedder { fingerprint, dim }))
}

fn check_version(text: &str) -> Outcome<()> {
    match text.parse::<u64>() {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(newer) if newer > SCHEMA_VERSION => Err(Fault::Schema(format!(
            "schema_version is {newer}, and this release knows {SCHEMA_VERSION}; use the release that wrote the data, or a later one"
        ))),
        _ => Err(Fault::Schema(format!(
            "table schema_meta, key schema_version holds {text:?}, which is not a version of a cache; restore a backup, or give another schema"
        ))),
    }
}

/// Whether there is an entry.
pub(super) async fn has_entry(conn: &Connection) -> Outcome<bool> {
    exists(&conn.query(HAS_ENTRIES, &[]).await?)
}

fn exists(rows: &[Row]) -> Outcome<bool> {
    match rows.first() {
        Some(row) => column(row, 0),
        None => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(of: impl Fn(&str, &str) -> bool) -> Vec<(String, String, String)> {
        COLUMNS
            .iter()
            .filter(|(table, column, _)| of(table, column))
            .map(|(table, column, kind)| (table.to_string(), column.to_string(), kind.to_string()))
            .collect()
    }

    #[test]
    fn tables_of_a_cache_are_told_from_others() {
        assert!(check_columns(&[]).is_ok());
        assert!(check_columns(&columns(|_, _| true)).is_ok());
        assert!(check_columns(&columns(|table, _| table == "entries")).is_ok());
        let theirs = columns(|table, column| !is_own(table, column));
        assert!(check_columns(&theirs).is_ok());
        let mut others = theirs.clone();
        others.retain(|(_, column, _)| column != "embedding");
        let fault = check_columns(&others).unwrap_err();
        assert!(
            matches!(fault, Fault::Schema(what) if what.contains("column embedding is missing"))
        );
        let mut others = theirs;
        others[7].2 = "text".to_owned();
        let fault = check_columns(&others).unwrap_err();
        assert!(matches!(fault, Fault::Schema(what) if what.contains("embedding is of type text")));
    }

    #[test]
    fn versions() {
        assert!(check_version("1").is_ok());
        for wrong in ["2", "0", "-1", "", "one", "1.0"] {
            assert!(
                matches!(check_version(wrong), Err(Fault::Schema(_))),
                "{wrong}"
            );
        }
    }
}
