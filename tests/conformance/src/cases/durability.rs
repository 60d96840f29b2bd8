//! What outlives the store that wrote it. Each phase works on a new store; the one before
//! was dropped, without `close` unless the phase closed it.

use crate::battery::{Spec, phases};
use crate::calls::called;
use crate::case::{Case, GREATEST, START, ids, owned, reference};
use crate::check::{Checked, Kind, check, equal, failed, refused, same_entries};
use crate::contract::{Entry, Error, Touch, store};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    phases!(needs Durable, entries_survive_a_drop, "entries, ids and counter are there after a drop without close",
        [Fresh => write_sample, Fresh => read_sample]),
    phases!(needs Durable, entries_survive_a_close, "entries, ids and counter are there after close and drop",
        [Fresh => write_sample_and_close, Fresh => read_sample]),
    phases!(needs Durable, entries_survive_several_lives, "what each of several stores wrote is there in the next",
        [Fresh => write_first_life, Fresh => write_second_life, Fresh => read_both_lives]),
    phases!(needs Durable, replacements_survive_a_drop, "a replaced entry is the new one, under its old id",
        [Fresh => write_replacement, Fresh => read_replacement]),
    phases!(needs Durable, deletes_survive_a_drop, "deleted, expired and cleared entries stay away",
        [Fresh => write_deletes, Fresh => read_deletes]),
    phases!(needs Durable, touches_survive_a_drop, "access data and the order of eviction are there after a drop",
        [Fresh => write_touches, Fresh => read_touches]),
    phases!(needs Durable, quotas_and_meta_survive_a_drop, "quotas and meta values, set, changed and removed, are there after a drop",
        [Fresh => write_quotas, Fresh => read_quotas]),
    phases!(needs Durable, ids_are_not_reused_after_a_drop, "a new store gives ids above all that were given, also to deleted entries",
        [Fresh => write_and_delete, Fresh => write_again, Fresh => write_once_more]),
    phases!(needs Durable, the_embedder_survives_a_drop, "a new store refuses another embedder",
        [Fresh => write_sample, Fresh => open_wrongly]),
    phases!(needs Durable, odd_values_survive_a_drop, "text, vectors and numbers are exact in a new store",
        [Fresh => write_odd_values, Fresh => read_odd_values]),
];

/// Inserts some entries, and notes their ids and the counter.
fn write_sample(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 12))?;
    case.note_numbers("ids", &ids(&stored))?;
    let version = case.version()?;
    case.note_numbers("version", &[version])
}

fn write_sample_and_close(case: &mut Case) -> Checked {
    write_sample(case)?;
    case.close()
}

/// The entries that [`write_sample`] wrote.
fn sample(case: &mut Case) -> Checked<Vec<Entry>> {
    let space = case.space("a");
    let ids = case.noted_numbers("ids")?;
    let list = case.entries(&space, ids.len() as u64).into_iter();
    Ok(list
        .zip(ids)
        .map(|(entry, id)| Entry { id, ..entry })
        .collect())
}

fn read_sample(case: &mut Case) -> Checked {
    case.key("version");
    let stored = sample(case)?;
    let version = case.noted_numbers("version")?;
    equal(
        "the version counter in a new store",
        case.version()?,
        version[0],
    )?;
    let found = case.since(stored[0].id - 1, 20)?;
    same_entries("iter-since of a new store has the entries", &found, &stored)?;
    case.holds_all("the entry is as it was written", &stored)?;
    let space = case.space("a");
    equal("the count", case.count(Some(&space))?, 12)?;
    equal(
        "whether the namespace is listed",
        case.list_namespaces()?.contains(&space),
        true,
    )?;
    let again = case.insert_list(&stored[..1])?;
    equal(
        "whether a known pair is replaced",
        (again[0].id, again[0].replaced),
        (stored[0].id, true),
    )?;
    case.moved(version[0], 1, "the first write of a new store")
}

fn write_first_life(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 0))?;
    Ok(())
}

fn write_second_life(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    equal(
        "the count in the second store",
        case.count(Some(&space))?,
        2,
    )
}

