//! The log of what each write did to each entry. Where a store keeps none, there is nothing to
//! judge but that it says so.

use std::collections::{BTreeMap, BTreeSet};

use super::restores::restore;
use super::snapshots::take;
use crate::battery::{Spec, case, phases};
use crate::case::{Case, START, ids, references};
use crate::check::{About, Checked, Kind, Stop, check, equal, failed, refused};
use crate::contract::{Change, Entry, ImportMode, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        changes_are_as_the_capabilities_say,
        "changes-since is unsupported where max-changes is 0, else it answers"
    ),
    case!(
        an_insert_is_logged,
        "an insert is one change of one version"
    ),
    case!(
        a_replacement_is_logged,
        "a replacement is a change of the kept id, not a delete"
    ),
    case!(
        a_list_is_logged_as_one_version,
        "all entries of a list have one version, each id once"
    ),
    case!(
        delete_by_id_is_logged,
        "a deleted entry is logged as deleted"
    ),
    case!(
        delete_unchanged_is_logged,
        "entries that were deleted are logged, those that stay are not"
    ),
    case!(
        delete_expired_is_logged,
        "so is what delete-expired deletes"
    ),
    case!(
        a_clear_is_logged,
        "so is every entry of a cleared namespace"
    ),
    case!(
        each_change_of_an_entry_is_logged,
        "an entry that is written several times is logged each time"
    ),
    case!(
        what_changes_no_entry_is_not_logged,
        "touches, quotas, meta and writes that find nothing leave the log"
    ),
    case!(
        a_failed_insert_is_not_logged,
        "what an insert that failed would have stored is not in the log"
    ),
    case!(
        an_unmoved_counter_has_no_changes,
        "since the present version there is nothing"
    ),
    case!(
        changes_come_in_whole_versions,
        "a page has at most limit changes, or one version, and the next goes on"
    ),
    case!(
        versions_to_come_have_no_changes,
        "since a version that the counter has not had, nothing is known"
    ),
    case!(
        many_changes_are_kept,
        "more than a thousand changes are told"
    ),
    case!(
        a_long_write_is_logged_or_forgotten,
        "since before a write of more than 1,000 entries, nothing is known or all"
    ),
    case!(
        a_merge_is_logged_or_forgotten,
        "since before an import, nothing is known or all"
    ),
    case!(
        a_replacing_import_is_logged_or_forgotten,
        "since before an import of everything, nothing is known or all"
    ),
    case!(
        a_restore_is_logged_or_forgotten,
        "since before a restore, nothing is known or all"
    ),
    case!(
        changes_are_kept_or_forgotten_at_close,
        "after close and open nothing is known of before, or all"
    ),
    phases!(needs Durable, changes_are_kept_or_forgotten_in_a_drop, "a new store knows nothing of before, or all",
        [Fresh => |case| where_kept(case, write_and_drop), Fresh => |case| where_kept(case, read_or_forgotten)]),
    phases!(needs Shared, changes_beside_are_logged, "a store that is open is told what another one inserts, replaces and deletes",
        [Fresh => |case| where_kept(case, write_and_read), Beside => |case| where_kept(case, change), Back => |case| where_kept(case, read_changes)]),
    phases!(needs Shared, a_view_has_no_later_changes, "in a view there are the changes of before its instant",
        [Fresh => |case| where_kept(case, write_and_begin_view), Beside => |case| where_kept(case, change), Back => |case| where_kept(case, read_in_view)]),
];

/// A change, as the version less another one, the id, and whether it was deleted.
type Row = (u64, u64, bool);

/// Every change since a version, in steps; none if the store does not know.
fn all_since(case: &Case, version: u64, limit: u32) -> Checked<Option<Vec<Change>>> {
    let (mut all, mut place) = (Vec::new(), version);
    loop {
        let Some(page) = case.changes(place, limit)? else {
            return Ok(None);
        };
        place = page.version;
        if page.changes.is_empty() {
            break;
        }
        all.extend(page.changes);
    }
    equal(
        "the version up to which a walk of changes-since tells all, and the counter",
        place,
        case.version()?,
    )?;
    Ok(Some(all))
}

fn rows(changes: Vec<Change>, before: u64) -> Vec<Row> {
    let mut rows: Vec<_> = changes
        .into_iter()
        .map(|one| (one.version - before, one.id, one.deleted))
        .collect();
    rows.sort_unstable();
    rows
}

