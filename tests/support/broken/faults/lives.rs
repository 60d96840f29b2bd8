//! Faults of a store's life: opening, closing, other stores beside it, snapshots.

use super::{Known, memory, sqlite};
use crate::broken::crashing::{
    OneByOne, OwnCounter, StaleGuard, StaleReads, StaleSettings, StaleWalk,
};
use crate::broken::opening::{
    AnswersClosed, ChangesItsMind, ChecksOnce, Opens, OpensAnyway, Says, SaysOfHealth, StaysOpen,
    close_once, forget_at_close, open_in_range, open_once,
};
use crate::broken::snapshots;
use crate::broken::snapshots::{
    KeepsCounter, LosesCounter, Steps, commit_whatever_comes, commit_without_quotas,
    restore_into_nothing,
};
use mneme::store::{BackendError, StoreError};
use std::path::Path;

/// Of opening and closing.
pub fn opening() -> Vec<Known> {
    vec![
        memory(
            "another fingerprint is accepted",
            "another-fingerprint-is-refused",
            || OpensAnyway {
                fingerprint: true,
                dim: false,
            },
        ),
        memory(
            "another number of dimensions is accepted",
            "another-dimension-is-refused",
            || OpensAnyway {
                fingerprint: false,
                dim: true,
            },
        ),
        memory(
            "a store that refused to open is open",
            "a-refused-open-leaves-a-closed-store",
            || StaysOpen,
        ),
        memory(
            "an open store does not check again",
            "a-refused-open-leaves-a-closed-store",
            ChecksOnce::default,
        ),
        memory(
            "an open store cannot be opened again",
            "opening-an-open-store-is-allowed",
            || Opens {
                open: open_once,
                close: |store| store.close(),
            },
        ),
        memory(
            "a closed store cannot be closed again",
            "closing-twice-is-allowed",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: close_once,
            },
        ),
        memory(
            "close does nothing",
            "reads-after-close-are-refused",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: |_| Ok(()),
            },
        ),
        memory(
            "close loses the entries",
            "data-survives-close-and-open",
            || Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: forget_at_close,
            },
        ),
        memory(
            "opening loses the quotas",
            "data-survives-close-and-open",
            || Opens {
                open: |store, fingerprint, dim| {
                    store.open(fingerprint, dim)?;
                    for (name, _) in store.list_namespace_quotas()? {
                        store.set_namespace_quota(&name, None)?;
                    }
                    Ok(())
                },
                close: |store| store.close(),
            },
        ),
        memory(
            "a sound store is called damaged",
            "sound-data-is-sound",
            || SaysOfHealth(|| Ok(false)),
        ),
        memory(
            "the check of a sound store fails",
            "sound-data-is-sound",
            || {
                SaysOfHealth(|| {
                    Err(StoreError::Backend(BackendError {
                        message: "the check is not there; call later".into(),
                        retryable: true,
                    }))
                })
            },
        ),
        memory(
            "any number of dimensions is accepted",
            "too-large-a-dimension-is-refused",
            || Opens {
                open: open_in_range,
                close: |store| store.close(),
            },
        ),
    ]
}

