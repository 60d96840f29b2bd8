//! Behaviour of the cache over a store in memory.

mod archive_limits;
mod bounding;
mod checkpoints;
mod contexts;
mod evicting;
mod explaining;
mod faults;
mod following;
mod hostile_archives;
mod kept;
mod lookup;
mod memory;
mod nearest;
mod quotas;
mod removing;
mod reporting;
mod selecting;
mod storing;
mod turns;
mod verifying;
mod vetoes;

use crate::cache::Cache;
use crate::query;
use crate::store::Store;
use crate::testing::{TestHost, TestStore, ask, at_angle, cache_on, embedded, response};
use crate::types::*;

type TestCache = Cache<TestStore, TestHost>;

/// Entries lose half their confidence a day, and need 0.7 to answer.
fn decay() -> ConfidenceRule {
    ConfidenceRule::Decay(Decay {
        half_life_seconds: 86_400,
        cut_off: 0.7,
    })
}

fn new_cache(change: impl FnOnce(&mut Options)) -> (TestCache, TestHost, TestStore) {
    let store = TestStore::default();
    let (cache, host) = cache_on(&store, change);
    (cache, host, store)
}

/// A query of this normalised text.
fn normalized(text: &str) -> NormalizedQuery {
    NormalizedQuery {
        text: text.into(),
        hash: query::hash(text, ""),
    }
}

fn hit(lookup: Lookup) -> Hit {
    match lookup {
        Lookup::Hit(hit) => hit,
        other => panic!("not a hit: {other:?}"),
    }
}

fn miss(lookup: Lookup) -> MissReason {
    match lookup {
        Lookup::Miss(miss) => miss.reason,
        other => panic!("not a miss: {other:?}"),
    }
}

fn queries(store: &TestStore) -> Vec<String> {
    store
        .entries()
        .into_iter()
        .map(|entry| entry.query)
        .collect()
}
