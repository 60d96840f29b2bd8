//! Looking into a snapshot that is to be restored, and restoring it under conditions.

use super::restores::sample;
use super::snapshots::take;
use crate::battery::{Spec, case};
use crate::calls::called;
use crate::case::{Case, ids};
use crate::check::{Checked, Kind, equal, refused, same_entries};
use crate::contract::{Entry, Error, Restored, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_checked_snapshot_says_what_it_holds,
        "check-restore tells the entries, quotas and meta of the snapshot"
    ),
    case!(
        a_checked_snapshot_is_read_in_pages,
        "read-restore returns the entries of the snapshot, and the present data stays"
    ),
    case!(
        a_checked_snapshot_is_restored,
        "commit-restore after check-restore and read-restore replaces all data"
    ),
    case!(
        a_checked_snapshot_takes_no_more,
        "write-restore after check-restore is invalid-argument"
    ),
    case!(
        damage_is_found_by_the_check,
        "check-restore of damaged bytes is corrupt or schema, and the restore is over"
    ),
    case!(
        checks_need_a_restore,
        "check-restore without begin-restore, and read-restore without check-restore, are invalid-argument"
    ),
    case!(
        entries_refuse_a_restore_into_an_empty_store,
        "commit-restore with only-if-empty is checkpoint where there is an entry"
    ),
    case!(
        an_empty_store_takes_a_restore,
        "commit-restore with only-if-empty works on a store without entries"
    ),
    case!(
        an_ended_restore_is_forgotten,
        "after end-restore nothing can be written, checked, read or committed"
    ),
    case!(
        ending_no_restore_is_allowed,
        "end-restore without a restore does nothing"
    ),
];

/// Receives a snapshot, up to its check.
fn receive(bytes: &[u8]) -> Checked {
    called("begin-restore", store::begin_restore())?;
    bytes
        .chunks(10_000)
        .try_for_each(|chunk| called("write-restore", store::write_restore(chunk)))
}

fn checked() -> Checked<Restored> {
    called("check-restore", store::check_restore())
}

/// Fails unless nothing can be done about a restore.
fn no_restore(when: &str) -> Checked {
    let outcomes: [(&str, Result<(), Error>); 4] = [
        ("write-restore", store::write_restore(b"x")),
        ("check-restore", store::check_restore().map(|_| ())),
        ("read-restore", store::read_restore(0, 1).map(|_| ())),
        ("commit-restore", store::commit_restore(false)),
    ];
    outcomes.into_iter().try_for_each(|(name, outcome)| {
        refused(&format!("{name} {when}"), outcome, &[Kind::InvalidArgument])
    })
}

fn a_checked_snapshot_says_what_it_holds(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let (a, z) = (case.space("a"), case.space("z"));
    let key = case.key("k");
    case.set_quota(&z, Some(7))?;
    case.set_quota(&a, Some(0))?;
    case.replace_meta(&key, None, Some("then"))?;
    let (quotas, meta) = (case.quotas()?, case.list_meta()?);
    let bytes = take()?;
    case.put(case.entry(&z, 60))?;
    case.set_quota(&a, Some(6))?;
    case.replace_meta(&key, Some("then"), Some("now"))?;
    receive(&bytes)?;
    let held = checked()?;
    equal(
        "the entries of the snapshot",
        held.entries,
        before.len() as u64,
    )?;
    equal("the quotas of the snapshot", held.quotas, quotas)?;
    equal("the meta of the snapshot", held.meta, meta)?;
    equal("the present quota", case.quota(&a)?, Some(6))?;
    equal(
        "the present value",
        case.meta(&key)?.as_deref(),
        Some("now"),
    )
}

/// All entries of a checked snapshot, read in pages.
fn pages(limit: u32) -> Checked<Vec<Entry>> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let last_id = all.last().map_or(0, |entry| entry.id);
        let page = called("read-restore", store::read_restore(last_id, limit))?;
        let length = page.len();
        equal(
            &format!("whether read-restore(_, {limit}) returns at most as many"),
            length <= limit as usize,
            true,
        )?;
        all.extend(page);
        if length < limit as usize || all.len() > 1_000 {
            return Ok(all);
        }
    }
}

