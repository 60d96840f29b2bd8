//! Between the items of a table and [`Entry`].
//!
//! Reading tolerates what other writers of the layout leave behind: a number below zero
//! reads as 0, a fraction is cut off.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::error::{Fault, Outcome};
use mneme_store::{Entry, EntryKey, EntryRef, checks};

/// The attributes of an item.
pub(super) type Item = HashMap<String, AttributeValue>;

/// The largest partition and sort keys; namespace and hash are those of an index.
const MAX_NAMESPACE_BYTES: usize = 2048;
const MAX_HASH_BYTES: usize = 1024;

/// The attributes of an entry's item, without the embedding.
pub(super) const WITHOUT_VECTOR: &[&str] = &[
    "id",
    "namespace",
    "context",
    "query_hash",
    "query",
    "response",
    "metadata",
    "tags",
    "created_at",
    "last_accessed_at",
    "ttl",
    "access_count",
    "stamp",
];

/// More than any number takes.
const NUMBER_BYTES: usize = 21;

/// Marks what a key holds in place of a text that DynamoDB cannot hold there. It is a
/// noncharacter, which texts do not contain; where one does, it is doubled.
const ESCAPE: char = '\u{10FFFE}';
const EMPTY: &str = "\u{10FFFE}e";

/// A text as a key, which cannot be empty. All texts differ as keys, and those without
/// the escape stay as they are.
pub(super) fn escape(text: &str) -> String {
    if text.is_empty() {
        return EMPTY.to_owned();
    }
    text.replace(ESCAPE, "\u{10FFFE}\u{10FFFE}")
}

/// The text of a key.
pub(super) fn unescape(key: &str) -> String {
    if key == EMPTY {
        return String::new();
    }
    key.replace("\u{10FFFE}\u{10FFFE}", "\u{10FFFE}")
}

/// Namespace and hash of an entry, as the table holds them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub namespace: String,
    pub query_hash: String,
}

impl Key {
    pub fn new(namespace: &str, query_hash: &str) -> Self {
        Self {
            namespace: escape(namespace),
            query_hash: escape(query_hash),
        }
    }

    /// The key of an entry's item; none where it is damaged.
    pub fn of(item: &Item) -> Option<Self> {
        let text = |name: &str| item.get(name)?.as_s().ok().cloned();
        Some(Self {
            namespace: text("namespace")?,
            query_hash: text("query_hash")?,
        })
    }

    /// Whether an item is of an entry of this namespace, which is escaped.
    pub fn is_in(item: &Item, namespace: &str) -> bool {
        item.get("namespace")
            .and_then(|value| value.as_s().ok())
            .is_some_and(|text| text == namespace)
    }

    /// Whether an index can hold it. Nothing is stored under a key that does not fit.
    pub fn fits(&self) -> bool {
        fits(&self.namespace) && self.query_hash.len() <= MAX_HASH_BYTES
    }
}

impl From<&EntryKey> for Key {
    fn from(key: &EntryKey) -> Self {
        Self::new(&key.namespace, &key.query_hash)
    }
}

