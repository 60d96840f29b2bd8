//! Taking in many entries at once.

use std::collections::HashSet;

use super::Session;
use crate::{Entry, ImportMode, MetaChange, Result, checks};

/// Entries received, and not yet part of the data.
#[derive(Debug)]
pub(super) struct Import {
    mode: ImportMode,
    entries: Vec<Entry>,
    /// The namespaces and hashes of `entries`.
    keys: HashSet<(String, String)>,
}

impl Import {
    fn add(&mut self, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            let key = (entry.namespace.clone(), entry.query_hash.clone());
            if !self.keys.insert(key) {
                return Err(checks::imported_twice(&entry));
            }
            self.entries.push(entry);
        }
        Ok(())
    }
}

impl Session {
    pub fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.import = None;
        self.accept(mode)?;
        self.import = Some(Import {
            mode,
            entries: Vec::new(),
            keys: HashSet::new(),
        });
        Ok(())
    }

    pub fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        let mut import = self.import.take().ok_or_else(checks::import_not_begun)?;
        import.add(entries)?;
        self.import = Some(import);
        Ok(())
    }

    pub fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        let import = self.import.take().ok_or_else(checks::import_not_begun)?;
        self.accept(import.mode)?;
        let replace = import.mode == ImportMode::Replace;
        let expected = |change: &MetaChange| self.meta.get(&change.key) == change.expected.as_ref();
        if !replace && !meta.iter().all(expected) {
            self.import = Some(import);
            return Ok(false);
        }
        let mut changed = !import.entries.is_empty();
        if replace {
            changed |= !self.entries.is_empty();
            self.clear_entries();
            self.quotas.clear();
            self.meta.clear();
        }
        if changed {
            self.version += 1;
            self.changes.cut(self.version);
        }
        for entry in import.entries {
            self.put(entry);
        }
        self.quotas.extend(quotas.iter().cloned());
        let values = meta.iter().map(|one| (one.key.clone(), one.value.clone()));
        self.meta.extend(values);
        Ok(true)
    }

    pub fn end_import(&mut self) -> Result<()> {
        self.import = None;
        Ok(())
    }

    fn accept(&self, mode: ImportMode) -> Result<()> {
        if mode == ImportMode::Empty && !self.entries.is_empty() {
            return Err(checks::import_not_empty());
        }
        Ok(())
    }
}
