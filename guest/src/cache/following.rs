//! Following the writes of other processes.
//!
//! The version counter shows that others have written. What they have written shows when the
//! store's (id, created-at) stamps are compared with those of the index. The comparison goes in
//! steps of some milliseconds, one or more a call, so that nobody waits for a large store. What
//! this cache writes between two steps does no harm: the comparison then reads a row once more.

use super::indexing::check_stamps;
use super::{Open, Sizes};
use crate::error::{Result, dimension};
use crate::host::{Host, Now};
use crate::index::block::stamp;
use crate::index::{Index, Stamp};
use crate::store::Store;
use crate::types::Entry;

/// Stamps that are read from the store at a time.
pub(super) const STAMPS_PER_PAGE: u32 = 8_192;
/// Changed entries that are read from the store at a time, with their responses.
const CHANGED_PER_CALL: usize = 64;
/// If more rows than this, and more than a quarter of all, have changed, reading all rows again
/// is faster.
const FEW_CHANGES: usize = 4096;
/// A call spends about so much time on a comparison.
const STEP_MILLIS: u64 = 10;

/// What reading all rows again counts for, at least, in the rest that follows.
const HOPELESS_MILLIS: u64 = 500;

/// How far a comparison is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    Under,
    Done,
}

/// A comparison of the index with the store.
pub(super) struct Comparison {
    began: Now,
    /// The stamps that the index had when the comparison began, by id.
    indexed: Vec<Stamp>,
    last_indexed: u64,
    /// How many of `indexed` have been compared.
    compared: usize,
    gone: Vec<Stamp>,
    changed: Vec<u64>,
    stage: Stage,
    spent_ms: u64,
}

enum Stage {
    /// Reading stamps after this id.
    Stamps(u64),
    /// Reading so many of the changed entries has been done.
    Changed(usize),
    /// Reading rows after this id.
    Rows(u64),
    Done,
    /// So much has changed that all rows must be read again.
    Hopeless,
}

impl Open {
    /// Checks whether others have written, if that is due, and follows their writes: all of them,
    /// unless that takes long.
    pub(super) fn follow(&mut self, store: &impl Store, host: &impl Host, now: Now) -> Result<()> {
        if self.comparison.is_none() {
            if !self.follower.is_due(now) {
                return Ok(());
            }
            let version = store.read_version_counter()?;
            // Quotas do not move the counter.
            self.quotas = None;
            if self.follower.has_moved(version) {
                self.sizes = Sizes::default();
                self.comparison = self.index.as_ref().map(|index| Comparison::new(index, now));
            }
            self.follower.caught_up(version, now);
        }
        self.compare(store, host)
    }

    /// Goes on with the comparison that is under way, if there is one.
    fn compare(&mut self, store: &impl Store, host: &impl Host) -> Result<()> {
        let Some(mut comparison) = self.comparison.take() else {
            return Ok(());
        };
        let Some(mut index) = self.index.take() else {
            return Ok(());
        };
        let start = host.now();
        let progress = loop {
            match comparison.step(self, &mut index, store) {
                Ok(Progress::Under) if host.now().since(start) < STEP_MILLIS => {}
                Ok(progress) => break progress,
                Err(error) => {
                    // The index stays dropped, and is read again when needed.
                    self.follower.fell_behind();
                    return Err(error);
                }
            }
        };
        let end = host.now();
        comparison.spent_ms += end.since(start);
        match progress {
            Progress::Under => self.comparison = Some(comparison),
            Progress::Done if comparison.is_hopeless() => {
                // The index is read as a whole, which takes longer than the comparison did.
                let took_ms = comparison.spent_ms.max(HOPELESS_MILLIS);
                self.follower.rest_after(took_ms, end);
                return Ok(());
            }
            Progress::Done => {
                self.follower.compared_at(comparison.began);
                self.follower.rest_after(comparison.spent_ms, end);
            }
        }
        self.index = Some(index);
        Ok(())
    }

    /// Gives up the comparison that is under way: the index is no longer what it began with.
    pub(super) fn stop_comparing(&mut self) {
        if self.comparison.take().is_some() {
            self.follower.fell_behind();
        }
    }
}

impl Comparison {
    pub(super) fn new(index: &Index, now: Now) -> Self {
        Comparison {
            began: now,
            indexed: index.stamps(),
            last_indexed: index.last_id(),
            compared: 0,
            gone: Vec::new(),
            changed: Vec::new(),
            stage: Stage::Stamps(0),
            spent_ms: 0,
        }
    }

