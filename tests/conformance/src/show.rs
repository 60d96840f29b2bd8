//! Values as a person reads them: short, with what matters in front.

use std::fmt::{Debug, Write};

use crate::contract::{Entry, Error};
use crate::data::mix;

/// The most characters shown of one value.
const LONGEST: usize = 240;

/// A value, cut where it is long.
pub fn value(value: &impl Debug) -> String {
    cut(format!("{value:?}"))
}

/// A text in quotes with its length, cut where it is long.
pub fn text(text: &str) -> String {
    format!("{} ({} bytes)", cut(format!("{text:?}")), text.len())
}

/// The bytes of a blob: how many, and the first of them.
pub fn bytes(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "none".to_owned(),
        Some(bytes) => {
            let first = &bytes[..bytes.len().min(16)];
            let sum = bytes
                .iter()
                .fold(0, |sum, byte| mix(sum ^ u64::from(*byte)));
            format!(
                "{} bytes, {first:02x?} first, checksum {sum:016x}",
                bytes.len()
            )
        }
    }
}

/// An error of the store.
pub fn error(error: &Error) -> String {
    format!("the error {}", cut(format!("{error:?}")))
}

/// The key of an entry.
pub fn key(entry: &Entry) -> String {
    format!(
        "the entry {:?} / {:.8}...",
        entry.namespace, entry.query_hash
    )
}

/// The first thing in which two entries differ.
pub fn difference(expected: &Entry, actual: &Entry) -> Option<String> {
    let texts = [
        ("namespace", &expected.namespace, &actual.namespace),
        ("context", &expected.context, &actual.context),
        ("query-hash", &expected.query_hash, &actual.query_hash),
        ("query", &expected.query, &actual.query),
        ("response", &expected.response, &actual.response),
        ("metadata", &expected.metadata, &actual.metadata),
    ];
    let numbers = [
        ("id", Some(expected.id), Some(actual.id)),
        (
            "created-at",
            Some(expected.created_at),
            Some(actual.created_at),
        ),
        (
            "last-accessed-at",
            Some(expected.last_accessed_at),
            Some(actual.last_accessed_at),
        ),
        ("ttl", expected.ttl, actual.ttl),
        (
            "access-count",
            Some(expected.access_count),
            Some(actual.access_count),
        ),
    ];
    let number = |number: Option<u64>| number.map_or("none".to_owned(), |n| n.to_string());
    for (field, expected, actual) in numbers {
        if expected != actual {
            return Some(format!(
                "its {field} was {} in place of {}",
                number(actual),
                number(expected)
            ));
        }
    }
    for (field, expected, actual) in texts {
        if let Some(place) = first_difference(expected.as_bytes(), actual.as_bytes()) {
            return Some(format!(
                "its {field} was {} in place of {}; they differ from byte {place} on",
                text(actual),
                text(expected)
            ));
        }
    }
    if expected.tags != actual.tags {
        return Some(format!(
            "its tags were {} in place of {}",
            value(&actual.tags),
            value(&expected.tags)
        ));
    }
    vectors(&expected.embedding, &actual.embedding).map(|difference| format!("its {difference}"))
}

/// The first place in which two vectors differ, bit for bit.
pub fn vectors(expected: &[f32], actual: &[f32]) -> Option<String> {
    if expected.len() != actual.len() {
        return Some(format!(
            "embedding had {} values in place of {}",
            actual.len(),
            expected.len()
        ));
    }
    let at = (0..expected.len()).find(|&n| expected[n].to_bits() != actual[n].to_bits())?;
    Some(format!(
        "embedding had {:?} (bits {:08x}) in place of {:?} (bits {:08x}) at position {at}",
        actual[at],
        actual[at].to_bits(),
        expected[at],
        expected[at].to_bits()
    ))
}

/// The place of the first item in which two lists differ; the shorter length where one
/// begins with the other.
pub fn first_difference<T: PartialEq>(a: &[T], b: &[T]) -> Option<usize> {
    if a == b {
        return None;
    }
    let common = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    Some(common)
}

fn cut(text: String) -> String {
    let length = text.chars().count();
    if length <= LONGEST {
        return text;
    }
    let mut short: String = text.chars().take(LONGEST).collect();
    let _ = write!(short, "... and {} more characters", length - LONGEST);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: 3,
            namespace: "n".to_owned(),
            context: "c".to_owned(),
            query_hash: "ab".repeat(32),
            query: "q".to_owned(),
            response: "r".repeat(5000),
            embedding: vec![0.0, 1.0],
            metadata: "{}".to_owned(),
            tags: vec!["a".to_owned(), "b".to_owned()],
            created_at: 1,
            last_accessed_at: 2,
            ttl: None,
            access_count: 0,
        }
    }

    #[test]
    fn equal_entries_have_no_difference() {
        assert_eq!(difference(&entry(), &entry()), None);
    }

    #[test]
    fn every_field_is_compared() {
        type Change = fn(&mut Entry);
        let changes: [(&str, Change); 15] = [
            ("id", |e| e.id = 4),
            ("namespace", |e| e.namespace.push(' ')),
            ("context", |e| e.context.clear()),
            ("tags", |e| e.tags.clear()),
            ("tags", |e| e.tags.reverse()),
            ("query-hash", |e| e.query_hash.make_ascii_uppercase()),
            ("query", |e| e.query.clear()),
            ("response", |e| e.response.truncate(4999)),
            ("embedding", |e| e.embedding[0] = -0.0),
            ("embedding", |e| e.embedding.truncate(1)),
            ("metadata", |e| e.metadata = "{ }".to_owned()),
            ("created-at", |e| e.created_at = 0),
            ("last-accessed-at", |e| e.last_accessed_at = 3),
            ("ttl", |e| e.ttl = Some(0)),
            ("access-count", |e| e.access_count = 1),
        ];
        for (field, change) in changes {
            let mut changed = entry();
            change(&mut changed);
            let difference = difference(&entry(), &changed).expect(field);
            assert!(difference.contains(field), "{difference}");
            assert!(difference.chars().count() < 800, "{difference}");
        }
    }

    #[test]
    fn a_difference_in_text_names_the_byte() {
        let mut changed = entry();
        changed.response = format!("{}x", "r".repeat(4999));
        let difference = difference(&entry(), &changed).expect("a difference");
        assert!(difference.contains("byte 4999"), "{difference}");
        assert!(difference.contains("(5000 bytes)"), "{difference}");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let shown = value(&"🦀".repeat(1000));
        assert!(shown.chars().count() < 300);
        assert!(shown.ends_with("more characters"));
    }
}
