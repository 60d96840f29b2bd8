//! What `select` finds after each kind of write, through any store, and in a view.

use super::restores::restore;
use super::select::{selects, selects_from};
use super::snapshots::take;
use crate::battery::{Spec, case, phases};
use crate::case::{Case, START, any, ids, owned, reference, references, tagged, within};
use crate::check::{Checked, equal};
use crate::contract::{Entry, Filter, ImportMode, Touch};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_replacement_moves_between_filters,
        "a replaced entry is found by its new tags, context and time only"
    ),
    case!(
        a_replacement_without_tags_is_found_by_none,
        "tags that were taken away find nothing, and the others still do"
    ),
    case!(
        deleted_entries_are_not_selected,
        "no kind of delete leaves an entry to be found"
    ),
    case!(
        a_pair_stored_again_has_its_new_tags_only,
        "what was deleted does not lend its tags to the next entry of its pair"
    ),
    case!(
        expired_entries_are_selected_until_deleted,
        "an entry whose lifetime is over is found as long as it is there"
    ),
    case!(touches_change_no_selection, "update-access moves no entry"),
    case!(
        merged_entries_are_selected,
        "imported entries are found, those that they replace no longer"
    ),
    case!(
        a_replacing_import_leaves_nothing_else_to_select,
        "after an import of everything nothing else is found"
    ),
    case!(
        restored_entries_are_selected,
        "after a restore the entries of the snapshot are found, and no other ones"
    ),
    case!(
        selections_stay_after_close_and_open,
        "the same entries are found after close and open"
    ),
    phases!(needs Durable, selections_survive_a_drop, "a new store finds the same entries",
        [Fresh => write_and_change, Fresh => read_changed]),
    phases!(needs Shared, select_sees_what_another_store_wrote, "a store that is open finds what another one inserts, replaces and deletes",
        [Fresh => write_and_select, Beside => change, Back => read_changed]),
    phases!(needs Shared, select_in_a_view_holds_still, "in a view the entries of its instant are found",
        [Fresh => write_and_begin_view, Beside => change, Back => select_in_view]),
];

/// Filters of which each tag, context, namespace and time of the entries below is part.
fn filters(case: &mut Case) -> Vec<Filter> {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut filters = vec![any(), within(&a), within(&b)];
    for tags in [&["tag:0"][..], &["tag:1"], &["tag:2", "tag:0"], &["new"]] {
        filters.push(tagged(tags));
        filters.push(Filter {
            tags: owned(tags),
            ..within(&a)
        });
    }
    for context in ["", "Context 1 of ünequal", "Context 2 of ünequal", "new"] {
        filters.push(Filter {
            context: Some(context.to_owned()),
            ..any()
        });
    }
    filters.push(Filter {
        created_from: Some(START + 500),
        ..any()
    });
    filters.push(Filter {
        created_before: Some(START + 500),
        ..any()
    });
    filters
}

/// Fails unless every filter finds what it should of the entries, which are all of the case.
fn all_select(case: &mut Case, first: u64, stored: &[Entry]) -> Checked {
    let filters = filters(case);
    filters
        .iter()
        .try_for_each(|filter| selects_from(case, first, filter, stored))
}

fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 8);
    list.extend(case.entries(&b, 4));
    case.insert(&list)
}

fn a_replacement_moves_between_filters(case: &mut Case) -> Checked {
    let mut stored = sample(case)?;
    for place in [1, 2, 3, 9, 2] {
        let new = Entry {
            context: "new".to_owned(),
            tags: owned(&["new", "tag:2"]),
            created_at: START + 500 + place as u64,
            ..stored[place].clone()
        };
        stored[place] = case.put(new)?;
        all_select(case, stored[0].id, &stored)?;
    }
    // And back.
    let space = case.space("a");
    stored[2] = case.put(case.entry(&space, 2))?;
    all_select(case, stored[0].id, &stored)
}

fn a_replacement_without_tags_is_found_by_none(case: &mut Case) -> Checked {
    let mut stored = sample(case)?;
    for place in [3, 7] {
        stored[place].tags.clear();
        stored[place] = case.put(stored[place].clone())?;
        all_select(case, stored[0].id, &stored)?;
    }
    Ok(())
}

fn deleted_entries_are_not_selected(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut stored = sample(case)?;
    let first = stored[0].id;
    let dying = case.put(Entry {
        ttl: Some(10),
        created_at: START,
        ..case.entry(&a, 3)
    })?;
    stored[3] = dying.clone();
    all_select(case, first, &stored)?;

    equal("delete-by-id", case.delete(stored[2].id)?, true)?;
    stored.remove(2);
    all_select(case, first, &stored)?;

    let named = references(&[stored[1].clone(), stored[6].clone()]);
    case.delete_unchanged(&named)?;
    stored.remove(6);
    stored.remove(1);
    all_select(case, first, &stored)?;

    let gone = case.delete_expired(START + 10, Some(&a), 10)?;
    equal("delete-expired", gone, [reference(&dying)])?;
    stored.retain(|entry| entry.id != dying.id);
    all_select(case, first, &stored)?;

    case.clear(&a)?;
    stored.retain(|entry| entry.namespace == b);
    all_select(case, first, &stored)?;

    case.clear(&b)?;
    all_select(case, first, &[])
}

