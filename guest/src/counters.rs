//! Counters per namespace, kept in the store's meta.
//!
//! The store holds the sums under one key, as a JSON object from `namespace:name` to number. An
//! instance adds what it has counted since it last wrote, by compare-and-set. So several
//! instances do not lose each other's counts.
//!
//! Whoever asks may make up names of namespaces without end, and each write reads and writes the whole
//! object. So where it has become too large, the misses of all namespaces that have nothing but misses
//! go to [`OTHERS`].

use crate::error::Result;
use crate::store::Store;
use crate::types::{Counters, Error, VetoCounts, VetoKind};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The meta key.
pub const META_KEY: &str = "counters";

/// The name under which the counts of namespaces that are not told apart are summed up. No namespace
/// has it.
pub const OTHERS: &str = "";

/// The most bytes that the object's keys take before misses are summed up: those of some 9,000
/// namespaces with names of 20 bytes.
const MAX_KEY_BYTES: usize = 256 << 10;

/// The most namespaces whose counts wait. Those of more, which takes a store that cannot be written to
/// for long, are not told apart.
const MAX_WAITING: usize = 10_000;

/// Attempts at a compare-and-set of the counters.
pub const ATTEMPTS: u32 = 16;

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    HitsExact,
    HitsSemantic,
    Misses,
    Explored,
    Evictions,
    Expirations,
    Vetoes(VetoKind),
}

/// The name of misses.
const MISSES: &str = "misses";

/// The kinds, and their names in the store.
const KINDS: [(Kind, &str); 14] = [
    (Kind::HitsExact, "hits_exact"),
    (Kind::HitsSemantic, "hits_semantic"),
    (Kind::Misses, MISSES),
    (Kind::Explored, "explored"),
    (Kind::Evictions, "evictions"),
    (Kind::Expirations, "expirations"),
    (Kind::Vetoes(VetoKind::Opposites), "vetoes_opposites"),
    (Kind::Vetoes(VetoKind::Negation), "vetoes_negation"),
    (Kind::Vetoes(VetoKind::Numbers), "vetoes_numbers"),
    (Kind::Vetoes(VetoKind::Dates), "vetoes_dates"),
    (Kind::Vetoes(VetoKind::Identifiers), "vetoes_identifiers"),
    (Kind::Vetoes(VetoKind::Roles), "vetoes_roles"),
    (Kind::Vetoes(VetoKind::Names), "vetoes_names"),
    (Kind::Vetoes(VetoKind::QuestionWord), "vetoes_question_word"),
];

impl Kind {
    fn of(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Kind::HitsExact => &mut counters.hits_exact,
            Kind::HitsSemantic => &mut counters.hits_semantic,
            Kind::Misses => &mut counters.misses,
            Kind::Explored => &mut counters.explored,
            Kind::Evictions => &mut counters.evictions,
            Kind::Expirations => &mut counters.expirations,
            Kind::Vetoes(kind) => {
                let vetoes = &mut counters.vetoes;
                match kind {
                    VetoKind::Opposites => &mut vetoes.opposites,
                    VetoKind::Negation => &mut vetoes.negation,
                    VetoKind::Numbers => &mut vetoes.numbers,
                    VetoKind::Dates => &mut vetoes.dates,
                    VetoKind::Identifiers => &mut vetoes.identifiers,
                    VetoKind::Roles => &mut vetoes.roles,
                    VetoKind::Names => &mut vetoes.names,
                    VetoKind::QuestionWord => &mut vetoes.question_word,
                }
            }
        }
    }
}

/// Nothing counted.
pub const ZERO: Counters = Counters {
    hits_exact: 0,
    hits_semantic: 0,
    misses: 0,
    explored: 0,
    evictions: 0,
    expirations: 0,
    vetoes: VetoCounts {
        opposites: 0,
        negation: 0,
        numbers: 0,
        dates: 0,
        identifiers: 0,
        roles: 0,
        names: 0,
        question_word: 0,
    },
};

