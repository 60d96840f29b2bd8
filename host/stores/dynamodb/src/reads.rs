//! The operations that only look.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;

use super::error::{Fault, Outcome};
use super::layout;
use super::opening;
use super::pointers;
use super::requests::Visit;
use super::rows::{self, Item, Key, escape};
use super::session::Session;
use super::settings;
use mneme_store::checks::GREATEST;
use mneme_store::{Entry, EntryKey, EntryRef, StampPage, VectorPage};

/// What tells the age of an entry.
const AGE: &[&str] = &["id", "namespace", "created_at", "last_accessed_at"];

/// Pages of each of the four parts of the table that an integrity check reads, of 1 MB each.
const CHECKED_PAGES: usize = 16;

/// Entries beyond those wanted that the first look at the oldest reads along, as some may
/// have been touched or deleted meanwhile.
const SPARE: usize = 16;

impl Session {
    pub async fn get_by_hash(
        &mut self,
        keys: &[EntryKey],
        vectors: bool,
    ) -> Outcome<Vec<Option<Entry>>> {
        let asked: Vec<Key> = keys.iter().map(Key::from).collect();
        let unique: BTreeSet<&Key> = asked.iter().filter(|key| key.fits()).collect();
        let unique: Vec<Key> = unique.into_iter().cloned().collect();
        if unique.is_empty() {
            return Ok(vec![None; keys.len()]);
        }
        let (found, _) = pointers::find(&self.table, &unique, attributes(vectors)).await?;
        let mut entries = BTreeMap::new();
        for (key, found) in unique.iter().zip(found) {
            if let Some(item) = found.entry {
                entries.insert(key, self.entry(item, vectors)?);
            }
        }
        Ok(asked.iter().map(|key| entries.get(key).cloned()).collect())
    }

    pub async fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Outcome<Vec<Entry>> {
        let ids_read = ids.iter().copied();
        let items = self.table.entries(ids_read, attributes(vectors)).await?;
        let mut entries = BTreeMap::new();
        for (id, item) in items {
            entries.insert(id, self.entry(item, vectors)?);
        }
        Ok(ids
            .iter()
            .filter_map(|id| entries.get(id).cloned())
            .collect())
    }

    fn entry(&self, item: Item, vectors: bool) -> Outcome<Entry> {
        match vectors {
            true => rows::entry(item, self.embedder.dim),
            false => rows::without_vector(item),
        }
    }

    pub async fn count(&mut self, namespace: Option<&str>) -> Outcome<u64> {
        let visit = Visit {
            namespace: namespace.map(escape),
            ..Visit::default()
        };
        self.table.count(visit).await
    }

