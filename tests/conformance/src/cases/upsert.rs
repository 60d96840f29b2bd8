//! Inserting a pair that is there.

use crate::battery::{Spec, case};
use crate::case::{Case, START, ids, owned, reference};
use crate::check::{Checked, check, equal, same_entries};
use crate::contract::{Entry, Touch};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        upsert_keeps_the_id,
        "a pair inserted again keeps its id, and insert says that it replaced"
    ),
    case!(
        upsert_replaces_every_field,
        "every field of the row is that of the new entry"
    ),
    case!(
        upsert_can_take_the_ttl_away,
        "a replacement without a ttl has none, and does not expire"
    ),
    case!(
        upsert_can_give_a_ttl,
        "a replacement with a ttl has it, and expires"
    ),
    case!(
        upsert_moves_the_expiry,
        "a replaced entry expires by its new times only"
    ),
    case!(
        upsert_resets_the_access_data,
        "access-count and last-accessed-at are those of the new entry"
    ),
    case!(
        upsert_may_go_back_in_time,
        "a replacement with earlier times is taken as it is"
    ),
    case!(
        upsert_replaces_the_vector,
        "every page has the new vector, and only that"
    ),
    case!(
        upsert_leaves_one_row,
        "a replacement adds nothing to counts and pages"
    ),
    case!(
        upsert_with_the_same_contents_is_a_replacement,
        "inserting the very same entry again replaces it"
    ),
    case!(
        upsert_leaves_other_namespaces_alone,
        "the same hash in another namespace stays as it is"
    ),
    case!(
        upsert_moves_the_entry_in_the_lru_order,
        "a replaced entry is where its new last access puts it"
    ),
    case!(
        upsert_is_repeatable,
        "many replacements of one pair leave the last one"
    ),
    case!(
        upsert_with_shorter_and_longer_contents_is_exact,
        "nothing of a longer row is left in a shorter one"
    ),
];

fn upsert_keeps_the_id(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    let new = Entry {
        response: "new".to_owned(),
        ..case.entry(&space, 1)
    };
    let inserted = case.insert_list(std::slice::from_ref(&new))?;
    equal(
        "the id of a pair inserted again",
        inserted[0].id,
        stored[1].id,
    )?;
    equal("whether insert replaced", inserted[0].replaced, true)?;
    case.holds(
        "the new entry is under the old id",
        &Entry {
            id: stored[1].id,
            ..new
        },
    )?;
    case.holds("the entry before it is as it was", &stored[0])?;
    case.holds("the entry after it is as it was", &stored[2])
}

fn upsert_replaces_every_field(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(Entry {
        ttl: Some(50),
        access_count: 77,
        ..case.entry(&space, 1)
    })?;
    let new = Entry {
        query: "another query".to_owned(),
        response: "another response".to_owned(),
        embedding: case.vector(99),
        context: "another context".to_owned(),
        metadata: r#"{"another":true}"#.to_owned(),
        tags: owned(&["another", "tag"]),
        created_at: START + 500,
        last_accessed_at: START + 600,
        ttl: Some(9),
        access_count: 3,
        ..case.entry(&space, 1)
    };
    case.put(new.clone())?;
    case.holds("every field is new", &Entry { id: old.id, ..new })
}

fn upsert_can_take_the_ttl_away(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(Entry {
        ttl: Some(10),
        ..case.entry(&space, 1)
    })?;
    case.put(case.entry(&space, 1))?;
    let new = Entry {
        id: old.id,
        ..case.entry(&space, 1)
    };
    case.holds("the ttl is gone", &new)?;
    let gone = case.delete_expired(START + 1_000_000, Some(&space), 10)?;
    equal("what expires once the ttl was taken away", gone, [])?;
    case.holds("an entry without a ttl does not expire", &new)
}

fn upsert_can_give_a_ttl(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(case.entry(&space, 1))?;
    let new = Entry {
        ttl: Some(10),
        id: old.id,
        ..case.entry(&space, 1)
    };
    case.put(new.clone())?;
    case.holds("the ttl is there", &new)?;
    let gone = case.delete_expired(new.created_at + 10, Some(&space), 10)?;
    equal("what expires once a ttl was given", gone, [reference(&new)])
}

fn upsert_moves_the_expiry(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(Entry {
        ttl: Some(10),
        ..case.entry(&space, 1)
    })?;
    let new = case.put(Entry {
        created_at: START + 100,
        ttl: Some(50),
        ..case.entry(&space, 1)
    })?;
    let gone = case.delete_expired(START + 149, Some(&space), 10)?;
    equal("what expires before the new end", gone, [])?;
    case.holds("the entry is there until its new end", &new)?;
    let gone = case.delete_expired(START + 150, Some(&space), 10)?;
    equal("what expires at the new end", gone, [reference(&new)])
}

