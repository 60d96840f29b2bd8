//! Walks of `select`, from `next` to `next`.

use super::select::{selects, shown};
use crate::battery::{Spec, case};
use crate::case::{Case, START, any, owned, reference, references, tagged, within};
use crate::check::{About, Checked, check, equal};
use crate::contract::{Entry, EntryRef, Filter};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_selection_is_ascending,
        "entries come in the order of their ids, whatever their hashes, times and tags"
    ),
    case!(
        a_selection_has_at_most_limit_entries,
        "limits of 1, some, all and more are respected"
    ),
    case!(
        a_selection_begins_after_the_last_id,
        "only greater ids are selected, whether last-id exists or not"
    ),
    case!(
        a_selection_after_the_greatest_id_is_empty,
        "last-id may be any number up to 2^64 - 1"
    ),
    case!(
        a_walk_of_selections_meets_every_entry_once,
        "walks in steps of any size meet the same entries, and end"
    ),
    case!(
        many_entries_of_one_tag_are_selected,
        "250 entries of two namespaces are met by one walk"
    ),
    case!(
        a_rare_tag_is_found_among_many_entries,
        "one entry of 250 is met, the first, the last or between"
    ),
    case!(
        a_walk_of_selections_goes_on_amid_writes,
        "an entry that is there all the time is met once, whatever is written"
    ),
    case!(
        an_entry_deleted_ahead_of_a_walk_is_not_met,
        "entries deleted, replaced or added ahead of a walk are met as they are by then"
    ),
];

/// Entries of two namespaces, stored in another order than that of their numbers.
fn mixed(case: &mut Case) -> Checked<Vec<Entry>> {
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = [5, 3, 11, 9, 1, 7, 2, 10, 8, 0, 6, 4]
        .into_iter()
        .map(|n| case.entry(if n % 2 == 0 { &a } else { &b }, n))
        .collect();
    case.insert(&list)
}

/// Filters that meet all, many and few of the entries of [`mixed`].
fn filters(case: &mut Case) -> [Filter; 6] {
    let a = case.space("a");
    [
        any(),
        within(&a),
        tagged(&["tag:0"]),
        tagged(&["tag:0", "tag:1"]),
        Filter {
            tags: owned(&["tag:0"]),
            ..within(&a)
        },
        Filter {
            created_from: Some(START + 4),
            context: Some(String::new()),
            ..any()
        },
    ]
}

fn a_selection_is_ascending(case: &mut Case) -> Checked {
    let stored = mixed(case)?;
    let filters = filters(case);
    filters
        .iter()
        .try_for_each(|filter| selects(case, filter, &stored))
}

fn a_selection_has_at_most_limit_entries(case: &mut Case) -> Checked {
    let stored = mixed(case)?;
    for filter in filters(case) {
        for limit in [1, 2, 5, 12, 13, 1_000, u32::MAX] {
            case.select(&filter, stored[0].id - 1, limit)
                .about(|| shown(&filter))?;
        }
    }
    Ok(())
}

fn a_selection_begins_after_the_last_id(case: &mut Case) -> Checked {
    let stored = mixed(case)?;
    case.delete(stored[4].id)?;
    for filter in filters(case) {
        let all = case.select_all(&filter, stored[0].id - 1, 100)?;
        for entry in &stored {
            let rest: Vec<_> = all
                .iter()
                .filter(|one| one.id > entry.id)
                .cloned()
                .collect();
            equal(
                &format!(
                    "what select finds after id {} by {}",
                    entry.id,
                    shown(&filter)
                ),
                case.select_all(&filter, entry.id, 100)?,
                rest,
            )?;
        }
    }
    Ok(())
}

fn a_selection_after_the_greatest_id_is_empty(case: &mut Case) -> Checked {
    let stored = mixed(case)?;
    let last = stored[stored.len() - 1].id;
    for filter in filters(case) {
        for last_id in [
            last,
            last + 1,
            i64::MAX as u64,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ] {
            equal(
                &format!("what select finds after id {last_id} by {}", shown(&filter)),
                case.select_all(&filter, last_id, 10)?,
                [],
            )?;
        }
    }
    Ok(())
}

fn a_walk_of_selections_meets_every_entry_once(case: &mut Case) -> Checked {
    let stored = mixed(case)?;
    for filter in filters(case) {
        selects(case, &filter, &stored)?;
        let all = case.select_all(&filter, stored[0].id - 1, 100)?;
        for limit in [1, 2, 3, 4, 6, 12, u32::MAX] {
            equal(
                &format!("what a walk with limit {limit} meets by {}", shown(&filter)),
                case.select_all(&filter, stored[0].id - 1, limit)?,
                all.clone(),
            )?;
        }
    }
    Ok(())
}

/// 250 entries without tags, of two namespaces.
fn many(case: &mut Case, change: fn(u64, &mut Entry)) -> Checked<Vec<Entry>> {
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = (0..250)
        .map(|n| {
            let mut entry = case.entry(if n % 5 < 3 { &a } else { &b }, n);
            entry.tags.clear();
            change(n, &mut entry);
            entry
        })
        .collect();
    case.insert(&list)
}

