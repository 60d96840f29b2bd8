//! Metrics for OpenTelemetry.

use super::caches::{BOUND_GAUGES, BOUND_STATE, Caches, Entries, bounds};
use super::labels::Namespaces;
use super::{Availability, DEFAULT_MAX_NAMESPACES, Gauges, Observer, Timing, Verified};
use crate::contract::events::{CountEvent, Event};
use crate::request::Layer;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram, Meter};
use std::sync::Arc;

/// Keeps metrics of the observed caches as instruments of a meter. Clones share them.
///
/// | instrument | attributes | type and meaning |
/// |---|---|---|
/// | `mneme.hits` | `mneme.layer`, `mneme.namespace` | counter: answers |
/// | `mneme.misses` | `mneme.reason`, `mneme.namespace` | counter: questions without an answer |
/// | `mneme.vetoes` | `mneme.kind`, `mneme.namespace` | counter: candidates with a veto |
/// | `mneme.puts`, `.deletions`, `.evictions`, `.expirations`, `.rejections` | `mneme.namespace` | counters of entries |
/// | `mneme.hit.similarity` | | histogram: similarities of semantic hits |
/// | `mneme.hit.age` | `mneme.layer` | histogram, s: ages of answers |
/// | `mneme.operation.duration` | `mneme.operation`, `mneme.store`, `error` | histogram, s: calls of the cache |
/// | `mneme.embedding.duration` | `mneme.embedder`, `error` | histogram, s: calls of the embedder |
/// | `mneme.embedder.up` | `mneme.embedder` | gauge: 1 if the embedder is asked, 0 if it is left alone because it has failed |
/// | `mneme.verification.duration` | `mneme.opinion` | histogram, s: candidates verified |
/// | `mneme.store_call.duration` | `mneme.call`, `mneme.store`, `error` | histogram, s: calls of the store |
/// | `mneme.entries` | `mneme.namespace` | gauge: entries in the store |
/// | `mneme.bound.labels`, `.wrong_labels` | `mneme.namespace` | gauges: labels for the error bound, those of long ago weighing less |
/// | `mneme.bound.threshold`, `.share` | `mneme.namespace` | gauges, absent while nothing is open: the score from which entries answer, and the upper limit of the share of wrong answers |
/// | `mneme.bound.state` | `mneme.state`, `mneme.namespace` | gauge: 1 for the present [`BoundState::name`](crate::BoundState::name) |
/// | `mneme.memory` | | gauge, bytes: memory of the component, including the index |
///
/// Counting, and the choice of namespaces with a name, work as in
/// [`Prometheus`](super::Prometheus). `error` is true or absent. For traces, subscribe the crate
/// `tracing-opentelemetry` to the spans of [`observe`](super).
///
/// ```
/// use mneme::embedder::Precomputed;
/// use mneme::observe::OpenTelemetry;
/// use mneme::{MemoryStore, SemanticCache};
///
/// // The meter of the program's provider.
/// let meter = opentelemetry::global::meter("my-service");
/// let cache = SemanticCache::builder()
///     .store(MemoryStore::new())
///     .embedder(Precomputed::new("my-model-1", 2))
///     .observer(OpenTelemetry::new(&meter))
///     .open()?;
/// # Ok::<(), mneme::Error>(())
/// ```
#[derive(Clone)]
pub struct OpenTelemetry {
    instruments: Arc<Instruments>,
}

struct Instruments {
    namespaces: Arc<Namespaces>,
    hits: Counter<u64>,
    misses: Counter<u64>,
    vetoes: Counter<u64>,
    puts: Counter<u64>,
    deletions: Counter<u64>,
    evictions: Counter<u64>,
    expirations: Counter<u64>,
    rejections: Counter<u64>,
    similarity: Histogram<f64>,
    age: Histogram<f64>,
    operations: Histogram<f64>,
    embeddings: Histogram<f64>,
    verifications: Histogram<f64>,
    store_calls: Histogram<f64>,
    embedder_up: Gauge<u64>,
    caches: Arc<Caches>,
}

impl std::fmt::Debug for OpenTelemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenTelemetry")
    }
}

/// Settings of [`OpenTelemetry`].
#[derive(Debug, Clone)]
pub struct OpenTelemetryBuilder {
    max_namespaces: usize,
}

impl OpenTelemetry {
    /// Makes the instruments, with the default settings.
    pub fn new(meter: &Meter) -> Self {
        Self::builder().build(meter)
    }

