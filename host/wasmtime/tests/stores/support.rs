//! Entries, keys and stores to test with.

use mneme::store::{Entry, EntryKey, Store};

/// The embedder of every test store.
pub const FINGERPRINT: &str = "test-embedder@1";
pub const DIM: u32 = 3;

/// Runs each test on an empty, open store of either kind.
macro_rules! on_every_store {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() {
                let mut store = mneme::store::MemoryStore::new();
                crate::stores::support::reopen(&mut store);
                super::$test(&mut store);
            })*
        }
        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().unwrap();
                let mut store = mneme::store::SqliteStore::new(dir.path().join("cache.db"));
                crate::stores::support::reopen(&mut store);
                super::$test(&mut store);
            })*
        }
    };
}
pub(crate) use on_every_store;

/// Opens a store with the embedder of the tests.
pub fn reopen(store: &mut dyn Store) {
    store.open(FINGERPRINT, DIM).unwrap();
}

/// A hash that differs for every `n`.
pub fn hash(n: u64) -> String {
    format!("{n:064x}")
}

/// An entry that differs for every `n`.
pub fn entry(namespace: &str, n: u64) -> Entry {
    Entry {
        id: 0,
        namespace: namespace.to_owned(),
        query_hash: hash(n),
        query: format!("query {n}"),
        response: format!("response {n}"),
        embedding: vec![n as f32, -0.5, 0.25],
        metadata: "{}".to_owned(),
        created_at: 1_000 + n,
        last_accessed_at: 2_000 + n,
        ttl: None,
        access_count: 0,
    }
}

pub fn key(namespace: &str, hash: &str) -> EntryKey {
    EntryKey {
        namespace: namespace.to_owned(),
        query_hash: hash.to_owned(),
    }
}

/// Inserts one entry and returns its id.
pub fn put(store: &mut dyn Store, entry: Entry) -> u64 {
    store.insert(vec![entry]).unwrap()[0].id
}

/// The entry with this id, if it exists.
pub fn by_id(store: &mut dyn Store, id: u64) -> Option<Entry> {
    store.get_by_ids(&[id]).unwrap().pop()
}

/// All ids, ascending.
pub fn ids(store: &mut dyn Store) -> Vec<u64> {
    store.iter_stamps(0, 10_000).unwrap().ids
}

pub fn version(store: &mut dyn Store) -> u64 {
    store.read_version_counter().unwrap()
}
