//! Faults of reading: pages, the order of eviction, look-ups and names.

use super::{Known, memory};
use crate::broken::Sound;
use crate::broken::entries::{AnonymousRefs, HashesCollide, Returns, Stores};
use crate::broken::keys::{Counts, Folds, Ghosts, Lists, Patterns, like, prefix};
use crate::broken::pages::{
    ByHash, ByIds, Entries, Eviction, NothingIsAnError, OtherPage, PagesByRank, Stamps, Vectors,
    by_access, reversed, vectors_reversed,
};
use crate::broken::{Fault, all, keys, texts};
use mneme::store::StoreError;
use mneme::store::{Entry, Result};

/// Of pages.
pub fn pages() -> Vec<Known> {
    let page = |of: fn(u64, u32) -> (u64, u32)| move || OtherPage { of };
    vec![
        memory(
            "pages of entries are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || Entries(|page| page.reverse()),
        ),
        memory(
            "pages of vectors are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || Vectors(reversed),
        ),
        memory(
            "pages of stamps are not sorted",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Stamps(|page| {
                    page.ids.reverse();
                    page.created_at.reverse();
                })
            },
        ),
        memory(
            "a page begins with the last id",
            "a-page-begins-after-the-last-id",
            page(|last, limit| (last.saturating_sub(1), limit)),
        ),
        memory(
            "a page leaves out the first row",
            "a-page-begins-after-the-last-id",
            page(|last, limit| (last.saturating_add(1), limit)),
        ),
        memory(
            "the limit of a page is ignored",
            "a-page-has-at-most-limit-rows",
            page(|last, _| (last, u32::MAX)),
        ),
        memory(
            "a page has one row more than its limit",
            "a-page-has-at-most-limit-rows",
            page(|last, limit| (last, limit.saturating_add(1))),
        ),
        memory(
            "a page has one row less than its limit",
            "a-short-page-is-the-last",
            page(|last, limit| (last, limit.saturating_sub(1))),
        ),
        memory(
            "a page has 10 rows at most",
            "pages-cover-all-namespaces",
            page(|last, limit| (last, limit.min(10))),
        ),
        memory(
            "a page of entries skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Entries(|page| {
                    if page.len() > 2 {
                        page.remove(1);
                    }
                })
            },
        ),
        memory(
            "a page of vectors skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Vectors(|page| {
                    if page.ids.len() > 2 {
                        let dim = page.vectors.len() / page.ids.len();
                        page.ids.remove(1);
                        page.namespaces.remove(1);
                        page.created_at.remove(1);
                        page.vectors.drain(dim..2 * dim);
                    }
                })
            },
        ),
        memory(
            "a page of stamps skips a row",
            "a-walk-in-small-steps-sees-every-row-once",
            || {
                Stamps(|page| {
                    if page.ids.len() > 2 {
                        page.ids.remove(1);
                        page.created_at.remove(1);
                    }
                })
            },
        ),
        memory(
            "pages go by rank, not by id",
            "pages-skip-deleted-rows",
            || PagesByRank,
        ),
        memory(
            "the vectors of a page are those of other rows",
            "vectors-come-row-by-row",
            || Vectors(vectors_reversed),
        ),
        memory(
            "the namespaces of a page are those of other rows",
            "the-walks-agree",
            || Vectors(|page| page.namespaces.reverse()),
        ),
        memory(
            "the times of a page of vectors are those of other rows",
            "the-walks-agree",
            || Vectors(|page| page.created_at.reverse()),
        ),
        memory(
            "the times of a page of stamps are those of other rows",
            "the-walks-agree",
            || Stamps(|page| page.created_at.reverse()),
        ),
        memory(
            "a page of vectors lacks the last vector",
            "vectors-come-row-by-row",
            || {
                Vectors(|page| {
                    let dim = page.vectors.len() / page.ids.len().max(1);
                    page.vectors.truncate(page.vectors.len() - dim);
                })
            },
        ),
    ]
}

