//! Metrics and spans, of caches at work.

use mneme::embedder::{EmbedError, Embedder};
use mneme::observe::{OpenTelemetry, Prometheus};
use mneme::store::{self, Store, StoreError};
use mneme::{
    AsyncSemanticCache, Counters, ErrorBound, GetRequest, ManualClock, MemoryStore, PutRequest,
    SemanticCache, Ttl, VetoCounts, VetoKind,
};
use mneme_tests::broken::{Broken, memory};
use mneme_tests::rows;
use mneme_tests::stores::Hooked;
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use prometheus::{Registry, TextEncoder};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Texts that begin alike are similar.
struct Beginnings;

impl Embedder for Beginnings {
    fn fingerprint(&self) -> &str {
        "beginnings"
    }

    fn dim(&self) -> u32 {
        8
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let _entered = tracing::debug_span!("model").entered();
        let embed = |text: &&str| {
            if text.contains("unembeddable") {
                return Err(EmbedError::permanent("no"));
            }
            let seed = text.bytes().next().unwrap_or_default();
            let mut random = fastrand::Rng::with_seed(seed.into());
            let mut vector: Vec<f32> = (0..8).map(|_| random.f32() - 0.5).collect();
            vector[0] += text.len() as f32 / 1000.0;
            Ok(vector)
        };
        texts.iter().map(embed).collect()
    }
}

