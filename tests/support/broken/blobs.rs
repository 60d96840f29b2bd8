//! Faults of blobs.

use super::{Fault, Sound};
use mneme::store::{CapabilitySet, EntryRef, ImportMode, MetaChange, Result, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// Does something to blobs in another way.
pub struct Steps {
    /// What the store says of itself besides.
    pub says: fn(&mut CapabilitySet),
    /// Instead of reading one.
    pub read: fn(&mut Sound, &str) -> Result<Option<Vec<u8>>>,
    /// Instead of writing one.
    pub write: fn(&mut Sound, &str, Vec<u8>) -> Result<()>,
    /// Instead of deleting some.
    pub delete: fn(&mut Sound, &[String]) -> Result<()>,
    /// Instead of listing them.
    pub list: fn(&mut Sound) -> Result<Vec<String>>,
}

/// The sound steps.
pub const SOUND: Steps = Steps {
    says: |_| {},
    read: |store, name| store.read_blob(name),
    write: |store, name, bytes| store.write_blob(name, bytes),
    delete: |store, names| store.delete_blobs(names),
    list: |store| store.list_blobs(),
};

/// The steps of a store without blobs, which is no fault.
pub const NONE: Steps = Steps {
    says: |says| says.max_blob = 0,
    read: |_, _| Err(unsupported()),
    write: |_, _, _| Err(unsupported()),
    delete: |_, _| Err(unsupported()),
    list: |_| Err(unsupported()),
};

/// The error of a store without blobs.
pub fn unsupported() -> StoreError {
    StoreError::Unsupported("there are no blobs".into())
}

impl Fault for Steps {
    fn capabilities(&self, store: &Sound) -> CapabilitySet {
        let mut capabilities = store.capabilities();
        (self.says)(&mut capabilities);
        capabilities
    }

    fn read_blob(&mut self, store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
        (self.read)(store, name)
    }

    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        (self.write)(store, name, bytes)
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        (self.delete)(store, names)
    }

    fn list_blobs(&mut self, store: &mut Sound) -> Result<Vec<String>> {
        (self.list)(store)
    }
}

/// Names by other rules.
pub struct Named(pub fn(&str) -> String);

impl Fault for Named {
    fn read_blob(&mut self, store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
        store.read_blob(&(self.0)(name))
    }

    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(&(self.0)(name), bytes)
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        let names: Vec<String> = names.iter().map(|name| (self.0)(name)).collect();
        store.delete_blobs(&names)
    }
}

/// Writes what `change` makes of the bytes.
///
/// # Errors
///
/// Those of the store.
pub fn write_changed(
    store: &mut Sound,
    name: &str,
    mut bytes: Vec<u8>,
    change: fn(&mut Vec<u8>),
) -> Result<()> {
    change(&mut bytes);
    store.write_blob(name, bytes)
}

/// Leaves what is beyond the new bytes.
///
/// # Errors
///
/// Those of the store.
pub fn write_over(store: &mut Sound, name: &str, mut bytes: Vec<u8>) -> Result<()> {
    if let Some(old) = store.read_blob(name)? {
        bytes.extend(old.into_iter().skip(bytes.len()));
    }
    store.write_blob(name, bytes)
}

/// Keeps what is there.
///
/// # Errors
///
/// Those of the store.
pub fn write_once(store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
    match store.read_blob(name)? {
        Some(_) => Ok(()),
        None => store.write_blob(name, bytes),
    }
}

/// Cuts what is too large.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn write_what_fits(store: &mut Sound, name: &str, mut bytes: Vec<u8>) -> Result<()> {
    bytes.truncate(store.capabilities().max_blob as usize);
    store.write_blob(name, bytes)
}

/// Forgets what was there where the new bytes are too many.
///
/// # Errors
///
/// Those of the store.
pub fn write_or_lose(store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
    let written = store.write_blob(name, bytes);
    if written.is_err() && store.read_blob(name).is_ok() {
        store.delete_blobs(&[name.to_owned()])?;
    }
    written
}

/// Deletes what is under the first name once it was read.
///
/// # Errors
///
/// Those of the store.
pub fn read_once(store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
    let bytes = store.read_blob(name)?;
    store.delete_blobs(&[name.to_owned()])?;
    Ok(bytes)
}

/// Finds what has a longer name.
///
/// # Errors
///
/// Those of the store.
pub fn read_by_prefix(store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
    if let Some(bytes) = store.read_blob(name)? {
        return Ok(Some(bytes));
    }
    let names = store.list_blobs()?;
    match names.iter().find(|other| other.starts_with(name)) {
        Some(other) => store.read_blob(other),
        None => Ok(None),
    }
}