/// Of the order of eviction.
pub fn eviction() -> Vec<Known> {
    let sound = || Eviction {
        sort: by_access,
        by_namespace: true,
        limited: true,
    };
    vec![
        memory(
            "ties in the order of eviction go by descending id",
            "ties-are-broken-by-id",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (e.last_accessed_at, std::cmp::Reverse(e.id)));
                },
                ..sound()
            },
        ),
        memory(
            "the most recently used go first",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (std::cmp::Reverse(e.last_accessed_at), e.id));
                },
                ..sound()
            },
        ),
        memory(
            "the oldest go first, used or not",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| entries.sort_by_key(|e| (e.created_at, e.id)),
                ..sound()
            },
        ),
        memory(
            "the first stored go first, used or not",
            "the-least-recently-used-come-first",
            move || Eviction {
                sort: |entries| entries.sort_by_key(|e| e.id),
                ..sound()
            },
        ),
        memory(
            "the order of eviction is by namespace first",
            "lru-covers-all-namespaces",
            move || Eviction {
                sort: |entries| {
                    entries.sort_by_key(|e| (e.namespace.clone(), e.last_accessed_at, e.id));
                },
                ..sound()
            },
        ),
        memory(
            "the order of eviction ignores the namespace asked for",
            "lru-keeps-to-its-namespace",
            move || Eviction {
                by_namespace: false,
                ..sound()
            },
        ),
        memory(
            "the order of eviction ignores the number asked for",
            "lru-returns-at-most-n",
            move || Eviction {
                limited: false,
                ..sound()
            },
        ),
        memory(
            "the order of eviction names no namespace",
            "lru-names-the-version",
            || AnonymousRefs,
        ),
    ]
}

/// Of look-ups by key and by id.
pub fn looking_up() -> Vec<Known> {
    vec![
        memory(
            "get-by-hash leaves out what it does not find",
            "look-ups-answer-in-the-order-of-the-keys",
            || ByHash(|found| found.retain(Option::is_some)),
        ),
        memory(
            "get-by-hash answers in another order",
            "look-ups-answer-in-the-order-of-the-keys",
            || ByHash(|found| found.reverse()),
        ),
        memory(
            "get-by-hash answers a key once",
            "a-key-may-be-asked-for-twice",
            || {
                ByHash(|found| {
                    let mut seen = Vec::new();
                    for entry in found {
                        match entry.as_ref().map(|entry| entry.id) {
                            Some(id) if seen.contains(&id) => *entry = None,
                            id => seen.extend(id),
                        }
                    }
                })
            },
        ),
        memory(
            "get-by-hash hides what is about to expire",
            "expired-entries-are-returned",
            || {
                ByHash(|found| {
                    for entry in found {
                        *entry = entry.take().filter(|entry| entry.ttl != Some(0));
                    }
                })
            },
        ),
        memory(
            "get-by-ids answers in the order of ids",
            "ids-are-answered-in-the-order-asked",
            || ByIds(|found| found.sort_by_key(|entry| entry.id)),
        ),
        memory(
            "get-by-ids answers nothing where one is missing",
            "unknown-ids-are-left-out",
            || MissingIsEmpty,
        ),
        memory(
            "an entry loses its id on the way out",
            "an-inserted-entry-is-there-whole",
            || Returns(|entry| entry.id = 0),
        ),
        memory(
            "looking up nothing fails",
            "a-look-up-of-no-keys-is-empty",
            || NothingIsAnError,
        ),
    ]
}

