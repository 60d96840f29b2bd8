//! A process that is killed while it imports. The next one finds imports whole or not at all.

use super::crashes::{after_the_kill, goes_on_working, note_base, read_settled};
use super::import_settings::change;
use crate::battery::{Spec, phases};
use crate::case::{Case, START, key_of};
use crate::check::{Checked, check, equal, failed};
use crate::contract::{Entry, ImportMode};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    phases!(needs Durable, nothing_of_a_killed_import_is_there, "of an import that a killed process has not committed nothing is ever visible",
        [Fresh => note_base, Killed => write_without_end, Fresh => read_nothing]),
    phases!(needs Durable, imports_are_whole_after_a_kill, "a killed commit-import has stored entries, quota and meta, or none of them",
        [Fresh => note_base, Killed => import_without_end, Fresh => read_imports]),
];

/// Entries of an import.
const LIST: u64 = 12;

/// The entries of import number `round`.
fn list(case: &mut Case, round: u64) -> Vec<Entry> {
    let space = case.space("a");
    let entry = |n| Entry {
        created_at: START + round,
        access_count: round,
        response: format!("imported in round {round}"),
        ..case.entry(&space, n)
    };
    (0..LIST).map(entry).collect()
}

/// Inserts an entry, which tells the host that writing has begun.
fn first(case: &mut Case) -> Checked {
    let space = case.space("first");
    case.put(case.entry(&space, 0)).map(drop)
}

fn write_without_end(case: &mut Case) -> Checked {
    first(case)?;
    for round in 0.. {
        let list = list(case, round);
        case.begin_import(ImportMode::Merge)?;
        list.chunks(3)
            .try_for_each(|part| case.write_import(part))?;
    }
    Ok(())
}

fn read_nothing(case: &mut Case) -> Checked {
    let (space, other) = (case.space("a"), case.space("first"));
    case.space("after");
    let base = case.noted_numbers("base")?[0];
    let list = list(case, 0);
    case.lacks_all("nothing of a killed import is there", &list)?;
    equal("the count", case.count(Some(&space))?, 0)?;
    let inserted = case.count(Some(&other))?;
    case.moved(
        base,
        inserted,
        "one insert, or none, and an import without commit",
    )?;
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the next import brings its entries", &stored)?;
    let highest = stored.iter().map(|entry| entry.id).max();
    goes_on_working(case, highest.unwrap_or_default())
}

fn import_without_end(case: &mut Case) -> Checked {
    first(case)?;
    let (space, key) = (case.space("a"), case.key("round"));
    let mut present: Option<String> = None;
    for round in 1.. {
        let list = list(case, round);
        case.begin_import(ImportMode::Merge)?;
        list.chunks(5)
            .try_for_each(|part| case.write_import(part))?;
        let value = round.to_string();
        let changes = [change(&key, present.as_deref(), &value)];
        let done = case.commit_import(&[(space.clone(), round)], &changes)?;
        equal("commit-import of the value it set itself", done, true)?;
        present = Some(value);
    }
    Ok(())
}

/// What a killed process has left behind.
#[derive(PartialEq)]
struct Left {
    version: u64,
    entries: Vec<Option<Entry>>,
    count: u64,
    inserted: u64,
    quota: Option<u64>,
    value: Option<String>,
}

fn read_once(case: &mut Case) -> Checked<Left> {
    let (space, other, key) = (case.space("a"), case.space("first"), case.key("round"));
    case.quotas.insert(space.clone());
    let keys: Vec<_> = list(case, 0).iter().map(key_of).collect();
    Ok(Left {
        version: case.version()?,
        entries: case.by_keys(&keys)?,
        count: case.count(Some(&space))?,
        inserted: case.count(Some(&other))?,
        quota: case.quota(&space)?,
        value: case.meta(&key)?,
    })
}

fn read_imports(case: &mut Case) -> Checked {
    case.space("after");
    let highest = after_the_kill(case, check_imports)?;
    goes_on_working(case, highest)
}

/// Returns the highest id.
fn check_imports(case: &mut Case) -> Checked<u64> {
    let base = case.noted_numbers("base")?[0];
    let left = read_settled(case, read_once)?;
    let round = left.quota.unwrap_or_default();
    equal(
        &format!("the meta value beside the quota of round {round}"),
        &left.value,
        &left.quota.map(|round| round.to_string()),
    )?;
    let wanted = if round == 0 { 0 } else { LIST };
    equal(&format!("the count in round {round}"), left.count, wanted)?;
    let rounds = left.entries.iter().flatten().map(|entry| {
        let whole = entry.response == format!("imported in round {round}");
        (
            whole && entry.access_count == round && entry.created_at == START + round,
            entry,
        )
    });
    let mut odd = rounds.filter(|(whole, _)| !whole).map(|(_, entry)| entry);
    if let Some(entry) = odd.next() {
        return Err(failed(
            format!("every entry is that of round {round}, as the quota is"),
            show::value(&entry.response),
        ));
    }
    let steps = base + left.inserted + round;
    check(
        left.version == steps,
        format!("the version counter has moved once for the insert and each of {round} imports"),
        || format!("it is {} in place of {steps}", left.version),
    )?;
    let highest = left.entries.iter().flatten().map(|entry| entry.id).max();
    Ok(highest.unwrap_or_default())
}
