//! Imports: many entries that become part of the data in one transaction.
//!
//! They gather in a temporary table, which nobody else sees and which is gone with the
//! transaction, however that ends. The transaction has a separate connection and holds no
//! lock on the cache's tables until the commit, in which it goes on as every write does: the
//! lock on the version counter, the rows, the counter. All of that comes after a savepoint,
//! so that the entries stay gathered where another transaction is in the way.

use std::borrow::Cow;
use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use super::batch::{Batch, STAGE, columns};
use super::changes::EMPTY;
use super::connection::{BEGIN, COMMIT, Connection, PATIENT, pipeline, settings};
use super::error::{Fault, Outcome, Repeat};
use super::layout::{has_entry, own_keys};
use super::rows::{column, escaped, stored};
use super::session::{CONFLICTS, Session, explained, pause};
use super::tags::each_tag;
use super::values::Value;
use super::writes::{
    BUMP, CHANGE_META, CLEAR, LOCK, NAMED, NEW_META, SET_QUOTA, count, locked, unfit_metadata,
};
use mneme_store::{Entry, ImportMode, MetaChange};

const CREATE: &str = "CREATE TEMPORARY TABLE mneme_import (
    namespace TEXT NOT NULL,
    query_hash TEXT NOT NULL,
    query TEXT NOT NULL,
    response TEXT NOT NULL,
    embedding BYTEA NOT NULL,
    metadata JSONB NOT NULL,
    metadata_text TEXT,
    metadata_text_of BYTEA,
    created_at BIGINT NOT NULL,
    last_accessed_at BIGINT NOT NULL,
    ttl BIGINT,
    access_count BIGINT NOT NULL,
    context TEXT NOT NULL,
    tags JSONB NOT NULL,
    place BIGINT NOT NULL,
    UNIQUE (namespace, query_hash)
) ON COMMIT DROP";
const KEEP: &str = "SAVEPOINT gathered";
const BACK: &str = "ROLLBACK TO SAVEPOINT gathered; RELEASE SAVEPOINT gathered";

/// In the order of the ids, as every writer of several rows locks them.
const LOCK_KEPT: &str = "
    SELECT count(*) FROM (
        SELECT FROM {schema}.entries AS e
        JOIN pg_temp.mneme_import AS n ON n.namespace = e.namespace AND n.query_hash = e.query_hash
        ORDER BY e.id FOR UPDATE OF e
    ) AS kept";
/// The ids are given out after sorting.
const STORE: &str = concat!(
    "WITH stored AS (
        INSERT INTO {schema}.entries (",
    columns!(),
    ") SELECT ",
    columns!(),
    " FROM pg_temp.mneme_import ORDER BY place
        ON CONFLICT (namespace, query_hash) DO UPDATE SET query = excluded.query,
            response = excluded.response, embedding = excluded.embedding,
            metadata = excluded.metadata, metadata_text = excluded.metadata_text,
            metadata_text_of = excluded.metadata_text_of, created_at = excluded.created_at,
            last_accessed_at = excluded.last_accessed_at, ttl = excluded.ttl,
            access_count = excluded.access_count, context = excluded.context,
            tags = excluded.tags
        RETURNING 1
    )
    SELECT count(*) FROM stored"
);
/// Of the entries that the import replaces.
const FORGET_KEPT: &str = concat!(
    "DELETE FROM {schema}.entry_tags AS t USING {schema}.entries AS e, pg_temp.mneme_import AS n, ",
    each_tag!("e.tags"),
    " WHERE n.namespace = e.namespace AND n.query_hash = e.query_hash AND e.tags <> '[]'
        AND t.tag = one.tag AND t.id = e.id"
);
const ADD_STORED: &str = concat!(
    "INSERT INTO {schema}.entry_tags (tag, id) SELECT one.tag, e.id
    FROM pg_temp.mneme_import AS n
    JOIN {schema}.entries AS e ON n.namespace = e.namespace AND n.query_hash = e.query_hash, ",
    each_tag!("n.tags"),
    " WHERE n.tags <> '[]' ON CONFLICT DO NOTHING"
);
const CLEAR_QUOTAS: &str = "DELETE FROM {schema}.namespace_quotas";
const CLEAR_META: &str = concat!(
    "DELETE FROM {schema}.schema_meta WHERE key NOT IN ",
    own_keys!()
);
const SET_META: &str = "INSERT INTO {schema}.schema_meta (key, value) VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// For each so many entries the commit may take as long as a call once more.
const ENTRIES_A_CALL: u64 = 10_000;

/// An import that was begun.
pub(super) struct Import {
    conn: Connection,
    mode: ImportMode,
    /// How many entries it has.
    entries: u64,
}

/// What is committed with the entries, as it is stored.
struct Given<'g> {
    quotas: Vec<(Cow<'g, str>, i64)>,
    meta: Vec<Change<'g>>,
}

struct Change<'g> {
    key: Cow<'g, str>,
    expected: Option<Cow<'g, str>>,
    value: Cow<'g, str>,
}

