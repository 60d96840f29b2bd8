//! A store in memory.

use crate::error::Result;
use crate::store::Store;
use crate::types::*;
use crate::vector::cosine;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A store in memory that can be told to fail. Clones share their data, like two processes.
#[derive(Clone, Default)]
pub struct TestStore {
    data: Rc<RefCell<Data>>,
    /// Calls made, and the number of the one that is to fail.
    calls: Rc<Cell<u64>>,
    failing: Rc<Cell<Option<u64>>>,
    /// Rows that pages have held.
    rows: Rc<Cell<u64>>,
    /// Whether writes fail, and how many have.
    refusing: Rc<Cell<bool>>,
    refused: Rc<Cell<u64>>,
    /// The entry that every key leads to, if its index is damaged.
    misled_to: Rc<Cell<Option<u64>>>,
    /// Whether it claims to make snapshots.
    pub snapshots: Rc<Cell<bool>>,
    /// Whether it keeps a log of changes.
    pub keeps_log: Rc<Cell<bool>>,
    /// If it searches vectors: what it does to what it has found.
    pub nearest: Rc<Cell<Option<Misfind>>>,
    /// Whether it has no views.
    pub viewless: Rc<Cell<bool>>,
    /// Whether every page begins with the first row, as in a damaged file.
    pub starts_over: Rc<Cell<bool>>,
}

/// Changes what `nearest` has found.
type Misfind = fn(&mut Vec<Neighbour>);

#[derive(Clone, Default)]
struct Data {
    entries: BTreeMap<u64, Entry>,
    last_id: u64,
    version: u64,
    log: Vec<Change>,
    quotas: BTreeMap<String, u64>,
    /// A namespace whose quota is damaged.
    damaged: Option<String>,
    meta: BTreeMap<String, String>,
    blobs: BTreeMap<String, Vec<u8>>,
    fingerprint: Option<String>,
    dim: u32,
    import: Option<Import>,
    snapshot: Option<Vec<u8>>,
    restore: Option<Vec<u8>>,
}

thread_local! {
    /// What the snapshots of this test hold.
    static SNAPSHOTS: RefCell<Vec<Data>> = const { RefCell::new(Vec::new()) };
}

/// The bytes of a snapshot: its number, padded to 3,000 bytes.
struct Snapshot;

impl Snapshot {
    fn of(data: &Data) -> Vec<u8> {
        SNAPSHOTS.with_borrow_mut(|snapshots| {
            snapshots.push(data.clone());
            format!("{:3000}", snapshots.len() - 1).into_bytes()
        })
    }

    fn decode(bytes: &[u8]) -> Option<Data> {
        let number: usize = str::from_utf8(bytes).ok()?.trim().parse().ok()?;
        (bytes.len() == 3000).then_some(())?;
        SNAPSHOTS.with_borrow(|snapshots| snapshots.get(number).cloned())
    }
}

#[derive(Clone)]
struct Import {
    mode: ImportMode,
    entries: Vec<Entry>,
}

impl Data {
    fn restored(&self) -> Result<Data> {
        let bytes = self.restore.as_ref().ok_or_else(nothing_begun)?;
        Snapshot::decode(bytes).ok_or_else(|| Error::Corrupt("no snapshot of a test store".into()))
    }

    fn put(&mut self, entry: &Entry) -> Inserted {
        let old = self
            .entries
            .values()
            .find(|e| same_key(e, entry))
            .map(|e| e.id);
        let id = old.unwrap_or(self.last_id + 1);
        self.last_id = self.last_id.max(id);
        self.entries.insert(
            id,
            Entry {
                id,
                ..entry.clone()
            },
        );
        Inserted {
            id,
            replaced: old.is_some(),
        }
    }

    /// Moves the version counter on, after writes to these entries.
    fn moved(&mut self, stored: impl IntoIterator<Item = u64>, deleted: &[u64]) {
        self.version += 1;
        let version = self.version;
        let mut ids: BTreeMap<u64, bool> = stored.into_iter().map(|id| (id, false)).collect();
        ids.extend(deleted.iter().map(|&id| (id, true)));
        let changes = ids.into_iter().map(|(id, deleted)| Change {
            version,
            id,
            deleted,
        });
        self.log.extend(changes);
    }

