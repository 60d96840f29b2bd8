//! What the cache needs from its host, besides the store.

use crate::error::Result;
use crate::types::{Candidate, Event, Unit};

/// A point in time, by the host's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds since the Unix epoch.
    pub millis: u64,
}

impl Now {
    /// Whole seconds since the Unix epoch.
    pub fn seconds(self) -> u64 {
        self.millis / 1000
    }

    /// The milliseconds since an earlier time; 0 if the clock was set back.
    pub fn since(self, earlier: Now) -> u64 {
        self.millis.saturating_sub(earlier.millis)
    }
}

/// The clock, and the decisions that the options leave to the host.
pub trait Host {
    /// The time.
    fn now(&self) -> Now;
    /// See `policy.confidence`.
    fn confidence(&self, similarity: f32, age_seconds: u64, metadata: &str) -> f32;
    /// See `policy.accept`.
    fn accept(&self, candidate: &Candidate) -> bool;
    /// See `policy.on-event`.
    fn on_event(&self, event: &Event);
}

/// The bytes of a checkpoint, in or out; see `wit/archive.wit`.
pub trait Archive {
    /// See `archive.read`.
    fn read(&self, max: u32) -> Result<Vec<u8>>;
    /// See `archive.write`.
    fn write(&self, bytes: &[u8]) -> Result<()>;
    /// See `archive.progress`.
    fn progress(&self, done: u64, total: Option<u64>, unit: Unit);
}
