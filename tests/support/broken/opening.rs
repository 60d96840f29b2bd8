//! Faults of opening and closing, and of what a store says of itself.

use super::{Fault, Sound};
use mneme::store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Result, StampPage,
    StoreError, Touch, VectorPage,
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
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self, store: &mut Sound $(, $arg: $type)*) -> Result<$result> {
            match store.$name($($arg),*) {
                Err(StoreError::Closed) if self.0 == stringify!($name) => Ok(Default::default()),
                result => result,
            }
        })*
    };
}

impl Fault for AnswersClosed {
    answers! {
        fn get_by_hash(keys: &[EntryKey]) -> Vec<Option<Entry>>;
        fn get_by_ids(ids: &[u64]) -> Vec<Entry>;
        fn count(namespace: Option<&str>) -> u64;
        fn list_namespaces() -> Vec<String>;
        fn count_by_namespace() -> Vec<(String, u64)>;
        fn iter_lru_ids(n: u32, namespace: Option<&str>) -> Vec<EntryRef>;
        fn iter_since(last_id: u64, limit: u32) -> Vec<Entry>;
        fn insert(entries: Vec<Entry>) -> Vec<Inserted>;
        fn update_access(touches: &[Touch]) -> ();
        fn delete_by_id(id: u64) -> bool;
        fn delete_unchanged(entries: &[EntryRef]) -> Vec<u64>;
        fn delete_expired(now: u64, namespace: Option<&str>, limit: u32) -> Vec<EntryRef>;
        fn clear_namespace(namespace: Option<&str>) -> u64;
        fn get_namespace_quota(namespace: &str) -> Option<u64>;
        fn set_namespace_quota(namespace: &str, max_entries: Option<u64>) -> ();
        fn list_namespace_quotas() -> Vec<(String, u64)>;
        fn read_version_counter() -> u64;
        fn read_meta(key: &str) -> Option<String>;
        fn replace_meta(key: &str, expected: Option<&str>, value: Option<&str>) -> bool;
        fn integrity_check() -> bool;
        fn begin_snapshot() -> u64;
        fn read_snapshot(max: u32) -> Vec<u8>;
        fn end_snapshot() -> ();
        fn begin_restore() -> ();
        fn write_restore(bytes: &[u8]) -> ();
        fn commit_restore(only_if_empty: bool) -> ();
        fn end_restore() -> ();
        fn list_meta() -> Vec<(String, String)>;
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

/// Answers with empty pages when it is closed.
pub struct PagesClosed;

impl Fault for PagesClosed {
    fn iter_vectors(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<VectorPage> {
        match store.iter_vectors(last_id, limit) {
            Err(StoreError::Closed) => Ok(VectorPage {
                ids: Vec::new(),
                namespaces: Vec::new(),
                created_at: Vec::new(),
                vectors: Vec::new(),
            }),
            result => result,
        }
    }

    fn iter_stamps(&mut self, store: &mut Sound, last_id: u64, limit: u32) -> Result<StampPage> {
        match store.iter_stamps(last_id, limit) {
            Err(StoreError::Closed) => Ok(StampPage {
                ids: Vec::new(),
                created_at: Vec::new(),
            }),
            result => result,
        }
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
