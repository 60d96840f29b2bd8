//! Reading bodies within a time, including those that no handler reads: otherwise the connection
//! cannot serve another request, and the response may be lost.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, Version, header};
use axum::response::Response;
use http_body::SizeHint;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// The most bytes of an unwanted body that are read, and the most time for that.
const UNWANTED: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// The least bytes a second of a body that takes longer than its time.
const RATE: f64 = 16.0 * 1024.0;

/// A body that outlives its handler.
#[derive(Clone)]
struct Kept(Arc<Mutex<Timed>>);

/// A body that must arrive within a time, and at a rate after that.
struct Timed {
    body: Body,
    /// When it may be no longer on its way.
    due: Pin<Box<Sleep>>,
    is_late: bool,
}

type Piece = http_body::Frame<Bytes>;

/// The error of a body that did not arrive in time.
#[derive(Debug)]
struct Late;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body did not arrive in time")
    }
}

impl Error for Late {}

impl Timed {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        if self.is_late {
            return Poll::Ready(None);
        }
        if let Poll::Ready(piece) = Pin::new(&mut self.body).poll_frame(context) {
            let piece_length = match &piece {
                Some(Ok(piece)) => piece.data_ref().map_or(0, Bytes::len),
                _ => 0,
            };
            let due = self.due.deadline() + Duration::from_secs_f64(piece_length as f64 / RATE);
            self.due.as_mut().reset(due);
            return Poll::Ready(piece);
        }
        if self.due.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.is_late = true;
        Poll::Ready(Some(Err(axum::Error::new(Late))))
    }
}

impl Kept {
    fn is_late(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_late
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        body.poll(context)
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

/// A body that is cut off when it was not taken within a time.
pub struct Limited {
    body: Body,
    due: Pin<Box<Sleep>>,
}

impl Limited {
    pub fn new(body: Body, patience: Duration) -> Self {
        Self {
            body,
            due: Box::pin(sleep(patience)),
        }
    }
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, axum::Error>>> {
        if self.due.as_mut().poll(context).is_ready() {
            let late = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is left of the body of a request once its response is there.
pub struct Rest {
    body: Option<Kept>,
    version: Version,
}

/// Keeps the body of a request, which may take `patience`, and more if it is large.
pub fn keep(request: Request<Incoming>, patience: Duration) -> (Request<Body>, Rest) {
    let (parts, body) = request.into_parts();
    let body = (!body.is_end_stream()).then(|| {
        Kept(Arc::new(Mutex::new(Timed {
            body: Body::new(body),
            due: Box::pin(sleep(patience)),
            is_late: false,
        })))
    });
    let rest = Rest {
        body: body.clone(),
        version: parts.version,
    };
    let body = body.map_or_else(Body::empty, Body::new);
    (Request::from_parts(parts, body), rest)
}

impl Rest {
    /// Reads it within a time, if it was answered early, or announces that the connection closes.
    pub async fn read_to_end(self, response: &mut Response, patience: Duration) {
        let Some(body) = self.body else {
            return;
        };
        // HTTP/2 has no such header, and resets the stream.
        if !drain(&body, patience.min(PATIENCE)).await && self.version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// Whether the rest was small enough.
async fn drain(body: &Kept, patience: Duration) -> bool {
    let mut left = UNWANTED;
    let reading = async {
        loop {
            match poll_fn(|context| body.poll(context)).await {
                // One that is late has an end for its reader only.
                None => return !body.is_late(),
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
    tokio::time::timeout(patience, reading)
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
    /// It did not arrive in time.
    TooSlow,
    /// It ended early.
    CutOff,
    /// All bodies together are too long.
    NoRoom,
}

impl From<axum::Error> for Unread {
    fn from(error: axum::Error) -> Self {
        let mut cause: Option<&dyn Error> = Some(&error);
        while let Some(error) = cause {
            if error.is::<Late>() {
                return Self::TooSlow;
            }
            cause = error.source();
        }
        Self::CutOff
    }
}

/// A body of at most so many bytes, and their part of the `room` for all bodies: a permit for each.
/// It waits for no room, since those that have a part of it may be waiting for more.
pub async fn read(
    mut body: Body,
    limit: usize,
    room: &Arc<Semaphore>,
) -> Result<(Vec<u8>, OwnedSemaphorePermit), Unread> {
    let take = |bytes: usize| {
        let permits = u32::try_from(bytes).map_err(|_| Unread::NoRoom)?;
        let taken = Arc::clone(room).try_acquire_many_owned(permits);
        taken.map_err(|_| Unread::NoRoom)
    };
    let mut taken = take(0)?;
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await {
        let piece = piece?;
        if bytes.len() + piece.len() > limit {
            return Err(Unread::TooLarge);
        }
        taken.merge(take(piece.len())?);
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, taken))
}
