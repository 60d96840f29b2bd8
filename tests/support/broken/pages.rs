//! Faults of the pages, of the order of eviction, and of look-ups by id.

use super::{Fault, Sound, all, reference};
use mneme::store::{
    BackendError, Entry, EntryKey, EntryRef, Result, StampPage, StoreError, VectorPage,
};

/// Asks the sound store for another page.
pub struct OtherPage {
    /// What becomes of `last-id` and `limit`.
    pub of: fn(u64, u32) -> (u64, u32),
}

impl Fault for OtherPage {
    fn iter_since(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let (last_id, limit) = (self.of)(last_id, limit);
        store.iter_since(last_id, limit)
    }

    fn iter_vectors(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<VectorPage> {
        let (last_id, limit) = (self.of)(last_id, limit);
        store.iter_vectors(last_id, limit)
    }

    fn iter_stamps(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<StampPage> {
        let (last_id, limit) = (self.of)(last_id, limit);
        store.iter_stamps(last_id, limit)
    }
}

/// Changes the rows of the pages of whole entries.
pub struct Entries(pub fn(&mut Vec<Entry>));

impl Fault for Entries {
    fn iter_since(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let mut page = store.iter_since(last_id, limit)?;
        (self.0)(&mut page);
        Ok(page)
    }
}

/// Changes the pages of vectors.
pub struct Vectors(pub fn(&mut VectorPage));

impl Fault for Vectors {
    fn iter_vectors(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<VectorPage> {
        let mut page = store.iter_vectors(last_id, limit)?;
        (self.0)(&mut page);
        Ok(page)
    }
}

/// Turns the rows of a page of vectors round, with everything in them.
pub fn reversed(page: &mut VectorPage) {
    let rows = page.ids.len().max(1);
    let dim = page.vectors.len() / rows;
    page.ids.reverse();
    page.namespaces.reverse();
    page.created_at.reverse();
    page.vectors = page
        .vectors
        .rchunks(dim.max(1))
        .flatten()
        .copied()
        .collect();
}

/// Turns the vectors of a page round, and nothing else.
pub fn vectors_reversed(page: &mut VectorPage) {
    let rows = page.ids.len().max(1);
    let dim = page.vectors.len() / rows;
    page.vectors = page
        .vectors
        .rchunks(dim.max(1))
        .flatten()
        .copied()
        .collect();
}

/// Changes the pages of stamps.
pub struct Stamps(pub fn(&mut StampPage));

impl Fault for Stamps {
    fn iter_stamps(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<StampPage> {
        let mut page = store.iter_stamps(last_id, limit)?;
        (self.0)(&mut page);
        Ok(page)
    }
}

/// Pages by rank: skips as many rows as `last-id` says.
pub struct PagesByRank;

impl Fault for PagesByRank {
    fn iter_since(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let rows = all(store)?.into_iter().skip(last_id as usize);
        Ok(rows.take(limit as usize).collect())
    }
}

/// Orders the least recently used entries in another way, or forgets what was asked.
pub struct Eviction {
    /// Puts all entries in order.
    pub sort: fn(&mut [Entry]),
    /// Whether only those of the namespace asked for count.
    pub by_namespace: bool,
    /// Whether no more than asked for are returned.
    pub limited: bool,
}

/// The sound order of eviction.
pub fn by_access(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| (entry.last_accessed_at, entry.id));
}

impl Fault for Eviction {
    fn iter_lru_ids(
        &mut self,
        store: &mut Sound,
        n: u32,
        namespace: Option<&str>,
    ) -> Result<Vec<EntryRef>> {
        let mut entries = all(store)?;
        if self.by_namespace {
            entries.retain(|entry| namespace.is_none_or(|name| name == entry.namespace));
        }
        (self.sort)(&mut entries);
        if self.limited {
            entries.truncate(n as usize);
        }
        Ok(entries.iter().map(reference).collect())
    }
}

/// Changes what a look-up by ids returns.
pub struct ByIds(pub fn(&mut Vec<Entry>));

impl Fault for ByIds {
    fn get_by_ids(&mut self, store: &mut Sound, ids: &[u64]) -> Result<Vec<Entry>> {
        let mut found = store.get_by_ids(ids)?;
        (self.0)(&mut found);
        Ok(found)
    }
}

/// Changes what a look-up by keys returns.
pub struct ByHash(pub fn(&mut Vec<Option<Entry>>));

impl Fault for ByHash {
    fn get_by_hash(&mut self, store: &mut Sound, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        let mut found = store.get_by_hash(keys)?;
        (self.0)(&mut found);
        Ok(found)
    }
}

/// Fails at an empty list of ids or keys, as SQL does at `IN ()`.
pub struct NothingIsAnError;

impl NothingIsAnError {
    fn error() -> StoreError {
        StoreError::Backend(BackendError {
            message: "syntax error near \")\"".into(),
            retryable: false,
        })
    }
}

impl Fault for NothingIsAnError {
    fn get_by_ids(&mut self, store: &mut Sound, ids: &[u64]) -> Result<Vec<Entry>> {
        let found = store.get_by_ids(ids)?;
        if ids.is_empty() {
            return Err(Self::error());
        }
        Ok(found)
    }

    fn get_by_hash(&mut self, store: &mut Sound, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        let found = store.get_by_hash(keys)?;
        if keys.is_empty() {
            return Err(Self::error());
        }
        Ok(found)
    }
}