fn a_checked_snapshot_is_read_in_pages(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    case.delete(before[2].id)?;
    let late = case.put(case.entry(&space, 60))?;
    let last_id = before[0].id - 1;
    let present = case.picture(last_id)?;
    receive(&bytes)?;
    checked()?;
    for limit in [100, 3, 1, before.len() as u32] {
        let read = pages(limit)?;
        same_entries(&format!("read-restore in pages of {limit}"), &read, &before)?;
    }
    let none = called("read-restore", store::read_restore(0, 0))?;
    equal("read-restore with limit 0", ids(&none), [0; 0])?;
    let none = called("read-restore", store::read_restore(u64::MAX, 5))?;
    equal("read-restore after the last id", ids(&none), [0; 0])?;
    case.unchanged("the present data", last_id, &present)?;
    case.holds("what was inserted since the snapshot stays", &late)
}

fn a_checked_snapshot_is_restored(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    let late = case.put(case.entry(&space, 60))?;
    receive(&bytes)?;
    checked()?;
    pages(4)?;
    called("commit-restore", store::commit_restore(false))?;
    case.lacks("what is not in the snapshot is gone", &late)?;
    let after = case.since(before[0].id - 1, 20)?;
    same_entries("what is in the snapshot is there", &after, &before)?;
    no_restore("after commit-restore")
}

fn a_checked_snapshot_takes_no_more(case: &mut Case) -> Checked {
    sample(case)?;
    let bytes = take()?;
    receive(&bytes)?;
    checked()?;
    refused(
        "write-restore after check-restore",
        store::write_restore(b"x"),
        &[Kind::InvalidArgument],
    )
}

fn damage_is_found_by_the_check(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let last_id = before[0].id - 1;
    let good = take()?;
    let present = case.picture(last_id)?;
    let text = case.long_text(1, good.len());
    for bytes in [&good[..good.len() / 2], b"no snapshot", text.as_bytes()] {
        called("begin-restore", store::begin_restore())?;
        // The bytes may be found wrong as soon as they come.
        let outcome = bytes
            .chunks(10_000)
            .try_for_each(store::write_restore)
            .and_then(|()| store::check_restore());
        refused(
            &format!("the check of {} damaged bytes", bytes.len()),
            outcome,
            &[Kind::Corrupt, Kind::Schema],
        )?;
        no_restore("after check-restore has found damage")?;
        case.unchanged("after a failed check-restore", last_id, &present)?;
    }
    receive(&good)?;
    checked().map(drop)
}

fn checks_need_a_restore(case: &mut Case) -> Checked {
    case.needs_snapshots()?;
    no_restore("without begin-restore")?;
    called("begin-restore", store::begin_restore())?;
    refused(
        "read-restore before check-restore",
        store::read_restore(0, 1),
        &[Kind::InvalidArgument],
    )
}

fn entries_refuse_a_restore_into_an_empty_store(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let last_id = before[0].id - 1;
    let bytes = take()?;
    case.delete(before[1].id)?;
    let present = case.picture(last_id)?;
    for check in [false, true] {
        receive(&bytes)?;
        if check {
            checked()?;
        }
        refused(
            "commit-restore with only-if-empty where there is an entry",
            store::commit_restore(true),
            &[Kind::Checkpoint],
        )?;
        case.unchanged("after a refused commit-restore", last_id, &present)?;
        no_restore("after a refused commit-restore")?;
    }
    Ok(())
}

fn an_empty_store_takes_a_restore(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let bytes = take()?;
    for name in ["a", "b"] {
        let space = case.space(name);
        case.clear(&space)?;
    }
    receive(&bytes)?;
    called("commit-restore", store::commit_restore(true))?;
    let after = case.since(before[0].id - 1, 20)?;
    same_entries("what is in the snapshot is there", &after, &before)
}

fn an_ended_restore_is_forgotten(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let last_id = before[0].id - 1;
    let bytes = take()?;
    let present = case.picture(last_id)?;
    for check in [false, true] {
        receive(&bytes)?;
        if check {
            checked()?;
        }
        called("end-restore", store::end_restore())?;
        no_restore("after end-restore")?;
        case.unchanged("after end-restore", last_id, &present)?;
    }
    Ok(())
}

fn ending_no_restore_is_allowed(case: &mut Case) -> Checked {
    case.needs_snapshots()?;
    called("end-restore", store::end_restore())?;
    called("end-restore", store::end_restore())
}
