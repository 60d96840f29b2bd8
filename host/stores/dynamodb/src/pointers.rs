//! Which entry is stored under a key.
//!
//! Index `gsi_hash` finds an entry by its key, but lags behind the table. A pointer does
//! not: an item whose id is a number below zero made of the key, and which names the
//! entry's id and a stamp. Entry and pointer get a new stamp, the same for both, with every
//! change, so that a row of the index with the pointer's stamp is the latest. `mneme-cache`
//! knows no pointers: what it has written or deleted is found by the index and checked in
//! the table.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use super::error::Outcome;
use super::layout::{DECIDED, HEAD, INCARNATION};
use super::requests::Table;
use super::rows::{self, Item, Key, text};
use super::waiting::{random, together};

/// What a pointer holds, and of item 0 what an insert needs.
const POINTER: &[&str] = &["id", "entry_id", "stamp", "next_id", DECIDED, INCARNATION];

/// What is known of a key.
#[derive(Debug)]
pub(super) struct Found {
    pub pointer: Pointer,
    /// The entry's item, with the attributes asked for.
    pub entry: Option<Item>,
    /// Further entries under the same key, which writers without pointers can leave behind.
    pub others: Vec<u64>,
}

/// What a key's pointer names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    /// There is no pointer.
    Absent,
    /// This id.
    Entry(u64),
    /// Nothing, for it is damaged.
    Damaged,
}

/// Above all that [`digest`] returns.
pub(super) const DIGESTS: u128 = 1 << 120;

/// The id of a key's pointer: its digest, below zero. DynamoDB's numbers have 38 digits.
pub(super) fn id(key: &Key) -> String {
    format!("-{}", digest(key) + 1)
}

/// 120 bits of a key's hash.
pub(super) fn digest(key: &Key) -> u128 {
    let mut hash = Sha256::new();
    hash.update((key.namespace.len() as u64).to_le_bytes());
    hash.update(&key.namespace);
    hash.update(&key.query_hash);
    let mut bytes = [0; 16];
    bytes[1..].copy_from_slice(&hash.finalize()[..15]);
    u128::from_be_bytes(bytes)
}

/// The pointer from a key to an entry's item.
pub(super) fn item(key: &Key, entry: &Item) -> Item {
    let named = [("entry_id", "id"), ("stamp", "stamp")];
    let mut pointer: Item = named
        .into_iter()
        .filter_map(|(name, of)| Some((name.to_owned(), entry.get(of)?.clone())))
        .collect();
    pointer.insert("id".to_owned(), AttributeValue::N(id(key)));
    pointer
}

/// A stamp that no entry has had.
pub(super) fn stamp() -> AttributeValue {
    text(format!("{:016x}", random()))
}