    fn check_empty(&self, mode: ImportMode) -> Result<()> {
        if mode == ImportMode::Empty && !self.entries.is_empty() {
            return Err(Error::Checkpoint("the store is not empty".into()));
        }
        Ok(())
    }
}

fn same_key(a: &Entry, b: &Entry) -> bool {
    a.namespace == b.namespace && a.query_hash == b.query_hash
}

fn damaged_quota() -> Error {
    Error::Corrupt("a quota is damaged; set it again".into())
}

fn nothing_begun() -> Error {
    Error::InvalidArgument("nothing was begun".into())
}

impl TestStore {
    pub fn opened(dim: u32) -> Self {
        let store = TestStore::default();
        store.open("f", dim).unwrap();
        store
    }

    /// Makes the `n`-th call from now fail, counted from 1.
    pub fn fail_at(&self, n: u64) {
        self.failing.set(Some(self.calls.get() + n));
    }

    pub fn fail_never(&self) {
        self.failing.set(None);
    }

    /// Whether the call that was to fail has come.
    pub fn has_failed(&self) -> bool {
        self.failing.get().is_some_and(|at| self.calls.get() >= at)
    }

    /// Makes all writes fail, as those of a locked or read-only store do.
    pub fn refuse_writes(&self, refuse: bool) {
        self.refusing.set(refuse);
    }

    /// How many writes have failed so.
    pub fn refused_writes(&self) -> u64 {
        self.refused.get()
    }

    /// Damages a quota until it is set again.
    pub fn damage_quota(&self, namespace: &str) {
        self.data.borrow_mut().damaged = Some(namespace.into());
    }

    /// Loses everything, as a server without persistence does that starts again.
    pub fn lose_data(&self) {
        *self.data.borrow_mut() = Data::default();
    }

    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// How many rows pages have held.
    pub fn rows_read(&self) -> u64 {
        self.rows.get()
    }

    /// Stores an entry unchanged, even one that a cache would refuse.
    pub fn plant(&self, entry: Entry) {
        let mut data = self.data.borrow_mut();
        data.last_id = data.last_id.max(entry.id);
        data.entries.insert(entry.id, entry);
    }

    /// From now on every key leads to this entry.
    pub fn mislead(&self, id: u64) {
        self.misled_to.set(Some(id));
    }

    /// Everything that the cache keeps there.
    pub fn content(
        &self,
    ) -> (
        Vec<Entry>,
        BTreeMap<String, u64>,
        BTreeMap<String, String>,
        u64,
    ) {
        let data = self.data.borrow();
        let entries = data.entries.values().cloned().collect();
        (
            entries,
            data.quotas.clone(),
            data.meta.clone(),
            data.version,
        )
    }

    /// Whether an import, a restore or a snapshot has been left behind.
    pub fn has_leftovers(&self) -> bool {
        let data = self.data.borrow();
        data.import.is_some() || data.restore.is_some() || data.snapshot.is_some()
    }

    /// The log of changes, to look at and to damage.
    pub fn log(&self) -> std::cell::RefMut<'_, Vec<Change>> {
        std::cell::RefMut::map(self.data.borrow_mut(), |data| &mut data.log)
    }

    /// Moves the version counter without writing to the log, as mneme-cache does.
    pub fn move_silently(&self) {
        self.data.borrow_mut().version += 1;
    }

    /// The blobs, by name, to look at and to damage.
    pub fn blobs(&self) -> std::cell::RefMut<'_, BTreeMap<String, Vec<u8>>> {
        std::cell::RefMut::map(self.data.borrow_mut(), |data| &mut data.blobs)
    }

    /// All entries, by id.
    pub fn entries(&self) -> Vec<Entry> {
        self.data.borrow().entries.values().cloned().collect()
    }

    /// The id that a page begins after.
    fn after(&self, last_id: u64) -> u64 {
        if self.starts_over.get() { 0 } else { last_id }
    }

    /// The first rows of a page.
    fn page<T>(&self, rows: impl Iterator<Item = T>, limit: u32) -> impl Iterator<Item = T> {
        rows.take(limit as usize)
            .inspect(|_| self.rows.set(self.rows.get() + 1))
    }

    fn call(&self) -> Result<std::cell::RefMut<'_, Data>> {
        self.calls.set(self.calls.get() + 1);
        if self.failing.get() == Some(self.calls.get()) {
            return Err(Error::Backend(BackendError {
                message: "the test store was told to fail".into(),
                retryable: true,
            }));
        }
        Ok(self.data.borrow_mut())
    }
}

