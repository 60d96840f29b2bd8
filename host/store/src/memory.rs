//! A store in the memory of the process.

mod import;

use std::collections::{BTreeMap, BTreeSet};

use self::import::Import;
use super::checks::{self, Embedder};
use super::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Result, StampPage,
    Store, StoreError, Touch, VectorPage,
};

const MAX_BATCH: u32 = 1000;

/// 4 MiB.
const MAX_BLOB: u32 = 4 << 20;

/// A store in the memory of the process: the fastest store, lost when its value is dropped.
///
/// [`close`](Store::close) followed by [`open`](Store::open) on the same value
/// finds the entries, their ids and the recorded embedder again. The store shares nothing
/// with other stores or processes, so every view is of one instant. It has no snapshots. One
/// `insert` or `write_import` takes at most 1000 entries, and an import stays in memory until
/// it is committed. A blob has at most 4 MiB.
#[derive(Debug, Default)]
pub struct MemoryStore {
    open: bool,
    embedder: Option<Embedder>,
    entries: BTreeMap<u64, Entry>,
    namespaces: BTreeMap<String, Namespace>,
    last_id: u64,
    version: u64,
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

impl MemoryStore {
    /// An empty, closed store.
    pub fn new() -> Self {
        Self::default()
    }

    fn opened(&self) -> Result<&Embedder> {
        match &self.embedder {
            Some(embedder) if self.open => Ok(embedder),
            _ => Err(StoreError::Closed),
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
                }
            }
            None => {
                self.last_id = id;
                space.ids.insert(entry.query_hash.clone(), id);
            }
        }
        space.lru.insert((entry.last_accessed_at, id));
        self.entries.insert(id, entry);
        Inserted {
            id,
            replaced: present.is_some(),
        }
    }

    fn take(&mut self, id: u64) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(space) = self.namespaces.get_mut(&entry.namespace) {
            space.ids.remove(&entry.query_hash);
            space.lru.remove(&(entry.last_accessed_at, id));
            if space.ids.is_empty() {
                self.namespaces.remove(&entry.namespace);
            }
        }
        Some(entry)
    }

    fn page(&self, last_id: u64, limit: u32) -> impl Iterator<Item = &Entry> {
        let first = last_id.checked_add(1);
        first
            .map(|first| self.entries.range(first..))
            .into_iter()
            .flatten()
            .map(|(_, entry)| entry)
            .take(limit as usize)
    }
}

fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}

fn expired(entry: &Entry, now: u64) -> bool {
    entry
        .ttl
        .and_then(|ttl| entry.created_at.checked_add(ttl))
        .is_some_and(|end| end <= now)
}

