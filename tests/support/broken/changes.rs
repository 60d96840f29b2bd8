//! Faults of the log of changes.

use super::{Behind, Fault, Known, Sound, all, all_of, beside, changed, memory, sqlite};
use mneme::store::{Change, ChangePage, Result, Store, StoreError};
use std::collections::BTreeSet;

/// The ids that a fault treats otherwise.
type Ids = BTreeSet<u64>;

/// The log of one store alone, which does not outlive it.
#[derive(Default)]
struct Alone(Vec<Change>);

impl Alone {
    /// Appends what a call has stored and deleted.
    fn logs<T>(
        store: &mut Behind<'_, Self>,
        call: impl FnOnce(&mut Sound) -> Result<T>,
    ) -> Result<T> {
        let of = |store: &mut Sound| -> Result<BTreeSet<(u64, u64, String)>> {
            let entries = all(store)?.into_iter();
            Ok(entries
                .map(|entry| (entry.id, entry.created_at, entry.response))
                .collect())
        };
        let before = of(store.sound)?;
        let result = call(store.sound)?;
        let now = of(store.sound)?;
        let version = store.sound.read_version_counter()?;
        let present: Ids = now.iter().map(|(id, ..)| *id).collect();
        let touched: Ids = before
            .symmetric_difference(&now)
            .map(|(id, ..)| *id)
            .collect();
        store.kept.0.extend(touched.into_iter().map(|id| Change {
            version,
            id,
            deleted: !present.contains(&id),
        }));
        Ok(result)
    }

    /// What is in the log, up to this version.
    fn since(&self, version: u64, now: u64) -> Option<ChangePage> {
        let later = self.0.iter().filter(|one| one.version > version);
        (version <= now).then(|| ChangePage {
            changes: later.copied().collect(),
            version: now,
        })
    }
}

impl Fault {
    /// Keeps no log, and says so.
    pub(super) fn without_changes(self) -> Self {
        self.capabilities(|_, says| says.max_changes = 0)
            .changes_since(|store, _, _| {
                store.read_version_counter()?;
                Err(StoreError::Unsupported("there is no log of changes".into()))
            })
    }

    /// Changes pages of changes.
    fn change_pages(self, change: fn(&mut ChangePage)) -> Self {
        self.changes_since(move |store, version, limit| {
            changed(store.changes_since(version, limit), |page| {
                if let Some(page) = page {
                    change(page);
                }
            })
        })
    }

    /// Logs nothing of some entries.
    fn forgets_some(self) -> Fault<Ids> {
        self.keeping::<Ids>()
            .changes_since(|store, version, limit| {
                changed(store.changes_since(version, limit), |page| {
                    if let Some(page) = page {
                        page.changes.retain(|one| !store.kept.contains(&one.id));
                    }
                })
            })
    }

    /// Takes what is not known for nothing.
    fn knows_everything(self, of: fn(u64, u64) -> bool) -> Self {
        self.changes_since(move |store, version, limit| {
            let now = store.read_version_counter()?;
            let page = store.changes_since(version, limit)?;
            Ok(page.or_else(|| {
                of(version, now).then(|| ChangePage {
                    changes: Vec::new(),
                    version: now.max(version),
                })
            }))
        })
    }

