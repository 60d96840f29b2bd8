//! Faults of reads without vectors.

use super::{Known, changed, key, memory};
use mneme::store::{Entry, EntryKey};
use std::collections::BTreeMap;

pub fn faults() -> Vec<Known> {
    faults![
        memory("get-by-hash leaves no vector out")
            .caught_by("get-by-hash-can-leave-vectors-out")
            .get_by_hash(|store, keys, _| store.get_by_hash(keys, true)),
        memory("get-by-ids leaves no vector out")
            .caught_by("get-by-ids-can-leave-vectors-out")
            .get_by_ids(|store, ids, _| store.get_by_ids(ids, true)),
        memory("vectors left out are zeros")
            .caught_by("get-by-hash-can-leave-vectors-out")
            .get_by_hash(|store, keys, vectors| {
                let mut found = store.get_by_hash(keys, true)?;
                if !vectors {
                    let entries = found.iter_mut().flatten();
                    entries.for_each(|entry| entry.embedding.fill(0.0));
                }
                Ok(found)
            }),
        memory("tags are left out with the vector")
            .caught_by("get-by-ids-can-leave-vectors-out")
            .get_by_ids(|store, ids, vectors| {
                changed(store.get_by_ids(ids, vectors), |found| {
                    if !vectors {
                        found.iter_mut().for_each(|entry| entry.tags.clear());
                    }
                })
            }),
        memory("get-by-hash without vectors leaves out what it does not find")
            .caught_by("keys-are-answered-in-order-without-vectors")
            .get_by_hash(|store, keys, vectors| {
                changed(store.get_by_hash(keys, vectors), |found| {
                    found.retain(|entry| vectors || entry.is_some());
                })
            }),
        memory("get-by-ids without vectors answers in the order of ids")
            .caught_by("ids-are-answered-in-order-without-vectors")
            .get_by_ids(|store, ids, vectors| {
                changed(store.get_by_ids(ids, vectors), |found| {
                    if !vectors {
                        found.sort_by_key(|entry| entry.id);
                    }
                })
            }),
        memory("an entry read without its vector has none from then on")
            .caught_by("a-read-without-vectors-takes-none-away")
            .keeping::<Vec<u64>>()
            .get_by_ids(|store, ids, vectors| {
                let mut found = store.get_by_ids(ids, vectors)?;
                for entry in &mut found {
                    if store.kept.contains(&entry.id) {
                        entry.embedding.clear();
                    } else if !vectors {
                        store.kept.push(entry.id);
                    }
                }
                Ok(found)
            }),
        memory("an entry read without its vector is answered so again")
            .caught_by("a-replacement-is-read-without-its-vector")
            .keeping::<BTreeMap<String, Entry>>()
            .get_by_hash(|store, keys, vectors| {
                let name = |key: &EntryKey| format!("{}\n{}", key.namespace, key.query_hash);
                let mut found = store.get_by_hash(keys, vectors)?;
                if vectors {
                    return Ok(found);
                }
                for (asked, answer) in keys.iter().zip(&mut found) {
                    match store.kept.get(&name(asked)) {
                        Some(kept) => *answer = Some(kept.clone()),
                        None => {
                            if let Some(entry) = answer {
                                store.kept.insert(name(&key(entry)), entry.clone());
                            }
                        }
                    }
                }
                Ok(found)
            }),
    ]
}
