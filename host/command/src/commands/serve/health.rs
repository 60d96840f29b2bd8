//! Whether the server lives, whether it can answer, and whether the store is sound; metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mneme::embedder::Precomputed;
use mneme::store::checks;
use mneme::{Health, SemanticCache};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;

use super::access::Access;
use super::archives::Attendance;
use super::fault::Fault;
use super::request::{AllNamespaces, Parameters};
use super::served::Served;
use crate::json;
use crate::store_url::StoreUrl;

/// The greatest age of a cheap check.
const FRESH: Duration = Duration::from_secs(1);
/// How long a cheap check is waited for.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the gauges of the cache are waited for.
const GAUGES: Duration = Duration::from_secs(1);

/// Say that the process lives
///
/// Asks neither cache nor store.
#[utoipa::path(
    get,
    path = "/livez",
    responses((status = 200, description = "It lives")),
    security(()),
    tag = "operation"
)]
pub async fn livez() -> Json<serde_json::Value> {
    Json(json!({"live": true}))
}

/// Say whether the server can answer
///
/// Checks that the store answers within 2 seconds and still holds this cache. The answer is at
/// most a second old.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "It can"),
        (status = 503, description = "It cannot now, and why"),
    ),
    security(()),
    tag = "operation"
)]
pub async fn readyz(State(served): State<Arc<Served>>) -> Response {
    // What could not be written in the background, or a damaged vector, keeps nobody from answers.
    let problem = match cheap_check(&served).await {
        Ok(health) if health.store_ok => return Json(json!({"ready": true})).into_response(),
        Ok(health) if is_lost(&health) && served.store.file().is_none() => LOST.to_owned(),
        Ok(health) if is_lost(&health) => REPLACED.to_owned(),
        Ok(_) if served.store.file().is_none() => SILENT.to_owned(),
        Ok(_) => UNREADABLE.to_owned(),
        Err(problem) => problem,
    };
    let body = json!({"ready": false, "problem": problem});
    (status(false), Json(body)).into_response()
}

/// What is to be done about a database server that has lost the cache: `upkeep` opens it again.
const LOST: &str = "the data of this cache is gone from its store; the server opens it again by itself, and if that fails its standard error says why";

/// The same about a file, which is left alone.
const REPLACED: &str = "the data of this cache is gone from its store, or was replaced by another cache's; restore it, or restart the server to go on with what is there";

/// The same where a database server does not answer.
const SILENT: &str = "the store does not answer, and /health says more; see to its server, which is asked again by itself";

/// The same where the store cannot be read: a file may be gone.
const UNREADABLE: &str = "the store cannot be read, or is gone, and /health says more; restore it, or restart the server to go on with what is there";

/// Whether the store has lost the cache, or holds another one in its place.
pub fn is_lost(health: &Health) -> bool {
    let lost = checks::vanished();
    health
        .problems
        .iter()
        .any(|problem| problem.contains(&lost))
}

/// Check the store, cheaply
///
/// As /readyz, with a report. Callers without the token, if one is set, see only `healthy`.
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
pub async fn health(State(served): State<Arc<Served>>, request: Request) -> Response {
    let is_stranger = matches!(*served.access, Access::Token(_)) && !served.access.allows(&request);
    match cheap_check(&served).await {
        Ok(health) if !is_stranger => report(&health, &served.store),
        Ok(health) => {
            let healthy = health.healthy;
            (status(healthy), Json(json!({"healthy": healthy}))).into_response()
        }
        Err(problem) => {
            let healthy = json!({"healthy": false, "problems": [problem]});
            (status(false), Json(healthy)).into_response()
        }
    }
}

/// How to check.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Check {
    /// Read the whole store, which takes seconds for a million entries.
    #[serde(default)]
    deep: bool,
}

