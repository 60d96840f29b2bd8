//! Contexts and tags come back byte for byte, whatever way an entry has gone.

use crate::battery::{Spec, case};
use crate::case::{Case, START, owned};
use crate::check::{About, Checked, check, equal, same_entries};
use crate::contract::{Entry, ImportMode, Touch};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        contexts_are_kept_byte_for_byte,
        "contexts of any characters are kept"
    ),
    case!(
        tags_are_kept_byte_for_byte,
        "tags of any characters are kept, alone and beside others"
    ),
    case!(
        tags_stay_in_the_order_of_their_bytes,
        "tags are returned in the order in which they were given"
    ),
    case!(
        the_longest_context_is_kept,
        "a context of 1,024 bytes is kept, of letters and of longer characters"
    ),
    case!(
        the_most_and_longest_tags_are_kept,
        "32 tags of 128 bytes are kept, beside a context of 1,024"
    ),
    case!(
        upsert_replaces_context_and_tags,
        "a replacement has the context and the tags of the new entry only"
    ),
    case!(
        upsert_without_tags_removes_them,
        "a replacement without tags has none"
    ),
    case!(
        contexts_make_no_keys,
        "two entries of one namespace and hash are one row, whatever their contexts"
    ),
    case!(
        touches_leave_contexts_and_tags,
        "update-access changes neither"
    ),
    case!(
        a_merge_keeps_contexts_and_tags,
        "imported entries have theirs, new ones as well as replacements"
    ),
    case!(
        other_imports_keep_contexts_and_tags,
        "so do those of an import into an empty store, and of one that replaces everything"
    ),
    case!(
        contexts_and_tags_stay_after_close_and_open,
        "they are the same after close and open"
    ),
];

/// Texts of any characters that a context may have, U+0000 aside.
pub fn odd_texts() -> Vec<String> {
    let mut texts = owned(data::ODD_TEXTS);
    texts.retain(|text| !text.contains('\0'));
    texts
}

/// Texts of any characters that a tag may be.
pub fn odd_tags() -> Vec<String> {
    let mut texts = odd_texts();
    texts.retain(|text| (1..=128).contains(&text.len()));
    texts
}

/// Fails unless the entries are as they were inserted, by every read.
fn kept(case: &Case, when: &str, stored: &[Entry]) -> Checked {
    let mut stored = stored.to_vec();
    stored.sort_by_key(|entry| entry.id);
    case.holds_all(
        &format!("the entries are as they were given, {when}"),
        &stored,
    )?;
    let (last_id, limit) = (stored[0].id - 1, stored.len() as u32);
    same_entries(
        &format!("iter-since: the entries are as they were given, {when}"),
        &case.since(last_id, limit)?,
        &stored,
    )?;
    let contexts: Vec<_> = stored.iter().map(|entry| entry.context.clone()).collect();
    let page = case.vectors(last_id, limit)?.contexts;
    let differs = show::first_difference(&contexts, &page);
    check(
        differs.is_none(),
        format!("iter-vectors: the contexts are as they were given, {when}"),
        || {
            let place = differs.unwrap_or_default();
            format!(
                "row {place} had {} in place of {}",
                show::value(&page.get(place)),
                show::value(&contexts.get(place))
            )
        },
    )
}

/// Inserts entries with these contexts and tags, and reads them.
fn are_kept(case: &mut Case, rows: &[(String, Vec<String>)]) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let rows: Vec<_> = rows
        .iter()
        .zip(0..)
        .map(|((context, tags), n)| Entry {
            context: context.clone(),
            tags: tags.clone(),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&rows)?;
    kept(case, "after insert", &stored)?;
    Ok(stored)
}

fn contexts_are_kept_byte_for_byte(case: &mut Case) -> Checked {
    let rows: Vec<_> = odd_texts()
        .into_iter()
        .map(|context| (context, Vec::new()))
        .collect();
    are_kept(case, &rows)?;
    Ok(())
}

fn tags_are_kept_byte_for_byte(case: &mut Case) -> Checked {
    let mut rows: Vec<_> = odd_tags()
        .into_iter()
        .map(|tag| (String::new(), vec![tag]))
        .collect();
    for some in odd_tags().chunks(9) {
        let mut tags = some.to_vec();
        tags.sort();
        rows.push(("c".to_owned(), tags));
        rows.push((String::new(), Vec::new()));
    }
    are_kept(case, &rows)?;
    Ok(())
}

fn tags_stay_in_the_order_of_their_bytes(case: &mut Case) -> Checked {
    let mut tags = owned(&data::UNSORTED_NAMES);
    tags.retain(|tag| !tag.contains('\0'));
    tags.sort();
    tags.dedup();
    let rows = [&tags[..], &tags[1..], &tags[..2]];
    are_kept(case, &rows.map(|tags| (String::new(), tags.to_vec())))?;
    Ok(())
}

/// A text of exactly this many bytes, of one character as far as it goes.
fn filled(character: char, bytes: usize) -> String {
    let mut text = character.to_string().repeat(bytes / character.len_utf8());
    while text.len() < bytes {
        text.push('x');
    }
    text
}

fn the_longest_context_is_kept(case: &mut Case) -> Checked {
    let mut rows = vec![(case.long_text(1, 1_024), Vec::new())];
    for character in ['a', 'é', '日', '🦀', '"', '\\', '\u{1}'] {
        rows.push((filled(character, 1_024), Vec::new()));
        rows.push((filled(character, 1_023), owned(&["tag"])));
    }
    are_kept(case, &rows)?;
    Ok(())
}

