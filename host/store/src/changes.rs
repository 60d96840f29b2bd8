//! A log of changes in memory, for stores that keep one there; see `store.changes-since`.

use std::collections::VecDeque;

use crate::{Change, ChangePage};

/// So many of the last changes are kept by the stores whose backend sets no other number.
pub const MAX_CHANGES: u32 = 65_536;

/// A write of more entries empties the log instead of filling it.
pub const LONG_WRITE: usize = 1000;

/// At which versions a session drops the oldest changes of a log outside memory: those that the result
/// divides; none if at no version. `appended` is how many changes it has appended since it last did so, 0
/// before its first write: many short sessions append a lot too.
pub fn trims_at(appended: usize) -> Option<u32> {
    match appended {
        0 => Some(16),
        many => (many >= 8192).then_some(1),
    }
}

/// Cuts changes, of which there may be one more than `limit`, to whole versions. Returns the version that
/// has to be read alone, as it is the first and has more changes than that.
pub fn cut_to_versions(changes: &mut Vec<Change>, limit: u32) -> Option<u64> {
    if changes.len() <= limit as usize {
        return None;
    }
    let cut = changes.pop()?.version;
    changes.retain(|change| change.version < cut);
    changes.is_empty().then_some(cut)
}

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
        if stored.len() + deleted.len() > LONG_WRITE {
            return self.cut(version);
        }
        if self.last().checked_add(1) != Some(version) {
            self.cut(version.saturating_sub(1));
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
        // Whole versions, as long as enough is left.
        while let Some(first) = self.changes.front().map(|first| first.version) {
            let rows = self.through(first);
            if self.changes.len() - rows < MAX_CHANGES as usize {
                break;
            }
            self.changes.drain(..rows);
            self.after = first;
        }
    }

    /// The version up to which it goes.
    fn last(&self) -> u64 {
        self.changes.back().map_or(self.after, |last| last.version)
    }

    /// How many changes are of this version or an earlier one.
    fn through(&self, version: u64) -> usize {
        self.changes
            .partition_point(|change| change.version <= version)
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
        if version < self.after || version > now || self.last() != now {
            return None;
        }
        let from = self.through(version);
        let limit = (limit as usize).max(1);
        let mut to = self.changes.len().min(from + limit);
        if to < self.changes.len() {
            // Whole versions.
            let cut = self.changes[to].version;
            let begins = self.through(cut.saturating_sub(1));
            to = match begins > from {
                true => begins,
                false => self.through(cut),
            };
        }
        let changes: Vec<Change> = self.changes.range(from..to).copied().collect();
        let version = changes.last()?.version;
        Some(ChangePage { changes, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(log: &ChangeLog, version: u64, limit: u32) -> Option<(Vec<u64>, u64)> {
        let page = log.since(version, log.last(), limit)?;
        Some((
            page.changes.iter().map(|one| one.id).collect(),
            page.version,
        ))
    }

    #[test]
    fn pages_are_of_whole_versions() {
        let mut log = ChangeLog::default();
        log.append(1, &[3, 1, 2, 1], &[]);
        log.append(2, &[], &[1]);
        log.append(3, &[4], &[2]);
        assert_eq!(ids(&log, 0, 1), Some((vec![1, 2, 3], 1)));
        assert_eq!(ids(&log, 0, 4), Some((vec![1, 2, 3, 1], 2)));
        assert_eq!(ids(&log, 0, 5), Some((vec![1, 2, 3, 1], 2)));
        assert_eq!(ids(&log, 1, 0), Some((vec![1], 2)));
        assert_eq!(ids(&log, 2, 1), Some((vec![2, 4], 3)));
        assert_eq!(ids(&log, 3, 1), Some((vec![], 3)));
        assert_eq!(ids(&log, 4, 1), None);
    }

    #[test]
    fn a_gap_and_a_long_write_empty_it() {
        let mut log = ChangeLog::default();
        log.append(1, &[1], &[]);
        log.append(3, &[2], &[]);
        assert_eq!(ids(&log, 1, 9), None);
        assert_eq!(ids(&log, 2, 9), Some((vec![2], 3)));
        let many: Vec<u64> = (0..=LONG_WRITE as u64).collect();
        log.append(4, &many, &[]);
        assert_eq!(ids(&log, 3, 9), None);
        log.append(5, &[], &[1]);
        assert_eq!(ids(&log, 3, 9), None);
        assert_eq!(ids(&log, 4, 9), Some((vec![1], 5)));
    }

    #[test]
    fn it_keeps_the_last_changes_and_hardly_more() {
        let mut log = ChangeLog::default();
        let list: Vec<u64> = (1..=999).collect();
        for version in 1..=200 {
            log.append(version, &list, &[]);
            let kept = log.changes.len();
            let written = version as usize * list.len();
            assert!(kept >= written.min(MAX_CHANGES as usize), "{kept}");
            assert!(kept < MAX_CHANGES as usize + list.len(), "{kept}");
        }
        assert!(ids(&log, log.after, 10).is_some());
        assert_eq!(ids(&log, log.after - 1, 10), None);
    }
}