/// The metrics as they are scraped: the name with its labels, and the value.
fn scraped(registry: &Registry) -> BTreeMap<String, f64> {
    let text = TextEncoder::new().encode_to_string(&registry.gather());
    text.unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn sum(metrics: &BTreeMap<String, f64>, name: &str, label: &str) -> u64 {
    let of_name = |key: &str| key.starts_with(&format!("{name}{{")) && key.contains(label);
    let values = metrics.iter().filter(|(key, _)| of_name(key));
    values.map(|(_, value)| *value as u64).sum()
}

const NOTHING: Counters = Counters {
    hits_exact: 0,
    hits_semantic: 0,
    misses: 0,
    explored: 0,
    evictions: 0,
    expirations: 0,
    vetoes: VetoCounts::NONE,
};

fn add(sum: &mut Counters, more: Counters) {
    sum.hits_exact += more.hits_exact;
    sum.hits_semantic += more.hits_semantic;
    sum.misses += more.misses;
    sum.evictions += more.evictions;
    sum.expirations += more.expirations;
    for (kind, count) in more.vetoes.each() {
        *sum.vetoes.of_mut(kind) += count;
    }
}

#[test]
fn ten_thousand_operations_are_counted_as_the_cache_counts_them() {
    let registry = Registry::new();
    let clock = ManualClock::at(1_000_000);
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .observer(Prometheus::new(&registry).unwrap())
        .clock(clock.clone())
        .similarity_threshold(0.97)
        .max_entries(300)
        .namespace_quota("b", 40)
        .open()
        .unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut cleared: BTreeMap<String, Counters> = BTreeMap::new();
    let (mut puts, mut gets) = (BTreeMap::<String, u64>::new(), 0);
    for _ in 0..10_000 {
        let namespace = ["a", "b", "c\"\n\\"][random.usize(..3)].to_owned();
        let letter = char::from(b'a' + random.u8(..20));
        let words = "x".repeat(random.usize(..30));
        let query = format!("{letter}{words} of {}", random.u8(7..9));
        match random.u32(..100) {
            0..45 => {
                let request = PutRequest::new(&query, "r").namespace(&namespace);
                let ttl = match random.bool() {
                    true => Ttl::Seconds(random.u64(1..400)),
                    false => Ttl::Unlimited,
                };
                cache.put(request.ttl(ttl)).unwrap();
                *puts.entry(namespace).or_default() += 1;
            }
            45..90 => {
                let bypass = random.u32(..20) == 0;
                let request = GetRequest::new(&query).namespace(&namespace);
                cache.get(request.bypass(bypass)).unwrap();
                gets += 1;
            }
            90..94 => {
                cache.delete(&query, &namespace).unwrap();
            }
            94..97 => clock.advance(Duration::from_secs(random.u64(1..60))),
            97..99 => {
                cache.vacuum(None, false).unwrap();
            }
            _ => {
                // A clear resets the cache's own counters.
                if random.u32(..10) == 0 {
                    let stats = cache.stats(Some(&namespace)).unwrap();
                    let before = cleared.entry(namespace.clone()).or_insert(NOTHING);
                    add(before, stats.counters);
                    cache.clear_namespace(&namespace).unwrap();
                }
            }
        }
    }
    let metrics = scraped(&registry);
    let stats = cache.stats(None).unwrap();
    let mut seen = 0;
    for of_namespace in &stats.namespaces {
        let name = &of_namespace.namespace;
        // As the text format escapes it.
        let escaped = name
            .replace('\\', r"\\")
            .replace('"', "\\\"")
            .replace('\n', r"\n");
        let label = format!("namespace=\"{escaped}\"");
        let mut counters = of_namespace.counters;
        if let Some(before) = cleared.get(name) {
            add(&mut counters, *before);
        }
        let count = |name: &str, more: &str| {
            let with = metrics.iter().filter(|(key, _)| {
                key.starts_with(&format!("{name}{{")) && key.contains(&label) && key.contains(more)
            });
            with.map(|(_, value)| *value as u64).sum::<u64>()
        };
        assert_eq!(
            count("mneme_hits_total", "layer=\"exact\""),
            counters.hits_exact
        );
        let semantic = count("mneme_hits_total", "layer=\"semantic\"");
        assert_eq!(semantic, counters.hits_semantic);
        assert_eq!(count("mneme_misses_total", ""), counters.misses);
        for (kind, counted) in counters.vetoes.each() {
            let label = format!("kind=\"{}\"", kind.name());
            assert_eq!(count("mneme_vetoes_total", &label), counted, "{kind:?}");
        }
        assert_eq!(count("mneme_evictions_total", ""), counters.evictions);
        assert_eq!(count("mneme_expirations_total", ""), counters.expirations);
        assert_eq!(count("mneme_puts_total", ""), puts[name]);
        assert_eq!(count("mneme_entries", ""), of_namespace.entries);
        for counted in [
            counters.hits_exact,
            counters.hits_semantic,
            counters.misses,
            counters.evictions,
            counters.expirations,
            *counters.vetoes.of_mut(VetoKind::Numbers),
        ] {
            assert!(
                counted > 0,
                "{name}: {counters:?} leaves something untested"
            );
        }
        seen += counters.hits_exact + counters.hits_semantic + counters.misses;
    }
    assert_eq!(stats.namespaces.len(), 3);
    assert_eq!(seen, gets);
    let gets_timed = "mneme_operation_duration_seconds_count";
    assert_eq!(sum(&metrics, gets_timed, "operation=\"get\""), gets);
    let semantic = sum(&metrics, "mneme_hits_total", "layer=\"semantic\"");
    assert_eq!(metrics["mneme_hit_similarity_count"] as u64, semantic);
    let ages = sum(&metrics, "mneme_hit_age_seconds_count", "");
    assert_eq!(ages, sum(&metrics, "mneme_hits_total", ""));
    assert_eq!(metrics["mneme_store_up"], 1.0);
    assert_eq!(
        metrics["mneme_memory_bytes"] as usize,
        cache.memory_bytes().unwrap()
    );
    assert!(metrics["mneme_memory_bytes"] > 1e6);
    let calls = "mneme_store_call_duration_seconds_count";
    assert!(sum(&metrics, calls, "call=\"get_by_hash\",store=\"memory\"") >= gets);
    assert!(
        sum(
            &metrics,
            "mneme_embedding_duration_seconds_count",
            "beginnings"
        ) > 0
    );
}

#[test]
fn only_so_many_namespaces_have_a_name() {
    let registry = Registry::new();
    let observer = Prometheus::builder()
        .max_namespaces(2)
        .label("cache", "answers")
        .register(&registry)
        .unwrap();
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .observer(observer)
        .open()
        .unwrap();
    for namespace in ["a", "b", "c", "d"] {
        let put = PutRequest::new("q", "r").namespace(namespace);
        cache.put(put).unwrap();
    }
    let metrics = scraped(&registry);
    for metric in ["mneme_puts_total", "mneme_entries"] {
        for (namespace, count) in [("a", 1.0), ("b", 1.0), ("", 2.0)] {
            let name = format!("{metric}{{cache=\"answers\",namespace=\"{namespace}\"}}");
            assert_eq!(metrics[&name], count, "{name}");
        }
    }
    assert!(!metrics.keys().any(|key| key.contains("\"c\"")));
    // A registry takes the same names once.
    assert!(
        Prometheus::builder()
            .label("cache", "answers")
            .register(&registry)
            .is_err()
    );
    cache.close().unwrap();
    assert!(
        !scraped(&registry)
            .keys()
            .any(|k| k.starts_with("mneme_entries"))
    );
}

/// Nobody else gets at the cache meanwhile.
#[test]
fn a_scrape_costs_as_many_store_calls_with_a_thousand_namespaces_as_with_one() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let made = Arc::clone(&calls);
    let store = Hooked::new(move |operation| {
        made.lock().unwrap().push(operation);
        Ok(())
    });
    let registry = Registry::new();
    let observer = Prometheus::builder().max_namespaces(2000);
    let cache = SemanticCache::builder()
        .store(store)
        .embedder(Beginnings)
        .observer(observer.register(&registry).unwrap())
        .open()
        .unwrap();
    let mut scrapes = Vec::new();
    for namespaces in [0..1, 1..1000] {
        let puts = namespaces.map(|n| PutRequest::new("q", "r").namespace(format!("{n:03}")));
        cache.put_many(puts.collect()).unwrap();
        cache.flush().unwrap();
        calls.lock().unwrap().clear();
        let metrics = scraped(&registry);
        scrapes.push(std::mem::take(&mut *calls.lock().unwrap()));
        assert_eq!(metrics["mneme_entries{namespace=\"000\"}"], 1.0);
    }
    assert_eq!(scrapes[0], scrapes[1]);
    assert_eq!(
        scrapes[1],
        ["read_meta", "list_namespace_quotas", "count_by_namespace"]
    );
    assert_eq!(sum(&scraped(&registry), "mneme_entries", "namespace"), 1000);
}

