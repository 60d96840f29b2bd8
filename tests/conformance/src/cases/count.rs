//! Counting entries and listing namespaces.

use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{About, Checked, check, equal};
use crate::contract::Entry;
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        count_tells_how_many_are_in_a_namespace,
        "count follows inserts and deletes of a namespace"
    ),
    case!(
        count_of_all_follows_every_namespace,
        "count without a namespace covers all of them"
    ),
    case!(
        count_of_an_unknown_namespace_is_zero,
        "a namespace without entries has a count of 0"
    ),
    case!(
        count_takes_no_pattern,
        "a name with wildcards counts its own entries only"
    ),
    case!(
        namespaces_with_entries_are_listed_once,
        "list-namespaces has each namespace with entries once"
    ),
    case!(
        namespaces_are_sorted_by_their_bytes,
        "list-namespaces sorts by UTF-8 bytes, not by letters or UTF-16"
    ),
    case!(
        a_namespace_goes_with_its_last_entry,
        "a namespace is listed as long as it has entries"
    ),
    case!(
        quotas_and_meta_make_no_namespace,
        "a quota or a meta key lists no namespace"
    ),
    case!(
        a_hundred_namespaces_are_kept_apart,
        "entries of a hundred namespaces are counted and listed apart"
    ),
    case!(
        odd_namespaces_are_kept_exactly,
        "namespaces of any characters are kept, listed and cleared"
    ),
    case!(
        the_empty_namespace_is_a_namespace,
        "a namespace without any letter is one like others"
    ),
];

fn count_tells_how_many_are_in_a_namespace(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut stored = Vec::new();
    for n in 1..=5 {
        stored.push(case.put(case.entry(&space, n))?);
        equal("the count after an insert", case.count(Some(&space))?, n)?;
    }
    for left in (0..5).rev() {
        case.delete(stored[left as usize].id)?;
        equal("the count after a delete", case.count(Some(&space))?, left)?;
    }
    Ok(())
}

fn count_of_all_follows_every_namespace(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let before = case.count(None)?;
    let stored = case.insert(&case.entries(&a, 3))?;
    case.insert(&case.entries(&b, 4))?;
    equal(
        "the count of all after 7 inserts",
        case.count(None)?,
        before + 7,
    )?;
    case.delete(stored[0].id)?;
    equal(
        "the count of all after a delete",
        case.count(None)?,
        before + 6,
    )?;
    case.clear(&b)?;
    equal(
        "the count of all after a clear",
        case.count(None)?,
        before + 2,
    )
}

fn count_of_an_unknown_namespace_is_zero(case: &mut Case) -> Checked {
    let space = case.space("never");
    equal(
        "the count of an unknown namespace",
        case.count(Some(&space))?,
        0,
    )
}

fn count_takes_no_pattern(case: &mut Case) -> Checked {
    let names =
        ["ab", "a_", "a%", "a*", "a?", "a[b]", "a\\b", "a.", "a.*"].map(|name| case.space(name));
    for (name, n) in names.iter().zip(1..) {
        case.insert(&case.entries(name, n))?;
    }
    for (name, n) in names.iter().zip(1..) {
        equal(
            &format!("the count of {name:?}"),
            case.count(Some(name))?,
            n,
        )?;
    }
    Ok(())
}

fn namespaces_with_entries_are_listed_once(case: &mut Case) -> Checked {
    let names = ["b", "a", "c"].map(|name| case.space(name));
    for round in 0..3 {
        for name in &names {
            case.put(case.entry(name, round))?;
        }
    }
    let listed = case.list_namespaces()?;
    for name in &names {
        let times = listed.iter().filter(|listed| *listed == name).count();
        equal(&format!("how often {name:?} is listed"), times, 1)?;
    }
    Ok(())
}

fn namespaces_are_sorted_by_their_bytes(case: &mut Case) -> Checked {
    let names = data::UNSORTED_NAMES.map(|name| case.space(name));
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| case.entry(name, n))
        .collect();
    case.insert(&list)?;
    let listed = case.list_namespaces()?;
    check(
        listed.is_sorted_by(|a, b| a.as_bytes() < b.as_bytes()),
        "all namespaces come in ascending order of their bytes, each once",
        || show::value(&listed),
    )?;
    let mut wanted = names.to_vec();
    wanted.sort();
    wanted.dedup();
    let own: Vec<_> = listed
        .into_iter()
        .filter(|name| names.contains(name))
        .collect();
    equal("the namespaces of the case", own, wanted)
}

