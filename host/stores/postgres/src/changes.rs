//! The log of changes.
//!
//! The table has each version from its first to its last. A write that finds that somebody else has moved
//! the counter, as `mneme-cache` does, empties it first.

use tokio_postgres::Row;

use super::connection::Connection;
use super::error::{Fault, Outcome};
use super::layout::CHANGES;
use super::reads::{beyond, counter};
use super::rows::{column, whole};
use super::session::Session;
use super::values::{Value, Values};
use mneme_store::changes::{LONG_WRITE, MAX_CHANGES, cut_to_versions, trims_at};
use mneme_store::{Change, ChangePage};

/// SQL for what appends the ids of a query at the version that the counter has now.
macro_rules! append {
    ($deleted:literal, $ids:literal) => {
        concat!(
            "WITH now AS (SELECT value::bigint AS version FROM {schema}.multi_process_state
                WHERE key = 'version_counter'),
            cut AS (DELETE FROM {schema}.changes WHERE (SELECT max(version) FROM {schema}.changes)
                <> (SELECT version - 1 FROM now))
            INSERT INTO {schema}.changes (version, id, deleted)
            SELECT now.version, one.id, ",
            $deleted,
            " FROM now, ",
            $ids,
            " AS one (id) ON CONFLICT DO NOTHING"
        )
    };
}
/// The entries with these namespaces and hashes.
const STORED: &str = append!(
    "false",
    "(SELECT e.id FROM unnest($1::text[], $2::text[]) AS k (namespace, query_hash)
        JOIN {schema}.entries AS e ON e.namespace = k.namespace AND e.query_hash = k.query_hash)"
);
const DELETED: &str = append!("true", "unnest($1::bigint[])");
pub(super) const EMPTY: &str = "DELETE FROM {schema}.changes";
/// Whole versions, so that the last `$1` and one stay; only at each version that `$2` divides.
const TRIM: &str = "DELETE FROM {schema}.changes
    WHERE (SELECT max(version) FROM {schema}.changes) % $2::bigint = 0 AND version <
        (SELECT version FROM {schema}.changes ORDER BY version DESC, id DESC LIMIT 1 OFFSET $1)";
const KEPT: i64 = MAX_CHANGES as i64 - 1;

/// All of it is the picture of one instant.
const SINCE: &str = "
    SELECT ends.now, ends.first, ends.last, c.version, c.id, c.deleted
    FROM (SELECT
        (SELECT value FROM {schema}.multi_process_state
            WHERE key = 'version_counter' AND {ours}) AS now,
        (SELECT min(version) FROM {schema}.changes) AS first,
        (SELECT max(version) FROM {schema}.changes) AS last) AS ends
    LEFT JOIN (SELECT version, id, deleted FROM {schema}.changes
        WHERE version > $1 ORDER BY version, id LIMIT $2) AS c ON true
    ORDER BY c.version, c.id";
const OF_ONE: &str = "SELECT NULL, NULL, NULL, version, id, deleted FROM {schema}.changes
    WHERE version = $1 ORDER BY id";

/// What a write of entries did.
pub(super) enum Did<'w> {
    Nothing,
    /// Stored entries with these namespaces and hashes.
    Stored(&'w Vec<&'w str>, &'w Vec<&'w str>),
    /// Deleted entries with these ids.
    Deleted(&'w Vec<i64>),
    /// More than the log takes.
    Much,
}

impl<'w> Did<'w> {
    /// Entries that are gone, if there are any.
    pub fn deleted(ids: &'w Vec<i64>) -> Self {
        match ids.len() {
            0 => Self::Nothing,
            many if many > LONG_WRITE => Self::Much,
            _ => Self::Deleted(ids),
        }
    }
}

/// Calls `work` with the statements that write it down, which follow the one that moves the counter.
pub(super) async fn written<T>(
    conn: &Connection,
    did: &Did<'_>,
    work: impl AsyncFnOnce(&[(&'static str, Values<'_>)]) -> Outcome<T>,
) -> Outcome<T> {
    let (append, values, count): (_, Vec<&dyn Value>, _) = match did {
        Did::Nothing | Did::Much => (EMPTY, vec![], 0),
        Did::Stored(namespaces, hashes) => (STORED, vec![*namespaces, *hashes], hashes.len()),
        Did::Deleted(ids) => (DELETED, vec![*ids], ids.len()),
    };
    let appended = conn.appended.get();
    let trims_at = trims_at(appended);
    let trims = trims_at.is_some();
    let at = i64::from(trims_at.unwrap_or(1));
    let writes: [(&'static str, Values<'_>); 2] = [(append, &values), (TRIM, &[&KEPT, &at])];
    let outcome = work(&writes[..1 + usize::from(trims)]).await?;
    conn.appended
        .set(count.max(1) + if trims { 0 } else { appended });
    Ok(outcome)
}

/// Prepares what [`written`] may need.
pub(super) async fn prepare(conn: &Connection) -> Outcome<()> {
    for sql in [STORED, DELETED, EMPTY, TRIM] {
        conn.statement(sql).await?;
    }
    Ok(())
}

impl Session {
    pub fn changes_since(&mut self, version: u64, limit: u32) -> Outcome<Option<ChangePage>> {
        let limit = limit.max(1);
        let lacks_log = self.lacks_log();
        self.read(async |conn| {
            if lacks_log {
                return Ok(None);
            }
            let most = i64::from(limit) + 1;
            let rows = conn.query(SINCE, &[&beyond(version), &most]).await?;
            let Some(ends) = rows.first() else {
                return Ok(None);
            };
            let now = match column(ends, 0)? {
                Some(text) => counter(text)?,
                None => {
                    conn.check_ours().await?;
                    0
                }
            };
            if version == now {
                let changes = Vec::new();
                return Ok(Some(ChangePage { changes, version }));
            }
            let (first, last): (Option<i64>, Option<i64>) = (column(ends, 1)?, column(ends, 2)?);
            let is_known = first.is_some_and(|first| whole(first) <= version.saturating_add(1))
                && last.is_some_and(|last| whole(last) == now);
            if version > now || !is_known {
                return Ok(None);
            }
            page(conn, &rows, limit).await
        })
    }
}

/// The whole versions at the beginning of these rows, or the first version.
async fn page(conn: &Connection, rows: &[Row], limit: u32) -> Outcome<Option<ChangePage>> {
    let mut changes: Vec<Change> = rows.iter().map(change).collect::<Outcome<_>>()?;
    if let Some(version) = cut_to_versions(&mut changes, limit) {
        let rows = conn.query(OF_ONE, &[&beyond(version)]).await?;
        changes = rows.iter().map(change).collect::<Outcome<_>>()?;
    }
    // By now the one version may be gone.
    Ok(changes
        .last()
        .map(|last| last.version)
        .map(|version| ChangePage { changes, version }))
}

fn change(row: &Row) -> Outcome<Change> {
    let (version, id): (Option<i64>, Option<i64>) = (column(row, 3)?, column(row, 4)?);
    let deleted: Option<bool> = column(row, 5)?;
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    match (number(version), number(id), deleted) {
        (Some(version), Some(id @ 1..), Some(deleted)) => Ok(Change {
            version,
            id,
            deleted,
        }),
        _ => Err(Fault::Corrupt(format!(
            "table {CHANGES} has a row that is no change; delete all of its rows"
        ))),
    }
}
