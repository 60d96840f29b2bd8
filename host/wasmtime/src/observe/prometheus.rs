//! Metrics for Prometheus.

use super::caches::{BOUND_GAUGES, BOUND_STATE, Caches, Entries, bounds};
use super::labels::Namespaces;
use super::{Availability, DEFAULT_MAX_NAMESPACES, Gauges, Observer, Timing, Verified};
use crate::contract::events::Event;
use crate::request::Layer;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Similarities: fine where thresholds are.
const SIMILARITIES: [f64; 12] = [
    0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.975, 0.99, 1.0,
];
/// Ages in seconds: a minute to four weeks.
const AGES: [f64; 10] = [
    1.0,
    60.0,
    600.0,
    3_600.0,
    14_400.0,
    43_200.0,
    86_400.0,
    259_200.0,
    604_800.0,
    2_419_200.0,
];
/// Durations in seconds: 1 µs to 10 s.
const DURATIONS: [f64; 15] = [
    1e-6, 5e-6, 1e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 2.5e-2, 1e-1, 5e-1, 2.5, 10.0,
];

/// Keeps metrics of the observed caches in a registry. Clones share them.
///
/// | metric | labels | counts |
/// |---|---|---|
/// | `mneme_hits_total` | `layer`, `namespace` | answers; `layer` is `exact` or `semantic` |
/// | `mneme_misses_total` | `reason`, `namespace` | questions without an answer; `reason` is a [`MissReason::name`](crate::MissReason::name) |
/// | `mneme_vetoes_total` | `kind`, `namespace` | candidates with a veto; `kind` is a [`VetoKind::name`](crate::VetoKind::name), and one with two kinds counts in both |
/// | `mneme_puts_total` | `namespace` | entries stored or replaced |
/// | `mneme_deletions_total` | `namespace` | entries deleted by `delete` or a clear |
/// | `mneme_evictions_total` | `namespace` | entries evicted because of a quota or the cap |
/// | `mneme_expirations_total` | `namespace` | expired entries deleted |
/// | `mneme_rejections_total` | `namespace` | entries deleted because the validator refused them |
/// | `mneme_hit_similarity` | | histogram: similarities of semantic hits |
/// | `mneme_hit_age_seconds` | `layer` | histogram: ages of answers |
/// | `mneme_operation_duration_seconds` | `operation`, `store` | histogram: calls of the cache |
/// | `mneme_operation_errors_total` | `operation`, `store` | calls of the cache that failed |
/// | `mneme_embedding_duration_seconds` | `embedder` | histogram: calls of the embedder |
/// | `mneme_embedding_errors_total` | `embedder` | calls of the embedder that failed |
/// | `mneme_embedder_up` | `embedder` | gauge: 1 if the embedder is asked, 0 if it is left alone because it has failed |
/// | `mneme_verification_duration_seconds` | `opinion` | histogram: candidates verified; `opinion` is `yes`, `no`, `unknown` or `failed` |
/// | `mneme_store_call_duration_seconds` | `call`, `store` | histogram: calls of the store |
/// | `mneme_store_call_errors_total` | `call`, `store` | calls of the store that failed |
/// | `mneme_entries` | `namespace` | gauge: entries in the store |
/// | `mneme_index_rows` | | gauge: rows of the index in memory |
/// | `mneme_memory_bytes` | | gauge: memory of the component, including the index |
/// | `mneme_bound_labels`, `mneme_bound_wrong_labels` | `namespace` | gauges: labels for the error bound, those of long ago weighing less |
/// | `mneme_bound_threshold`, `mneme_bound_share` | `namespace` | gauges, absent while nothing is open: the score from which entries answer, and the upper limit of the share of wrong answers |
/// | `mneme_bound_state` | `state`, `namespace` | gauge: 1 for the present [`BoundState::name`](crate::BoundState::name) |
/// | `mneme_store_up` | | gauge: 1 if the store answered this scrape, else 0 |
///
/// The counters count this process, from its start. The cache's own
/// [`Counters`](crate::Counters) are in the store, are summed over all processes, and are
/// reset when a namespace is cleared. The gauges are read from the open caches at each scrape, with one
/// query of the store for all namespaces, or less often where that takes long; with several caches
/// they are sums. See [`Builder::store_handles`](crate::Builder::store_handles).
///
/// The namespaces that are seen first have separate labels, up to a limit; the others share
/// the empty label. See [`PrometheusBuilder::max_namespaces`]. For an example see
/// [`observe`](super).
#[derive(Clone)]
pub struct Prometheus {
    metrics: Arc<Metrics>,
}