/// Adds `more` to `sum`.
pub fn add(sum: &mut Counters, mut more: Counters) {
    for (kind, _) in KINDS {
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
        let is_known = self.counts.contains_key(namespace);
        let namespace = match is_known || self.counts.len() < MAX_WAITING {
            true => namespace,
            false => OTHERS,
        };
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
                for (kind, name) in KINDS {
                    let n = *kind.of(&mut counters);
                    if n > 0 {
                        let key = format!("{namespace}:{name}");
                        let before = stored.get(&key).and_then(Value::as_u64).unwrap_or(0);
                        stored.insert(key, before.saturating_add(n).into());
                    }
                }
            }
            sum_up(stored);
        })?;
        self.counts.clear();
        Ok(())
    }

    /// Drops what waits.
    pub fn forget(&mut self) {
        self.counts.clear();
    }

    /// The sums of the store with the waiting counts added, those of [`OTHERS`] too.
    pub fn totals(&self, store: &impl Store) -> Result<BTreeMap<String, Counters>> {
        let (stored, _) = read(store)?;
        let mut totals = self.counts.clone();
        for (key, value) in &stored {
            let Some((namespace, name)) = key.rsplit_once(':') else {
                continue;
            };
            let Some((kind, _)) = KINDS.into_iter().find(|(_, known)| *known == name) else {
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

/// Moves the misses of namespaces without other counts to [`OTHERS`], if the object is too large.
fn sum_up(stored: &mut Map<String, Value>) {
    if stored.keys().map(String::len).sum::<usize>() <= MAX_KEY_BYTES {
        return;
    }
    let others = format!("{OTHERS}:{MISSES}");
    let told_apart: BTreeSet<String> = stored
        .keys()
        .filter_map(|key| key.rsplit_once(':'))
        .filter(|(_, name)| *name != MISSES)
        .map(|(namespace, _)| namespace.to_owned())
        .collect();
    let mut sum = stored.get(&others).and_then(Value::as_u64).unwrap_or(0);
    stored.retain(|key, count| match (key.rsplit_once(':'), count.as_u64()) {
        (Some((namespace, name)), Some(count))
            if name == MISSES && namespace != OTHERS && !told_apart.contains(namespace) =>
        {
            sum = sum.saturating_add(count);
            false
        }
        _ => true,
    });
    if sum > 0 {
        stored.insert(others, sum.into());
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

    /// What it takes is bounded, the sum is right, and who has had an answer is told apart.
    #[test]
    fn namespaces_that_only_miss_are_summed_up_when_they_are_many() {
        let store = TestStore::opened(2);
        let mut counters = PendingCounters::default();
        counters.count("tenant", Kind::HitsExact, 3);
        counters.count("tenant", Kind::Misses, 2);
        let mut largest = 0;
        for n in 0..200_000 {
            counters.count(&format!("made up {n}"), Kind::Misses, 1);
            if n % 2_000 == 0 {
                counters.flush(&store).unwrap();
                let text = store.read_meta(META_KEY).unwrap().unwrap();
                largest = largest.max(text.len());
            }
        }
        let totals = counters.totals(&store).unwrap();
        assert!(totals.len() < 16_000, "{}", totals.len());
        // Each key has `"":1,` around it.
        assert!(largest < 2 * MAX_KEY_BYTES, "{largest}");
        let misses: u64 = totals.values().map(|counters| counters.misses).sum();
        assert_eq!(misses, 200_002);
        assert_eq!(totals["tenant"].misses, 2);
        assert_eq!(totals["tenant"].hits_exact, 3);
        counters.reset(&store, None).unwrap();
        assert!(counters.totals(&store).unwrap().is_empty());
    }

    #[test]
    fn what_waits_for_a_store_that_fails_is_bounded() {
        let mut counters = PendingCounters::default();
        for n in 0..50_000 {
            counters.count(&format!("n{n}"), Kind::Misses, 1);
        }
        counters.count("n7", Kind::HitsExact, 1);
        assert_eq!(counters.counts.len(), MAX_WAITING + 1);
        assert_eq!(counters.counts[OTHERS].misses, 40_000);
        assert_eq!(counters.counts["n7"].hits_exact, 1);
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
