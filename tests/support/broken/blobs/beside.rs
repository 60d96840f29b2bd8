//! Faults of blobs beside everything else: entries, meta, imports, restores, other handles.

use crate::broken::{Fault, Known, Sound, memory, sqlite};
use mneme::store::{ImportMode, Result, StoreError};
use std::collections::BTreeMap;

/// Loses all blobs.
fn lose(store: &mut Sound) -> Result<()> {
    let names = store.list_blobs()?;
    store.delete_blobs(&names)
}

impl Fault {
    /// Loses all blobs by committing an import of a mode.
    fn loses_by_import(self, lost: ImportMode) -> Fault<Option<ImportMode>> {
        self.keeping::<Option<ImportMode>>()
            .begin_import(|store, mode| {
                *store.kept = Some(mode);
                store.begin_import(mode)
            })
            .commit_import(move |store, quotas, meta| {
                let done = store.commit_import(quotas, meta)?;
                if done && *store.kept == Some(lost) {
                    lose(store.sound)?;
                }
                Ok(done)
            })
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("writing a blob moves the counter")
            .caught_by("blobs-move-no-counter")
            .keeping::<u64>()
            .write_blob(|store, name, bytes| {
                store.write_blob(name, bytes)?;
                *store.kept += 1;
                Ok(())
            })
            .read_version_counter(|store| Ok(store.read_version_counter()? + *store.kept)),
        memory("blobs are counted")
            .caught_by("blobs-are-no-entries")
            .count(|store, namespace| {
                let entries = store.count(namespace)?;
                let blobs = store.list_blobs()?.len() as u64;
                Ok(namespace.map_or(entries + blobs, |_| entries))
            }),
        memory("blobs are read as meta")
            .caught_by("blobs-and-meta-are-apart")
            .read_meta(|store, key| {
                if let Some(value) = store.read_meta(key)? {
                    return Ok(Some(value));
                }
                match store.read_blob(key) {
                    Err(StoreError::InvalidArgument(_)) => Ok(None),
                    bytes => Ok(bytes?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
                }
            }),
        memory("blobs are listed as meta")
            .caught_by("blobs-and-meta-are-apart")
            .list_meta(|store| {
                let mut listed = store.list_meta()?;
                let names = store.list_blobs()?;
                listed.extend(names.into_iter().map(|name| (name, String::new())));
                listed.sort();
                Ok(listed)
            }),
        memory("a meta value takes the blob of its name along")
            .caught_by("blobs-and-meta-are-apart")
            .replace_meta(|store, key, expected, value| {
                let done = store.replace_meta(key, expected, value)?;
                if done && value.is_none() {
                    store.delete_blobs(&[key.to_owned()])?;
                }
                Ok(done)
            }),
        memory("a blob takes the meta value of its name along")
            .caught_by("blobs-and-meta-are-apart")
            .delete_blobs(|store, names| {
                store.delete_blobs(names)?;
                for name in names {
                    let present = store.read_meta(name)?;
                    store.replace_meta(name, present.as_deref(), None)?;
                }
                Ok(())
            }),
        memory("deleting an entry loses the blobs")
            .caught_by("deletes-of-entries-leave-blobs")
            .delete_by_id(|store, id| {
                let deleted = store.delete_by_id(id)?;
                lose(store.sound)?;
                Ok(deleted)
            }),
        memory("expiry loses the blobs")
            .caught_by("deletes-of-entries-leave-blobs")
            .delete_expired(|store, now, namespace, limit| {
                let deleted = store.delete_expired(now, namespace, limit)?;
                lose(store.sound)?;
                Ok(deleted)
            }),
        memory("clearing a namespace loses the blobs")
            .caught_by("deletes-of-entries-leave-blobs")
            .clear_namespace(|store, namespace| {
                let cleared = store.clear_namespace(namespace)?;
                if namespace.is_some() {
                    lose(store.sound)?;
                }
                Ok(cleared)
            }),
        memory("clearing all loses the blobs")
            .caught_by("clearing-all-leaves-blobs")
            .clear_namespace(|store, namespace| {
                let cleared = store.clear_namespace(namespace)?;
                if namespace.is_none() {
                    lose(store.sound)?;
                }
                Ok(cleared)
            }),
        memory("an import loses the blobs")
            .caught_by("an-import-leaves-blobs")
            .loses_by_import(ImportMode::Merge),
        memory("an import into an empty store loses the blobs")
            .caught_by("an-import-into-an-empty-store-leaves-blobs")
            .loses_by_import(ImportMode::Empty),
        memory("a replacing import loses the blobs")
            .caught_by("a-replacing-import-leaves-blobs")
            .loses_by_import(ImportMode::Replace),
        memory("end-import loses the blobs")
            .caught_by("an-ended-import-leaves-blobs")
            .end_import(|store| {
                store.end_import()?;
                lose(store.sound)
            }),
        memory("a store with blobs is not empty")
            .caught_by("an-import-into-an-empty-store-leaves-blobs")
            .begin_import(|store, mode| {
                if mode == ImportMode::Empty && !store.list_blobs()?.is_empty() {
                    return Err(StoreError::Checkpoint("the store is not empty".into()));
                }
                store.begin_import(mode)
            }),
        memory("a view loses the blobs")
            .caught_by("a-view-shows-blobs")
            .begin_view(|store| {
                let able = store.begin_view()?;
                lose(store.sound)?;
                Ok(able)
            }),
        memory("close loses the blobs")
            .caught_by("blobs-survive-close-and-open")
            .close(|store| {
                if store.read_version_counter().is_ok() {
                    lose(store.sound)?;
                }
                store.close()
            }),
        sqlite("blobs are not kept")
            .caught_by("blobs-survive-a-drop")
            .keeping::<BTreeMap<String, Vec<u8>>>()
            .read_blob(|store, name| {
                store.read_blob(name)?;
                Ok(store.kept.get(name).cloned())
            })
            .write_blob(|store, name, bytes| {
                store.write_blob(name, bytes.clone())?;
                store.delete_blobs(&[name.to_owned()])?;
                store.kept.insert(name.to_owned(), bytes);
                Ok(())
            })
            .delete_blobs(|store, names| {
                store.delete_blobs(names)?;
                store.kept.retain(|name, _| !names.contains(name));
                Ok(())
            })
            .list_blobs(|store| {
                store.list_blobs()?;
                Ok(store.kept.keys().cloned().collect())
            }),
        sqlite("a second store sees the blobs that it read before")
            .caught_by("blobs-are-seen-by-another-store")
            .keeping::<BTreeMap<String, Option<Vec<u8>>>>()
            .read_blob(|store, name| {
                let found = store.read_blob(name)?;
                Ok(store.kept.entry(name.to_owned()).or_insert(found).clone())
            })
            .write_blob(|store, name, bytes| {
                store.write_blob(name, bytes.clone())?;
                store.kept.insert(name.to_owned(), Some(bytes));
                Ok(())
            })
            .delete_blobs(|store, names| {
                store.delete_blobs(names)?;
                store.kept.retain(|name, _| !names.contains(name));
                Ok(())
            }),
        sqlite("a restore leaves blobs as they were")
            .caught_by("a-restore-makes-no-blob-up")
            .commit_restore(|store, only_if_empty| {
                let mut before = Vec::new();
                for name in store.list_blobs()? {
                    before.push((store.read_blob(&name)?, name));
                }
                store.commit_restore(only_if_empty)?;
                for (bytes, name) in before {
                    store.write_blob(&name, bytes.unwrap_or_default())?;
                }
                Ok(())
            }),
    ]
}
