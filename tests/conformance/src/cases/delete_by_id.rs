//! Deleting one entry.

use crate::battery::{Spec, case};
use crate::case::{Case, ids};
use crate::check::{Checked, equal, same_entries};
use crate::contract::Entry;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        deleting_tells_whether_it_was_there,
        "delete-by-id is true the first time and false the second"
    ),
    case!(
        deleting_unknown_ids_is_false,
        "ids that never were, 0 and 2^64 - 1 included, are false"
    ),
    case!(
        a_deleted_entry_is_gone_everywhere,
        "no operation finds a deleted entry"
    ),
    case!(
        deleting_leaves_the_others,
        "the other entries stay as they are"
    ),
    case!(
        a_deleted_pair_can_be_inserted_again,
        "after a delete the same pair is a new entry"
    ),
    case!(
        deleting_an_entry_with_a_ttl_takes_its_expiry,
        "a deleted entry does not expire later"
    ),
];

fn deleting_tells_whether_it_was_there(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(case.entry(&space, 1))?;
    equal("delete-by-id the first time", case.delete(stored.id)?, true)?;
    equal(
        "delete-by-id the second time",
        case.delete(stored.id)?,
        false,
    )?;
    equal(
        "delete-by-id the third time",
        case.delete(stored.id)?,
        false,
    )
}

fn deleting_unknown_ids_is_false(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(case.entry(&space, 1))?;
    for id in [0, stored.id + 1_000_000, i64::MAX as u64, 1 << 63, u64::MAX] {
        equal(&format!("delete-by-id of {id}"), case.delete(id)?, false)?;
    }
    case.holds("another entry stays", &stored)
}

fn a_deleted_entry_is_gone_everywhere(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(case.entry(&space, 1))?;
    case.delete(stored.id)?;
    case.lacks("a deleted entry is gone", &stored)?;
    equal("the count", case.count(Some(&space))?, 0)?;
    equal(
        "the ids of iter-since",
        ids(&case.since(stored.id - 1, 5)?),
        [],
    )?;
    equal(
        "the ids of iter-vectors",
        case.vectors(stored.id - 1, 5)?.ids,
        [],
    )?;
    equal(
        "the ids of iter-stamps",
        case.stamps(stored.id - 1, 5)?.ids,
        [],
    )?;
    equal("the least recently used", case.lru(5, Some(&space))?, [])?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        false,
    )
}

fn deleting_leaves_the_others(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let list = [
        case.entry(&a, 1),
        case.entry(&a, 2),
        case.entry(&b, 1),
        case.entry(&a, 3),
    ];
    let stored = case.insert(&list)?;
    case.delete(stored[0].id)?;
    let left = case.since(stored[0].id - 1, 9)?;
    same_entries("the other entries are as they were", &left, &stored[1..])?;
    case.holds("the same hash in another namespace stays", &stored[2])
}

fn a_deleted_pair_can_be_inserted_again(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(Entry {
        access_count: 40,
        ..case.entry(&space, 1)
    })?;
    case.delete(stored.id)?;
    let again = case.insert_list(&[case.entry(&space, 1)])?;
    equal("whether it replaced", again[0].replaced, false)?;
    case.holds(
        "the new entry is there",
        &Entry {
            id: again[0].id,
            ..case.entry(&space, 1)
        },
    )?;
    equal("delete-by-id of the old id", case.delete(stored.id)?, false)?;
    equal("the count", case.count(Some(&space))?, 1)
}

fn deleting_an_entry_with_a_ttl_takes_its_expiry(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(Entry {
        ttl: Some(10),
        ..case.entry(&space, 1)
    })?;
    case.delete(stored.id)?;
    let kept = case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    let gone = case.delete_expired(stored.created_at + 1_000, Some(&space), 10)?;
    equal("what expires after the delete", gone, [])?;
    case.moved(before, 0, "delete-expired of nothing")?;
    case.holds("the pair inserted again, without a ttl, stays", &kept)
}
