//! Tags: a JSON array in each entry, and a table of (tag, id) to find them by.
//!
//! The array is what counts. The table may have more rows, for `mneme-cache` deletes entries and leaves
//! them: ids are never given twice, and whoever finds an entry by the table asks the entry. It has a row for
//! each tag of each entry, since nobody else writes tags: a replacement by `mneme-cache` keeps them.
//! What has no tags costs no statement.

use std::borrow::Cow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::error::{Fault, Outcome};
use super::layout::unless_missing;
use super::rows::utf8;
use super::schema::TAGS;
use mneme_store::checks::{GREATEST, MAX_TAG, MAX_TAGS, wrong_tags};

/// The most bytes of tags as JSON: each byte of a tag takes six at most.
const MAX_JSON: usize = 2 + MAX_TAGS * (MAX_TAG * 6 + 3);

const NONE: &str = "[]";

const ADD: &str = "INSERT OR IGNORE INTO entry_tags (tag, id) VALUES (?1, ?2)";
const FORGET: &str = "DELETE FROM entry_tags WHERE tag = ?1 AND id = ?2";
const FORGET_ALL: &str = "DELETE FROM entry_tags";
/// SQL for the tags of entries as `j.value`, beside `e.id`. What is no JSON has none.
macro_rules! tags_of_entries {
    () => {
        "FROM entries AS e, \
         json_each(CASE WHEN json_valid(e.tags) THEN e.tags ELSE '[]' END) AS j \
         WHERE e.tags <> '[]' AND j.type = 'text'"
    };
}
const FORGET_NAMESPACE: &str = concat!(
    "DELETE FROM entry_tags WHERE (tag, id) IN (SELECT j.value, e.id ",
    tags_of_entries!(),
    " AND e.namespace = ?1 AND EXISTS (SELECT 1 FROM entry_tags))"
);
const FILL: &str = concat!(
    "INSERT OR IGNORE INTO entry_tags (tag, id) SELECT j.value, e.id ",
    tags_of_entries!()
);
/// An entry that its tag does not lead to, or a row that is no tag of any entry.
const WRONG: &str = concat!(
    "SELECT EXISTS (SELECT 1 ",
    tags_of_entries!(),
    " AND NOT EXISTS (SELECT 1 FROM entry_tags AS t WHERE t.tag = j.value AND t.id = e.id))
    OR EXISTS (SELECT 1 FROM entry_tags
        WHERE typeof(tag) <> 'text' OR typeof(id) <> 'integer' OR id NOT BETWEEN 1 AND ?1)"
);
const OF_KEY: &str = "SELECT id, tags FROM entries
    WHERE id = (SELECT id FROM entries WHERE namespace = ?1 AND query_hash = ?2)
        AND +namespace = ?1 AND +query_hash = ?2";
const TAKE: &str = "UPDATE entries SET tags = '[]' WHERE id = ?1";

/// Tags as an entry keeps them.
pub(super) fn json(tags: &[String]) -> Outcome<Cow<'static, str>> {
    if tags.is_empty() {
        return Ok(Cow::Borrowed(NONE));
    }
    let json = serde_json::to_string(tags);
    json.map(Cow::Owned)
        .map_err(|error| Fault::invalid(format!("the tags of an entry: {error}")))
}

