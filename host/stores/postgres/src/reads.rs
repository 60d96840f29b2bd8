//! The operations that change nothing, each one statement.

use std::collections::HashMap;

use tokio_postgres::Row;

use super::connection::Connection;
use super::error::{Fault, Outcome, Repeat};
use super::layout::{self, META, own_keys};
use super::rows::{self, ENTRY_COLUMNS, column, entry_columns, escaped, unescaped};
use super::session::{BACK_TO_VIEW, Session};
use super::values::Values;
use super::{nearest, tags};
use mneme_store::checks::Embedder;
use mneme_store::{Entry, EntryKey, EntryRef, StampPage, VectorPage};

const BY_HASH: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM {entries} AS e WHERE e.namespace = $1 AND e.query_hash = $2"
);
const BY_HASH_BARE: &str = concat!(
    "SELECT ",
    entry_columns!("NULL"),
    " FROM {entries} AS e WHERE e.namespace = $1 AND e.query_hash = $2"
);
/// SQL for the entries of many keys, with their places.
macro_rules! by_hashes {
    ($embedding:literal) => {
        concat!(
            "SELECT ",
            entry_columns!($embedding),
            ", k.place FROM unnest($1::text[], $2::text[]) \
             WITH ORDINALITY AS k (namespace, query_hash, place) \
             JOIN {entries} AS e ON e.namespace = k.namespace AND e.query_hash = k.query_hash"
        )
    };
}
const BY_HASHES: &str = by_hashes!("e.embedding");
const BY_HASHES_BARE: &str = by_hashes!("NULL");
const BY_IDS: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM {entries} AS e WHERE e.id = ANY ($1)"
);
const BY_IDS_BARE: &str = concat!(
    "SELECT ",
    entry_columns!("NULL"),
    " FROM {entries} AS e WHERE e.id = ANY ($1)"
);
const SINCE: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM {entries} AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2"
);
const VECTORS: &str = "SELECT e.id, e.namespace, e.created_at, e.embedding, e.context
    FROM {entries} AS e WHERE e.id > $1 ORDER BY e.id LIMIT $2";
const STAMPS: &str = "SELECT id, created_at FROM {schema}.entries
    WHERE id > $1 ORDER BY id LIMIT $2";
const COUNT: &str = "SELECT count(*) FROM {schema}.entries";
const COUNT_IN: &str = "SELECT count(*) FROM {schema}.entries WHERE namespace = $1";
/// SQL for a page of the rows of a query that has a `name`: those from the place `$1` on, the first `$2`.
/// The order of the bytes is not that of the database's collation, nor of the escaped texts: see
/// [`place_after`]. So all names are looked at, and only the page is sent.
macro_rules! page_by_name {
    ($columns:literal, $query:literal) => {
        concat!(
            "SELECT ",
            $columns,
            " FROM (SELECT n.*, replace(replace(n.name COLLATE \"C\", chr(1), chr(1) || chr(2)), \
             chr(1114110) || '0', chr(1) || chr(1)) AS place FROM (",
            $query,
            " OFFSET 0) AS n) AS p WHERE place >= $1 ORDER BY place LIMIT $2"
        )
    };
}
/// From each namespace to the next one, so that it takes as many steps as there are
/// namespaces, not entries.
const NAMESPACES: &str = page_by_name!(
    "name",
    "WITH RECURSIVE step (name) AS (
        SELECT min(namespace) FROM {schema}.entries
        UNION ALL
        SELECT (SELECT min(namespace) FROM {schema}.entries WHERE namespace > step.name)
        FROM step WHERE step.name IS NOT NULL
    )
    SELECT name FROM step WHERE name IS NOT NULL"
);
/// One walk over an index of the namespaces.
const COUNTS: &str = page_by_name!(
    "name, entries",
    "SELECT namespace AS name, count(*) AS entries FROM {schema}.entries GROUP BY namespace"
);
const OLDEST: &str = "SELECT id, namespace, created_at FROM {schema}.entries
    ORDER BY last_accessed_at, id LIMIT $1";
