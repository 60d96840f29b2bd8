//! The operations that change the table, each one transaction.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::error::{Fault, Outcome};
use super::layout::{self, DECIDED, HEAD, VERSION};
use super::limits::{self, MAX_DELETE, MAX_ITEMS, MAX_TOUCH};
use super::pointers::{self, Pointer};
use super::requests::{Table, Visit};
use super::rows::{self, Item, Key, escape, number};
use super::session::Session;
use super::tags::Marks;
use super::transactions::{CONTENDED, Commit};
use super::waiting::{Attempts, in_short, together};
use mneme_store::checks::GREATEST;
use mneme_store::{Entry, EntryRef, Inserted, Touch};

/// What a touch has to know.
const TOUCHED: &[&str] = &[
    "id",
    "namespace",
    "query_hash",
    "last_accessed_at",
    "access_count",
];

impl Session {
    pub async fn insert(&mut self, entries: Vec<Entry>) -> Outcome<Vec<Inserted>> {
        // Each key once, where it comes first, with the last of its entries.
        let mut latest: Vec<(Key, &Entry)> = Vec::with_capacity(entries.len());
        let mut places = Vec::with_capacity(entries.len());
        for (number, entry) in entries.iter().enumerate() {
            let key = Key::new(&entry.namespace, &entry.query_hash);
            check_size(number, &key, entry)?;
            let place = latest.iter().position(|(known, _)| *known == key);
            match place {
                Some(place) => latest[place].1 = entry,
                None => latest.push((key, entry)),
            }
            places.push(place.unwrap_or(latest.len() - 1));
        }
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let mut attempts = Attempts::new(self.table.patience);
        let mut stored = loop {
            if let Some(stored) = self.try_insert(&latest).await? {
                break stored;
            }
            if self.complete_import().await? {
                attempts = Attempts::new(self.table.patience);
            } else if let Err(fault) = attempts.again(CONTENDED).await {
                return Err(self.obstacle().await?.unwrap_or(fault));
            }
        };
        let inserted = places.into_iter().map(|place| {
            let result = stored[place];
            // A later occurrence replaces what the first one has stored.
            stored[place].replaced = true;
            result
        });
        Ok(inserted.collect())
    }

    /// Looks which entries exist and stores all; none where others were faster.
    async fn try_insert(&mut self, latest: &[(Key, &Entry)]) -> Outcome<Option<Vec<Inserted>>> {
        const KEY: &[&str] = &["id", "namespace", "query_hash", "stamp"];
        let keys: Vec<Key> = latest.iter().map(|(key, _)| key.clone()).collect();
        let (found, head) = pointers::find(&self.table, &keys, KEY).await?;
        let head = head.ok_or_else(layout::headless)?;
        if head.contains_key(DECIDED) {
            return Ok(None);
        }
        let first = layout::counter(&head, "next_id")?;
        let mut next = first;
        let mut marks = Marks::default();
        let mut changes = Vec::new();
        let mut surplus = Vec::new();
        let mut stored = Vec::with_capacity(latest.len());
        for ((key, entry), found) in latest.iter().zip(found) {
            let (id, replaced) = match &found.entry {
                Some(item) => (rows::id(item)?, true),
                None => {
                    next += 1;
                    (next - 1, false)
                }
            };
            let item = rows::item(id, key, entry, &pointers::stamp());
            marks.add(&item);
            changes.extend(self.replacement(key, item, found.pointer, replaced)?);
            surplus.extend(found.others);
            stored.push(Inserted { id, replaced });
        }
        // Of reads at the same time, one may know of an insert and the other may not.
        let replaced = stored.iter().filter(|one: &&Inserted| one.replaced);
        let mut present = replaced.map(|one| one.id).chain(surplus.iter().copied());
        if present.any(|id| (first..next).contains(&id)) {
            return Ok(None);
        }
        for id in surplus.into_iter().take(MAX_ITEMS - 1 - changes.len()) {
            changes.push(self.table.delete(&id.to_string(), None, vec![])?);
        }
        changes.push(match next > first {
            true => self.table.update(
                HEAD,
                "SET #next_id = :next, #version_counter = #version_counter + :one",
                Some("#next_id = :first AND attribute_not_exists(#import)"),
                vec![
                    ("next", number(next)),
                    ("first", number(first)),
                    ("one", number(1)),
                ],
                None,
            )?,
            false => self.moved_version()?,
        });
        self.table.mark(marks).await?;
        Ok(match self.table.commit(changes).await? {
            Commit::Stored => {
                self.next_id = self.next_id.max(next);
                Some(stored)
            }
            Commit::Refused | Commit::Contended => None,
        })
    }

