//! Making a decided import part of the data.
//!
//! An import is decided by one change of item 0, which records it there and reserves its
//! ids. From then on all stores of this kind complete it before they write anything else:
//! their writes are refused while the record is there. Each step is a transaction that
//! moves the record from the state it was seen in to the next, so that any number of
//! processes can do it at once, and each step takes effect once. The last step takes the
//! record away and moves the version counter.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};

use super::error::{Fault, Outcome};
use super::layout::{self, DECIDED, HEAD, VERSION};
use super::limits::{self, MAX_DELETE, MAX_ITEMS};
use super::pointers;
use super::requests::Visit;
use super::rows::{self, Item, Key, number};
use super::session::Session;
use super::staging::{self, Token};
use super::tags::Marks;
use super::transactions::{CONTENDED, Commit};
use super::waiting::Attempts;

/// Entries that one step stores: each takes two of the items of a transaction, and some are
/// left for entries that are there twice.
const STEP: usize = 45;

/// Bytes that one step stores. With item 0 at its largest they stay below 4 MB.
const STEP_BYTES: usize = 9 * limits::MAX_ITEM_BYTES;

/// Entries that are read ahead.
const AHEAD: u64 = 2 * STEP as u64;

/// A decided import, and how much of it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub token: Token,
    /// The entry at a place gets this and its place as its id, if it is new.
    pub base: u64,
    /// How many entries it has.
    pub count: u64,
    /// Entries up to this place are stored.
    pub stored: u64,
    /// Entries with ids up to `base` have yet to be deleted.
    pub clearing: bool,
    /// How many of those have been deleted.
    pub deleted: u64,
}

impl Decided {
    pub fn read(head: &Item) -> Outcome<Option<Self>> {
        let Some(record) = head.get(DECIDED) else {
            return Ok(None);
        };
        let parse = || {
            let record = record.as_m().ok()?;
            let number = |name: &str| record.get(name).and_then(rows::whole);
            Some(Self {
                token: Token::read(record.get("token")?.as_s().ok()?)?,
                base: number("base")?,
                count: number("count")?,
                stored: number("stored")?,
                clearing: *record.get("clearing")?.as_bool().ok()?,
                deleted: number("deleted")?,
            })
        };
        match parse() {
            Some(decided) => Ok(Some(decided)),
            None => Err(Fault::Corrupt(
                "item 0, attribute import is not a record of an import; restore a checkpoint into a new table".into(),
            )),
        }
    }

    pub fn value(&self) -> AttributeValue {
        let fields = [
            ("token", self.token.value()),
            ("base", number(self.base)),
            ("count", number(self.count)),
            ("stored", number(self.stored)),
            ("clearing", AttributeValue::Bool(self.clearing)),
            ("deleted", number(self.deleted)),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        AttributeValue::M(fields.into())
    }
}

/// What became of a step.
enum Step {
    /// It is stored, and this is the state after it.
    Done(Decided),
    /// The import is complete.
    Last,
    /// Nothing is stored; somebody else may have been faster.
    Refused,
}

impl Session {
    /// Completes the import that is decided, if there is one, and returns whether there was.
    pub async fn complete_import(&mut self) -> Outcome<bool> {
        let mut attempts = Attempts::new(self.table.patience);
        let mut seen = None;
        loop {
            let present = self.decided().await?;
            let Some(mut decided) = present.clone() else {
                self.imports_completed += u64::from(seen.is_some());
                return Ok(seen.is_some());
            };
            if seen != present {
                attempts = Attempts::new(self.table.patience);
            } else if let Err(fault) = attempts.again(CONTENDED).await {
                return Err(self.hindrance(&decided).await?.unwrap_or(fault));
            }
            let mut ahead = BTreeMap::new();
            loop {
                let step = self.step(&decided, &mut ahead).await;
                match step.map_err(Fault::repeatable)? {
                    Step::Done(next) => decided = next,
                    Step::Last => {
                        // Where that fails, it is found as what a killed process left.
                        let token = decided.token;
                        self.table.unstage(token, false, u64::MAX).await.ok();
                        break;
                    }
                    Step::Refused => break,
                }
            }
            seen = present;
        }
    }

    /// The import that is decided and not complete.
    async fn decided(&self) -> Outcome<Option<Decided>> {
        let head = self.table.head(&["id", DECIDED]).await?;
        Decided::read(&head.ok_or_else(layout::headless)?)
    }

    async fn step(&mut self, decided: &Decided, ahead: &mut BTreeMap<u64, Item>) -> Outcome<Step> {
        if decided.clearing {
            return self.clear(decided).await;
        }
        if decided.stored < decided.count {
            return self.store(decided, ahead).await;
        }
        let changed = decided.count > 0 || decided.deleted > 0;
        let (change, values) = match changed {
            true => (
                "SET #version_counter = #version_counter + :one REMOVE #import",
                vec![("one", number(1))],
            ),
            false => ("REMOVE #import", vec![]),
        };
        let last = vec![self.progress(decided, change, values)?];
        Ok(match self.table.commit(last).await? {
            Commit::Stored => Step::Last,
            Commit::Refused | Commit::Contended => Step::Refused,
        })
    }

    /// The change of item 0 in a step.
    fn progress(
        &self,
        from: &Decided,
        change: &str,
        mut values: Vec<(&str, AttributeValue)>,
    ) -> Outcome<TransactWriteItem> {
        values.extend([
            ("token", from.token.value()),
            ("stored", number(from.stored)),
            ("clearing", AttributeValue::Bool(from.clearing)),
        ]);
        let condition = "#import.#token = :token AND #import.#stored = :stored AND #import.#clearing = :clearing";
        self.table
            .update(HEAD, change, Some(condition), values, None)
    }

