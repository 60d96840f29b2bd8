//! Writes that wait: access data of hits and counters.
//!
//! A hit must not cost a write transaction. So hits are gathered and written together, several
//! on one entry as one: when there are enough, when they have waited long enough, before
//! anything that reads what they change, and at close.

use crate::counters::{Kind, PendingCounters};
use crate::error::Result;
use crate::host::Now;
use crate::store::Store;
use crate::types::{Error, Touch};
use std::collections::BTreeMap;

/// What waits to be written.
#[derive(Default)]
pub struct Backlog {
    touches: BTreeMap<u64, Touch>,
    /// The counters.
    pub counters: PendingCounters,
    /// Things recorded since the last write.
    waiting: u32,
    /// When the oldest was recorded.
    since: Option<Now>,
    /// When writing last failed.
    failed: Option<Now>,
}

/// The least time in milliseconds between a failure and the next attempt. Answers wait for each
/// attempt.
const REST_MILLIS: u64 = 1_000;

impl Backlog {
    /// Records a hit on an entry.
    pub fn touch(&mut self, id: u64, now: Now) {
        let touch = self.touches.entry(id).or_insert(Touch {
            id,
            hits: 0,
            last_accessed_at: 0,
        });
        touch.hits = touch.hits.saturating_add(1);
        touch.last_accessed_at = touch.last_accessed_at.max(now.seconds());
        self.record(now);
    }

    /// Counts `n` of `kind`.
    pub fn count(&mut self, namespace: &str, kind: Kind, n: u64, now: Now) {
        self.counters.count(namespace, kind, n);
        self.record(now);
    }

    /// Drops the hits of an entry that was deleted or replaced.
    pub fn forget(&mut self, id: u64) {
        self.touches.remove(&id);
    }

    /// Drops the hits of all entries.
    pub fn forget_all(&mut self) {
        self.touches.clear();
    }

    /// Whether it is time to write.
    pub fn is_due(&self, now: Now, limit: u32, interval_ms: u32) -> bool {
        let Some(since) = self.since else {
            return false;
        };
        // A clock set back must not postpone writing for good.
        let overdue = now < since || now.millis - since.millis >= u64::from(interval_ms);
        (overdue || self.waiting >= limit.max(1)) && !self.is_held_back(now, interval_ms)
    }

    /// Whether writing failed less than the interval ago, and so waits.
    pub fn is_held_back(&self, now: Now, interval_ms: u32) -> bool {
        let rest = u64::from(interval_ms).max(REST_MILLIS);
        self.failed
            .is_some_and(|failed| failed <= now && now.millis - failed.millis < rest)
    }

    /// Records that writing failed: what waits goes on waiting for an interval.
    pub fn hold_back(&mut self, now: Now) {
        self.failed = Some(now);
    }

    /// Writes everything, and what `others` have counted. After an error everything waits for another
    /// interval.
    pub fn flush(
        &mut self,
        store: &impl Store,
        now: Now,
        others: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.since.is_none() {
            return Ok(());
        }
        let flushed = self
            .flush_touches(store)
            .and_then(|()| self.counters.flush(store))
            .and_then(|()| others());
        match flushed {
            // Where nothing can be written, nothing waits.
            Err(Error::Unsupported(_)) => {
                self.touches.clear();
                self.counters.forget();
            }
            Err(error) => {
                self.hold_back(now);
                return Err(error);
            }
            Ok(()) => {}
        }
        (self.since, self.failed, self.waiting) = (None, None, 0);
        Ok(())
    }

    /// Writes only the access data.
    pub fn flush_touches(&mut self, store: &impl Store) -> Result<()> {
        if !self.touches.is_empty() {
            let touches: Vec<Touch> = self.touches.values().copied().collect();
            store.update_access(&touches)?;
            self.touches.clear();
        }
        Ok(())
    }

    /// Something was recorded, here or elsewhere, that is written with the rest.
    pub fn record(&mut self, now: Now) {
        self.waiting = self.waiting.saturating_add(1);
        self.since.get_or_insert(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestStore, entry};

    fn at(millis: u64) -> Now {
        Now { millis }
    }

    #[test]
    fn due_by_count_by_time_and_after_a_clock_set_back() {
        let mut backlog = Backlog::default();
        assert!(!backlog.is_due(at(9_999), 2, 5_000));
        backlog.touch(1, at(1_000));
        assert!(!backlog.is_due(at(5_999), 2, 5_000));
        assert!(backlog.is_due(at(6_000), 2, 5_000));
        assert!(backlog.is_due(at(0), 2, 5_000));
        backlog.touch(1, at(1_000));
        assert!(backlog.is_due(at(1_000), 2, 5_000));
    }

    #[test]
    fn hits_on_one_entry_are_written_as_one_touch_and_survive_a_failure() {
        let store = TestStore::opened(2);
        let id = store.insert(&[entry("n", "q", &[1.0, 0.0], 0)]).unwrap()[0].id;
        let mut backlog = Backlog::default();
        backlog.touch(id, at(7_000));
        backlog.touch(id, at(3_000));
        store.fail_at(1);
        assert!(backlog.flush(&store, at(8_000), || Ok(())).is_err());
        store.fail_never();
        backlog.flush(&store, at(8_000), || Ok(())).unwrap();
        let stored = &store.get_by_ids(&[id], true).unwrap()[0];
        assert_eq!((stored.access_count, stored.last_accessed_at), (2, 7));
    }
}
