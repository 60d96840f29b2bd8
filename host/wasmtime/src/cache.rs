//! The cache as a Rust program uses it.

use crate::builder::Builder;
use crate::component::Instance;
use crate::contract::api::{self, PutOutcome, VectorSource};
use crate::contract::types::VectorDtype;
use crate::embedder::{EmbedError, Embedder, wrong_count};
use crate::error::{Error, Result};
use crate::flights::Flights;
use crate::observe::{Stage, Watch, record_lookup};
use crate::request::{Answer, Explained, GetRequest, Lookup, Miss, Origin, PutRequest};
use crate::turn::Turn;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use crate::contract::api::{
    CacheStats as Stats, Counters, ExplainedOutcome, Explanation, HealthReport as Health,
    JudgedEntry, NamespaceStats, NormalizedQuery, Verdict,
};

/// A semantic cache over one store.
///
/// Clones are handles of the same cache, and any number of threads may use them: calls
/// run one at a time, the embedding of their queries at the same time. When the last
/// handle is dropped the cache is closed; [`close`](Self::close) tells whether that went
/// well.
#[derive(Clone)]
pub struct SemanticCache {
    inner: Arc<Inner>,
}

struct Inner {
    embedder: Box<dyn Embedder>,
    /// Never locked while embedding or computing.
    instance: Mutex<Instance>,
    flights: Flights,
    watch: Arc<Watch>,
}

/// A handle of a [`SemanticCache`] that does not keep it open.
#[derive(Clone)]
pub struct WeakSemanticCache {
    inner: Weak<Inner>,
}

impl WeakSemanticCache {
    /// The cache, if a handle of it is left.
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
            .field("embedder", &self.inner.embedder.fingerprint())
            .finish_non_exhaustive()
    }
}