/// Check the store, all of it if asked to
///
/// A deep check reads the whole store on a separate connection, one check at a time.
#[utoipa::path(
    get,
    path = "/v1/health",
    params(Check),
    responses(
        (status = 200, description = "Healthy", body = json::Health),
        (status = 503, description = "Not healthy, with what is wrong; or another check is under way", body = json::Health),
        (status = "default", description = "What went wrong", body = Fault),
    ),
    tag = "operation"
)]
pub async fn check(
    State(served): State<Arc<Served>>,
    _: AllNamespaces,
    Parameters(how): Parameters<Check>,
) -> Result<Response, Fault> {
    let cheap = cheap_check(&served).await;
    let health = match cheap {
        Ok(health) if how.deep && health.store_ok => Arc::new(deep_check(&served).await?),
        Ok(health) => health,
        Err(problem) => return Err(Fault::busy(problem)),
    };
    Ok(report(&health, &served.store))
}

/// The cheap check: shared by all who ask, and waited for only so long. An error is a sentence
/// for everybody.
pub async fn cheap_check(served: &Arc<Served>) -> Result<Arc<Health>, String> {
    let outcome = served.health.read(FRESH, PATIENCE, || {
        let cache = served.cache.clone();
        async move {
            let outcome = cache.health(false).await;
            let outcome = outcome.map(Arc::new);
            outcome.map_err(|error| format!("the cache cannot be checked: {}", error.kind()))
        }
    });
    let outcome = outcome.await.unwrap_or_else(|| {
        Err(format!(
            "the cache gave no answer within {} s",
            PATIENCE.as_secs()
        ))
    });
    if outcome.as_ref().is_ok_and(|health| is_lost(health)) {
        served.doubt.store(true, Ordering::Relaxed);
    }
    outcome
}

/// Checks the whole store, beside the calls of others if it can be opened twice, for as long as the
/// client waits.
async fn deep_check(served: &Arc<Served>) -> Result<Health, Fault> {
    let only = Arc::clone(&served.check).try_acquire_owned();
    let only = only.map_err(|_| Fault::busy("another full check is under way; try again later"))?;
    let right = served.start_job().await?;
    let (store, embedder) = (served.store.clone(), served.embedder.clone());
    let attendance = Attendance::default();
    let cancel = attendance.cancel();
    let check = move |cache: &SemanticCache| {
        let _only = only;
        cancel.during(|| check_all(cache, &store, embedder))
    };
    served.job(right, check).await
}

fn check_all(
    cache: &SemanticCache,
    store: &StoreUrl,
    (fingerprint, dim): (String, u32),
) -> mneme::Result<Health> {
    let Some(handles) = store.handles() else {
        return cache.health(true);
    };
    let apart = SemanticCache::builder()
        .store_handles(handles)
        .embedder(Precomputed::new(fingerprint, dim))
        .open()?;
    let health = apart.health(true)?;
    apart.close()?;
    Ok(health)
}

/// A report, without what only the server's users may know.
fn report(health: &Health, store: &StoreUrl) -> Response {
    let mut shown = health.clone();
    for problem in &mut shown.problems {
        *problem = without_place(problem, store);
    }
    (status(health.healthy), Json(json::Health::from(&shown))).into_response()
}

/// A sentence about the store that does not say where it is.
fn without_place(text: &str, store: &StoreUrl) -> String {
    let mut text = text.to_owned();
    let names = [
        store.lasting_name(),
        store.to_string(),
        store.secret().to_owned(),
    ];
    // A short name, such as that of a kind of store, is a word like others.
    for name in names.iter().filter(|name| name.contains(['/', '.', '\\'])) {
        text = text.replace(name.as_str(), "the store");
    }
    text
}

fn status(is_well: bool) -> StatusCode {
    match is_well {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Metrics in the text format of Prometheus
///
/// Those of the cache are left out, and `mneme_store_up` is 0, if it does not answer within a
/// second.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), (status = "default", description = "What went wrong", body = Fault)),
    tag = "operation"
)]
pub async fn scrape(State(served): State<Arc<Served>>) -> Result<Response, Fault> {
    let gauges = served.gauges.read(Duration::ZERO, GAUGES, || {
        let (metrics, cache) = (Arc::clone(&served.metrics), served.cache.clone());
        async move {
            let read = cache.run_reading(move |_| Ok(metrics.read_cache())).await;
            read.ok()
        }
    });
    let text = served.metrics.text(gauges.await.flatten());
    let text = text.map_err(|error| Fault::internal(error.to_string()))?;
    let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
    Ok((kind, text).into_response())
}
