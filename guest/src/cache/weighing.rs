//! How many bytes the entries have.
//!
//! A store cannot say it cheaply, and what others write or the backend expires would make a counter
//! wrong. So a cache knows the bytes of the entries that it has stored itself. Of the others it reads
//! a sample, spread over their ids, and takes the mean.

use super::reading::read_texts;
use super::storing::size;
use crate::error::Result;
use crate::store::Store;
use crate::types::Entry;
use std::collections::BTreeMap;

/// So many entries are known: some 10 MB. Those with the lowest ids are forgotten first.
const KNOWN: usize = 1 << 18;
/// A sample has entries from so many places, so many from each.
const PLACES: u64 = 16;
const PER_PLACE: u32 = 16;
/// A sample ends once it has so many bytes.
const SAMPLE_BYTES: usize = 8 << 20;

/// The bytes of entries.
#[derive(Default)]
pub(super) struct Weights {
    known: BTreeMap<u64, u32>,
    sum: u64,
    sample: Option<Sample>,
}

/// What entries that are not known have.
struct Sample {
    mean: f64,
    /// How many there were.
    of: u64,
}

/// The bytes of an entry's texts and vector, with those of a vector that was not read.
fn weight(entry: &Entry, dim: u32) -> usize {
    let missing = (dim as usize).saturating_sub(entry.embedding.len());
    size(entry) + missing * size_of::<f32>()
}

impl Weights {
    /// This cache has stored an entry, or replaced it.
    pub fn stored(&mut self, id: u64, entry: &Entry) {
        let bytes = u32::try_from(size(entry)).unwrap_or(u32::MAX);
        let before = self.known.insert(id, bytes).unwrap_or(0);
        self.sum = self.sum + u64::from(bytes) - u64::from(before);
        if self.known.len() > KNOWN
            && let Some((_, bytes)) = self.known.pop_first()
        {
            self.sum -= u64::from(bytes);
        }
    }

    /// An entry is gone.
    pub fn gone(&mut self, id: u64) {
        if let Some(bytes) = self.known.remove(&id) {
            self.sum -= u64::from(bytes);
        }
    }

    /// The bytes of all entries, of which there are so many. None before this cache has stored one.
    pub fn total(&mut self, store: &impl Store, entries: u64, dim: u32) -> Result<Option<u64>> {
        let Some((&greatest, _)) = self.known.last_key_value() else {
            return Ok(None);
        };
        let known = self.known.len() as u64;
        if entries == known {
            return Ok(Some(self.sum));
        }
        if entries < known {
            // Another process may have deleted some that are known here.
            let mean = self.sum as f64 / known as f64;
            return Ok(Some((mean * entries as f64) as u64));
        }
        let others = entries - known;
        let is_fresh = |sample: &&Sample| sample.of.abs_diff(others) <= sample.of / 4;
        let mean = match self.sample.as_ref().filter(is_fresh) {
            Some(sample) => sample.mean,
            None => {
                let mean = self.mean_of_others(store, greatest, dim)?;
                self.sample = Some(Sample { mean, of: others });
                mean
            }
        };
        Ok(Some(self.sum.saturating_add((mean * others as f64) as u64)))
    }

    /// The mean of entries that are not known, with ids up to about this one.
    fn mean_of_others(&self, store: &impl Store, greatest: u64, dim: u32) -> Result<f64> {
        let (mut bytes, mut read) = (0, 0);
        // Every other place first, so that a sample that ends early is spread as well.
        let first = (0..PLACES).step_by(2);
        for place in first.chain((1..PLACES).step_by(2)) {
            let from = greatest / PLACES * place;
            let mut ids = store.iter_stamps(from, PER_PLACE)?.ids;
            ids.retain(|id| !self.known.contains_key(id));
            read_texts(store, &ids, |_, entries| {
                bytes += entries.iter().map(|one| weight(one, dim)).sum::<usize>();
                read += entries.len();
                bytes < SAMPLE_BYTES
            })?;
            if bytes >= SAMPLE_BYTES {
                break;
            }
        }
        Ok(bytes as f64 / read.max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestStore, at_angle, entry};

    const DIM: u32 = 2;

    fn of(bytes: usize) -> Entry {
        let one = entry("n", "q", &at_angle(0.0), 1000);
        let rest = bytes
            - size(&Entry {
                response: String::new(),
                ..one.clone()
            });
        Entry {
            response: "x".repeat(rest),
            ..one
        }
    }

    fn plant(store: &TestStore, id: u64, bytes: usize) -> Entry {
        let query_hash = format!("{id:064x}");
        let one = Entry {
            id,
            query_hash,
            ..of(bytes)
        };
        store.plant(one.clone());
        one
    }

    #[test]
    fn what_this_cache_has_stored_is_exact() {
        let store = TestStore::default();
        store.open("f", DIM).unwrap();
        let mut weights = Weights::default();
        assert_eq!(weights.total(&store, 0, DIM).unwrap(), None);
        for id in 1..=100 {
            weights.stored(id, &plant(&store, id, 1_000));
        }
        let read = store.rows_read();
        weights.stored(7, &of(3_000));
        weights.gone(8);
        weights.gone(1_000);
        assert_eq!(weights.total(&store, 99, DIM).unwrap(), Some(101_000));
        // Others have deleted nine.
        assert_eq!(
            weights.total(&store, 90, DIM).unwrap(),
            Some(101_000 * 90 / 99)
        );
        assert_eq!(store.rows_read(), read);
    }

    #[test]
    fn of_others_a_sample_is_read_and_kept() {
        let store = TestStore::default();
        store.open("f", DIM).unwrap();
        for id in 1..=5_000 {
            plant(&store, id, 500 + 1_000 * (id as usize % 2));
        }
        let mut weights = Weights::default();
        weights.stored(5_001, &plant(&store, 5_001, 700));
        assert_eq!(weights.total(&store, 5_001, DIM).unwrap(), Some(5_000_700));
        let read = store.rows_read();
        assert_eq!(weights.total(&store, 4_001, DIM).unwrap(), Some(4_000_700));
        assert_eq!(store.rows_read(), read);
        weights.total(&store, 3_001, DIM).unwrap();
        assert!(store.rows_read() > read);
    }

    #[test]
    fn a_sample_of_large_entries_is_small() {
        let store = TestStore::default();
        store.open("f", DIM).unwrap();
        for id in 1..=1_000 {
            plant(&store, id, 1 << 20);
        }
        let mut weights = Weights::default();
        weights.stored(1_001, &plant(&store, 1_001, 1 << 20));
        assert_eq!(
            weights.total(&store, 1_001, DIM).unwrap(),
            Some(1_001 << 20)
        );
        assert!(store.rows_read() < 32 * 20, "{}", store.rows_read());
    }
}
