//! Faults of what an import keeps until its commit.

use super::{key, same_pair};
use crate::broken::{Fault, Sound};
use mneme::store::{Entry, EntryKey, ImportMode, MetaChange, Result, StoreError};
use std::sync::{Arc, Mutex, PoisonError};

/// The import under way, as it was written.
#[derive(Default)]
struct Staged {
    begun: Option<ImportMode>,
    entries: Vec<Entry>,
}

impl Staged {
    fn begin(&mut self, mode: ImportMode) {
        *self = Staged {
            begun: Some(mode),
            entries: Vec::new(),
        };
    }

    /// Writes all of it to a new import.
    fn write(&self, store: &mut Sound) -> Result<()> {
        let Some(mode) = self.begun else {
            return Ok(());
        };
        store.begin_import(mode)?;
        write_all(store, &self.entries)
    }
}

fn write_all(store: &mut Sound, entries: &[Entry]) -> Result<()> {
    let most = store.capabilities().max_batch as usize;
    let mut lists = entries.chunks(most);
    lists.try_for_each(|list| store.write_import(list.to_vec()))
}

/// Lets an import take part in what it remembers of it.
macro_rules! stages {
    () => {
        fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
            self.staged = Staged::default();
            store.begin_import(mode)?;
            self.staged.begin(mode);
            Ok(())
        }

        fn end_import(&mut self, store: &mut Sound) -> Result<()> {
            self.staged = Staged::default();
            store.end_import()
        }
    };
}

/// Takes up an import again that was under way when the store was closed.
#[derive(Default)]
pub struct OutlivesClose {
    staged: Staged,
}

impl Fault for OutlivesClose {
    stages!();

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        store.write_import(entries.clone())?;
        self.staged.entries.extend(entries);
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let done = store.commit_import(quotas, meta)?;
        if done {
            self.staged = Staged::default();
        }
        Ok(done)
    }

    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        store.open(fingerprint, dim)?;
        self.staged.write(store)
    }
}

/// Goes on with an import after an error, without the list that was refused.
#[derive(Default)]
pub struct GoesOn {
    staged: Staged,
}

impl Fault for GoesOn {
    stages!();

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        match store.write_import(entries.clone()) {
            Ok(()) => {
                self.staged.entries.extend(entries);
                Ok(())
            }
            Err(error) => {
                self.staged.write(store)?;
                Err(error)
            }
        }
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let done = store.commit_import(quotas, meta)?;
        if done {
            self.staged = Staged::default();
        }
        Ok(done)
    }
}

/// Keeps the last list only.
#[derive(Default)]
pub struct LastListOnly {
    staged: Staged,
}

impl Fault for LastListOnly {
    stages!();

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        if let Some(mode) = self.staged.begun {
            store.begin_import(mode)?;
        }
        store.write_import(entries)
    }
}

/// Leaves out entries that the import has from an earlier list.
#[derive(Default)]
pub struct FirstOfEach {
    staged: Staged,
}

impl Fault for FirstOfEach {
    stages!();

    fn write_import(&mut self, store: &mut Sound, mut entries: Vec<Entry>) -> Result<()> {
        let known = &self.staged.entries;
        entries.retain(|entry| !known.iter().any(|other| same_pair(other, entry)));
        store.write_import(entries.clone())?;
        self.staged.entries.extend(entries);
        Ok(())
    }
}

/// Takes entries for the same that have one hash, whatever the namespace.
#[derive(Default)]
pub struct OneOfEachHash {
    staged: Staged,
}

impl Fault for OneOfEachHash {
    stages!();

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        for entry in &entries {
            let known = &mut self.staged.entries;
            if known.iter().any(|e| e.query_hash == entry.query_hash) {
                store.end_import()?;
                return Err(StoreError::Checkpoint("the hash came twice".into()));
            }
            known.push(entry.clone());
        }
        store.write_import(entries)
    }
}

/// Keeps what was committed, and commits it with the next import again.
#[derive(Default)]
pub struct NeverEmptied {
    staged: Staged,
    committed: Vec<Entry>,
}

impl Fault for NeverEmptied {
    stages!();

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        store.write_import(entries.clone())?;
        self.staged.entries.extend(entries);
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let new = std::mem::take(&mut self.staged).entries;
        self.committed
            .retain(|old| !new.iter().any(|entry| same_pair(entry, old)));
        write_all(store, &self.committed)?;
        self.committed.extend(new);
        store.commit_import(quotas, meta)
    }
}

/// Deletes the entries that an import replaces, so that they get new ids.
#[derive(Default)]
pub struct DeletesFirst {
    keys: Vec<EntryKey>,
}

impl Fault for DeletesFirst {
    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        self.keys.extend(entries.iter().map(key));
        store.write_import(entries)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        for entry in store.get_by_hash(&self.keys)?.into_iter().flatten() {
            store.delete_by_id(entry.id)?;
        }
        self.keys.clear();
        store.commit_import(quotas, meta)
    }
}

/// Keeps the entries of all stores in one place, so that a commit takes those of others too.
#[derive(Clone, Default)]
pub struct OneStageForAll {
    stage: Arc<Mutex<Vec<Entry>>>,
}

impl Fault for OneStageForAll {
    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        store.write_import(entries.clone())?;
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        stage.retain(|old| !entries.iter().any(|entry| same_pair(entry, old)));
        stage.extend(entries);
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        store.begin_import(ImportMode::Merge)?;
        write_all(store, &stage)?;
        stage.clear();
        store.commit_import(quotas, meta)
    }
}

/// Stores the entries one by one when they are committed, so that a crash leaves some of them.
#[derive(Default)]
pub struct OneByOne {
    staged: Staged,
}

impl Fault for OneByOne {
    stages!();

    fn write_import(&mut self, _: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        self.staged.entries.extend(entries);
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        for entry in std::mem::take(&mut self.staged).entries {
            store.insert(vec![entry])?;
        }
        store.commit_import(quotas, meta)
    }
}
