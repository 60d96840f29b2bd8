//! Entries to give to stores directly.

use mneme::store::{Entry, EntryKey, Store};

/// The fingerprint that stores of these entries are opened with.
pub const FINGERPRINT: &str = "test-rows-1";
/// The number of values of their embeddings.
pub const DIM: u32 = 3;

/// A hash that differs for every `n`.
pub fn hash(n: u64) -> String {
    format!("{n:064x}")
}

/// An entry that differs for every `n`: created at `1000 + n`, last used at `2000 + n`.
pub fn entry(namespace: &str, n: u64) -> Entry {
    Entry {
        context: String::new(),
        tags: Vec::new(),
        id: 0,
        namespace: namespace.to_owned(),
        query_hash: hash(n),
        query: format!("query {n}"),
        response: format!("response {n}"),
        embedding: vec![n as f32, -0.5, 0.25],
        metadata: "{}".to_owned(),
        created_at: 1000 + n,
        last_accessed_at: 2000 + n,
        ttl: None,
        access_count: 0,
    }
}

/// The key of [`entry`].
pub fn key(namespace: &str, n: u64) -> EntryKey {
    EntryKey {
        namespace: namespace.to_owned(),
        query_hash: hash(n),
    }
}

/// Inserts one entry and returns its id.
///
/// # Panics
///
/// Where it cannot be inserted.
pub fn put(store: &mut dyn Store, entry: Entry) -> u64 {
    store.insert(vec![entry]).unwrap()[0].id
}

/// The entry under the key of [`entry`], if there is one.
///
/// # Panics
///
/// Where the look-up fails.
pub fn get(store: &mut dyn Store, namespace: &str, n: u64) -> Option<Entry> {
    store
        .get_by_hash(&[key(namespace, n)], true)
        .unwrap()
        .remove(0)
}

/// The ids of all entries.
///
/// # Panics
///
/// Where they cannot be read.
pub fn ids(store: &mut dyn Store) -> Vec<u64> {
    store.iter_stamps(0, u32::MAX).unwrap().ids
}
