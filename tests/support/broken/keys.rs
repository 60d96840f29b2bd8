//! Faults of comparing and listing namespaces and hashes.

use super::entries::composed;
use super::reads::first_references;
use super::{Fault, Known, Sound, all, changed, cut_at_nul, memory, utf16};
use mneme::store::{EntryKey, Result, StoreError};
use std::collections::{BTreeMap, BTreeSet};

/// The first of the names that are taken for the same.
#[derive(Default)]
struct First(BTreeMap<String, String>);

impl First {
    fn of(&self, folded: &str, name: &str) -> String {
        let first = self.0.get(folded).map_or(name, String::as_str);
        first.to_owned()
    }
}

impl Fault {
    /// Takes names for the same that are not: the first one that was stored stands for all of
    /// which `fold` makes the same.
    fn folds(self, fold: fn(&str) -> String) -> Fault<First> {
        self.keeping::<First>()
            .insert(move |store, mut entries| {
                for entry in &mut entries {
                    for name in [&mut entry.namespace, &mut entry.query_hash] {
                        let first = store.kept.0.entry(fold(name));
                        *name = first.or_insert_with(|| name.clone()).clone();
                    }
                }
                store.insert(entries)
            })
            .get_by_hash(move |store, keys, vectors| {
                let first = |name: &str| store.kept.of(&fold(name), name);
                let keys = keys.iter().map(|key| EntryKey {
                    namespace: first(&key.namespace),
                    query_hash: first(&key.query_hash),
                });
                let keys: Vec<EntryKey> = keys.collect();
                store.get_by_hash(&keys, vectors)
            })
            .count(move |store, namespace| {
                let namespace = namespace.map(|name| store.kept.of(&fold(name), name));
                store.count(namespace.as_deref())
            })
            .clear_namespace(move |store, namespace| {
                let namespace = namespace.map(|name| store.kept.of(&fold(name), name));
                store.clear_namespace(namespace.as_deref())
            })
    }

    /// Lists namespaces in another order.
    fn sorts_namespaces_by<K: Ord + 'static>(self, key: fn(&String) -> K) -> Self {
        self.list_namespaces(move |store, after, limit| {
            changed(store.list_namespaces(after, limit), |names| {
                names.sort_by_key(key)
            })
        })
    }

    /// Counts all namespaces that match.
    fn counts_where(self, matches: Matches) -> Self {
        self.count(move |store, pattern| {
            let mut sum = 0;
            for name in matching(store.sound, pattern, matches)? {
                sum += store.count(Some(&name))?;
            }
            Ok(sum)
        })
    }

    /// Clears all namespaces that match.
    fn clears_where(self, matches: Matches) -> Self {
        self.clear_namespace(move |store, pattern| {
            let mut sum = 0;
            for name in matching(store.sound, pattern, matches)? {
                sum += store.clear_namespace(Some(&name))?;
            }
            Ok(sum)
        })
    }

    /// Deletes expired entries of all namespaces that match.
    fn expires_where(self, matches: Matches) -> Self {
        self.delete_expired(move |store, now, pattern, limit| {
            let mut gone = Vec::new();
            for name in matching(store.sound, pattern, matches)? {
                let left = limit - u32::try_from(gone.len()).unwrap_or(limit);
                gone.extend(store.delete_expired(now, Some(&name), left)?);
            }
            Ok(gone)
        })
    }
}

/// Whether a pattern, the first, matches a name.
type Matches = fn(&str, &str) -> bool;

/// The namespaces that match.
fn matching(store: &mut Sound, pattern: Option<&str>, matches: Matches) -> Result<Vec<String>> {
    let mut names = store.list_namespaces(None, u32::MAX)?;
    names.retain(|name| pattern.is_none_or(|pattern| matches(pattern, name)));
    Ok(names)
}

/// SQL's `LIKE`, as far as `%` and `_` go.
fn like(pattern: &str, name: &str) -> bool {
    let mut pattern_chars = pattern.chars();
    match pattern_chars.next() {
        None => name.is_empty(),
        Some('%') => {
            let rest = pattern_chars.as_str();
            let mut tails = name.char_indices().map(|(at, _)| &name[at..]);
            like(rest, "") || tails.any(|tail| like(rest, tail))
        }
        Some(wanted) => {
            let mut name_chars = name.chars();
            let matched = name_chars
                .next()
                .is_some_and(|found| wanted == '_' || wanted == found);
            matched && like(pattern_chars.as_str(), name_chars.as_str())
        }
    }
}