/// `stats` lists 65,536 namespaces at most.
#[test]
fn entries_of_namespaces_that_are_not_listed_are_counted_under_no_name() {
    let mut store = MemoryStore::new();
    store.open("beginnings", 8).unwrap();
    let all: Vec<u64> = (0..65_540).collect();
    for some in all.chunks(1000) {
        let entries = some.iter().map(|n| store::Entry {
            embedding: vec![0.0; 8],
            ..rows::entry(&format!("{n:06}"), *n)
        });
        store.insert(entries.collect()).unwrap();
    }
    let registry = Registry::new();
    let _cache = SemanticCache::builder()
        .store(store)
        .embedder(Beginnings)
        .observer(
            Prometheus::builder()
                .max_namespaces(3)
                .register(&registry)
                .unwrap(),
        )
        .open()
        .unwrap();
    let metrics = scraped(&registry);
    assert_eq!(metrics["mneme_entries{namespace=\"000001\"}"], 1.0);
    assert_eq!(metrics["mneme_entries{namespace=\"\"}"], 65_537.0);
}

/// On another handle of its store, a cache counts beside its calls.
#[test]
fn a_scrape_of_a_store_that_counts_for_long_holds_up_nobody() {
    let store = Hooked::new(|operation| {
        assert_ne!(operation, "count_by_namespace", "it counts beside");
        Ok(())
    });
    let (counts, counted) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let beside = {
        let (counts, counted) = (Arc::clone(&counts), Arc::clone(&counted));
        let beside = Hooked::new(move |operation| {
            if operation == "count_by_namespace" {
                counts.wait();
                counted.wait();
            }
            Ok(())
        });
        Cell::new(Some(beside))
    };
    let registry = Registry::new();
    let cache = SemanticCache::builder()
        .store(store)
        .store_handles(move || Ok(Box::new(beside.take().unwrap())))
        .embedder(Beginnings)
        .observer(Prometheus::new(&registry).unwrap())
        .open()
        .unwrap();
    cache.put(PutRequest::new("q", "r")).unwrap();
    let scrape = thread::spawn(move || scraped(&registry));
    counts.wait();
    assert!(cache.get("q").unwrap().is_hit());
    counted.wait();
    let metrics = scrape.join().unwrap();
    assert_eq!(metrics["mneme_store_up"], 1.0);
    assert_eq!(metrics["mneme_index_rows"], 0.0);
}

