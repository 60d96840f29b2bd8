//! Faults of reading: pages, the order of eviction, and look-ups.

use super::{Fault, Known, all, all_of, changed, memory, reference};
use mneme::store::{BackendError, Entry, EntryRef, Result, StampPage, StoreError, VectorPage};
use std::cmp::Reverse;

impl Fault {
    /// Asks for other pages than it was asked for: for what becomes of `last-id` and `limit`.
    fn other_pages(self, other: fn(u64, u32) -> (u64, u32)) -> Self {
        self.iter_since(move |store, last_id, limit| {
            let (last_id, limit) = other(last_id, limit);
            store.iter_since(last_id, limit)
        })
        .iter_vectors(move |store, last_id, limit| {
            let (last_id, limit) = other(last_id, limit);
            store.iter_vectors(last_id, limit)
        })
        .iter_stamps(move |store, last_id, limit| {
            let (last_id, limit) = other(last_id, limit);
            store.iter_stamps(last_id, limit)
        })
    }

    /// Changes pages of entries.
    fn entry_pages(self, change: fn(&mut Vec<Entry>)) -> Self {
        self.iter_since(move |store, last_id, limit| {
            changed(store.iter_since(last_id, limit), change)
        })
    }

    /// Changes pages of vectors.
    fn vector_pages(self, change: fn(&mut VectorPage)) -> Self {
        self.iter_vectors(move |store, last_id, limit| {
            changed(store.iter_vectors(last_id, limit), change)
        })
    }

    /// Changes pages of stamps.
    fn stamp_pages(self, change: fn(&mut StampPage)) -> Self {
        self.iter_stamps(move |store, last_id, limit| {
            changed(store.iter_stamps(last_id, limit), change)
        })
    }

    /// Puts what is to be evicted in another order.
    fn evicts_by<K: Ord + 'static>(self, key: fn(&Entry) -> K) -> Self {
        self.iter_lru_ids(move |store, n, namespace| {
            let mut entries = all_of(store.sound, namespace)?;
            entries.sort_by_key(key);
            Ok(first_references(&entries, n))
        })
    }
}

/// The versions of the first `n` entries.
pub fn first_references(entries: &[Entry], n: u32) -> Vec<EntryRef> {
    entries.iter().take(n as usize).map(reference).collect()
}

/// The length of each vector of a page.
pub fn dim(page: &VectorPage) -> usize {
    page.vectors.len() / page.ids.len().max(1)
}

/// Turns the vectors of a page round, and nothing else.
fn reverse_vectors(page: &mut VectorPage) {
    let rows = page.vectors.rchunks(dim(page).max(1));
    page.vectors = rows.flatten().copied().collect();
}

pub fn pages() -> Vec<Known> {
    faults![
        memory("pages of entries are not sorted")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .entry_pages(|page| page.reverse()),
        memory("pages of vectors are not sorted")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .vector_pages(|page| {
                reverse_vectors(page);
                page.ids.reverse();
                page.namespaces.reverse();
                page.contexts.reverse();
                page.created_at.reverse();
            }),
        memory("pages of stamps are not sorted")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .stamp_pages(|page| {
                page.ids.reverse();
                page.created_at.reverse();
            }),
        memory("a page begins with the last id")
            .caught_by("a-page-begins-after-the-last-id")
            .other_pages(|last, limit| (last.saturating_sub(1), limit)),
        memory("a page leaves out the first row")
            .caught_by("a-page-begins-after-the-last-id")
            .other_pages(|last, limit| (last.saturating_add(1), limit)),
        memory("the limit of a page is ignored")
            .caught_by("a-page-has-at-most-limit-rows")
            .other_pages(|last, _| (last, u32::MAX)),
        memory("a page has one row more than its limit")
            .caught_by("a-page-has-at-most-limit-rows")
            .other_pages(|last, limit| (last, limit.saturating_add(1))),
        memory("a page has one row less than its limit")
            .caught_by("a-short-page-is-the-last")
            .other_pages(|last, limit| (last, limit.saturating_sub(1))),
        memory("a page has 10 rows at most")
            .caught_by("pages-cover-all-namespaces")
            .other_pages(|last, limit| (last, limit.min(10))),
        memory("a page of entries skips a row")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .entry_pages(|page| {
                if page.len() > 2 {
                    page.remove(1);
                }
            }),
        memory("a page of vectors skips a row")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .vector_pages(|page| {
                if page.ids.len() > 2 {
                    let dim = dim(page);
                    page.ids.remove(1);
                    page.namespaces.remove(1);
                    page.contexts.remove(1);
                    page.created_at.remove(1);
                    page.vectors.drain(dim..2 * dim);
                }
            }),
        memory("a page of stamps skips a row")
            .caught_by("a-walk-in-small-steps-sees-every-row-once")
            .stamp_pages(|page| {
                if page.ids.len() > 2 {
                    page.ids.remove(1);
                    page.created_at.remove(1);
                }
            }),
        memory("pages go by rank, not by id")
            .caught_by("pages-skip-deleted-rows")
            .iter_since(|store, last_id, limit| {
                let rows = all(store.sound)?.into_iter().skip(last_id as usize);
                Ok(rows.take(limit as usize).collect())
            }),
        memory("the vectors of a page are those of other rows")
            .caught_by("vectors-come-row-by-row")
            .vector_pages(reverse_vectors),
        memory("the namespaces of a page are those of other rows")
            .caught_by("the-walks-agree")
            .vector_pages(|page| page.namespaces.reverse()),
        memory("the contexts of a page are those of other rows")
            .caught_by("the-walks-agree")
            .vector_pages(|page| page.contexts.reverse()),
        memory("a page of vectors lacks the last context")
            .caught_by("the-walks-agree")
            .vector_pages(|page| {
                page.contexts.pop();
            }),
        memory("the times of a page of vectors are those of other rows")
            .caught_by("the-walks-agree")
            .vector_pages(|page| page.created_at.reverse()),
        memory("the times of a page of stamps are those of other rows")
            .caught_by("the-walks-agree")
            .stamp_pages(|page| page.created_at.reverse()),
        memory("a page of vectors lacks the last vector")
            .caught_by("vectors-come-row-by-row")
            .vector_pages(|page| page.vectors.truncate(page.vectors.len() - dim(page))),
    ]
}

