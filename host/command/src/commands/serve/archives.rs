//! Checkpoints over HTTP.
//!
//! An archive passes through a temporary file between the cache and the network. A slow
//! connection does not block the cache, and a dump that fails is an error, not half a file. An
//! archive to load is checked apart from the cache first, so a bad one holds up nobody.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mneme::checkpoint::{self, ImportMode, InspectOptions, LoadOptions};
use mneme::store::cancel::Cancel;
use mneme::{Error, SemanticCache};
use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::io::ReaderStream;
use utoipa::{IntoParams, ToSchema};

use super::activity::Holding;
use super::body::{self, Limited, Unread};
use super::fault::{self, Fault};
use super::request::{AllNamespaces, Parameters, check_archive};
use super::served::Served;
use crate::commands::checkpoint::dump_options;
use crate::json;

/// How much is read from the file at a time.
const PIECE: usize = 256 * 1024;

/// The most bytes of an archive unpacked, by default.
const MAX_UNPACKED: u64 = 64 << 30;

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
    _: AllNamespaces,
    method: Method,
    at: Uri,
    Parameters(how): Parameters<Dump>,
) -> Result<Response, Fault> {
    // Routes of GET take HEAD too, which would make an archive for nobody.
    if method != Method::GET {
        let allowed = [(header::ALLOW, "GET")];
        return Ok((allowed, fault::method_not_allowed(at).await).into_response());
    }
    let options = dump_options(how.portable, how.zstd, how.level);
    let transfer = served.start_transfer()?;
    let right = served.start_job().await?;
    let attendance = Attendance::default();
    let file = attendance.passes(temporary()?);
    let cancel = attendance.cancel();
    let dump = move |cache: &SemanticCache| cancel.during(|| cache.dump_verified(file, options));
    let (
        report,
        Attended {
            inner: mut file, ..
        },
    ) = served.job(right, dump).await?;
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
    let body = Limited::new(Body::from_stream(stream), served.limits.job);
    let body = Holding::new(Body::new(body), transfer);
    Ok((headers, Body::new(body)).into_response())
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
    _: AllNamespaces,
    Parameters(how): Parameters<Load>,
    headers: HeaderMap,
    request: Request,
) -> Result<Json<json::Loaded>, Fault> {
    check_archive(&headers)?;
    let transfer = served.start_transfer()?;
    let started = Instant::now();
    let receiving = receive(request.into_body(), served.limits.archive);
    let (file, length) = timeout(served.limits.job, receiving)
        .await
        .unwrap_or_else(|_| Err(Fault::slow_archive()))?;
    let room = Room::of(length, served.limits.unpacked)?;
    let right = served.start_job().await?;
    drop(transfer);
    let attendance = Attendance::default();
    let mut again = file.try_clone().map_err(|error| no_room(&error))?;
    let cancel = attendance.cancel();
    let archive = attendance.passes(file);
    inspect(&served, Arc::clone(&right), archive, room, cancel.clone()).await?;
    again.rewind().map_err(|error| no_room(&error))?;
    let mode = match how.mode {
        Mode::Empty => ImportMode::Empty,
        Mode::Merge => ImportMode::Merge,
        Mode::Replace => ImportMode::Replace,
    };
    let options = LoadOptions::new()
        .mode(mode)
        .namespace_prefix(&how.prefix)
        .max_expansion(room.expansion);
    let archive = attendance.passes(again);
    let load = move |cache: &SemanticCache| Ok(cancel.during(|| cache.load(archive, options)));
    let report = served
        .job(right, load)
        .await?
        .map_err(|error| match error {
            // Archives of this kind of store cannot become part of that one.
            Error::Unsupported(_) => Fault::of_archive(error),
            error => error.into(),
        })?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Json(json::Loaded::new(&report, seconds)))
}

