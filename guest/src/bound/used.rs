//! Tickets that were used. The store's meta remembers the last ones, so that neither another process nor
//! the next one takes them again.

use super::ticket::Subject;
use crate::counters::ATTEMPTS;
use crate::error::Result;
use crate::query;
use crate::store::Store;
use std::collections::{BTreeSet, VecDeque};

/// The meta key.
pub const META_KEY: &str = "tickets_used";
/// Tickets that the store remembers.
const MOST_STORED: usize = 512;
/// Tickets that are remembered in memory.
const MOST_KNOWN: usize = 8_192;
/// Hexadecimal digits that name one in the store.
const DIGITS: usize = 16;

/// Tickets that were used.
#[derive(Default)]
pub struct Used {
    known: BTreeSet<String>,
    /// The oldest first.
    order: VecDeque<String>,
    unwritten: Vec<String>,
}

impl Used {
    /// Whether a ticket of this subject was used.
    pub fn contains(&self, store: &impl Store, subject: &Subject) -> Result<bool> {
        let name = name(subject);
        if self.known.contains(&name) {
            return Ok(true);
        }
        let stored = store.read_meta(META_KEY)?.unwrap_or_default();
        Ok(names(&stored).any(|used| used == name))
    }

    /// A ticket of this subject was used.
    pub fn insert(&mut self, subject: &Subject) {
        let name = name(subject);
        self.known.insert(name.clone());
        self.order.push_back(name.clone());
        self.unwritten.push(name);
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Tells the store. If others write all the time, it is told the next time.
    pub fn flush(&mut self, store: &impl Store) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.unwritten.is_empty() {
                return Ok(());
            }
            let before = store.read_meta(META_KEY)?;
            let text = before.as_deref().unwrap_or_default();
            let all: Vec<&str> = names(text)
                .chain(self.unwritten.iter().map(String::as_str))
                .collect();
            let last = all[all.len().saturating_sub(MOST_STORED)..].concat();
            if store.replace_meta(META_KEY, before.as_deref(), Some(&last))? {
                self.unwritten.clear();
            }
        }
        Ok(())
    }
}

fn name(subject: &Subject) -> String {
    query::hex(&subject[..DIGITS / 2])
}

/// The names in a text of the store; what is damaged names nothing.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let chunks = text.as_bytes().chunks_exact(DIGITS);
    chunks.filter_map(|chunk| std::str::from_utf8(chunk).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestStore;

    #[test]
    fn the_store_remembers_the_last_ones_for_all() {
        let store = TestStore::default();
        let of = |n: u16| -> Subject {
            let mut subject = [0; 16];
            subject[..2].copy_from_slice(&n.to_be_bytes());
            subject
        };
        let (mut one, mut other) = (Used::default(), Used::default());
        for n in 0..600 {
            one.insert(&of(n));
        }
        other.insert(&of(900));
        assert!(one.contains(&store, &of(0)).unwrap());
        assert!(!one.contains(&store, &of(900)).unwrap());
        one.flush(&store).unwrap();
        other.flush(&store).unwrap();
        assert!(one.contains(&store, &of(900)).unwrap());
        let stored = store.read_meta(META_KEY).unwrap().unwrap();
        assert_eq!(stored.len(), MOST_STORED * DIGITS);
        let new = Used::default();
        assert!(!new.contains(&store, &of(0)).unwrap());
        assert!(new.contains(&store, &of(599)).unwrap());
        // Nothing that the store says stops it.
        let damaged = Some("é is no digit, and too short");
        store
            .replace_meta(META_KEY, Some(&stored), damaged)
            .unwrap();
        assert!(!new.contains(&store, &of(599)).unwrap());
        one.insert(&of(601));
        one.flush(&store).unwrap();
        assert!(new.contains(&store, &of(601)).unwrap());
    }
}