/// Finds entries by their keys, which all differ and fit, with the attributes named and
/// those that tell whose they are. Also returns item 0.
///
/// One wave of parallel requests, and a second one for the keys whose row in the index is
/// not that of the pointer.
pub(super) async fn find(
    table: &Table,
    keys: &[Key],
    attributes: &'static [&'static str],
) -> Outcome<(Vec<Found>, Option<Item>)> {
    let mut ids: Vec<String> = keys.iter().map(id).collect();
    ids.push(HEAD.to_owned());
    let queries = keys.iter().map(|key| {
        let Key {
            namespace,
            query_hash,
        } = key.clone();
        table.clone().indexed(namespace, query_hash, attributes)
    });
    let (pointers, indexed) = tokio::try_join!(table.batch_get(ids, POINTER), together(queries))?;
    let mut pointers = pointers
        .into_iter()
        .filter_map(|item| Some((item.get("id")?.as_n().ok()?.clone(), item)))
        .collect::<std::collections::HashMap<_, _>>();
    let head = pointers.remove(HEAD);
    table.check_head(head.as_ref())?;
    let mut found = Vec::with_capacity(keys.len());
    let mut unsure = BTreeSet::new();
    let mut candidates = Vec::with_capacity(keys.len());
    for (key, rows) in keys.iter().zip(indexed) {
        let stored = pointers.get(&id(key));
        let pointer = read(stored);
        let mut named: BTreeSet<u64> = BTreeSet::new();
        let mut entry = None;
        match (pointer, rows.as_slice()) {
            (Pointer::Entry(id), [row]) if is_latest(stored, row, id) => {
                entry = rows.into_iter().next();
            }
            (pointer, rows) => {
                if let Pointer::Entry(id) = pointer {
                    named.insert(id);
                }
                for row in rows {
                    named.insert(rows::id(row)?);
                }
            }
        }
        unsure.extend(named.iter().copied());
        candidates.push(named);
        found.push(Found {
            pointer,
            entry,
            others: Vec::new(),
        });
    }
    if unsure.is_empty() {
        return Ok((found, head));
    }
    let ids = unsure.iter().map(u64::to_string).collect();
    let items = table.batch_get(ids, attributes).await?;
    let mut entries = std::collections::BTreeMap::new();
    for item in items {
        entries.insert(rows::id(&item)?, item);
    }
    for ((key, found), named) in keys.iter().zip(&mut found).zip(candidates) {
        let mut live: Vec<u64> = named
            .into_iter()
            .filter(|id| entries.get(id).and_then(Key::of).as_ref() == Some(key))
            .collect();
        let chosen = live
            .iter()
            .position(|id| found.pointer == Pointer::Entry(*id))
            .unwrap_or(0);
        if !live.is_empty() {
            found.entry = entries.remove(&live.remove(chosen));
            found.others = live;
        }
    }
    Ok((found, head))
}

fn read(pointer: Option<&Item>) -> Pointer {
    match pointer {
        None => Pointer::Absent,
        Some(item) => match item.get("entry_id").and_then(rows::whole) {
            Some(id) => Pointer::Entry(id),
            None => Pointer::Damaged,
        },
    }
}

/// Whether a row of the index is what the pointer names.
fn is_latest(pointer: Option<&Item>, row: &Item, id: u64) -> bool {
    let stamp = pointer.and_then(|pointer| pointer.get("stamp"));
    stamp.is_some() && stamp == row.get("stamp") && rows::id(row).is_ok_and(|named| named == id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rows::number;
    use super::*;

    proptest! {
        #[test]
        fn pointers_are_numbers_below_zero_that_fit(namespace: String, hash: String) {
            let id = id(&Key::new(&namespace, &hash));
            let digits = id.strip_prefix('-').unwrap();
            prop_assert!(digits.len() <= 38);
            prop_assert!((1..=DIGESTS).contains(&digits.parse().unwrap()));
        }
    }

    #[test]
    fn keys_have_pointers_of_their_own() {
        let keys = [
            ("a", "bc"),
            ("ab", "c"),
            ("a\0", "bc"),
            ("a", "\0bc"),
            ("", "abc"),
        ];
        let ids: BTreeSet<_> = keys
            .iter()
            .map(|(namespace, hash)| id(&Key::new(namespace, hash)))
            .collect();
        assert_eq!(ids.len(), keys.len());
    }

    #[test]
    fn only_a_row_with_the_pointers_stamp_is_the_latest() {
        let key = Key::new("a", "b");
        let (old, new) = (text("1"), text("2"));
        let row = |id: u64, stamp: Option<&AttributeValue>| {
            let mut row: Item = [("id".to_owned(), number(id))].into();
            row.extend(stamp.map(|stamp| ("stamp".to_owned(), stamp.clone())));
            row
        };
        let pointer = item(&key, &row(7, Some(&new)));
        let latest = |row: &Item| is_latest(Some(&pointer), row, 7);
        assert!(latest(&row(7, Some(&new))));
        assert!(!latest(&row(7, Some(&old))));
        assert!(!latest(&row(7, None)));
        assert!(!latest(&row(8, Some(&new))));
        assert!(!is_latest(Some(&row(7, None)), &row(7, None), 7));
    }
}
