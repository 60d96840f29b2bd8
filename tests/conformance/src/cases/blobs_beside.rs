//! Derived data beside everything else: it touches nothing, and nothing but a restore
//! touches it.
//!
//! What outlives a store and what another one sees is judged by what the store claims of its
//! entries. Where such a store keeps no blobs, these cases check that it says so.

use super::blobs::all_unsupported;
use super::import_settings::change;
use super::restores;
use crate::battery::{Spec, case, phases};
use crate::calls::called;
use crate::case::{Case, START, ids, references};
use crate::cases::snapshots::take;
use crate::check::{About, Checked, check, equal};
use crate::contract::{Entry, ImportMode, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(needs Blobs, blobs_move_no_counter, "writing, replacing, reading, listing and deleting blobs leaves the version counter"),
    case!(needs Blobs, blobs_are_no_entries, "no count, page, list or check of the store has anything of a blob"),
    case!(needs Blobs, blobs_and_meta_are_apart, "a blob and a meta value of one name do not meet, nor do their lists"),
    case!(needs Blobs, deletes_of_entries_leave_blobs, "deleting, expiring and clearing entries leaves blobs"),
    case!(
        clearing_all_leaves_blobs,
        "clearing all namespaces leaves blobs"
    ),
    case!(needs Blobs, an_import_leaves_blobs, "mode merge leaves blobs, those written during it too"),
    case!(needs Blobs, an_ended_import_leaves_blobs, "end-import, and an import that close forgets, leave blobs that were written meanwhile"),
    case!(
        an_import_into_an_empty_store_leaves_blobs,
        "mode empty works on a store with blobs, and leaves them"
    ),
    case!(
        a_replacing_import_leaves_blobs,
        "mode replace leaves blobs, with entries and without"
    ),
    case!(needs Blobs, a_view_shows_blobs, "in a view blobs are read and listed"),
    case!(needs Blobs, blobs_survive_close_and_open, "blobs are there after close and open, and deleted ones stay away"),
    case!(
        a_restore_makes_no_blob_up,
        "after a restore each blob is as in the snapshot, or gone"
    ),
    phases!(needs Durable, blobs_survive_a_drop, "blobs written, replaced and deleted are so after a drop without close",
        [Fresh => write_life, Fresh => read_life]),
    phases!(needs Shared, blobs_are_seen_by_another_store, "blobs that one store writes, replaces and deletes are so for another one",
        [Fresh => write_shared, Beside => change_shared, Back => read_shared]),
];

/// Writes two blobs that are to stay, and returns what [`stays`] checks.
fn write(case: &mut Case) -> Checked<Vec<(String, Vec<u8>)>> {
    let blobs = vec![
        (case.blob("a"), case.bytes(1, 3000)),
        (case.blob("empty"), Vec::new()),
    ];
    for (name, bytes) in &blobs {
        case.write_blob(name, bytes)?;
    }
    Ok(blobs)
}

/// Fails unless these blobs, and no others of the case, are there.
fn stays(case: &Case, after: &str, blobs: &[(String, Vec<u8>)]) -> Checked {
    for (name, bytes) in blobs {
        case.has_blob(&format!("the blob after {after}"), name, Some(bytes))
            .about(|| name.clone())?;
    }
    let names: Vec<&str> = blobs.iter().map(|(name, _)| &**name).collect();
    equal(
        &format!("list-blobs after {after}"),
        case.own_blobs()?,
        names,
    )
}

fn blobs_move_no_counter(case: &mut Case) -> Checked {
    let before = case.version()?;
    let blobs = write(case)?;
    case.moved(before, 0, "writing blobs")?;
    case.write_blob(&blobs[0].0, b"other")?;
    case.moved(before, 0, "replacing a blob")?;
    case.list_blobs()?;
    case.read_blob(&blobs[0].0)?;
    case.moved(before, 0, "reading and listing blobs")?;
    case.delete_blobs(&[blobs[0].0.clone(), blobs[1].0.clone()])?;
    case.moved(before, 0, "deleting blobs")
}

fn blobs_are_no_entries(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 4))?;
    let key = case.key("k");
    case.set_quota(&space, Some(9))?;
    case.replace_meta(&key, None, Some("v"))?;
    let last_id = stored[0].id - 1;
    let before = case.picture(last_id)?;
    let blobs = write(case)?;
    case.unchanged("with blobs", last_id, &before)?;
    equal("integrity-check with blobs", case.integrity()?, true)?;
    let next = case.put(case.entry(&space, 9))?;
    check(
        next.id > stored[3].id,
        "an entry inserted beside blobs has a greater id",
        || next.id.to_string(),
    )?;
    case.delete(next.id)?;
    stays(case, "writing entries", &blobs)?;
    case.delete_blobs(&[blobs[0].0.clone()])?;
    case.holds_all("the entry stays when blobs are deleted", &stored)
}

