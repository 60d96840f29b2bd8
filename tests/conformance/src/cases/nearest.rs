//! The search for vectors. Where a store does none, there is nothing to judge but that it says so.

use crate::battery::{Spec, case};
use crate::case::{Case, START, references};
use crate::check::{Checked, Kind, Stop, check, equal, refused};
use crate::contract::{Entry, ImportMode, VectorQuery, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_search_is_as_the_capabilities_say,
        "nearest is unsupported where the capability is false, else it answers"
    ),
    case!(
        the_nearest_come_first,
        "the entry of a vector is found by it, and the others follow by similarity"
    ),
    case!(
        similarities_are_cosines,
        "each similarity is that of the two vectors, within 0.01"
    ),
    case!(
        at_most_so_many_are_found,
        "no more entries than asked for, and those are the nearest"
    ),
    case!(
        a_search_keeps_to_its_namespace,
        "an entry of another namespace is not found"
    ),
    case!(
        a_search_keeps_to_its_context,
        "an entry of another context is not found"
    ),
    case!(
        every_tag_is_asked_for,
        "an entry that lacks one of the tags is not found"
    ),
    case!(
        expired_entries_are_found_only_without_a_time,
        "an entry that is expired at the time asked is not found, else it is"
    ),
    case!(
        a_replaced_entry_is_found_by_its_new_vector,
        "its old vector leads to it no longer"
    ),
    case!(
        deleted_entries_are_not_found,
        "whichever way an entry was deleted"
    ),
    case!(
        imported_entries_are_found,
        "and those that an import replaced are not"
    ),
    case!(
        entries_are_found_after_reopening,
        "close and open lose no vector"
    ),
    case!(
        wrong_searches_are_refused,
        "a vector of another length, and a limit out of range"
    ),
];

/// Stores eight entries of one context.
fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    case.needs_nearest()?;
    case.needs_dim(8)?;
    let space = case.space("a");
    let entries: Vec<Entry> = case.entries(&space, 8).into_iter().map(plain).collect();
    case.insert(&entries)
}

/// Without context, tags and lifetime.
fn plain(entry: Entry) -> Entry {
    Entry {
        context: String::new(),
        tags: Vec::new(),
        ttl: None,
        ..entry
    }
}

/// Entries like this one.
fn like(entry: &Entry) -> VectorQuery {
    VectorQuery {
        namespace: entry.namespace.clone(),
        context: entry.context.clone(),
        tags: Vec::new(),
        fresh_at: None,
        vector: entry.embedding.clone(),
    }
}

fn ids(case: &Case, query: &VectorQuery, limit: u32) -> Checked<Vec<u64>> {
    let found = case.nearest(query, limit)?;
    Ok(found.into_iter().map(|one| one.id).collect())
}

/// The ids by similarity to a vector.
fn by_similarity(entries: &[Entry], vector: &[f32]) -> Vec<u64> {
    let mut ranked: Vec<_> = entries
        .iter()
        .map(|entry| (product(&entry.embedding, vector), entry.id))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().map(|(_, id)| id).collect()
}

fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn a_search_is_as_the_capabilities_say(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(plain(case.entry(&space, 1)))?;
    if case.capabilities.nearest {
        return equal(
            "nearest finds the only entry",
            ids(case, &like(&stored), 1)?,
            vec![stored.id],
        );
    }
    refused(
        "nearest, where the capability is false,",
        store::nearest(&like(&stored), 1),
        &[Kind::Unsupported],
    )
}

fn the_nearest_come_first(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    for entry in &stored {
        let found = case.nearest(&like(entry), 8)?;
        equal(
            "the first is the entry of the vector",
            found.first().map(|one| one.id),
            Some(entry.id),
        )?;
        check(
            found.len() == stored.len(),
            "all entries of a small namespace are found",
            || show::value(&found),
        )?;
        check(
            found.is_sorted_by(|a, b| a.similarity >= b.similarity),
            "the most similar come first",
            || show::value(&found),
        )?;
    }
    Ok(())
}

fn similarities_are_cosines(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    for found in case.nearest(&like(&stored[0]), 8)? {
        let entry = stored.iter().find(|entry| entry.id == found.id);
        let Some(entry) = entry else {
            return Err(unknown(found.id));
        };
        let cosine = product(&entry.embedding, &stored[0].embedding);
        check(
            (found.similarity - cosine).abs() <= 0.01,
            format!(
                "the similarity of entry {} is {cosine}, within 0.01",
                found.id
            ),
            || found.similarity.to_string(),
        )?;
    }
    Ok(())
}

fn unknown(id: u64) -> Stop {
    crate::check::failed("an entry of the namespace is found", format!("id {id}"))
}

fn at_most_so_many_are_found(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let vector = &stored[2].embedding;
    let ranked = by_similarity(&stored, vector);
    for limit in [1, 3, 1024] {
        let found = ids(case, &like(&stored[2]), limit)?;
        // Two that are about as similar may change places.
        let fits = found.len() == (limit as usize).min(stored.len()) && found[0] == ranked[0];
        check(
            fits,
            format!("nearest with limit {limit} finds as many, the best first"),
            || show::value(&found),
        )?;
    }
    Ok(())
}

fn a_search_keeps_to_its_namespace(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let elsewhere = case.space("b");
    let other = case.put(Entry {
        namespace: elsewhere,
        ..stored[0].clone()
    })?;
    equal(
        "the same vector in another namespace is found there alone",
        ids(case, &like(&other), 8)?,
        vec![other.id],
    )?;
    let found = ids(case, &like(&stored[0]), 1024)?;
    equal("and not here", found.contains(&other.id), false)
}

