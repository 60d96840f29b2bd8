//! Taking in a snapshot. A restore replaces all data of the store, so that these cases
//! run only where there are no entries of others, and no capability alone decides it.

use crate::battery::{Spec, case};
use crate::calls::called;
use crate::case::{Case, START, ids};
use crate::cases::snapshots::{rest_of_snapshot, take};
use crate::check::{Checked, Kind, check, equal, refused, same_entries};
use crate::contract::{Entry, Error, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_restore_brings_everything_back,
        "entries, ids, access data, quotas and meta are those of the snapshot"
    ),
    case!(
        a_restore_moves_the_counter_on,
        "the counter is greater after a restore than before it"
    ),
    case!(
        ids_are_not_reused_after_a_restore,
        "ids given since the snapshot are not given again"
    ),
    case!(
        a_snapshot_is_one_picture,
        "writes while a snapshot is read do not show in it"
    ),
    case!(
        data_is_served_until_commit,
        "until commit-restore the present data is read and written"
    ),
    case!(
        a_restored_store_goes_on_working,
        "after a restore entries are inserted, replaced and deleted"
    ),
    case!(
        garbage_is_not_restored,
        "bytes that are not a snapshot are corrupt or schema, and the data stays"
    ),
    case!(
        a_truncated_snapshot_is_not_restored,
        "a snapshot without its end is refused, and the data stays"
    ),
    case!(
        an_empty_snapshot_is_not_restored,
        "no bytes are refused, and the data stays"
    ),
    case!(
        a_failed_restore_is_over,
        "after a failed commit-restore another one is invalid-argument"
    ),
    case!(
        a_restore_must_be_begun,
        "write-restore and commit-restore without begin-restore are invalid-argument"
    ),
    case!(
        a_new_restore_forgets_the_bytes_before,
        "begin-restore starts from no bytes"
    ),
    case!(
        a_restore_does_not_outlive_close,
        "close forgets a restore that was begun"
    ),
];

/// Writes a snapshot back in steps, and commits it.
pub(super) fn restore(bytes: &[u8], step: usize) -> Checked {
    called("begin-restore", store::begin_restore())?;
    for chunk in bytes.chunks(step) {
        called("write-restore", store::write_restore(chunk))?;
    }
    called("commit-restore", store::commit_restore(false))
}

