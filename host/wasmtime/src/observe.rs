//! Watching a cache at work: metrics and traces.
//!
//! An [`Observer`], given to [`Builder::observer`](crate::Builder::observer), receives every hit,
//! miss, put, eviction and so on, and the durations of calls of the cache, its embedder and its
//! store. This module has two observers:
//!
//! | observer | feature | produces |
//! |---|---|---|
//! | [`Prometheus`] | `prometheus` | metrics in a registry of the crate `prometheus` |
//! | [`OpenTelemetry`] | `opentelemetry` | instruments of a meter of the crate `opentelemetry` |
//!
//! # Spans
//!
//! With the feature `tracing` every cache emits spans to the subscriber of the crate `tracing`,
//! without any observer. Their target is `mneme`. They never contain text of a query or response.
//!
//! | span | level | fields | covers |
//! |---|---|---|---|
//! | `cache` | INFO | `operation`, `otel.name` (`mneme.get`), `namespace`, `outcome` (`exact`, `semantic` or the reason of the miss), `similarity`, `error` | one call of [`SemanticCache`] |
//! | `exact` | DEBUG | | the exact layer of a look-up without a vector |
//! | `embed` | DEBUG | `texts` | the embedder |
//! | `verify` | DEBUG | `candidates` | the verifier |
//! | `search` | DEBUG | | the semantic layer; with a vector given, both layers |
//! | `store` | DEBUG | `call`, `store`, `error` | one call of the store, or one attempt at it while its data is locked |
//!
//! A warning `the embedder is left alone`, with its `error`, says that look-ups and puts that need a
//! vector fail at once; `the embedder is asked` that they do not any more. A warning `the store warns`,
//! with its `warning`, says what to mend at the store's server, such as that it evicts keys.
//!
//! ```
//! # #[cfg(feature = "prometheus")] {
//! use mneme::embedder::Precomputed;
//! use mneme::observe::Prometheus;
//! use mneme::{GetRequest, MemoryStore, PutRequest, SemanticCache};
//!
//! let registry = prometheus::Registry::new();
//! let cache = SemanticCache::builder()
//!     .store(MemoryStore::new())
//!     .embedder(Precomputed::new("my-model-1", 2))
//!     .observer(Prometheus::new(&registry)?)
//!     .open()?;
//! cache.put(PutRequest::new("ping", "pong").embedding(vec![1.0, 0.0]))?;
//! cache.get("ping")?;
//!
//! let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather())?;
//! assert!(text.contains(r#"mneme_hits_total{layer="exact",namespace="default"} 1"#), "{text}");
//! assert!(text.contains(r#"mneme_entries{namespace="default"} 1"#));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(any(feature = "opentelemetry", feature = "prometheus"))]
mod caches;
mod counting;
mod gauges;
#[cfg(any(feature = "opentelemetry", feature = "prometheus"))]
mod labels;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "prometheus")]
mod prometheus;

use crate::cache::SemanticCache;
use crate::contract::events::Event;
use crate::embedder::EmbedError;
use crate::error::{Error, Result};
use crate::request::Lookup;
use crate::store::StoreError;
use crate::verifier::{Opinion, VerifyError};
use std::sync::Arc;
use std::time::{Duration, Instant};

#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::{OpenTelemetry, OpenTelemetryBuilder};
#[cfg(feature = "prometheus")]
pub use self::prometheus::{Prometheus, PrometheusBuilder};
#[cfg(any(feature = "opentelemetry", feature = "prometheus"))]
pub use labels::DEFAULT_MAX_NAMESPACES;

pub(crate) use counting::Counting;
pub(crate) use gauges::Measured;
pub use gauges::{Gauges, Reading};

/// Receives what a cache does. By default all methods do nothing.
///
/// Any thread calls them, in the middle of the cache's work, some while other callers wait. They
/// must be quick, and must not call the cache; such a call fails.
pub trait Observer: Send + Sync {
    /// A cache with this observer was opened. Its `gauges` can be read from now on, but not
    /// from within a call of an observer.
    fn opened(&self, gauges: &Gauges) {
        let _ = gauges;
    }

    /// Something happened to entries; see [`Event`].
    fn event(&self, event: &Event) {
        let _ = event;
    }

    /// A call of [`SemanticCache`] ended. Its `name` is that of the method; `get_or_compute`
    /// counts as a `get` and perhaps a `put`.
    fn operation(&self, timing: &Timing<'_>) {
        let _ = timing;
    }

    /// A call of the embedder ended. The `name` is the embedder's fingerprint.
    fn embedding(&self, timing: &Timing<'_>) {
        let _ = timing;
    }

    /// The embedder is left alone from now on, or works again. Also told when a cache is opened, with
    /// an embedder that is thought to work. See [`Embedder`](crate::Embedder).
    fn availability(&self, change: &Availability<'_>) {
        let _ = change;
    }

