//! Checkpoints over HTTP.
//!
//! An archive passes through a temporary file between the cache and the network. A slow
//! connection does not block the cache, and a dump that fails is an error, not half a file.

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use mneme::checkpoint::{ImportMode, LoadOptions};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::body;
use super::fault::Fault;
use super::served::Served;
use crate::commands::checkpoint::dump_options;
use crate::json;

/// How much is read from the file at a time.
const PIECE: usize = 256 * 1024;

/// How to dump.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Dump {
    /// Write entries and vectors that fit every store, even if the store has a native format.
    #[serde(default)]
    portable: bool,
    /// Compress with zstd instead of gzip.
    #[serde(default)]
    zstd: bool,
    /// The gzip level, 0 to 9. Default 1.
    level: Option<u8>,
}

/// Download the whole cache as an archive
#[utoipa::path(
    get,
    path = "/v1/dump",
    params(Dump),
    responses((status = 200, description = "An archive that `mneme load` reads", body = Vec<u8>, content_type = "application/octet-stream"), (status = "default", description = "What went wrong", body = Fault)),
    tag = "checkpoints"
)]
pub async fn dump(
    State(served): State<Arc<Served>>,
    query: Result<Query<Dump>, QueryRejection>,
) -> Result<Response, Fault> {
    let Query(how) = query.map_err(|rejection| Fault::bad_request(rejection.body_text()))?;
    let options = dump_options(how.portable, how.zstd, how.level);
    let file = tempfile::tempfile().map_err(|error| no_room(&error))?;
    let (report, mut file) = served.cache.dump_verified(file, options).await?;
    let length = file.stream_position().map_err(|error| no_room(&error))?;
    file.seek(SeekFrom::Start(0))
        .map_err(|error| no_room(&error))?;
    let name = match how.zstd {
        true => "attachment; filename=\"mneme.tar.zst\"",
        false => "attachment; filename=\"mneme.tar.gz\"",
    };
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, name.to_owned()),
        (
            header::HeaderName::from_static("mneme-consistent"),
            report.consistent.to_string(),
        ),
    ];
    let stream = ReaderStream::with_capacity(tokio::fs::File::from_std(file), PIECE);
    Ok((headers, Body::from_stream(stream)).into_response())
}

/// How to load.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Load {
    /// What to do about existing entries.
    #[serde(default)]
    #[param(inline)]
    mode: Mode,
    /// Put this before the name of every namespace.
    #[serde(default)]
    prefix: String,
}

/// What to do about existing entries.
#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Refuse the archive.
    #[default]
    Empty,
    /// Keep them, except those with the same query.
    Merge,
    /// Delete them in the same step.
    Replace,
}

/// Load an archive into the cache, all of it or nothing
#[utoipa::path(
    post,
    path = "/v1/load",
    params(Load),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "Loaded", body = json::Loaded), (status = "default", description = "What went wrong", body = Fault)),
    tag = "checkpoints"
)]
pub async fn load(
    State(served): State<Arc<Served>>,
    query: Result<Query<Load>, QueryRejection>,
    request: Request,
) -> Result<Json<json::Loaded>, Fault> {
    let Query(how) = query.map_err(|rejection| Fault::bad_request(rejection.body_text()))?;
    let file = receive(request.into_body(), served.max_archive).await?;
    let mode = match how.mode {
        Mode::Empty => ImportMode::Empty,
        Mode::Merge => ImportMode::Merge,
        Mode::Replace => ImportMode::Replace,
    };
    let options = LoadOptions::new().mode(mode).namespace_prefix(&how.prefix);
    let started = std::time::Instant::now();
    let report = served.cache.load(file, options).await?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Json(json::Loaded::new(&report, seconds)))
}

/// The body, in a file without a name.
async fn receive(mut body: Body, limit: u64) -> Result<std::fs::File, Fault> {
    let file = tempfile::tempfile().map_err(|error| no_room(&error))?;
    let mut file = tokio::fs::File::from_std(file);
    let mut length = 0;
    while let Some(piece) = body::next(&mut body).await {
        let piece = piece.map_err(|_| Fault::bad_request("the archive ended early"))?;
        length += piece.len() as u64;
        if length > limit {
            return Err(Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!("the archive has more than {limit} bytes; see --max-archive"),
            ));
        }
        file.write_all(&piece)
            .await
            .map_err(|error| no_room(&error))?;
    }
    file.flush().await.map_err(|error| no_room(&error))?;
    let mut file = file.into_std().await;
    file.seek(SeekFrom::Start(0))
        .map_err(|error| no_room(&error))?;
    Ok(file)
}

fn no_room(error: &std::io::Error) -> Fault {
    Fault::internal(format!(
        "the temporary folder cannot be used: {error}; free space in it, or name another with TMPDIR"
    ))
}
