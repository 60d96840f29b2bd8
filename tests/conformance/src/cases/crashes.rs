//! A process that is killed while it writes. The next one finds each call whole or not
//! at all, and the counter tells how many there were.
//!
//! Every call of the phase that is killed moves the counter by one, and what it does
//! follows from its number. So the counter gives the state in which the data must be.

use std::collections::BTreeMap;

use super::changes::told_or_forgotten;
use super::select::selects_from;
use crate::battery::{Spec, phases};
use crate::case::{Case, START, ids, key_of, owned, references, within};
use crate::check::{Checked, check, equal, failed, same_entry};
use crate::contract::{Entry, Filter};
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
pub(super) fn note_base(case: &mut Case) -> Checked {
    let version = case.version()?;
    case.note_numbers("base", &[version])
}

/// Entries of a list, where the store takes that many.
const LIST: u32 = 6;
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
        ttl: (space == "b").then_some(lifetime(n)),
        response: format!("written by call {call}"),
        ..case.entry(&name, n)
    }
}

/// How long this number of `b` lasts. The next one lasts longer by more calls than a round has.
fn lifetime(n: u64) -> u64 {
    1000 * (n + 1)
}

/// What a killed process has left behind.
#[derive(PartialEq)]
struct Left {
    /// The steps of the counter since [`note_base`].
    steps: u64,
    /// The entries of each namespace, by number.
    entries: Vec<Vec<Option<Entry>>>,
    /// The count of each namespace.
    counts: Vec<u64>,
}

