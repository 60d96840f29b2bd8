//! Which entries meet a filter.
//!
//! Ids come ascending from the shortest list that has all of them: those of a tag, of the namespace, or
//! all. Each entry is then asked itself.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use super::{Session, reference};
use crate::{Entry, Filter, Result, Selection};

/// How many entries a call looks at, at most. That takes a few milliseconds.
const LOOK: usize = 20_000;

/// The ids of the entries that carry a tag. A tag is there as long as an entry carries it.
#[derive(Debug, Default)]
pub(super) struct Tags(BTreeMap<String, BTreeSet<u64>>);

impl Tags {
    pub fn add(&mut self, entry: &Entry) {
        for tag in &entry.tags {
            self.0.entry(tag.clone()).or_default().insert(entry.id);
        }
    }

    pub fn remove(&mut self, entry: &Entry) {
        for tag in &entry.tags {
            if let Some(ids) = self.0.get_mut(tag) {
                ids.remove(&entry.id);
                if ids.is_empty() {
                    self.0.remove(tag);
                }
            }
        }
    }

    /// The ids of that one of these tags which the fewest entries carry, if a tag is named.
    fn fewest(&self, tags: &[String]) -> Option<&BTreeSet<u64>> {
        static NOBODY: BTreeSet<u64> = BTreeSet::new();
        let lists = tags.iter().map(|tag| self.0.get(tag).unwrap_or(&NOBODY));
        lists.min_by_key(|ids| ids.len())
    }
}

impl Session {
    pub fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection> {
        let mut found = Selection {
            entries: Vec::new(),
            next: None,
        };
        if limit == 0 {
            return Ok(found);
        }
        for (id, looked_at) in self.candidates(filter, last_id).zip(1..) {
            let entry = self.entries.get(&id);
            let meant = entry.filter(|entry| filter.accepts(entry));
            found.entries.extend(meant.map(reference));
            if found.entries.len() == limit as usize || looked_at == LOOK {
                found.next = Some(id);
                break;
            }
        }
        Ok(found)
    }

    /// The ids after `last_id` of the shortest list that has all that meet the filter, ascending.
    fn candidates(&self, filter: &Filter, last_id: u64) -> Box<dyn Iterator<Item = u64> + '_> {
        let Some(first) = last_id.checked_add(1) else {
            return Box::new(iter::empty());
        };
        let tagged = self.tags.fewest(&filter.tags);
        let length = tagged.map_or(self.entries.len(), BTreeSet::len);
        if let Some(name) = &filter.namespace {
            let space = self.namespaces.get(name);
            // They are sorted at each call, so they must be few.
            if space.map_or(0, |space| space.ids.len()) < length.min(LOOK) {
                let ids = space.into_iter().flat_map(|space| space.ids.values());
                let mut ids: Vec<u64> = ids.copied().filter(|id| *id >= first).collect();
                ids.sort_unstable();
                return Box::new(ids.into_iter());
            }
        }
        match tagged {
            Some(ids) => Box::new(ids.range(first..).copied()),
            None => Box::new(self.entries.range(first..).map(|(id, _)| *id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Entry, Filter, MemoryStore, Selection, Store};

    const ENTRIES: u64 = 50_000;
    const RARE: [u64; 3] = [7, 25_000, ENTRIES];

    fn entry(n: u64) -> Entry {
        let mut tags = vec!["all".to_owned(), format!("half:{}", n % 2)];
        if RARE.contains(&n) {
            tags.push("rare".to_owned());
        }
        tags.sort();
        Entry {
            id: 0,
            namespace: if n == 30_000 { "alone" } else { "many" }.to_owned(),
            context: String::new(),
            query_hash: format!("{n:064x}"),
            query: "q".to_owned(),
            response: "r".to_owned(),
            embedding: vec![1.0],
            metadata: "{}".to_owned(),
            tags,
            created_at: n,
            last_accessed_at: n,
            ttl: None,
            access_count: 0,
        }
    }

    fn filled() -> MemoryStore {
        let mut store = MemoryStore::new();
        store.open("test@1", 1).unwrap();
        let entries: Vec<_> = (1..=ENTRIES).map(entry).collect();
        for list in entries.chunks(1000) {
            store.insert(list.to_vec()).unwrap();
        }
        store
    }

    fn filter(namespace: Option<&str>, tags: &[&str]) -> Filter {
        Filter {
            namespace: namespace.map(str::to_owned),
            context: None,
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            created_from: None,
            created_before: None,
        }
    }

    fn ids(found: &Selection) -> Vec<u64> {
        found.entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn what_few_entries_have_is_found_by_looking_at_few() {
        let mut store = filled();
        for tags in [
            &["rare"][..],
            &["all", "rare"],
            &["all", "half:1", "half:0", "rare"],
        ] {
            for namespace in [None, Some("many")] {
                let wanted = filter(namespace, tags);
                let found = store.select(&wanted, 0, 10).unwrap();
                // A walk over a longer list would have ended before its end.
                assert_eq!(found.next, None, "{wanted:?}");
                let all: &[u64] = if tags.len() == 4 { &[] } else { &RARE };
                assert_eq!(ids(&found), all, "{wanted:?}");
            }
        }
        for tags in [&[][..], &["all"], &["all", "half:0"]] {
            let found = store.select(&filter(Some("alone"), tags), 0, 10).unwrap();
            assert_eq!((ids(&found), found.next), (vec![30_000], None), "{tags:?}");
        }
        for wanted in [
            filter(Some("none"), &["all"]),
            filter(None, &["all", "none"]),
        ] {
            let found = store.select(&wanted, 0, 10).unwrap();
            assert_eq!((ids(&found), found.next), (vec![], None), "{wanted:?}");
        }
    }

    #[test]
    fn a_call_ends_where_too_many_do_not_meet_the_filter() {
        let mut store = filled();
        let wanted = filter(None, &["half:0", "half:1"]);
        let mut last = 0;
        let mut calls = 0;
        loop {
            let found = store.select(&wanted, last, 10).unwrap();
            assert_eq!(ids(&found), []);
            calls += 1;
            match found.next {
                Some(next) => assert!(std::mem::replace(&mut last, next) < next),
                None => break,
            }
        }
        assert_eq!(calls, 2);
    }

    #[test]
    fn tags_follow_replacements_and_deletions() {
        let mut store = filled();
        let rare = filter(None, &["rare"]);
        let mut bare = entry(7);
        bare.tags.clear();
        store.insert(vec![bare]).unwrap();
        store.delete_by_id(25_000).unwrap();
        let found = store.select(&rare, 0, 10).unwrap();
        assert_eq!(ids(&found), [ENTRIES]);
        store.clear_namespace(Some("many")).unwrap();
        assert_eq!(ids(&store.select(&rare, 0, 10).unwrap()), []);
        let left = store.select(&filter(None, &["all"]), 0, 10).unwrap();
        assert_eq!(ids(&left), [30_000]);
    }
}
