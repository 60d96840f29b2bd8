//! A store in one SQLite file.

mod blobs;
mod connection;
mod error;
mod import;
mod layout;
mod options;
mod private;
mod reads;
mod restore;
mod rows;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::error::{Fault, Outcome};
use self::options::Options;
pub use self::options::Synchronous;
use self::session::Session;
use mneme_store::checks::{self, Embedder};
use mneme_store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Restored, Result,
    StampPage, Store, StoreError, Touch, VectorPage,
};

const MAX_BATCH: u32 = 1000;

/// 4 MiB.
const MAX_BLOB: u32 = 4 << 20;

/// A store in one SQLite file, shared by any number of processes on one machine.
///
/// The file is created on first [`open`](Store::open), readable and writable for its owner
/// only (mode 0600; an existing file keeps its mode). While it is open, a `-wal` and a `-shm`
/// file stand beside it. It must be on a local disk, because write-ahead logging needs memory
/// shared between the processes. Its layout is that of the Python library `mneme-cache` 1.0:
/// each opens what the other wrote.
///
/// Reads never wait for writers. A write waits for other writers, at most
/// [`busy_timeout`](Self::busy_timeout); after that it fails with a retryable
/// [`StoreError::Backend`].
///
/// # Limits
///
/// One `insert` or `write_import` takes at most 1000 entries. Times, TTLs, access counts and
/// quotas go up to 2^63 - 1; greater ones are [`StoreError::InvalidArgument`]. An entry holds at
/// most about 1 GB, a blob at most 4 MiB. Numbers below zero that another program wrote read as
/// 0, and fractions are cut off.
///
/// # Views, imports and snapshots
///
/// A view is a read transaction: it holds up nobody, but the `-wal` file grows with what
/// others write meanwhile. In a view the store refuses to write.
///
/// Imports, snapshots and restores use a private temporary file beside the database, readable
/// and writable for its owner only. It is removed when they end, or when the store is closed
/// or dropped. On Unix, the file of a killed process is removed when the next one begins in
/// that directory. Committing an import or a restore holds the write lock while it copies the
/// entries. After a restore, new ids are still above all ids that the file ever used. Blobs are
/// part of a snapshot, and a restore replaces the present blobs by those of the snapshot.
///
/// ```
/// use std::time::Duration;
/// use mneme_sqlite::{SqliteStore, Synchronous};
/// use mneme_store::Store;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("cache.db");
/// let mut store = SqliteStore::new(path)
///     .busy_timeout(Duration::from_secs(2))
///     .synchronous(Synchronous::Full);
/// store.open("my-embedder@1", 384)?;
/// assert_eq!(store.count(None)?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    options: Options,
    session: Option<Session>,
}

impl SqliteStore {
    /// A closed store on the file at `path`, which [`open`](Store::open) creates if it is
    /// missing; its directory must exist. A relative path is relative to the current directory
    /// at the time of opening.
    ///
    /// The path is taken literally; `file:` URIs are not interpreted.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            options: Options {
                busy_timeout: Duration::from_secs(10),
                synchronous: Synchronous::default(),
            },
            session: None,
        }
    }

    /// How long to wait for another process's lock before failing. 10 seconds by default.
    /// Takes effect on the next open.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.options.busy_timeout = timeout;
        self
    }

    /// What a write survives. [`Synchronous::Normal`] by default. Takes effect on the next
    /// open.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.options.synchronous = synchronous;
        self
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn run<T>(
        &mut self,
        doing: &str,
        operation: impl FnOnce(&mut Session) -> Outcome<T>,
    ) -> Result<T> {
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        operation(session).map_err(|fault| fault.at(&self.path, doing))
    }

    /// SQLite always takes an absolute path for a file.
    fn absolute(&self) -> Outcome<PathBuf> {
        if self.path.as_os_str() == ":memory:" {
            return Err(Fault::invalid(
                "the path :memory: does not name a file; use the memory store",
            ));
        }
        std::path::absolute(&self.path)
            .map_err(|error| Fault::invalid(format!("the path of the store: {error}")))
    }

    fn connect(&self, embedder: Embedder) -> Outcome<Session> {
        Session::open(self.absolute()?, self.options, embedder)
    }
}

