//! Which entries a filter meets.
//!
//! New entries have greater ids than all that were there before, so that a walk from just below
//! the first of them meets nothing else.

use super::contexts_and_tags::{odd_tags, odd_texts};
use crate::battery::{Spec, case};
use crate::case::{Case, START, any, owned, references, tagged, within};
use crate::check::{Checked, equal};
use crate::contract::{Entry, Filter};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        no_condition_selects_every_entry,
        "without a condition all entries are selected, as versions"
    ),
    case!(
        select_keeps_to_its_namespace,
        "the namespace is compared byte for byte, not by prefix or case"
    ),
    case!(
        select_keeps_to_its_context,
        "the context is compared byte for byte"
    ),
    case!(
        the_empty_context_is_a_condition,
        "the empty context selects entries without one only"
    ),
    case!(select_wants_every_tag, "of several tags, all must be there"),
    case!(
        select_compares_tags_byte_for_byte,
        "a tag is found whatever its characters, and nothing else is"
    ),
    case!(
        neighbouring_tags_are_told_apart,
        "prefixes, other case, wildcards, quotes and separators select no other tag"
    ),
    case!(
        the_longest_tags_are_selected,
        "all of 32 tags of 128 bytes find their entry, together and one by one"
    ),
    case!(
        a_tag_asked_for_twice_is_one,
        "tags may come twice, and in any order"
    ),
    case!(
        created_from_is_included,
        "an entry of the very second is selected, an earlier one not"
    ),
    case!(
        created_before_is_not_included,
        "an entry of the very second is not selected, an earlier one is"
    ),
    case!(
        times_beyond_all_entries_may_be_asked_for,
        "created-from and created-before may be 0 and 2^64 - 1"
    ),
    case!(
        conditions_hold_together,
        "of several conditions, all must hold, in all combinations"
    ),
    case!(
        what_nothing_meets_selects_nothing,
        "unknown names and impossible times end with nothing"
    ),
];

/// Whether an entry meets every condition.
fn meets(filter: &Filter, entry: &Entry) -> bool {
    let same = |wanted: &Option<String>, text: &String| {
        wanted.as_ref().is_none_or(|wanted| wanted == text)
    };
    same(&filter.namespace, &entry.namespace)
        && same(&filter.context, &entry.context)
        && filter.tags.iter().all(|tag| entry.tags.contains(tag))
        && filter
            .created_from
            .is_none_or(|from| entry.created_at >= from)
        && filter
            .created_before
            .is_none_or(|before| entry.created_at < before)
}

/// Fails unless the filter selects those of the entries that meet it. They are all that the case
/// has stored.
pub fn selects(case: &Case, filter: &Filter, stored: &[Entry]) -> Checked {
    let first = stored.iter().map(|entry| entry.id).min().unwrap_or(1);
    selects_from(case, first, filter, stored)
}

/// As [`selects`], where the case has deleted entries too, the first of which had this id.
pub fn selects_from(case: &Case, first: u64, filter: &Filter, stored: &[Entry]) -> Checked {
    let mut wanted: Vec<_> = stored
        .iter()
        .filter(|entry| meets(filter, entry))
        .cloned()
        .collect();
    wanted.sort_by_key(|entry| entry.id);
    equal(
        &format!("what select finds by {}", shown(filter)),
        case.select_all(filter, first - 1, 100)?,
        references(&wanted),
    )
}

/// A filter as a person reads it.
pub fn shown(filter: &Filter) -> String {
    let mut text = Vec::new();
    if let Some(namespace) = &filter.namespace {
        text.push(format!("namespace {namespace:?}"));
    }
    if let Some(context) = &filter.context {
        text.push(format!("context {context:?}"));
    }
    if !filter.tags.is_empty() {
        text.push(format!("tags {:?}", filter.tags));
    }
    if let Some(from) = filter.created_from {
        text.push(format!("created-from {from}"));
    }
    if let Some(before) = filter.created_before {
        text.push(format!("created-before {before}"));
    }
    match text.is_empty() {
        true => "no condition".to_owned(),
        false => show::value(&text),
    }
}

fn in_context(context: &str) -> Filter {
    Filter {
        context: Some(context.to_owned()),
        ..any()
    }
}

fn created(from: Option<u64>, before: Option<u64>) -> Filter {
    Filter {
        created_from: from,
        created_before: before,
        ..any()
    }
}

fn no_condition_selects_every_entry(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 5);
    list.extend(case.entries(&b, 5));
    let stored = case.insert(&list)?;
    selects(case, &any(), &stored)
}

