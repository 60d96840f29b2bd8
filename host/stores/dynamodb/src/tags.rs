//! The index over tags.
//!
//! The ids of the entries that carry a tag are sets of numbers in items of the table, one item
//! for each tag and each [`SPAN`] ids in a row. The item's id is below those of all blobs, made
//! of a digest of the tag and the place of the span, so that any span is read by its id. It has
//! no attribute `namespace`, so that no other index has it.
//!
//! An id is added before its entry is stored, and removed after its entry is deleted. So the
//! sets hold the id of every entry with the tag, and now and then others: of a write that
//! failed, of an entry that lost the tag when it was replaced, of one that `mneme-cache` has
//! replaced or deleted. Whoever reads an id looks at its entry. A replacement removes no id:
//! another writer may be about to store the entry with that tag. No entry comes back under the
//! id of a deleted one, so there the id can go.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue};
use sha2::{Digest, Sha256};

use super::error::{Fault, Outcome, Refusal};
use super::pointers::DIGESTS;
use super::requests::{Table, key, names};
use super::rows::{self, Item};
use super::waiting::together;

/// Ids of one item. At most 10 KB: who stores an entry pays for the item's size.
pub(super) const SPAN: u64 = 1000;

/// The items of the index that entries belong in, and the ids for each.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<String, BTreeSet<u64>>);

impl Marks {
    pub fn of<'a>(items: impl IntoIterator<Item = &'a Item>) -> Self {
        let mut marks = Self::default();
        for item in items {
            marks.add(item);
        }
        marks
    }

    /// Adds an entry, by its item.
    pub fn add(&mut self, item: &Item) {
        let Ok(entry) = rows::id(item) else {
            return;
        };
        // Damaged tags are told to those who read the entry.
        for tag in rows::tags(item, entry).unwrap_or_default() {
            let entries = self.0.entry(id(&tag, entry / SPAN)).or_default();
            entries.insert(entry);
        }
    }
}

impl Table {
    /// Adds entries to the index that are about to be stored.
    pub async fn mark(&self, marks: Marks) -> Outcome<()> {
        let marks = marks.0.into_iter();
        together(marks.map(|(id, entries)| self.clone().mark_one(id, entries))).await?;
        Ok(())
    }

    /// Removes entries from the index that have been deleted. Where that fails, they stay, and
    /// cost a read.
    pub async fn unmark(&self, marks: Marks) {
        let marks = marks.0.into_iter();
        let unmarked = together(marks.map(|(id, entries)| self.clone().unmark_one(id, entries)));
        unmarked.await.ok();
    }

    async fn mark_one(self, id: String, entries: BTreeSet<u64>) -> Outcome<()> {
        const ADD: &str = "ADD #entries :entries";
        self.client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(key(&id)))
            .update_expression(ADD)
            .set_expression_attribute_names(names(&[ADD]))
            .expression_attribute_values(":entries", set(&entries))
            .send()
            .await
            .map_err(Fault::request("UpdateItem"))?;
        Ok(())
    }

    async fn unmark_one(self, id: String, entries: BTreeSet<u64>) -> Outcome<()> {
        const REMOVE: &str = "DELETE #entries :entries";
        const PRESENT: &str = "attribute_exists(#entries)";
        const EMPTY: &str = "attribute_not_exists(#entries)";
        let removed = self
            .client
            .update_item()
            .table_name(&*self.name)
            .set_key(Some(key(&id)))
            .update_expression(REMOVE)
            .condition_expression(PRESENT)
            .set_expression_attribute_names(names(&[REMOVE]))
            .expression_attribute_values(":entries", set(&entries))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        let left = match removed {
            Ok(output) => output.attributes.unwrap_or_default(),
            Err(error) => return unless_refused(Refusal::new("UpdateItem", &error)),
        };
        if left.contains_key("entries") {
            return Ok(());
        }
        let deleted = self
            .client
            .delete_item()
            .table_name(&*self.name)
            .set_key(Some(key(&id)))
            .condition_expression(EMPTY)
            .set_expression_attribute_names(names(&[EMPTY]))
            .send()
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => unless_refused(Refusal::new("DeleteItem", &error)),
        }
    }

    /// The ids in some spans that may be of entries with all of these tags.
    pub async fn marked(
        &self,
        tags: &BTreeSet<&String>,
        spans: Range<u64>,
    ) -> Outcome<BTreeSet<u64>> {
        let places: BTreeMap<String, u64> = spans
            .flat_map(|span| tags.iter().map(move |tag| (id(tag, span), span)))
            .collect();
        let asked = places.keys().cloned().collect();
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        for item in self.batch_get(asked, &["id", "entries"]).await? {
            let Some(AttributeValue::N(id)) = item.get("id") else {
                continue;
            };
            for entry in members(&item, id)? {
                *counts.entry(entry).or_default() += 1;
            }
        }
        counts.retain(|_, count| *count == tags.len());
        Ok(counts.into_keys().collect())
    }
}

