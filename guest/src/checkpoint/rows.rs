//! Pages of entries: the vectors as float32, and the other fields as one JSON object a line.

use super::{Limits, PAGE_BYTES, page_names, refused};
use crate::error::{Result, describe, invalid};
use crate::options;
use crate::types::{Entry, Error};
use crate::{query, range, vector};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// An entry without its vector.
#[derive(Serialize, Deserialize)]
struct Row<'a> {
    id: u64,
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    /// Absent in archives of the first edition, and where it is empty.
    #[serde(borrow, default, skip_serializing_if = "str::is_empty")]
    context: Cow<'a, str>,
    query_hash: Cow<'a, str>,
    query: Cow<'a, str>,
    response: Cow<'a, str>,
    /// A JSON object as text, so that every byte is kept.
    metadata: Cow<'a, str>,
    /// Absent in archives of the first edition, and where there are none.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    tags: Cow<'a, [String]>,
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
    /// Adds an entry, under an id of the archive. Refuses an entry that could not be read back.
    pub fn add(&mut self, entry: &Entry, id: u64, dim: u32, limits: Limits) -> Result<()> {
        check_entry(entry, dim, limits).map_err(|reason| {
            Error::Corrupt(format!(
                "entry {} of namespace {:?} in the store could not be loaded from a checkpoint: {reason}; delete it, or open the cache with the option that allows it, and dump again",
                entry.id, entry.namespace
            ))
        })?;
        let row = Row {
            id,
            namespace: (&entry.namespace).into(),
            context: (&entry.context).into(),
            query_hash: (&entry.query_hash).into(),
            query: (&entry.query).into(),
            response: (&entry.response).into(),
            metadata: (&entry.metadata).into(),
            tags: (&entry.tags).into(),
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

/// Reads the rows of one page, one after another.
pub struct PageReader {
    lines_name: String,
    vectors_name: String,
    vectors: Vec<u8>,
    /// Bytes of the vectors that rows have taken.
    taken: usize,
    rows: u64,
    dim: u32,
    limits: Limits,
}

impl PageReader {
    /// A reader of the page with this number, whose vectors have been read.
    pub fn new(page: u32, vectors: Vec<u8>, dim: u32, limits: Limits) -> Self {
        let (vectors_name, lines_name) = page_names(page);
        PageReader {
            lines_name,
            vectors_name,
            vectors,
            taken: 0,
            rows: 0,
            dim,
            limits,
        }
    }

    /// The most bytes of a line.
    pub fn max_line(&self) -> usize {
        self.limits.row()
    }

    /// The entry of the next line, which has its end.
    pub fn entry(&mut self, line: &[u8], entries: &mut Entries) -> Result<Entry> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return Err(self.refuse("it has no end"));
        };
        let row: Row = serde_json::from_slice(line).map_err(|error| self.refuse(error))?;
        let row_bytes = 4 * self.dim as usize;
        let Some(vector) = self.vectors[self.taken..].get(..row_bytes) else {
            return Err(refused(
                &self.vectors_name,
                format!(
                    "it has {} bytes, too few for the rows of {:?} with {} values each",
                    self.vectors.len(),
                    self.lines_name,
                    self.dim
                ),
            ));
        };
        let embedding = vector.as_chunks::<4>().0.iter();
        let entry = Entry {
            id: row.id,
            namespace: row.namespace.into_owned(),
            context: row.context.into_owned(),
            query_hash: row.query_hash.into_owned(),
            query: row.query.into_owned(),
            response: row.response.into_owned(),
            embedding: embedding.map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            metadata: row.metadata.into_owned(),
            tags: row.tags.into_owned(),
            created_at: row.created_at,
            last_accessed_at: row.last_accessed_at,
            ttl: row.ttl,
            access_count: row.access_count,
        };
        entries
            .check(&entry)
            .map_err(|reason| self.refuse(reason))?;
        self.taken += row_bytes;
        self.rows += 1;
        Ok(entry)
    }

    /// The error for the present line.
    pub fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        refused(
            &self.lines_name,
            format!("line {}: {reason}", self.rows + 1),
        )
    }

    /// Checks that every vector had a row, and returns how many rows there were.
    pub fn finish(self) -> Result<u64> {
        let rest = self.vectors.len() - self.taken;
        if rest > 0 {
            return Err(refused(
                &self.vectors_name,
                format!(
                    "it has {rest} bytes more than the rows of {:?} need",
                    self.lines_name
                ),
            ));
        }
        if self.rows == 0 {
            return Err(refused(&self.lines_name, "it has no rows"));
        }
        Ok(self.rows)
    }
}