/// Checks an archive as a load would, apart from the cache.
async fn inspect(
    served: &Served,
    right: Arc<OwnedSemaphorePermit>,
    archive: Attended<File>,
    room: Room,
    cancel: Cancel,
) -> Result<(), Fault> {
    let options = InspectOptions::new().max_expansion(room.expansion);
    let inspecting = tokio::task::spawn_blocking(move || {
        let outcome = cancel.during(|| checkpoint::inspect(archive, options));
        drop(right);
        outcome
    });
    match timeout(served.limits.job, inspecting).await {
        Ok(Ok(Ok(summary))) if summary.bytes > room.most => Err(room.exceeded()),
        Ok(Ok(Err(Error::Checkpoint(reason)))) if reason.contains("`max-expansion`") => {
            Err(room.exceeded())
        }
        Ok(Ok(outcome)) => outcome.map(drop).map_err(Fault::of_archive),
        Ok(Err(error)) => Err(Fault::internal(format!(
            "an archive was not checked: {error}"
        ))),
        Err(_) => Err(Fault::slow(served.limits.job.as_secs())),
    }
}

/// How large an archive may become.
#[derive(Clone, Copy)]
struct Room {
    /// Of the archive as it was sent.
    length: u64,
    /// The most bytes unpacked.
    most: u64,
    /// How many times its bytes it may become, at any point past the first 64 MiB.
    expansion: u32,
}

impl Room {
    /// The room for `length` bytes of archive, where the operator allows `given` unpacked.
    fn of(length: u64, given: Option<u64>) -> Result<Self, Fault> {
        let most = given.unwrap_or(MAX_UNPACKED);
        // Rounded up: nothing below the bound is refused.
        let times = u32::try_from(most.div_ceil(length.max(1))).unwrap_or(u32::MAX);
        let room = Room {
            length,
            most,
            expansion: match given {
                Some(_) => times.max(1),
                None => times.clamp(1, checkpoint::MAX_EXPANSION),
            },
        };
        match length > most {
            true => Err(room.exceeded()),
            false => Ok(room),
        }
    }

    fn exceeded(self) -> Fault {
        let Room {
            length,
            most,
            expansion,
        } = self;
        let may = match u64::from(expansion).saturating_mul(length) < most {
            true => format!("{expansion} times as many unpacked"),
            false => format!("{most} unpacked"),
        };
        Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!(
                "the archive has {length} bytes, and may have {may}; if it can be trusted, start the server with a larger --max-unpacked"
            ),
        )
    }
}

/// The body, in a file without a name, and its length.
async fn receive(mut body: Body, limit: u64) -> Result<(File, u64), Fault> {
    let mut file = tokio::fs::File::from_std(temporary()?);
    let mut length = 0;
    while let Some(piece) = body::next(&mut body).await {
        let piece = piece.map_err(|error| match Unread::from(error) {
            Unread::TooSlow => Fault::slow_body(),
            _ => Fault::bad_request("the archive ended early"),
        })?;
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
    Ok((file, length))
}

/// Whether the client still waits. What it waits for ends soon after it was dropped.
#[derive(Default)]
pub struct Attendance(Cancel);

impl Attendance {
    /// Ends a call once nobody waits.
    pub fn cancel(&self) -> Cancel {
        self.0.clone()
    }

    /// A file whose reads and writes fail once nobody waits.
    fn passes(&self, inner: File) -> Attended<File> {
        Attended {
            inner,
            cancel: self.0.clone(),
        }
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A file of somebody who waits.
struct Attended<F> {
    inner: F,
    cancel: Cancel,
}

impl<F> Attended<F> {
    fn check(&self) -> io::Result<()> {
        match self.cancel.is_cancelled() {
            false => Ok(()),
            true => Err(io::Error::other("the client has left")),
        }
    }
}

impl<F: Read> Read for Attended<F> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.read(bytes)
    }
}

impl<F: Write> Write for Attended<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<F: Seek> Seek for Attended<F> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.check()?;
        self.inner.seek(to)
    }
}

fn temporary() -> Result<File, Fault> {
    tempfile::tempfile().map_err(|error| no_room(&error))
}

fn no_room(error: &io::Error) -> Fault {
    Fault::internal(format!(
        "the temporary folder {:?} cannot be used: {error}; free space in it, or name another with TMPDIR",
        std::env::temp_dir()
    ))
}
