//! A call that fails leaves nothing of itself behind, and a store that works.

use crate::battery::{Spec, case};
use crate::case::{Case, references};
use crate::check::{Checked, Kind, check, equal, failed, refused, same_entries};
use crate::contract::{Entry, Error, ImportMode, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_vector_too_short_is_refused,
        "insert of a vector that is too short is embedder-dimension, with both lengths"
    ),
    case!(
        a_vector_too_long_is_refused,
        "insert of a vector that is too long is embedder-dimension, with both lengths"
    ),
    case!(
        a_vector_without_values_is_refused,
        "insert of an empty vector is embedder-dimension"
    ),
    case!(
        a_wrong_vector_at_the_end_stores_nothing,
        "a list whose last vector is wrong stores nothing of itself"
    ),
    case!(
        a_wrong_vector_in_the_middle_stores_nothing,
        "a list with a wrong vector amid right ones stores nothing"
    ),
    case!(
        a_failed_insert_replaces_nothing,
        "a list that fails leaves the rows it would have replaced"
    ),
    case!(
        a_failed_insert_makes_no_namespace,
        "a list that fails lists no namespace"
    ),
    case!(
        a_store_works_after_errors,
        "after errors of every kind all operations work"
    ),
];

fn wrong(case: &Case, namespace: &str, n: u64, values: usize) -> Entry {
    let mut embedding = case.vector(n);
    embedding.resize(values, 0.0);
    Entry {
        embedding,
        ..case.entry(namespace, n)
    }
}

fn wrong_is_refused(case: &mut Case, values: usize) -> Checked {
    let space = case.space("a");
    let before = case.version()?;
    let entry = wrong(case, &space, 1, values);
    let expected = format!(
        "insert of a vector of {values} values returns embedder-dimension with expected {} and actual {values}",
        case.dim
    );
    match store::insert(&[entry]) {
        Err(Error::EmbedderDimension(error))
            if error.expected == case.dim && error.actual as usize == values => {}
        Err(error) => return Err(failed(expected, show::error(&error))),
        Ok(inserted) => return Err(failed(expected, format!("it succeeded: {inserted:?}"))),
    }
    equal(
        "the count after a refused vector",
        case.count(Some(&space))?,
        0,
    )?;
    case.moved(before, 0, "a refused vector")
}

fn a_vector_too_short_is_refused(case: &mut Case) -> Checked {
    wrong_is_refused(case, case.dim as usize - 1)
}

fn a_vector_too_long_is_refused(case: &mut Case) -> Checked {
    wrong_is_refused(case, case.dim as usize + 1)?;
    wrong_is_refused(case, case.dim as usize * 2)
}

fn a_vector_without_values_is_refused(case: &mut Case) -> Checked {
    wrong_is_refused(case, 0)
}

/// Inserts a list with a wrong vector at some place, and looks for traces of it.
fn nothing_is_stored(case: &mut Case, entries: u64, place: usize) -> Checked {
    case.needs_batch(entries as u32)?;
    let space = case.space("a");
    let known = case.insert(&case.entries(&space, 1))?;
    let before = case.version()?;
    let mut list: Vec<_> = (10..10 + entries).map(|n| case.entry(&space, n)).collect();
    list[place] = wrong(case, &space, 99, case.dim as usize + 1);
    refused(
        "insert of a list with a wrong vector",
        store::insert(&list),
        &[Kind::EmbedderDimension],
    )?;
    case.moved(before, 0, "an insert that failed")?;
    equal("the count", case.count(Some(&space))?, 1)?;
    let page = case.since(known[0].id - 1, 20)?;
    same_entries("iter-since has only what was there before", &page, &known)?;
    equal(
        "the least recently used",
        case.lru(20, Some(&space))?,
        references(&known),
    )?;
    for entry in &list {
        let found = case.find(entry)?;
        check(
            found.is_none(),
            "nothing of a list that failed is found",
            || show::value(&found),
        )?;
    }
    Ok(())
}

fn a_wrong_vector_at_the_end_stores_nothing(case: &mut Case) -> Checked {
    nothing_is_stored(case, 4, 3)
}

fn a_wrong_vector_in_the_middle_stores_nothing(case: &mut Case) -> Checked {
    nothing_is_stored(case, 7, 3)?;
    nothing_is_stored(case, 7, 0)
}

fn a_failed_insert_replaces_nothing(case: &mut Case) -> Checked {
    case.needs_batch(3)?;
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    let list = [
        Entry {
            response: "new".to_owned(),
            ..stored[0].clone()
        },
        Entry {
            embedding: Vec::new(),
            ..stored[1].clone()
        },
        Entry {
            response: "new".to_owned(),
            ..stored[2].clone()
        },
    ];
    refused(
        "insert of a list with a wrong vector",
        store::insert(&list),
        &[Kind::EmbedderDimension],
    )?;
    for entry in &stored {
        case.holds(
            "the entry is as it was before the insert that failed",
            entry,
        )?;
    }
    Ok(())
}

fn a_failed_insert_makes_no_namespace(case: &mut Case) -> Checked {
    case.needs_batch(2)?;
    let (a, b) = (case.space("a"), case.space("b"));
    let list = [case.entry(&a, 1), wrong(case, &b, 2, 0)];
    refused(
        "insert of a list with a wrong vector",
        store::insert(&list),
        &[Kind::EmbedderDimension],
    )?;
    let listed = case.list_namespaces()?;
    let traces: Vec<_> = [a, b]
        .into_iter()
        .filter(|name| listed.contains(name))
        .collect();
    equal(
        "the namespaces listed of an insert that failed",
        traces,
        [""; 0],
    )
}

fn a_store_works_after_errors(case: &mut Case) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    let stored = case.insert(&case.entries(&space, 3))?;
    // That these fail is the affair of other cases.
    let _ = store::insert(&[wrong(case, &space, 9, 0)]);
    let _ = store::replace_meta("schema_version", None, Some("9"));
    let _ = store::read_snapshot(10);
    let _ = store::write_restore(b"x");
    let _ = store::commit_restore(false);
    let _ = store::commit_import(&[], &[]);
    let _ = store::begin_import(ImportMode::Merge);
    let _ = store::write_import(&[wrong(case, &space, 9, 0)]);
    case.holds_all("the entry is as it was", &stored)?;
    let next = case.put(case.entry(&space, 5))?;
    case.holds("a new entry is taken", &next)?;
    equal("delete-by-id", case.delete(stored[0].id)?, true)?;
    equal(
        "replace-meta",
        case.replace_meta(&key, None, Some("v"))?,
        true,
    )?;
    case.set_quota(&space, Some(3))?;
    equal("the quota", case.quota(&space)?, Some(3))?;
    equal("the count", case.count(Some(&space))?, 3)?;
    equal("integrity-check", case.integrity()?, true)
}
