//! Faults of counting by namespace.

use super::{Fault, Sound};
use mneme::SqliteStore;
use mneme::store::{Entry, ImportMode, Inserted, MetaChange, Result, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Each namespace with its number of entries.
pub type Counts = Vec<(String, u64)>;

/// Sums up numbers of entries of namespaces that come more than once.
pub fn summed(counts: impl IntoIterator<Item = (String, u64)>) -> Counts {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    sums.into_iter().collect()
}

fn one_each(entries: &[Entry]) -> impl Iterator<Item = (String, u64)> {
    entries.iter().map(|entry| (entry.namespace.clone(), 1))
}

/// Counts in another way.
pub struct CountsEach(pub fn(&mut Sound) -> Result<Counts>);

impl Fault for CountsEach {
    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        (self.0)(store)
    }
}

/// Counts a replaced entry again.
#[derive(Default)]
pub struct Recounts(Counts);

impl Fault for Recounts {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let one_each: Vec<_> = one_each(&entries).collect();
        let inserted = store.insert(entries)?;
        let replaced = one_each.into_iter().zip(&inserted);
        let replaced = replaced.filter(|(_, inserted)| inserted.replaced);
        self.0.extend(replaced.map(|(one, _)| one));
        Ok(inserted)
    }

    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        let counts = store.count_by_namespace()?;
        Ok(summed(counts.into_iter().chain(self.0.clone())))
    }
}

/// Goes on counting the namespaces that it has ever seen.
#[derive(Default)]
pub struct CountsNone(BTreeSet<String>);

impl Fault for CountsNone {
    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        let counts = store.count_by_namespace()?;
        self.0.extend(counts.iter().map(|(name, _)| name.clone()));
        let none = self.0.iter().map(|name| (name.clone(), 0));
        Ok(summed(counts.into_iter().chain(none)))
    }
}

/// Counts what an import has received before it is committed.
#[derive(Default)]
pub struct CountsReceived(Counts);

impl Fault for CountsReceived {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        self.0.clear();
        store.begin_import(mode)
    }

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        self.0.extend(one_each(&entries));
        store.write_import(entries)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        self.0.clear();
        store.commit_import(quotas, meta)
    }

    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        let counts = store.count_by_namespace()?;
        Ok(summed(counts.into_iter().chain(self.0.clone())))
    }
}

/// Keeps what it has counted until it writes itself.
#[derive(Default)]
pub struct KeepsCounts(Option<Counts>);

impl Fault for KeepsCounts {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.0 = None;
        store.insert(entries)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        self.0 = None;
        store.clear_namespace(namespace)
    }

    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        let counts = store.count_by_namespace()?;
        Ok(self.0.get_or_insert(counts).clone())
    }
}

/// Counts on another connection, so that a view does not bind it.
pub struct CountsElsewhere(pub PathBuf);

impl Fault for CountsElsewhere {
    fn count_by_namespace(&mut self, store: &mut Sound) -> Result<Counts> {
        store.count_by_namespace()?;
        let mut other = SqliteStore::new(&self.0);
        if let Some(embedder) = other.recorded_embedder()? {
            other.open(&embedder.fingerprint, embedder.dim)?;
        }
        other.count_by_namespace()
    }
}
