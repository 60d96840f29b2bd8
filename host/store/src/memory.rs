//! A store in the memory of the process.

mod import;
mod select;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use self::import::Import;
use self::select::Tags;
use super::changes::{ChangeLog, MAX_CHANGES};
use super::checks::Embedder;
use super::opened::{Backend, MAX_BATCH, MAX_BLOB, Opened};
use super::{
    CapabilitySet, ChangePage, Entry, EntryKey, EntryRef, Inserted, Neighbour, Result, StampPage,
    Store, StoreError, Touch, VectorPage, VectorQuery,
};
use crate::{for_each_operation, opened};

/// A store in the memory of the process: the fastest store, lost when its value is dropped.
///
/// [`close`](Store::close) followed by [`open`](Store::open) on the same value
/// finds the entries, their ids and the recorded embedder again. The store shares nothing
/// with other stores or processes, so every view is of one instant. It has no snapshots. One
/// `insert` or `write_import` takes at most 1000 entries, and an import stays in memory until
/// it is committed. A blob has at most 1 MiB. By tag, `select` reads the entries of the tag that the fewest
/// entries have; a call looks at 20,000 at most.
#[derive(Debug, Default)]
pub struct MemoryStore {
    opened: Opened<Memory>,
}

impl MemoryStore {
    /// An empty, closed store.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    for_each_operation!(opened![] views changes nearest entries);
}

/// What stays while the store is closed.
#[derive(Debug, Default)]
struct Memory {
    /// None until it was opened once.
    embedder: Option<Embedder>,
    /// None while it is open, when the session has it.
    closed: Option<Session>,
}

impl Backend for Memory {
    type Session = Session;
    type Fault = StoreError;

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "memory".to_owned(),
            durable: false,
            shared: false,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: u32::MAX,
            max_blob: MAX_BLOB,
            max_changes: MAX_CHANGES,
            nearest: true,
        }
    }

    fn recorded_embedder(&self) -> Result<Option<Embedder>> {
        Ok(self.embedder.clone())
    }

    fn open(&mut self, embedder: Embedder) -> Result<Session> {
        let stored = self.embedder.get_or_insert_with(|| embedder.clone());
        stored.accept(&embedder)?;
        let session = self.closed.take();
        Ok(session.unwrap_or_else(|| Session::new(embedder)))
    }

    fn close(&mut self, mut session: Session) -> Result<()> {
        session.import = None;
        self.closed = Some(session);
        Ok(())
    }

    fn error(&self, error: StoreError, _: &'static str) -> StoreError {
        error
    }
}

/// The data.
#[derive(Debug)]
struct Session {
    embedder: Embedder,
    entries: BTreeMap<u64, Entry>,
    namespaces: BTreeMap<String, Namespace>,
    tags: Tags,
    last_id: u64,
    version: u64,
    changes: ChangeLog,
    meta: BTreeMap<String, String>,
    quotas: BTreeMap<String, u64>,
    blobs: BTreeMap<String, Vec<u8>>,
    import: Option<Import>,
}

/// The look-ups of one namespace. It exists as long as it has entries.
#[derive(Debug, Default)]
struct Namespace {
    ids: BTreeMap<String, u64>,
    /// (last access, id): the order of eviction.
    lru: BTreeSet<(u64, u64)>,
}

impl Session {
    fn new(embedder: Embedder) -> Self {
        Self {
            embedder,
            entries: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            tags: Tags::default(),
            last_id: 0,
            version: 0,
            changes: ChangeLog::default(),
            meta: BTreeMap::new(),
            quotas: BTreeMap::new(),
            blobs: BTreeMap::new(),
            import: None,
        }
    }

    fn put(&mut self, mut entry: Entry) -> Inserted {
        let space = self.namespaces.entry(entry.namespace.clone()).or_default();
        let present = space.ids.get(&entry.query_hash).copied();
        let id = present.unwrap_or(self.last_id + 1);
        entry.id = id;
        match present {
            Some(_) => {
                if let Some(old) = self.entries.get(&id) {
                    space.lru.remove(&(old.last_accessed_at, id));
                    self.tags.remove(old);
                }
            }
            None => {
                self.last_id = id;
                space.ids.insert(entry.query_hash.clone(), id);
            }
        }
        space.lru.insert((entry.last_accessed_at, id));
        self.tags.add(&entry);
        self.entries.insert(id, entry);
        Inserted {
            id,
            replaced: present.is_some(),
        }
    }

    fn take(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.tags.remove(&entry);
        if let Some(space) = self.namespaces.get_mut(&entry.namespace) {
            space.ids.remove(&entry.query_hash);
            space.lru.remove(&(entry.last_accessed_at, id));
            if space.ids.is_empty() {
                self.namespaces.remove(&entry.namespace);
            }
        }
        Some(entry)
    }

    fn clear_entries(&mut self) {
        self.entries.clear();
        self.namespaces.clear();
        self.tags = Tags::default();
    }