/// The entries of one archive, which are checked in their order. Whoever reads an archive does it
/// by this, whatever its layout and whatever becomes of the entries.
pub struct Entries {
    dim: u32,
    limits: Limits,
    last_id: u64,
    keys: Keys,
}

impl Entries {
    /// None yet.
    pub fn new(dim: u32, limits: Limits) -> Self {
        Entries {
            dim,
            limits,
            last_id: 0,
            keys: Keys::default(),
        }
    }

    /// The id of the last entry, 0 before the first.
    pub fn last_id(&self) -> u64 {
        self.last_id
    }

    /// Refuses the next entry, with the reason, if no cache with these limits could have stored
    /// it, if its id does not ascend, and if there was one of its namespace and query hash.
    pub fn check(&mut self, entry: &Entry) -> std::result::Result<(), String> {
        if entry.id <= self.last_id {
            return Err(format!(
                "id {} after {}; ids begin at 1 and ascend",
                entry.id, self.last_id
            ));
        }
        check_entry(entry, self.dim, self.limits)?;
        if !self.keys.add(entry) {
            return Err(format!(
                "namespace {:?} and query_hash {:?} come twice; an archive has one entry of each question",
                entry.namespace, entry.query_hash
            ));
        }
        self.last_id = entry.id;
        Ok(())
    }
}

/// The namespaces and query hashes of entries: 128 bits of a hash each, about 30 bytes of memory.
/// A row of an archive has more than 200.
#[derive(Default)]
pub struct Keys(BTreeSet<[u8; 16]>);

impl Keys {
    /// Whether there was no entry of its namespace and query hash.
    pub fn add(&mut self, entry: &Entry) -> bool {
        let mut hash = Sha256::new_with_prefix(&entry.query_hash);
        hash.update([0]);
        hash.update(&entry.namespace);
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        self.0.insert(key)
    }
}

/// Refuses an entry that no cache with these limits could have stored, with the reason.
pub fn check_entry(entry: &Entry, dim: u32, limits: Limits) -> std::result::Result<(), String> {
    check(entry, dim, limits).map_err(|error| describe(&error))
}

