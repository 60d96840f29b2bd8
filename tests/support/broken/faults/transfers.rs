//! Faults of what whole caches are moved with: lists of meta, views and checked restores.

use super::{Known, memory, sqlite};
use crate::broken::settings::{ListsMeta, StaleList};
use crate::broken::snapshots;
use crate::broken::views::{self, OutlivesClose, Strict};
use mneme::store::StoreError;
use std::path::Path;

/// Of listing meta.
pub fn listing_meta() -> Vec<Known> {
    vec![
        memory(
            "list-meta leaves out its last key",
            "meta-that-was-set-is-listed",
            || ListsMeta(|list| drop(list.pop())),
        ),
        memory(
            "list-meta is sorted by UTF-16",
            "meta-is-listed-by-bytes",
            || {
                ListsMeta(|list| {
                    list.sort_by_key(|(key, _)| key.encode_utf16().collect::<Vec<_>>())
                })
            },
        ),
        memory("listed keys end at U+0000", "odd-meta-is-listed", || {
            ListsMeta(|list| {
                for (key, _) in list {
                    *key = key.split('\0').next().unwrap_or_default().to_owned();
                }
            })
        }),
        memory(
            "list-meta lists what was there at first",
            "listed-meta-follows-every-change",
            StaleList::default,
        ),
        memory(
            "list-meta lists the embedder",
            "the-stores-own-meta-is-not-listed",
            || {
                ListsMeta(|list| {
                    list.push(("embedder_dim".into(), "8".into()));
                    list.sort();
                })
            },
        ),
        memory(
            "listed values end at 16 KiB",
            "long-meta-is-listed-whole",
            || {
                ListsMeta(|list| {
                    list.iter_mut()
                        .for_each(|(_, value)| value.truncate(16_384))
                })
            },
        ),
        memory(
            "list-meta lists a hundred keys",
            "many-keys-are-listed",
            || ListsMeta(|list| list.truncate(100)),
        ),
    ]
}

/// Of views.
pub fn views() -> Vec<Known> {
    vec![
        memory("begin-view is unsupported", "a-view-shows-the-data", || {
            views::Steps {
                begin: |_| Err(StoreError::Unsupported("views".into())),
                end: |store| store.end_view(),
            }
        }),
        memory(
            "end-view fails where there is none",
            "ending-no-view-is-allowed",
            || Strict {
                beginning: false,
                begun: false,
            },
        ),
        memory(
            "begin-view fails in a view",
            "a-new-view-ends-the-one-before",
            || Strict {
                beginning: true,
                begun: false,
            },
        ),
        memory(
            "a view goes on after close and open",
            "a-view-does-not-outlive-close",
            OutlivesClose::default,
        ),
        sqlite(
            "a view is promised and not there",
            "a-view-holds-still",
            |_| views::Steps {
                begin: |_| Ok(true),
                end: |store| store.end_view(),
            },
        ),
        sqlite(
            "end-view ends nothing",
            "an-ended-view-shows-what-was-written",
            |_| views::Steps {
                begin: |store| store.begin_view(),
                end: |_| Ok(()),
            },
        ),
    ]
}

/// Of restores that are checked.
pub fn checked_restores() -> Vec<Known> {
    let steps = |change: fn(&mut snapshots::Steps)| {
        move |_: &Path| {
            let mut fault = snapshots::SOUND;
            change(&mut fault);
            fault
        }
    };
    vec![
        sqlite(
            "check-restore tells no quotas",
            "a-checked-snapshot-says-what-it-holds",
            steps(|s| {
                s.check = |store| {
                    let mut held = store.check_restore()?;
                    held.quotas.clear();
                    Ok(held)
                };
            }),
        ),
        sqlite(
            "read-restore reads the present data",
            "a-checked-snapshot-is-read-in-pages",
            steps(|s| s.look = |store, last_id, limit| store.iter_since(last_id, limit)),
        ),
        sqlite(
            "check-restore ends the restore",
            "a-checked-snapshot-is-restored",
            steps(|s| s.check = snapshots::check_and_forget),
        ),
        sqlite(
            "a checked restore takes more bytes",
            "a-checked-snapshot-takes-no-more",
            steps(|s| s.write = snapshots::write_or_drop),
        ),
        sqlite(
            "check-restore passes over damage",
            "damage-is-found-by-the-check",
            steps(|s| s.check = snapshots::check_whatever_comes),
        ),
        sqlite(
            "check-restore checks what is not there",
            "checks-need-a-restore",
            steps(|s| s.check = snapshots::check_anyway),
        ),
        sqlite(
            "a restore into an empty store goes ahead among entries",
            "entries-refuse-a-restore-into-an-empty-store",
            steps(|s| s.commit = |store, _| store.commit_restore(false)),
        ),
        sqlite(
            "a restore into an empty store is refused",
            "an-empty-store-takes-a-restore",
            steps(|s| s.commit = snapshots::commit_into_no_store),
        ),
        sqlite(
            "end-restore ends nothing",
            "an-ended-restore-is-forgotten",
            steps(|s| s.end = |_| Ok(())),
        ),
        sqlite(
            "end-restore fails where there is none",
            "ending-no-restore-is-allowed",
            steps(|s| s.end = snapshots::end_what_is_begun),
        ),
    ]
}