fn upsert_resets_the_access_data(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(case.entry(&space, 1))?;
    case.touch(&[Touch {
        id: old.id,
        hits: 40,
        last_accessed_at: START + 9_000,
    }])?;
    let new = Entry {
        access_count: 0,
        last_accessed_at: START + 2_000,
        ..case.entry(&space, 1)
    };
    case.put(new.clone())?;
    case.holds(
        "the access data is that of the new entry",
        &Entry { id: old.id, ..new },
    )
}

fn upsert_may_go_back_in_time(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(case.entry(&space, 1))?;
    let new = Entry {
        created_at: 5,
        last_accessed_at: 3,
        ..case.entry(&space, 1)
    };
    case.put(new.clone())?;
    case.holds("the earlier times are stored", &Entry { id: old.id, ..new })
}

fn upsert_replaces_the_vector(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    let new = Entry {
        embedding: case.vector(50),
        created_at: START + 50,
        ..stored[1].clone()
    };
    case.put(new.clone())?;
    let page = case.vectors(stored[0].id - 1, 10)?;
    equal("the ids of the page", page.ids, ids(&stored))?;
    equal(
        "the times of the page",
        page.created_at,
        [START, START + 50, START + 2],
    )?;
    let expected = [
        &stored[0].embedding[..],
        &new.embedding,
        &stored[2].embedding,
    ]
    .concat();
    check(
        page.vectors == expected,
        "the page has the new vector in its place",
        || show::vectors(&expected, &page.vectors).unwrap_or_default(),
    )?;
    let stamps = case.stamps(stored[0].id - 1, 10)?;
    equal(
        "the times by iter-stamps",
        stamps.created_at,
        [START, START + 50, START + 2],
    )
}

fn upsert_leaves_one_row(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    let all = case.count(None)?;
    case.insert(&case.entries(&space, 3))?;
    equal("the count of the namespace", case.count(Some(&space))?, 3)?;
    equal("the count of all", case.count(None)?, all)?;
    let page = case.since(stored[0].id - 1, 10)?;
    same_entries("iter-since has each row once", &page, &stored)?;
    equal(
        "the least recently used",
        case.lru(10, Some(&space))?.len(),
        3,
    )?;
    let twice = case
        .list_namespaces()?
        .iter()
        .filter(|name| **name == space)
        .count();
    equal("how often the namespace is listed", twice, 1)
}

fn upsert_with_the_same_contents_is_a_replacement(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    let inserted = case.insert_list(&[case.entry(&space, 1)])?;
    equal(
        "whether the very same entry replaced",
        inserted[0].replaced,
        true,
    )?;
    case.moved(before, 1, "inserting the very same entry")?;
    case.holds("the entry is as it was", &stored)
}

fn upsert_leaves_other_namespaces_alone(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let one = case.put(case.entry(&a, 1))?;
    let two = case.put(case.entry(&b, 1))?;
    let new = case.put(Entry {
        response: "new".to_owned(),
        ..one
    })?;
    case.holds("the replaced entry is the new one", &new)?;
    case.holds("the entry in the other namespace is as it was", &two)
}

fn upsert_moves_the_entry_in_the_lru_order(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    case.put(Entry {
        last_accessed_at: START + 9_000,
        ..stored[0].clone()
    })?;
    let order: Vec<_> = case
        .lru(10, Some(&space))?
        .iter()
        .map(|one| one.id)
        .collect();
    equal(
        "the order after a later replacement",
        order,
        [stored[1].id, stored[2].id, stored[0].id],
    )?;
    case.put(Entry {
        last_accessed_at: 1,
        ..stored[2].clone()
    })?;
    let order: Vec<_> = case
        .lru(10, Some(&space))?
        .iter()
        .map(|one| one.id)
        .collect();
    equal(
        "the order after an earlier replacement",
        order,
        [stored[2].id, stored[1].id, stored[0].id],
    )
}

fn upsert_is_repeatable(case: &mut Case) -> Checked {
    let space = case.space("a");
    let first = case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    for round in 0..10 {
        let new = Entry {
            response: format!("round {round}"),
            created_at: START + 100 - round,
            ttl: (round % 2 == 0).then_some(round),
            ..first.clone()
        };
        case.put(new.clone())?;
        case.holds("the last replacement is stored", &new)?;
    }
    case.moved(before, 10, "ten replacements")
}

fn upsert_with_shorter_and_longer_contents_is_exact(case: &mut Case) -> Checked {
    let space = case.space("a");
    for length in [0, 5_000, 10, 20_000, 1, 0] {
        let new = case.put(Entry {
            query: case.long_text(1, length),
            response: case.long_text(2, length),
            metadata: format!("{{\"t\":{:?}}}", "x".repeat(length)),
            ..case.entry(&space, 1)
        })?;
        case.holds("the contents have their new length", &new)?;
    }
    Ok(())
}
