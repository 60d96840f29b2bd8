//! Storing entries that are new, in lists.

use std::collections::BTreeSet;

use crate::battery::{Spec, case};
use crate::case::{Case, ids};
use crate::check::{Checked, Kind, Stop, check, equal, refused, same_entries};
use crate::contract::{Entry, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_inserted_entry_is_there_whole,
        "every way to read an entry returns it as it was inserted"
    ),
    case!(
        insert_returns_one_item_an_entry_in_order,
        "insert returns the id of each entry, in the order of the list"
    ),
    case!(
        an_empty_list_is_accepted,
        "insert of no entries returns nothing and changes nothing"
    ),
    case!(given_ids_are_ignored, "an id given in an entry is not used"),
    case!(
        a_list_may_span_namespaces,
        "one insert call stores entries of several namespaces"
    ),
    case!(
        one_hash_in_two_namespaces_is_two_entries,
        "the same hash in two namespaces names two entries"
    ),
    case!(
        new_and_known_pairs_may_be_mixed,
        "a list of new and known pairs says which were replaced"
    ),
    case!(
        a_pair_twice_in_a_list_is_its_last,
        "a new pair that comes twice in a list is stored as its last"
    ),
    case!(
        a_pair_many_times_in_a_list_is_its_last,
        "pairs that come many times, mixed, are stored as their last"
    ),
    case!(
        a_known_pair_twice_in_a_list_is_its_last,
        "a known pair that comes twice in a list keeps its id"
    ),
    case!(
        a_list_of_max_batch_is_accepted,
        "insert takes as many entries as max-batch says, in one step"
    ),
    case!(
        a_list_beyond_max_batch_is_refused,
        "insert of more than max-batch is invalid-argument and stores nothing"
    ),
    case!(
        equal_contents_under_other_hashes_are_kept_apart,
        "entries that differ in the hash only are all kept"
    ),
];

fn an_inserted_entry_is_there_whole(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entry = case.put(Entry {
        ttl: Some(3_600),
        access_count: 9,
        metadata: r#"{"model":"m","scores":[1,2.5,-3e2],"nested":{"a":null}}"#.to_owned(),
        ..case.entry(&space, 1)
    })?;
    case.holds("the entry is as it was inserted", &entry)?;
    let page = case.since(entry.id - 1, 1)?;
    same_entries(
        "iter-since: the entry is as it was inserted",
        &page,
        &[entry],
    )
}

fn insert_returns_one_item_an_entry_in_order(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entries = case.insert(&case.entries(&space, 10))?;
    case.holds_all("insert returned the id of this entry", &entries)
}

fn an_empty_list_is_accepted(case: &mut Case) -> Checked {
    let before = case.version()?;
    let inserted = case.insert_list(&[])?;
    equal("the results of an insert of no entries", inserted.len(), 0)?;
    case.moved(before, 0, "insert of no entries")
}

fn given_ids_are_ignored(case: &mut Case) -> Checked {
    let space = case.space("a");
    let first = case.put(case.entry(&space, 0))?;
    for (n, given) in [(1, first.id), (2, first.id + 1_000_000), (3, u64::MAX)] {
        let inserted = case.insert_list(&[Entry {
            id: given,
            ..case.entry(&space, n)
        }])?;
        let id = inserted[0].id;
        check(
            id > first.id && id != given,
            "insert assigns its own id",
            || format!("the entry given with id {given} got id {id}"),
        )?;
        case.holds(
            "the entry has the id that insert returned",
            &Entry {
                id,
                ..case.entry(&space, n)
            },
        )?;
    }
    case.holds("an entry stays when its id is given for another", &first)?;
    let again = case.insert_list(&[Entry {
        id: first.id + 2,
        ..first.clone()
    }])?;
    equal(
        "the id of a known pair given with another id",
        again[0].id,
        first.id,
    )
}

