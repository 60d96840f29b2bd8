//! Faults of what is there once an import is committed.

use super::key;
use crate::broken::{Fault, Sound};
use crate::sqlite::execute;
use mneme::store::{Entry, EntryKey, EntryRef, MetaChange, Result, VectorPage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// An operation that does not know of imported entries.
#[derive(PartialEq, Eq)]
pub enum Unaware {
    /// `iter-lru-ids`
    Lru,
    /// `delete-expired`
    Expiry,
    /// `iter-vectors`
    Vectors,
    /// `delete-by-id`
    Deletes,
}

/// Does not tell one operation of what was imported.
pub struct Untold {
    who: Unaware,
    keys: Vec<EntryKey>,
    ids: BTreeSet<u64>,
}

impl Untold {
    /// This one.
    pub fn to(who: Unaware) -> Self {
        Untold {
            who,
            keys: Vec::new(),
            ids: BTreeSet::new(),
        }
    }

    fn hides(&self, who: Unaware, id: u64) -> bool {
        self.who == who && self.ids.contains(&id)
    }
}

impl Fault for Untold {
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
        let done = store.commit_import(quotas, meta)?;
        let found = store.get_by_hash(&self.keys)?;
        self.ids.extend(found.into_iter().flatten().map(|e| e.id));
        Ok(done)
    }

    fn iter_lru_ids(
        &mut self,
        store: &mut Sound,
        n: u32,
        namespace: Option<&str>,
    ) -> Result<Vec<EntryRef>> {
        let mut found = store.iter_lru_ids(n, namespace)?;
        found.retain(|entry| !self.hides(Unaware::Lru, entry.id));
        Ok(found)
    }

    fn delete_expired(
        &mut self,
        store: &mut Sound,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        if self.who == Unaware::Expiry && !self.ids.is_empty() {
            return Ok(Vec::new());
        }
        store.delete_expired(now, namespace, limit)
    }

    fn iter_vectors(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<VectorPage> {
        let mut page = store.iter_vectors(last_id, limit)?;
        let first = page
            .ids
            .iter()
            .position(|id| self.hides(Unaware::Vectors, *id));
        if let Some(first) = first {
            let dim = page.vectors.len() / page.ids.len();
            page.ids.truncate(first);
            page.namespaces.truncate(first);
            page.created_at.truncate(first);
            page.vectors.truncate(first * dim);
        }
        Ok(page)
    }

    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        if self.hides(Unaware::Deletes, id) {
            return Ok(false);
        }
        store.delete_by_id(id)
    }
}

/// Stores imported entries under the ids given in them, where these are free. On SQLite only.
pub struct HonoursIds {
    path: PathBuf,
    given: Vec<(EntryKey, u64)>,
}

impl HonoursIds {
    /// In the file at `path`.
    pub fn new(path: &Path) -> Self {
        HonoursIds {
            path: path.to_owned(),
            given: Vec::new(),
        }
    }
}

impl Fault for HonoursIds {
    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        let given = entries.iter().map(|entry| (key(entry), entry.id));
        // SQLite knows no greater ones.
        let given = given.filter(|(_, id)| (1..=u64::MAX / 2).contains(id));
        self.given.extend(given);
        store.write_import(entries)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        let done = store.commit_import(quotas, meta)?;
        for (key, id) in std::mem::take(&mut self.given) {
            let found = store.get_by_hash(&[key])?.pop().flatten();
            if let Some(entry) = found
                && store.get_by_ids(&[id])?.is_empty()
            {
                let sql = format!("UPDATE entries SET id = {id} WHERE id = {}", entry.id);
                execute(&self.path, &sql);
            }
        }
        Ok(done)
    }
}

/// Forgets what was imported when it is dropped. On SQLite only.
pub struct ForgetsWhenDropped {
    path: PathBuf,
    keys: Vec<EntryKey>,
    ids: Vec<u64>,
}

impl ForgetsWhenDropped {
    /// In the file at `path`.
    pub fn new(path: &Path) -> Self {
        ForgetsWhenDropped {
            path: path.to_owned(),
            keys: Vec::new(),
            ids: Vec::new(),
        }
    }
}

impl Fault for ForgetsWhenDropped {
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
        let done = store.commit_import(quotas, meta)?;
        let found = store.get_by_hash(&self.keys)?;
        self.ids = found.into_iter().flatten().map(|e| e.id).collect();
        Ok(done)
    }
}

impl Drop for ForgetsWhenDropped {
    fn drop(&mut self) {
        for id in &self.ids {
            let sql = format!("DELETE FROM entries WHERE id = {id}");
            execute(&self.path, &sql);
        }
    }
}
