//! Pages of entries: the vectors as float32, and the other fields as one JSON object a line.

use super::{MAX_NUMBER, PAGE_BYTES, page_names, refused};
use crate::error::{Result, describe};
use crate::options::{self, MAX_NAME_BYTES};
use crate::types::{Entry, Error};
use crate::{query, vector};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// An entry without its vector.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    id: u64,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    query_hash: Cow<'a, str>,
    query: Cow<'a, str>,
    response: Cow<'a, str>,
    /// A JSON object as text, so that every byte is kept.
    metadata: Cow<'a, str>,
    created_at: u64,
    last_accessed_at: u64,
    ttl: Option<u64>,
    access_count: u64,
}

/// A page that is being filled.
#[derive(Default)]
pub struct Page {
    /// Little-endian float32, one row after another.
    pub vectors: Vec<u8>,
    /// The rows' other fields, a line each.
    pub lines: Vec<u8>,
    /// How many rows.
    pub rows: u64,
}

impl Page {
    /// Adds an entry. Refuses an entry that could not be read back.
    pub fn add(&mut self, entry: &Entry, dim: u32) -> Result<()> {
        check_entry(entry, dim).map_err(|reason| {
            Error::Corrupt(format!(
                "entry {} of namespace {:?} in the store could not be loaded from a checkpoint: {reason}; delete it, and dump again",
                entry.id, entry.namespace
            ))
        })?;
        let row = Row {
            id: entry.id,
            namespace: (&entry.namespace).into(),
            query_hash: (&entry.query_hash).into(),
            query: (&entry.query).into(),
            response: (&entry.response).into(),
            metadata: (&entry.metadata).into(),
            created_at: entry.created_at,
            last_accessed_at: entry.last_accessed_at,
            ttl: entry.ttl,
            access_count: entry.access_count,
        };
        serde_json::to_writer(&mut self.lines, &row)
            .map_err(|error| Error::Checkpoint(format!("entry {}: {error}", entry.id)))?;
        self.lines.push(b'\n');
        self.vectors
            .extend(entry.embedding.iter().flat_map(|x| x.to_le_bytes()));
        self.rows += 1;
        Ok(())
    }

    /// Whether the page is large enough to be written.
    pub fn is_full(&self) -> bool {
        self.vectors.len() + self.lines.len() >= PAGE_BYTES
    }
}

/// Reads the page with this number. Its ids must be greater than `last_id`, and ascend; `last_id`
/// becomes the last of them.
pub fn decode(
    page: u32,
    vectors: &[u8],
    lines: &[u8],
    dim: u32,
    last_id: &mut u64,
) -> Result<Vec<Entry>> {
    let (vectors_name, lines_name) = page_names(page);
    let row_bytes = 4 * dim as usize;
    let mut entries = Vec::new();
    let mut rest = vectors;
    for (number, line) in lines.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let fail = |reason: String| refused(&lines_name, format!("line {}: {reason}", number + 1));
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(fail("it has no end".into()));
        };
        let row: Row = serde_json::from_slice(line).map_err(|error| fail(error.to_string()))?;
        let Some((vector, after)) = rest.split_at_checked(row_bytes) else {
            return Err(refused(
                &vectors_name,
                format!(
                    "it has {} bytes, too few for the rows of {lines_name:?} with {dim} values each",
                    vectors.len()
                ),
            ));
        };
        rest = after;
        if row.id <= *last_id {
            return Err(fail(format!(
                "id {} after {last_id}; ids begin at 1 and ascend",
                row.id
            )));
        }
        let entry = Entry {
            id: row.id,
            namespace: row.namespace.into_owned(),
            query_hash: row.query_hash.into_owned(),
            query: row.query.into_owned(),
            response: row.response.into_owned(),
            embedding: vector
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
            metadata: row.metadata.into_owned(),
            created_at: row.created_at,
            last_accessed_at: row.last_accessed_at,
            ttl: row.ttl,
            access_count: row.access_count,
        };
        check_entry(&entry, dim).map_err(fail)?;
        *last_id = entry.id;
        entries.push(entry);
    }
    if !rest.is_empty() {
        return Err(refused(
            &vectors_name,
            format!(
                "it has {} bytes more than the rows of {lines_name:?} need",
                rest.len()
            ),
        ));
    }
    if entries.is_empty() {
        return Err(refused(&lines_name, "it has no rows"));
    }
    Ok(entries)
}

