//! The statements of the tables: which ones a database may have, and no others.
//!
//! SQLite obeys what a file says of its tables: a collation makes two tenants one, a generated
//! column runs for minutes. So a file is only used where each of its statements is one that this
//! store or `mneme-cache` writes. They are compared without their white space, and otherwise
//! letter by letter.

use rusqlite::{Connection, Row};

use super::error::{Fault, Outcome};

/// The table of blobs, which a cache may lack.
pub(super) const BLOBS: &str = "derived_blobs";

/// The table of tags, which follows from the entries.
pub(super) const TAGS: &str = "entry_tags";

/// The log of changes, which belongs to one file.
pub(super) const CHANGES: &str = "changes";

/// The columns that `mneme-cache` does not make, in the statement of table `entries`. They stand where
/// adding them puts them.
const LABELS: &str = "    context TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]',
";

/// Adds [`LABELS`] to the table of another release or of `mneme-cache`. SQLite changes no row.
pub(super) const ADD_LABELS: &str = "
ALTER TABLE entries ADD COLUMN context TEXT NOT NULL DEFAULT '';
ALTER TABLE entries ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
";

/// Gives the table the columns in a file that can only be read. Once another process has added them,
/// the names are those of its columns.
pub(super) const SHOW_LABELS: &str = "CREATE TEMP VIEW entries AS
    SELECT *, '' AS context, '[]' AS tags FROM main.entries";

/// Something in a database that a statement makes.
#[derive(Debug)]
pub(super) struct Object {
    pub name: &'static str,
    /// As SQLite keeps it.
    pub sql: &'static str,
}

impl Object {
    pub fn is_table(&self) -> bool {
        self.sql.starts_with("CREATE TABLE")
    }

    /// Whether its rows are made for the entries of a file, and never copied.
    pub fn is_derived(&self) -> bool {
        self.name == TAGS || self.name == CHANGES
    }
}

/// The tables, then the indexes.
pub(super) const OBJECTS: &[Object] = &[
    Object {
        name: "schema_meta",
        sql: "CREATE TABLE schema_meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    },
    Object {
        name: "entries",
        sql: "CREATE TABLE entries (
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
    context TEXT NOT NULL DEFAULT '',
    tags TEXT NOT NULL DEFAULT '[]',
    UNIQUE(namespace, query_hash)
)",
    },
    Object {
        name: "cache_counters",
        sql: "CREATE TABLE cache_counters (
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
)",
    },
    Object {
        name: "namespace_quotas",
        sql: "CREATE TABLE namespace_quotas (
    namespace TEXT PRIMARY KEY,
    max_entries INTEGER NOT NULL
)",
    },
    Object {
        name: "multi_process_state",
        sql: "CREATE TABLE multi_process_state (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    },
    // Ours alone.
    Object {
        name: TAGS,
        sql: "CREATE TABLE entry_tags (
    tag TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (tag, id)
) WITHOUT ROWID",
    },
    Object {
        name: CHANGES,
        sql: "CREATE TABLE changes (
    version INTEGER NOT NULL,
    id INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (version, id)
) WITHOUT ROWID",
    },
    Object {
        name: "idx_entries_ns_hash",
        sql: "CREATE INDEX idx_entries_ns_hash ON entries(namespace, query_hash)",
    },
    Object {
        name: "idx_entries_ns_lru",
        sql: "CREATE INDEX idx_entries_ns_lru ON entries(namespace, last_accessed_at)",
    },
    Object {
        name: "idx_entries_created_at",
        sql: "CREATE INDEX idx_entries_created_at ON entries(created_at)",
    },
    Object {
        name: "idx_entries_id",
        sql: "CREATE INDEX idx_entries_id ON entries(id)",
    },
    // Ours alone, and of no interest to `mneme-cache`.
    Object {
        name: "idx_entries_lru",
        sql: "CREATE INDEX idx_entries_lru ON entries(last_accessed_at)",
    },
    Object {
        name: "idx_entries_expiry",
        sql: "CREATE INDEX idx_entries_expiry ON entries(created_at + ttl, namespace)
    WHERE ttl BETWEEN 0 AND 9007199254740991 AND +created_at BETWEEN 0 AND 9007199254740991",
    },
];

/// Made by the first blob.
pub(super) const CREATE_BLOBS: &str =
    "CREATE TABLE IF NOT EXISTS derived_blobs (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)";

