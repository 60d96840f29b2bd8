//! Which entries meet a filter.
//!
//! Ids come ascending from the shortest list that has all of them: those of a tag, of a namespace, of a
//! time, or all. Each entry is then asked itself.

use super::connection::Connection;
use super::error::Outcome;
use super::reads::beyond;
use super::rows::{self, column, escaped, stored};
use super::session::Session;
use super::values::{Value, Values};
use mneme_store::{EntryRef, Filter, Selection};

/// How many entries a call looks at, at most.
const LOOK: i64 = 20_000;

/// SQL for a part of the entries of a list: `$1` is the id before it, `$2` how many to look at, `$3` how
/// many to find, `$4` to `$8` the filter. The last row says where the part ends, if it was cut there. The
/// fences keep a plan from reading a whole table, whatever was typical when it was made.
macro_rules! part {
    ($ids:literal) => {
        concat!(
            "WITH part AS MATERIALIZED (",
            $ids,
            " ORDER BY id LIMIT $2),
            found AS (
                SELECT part.id, e.namespace, e.created_at
                FROM part CROSS JOIN LATERAL (
                    SELECT namespace, context, tags, created_at FROM {entries} AS e
                    WHERE e.id = part.id OFFSET 0
                ) AS e
                WHERE ($4::text IS NULL OR e.namespace = $4)
                    AND ($5::text IS NULL OR e.context = $5)
                    AND greatest(e.created_at, 0) >= $6 AND greatest(e.created_at, 0) < $7
                    AND e.tags ?& $8::text[]
                ORDER BY part.id LIMIT $3
            )
            SELECT id, namespace, created_at FROM found
            UNION ALL
            SELECT CASE WHEN count(*) = $2 THEN max(id) END, NULL, NULL FROM part"
        )
    };
}
const ALL: &str = part!("SELECT id FROM {schema}.entries WHERE id > $1");
const TAGGED: &str = part!("SELECT id FROM {schema}.entry_tags WHERE tag = $9 AND id > $1");
const NAMED: &str = part!(
    "SELECT id FROM (SELECT id FROM {schema}.entries WHERE namespace = $9 OFFSET 0) AS named
    WHERE id > $1"
);
const CREATED: &str = part!(
    "SELECT id FROM (SELECT id FROM {schema}.entries
        WHERE created_at >= $9 AND created_at < $10 OFFSET 0) AS created
    WHERE id > $1"
);
const COUNT_TAGGED: &str = "SELECT count(*) FROM
    (SELECT FROM {schema}.entry_tags WHERE tag = $1 LIMIT $2) AS counted";
const COUNT_NAMED: &str = "SELECT count(*) FROM
    (SELECT FROM {schema}.entries WHERE namespace = $1 LIMIT $2) AS counted";
const COUNT_CREATED: &str = "SELECT count(*) FROM
    (SELECT FROM {schema}.entries WHERE created_at >= $1 AND created_at < $2 LIMIT $3) AS counted";

/// A list of ids that has all that meet a filter.
struct Source<'f> {
    part: &'static str,
    count: &'static str,
    values: Vec<&'f dyn Value>,
}

impl Session {
    pub fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Outcome<Selection> {
        self.read(async |conn| {
            // Without the column nothing has a tag.
            if limit == 0 || (conn.lacks_columns() && !filter.tags.is_empty()) {
                return Ok(Selection {
                    entries: Vec::new(),
                    next: None,
                });
            }
            select(conn, filter, last_id, limit).await
        })
    }
}

async fn select(
    conn: &Connection,
    filter: &Filter,
    last_id: u64,
    limit: u32,
) -> Outcome<Selection> {
    let namespace = filter.namespace.as_deref().map(escaped);
    let context = filter.context.as_deref().map(escaped);
    let tags: Vec<_> = filter.tags.iter().map(|tag| escaped(tag)).collect();
    let time = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
    let from = filter.created_from.map_or(0, time);
    let before = filter.created_before.map_or(i64::MAX, time);
    let has_times = filter.created_from.is_some() || filter.created_before.is_some();
    // An older row that says it was created before all times was created at 0.
    let lowest = if from == 0 { i64::MIN } else { from };

    let mut sources: Vec<Source<'_>> = Vec::new();
    for tag in &tags {
        sources.push(Source {
            part: TAGGED,
            count: COUNT_TAGGED,
            values: vec![tag],
        });
    }
    if let Some(name) = &namespace {
        sources.push(Source {
            part: NAMED,
            count: COUNT_NAMED,
            values: vec![name],
        });
    }
    if has_times {
        sources.push(Source {
            part: CREATED,
            count: COUNT_CREATED,
            values: vec![&lowest, &before],
        });
    }
    let conditions = sources.len() + usize::from(context.is_some());
    let Source { part, values, .. } = shortest(conn, sources).await?;
    let limit = i64::from(limit);
    // What the list does not leave open needs no looking for.
    let is_all_in_list = conditions == usize::from(part != ALL);
    let look = if is_all_in_list {
        limit.min(LOOK)
    } else {
        LOOK
    };
    let last_id = beyond(last_id);
    let mut all: Vec<&dyn Value> = vec![
        &last_id, &look, &limit, &namespace, &context, &from, &before, &tags,
    ];
    all.extend(values);

    let mut selection = Selection {
        entries: Vec::new(),
        next: None,
    };
    for row in conn.query(part, &all).await? {
        match column::<Option<&str>>(&row, 1)? {
            Some(_) => selection.entries.push(rows::reference(&row, [0, 1, 2])?),
            None => selection.next = column::<Option<i64>>(&row, 0)?.map(rows::whole),
        }
    }
    selection.entries.sort_unstable_by_key(|entry| entry.id);
    let last = selection.entries.last().map(|entry: &EntryRef| entry.id);
    if let Some(last) = last
        && stored(selection.entries.len() as u64) == limit
    {
        selection.next = Some(last);
    }
    Ok(selection)
}

/// The list that is the shortest; long ones are not counted to their end. Of a tag and of all entries the
/// ids are in order already; from other lists they are sorted, so those must be short.
async fn shortest<'f>(conn: &Connection, sources: Vec<Source<'f>>) -> Outcome<Source<'f>> {
    let mut best = Source {
        part: ALL,
        count: "",
        values: Vec::new(),
    };
    // One tag alone is no choice.
    if sources.len() == 1 && sources.iter().all(|source| source.part == TAGGED) {
        return Ok(sources.into_iter().next().unwrap_or(best));
    }
    let mut statements = Vec::with_capacity(sources.len());
    let mut values = Vec::with_capacity(sources.len());
    for source in &sources {
        statements.push(conn.statement(source.count).await?);
        let mut counted = source.values.clone();
        counted.push(&LOOK);
        values.push(counted);
    }
    let given: Vec<Values<'_>> = values.iter().map(|values| &values[..]).collect();
    let steps = statements.iter().zip(&given);
    let steps = steps.map(|(statement, values)| conn.step(statement, values));
    let counts = conn.together(steps.collect()).await?;
    let mut least = LOOK;
    for (source, rows) in sources.into_iter().zip(&counts) {
        let length: i64 = rows.first().map_or(Ok(LOOK), |row| column(row, 0))?;
        if length < least || (source.part == TAGGED && best.part == ALL) {
            (best, least) = (source, length);
        }
    }
    Ok(best)
}
