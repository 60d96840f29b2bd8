//! The log of changes.
//!
//! The table has each version from its first to its last. Whoever finds that somebody else has moved the
//! counter, as `mneme-cache` does, empties it first.

use rusqlite::{Connection, Row};

use super::error::{Fault, Outcome};
use super::layout;
use super::reads;
use super::rows;
use super::schema::CHANGES;
use super::session::Session;
use mneme_store::changes::{LONG_WRITE, MAX_CHANGES, cut_to_versions};
use mneme_store::{Change, ChangePage};

const APPEND: &str = "INSERT INTO changes (version, id, deleted) VALUES (?1, ?2, ?3)
    ON CONFLICT DO NOTHING";
const EMPTY: &str = "DELETE FROM changes";
/// Whole versions, so that the last `?1` and one stay.
const TRIM: &str = "DELETE FROM changes
    WHERE version < (SELECT version FROM changes ORDER BY version DESC, id DESC LIMIT 1 OFFSET ?1)";
const ENDS: &str = "SELECT (SELECT min(version) FROM changes), (SELECT max(version) FROM changes)";
const SINCE: &str = "SELECT version, id, deleted FROM changes
    WHERE version > ?1 ORDER BY version, id LIMIT ?2";
const OF_ONE: &str = "SELECT version, id, deleted FROM changes WHERE version = ?1 ORDER BY id";

/// What a write of entries did.
#[derive(Debug)]
pub(super) enum Did {
    Nothing,
    Stored(Vec<u64>),
    Deleted(Vec<u64>),
    /// More than the log takes.
    Much,
}

impl Did {
    /// Entries that are gone, if there are any.
    pub fn deleted(ids: Vec<u64>) -> Self {
        match ids.is_empty() {
            true => Self::Nothing,
            false => Self::Deleted(ids),
        }
    }
}

/// Writes down what moved the counter to `version`, and returns how many changes that were. `last` is the
/// last version of the log.
pub(super) fn append(
    conn: &Connection,
    version: u64,
    last: Option<u64>,
    did: &Did,
) -> Outcome<usize> {
    let (ids, deleted) = match did {
        Did::Stored(ids) if ids.len() <= LONG_WRITE => (&ids[..], false),
        Did::Deleted(ids) if ids.len() <= LONG_WRITE => (&ids[..], true),
        _ => (&[][..], false),
    };
    let goes_on = last.is_none_or(|last| last.checked_add(1) == Some(version));
    if ids.is_empty() || !goes_on {
        conn.prepare_cached(EMPTY)?.execute([])?;
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let mut append = conn.prepare_cached(APPEND)?;
    for id in ids {
        append.execute((version, id, deleted))?;
    }
    Ok(ids.len())
}

/// Drops the oldest.
pub(super) fn trim(conn: &Connection) -> Outcome<()> {
    conn.prepare_cached(TRIM)?.execute([MAX_CHANGES - 1])?;
    Ok(())
}

impl Session {
    pub fn changes_since(&mut self, version: u64, limit: u32) -> Outcome<Option<ChangePage>> {
        let read_only = self.is_read_only();
        self.read(|conn| {
            let now = reads::version(conn)?;
            if version == now {
                let changes = Vec::new();
                return Ok(Some(ChangePage { changes, version }));
            }
            if version > now || (read_only && !layout::has_table(conn, CHANGES)?) {
                return Ok(None);
            }
            let (first, last) = conn.prepare_cached(ENDS)?.query_row([], |row| {
                Ok((rows::whole(row.get_ref(0)?), rows::whole(row.get_ref(1)?)))
            })?;
            let is_known = first.is_some_and(|first| first <= version + 1) && last == Some(now);
            match is_known {
                true => page(conn, version, limit).map(Some),
                false => Ok(None),
            }
        })
    }
}

/// The first whole versions after this one.
fn page(conn: &Connection, version: u64, limit: u32) -> Outcome<ChangePage> {
    let limit = limit.max(1);
    let most = i64::from(limit) + 1;
    let after = reads::key(version);
    let mut changes = reads::collect(conn, SINCE, &[&after, &most], change)?;
    if let Some(version) = cut_to_versions(&mut changes, limit) {
        changes = reads::collect(conn, OF_ONE, &[&version], change)?;
    }
    let version = changes.last().map_or(version, |last| last.version);
    Ok(ChangePage { changes, version })
}

fn change(row: &Row<'_>) -> Outcome<Change> {
    let (version, id) = (rows::whole(row.get_ref(0)?), rows::whole(row.get_ref(1)?));
    match (version, id, rows::whole(row.get_ref(2)?)) {
        (Some(version), Some(id), Some(deleted @ (0 | 1))) => Ok(Change {
            version,
            id,
            deleted: deleted == 1,
        }),
        _ => Err(Fault::Corrupt(format!(
            "table {CHANGES} has a row that is no change; delete all of its rows"
        ))),
    }
}
