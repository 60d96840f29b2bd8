//! Counters per namespace, kept in the store's meta.
//!
//! The store holds the sums under one key, as a JSON object from `namespace:name` to number. An
//! instance adds what it has counted since it last wrote, by compare-and-set. So several
//! instances do not lose each other's counts.

use crate::error::Result;
use crate::store::Store;
use crate::types::{Counters, Error};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The meta key.
pub const META_KEY: &str = "counters";

/// Attempts at a compare-and-set of the counters.
pub const ATTEMPTS: u32 = 16;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    HitsExact,
    HitsSemantic,
    Misses,
    Evictions,
    Expirations,
}

impl Kind {
    const ALL: [Kind; 5] = [
        Kind::HitsExact,
        Kind::HitsSemantic,
        Kind::Misses,
        Kind::Evictions,
        Kind::Expirations,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::HitsExact => "hits_exact",
            Kind::HitsSemantic => "hits_semantic",
            Kind::Misses => "misses",
            Kind::Evictions => "evictions",
            Kind::Expirations => "expirations",
        }
    }

    fn of(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Kind::HitsExact => &mut counters.hits_exact,
            Kind::HitsSemantic => &mut counters.hits_semantic,
            Kind::Misses => &mut counters.misses,
            Kind::Evictions => &mut counters.evictions,
            Kind::Expirations => &mut counters.expirations,
        }
    }
}

/// Nothing counted.
pub const ZERO: Counters = Counters {
    hits_exact: 0,
    hits_semantic: 0,
    misses: 0,
    evictions: 0,
    expirations: 0,
};

/// Adds `more` to `sum`.
pub fn add(sum: &mut Counters, mut more: Counters) {
    for kind in Kind::ALL {
        let sum = kind.of(sum);
        *sum = sum.saturating_add(*kind.of(&mut more));
    }
}

/// Counts that have not been written to the store yet.
#[derive(Default)]
pub struct PendingCounters {
    counts: BTreeMap<String, Counters>,
}

impl PendingCounters {
    /// Counts `n` of `kind`.
    pub fn count(&mut self, namespace: &str, kind: Kind, n: u64) {
        if n == 0 {
            return;
        }
        if !self.counts.contains_key(namespace) {
            self.counts.insert(namespace.into(), ZERO);
        }
        if let Some(counters) = self.counts.get_mut(namespace) {
            let count = kind.of(counters);
            *count = count.saturating_add(n);
        }
    }

    /// Adds the counts to those in the store. After an error they wait for the next write.
    pub fn flush(&mut self, store: &impl Store) -> Result<()> {
        if self.counts.is_empty() {
            return Ok(());
        }
        update(store, |stored| {
            for (namespace, counters) in &self.counts {
                let mut counters = *counters;
                for kind in Kind::ALL {
                    let n = *kind.of(&mut counters);
                    if n > 0 {
                        let key = format!("{namespace}:{}", kind.name());
                        let before = stored.get(&key).and_then(Value::as_u64).unwrap_or(0);
                        stored.insert(key, before.saturating_add(n).into());
                    }
                }
            }
        })?;
        self.counts.clear();
        Ok(())
    }

    /// Drops what waits.
    pub fn forget(&mut self) {
        self.counts.clear();
    }

    /// The sums of the store with the waiting counts added.
    pub fn totals(&self, store: &impl Store) -> Result<BTreeMap<String, Counters>> {
        let (stored, _) = read(store)?;
        let mut totals = self.counts.clone();
        for (key, value) in &stored {
            let Some((namespace, name)) = key.rsplit_once(':') else {
                continue;
            };
            let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == name) else {
                continue;
            };
            let count = kind.of(totals.entry(namespace.into()).or_insert(ZERO));
            *count = count.saturating_add(value.as_u64().unwrap_or(0));
        }
        Ok(totals)
    }

    /// Resets the counts of one namespace, or of all.
    pub fn reset(&mut self, store: &impl Store, namespace: Option<&str>) -> Result<()> {
        update(store, |stored| {
            stored.retain(|key, _| match (key.rsplit_once(':'), namespace) {
                (Some((owner, _)), Some(namespace)) => owner != namespace,
                (Some(_), None) => false,
                (None, _) => true,
            });
        })?;
        match namespace {
            Some(namespace) => drop(self.counts.remove(namespace)),
            None => self.counts.clear(),
        }
        Ok(())
    }
}

/// The stored object, and its text.
fn read(store: &impl Store) -> Result<(Map<String, Value>, Option<String>)> {
    let text = store.read_meta(META_KEY)?;
    let map = match &text {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|error| damaged(&error))?,
    };
    Ok((map, text))
}

/// The error for counters that cannot be read.
pub fn damaged(error: &serde_json::Error) -> Error {
    Error::Corrupt(format!(
        "meta key {META_KEY:?} is not a JSON object of counts ({error}); delete the key to start counting again"
    ))
}

fn update(store: &impl Store, change: impl Fn(&mut Map<String, Value>)) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let (before, text) = read(store)?;
        let mut after = before.clone();
        change(&mut after);
        if after == before
            || store.replace_meta(
                META_KEY,
                text.as_deref(),
                Some(&Value::Object(after).to_string()),
            )?
        {
            return Ok(());
        }
    }
    Err(Error::Backend(crate::types::BackendError {
        message: format!(
            "meta key {META_KEY:?} was changed by others during {ATTEMPTS} attempts to add to it; the counts are kept and written later"
        ),
        retryable: true,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestStore;

    #[test]
    fn counts_of_two_instances_add_up() {
        let store = TestStore::opened(2);
        let (mut a, mut b) = (PendingCounters::default(), PendingCounters::default());
        a.count("x:y", Kind::Misses, 2);
        b.count("x:y", Kind::Misses, 3);
        b.count("", Kind::Evictions, 1);
        a.flush(&store).unwrap();
        assert_eq!(b.totals(&store).unwrap()["x:y"].misses, 5);
        b.flush(&store).unwrap();
        let totals = a.totals(&store).unwrap();
        assert_eq!(totals["x:y"].misses, 5);
        assert_eq!(totals[""].evictions, 1);
        a.reset(&store, Some("x:y")).unwrap();
        assert_eq!(a.totals(&store).unwrap().keys().collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn damaged_counts_are_an_error_and_kept() {
        let store = TestStore::opened(2);
        store.replace_meta(META_KEY, None, Some("[1]")).unwrap();
        let mut counters = PendingCounters::default();
        counters.count("a", Kind::HitsExact, 1);
        assert!(matches!(counters.flush(&store), Err(Error::Corrupt(_))));
        store
            .replace_meta(META_KEY, Some("[1]"), Some("{\"other\": \"kept\"}"))
            .unwrap();
        counters.flush(&store).unwrap();
        assert_eq!(
            store.read_meta(META_KEY).unwrap().unwrap(),
            r#"{"a:hits_exact":1,"other":"kept"}"#
        );
    }
}
