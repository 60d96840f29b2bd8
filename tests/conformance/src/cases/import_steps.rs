//! Beginning, writing, committing and ending an import, and what happens meanwhile.

use crate::battery::{Spec, case};
use crate::case::{Case, START};
use crate::check::{Checked, Kind, check, equal, refused};
use crate::contract::{Entry, ImportMode, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_import_is_not_seen_before_commit,
        "until commit-import every operation answers as before"
    ),
    case!(
        writing_needs_an_import,
        "write-import without begin-import is invalid-argument"
    ),
    case!(
        committing_needs_an_import,
        "commit-import without begin-import is invalid-argument"
    ),
    case!(
        ending_no_import_is_allowed,
        "end-import without an import does nothing"
    ),
    case!(
        an_ended_import_is_forgotten,
        "after end-import nothing of the import is there or can be committed"
    ),
    case!(
        a_new_import_forgets_the_one_before,
        "begin-import starts from no entries, and from its own mode"
    ),
    case!(an_import_does_not_outlive_close, "close forgets an import"),
    case!(
        a_committed_import_is_over,
        "after commit-import writing and committing are invalid-argument"
    ),
    case!(
        an_import_of_nothing_is_committed,
        "an import without entries is committed, and moves no counter"
    ),
    case!(
        writes_during_an_import_stay,
        "what is inserted and replaced during an import is there after its commit"
    ),
    case!(
        an_entry_inserted_during_an_import_is_replaced,
        "an entry of the import's key that came meanwhile is replaced under its id"
    ),
    case!(
        deletes_during_an_import_stay,
        "what is deleted during an import stays away, unless the import has it"
    ),
    case!(
        touches_during_an_import_stay,
        "hits during an import are kept, unless it replaces the entry"
    ),
];

fn an_import_is_not_seen_before_commit(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.insert(&case.entries(&a, 3))?;
    let last_id = known[0].id - 1;
    let mut list = vec![
        Entry {
            response: "imported".to_owned(),
            ..case.entry(&a, 1)
        },
        case.entry(&a, 10),
    ];
    list.extend((20..25).map(|n| case.entry(&b, n)));
    let before = case.picture(last_id)?;
    let unseen = |case: &Case, when: &str| {
        case.unchanged(when, last_id, &before)?;
        case.holds_all(&format!("{when}: the entry stays"), &known)?;
        case.lacks_all(
            &format!("{when}: nothing of the import is found"),
            &list[1..],
        )
    };
    case.begin_import(ImportMode::Merge)?;
    unseen(case, "after begin-import")?;
    case.write_import(&list[..4])?;
    unseen(case, "after write-import")?;
    case.write_import(&list[4..])?;
    unseen(case, "after another write-import")?;
    let stored = case.commit_entries(&list)?;
    case.holds_all("after commit-import all of it is there", &stored)
}

/// Fails unless there is no import to write to or to commit.
pub(super) fn no_import(case: &mut Case, when: &str) -> Checked {
    let space = case.space("a");
    let entry = case.entry(&space, 99);
    refused(
        &format!("write-import {when}"),
        store::write_import(&[entry]),
        &[Kind::InvalidArgument],
    )?;
    refused(
        &format!("commit-import {when}"),
        store::commit_import(&[], &[]),
        &[Kind::InvalidArgument],
    )
}

fn writing_needs_an_import(case: &mut Case) -> Checked {
    let space = case.space("a");
    refused(
        "write-import without begin-import",
        store::write_import(&[case.entry(&space, 1)]),
        &[Kind::InvalidArgument],
    )?;
    equal("the count", case.count(Some(&space))?, 0)
}

fn committing_needs_an_import(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.quotas.insert(space.clone());
    refused(
        "commit-import without begin-import",
        store::commit_import(&[(space.clone(), 1)], &[]),
        &[Kind::InvalidArgument],
    )?;
    equal("the quota", case.quota(&space)?, None)
}

fn ending_no_import_is_allowed(case: &mut Case) -> Checked {
    case.end_import()?;
    case.end_import()?;
    let space = case.space("a");
    case.import(ImportMode::Merge, &[case.entry(&space, 1)])?;
    case.end_import()
}

fn an_ended_import_is_forgotten(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    let before = case.picture(known.id - 1)?;
    let list = case.entries(&space, 4);
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    case.end_import()?;
    no_import(case, "after end-import")?;
    case.unchanged("after end-import", known.id - 1, &before)?;
    // A store that took the hashes for taken would refuse them.
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the next import brings its entries", &stored)
}

fn a_new_import_forgets_the_one_before(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 50))?;
    case.begin_import(ImportMode::Replace)?;
    case.write_import(&case.entries(&space, 3))?;
    let list = [
        Entry {
            response: "second".to_owned(),
            ..case.entry(&space, 2)
        },
        case.entry(&space, 3),
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the second import brings its entries", &stored)?;
    case.holds("the mode of the first import is forgotten", &known)?;
    let first = [case.entry(&space, 0), case.entry(&space, 1)];
    case.lacks_all("the first import is forgotten", &first)
}

