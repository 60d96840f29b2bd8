//! Imports and the other stores on the same data, and those that come later.

use super::import_settings::change;
use crate::battery::{Spec, phases};
use crate::case::{Case, START, ids};
use crate::check::{Checked, Kind, equal, refused, same_entries};
use crate::contract::{Entry, ImportMode, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    phases!(needs Durable, a_committed_import_is_durable, "a new store finds what was imported, with quotas and meta",
        [Fresh => import_all, Fresh => read_all]),
    phases!(needs Durable, an_import_does_not_outlive_its_store, "of an import that was not committed a new store finds nothing",
        [Fresh => write_only, Fresh => read_nothing]),
    phases!(needs Shared, an_import_is_seen_beside_once_committed, "another store sees nothing of an import, and then all of it",
        [Fresh => write_only, Beside => see_nothing, Back => commit, Beside => read_all]),
    phases!(needs Shared, writes_beside_an_import_stay, "what another store writes during an import is there after its commit",
        [Fresh => write_only, Beside => write_beside, Back => commit_and_compare, Beside => compare]),
    phases!(needs Shared, an_entry_inserted_beside_refuses_an_empty_import, "mode empty is checkpoint at commit-import where another store has inserted an entry",
        [Fresh => begin_empty, Beside => insert_beside, Back => commit_empty]),
    phases!(needs Shared, meta_of_an_import_is_compared_across_stores, "commit-import is false where another store has changed a value meanwhile",
        [Fresh => write_only, Beside => change_meta, Back => commit_with_meta]),
    phases!(needs Shared, imports_of_two_stores_are_apart, "each of two stores commits its own import only",
        [Fresh => write_only, Beside => import_beside, Back => commit_and_count]),
];

/// The entries of the import: one of a pair that is there, and five new ones.
fn list(case: &mut Case) -> Vec<Entry> {
    let (a, b) = (case.space("a"), case.space("b"));
    let entry = |n| Entry {
        response: format!("imported {n}"),
        access_count: 7 + n,
        ttl: (n % 2 == 0).then_some(90),
        ..case.entry(if n < 4 { &a } else { &b }, n)
    };
    (0..6).map(entry).collect()
}

/// Inserts two entries and begins to import others, without a commit.
fn write_only(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("k"));
    let known = case.insert(&[case.entry(&space, 0), case.entry(&space, 50)])?;
    case.note_numbers("known", &ids(&known))?;
    case.replace_meta(&key, None, Some("1"))?;
    let version = case.version()?;
    case.note_numbers("version", &[version])?;
    let list = list(case);
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list[..2])?;
    case.write_import(&list[2..])
}

/// Commits what [`write_only`] has written.
fn commit(case: &mut Case) -> Checked {
    let (b, key) = (case.space("b"), case.key("k"));
    let changes = [change(&key, Some("1"), "2")];
    let done = case.commit_import(&[(b, 4)], &changes)?;
    equal("commit-import", done, true)
}

fn import_all(case: &mut Case) -> Checked {
    write_only(case)?;
    commit(case)
}

/// Looks for all that [`import_all`] has left.
fn read_all(case: &mut Case) -> Checked {
    let (a, b, key) = (case.space("a"), case.space("b"), case.key("k"));
    let known = case.noted_numbers("known")?;
    let version = case.noted_numbers("version")?[0];
    case.moved(version, 1, "the import")?;
    let list = list(case);
    let mut stored = case.with_ids(&list)?;
    equal("the id of a known pair", stored[0].id, known[0])?;
    case.holds_all("the imported entry is there", &stored)?;
    stored.extend(case.with_ids(&[case.entry(&a, 50)])?);
    equal("the id of an entry that was there", stored[6].id, known[1])?;
    stored.sort_by_key(|entry| entry.id);
    same_entries("iter-since", &case.since(known[0] - 1, 20)?, &stored)?;
    equal("the count of one namespace", case.count(Some(&a))?, 5)?;
    equal("the count of the other", case.count(Some(&b))?, 2)?;
    equal("the quota", case.quota(&b)?, Some(4))?;
    equal("the value", case.meta(&key)?.as_deref(), Some("2"))
}

/// Fails if anything of the import of [`write_only`] is there.
fn see_nothing(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.noted_numbers("known")?;
    let version = case.noted_numbers("version")?[0];
    case.moved(version, 0, "an import that is not committed")?;
    let list = list(case);
    case.lacks_all("nothing of the import is there", &list[1..])?;
    let old = [(0, known[0]), (50, known[1])].map(|(n, id)| Entry {
        id,
        ..case.entry(&a, n)
    });
    same_entries("iter-since", &case.since(known[0] - 1, 20)?, &old)?;
    case.holds_all("what was there stays", &old)?;
    equal("the count of one namespace", case.count(Some(&a))?, 2)?;
    equal("the count of the other", case.count(Some(&b))?, 0)?;
    equal("the quota", case.quota(&b)?, None)
}

