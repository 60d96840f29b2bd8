//! The operations that change the file, each one transaction.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql};

use super::changes::Did;
use super::connection::SHORT;
use super::error::{Fault, Outcome};
use super::labels;
use super::layout::{self, user_meta};
use super::reads;
use super::rows;
use super::session::Session;
use mneme_store::changes::LONG_WRITE;
use mneme_store::checks::read_number;
use mneme_store::opened::BOOKKEEPING_PATIENCE;
use mneme_store::{Entry, EntryRef, Inserted, Touch};

pub(super) const INSERT: &str =
    "INSERT INTO entries (namespace, query_hash, query, response, embedding,
        metadata, created_at, last_accessed_at, ttl, access_count, context, tags)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (namespace, query_hash) DO NOTHING";
/// Only a row that says itself that it is the one: an index may lead to another. And only one whose
/// tags need not be looked for in the table of tags.
pub(super) const REPLACE: &str =
    "UPDATE entries SET query = ?3, response = ?4, embedding = ?5, metadata = ?6,
        created_at = ?7, last_accessed_at = ?8, ttl = ?9, access_count = ?10,
        context = ?11, tags = ?12
    WHERE id = (SELECT id FROM entries WHERE namespace = ?1 AND query_hash = ?2)
        AND +namespace = ?1 AND +query_hash = ?2 AND tags IN ('[]', ?12)
    RETURNING id";
const TOUCH: &str = "UPDATE entries SET last_accessed_at = max(last_accessed_at, ?2),
        access_count = min(access_count + ?3, 9007199254740991)
    WHERE id = ?1";
const DELETE: &str = "DELETE FROM entries WHERE id = ?1 RETURNING id, tags";
const DELETE_NAMED: &str =
    "DELETE FROM entries WHERE id = ?1 RETURNING id, tags, namespace, created_at";
const DELETE_UNCHANGED: &str = "DELETE FROM entries
    WHERE id = ?1 AND CAST(created_at AS INTEGER) = ?2 RETURNING id, tags";
const CLEAR: &str = "DELETE FROM entries";
const SOME: &str = "SELECT id FROM entries LIMIT ?1";
const SOME_IN: &str = "SELECT id FROM entries WHERE namespace = ?2 LIMIT ?1";
const CLEAR_QUOTAS: &str = "DELETE FROM namespace_quotas";
const CLEAR_META: &str = concat!("DELETE FROM schema_meta WHERE ", user_meta!());
const CLEAR_ONE: &str = "DELETE FROM entries WHERE namespace = ?1";
pub(super) const SET_QUOTA: &str =
    "INSERT INTO namespace_quotas (namespace, max_entries) VALUES (?1, ?2)
    ON CONFLICT (namespace) DO UPDATE SET max_entries = excluded.max_entries";
const REMOVE_QUOTA: &str = "DELETE FROM namespace_quotas WHERE namespace = ?1";
const REMOVE_META: &str = "DELETE FROM schema_meta WHERE key = ?1";
pub(super) const SET_META: &str = "INSERT INTO schema_meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";
pub(super) const BUMP: &str =
    "INSERT INTO multi_process_state (key, value) VALUES ('version_counter', '1')
    ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)
    RETURNING CAST(value AS INTEGER), (SELECT max(version) FROM changes)";

