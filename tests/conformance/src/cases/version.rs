//! The version counter: one step for each call that changes an entry, and none for others.

use crate::battery::{Spec, case};
use crate::case::{Case, START, key_of, reference, references, tagged, within};
use crate::check::{Checked, check, equal};
use crate::contract::{Entry, EntryRef, store};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        the_counter_moves_by_one_on_insert,
        "an insert moves it by one, of one entry as of a list"
    ),
    case!(
        the_counter_moves_by_one_on_replacement,
        "a replacement moves it by one, of one entry as of a list"
    ),
    case!(
        the_counter_moves_by_one_on_delete_by_id,
        "delete-by-id moves it by one where it deletes, else not"
    ),
    case!(
        the_counter_moves_by_one_on_delete_unchanged,
        "delete-unchanged moves it by one where it deletes, else not"
    ),
    case!(
        the_counter_moves_by_one_on_delete_expired,
        "delete-expired moves it by one where it deletes, else not"
    ),
    case!(
        the_counter_moves_by_one_on_clear,
        "clear-namespace moves it by one where it deletes, else not"
    ),
    case!(
        quotas_move_no_counter,
        "setting, changing and removing a quota leaves it"
    ),
    case!(
        meta_moves_no_counter,
        "setting, changing and removing a meta value leaves it"
    ),
    case!(reads_move_no_counter, "no reading operation moves it"),
    case!(
        failed_inserts_move_no_counter,
        "an insert that fails leaves it"
    ),
    case!(
        the_counter_is_not_zero_after_a_write,
        "it is at least 1 once an entry was inserted"
    ),
    case!(
        the_counter_survives_reopen,
        "it is the same after close and open, and goes on from there"
    ),
];

fn the_counter_moves_by_one_on_insert(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = case.version()?;
    case.insert_list(&[case.entry(&space, 0)])?;
    case.moved(before, 1, "insert of one entry")?;
    let few = case.capabilities.max_batch.min(9);
    let list: Vec<_> = (1..=u64::from(few))
        .map(|n| case.entry(&space, n))
        .collect();
    case.insert_list(&list)?;
    case.moved(
        before,
        2,
        &format!("insert of one entry, then of {few} in a list,"),
    )
}

fn the_counter_moves_by_one_on_replacement(case: &mut Case) -> Checked {
    let space = case.space("a");
    let few = u64::from(case.capabilities.max_batch.min(5));
    let list = case.entries(&space, few);
    case.insert_list(&list)?;
    let before = case.version()?;
    case.insert_list(&list[..1])?;
    case.moved(before, 1, "a replacement")?;
    case.insert_list(&list)?;
    case.moved(
        before,
        2,
        &format!("a replacement, then one of {few} in a list,"),
    )
}

fn the_counter_moves_by_one_on_delete_by_id(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 2))?;
    let before = case.version()?;
    case.delete(stored[0].id)?;
    case.moved(before, 1, "delete-by-id")?;
    case.delete(stored[0].id)?;
    case.delete(0)?;
    case.delete(u64::MAX)?;
    case.moved(
        before,
        1,
        "one delete-by-id that deletes and three that do not",
    )
}

fn the_counter_moves_by_one_on_delete_unchanged(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 4))?;
    let before = case.version()?;
    let few = (case.capabilities.max_delete as usize).min(3);
    case.delete_unchanged(&references(&stored[..few]))?;
    case.moved(before, 1, &format!("delete-unchanged of {few} entries"))?;
    case.delete_unchanged(&references(&stored[..few]))?;
    case.moved(before, 1, "delete-unchanged, then the same once more,")?;
    case.delete_unchanged(&[EntryRef {
        created_at: 1,
        ..reference(&stored[3])
    }])?;
    case.moved(before, 1, "delete-unchanged, then one of another version,")
}