    /// Settings for the instruments.
    pub fn builder() -> OpenTelemetryBuilder {
        OpenTelemetryBuilder {
            max_namespaces: DEFAULT_MAX_NAMESPACES,
        }
    }
}

impl OpenTelemetryBuilder {
    /// The most namespaces that are named in attributes, 0 or more. Default
    /// [`DEFAULT_MAX_NAMESPACES`].
    #[must_use]
    pub fn max_namespaces(mut self, max_namespaces: usize) -> Self {
        self.max_namespaces = max_namespaces;
        self
    }

    /// Makes the instruments.
    pub fn build(self, meter: &Meter) -> OpenTelemetry {
        let counter = |name: &'static str, unit: &'static str, help: &'static str| {
            let counter = meter.u64_counter(name).with_unit(unit);
            counter.with_description(help).build()
        };
        let histogram = |name: &'static str, unit: &'static str, help: &'static str| {
            let histogram = meter.f64_histogram(name).with_unit(unit);
            histogram.with_description(help).build()
        };
        let namespaces = Arc::new(Namespaces::new(self.max_namespaces));
        let caches: Arc<Caches> = Arc::default();
        observe_entries(meter, &namespaces, &caches);
        observe_memory(meter, &caches);
        observe_bounds(meter, &namespaces, &caches);
        let embedder_up = meter
            .u64_gauge("mneme.embedder.up")
            .with_description(
                "Whether the embedder is asked, and not left alone because it has failed",
            )
            .build();
        let instruments = Instruments {
            embedder_up,
            hits: counter("mneme.hits", "{question}", "Questions that were answered"),
            misses: counter("mneme.misses", "{question}", "Questions without an answer"),
            vetoes: counter(
                "mneme.vetoes",
                "{candidate}",
                "Candidates that a veto kept from answering",
            ),
            puts: counter("mneme.puts", "{entry}", "Entries stored or replaced"),
            deletions: counter(
                "mneme.deletions",
                "{entry}",
                "Entries deleted by delete or a clear",
            ),
            evictions: counter(
                "mneme.evictions",
                "{entry}",
                "Entries evicted because of a quota or the cap",
            ),
            expirations: counter("mneme.expirations", "{entry}", "Expired entries deleted"),
            rejections: counter(
                "mneme.rejections",
                "{entry}",
                "Entries deleted because the validator refused them",
            ),
            similarity: histogram("mneme.hit.similarity", "1", "Similarity of semantic hits"),
            age: histogram("mneme.hit.age", "s", "Age of answers"),
            operations: histogram(
                "mneme.operation.duration",
                "s",
                "Duration of calls of the cache",
            ),
            embeddings: histogram(
                "mneme.embedding.duration",
                "s",
                "Duration of calls of the embedder",
            ),
            verifications: histogram(
                "mneme.verification.duration",
                "s",
                "Duration of verifying a candidate",
            ),
            store_calls: histogram(
                "mneme.store_call.duration",
                "s",
                "Duration of calls of the store",
            ),
            namespaces,
            caches,
        };
        OpenTelemetry {
            instruments: Arc::new(instruments),
        }
    }
}

impl Observer for OpenTelemetry {
    fn opened(&self, gauges: &Gauges) {
        self.instruments.caches.add(gauges);
    }

    fn event(&self, event: &Event) {
        let instruments = &*self.instruments;
        let namespace = |namespace: &str| {
            let label = instruments.namespaces.label(namespace).to_owned();
            KeyValue::new("mneme.namespace", label)
        };
        let counted = |counter: &Counter<u64>, event: &CountEvent| {
            counter.add(event.count, &[namespace(&event.namespace)]);
        };
        match event {
            Event::Hit(hit) => {
                let layer = KeyValue::new("mneme.layer", hit.layer.name());
                let age = hit.age_seconds as f64;
                instruments.age.record(age, std::slice::from_ref(&layer));
                instruments.hits.add(1, &[layer, namespace(&hit.namespace)]);
                if hit.layer == Layer::Semantic {
                    let similarity = f64::from(hit.similarity);
                    instruments.similarity.record(similarity, &[]);
                }
            }
            Event::Miss(miss) => {
                let reason = KeyValue::new("mneme.reason", miss.reason.name());
                instruments
                    .misses
                    .add(1, &[reason, namespace(&miss.namespace)]);
            }
            Event::Veto(veto) => {
                let kind = KeyValue::new("mneme.kind", veto.kind.name());
                instruments
                    .vetoes
                    .add(1, &[kind, namespace(&veto.namespace)]);
            }
            Event::Put(event) => counted(&instruments.puts, event),
            Event::Deletion(event) => counted(&instruments.deletions, event),
            Event::Eviction(event) => counted(&instruments.evictions, event),
            Event::Expiration(event) => counted(&instruments.expirations, event),
            Event::Rejection(event) => counted(&instruments.rejections, event),
        }
    }