    /// A candidate was verified; see [`Verifier`](crate::Verifier).
    fn verification(&self, verified: &Verified) {
        let _ = verified;
    }

    /// A call of the store ended. The `name` is that of the method of [`Store`](crate::Store). A call
    /// that finds the data locked, and is made again until it is done or fails, is told once.
    fn store_call(&self, timing: &Timing<'_>) {
        let _ = timing;
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn opened(&self, gauges: &Gauges) {
        (**self).opened(gauges);
    }

    fn event(&self, event: &Event) {
        (**self).event(event);
    }

    fn operation(&self, timing: &Timing<'_>) {
        (**self).operation(timing);
    }

    fn embedding(&self, timing: &Timing<'_>) {
        (**self).embedding(timing);
    }

    fn availability(&self, change: &Availability<'_>) {
        (**self).availability(change);
    }

    fn verification(&self, verified: &Verified) {
        (**self).verification(verified);
    }

    fn store_call(&self, timing: &Timing<'_>) {
        (**self).store_call(timing);
    }
}

/// Whether the embedder is asked, or left alone because it has failed.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Availability<'a> {
    /// The embedder's fingerprint.
    pub embedder: &'a str,
    /// Why it is left alone. None if it is asked.
    pub error: Option<&'a EmbedError>,
}

/// What the verifier said about a candidate.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Verified {
    /// What it said; [`Opinion::Failed`] also if it took too long.
    pub opinion: Opinion,
    /// How long that took, with the wait in line.
    pub took: Duration,
}

/// The duration of a call.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Timing<'a> {
    /// The name of the call.
    pub name: &'a str,
    /// The kind of the cache's store: the name in its capabilities.
    pub store: &'a str,
    /// How long it took. For an operation this includes the time of embedder and store, and
    /// the wait for other callers; for a call of the store, the wait for a lock.
    pub took: Duration,
    /// Whether it returned an error. A miss is not an error.
    pub failed: bool,
}

/// The observers of a cache, and the kind of its store. Nobody by default.
#[derive(Default)]
pub(crate) struct Watch {
    observers: Vec<Box<dyn Observer>>,
    store: String,
}

