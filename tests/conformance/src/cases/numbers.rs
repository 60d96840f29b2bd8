//! Times, durations and counts: exact up to 2^53 - 1, beyond that exact or refused.

use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST, START, reference};
use crate::cases::sizes::kept_or_refused;
use crate::check::{About, Checked, Kind, equal, failed, refused};
use crate::contract::{Entry, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        zeros_are_kept,
        "times, ttl and counts of 0 are kept, ttl 0 not being none"
    ),
    case!(
        great_numbers_are_kept_exactly,
        "times, ttl and counts up to 2^53 - 1 are kept exactly"
    ),
    case!(
        greater_numbers_are_kept_or_refused,
        "numbers from 2^53 on are kept exactly, or refused and nothing stored"
    ),
    case!(
        greater_quotas_are_kept_or_refused,
        "quotas from 2^53 on are kept exactly, or refused"
    ),
    case!(
        greater_times_of_touches_are_kept_or_refused,
        "touches at times from 2^53 on are kept exactly, or refused"
    ),
    case!(
        greater_times_are_no_trap_for_deletes,
        "delete-expired and delete-unchanged take or refuse any time"
    ),
];

fn zeros_are_kept(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&[
        Entry {
            created_at: 0,
            last_accessed_at: 0,
            access_count: 0,
            ..case.entry(&space, 1)
        },
        Entry {
            ttl: Some(0),
            access_count: 0,
            ..case.entry(&space, 2)
        },
    ])?;
    case.holds("times of 0 are kept", &stored[0])?;
    case.holds("a ttl of 0 is kept", &stored[1])?;
    equal(
        "the times by iter-stamps",
        case.stamps(stored[0].id - 1, 1)?.created_at,
        [0],
    )
}

/// A field of an entry, and how it is set.
type Field = (&'static str, fn(&mut Entry, u64));

const NUMBERS: [Field; 4] = [
    ("created-at", |entry, value| entry.created_at = value),
    ("last-accessed-at", |entry, value| {
        entry.last_accessed_at = value
    }),
    ("ttl", |entry, value| entry.ttl = Some(value)),
    ("access-count", |entry, value| entry.access_count = value),
];

fn great_numbers_are_kept_exactly(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut n = 0;
    for value in [
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 52) + 1,
        GREATEST - 1,
        GREATEST,
    ] {
        for (field, set) in NUMBERS {
            // A ttl that ends too soon may be cut short by a backend's own clock.
            let mut entry = Entry {
                created_at: START,
                ..case.entry(&space, n)
            };
            set(&mut entry, value);
            let stored = case.put(entry)?;
            case.holds("it is kept exactly", &stored)
                .about(|| format!("{field} {value}"))?;
            n += 1;
        }
    }
    let all = GREATEST;
    let stored = case.put(Entry {
        created_at: all,
        last_accessed_at: all,
        ttl: Some(all),
        access_count: all,
        ..case.entry(&space, n)
    })?;
    case.holds("all numbers of 2^53 - 1 are kept exactly", &stored)?;
    let last = case
        .lru(100, Some(&space))?
        .last()
        .map(|one| (one.id, one.created_at));
    equal(
        "the most recently used, by the greatest time",
        last,
        Some((stored.id, all)),
    )
}

/// Numbers that a store may refuse.
const GREATER: [u64; 6] = [
    GREATEST + 1,
    GREATEST + 2,
    i64::MAX as u64,
    1 << 63,
    (1 << 63) + 1,
    u64::MAX,
];

fn greater_numbers_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut n = 0;
    for value in GREATER {
        for (field, set) in NUMBERS {
            let mut entry = Entry {
                created_at: START,
                ..case.entry(&space, n)
            };
            set(&mut entry, value);
            kept_or_refused(case, &format!("insert of {field} {value}"), entry)?;
            n += 1;
        }
    }
    let next = case.put(case.entry(&space, n))?;
    case.holds("the store takes the next entry", &next)
}

fn greater_quotas_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.set_quota(&space, Some(7))?;
    let mut present = 7;
    for value in GREATER {
        match store::set_namespace_quota(&space, Some(value)) {
            Ok(()) => present = value,
            Err(error) => refused(
                &format!("set-namespace-quota to {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        equal(
            &format!("the quota after it was set to {value} or refused"),
            case.quota(&space)?,
            Some(present),
        )?;
    }
    Ok(())
}

fn greater_times_of_touches_are_kept_or_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut other = case.put(case.entry(&space, 1))?;
    let mut stored = case.put(case.entry(&space, 2))?;
    for value in GREATER {
        let touches = [
            Touch {
                id: other.id,
                hits: 1,
                last_accessed_at: 0,
            },
            Touch {
                id: stored.id,
                hits: 1,
                last_accessed_at: value,
            },
        ];
        match store::update_access(&touches) {
            Ok(()) => {
                other.access_count += 1;
                stored.access_count += 1;
                stored.last_accessed_at = stored.last_accessed_at.max(value);
            }
            Err(error) => refused(
                &format!("a touch at {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        for entry in [&stored, &other] {
            case.holds("it is kept exactly, or nothing changed", entry)
                .about(|| format!("a touch at {value}"))?;
        }
    }
    Ok(())
}

fn greater_times_are_no_trap_for_deletes(case: &mut Case) -> Checked {
    let space = case.space("a");
    for value in GREATER {
        let stored = case.put(Entry {
            created_at: START,
            ttl: Some(5),
            ..case.entry(&space, 1)
        })?;
        match store::delete_expired(value, Some(&space), 10) {
            Ok(gone) => {
                let gone: Vec<_> = gone.iter().map(|one| one.id).collect();
                equal(&format!("the ids expired at {value}"), gone, [stored.id])?;
            }
            Err(error) => {
                refused(
                    &format!("delete-expired at {value}, if it is refused,"),
                    Err::<(), _>(error),
                    &[Kind::InvalidArgument],
                )?;
                case.holds("the entry stays after a refusal", &stored)?;
            }
        }
        let kept = case.put(case.entry(&space, 2))?;
        let mut named = reference(&kept);
        named.created_at = value;
        match store::delete_unchanged(&[named]) {
            Ok(deleted) if deleted.is_empty() => {}
            Ok(deleted) => {
                return Err(failed(
                    format!(
                        "delete-unchanged of version {value}, which is not stored, deletes nothing"
                    ),
                    format!("it deleted {deleted:?}"),
                ));
            }
            Err(error) => refused(
                &format!("delete-unchanged of version {value}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?,
        }
        case.holds("an entry of another version stays", &kept)?;
    }
    Ok(())
}
