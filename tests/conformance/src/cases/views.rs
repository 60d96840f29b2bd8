//! Reading one instant. A store that cannot do that answers `false`, and goes on reading
//! what is there.

use crate::battery::{Spec, case, phases};
use crate::case::{Case, START, ids, references};
use crate::check::{Checked, equal, same_entries};
use crate::contract::{Entry, Touch};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_view_shows_the_data,
        "in a view every operation answers as before it"
    ),
    case!(
        ending_no_view_is_allowed,
        "end-view without begin-view does nothing"
    ),
    case!(
        a_new_view_ends_the_one_before,
        "begin-view in a view takes up what is there by then"
    ),
    case!(a_view_does_not_outlive_close, "close ends a view"),
    phases!(needs Shared, a_view_holds_still, "in a view nothing of what another store writes is read",
        [Fresh => begin, Beside => change, Back => read_as_begun]),
    phases!(needs Shared, an_ended_view_shows_what_was_written, "after end-view the data is read as it is by then",
        [Fresh => begin, Beside => change, Back => read_as_changed]),
];

fn a_view_shows_the_data(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 5))?;
    let last_id = stored[0].id - 1;
    let before = case.picture(last_id)?;
    case.begin_view()?;
    case.unchanged("in a view", last_id, &before)?;
    case.holds_all("in a view the entry is there", &stored)?;
    equal("integrity-check in a view", case.integrity()?, true)?;
    case.end_view()?;
    case.unchanged("after a view", last_id, &before)?;
    let next = case.put(case.entry(&space, 9))?;
    case.holds("after a view entries are taken", &next)
}

fn ending_no_view_is_allowed(case: &mut Case) -> Checked {
    case.end_view()?;
    case.begin_view()?;
    case.end_view()?;
    case.end_view()
}

fn a_new_view_ends_the_one_before(case: &mut Case) -> Checked {
    let space = case.space("a");
    let first = case.put(case.entry(&space, 0))?;
    let able = case.begin_view()?;
    equal("begin-view in a view", case.begin_view()?, able)?;
    case.holds("in the second view the entry is there", &first)?;
    case.end_view()?;
    let second = case.put(case.entry(&space, 1))?;
    equal("begin-view after a view", case.begin_view()?, able)?;
    case.holds("a view shows what was written before it", &second)?;
    equal("the count in a view", case.count(Some(&space))?, 2)?;
    case.end_view()
}

fn a_view_does_not_outlive_close(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 0))?;
    case.begin_view()?;
    equal("the count in a view", case.count(Some(&space))?, 1)?;
    case.reopen()?;
    let next = case.put(case.entry(&space, 1))?;
    case.holds("after close and open the data is read as it is", &next)?;
    equal("the count after close", case.count(Some(&space))?, 2)
}

/// Inserts some entries, and begins a view.
fn begin(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("k"));
    let stored = case.insert(&case.entries(&space, 4))?;
    case.note_numbers("ids", &ids(&stored))?;
    case.set_quota(&space, Some(5))?;
    case.replace_meta(&key, None, Some("old"))?;
    let able = case.begin_view()?;
    case.end_view()?;
    let version = case.version()?;
    case.note_numbers("able", &[u64::from(able), version])?;
    equal("begin-view, another time", case.begin_view()?, able)?;
    // The instant may be that of the first read.
    equal("the count", case.count(Some(&space))?, 4)
}

/// The entries that [`begin`] wrote.
fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let ids = case.noted_numbers("ids")?.into_iter();
    let entries = case.entries(&space, 4).into_iter().zip(ids);
    Ok(entries.map(|(entry, id)| Entry { id, ..entry }).collect())
}

/// What is there after [`change`], but for the entry inserted.
fn changed(case: &Case, stored: &[Entry]) -> [Entry; 3] {
    let replaced = Entry {
        response: "replaced".to_owned(),
        embedding: case.vector(77),
        created_at: START + 500,
        ..stored[1].clone()
    };
    let touched = Entry {
        access_count: stored[2].access_count + 3,
        last_accessed_at: START + 9_000,
        ..stored[2].clone()
    };
    [replaced, stored[3].clone(), touched]
}

fn change(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("k"));
    let stored = sample(case)?;
    let [replaced, _, _] = changed(case, &stored);
    case.put(replaced)?;
    case.touch(&[Touch {
        id: stored[2].id,
        hits: 3,
        last_accessed_at: START + 9_000,
    }])?;
    equal("delete-by-id", case.delete(stored[0].id)?, true)?;
    case.put(Entry {
        last_accessed_at: START + 10_000,
        ..case.entry(&space, 100)
    })?;
    case.set_quota(&space, Some(6))?;
    let done = case.replace_meta(&key, Some("old"), Some("new"))?;
    equal("replace-meta beside a view", done, true)
}

fn read_as_begun(case: &mut Case) -> Checked {
    let able = case.noted_numbers("able")?[0] == 1;
    if !able {
        return read_as_changed(case);
    }
    let (space, key) = (case.space("a"), case.key("k"));
    let version = case.noted_numbers("able")?[1];
    let stored = sample(case)?;
    let last_id = stored[0].id - 1;
    case.holds_all("in a view the entry is as it was", &stored)?;
    let page = case.since(last_id, 20)?;
    same_entries("iter-since in a view", &page, &stored)?;
    equal(
        "the ids by iter-stamps",
        case.stamps(last_id, 20)?.ids,
        ids(&stored),
    )?;
    let vectors: Vec<f32> = stored.iter().flat_map(|e| e.embedding.clone()).collect();
    equal(
        "iter-vectors in a view",
        case.vectors(last_id, 20)?.vectors,
        vectors,
    )?;
    equal(
        "the least recently used in a view",
        case.lru(9, Some(&space))?,
        references(&stored),
    )?;
    equal("the count in a view", case.count(Some(&space))?, 4)?;
    equal("the counter in a view", case.version()?, version)?;
    equal("the quota in a view", case.quota(&space)?, Some(5))?;
    let listed = (space.clone(), 5);
    equal(
        "whether the old quota is listed in a view",
        case.quotas()?.contains(&listed),
        true,
    )?;
    equal(
        "the meta value in a view",
        case.meta(&key)?.as_deref(),
        Some("old"),
    )?;
    let listed = (key, "old".to_owned());
    equal(
        "whether the old meta value is listed in a view",
        case.own_meta()?.contains(&listed),
        true,
    )
}

fn read_as_changed(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("k"));
    case.end_view()?;
    let version = case.noted_numbers("able")?[1];
    let stored = sample(case)?;
    let new = case.with_ids(&[Entry {
        last_accessed_at: START + 10_000,
        ..case.entry(&space, 100)
    }])?;
    let [replaced, kept, touched] = changed(case, &stored);
    let wanted = [replaced, touched, kept, new[0].clone()];
    case.lacks(
        "what was deleted beside a view is gone after it",
        &stored[0],
    )?;
    let page = case.since(stored[0].id - 1, 20)?;
    same_entries("iter-since after a view", &page, &wanted)?;
    equal("the count after a view", case.count(Some(&space))?, 4)?;
    case.moved(version, 3, "what was written beside a view")?;
    equal("the quota after a view", case.quota(&space)?, Some(6))?;
    equal(
        "the meta value after a view",
        case.meta(&key)?.as_deref(),
        Some("new"),
    )?;
    let next = case.put(case.entry(&space, 101))?;
    case.holds("after a view entries are taken", &next)
}
