//! Two stores on the same data: what one writes, the other sees at once.
//!
//! In the cases below the first store works in the phases `Fresh` and `Back`, the second
//! in `Beside`. Neither is opened again between its phases.

use crate::battery::{Spec, phases};
use crate::calls::called;
use crate::case::{Case, START, ids, reference, references};
use crate::check::{Checked, Kind, check, equal, refused, same_entries};
use crate::contract::{Entry, Touch, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    phases!(needs Shared, an_insert_is_seen_by_another_store, "another store finds what was inserted, in every way",
        [Fresh => insert_sample, Beside => read_sample]),
    phases!(needs Shared, an_insert_beside_is_seen_by_the_first_store, "a store that is open sees what another one inserts later",
        [Fresh => look_around, Beside => insert_sample, Back => read_sample]),
    phases!(needs Shared, a_replacement_is_seen_by_another_store, "a replacement keeps the id across stores, and is seen",
        [Fresh => insert_sample, Beside => replace_one, Back => read_replaced, Beside => read_replaced]),
    phases!(needs Shared, deletes_are_seen_by_another_store, "deletes of every kind are seen, and are not repeated",
        [Fresh => insert_expiring, Beside => delete_some, Back => read_deleted]),
    phases!(needs Shared, a_clear_is_seen_by_another_store, "a cleared namespace is empty for another store",
        [Fresh => insert_sample, Beside => clear_all, Back => read_cleared]),
    phases!(needs Shared, touches_are_added_up_across_stores, "hits of two stores on one entry are all counted",
        [Fresh => insert_and_touch, Beside => touch_too, Back => read_touched]),
    phases!(needs Shared, quotas_are_seen_by_another_store, "quotas set, changed and removed are seen",
        [Fresh => set_quotas, Beside => change_quotas, Back => read_quotas]),
    phases!(needs Shared, meta_is_compared_across_stores, "of two stores that replace one value, the later one is told",
        [Fresh => set_meta, Beside => replace_meta, Back => replace_meta_late]),
    phases!(needs Shared, the_counter_is_one_for_all_stores, "each store sees the steps of the other, and moves on from there",
        [Fresh => count_one, Beside => count_two, Back => count_three, Beside => count_four]),
    phases!(needs Shared, ids_are_unique_across_stores, "ids grow across stores that take turns",
        [Fresh => insert_turn_one, Beside => insert_turn_two, Back => insert_turn_three, Beside => insert_turn_four]),
    phases!(needs Shared, an_entry_replaced_beside_stays, "delete-unchanged leaves what another store has replaced",
        [Fresh => insert_sample, Beside => replace_one, Back => delete_old_version]),
    phases!(needs Shared, stamps_tell_what_another_store_did, "two walks differ in what was added, replaced and deleted meanwhile",
        [Fresh => note_stamps, Beside => change_stamps, Back => compare_stamps]),
    phases!(needs Shared, another_embedder_is_refused_beside, "a second store with another embedder is refused, and the first works on",
        [Fresh => insert_sample, Beside => open_wrongly, Back => read_sample]),
    phases!(needs Shared, closing_one_store_leaves_the_other, "a store works on when another one on its data was closed",
        [Fresh => insert_sample, Beside => close_at_once, Back => read_and_write]),
    phases!(needs Shared, a_page_goes_on_after_writes_beside, "a walk goes on rightly after another store wrote",
        [Fresh => walk_half, Beside => write_amid, Back => walk_on]),
];

/// Inserts some entries, and notes their ids and the counter.
fn insert_sample(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 6))?;
    case.note_numbers("ids", &ids(&stored))?;
    let version = case.version()?;
    case.note_numbers("version", &[version])
}

/// The entries that [`insert_sample`] wrote.
fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    case.key("version");
    let space = case.space("a");
    let ids = case.noted_numbers("ids")?;
    let list = case.entries(&space, ids.len() as u64).into_iter();
    Ok(list
        .zip(ids)
        .map(|(entry, id)| Entry { id, ..entry })
        .collect())
}

/// Reads everything once, so that a store that keeps what it read has something to keep.
fn look_around(case: &mut Case) -> Checked {
    let (space, key) = (case.space("a"), case.key("ids"));
    case.find(&case.entry(&space, 0))?;
    case.count(Some(&space))?;
    case.count(None)?;
    case.list_namespaces()?;
    case.counts()?;
    case.lru(5, Some(&space))?;
    case.since(u64::MAX - 1, 5)?;
    case.quota(&space)?;
    case.quotas()?;
    case.version()?;
    case.meta(&key)?;
    Ok(())
}