impl Session {
    pub fn insert(&mut self, entries: Vec<Entry>) -> Outcome<Vec<Inserted>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.write_entries(
            |conn| {
                let mut blob = Vec::new();
                entries
                    .iter()
                    .map(|entry| insert_one(conn, entry, &mut blob))
                    .collect()
            },
            |inserted: &Vec<Inserted>| Did::Stored(inserted.iter().map(|one| one.id).collect()),
        )
    }

    pub fn update_access(&mut self, touches: &[Touch]) -> Outcome<()> {
        // What only reads has nobody who evicts.
        if touches.is_empty() || self.is_read_only() {
            return Ok(());
        }
        self.write_within(SHORT, |conn| {
            let mut update = conn.prepare_cached(TOUCH)?;
            for touch in touches {
                let Ok(id) = i64::try_from(touch.id) else {
                    continue;
                };
                update.execute((id, touch.last_accessed_at, touch.hits))?;
            }
            Ok(())
        })
    }

    pub fn delete_by_id(&mut self, id: u64) -> Outcome<bool> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(false);
        };
        self.write_entries(
            |conn| Ok(delete(conn, DELETE, &[&id], |_| Ok(()))?.is_some()),
            |deleted| match deleted {
                true => Did::Deleted(vec![id.unsigned_abs()]),
                false => Did::Nothing,
            },
        )
    }

    pub fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Outcome<Vec<u64>> {
        // Who finds an expired entry where it can only be read goes on without deleting it.
        if entries.is_empty() || self.is_read_only() {
            return Ok(Vec::new());
        }
        let delete_all = |conn: &Connection| {
            let mut deleted = Vec::new();
            for named in entries {
                let (Ok(id), Ok(created_at)) =
                    (i64::try_from(named.id), i64::try_from(named.created_at))
                else {
                    continue;
                };
                let gone = delete(
                    conn,
                    DELETE_UNCHANGED,
                    &[&id, &created_at],
                    |_| Ok(named.id),
                )?;
                deleted.extend(gone);
            }
            Ok(deleted)
        };
        self.waiting(SHORT, |session| {
            session.write_entries(delete_all, |deleted: &Vec<u64>| {
                Did::deleted(deleted.clone())
            })
        })
    }

    pub fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<EntryRef>> {
        let before = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(1);
        self.accept_writes()?;
        // Writers are not held up for nothing.
        if limit == 0 || !reads::has_expired(self.conn()?, before, namespace)? {
            return Ok(Vec::new());
        }
        self.write_entries(
            |conn| {
                let ids = reads::expired(conn, before, namespace, limit)?;
                let mut deleted = Vec::with_capacity(ids.len());
                for id in ids {
                    deleted.extend(delete(conn, DELETE_NAMED, &[&id], reference)?);
                }
                Ok(deleted)
            },
            |deleted: &Vec<EntryRef>| Did::deleted(deleted.iter().map(|one| one.id).collect()),
        )
    }

    pub fn clear_namespace(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let clear = |conn: &Connection| {
            // As many as the log takes.
            let most = LONG_WRITE + 1;
            let id = |row: &Row<'_>| Ok(rows::whole(row.get_ref(0)?));
            let ids = match namespace {
                Some(name) => reads::collect(conn, SOME_IN, &[&most, &name], id)?,
                None => reads::collect(conn, SOME, &[&most], id)?,
            };
            let ids: Vec<u64> = ids.into_iter().flatten().collect();
            let deleted = match namespace {
                Some(name) => {
                    labels::forget_namespace(conn, name)?;
                    conn.prepare_cached(CLEAR_ONE)?.execute([name])?
                }
                None => {
                    labels::forget_all(conn)?;
                    conn.prepare_cached(CLEAR)?.execute([])?
                }
            };
            Ok((deleted as u64, ids))
        };
        self.taking_its_time(|session| {
            let did = |(deleted, ids): &(u64, Vec<u64>)| match *deleted == ids.len() as u64 {
                true => Did::deleted(ids.clone()),
                false => Did::Much,
            };
            Ok(session.write_entries(clear, did)?.0)
        })
    }

    pub fn set_namespace_quota(
        &mut self,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Outcome<()> {
        self.write(|conn| {
            match max_entries {
                Some(quota) => set_quota(conn, namespace, quota)?,
                None => drop(conn.prepare_cached(REMOVE_QUOTA)?.execute([namespace])?),
            }
            Ok(())
        })
    }

    pub fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Outcome<bool> {
        self.write_within(BOOKKEEPING_PATIENCE, |conn| {
            if layout::meta(conn, key)?.as_deref() != expected {
                return Ok(false);
            }
            match value {
                Some(value) => set_meta(conn, key, value)?,
                None => drop(conn.prepare_cached(REMOVE_META)?.execute([key])?),
            }
            Ok(true)
        })
    }
}

/// Moves the version counter on by one, and returns it, and the last version of the log.
pub(super) fn bump_version(conn: &Connection) -> Outcome<(u64, Option<u64>)> {
    let (version, last) = conn.prepare_cached(BUMP)?.query_row([], |row| {
        let last = row.get_ref(1)?;
        let is_empty = last == ValueRef::Null;
        // What is no version is followed by none.
        let last = (!is_empty).then(|| rows::whole(last).unwrap_or(u64::MAX));
        Ok((rows::whole(row.get_ref(0)?), last))
    })?;
    Ok((version.ok_or_else(reads::wrong_version)?, last))
}

