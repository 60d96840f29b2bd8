//! Faults of imports.

use super::entries::{cut_at_64k, each_text};
use super::ids::{begin_ids_anew, renumber};
use super::reads::dim;
use super::{Fault, Known, Sound, all, cut_at_nul, key, memory, same_key, same_pair, sqlite};
use crate::sqlite::execute;
use mneme::store::{Entry, EntryKey, ImportMode, MetaChange, Result, StoreError};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// What a fault remembers of imports.
#[derive(Default)]
pub struct Staged {
    /// How the import under way was begun.
    pub begun: Option<ImportMode>,
    /// The entries that it was given.
    pub entries: Vec<Entry>,
    /// Those of the imports before it that were committed.
    pub committed: Vec<Entry>,
}

impl Staged {
    fn forget(&mut self) {
        self.begun = None;
        self.entries.clear();
    }

    /// Writes what is under way to a new import.
    fn write(&self, store: &mut Sound) -> Result<()> {
        let Some(mode) = self.begun else {
            return Ok(());
        };
        store.begin_import(mode)?;
        write_all(store, &self.entries)
    }
}

/// Writes any number of entries.
fn write_all(store: &mut Sound, entries: &[Entry]) -> Result<()> {
    let most = store.capabilities().max_batch as usize;
    let mut lists = entries.chunks(most);
    lists.try_for_each(|list| store.write_import(list.to_vec()))
}

/// What was imported, for faults that treat it otherwise.
#[derive(Default)]
struct Imported {
    keys: Vec<EntryKey>,
    ids: BTreeSet<u64>,
    /// The SQLite file that forgets it when the store is dropped.
    forgets: Option<PathBuf>,
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

/// What of the time since the beginning of an import its commit undoes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Undone {
    /// Entries inserted meanwhile are deleted.
    Inserts,
    /// Entries deleted meanwhile are there again.
    Deletes,
    /// Entries that are there are as they were.
    Touches,
    /// What the import itself does about entries inserted meanwhile.
    Import,
}

impl Fault {
    /// Remembers the import under way, and what was committed.
    pub(super) fn staging(self) -> Fault<Staged> {
        self.keeping::<Staged>()
            .begin_import(|store, mode| {
                store.kept.forget();
                store.begin_import(mode)?;
                store.kept.begun = Some(mode);
                Ok(())
            })
            .write_import(|store, entries| {
                store.write_import(entries.clone())?;
                store.kept.entries.extend(entries);
                Ok(())
            })
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                if done {
                    store.kept.committed.append(&mut store.kept.entries);
                    store.kept.forget();
                }
                Ok(done)
            })
            .end_import(|store| {
                store.kept.forget();
                store.end_import()
            })
    }

    /// Remembers the ids of what was imported.
    fn knowing_imported(self) -> Fault<Imported> {
        self.keeping::<Imported>()
            .write_import(|store, entries| {
                store.kept.keys.extend(entries.iter().map(key));
                store.write_import(entries)
            })
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                let found = store.sound.get_by_hash(&store.kept.keys)?;
                let ids = found.into_iter().flatten().map(|entry| entry.id);
                store.kept.ids.extend(ids);
                Ok(done)
            })
    }

    /// Begins an import with another mode than the one that is asked for.
    fn begins_as(self, asked: ImportMode, taken: ImportMode) -> Self {
        self.begin_import(move |store, mode| {
            store.begin_import(if mode == asked { taken } else { mode })
        })
    }

    /// Looks for entries at the beginning only, where the store should be empty.
    fn empty_at_first(self) -> Self {
        self.begin_import(|store, mode| {
            store.begin_import(mode)?;
            match mode {
                ImportMode::Empty => store.begin_import(ImportMode::Merge),
                _ => store.begin_import(mode),
            }
        })
    }

    /// Stores entries as soon as they are written.
    fn writes_at_once(self) -> Self {
        self.write_import(|store, entries| store.insert(entries).map(drop))
    }

    /// Changes entries on their way into an import.
    fn imports(self, change: fn(&mut [Entry])) -> Self {
        self.write_import(move |store, mut entries| {
            change(&mut entries);
            store.write_import(entries)
        })
    }

    /// Changes what is expected of meta values.
    fn expects(self, change: fn(&mut Sound, &mut MetaChange) -> Result<()>) -> Self {
        self.commit_import(move |store, quotas, meta| {
            let mut meta = meta.to_vec();
            for item in &mut meta {
                change(store.sound, item)?;
            }
            store.commit_import(quotas, &meta)
        })
    }

    /// Sets something back to where it was when the import began, or not where it should.
    fn sets_back(self, undone: Undone) -> Fault<Vec<Entry>> {
        self.keeping::<Vec<Entry>>()
            .begin_import(|store, mode| {
                store.begin_import(mode)?;
                *store.kept = all(store.sound)?;
                Ok(())
            })
            .commit_import(move |store, quotas, meta| {
                let among = |entries: &[Entry], id| entries.iter().any(|entry| entry.id == id);
                let now = all(store.sound)?;
                let before = store.kept.clone();
                match undone {
                    Undone::Inserts => {
                        for entry in now.iter().filter(|entry| !among(&before, entry.id)) {
                            store.delete_by_id(entry.id)?;
                        }
                    }
                    Undone::Deletes => {
                        let gone = before.into_iter().filter(|entry| !among(&now, entry.id));
                        store.insert(gone.collect())?;
                    }
                    Undone::Touches => {
                        let there = before.into_iter().filter(|entry| among(&now, entry.id));
                        store.insert(there.collect())?;
                    }
                    Undone::Import => {
                        let done = store.commit_import(quotas, meta)?;
                        if done {
                            let new = now.into_iter().filter(|entry| !among(&before, entry.id));
                            store.insert(new.collect())?;
                        }
                        return Ok(done);
                    }
                }
                store.commit_import(quotas, meta)
            })
    }
}

