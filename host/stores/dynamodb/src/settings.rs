//! Quotas and meta values, which stand in maps of item 0.

use aws_sdk_dynamodb::types::AttributeValue;

use super::error::{Fault, Outcome};
use super::layout::{self, HEAD};
use super::limits;
use super::rows::{Item, escape, number, text, unescape};
use super::session::Session;
use super::transactions::{CONTENDED, Commit};
use super::waiting::{Attempts, in_short};
use mneme_store::MetaChange;

impl Session {
    pub async fn set_namespace_quota(
        &mut self,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Outcome<()> {
        let key = quota_key(namespace)?;
        let (change, values) = match max_entries {
            Some(quota) => ("SET #quotas.#key = :quota", vec![("quota", number(quota))]),
            None => ("REMOVE #quotas.#key", vec![]),
        };
        let condition = Some("attribute_exists(#id) AND attribute_not_exists(#import)");
        let mut attempts = Attempts::new(self.table.patience);
        loop {
            let change = self
                .table
                .update(HEAD, change, condition, values.clone(), Some(&key))?;
            if self.table.commit(vec![change]).await? == Commit::Stored {
                return Ok(());
            }
            match self.complete_import().await? {
                true => attempts = Attempts::new(self.table.patience),
                false => attempts.again(CONTENDED).await?,
            }
        }
    }

    pub async fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Outcome<bool> {
        in_short(self.change_meta(key, expected, value)).await
    }

    async fn change_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Outcome<bool> {
        if value.is_none() && expected.is_none() {
            return Ok(self.read_meta(key).await?.is_none());
        }
        let key = meta_key(key, value.unwrap_or_default())?;
        let mut values = Vec::new();
        let change = match value {
            Some(value) => {
                values.push(("value", text(value)));
                "SET #meta.#key = :value"
            }
            None => "REMOVE #meta.#key",
        };
        let condition = match expected {
            Some(expected) => {
                values.push(("expected", text(expected)));
                "#meta.#key = :expected AND attribute_not_exists(#import)"
            }
            None => {
                "attribute_exists(#id) AND attribute_not_exists(#meta.#key) AND attribute_not_exists(#import)"
            }
        };
        let mut attempts = Attempts::new(self.table.patience);
        loop {
            let change =
                self.table
                    .update(HEAD, change, Some(condition), values.clone(), Some(&key))?;
            let refused = match self.table.commit(vec![change]).await? {
                Commit::Stored => return Ok(true),
                Commit::Refused => true,
                Commit::Contended => false,
            };
            if self.complete_import().await? {
                attempts = Attempts::new(self.table.patience);
                continue;
            }
            // An import that somebody has completed meanwhile may have been in the way.
            if refused && self.table.head_value("meta", &key).await? != expected.map(text) {
                return Ok(false);
            }
            attempts.again(CONTENDED).await?;
        }
    }

    pub async fn list_meta(&mut self) -> Outcome<Vec<(String, String)>> {
        let head = self.table.head(&["id", "meta"]).await?;
        let mut list = Vec::new();
        for (key, value) in map(&head.ok_or_else(layout::headless)?, "meta") {
            let key = unescape(&key);
            if self.embedder.meta(&key).is_some() {
                continue;
            }
            match value {
                AttributeValue::S(value) => list.push((key, value)),
                _ => return Err(no_text(&key)),
            }
        }
        list.sort_unstable();
        Ok(list)
    }

    /// The map of meta values with an import's changes, or none where one is not as expected.
    /// With `replace`, those that are there go.
    pub fn changed_meta(&self, head: &Item, changes: &[MetaChange], replace: bool) -> Option<Item> {
        let mut meta = map(head, "meta");
        let expected = |change: &MetaChange| {
            meta.get(&escape(&change.key)) == change.expected.as_ref().map(text).as_ref()
        };
        if !replace && !changes.iter().all(expected) {
            return None;
        }
        meta.retain(|key, _| !replace || self.embedder.meta(&unescape(key)).is_some());
        for change in changes {
            meta.insert(escape(&change.key), text(&change.value));
        }
        Some(meta)
    }
}

/// The map of quotas with those of an import. With `replace`, those that are there go.
pub(super) fn changed_quotas(head: &Item, changes: &[(String, u64)], replace: bool) -> Item {
    let mut quotas = match replace {
        true => Item::new(),
        false => map(head, "quotas"),
    };
    let changes = changes.iter();
    quotas.extend(changes.map(|(namespace, quota)| (escape(namespace), number(*quota))));
    quotas
}

/// Refuses quotas and meta values of an import that cannot be set at all.
pub(super) fn check(quotas: &[(String, u64)], meta: &[MetaChange]) -> Outcome<()> {
    for (namespace, _) in quotas {
        quota_key(namespace)?;
    }
    for change in meta {
        meta_key(&change.key, &change.value)?;
    }
    Ok(())
}

/// One of the maps of item 0.
pub(super) fn map(head: &Item, name: &str) -> Item {
    let map = head.get(name).and_then(|value| value.as_m().ok());
    map.cloned().unwrap_or_default()
}

/// The error of an invalid meta value.
pub(super) fn no_text(key: &str) -> Fault {
    Fault::Corrupt(format!(
        "item 0, attribute meta, key {key:?} holds no text; remove that value"
    ))
}

fn quota_key(namespace: &str) -> Outcome<String> {
    checked("quota of a namespace", escape(namespace), "")
}

fn meta_key(key: &str, value: &str) -> Outcome<String> {
    checked("meta value", escape(key), value)
}

/// Refuses a value that item 0 could not hold even if it held nothing else.
fn checked(what: &str, key: String, value: &str) -> Outcome<String> {
    let size = key.len() + value.len();
    // The names of attributes end at 64 KB.
    if key.len() > 65_535 || size > limits::MAX_ITEM_BYTES {
        return Err(Fault::invalid(format!(
            "this {what} takes {size} bytes, {} of them the key; all of them together have 400 KB in DynamoDB, and a key 64 KB",
            key.len()
        )));
    }
    Ok(key)
}
