//! Recording hits: `update-access`.

use crate::battery::{Spec, case};
use crate::case::{Case, START, reference};
use crate::check::{Checked, equal};
use crate::contract::{Entry, Touch};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_touch_changes_the_access_fields_only,
        "hits are added, the time is set, and all else stays"
    ),
    case!(
        a_touch_never_moves_the_time_back,
        "last-accessed-at is the greater of what it was and what is given"
    ),
    case!(
        an_old_touch_still_counts_its_hits,
        "a touch with an earlier time adds its hits"
    ),
    case!(
        touches_of_unknown_ids_are_passed_over,
        "ids that are gone stop no other touch of the list"
    ),
    case!(
        no_touches_change_nothing,
        "an empty list of touches is accepted"
    ),
    case!(
        an_id_may_be_touched_twice_in_a_list,
        "two touches of one id in a list both count"
    ),
    case!(
        a_touch_of_no_hits_sets_the_time,
        "a touch with 0 hits moves the time only"
    ),
    case!(
        hits_may_be_the_greatest_number,
        "2^32 - 1 hits are added exactly"
    ),
    case!(
        many_touches_can_come_at_once,
        "a list of 200 touches, of known and unknown ids, counts each"
    ),
    case!(
        touches_move_no_version_counter,
        "update-access never moves the version counter"
    ),
    case!(
        a_touch_does_not_prolong_a_ttl,
        "a touched entry expires when it would have expired"
    ),
    case!(
        a_touch_of_a_deleted_entry_brings_nothing_back,
        "touching a deleted entry makes no row"
    ),
];

fn touch(entry: &Entry, hits: u32, last_accessed_at: u64) -> Touch {
    Touch {
        id: entry.id,
        hits,
        last_accessed_at,
    }
}

fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let list: Vec<_> = (0..3)
        .map(|n| Entry {
            last_accessed_at: START + 100,
            access_count: 10,
            ttl: Some(500),
            ..case.entry(&space, n)
        })
        .collect();
    case.insert(&list)
}

fn touched(entry: &Entry, access_count: u64, last_accessed_at: u64) -> Entry {
    Entry {
        access_count,
        last_accessed_at,
        ..entry.clone()
    }
}

fn a_touch_changes_the_access_fields_only(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.touch(&[touch(&stored[1], 3, START + 200)])?;
    case.holds(
        "3 hits were added and the time was set",
        &touched(&stored[1], 13, START + 200),
    )?;
    case.holds("another entry is as it was", &stored[0])?;
    let page = case.vectors(stored[0].id - 1, 9)?;
    let values: Vec<_> = stored
        .iter()
        .flat_map(|entry| entry.embedding.clone())
        .collect();
    equal("the vectors after a touch", page.vectors, values)
}

fn a_touch_never_moves_the_time_back(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    for (time, wanted) in [
        (START + 50, 100),
        (START + 300, 300),
        (START + 299, 300),
        (0, 300),
        (START + 301, 301),
    ] {
        case.touch(&[touch(&stored[0], 0, time)])?;
        case.holds(
            "last-accessed-at is the greatest time so far",
            &touched(&stored[0], 10, START + wanted),
        )?;
    }
    Ok(())
}

fn an_old_touch_still_counts_its_hits(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.touch(&[touch(&stored[0], 4, 1)])?;
    case.touch(&[touch(&stored[0], 4, 1)])?;
    case.holds(
        "both touches added their hits",
        &touched(&stored[0], 18, START + 100),
    )
}

fn touches_of_unknown_ids_are_passed_over(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.delete(stored[1].id)?;
    let unknown = |id| Touch {
        id,
        hits: 1,
        last_accessed_at: START + 400,
    };
    case.touch(&[
        unknown(0),
        unknown(u64::MAX),
        unknown(i64::MAX as u64 + 1),
        touch(&stored[0], 1, START + 200),
        unknown(stored[1].id),
        unknown(stored[2].id + 1_000_000),
        touch(&stored[2], 2, START + 200),
    ])?;
    case.holds(
        "the touch amid unknown ids counts",
        &touched(&stored[0], 11, START + 200),
    )?;
    case.holds(
        "the touch after unknown ids counts",
        &touched(&stored[2], 12, START + 200),
    )?;
    case.touch(&[unknown(stored[1].id)])
}

fn no_touches_change_nothing(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.touch(&[])?;
    case.holds("an entry is as it was", &stored[0])
}

fn an_id_may_be_touched_twice_in_a_list(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.touch(&[
        touch(&stored[0], 2, START + 300),
        touch(&stored[1], 1, START + 200),
        touch(&stored[0], 3, START + 250),
        touch(&stored[0], 4, 0),
    ])?;
    case.holds(
        "all touches of the id count",
        &touched(&stored[0], 19, START + 300),
    )?;
    case.holds(
        "the touch among them counts",
        &touched(&stored[1], 11, START + 200),
    )
}

fn a_touch_of_no_hits_sets_the_time(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.touch(&[touch(&stored[0], 0, START + 300)])?;
    case.holds("the time was set", &touched(&stored[0], 10, START + 300))
}

fn hits_may_be_the_greatest_number(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let most = u64::from(u32::MAX);
    case.touch(&[touch(&stored[0], u32::MAX, START + 300)])?;
    case.holds(
        "all hits were added",
        &touched(&stored[0], 10 + most, START + 300),
    )?;
    case.touch(&[
        touch(&stored[0], u32::MAX, START + 300),
        touch(&stored[0], u32::MAX, START + 300),
    ])?;
    case.holds(
        "all hits were added, thrice",
        &touched(&stored[0], 10 + 3 * most, START + 300),
    )
}

fn many_touches_can_come_at_once(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let gone = stored[2].id + 1_000_000;
    let list: Vec<_> = (0..200)
        .map(|n| match n % 4 {
            3 => Touch {
                id: gone + n,
                hits: 1,
                last_accessed_at: START,
            },
            place => touch(&stored[place as usize], 1, START + 200 + n),
        })
        .collect();
    case.touch(&list)?;
    for (place, last) in [(0, 196), (1, 197), (2, 198)] {
        case.holds(
            "50 touches count",
            &touched(&stored[place], 60, START + 200 + last),
        )?;
    }
    Ok(())
}

fn touches_move_no_version_counter(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let before = case.version()?;
    case.touch(&[])?;
    case.touch(&[
        touch(&stored[0], 1, START + 500),
        touch(&stored[1], 1, START + 500),
    ])?;
    case.touch(&[Touch {
        id: u64::MAX,
        hits: 1,
        last_accessed_at: 1,
    }])?;
    case.moved(before, 0, "update-access")
}

fn a_touch_does_not_prolong_a_ttl(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let end = stored[0].created_at + 500;
    case.touch(&[touch(&stored[0], 1, end - 1)])?;
    let space = case.space("a");
    equal(
        "what expires before the end",
        case.delete_expired(end - 1, Some(&space), 1)?,
        [],
    )?;
    let gone = case.delete_expired(end, Some(&space), 1)?;
    equal("what expires at the end", gone, [reference(&stored[0])])
}

fn a_touch_of_a_deleted_entry_brings_nothing_back(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("a");
    case.clear(&space)?;
    case.touch(&[touch(&stored[0], 1, START + 500)])?;
    case.lacks("a deleted entry stays away", &stored[0])?;
    equal("the count", case.count(Some(&space))?, 0)?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        false,
    )?;
    equal("the least recently used", case.lru(5, Some(&space))?, [])?;
    equal(
        "the ids of the page",
        case.stamps(stored[0].id - 1, 5)?.ids,
        [],
    )
}
