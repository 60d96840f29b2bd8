//! What each connection waits for, and which of them makes room for another.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::Version;
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

/// How much of a response is handed over at a time in HTTP/2. The next piece is taken when the
/// client has room for it, so a client gets on if it takes this much.
const PIECE: usize = 16 * 1024;
/// How long a client with the right to be served may take nothing of a response before its
/// connection can make room for another.
const STALLED: Duration = Duration::from_secs(1);

/// How long a connection may be silent.
#[derive(Clone, Copy)]
pub struct Patience {
    /// While its client has not taken all of a response.
    pub sending: Duration,
    /// While nothing is sent.
    pub silent: Duration,
}

/// One connection, as it is watched.
pub struct Connection {
    state: Mutex<State>,
    /// The time at which it is silent has changed.
    pub changed: Notify,
    /// It must make room for another.
    pub leave: Notify,
}

struct State {
    /// Requests that wait for the server, which has no head of a response yet.
    answering: usize,
    /// Responses that wait for the client, which has not taken all of their body.
    sending: usize,
    /// Whether bytes wait until the client takes others.
    is_blocked: bool,
    /// When the client took some of a response; while there was none to take, when the connection
    /// was opened, or a request began or ended. Nothing else that a client sends counts.
    progress: Instant,
    /// Whether all that is written is of responses. HTTP/2 also writes what has nothing to do with
    /// them, such as the answer to a PING.
    is_http_1: bool,
    /// Whether it ever brought a request that had what it must carry, such as the token.
    is_known: bool,
}

impl State {
    fn waits_for_client(&self) -> bool {
        self.sending > 0 || self.is_blocked
    }

    /// A request began or ended, which only counts while there is nothing to take.
    fn turn(&mut self) {
        if !self.waits_for_client() {
            self.progress = Instant::now();
        }
    }

    /// Whether it can make room for another.
    fn can_leave(&self) -> bool {
        self.answering == 0
            && (!self.is_known || !self.waits_for_client() || self.progress.elapsed() >= STALLED)
    }
}

impl Connection {
    fn new() -> Self {
        Self {
            state: Mutex::new(State {
                answering: 0,
                sending: 0,
                is_blocked: false,
                progress: Instant::now(),
                is_http_1: false,
                is_known: false,
            }),
            changed: Notify::new(),
            leave: Notify::new(),
        }
    }

    /// One of what the connection counts has ended.
    fn ended(&self, count: impl FnOnce(&mut State) -> &mut usize) {
        let mut state = self.state();
        *count(&mut state) -= 1;
        state.turn();
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it will have been silent for so long, if no request waits for the server.
    pub fn silent_at(&self, patience: Patience) -> Option<Instant> {
        let state = self.state();
        let patience = match state.waits_for_client() {
            true => patience.sending,
            false => patience.silent,
        };
        (state.answering == 0).then(|| state.progress + patience)
    }

    /// Notes whether bytes were written, and whether others wait.
    pub fn wrote(&self, has_written: bool, is_blocked: bool) {
        let mut state = self.state();
        state.is_blocked = is_blocked;
        if has_written && state.is_http_1 {
            state.progress = Instant::now();
        }
    }
}

/// A request whose response has no head yet.
pub struct Answering(Option<Arc<Connection>>);

impl Answering {
    pub fn new(connection: &Arc<Connection>, version: Version) -> Self {
        let mut state = connection.state();
        state.turn();
        state.answering += 1;
        state.is_http_1 = version < Version::HTTP_2;
        drop(state);
        Self(Some(Arc::clone(connection)))
    }

    /// The head is there, and the rest is up to the client.
    pub fn sending(mut self, is_known: bool) -> Sending {
        // It is there until this is dropped.
        let connection = self.0.take();
        if let Some(connection) = &connection {
            let mut state = connection.state();
            state.turn();
            state.answering -= 1;
            state.sending += 1;
            state.is_known |= is_known;
            drop(state);
            connection.changed.notify_one();
        }
        Sending(connection)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.ended(|state| &mut state.answering);
        }
    }
}

/// A response that the client has not taken all of.
pub struct Sending(Option<Arc<Connection>>);

impl Sending {
    /// The client took some of it.
    fn progress(&self) {
        if let Some(connection) = &self.0 {
            connection.state().progress = Instant::now();
        }
    }

    fn is_http_1(&self) -> bool {
        let connection = self.0.as_ref();
        connection.is_some_and(|connection| connection.state().is_http_1)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.ended(|state| &mut state.sending);
        }
    }
}

/// The body of a response, which notes how much of it the client has taken.
pub struct Watched {
    body: Body,
    /// What was read of the body, and not handed over.
    rest: Bytes,
    /// The most bytes to hand over at a time.
    piece: usize,
    has_begun: bool,
    /// Whether a piece was handed over, and no more was asked for.
    is_given: bool,
    sending: Sending,
}