pub fn eviction() -> Vec<Known> {
    faults![
        memory("ties in the order of eviction go by descending id")
            .caught_by("ties-are-broken-by-id")
            .evicts_by(|entry| (entry.last_accessed_at, Reverse(entry.id))),
        memory("the most recently used go first")
            .caught_by("the-least-recently-used-come-first")
            .evicts_by(|entry| (Reverse(entry.last_accessed_at), entry.id)),
        memory("the oldest go first, used or not")
            .caught_by("the-least-recently-used-come-first")
            .evicts_by(|entry| (entry.created_at, entry.id)),
        memory("the first stored go first, used or not")
            .caught_by("the-least-recently-used-come-first")
            .evicts_by(|entry| entry.id),
        memory("the order of eviction is by namespace first")
            .caught_by("lru-covers-all-namespaces")
            .evicts_by(|entry| (entry.namespace.clone(), entry.last_accessed_at, entry.id)),
        memory("the order of eviction ignores the namespace asked for")
            .caught_by("lru-keeps-to-its-namespace")
            .iter_lru_ids(|store, n, _| store.iter_lru_ids(n, None)),
        memory("the order of eviction ignores the number asked for")
            .caught_by("lru-returns-at-most-n")
            .iter_lru_ids(|store, _, namespace| store.iter_lru_ids(u32::MAX, namespace)),
        memory("the order of eviction names no namespace")
            .caught_by("lru-names-the-version")
            .iter_lru_ids(|store, n, namespace| {
                changed(store.iter_lru_ids(n, namespace), |found| {
                    found.iter_mut().for_each(|item| item.namespace.clear());
                })
            }),
    ]
}

/// Fails where there is nothing to look up, as SQL does at `IN ()`.
fn something(asked: usize) -> Result<()> {
    match asked {
        0 => Err(StoreError::Backend(BackendError {
            message: "syntax error near \")\"".into(),
            retryable: false,
        })),
        _ => Ok(()),
    }
}

pub fn looking_up() -> Vec<Known> {
    faults![
        memory("get-by-hash leaves out what it does not find")
            .caught_by("look-ups-answer-in-the-order-of-the-keys")
            .get_by_hash(|store, keys, vectors| {
                changed(store.get_by_hash(keys, vectors), |found| {
                    found.retain(Option::is_some)
                })
            }),
        memory("get-by-hash answers in another order")
            .caught_by("look-ups-answer-in-the-order-of-the-keys")
            .get_by_hash(|store, keys, vectors| changed(
                store.get_by_hash(keys, vectors),
                |found| found.reverse()
            )),
        memory("get-by-hash answers a key once")
            .caught_by("a-key-may-be-asked-for-twice")
            .get_by_hash(|store, keys, vectors| {
                let mut found = store.get_by_hash(keys, vectors)?;
                let mut seen = Vec::new();
                for entry in &mut found {
                    match entry.as_ref().map(|entry| entry.id) {
                        Some(id) if seen.contains(&id) => *entry = None,
                        id => seen.extend(id),
                    }
                }
                Ok(found)
            }),
        memory("get-by-hash hides what is about to expire")
            .caught_by("expired-entries-are-returned")
            .get_by_hash(|store, keys, vectors| {
                let found = store.get_by_hash(keys, vectors)?.into_iter();
                let shown = found.map(|found| found.filter(|entry| entry.ttl != Some(0)));
                Ok(shown.collect())
            }),
        memory("get-by-ids answers in the order of ids")
            .caught_by("ids-are-answered-in-the-order-asked")
            .get_by_ids(|store, ids, vectors| {
                changed(store.get_by_ids(ids, vectors), |found| {
                    found.sort_by_key(|entry| entry.id)
                })
            }),
        memory("get-by-ids answers nothing where one is missing")
            .caught_by("unknown-ids-are-left-out")
            .get_by_ids(|store, ids, vectors| {
                changed(store.get_by_ids(ids, vectors), |found| {
                    if found.len() < ids.len() {
                        found.clear();
                    }
                })
            }),
        memory("an entry loses its id on the way out")
            .caught_by("an-inserted-entry-is-there-whole")
            .returns(|entry| entry.id = 0),
        memory("looking up nothing fails")
            .caught_by("a-look-up-of-no-keys-is-empty")
            .get_by_ids(|store, ids, vectors| {
                let found = store.get_by_ids(ids, vectors)?;
                something(ids.len())?;
                Ok(found)
            })
            .get_by_hash(|store, keys, vectors| {
                let found = store.get_by_hash(keys, vectors)?;
                something(keys.len())?;
                Ok(found)
            }),
    ]
}
