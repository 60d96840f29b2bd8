//! Looking entries up by id.

use crate::battery::{Spec, case};
use crate::case::{Case, ids};
use crate::check::{Checked, equal, same_entries};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        ids_are_answered_in_the_order_asked,
        "get-by-ids returns the entries in the order of the ids"
    ),
    case!(
        unknown_ids_are_left_out,
        "get-by-ids leaves out ids that do not exist"
    ),
    case!(
        a_look_up_of_no_ids_is_empty,
        "get-by-ids of no ids returns nothing"
    ),
    case!(
        an_id_may_be_asked_for_twice,
        "an id that comes twice is answered twice"
    ),
    case!(
        many_ids_can_be_asked_for_at_once,
        "get-by-ids answers 300 ids in one call"
    ),
    case!(
        deleted_ids_are_left_out,
        "an id finds nothing once its entry is deleted"
    ),
];

fn ids_are_answered_in_the_order_asked(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let list = [
        case.entry(&a, 1),
        case.entry(&b, 2),
        case.entry(&a, 3),
        case.entry(&b, 4),
    ];
    let stored = case.insert(&list)?;
    let order = [3, 0, 2, 1].map(|place: usize| stored[place].clone());
    let found = case.by_ids(&ids(&order))?;
    same_entries("get-by-ids answers in the order asked", &found, &order)
}

fn unknown_ids_are_left_out(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    let beyond = stored[1].id + 1_000_000;
    let asked = [
        0,
        stored[1].id,
        beyond,
        u64::MAX,
        i64::MAX as u64,
        1 << 63,
        stored[0].id,
    ];
    let found = case.by_ids(&asked)?;
    same_entries(
        "get-by-ids leaves out what does not exist",
        &found,
        &[stored[1].clone(), stored[0].clone()],
    )?;
    equal(
        "what unknown ids alone find",
        ids(&case.by_ids(&[0, beyond, u64::MAX])?),
        [],
    )
}

fn a_look_up_of_no_ids_is_empty(case: &mut Case) -> Checked {
    equal("what no ids find", ids(&case.by_ids(&[])?), [])
}

fn an_id_may_be_asked_for_twice(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    let order = [0, 1, 0, 0].map(|place: usize| stored[place].clone());
    let found = case.by_ids(&ids(&order))?;
    same_entries(
        "get-by-ids answers an id as often as it is asked for",
        &found,
        &order,
    )
}

fn many_ids_can_be_asked_for_at_once(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 30))?;
    let last = stored[29].id;
    // Known ones among unknown ones, from the highest to the lowest.
    let asked: Vec<_> = (stored[0].id..=last + 270).rev().collect();
    let mut wanted = stored;
    wanted.reverse();
    let found = case.by_ids(&asked)?;
    same_entries("get-by-ids finds 30 entries among 300 ids", &found, &wanted)
}

fn deleted_ids_are_left_out(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    case.delete(stored[1].id)?;
    let found = case.by_ids(&ids(&stored))?;
    same_entries(
        "get-by-ids leaves out a deleted entry",
        &found,
        &[stored[0].clone(), stored[2].clone()],
    )
}
