//! Reading out a consistent picture of all data.

use crate::battery::{Spec, case};
use crate::calls::called;
use crate::case::Case;
use crate::check::{Checked, Kind, check, equal, refused};
use crate::contract::store;
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        snapshots_are_as_the_capabilities_say,
        "all calls are unsupported where snapshots are not claimed, else none is"
    ),
    case!(needs Snapshot, a_snapshot_has_the_size_it_names, "a snapshot read to its end has as many bytes as begin-snapshot said"),
    case!(needs Snapshot, reads_of_a_snapshot_respect_their_maximum, "read-snapshot returns at most as many bytes as asked for"),
    case!(needs Snapshot, a_snapshot_changes_nothing, "taking a snapshot leaves data and counter as they are"),
    case!(needs Snapshot, a_new_snapshot_drops_the_one_before, "begin-snapshot starts from the beginning"),
    case!(needs Snapshot, an_ended_snapshot_cannot_be_read, "read-snapshot after end-snapshot is invalid-argument"),
    case!(needs Snapshot, reading_needs_a_snapshot, "read-snapshot without begin-snapshot is invalid-argument"),
    case!(needs Snapshot, ending_no_snapshot_is_allowed, "end-snapshot without a snapshot does nothing"),
    case!(needs Snapshot, a_snapshot_does_not_outlive_close, "close forgets a snapshot that was begun"),
];

/// The rest of a snapshot, read in steps.
pub fn rest_of_snapshot(step: u32) -> Checked<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let chunk = called("read-snapshot", store::read_snapshot(step))?;
        if chunk.is_empty() {
            return Ok(bytes);
        }
        check(
            chunk.len() <= step as usize,
            format!("read-snapshot({step}) returns at most {step} bytes"),
            || format!("it returned {}", chunk.len()),
        )?;
        bytes.extend(chunk);
    }
}

/// A whole snapshot.
pub fn take() -> Checked<Vec<u8>> {
    called("begin-snapshot", store::begin_snapshot())?;
    let bytes = rest_of_snapshot(64 << 10)?;
    called("end-snapshot", store::end_snapshot())?;
    Ok(bytes)
}

fn sample(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.insert(&case.entries(&space, 10))?;
    Ok(())
}

fn snapshots_are_as_the_capabilities_say(case: &mut Case) -> Checked {
    let outcomes = [
        ("begin-snapshot", store::begin_snapshot().map(|_| ())),
        ("read-snapshot", store::read_snapshot(1).map(|_| ())),
        ("end-snapshot", store::end_snapshot()),
        // In an order that restores nothing.
        ("commit-restore", store::commit_restore(false)),
        ("check-restore", store::check_restore().map(|_| ())),
        ("read-restore", store::read_restore(0, 1).map(|_| ())),
        ("write-restore", store::write_restore(&[])),
        ("begin-restore", store::begin_restore()),
        ("end-restore", store::end_restore()),
    ];
    for (name, outcome) in outcomes {
        if !case.capabilities.snapshot {
            refused(
                &format!("{name} of a store that claims no snapshots"),
                outcome,
                &[Kind::Unsupported],
            )?;
            continue;
        }
        let unsupported = outcome
            .as_ref()
            .is_err_and(|error| Kind::of(error) == Kind::Unsupported);
        check(
            !unsupported,
            format!("{name} is supported by a store that claims snapshots"),
            || show::value(&outcome),
        )?;
    }
    Ok(())
}

fn a_snapshot_has_the_size_it_names(case: &mut Case) -> Checked {
    sample(case)?;
    let size = called("begin-snapshot", store::begin_snapshot())?;
    let bytes = rest_of_snapshot(100_000)?;
    equal(
        "the bytes of a snapshot read to its end",
        bytes.len() as u64,
        size,
    )?;
    let more = called("read-snapshot", store::read_snapshot(10))?;
    equal("the bytes after the end", more.len(), 0)?;
    called("end-snapshot", store::end_snapshot())
}

fn reads_of_a_snapshot_respect_their_maximum(case: &mut Case) -> Checked {
    sample(case)?;
    let size = called("begin-snapshot", store::begin_snapshot())?;
    let mut read = 0;
    for most in [1, 2, 3, 7, 100] {
        let chunk = called("read-snapshot", store::read_snapshot(most))?;
        check(
            !chunk.is_empty() && chunk.len() <= most as usize,
            format!("read-snapshot({most}) returns 1 to {most} bytes amid a snapshot"),
            || format!("it returned {}", chunk.len()),
        )?;
        read += chunk.len();
    }
    read += rest_of_snapshot(u32::MAX)?.len();
    called("end-snapshot", store::end_snapshot())?;
    equal(
        "the bytes read in small steps, and then at once",
        read as u64,
        size,
    )
}

fn a_snapshot_changes_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 5))?;
    let before = case.version()?;
    take()?;
    case.moved(before, 0, "a snapshot")?;
    case.holds_all("the entry is as it was", &stored)
}

fn a_new_snapshot_drops_the_one_before(case: &mut Case) -> Checked {
    sample(case)?;
    called("begin-snapshot", store::begin_snapshot())?;
    called("read-snapshot", store::read_snapshot(16))?;
    let size = called("begin-snapshot", store::begin_snapshot())?;
    let bytes = rest_of_snapshot(50_000)?;
    called("end-snapshot", store::end_snapshot())?;
    equal("the bytes of the second snapshot", bytes.len() as u64, size)
}

fn an_ended_snapshot_cannot_be_read(case: &mut Case) -> Checked {
    sample(case)?;
    called("begin-snapshot", store::begin_snapshot())?;
    called("read-snapshot", store::read_snapshot(10))?;
    called("end-snapshot", store::end_snapshot())?;
    refused(
        "read-snapshot after end-snapshot",
        store::read_snapshot(10),
        &[Kind::InvalidArgument],
    )
}

fn reading_needs_a_snapshot(_: &mut Case) -> Checked {
    refused(
        "read-snapshot without begin-snapshot",
        store::read_snapshot(10),
        &[Kind::InvalidArgument],
    )
}

fn ending_no_snapshot_is_allowed(_: &mut Case) -> Checked {
    called("end-snapshot", store::end_snapshot())?;
    called("end-snapshot", store::end_snapshot())
}

fn a_snapshot_does_not_outlive_close(case: &mut Case) -> Checked {
    sample(case)?;
    called("begin-snapshot", store::begin_snapshot())?;
    case.reopen()?;
    refused(
        "read-snapshot after close and open",
        store::read_snapshot(10),
        &[Kind::InvalidArgument],
    )
}
