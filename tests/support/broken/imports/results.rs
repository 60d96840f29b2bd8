//! Faults of what is there after an import.

use super::write_all;
use crate::broken::entries::{cut_at_64k, each_text};
use crate::broken::ids::renumber;
use crate::broken::reads::dim;
use crate::broken::{Fault, Known, cut_at_nul, key, memory, same_key, same_pair, sqlite};
use crate::sqlite::execute;
use mneme::store::{Entry, EntryKey, ImportMode, StoreError};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What was imported, for faults that treat it otherwise.
#[derive(Default)]
pub struct Imported {
    keys: Vec<EntryKey>,
    ids: BTreeSet<u64>,
    /// The SQLite file that forgets it when the store is dropped.
    pub forgets: Option<PathBuf>,
}

impl Drop for Imported {
    fn drop(&mut self) {
        if let Some(path) = &self.forgets {
            for id in &self.ids {
                execute(path, &format!("DELETE FROM entries WHERE id = {id}"));
            }
        }
    }
}

impl Fault {
    /// Remembers the ids of what was imported.
    pub(super) fn knowing_imported(self) -> Fault<Imported> {
        self.keeping::<Imported>()
            .write_import(|store, entries| {
                store.kept.keys.extend(entries.iter().map(key));
                store.write_import(entries)
            })
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                let found = store.sound.get_by_hash(&store.kept.keys, true)?;
                let ids = found.into_iter().flatten().map(|entry| entry.id);
                store.kept.ids.extend(ids);
                Ok(done)
            })
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("an import brings nothing")
            .caught_by("an-import-brings-its-entries")
            .commit_import(|store, _, _| {
                store.end_import()?;
                Ok(true)
            }),
        memory("an import counts accesses from 0")
            .caught_by("imported-fields-are-kept")
            .imports(|entries| entries.iter_mut().for_each(|entry| entry.access_count = 0)),
        memory("imported text ends at U+0000")
            .caught_by("odd-texts-are-imported")
            .imports(|entries| each_text(entries, cut_at_nul)),
        memory("imported text ends at 64 KiB")
            .caught_by("a-large-entry-is-imported")
            .imports(|entries| each_text(entries, cut_at_64k)),
        memory("an import has each hash once")
            .caught_by("a-hash-in-two-namespaces-is-imported")
            .staging()
            .write_import(|store, entries| {
                for entry in &entries {
                    let mut known = store.kept.entries.iter();
                    if known.any(|other| other.query_hash == entry.query_hash) {
                        store.end_import()?;
                        return Err(StoreError::Checkpoint("the hash came twice".into()));
                    }
                    store.kept.entries.push(entry.clone());
                }
                store.write_import(entries)
            }),
        memory("an import is its last list")
            .caught_by("an-import-of-many-lists-is-one")
            .staging()
            .write_import(|store, entries| {
                if let Some(mode) = store.kept.begun {
                    store.begin_import(mode)?;
                }
                store.write_import(entries)
            }),
        memory("a list is imported in the reverse order")
            .caught_by("imported-ids-grow-as-written")
            .imports(|entries| entries.reverse()),
        memory("an imported entry gets a new id")
            .caught_by("an-import-keeps-the-ids-of-known-pairs")
            .staging()
            .commit_import(|store, quotas, meta| {
                for entry in std::mem::take(&mut store.kept.entries) {
                    if let Some(old) = same_key(store.sound, &entry)? {
                        store.delete_by_id(old.id)?;
                    }
                }
                store.commit_import(quotas, meta)
            }),
        sqlite("the ids given to an import are honoured")
            .caught_by("ids-given-to-an-import-are-ignored")
            .staging()
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                // SQLite knows no greater ones.
                let known = 1..=u64::MAX / 2;
                for given in std::mem::take(&mut store.kept.entries) {
                    if let Some(entry) = same_key(store.sound, &given)?
                        && known.contains(&given.id)
                        && store.get_by_ids(&[given.id], true)?.is_empty()
                    {
                        renumber(store.path, entry.id, given.id);
                    }
                }
                Ok(done)
            }),
        sqlite("an imported entry gets the id of a deleted one")
            .caught_by("an-import-reuses-no-ids")
            .reuses_ids(),
        memory("the counter stays at an import")
            .caught_by("the-counter-moves-by-one-for-an-import")
            .miscounts("commit_import", 0),
        memory("the counter moves at an import of nothing")
            .caught_by("an-import-of-nothing-is-committed")
            .miscounts("commit_import", 1),
        memory("an import leaves the old lifetime")
            .caught_by("a-merge-replaces-in-every-field")
            .write_import(|store, mut entries| {
                for entry in &mut entries {
                    if let Some(old) = same_key(store.sound, entry)? {
                        entry.ttl = entry.ttl.or(old.ttl);
                    }
                }
                store.write_import(entries)
            }),
        memory("a merge replaces everything")
            .caught_by("a-merge-leaves-what-it-has-not")
            .begins_as(ImportMode::Merge, ImportMode::Replace),
        memory("iter-lru-ids leaves out imported entries")
            .caught_by("imported-entries-are-evicted-in-order")
            .knowing_imported()
            .iter_lru_ids(|store, n, namespace| {
                let mut found = store.iter_lru_ids(n, namespace)?;
                found.retain(|entry| !store.kept.ids.contains(&entry.id));
                Ok(found)
            }),
        memory("delete-expired leaves imported entries")
            .caught_by("imported-entries-expire")
            .knowing_imported()
            .delete_expired(|store, now, namespace, limit| {
                if !store.kept.ids.is_empty() {
                    return Ok(Vec::new());
                }
                store.delete_expired(now, namespace, limit)
            }),
        memory("iter-vectors ends at imported entries")
            .caught_by("imported-vectors-are-paged")
            .knowing_imported()
            .iter_vectors(|store, last_id, limit| {
                let mut page = store.iter_vectors(last_id, limit)?;
                let imported = page.ids.iter().position(|id| store.kept.ids.contains(id));
                if let Some(first) = imported {
                    page.vectors.truncate(first * dim(&page));
                    page.ids.truncate(first);
                    page.namespaces.truncate(first);
                    page.created_at.truncate(first);
                }
                Ok(page)
            }),
        memory("imported entries cannot be deleted")
            .caught_by("imported-entries-are-like-others")
            .knowing_imported()
            .delete_by_id(|store, id| match store.kept.ids.contains(&id) {
                true => Ok(false),
                false => store.delete_by_id(id),
            }),
        memory("an import is committed again by the next one")
            .caught_by("imports-follow-each-other")
            .staging()
            .commit_import(|store, quotas, meta| {
                let new = std::mem::take(&mut store.kept.entries);
                let is_new = |old: &Entry| new.iter().any(|entry| same_pair(entry, old));
                store.kept.committed.retain(|old| !is_new(old));
                write_all(store.sound, &store.kept.committed)?;
                store.kept.committed.extend(new);
                store.commit_import(quotas, meta)
            }),
    ]
}
