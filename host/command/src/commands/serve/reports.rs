//! Namespaces, their quotas, counts, health and metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::access::Access;
use super::fault::Fault;
use super::request::{Body, NamedNamespace, Namespace};
use super::served::Served;
use crate::json;

/// The greatest age of a report on health: making one checks the whole store.
const FRESH: Duration = Duration::from_secs(10);

/// Count entries, hits and misses, of one namespace or of all
#[utoipa::path(
    get,
    path = "/stats",
    responses((status = 200, description = "The counts", body = json::Stats), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn stats(
    State(served): State<Arc<Served>>,
    NamedNamespace(namespace): NamedNamespace,
) -> Result<Json<json::Stats>, Fault> {
    let stats = served.cache.stats(namespace).await?;
    Ok(Json((&stats).into()))
}

/// The namespaces that hold entries.
#[derive(Debug, Serialize, ToSchema)]
pub struct Namespaces {
    /// Sorted by their bytes.
    namespaces: Vec<String>,
}

/// List the namespaces that hold entries
#[utoipa::path(
    get,
    path = "/v1/namespaces",
    responses((status = 200, description = "The namespaces", body = Namespaces), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn namespaces(State(served): State<Arc<Served>>) -> Result<Json<Namespaces>, Fault> {
    let namespaces = served.cache.run(|cache| cache.list_namespaces()).await?;
    Ok(Json(Namespaces { namespaces }))
}

/// What was cleared.
#[derive(Debug, Serialize, ToSchema)]
pub struct Cleared {
    /// How many entries were deleted.
    deleted: u64,
}

/// Delete all entries and counters of a namespace; its quota stays
#[utoipa::path(
    delete,
    path = "/v1/namespaces/{namespace}",
    params(("namespace" = String, Path, description = "1 to 1,024 bytes, percent-encoded")),
    responses((status = 200, description = "Cleared", body = Cleared), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn clear(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
) -> Result<Json<Cleared>, Fault> {
    let cleared = move |cache: &mneme::SemanticCache| cache.clear_namespace(&namespace);
    let deleted = served.cache.run(cleared).await?;
    Ok(Json(Cleared { deleted }))
}

/// The most entries that a namespace may hold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// null: unlimited; 0: no entries.
    max_entries: Option<u64>,
}

/// Show the quota of a namespace
#[utoipa::path(
    get,
    path = "/quota",
    responses((status = 200, description = "The quota", body = Quota), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn quota(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
) -> Result<Json<Quota>, Fault> {
    let read = move |cache: &mneme::SemanticCache| cache.namespace_quota(&namespace);
    let max_entries = served.cache.run(read).await?;
    Ok(Json(Quota { max_entries }))
}

/// Set or remove the quota of a namespace
#[utoipa::path(
    put,
    path = "/quota",
    request_body = Quota,
    responses((status = 200, description = "The quota", body = Quota), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn set_quota(
    State(served): State<Arc<Served>>,
    Namespace(namespace): Namespace,
    Body(quota): Body<Quota>,
) -> Result<Json<Quota>, Fault> {
    let most = quota.max_entries;
    let set = move |cache: &mneme::SemanticCache| cache.set_namespace_quota(&namespace, most);
    served.cache.run(set).await?;
    Ok(Json(quota))
}

/// Check the store
///
/// A report is at most 10 seconds old. Callers without the token, if one is set, see only
/// `healthy`.
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, description = "Healthy", body = json::Health),
        (status = 503, description = "Not healthy, with what is wrong", body = json::Health),
    ),
    security(()),
    tag = "operation"
)]
pub async fn health(
    State(served): State<Arc<Served>>,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    // Concurrent requests wait for the same report.
    let mut last = served.health.0.lock().await;
    let health = match &*last {
        Some((at, health)) if at.elapsed() < FRESH => Arc::clone(health),
        _ => {
            let health = Arc::new(served.cache.health(false).await?);
            *last = Some((Instant::now(), Arc::clone(&health)));
            health
        }
    };
    drop(last);
    let status = match health.healthy {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let is_stranger = matches!(*served.access, Access::Token(_)) && !served.access.allows(&headers);
    Ok(match is_stranger {
        true => (status, Json(json!({"healthy": health.healthy}))).into_response(),
        false => (status, Json(json::Health::from(&*health))).into_response(),
    })
}

/// Metrics in the text format of Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), (status = "default", description = "What went wrong", body = Fault)),
    tag = "operation"
)]
pub async fn scrape(State(served): State<Arc<Served>>) -> Result<Response, Fault> {
    let metrics = Arc::clone(&served.metrics);
    let text = served.cache.run(move |_| Ok(metrics.text()));
    let text = text
        .await?
        .map_err(|error| Fault::internal(error.to_string()))?;
    let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    Ok((kind, text).into_response())
}