/// Fails unless the log has exactly these changes since a version, from which the versions are
/// counted.
fn logged(case: &Case, doing: &str, before: u64, mut wanted: Vec<Row>) -> Checked {
    wanted.sort_unstable();
    let Some(found) = all_since(case, before, 1_000)? else {
        return Err(failed(
            format!("changes-since version {before} knows what {doing} did"),
            "it returned none",
        ));
    };
    equal(
        &format!("the steps, ids and deletes that {doing} logged"),
        rows(found, before),
        wanted,
    )
}

/// Fails unless nothing is known since a version, or that these entries have changed, and of none
/// other than what is so.
pub(super) fn told_or_forgotten(case: &Case, doing: &str, before: u64, changed: &[u64]) -> Checked {
    let Some(found) = all_since(case, before, 1_000)? else {
        return Ok(());
    };
    let last: BTreeMap<u64, bool> = found.iter().map(|one| (one.id, one.deleted)).collect();
    let missing: Vec<_> = changed.iter().filter(|id| !last.contains_key(id)).collect();
    check(
        missing.is_empty(),
        format!("changes-since version {before} knows all that {doing} did, or nothing"),
        || format!("it lacks the entries with the ids {missing:?}"),
    )?;
    let named: Vec<_> = last.keys().copied().collect();
    let mut present = BTreeSet::new();
    for some in named.chunks(300) {
        present.extend(ids(&case.read_ids(some, false)?));
    }
    for (id, deleted) in last {
        equal(
            &format!(
                "whether the entry with id {id}, which was last logged as deleted: {deleted}, is there"
            ),
            present.contains(&id),
            !deleted,
        )?;
    }
    Ok(())
}

/// Fails unless writes from here on are in the log.
fn goes_on(case: &mut Case, doing: &str) -> Checked {
    let space = case.space("later");
    let before = case.version()?;
    logged(case, &format!("nothing, after {doing},"), before, vec![])?;
    let new = case.put(case.entry(&space, 900))?;
    case.delete(new.id)?;
    logged(
        case,
        &format!("an insert and a delete, after {doing},"),
        before,
        vec![(1, new.id, false), (2, new.id, true)],
    )
}

fn sample(case: &mut Case, n: u64) -> Checked<Vec<Entry>> {
    case.needs_changes()?;
    let space = case.space("a");
    case.insert(&case.entries(&space, n))
}

fn newer(entry: &Entry) -> Entry {
    Entry {
        response: "new".to_owned(),
        created_at: START + 500,
        ..entry.clone()
    }
}

fn changes_are_as_the_capabilities_say(case: &mut Case) -> Checked {
    if case.capabilities.max_changes > 0 {
        let version = case.version()?;
        return case.changes(version, 1).map(drop);
    }
    for version in [0, 1, u64::MAX] {
        refused(
            "changes-since, where max-changes is 0,",
            store::changes_since(version, 10),
            &[Kind::Unsupported],
        )?;
    }
    Ok(())
}

fn an_insert_is_logged(case: &mut Case) -> Checked {
    sample(case, 2)?;
    let space = case.space("a");
    let before = case.version()?;
    let first = case.put(case.entry(&space, 10))?;
    logged(case, "an insert", before, vec![(1, first.id, false)])?;
    let second = case.put(case.entry(&space, 11))?;
    logged(
        case,
        "two inserts",
        before,
        vec![(1, first.id, false), (2, second.id, false)],
    )?;
    logged(
        case,
        "the second one",
        before + 1,
        vec![(1, second.id, false)],
    )
}

fn a_replacement_is_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 3)?;
    let before = case.version()?;
    case.put(newer(&stored[1]))?;
    logged(
        case,
        "a replacement",
        before,
        vec![(1, stored[1].id, false)],
    )
}

fn a_list_is_logged_as_one_version(case: &mut Case) -> Checked {
    case.needs_batch(6)?;
    let stored = sample(case, 3)?;
    let space = case.space("a");
    let before = case.version()?;
    // Two new pairs, one of them twice, and two that are there, one of them twice.
    let list = [
        case.entry(&space, 20),
        newer(&stored[2]),
        case.entry(&space, 21),
        newer(&stored[0]),
        case.entry(&space, 20),
        newer(&stored[2]),
    ];
    let inserted = case.insert_list(&list)?;
    let wanted = [0, 1, 2, 3].map(|place: usize| (1, inserted[place].id, false));
    logged(case, "a list", before, wanted.to_vec())
}