/// Whether the name begins with the pattern.
fn prefix(pattern: &str, name: &str) -> bool {
    name.starts_with(pattern)
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("keys are compared without case")
            .caught_by("letter-case-of-namespaces-counts")
            .folds(str::to_lowercase),
        memory("keys are trimmed")
            .caught_by("white-space-in-namespaces-counts")
            .folds(|name| name.trim().to_owned()),
        memory("keys are composed")
            .caught_by("unicode-forms-of-namespaces-count")
            .folds(composed),
        memory("namespaces end at U+0000")
            .caught_by("invisible-characters-in-namespaces-count")
            .stores(|entry| entry.namespace = cut_at_nul(&entry.namespace)),
        memory("one hash is held in one namespace only")
            .caught_by("one-hash-in-two-namespaces-is-two-entries")
            .insert(|store, entries| {
                for old in all(store.sound)? {
                    let mut same = entries.iter().filter(|e| e.query_hash == old.query_hash);
                    if same.any(|entry| entry.namespace != old.namespace) {
                        store.delete_by_id(old.id)?;
                    }
                }
                store.insert(entries)
            }),
        memory("count takes a namespace for a pattern")
            .caught_by("count-takes-no-pattern")
            .counts_where(like),
        memory("clear-namespace takes a namespace for a pattern")
            .caught_by("clearing-takes-no-pattern")
            .clears_where(like),
        memory("delete-expired takes a namespace for a pattern")
            .caught_by("expiry-keeps-to-its-namespace")
            .expires_where(like),
        memory("count takes a namespace for a prefix")
            .caught_by("namespaces-that-begin-alike-are-different")
            .counts_where(prefix),
        memory("clear-namespace takes a namespace for a prefix")
            .caught_by("clearing-leaves-other-namespaces")
            .clears_where(prefix),
        memory("delete-expired takes a namespace for a prefix")
            .caught_by("expiry-keeps-to-its-namespace")
            .expires_where(prefix),
        memory("iter-lru-ids takes a namespace for a prefix")
            .caught_by("lru-keeps-to-its-namespace")
            .iter_lru_ids(|store, n, pattern| {
                let names = matching(store.sound, pattern, prefix)?;
                let mut entries = all(store.sound)?;
                entries.retain(|entry| names.contains(&entry.namespace));
                entries.sort_by_key(|entry| (entry.last_accessed_at, entry.id));
                Ok(first_references(&entries, n))
            }),
        memory("count counts all namespaces")
            .caught_by("namespaces-that-begin-alike-are-different")
            .count(|store, _| store.count(None)),
        memory("count of all counts none")
            .caught_by("count-of-all-follows-every-namespace")
            .count(|store, namespace| match namespace {
                Some(_) => store.count(namespace),
                None => Ok(0),
            }),
        memory("namespaces are not sorted")
            .caught_by("namespaces-are-sorted-by-their-bytes")
            .list_namespaces(|store, after, limit| changed(
                store.list_namespaces(after, limit),
                |names| names.reverse()
            )),
        memory("namespaces are sorted without case")
            .caught_by("namespaces-are-sorted-by-their-bytes")
            .sorts_namespaces_by(|name| name.to_lowercase()),
        memory("namespaces are sorted by UTF-16")
            .caught_by("namespaces-are-sorted-by-their-bytes")
            .sorts_namespaces_by(|name| utf16(name)),
        memory("namespaces are listed once an entry")
            .caught_by("namespaces-with-entries-are-listed-once")
            .list_namespaces(|store, _, _| {
                let mut names: Vec<_> =
                    all(store.sound)?.into_iter().map(|e| e.namespace).collect();
                names.sort();
                Ok(names)
            }),
        memory("namespaces without entries are listed")
            .caught_by("a-namespace-goes-with-its-last-entry")
            .keeping::<BTreeSet<String>>()
            .insert(|store, entries| {
                let names = entries.iter().map(|entry| entry.namespace.clone());
                store.kept.extend(names);
                store.insert(entries)
            })
            .list_namespaces(|store, after, limit| {
                store
                    .kept
                    .extend(store.sound.list_namespaces(after, limit)?);
                Ok(store.kept.iter().cloned().collect())
            }),
        memory("namespaces with a quota are listed")
            .caught_by("quotas-and-meta-make-no-namespace")
            .list_namespaces(|store, after, limit| {
                let mut names = store.list_namespaces(after, limit)?;
                let quotas = store.list_namespace_quotas()?;
                names.extend(quotas.into_iter().map(|(name, _)| name));
                names.sort();
                names.dedup();
                Ok(names)
            }),
        memory("count of an unknown namespace fails")
            .caught_by("count-of-an-unknown-namespace-is-zero")
            .count(|store, namespace| match store.count(namespace)? {
                0 => Err(StoreError::InvalidArgument(
                    "there is no such namespace".into(),
                )),
                count => Ok(count),
            }),
    ]
}