/// A call of the cache that is under way, on any thread.
pub(crate) struct Call {
    name: &'static str,
    started: Instant,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Call {
    /// Runs a part of it.
    pub fn enter<T>(&self, run: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        return self.span.in_scope(run);
        #[cfg(not(feature = "tracing"))]
        run()
    }

    /// A part of it, to be run on any thread.
    pub fn part<T, F: FnOnce(&SemanticCache) -> T>(
        &self,
        run: F,
    ) -> impl FnOnce(&SemanticCache) -> T + use<T, F> {
        let place = self.enter(Place::current);
        move |cache: &SemanticCache| place.enter(|| run(cache))
    }
}

/// A call of the store that is under way: it may give way to a lock, and be made again.
pub(crate) struct StoreCall {
    pub name: &'static str,
    pub started: Instant,
}

/// Where the caller is in the tree of spans, for work on another thread.
///
/// The subscriber goes along: a span that is closed under another one closes a span of that one as
/// its parent.
#[derive(Clone)]
pub(crate) struct Place {
    #[cfg(feature = "tracing")]
    subscriber: tracing::Dispatch,
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Place {
    pub fn current() -> Self {
        Place {
            #[cfg(feature = "tracing")]
            subscriber: tracing::dispatcher::get_default(Clone::clone),
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    /// Runs work there, and leaves the span.
    pub fn enter<T>(self, run: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        return tracing::dispatcher::with_default(&self.subscriber, || self.span.in_scope(run));
        #[cfg(not(feature = "tracing"))]
        run()
    }
}

#[cfg(feature = "tracing")]
impl Drop for Place {
    fn drop(&mut self) {
        let span = std::mem::replace(&mut self.span, tracing::Span::none());
        tracing::dispatcher::with_default(&self.subscriber, || drop(span));
    }
}

/// A part of a look-up.
#[derive(Clone, Copy)]
pub(crate) enum Stage {
    Exact,
    Search,
}

impl Watch {
    pub fn new(observers: Vec<Box<dyn Observer>>, store: String) -> Self {
        Watch { observers, store }
    }

    pub fn opened(&self, gauges: &Gauges) {
        for observer in &self.observers {
            observer.opened(gauges);
        }
    }

    pub fn event(&self, event: &Event) {
        for observer in &self.observers {
            observer.event(event);
        }
    }

    /// Tells what the store warns of.
    pub fn warning(&self, warning: &str) {
        #[cfg(feature = "tracing")]
        tracing::warn!(target: "mneme", store = self.store, warning, "the store warns");
        #[cfg(not(feature = "tracing"))]
        let _ = warning;
    }

    /// Tells of the embedder.
    pub fn availability(&self, embedder: &str, error: Option<&EmbedError>) {
        #[cfg(feature = "tracing")]
        if let Some(error) = error {
            tracing::warn!(target: "mneme", embedder, %error, "the embedder is left alone");
        } else {
            tracing::info!(target: "mneme", embedder, "the embedder is asked");
        }
        for observer in &self.observers {
            observer.availability(&Availability { embedder, error });
        }
    }

    /// Tells of the verifier: why it is left alone, or that it is asked.
    pub fn verifier(&self, error: Option<&VerifyError>) {
        #[cfg(feature = "tracing")]
        match error {
            Some(error) => {
                tracing::warn!(target: "mneme", %error, "the verifier is left alone");
            }
            None => tracing::info!(target: "mneme", "the verifier is asked"),
        }
        #[cfg(not(feature = "tracing"))]
        let _ = error;
    }

    /// A call of the cache begins.
    pub fn begin(&self, name: &'static str, namespace: Option<&str>) -> Call {
        #[cfg(feature = "tracing")]
        let span = tracing::info_span!(
            target: "mneme",
            "cache",
            operation = name,
            otel.name = tracing::field::Empty,
            namespace,
            outcome = tracing::field::Empty,
            similarity = tracing::field::Empty,
            error = tracing::field::Empty,
        );
        #[cfg(feature = "tracing")]
        if !span.is_disabled() {
            span.record("otel.name", format!("mneme.{name}"));
        }
        #[cfg(not(feature = "tracing"))]
        let _ = namespace;
        Call {
            name,
            started: Instant::now(),
            #[cfg(feature = "tracing")]
            span,
        }
    }

    /// A call of the cache has ended.
    pub fn end<T>(&self, call: &Call, outcome: &Result<T>) {
        let timing = self.timing(call.name, call.started, outcome.is_err());
        for observer in &self.observers {
            observer.operation(&timing);
        }
        if let Err(error) = outcome {
            call.enter(|| record_error(|| Error::kind(error)));
        }
    }

    /// Runs a call of the cache.
    pub fn operation<T>(
        &self,
        name: &'static str,
        namespace: Option<&str>,
        run: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let call = self.begin(name, namespace);
        let outcome = call.enter(run);
        self.end(&call, &outcome);
        outcome
    }

    /// A call of the embedder has ended.
    pub fn embedded(&self, fingerprint: &str, started: Instant, failed: bool) {
        let timing = self.timing(fingerprint, started, failed);
        for observer in &self.observers {
            observer.embedding(&timing);
        }
    }

    /// A candidate was verified.
    pub fn verified(&self, opinion: Opinion, started: Instant) {
        let verified = Verified {
            opinion,
            took: started.elapsed(),
        };
        for observer in &self.observers {
            observer.verification(&verified);
        }
    }

    fn timing<'a>(&'a self, name: &'a str, started: Instant, failed: bool) -> Timing<'a> {
        Timing {
            name,
            store: &self.store,
            took: started.elapsed(),
            failed,
        }
    }

    /// A call of the store has ended.
    pub fn store_called(&self, call: &StoreCall, failed: bool) {
        let timing = self.timing(call.name, call.started, failed);
        for observer in &self.observers {
            observer.store_call(&timing);
        }
    }

    /// Runs a call of the store in its span.
    pub fn store_call<T>(
        &self,
        name: &'static str,
        run: impl FnOnce() -> std::result::Result<T, StoreError>,
    ) -> std::result::Result<T, StoreError> {
        #[cfg(feature = "tracing")]
        let _entered = tracing::debug_span!(
            target: "mneme",
            "store",
            call = name,
            store = self.store,
            error = tracing::field::Empty,
        )
        .entered();
        #[cfg(not(feature = "tracing"))]
        let _ = name;
        let outcome = run();
        if let Err(error) = &outcome {
            record_error(|| Error::from(error.clone()).kind());
        }
        outcome
    }
}

impl Stage {
    /// Runs this part of a look-up.
    pub fn run<T>(self, run: impl FnOnce() -> T) -> T {
        #[cfg(feature = "tracing")]
        let _entered = match self {
            Stage::Exact => tracing::debug_span!(target: "mneme", "exact"),
            Stage::Search => tracing::debug_span!(target: "mneme", "search"),
        }
        .entered();
        run()
    }
}

/// Adds the outcome of the look-up to its span.
pub(crate) fn record_lookup(lookup: &Lookup) {
    #[cfg(feature = "tracing")]
    {
        let span = tracing::Span::current();
        match lookup {
            Lookup::Hit(hit) => {
                span.record("outcome", hit.layer.name());
                span.record("similarity", hit.similarity);
            }
            Lookup::Miss(miss) => {
                span.record("outcome", miss.reason.name());
            }
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = lookup;
}

fn record_error(kind: impl FnOnce() -> &'static str) {
    #[cfg(feature = "tracing")]
    {
        let span = tracing::Span::current();
        if !span.is_disabled() {
            span.record("error", kind());
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = kind;
}
