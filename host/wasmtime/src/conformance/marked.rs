//! A store that tells when its writes return.

use crate::store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Restored, Result,
    StampPage, Store, Touch, VectorPage,
};

/// Passes every call on, and calls `wrote` after each successful `insert`.
pub(super) struct Marked<F> {
    pub store: Box<dyn Store>,
    pub wrote: F,
}

macro_rules! pass_on {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self $(, $arg: $type)*) -> Result<$result> {
            self.store.$name($($arg),*)
        })*
    };
}

impl<F: FnMut() + Send> Store for Marked<F> {
    fn capabilities(&self) -> CapabilitySet {
        self.store.capabilities()
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        let inserted = self.store.insert(entries)?;
        (self.wrote)();
        Ok(inserted)
    }

    pass_on! {
        fn open(embedder_fingerprint: &str, embedder_dim: u32) -> ();
        fn close() -> ();
        fn get_by_hash(keys: &[EntryKey]) -> Vec<Option<Entry>>;
        fn get_by_ids(ids: &[u64]) -> Vec<Entry>;
        fn count(namespace: Option<&str>) -> u64;
        fn list_namespaces() -> Vec<String>;
        fn iter_lru_ids(n: u32, namespace: Option<&str>) -> Vec<EntryRef>;
        fn iter_since(last_id: u64, limit: u32) -> Vec<Entry>;
        fn iter_vectors(last_id: u64, limit: u32) -> VectorPage;
        fn iter_stamps(last_id: u64, limit: u32) -> StampPage;
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
}