/// Somebody else was faster, which is fine.
fn unless_refused(refusal: Refusal) -> Outcome<()> {
    match refusal.has_code(&["ConditionalCheckFailedException"]) {
        true => Ok(()),
        false => Err(Fault::Request(refusal)),
    }
}

fn set(entries: &BTreeSet<u64>) -> AttributeValue {
    AttributeValue::Ns(entries.iter().map(u64::to_string).collect())
}

/// The ids in an item of the index. It is empty for a moment before it is deleted.
fn members(item: &Item, id: &str) -> Outcome<Vec<u64>> {
    let digits = match item.get("entries") {
        None => return Ok(Vec::new()),
        Some(value) => value.as_ns().ok(),
    };
    digits
        .and_then(|digits| digits.iter().map(|one| one.parse().ok()).collect())
        .ok_or_else(|| {
            Fault::Corrupt(format!(
                "item {id}, attribute entries is not a set of ids, and entries cannot be found by their tag; restore a checkpoint into a new table"
            ))
        })
}

/// The id of the item of a tag and a span of ids.
fn id(tag: &str, span: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(span.to_le_bytes());
    hash.update(tag);
    let mut bytes = [0; 16];
    bytes[1..].copy_from_slice(&hash.finalize()[..15]);
    format!("-{}", 4 * DIGESTS + 1 + u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rows::number;
    use super::*;
    use mneme_store::checks::GREATEST;

    fn tagged(id: u64, tags: &[&str]) -> Item {
        let tags = tags.iter().map(|tag| rows::text(*tag)).collect();
        [
            ("id".to_owned(), number(id)),
            ("tags".to_owned(), AttributeValue::L(tags)),
        ]
        .into()
    }

    proptest! {
        #[test]
        fn ids_are_below_those_of_blobs(tag: String, span in 0..GREATEST) {
            let place = id(&tag, span);
            prop_assert!(place.len() <= 39);
            let below: u128 = place.strip_prefix('-').unwrap().parse().unwrap();
            prop_assert!((4 * DIGESTS + 1..=5 * DIGESTS).contains(&below));
            prop_assert_ne!(&id(&format!("{tag}x"), span), &place);
            prop_assert_ne!(id(&tag, span + 1), place);
        }
    }

    #[test]
    fn entries_of_a_span_share_an_item() {
        let items = [
            tagged(SPAN - 1, &["a", "b"]),
            tagged(SPAN, &["a"]),
            tagged(SPAN + 7, &["a", "a"]),
            [("id".to_owned(), number(5))].into(),
        ];
        let expected = [
            (id("a", 0), vec![SPAN - 1]),
            (id("b", 0), vec![SPAN - 1]),
            (id("a", 1), vec![SPAN, SPAN + 7]),
        ];
        let expected = expected.map(|(id, entries)| (id, entries.into_iter().collect()));
        assert_eq!(Marks::of(&items).0, expected.into());
    }

    #[test]
    fn damaged_sets_are_told() {
        let read = |value: Option<AttributeValue>| {
            let value = value.map(|value| ("entries".to_owned(), value));
            members(&value.into_iter().collect(), "-7")
        };
        assert_eq!(read(None).unwrap(), [0_u64; 0]);
        let ids = AttributeValue::Ns(vec!["3".to_owned(), "9007199254740991".to_owned()]);
        assert_eq!(read(Some(ids)).unwrap(), [3, GREATEST]);
        for damaged in [
            AttributeValue::Bool(true),
            AttributeValue::Ns(vec!["1.5".to_owned()]),
        ] {
            let Err(Fault::Corrupt(message)) = read(Some(damaged)) else {
                panic!("damage was not seen");
            };
            assert!(message.contains("item -7, attribute entries"), "{message}");
        }
    }
}
