//! Faults of the version counter.

use super::{Fault, Sound, same_key};
use mneme::store::{Entry, Inserted, Result};

/// Moves the counter by another number than one at an operation.
pub struct Miscounts {
    /// Where; empty for every operation.
    pub at: &'static str,
    /// By how much, given whether the call changed entries.
    pub by: fn(bool) -> i64,
}

impl Fault for Miscounts {
    fn moves(&self, operation: &str, moved: bool) -> i64 {
        if self.at.is_empty() || self.at == operation {
            (self.by)(moved)
        } else {
            i64::from(moved)
        }
    }
}

/// Does not move the counter where an insert only replaces.
#[derive(Default)]
pub struct ForgetsReplacing {
    replaced: bool,
}

impl Fault for ForgetsReplacing {
    fn moves(&self, operation: &str, moved: bool) -> i64 {
        i64::from(moved && !(operation == "insert" && self.replaced))
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let inserted = store.insert(entries)?;
        self.replaced = inserted.iter().all(|item| item.replaced);
        Ok(inserted)
    }
}

/// Moves the counter once for each entry.
#[derive(Default)]
pub struct CountsEntries {
    entries: i64,
}

impl Fault for CountsEntries {
    fn moves(&self, operation: &str, moved: bool) -> i64 {
        match operation {
            "insert" => self.entries,
            _ => i64::from(moved),
        }
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.entries = i64::try_from(entries.len()).unwrap_or(i64::MAX);
        store.insert(entries)
    }
}

/// Does not move the counter where an insert stores what is there already.
#[derive(Default)]
pub struct IgnoresSame {
    same: bool,
}

impl Fault for IgnoresSame {
    fn moves(&self, operation: &str, moved: bool) -> i64 {
        i64::from(moved && !(operation == "insert" && self.same))
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.same = true;
        for entry in &entries {
            let present = same_key(store, entry)?.map(|present| Entry {
                id: entry.id,
                ..present
            });
            self.same &= present.as_ref() == Some(entry);
        }
        store.insert(entries)
    }
}

/// The counter starts anew with each store.
#[derive(Default)]
pub struct CountsSinceOpen {
    first: Option<u64>,
}

impl Fault for CountsSinceOpen {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        store.open(fingerprint, dim)?;
        self.first = Some(store.read_version_counter()?);
        Ok(())
    }

    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        Ok(store.read_version_counter()? - self.first.unwrap_or_default())
    }
}

/// Moves the counter where an insert fails.
#[derive(Default)]
pub struct CountsFailures {
    failed: u64,
}

impl Fault for CountsFailures {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let result = store.insert(entries);
        self.failed += u64::from(result.is_err());
        result
    }

    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        Ok(store.read_version_counter()? + self.failed)
    }
}