pub(super) fn set_quota(conn: &Connection, namespace: &str, quota: u64) -> Outcome<()> {
    conn.prepare_cached(SET_QUOTA)?
        .execute((namespace, quota))?;
    Ok(())
}

pub(super) fn set_meta(conn: &Connection, key: &str, value: &str) -> Outcome<()> {
    conn.prepare_cached(SET_META)?.execute((key, value))?;
    Ok(())
}

/// Deletes all data but the store's own meta, and tells whether there was an entry.
pub(super) fn clear_all(conn: &Connection) -> Outcome<bool> {
    labels::forget_all(conn)?;
    let deleted = conn.prepare_cached(CLEAR)?.execute([])?;
    conn.prepare_cached(CLEAR_QUOTAS)?.execute([])?;
    conn.prepare_cached(CLEAR_META)?.execute([])?;
    Ok(deleted > 0)
}

/// Stores an entry, unless its namespace and hash exist. `blob` is room to work in.
pub(super) fn insert_new(conn: &Connection, entry: &Entry, blob: &mut Vec<u8>) -> Outcome<bool> {
    with_values(entry, blob, |values| {
        let inserted = conn.prepare_cached(INSERT)?.execute(values);
        // SQLite has one code for a full disk and for the last id of all.
        match inserted {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                layout::check_last_id(conn)?;
                Err(error.into())
            }
            inserted => Ok(inserted? > 0),
        }
    })
}

/// Stores an entry, or replaces the one with its namespace and hash.
pub(super) fn insert_one(
    conn: &Connection,
    entry: &Entry,
    blob: &mut Vec<u8>,
) -> Outcome<Inserted> {
    if insert_new(conn, entry, blob)? {
        let id = read_number(conn.last_insert_rowid()).ok_or_else(layout::wrong_last_id)?;
        labels::add(conn, id, &entry.tags)?;
        return Ok(Inserted {
            id,
            replaced: false,
        });
    }
    let id: Option<i64> = with_values(entry, blob, |values| {
        let mut replace = conn.prepare_cached(REPLACE)?;
        let mut once = || replace.query_row(values, |row| row.get(0)).optional();
        match once()? {
            None if labels::take(conn, &entry.namespace, &entry.query_hash)? => Ok(once()?),
            id => Ok(id),
        }
    })?;
    match id {
        Some(id) => {
            let id = id.unsigned_abs();
            labels::add(conn, id, &entry.tags)?;
            Ok(Inserted { id, replaced: true })
        }
        None => Err(Fault::Corrupt(
            "the indexes of table entries disagree; run an integrity check and restore a checkpoint".into(),
        )),
    }
}

/// Runs a statement that deletes one entry and returns its id and tags, and makes something of that
/// row; none where there is no such entry.
fn delete<T>(
    conn: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
    each: impl FnOnce(&Row<'_>) -> Outcome<T>,
) -> Outcome<Option<T>> {
    let mut delete = conn.prepare_cached(sql)?;
    let mut gone = delete.query(values)?;
    let Some(row) = gone.next()? else {
        return Ok(None);
    };
    labels::forget(conn, row.get(0)?, row.get_ref(1)?)?;
    each(row).map(Some)
}

/// A row of [`DELETE_NAMED`].
fn reference(row: &Row<'_>) -> Outcome<EntryRef> {
    let id = rows::id(row, 0)?;
    Ok(EntryRef {
        id,
        namespace: rows::text(row, 2, id, "namespace")?,
        created_at: rows::number(row, 3, id, "created_at")?,
    })
}

/// Calls `work` with what [`INSERT`] and [`REPLACE`] take.
fn with_values<T>(
    entry: &Entry,
    blob: &mut Vec<u8>,
    work: impl FnOnce(&[&dyn ToSql]) -> Outcome<T>,
) -> Outcome<T> {
    rows::encode_embedding(&entry.embedding, blob);
    let tags = labels::json(&entry.tags)?;
    work(rusqlite::params![
        entry.namespace,
        entry.query_hash,
        entry.query,
        entry.response,
        *blob,
        entry.metadata,
        entry.created_at,
        entry.last_accessed_at,
        entry.ttl,
        entry.access_count,
        entry.context,
        tags,
    ])
}
