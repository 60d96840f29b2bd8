//! The entries of an import while it is not part of the data.
//!
//! They are items with ids below those of all pointers, made of the import's token and the
//! entry's place in the import, from 1 upwards. They have no attribute `namespace`, so that
//! no index has them. At place 0 stands the header: how many entries there are, and when the
//! last of them was written. Every transaction that adds entries changes the header, so that
//! none is added once it is gone. The tokens of all imports that have items are a set on
//! item 0, where what a killed process has left behind is found.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::{AttributeValue, DeleteRequest, WriteRequest};

use super::error::{Fault, Outcome};
use super::layout::{self, HEAD, TOKENS};
use super::pointers::DIGESTS;
use super::requests::{Table, key};
use super::rows::{self, Item, Key, number, text};
use super::waiting::{Attempts, random, together};
use mneme_store::{Entry, ImportMode};

/// Seconds after which an import that nobody has written to is taken for abandoned.
const ABANDONED: u64 = 3600;

/// Bits of a place in an id.
const PLACE_BITS: u32 = 40;

/// Keys that one BatchWriteItem takes.
const DELETES_PER_REQUEST: usize = 25;

/// An import that this store is receiving.
#[derive(Debug)]
pub(super) struct Import {
    pub token: Token,
    pub mode: ImportMode,
    /// How many entries are staged.
    pub staged: u64,
    /// The digests of their keys.
    pub keys: HashSet<u128>,
    /// The version counter, when there was no entry. Mode `empty` only.
    pub empty_at: Option<u64>,
}

/// Names an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

impl Token {
    pub fn new() -> Self {
        Self(random())
    }

    pub fn read(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    pub fn value(self) -> AttributeValue {
        text(format!("{:016x}", self.0))
    }

    /// The id of the item at a place.
    pub fn id(self, place: u64) -> String {
        let below = (u128::from(self.0) << PLACE_BITS) + u128::from(place);
        format!("-{}", 2 * DIGESTS + below)
    }
}

impl Table {
    /// Begins an import.
    pub async fn stage(&self) -> Outcome<Token> {
        let token = Token::new();
        let header = [
            ("id", AttributeValue::N(token.id(0))),
            ("staged", number(0)),
            ("renewed_at", number(now())),
        ];
        let header = header.map(|(name, value)| (name.to_owned(), value));
        let items = vec![
            self.put(header.into(), Some("attribute_not_exists(#id)"), vec![])?,
            self.update(
                HEAD,
                "ADD #imports :tokens",
                Some("attribute_exists(#id)"),
                vec![("tokens", set_of(token))],
                None,
            )?,
        ];
        match self.commit_in_turn(items).await? {
            true => Ok(token),
            false => Err(layout::headless()),
        }
    }

    /// Adds entries to an import that has `staged` of them. False where it is gone.
    pub async fn stage_entries(
        &self,
        token: Token,
        staged: u64,
        entries: &[(Key, &Entry)],
    ) -> Outcome<bool> {
        let mut items = Vec::with_capacity(entries.len() + 1);
        for (place, (key, entry)) in (staged + 1..).zip(entries) {
            let item = staged_item(token.id(place), key, entry);
            items.push(self.put(item, Some("attribute_not_exists(#id)"), vec![])?);
        }
        items.push(self.update(
            &token.id(0),
            "SET #staged = :sum, #renewed_at = :now",
            Some("#staged = :staged AND attribute_not_exists(#removed)"),
            vec![
                ("sum", number(staged + entries.len() as u64)),
                ("staged", number(staged)),
                ("now", number(now())),
            ],
            None,
        )?);
        self.commit_in_turn(items).await
    }

    /// The entries at some places, by their places.
    pub async fn staged(
        &self,
        token: Token,
        places: RangeInclusive<u64>,
    ) -> Outcome<BTreeMap<u64, Item>> {
        let places: BTreeMap<String, u64> = places.map(|place| (token.id(place), place)).collect();
        let items = self
            .batch_get(places.keys().cloned().collect(), &[])
            .await?;
        let place = |item: &Item| places.get(item.get("id")?.as_n().ok()?).copied();
        Ok(items
            .into_iter()
            .filter_map(|item| Some((place(&item)?, item)))
            .collect())
    }

