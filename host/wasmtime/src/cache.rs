//! The cache as a Rust program uses it.

mod labelling;
mod lookup;
mod storing;
#[cfg(test)]
mod tests;
pub(crate) mod verifying;

use crate::bound::SameAnswer;
use crate::cache::verifying::Verifying;
use crate::component::Instance;
use crate::contract::exports::mneme::cache::cache::{Guest, Step};
use crate::contract::trust::{BoundReport, Judgement, VetoKind};
use crate::contract::types::{Error as StoreError, VectorDtype};
use crate::error::{Error, Result};
use crate::flights::Flights;
use crate::host::ErrorFn;
use crate::imports::State;
use crate::lanes::{Lane, Lanes, Needs};
use crate::observe::{Counting, Gauges, Measured, Reading, Watch};
use crate::pool::Pool;
use crate::turn::Turn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

#[cfg(feature = "tokio")]
pub(crate) use labelling::{label, label_computed};
#[cfg(feature = "tokio")]
pub(crate) use lookup::{Missed, explain, from_cache, look_up, look_up_many, look_up_to_keep};
#[cfg(feature = "tokio")]
pub(crate) use storing::{keep, put, put_many};

pub use crate::contract::api::{
    CacheStats as Stats, Counters, ExplainedOutcome, Explanation, HealthReport as Health,
    JudgedEntry, NamespaceStats, NormalizedQuery, Verdict, VetoCounts,
};

/// Requests of many that are handed over again in a turn, at most. One turn seldom answers more, and
/// each is copied and checked each time.
const PER_TURN: usize = 512;

/// Namespaces that one turn lists.
const NAMESPACES_PER_PAGE: u32 = 1 << 16;

/// A semantic cache over one store.
///
/// Clones are handles of the same cache, and any number of threads may use them. Calls run
/// one at a time, unless the cache has [lanes](crate::Builder::lanes); the embedding of their queries
/// runs at the same time. Dropping the last handle closes the cache; [`close`](Self::close) also returns errors.
#[derive(Clone)]
pub struct SemanticCache {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    verifier: Option<Verifying>,
    same_answer: SameAnswer,
    on_error: Option<ErrorFn>,
    lanes: Lanes,
    /// Held while the index is rebuilt: a step for another dtype would begin it again.
    requantizing: parking_lot::Mutex<()>,
    flights: Flights<std::sync::Mutex<Option<String>>>,
    /// How often something was stored through this cache.
    stored: AtomicU64,
    watch: Arc<Watch>,
    counting: parking_lot::Mutex<Counting>,
}

/// A handle of a [`SemanticCache`] that does not keep it open.
#[derive(Clone)]
pub struct WeakSemanticCache {
    inner: Weak<Inner>,
}

impl WeakSemanticCache {
    /// Whether the cache still has a handle.
    pub(crate) fn is_alive(&self) -> bool {
        self.inner.strong_count() > 0
    }

    /// The cache, if it still has a handle.
    pub fn upgrade(&self) -> Option<SemanticCache> {
        self.inner.upgrade().map(|inner| SemanticCache { inner })
    }
}

impl std::fmt::Debug for WeakSemanticCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakSemanticCache")
    }
}

impl std::fmt::Debug for SemanticCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SemanticCache")
            .field("embedder", &self.inner.pool.service().fingerprint())
            .finish_non_exhaustive()
    }
}

impl SemanticCache {
    pub(crate) fn new(
        lanes: Lanes,
        pool: Pool,
        verifier: Option<Verifying>,
        same_answer: SameAnswer,
        on_error: Option<ErrorFn>,
        watch: Arc<Watch>,
        counting: Counting,
    ) -> Self {
        SemanticCache {
            inner: Arc::new(Inner {
                pool,
                verifier,
                same_answer,
                on_error,
                lanes,
                requantizing: parking_lot::Mutex::default(),
                flights: Flights::default(),
                stored: AtomicU64::new(0),
                watch,
                counting: parking_lot::Mutex::new(counting),
            }),
        }
    }

    /// How often something was stored through this cache. If it has not changed since a look-up, that
    /// need not be repeated.
    pub(crate) fn stored(&self) -> u64 {
        self.inner.stored.load(Ordering::Acquire)
    }

    fn has_stored(&self) {
        self.inner.stored.fetch_add(1, Ordering::Release);
    }

