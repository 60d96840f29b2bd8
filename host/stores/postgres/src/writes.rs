//! The operations that change something.
//!
//! A write of entries is a transaction in two round trips. The first begins it, takes the
//! lock on the version counter, and finds and locks the rows it is about. So writers go
//! one after another: ids become visible in ascending order, and the counter counts in the
//! order of the commits. The second changes the rows, moves the counter and commits.
//! Whatever fails before the second is sent has certainly not happened.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;

use super::batch::{self, Batch};
use super::changes::{self, Did};
use super::connection::{BEGIN, COMMIT, Connection, ROLLBACK, pipeline};
use super::error::{Fault, Outcome, Repeat};
use super::layout::{START_COUNTER, expires_at};
use super::reads::version;
use super::rows::{self, column, escaped, stored};
use super::session::Session;
use super::tags::{ADD, FORGET, each_tag};
use super::values::Values;
use mneme_store::changes::LONG_WRITE;
use mneme_store::opened::BOOKKEEPING_PATIENCE;
use mneme_store::{Entry, EntryRef, Inserted, Touch};

pub(super) const LOCK: &str = "SELECT value FROM {schema}.multi_process_state
    WHERE key = 'version_counter' AND {ours} FOR UPDATE";
pub(super) const BUMP: &str = "INSERT INTO {schema}.multi_process_state AS s (key, value)
    VALUES ('version_counter', '1')
    ON CONFLICT (key) DO UPDATE SET value = (s.value::bigint + 1)::text";

const FIND_BY_HASH: &str = "
    SELECT e.id, e.tags <> '[]', k.place
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (namespace, query_hash, place)
    JOIN {schema}.entries AS e ON e.namespace = k.namespace AND e.query_hash = k.query_hash
    ORDER BY e.id FOR UPDATE OF e";
const FIND_BY_ID: &str = "SELECT id, tags <> '[]' FROM {schema}.entries
    WHERE id = $1 FOR UPDATE";
const FIND_UNCHANGED: &str = "
    SELECT e.id, e.tags <> '[]' FROM unnest($1::bigint[], $2::bigint[]) AS k (id, created_at)
    JOIN {schema}.entries AS e ON e.id = k.id AND greatest(e.created_at, 0) = k.created_at
    ORDER BY e.id FOR UPDATE OF e";
/// SQL for "expired at $1", of columns that the planner has statistics of, and without a sum that could
/// overflow.
macro_rules! expired {
    () => {
        "ttl IS NOT NULL AND greatest(created_at, 0) <= $1 - greatest(ttl, 0)"
    };
}
const NONE: Values<'static> = &[];
/// Whether an entry is expired at $1: by the first row of an index, which is in no plan for [`EXPIRED`]
/// where the planner expects many.
const ANY_EXPIRED: &str = concat!(
    "SELECT true FROM (SELECT ",
    expires_at!(),
    " AS at FROM {schema}.entries WHERE ttl IS NOT NULL ORDER BY at LIMIT 1
    ) AS first WHERE at <= $1::bigint"
);
/// Before every id.
pub(super) const FIRST: i64 = i64::MIN;
const EXPIRED: &str = concat!(
    "SELECT id FROM {schema}.entries WHERE id > $3 AND ",
    expired!(),
    " ORDER BY id LIMIT $2"
);
const EXPIRED_IN: &str = concat!(
    "SELECT id FROM {schema}.entries WHERE id > $3 AND namespace = $4 AND ",
    expired!(),
    " ORDER BY id LIMIT $2"
);
const FIND_EXPIRED: &str = concat!(
    "SELECT id, tags <> '[]', namespace, created_at FROM {schema}.entries WHERE ",
    expired!(),
    " AND id = ANY ($2) ORDER BY id FOR UPDATE"
);
const DELETE: &str = "DELETE FROM {schema}.entries WHERE id = ANY ($1)";
/// How many entries are gone, and the ids of the first [`NAMED`].
pub(super) const CLEAR: &str = "
    WITH gone AS (DELETE FROM {schema}.entries RETURNING id),
        forgotten AS (DELETE FROM {schema}.entry_tags)
    SELECT count(*), array(SELECT id FROM gone LIMIT $1) FROM gone";
