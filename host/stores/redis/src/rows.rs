//! Between the fields of Redis and [`Entry`].
//!
//! Reading tolerates what other writers of the layout leave behind: a number below
//! zero reads as 0, a fraction is cut off, and a missing ttl means none. Writing is
//! strict: a number that a double does not hold exactly is refused, as the scores of
//! sorted sets and the numbers of Lua are doubles.

use redis::Value;

use super::error::{Fault, Outcome};
use mneme_store::{Entry, EntryRef, checks};

/// The rows of a reply that is a list.
pub(super) fn list(value: Value) -> Outcome<Vec<Value>> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(nonsense(&other)),
    }
}

/// The items of a reply that is a list of so many.
pub(super) fn tuple<const N: usize>(value: Value) -> Outcome<[Value; N]> {
    <[Value; N]>::try_from(list(value)?)
        .map_err(|items| Fault::Nonsense(format!("the server answered {} items", items.len())))
}

/// The bytes of a reply, if it is not nil.
pub(super) fn bytes(value: Value) -> Outcome<Option<Vec<u8>>> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        Value::SimpleString(text) => Ok(Some(text.into_bytes())),
        Value::Int(number) => Ok(Some(number.to_string().into_bytes())),
        Value::Okay => Ok(Some(b"OK".to_vec())),
        other => Err(nonsense(&other)),
    }
}

/// A reply that is a count.
pub(super) fn count(value: &Value) -> Outcome<u64> {
    match value {
        Value::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        other => Err(nonsense(other)),
    }
}

/// Names the kind of a reply only: it may hold anything.
pub(super) fn nonsense(value: &Value) -> Fault {
    let kind = match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a text",
        Value::Array(_) => "a list",
        _ => "something",
    };
    Fault::Nonsense(format!("the server answered {kind} that was not expected"))
}

/// A count or a time: never below zero, never a fraction.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        // The cast saturates, and cuts the fraction off.
        (!value.is_nan()).then_some(value as u64)
    })
}

/// Sets `to` to the float32 little-endian bytes of an embedding.
pub(super) fn encode_embedding(values: &[f32], to: &mut Vec<u8>) {
    to.resize(values.len() * 4, 0);
    for (bytes, value) in to.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *bytes = value.to_le_bytes();
    }
}

/// The field that holds tags; empty where there are none.
pub(super) fn tags_field(tags: &[String]) -> String {
    match tags {
        [] => String::new(),
        tags => serde_json::Value::from(tags).to_string(),
    }
}

/// Appends the values of an embedding.
pub(super) fn append_embedding(to: &mut Vec<f32>, bytes: &[u8]) {
    let (values, _) = bytes.as_chunks::<4>();
    to.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
}

/// Reads the rows of one prefix.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub prefix: &'a str,
    pub dim: u32,
}

