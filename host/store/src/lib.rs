//! What a backend of the cache implements: the [`Store`] trait, the types of the contract, the
//! checks that every store makes, and a store in memory. To write a store, read the [`guide`].

#[cfg(feature = "background")]
pub mod background;
pub mod breaker;
pub mod cancel;
pub mod changes;
pub mod checks;
#[doc(hidden)]
pub mod contract;
pub mod guide {
    #![doc = include_str!("guide.md")]
}
pub mod locks;
pub mod memory;
pub mod opened;
mod operations;
mod pages;
pub mod parameters;
pub mod staged;

use std::time::Duration;

pub use contract::store::{
    CapabilitySet, Change, ChangePage, ImportMode, Inserted, MetaChange, Neighbour, Restored,
    Selection, StampPage, Touch, VectorPage, VectorQuery,
};
pub use contract::types::{
    BackendError, DimensionMismatch, Entry, EntryKey, EntryRef, Error as StoreError, Filter,
    FingerprintMismatch,
};
pub use memory::MemoryStore;
pub use pages::count_all_namespaces;

/// What a store's operations return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A backend that holds a cache's entries: the Rust face of the `store`
/// interface. Its document, `wit/store.wit`, is the contract: what it says about
/// the operations and the six invariants holds here word for word.
///
/// Every operation fails with [`StoreError::Closed`] before [`open`](Self::open)
/// and after [`close`](Self::close). A failed write leaves nothing behind.
pub trait Store: Send {
    /// What this store can do. Works on a closed store.
    fn capabilities(&self) -> CapabilitySet;

    /// The embedder of the storage, read from a closed store without creating or changing
    /// anything; none if there is no cache yet. By default [`StoreError::Unsupported`].
    ///
    /// Not part of the WIT contract. For programs that open a store without knowing its
    /// embedder.
    fn recorded_embedder(&mut self) -> Result<Option<checks::Embedder>> {
        Err(StoreError::Unsupported(format!(
            "the {} store does not tell its embedder before it is opened",
            self.capabilities().name
        )))
    }

    /// The time on the clock of the storage's server, since the Unix epoch; none, the default,
    /// where it has none. Many machines write to such a storage, and its clock is the one that
    /// they share. Works on a closed store, and creates nothing.
    ///
    /// Not part of the WIT contract.
    fn server_time(&mut self) -> Result<Option<Duration>> {
        Ok(None)
    }

    /// Why the open store refuses every write although it was opened for writing; none, the
    /// default, where it takes them.
    ///
    /// Not part of the WIT contract. The health of a cache tells it.
    fn read_only(&self) -> Option<String> {
        None
    }