/// Refuses an entry that no cache could have stored, with the reason.
pub fn check_entry(entry: &Entry, dim: u32) -> std::result::Result<(), String> {
    if entry.id == 0 || entry.id > MAX_NUMBER {
        return Err(format!("id {} is not 1 to 2^53 - 1", entry.id));
    }
    if entry.namespace.contains('\0') {
        return Err("the namespace contains the character U+0000".into());
    }
    if entry.namespace.len() > MAX_NAME_BYTES {
        return Err(format!(
            "the namespace has {} bytes; at most {MAX_NAME_BYTES} are allowed",
            entry.namespace.len()
        ));
    }
    // A cache may normalise queries or not; see the option `normalize`.
    if query::hash(&query::normalize(&entry.query)) != entry.query_hash
        && query::hash(&entry.query) != entry.query_hash
    {
        return Err(format!(
            "query_hash {:?} is not that of the query",
            entry.query_hash
        ));
    }
    options::check_metadata(&entry.metadata).map_err(|error| describe(&error))?;
    let numbers = [
        ("created_at", entry.created_at),
        ("last_accessed_at", entry.last_accessed_at),
        ("ttl", entry.ttl.unwrap_or(0)),
        ("access_count", entry.access_count),
    ];
    if let Some((name, number)) = numbers.iter().find(|(_, number)| *number > MAX_NUMBER) {
        return Err(format!("{name} is {number}, more than 2^53 - 1"));
    }
    vector::check(&entry.embedding, dim).map_err(|error| describe(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at_angle, entry};
    use proptest::prelude::*;

    type Change = fn(&mut Entry);

    fn numbered(id: u64, query: &str) -> Entry {
        Entry {
            id,
            ..entry("n", query, &at_angle(id as f64), 1000)
        }
    }

    fn page(entries: &[Entry]) -> Page {
        let mut page = Page::default();
        for entry in entries {
            page.add(entry, 2).unwrap();
        }
        page
    }

    fn read(page: &Page) -> Result<Vec<Entry>> {
        decode(1, &page.vectors, &page.lines, 2, &mut 0)
    }

    #[test]
    fn rows_that_do_not_fit_their_vectors_are_refused() {
        let whole = page(&[numbered(1, "a"), numbered(2, "b")]);
        assert_eq!(read(&whole).unwrap().len(), 2);
        for cut in [1, 4, 8] {
            let short = &whole.vectors[..whole.vectors.len() - cut];
            assert!(decode(1, short, &whole.lines, 2, &mut 0).is_err(), "{cut}");
        }
        let long = [&whole.vectors[..], &[0; 4]].concat();
        assert!(decode(1, &long, &whole.lines, 2, &mut 0).is_err());
        let lines = &whole.lines[..whole.lines.len() - 1];
        assert!(decode(1, &whole.vectors, lines, 2, &mut 0).is_err());
        assert!(decode(1, &[], &[], 2, &mut 0).is_err());
        assert!(decode(1, &whole.vectors, &whole.lines, 2, &mut 1).is_err());
    }

    #[test]
    fn entries_that_no_cache_stores_are_refused_both_ways() {
        let broken: [(&str, Change); 12] = [
            ("id", |e| e.id = 0),
            ("id", |e| e.id = 1 << 53),
            ("namespace", |e| e.namespace = "a\0".into()),
            ("namespace", |e| e.namespace = "x".repeat(1025)),
            ("query_hash", |e| e.query_hash = query::hash("other")),
            ("query_hash", |e| e.query_hash.make_ascii_uppercase()),
            ("metadata", |e| e.metadata = "[]".into()),
            ("created_at", |e| e.created_at = u64::MAX),
            ("ttl", |e| e.ttl = Some(1 << 53)),
            ("finite", |e| e.embedding[1] = f32::NAN),
            ("zero", |e| e.embedding = vec![0.0, 0.0]),
            ("values", |e| e.embedding.push(0.0)),
        ];
        for (word, break_it) in broken {
            let mut entry = numbered(1, "a question");
            break_it(&mut entry);
            match Page::default().add(&entry, 2) {
                Err(Error::Corrupt(message)) => assert!(message.contains(word), "{message}"),
                other => panic!("{word}: {other:?}"),
            }
        }
        let raw = Entry {
            query_hash: query::hash("  NOT normalised"),
            ..numbered(1, "  NOT normalised")
        };
        assert_eq!(check_entry(&raw, 2), Ok(()));
    }

    #[test]
    fn hostile_lines_are_refused() {
        let line = String::from_utf8(page(&[numbered(1, "a")]).lines).unwrap();
        let vectors = page(&[numbered(1, "a")]).vectors;
        let deep = "[".repeat(100_000);
        for (from, to) in [
            (r#""id":1"#, r#""id":-1"#),
            (r#""id":1"#, r#""id":1.5"#),
            (r#""id":1"#, r#""id":99999999999999999999"#),
            (r#""id":1"#, r#""id":1,"id":2"#),
            (r#""id":1,"#, ""),
            (r#""ttl":null"#, r#""ttl":"1""#),
            (r#""ttl":null"#, &format!(r#""ttl":null,"x":{deep}"#)),
            ("}\n", "}}\n"),
            ("}\n", "} {}\n"),
            ("\"n\"", "\"\\u0000\""),
            ("\"n\"", "\"\\ud800\""),
        ] {
            assert!(line.contains(from), "{from}");
            let text = line.replace(from, to);
            match decode(1, &vectors, text.as_bytes(), 2, &mut 0) {
                Err(Error::Checkpoint(message)) => {
                    assert!(message.contains("line 1"), "{message}");
                    assert!(message.contains("entries/00000001.jsonl"), "{message}");
                }
                other => panic!("{from} -> {to}: {other:?}"),
            }
        }
        let more = line.replace(r#""id":1"#, r#""later":[1],"id":1"#);
        assert!(decode(1, &vectors, more.as_bytes(), 2, &mut 0).is_ok());
    }

    proptest! {
        #[test]
        fn any_entries_come_back(
            rows in prop::collection::vec(
                (1..1000_u64, "\\PC{0,20}", any::<String>(), "[^\\x00]{0,30}", 0..=MAX_NUMBER, prop::option::of(0..=MAX_NUMBER), -1e3_f32..1e3, 0.001_f32..1e3),
                1..20,
            )
        ) {
            let mut id = 0;
            let entries: Vec<Entry> = rows
                .into_iter()
                .map(|(step, query, response, namespace, number, ttl, x, y)| {
                    id += step;
                    Entry {
                        id,
                        namespace,
                        response,
                        created_at: number,
                        last_accessed_at: MAX_NUMBER - number,
                        ttl,
                        access_count: number / 3,
                        metadata: r#"{ "a" : [1.0, "\u00e9"] }"#.into(),
                        ..entry("", &query, &[x, y], 0)
                    }
                })
                .collect();
            let mut last_id = 0;
            let page = page(&entries);
            let read = decode(1, &page.vectors, &page.lines, 2, &mut last_id).unwrap();
            prop_assert_eq!(last_id, id);
            prop_assert_eq!(read, entries);
        }

        #[test]
        fn no_bytes_make_it_panic(
            noise in prop::collection::vec(any::<u8>(), 0..60),
            vectors in prop::collection::vec(any::<u8>(), 0..20),
            at in 0..400_usize,
        ) {
            let mut lines = page(&[numbered(1, "a"), numbered(2, "b")]).lines;
            let at = at.min(lines.len());
            lines.splice(at..(at + noise.len() / 2).min(lines.len()), noise);
            let _ = decode(1, &vectors, &lines, 2, &mut 0);
        }
    }
}