/// Of what is there after an import.
pub fn results() -> Vec<Known> {
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
                        && store.get_by_ids(&[given.id])?.is_empty()
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

/// Of the steps of an import, and what happens between them.
pub fn steps() -> Vec<Known> {
    faults![
        memory("an import is seen as it is written")
            .caught_by("an-import-is-not-seen-before-commit")
            .writes_at_once(),
        memory("write-import begins an import")
            .caught_by("writing-needs-an-import")
            .write_import(|store, entries| match store.write_import(entries.clone()) {
                Err(StoreError::InvalidArgument(_)) => {
                    store.begin_import(ImportMode::Merge)?;
                    store.write_import(entries)
                }
                result => result,
            }),
        memory("commit-import succeeds where there is none")
            .caught_by("committing-needs-an-import")
            .commit_import(
                |store, quotas, meta| match store.commit_import(quotas, meta) {
                    Err(StoreError::InvalidArgument(_)) => Ok(true),
                    result => result,
                }
            ),
        memory("end-import fails where there is none")
            .caught_by("ending-no-import-is-allowed")
            .end_import(|store| {
                store.write_import(Vec::new())?;
                store.end_import()
            }),
        memory("end-import ends nothing")
            .caught_by("an-ended-import-is-forgotten")
            .end_import(|_| Ok(())),
        memory("a second begin-import goes on with the first")
            .caught_by("a-new-import-forgets-the-one-before")
            .begin_import(|store, mode| match store.write_import(Vec::new()) {
                Ok(()) => Ok(()),
                Err(_) => store.begin_import(mode),
            }),
        memory("an import goes on after close and open")
            .caught_by("an-import-does-not-outlive-close")
            .staging()
            .open(|store, fingerprint, dim| {
                store.open(fingerprint, dim)?;
                store.kept.write(store.sound)
            }),
        memory("a committed import goes on")
            .caught_by("a-committed-import-is-over")
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                if done {
                    store.begin_import(ImportMode::Merge)?;
                }
                Ok(done)
            }),
        memory("a commit deletes what was inserted meanwhile")
            .caught_by("writes-during-an-import-stay")
            .sets_back(Undone::Inserts),
        memory("a commit brings back what was deleted meanwhile")
            .caught_by("deletes-during-an-import-stay")
            .sets_back(Undone::Deletes),
        memory("a commit takes back what was touched meanwhile")
            .caught_by("touches-during-an-import-stay")
            .sets_back(Undone::Touches),
        memory("a commit leaves what was inserted meanwhile")
            .caught_by("an-entry-inserted-during-an-import-is-replaced")
            .sets_back(Undone::Import),
    ]
}

