//! Faults of counting by namespace.

use super::{Known, memory, sqlite};
use crate::broken::counts::{
    CountsEach, CountsElsewhere, CountsNone, CountsReceived, KeepsCounts, Recounts, summed,
};
use crate::broken::{Sound, all};
use mneme::store::{Entry, Result};

/// Of counting by namespace.
pub fn by_namespace() -> Vec<Known> {
    vec![
        memory(
            "each entry is counted alone",
            "counts-have-each-namespace-once",
            || {
                CountsEach(|store| {
                    let mut counts: Vec<_> = entries(store)?.collect();
                    counts.sort();
                    Ok(counts)
                })
            },
        ),
        memory(
            "each namespace is counted as one",
            "counts-have-each-namespace-once",
            || {
                CountsEach(|store| {
                    let names = store.list_namespaces()?;
                    Ok(names.into_iter().map(|name| (name, 1)).collect())
                })
            },
        ),
        memory(
            "each namespace has the count of all",
            "counts-agree-with-count",
            || {
                CountsEach(|store| {
                    let (names, all) = (store.list_namespaces()?, store.count(None)?);
                    Ok(names.into_iter().map(|name| (name, all)).collect())
                })
            },
        ),
        memory(
            "counts are put together without case",
            "counts-agree-with-count",
            || {
                CountsEach(|store| {
                    let lower = entries(store)?.map(|(name, n)| (name.to_lowercase(), n));
                    Ok(summed(lower))
                })
            },
        ),
        memory(
            "counts are not sorted",
            "counts-are-sorted-by-their-bytes",
            || {
                CountsEach(|store| {
                    let mut counts = store.count_by_namespace()?;
                    counts.reverse();
                    Ok(counts)
                })
            },
        ),
        memory(
            "counts are sorted by themselves",
            "counts-have-each-namespace-once",
            || {
                CountsEach(|store| {
                    let mut counts = store.count_by_namespace()?;
                    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
                    Ok(counts)
                })
            },
        ),
        memory(
            "counts are sorted without case",
            "counts-are-sorted-by-their-bytes",
            || {
                CountsEach(|store| {
                    let mut counts = store.count_by_namespace()?;
                    counts.sort_by_key(|(name, _)| name.to_lowercase());
                    Ok(counts)
                })
            },
        ),
        memory(
            "counts are sorted by UTF-16",
            "counts-are-sorted-by-their-bytes",
            || {
                CountsEach(|store| {
                    let mut counts = store.count_by_namespace()?;
                    counts.sort_by_key(|(name, _)| name.encode_utf16().collect::<Vec<_>>());
                    Ok(counts)
                })
            },
        ),
        memory(
            "a replaced entry is counted again",
            "counts-follow-every-write",
            Recounts::default,
        ),
        memory(
            "namespaces without entries have a count of 0",
            "counts-follow-every-write",
            CountsNone::default,
        ),
        memory(
            "namespaces with a quota have a count of 0",
            "quotas-and-meta-count-no-namespace",
            || {
                CountsEach(|store| {
                    let quotas = store.list_namespace_quotas()?;
                    let none = quotas.into_iter().map(|(name, _)| (name, 0));
                    Ok(summed(none.chain(store.count_by_namespace()?)))
                })
            },
        ),
        memory(
            "entries that can expire are not counted by namespace",
            "expired-entries-count-until-they-are-deleted",
            || {
                CountsEach(|store| {
                    store.count_by_namespace()?;
                    let lasting = all(store)?.into_iter().filter(|entry| entry.ttl.is_none());
                    Ok(summed(lasting.map(one)))
                })
            },
        ),
        memory(
            "what an import has received is counted by namespace",
            "imported-entries-are-counted-by-namespace",
            CountsReceived::default,
        ),
        memory(
            "names are cut at U+0000 when they are counted",
            "odd-namespaces-are-counted-exactly",
            || {
                CountsEach(|store| {
                    let cut = |name: String| name.split('\0').next().unwrap_or("").to_owned();
                    Ok(summed(entries(store)?.map(|(name, n)| (cut(name), n))))
                })
            },
        ),
        memory(
            "names are trimmed when they are counted",
            "odd-namespaces-are-counted-exactly",
            || {
                CountsEach(|store| {
                    let trimmed = entries(store)?.map(|(name, n)| (name.trim().to_owned(), n));
                    Ok(summed(trimmed))
                })
            },
        ),
        memory(
            "a hundred namespaces are counted",
            "a-hundred-and-fifty-namespaces-are-counted",
            || {
                CountsEach(|store| {
                    let mut counts = store.count_by_namespace()?;
                    counts.truncate(100);
                    Ok(counts)
                })
            },
        ),
        sqlite(
            "counts are kept until the store writes itself",
            "counts-take-in-what-other-stores-write",
            |_| KeepsCounts::default(),
        ),
        sqlite(
            "counts come from another connection",
            "counts-hold-still-in-a-view",
            |path| CountsElsewhere(path.to_owned()),
        ),
    ]
}

fn one(entry: Entry) -> (String, u64) {
    (entry.namespace, 1)
}

/// Each entry as one of its namespace.
fn entries(store: &mut Sound) -> Result<impl Iterator<Item = (String, u64)> + use<>> {
    Ok(all(store)?.into_iter().map(one))
}
