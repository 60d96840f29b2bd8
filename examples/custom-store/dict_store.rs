//! A complete store, in the order in which to write one. Read it with `mneme::store::guide`.
//! The comments here name the common mistakes of each part.

use mneme::store::checks::{self, Embedder};
use mneme::store::{
    CapabilitySet, Entry, EntryKey, EntryRef, Filter, ImportMode, Inserted, MetaChange, Result,
    Selection, StampPage, Store, StoreError, Touch, VectorPage,
};
use std::collections::{BTreeMap, BTreeSet};

/// A store in ordered maps, lost when its value is dropped. A real backend keeps its data.
#[derive(Default)]
pub struct DictStore {
    open: bool,
    /// The embedder that the vectors come from, recorded by the first open.
    embedder: Option<Embedder>,
    rows: BTreeMap<u64, Entry>,
    ids: BTreeMap<(String, String), u64>,
    last_id: u64,
    version: u64,
    quotas: BTreeMap<String, u64>,
    meta: BTreeMap<String, String>,
    /// What the cache has derived from the rows.
    blobs: BTreeMap<String, Vec<u8>>,
    /// The entries of an import, apart from the rows, where no read looks.
    import: Option<Import>,
}

struct Import {
    mode: ImportMode,
    entries: Vec<Entry>,
    keys: BTreeSet<(String, String)>,
}

const MAX_BATCH: u32 = 1000;
/// The cache cuts its blobs into pieces of 1 MiB, or less if the store says so.
const MAX_BLOB: u32 = 1 << 20;

// 1. The constructor takes what is needed to connect, but does not connect.
impl DictStore {
    /// An empty, closed store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every operation begins with this. Mistake: a closed store that still answers.
    fn opened(&self) -> Result<&Embedder> {
        let embedder = self.embedder.as_ref().filter(|_| self.open);
        embedder.ok_or(StoreError::Closed)
    }

    fn key(entry: &Entry) -> (String, String) {
        (entry.namespace.clone(), entry.query_hash.clone())
    }

    /// Rows in the order of their ids, as pages and deletes need them. Mistake: the order of
    /// a hash map or of insertion, or ids as text, where "10" comes before "9".
    fn after(&self, last_id: u64, limit: u32) -> impl Iterator<Item = &Entry> {
        let rows = self.rows.values();
        // Mistake: `id >= last_id`, which returns one row twice.
        rows.filter(move |row| row.id > last_id)
            .take(limit as usize)
    }

    /// Stores an entry. Mistake: giving a new id to a pair that exists, reusing an id after a
    /// delete, or using the id in the entry.
    fn put(&mut self, mut entry: Entry) -> Inserted {
        let id = *self.ids.entry(Self::key(&entry)).or_insert_with(|| {
            self.last_id += 1;
            self.last_id
        });
        entry.id = id;
        let replaced = self.rows.insert(id, entry).is_some();
        Inserted { id, replaced }
    }

    /// Mistake: accepting an import although somebody has written since it began.
    fn accept(&self, mode: ImportMode) -> Result<()> {
        match mode {
            ImportMode::Empty if !self.rows.is_empty() => Err(checks::import_not_empty()),
            _ => Ok(()),
        }
    }

    /// Deletes rows. Mistake: forgetting the counter, moving it once for each row, or moving
    /// it when nothing was deleted.
    fn delete(&mut self, ids: Vec<u64>) -> u64 {
        for id in &ids {
            if let Some(row) = self.rows.remove(id) {
                self.ids.remove(&Self::key(&row));
            }
        }
        self.version += u64::from(!ids.is_empty());
        ids.len() as u64
    }
}

/// Mistake: LIKE or a key prefix, which finds "team" in "team-b" too.
fn is_in(row: &Entry, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| row.namespace == namespace)
}

/// Expired from the second `created_at + ttl` on. Mistake: `<`.
fn is_expired(row: &Entry, now: u64) -> bool {
    let end = row.ttl.map(|ttl| row.created_at.saturating_add(ttl));
    end.is_some_and(|end| end <= now)
}

