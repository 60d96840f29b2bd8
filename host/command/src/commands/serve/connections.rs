//! Connections: how many there may be, and how long they may be silent.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::access::Known;
use super::body;
use super::places::{Answering, Connection, Open, Patience, Place, Watched};

/// Files that are kept for the store, for archives and for all else.
const OTHER_FILES: u32 = 128;
/// The connections of a server that is not told how many, if the system allows them.
const DEFAULT_MOST: u32 = 1024;
/// The most requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 64;
/// How long a connection that nothing is sent on may be silent once the server stops.
const SILENT_AT_THE_END: Duration = Duration::from_millis(500);
/// The most bytes of a response that HTTP/2 takes before the client has room for them in the socket.
const SEND_BUFFER: usize = 64 * 1024;
/// The wait after a connection could not be accepted, such as for lack of files.
const PAUSE: Duration = Duration::from_millis(50);

/// What connections may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub most: usize,
    pub idle: Duration,
    /// For the body of a request, and more if it is large.
    pub body: Duration,
}

impl Limits {
    /// Limits that fit under the limit on open files, which is raised as far as allowed.
    ///
    /// # Errors
    ///
    /// The message for a number that does not fit.
    pub fn new(most: Option<u32>, idle: Duration, body: Duration) -> Result<Self, String> {
        let files = files_for(most.unwrap_or(DEFAULT_MOST).saturating_add(OTHER_FILES));
        let fits = files.saturating_sub(OTHER_FILES).max(1);
        let most = match most {
            Some(most) if most > fits => {
                return Err(format!(
                    "--max-connections: {most} connections and all else need {} open files, and the system allows {files}; raise `ulimit -n`, or lower the number to {fits} or less",
                    most.saturating_add(OTHER_FILES)
                ));
            }
            Some(most) => most,
            None => fits.min(DEFAULT_MOST),
        };
        let most = most as usize;
        Ok(Self { most, idle, body })
    }
}

/// How many files may be open, if so many are wanted.
#[cfg(unix)]
fn files_for(wanted: u32) -> u32 {
    let allowed = rlimit::increase_nofile_limit(wanted.into());
    allowed.map_or(256, |files| u32::try_from(files).unwrap_or(u32::MAX))
}

#[cfg(not(unix))]
fn files_for(wanted: u32) -> u32 {
    wanted
}

/// Serves connections until `stop`, then waits for the requests that are under way.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(false);
    let open = Open::default();
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
        };
        match accepted {
            Ok((stream, _)) => match open.admit(limits.most) {
                Some(place) => {
                    tasks.spawn(attend(
                        stream,
                        place,
                        router.clone(),
                        limits,
                        stopped.clone(),
                    ));
                }
                None => refuse(&stream),
            },
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                open.make_room();
                sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    // The receivers are in the tasks that are waited for.
    let _ = stopping.send(true);
    while tasks.join_next().await.is_some() {}
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// Says that there are too many connections, as far as that is possible without waiting.
fn refuse(stream: &TcpStream) {
    const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 94\r\n\r\n{\"error\":{\"kind\":\"busy\",\"message\":\"too many connections; try again later\",\"retryable\":true}}\r\n";
    let _ = stream.try_write(REFUSAL);
}

/// Serves one connection until it ends, is silent for too long, or has to make room.
async fn attend(
    stream: TcpStream,
    place: Place,
    router: Router,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    // Small answers are not held back.
    let _ = stream.set_nodelay(true);
    let connection = &place.connection;
    let io = TokioIo::new(Heard {
        stream,
        connection: Arc::clone(connection),
    });
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let answering = Answering::new(connection, request.version());
        let (request, rest) = body::keep(request, limits.body);
        let answer = router.call(request);
        async move {
            let mut response = answer.await?;
            let is_known = response.extensions().get::<Known>().is_some();
            let sending = answering.sending(is_known);
            rest.read_to_end(&mut response, limits.idle / 2).await;
            Ok::<_, std::convert::Infallible>(
                response.map(|body| Body::new(Watched::new(body, sending))),
            )
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER);
    let mut serving = pin!(builder.serve_connection(io, service));
    let mut patience = Patience {
        sending: limits.idle,
        silent: limits.idle,
    };
    let mut is_stopping = false;
    loop {
        let due = connection.silent_at(patience);
        let waiting = async {
            let changed = connection.changed.notified();
            match due {
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = changed => {}
                },
                // Asked again when a request has been answered.
                None => changed.await,
            }
        };
        tokio::select! {
            // Errors are the client's: it has left, or does not speak HTTP.
            _ = serving.as_mut() => return,
            () = connection.leave.notified() => return,
            Ok(_) = stopping.wait_for(|stop| *stop), if !is_stopping => {
                serving.as_mut().graceful_shutdown();
                is_stopping = true;
                patience.silent = SILENT_AT_THE_END.min(limits.idle);
            }
            () = waiting => {
                if connection.silent_at(patience).is_some_and(|due| due <= Instant::now()) {
                    return;
                }
            }
        }
    }
}

/// A stream that notes when something was sent.
struct Heard {
    stream: TcpStream,
    connection: Arc<Connection>,
}

impl Heard {
    fn note(&self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let has_written = matches!(outcome, Poll::Ready(Ok(1..)));
        self.connection.wrote(has_written, outcome.is_pending());
        outcome
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.note(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