fn read_sample(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let version = case.noted_numbers("version")?[0];
    equal("the version counter", case.version()?, version)?;
    case.holds_all("the entry of another store is there", &stored)?;
    let found = case.since(stored[0].id - 1, 20)?;
    same_entries(
        "iter-since has the entries of another store",
        &found,
        &stored,
    )?;
    let space = case.space("a");
    equal("the count", case.count(Some(&space))?, 6)?;
    equal(
        "the least recently used",
        case.lru(9, Some(&space))?,
        references(&stored),
    )?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        true,
    )
}

fn replaced(old: &Entry) -> Entry {
    Entry {
        response: "replaced".to_owned(),
        created_at: START + 500,
        last_accessed_at: START + 9_000,
        ..old.clone()
    }
}

fn replace_one(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let new = replaced(&stored[2]);
    let inserted = case.insert_list(std::slice::from_ref(&new))?;
    equal(
        "the id of a pair that another store inserted",
        inserted[0].id,
        stored[2].id,
    )?;
    equal("whether it replaced", inserted[0].replaced, true)
}

fn read_replaced(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let new = replaced(&stored[2]);
    case.holds("the entry is the one of the other store", &new)?;
    case.holds("another entry is as it was", &stored[1])?;
    let stamps = case.stamps(stored[0].id - 1, 20)?;
    equal(
        "the times by iter-stamps",
        stamps.created_at[2],
        START + 500,
    )?;
    let space = case.space("a");
    let last = case.lru(9, Some(&space))?.pop();
    equal("the most recently used", last, Some(reference(&new)))?;
    let version = case.noted_numbers("version")?[0];
    case.moved(version, 1, "the replacement of the other store")
}

