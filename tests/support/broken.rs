//! Stores that are broken on purpose, each by one fault, to judge the judge of stores.

pub mod access;
pub mod blobs;
pub mod counting;
pub mod counts;
pub mod crashing;
pub mod entries;
pub mod expiry;
pub mod faults;
pub mod ids;
pub mod imports;
pub mod keys;
pub mod opening;
pub mod pages;
pub mod settings;
pub mod snapshots;
pub mod texts;
pub mod views;

use mneme::{MemoryStore, SqliteStore};
use mneme_store::checks::Embedder;
use mneme_store::{CapabilitySet, Entry, EntryKey, EntryRef, Result, Store, for_each_operation};
use std::path::Path;

/// What a fault works on: the sound store behind it.
pub type Sound = dyn Store;

/// The methods of a fault, which call the sound store.
macro_rules! sound {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(
            #[doc = concat!("See [`Store::", stringify!($name), "`].")]
            ///
            /// # Errors
            ///
            /// As there.
            fn $name(&mut self, store: &mut Sound $(, $arg: $($type)*)*) -> Result<$($result)*> {
                store.$name($($arg),*)
            }
        )*
    };
}

/// One fault. What is not overridden is sound.
pub trait Fault: Send {
    /// How far a successful write moves the version counter that is shown; the sound
    /// one has moved or not.
    fn moves(&self, operation: &str, moved: bool) -> i64 {
        let _ = operation;
        i64::from(moved)
    }

    /// See [`Store::capabilities`].
    fn capabilities(&self, store: &Sound) -> CapabilitySet {
        store.capabilities()
    }

    /// See [`Store::recorded_embedder`].
    ///
    /// # Errors
    ///
    /// As there.
    fn recorded_embedder(&mut self, store: &mut Sound) -> Result<Option<Embedder>> {
        store.recorded_embedder()
    }

    for_each_operation!(sound![]);
}

/// The methods of a store, which go through its fault.
macro_rules! broken {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: $($type)*)*) -> Result<$($result)*> {
            broken!($kind $name, self, self.fault.$name(&mut *self.store $(, $arg)*))
        })*
    };
    (read read_version_counter, $self:ident, $call:expr) => {
        $call.map(|version| version.saturating_add_signed($self.shift))
    };
    (write $name:ident, $self:ident, $call:expr) => {{
        let before = $self.store.read_version_counter();
        let result = $call;
        $self.settle(before, stringify!($name), result.is_ok());
        result
    }};
    ($kind:ident $name:ident, $self:ident, $call:expr) => {
        $call
    };
}

#[deny(clippy::missing_trait_methods)]
impl Store for Broken {
    fn capabilities(&self) -> CapabilitySet {
        self.fault.capabilities(&*self.store)
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.fault.recorded_embedder(&mut *self.store)
    }

    for_each_operation!(broken![]);
}

/// A store with a fault.
pub struct Broken {
    store: Box<Sound>,
    fault: Box<dyn Fault>,
    /// The version counter that is shown, less the sound one.
    shift: i64,
}

impl Broken {
    /// Puts a fault before a store.
    pub fn new(store: impl Store + 'static, fault: Box<dyn Fault>) -> Self {
        Broken {
            store: Box::new(store),
            fault,
            shift: 0,
        }
    }

    /// Keeps the version counter that is shown in step with the calls, however many of the
    /// sound store's a fault has made of one.
    fn settle(&mut self, before: Result<u64>, operation: &str, done: bool) {
        // Of a closed store there is nothing to settle.
        let (Ok(before), Ok(after)) = (before, self.store.read_version_counter()) else {
            return;
        };
        let moved = i64::try_from(after - before).unwrap_or(i64::MAX);
        let shown = if done {
            self.fault.moves(operation, moved > 0)
        } else {
            0
        };
        self.shift += shown - moved;
    }
}

/// No fault.
pub struct Healthy;

impl Fault for Healthy {}

/// What a fault is put before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// A new memory store each time.
    Memory,
    /// A SQLite file.
    Sqlite,
}

impl Base {
    /// A store of this kind, broken by what `fault` makes of the path of its file.
    pub fn broken(self, path: &Path, fault: impl FnOnce(&Path) -> Box<dyn Fault>) -> Broken {
        match self {
            Base::Memory => Broken::new(MemoryStore::new(), fault(path)),
            Base::Sqlite => Broken::new(SqliteStore::new(path), fault(path)),
        }
    }
}

/// Every entry of a store.
///
/// # Errors
///
/// Those of the store.
pub(crate) fn all(store: &mut Sound) -> Result<Vec<Entry>> {
    store.iter_since(0, u32::MAX)
}

/// The entry that has the same namespace and hash, if there is one.
///
/// # Errors
///
/// Those of the store.
pub(crate) fn same_key(store: &mut Sound, entry: &Entry) -> Result<Option<Entry>> {
    Ok(store.get_by_hash(&[key(entry)])?.pop().flatten())
}

/// What names an entry, whatever its version.
pub(crate) fn key(entry: &Entry) -> EntryKey {
    EntryKey {
        namespace: entry.namespace.clone(),
        query_hash: entry.query_hash.clone(),
    }
}

/// What names the present version of an entry.
pub(crate) fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}
