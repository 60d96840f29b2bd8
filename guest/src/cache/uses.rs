//! In which order entries were used within one second.
//!
//! Stores keep the second of an entry's last use, as `mneme-cache` does, and list those of one second by
//! their ids. That is the order in which entries came, so only uses of entries that were there have to be
//! known. A cache knows the last of its uses; those of others count by their second.

use crate::checkpoint::order::LastUse;
use crate::types::EntryRef;
use std::collections::{BTreeMap, VecDeque};

/// So many uses are known, and at times twice as many.
const KNOWN: usize = 4_096;

/// When an entry was used: after the entries of that second up to an id had come, and after other uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    second: u64,
    after: u64,
    turn: u64,
}

/// The last uses of entries that were there before.
#[derive(Default)]
pub(super) struct Uses {
    by_id: BTreeMap<u64, Use>,
    /// The greatest id that was seen.
    greatest: u64,
    turns: u64,
}

impl Uses {
    /// An entry has come.
    pub fn came(&mut self, id: u64) {
        self.greatest = self.greatest.max(id);
    }

    /// An entry was hit or replaced.
    pub fn used(&mut self, id: u64, second: u64) {
        self.came(id);
        self.turns += 1;
        let last = self.by_id.get(&id).map_or(0, |last| last.second);
        self.by_id.insert(
            id,
            Use {
                second: second.max(last),
                after: self.greatest,
                turn: self.turns,
            },
        );
        if self.by_id.len() > 2 * KNOWN {
            let mut turns: Vec<u64> = self.by_id.values().map(|one| one.turn).collect();
            let (_, &mut first, _) = turns.select_nth_unstable(KNOWN);
            self.by_id.retain(|_, one| one.turn >= first);
        }
    }

    /// The uses that are known, in their order.
    pub fn in_order(&self) -> Vec<LastUse> {
        let mut uses: Vec<_> = self.by_id.iter().collect();
        uses.sort_unstable_by_key(|(_, one)| one.turn);
        let last = |(&id, one): (&u64, &Use)| LastUse {
            id,
            second: one.second,
            after: one.after,
        };
        uses.into_iter().map(last).collect()
    }

    /// How many uses are known, if one is of these entries. So many more entries have to be listed before
    /// it is certain which come first.
    pub fn to_list(&self, entries: &[EntryRef]) -> usize {
        let is_known = entries.iter().any(|one| self.by_id.contains_key(&one.id));
        if is_known { self.by_id.len() } else { 0 }
    }

    /// Puts a list of entries, by second and id, in the order of their last use.
    pub fn sort(&self, entries: Vec<EntryRef>) -> VecDeque<EntryRef> {
        let mut sorted = VecDeque::with_capacity(entries.len());
        let mut used = Vec::new();
        let mut others = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.by_id.get(&entry.id) {
                Some(&when) => used.push((when, entry)),
                None => others.push(entry),
            }
        }
        used.sort_unstable_by_key(|(when, _)| *when);
        let mut used = used.into_iter().peekable();
        for entry in others {
            let came = (entry.created_at, entry.id);
            while let Some((_, before)) = used.next_if(|(when, _)| (when.second, when.after) < came)
            {
                sorted.push_back(before);
            }
            sorted.push_back(entry);
        }
        sorted.extend(used.map(|(_, entry)| entry));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(id: u64, created_at: u64) -> EntryRef {
        EntryRef {
            id,
            namespace: "n".into(),
            created_at,
        }
    }

    fn order(uses: &Uses, entries: Vec<EntryRef>) -> Vec<u64> {
        uses.sort(entries).iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn a_use_stands_among_those_that_came_in_its_second() {
        let mut uses = Uses::default();
        for id in 1..=4 {
            uses.came(id);
        }
        uses.used(2, 7);
        uses.used(1, 7);
        uses.came(5);
        uses.used(2, 7);
        uses.came(6);
        let all: Vec<EntryRef> = [(9, 3), (1, 7), (2, 7), (3, 7), (4, 7), (5, 7), (6, 7)]
            .map(|(id, at)| came(id, at))
            .to_vec();
        assert_eq!(order(&uses, all.clone()), [9, 3, 4, 1, 5, 2, 6]);
        assert_eq!(uses.to_list(&all[..1]), 0);
        assert_eq!(uses.to_list(&all[..2]), 2);
        // A clock that was set back does not make it older.
        uses.used(2, 5);
        assert_eq!(order(&uses, all), [9, 3, 4, 1, 5, 6, 2]);
    }

    #[test]
    fn the_last_uses_are_known_and_hardly_more() {
        let mut uses = Uses::default();
        let many = 3 * KNOWN as u64;
        for id in 1..=many {
            uses.used(id, 7);
            assert!(uses.by_id.len() <= 2 * KNOWN);
        }
        for id in many - KNOWN as u64 + 1..=many {
            assert!(uses.by_id.contains_key(&id), "{id}");
        }
    }
}
