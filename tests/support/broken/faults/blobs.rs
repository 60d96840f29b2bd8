//! Faults of blobs, by themselves and beside everything else.

use super::{Known, memory, sqlite};
use crate::broken::blobs::beside::{
    KeepsThemHere, KeptOverRestore, Loses, Lost, NeverEmpty, Stale, Taken, Takes,
};
use crate::broken::blobs::{
    Buries, ListsTheDead, Named, SOUND, Steps, delete_all, delete_by_prefix, delete_known,
    delete_names, delete_one_by_one, delete_some, delete_until_unknown, read_by_prefix, read_names,
    read_once, unsupported, write_changed, write_once, write_or_lose, write_over, write_what_fits,
};
use crate::broken::opening::{AnswersClosed, Says};
use mneme::store::{ImportMode, Result, StoreError};

fn steps(name: &'static str, caught_by: &'static str, change: fn(&mut Steps)) -> Known {
    memory(name, caught_by, move || {
        let mut fault = SOUND;
        change(&mut fault);
        fault
    })
}

/// Of the bytes and their number.
pub fn bytes() -> Vec<Known> {
    vec![
        steps(
            "an empty blob is not stored",
            "an-empty-blob-comes-back",
            |s| {
                s.write = |store, name, bytes| match bytes.is_empty() {
                    true => store.delete_blobs(&[name.to_owned()]),
                    false => store.write_blob(name, bytes),
                };
            },
        ),
        steps(
            "a missing blob is an empty one",
            "a-missing-blob-is-none",
            |s| {
                s.read = |store, name| Ok(Some(store.read_blob(name)?.unwrap_or_default()));
            },
        ),
        steps("a blob ends at U+0000", "a-blob-holds-any-bytes", |s| {
            s.write = |store, name, bytes| {
                write_changed(store, name, bytes, |bytes| {
                    let end = bytes.iter().position(|byte| *byte == 0);
                    bytes.truncate(end.unwrap_or(bytes.len()));
                })
            };
        }),
        steps("a blob is kept as text", "a-blob-holds-any-bytes", |s| {
            s.write = |store, name, bytes| {
                write_changed(store, name, bytes, |bytes| {
                    *bytes = String::from_utf8_lossy(bytes).into_owned().into_bytes();
                })
            };
        }),
        steps(
            "white space around a blob is lost",
            "a-blob-holds-any-bytes",
            |s| {
                s.write = |store, name, bytes| {
                    write_changed(store, name, bytes, |bytes| {
                        *bytes = bytes.trim_ascii().to_vec()
                    })
                };
            },
        ),
        steps(
            "a blob is cut at 64 KiB",
            "a-blob-of-max-blob-comes-back",
            |s| {
                s.write = |store, name, bytes| {
                    write_changed(store, name, bytes, |bytes| bytes.truncate(65_536))
                };
            },
        ),
        steps(
            "larger blobs are promised than are taken",
            "a-blob-of-max-blob-comes-back",
            |s| {
                s.says = |says| says.max_blob *= 2;
            },
        ),
        steps(
            "a blob of any size is taken",
            "too-large-a-blob-is-refused",
            |s| {
                s.says = |says| says.max_blob = 65_536;
            },
        ),
        steps(
            "too large a blob is cut",
            "too-large-a-blob-is-refused",
            |s| {
                s.write = write_what_fits;
            },
        ),
        steps(
            "too large a blob takes the present one along",
            "too-large-a-blob-is-refused",
            |s| {
                s.write = write_or_lose;
            },
        ),
        steps(
            "a shorter blob keeps the end of the one before",
            "a-blob-is-replaced",
            |s| {
                s.write = write_over;
            },
        ),
        steps("a blob is not replaced", "a-blob-is-replaced", |s| {
            s.write = write_once
        }),
        steps("a blob is read once", "a-blob-comes-back", |s| {
            s.read = read_once
        }),
        memory(
            "a deleted blob cannot be written again",
            "a-deleted-blob-can-be-written-again",
            Buries::default,
        ),
    ]
}

