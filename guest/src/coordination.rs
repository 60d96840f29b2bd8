//! Following other processes that write to the same store.
//!
//! The store's version counter says *that* somebody wrote; it does not say what. When it
//! has moved further than this instance's own writes explain, the cache compares the
//! store's (id, created-at) stamps with those of its index: see `cache::indexing`.

use crate::host::Now;
use crate::types::Coordination;

/// A replacement within the same second leaves `created-at` as it was. Rows stored less
/// than this many seconds before a comparison are therefore read again by the next one.
/// Also covers that much difference between the clocks of two processes.
const UNSETTLED_SECONDS: u64 = 2;

/// When the store was last compared with, and what it was like.
pub struct Follower {
    /// None: nobody else writes.
    interval_ms: Option<u32>,
    checked: Option<Now>,
    /// What the counter should be if nobody else has written.
    version: Option<u64>,
    compared: Now,
}

impl Follower {
    /// Follows other processes, if there are any.
    pub fn new(coordination: Coordination) -> Self {
        Follower {
            interval_ms: match coordination {
                Coordination::Single => None,
                Coordination::StaleTolerant(interval_ms) => Some(interval_ms),
            },
            checked: None,
            version: None,
            compared: Now { millis: 0 },
        }
    }

    /// Whether the version counter is to be read now.
    pub fn is_due(&self, now: Now) -> bool {
        match (self.interval_ms, self.checked) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(interval), Some(checked)) => {
                now < checked || now.millis - checked.millis >= u64::from(interval)
            }
        }
    }

    /// Whether others write to the store.
    pub fn is_shared(&self) -> bool {
        self.interval_ms.is_some()
    }

    /// Whether a reading of the counter shows writes of others.
    pub fn has_moved(&self, version: u64) -> bool {
        self.version != Some(version)
    }

    /// The counter was read, and what it showed has been dealt with.
    pub fn caught_up(&mut self, version: u64, now: Now) {
        self.version = Some(version);
        self.checked = Some(now);
    }

    /// What the counter is, as far as is known.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// From when on the index has been read or compared.
    pub fn compared(&self) -> Now {
        self.compared
    }

    /// This instance has made one call that moved the counter.
    pub fn wrote(&mut self) {
        self.version = self.version.map(|version| version.saturating_add(1));
    }

    /// The index was read, or compared with the store, from this time on.
    pub fn compared_at(&mut self, now: Now) {
        self.compared = now;
    }

    /// Whether an indexed row with this `created-at` may have been replaced since the
    /// last comparison without it showing.
    pub fn is_unsettled(&self, created_at: u64) -> bool {
        created_at.saturating_add(UNSETTLED_SECONDS) >= self.compared.seconds()
    }
}
