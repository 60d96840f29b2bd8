//! The quotas of namespaces, and how many a cache may have.

use crate::checkpoint::MAX_DESCRIPTION_BYTES;
use crate::error::{Result, invalid};
use crate::store::Store;
use crate::types::Error;
use std::collections::BTreeMap;

/// The most bytes of a cache's quotas, as [`size`] counts them: as many as any archive can hold
/// beside meta values. With names of 20 bytes, that is 170,000 quotas.
pub const MAX_BYTES: u64 = MAX_DESCRIPTION_BYTES - (2 << 20);

/// What a quota takes besides its namespace's name.
const ROW_BYTES: u64 = 64;

/// What the quota of a namespace takes: 64 bytes, and the name as JSON.
pub fn size(namespace: &str) -> u64 {
    // A name that is no JSON does not exist; each of its bytes becomes six at most.
    let name = serde_json::to_string(namespace).map_or(6 * namespace.len() + 2, |json| json.len());
    ROW_BYTES + name as u64
}

/// Refuses more quotas than a cache may have. The error is the reason.
pub fn check(namespaces: &mut dyn Iterator<Item = &String>) -> std::result::Result<(), String> {
    check_bytes(namespaces.map(|name| size(name)).sum())
}

fn check_bytes(bytes: u64) -> std::result::Result<(), String> {
    match bytes > MAX_BYTES {
        false => Ok(()),
        true => Err(format!(
            "there are too many quotas: they take {bytes} bytes, {ROW_BYTES} for each and its namespace's name, and may take {MAX_BYTES}; remove the quotas of namespaces that are not used"
        )),
    }
}

/// The quotas of an open cache.
#[derive(Debug, Default)]
pub struct Quotas {
    /// All, once they have been read.
    known: Option<BTreeMap<String, u64>>,
    /// What all took when they were last read, with the changes of this instance since.
    bytes: Option<u64>,
}

impl Quotas {
    /// The quota of a namespace.
    pub fn get(&mut self, store: &impl Store, namespace: &str) -> Result<Option<u64>> {
        let known = match self.known.take() {
            Some(known) => known,
            None => self.read(store)?,
        };
        Ok(self.known.insert(known).get(namespace).copied())
    }

    /// Others may have changed them.
    pub fn others_wrote(&mut self) {
        self.known = None;
    }

    /// Sets quotas, unless there would be too many. Writes only those that are not set already.
    pub fn set(&mut self, store: &impl Store, quotas: &[(String, u64)]) -> Result<()> {
        let (mut changed, mut more) = (Vec::new(), 0);
        // The last of one name counts.
        let wanted: BTreeMap<String, u64> = quotas.iter().cloned().collect();
        for (namespace, &quota) in &wanted {
            let present = present(store, namespace)?;
            if present != Present::Is(quota) {
                changed.push((namespace, quota));
            }
            if present == Present::No {
                more += size(namespace);
            }
        }
        if more > 0 {
            self.room_for(store, more)?.map_err(|reason| match quotas {
                [(namespace, _)] => invalid(format!(
                    "the quota of {namespace:.80?} is not set: {reason}"
                )),
                _ => invalid(format!("option namespace-quotas: {reason}")),
            })?;
        }
        for (namespace, quota) in changed {
            self.write(store, namespace, Some(quota))?;
        }
        self.bytes = self.bytes.map(|bytes| bytes + more);
        if let Some(known) = &mut self.known {
            for (namespace, quota) in wanted {
                known.insert(namespace, quota);
            }
        }
        Ok(())
    }

    /// Removes the quota of a namespace, if it has one.
    pub fn remove(&mut self, store: &impl Store, namespace: &str) -> Result<()> {
        let present = present(store, namespace)?;
        self.write(store, namespace, None)?;
        if present != Present::No {
            let less = size(namespace);
            self.bytes = self.bytes.map(|bytes| bytes.saturating_sub(less));
        }
        if let Some(known) = &mut self.known {
            known.remove(namespace);
        }
        Ok(())
    }

    /// Whether there is room for `more` bytes of quotas, or the reason why not. Reads all quotas
    /// only if they have never been read, and before it says no.
    fn room_for(
        &mut self,
        store: &impl Store,
        more: u64,
    ) -> Result<std::result::Result<(), String>> {
        if self.bytes.is_none_or(|bytes| bytes + more > MAX_BYTES) {
            self.known = Some(self.read(store)?);
        }
        Ok(check_bytes(self.bytes.unwrap_or_default() + more))
    }

    fn read(&mut self, store: &impl Store) -> Result<BTreeMap<String, u64>> {
        let all: BTreeMap<_, _> = store.list_namespace_quotas()?.into_iter().collect();
        self.bytes = Some(all.keys().map(|name| size(name)).sum());
        Ok(all)
    }

    fn write(&mut self, store: &impl Store, namespace: &str, quota: Option<u64>) -> Result<()> {
        // After a failure nobody knows whether it was set.
        let known = std::mem::take(self);
        store.set_namespace_quota(namespace, quota)?;
        *self = known;
        Ok(())
    }
}

/// What the store has for a namespace.
#[derive(PartialEq)]
enum Present {
    No,
    Is(u64),
    /// A damaged one, which may be set again.
    Damaged,
}

fn present(store: &impl Store, namespace: &str) -> Result<Present> {
    match store.get_namespace_quota(namespace) {
        Ok(quota) => Ok(quota.map_or(Present::No, Present::Is)),
        Err(Error::Corrupt(_)) => Ok(Present::Damaged),
        Err(error) => Err(error),
    }
}
