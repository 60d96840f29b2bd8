//! The least recently used entries.

use crate::battery::{Spec, case};
use crate::case::{Case, START, reference, references};
use crate::check::{Checked, equal};
use crate::contract::{Entry, EntryRef, Touch};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        the_least_recently_used_come_first,
        "iter-lru-ids orders by last-accessed-at, not by id or created-at"
    ),
    case!(
        ties_are_broken_by_id,
        "entries last used in the same second come in the order of their ids"
    ),
    case!(
        lru_returns_at_most_n,
        "n of 0, 1, some, all, more and 2^32 - 1 is respected"
    ),
    case!(
        lru_keeps_to_its_namespace,
        "the entries of one namespace only are returned"
    ),
    case!(
        lru_covers_all_namespaces,
        "without a namespace the order goes across all of them"
    ),
    case!(
        lru_of_an_unknown_namespace_is_empty,
        "a namespace without entries has none to evict"
    ),
    case!(
        lru_names_the_version,
        "each item has the namespace and the created-at of its entry"
    ),
    case!(
        a_touch_moves_an_entry_back,
        "a touched entry is where its new last access puts it"
    ),
    case!(
        an_old_touch_moves_nothing,
        "a touch with an earlier time leaves the order as it is"
    ),
    case!(
        deleted_entries_leave_the_lru_order,
        "no deleted, expired or cleared entry is returned"
    ),
    case!(
        lru_orders_by_number,
        "times of different length are ordered as numbers"
    ),
];

fn at(case: &Case, namespace: &str, n: u64, last_accessed_at: u64) -> Entry {
    Entry {
        last_accessed_at,
        ..case.entry(namespace, n)
    }
}

fn order(case: &Case, n: u32, namespace: &str) -> Checked<Vec<u64>> {
    Ok(case
        .lru(n, Some(namespace))?
        .iter()
        .map(|one| one.id)
        .collect())
}

fn pick(entries: &[Entry], places: &[usize]) -> Vec<u64> {
    places.iter().map(|place| entries[*place].id).collect()
}

fn the_least_recently_used_come_first(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = [50, 10, 40, 20, 30]
        .into_iter()
        .zip(0..)
        .map(|(time, n)| at(case, &space, n, START + time))
        .collect();
    let stored = case.insert(&list)?;
    equal(
        "the ids, least recently used first",
        order(case, 9, &space)?,
        pick(&stored, &[1, 3, 4, 2, 0]),
    )
}

fn ties_are_broken_by_id(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..12)
        .map(|n| at(case, &space, n, START + n % 2))
        .collect();
    let stored = case.insert(&list)?;
    let wanted = pick(&stored, &[0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
    equal(
        "the ids, by time and then id",
        &order(case, 20, &space)?,
        &wanted,
    )?;
    equal(
        "the first four of them",
        order(case, 4, &space)?,
        &wanted[..4],
    )
}

fn lru_returns_at_most_n(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 5))?;
    let all = pick(&stored, &[0, 1, 2, 3, 4]);
    for n in [0, 1, 3, 5, 6, 1_000, u32::MAX] {
        let wanted = &all[..all.len().min(n as usize)];
        equal(
            &format!("the first {n}"),
            &order(case, n, &space)?[..],
            wanted,
        )?;
    }
    equal("none of all namespaces", case.lru(0, None)?, [])
}

fn lru_keeps_to_its_namespace(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("ab"));
    let list: Vec<_> = (0..10)
        .map(|n| at(case, if n % 2 == 0 { &a } else { &b }, n, START + 50 - n))
        .collect();
    let stored = case.insert(&list)?;
    equal(
        "the ids of one namespace",
        order(case, 9, &a)?,
        pick(&stored, &[8, 6, 4, 2, 0]),
    )?;
    equal(
        "the ids of the other",
        order(case, 3, &b)?,
        pick(&stored, &[9, 7, 5]),
    )
}

fn lru_covers_all_namespaces(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let (a, b, c) = (case.space("a"), case.space("b"), case.space("c"));
    let list = [
        at(case, &b, 0, START + 30),
        at(case, &a, 1, START + 10),
        at(case, &c, 2, START + 10),
        at(case, &a, 3, START + 20),
        at(case, &b, 4, START + 10),
    ];
    let stored = case.insert(&list)?;
    let wanted = [1, 2, 4, 3, 0].map(|place| reference(&stored[place]));
    equal(
        "the entries of all namespaces",
        case.lru(10, None)?,
        &wanted[..],
    )?;
    equal("the first three of them", case.lru(3, None)?, &wanted[..3])
}

fn lru_of_an_unknown_namespace_is_empty(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("never"));
    case.put(case.entry(&a, 1))?;
    equal("the ids of an unknown namespace", order(case, 5, &b)?, [])
}

fn lru_names_the_version(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    equal("the items", case.lru(5, Some(&space))?, references(&stored))?;
    let new = case.put(Entry {
        created_at: 17,
        ..stored[0].clone()
    })?;
    let first: Option<EntryRef> = case.lru(1, Some(&space))?.pop();
    equal("the item of a replaced entry", first, Some(reference(&new)))
}

fn a_touch_moves_an_entry_back(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 4))?;
    let touch = |place: usize, time| Touch {
        id: stored[place].id,
        hits: 1,
        last_accessed_at: START + time,
    };
    case.touch(&[touch(0, 9_000), touch(2, 8_000)])?;
    equal(
        "the order after touches",
        order(case, 9, &space)?,
        pick(&stored, &[1, 3, 2, 0]),
    )?;
    case.touch(&[touch(1, 9_000)])?;
    equal(
        "the order after a touch that ties",
        order(case, 9, &space)?,
        pick(&stored, &[3, 2, 0, 1]),
    )?;
    equal(
        "the first of them",
        order(case, 1, &space)?,
        pick(&stored, &[3]),
    )
}

fn an_old_touch_moves_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    case.touch(&[Touch {
        id: stored[2].id,
        hits: 5,
        last_accessed_at: 1,
    }])?;
    equal(
        "the order after an old touch",
        order(case, 9, &space)?,
        pick(&stored, &[0, 1, 2]),
    )
}

fn deleted_entries_leave_the_lru_order(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..6)
        .map(|n| Entry {
            ttl: (n == 1).then_some(1),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.delete(stored[0].id)?;
    equal(
        "after delete-by-id",
        order(case, 9, &space)?,
        pick(&stored, &[1, 2, 3, 4, 5]),
    )?;
    case.delete_expired(START + 100, Some(&space), 10)?;
    equal(
        "after delete-expired",
        order(case, 9, &space)?,
        pick(&stored, &[2, 3, 4, 5]),
    )?;
    case.delete_unchanged(&[reference(&stored[3])])?;
    equal(
        "after delete-unchanged",
        order(case, 9, &space)?,
        pick(&stored, &[2, 4, 5]),
    )?;
    case.clear(&space)?;
    equal("after clear-namespace", order(case, 9, &space)?, [])
}

fn lru_orders_by_number(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = [1_000, 9, 100_000_000_000, 10, 0, 99, 4_000_000_000]
        .into_iter()
        .zip(0..)
        .map(|(time, n)| at(case, &space, n, time))
        .collect();
    let stored = case.insert(&list)?;
    equal(
        "the ids in the order of numbers",
        order(case, 9, &space)?,
        pick(&stored, &[4, 1, 3, 5, 0, 6, 2]),
    )
}
