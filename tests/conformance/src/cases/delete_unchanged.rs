//! Deleting entries that nobody has replaced meanwhile.

use crate::battery::{Spec, case};
use crate::case::{Case, START, ids, reference, references};
use crate::check::{Checked, check, equal};
use crate::contract::{Entry, EntryRef, Touch};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        unchanged_entries_are_deleted,
        "entries named with their created-at are deleted, their ids returned"
    ),
    case!(
        a_replaced_entry_stays,
        "an entry replaced since, with another created-at, is not deleted"
    ),
    case!(
        an_entry_touched_since_is_deleted,
        "hits make no other version"
    ),
    case!(
        earlier_and_later_versions_are_told_apart,
        "created-at must be equal, neither less nor greater"
    ),
    case!(
        unknown_entries_are_left_out,
        "ids that do not exist are not among those returned"
    ),
    case!(
        another_namespace_names_no_other_entry,
        "an entry named with another namespace is deleted, or stays and is not returned"
    ),
    case!(
        an_entry_named_twice_is_deleted_once,
        "an id that comes twice is returned once"
    ),
    case!(
        nothing_named_is_nothing_deleted,
        "an empty list returns nothing"
    ),
    case!(
        one_of_two_versions_named_is_enough,
        "an entry named in two versions is deleted if one is right"
    ),
    case!(
        deletes_beyond_max_delete_are_complete,
        "a list longer than max-delete deletes every entry"
    ),
];

fn sorted(mut ids: Vec<u64>) -> Vec<u64> {
    ids.sort_unstable();
    ids
}

fn sample(case: &mut Case, n: u64) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    case.insert(&case.entries(&space, n))
}

fn unchanged_entries_are_deleted(case: &mut Case) -> Checked {
    let stored = sample(case, 6)?;
    let named = [4, 1, 3].map(|place: usize| stored[place].clone());
    let deleted = case.delete_unchanged(&references(&named))?;
    equal("the ids deleted", sorted(deleted), sorted(ids(&named)))?;
    for entry in &named {
        case.lacks("a deleted entry is gone", entry)?;
    }
    for place in [0, 2, 5] {
        case.holds("an entry that was not named stays", &stored[place])?;
    }
    let space = case.space("a");
    equal("the count", case.count(Some(&space))?, 3)
}

fn a_replaced_entry_stays(case: &mut Case) -> Checked {
    let stored = sample(case, 3)?;
    let new = case.put(Entry {
        created_at: START + 500,
        ..stored[1].clone()
    })?;
    let deleted = case.delete_unchanged(&references(&stored))?;
    equal(
        "the ids deleted",
        sorted(deleted),
        [stored[0].id, stored[2].id],
    )?;
    case.holds("the replaced entry stays", &new)?;
    let deleted = case.delete_unchanged(&[reference(&new)])?;
    equal("the ids deleted by the new version", deleted, [new.id])
}

fn an_entry_touched_since_is_deleted(case: &mut Case) -> Checked {
    let stored = sample(case, 1)?;
    case.touch(&[Touch {
        id: stored[0].id,
        hits: 5,
        last_accessed_at: START + 9_000,
    }])?;
    let deleted = case.delete_unchanged(&references(&stored))?;
    equal("the ids deleted", deleted, ids(&stored))
}

fn earlier_and_later_versions_are_told_apart(case: &mut Case) -> Checked {
    let stored = sample(case, 1)?;
    let before = case.version()?;
    for created_at in [START - 1, START + 1, 0] {
        let other = EntryRef {
            created_at,
            ..reference(&stored[0])
        };
        let deleted = case.delete_unchanged(&[other])?;
        equal(
            &format!("the ids deleted of version {created_at}, where {START} is stored,"),
            deleted,
            [],
        )?;
    }
    case.holds("the entry stays", &stored[0])?;
    case.moved(before, 0, "delete-unchanged of other versions")
}

fn unknown_entries_are_left_out(case: &mut Case) -> Checked {
    let stored = sample(case, 2)?;
    case.delete(stored[0].id)?;
    let unknown = |id| EntryRef {
        id,
        ..reference(&stored[1])
    };
    let named = [
        unknown(0),
        unknown(u64::MAX),
        unknown(1 << 63),
        reference(&stored[0]),
        unknown(stored[1].id + 1_000_000),
        reference(&stored[1]),
    ];
    equal(
        "the ids deleted",
        case.delete_unchanged(&named)?,
        [stored[1].id],
    )
}

fn another_namespace_names_no_other_entry(case: &mut Case) -> Checked {
    let stored = sample(case, 2)?;
    let other = case.space("another");
    let named = EntryRef {
        namespace: other,
        ..reference(&stored[0])
    };
    let deleted = case.delete_unchanged(&[named])?;
    // A store that needs the namespace to find the row may miss it, and then says so.
    match deleted.as_slice() {
        [] => case.holds("an entry that was not found stays", &stored[0])?,
        _ => {
            equal("the ids deleted", deleted, [stored[0].id])?;
            case.lacks("a deleted entry is gone", &stored[0])?;
        }
    }
    case.holds("another entry stays", &stored[1])
}

fn an_entry_named_twice_is_deleted_once(case: &mut Case) -> Checked {
    let stored = sample(case, 2)?;
    let before = case.version()?;
    let one = reference(&stored[0]);
    let deleted = case.delete_unchanged(&[one.clone(), one.clone(), one])?;
    equal("the ids deleted", deleted, [stored[0].id])?;
    case.holds("another entry stays", &stored[1])?;
    case.moved(before, 1, "delete-unchanged of one entry named thrice")
}

fn nothing_named_is_nothing_deleted(case: &mut Case) -> Checked {
    let before = case.version()?;
    equal("the ids deleted", case.delete_unchanged(&[])?, [])?;
    case.moved(before, 0, "delete-unchanged of nothing")
}

fn one_of_two_versions_named_is_enough(case: &mut Case) -> Checked {
    let stored = sample(case, 1)?;
    let right = reference(&stored[0]);
    let wrong = EntryRef {
        created_at: 1,
        ..right.clone()
    };
    let deleted = case.delete_unchanged(&[wrong.clone(), right, wrong])?;
    equal("the ids deleted", deleted, [stored[0].id])?;
    case.lacks("the entry is gone", &stored[0])
}

fn deletes_beyond_max_delete_are_complete(case: &mut Case) -> Checked {
    let stored = sample(case, beyond(case))?;
    let before = case.version()?;
    let deleted = case.delete_unchanged(&references(&stored))?;
    equal("the ids deleted", sorted(deleted), ids(&stored))?;
    let space = case.space("a");
    equal("the count", case.count(Some(&space))?, 0)?;
    steps(case, before, stored.len() as u64, "delete-unchanged")
}

/// How many entries to delete at once: more than max-delete where that is a small number.
pub fn beyond(case: &Case) -> u64 {
    match case.capabilities.max_delete {
        few @ ..=300 => u64::from(few) + 11,
        _ => 60,
    }
}

/// Fails unless the version counter moved by one for each step of a delete.
pub fn steps(case: &Case, before: u64, deleted: u64, doing: &str) -> Checked {
    let most = u64::from(case.capabilities.max_delete);
    if deleted <= most {
        return case.moved(before, 1, &format!("{doing} of {deleted} entries"));
    }
    let moved = case.version()?.saturating_sub(before);
    check(
        (deleted.div_ceil(most)..=deleted).contains(&moved),
        format!(
            "{doing} of {deleted} entries, where max-delete is {most}, moves the version counter by one a step"
        ),
        || format!("it moved by {moved}"),
    )
}
