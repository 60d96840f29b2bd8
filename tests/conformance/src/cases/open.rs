//! Opening, closing, and the embedder that the data was made with.

use crate::battery::{Spec, case};
use crate::calls::called;
use crate::case::Case;
use crate::check::{Checked, Kind, check, equal, failed, refused};
use crate::contract::{Error, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        opening_an_open_store_is_allowed,
        "open of an open store succeeds, and the data is there"
    ),
    case!(
        data_survives_close_and_open,
        "entries, ids, quotas and meta are there after close and open"
    ),
    case!(
        opening_moves_no_counter,
        "close and open leave the version counter where it was"
    ),
    case!(
        closing_twice_is_allowed,
        "close of a closed store does nothing"
    ),
    case!(closed closing_before_open_is_allowed, "close of a store that was never open does nothing"),
    case!(
        another_fingerprint_is_refused,
        "open with another fingerprint is embedder-mismatch, with both named"
    ),
    case!(
        fingerprints_are_compared_exactly,
        "fingerprints are compared byte for byte"
    ),
    case!(
        another_dimension_is_refused,
        "open with another dimension is embedder-dimension, with both named"
    ),
    case!(
        a_dimension_of_zero_is_refused,
        "open with dimension 0 is invalid-argument"
    ),
    case!(
        too_large_a_dimension_is_refused,
        "open with a dimension above 65,536 is invalid-argument"
    ),
    case!(
        a_refused_open_leaves_a_closed_store,
        "after a refused open the store is closed, even if it was open"
    ),
    case!(
        a_refused_open_changes_nothing,
        "after a refused open the right embedder finds all data"
    ),
    case!(
        a_store_can_be_opened_many_times,
        "a store works after many rounds of open and close"
    ),
];

fn opening_an_open_store_is_allowed(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entry = case.put(case.entry(&space, 1))?;
    case.open()?;
    case.holds("opening again keeps the entry", &entry)?;
    let next = case.put(case.entry(&space, 2))?;
    case.holds("a store opened twice takes entries", &next)
}

fn data_survives_close_and_open(case: &mut Case) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    let entries = case.insert(&case.entries(&space, 5))?;
    case.set_quota(&space, Some(7))?;
    case.replace_meta(&key, None, Some("v"))?;
    case.reopen()?;
    case.holds_all("the entry is as it was before close", &entries)?;
    equal("the count after open", case.count(Some(&space))?, 5)?;
    equal("the quota after open", case.quota(&space)?, Some(7))?;
    equal(
        "the meta value after open",
        case.meta(&key)?.as_deref(),
        Some("v"),
    )
}

fn opening_moves_no_counter(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    case.open()?;
    case.moved(before, 0, "open of an open store")?;
    case.reopen()?;
    case.moved(before, 0, "close and open")
}

fn closing_twice_is_allowed(case: &mut Case) -> Checked {
    case.close()?;
    case.close()?;
    case.open()?;
    case.close()
}

fn closing_before_open_is_allowed(case: &mut Case) -> Checked {
    case.close()?;
    case.open()
}

fn mismatch(case: &Case, given: &str) -> Checked {
    let expected = format!(
        "open with the fingerprint {given:?} returns embedder-mismatch with stored {:?}",
        case.fingerprint
    );
    match store::open(given, case.dim) {
        Err(Error::EmbedderMismatch(error))
            if error.stored == case.fingerprint && error.given == given =>
        {
            Ok(())
        }
        Err(error) => Err(failed(expected, show::error(&error))),
        Ok(()) => Err(failed(expected, "it succeeded")),
    }
}

fn another_fingerprint_is_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    mismatch(case, "another-embedder@1")
}

fn fingerprints_are_compared_exactly(case: &mut Case) -> Checked {
    case.close()?;
    let own = case.fingerprint.clone();
    let others = [
        format!("{own} "),
        format!(" {own}"),
        format!("{own}\0"),
        format!("{own}\u{301}"),
        own.to_uppercase(),
        String::new(),
    ];
    for other in others.iter().filter(|other| **other != own) {
        mismatch(case, other)?;
    }
    Ok(())
}

fn another_dimension_is_refused(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    case.close()?;
    for given in [case.dim - 1, case.dim + 1] {
        if !(1..=65_536).contains(&given) {
            continue;
        }
        let expected = format!(
            "open with the dimension {given} returns embedder-dimension with expected {}",
            case.dim
        );
        match store::open(&case.fingerprint, given) {
            Err(Error::EmbedderDimension(error))
                if error.expected == case.dim && error.actual == given => {}
            Err(error) => return Err(failed(expected, show::error(&error))),
            Ok(()) => return Err(failed(expected, "it succeeded")),
        }
    }
    Ok(())
}

fn a_dimension_of_zero_is_refused(case: &mut Case) -> Checked {
    case.close()?;
    let outcome = store::open(&case.fingerprint, 0);
    refused(
        "open with the dimension 0",
        outcome,
        &[Kind::InvalidArgument],
    )?;
    case.open()
}

fn too_large_a_dimension_is_refused(case: &mut Case) -> Checked {
    case.close()?;
    for dim in [65_537, u32::MAX] {
        let outcome = store::open(&case.fingerprint, dim);
        refused(
            &format!("open with the dimension {dim}"),
            outcome,
            &[Kind::InvalidArgument],
        )?;
    }
    case.open()
}

fn a_refused_open_leaves_a_closed_store(case: &mut Case) -> Checked {
    refused(
        "open of an open store with another fingerprint",
        store::open("another-embedder@1", case.dim),
        &[Kind::EmbedderMismatch],
    )?;
    refused(
        "count after a refused open",
        store::count(None),
        &[Kind::Closed],
    )?;
    refused(
        "open with another fingerprint",
        store::open("another-embedder@1", case.dim),
        &[Kind::EmbedderMismatch],
    )?;
    refused(
        "insert after a refused open",
        store::insert(&[]),
        &[Kind::Closed],
    )
}

fn a_refused_open_changes_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entries = case.insert(&case.entries(&space, 3))?;
    let before = case.version()?;
    case.close()?;
    mismatch(case, "another-embedder@1")?;
    called("open", store::open(&case.fingerprint, case.dim))?;
    case.holds_all("the entry is as it was before the refused open", &entries)?;
    case.moved(before, 0, "a refused open")?;
    let stored = case.meta("embedder_fingerprint")?;
    check(
        stored.as_deref() == Some(&case.fingerprint),
        "a refused open leaves the recorded fingerprint",
        || show::value(&stored),
    )
}

fn a_store_can_be_opened_many_times(case: &mut Case) -> Checked {
    let space = case.space("a");
    for round in 0..10 {
        case.put(case.entry(&space, round))?;
        case.reopen()?;
    }
    equal(
        "the count after ten rounds of insert, close and open",
        case.count(Some(&space))?,
        10,
    )
}
