//! The cache: every decision about looking up, storing, removing and reporting.
//!
//! A call checks its arguments before it changes anything. An error of the store leaves the
//! cache consistent with the store: an index that may differ from it is dropped, and built
//! again when needed.

mod bounding;
mod candidates;
mod checkpointing;
mod evicting;
mod explaining;
mod following;
mod indexing;
mod judging;
mod kept;
mod lookup;
mod reading;
mod removing;
mod reporting;
mod searching;
mod selecting;
mod steps;
mod storing;
#[cfg(test)]
mod tests;
mod uses;
mod weighing;

use crate::backlog::Backlog;
use crate::coordination::{Follower, measured, rest_after};
use crate::counters::Kind;
use crate::error::{Result, describe, invalid};
use crate::host::{Host, Now};
use crate::index::{Compaction, Index, Search};
use crate::options;
use crate::query;
use crate::quotas::Quotas;
use crate::store::Store;
use crate::types::{CountEvent, EntryKey, EntryRef, Error, Event, IndexKind, Options, VectorDtype};
use std::collections::BTreeMap;

/// A cache over a store, with a host for the clock and the policies.
pub struct Cache<S, H> {
    store: S,
    host: H,
    open: Option<Open>,
}

/// The state of an open cache.
struct Open {
    options: Options,
    backlog: Backlog,
    /// None until the first semantic look-up, and after it was dropped.
    index: Option<Index>,
    /// The index that is being read from the store.
    loading: Option<indexing::Loading>,
    /// Memory was too short for the index when it was last read.
    short: Option<indexing::Short>,
    /// How far the index has been written to the store.
    keeping: Option<kept::Writing>,
    follower: Follower,
    /// The comparison of the index with the store that is under way.
    comparison: Option<following::Comparison>,
    sizes: Sizes,
    oldest: evicting::Oldest,
    /// With the option `error-bound`.
    bounding: Option<bounding::Bounding>,
    /// With the option `max-bytes`.
    weights: weighing::Weights,
    /// By namespace: how many of the entries that were there at the beginning are left.
    clearing: steps::Pending<Option<String>, u64>,
    compacting: steps::Pending<(), Compaction>,
    /// By what is sought: semantic searches that are under way.
    searching: steps::Pending<candidates::SoughtKey, Search>,
    quotas: Quotas,
    max_batch: usize,
    /// Whether the store keeps a log of changes.
    has_log: bool,
    /// Failures of background work, by the name of the work.
    problems: BTreeMap<&'static str, String>,
}

/// Entry counts that have been read. This instance's own writes update them.
#[derive(Default)]
struct Sizes {
    total: Option<u64>,
    namespaces: BTreeMap<String, u64>,
    /// If counting took long: when it ended, and for how many milliseconds since then the counts
    /// are taken as true, whatever others write.
    rest: Option<(Now, u64)>,
}

/// Counting that took so long is not done again for a while: see [`rest_after`].
const LONG_COUNT_MILLIS: u64 = 5;

impl Sizes {
    /// Records how long counting took.
    fn counted(&mut self, start: Now, end: Now) {
        let took_ms = measured(start, end);
        if took_ms >= LONG_COUNT_MILLIS {
            self.rest = Some((end, rest_after(took_ms)));
        }
    }

    /// Others may have written: the counts are to be read again, but not all the time.
    fn others_wrote(&mut self, now: Now) {
        let rests = |(counted, rest_ms)| now >= counted && now.since(counted) < rest_ms;
        if !self.rest.is_some_and(rests) {
            *self = Sizes::default();
        }
    }

    fn add(&mut self, namespace: &str, n: u64) {
        self.total = self.total.map(|total| total.saturating_add(n));
        if let Some(count) = self.namespaces.get_mut(namespace) {
            *count = count.saturating_add(n);
        }
    }

    fn subtract(&mut self, namespace: &str, n: u64) {
        self.total = self.total.map(|total| total.saturating_sub(n));
        if let Some(count) = self.namespaces.get_mut(namespace) {
            *count = count.saturating_sub(n);
        }
    }
}

impl<S: Store, H: Host> Cache<S, H> {
    /// A closed cache.
    pub const fn new(store: S, host: H) -> Self {
        Cache {
            store,
            host,
            open: None,
        }
    }

