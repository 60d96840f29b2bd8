//! In which order the entries of a portable archive stand.
//!
//! Stores list entries that were used in the same second by their ids, and give the entries of an
//! archive growing ids in the order of its rows. So the order in which a cache evicts outlives a dump
//! and a load if, of the entries of a second, those that were used later stand behind. An archive has
//! the ids of the store, in ascending order; which row has which of them depends on that order.

use crate::types::Entry;
use std::collections::{BTreeMap, VecDeque};

/// The last use of an entry that was there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// The entry.
    pub id: u64,
    /// When it was used.
    pub second: u64,
    /// The greatest id that there was then. The entry stands behind that one.
    pub after: u64,
}

/// The rows of an archive that is being written.
pub struct Order {
    /// By id: the second, and the place.
    uses: BTreeMap<u64, (u64, Place)>,
    /// Entries of the store that were met and have no row yet.
    waiting: BTreeMap<Place, u64>,
    /// Ids of the store that no row has yet.
    ids: VecDeque<u64>,
}

/// Behind this id, and behind so many other uses.
type Place = (u64, usize);

impl Order {
    /// The order after these uses, the last of which was the last.
    pub fn new(uses: impl IntoIterator<Item = LastUse>) -> Self {
        let uses = uses.into_iter().enumerate();
        Order {
            uses: uses
                .map(|(turn, one)| (one.id, (one.second, (one.after, turn))))
                .collect(),
            waiting: BTreeMap::new(),
            ids: VecDeque::new(),
        }
    }

    /// Takes the next entry of the store. Whether its row comes now, and not when [`due`](Self::due)
    /// names it: others may have used it later than this cache.
    pub fn comes_now(&mut self, entry: &Entry) -> bool {
        self.ids.push_back(entry.id);
        match self.uses.get(&entry.id) {
            Some(&(second, place)) if second == entry.last_accessed_at => {
                self.waiting.insert(place, entry.id);
                false
            }
            _ => true,
        }
    }

    /// The entries whose rows come before that of the entry `next` of the store, at most `most`; none:
    /// before the end.
    pub fn due(&mut self, next: Option<u64>, most: usize) -> Vec<u64> {
        let mut due = Vec::new();
        while due.len() < most
            && let Some(first) = self.waiting.first_entry()
            && next.is_none_or(|next| first.key().0 < next)
        {
            due.push(first.remove());
        }
        due
    }

    /// The id of the next row.
    pub fn next_id(&mut self) -> Option<u64> {
        self.ids.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at_angle, entry};

    fn used(id: u64, second: u64, after: u64) -> LastUse {
        LastUse { id, second, after }
    }

    /// The entries of the store, and the ids of their rows.
    fn rows(uses: &[LastUse], entries: &[(u64, u64)]) -> (Vec<u64>, Vec<u64>) {
        let mut order = Order::new(uses.iter().copied());
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for &(id, last_accessed_at) in entries {
            let entry = Entry {
                id,
                last_accessed_at,
                ..entry("n", "q", &at_angle(0.0), 1)
            };
            rows.extend(order.due(Some(id), usize::MAX));
            if order.comes_now(&entry) {
                rows.push(id);
            }
            ids.extend((ids.len()..rows.len()).map(|_| order.next_id().unwrap()));
        }
        for _ in entries {
            rows.extend(order.due(None, 1));
            ids.extend((ids.len()..rows.len()).map(|_| order.next_id().unwrap()));
        }
        assert_eq!(order.next_id(), None);
        (rows, ids)
    }

    #[test]
    fn what_was_used_later_stands_behind_what_came_before() {
        let store = [(2, 7), (3, 7), (4, 7), (7, 7), (9, 8)];
        let ids = vec![2, 3, 4, 7, 9];
        assert_eq!(rows(&[], &store), (vec![2, 3, 4, 7, 9], ids.clone()));
        let uses = [used(3, 7, 4), used(2, 7, 4), used(7, 7, 7)];
        assert_eq!(rows(&uses, &store), (vec![4, 3, 2, 7, 9], ids.clone()));
        // The last of all comes behind them, even if ids beyond are gone.
        let uses = [used(4, 7, 20), used(2, 7, 20)];
        assert_eq!(rows(&uses, &store), (vec![3, 7, 9, 4, 2], ids.clone()));
        // An entry that is gone, and one that somebody else has used since.
        let uses = [used(5, 7, 9), used(2, 6, 9)];
        assert_eq!(rows(&uses, &store), (vec![2, 3, 4, 7, 9], ids));
    }
}
