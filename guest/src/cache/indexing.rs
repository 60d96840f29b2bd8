//! Building the index from the store.

use super::following::{Comparison, Progress};
use super::kept::{self, Kept};
use super::{Cache, KEEPING, Open, READING_VECTORS};
use crate::error::Result;
use crate::host::{Host, Now};
use crate::index::block::block_rows;
use crate::index::{Index, check_room};
use crate::store::{Store, check_ids};
use crate::types::{Error, StampPage, VectorDtype, VectorPage};
use crate::vector::{is_absent, is_unit, scale_to_unit};

/// Multiplications that a semantic look-up spends on making later ones faster: a few
/// milliseconds.
const WORK_PER_LOOKUP: u64 = 24 << 20;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.warm-up`.
    pub fn warm_up(&mut self) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        let now = host.now();
        open.follow(store, host, now)?;
        let index = open.resident_index(store, now)?;
        while index.work(u64::MAX) {}
        Ok(index.rows() as u64)
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
    /// The index. It is read from the store if it is not loaded.
    pub(super) fn index(&mut self, store: &impl Store, now: Now) -> Result<&mut Index> {
        if self.index.is_none() {
            self.load_index(store, self.options.vector_dtype, now)?;
        }
        self.index
            .as_mut()
            .ok_or_else(|| Error::IndexUnavailable("the index is not loaded".into()))
    }

    /// The index, with all vectors in memory.
    pub(super) fn resident_index(&mut self, store: &impl Store, now: Now) -> Result<&mut Index> {
        self.index(store, now)?;
        while self.read_absent(store)? {}
        self.index(store, now)
    }

    /// Loads the stored index, or else builds one by reading all vectors. It replaces the
    /// present index only once it is complete.
    fn load_index(&mut self, store: &impl Store, dtype: VectorDtype, now: Now) -> Result<()> {
        self.stop_comparing();
        self.unindexable = 0;
        // Read before any row, so that writes in the meantime show as changes.
        let version = store.read_version_counter()?;
        let index = match self.read_kept_index(store, dtype, version, now)? {
            Some(index) => index,
            None => {
                self.unindexable = 0;
                let mut index = self.new_index(dtype);
                let mut last_id = Some(0);
                while let Some(id) = last_id {
                    last_id = self.read_rows_after(&mut index, id, store)?;
                }
                index
            }
        };
        self.follower.caught_up(version, now);
        self.follower.compared_at(now);
        self.index = Some(index);
        Ok(())
    }

    /// The stored index, updated to the present entries. None if there is no usable one.
    fn read_kept_index(
        &mut self,
        store: &impl Store,
        dtype: VectorDtype,
        version: u64,
        now: Now,
    ) -> Result<Option<Index>> {
        if !self.options.persist_index {
            return Ok(None);
        }
        let kept = match kept::read(store, self.options.embedder_dim, dtype) {
            Ok(kept) => kept,
            Err(error) => {
                self.note(KEEPING, Err(error));
                None
            }
        };
        let Some(Kept {
            index,
            version: kept_at,
            compared,
            unindexable,
        }) = kept
        else {
            return Ok(None);
        };
        let mut index = index.searching(self.options.index, self.options.graph);
        self.unindexable = unindexable;
        if kept_at != version {
            self.follower.compared_at(compared);
            let mut comparison = Comparison::new(&index, now);
            while let Progress::Under = comparison.step(self, &mut index, store)? {}
            if comparison.is_hopeless() {
                return Ok(None);
            }
        }
        Ok(Some(index))
    }

    /// Stores the index, if it is ready and has changed enough. A failure does not fail the
    /// call.
    pub(super) fn keep_index(&mut self, store: &impl Store) {
        // During a comparison the index does not match the version counter.
        if !self.options.persist_index || self.comparison.is_some() {
            return;
        }
        let Some(index) = &mut self.index else {
            return;
        };
        let (Some(version), true) = (self.follower.version(), kept::is_due(index)) else {
            return;
        };
        let compared = self.follower.compared();
        let outcome = kept::write(store, index, version, compared, self.unindexable);
        if outcome.is_ok() {
            index.kept();
        }
        self.note(KEEPING, outcome);
    }

    /// Makes the index a little faster for later look-ups.
    pub(super) fn improve_index(&mut self, store: &impl Store) {
        let read = self.read_absent(store);
        if read.is_ok()
            && let Some(index) = &mut self.index
            && index.absent_after().is_none()
        {
            index.work(WORK_PER_LOOKUP);
        }
        self.note(READING_VECTORS, read.map(drop));
    }

    /// Reads one page of the vectors that are not in memory yet. False if none is left.
    fn read_absent(&mut self, store: &impl Store) -> Result<bool> {
        let dim = self.options.embedder_dim;
        let Some(index) = &mut self.index else {
            return Ok(false);
        };
        let Some(after) = index.absent_after() else {
            return Ok(false);
        };
        let limit = block_rows(dim as usize);
        let mut page = store.iter_vectors(after, limit as u32)?;
        check_page(&page, after, dim)?;
        let vectors = page.vectors.chunks_exact_mut(dim as usize);
        for (row, vector) in vectors.enumerate() {
            let (id, created_at) = (page.ids[row], page.created_at[row]);
            if !is_absent(vector) && scale_to_unit(vector).is_err() {
                continue;
            }
            // Vectors that do not fit into memory stay in the store.
            index
                .arrive(&page.namespaces[row], id, created_at, vector)
                .inspect_err(|_| index.stop_arriving())?;
        }
        let more = page.ids.last().copied().filter(|_| page.ids.len() >= limit);
        index.arrived(more).inspect_err(|_| index.stop_arriving())?;
        Ok(more.is_some())
    }

    /// Adds a page of rows with an id above `last_id`. Returns the last id of the page if there
    /// may be more.
    pub(super) fn read_rows_after(
        &mut self,
        index: &mut Index,
        last_id: u64,
        store: &impl Store,
    ) -> Result<Option<u64>> {
        let dim = self.options.embedder_dim as usize;
        let limit = block_rows(dim);
        // The page must fit into memory.
        check_room(limit * (dim * size_of::<f32>() + 64)).map_err(|_| index.no_memory())?;
        let page = store.iter_vectors(last_id, limit as u32)?;
        check_page(&page, last_id, dim as u32)?;
        let last = page.ids.last().copied();
        let more = page.ids.len() >= limit;
        self.index_page(index, page)?;
        Ok(last.filter(|_| more))
    }

    /// Adds the rows of a page.
    fn index_page(&mut self, index: &mut Index, mut page: VectorPage) -> Result<()> {
        let dim = self.options.embedder_dim as usize;
        let vectors = || page.vectors.chunks_exact(dim);
        let one = page.namespaces.windows(2).all(|pair| pair[0] == pair[1]);
        if let Some(namespace) = page.namespaces.first().filter(|_| one)
            && vectors().all(is_unit)
        {
            return index.add_page(namespace, &page.ids, &page.created_at, page.vectors);
        }
        for (row, vector) in page.vectors.chunks_exact_mut(dim).enumerate() {
            let (id, created_at) = (page.ids[row], page.created_at[row]);
            self.index_row(index, &page.namespaces[row], id, created_at, vector)?;
        }
        Ok(())
    }

    /// Adds one row. An invalid embedding, which another writer may have stored, is left out
    /// and counted. A row of the exact layer is kept as it is, so that comparisons know it.
    pub(super) fn index_row(
        &mut self,
        index: &mut Index,
        namespace: &str,
        id: u64,
        created_at: u64,
        vector: &mut [f32],
    ) -> Result<()> {
        if is_absent(vector) {
            return index.add(namespace, id, created_at, vector);
        }
        match scale_to_unit(vector) {
            Ok(()) => index.add(namespace, id, created_at, vector),
            Err(_) => {
                index.remove(namespace, id);
                self.unindexable += 1;
                Ok(())
            }
        }
    }
}

/// Refuses a page that breaks the store's contract. It could make the cache loop or mix up
/// rows.
fn check_page(page: &VectorPage, last_id: u64, dim: u32) -> Result<()> {
    check_ids("iter-vectors", page.ids.iter().copied(), last_id)?;
    if page.created_at.len() != page.ids.len()
        || page.namespaces.len() != page.ids.len()
        || page.vectors.len() != page.ids.len() * dim as usize
    {
        return Err(Error::Corrupt(format!(
            "store.iter-vectors returned {} ids, {} times, {} namespaces and {} values for {dim} dimensions after id {last_id}; the store is at fault, run the conformance battery on it",
            page.ids.len(),
            page.created_at.len(),
            page.namespaces.len(),
            page.vectors.len()
        )));
    }
    Ok(())
}

/// As [`check_page`].
pub(super) fn check_stamps(page: &StampPage, last_id: u64) -> Result<()> {
    check_ids("iter-stamps", page.ids.iter().copied(), last_id)?;
    if page.created_at.len() != page.ids.len() {
        return Err(Error::Corrupt(format!(
            "store.iter-stamps returned {} ids and {} times after id {last_id}; the store is at fault, run the conformance battery on it",
            page.ids.len(),
            page.created_at.len()
        )));
    }
    Ok(())
}
