//! Faults of pages of namespaces.

use super::{Fault, Known, Sound, cut_at_nul, memory, utf16};
use mneme::store::Result;

/// Makes a page of all names, sorted by their bytes: those after a name, so many.
type Page = fn(Vec<String>, Option<&str>, usize) -> Vec<String>;

/// Each way to get a page wrong, and the case that must fail.
const WRONG: &[(&str, &str, Page)] = &[
    (
        "begin with the name of the page before",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, limit| first(names, limit, |name| after.is_none_or(|after| name >= after)),
    ),
    (
        "skip the first name",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, limit| {
            let skipped = usize::from(after.is_some());
            let page = first(names, limit + skipped, |name| is_after(name, after));
            page.into_iter().skip(skipped).collect()
        },
    ),
    (
        "have no limit",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, _| first(names, usize::MAX, |name| is_after(name, after)),
    ),
    (
        "end before their limit",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, limit| first(names, limit.min(2), |name| is_after(name, after)),
    ),
    (
        "are cut before they are sorted",
        "pages-of-namespaces-follow-their-bytes",
        |mut names, after, limit| {
            names.retain(|name| is_after(name, after));
            names.sort_by_key(|name| name.chars().rev().collect::<String>());
            names.truncate(limit);
            names.sort();
            names
        },
    ),
    (
        "follow UTF-16",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, limit| ordered(names, after, limit, utf16),
    ),
    (
        "follow names without case",
        "pages-of-namespaces-follow-their-bytes",
        |names, after, limit| ordered(names, after, limit, |name| name.to_lowercase()),
    ),
    (
        "are empty after a name without entries",
        "a-page-of-namespaces-begins-after-any-name",
        |names, after, limit| match after {
            Some(after) if !names.iter().any(|name| name == after) => Vec::new(),
            _ => first(names, limit, |name| is_after(name, after)),
        },
    ),
    (
        "begin again after a name without entries",
        "a-page-of-namespaces-begins-after-any-name",
        |names, after, limit| {
            let after = after.filter(|after| names.iter().any(|name| name == after));
            first(names, limit, |name| is_after(name, after))
        },
    ),
    (
        "skip names that begin with the one before",
        "a-page-of-namespaces-begins-after-any-name",
        |names, after, limit| {
            first(names, limit, |name| {
                is_after(name, after) && after.is_none_or(|after| !name.starts_with(after))
            })
        },
    ),
    (
        "begin after a name that is cut at U+0000",
        "a-page-of-namespaces-begins-after-odd-names",
        |names, after, limit| {
            let cut = after.map(cut_at_nul);
            first(names, limit, |name| is_after(name, cut.as_deref()))
        },
    ),
    (
        "take the empty name for none",
        "a-page-may-begin-after-the-empty-namespace",
        |names, after, limit| {
            let after = after.filter(|after| !after.is_empty());
            first(names, limit, |name| is_after(name, after))
        },
    ),
];

fn is_after(name: &str, after: Option<&str>) -> bool {
    after.is_none_or(|after| name > after)
}

/// The first names that are meant.
fn first(mut names: Vec<String>, limit: usize, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
    names.retain(|name| is_meant(name));
    names.truncate(limit);
    names
}

/// A page in another order, which is sorted by bytes itself.
fn ordered<K: Ord>(
    mut names: Vec<String>,
    after: Option<&str>,
    limit: usize,
    key: fn(&str) -> K,
) -> Vec<String> {
    names.retain(|name| after.is_none_or(|after| key(name) > key(after)));
    names.sort_by_key(|name| key(name));
    names.truncate(limit);
    names.sort();
    names
}

fn all_names(store: &mut Sound) -> Result<Vec<String>> {
    store.list_namespaces(None, u32::MAX)
}

pub fn faults() -> Vec<Known> {
    let mut faults = faults![
        memory("a page of counts counts the first entries only")
            .caught_by("pages-count-all-entries-of-their-namespaces")
            .count_by_namespace(|store, after, limit| {
                let mut counts = store.count_by_namespace(after, limit)?;
                for (_, count) in &mut counts {
                    *count = (*count).min(u64::from(limit));
                }
                Ok(counts)
            }),
    ];
    for &(what, caught_by, page) in WRONG {
        let names: Fault = memory(format!("pages of names {what}"))
            .caught_by(caught_by)
            .list_namespaces(move |store, after, limit| {
                Ok(page(all_names(store.sound)?, after, limit as usize))
            });
        let counts: Fault = memory(format!("pages of counts {what}"))
            .caught_by(caught_by)
            .count_by_namespace(move |store, after, limit| {
                let names = page(all_names(store.sound)?, after, limit as usize);
                let count = |name: String| Ok((store.count(Some(&name))?, name));
                let counts = names.into_iter().map(count).collect::<Result<Vec<_>>>()?;
                Ok(counts
                    .into_iter()
                    .map(|(count, name)| (name, count))
                    .collect())
            });
        faults.extend([names.into(), counts.into()]);
    }
    faults
}
