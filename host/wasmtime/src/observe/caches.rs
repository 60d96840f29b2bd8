//! The caches of an observer, whose gauges are read on request.

use super::labels::Namespaces;
use super::{Gauges, Reading};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Caches, which it does not keep open.
#[derive(Default)]
pub(super) struct Caches(Mutex<Vec<Gauges>>);

impl Caches {
    /// Adds one.
    pub fn add(&self, gauges: &Gauges) {
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|gauges| !gauges.is_gone());
        caches.push(gauges.clone());
    }

    /// All of them. The list is not held while they are read: one may be opening.
    pub fn all(&self) -> Vec<Gauges> {
        let caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.clone()
    }
}

/// Entries by the label of their namespace.
#[derive(Default)]
pub(super) struct Entries(pub BTreeMap<String, u64>);

impl Entries {
    /// Adds those of a cache.
    pub fn add(&mut self, reading: &Reading, namespaces: &Namespaces) {
        for (namespace, count) in &reading.entries {
            let label = namespaces.label(namespace).to_owned();
            *self.0.entry(label).or_insert(0) += count;
        }
    }
}