/// Fails while the store is down.
fn is_up(down: &AtomicBool) -> store::Result<()> {
    match down.load(Ordering::Relaxed) {
        true => Err(StoreError::Unsupported("it is down".into())),
        false => Ok(()),
    }
}

#[test]
fn failures_are_counted_and_a_scrape_goes_on() {
    let registry = Registry::new();
    let down = Arc::new(AtomicBool::new(false));
    let [counting, inserting] = [Arc::clone(&down), Arc::clone(&down)];
    let fault = memory("the store is down at times")
        .count_by_namespace(move |store, after, limit| {
            is_up(&counting)?;
            store.count_by_namespace(after, limit)
        })
        .insert(move |store, entries| {
            is_up(&inserting)?;
            store.insert(entries)
        });
    let cache = SemanticCache::builder()
        .store(Broken::new(fault, Path::new("")))
        .embedder(Beginnings)
        .observer(Prometheus::new(&registry).unwrap())
        .open()
        .unwrap();
    cache.put(PutRequest::new("q", "r")).unwrap();
    down.store(true, Ordering::Relaxed);
    cache.put(PutRequest::new("p", "r")).unwrap_err();
    assert!(!cache.get("unembeddable").unwrap().is_hit());
    let metrics = scraped(&registry);
    let one = |name: &str| assert_eq!(metrics.get(name), Some(&1.0), "{name}: {metrics:#?}");
    one(r#"mneme_operation_errors_total{operation="put",store="memory"}"#);
    one(r#"mneme_store_call_errors_total{call="insert",store="memory"}"#);
    one(r#"mneme_embedding_errors_total{embedder="beginnings"}"#);
    one(r#"mneme_misses_total{namespace="default",reason="embedder_failure"}"#);
    one(r#"mneme_puts_total{namespace="default"}"#);
    assert_eq!(metrics["mneme_store_up"], 0.0);
    down.store(false, Ordering::Relaxed);
    assert_eq!(scraped(&registry)["mneme_store_up"], 1.0);
}

/// Whoever looks waits for the cache, and the cache for nobody who looks.
#[test]
fn looking_while_it_works_holds_nobody_up() {
    mneme_tests::unless_it_hangs(|| {
        let registry = Registry::new();
        let exporter = InMemoryMetricExporter::default();
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter)
            .build();
        let cache = SemanticCache::builder()
            .store(MemoryStore::new())
            .embedder(Beginnings)
            .observer(Prometheus::new(&registry).unwrap())
            .observer(OpenTelemetry::new(&provider.meter("test")))
            .open()
            .unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    scraped(&registry);
                    provider.force_flush().unwrap();
                }
            });
            for n in 0..3000 {
                let query = format!("{n}");
                cache.put(PutRequest::new(&query, "r")).unwrap();
                assert!(cache.get(query).unwrap().is_hit());
            }
            done.store(true, Ordering::Relaxed);
        });
        // Where counting took long, the last count is shown for a while.
        while scraped(&registry)["mneme_entries{namespace=\"default\"}"] != 3000.0 {
            std::thread::yield_now();
        }
    });
}

