//! Embedding with a limit: on time, on how much is under way, and on how much waits.
//!
//! A look-up runs on a thread of a limited set. While its question is embedded it gives its
//! place there to others, so an embedder that hangs holds up no exact hit.

use std::cell::RefCell;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mneme::embedder::{EmbedError, Embedder};
use tokio::sync::OwnedSemaphorePermit;

/// How many wait for each that is embedded.
const WAITING: usize = 8;

/// The message of the error for those who found no room to wait.
pub const FULL: &str = "too many questions wait for the embedder; ask again later";

thread_local! {
    /// The right of this thread to call the cache.
    static PLACE: RefCell<Option<OwnedSemaphorePermit>> = const { RefCell::new(None) };
}

/// Runs calls that hold a place, which they give back at their end, or when they embed.
pub fn placed<T>(place: OwnedSemaphorePermit, calls: impl FnOnce() -> T) -> T {
    /// Empties the place even after a panic.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            PLACE.take();
        }
    }
    let _leave = Leave;
    PLACE.set(Some(place));
    calls()
}

/// An embedder with limits.
pub struct Limited {
    inner: Arc<dyn Embedder>,
    room: Arc<Room>,
    timeout: Duration,
}

impl Limited {
    /// Embeds at most so many texts at the same time, each within so much time.
    pub fn new(inner: Arc<dyn Embedder>, most: usize, timeout: Duration) -> Self {
        let room = Room {
            most,
            now: Mutex::default(),
            left: Condvar::new(),
        };
        Self {
            inner,
            room: Arc::new(room),
            timeout,
        }
    }

    /// The most threads that embed or wait.
    pub const fn threads(most: usize) -> usize {
        most * (1 + WAITING)
    }

    fn too_slow(&self) -> EmbedError {
        EmbedError::transient(format!(
            "the embedder gave no answer within {} s",
            self.timeout.as_secs_f32()
        ))
    }
}

impl Embedder for Limited {
    fn fingerprint(&self) -> &str {
        self.inner.fingerprint()
    }

    fn dim(&self) -> u32 {
        self.inner.dim()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        drop(PLACE.take());
        let deadline = Instant::now() + self.timeout;
        let seat = self.room.enter(deadline).map_err(|refused| match refused {
            Refused::Full => EmbedError::transient(FULL),
            Refused::Late => self.too_slow(),
        })?;
        let (sender, receiver) = sync_channel(1);
        let inner = Arc::clone(&self.inner);
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        // A call that hangs is left alone, and keeps its seat until it ends.
        let embedding = thread::Builder::new().name("embed".into()).spawn(move || {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let vectors = inner.embed(&texts);
            drop(seat);
            // Nobody listens any more if it took too long.
            let _ = sender.send(vectors);
        });
        embedding.map_err(|error| {
            EmbedError::transient(format!("no thread is left for the embedder: {error}"))
        })?;
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(vectors) => vectors,
            Err(RecvTimeoutError::Timeout) => Err(self.too_slow()),
            Err(RecvTimeoutError::Disconnected) => Err(EmbedError::permanent(
                "the embedder panicked, which is a bug in it",
            )),
        }
    }
}

/// Room for so many.
struct Room {
    most: usize,
    now: Mutex<Present>,
    left: Condvar,
}

#[derive(Default)]
struct Present {
    seated: usize,
    waiting: usize,
}

enum Refused {
    Full,
    Late,
}

/// A place in the room.
struct Seat(Arc<Room>);

impl Room {
    fn enter(self: &Arc<Self>, deadline: Instant) -> Result<Seat, Refused> {
        let mut now = self.now();
        if now.seated >= self.most {
            if now.waiting >= self.most * WAITING {
                return Err(Refused::Full);
            }
            now.waiting += 1;
            let patience = deadline.saturating_duration_since(Instant::now());
            now = self
                .left
                .wait_timeout_while(now, patience, |now| now.seated >= self.most)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            now.waiting -= 1;
            if now.seated >= self.most {
                return Err(Refused::Late);
            }
        }
        now.seated += 1;
        Ok(Seat(Arc::clone(self)))
    }

    fn now(&self) -> MutexGuard<'_, Present> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.now().seated -= 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Says when it is called, and hangs until it is told to go on.
    struct Hanging {
        called: Mutex<Sender<()>>,
        go: Mutex<Receiver<()>>,
    }

    impl Embedder for Hanging {
        fn fingerprint(&self) -> &str {
            "hanging"
        }

        fn dim(&self) -> u32 {
            1
        }

        fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
            let _ = self.called.lock().unwrap().send(());
            if texts == ["panic"] {
                panic!("as asked");
            }
            let _ = self.go.lock().unwrap().recv();
            Ok(vec![vec![1.0]; texts.len()])
        }
    }

    fn hanging(timeout: Duration) -> (Arc<Limited>, Receiver<()>, Sender<()>) {
        let ((called, is_called), (go, goes)) = (channel(), channel());
        let inner = Hanging {
            called: Mutex::new(called),
            go: Mutex::new(goes),
        };
        let limited = Limited::new(Arc::new(inner), 1, timeout);
        (Arc::new(limited), is_called, go)
    }

    #[test]
    fn one_that_hangs_is_left_alone_and_keeps_its_seat() {
        let (embedder, called, go) = hanging(Duration::from_millis(50));
        let late = embedder.embed(&["a"]).unwrap_err();
        assert!(late.retryable && late.message.contains("no answer within 0.05 s"));
        called.recv().unwrap();
        // Its seat is taken: the next does not reach the embedder.
        assert!(embedder.embed(&["b"]).is_err());
        assert!(called.try_recv().is_err());
        go.send(()).unwrap();
        go.send(()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while embedder.embed(&["c"]).is_err() {
            assert!(Instant::now() < deadline, "its seat is never free");
        }
    }

    #[test]
    fn only_so_many_wait_and_each_has_its_turn() {
        let (embedder, called, go) = hanging(Duration::from_secs(60));
        let ask = || {
            let embedder = Arc::clone(&embedder);
            thread::spawn(move || embedder.embed(&["a"]))
        };
        let first = ask();
        called.recv().unwrap();
        let waiting: Vec<_> = (0..WAITING).map(|_| ask()).collect();
        while embedder.room.now().waiting < WAITING {
            thread::yield_now();
        }
        assert_eq!(embedder.embed(&["b"]).unwrap_err().message, FULL);
        for _ in 0..=WAITING {
            go.send(()).unwrap();
        }
        for asked in waiting.into_iter().chain([first]) {
            assert_eq!(asked.join().unwrap().unwrap(), [[1.0]]);
        }
        assert!(
            embedder
                .embed(&["panic"])
                .unwrap_err()
                .message
                .contains("panicked")
        );
        assert_eq!(embedder.room.now().seated, 0);
    }
}
