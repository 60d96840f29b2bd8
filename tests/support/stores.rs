//! A store whose calls a test can watch, delay, fail or blow up.

use mneme::MemoryStore;
use mneme::store::{
    BackendError, CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange,
    Result, StampPage, Store, StoreError, Touch, VectorPage,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs before every call of the store but `capabilities`, with the operation's name. An
/// error is returned in place of the call.
pub type Hook = Box<dyn FnMut(&'static str) -> Result<()> + Send>;

/// A store that asks a hook before each call. Clones share the store and the hook.
#[derive(Clone)]
pub struct Hooked {
    store: Arc<Mutex<MemoryStore>>,
    hook: Arc<Mutex<Hook>>,
}

impl Hooked {
    /// An empty store.
    pub fn new(hook: impl FnMut(&'static str) -> Result<()> + Send + 'static) -> Self {
        Hooked {
            store: Arc::default(),
            hook: Arc::new(Mutex::new(Box::new(hook))),
        }
    }

    /// Replaces the hook.
    pub fn set_hook(&self, hook: impl FnMut(&'static str) -> Result<()> + Send + 'static) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(hook);
    }

    /// The store itself, past the hook.
    pub fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, operation: &'static str) -> Result<MutexGuard<'_, MemoryStore>> {
        (self.hook.lock().unwrap_or_else(PoisonError::into_inner))(operation)?;
        Ok(self.inner())
    }
}

/// The error of an injected fault.
pub fn fault(operation: &str) -> StoreError {
    StoreError::Backend(BackendError {
        message: format!("injected fault in {operation}; call again"),
        retryable: true,
    })
}

/// Passes calls on, the hook first.
macro_rules! hooked {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self $(, $arg: $type)*) -> Result<$result> {
            self.before(stringify!($name))?.$name($($arg),*)
        })*
    };
}

impl Store for Hooked {
    fn capabilities(&self) -> CapabilitySet {
        self.inner().capabilities()
    }

    hooked! {
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
        fn insert(entries: Vec<Entry>) -> Vec<Inserted>;
        fn update_access(touches: &[Touch]) -> ();
        fn delete_by_id(id: u64) -> bool;
        fn delete_unchanged(entries: &[EntryRef]) -> Vec<u64>;
        fn delete_expired(now: u64, namespace: Option<&str>, limit: u32) -> Vec<EntryRef>;
        fn clear_namespace(namespace: Option<&str>) -> u64;
        fn set_namespace_quota(namespace: &str, max_entries: Option<u64>) -> ();
        fn get_namespace_quota(namespace: &str) -> Option<u64>;
        fn list_namespace_quotas() -> Vec<(String, u64)>;
        fn read_version_counter() -> u64;
        fn read_meta(key: &str) -> Option<String>;
        fn replace_meta(key: &str, expected: Option<&str>, value: Option<&str>) -> bool;
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
        fn commit_import(quotas: &[(String, u64)], meta: &[MetaChange]) -> bool;
        fn end_import() -> ();
    }
}
