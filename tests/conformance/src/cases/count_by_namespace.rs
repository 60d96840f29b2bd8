//! Counting the entries of all namespaces at once.

use std::collections::BTreeMap;

use crate::battery::{Spec, case, phases};
use crate::case::{Case, START};
use crate::check::{About, Checked, check, equal};
use crate::contract::{Entry, ImportMode};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        counts_have_each_namespace_once,
        "count-by-namespace has each namespace once, with all its entries"
    ),
    case!(
        counts_agree_with_count,
        "count-by-namespace lists what list-namespaces lists, and adds up to count"
    ),
    case!(
        counts_are_sorted_by_their_bytes,
        "count-by-namespace sorts by UTF-8 bytes, not by letters or UTF-16"
    ),
    case!(
        counts_follow_every_write,
        "count-by-namespace follows inserts, replacements, deletes and clears"
    ),
    case!(
        quotas_and_meta_count_no_namespace,
        "a quota or a meta key adds no namespace to count-by-namespace"
    ),
    case!(
        expired_entries_count_until_they_are_deleted,
        "count-by-namespace counts expired entries as count does"
    ),
    case!(
        imported_entries_are_counted_by_namespace,
        "count-by-namespace has the entries of an import, and none before its commit"
    ),
    case!(
        odd_namespaces_are_counted_exactly,
        "namespaces of any characters are counted apart"
    ),
    case!(
        a_hundred_and_fifty_namespaces_are_counted,
        "count-by-namespace has every namespace, however many there are"
    ),
    phases!(needs Shared, counts_take_in_what_other_stores_write, "count-by-namespace has what another store has written",
        [Fresh => fill, Beside => change, Back => read_changed]),
    phases!(needs Shared, counts_hold_still_in_a_view, "in a view count-by-namespace has nothing of what another store writes",
        [Fresh => begin_view, Beside => change, Back => read_in_view]),
];

/// The counts of the namespaces of this case.
fn own(case: &Case) -> Checked<Vec<(String, u64)>> {
    let mut counts = case.counts()?;
    counts.retain(|(name, _)| case.is_own(name));
    Ok(counts)
}

/// Fails unless the namespaces of this case are these, with so many entries each.
fn counted(case: &Case, when: &str, wanted: &[(&String, u64)]) -> Checked {
    let wanted: Vec<_> = wanted.iter().map(|&(name, n)| (name.clone(), n)).collect();
    equal(&format!("the counts {when}"), own(case)?, wanted)
}

fn counts_have_each_namespace_once(case: &mut Case) -> Checked {
    let [a, b, c] = ["a", "b", "c"].map(|name| case.space(name));
    for (name, n) in [&b, &a, &c, &b, &c, &b].into_iter().zip(0..) {
        case.put(case.entry(name, n))?;
    }
    counted(case, "of three namespaces", &[(&a, 1), (&b, 3), (&c, 2)])
}

fn counts_agree_with_count(case: &mut Case) -> Checked {
    let names = ["a", "ab", "a/b", "A"].map(|name| case.space(name));
    for (name, n) in names.iter().zip(1..) {
        case.insert(&case.entries(name, n))?;
    }
    let counts = case.counts()?;
    for (name, count) in counts.iter().filter(|(name, _)| case.is_own(name)) {
        equal(
            &format!("the count of {name:?}"),
            case.count(Some(name))?,
            *count,
        )?;
    }
    let sum: u64 = counts.iter().map(|(_, count)| count).sum();
    equal("the sum of the counts", sum, case.count(None)?)?;
    let listed: Vec<_> = counts.into_iter().map(|(name, _)| name).collect();
    equal(
        "the namespaces with counts",
        listed,
        case.list_namespaces()?,
    )
}

fn counts_are_sorted_by_their_bytes(case: &mut Case) -> Checked {
    let names = data::UNSORTED_NAMES.map(|name| case.space(name));
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| case.entry(name, n))
        .collect();
    case.insert(&list)?;
    let counts = case.counts()?;
    check(
        counts.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()),
        "all namespaces come in ascending order of their bytes, each once",
        || show::value(&counts),
    )?;
    let mut wanted: BTreeMap<_, u64> = BTreeMap::new();
    for name in &names {
        *wanted.entry(name).or_default() += 1;
    }
    let wanted: Vec<_> = wanted.into_iter().collect();
    counted(case, "of names in no order", &wanted)
}