    /// The writes that store the item of an entry, and the pointer to it in place of the
    /// present one.
    pub(super) fn replacement(
        &self,
        key: &Key,
        item: Item,
        present: Pointer,
        replaced: bool,
    ) -> Outcome<[TransactWriteItem; 2]> {
        let pointer = pointers::item(key, &item);
        Ok([
            match replaced {
                // Not one that has been deleted meanwhile: its id is not used again.
                true => self
                    .table
                    .put(item, Some("attribute_exists(#id)"), vec![])?,
                false => self
                    .table
                    .put(item, Some("attribute_not_exists(#id)"), vec![])?,
            },
            match present {
                Pointer::Absent => {
                    self.table
                        .put(pointer, Some("attribute_not_exists(#id)"), vec![])?
                }
                Pointer::Damaged => {
                    self.table
                        .put(pointer, Some("attribute_exists(#id)"), vec![])?
                }
                Pointer::Entry(seen) => {
                    let seen = vec![("seen", number(seen))];
                    self.table.put(pointer, Some("#entry_id = :seen"), seen)?
                }
            },
        ])
    }

    /// What keeps every insert from being stored, if it is not other writers.
    pub(super) async fn obstacle(&self) -> Outcome<Option<Fault>> {
        let next = self.table.next_id().await?;
        let taken = self.table.get(&next.to_string(), &["id"]).await?.is_some();
        // An insert moves the counter together with the entry.
        Ok((taken && self.table.next_id().await? == next).then(|| {
            Fault::Corrupt(format!(
                "item 0, attribute next_id is {next}, though there is an item of that id; set it to one above all ids"
            ))
        }))
    }

    /// The version counter's step in a transaction.
    fn moved_version(&self) -> Outcome<TransactWriteItem> {
        self.table.update(
            HEAD,
            "SET #version_counter = #version_counter + :one",
            Some("attribute_exists(#id) AND attribute_not_exists(#import)"),
            vec![("one", number(1))],
            None,
        )
    }

    pub async fn update_access(&mut self, touches: &[Touch]) -> Outcome<()> {
        in_short(self.touch(touches)).await
    }

    async fn touch(&self, touches: &[Touch]) -> Outcome<()> {
        let mut gathered: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for touch in touches {
            let (hits, at) = gathered.entry(touch.id).or_default();
            *hits += u64::from(touch.hits);
            *at = touch.last_accessed_at.max(*at);
        }
        let gathered: Vec<_> = gathered.into_iter().collect();
        let parts = gathered.chunks(MAX_TOUCH).map(|part| {
            let part = touch(self.table.clone(), part.to_vec());
            // One that fails does not break off the others.
            async { Ok(part.await) }
        });
        let outcomes = together(parts).await?;
        let some_stored = outcomes.iter().any(|outcome| matches!(outcome, Ok(true)));
        for outcome in outcomes {
            outcome.map_err(|fault| match some_stored {
                true => fault.in_part(),
                false => fault,
            })?;
        }
        Ok(())
    }

    pub async fn delete_by_id(&mut self, id: u64) -> Outcome<bool> {
        let items = self.table.entries([id], VERSION).await?;
        let deleted = self.delete(items.into_values().collect(), |_| true).await?;
        Ok(!deleted.is_empty())
    }

