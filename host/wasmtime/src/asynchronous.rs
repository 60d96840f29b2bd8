//! The cache for tokio programs.

use crate::cache::{
    Health, Missed, SemanticCache, Stats, explain, from_cache, keep, label, label_computed,
    look_up, look_up_many, look_up_to_keep, put, put_many,
};
use crate::checkpoint::{DumpOptions, DumpReport, LoadOptions, LoadReport};
use crate::contract::api::Nearest;
use crate::contract::policy::Candidate;
use crate::contract::trust::{Label, LabelSource};
use crate::embedder::Outcome;
use crate::entries::{EntryFilter, EntryPage, Receipt};
use crate::error::{Error, Result};
use crate::flights::Flights;
use crate::front::{Front, Kind};
use crate::observe::Place;
use crate::request::{Answer, Computed, Explained, GetRequest, Lookup, Origin, PutRequest};
use crate::verifier;
use std::future::Future;
use std::io::{Read, Seek, Write};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore};

/// A [`SemanticCache`] whose calls are futures. Cloning gives another handle.
///
/// What may block (store, another call) runs on tokio's blocking threads, so the runtime is never
/// blocked. The embedder runs on threads of the cache, without any lock, and takes none of tokio's:
/// one that hangs holds up nobody who needs no vector. At most
/// [`MAX_CALLS`](AsyncSemanticCache::MAX_CALLS) steps have a thread, and others wait in line: half
/// of the threads are for what only reads, so that it goes on while any number of writes wait for a
/// lock of the store. Dropping a future leaves the line, and does not stop a step that has begun.
///
/// ```
/// use mneme::embedder::Precomputed;
/// use mneme::{AsyncSemanticCache, GetRequest, MemoryStore, PutRequest, SemanticCache};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let cache = SemanticCache::builder()
///     .store(MemoryStore::new())
///     .embedder(Precomputed::new("my-model-1", 2))
///     .open()?;
/// let cache = AsyncSemanticCache::new(cache);
/// cache.put(PutRequest::new("ping", "pong").embedding(vec![1.0, 0.0])).await?;
/// let hit = cache.get(GetRequest::new("PING")).await?.hit();
/// assert_eq!(hit.unwrap().response, "pong");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct AsyncSemanticCache {
    cache: SemanticCache,
    flights: Arc<Flights<Mutex<Option<String>>>>,
    /// One for each step that reads and may have a thread.
    reading: Arc<Semaphore>,
    /// The same for steps that change something.
    changing: Arc<Semaphore>,
}

impl AsyncSemanticCache {
    /// The most of tokio's blocking threads that all handles of a cache take together: half of them
    /// for calls that only read, half for others.
    pub const MAX_CALLS: usize = 256;

    /// Wraps a cache, which may still be used directly.
    pub fn new(cache: SemanticCache) -> Self {
        AsyncSemanticCache {
            cache,
            flights: Arc::default(),
            reading: Arc::new(Semaphore::new(Self::MAX_CALLS / 2)),
            changing: Arc::new(Semaphore::new(Self::MAX_CALLS / 2)),
        }
    }

    /// The cache itself, for calls that this type lacks. They block.
    pub fn blocking(&self) -> &SemanticCache {
        &self.cache
    }

