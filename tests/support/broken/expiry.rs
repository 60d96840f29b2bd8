//! Faults of deleting.

use super::{Fault, Sound, all, reference};
use mneme::store::{EntryRef, Result};

/// Deletes expired entries by other rules.
pub struct Expiry {
    /// How many seconds later an entry expires than it should.
    pub late: i64,
    /// Whether only those of the namespace asked for go.
    pub by_namespace: bool,
    /// Whether no more go than asked for.
    pub limited: bool,
    /// Whether the lowest ids go first.
    pub lowest_first: bool,
    /// Whether entries without a lifetime stay.
    pub unlimited_stay: bool,
    /// Whether those that went are told.
    pub told: bool,
}

/// The sound rules.
pub const SOUND: Expiry = Expiry {
    late: 0,
    by_namespace: true,
    limited: true,
    lowest_first: true,
    unlimited_stay: true,
    told: true,
};

impl Fault for Expiry {
    fn delete_expired(
        &mut self,
        store: &mut Sound,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        let now = now.saturating_add_signed(-self.late);
        let mut gone = all(store)?;
        gone.retain(|entry| {
            let expired = match entry.ttl {
                Some(ttl) => entry
                    .created_at
                    .checked_add(ttl)
                    .is_some_and(|end| end <= now),
                None => !self.unlimited_stay,
            };
            let asked = !self.by_namespace || namespace.is_none_or(|name| name == entry.namespace);
            expired && asked
        });
        if !self.lowest_first {
            gone.reverse();
        }
        if self.limited {
            gone.truncate(limit as usize);
        }
        let gone: Vec<EntryRef> = gone.iter().map(reference).collect();
        store.delete_unchanged(&gone)?;
        Ok(if self.told { gone } else { Vec::new() })
    }
}

/// Deletes an entry that has been replaced since.
pub struct NoGuard;

impl Fault for NoGuard {
    fn delete_unchanged(&mut self, store: &mut Sound, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let ids: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
        let present: Vec<EntryRef> = store.get_by_ids(&ids)?.iter().map(reference).collect();
        store.delete_unchanged(&present)
    }
}

/// Deletes only what is at least as old as named.
pub struct GuardByAge;

impl Fault for GuardByAge {
    fn delete_unchanged(&mut self, store: &mut Sound, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let mut present = Vec::new();
        for named in entries {
            let entry = store.get_by_ids(&[named.id])?.pop();
            present.extend(
                entry
                    .filter(|entry| entry.created_at <= named.created_at)
                    .map(|entry| reference(&entry)),
            );
        }
        store.delete_unchanged(&present)
    }
}

/// Changes what a conditional delete says that it deleted.
pub struct SaysDeleted(pub fn(&[EntryRef], Vec<u64>) -> Vec<u64>);

impl Fault for SaysDeleted {
    fn delete_unchanged(&mut self, store: &mut Sound, entries: &[EntryRef]) -> Result<Vec<u64>> {
        let deleted = store.delete_unchanged(entries)?;
        Ok((self.0)(entries, deleted))
    }
}

/// Changes what a delete by id does not find.
pub struct DeleteById(pub fn(&mut Sound, u64) -> Result<bool>);

impl Fault for DeleteById {
    fn delete_by_id(&mut self, store: &mut Sound, id: u64) -> Result<bool> {
        (self.0)(store, id)
    }
}

/// Clears in another way.
pub struct Clear(pub fn(&mut Sound, Option<&str>) -> Result<u64>);

impl Fault for Clear {
    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        (self.0)(store, namespace)
    }
}

/// Clears, and removes the quotas of what it clears.
///
/// # Errors
///
/// Those of the store.
pub fn clear_with_quotas(store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
    for (name, _) in store.list_namespace_quotas()? {
        if namespace.is_none_or(|namespace| namespace == name) {
            store.set_namespace_quota(&name, None)?;
        }
    }
    store.clear_namespace(namespace)
}
