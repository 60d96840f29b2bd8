//! Reading entries of unknown size, a few at a time.

use crate::error::Result;
use crate::store::Store;
use crate::types::Entry;

/// The most entries in one call of the store.
const PER_CALL: usize = 32;
/// About so many bytes are read in one call, where entries are of like size.
const BYTES_PER_CALL: usize = 1 << 20;

/// Reads the entries with these ids, without their vectors, until `each` returns false. It gets the ids
/// that it was asked for beside the entries that exist, in that order.
///
/// An entry may have some MiB, and a host limits what crosses in one call. So the first call reads
/// one, and each later one as many as fit if they are like the last.
pub(super) fn read_texts(
    store: &impl Store,
    mut ids: &[u64],
    mut each: impl FnMut(&[u64], Vec<Entry>) -> bool,
) -> Result<()> {
    let mut per_call = 1;
    while !ids.is_empty() {
        let (now, later) = ids.split_at(per_call.min(ids.len()));
        let entries = store.get_by_ids(now, false)?;
        let bytes: usize = entries.iter().map(super::storing::size).sum();
        let mean = (bytes / entries.len().max(1)).max(1);
        per_call = (BYTES_PER_CALL / mean).clamp(1, (2 * per_call).min(PER_CALL));
        if !each(now, entries) {
            break;
        }
        ids = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestStore, at_angle, entry};

    #[test]
    fn calls_grow_as_long_as_entries_are_small() {
        let store = TestStore::default();
        store.open("f", 2).unwrap();
        for id in 1..=200 {
            let large = if id > 100 { 1 << 20 } else { 10 };
            store.plant(Entry {
                id,
                query_hash: format!("{id:064x}"),
                response: "x".repeat(large),
                ..entry("n", "q", &at_angle(0.0), 1000)
            });
        }
        let ids: Vec<u64> = (1..=201).collect();
        let (mut lengths, mut read) = (Vec::new(), Vec::new());
        read_texts(&store, &ids, |asked, entries| {
            lengths.push(asked.len());
            read.extend(entries.iter().map(|entry| entry.id));
            true
        })
        .unwrap();
        assert_eq!(read, &ids[..200]);
        assert_eq!(lengths[..6], [1, 2, 4, 8, 16, 32]);
        assert!(
            lengths[9..].iter().all(|&length| length == 1),
            "{lengths:?}"
        );
        let mut calls = 0;
        read_texts(&store, &ids, |_, _| {
            calls += 1;
            calls < 3
        })
        .unwrap();
        assert_eq!(calls, 3);
    }
}