    pub async fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Outcome<Vec<u64>> {
        let named: BTreeSet<(u64, u64)> = entries
            .iter()
            .map(|entry| (entry.id, entry.created_at))
            .collect();
        let items = self
            .table
            .entries(entries.iter().map(|entry| entry.id), VERSION)
            .await?;
        let unchanged = |item: &Item| {
            let created_at = item.get("created_at").and_then(rows::whole);
            let id = rows::id(item).ok();
            id.zip(created_at)
                .is_some_and(|version| named.contains(&version))
        };
        let mut deleted = BTreeSet::new();
        for item in self
            .delete(items.into_values().collect(), unchanged)
            .await?
        {
            deleted.insert(rows::id(&item)?);
        }
        let ids = entries.iter().map(|entry| entry.id);
        Ok(ids.filter(|id| deleted.remove(id)).collect())
    }

    pub async fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<EntryRef>> {
        let limit = limit as usize;
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.complete_import().await?;
        let visit = Visit {
            attributes: VERSION,
            namespace: namespace.map(escape),
            with_ttl: true,
            ..Visit::default()
        };
        let expired = move |item: &Item| expires(item).is_some_and(|end| end <= now);
        let found = self
            .table
            .scan(visit, move |item| Ok(expired(&item).then_some(item)));
        let mut candidates = Vec::new();
        for item in found.await?.into_iter().flatten() {
            candidates.push((rows::id(&item)?, item));
        }
        candidates.sort_unstable_by_key(|(id, _)| *id);
        let mut candidates = candidates.into_iter().map(|(_, item)| item);
        let mut deleted = Vec::new();
        // Some may be replaced before they are deleted, and others take their places.
        while deleted.len() < limit {
            let part: Vec<Item> = candidates.by_ref().take(limit - deleted.len()).collect();
            if part.is_empty() {
                break;
            }
            for item in self.delete(part, expired).await? {
                deleted.push(rows::reference(&item)?);
            }
        }
        Ok(deleted)
    }

    pub async fn clear_namespace(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let visit = Visit {
            attributes: VERSION,
            namespace: namespace.map(escape),
            ..Visit::default()
        };
        self.complete_import().await?;
        let mut deleted = 0;
        loop {
            let imports = self.imports_completed;
            let items = self.table.scan(visit.clone(), Ok).await?;
            deleted += self.delete(items, |_| true).await?.len() as u64;
            // What became part of the data meanwhile goes as a whole, too.
            if self.imports_completed == imports {
                return Ok(deleted);
            }
        }
    }

    /// Deletes entries, given by their [`VERSION`], in steps of [`MAX_DELETE`], and returns
    /// those that were there. One that has been changed meanwhile is looked at again, and
    /// deleted only if it is still `wanted`.
    async fn delete(
        &mut self,
        items: Vec<Item>,
        wanted: impl Fn(&Item) -> bool,
    ) -> Outcome<Vec<Item>> {
        let mut deleted = Vec::with_capacity(items.len());
        for part in items.chunks(MAX_DELETE as usize) {
            let mut part = part.to_vec();
            let mut attempts = Attempts::new(self.table.patience);
            loop {
                part.retain(|item| wanted(item));
                if part.is_empty() {
                    break;
                }
                let changes = self.deletions(self.moved_version()?, &part)?;
                if self.table.commit(changes).await? == Commit::Stored {
                    self.table.unmark(Marks::of(&part)).await;
                    deleted.append(&mut part);
                    break;
                }
                match self.complete_import().await? {
                    true => attempts = Attempts::new(self.table.patience),
                    false => attempts.again(CONTENDED).await?,
                }
                let ids = part.iter().filter_map(|item| rows::id(item).ok());
                part = self
                    .table
                    .entries(ids, VERSION)
                    .await?
                    .into_values()
                    .collect();
            }
        }
        Ok(deleted)
    }

    /// The removal of entries as they were seen and of their pointers, with a change of
    /// item 0.
    pub(super) fn deletions(
        &self,
        head: TransactWriteItem,
        items: &[Item],
    ) -> Outcome<Vec<TransactWriteItem>> {
        let mut changes = vec![head];
        let mut pointers = BTreeSet::new();
        for item in items {
            let mut condition = "attribute_exists(#id)".to_owned();
            let mut values = Vec::new();
            for name in ["created_at", "ttl"] {
                match item.get(name) {
                    Some(seen) => {
                        condition.push_str(&format!(" AND #{name} = :{name}"));
                        values.push((name, seen.clone()));
                    }
                    None => condition.push_str(&format!(" AND attribute_not_exists(#{name})")),
                }
            }
            let id = rows::id(item)?.to_string();
            changes.push(self.table.delete(&id, Some(&condition), values)?);
            pointers.extend(Key::of(item).as_ref().map(pointers::id));
        }
        for pointer in pointers {
            changes.push(self.table.delete(&pointer, None, vec![])?);
        }
        Ok(changes)
    }
}

