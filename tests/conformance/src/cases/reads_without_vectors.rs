//! Reading entries without their vectors.

use crate::battery::{Spec, case};
use crate::case::{Case, START, ids, key_of};
use crate::check::{About, Checked, check, equal, same_entries, same_entry};
use crate::contract::Entry;
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        get_by_hash_can_leave_vectors_out,
        "without vectors the embedding is empty, and all else as it was inserted"
    ),
    case!(get_by_ids_can_leave_vectors_out, "the same by id"),
    case!(
        keys_are_answered_in_order_without_vectors,
        "known, unknown and repeated keys have their places"
    ),
    case!(
        ids_are_answered_in_order_without_vectors,
        "known and repeated ids are answered in order, unknown ones left out"
    ),
    case!(
        a_read_without_vectors_takes_none_away,
        "the next read with vectors has them, bit for bit"
    ),
    case!(
        a_replacement_is_read_without_its_vector,
        "a read without vectors answers with what is stored by then"
    ),
];

fn bare(entry: &Entry) -> Entry {
    Entry {
        embedding: Vec::new(),
        ..entry.clone()
    }
}

fn all_bare(entries: &[Entry]) -> Vec<Entry> {
    entries.iter().map(bare).collect()
}

/// Entries of two namespaces, of large and small texts.
fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    let (a, b) = (case.space("a"), case.space("b"));
    let mut list = case.entries(&a, 4);
    list.extend(case.entries(&b, 3));
    list.push(Entry {
        response: case.long_text(1, 50_000),
        ttl: Some(7),
        ..case.entry(&b, 9)
    });
    case.insert(&list)
}

fn get_by_hash_can_leave_vectors_out(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let keys: Vec<_> = stored.iter().map(key_of).collect();
    let found = case.read_keys(&keys, false)?;
    for (entry, found) in stored.iter().zip(&found) {
        same_entry(
            "get-by-hash without vectors: the embedding is empty, all else is there",
            found.as_ref(),
            &bare(entry),
        )
        .about(|| show::key(entry))?;
    }
    Ok(())
}

fn get_by_ids_can_leave_vectors_out(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    same_entries(
        "get-by-ids without vectors: the embedding is empty, all else is there",
        &case.read_ids(&ids(&stored), false)?,
        &all_bare(&stored),
    )
}

fn keys_are_answered_in_order_without_vectors(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let unknown = case.space("c");
    let order = [5, 0, 5, 2, 2, 7];
    let mut keys: Vec<_> = order.iter().map(|&n: &usize| key_of(&stored[n])).collect();
    keys.insert(1, key_of(&case.entry(&unknown, 0)));
    keys.push(key_of(&case.entry(&stored[0].namespace, 77)));
    let found = case.read_keys(&keys, false)?;
    let found: Vec<_> = found
        .iter()
        .map(|one| one.as_ref().map(|one| one.id))
        .collect();
    let mut wanted: Vec<_> = order.iter().map(|&n| Some(stored[n].id)).collect();
    wanted.insert(1, None);
    wanted.push(None);
    equal("the ids under the keys", found, wanted)?;
    equal(
        "what no keys find without vectors",
        case.read_keys(&[], false)?.len(),
        0,
    )
}

fn ids_are_answered_in_order_without_vectors(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let wanted: Vec<_> = [6, 1, 6, 0]
        .iter()
        .map(|&n: &usize| stored[n].clone())
        .collect();
    let mut asked = ids(&wanted);
    asked.insert(2, u64::MAX);
    asked.insert(0, 0);
    asked.push(stored[7].id + 1_000_000);
    same_entries(
        "get-by-ids without vectors answers in the order asked",
        &case.read_ids(&asked, false)?,
        &all_bare(&wanted),
    )?;
    equal(
        "what no ids find without vectors",
        ids(&case.read_ids(&[], false)?),
        [],
    )
}

fn a_read_without_vectors_takes_none_away(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let keys: Vec<_> = stored.iter().map(key_of).collect();
    for _ in 0..2 {
        case.read_keys(&keys, false)?;
        case.holds_all("the vector is there after a read without it", &stored)?;
        case.read_ids(&ids(&stored), false)?;
        case.holds_all("the vector is there after a read without it", &stored)?;
    }
    let page = case.since(stored[0].id - 1, 20)?;
    same_entries("iter-since has the vectors", &page, &stored)
}

fn a_replacement_is_read_without_its_vector(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let key = key_of(&stored[2]);
    case.read_keys(std::slice::from_ref(&key), false)?;
    let new = case.put(Entry {
        response: "new".to_owned(),
        embedding: case.vector(70),
        created_at: START + 500,
        ..stored[2].clone()
    })?;
    let found = case.read_keys(std::slice::from_ref(&key), false)?;
    let found = found.first().and_then(Option::as_ref);
    same_entry("get-by-hash has the replacement", found, &bare(&new))?;
    same_entries(
        "get-by-ids has the replacement",
        &case.read_ids(&[new.id], false)?,
        &[bare(&new)],
    )?;
    case.delete(new.id)?;
    let found = case.read_keys(&[key], false)?;
    check(
        found.iter().all(Option::is_none),
        "get-by-hash without vectors finds no deleted entry",
        || show::value(&found),
    )
}