fn read_both_lives(case: &mut Case) -> Checked {
    let space = case.space("a");
    for n in 0..2 {
        let wanted = case.entry(&space, n);
        let id = case.find(&wanted)?.map_or(0, |entry| entry.id);
        case.holds(
            "the entry of an earlier store is there",
            &Entry { id, ..wanted },
        )?;
    }
    equal("the count in the third store", case.count(Some(&space))?, 2)
}

fn replacement(case: &mut Case) -> Entry {
    let space = case.space("a");
    Entry {
        response: "new".to_owned(),
        embedding: case.vector(50),
        created_at: START + 50,
        ttl: None,
        access_count: 2,
        ..case.entry(&space, 1)
    }
}

fn write_replacement(case: &mut Case) -> Checked {
    let space = case.space("a");
    let old = case.put(Entry {
        ttl: Some(5),
        ..case.entry(&space, 1)
    })?;
    let new = replacement(case);
    case.put(new)?;
    case.note_numbers("ids", &[old.id])
}

fn read_replacement(case: &mut Case) -> Checked {
    let id = case.noted_numbers("ids")?[0];
    let new = Entry {
        id,
        ..replacement(case)
    };
    case.holds("the new entry is under the old id", &new)?;
    let space = case.space("a");
    equal("the count", case.count(Some(&space))?, 1)?;
    equal(
        "what expires",
        case.delete_expired(START + 1_000, Some(&space), 9)?,
        [],
    )
}