fn counts_follow_every_write(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let stored = case.insert(&case.entries(&a, 3))?;
    case.insert(&case.entries(&b, 2))?;
    counted(case, "after inserts", &[(&a, 3), (&b, 2)])?;
    case.insert(&case.entries(&a, 4))?;
    counted(case, "after replacing three", &[(&a, 4), (&b, 2)])?;
    case.delete(stored[0].id)?;
    counted(case, "after a delete", &[(&a, 3), (&b, 2)])?;
    case.clear(&a)?;
    counted(case, "after a clear", &[(&b, 2)])?;
    case.put(case.entry(&a, 9))?;
    counted(case, "after an insert", &[(&a, 1), (&b, 2)])
}

fn quotas_and_meta_count_no_namespace(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.put(case.entry(&b, 1))?;
    case.set_quota(&a, Some(5))?;
    case.replace_meta(&a, None, Some("v"))?;
    counted(case, "beside a quota and a meta key", &[(&b, 1)])
}

fn expired_entries_count_until_they_are_deleted(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    // A backend with its own clock may drop an entry that expired long ago.
    for (namespace, n, created_at) in [(&a, 1, 1), (&b, 2, 1), (&b, 3, START), (&b, 4, START)] {
        case.put(Entry {
            created_at,
            ttl: (n < 4).then_some(10),
            ..case.entry(namespace, n)
        })?;
    }
    let there = |case: &Case| -> Checked<_> {
        let mut counts = Vec::new();
        for name in [&a, &b] {
            match case.count(Some(name))? {
                0 => {}
                count => counts.push((name, count)),
            }
        }
        Ok(counts)
    };
    counted(case, "of expired entries", &there(case)?)?;
    case.delete_expired(START + 10, Some(&a), 10)?;
    case.delete_expired(START + 10, Some(&b), 10)?;
    counted(case, "after their deletion", &[(&b, 1)])
}

fn imported_entries_are_counted_by_namespace(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.insert(&case.entries(&a, 2))?;
    let list: Vec<_> = (0..5)
        .map(|n| case.entry(if n < 3 { &a } else { &b }, n))
        .collect();
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    counted(case, "before the commit of an import", &[(&a, 2)])?;
    case.commit_entries(&list)?;
    counted(case, "after an import", &[(&a, 3), (&b, 2)])
}

fn odd_namespaces_are_counted_exactly(case: &mut Case) -> Checked {
    let names: Vec<_> = data::ODD_TEXTS
        .iter()
        .map(|text| case.space_around(text))
        .collect();
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| case.entry(name, n))
        .collect();
    case.insert(&list)?;
    let counts = case.counts()?;
    names.iter().try_for_each(|name| {
        let of_name: Vec<_> = counts.iter().filter(|(listed, _)| listed == name).collect();
        equal("its counts", of_name, [&(name.clone(), 1_u64)])
            .about(|| format!("the namespace {name:?}"))
    })
}

fn a_hundred_and_fifty_namespaces_are_counted(case: &mut Case) -> Checked {
    let names: Vec<_> = (100..250).map(|n| case.space(&n.to_string())).collect();
    let list: Vec<_> = names.iter().map(|name| case.entry(name, 1)).collect();
    case.insert(&list)?;
    case.insert(&[case.entry(&names[149], 2)])?;
    let mut wanted: Vec<_> = names.iter().map(|name| (name, 1)).collect();
    wanted[149].1 = 2;
    counted(case, "of 150 namespaces", &wanted)
}

/// Inserts some entries, and counts them.
fn fill(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.insert(&case.entries(&a, 3))?;
    case.insert(&case.entries(&b, 1))?;
    counted(case, "before another store writes", &[(&a, 3), (&b, 1)])
}

/// Fills one namespace, adds to another, and clears a third.
fn change(case: &mut Case) -> Checked {
    let [a, b, c] = ["a", "b", "c"].map(|name| case.space(name));
    counted(case, "in the other store", &[(&a, 3), (&b, 1)])?;
    case.put(case.entry(&a, 7))?;
    case.clear(&b)?;
    case.insert(&case.entries(&c, 2))?;
    Ok(())
}

fn read_changed(case: &mut Case) -> Checked {
    let (a, c) = (case.space("a"), case.space("c"));
    counted(case, "after another store wrote", &[(&a, 4), (&c, 2)])
}

fn begin_view(case: &mut Case) -> Checked {
    fill(case)?;
    let able = case.begin_view()?;
    case.end_view()?;
    case.note_numbers("able", &[u64::from(able)])?;
    case.begin_view()?;
    // The instant may be that of the first read.
    fill_is_counted(case)
}

fn fill_is_counted(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    counted(case, "in a view", &[(&a, 3), (&b, 1)])
}

fn read_in_view(case: &mut Case) -> Checked {
    case.space("c");
    if case.noted_numbers("able")? == [1] {
        fill_is_counted(case)?;
    }
    case.end_view()?;
    read_changed(case)
}
