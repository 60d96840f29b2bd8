//! A log of changes in memory, for stores that keep one there; see `store.changes-since`.

use std::collections::VecDeque;

use crate::{Change, ChangePage};

/// The most changes that the stores keep, whose backend sets no other number.
pub const MAX_CHANGES: u32 = 65_536;

/// A write of more entries empties the log instead of filling it.
pub const LONG_WRITE: usize = 1000;

/// The last changes, in order.
///
/// ```
/// use mneme_store::changes::ChangeLog;
///
/// let mut log = ChangeLog::default();
/// log.append(1, &[7, 8], &[]);
/// log.append(2, &[], &[7]);
/// let page = log.since(1, 2, 100).expect("version 1 is known");
/// assert_eq!((page.changes[0].id, page.changes[0].deleted, page.version), (7, true, 2));
/// assert!(log.since(2, 3, 100).is_none(), "nobody wrote down what moved the counter to 3");
/// ```
#[derive(Clone, Debug, Default)]
pub struct ChangeLog {
    changes: VecDeque<Change>,
    /// The changes after this version are known, as far as the log goes.
    after: u64,
}

impl ChangeLog {
    /// Appends what the write did that moved the counter to `version`. An id may come twice.
    pub fn append(&mut self, version: u64, stored: &[u64], deleted: &[u64]) {
        let last = self.changes.back().map_or(self.after, |last| last.version);
        if stored.len() + deleted.len() > LONG_WRITE || last.checked_add(1) != Some(version) {
            self.cut(version);
            if stored.len() + deleted.len() > LONG_WRITE {
                return;
            }
            self.after = version.saturating_sub(1);
        }
        let mut ids: Vec<(u64, bool)> = stored.iter().map(|id| (*id, false)).collect();
        ids.extend(deleted.iter().map(|id| (*id, true)));
        ids.sort_unstable();
        ids.dedup_by_key(|(id, _)| *id);
        let changes = ids.into_iter().map(|(id, deleted)| Change {
            version,
            id,
            deleted,
        });
        self.changes.extend(changes);
        while self.changes.len() > MAX_CHANGES as usize {
            let Some(first) = self.changes.front().map(|first| first.version) else {
                break;
            };
            while self
                .changes
                .front()
                .is_some_and(|change| change.version == first)
            {
                self.changes.pop_front();
            }
            self.after = first;
        }
    }

    /// Empties the log: what led to this version is not known.
    pub fn cut(&mut self, version: u64) {
        self.changes.clear();
        self.after = version;
    }

    /// See `store.changes-since`; `now` is the version counter.
    pub fn since(&self, version: u64, now: u64, limit: u32) -> Option<ChangePage> {
        if version == now {
            return Some(ChangePage {
                changes: Vec::new(),
                version,
            });
        }
        let last = self.changes.back().map_or(self.after, |last| last.version);
        if version < self.after || version > now || last != now {
            return None;
        }
        let from = self
            .changes
            .partition_point(|change| change.version <= version);
        let limit = (limit as usize).max(1);
        let mut to = self.changes.len().min(from + limit);
        if to < self.changes.len() {
            // Whole versions.
            let cut = self.changes[to].version;
            let begins = self.changes.partition_point(|change| change.version < cut);
            to = match begins > from {
                true => begins,
                false => self.changes.partition_point(|change| change.version <= cut),
            };
        }
        let changes: Vec<Change> = self.changes.range(from..to).copied().collect();
        let version = changes.last()?.version;
        Some(ChangePage { changes, version })
    }
}