    fn page(&self, last_id: u64, limit: u32) -> impl Iterator<Item = &Entry> {
        self.after(last_id).take(limit as usize)
    }

    fn after(&self, last_id: u64) -> impl Iterator<Item = &Entry> {
        let first = last_id.checked_add(1);
        let rows = first.map(|first| self.entries.range(first..));
        rows.into_iter().flatten().map(|(_, entry)| entry)
    }

    /// Moves the version counter on, after writes to these entries.
    fn moved(&mut self, stored: &[u64], deleted: &[u64]) {
        self.version += 1;
        self.changes.append(self.version, stored, deleted);
    }
}

/// An entry as it is read.
fn read(entry: &Entry, vectors: bool) -> Entry {
    match vectors {
        true => entry.clone(),
        false => without_vector(entry),
    }
}

fn without_vector(entry: &Entry) -> Entry {
    let Entry {
        id,
        created_at,
        last_accessed_at,
        ttl,
        access_count,
        ..
    } = *entry;
    Entry {
        id,
        namespace: entry.namespace.clone(),
        context: entry.context.clone(),
        query_hash: entry.query_hash.clone(),
        query: entry.query.clone(),
        response: entry.response.clone(),
        embedding: Vec::new(),
        metadata: entry.metadata.clone(),
        tags: entry.tags.clone(),
        created_at,
        last_accessed_at,
        ttl,
        access_count,
    }
}

fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}

/// The cosine similarity of two unit vectors.
fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn expired(entry: &Entry, now: u64) -> bool {
    entry
        .ttl
        .and_then(|ttl| entry.created_at.checked_add(ttl))
        .is_some_and(|end| end <= now)
}

/// The operations.
impl Session {
    pub fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>> {
        let find = |key: &EntryKey| {
            let id = self
                .namespaces
                .get(&key.namespace)?
                .ids
                .get(&key.query_hash)?;
            self.entries.get(id).map(|entry| read(entry, vectors))
        };
        Ok(keys.iter().map(find).collect())
    }

    pub fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>> {
        let found = ids.iter().filter_map(|id| self.entries.get(id));
        Ok(found.map(|entry| read(entry, vectors)).collect())
    }

    pub fn count(&mut self, namespace: Option<&str>) -> Result<u64> {
        Ok(match namespace {
            Some(name) => self.namespaces.get(name).map_or(0, |space| space.ids.len()),
            None => self.entries.len(),
        } as u64)
    }

