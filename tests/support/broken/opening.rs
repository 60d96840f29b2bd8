//! Faults of opening and closing, and of what a store says of itself.

use super::{Fault, Known, Sound, memory, sqlite};
use mneme::store::{BackendError, Result, StoreError};

/// What of the embedder is not compared when a store is opened.
#[derive(Clone, Copy)]
struct Uncompared {
    fingerprint: bool,
    dim: bool,
}

const FINGERPRINT: Uncompared = Uncompared {
    fingerprint: true,
    dim: false,
};
const DIM: Uncompared = Uncompared {
    fingerprint: false,
    dim: true,
};
const ALL: Uncompared = Uncompared {
    fingerprint: true,
    dim: true,
};

impl Uncompared {
    fn open(self, store: &mut Sound, fingerprint: &str, mut dim: u32) -> Result<()> {
        let mut fingerprint = fingerprint.to_owned();
        loop {
            match store.open(&fingerprint, dim) {
                Err(StoreError::EmbedderMismatch(mismatch)) if self.fingerprint => {
                    fingerprint = mismatch.stored;
                }
                Err(StoreError::EmbedderDimension(mismatch)) if self.dim => {
                    dim = mismatch.expected;
                }
                result => return result,
            }
        }
    }
}

impl Fault {
    /// Opens with another embedder than it was made with.
    fn opens_with_any(self, uncompared: Uncompared) -> Self {
        self.open(move |store, fingerprint, dim| uncompared.open(store.sound, fingerprint, dim))
    }

    /// Opens with any other embedder than it was made with.
    pub(super) fn opens_anyway(self) -> Self {
        self.opens_with_any(ALL)
    }
}

/// Forgets all entries when it is closed.
pub fn forget_at_close(store: &mut Sound) -> Result<()> {
    if store.read_version_counter().is_ok() {
        store.clear_namespace(None)?;
    }
    store.close()
}

/// Forgets all quotas.
pub fn forget_quotas(store: &mut Sound) -> Result<()> {
    for (name, _) in store.list_namespace_quotas()? {
        store.set_namespace_quota(&name, None)?;
    }
    Ok(())
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("another fingerprint is accepted")
            .caught_by("another-fingerprint-is-refused")
            .opens_with_any(FINGERPRINT),
        memory("another number of dimensions is accepted")
            .caught_by("another-dimension-is-refused")
            .opens_with_any(DIM),
        memory("a store that refused to open is open")
            .caught_by("a-refused-open-leaves-a-closed-store")
            .open(|store, fingerprint, dim| {
                let result = store.open(fingerprint, dim);
                if result.is_err() {
                    ALL.open(store.sound, fingerprint, dim)?;
                }
                result
            }),
        memory("an open store does not check again")
            .caught_by("a-refused-open-leaves-a-closed-store")
            .keeping::<bool>()
            .open(|store, fingerprint, dim| {
                if !*store.kept {
                    store.open(fingerprint, dim)?;
                    *store.kept = true;
                }
                Ok(())
            })
            .close(|store| {
                *store.kept = false;
                store.close()
            }),
        memory("an open store cannot be opened again")
            .caught_by("opening-an-open-store-is-allowed")
            .open(|store, fingerprint, dim| {
                if store.read_version_counter().is_ok() {
                    return Err(StoreError::InvalidArgument("it is open already".into()));
                }
                store.open(fingerprint, dim)
            }),
        memory("a closed store cannot be closed again")
            .caught_by("closing-twice-is-allowed")
            .close(|store| {
                store.read_version_counter()?;
                store.close()
            }),
        memory("close does nothing")
            .caught_by("reads-after-close-are-refused")
            .close(|_| Ok(())),
        memory("close loses the entries")
            .caught_by("data-survives-close-and-open")
            .close(|store| forget_at_close(store.sound)),
        memory("opening loses the quotas")
            .caught_by("data-survives-close-and-open")
            .open(|store, fingerprint, dim| {
                store.open(fingerprint, dim)?;
                forget_quotas(store.sound)
            }),
        memory("a sound store is called damaged")
            .caught_by("sound-data-is-sound")
            .integrity_check(|store| store.integrity_check().map(|_| false)),
        memory("the check of a sound store fails")
            .caught_by("sound-data-is-sound")
            .integrity_check(|store| {
                store.integrity_check()?;
                Err(StoreError::Backend(BackendError {
                    message: "the check is not there; call later".into(),
                    retryable: true,
                }))
            }),
        memory("any number of dimensions is accepted")
            .caught_by("too-large-a-dimension-is-refused")
            .open(
                |store, fingerprint, dim| match store.open(fingerprint, dim) {
                    Err(StoreError::InvalidArgument(_)) => {
                        DIM.open(store.sound, fingerprint, dim.clamp(1, 65_536))
                    }
                    result => result,
                }
            ),
    ]
}

pub fn capabilities() -> Vec<Known> {
    faults![
        memory("the store has no name")
            .caught_by("the-store-has-a-short-lowercase-name")
            .capabilities(|_, says| says.name.clear()),
        memory("the name is not short and lowercase")
            .caught_by("the-store-has-a-short-lowercase-name")
            .capabilities(|_, says| says.name = "My Store".into()),
        memory("no entry can be inserted")
            .caught_by("a-call-takes-at-least-one-entry")
            .capabilities(|_, says| says.max_batch = 0),
        memory("no entry can be deleted")
            .caught_by("a-call-takes-at-least-one-entry")
            .capabilities(|_, says| says.max_delete = 0),
        memory("more entries are promised than one insert takes")
            .caught_by("a-list-of-max-batch-is-accepted")
            .capabilities(|_, says| says.max_batch *= 2),
        memory("entries are said to survive, and do not")
            .caught_by("entries-survive-a-drop")
            .capabilities(|_, says| says.durable = true),
        memory("snapshots are promised and not there")
            .caught_by("a-restore-brings-everything-back")
            .capabilities(|_, says| says.snapshot = true),
        sqlite("snapshots are there and not promised")
            .caught_by("snapshots-are-as-the-capabilities-say")
            .capabilities(|_, says| says.snapshot = false),
        memory("capabilities change when the store opens")
            .caught_by("capabilities-are-the-same-open-and-closed")
            .keeping::<bool>()
            .open(|store, fingerprint, dim| {
                *store.kept = true;
                store.open(fingerprint, dim)
            })
            .capabilities(|opened, says| says.max_batch -= u32::from(*opened)),
        memory("capabilities change with the data")
            .caught_by("capabilities-do-not-change-with-the-data")
            .keeping::<bool>()
            .insert(|store, entries| {
                *store.kept = true;
                store.insert(entries)
            })
            .capabilities(|inserted, says| says.max_batch -= u32::from(*inserted)),
    ]
}
