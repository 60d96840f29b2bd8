//! Faults that show between stores, or when a process ends.

use super::{Fault, Sound};
use mneme::store::{Entry, EntryKey, EntryRef, Inserted, Result};
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

/// Keeps the meta values and quotas that it has once read or set.
#[derive(Default)]
pub struct StaleSettings {
    meta: BTreeMap<String, Option<String>>,
    quotas: BTreeMap<String, Option<u64>>,
}

impl Fault for StaleSettings {
    fn read_meta(&mut self, store: &mut Sound, key: &str) -> Result<Option<String>> {
        let value = store.read_meta(key)?;
        Ok(self.meta.entry(key.to_owned()).or_insert(value).clone())
    }

    fn replace_meta(
        &mut self,
        store: &mut Sound,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        let kept = self.read_meta(store, key)?;
        if kept.as_deref() != expected {
            return Ok(false);
        }
        let replaced = super::settings::regardless(store, key, expected, value)?;
        self.meta.insert(key.to_owned(), value.map(str::to_owned));
        Ok(replaced)
    }

    fn get_namespace_quota(&mut self, store: &mut Sound, namespace: &str) -> Result<Option<u64>> {
        let quota = store.get_namespace_quota(namespace)?;
        Ok(*self.quotas.entry(namespace.to_owned()).or_insert(quota))
    }

    fn set_namespace_quota(
        &mut self,
        store: &mut Sound,
        namespace: &str,
        max_entries: Option<u64>,
    ) -> Result<()> {
        store.set_namespace_quota(namespace, max_entries)?;
        self.quotas.insert(namespace.to_owned(), max_entries);
        Ok(())
    }
}

/// Compares the versions of entries to those that it has itself inserted.
#[derive(Default)]
pub struct StaleGuard {
    inserted: BTreeMap<u64, u64>,
}

impl Fault for StaleGuard {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let times: Vec<u64> = entries.iter().map(|entry| entry.created_at).collect();
        let inserted = store.insert(entries)?;
        let ids = inserted.iter().map(|item| item.id);
        self.inserted.extend(ids.zip(times));
        Ok(inserted)
    }

    fn delete_unchanged(&mut self, store: &mut Sound, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let mut named = entries.to_vec();
        for entry in &mut named {
            if self.inserted.get(&entry.id) == Some(&entry.created_at)
                && let Some(present) = store.get_by_ids(&[entry.id])?.pop()
            {
                entry.created_at = present.created_at;
            }
        }
        store.delete_unchanged(&named)
    }
}

/// Reads all rows when a walk begins, and takes the pages from them.
#[derive(Default)]
pub struct StaleWalk {
    rows: Vec<Entry>,
}

impl Fault for StaleWalk {
    fn iter_since(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let present = store.iter_since(last_id, limit)?;
        if last_id == 0 || self.rows.is_empty() {
            self.rows = super::all(store)?;
            return Ok(present);
        }
        let rows = self.rows.iter().filter(|entry| entry.id > last_id);
        Ok(rows.take(limit as usize).cloned().collect())
    }
}

/// Stores the entries of a list one by one, so that a crash leaves some of them.
pub struct OneByOne;

impl Fault for OneByOne {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let dim = store.read_meta("embedder_dim")?;
        let sound = |entry: &Entry| dim.as_deref() == Some(&entry.embedding.len().to_string());
        let short = entries.len() <= store.capabilities().max_batch as usize;
        if !short || !entries.iter().all(sound) {
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
