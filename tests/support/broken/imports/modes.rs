//! Faults of what an import does about data that is there.

use crate::broken::{Fault, Sound, all};
use crate::sqlite::execute;
use mneme::store::{Entry, ImportMode, MetaChange, Result, StoreError};
use std::path::PathBuf;

/// Lets an import into an empty store fail if anything was written meanwhile.
#[derive(Default)]
pub struct NothingMeanwhile {
    version: Option<u64>,
}

impl Fault for NothingMeanwhile {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        store.begin_import(mode)?;
        let version = store.read_version_counter()?;
        self.version = (mode == ImportMode::Empty).then_some(version);
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let version = store.read_version_counter()?;
        if self.version.is_some_and(|before| before != version) {
            store.end_import()?;
            return Err(StoreError::Checkpoint("the store was written to".into()));
        }
        store.commit_import(quotas, meta)
    }
}

/// What goes wrong where an import is to replace everything.
pub enum Replacing {
    /// Quotas and meta stay.
    Entries,
    /// Meta values are compared.
    Compared,
    /// The store's own meta is lost.
    OwnMeta,
    /// Nothing happens without entries.
    NothingByNothing,
    /// Ids begin anew, in the SQLite file at this path.
    Anew(PathBuf),
}

/// Replaces everything in another way.
pub struct Replaces {
    how: Replacing,
    replacing: bool,
    entries: usize,
    lost: bool,
}

impl Replaces {
    /// In this way.
    pub fn by(how: Replacing) -> Self {
        Replaces {
            how,
            replacing: false,
            entries: 0,
            lost: false,
        }
    }
}

impl Fault for Replaces {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        self.replacing = mode == ImportMode::Replace;
        self.entries = 0;
        match self.how {
            Replacing::Entries if self.replacing => store.begin_import(ImportMode::Merge),
            _ => store.begin_import(mode),
        }
    }

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        self.entries += entries.len();
        store.write_import(entries)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        if !self.replacing {
            return store.commit_import(quotas, meta);
        }
        match &self.how {
            Replacing::Entries => {
                store.clear_namespace(None)?;
            }
            Replacing::Compared => {
                for change in meta {
                    if store.read_meta(&change.key)? != change.expected {
                        return Ok(false);
                    }
                }
            }
            Replacing::OwnMeta => self.lost = true,
            Replacing::NothingByNothing if self.entries == 0 => {
                store.end_import()?;
                return Ok(true);
            }
            Replacing::NothingByNothing => {}
            Replacing::Anew(path) => {
                store.clear_namespace(None)?;
                execute(path, "DELETE FROM sqlite_sequence WHERE name = 'entries'");
            }
        }
        store.commit_import(quotas, meta)
    }

    fn read_meta(&mut self, store: &mut Sound, key: &str) -> Result<Option<String>> {
        let value = store.read_meta(key)?;
        Ok(value.filter(|_| !self.lost || key != "embedder_fingerprint"))
    }
}

/// What of the time since the beginning of an import its commit undoes.
#[derive(PartialEq, Eq)]
pub enum Undone {
    /// Entries inserted meanwhile are deleted.
    Inserts,
    /// Entries deleted meanwhile are there again.
    Deletes,
    /// Entries that are there are as they were.
    Touches,
    /// What the import itself does about entries inserted meanwhile.
    Import,
}

/// Sets something back to where it was when the import began, or not where it should.
pub struct SetsBack {
    undone: Undone,
    before: Vec<Entry>,
}

impl SetsBack {
    /// This.
    pub fn of(undone: Undone) -> Self {
        SetsBack {
            undone,
            before: Vec::new(),
        }
    }

    fn before(&self, id: u64) -> Option<&Entry> {
        self.before.iter().find(|entry| entry.id == id)
    }
}

impl Fault for SetsBack {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        store.begin_import(mode)?;
        self.before = all(store)?;
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let now = all(store)?;
        let (known, new): (Vec<_>, Vec<_>) = now
            .into_iter()
            .partition(|entry| self.before(entry.id).is_some());
        let gone = |entry: &Entry| known.iter().all(|other| other.id != entry.id);
        match self.undone {
            Undone::Inserts => {
                for entry in &new {
                    store.delete_by_id(entry.id)?;
                }
            }
            Undone::Deletes => {
                store.insert(self.before.iter().filter(|e| gone(e)).cloned().collect())?;
            }
            Undone::Touches => {
                store.insert(self.before.iter().filter(|e| !gone(e)).cloned().collect())?;
            }
            Undone::Import => {}
        }
        let done = store.commit_import(quotas, meta)?;
        if done && self.undone == Undone::Import {
            store.insert(new)?;
        }
        Ok(done)
    }
}

/// Compares meta values to those that were there when the import began.
#[derive(Default)]
pub struct ComparesEarly {
    meta: Vec<(String, String)>,
}

impl Fault for ComparesEarly {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        store.begin_import(mode)?;
        self.meta = store.list_meta()?;
        Ok(())
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let mut meta = meta.to_vec();
        for change in &mut meta {
            let early = self.meta.iter().find(|(key, _)| *key == change.key);
            if early.map(|(_, value)| value) == change.expected.as_ref() {
                change.expected = store.read_meta(&change.key)?;
            }
        }
        store.commit_import(quotas, &meta)
    }
}