#[test]
fn instruments_of_opentelemetry_tell_the_same() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_periodic_exporter(exporter.clone())
        .build();
    let observer = OpenTelemetry::builder().max_namespaces(1);
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .observer(observer.build(&provider.meter("test")))
        .open()
        .unwrap();
    for namespace in ["a", "b"] {
        cache
            .put(PutRequest::new("question", "r").namespace(namespace))
            .unwrap();
    }
    let ask = |query: &str| cache.get(GetRequest::new(query).namespace("a")).unwrap();
    assert!(ask("QUESTION").is_hit() && ask("quest").is_hit());
    assert!(!ask("unembeddable").is_hit());
    provider.force_flush().unwrap();

    let mut sums = BTreeMap::new();
    for metrics in exporter.get_finished_metrics().unwrap() {
        for scope in metrics.scope_metrics() {
            for metric in scope.metrics() {
                for (attributes, value) in points(metric.data()) {
                    sums.insert(format!("{} {attributes}", metric.name()), value);
                }
            }
        }
    }
    let expected = [
        ("mneme.hits mneme.layer=exact mneme.namespace=a", 1),
        ("mneme.hits mneme.layer=semantic mneme.namespace=a", 1),
        (
            "mneme.misses mneme.namespace=a mneme.reason=embedder_failure",
            1,
        ),
        ("mneme.puts mneme.namespace=a", 1),
        ("mneme.puts mneme.namespace=", 1),
        ("mneme.entries mneme.namespace=a", 1),
        ("mneme.entries mneme.namespace=", 1),
        ("mneme.hit.similarity ", 1),
        ("mneme.hit.age mneme.layer=exact", 1),
        (
            "mneme.operation.duration mneme.operation=get mneme.store=memory",
            3,
        ),
        (
            "mneme.embedding.duration error=true mneme.embedder=beginnings",
            1,
        ),
        (
            "mneme.store_call.duration mneme.call=insert mneme.store=memory",
            2,
        ),
    ];
    for (name, value) in expected {
        assert_eq!(sums.get(name), Some(&value), "{name}: {sums:#?}");
    }
    assert!(sums["mneme.memory "] > 1_000_000);
}

/// The points of a metric: attributes in order, and the sum, or the count of a histogram.
fn points(metric: &AggregatedMetrics) -> Vec<(String, u64)> {
    fn shown<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
        let mut all: Vec<String> = attributes
            .map(|pair| format!("{}={}", pair.key, pair.value))
            .collect();
        all.sort();
        all.join(" ")
    }
    match metric {
        AggregatedMetrics::U64(MetricData::Sum(sum)) => sum
            .data_points()
            .map(|point| (shown(point.attributes()), point.value()))
            .collect(),
        AggregatedMetrics::U64(MetricData::Gauge(gauge)) => gauge
            .data_points()
            .map(|point| (shown(point.attributes()), point.value()))
            .collect(),
        AggregatedMetrics::F64(MetricData::Histogram(histogram)) => histogram
            .data_points()
            .map(|point| (shown(point.attributes()), point.count()))
            .collect(),
        other => panic!("no metric of ours: {other:?}"),
    }
}

/// Writes down every span, below its parent, with its fields as they are when it ends.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<String>>>);

/// The fields of a span.
#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let path: Vec<&str> = span.scope().from_root().map(|span| span.name()).collect();
        let extensions = span.extensions();
        let fields = &extensions.get::<Fields>().unwrap().0;
        let line = format!("{} {fields:?}", path.join("/"));
        self.0.lock().unwrap().push(line);
    }
}

/// What is written down of `work`.
fn spans(work: impl FnOnce()) -> Vec<String> {
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    tracing::subscriber::with_default(subscriber, work);
    let spans = recorder.0.lock().unwrap();
    spans.clone()
}