/// Of names, lists and deletes.
pub fn names() -> Vec<Known> {
    vec![
        memory(
            "slashes and dots in names of blobs are the same",
            "names-of-blobs-are-exact",
            || Named(|name| name.replace('/', ".")),
        ),
        memory(
            "long names of blobs are cut",
            "names-of-blobs-are-exact",
            || Named(|name| name.chars().take(99).collect()),
        ),
        memory(
            "any name of a blob is made to fit",
            "what-is-no-name-of-a-blob-is-refused",
            || Named(|name| name.to_ascii_lowercase()),
        ),
        steps(
            "a blob is found by the beginning of its name",
            "a-missing-blob-is-none",
            |s| s.read = read_by_prefix,
        ),
        steps(
            "nothing is there under what is no name of a blob",
            "what-is-no-name-of-a-blob-is-refused",
            |s| s.read = read_names,
        ),
        steps(
            "what is no name of a blob is passed over",
            "what-is-no-name-of-a-blob-is-refused",
            |s| s.delete = delete_names,
        ),
        steps(
            "blobs are deleted up to what is no name",
            "what-is-no-name-of-a-blob-is-refused",
            |s| s.delete = delete_one_by_one,
        ),
        steps("deleting one blob deletes all", "blobs-are-deleted", |s| {
            s.delete = delete_all;
        }),
        steps(
            "blobs are deleted by the beginning of their names",
            "blobs-are-deleted",
            |s| s.delete = delete_by_prefix,
        ),
        steps("deleting blobs does nothing", "blobs-are-deleted", |s| {
            s.delete = |store, _| store.delete_blobs(&[]);
        }),
        steps(
            "a hundred blobs are deleted at most",
            "many-blobs-are-listed",
            |s| {
                s.delete = delete_some;
            },
        ),
        steps(
            "blobs are deleted up to one that is not there",
            "unknown-blobs-are-passed-over",
            |s| s.delete = delete_until_unknown,
        ),
        steps(
            "deleting a blob that is not there is an error",
            "unknown-blobs-are-passed-over",
            |s| s.delete = delete_known,
        ),
        memory(
            "deleted blobs are listed",
            "blobs-are-deleted",
            ListsTheDead::default,
        ),
        steps(
            "blobs are listed backwards",
            "blobs-are-listed-by-bytes",
            |s| {
                s.list = |store| Ok(store.list_blobs()?.into_iter().rev().collect());
            },
        ),
        steps(
            "a hundred blobs are listed at most",
            "many-blobs-are-listed",
            |s| {
                s.list = |store| Ok(store.list_blobs()?.into_iter().take(100).collect());
            },
        ),
    ]
}