/// Of closed stores.
pub fn closed() -> Vec<Known> {
    let closed = |at: &'static str| move || AnswersClosed(at);
    vec![
        memory(
            "get-by-hash answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_by_hash"),
        ),
        memory(
            "get-by-ids answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_by_ids"),
        ),
        memory(
            "count answers when it is closed",
            "reads-after-close-are-refused",
            closed("count"),
        ),
        memory(
            "list-namespaces answers when it is closed",
            "reads-after-close-are-refused",
            closed("list_namespaces"),
        ),
        memory(
            "count-by-namespace answers when it is closed",
            "reads-after-close-are-refused",
            closed("count_by_namespace"),
        ),
        memory(
            "iter-lru-ids answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_lru_ids"),
        ),
        memory(
            "iter-since answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_since"),
        ),
        memory(
            "iter-vectors answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_vectors"),
        ),
        memory(
            "iter-stamps answers when it is closed",
            "reads-after-close-are-refused",
            closed("iter_stamps"),
        ),
        memory(
            "insert answers when it is closed",
            "writes-after-close-are-refused",
            closed("insert"),
        ),
        memory(
            "update-access answers when it is closed",
            "writes-after-close-are-refused",
            closed("update_access"),
        ),
        memory(
            "delete-by-id answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_by_id"),
        ),
        memory(
            "delete-unchanged answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_unchanged"),
        ),
        memory(
            "delete-expired answers when it is closed",
            "writes-after-close-are-refused",
            closed("delete_expired"),
        ),
        memory(
            "clear-namespace answers when it is closed",
            "writes-after-close-are-refused",
            closed("clear_namespace"),
        ),
        memory(
            "get-namespace-quota answers when it is closed",
            "reads-after-close-are-refused",
            closed("get_namespace_quota"),
        ),
        memory(
            "set-namespace-quota answers when it is closed",
            "writes-after-close-are-refused",
            closed("set_namespace_quota"),
        ),
        memory(
            "list-namespace-quotas answers when it is closed",
            "reads-after-close-are-refused",
            closed("list_namespace_quotas"),
        ),
        memory(
            "read-version-counter answers when it is closed",
            "reads-after-close-are-refused",
            closed("read_version_counter"),
        ),
        memory(
            "read-meta answers when it is closed",
            "reads-after-close-are-refused",
            closed("read_meta"),
        ),
        memory(
            "replace-meta answers when it is closed",
            "writes-after-close-are-refused",
            closed("replace_meta"),
        ),
        memory(
            "integrity-check answers when it is closed",
            "reads-after-close-are-refused",
            closed("integrity_check"),
        ),
        memory(
            "list-meta answers when it is closed",
            "reads-after-close-are-refused",
            closed("list_meta"),
        ),
        memory(
            "begin-view answers when it is closed",
            "reads-after-close-are-refused",
            closed("begin_view"),
        ),
        memory(
            "end-view answers when it is closed",
            "reads-after-close-are-refused",
            closed("end_view"),
        ),
        memory(
            "begin-import answers when it is closed",
            "writes-after-close-are-refused",
            closed("begin_import"),
        ),
        memory(
            "write-import answers when it is closed",
            "writes-after-close-are-refused",
            closed("write_import"),
        ),
        memory(
            "commit-import answers when it is closed",
            "writes-after-close-are-refused",
            closed("commit_import"),
        ),
        memory(
            "end-import answers when it is closed",
            "writes-after-close-are-refused",
            closed("end_import"),
        ),
        sqlite(
            "end-restore answers when it is closed",
            "snapshots-after-close-are-refused",
            move |_| closed("end_restore")(),
        ),
        sqlite(
            "begin-snapshot answers when it is closed",
            "snapshots-after-close-are-refused",
            move |_| closed("begin_snapshot")(),
        ),
        sqlite(
            "begin-restore answers when it is closed",
            "snapshots-after-close-are-refused",
            move |_| closed("begin_restore")(),
        ),
    ]
}

/// Of what a store says of itself.
pub fn capabilities() -> Vec<Known> {
    vec![
        memory(
            "the store has no name",
            "the-store-has-a-short-lowercase-name",
            || Says(|says| says.name.clear()),
        ),
        memory(
            "the name is not short and lowercase",
            "the-store-has-a-short-lowercase-name",
            || Says(|says| says.name = "My Store".into()),
        ),
        memory(
            "no entry can be inserted",
            "a-call-takes-at-least-one-entry",
            || Says(|says| says.max_batch = 0),
        ),
        memory(
            "no entry can be deleted",
            "a-call-takes-at-least-one-entry",
            || Says(|says| says.max_delete = 0),
        ),
        memory(
            "more entries are promised than one insert takes",
            "a-list-of-max-batch-is-accepted",
            || Says(|says| says.max_batch *= 2),
        ),
        memory(
            "entries are said to survive, and do not",
            "entries-survive-a-drop",
            || Says(|says| says.durable = true),
        ),
        memory(
            "snapshots are promised and not there",
            "a-restore-brings-everything-back",
            || Says(|says| says.snapshot = true),
        ),
        sqlite(
            "snapshots are there and not promised",
            "snapshots-are-as-the-capabilities-say",
            |_| Says(|says| says.snapshot = false),
        ),
        memory(
            "capabilities change when the store opens",
            "capabilities-are-the-same-open-and-closed",
            ChangesItsMind::by_opening,
        ),
        memory(
            "capabilities change with the data",
            "capabilities-do-not-change-with-the-data",
            ChangesItsMind::by_inserting,
        ),
    ]
}

