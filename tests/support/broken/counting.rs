//! Faults of the version counter.

use super::{Fault, Known, memory, same_key};
use mneme::store::Entry;

impl Fault {
    /// Moves the counter by another number at one operation, whether it changes anything or not.
    pub(super) fn miscounts(self, at: &'static str, by: i64) -> Self {
        self.moves(move |_, operation, moved| match operation == at {
            true => by,
            false => i64::from(moved),
        })
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("the counter stays at an insert")
            .caught_by("the-counter-moves-by-one-on-insert")
            .miscounts("insert", 0),
        memory("the counter stays at a replacement")
            .caught_by("the-counter-moves-by-one-on-replacement")
            .keeping::<bool>()
            .insert(|store, entries| {
                let inserted = store.insert(entries)?;
                *store.kept = inserted.iter().all(|item| item.replaced);
                Ok(inserted)
            })
            .moves(|replaced, operation, moved| {
                i64::from(moved && !(operation == "insert" && *replaced))
            }),
        memory("the counter stays where the same is stored again")
            .caught_by("upsert-with-the-same-contents-is-a-replacement")
            .keeping::<bool>()
            .insert(|store, entries| {
                *store.kept = true;
                for entry in &entries {
                    let present = same_key(store.sound, entry)?.map(|present| Entry {
                        id: entry.id,
                        ..present
                    });
                    *store.kept &= present.as_ref() == Some(entry);
                }
                store.insert(entries)
            })
            .moves(|same, operation, moved| {
                i64::from(moved && !(operation == "insert" && *same))
            }),
        memory("the counter stays at delete-by-id")
            .caught_by("the-counter-moves-by-one-on-delete-by-id")
            .miscounts("delete_by_id", 0),
        memory("the counter stays at delete-unchanged")
            .caught_by("the-counter-moves-by-one-on-delete-unchanged")
            .miscounts("delete_unchanged", 0),
        memory("the counter stays at delete-expired")
            .caught_by("the-counter-moves-by-one-on-delete-expired")
            .miscounts("delete_expired", 0),
        memory("the counter stays at clear-namespace")
            .caught_by("the-counter-moves-by-one-on-clear")
            .miscounts("clear_namespace", 0),
        memory("the counter moves at an insert of nothing")
            .caught_by("an-empty-list-is-accepted")
            .miscounts("insert", 1),
        memory("the counter moves at a delete-by-id of nothing")
            .caught_by("the-counter-moves-by-one-on-delete-by-id")
            .miscounts("delete_by_id", 1),
        memory("the counter moves at a delete-unchanged of nothing")
            .caught_by("nothing-named-is-nothing-deleted")
            .miscounts("delete_unchanged", 1),
        memory("the counter moves at a delete-expired of nothing")
            .caught_by("the-counter-moves-by-one-on-delete-expired")
            .miscounts("delete_expired", 1),
        memory("the counter moves at a clear-namespace of nothing")
            .caught_by("clearing-an-unknown-namespace-is-zero")
            .miscounts("clear_namespace", 1),
        memory("the counter moves at a touch")
            .caught_by("touches-move-no-version-counter")
            .miscounts("update_access", 1),
        memory("the counter moves at a quota")
            .caught_by("quotas-move-no-counter")
            .miscounts("set_namespace_quota", 1),
        memory("the counter moves at a meta value")
            .caught_by("meta-moves-no-counter")
            .miscounts("replace_meta", 1),
        memory("the counter moves by two")
            .caught_by("the-counter-moves-by-one-on-insert")
            .moves(|_, _, moved| 2 * i64::from(moved)),
        memory("the counter moves by the number of entries")
            .caught_by("the-counter-moves-by-one-on-insert")
            .keeping::<usize>()
            .insert(|store, entries| {
                *store.kept = entries.len();
                store.insert(entries)
            })
            .moves(|entries, operation, moved| match operation {
                "insert" => *entries as i64,
                _ => i64::from(moved),
            }),
        memory("the counter restarts at each open")
            .caught_by("the-counter-survives-reopen")
            .keeping::<u64>()
            .open(|store, fingerprint, dim| {
                store.open(fingerprint, dim)?;
                *store.kept = store.read_version_counter()?;
                Ok(())
            })
            .read_version_counter(|store| Ok(store.read_version_counter()? - *store.kept)),
        memory("the counter moves at a failed insert")
            .caught_by("failed-inserts-move-no-counter")
            .keeping::<u64>()
            .insert(|store, entries| {
                let result = store.insert(entries);
                *store.kept += u64::from(result.is_err());
                result
            })
            .read_version_counter(|store| Ok(store.read_version_counter()? + *store.kept)),
    ]
}