impl Watched {
    pub fn new(body: Body, sending: Sending) -> Self {
        let piece = match sending.is_http_1() {
            true => usize::MAX,
            false => PIECE,
        };
        Self {
            body,
            rest: Bytes::new(),
            piece,
            has_begun: false,
            is_given: false,
            sending,
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Whoever asks for more has sent what it was given. The first piece it takes beforehand.
        if std::mem::take(&mut self.is_given) {
            self.sending.progress();
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.has_begun = true;
        self.is_given = true;
        let length = self.rest.len().min(self.piece);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    /// Not true after the last piece, so that it shows when that is sent.
    fn is_end_stream(&self) -> bool {
        !self.has_begun && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// All connections.
#[derive(Clone, Default)]
pub struct Open(Arc<Mutex<Numbered>>);

/// The last number, and the connections by theirs.
type Numbered = (u64, HashMap<u64, Arc<Connection>>);

impl Open {
    /// A place for one more, if need be that of another.
    pub fn admit(&self, most: usize) -> Option<Place> {
        if self.all().1.len() >= most && !self.make_room() {
            return None;
        }
        let connection = Arc::new(Connection::new());
        let mut all = self.all();
        all.0 += 1;
        let id = all.0;
        all.1.insert(id, Arc::clone(&connection));
        Some(Place {
            open: self.clone(),
            id,
            connection,
        })
    }

    /// Ends the connection whose client has not got on for longest; first those that never
    /// brought a request with what it must carry. False if all wait for the server, or get on.
    pub fn make_room(&self) -> bool {
        let mut all = self.all();
        let can_leave = all.1.iter().filter_map(|(id, connection)| {
            let state = connection.state();
            state
                .can_leave()
                .then_some((state.is_known, state.progress, *id))
        });
        let Some((.., id)) = can_leave.min() else {
            return false;
        };
        if let Some(connection) = all.1.remove(&id) {
            connection.leave.notify_one();
        }
        true
    }

    fn all(&self) -> MutexGuard<'_, Numbered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection.
pub struct Place {
    open: Open,
    id: u64,
    pub connection: Arc<Connection>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.all().1.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::advance;

    use super::*;

    const IDLE: Duration = Duration::from_secs(15);

    fn is_silent(place: &Place) -> bool {
        let patience = Patience {
            sending: IDLE,
            silent: IDLE,
        };
        let due = place.connection.silent_at(patience);
        due.is_some_and(|due| due <= Instant::now())
    }

    fn respond(place: &Place, is_known: bool, body: Vec<u8>) -> Watched {
        let answering = Answering::new(&place.connection, Version::HTTP_2);
        Watched::new(Body::from(body), answering.sending(is_known))
    }

    async fn take(body: &mut Watched) -> Option<usize> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        Some(frame.unwrap().data_ref().unwrap().len())
    }

    #[tokio::test(start_paused = true)]
    async fn only_responses_that_get_on_keep_a_connection() {
        let open = Open::default();
        let place = open.admit(1).unwrap();
        let mut stalled = respond(&place, true, vec![0; 100_000]);
        // What HTTP/2 takes before the client has room.
        assert_eq!(take(&mut stalled).await, Some(PIECE));
        for _ in 0..15 {
            assert!(!is_silent(&place));
            advance(IDLE / 15).await;
            // Answers to PING, and requests that are given up or stall too.
            place.connection.wrote(true, false);
            let mut other = respond(&place, true, vec![0; 10]);
            assert_eq!(take(&mut other).await, Some(10));
        }
        assert!(is_silent(&place));
        // One that is read slowly goes on to its end.
        let mut left = 100_000 - PIECE;
        while left > 0 {
            left -= take(&mut stalled).await.unwrap();
            advance(IDLE * 9 / 10).await;
            assert!(!is_silent(&place));
        }
        assert_eq!(take(&mut stalled).await, None);
        drop(stalled);
        advance(IDLE * 9 / 10).await;
        assert!(!is_silent(&place));
        advance(IDLE / 10).await;
        assert!(is_silent(&place));
    }

    #[tokio::test(start_paused = true)]
    async fn in_http_1_what_is_written_is_taken() {
        let open = Open::default();
        let place = open.admit(1).unwrap();
        let answering = Answering::new(&place.connection, Version::HTTP_11);
        let mut body = Watched::new(Body::from(vec![0; 100_000]), answering.sending(true));
        assert_eq!(take(&mut body).await, Some(100_000));
        drop(body);
        for _ in 0..10 {
            advance(IDLE * 9 / 10).await;
            assert!(!is_silent(&place));
            place.connection.wrote(true, true);
        }
        advance(IDLE).await;
        assert!(is_silent(&place));
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_make_room_first_and_readers_that_get_on_never() {
        let open = Open::default();
        let [reader, kept, stranger, silent] = [(); 4].map(|()| open.admit(4).unwrap());
        let mut dump = respond(&reader, true, vec![0; 100_000]);
        take(&mut dump).await;
        drop(respond(&kept, true, Vec::new()));
        advance(STALLED).await;
        let mut pending = respond(&stranger, false, vec![0; 10]);
        take(&mut pending).await;
        advance(STALLED / 2).await;
        take(&mut dump).await;
        let mut newcomers = Vec::new();
        for leaves in [&silent, &stranger, &kept] {
            let newcomer = open.admit(4).unwrap();
            leaves.connection.leave.notified().await;
            // It waits for the server.
            newcomers.push((
                Answering::new(&newcomer.connection, Version::HTTP_2),
                newcomer,
            ));
        }
        assert!(open.admit(4).is_none());
        advance(STALLED).await;
        assert!(open.admit(4).is_some());
        reader.connection.leave.notified().await;
    }
}
