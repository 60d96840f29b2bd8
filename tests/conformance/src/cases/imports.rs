//! What is there once an import is committed.

use super::import_ids::grows;
use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST, START, ids, key_of, owned, reference, references};
use crate::check::{About, Checked, equal, same_entries};
use crate::contract::{Entry, ImportMode};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_import_brings_its_entries,
        "imported entries are found by keys, by ids, in pages and counts"
    ),
    case!(
        imported_fields_are_kept,
        "times, counts, lifetimes and vectors are stored as they were given"
    ),
    case!(
        odd_texts_are_imported,
        "names and texts of any characters are imported byte for byte"
    ),
    case!(
        a_large_entry_is_imported,
        "a response of 300,000 bytes is imported whole"
    ),
    case!(
        a_hash_in_two_namespaces_is_imported,
        "one hash in several namespaces is several entries of an import"
    ),
    case!(
        an_import_of_many_lists_is_one,
        "more entries than max-batch are imported in several calls and one step"
    ),
    case!(
        a_merge_replaces_in_every_field,
        "an import replaces what is there in every field, also back in time"
    ),
    case!(
        a_merge_leaves_what_it_has_not,
        "entries that the import has not stay as they are"
    ),
    case!(
        imported_entries_are_evicted_in_order,
        "iter-lru-ids has imported entries at their places, also replaced ones"
    ),
    case!(
        imported_entries_expire,
        "delete-expired finds imported entries, by their lifetimes of now"
    ),
    case!(
        imported_vectors_are_paged,
        "iter-vectors and iter-stamps have the imported rows"
    ),
    case!(
        imports_follow_each_other,
        "each import brings its own entries only, and moves the counter by one"
    ),
    case!(
        imported_entries_are_like_others,
        "imported entries are touched, replaced, deleted and cleared"
    ),
];

fn an_import_brings_its_entries(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.put(case.entry(&b, 50))?;
    let list: Vec<_> = (0..7)
        .map(|n| case.entry(if n % 2 == 0 { &a } else { &b }, n))
        .collect();
    let mut stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("an imported entry is there", &stored)?;
    case.holds("what was there before stays", &known)?;
    stored.sort_by_key(|entry| entry.id);
    let page = case.since(known.id, 20)?;
    same_entries("iter-since has the imported entries", &page, &stored)?;
    equal("the count of one namespace", case.count(Some(&a))?, 4)?;
    equal("the count of the other", case.count(Some(&b))?, 4)?;
    let listed = case.list_namespaces()?;
    let both = listed.contains(&a) && listed.contains(&b);
    equal("whether the namespaces are listed", both, true)?;
    equal("integrity-check", case.integrity()?, true)
}

