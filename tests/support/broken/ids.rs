//! Faults of the ids that an insert assigns.

use super::{Fault, Known, changed, memory, reference, same_key, sqlite};
use crate::sqlite::execute;
use mneme::store::Inserted;
use std::path::Path;

impl Fault {
    /// Uses the greatest id again after it was deleted. On SQLite only.
    pub(super) fn reuses_ids(self) -> Self {
        self.delete_by_id(|store, id| {
            let deleted = store.delete_by_id(id)?;
            restart_ids(store.path);
            Ok(deleted)
        })
        .delete_unchanged(|store, entries| {
            let deleted = store.delete_unchanged(entries)?;
            restart_ids(store.path);
            Ok(deleted)
        })
        .delete_expired(|store, now, namespace, limit| {
            let deleted = store.delete_expired(now, namespace, limit)?;
            restart_ids(store.path);
            Ok(deleted)
        })
        .clear_namespace(|store, namespace| {
            let deleted = store.clear_namespace(namespace)?;
            restart_ids(store.path);
            Ok(deleted)
        })
    }
}

/// Forgets the ids of entries that are gone. On SQLite only.
pub fn restart_ids(path: &Path) {
    execute(path, "DELETE FROM sqlite_sequence WHERE name = 'entries'");
}

/// Moves an entry to another id. On SQLite only.
pub fn renumber(path: &Path, from: u64, to: u64) {
    execute(
        path,
        &format!("UPDATE entries SET id = {to} WHERE id = {from}"),
    );
}

/// The next id of a namespace whose ids are its own; those of later ones are below those of
/// earlier ones.
fn next_of_namespace(last: &mut Vec<(String, u64)>, namespace: &str) -> u64 {
    let at = last.iter().position(|(name, _)| name == namespace);
    let at = at.unwrap_or_else(|| {
        let first = (1_000 - last.len() as u64) * 1_000_000;
        last.push((namespace.to_owned(), first));
        last.len() - 1
    });
    last[at].1 += 1;
    last[at].1
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("a replacement gets a new id")
            .caught_by("upsert-keeps-the-id")
            .insert(|store, entries| {
                let mut gone = Vec::new();
                let mut replaced = Vec::new();
                for entry in &entries {
                    let present = same_key(store.sound, entry)?;
                    replaced.push(present.is_some());
                    gone.extend(present.map(|present| reference(&present)));
                }
                store.delete_unchanged(&gone)?;
                changed(store.insert(entries), |inserted| {
                    for (item, replaced) in inserted.iter_mut().zip(replaced) {
                        item.replaced |= replaced;
                    }
                })
            }),
        sqlite("the id of a deleted entry is used again")
            .caught_by("ids-are-not-reused-after-delete-expired")
            .reuses_ids(),
        sqlite("the ids given in entries are honoured")
            .caught_by("given-ids-are-ignored")
            .insert(|store, entries| {
                let given: Vec<u64> = entries.iter().map(|entry| entry.id).collect();
                let mut inserted = store.insert(entries)?;
                for (item, given) in inserted.iter_mut().zip(given) {
                    let free = given != 0 && store.get_by_ids(&[given], true)?.is_empty();
                    if free && !item.replaced {
                        renumber(store.path, item.id, given);
                        item.id = given;
                    }
                }
                Ok(inserted)
            }),
        memory("ids begin at 0")
            .caught_by("the-first-id-is-one")
            .insert(|store, entries| {
                changed(store.insert(entries), |inserted| {
                    inserted.iter_mut().for_each(|item| item.id -= 1);
                })
            }),
        memory("a replacement is not called one")
            .caught_by("upsert-keeps-the-id")
            .insert(|store, entries| {
                changed(store.insert(entries), |inserted| {
                    inserted.iter_mut().for_each(|item| item.replaced = false);
                })
            }),
        memory("the results of an insert are in another order")
            .caught_by("insert-returns-one-item-an-entry-in-order")
            .insert(|store, entries| changed(store.insert(entries), |list| list.reverse())),
        sqlite("ids grow in each namespace by itself")
            .caught_by("ids-grow-across-namespaces")
            .keeping::<Vec<(String, u64)>>()
            .insert(|store, entries| {
                let names = entries.iter().map(|entry| entry.namespace.clone());
                let names: Vec<String> = names.collect();
                let mut inserted = store.insert(entries)?;
                for (item, name) in inserted.iter_mut().zip(names) {
                    let id = next_of_namespace(store.kept, &name);
                    if !item.replaced && store.get_by_ids(&[id], true)?.is_empty() {
                        renumber(store.path, item.id, id);
                        item.id = id;
                    }
                }
                Ok(inserted)
            }),
        memory("an id is told twice after a failed insert")
            .caught_by("a-failed-insert-does-not-give-its-ids-twice")
            .keeping::<bool>()
            .insert(|store, entries| {
                let result = store.insert(entries);
                let failed = std::mem::replace(store.kept, result.is_err());
                changed(result, |inserted| {
                    let new = |item: &&mut Inserted| failed && !item.replaced;
                    inserted
                        .iter_mut()
                        .filter(new)
                        .for_each(|item| item.id -= 1);
                })
            }),
    ]
}