fn insert_expiring(case: &mut Case) -> Checked {
    let space = case.space("a");
    let list: Vec<_> = (0..6)
        .map(|n| Entry {
            ttl: (n == 2).then_some(5),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.note_numbers("ids", &ids(&stored))?;
    look_around(case)
}

fn delete_some(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("a");
    equal("delete-by-id", case.delete(stored[0].id)?, true)?;
    equal(
        "delete-unchanged",
        case.delete_unchanged(&[reference(&stored[1])])?,
        [stored[1].id],
    )?;
    let expired = case.delete_expired(START + 1_000, Some(&space), 9)?;
    equal("delete-expired", expired, [reference(&stored[2])])
}

fn read_deleted(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("a");
    for entry in &stored[..3] {
        case.lacks("what another store deleted is gone", entry)?;
    }
    equal("the count", case.count(Some(&space))?, 3)?;
    equal(
        "the ids left",
        case.stamps(stored[0].id - 1, 20)?.ids,
        ids(&stored[3..]),
    )?;
    equal(
        "the least recently used",
        case.lru(9, Some(&space))?,
        references(&stored[3..]),
    )?;
    let before = case.version()?;
    equal(
        "delete-by-id of what is gone",
        case.delete(stored[0].id)?,
        false,
    )?;
    equal(
        "delete-unchanged of what is gone",
        case.delete_unchanged(&[reference(&stored[1])])?,
        [],
    )?;
    equal(
        "delete-expired of what is gone",
        case.delete_expired(START + 1_000, Some(&space), 9)?,
        [],
    )?;
    case.touch(&[Touch {
        id: stored[0].id,
        hits: 1,
        last_accessed_at: START,
    }])?;
    case.moved(before, 0, "deleting what another store has deleted")
}

fn clear_all(case: &mut Case) -> Checked {
    let space = case.space("a");
    equal("the entries cleared", case.clear(&space)?, 6)
}

fn read_cleared(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("a");
    case.lacks("what another store cleared is gone", &stored[3])?;
    equal("the count", case.count(Some(&space))?, 0)?;
    equal("the ids left", case.stamps(stored[0].id - 1, 20)?.ids, [])?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        false,
    )?;
    let again = case.insert_list(&stored[..1])?;
    let highest = stored[5].id;
    check(
        !again[0].replaced && again[0].id > highest,
        format!("a pair that another store cleared is a new entry, with an id above {highest}"),
        || format!("insert returned {:?}", again[0]),
    )
}

fn insert_and_touch(case: &mut Case) -> Checked {
    insert_sample(case)?;
    let id = sample(case)?[0].id;
    case.touch(&[Touch {
        id,
        hits: 3,
        last_accessed_at: START + 5_000,
    }])
}

fn touch_too(case: &mut Case) -> Checked {
    let id = sample(case)?[0].id;
    case.touch(&[Touch {
        id,
        hits: 4,
        last_accessed_at: START + 4_000,
    }])
}

fn read_touched(case: &mut Case) -> Checked {
    let first = sample(case)?.swap_remove(0);
    let wanted = Entry {
        access_count: first.access_count + 7,
        last_accessed_at: START + 5_000,
        ..first
    };
    case.holds("the hits of both stores are counted", &wanted)?;
    case.touch(&[Touch {
        id: wanted.id,
        hits: 1,
        last_accessed_at: 0,
    }])?;
    case.holds(
        "and those that follow",
        &Entry {
            access_count: wanted.access_count + 1,
            ..wanted.clone()
        },
    )
}

fn quota_names(case: &mut Case) -> [String; 3] {
    ["a", "b", "c"].map(|name| case.space(name))
}

fn set_quotas(case: &mut Case) -> Checked {
    let names = quota_names(case);
    case.set_quota(&names[0], Some(1))?;
    case.set_quota(&names[1], Some(2))
}

fn change_quotas(case: &mut Case) -> Checked {
    let names = quota_names(case);
    equal("a quota of another store", case.quota(&names[0])?, Some(1))?;
    case.set_quota(&names[0], Some(10))?;
    case.set_quota(&names[1], None)?;
    case.set_quota(&names[2], Some(30))
}

fn read_quotas(case: &mut Case) -> Checked {
    let names = quota_names(case);
    equal(
        "a quota that another store changed",
        case.quota(&names[0])?,
        Some(10),
    )?;
    equal(
        "a quota that another store removed",
        case.quota(&names[1])?,
        None,
    )?;
    equal(
        "a quota that another store set",
        case.quota(&names[2])?,
        Some(30),
    )?;
    let listed = case
        .quotas()?
        .into_iter()
        .filter(|(name, _)| names.contains(name));
    let wanted = vec![(names[0].clone(), 10), (names[2].clone(), 30)];
    equal("the quotas listed", listed.collect::<Vec<_>>(), wanted)
}

fn set_meta(case: &mut Case) -> Checked {
    case.note("k", "one")
}

fn replace_meta(case: &mut Case) -> Checked {
    let key = case.key("k");
    equal(
        "replace-meta of another store's value",
        case.replace_meta(&key, Some("one"), Some("two"))?,
        true,
    )
}

fn replace_meta_late(case: &mut Case) -> Checked {
    let key = case.key("k");
    let late = case.replace_meta(&key, Some("one"), Some("three"))?;
    equal(
        "replace-meta of a value that another store has replaced",
        late,
        false,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("two"))?;
    equal(
        "replace-meta of the present value",
        case.replace_meta(&key, Some("two"), Some("three"))?,
        true,
    )?;
    equal(
        "replace-meta expecting none",
        case.replace_meta(&key, None, Some("four"))?,
        false,
    )
}

/// Writes once, and expects the counter to have made `turn` steps since the first turn began.
fn count_turn(case: &mut Case, turn: u64) -> Checked {
    let space = case.space("a");
    if turn == 1 {
        let version = case.version()?;
        case.note_numbers("base", &[version])?;
    }
    let base = case.noted_numbers("base")?[0];
    case.moved(base, turn - 1, &format!("{} writes in turns", turn - 1))?;
    case.put(case.entry(&space, turn % 2))?;
    case.moved(base, turn, &format!("{turn} writes in turns"))
}

fn count_one(case: &mut Case) -> Checked {
    count_turn(case, 1)
}

fn count_two(case: &mut Case) -> Checked {
    count_turn(case, 2)
}

fn count_three(case: &mut Case) -> Checked {
    count_turn(case, 3)
}

fn count_four(case: &mut Case) -> Checked {
    count_turn(case, 4)
}

/// Inserts three entries, which must have ids above those of the turn before.
fn insert_turn(case: &mut Case, turn: u64) -> Checked {
    let space = case.space("a");
    let keys: Vec<_> = (1..=4).map(|turn| format!("turn {turn}")).collect();
    for key in &keys {
        case.key(key);
    }
    let mut highest = match turn {
        1 => 0,
        _ => case.noted_numbers(&keys[turn as usize - 2])?[0],
    };
    for n in 0..3 {
        let id = case.put(case.entry(&space, turn * 10 + n))?.id;
        check(
            id > highest,
            format!("the next id, in turn {turn} of two stores, is above {highest}"),
            || format!("it is {id}"),
        )?;
        highest = id;
    }
    case.note_numbers(&keys[turn as usize - 1], &[highest])?;
    equal("the count", case.count(Some(&space))?, turn * 3)
}

fn insert_turn_one(case: &mut Case) -> Checked {
    insert_turn(case, 1)
}

fn insert_turn_two(case: &mut Case) -> Checked {
    insert_turn(case, 2)
}

fn insert_turn_three(case: &mut Case) -> Checked {
    insert_turn(case, 3)
}

fn insert_turn_four(case: &mut Case) -> Checked {
    insert_turn(case, 4)
}

fn delete_old_version(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let deleted = case.delete_unchanged(&references(&stored[1..4]))?;
    check(
        deleted.len() == 2 && !deleted.contains(&stored[2].id),
        "delete-unchanged leaves the entry that another store has replaced",
        || format!("it deleted {deleted:?}, and {} was replaced", stored[2].id),
    )?;
    case.holds("the replaced entry stays", &replaced(&stored[2]))
}

fn note_stamps(case: &mut Case) -> Checked {
    insert_sample(case)?;
    let first = sample(case)?[0].id;
    equal(
        "the rows of the first walk",
        case.stamps(first - 1, 100)?.ids.len(),
        6,
    )
}

fn change_stamps(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("b");
    case.put(replaced(&stored[1]))?;
    case.delete(stored[3].id)?;
    let added = case.put(case.entry(&space, 70))?;
    case.note_numbers("added", &[added.id])
}

fn compare_stamps(case: &mut Case) -> Checked {
    case.space("b");
    let stored = sample(case)?;
    let added = case.noted_numbers("added")?[0];
    let page = case.stamps(stored[0].id - 1, 100)?;
    let all = ids(&stored);
    equal(
        "the ids of the second walk",
        page.ids,
        [all[0], all[1], all[2], all[4], all[5], added],
    )?;
    let times = [0, 500, 2, 4, 5, 70].map(|time| START + time);
    equal("the times of the second walk", page.created_at, times)
}

fn open_wrongly(case: &mut Case) -> Checked {
    case.close()?;
    refused(
        "open of a second store with another fingerprint",
        store::open("another-embedder@1", case.dim),
        &[Kind::EmbedderMismatch],
    )?;
    refused(
        "open of a second store with another dimension",
        store::open(&case.fingerprint, case.dim % 65_536 + 1),
        &[Kind::EmbedderDimension],
    )?;
    refused(
        "count of a second store that was refused",
        store::count(None),
        &[Kind::Closed],
    )?;
    called("open", store::open(&case.fingerprint, case.dim))
}

fn close_at_once(case: &mut Case) -> Checked {
    case.close()
}

fn read_and_write(case: &mut Case) -> Checked {
    read_sample(case)?;
    let space = case.space("a");
    let next = case.put(case.entry(&space, 50))?;
    case.holds(
        "the store takes entries after another one was closed",
        &next,
    )
}

fn walk_half(case: &mut Case) -> Checked {
    insert_sample(case)?;
    let stored = sample(case)?;
    equal(
        "the first page",
        ids(&case.since(stored[0].id - 1, 3)?),
        ids(&stored[..3]),
    )
}

fn write_amid(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let space = case.space("b");
    case.delete(stored[2].id)?;
    case.delete(stored[4].id)?;
    let added = case.put(case.entry(&space, 70))?;
    case.note_numbers("added", &[added.id])
}

fn walk_on(case: &mut Case) -> Checked {
    case.space("b");
    let stored = sample(case)?;
    let added = case.noted_numbers("added")?[0];
    let rest = ids(&case.since(stored[2].id, 3)?);
    equal(
        "the page after one whose last row is gone",
        rest,
        [stored[3].id, stored[5].id, added],
    )
}