/// Of what an import refuses.
pub fn errors() -> Vec<Known> {
    faults![
        memory("of two entries of one list the last is imported")
            .caught_by("a-pair-twice-in-a-list-ends-an-import")
            .write_import(|store, entries| {
                let mut last: Vec<Entry> = Vec::with_capacity(entries.len());
                for entry in entries {
                    last.retain(|other| !same_pair(other, &entry));
                    last.push(entry);
                }
                store.write_import(last)
            }),
        memory("of two entries of an import the first is imported")
            .caught_by("a-pair-twice-in-an-import-ends-it")
            .staging()
            .write_import(|store, mut entries| {
                let known = &store.kept.entries;
                entries.retain(|entry| !known.iter().any(|other| same_pair(other, entry)));
                store.write_import(entries.clone())?;
                store.kept.entries.extend(entries);
                Ok(())
            }),
        memory("wrong vectors are left out of an import")
            .caught_by("a-wrong-vector-ends-an-import")
            .write_import(|store, mut entries| {
                let dim = store.read_meta("embedder_dim")?;
                entries.retain(|entry| dim.as_deref() == Some(&entry.embedding.len().to_string()));
                store.write_import(entries)
            }),
        memory("too long a list is imported in parts")
            .caught_by("too-long-a-list-ends-an-import")
            .write_import(|store, entries| match entries.is_empty() {
                true => store.write_import(entries),
                false => write_all(store.sound, &entries),
            }),
        memory("an import goes on after an error")
            .caught_by("a-failed-import-leaves-what-was-there")
            .staging()
            .write_import(|store, entries| {
                let written = store.write_import(entries.clone());
                match written {
                    Ok(()) => store.kept.entries.extend(entries),
                    Err(_) => store.kept.write(store.sound)?,
                }
                written
            }),
    ]
}

/// Of quotas and meta that come with an import.
pub fn settings() -> Vec<Known> {
    faults![
        memory("an import loses its quotas")
            .caught_by("an-import-sets-quotas")
            .commit_import(|store, _, meta| store.commit_import(&[], meta)),
        memory("an import loses its meta")
            .caught_by("an-import-sets-meta")
            .commit_import(|store, quotas, _| store.commit_import(quotas, &[])),
        memory("namespaces of imported quotas end at U+0000")
            .caught_by("odd-settings-are-imported")
            .commit_import(|store, quotas, meta| {
                let mut quotas = quotas.to_vec();
                quotas
                    .iter_mut()
                    .for_each(|(name, _)| *name = cut_at_nul(name));
                store.commit_import(&quotas, meta)
            }),
        memory("an import is refused by a quota")
            .caught_by("quotas-limit-no-import")
            .write_import(|store, entries| {
                for entry in &entries {
                    let quota = store.get_namespace_quota(&entry.namespace)?;
                    let asked = entries.iter().filter(|e| e.namespace == entry.namespace);
                    if quota.is_some_and(|quota| asked.count() as u64 > quota) {
                        return Err(StoreError::QuotaExceeded("the namespace is full".into()));
                    }
                }
                store.write_import(entries)
            }),
        memory("an import sets meta whatever is there")
            .caught_by("unexpected-meta-is-false")
            .expects(|store, change| {
                change.expected = store.read_meta(&change.key)?;
                Ok(())
            }),
        memory("an import compares meta without case")
            .caught_by("expected-meta-is-compared-exactly")
            .expects(|store, change| {
                let lower = |value: &Option<String>| value.as_deref().map(str::to_lowercase);
                let present = store.read_meta(&change.key)?;
                if lower(&present) == lower(&change.expected) {
                    change.expected = present;
                }
                Ok(())
            }),
        memory("an import is over where meta is unexpected")
            .caught_by("a-refused-import-can-be-committed")
            .commit_import(|store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                if !done {
                    store.end_import()?;
                }
                Ok(done)
            }),
        memory("an import passes over the store's own meta")
            .caught_by("an-import-sets-none-of-the-stores-own-meta")
            .commit_import(|store, quotas, meta| {
                let own = ["schema_version", "embedder_fingerprint", "embedder_dim"];
                let mut meta = meta.to_vec();
                meta.retain(|change| !own.contains(&change.key.as_str()));
                store.commit_import(quotas, &meta)
            }),
    ]
}