    /// A handle that does not keep the cache open.
    pub fn downgrade(&self) -> WeakSemanticCache {
        WeakSemanticCache {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Deletes the entry of a query, compared after normalisation, of the empty context. False if
    /// there was no such entry.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn delete(&self, query: &str, namespace: &str) -> Result<bool> {
        self.delete_in_context(query, namespace, "")
    }

    /// As [`delete`](Self::delete), of a context; see [`GetRequest::context`](crate::GetRequest::context).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn delete_in_context(&self, query: &str, namespace: &str, context: &str) -> Result<bool> {
        self.call("delete", Some(namespace), |guest, store| {
            guest.call_delete(store, query, namespace, context)
        })
    }

    /// Deletes all entries and counters of all namespaces, and returns the number of entries
    /// deleted. Quotas stay. It goes in steps of some milliseconds, between which others are
    /// served; what they store meanwhile may be deleted too.
    ///
    /// # Errors
    ///
    /// What the store returns.
    pub fn clear(&self) -> Result<u64> {
        self.lanes().gather_counts()?;
        self.in_steps("clear", None, |guest, store| {
            timeless(store, |store| guest.call_clear(store))
        })
    }

    /// Deletes the entries and counters of one namespace, and returns the number of entries
    /// deleted. Its quota stays. It goes in steps, as [`clear`](Self::clear).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn clear_namespace(&self, namespace: &str) -> Result<u64> {
        self.lanes().gather_counts()?;
        self.in_steps("clear_namespace", Some(namespace), |guest, store| {
            timeless(store, |store| guest.call_clear_namespace(store, namespace))
        })
    }

    /// All namespaces that hold entries, sorted by their bytes. It goes in steps of 65,536
    /// namespaces, between which others are served. See [`Self::list_namespaces_after`] for pages.
    ///
    /// # Errors
    ///
    /// What the store returns.
    pub fn list_namespaces(&self) -> Result<Vec<String>> {
        self.watched("list_namespaces", None, || {
            let mut all: Vec<String> = Vec::new();
            loop {
                let after = all.last().map(String::as_str);
                let page = self.turn(|guest, store| {
                    guest.call_list_namespaces(store, after, NAMESPACES_PER_PAGE)
                })?;
                let is_last = page.len() < NAMESPACES_PER_PAGE as usize;
                all.extend(page);
                if is_last {
                    return Ok(all);
                }
            }
        })
    }

    /// A page of the namespaces that hold entries, sorted by their bytes: the first `limit`, 1 to
    /// 1,048,576, whose bytes come after those of `after`. Fewer mean that there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn list_namespaces_after(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        self.call("list_namespaces", None, |guest, store| {
            guest.call_list_namespaces(store, after, limit)
        })
    }

    /// Deletes expired entries, of one namespace or of all, and returns their number. It goes in
    /// steps of some milliseconds, between which others are served. With `compact` it then
    /// frees the index memory of deleted rows, also in steps.
    ///
    /// An entry dated more than 300 s ahead of this clock stays, as it is not known which clock
    /// is wrong; [`health`](Self::health) counts such entries.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn vacuum(&self, namespace: Option<&str>, compact: bool) -> Result<u64> {
        self.in_steps("vacuum", namespace, |guest, store| {
            guest.call_vacuum(store, namespace, compact)
        })
    }

    /// Frees the index memory of deleted rows, and returns the number of those rows. With
    /// [`IndexKind::Hnsw`](crate::IndexKind::Hnsw) it also loads the index and builds all graphs
    /// that are due. It goes in steps, between which others are served. A graph is built in one
    /// step, which takes some 10 seconds: mind
    /// [`Builder::call_timeout`](crate::Builder::call_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; with graphs, [`Error::IndexUnavailable`] for lack of memory, and what
    /// the store returns.
    pub fn compact(&self) -> Result<u64> {
        self.in_steps("compact", None, |guest, store| guest.call_compact(store))
    }

    /// Finishes building the index now instead of incrementally during look-ups. Returns the
    /// number of its rows. Changes no answer. It goes in steps, between which others are served.
    ///
    /// # Errors
    ///
    /// [`Error::IndexUnavailable`] for lack of memory; [`Error::Backend`],
    /// [`Error::Corrupt`], [`Error::Limit`], [`Error::Closed`].
    pub fn warm_up(&self) -> Result<u64> {
        self.watched("warm_up", None, || {
            let mut rows = 0;
            for (number, lane) in self.lanes().semantic().iter().enumerate() {
                let step = || self.on_lane(lane, |guest, store| guest.call_warm_up(store));
                let mut done = step()?;
                while done.more {
                    done = step()?;
                }
                self.lanes().is_warm(number, true);
                rows = rows.max(done.entries);
            }
            Ok(rows)
        })
    }

    /// Sets the quota of a namespace: the most entries that it may hold. None removes it. A
    /// namespace over its new quota shrinks at its next put; 0 closes it to writing.
    ///
    /// All quotas take 14 MiB at most: each 64 bytes, and its namespace's name as JSON. That is
    /// 170,000 with names of 20 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], also for one quota too many, and what the store returns.
    pub fn set_namespace_quota(&self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.call("set_namespace_quota", Some(namespace), |guest, store| {
            guest.call_set_namespace_quota(store, namespace, max_entries)
        })
    }

    /// The most entries that a namespace may hold, if it has a quota.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn namespace_quota(&self, namespace: &str) -> Result<Option<u64>> {
        self.call("namespace_quota", Some(namespace), |guest, store| {
            guest.call_get_namespace_quota(store, namespace)
        })
    }

    /// Changes the least similarity of a semantic hit: -1 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`].
    pub fn set_similarity_threshold(&self, threshold: f32) -> Result<()> {
        for lane in self.lanes().all() {
            let mut instance = lane.wait(self.lanes().cache())?;
            instance.call(|guest, store| guest.call_set_similarity_threshold(store, threshold))?;
            instance.options.similarity_threshold = threshold;
        }
        Ok(())
    }

    /// Changes how the index holds vectors in memory, rebuilding it from the store in steps.
    /// Until then the old index answers. Of several callers at once, one after the other does.
    ///
    /// # Errors
    ///
    /// What the store returns; [`Error::IndexUnavailable`], with the old index in place.
    pub fn requantize(&self, dtype: VectorDtype) -> Result<()> {
        self.watched("requantize", None, || {
            // Refuses the cache's own store, policy and clock, which would wait for themselves.
            drop(self.instance()?);
            let _alone = self.inner.requantizing.lock();
            let step = |instance: &mut Instance| {
                let more = instance.call(|guest, store| guest.call_requantize(store, dtype))?;
                if !more {
                    instance.options.vector_dtype = dtype;
                }
                Ok(more)
            };
            for lane in self.lanes().semantic() {
                while self.lanes().in_turn(lane, step)? {}
            }
            Ok(())
        })
    }

    /// Counts, settings and memory, of one namespace or of all. Where the names of namespaces that
    /// have counters take more than 256 KiB, misses of those that have no other counts are part of
    /// the sum only. [`Stats::namespaces`] lists at most 65,536 namespaces; `namespace_count` says how
    /// many there are, and all sums cover all of them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn stats(&self, namespace: Option<&str>) -> Result<Stats> {
        self.watched("stats", namespace, || {
            self.lanes().gather_counts()?;
            self.turn(|guest, store| guest.call_stats(store, namespace))
        })
    }

    /// Checks the store and reports. A failing store is part of the report, not an error.
    /// Without `deep` it asks the store for two values. With `deep` it checks all data, which
    /// takes seconds for gigabytes; other callers wait meanwhile. A store that was opened for
    /// writing, and can only be read, is a problem.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::Limit`].
    pub fn health(&self, deep: bool) -> Result<Health> {
        self.watched("health", None, || {
            let mut health = self.turn(|guest, store| {
                let report = guest.call_health(&mut *store, deep)?;
                Ok(report.map(|mut health| {
                    if let Some(why) = store.data().store.read_only() {
                        health.problems.push(format!(
                            "the cache can only be read, for {why}: it answers, and keeps nothing new; give this process the right to write, or open it for reading only"
                        ));
                    }
                    health
                }))
            })?;
            for problem in self.lanes().problems()? {
                if !health.problems.contains(&problem) {
                    health.problems.push(problem);
                }
            }
            health.healthy &= health.problems.is_empty();
            Ok(health)
        })
    }

    /// A query as the cache compares and embeds it.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn normalize(&self, query: &str) -> Result<NormalizedQuery> {
        self.instance()?
            .call_infallible(|guest, store| guest.call_normalize(store, query))
    }

    /// The vetoes between a query and the query of an entry, of these kinds, as look-ups find them.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn judge(&self, query: &str, entry: &str, kinds: &[VetoKind]) -> Result<Judgement> {
        self.instance()?
            .call_infallible(|guest, store| guest.call_judge(store, query, entry, kinds))
    }

    /// The cosine of two vectors, after rounding both as an index of this dtype does.
    ///
    /// # Errors
    ///
    /// [`Error::EmbedderDimension`] if their lengths differ; [`Error::InvalidArgument`]
    /// for a vector that is empty, zero, or not finite.
    pub fn similarity(&self, a: &[f32], b: &[f32], dtype: VectorDtype) -> Result<f32> {
        self.instance()?
            .call(|guest, store| guest.call_similarity(store, a, b, dtype))
    }

    /// Writes waiting access data and counters to the store, and the index, if enough of it has
    /// changed and [`Builder::persist_index`](crate::Builder::persist_index) is on. Useful when
    /// idle. It goes in steps, between which others are served.
    ///
    /// # Errors
    ///
    /// What the store returns; the data then still waits.
    pub fn flush(&self) -> Result<()> {
        self.watched("flush", None, || {
            self.lanes().write_counts()?;
            while self.turn(|guest, store| guest.call_flush(store))? {}
            Ok(())
        })
    }

    /// Flushes, then closes the store and all handles of this cache. Closing a closed cache
    /// does nothing.
    ///
    /// # Errors
    ///
    /// What the store returns. The cache is closed even then.
    pub fn close(&self) -> Result<()> {
        let lanes = self.lanes();
        // A failure of one is told once all are closed.
        let mut outcome = Ok(());
        for lane in lanes.all().skip(1) {
            outcome = outcome.and(lane.wait(lanes.cache())?.close());
        }
        // In steps; what is left goes at once, and its failure is told.
        loop {
            let mut instance = self.instance()?;
            // A component that was stopped has nothing to write.
            if !instance.is_live()
                || !matches!(
                    instance.call(|guest, store| guest.call_flush(store)),
                    Ok(true)
                )
            {
                break;
            }
        }
        self.instance()?.close().and(outcome)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    pub(crate) fn verifier(&self) -> Option<&Verifying> {
        self.inner.verifier.as_ref()
    }

    pub(crate) fn watch(&self) -> &Watch {
        &self.inner.watch
    }

    /// Tells of a failure that the caller is not told of, or only in passing.
    pub(crate) fn report(&self, error: &Error) {
        if let Some(on_error) = &self.inner.on_error {
            on_error(error);
        }
    }

    /// The bytes of memory that the component holds, including the index; those of all lanes.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the cache's own store, policy or clock calls this.
    pub fn memory_bytes(&self) -> Result<usize> {
        self.inner.memory()
    }

    /// What the store found when it was opened that whoever runs its server should mend, such as a
    /// Redis server that evicts keys. Often nothing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if the cache's own store, policy or clock calls this.
    pub fn warnings(&self) -> Result<Vec<String>> {
        Ok(self.instance()?.warnings())
    }

    /// Closes the store and opens it again, with the settings of the cache as they are now. For a
    /// store whose data is gone, or was replaced from outside: until then calls fail with
    /// [`Error::Corrupt`], and here the cache begins with what is there. Access data and counters
    /// that still wait are lost.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::open`](crate::Builder::open). The next call tries to open it again.
    pub fn reopen(&self) -> Result<()> {
        self.watched("reopen", None, || {
            self.instance()?.reopen()?;
            self.lanes().begin_again()
        })
    }

    /// Whether the cache was closed.
    pub fn is_closed(&self) -> bool {
        self.instance().is_ok_and(|instance| instance.is_closed())
    }

    /// What observers read.
    pub(crate) fn gauges(&self) -> Gauges {
        let cache: Arc<dyn Measured> = self.inner.clone();
        Gauges::of(&cache)
    }

    pub(crate) fn lanes(&self) -> &Lanes {
        &self.inner.lanes
    }

    /// The instance that does everything.
    pub(crate) fn instance(&self) -> Result<Turn<'_>> {
        self.lanes().first().wait(self.lanes().cache())
    }

    /// A lane for this, with few others.
    fn lane(&self, needs: Needs) -> &Lane {
        let (lane, callers) = self.lanes().pick(needs);
        if callers > 0
            && needs == Needs::Index
            && let Some(cold) = self.lanes().cold()
        {
            self.warm_lane(cold);
        }
        lane
    }

    /// Loads the index of a lane, on a thread that does not keep the cache open.
    fn warm_lane(&self, number: usize) {
        let weak = self.downgrade();
        let warm = move || {
            let step = || {
                let cache = weak.upgrade()?;
                let lane = &cache.lanes().semantic()[number];
                let step = cache.on_lane(lane, |guest, store| guest.call_warm_up(store));
                if !step.as_ref().is_ok_and(|step| step.more) {
                    cache.lanes().is_warm(number, step.is_ok());
                    return None;
                }
                Some(())
            };
            while step().is_some() {}
        };
        if thread::Builder::new().spawn(warm).is_err() {
            self.lanes().is_warm(number, false);
        }
    }

    /// Calls an export of a lane, alone.
    fn on_lane<T>(
        &self,
        lane: &Lane,
        call: impl Fn(
            &Guest,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<std::result::Result<T, StoreError>>,
    ) -> Result<T> {
        self.lanes().in_turn(lane, |instance| instance.call(&call))
    }

    /// Calls an export, alone.
    pub(crate) fn turn<T>(
        &self,
        call: impl Fn(
            &Guest,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<std::result::Result<T, StoreError>>,
    ) -> Result<T> {
        self.in_turn(|instance| instance.call(&call))
    }

    /// Works with the instance, alone. While the store cannot lock its data, others have their turn.
    pub(crate) fn in_turn<T>(&self, work: impl Fn(&mut Instance) -> Result<T>) -> Result<T> {
        self.lanes().in_turn(self.lanes().first(), work)
    }

    /// Does all steps of long work, each in a turn, and returns the number of entries.
    fn in_steps(
        &self,
        operation: &'static str,
        namespace: Option<&str>,
        call: impl Fn(
            &Guest,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<std::result::Result<Step, StoreError>>,
    ) -> Result<u64> {
        self.watched(operation, namespace, || {
            let mut entries = 0;
            loop {
                let step = self.turn(&call)?;
                entries += step.entries;
                if !step.more {
                    return Ok(entries);
                }
            }
        })
    }

    /// Calls an export under the eyes of the observers.
    pub(crate) fn call<T>(
        &self,
        operation: &'static str,
        namespace: Option<&str>,
        call: impl Fn(
            &Guest,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<std::result::Result<T, StoreError>>,
    ) -> Result<T> {
        self.watched(operation, namespace, || self.turn(&call))
    }

    /// Runs work under the eyes of the observers.
    pub(crate) fn watched<T>(
        &self,
        operation: &'static str,
        namespace: Option<&str>,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.inner.watch.operation(operation, namespace, run)
    }
}

/// None of this is a call that metrics count.
impl Measured for Inner {
    fn is_closed(&self) -> bool {
        let first = self.lanes.first().wait(self.lanes.cache());
        first.is_ok_and(|instance| instance.is_closed())
    }

    fn memory_bytes(&self) -> Result<u64> {
        Ok(self.memory()? as u64)
    }

    fn read(&self) -> Result<Reading> {
        let entries = self.counting.lock().counts(|| {
            let mut first = self.lanes.first().wait(self.lanes.cache())?;
            let stats = first.call(|guest, store| guest.call_stats(store, None))?;
            let listed = stats.namespaces.into_iter();
            let mut entries: Vec<_> = listed.map(|of| (of.namespace, of.entries)).collect();
            let sum: u64 = entries.iter().map(|(_, entries)| entries).sum();
            if sum < stats.entries {
                entries.push((String::new(), stats.entries - sum));
            }
            Ok(entries)
        })?;
        let mut first = self.lanes.first().wait(self.lanes.cache())?;
        let index_rows = first.call(|guest, store| guest.call_index_rows(store))?;
        drop(first);
        Ok(Reading {
            entries,
            index_rows,
            memory_bytes: self.memory()? as u64,
        })
    }

    fn bounds(&self) -> Result<Vec<(String, BoundReport)>> {
        let mut first = self.lanes.first().wait(self.lanes.cache())?;
        first.call(|guest, store| guest.call_bounds(store))
    }
}

impl Inner {
    /// The bytes of memory of all lanes.
    fn memory(&self) -> Result<usize> {
        let lanes = self.lanes.all();
        lanes
            .map(|lane| Ok(lane.wait(self.lanes.cache())?.memory_bytes()))
            .sum()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for instance in self.lanes.all_mut() {
            // Nobody is left to be told; close() is there for those who want to know.
            let _ = instance.close();
        }
    }
}

/// Runs a call that deletes whatever the clock shows.
fn timeless<T>(
    store: &mut wasmtime::Store<State>,
    call: impl FnOnce(&mut wasmtime::Store<State>) -> T,
) -> T {
    store.data_mut().timeless = true;
    let outcome = call(store);
    store.data_mut().timeless = false;
    outcome
}

/// Which of many are to be asked for again in the next turn, in order.
fn late<T>(outcomes: &[T], is_late: impl Fn(&T) -> bool) -> Vec<usize> {
    let late = outcomes.iter().enumerate().filter(|(_, one)| is_late(one));
    late.map(|(at, _)| at).take(PER_TURN).collect()
}

/// The component asked for something that it had been given.
pub(crate) fn broken_promise() -> Error {
    Error::Component(
        "the component asked again for a vector that it was given, which is a bug in mneme".into(),
    )
}
