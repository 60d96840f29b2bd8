//! Faults of blobs beside everything else: entries, meta, imports, restores, other handles.

use crate::broken::{Fault, Sound};
use mneme::store::{EntryRef, ImportMode, MetaChange, Result, StoreError};
use std::collections::BTreeMap;

/// What blobs are taken for, or along with.
#[derive(Clone, Copy, Debug)]
pub enum Taken {
    /// Each write moves the version counter.
    ForWrites,
    /// They are counted.
    ForEntries,
    /// Meta values that are not there are blobs.
    ForMeta,
    /// They are listed as meta.
    ForListedMeta,
    /// A meta value that is removed takes the blob of its name along.
    WithMeta,
    /// A blob that is deleted takes the meta value of its name along.
    WithBlobs,
}

/// Takes blobs for something else.
pub struct Takes {
    taken: Taken,
    writes: u64,
}

impl Takes {
    /// For this.
    pub fn them(taken: Taken) -> Self {
        Takes { taken, writes: 0 }
    }
}

impl Fault for Takes {
    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        Ok(store.read_version_counter()? + self.writes)
    }

    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(name, bytes)?;
        self.writes += u64::from(matches!(self.taken, Taken::ForWrites));
        Ok(())
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        store.delete_blobs(names)?;
        if matches!(self.taken, Taken::WithBlobs) {
            for name in names {
                let present = store.read_meta(name)?;
                store.replace_meta(name, present.as_deref(), None)?;
            }
        }
        Ok(())
    }

    fn count(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let blobs = match (&self.taken, namespace) {
            (Taken::ForEntries, None) => store.list_blobs()?.len() as u64,
            _ => 0,
        };
        Ok(store.count(namespace)? + blobs)
    }

    fn read_meta(&mut self, store: &mut Sound, key: &str) -> Result<Option<String>> {
        let value = store.read_meta(key)?;
        if value.is_some() || !matches!(self.taken, Taken::ForMeta) {
            return Ok(value);
        }
        match store.read_blob(key) {
            Err(StoreError::InvalidArgument(_)) => Ok(None),
            bytes => Ok(bytes?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    fn list_meta(&mut self, store: &mut Sound) -> Result<Vec<(String, String)>> {
        let mut listed = store.list_meta()?;
        if matches!(self.taken, Taken::ForListedMeta) {
            let names = store.list_blobs()?;
            listed.extend(names.into_iter().map(|name| (name, String::new())));
            listed.sort();
        }
        Ok(listed)
    }

    fn replace_meta(
        &mut self,
        store: &mut Sound,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        let done = store.replace_meta(key, expected, value)?;
        if done && value.is_none() && matches!(self.taken, Taken::WithMeta) {
            store.delete_blobs(&[key.to_owned()])?;
        }
        Ok(done)
    }
}

/// What all blobs are lost by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Deleting an entry.
    ByDelete,
    /// Deleting expired entries.
    ByExpiry,
    /// Clearing one namespace.
    ByClear,
    /// Clearing all namespaces.
    ByClearOfAll,
    /// Committing an import of this mode.
    ByImport(ImportMode),
    /// Ending an import.
    ByEnd,
    /// Closing the store.
    ByClose,
    /// Beginning a view.
    ByView,
}

/// Loses all blobs.
pub struct Loses {
    by: Lost,
    mode: Option<ImportMode>,
}

impl Loses {
    /// By this.
    pub fn all(by: Lost) -> Self {
        Loses { by, mode: None }
    }

    fn lose(&self, store: &mut Sound, by: Lost) -> Result<()> {
        if self.by == by {
            let names = store.list_blobs()?;
            store.delete_blobs(&names)?;
        }
        Ok(())
    }
}

impl Fault for Loses {
    fn close(&mut self, store: &mut Sound) -> Result<()> {
        if store.read_version_counter().is_ok() {
            self.lose(store, Lost::ByClose)?;
        }
        store.close()
    }

    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        let deleted = store.delete_by_id(id)?;
        self.lose(store, Lost::ByDelete)?;
        Ok(deleted)
    }

    fn delete_expired(
        &mut self,
        store: &mut Sound,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        let deleted = store.delete_expired(now, namespace, limit)?;
        self.lose(store, Lost::ByExpiry)?;
        Ok(deleted)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let cleared = store.clear_namespace(namespace)?;
        let by = match namespace {
            Some(_) => Lost::ByClear,
            None => Lost::ByClearOfAll,
        };
        self.lose(store, by)?;
        Ok(cleared)
    }

    fn begin_view(&mut self, store: &mut Sound) -> Result<bool> {
        let able = store.begin_view()?;
        self.lose(store, Lost::ByView)?;
        Ok(able)
    }

    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        self.mode = Some(mode);
        store.begin_import(mode)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let done = store.commit_import(quotas, meta)?;
        if let Some(mode) = self.mode.filter(|_| done) {
            self.lose(store, Lost::ByImport(mode))?;
        }
        Ok(done)
    }

    fn end_import(&mut self, store: &mut Sound) -> Result<()> {
        store.end_import()?;
        self.lose(store, Lost::ByEnd)
    }
}

/// Takes a store with blobs for one that is not empty.
pub struct NeverEmpty;

impl Fault for NeverEmpty {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        if mode == ImportMode::Empty && !store.list_blobs()?.is_empty() {
            return Err(StoreError::Checkpoint("the store is not empty".into()));
        }
        store.begin_import(mode)
    }
}

/// Keeps blobs in this handle only.
#[derive(Default)]
pub struct KeepsThemHere {
    blobs: BTreeMap<String, Vec<u8>>,
}

impl Fault for KeepsThemHere {
    fn read_blob(&mut self, store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
        store.read_blob(name)?;
        Ok(self.blobs.get(name).cloned())
    }

    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(name, bytes.clone())?;
        store.delete_blobs(&[name.to_owned()])?;
        self.blobs.insert(name.to_owned(), bytes);
        Ok(())
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        store.delete_blobs(names)?;
        self.blobs.retain(|name, _| !names.contains(name));
        Ok(())
    }

    fn list_blobs(&mut self, store: &mut Sound) -> Result<Vec<String>> {
        store.list_blobs()?;
        Ok(self.blobs.keys().cloned().collect())
    }
}

/// Reads what this handle has read or written before.
#[derive(Default)]
pub struct Stale {
    known: BTreeMap<String, Option<Vec<u8>>>,
}

impl Fault for Stale {
    fn read_blob(&mut self, store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
        let found = store.read_blob(name)?;
        Ok(self.known.entry(name.to_owned()).or_insert(found).clone())
    }

    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(name, bytes.clone())?;
        self.known.insert(name.to_owned(), Some(bytes));
        Ok(())
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        store.delete_blobs(names)?;
        self.known.retain(|name, _| !names.contains(name));
        Ok(())
    }
}

/// Leaves blobs as they were when it restores a snapshot of other entries.
pub struct KeptOverRestore;

impl Fault for KeptOverRestore {
    fn commit_restore(&mut self, store: &mut Sound, only_if_empty: bool) -> Result<()> {
        let mut before = Vec::new();
        for name in store.list_blobs()? {
            before.push((store.read_blob(&name)?, name));
        }
        store.commit_restore(only_if_empty)?;
        for (bytes, name) in before {
            store.write_blob(&name, bytes.unwrap_or_default())?;
        }
        Ok(())
    }
}