fn imported_fields_are_kept(case: &mut Case) -> Checked {
    let space = case.space("a");
    let mut vector = case.vector(7);
    vector[0] = f32::from_bits(1);
    if let Some(last) = vector.last_mut() {
        *last = -0.0;
    }
    let list = [
        Entry {
            access_count: GREATEST,
            ttl: Some(GREATEST),
            ..case.entry(&space, 0)
        },
        Entry {
            created_at: 0,
            last_accessed_at: 0,
            access_count: 0,
            ..case.entry(&space, 1)
        },
        Entry {
            last_accessed_at: START - 5,
            ttl: Some(0),
            ..case.entry(&space, 2)
        },
        Entry {
            created_at: GREATEST,
            last_accessed_at: GREATEST,
            access_count: 1,
            ..case.entry(&space, 3)
        },
        Entry {
            query: String::new(),
            response: String::new(),
            metadata: r#"{"b":1, "a":[2.50,null]}"#.to_owned(),
            ..case.entry(&space, 4)
        },
        Entry {
            embedding: vector,
            ..case.entry(&space, 5)
        },
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("an imported entry is as it was given", &stored)
}

fn odd_texts_are_imported(case: &mut Case) -> Checked {
    let list: Vec<_> = data::ODD_TEXTS
        .iter()
        .zip(0..)
        .map(|(text, n)| {
            let space = case.space_around(text);
            Entry {
                query: (*text).to_owned(),
                response: format!("{text}{text}"),
                ..case.entry(&space, n)
            }
        })
        .collect();
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the odd entry is imported", &stored)?;
    stored.iter().try_for_each(|entry| {
        equal(
            "the count of its namespace",
            case.count(Some(&entry.namespace))?,
            1,
        )
        .about(|| show::key(entry))
    })
}

fn a_large_entry_is_imported(case: &mut Case) -> Checked {
    let space = case.space("a");
    let bytes = 300_000_usize.min(360_000_usize.saturating_sub(case.dim as usize * 4));
    let list = [
        case.entry(&space, 0),
        Entry {
            response: case.long_text(1, bytes),
            ..case.entry(&space, 1)
        },
        case.entry(&space, 2),
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("the large entry and its neighbours are imported", &stored)
}

fn a_hash_in_two_namespaces_is_imported(case: &mut Case) -> Checked {
    let list: Vec<_> = ["a", "b", "A", "a "]
        .into_iter()
        .map(|name| {
            let space = case.space(name);
            case.entry(&space, 1)
        })
        .collect();
    let stored = case.import(ImportMode::Merge, &list)?;
    case.holds_all("each of the entries is there", &stored)?;
    let mut different = ids(&stored);
    different.sort_unstable();
    different.dedup();
    equal("how many ids there are", different.len(), 4)
}

/// A length of lists; two of them are more than the store takes at once where that can be
/// tried.
fn list_length(case: &Case) -> u64 {
    u64::from(case.capabilities.max_batch.clamp(1, 1_000))
}

fn an_import_of_many_lists_is_one(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list = case.entries(&space, list_length(case) * 2 + 1);
    let before = case.version()?;
    let stored = case.import(ImportMode::Merge, &list)?;
    case.moved(before, 1, "an import of three lists")?;
    equal(
        "the count of the namespace",
        case.count(Some(&space))?,
        list.len() as u64,
    )?;
    let sample: Vec<_> = stored.iter().step_by(97).cloned().collect();
    case.holds_all("an entry of a long import is there", &sample)?;
    let last = &stored[stored.len() - 1..];
    case.holds_all("the last entry of a long import is there", last)
}

fn a_merge_replaces_in_every_field(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = Entry {
        ttl: Some(90),
        access_count: 40,
        ..case.entry(&space, 1)
    };
    let old = case.put(old)?;
    let new = Entry {
        id: old.id,
        query: "Another query?".to_owned(),
        response: String::new(),
        embedding: case.vector(2),
        context: "another".to_owned(),
        metadata: "{}".to_owned(),
        tags: owned(&["new", "other"]),
        created_at: START - 100,
        last_accessed_at: START - 50,
        ttl: None,
        access_count: 3,
        ..old.clone()
    };
    case.import(ImportMode::Merge, std::slice::from_ref(&new))?;
    case.holds("the entry is the imported one in every field", &new)?;
    let newer = Entry {
        ttl: Some(7),
        created_at: START + 100,
        ..old
    };
    case.import(ImportMode::Merge, std::slice::from_ref(&newer))?;
    case.holds("the entry is that of the second import", &newer)?;
    equal("the count", case.count(Some(&space))?, 1)
}

fn a_merge_leaves_what_it_has_not(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut known = case.insert(&case.entries(&a, 4))?;
    known.extend(case.insert(&case.entries(&b, 2))?);
    case.import(ImportMode::Merge, &[case.entry(&a, 1), case.entry(&a, 9)])?;
    case.holds_all("what was there before stays", &known)?;
    equal("the count of one namespace", case.count(Some(&a))?, 5)?;
    equal("the count of the other", case.count(Some(&b))?, 2)
}

fn imported_entries_are_evicted_in_order(case: &mut Case) -> Checked {
    let space = case.space("a");
    let accessed = |entry: Entry, at: u64| Entry {
        last_accessed_at: START + at,
        ..entry
    };
    let known = [
        accessed(case.entry(&space, 0), 10),
        accessed(case.entry(&space, 1), 30),
        accessed(case.entry(&space, 2), 50),
    ];
    let known = case.insert(&known)?;
    let list = [
        accessed(case.entry(&space, 10), 40),
        accessed(case.entry(&space, 0), 60),
        accessed(case.entry(&space, 11), 20),
        accessed(case.entry(&space, 12), 40),
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    let wanted = [
        &stored[2], &known[1], &stored[0], &stored[3], &known[2], &stored[1],
    ];
    let wanted = wanted.map(reference);
    equal(
        "the least recently used",
        case.lru(20, Some(&space))?,
        wanted.clone(),
    )?;
    equal(
        "the first two of them",
        case.lru(2, Some(&space))?,
        &wanted[..2],
    )
}

fn imported_entries_expire(case: &mut Case) -> Checked {
    let space = case.space("a");
    let lasting = |case: &Case, n, ttl| Entry {
        ttl,
        created_at: START,
        ..case.entry(&space, n)
    };
    let known: Vec<_> = (0..3).map(|n| lasting(case, n, Some(10))).collect();
    let known = case.insert(&known)?;
    let list = [
        lasting(case, 0, None),
        lasting(case, 1, Some(100)),
        lasting(case, 10, Some(5)),
        lasting(case, 11, Some(20)),
        lasting(case, 12, None),
    ];
    let stored = case.import(ImportMode::Merge, &list)?;
    equal(
        "delete-expired soon after",
        case.delete_expired(START + 10, Some(&space), 20)?,
        references(&[known[2].clone(), stored[2].clone()]),
    )?;
    equal(
        "delete-expired later",
        case.delete_expired(START + 100, Some(&space), 20)?,
        references(&[stored[1].clone(), stored[3].clone()]),
    )?;
    case.holds("what has no lifetime stays", &stored[0])?;
    equal("the count", case.count(Some(&space))?, 2)
}

fn imported_vectors_are_paged(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let known = case.put(case.entry(&a, 0))?;
    let list: Vec<_> = (0..6)
        .map(|n| Entry {
            embedding: case.vector(n + 40),
            created_at: START + 70 + n,
            ..case.entry(if n < 3 { &a } else { &b }, n)
        })
        .collect();
    let mut wanted = case.import(ImportMode::Merge, &list)?;
    wanted.sort_by_key(|entry| entry.id);
    let mut last_id = known.id - 1;
    for rows in wanted.chunks(4) {
        let page = case.vectors(last_id, 4)?;
        let spaces: Vec<_> = rows.iter().map(|e| e.namespace.clone()).collect();
        let contexts: Vec<_> = rows.iter().map(|e| e.context.clone()).collect();
        let created: Vec<_> = rows.iter().map(|e| e.created_at).collect();
        let vectors: Vec<f32> = rows.iter().flat_map(|e| e.embedding.clone()).collect();
        equal("the ids by iter-vectors", page.ids, ids(rows))?;
        equal("the namespaces by iter-vectors", page.namespaces, spaces)?;
        equal("the contexts by iter-vectors", page.contexts, contexts)?;
        equal(
            "the times by iter-vectors",
            page.created_at,
            created.clone(),
        )?;
        equal("the vectors by iter-vectors", page.vectors, vectors)?;
        let stamps = case.stamps(last_id, 4)?;
        equal("the ids by iter-stamps", stamps.ids, ids(rows))?;
        equal("the times by iter-stamps", stamps.created_at, created)?;
        last_id = rows[rows.len() - 1].id;
    }
    Ok(())
}

fn imports_follow_each_other(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = case.version()?;
    let first = case.import(ImportMode::Merge, &case.entries(&space, 3))?;
    equal("delete-by-id", case.delete(first[0].id)?, true)?;
    let list = [
        Entry {
            response: "second".to_owned(),
            ..case.entry(&space, 1)
        },
        case.entry(&space, 3),
    ];
    let second = case.import(ImportMode::Merge, &list)?;
    let third = case.import(ImportMode::Merge, &[case.entry(&space, 4)])?;
    case.moved(before, 4, "three imports and a delete")?;
    case.lacks("what was deleted between two imports stays away", &first[0])?;
    case.holds_all("the entry is that of the second import", &second)?;
    case.holds("the third import brings its entry", &third[0])?;
    grows("the ids", &[first[2].id, second[1].id, third[0].id])?;
    equal("the count", case.count(Some(&space))?, 4)
}

fn imported_entries_are_like_others(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 4);
    list.push(case.entry(&b, 9));
    let stored = case.import(ImportMode::Merge, &list)?;
    let before = case.version()?;
    let replaced = case.put(Entry {
        response: "new".to_owned(),
        ..stored[0].clone()
    })?;
    equal("the id of a replaced entry", replaced.id, stored[0].id)?;
    case.holds("an imported entry is replaced", &replaced)?;
    equal(
        "delete-unchanged",
        case.delete_unchanged(&[reference(&stored[1])])?,
        [stored[1].id],
    )?;
    equal("delete-by-id", case.delete(stored[2].id)?, true)?;
    let gone = case.by_keys(&[key_of(&stored[1]), key_of(&stored[2])])?;
    equal("what was deleted", gone, [None, None])?;
    equal("clear-namespace", case.clear(&b)?, 1)?;
    case.moved(before, 4, "a replacement, two deletes and a clear")?;
    equal("the count", case.count(Some(&a))?, 2)
}
