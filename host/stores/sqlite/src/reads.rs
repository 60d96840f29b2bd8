//! The operations that change nothing.

use rusqlite::{Connection, Row, ToSql};

use super::blobs;
use super::connection::in_transaction;
use super::error::{Fault, Outcome};
use super::labels;
use super::layout::{self, Found, user_meta};
use super::rows::{self, entry_columns, expired};
use super::session::Session;
use mneme_store::checks::{GREATEST, read_number};
use mneme_store::{Entry, EntryKey, EntryRef, StampPage, VectorPage};

/// The row itself tells its namespace and hash: an index of a file that somebody hands over may lead
/// to another one.
pub(super) const BY_HASH: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM entries
    WHERE id = (SELECT id FROM entries WHERE namespace = ?1 AND query_hash = ?2)"
);
const BY_HASH_BARE: &str = concat!(
    "SELECT ",
    entry_columns!("NULL"),
    " FROM entries
    WHERE id = (SELECT id FROM entries WHERE namespace = ?1 AND query_hash = ?2)"
);
const BY_ID: &str = concat!("SELECT ", entry_columns!(), " FROM entries WHERE id = ?1");
const BY_ID_BARE: &str = concat!(
    "SELECT ",
    entry_columns!("NULL"),
    " FROM entries WHERE id = ?1"
);
const SINCE: &str = concat!(
    "SELECT ",
    entry_columns!(),
    " FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2"
);
pub(super) const ALL: &str = concat!("SELECT ", entry_columns!(), " FROM entries ORDER BY id");
const VECTORS: &str = "SELECT id, namespace, created_at, embedding, context FROM entries
    WHERE id > ?1 ORDER BY id LIMIT ?2";
const STAMPS: &str = "SELECT id, created_at FROM entries WHERE id > ?1 ORDER BY id LIMIT ?2";
/// In no order, which an index that holds just the two can serve. The `+` keeps SQLite
/// from walking the far larger table for the sake of the id.
const STAMPS_UNORDERED: &str = "SELECT id, created_at FROM entries WHERE +id > ?1 LIMIT ?2";
/// By steps that can be counted and ended: SQLite counts all rows of a table in one.
const COUNT: &str = "SELECT count(*) FROM entries WHERE +id IS NOT NULL";
const COUNT_IN: &str = "SELECT count(*) FROM entries WHERE namespace = ?1";
/// From each namespace to the next one, the first `?2` from the name `?1` on, so that it takes as
/// many steps as there are namespaces, not entries.
macro_rules! each_namespace {
    ($select:literal) => {
        concat!(
            "
    WITH RECURSIVE step (name) AS (
        SELECT min(namespace) FROM entries WHERE namespace >= ?1
        UNION ALL
        SELECT (SELECT min(namespace) FROM entries WHERE namespace > step.name)
        FROM step WHERE step.name IS NOT NULL
    )
    SELECT ",
            $select,
            " FROM step WHERE name IS NOT NULL LIMIT ?2"
        )
    };
}
const NAMESPACES: &str = each_namespace!("name");
/// One walk over an index, which has the order and ends with the page.
const COUNTS: &str = "SELECT namespace, count(*) FROM entries WHERE namespace >= ?1
    GROUP BY namespace ORDER BY namespace LIMIT ?2";
/// Faster than one walk over all entries if there are few namespaces.
const COUNTS_OF_FEW: &str =
    each_namespace!("name, (SELECT count(*) FROM entries WHERE namespace = step.name)");
/// So many namespaces are few.
const FEW_NAMESPACES: u32 = 100;
/// The inner query needs an index only; the outer one reads the few rows it found.
const OLDEST: &str = "
    SELECT e.id, e.namespace, e.created_at
    FROM (SELECT id, last_accessed_at FROM entries ORDER BY last_accessed_at, id LIMIT ?1) AS o
    JOIN entries AS e ON e.id = o.id
    ORDER BY o.last_accessed_at, o.id";
const OLDEST_IN: &str = "SELECT id, namespace, created_at FROM entries
    WHERE namespace = ?2 ORDER BY last_accessed_at, id LIMIT ?1";
