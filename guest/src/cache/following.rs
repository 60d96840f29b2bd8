//! Following the writes of other processes.
//!
//! The version counter shows that others have written. What they have written is in the store's log
//! of changes, if it keeps one that reaches back far enough. Otherwise it shows when the
//! store's (id, created-at) stamps are compared with those of the index. Both go in
//! steps of some milliseconds, one or more a call, so that nobody waits for a large store. What
//! this cache writes between two steps does no harm: a row is then read once more.

use super::Open;
use super::indexing::check_stamps;
use super::steps::{Progress, take_turn};
use crate::coordination::{Follower, is_unsettled, measured};
use crate::error::{Result, dimension};
use crate::host::{Host, Now};
use crate::index::Index;
use crate::index::block::stamp;
use crate::index::scopes::Scope;
use crate::store::Store;
use crate::types::{ChangePage, Entry};
use std::collections::BTreeMap;

/// Stamps that are read from the store at a time.
pub(super) const STAMPS_PER_PAGE: u32 = 4_096;
/// Changed entries that are read from the store at a time, with their responses.
const CHANGED_PER_CALL: usize = 64;
/// Changes that are read from the log at a time.
const CHANGES_PER_PAGE: u32 = 256;
/// If more rows than this, and more than a quarter of all, have changed, reading all rows again
/// is faster.
const FEW_CHANGES: usize = 4096;
/// What reading all rows again counts for, at least, in the rest that follows.
const HOPELESS_MILLIS: u64 = 500;

/// A comparison of an index with the store.
pub(super) struct Comparison {
    began: Now,
    /// The index has every change up to this value of the version counter, as far as is known.
    followed: u64,
    /// When the index was last compared, or read.
    compared: Now,
    /// The last id of the index when the comparison began. Later rows are new.
    last_indexed: u64,
    /// The ids of changed entries, and the numbers of the scopes that the index has them in.
    changed: Vec<(u64, Option<u32>)>,
    stage: Stage,
    /// The log has told everything so far.
    from_log: bool,
    /// The index has what this cache wrote itself.
    has_own: bool,
    /// The version counter when the comparison began.
    version: u64,
    /// In the turns so far.
    spent_ms: u64,
}

enum Stage {
    /// Reading the log of changes.
    Log,
    /// Reading so many of the entries that the log names has been done.
    Logged(usize),
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
                let since = self.follower.followed().filter(|_| self.has_log);
                self.comparison = self
                    .index
                    .as_ref()
                    .map(|index| Comparison::new(index, compared, now, version, since));
            } else if self.index.is_some() {
                self.follower.followed_to(version);
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
                comparison.settle(&mut self.follower);
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
    /// Of an index that was last compared then, and has every change up to `since`, if that is
    /// known and the store keeps a log. The counter is at `version`.
    pub(super) fn new(
        index: &Index,
        compared: Now,
        now: Now,
        version: u64,
        since: Option<u64>,
    ) -> Self {
        Comparison {
            began: now,
            followed: since.unwrap_or(version),
            compared,
            last_indexed: index.last_id(),
            changed: Vec::new(),
            stage: match since {
                Some(_) => Stage::Log,
                None => Stage::Stamps(0),
            },
            from_log: since.is_some(),
            has_own: true,
            version,
            spent_ms: 0,
        }
    }

    /// Reads this cache's own changes too: the index was kept before they were made.
    pub(super) fn of_kept_index(mut self) -> Self {
        self.has_own = false;
        self
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
            Stage::Log => self.read_log(open, index, store)?,
            Stage::Logged(done) => self.read_changed(open, index, store, done)?,
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

    /// Records how far the index is, at the end.
    pub(super) fn settle(&self, follower: &mut Follower) {
        follower.followed_to(self.followed);
        follower.compared_at(self.began);
        if self.from_log {
            follower.has_seen(self.followed);
        }
    }

    /// The value of the version counter up to which the index has every change, at the end.
    pub(super) fn followed(&self) -> u64 {
        self.followed
    }

    /// Reads a page of the log, and removes what was deleted.
    fn read_log(&mut self, open: &mut Open, index: &mut Index, store: &impl Store) -> Result<()> {
        let page = store.changes_since(self.followed, CHANGES_PER_PAGE)?;
        let Some(page) = page.filter(|page| is_whole(page, self.followed)) else {
            (self.from_log, self.followed) = (false, self.version);
            self.changed.clear();
            self.last_indexed = index.last_id();
            self.stage = Stage::Stamps(0);
            return Ok(());
        };
        if page.changes.is_empty() {
            self.stage = Stage::Done;
            return Ok(());
        }
        // Of several changes of an entry only the last one counts.
        let mut last: BTreeMap<u64, bool> = BTreeMap::new();
        for change in &page.changes {
            if change.deleted || !(self.has_own && open.follower.is_own(change.id)) {
                last.insert(change.id, change.deleted);
            }
        }
        self.changed.clear();
        for (id, deleted) in last {
            if deleted {
                index.remove_anywhere(id);
                open.backlog.forget(id);
            } else {
                self.changed.push((id, None));
            }
        }
        self.followed = page.version;
        self.stage = Stage::Logged(0);
        Ok(())
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
        index.set_left_out(BTreeMap::new());
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
        let done = done + changed.len();
        self.stage = match (changed.is_empty(), self.from_log) {
            (true, true) if self.followed >= self.version => Stage::Done,
            (true, true) => Stage::Log,
            (true, false) => Stage::Rows(self.last_indexed),
            (false, true) => Stage::Logged(done),
            (false, false) => Stage::Changed(done),
        };
        if changed.is_empty() {
            return Ok(());
        }
        let ids: Vec<u64> = changed.iter().map(|&(id, _)| id).collect();
        let entries = store.get_by_ids(&ids, true)?;
        for &(id, scope) in changed {
            if !entries.iter().any(|entry| entry.id == id) {
                match scope {
                    Some(scope) => index.remove_numbered(scope, id),
                    None => index.remove_anywhere(id),
                };
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

/// Whether a page of the log goes on from a value of the version counter without a hole. A store
/// that lies in another way is not found out: the index then lacks rows, and answers nothing wrong.
fn is_whole(page: &ChangePage, since: u64) -> bool {
    let mut last = since;
    for change in &page.changes {
        if change.version != last && last.checked_add(1) != Some(change.version)
            || change.version == since
        {
            return false;
        }
        last = change.version;
    }
    last == page.version
}