fn the_counter_moves_by_one_on_delete_expired(case: &mut Case) -> Checked {
    let space = case.space("a");
    let few = u64::from(case.capabilities.max_delete.min(3));
    let list: Vec<_> = (0..few)
        .map(|n| Entry {
            ttl: Some(10),
            created_at: START,
            ..case.entry(&space, n)
        })
        .collect();
    case.insert(&list)?;
    let before = case.version()?;
    case.delete_expired(START + 9, Some(&space), 100)?;
    case.moved(before, 0, "delete-expired of nothing")?;
    case.delete_expired(START + 10, Some(&space), 100)?;
    case.moved(before, 1, &format!("delete-expired of {few} entries"))?;
    case.delete_expired(START + 10, Some(&space), 100)?;
    case.moved(before, 1, "delete-expired, then the same once more,")
}

fn the_counter_moves_by_one_on_clear(case: &mut Case) -> Checked {
    let space = case.space("a");
    let few = u64::from(case.capabilities.max_delete.min(5));
    case.insert(&case.entries(&space, few))?;
    let before = case.version()?;
    case.clear(&space)?;
    case.moved(before, 1, &format!("clear-namespace of {few} entries"))?;
    case.clear(&space)?;
    case.moved(before, 1, "clear-namespace, then the same once more,")
}

fn quotas_move_no_counter(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    case.set_quota(&space, Some(5))?;
    case.set_quota(&space, Some(6))?;
    case.set_quota(&space, None)?;
    case.set_quota(&space, None)?;
    case.moved(before, 0, "setting and removing a quota")
}

fn meta_moves_no_counter(case: &mut Case) -> Checked {
    let key = case.key("k");
    let before = case.version()?;
    case.replace_meta(&key, None, Some("v"))?;
    case.replace_meta(&key, Some("v"), Some("w"))?;
    case.replace_meta(&key, Some("v"), Some("x"))?;
    case.replace_meta(&key, Some("w"), None)?;
    case.moved(before, 0, "setting and removing a meta value")
}

fn reads_move_no_counter(case: &mut Case) -> Checked {
    let space = case.space("a");
    let key = case.key("k");
    let stored = case.insert(&case.entries(&space, 3))?;
    let before = case.version()?;
    case.by_keys(&[key_of(&stored[0]), key_of(&case.entry(&space, 9))])?;
    case.by_ids(&[stored[0].id, 0])?;
    case.count(Some(&space))?;
    case.count(None)?;
    case.list_namespaces()?;
    case.counts()?;
    case.lru(2, Some(&space))?;
    case.read_ids(&[stored[0].id, 0], false)?;
    case.select_all(&within(&space), 0, 2)?;
    case.select_all(&tagged(&["tag:0"]), stored[0].id - 1, 2)?;
    case.since(stored[0].id, 2)?;
    case.vectors(stored[0].id, 2)?;
    case.stamps(stored[0].id, 2)?;
    if case.capabilities.max_changes > 0 {
        case.changes(before, 1)?;
    }
    case.quota(&space)?;
    case.quotas()?;
    case.meta(&key)?;
    case.integrity()?;
    equal("the version read twice", case.version()?, case.version()?)?;
    case.moved(before, 0, "reading")
}

fn failed_inserts_move_no_counter(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let before = case.version()?;
    let short = Entry {
        embedding: Vec::new(),
        ..case.entry(&space, 2)
    };
    // That they fail is another case's affair.
    let _ = store::insert(std::slice::from_ref(&short));
    let _ = store::insert(&[case.entry(&space, 3), short]);
    case.moved(before, 0, "inserts of vectors without values")
}

fn the_counter_is_not_zero_after_a_write(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let version = case.version()?;
    check(
        version >= 1,
        "the version counter is at least 1 after an insert",
        || format!("it is {version}"),
    )
}

fn the_counter_survives_reopen(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.insert(&case.entries(&space, 3))?;
    let before = case.version()?;
    case.reopen()?;
    case.moved(before, 0, "close and open")?;
    case.put(case.entry(&space, 9))?;
    case.moved(before, 1, "close, open and an insert")
}
