//! Walking over all entries, page by page, in ascending order of their ids.
//!
//! New entries have greater ids than all that were there before, so that a walk from
//! just below the first of them sees nothing else.

use crate::battery::{Spec, case};
use crate::case::{Case, START, ids};
use crate::check::{About, Checked, check, equal, failed, same_entries};
use crate::contract::{Entry, Touch};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        pages_come_in_ascending_id_order,
        "all three walks return rows in ascending order of their ids"
    ),
    case!(
        a_page_has_at_most_limit_rows,
        "limits of 0, 1, some, all and more are respected"
    ),
    case!(
        a_page_begins_after_the_last_id,
        "a page begins with the first id above last-id, known or not"
    ),
    case!(
        a_page_after_the_greatest_id_is_empty,
        "last-id may be any number up to 2^64 - 1"
    ),
    case!(
        a_limit_may_be_the_greatest_number,
        "a limit of 2^32 - 1 returns what there is"
    ),
    case!(
        a_walk_in_small_steps_sees_every_row_once,
        "passing the last id of each page reads all rows"
    ),
    case!(
        a_short_page_is_the_last,
        "a page has fewer rows than its limit at the end only"
    ),
    case!(
        the_walks_agree,
        "entries, vectors and stamps are those of the same rows"
    ),
    case!(
        pages_skip_deleted_rows,
        "gaps left by deletes shorten no page"
    ),
    case!(
        pages_cover_all_namespaces,
        "a page holds rows of every namespace, whole"
    ),
    case!(
        vectors_come_row_by_row,
        "iter-vectors returns the values of each row, bit for bit"
    ),
    case!(
        a_walk_sees_replaced_rows_once,
        "rows replaced during a walk appear once, in their place"
    ),
    case!(
        a_walk_misses_rows_deleted_ahead,
        "rows deleted ahead of a walk do not appear"
    ),
    case!(
        a_walk_sees_rows_added_behind_its_end,
        "rows added during a walk appear at its end"
    ),
    case!(
        a_walk_under_mixed_writes_is_complete,
        "a row that is there all the time appears once, whatever is written"
    ),
    case!(
        a_touch_moves_no_row_of_a_walk,
        "touches change neither the order of a walk nor its stamps"
    ),
    case!(
        a_page_of_two_megabytes_is_whole,
        "a page of 50 rows with 40 KB each is complete"
    ),
];

/// Ids of a page of each of the three walks, which must be the same.
fn page(case: &Case, last_id: u64, limit: u32) -> Checked<Vec<u64>> {
    let entries = ids(&case.since(last_id, limit)?);
    let subject = || format!("after id {last_id} with limit {limit}");
    let vectors = case.vectors(last_id, limit)?.ids;
    equal(
        "iter-vectors returns the ids of iter-since",
        &vectors,
        &entries,
    )
    .about(subject)?;
    let stamps = case.stamps(last_id, limit)?.ids;
    equal(
        "iter-stamps returns the ids of iter-since",
        &stamps,
        &entries,
    )
    .about(subject)?;
    Ok(entries)
}

fn sample(case: &mut Case, n: u64) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    case.insert(&case.entries(&space, n))
}

fn pages_come_in_ascending_id_order(case: &mut Case) -> Checked {
    let space = case.space("a");
    // The order of hashes, times and contents is another one.
    let list: Vec<_> = [5, 3, 9, 1, 7, 2, 8, 0, 6, 4]
        .into_iter()
        .map(|n| case.entry(&space, n))
        .collect();
    let mut stored = case.insert(&list)?;
    stored.sort_by_key(|entry| entry.id);
    equal(
        "the ids of the page",
        page(case, stored[0].id - 1, 20)?,
        ids(&stored),
    )?;
    let found = case.since(stored[0].id - 1, 20)?;
    same_entries("iter-since returns whole entries", &found, &stored)
}

fn a_page_has_at_most_limit_rows(case: &mut Case) -> Checked {
    let stored = sample(case, 6)?;
    let all = ids(&stored);
    for limit in [0, 1, 2, 5, 6, 7, 100] {
        let wanted = &all[..all.len().min(limit as usize)];
        let found = page(case, all[0] - 1, limit)?;
        equal(
            &format!("the ids of a page with limit {limit}"),
            &found[..],
            wanted,
        )?;
    }
    Ok(())
}

fn a_page_begins_after_the_last_id(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 6)?);
    case.delete(all[3])?;
    let left = [all[0], all[1], all[2], all[4], all[5]];
    for (last, begin) in [
        (all[0] - 1, 0),
        (all[0], 1),
        (all[1], 2),
        (all[2], 3),
        (all[3], 3),
        (all[4], 4),
        (all[5], 5),
    ] {
        let found = page(case, last, 10)?;
        equal(&format!("the ids after {last}"), &found[..], &left[begin..])?;
    }
    Ok(())
}