fn an_import_does_not_outlive_close(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    let before = case.picture(known.id - 1)?;
    let list = case.entries(&space, 4);
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    case.reopen()?;
    no_import(case, "after close and open")?;
    case.unchanged("after close and open", known.id - 1, &before)?;
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the next import brings its entries", &stored)
}

fn a_committed_import_is_over(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.import(ImportMode::Merge, &[case.entry(&space, 1)])?;
    let before = case.version()?;
    no_import(case, "after commit-import")?;
    case.moved(before, 0, "a refused commit-import")?;
    equal("the count", case.count(Some(&space))?, 1)
}

fn an_import_of_nothing_is_committed(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    let before = case.picture(known.id - 1)?;
    case.begin_import(ImportMode::Merge)?;
    case.commit_entries(&[])?;
    case.unchanged("after an import of nothing", known.id - 1, &before)?;
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&[])?;
    equal(
        "write-import of no entries",
        store::write_import(&[]).is_ok(),
        true,
    )?;
    let quota = [(space.clone(), 5)];
    equal("commit-import", case.commit_import(&quota, &[])?, true)?;
    let version = case.version()?;
    equal("the quota", case.quota(&space)?, Some(5))?;
    case.begin_import(ImportMode::Merge)?;
    case.end_import()?;
    case.moved(version, 0, "an import that is ended")?;
    case.set_quota(&space, None)?;
    case.unchanged("after an import of a quota only", known.id - 1, &before)
}

fn writes_during_an_import_stay(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.insert(&case.entries(&space, 3))?;
    let list = [case.entry(&space, 10), case.entry(&space, 11)];
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list[..1])?;
    let new = case.put(case.entry(&space, 20))?;
    let replaced = case.put(Entry {
        response: "replaced".to_owned(),
        created_at: START + 300,
        ..known[1].clone()
    })?;
    case.set_quota(&space, Some(8))?;
    case.holds("what is written during an import is there", &new)?;
    case.write_import(&list[1..])?;
    let before = case.version()?;
    let stored = case.commit_entries(&list)?;
    case.moved(before, 1, "the commit")?;
    case.holds("what was inserted during an import stays", &new)?;
    case.holds("what was replaced during an import stays", &replaced)?;
    case.holds_all("the import is there", &stored)?;
    equal(
        "the quota set during an import",
        case.quota(&space)?,
        Some(8),
    )?;
    check(
        stored.iter().all(|entry| entry.id != new.id),
        "an imported entry has another id than one inserted meanwhile",
        || format!("both have id {}", new.id),
    )?;
    equal("the count", case.count(Some(&space))?, 6)
}

fn an_entry_inserted_during_an_import_is_replaced(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list = [case.entry(&space, 0), case.entry(&space, 1)];
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    let meanwhile = case.put(Entry {
        response: "meanwhile".to_owned(),
        created_at: START + 300,
        ttl: Some(5),
        ..case.entry(&space, 1)
    })?;
    let stored = case.commit_entries(&list)?;
    equal("the id of the pair", stored[1].id, meanwhile.id)?;
    case.holds_all("the entry is the imported one", &stored)?;
    equal("the count", case.count(Some(&space))?, 2)
}

fn deletes_during_an_import_stay(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.insert(&case.entries(&a, 4))?;
    let cleared = case.insert(&case.entries(&b, 2))?;
    let list = [case.entry(&a, 1), case.entry(&a, 10)];
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    equal("delete-by-id", case.delete(known[0].id)?, true)?;
    equal("delete-by-id", case.delete(known[1].id)?, true)?;
    equal("clear-namespace", case.clear(&b)?, 2)?;
    let stored = case.commit_entries(&list)?;
    case.lacks("what was deleted during an import stays away", &known[0])?;
    case.lacks_all("what was cleared during an import stays away", &cleared)?;
    case.holds_all("the import is there", &stored)?;
    check(
        stored[0].id > cleared[1].id,
        "an entry deleted meanwhile comes with a new id",
        || format!("it has id {}, and had {}", stored[0].id, known[1].id),
    )?;
    equal("the count", case.count(Some(&a))?, 4)
}

fn touches_during_an_import_stay(case: &mut Case) -> Checked {
    let space = case.space("a");
    let known = case.insert(&case.entries(&space, 2))?;
    let list = [case.entry(&space, 1), case.entry(&space, 10)];
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    let touches = [0, 1].map(|n: usize| Touch {
        id: known[n].id,
        hits: 5,
        last_accessed_at: START + 9_000,
    });
    case.touch(&touches)?;
    let stored = case.commit_entries(&list)?;
    let touched = Entry {
        access_count: known[0].access_count + 5,
        last_accessed_at: START + 9_000,
        ..known[0].clone()
    };
    case.holds("hits during an import are kept", &touched)?;
    case.holds_all("the import replaces hits of before", &stored)
}
