//! Faults of storing entries: of their values, of replacing them, and of lists of them.

use super::{Fault, Known, changed, cut_at_nul, memory, same_key, same_pair};
use mneme::store::{Entry, Inserted, StoreError};

impl Fault {
    /// Changes entries on their way in.
    pub(super) fn stores(self, change: fn(&mut Entry)) -> Self {
        self.insert(move |store, mut entries| {
            entries.iter_mut().for_each(change);
            store.insert(entries)
        })
    }

    /// Changes the texts of entries on their way in.
    fn stores_text(self, change: fn(&str) -> String) -> Self {
        self.insert(move |store, mut entries| {
            each_text(&mut entries, change);
            store.insert(entries)
        })
    }

    /// Changes entries on their way out, whichever way they go.
    pub(super) fn returns(self, change: fn(&mut Entry)) -> Self {
        self.get_by_hash(move |store, keys, vectors| {
            changed(store.get_by_hash(keys, vectors), |found| {
                found.iter_mut().flatten().for_each(change);
            })
        })
        .get_by_ids(move |store, ids, vectors| {
            changed(store.get_by_ids(ids, vectors), |found| {
                found.iter_mut().for_each(change)
            })
        })
        .iter_since(move |store, last_id, limit| {
            changed(store.iter_since(last_id, limit), |found| {
                found.iter_mut().for_each(change);
            })
        })
    }

    /// Keeps something of the entry that is replaced: the second one.
    pub(super) fn keeps_old(self, keep: fn(&mut Entry, &Entry)) -> Self {
        self.insert(move |store, mut entries| {
            for entry in &mut entries {
                if let Some(old) = same_key(store.sound, entry)? {
                    keep(entry, &old);
                }
            }
            store.insert(entries)
        })
    }
}

/// Changes the texts of entries that are not part of the key.
pub fn each_text(entries: &mut [Entry], change: fn(&str) -> String) {
    for entry in entries {
        for text in [&mut entry.query, &mut entry.response, &mut entry.metadata] {
            *text = change(text);
        }
    }
}

/// Changes the times and the count of an entry.
fn each_number(entry: &mut Entry, change: fn(u64) -> u64) {
    for number in [
        &mut entry.created_at,
        &mut entry.last_accessed_at,
        &mut entry.access_count,
    ] {
        *number = change(*number);
    }
}

/// As much of a text as 64 KiB hold.
pub fn cut_at_64k(text: &str) -> String {
    text[..text.floor_char_boundary(65_535)].to_owned()
}

/// Composes a few letters with their accents.
pub fn composed(text: &str) -> String {
    let pairs = [
        ("e\u{301}", "é"),
        ("a\u{30a}", "å"),
        ("A\u{30a}", "Å"),
        ("u\u{308}", "ü"),
        ("o\u{308}", "ö"),
        ("n\u{303}", "ñ"),
    ];
    let replace = |text: String, (pair, one)| text.replace(pair, one);
    pairs.into_iter().fold(text.to_owned(), replace)
}

pub fn values() -> Vec<Known> {
    faults![
        memory("text beyond U+FFFF is lost")
            .caught_by("characters-beyond-the-first-plane-are-kept")
            .stores_text(|text| text.replace(|c| c > '\u{ffff}', "?")),
        memory("text ends at U+0000")
            .caught_by("odd-responses-are-kept")
            .stores_text(cut_at_nul),
        memory("text is trimmed")
            .caught_by("odd-responses-are-kept")
            .stores_text(|text| text.trim().to_owned()),
        memory("line ends are changed")
            .caught_by("odd-responses-are-kept")
            .stores_text(|text| text.replace("\r\n", "\n")),
        memory("text is composed")
            .caught_by("odd-queries-are-kept")
            .stores_text(composed),
        memory("text ends at 64 KiB")
            .caught_by("a-response-of-many-kilobytes-is-kept")
            .stores_text(cut_at_64k),
        memory("empty text is taken for none")
            .caught_by("empty-texts-are-kept")
            .stores_text(|text| match text {
                "" => "null".to_owned(),
                _ => text.to_owned(),
            }),
        memory("the query is kept in lower case")
            .caught_by("odd-queries-are-kept")
            .stores(|entry| entry.query = entry.query.to_lowercase()),
        memory("metadata is sorted")
            .caught_by("metadata-keeps-order-and-spaces")
            .stores(|entry| {
                if let Ok(value) = serde_json::from_str::<serde_json::Value>(&entry.metadata) {
                    entry.metadata = value.to_string();
                }
            }),
        memory("vectors are cut")
            .caught_by("every-position-of-a-vector-is-kept")
            .returns(|entry| {
                entry.embedding.pop();
            }),
        memory("the last value of a vector is lost")
            .caught_by("every-position-of-a-vector-is-kept")
            .stores(|entry| {
                if let Some(last) = entry.embedding.last_mut() {
                    *last = 0.0;
                }
            }),
        memory("vectors are rounded to 16 bits")
            .caught_by("vectors-are-kept-bit-for-bit")
            .stores(|entry| {
                for value in &mut entry.embedding {
                    *value = f32::from_bits(value.to_bits() & !0x1fff);
                }
            }),
        memory("very small values of vectors are lost")
            .caught_by("tiny-values-are-kept")
            .stores(|entry| {
                for value in &mut entry.embedding {
                    if value.abs() < f32::MIN_POSITIVE {
                        *value = 0.0;
                    }
                }
            }),
        memory("vectors are made unit length")
            .caught_by("vectors-are-kept-bit-for-bit")
            .stores(|entry| {
                let vector = &mut entry.embedding;
                let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                if length > 0.0 {
                    vector.iter_mut().for_each(|value| *value /= length);
                }
            }),
        memory("numbers are cut to 32 bits")
            .caught_by("great-numbers-are-kept-exactly")
            .stores(|entry| {
                each_number(entry, |number| number & 0xffff_ffff);
                entry.ttl = entry.ttl.map(|ttl| ttl & 0xffff_ffff);
            }),
        memory("numbers are kept as floating point")
            .caught_by("great-numbers-are-kept-exactly")
            .stores(|entry| each_number(entry, |number| number as f32 as u64)),
        memory("a lifetime of 0 is taken for none")
            .caught_by("a-ttl-of-zero-expires-at-once")
            .stores(|entry| entry.ttl = entry.ttl.filter(|ttl| *ttl > 0)),
        memory("no lifetime is taken for 0")
            .caught_by("an-entry-without-a-ttl-never-expires")
            .stores(|entry| entry.ttl = entry.ttl.or(Some(0))),
        memory("the last access is that of creation")
            .caught_by("an-inserted-entry-is-there-whole")
            .stores(|entry| entry.last_accessed_at = entry.created_at),
        memory("access counts begin at 0")
            .caught_by("an-inserted-entry-is-there-whole")
            .stores(|entry| entry.access_count = 0),
    ]
}

