//! Reading bodies, including those that no handler reads: otherwise the connection cannot serve
//! another request, and the response may be lost.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

/// The most bytes of an unwanted body that are read, and the most time for that.
const UNWANTED: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// A body that outlives its handler.
#[derive(Clone)]
struct Kept(Arc<Mutex<Body>>);

type Piece = http_body::Frame<Bytes>;

impl Kept {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }
}

impl HttpBody for Kept {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, axum::Error>>> {
        self.poll(context)
    }
}

/// Reads the rest of a request that was answered early, or announces that the connection
/// closes.
pub async fn read_to_end(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let body = Kept(Arc::new(Mutex::new(body)));
    let request = Request::from_parts(parts, Body::new(body.clone()));
    let mut response = next.run(request).await;
    if !drain(&body).await {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Whether the rest was small enough.
async fn drain(body: &Kept) -> bool {
    let mut left = UNWANTED;
    let reading = async {
        loop {
            match poll_fn(|context| body.poll(context)).await {
                None => return true,
                Some(Ok(piece)) => {
                    let length = piece.data_ref().map_or(0, Bytes::len);
                    if length > left {
                        return false;
                    }
                    left -= length;
                }
                Some(Err(_)) => return false,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or(false)
}

/// The next bytes; none at the end.
pub async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    // Other frames are trailers, which are ignored.
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Why a body was not read.
pub enum Unread {
    /// It is too long.
    TooLarge,
    /// It ended early.
    CutOff,
}

/// A body of at most so many bytes.
pub async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await {
        let piece = piece.map_err(|_| Unread::CutOff)?;
        if bytes.len() + piece.len() > limit {
            return Err(Unread::TooLarge);
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}
