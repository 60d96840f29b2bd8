//! Faults of snapshots. On stores that have them.

use super::{Fault, Sound};
use mneme::store::{Entry, Restored, Result, StoreError};

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
    /// Instead of receiving it.
    pub write: fn(&mut Sound, &[u8]) -> Result<()>,
    /// Instead of checking what was received.
    pub check: fn(&mut Sound) -> Result<Restored>,
    /// Instead of reading what was checked.
    pub look: fn(&mut Sound, u64, u32) -> Result<Vec<Entry>>,
    /// Instead of replacing the data by it.
    pub commit: fn(&mut Sound, bool) -> Result<()>,
    /// Instead of forgetting it.
    pub end: fn(&mut Sound) -> Result<()>,
}

/// The sound steps.
pub const SOUND: Steps = Steps {
    begin: |store| store.begin_snapshot(),
    read: |store, max| store.read_snapshot(max),
    restore: |store| store.begin_restore(),
    write: |store, bytes| store.write_restore(bytes),
    check: |store| store.check_restore(),
    look: |store, last_id, limit| store.read_restore(last_id, limit),
    commit: |store, only_if_empty| store.commit_restore(only_if_empty),
    end: |store| store.end_restore(),
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

    fn write_restore(&mut self, store: &mut Sound, bytes: &[u8]) -> Result<()> {
        (self.write)(store, bytes)
    }

    fn check_restore(&mut self, store: &mut Sound) -> Result<Restored> {
        (self.check)(store)
    }

    fn read_restore(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        (self.look)(store, last_id, limit)
    }

    fn end_restore(&mut self, store: &mut Sound) -> Result<()> {
        (self.end)(store)
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

/// What is in a snapshot without anything.
fn nothing() -> Restored {
    Restored {
        entries: 0,
        quotas: Vec::new(),
        meta: Vec::new(),
    }
}

/// Passes over damage.
///
/// # Errors
///
/// Those of the store, but for damage.
pub fn check_whatever_comes(store: &mut Sound) -> Result<Restored> {
    match store.check_restore() {
        Err(StoreError::Corrupt(_) | StoreError::Schema(_)) => Ok(nothing()),
        result => result,
    }
}

/// Checks what was never received.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn check_anyway(store: &mut Sound) -> Result<Restored> {
    match store.check_restore() {
        Err(StoreError::InvalidArgument(_)) => Ok(nothing()),
        result => result,
    }
}

/// Forgets the restore once it is checked.
///
/// # Errors
///
/// Those of the store.
pub fn check_and_forget(store: &mut Sound) -> Result<Restored> {
    let held = store.check_restore()?;
    store.end_restore()?;
    Ok(held)
}

/// Passes over bytes that it does not take.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn write_or_drop(store: &mut Sound, bytes: &[u8]) -> Result<()> {
    match store.write_restore(bytes) {
        Err(StoreError::InvalidArgument(_)) => Ok(()),
        result => result,
    }
}

/// Never finds a store empty.
///
/// # Errors
///
/// Those of the store, and one that is not due.
pub fn commit_into_no_store(store: &mut Sound, only_if_empty: bool) -> Result<()> {
    if only_if_empty {
        store.write_restore(&[])?;
        store.end_restore()?;
        return Err(StoreError::Checkpoint("the store is not empty".into()));
    }
    store.commit_restore(only_if_empty)
}

/// Refuses to end a restore that was not begun.
///
/// # Errors
///
/// Those of the store, and one that is not due.
pub fn end_what_is_begun(store: &mut Sound) -> Result<()> {
    store.write_restore(&[])?;
    store.end_restore()
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