fn check(entry: &Entry, dim: u32, limits: Limits) -> Result<()> {
    if entry.id == 0 {
        return Err(invalid("id is 0; ids begin at 1"));
    }
    for (field, number) in [
        ("id", entry.id),
        ("created_at", entry.created_at),
        ("last_accessed_at", entry.last_accessed_at),
        ("ttl", entry.ttl.unwrap_or(0)),
        ("access_count", entry.access_count),
    ] {
        range::check(field, number)?;
    }
    options::check_namespace(&entry.namespace)?;
    options::check_size("query", &entry.query, limits.query)?;
    options::check_size("response", &entry.response, limits.response)?;
    options::check_size("metadata", &entry.metadata, limits.metadata)?;
    if !query::is_hash_of(&entry.query_hash, &entry.query, &entry.context) {
        return Err(invalid(format!(
            "query_hash {:.80?} is not that of the query and context",
            entry.query_hash
        )));
    }
    options::check_metadata(&entry.metadata)?;
    options::check_context(&entry.context)?;
    options::check_tags(&entry.tags)?;
    if !entry.tags.is_sorted() {
        return Err(invalid("the tags are not sorted"));
    }
    vector::check(&entry.embedding, dim)
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
            page.add(entry, entry.id, 2, LIMITS).unwrap();
        }
        page
    }

    const LIMITS: Limits = Limits {
        query: 32 << 10,
        response: 4 << 20,
        metadata: 64 << 10,
    };

    fn read(page: &Page) -> Result<Vec<Entry>> {
        decode(1, &page.vectors, &page.lines, 2, &mut read_after(0))
    }

    fn read_after(last_id: u64) -> Entries {
        Entries {
            last_id,
            ..Entries::new(2, LIMITS)
        }
    }

    fn decode(
        page: u32,
        vectors: &[u8],
        lines: &[u8],
        dim: u32,
        entries: &mut Entries,
    ) -> Result<Vec<Entry>> {
        let mut page = PageReader::new(page, vectors.to_vec(), dim, LIMITS);
        let lines = lines.split_inclusive(|&byte| byte == b'\n');
        let found = lines
            .map(|line| page.entry(line, entries))
            .collect::<Result<_>>()?;
        page.finish()?;
        Ok(found)
    }

    #[test]
    fn rows_that_do_not_fit_their_vectors_are_refused() {
        let whole = page(&[numbered(1, "a"), numbered(2, "b")]);
        assert_eq!(read(&whole).unwrap().len(), 2);
        for cut in [1, 4, 8] {
            let short = &whole.vectors[..whole.vectors.len() - cut];
            assert!(
                decode(1, short, &whole.lines, 2, &mut read_after(0)).is_err(),
                "{cut}"
            );
        }
        let long = [&whole.vectors[..], &[0; 4]].concat();
        assert!(decode(1, &long, &whole.lines, 2, &mut read_after(0)).is_err());
        let lines = &whole.lines[..whole.lines.len() - 1];
        assert!(decode(1, &whole.vectors, lines, 2, &mut read_after(0)).is_err());
        assert!(decode(1, &[], &[], 2, &mut read_after(0)).is_err());
        assert!(decode(1, &whole.vectors, &whole.lines, 2, &mut read_after(1)).is_err());
    }

    #[test]
    fn entries_that_no_cache_stores_are_refused_both_ways() {
        let broken: [(&str, Change); 18] = [
            ("id", |e| e.id = 0),
            ("id", |e| e.id = 1 << 53),
            ("namespace", |e| e.namespace = "a\0".into()),
            ("namespace", |e| e.namespace = "x".repeat(1025)),
            ("namespace", |e| e.namespace.clear()),
            ("query", |e| {
                e.query = "x".repeat((32 << 10) + 1);
                e.query_hash = query::hash(&e.query, "");
            }),
            ("response", |e| e.response = "x".repeat((4 << 20) + 1)),
            ("metadata", |e| {
                e.metadata = format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10));
            }),
            ("query_hash", |e| e.query_hash = query::hash("other", "")),
            ("query_hash", |e| e.query_hash.make_ascii_uppercase()),
            ("metadata", |e| e.metadata = "[]".into()),
            ("created_at", |e| e.created_at = u64::MAX),
            ("ttl", |e| e.ttl = Some(1 << 53)),
            ("finite", |e| e.embedding[1] = f32::NAN),
            ("access_count", |e| e.access_count = 1 << 53),
            ("last_accessed_at", |e| e.last_accessed_at = 1 << 53),
            ("values", |e| e.embedding.push(0.0)),
            ("values", |e| e.embedding.clear()),
        ];
        for (word, break_it) in broken {
            let mut entry = numbered(1, "a question");
            break_it(&mut entry);
            match Page::default().add(&entry, entry.id, 2, LIMITS) {
                Err(Error::Corrupt(message)) => assert!(message.contains(word), "{message}"),
                other => panic!("{word}: {other:?}"),
            }
        }
        let raw = Entry {
            query_hash: query::hash("  NOT normalised", ""),
            ..numbered(1, "  NOT normalised")
        };
        assert_eq!(check_entry(&raw, 2, LIMITS), Ok(()));
        let only_exact = Entry {
            embedding: vec![0.0, -0.0],
            ..numbered(1, "never searched")
        };
        assert_eq!(check_entry(&only_exact, 2, LIMITS), Ok(()));
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
            match decode(1, &vectors, text.as_bytes(), 2, &mut read_after(0)) {
                Err(Error::Checkpoint(message)) => {
                    assert!(message.contains("line 1"), "{message}");
                    assert!(message.contains("entries/00000001.jsonl"), "{message}");
                }
                other => panic!("{from} -> {to}: {other:?}"),
            }
        }
        let more = line.replace(r#""id":1"#, r#""later":[1],"id":1"#);
        assert!(decode(1, &vectors, more.as_bytes(), 2, &mut read_after(0)).is_ok());
    }

    proptest! {
        #[test]
        fn any_entries_come_back(
            rows in prop::collection::vec(
                (1..1000_u64, "\\PC{0,20}", any::<String>(), "[^\\x00]{1,30}", 0..=range::MAX, prop::option::of(0..=range::MAX), -1e3_f32..1e3, 0.001_f32..1e3),
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
                        last_accessed_at: range::MAX - number,
                        ttl,
                        access_count: number / 3,
                        metadata: r#"{ "a" : [1.0, "\u00e9"] }"#.into(),
                        ..entry("", &query, &[x, y], 0)
                    }
                })
                .collect();
            let mut keys = Keys::default();
            let is_new: Vec<bool> = entries.iter().map(|entry| keys.add(entry)).collect();
            let mut before = read_after(0);
            let page = page(&entries);
            let read = decode(1, &page.vectors, &page.lines, 2, &mut before);
            let Some(again) = is_new.iter().position(|new| !new) else {
                let read = read.unwrap();
                prop_assert_eq!(before.last_id(), id);
                prop_assert_eq!(read, entries);
                return Ok(());
            };
            let line = format!("line {}: ", again + 1);
            prop_assert!(matches!(&read, Err(Error::Checkpoint(m)) if m.contains(&line)), "{:?}", read);
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
            let _ = decode(1, &vectors, &lines, 2, &mut read_after(0));
        }
    }
}
