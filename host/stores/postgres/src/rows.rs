//! Between the rows of table `entries` and [`Entry`].
//!
//! Reading tolerates what other writers of the layout leave behind: a number below zero
//! reads as 0. Writing is strict: a number that a BIGINT cannot hold is refused.
//!
//! A Postgres text holds any character but U+0000. [`escaped`] makes of any text one that
//! it holds, and of almost any text the same text.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::error::{Fault, Outcome, describe};
use mneme_store::{Entry, EntryRef, checks};

/// A noncharacter, which texts do not have.
const ESCAPE: char = '\u{10FFFE}';

/// The columns of [`entry`], in its order, of `{entries} AS e`, with the vector or `NULL` in its place. The
/// metadata are the text that was given as long as they are still those that it came with.
macro_rules! entry_columns {
    () => {
        entry_columns!("e.embedding")
    };
    ($embedding:literal) => {
        concat!(
            "e.id, e.namespace, e.query_hash, e.query, e.response, ",
            $embedding,
            ", CASE WHEN e.metadata_text IS NULL THEN e.metadata::text \
             WHEN e.metadata_text_of = sha256(convert_to(e.metadata::text, 'UTF8')) \
             THEN e.metadata_text ELSE e.metadata::text END, \
             e.created_at, e.last_accessed_at, e.ttl, e.access_count, e.context, e.tags::text"
        )
    };
}
pub(super) use entry_columns;

/// How many [`entry_columns`] there are.
pub(super) const ENTRY_COLUMNS: usize = 13;

/// A row of [`entry_columns`], whose vector has `dim` values; without a `dim` it is not read.
pub(super) fn entry(row: &Row, dim: Option<u32>) -> Outcome<Entry> {
    let id = id(row, 0)?;
    let mut embedding = Vec::new();
    if let Some(dim) = dim {
        append_embedding(&mut embedding, value(row, 5, id, "embedding")?, dim, id)?;
    }
    Ok(Entry {
        id,
        context: context(row, 11, id)?,
        tags: tags(value(row, 12, id, "tags")?).map_err(|what| wrong("tags", id, what))?,
        namespace: text(row, 1, id, "namespace")?,
        query_hash: text(row, 2, id, "query_hash")?,
        query: text(row, 3, id, "query")?,
        response: text(row, 4, id, "response")?,
        embedding,
        metadata: value::<&str>(row, 6, id, "metadata")?.to_owned(),
        created_at: number(row, 7, id, "created_at")?,
        last_accessed_at: number(row, 8, id, "last_accessed_at")?,
        ttl: value::<Option<i64>>(row, 9, id, "ttl")?
            .map(|ttl| in_range(ttl, id, "ttl"))
            .transpose()?,
        access_count: number(row, 10, id, "access_count")?,
    })
}

/// What the columns of a row at these places name: id, namespace and creation.
pub(super) fn reference(row: &Row, [id, namespace, created_at]: [usize; 3]) -> Outcome<EntryRef> {
    let id = self::id(row, id)?;
    Ok(EntryRef {
        id,
        namespace: text(row, namespace, id, "namespace")?,
        created_at: number(row, created_at, id, "created_at")?,
    })
}

pub(super) fn id(row: &Row, column: usize) -> Outcome<u64> {
    let id: i64 = value(row, column, 0, "id")?;
    match u64::try_from(id) {
        Ok(id) if id > 0 => Ok(id),
        _ => Err(Fault::Corrupt(format!(
            "table entries has a row whose id is {id}, and ids start at 1; delete that row, or restore a backup"
        ))),
    }
}

pub(super) fn text(row: &Row, column: usize, id: u64, name: &str) -> Outcome<String> {
    Ok(unescaped(value(row, column, id, name)?))
}

pub(super) fn context(row: &Row, column: usize, id: u64) -> Outcome<String> {
    let context = text(row, column, id, "context")?;
    match checks::wrong_context(&context) {
        Some(what) => Err(wrong("context", id, what)),
        None => Ok(context),
    }
}

/// The JSON of no tags.
const NO_TAGS: &str = "[]";

/// Tags as JSON, which a JSONB keeps.
pub(super) fn tags_json(tags: &[String]) -> Outcome<Cow<'static, str>> {
    if tags.is_empty() {
        return Ok(Cow::Borrowed(NO_TAGS));
    }
    let escaped: Vec<_> = tags.iter().map(|tag| escaped(tag)).collect();
    let json = serde_json::to_string(&escaped);
    json.map(Cow::Owned)
        .map_err(|error| Fault::invalid(format!("the tags of an entry: {error}")))
}

