//! What the component asks of its host besides the store: the time, and decisions that a
//! program may make itself.

use crate::contract::events::Event;
use crate::contract::policy::Candidate;
use crate::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The time since the Unix epoch.
    fn now(&self) -> Duration;
}

/// The system's clock. The default.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// Zero if the system's clock is before 1970.
    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// A clock that stands still until it is set, for tests of whatever depends on age.
/// Clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock {
    millis: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows `seconds` after the Unix epoch.
    pub fn at(seconds: u64) -> Self {
        let clock = Self::default();
        clock.set(Duration::from_secs(seconds));
        clock
    }

    /// Sets the time since the Unix epoch, to the millisecond.
    pub fn set(&self, time: Duration) {
        self.millis.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.millis
            .fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::SeqCst))
    }
}

/// Gives confidence from similarity, age in seconds and metadata.
pub(crate) type ConfidenceFn = Box<dyn FnMut(f32, u64, &str) -> f32 + Send>;
/// Says whether a candidate may answer.
pub(crate) type ValidatorFn = Box<dyn FnMut(&Candidate) -> bool + Send>;
/// Takes notice of an event.
pub(crate) type EventFn = Box<dyn FnMut(&Event) + Send>;

/// Takes notice of a failure that the cache gets over.
pub(crate) type ErrorFn = Box<dyn Fn(&Error) + Send + Sync>;

/// The program's own decisions, if it makes any.
#[derive(Default)]
pub(crate) struct Policies {
    pub confidence: Option<ConfidenceFn>,
    pub validator: Option<ValidatorFn>,
    pub on_event: Option<EventFn>,
}
