//! A store, a host and an archive for the unit tests of this crate and the fuzz targets.

mod archive;
#[cfg(test)]
pub mod memory;
mod store;

pub use archive::{TestArchive, archive_failure, compressed, plain};
pub use store::TestStore;

use crate::cache::Cache;
use crate::host::{Host, Now};
use crate::options::defaults;
use crate::query;
use crate::types::*;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A host with a clock and policies that the test sets. Clones are the same host.
#[derive(Clone, Default)]
pub struct TestHost {
    pub millis: Rc<Cell<u64>>,
    /// By how much each look at the clock moves it on.
    pub tick_millis: Rc<Cell<u64>>,
    pub confidence: Rc<Cell<f32>>,
    pub refused: Rc<RefCell<String>>,
    pub events: Rc<RefCell<Vec<Event>>>,
}

impl TestHost {
    pub fn at(seconds: u64) -> Self {
        let host = TestHost::default();
        host.set(seconds);
        host
    }

    pub fn set(&self, seconds: u64) {
        self.millis.set(seconds * 1000);
    }
}

impl Host for TestHost {
    fn now(&self) -> Now {
        let millis = self.millis.get();
        self.millis
            .set(millis.saturating_add(self.tick_millis.get()));
        Now { millis }
    }

    fn confidence(&self, _similarity: f32, _age_seconds: u64, _metadata: &str) -> f32 {
        self.confidence.get()
    }

    fn accept(&self, candidate: &Candidate) -> bool {
        candidate.response != *self.refused.borrow()
    }

    fn on_event(&self, event: &Event) {
        self.events.borrow_mut().push(event.clone());
    }
}

/// An entry as the cache would store it.
pub fn entry(namespace: &str, query: &str, embedding: &[f32], created_at: u64) -> Entry {
    Entry {
        id: 0,
        namespace: namespace.into(),
        context: String::new(),
        query_hash: query::hash(&query::normalize(query), ""),
        query: query.into(),
        response: format!("response to {query}"),
        embedding: embedding.to_vec(),
        metadata: "{}".into(),
        tags: Vec::new(),
        created_at,
        last_accessed_at: created_at,
        ttl: None,
        access_count: 0,
    }
}

/// A cache of two-dimensional vectors over a store, opened at second 1,000 with changed
/// options. The queries of most tests mean nothing, so no vetoes are looked for by default.
pub fn cache_on(
    store: &TestStore,
    change: impl FnOnce(&mut Options),
) -> (Cache<TestStore, TestHost>, TestHost) {
    let host = TestHost::at(1000);
    let mut options = Options {
        vetoes: Vec::new(),
        ..defaults("f", 2)
    };
    change(&mut options);
    let mut cache = Cache::new(store.clone(), host.clone());
    cache.open(options).unwrap();
    (cache, host)
}

/// A unit vector at an angle in degrees, so that similarities are cosines of differences.
pub fn at_angle(degrees: f64) -> Vec<f32> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    vec![cos as f32, sin as f32]
}

/// A question with the caller's vector.
pub fn ask(query: &str, degrees: f64) -> GetRequest {
    GetRequest {
        query: query.into(),
        namespace: "n".into(),
        context: String::new(),
        tags: Vec::new(),
        vector: VectorSource::Given(at_angle(degrees)),
        threshold: None,
        max_age: None,
        bypass: false,
        validate: false,
        vetoes: None,
        verification: None,
    }
}

/// A response with the caller's vector.
pub fn response(query: &str, degrees: f64) -> PutRequest {
    PutRequest {
        query: query.into(),
        response: format!("response to {query}"),
        namespace: "n".into(),
        context: String::new(),
        tags: Vec::new(),
        vector: VectorSource::Given(at_angle(degrees)),
        ttl: TtlChoice::Inherit,
        metadata: "{}".into(),
        validate: false,
    }
}

/// A vector from an embedder that does not say how much it read.
pub fn embedded(vector: Vec<f32>) -> VectorSource {
    VectorSource::Embedded(Embedding {
        vector,
        reading: None,
    })
}
