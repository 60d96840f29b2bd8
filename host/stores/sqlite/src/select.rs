//! Which entries meet a filter.
//!
//! Ids come ascending from the shortest list that has all of them: those of a tag, of a namespace, of a
//! time, or all. Each entry is then asked itself, so an index or a table that lies leads to no wrong one.

use rusqlite::{Connection, ToSql};

use super::error::Outcome;
use super::labels;
use super::layout::unless_missing;
use super::reads::{key, number_of};
use super::rows;
use super::schema::TAGS;
use super::session::Session;
use mneme_store::checks::GREATEST;
use mneme_store::{Entry, EntryRef, Filter, Selection};

/// How many entries a call looks at, at most. That takes some tens of milliseconds.
const LOOK: u32 = 20_000;

/// The columns of [`candidate`].
macro_rules! candidate_columns {
    ($id:literal) => {
        concat!(
            "SELECT ",
            $id,
            ", e.namespace, e.created_at, e.context, e.tags FROM "
        )
    };
}

/// A row that has no entry any more counts too.
pub(super) const TAGGED: &str = concat!(
    candidate_columns!("t.id"),
    "entry_tags AS t LEFT JOIN entries AS e ON e.id = t.id
    WHERE t.tag = ?3 AND t.id > ?1 ORDER BY t.id LIMIT ?2"
);
/// The inner query needs an index only. The `+` keeps SQLite from walking the table by id.
pub(super) const NAMED: &str = concat!(
    candidate_columns!("c.id"),
    "(SELECT id FROM entries WHERE namespace = ?3 AND +id > ?1 ORDER BY +id LIMIT ?2) AS c
    CROSS JOIN entries AS e ON e.id = c.id ORDER BY c.id"
);
pub(super) const CREATED: &str = concat!(
    candidate_columns!("c.id"),
    "(SELECT id FROM entries WHERE created_at >= ?3 AND created_at < ?4 AND +id > ?1
        ORDER BY +id LIMIT ?2) AS c
    CROSS JOIN entries AS e ON e.id = c.id ORDER BY c.id"
);
pub(super) const ALL: &str = concat!(
    candidate_columns!("e.id"),
    "entries AS e WHERE e.id > ?1 ORDER BY e.id LIMIT ?2"
);
pub(super) const COUNT_TAGGED: &str = "SELECT count(*) FROM
    (SELECT 1 FROM entry_tags WHERE tag = ?2 LIMIT ?1)";
pub(super) const COUNT_NAMED: &str = "SELECT count(*) FROM
    (SELECT 1 FROM entries WHERE namespace = ?2 LIMIT ?1)";
pub(super) const COUNT_CREATED: &str = "SELECT count(*) FROM
    (SELECT 1 FROM entries WHERE created_at >= ?2 AND created_at < ?3 LIMIT ?1)";

/// A list of ids that has all that meet a filter.
struct Source<'f> {
    rows: &'static str,
    count: &'static str,
    /// What both take, after their own.
    values: Vec<&'f dyn ToSql>,
}

impl Session {
    pub fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Outcome<Selection> {
        let nothing = Selection {
            entries: Vec::new(),
            next: None,
        };
        if limit == 0 {
            return Ok(nothing);
        }
        let found = self.read(|conn| {
            // A file that can only be read may lack the table, and then has no tags.
            let has_tags = filter.tags.is_empty()
                || unless_missing(conn, TAGS, false, |conn| {
                    conn.prepare_cached(COUNT_TAGGED).map(|_| true)
                })?;
            match has_tags {
                true => select(conn, filter, last_id, limit).map(Some),
                false => Ok(None),
            }
        })?;
        Ok(found.unwrap_or(nothing))
    }
}

fn select(conn: &Connection, filter: &Filter, last_id: u64, limit: u32) -> Outcome<Selection> {
    let from = filter.created_from.unwrap_or(0).min(GREATEST);
    let before = filter.created_before.unwrap_or(u64::MAX).min(GREATEST + 1);
    let mut sources: Vec<Source<'_>> = Vec::new();
    for tag in &filter.tags {
        sources.push(Source {
            rows: TAGGED,
            count: COUNT_TAGGED,
            values: vec![tag],
        });
    }
    if let Some(name) = &filter.namespace {
        sources.push(Source {
            rows: NAMED,
            count: COUNT_NAMED,
            values: vec![name],
        });
    }
    if filter.created_from.is_some() || filter.created_before.is_some() {
        sources.push(Source {
            rows: CREATED,
            count: COUNT_CREATED,
            values: vec![&from, &before],
        });
    }
    let (rows, values) = shortest(conn, sources)?;
    let last_id = key(last_id);
    let mut all: Vec<&dyn ToSql> = vec![&last_id, &LOOK];
    all.extend(values);

    let mut query = conn.prepare_cached(rows)?;
    let mut found = query.query(&all[..])?;
    let mut looked_at = 0;
    let mut selection = Selection {
        entries: Vec::new(),
        next: None,
    };
    while let Some(row) = found.next()? {
        let Some(id) = rows::whole(row.get_ref(0)?).filter(|id| *id > 0) else {
            return Err(labels::wrong_table());
        };
        looked_at += 1;
        selection.entries.extend(candidate(row, id, filter)?);
        if looked_at == LOOK || selection.entries.len() == limit as usize {
            selection.next = Some(id);
            break;
        }
    }
    Ok(selection)
}

/// The statement for the list that is the shortest, and what it takes. Long ones are not counted to
/// their end. Of a tag and of all entries the ids are in order already; from other lists they are
/// sorted, so those must be short.
fn shortest<'f>(
    conn: &Connection,
    sources: Vec<Source<'f>>,
) -> Outcome<(&'static str, Vec<&'f dyn ToSql>)> {
    let mut best = (ALL, Vec::new(), u64::from(LOOK));
    for Source {
        rows,
        count,
        values,
    } in sources
    {
        let mut counted: Vec<&dyn ToSql> = vec![&LOOK];
        counted.extend(&values);
        let length = number_of(conn, count, &counted)?;
        if length < best.2 || (rows == TAGGED && best.0 == ALL) {
            best = (rows, values, length);
        }
    }
    Ok((best.0, best.1))
}

/// The entry of a row, if there is one that meets the filter.
fn candidate(row: &rusqlite::Row<'_>, id: u64, filter: &Filter) -> Outcome<Option<EntryRef>> {
    if row.get_ref(4)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    let wrong = |what| rows::wrong("tags", id, what);
    let entry = Entry {
        id,
        namespace: rows::text(row, 1, id, "namespace")?,
        context: rows::context(row, 3, id)?,
        query_hash: String::new(),
        query: String::new(),
        response: String::new(),
        embedding: Vec::new(),
        metadata: String::new(),
        tags: labels::tags(row.get_ref(4)?).map_err(wrong)?,
        created_at: rows::number(row, 2, id, "created_at")?,
        last_accessed_at: 0,
        ttl: None,
        access_count: 0,
    };
    Ok(filter.accepts(&entry).then_some(EntryRef {
        id,
        namespace: entry.namespace,
        created_at: entry.created_at,
    }))
}