const OLDEST_IN: &str = "SELECT id, namespace, created_at FROM {schema}.entries
    WHERE namespace = $2 ORDER BY last_accessed_at, id LIMIT $1";
const QUOTA: &str = "SELECT max_entries FROM {schema}.namespace_quotas WHERE namespace = $1";
const QUOTAS: &str = "SELECT namespace, max_entries FROM {schema}.namespace_quotas";
const ALL_META: &str = concat!(
    "SELECT key, value FROM {schema}.schema_meta WHERE key NOT IN ",
    own_keys!()
);
const VERSION: &str =
    "SELECT value FROM {schema}.multi_process_state WHERE key = 'version_counter' AND {ours}";
/// No row may have an embedding of another length, or an invalid id.
const WRONG_ROWS: &str = "SELECT EXISTS (SELECT FROM {schema}.entries
    WHERE id < 1 OR octet_length(embedding) <> $1::bigint)";
/// The indexes that the store relies on are there, and none is broken.
const WRONG_INDEXES: &str = "
    SELECT count(*) FILTER (WHERE i.indisprimary) < 1
        OR count(*) FILTER (WHERE i.indisunique AND NOT i.indisprimary
            AND i.indpred IS NULL AND pg_get_indexdef(i.indexrelid) LIKE '%(namespace, query_hash)%') < 1
        OR bool_or(NOT i.indisvalid OR NOT i.indisready)
    FROM pg_catalog.pg_index AS i
    WHERE i.indrelid = to_regclass($1)";
/// The next id is greater than all that there are.
const WRONG_SEQUENCE: &str = "
    SELECT coalesce((SELECT max(id) FROM {schema}.entries), 0) > coalesce(
        pg_sequence_last_value(pg_get_serial_sequence($1, 'id')::regclass), 0)";

/// Rows that a page makes room for before it knows how many there are.
const ROOM: u32 = 4096;

/// The place of the first name after this one in the order of bytes. The bytes of places have the order
/// of the names' bytes: U+0000, which a Postgres text cannot hold, is U+0001 U+0001, and U+0001 is U+0001
/// U+0002.
fn place_after(after: Option<&str>) -> String {
    let place = |name: &str| {
        name.replace('\u{1}', "\u{1}\u{2}")
            .replace('\0', "\u{1}\u{1}")
    };
    after.map_or_else(String::new, |after| {
        // That of U+10FFFE is its escaped text.
        let escaped = after.replace('\u{10FFFE}', "\u{10FFFE}1");
        format!("{}\u{1}\u{1}", place(&escaped))
    })
}