/// Of what an import does about data that is there.
pub fn modes() -> Vec<Known> {
    faults![
        memory("an import into an empty store removes what is beside entries")
            .caught_by("an-empty-store-takes-an-import")
            .begins_as(ImportMode::Empty, ImportMode::Replace),
        memory("an import into an empty store is begun among entries")
            .caught_by("entries-refuse-an-empty-import")
            .begin_import(|store, mode| match store.begin_import(mode) {
                Err(StoreError::Checkpoint(_)) => store.begin_import(ImportMode::Merge),
                result => result,
            }),
        memory("an import into an empty store is committed among entries")
            .caught_by("an-entry-inserted-meanwhile-refuses-an-empty-import")
            .empty_at_first(),
        memory("an import into an empty store lets nothing be written")
            .caught_by("an-entry-gone-again-refuses-no-import")
            .keeping::<Option<u64>>()
            .begin_import(|store, mode| {
                store.begin_import(mode)?;
                let version = store.read_version_counter()?;
                *store.kept = (mode == ImportMode::Empty).then_some(version);
                Ok(())
            })
            .commit_import(|store, quotas, meta| {
                let version = store.read_version_counter()?;
                if store.kept.is_some_and(|before| before != version) {
                    store.end_import()?;
                    return Err(StoreError::Checkpoint("the store was written to".into()));
                }
                store.commit_import(quotas, meta)
            }),
        memory("an import that replaces everything replaces nothing")
            .caught_by("a-replacing-import-leaves-no-other-entry")
            .begins_as(ImportMode::Replace, ImportMode::Merge),
        memory("an import that replaces everything leaves quotas")
            .caught_by("a-replacing-import-leaves-no-other-setting")
            .keeping::<bool>()
            .begin_import(|store, mode| {
                *store.kept = mode == ImportMode::Replace;
                let merging = store.kept.then_some(ImportMode::Merge);
                store.begin_import(merging.unwrap_or(mode))
            })
            .commit_import(|store, quotas, meta| {
                if *store.kept {
                    store.clear_namespace(None)?;
                }
                store.commit_import(quotas, meta)
            }),
        memory("an import that replaces everything removes the embedder")
            .caught_by("a-replacing-import-leaves-the-stores-own-meta")
            .keeping::<(bool, bool)>()
            .begin_import(|store, mode| {
                store.kept.0 = mode == ImportMode::Replace;
                store.begin_import(mode)
            })
            .commit_import(|store, quotas, meta| {
                let (replacing, lost) = &mut *store.kept;
                *lost |= *replacing;
                store.commit_import(quotas, meta)
            })
            .read_meta(|store, key| {
                let value = store.read_meta(key)?;
                let (_, lost) = *store.kept;
                Ok(value.filter(|_| !lost || key != "embedder_fingerprint"))
            }),
        memory("an import that replaces everything compares meta")
            .caught_by("a-replacing-import-compares-no-meta")
            .staging()
            .commit_import(|store, quotas, meta| {
                if store.kept.begun == Some(ImportMode::Replace) {
                    for change in meta {
                        if store.read_meta(&change.key)? != change.expected {
                            return Ok(false);
                        }
                    }
                }
                store.commit_import(quotas, meta)
            }),
        memory("an import that replaces everything clears at once")
            .caught_by("a-replacing-import-does-nothing-before-commit")
            .begin_import(|store, mode| {
                if mode == ImportMode::Replace {
                    store.clear_namespace(None)?;
                }
                store.begin_import(mode)
            }),
        sqlite("an import that replaces everything begins ids anew")
            .caught_by("a-replacing-import-reuses-no-ids")
            .staging()
            .commit_import(|store, quotas, meta| {
                if store.kept.begun == Some(ImportMode::Replace) {
                    store.clear_namespace(None)?;
                    begin_ids_anew(store.path);
                }
                store.commit_import(quotas, meta)
            }),
        memory("an import that replaces everything leaves what came meanwhile")
            .caught_by("a-replacing-import-deletes-what-came-meanwhile")
            .sets_back(Undone::Import),
        memory("an import that replaces everything by nothing does nothing")
            .caught_by("a-replacing-import-of-nothing-leaves-nothing")
            .staging()
            .commit_import(|store, quotas, meta| {
                let Staged { begun, entries, .. } = &*store.kept;
                if *begun == Some(ImportMode::Replace) && entries.is_empty() {
                    store.end_import()?;
                    return Ok(true);
                }
                store.commit_import(quotas, meta)
            }),
    ]
}