impl TestStore {
    fn write(&self) -> Result<std::cell::RefMut<'_, Data>> {
        if self.refusing.get() {
            self.refused.set(self.refused.get() + 1);
            return Err(Error::Backend(BackendError {
                message: "the test store takes no writes".into(),
                retryable: true,
            }));
        }
        self.call()
    }
}

impl Store for TestStore {
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "test".into(),
            durable: false,
            shared: true,
            snapshot: self.snapshots.get(),
            max_batch: 3,
            max_delete: u32::MAX,
            max_blob: 65_536,
            max_changes: if self.keeps_log.get() { 65_536 } else { 0 },
            nearest: self.nearest.get().is_some(),
        }
    }

    fn open(&self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        let mut data = self.call()?;
        data.dim = embedder_dim;
        data.fingerprint = Some(embedder_fingerprint.into());
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.call().map(drop)
    }

    fn get_by_hash(&self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>> {
        let data = self.call()?;
        let find = |key: &EntryKey| {
            if let Some(id) = self.misled_to.get() {
                return data.entries.get(&id).map(|entry| read(entry, vectors));
            }
            let same = |e: &&Entry| e.namespace == key.namespace && e.query_hash == key.query_hash;
            let found = data.entries.values().find(same);
            found.map(|entry| read(entry, vectors))
        };
        Ok(keys.iter().map(find).collect())
    }

    fn get_by_ids(&self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>> {
        let data = self.call()?;
        let found = ids.iter().filter_map(|id| data.entries.get(id));
        Ok(found.map(|entry| read(entry, vectors)).collect())
    }

    fn select(&self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection> {
        let data = self.call()?;
        let found = data.entries.range(last_id + 1..).map(|(_, entry)| entry);
        let found = found.filter(|entry| meets(entry, filter));
        let entries: Vec<EntryRef> = self.page(found, limit).map(reference).collect();
        let full = entries.len() >= limit as usize;
        Ok(Selection {
            next: entries.last().map(|last| last.id).filter(|_| full),
            entries,
        })
    }

    fn count(&self, namespace: Option<&str>) -> Result<u64> {
        let data = self.call()?;
        Ok(data
            .entries
            .values()
            .filter(|e| is_in(namespace, e))
            .count() as u64)
    }

    fn list_namespaces(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        let counts = self.count_by_namespace(after, limit)?;
        Ok(counts.into_iter().map(|(name, _)| name).collect())
    }

    fn count_by_namespace(&self, after: Option<&str>, limit: u32) -> Result<Vec<(String, u64)>> {
        let mut counts = BTreeMap::new();
        for entry in self.call()?.entries.values() {
            let name = &entry.namespace;
            if after.is_none_or(|after| name.as_str() > after) {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
        Ok(self.page(counts.into_iter(), limit).collect())
    }

    fn iter_lru_ids(&self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        let data = self.call()?;
        let mut entries: Vec<_> = data
            .entries
            .values()
            .filter(|e| is_in(namespace, e))
            .collect();
        entries.sort_by_key(|e| (e.last_accessed_at, e.id));
        Ok(self.page(entries.into_iter(), n).map(reference).collect())
    }

    fn iter_vectors(&self, last_id: u64, limit: u32) -> Result<VectorPage> {
        let data = self.call()?;
        let mut page = VectorPage {
            ids: Vec::new(),
            namespaces: Vec::new(),
            contexts: Vec::new(),
            created_at: Vec::new(),
            vectors: Vec::new(),
        };
        for (_, entry) in self.page(data.entries.range(self.after(last_id) + 1..), limit) {
            page.ids.push(entry.id);
            page.namespaces.push(entry.namespace.clone());
            page.contexts.push(entry.context.clone());
            page.created_at.push(entry.created_at);
            page.vectors.extend(&entry.embedding);
        }
        Ok(page)
    }

    fn iter_stamps(&self, last_id: u64, limit: u32) -> Result<StampPage> {
        let data = self.call()?;
        let (ids, created_at) = self
            .page(data.entries.range(self.after(last_id) + 1..), limit)
            .map(|(&id, e)| (id, e.created_at))
            .unzip();
        Ok(StampPage { ids, created_at })
    }

    fn insert(&self, entries: &[Entry]) -> Result<Vec<Inserted>> {
        assert!(entries.len() <= 3, "more than max-batch");
        let mut data = self.write()?;
        let mut inserted = Vec::new();
        for entry in entries {
            assert_eq!(entry.embedding.len(), data.dim as usize);
            inserted.push(data.put(entry));
        }
        data.moved(inserted.iter().map(|one| one.id), &[]);
        Ok(inserted)
    }

    fn update_access(&self, touches: &[Touch]) -> Result<()> {
        let mut data = self.write()?;
        for touch in touches {
            if let Some(entry) = data.entries.get_mut(&touch.id) {
                entry.access_count += u64::from(touch.hits);
                entry.last_accessed_at = entry.last_accessed_at.max(touch.last_accessed_at);
            }
        }
        Ok(())
    }

    fn delete_by_id(&self, id: u64) -> Result<bool> {
        let mut data = self.write()?;
        let was_there = data.entries.remove(&id).is_some();
        if was_there {
            data.moved([], &[id]);
        }
        Ok(was_there)
    }

    fn delete_unchanged(&self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let mut data = self.write()?;
        let mut deleted = Vec::new();
        for entry in entries {
            if data
                .entries
                .get(&entry.id)
                .is_some_and(|e| e.created_at == entry.created_at)
            {
                data.entries.remove(&entry.id);
                deleted.push(entry.id);
            }
        }
        if !deleted.is_empty() {
            data.moved([], &deleted);
        }
        Ok(deleted)
    }

    fn delete_expired(
        &self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        let mut data = self.write()?;
        let expired: Vec<EntryRef> = data
            .entries
            .values()
            .filter(|e| is_in(namespace, e) && e.ttl.is_some_and(|ttl| e.created_at + ttl <= now))
            .take(limit as usize)
            .map(reference)
            .collect();
        for entry in &expired {
            data.entries.remove(&entry.id);
        }
        if !expired.is_empty() {
            let ids: Vec<u64> = expired.iter().map(|entry| entry.id).collect();
            data.moved([], &ids);
        }
        Ok(expired)
    }

    fn clear_namespace(&self, namespace: Option<&str>) -> Result<u64> {
        let mut data = self.write()?;
        let (gone, kept) = std::mem::take(&mut data.entries)
            .into_iter()
            .partition(|(_, e)| is_in(namespace, e));
        data.entries = kept;
        let gone: BTreeMap<u64, Entry> = gone;
        let ids: Vec<u64> = gone.into_keys().collect();
        if !ids.is_empty() {
            data.moved([], &ids);
        }
        Ok(ids.len() as u64)
    }

    fn set_namespace_quota(&self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        let mut data = self.write()?;
        data.damaged.take_if(|damaged| damaged == namespace);
        match max_entries {
            Some(quota) => drop(data.quotas.insert(namespace.into(), quota)),
            None => drop(data.quotas.remove(namespace)),
        }
        Ok(())
    }

    fn get_namespace_quota(&self, namespace: &str) -> Result<Option<u64>> {
        let data = self.call()?;
        match data.damaged.as_deref() == Some(namespace) {
            true => Err(damaged_quota()),
            false => Ok(data.quotas.get(namespace).copied()),
        }
    }

    fn list_namespace_quotas(&self) -> Result<Vec<(String, u64)>> {
        let data = self.call()?;
        match data.damaged {
            Some(_) => Err(damaged_quota()),
            None => Ok(data.quotas.iter().map(|(n, &q)| (n.clone(), q)).collect()),
        }
    }

    fn read_version_counter(&self) -> Result<u64> {
        Ok(self.call()?.version)
    }

    fn changes_since(&self, version: u64, limit: u32) -> Result<Option<ChangePage>> {
        let data = self.call()?;
        if !self.keeps_log.get() {
            return Err(Error::Unsupported("the test store keeps no log".into()));
        }
        let after = data.log.iter().filter(|change| change.version > version);
        let mut changes: Vec<Change> = after.copied().collect();
        if changes.is_empty() {
            let page = ChangePage { changes, version };
            return Ok((version == data.version).then_some(page));
        }
        // Whole versions.
        let last = changes[changes.len().min(limit as usize) - 1].version;
        changes.retain(|change| change.version <= last);
        Ok(Some(ChangePage {
            changes,
            version: last,
        }))
    }

    fn nearest(&self, query: &VectorQuery, limit: u32) -> Result<Vec<Neighbour>> {
        assert!((1..=1024).contains(&limit), "limit {limit}");
        let data = self.call()?;
        let is_sought = |entry: &&Entry| {
            let is_expired = |now| entry.ttl.is_some_and(|ttl| entry.created_at + ttl <= now);
            entry.namespace == query.namespace
                && entry.context == query.context
                && query.tags.iter().all(|tag| entry.tags.contains(tag))
                && !query.fresh_at.is_some_and(is_expired)
        };
        let mut found: Vec<Neighbour> = data
            .entries
            .values()
            .filter(is_sought)
            .map(|entry| Neighbour {
                id: entry.id,
                similarity: cosine(&entry.embedding, &query.vector),
            })
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
        found.truncate(limit as usize);
        self.nearest.get().unwrap()(&mut found);
        Ok(found)
    }

    fn read_meta(&self, key: &str) -> Result<Option<String>> {
        let data = self.call()?;
        Ok(match key {
            "embedder_fingerprint" => data.fingerprint.clone(),
            _ => data.meta.get(key).cloned(),
        })
    }

    fn replace_meta(&self, key: &str, expected: Option<&str>, value: Option<&str>) -> Result<bool> {
        let mut data = self.write()?;
        if data.meta.get(key).map(String::as_str) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => drop(data.meta.insert(key.into(), value.into())),
            None => drop(data.meta.remove(key)),
        }
        Ok(true)
    }

    fn iter_since(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let data = self.call()?;
        let rows = self.page(data.entries.range(self.after(last_id) + 1..), limit);
        Ok(rows.map(|(_, e)| e.clone()).collect())
    }

    fn list_meta(&self) -> Result<Vec<(String, String)>> {
        let data = self.call()?;
        Ok(data.meta.clone().into_iter().collect())
    }

    fn integrity_check(&self) -> Result<bool> {
        self.call().map(|_| true)
    }

    fn begin_view(&self) -> Result<bool> {
        self.call().map(|_| !self.viewless.get())
    }

    fn end_view(&self) -> Result<()> {
        self.call().map(drop)
    }

    fn begin_import(&self, mode: ImportMode) -> Result<()> {
        let mut data = self.write()?;
        data.import = None;
        data.check_empty(mode)?;
        data.import = Some(Import {
            mode,
            entries: Vec::new(),
        });
        Ok(())
    }

    fn write_import(&self, entries: &[Entry]) -> Result<()> {
        assert!(entries.len() <= 3, "more than max-batch");
        let mut data = self.write()?;
        let dim = data.dim as usize;
        let import = data.import.as_mut().ok_or_else(nothing_begun)?;
        for entry in entries {
            assert_eq!(entry.embedding.len(), dim);
            if import.entries.iter().any(|e| same_key(e, entry)) {
                data.import = None;
                return Err(Error::Checkpoint("a key comes twice".into()));
            }
            import.entries.push(entry.clone());
        }
        Ok(())
    }

    fn commit_import(&self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        let mut data = self.write()?;
        let import = data.import.take().ok_or_else(nothing_begun)?;
        data.check_empty(import.mode)?;
        if import.mode == ImportMode::Replace {
            data.entries.clear();
            data.quotas.clear();
            data.meta.clear();
        } else if meta
            .iter()
            .any(|m| data.meta.get(&m.key) != m.expected.as_ref())
        {
            data.import = Some(import);
            return Ok(false);
        }
        data.version += 1;
        data.log.clear();
        for entry in &import.entries {
            data.put(entry);
        }
        data.quotas.extend(quotas.iter().cloned());
        data.meta
            .extend(meta.iter().map(|m| (m.key.clone(), m.value.clone())));
        Ok(true)
    }

    fn end_import(&self) -> Result<()> {
        self.call()?.import = None;
        Ok(())
    }

    fn begin_snapshot(&self) -> Result<u64> {
        let mut data = self.call()?;
        let bytes = Snapshot::of(&data);
        let size = bytes.len() as u64;
        data.snapshot = Some(bytes);
        Ok(size)
    }

    fn read_snapshot(&self, max: u32) -> Result<Vec<u8>> {
        let mut data = self.call()?;
        let rest = data.snapshot.as_mut().ok_or_else(nothing_begun)?;
        let after = rest.split_off(rest.len().min(max as usize).min(999));
        Ok(std::mem::replace(rest, after))
    }

    fn end_snapshot(&self) -> Result<()> {
        self.call()?.snapshot = None;
        Ok(())
    }

    fn begin_restore(&self) -> Result<()> {
        self.call()?.restore = Some(Vec::new());
        Ok(())
    }

    fn write_restore(&self, bytes: &[u8]) -> Result<()> {
        let mut data = self.call()?;
        data.restore
            .as_mut()
            .ok_or_else(nothing_begun)?
            .extend(bytes);
        Ok(())
    }

    fn check_restore(&self) -> Result<Restored> {
        let found = self.call()?.restored()?;
        Ok(Restored {
            entries: found.entries.len() as u64,
            quotas: found.quotas.into_iter().collect(),
            meta: found.meta.into_iter().collect(),
        })
    }

    fn read_restore(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let found = self.call()?.restored()?;
        let after = self.after(last_id);
        let rows = found.entries.into_values().filter(|e| e.id > after);
        Ok(rows.take(limit as usize).collect())
    }

    fn commit_restore(&self, only_if_empty: bool) -> Result<()> {
        let mut data = self.write()?;
        if only_if_empty {
            data.check_empty(ImportMode::Empty)?;
        }
        let found = data.restored()?;
        data.entries = found.entries;
        data.quotas = found.quotas;
        data.meta = found.meta;
        data.blobs = found.blobs;
        data.last_id = data.last_id.max(found.last_id);
        data.version += 1;
        data.log.clear();
        data.restore = None;
        Ok(())
    }

    fn end_restore(&self) -> Result<()> {
        self.call()?.restore = None;
        Ok(())
    }

    fn read_blob(&self, name: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.call()?.blobs.get(name).cloned())
    }

    fn write_blob(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.write()?.blobs.insert(name.into(), bytes.into());
        Ok(())
    }

    fn delete_blobs(&self, names: &[String]) -> Result<()> {
        self.write()?.blobs.retain(|name, _| !names.contains(name));
        Ok(())
    }

    fn list_blobs(&self) -> Result<Vec<String>> {
        Ok(self.call()?.blobs.keys().cloned().collect())
    }
}

fn is_in(namespace: Option<&str>, entry: &Entry) -> bool {
    namespace.is_none_or(|namespace| entry.namespace == namespace)
}

/// An entry as it is read.
fn read(entry: &Entry, vectors: bool) -> Entry {
    let mut entry = entry.clone();
    if !vectors {
        entry.embedding = Vec::new();
    }
    entry
}

fn meets(entry: &Entry, filter: &Filter) -> bool {
    is_in(filter.namespace.as_deref(), entry)
        && filter
            .context
            .as_ref()
            .is_none_or(|context| *context == entry.context)
        && filter.tags.iter().all(|tag| entry.tags.contains(tag))
        && filter
            .created_from
            .is_none_or(|from| entry.created_at >= from)
        && filter
            .created_before
            .is_none_or(|before| entry.created_at < before)
}

fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}