fn write_deletes(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let list: Vec<_> = (0..6)
        .map(|n| Entry {
            ttl: (n == 2).then_some(5),
            ..case.entry(&a, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.insert(&case.entries(&b, 3))?;
    case.delete(stored[0].id)?;
    case.delete_unchanged(&[reference(&stored[1])])?;
    case.delete_expired(START + 1_000, Some(&a), 9)?;
    case.clear(&b)?;
    case.note_numbers("ids", &ids(&stored))
}

fn read_deletes(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let all = case.noted_numbers("ids")?;
    equal(
        "the ids left, by iter-stamps",
        &case.stamps(all[0] - 1, 20)?.ids[..],
        &all[3..],
    )?;
    equal(
        "the ids left, by get-by-ids",
        &ids(&case.by_ids(&all)?)[..],
        &all[3..],
    )?;
    equal("the count", case.count(Some(&a))?, 3)?;
    equal("the count of a cleared namespace", case.count(Some(&b))?, 0)?;
    equal("the least recently used", case.lru(9, Some(&a))?.len(), 3)?;
    equal(
        "whether a cleared namespace is listed",
        case.list_namespaces()?.contains(&b),
        false,
    )
}

fn write_touches(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    case.touch(&[
        Touch {
            id: stored[0].id,
            hits: 7,
            last_accessed_at: START + 9_000,
        },
        Touch {
            id: stored[1].id,
            hits: 2,
            last_accessed_at: 1,
        },
    ])?;
    case.note_numbers("ids", &ids(&stored))
}

fn read_touches(case: &mut Case) -> Checked {
    let stored = sample(case)?;
    case.holds(
        "the touched entry has its hits and its time",
        &Entry {
            access_count: stored[0].access_count + 7,
            last_accessed_at: START + 9_000,
            ..stored[0].clone()
        },
    )?;
    case.holds(
        "the entry with an old touch has its hits",
        &Entry {
            access_count: stored[1].access_count + 2,
            ..stored[1].clone()
        },
    )?;
    case.holds("the entry that was not touched is as it was", &stored[2])?;
    let space = case.space("a");
    let order: Vec<_> = case
        .lru(9, Some(&space))?
        .iter()
        .map(|one| one.id)
        .collect();
    equal(
        "the least recently used",
        order,
        [stored[1].id, stored[2].id, stored[0].id],
    )
}

fn write_quotas(case: &mut Case) -> Checked {
    let names = ["a", "b", "c"].map(|name| case.space(name));
    let keys = ["a", "b", "c"].map(|name| case.key(name));
    for (name, key) in names.iter().zip(&keys) {
        case.set_quota(name, Some(1))?;
        case.replace_meta(key, None, Some("then"))?;
    }
    case.set_quota(&names[1], Some(0))?;
    case.set_quota(&names[2], None)?;
    case.replace_meta(&keys[1], Some("then"), Some(""))?;
    case.replace_meta(&keys[2], Some("then"), None)?;
    Ok(())
}

fn read_quotas(case: &mut Case) -> Checked {
    let names = ["a", "b", "c"].map(|name| case.space(name));
    let keys = ["a", "b", "c"].map(|name| case.key(name));
    equal("a quota that was set", case.quota(&names[0])?, Some(1))?;
    equal("a quota that was changed", case.quota(&names[1])?, Some(0))?;
    equal("a quota that was removed", case.quota(&names[2])?, None)?;
    equal(
        "a meta value that was set",
        case.meta(&keys[0])?.as_deref(),
        Some("then"),
    )?;
    equal(
        "a meta value that was changed",
        case.meta(&keys[1])?.as_deref(),
        Some(""),
    )?;
    equal("a meta value that was removed", case.meta(&keys[2])?, None)
}

fn write_and_delete(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 4))?;
    case.note_numbers("ids", &ids(&stored))?;
    case.delete(stored[3].id)?;
    Ok(())
}

fn above_all(case: &mut Case, n: u64) -> Checked<u64> {
    let space = case.space("a");
    let highest = case
        .noted_numbers("ids")?
        .into_iter()
        .max()
        .unwrap_or_default();
    let id = case.put(case.entry(&space, n))?.id;
    check(
        id > highest,
        format!("a new entry has an id above {highest}, the highest given"),
        || format!("it has id {id}"),
    )?;
    Ok(id)
}

fn write_again(case: &mut Case) -> Checked {
    let id = above_all(case, 50)?;
    case.note_numbers("second", &[id])?;
    let space = case.space("a");
    case.clear(&space)?;
    Ok(())
}

fn write_once_more(case: &mut Case) -> Checked {
    case.key("second");
    let id = above_all(case, 60)?;
    let second = case.noted_numbers("second")?[0];
    check(
        id > second,
        format!("after a clear a new store gives an id above {second}"),
        || format!("it gave {id}"),
    )
}

fn open_wrongly(case: &mut Case) -> Checked {
    case.key("version");
    let stored = sample(case)?;
    case.close()?;
    refused(
        "open of a new store with another fingerprint",
        store::open("another-embedder@1", case.dim),
        &[Kind::EmbedderMismatch],
    )?;
    let other = if case.dim == 1 { 2 } else { case.dim - 1 };
    match store::open(&case.fingerprint, other) {
        Err(Error::EmbedderDimension(error)) if error.expected == case.dim => {}
        outcome => {
            return Err(failed(
                format!(
                    "open with dimension {other} returns embedder-dimension with expected {}",
                    case.dim
                ),
                show::value(&outcome),
            ));
        }
    }
    called("open", store::open(&case.fingerprint, case.dim))?;
    case.holds("the right embedder finds the data", &stored[0])
}

fn odd_values(case: &mut Case) -> Vec<Entry> {
    let (a, b) = (case.space("\0🦀"), case.space_around(" "));
    vec![
        Entry {
            query: "\0'\\\"%_🦀e\u{301}".to_owned(),
            response: String::new(),
            context: "'%_🦀e\u{301} ".repeat(60),
            metadata: r#"{"b":1.0,"a":"\u0000","a":1e400}"#.to_owned(),
            tags: owned(&[" ", "\"'%_", "{\"a\":[]}", "🦀e\u{301}"]),
            ..case.entry(&a, 1)
        },
        Entry {
            response: case.long_text(1, 100_000),
            created_at: GREATEST,
            last_accessed_at: 0,
            ttl: Some(GREATEST),
            access_count: GREATEST,
            ..case.entry(&b, 2)
        },
    ]
}

fn write_odd_values(case: &mut Case) -> Checked {
    let list = odd_values(case);
    let stored = case.insert(&list)?;
    case.note_numbers("ids", &ids(&stored))
}

fn read_odd_values(case: &mut Case) -> Checked {
    let list = odd_values(case);
    for (entry, id) in list.into_iter().zip(case.noted_numbers("ids")?) {
        case.holds("the entry is exact in a new store", &Entry { id, ..entry })?;
    }
    Ok(())
}
