//! What an import refuses. It is over then, and nothing of it is there.

use super::import_steps::no_import;
use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{Checked, Kind, Stop, equal, failed, refused};
use crate::contract::{Entry, Error, ImportMode, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_pair_twice_in_a_list_ends_an_import,
        "a namespace and hash that come twice in one write-import are checkpoint"
    ),
    case!(
        a_pair_twice_in_an_import_ends_it,
        "a namespace and hash that come in two calls of write-import are checkpoint"
    ),
    case!(
        a_wrong_vector_ends_an_import,
        "a vector of another length is embedder-dimension, with both lengths"
    ),
    case!(
        too_long_a_list_ends_an_import,
        "write-import of more than max-batch is invalid-argument"
    ),
    case!(
        a_failed_import_leaves_what_was_there,
        "the data is as it was, and the next import brings what the failed one had"
    ),
];

/// A list of two entries that an import has already, one that is there, and one that is new.
fn begin(case: &mut Case) -> Checked<(String, Vec<Entry>)> {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 1))?;
    case.begin_import(ImportMode::Merge)?;
    let written = [case.entry(&space, 10), case.entry(&space, 0)];
    case.write_import(&written)?;
    Ok((space, stored))
}

/// Fails unless the import is over and only `stored` is there.
fn over(case: &mut Case, after: &str, space: &str, stored: &[Entry]) -> Checked {
    no_import(case, &format!("after {after}"))?;
    case.holds_all(&format!("the entry stays after {after}"), stored)?;
    equal(
        &format!("the count after {after}"),
        case.count(Some(space))?,
        stored.len() as u64,
    )
}

fn a_pair_twice_in_a_list_ends_an_import(case: &mut Case) -> Checked {
    case.needs_batch(3)?;
    let (space, stored) = begin(case)?;
    let twin = Entry {
        response: "twin".to_owned(),
        ..case.entry(&space, 20)
    };
    let list = [case.entry(&space, 20), case.entry(&space, 21), twin];
    refused(
        "write-import of a pair that comes twice",
        store::write_import(&list),
        &[Kind::Checkpoint],
    )?;
    over(case, "a pair that came twice", &space, &stored)
}

fn a_pair_twice_in_an_import_ends_it(case: &mut Case) -> Checked {
    // A pair that is in the store too, and one that is not.
    for n in [0, 10] {
        let (space, stored) = begin(case)?;
        refused(
            "write-import of a pair that the import has",
            store::write_import(&[case.entry(&space, n)]),
            &[Kind::Checkpoint],
        )?;
        over(case, "a pair that came twice", &space, &stored)?;
    }
    Ok(())
}

fn a_wrong_vector_ends_an_import(case: &mut Case) -> Checked {
    case.needs_batch(2)?;
    let right = case.dim as usize;
    for values in [right - 1, right + 1, 0] {
        let (space, stored) = begin(case)?;
        let mut wrong = case.entry(&space, 21);
        wrong.embedding.resize(values, 0.0);
        let expected = format!(
            "write-import of a vector of {values} values returns embedder-dimension with expected {right} and actual {values}"
        );
        match store::write_import(&[case.entry(&space, 20), wrong]) {
            Err(Error::EmbedderDimension(error))
                if error.expected as usize == right && error.actual as usize == values => {}
            Err(error) => return Err(failed(expected, show::error(&error))),
            Ok(()) => return Err(failed(expected, "it succeeded")),
        }
        over(case, "a wrong vector", &space, &stored)?;
    }
    Ok(())
}

fn too_long_a_list_ends_an_import(case: &mut Case) -> Checked {
    let most = case.capabilities.max_batch;
    if most > 2_000 {
        return Err(Stop::Skipped(format!(
            "the store takes {most} entries a call, and the case tries up to 2000"
        )));
    }
    let (space, stored) = begin(case)?;
    let list: Vec<_> = (100..=100 + u64::from(most))
        .map(|n| case.entry(&space, n))
        .collect();
    refused(
        &format!("write-import of {} entries", list.len()),
        store::write_import(&list),
        &[Kind::InvalidArgument],
    )?;
    over(case, "too long a list", &space, &stored)
}

fn a_failed_import_leaves_what_was_there(case: &mut Case) -> Checked {
    let (space, stored) = begin(case)?;
    let last_id = stored[0].id - 1;
    let before = case.picture(last_id)?;
    let list = [case.entry(&space, 10), case.entry(&space, 30)];
    // That it fails is the affair of another case.
    let _ = store::write_import(&list[..1]);
    let _ = store::commit_import(&[], &[]);
    case.unchanged("after a failed import", last_id, &before)?;
    let imported = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the next import brings its entries", &imported)?;
    equal("the count", case.count(Some(&space))?, 3)
}