/// Touches entries in one atomic step. False where none of them exists.
async fn touch(table: Table, touches: Vec<(u64, (u64, u64))>) -> Outcome<bool> {
    let mut attempts = Attempts::new(table.patience);
    loop {
        let ids = touches.iter().map(|(id, _)| *id);
        let items = table.entries(ids, TOUCHED).await?;
        let changes = touched(&table, &touches, &items)?;
        if changes.is_empty() {
            return Ok(false);
        }
        if table.commit(changes).await? == Commit::Stored {
            return Ok(true);
        }
        attempts.again(CONTENDED).await?;
    }
}

/// The changes by which entries that exist are touched. They and their pointers get a
/// new stamp, as the index lags behind with touches too.
fn touched(
    table: &Table,
    touches: &[(u64, (u64, u64))],
    items: &BTreeMap<u64, Item>,
) -> Outcome<Vec<TransactWriteItem>> {
    let mut changes = Vec::new();
    let mut pointed = BTreeSet::new();
    for (id, (hits, at)) in touches {
        let Some(item) = items.get(id) else {
            continue;
        };
        let stamp = pointers::stamp();
        let mut condition = "attribute_exists(#id)".to_owned();
        let mut values = Vec::new();
        let mut seen = |name: &'static str, value: &'static str| {
            let present = item.get(name);
            match present {
                Some(present) => {
                    condition.push_str(&format!(" AND #{name} = :{value}"));
                    values.push((value, present.clone()));
                }
                None => condition.push_str(&format!(" AND attribute_not_exists(#{name})")),
            }
            present.and_then(rows::whole).unwrap_or(0)
        };
        let count = seen("access_count", "seen_count").saturating_add(*hits);
        let count = count.min(GREATEST);
        let at = seen("last_accessed_at", "seen_at").max(*at);
        values.extend([
            ("count", number(count)),
            ("at", number(at)),
            ("stamp", stamp.clone()),
        ]);
        changes.push(table.update(
            &id.to_string(),
            "SET #access_count = :count, #last_accessed_at = :at, #stamp = :stamp",
            Some(&condition),
            values,
            None,
        )?);
        if let Some(pointer) = Key::of(item).as_ref().map(pointers::id)
            && pointed.insert(pointer.clone())
        {
            changes.push(table.update(
                &pointer,
                "SET #entry_id = :entry, #stamp = :stamp",
                None,
                vec![("entry", number(*id)), ("stamp", stamp)],
                None,
            )?);
        }
    }
    Ok(changes)
}

/// When an entry expires, if it does.
fn expires(item: &Item) -> Option<u64> {
    let ttl = item.get("ttl").and_then(rows::whole)?;
    let created_at = item.get("created_at").and_then(rows::whole)?;
    created_at.checked_add(ttl)
}

/// Refuses an entry that no item holds.
pub(super) fn check_size(place: usize, key: &Key, entry: &Entry) -> Outcome<()> {
    let named = || {
        format!(
            "entry {place} of the list (query hash {})",
            entry.query_hash
        )
    };
    if !key.fits() {
        return Err(Fault::invalid(format!(
            "{}: its namespace has {} bytes and its hash {}, and DynamoDB holds at most 2048 and 1024; give a shorter namespace",
            named(),
            key.namespace.len(),
            key.query_hash.len()
        )));
    }
    let item = rows::item(u64::MAX, key, entry, &pointers::stamp());
    let size = rows::size(&item);
    if size > limits::MAX_ITEM_BYTES {
        return Err(Fault::invalid(format!(
            "{}: it takes {size} bytes, and an item of DynamoDB holds at most {}; store a shorter response",
            named(),
            limits::MAX_ITEM_BYTES
        )));
    }
    Ok(())
}
