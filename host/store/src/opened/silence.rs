//! A backend that does not answer: calls fail at once until a probe in the background succeeds.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Probe;
use crate::breaker::{Admission, Breaker, Settings};
use crate::{BackendError, Result, StoreError, text};

/// One call that timed out is enough.
const SETTINGS: Settings = Settings {
    failures: 1,
    first_pause: Duration::from_millis(250),
    longest_pause: Duration::from_secs(5),
};

/// Whether the backend is silent. Dropping it ends the probes.
#[derive(Default)]
pub(super) struct Silence {
    present: Option<Arc<Shared>>,
    /// The error that it began with.
    cause: String,
}

struct Shared {
    breaker: Mutex<Breaker>,
    over: Mutex<bool>,
    ended: Condvar,
}

impl Silence {
    /// Whether it lasts.
    pub fn is_on(&self) -> bool {
        let present = self.present.as_ref();
        present.is_some_and(|shared| lock(&shared.breaker).is_open())
    }

    /// Refuses a call while it lasts.
    pub fn check(&mut self, operation: &str) -> Result<()> {
        if !self.is_on() {
            self.end();
            return Ok(());
        }
        Err(StoreError::Backend(BackendError {
            message: format!(
                "{}; since then calls fail at once, as this {operation} did, until the server answers a probe; call again later",
                self.cause
            ),
            retryable: true,
        }))
    }

    /// It has begun with this error, and ends when `probe` succeeds.
    pub fn begin(&mut self, error: &StoreError, mut probe: Probe) {
        let shared = Arc::new(Shared {
            breaker: Mutex::new(Breaker::new(SETTINGS)),
            over: Mutex::new(false),
            ended: Condvar::new(),
        });
        lock(&shared.breaker).open(Duration::ZERO);
        let probed = Arc::clone(&shared);
        let probing = std::thread::Builder::new()
            .name("mneme-probe".to_owned())
            .spawn(move || probed.until_it_answers(&mut probe));
        if probing.is_ok() {
            self.end();
            self.present = Some(shared);
            self.cause = text(error);
        }
    }

    fn end(&mut self) {
        if let Some(shared) = self.present.take() {
            *lock(&shared.over) = true;
            shared.ended.notify_all();
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn until_it_answers(&self, probe: &mut Probe) {
        let start = Instant::now();
        // It may have been busy with one call only.
        if probe() {
            lock(&self.breaker).succeeded();
        }
        while !*lock(&self.over) {
            let admission = lock(&self.breaker).admit(start.elapsed());
            match admission {
                Admission::Refused(pause) => {
                    let over = lock(&self.over);
                    // Whether it is over is looked at again in any case.
                    let _ = self.ended.wait_timeout_while(over, pause, |over| !*over);
                }
                Admission::Granted => return,
                Admission::Probe => {
                    let answers = probe();
                    let mut breaker = lock(&self.breaker);
                    match answers {
                        true => breaker.succeeded(),
                        false => {
                            breaker.probe_failed(start.elapsed());
                            false
                        }
                    };
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn calls_fail_at_once_until_a_probe_succeeds() {
        let error = StoreError::Backend(BackendError {
            message: "store s, count: no answer within 7 ms".to_owned(),
            retryable: true,
        });
        let mut silence = Silence::default();
        assert!(!silence.is_on() && silence.check("count").is_ok());
        let (answers, answer) = mpsc::channel();
        let (asked, was_asked) = mpsc::channel();
        silence.begin(
            &error,
            Box::new(move || {
                asked.send(()).unwrap();
                answer.recv().unwrap_or(false)
            }),
        );
        was_asked.recv().unwrap();
        // The probe is under way, and nobody waits for it.
        let Err(StoreError::Backend(refused)) = silence.check("insert") else {
            panic!("it is silent");
        };
        assert!(refused.retryable);
        for part in ["no answer within 7 ms", "this insert"] {
            assert!(refused.message.contains(part), "{}", refused.message);
        }
        answers.send(false).unwrap();
        was_asked.recv().unwrap();
        assert!(silence.is_on(), "a probe that fails changes nothing");
        answers.send(true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while silence.is_on() {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(silence.check("insert").is_ok());
    }

    #[test]
    fn dropping_it_ends_the_probes() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let mut silence = Silence::default();
        let probe = Box::new(move || Arc::strong_count(&inside) == 0);
        silence.begin(&StoreError::Closed, probe);
        drop(silence);
        let deadline = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&held) > 1 {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
    }
}