const CLEAR_ONE: &str = concat!(
    "WITH gone AS (DELETE FROM {schema}.entries WHERE namespace = $1 RETURNING id, tags),
        forgotten AS (DELETE FROM {schema}.entry_tags AS t USING gone AS g, ",
    each_tag!("g.tags"),
    " WHERE g.tags <> '[]' AND t.tag = one.tag AND t.id = g.id)
    SELECT count(*), array(SELECT id FROM gone LIMIT $2) FROM gone"
);
/// As many as the log takes of one write, and one.
pub(super) const NAMED: i64 = LONG_WRITE as i64 + 1;
/// In the order of the ids, so that two of these never wait for each other.
const TOUCH: &str = "
    UPDATE {schema}.entries AS e SET
        last_accessed_at = greatest(e.last_accessed_at, t.at),
        access_count = least(greatest(e.access_count, 0)::numeric + t.hits, 9007199254740991)::bigint
    FROM (SELECT id FROM {schema}.entries WHERE id = ANY ($1) ORDER BY id FOR UPDATE) AS locked
    JOIN unnest($1, $2::bigint[], $3::bigint[]) AS t (id, hits, at) ON t.id = locked.id
    WHERE e.id = locked.id AND {ours} RETURNING true";
pub(super) const SET_QUOTA: &str = "INSERT INTO {schema}.namespace_quotas (namespace, max_entries)
    SELECT $1::text, $2::bigint WHERE {ours}
    ON CONFLICT (namespace) DO UPDATE SET max_entries = excluded.max_entries RETURNING true";
const REMOVE_QUOTA: &str = "DELETE FROM {schema}.namespace_quotas
    WHERE namespace = $1 AND {ours} RETURNING true";
pub(super) const NEW_META: &str = "INSERT INTO {schema}.schema_meta (key, value)
    SELECT $1::text, $2::text WHERE {ours} ON CONFLICT (key) DO NOTHING RETURNING true";
pub(super) const CHANGE_META: &str = "UPDATE {schema}.schema_meta SET value = $2
    WHERE key = $1 AND value = $3 AND {ours} RETURNING true";
const REMOVE_META: &str = "DELETE FROM {schema}.schema_meta
    WHERE key = $1 AND value = $2 AND {ours} RETURNING true";
const NO_META: &str = "SELECT true WHERE {ours} AND NOT EXISTS
    (SELECT FROM {schema}.schema_meta WHERE key = $1)";

impl Session {
    pub fn insert(&mut self, entries: Vec<Entry>) -> Outcome<Vec<Inserted>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let batch = Batch::new(&entries)?;
        self.run(Repeat::Same, async |conn| {
            transaction(conn, async || {
                let later = [batch::INSERT, batch::REPLACE, FORGET, ADD];
                let keys: Values<'_> = &[&batch.namespaces(), &batch.hashes()];
                let mut ids = vec![None; batch.len()];
                let found = begin(conn, FIND_BY_HASH, keys, &later).await?;
                for row in &found {
                    let place: i64 = column(row, 2)?;
                    ids[place as usize - 1] = Some(column(row, 0)?);
                }
                let made = store(conn, &batch, &ids, &tagged(&found)?)
                    .await
                    .map_err(unfit_metadata)?;
                batch.results(&ids, &made)
            })
            .await
        })
    }

    pub fn update_access(&mut self, touches: &[Touch]) -> Outcome<()> {
        let mut by_id: HashMap<i64, (i64, i64)> = HashMap::new();
        for touch in touches {
            let at = stored(touch.last_accessed_at);
            let Ok(id) = i64::try_from(touch.id) else {
                continue;
            };
            let (hits, last) = by_id.entry(id).or_insert((0, at));
            *hits = hits.saturating_add(touch.hits.into());
            *last = at.max(*last);
        }
        if by_id.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = by_id.keys().copied().collect();
        let (hits, at): (Vec<i64>, Vec<i64>) = by_id.into_values().unzip();
        self.note(async |conn| {
            single(conn, TOUCH, &[&ids, &hits, &at]).await?;
            Ok(())
        })
    }

    pub fn delete_by_id(&mut self, id: u64) -> Outcome<bool> {
        let Ok(id) = i64::try_from(id) else {
            return Ok(false);
        };
        let deleted = self.run(Repeat::Same, async |conn| {
            delete(conn, FIND_BY_ID, &[&id]).await
        })?;
        Ok(!deleted.is_empty())
    }

    pub fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Outcome<Vec<u64>> {
        let (ids, created_at): (Vec<i64>, Vec<i64>) = entries
            .iter()
            .filter_map(|entry| {
                Some((
                    i64::try_from(entry.id).ok()?,
                    i64::try_from(entry.created_at).ok()?,
                ))
            })
            .unzip();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let deleted = self.run_within(BOOKKEEPING_PATIENCE, Repeat::Same, async |conn| {
            delete(conn, FIND_UNCHANGED, &[&ids, &created_at]).await
        })?;
        let mut deleted: HashSet<i64> = deleted.into_iter().collect();
        let mut gone = |id: &u64| i64::try_from(*id).is_ok_and(|id| deleted.remove(&id));
        Ok(entries
            .iter()
            .map(|entry| entry.id)
            .filter(&mut gone)
            .collect())
    }

    pub fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<EntryRef>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let namespace = namespace.map(escaped);
        let after = self.expired_up_to;
        let gone: Vec<EntryRef> = self.run(Repeat::Same, async |conn| {
            if conn.query(ANY_EXPIRED, &[&now]).await?.is_empty() {
                return Ok(Vec::new());
            }
            // Looking takes a walk over the table, which must not hold up other writers.
            let mut found = expired(conn, now, namespace.as_deref(), after, limit).await?;
            if found.is_empty() {
                return Ok(Vec::new());
            }
            transaction(conn, async || {
                let later = [DELETE, FORGET, EXPIRED, EXPIRED_IN];
                let mut gone = begin(conn, FIND_EXPIRED, &[&now, &found], &later).await?;
                if gone.len() < found.len() && found.len() == limit as usize {
                    // Others were faster with some, and further ones may be in their place.
                    found = expired(conn, now, namespace.as_deref(), after, limit).await?;
                    gone = conn.query(FIND_EXPIRED, &[&now, &found]).await?;
                }
                remove(conn, &gone).await?;
                gone.iter().map(reference).collect()
            })
            .await
        })?;
        self.expired_up_to = match gone.last() {
            Some(last) if gone.len() == limit as usize => stored(last.id),
            _ => FIRST,
        };
        Ok(gone)
    }

    pub fn clear_namespace(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let namespace = namespace.map(escaped);
        self.run(Repeat::Same, async |conn| {
            transaction(conn, async || {
                // The number is known only afterwards, so this takes one more round trip.
                begin(conn, LOCK, &[], &[CLEAR, CLEAR_ONE]).await?;
                let cleared = match &namespace {
                    Some(name) => conn.query(CLEAR_ONE, &[name, &NAMED]).await?,
                    None => conn.query(CLEAR, &[&NAMED]).await?,
                };
                let ids = cleared
                    .first()
                    .map_or(Ok(Vec::new()), |row| column(row, 1))?;
                finish(conn, Did::deleted(&ids), &[]).await?;
                counted(&cleared)
            })
            .await
        })
    }

    pub fn set_namespace_quota(
        &mut self,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Outcome<()> {
        let quota = max_entries.map(stored);
        let name = escaped(namespace);
        self.run(Repeat::Same, async |conn| {
            match &quota {
                Some(quota) => single(conn, SET_QUOTA, &[&name, quota]).await?,
                None => single(conn, REMOVE_QUOTA, &[&name]).await?,
            };
            Ok(())
        })
    }

    pub fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Outcome<bool> {
        let key = escaped(key);
        let (expected, value) = (expected.map(escaped), value.map(escaped));
        self.note(async |conn| {
            let replaced = match (&expected, &value) {
                (None, Some(value)) => single(conn, NEW_META, &[&key, value]).await?,
                (Some(old), Some(value)) => single(conn, CHANGE_META, &[&key, value, old]).await?,
                (Some(old), None) => single(conn, REMOVE_META, &[&key, old]).await?,
                (None, None) => single(conn, NO_META, &[&key]).await?,
            };
            Ok(!replaced.is_empty())
        })
    }
}