    /// What whoever runs the open store should mend, as sentences without secrets; none, the default,
    /// where there is nothing. They were found when it was opened.
    ///
    /// Not part of the WIT contract. A cache tells them when it is opened.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Connects, creates what is missing, and checks that the data was made with
    /// this embedder. Reads no entry.
    fn open(&mut self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()>;

    /// Releases the backend. Closing a closed store does nothing.
    fn close(&mut self) -> Result<()>;

    /// The entries under `keys`, in that order; none for a key that does not exist. Without
    /// `vectors` their embeddings are empty.
    fn get_by_hash(&mut self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>>;

    /// The entries with these ids, in the order asked, without those that do not
    /// exist. Without `vectors` their embeddings are empty.
    fn get_by_ids(&mut self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>>;

    /// The first entries with an id above `last_id` that meet the filter, at most `limit`,
    /// ascending, and where to go on.
    fn select(&mut self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection>;

    /// How many entries there are, in one namespace or in all.
    fn count(&mut self, namespace: Option<&str>) -> Result<u64>;

    /// The first `limit` namespaces that hold entries and whose bytes come after those of `after`,
    /// sorted by their bytes.
    fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<String>>;

    /// The same page, each namespace with the number of its entries. See
    /// [`count_all_namespaces`].
    fn count_by_namespace(&mut self, after: Option<&str>, limit: u32)
    -> Result<Vec<(String, u64)>>;

    /// The `n` least recently used entries: ascending last access, then id.
    fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>>;

    /// The first `limit` entries with an id above `last_id`, ascending.
    fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>>;

    /// The vectors of the first `limit` entries with an id above `last_id`.
    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage>;

    /// The ids and creation times of the first `limit` entries with an id above
    /// `last_id`.
    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage>;

    /// Stores at most [`CapabilitySet::max_batch`] entries in one atomic step. An entry
    /// whose namespace and hash exist replaces that row and keeps its id.
    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>>;

    /// Records hits. Skips unknown ids; the version counter stays.
    fn update_access(&mut self, touches: &[Touch]) -> Result<()>;

    /// Deletes one entry. False if it did not exist.
    fn delete_by_id(&mut self, id: u64) -> Result<bool>;

    /// Deletes these entries, except those whose `created_at` has changed, and returns
    /// the ids deleted.
    fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>>;

    /// Deletes at most `limit` entries expired at `now`, any of them, and returns them.
    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>>;

    /// Deletes every entry, of one namespace or of all.
    fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64>;

    /// Sets or removes a namespace's quota.
    fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()>;

    /// A namespace's quota, if it has one.
    fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>>;

    /// Every quota, sorted by the namespace's bytes.
    fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>>;

    /// The version counter. Each call that changes entries increases it by one.
    fn read_version_counter(&mut self) -> Result<u64>;

    /// What the writes changed that moved the version counter on from `version`; none if the store
    /// does not know. By default [`StoreError::Unsupported`], for stores whose
    /// [`CapabilitySet::max_changes`] is 0.
    fn changes_since(&mut self, version: u64, limit: u32) -> Result<Option<ChangePage>> {
        let _ = (version, limit);
        // Of a closed store, the error.
        self.read_version_counter()?;
        Err(StoreError::Unsupported(format!(
            "the {} store keeps no log of changes; compare the stamps of its entries",
            self.capabilities().name
        )))
    }

    /// The entries whose vectors are most similar to one, at most `limit`, the most similar first. By
    /// default [`StoreError::Unsupported`], for stores whose [`CapabilitySet::nearest`] is false.
    fn nearest(&mut self, query: &VectorQuery, limit: u32) -> Result<Vec<Neighbour>> {
        let _ = (query, limit);
        // Of a closed store, the error.
        self.read_version_counter()?;
        Err(StoreError::Unsupported(format!(
            "the {} store does not search vectors; use the cache's index",
            self.capabilities().name
        )))
    }

    /// A value kept beside the entries.
    fn read_meta(&mut self, key: &str) -> Result<Option<String>>;

    /// Sets or removes a value if the present one is `expected`. Otherwise it changes
    /// nothing and returns false.
    fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool>;

    /// Every key and value that [`replace_meta`](Self::replace_meta) has set, sorted by the
    /// key's bytes.
    fn list_meta(&mut self) -> Result<Vec<(String, String)>>;

    /// Whether the backend's data is sound.
    fn integrity_check(&mut self) -> Result<bool>;

    /// The bytes of a blob; none if there is no blob of this name. By default
    /// [`StoreError::Unsupported`], like the other operations on blobs.
    fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        let _ = name;
        Err(no_blobs(self))
    }

    /// Creates or replaces a blob of at most [`CapabilitySet::max_blob`] bytes (1 MiB at most), under a name of
    /// 1 to 100 lowercase letters, digits, `-`, `.` and `/`.
    fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        let _ = (name, bytes);
        Err(no_blobs(self))
    }

    /// Deletes blobs. Skips names without a blob.
    fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        let _ = names;
        Err(no_blobs(self))
    }

    /// The names of all blobs, sorted by their bytes.
    fn list_blobs(&mut self) -> Result<Vec<String>> {
        Err(no_blobs(self))
    }

    /// From here to [`end_view`](Self::end_view) reads answer from the data of one instant.
    /// False, the default, if the backend cannot do that; then nothing happens.
    fn begin_view(&mut self) -> Result<bool> {
        // Of a closed store, the error.
        self.read_version_counter().map(|_| false)
    }

    /// Ends the view, if there is one.
    fn end_view(&mut self) -> Result<()> {
        self.read_version_counter().map(drop)
    }

    /// Prepares to take in any number of entries that become part of the data in one step.
    fn begin_import(&mut self, mode: ImportMode) -> Result<()>;

    /// Adds entries to the import. At most [`CapabilitySet::max_batch`] of them.
    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()>;

    /// Makes the import part of the data, with quotas and meta, in one step. If a meta value
    /// is not the expected one, it changes nothing, keeps the import and returns false.
    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool>;

    /// Discards the import, if there is one.
    fn end_import(&mut self) -> Result<()>;

    /// Fixes a snapshot of all data and returns its size in bytes. By default
    /// [`StoreError::Unsupported`], like the other operations on snapshots and restores.
    fn begin_snapshot(&mut self) -> Result<u64> {
        Err(no_snapshots(self))
    }

    /// The next bytes of the snapshot, at most `max`; none at its end.
    fn read_snapshot(&mut self, max: u32) -> Result<Vec<u8>> {
        let _ = max;
        Err(no_snapshots(self))
    }

    /// Discards the snapshot, if there is one.
    fn end_snapshot(&mut self) -> Result<()> {
        Err(no_snapshots(self))
    }

    /// Prepares to take in a snapshot; the present data stays until
    /// [`commit_restore`](Self::commit_restore).
    fn begin_restore(&mut self) -> Result<()> {
        Err(no_snapshots(self))
    }

    /// Appends bytes of the snapshot.
    fn write_restore(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(no_snapshots(self))
    }

    /// Checks the bytes received and says what is in them. No more bytes may follow.
    fn check_restore(&mut self) -> Result<Restored> {
        Err(no_snapshots(self))
    }

    /// The first `limit` entries of the checked snapshot with an id above `last_id`.
    fn read_restore(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        let _ = (last_id, limit);
        Err(no_snapshots(self))
    }

    /// Replaces all data by the snapshot in one step, after checking it. With
    /// `only_if_empty`, fails if the store has an entry.
    fn commit_restore(&mut self, only_if_empty: bool) -> Result<()> {
        let _ = only_if_empty;
        Err(no_snapshots(self))
    }

    /// Discards the restore, if there is one.
    fn end_restore(&mut self) -> Result<()> {
        Err(no_snapshots(self))
    }
}

/// The error of a store without blobs.
fn no_blobs(store: &(impl Store + ?Sized)) -> StoreError {
    StoreError::Unsupported(format!(
        "the {} store keeps no blobs; the cache derives their contents from the entries again",
        store.capabilities().name
    ))
}

/// The error of a store without snapshots.
fn no_snapshots(store: &(impl Store + ?Sized)) -> StoreError {
    StoreError::Unsupported(format!(
        "the {} store has no snapshots; make a portable checkpoint, or use the backend's own backup tools",
        store.capabilities().name
    ))
}

/// The message of an error: what happened, where, and what to do.
pub fn text(error: &StoreError) -> String {
    match error {
        StoreError::Closed => "the store is closed; open it to go on".to_owned(),
        StoreError::EmbedderMismatch(m) => format!(
            "the store was made with the embedder {:?} and is opened with {:?}, whose vectors mean something else; use the first one, or another store",
            m.stored, m.given
        ),
        StoreError::EmbedderDimension(m) => format!(
            "{} dimensions where the store has {}; use the embedder that the store was made with",
            m.actual, m.expected
        ),
        StoreError::Corrupt(text)
        | StoreError::Schema(text)
        | StoreError::Checkpoint(text)
        | StoreError::QuotaExceeded(text)
        | StoreError::IndexUnavailable(text)
        | StoreError::Quantization(text)
        | StoreError::InvalidArgument(text)
        | StoreError::Unsupported(text) => text.clone(),
        StoreError::Backend(error) => error.message.clone(),
    }
}