/// Between two stores.
pub fn between_stores() -> Vec<Known> {
    vec![
        sqlite(
            "a second store sees what it read before",
            "deletes-are-seen-by-another-store",
            |_| StaleReads::default(),
        ),
        sqlite(
            "a second store counts its own writes only",
            "an-insert-beside-is-seen-by-the-first-store",
            |_| OwnCounter::default(),
        ),
        sqlite(
            "a list is stored one by one",
            "an-insert-is-seen-by-another-store",
            |_| OneByOne,
        ),
        sqlite(
            "a second store keeps the quotas that it read",
            "quotas-are-seen-by-another-store",
            |_| StaleSettings::default(),
        ),
        sqlite(
            "meta is compared to what the store has read before",
            "meta-is-compared-across-stores",
            |_| StaleSettings::default(),
        ),
        sqlite(
            "an entry that another store replaced is deleted",
            "an-entry-replaced-beside-stays",
            |_| StaleGuard::default(),
        ),
        sqlite(
            "a walk goes on in the rows of its beginning",
            "a-page-goes-on-after-writes-beside",
            |_| StaleWalk::default(),
        ),
        sqlite(
            "a second store may have another embedder",
            "another-embedder-is-refused-beside",
            |_| OpensAnyway {
                fingerprint: true,
                dim: true,
            },
        ),
        sqlite(
            "closing one store empties the other",
            "closing-one-store-leaves-the-other",
            |_| Opens {
                open: |store, fingerprint, dim| store.open(fingerprint, dim),
                close: forget_at_close,
            },
        ),
    ]
}

/// Of snapshots.
pub fn snapshots() -> Vec<Known> {
    let steps = |change: fn(&mut Steps)| {
        move |_: &Path| {
            let mut fault = snapshots::SOUND;
            change(&mut fault);
            fault
        }
    };
    vec![
        sqlite(
            "a restore sets the counter back",
            "a-restore-moves-the-counter-on",
            |_| LosesCounter::default(),
        ),
        sqlite(
            "a restore does not move the counter",
            "a-restore-moves-the-counter-on",
            |_| KeepsCounter::default(),
        ),
        sqlite(
            "the size of a snapshot is not its size",
            "a-snapshot-has-the-size-it-names",
            steps(|s| {
                s.begin = |store| store.begin_snapshot().map(|size| size + 1);
            }),
        ),
        sqlite(
            "a snapshot is read in pieces that are too large",
            "reads-of-a-snapshot-respect-their-maximum",
            steps(|s| {
                s.read = |store, max| store.read_snapshot(max.saturating_mul(2));
            }),
        ),
        sqlite(
            "a restore loses the quotas",
            "a-restore-brings-everything-back",
            steps(|s| s.commit = commit_without_quotas),
        ),
        sqlite(
            "a restore passes over damage",
            "garbage-is-not-restored",
            steps(|s| s.commit = commit_whatever_comes),
        ),
        sqlite(
            "a restore empties the store before it is done",
            "data-is-served-until-commit",
            steps(|s| {
                s.restore = restore_into_nothing;
            }),
        ),
        sqlite(
            "a restore does nothing",
            "a-restore-brings-everything-back",
            steps(|s| s.commit = |_, _| Ok(())),
        ),
    ]
}
