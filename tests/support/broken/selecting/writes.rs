//! Faults of what `select` finds after writes.

use super::{after, first_of};
use crate::broken::{Behind, Fault, Known, Sound, all, beside, key, memory, sqlite};
use mneme::store::{Entry, EntryKey, Filter, Result, Selection};
use std::collections::{BTreeMap, BTreeSet};

/// What `select` still finds although it is gone.
#[derive(Default)]
struct Gone(Vec<Entry>);

impl Gone {
    /// Keeps what a call takes away.
    fn keeps<T>(
        store: &mut Behind<'_, Self>,
        call: impl FnOnce(&mut Sound) -> Result<T>,
    ) -> Result<T> {
        // A closed store has nothing.
        let before = all(store.sound).unwrap_or_default();
        let result = call(store.sound)?;
        let present: BTreeSet<u64> = all(store.sound)?.iter().map(|entry| entry.id).collect();
        let gone = before
            .into_iter()
            .filter(|entry| !present.contains(&entry.id));
        store.kept.0.extend(gone);
        Ok(result)
    }
}

/// The entries that a fault knows by key, with what it knows of them.
type ByKey<T> = BTreeMap<(String, String), T>;

fn name(key: EntryKey) -> (String, String) {
    (key.namespace, key.query_hash)
}

impl Fault {
    /// Finds what is gone as well.
    fn selects_gone(self) -> Fault<Gone> {
        self.keeping::<Gone>()
            .select(|store, filter, last_id, limit| {
                let mut found = after(store.sound, last_id)?;
                found.extend(
                    store
                        .kept
                        .0
                        .iter()
                        .filter(|entry| entry.id > last_id)
                        .cloned(),
                );
                found.retain(|entry| filter.accepts(entry));
                found.sort_by_key(|entry| entry.id);
                found.dedup_by_key(|entry| entry.id);
                Ok(first_of(&found, limit))
            })
    }

    /// Does not find the entries by tag whose ids are kept.
    fn hides(self) -> Fault<BTreeSet<u64>> {
        self.keeping::<BTreeSet<u64>>()
            .select(|store, filter, last_id, limit| {
                let mut found = after(store.sound, last_id)?;
                let hides = !filter.tags.is_empty();
                found.retain(|entry| {
                    filter.accepts(entry) && !(hides && store.kept.contains(&entry.id))
                });
                Ok(first_of(&found, limit))
            })
    }

    /// Finds by tag what this store has inserted, and nothing else.
    fn finds_its_own(self) -> Fault<BTreeSet<u64>> {
        self.keeping::<BTreeSet<u64>>()
            .insert(|store, entries| {
                let inserted = store.insert(entries)?;
                store.kept.extend(inserted.iter().map(|one| one.id));
                Ok(inserted)
            })
            .select(|store, filter, last_id, limit| {
                let mut found = after(store.sound, last_id)?;
                found.retain(|entry| filter.accepts(entry));
                if !filter.tags.is_empty() {
                    found.retain(|entry| store.kept.contains(&entry.id));
                }
                Ok(first_of(&found, limit))
            })
    }
}