fn read_once(case: &mut Case, spaces: &[&'static str], numbers: u64) -> Checked<Left> {
    let base = case.noted_numbers("base")?[0];
    let version = case.version()?;
    let steps = version.checked_sub(base).ok_or_else(|| {
        failed(
            format!("the version counter is at least {base}, where it stood before"),
            format!("it is {version}"),
        )
    })?;
    let (mut entries, mut counts) = (Vec::new(), Vec::new());
    for space in spaces {
        let name = case.space(space);
        let keys: Vec<_> = (0..numbers)
            .map(|n| key_of(&case.entry(&name, n)))
            .collect();
        entries.push(case.by_keys(&keys)?);
        counts.push(case.count(Some(&name))?);
    }
    Ok(Left {
        steps,
        entries,
        counts,
    })
}

/// Reads until all stands still: what the killed process had decided may have to be completed, and what
/// it has sent may still arrive at a server.
pub(super) fn read_settled<T: PartialEq>(
    case: &mut Case,
    read_once: impl Fn(&mut Case) -> Checked<T>,
) -> Checked<T> {
    // Where writers wait for each other, this one waits for the last write of that process.
    let nothing = case.space("nothing");
    case.clear(&nothing)?;
    let mut last = read_once(case)?;
    let mut same = 0;
    for _ in 0..100 {
        let next = read_once(case)?;
        same = if next == last { same + 1 } else { 0 };
        if same == 3 {
            return Ok(last);
        }
        last = next;
    }
    Err(failed(
        "the data stands still once the writer is killed",
        "it went on changing during 100 reads",
    ))
}

/// Checks a store that a killed process has written to. It may have sent its last call: a server that is
/// busy obeys that later, once, and perhaps between two reads of the check. What is wrong with the
/// store is still wrong when the check is made again.
pub(super) fn after_the_kill<T>(
    case: &mut Case,
    check: impl Fn(&mut Case) -> Checked<T>,
) -> Checked<T> {
    check(case).or_else(|_| check(case))
}

/// Compares what was found to what must be there after so many calls. Returns the highest id.
fn same_rows(case: &mut Case, spaces: &[&'static str], found: Left, wanted: &Rows) -> Checked<u64> {
    let Left {
        steps,
        entries,
        counts,
    } = found;
    let mut all = BTreeMap::new();
    let mut stored = Vec::new();
    for ((space, entries), count) in spaces.iter().zip(entries).zip(counts) {
        let mut rows = 0;
        for (entry, n) in entries.into_iter().zip(0..) {
            let demand = format!("after {steps} calls, entry {n} of namespace {space}");
            match (entry, wanted.get(&(*space, n))) {
                (None, None) => {}
                (Some(entry), None) => {
                    let response = show::value(&entry.response);
                    return Err(failed(format!("{demand} is gone"), response));
                }
                (entry, Some(call)) => {
                    let id = entry.as_ref().map_or(0, |entry| entry.id);
                    let whole = Entry {
                        id,
                        ..row(case, space, n, *call)
                    };
                    let demand = format!("{demand} is that of call {call}");
                    same_entry(&demand, entry.as_ref(), &whole)?;
                    let earlier = all.insert(id, (*space, n));
                    equal(
                        &format!("{demand}, and shares its id {id} with"),
                        earlier,
                        None,
                    )?;
                    rows += 1;
                    stored.extend(entry);
                }
            }
        }
        equal(
            &format!("the count of namespace {space} after {steps} calls"),
            count,
            rows,
        )?;
    }
    for space in spaces {
        let tagged = Filter {
            tags: owned(&["tag:0"]),
            ..within(&case.space(space))
        };
        selects_from(case, 1, &tagged, &stored)?;
    }
    if case.capabilities.max_changes > 0 {
        let base = case.noted_numbers("base")?[0];
        told_or_forgotten(case, "the killed process", base, &ids(&stored))?;
    }
    Ok(all.keys().next_back().copied().unwrap_or_default())
}

pub(super) fn goes_on_working(case: &mut Case, highest: u64) -> Checked {
    after_the_kill(case, |case| takes_an_entry(case, highest))
}

fn takes_an_entry(case: &mut Case, highest: u64) -> Checked {
    let space = case.space("after");
    let before = case.version()?;
    // Another one at each check.
    let n = case.count(Some(&space))?;
    let next = case.put(case.entry(&space, n))?;
    case.holds("the store takes entries after a kill", &next)?;
    case.moved(before, 1, "an insert after a kill")?;
    check(
        next.id > highest,
        format!("an entry inserted after a kill has an id above {highest}"),
        || format!("it has id {}", next.id),
    )?;
    equal("integrity-check after a kill", case.integrity()?, true)
}

fn list_length(case: &Case) -> u64 {
    u64::from(case.capabilities.max_batch.clamp(1, LIST))
}

fn insert_lists(case: &mut Case) -> Checked {
    let length = list_length(case);
    for call in 0.. {
        let first = call % LISTS * length;
        let list: Vec<_> = (first..first + length)
            .map(|n| row(case, "a", n, call))
            .collect();
        case.insert_list(&list)?;
    }
    Ok(())
}

fn read_lists(case: &mut Case) -> Checked {
    case.space("after");
    let highest = after_the_kill(case, check_lists)?;
    goes_on_working(case, highest)
}

fn check_lists(case: &mut Case) -> Checked<u64> {
    let length = list_length(case);
    let left = read_settled(case, |case| read_once(case, &["a"], LISTS * length))?;
    let steps = left.steps;
    let wanted: Rows = (steps.saturating_sub(LISTS)..steps)
        .flat_map(|call| (0..length).map(move |n| (("a", call % LISTS * length + n), call)))
        .collect();
    same_rows(case, &["a"], left, &wanted)
}

/// A call of the process that writes of every kind, which changes at least one entry.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    /// Inserts or replaces these numbers.
    Insert(&'static str, Vec<u64>),
    /// Deletes these numbers of `a` by `delete-unchanged`.
    DeleteUnchanged(Vec<u64>),
    /// Deletes this number of `a`.
    DeleteById(u64),
    /// Deletes these numbers of `b` by `delete-expired`, as no others have expired.
    Expire(Vec<u64>),
    /// Clears `b`.
    Clear,
}

/// The calls of a round, after which all starts again; each is one step of the counter.
fn round(max_batch: u32, max_delete: u32) -> Vec<Call> {
    let (batch, delete) = (max_batch.max(1) as usize, max_delete.max(1) as usize);
    let lists = |space, numbers: &[u64]| -> Vec<Call> {
        let lists = numbers.chunks(batch);
        lists
            .map(|list| Call::Insert(space, list.to_vec()))
            .collect()
    };
    let mut calls = lists("a", &[0, 1, 2, 3, 4, 5]);
    calls.extend(lists("b", &[0, 1, 2, 3]));
    calls.extend(
        [0, 2, 4]
            .chunks(delete)
            .map(|list| Call::DeleteUnchanged(list.to_vec())),
    );
    calls.push(Call::DeleteById(1));
    calls.extend(
        [0, 1, 2]
            .chunks(delete)
            .map(|list| Call::Expire(list.to_vec())),
    );
    calls.push(Call::Clear);
    calls
}

/// What is there after this call, number `call` of all.
fn follow(rows: &mut Rows, doing: &Call, call: u64) {
    match doing {
        Call::Insert(space, list) => rows.extend(list.iter().map(|n| ((*space, *n), call))),
        Call::DeleteUnchanged(list) => {
            rows.retain(|(space, n), _| *space != "a" || !list.contains(n));
        }
        Call::DeleteById(gone) => {
            rows.remove(&("a", *gone));
        }
        Call::Expire(list) => {
            rows.retain(|(space, n), _| *space != "b" || !list.contains(n));
        }
        Call::Clear => rows.retain(|(space, _), _| *space != "b"),
    }
}

/// What is there after so many calls.
fn mixed_rows(round: &[Call], calls: u64) -> Rows {
    let length = round.len() as u64;
    // What is left of a round the next one replaces, so that two of them tell all.
    let first = (calls / length).saturating_sub(1) * length;
    let mut rows = Rows::new();
    for call in first..calls {
        follow(&mut rows, &round[(call % length) as usize], call);
    }
    rows
}

fn make_call(case: &mut Case, doing: &Call, call: u64) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    match doing {
        Call::Insert(space, list) => {
            let list: Vec<_> = list.iter().map(|n| row(case, space, *n, call)).collect();
            case.insert_list(&list)?;
        }
        Call::DeleteUnchanged(list) => {
            let keys: Vec<_> = list.iter().map(|n| key_of(&case.entry(&a, *n))).collect();
            let found: Vec<_> = case.by_keys(&keys)?.into_iter().flatten().collect();
            let deleted = case.delete_unchanged(&references(&found))?;
            equal("the entries deleted", deleted.len(), list.len())?;
        }
        Call::DeleteById(n) => {
            let found = case.find(&case.entry(&a, *n))?;
            let deleted = case.delete(found.map_or(0, |entry| entry.id))?;
            equal("delete-by-id", deleted, true)?;
        }
        Call::Expire(list) => {
            let last = list.iter().max().copied().unwrap_or(0);
            let now = START + call + lifetime(last);
            let gone = case.delete_expired(now, Some(&b), list.len() as u32)?;
            equal("the entries expired", gone.len(), list.len())?;
        }
        Call::Clear => equal("the entries cleared", case.clear(&b)?, 1)?,
    }
    Ok(())
}

fn write_mixed(case: &mut Case) -> Checked {
    let round = round(case.capabilities.max_batch, case.capabilities.max_delete);
    (0..)
        .zip(round.iter().cycle())
        .try_for_each(|(call, doing)| make_call(case, doing, call))
}

fn read_mixed(case: &mut Case) -> Checked {
    case.space("after");
    let highest = after_the_kill(case, check_mixed)?;
    goes_on_working(case, highest)
}

fn check_mixed(case: &mut Case) -> Checked<u64> {
    let spaces = ["a", "b"];
    let round = round(case.capabilities.max_batch, case.capabilities.max_delete);
    let left = read_settled(case, |case| read_once(case, &spaces, 6))?;
    let wanted = mixed_rows(&round, left.steps);
    same_rows(case, &spaces, left, &wanted)
}

/// The value of a meta key after so many replacements.
fn meta_value(case: &Case, n: u64) -> String {
    format!("{n} {}", case.long_text(n, 4_000))
}

/// Inserts an entry, which tells the host that writing has begun, and then sets one value
/// after another.
fn write_meta(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("value"));
    case.put(case.entry(&space, 0))?;
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
    case.key("value");
    case.space("a");
    case.space("after");
    after_the_kill(case, check_meta)?;
    goes_on_working(case, 0)
}