fn select_keeps_to_its_namespace(case: &mut Case) -> Checked {
    let names = [
        "a", "A", "a ", "ab", "", "a/b", "%", "_", "*", "a\u{301}", "á", "🦀",
    ];
    let spaces = names.map(|name| case.space(name));
    let list: Vec<_> = (0..)
        .zip(spaces.iter().chain(&spaces))
        .map(|(n, space)| case.entry(space, n))
        .collect();
    let stored = case.insert(&list)?;
    for space in &spaces {
        let filter = within(space);
        selects(case, &filter, &stored)?;
        let tags = owned(&["tag:0"]);
        selects(case, &Filter { tags, ..filter }, &stored)?;
    }
    Ok(())
}

/// An entry for each text, and one more that has none.
fn one_each(
    case: &mut Case,
    texts: &[String],
    put: fn(Entry, String) -> Entry,
) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let plain = |case: &Case, n| Entry {
        context: String::new(),
        tags: Vec::new(),
        ..case.entry(&space, n)
    };
    let mut list = vec![plain(case, 0)];
    for (text, n) in texts.iter().zip(1..) {
        list.push(put(plain(case, n), text.clone()));
    }
    case.insert(&list)
}

fn with_context(entry: Entry, context: String) -> Entry {
    Entry { context, ..entry }
}

fn with_tag(entry: Entry, tag: String) -> Entry {
    Entry {
        tags: vec![tag],
        ..entry
    }
}

fn select_keeps_to_its_context(case: &mut Case) -> Checked {
    let mut contexts = odd_texts();
    contexts.extend(owned(&["a", "A", "ab", " a", "a ", "b", "á", "a\u{301}"]));
    contexts.push("long ".repeat(204));
    contexts.push("long ".repeat(204) + "er");
    let stored = one_each(case, &contexts, with_context)?;
    contexts
        .iter()
        .try_for_each(|context| selects(case, &in_context(context), &stored))
}

fn the_empty_context_is_a_condition(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 7);
    list.extend(case.entries(&b, 4));
    let stored = case.insert(&list)?;
    selects(case, &in_context(""), &stored)?;
    let filter = Filter {
        context: Some(String::new()),
        ..within(&a)
    };
    selects(case, &filter, &stored)?;
    let tags = owned(&["tag:0"]);
    selects(case, &Filter { tags, ..filter }, &stored)
}

fn select_wants_every_tag(case: &mut Case) -> Checked {
    let space = case.space("a");
    let rows: [&[&str]; 9] = [
        &["a"],
        &["a", "b"],
        &["b"],
        &["a", "b", "c"],
        &[],
        &["c"],
        &["a", "c"],
        &["b", "c", "d"],
        &["ab"],
    ];
    let list: Vec<_> = rows
        .iter()
        .zip(0..)
        .map(|(tags, n)| Entry {
            tags: owned(tags),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    let filters: [&[&str]; 9] = [
        &["a"],
        &["c"],
        &["a", "b"],
        &["b", "c"],
        &["a", "b", "c"],
        &["a", "b", "c", "d"],
        &["a", "d"],
        &["d"],
        &["a", "unknown"],
    ];
    for tags in filters {
        selects(case, &tagged(tags), &stored)?;
        let tags = owned(tags);
        selects(
            case,
            &Filter {
                tags,
                ..within(&space)
            },
            &stored,
        )?;
    }
    Ok(())
}

fn select_compares_tags_byte_for_byte(case: &mut Case) -> Checked {
    let tags = odd_tags();
    let stored = one_each(case, &tags, with_tag)?;
    tags.iter()
        .try_for_each(|tag| selects(case, &tagged(&[tag]), &stored))
}

fn neighbouring_tags_are_told_apart(case: &mut Case) -> Checked {
    let tags = owned(&[
        "doc:1",
        "doc:10",
        "doc:1%",
        "doc:%",
        "doc:_",
        "doc:*",
        "doc",
        "doc:",
        "DOC:1",
        "doc:1 ",
        " doc:1",
        "doc:1,doc:2",
        "doc:2",
        "doc:1\"",
        "\"doc:1\"",
        "[\"doc:1\"]",
        "doc:1\\",
        "doc:1:a",
        "1",
        "é:1",
        "e\u{301}:1",
        "É:1",
        "{doc:1}",
        "doc:?",
        "doc:[1]",
        "doc:1|doc:2",
    ]);
    let mut stored = one_each(case, &tags, with_tag)?;
    let space = case.space("a");
    let pairs = [
        ["doc:1", "doc:2"],
        ["doc:10", "doc:2"],
        ["\"doc:1\"", "doc:1\""],
    ];
    for (pair, n) in pairs.iter().zip(100..) {
        stored.push(case.put(Entry {
            tags: owned(pair),
            ..case.entry(&space, n)
        })?);
    }
    for tag in &tags {
        selects(case, &tagged(&[tag]), &stored)?;
    }
    pairs
        .iter()
        .try_for_each(|pair| selects(case, &tagged(pair), &stored))
}

fn the_longest_tags_are_selected(case: &mut Case) -> Checked {
    let space = case.space("a");
    let tags: Vec<_> = (10..42).map(|n| format!("{n}{}", "é".repeat(63))).collect();
    let mut other = tags.clone();
    other.pop();
    other.push(format!("{}ff", &tags[31][..126]));
    let stored = case.insert(&[
        Entry {
            tags: tags.clone(),
            ..case.entry(&space, 1)
        },
        Entry {
            tags: other.clone(),
            ..case.entry(&space, 2)
        },
    ])?;
    for tag in tags.iter().chain(&other) {
        selects(case, &tagged(&[tag]), &stored)?;
    }
    for tags in [tags, other] {
        selects(case, &Filter { tags, ..any() }, &stored)?;
    }
    Ok(())
}

fn a_tag_asked_for_twice_is_one(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 8))?;
    let filters: [&[&str]; 4] = [
        &["tag:0", "tag:0"],
        &["tag:1", "tag:0"],
        &["tag:2", "tag:0", "tag:2", "tag:1", "tag:0"],
        &["tag:0", "other", "tag:0"],
    ];
    filters
        .iter()
        .try_for_each(|tags| selects(case, &tagged(tags), &stored))
}