    /// See `cache.open`.
    pub fn open(&mut self, options: Options) -> Result<()> {
        if self.open.is_some() {
            return Err(invalid("the cache is already open; close it first"));
        }
        options::check(&options)?;
        let store = &self.store;
        if options.index == IndexKind::Store && !store.capabilities().nearest {
            return Err(Error::Unsupported(format!(
                "option index is store, and the {} store, opened as it is, does not search vectors; use another kind of index, or a Postgres store with the parameter nearest",
                store.capabilities().name
            )));
        }
        store.open(&options.embedder_fingerprint, options.embedder_dim)?;
        let mut quotas = Quotas::default();
        if let Err(error) = quotas.set(store, &options.namespace_quotas) {
            // The first error is reported.
            let _ = store.close();
            return Err(error);
        }
        let bounding = match options.error_bound {
            Some(bound) => match bounding::Bounding::open(store, bound, &options) {
                Ok(bounding) => Some(bounding),
                Err(error) => {
                    let _ = store.close();
                    return Err(error);
                }
            },
            None => None,
        };
        self.open = Some(Open {
            bounding,
            follower: Follower::new(options.coordination),
            comparison: None,
            options,
            backlog: Backlog::default(),
            index: None,
            loading: None,
            short: None,
            keeping: None,
            sizes: Sizes::default(),
            oldest: evicting::Oldest::default(),
            weights: weighing::Weights::default(),
            clearing: steps::Pending::default(),
            compacting: steps::Pending::default(),
            searching: steps::Pending::default(),
            quotas,
            max_batch: (store.capabilities().max_batch as usize).max(1),
            has_log: store.capabilities().max_changes > 0,
            problems: BTreeMap::new(),
        });
        Ok(())
    }

    /// See `cache.close`.
    pub fn close(&mut self) -> Result<()> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let flushed = open.write_backlog(&self.store, self.host.now());
        while open.keep_index(&self.store, &self.host).is_under() {}
        self.store.close()?;
        flushed
    }

    /// See `cache.flush`.
    pub fn flush(&mut self) -> Result<bool> {
        let (store, host, open) = self.parts()?;
        open.write_backlog(store, host.now())?;
        open.problems.remove(WRITING_LATER);
        Ok(open.keep_index(store, host).is_under())
    }

    /// See `cache.others-did`.
    pub fn others_did(&mut self, wrote: bool, used: &[u64]) -> Result<()> {
        let (_, host, open) = self.parts()?;
        if used.len() > MOST_USED {
            return Err(invalid(format!(
                "{} entries were used; at most {MOST_USED} are allowed, so split the list",
                used.len()
            )));
        }
        if wrote && !open.follower.is_shared() {
            return Err(invalid(
                "the option coordination is single, so nobody else writes; open the cache with stale-tolerant",
            ));
        }
        let now = host.now();
        open.oldest.were_used(used, now);
        if wrote {
            open.follower.is_told();
        }
        Ok(())
    }

    /// The open state, beside the store and the host.
    fn parts(&mut self) -> Result<(&S, &H, &mut Open)> {
        Ok((&self.store, &self.host, opened(&mut self.open)?))
    }
}

/// The most entries that others in this process have used, in one call.
const MOST_USED: usize = 4_096;

/// Names the flush of the backlog in `problems`.
const WRITING_LATER: &str = "writing access data and counters";
/// Names the writing and reading of the stored index in `problems`.
const KEEPING: &str = "keeping the index in the store";
/// Names the reading of vectors into memory in `problems`.
const READING_VECTORS: &str = "reading vectors into memory";
/// Names eviction in `problems`.
const EVICTING: &str = "evicting";
/// Names the replacing of the key of tickets in `problems`.
const REPLACING_KEY: &str = "replacing the key of tickets";
/// Names the deletion of what a look-up found in `problems`.
const DELETING: &str = "deleting expired or refused entries";

fn opened(open: &mut Option<Open>) -> Result<&mut Open> {
    open.as_mut().ok_or(Error::Closed)
}

impl Open {
    /// A query as this cache compares it.
    fn text(&self, query: &str) -> String {
        match self.options.normalize {
            true => query::normalize(query),
            false => query.to_owned(),
        }
    }

    /// The key of a query in a namespace and context, and its normalised text.
    fn key(&self, query: &str, namespace: &str, context: &str) -> (EntryKey, String) {
        let text = self.text(query);
        let key = EntryKey {
            namespace: namespace.to_owned(),
            query_hash: query::hash(&text, context),
        };
        (key, text)
    }

