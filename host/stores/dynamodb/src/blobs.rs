//! Blobs: what the cache has derived from the entries.
//!
//! A blob is an item with the attribute `bytes`. Its id is below those of all imports, made
//! of its name's digest. The names of all blobs are a set on a separate item, above
//! those of the blobs, which changes in one transaction with them: no scan of the table is
//! needed to list them. None of these items has an attribute `namespace`, so that no index
//! has them.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::error::{Fault, Outcome};
use super::layout;
use super::limits::MAX_DELETE;
use super::pointers::{self, DIGESTS};
use super::rows::Key;
use super::session::Session;

impl Session {
    pub async fn read_blob(&self, name: &str) -> Outcome<Option<Vec<u8>>> {
        let id = id(name);
        let Some(mut item) = self.table.get(&id, &["id", "bytes"]).await? else {
            return Ok(None);
        };
        match item.remove("bytes") {
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            _ => Err(Fault::Corrupt(format!(
                "item {id}, the blob {name}, holds no bytes; delete that item"
            ))),
        }
    }

    pub async fn write_blob(&self, name: &str, bytes: Vec<u8>) -> Outcome<()> {
        let blob = [
            ("id", AttributeValue::N(id(name))),
            ("bytes", AttributeValue::B(Blob::new(bytes))),
        ];
        let blob = blob.map(|(name, value)| (name.to_owned(), value));
        let blob = self.table.put(blob.into(), None, vec![])?;
        let names = vec![("names", AttributeValue::Ss(vec![name.to_owned()]))];
        let list = self
            .table
            .update(&names_id(), "ADD #names :names", None, names, None)?;
        self.commit_blobs(vec![blob, list]).await
    }

    pub async fn delete_blobs(&self, names: &[String]) -> Outcome<()> {
        let names: BTreeSet<&String> = names.iter().collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        for part in names.chunks(MAX_DELETE as usize) {
            let gone = vec![("names", AttributeValue::Ss(part.to_vec()))];
            let mut changes =
                vec![
                    self.table
                        .update(&names_id(), "DELETE #names :names", None, gone, None)?,
                ];
            for name in part {
                changes.push(self.table.delete(&id(name), None, vec![])?);
            }
            self.commit_blobs(changes).await?;
        }
        Ok(())
    }

    /// Stores changes of blobs, if the cache is the one that was opened: they have no other
    /// condition.
    async fn commit_blobs(&self, mut changes: Vec<TransactWriteItem>) -> Outcome<()> {
        changes.push(self.table.ours()?);
        match self.table.commit_in_turn(changes).await? {
            true => Ok(()),
            false => Err(layout::headless()),
        }
    }

    pub async fn list_blobs(&mut self) -> Outcome<Vec<String>> {
        let id = names_id();
        let item = self.table.get(&id, &["id", "names"]).await?;
        match item.and_then(|mut item| item.remove("names")) {
            None => Ok(Vec::new()),
            Some(AttributeValue::Ss(mut names)) => {
                names.sort_unstable();
                Ok(names)
            }
            Some(_) => Err(Fault::Corrupt(format!(
                "item {id}, attribute names is not a set of texts; delete that item"
            ))),
        }
    }
}

/// The id of the item with the names. Imports end above `-3 * DIGESTS`.
fn names_id() -> String {
    format!("-{}", 3 * DIGESTS)
}

/// The id of a blob.
fn id(name: &str) -> String {
    let digest = pointers::digest(&Key::new("", name));
    format!("-{}", 3 * DIGESTS + 1 + digest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::staging::Token;

    proptest! {
        #[test]
        fn ids_are_below_those_of_imports(name in "[a-z0-9./-]{1,100}") {
            let number = |id: &str| id.parse::<i128>().unwrap();
            let (blob, names) = (id(&name), names_id());
            prop_assert!(blob.len() <= 39);
            prop_assert!(number(&blob) < number(&names));
            let lowest = Token::read("ffffffffffffffff").unwrap().id((1 << 40) - 1);
            prop_assert!(number(&names) < number(&lowest));
            prop_assert_ne!(id(&format!("{name}-")), blob);
        }
    }
}
