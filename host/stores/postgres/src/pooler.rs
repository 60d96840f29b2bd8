//! Whether a connection leads to one process of the server, or to a pooler that may give each
//! transaction another.
//!
//! A server tells a client the number of the process that serves it, for requests to cancel a query. A
//! pooler answers such requests itself, so it tells a number that it has made up. The client's library
//! shows the number to nobody, but writes it into a request to cancel, which goes no further than here.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Client;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::error::Outcome;

/// What stands between the store and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pooler {
    /// It is found out for each connection.
    #[default]
    Auto,
    /// Nothing, or what gives a connection one session for all of its time.
    Session,
    /// What may give each transaction another session.
    Transaction,
}

/// The number of the process that serves a connection, as it was told when it began.
pub(super) async fn told_process(client: &Client) -> Outcome<i32> {
    let mut request = Request::default();
    let token = client.cancel_token();
    token.cancel_query_raw(&mut request, Unencrypted).await?;
    Ok(request.process())
}

/// A request to cancel: its length, a code, the process and its secret, 4 bytes each. A question for TLS
/// may go before it.
#[derive(Default)]
struct Request {
    written: Vec<u8>,
}

impl Request {
    fn process(&self) -> i32 {
        let process = self.written.last_chunk::<8>();
        process.map_or(0, |[a, b, c, d, ..]| i32::from_be_bytes([*a, *b, *c, *d]))
    }
}

impl AsyncWrite for Request {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Request {
    /// Yes to the question for TLS.
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        buffer.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl TlsStream for &mut Request {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

/// Encrypts nothing, for nothing leaves.
struct Unencrypted;

impl<'r> TlsConnect<&'r mut Request> for Unencrypted {
    type Stream = &'r mut Request;
    type Error = Infallible;
    type Future = Ready<Result<&'r mut Request, Infallible>>;

    fn connect(self, stream: &'r mut Request) -> Self::Future {
        ready(Ok(stream))
    }
}