fn check_meta(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("value"));
    let base = case.noted_numbers("base")?[0];
    let inserted = case.count(Some(&space))?;
    case.moved(base, inserted, "one insert, or none, and many replace-meta")?;
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::CapabilitySet;
    use std::cell::Cell;

    #[test]
    fn what_comes_late_is_wrong_once_and_a_broken_store_twice() {
        let capabilities = CapabilitySet {
            name: "test".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: 1,
            max_delete: 1,
            max_blob: 0,
            max_changes: 0,
            nearest: false,
        };
        let mut case = Case::new("late", 1, capabilities);
        for (wrong, holds) in [(0, true), (1, true), (2, false)] {
            let checks = Cell::new(0);
            let outcome = after_the_kill(&mut case, |_| {
                checks.set(checks.get() + 1);
                check(checks.get() > wrong, "", String::new)
            });
            assert_eq!(outcome.is_ok(), holds, "wrong {wrong} times");
            assert!(checks.get() <= 2, "{} checks", checks.get());
        }
    }

    fn rounds() -> Vec<Vec<Call>> {
        let sizes = [(1, 1), (2, 1), (1, 2), (4, 3), (10, 49), (1_000, u32::MAX)];
        sizes
            .into_iter()
            .map(|(batch, delete)| round(batch, delete))
            .collect()
    }

    #[test]
    fn the_rows_of_mixed_calls_do_not_depend_on_where_counting_begins() {
        for round in rounds() {
            let mut rows = Rows::new();
            for (call, doing) in (0..300).zip(round.iter().cycle()) {
                assert_eq!(mixed_rows(&round, call), rows, "{call}");
                follow(&mut rows, doing, call);
            }
        }
    }

    #[test]
    fn every_mixed_call_changes_something() {
        for round in rounds() {
            for call in 0..100 {
                assert_ne!(
                    mixed_rows(&round, call),
                    mixed_rows(&round, call + 1),
                    "{call}"
                );
            }
        }
    }

    #[test]
    fn a_round_leaves_one_entry_to_clear() {
        for round in rounds() {
            let before = mixed_rows(&round, round.len() as u64 - 1);
            assert_eq!(round.last(), Some(&Call::Clear));
            assert_eq!(before.keys().filter(|(space, _)| *space == "b").count(), 1);
        }
    }
}