pub fn replacing() -> Vec<Known> {
    faults![
        memory("a replacement keeps the old lifetime")
            .caught_by("upsert-can-give-a-ttl")
            .keeps_old(|new, old| new.ttl = old.ttl),
        memory("a replacement without lifetime keeps the old one")
            .caught_by("upsert-can-take-the-ttl-away")
            .keeps_old(|new, old| new.ttl = new.ttl.or(old.ttl)),
        memory("a replacement keeps the old access count")
            .caught_by("upsert-resets-the-access-data")
            .keeps_old(|new, old| new.access_count = old.access_count),
        memory("a replacement keeps the old time of creation")
            .caught_by("upsert-replaces-every-field")
            .keeps_old(|new, old| new.created_at = old.created_at),
        memory("a replacement keeps the old last access")
            .caught_by("upsert-resets-the-access-data")
            .keeps_old(|new, old| new.last_accessed_at = old.last_accessed_at),
        memory("a replacement moves the last access forward only")
            .caught_by("upsert-may-go-back-in-time")
            .keeps_old(|new, old| {
                new.last_accessed_at = new.last_accessed_at.max(old.last_accessed_at);
            }),
        memory("a replacement keeps the old response")
            .caught_by("upsert-replaces-every-field")
            .keeps_old(|new, old| new.response.clone_from(&old.response)),
        memory("a replacement keeps the old query")
            .caught_by("upsert-replaces-every-field")
            .keeps_old(|new, old| new.query.clone_from(&old.query)),
        memory("a replacement keeps the old metadata")
            .caught_by("upsert-replaces-every-field")
            .keeps_old(|new, old| new.metadata.clone_from(&old.metadata)),
        memory("a replacement keeps the old vector")
            .caught_by("upsert-replaces-the-vector")
            .keeps_old(|new, old| new.embedding.clone_from(&old.embedding)),
    ]
}

pub fn batches() -> Vec<Known> {
    faults![
        memory("errors of insert are swallowed")
            .caught_by("a-wrong-vector-in-the-middle-stores-nothing")
            .insert(|store, entries| {
                let ids = 1..=entries.len() as u64;
                let replaced = false;
                match store.insert(entries) {
                    Ok(inserted) => Ok(inserted),
                    Err(StoreError::Closed) => Err(StoreError::Closed),
                    Err(_) => Ok(ids.map(|id| Inserted { id, replaced }).collect()),
                }
            }),
        memory("a bad list is stored by half")
            .caught_by("a-wrong-vector-in-the-middle-stores-nothing")
            .insert(|store, entries| {
                let inserted = store.insert(entries.clone());
                if inserted.is_err() {
                    for entry in entries {
                        if store.insert(vec![entry]).is_err() {
                            break;
                        }
                    }
                }
                inserted
            }),
        memory("of two entries of one key the first is kept")
            .caught_by("a-pair-twice-in-a-list-is-its-last")
            .insert(|store, entries| {
                let mut first: Vec<Entry> = Vec::with_capacity(entries.len());
                for entry in entries {
                    let twin = first.iter().find(|other| same_pair(other, &entry));
                    first.push(twin.cloned().unwrap_or(entry));
                }
                store.insert(first)
            }),
    ]
}