/// What may be there beside [`OBJECTS`]: the table of blobs, and what SQLite makes itself,
/// for ids that are never given twice and with `ANALYZE`.
const OPTIONAL: &[Object] = &[
    Object {
        name: BLOBS,
        sql: "CREATE TABLE derived_blobs (name TEXT PRIMARY KEY, bytes BLOB NOT NULL)",
    },
    Object {
        name: "sqlite_sequence",
        sql: "CREATE TABLE sqlite_sequence(name,seq)",
    },
    Object {
        name: "sqlite_stat1",
        sql: "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    },
    Object {
        name: "sqlite_stat4",
        sql: "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
    },
];

/// The most of a name or a statement that a message repeats.
const SHOWN: usize = 80;

/// What a database has.
#[derive(Debug)]
pub(super) struct Schema {
    names: Vec<String>,
    /// Table `entries` has the columns `context` and `tags`.
    pub has_labels: bool,
    /// What no cache has.
    foreign: Vec<Foreign>,
}

#[derive(Debug)]
struct Foreign {
    kind: String,
    name: String,
    sql: String,
    /// A cache has something of this name.
    changed: bool,
}

impl Schema {
    /// Reads the statements of a database, and runs nothing of them.
    pub fn read(conn: &Connection) -> Outcome<Self> {
        let mut query = conn.prepare("SELECT type, name, sql FROM sqlite_schema")?;
        let mut found = query.query([])?;
        let mut schema = Self {
            names: Vec::new(),
            has_labels: false,
            foreign: Vec::new(),
        };
        while let Some(row) = found.next()? {
            let (kind, name, sql) = (text(row, 0), text(row, 1), row.get_ref(2)?);
            let sql = match sql.as_str_or_null() {
                Ok(sql) => sql.map(str::to_owned),
                Err(_) => Some("no text".to_owned()),
            };
            schema.has_labels |= name == "entries" && sql.as_deref().is_some_and(has_labels);
            if !is_known(&kind, &name, sql.as_deref()) {
                schema.foreign.push(Foreign {
                    changed: object(&name).is_some(),
                    kind,
                    name: name.clone(),
                    sql: sql.unwrap_or_default(),
                });
            }
            schema.names.push(name);
        }
        Ok(schema)
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.iter().any(|present| present == name)
    }

    /// Whether it has something of this name, and as a cache has it.
    pub fn knows(&self, name: &str) -> bool {
        self.has(name) && self.foreign.iter().all(|foreign| foreign.name != name)
    }

    /// Whether all tables, columns and indexes are there.
    pub fn is_complete(&self) -> bool {
        self.has_labels && OBJECTS.iter().all(|object| self.has(object.name))
    }

    /// What only another program makes, in the words of a list.
    pub fn of_others(&self) -> Option<String> {
        let others: Vec<_> = self
            .names
            .iter()
            .filter(|name| object(name).is_none() && !name.starts_with("sqlite_"))
            .map(|name| excerpt(name))
            .take(5)
            .collect();
        (!others.is_empty()).then(|| others.join(", "))
    }

    /// Refuses a database with anything that no cache has.
    pub fn accept(&self) -> Outcome<()> {
        let Some(foreign) = self.foreign.first() else {
            return Ok(());
        };
        let (kind, name) = (&foreign.kind, excerpt(&foreign.name));
        Err(Fault::Schema(match foreign.changed {
            true => format!(
                "the {kind} {name} is not as a cache has it, for its statement is {}; restore a checkpoint, or give another path",
                excerpt(&flat(&foreign.sql))
            ),
            false => format!(
                "it has the {kind} {name}, which no cache has; drop it, or give another path"
            ),
        }))
    }
}

/// The statement that a name stands for in a cache.
fn object(name: &str) -> Option<&'static Object> {
    let mut known = OBJECTS.iter().chain(OPTIONAL);
    known.find(|object| object.name == name)
}

fn is_known(kind: &str, name: &str, sql: Option<&str>) -> bool {
    match (object(name), sql) {
        (Some(object), Some(sql)) => {
            let expected = if object.is_table() { "table" } else { "index" };
            let flat_sql = flat(sql);
            let is_older = || flat_sql == flat(&object.sql.replace(LABELS, ""));
            kind == expected && (flat_sql == flat(object.sql) || is_older())
        }
        // SQLite's own indexes come from the statements of their tables.
        (None, None) => kind == "index" && name.starts_with("sqlite_autoindex_"),
        _ => false,
    }
}

/// Whether the statement of table `entries` makes the columns of [`LABELS`].
fn has_labels(sql: &str) -> bool {
    flat(sql).contains(flat(LABELS).trim_end_matches(','))
}

/// A statement with single spaces, and without any beside brackets and commas. No known
/// statement has space in quotes, so what differs there stays different.
fn flat(sql: &str) -> String {
    let mut flat = String::with_capacity(sql.len());
    for word in sql.split_ascii_whitespace() {
        let glued = flat.ends_with(['(', ',', ')']) || word.starts_with(['(', ',', ')']);
        if !flat.is_empty() && !glued {
            flat.push(' ');
        }
        flat.push_str(word);
    }
    flat
}

fn text(row: &Row<'_>, column: usize) -> String {
    let text = row
        .get_ref(column)
        .ok()
        .and_then(|value| value.as_str().ok());
    text.unwrap_or_default().to_owned()
}

/// The beginning of a text, in quotes.
fn excerpt(text: &str) -> String {
    let mut chars = text.chars();
    let beginning: String = chars.by_ref().take(SHOWN).collect();
    let rest = if chars.next().is_some() { "…" } else { "" };
    format!("{beginning:?}{rest}")
}
