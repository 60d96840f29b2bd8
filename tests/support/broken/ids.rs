//! Faults of the ids that an insert assigns.

use super::{Fault, Sound, reference, same_key};
use crate::sqlite::execute;
use mneme::store::{Entry, EntryRef, Inserted, Result};
use std::path::{Path, PathBuf};

/// Gives an entry that is replaced a new id.
pub struct NewIdOnReplacing;

impl Fault for NewIdOnReplacing {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let mut gone = Vec::new();
        let mut replaced = Vec::new();
        for entry in &entries {
            let present = same_key(store, entry)?;
            replaced.push(present.is_some());
            gone.extend(present.map(|present| reference(&present)));
        }
        store.delete_unchanged(&gone)?;
        let inserted = store.insert(entries)?;
        let with = inserted.into_iter().zip(replaced);
        Ok(with
            .map(|(item, replaced)| Inserted {
                replaced: replaced || item.replaced,
                ..item
            })
            .collect())
    }
}

/// Uses the greatest id again after it was deleted. On SQLite only.
pub struct ReusesIds(pub PathBuf);

impl ReusesIds {
    fn forget(&self) {
        execute(
            &self.0,
            "DELETE FROM sqlite_sequence WHERE name = 'entries'",
        );
    }
}

impl Fault for ReusesIds {
    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        let deleted = store.delete_by_id(id)?;
        self.forget();
        Ok(deleted)
    }

    fn delete_unchanged(&mut self, store: &mut Sound, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let deleted = store.delete_unchanged(entries)?;
        self.forget();
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
        self.forget();
        Ok(deleted)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let deleted = store.clear_namespace(namespace)?;
        self.forget();
        Ok(deleted)
    }
}

/// Moves what was just inserted to another id. On SQLite only.
fn renumber(path: &Path, item: &mut Inserted, id: u64) {
    execute(
        path,
        &format!("UPDATE entries SET id = {id} WHERE id = {}", item.id),
    );
    item.id = id;
}

/// Gives each namespace ids of its own, those of later ones below those of earlier ones. On
/// SQLite only.
pub struct IdsByNamespace {
    path: PathBuf,
    /// The last id of each namespace.
    last: Vec<(String, u64)>,
}

impl IdsByNamespace {
    /// For the file at `path`.
    pub fn new(path: &Path) -> Self {
        IdsByNamespace {
            path: path.to_owned(),
            last: Vec::new(),
        }
    }

    fn next(&mut self, namespace: &str) -> u64 {
        let at = self.last.iter().position(|(name, _)| name == namespace);
        let at = at.unwrap_or_else(|| {
            let first = (1_000 - self.last.len() as u64) * 1_000_000;
            self.last.push((namespace.to_owned(), first));
            self.last.len() - 1
        });
        self.last[at].1 += 1;
        self.last[at].1
    }
}

impl Fault for IdsByNamespace {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let names: Vec<String> = entries
            .iter()
            .map(|entry| entry.namespace.clone())
            .collect();
        let mut inserted = store.insert(entries)?;
        for (item, name) in inserted.iter_mut().zip(names) {
            let id = self.next(&name);
            if !item.replaced && store.get_by_ids(&[id])?.is_empty() {
                renumber(&self.path, item, id);
            }
        }
        Ok(inserted)
    }
}

/// Counts ids itself, and back when an insert fails, so that the next one is told the id of
/// another entry.
#[derive(Default)]
pub struct CountsBack {
    failed: bool,
}

impl Fault for CountsBack {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let result = store.insert(entries);
        let Ok(mut inserted) = result else {
            self.failed = true;
            return result;
        };
        if std::mem::take(&mut self.failed) {
            for item in inserted.iter_mut().filter(|item| !item.replaced) {
                item.id -= 1;
            }
        }
        Ok(inserted)
    }
}

/// Stores new entries under the ids given in them. On SQLite only.
pub struct HonoursIds(pub PathBuf);

impl Fault for HonoursIds {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let given: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
        let mut inserted = store.insert(entries)?;
        for (item, given) in inserted.iter_mut().zip(given) {
            let free = given != 0 && store.get_by_ids(&[given])?.is_empty();
            if free && !item.replaced {
                renumber(&self.0, item, given);
            }
        }
        Ok(inserted)
    }
}

/// Lets ids begin at 0.
pub struct BeginsAtZero;

impl Fault for BeginsAtZero {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let mut inserted = store.insert(entries)?;
        for item in &mut inserted {
            item.id -= 1;
        }
        Ok(inserted)
    }
}

/// Says of no entry that it replaced another.
pub struct NeverReplaced;

impl Fault for NeverReplaced {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let mut inserted = store.insert(entries)?;
        for item in &mut inserted {
            item.replaced = false;
        }
        Ok(inserted)
    }
}

/// Returns the results of an insert in the reverse order.
pub struct ResultsReversed;

impl Fault for ResultsReversed {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let mut inserted = store.insert(entries)?;
        inserted.reverse();
        Ok(inserted)
    }
}
