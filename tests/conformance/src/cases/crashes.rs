//! A process that is killed while it writes. The next one finds each call whole or not
//! at all, and the counter tells how many there were.
//!
//! Every call of the phase that is killed moves the counter by one, and what it does
//! follows from its number. So the counter gives the state in which the data must be.

use std::collections::BTreeMap;

use crate::battery::{Spec, phases};
use crate::case::{Case, START, references};
use crate::check::{Checked, Stop, check, equal, failed};
use crate::contract::Entry;
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    phases!(needs Durable, lists_are_whole_after_a_kill, "a killed insert has stored its whole list or none of it",
        [Fresh => note_base, Killed => insert_lists, Fresh => read_lists]),
    phases!(needs Durable, mixed_writes_are_whole_after_a_kill, "killed inserts, replacements and deletes have happened whole or not at all",
        [Fresh => note_base, Killed => write_mixed, Fresh => read_mixed]),
    phases!(needs Durable, meta_is_whole_after_a_kill, "a killed replace-meta has set the whole value or none of it",
        [Fresh => note_base, Killed => write_meta, Fresh => read_meta]),
];

/// Notes where the counter stands before the phase that is killed.
fn note_base(case: &mut Case) -> Checked {
    needs_lists(case)?;
    let version = case.version()?;
    case.note_numbers("base", &[version])
}

fn needs_lists(case: &Case) -> Checked {
    case.needs_batch(LIST as u32)?;
    if case.capabilities.max_delete >= LIST as u32 {
        return Ok(());
    }
    Err(Stop::Skipped(format!(
        "the store deletes {} entries in one step, and the case needs {LIST}",
        case.capabilities.max_delete
    )))
}

/// Entries of a list.
const LIST: u64 = 6;
/// Lists after which the first is replaced.
const LISTS: u64 = 40;

