//! What the fuzz targets share.

use mneme_guest::cache::Cache;
use mneme_guest::checkpoint::default_load_options;
use mneme_guest::options;
use mneme_guest::testing::{TestArchive, TestHost, TestStore, at_angle, response};
use mneme_guest::types::{Error, ImportMode};

/// A cache of two-dimensional vectors that holds one entry.
pub fn cache() -> (Cache<TestStore, TestHost>, TestStore) {
    let store = TestStore::default();
    store.snapshots.set(true);
    let mut cache = Cache::new(store.clone(), TestHost::at(1000));
    cache
        .open(options::defaults("f", 2))
        .expect("a memory store opens");
    cache
        .put(response("mine", 45.0))
        .expect("a memory store takes an entry");
    (cache, store)
}

/// Loads an archive. Where it is refused, with an error of the right kind, nothing may have
/// changed; where it is taken, everything must be sound.
pub fn load(bytes: &[u8]) {
    let (mut cache, store) = cache();
    let before = store.content();
    let mut load_options = default_load_options();
    load_options.mode = ImportMode::Merge;
    match cache.load(load_options, &TestArchive::of(bytes)) {
        Ok(_) => {
            for entry in store.entries() {
                assert_eq!(entry.embedding.len(), 2);
                assert!(entry.embedding.iter().all(|x| x.is_finite()));
                assert!(!entry.namespace.contains('\0'));
            }
            cache
                .get(mneme_guest::testing::ask("mine", 45.0))
                .expect("what was loaded is searched");
        }
        Err(
            Error::Checkpoint(_)
            | Error::Schema(_)
            | Error::Unsupported(_)
            | Error::EmbedderMismatch(_)
            | Error::EmbedderDimension(_),
        ) => {
            assert_eq!(store.content(), before);
            assert!(!store.has_leftovers());
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// A vector for entries of the corpus.
pub fn vector(n: u32) -> Vec<f32> {
    at_angle(f64::from(n) * 10.0)
}