impl<'g> Given<'g> {
    fn new(quotas: &'g [(String, u64)], meta: &'g [MetaChange]) -> Self {
        let quota = |(name, most): &'g (String, u64)| (escaped(name), stored(*most));
        let change = |change: &'g MetaChange| Change {
            key: escaped(&change.key),
            expected: change.expected.as_deref().map(escaped),
            value: escaped(&change.value),
        };
        Self {
            quotas: quotas.iter().map(quota).collect(),
            meta: meta.iter().map(change).collect(),
        }
    }
}

impl Session {
    pub fn begin_import(&mut self, mode: ImportMode) -> Outcome<()> {
        self.end_import()?;
        let conn = self.connect()?;
        let begun = conn.wait(begin(&conn, mode), self.options.call_timeout);
        let import = Import {
            conn,
            mode,
            entries: 0,
        };
        self.keep(import, begun)
    }

    pub fn write_import(&mut self, entries: Vec<Entry>) -> Outcome<()> {
        let mut import = self.begun()?;
        let written = import.write(&entries, self.options.call_timeout);
        self.keep(import, written)
    }

    pub fn commit_import(
        &mut self,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Outcome<bool> {
        let import = self.begun()?;
        let call = self.options.call_timeout;
        let committed = match self.accept_writes() {
            Err(fault) => Err(fault),
            Ok(()) => import.commit(&Given::new(quotas, meta), call),
        };
        match committed {
            Ok(true) => {
                import.close();
                Ok(true)
            }
            outcome => self.keep(import, outcome),
        }
    }

    pub fn end_import(&mut self) -> Outcome<()> {
        if let Some(import) = self.import.take() {
            import.close();
        }
        Ok(())
    }

    /// The import, which is over where it is not put back.
    fn begun(&mut self) -> Outcome<Import> {
        let none = Fault::Misplaced("needs an import; call begin_import first");
        self.import.take().ok_or(none)
    }

    /// Puts the import back, unless it has failed.
    fn keep<T>(&mut self, import: Import, outcome: Outcome<T>) -> Outcome<T> {
        match outcome {
            Ok(value) => {
                self.import = Some(import);
                Ok(value)
            }
            Err(fault) => Err(import.over(fault)),
        }
    }
}

impl Import {
    pub fn close(self) {
        self.conn.close();
    }

    /// Ends an import that has failed.
    fn over(self, fault: Fault) -> Fault {
        let unknown = fault.is_lost() && self.conn.at_risk.get();
        let fault = explained(fault, &self.conn);
        self.close();
        match unknown {
            true => Fault::Unknown(Box::new(fault), Repeat::Twice),
            false => Fault::Over(Box::new(fault)),
        }
    }

    fn write(&mut self, entries: &[Entry], limit: Duration) -> Outcome<()> {
        let batch = Batch::new(entries)?;
        if let Some(entry) = batch.repeated().and_then(|place| entries.get(place)) {
            return Err(twice(entry));
        }
        if entries.is_empty() {
            return Ok(());
        }
        let before = stored(self.entries);
        let new = self
            .conn
            .wait(gather(&self.conn, &batch, before), limit)
            .map_err(unfit_metadata)?;
        // Without repetitions the places are those in the list.
        let there = (before + 1..)
            .zip(entries)
            .find(|(place, _)| !new.contains(place));
        if let Some((_, entry)) = there {
            return Err(twice(entry));
        }
        self.entries += entries.len() as u64;
        Ok(())
    }

    /// Makes the entries part of the data. It starts again, while there is time, where
    /// other transactions are in the way.
    fn commit(&self, given: &Given<'_>, call: Duration) -> Outcome<bool> {
        let conn = &self.conn;
        let calls = u32::try_from(self.entries / ENTRIES_A_CALL).unwrap_or(u32::MAX);
        let limit = call.saturating_mul(calls.saturating_add(1));
        let start = Instant::now();
        let mut conflicts = 0;
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let fault = match conn.wait(self.attempt(given, limit, call), left) {
                Err(fault) => fault,
                committed => return committed,
            };
            conflicts += 1;
            let is_final = fault.is_lost() || conn.at_risk.get() || !fault.is_conflict();
            if is_final || conflicts == CONFLICTS {
                return Err(match fault {
                    Fault::Unfinished(..) if conflicts > 1 => Fault::InTheWay(limit),
                    Fault::Unfinished(why, _) => Fault::Unfinished(why, limit),
                    fault => fault,
                });
            }
            conn.wait(conn.plain(BACK), call)?;
            thread::sleep(pause(conflicts).min(left));
        }
    }

    /// Commits, or changes nothing where a meta value is not the expected one.
    async fn attempt(&self, given: &Given<'_>, limit: Duration, idle: Duration) -> Outcome<bool> {
        let conn = &self.conn;
        conn.plain(KEEP).await?;
        // Now others may wait for this one. Going back takes the settings back too.
        conn.plain(&settings(limit, idle)).await?;
        if !self.change(given).await? {
            conn.plain(BACK).await?;
            return Ok(false);
        }
        conn.at_risk.set(true);
        conn.end(COMMIT).await?;
        Ok(true)
    }