/// Entries of two namespaces with a gap among their ids, some of them touched.
pub(super) fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    case.needs_snapshots()?;
    case.needs_empty_store()?;
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = (0..9)
        .map(|n| Entry {
            ttl: (n % 2 == 0).then_some(70),
            ..case.entry(if n % 3 == 0 { &a } else { &b }, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.delete(stored[4].id)?;
    case.touch(&[Touch {
        id: stored[1].id,
        hits: 6,
        last_accessed_at: START + 9_000,
    }])?;
    case.since(stored[0].id - 1, 20)
}

fn a_restore_brings_everything_back(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let (a, b, c) = (case.space("a"), case.space("b"), case.space("c"));
    let (key, other) = (case.key("k"), case.key("other"));
    case.set_quota(&a, Some(5))?;
    case.replace_meta(&key, None, Some("then"))?;
    let bytes = take()?;

    case.delete(before[0].id)?;
    case.put(Entry {
        response: "new".to_owned(),
        ..before[1].clone()
    })?;
    case.put(case.entry(&c, 50))?;
    case.set_quota(&a, Some(6))?;
    case.set_quota(&b, Some(1))?;
    case.replace_meta(&key, Some("then"), Some("now"))?;
    case.replace_meta(&other, None, Some("now"))?;

    restore(&bytes, 4_000)?;
    let after = case.since(before[0].id - 1, 20)?;
    same_entries(
        "iter-since after a restore is as at the snapshot",
        &after,
        &before,
    )?;
    case.holds_all("the entry is as at the snapshot", &before)?;
    equal(
        "the namespaces",
        case.list_namespaces()?,
        [a.clone(), b.clone()],
    )?;
    equal("the quota", case.quota(&a)?, Some(5))?;
    equal("a quota set since", case.quota(&b)?, None)?;
    equal("the meta value", case.meta(&key)?.as_deref(), Some("then"))?;
    equal("a meta value set since", case.meta(&other)?, None)?;
    equal(
        "the recorded fingerprint",
        case.meta("embedder_fingerprint")?,
        Some(case.fingerprint.clone()),
    )?;
    equal(
        "the least recently used",
        case.lru(20, None)?.len(),
        before.len(),
    )?;
    equal("integrity-check", case.integrity()?, true)
}

fn a_restore_moves_the_counter_on(case: &mut Case) -> Checked {
    sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    for n in 0..5 {
        case.put(case.entry(&space, 60 + n))?;
    }
    for round in 0..2 {
        let before = case.version()?;
        restore(&bytes, 50_000)?;
        let after = case.version()?;
        check(
            after > before,
            "the version counter is greater after a restore than before it",
            || format!("it went from {before} to {after} in restore {round}"),
        )?;
    }
    Ok(())
}

fn ids_are_not_reused_after_a_restore(case: &mut Case) -> Checked {
    sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    let late = case.insert(&case.entries(&space, 6))?;
    let highest = ids(&late).into_iter().max().unwrap_or_default();
    restore(&bytes, 50_000)?;
    let next = case.put(case.entry(&space, 90))?;
    check(
        next.id > highest,
        format!("a new entry has an id above {highest}, the highest given since the snapshot"),
        || format!("it has id {}", next.id),
    )
}

fn a_snapshot_is_one_picture(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let space = case.space("c");
    called("begin-snapshot", store::begin_snapshot())?;
    let mut bytes = called("read-snapshot", store::read_snapshot(100))?;
    for n in 20..25 {
        case.put(case.entry(&space, n))?;
        case.delete(before[n as usize - 20].id)?;
        bytes.extend(called("read-snapshot", store::read_snapshot(3_000))?);
    }
    bytes.extend(rest_of_snapshot(10_000)?);
    called("end-snapshot", store::end_snapshot())?;
    restore(&bytes, 9_999)?;
    let after = case.since(before[0].id - 1, 20)?;
    same_entries(
        "what was there when the snapshot began is restored",
        &after,
        &before,
    )?;
    equal("integrity-check", case.integrity()?, true)
}

fn data_is_served_until_commit(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    let late = case.put(case.entry(&space, 60))?;
    called("begin-restore", store::begin_restore())?;
    for chunk in bytes.chunks(bytes.len() / 2 + 1) {
        called("write-restore", store::write_restore(chunk))?;
        case.holds("the present data is served during a restore", &late)?;
    }
    let later = case.put(case.entry(&space, 61))?;
    case.holds("the present data can be written during a restore", &later)?;
    called("commit-restore", store::commit_restore(false))?;
    case.lacks(
        "what is not in the snapshot is gone after commit-restore",
        &late,
    )?;
    case.lacks(
        "what is not in the snapshot is gone after commit-restore",
        &later,
    )?;
    case.holds("what is in the snapshot is there", &before[0])
}

fn a_restored_store_goes_on_working(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let space = case.space("c");
    let bytes = take()?;
    restore(&bytes, 1_000)?;
    let counter = case.version()?;
    let new = case.put(case.entry(&space, 60))?;
    case.holds("a new entry is taken", &new)?;
    let replaced = case.put(Entry {
        response: "new".to_owned(),
        ..before[2].clone()
    })?;
    equal("the id of a replaced entry", replaced.id, before[2].id)?;
    equal("delete-by-id", case.delete(before[0].id)?, true)?;
    case.moved(counter, 3, "an insert, a replacement and a delete")?;
    case.reopen()?;
    case.holds(
        "the replaced entry is there after close and open",
        &replaced,
    )?;
    equal("the count of all", case.count(None)?, before.len() as u64)
}

/// Tries to restore invalid bytes, and checks that nothing has changed.
pub(super) fn refused_and_unchanged(case: &mut Case, what: &str, bytes: &[u8]) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    let before = case.since(0, 100)?;
    let meta = case.meta(&key)?;
    let version = case.version()?;
    let count = case.count(Some(&space))?;
    called("begin-restore", store::begin_restore())?;
    // The bytes may be found wrong as soon as they come.
    let outcome: Result<(), Error> = bytes
        .chunks(10_000)
        .try_for_each(store::write_restore)
        .and_then(|()| store::commit_restore(false));
    refused(
        &format!("the restore of {what}"),
        outcome,
        &[Kind::Corrupt, Kind::Schema],
    )?;
    let after = case.since(0, 100)?;
    same_entries(
        &format!("the restore of {what} leaves the entries"),
        &after,
        &before,
    )?;
    equal(
        "the meta value after a failed restore",
        case.meta(&key)?,
        meta,
    )?;
    equal(
        "the count after a failed restore",
        case.count(Some(&space))?,
        count,
    )?;
    case.moved(version, 0, "a failed restore")
}

fn garbage_is_not_restored(case: &mut Case) -> Checked {
    sample(case)?;
    let good = take()?;
    refused_and_unchanged(case, "a few bytes", b"no snapshot")?;
    refused_and_unchanged(case, "zeros", &vec![0; good.len()])?;
    let text = case.long_text(1, good.len());
    refused_and_unchanged(case, "text as long as a snapshot", text.as_bytes())?;
    let space = case.space("c");
    let next = case.put(case.entry(&space, 60))?;
    case.holds("the store takes entries after a failed restore", &next)
}

fn a_truncated_snapshot_is_not_restored(case: &mut Case) -> Checked {
    sample(case)?;
    let good = take()?;
    for length in [good.len() / 2, good.len() / 10, good.len() - 1] {
        let what = format!("the first {length} of {} bytes", good.len());
        refused_and_unchanged(case, &what, &good[..length])?;
    }
    restore(&good, 30_000)
}

fn an_empty_snapshot_is_not_restored(case: &mut Case) -> Checked {
    sample(case)?;
    refused_and_unchanged(case, "no bytes", &[])
}

fn a_failed_restore_is_over(case: &mut Case) -> Checked {
    sample(case)?;
    let good = take()?;
    refused_and_unchanged(case, "a few bytes", b"no snapshot")?;
    refused(
        "commit-restore after one that failed",
        store::commit_restore(false),
        &[Kind::InvalidArgument],
    )?;
    refused(
        "write-restore after one that failed",
        store::write_restore(&good),
        &[Kind::InvalidArgument],
    )?;
    restore(&good, 30_000)
}

fn a_restore_must_be_begun(case: &mut Case) -> Checked {
    case.needs_snapshots()?;
    refused(
        "write-restore without begin-restore",
        store::write_restore(b"x"),
        &[Kind::InvalidArgument],
    )?;
    refused(
        "commit-restore without begin-restore",
        store::commit_restore(false),
        &[Kind::InvalidArgument],
    )
}

fn a_new_restore_forgets_the_bytes_before(case: &mut Case) -> Checked {
    let before = sample(case)?;
    let bytes = take()?;
    called("begin-restore", store::begin_restore())?;
    called("write-restore", store::write_restore(b"no snapshot"))?;
    restore(&bytes, 20_000)?;
    let after = case.since(before[0].id - 1, 20)?;
    same_entries("the second restore alone counts", &after, &before)
}

fn a_restore_does_not_outlive_close(case: &mut Case) -> Checked {
    sample(case)?;
    let bytes = take()?;
    called("begin-restore", store::begin_restore())?;
    called("write-restore", store::write_restore(&bytes))?;
    case.reopen()?;
    refused(
        "commit-restore after close and open",
        store::commit_restore(false),
        &[Kind::InvalidArgument],
    )
}
