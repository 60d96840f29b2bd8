//! The caches that an observer is of, for what is read from them when somebody looks.

use super::labels::Namespaces;
use crate::cache::{SemanticCache, Stats, WeakSemanticCache};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Caches, which it does not keep open.
#[derive(Default)]
pub(super) struct Caches(Mutex<Vec<WeakSemanticCache>>);

impl Caches {
    /// Adds one.
    pub fn add(&self, cache: &WeakSemanticCache) {
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.upgrade().is_some());
        caches.push(cache.clone());
    }

    /// Those that are open. The list is not held while they are asked: one may be opening.
    pub fn open(&self) -> Vec<SemanticCache> {
        let caches = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let caches = caches.iter().filter_map(WeakSemanticCache::upgrade);
        caches.filter(|cache| !cache.is_closed()).collect()
    }
}

/// Entries by the label of their namespace.
#[derive(Default)]
pub(super) struct Entries(pub BTreeMap<String, u64>);

impl Entries {
    /// Adds those of a cache.
    pub fn add(&mut self, stats: &Stats, namespaces: &Namespaces) {
        for of_namespace in &stats.namespaces {
            let label = namespaces.label(&of_namespace.namespace).to_owned();
            *self.0.entry(label).or_insert(0) += of_namespace.entries;
        }
    }
}