/// Selects among the entries of a store as the tags that are known say, beside those of each.
fn with_tags(
    store: &mut Sound,
    filter: &Filter,
    (last_id, limit): (u64, u32),
    tags: impl Fn(&Entry) -> Vec<String>,
) -> Result<Selection> {
    let mut found = after(store, last_id)?;
    found.retain(|entry| {
        let mut seen = entry.clone();
        seen.tags.extend(tags(entry));
        filter.accepts(&seen)
    });
    Ok(first_of(&found, limit))
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("select goes by the first version of an entry")
            .caught_by("a-replacement-moves-between-filters")
            .keeping::<ByKey<Entry>>()
            .insert(|store, entries| {
                for entry in &entries {
                    let first = store.kept.entry(name(key(entry)));
                    first.or_insert_with(|| entry.clone());
                }
                store.insert(entries)
            })
            .select(|store, filter, last_id, limit| {
                let mut found = after(store.sound, last_id)?;
                found.retain(|entry| {
                    let first = store.kept.get(&name(key(entry)));
                    filter.accepts(first.unwrap_or(entry))
                });
                Ok(first_of(&found, limit))
            }),
        memory("select finds replaced entries by their old tags too")
            .caught_by("a-replacement-without-tags-is-found-by-none")
            .keeping::<BTreeMap<u64, Vec<String>>>()
            .insert(|store, entries| {
                let tags: Vec<_> = entries.iter().map(|entry| entry.tags.clone()).collect();
                let inserted = store.insert(entries)?;
                for (one, tags) in inserted.iter().zip(tags) {
                    store.kept.entry(one.id).or_default().extend(tags);
                }
                Ok(inserted)
            })
            .select(|store, filter, last_id, limit| {
                let kept = &*store.kept;
                let known = |entry: &Entry| kept.get(&entry.id).cloned().unwrap_or_default();
                with_tags(store.sound, filter, (last_id, limit), known)
            }),
        memory("select finds what delete-by-id has deleted")
            .caught_by("deleted-entries-are-not-selected")
            .selects_gone()
            .delete_by_id(|store, id| Gone::keeps(store, |sound| sound.delete_by_id(id))),
        memory("select finds what delete-unchanged has deleted")
            .caught_by("deleted-entries-are-not-selected")
            .selects_gone()
            .delete_unchanged(|store, entries| {
                Gone::keeps(store, |sound| sound.delete_unchanged(entries))
            }),
        memory("select finds what delete-expired has deleted")
            .caught_by("expired-entries-are-selected-until-deleted")
            .selects_gone()
            .delete_expired(|store, now, namespace, limit| {
                Gone::keeps(store, |sound| sound.delete_expired(now, namespace, limit))
            }),
        memory("select finds what was cleared")
            .caught_by("deleted-entries-are-not-selected")
            .selects_gone()
            .clear_namespace(|store, namespace| {
                Gone::keeps(store, |sound| sound.clear_namespace(namespace))
            }),
        memory("select finds a pair by the tags of its deleted entry")
            .caught_by("a-pair-stored-again-has-its-new-tags-only")
            .keeping::<ByKey<Vec<String>>>()
            .delete_by_id(|store, id| {
                for entry in store.get_by_ids(&[id], false)? {
                    store.kept.insert(name(key(&entry)), entry.tags);
                }
                store.delete_by_id(id)
            })
            .select(|store, filter, last_id, limit| {
                let kept = &*store.kept;
                let known =
                    |entry: &Entry| kept.get(&name(key(entry))).cloned().unwrap_or_default();
                with_tags(store.sound, filter, (last_id, limit), known)
            }),
        memory("select hides what is about to expire")
            .caught_by("expired-entries-are-selected-until-deleted")
            .selects_where(|filter, entry| filter.accepts(entry) && entry.ttl != Some(0)),
        memory("a touched entry is not selected by tag")
            .caught_by("touches-change-no-selection")
            .hides()
            .update_access(|store, touches| {
                store.update_access(touches)?;
                store.kept.extend(touches.iter().map(|touch| touch.id));
                Ok(())
            }),
        memory("imported entries are not selected by tag")
            .caught_by("merged-entries-are-selected")
            .hides()
            .commit_import(|store, quotas, meta| {
                let before: BTreeSet<u64> =
                    all(store.sound)?.iter().map(|entry| entry.id).collect();
                let done = store.commit_import(quotas, meta)?;
                let now = all(store.sound)?;
                let new = now
                    .iter()
                    .map(|entry| entry.id)
                    .filter(|id| !before.contains(id));
                store.kept.extend(new);
                Ok(done)
            }),
        memory("select finds what an import of everything has deleted")
            .caught_by("a-replacing-import-leaves-nothing-else-to-select")
            .selects_gone()
            .commit_import(|store, quotas, meta| {
                Gone::keeps(store, |sound| sound.commit_import(quotas, meta))
            }),
        sqlite("select finds what a restore has removed")
            .caught_by("restored-entries-are-selected")
            .selects_gone()
            .commit_restore(|store, only_if_empty| {
                Gone::keeps(store, |sound| sound.commit_restore(only_if_empty))
            }),
        memory("close forgets which entries have which tags")
            .caught_by("selections-stay-after-close-and-open")
            .hides()
            .close(|store| {
                let known = all(store.sound).unwrap_or_default();
                store.kept.extend(known.iter().map(|entry| entry.id));
                store.close()
            }),
        sqlite("a new store does not know who has which tags")
            .caught_by("selections-survive-a-drop")
            .finds_its_own(),
        sqlite("select finds by tag what its own store has inserted")
            .caught_by("select-sees-what-another-store-wrote")
            .finds_its_own(),
        sqlite("select looks beside the view")
            .caught_by("select-in-a-view-holds-still")
            .select(|store, filter, last_id, limit| {
                let mut other = beside(store)?;
                let mut found = after(&mut other, last_id)?;
                found.retain(|entry| filter.accepts(entry));
                Ok(first_of(&found, limit))
            }),
    ]
}