impl Reader<'_> {
    /// A row of `fields.lua`, with an embedding or without.
    pub fn entry(self, value: Value) -> Outcome<Entry> {
        let mut items = list(value)?;
        let embedding = if items.len() > 12 { items.pop() } else { None };
        let [
            id,
            namespace,
            query_hash,
            query,
            response,
            metadata,
            created_at,
            last_accessed_at,
            ttl,
            access_count,
            context,
            tags,
        ] = tuple::<12>(Value::Array(items))?;
        let id = self.id(id)?;
        Ok(Entry {
            id,
            context: match context {
                Value::Nil => String::new(),
                context => self.text(context, id, "context")?,
            },
            tags: match bytes(tags)? {
                None => Vec::new(),
                Some(text) => serde_json::from_slice(&text)
                    .map_err(|_| self.wrong(id, "tags", "holds no JSON array of texts"))?,
            },
            namespace: self.text(namespace, id, "namespace")?,
            query_hash: self.text(query_hash, id, "query_hash")?,
            query: self.text(query, id, "query")?,
            response: self.text(response, id, "response")?,
            embedding: match embedding {
                None => Vec::new(),
                Some(embedding) => self.embedding(embedding, id)?,
            },
            metadata: self.text(metadata, id, "metadata")?,
            created_at: self.number(created_at, id, "created_at")?,
            last_accessed_at: self.number(last_accessed_at, id, "last_accessed_at")?,
            ttl: match bytes(ttl)? {
                None => None,
                Some(text) if text.is_empty() => None,
                Some(text) => {
                    let ttl =
                        number(&text).ok_or_else(|| self.wrong(id, "ttl", "holds no number"))?;
                    Some(self.in_range(ttl, id, "ttl")?)
                }
            },
            access_count: self.number(access_count, id, "access_count")?,
        })
    }

    fn embedding(self, value: Value, id: u64) -> Outcome<Vec<f32>> {
        let stored = self.present(value, id, "embedding")?;
        if stored.len() as u64 != u64::from(self.dim) * 4 {
            return Err(self.wrong(
                id,
                "embedding",
                &format!(
                    "has {} bytes, where {} float32 values take {}",
                    stored.len(),
                    self.dim,
                    u64::from(self.dim) * 4
                ),
            ));
        }
        let mut embedding = Vec::with_capacity(self.dim as usize);
        append_embedding(&mut embedding, &stored);
        Ok(embedding)
    }

    /// An id, a namespace and a creation time.
    pub fn reference(self, id: Value, namespace: Value, created_at: Value) -> Outcome<EntryRef> {
        let id = self.id(id)?;
        Ok(EntryRef {
            id,
            namespace: self.text(namespace, id, "namespace")?,
            created_at: self.number(created_at, id, "created_at")?,
        })
    }

    /// Three lists that a script answers with, one item an entry each.
    pub fn references(self, ids: Value, namespaces: Value, times: Value) -> Outcome<Vec<EntryRef>> {
        let (namespaces, times) = (list(namespaces)?, list(times)?);
        let rows = list(ids)?.into_iter().zip(namespaces).zip(times);
        rows.map(|((id, namespace), time)| self.reference(id, namespace, time))
            .collect()
    }

    pub fn id(self, value: Value) -> Outcome<u64> {
        let text = bytes(value)?.unwrap_or_default();
        self.id_in(&String::from_utf8_lossy(&text))
    }

    pub fn id_in(self, text: &str) -> Outcome<u64> {
        match text.parse() {
            Ok(id) if id > 0 => Ok(id),
            _ => Err(Fault::Corrupt(format!(
                "key {}:by_id names an entry {text:?}, and ids are numbers from 1; remove that member",
                self.prefix
            ))),
        }
    }

    pub fn text(self, value: Value, id: u64, field: &str) -> Outcome<String> {
        String::from_utf8(self.present(value, id, field)?)
            .map_err(|_| self.wrong(id, field, "is not valid UTF-8"))
    }

    pub fn number(self, value: Value, id: u64, field: &str) -> Outcome<u64> {
        let number = number(&self.present(value, id, field)?)
            .ok_or_else(|| self.wrong(id, field, "holds no number"))?;
        self.in_range(number, id, field)
    }

    fn in_range(self, number: u64, id: u64, field: &str) -> Outcome<u64> {
        checks::in_range(field, number)
            .map_err(|_| self.wrong(id, field, &format!("holds {number}, beyond 2^53 - 1")))
    }

    fn present(self, value: Value, id: u64, field: &str) -> Outcome<Vec<u8>> {
        bytes(value)?.ok_or_else(|| self.wrong(id, field, "is missing"))
    }

    pub fn wrong(self, id: u64, field: &str, what: &str) -> Fault {
        Fault::Corrupt(format!(
            "key {}:entry:{id}, field {field} {what}; delete the entry",
            self.prefix
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const READER: Reader<'static> = Reader {
        prefix: "p",
        dim: 2,
    };

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn row() -> Vec<Value> {
        let mut row: Vec<Value> = ["7", "n", "h", "q", "r", "{}", "10", "11", "", "3"]
            .into_iter()
            .map(bulk)
            .collect();
        row.extend([Value::Nil, Value::Nil, Value::BulkString(vec![0; 8])]);
        row
    }

    proptest! {
        #[test]
        fn embeddings_keep_every_bit(bits in prop::collection::vec(any::<u32>(), 0..200)) {
            let values: Vec<f32> = bits.iter().copied().map(f32::from_bits).collect();
            let mut bytes = vec![7; 3];
            encode_embedding(&values, &mut bytes);
            let mut back = Vec::new();
            append_embedding(&mut back, &bytes);
            let back: Vec<u32> = back.into_iter().map(f32::to_bits).collect();
            prop_assert_eq!(back, bits);
        }

        #[test]
        fn tags_come_back(tags in prop::collection::vec(".*", 1..5)) {
            let mut row = row();
            row[11] = bulk(&tags_field(&tags));
            prop_assert_eq!(READER.entry(Value::Array(row)).unwrap().tags, tags);
        }

        #[test]
        fn numbers_come_back(value in any::<u64>()) {
            prop_assert_eq!(number(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn any_bytes_are_a_number_or_not(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            // It does not panic.
            number(&bytes);
        }
    }

    #[test]
    fn fractions_are_cut_and_numbers_below_zero_are_zero() {
        let read = |text: &str| number(text.as_bytes());
        assert_eq!(read("1.9"), Some(1));
        assert_eq!(read("-7"), Some(0));
        assert_eq!(read("1e3"), Some(1000));
        for none in ["", " ", "x", "nan", "1 2"] {
            assert_eq!(read(none), None, "{none:?}");
        }
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn a_row_is_an_entry_or_names_its_fault() {
        let entry = READER.entry(Value::Array(row())).unwrap();
        assert_eq!((entry.id, entry.ttl, entry.access_count), (7, None, 3));
        assert_eq!((&*entry.context, entry.tags.len()), ("", 0));
        assert_eq!(entry.embedding.len(), 2);
        let faults = [
            (1, Value::Nil, "field namespace is missing"),
            (
                3,
                Value::BulkString(vec![0xff]),
                "field query is not valid UTF-8",
            ),
            (12, bulk("1234567"), "field embedding has 7 bytes"),
            (12, Value::Nil, "field embedding is missing"),
            (6, bulk("soon"), "field created_at holds no number"),
            (8, bulk("x"), "field ttl holds no number"),
            (9, Value::Nil, "field access_count is missing"),
            (
                10,
                Value::BulkString(vec![0xff]),
                "field context is not valid UTF-8",
            ),
            (11, bulk(""), "field tags holds no JSON array of texts"),
            (11, bulk("[1]"), "field tags holds no JSON array of texts"),
        ];
        for (at, value, expected) in faults {
            let mut row = row();
            row[at] = value;
            match READER.entry(Value::Array(row)) {
                Err(Fault::Corrupt(text)) => {
                    assert!(
                        text.contains("key p:entry:7, ") && text.contains(expected),
                        "{text}"
                    );
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        let mut row = row();
        row[8] = Value::Nil;
        row[10] = bulk("c");
        row[11] = bulk(r#"["a","\u00e9"]"#);
        row.truncate(12);
        let entry = READER.entry(Value::Array(row)).unwrap();
        assert_eq!((entry.ttl, &*entry.context), (None, "c"));
        assert_eq!(entry.tags, ["a", "\u{e9}"]);
        assert!(entry.embedding.is_empty());
        for nonsense in [Value::Okay, Value::Array(vec![Value::Nil])] {
            assert!(matches!(READER.entry(nonsense), Err(Fault::Nonsense(_))));
        }
    }
}