/// The tags of a JSONB, or what is wrong with them.
fn tags(json: &str) -> Result<Vec<String>, &'static str> {
    if json == NO_TAGS {
        return Ok(Vec::new());
    }
    let tags: Vec<String> =
        serde_json::from_str(json).map_err(|_| "is not a JSON array of strings")?;
    let tags: Vec<String> = tags.iter().map(|tag| unescaped(tag)).collect();
    match checks::wrong_tags(&tags) {
        Some(what) => Err(what),
        None => Ok(tags),
    }
}

pub(super) fn number(row: &Row, column: usize, id: u64, name: &str) -> Outcome<u64> {
    in_range(value(row, column, id, name)?, id, name)
}

fn in_range(number: i64, id: u64, name: &str) -> Outcome<u64> {
    checks::in_range(name, whole(number))
        .map_err(|_| wrong(name, id, &format!("is {number}, beyond 2^53 - 1")))
}

/// A value of a row with this id.
pub(super) fn value<'r, T: FromSql<'r>>(
    row: &'r Row,
    column: usize,
    id: u64,
    name: &str,
) -> Outcome<T> {
    row.try_get(column)
        .map_err(|error| wrong(name, id, &describe(&error)))
}

/// A value of a row that has no id.
pub(super) fn column<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Outcome<T> {
    row.try_get(column).map_err(|error| {
        let name = row.columns().get(column).map_or("", |column| column.name());
        Fault::Corrupt(format!(
            "column {name} of a table: {}; restore a backup",
            describe(&error)
        ))
    })
}

/// A count or a time, which is never below zero.
pub(super) fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Appends the `dim` values of an embedding.
pub(super) fn append_embedding(to: &mut Vec<f32>, bytes: &[u8], dim: u32, id: u64) -> Outcome<()> {
    let (values, rest) = bytes.as_chunks::<4>();
    if values.len() != dim as usize || !rest.is_empty() {
        return Err(wrong(
            "embedding",
            id,
            &format!(
                "has {} bytes, where {dim} float32 values take {}",
                bytes.len(),
                u64::from(dim) * 4
            ),
        ));
    }
    to.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    Ok(())
}

/// The float32 little-endian bytes of an embedding.
pub(super) fn embedding_bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// A number as a BIGINT. None that was checked is above 2^53 - 1.
pub(super) fn stored(value: u64) -> i64 {
    value.cast_signed()
}

/// A text without U+0000, from which [`unescaped`] makes this one.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    let mut to = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\0' => to.extend([ESCAPE, '0']),
            ESCAPE => to.extend([ESCAPE, '1']),
            other => to.push(other),
        }
    }
    Cow::Owned(to)
}

/// The text that was escaped. One that another program wrote is left as it is.
pub(super) fn unescaped(text: &str) -> String {
    let mut to = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(ESCAPE) {
        let (before, after) = rest.split_at(at);
        to.push_str(before);
        let after = &after[ESCAPE.len_utf8()..];
        let (character, taken) = match after.as_bytes().first() {
            Some(b'0') => ('\0', 1),
            Some(b'1') => (ESCAPE, 1),
            _ => (ESCAPE, 0),
        };
        to.push(character);
        rest = &after[taken..];
    }
    to.push_str(rest);
    to
}

/// Metadata for a JSONB, which refuses the escape `\u0000` and halves of surrogate pairs:
/// the same JSON with other characters in their place. None where it holds them as they
/// are.
pub(super) fn for_jsonb(metadata: &str) -> Option<String> {
    if !metadata.contains(r"\u") {
        return None;
    }
    let mut to = String::with_capacity(metadata.len());
    let mut changed = false;
    let mut rest = metadata;
    while let Some(at) = rest.find('\\') {
        let (before, after) = rest.split_at(at);
        to.push_str(before);
        let (taken, instead) = match code_unit(after) {
            Some(0) => (6, Some("\u{10FFFE}0")),
            Some(0xD800..0xDC00) if matches!(code_unit(&after[6..]), Some(0xDC00..0xE000)) => {
                (12, None)
            }
            Some(0xD800..0xE000) => (6, Some("\u{FFFD}")),
            Some(_) => (6, None),
            // The character after a backslash belongs to it.
            None => (after.chars().take(2).map(char::len_utf8).sum(), None),
        };
        to.push_str(instead.unwrap_or(&after[..taken]));
        changed |= instead.is_some();
        rest = &after[taken..];
    }
    to.push_str(rest);
    changed.then_some(to)
}