    /// See [`SemanticCache::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get(&self, request: impl Into<GetRequest>) -> Result<Lookup> {
        let request = request.into();
        look_up(self, request).await
    }

    /// See [`SemanticCache::get_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        look_up_many(self, requests).await
    }

    /// See [`SemanticCache::put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn put(&self, request: PutRequest) -> Result<u64> {
        put(self, request.into()).await
    }

    /// See [`SemanticCache::put_many`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn put_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        put_many(self, requests).await
    }

    /// See [`SemanticCache::get_or_compute`]; `compute` is awaited on the caller's task, and
    /// not started if the cache has an answer.
    ///
    /// # Errors
    ///
    /// What `compute` returns.
    pub async fn get_or_compute<E, C, F>(
        &self,
        request: impl Into<GetRequest>,
        compute: F,
    ) -> std::result::Result<Answer, E>
    where
        C: Into<Computed>,
        F: Future<Output = std::result::Result<C, E>>,
    {
        let request = request.into().validate(true);
        let before = self.cache.stored();
        let (text, missed) = match Missed::of(look_up_to_keep(self, request.clone()).await) {
            Ok(missed) => missed,
            Err(hit) => return Ok(from_cache(*hit)),
        };
        let key = match text {
            Some(_) => self.cache.flight_key(&request, text),
            None => {
                let asked = request.clone();
                let key = self.run_reading(move |cache| Ok(cache.flight_key(&asked, None)));
                key.await.ok().flatten()
            }
        };
        let flight = key.map(|key| self.flights.join(key));
        let mut shared = match &flight {
            Some(flight) => Some(flight.response().lock().await),
            None => None,
        };
        if let Some(Some(response)) = shared.as_deref() {
            return Ok(Answer {
                response: response.clone(),
                origin: Origin::Shared,
            });
        }
        if shared.is_some() && self.cache.stored() != before {
            let asked = request.clone();
            if let Ok(Some(hit)) = self
                .run_reading(move |cache| Ok(cache.stored_meanwhile(&asked)))
                .await
            {
                return Ok(from_cache(hit));
            }
        }
        let computed: Computed = compute.await?.into();
        let published = flight
            .as_ref()
            .zip(shared.as_deref_mut())
            .map(|(flight, shared)| flight.publish(shared, &computed.response));
        let response = computed.response.clone();
        let stored = keep(self, request, computed, missed.vector).await;
        drop(published);
        // Nobody who asks the same waits for the label.
        drop(shared);
        label_computed(self, missed.nearest, &stored, &response).await;
        Ok(Answer {
            response,
            origin: Origin::Computed(stored),
        })
    }

    /// See [`SemanticCache::explain`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn explain(&self, request: impl Into<GetRequest>, limit: u32) -> Result<Explained> {
        let request = request.into();
        explain(self, request, limit).await
    }

    /// See [`SemanticCache::delete`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn delete(
        &self,
        query: impl Into<String>,
        namespace: impl Into<String>,
    ) -> Result<bool> {
        self.delete_in_context(query, namespace, "").await
    }

    /// See [`SemanticCache::delete_in_context`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn delete_in_context(
        &self,
        query: impl Into<String>,
        namespace: impl Into<String>,
        context: impl Into<String>,
    ) -> Result<bool> {
        let (query, namespace, context) = (query.into(), namespace.into(), context.into());
        self.run(move |cache| cache.delete_in_context(&query, &namespace, &context))
            .await
    }

    /// See [`SemanticCache::link`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn link(
        &self,
        query: impl Into<String>,
        namespace: impl Into<String>,
        context: impl Into<String>,
        id: u64,
        created_at: u64,
    ) -> Result<Option<u64>> {
        let (query, namespace, context) = (query.into(), namespace.into(), context.into());
        self.run(move |cache| cache.link(&query, &namespace, &context, id, created_at))
            .await
    }

    /// See [`SemanticCache::feedback`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn feedback(
        &self,
        namespace: impl Into<String>,
        ticket: impl Into<String>,
        label: Label,
        source: LabelSource,
    ) -> Result<()> {
        let (namespace, ticket) = (namespace.into(), ticket.into());
        self.run(move |cache| cache.feedback(&namespace, &ticket, label, source))
            .await
    }

    /// See [`SemanticCache::compare_answer`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn compare_answer(
        &self,
        nearest: Nearest,
        response: impl Into<String>,
    ) -> Result<Label> {
        label(self, nearest, response.into()).await
    }

    /// See [`SemanticCache::list_entries`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn list_entries(
        &self,
        filter: EntryFilter,
        after: u64,
        limit: u32,
    ) -> Result<EntryPage> {
        self.run_reading(move |cache| cache.list_entries(&filter, after, limit))
            .await
    }

    /// See [`SemanticCache::erase`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn erase(&self, filter: EntryFilter, dry_run: bool) -> Result<Receipt> {
        self.run(move |cache| cache.erase(&filter, dry_run)).await
    }

    /// See [`SemanticCache::stats`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn stats(&self, namespace: Option<String>) -> Result<Stats> {
        self.run_reading(move |cache| cache.stats(namespace.as_deref()))
            .await
    }

    /// See [`SemanticCache::health`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn health(&self, deep: bool) -> Result<Health> {
        self.run_reading(move |cache| cache.health(deep)).await
    }

    /// See [`SemanticCache::flush`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn flush(&self) -> Result<()> {
        self.run(|cache| cache.flush()).await
    }

    /// See [`SemanticCache::dump`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dump<W: Write + Send + 'static>(
        &self,
        archive: W,
        options: DumpOptions,
    ) -> Result<(DumpReport, W)> {
        self.run_reading(move |cache| cache.dump(archive, options))
            .await
    }

    /// See [`SemanticCache::dump_verified`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn dump_verified<F: Read + Write + Seek + Send + 'static>(
        &self,
        file: F,
        options: DumpOptions,
    ) -> Result<(DumpReport, F)> {
        self.run_reading(move |cache| cache.dump_verified(file, options))
            .await
    }

    /// See [`SemanticCache::load`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn load(
        &self,
        archive: impl Read + Send + 'static,
        options: LoadOptions,
    ) -> Result<LoadReport> {
        self.run(move |cache| cache.load(archive, options)).await
    }

    /// See [`SemanticCache::close`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn close(&self) -> Result<()> {
        self.run(|cache| cache.close()).await
    }

    /// See [`SemanticCache::reopen`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn reopen(&self) -> Result<()> {
        self.run(|cache| cache.reopen()).await
    }

    /// Runs any calls of the blocking cache on a thread that may block.
    ///
    /// # Errors
    ///
    /// What `calls` returns; [`Error::Component`] if it panicked or the runtime is shutting
    /// down.
    pub async fn run<T: Send + 'static>(
        &self,
        calls: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_on(&self.changing, calls).await
    }

    /// As [`run`](Self::run), for calls that only read: they do not stand behind writes that wait for
    /// a lock of the store.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn run_reading<T: Send + 'static>(
        &self,
        calls: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run_on(&self.reading, calls).await
    }

    async fn run_on<T: Send + 'static>(
        &self,
        places: &Arc<Semaphore>,
        calls: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let cache = self.cache.clone();
        let caller = Place::current();
        // Tokio's own line cannot be left. The semaphore is never closed.
        let place = Arc::clone(places).acquire_owned().await;
        let call = move || {
            let _place = place;
            caller.enter(|| calls(&cache))
        };
        tokio::task::spawn_blocking(call)
            .await
            .unwrap_or_else(|error| {
                Err(Error::Component(format!(
                    "a call of the cache did not end: {error}"
                )))
            })
    }
}

