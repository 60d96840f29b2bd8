//! Metrics of the cache, and of the service itself; and what its log says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use prometheus::proto::MetricFamily;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::activity::{Activity, Holding};
use super::fault::{self, Logged};
use crate::output::Output;

/// Durations in seconds: 0.1 ms to 10 s.
const DURATIONS: [f64; 12] = [
    1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 5e-1, 2.5, 10.0,
];

/// The same failure is logged once in this time.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The metrics of /metrics.
pub struct Metrics {
    /// Those of the cache, among them gauges that ask the store.
    of_cache: Registry,
    /// Those of the service, which ask nobody.
    of_service: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
    in_flight: IntGaugeVec,
    activity: Arc<Activity>,
    out: Output,
    logged: Mutex<Option<(Instant, String)>>,
}

impl Metrics {
    pub fn new(
        of_cache: Registry,
        activity: Arc<Activity>,
        out: Output,
    ) -> Result<Self, prometheus::Error> {
        let of_service = Registry::new();
        let requests = IntCounterVec::new(
            Opts::new("mneme_http_requests_total", "Requests answered"),
            &["method", "route", "status"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "mneme_http_request_duration_seconds",
                "Time from a request to the head of its response",
            )
            .buckets(DURATIONS.to_vec()),
            &["method", "route"],
        )?;
        let in_flight = IntGaugeVec::new(
            Opts::new(
                "mneme_http_requests_in_flight",
                "Requests whose responses are not sent yet",
            ),
            &["method", "route"],
        )?;
        of_service.register(Box::new(in_flight.clone()))?;
        of_service.register(Box::new(requests.clone()))?;
        of_service.register(Box::new(durations.clone()))?;
        Ok(Self {
            of_cache,
            of_service,
            requests,
            durations,
            in_flight,
            activity,
            out,
            logged: Mutex::default(),
        })
    }

    /// Those of the cache. The gauges wait for it, and ask the store.
    pub fn read_cache(&self) -> Vec<MetricFamily> {
        self.of_cache.gather()
    }

    /// All of them, in the text format of Prometheus. Without those of the cache, it says that
    /// the store did not answer.
    pub fn text(&self, of_cache: Option<Vec<MetricFamily>>) -> Result<String, prometheus::Error> {
        const DOWN: &str = "# HELP mneme_store_up Whether the store answered this scrape\n# TYPE mneme_store_up gauge\nmneme_store_up 0\n";
        let service = TextEncoder::new().encode_to_string(&self.of_service.gather())?;
        let cache = match of_cache {
            Some(families) => TextEncoder::new().encode_to_string(&families)?,
            None => DOWN.to_owned(),
        };
        Ok(cache + &service)
    }

    fn log(&self, method: &str, route: &str, message: &str) {
        let message = fault::excerpt(message, fault::LINE);
        let text = format!("{method} {route}: {message}");
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        match &*logged {
            Some((at, last)) if *last == text && at.elapsed() < LOG_PAUSE => {}
            _ => {
                self.out.warn(&text);
                *logged = Some((Instant::now(), text));
            }
        }
    }
}

/// A request in a gauge.
struct InFlight(IntGauge);

impl InFlight {
    fn begin(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Counts a request by the pattern of its path, logs what its client is not told, and
/// notes that it is under way until its response is sent.
pub async fn count(State(metrics): State<Arc<Metrics>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    // Clients can invent methods.
    let method = match request.method().as_str() {
        method @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS") => method.to_owned(),
        _ => "other".into(),
    };
    let under_way = metrics.activity.begin(format!("{method} {route}"));
    let in_flight = metrics.in_flight.with_label_values(&[&method, &route]);
    let in_flight = InFlight::begin(in_flight);
    let started = Instant::now();
    let response = next.run(request).await;
    metrics
        .durations
        .with_label_values(&[&method, &route])
        .observe(started.elapsed().as_secs_f64());
    metrics
        .requests
        .with_label_values(&[&*method, &*route, response.status().as_str()])
        .inc();
    if let Some(Logged(message)) = response.extensions().get() {
        metrics.log(&method, &route, message);
    }
    response.map(|body| Body::new(Holding::new(body, (under_way, in_flight))))
}