/// Whether an index can hold an escaped namespace.
pub(super) fn fits(namespace: &str) -> bool {
    namespace.len() <= MAX_NAMESPACE_BYTES
}

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// The item of an entry that is stored under `id`.
pub(super) fn item(id: u64, key: &Key, entry: &Entry, stamp: &AttributeValue) -> Item {
    let bytes: Vec<u8> = entry
        .embedding
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let mut item: Item = [
        ("id", number(id)),
        ("namespace", text(&key.namespace)),
        ("query_hash", text(&key.query_hash)),
        ("query", text(&entry.query)),
        ("response", text(&entry.response)),
        ("embedding", AttributeValue::B(Blob::new(bytes))),
        ("metadata", text(&entry.metadata)),
        ("created_at", number(entry.created_at)),
        ("last_accessed_at", number(entry.last_accessed_at)),
        ("access_count", number(entry.access_count)),
        ("stamp", stamp.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    if let Some(ttl) = entry.ttl {
        item.insert("ttl".to_owned(), number(ttl));
    }
    if !entry.context.is_empty() {
        item.insert("context".to_owned(), text(&entry.context));
    }
    if !entry.tags.is_empty() {
        // A list, not a set, keeps them as they were given.
        let tags = entry.tags.iter().map(text).collect();
        item.insert("tags".to_owned(), AttributeValue::L(tags));
    }
    item
}

/// The size of an item by DynamoDB's rules, rounded up.
pub(super) fn size(item: &Item) -> usize {
    let sizes = item.iter();
    sizes.map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::M(map) => 3 + map.len() + size(map),
        AttributeValue::L(list) => 3 + list.len() + list.iter().map(size_of).sum::<usize>(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => NUMBER_BYTES,
    }
}

/// The entry of an item.
pub(super) fn entry(item: Item, dim: u32) -> Outcome<Entry> {
    let mut embedding = Vec::with_capacity(dim as usize);
    append_embedding(&mut embedding, &item, dim, id(&item)?)?;
    let entry = without_vector(item)?;
    Ok(Entry { embedding, ..entry })
}

/// The entry of an item that was read as [`WITHOUT_VECTOR`].
pub(super) fn without_vector(mut item: Item) -> Outcome<Entry> {
    let id = id(&item)?;
    let namespace = namespace(&item, id)?;
    let context = context(&item, id)?;
    let tags = tags(&item, id)?;
    let query_hash = unescape(as_text(&item, id, "query_hash")?);
    let mut take = |name: &str| match item.remove(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        other => Err(wrong(id, name, other.as_ref(), "text")),
    };
    Ok(Entry {
        id,
        namespace,
        context,
        query_hash,
        query: take("query")?,
        response: take("response")?,
        embedding: Vec::new(),
        metadata: take("metadata")?,
        tags,
        created_at: as_number(&item, id, "created_at")?,
        last_accessed_at: as_number(&item, id, "last_accessed_at")?,
        ttl: ttl(&item, id)?,
        access_count: as_number(&item, id, "access_count")?,
    })
}

/// What a filter looks at of an item's entry. The rest is empty.
pub(super) fn labels(item: &Item) -> Outcome<Entry> {
    let id = id(item)?;
    Ok(Entry {
        id,
        namespace: namespace(item, id)?,
        context: context(item, id)?,
        query_hash: String::new(),
        query: String::new(),
        response: String::new(),
        embedding: Vec::new(),
        metadata: String::new(),
        tags: tags(item, id)?,
        created_at: as_number(item, id, "created_at")?,
        last_accessed_at: 0,
        ttl: None,
        access_count: 0,
    })
}

/// The reference to an item's entry.
pub(super) fn reference(item: &Item) -> Outcome<EntryRef> {
    let id = id(item)?;
    Ok(EntryRef {
        id,
        namespace: namespace(item, id)?,
        created_at: as_number(item, id, "created_at")?,
    })
}

pub(super) fn id(item: &Item) -> Outcome<u64> {
    item.get("id")
        .and_then(|value| value.as_n().ok()?.parse().ok())
        .ok_or_else(|| {
            Fault::Corrupt(format!(
                "an item has the id {:?}, which is not a whole number; delete that item",
                item.get("id")
            ))
        })
}

pub(super) fn namespace(item: &Item, id: u64) -> Outcome<String> {
    as_text(item, id, "namespace").map(unescape)
}

/// The context of an entry; empty where there is none, as `mneme-cache` writes it.
pub(super) fn context(item: &Item, id: u64) -> Outcome<String> {
    match item.get("context") {
        None => Ok(String::new()),
        Some(_) => as_text(item, id, "context").map(str::to_owned),
    }
}

/// The tags of an entry; none where it has no such attribute, as `mneme-cache` writes it.
pub(super) fn tags(item: &Item, id: u64) -> Outcome<Vec<String>> {
    let Some(value) = item.get("tags") else {
        return Ok(Vec::new());
    };
    let texts = value.as_l().ok().and_then(|list| {
        let texts = list.iter().map(|tag| tag.as_s().ok().cloned());
        texts.collect()
    });
    texts.ok_or_else(|| wrong(id, "tags", Some(value), "list of texts"))
}

fn as_text<'a>(item: &'a Item, id: u64, name: &str) -> Outcome<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        other => Err(wrong(id, name, other, "text")),
    }
}