/// Writes the entries of a batch and returns the rows made. `ids` are those of entries that
/// exist, `tagged` those that had tags.
async fn store(
    conn: &Connection,
    batch: &Batch<'_>,
    ids: &[Option<i64>],
    tagged: &[i64],
) -> Outcome<Vec<Row>> {
    let (kept, known) = batch.kept(ids);
    let (fresh, namespaces, hashes) = batch.fresh(ids);
    let kept_values = kept.values(&[&known]);
    let fresh_values = fresh.values(&[&namespaces, &hashes]);
    let (named, hashed) = batch.tagged();
    let (had_tags, have_tags): (Values<'_>, Values<'_>) = (&[&tagged], &[&named, &hashed]);
    let mut writes: Vec<(&str, Values<'_>)> = Vec::with_capacity(4);
    if !fresh.is_empty() {
        writes.push((batch::INSERT, &fresh_values));
    }
    if !tagged.is_empty() {
        writes.push((FORGET, had_tags));
    }
    if !kept.is_empty() {
        writes.push((batch::REPLACE, &kept_values));
    }
    if !named.is_empty() {
        writes.push((ADD, have_tags));
    }
    let (namespaces, hashes) = (batch.namespaces(), batch.hashes());
    let made = finish(conn, Did::Stored(&namespaces, &hashes), &writes).await?;
    let made = made.into_iter().next();
    Ok(made.filter(|_| !fresh.is_empty()).unwrap_or_default())
}

/// Everything else in an entry is a text, a number or bytes that were checked before; but a trigger of the
/// table may fail too.
pub(super) fn unfit_metadata(fault: Fault) -> Fault {
    let Some(said) = fault.said() else {
        return fault;
    };
    if said.constraint().is_some() || !matches!(&fault.code()[..2], "22" | "54") {
        return fault;
    }
    let message = said.message();
    let place = said.where_().unwrap_or_default();
    match place.lines().find(|line| line.starts_with("PL/pgSQL")) {
        Some(place) => Fault::System(format!(
            "a trigger of the table entries failed: {message} ({place}); nothing was stored, so mend the trigger or what it writes to"
        )),
        None => Fault::invalid(format!(
            "the metadata of an entry is not JSON that Postgres can hold: {message}; nothing was stored, give other metadata"
        )),
    }
}

/// Runs a write in a separate transaction: one that returns a row for each that it changes, and
/// changes only those of the cache that was opened.
pub(super) async fn single(
    conn: &Connection,
    sql: &'static str,
    values: Values<'_>,
) -> Outcome<Vec<Row>> {
    conn.statement(sql).await?;
    conn.at_risk.set(true);
    let changed = conn.query(sql, values).await?;
    if changed.is_empty() {
        conn.check_ours().await?;
    }
    Ok(changed)
}

/// Deletes the rows that a query finds, and returns their ids.
async fn delete(conn: &Connection, find: &'static str, values: Values<'_>) -> Outcome<Vec<i64>> {
    transaction(conn, async || {
        let found = begin(conn, find, values, &[DELETE, FORGET]).await?;
        remove(conn, &found).await
    })
    .await
}

/// Ends a transaction with the deletion of the rows that it has found, and returns their ids.
async fn remove(conn: &Connection, found: &[Row]) -> Outcome<Vec<i64>> {
    let (found, tagged) = (ids(found)?, tagged(found)?);
    let (all, of_tags): (Values<'_>, Values<'_>) = (&[&found], &[&tagged]);
    let writes = [(FORGET, of_tags), (DELETE, all)];
    let from = usize::from(tagged.is_empty());
    finish(conn, Did::deleted(&found), &writes[from..]).await?;
    Ok(found)
}

/// The ids of those rows that have tags, by their second column.
fn tagged(found: &[Row]) -> Outcome<Vec<i64>> {
    let mut tagged = Vec::new();
    for row in found {
        if column(row, 1)? {
            tagged.push(column(row, 0)?);
        }
    }
    Ok(tagged)
}

/// A row of [`FIND_EXPIRED`].
fn reference(row: &Row) -> Outcome<EntryRef> {
    rows::reference(row, [0, 2, 3])
}

/// The ids of entries that are expired: the lowest after an id, or the lowest of all if there are
/// too few after it.
async fn expired(
    conn: &Connection,
    now: i64,
    namespace: Option<&str>,
    after: i64,
    limit: u32,
) -> Outcome<Vec<i64>> {
    let most = i64::from(limit);
    let look = async |after: i64| {
        ids(&match namespace {
            Some(name) => {
                conn.query(EXPIRED_IN, &[&now, &most, &after, &name])
                    .await?
            }
            None => conn.query(EXPIRED, &[&now, &most, &after]).await?,
        })
    };
    let found = look(after).await?;
    match found.len() < limit as usize && after > FIRST {
        true => look(FIRST).await,
        false => Ok(found),
    }
}

/// Runs what begins a transaction. Where it fails, the transaction is rolled back.
pub(super) async fn transaction<T>(
    conn: &Connection,
    work: impl AsyncFnOnce() -> Outcome<T>,
) -> Outcome<T> {
    let outcome = work().await;
    if outcome.as_ref().is_err_and(|fault| !fault.is_lost()) {
        conn.at_risk.set(false);
        conn.end(ROLLBACK).await?;
    }
    outcome
}

/// Begins a transaction, takes the lock, and runs a query that finds rows. `later` are the
/// statements that will follow: the lock is not held while they are prepared.
async fn begin(
    conn: &Connection,
    find: &'static str,
    values: Values<'_>,
    later: &[&'static str],
) -> Outcome<Vec<Row>> {
    for sql in later {
        conn.statement(sql).await?;
    }
    conn.statement(BUMP).await?;
    changes::prepare(conn).await?;
    let (lock, find) = (conn.statement(LOCK).await?, conn.statement(find).await?);
    let mut replies = pipeline(vec![
        conn.begin_step(BEGIN),
        conn.step(&lock, &[]),
        conn.step(&find, values),
    ])
    .await?;
    let found = replies.pop().unwrap_or_default();
    let counter = replies.pop().unwrap_or_default();
    locked(conn, &counter).await?;
    Ok(found)
}

/// Makes sure that there is a counter; `counter` is what [`LOCK`] found.
pub(super) async fn locked(conn: &Connection, counter: &[Row]) -> Outcome<()> {
    // It is text; moving on a text that is not a number would fail.
    version(counter)?;
    if counter.is_empty() {
        conn.check_ours().await?;
        // Whoever begins a new one has its lock.
        conn.plain(&conn.text(START_COUNTER)).await?;
    }
    Ok(())
}

/// Runs the writes of a transaction, moves the counter, writes down what they did and commits; only
/// ends it where they do nothing. Returns what the writes answered.
///
/// The commit of a transaction that has failed is a rollback and no error. It is trusted
/// because every statement before it is seen to have succeeded.
async fn finish(
    conn: &Connection,
    did: Did<'_>,
    writes: &[(&'static str, Values<'_>)],
) -> Outcome<Vec<Vec<Row>>> {
    if matches!(did, Did::Nothing) {
        conn.end(ROLLBACK).await?;
        return Ok(Vec::new());
    }
    changes::written(conn, &did, async |log| {
        let writes: Vec<_> = writes.iter().chain(&[(BUMP, NONE)]).chain(log).collect();
        let mut statements = Vec::with_capacity(writes.len());
        for (sql, _) in &writes {
            statements.push(conn.statement(sql).await?);
        }
        let steps = statements.iter().zip(&writes);
        let mut steps: Vec<_> = steps
            .map(|(sql, (_, values))| conn.step(sql, values))
            .collect();
        steps.push(conn.end_step(COMMIT));
        conn.at_risk.set(true);
        pipeline(steps).await
    })
    .await
}

/// The number that a statement counts.
pub(super) async fn count(
    conn: &Connection,
    sql: &'static str,
    values: Values<'_>,
) -> Outcome<u64> {
    counted(&conn.query(sql, values).await?)
}

fn counted(rows: &[Row]) -> Outcome<u64> {
    match rows.first() {
        Some(row) => Ok(rows::whole(column(row, 0)?)),
        None => Ok(0),
    }
}

/// The first column of some rows, as it is in the table.
fn ids(rows: &[Row]) -> Outcome<Vec<i64>> {
    rows.iter().map(|row| column(row, 0)).collect()
}
