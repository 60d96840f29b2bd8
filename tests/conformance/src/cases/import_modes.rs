//! What an import does about data that is there: refuse, add, or replace all of it.
//!
//! An import into an empty store, or one that replaces everything, can be judged only where
//! there is nothing of others.

use super::import_settings::change;
use super::import_steps::no_import;
use crate::battery::{Spec, case};
use crate::case::{Case, START, ids};
use crate::check::{Checked, Kind, check, equal, refused, same_entries};
use crate::contract::{Entry, ImportMode, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_empty_store_takes_an_import,
        "mode empty works on a store without entries, and leaves quotas and meta"
    ),
    case!(
        entries_refuse_an_empty_import,
        "mode empty is checkpoint at begin-import where there is an entry"
    ),
    case!(
        an_entry_inserted_meanwhile_refuses_an_empty_import,
        "mode empty is checkpoint at commit-import where an entry came meanwhile"
    ),
    case!(
        an_entry_gone_again_refuses_no_import,
        "mode empty works although an entry came and went meanwhile"
    ),
    case!(
        a_replacing_import_leaves_no_other_entry,
        "mode replace deletes every entry that the import has not, in one step"
    ),
    case!(
        a_replacing_import_leaves_no_other_setting,
        "mode replace removes every quota and meta value that the import has not"
    ),
    case!(
        a_replacing_import_leaves_the_stores_own_meta,
        "mode replace leaves the embedder and the schema version"
    ),
    case!(
        a_replacing_import_compares_no_meta,
        "mode replace sets meta values whatever is expected"
    ),
    case!(
        a_replacing_import_does_nothing_before_commit,
        "mode replace leaves everything where it is not committed"
    ),
    case!(
        a_replacing_import_reuses_no_ids,
        "in mode replace no pair gets an id that another one had"
    ),
    case!(
        a_replacing_import_deletes_what_came_meanwhile,
        "mode replace deletes what was inserted during the import too"
    ),
    case!(
        a_replacing_import_of_nothing_leaves_nothing,
        "mode replace without entries empties the store, and moves the counter if it did"
    ),
];

fn an_empty_store_takes_an_import(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let (a, b) = (case.space("a"), case.space("b"));
    let (key, new) = (case.key("k"), case.key("new"));
    case.set_quota(&a, Some(3))?;
    case.replace_meta(&key, None, Some("v"))?;
    let list = case.entries(&a, 5);
    let before = case.version()?;
    case.begin_import(ImportMode::Empty)?;
    case.write_import(&list)?;
    let quotas = [(b.clone(), 4)];
    let changes = [change(&new, None, "n")];
    equal(
        "commit-import",
        case.commit_import(&quotas, &changes)?,
        true,
    )?;
    case.moved(before, 1, "the import")?;
    let stored = case.with_ids(&list)?;
    case.holds_all("the imported entry is there", &stored)?;
    equal("the count of all", case.count(None)?, 5)?;
    equal("the quota that was there", case.quota(&a)?, Some(3))?;
    equal("the quota of the import", case.quota(&b)?, Some(4))?;
    equal(
        "the value that was there",
        case.meta(&key)?.as_deref(),
        Some("v"),
    )?;
    equal(
        "the value of the import",
        case.meta(&new)?.as_deref(),
        Some("n"),
    )
}

fn entries_refuse_an_empty_import(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    refused(
        "begin-import of mode empty where there is an entry",
        store::begin_import(ImportMode::Empty),
        &[Kind::Checkpoint],
    )?;
    no_import(case, "after begin-import was refused")?;
    case.holds("what was there stays", &known)?;
    // Nor does the import before it go on.
    case.begin_import(ImportMode::Merge)?;
    let again = store::begin_import(ImportMode::Empty);
    refused("begin-import of mode empty", again, &[Kind::Checkpoint])?;
    no_import(case, "after another begin-import was refused")
}

