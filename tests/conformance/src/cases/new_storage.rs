//! Storage that nothing was ever written to. Where something was, there is nothing to see,
//! and the cases are skipped.

use crate::battery::{Spec, case};
use crate::case::{Case, ids};
use crate::check::{Checked, Stop, equal};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        new_storage_is_empty,
        "a version counter of 0 means that no operation finds an entry"
    ),
    case!(
        the_first_id_is_one,
        "the first id that new storage gives is 1"
    ),
];

fn needs_new_storage(case: &Case) -> Checked {
    match case.version()? {
        0 => Ok(()),
        version => Err(Stop::Skipped(format!(
            "the store was written to before: its version counter is {version}"
        ))),
    }
}

fn new_storage_is_empty(case: &mut Case) -> Checked {
    needs_new_storage(case)?;
    equal("the count of new storage", case.count(None)?, 0)?;
    equal(
        "the namespaces of new storage",
        case.list_namespaces()?.len(),
        0,
    )?;
    equal(
        "the ids in new storage, by iter-since",
        ids(&case.since(0, 10)?),
        [],
    )?;
    equal(
        "the ids in new storage, by iter-vectors",
        case.vectors(0, 10)?.ids,
        [],
    )?;
    equal(
        "the ids in new storage, by iter-stamps",
        case.stamps(0, 10)?.ids,
        [],
    )?;
    equal(
        "the least recently used of new storage",
        case.lru(10, None)?.len(),
        0,
    )?;
    equal(
        "what can be deleted by id 1 in new storage",
        case.delete(1)?,
        false,
    )?;
    case.moved(0, 0, "looking at new storage")
}

fn the_first_id_is_one(case: &mut Case) -> Checked {
    needs_new_storage(case)?;
    let space = case.space("a");
    let entry = case.put(case.entry(&space, 0))?;
    equal("the id of the first entry ever", entry.id, 1)?;
    case.moved(0, 1, "the first insert")
}
