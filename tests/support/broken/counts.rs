//! Faults of counting by namespace.

use super::{Known, Sound, all, changed, cut_at_nul, memory, sqlite, utf16};
use mneme::SqliteStore;
use mneme::store::{Entry, Result, Store};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Each namespace with its number of entries.
type Counts = Vec<(String, u64)>;

/// Sums up numbers of entries of namespaces that come more than once.
fn summed(counts: impl IntoIterator<Item = (String, u64)>) -> Counts {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        *sums.entry(name).or_default() += count;
    }
    sums.into_iter().collect()
}

/// An entry as one of its namespace.
fn one(entry: &Entry) -> (String, u64) {
    (entry.namespace.clone(), 1)
}

/// The counts by what is made of the names.
fn counted_as(
    store: &mut Sound,
    after: Option<&str>,
    limit: u32,
    name: fn(&str) -> String,
) -> Result<Counts> {
    let counts = store.count_by_namespace(after, limit)?.into_iter();
    Ok(summed(counts.map(|(namespace, n)| (name(&namespace), n))))
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("each entry is counted alone")
            .caught_by("counts-have-each-namespace-once")
            .count_by_namespace(|store, _, _| {
                let mut counts: Counts = all(store.sound)?.iter().map(one).collect();
                counts.sort();
                Ok(counts)
            }),
        memory("each namespace is counted as one")
            .caught_by("counts-have-each-namespace-once")
            .count_by_namespace(|store, after, limit| {
                let names = store.list_namespaces(after, limit)?;
                Ok(names.into_iter().map(|name| (name, 1)).collect())
            }),
        memory("each namespace has the count of all")
            .caught_by("counts-agree-with-count")
            .count_by_namespace(|store, after, limit| {
                let (names, all) = (store.list_namespaces(after, limit)?, store.count(None)?);
                Ok(names.into_iter().map(|name| (name, all)).collect())
            }),
        memory("counts are put together without case")
            .caught_by("counts-agree-with-count")
            .count_by_namespace(|store, after, limit| counted_as(
                store.sound,
                after,
                limit,
                str::to_lowercase
            )),
        memory("counts are not sorted")
            .caught_by("counts-are-sorted-by-their-bytes")
            .count_by_namespace(|store, after, limit| {
                changed(store.count_by_namespace(after, limit), |counts| {
                    counts.reverse()
                })
            }),
        memory("counts are sorted by themselves")
            .caught_by("counts-have-each-namespace-once")
            .count_by_namespace(|store, after, limit| {
                changed(store.count_by_namespace(after, limit), |counts| {
                    counts.sort_by_key(|(_, count)| Reverse(*count));
                })
            }),
        memory("counts are sorted without case")
            .caught_by("counts-are-sorted-by-their-bytes")
            .count_by_namespace(|store, after, limit| {
                changed(store.count_by_namespace(after, limit), |counts| {
                    counts.sort_by_key(|(name, _)| name.to_lowercase());
                })
            }),
        memory("counts are sorted by UTF-16")
            .caught_by("counts-are-sorted-by-their-bytes")
            .count_by_namespace(|store, after, limit| {
                changed(store.count_by_namespace(after, limit), |counts| {
                    counts.sort_by_key(|(name, _)| utf16(name));
                })
            }),
        memory("a replaced entry is counted again")
            .caught_by("counts-follow-every-write")
            .keeping::<Counts>()
            .insert(|store, entries| {
                let one_each: Counts = entries.iter().map(one).collect();
                let inserted = store.insert(entries)?;
                let replaced = one_each.into_iter().zip(&inserted);
                let replaced = replaced.filter(|(_, inserted)| inserted.replaced);
                store.kept.extend(replaced.map(|(one, _)| one));
                Ok(inserted)
            })
            .count_by_namespace(|store, after, limit| {
                let counts = store.count_by_namespace(after, limit)?;
                Ok(summed(counts.into_iter().chain(store.kept.clone())))
            }),
        memory("namespaces without entries have a count of 0")
            .caught_by("counts-follow-every-write")
            .keeping::<BTreeSet<String>>()
            .count_by_namespace(|store, after, limit| {
                let counts = store.count_by_namespace(after, limit)?;
                let names = counts.iter().map(|(name, _)| name.clone());
                store.kept.extend(names);
                let none = store.kept.iter().map(|name| (name.clone(), 0));
                Ok(summed(counts.into_iter().chain(none)))
            }),
        memory("namespaces with a quota have a count of 0")
            .caught_by("quotas-and-meta-count-no-namespace")
            .count_by_namespace(|store, after, limit| {
                let quotas = store.list_namespace_quotas()?;
                let none = quotas.into_iter().map(|(name, _)| (name, 0));
                Ok(summed(none.chain(store.count_by_namespace(after, limit)?)))
            }),
        memory("entries that can expire are not counted by namespace")
            .caught_by("expired-entries-count-until-they-are-deleted")
            .count_by_namespace(|store, _, _| {
                let mut entries = all(store.sound)?;
                entries.retain(|entry| entry.ttl.is_none());
                Ok(summed(entries.iter().map(one)))
            }),
        memory("what an import has received is counted by namespace")
            .caught_by("imported-entries-are-counted-by-namespace")
            .staging()
            .count_by_namespace(|store, after, limit| {
                let counts = store.count_by_namespace(after, limit)?;
                let received = store.kept.entries.iter().map(one);
                Ok(summed(counts.into_iter().chain(received)))
            }),
        memory("names are cut at U+0000 when they are counted")
            .caught_by("odd-namespaces-are-counted-exactly")
            .count_by_namespace(|store, after, limit| counted_as(
                store.sound,
                after,
                limit,
                cut_at_nul
            )),
        memory("names are trimmed when they are counted")
            .caught_by("odd-namespaces-are-counted-exactly")
            .count_by_namespace(|store, after, limit| counted_as(
                store.sound,
                after,
                limit,
                |name| name.trim().to_owned()
            )),
        memory("a hundred namespaces are counted")
            .caught_by("a-hundred-and-fifty-namespaces-are-counted")
            .count_by_namespace(|store, after, limit| {
                changed(store.count_by_namespace(after, limit), |counts| {
                    counts.truncate(100)
                })
            }),
        sqlite("counts are kept until the store writes itself")
            .caught_by("counts-take-in-what-other-stores-write")
            .keeping::<Option<Counts>>()
            .insert(|store, entries| {
                *store.kept = None;
                store.insert(entries)
            })
            .clear_namespace(|store, namespace| {
                *store.kept = None;
                store.clear_namespace(namespace)
            })
            .count_by_namespace(|store, after, limit| {
                let counts = store.count_by_namespace(after, limit)?;
                Ok(store.kept.get_or_insert(counts).clone())
            }),
        sqlite("counts come from another connection")
            .caught_by("counts-hold-still-in-a-view")
            .count_by_namespace(|store, after, limit| {
                store.count_by_namespace(after, limit)?;
                let mut other = SqliteStore::new(store.path);
                if let Some(embedder) = other.recorded_embedder()? {
                    other.open(&embedder.fingerprint, embedder.dim)?;
                }
                other.count_by_namespace(after, limit)
            }),
    ]
}
