//! Faults of imports.

pub mod between;
pub mod modes;
pub mod results;

use super::{Fault, Known, Sound, all, cut_at_nul, memory, same_pair};
use mneme::store::{Entry, ImportMode, MetaChange, Result, StoreError};

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

/// Whether an entry with the same id is among others.
fn among(entry: &Entry, others: &[Entry]) -> bool {
    others.iter().any(|other| other.id == entry.id)
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
    pub(super) fn imports(self, change: fn(&mut [Entry])) -> Self {
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

    /// Remembers the entries that were there when an import began.
    fn knowing_beginning(self) -> Fault<Vec<Entry>> {
        self.keeping::<Vec<Entry>>().begin_import(|store, mode| {
            store.begin_import(mode)?;
            *store.kept = all(store.sound)?;
            Ok(())
        })
    }

    /// Deletes entries that were inserted since an import began, when it is committed.
    fn deletes_inserted_meanwhile(self) -> Fault<Vec<Entry>> {
        self.knowing_beginning()
            .commit_import(|store, quotas, meta| {
                for entry in all(store.sound)? {
                    if !among(&entry, store.kept) {
                        store.delete_by_id(entry.id)?;
                    }
                }
                store.commit_import(quotas, meta)
            })
    }

    /// Leaves entries that were inserted since an import began as they are.
    fn leaves_inserted_meanwhile(self) -> Fault<Vec<Entry>> {
        self.knowing_beginning()
            .commit_import(|store, quotas, meta| {
                let mut inserted = all(store.sound)?;
                inserted.retain(|entry| !among(entry, store.kept));
                let done = store.commit_import(quotas, meta)?;
                if done {
                    store.insert(inserted)?;
                }
                Ok(done)
            })
    }
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
        memory("commit-import succeeds without an import")
            .caught_by("committing-needs-an-import")
            .commit_import(
                |store, quotas, meta| match store.commit_import(quotas, meta) {
                    Err(StoreError::InvalidArgument(_)) => Ok(true),
                    result => result,
                }
            ),
        memory("end-import fails without an import")
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
            .deletes_inserted_meanwhile(),
        memory("a commit brings back what was deleted meanwhile")
            .caught_by("deletes-during-an-import-stay")
            .knowing_beginning()
            .commit_import(|store, quotas, meta| {
                let now = all(store.sound)?;
                let mut gone = store.kept.clone();
                gone.retain(|entry| !among(entry, &now));
                store.insert(gone)?;
                store.commit_import(quotas, meta)
            }),
        memory("a commit takes back what was touched meanwhile")
            .caught_by("touches-during-an-import-stay")
            .knowing_beginning()
            .commit_import(|store, quotas, meta| {
                let now = all(store.sound)?;
                let mut as_they_were = store.kept.clone();
                as_they_were.retain(|entry| among(entry, &now));
                store.insert(as_they_were)?;
                store.commit_import(quotas, meta)
            }),
        memory("a commit leaves what was inserted meanwhile")
            .caught_by("an-entry-inserted-during-an-import-is-replaced")
            .leaves_inserted_meanwhile(),
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