pub(super) fn as_number(item: &Item, id: u64, name: &str) -> Outcome<u64> {
    let value = item.get(name);
    value
        .and_then(whole)
        .filter(|number| checks::in_range(name, *number).is_ok())
        .ok_or_else(|| wrong(id, name, value, "number from 0 to 2^53 - 1"))
}

/// Lifetime; none where there is no limit.
pub(super) fn ttl(item: &Item, id: u64) -> Outcome<Option<u64>> {
    match item.get("ttl") {
        None | Some(AttributeValue::Null(_)) => Ok(None),
        Some(_) => as_number(item, id, "ttl").map(Some),
    }
}

/// A count or a time: never below zero, never a fraction.
pub(super) fn whole(value: &AttributeValue) -> Option<u64> {
    let digits = value.as_n().ok()?;
    match digits.parse::<u64>() {
        Ok(number) => Some(number),
        // The cast saturates, and cuts the fraction off.
        Err(_) => digits.parse::<f64>().ok().map(|number| number as u64),
    }
}

/// Appends the `dim` values of an item's embedding.
pub(super) fn append_embedding(to: &mut Vec<f32>, item: &Item, dim: u32, id: u64) -> Outcome<()> {
    let value = item.get("embedding");
    let Some(AttributeValue::B(bytes)) = value else {
        return Err(wrong(id, "embedding", value, "binary"));
    };
    let (values, rest) = bytes.as_ref().as_chunks::<4>();
    if values.len() != dim as usize || !rest.is_empty() {
        return Err(Fault::Corrupt(format!(
            "item {id}, attribute embedding has {} bytes, where {dim} float32 values take {}; delete that item",
            bytes.as_ref().len(),
            u64::from(dim) * 4
        )));
    }
    to.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
    Ok(())
}