fn an_entry_inserted_meanwhile_refuses_an_empty_import(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let (space, key) = (case.space("a"), case.key("k"));
    case.begin_import(ImportMode::Empty)?;
    case.write_import(&case.entries(&space, 3))?;
    let known = case.put(case.entry(&space, 1))?;
    let last_id = known.id - 1;
    let before = case.picture(last_id)?;
    case.quotas.insert(space.clone());
    refused(
        "commit-import of mode empty where there is an entry",
        store::commit_import(&[(space, 4)], &[change(&key, None, "v")]),
        &[Kind::Checkpoint],
    )?;
    case.unchanged("after a refused commit-import", last_id, &before)?;
    no_import(case, "after a refused commit-import")
}

fn an_entry_gone_again_refuses_no_import(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let space = case.space("a");
    let list = case.entries(&space, 3);
    case.begin_import(ImportMode::Empty)?;
    case.write_import(&list)?;
    let gone = case.put(case.entry(&space, 9))?;
    equal("delete-by-id", case.delete(gone.id)?, true)?;
    let stored = case.commit_entries(&list)?;
    case.holds_all("the imported entry is there", &stored)?;
    case.lacks("what was deleted stays away", &gone)
}

/// Entries, a quota and a meta value, and a list of entries to replace them by: one of a pair
/// that is there, and two new ones.
fn sample(case: &mut Case) -> Checked<(Vec<Entry>, Vec<Entry>)> {
    case.needs_new_store()?;
    let (a, b, key) = (case.space("a"), case.space("b"), case.key("k"));
    let mut stored = case.insert(&case.entries(&a, 4))?;
    stored.extend(case.insert(&[case.entry(&b, 9)])?);
    case.set_quota(&a, Some(3))?;
    case.replace_meta(&key, None, Some("v"))?;
    let c = case.space("c");
    let known = Entry {
        response: "imported".to_owned(),
        created_at: START + 100,
        ..case.entry(&a, 2)
    };
    Ok((stored, vec![case.entry(&c, 20), known, case.entry(&a, 21)]))
}

fn a_replacing_import_leaves_no_other_entry(case: &mut Case) -> Checked {
    let (known, list) = sample(case)?;
    let before = case.version()?;
    let mut stored = case.import(ImportMode::Replace, &list)?;
    case.moved(before, 1, "an import that replaces everything")?;
    case.holds_all("the imported entry is there", &stored)?;
    equal("the count of all", case.count(None)?, 3)?;
    let others: Vec<_> = known
        .into_iter()
        .filter(|entry| entry.query_hash != list[1].query_hash)
        .collect();
    case.lacks_all("no entry is there that the import has not", &others)?;
    stored.sort_by_key(|entry| entry.id);
    same_entries("iter-since", &case.since(0, 20)?, &stored)?;
    equal("iter-stamps", case.stamps(0, 20)?.ids, ids(&stored))?;
    equal("iter-vectors", case.vectors(0, 20)?.ids, ids(&stored))?;
    equal("how many iter-lru-ids has", case.lru(20, None)?.len(), 3)?;
    equal(
        "the namespaces",
        case.list_namespaces()?,
        [case.space("a"), case.space("c")],
    )?;
    equal("integrity-check", case.integrity()?, true)
}

fn a_replacing_import_leaves_no_other_setting(case: &mut Case) -> Checked {
    let (_, list) = sample(case)?;
    let (b, new) = (case.space("b"), case.key("new"));
    case.begin_import(ImportMode::Replace)?;
    case.write_import(&list)?;
    let quotas = [(b.clone(), 8)];
    let changes = [change(&new, None, "n")];
    equal(
        "commit-import",
        case.commit_import(&quotas, &changes)?,
        true,
    )?;
    equal("the quotas", case.quotas()?, quotas)?;
    equal("the meta", case.list_meta()?, [(new, "n".to_owned())])?;
    let (a, key) = (case.space("a"), case.key("k"));
    equal("a quota that was there", case.quota(&a)?, None)?;
    equal("a value that was there", case.meta(&key)?, None)
}

