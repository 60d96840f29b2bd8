//! Faults of blobs by themselves.

pub mod beside;

use super::{Fault, Sound};
use mneme::store::{CapabilitySet, Result, StoreError};
use std::collections::BTreeSet;

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