pub(super) const QUOTA: &str = "SELECT max_entries FROM namespace_quotas WHERE namespace = ?1";
const QUOTAS: &str =
    "SELECT namespace, rowid, max_entries FROM namespace_quotas ORDER BY namespace";
const META: &str = concat!(
    "SELECT key, rowid, value FROM schema_meta WHERE ",
    user_meta!(),
    " ORDER BY key"
);
const VERSION: &str = "SELECT value FROM multi_process_state WHERE key = 'version_counter'";
const HAS_EXPIRED: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM entries WHERE ",
    expired!(),
    ")"
);
/// The `+` keeps SQLite from walking through the namespace instead of the index of expiry.
const HAS_EXPIRED_IN: &str = concat!(
    "SELECT EXISTS (SELECT 1 FROM entries WHERE +namespace = ?2 AND ",
    expired!(),
    ")"
);
/// Up to a limit.
const COUNT_EXPIRED: &str = concat!(
    "SELECT count(*) FROM (SELECT 1 FROM entries WHERE ",
    expired!(),
    " LIMIT ?2)"
);
/// From the index of expiry, those first that expired first.
const EXPIRED: &str = concat!("SELECT id FROM entries WHERE ", expired!(), " LIMIT ?2");
const EXPIRED_IN: &str = concat!(
    "SELECT id FROM entries WHERE +namespace = ?3 AND ",
    expired!(),
    " LIMIT ?2"
);
/// By a walk through the namespace, where those of others would be in the way.
const EXPIRED_OF_MANY_IN: &str = concat!(
    "SELECT id FROM entries INDEXED BY idx_entries_ns_hash WHERE namespace = ?3 AND ",
    expired!(),
    " LIMIT ?2"
);

/// Passing over so many entries of the index takes some milliseconds.
const MANY: u32 = 50_000;

#[cfg(test)]
use super::select;

/// Queries, and whether they walk the whole table.
#[cfg(test)]
pub(super) const PLANNED: &[(&str, bool)] = &[
    (BY_HASH, false),
    (BY_HASH_BARE, false),
    (BY_ID, false),
    (BY_ID_BARE, false),
    (SINCE, false),
    (VECTORS, false),
    (STAMPS, false),
    (STAMPS_UNORDERED, false),
    (COUNT, false),
    (COUNT_IN, false),
    (NAMESPACES, false),
    (COUNTS, false),
    (COUNTS_OF_FEW, false),
    (OLDEST, false),
    (OLDEST_IN, false),
    (QUOTA, false),
    (VERSION, false),
    (HAS_EXPIRED, false),
    (HAS_EXPIRED_IN, false),
    (COUNT_EXPIRED, false),
    (EXPIRED, false),
    (EXPIRED_IN, false),
    (EXPIRED_OF_MANY_IN, false),
    (select::TAGGED, false),
    (select::NAMED, false),
    (select::CREATED, false),
    (select::ALL, false),
    (select::COUNT_TAGGED, false),
    (select::COUNT_NAMED, false),
    (select::COUNT_CREATED, false),
];

/// Queries that the index of expiry answers alone.
#[cfg(test)]
pub(super) const BY_EXPIRY: &[&str] = &[
    HAS_EXPIRED,
    HAS_EXPIRED_IN,
    COUNT_EXPIRED,
    EXPIRED,
    EXPIRED_IN,
];

/// Rows that a page makes room for before it knows how many there are.
const ROOM: u32 = 4096;

/// The first name after this one in the order of bytes.
fn next_name(after: Option<&str>) -> String {
    after.map_or_else(String::new, |after| format!("{after}\0"))
}

impl Session {
    pub fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Outcome<Vec<Option<Entry>>> {
        match keys {
            [] => Ok(Vec::new()),
            [key] => Ok(vec![self.find(key, vectors)?]),
            _ => self.read(|_| keys.iter().map(|key| self.find(key, vectors)).collect()),
        }
    }

