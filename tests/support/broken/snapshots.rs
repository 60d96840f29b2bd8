//! Faults of snapshots, and of restores that are checked. On stores that have them.

use super::opening::forget_quotas;
use super::{Known, changed, sqlite};
use mneme::store::{Restored, StoreError};

/// What is in a snapshot without anything.
fn nothing() -> Restored {
    Restored {
        entries: 0,
        quotas: Vec::new(),
        meta: Vec::new(),
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        sqlite("a restore sets the counter back")
            .caught_by("a-restore-moves-the-counter-on")
            .keeping::<u64>()
            .commit_restore(|store, only_if_empty| {
                store.commit_restore(only_if_empty)?;
                *store.kept = store.sound.read_version_counter()?;
                Ok(())
            })
            .read_version_counter(|store| {
                Ok(store.read_version_counter()?.saturating_sub(*store.kept))
            }),
        sqlite("a restore does not move the counter")
            .caught_by("a-restore-moves-the-counter-on")
            .keeping::<u64>()
            .commit_restore(|store, only_if_empty| {
                let before = store.read_version_counter()?;
                store.commit_restore(only_if_empty)?;
                *store.kept += store.sound.read_version_counter()? - before;
                Ok(())
            })
            .read_version_counter(|store| Ok(store.read_version_counter()? - *store.kept)),
        sqlite("the size of a snapshot is not its size")
            .caught_by("a-snapshot-has-the-size-it-names")
            .begin_snapshot(|store| store.begin_snapshot().map(|size| size + 1)),
        sqlite("a snapshot is read in pieces that are too large")
            .caught_by("reads-of-a-snapshot-respect-their-maximum")
            .read_snapshot(|store, max| store.read_snapshot(max.saturating_mul(2))),
        sqlite("a restore loses the quotas")
            .caught_by("a-restore-brings-everything-back")
            .commit_restore(|store, only_if_empty| {
                store.commit_restore(only_if_empty)?;
                forget_quotas(store.sound)
            }),
        sqlite("a restore passes over damage")
            .caught_by("garbage-is-not-restored")
            .commit_restore(
                |store, only_if_empty| match store.commit_restore(only_if_empty) {
                    Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => Ok(()),
                    result => result,
                }
            ),
        sqlite("a restore empties the store before it is done")
            .caught_by("data-is-served-until-commit")
            .begin_restore(|store| {
                store.begin_restore()?;
                store.clear_namespace(None).map(drop)
            }),
        sqlite("a restore does nothing")
            .caught_by("a-restore-brings-everything-back")
            .commit_restore(|_, _| Ok(())),
    ]
}

pub fn checked_restores() -> Vec<Known> {
    faults![
        sqlite("check-restore tells no quotas")
            .caught_by("a-checked-snapshot-says-what-it-holds")
            .check_restore(|store| changed(store.check_restore(), |held| held.quotas.clear())),
        sqlite("read-restore reads the present data")
            .caught_by("a-checked-snapshot-is-read-in-pages")
            .read_restore(|store, last_id, limit| store.iter_since(last_id, limit)),
        sqlite("check-restore ends the restore")
            .caught_by("a-checked-snapshot-is-restored")
            .check_restore(|store| {
                let held = store.check_restore()?;
                store.end_restore()?;
                Ok(held)
            }),
        sqlite("a checked restore takes more bytes")
            .caught_by("a-checked-snapshot-takes-no-more")
            .write_restore(|store, bytes| match store.write_restore(bytes) {
                Err(StoreError::InvalidArgument(_)) => Ok(()),
                result => result,
            }),
        sqlite("check-restore passes over damage")
            .caught_by("damage-is-found-by-the-check")
            .check_restore(|store| match store.check_restore() {
                Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => Ok(nothing()),
                result => result,
            }),
        sqlite("check-restore checks what is not there")
            .caught_by("checks-need-a-restore")
            .check_restore(|store| match store.check_restore() {
                Err(StoreError::InvalidArgument(_)) => Ok(nothing()),
                result => result,
            }),
        sqlite("a restore into an empty store goes ahead among entries")
            .caught_by("entries-refuse-a-restore-into-an-empty-store")
            .commit_restore(|store, _| store.commit_restore(false)),
        sqlite("a restore into an empty store is refused")
            .caught_by("an-empty-store-takes-a-restore")
            .commit_restore(|store, only_if_empty| {
                if only_if_empty {
                    store.write_restore(&[])?;
                    store.end_restore()?;
                    return Err(StoreError::Checkpoint("the store is not empty".into()));
                }
                store.commit_restore(only_if_empty)
            }),
        sqlite("end-restore ends nothing")
            .caught_by("an-ended-restore-is-forgotten")
            .end_restore(|_| Ok(())),
        sqlite("end-restore fails without a restore")
            .caught_by("ending-no-restore-is-allowed")
            .end_restore(|store| {
                store.write_restore(&[])?;
                store.end_restore()
            }),
    ]
}