    /// Keeps a log of what this store alone writes.
    fn logs_alone(self) -> Fault<Alone> {
        self.keeping::<Alone>()
            .capabilities(|_, says| says.max_changes = 65_536)
            .insert(|store, entries| Alone::logs(store, |sound| sound.insert(entries)))
            .delete_by_id(|store, id| Alone::logs(store, |sound| sound.delete_by_id(id)))
            .clear_namespace(|store, name| Alone::logs(store, |sound| sound.clear_namespace(name)))
            .changes_since(|store, version, _| {
                let now = store.read_version_counter()?;
                Ok(store.kept.since(version, now))
            })
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("too few changes are kept")
            .caught_by("enough-changes-are-kept-or-none")
            .capabilities(|_, says| says.max_changes = 1_000),
        memory("changes are told and not promised")
            .caught_by("changes-are-as-the-capabilities-say")
            .capabilities(|_, says| says.max_changes = 0),
        memory("changes are promised and not there")
            .caught_by("changes-are-as-the-capabilities-say")
            .without_changes()
            .capabilities(|_, _| {}),
        memory("what is stored is not logged")
            .caught_by("an-insert-is-logged")
            .change_pages(|page| page.changes.retain(|one| one.deleted)),
        memory("what is stored is logged as deleted")
            .caught_by("an-insert-is-logged")
            .change_pages(|page| page.changes.iter_mut().for_each(|one| one.deleted = true)),
        memory("changes have the version before theirs")
            .caught_by("an-insert-is-logged")
            .changes_since(|store, version, limit| {
                let page = store.changes_since(version.saturating_sub(1), limit)?;
                Ok(page.map(|mut page| {
                    page.changes.iter_mut().for_each(|one| one.version -= 1);
                    page
                }))
            }),
        memory("changes begin with the version asked for")
            .caught_by("an-insert-is-logged")
            .changes_since(|store, version, limit| {
                store.changes_since(version.saturating_sub(1), limit)
            }),
        memory("replacements are not logged")
            .caught_by("a-replacement-is-logged")
            .forgets_some()
            .insert(|store, entries| {
                let inserted = store.insert(entries)?;
                let replaced = inserted.iter().filter(|one| one.replaced);
                store.kept.extend(replaced.map(|one| one.id));
                Ok(inserted)
            }),
        memory("a list is logged by its first entry")
            .caught_by("a-list-is-logged-as-one-version")
            .change_pages(|page| page.changes.dedup_by_key(|one| one.version)),
        memory("an id is logged twice")
            .caught_by("a-list-is-logged-as-one-version")
            .change_pages(|page| {
                let twice = page.changes.iter().flat_map(|one| [*one; 2]);
                page.changes = twice.collect();
            }),
        memory("deletes are not logged")
            .caught_by("delete-by-id-is-logged")
            .change_pages(|page| page.changes.retain(|one| !one.deleted)),
        memory("deletes are logged as stored")
            .caught_by("delete-by-id-is-logged")
            .change_pages(|page| page.changes.iter_mut().for_each(|one| one.deleted = false)),
        memory("delete-unchanged is not logged")
            .caught_by("delete-unchanged-is-logged")
            .forgets_some()
            .delete_unchanged(|store, entries| {
                let gone = store.delete_unchanged(entries)?;
                store.kept.extend(&gone);
                Ok(gone)
            }),
        memory("delete-expired is not logged")
            .caught_by("delete-expired-is-logged")
            .forgets_some()
            .delete_expired(|store, now, namespace, limit| {
                let gone = store.delete_expired(now, namespace, limit)?;
                store.kept.extend(gone.iter().map(|one| one.id));
                Ok(gone)
            }),
        memory("clear-namespace is not logged")
            .caught_by("a-clear-is-logged")
            .forgets_some()
            .clear_namespace(|store, namespace| {
                let gone = all_of(store.sound, namespace)?;
                store.kept.extend(gone.iter().map(|entry| entry.id));
                store.clear_namespace(namespace)
            }),
        memory("the log keeps the last change of an entry")
            .caught_by("each-change-of-an-entry-is-logged")
            .change_pages(|page| {
                let mut seen = Ids::new();
                page.changes.reverse();
                page.changes.retain(|one| seen.insert(one.id));
                page.changes.reverse();
            }),
        memory("touches are logged")
            .caught_by("what-changes-no-entry-is-not-logged")
            .keeping::<Ids>()
            .update_access(|store, touches| {
                store.kept.extend(touches.iter().map(|touch| touch.id));
                store.update_access(touches)
            })
            .changes_since(|store, version, limit| {
                let page = store.changes_since(version, limit)?;
                Ok(page.map(|mut page| {
                    page.changes.extend(store.kept.iter().map(|id| Change {
                        version: page.version,
                        id: *id,
                        deleted: false,
                    }));
                    page
                }))
            }),
        memory("an insert that fails is logged by the next one")
            .caught_by("a-failed-insert-is-not-logged")
            .keeping::<(bool, Ids)>()
            .insert(|store, entries| {
                let inserted = store.insert(entries);
                match &inserted {
                    Err(_) => store.kept.0 = true,
                    Ok(inserted) if std::mem::take(&mut store.kept.0) => {
                        store.kept.1.extend(inserted.iter().map(|one| one.id));
                    }
                    Ok(_) => {}
                }
                inserted
            })
            .changes_since(|store, version, limit| {
                changed(store.changes_since(version, limit), |page| {
                    let failed = |one: &Change| store.kept.1.contains(&one.id);
                    if let Some(page) = page
                        && let Some(one) = page.changes.iter().copied().find(failed)
                    {
                        page.changes.insert(0, one);
                    }
                })
            }),
        memory("nothing is known where nothing has changed")
            .caught_by("an-unmoved-counter-has-no-changes")
            .changes_since(|store, version, limit| {
                let page = store.changes_since(version, limit)?;
                Ok(page.filter(|page| !page.changes.is_empty()))
            }),
        memory("a page of changes ends within a version")
            .caught_by("changes-come-in-whole-versions")
            .changes_since(|store, version, limit| {
                changed(store.changes_since(version, u32::MAX), |page| {
                    if let Some(page) = page {
                        page.changes.truncate(limit as usize);
                        page.version = page.changes.last().map_or(version, |one| one.version);
                    }
                })
            }),
        memory("the limit of changes is ignored")
            .caught_by("changes-come-in-whole-versions")
            .changes_since(|store, version, _| store.changes_since(version, u32::MAX)),
        memory("a page of changes says that it tells all")
            .caught_by("changes-come-in-whole-versions")
            .changes_since(|store, version, limit| {
                let now = store.read_version_counter()?;
                changed(store.changes_since(version, limit), |page| {
                    if let Some(page) = page {
                        page.version = now;
                    }
                })
            }),
        memory("versions to come have no changes yet")
            .caught_by("versions-to-come-have-no-changes")
            .knows_everything(|version, now| version > now),
        memory("the log keeps 1,000 changes")
            .caught_by("many-changes-are-kept")
            .changes_since(|store, version, limit| {
                let all = store.changes_since(version, u32::MAX)?;
                let kept = all.is_some_and(|page| page.changes.len() <= 1_000);
                match kept {
                    true => store.changes_since(version, limit),
                    false => Ok(None),
                }
            }),
        memory("what was before a long write is taken for nothing")
            .caught_by("a-long-write-is-logged-or-forgotten")
            .knows_everything(|version, now| version < now),
        memory("what was before a merge is taken for nothing")
            .caught_by("a-merge-is-logged-or-forgotten")
            .knows_everything(|version, now| version < now),
        memory("what was before an import of everything is taken for nothing")
            .caught_by("a-replacing-import-is-logged-or-forgotten")
            .knows_everything(|version, now| version < now),
        sqlite("a restore is not logged")
            .caught_by("a-restore-is-logged-or-forgotten")
            .logs_alone(),
        memory("close forgets what was logged, and says that nothing was")
            .caught_by("changes-are-kept-or-forgotten-at-close")
            .keeping::<u64>()
            .close(|store| {
                // A closed store has no counter.
                if let Ok(version) = store.read_version_counter() {
                    *store.kept = version;
                }
                store.close()
            })
            .changes_since(|store, version, limit| {
                let closed = *store.kept;
                store.changes_since(version.max(closed), limit)
            }),
        sqlite("a new store says that nothing was logged before")
            .caught_by("changes-are-kept-or-forgotten-in-a-drop")
            .logs_alone(),
        sqlite("a store logs what it writes itself")
            .caught_by("changes-beside-are-logged")
            .logs_alone(),
        sqlite("changes are read beside the view")
            .caught_by("a-view-has-no-later-changes")
            .logs_alone()
            .changes_since(|store, version, _| {
                let mut other = beside(store)?;
                let now = other.read_version_counter()?;
                Ok(store.kept.since(version, now))
            }),
    ]
}
