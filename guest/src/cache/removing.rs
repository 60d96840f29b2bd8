//! Removing entries: on request, because they expired, or because they were refused.

use super::lookup::{entry_ref, stored};
use super::steps::{Progress, take_turn, take_turn_of_changes};
use super::{Cache, DELETING, Open, by_namespace};
use crate::counters::Kind;
use crate::error::{Result, is_retryable};
use crate::host::{Host, Now};
use crate::index::{Compaction, Index};
use crate::options;
use crate::store::{Store, each_counts};
use crate::types::{CountEvent, EntryRef, Error, Event, IndexKind, Step};

/// Entries to delete in one call of the store.
const DELETED_PER_PART: u32 = 128;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.delete`.
    pub fn delete(&mut self, query: &str, namespace: &str, context: &str) -> Result<bool> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(namespace)?;
        options::check_size("query", query, open.options.max_query_bytes)?;
        options::check_context(context)?;
        let (key, _) = open.key(query, namespace, context);
        let Some(entry) = stored(store, &key)? else {
            return Ok(false);
        };
        if !store.delete_by_id(entry.id)? {
            open.forget(&entry.namespace, entry.id);
            return Ok(false);
        }
        let entry = entry_ref(&entry);
        open.deleted(std::slice::from_ref(&entry));
        open.emit(host, || {
            Event::Deletion(CountEvent {
                namespace: entry.namespace,
                count: 1,
            })
        });
        Ok(true)
    }

    /// See `cache.clear`.
    pub fn clear(&mut self) -> Result<Step> {
        let (store, host, open) = self.parts()?;
        open.clear(store, host, None)
    }

    /// See `cache.clear-namespace`.
    pub fn clear_namespace(&mut self, namespace: &str) -> Result<Step> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(namespace)?;
        open.clear(store, host, Some(namespace))
    }

    /// See `cache.vacuum`.
    pub fn vacuum(&mut self, namespace: Option<&str>, compact: bool) -> Result<Step> {
        let (store, host, open) = self.parts()?;
        if let Some(namespace) = namespace {
            options::check_namespace(namespace)?;
        }
        let now = host.now();
        let mut compaction = open.compacting.take(&(), now).unwrap_or_default();
        let (mut entries, mut all_deleted) = (0, false);
        let progress = take_turn_of_changes(host, || {
            if !all_deleted {
                let expired = store.delete_expired(now.seconds(), namespace, DELETED_PER_PART)?;
                entries += expired.len() as u64;
                open.deleted(&expired);
                open.count_entries(host, Kind::Expirations, &expired, Event::Expiration, now);
                all_deleted = expired.len() < DELETED_PER_PART as usize;
            }
            Ok(match (all_deleted, compact) {
                (false, _) => Progress::Under,
                (true, false) => Progress::Done,
                (true, true) => open.compact_part(&mut compaction).1,
            })
        })?;
        if compact && progress.is_under() {
            open.compacting.keep((), compaction, host.now());
        }
        open.note(DELETING, Ok(()));
        open.flush_if_due(store, now);
        Ok(Step {
            entries,
            more: progress.is_under(),
        })
    }

    /// See `cache.compact`.
    pub fn compact(&mut self) -> Result<Step> {
        let (store, host, open) = self.parts()?;
        let step = |entries, progress: Progress| Step {
            entries,
            more: progress.is_under(),
        };
        if open.options.index == IndexKind::Hnsw {
            open.follow(store, host, host.now())?;
            let mut progress = match open.index {
                Some(_) => Progress::Done,
                None => open.load(store, host, open.options.vector_dtype)?,
            };
            if progress == Progress::Done {
                progress = take_turn(host, || open.read_absent(store).map(Progress::under_if))?;
            }
            if progress.is_under() {
                return Ok(step(0, progress));
            }
        }
        let mut compaction = open.compacting.take(&(), host.now()).unwrap_or_default();
        let mut tombstones = 0;
        let progress = take_turn(host, || {
            let (given_back, progress) = open.compact_part(&mut compaction);
            tombstones += given_back;
            Ok(progress)
        })?;
        if progress.is_under() {
            open.compacting.keep((), compaction, host.now());
            return Ok(step(tombstones, progress));
        }
        let sealed = open.index.as_mut().map_or(Ok(false), Index::seal)?;
        Ok(step(tombstones, Progress::under_if(sealed)))
    }
}

impl Open {
    /// Deletes some of the entries of one namespace, or of all. Few are deleted in one step of
    /// the store.
    fn clear(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
    ) -> Result<Step> {
        let of = namespace.map(str::to_owned);
        let mut left = match self.clearing.take(&of, host.now()) {
            Some(left) => left,
            // A store that deletes only a few entries at a time finds references by a scan.
            None if store.capabilities().max_delete < DELETED_PER_PART => 0,
            None => store.count(namespace)?,
        };
        let mut entries = 0;
        let progress = take_turn_of_changes(host, || {
            let (deleted, progress) = self.clear_part(store, host, namespace, &mut left)?;
            entries += deleted;
            Ok(progress)
        })?;
        if progress.is_under() {
            self.clearing.keep(of, left, host.now());
        }
        Ok(Step {
            entries,
            more: progress.is_under(),
        })
    }

    fn clear_part(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
        left: &mut u64,
    ) -> Result<(u64, Progress)> {
        // It ends even if others go on storing.
        if *left >= u64::from(DELETED_PER_PART) {
            let some = match store.iter_lru_ids(DELETED_PER_PART, namespace) {
                Ok(some) => some,
                // Rows that cannot be read can still be deleted.
                Err(Error::Corrupt(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
            if some.len() >= DELETED_PER_PART as usize {
                let deleted = self.delete_unchanged(store, some)?;
                self.emit_deletions(host, by_namespace(&deleted));
                *left -= u64::from(DELETED_PER_PART);
                if !deleted.is_empty() {
                    return Ok((deleted.len() as u64, Progress::Under));
                }
            }
        }
        self.clear_rest(store, host, namespace)
    }

    /// Deletes all entries and counters of one namespace, or of all, in one step of the store.
    fn clear_rest(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
    ) -> Result<(u64, Progress)> {
        let mut counts = Vec::new();
        if namespace.is_none() && self.options.events {
            each_counts(store, |page| counts.extend(page))?;
        }
        let count = store.clear_namespace(namespace)?;
        self.sizes = super::Sizes::default();
        self.weights = super::weighing::Weights::default();
        self.short = None;
        match namespace {
            // The store ignores touches of entries that are gone.
            Some(name) => self.indexes().for_each(|index| index.clear_namespace(name)),
            None => {
                self.backlog.forget_all();
                self.stop_comparing();
                self.loading = None;
                self.indexes().for_each(Index::clear);
            }
        }
        if count > 0 {
            self.wrote();
            self.emit_deletions(host, namespace.map(|name| (name, count)));
        }
        self.emit_deletions(host, counts.iter().map(|(name, n)| (name.as_str(), *n)));
        let counters = self.backlog.counters.reset(store, namespace);
        let reset = counters.and_then(|()| self.forget_labels(store, namespace));
        match reset {
            // What was deleted is told, and the rest is done once more.
            Err(error) if count > 0 && is_retryable(&error) => Ok((count, Progress::Under)),
            Err(error) => Err(error),
            Ok(()) => Ok((count, Progress::Done)),
        }
    }

    fn emit_deletions<'a>(
        &self,
        host: &impl Host,
        counts: impl IntoIterator<Item = (&'a str, u64)>,
    ) {
        for (namespace, count) in counts {
            self.emit(host, || {
                Event::Deletion(CountEvent {
                    namespace: namespace.to_owned(),
                    count,
                })
            });
        }
    }

    /// Frees the memory of deleted rows of one block of the index, and returns their number.
    fn compact_part(&mut self, compaction: &mut Compaction) -> (u64, Progress) {
        let index = self.index.as_mut();
        match index.and_then(|index| index.compact_some(compaction)) {
            Some(rows) => (rows as u64, Progress::Under),
            None => (0, Progress::Done),
        }
    }

    /// Deletes entries that a look-up found expired or refused. The answer does not depend on it:
    /// a failure is noted, and look-ups do without it for a while.
    pub(super) fn delete_found(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        expired: Vec<EntryRef>,
        rejected: Vec<EntryRef>,
        now: Now,
    ) {
        let interval_ms = self.options.touch_interval_ms;
        if expired.is_empty() && rejected.is_empty() || self.backlog.is_held_back(now, interval_ms)
        {
            return;
        }
        let deleted = self
            .delete_expired_entries(store, host, expired, now)
            .and_then(|()| self.delete_rejected(store, host, rejected));
        if deleted.is_err() {
            self.backlog.hold_back(now);
        }
        self.note(DELETING, deleted);
    }

    /// Deletes entries that had expired, unless they have been replaced.
    fn delete_expired_entries(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: Vec<EntryRef>,
        now: Now,
    ) -> Result<()> {
        let deleted = self.delete_unchanged(store, entries)?;
        self.count_entries(host, Kind::Expirations, &deleted, Event::Expiration, now);
        Ok(())
    }

    /// Deletes entries that the validator refused, unless they have been replaced.
    fn delete_rejected(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: Vec<EntryRef>,
    ) -> Result<()> {
        for entry in self.delete_unchanged(store, entries)? {
            self.emit(host, || {
                Event::Rejection(CountEvent {
                    namespace: entry.namespace,
                    count: 1,
                })
            });
        }
        Ok(())
    }

    /// Deletes entries unless they have been replaced, and returns those that it deleted.
    pub(super) fn delete_unchanged(
        &mut self,
        store: &impl Store,
        mut entries: Vec<EntryRef>,
    ) -> Result<Vec<EntryRef>> {
        if entries.is_empty() {
            return Ok(entries);
        }
        let ids = store.delete_unchanged(&entries)?;
        keep_those(&mut entries, ids, |entry| entry.id);
        self.deleted(&entries);
        Ok(entries)
    }
}

/// Keeps the items whose ids are among these. Both lists may be long.
fn keep_those<T, I: Ord>(items: &mut Vec<T>, mut ids: Vec<I>, id: impl Fn(&T) -> I) {
    ids.sort_unstable();
    items.retain(|item| ids.binary_search(&id(item)).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::cmp::Ordering;

    /// An id that counts how often it is compared.
    #[derive(Clone, Copy)]
    struct Counted<'a>(u64, &'a Cell<u64>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted<'_> {}

    impl PartialOrd for Counted<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl Ord for Counted<'_> {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.set(self.1.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    #[test]
    fn keeping_many_takes_few_comparisons_of_each() {
        let compared = Cell::new(0);
        let n = 20_000;
        // The store returns ids in any order.
        let ids = (0..n)
            .map(|i| Counted(i * 7_919 % n, &compared))
            .filter(|id| id.0 % 10 > 0);
        let mut items: Vec<u64> = (0..n).collect();
        keep_those(&mut items, ids.collect(), |&id| Counted(id, &compared));
        assert!(items.into_iter().eq((0..n).filter(|id| id % 10 > 0)));
        assert!(compared.get() < n * 40, "{} comparisons", compared.get());
    }
}