    /// Removes an import that has not been decided, or is complete, at most `most` of its
    /// entries. With `abandoned`, only if it is.
    pub async fn unstage(&self, token: Token, abandoned: bool, most: u64) -> Outcome<()> {
        let header = token.id(0);
        let mut condition = "attribute_exists(#id)".to_owned();
        let mut values = vec![("yes", AttributeValue::Bool(true))];
        if abandoned {
            condition.push_str(" AND (#renewed_at <= :since OR attribute_exists(#removed))");
            values.push(("since", number(abandoned_since())));
        }
        // From here on nothing is added to it, and it is not decided.
        let marked = vec![
            self.update(
                &header,
                "SET #removed = :yes",
                Some(&condition),
                values,
                None,
            )?,
            self.check(
                HEAD,
                "attribute_not_exists(#import) OR #import.#token <> :token",
                vec![("token", token.value())],
            )?,
        ];
        if !self.commit_in_turn(marked).await? {
            return Ok(());
        }
        let Some(item) = self.get(&header, &["staged"]).await? else {
            return Ok(());
        };
        let staged = item.get("staged").and_then(rows::whole).unwrap_or(0);
        let left = staged.saturating_sub(most);
        let requests = (staged - left).div_ceil(DELETES_PER_REQUEST as u64);
        let parts = (0..requests).map(|number| {
            let first = left + 1 + number * DELETES_PER_REQUEST as u64;
            let last = staged.min(first + DELETES_PER_REQUEST as u64 - 1);
            let ids: Vec<_> = (first..=last).map(|place| token.id(place)).collect();
            self.clone().delete_all(ids)
        });
        together(parts).await?;
        let rest = match left {
            0 => vec![
                self.delete(&header, None, vec![])?,
                self.update(
                    HEAD,
                    "DELETE #imports :tokens",
                    Some("attribute_exists(#id)"),
                    vec![("tokens", set_of(token))],
                    None,
                )?,
            ],
            _ => vec![self.update(
                &header,
                "SET #staged = :left",
                Some("attribute_exists(#id)"),
                vec![("left", number(left))],
                None,
            )?],
        };
        self.commit_in_turn(rest).await?;
        Ok(())
    }

    /// Removes what killed processes have left behind of imports, at most `most` entries of
    /// each. The tokens are those of item 0.
    pub async fn unstage_abandoned(&self, head: &Item, most: u64) -> Outcome<()> {
        let tokens = head.get(TOKENS).and_then(|tokens| tokens.as_ss().ok());
        let tokens: Vec<Token> = tokens
            .into_iter()
            .flatten()
            .filter_map(|text| Token::read(text))
            .collect();
        let headers = tokens.iter().map(|token| token.id(0)).collect();
        let headers = self.batch_get(headers, &["id", "renewed_at"]).await?;
        let since = abandoned_since();
        for token in tokens {
            let id = AttributeValue::N(token.id(0));
            let header = headers.iter().find(|item| item.get("id") == Some(&id));
            let renewed_at = header.and_then(|header| rows::whole(header.get("renewed_at")?));
            if renewed_at.is_some_and(|at| at <= since) {
                self.unstage(token, true, most).await?;
            }
        }
        Ok(())
    }

    /// Deletes items by their ids, at most [`DELETES_PER_REQUEST`].
    async fn delete_all(self, ids: Vec<String>) -> Outcome<()> {
        let mut left = Vec::with_capacity(ids.len());
        for id in &ids {
            let delete = DeleteRequest::builder().set_key(Some(key(id))).build()?;
            left.push(WriteRequest::builder().delete_request(delete).build());
        }
        let mut attempts = Attempts::new(self.patience);
        while !left.is_empty() {
            let asked = left.len();
            let output = self
                .client
                .batch_write_item()
                .request_items(&*self.name, left)
                .send()
                .await
                .map_err(Fault::request("BatchWriteItem"))?;
            let unprocessed = output.unprocessed_items;
            left = unprocessed
                .and_then(|mut all| all.remove(&*self.name))
                .unwrap_or_default();
            if left.len() == asked {
                attempts.again("BatchWriteItem is throttled").await?;
            }
        }
        Ok(())
    }
}

fn set_of(token: Token) -> AttributeValue {
    AttributeValue::Ss(token.value().as_s().into_iter().cloned().collect())
}

/// The item of an entry of an import; no larger than that of the entry will be.
fn staged_item(id: String, key: &Key, entry: &Entry) -> Item {
    let mut item = rows::item(0, key, entry, &number(0));
    item.remove("stamp");
    if let Some(namespace) = item.remove("namespace") {
        item.insert("space".to_owned(), namespace);
    }
    item.insert("id".to_owned(), AttributeValue::N(id));
    item
}

/// The item of an entry that is part of the data from now on, and its key. None where the
/// staged item is damaged.
pub(super) fn entry_item(mut item: Item, id: u64, stamp: AttributeValue) -> Option<(Key, Item)> {
    let namespace = item.remove("space")?;
    item.insert("namespace".to_owned(), namespace);
    item.insert("id".to_owned(), number(id));
    item.insert("stamp".to_owned(), stamp);
    Some((Key::of(&item)?, item))
}

fn abandoned_since() -> u64 {
    now().saturating_sub(ABANDONED)
}

fn now() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH);
    passed.map_or(0, |passed| passed.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pointers;

    proptest! {
        #[test]
        fn ids_are_below_those_of_pointers(token: u64, place in 0..1u64 << PLACE_BITS, hash: String) {
            let token = Token(token);
            prop_assert_eq!(Token::read(token.value().as_s().unwrap()), Some(token));
            let id = token.id(place);
            prop_assert!(id.len() <= 39);
            let id: i128 = id.parse().unwrap();
            let pointer: i128 = pointers::id(&Key::new("a", &hash)).parse().unwrap();
            prop_assert!(id < pointer);
            prop_assert_ne!(id, Token(token.0 ^ 1).id(place).parse::<i128>().unwrap());
            prop_assert_eq!(token.id(place + 1).parse::<i128>().unwrap(), id - 1);
        }
    }
}