/// The tags that an entry keeps, or what is wrong with them.
pub(super) fn tags(value: ValueRef<'_>) -> Result<Vec<String>, &'static str> {
    let json = utf8(value)?;
    if json == NONE {
        return Ok(Vec::new());
    }
    if json.len() > MAX_JSON {
        return Err("is longer than 32 tags");
    }
    let tags: Vec<String> =
        serde_json::from_str(json).map_err(|_| "is not a JSON array of strings")?;
    match wrong_tags(&tags) {
        Some(what) => Err(what),
        None => Ok(tags),
    }
}

/// Has tags lead to an entry.
pub(super) fn add(conn: &Connection, id: u64, tags: &[String]) -> Outcome<()> {
    if tags.is_empty() {
        return Ok(());
    }
    let mut add = conn.prepare_cached(ADD)?;
    for tag in tags {
        add.execute((tag, id))?;
    }
    Ok(())
}

/// Removes the rows of an entry that had these tags. Of damaged ones they stay, which does no harm.
pub(super) fn forget(conn: &Connection, id: i64, kept: ValueRef<'_>) -> Outcome<()> {
    let tags = tags(kept).unwrap_or_default();
    if tags.is_empty() {
        return Ok(());
    }
    let mut forget = conn.prepare_cached(FORGET)?;
    for tag in &tags {
        forget.execute((tag, id))?;
    }
    Ok(())
}

/// Takes its tags from the entry of this key, and says whether there is one.
pub(super) fn take(conn: &Connection, namespace: &str, query_hash: &str) -> Outcome<bool> {
    let mut query = conn.prepare_cached(OF_KEY)?;
    let mut found = query.query((namespace, query_hash))?;
    let Some(row) = found.next()? else {
        return Ok(false);
    };
    let id = row.get(0)?;
    forget(conn, id, row.get_ref(1)?)?;
    conn.prepare_cached(TAKE)?.execute([id])?;
    Ok(true)
}

/// Removes the rows of all entries of a namespace.
pub(super) fn forget_namespace(conn: &Connection, namespace: &str) -> Outcome<()> {
    conn.prepare_cached(FORGET_NAMESPACE)?
        .execute([namespace])?;
    Ok(())
}

/// Removes all rows.
pub(super) fn forget_all(conn: &Connection) -> Outcome<()> {
    conn.prepare_cached(FORGET_ALL)?.execute([])?;
    Ok(())
}

/// Makes the rows of a table that was missing.
pub(super) fn fill(conn: &Connection) -> Outcome<()> {
    conn.execute(FILL, [])?;
    Ok(())
}

/// Fails unless each tag leads to its entries.
pub(super) fn check(conn: &Connection) -> Outcome<()> {
    let wrong = unless_missing(conn, TAGS, Some(false), |conn| {
        let mut query = conn.prepare_cached(WRONG)?;
        query.query_row([GREATEST], |row| row.get(0)).optional()
    })?;
    match wrong {
        Some(false) => Ok(()),
        _ => Err(wrong_table()),
    }
}

/// The error for a table that does not follow from the entries.
pub(super) fn wrong_table() -> Fault {
    Fault::Corrupt(format!(
        "table {TAGS} does not have the tags of the entries; drop the table, and open the file for writing, which makes it again"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_come_back_byte_for_byte(given in prop::collection::vec("[^\0]{1,32}", 0..33)) {
            let json = json(&given).unwrap();
            prop_assert!(json.len() <= MAX_JSON);
            prop_assert_eq!(tags(ValueRef::Text(json.as_bytes())), Ok(given));
        }

        #[test]
        fn any_text_is_tags_or_refused(text in r#"[\[\]",a\\u0-9{} ]*"#) {
            let _ = tags(ValueRef::Text(text.as_bytes()));
        }
    }

    #[test]
    fn the_longest_tags_fit() {
        let longest: Vec<String> = vec!["\u{1}".repeat(MAX_TAG); MAX_TAGS];
        let json = json(&longest).unwrap();
        assert_eq!(json.len(), MAX_JSON - 1);
        assert_eq!(tags(ValueRef::Text(json.as_bytes())), Ok(longest));
    }

    #[test]
    fn what_no_cache_writes_is_refused() {
        let many = format!("[{}\"t\"]", "\"t\",".repeat(32));
        let long = format!("[{:?}]", "t".repeat(129));
        let spaces = format!("[{}]", " ".repeat(MAX_JSON));
        for wrong in [
            "",
            "null",
            "{}",
            "[",
            "[1]",
            "[null]",
            "[[\"t\"]]",
            "[\"\"]",
            "[\"a\\u0000\"]",
            "[\"\\ud800\"]",
            &many,
            &long,
            &spaces,
        ] {
            assert!(tags(ValueRef::Text(wrong.as_bytes())).is_err(), "{wrong}");
        }
        for wrong in [ValueRef::Null, ValueRef::Integer(1), ValueRef::Blob(b"[]")] {
            assert!(tags(wrong).is_err(), "{wrong:?}");
        }
    }
}
