//! Deleting what has expired. The entries end far in the future, and `now` is given.

use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST, START, ids, reference, references};
use crate::cases::delete_unchanged::{beyond, steps};
use crate::check::{Checked, check, equal};
use crate::contract::{Entry, EntryRef};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_entry_expires_at_created_at_plus_ttl,
        "an entry is expired in the second created-at + ttl, and not one earlier"
    ),
    case!(
        a_ttl_of_zero_expires_at_once,
        "an entry with ttl 0 is expired in the second it was created"
    ),
    case!(
        an_entry_without_a_ttl_never_expires,
        "delete-expired leaves entries without a ttl, however late it is"
    ),
    case!(
        expired_entries_are_returned_as_versions,
        "each item has the id, namespace and created-at of its entry"
    ),
    case!(
        expiry_keeps_to_its_limit,
        "of more than limit expired entries just limit go, and each goes once"
    ),
    case!(
        fewer_than_limit_means_none_is_left,
        "repeated calls delete all, the last returning fewer than limit"
    ),
    case!(
        a_limit_of_zero_expires_nothing,
        "delete-expired with limit 0 deletes nothing"
    ),
    case!(
        expiry_keeps_to_its_namespace,
        "only entries of the namespace named are deleted"
    ),
    case!(
        expiry_covers_all_namespaces,
        "without a namespace expired entries of all are deleted"
    ),
    case!(
        expiry_of_an_unknown_namespace_is_empty,
        "a namespace without entries has nothing expired"
    ),
    case!(
        expired_entries_are_gone_everywhere,
        "no operation finds an entry that delete-expired deleted"
    ),
    case!(
        expiry_counts_from_created_at,
        "last-accessed-at has no part in expiry"
    ),
    case!(
        huge_ttls_do_not_overflow,
        "created-at + ttl beyond 2^53 is not in the past"
    ),
    case!(
        expiry_at_time_zero_deletes_nothing,
        "at now = 0 nothing is expired that was created later"
    ),
    case!(
        expiry_beyond_max_delete_is_complete,
        "more entries than max-delete expire in one call"
    ),
    case!(
        an_entry_that_expired_long_ago_is_whole_or_gone,
        "an entry whose end is past is found by all operations or by none"
    ),
];

fn lasting(case: &Case, namespace: &str, n: u64, created_at: u64, ttl: u64) -> Entry {
    Entry {
        created_at,
        ttl: Some(ttl),
        ..case.entry(namespace, n)
    }
}

fn gone(case: &Case, now: u64, namespace: &str, limit: u32) -> Checked<Vec<u64>> {
    let expired = case.delete_expired(now, Some(namespace), limit)?;
    Ok(expired.iter().map(|one| one.id).collect())
}

fn an_entry_expires_at_created_at_plus_ttl(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        lasting(case, &space, 1, START, 100),
        lasting(case, &space, 2, START, 101),
        lasting(case, &space, 3, START + 50, 50),
    ])?;
    equal(
        "the ids expired one second before the end",
        gone(case, START + 99, &space, 10)?,
        [],
    )?;
    equal(
        "the ids expired at the end",
        gone(case, START + 100, &space, 10)?,
        [stored[0].id, stored[2].id],
    )?;
    equal(
        "the ids expired a second later",
        gone(case, START + 101, &space, 10)?,
        [stored[1].id],
    )
}

fn a_ttl_of_zero_expires_at_once(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(lasting(case, &space, 1, START, 0))?;
    case.holds("a ttl of 0 is stored as 0, not as none", &stored)?;
    equal(
        "the ids expired the second before",
        gone(case, START - 1, &space, 10)?,
        [],
    )?;
    equal(
        "the ids expired in that second",
        gone(case, START, &space, 10)?,
        [stored.id],
    )
}

fn an_entry_without_a_ttl_never_expires(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        case.entry(&space, 1),
        Entry {
            created_at: 0,
            ..case.entry(&space, 2)
        },
    ])?;
    for now in [0, START, START * 2, GREATEST] {
        equal(
            &format!("the ids expired at {now}"),
            gone(case, now, &space, 10)?,
            [],
        )?;
    }
    case.holds("an entry without a ttl stays", &stored[0])?;
    case.holds("an entry without a ttl, created at 0, stays", &stored[1])
}

