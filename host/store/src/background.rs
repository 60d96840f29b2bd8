//! Runs the futures of asynchronous clients for the [`Store`](crate::Store) trait, which is
//! synchronous.
//!
//! Any thread may call a store, even one that drives another runtime. The caller's thread
//! polls the future itself, so that the future may borrow. Sockets, timers and spawned tasks
//! live on a background runtime, which all stores share.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

/// Why a future was dropped before it had a result.
#[derive(Debug)]
pub enum Unfinished {
    /// The time limit was reached.
    Late,
    /// The background thread could not be started.
    NoRuntime(io::Error),
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("no answer within the timeout"),
            Self::NoRuntime(error) => write!(
                f,
                "the thread for connections could not be started: {error}; raise the limit of threads and open files"
            ),
        }
    }
}

/// Waits for a future, at most for `limit`. Works inside other runtimes too, but blocks their
/// thread meanwhile.
pub fn run<F: Future>(future: F, limit: Duration) -> Result<F::Output, Unfinished> {
    let runtime = runtime().map_err(Unfinished::NoRuntime)?;
    let deadline = Instant::now().checked_add(limit);
    let _context = runtime.enter();
    // In a task of another runtime the future would be charged to that task's budget,
    // which is not renewed while this blocks.
    let mut future = pin!(tokio::task::unconstrained(future));
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        if !signal.wait(deadline) {
            return Err(Unfinished::Late);
        }
    }
}

/// The runtime, started on first use. It has one thread, which ends with the process.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: Mutex<Option<&'static Runtime>> = Mutex::new(None);
    let mut started = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    match *started {
        Some(runtime) => Ok(runtime),
        None => {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("mneme-store")
                .enable_all()
                .build()?;
            Ok(started.insert(Box::leak(Box::new(runtime))))
        }
    }
}

/// What wakes the waiting thread. Not the thread's own `unpark`, which an executor further
/// up may count on.
#[derive(Default)]
struct Signal {
    woken: Mutex<bool>,
    changed: Condvar,
}

impl Signal {
    /// Waits to be woken; false where the deadline came first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        while !*woken {
            woken = match deadline {
                None => self
                    .changed
                    .wait(woken)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return false;
                    }
                    let (woken, _) = self
                        .changed
                        .wait_timeout(woken, left)
                        .unwrap_or_else(PoisonError::into_inner);
                    woken
                }
            };
        }
        *woken = false;
        true
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A task that echoes what it is sent, and a future that borrows.
    fn echoed(count: u32) -> u32 {
        let local = vec![1; count as usize];
        let sum = async {
            let (ask, mut asked) = mpsc::channel(1);
            let (answer, mut answers) = mpsc::channel(1);
            tokio::spawn(async move {
                while let Some(value) = asked.recv().await {
                    let _ = answer.send(value).await;
                }
            });
            let mut sum = 0;
            for value in &local {
                ask.send(*value).await.unwrap();
                sum += answers.recv().await.unwrap();
                tokio::time::sleep(Duration::from_nanos(1)).await;
            }
            sum
        };
        run(sum, LONG).unwrap()
    }

    #[test]
    fn waits_outside_of_any_runtime() {
        assert_eq!(echoed(10), 10);
    }

    #[test]
    fn waits_inside_of_other_runtimes() {
        // More steps than the budget of a task.
        let single = Builder::new_current_thread().build().unwrap();
        assert_eq!(single.block_on(async { echoed(500) }), 500);
        let several = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        let task = several.spawn(async { echoed(500) });
        assert_eq!(several.block_on(task).unwrap(), 500);
    }

    #[test]
    fn a_future_that_is_late_is_dropped() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let never = async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        };
        let outcome = run(never, Duration::from_millis(1));
        assert!(matches!(outcome, Err(Unfinished::Late)), "{outcome:?}");
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(run(async { 1 }, Duration::MAX).is_ok());
    }
}