fn delete_by_id_is_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 4)?;
    let before = case.version()?;
    case.delete(stored[2].id)?;
    case.delete(stored[0].id)?;
    logged(
        case,
        "delete-by-id, twice,",
        before,
        vec![(1, stored[2].id, true), (2, stored[0].id, true)],
    )
}

/// How many entries the cases delete in one step.
fn few(case: &Case) -> usize {
    case.capabilities.max_delete.min(3) as usize
}

fn deleted(entries: &[Entry]) -> Vec<Row> {
    entries.iter().map(|entry| (1, entry.id, true)).collect()
}

fn delete_unchanged_is_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 6)?;
    let gone = &stored[..few(case)];
    case.put(newer(&stored[4]))?;
    let before = case.version()?;
    let mut named = references(gone);
    if case.capabilities.max_delete >= 6 {
        named.extend(references(&stored[..1]));
        named.extend(references(&stored[4..5]));
    }
    case.delete_unchanged(&named)?;
    logged(case, "delete-unchanged", before, deleted(gone))
}

fn delete_expired_is_logged(case: &mut Case) -> Checked {
    case.needs_changes()?;
    let space = case.space("a");
    let dying: Vec<_> = (0..few(case) as u64)
        .map(|n| Entry {
            ttl: Some(10),
            created_at: START,
            ..case.entry(&space, n)
        })
        .collect();
    let dying = case.insert(&dying)?;
    case.put(case.entry(&space, 9))?;
    let before = case.version()?;
    case.delete_expired(START + 10, Some(&space), 10)?;
    logged(case, "delete-expired", before, deleted(&dying))
}

fn a_clear_is_logged(case: &mut Case) -> Checked {
    let stored = sample(case, few(case) as u64)?;
    let other = case.space("b");
    case.put(case.entry(&other, 9))?;
    let before = case.version()?;
    case.clear(&stored[0].namespace)?;
    logged(case, "clear-namespace", before, deleted(&stored))
}

fn each_change_of_an_entry_is_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 2)?;
    let before = case.version()?;
    let id = stored[0].id;
    case.put(newer(&stored[0]))?;
    case.put(stored[0].clone())?;
    case.delete(id)?;
    let again = case.put(stored[0].clone())?;
    case.delete(again.id)?;
    let wanted = vec![
        (1, id, false),
        (2, id, false),
        (3, id, true),
        (4, again.id, false),
        (5, again.id, true),
    ];
    logged(case, "five writes of one pair", before, wanted)
}

fn what_changes_no_entry_is_not_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 3)?;
    let (space, key, empty) = (case.space("a"), case.key("k"), case.space("empty"));
    let before = case.version()?;
    case.touch(&[Touch {
        id: stored[1].id,
        hits: 3,
        last_accessed_at: START + 9_000,
    }])?;
    case.set_quota(&space, Some(7))?;
    case.replace_meta(&key, None, Some("v"))?;
    case.delete(0)?;
    case.delete(stored[2].id + 1_000_000)?;
    case.delete_unchanged(&references(&[newer(&stored[0])]))?;
    case.delete_unchanged(&[])?;
    case.delete_expired(START + 100_000, Some(&space), 10)?;
    case.clear(&empty)?;
    case.insert_list(&[])?;
    logged(case, "what changes no entry", before, vec![])?;
    case.delete(stored[1].id)?;
    logged(
        case,
        "a delete after it",
        before,
        vec![(1, stored[1].id, true)],
    )
}

fn a_failed_insert_is_not_logged(case: &mut Case) -> Checked {
    let stored = sample(case, 2)?;
    let before = case.version()?;
    let short = Entry {
        embedding: Vec::new(),
        ..newer(&stored[1])
    };
    // That they fail is another case's affair.
    let _ = store::insert(std::slice::from_ref(&short));
    let _ = store::insert(&[newer(&stored[0]), short]);
    logged(case, "an insert that failed", before, vec![])?;
    goes_on(case, "an insert that failed")
}

fn an_unmoved_counter_has_no_changes(case: &mut Case) -> Checked {
    sample(case, 3)?;
    let version = case.version()?;
    for limit in [1, 5, u32::MAX] {
        let page = case.changes(version, limit)?;
        equal(
            "the changes since the present version, and the version",
            page.map(|page| (page.changes.len(), page.version)),
            Some((0, version)),
        )?;
    }
    Ok(())
}

