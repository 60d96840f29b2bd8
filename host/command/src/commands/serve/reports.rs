//! Namespaces, their quotas and counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;
use super::request::{AllNamespaces, Body, NamedNamespace, Namespace};
use super::served::Served;
use crate::json;

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
    let stats = served.call(served.cache.stats(namespace)).await?;
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
pub async fn namespaces(
    State(served): State<Arc<Served>>,
    _: AllNamespaces,
) -> Result<Json<Namespaces>, Fault> {
    let namespaces = served.read(|cache| cache.list_namespaces()).await?;
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
    let deleted = served.run(cleared).await?;
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
    let max_entries = served.read(read).await?;
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
    Body(quota, _): Body<Quota>,
) -> Result<Json<Quota>, Fault> {
    let most = quota.max_entries;
    let set = move |cache: &mneme::SemanticCache| cache.set_namespace_quota(&namespace, most);
    served.run(set).await?;
    Ok(Json(quota))
}