fn a_replacing_import_leaves_the_stores_own_meta(case: &mut Case) -> Checked {
    let (_, list) = sample(case)?;
    let own = ["schema_version", "embedder_fingerprint", "embedder_dim"];
    let before = own.map(|key| case.meta(key));
    let stored = case.import(ImportMode::Replace, &list)?;
    for (key, before) in own.into_iter().zip(before) {
        equal(key, case.meta(key)?, before?)?;
    }
    case.reopen()?;
    case.holds_all("the entry is there after close and open", &stored)
}

fn a_replacing_import_compares_no_meta(case: &mut Case) -> Checked {
    let (_, list) = sample(case)?;
    let (key, new) = (case.key("k"), case.key("new"));
    case.begin_import(ImportMode::Replace)?;
    case.write_import(&list)?;
    let changes = [
        change(&key, Some("wrong"), "1"),
        change(&new, Some("wrong"), "2"),
    ];
    equal("commit-import", case.commit_import(&[], &changes)?, true)?;
    equal(
        "the value that was there",
        case.meta(&key)?.as_deref(),
        Some("1"),
    )?;
    equal("the new value", case.meta(&new)?.as_deref(), Some("2"))
}

fn a_replacing_import_does_nothing_before_commit(case: &mut Case) -> Checked {
    let (known, list) = sample(case)?;
    let last_id = known[0].id - 1;
    let before = case.picture(last_id)?;
    case.begin_import(ImportMode::Replace)?;
    case.unchanged("after begin-import", last_id, &before)?;
    case.write_import(&list)?;
    case.unchanged("after write-import", last_id, &before)?;
    case.holds_all("until commit-import the entry stays", &known)?;
    case.end_import()?;
    case.unchanged("after end-import", last_id, &before)
}

fn a_replacing_import_reuses_no_ids(case: &mut Case) -> Checked {
    let (known, list) = sample(case)?;
    let stored = case.import(ImportMode::Replace, &list)?;
    let highest = known[known.len() - 1].id;
    // The pair that was there may keep its id, or be a new one.
    let fits = |entry: &Entry| {
        entry.id > highest
            || known
                .iter()
                .any(|old| old.id == entry.id && old.query_hash == entry.query_hash)
    };
    check(
        stored.iter().all(fits) && stored[0].id < stored[2].id,
        format!("new entries have growing ids above {highest}, the highest one before"),
        || show::value(&ids(&stored)),
    )?;
    let highest = ids(&stored).into_iter().max().unwrap_or_default();
    let space = case.space("a");
    let next = case.put(case.entry(&space, 0))?;
    check(
        next.id > highest,
        format!("an entry inserted after the import has an id above {highest}"),
        || format!("it has id {}", next.id),
    )
}

fn a_replacing_import_deletes_what_came_meanwhile(case: &mut Case) -> Checked {
    let (_, list) = sample(case)?;
    let (d, key) = (case.space("d"), case.key("meanwhile"));
    case.begin_import(ImportMode::Replace)?;
    case.write_import(&list)?;
    let meanwhile = case.put(case.entry(&d, 40))?;
    case.set_quota(&d, Some(2))?;
    case.replace_meta(&key, None, Some("v"))?;
    let stored = case.commit_entries(&list)?;
    case.lacks("what was inserted during the import is gone", &meanwhile)?;
    case.holds_all("the imported entry is there", &stored)?;
    equal("the count of all", case.count(None)?, 3)?;
    equal("the quotas", case.quotas()?, [])?;
    equal("the meta", case.list_meta()?, [])
}

fn a_replacing_import_of_nothing_leaves_nothing(case: &mut Case) -> Checked {
    let (known, _) = sample(case)?;
    let before = case.version()?;
    case.import(ImportMode::Replace, &[])?;
    case.moved(before, 1, "an import that deletes everything")?;
    equal("the count of all", case.count(None)?, 0)?;
    case.lacks_all("no entry is there", &known)?;
    equal("the namespaces", case.list_namespaces()?, [""; 0])?;
    equal("the quotas", case.quotas()?, [])?;
    equal("the meta", case.list_meta()?, [])?;
    case.import(ImportMode::Replace, &[])?;
    case.moved(before, 1, "another one, that finds nothing to delete,")
}