fn wrong(id: u64, name: &str, value: Option<&AttributeValue>, kind: &str) -> Fault {
    let what = match value {
        None => "is missing".to_owned(),
        Some(_) => format!("is not a {kind}"),
    };
    Fault::Corrupt(format!(
        "item {id}, attribute {name} {what}; delete that item"
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn odd_text() -> impl Strategy<Value = String> {
        prop::collection::vec(
            prop_oneof![Just('\u{10FFFE}'), Just('e'), any::<char>()],
            0..6,
        )
        .prop_map(String::from_iter)
    }

    fn any_entry(dim: usize) -> impl Strategy<Value = Entry> {
        let texts = (odd_text(), odd_text(), any::<String>(), any::<String>());
        let number = || 0..=checks::GREATEST;
        let numbers = (number(), number(), prop::option::of(number()), number());
        let vector = prop::collection::vec(any::<u32>(), dim);
        let tags = prop::collection::vec(odd_text(), 0..4);
        let labels = (odd_text(), tags);
        let all = (texts, labels, numbers, vector, number());
        all.prop_map(|(texts, labels, numbers, vector, id)| Entry {
            id,
            namespace: texts.0,
            context: labels.0,
            tags: labels.1,
            query_hash: texts.1,
            query: texts.2,
            response: texts.3,
            embedding: vector.into_iter().map(f32::from_bits).collect(),
            metadata: "{}".to_owned(),
            created_at: numbers.0,
            last_accessed_at: numbers.1,
            ttl: numbers.2,
            access_count: numbers.3,
        })
    }

    proptest! {
        #[test]
        fn keys_differ_where_texts_do(a in odd_text(), b in odd_text()) {
            prop_assert_eq!(unescape(&escape(&a)), a.as_str());
            prop_assert_eq!(a == b, escape(&a) == escape(&b));
            prop_assert!(!escape(&a).is_empty());
        }

        #[test]
        fn plain_texts_are_their_own_keys(text in "[^\u{10FFFE}]{1,20}") {
            prop_assert_eq!(escape(&text), text);
        }

        #[test]
        fn entries_come_back_whole(entry in any_entry(3)) {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            let item = item(entry.id, &key, &entry, &number(1));
            prop_assert_eq!(Key::of(&item), Some(key));
            let bits = |entry: &Entry| entry.embedding.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let mut back = super::entry(item, 3).unwrap();
            prop_assert_eq!(bits(&back), bits(&entry));
            back.embedding.clone_from(&entry.embedding);
            let (back, entry) = (format!("{back:?}"), format!("{entry:?}"));
            prop_assert_eq!(back, entry);
        }

        #[test]
        fn all_but_the_vector_is_read_without_it(entry in any_entry(3)) {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            let mut item = item(entry.id, &key, &entry, &number(1));
            item.retain(|name, _| WITHOUT_VECTOR.contains(&name.as_str()));
            let entry = Entry { embedding: Vec::new(), ..entry };
            prop_assert_eq!(&without_vector(item.clone()).unwrap(), &entry);
            let labels = labels(&item).unwrap();
            prop_assert_eq!(
                (labels.id, labels.namespace, labels.context, labels.tags, labels.created_at),
                (entry.id, entry.namespace, entry.context, entry.tags, entry.created_at)
            );
        }

        #[test]
        fn what_is_empty_has_no_attribute(entry in any_entry(1)) {
            let entry = Entry { context: String::new(), tags: Vec::new(), ..entry };
            let key = Key::new(&entry.namespace, &entry.query_hash);
            let item = item(entry.id, &key, &entry, &number(1));
            prop_assert!(!item.contains_key("context") && !item.contains_key("tags"));
        }

        #[test]
        fn wrong_labels_are_told(entry in any_entry(1), name in prop::sample::select(vec!["context", "tags"])) {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            for value in [
                AttributeValue::Null(true),
                AttributeValue::L(vec![text("a"), number(1)]),
                AttributeValue::Ss(vec!["a".to_owned()]),
            ] {
                let mut item = item(entry.id, &key, &entry, &number(1));
                item.insert(name.to_owned(), value);
                let Err(Fault::Corrupt(message)) = super::entry(item, 1) else {
                    panic!("damage in {name} was not seen");
                };
                prop_assert!(message.contains(&format!("item {}, attribute {name}", entry.id)), "{}", message);
            }
        }

        #[test]
        fn damage_is_told_by_item_and_attribute(
            entry in any_entry(2),
            name in prop::sample::select(vec![
                "namespace", "query_hash", "query", "response", "embedding", "metadata",
                "created_at", "last_accessed_at", "access_count",
            ]),
            other in prop::sample::select(vec![
                None,
                Some(AttributeValue::Bool(true)),
                Some(AttributeValue::B(Blob::new([1, 2, 3]))),
            ]),
        ) {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            let mut item = item(entry.id, &key, &entry, &number(1));
            match other {
                None => item.remove(name),
                Some(value) => item.insert(name.to_owned(), value),
            };
            let Err(Fault::Corrupt(message)) = super::entry(item, 2) else {
                panic!("damage in {name} was not seen");
            };
            prop_assert!(message.contains(&format!("item {}, attribute {name}", entry.id)), "{}", message);
        }
    }

    #[test]
    fn numbers_of_other_writers() {
        let read = |digits: &str| whole(&AttributeValue::N(digits.to_owned()));
        assert_eq!(read("18446744073709551615"), Some(u64::MAX));
        assert_eq!(read("36893488147419103232"), Some(u64::MAX));
        assert_eq!(read("-5"), Some(0));
        assert_eq!(read("1.5"), Some(1));
        assert_eq!(read("1E+3"), Some(1000));
        assert_eq!(read("x"), None);
        assert_eq!(whole(&text("1")), None);
    }
}