fn a_page_after_the_greatest_id_is_empty(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 2)?);
    for last in [
        all[1],
        all[1] + 1,
        1 << 53,
        i64::MAX as u64,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ] {
        equal(&format!("the ids after {last}"), page(case, last, 10)?, [])?;
    }
    Ok(())
}

fn a_limit_may_be_the_greatest_number(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 5)?);
    for limit in [i32::MAX as u32, 1 << 31, u32::MAX] {
        equal(
            &format!("the ids of a page with limit {limit}"),
            &page(case, all[0] - 1, limit)?,
            &all,
        )?;
    }
    Ok(())
}

fn a_walk_in_small_steps_sees_every_row_once(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 23)?);
    for step in [1, 4, 10] {
        let mut seen = Vec::new();
        let mut last = all[0] - 1;
        // One page more than there should be.
        for _ in 0..=all.len() + 1 {
            let found = page(case, last, step)?;
            let Some(end) = found.last() else { break };
            last = *end;
            seen.extend(found);
        }
        equal(&format!("the ids seen in steps of {step}"), &seen, &all)?;
    }
    Ok(())
}

fn a_short_page_is_the_last(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 20)?);
    for gone in [3, 4, 5, 9, 15] {
        case.delete(all[gone])?;
    }
    let mut last = all[0] - 1;
    let mut seen = 0;
    while seen < 15 {
        let found = page(case, last, 4)?;
        seen += found.len();
        check(
            found.len() == 4 || seen == 15,
            "a page with limit 4 has 4 rows as long as there are more",
            || format!("a page had {} rows, {seen} were read, of 15", found.len()),
        )?;
        last = *found.last().unwrap_or(&u64::MAX);
    }
    Ok(())
}

fn the_walks_agree(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = (0..12)
        .map(|n| case.entry(if n % 3 == 0 { &a } else { &b }, n))
        .collect();
    let stored = case.insert(&list)?;
    case.put(Entry {
        created_at: START + 900,
        ..list[4].clone()
    })?;
    case.delete(stored[7].id)?;
    let from = stored[0].id - 1;
    let entries = case.since(from, 100)?;
    let vectors = case.vectors(from, 100)?;
    let stamps = case.stamps(from, 100)?;
    equal("the rows of iter-since", entries.len(), 11)?;
    equal("the ids of iter-vectors", &vectors.ids, &ids(&entries))?;
    equal("the ids of iter-stamps", &stamps.ids, &ids(&entries))?;
    let names: Vec<_> = entries
        .iter()
        .map(|entry| entry.namespace.clone())
        .collect();
    equal(
        "the namespaces of iter-vectors",
        &vectors.namespaces,
        &names,
    )?;
    let contexts: Vec<_> = entries.iter().map(|entry| entry.context.clone()).collect();
    equal("the contexts of iter-vectors", &vectors.contexts, &contexts)?;
    let times: Vec<_> = entries.iter().map(|entry| entry.created_at).collect();
    equal("the times of iter-vectors", &vectors.created_at, &times)?;
    equal("the times of iter-stamps", &stamps.created_at, &times)?;
    let values: Vec<_> = entries
        .iter()
        .flat_map(|entry| entry.embedding.clone())
        .collect();
    check(
        vectors.vectors == values,
        "the values of iter-vectors are those of iter-since",
        || show::vectors(&values, &vectors.vectors).unwrap_or_default(),
    )
}

fn pages_skip_deleted_rows(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 24)?);
    for gone in all.iter().filter(|id| !(*id - all[0]).is_multiple_of(4)) {
        case.delete(*gone)?;
    }
    let left: Vec<_> = all
        .iter()
        .copied()
        .filter(|id| (id - all[0]).is_multiple_of(4))
        .collect();
    equal(
        "the ids of a page that spans gaps",
        page(case, all[0] - 1, 4)?,
        &left[..4],
    )?;
    let last = left[3];
    equal(
        "the ids of the page after it",
        &page(case, last, 40)?[..],
        &left[4..],
    )
}

fn pages_cover_all_namespaces(case: &mut Case) -> Checked {
    let names: Vec<_> = ["c", "a", "b", "\u{10000}", ""]
        .map(|name| case.space(name))
        .into();
    let list: Vec<_> = (0..15)
        .map(|n| case.entry(&names[n as usize % 5], n))
        .collect();
    let mut stored = case.insert(&list)?;
    stored.sort_by_key(|entry| entry.id);
    let found = case.since(stored[0].id - 1, 15)?;
    same_entries("a page has the rows of all namespaces", &found, &stored)?;
    let page = case.vectors(stored[0].id - 1, 15)?;
    let spaces: Vec<_> = stored.iter().map(|entry| entry.namespace.clone()).collect();
    equal("the namespaces of iter-vectors", page.namespaces, spaces)
}

