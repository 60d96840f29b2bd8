//! Large entries: kept up to some hundred kilobytes, beyond that kept or refused.

use crate::battery::{Spec, case};
use crate::case::{Case, START};
use crate::check::{Checked, Kind, check, equal, refused, same_entries};
use crate::contract::{Entry, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_response_of_many_kilobytes_is_kept,
        "a response of 300,000 bytes is kept and read by every operation"
    ),
    case!(
        a_query_of_many_kilobytes_is_kept,
        "a query of 200,000 bytes is kept"
    ),
    case!(
        metadata_of_many_kilobytes_is_kept,
        "metadata of 60,000 bytes is kept"
    ),
    case!(
        a_response_of_a_megabyte_is_kept_or_refused,
        "a response of 1 MB is kept, or refused and nothing stored"
    ),
    case!(
        a_response_of_four_megabytes_is_kept_or_refused,
        "a response of 4 MB is kept, or refused and nothing stored"
    ),
    case!(
        a_refused_replacement_leaves_the_entry,
        "where a huge replacement is refused, the old entry stays"
    ),
];

/// This many bytes, or fewer where the vectors take much of what an entry may hold.
fn room(case: &Case, bytes: usize) -> usize {
    bytes.min(360_000_usize.saturating_sub(case.dim as usize * 4))
}

fn large_entry_is_kept(
    case: &mut Case,
    change: fn(Entry, String) -> Entry,
    bytes: usize,
) -> Checked {
    let space = case.space("a");
    let text = case.long_text(1, room(case, bytes));
    let stored = case.put(change(case.entry(&space, 1), text))?;
    let small = case.put(case.entry(&space, 2))?;
    case.holds("the large entry is as it was inserted", &stored)?;
    let page = case.since(stored.id - 1, 2)?;
    same_entries(
        "iter-since: both entries are as they were inserted",
        &page,
        &[stored.clone(), small],
    )?;
    case.touch(&[Touch {
        id: stored.id,
        hits: 1,
        last_accessed_at: START,
    }])?;
    let touched = Entry {
        access_count: stored.access_count + 1,
        ..stored
    };
    case.holds("the large entry is as it was, after a touch", &touched)
}

fn a_response_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(case, |entry, response| Entry { response, ..entry }, 300_000)
}

fn a_query_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(case, |entry, query| Entry { query, ..entry }, 200_000)
}

fn metadata_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    large_entry_is_kept(
        case,
        |entry, text| Entry {
            metadata: format!("{{\"t\":\"{}\"}}", text.replace('\n', "\\n")),
            ..entry
        },
        60_000,
    )
}

/// Inserts an entry that a store may refuse. True where it was taken.
pub fn kept_or_refused(case: &mut Case, doing: &str, entry: Entry) -> Checked<bool> {
    case.namespaces.insert(entry.namespace.clone());
    let before = case.version()?;
    let count = case.count(Some(&entry.namespace))?;
    let present = case.find(&entry)?;
    match store::insert(std::slice::from_ref(&entry)) {
        Ok(inserted) => {
            let id = inserted.first().map_or(0, |one| one.id);
            case.holds(
                &format!("{doing} was taken, and is kept exactly"),
                &Entry { id, ..entry },
            )?;
            Ok(true)
        }
        Err(error) => {
            refused(
                &format!("{doing}, if it is refused,"),
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?;
            case.moved(before, 0, &format!("{doing}, being refused,"))?;
            let after = case.find(&entry)?;
            check(
                after == present,
                format!("{doing}, being refused, changes nothing"),
                || "another entry is under its key".to_owned(),
            )?;
            equal(
                "the count after a refusal",
                case.count(Some(&entry.namespace))?,
                count,
            )?;
            Ok(false)
        }
    }
}

fn huge_response(case: &mut Case, bytes: usize) -> Checked {
    let space = case.space("a");
    let response = case.long_text(1, bytes);
    let doing = format!("insert of a response of {bytes} bytes");
    kept_or_refused(
        case,
        &doing,
        Entry {
            response,
            ..case.entry(&space, 1)
        },
    )?;
    let next = case.put(case.entry(&space, 2))?;
    case.holds("the store takes the next entry", &next)
}

fn a_response_of_a_megabyte_is_kept_or_refused(case: &mut Case) -> Checked {
    huge_response(case, 1 << 20)
}

fn a_response_of_four_megabytes_is_kept_or_refused(case: &mut Case) -> Checked {
    huge_response(case, 4 << 20)
}

fn a_refused_replacement_leaves_the_entry(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    let huge = Entry {
        response: case.long_text(1, 2 << 20),
        ..stored[0].clone()
    };
    if case.capabilities.max_batch < 2 {
        return kept_or_refused(case, "a replacement with 2 MB", huge).map(|_| ());
    }
    // A small replacement in the same list must not be stored either.
    let small = Entry {
        response: "new".to_owned(),
        ..stored[1].clone()
    };
    match store::insert(&[small.clone(), huge.clone()]) {
        Ok(_) => {
            case.holds("the small replacement was taken", &small)?;
            case.holds("the huge replacement was taken, and is kept exactly", &huge)
        }
        Err(error) => {
            refused(
                "a replacement with 2 MB, if it is refused,",
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?;
            case.holds("the small entry is as it was after a refusal", &stored[1])?;
            case.holds("the entry is as it was after a refusal", &stored[0])
        }
    }
}