impl Session {
    pub(super) fn read<T>(
        &mut self,
        operation: impl AsyncFn(&Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        self.run(Repeat::Read, operation)
    }

    /// Runs a query, and makes something of each row.
    fn rows<T>(
        &mut self,
        sql: &'static str,
        values: Values<'_>,
        each: impl Fn(&Row) -> Outcome<T>,
    ) -> Outcome<Vec<T>> {
        self.read(async |conn| conn.query(sql, values).await?.iter().map(&each).collect())
    }

    pub fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Outcome<Vec<Option<Entry>>> {
        let dim = vectors.then_some(self.embedder.dim);
        let namespaces: Vec<_> = keys.iter().map(|key| escaped(&key.namespace)).collect();
        let hashes: Vec<_> = keys.iter().map(|key| escaped(&key.query_hash)).collect();
        let mut entries = vec![None; keys.len()];
        match keys {
            [] => {}
            [_] => {
                let values: Values<'_> = &[&namespaces[0], &hashes[0]];
                let by_hash = if vectors { BY_HASH } else { BY_HASH_BARE };
                let mut found = self.rows(by_hash, values, |row| rows::entry(row, dim))?;
                entries[0] = found.pop();
            }
            _ => {
                let values: Values<'_> = &[&namespaces, &hashes];
                let by_hashes = if vectors { BY_HASHES } else { BY_HASHES_BARE };
                let found = self.rows(by_hashes, values, |row| {
                    let place: i64 = column(row, ENTRY_COLUMNS)?;
                    Ok((place, rows::entry(row, dim)?))
                })?;
                for (place, entry) in found {
                    entries[place as usize - 1] = Some(entry);
                }
            }
        }
        Ok(entries)
    }

    pub fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Outcome<Vec<Entry>> {
        let dim = vectors.then_some(self.embedder.dim);
        let by_ids = if vectors { BY_IDS } else { BY_IDS_BARE };
        let known = stored_ids(ids);
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let found = self.rows(by_ids, &[&known], |row| rows::entry(row, dim))?;
        let mut found: HashMap<u64, Entry> =
            found.into_iter().map(|entry| (entry.id, entry)).collect();
        let mut last: HashMap<u64, usize> = HashMap::new();
        for (n, id) in ids.iter().enumerate() {
            last.insert(*id, n);
        }
        // Only an id that is asked for again later needs a copy.
        let one = |(n, id): (usize, &u64)| match last[id] == n {
            true => found.remove(id),
            false => found.get(id).cloned(),
        };
        Ok(ids.iter().enumerate().filter_map(one).collect())
    }

    pub fn count(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let count = |row: &Row| Ok(rows::whole(column(row, 0)?));
        let counts = match namespace {
            Some(name) => self.rows(COUNT_IN, &[&escaped(name)], count)?,
            None => self.rows(COUNT, &[], count)?,
        };
        Ok(counts.into_iter().sum())
    }

    pub fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Outcome<Vec<String>> {
        let values: Values<'_> = &[&place_after(after), &i64::from(limit)];
        self.rows(NAMESPACES, values, |row| Ok(unescaped(column(row, 0)?)))
    }

    pub fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<(String, u64)>> {
        let values: Values<'_> = &[&place_after(after), &i64::from(limit)];
        self.rows(COUNTS, values, |row| {
            Ok((unescaped(column(row, 0)?), rows::whole(column(row, 1)?)))
        })
    }

    pub fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Outcome<Vec<EntryRef>> {
        let n = i64::from(n);
        match namespace {
            Some(name) => self.rows(OLDEST_IN, &[&n, &escaped(name)], reference),
            None => self.rows(OLDEST, &[&n], reference),
        }
    }

    pub fn iter_since(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        let dim = Some(self.embedder.dim);
        let values: Values<'_> = &[&beyond(last_id), &i64::from(limit)];
        self.rows(SINCE, values, |row| rows::entry(row, dim))
    }

    pub fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Outcome<VectorPage> {
        let dim = self.embedder.dim;
        self.read(async |conn| {
            let values: Values<'_> = &[&beyond(last_id), &i64::from(limit)];
            let found = conn.query(VECTORS, values).await?;
            let room = found.len();
            let mut page = VectorPage {
                ids: Vec::with_capacity(room),
                contexts: Vec::with_capacity(room),
                namespaces: Vec::with_capacity(room),
                created_at: Vec::with_capacity(room),
                vectors: Vec::with_capacity(room.min(ROOM as usize) * dim as usize),
            };
            for row in &found {
                let id = rows::id(row, 0)?;
                let bytes = rows::value(row, 3, id, "embedding")?;
                rows::append_embedding(&mut page.vectors, bytes, dim, id)?;
                page.ids.push(id);
                page.contexts.push(rows::context(row, 4, id)?);
                page.namespaces.push(rows::text(row, 1, id, "namespace")?);
                page.created_at
                    .push(rows::number(row, 2, id, "created_at")?);
            }
            Ok(page)
        })
    }

    pub fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Outcome<StampPage> {
        let values: Values<'_> = &[&beyond(last_id), &i64::from(limit)];
        let stamps = self.rows(STAMPS, values, |row| {
            let id = rows::id(row, 0)?;
            Ok((id, rows::number(row, 1, id, "created_at")?))
        })?;
        let (ids, created_at) = stamps.into_iter().unzip();
        Ok(StampPage { ids, created_at })
    }

    pub fn get_namespace_quota(&mut self, namespace: &str) -> Outcome<Option<u64>> {
        let quota = |row: &Row| Ok(rows::whole(column(row, 0)?));
        let values: Values<'_> = &[&escaped(namespace)];
        Ok(self.rows(QUOTA, values, quota)?.pop())
    }

    pub fn list_namespace_quotas(&mut self) -> Outcome<Vec<(String, u64)>> {
        let mut quotas = self.rows(QUOTAS, &[], |row| {
            Ok((unescaped(column(row, 0)?), rows::whole(column(row, 1)?)))
        })?;
        quotas.sort_unstable();
        Ok(quotas)
    }

    pub fn read_version_counter(&mut self) -> Outcome<u64> {
        self.read(current_version)
    }

    pub fn read_meta(&mut self, key: &str) -> Outcome<Option<String>> {
        let values: Values<'_> = &[&escaped(key)];
        let value = |row: &Row| Ok(unescaped(column(row, 0)?));
        Ok(self.rows(META, values, value)?.pop())
    }

    pub fn list_meta(&mut self) -> Outcome<Vec<(String, String)>> {
        let mut meta = self.rows(ALL_META, &[], |row| {
            Ok((unescaped(column(row, 0)?), unescaped(column(row, 1)?)))
        })?;
        meta.sort_unstable();
        Ok(meta)
    }

    pub fn integrity_check(&mut self) -> Outcome<bool> {
        let embedder = self.embedder.clone();
        let (in_view, nearest) = (self.in_view, self.options.nearest.is_some());
        self.read(async |conn| match check(conn, &embedder, nearest).await {
            Err(fault) if fault.is_damage() => {
                if in_view {
                    conn.plain(BACK_TO_VIEW).await?;
                }
                Ok(false)
            }
            outcome => outcome,
        })
    }
}

async fn check(conn: &Connection, embedder: &Embedder, nearest: bool) -> Outcome<bool> {
    let table = conn.text("{schema}.entries");
    let bytes = i64::from(embedder.dim) * 4;
    let index = nearest::index(conn);
    let wrong: [(&str, Values<'_>); 5] = [
        (WRONG_INDEXES, &[&table]),
        (WRONG_SEQUENCE, &[&table]),
        (WRONG_ROWS, &[&bytes]),
        (tags::WRONG, &[]),
        (nearest::WRONG, &[&index]),
    ];
    // A cache that lacks columns has no tags, and one without a search no vectors.
    let checks = match (conn.lacks_columns(), nearest) {
        (true, _) => 3,
        (_, false) => 4,
        (_, true) => 5,
    };
    let wrong = &wrong[..checks];
    match layout::verify(conn, embedder).await {
        Err(Fault::Typed(_)) => return Ok(false),
        outcome => outcome?,
    }
    current_version(conn).await?;
    for (sql, values) in wrong {
        let found = conn.query(sql, values).await?;
        for row in &found {
            if column(row, 0)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// A row of `id, namespace, created_at`.
fn reference(row: &Row) -> Outcome<EntryRef> {
    rows::reference(row, [0, 1, 2])
}

async fn current_version(conn: &Connection) -> Outcome<u64> {
    let rows = conn.query(VERSION, &[]).await?;
    if rows.is_empty() {
        conn.check_ours().await?;
    }
    version(&rows)
}

/// The version counter, which is kept as text.
pub(super) fn version(rows: &[Row]) -> Outcome<u64> {
    let Some(row) = rows.first() else {
        return Ok(0);
    };
    counter(column(row, 0)?)
}

/// The text of the version counter.
pub(super) fn counter(text: &str) -> Outcome<u64> {
    text.parse().map_err(|_| {
        Fault::Corrupt(format!(
            "table multi_process_state, key version_counter holds {text:?}, which is not a count; set it to a number above the last, or restore a backup"
        ))
    })
}

/// The ids that a row can have.
fn stored_ids(ids: &[u64]) -> Vec<i64> {
    ids.iter()
        .filter_map(|id| i64::try_from(*id).ok())
        .collect()
}

/// An id to look beyond; no row has an id that a BIGINT cannot hold.
pub(super) fn beyond(last_id: u64) -> i64 {
    i64::try_from(last_id).unwrap_or(i64::MAX)
}