fn a_namespace_goes_with_its_last_entry(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let stored = case.insert(&case.entries(&a, 2))?;
    case.insert(&case.entries(&b, 2))?;
    let listed = |case: &Case, name: &String| Ok(case.list_namespaces()?.contains(name));
    case.delete(stored[0].id)?;
    equal(
        "whether a namespace with one entry left is listed",
        listed(case, &a)?,
        true,
    )?;
    case.delete(stored[1].id)?;
    equal(
        "whether a namespace is listed after its last entry was deleted",
        listed(case, &a)?,
        false,
    )?;
    case.clear(&b)?;
    equal(
        "whether a cleared namespace is listed",
        listed(case, &b)?,
        false,
    )?;
    case.put(case.entry(&a, 5))?;
    equal(
        "whether a namespace that is filled again is listed",
        listed(case, &a)?,
        true,
    )
}

fn quotas_and_meta_make_no_namespace(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = (case.list_namespaces()?, case.count(None)?);
    case.set_quota(&space, Some(5))?;
    case.replace_meta(&space.clone(), None, Some("v"))?;
    let after = (case.list_namespaces()?, case.count(None)?);
    equal(
        "namespaces and count after setting a quota and a meta key",
        after,
        before,
    )?;
    equal(
        "the count of a namespace that has a quota only",
        case.count(Some(&space))?,
        0,
    )
}

fn a_hundred_namespaces_are_kept_apart(case: &mut Case) -> Checked {
    let names: Vec<_> = (0..100).map(|n| case.space(&n.to_string())).collect();
    let list: Vec<_> = names.iter().map(|name| case.entry(name, 1)).collect();
    let stored = case.insert(&list)?;
    let listed = case.list_namespaces()?;
    let missing = names.iter().find(|name| !listed.contains(name));
    equal(
        "the first of the namespaces that is not listed",
        missing,
        None,
    )?;
    for place in [0, 9, 10, 50, 99] {
        equal("the count of each", case.count(Some(&names[place]))?, 1)?;
        case.holds("the entry is in its namespace", &stored[place])?;
    }
    Ok(())
}

fn odd_namespaces_are_kept_exactly(case: &mut Case) -> Checked {
    let names: Vec<_> = data::ODD_TEXTS
        .iter()
        .map(|text| case.space_around(text))
        .collect();
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| Entry {
            query_hash: case.hash(1),
            ..case.entry(name, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    let listed = case.list_namespaces()?;
    case.holds_all("the entry is in its namespace", &stored)?;
    for name in &names {
        equal("whether it is listed", listed.contains(name), true)
            .and_then(|()| equal("its count", case.count(Some(name))?, 1))
            .about(|| format!("the namespace {name:?}"))?;
    }
    for name in &names {
        equal(
            &format!("the entries cleared of {name:?}"),
            case.clear(name)?,
            1,
        )?;
    }
    Ok(())
}

fn the_empty_namespace_is_a_namespace(case: &mut Case) -> Checked {
    case.needs_empty_namespace()?;
    let other = case.space("a");
    let all = case.count(None)?;
    let stored = case.insert(&case.entries("", 2))?;
    case.put(case.entry(&other, 1))?;
    case.holds("the entry is in the empty namespace", &stored[1])?;
    equal("the count of the empty namespace", case.count(Some(""))?, 2)?;
    equal("the count of all", case.count(None)?, all + 3)?;
    let listed = case.list_namespaces()?;
    check(
        listed.first().is_some_and(String::is_empty),
        "the empty namespace is listed first",
        || show::value(&listed),
    )?;
    let counts = case.counts()?;
    equal(
        "the first of the counts",
        counts.first(),
        Some(&(String::new(), 2)),
    )?;
    equal(
        "the least recently used of the empty namespace",
        case.lru(9, Some(""))?.len(),
        2,
    )?;
    equal(
        "the entries cleared of the empty namespace",
        case.clear("")?,
        2,
    )?;
    equal(
        "the count of another namespace",
        case.count(Some(&other))?,
        1,
    )
}