/// Deletes everything.
///
/// # Errors
///
/// Those of the store.
pub fn delete_all(store: &mut Sound, names: &[String]) -> Result<()> {
    store.delete_blobs(names)?;
    let all = store.list_blobs()?;
    store.delete_blobs(&all)
}

/// Deletes what has a longer name too.
///
/// # Errors
///
/// Those of the store.
pub fn delete_by_prefix(store: &mut Sound, names: &[String]) -> Result<()> {
    let mut all = store.list_blobs()?;
    all.retain(|other| names.iter().any(|name| other.starts_with(name)));
    store.delete_blobs(names)?;
    store.delete_blobs(&all)
}

/// Deletes the first ones only.
///
/// # Errors
///
/// Those of the store.
pub fn delete_some(store: &mut Sound, names: &[String]) -> Result<()> {
    store.delete_blobs(&names[..names.len().min(100)])
}

/// Goes as far as the first name that is not there.
///
/// # Errors
///
/// Those of the store.
pub fn delete_until_unknown(store: &mut Sound, names: &[String]) -> Result<()> {
    store.delete_blobs(&[])?;
    for name in names {
        if store.read_blob(name)?.is_none() {
            break;
        }
        store.delete_blobs(std::slice::from_ref(name))?;
    }
    Ok(())
}

/// Wants every name to be there.
///
/// # Errors
///
/// Those of the store, and one that is not due.
pub fn delete_known(store: &mut Sound, names: &[String]) -> Result<()> {
    for name in names {
        if store.read_blob(name)?.is_none() {
            return Err(StoreError::InvalidArgument("there is no such blob".into()));
        }
    }
    store.delete_blobs(names)
}

/// Passes over what is no name.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn delete_names(store: &mut Sound, names: &[String]) -> Result<()> {
    for name in names {
        match store.delete_blobs(std::slice::from_ref(name)) {
            Err(StoreError::InvalidArgument(_)) => {}
            outcome => outcome?,
        }
    }
    store.delete_blobs(&[])
}

/// Deletes one after the other, up to what is no name.
///
/// # Errors
///
/// Those of the store.
pub fn delete_one_by_one(store: &mut Sound, names: &[String]) -> Result<()> {
    store.delete_blobs(&[])?;
    let mut names = names.iter();
    names.try_for_each(|name| store.delete_blobs(std::slice::from_ref(name)))
}

/// Finds nothing under what is no name.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn read_names(store: &mut Sound, name: &str) -> Result<Option<Vec<u8>>> {
    match store.read_blob(name) {
        Err(StoreError::InvalidArgument(_)) => Ok(None),
        outcome => outcome,
    }
}

/// Takes blobs for something else.
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

/// Does not take a blob of a name that was deleted.
#[derive(Default)]
pub struct Buries {
    names: BTreeSet<String>,
}

impl Fault for Buries {
    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(name, bytes)?;
        if self.names.contains(name) {
            store.delete_blobs(&[name.to_owned()])?;
        }
        Ok(())
    }

    fn delete_blobs(&mut self, store: &mut Sound, names: &[String]) -> Result<()> {
        store.delete_blobs(names)?;
        self.names.extend(names.iter().cloned());
        Ok(())
    }
}

/// Lists every name that was ever written.
#[derive(Default)]
pub struct ListsTheDead {
    names: BTreeSet<String>,
}

impl Fault for ListsTheDead {
    fn write_blob(&mut self, store: &mut Sound, name: &str, bytes: Vec<u8>) -> Result<()> {
        store.write_blob(name, bytes)?;
        self.names.insert(name.to_owned());
        Ok(())
    }

    fn list_blobs(&mut self, store: &mut Sound) -> Result<Vec<String>> {
        self.names.extend(store.list_blobs()?);
        Ok(self.names.iter().cloned().collect())
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

/// Puts the blobs of a snapshot behind those that were there.
pub struct MixesAtRestore;

impl Fault for MixesAtRestore {
    fn commit_restore(&mut self, store: &mut Sound, only_if_empty: bool) -> Result<()> {
        let mut before = Vec::new();
        for name in store.list_blobs()? {
            before.push((store.read_blob(&name)?, name));
        }
        store.commit_restore(only_if_empty)?;
        for (bytes, name) in before {
            let mut bytes = bytes.unwrap_or_default();
            bytes.extend(store.read_blob(&name)?.unwrap_or_default());
            store.write_blob(&name, bytes)?;
        }
        Ok(())
    }
}