/// Entries, not in the order of their times, with and without a common tag.
fn of_times(case: &mut Case) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let list: Vec<_> = [5, 3, 4, 0, 6, 2, 4, 1]
        .into_iter()
        .zip(0..)
        .map(|(time, n)| Entry {
            created_at: START + 10 * time,
            ..case.entry(&space, n)
        })
        .collect();
    case.insert(&list)
}

/// Fails unless times just below, at, and just above each entry select rightly.
fn times_select(case: &mut Case, made: fn(u64) -> Filter) -> Checked {
    let stored = of_times(case)?;
    let space = case.space("a");
    for time in (START - 10..=START + 70).step_by(10) {
        for time in [time - 1, time, time + 1] {
            let filter = made(time);
            selects(case, &filter, &stored)?;
            let tags = owned(&["tag:1"]);
            selects(case, &Filter { tags, ..made(time) }, &stored)?;
            let namespace = Some(space.clone());
            selects(
                case,
                &Filter {
                    namespace,
                    ..filter
                },
                &stored,
            )?;
        }
    }
    Ok(())
}

fn created_from_is_included(case: &mut Case) -> Checked {
    times_select(case, |time| created(Some(time), None))
}

fn created_before_is_not_included(case: &mut Case) -> Checked {
    times_select(case, |time| created(None, Some(time)))
}

fn times_beyond_all_entries_may_be_asked_for(case: &mut Case) -> Checked {
    let stored = of_times(case)?;
    for time in [0, 1, 1 << 53, 1 << 63, i64::MAX as u64, u64::MAX] {
        selects(case, &created(Some(time), None), &stored)?;
        selects(case, &created(None, Some(time)), &stored)?;
        let tags = owned(&["tag:0"]);
        selects(
            case,
            &Filter {
                tags,
                ..created(Some(0), Some(time))
            },
            &stored,
        )?;
    }
    Ok(())
}

fn conditions_hold_together(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 13);
    list.extend(case.entries(&b, 13));
    let stored = case.insert(&list)?;
    let some = |text: &str| Some(text.to_owned());
    let spaces = [None, Some(a), Some(b), some("unknown")];
    let contexts = [None, some(""), some("Context 1 of ünequal")];
    let tags: [&[&str]; 4] = [&[], &["tag:0"], &["tag:1", "tag:2"], &["tag:0", "x"]];
    let times = [(None, None), (Some(START + 3), Some(START + 9))];
    for namespace in &spaces {
        for context in &contexts {
            for tags in tags {
                for (created_from, created_before) in times {
                    let filter = Filter {
                        namespace: namespace.clone(),
                        context: context.clone(),
                        tags: owned(tags),
                        created_from,
                        created_before,
                    };
                    selects(case, &filter, &stored)?;
                }
            }
        }
    }
    Ok(())
}

fn what_nothing_meets_selects_nothing(case: &mut Case) -> Checked {
    let (space, unknown) = (case.space("a"), case.space("unknown"));
    let stored = case.insert(&case.entries(&space, 6))?;
    let filters = [
        within(&unknown),
        in_context("unknown"),
        tagged(&["unknown"]),
        tagged(&["tag:0", "unknown"]),
        created(Some(START + 3), Some(START + 3)),
        created(Some(START + 5), Some(START + 2)),
        created(None, Some(START)),
        created(Some(START + 6), None),
        created(None, Some(0)),
    ];
    filters
        .iter()
        .try_for_each(|filter| selects(case, filter, &stored))
}