    /// Writes the backlog if it is due. A failure does not fail the call: `health` reports it,
    /// and a later call tries again.
    fn flush_if_due(&mut self, store: &impl Store, now: Now) {
        let options = &self.options;
        if self
            .backlog
            .is_due(now, options.touch_limit, options.touch_interval_ms)
        {
            let flushed = self.write_backlog(store, now);
            self.note(WRITING_LATER, flushed);
        }
    }

    /// Writes what waits: access data, counters, and counts of the error bound.
    fn write_backlog(&mut self, store: &impl Store, now: Now) -> Result<()> {
        let bounding = &mut self.bounding;
        self.backlog.flush(store, now, || match bounding {
            Some(bounding) => bounding.flush(store),
            None => Ok(()),
        })
    }

    /// Records how background work went. A store that can only be read takes none.
    fn note(&mut self, work: &'static str, outcome: Result<()>) {
        match outcome {
            Ok(()) | Err(Error::Unsupported(_)) => drop(self.problems.remove(work)),
            Err(error) => {
                self.problems.insert(work, describe(&error));
            }
        }
    }

    /// This instance has deleted these entries from the store in one call.
    fn deleted(&mut self, entries: &[EntryRef]) {
        if entries.is_empty() {
            return;
        }
        self.wrote();
        for entry in entries {
            self.forget(&entry.namespace, entry.id);
            self.sizes.subtract(&entry.namespace, 1);
        }
    }

    /// This instance has made one call that moved the version counter.
    fn wrote(&mut self) {
        self.follower.wrote();
        if let Some(loading) = &mut self.loading {
            loading.wrote();
        }
    }

    /// An entry is gone from the store, deleted by this instance or by another.
    fn forget(&mut self, namespace: &str, id: u64) {
        self.backlog.forget(id);
        self.weights.gone(id);
        for index in self.indexes() {
            index.remove(namespace, id);
        }
    }

    /// The index, and the one that is being read, which all writes of this instance change.
    fn indexes(&mut self) -> impl Iterator<Item = &mut Index> {
        let loading = self.loading.as_mut().and_then(indexing::Loading::index);
        self.index.as_mut().into_iter().chain(loading)
    }

    /// Drops the index, and what is under way with it. It is read again when needed.
    fn drop_index(&mut self) {
        self.stop_comparing();
        self.searching = steps::Pending::default();
        (self.index, self.loading, self.keeping) = (None, None, None);
    }

    /// Counts entries of `kind`, and reports them as events.
    fn count_entries(
        &mut self,
        host: &impl Host,
        kind: Kind,
        entries: &[EntryRef],
        event: fn(CountEvent) -> Event,
        now: Now,
    ) {
        for (namespace, count) in by_namespace(entries) {
            self.backlog.count(namespace, kind, count, now);
            self.emit(host, || {
                event(CountEvent {
                    namespace: namespace.to_owned(),
                    count,
                })
            });
        }
    }

    fn emit(&self, host: &impl Host, event: impl FnOnce() -> Event) {
        if self.options.events {
            host.on_event(&event());
        }
    }

    fn new_index(&self, dtype: VectorDtype) -> Index {
        Index::new(self.options.embedder_dim, dtype)
            .searching(self.options.index, self.options.graph)
    }
}

fn by_namespace(entries: &[EntryRef]) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    for entry in entries {
        *counts.entry(entry.namespace.as_str()).or_insert(0) += 1;
    }
    counts
}

/// By how many seconds the clocks of those who write may differ.
const CLOCK_TOLERANCE_SECONDS: u64 = 300;

/// Whether an entry was stored by a clock that is too far ahead.
fn is_of_the_future(created_at: u64, now: Now) -> bool {
    created_at > now.seconds().saturating_add(CLOCK_TOLERANCE_SECONDS)
}

/// Whether an entry has outlived its time to live.
fn is_expired(created_at: u64, ttl: Option<u64>, now: Now) -> bool {
    ttl.is_some_and(|ttl| now.seconds() >= created_at.saturating_add(ttl))
}

/// Whether an entry no longer answers. One dated in the future does not answer if it has a TTL,
/// which it would outlive by years. It is kept, because this clock may be the wrong one.
fn is_stale(created_at: u64, ttl: Option<u64>, now: Now) -> bool {
    is_expired(created_at, ttl, now) || ttl.is_some() && is_of_the_future(created_at, now)
}
