//! Building the index from the store and keeping it up with other processes.

use super::{Cache, Open};
use crate::error::{Result, dimension};
use crate::host::{Host, Now};
use crate::index::Index;
use crate::store::Store;
use crate::types::{Entry, Error, VectorDtype, VectorPage};
use crate::vector::scale_to_unit;

/// Bytes of vectors to ask the store for at a time.
const PAGE_BYTES: u32 = 4 << 20;
/// Stamps to ask the store for at a time.
pub(super) const STAMPS_PER_PAGE: u32 = 262_144;
/// Changed entries to ask the store for at a time. They come with their responses.
const CHANGED_PER_CALL: usize = 64;
/// With more changed rows than this, and than a quarter of all, reading all of them
/// anew is faster.
const FEW_CHANGES: usize = 4096;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.warm-up`.
    pub fn warm_up(&mut self) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        let now = host.now();
        open.follow(store, now)?;
        Ok(open.index(store, now)?.rows() as u64)
    }

    /// See `cache.requantize`.
    pub fn requantize(&mut self, dtype: VectorDtype) -> Result<()> {
        let (store, host, open) = self.parts()?;
        if open.index.is_some() && open.options.vector_dtype != dtype {
            open.load_index(store, dtype, host.now())?;
        }
        open.options.vector_dtype = dtype;
        Ok(())
    }
}

impl Open {
    /// The index, read from the store if need be.
    pub(super) fn index(&mut self, store: &impl Store, now: Now) -> Result<&mut Index> {
        if self.index.is_none() {
            self.load_index(store, self.options.vector_dtype, now)?;
        }
        self.index
            .as_mut()
            .ok_or_else(|| Error::IndexUnavailable("the index is not loaded".into()))
    }

    /// Looks whether others have written, if that is due, and if so follows them.
    pub(super) fn follow(&mut self, store: &impl Store, now: Now) -> Result<()> {
        if !self.follower.is_due(now) {
            return Ok(());
        }
        let version = store.read_version_counter()?;
        // Quotas do not move the counter.
        self.quotas = None;
        if self.follower.has_moved(version) {
            self.sizes = super::Sizes::default();
            if let Some(mut index) = self.index.take() {
                // On error the index stays dropped, to be read anew.
                if self.compare_with_store(&mut index, store, now)? {
                    self.index = Some(index);
                }
            }
        }
        self.follower.caught_up(version, now);
        Ok(())
    }

    /// Reads all vectors into a new index, which replaces the present one only when
    /// complete.
    fn load_index(&mut self, store: &impl Store, dtype: VectorDtype, now: Now) -> Result<()> {
        let mut index = self.new_index(dtype);
        self.unindexable = 0;
        self.read_rows_after(&mut index, 0, store)?;
        self.follower.compared_at(now);
        self.index = Some(index);
        Ok(())
    }

    /// Adds the rows with an id above `last_id`.
    fn read_rows_after(
        &mut self,
        index: &mut Index,
        mut last_id: u64,
        store: &impl Store,
    ) -> Result<()> {
        let dim = self.options.embedder_dim;
        let limit = (PAGE_BYTES / (4 * dim)).clamp(16, 8192);
        loop {
            let mut page = store.iter_vectors(last_id, limit)?;
            check_page(&page, last_id, dim)?;
            for (row, vector) in page.vectors.chunks_exact_mut(dim as usize).enumerate() {
                let (id, created_at) = (page.ids[row], page.created_at[row]);
                self.index_row(index, &page.namespaces[row], id, created_at, vector)?;
            }
            match page.ids.last() {
                Some(&id) if page.ids.len() >= limit as usize => last_id = id,
                _ => return Ok(()),
            }
        }
    }

    /// Adds one row. A vector that is no embedding, which other writers may have let
    /// in, is left out and counted.
    fn index_row(
        &mut self,
        index: &mut Index,
        namespace: &str,
        id: u64,
        created_at: u64,
        vector: &mut [f32],
    ) -> Result<()> {
        match scale_to_unit(vector) {
            Ok(()) => index.add(namespace, id, created_at, vector),
            Err(_) => {
                index.remove(id);
                self.unindexable += 1;
                Ok(())
            }
        }
    }

    /// Brings the index up to the store: what others added, replaced and deleted. False
    /// where so much has changed that it is to be read anew.
    fn compare_with_store(
        &mut self,
        index: &mut Index,
        store: &impl Store,
        now: Now,
    ) -> Result<bool> {
        let indexed: Vec<(u64, u64)> = index.stamps().collect();
        let last_indexed = index.last_id();
        let mut ours = indexed.iter().copied().peekable();
        let (mut gone, mut changed) = (Vec::new(), Vec::new());
        let mut last_id = 0;
        loop {
            let page = store.iter_stamps(last_id, STAMPS_PER_PAGE)?;
            check_ids(&page.ids, page.created_at.len(), last_id)?;
            for (&id, &created_at) in page.ids.iter().zip(&page.created_at) {
                if id > last_indexed {
                    break;
                }
                while let Some((old, _)) = ours.next_if(|&(old, _)| old < id) {
                    gone.push(old);
                }
                let same = ours
                    .next_if(|&(old, _)| old == id)
                    .is_some_and(|(_, stamp)| stamp == created_at);
                if !same || self.follower.is_unsettled(created_at) {
                    changed.push(id);
                }
            }
            match page.ids.last() {
                Some(&id) if id <= last_indexed && page.ids.len() >= STAMPS_PER_PAGE as usize => {
                    last_id = id;
                }
                _ => break,
            }
        }
        gone.extend(ours.map(|(old, _)| old));
        // What was stored lately is at the end. There, reading all rows costs less than
        // picking out the changed ones.
        let mut read_after = last_indexed;
        if let Some(&first) = changed.first()
            && changed.len() > CHANGED_PER_CALL
            && last_indexed - first < 4 * changed.len() as u64
        {
            read_after = first - 1;
            changed.clear();
        }
        if changed.len() > FEW_CHANGES.max(indexed.len() / 4) {
            return Ok(false);
        }
        self.unindexable = 0;
        for id in gone {
            index.remove(id);
            self.backlog.forget(id);
        }
        for ids in changed.chunks(CHANGED_PER_CALL) {
            let entries = store.get_by_ids(ids)?;
            for &id in ids {
                if !entries.iter().any(|entry| entry.id == id) {
                    index.remove(id);
                }
            }
            for mut entry in entries {
                if entry.embedding.len() != self.options.embedder_dim as usize {
                    return Err(dimension(self.options.embedder_dim, entry.embedding.len()));
                }
                let Entry { id, created_at, .. } = entry;
                self.index_row(
                    index,
                    &entry.namespace,
                    id,
                    created_at,
                    &mut entry.embedding,
                )?;
            }
        }
        self.read_rows_after(index, read_after, store)?;
        self.follower.compared_at(now);
        Ok(true)
    }
}

/// Refuses a page that breaks the store's contract: such a store would make the cache
/// loop or mix up rows.
fn check_page(page: &VectorPage, last_id: u64, dim: u32) -> Result<()> {
    check_ids(&page.ids, page.created_at.len(), last_id)?;
    if page.namespaces.len() != page.ids.len()
        || page.vectors.len() != page.ids.len() * dim as usize
    {
        return Err(Error::Corrupt(format!(
            "store.iter-vectors returned {} ids, {} namespaces and {} values for {dim} dimensions after id {last_id}; the store is at fault, run the conformance battery on it",
            page.ids.len(),
            page.namespaces.len(),
            page.vectors.len()
        )));
    }
    Ok(())
}

fn check_ids(ids: &[u64], created_at: usize, last_id: u64) -> Result<()> {
    let ascending = ids.first().is_none_or(|&id| id > last_id) && ids.is_sorted_by(|a, b| a < b);
    if !ascending || ids.len() != created_at {
        return Err(Error::Corrupt(format!(
            "the store returned a page after id {last_id} whose ids are not ascending, or whose columns differ in length; the store is at fault, run the conformance battery on it"
        )));
    }
    Ok(())
}