fn blobs_and_meta_are_apart(case: &mut Case) -> Checked {
    let name = case.blob("k");
    let listed = case.list_meta()?;
    case.write_blob(&name, b"blob")?;
    equal("the meta value of a blob's name", case.meta(&name)?, None)?;
    equal("list-meta with a blob", case.list_meta()?, listed.clone())?;
    equal(
        "replace-meta of a blob's name",
        case.replace_meta(&name, None, Some("meta"))?,
        true,
    )?;
    case.has_blob("a meta value of its name is no blob", &name, Some(b"blob"))?;
    let other = case.key("other");
    case.replace_meta(&other, None, Some("meta"))?;
    equal("list-blobs beside meta", case.own_blobs()?, [name.clone()])?;
    case.delete_blobs(std::slice::from_ref(&name))?;
    equal(
        "the meta value after the blob was deleted",
        case.meta(&name)?.as_deref(),
        Some("meta"),
    )?;
    case.write_blob(&name, b"again")?;
    case.replace_meta(&name, Some("meta"), None)?;
    case.replace_meta(&other, Some("meta"), None)?;
    case.has_blob(
        "the blob after its meta value was removed",
        &name,
        Some(b"again"),
    )?;
    equal("list-meta in the end", case.list_meta()?, listed)
}

fn deletes_of_entries_leave_blobs(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let blobs = write(case)?;
    let list: Vec<_> = (0..4)
        .map(|n| Entry {
            ttl: (n == 2).then_some(5),
            ..case.entry(&a, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.insert(&case.entries(&b, 2))?;
    case.delete(stored[0].id)?;
    case.delete_unchanged(&references(&stored[1..2]))?;
    stays(case, "deleting entries", &blobs)?;
    let gone = case.delete_expired(START + 1_000, Some(&a), 9)?;
    equal("how many expired", gone.len(), 1)?;
    stays(case, "delete-expired", &blobs)?;
    case.clear(&a)?;
    case.clear(&b)?;
    stays(case, "clear-namespace", &blobs)
}

fn clearing_all_leaves_blobs(case: &mut Case) -> Checked {
    case.needs_blobs()?;
    case.needs_empty_store()?;
    let space = case.space("a");
    let blobs = write(case)?;
    case.insert(&case.entries(&space, 3))?;
    called("clear-namespace", store::clear_namespace(None))?;
    stays(case, "clear-namespace of all", &blobs)?;
    called("clear-namespace", store::clear_namespace(None))?;
    stays(case, "clear-namespace of nothing", &blobs)
}

/// Imports entries with a quota and a meta value, and a blob written in the middle of it.
/// Returns all blobs that are to stay.
fn import(case: &mut Case, mode: ImportMode, entries: u64) -> Checked<Vec<(String, Vec<u8>)>> {
    let space = case.space("a");
    let mut blobs = write(case)?;
    // A blob and a meta value of one name.
    let key = blobs[0].0.clone();
    case.begin_import(mode)?;
    case.write_import(&case.entries(&space, entries))?;
    let during = (case.blob("during"), case.bytes(3, 40));
    case.write_blob(&during.0, &during.1)?;
    blobs.insert(1, during);
    let done = case.commit_import(&[(space, 9)], &[change(&key, None, "v")])?;
    equal("commit-import", done, true)?;
    stays(case, "an import", &blobs)?;
    Ok(blobs)
}

fn an_import_leaves_blobs(case: &mut Case) -> Checked {
    let blobs = import(case, ImportMode::Merge, 5)?;
    let before = case.version()?;
    case.begin_import(ImportMode::Merge)?;
    equal(
        "commit-import of nothing",
        case.commit_import(&[], &[])?,
        true,
    )?;
    case.moved(before, 0, "an import of nothing beside blobs")?;
    stays(case, "an import of nothing", &blobs)
}

fn an_ended_import_leaves_blobs(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&case.entries(&space, 2))?;
    let blobs = write(case)?;
    case.end_import()?;
    stays(case, "end-import", &blobs)?;
    case.begin_import(ImportMode::Merge)?;
    case.write_blob(&blobs[0].0, &blobs[0].1)?;
    case.reopen()?;
    stays(case, "an import that close forgot", &blobs)
}

fn an_import_into_an_empty_store_leaves_blobs(case: &mut Case) -> Checked {
    case.needs_blobs()?;
    case.needs_empty_store()?;
    let blobs = import(case, ImportMode::Empty, 3)?;
    equal("the count", case.count(None)?, 3)?;
    case.reopen()?;
    stays(case, "an import into an empty store, and close", &blobs)
}

fn a_replacing_import_leaves_blobs(case: &mut Case) -> Checked {
    case.needs_blobs()?;
    case.needs_new_store()?;
    let space = case.space("b");
    case.insert(&case.entries(&space, 2))?;
    let blobs = import(case, ImportMode::Replace, 3)?;
    equal("the count", case.count(None)?, 3)?;
    case.begin_import(ImportMode::Replace)?;
    equal(
        "commit-import of nothing",
        case.commit_import(&[], &[])?,
        true,
    )?;
    equal("the count", case.count(None)?, 0)?;
    stays(case, "an import of nothing that replaces all", &blobs)
}

fn a_view_shows_blobs(case: &mut Case) -> Checked {
    let missing = case.blob("missing");
    case.begin_view()?;
    case.has_blob("in a view, where nothing was written", &missing, None)?;
    equal("list-blobs in a view", case.own_blobs()?, [""; 0])?;
    let before = case.version()?;
    case.end_view()?;
    let blobs = write(case)?;
    case.begin_view()?;
    stays(case, "begin-view", &blobs)?;
    case.has_blob("in a view, where nothing was written", &missing, None)?;
    equal("the version counter in a view", case.version()?, before)?;
    case.end_view()?;
    stays(case, "a view", &blobs)?;
    case.write_blob(&missing, b"after")?;
    case.has_blob("what was written after a view", &missing, Some(b"after"))
}

fn blobs_survive_close_and_open(case: &mut Case) -> Checked {
    let mut blobs = write(case)?;
    let gone = case.blob("gone");
    case.write_blob(&gone, b"gone")?;
    case.delete_blobs(std::slice::from_ref(&gone))?;
    for n in 0..2 {
        case.reopen()?;
        stays(case, "close and open", &blobs)?;
        case.has_blob("a deleted blob after close and open", &gone, None)?;
        blobs[0].1 = case.bytes(10 + n, 50);
        case.write_blob(&blobs[0].0, &blobs[0].1)?;
    }
    case.reopen()?;
    stays(case, "replacing, close and open", &blobs)
}

fn a_restore_makes_no_blob_up(case: &mut Case) -> Checked {
    case.needs_blobs()?;
    let stored = restores::sample(case)?;
    let [kept, replaced, deleted, new] =
        ["kept", "replaced", "deleted", "new"].map(|name| case.blob(name));
    for name in [&kept, &replaced, &deleted] {
        case.write_blob(name, b"old")?;
    }
    let bytes = take()?;
    case.write_blob(&replaced, b"changed")?;
    case.delete_blobs(std::slice::from_ref(&deleted))?;
    case.write_blob(&new, b"new")?;
    restores::restore(&bytes, 60_000)?;
    case.holds_all("the entry of the snapshot is there", &stored)?;
    let listed = case.own_blobs()?;
    let allowed: [(&String, &[&[u8]]); 4] = [
        (&kept, &[b"old"]),
        (&replaced, &[b"old"]),
        (&deleted, &[b"old"]),
        (&new, &[]),
    ];
    for (name, allowed) in allowed {
        let found = case.read_blob(name)?;
        check(
            found
                .as_deref()
                .is_none_or(|found| allowed.contains(&found)),
            format!("{name} after a restore is as in the snapshot, or gone"),
            || show::bytes(found.as_deref()),
        )?;
        equal(
            &format!("whether {name} is listed"),
            listed.contains(name),
            found.is_some(),
        )?;
    }
    case.write_blob(&kept, b"again")?;
    case.has_blob("what is written after a restore", &kept, Some(b"again"))
}

fn write_life(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    write(case)?;
    for name in ["gone", "replaced"] {
        let name = case.blob(name);
        case.write_blob(&name, b"first")?;
    }
    let (gone, replaced) = (case.blob("gone"), case.blob("replaced"));
    case.delete_blobs(&[gone])?;
    case.write_blob(&replaced, b"second")
}

fn read_life(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    case.blob("gone");
    let blobs = [
        (case.blob("a"), case.bytes(1, 3000)),
        (case.blob("empty"), Vec::new()),
        (case.blob("replaced"), b"second".to_vec()),
    ];
    stays(case, "a drop", &blobs)
}

fn write_shared(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    case.note_numbers("ids", &ids(&stored))?;
    // So that a store that keeps what it read has something to keep.
    let new = case.blob("new");
    case.has_blob("nothing was written", &new, None)?;
    let gone = case.blob("gone");
    case.write_blob(&gone, b"first")?;
    let blobs = write(case)?;
    case.has_blob("what was written", &blobs[0].0, Some(&blobs[0].1))?;
    case.list_blobs().map(drop)
}

fn change_shared(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    let blobs = [
        (case.blob("a"), case.bytes(1, 3000)),
        (case.blob("empty"), Vec::new()),
        (case.blob("gone"), b"first".to_vec()),
    ];
    stays(case, "another store has written", &blobs)?;
    case.delete_blobs(&[blobs[2].0.clone()])?;
    case.write_blob(&blobs[0].0, b"second")?;
    let new = case.blob("new");
    case.write_blob(&new, b"new")
}

fn read_shared(case: &mut Case) -> Checked {
    if case.capabilities.max_blob == 0 {
        return all_unsupported(case);
    }
    case.blob("gone");
    case.space("a");
    let stored = case.noted_numbers("ids")?;
    equal("the entries beside", ids(&case.by_ids(&stored)?), stored)?;
    let blobs = [
        (case.blob("a"), b"second".to_vec()),
        (case.blob("empty"), Vec::new()),
        (case.blob("new"), b"new".to_vec()),
    ];
    stays(case, "another store has changed them", &blobs)
}