/// What is there, by namespace and number: when it was created, and its contents.
type Rows = BTreeMap<(&'static str, u64), u64>;

/// What call number `call` writes. The entries of namespace `b` expire.
fn row(case: &mut Case, space: &str, n: u64, call: u64) -> Entry {
    let name = case.space(space);
    Entry {
        created_at: START + call,
        last_accessed_at: START + call,
        ttl: (space == "b").then_some(5),
        response: format!("written by call {call}"),
        ..case.entry(&name, n)
    }
}

/// The steps of the counter since [`note_base`], and the entries found, both read at one
/// time: what the killed process had sent may still arrive at a server.
fn read_settled(
    case: &mut Case,
    spaces: &[&'static str],
    numbers: u64,
) -> Checked<(u64, Vec<Vec<Option<Entry>>>)> {
    let base = case.noted_numbers("base")?[0];
    let names: Vec<_> = spaces.iter().map(|space| case.space(space)).collect();
    let mut before = case.version()?;
    for _ in 0..100 {
        let mut found = Vec::new();
        for name in &names {
            let keys: Vec<_> = (0..numbers)
                .map(|n| crate::case::key_of(&case.entry(name, n)))
                .collect();
            found.push(case.by_keys(&keys)?);
        }
        let after = case.version()?;
        if after == before {
            let steps = after.checked_sub(base).ok_or_else(|| {
                failed(
                    format!("the version counter is at least {base}, where it stood before"),
                    format!("it is {after}"),
                )
            })?;
            return Ok((steps, found));
        }
        before = after;
    }
    Err(failed(
        "the version counter stands still once the writer is killed",
        "it moved between 100 pairs of reads",
    ))
}

/// Compares what was found to what must be there after `steps` calls, and looks whether
/// the store works on.
fn same_rows(
    case: &mut Case,
    steps: u64,
    spaces: &[&'static str],
    found: Vec<Vec<Option<Entry>>>,
    wanted: &Rows,
) -> Checked {
    let mut all = BTreeMap::new();
    for (space, entries) in spaces.iter().zip(found) {
        let mut rows = 0;
        for (entry, n) in entries.into_iter().zip(0..) {
            let call = wanted.get(&(*space, n));
            let demand = format!("after {steps} calls, entry {n} of namespace {space}");
            match (entry, call) {
                (None, None) => {}
                (Some(entry), Some(call)) => {
                    let whole = Entry {
                        id: entry.id,
                        ..row(case, space, n, *call)
                    };
                    case.holds(&format!("{demand} is that of call {call}"), &whole)?;
                    let earlier = all.insert(entry.id, (*space, n));
                    equal(
                        &format!("{demand} shares its id {} with", entry.id),
                        earlier,
                        None,
                    )?;
                    rows += 1;
                }
                (None, Some(call)) => {
                    return Err(failed(
                        format!("{demand} is that of call {call}"),
                        "it is missing",
                    ));
                }
                (Some(entry), None) => {
                    return Err(failed(
                        format!("{demand} is gone"),
                        show::value(&entry.response),
                    ));
                }
            }
        }
        let name = case.space(space);
        equal(
            &format!("the count of namespace {space} after {steps} calls"),
            case.count(Some(&name))?,
            rows,
        )?;
    }
    goes_on_working(case, all.keys().next_back().copied().unwrap_or_default())
}

fn goes_on_working(case: &mut Case, highest: u64) -> Checked {
    let space = case.space("after");
    let before = case.version()?;
    let next = case.put(case.entry(&space, 0))?;
    case.holds("the store takes entries after a kill", &next)?;
    case.moved(before, 1, "an insert after a kill")?;
    check(
        next.id > highest,
        format!("an entry inserted after a kill has an id above {highest}"),
        || format!("it has id {}", next.id),
    )?;
    equal("integrity-check after a kill", case.integrity()?, true)
}

fn insert_lists(case: &mut Case) -> Checked {
    for call in 0.. {
        let first = call % LISTS * LIST;
        let list: Vec<_> = (first..first + LIST)
            .map(|n| row(case, "a", n, call))
            .collect();
        case.insert_list(&list)?;
    }
    Ok(())
}

fn read_lists(case: &mut Case) -> Checked {
    case.space("after");
    let (steps, found) = read_settled(case, &["a"], LISTS * LIST)?;
    let wanted: Rows = (steps.saturating_sub(LISTS)..steps)
        .flat_map(|call| (0..LIST).map(move |n| (("a", call % LISTS * LIST + n), call)))
        .collect();
    same_rows(case, steps, &["a"], found, &wanted)
}

/// Calls of a round of [`write_mixed`].
const ROUND: u64 = 6;

/// One call, which changes at least one entry of those that the call before it left.
fn mixed_call(case: &mut Case, call: u64) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let list = |case: &mut Case, space, n| {
        (0..n)
            .map(|n| row(case, space, n, call))
            .collect::<Vec<_>>()
    };
    match call % ROUND {
        0 => {
            let list = list(case, "a", LIST);
            case.insert_list(&list)?;
        }
        1 => {
            let list = list(case, "b", 4);
            case.insert_list(&list)?;
        }
        2 => {
            let keys: Vec<_> = [0, 2, 4]
                .map(|n| crate::case::key_of(&case.entry(&a, n)))
                .into();
            let found: Vec<_> = case.by_keys(&keys)?.into_iter().flatten().collect();
            equal(
                "the entries deleted",
                case.delete_unchanged(&references(&found))?.len(),
                3,
            )?;
        }
        3 => {
            let found = case.find(&case.entry(&a, 1))?;
            equal(
                "delete-by-id",
                case.delete(found.map_or(0, |entry| entry.id))?,
                true,
            )?;
        }
        4 => {
            let gone = case.delete_expired(START + call + 5, Some(&b), 2)?;
            equal("the entries expired", gone.len(), 2)?;
        }
        _ => equal("the entries cleared", case.clear(&b)?, 2)?,
    }
    Ok(())
}

/// What is there after so many of those calls.
fn mixed_rows(steps: u64) -> Rows {
    let mut rows = Rows::new();
    // Nothing is left of a round but what the next one replaces.
    for call in (steps.saturating_sub(2 * ROUND) / ROUND * ROUND)..steps {
        match call % ROUND {
            0 => rows.extend((0..LIST).map(|n| (("a", n), call))),
            1 => rows.extend((0..4).map(|n| (("b", n), call))),
            2 => rows.retain(|(space, n), _| *space != "a" || ![0, 2, 4].contains(n)),
            3 => drop(rows.remove(&("a", 1))),
            4 => rows.retain(|(space, n), _| *space != "b" || *n >= 2),
            _ => rows.retain(|(space, _), _| *space != "b"),
        }
    }
    rows
}

fn write_mixed(case: &mut Case) -> Checked {
    (0..).try_for_each(|call| mixed_call(case, call))
}

fn read_mixed(case: &mut Case) -> Checked {
    case.space("after");
    let spaces = ["a", "b"];
    let (steps, found) = read_settled(case, &spaces, LIST)?;
    same_rows(case, steps, &spaces, found, &mixed_rows(steps))
}

/// The value of a meta key after so many replacements.
fn meta_value(case: &Case, n: u64) -> String {
    format!("{n} {}", case.long_text(n, 4_000))
}

fn write_meta(case: &mut Case) -> Checked {
    let key = case.key("value");
    let mut present: Option<String> = None;
    for n in 0.. {
        let value = meta_value(case, n);
        let done = case.replace_meta(&key, present.as_deref(), Some(&value))?;
        equal("replace-meta of the value it set itself", done, true)?;
        present = Some(value);
    }
    Ok(())
}

fn read_meta(case: &mut Case) -> Checked {
    let key = case.key("value");
    case.space("after");
    let base = case.noted_numbers("base")?[0];
    case.moved(base, 0, "a process that wrote meta only")?;
    if let Some(value) = case.meta(&key)? {
        let n = value.split(' ').next().and_then(|n| n.parse().ok());
        let whole = n.is_some_and(|n| meta_value(case, n) == value);
        check(
            whole,
            "the value is one that the killed process set, whole",
            || show::text(&value),
        )?;
        let done = case.replace_meta(&key, Some(&value), Some("after"))?;
        equal("replace-meta after a kill", done, true)?;
    }
    goes_on_working(case, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_mixed_calls_do_not_depend_on_where_counting_begins() {
        let mut rows = Rows::new();
        for steps in 0..200 {
            assert_eq!(mixed_rows(steps), rows, "{steps}");
            let call = steps;
            match call % ROUND {
                0 => rows.extend((0..LIST).map(|n| (("a", n), call))),
                1 => rows.extend((0..4).map(|n| (("b", n), call))),
                2 => rows.retain(|(space, n), _| *space == "b" || n % 2 == 1),
                3 => drop(rows.remove(&("a", 1))),
                4 => rows.retain(|(space, n), _| *space == "a" || *n > 1),
                _ => rows.retain(|(space, _), _| *space == "a"),
            }
        }
    }

    #[test]
    fn every_mixed_call_changes_something() {
        for steps in 0..100 {
            assert_ne!(mixed_rows(steps), mixed_rows(steps + 1), "{steps}");
        }
    }
}