/// Looks for what the import of a store that is gone has left, and imports it again.
fn read_nothing(case: &mut Case) -> Checked {
    see_nothing(case)?;
    let list = list(case);
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the next import brings its entries", &stored)
}

fn write_beside(case: &mut Case) -> Checked {
    let a = case.space("a");
    let known = case.noted_numbers("known")?;
    equal("delete-by-id", case.delete(known[1])?, true)?;
    let new = case.put(case.entry(&a, 60))?;
    let pair = case.put(Entry {
        created_at: START + 700,
        ..case.entry(&a, 1)
    })?;
    case.note_numbers("beside", &[new.id, pair.id])
}

fn commit_and_compare(case: &mut Case) -> Checked {
    let before = case.version()?;
    let list = list(case);
    let stored = case.commit_entries(&list)?;
    case.moved(before, 1, "the commit")?;
    case.note_numbers("imported", &ids(&stored))?;
    compare(case)
}

fn compare(case: &mut Case) -> Checked {
    let a = case.space("a");
    let known = case.noted_numbers("known")?;
    let beside = case.noted_numbers("beside")?;
    let imported = case.noted_numbers("imported")?;
    equal("the id of a pair inserted beside", imported[1], beside[1])?;
    let list = list(case).into_iter().zip(imported);
    let stored: Vec<_> = list.map(|(entry, id)| Entry { id, ..entry }).collect();
    case.holds_all("the imported entry is there", &stored)?;
    let new = Entry {
        id: beside[0],
        ..case.entry(&a, 60)
    };
    case.holds("what another store inserted during an import stays", &new)?;
    let gone = Entry {
        id: known[1],
        ..case.entry(&a, 50)
    };
    case.lacks(
        "what another store deleted during an import stays away",
        &gone,
    )?;
    equal("the count", case.count(Some(&a))?, 5)
}

fn begin_empty(case: &mut Case) -> Checked {
    let list = list(case);
    // On a store with data of others another one than `empty` does for a trial.
    if case.count(None)? > 0 {
        return case.begin_import(ImportMode::Merge);
    }
    case.note("empty", "yes")?;
    case.begin_import(ImportMode::Empty)?;
    case.write_import(&list)
}

fn insert_beside(case: &mut Case) -> Checked {
    let space = case.space("c");
    case.put(case.entry(&space, 0)).map(drop)
}

fn commit_empty(case: &mut Case) -> Checked {
    let (space, key) = (case.space("c"), case.key("empty"));
    if case.meta(&key)?.is_none() {
        return Ok(());
    }
    let before = case.version()?;
    refused(
        "commit-import of mode empty where another store has inserted an entry",
        store::commit_import(&[], &[]),
        &[Kind::Checkpoint],
    )?;
    case.moved(before, 0, "a refused commit-import")?;
    let list = list(case);
    case.lacks_all("nothing of the import is there", &list)?;
    equal("the count", case.count(Some(&space))?, 1)
}

fn change_meta(case: &mut Case) -> Checked {
    let key = case.key("k");
    let done = case.replace_meta(&key, Some("1"), Some("beside"))?;
    equal("replace-meta beside an import", done, true)
}

fn commit_with_meta(case: &mut Case) -> Checked {
    let key = case.key("k");
    let late = [change(&key, Some("1"), "2")];
    equal("commit-import", case.commit_import(&[], &late)?, false)?;
    see_nothing(case)?;
    equal("the value", case.meta(&key)?.as_deref(), Some("beside"))?;
    let again = [change(&key, Some("beside"), "2")];
    equal("commit-import", case.commit_import(&[], &again)?, true)?;
    let list = list(case);
    let stored = case.with_ids(&list)?;
    case.holds_all("the imported entry is there", &stored)
}

fn import_beside(case: &mut Case) -> Checked {
    let space = case.space("a");
    let other = [
        Entry {
            response: "imported beside".to_owned(),
            ..case.entry(&space, 1)
        },
        case.entry(&space, 70),
    ];
    let before = case.version()?;
    let stored = case.import(ImportMode::Merge, &other)?;
    case.moved(before, 1, "an import beside another")?;
    case.holds_all("the entry imported beside is there", &stored)?;
    equal("the count", case.count(Some(&space))?, 4)
}

fn commit_and_count(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = case.version()?;
    let list = list(case);
    let stored = case.commit_entries(&list)?;
    case.moved(before, 1, "an import after another")?;
    case.holds_all("the imported entry is there", &stored)?;
    equal("the count", case.count(Some(&space))?, 6)
}