impl Store for MemoryStore {
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "memory".to_owned(),
            durable: false,
            shared: false,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: u32::MAX,
            max_blob: MAX_BLOB,
        }
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        Ok(self.embedder.clone())
    }

    fn open(&mut self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        self.close()?;
        let given = Embedder::given(embedder_fingerprint, embedder_dim)?;
        match &self.embedder {
            Some(stored) => stored.accept(&given)?,
            None => self.embedder = Some(given),
        }
        self.open = true;
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.open = false;
        self.import = None;
        Ok(())
    }

    fn get_by_hash(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        self.opened()?;
        let find = |key: &EntryKey| {
            let id = self
                .namespaces
                .get(&key.namespace)?
                .ids
                .get(&key.query_hash)?;
            self.entries.get(id).cloned()
        };
        Ok(keys.iter().map(find).collect())
    }

    fn get_by_ids(&mut self, ids: &[u64]) -> Result<Vec<Entry>> {
        self.opened()?;
        Ok(ids
            .iter()
            .filter_map(|id| self.entries.get(id).cloned())
            .collect())
    }

    fn count(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.opened()?;
        Ok(match namespace {
            Some(name) => self.namespaces.get(name).map_or(0, |space| space.ids.len()),
            None => self.entries.len(),
        } as u64)
    }

    fn list_namespaces(&mut self) -> Result<Vec<String>> {
        self.opened()?;
        Ok(self.namespaces.keys().cloned().collect())
    }

    fn count_by_namespace(&mut self) -> Result<Vec<(String, u64)>> {
        self.opened()?;
        let counts = self.namespaces.iter();
        Ok(counts
            .map(|(name, space)| (name.clone(), space.ids.len() as u64))
            .collect())
    }

    fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        self.opened()?;
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

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        self.opened()?;
        Ok(self.page(last_id, limit).cloned().collect())
    }

    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage> {
        let dim = self.opened()?.dim as usize;
        let rows = self.entries.len().min(limit as usize);
        let mut page = VectorPage {
            ids: Vec::with_capacity(rows),
            namespaces: Vec::with_capacity(rows),
            created_at: Vec::with_capacity(rows),
            vectors: Vec::with_capacity(rows.saturating_mul(dim)),
        };
        for entry in self.page(last_id, limit) {
            page.ids.push(entry.id);
            page.namespaces.push(entry.namespace.clone());
            page.created_at.push(entry.created_at);
            page.vectors.extend_from_slice(&entry.embedding);
        }
        Ok(page)
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage> {
        self.opened()?;
        let (ids, created_at) = self
            .page(last_id, limit)
            .map(|entry| (entry.id, entry.created_at))
            .unzip();
        Ok(StampPage { ids, created_at })
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let dim = self.opened()?.dim;
        checks::batch(&entries, MAX_BATCH, dim)?;
        if !entries.is_empty() {
            self.version += 1;
        }
        Ok(entries.into_iter().map(|entry| self.put(entry)).collect())
    }

    fn update_access(&mut self, touches: &[Touch]) -> Result<()> {
        self.opened()?;
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

    fn delete_by_id(&mut self, id: u64) -> Result<bool> {
        self.opened()?;
        let deleted = self.take(id).is_some();
        self.version += u64::from(deleted);
        Ok(deleted)
    }

    fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        self.opened()?;
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
        self.version += u64::from(!deleted.is_empty());
        Ok(deleted)
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        self.opened()?;
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
        self.version += u64::from(!gone.is_empty());
        Ok(gone)
    }

    fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.opened()?;
        let before = self.entries.len();
        match namespace {
            Some(name) => {
                if let Some(space) = self.namespaces.remove(name) {
                    for id in space.ids.values() {
                        self.entries.remove(id);
                    }
                }
            }
            None => {
                self.entries.clear();
                self.namespaces.clear();
            }
        }
        let deleted = (before - self.entries.len()) as u64;
        self.version += u64::from(deleted > 0);
        Ok(deleted)
    }

    fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.opened()?;
        match max_entries {
            Some(quota) => self.quotas.insert(namespace.to_owned(), quota),
            None => self.quotas.remove(namespace),
        };
        Ok(())
    }

    fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        self.opened()?;
        Ok(self.quotas.get(namespace).copied())
    }

    fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>> {
        self.opened()?;
        Ok(self
            .quotas
            .iter()
            .map(|(name, quota)| (name.clone(), *quota))
            .collect())
    }

    fn read_version_counter(&mut self) -> Result<u64> {
        self.opened()?;
        Ok(self.version)
    }

    fn read_meta(&mut self, key: &str) -> Result<Option<String>> {
        let embedder = self.opened()?;
        Ok(embedder.meta(key).or_else(|| self.meta.get(key).cloned()))
    }

    fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        self.opened()?;
        checks::meta_key(key)?;
        if self.meta.get(key).map(String::as_str) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => drop(self.meta.insert(key.to_owned(), value.to_owned())),
            None => drop(self.meta.remove(key)),
        }
        Ok(true)
    }

    fn list_meta(&mut self) -> Result<Vec<(String, String)>> {
        self.opened()?;
        let values = self.meta.iter();
        Ok(values
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    fn integrity_check(&mut self) -> Result<bool> {
        self.opened()?;
        Ok(true)
    }

    fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        self.opened()?;
        checks::blob_name(name)?;
        Ok(self.blobs.get(name).cloned())
    }

    fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.opened()?;
        checks::blob(name, &bytes, MAX_BLOB)?;
        self.blobs.insert(name.to_owned(), bytes);
        Ok(())
    }

    fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        self.opened()?;
        checks::blob_names(names)?;
        for name in names {
            self.blobs.remove(name);
        }
        Ok(())
    }

    fn list_blobs(&mut self) -> Result<Vec<String>> {
        self.opened()?;
        Ok(self.blobs.keys().cloned().collect())
    }

    fn begin_view(&mut self) -> Result<bool> {
        self.opened()?;
        Ok(true)
    }

    fn end_view(&mut self) -> Result<()> {
        self.opened()?;
        Ok(())
    }

    fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.opened()?;
        self.begin(mode)
    }

    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        let dim = self.opened()?.dim;
        self.stage(entries, dim)
    }

    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        self.opened()?;
        self.commit(quotas, meta)
    }

    fn end_import(&mut self) -> Result<()> {
        self.opened()?;
        self.import = None;
        Ok(())
    }
}