    pub async fn list_namespaces(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<String>> {
        let counts = self.count_by_namespace(after, limit).await?;
        Ok(counts.into_iter().map(|(name, _)| name).collect())
    }

    pub async fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Outcome<Vec<(String, u64)>> {
        let visit = Visit {
            attributes: &["id", "namespace"],
            ..Visit::default()
        };
        let each = |item: Item| rows::namespace(&item, rows::id(&item)?);
        let mut counts = BTreeMap::new();
        for name in self.table.scan(visit, each).await? {
            if after.is_none_or(|after| name.as_str() > after) {
                *counts.entry(name).or_default() += 1;
            }
        }
        Ok(counts.into_iter().take(limit as usize).collect())
    }

    pub async fn iter_lru_ids(
        &mut self,
        n: u32,
        namespace: Option<&str>,
    ) -> Outcome<Vec<EntryRef>> {
        let n = n as usize;
        if n == 0 {
            return Ok(Vec::new());
        }
        let namespace = namespace.map(escape);
        if let Some(namespace) = &namespace {
            if !rows::fits(namespace) {
                return Ok(Vec::new());
            }
            if let Some(oldest) = self.oldest_by_index(n, namespace).await? {
                return Ok(oldest);
            }
        }
        let visit = Visit {
            attributes: AGE,
            namespace,
            ..Visit::default()
        };
        let aged = self.table.scan(visit, |item| age(&item)).await?;
        Ok(oldest(aged, n))
    }

    /// The oldest entries of a namespace, by index `gsi_lru`. None where the index knows
    /// fewer than `n`, since it lags behind the table.
    async fn oldest_by_index(&self, n: usize, namespace: &str) -> Outcome<Option<Vec<EntryRef>>> {
        let mut aged = Vec::new();
        let mut start = None;
        loop {
            let limit = (n + SPARE).saturating_sub(aged.len()).clamp(SPARE, 1000);
            let (rows, next) = self.table.aged(namespace, limit, start).await?;
            let mut ids = Vec::with_capacity(rows.len());
            for row in &rows {
                ids.push(rows::id(row)?);
            }
            for item in self.table.entries(ids, AGE).await?.into_values() {
                if Key::is_in(&item, namespace) {
                    aged.push(age(&item)?);
                }
            }
            start = next;
            // An entry that has not come yet is at least as young as the last row.
            let reached = rows
                .last()
                .and_then(|row| rows::whole(row.get("last_accessed_at")?));
            let settled = |aged: &&(u64, EntryRef)| Some(aged.0) < reached;
            if start.is_none() {
                return Ok((aged.len() >= n).then(|| oldest(aged, n)));
            }
            if aged.iter().filter(settled).count() >= n {
                return Ok(Some(oldest(aged, n)));
            }
        }
    }

    pub async fn iter_since(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        let items = self.page(last_id, limit, &[]).await?;
        let dim = self.embedder.dim;
        items
            .into_iter()
            .map(|item| rows::entry(item, dim))
            .collect()
    }

    pub async fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Outcome<VectorPage> {
        const VECTOR: &[&str] = &["id", "namespace", "context", "created_at", "embedding"];
        let dim = self.embedder.dim;
        let items = self.page(last_id, limit, VECTOR).await?;
        let mut page = VectorPage {
            ids: Vec::with_capacity(items.len()),
            namespaces: Vec::with_capacity(items.len()),
            contexts: Vec::with_capacity(items.len()),
            created_at: Vec::with_capacity(items.len()),
            vectors: Vec::with_capacity(items.len() * dim as usize),
        };
        for item in items {
            let id = rows::id(&item)?;
            rows::append_embedding(&mut page.vectors, &item, dim, id)?;
            page.ids.push(id);
            page.namespaces.push(rows::namespace(&item, id)?);
            page.contexts.push(rows::context(&item, id)?);
            page.created_at
                .push(rows::as_number(&item, id, "created_at")?);
        }
        Ok(page)
    }

    pub async fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Outcome<StampPage> {
        let items = self.page(last_id, limit, &["id", "created_at"]).await?;
        let mut page = StampPage {
            ids: Vec::with_capacity(items.len()),
            created_at: Vec::with_capacity(items.len()),
        };
        for item in items {
            let id = rows::id(&item)?;
            page.ids.push(id);
            page.created_at
                .push(rows::as_number(&item, id, "created_at")?);
        }
        Ok(page)
    }

    pub async fn get_namespace_quota(&mut self, namespace: &str) -> Outcome<Option<u64>> {
        match self.table.head_value("quotas", &escape(namespace)).await? {
            Some(value) => quota(namespace, &value).map(Some),
            None => Ok(None),
        }
    }

    pub async fn list_namespace_quotas(&mut self) -> Outcome<Vec<(String, u64)>> {
        let head = self.table.head(&["id", "quotas"]).await?;
        let mut head = head.ok_or_else(layout::headless)?;
        let Some(AttributeValue::M(quotas)) = head.remove("quotas") else {
            return Ok(Vec::new());
        };
        let mut list = Vec::with_capacity(quotas.len());
        for (key, value) in quotas {
            let namespace = rows::unescape(&key);
            let quota = quota(&namespace, &value)?;
            list.push((namespace, quota));
        }
        list.sort_unstable();
        Ok(list)
    }

    pub async fn read_version_counter(&mut self) -> Outcome<u64> {
        let head = self.table.head(&["version_counter"]).await?;
        layout::counter(&head.ok_or_else(layout::headless)?, "version_counter")
    }

    pub async fn read_meta(&mut self, key: &str) -> Outcome<Option<String>> {
        if let Some(own) = self.embedder.meta(key) {
            return Ok(Some(own));
        }
        match self.table.head_value("meta", &escape(key)).await? {
            None => Ok(None),
            Some(AttributeValue::S(value)) => Ok(Some(value)),
            Some(_) => Err(settings::no_text(key)),
        }
    }

    pub async fn integrity_check(&mut self) -> Outcome<bool> {
        match self.check().await {
            Err(fault) if fault.is_damage() => Ok(false),
            outcome => outcome,
        }
    }

    async fn check(&mut self) -> Outcome<bool> {
        let visit = Visit {
            pages: Some(CHECKED_PAGES),
            ..Visit::default()
        };
        let dim = self.embedder.dim;
        let each = move |item: Item| {
            let key = Key::of(&item).as_ref().map(pointers::id);
            rows::entry(item, dim).map(|entry| (entry.id, key))
        };
        let seen = self.table.scan(visit, each).await?;
        // What was stored while it was walking is below that, too.
        let next_id = opening::check(&self.table, &self.embedder).await?;
        let unique: BTreeSet<_> = seen.iter().map(|(_, key)| key).collect();
        Ok(unique.len() == seen.len() && seen.iter().all(|(id, _)| *id < next_id))
    }
}

/// What is read of an entry; all if none are named.
fn attributes(vectors: bool) -> &'static [&'static str] {
    match vectors {
        true => &[],
        false => rows::WITHOUT_VECTOR,
    }
}

/// When an entry was last used, and its reference.
fn age(item: &Item) -> Outcome<(u64, EntryRef)> {
    let reference = rows::reference(item)?;
    let at = rows::as_number(item, reference.id, "last_accessed_at")?;
    Ok((at, reference))
}

/// The `n` oldest.
fn oldest(mut aged: Vec<(u64, EntryRef)>, n: usize) -> Vec<EntryRef> {
    aged.sort_unstable_by_key(|(at, reference)| (*at, reference.id));
    aged.truncate(n);
    aged.into_iter().map(|(_, reference)| reference).collect()
}

fn quota(namespace: &str, value: &AttributeValue) -> Outcome<u64> {
    let number = rows::whole(value);
    number.filter(|number| *number <= GREATEST).ok_or_else(|| {
        Fault::Corrupt(format!(
            "item 0, attribute quotas, key {namespace:?} holds no number from 0 to 2^53 - 1; set the quota again"
        ))
    })
}
