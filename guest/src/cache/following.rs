//! Following the writes of other processes.
//!
//! The version counter shows that others have written. What they have written shows when the
//! store's (id, created-at) stamps are compared with those of the index. The comparison goes in
//! steps of some milliseconds, one or more a call, so that nobody waits for a large store. What
//! this cache writes between two steps does no harm: the comparison then reads a row once more.

use super::Open;
use super::indexing::check_stamps;
use super::steps::{Progress, take_turn};
use crate::coordination::{is_unsettled, measured};
use crate::error::{Result, dimension};
use crate::host::{Host, Now};
use crate::index::Index;
use crate::index::block::stamp;
use crate::index::scopes::Scope;
use crate::store::Store;
use crate::types::Entry;

/// Stamps that are read from the store at a time.
pub(super) const STAMPS_PER_PAGE: u32 = 4_096;
/// Changed entries that are read from the store at a time, with their responses.
const CHANGED_PER_CALL: usize = 64;
/// If more rows than this, and more than a quarter of all, have changed, reading all rows again
/// is faster.
const FEW_CHANGES: usize = 4096;
/// What reading all rows again counts for, at least, in the rest that follows.
const HOPELESS_MILLIS: u64 = 500;

/// A comparison of an index with the store.
pub(super) struct Comparison {
    began: Now,
    /// When the index was last compared, or read.
    compared: Now,
    /// The last id of the index when the comparison began. Later rows are new.
    last_indexed: u64,
    /// The ids of changed entries, and the numbers of the scopes that the index has them in.
    changed: Vec<(u64, Option<u32>)>,
    stage: Stage,
    /// In the turns so far.
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
    /// unless that takes long. Returns whether there was something to follow.
    pub(super) fn follow(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        now: Now,
    ) -> Result<bool> {
        if self.comparison.is_none() {
            if !self.follower.is_due(now) {
                return Ok(false);
            }
            let version = store.read_version_counter()?;
            // Quotas do not move the counter.
            self.quotas.others_wrote();
            if self.follower.has_moved(version) {
                self.sizes.others_wrote(now);
                let compared = self.follower.compared();
                self.comparison = self
                    .index
                    .as_ref()
                    .map(|index| Comparison::new(index, compared, now));
            }
            self.follower.caught_up(version, now);
        }
        self.compare(store, host)
    }

    /// Goes on with the comparison that is under way, if there is one.
    fn compare(&mut self, store: &impl Store, host: &impl Host) -> Result<bool> {
        let Some(mut comparison) = self.comparison.take() else {
            return Ok(false);
        };
        let Some(mut index) = self.index.take() else {
            return Ok(false);
        };
        let start = host.now();
        let progress = take_turn(host, || comparison.step(self, &mut index, store))
            // The index stays dropped, and is read again when needed.
            .inspect_err(|_| {
                self.drop_index();
                self.follower.fell_behind();
            })?;
        let end = host.now();
        comparison.spent_ms += measured(start, end);
        match progress {
            Progress::Under => self.comparison = Some(comparison),
            Progress::Done if comparison.is_hopeless() => {
                // The index is read as a whole, which takes longer than the comparison did.
                let took_ms = comparison.spent_ms.max(HOPELESS_MILLIS);
                self.follower.rest_after(took_ms, end);
                self.drop_index();
                return Ok(true);
            }
            Progress::Done => {
                self.follower.compared_at(comparison.began);
                self.follower.rest_after(comparison.spent_ms, end);
            }
        }
        self.index = Some(index);
        Ok(true)
    }

    /// Gives up the comparison that is under way: the index is no longer what it began with.
    pub(super) fn stop_comparing(&mut self) {
        if self.comparison.take().is_some() {
            self.follower.fell_behind();
        }
    }
}

impl Comparison {
    pub(super) fn new(index: &Index, compared: Now, now: Now) -> Self {
        Comparison {
            began: now,
            compared,
            last_indexed: index.last_id(),
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

    /// Compares a page of stamps, and removes what is gone.
    fn read_stamps(
        &mut self,
        open: &mut Open,
        index: &mut Index,
        store: &impl Store,
        last_id: u64,
    ) -> Result<()> {
        let page = store.iter_stamps(last_id, STAMPS_PER_PAGE)?;
        check_stamps(&page, last_id)?;
        let last = page.ids.last().copied();
        let more = last
            .filter(|&id| id <= self.last_indexed && page.ids.len() >= STAMPS_PER_PAGE as usize);
        let ours = index.stamps(last_id, more.unwrap_or(self.last_indexed));
        let mut ours = ours.into_iter().peekable();
        let mut gone = Vec::new();
        for (&id, &created_at) in page.ids.iter().zip(&page.created_at) {
            if id > self.last_indexed {
                break;
            }
            while let Some(old) = ours.next_if(|old| old.id < id) {
                gone.push(old);
            }
            let old = ours.next_if(|old| old.id == id);
            let same = old.is_some_and(|old| old.stamp == stamp(created_at));
            if !same || is_unsettled(created_at, self.compared) {
                self.changed.push((id, old.map(|old| old.scope)));
            }
        }
        for gone in gone.into_iter().chain(ours) {
            index.remove_numbered(gone.scope, gone.id);
            open.backlog.forget(gone.id);
        }
        match more {
            Some(id) => self.stage = Stage::Stamps(id),
            None => self.weigh(index),
        }
        Ok(())
    }

    /// Decides how to read what has changed.
    fn weigh(&mut self, index: &mut Index) {
        // Recently stored rows are at the end. Reading all rows there costs less than picking
        // out the changed ones.
        let changed = self.changed.len();
        self.stage = match self.changed.first() {
            Some(&(first, _))
                if changed > CHANGED_PER_CALL && self.last_indexed - first < 4 * changed as u64 =>
            {
                Stage::Rows(first - 1)
            }
            _ if changed > FEW_CHANGES.max(index.rows() / 4) => Stage::Hopeless,
            _ => Stage::Changed(0),
        };
        index.unindexable = 0;
    }

    /// Reads some of the changed entries.
    fn read_changed(
        &mut self,
        open: &mut Open,
        index: &mut Index,
        store: &impl Store,
        done: usize,
    ) -> Result<()> {
        let changed = &self.changed[done..self.changed.len().min(done + CHANGED_PER_CALL)];
        self.stage = match changed.is_empty() {
            true => Stage::Rows(self.last_indexed),
            false => Stage::Changed(done + changed.len()),
        };
        if changed.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = changed.iter().map(|&(id, _)| id).collect();
        let entries = store.get_by_ids(&ids, true)?;
        for &(id, scope) in changed {
            if let Some(scope) = scope
                && !entries.iter().any(|entry| entry.id == id)
            {
                index.remove_numbered(scope, id);
            }
        }
        for mut entry in entries {
            if entry.embedding.len() != open.options.embedder_dim as usize {
                return Err(dimension(open.options.embedder_dim, entry.embedding.len()));
            }
            let Entry { id, created_at, .. } = entry;
            let vector = &mut entry.embedding;
            let scope = Scope {
                namespace: &entry.namespace,
                context: &entry.context,
            };
            open.index_row(index, scope, id, created_at, vector)?;
        }
        Ok(())
    }
}