fn expired_entries_are_returned_as_versions(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..4)
        .map(|n| lasting(case, &space, n, START + 7 * n, 10))
        .collect();
    let stored = case.insert(&list)?;
    let expired = case.delete_expired(START + 1_000, Some(&space), 10)?;
    equal("the items", expired, references(&stored))
}

fn expiry_keeps_to_its_limit(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..7)
        .map(|n| lasting(case, &space, n, START, 10))
        .collect();
    let all = ids(&case.insert(&list)?);
    let mut deleted = Vec::new();
    for (limit, wanted) in [(3, 3), (1, 1), (3, 3), (3, 0)] {
        let gone = gone(case, START + 10, &space, limit)?;
        equal(
            &format!("how many go with limit {limit}"),
            gone.len(),
            wanted,
        )?;
        deleted.extend(gone);
        let left = 7 - deleted.len() as u64;
        equal("the count of those left", case.count(Some(&space))?, left)?;
    }
    deleted.sort_unstable();
    equal("the ids of all calls, sorted", deleted, all)
}

fn fewer_than_limit_means_none_is_left(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..20)
        .map(|n| match n % 2 {
            0 => lasting(case, &space, n, START, 10),
            _ => case.entry(&space, n),
        })
        .collect();
    case.insert(&list)?;
    let mut sizes = Vec::new();
    for _ in 0..20 {
        let size = gone(case, START + 10, &space, 4)?.len();
        sizes.push(size);
        if size < 4 {
            break;
        }
    }
    equal(
        "how many each call with limit 4 deleted of 10",
        sizes,
        [4, 4, 2],
    )?;
    equal(
        "the ids expired after that",
        gone(case, START + 10, &space, 4)?,
        [],
    )?;
    equal(
        "the count of those without a ttl",
        case.count(Some(&space))?,
        10,
    )
}

fn a_limit_of_zero_expires_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(lasting(case, &space, 1, START, 10))?;
    let before = case.version()?;
    equal(
        "the ids expired with limit 0",
        gone(case, START + 10, &space, 0)?,
        [],
    )?;
    case.holds("the entry stays", &stored)?;
    case.moved(before, 0, "delete-expired with limit 0")
}

fn expiry_keeps_to_its_namespace(case: &mut Case) -> Checked {
    // One begins as another, and one is a pattern of another.
    let names = ["a", "a_b", "a:b"].map(|name| case.space(name));
    let list: Vec<_> = (0..9)
        .map(|n| lasting(case, &names[n as usize % 3], n, START, 10))
        .collect();
    let stored = case.insert(&list)?;
    for (first, name) in names.iter().enumerate() {
        let wanted = [0, 3, 6].map(|place: usize| stored[first + place].id);
        let mut gone = gone(case, START + 10, name, 10)?;
        gone.sort_unstable();
        equal("the ids expired of one namespace", gone, wanted)?;
        for entry in stored.iter().enumerate().filter(|(at, _)| at % 3 > first) {
            case.holds("an entry of another namespace stays", entry.1)?;
        }
    }
    Ok(())
}

fn expiry_covers_all_namespaces(case: &mut Case) -> Checked {
    case.needs_empty_store()?;
    let names = ["b", "a", "c"].map(|name| case.space(name));
    let list: Vec<_> = (0..9)
        .map(|n| lasting(case, &names[n as usize % 3], n, START, 10 + n % 2))
        .collect();
    let stored = case.insert(&list)?;
    let wanted = |places: &[usize]| -> Vec<EntryRef> {
        places
            .iter()
            .map(|place| reference(&stored[*place]))
            .collect()
    };
    let mut gone = case.delete_expired(START + 10, None, 2)?;
    equal("how many go with limit 2", gone.len(), 2)?;
    gone.extend(case.delete_expired(START + 10, None, 10)?);
    gone.sort_unstable_by_key(|one| one.id);
    equal("what two calls delete", gone, wanted(&[0, 2, 4, 6, 8]))?;
    equal("the count of all", case.count(None)?, 4)?;
    equal(
        "what expires a second later",
        case.delete_expired(START + 11, None, 10)?,
        wanted(&[1, 3, 5, 7]),
    )
}

fn expiry_of_an_unknown_namespace_is_empty(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("never"));
    let stored = case.put(lasting(case, &a, 1, START, 10))?;
    equal(
        "the ids expired of an unknown namespace",
        gone(case, START + 10, &b, 10)?,
        [],
    )?;
    case.holds("an entry of another namespace stays", &stored)
}

