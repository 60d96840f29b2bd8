//! Faults of the search for vectors.

use super::{Behind, Known, Sound, all, changed, memory};
use mneme::store::{Entry, Neighbour, Result, VectorQuery};
use std::collections::BTreeMap;

/// The vectors of entries as they were once.
type Vectors = BTreeMap<u64, Entry>;

/// The search of a store that knows these entries.
fn among<'e>(
    entries: impl Iterator<Item = &'e Entry>,
    query: &VectorQuery,
    limit: u32,
) -> Vec<Neighbour> {
    let mut found: Vec<_> = entries
        .filter(|entry| entry.namespace == query.namespace && entry.context == query.context)
        .map(|entry| Neighbour {
            id: entry.id,
            similarity: entry
                .embedding
                .iter()
                .zip(&query.vector)
                .map(|(a, b)| a * b)
                .sum(),
        })
        .collect();
    found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    found.truncate(limit as usize);
    found
}

/// Adds the entries that are not known yet.
fn learn(known: &mut Vectors, store: &mut Sound) -> Result<()> {
    for entry in all(store)? {
        known.entry(entry.id).or_insert(entry);
    }
    Ok(())
}

/// Searches among the entries as they were first.
fn as_first(
    store: &mut Behind<'_, Vectors>,
    query: &VectorQuery,
    limit: u32,
    keeps: impl Fn(&Entry, &[Entry]) -> bool,
) -> Result<Vec<Neighbour>> {
    store.sound.nearest(query, limit)?;
    learn(store.kept, store.sound)?;
    let present = all(store.sound)?;
    let entries = store.kept.values().filter(|entry| keeps(entry, &present));
    Ok(among(entries, query, limit))
}

/// A search with another query.
fn asking(
    change: fn(&mut VectorQuery),
) -> impl Fn(&mut Behind<'_, ()>, &VectorQuery, u32) -> Result<Vec<Neighbour>> {
    move |store, query, limit| {
        let mut query = query.clone();
        change(&mut query);
        store.nearest(&query, limit)
    }
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("a search: it searches, and says that it does not")
            .caught_by("a-search-is-as-the-capabilities-say")
            .capabilities(|_, says| says.nearest = false),
        memory("a search: the least similar come first")
            .caught_by("the-nearest-come-first")
            .nearest(|store, query, limit| {
                changed(store.nearest(query, limit), |found| found.reverse())
            }),
        memory("a search: the nearest is left out")
            .caught_by("the-nearest-come-first")
            .nearest(|store, query, limit| {
                changed(store.nearest(query, limit.max(2)), |found| {
                    found.drain(..usize::from(found.len() > 1));
                    found.truncate(limit as usize);
                })
            }),
        memory("a search: distances instead of similarities")
            .caught_by("similarities-are-cosines")
            .nearest(|store, query, limit| {
                changed(store.nearest(query, limit), |found| {
                    for one in found {
                        one.similarity = 1.0 - one.similarity;
                    }
                })
            }),
        memory("a search: one more than asked for")
            .caught_by("at-most-so-many-are-found")
            .nearest(|store, query, limit| store.nearest(query, limit % 1024 + 1)),
        memory("a search: one in all namespaces")
            .caught_by("a-search-keeps-to-its-namespace")
            .nearest(|store, query, limit| {
                store.nearest(query, limit)?;
                let entries = all(store.sound)?;
                let elsewhere = entries.iter().map(|entry| Entry {
                    namespace: query.namespace.clone(),
                    ..entry.clone()
                });
                let elsewhere: Vec<_> = elsewhere.collect();
                Ok(among(elsewhere.iter(), query, limit))
            }),
        memory("a search: contexts are compared without case")
            .caught_by("a-search-keeps-to-its-context")
            .nearest(|store, query, limit| {
                let contexts = all(store.sound)?.into_iter().map(|entry| entry.context);
                let mut query = query.clone();
                for context in contexts {
                    if context.to_lowercase() == query.context.to_lowercase() {
                        query.context = context;
                    }
                }
                store.nearest(&query, limit)
            }),
        memory("a search: one tag of several is enough")
            .caught_by("every-tag-is-asked-for")
            .nearest(asking(|query| query.tags.truncate(1))),
        memory("a search: expired entries are found")
            .caught_by("expired-entries-are-found-only-without-a-time")
            .nearest(asking(|query| query.fresh_at = None)),
        memory("a search: expired entries are never found")
            .caught_by("expired-entries-are-found-only-without-a-time")
            .nearest(asking(
                |query| query.fresh_at = query.fresh_at.or(Some(u64::MAX))
            )),
        memory("a search: an entry expires a second late")
            .caught_by("expired-entries-are-found-only-without-a-time")
            .nearest(asking(
                |query| query.fresh_at = query.fresh_at.map(|at| at - 1)
            )),
        memory("a search: a replaced entry keeps its vector")
            .caught_by("a-replaced-entry-is-found-by-its-new-vector")
            .keeping::<Vectors>()
            .insert(|store, entries| {
                let inserted = store.sound.insert(entries);
                learn(store.kept, store.sound)?;
                inserted
            })
            .nearest(|store, query, limit| {
                as_first(store, query, limit, |entry, present| {
                    present.iter().any(|one| one.id == entry.id)
                })
            }),
        memory("a search: a deleted entry is found")
            .caught_by("deleted-entries-are-not-found")
            .keeping::<Vectors>()
            .insert(|store, entries| {
                let inserted = store.sound.insert(entries);
                learn(store.kept, store.sound)?;
                inserted
            })
            .nearest(|store, query, limit| as_first(store, query, limit, |_, _| true)),
        memory("a search: an import tells the search nothing")
            .caught_by("imported-entries-are-found")
            .keeping::<Vectors>()
            .insert(|store, entries| {
                let inserted = store.sound.insert(entries)?;
                for entry in all(store.sound)? {
                    store.kept.insert(entry.id, entry);
                }
                Ok(inserted)
            })
            .nearest(|store, query, limit| {
                store.sound.nearest(query, limit)?;
                Ok(among(store.kept.values(), query, limit))
            }),
        memory("a search: the vectors are lost at close")
            .caught_by("entries-are-found-after-reopening")
            .keeping::<bool>()
            .close(|store| {
                *store.kept = true;
                store.sound.close()
            })
            .nearest(|store, query, limit| match *store.kept {
                true => Ok(Vec::new()),
                false => store.sound.nearest(query, limit),
            }),
        memory("a search: a vector is cut or filled up")
            .caught_by("wrong-searches-are-refused")
            .nearest(|store, query, limit| {
                let dim = store.read_meta("embedder_dim")?.unwrap_or_default();
                let mut query = query.clone();
                query.vector.resize(dim.parse().unwrap_or_default(), 0.0);
                store.nearest(&query, limit)
            }),
        memory("a search: a limit is moved into its range")
            .caught_by("wrong-searches-are-refused")
            .nearest(|store, query, limit| store.nearest(query, limit.clamp(1, 1024))),
    ]
}
