//! Faults of snapshots. On stores that have them.

use super::{Fault, Sound};
use mneme::store::{Result, StoreError};

/// The version counter begins anew when a snapshot is restored.
#[derive(Default)]
pub struct LosesCounter {
    lost: u64,
}

impl Fault for LosesCounter {
    fn commit_restore(&mut self, store: &mut Sound, only_if_empty: bool) -> Result<()> {
        store.commit_restore(only_if_empty)?;
        self.lost = store.read_version_counter()?;
        Ok(())
    }

    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        Ok(store.read_version_counter()?.saturating_sub(self.lost))
    }
}

/// The version counter stays where it was when a snapshot is restored.
#[derive(Default)]
pub struct KeepsCounter {
    ahead: u64,
}

impl Fault for KeepsCounter {
    fn commit_restore(&mut self, store: &mut Sound, only_if_empty: bool) -> Result<()> {
        let before = store.read_version_counter()?;
        store.commit_restore(only_if_empty)?;
        self.ahead += store.read_version_counter()? - before;
        Ok(())
    }

    fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
        Ok(store.read_version_counter()? - self.ahead)
    }
}

/// Changes a step of taking a snapshot or of restoring one.
pub struct Steps {
    /// Instead of beginning a snapshot.
    pub begin: fn(&mut Sound) -> Result<u64>,
    /// Instead of reading it.
    pub read: fn(&mut Sound, u32) -> Result<Vec<u8>>,
    /// Instead of beginning to restore one.
    pub restore: fn(&mut Sound) -> Result<()>,
    /// Instead of ending to restore one.
    pub commit: fn(&mut Sound, bool) -> Result<()>,
}

/// The sound steps.
pub const SOUND: Steps = Steps {
    begin: |store| store.begin_snapshot(),
    read: |store, max| store.read_snapshot(max),
    restore: |store| store.begin_restore(),
    commit: |store, only_if_empty| store.commit_restore(only_if_empty),
};

impl Fault for Steps {
    fn begin_snapshot(&mut self, store: &mut Sound) -> Result<u64> {
        (self.begin)(store)
    }

    fn read_snapshot(&mut self, store: &mut Sound, max: u32) -> Result<Vec<u8>> {
        (self.read)(store, max)
    }

    fn begin_restore(&mut self, store: &mut Sound) -> Result<()> {
        (self.restore)(store)
    }

    fn commit_restore(&mut self, store: &mut Sound, only_if_empty: bool) -> Result<()> {
        (self.commit)(store, only_if_empty)
    }
}

/// Restores, and loses the quotas that were in the snapshot.
///
/// # Errors
///
/// Those of the store.
pub fn commit_without_quotas(store: &mut Sound, only_if_empty: bool) -> Result<()> {
    store.commit_restore(only_if_empty)?;
    for (name, _) in store.list_namespace_quotas()? {
        store.set_namespace_quota(&name, None)?;
    }
    Ok(())
}

/// Passes over what it cannot restore.
///
/// # Errors
///
/// Those of the store, but for damage.
pub fn commit_whatever_comes(store: &mut Sound, only_if_empty: bool) -> Result<()> {
    match store.commit_restore(only_if_empty) {
        Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => Ok(()),
        result => result,
    }
}

/// Empties the store before the snapshot is known to be good.
///
/// # Errors
///
/// Those of the store.
pub fn restore_into_nothing(store: &mut Sound) -> Result<()> {
    store.begin_restore()?;
    store.clear_namespace(None).map(drop)
}
