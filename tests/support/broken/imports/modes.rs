//! Faults of what an import does about data that is there.

use super::Staged;
use crate::broken::ids::restart_ids;
use crate::broken::{Known, memory, sqlite};
use mneme::store::{ImportMode, StoreError};

pub fn faults() -> Vec<Known> {
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
        sqlite("an import that replaces everything restarts the ids")
            .caught_by("a-replacing-import-reuses-no-ids")
            .staging()
            .commit_import(|store, quotas, meta| {
                if store.kept.begun == Some(ImportMode::Replace) {
                    store.clear_namespace(None)?;
                    restart_ids(store.path);
                }
                store.commit_import(quotas, meta)
            }),
        memory("an import that replaces everything leaves what came meanwhile")
            .caught_by("a-replacing-import-deletes-what-came-meanwhile")
            .leaves_inserted_meanwhile(),
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