#[test]
fn spans_show_the_parts_of_a_call_and_no_text() {
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .touches(512, u32::MAX)
        .open()
        .unwrap();
    let named = |spans: &[String]| -> Vec<String> {
        let names = spans.iter().map(|span| span.split(' ').next().unwrap());
        names.map(str::to_owned).collect()
    };
    // The first put reads the quotas, too.
    cache.put(PutRequest::new("first", "r")).unwrap();
    let put = spans(|| {
        cache.put(PutRequest::new("secret", "hidden")).unwrap();
    });
    let model = "cache/embed/model";
    assert_eq!(named(&put), [model, "cache/embed", "cache/store", "cache"]);
    assert!(put[2].contains(r#""call": "\"insert\"""#), "{put:#?}");

    let exact = spans(|| drop(cache.get("SECRET").unwrap()));
    assert_eq!(named(&exact), ["cache/exact/store", "cache/exact", "cache"]);
    for field in [
        r#""operation": "\"get\"""#,
        r#""otel.name": "\"mneme.get\"""#,
        r#""namespace": "\"default\"""#,
        r#""outcome": "\"exact\"""#,
        r#""similarity": "1.0""#,
    ] {
        assert!(exact[2].contains(field), "{field}: {exact:#?}");
    }

    let semantic = spans(|| drop(cache.get("secrets").unwrap()));
    let names = named(&semantic);
    assert_eq!(
        &names[..4],
        ["cache/exact/store", "cache/exact", model, "cache/embed"]
    );
    assert_eq!(&names[names.len() - 2..], ["cache/search", "cache"]);
    assert!(
        semantic
            .last()
            .unwrap()
            .contains(r#""outcome": "\"semantic\"""#)
    );

    let missed = spans(|| drop(cache.get("unembeddable secret").unwrap()));
    let outcome = r#""outcome": "\"embedder_failure\"""#;
    assert!(missed.last().unwrap().contains(outcome), "{missed:#?}");
    let refused = spans(|| drop(cache.put(PutRequest::new("secret", "r").namespace(""))));
    let error = r#""error": "\"invalid_argument\"""#;
    assert!(refused.last().unwrap().contains(error), "{refused:#?}");

    for span in [put, exact, semantic, missed, refused].concat() {
        assert!(
            !span.to_lowercase().contains("secret") && !span.contains("hidden"),
            "{span}"
        );
    }
}

#[test]
fn spans_follow_a_call_to_another_thread() {
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .open()
        .unwrap();
    let cache = AsyncSemanticCache::new(cache);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let recorder = Recorder::default();
    let subscriber = tracing_subscriber::registry().with(recorder.clone());
    // The blocking threads have no own subscriber, so this one serves all threads;
    // other tests have theirs.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let request = tracing::info_span!("request");
    request.in_scope(|| runtime.block_on(cache.get("q")).unwrap());
    let spans = recorder.0.lock().unwrap();
    assert!(
        spans.iter().any(|span| span.starts_with("request/cache ")),
        "{spans:#?}"
    );
}

#[test]
fn an_error_bound_is_measured_by_namespace() {
    let registry = Registry::new();
    let observer = Prometheus::builder().max_namespaces(1);
    let cache = SemanticCache::builder()
        .store(MemoryStore::new())
        .embedder(Beginnings)
        .observer(observer.register(&registry).unwrap())
        .vetoes([])
        .error_bound(ErrorBound::answers(0.05))
        .open()
        .unwrap();
    let ask = |namespace: &str, n: u32| {
        let query = "x".repeat(n as usize + 1);
        let request = GetRequest::new(query).namespace(namespace);
        cache
            .get_or_compute(request, || Ok::<_, Infallible>("the same"))
            .unwrap()
    };
    ask("a", 0);
    ask("a", 1);
    ask("b", 0);
    let metrics = scraped(&registry);
    assert_eq!(metrics["mneme_bound_labels{namespace=\"a\"}"], 1.0);
    let state = "mneme_bound_state{namespace=\"a\",state=\"too_few_labels\"}";
    assert_eq!(metrics[state], 1.0);
    let absent = |of: &str| !metrics.keys().any(|key| key.contains(of));
    assert!(absent("mneme_bound_threshold") && absent("namespace=\"b\""));
    // Near its limit it closes and opens again.
    let open = "mneme_bound_state{namespace=\"a\",state=\"open\"}";
    let metrics = (2..400).find_map(|n| {
        ask("a", n);
        Some(scraped(&registry)).filter(|metrics| metrics.contains_key(open))
    });
    let metrics = metrics.unwrap();
    assert_eq!(metrics[open], 1.0);
    assert!(!metrics.contains_key(state));
    assert!(metrics["mneme_bound_threshold{namespace=\"a\"}"] > 0.7);
    assert!(metrics["mneme_bound_share{namespace=\"a\"}"] <= 0.05);
    assert_eq!(metrics["mneme_bound_wrong_labels{namespace=\"a\"}"], 0.0);
    let explored = sum(
        &metrics,
        "mneme_misses_total",
        "namespace=\"a\",reason=\"explored\"",
    );
    let stats = cache.stats(Some("a")).unwrap();
    assert_eq!(explored, stats.counters.explored);
}