/// A row as it is read. Mistake: zeros in place of no vector.
fn read(row: &Entry, vectors: bool) -> Entry {
    let mut row = row.clone();
    if !vectors {
        row.embedding = Vec::new();
    }
    row
}

fn reference(row: &Entry) -> EntryRef {
    EntryRef {
        id: row.id,
        namespace: row.namespace.clone(),
        created_at: row.created_at,
    }
}

impl Store for DictStore {
    // Mistake: claiming too much. Every claim is tested.
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "dict".to_owned(),
            durable: false,
            shared: false,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: u32::MAX,
            max_blob: MAX_BLOB,
            // A log of changes is optional; without it, the index compares stamps.
            max_changes: 0,
            nearest: false,
        }
    }

    // Works on a closed store. Mistake: creating something.
    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        Ok(self.embedder.clone())
    }

    // 2. Open connects, creates what is missing, and compares the embedder. Mistake: leaving
    // out the comparison, and so mixing vectors of two models.
    fn open(&mut self, fingerprint: &str, dim: u32) -> Result<()> {
        self.close()?;
        let given = Embedder::given(fingerprint, dim)?;
        let stored = self.embedder.get_or_insert_with(|| given.clone());
        stored.accept(&given)?;
        self.open = true;
        Ok(())
    }

    // 3. Close releases the connection. A second close is not an error.
    fn close(&mut self) -> Result<()> {
        self.open = false;
        self.import = None;
        Ok(())
    }

    // 4. Reads. Mistake: folding case, trimming or normalising a key; the cache has already
    // done that. As everywhere, a list is one round trip, not one for each item.
    fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>> {
        self.opened()?;
        let find = |key: &EntryKey| {
            let key = (key.namespace.clone(), key.query_hash.clone());
            let row = self.rows.get(self.ids.get(&key)?)?;
            Some(read(row, vectors))
        };
        Ok(keys.iter().map(find).collect())
    }

    fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>> {
        self.opened()?;
        let rows = ids.iter().filter_map(|id| self.rows.get(id));
        Ok(rows.map(|row| read(row, vectors)).collect())
    }

    // Mistake: an entry that carries one of the tags, but not all.
    fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection> {
        self.opened()?;
        let rows = self.after(last_id, u32::MAX);
        let rows = rows.filter(|row| filter.accepts(row));
        let entries: Vec<EntryRef> = rows.take(limit as usize).map(reference).collect();
        // Mistake: none after a full page, although more entries may follow.
        let last = entries.last().map(|last| last.id);
        let next = last.filter(|_| entries.len() == limit as usize);
        Ok(Selection { entries, next })
    }

    fn count(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.opened()?;
        let rows = self.rows.values();
        Ok(rows.filter(|row| is_in(row, namespace)).count() as u64)
    }

    fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        let counts = self.count_by_namespace(after, limit)?;
        Ok(counts.into_iter().map(|(name, _)| name).collect())
    }

    // Mistake: counting a namespace that has no entries left. Mistake: a page in the order of a
    // collation; the order is that of the bytes, also of what comes after `after`.
    fn count_by_namespace(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<(String, u64)>> {
        self.opened()?;
        let mut counts = BTreeMap::new();
        for (name, _) in self.ids.keys() {
            if after.is_none_or(|after| name.as_str() > after) {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
        Ok(counts.into_iter().take(limit as usize).collect())
    }

    // Mistake: rows of the same second in any order. The id decides between them.
    fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        self.opened()?;
        let rows = self.rows.values();
        let mut rows: Vec<&Entry> = rows.filter(|row| is_in(row, namespace)).collect();
        rows.sort_by_key(|row| (row.last_accessed_at, row.id));
        Ok(rows.into_iter().take(n as usize).map(reference).collect())
    }

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        self.opened()?;
        Ok(self.after(last_id, limit).cloned().collect())
    }

    // Mistake: reading whole rows. The index is built from these pages and needs no responses
    // or metadata. Vectors are bytes to a backend, never JSON.
    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage> {
        self.opened()?;
        let page = || self.after(last_id, limit);
        Ok(VectorPage {
            ids: page().map(|row| row.id).collect(),
            namespaces: page().map(|row| row.namespace.clone()).collect(),
            contexts: page().map(|row| row.context.clone()).collect(),
            created_at: page().map(|row| row.created_at).collect(),
            vectors: page().flat_map(|row| row.embedding.clone()).collect(),
        })
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage> {
        self.opened()?;
        let page = || self.after(last_id, limit);
        Ok(StampPage {
            ids: page().map(|row| row.id).collect(),
            created_at: page().map(|row| row.created_at).collect(),
        })
    }

    // 5. Writes: each is one transaction with its counter. Check all, then change all.
    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let dim = self.opened()?.dim;
        // Mistake: finding a bad entry after the good ones before it are stored.
        checks::batch(&entries, MAX_BATCH, dim)?;
        self.version += u64::from(!entries.is_empty());
        Ok(entries.into_iter().map(|entry| self.put(entry)).collect())
    }

    // Mistake: moving the counter, moving the time of an entry back, or failing for an entry
    // that somebody has deleted meanwhile.
    fn update_access(&mut self, touches: &[Touch]) -> Result<()> {
        self.opened()?;
        for touch in touches {
            if let Some(row) = self.rows.get_mut(&touch.id) {
                row.access_count = row.access_count.saturating_add(touch.hits.into());
                row.last_accessed_at = row.last_accessed_at.max(touch.last_accessed_at);
            }
        }
        Ok(())
    }

    fn delete_by_id(&mut self, id: u64) -> Result<bool> {
        self.opened()?;
        let ids = self.rows.contains_key(&id).then_some(id);
        Ok(self.delete(ids.into_iter().collect()) > 0)
    }

    // Mistake: deleting an entry that was just put again.
    fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        self.opened()?;
        let same = |entry: &&EntryRef| {
            let row = self.rows.get(&entry.id);
            row.is_some_and(|row| row.created_at == entry.created_at)
        };
        let mut ids: Vec<u64> = entries.iter().filter(same).map(|entry| entry.id).collect();
        ids.sort_unstable();
        ids.dedup();
        self.delete(ids.clone());
        Ok(ids)
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        self.opened()?;
        let rows = self.rows.values();
        let expired = rows.filter(|row| is_in(row, namespace) && is_expired(row, now));
        let gone: Vec<EntryRef> = expired.take(limit as usize).map(reference).collect();
        self.delete(gone.iter().map(|entry| entry.id).collect());
        Ok(gone)
    }

    // Mistake: deleting the quota along with the entries.
    fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.opened()?;
        let rows = self.rows.values();
        let ids = rows.filter(|row| is_in(row, namespace)).map(|row| row.id);
        let ids = ids.collect();
        Ok(self.delete(ids))
    }

    fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.opened()?;
        // Mistake: treating 0 as none. A quota of 0 lets nothing in.
        match max_entries {
            Some(quota) => drop(self.quotas.insert(namespace.to_owned(), quota)),
            None => drop(self.quotas.remove(namespace)),
        }
        Ok(())
    }

    fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        self.opened()?;
        Ok(self.quotas.get(namespace).copied())
    }

    fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>> {
        self.opened()?;
        let quotas = self.quotas.iter();
        Ok(quotas.map(|(name, quota)| (name.clone(), *quota)).collect())
    }

    fn read_version_counter(&mut self) -> Result<u64> {
        self.opened()?;
        Ok(self.version)
    }

    fn read_meta(&mut self, key: &str) -> Result<Option<String>> {
        let own = self.opened()?.meta(key);
        Ok(own.or_else(|| self.meta.get(key).cloned()))
    }

    // Mistake: comparing in one step and writing in another.
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

    // Mistake: listing the store's own keys too, which nobody can set in another store.
    fn list_meta(&mut self) -> Result<Vec<(String, String)>> {
        self.opened()?;
        let meta = self.meta.iter();
        Ok(meta
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }

    // Mistake: an error for damaged data. The answer is false.
    fn integrity_check(&mut self) -> Result<bool> {
        self.opened()?;
        Ok(self.ids.len() == self.rows.len())
    }

    // 6. Blobs, if the backend has room for some tens of megabytes more. The four operations
    // have defaults, which belong to `max_blob: 0`: the cache then builds its index from the
    // rows each time. Mistake: keeping blobs among the rows or the meta, where counts, clearing
    // and imports touch them; moving the counter.
    fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        self.opened()?;
        checks::blob_name(name)?;
        Ok(self.blobs.get(name).cloned())
    }

    // Mistake: treating an empty blob as none, or bytes as text.
    fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.opened()?;
        checks::blob(name, &bytes, MAX_BLOB)?;
        self.blobs.insert(name.to_owned(), bytes);
        Ok(())
    }

    fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        self.opened()?;
        checks::blob_names(names)?;
        self.blobs.retain(|name, _| !names.contains(name));
        Ok(())
    }

    fn list_blobs(&mut self) -> Result<Vec<String>> {
        self.opened()?;
        Ok(self.blobs.keys().cloned().collect())
    }

    // 7. Views, if the backend can read from one instant. The defaults say that it cannot,
    // which is true for most. Here nobody else writes.
    fn begin_view(&mut self) -> Result<bool> {
        self.opened()?;
        Ok(true)
    }

    fn end_view(&mut self) -> Result<()> {
        self.opened().map(drop)
    }

    // 8. Imports: entries wait where no read finds them. Mistake: storing them at once: a
    // crash then leaves a part of them.
    fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.opened()?;
        self.import = None;
        self.accept(mode)?;
        self.import = Some(Import {
            mode,
            entries: Vec::new(),
            keys: BTreeSet::new(),
        });
        Ok(())
    }

    // Taken out and put back, so that any error ends the import. Mistake: accepting a pair
    // that comes twice, as an insert would.
    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        let dim = self.opened()?.dim;
        let mut import = self.import.take().ok_or_else(checks::import_not_begun)?;
        checks::batch(&entries, MAX_BATCH, dim)?;
        for entry in entries {
            if !import.keys.insert(Self::key(&entry)) {
                return Err(checks::imported_twice(&entry));
            }
            import.entries.push(entry);
        }
        self.import = Some(import);
        Ok(())
    }

    // One transaction. Check all, then change all.
    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        self.opened()?;
        let import = self.import.take().ok_or_else(checks::import_not_begun)?;
        for change in meta {
            checks::meta_key(&change.key)?;
        }
        self.accept(import.mode)?;
        let replace = import.mode == ImportMode::Replace;
        let same = |change: &MetaChange| self.meta.get(&change.key) == change.expected.as_ref();
        if !replace && !meta.iter().all(same) {
            // Mistake: an error, or discarding the import. The cache reads again and retries.
            self.import = Some(import);
            return Ok(false);
        }
        // Mistake: moving the counter once for the deletes and once for the entries.
        let old = if replace { self.rows.len() } else { 0 };
        self.version += u64::from(old + import.entries.len() > 0);
        if replace {
            self.rows.clear();
            self.ids.clear();
            self.quotas.clear();
            self.meta.clear();
        }
        for entry in import.entries {
            self.put(entry);
        }
        self.quotas.extend(quotas.iter().cloned());
        let values = meta.iter().map(|one| (one.key.clone(), one.value.clone()));
        self.meta.extend(values);
        Ok(true)
    }

    fn end_import(&mut self) -> Result<()> {
        self.opened()?;
        self.import = None;
        Ok(())
    }

    // 9. Snapshots, if the backend makes them itself. The nine operations have defaults that
    // answer `unsupported`, which is right for all other backends.
}