    pub fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        let page = self.namespaces_after(after, limit);
        Ok(page.map(|(name, _)| name.clone()).collect())
    }

    pub fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, u64)>> {
        let page = self.namespaces_after(after, limit);
        Ok(page
            .map(|(name, space)| (name.clone(), space.ids.len() as u64))
            .collect())
    }

    fn namespaces_after(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> impl Iterator<Item = (&String, &Namespace)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.namespaces.range::<str, _>((from, Bound::Unbounded));
        after.take(limit as usize)
    }

    pub fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        let n = n as usize;
        let oldest = |space: &Namespace| space.lru.iter().take(n).copied().collect::<Vec<_>>();
        let order = match namespace {
            Some(name) => self.namespaces.get(name).map(oldest).unwrap_or_default(),
            None => {
                let mut all: Vec<_> = self.namespaces.values().flat_map(oldest).collect();
                all.sort_unstable();
                all.truncate(n);
                all
            }
        };
        Ok(order
            .iter()
            .filter_map(|(_, id)| self.entries.get(id).map(reference))
            .collect())
    }

    pub fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        Ok(self.page(last_id, limit).cloned().collect())
    }

    pub fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage> {
        let dim = self.embedder.dim as usize;
        let rows = self.entries.len().min(limit as usize);
        let mut page = VectorPage {
            ids: Vec::with_capacity(rows),
            namespaces: Vec::with_capacity(rows),
            contexts: Vec::with_capacity(rows),
            created_at: Vec::with_capacity(rows),
            vectors: Vec::with_capacity(rows.saturating_mul(dim)),
        };
        for entry in self.page(last_id, limit) {
            page.ids.push(entry.id);
            page.namespaces.push(entry.namespace.clone());
            page.contexts.push(entry.context.clone());
            page.created_at.push(entry.created_at);
            page.vectors.extend_from_slice(&entry.embedding);
        }
        Ok(page)
    }

    pub fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage> {
        let (ids, created_at) = self
            .page(last_id, limit)
            .map(|entry| (entry.id, entry.created_at))
            .unzip();
        Ok(StampPage { ids, created_at })
    }

    pub fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let inserted: Vec<Inserted> = entries.into_iter().map(|entry| self.put(entry)).collect();
        if !inserted.is_empty() {
            let ids: Vec<u64> = inserted.iter().map(|inserted| inserted.id).collect();
            self.moved(&ids, &[]);
        }
        Ok(inserted)
    }

    pub fn update_access(&mut self, touches: &[Touch]) -> Result<()> {
        for touch in touches {
            let Some(entry) = self.entries.get_mut(&touch.id) else {
                continue;
            };
            entry.access_count = entry.access_count.saturating_add(touch.hits.into());
            if touch.last_accessed_at <= entry.last_accessed_at {
                continue;
            }
            if let Some(space) = self.namespaces.get_mut(&entry.namespace) {
                space.lru.remove(&(entry.last_accessed_at, touch.id));
                space.lru.insert((touch.last_accessed_at, touch.id));
            }
            entry.last_accessed_at = touch.last_accessed_at;
        }
        Ok(())
    }

    pub fn delete_by_id(&mut self, id: u64) -> Result<bool> {
        let deleted = self.take(id).is_some();
        if deleted {
            self.moved(&[], &[id]);
        }
        Ok(deleted)
    }

    pub fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let mut deleted = Vec::new();
        for named in entries {
            let unchanged = self
                .entries
                .get(&named.id)
                .is_some_and(|entry| entry.created_at == named.created_at);
            if unchanged && self.take(named.id).is_some() {
                deleted.push(named.id);
            }
        }
        if !deleted.is_empty() {
            self.moved(&[], &deleted);
        }
        Ok(deleted)
    }

    pub fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        let gone: Vec<_> = self
            .entries
            .values()
            .filter(|entry| namespace.is_none_or(|name| name == entry.namespace))
            .filter(|entry| expired(entry, now))
            .take(limit as usize)
            .map(reference)
            .collect();
        for entry in &gone {
            self.take(entry.id);
        }
        if !gone.is_empty() {
            let ids: Vec<u64> = gone.iter().map(|entry| entry.id).collect();
            self.moved(&[], &ids);
        }
        Ok(gone)
    }

    pub fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64> {
        let mut deleted: Vec<u64> = match namespace {
            Some(name) => {
                let space = self.namespaces.remove(name).unwrap_or_default();
                space.ids.into_values().collect()
            }
            None => {
                let all = self.entries.keys().copied().collect();
                self.clear_entries();
                all
            }
        };
        for id in &deleted {
            self.take(*id);
        }
        deleted.sort_unstable();
        if !deleted.is_empty() {
            self.moved(&[], &deleted);
        }
        Ok(deleted.len() as u64)
    }

    pub fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        match max_entries {
            Some(quota) => self.quotas.insert(namespace.to_owned(), quota),
            None => self.quotas.remove(namespace),
        };
        Ok(())
    }

    pub fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        Ok(self.quotas.get(namespace).copied())
    }

    pub fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>> {
        Ok(self
            .quotas
            .iter()
            .map(|(name, quota)| (name.clone(), *quota))
            .collect())
    }

    pub fn read_version_counter(&mut self) -> Result<u64> {
        Ok(self.version)
    }

    pub fn changes_since(&mut self, version: u64, limit: u32) -> Result<Option<ChangePage>> {
        Ok(self.changes.since(version, self.version, limit))
    }

    /// By comparing all.
    pub fn nearest(&mut self, query: &VectorQuery, limit: u32) -> Result<Vec<Neighbour>> {
        let is_sought = |entry: &&Entry| {
            entry.namespace == query.namespace
                && entry.context == query.context
                && query.tags.iter().all(|tag| entry.tags.contains(tag))
                && !query.fresh_at.is_some_and(|now| expired(entry, now))
        };
        let found = self.entries.values().filter(is_sought);
        let mut found: Vec<_> = found
            .map(|entry| Neighbour {
                id: entry.id,
                similarity: product(&entry.embedding, &query.vector),
            })
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        found.truncate(limit as usize);
        Ok(found)
    }

    pub fn read_meta(&mut self, key: &str) -> Result<Option<String>> {
        Ok(self
            .embedder
            .meta(key)
            .or_else(|| self.meta.get(key).cloned()))
    }

    pub fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        if self.meta.get(key).map(String::as_str) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => drop(self.meta.insert(key.to_owned(), value.to_owned())),
            None => drop(self.meta.remove(key)),
        }
        Ok(true)
    }

    pub fn list_meta(&mut self) -> Result<Vec<(String, String)>> {
        let values = self.meta.iter();
        Ok(values
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    pub fn integrity_check(&mut self) -> Result<bool> {
        Ok(true)
    }

    pub fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.blobs.get(name).cloned())
    }

    pub fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.blobs.insert(name.to_owned(), bytes);
        Ok(())
    }

    pub fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        for name in names {
            self.blobs.remove(name);
        }
        Ok(())
    }

    pub fn list_blobs(&mut self) -> Result<Vec<String>> {
        Ok(self.blobs.keys().cloned().collect())
    }

    pub fn begin_view(&mut self) -> Result<bool> {
        Ok(true)
    }

    pub fn end_view(&mut self) -> Result<()> {
        Ok(())
    }
}