    fn find(&self, key: &EntryKey, vectors: bool) -> Outcome<Option<Entry>> {
        let by_hash = if vectors { BY_HASH } else { BY_HASH_BARE };
        self.entry(by_hash, vectors, &[&key.namespace, &key.query_hash])
    }

    pub fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Outcome<Vec<Entry>> {
        let by_id = if vectors { BY_ID } else { BY_ID_BARE };
        let one = |id: &u64| match i64::try_from(*id) {
            Ok(id) => self.entry(by_id, vectors, &[&id]).transpose(),
            Err(_) => None,
        };
        match ids {
            [] => Ok(Vec::new()),
            [id] => one(id).into_iter().collect(),
            _ => self.read(|_| ids.iter().filter_map(one).collect()),
        }
    }

    fn entry(&self, sql: &str, vectors: bool, keys: &[&dyn ToSql]) -> Outcome<Option<Entry>> {
        let mut query = self.conn()?.prepare_cached(sql)?;
        let mut found = query.query(keys)?;
        match found.next()? {
            Some(row) => Ok(Some(rows::entry(
                row,
                vectors.then_some(self.embedder.dim),
            )?)),
            None => Ok(None),
        }
    }

    pub fn count(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        match namespace {
            Some(name) => number_of(self.conn()?, COUNT_IN, &[&name]),
            None => count(self.conn()?),
        }
    }

    pub fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Outcome<Vec<String>> {
        let (conn, from) = (self.conn()?, next_name(after));
        collect(conn, NAMESPACES, &[&from, &limit], |row| {
            rows::namespace(conn, row, 0)
        })
    }

    pub fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<(String, u64)>> {
        let (conn, from) = (self.conn()?, next_name(after));
        let most = FEW_NAMESPACES + 1;
        let names = collect(conn, NAMESPACES, &[&from, &limit.min(most)], |_| Ok(()))?;
        let counts = match names.len() < most as usize {
            true => COUNTS_OF_FEW,
            false => COUNTS,
        };
        collect(conn, counts, &[&from, &limit], |row| {
            Ok((rows::namespace(conn, row, 0)?, number(row.get(1)?)))
        })
    }

    pub fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Outcome<Vec<EntryRef>> {
        match namespace {
            Some(name) => collect(self.conn()?, OLDEST_IN, &[&n, &name], rows::reference),
            None => collect(self.conn()?, OLDEST, &[&n], rows::reference),
        }
    }

    pub fn iter_since(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        page(self.conn()?, self.embedder.dim, last_id, limit)
    }

    pub fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Outcome<VectorPage> {
        let dim = self.embedder.dim;
        let room = limit.min(ROOM) as usize;
        let mut page = VectorPage {
            ids: Vec::with_capacity(room),
            contexts: Vec::with_capacity(room),
            namespaces: Vec::with_capacity(room),
            created_at: Vec::with_capacity(room),
            vectors: Vec::with_capacity(room.min(1024) * dim as usize),
        };
        let mut query = self.conn()?.prepare_cached(VECTORS)?;
        let mut found = query.query((key(last_id), limit))?;
        while let Some(row) = found.next()? {
            let id = rows::id(row, 0)?;
            rows::append_embedding(&mut page.vectors, row.get_ref(3)?, dim, id)?;
            page.ids.push(id);
            page.contexts.push(rows::context(row, 4, id)?);
            page.namespaces.push(rows::text(row, 1, id, "namespace")?);
            page.created_at
                .push(rows::number(row, 2, id, "created_at")?);
        }
        Ok(page)
    }

    pub fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Outcome<StampPage> {
        // A walk over the index passes all rows before this id, too.
        let mut stamps = match last_id {
            0 => self.stamps(STAMPS_UNORDERED, 0, i64::from(limit) + 1)?,
            _ => Vec::new(),
        };
        if last_id > 0 || stamps.len() > limit as usize {
            stamps = self.stamps(STAMPS, key(last_id), i64::from(limit))?;
        } else {
            stamps.sort_unstable();
        }
        let (ids, created_at) = stamps.into_iter().unzip();
        Ok(StampPage { ids, created_at })
    }

