//! Faults that show between stores, or when a process ends.

use super::opening::forget_at_close;
use super::settings::replace_regardless;
use super::{Behind, Fault, Known, Sound, all, sqlite};
use mneme::store::{Entry, Result};
use std::collections::BTreeMap;

/// The settings that a store has once read or set.
#[derive(Default)]
struct Settings {
    meta: BTreeMap<String, Option<String>>,
    quotas: BTreeMap<String, Option<u64>>,
}

impl Fault {
    /// Keeps the meta values and quotas that it has once read or set.
    fn keeps_settings(self) -> Fault<Settings> {
        fn kept_meta(store: &mut Behind<'_, Settings>, key: &str) -> Result<Option<String>> {
            let value = store.read_meta(key)?;
            let kept = store.kept.meta.entry(key.to_owned());
            Ok(kept.or_insert(value).clone())
        }
        self.keeping::<Settings>()
            .read_meta(kept_meta)
            .replace_meta(|store, key, expected, value| {
                if kept_meta(store, key)?.as_deref() != expected {
                    return Ok(false);
                }
                let replaced = replace_regardless(store.sound, key, value)?;
                let value = value.map(str::to_owned);
                store.kept.meta.insert(key.to_owned(), value);
                Ok(replaced)
            })
            .get_namespace_quota(|store, namespace| {
                let quota = store.get_namespace_quota(namespace)?;
                let kept = store.kept.quotas.entry(namespace.to_owned());
                Ok(*kept.or_insert(quota))
            })
            .set_namespace_quota(|store, namespace, quota| {
                store.set_namespace_quota(namespace, quota)?;
                store.kept.quotas.insert(namespace.to_owned(), quota);
                Ok(())
            })
    }
}

/// The version counter at the beginning, and how often this store has moved it.
#[derive(Default)]
struct OwnCounter {
    first: Option<u64>,
    own: u64,
}

impl OwnCounter {
    /// A write of this store.
    fn counts<T>(
        store: &mut Behind<'_, Self>,
        write: impl FnOnce(&mut Sound) -> Result<T>,
    ) -> Result<T> {
        let before = store.read_version_counter()?;
        let result = write(store.sound)?;
        store.kept.own += store.sound.read_version_counter()? - before;
        Ok(result)
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        sqlite("a second store sees what it read before")
            .caught_by("deletes-are-seen-by-another-store")
            .keeping::<BTreeMap<(String, String), Option<Entry>>>()
            .get_by_hash(|store, keys, vectors| {
                let found = store.get_by_hash(keys, vectors)?;
                let found = keys.iter().zip(found).map(|(key, entry)| {
                    let name = (key.namespace.clone(), key.query_hash.clone());
                    store.kept.entry(name).or_insert(entry).clone()
                });
                Ok(found.collect())
            })
            .insert(|store, entries| {
                store.kept.clear();
                store.insert(entries)
            })
            .delete_by_id(|store, id| {
                store.kept.clear();
                store.delete_by_id(id)
            })
            .clear_namespace(|store, namespace| {
                store.kept.clear();
                store.clear_namespace(namespace)
            })
            .close(|store| {
                store.kept.clear();
                store.close()
            }),
        sqlite("a second store counts its own writes only")
            .caught_by("an-insert-beside-is-seen-by-the-first-store")
            .keeping::<OwnCounter>()
            .open(|store, fingerprint, dim| {
                store.open(fingerprint, dim)?;
                store.kept.first = Some(store.sound.read_version_counter()?);
                Ok(())
            })
            .insert(|store, entries| OwnCounter::counts(store, |sound| sound.insert(entries)))
            .delete_by_id(|store, id| OwnCounter::counts(store, |sound| sound.delete_by_id(id)))
            .clear_namespace(|store, namespace| {
                OwnCounter::counts(store, |sound| sound.clear_namespace(namespace))
            })
            .read_version_counter(|store| {
                let sound = store.read_version_counter()?;
                let OwnCounter { first, own } = *store.kept;
                Ok(first.map_or(sound, |first| first + own))
            }),
        // A crash leaves some of them.
        sqlite("a list is stored one by one")
            .caught_by("an-insert-is-seen-by-another-store")
            .insert(|store, entries| {
                let dim = store.read_meta("embedder_dim")?;
                let fits =
                    |entry: &Entry| dim.as_deref() == Some(&entry.embedding.len().to_string());
                let short = entries.len() <= store.capabilities().max_batch as usize;
                if !short || !entries.iter().all(fits) {
                    return store.insert(entries);
                }
                let mut inserted = Vec::with_capacity(entries.len());
                for entry in entries {
                    inserted.extend(store.insert(vec![entry])?);
                }
                Ok(inserted)
            }),
        sqlite("a second store keeps the quotas that it read")
            .caught_by("quotas-are-seen-by-another-store")
            .keeps_settings(),
        sqlite("meta is compared to what the store has read before")
            .caught_by("meta-is-compared-across-stores")
            .keeps_settings(),
        // It compares to the times of its own inserts.
        sqlite("an entry that another store replaced is deleted")
            .caught_by("an-entry-replaced-beside-stays")
            .keeping::<BTreeMap<u64, u64>>()
            .insert(|store, entries| {
                let times: Vec<u64> = entries.iter().map(|entry| entry.created_at).collect();
                let inserted = store.insert(entries)?;
                let ids = inserted.iter().map(|item| item.id);
                store.kept.extend(ids.zip(times));
                Ok(inserted)
            })
            .delete_unchanged(|store, entries| {
                let mut named = entries.to_vec();
                for entry in &mut named {
                    if store.kept.get(&entry.id) == Some(&entry.created_at)
                        && let Some(present) = store.get_by_ids(&[entry.id], true)?.pop()
                    {
                        entry.created_at = present.created_at;
                    }
                }
                store.delete_unchanged(&named)
            }),
        sqlite("a walk goes on in the rows of its beginning")
            .caught_by("a-page-goes-on-after-writes-beside")
            .keeping::<Vec<Entry>>()
            .iter_since(|store, last_id, limit| {
                let present = store.iter_since(last_id, limit)?;
                if last_id == 0 || store.kept.is_empty() {
                    *store.kept = all(store.sound)?;
                    return Ok(present);
                }
                let rows = store.kept.iter().filter(|entry| entry.id > last_id);
                Ok(rows.take(limit as usize).cloned().collect())
            }),
        sqlite("a second store may have another embedder")
            .caught_by("another-embedder-is-refused-beside")
            .opens_anyway(),
        sqlite("closing one store empties the other")
            .caught_by("closing-one-store-leaves-the-other")
            .close(|store| forget_at_close(store.sound)),
    ]
}