fn expired_entries_are_gone_everywhere(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(lasting(case, &space, 1, START, 10))?;
    gone(case, START + 10, &space, 10)?;
    case.lacks("an expired entry is gone", &stored)?;
    equal("the count", case.count(Some(&space))?, 0)?;
    equal(
        "the ids of the page",
        case.stamps(stored.id - 1, 5)?.ids,
        [],
    )?;
    equal("the least recently used", case.lru(5, Some(&space))?, [])?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        false,
    )?;
    equal("delete-by-id", case.delete(stored.id)?, false)
}

fn expiry_counts_from_created_at(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(Entry {
        last_accessed_at: START + 9_000,
        ..lasting(case, &space, 1, START, 10)
    })?;
    equal(
        "the ids expired",
        gone(case, START + 10, &space, 10)?,
        [stored.id],
    )
}

fn huge_ttls_do_not_overflow(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        lasting(case, &space, 1, START, GREATEST),
        lasting(case, &space, 2, GREATEST, GREATEST),
        lasting(case, &space, 3, START, GREATEST - START),
        lasting(case, &space, 4, START, GREATEST - START - 1),
    ])?;
    case.holds_all("a huge ttl is kept exactly", &stored)?;
    equal(
        "the ids expired long before",
        gone(case, START * 2, &space, 10)?,
        [],
    )?;
    equal(
        "the ids expired at 2^53 - 3",
        gone(case, GREATEST - 2, &space, 10)?,
        [],
    )?;
    equal(
        "the ids expired at 2^53 - 2",
        gone(case, GREATEST - 1, &space, 10)?,
        [stored[3].id],
    )?;
    equal(
        "the ids expired at 2^53 - 1",
        gone(case, GREATEST, &space, 10)?,
        [stored[2].id],
    )
}

fn expiry_at_time_zero_deletes_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        lasting(case, &space, 1, START, 0),
        lasting(case, &space, 2, START, GREATEST),
    ])?;
    equal("the ids expired at 0", gone(case, 0, &space, 10)?, [])?;
    case.holds("an entry with ttl 0 stays", &stored[0])
}

fn expiry_beyond_max_delete_is_complete(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..beyond(case))
        .map(|n| lasting(case, &space, n, START, 10))
        .collect();
    let stored = case.insert(&list)?;
    let before = case.version()?;
    equal(
        "the ids expired",
        gone(case, START + 10, &space, u32::MAX)?,
        ids(&stored),
    )?;
    equal("the count", case.count(Some(&space))?, 0)?;
    steps(case, before, stored.len() as u64, "delete-expired")
}

fn an_entry_that_expired_long_ago_is_whole_or_gone(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let past = case.put(Entry {
        last_accessed_at: 1,
        ..lasting(case, &a, 1, 1, 1)
    })?;
    let other = case.put(case.entry(&b, 2))?;
    // A backend with its own clock may have dropped it; then nothing may be left.
    let there = case.find(&past)?.is_some();
    if there {
        case.holds("an entry that is there is whole", &past)?;
    } else {
        case.lacks("an entry that is gone is gone", &past)?;
    }
    let rows = u64::from(there);
    let word = if there { "is there" } else { "is gone" };
    equal(
        &format!("the count, where the entry {word}"),
        case.count(Some(&a))?,
        rows,
    )?;
    equal(
        &format!("whether the namespace is listed, where the entry {word}"),
        case.list_namespaces()?.contains(&a),
        there,
    )?;
    equal(
        &format!("the least recently used, where the entry {word}"),
        case.lru(5, Some(&a))?.len() as u64,
        rows,
    )?;
    for (walk, found) in [
        ("iter-since", ids(&case.since(past.id - 1, 5)?)),
        ("iter-vectors", case.vectors(past.id - 1, 5)?.ids),
        ("iter-stamps", case.stamps(past.id - 1, 5)?.ids),
    ] {
        check(
            found.contains(&past.id) == there && found.contains(&other.id),
            format!("{walk} has the other entry, and agrees that the expired one {word}"),
            || {
                format!(
                    "it returned the ids {found:?}; the expired one is {}",
                    past.id
                )
            },
        )?;
    }
    let deleted = gone(case, START, &a, 10)?;
    let wanted: &[u64] = if there { &[past.id] } else { &[] };
    equal(
        &format!("what delete-expired finds, where the entry {word}"),
        &deleted[..],
        wanted,
    )
}