fn a_list_may_span_namespaces(case: &mut Case) -> Checked {
    let spaces: Vec<_> = (0..6).map(|n| case.space(&n.to_string())).collect();
    let list: Vec<_> = (0..12)
        .map(|n| case.entry(&spaces[n as usize % 6], n))
        .collect();
    let entries = case.insert(&list)?;
    case.holds_all("an entry of a list is in its namespace", &entries)?;
    for space in &spaces {
        equal(
            "the entries of each namespace of the list",
            case.count(Some(space))?,
            2,
        )?;
    }
    Ok(())
}

fn one_hash_in_two_namespaces_is_two_entries(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let one = case.put(case.entry(&a, 1))?;
    let other = Entry {
        response: "another".to_owned(),
        ..case.entry(&b, 1)
    };
    let inserted = case.insert_list(std::slice::from_ref(&other))?;
    equal(
        "whether the same hash in another namespace replaces",
        inserted[0].replaced,
        false,
    )?;
    let two = Entry {
        id: inserted[0].id,
        ..other
    };
    check(
        one.id != two.id,
        "the two entries have different ids",
        || format!("both have id {}", one.id),
    )?;
    case.holds("the first is as it was", &one)?;
    case.holds("the second is as it was inserted", &two)?;
    case.delete(one.id)?;
    case.holds("the second stays when the first is deleted", &two)
}

fn new_and_known_pairs_may_be_mixed(case: &mut Case) -> Checked {
    case.needs_batch(4)?;
    let space = case.space("a");
    let known = case.insert(&[case.entry(&space, 1), case.entry(&space, 3)])?;
    let list: Vec<_> = (0..4)
        .map(|n| Entry {
            response: format!("new {n}"),
            ..case.entry(&space, n)
        })
        .collect();
    let inserted = case.insert_list(&list)?;
    let replaced: Vec<_> = inserted.iter().map(|item| item.replaced).collect();
    equal(
        "which of the entries replaced one",
        replaced,
        [false, true, false, true],
    )?;
    equal(
        "the ids of the known pairs",
        [inserted[1].id, inserted[3].id],
        [known[0].id, known[1].id],
    )?;
    for (entry, item) in list.into_iter().zip(inserted) {
        case.holds(
            "the list is stored",
            &Entry {
                id: item.id,
                ..entry
            },
        )?;
    }
    equal("the count of the namespace", case.count(Some(&space))?, 4)
}

fn a_pair_twice_in_a_list_is_its_last(case: &mut Case) -> Checked {
    case.needs_batch(3)?;
    let space = case.space("a");
    let before = case.version()?;
    let last = Entry {
        response: "the last".to_owned(),
        created_at: 7,
        embedding: case.vector(70),
        ..case.entry(&space, 1)
    };
    let list = [case.entry(&space, 1), case.entry(&space, 2), last.clone()];
    let inserted = case.insert_list(&list)?;
    equal(
        "the ids of one pair twice in a list",
        inserted[2].id,
        inserted[0].id,
    )?;
    check(
        inserted[1].id != inserted[0].id,
        "another pair has another id",
        || format!("both have id {}", inserted[0].id),
    )?;
    let replaced: Vec<_> = inserted.iter().map(|item| item.replaced).collect();
    equal(
        "which of the entries replaced one",
        replaced,
        [false, false, true],
    )?;
    case.holds(
        "the last of the two is stored",
        &Entry {
            id: inserted[0].id,
            ..last
        },
    )?;
    equal("the count of the namespace", case.count(Some(&space))?, 2)?;
    case.moved(before, 1, "an insert with a pair twice")
}