struct Metrics {
    namespaces: Arc<Namespaces>,
    hits: IntCounterVec,
    misses: IntCounterVec,
    vetoes: IntCounterVec,
    puts: IntCounterVec,
    deletions: IntCounterVec,
    evictions: IntCounterVec,
    expirations: IntCounterVec,
    rejections: IntCounterVec,
    similarity: HistogramVec,
    age: HistogramVec,
    operations: Durations,
    embeddings: Durations,
    verifications: HistogramVec,
    store_calls: Durations,
    embedder_up: IntGaugeVec,
    caches: Arc<Caches>,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prometheus")
    }
}

/// Settings of [`Prometheus`].
#[derive(Debug, Clone)]
pub struct PrometheusBuilder {
    max_namespaces: usize,
    labels: HashMap<String, String>,
}

impl Prometheus {
    /// Registers the metrics, with the default settings.
    ///
    /// # Errors
    ///
    /// [`prometheus::Error`] if the registry already has metrics of these names.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        Self::builder().register(registry)
    }

    /// Settings for the metrics.
    pub fn builder() -> PrometheusBuilder {
        PrometheusBuilder {
            max_namespaces: DEFAULT_MAX_NAMESPACES,
            labels: HashMap::new(),
        }
    }
}

impl PrometheusBuilder {
    /// The most namespaces with a separate label, 0 or more. Default
    /// [`DEFAULT_MAX_NAMESPACES`]: each costs some ten time series.
    #[must_use]
    pub fn max_namespaces(mut self, max_namespaces: usize) -> Self {
        self.max_namespaces = max_namespaces;
        self
    }