fn vectors_come_row_by_row(case: &mut Case) -> Checked {
    let stored = sample(case, 9)?;
    for limit in [1, 4, 9] {
        let page = case.vectors(stored[0].id - 1, limit)?;
        let wanted: Vec<_> = stored[..limit as usize]
            .iter()
            .flat_map(|entry| entry.embedding.clone())
            .collect();
        check(
            show::vectors(&wanted, &page.vectors).is_none(),
            format!("the values of the first {limit} rows come one row after another"),
            || show::vectors(&wanted, &page.vectors).unwrap_or_default(),
        )?;
    }
    Ok(())
}

/// Walks in steps of 3, lets `meanwhile` write after each page, and returns the ids seen.
fn walk(
    case: &mut Case,
    first: u64,
    mut meanwhile: impl FnMut(&mut Case, u64) -> Checked,
) -> Checked<Vec<u64>> {
    let mut seen = Vec::new();
    let mut last = first - 1;
    for _ in 0..100 {
        let found = page(case, last, 3)?;
        let Some(end) = found.last() else {
            check(
                seen.is_sorted_by(|a, b| a < b),
                "a walk sees ids in ascending order",
                || show::value(&seen),
            )?;
            return Ok(seen);
        };
        last = *end;
        seen.extend(&found);
        meanwhile(case, last)?;
    }
    Err(failed(
        "a walk over some 30 rows in steps of 3 ends",
        "it went on for 100 pages",
    ))
}

fn a_walk_sees_replaced_rows_once(case: &mut Case) -> Checked {
    let stored = sample(case, 15)?;
    let mut round = 0;
    let seen = walk(case, stored[0].id, |case, _| {
        round += 1;
        // One behind the walk and one ahead of it.
        for place in [round % 15, (round * 4) % 15] {
            case.put(Entry {
                created_at: START + 100,
                ..stored[place].clone()
            })?;
        }
        Ok(())
    })?;
    equal("the ids seen", seen, ids(&stored))
}

fn a_walk_misses_rows_deleted_ahead(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 15)?);
    let seen = walk(case, all[0], |case, last| {
        if last == all[2] {
            for gone in [0, 4, 5, 6, 14] {
                case.delete(all[gone])?;
            }
        }
        Ok(())
    })?;
    let wanted: Vec<_> = [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13]
        .map(|place| all[place])
        .into();
    equal("the ids seen", seen, wanted)
}

fn a_walk_sees_rows_added_behind_its_end(case: &mut Case) -> Checked {
    let all = ids(&sample(case, 7)?);
    let space = case.space("b");
    let mut added = Vec::new();
    let seen = walk(case, all[0], |case, _| {
        if added.len() < 3 {
            added.push(case.put(case.entry(&space, 50 + added.len() as u64))?.id);
        }
        Ok(())
    })?;
    equal("the ids seen", seen, [all, added].concat())
}

fn a_walk_under_mixed_writes_is_complete(case: &mut Case) -> Checked {
    let stored = sample(case, 20)?;
    let space = case.space("b");
    let mut n = 0;
    let seen = walk(case, stored[0].id, |case, _| {
        n += 1;
        if n > 6 {
            return Ok(());
        }
        case.put(Entry {
            created_at: START + 100,
            ..stored[n * 3 - 2].clone()
        })?;
        case.delete(stored[n * 3].id)?;
        case.put(case.entry(&space, 30 + n as u64))?;
        // A row that is there for a moment only.
        let moment = case.put(case.entry(&space, 60))?;
        case.delete(moment.id)?;
        Ok(())
    })?;
    let left = ids(&case.since(stored[0].id - 1, 100)?);
    let missed = left.iter().find(|id| !seen.contains(id));
    equal(
        "the first row that was there at the end and not seen",
        missed,
        None,
    )?;
    equal("the rows left", left.len(), 20 - 6 + 6)
}

fn a_touch_moves_no_row_of_a_walk(case: &mut Case) -> Checked {
    let stored = sample(case, 9)?;
    let before = case.stamps(stored[0].id - 1, 20)?;
    let seen = walk(case, stored[0].id, |case, last| {
        case.touch(&[Touch {
            id: last,
            hits: 1,
            last_accessed_at: START + 90_000,
        }])
    })?;
    equal("the ids seen", seen, ids(&stored))?;
    equal(
        "the stamps after touches",
        case.stamps(stored[0].id - 1, 20)?,
        before,
    )
}

fn a_page_of_two_megabytes_is_whole(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut stored = Vec::new();
    for n in 0..50 {
        let response = case.long_text(n, 40_000);
        stored.push(case.put(Entry {
            response,
            ..case.entry(&space, n)
        })?);
    }
    let found = case.since(stored[0].id - 1, 50)?;
    same_entries("iter-since returns all 50 rows", &found, &stored)?;
    equal(
        "the ids of all pages",
        page(case, stored[0].id - 1, 100)?,
        ids(&stored),
    )?;
    let found = case.by_ids(&ids(&stored))?;
    same_entries("get-by-ids returns all 50 rows", &found, &stored)
}
