//! Faults of opening and closing, and of what a store says of itself.

use super::{Fault, Sound};
use mneme_store::{
    CapabilitySet, Entry, Inserted, Restored, Result, StampPage, StoreError, VectorPage,
    for_each_operation,
};

/// Opens with another embedder than it was made with.
pub struct OpensAnyway {
    /// Whether the fingerprint is not compared.
    pub fingerprint: bool,
    /// Whether the number of dimensions is not compared.
    pub dim: bool,
}

impl Fault for OpensAnyway {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        let (mut fingerprint, mut dim) = (fingerprint.to_owned(), dim);
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

/// Takes a number of dimensions that is out of range for the nearest that is not.
pub fn open_in_range(store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
    match store.open(fingerprint, dim) {
        Err(StoreError::InvalidArgument(_)) => {
            let mut sound = OpensAnyway {
                fingerprint: false,
                dim: true,
            };
            sound.open(store, fingerprint, dim.clamp(1, 65_536))
        }
        result => result,
    }
}

/// Is open after it has refused to be.
pub struct StaysOpen;

impl Fault for StaysOpen {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        let result = store.open(fingerprint, dim);
        if result.is_err() {
            let mut sound = OpensAnyway {
                fingerprint: true,
                dim: true,
            };
            sound.open(store, fingerprint, dim)?;
        }
        result
    }
}

/// Checks only at the first time.
#[derive(Default)]
pub struct ChecksOnce {
    open: bool,
}

impl Fault for ChecksOnce {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        if !self.open {
            store.open(fingerprint, dim)?;
            self.open = true;
        }
        Ok(())
    }

    fn close(&mut self, store: &mut Sound) -> Result<()> {
        self.open = false;
        store.close()
    }
}

/// Opens or closes in another way.
pub struct Opens {
    /// Instead of opening.
    pub open: fn(&mut Sound, &str, u32) -> Result<()>,
    /// Instead of closing.
    pub close: fn(&mut Sound) -> Result<()>,
}

impl Fault for Opens {
    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        (self.open)(store, fingerprint, dim)
    }

    fn close(&mut self, store: &mut Sound) -> Result<()> {
        (self.close)(store)
    }
}

/// Refuses to be closed when it is closed.
pub fn close_once(store: &mut Sound) -> Result<()> {
    store.read_version_counter()?;
    store.close()
}

/// Refuses to be opened when it is open.
pub fn open_once(store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
    if store.read_version_counter().is_ok() {
        return Err(StoreError::InvalidArgument("it is open already".into()));
    }
    store.open(fingerprint, dim)
}

/// Forgets everything when it is closed.
pub fn forget_at_close(store: &mut Sound) -> Result<()> {
    if store.read_version_counter().is_ok() {
        store.clear_namespace(None)?;
    }
    store.close()
}

/// Answers when it is closed, at one operation, as if it were empty.
pub struct AnswersClosed(pub &'static str);

macro_rules! answers {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self, store: &mut Sound $(, $arg: $($type)*)*) -> Result<$($result)*> {
            match store.$name($($arg),*) {
                Err(StoreError::Closed) if self.0 == stringify!($name) => Ok(Empty::empty()),
                result => result,
            }
        })*
    };
}

impl Fault for AnswersClosed {
    for_each_operation!(answers![]);
}

/// What an operation finds where there is nothing.
trait Empty {
    fn empty() -> Self;
}

macro_rules! empty {
    ($($type:ty: $empty:expr;)*) => {
        $(impl Empty for $type {
            fn empty() -> Self {
                $empty
            }
        })*
    };
}

empty! {
    (): ();
    bool: false;
    u64: 0;
    VectorPage: VectorPage {
        ids: Vec::new(),
        namespaces: Vec::new(),
        created_at: Vec::new(),
        vectors: Vec::new(),
    };
    StampPage: StampPage {
        ids: Vec::new(),
        created_at: Vec::new(),
    };
    Restored: Restored {
        entries: 0,
        quotas: Vec::new(),
        meta: Vec::new(),
    };
}

impl<T> Empty for Vec<T> {
    fn empty() -> Self {
        Vec::new()
    }
}

impl<T> Empty for Option<T> {
    fn empty() -> Self {
        None
    }
}

/// Says something else of itself.
pub struct Says(pub fn(&mut CapabilitySet));

impl Fault for Says {
    fn capabilities(&self, store: &Sound) -> CapabilitySet {
        let mut capabilities = store.capabilities();
        (self.0)(&mut capabilities);
        capabilities
    }
}

/// Says something else of itself after a while.
pub struct ChangesItsMind {
    changed: bool,
    opening: bool,
}

impl ChangesItsMind {
    /// After it was opened.
    pub fn by_opening() -> Self {
        ChangesItsMind {
            changed: false,
            opening: true,
        }
    }

    /// After entries were inserted.
    pub fn by_inserting() -> Self {
        ChangesItsMind {
            changed: false,
            opening: false,
        }
    }
}

impl Fault for ChangesItsMind {
    fn capabilities(&self, store: &Sound) -> CapabilitySet {
        let mut capabilities = store.capabilities();
        capabilities.max_batch -= u32::from(self.changed);
        capabilities
    }

    fn open(&mut self, store: &mut Sound, fingerprint: &str, dim: u32) -> Result<()> {
        self.changed |= self.opening;
        store.open(fingerprint, dim)
    }

    fn insert(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.changed |= !self.opening;
        store.insert(entries)
    }
}

/// Says something else of its health.
pub struct SaysOfHealth(pub fn() -> Result<bool>);

impl Fault for SaysOfHealth {
    fn integrity_check(&mut self, store: &mut Sound) -> Result<bool> {
        store.integrity_check()?;
        (self.0)()
    }
}
