//! Deleting every entry of one namespace, or of all.

use crate::battery::{Spec, case};
use crate::calls::called;
use crate::case::{Case, START, ids};
use crate::cases::delete_unchanged::{beyond, steps};
use crate::check::{Checked, equal};
use crate::contract::{Entry, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        clearing_tells_how_many,
        "clear-namespace returns how many entries it deleted"
    ),
    case!(
        clearing_leaves_other_namespaces,
        "namespaces that begin alike or look alike stay"
    ),
    case!(
        clearing_takes_no_pattern,
        "a name with wildcards clears its own entries only"
    ),
    case!(
        clearing_an_unknown_namespace_is_zero,
        "a namespace without entries clears 0"
    ),
    case!(
        cleared_entries_are_gone_everywhere,
        "no operation finds an entry of a cleared namespace"
    ),
    case!(
        clearing_leaves_quotas_and_meta,
        "quota and meta stay when their namespace is cleared"
    ),
    case!(
        a_cleared_namespace_can_be_filled_again,
        "after a clear the same pairs are new entries"
    ),
    case!(
        clearing_beyond_max_delete_is_complete,
        "more entries than max-delete are cleared in one call"
    ),
    case!(
        clearing_all_leaves_nothing,
        "without a namespace every entry is deleted, quotas and meta stay"
    ),
];

fn clearing_tells_how_many(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.insert(&case.entries(&space, 7))?;
    equal("the entries cleared", case.clear(&space)?, 7)?;
    equal(
        "the entries cleared the second time",
        case.clear(&space)?,
        0,
    )
}

fn all_but_one(case: &mut Case, names: &[&str]) -> Checked {
    let names: Vec<_> = names.iter().map(|name| case.space(name)).collect();
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| case.entry(name, n))
        .collect();
    let stored = case.insert(&list)?;
    equal(
        &format!("the entries cleared of {:?}", names[0]),
        case.clear(&names[0])?,
        1,
    )?;
    case.lacks("the entry of the cleared namespace is gone", &stored[0])?;
    case.holds_all("an entry of another namespace stays", &stored[1..])
}

fn clearing_leaves_other_namespaces(case: &mut Case) -> Checked {
    all_but_one(
        case,
        &["a", "A", "aa", "", "a:", "a:b", "a/b", "a ", "a\0", "á"],
    )
}

fn clearing_takes_no_pattern(case: &mut Case) -> Checked {
    all_but_one(case, &["a*", "ab", "abc", "a"])?;
    all_but_one(case, &["b%", "bb", "bbb", "b"])?;
    all_but_one(case, &["c_", "cc", "c"])?;
    all_but_one(case, &["d?[e]", "dee", "d?e"])?;
    all_but_one(case, &["e'--", "e", "e'"])
}

fn clearing_an_unknown_namespace_is_zero(case: &mut Case) -> Checked {
    let space = case.space("never");
    let before = case.version()?;
    equal(
        "the entries cleared of an unknown namespace",
        case.clear(&space)?,
        0,
    )?;
    case.moved(before, 0, "clearing an unknown namespace")
}

fn cleared_entries_are_gone_everywhere(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let stored = case.insert(&case.entries(&a, 5))?;
    let other = case.put(Entry {
        ttl: Some(10),
        ..case.entry(&b, 1)
    })?;
    case.clear(&a)?;
    for entry in &stored {
        case.lacks("a cleared entry is gone", entry)?;
    }
    let from = stored[0].id - 1;
    equal("the count", case.count(Some(&a))?, 0)?;
    equal(
        "the ids of iter-since",
        ids(&case.since(from, 9)?),
        [other.id],
    )?;
    equal(
        "the ids of iter-vectors",
        case.vectors(from, 9)?.ids,
        [other.id],
    )?;
    equal(
        "the ids of iter-stamps",
        case.stamps(from, 9)?.ids,
        [other.id],
    )?;
    equal("the least recently used", case.lru(9, Some(&a))?, [])?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&a),
        false,
    )?;
    equal(
        "what expires of it",
        case.delete_expired(START + 1_000, Some(&a), 9)?,
        [],
    )
}

fn clearing_leaves_quotas_and_meta(case: &mut Case) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    case.insert(&case.entries(&space, 2))?;
    case.set_quota(&space, Some(5))?;
    case.replace_meta(&key, None, Some("v"))?;
    case.clear(&space)?;
    equal("the quota", case.quota(&space)?, Some(5))?;
    equal("the meta value", case.meta(&key)?.as_deref(), Some("v"))
}

fn a_cleared_namespace_can_be_filled_again(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.insert(&case.entries(&space, 3))?;
    case.clear(&space)?;
    let new = case.insert(&case.entries(&space, 3))?;
    case.holds_all("the new entry is there", &new)?;
    equal("what the old ids find", ids(&case.by_ids(&ids(&old))?), [])?;
    equal("the count", case.count(Some(&space))?, 3)
}

fn clearing_beyond_max_delete_is_complete(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entries = beyond(case);
    case.insert(&case.entries(&space, entries))?;
    let before = case.version()?;
    equal("the entries cleared", case.clear(&space)?, entries)?;
    equal("the count", case.count(Some(&space))?, 0)?;
    steps(case, before, entries, "clear-namespace")
}

fn clearing_all_leaves_nothing(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let (a, b) = (case.space("a"), case.space("b"));
    let key = case.key("k");
    let stored = case.insert(&[case.entry(&a, 1), case.entry(&b, 1), case.entry(&a, 2)])?;
    case.set_quota(&a, Some(5))?;
    case.replace_meta(&key, None, Some("v"))?;
    let before = case.version()?;
    equal(
        "the entries cleared of all",
        called("clear-namespace", store::clear_namespace(None))?,
        3,
    )?;
    steps(case, before, 3, "clear-namespace of all")?;
    equal("the count of all", case.count(None)?, 0)?;
    equal("the namespaces", case.list_namespaces()?, [""; 0])?;
    equal("the ids of the page", ids(&case.since(0, 9)?), [])?;
    equal("the least recently used", case.lru(9, None)?, [])?;
    case.lacks("an entry is gone", &stored[0])?;
    equal("the quota", case.quota(&a)?, Some(5))?;
    equal("the meta value", case.meta(&key)?.as_deref(), Some("v"))?;
    let before = case.version()?;
    equal(
        "the entries cleared of none",
        called("clear-namespace", store::clear_namespace(None))?,
        0,
    )?;
    case.moved(before, 0, "clearing a store without entries")
}