fn many_entries_of_one_tag_are_selected(case: &mut Case) -> Checked {
    let stored = many(case, |_, entry| entry.tags = owned(&["common", "mark"]))?;
    let a = case.space("a");
    for filter in [tagged(&["common"]), any(), within(&a)] {
        selects(case, &filter, &stored)?;
        let found = case.select_all(&filter, stored[0].id - 1, 37)?;
        let all = case.select_all(&filter, stored[0].id - 1, 1_000)?;
        equal("what a walk with limit 37 meets", found, all)?;
    }
    Ok(())
}

fn a_rare_tag_is_found_among_many_entries(case: &mut Case) -> Checked {
    let stored = many(case, |n, entry| {
        entry.tags = owned(match n {
            0 => &["common", "first"],
            131 => &["common", "middle"],
            249 => &["common", "last"],
            _ => &["common"],
        });
    })?;
    for tag in ["first", "middle", "last"] {
        for limit in [1, 10] {
            let found = case.select_all(&tagged(&[tag]), stored[0].id - 1, limit)?;
            check(
                found.len() == 1,
                format!("select finds one entry by tag {tag}"),
                || format!("it found {}", found.len()),
            )?;
        }
        selects(case, &tagged(&["common", tag]), &stored)?;
    }
    // By its time alone.
    let last = Filter {
        created_from: Some(START + 249),
        ..any()
    };
    selects(case, &last, &stored)
}

/// Walks in steps, with a write before each step. Returns what it has met.
fn walk(
    case: &mut Case,
    filter: &Filter,
    first: u64,
    mut write: impl FnMut(&mut Case, u64) -> Checked,
) -> Checked<Vec<EntryRef>> {
    let (mut met, mut place, mut step) = (Vec::new(), Some(first - 1), 0);
    while let Some(last_id) = place {
        let found = case.select(filter, last_id, 3)?;
        met.extend(found.entries);
        place = found.next;
        write(case, step)?;
        step += 1;
    }
    Ok(met)
}

fn a_walk_of_selections_goes_on_amid_writes(case: &mut Case) -> Checked {
    let space = case.space("a");
    let with_tags = |case: &Case, n| Entry {
        tags: owned(&["mark", "other"]),
        ..case.entry(&space, n)
    };
    for filter in [
        tagged(&["mark"]),
        Filter {
            tags: owned(&["mark", "other"]),
            ..within(&space)
        },
    ] {
        let list: Vec<_> = (0..24).map(|n| with_tags(case, n)).collect();
        let stored = case.insert(&list)?;
        let kept: Vec<_> = stored.iter().filter(|entry| entry.id % 2 == 0).collect();
        let gone: Vec<_> = stored.iter().filter(|entry| entry.id % 2 == 1).collect();
        let met = walk(case, &filter, stored[0].id, |case, step| {
            // Behind the walk and ahead of it.
            let place = usize::try_from(step).unwrap_or(usize::MAX);
            for entry in [gone.get(place), gone.iter().rev().nth(place)]
                .into_iter()
                .flatten()
            {
                case.delete(entry.id)?;
            }
            let Some(entry) = kept.get(place) else {
                return Ok(());
            };
            // In the same version, so that it is there all the time.
            case.put((*entry).clone())?;
            case.put(with_tags(case, 200 + step)).map(drop)
        })?;
        let met: Vec<_> = met.into_iter().map(|one| one.id).collect();
        for entry in kept {
            let times = met.iter().filter(|id| **id == entry.id).count();
            equal(
                &format!("how often a walk amid writes meets id {}", entry.id),
                times,
                1,
            )?;
        }
        check(
            met.is_sorted_by(|one, next| one < next),
            "a walk amid writes meets ascending ids",
            || format!("{met:?}"),
        )?;
        case.clear(&space)?;
    }
    Ok(())
}

fn an_entry_deleted_ahead_of_a_walk_is_not_met(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..9)
        .map(|n| Entry {
            tags: owned(&["mark"]),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    let filter = tagged(&["mark"]);
    let first = case.select(&filter, stored[0].id - 1, 2)?;
    // A store may have returned fewer than asked for, or looked at no more than these.
    case.delete(stored[5].id)?;
    let unmarked = Entry {
        tags: Vec::new(),
        ..stored[6].clone()
    };
    case.put(unmarked)?;
    let replaced = case.put(Entry {
        created_at: START + 500,
        ..stored[7].clone()
    })?;
    let added = case.put(Entry {
        tags: owned(&["mark"]),
        ..case.entry(&space, 50)
    })?;
    let mut met = first.entries;
    match first.next {
        Some(next) => met.extend(case.select_all(&filter, next, 2)?),
        None => {
            return check(false, "a walk goes on after two of nine", || {
                "it ended".to_owned()
            });
        }
    }
    let mut wanted = references(&stored[..5]);
    wanted.extend([
        reference(&replaced),
        reference(&stored[8]),
        reference(&added),
    ]);
    equal("what the walk meets", met, wanted)
}
