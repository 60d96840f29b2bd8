//! Building the index from the store.

use super::candidates::Ready;
use super::following::Comparison;
use super::kept::{self, Kept};
use super::steps::{Progress, take_turn};
use super::{Cache, KEEPING, Open, READING_VECTORS};
use crate::coordination::{measured, rest_after};
use crate::error::Result;
use crate::host::{Host, Now};
use crate::index::block::block_rows;
use crate::index::room::{has_room, headroom_of, least_bytes, no_memory};
use crate::index::scopes::Scope;
use crate::index::{Index, PER_PLACED};
use crate::store::{Store, check_ids};
use crate::types::{Error, IndexKeeping, StampPage, Step, VectorDtype, VectorPage};
use crate::vector::{is_absent, is_unit, scale_to_unit};

/// After it was found that memory is too short, an index is not read again for so long at least.
const LEAST_REST_MILLIS: u64 = 10_000;

/// Multiplications that a semantic look-up, or a part of a `warm-up`, spends on making later
/// look-ups faster: a few milliseconds.
const WORK_PER_PART: u64 = 24 << 20;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.warm-up`.
    pub fn warm_up(&mut self) -> Result<Step> {
        let (store, host, open) = self.parts()?;
        let ready = open.make_ready(store, host, host.now())?;
        let mut progress = Progress::under_if(ready == Ready::Later);
        if open.index.is_some() {
            progress = take_turn(host, || {
                let worked = open.read_absent(store)? || open.index()?.work(WORK_PER_PART);
                Ok(Progress::under_if(worked))
            })?;
        }
        Ok(Step {
            entries: open.indexes().last().map_or(0, |index| index.rows() as u64),
            more: progress.is_under(),
        })
    }

    /// See `cache.requantize`.
    pub fn requantize(&mut self, dtype: VectorDtype) -> Result<bool> {
        let (store, host, open) = self.parts()?;
        let progress = match &open.index {
            Some(_) if open.options.vector_dtype != dtype => open.load(store, host, dtype)?,
            _ => Progress::Done,
        };
        if progress == Progress::Done {
            open.options.vector_dtype = dtype;
        }
        Ok(progress.is_under())
    }
}

/// An index that is being read from the store, in steps. What this cache writes meanwhile changes
/// it as it changes the index that is in use; what others write shows in the version counter.
pub(super) struct Loading {
    dtype: VectorDtype,
    began: Now,
    /// The value of the counter if nobody else has written since it began.
    version: u64,
    /// The value of the counter when it began.
    followed: u64,
    stage: Stage,
    /// In the turns so far.
    spent_ms: u64,
}

enum Stage {
    /// Reading the stored index. It is as old as it is.
    Stored(Box<kept::Reading>),
    /// Comparing it with the present entries.
    Compared(Index, Box<Comparison>),
    /// Reading the rows after this id.
    Rows(Index, u64),
    Whole(Index),
}

impl Loading {
    /// The index, if writes must change it.
    pub(super) fn index(&mut self) -> Option<&mut Index> {
        match &mut self.stage {
            Stage::Stored(_) => None,
            Stage::Compared(index, _) | Stage::Rows(index, _) | Stage::Whole(index) => Some(index),
        }
    }

    /// Records that this instance made one call that moved the counter.
    pub(super) fn wrote(&mut self) {
        self.version = self.version.saturating_add(1);
    }
}

impl Open {
    /// The index, which must have been loaded.
    pub(super) fn index(&mut self) -> Result<&mut Index> {
        self.index
            .as_mut()
            .ok_or_else(|| Error::IndexUnavailable("the index is not loaded".into()))
    }

    /// Goes on reading an index of this dtype from the store: the stored one, or else all
    /// vectors. It replaces the present index once it is complete.
    pub(super) fn load(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        dtype: VectorDtype,
    ) -> Result<Progress> {
        let start = host.now();
        if let Some(short) = &self.short {
            if short.rests(dtype, start) {
                return Err(Error::IndexUnavailable(short.message.clone()));
            }
            self.short = None;
        }
        // After an error it begins again.
        let mut loading = match self.loading.take() {
            Some(loading) if loading.dtype == dtype => loading,
            _ => self
                .begin_loading(store, host, dtype)
                .inspect_err(|error| {
                    let end = host.now();
                    self.was_short(error, dtype, measured(start, end), end);
                })?,
        };
        let progress = take_turn(host, || self.load_part(store, &mut loading));
        let end = host.now();
        loading.spent_ms += measured(start, end);
        let progress =
            progress.inspect_err(|error| self.was_short(error, dtype, loading.spent_ms, end))?;
        match loading.stage {
            Stage::Whole(index) => {
                self.drop_index();
                self.follower.caught_up(loading.version, loading.began);
                self.follower.followed_to(loading.followed);
                self.follower.compared_at(loading.began);
                self.index = Some(index);
            }
            _ => self.loading = Some(loading),
        }
        Ok(progress)
    }

    fn begin_loading(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        dtype: VectorDtype,
    ) -> Result<Loading> {
        let now = host.now();
        // Read before any row, so that writes in the meantime show as changes.
        let version = store.read_version_counter()?;
        let mut stage = Stage::Rows(self.new_index(dtype), 0);
        if self.options.persist_index != IndexKeeping::None {
            match kept::Reading::begin(store, self.options.embedder_dim, dtype) {
                Ok(Some(reading)) => stage = Stage::Stored(Box::new(reading)),
                Ok(None) => {}
                // There may be fewer entries by now.
                Err(Error::IndexUnavailable(_)) => {}
                Err(error) => self.note(KEEPING, Err(error)),
            }
        }
        if matches!(stage, Stage::Rows(..))
            && let Ok(rows) = self.entries_in(store, host, None)
        {
            let least = least_bytes(self.options.embedder_dim as usize, dtype, rows);
            if !has_room(0, least.saturating_add(headroom_of(least))) {
                return Err(no_memory(format_args!(
                    "a vector index of {rows} rows, which takes {least} bytes or more"
                )));
            }
        }
        Ok(Loading {
            dtype,
            began: now,
            version,
            followed: version,
            stage,
            spent_ms: 0,
        })
    }

    fn load_part(&mut self, store: &impl Store, loading: &mut Loading) -> Result<Progress> {
        let progress = match &mut loading.stage {
            Stage::Stored(reading) => match reading.step(store) {
                Err(error) if !matches!(error, Error::IndexUnavailable(_)) => {
                    self.note(KEEPING, Err(error));
                    loading.stage = Stage::Rows(self.new_index(loading.dtype), 0);
                    Progress::Under
                }
                read => read?,
            },
            Stage::Compared(index, comparison) => comparison.step(self, index, store)?,
            Stage::Rows(index, last_id) => match self.read_rows_after(index, *last_id, store)? {
                Some(last) => {
                    *last_id = last;
                    Progress::Under
                }
                None => Progress::Done,
            },
            Stage::Whole(_) => Progress::Done,
        };
        if progress.is_under() {
            return Ok(progress);
        }
        let empty = Stage::Rows(self.new_index(loading.dtype), 0);
        loading.stage = match std::mem::replace(&mut loading.stage, empty) {
            Stage::Stored(reading) => {
                let Kept {
                    index,
                    version,
                    compared,
                } = reading.finish();
                let index = index.searching(self.options.index, self.options.graph);
                match version == loading.version {
                    true => Stage::Whole(index),
                    false => {
                        let since = self.has_log.then_some(version);
                        let (now, at) = (loading.began, loading.followed);
                        let comparison =
                            Comparison::new(&index, compared, now, at, since).of_kept_index();
                        Stage::Compared(index, Box::new(comparison))
                    }
                }
            }
            Stage::Compared(_, comparison) if comparison.is_hopeless() => {
                return Ok(Progress::Under);
            }
            Stage::Compared(index, comparison) => {
                loading.followed = comparison.followed();
                Stage::Whole(index)
            }
            Stage::Rows(index, _) | Stage::Whole(index) => Stage::Whole(index),
        };
        Ok(match loading.stage {
            Stage::Whole(_) => Progress::Done,
            _ => Progress::Under,
        })
    }

    /// Remembers an error, if it says that memory is too short for an index of this dtype.
    fn was_short(&mut self, error: &Error, dtype: VectorDtype, spent_ms: u64, now: Now) {
        if let Error::IndexUnavailable(message) = error {
            self.short = Some(Short {
                dtype,
                message: message.clone(),
                since: now,
                rest_ms: rest_after(spent_ms).max(LEAST_REST_MILLIS),
            });
        }
    }

    /// Goes on storing the index, if it is ready and has changed enough. A failure does not fail
    /// the call.
    pub(super) fn keep_index(&mut self, store: &impl Store, host: &impl Host) -> Progress {
        let kept = self.keep_some(store, host);
        let progress = kept.as_ref().copied().unwrap_or(Progress::Done);
        self.note(KEEPING, kept.map(drop));
        progress
    }

    fn keep_some(&mut self, store: &impl Store, host: &impl Host) -> Result<Progress> {
        let keeps = self.options.persist_index == IndexKeeping::Write;
        let Some(index) = self.index.as_mut().filter(|_| keeps) else {
            return Ok(Progress::Done);
        };
        let writing = match (self.keeping.take(), self.follower.version()) {
            (Some(writing), _) => Some(writing),
            // During a comparison the index does not match the version counter.
            (None, Some(version)) if self.comparison.is_none() && kept::is_due(index) => {
                kept::Writing::begin(store, index, version, self.follower.compared())?
            }
            _ => None,
        };
        let Some(mut writing) = writing else {
            return Ok(Progress::Done);
        };
        let progress = take_turn(host, || writing.step(store, index))?;
        self.keeping = Some(writing).filter(|_| progress.is_under());
        Ok(progress)
    }

    /// Makes the index a little faster for later look-ups.
    pub(super) fn improve_index(&mut self, store: &impl Store) {
        let read = self.read_absent(store);
        if read.is_ok()
            && let Some(index) = &mut self.index
            && index.absent_after().is_none()
        {
            index.work(WORK_PER_PART);
        }
        self.note(READING_VECTORS, read.map(drop));
    }

    /// Reads one page of the vectors that are not in memory yet. False if none is left.
    pub(super) fn read_absent(&mut self, store: &impl Store) -> Result<bool> {
        let dim = self.options.embedder_dim;
        let Some(index) = &mut self.index else {
            return Ok(false);
        };
        let Some(after) = index.absent_after() else {
            return Ok(false);
        };
        let limit = block_rows(dim as usize);
        // The page, and the block that its vectors fill.
        if !index.has_room(2 * page_bytes(limit, dim as usize)) {
            index.stop_arriving();
            return Ok(false);
        }
        let mut page = store.iter_vectors(after, limit as u32)?;
        check_page(&page, after, dim)?;
        let vectors = page.vectors.chunks_exact_mut(dim as usize);
        for (row, vector) in vectors.enumerate() {
            let (id, created_at) = (page.ids[row], page.created_at[row]);
            if !is_absent(vector) && scale_to_unit(vector).is_err() {
                continue;
            }
            let scope = Scope {
                namespace: &page.namespaces[row],
                context: &page.contexts[row],
            };
            // Vectors that do not fit into memory stay in the store.
            index
                .arrive(scope, id, created_at, vector)
                .inspect_err(|_| index.stop_arriving())?;
        }
        let more = page.ids.last().copied().filter(|_| page.ids.len() >= limit);
        index.arrived(more).inspect_err(|_| index.stop_arriving())?;
        Ok(more.is_some())
    }

    /// Adds a page of rows with an id above `last_id`, or makes room for it. Returns the id to go on
    /// after, if there may be more.
    pub(super) fn read_rows_after(
        &mut self,
        index: &mut Index,
        last_id: u64,
        store: &impl Store,
    ) -> Result<Option<u64>> {
        let dim = self.options.embedder_dim as usize;
        let limit = block_rows(dim);
        let bytes = page_bytes(limit, dim);
        if !index.has_room(bytes) {
            if index.make_room() {
                return Ok(Some(last_id));
            }
            if !index.has_last_room(bytes) {
                return Err(index.no_memory());
            }
        }
        let page = store.iter_vectors(last_id, limit as u32)?;
        check_page(&page, last_id, dim as u32)?;
        let last = page.ids.last().copied();
        let more = page.ids.len() >= limit;
        self.index_page(index, page)?;
        index.hold_reserve();
        Ok(last.filter(|_| more))
    }

    /// Adds the rows of a page.
    fn index_page(&mut self, index: &mut Index, mut page: VectorPage) -> Result<()> {
        let dim = self.options.embedder_dim as usize;
        let vectors = || page.vectors.chunks_exact(dim);
        let one = page.namespaces.windows(2).all(|pair| pair[0] == pair[1])
            && page.contexts.windows(2).all(|pair| pair[0] == pair[1]);
        if one && !page.ids.is_empty() && vectors().all(is_unit) {
            let scope = Scope {
                namespace: &page.namespaces[0],
                context: &page.contexts[0],
            };
            return index.add_page(scope, &page.ids, &page.created_at, page.vectors);
        }
        for (row, vector) in page.vectors.chunks_exact_mut(dim).enumerate() {
            let (id, created_at) = (page.ids[row], page.created_at[row]);
            let scope = Scope {
                namespace: &page.namespaces[row],
                context: &page.contexts[row],
            };
            self.index_row(index, scope, id, created_at, vector)?;
        }
        Ok(())
    }

    /// Adds one row. An invalid embedding, which another writer may have stored, is left out
    /// and counted. A row of the exact layer is kept as it is, so that comparisons know it.
    pub(super) fn index_row(
        &mut self,
        index: &mut Index,
        scope: Scope,
        id: u64,
        created_at: u64,
        vector: &mut [f32],
    ) -> Result<()> {
        if is_absent(vector) {
            return index.add(scope, id, created_at, vector);
        }
        match scale_to_unit(vector) {
            Ok(()) => index.add(scope, id, created_at, vector),
            Err(_) => {
                index.leave_out(scope.namespace, id);
                Ok(())
            }
        }
    }
}

/// Memory was too short for an index.
pub(super) struct Short {
    dtype: VectorDtype,
    /// Of the error that said so.
    message: String,
    since: Now,
    /// For so many milliseconds since then the error is repeated, and nothing is read.
    rest_ms: u64,
}

impl Short {
    /// Whether an index of this dtype would still find as little memory.
    fn rests(&self, dtype: VectorDtype, now: Now) -> bool {
        dtype == self.dtype && now >= self.since && now.since(self.since) < self.rest_ms
    }
}

/// What a page of rows takes in memory, and its places in scopes.
fn page_bytes(rows: usize, dim: usize) -> usize {
    rows * (dim * size_of::<f32>() + 64 + PER_PLACED)
}

/// Refuses a page that breaks the store's contract. It could make the cache loop or mix up
/// rows.
fn check_page(page: &VectorPage, last_id: u64, dim: u32) -> Result<()> {
    check_ids("iter-vectors", page.ids.iter().copied(), last_id)?;
    if page.created_at.len() != page.ids.len()
        || page.namespaces.len() != page.ids.len()
        || page.contexts.len() != page.ids.len()
        || page.vectors.len() != page.ids.len() * dim as usize
    {
        return Err(Error::Corrupt(format!(
            "store.iter-vectors returned {} ids, {} times, {} namespaces, {} contexts and {} values for {dim} dimensions after id {last_id}; the store is at fault, run the conformance battery on it",
            page.ids.len(),
            page.created_at.len(),
            page.namespaces.len(),
            page.contexts.len(),
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