fn a_pair_stored_again_has_its_new_tags_only(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let stored = sample(case)?;
    let first = stored[0].id;
    case.delete(stored[3].id)?;
    case.clear(&b)?;
    let bare = |entry: Entry| Entry {
        context: "new".to_owned(),
        tags: owned(&["new"]),
        ..entry
    };
    let mut now: Vec<_> = stored[..8].to_vec();
    now.remove(3);
    now.push(case.put(bare(case.entry(&a, 3)))?);
    now.extend(case.insert(&[bare(case.entry(&b, 1)), case.entry(&b, 2)])?);
    all_select(case, first, &now)
}

fn expired_entries_are_selected_until_deleted(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..6)
        .map(|n| Entry {
            ttl: (n % 2 == 1).then_some(n / 2),
            ..case.entry(&space, n)
        })
        .collect();
    let mut stored = case.insert(&list)?;
    let first = stored[0].id;
    all_select(case, first, &stored)?;
    // That of which the lifetime is 0, and one more.
    case.delete_expired(START + 4, Some(&space), 10)?;
    stored.remove(3);
    stored.remove(1);
    all_select(case, first, &stored)
}

fn touches_change_no_selection(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let touches: Vec<_> = [7, 3, 0, 11]
        .into_iter()
        .map(|place: usize| Touch {
            id: stored[place].id,
            hits: 4,
            last_accessed_at: START + 9_000 - place as u64,
        })
        .collect();
    case.touch(&touches)?;
    all_select(case, stored[0].id, &stored)
}

/// What the imports below bring: two replacements, and two new entries.
fn to_import(case: &mut Case) -> Vec<Entry> {
    let (a, b) = (case.space("a"), case.space("b"));
    vec![
        Entry {
            context: "new".to_owned(),
            tags: owned(&["new"]),
            created_at: START + 600,
            ..case.entry(&a, 3)
        },
        Entry {
            tags: Vec::new(),
            ..case.entry(&a, 2)
        },
        case.entry(&a, 15),
        Entry {
            tags: owned(&["new", "tag:0"]),
            ..case.entry(&b, 20)
        },
    ]
}

fn merged_entries_are_selected(case: &mut Case) -> Checked {
    let mut stored = sample(case)?;
    let list = to_import(case);
    let new = case.import(ImportMode::Merge, &list)?;
    stored.retain(|entry| new.iter().all(|new| new.id != entry.id));
    stored.extend(new);
    all_select(case, stored[0].id, &stored)
}

fn a_replacing_import_leaves_nothing_else_to_select(case: &mut Case) -> Checked {
    case.needs_new_store()?;
    let first = sample(case)?[0].id;
    let list = to_import(case);
    let new = case.import(ImportMode::Replace, &list)?;
    all_select(case, first, &new)
}

fn restored_entries_are_selected(case: &mut Case) -> Checked {
    case.needs_snapshots()?;
    case.needs_empty_store()?;
    let stored = sample(case)?;
    let bytes = take()?;
    let list = to_import(case);
    case.insert(&list)?;
    case.delete(stored[7].id)?;
    restore(&bytes, 20_000)?;
    all_select(case, stored[0].id, &stored)
}

fn selections_stay_after_close_and_open(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.reopen()?;
    all_select(case, stored[0].id, &stored)
}

// Of several stores.

/// Inserts the sample, and notes the ids.
fn write(case: &mut Case) -> Checked<Vec<Entry>> {
    let stored = sample(case)?;
    case.note_numbers("ids", &ids(&stored))?;
    Ok(stored)
}

/// Inserts the sample, and reads it, so that a store that keeps what it read has something to
/// keep.
fn write_and_select(case: &mut Case) -> Checked {
    let stored = write(case)?;
    all_select(case, stored[0].id, &stored)
}

fn write_and_change(case: &mut Case) -> Checked {
    write(case)?;
    change(case)
}

/// The sample, with the ids that another phase has noted.
fn noted(case: &mut Case) -> Checked<Vec<Entry>> {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 8);
    list.extend(case.entries(&b, 4));
    let ids = case.noted_numbers("ids")?;
    Ok(list
        .into_iter()
        .zip(ids)
        .map(|(entry, id)| Entry { id, ..entry })
        .collect())
}

/// Replaces, adds and deletes entries.
fn change(case: &mut Case) -> Checked {
    let stored = noted(case)?;
    let list = to_import(case);
    case.insert(&list)?;
    equal("delete-by-id", case.delete(stored[7].id)?, true)
}

fn read_changed(case: &mut Case) -> Checked {
    let mut stored = noted(case)?;
    let first = stored[0].id;
    let list = to_import(case);
    let new = case.with_ids(&list)?;
    stored.remove(7);
    stored.retain(|entry| new.iter().all(|new| new.id != entry.id));
    stored.extend(new);
    all_select(case, first, &stored)
}

fn write_and_begin_view(case: &mut Case) -> Checked {
    let stored = write(case)?;
    let able = case.begin_view()?;
    case.end_view()?;
    case.note_numbers("able", &[u64::from(able)])?;
    equal("begin-view, another time", case.begin_view()?, able)?;
    // The instant may be that of the first read.
    selects(case, &any(), &stored)
}

fn select_in_view(case: &mut Case) -> Checked {
    if case.noted_numbers("able")?[0] == 1 {
        let stored = noted(case)?;
        all_select(case, stored[0].id, &stored)?;
    }
    case.end_view()?;
    read_changed(case)
}