    /// All of the changes, or false after some of them.
    async fn change(&self, given: &Given<'_>) -> Outcome<bool> {
        let conn = &self.conn;
        // The lock is not held while they are prepared.
        let statements = [
            CLEAR,
            CLEAR_QUOTAS,
            CLEAR_META,
            SET_META,
            NEW_META,
            CHANGE_META,
            LOCK_KEPT,
            FORGET_KEPT,
            STORE,
            ADD_STORED,
            SET_QUOTA,
            BUMP,
            EMPTY,
        ];
        for sql in statements {
            conn.statement(sql).await?;
        }
        locked(conn, &conn.query(LOCK, &[]).await?).await?;
        let mut deleted = 0;
        match self.mode {
            ImportMode::Empty => refuse_entries(conn).await?,
            ImportMode::Merge => {}
            ImportMode::Replace => {
                deleted = count(conn, CLEAR, &[&NAMED]).await?;
                conn.query(CLEAR_QUOTAS, &[]).await?;
                conn.query(CLEAR_META, &[]).await?;
            }
        }
        // Of what is cheap first, as another value there ends it.
        if !set_meta(conn, &given.meta, self.mode == ImportMode::Replace).await? {
            return Ok(false);
        }
        if self.mode == ImportMode::Merge {
            conn.query(LOCK_KEPT, &[]).await?;
            conn.query(FORGET_KEPT, &[]).await?;
        }
        if self.entries > 0 && count(conn, STORE, &[]).await? != self.entries {
            return Err(Fault::System(
                "the server stored fewer rows than it was given; remove the rule or trigger on table entries that holds them back".into(),
            ));
        }
        conn.query(ADD_STORED, &[]).await?;
        set_quotas(conn, &given.quotas).await?;
        if self.entries > 0 || deleted > 0 {
            conn.query(BUMP, &[]).await?;
            conn.query(EMPTY, &[]).await?;
        }
        Ok(true)
    }
}

async fn begin(conn: &Connection, mode: ImportMode) -> Outcome<()> {
    // Before the transaction, which would keep a lock on the table.
    if mode == ImportMode::Empty {
        refuse_entries(conn).await?;
    }
    conn.begin(BEGIN).await?;
    conn.plain(PATIENT).await?;
    conn.plain(CREATE).await.map_err(|fault| match fault.code() {
        "42501" => Fault::System(format!(
            "{}; an import gathers its entries in a temporary table, so grant the role TEMPORARY on the database",
            fault.text()
        )),
        _ => fault,
    })
}

/// Adds entries to the import, and returns the places of those that it did not have.
async fn gather(conn: &Connection, batch: &Batch<'_>, before: i64) -> Outcome<HashSet<i64>> {
    let (columns, namespaces, hashes) = batch.fresh(&vec![None; batch.len()]);
    let values = columns.values(&[&namespaces, &hashes, &before]);
    let new = conn.query(STAGE, &values).await?;
    new.iter().map(|row| column(row, 0)).collect()
}

async fn refuse_entries(conn: &Connection) -> Outcome<()> {
    match has_entry(conn).await? {
        true => Err(Fault::Import(
            "the cache has entries, and this import needs an empty one; clear the cache, or use mode merge or replace".into(),
        )),
        false => Ok(()),
    }
}

/// Sets meta values; false where one is not the expected one.
async fn set_meta(conn: &Connection, changes: &[Change<'_>], any: bool) -> Outcome<bool> {
    let set = conn.statement(SET_META).await?;
    let new = conn.statement(NEW_META).await?;
    let change = conn.statement(CHANGE_META).await?;
    let values: Vec<[&dyn Value; 3]> = changes
        .iter()
        .map(|one| [&one.key as _, &one.value as _, &one.expected as _])
        .collect();
    let steps = changes
        .iter()
        .zip(&values)
        .map(|(one, values)| match &one.expected {
            _ if any => conn.step(&set, &values[..2]),
            None => conn.step(&new, &values[..2]),
            Some(_) => conn.step(&change, values),
        });
    let replies = pipeline(steps.collect()).await?;
    Ok(any || replies.iter().all(|rows| !rows.is_empty()))
}

async fn set_quotas(conn: &Connection, quotas: &[(Cow<'_, str>, i64)]) -> Outcome<()> {
    let set = conn.statement(SET_QUOTA).await?;
    let values: Vec<[&dyn Value; 2]> = quotas
        .iter()
        .map(|(name, most)| [name as _, most as _])
        .collect();
    let steps = values.iter().map(|values| conn.step(&set, values));
    pipeline(steps.collect()).await?;
    Ok(())
}

fn twice(entry: &Entry) -> Fault {
    Fault::Import(format!(
        "namespace {:?} with hash {:?} comes twice in the import; leave one of them out",
        entry.namespace, entry.query_hash
    ))
}