impl Store for SqliteStore {
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "sqlite".to_owned(),
            durable: true,
            shared: true,
            snapshot: true,
            max_batch: MAX_BATCH,
            max_delete: u32::MAX,
            max_blob: MAX_BLOB,
        }
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        self.absolute()
            .and_then(|path| connection::recorded_embedder(&path, &self.options))
            .map_err(|fault| fault.at(&self.path, "recorded_embedder"))
    }

    fn open(&mut self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        self.session = None;
        let embedder = Embedder::given(embedder_fingerprint, embedder_dim)?;
        let session = self
            .connect(embedder)
            .map_err(|fault| fault.at(&self.path, "open"))?;
        self.session = Some(session);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        let Some(session) = self.session.take() else {
            return Ok(());
        };
        match session.conn.close() {
            Ok(()) => Ok(()),
            Err((_, error)) => Err(Fault::from(error).at(&self.path, "close")),
        }
    }

    fn get_by_hash(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        self.run("get_by_hash", |session| session.get_by_hash(keys))
    }

    fn get_by_ids(&mut self, ids: &[u64]) -> Result<Vec<Entry>> {
        self.run("get_by_ids", |session| session.get_by_ids(ids))
    }

    fn count(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.run("count", |session| session.count(namespace))
    }

    fn list_namespaces(&mut self) -> Result<Vec<String>> {
        self.run("list_namespaces", Session::list_namespaces)
    }

    fn count_by_namespace(&mut self) -> Result<Vec<(String, u64)>> {
        self.run("count_by_namespace", Session::count_by_namespace)
    }

    fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        self.run("iter_lru_ids", |session| session.iter_lru_ids(n, namespace))
    }

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        self.run("iter_since", |session| session.iter_since(last_id, limit))
    }

    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage> {
        self.run("iter_vectors", |session| {
            session.iter_vectors(last_id, limit)
        })
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage> {
        self.run("iter_stamps", |session| session.iter_stamps(last_id, limit))
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.run("insert", |session| {
            checks::batch(&entries, MAX_BATCH, session.embedder.dim)?;
            session.insert(&entries)
        })
    }

    fn update_access(&mut self, touches: &[Touch]) -> Result<()> {
        self.run("update_access", |session| session.update_access(touches))
    }

    fn delete_by_id(&mut self, id: u64) -> Result<bool> {
        self.run("delete_by_id", |session| session.delete_by_id(id))
    }

    fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        self.run("delete_unchanged", |session| {
            session.delete_unchanged(entries)
        })
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        self.run("delete_expired", |session| {
            session.delete_expired(now, namespace, limit)
        })
    }

    fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.run("clear_namespace", |session| {
            session.clear_namespace(namespace)
        })
    }

    fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.run("set_namespace_quota", |session| {
            session.set_namespace_quota(namespace, max_entries)
        })
    }

    fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        self.run("get_namespace_quota", |session| {
            session.get_namespace_quota(namespace)
        })
    }

    fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>> {
        self.run("list_namespace_quotas", Session::list_namespace_quotas)
    }

    fn read_version_counter(&mut self) -> Result<u64> {
        self.run("read_version_counter", Session::read_version_counter)
    }

    fn read_meta(&mut self, key: &str) -> Result<Option<String>> {
        self.run("read_meta", |session| session.read_meta(key))
    }

    fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        self.run("replace_meta", |session| {
            checks::meta_key(key)?;
            session.replace_meta(key, expected, value)
        })
    }

    fn list_meta(&mut self) -> Result<Vec<(String, String)>> {
        self.run("list_meta", Session::list_meta)
    }

    fn integrity_check(&mut self) -> Result<bool> {
        self.run("integrity_check", Session::integrity_check)
    }

    fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        self.run("read_blob", |session| {
            checks::blob_name(name)?;
            session.read_blob(name)
        })
    }

    fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.run("write_blob", |session| {
            checks::blob(name, &bytes, MAX_BLOB)?;
            session.write_blob(name, &bytes)
        })
    }

    fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        self.run("delete_blobs", |session| {
            checks::blob_names(names)?;
            session.delete_blobs(names)
        })
    }

    fn list_blobs(&mut self) -> Result<Vec<String>> {
        self.run("list_blobs", Session::list_blobs)
    }

    fn begin_view(&mut self) -> Result<bool> {
        self.run("begin_view", |session| session.begin_view().map(|()| true))
    }

    fn end_view(&mut self) -> Result<()> {
        self.run("end_view", Session::end_view)
    }

    fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.run("begin_import", |session| session.begin_import(mode))
    }

    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        self.run("write_import", |session| {
            session.write_import(&entries, MAX_BATCH)
        })
    }

    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        self.run("commit_import", |session| {
            session.commit_import(quotas, meta)
        })
    }

    fn end_import(&mut self) -> Result<()> {
        self.run("end_import", |session| {
            session.end_import();
            Ok(())
        })
    }

    fn begin_snapshot(&mut self) -> Result<u64> {
        self.run("begin_snapshot", Session::begin_snapshot)
    }

    fn read_snapshot(&mut self, max: u32) -> Result<Vec<u8>> {
        self.run("read_snapshot", |session| session.read_snapshot(max))
    }

    fn end_snapshot(&mut self) -> Result<()> {
        self.run("end_snapshot", |session| {
            session.end_snapshot();
            Ok(())
        })
    }

    fn begin_restore(&mut self) -> Result<()> {
        self.run("begin_restore", Session::begin_restore)
    }

    fn write_restore(&mut self, bytes: &[u8]) -> Result<()> {
        self.run("write_restore", |session| session.write_restore(bytes))
    }

    fn check_restore(&mut self) -> Result<Restored> {
        self.run("check_restore", Session::check_restore)
    }

    fn read_restore(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        self.run("read_restore", |session| {
            session.read_restore(last_id, limit)
        })
    }

    fn commit_restore(&mut self, only_if_empty: bool) -> Result<()> {
        self.run("commit_restore", |session| {
            session.commit_restore(only_if_empty)
        })
    }

    fn end_restore(&mut self) -> Result<()> {
        self.run("end_restore", |session| {
            session.end_restore();
            Ok(())
        })
    }
}