/// Of blobs beside everything else.
pub fn beside() -> Vec<Known> {
    let takes = |taken: Taken| move || Takes::them(taken);
    let loses = |by: Lost| move || Loses::all(by);
    vec![
        memory(
            "writing a blob moves the counter",
            "blobs-move-no-counter",
            takes(Taken::ForWrites),
        ),
        memory(
            "blobs are counted",
            "blobs-are-no-entries",
            takes(Taken::ForEntries),
        ),
        memory(
            "blobs are read as meta",
            "blobs-and-meta-are-apart",
            takes(Taken::ForMeta),
        ),
        memory(
            "blobs are listed as meta",
            "blobs-and-meta-are-apart",
            takes(Taken::ForListedMeta),
        ),
        memory(
            "a meta value takes the blob of its name along",
            "blobs-and-meta-are-apart",
            takes(Taken::WithMeta),
        ),
        memory(
            "a blob takes the meta value of its name along",
            "blobs-and-meta-are-apart",
            takes(Taken::WithBlobs),
        ),
        memory(
            "deleting an entry loses the blobs",
            "deletes-of-entries-leave-blobs",
            loses(Lost::ByDelete),
        ),
        memory(
            "expiry loses the blobs",
            "deletes-of-entries-leave-blobs",
            loses(Lost::ByExpiry),
        ),
        memory(
            "clearing a namespace loses the blobs",
            "deletes-of-entries-leave-blobs",
            loses(Lost::ByClear),
        ),
        memory(
            "clearing all loses the blobs",
            "clearing-all-leaves-blobs",
            loses(Lost::ByClearOfAll),
        ),
        memory(
            "an import loses the blobs",
            "an-import-leaves-blobs",
            loses(Lost::ByImport(ImportMode::Merge)),
        ),
        memory(
            "an import into an empty store loses the blobs",
            "an-import-into-an-empty-store-leaves-blobs",
            loses(Lost::ByImport(ImportMode::Empty)),
        ),
        memory(
            "a replacing import loses the blobs",
            "a-replacing-import-leaves-blobs",
            loses(Lost::ByImport(ImportMode::Replace)),
        ),
        memory(
            "end-import loses the blobs",
            "an-ended-import-leaves-blobs",
            loses(Lost::ByEnd),
        ),
        memory(
            "a store with blobs is not empty",
            "an-import-into-an-empty-store-leaves-blobs",
            || NeverEmpty,
        ),
        memory(
            "a view loses the blobs",
            "a-view-shows-blobs",
            loses(Lost::ByView),
        ),
        memory(
            "close loses the blobs",
            "blobs-survive-close-and-open",
            loses(Lost::ByClose),
        ),
        sqlite("blobs are not kept", "blobs-survive-a-drop", |_| {
            KeepsThemHere::default()
        }),
        sqlite(
            "a second store sees the blobs that it read before",
            "blobs-are-seen-by-another-store",
            |_| Stale::default(),
        ),
        sqlite(
            "a restore leaves blobs as they were",
            "a-restore-makes-no-blob-up",
            |_| KeptOverRestore,
        ),
    ]
}

/// Of what a store says of its blobs, and of closed ones.
pub fn claims() -> Vec<Known> {
    let closed = |at: &'static str| move || AnswersClosed(at);
    vec![
        memory(
            "a blob of 64 KiB is too large",
            "a-blob-may-have-enough-bytes-or-none",
            || Says(|says| says.max_blob = 65_535),
        ),
        memory(
            "blobs are there and not promised",
            "blobs-are-as-the-capabilities-say",
            || Says(|says| says.max_blob = 0),
        ),
        sqlite(
            "blobs that last are there and not promised",
            "blobs-survive-a-drop",
            |_| Says(|says| says.max_blob = 0),
        ),
        steps(
            "blobs are promised and not there",
            "blobs-are-as-the-capabilities-say",
            |s| {
                s.read = |_, _| Err(unsupported());
                s.write = |_, _, _| Err(unsupported());
                s.delete = |_, _| Err(unsupported());
                s.list = |_| Err(unsupported());
            },
        ),
        steps(
            "blobs cannot be listed",
            "blobs-are-as-the-capabilities-say",
            |s| {
                s.list = unlisted;
            },
        ),
        memory(
            "read-blob answers when it is closed",
            "blobs-after-close-are-refused",
            closed("read_blob"),
        ),
        memory(
            "write-blob answers when it is closed",
            "blobs-before-open-are-refused",
            closed("write_blob"),
        ),
        memory(
            "delete-blobs answers when it is closed",
            "blobs-after-close-are-refused",
            closed("delete_blobs"),
        ),
        memory(
            "list-blobs answers when it is closed",
            "blobs-before-open-are-refused",
            closed("list_blobs"),
        ),
    ]
}

/// Says that there is no list.
fn unlisted(store: &mut crate::broken::Sound) -> Result<Vec<String>> {
    store.list_blobs()?;
    Err(StoreError::Unsupported("blobs are not listed".into()))
}