impl Front for AsyncSemanticCache {
    fn cache(&self) -> &SemanticCache {
        &self.cache
    }

    fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        part: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let places = match kind {
            Kind::Reads => &self.reading,
            Kind::Changes => &self.changing,
        };
        self.run_on(places, part)
    }

    fn embed(&self, texts: Vec<String>) -> impl Future<Output = Outcome> + Send {
        self.cache.pool().call_async(texts)
    }

    fn verify(
        &self,
        candidates: Vec<Candidate>,
    ) -> impl Future<Output = Vec<verifier::Outcome>> + Send {
        let begun: Vec<_> = self.cache.verifier().map_or_else(Vec::new, |verifier| {
            let each = candidates.into_iter();
            each.map(|candidate| verifier.now.call_async(vec![candidate]))
                .collect()
        });
        async {
            let mut outcomes = Vec::with_capacity(begun.len());
            for outcome in begun {
                outcomes.push(outcome.await);
            }
            outcomes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::Precomputed;
    use crate::store::MemoryStore;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn whoever_gives_up_leaves_the_line() {
        const MOST: usize = AsyncSemanticCache::MAX_CALLS / 2;
        let builder = SemanticCache::builder()
            .store(MemoryStore::new())
            .embedder(Precomputed::new("given", 1));
        let cache = AsyncSemanticCache::new(builder.open().unwrap());
        let (go, gate) = mpsc::channel::<()>();
        let (gate, begun) = (Arc::new(Mutex::new(gate)), Arc::new(AtomicUsize::new(0)));
        let call = || {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            cache.run(move |_| {
                begun.fetch_add(1, Ordering::SeqCst);
                // Ends when the sender is dropped.
                let _ = gate.lock().unwrap().recv();
                Ok(())
            })
        };
        let short = Duration::from_millis(1);
        // Those that have begun go on, though nobody waits.
        for _ in 0..MOST {
            assert!(timeout(short, call()).await.is_err());
        }
        // These wait for a place, and leave.
        for _ in 0..MOST {
            assert!(timeout(short, call()).await.is_err());
        }
        while begun.load(Ordering::SeqCst) < MOST {
            tokio::time::sleep(short).await;
        }
        // Whoever only reads is in another line.
        assert_eq!(cache.stats(None).await.unwrap().entries, 0);
        drop(go);
        call().await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), MOST + 1);
    }
}
