//! Faults of imports that show between stores, or in a later one.

use super::write_all;
use crate::broken::{Known, same_pair, sqlite};
use mneme::store::{Entry, ImportMode};
use std::sync::{Arc, Mutex, PoisonError};

pub fn faults() -> Vec<Known> {
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
            .deletes_inserted_meanwhile(),
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