fn changes_come_in_whole_versions(case: &mut Case) -> Checked {
    case.needs_batch(3)?;
    sample(case, 1)?;
    let space = case.space("a");
    let before = case.version()?;
    let mut wanted = Vec::new();
    for (step, entries) in (1..).zip([3, 1, 1, 2, 3, 1]) {
        let list: Vec<_> = (0..entries)
            .map(|n| case.entry(&space, step * 10 + n))
            .collect();
        let stored = case.insert_list(&list)?;
        wanted.extend(stored.iter().map(|one| (step, one.id, false)));
    }
    for limit in [1, 2, 3, 4, 5, 7, 11, 100] {
        let found = all_since(case, before, limit)?;
        equal(
            &format!("the steps, ids and deletes of six writes, with limit {limit}"),
            found.map(|found| rows(found, before)),
            Some(wanted.clone()),
        )?;
        // A page ends between two versions.
        let Some(page) = case.changes(before, limit)? else {
            continue;
        };
        let told = page.version - before;
        equal(
            &format!("the first page with limit {limit}, which tells {told} versions"),
            rows(page.changes, before),
            wanted
                .iter()
                .filter(|(step, ..)| *step <= told)
                .copied()
                .collect::<Vec<_>>(),
        )?;
    }
    Ok(())
}

fn versions_to_come_have_no_changes(case: &mut Case) -> Checked {
    sample(case, 2)?;
    let now = case.version()?;
    for version in [now + 1, now + 1_000, i64::MAX as u64, 1 << 63, u64::MAX] {
        equal(
            &format!("changes-since {version}, where the counter is {now},"),
            case.changes(version, 10)?.map(|page| page.changes.len()),
            None,
        )?;
    }
    Ok(())
}

fn many_changes_are_kept(case: &mut Case) -> Checked {
    case.needs_batch(300)?;
    let stored = sample(case, 300)?;
    let before = case.version()?;
    let mut wanted = Vec::new();
    for step in 1..=4 {
        case.insert_list(&stored)?;
        wanted.extend(stored.iter().map(|entry| (step, entry.id, false)));
    }
    logged(case, "1,200 replacements", before, wanted)
}

fn a_long_write_is_logged_or_forgotten(case: &mut Case) -> Checked {
    case.needs_changes()?;
    if case.capabilities.max_delete <= 1_000 {
        return Err(Stop::Skipped(
            "no write of the store changes more than 1,000 entries in one step".to_owned(),
        ));
    }
    let stored = sample(case, 1_001)?;
    let before = case.version()?;
    case.clear(&stored[0].namespace)?;
    told_or_forgotten(case, "a clear of 1,001 entries", before, &ids(&stored))?;
    goes_on(case, "a clear of 1,001 entries")?;
    told_or_forgotten(case, "a clear and what came later", before, &ids(&stored))
}

fn a_merge_is_logged_or_forgotten(case: &mut Case) -> Checked {
    let stored = sample(case, 4)?;
    let before = case.version()?;
    let space = case.space("a");
    let list = [newer(&stored[1]), case.entry(&space, 30)];
    let new = case.import(ImportMode::Merge, &list)?;
    told_or_forgotten(case, "an import", before, &ids(&new))?;
    goes_on(case, "an import")?;
    told_or_forgotten(case, "an import and what came later", before, &ids(&new))
}

fn a_replacing_import_is_logged_or_forgotten(case: &mut Case) -> Checked {
    case.needs_new_store()?;
    let stored = sample(case, 4)?;
    let before = case.version()?;
    let space = case.space("a");
    let list = [newer(&stored[1]), case.entry(&space, 30)];
    let new = case.import(ImportMode::Replace, &list)?;
    let mut changed = ids(&new);
    changed.extend([stored[0].id, stored[2].id, stored[3].id]);
    told_or_forgotten(case, "an import of everything", before, &changed)?;
    goes_on(case, "an import of everything")?;
    told_or_forgotten(case, "an import and what came later", before, &changed)
}

fn a_restore_is_logged_or_forgotten(case: &mut Case) -> Checked {
    case.needs_snapshots()?;
    case.needs_empty_store()?;
    let stored = sample(case, 4)?;
    let bytes = take()?;
    let early = case.version()?;
    let space = case.space("a");
    let new = case.put(case.entry(&space, 30))?;
    case.put(newer(&stored[1]))?;
    case.delete(stored[2].id)?;
    let late = case.version()?;
    let changed = [new.id, stored[1].id, stored[2].id];
    restore(&bytes, 20_000)?;
    let doing = "a restore";
    told_or_forgotten(case, doing, late, &changed).about(|| "since the last write".to_owned())?;
    told_or_forgotten(case, doing, early, &[]).about(|| "since the snapshot".to_owned())?;
    goes_on(case, doing)?;
    let doing = "a restore and what came later";
    told_or_forgotten(case, doing, late, &changed).about(|| "since the last write".to_owned())?;
    told_or_forgotten(case, doing, early, &[]).about(|| "since the snapshot".to_owned())
}