fn a_pair_many_times_in_a_list_is_its_last(case: &mut Case) -> Checked {
    case.needs_batch(9)?;
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = [
        (&a, 1),
        (&b, 1),
        (&a, 1),
        (&a, 2),
        (&b, 1),
        (&a, 1),
        (&a, 2),
        (&b, 2),
        (&a, 1),
    ]
    .into_iter()
    .zip(0..)
    .map(|((space, n), place)| Entry {
        response: format!("place {place}"),
        last_accessed_at: 100 + place,
        ..case.entry(space, n)
    })
    .collect();
    let inserted = case.insert_list(&list)?;
    let id = |place: usize| inserted[place].id;
    equal(
        "the ids of the first pair",
        [id(2), id(5), id(8)],
        [id(0); 3],
    )?;
    equal("the ids of the second pair", id(4), id(1))?;
    equal("the ids of the third pair", id(6), id(3))?;
    for place in [8, 4, 6, 7] {
        let last = Entry {
            id: id(place),
            ..list[place].clone()
        };
        case.holds("the last of a pair is stored", &last)?;
    }
    equal("the count of the first namespace", case.count(Some(&a))?, 2)?;
    equal(
        "the count of the second namespace",
        case.count(Some(&b))?,
        2,
    )?;
    let order: Vec<_> = case.lru(9, Some(&a))?.iter().map(|one| one.id).collect();
    equal(
        "the least recently used, by the last of each pair",
        order,
        [id(6), id(8)],
    )
}

fn a_known_pair_twice_in_a_list_is_its_last(case: &mut Case) -> Checked {
    case.needs_batch(2)?;
    let space = case.space("a");
    let known = case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    let list = ["first", "last"].map(|text| Entry {
        response: text.to_owned(),
        ..case.entry(&space, 1)
    });
    let inserted = case.insert_list(&list)?;
    equal("the ids", [inserted[0].id, inserted[1].id], [known.id; 2])?;
    equal(
        "whether both replaced one",
        [inserted[0].replaced, inserted[1].replaced],
        [true; 2],
    )?;
    case.holds(
        "the last is stored",
        &Entry {
            id: known.id,
            ..list[1].clone()
        },
    )?;
    case.moved(before, 1, "an insert with a pair twice")
}

/// Longer lists than this are not tried.
const LONGEST: u32 = 2_000;

fn a_list_of_max_batch_is_accepted(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = case.version()?;
    let list = case.entries(&space, u64::from(case.capabilities.max_batch.min(LONGEST)));
    let stored = case.insert(&list)?;
    case.moved(before, 1, "an insert of max-batch entries")?;
    equal(
        "the count of the namespace",
        case.count(Some(&space))?,
        list.len() as u64,
    )?;
    let different: BTreeSet<_> = ids(&stored).into_iter().collect();
    equal(
        "how many different ids were given",
        different.len(),
        list.len(),
    )?;
    case.holds("the first of the list is stored", &stored[0])?;
    case.holds("the last of the list is stored", &stored[stored.len() - 1])
}

fn a_list_beyond_max_batch_is_refused(case: &mut Case) -> Checked {
    let most = case.capabilities.max_batch;
    if most > LONGEST {
        return Err(Stop::Skipped(format!(
            "the store takes {most} entries a call, and the case tries up to {LONGEST}"
        )));
    }
    let space = case.space("a");
    let before = case.version()?;
    for too_many in [u64::from(most) + 1, u64::from(most) * 2 + 1] {
        let list = case.entries(&space, too_many);
        refused(
            &format!("insert of {too_many} entries, where max-batch is {most},"),
            store::insert(&list),
            &[Kind::InvalidArgument],
        )?;
    }
    equal(
        "the count after refused inserts",
        case.count(Some(&space))?,
        0,
    )?;
    case.moved(before, 0, "a refused insert")?;
    let entry = case.put(case.entry(&space, 1))?;
    case.holds("the store takes entries after a refused insert", &entry)
}

fn equal_contents_under_other_hashes_are_kept_apart(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..5)
        .map(|n| Entry {
            query_hash: case.hash(n),
            ..case.entry(&space, 0)
        })
        .collect();
    let stored = case.insert(&list)?;
    equal(
        "the count of entries that differ in the hash only",
        case.count(Some(&space))?,
        5,
    )?;
    case.holds_all("the entry is as it was inserted", &stored)
}