    /// Deletes the entries that were there when the import was decided.
    async fn clear(&self, decided: &Decided) -> Outcome<Step> {
        let visit = Visit {
            attributes: VERSION,
            ..Visit::default()
        };
        let base = decided.base;
        let old = move |item: Item| Ok((rows::id(&item)? <= base).then_some(item));
        let old = self.table.scan(visit, old).await?;
        let old: Vec<Item> = old.into_iter().flatten().collect();
        let mut next = decided.clone();
        for part in old.chunks(MAX_DELETE as usize) {
            let deleted = part.len() as u64;
            let head = self.progress(
                decided,
                "SET #import.#deleted = #import.#deleted + :deleted",
                vec![("deleted", number(deleted))],
            )?;
            let changes = self.deletions(head, part)?;
            if self.table.commit(changes).await? != Commit::Stored {
                return Ok(Step::Refused);
            }
            self.table.unmark(Marks::of(part)).await;
            next.deleted += deleted;
        }
        let done = vec![("no", AttributeValue::Bool(false))];
        let done = vec![self.progress(decided, "SET #import.#clearing = :no", done)?];
        next.clearing = false;
        Ok(match self.table.commit(done).await? {
            Commit::Stored => Step::Done(next),
            Commit::Refused | Commit::Contended => Step::Refused,
        })
    }

    /// Stores the next entries.
    async fn store(&mut self, decided: &Decided, ahead: &mut BTreeMap<u64, Item>) -> Outcome<Step> {
        const KEY: &[&str] = &["id", "namespace", "query_hash", "stamp"];
        let first = decided.stored + 1;
        ahead.retain(|place, _| *place >= first);
        if ahead.is_empty() {
            let last = decided.count.min(decided.stored + AHEAD);
            *ahead = self.table.staged(decided.token, first..=last).await?;
        }
        let mut entries: Vec<(Key, Item)> = Vec::with_capacity(STEP);
        let mut bytes = 0;
        for place in first..=decided.count.min(decided.stored + STEP as u64) {
            let staged = ahead.get(&place).cloned();
            let id = decided.base + place;
            let entry = staged.and_then(|item| staging::entry_item(item, id, pointers::stamp()));
            let Some((key, item)) = entry else {
                break;
            };
            bytes += rows::size(&item);
            if bytes > STEP_BYTES && !entries.is_empty() {
                break;
            }
            entries.push((key, item));
        }
        if entries.is_empty() {
            // Of one that somebody else has completed, nothing is left.
            return match self.decided().await?.as_ref() == Some(decided) {
                true => Err(missing(decided)),
                false => Ok(Step::Refused),
            };
        }
        let keys: Vec<Key> = entries.iter().map(|(key, _)| key.clone()).collect();
        let (found, _) = pointers::find(&self.table, &keys, KEY).await?;
        let mut next = decided.clone();
        next.stored += entries.len() as u64;
        let stored = vec![("next", number(next.stored))];
        let mut changes = vec![self.progress(decided, "SET #import.#stored = :next", stored)?];
        let mut surplus = Vec::new();
        let mut marks = Marks::default();
        for ((key, mut item), found) in entries.into_iter().zip(found) {
            let present = found.entry.as_ref().and_then(|entry| entry.get("id"));
            let replaced = present.is_some();
            if let Some(id) = present {
                item.insert("id".to_owned(), id.clone());
            }
            marks.add(&item);
            changes.extend(self.replacement(&key, item, found.pointer, replaced)?);
            surplus.extend(found.others);
        }
        for id in surplus.into_iter().take(MAX_ITEMS - changes.len()) {
            changes.push(self.table.delete(&id.to_string(), None, vec![])?);
        }
        self.table.mark(marks).await?;
        Ok(match self.table.commit(changes).await? {
            Commit::Stored => {
                self.next_id = self.next_id.max(next.base + next.stored + 1);
                Step::Done(next)
            }
            Commit::Refused | Commit::Contended => Step::Refused,
        })
    }

    /// What keeps a step from being stored, if it is not other writers.
    async fn hindrance(&self, decided: &Decided) -> Outcome<Option<Fault>> {
        let first = decided.base + decided.stored + 1;
        let last = decided.base + decided.count.min(decided.stored + STEP as u64);
        let taken = self.table.entries(first..=last, &["id"]).await?;
        let taken = taken.into_keys().next();
        let same = self.decided().await?.as_ref() == Some(decided);
        Ok(taken.filter(|_| same && !decided.clearing).map(|id| {
            Fault::Corrupt(format!(
                "item {id} has an id that is reserved for an import, which cannot be completed; delete that item"
            ))
        }))
    }
}

fn missing(decided: &Decided) -> Fault {
    let place = decided.stored + 1;
    Fault::Corrupt(format!(
        "item {}, entry {place} of an import, is missing or damaged, and the import cannot be completed; restore a checkpoint into a new table",
        decided.token.id(place)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damage_is_told() {
        let decided = Decided {
            token: Token::new(),
            base: 7,
            count: 3,
            stored: 2,
            clearing: true,
            deleted: 5,
        };
        let head = |value| Item::from([(DECIDED.to_owned(), value)]);
        let read = Decided::read(&head(decided.value())).unwrap();
        assert_eq!(read, Some(decided.clone()));
        assert_eq!(Decided::read(&Item::new()).unwrap(), None);
        let AttributeValue::M(fields) = decided.value() else {
            panic!("a map");
        };
        for name in fields.keys() {
            let mut fields = fields.clone();
            fields.insert(name.clone(), AttributeValue::Null(true));
            let damaged = Decided::read(&head(AttributeValue::M(fields)));
            assert!(matches!(damaged, Err(Fault::Corrupt(_))), "{name}");
        }
    }
}
