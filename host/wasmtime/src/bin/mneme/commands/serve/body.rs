//! Reading bodies, also those that nobody wants: a connection whose request was not read to its
//! end can serve no other, and what is answered may be lost with it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};

/// How much of an unwanted body is read, and how long that may take.
const UNWANTED: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

/// Why a body was not read.
pub enum Unread {
    /// It has more bytes than it may.
    TooLarge {
        /// All the same it was read to its end, and dropped.
        drained: bool,
    },
    /// It was cut off on its way.
    CutOff,
}

/// The next bytes; none at the end.
pub async fn next(body: &mut Body) -> Option<Result<Bytes, axum::Error>> {
    let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
    // What is no data are trailers, which nothing here has a use for.
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// A body of at most so many bytes.
pub async fn read(mut body: Body, limit: usize) -> Result<Vec<u8>, Unread> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(&mut body).await {
        let piece = piece.map_err(|_| Unread::CutOff)?;
        if bytes.len() + piece.len() > limit {
            drop(bytes);
            return Err(Unread::TooLarge {
                drained: drain(body).await,
            });
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads a body that nobody wants. False where that was given up: the connection is to be closed.
pub async fn drain(mut body: Body) -> bool {
    let mut left = UNWANTED;
    let reading = async {
        loop {
            match next(&mut body).await {
                None => return true,
                Some(Ok(piece)) if piece.len() <= left => left -= piece.len(),
                Some(_) => return false,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading)
        .await
        .unwrap_or(false)
}
