//! Faults of storing entries.

use super::{Fault, Sound, all, same_key};
use mneme::store::{Entry, EntryRef, Inserted, Result, StoreError};

/// Keeps something of the entry that is replaced.
pub struct Keeps(pub fn(&mut Entry, &Entry));

impl Fault for Keeps {
    fn insert(&mut self, store: &mut Sound, mut entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        for entry in &mut entries {
            if let Some(old) = same_key(store, entry)? {
                (self.0)(entry, &old);
            }
        }
        store.insert(entries)
    }
}

/// Changes entries on their way in.
pub struct Stores(pub fn(&mut Entry));

impl Fault for Stores {
    fn insert(&mut self, store: &mut Sound, mut entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        entries.iter_mut().for_each(self.0);
        store.insert(entries)
    }
}

/// Leaves entries out that it should refuse, and says that all is well.
pub struct SwallowsErrors;

impl Fault for SwallowsErrors {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let asked = entries.len();
        store.insert(entries).or_else(|error| match error {
            StoreError::Closed => Err(error),
            _ => Ok((1..=asked as u64)
                .map(|id| Inserted {
                    id,
                    replaced: false,
                })
                .collect()),
        })
    }
}

/// Stores the entries before a bad one.
pub struct StoresHalf;

impl Fault for StoresHalf {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        match store.insert(entries.clone()) {
            Ok(inserted) => Ok(inserted),
            Err(error) => {
                for entry in entries {
                    if store.insert(vec![entry]).is_err() {
                        break;
                    }
                }
                Err(error)
            }
        }
    }
}

/// Keeps the first of two entries of one list that have one key.
pub struct FirstOfTwins;

impl Fault for FirstOfTwins {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let mut first: Vec<Entry> = Vec::with_capacity(entries.len());
        for entry in entries {
            let twin = first
                .iter()
                .find(|e| e.namespace == entry.namespace && e.query_hash == entry.query_hash);
            first.push(twin.cloned().unwrap_or(entry));
        }
        store.insert(first)
    }
}

/// Holds each hash once, whatever the namespace.
pub struct HashesCollide;

impl Fault for HashesCollide {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        for old in all(store)? {
            let collides = |entry: &Entry| {
                entry.query_hash == old.query_hash && entry.namespace != old.namespace
            };
            if entries.iter().any(collides) {
                store.delete_by_id(old.id)?;
            }
        }
        store.insert(entries)
    }
}

/// Changes entries on their way out, whichever way they go.
pub struct Returns(pub fn(&mut Entry));

impl Fault for Returns {
    fn get_by_hash(
        &mut self,
        store: &mut Sound,
        keys: &[mneme::store::EntryKey],
    ) -> Result<Vec<Option<Entry>>> {
        let mut found = store.get_by_hash(keys)?;
        found.iter_mut().flatten().for_each(self.0);
        Ok(found)
    }

    fn get_by_ids(&mut self, store: &mut Sound, ids: &[u64]) -> Result<Vec<Entry>> {
        let mut found = store.get_by_ids(ids)?;
        found.iter_mut().for_each(self.0);
        Ok(found)
    }

    fn iter_since(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let mut found = store.iter_since(last_id, limit)?;
        found.iter_mut().for_each(self.0);
        Ok(found)
    }
}

/// Loses the namespace in what names an entry.
pub struct AnonymousRefs;

impl Fault for AnonymousRefs {
    fn iter_lru_ids(
        &mut self,
        store: &mut Sound,
        n: u32,
        namespace: Option<&str>,
    ) -> Result<Vec<EntryRef>> {
        let mut refs = store.iter_lru_ids(n, namespace)?;
        for item in &mut refs {
            item.namespace.clear();
        }
        Ok(refs)
    }
}

/// Enforces the quotas itself.
pub struct EnforcesQuotas;

impl Fault for EnforcesQuotas {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        for entry in &entries {
            let quota = store.get_namespace_quota(&entry.namespace)?;
            let asked = entries.iter().filter(|e| e.namespace == entry.namespace);
            let count = store.count(Some(&entry.namespace))? + asked.count() as u64;
            if quota.is_some_and(|quota| count > quota) {
                return Err(StoreError::QuotaExceeded("the namespace is full".into()));
            }
        }
        store.insert(entries)
    }
}