/// Of namespaces and keys.
pub fn names() -> Vec<Known> {
    let folds = |fold: fn(&str) -> String| move || Folds::by(fold);
    let patterns =
        |at: &'static str, matches: fn(&str, &str) -> bool| move || Patterns { matches, at };
    vec![
        memory(
            "keys are compared without case",
            "letter-case-of-namespaces-counts",
            folds(|name| name.to_lowercase()),
        ),
        memory(
            "keys are trimmed",
            "white-space-in-namespaces-counts",
            folds(|name| name.trim().to_owned()),
        ),
        memory(
            "keys are composed",
            "unicode-forms-of-namespaces-count",
            folds(keys::composed),
        ),
        memory(
            "namespaces end at U+0000",
            "invisible-characters-in-namespaces-count",
            || Stores(texts::namespace_cut_at_nul),
        ),
        memory(
            "one hash is held in one namespace only",
            "one-hash-in-two-namespaces-is-two-entries",
            || HashesCollide,
        ),
        memory(
            "count takes a namespace for a pattern",
            "count-takes-no-pattern",
            patterns("count", like),
        ),
        memory(
            "clear-namespace takes a namespace for a pattern",
            "clearing-takes-no-pattern",
            patterns("clear_namespace", like),
        ),
        memory(
            "delete-expired takes a namespace for a pattern",
            "expiry-covers-all-namespaces",
            patterns("delete_expired", like),
        ),
        memory(
            "count takes a namespace for a prefix",
            "namespaces-that-begin-alike-are-different",
            patterns("count", prefix),
        ),
        memory(
            "clear-namespace takes a namespace for a prefix",
            "clearing-leaves-other-namespaces",
            patterns("clear_namespace", prefix),
        ),
        memory(
            "delete-expired takes a namespace for a prefix",
            "expiry-covers-all-namespaces",
            patterns("delete_expired", prefix),
        ),
        memory(
            "iter-lru-ids takes a namespace for a prefix",
            "lru-keeps-to-its-namespace",
            patterns("iter_lru_ids", prefix),
        ),
        memory(
            "count counts all namespaces",
            "namespaces-that-begin-alike-are-different",
            || Counts(|store, _| store.count(None)),
        ),
        memory(
            "count of all counts none",
            "count-of-all-follows-every-namespace",
            || {
                Counts(|store, namespace| match namespace {
                    Some(_) => store.count(namespace),
                    None => Ok(0),
                })
            },
        ),
        memory(
            "namespaces are not sorted",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.reverse();
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are sorted without case",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.sort_by_key(|name| name.to_lowercase());
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are sorted by UTF-16",
            "namespaces-are-sorted-by-their-bytes",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.sort_by_key(|name| name.encode_utf16().collect::<Vec<_>>());
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces are listed once an entry",
            "namespaces-with-entries-are-listed-once",
            || {
                Lists(|store| {
                    let mut names: Vec<_> = all(store)?.into_iter().map(|e| e.namespace).collect();
                    names.sort();
                    Ok(names)
                })
            },
        ),
        memory(
            "namespaces without entries are listed",
            "a-namespace-goes-with-its-last-entry",
            Ghosts::default,
        ),
        memory(
            "namespaces with a quota are listed",
            "quotas-and-meta-make-no-namespace",
            || {
                Lists(|store| {
                    let mut names = store.list_namespaces()?;
                    names.extend(
                        store
                            .list_namespace_quotas()?
                            .into_iter()
                            .map(|(name, _)| name),
                    );
                    names.sort();
                    names.dedup();
                    Ok(names)
                })
            },
        ),
        memory(
            "count of an unknown namespace fails",
            "count-of-an-unknown-namespace-is-zero",
            || {
                Counts(|store, namespace| match store.count(namespace)? {
                    0 => Err(StoreError::InvalidArgument(
                        "there is no such namespace".into(),
                    )),
                    count => Ok(count),
                })
            },
        ),
    ]
}

/// Answers a look-up by ids with nothing unless all are there.
struct MissingIsEmpty;

impl Fault for MissingIsEmpty {
    fn get_by_ids(&mut self, store: &mut Sound, ids: &[u64]) -> Result<Vec<Entry>> {
        let found = store.get_by_ids(ids)?;
        Ok(if found.len() == ids.len() {
            found
        } else {
            Vec::new()
        })
    }
}
