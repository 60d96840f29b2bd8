//! Metrics of the cache, and of the service itself.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::Served;
use super::fault::Fault;

/// Durations in seconds: 0.1 ms to 10 s.
const DURATIONS: [f64; 12] = [
    1e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 1e-1, 5e-1, 2.5, 10.0,
];

/// The metrics of /metrics.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    durations: HistogramVec,
}

impl Metrics {
    pub fn new(registry: Registry) -> Result<Self, prometheus::Error> {
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
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Self {
            registry,
            requests,
            durations,
        })
    }
}

/// Counts a request, by the pattern of its path.
pub async fn count(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("", MatchedPath::as_str).to_owned();
    // Clients can invent methods.
    let method = match request.method().as_str() {
        method @ ("GET" | "POST" | "PUT" | "DELETE" | "HEAD" | "OPTIONS") => method.to_owned(),
        _ => "other".into(),
    };
    let started = Instant::now();
    let response = next.run(request).await;
    let metrics = &served.metrics;
    metrics
        .durations
        .with_label_values(&[&method, &route])
        .observe(started.elapsed().as_secs_f64());
    metrics
        .requests
        .with_label_values(&[&*method, &*route, response.status().as_str()])
        .inc();
    response
}

/// Metrics in the text format of Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), (status = "default", description = "What went wrong", body = Fault)),
    tag = "operation"
)]
pub async fn scrape(State(served): State<Arc<Served>>) -> Result<Response, Fault> {
    let asking = Arc::clone(&served);
    // The gauges read the store.
    let text = served.cache.run(move |_| {
        let families = asking.metrics.registry.gather();
        Ok(TextEncoder::new().encode_to_string(&families))
    });
    let text = text
        .await?
        .map_err(|error| Fault::internal(error.to_string()))?;
    let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    Ok((kind, text).into_response())
}
