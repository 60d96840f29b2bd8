//! Tickets that were used. The store's meta remembers the last ones, so that neither another process nor
//! the next one takes them again.

use super::ticket::Subject;
use crate::counters::ATTEMPTS;
use crate::error::Result;
use crate::query;
use crate::store::Store;
use std::collections::VecDeque;

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
    /// The oldest first.
    known: VecDeque<Name>,
    /// How many of the newest the store has not been told of.
    unwritten: usize,
}

/// What names a ticket here.
type Name = [u8; DIGITS];

impl Used {
    /// Whether a ticket of this subject was used.
    pub fn contains(&self, store: &impl Store, subject: &Subject) -> Result<bool> {
        let name = name(subject);
        if self.known.contains(&name) {
            return Ok(true);
        }
        let stored = store.read_meta(META_KEY)?.unwrap_or_default();
        let mut names = stored.as_bytes().chunks_exact(DIGITS);
        Ok(names.any(|used| used == name))
    }

    /// A ticket of this subject was used.
    pub fn insert(&mut self, subject: &Subject) {
        self.known.push_back(name(subject));
        self.unwritten += 1;
        if self.known.len() > MOST_KNOWN {
            self.known.pop_front();
            self.unwritten = self.unwritten.min(MOST_KNOWN);
        }
    }

    /// Tells the store. If others write all the time, it is told the next time.
    pub fn flush(&mut self, store: &impl Store) -> Result<()> {
        for _ in 0..ATTEMPTS {
            if self.unwritten == 0 {
                return Ok(());
            }
            let before = store.read_meta(META_KEY)?;
            let mut all = before.clone().unwrap_or_default().into_bytes();
            all.truncate(all.len() / DIGITS * DIGITS);
            let new = self.known.iter().skip(self.known.len() - self.unwritten);
            all.extend(new.flatten());
            let last = all.len().saturating_sub(MOST_STORED * DIGITS);
            // What is damaged is forgotten.
            let text = str::from_utf8(&all[last..]).unwrap_or_default();
            if store.replace_meta(META_KEY, before.as_deref(), Some(text))? {
                self.unwritten = 0;
            }
        }
        Ok(())
    }
}

fn name(subject: &Subject) -> Name {
    let mut name = [0; DIGITS];
    name.copy_from_slice(query::hex(&subject[..DIGITS / 2]).as_bytes());
    name
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