/// The code unit of an escape `\uXXXX` that a text begins with.
fn code_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix(r"\u")?.get(..4)?;
    let all = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| all)
}

pub(super) fn wrong(column: &str, id: u64, what: &str) -> Fault {
    Fault::Corrupt(format!(
        "table entries, column {column} of the row with id {id}: {what}; delete that row, or restore a backup"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text with more of what matters here than chance would bring.
    fn texts() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("\0".to_owned()),
            Just(ESCAPE.to_string()),
            Just("0".to_owned()),
            Just("1".to_owned()),
            any::<String>(),
        ];
        prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in texts()) {
            let stored = escaped(&text);
            prop_assert!(!stored.contains('\0'));
            prop_assert_eq!(unescaped(&stored), text);
        }

        #[test]
        fn plain_text_is_stored_as_it_is(text in "[^\0\u{10FFFE}]*") {
            prop_assert_eq!(escaped(&text), text.clone());
            prop_assert_eq!(unescaped(&text), text);
        }

        #[test]
        fn what_others_wrote_is_read(text in "[^\0]*") {
            let _ = unescaped(&text);
        }

        #[test]
        fn embeddings_keep_every_bit(bits in prop::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let mut back = Vec::new();
            append_embedding(&mut back, &embedding_bytes(&values), values.len() as u32, 1).unwrap();
            let back: Vec<u32> = back.into_iter().map(f32::to_bits).collect();
            prop_assert_eq!(back, bits);
        }

        #[test]
        fn any_tags_come_back(given in prop::collection::vec(texts(), 0..33)) {
            let fits = checks::wrong_tags(&given).is_none();
            let json = tags_json(&given).unwrap();
            prop_assert_eq!(tags(&json).ok(), fits.then_some(given));
        }

        #[test]
        fn bytes_of_another_length_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            dim in 1u32..12,
        ) {
            let right = bytes.len() == dim as usize * 4;
            let outcome = append_embedding(&mut Vec::new(), &bytes, dim, 1);
            prop_assert_eq!(outcome.is_ok(), right);
        }

        #[test]
        fn json_for_a_jsonb_has_no_escape_that_it_refuses(
            parts in prop::collection::vec(r#"\\\\|\\"|\\n|\\u(0000|d83e|dd80|D8FF|00e9)|u0000|x🦀"#, 0..8),
        ) {
            let json = format!("{{\"a\":\"{}\"}}", parts.concat());
            let stored = for_jsonb(&json).unwrap_or(json);
            // It refuses halves of surrogate pairs too.
            let read: serde_json::Value = serde_json::from_str(&stored).unwrap();
            prop_assert!(!read["a"].as_str().unwrap().contains('\0'));
        }

        #[test]
        fn any_text_as_metadata_is_passed_on(text in r#"[\\u0dD8{}"🦀]*"#) {
            let _ = for_jsonb(&text);
        }

        #[test]
        fn json_that_a_jsonb_holds_is_left(text in "[^\0]*") {
            prop_assert_eq!(for_jsonb(&serde_json::json!({ "a": text }).to_string()), None);
        }
    }

    #[test]
    fn tags_that_no_cache_writes_are_refused() {
        assert_eq!(tags(r#"["a", "b"]"#).unwrap(), ["a", "b"]);
        let many = format!("[{}\"t\"]", "\"t\", ".repeat(32));
        let long = format!("[{:?}]", "t".repeat(129));
        for wrong in ["null", "{}", "[1]", "[[]]", "[\"\"]", "7", &many, &long] {
            assert!(tags(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_a_jsonb_refuses_is_replaced() {
        assert_eq!(for_jsonb(r#"{"a":"\u0001\\ \ud83e\uDD80"}"#), None);
        assert_eq!(
            for_jsonb(r#"{"a":"\\u0000 \\\u0000\u00000"}"#).as_deref(),
            Some("{\"a\":\"\\\\u0000 \\\\\u{10FFFE}0\u{10FFFE}00\"}")
        );
        assert_eq!(
            for_jsonb(r#"["\ud800","\udc00x","\ud83e\ud83e\udd80"]"#).as_deref(),
            Some("[\"\u{FFFD}\",\"\u{FFFD}x\",\"\u{FFFD}\\ud83e\\udd80\"]")
        );
        // No JSON, and for Postgres to refuse.
        assert_eq!(
            for_jsonb("\\u0000\\u00é\\").as_deref(),
            Some("\u{10FFFE}0\\u00é\\")
        );
    }
}
