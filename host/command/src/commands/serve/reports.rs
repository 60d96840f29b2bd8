//! Namespaces, their quotas and counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::fault::Fault;
use super::request::{AllNamespaces, Body, NamedNamespace, Namespace, Parameters};
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

/// Which namespaces to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listed {
    /// Namespaces whose bytes come after those of this one. Default: from the first on.
    after: Option<String>,
    /// The most namespaces of the page, 1 to 65,536.
    #[serde(default = "most")]
    #[param(default = 65_536)]
    limit: u32,
}

/// The most namespaces of a page.
const MOST: u32 = 65_536;

fn most() -> u32 {
    MOST
}

/// A page of the namespaces that hold entries.
#[derive(Debug, Serialize, ToSchema)]
pub struct Namespaces {
    /// Sorted by their bytes.
    namespaces: Vec<String>,
    /// What to pass as `after` for the next page; null at the end.
    next: Option<String>,
}

/// List the namespaces that hold entries, in pages
#[utoipa::path(
    get,
    path = "/v1/namespaces",
    params(Listed),
    responses((status = 200, description = "The namespaces", body = Namespaces), (status = "default", description = "What went wrong", body = Fault)),
    tag = "namespaces"
)]
pub async fn namespaces(
    State(served): State<Arc<Served>>,
    _: AllNamespaces,
    Parameters(Listed { after, limit }): Parameters<Listed>,
) -> Result<Json<Namespaces>, Fault> {
    if limit > MOST {
        return Err(Fault::bad_request(format!(
            "limit is {limit}; it must be 1 to {MOST}"
        )));
    }
    let page = move |cache: &mneme::SemanticCache| {
        let namespaces = cache.list_namespaces_after(after.as_deref(), limit)?;
        let is_full = namespaces.len() >= limit as usize;
        let next = namespaces.last().filter(|_| is_full).cloned();
        Ok(Namespaces { namespaces, next })
    };
    Ok(Json(served.read(page).await?))
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
