//! The ids that an import assigns, and the counter that it moves.

use crate::battery::{Spec, case};
use crate::case::{Case, ids};
use crate::check::{Checked, check, equal};
use crate::contract::{Entry, ImportMode};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        imported_ids_grow_as_written,
        "new entries get growing ids in the order of the lists, above all others"
    ),
    case!(
        an_import_keeps_the_ids_of_known_pairs,
        "an entry whose namespace and hash exist keeps its id, amid new ones"
    ),
    case!(
        ids_given_to_an_import_are_ignored,
        "an import assigns its ids itself"
    ),
    case!(
        an_import_reuses_no_ids,
        "ids of deleted entries are not given to imported ones, nor theirs to later ones"
    ),
    case!(
        the_counter_moves_by_one_for_an_import,
        "an import of several lists moves the counter by one, at its commit"
    ),
];

/// Fails unless ids are in ascending order.
pub(super) fn grows(what: &str, ids: &[u64]) -> Checked {
    check(
        ids.windows(2).all(|two| two[0] < two[1]),
        format!("{what} grow in the order in which they were written"),
        || show::value(&ids),
    )
}

fn imported_ids_grow_as_written(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.put(case.entry(&b, 50))?;
    // In no order that anything else has.
    let numbers = [7, 2, 9, 0, 5, 1, 8, 3];
    let list: Vec<_> = numbers
        .into_iter()
        .map(|n| case.entry(if n % 3 == 0 { &b } else { &a }, n))
        .collect();
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list[..3])?;
    case.write_import(&[])?;
    case.write_import(&list[3..4])?;
    case.write_import(&list[4..])?;
    let stored = case.commit_entries(&list)?;
    let mut given = vec![known.id];
    given.extend(ids(&stored));
    grows("the ids", &given)
}

fn an_import_keeps_the_ids_of_known_pairs(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.insert(&case.entries(&space, 4))?;
    let list = [
        case.entry(&space, 10),
        Entry {
            response: "imported".to_owned(),
            ..case.entry(&space, 2)
        },
        case.entry(&space, 11),
        case.entry(&space, 0),
        case.entry(&space, 12),
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    let kept = [stored[1].id, stored[3].id];
    equal("the ids of known pairs", kept, [known[2].id, known[0].id])?;
    let new = [known[3].id, stored[0].id, stored[2].id, stored[4].id];
    grows("the ids of new pairs", &new)?;
    equal("the count", case.count(Some(&space))?, 7)?;
    case.holds_all("the entry is the imported one", &stored)
}

fn ids_given_to_an_import_are_ignored(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.insert(&case.entries(&space, 2))?;
    let given = [known[0].id, known[1].id + 1_000_000, 1, u64::MAX, 0];
    let list: Vec<_> = given
        .into_iter()
        .zip(10..)
        .map(|(id, n)| Entry {
            id,
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("what was there before stays", &known)?;
    case.holds_all("an imported entry is there", &stored)?;
    let mut all = vec![known[1].id];
    all.extend(ids(&stored));
    grows("the ids", &all)?;
    let found = case.by_ids(&given[1..2])?;
    equal("the entries under an id that was given", found.len(), 0)
}

fn an_import_reuses_no_ids(case: &mut Case) -> Checked {
    let space = case.space("a");
    let gone = case.insert(&case.entries(&space, 3))?;
    for entry in &gone {
        case.delete(entry.id)?;
    }
    let first = case.import(ImportMode::Merge, &[case.entry(&space, 0)])?;
    let unused = |id: u64, above: u64| {
        check(
            id > above,
            format!("a new entry has an id above {above}, which was given before"),
            || format!("it has id {id}"),
        )
    };
    unused(first[0].id, gone[2].id)?;
    case.delete(first[0].id)?;
    let second = case.put(case.entry(&space, 1))?;
    unused(second.id, first[0].id)?;
    case.delete(second.id)?;
    let third = case.import(ImportMode::Merge, &[case.entry(&space, 1)])?;
    unused(third[0].id, second.id)
}

fn the_counter_moves_by_one_for_an_import(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    let before = case.version()?;
    let list = case.entries(&space, 6);
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list[..2])?;
    case.write_import(&list[2..])?;
    case.moved(before, 0, "an import that is not committed")?;
    case.commit_entries(&list)?;
    case.moved(before, 1, "an import of six entries")?;
    // The same again.
    case.import(ImportMode::Merge, &[known])?;
    case.moved(before, 2, "an import that replaces an entry by the same")
}
