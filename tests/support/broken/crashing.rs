//! Faults that show between stores, or when a process ends.

use super::{Fault, Sound};
use mneme::store::{Entry, EntryKey, Inserted, Result};
use std::collections::BTreeMap;

/// Keeps what it has once read, whatever other stores write.
#[derive(Default)]
pub struct StaleReads {
    found: BTreeMap<(String, String), Option<Entry>>,
}

impl Fault for StaleReads {
    fn get_by_hash(&mut self, store: &mut Sound, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        let found = store.get_by_hash(keys)?;
        let names = keys
            .iter()
            .map(|k| (k.namespace.clone(), k.query_hash.clone()));
        Ok(names
            .zip(found)
            .map(|(name, entry)| self.found.entry(name).or_insert(entry).clone())
            .collect())
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.found.clear();
        store.insert(entries)
    }

    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        self.found.clear();
        store.delete_by_id(id)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        self.found.clear();
        store.clear_namespace(namespace)
    }

    fn close(&mut self, store: &mut Sound) -> Result<()> {
        self.found.clear();
        store.close()
    }
}

/// Counts its own writes only.
#[derive(Default)]
pub struct OwnCounter {
    shown: Option<u64>,
    own: u64,
}

impl Fault for OwnCounter {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        store.open(fingerprint, dim)?;
        self.shown = Some(store.read_version_counter()?);
        Ok(())
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let before = store.read_version_counter()?;
        let inserted = store.insert(entries)?;
        self.own += store.read_version_counter()? - before;
        Ok(inserted)
    }

    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        let before = store.read_version_counter()?;
        let deleted = store.delete_by_id(id)?;
        self.own += store.read_version_counter()? - before;
        Ok(deleted)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let before = store.read_version_counter()?;
        let deleted = store.clear_namespace(namespace)?;
        self.own += store.read_version_counter()? - before;
        Ok(deleted)
    }

    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        let sound = store.read_version_counter()?;
        Ok(self.shown.map_or(sound, |shown| shown + self.own))
    }
}

/// Stores the entries of a list one by one, so that a crash leaves some of them.
pub struct OneByOne;

impl Fault for OneByOne {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let dim = store.read_meta("embedder_dim")?;
        let sound = |entry: &Entry| dim.as_deref() == Some(&entry.embedding.len().to_string());
        if !entries.iter().all(sound) {
            return store.insert(entries);
        }
        let mut inserted = Vec::with_capacity(entries.len());
        for entry in entries {
            inserted.extend(store.insert(vec![entry])?);
        }
        Ok(inserted)
    }
}

/// Panics at an operation instead of returning an error.
pub struct Panics;

impl Fault for Panics {
    fn delete_by_id(&mut self, _store: &mut Sound, id: u64) -> Result<bool> {
        panic!("no row with id {id}")
    }
}

/// Never returns from an operation.
pub struct Hangs;

impl Fault for Hangs {
    fn delete_by_id(&mut self, _store: &mut Sound, _id: u64) -> Result<bool> {
        loop {
            std::thread::park();
        }
    }
}
