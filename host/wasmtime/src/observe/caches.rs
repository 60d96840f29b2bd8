//! The caches of an observer, whose gauges are read on request.

use super::labels::Namespaces;
use super::{Gauges, Reading};
use crate::contract::trust::BoundReport;
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

/// What a gauge of an error bound shows: its name after the prefix, what it is, and its value, if there is
/// one now.
type BoundGauge = (&'static str, &'static str, fn(&BoundReport) -> Option<f64>);

/// The gauges of an error bound.
pub(super) const BOUND_GAUGES: [BoundGauge; 4] = [
    ("labels", "Labels of answers by meaning", |of| {
        Some(of.labels as f64)
    }),
    ("wrong_labels", "Labels that are not `same`", |of| {
        Some(of.wrong as f64)
    }),
    ("threshold", "The score from which entries answer", |of| {
        of.threshold.map(f64::from)
    }),
    (
        "share",
        "The upper limit of the share of wrong answers from the threshold on",
        |of| of.share,
    ),
];

/// What the state of an error bound is called, for the gauge that shows it.
pub(super) const BOUND_STATE: (&str, &str) = (
    "state",
    "1 for the state that the error bound is in: open, or why nothing answers by its meaning",
);

/// Error bounds by the label of their namespace. Those of namespaces without a label cannot be summed, and
/// are left out; of several caches the first counts.
pub(super) fn bounds(caches: &Caches, namespaces: &Namespaces) -> BTreeMap<String, BoundReport> {
    let mut bounds = BTreeMap::new();
    for cache in caches.all() {
        for (namespace, report) in cache.bounds().unwrap_or_default() {
            let label = namespaces.label(&namespace);
            if !label.is_empty() {
                bounds.entry(label.to_owned()).or_insert(report);
            }
        }
    }
    bounds
}