fn changes_are_kept_or_forgotten_at_close(case: &mut Case) -> Checked {
    let stored = sample(case, 4)?;
    let before = case.version()?;
    case.put(newer(&stored[1]))?;
    case.delete(stored[2].id)?;
    case.reopen()?;
    let changed = [stored[1].id, stored[2].id];
    told_or_forgotten(case, "writes before close", before, &changed)?;
    goes_on(case, "close and open")?;
    told_or_forgotten(case, "writes before and after close", before, &changed)
}

// Of several stores. These cases pass where there is no log, since no capability decides on it.

/// Takes a step where the store keeps a log. Where not, fails unless the store says so.
fn where_kept(case: &mut Case, step: fn(&mut Case) -> Checked) -> Checked {
    changes_are_as_the_capabilities_say(case)?;
    match case.capabilities.max_changes {
        0 => Ok(()),
        _ => step(case),
    }
}

/// Inserts some entries, and notes their ids and the counter.
fn write(case: &mut Case) -> Checked {
    let stored = sample(case, 4)?;
    case.note_numbers("ids", &ids(&stored))?;
    let version = case.version()?;
    case.note_numbers("version", &[version])
}

fn write_and_read(case: &mut Case) -> Checked {
    write(case)?;
    let version = case.noted_numbers("version")?[0];
    logged(case, "nothing", version, vec![])
}

fn write_and_drop(case: &mut Case) -> Checked {
    write(case)?;
    change(case)
}

/// The entries of [`write`], and the version after them.
fn noted(case: &mut Case) -> Checked<(Vec<Entry>, u64)> {
    let space = case.space("a");
    let version = case.noted_numbers("version")?[0];
    let ids = case.noted_numbers("ids")?;
    let list = case.entries(&space, 4).into_iter().zip(ids);
    Ok((
        list.map(|(entry, id)| Entry { id, ..entry }).collect(),
        version,
    ))
}

/// Inserts, replaces and deletes an entry.
fn change(case: &mut Case) -> Checked {
    let (stored, _) = noted(case)?;
    case.put(case.entry(&stored[0].namespace, 30))?;
    case.put(newer(&stored[1]))?;
    equal("delete-by-id", case.delete(stored[2].id)?, true)
}

/// What [`change`] should have logged, and the version before it.
fn changed(case: &mut Case) -> Checked<(Vec<Row>, u64)> {
    let (stored, version) = noted(case)?;
    let new = case.with_ids(&[case.entry(&stored[0].namespace, 30)])?[0].id;
    let rows = vec![
        (1, new, false),
        (2, stored[1].id, false),
        (3, stored[2].id, true),
    ];
    Ok((rows, version))
}

fn read_changes(case: &mut Case) -> Checked {
    let (rows, version) = changed(case)?;
    logged(case, "another store", version, rows)?;
    goes_on(case, "the writes of another store")
}

fn read_or_forgotten(case: &mut Case) -> Checked {
    let (rows, version) = changed(case)?;
    let ids: Vec<_> = rows.into_iter().map(|(_, id, _)| id).collect();
    told_or_forgotten(case, "the store before", version, &ids)?;
    goes_on(case, "a drop")?;
    told_or_forgotten(case, "the store before, and what came later", version, &ids)
}

fn write_and_begin_view(case: &mut Case) -> Checked {
    write(case)?;
    let able = case.begin_view()?;
    case.end_view()?;
    case.note_numbers("able", &[u64::from(able)])?;
    equal("begin-view, another time", case.begin_view()?, able)?;
    // The instant may be that of the first read.
    let version = case.noted_numbers("version")?[0];
    equal("the counter", case.version()?, version)
}

fn read_in_view(case: &mut Case) -> Checked {
    if case.noted_numbers("able")?[0] == 1 {
        let (_, version) = noted(case)?;
        logged(case, "nothing, in a view,", version, vec![])?;
    }
    case.end_view()?;
    read_changes(case)
}