    fn verification(&self, verified: &Verified) {
        let opinion = KeyValue::new("mneme.opinion", verified.opinion.name());
        self.instruments
            .verifications
            .record(verified.took.as_secs_f64(), &[opinion]);
    }

    fn operation(&self, timing: &Timing<'_>) {
        let attributes = [
            KeyValue::new("mneme.operation", timing.name.to_owned()),
            KeyValue::new("mneme.store", timing.store.to_owned()),
        ];
        record(&self.instruments.operations, timing, attributes.into());
    }

    fn embedding(&self, timing: &Timing<'_>) {
        let attributes = [KeyValue::new("mneme.embedder", timing.name.to_owned())];
        record(&self.instruments.embeddings, timing, attributes.into());
    }

    fn availability(&self, change: &Availability<'_>) {
        let embedder = KeyValue::new("mneme.embedder", change.embedder.to_owned());
        let up = u64::from(change.error.is_none());
        self.instruments.embedder_up.record(up, &[embedder]);
    }

    fn store_call(&self, timing: &Timing<'_>) {
        let attributes = [
            KeyValue::new("mneme.call", timing.name.to_owned()),
            KeyValue::new("mneme.store", timing.store.to_owned()),
        ];
        record(&self.instruments.store_calls, timing, attributes.into());
    }
}

fn record(histogram: &Histogram<f64>, timing: &Timing<'_>, mut attributes: Vec<KeyValue>) {
    if timing.failed {
        attributes.push(KeyValue::new("error", true));
    }
    histogram.record(timing.took.as_secs_f64(), &attributes);
}

fn observe_entries(meter: &Meter, namespaces: &Arc<Namespaces>, caches: &Arc<Caches>) {
    let (namespaces, caches) = (Arc::clone(namespaces), Arc::clone(caches));
    meter
        .u64_observable_gauge("mneme.entries")
        .with_unit("{entry}")
        .with_description("Entries in the store")
        .with_callback(move |gauge| {
            let mut entries = Entries::default();
            for cache in caches.all() {
                // A store that fails has no entries to tell of.
                if let Ok(Some(reading)) = cache.read() {
                    entries.add(&reading, &namespaces);
                }
            }
            for (namespace, count) in entries.0 {
                gauge.observe(count, &[KeyValue::new("mneme.namespace", namespace)]);
            }
        })
        .build();
}

fn observe_bounds(meter: &Meter, namespaces: &Arc<Namespaces>, caches: &Arc<Caches>) {
    for (name, help, value) in BOUND_GAUGES {
        let (namespaces, caches) = (Arc::clone(namespaces), Arc::clone(caches));
        meter
            .f64_observable_gauge(format!("mneme.bound.{name}"))
            .with_description(help)
            .with_callback(move |gauge| {
                for (namespace, report) in bounds(&caches, &namespaces) {
                    if let Some(value) = value(&report) {
                        gauge.observe(value, &[KeyValue::new("mneme.namespace", namespace)]);
                    }
                }
            })
            .build();
    }
    let (namespaces, caches) = (Arc::clone(namespaces), Arc::clone(caches));
    meter
        .u64_observable_gauge(format!("mneme.bound.{}", BOUND_STATE.0))
        .with_description(BOUND_STATE.1)
        .with_callback(move |gauge| {
            for (namespace, report) in bounds(&caches, &namespaces) {
                let state = KeyValue::new("mneme.state", report.state.name());
                gauge.observe(1, &[state, KeyValue::new("mneme.namespace", namespace)]);
            }
        })
        .build();
}

fn observe_memory(meter: &Meter, caches: &Arc<Caches>) {
    let caches = Arc::clone(caches);
    meter
        .u64_observable_gauge("mneme.memory")
        .with_unit("By")
        .with_description("Memory of the component, including the index")
        .with_callback(move |gauge| {
            let caches = caches.all().into_iter();
            let bytes = caches.filter_map(|cache| cache.memory_bytes().ok().flatten());
            gauge.observe(bytes.sum(), &[]);
        })
        .build();
}