fn a_search_keeps_to_its_context(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let other = case.put(Entry {
        context: "Of ünequal".to_owned(),
        query_hash: case.hash(100),
        ..stored[0].clone()
    })?;
    equal(
        "the same vector in another context is found there alone",
        ids(case, &like(&other), 8)?,
        vec![other.id],
    )?;
    let found = ids(case, &like(&stored[0]), 1024)?;
    equal("and not without it", found.contains(&other.id), false)?;
    let none = VectorQuery {
        context: "of ünequal".to_owned(),
        ..like(&other)
    };
    equal(
        "contexts are compared byte for byte",
        ids(case, &none, 8)?,
        vec![],
    )
}

fn every_tag_is_asked_for(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let tagged = |n: u64, tags: &[&str]| Entry {
        query_hash: case.hash(n),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..stored[0].clone()
    };
    let (both, one) = (tagged(100, &["t:1", "t:2"]), tagged(101, &["t:1"]));
    let [both, one] = [case.put(both)?, case.put(one)?];
    let asking = |tags: &[&str]| VectorQuery {
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..like(&stored[0])
    };
    for tags in [["t:1", "t:2"], ["t:2", "t:1"]] {
        equal(
            "both tags, in any order",
            ids(case, &asking(&tags), 8)?,
            vec![both.id],
        )?;
    }
    let mut found = ids(case, &asking(&["t:1"]), 8)?;
    found.sort_unstable();
    equal("one tag", found, vec![both.id, one.id])?;
    equal("a tag of nobody", ids(case, &asking(&["t:3"]), 8)?, vec![])
}

fn expired_entries_are_found_only_without_a_time(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let entry = case.put(Entry {
        query_hash: case.hash(100),
        created_at: START,
        ttl: Some(100),
        ..stored[0].clone()
    })?;
    let at = |fresh_at| VectorQuery {
        fresh_at,
        ..like(&entry)
    };
    for (time, is_found) in [
        (Some(START + 99), true),
        (Some(START + 100), false),
        (Some(u64::MAX), false),
        (None, true),
    ] {
        let found = ids(case, &at(time), 1024)?;
        equal(
            &format!(
                "whether it is found at {time:?}, expiring at {}",
                START + 100
            ),
            found.contains(&entry.id),
            is_found,
        )?;
        equal(
            "whether those without a TTL are found",
            found.contains(&stored[1].id),
            true,
        )?;
    }
    Ok(())
}

fn a_replaced_entry_is_found_by_its_new_vector(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let moved = case.put(Entry {
        embedding: case.vector(50),
        created_at: START + 500,
        ..stored[0].clone()
    })?;
    equal(
        "the new vector leads to it",
        ids(case, &like(&moved), 1)?,
        vec![stored[0].id],
    )?;
    let found = case.nearest(&like(&stored[0]), 8)?;
    let of_it: Vec<_> = found.iter().filter(|one| one.id == moved.id).collect();
    let cosine = product(&moved.embedding, &stored[0].embedding);
    check(
        of_it.len() == 1 && (of_it[0].similarity - cosine).abs() <= 0.01,
        format!("the old vector finds it once, with the similarity {cosine} of the new one"),
        || show::value(&found),
    )
}

fn deleted_entries_are_not_found(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let expiring = case.put(Entry {
        query_hash: case.hash(100),
        ttl: Some(1),
        ..stored[0].clone()
    })?;
    case.delete(stored[0].id)?;
    case.delete_unchanged(&references(&stored[1..2]))?;
    let space = stored[0].namespace.clone();
    case.delete_expired(START + 10_000, Some(&space), 10)?;
    let found = ids(case, &like(&stored[0]), 1024)?;
    for gone in [stored[0].id, stored[1].id, expiring.id] {
        equal(
            "whether a deleted entry is found",
            found.contains(&gone),
            false,
        )?;
    }
    equal("the others are found", found.len(), stored.len() - 2)?;
    case.clear(&space)?;
    equal(
        "a cleared namespace has nothing",
        ids(case, &like(&stored[2]), 1024)?,
        vec![],
    )
}

fn imported_entries_are_found(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    let fresh = Entry {
        query_hash: case.hash(100),
        embedding: case.vector(60),
        ..stored[0].clone()
    };
    let moved = Entry {
        embedding: case.vector(61),
        ..stored[1].clone()
    };
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&[fresh.clone(), moved.clone()])?;
    case.commit_import(&[], &[])?;
    for entry in case.with_ids(&[fresh, moved])? {
        equal(
            "an imported entry is found by its vector",
            ids(case, &like(&entry), 1)?,
            vec![entry.id],
        )?;
    }
    Ok(())
}

fn entries_are_found_after_reopening(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.reopen()?;
    if case.count(Some(&stored[0].namespace))? == 0 {
        return Err(Stop::Skipped("the store forgets its entries".to_owned()));
    }
    for entry in &stored {
        equal(
            "an entry is found by its vector",
            ids(case, &like(entry), 1)?,
            vec![entry.id],
        )?;
    }
    Ok(())
}

fn wrong_searches_are_refused(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    for limit in [0, 1025, u32::MAX] {
        refused(
            &format!("nearest with limit {limit}"),
            store::nearest(&like(&stored[0]), limit),
            &[Kind::InvalidArgument],
        )?;
    }
    for change in [1_i32, -1] {
        let mut query = like(&stored[0]);
        let length = query.vector.len().saturating_add_signed(change as isize);
        query.vector.resize(length, 0.0);
        refused(
            &format!("nearest to a vector of {length} values"),
            store::nearest(&query, 1),
            &[Kind::EmbedderDimension],
        )?;
    }
    equal(
        "the store still works",
        ids(case, &like(&stored[0]), 1)?,
        vec![stored[0].id],
    )
}