/// Of imports and other stores, and later ones.
pub fn between_stores() -> Vec<Known> {
    let stage: Arc<Mutex<Vec<Entry>>> = Arc::default();
    let stage_of_all = Arc::clone(&stage);
    faults![
        sqlite("an import is gone with its store")
            .caught_by("a-committed-import-is-durable")
            .knowing_imported()
            .begin_import(|store, mode| {
                store.kept.forgets = Some(store.path.to_owned());
                store.begin_import(mode)
            }),
        sqlite("an import that is not committed is kept")
            .caught_by("an-import-does-not-outlive-its-store")
            .writes_at_once(),
        sqlite("an import is seen beside as it is written")
            .caught_by("an-import-is-seen-beside-once-committed")
            .writes_at_once(),
        sqlite("a commit deletes what was inserted beside")
            .caught_by("writes-beside-an-import-stay")
            .sets_back(Undone::Inserts),
        sqlite("an import into an empty store is committed among entries of another")
            .caught_by("an-entry-inserted-beside-refuses-an-empty-import")
            .empty_at_first(),
        sqlite("an import compares the meta of its beginning")
            .caught_by("meta-of-an-import-is-compared-across-stores")
            .keeping::<Vec<(String, String)>>()
            .begin_import(|store, mode| {
                store.begin_import(mode)?;
                *store.kept = store.sound.list_meta()?;
                Ok(())
            })
            .commit_import(|store, quotas, meta| {
                let mut meta = meta.to_vec();
                for change in &mut meta {
                    let early = store.kept.iter().find(|(key, _)| *key == change.key);
                    if early.map(|(_, value)| value) == change.expected.as_ref() {
                        change.expected = store.sound.read_meta(&change.key)?;
                    }
                }
                store.commit_import(quotas, &meta)
            }),
        sqlite("the imports of two stores are one")
            .caught_by("imports-of-two-stores-are-apart")
            .write_import(move |store, entries| {
                store.write_import(entries.clone())?;
                let mut stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
                stage.retain(|old| !entries.iter().any(|entry| same_pair(entry, old)));
                stage.extend(entries);
                Ok(())
            })
            .commit_import(move |store, quotas, meta| {
                let mut stage = stage_of_all.lock().unwrap_or_else(PoisonError::into_inner);
                store.begin_import(ImportMode::Merge)?;
                write_all(store.sound, &stage)?;
                stage.clear();
                store.commit_import(quotas, meta)
            }),
        sqlite("an import that is killed is kept")
            .caught_by("nothing-of-a-killed-import-is-there")
            .writes_at_once(),
        // A crash leaves some of them.
        sqlite("an import is committed one by one")
            .caught_by("imports-are-whole-after-a-kill")
            .staging()
            .write_import(|store, entries| {
                store.kept.entries.extend(entries);
                Ok(())
            })
            .commit_import(|store, quotas, meta| {
                for entry in std::mem::take(&mut store.kept.entries) {
                    store.insert(vec![entry])?;
                }
                store.commit_import(quotas, meta)
            }),
    ]
}