    /// Whether all rows must be read again instead.
    pub(super) fn is_hopeless(&self) -> bool {
        matches!(self.stage, Stage::Hopeless)
    }

    /// Makes one step.
    pub(super) fn step(
        &mut self,
        open: &mut Open,
        index: &mut Index,
        store: &impl Store,
    ) -> Result<Progress> {
        match self.stage {
            Stage::Stamps(last_id) => self.read_stamps(open, index, store, last_id)?,
            Stage::Changed(done) => self.read_changed(open, index, store, done)?,
            Stage::Rows(last_id) => {
                self.stage = match open.read_rows_after(index, last_id, store)? {
                    Some(last_id) => Stage::Rows(last_id),
                    None => Stage::Done,
                }
            }
            Stage::Done | Stage::Hopeless => {}
        }
        Ok(match self.stage {
            Stage::Done | Stage::Hopeless => Progress::Done,
            _ => Progress::Under,
        })
    }

    /// Compares a page of stamps.
    fn read_stamps(
        &mut self,
        open: &mut Open,
        index: &mut Index,
        store: &impl Store,
        last_id: u64,
    ) -> Result<()> {
        let page = store.iter_stamps(last_id, STAMPS_PER_PAGE)?;
        check_stamps(&page, last_id)?;
        let mut ours = self.indexed[self.compared..].iter().copied().peekable();
        for (&id, &created_at) in page.ids.iter().zip(&page.created_at) {
            if id > self.last_indexed {
                break;
            }
            while let Some(old) = ours.next_if(|old| old.id < id) {
                self.gone.push(old);
            }
            let same = ours
                .next_if(|old| old.id == id)
                .is_some_and(|old| old.stamp == stamp(created_at));
            if !same || open.follower.is_unsettled(created_at) {
                self.changed.push(id);
            }
        }
        self.compared = self.indexed.len() - ours.len();
        match page.ids.last() {
            Some(&id) if id <= self.last_indexed && page.ids.len() >= STAMPS_PER_PAGE as usize => {
                self.stage = Stage::Stamps(id);
            }
            _ => {
                self.gone.extend_from_slice(&self.indexed[self.compared..]);
                self.weigh(open, index);
            }
        }
        Ok(())
    }

    /// Removes what is gone, and decides how to read what has changed.
    fn weigh(&mut self, open: &mut Open, index: &mut Index) {
        // Recently stored rows are at the end. Reading all rows there costs less than picking
        // out the changed ones.
        let changed = self.changed.len();
        self.stage = match self.changed.first() {
            Some(&first)
                if changed > CHANGED_PER_CALL && self.last_indexed - first < 4 * changed as u64 =>
            {
                Stage::Rows(first - 1)
            }
            _ if changed > FEW_CHANGES.max(self.indexed.len() / 4) => {
                self.stage = Stage::Hopeless;
                return;
            }
            _ => Stage::Changed(0),
        };
        open.unindexable = 0;
        for gone in &self.gone {
            index.remove_numbered(gone.namespace, gone.id);
            open.backlog.forget(gone.id);
        }
    }

    /// Reads some of the changed entries.
    fn read_changed(
        &mut self,
        open: &mut Open,
        index: &mut Index,
        store: &impl Store,
        done: usize,
    ) -> Result<()> {
        let ids = &self.changed[done..self.changed.len().min(done + CHANGED_PER_CALL)];
        self.stage = match ids.is_empty() {
            true => Stage::Rows(self.last_indexed),
            false => Stage::Changed(done + ids.len()),
        };
        if ids.is_empty() {
            return Ok(());
        }
        let entries = store.get_by_ids(ids)?;
        for &id in ids {
            if !entries.iter().any(|entry| entry.id == id)
                && let Ok(at) = self.indexed.binary_search_by_key(&id, |row| row.id)
            {
                index.remove_numbered(self.indexed[at].namespace, id);
            }
        }
        for mut entry in entries {
            if entry.embedding.len() != open.options.embedder_dim as usize {
                return Err(dimension(open.options.embedder_dim, entry.embedding.len()));
            }
            let Entry { id, created_at, .. } = entry;
            let vector = &mut entry.embedding;
            open.index_row(index, &entry.namespace, id, created_at, vector)?;
        }
        Ok(())
    }
}
