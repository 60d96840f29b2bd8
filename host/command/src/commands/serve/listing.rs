//! Listing and erasing.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use mneme::EntryFilter;
use serde::Deserialize;
use utoipa::ToSchema;

use super::fault::Fault;
use super::request::{Body, NamedNamespace};
use super::served::Served;
use crate::json;

/// Which entries are meant: those that meet every condition, of all namespaces unless the request
/// names one.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Entries of this context. Default: of any; the empty string is the empty context.
    context: Option<String>,
    /// Entries that carry each of these tags; at most 32.
    #[serde(default)]
    tags: Vec<String>,
    /// Entries of this question; spacing and case do not count, unless the server keeps them.
    query: Option<String>,
    /// Entries with these ids; at most 1,024.
    ids: Option<Vec<u64>>,
    /// Entries that were stored at least so many seconds ago.
    min_age: Option<u64>,
    /// Entries that were stored at most so many seconds ago.
    max_age: Option<u64>,
}

impl Filter {
    fn add_to(self, mut filter: EntryFilter, namespace: Option<String>) -> EntryFilter {
        filter = filter.tags(self.tags);
        if let Some(namespace) = namespace {
            filter = filter.namespace(namespace);
        }
        if let Some(context) = self.context {
            filter = filter.context(context);
        }
        if let Some(query) = self.query {
            filter = filter.query(query);
        }
        if let Some(ids) = self.ids {
            filter = filter.ids(ids);
        }
        if let Some(seconds) = self.min_age {
            filter = filter.min_age(seconds);
        }
        match self.max_age {
            Some(seconds) => filter.max_age(seconds),
            None => filter,
        }
    }
}

/// Which entries to list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Default: all entries.
    #[serde(default)]
    filter: Filter,
    /// Entries with a greater id. Default 0.
    #[serde(default)]
    after: u64,
    /// The most entries of the page, 1 to 1,024. Default 100.
    #[serde(default = "hundred")]
    limit: u32,
}

fn hundred() -> u32 {
    100
}

/// Which entries to erase.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Erased {
    /// At least one condition, unless `everything` is true.
    #[serde(default)]
    filter: Filter,
    /// All entries of all namespaces. Not with a condition.
    #[serde(default)]
    everything: bool,
    /// Delete nothing; say what would be deleted.
    #[serde(default)]
    dry_run: bool,
}

/// List entries, in pages
///
/// Counts no hit, and no entry as used.
#[utoipa::path(
    post,
    path = "/entries",
    request_body = Listed,
    responses((status = 200, description = "A page", body = json::EntryPage), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn entries(
    State(served): State<Arc<Served>>,
    NamedNamespace(namespace): NamedNamespace,
    Body(listed, _): Body<Listed>,
) -> Result<Json<json::EntryPage>, Fault> {
    let filter = listed.filter.add_to(EntryFilter::new(), namespace);
    let page = served
        .cache
        .list_entries(filter, listed.after, listed.limit);
    Ok(Json((&served.call(page).await?).into()))
}

/// Delete the entries that meet a filter, and return a receipt
#[utoipa::path(
    post,
    path = "/erase",
    request_body = Erased,
    responses((status = 200, description = "What was erased", body = json::Receipt), (status = "default", description = "What went wrong", body = Fault)),
    tag = "entries"
)]
pub async fn erase(
    State(served): State<Arc<Served>>,
    NamedNamespace(namespace): NamedNamespace,
    Body(erased, _): Body<Erased>,
) -> Result<Json<json::Receipt>, Fault> {
    let begun = match erased.everything {
        true => EntryFilter::everything(),
        false => EntryFilter::new(),
    };
    let filter = erased.filter.add_to(begun, namespace);
    let receipt = served
        .call(served.cache.erase(filter, erased.dry_run))
        .await?;
    Ok(Json(json::Receipt::new(&receipt, erased.dry_run)))
}
