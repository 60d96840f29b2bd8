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

use mneme::store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Restored, Result,
    StampPage, Store, Touch, VectorPage,
};
use mneme::{MemoryStore, SqliteStore};
use std::path::Path;

/// What a fault works on: the sound store behind it.
pub type Sound = dyn Store;

/// Declares the trait of faults, whose calls go to the sound store unless they are
/// overridden, and the store that goes through a fault.
macro_rules! faulty {
    (
        reads { $(fn $read:ident($($read_arg:ident: $read_type:ty),*) -> $read_result:ty;)* }
        writes { $(fn $write:ident($($arg:ident: $type:ty),*) -> $result:ty;)* }
    ) => {
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

            /// See [`Store::read_version_counter`].
            ///
            /// # Errors
            ///
            /// As there.
            fn read_version_counter(&mut self, store: &mut Sound) -> Result<u64> {
                store.read_version_counter()
            }

            $(
                #[doc = concat!("See [`Store::", stringify!($read), "`].")]
                ///
                /// # Errors
                ///
                /// As there.
                fn $read(&mut self, store: &mut Sound $(, $read_arg: $read_type)*) -> Result<$read_result> {
                    store.$read($($read_arg),*)
                }
            )*
            $(
                #[doc = concat!("See [`Store::", stringify!($write), "`].")]
                ///
                /// # Errors
                ///
                /// As there.
                fn $write(&mut self, store: &mut Sound $(, $arg: $type)*) -> Result<$result> {
                    store.$write($($arg),*)
                }
            )*
        }

        impl Store for Broken {
            fn capabilities(&self) -> CapabilitySet {
                self.fault.capabilities(&*self.store)
            }

            $(fn $read(&mut self $(, $read_arg: $read_type)*) -> Result<$read_result> {
                self.fault.$read(&mut *self.store $(, $read_arg)*)
            })*

            $(fn $write(&mut self $(, $arg: $type)*) -> Result<$result> {
                let before = self.store.read_version_counter();
                let result = self.fault.$write(&mut *self.store $(, $arg)*);
                self.settle(before, stringify!($write), result.is_ok());
                result
            })*

            fn read_version_counter(&mut self) -> Result<u64> {
                let version = self.fault.read_version_counter(&mut *self.store)?;
                Ok(version.saturating_add_signed(self.shift))
            }
        }
    };
}

faulty! {
    reads {
        fn open(embedder_fingerprint: &str, embedder_dim: u32) -> ();
        fn close() -> ();
        fn get_by_hash(keys: &[EntryKey]) -> Vec<Option<Entry>>;
        fn get_by_ids(ids: &[u64]) -> Vec<Entry>;
        fn count(namespace: Option<&str>) -> u64;
        fn list_namespaces() -> Vec<String>;
        fn count_by_namespace() -> Vec<(String, u64)>;
        fn iter_lru_ids(n: u32, namespace: Option<&str>) -> Vec<EntryRef>;
        fn iter_since(last_id: u64, limit: u32) -> Vec<Entry>;
        fn iter_vectors(last_id: u64, limit: u32) -> VectorPage;
        fn iter_stamps(last_id: u64, limit: u32) -> StampPage;
        fn get_namespace_quota(namespace: &str) -> Option<u64>;
        fn list_namespace_quotas() -> Vec<(String, u64)>;
        fn read_meta(key: &str) -> Option<String>;
        fn list_meta() -> Vec<(String, String)>;
        fn integrity_check() -> bool;
        fn read_blob(name: &str) -> Option<Vec<u8>>;
        fn write_blob(name: &str, bytes: Vec<u8>) -> ();
        fn delete_blobs(names: &[String]) -> ();
        fn list_blobs() -> Vec<String>;
        fn begin_view() -> bool;
        fn end_view() -> ();
        fn begin_import(mode: ImportMode) -> ();
        fn write_import(entries: Vec<Entry>) -> ();
        fn end_import() -> ();
        fn begin_snapshot() -> u64;
        fn read_snapshot(max: u32) -> Vec<u8>;
        fn end_snapshot() -> ();
        fn begin_restore() -> ();
        fn write_restore(bytes: &[u8]) -> ();
        fn check_restore() -> Restored;
        fn read_restore(last_id: u64, limit: u32) -> Vec<Entry>;
        fn commit_restore(only_if_empty: bool) -> ();
        fn end_restore() -> ();
    }
    writes {
        fn insert(entries: Vec<Entry>) -> Vec<Inserted>;
        fn update_access(touches: &[Touch]) -> ();
        fn delete_by_id(id: u64) -> bool;
        fn delete_unchanged(entries: &[EntryRef]) -> Vec<u64>;
        fn delete_expired(now: u64, namespace: Option<&str>, limit: u32) -> Vec<EntryRef>;
        fn clear_namespace(namespace: Option<&str>) -> u64;
        fn set_namespace_quota(namespace: &str, max_entries: Option<u64>) -> ();
        fn replace_meta(key: &str, expected: Option<&str>, value: Option<&str>) -> bool;
        fn commit_import(quotas: &[(String, u64)], meta: &[MetaChange]) -> bool;
    }
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