fn the_most_and_longest_tags_are_kept(case: &mut Case) -> Checked {
    let rows = ['a', 'é', '日', '🦀', '"'].map(|character| {
        let mut tags: Vec<_> = (0..32)
            .map(|n| filled(character, 126) + &format!("{n:02}"))
            .collect();
        tags.sort();
        (filled(character, 1_024), tags)
    });
    are_kept(case, &rows)?;
    Ok(())
}

fn upsert_replaces_context_and_tags(case: &mut Case) -> Checked {
    let space = case.space("a");
    let lives: [(&str, &[&str]); 7] = [
        ("first", &["a", "b", "c"]),
        ("second", &["b", "d"]),
        ("second", &["b"]),
        ("", &["d"]),
        ("", &["a", "d", "e", "f"]),
        ("FIRST", &["A", "B"]),
        ("first", &["a", "b", "c"]),
    ];
    for (context, tags) in lives {
        let stored = case.put(Entry {
            context: context.to_owned(),
            tags: owned(tags),
            ..case.entry(&space, 1)
        })?;
        kept(case, "after a replacement", &[stored])?;
    }
    Ok(())
}

fn upsert_without_tags_removes_them(case: &mut Case) -> Checked {
    let space = case.space("a");
    let bare = Entry {
        context: String::new(),
        tags: Vec::new(),
        ..case.entry(&space, 1)
    };
    let full = Entry {
        context: "some".to_owned(),
        tags: owned(&["a", "b"]),
        ..bare.clone()
    };
    for entry in [&full, &bare, &full, &bare, &bare] {
        let stored = case.put(entry.clone())?;
        kept(case, "after a replacement", &[stored])?;
    }
    // Between others, in one list.
    let list: Vec<_> = [case.entry(&space, 2), full, case.entry(&space, 3)].into();
    case.insert(&list)?;
    let list: Vec<_> = list
        .into_iter()
        .map(|entry| Entry {
            tags: Vec::new(),
            ..entry
        })
        .collect();
    let stored = case.insert(&list)?;
    kept(case, "after a replacement of three", &stored)
}

fn contexts_make_no_keys(case: &mut Case) -> Checked {
    let space = case.space("a");
    let with = |case: &Case, context: &str| Entry {
        context: context.to_owned(),
        ..case.entry(&space, 1)
    };
    let first = case.put(with(case, ""))?;
    for context in ["one", "two", "", "ONE"] {
        let entry = with(case, context);
        let inserted = case.insert_list(std::slice::from_ref(&entry))?[0];
        let subject = || format!("the pair with the context {context:?}");
        equal("its id", inserted.id, first.id).about(subject)?;
        equal("whether it replaced", inserted.replaced, true).about(subject)?;
        let id = first.id;
        case.holds("the last context is there", &Entry { id, ..entry })?;
        equal("the count", case.count(Some(&space))?, 1).about(subject)?;
    }
    case.needs_batch(2)?;
    let list = [with(case, "earlier"), with(case, "later")];
    let inserted = case.insert_list(&list)?;
    equal(
        "the ids of a pair twice in a list",
        [inserted[0].id, inserted[1].id],
        [first.id; 2],
    )?;
    let [_, later] = list;
    let id = first.id;
    case.holds("the later of the list is there", &Entry { id, ..later })
}

fn touches_leave_contexts_and_tags(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut stored = case.insert(&case.entries(&space, 4))?;
    let mut touches = Vec::new();
    for entry in &mut stored {
        entry.access_count += 2;
        entry.last_accessed_at = START + 9_000;
        touches.push(Touch {
            id: entry.id,
            hits: 2,
            last_accessed_at: START + 9_000,
        });
    }
    case.touch(&touches)?;
    kept(case, "after a touch", &stored)
}

/// Entries with and without contexts and tags, the first two of which replace others.
fn to_import(case: &mut Case) -> Vec<Entry> {
    let space = case.space("a");
    let rows: [(&str, &[&str]); 5] = [
        ("", &[]),
        ("other", &["new", "tag:0"]),
        ("🦀 'quoted'", &["\"a\"", "🦀"]),
        ("", &["only"]),
        ("only", &[]),
    ];
    rows.into_iter()
        .zip(2..)
        .map(|((context, tags), n)| Entry {
            context: context.to_owned(),
            tags: owned(tags),
            ..case.entry(&space, n)
        })
        .collect()
}

fn imported(case: &mut Case, mode: ImportMode, when: &str) -> Checked {
    let list = to_import(case);
    let stored = case.import(mode, &list)?;
    case.holds_all(
        &format!("the entries are as they were given, {when}"),
        &stored,
    )
}

fn a_merge_keeps_contexts_and_tags(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.insert(&case.entries(&space, 4))?;
    imported(case, ImportMode::Merge, "after a merge")
}

fn other_imports_keep_contexts_and_tags(case: &mut Case) -> Checked {
    case.needs_new_store()?;
    imported(
        case,
        ImportMode::Empty,
        "after an import into an empty store",
    )?;
    let space = case.space("a");
    case.insert(&case.entries(&space, 4))?;
    imported(case, ImportMode::Replace, "after an import of everything")
}

fn contexts_and_tags_stay_after_close_and_open(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 6))?;
    case.reopen()?;
    kept(case, "after close and open", &stored)
}