impl SemanticCache {
    /// Starts to describe a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn new(instance: Instance, embedder: Box<dyn Embedder>, watch: Arc<Watch>) -> Self {
        SemanticCache {
            inner: Arc::new(Inner {
                embedder,
                instance: Mutex::new(instance),
                flights: Flights::default(),
                watch,
            }),
        }
    }

    /// A handle that does not keep the cache open.
    pub fn downgrade(&self) -> WeakSemanticCache {
        WeakSemanticCache {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// Asks for an answer: the entry with the same normalised query, or else the most
    /// similar one above the threshold. An embedder that fails makes a miss, with its
    /// error in [`Miss::embedder_error`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and [`Error::EmbedderDimension`] for a bad request;
    /// what the store returns; [`Error::IndexUnavailable`] and [`Error::Limit`].
    pub fn get(&self, request: impl Into<GetRequest>) -> Result<Lookup> {
        self.look_up(request.into()).map(|(lookup, _)| lookup)
    }

    /// Says how [`get`](Self::get) would answer a question now, and why: the same outcome by
    /// the same rules, with the `limit` (1 to 1,000) nearest entries, and the one that answers
    /// if it is not among them. Counts nothing and changes nothing. The embedder is asked also
    /// where the exact layer answers; if it fails, there are no candidates.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Error::InvalidArgument`] for a limit out of range.
    pub fn explain(&self, request: impl Into<GetRequest>, limit: u32) -> Result<Explained> {
        let request = request.into();
        let namespace = request.namespace.clone();
        self.watched("explain", Some(&namespace), || {
            let first = request.into();
            let ask = |request: &api::GetRequest| {
                let mut turn = self.instance()?;
                turn.call(|guest, store| guest.call_explain(store, request, limit))
            };
            let text = match ask(&first)? {
                api::Explained::Explanation(explanation) => {
                    return Ok(Explained {
                        explanation,
                        embedder_error: None,
                    });
                }
                api::Explained::NeedsEmbedding(text) => text,
            };
            let (vector, embedder_error) = match self.embed_one(&text) {
                Ok(vector) => (VectorSource::Embedded(vector), None),
                Err(error) => (VectorSource::Failed(error.message.clone()), Some(error)),
            };
            match ask(&api::GetRequest { vector, ..first })? {
                api::Explained::Explanation(explanation) => Ok(Explained {
                    explanation,
                    embedder_error,
                }),
                api::Explained::NeedsEmbedding(_) => Err(broken_promise()),
            }
        })
    }

    /// Asks for several answers, in order; their queries are embedded together. Every
    /// request is checked before the first is answered.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        self.watched("get_many", None, || self.look_up_many(requests))
    }

    fn look_up_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        let first: Vec<api::GetRequest> = requests.into_iter().map(Into::into).collect();
        let answers = Stage::Exact.run(|| {
            self.instance()?
                .call(|guest, store| guest.call_get_many(store, &first))
        })?;
        let texts: Vec<&str> = answers.iter().filter_map(text_to_embed).collect();
        let mut again = Vec::new();
        let mut error = None;
        if !texts.is_empty() {
            let vectors: Vec<VectorSource> = match self.embed(&texts) {
                Ok(vectors) => vectors.into_iter().map(VectorSource::Embedded).collect(),
                Err(failure) => {
                    let failed = VectorSource::Failed(failure.message.clone());
                    error = Some(failure);
                    vec![failed; texts.len()]
                }
            };
            let second: Vec<_> = first
                .into_iter()
                .zip(&answers)
                .filter(|(_, answer)| text_to_embed(answer).is_some())
                .zip(vectors)
                .map(|((request, _), vector)| api::GetRequest { vector, ..request })
                .collect();
            again = Stage::Search.run(|| {
                self.instance()?
                    .call(|guest, store| guest.call_get_many(store, &second))
            })?;
        }
        let mut again = again.into_iter();
        answers
            .into_iter()
            .map(|answer| match answer {
                api::Lookup::NeedsEmbedding(_) => again
                    .next()
                    .ok_or_else(broken_promise)
                    .and_then(|a| finish(a, error.clone())),
                answer => finish(answer, None),
            })
            .collect()
    }

    /// Stores a response and returns the id of its entry. What the namespace holds under
    /// the same normalised query is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], [`Error::EmbedderDimension`], [`Error::QuotaExceeded`]
    /// for a quota of 0, [`Error::Embedder`], and what the store returns. On error
    /// nothing was stored, except perhaps where a [`Limit::Time`](crate::Limit::Time)
    /// stopped the call.
    pub fn put(&self, request: PutRequest) -> Result<u64> {
        let namespace = request.namespace.clone();
        self.watched("put", Some(&namespace), || {
            let first = request.into();
            let outcome = self
                .instance()?
                .call(|guest, store| guest.call_put(store, &first))?;
            match outcome {
                PutOutcome::Stored(id) => Ok(id),
                PutOutcome::NeedsEmbedding(text) => {
                    let vector = self.embed_one(&text).map_err(Error::Embedder)?;
                    self.put_embedded(first, vector)
                }
                PutOutcome::Ready => Err(broken_promise()),
            }
        })
    }

    /// Stores several responses and returns their ids, in order; their queries are
    /// embedded together. Every request is checked, and embedded, before the first is
    /// stored. They are stored in atomic steps of at most the store's batch size (SQLite:
    /// 1,000) and about 16 MiB; where a later step fails, earlier ones stay.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        self.watched("put_many", None, || self.store_many(requests))
    }

    fn store_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        let mut requests: Vec<api::PutRequest> = requests.into_iter().map(Into::into).collect();
        let outcomes = self
            .instance()?
            .call(|guest, store| guest.call_put_many(store, &requests))?;
        if outcomes
            .iter()
            .all(|outcome| matches!(outcome, PutOutcome::Stored(_)))
        {
            return stored_ids(outcomes);
        }
        let (pending, texts): (Vec<&mut api::PutRequest>, Vec<&str>) = requests
            .iter_mut()
            .zip(&outcomes)
            .filter_map(|(request, outcome)| match outcome {
                PutOutcome::NeedsEmbedding(text) => Some((request, text.as_str())),
                _ => None,
            })
            .unzip();
        let vectors = self.embed(&texts).map_err(Error::Embedder)?;
        for (request, vector) in pending.into_iter().zip(vectors) {
            request.vector = VectorSource::Embedded(vector);
        }
        stored_ids(
            self.instance()?
                .call(|guest, store| guest.call_put_many(store, &requests))?,
        )
    }

    /// The cached answer, or else what `compute` returns, which is then stored. Callers
    /// who ask the same (after normalisation) at the same time share one computation;
    /// if it fails, the next of them tries its own. A cache that fails does not keep
    /// the answer from the caller: see [`Origin::Computed`].
    ///
    /// ```
    /// # use mneme::{SemanticCache, MemoryStore, embedder::Precomputed, GetRequest};
    /// # let cache = SemanticCache::builder().store(MemoryStore::new()).embedder(Precomputed::new("v", 2)).open()?;
    /// let ask = || GetRequest::new("What is 6 x 7?").embedding(vec![1.0, 0.0]);
    /// let answer = cache.get_or_compute(ask(), || Ok::<_, std::io::Error>("42".into()))?;
    /// let again = cache.get_or_compute(ask(), || unreachable!("it is cached") as Result<_, std::io::Error>)?;
    /// assert_eq!(again.response, answer.response);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `compute` returns.
    pub fn get_or_compute<E>(
        &self,
        request: impl Into<GetRequest>,
        compute: impl FnOnce() -> std::result::Result<String, E>,
    ) -> std::result::Result<Answer, E> {
        let request = request.into();
        let vector = match self.look_up(request.clone()) {
            Ok((Lookup::Hit(hit), _)) => return Ok(from_cache(hit)),
            Ok((Lookup::Miss(_), vector)) => Ok(vector),
            Err(error) => Err(error),
        };
        let Some(key) = self.flight_key(&request) else {
            let response = compute()?;
            let stored = self.keep(request, &response, vector);
            return Ok(Answer {
                response,
                origin: Origin::Computed(stored),
            });
        };
        let mut origin = Origin::Shared;
        let response = self.inner.flights.share(key, || {
            if let Some(hit) = self.stored_meanwhile(&request) {
                let answer = from_cache(hit);
                origin = answer.origin;
                return Ok(answer.response);
            }
            let response = compute()?;
            origin = Origin::Computed(self.keep(request, &response, vector));
            Ok(response)
        })?;
        Ok(Answer { response, origin })
    }

    /// Deletes the entry of a query, compared after normalisation. False where there was
    /// none.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn delete(&self, query: &str, namespace: &str) -> Result<bool> {
        self.watched("delete", Some(namespace), || {
            self.instance()?
                .call(|guest, store| guest.call_delete(store, query, namespace))
        })
    }

    /// Deletes all entries and counters of all namespaces, and returns how many entries.
    /// Quotas stay.
    ///
    /// # Errors
    ///
    /// What the store returns.
    pub fn clear(&self) -> Result<u64> {
        self.watched("clear", None, || {
            self.instance()?
                .call(|guest, store| guest.call_clear(store))
        })
    }

    /// Deletes the entries and counters of one namespace, and returns how many entries.
    /// Its quota stays.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn clear_namespace(&self, namespace: &str) -> Result<u64> {
        self.watched("clear_namespace", Some(namespace), || {
            self.instance()?
                .call(|guest, store| guest.call_clear_namespace(store, namespace))
        })
    }

    /// The namespaces that hold entries, sorted by their bytes.
    ///
    /// # Errors
    ///
    /// What the store returns.
    pub fn list_namespaces(&self) -> Result<Vec<String>> {
        self.watched("list_namespaces", None, || {
            self.instance()?
                .call(|guest, store| guest.call_list_namespaces(store))
        })
    }

    /// Deletes expired entries, of one namespace or of all, and returns how many; then,
    /// with `compact`, as [`compact`](Self::compact).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn vacuum(&self, namespace: Option<&str>, compact: bool) -> Result<u64> {
        self.watched("vacuum", namespace, || {
            self.instance()?
                .call(|guest, store| guest.call_vacuum(store, namespace, compact))
        })
    }

    /// Gives back the index memory of deleted rows, and returns how many there were. With
    /// [`IndexKind::Hnsw`](crate::IndexKind::Hnsw) it also loads the index and builds at most
    /// one graph, which takes some 10 seconds: call it until [`Stats::index_graph_rows`] grows
    /// no more, and mind [`Builder::call_timeout`](crate::Builder::call_timeout).
    ///
    /// # Errors
    ///
    /// [`Error::Closed`]; with graphs, [`Error::IndexUnavailable`] for want of memory, and what
    /// the store returns.
    pub fn compact(&self) -> Result<u64> {
        self.watched("compact", None, || {
            self.instance()?
                .call(|guest, store| guest.call_compact(store))
        })
    }

    /// Makes the index as fast as it gets, now instead of bit by bit during semantic
    /// look-ups, and returns how many rows it has. Changes no answer.
    ///
    /// # Errors
    ///
    /// [`Error::IndexUnavailable`] for want of memory; [`Error::Backend`],
    /// [`Error::Corrupt`], [`Error::Limit`], [`Error::Closed`].
    pub fn warm_up(&self) -> Result<u64> {
        self.watched("warm_up", None, || {
            self.instance()?
                .call(|guest, store| guest.call_warm_up(store))
        })
    }

    /// Sets, or with none removes, the most entries that a namespace may hold. A
    /// namespace over its new quota shrinks at its next put; 0 closes it to writing.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn set_namespace_quota(&self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.watched("set_namespace_quota", Some(namespace), || {
            self.instance()?
                .call(|guest, store| guest.call_set_namespace_quota(store, namespace, max_entries))
        })
    }

    /// The most entries that a namespace may hold, if it has a quota.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn namespace_quota(&self, namespace: &str) -> Result<Option<u64>> {
        self.watched("namespace_quota", Some(namespace), || {
            self.instance()?
                .call(|guest, store| guest.call_get_namespace_quota(store, namespace))
        })
    }

    /// Changes the least similarity of a semantic hit: -1 to 1.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`].
    pub fn set_similarity_threshold(&self, threshold: f32) -> Result<()> {
        let mut instance = self.instance()?;
        instance.call(|guest, store| guest.call_set_similarity_threshold(store, threshold))?;
        instance.options.similarity_threshold = threshold;
        Ok(())
    }

    /// Changes how the index holds vectors in memory, building it anew from the store.
    ///
    /// # Errors
    ///
    /// What the store returns; [`Error::IndexUnavailable`], with the old index in place.
    pub fn requantize(&self, dtype: VectorDtype) -> Result<()> {
        self.watched("requantize", None, || {
            let mut instance = self.instance()?;
            instance.call(|guest, store| guest.call_requantize(store, dtype))?;
            instance.options.vector_dtype = dtype;
            Ok(())
        })
    }

    /// Counts, settings and memory, of one namespace or of all.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] and what the store returns.
    pub fn stats(&self, namespace: Option<&str>) -> Result<Stats> {
        self.watched("stats", namespace, || {
            self.instance()?
                .call(|guest, store| guest.call_stats(store, namespace))
        })
    }

    /// Checks the store and reports. A store that fails is part of the report.
    ///
    /// # Errors
    ///
    /// [`Error::Closed`] and [`Error::Limit`].
    pub fn health(&self) -> Result<Health> {
        self.watched("health", None, || {
            self.instance()?
                .call(|guest, store| guest.call_health(store))
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

    /// The cosine of two vectors after rounding both to what an index of this dtype
    /// holds.
    ///
    /// # Errors
    ///
    /// [`Error::EmbedderDimension`] where their lengths differ; [`Error::InvalidArgument`]
    /// for a vector that is empty, zero, or not finite.
    pub fn similarity(&self, a: &[f32], b: &[f32], dtype: VectorDtype) -> Result<f32> {
        self.instance()?
            .call(|guest, store| guest.call_similarity(store, a, b, dtype))
    }

    /// Writes waiting access data and counters to the store. Useful when idle.
    ///
    /// # Errors
    ///
    /// What the store returns; the data goes on waiting.
    pub fn flush(&self) -> Result<()> {
        self.watched("flush", None, || {
            self.instance()?
                .call(|guest, store| guest.call_flush(store))
        })
    }

    /// Writes what waits and closes the store. Other handles of this cache are closed
    /// with it. Closing a closed cache does nothing.
    ///
    /// # Errors
    ///
    /// What the store returns. The cache is closed all the same.
    pub fn close(&self) -> Result<()> {
        self.instance()?.close()
    }

    /// Looks up, and returns the query's vector too, if it was given or embedded.
    pub(crate) fn look_up(&self, request: GetRequest) -> Result<(Lookup, Option<Vec<f32>>)> {
        let namespace = request.namespace.clone();
        self.watched("get", Some(&namespace), || {
            let found = self.look_up_stages(request)?;
            record_lookup(&found.0);
            Ok(found)
        })
    }

    fn look_up_stages(&self, request: GetRequest) -> Result<(Lookup, Option<Vec<f32>>)> {
        let first: api::GetRequest = request.into();
        let stage = match first.vector {
            VectorSource::Pending => Stage::Exact,
            _ => Stage::Search,
        };
        let ask = |request: &api::GetRequest| {
            self.instance()?
                .call(|guest, store| guest.call_get(store, request))
        };
        let answer = stage.run(|| ask(&first))?;
        let api::Lookup::NeedsEmbedding(text) = answer else {
            let vector = match first.vector {
                VectorSource::Given(vector) => Some(vector),
                _ => None,
            };
            return Ok((finish(answer, None)?, vector));
        };
        let (source, vector, error) = match self.embed_one(&text) {
            Ok(vector) => (VectorSource::Embedded(vector.clone()), Some(vector), None),
            Err(error) => (
                VectorSource::Failed(error.message.clone()),
                None,
                Some(error),
            ),
        };
        let second = api::GetRequest {
            vector: source,
            ..first
        };
        let answer = Stage::Search.run(|| ask(&second))?;
        Ok((finish(answer, error)?, vector))
    }

    /// The answer to exactly this question, if somebody has stored it since it was looked
    /// up: whoever was computing it may have finished between the two.
    pub(crate) fn stored_meanwhile(&self, request: &GetRequest) -> Option<api::Hit> {
        if request.bypass {
            return None;
        }
        let again = api::GetRequest {
            vector: VectorSource::Pending,
            ..request.clone().into()
        };
        let answer = self
            .instance()
            .and_then(|mut turn| turn.call(|guest, store| guest.call_get(store, &again)));
        match answer {
            Ok(api::Lookup::Hit(hit)) => Some(hit),
            _ => None,
        }
    }

    /// Stores a computed response, with the vector of its look-up if there is one.
    pub(crate) fn keep(
        &self,
        request: GetRequest,
        response: &str,
        vector: Result<Option<Vec<f32>>>,
    ) -> Result<u64> {
        let put = PutRequest::new(request.query, response).namespace(request.namespace);
        match vector? {
            Some(vector) => {
                let namespace = put.namespace.clone();
                self.watched("put", Some(&namespace), || {
                    self.put_embedded(put.into(), vector)
                })
            }
            None => self.put(put),
        }
    }

    /// Names what is being asked, for those who ask the same.
    pub(crate) fn flight_key(&self, request: &GetRequest) -> Option<(String, String)> {
        let hash = self.normalize(&request.query).ok()?.hash;
        Some((request.namespace.clone(), hash))
    }

    fn put_embedded(&self, request: api::PutRequest, vector: Vec<f32>) -> Result<u64> {
        let request = api::PutRequest {
            vector: VectorSource::Embedded(vector),
            ..request
        };
        match self
            .instance()?
            .call(|guest, store| guest.call_put(store, &request))?
        {
            PutOutcome::Stored(id) => Ok(id),
            PutOutcome::NeedsEmbedding(_) | PutOutcome::Ready => Err(broken_promise()),
        }
    }

    fn embed_one(&self, text: &str) -> std::result::Result<Vec<f32>, EmbedError> {
        self.embed(&[text])?
            .pop()
            .ok_or_else(|| wrong_count(&self.inner.embedder, 0, 1))
    }

    fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<f32>>, EmbedError> {
        let embedder = &self.inner.embedder;
        let watch = &self.inner.watch;
        watch.embedding(embedder.fingerprint(), texts.len(), || {
            let vectors = embedder.embed(texts)?;
            if vectors.len() == texts.len() {
                Ok(vectors)
            } else {
                Err(wrong_count(embedder, vectors.len(), texts.len()))
            }
        })
    }

    /// The bytes of memory that the component holds, index included.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] where the cache's own store, policy or clock asks.
    pub fn memory_bytes(&self) -> Result<usize> {
        Ok(self.instance()?.memory_bytes())
    }

    /// Whether the cache was closed.
    pub fn is_closed(&self) -> bool {
        self.instance().is_ok_and(|instance| instance.is_closed())
    }

    /// What metrics tell of the present, read without being a call that they count.
    #[cfg(any(feature = "prometheus", feature = "opentelemetry"))]
    pub(crate) fn read_gauges(&self) -> Result<(Stats, usize)> {
        let mut instance = self.instance()?;
        let stats = instance.call(|guest, store| guest.call_stats(store, None))?;
        Ok((stats, instance.memory_bytes()))
    }

    pub(crate) fn instance(&self) -> Result<Turn<'_>> {
        Turn::wait(&self.inner.instance)
    }

    /// Runs a call under the eyes of the observers.
    pub(crate) fn watched<T>(
        &self,
        operation: &'static str,
        namespace: Option<&str>,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.inner.watch.operation(operation, namespace, run)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let instance = self
            .instance
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to be told; close() is there for those who want to know.
        let _ = instance.close();
    }
}

pub(crate) fn from_cache(hit: api::Hit) -> Answer {
    Answer {
        response: hit.response.clone(),
        origin: Origin::Cache(Box::new(hit)),
    }
}

fn finish(answer: api::Lookup, embedder_error: Option<EmbedError>) -> Result<Lookup> {
    match answer {
        api::Lookup::Hit(hit) => Ok(Lookup::Hit(hit)),
        api::Lookup::Miss(reason) => Ok(Lookup::Miss(Miss {
            reason,
            embedder_error,
        })),
        api::Lookup::NeedsEmbedding(_) => Err(broken_promise()),
    }
}

fn text_to_embed(answer: &api::Lookup) -> Option<&str> {
    match answer {
        api::Lookup::NeedsEmbedding(text) => Some(text),
        _ => None,
    }
}

fn stored_ids(outcomes: Vec<PutOutcome>) -> Result<Vec<u64>> {
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            PutOutcome::Stored(id) => Ok(id),
            PutOutcome::NeedsEmbedding(_) | PutOutcome::Ready => Err(broken_promise()),
        })
        .collect()
}

/// The component asked for something that it had been given.
fn broken_promise() -> Error {
    Error::Component(
        "the component asked again for a vector that it was given, which is a bug of mneme".into(),
    )
}
