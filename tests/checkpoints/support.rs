//! What these tests share.

use mneme::checkpoint::{DumpOptions, LoadOptions, LoadReport};
use mneme::embedder::Precomputed;
use mneme::{Builder, MemoryStore, PutRequest, SemanticCache, Store};
use std::io::Cursor;

pub const MODEL: &str = "test-model";

/// A cache of two-dimensional vectors over this store.
pub fn builder(store: impl Store + 'static) -> Builder {
    mneme_tests::builder()
        .store(store)
        .embedder(Precomputed::new(MODEL, 2))
}

pub fn memory() -> SemanticCache {
    builder(MemoryStore::new()).open().unwrap()
}

/// An entry whose text does not compress well.
pub fn entry(n: u32) -> PutRequest {
    let mut state = n + 1;
    let noise = (0..4096).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b' ' + ((state >> 24) % 90) as u8)
    });
    PutRequest::new(format!("question {n}"), noise.collect::<String>()).embedding(vec![1.0, 0.0])
}

pub fn fill(cache: &SemanticCache, count: u32) {
    cache.put_many((0..count).map(entry).collect()).unwrap();
}

pub fn dumped(cache: &SemanticCache) -> Vec<u8> {
    cache.dump(Vec::new(), DumpOptions::new()).unwrap().1
}

pub fn load(cache: &SemanticCache, archive: &[u8]) -> mneme::Result<LoadReport> {
    cache.load(Cursor::new(archive.to_vec()), LoadOptions::new())
}

pub fn entries(cache: &SemanticCache) -> u64 {
    cache.stats(None).unwrap().entries
}

/// The cache answers as before.
pub fn assert_serves(cache: &SemanticCache) {
    let hit = cache.get("question 0").unwrap().hit().unwrap();
    assert_eq!(hit.response.len(), 4096);
}