    /// A label for all metrics, for example to distinguish several caches in one registry.
    /// Default none.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(name.into(), value.into());
        self
    }

    /// Registers the metrics.
    ///
    /// # Errors
    ///
    /// [`prometheus::Error`] if the registry already has metrics of these names and labels, or
    /// if a label is invalid.
    pub fn register(self, registry: &Registry) -> Result<Prometheus, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).const_labels(self.labels.clone());
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(opts(name, help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
            let histogram = HistogramVec::new(opts, labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let durations = |what: &str, label: &str, help: &str| {
            let labels: &[&str] = match label {
                "embedder" => &[label],
                _ => &[label, "store"],
            };
            Ok::<_, prometheus::Error>(Durations {
                took: histogram(
                    &format!("mneme_{what}_duration_seconds"),
                    &format!("Duration of {help}"),
                    labels,
                    &DURATIONS,
                )?,
                errors: counter(
                    &format!("mneme_{what}_errors_total"),
                    &format!("Failures of {help}"),
                    labels,
                )?,
            })
        };
        let namespaces = Arc::new(Namespaces::new(self.max_namespaces));
        let caches: Arc<Caches> = Arc::default();
        let present = Present {
            namespaces: Arc::clone(&namespaces),
            caches: Arc::clone(&caches),
            entries: IntGaugeVec::new(
                opts("mneme_entries", "Entries in the store"),
                &["namespace"],
            )?,
            rows: IntGauge::with_opts(opts("mneme_index_rows", "Rows of the index in memory"))?,
            memory: IntGauge::with_opts(opts(
                "mneme_memory_bytes",
                "Memory of the component, including the index",
            ))?,
            up: IntGauge::with_opts(opts(
                "mneme_store_up",
                "Whether the store answered this scrape",
            ))?,
            bounds: BOUND_GAUGES
                .iter()
                .map(|(name, help, _)| {
                    GaugeVec::new(opts(&format!("mneme_bound_{name}"), help), &["namespace"])
                })
                .collect::<Result<_, _>>()?,
            bound_state: IntGaugeVec::new(
                opts(&format!("mneme_bound_{}", BOUND_STATE.0), BOUND_STATE.1),
                &["state", "namespace"],
            )?,
        };
        let embedder_up = IntGaugeVec::new(
            opts(
                "mneme_embedder_up",
                "Whether the embedder is asked, and not left alone because it has failed",
            ),
            &["embedder"],
        )?;
        registry.register(Box::new(embedder_up.clone()))?;
        let of_namespace = ["namespace"];
        let metrics = Metrics {
            hits: counter(
                "mneme_hits_total",
                "Questions that were answered",
                &["layer", "namespace"],
            )?,
            misses: counter(
                "mneme_misses_total",
                "Questions without an answer",
                &["reason", "namespace"],
            )?,
            vetoes: counter(
                "mneme_vetoes_total",
                "Candidates that a veto kept from answering",
                &["kind", "namespace"],
            )?,
            puts: counter(
                "mneme_puts_total",
                "Entries stored or replaced",
                &of_namespace,
            )?,
            deletions: counter(
                "mneme_deletions_total",
                "Entries deleted by delete or a clear",
                &of_namespace,
            )?,
            evictions: counter(
                "mneme_evictions_total",
                "Entries evicted because of a quota or the cap",
                &of_namespace,
            )?,
            expirations: counter(
                "mneme_expirations_total",
                "Expired entries deleted",
                &of_namespace,
            )?,
            rejections: counter(
                "mneme_rejections_total",
                "Entries deleted because the validator refused them",
                &of_namespace,
            )?,
            similarity: histogram(
                "mneme_hit_similarity",
                "Similarity of semantic hits",
                &[],
                &SIMILARITIES,
            )?,
            age: histogram("mneme_hit_age_seconds", "Age of answers", &["layer"], &AGES)?,
            operations: durations("operation", "operation", "calls of the cache")?,
            embeddings: durations("embedding", "embedder", "calls of the embedder")?,
            verifications: histogram(
                "mneme_verification_duration_seconds",
                "Duration of verifying a candidate",
                &["opinion"],
                &DURATIONS,
            )?,
            store_calls: durations("store_call", "call", "calls of the store")?,
            embedder_up,
            namespaces,
            caches,
        };
        registry.register(Box::new(present))?;
        Ok(Prometheus {
            metrics: Arc::new(metrics),
        })
    }
}

impl Observer for Prometheus {
    fn opened(&self, gauges: &Gauges) {
        self.metrics.caches.add(gauges);
    }

    fn event(&self, event: &Event) {
        let metrics = &*self.metrics;
        let counted = |counter: &IntCounterVec, event: &crate::CountEvent| {
            let label = metrics.namespaces.label(&event.namespace);
            counter.with_label_values(&[label]).inc_by(event.count);
        };
        match event {
            Event::Hit(hit) => {
                let layer = hit.layer.name();
                let namespace = metrics.namespaces.label(&hit.namespace);
                metrics.hits.with_label_values(&[layer, namespace]).inc();
                let age = hit.age_seconds as f64;
                metrics.age.with_label_values(&[layer]).observe(age);
                if hit.layer == Layer::Semantic {
                    let similarity = f64::from(hit.similarity);
                    let none: [&str; 0] = [];
                    metrics
                        .similarity
                        .with_label_values(&none)
                        .observe(similarity);
                }
            }
            Event::Miss(miss) => {
                let namespace = metrics.namespaces.label(&miss.namespace);
                let labels = [miss.reason.name(), namespace];
                metrics.misses.with_label_values(&labels).inc();
            }
            Event::Veto(veto) => {
                let namespace = metrics.namespaces.label(&veto.namespace);
                let labels = [veto.kind.name(), namespace];
                metrics.vetoes.with_label_values(&labels).inc();
            }
            Event::Put(event) => counted(&metrics.puts, event),
            Event::Deletion(event) => counted(&metrics.deletions, event),
            Event::Eviction(event) => counted(&metrics.evictions, event),
            Event::Expiration(event) => counted(&metrics.expirations, event),
            Event::Rejection(event) => counted(&metrics.rejections, event),
        }
    }

    fn operation(&self, timing: &Timing<'_>) {
        let labels = [timing.name, timing.store];
        self.metrics.operations.observe(&labels, timing);
    }

    fn embedding(&self, timing: &Timing<'_>) {
        self.metrics.embeddings.observe(&[timing.name], timing);
    }

    fn verification(&self, verified: &Verified) {
        self.metrics
            .verifications
            .with_label_values(&[verified.opinion.name()])
            .observe(verified.took.as_secs_f64());
    }

    fn availability(&self, change: &Availability<'_>) {
        let gauge = self
            .metrics
            .embedder_up
            .with_label_values(&[change.embedder]);
        gauge.set(i64::from(change.error.is_none()));
    }

    fn store_call(&self, timing: &Timing<'_>) {
        let labels = [timing.name, timing.store];
        self.metrics.store_calls.observe(&labels, timing);
    }
}

/// How long calls of one kind take, and how often they fail.
struct Durations {
    took: HistogramVec,
    errors: IntCounterVec,
}

impl Durations {
    fn observe(&self, labels: &[&str], timing: &Timing<'_>) {
        let took = self.took.with_label_values(labels);
        took.observe(timing.took.as_secs_f64());
        if timing.failed {
            self.errors.with_label_values(labels).inc();
        }
    }
}

/// What is read from the caches when somebody wants to know.
struct Present {
    namespaces: Arc<Namespaces>,
    caches: Arc<Caches>,
    entries: IntGaugeVec,
    rows: IntGauge,
    memory: IntGauge,
    up: IntGauge,
    /// In the order of `BOUND_GAUGES`.
    bounds: Vec<GaugeVec>,
    bound_state: IntGaugeVec,
}

impl Present {
    fn gauges(&self) -> impl Iterator<Item = &dyn Collector> {
        let one: [&dyn Collector; 5] = [
            &self.entries,
            &self.rows,
            &self.memory,
            &self.up,
            &self.bound_state,
        ];
        let bounds = self.bounds.iter().map(|gauge| gauge as &dyn Collector);
        one.into_iter().chain(bounds)
    }
}

impl Collector for Present {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (mut entries, mut rows, mut memory, mut up) = (Entries::default(), 0, 0, true);
        for cache in self.caches.all() {
            match cache.read() {
                Ok(Some(reading)) => {
                    rows += reading.index_rows;
                    memory += reading.memory_bytes;
                    entries.add(&reading, &self.namespaces);
                }
                Ok(None) => {}
                Err(_) => up = false,
            }
        }
        self.entries.reset();
        for (namespace, count) in &entries.0 {
            let gauge = self.entries.with_label_values(&[namespace]);
            gauge.set(clamped(*count));
        }
        self.rows.set(clamped(rows));
        self.memory.set(clamped(memory));
        self.up.set(i64::from(up));
        self.bound_state.reset();
        self.bounds.iter().for_each(GaugeVec::reset);
        for (namespace, report) in bounds(&self.caches, &self.namespaces) {
            let state = [report.state.name(), &namespace];
            self.bound_state.with_label_values(&state).set(1);
            for (gauge, (_, _, value)) in self.bounds.iter().zip(BOUND_GAUGES) {
                if let Some(value) = value(&report) {
                    gauge.with_label_values(&[&namespace]).set(value);
                }
            }
        }
        self.gauges().flat_map(Collector::collect).collect()
    }
}

fn clamped(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
