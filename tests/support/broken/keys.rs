//! Faults of comparing namespaces and hashes.

use super::{Fault, Sound, all};
use mneme::store::{Entry, EntryKey, EntryRef, Inserted, Result};
use std::collections::BTreeMap;

/// Takes names for the same that are not: the first one that was stored stands for all.
pub struct Folds {
    fold: fn(&str) -> String,
    first: BTreeMap<String, String>,
}

impl Folds {
    /// Names are the same where this makes the same of them.
    pub fn by(fold: fn(&str) -> String) -> Self {
        Folds {
            fold,
            first: BTreeMap::new(),
        }
    }

    fn of(&self, name: &str) -> String {
        let first = self.first.get(&(self.fold)(name));
        first.cloned().unwrap_or_else(|| name.to_owned())
    }
}

impl Fault for Folds {
    fn insert(&mut self, store: &mut Sound, mut entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        for entry in &mut entries {
            for name in [&mut entry.namespace, &mut entry.query_hash] {
                let first = self.first.entry((self.fold)(name));
                *name = first.or_insert_with(|| name.clone()).clone();
            }
        }
        store.insert(entries)
    }

    fn get_by_hash(&mut self, store: &mut Sound, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        let keys: Vec<EntryKey> = keys
            .iter()
            .map(|key| EntryKey {
                namespace: self.of(&key.namespace),
                query_hash: self.of(&key.query_hash),
            })
            .collect();
        store.get_by_hash(&keys)
    }

    fn count(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let namespace = namespace.map(|name| self.of(name));
        store.count(namespace.as_deref())
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        let namespace = namespace.map(|name| self.of(name));
        store.clear_namespace(namespace.as_deref())
    }
}

/// Composes a few letters with their accents.
pub fn composed(text: &str) -> String {
    let pairs = [
        ("e\u{301}", "é"),
        ("a\u{30a}", "å"),
        ("A\u{30a}", "Å"),
        ("u\u{308}", "ü"),
        ("o\u{308}", "ö"),
        ("n\u{303}", "ñ"),
    ];
    pairs
        .iter()
        .fold(text.to_owned(), |text, (pair, one)| text.replace(pair, one))
}

/// Takes namespaces for patterns: what is asked of one is answered for all that match.
pub struct Patterns {
    /// Whether a pattern, the first, matches a name.
    pub matches: fn(&str, &str) -> bool,
    /// Where the pattern is at work: `count`, `clear_namespace`, `delete_expired` or
    /// `iter_lru_ids`.
    pub at: &'static str,
}

impl Patterns {
    fn names(&self, store: &mut Sound, pattern: Option<&str>) -> Result<Vec<String>> {
        let mut names = store.list_namespaces()?;
        names.retain(|name| pattern.is_none_or(|pattern| (self.matches)(pattern, name)));
        Ok(names)
    }
}

impl Fault for Patterns {
    fn count(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        if self.at != "count" {
            return store.count(namespace);
        }
        let mut sum = 0;
        for name in self.names(store, namespace)? {
            sum += store.count(Some(&name))?;
        }
        Ok(sum)
    }

    fn clear_namespace(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        if self.at != "clear_namespace" {
            return store.clear_namespace(namespace);
        }
        let mut sum = 0;
        for name in self.names(store, namespace)? {
            sum += store.clear_namespace(Some(&name))?;
        }
        Ok(sum)
    }

    fn delete_expired(
        &mut self,
        store: &mut Sound,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        if self.at != "delete_expired" {
            return store.delete_expired(now, namespace, limit);
        }
        let mut gone = Vec::new();
        for name in self.names(store, namespace)? {
            let left = limit - u32::try_from(gone.len()).unwrap_or(limit);
            gone.extend(store.delete_expired(now, Some(&name), left)?);
        }
        Ok(gone)
    }

    fn iter_lru_ids(
        &mut self,
        store: &mut Sound,
        n: u32,
        namespace: Option<&str>,
    ) -> Result<Vec<EntryRef>> {
        if self.at != "iter_lru_ids" {
            return store.iter_lru_ids(n, namespace);
        }
        let names = self.names(store, namespace)?;
        let mut entries = all(store)?;
        entries.retain(|entry| names.contains(&entry.namespace));
        super::pages::by_access(&mut entries);
        entries.truncate(n as usize);
        Ok(entries.iter().map(super::reference).collect())
    }
}

/// SQL's `LIKE`, as far as `%` and `_` go.
pub fn like(pattern: &str, name: &str) -> bool {
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
pub fn prefix(pattern: &str, name: &str) -> bool {
    name.starts_with(pattern)
}

/// Lists namespaces in another way.
pub struct Lists(pub fn(&mut Sound) -> Result<Vec<String>>);

impl Fault for Lists {
    fn list_namespaces(&mut self, store: &mut Sound) -> Result<Vec<String>> {
        (self.0)(store)
    }
}

/// Goes on listing the namespaces that it has ever seen.
#[derive(Default)]
pub struct Ghosts(std::collections::BTreeSet<String>);

impl Fault for Ghosts {
    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.0
            .extend(entries.iter().map(|entry| entry.namespace.clone()));
        store.insert(entries)
    }

    fn list_namespaces(&mut self, store: &mut Sound) -> Result<Vec<String>> {
        self.0.extend(store.list_namespaces()?);
        Ok(self.0.iter().cloned().collect())
    }
}

/// Counts in another way.
pub struct Counts(pub fn(&mut Sound, Option<&str>) -> Result<u64>);

impl Fault for Counts {
    fn count(&mut self, store: &mut Sound, namespace: Option<&str>) -> Result<u64> {
        (self.0)(store, namespace)
    }
}