    fn stamps(&self, sql: &str, last_id: i64, limit: i64) -> Outcome<Vec<(u64, u64)>> {
        collect(self.conn()?, sql, &[&last_id, &limit], |row| {
            let id = rows::id(row, 0)?;
            Ok((id, rows::number(row, 1, id, "created_at")?))
        })
    }

    pub fn get_namespace_quota(&mut self, namespace: &str) -> Outcome<Option<u64>> {
        let mut query = self.conn()?.prepare_cached(QUOTA)?;
        let mut found = query.query([namespace])?;
        match found.next()? {
            Some(row) => Ok(Some(quota(row, 0)?)),
            None => Ok(None),
        }
    }

    pub fn list_namespace_quotas(&mut self) -> Outcome<Vec<(String, u64)>> {
        quotas(self.conn()?)
    }

    pub fn read_version_counter(&mut self) -> Outcome<u64> {
        let version = version(self.conn()?)?;
        self.saw_version(version)?;
        Ok(version)
    }

    pub fn read_meta(&mut self, key: &str) -> Outcome<Option<String>> {
        layout::meta(self.conn()?, key)
    }

    pub fn list_meta(&mut self) -> Outcome<Vec<(String, String)>> {
        meta(self.conn()?)
    }

    /// Uses a separate connection, so that the pages it reads do not drive out those of the
    /// look-ups. It sees what is committed.
    pub fn integrity_check(&mut self) -> Outcome<bool> {
        let (conn, _) = self.another()?;
        match in_transaction(&conn, "BEGIN", |conn| check(conn, self.embedder.dim)) {
            Err(fault) if fault.is_damage() => Ok(false),
            Err(Fault::Schema(_)) => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }
}

/// Hands on the name of each namespace that has entries.
pub(super) fn each_namespace(
    conn: &Connection,
    mut each: impl FnMut(String) -> Outcome<()>,
) -> Outcome<()> {
    let (from, all) = (next_name(None), -1_i64);
    walk(conn, NAMESPACES, &[&from, &all], |row| {
        each(rows::namespace(conn, row, 0)?)
    })
}

pub(super) fn walk(
    conn: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    mut each: impl FnMut(&Row<'_>) -> Outcome<()>,
) -> Outcome<()> {
    let mut query = conn.prepare_cached(sql)?;
    let mut found = query.query(values)?;
    while let Some(row) = found.next()? {
        each(row)?;
    }
    Ok(())
}

pub(super) fn collect<T>(
    conn: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    mut each: impl FnMut(&Row<'_>) -> Outcome<T>,
) -> Outcome<Vec<T>> {
    let mut all = Vec::new();
    walk(conn, sql, values, |row| {
        all.push(each(row)?);
        Ok(())
    })?;
    Ok(all)
}

/// How many entries there are.
pub(super) fn count(conn: &Connection) -> Outcome<u64> {
    number_of(conn, COUNT, &[])
}

pub(super) fn number_of(conn: &Connection, sql: &str, values: &[&dyn ToSql]) -> Outcome<u64> {
    let mut query = conn.prepare_cached(sql)?;
    Ok(query.query_row(values, |row| row.get(0).map(number))?)
}

/// A number of rows.
fn number(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}

/// The first `limit` entries with an id above `last_id`.
pub(super) fn page(conn: &Connection, dim: u32, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
    let last_id = key(last_id);
    collect(conn, SINCE, &[&last_id, &limit], |row| {
        rows::entry(row, Some(dim))
    })
}

/// Every quota, sorted by namespace.
pub(super) fn quotas(conn: &Connection) -> Outcome<Vec<(String, u64)>> {
    let mut all = Vec::new();
    each_quota(conn, |namespace, quota| {
        all.push((namespace, quota));
        Ok(())
    })?;
    Ok(all)
}

/// Hands on each quota, sorted by namespace.
pub(super) fn each_quota(
    conn: &Connection,
    mut each: impl FnMut(String, u64) -> Outcome<()>,
) -> Outcome<()> {
    walk(conn, QUOTAS, &[], |row| {
        let namespace = rows::key_at(row, 0, "table namespace_quotas, column namespace")?;
        each(namespace, quota(row, 2)?)
    })
}

/// Every meta value that is not the store's own, sorted by key.
pub(super) fn meta(conn: &Connection) -> Outcome<Vec<(String, String)>> {
    collect(conn, META, &[], meta_pair)
}

/// A row of [`META`].
fn meta_pair(row: &Row<'_>) -> Outcome<(String, String)> {
    let key = rows::key_at(row, 0, "table schema_meta, column key")?;
    let value = layout::meta_value(row, 2, &key)?;
    Ok((key, value))
}

/// Fails unless every statement is one of a cache, every page and index is in order, and every
/// row can be read.
pub(super) fn check(conn: &Connection, dim: u32) -> Outcome<()> {
    match layout::inspect(conn)? {
        Found::New => Err(no_cache()),
        Found::Cache { schema, .. } => {
            layout::show_labels(conn, &schema)?;
            check_content(conn, dim)?;
            labels::check(conn)
        }
    }
}

/// The error for a database without a cache.
pub(super) fn no_cache() -> Fault {
    Fault::Corrupt("it holds no cache".into())
}

/// As [`check`], of a database whose statements are known.
pub(super) fn check_content(conn: &Connection, dim: u32) -> Outcome<()> {
    let verdict: String = conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(Fault::Corrupt(format!(
            "its pages are damaged ({verdict}); restore a checkpoint"
        )));
    }
    walk(conn, ALL, &[], |row| rows::entry(row, Some(dim)).map(drop))?;
    version(conn)?;
    each_quota(conn, |_, _| Ok(()))?;
    walk(conn, META, &[], |row| meta_pair(row).map(drop))?;
    blobs::check(conn)
}

/// Whether any entry has expired before a time.
pub(super) fn has_expired(
    conn: &Connection,
    before: i64,
    namespace: Option<&str>,
) -> Outcome<bool> {
    let one = |row: &Row<'_>| row.get(0);
    Ok(match namespace {
        Some(name) => conn
            .prepare_cached(HAS_EXPIRED_IN)?
            .query_row((before, name), one)?,
        None => conn.prepare_cached(HAS_EXPIRED)?.query_row([before], one)?,
    })
}

/// The ids of entries that have expired before a time.
pub(super) fn expired(
    conn: &Connection,
    before: i64,
    namespace: Option<&str>,
    limit: u32,
) -> Outcome<Vec<i64>> {
    let id = |row: &Row<'_>| Ok(row.get(0)?);
    let Some(name) = namespace else {
        return collect(conn, EXPIRED, &[&before, &limit], id);
    };
    let count = number_of(conn, COUNT_EXPIRED, &[&before, &MANY])?;
    let of_one = match count < u64::from(MANY) {
        true => EXPIRED_IN,
        false => EXPIRED_OF_MANY_IN,
    };
    collect(conn, of_one, &[&before, &limit, &name], id)
}

/// The version counter, which is kept as text.
pub(super) fn version(conn: &Connection) -> Outcome<u64> {
    let mut query = conn.prepare_cached(VERSION)?;
    let mut found = query.query([])?;
    let Some(row) = found.next()? else {
        return Ok(0);
    };
    let text = row.get_ref(0)?.as_str().ok();
    let number = text.and_then(|text| text.parse::<u64>().ok());
    number.and_then(read_number).ok_or_else(wrong_version)
}

/// The error for an invalid version counter.
pub(super) fn wrong_version() -> Fault {
    Fault::Corrupt(format!(
        "table multi_process_state, key version_counter is not a count from 0 to {GREATEST}; set it to a number above the last, or restore a checkpoint"
    ))
}

fn quota(row: &Row<'_>, index: usize) -> Outcome<u64> {
    rows::whole(row.get_ref(index)?).ok_or_else(|| {
        Fault::Corrupt(format!("table namespace_quotas, column max_entries holds no number from 0 to {GREATEST}; set the quota again"))
    })
}

/// An id to look beyond; no row has an id that SQLite cannot hold.
pub(super) fn key(last_id: u64) -> i64 {
    i64::try_from(last_id).unwrap_or(i64::MAX)
}
