//! Ids: assigned by the store, growing, and never used again.

use crate::battery::{Spec, case};
use crate::case::{Case, START, ids, references};
use crate::check::{Checked, check, equal};
use crate::contract::{Entry, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        ids_grow_from_call_to_call,
        "each new entry has a greater id than all before it"
    ),
    case!(
        ids_grow_within_a_list,
        "the new entries of a list get growing ids"
    ),
    case!(
        ids_grow_across_namespaces,
        "ids are given across namespaces, not in each"
    ),
    case!(
        a_reinserted_pair_gets_a_new_id,
        "a pair that was deleted gets an id that was never used"
    ),
    case!(
        ids_are_not_reused_after_delete_by_id,
        "no id is given again after delete-by-id"
    ),
    case!(
        ids_are_not_reused_after_delete_unchanged,
        "no id is given again after delete-unchanged"
    ),
    case!(
        ids_are_not_reused_after_delete_expired,
        "no id is given again after delete-expired"
    ),
    case!(
        ids_are_not_reused_after_clear,
        "no id is given again after clear-namespace"
    ),
    case!(
        ids_are_not_reused_after_reopen,
        "no id is given again after delete, close and open"
    ),
    case!(
        ids_stay_with_their_entries_after_reopen,
        "entries keep their ids over close and open"
    ),
    case!(
        a_failed_insert_does_not_give_its_ids_twice,
        "after a failed insert ids go on growing"
    ),
];

fn next_is_greater(case: &mut Case, highest: u64, when: &str) -> Checked {
    let space = case.space("next");
    // Some more than one, in case ids are taken from a pool of free ones.
    for n in 100..104 {
        let entry = case.put(case.entry(&space, n))?;
        check(
            entry.id > highest,
            format!("{when} a new entry has an id above {highest}, the highest so far"),
            || format!("it has id {}", entry.id),
        )?;
    }
    Ok(())
}

fn some(case: &mut Case) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let list: Vec<_> = (0..4)
        .map(|n| Entry {
            ttl: Some(10),
            ..case.entry(&space, n)
        })
        .collect();
    case.insert(&list)
}

fn highest(entries: &[Entry]) -> u64 {
    ids(entries).into_iter().max().unwrap_or_default()
}

fn ids_grow_from_call_to_call(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut last = 0;
    for n in 0..8 {
        let id = case.put(case.entry(&space, n))?.id;
        check(id > last, format!("the next id is above {last}"), || {
            format!("it is {id}")
        })?;
        last = id;
    }
    Ok(())
}

fn ids_grow_within_a_list(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = ids(&case.insert(&case.entries(&space, 10))?);
    check(
        stored.is_sorted_by(|a, b| a < b),
        "the entries of a list get ascending ids",
        || format!("they got {stored:?}"),
    )
}

fn ids_grow_across_namespaces(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let one = case.put(case.entry(&a, 1))?.id;
    let two = case.put(case.entry(&b, 1))?.id;
    let three = case.put(case.entry(&a, 2))?.id;
    check(
        one < two && two < three,
        "ids grow from one namespace to the next",
        || format!("they were {one}, {two}, {three}"),
    )
}

fn a_reinserted_pair_gets_a_new_id(case: &mut Case) -> Checked {
    let stored = some(case)?;
    case.delete(stored[1].id)?;
    let again = case.insert_list(&[stored[1].clone()])?;
    equal(
        "whether inserting a deleted pair replaces",
        again[0].replaced,
        false,
    )?;
    check(
        again[0].id > highest(&stored),
        "a deleted pair gets a new id",
        || {
            format!(
                "it got {}, where {:?} were given before",
                again[0].id,
                ids(&stored)
            )
        },
    )?;
    equal(
        "what the old id finds",
        ids(&case.by_ids(&[stored[1].id])?),
        [],
    )
}

fn ids_are_not_reused_after_delete_by_id(case: &mut Case) -> Checked {
    let stored = some(case)?;
    for entry in &stored {
        case.delete(entry.id)?;
    }
    next_is_greater(case, highest(&stored), "after delete-by-id of all entries")
}

fn ids_are_not_reused_after_delete_unchanged(case: &mut Case) -> Checked {
    let stored = some(case)?;
    case.delete_unchanged(&references(&stored))?;
    next_is_greater(
        case,
        highest(&stored),
        "after delete-unchanged of all entries",
    )
}

fn ids_are_not_reused_after_delete_expired(case: &mut Case) -> Checked {
    let stored = some(case)?;
    let space = case.space("a");
    case.delete_expired(START + 1_000, Some(&space), 100)?;
    next_is_greater(
        case,
        highest(&stored),
        "after delete-expired of all entries",
    )
}

fn ids_are_not_reused_after_clear(case: &mut Case) -> Checked {
    let stored = some(case)?;
    let space = case.space("a");
    case.clear(&space)?;
    next_is_greater(case, highest(&stored), "after clear-namespace")
}

fn ids_are_not_reused_after_reopen(case: &mut Case) -> Checked {
    let stored = some(case)?;
    let space = case.space("a");
    case.delete(highest(&stored))?;
    case.reopen()?;
    let next = case.put(case.entry(&space, 50))?;
    check(
        next.id > highest(&stored),
        "after delete, close and open a new entry has an id never given",
        || format!("it has id {}, and {} was given", next.id, highest(&stored)),
    )?;
    case.clear(&space)?;
    case.reopen()?;
    next_is_greater(case, next.id, "after clear, close and open")
}

fn ids_stay_with_their_entries_after_reopen(case: &mut Case) -> Checked {
    let stored = some(case)?;
    case.reopen()?;
    for entry in &stored {
        case.holds("the entry has its id after close and open", entry)?;
        let again = case.insert_list(std::slice::from_ref(entry))?;
        equal(
            "the id of a pair inserted again after open",
            again[0].id,
            entry.id,
        )?;
    }
    Ok(())
}

fn a_failed_insert_does_not_give_its_ids_twice(case: &mut Case) -> Checked {
    let stored = some(case)?;
    let space = case.space("a");
    let wrong = Entry {
        embedding: Vec::new(),
        ..case.entry(&space, 9)
    };
    let list = [case.entry(&space, 8), wrong];
    // That it fails is another case's affair.
    let _ = store::insert(&list);
    next_is_greater(case, highest(&stored), "after a failed insert")
}
