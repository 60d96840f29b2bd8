//! What a store says of itself.

use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{Checked, check, equal};
use crate::contract::store;
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(closed the_store_has_a_short_lowercase_name, "the name is one short lowercase word"),
    case!(closed a_call_takes_at_least_one_entry, "max-batch and max-delete are at least 1"),
    case!(closed a_blob_may_have_enough_bytes_or_none, "max-blob is 0 or at least 65,536"),
    case!(closed enough_changes_are_kept_or_none, "max-changes is 0 or at least 65,536"),
    case!(closed capabilities_are_the_same_open_and_closed, "capabilities are readable before open and after close, and do not change"),
    case!(
        capabilities_do_not_change_with_the_data,
        "capabilities are the same whatever the store holds"
    ),
];

fn the_store_has_a_short_lowercase_name(case: &mut Case) -> Checked {
    let name = &case.capabilities.name;
    let word = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    check(
        word && (1..=40).contains(&name.len()),
        "the name of the store is of 1 to 40 lowercase letters, digits, hyphens and underscores",
        || show::text(name),
    )
}

fn a_call_takes_at_least_one_entry(case: &mut Case) -> Checked {
    let capabilities = &case.capabilities;
    check(
        capabilities.max_batch >= 1 && capabilities.max_delete >= 1,
        "max-batch and max-delete are at least 1",
        || show::value(capabilities),
    )
}

fn a_blob_may_have_enough_bytes_or_none(case: &mut Case) -> Checked {
    let max_blob = case.capabilities.max_blob;
    check(
        max_blob == 0 || max_blob >= 65_536,
        "max-blob is 0 or at least 65536",
        || max_blob.to_string(),
    )
}

fn enough_changes_are_kept_or_none(case: &mut Case) -> Checked {
    let max_changes = case.capabilities.max_changes;
    check(
        max_changes == 0 || max_changes >= 65_536,
        "max-changes is 0 or at least 65536",
        || max_changes.to_string(),
    )
}

fn capabilities_are_the_same_open_and_closed(case: &mut Case) -> Checked {
    let before = case.capabilities.clone();
    case.open()?;
    equal(
        "an open store has the capabilities it had closed",
        store::capabilities(),
        before.clone(),
    )?;
    case.close()?;
    equal(
        "a store keeps its capabilities when it is closed",
        store::capabilities(),
        before,
    )
}

fn capabilities_do_not_change_with_the_data(case: &mut Case) -> Checked {
    let before = case.capabilities.clone();
    let space = case.space("a");
    case.insert(&case.entries(&space, 20))?;
    equal(
        "inserting changes no capability",
        store::capabilities(),
        before.clone(),
    )?;
    case.clear(&space)?;
    equal(
        "clearing changes no capability",
        store::capabilities(),
        before,
    )
}
