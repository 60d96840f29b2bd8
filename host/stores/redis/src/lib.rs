//! A store on a Redis server.

mod blobs;
mod connection;
mod error;
mod imports;
mod layout;
mod options;
mod reads;
mod rows;
mod scripts;
mod session;
mod writes;

use std::fmt;
use std::time::Duration;

use self::error::Outcome;
use self::options::Options;
use self::session::Session;
use mneme_store::checks::{self, Embedder};
use mneme_store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Result, StampPage,
    Store, StoreError, Touch, VectorPage,
};

const MAX_BATCH: u32 = 1000;

/// 4 MiB.
const MAX_BLOB: u32 = 4 << 20;

/// A store on a Redis server (5.0 or later, or Valkey), shared by any number of processes.
///
/// All keys of a cache begin with its prefix and a colon. Their layout is that of the Python
/// library `mneme-cache` 1.0: each opens what the other wrote, and both can use it at the
/// same time.
///
/// # URL
///
/// `redis://[[user]:password@]host[:port][/db]`, or `rediss://` for TLS, by default port
/// 6379 and database 0. Special characters in user and password are written as `%XX`.
///
/// | parameter | default | meaning |
/// |---|---|---|
/// | `prefix` | `mneme` | the prefix of all keys |
/// | `cafile` | the system's roots | with `rediss://`: a PEM file with the certificates to trust instead |
/// | `connect_timeout_ms` | 5000 | how long connecting may take |
/// | `call_timeout_ms` | 10000 | how long the server may be silent before it answers |
///
/// # What it survives
///
/// Durability depends on the server's configuration. Without persistence a restart loses
/// everything; with `appendfsync everysec` a crash loses a second. The server's
/// `maxmemory-policy` should be `noeviction`: with any other policy Redis may drop single keys,
/// and so a part of an entry.
///
/// Every write is one Lua script, and so one atomic step. A call that deletes more than
/// 10,000 entries takes several steps, so that the server can serve others in between.
///
/// # Imports
///
/// The entries of an import go to the server at once, under keys that nobody reads. The commit
/// only renames them. Those keys expire an hour after the last write.
///
/// The commit is one script, during which the server does nothing else: some 3 to 5 seconds
/// for 100,000 entries. Its timeout is the call timeout and 0.2 ms for each entry. After five
/// seconds Redis tells other callers that it is busy, which is retryable. In mode `replace` the
/// script also walks over the names of all keys in the database.
///
/// # Failures
///
/// The next call reopens a lost connection, and a read that finds it lost repeats itself. A
/// write without an answer is not repeated. Its error is retryable if the caller can safely
/// repeat it; that of `update_access`, `replace_meta` and `commit_import` is not.
///
/// A full memory (`OOM`) and a server that cannot save (`MISCONF`) are not retryable, and
/// nothing was stored. A replica (`READONLY`) is retryable: after a failover the next call
/// finds the new primary.
///
/// # Expiry
///
/// Redis itself expires entries with a ttl, by the server's clock. From then on they are gone
/// for every operation, including `delete_expired`; `insert` and `delete_expired` remove the
/// other keys' references to them. An entry that is already expired when it is stored stays
/// until it is deleted.
///
/// # Limits
///
/// One `insert` or `write_import` takes at most 1000 entries and 500 MiB. Times, TTLs and
/// access counts go up to 2^53 - 1; greater ones are [`StoreError::InvalidArgument`]. A
/// `query_hash` must not contain a colon. No part of the prefix after its first colon may be
/// `entry`, `hash`, `lru` or `quota`, because two caches could then share keys.
///
/// In a cluster all keys of a prefix must be on one node: give a prefix with a hash tag, such
/// as `{mneme}`, and the address of its node.
///
/// A blob has at most 4 MiB. Blobs stay in the server's memory like entries. A server without
/// room for one refuses it (`OOM`) or, by its `maxmemory-policy`, may drop all blobs at once.
///
/// Listing quotas walks over the names of all keys in the database. The integrity check
/// looks at the first 100,000 entries.
///
/// ```no_run
/// use mneme_redis::RedisStore;
/// use mneme_store::Store;
///
/// # fn main() -> Result<(), mneme_store::StoreError> {
/// let mut store = RedisStore::from_url("redis://:password@localhost/0?prefix=answers")?;
/// store.open("my-embedder@1", 384)?;
/// assert_eq!(store.count(None)?, 0);
/// # Ok(())
/// # }
/// ```
pub struct RedisStore {
    options: Options,
    session: Option<Session>,
}

/// Without the password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("options", &self.options)
            .field("open", &self.session.is_some())
            .finish()
    }
}

impl RedisStore {
    /// A closed store at a URL; see [above](RedisStore#url).
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for a malformed URL or an unknown parameter. The message
    /// repeats nothing of the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        let options = Options::parse(url).map_err(|fault| fault.at("", "from_url"))?;
        Ok(Self {
            options,
            session: None,
        })
    }

    /// The prefix of all keys. `mneme` by default. Takes effect on the next open, which
    /// refuses an [invalid](RedisStore#limits) prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.options.prefix = prefix.into();
        self
    }

    /// How long connecting may take, at least 1 ms. 5 seconds by default. The time to resolve
    /// the host's name does not count. Takes effect on the next open.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long the server may be silent before it answers, at least 1 ms. 10 seconds by
    /// default. Takes effect on the next open.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.options.call_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    fn leave(&mut self) {
        if let Some(mut session) = self.session.take() {
            // What cannot be removed now expires.
            let _ = session.end_import();
        }
    }

    fn run<T>(
        &mut self,
        doing: &str,
        operation: impl FnOnce(&mut Session) -> Outcome<T>,
    ) -> Result<T> {
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        operation(session).map_err(|fault| fault.at(&self.options.place(), doing))
    }
}

impl Store for RedisStore {
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "redis".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: writes::MAX_DELETE,
            max_blob: MAX_BLOB,
        }
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        options::check_prefix(&self.options.prefix)
            .and_then(|()| layout::recorded_embedder(&self.options))
            .map_err(|fault| fault.at(&self.options.place(), "recorded_embedder"))
    }

    fn open(&mut self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        self.leave();
        let embedder = Embedder::given(embedder_fingerprint, embedder_dim)?;
        let session = options::check_prefix(&self.options.prefix)
            .and_then(|()| Session::open(&self.options, embedder))
            .map_err(|fault| fault.at(&self.options.place(), "open"))?;
        self.session = Some(session);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        self.leave();
        Ok(())
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

    fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.run("begin_import", |session| session.begin_import(mode))
    }

    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        self.run("write_import", |session| session.write_import(&entries))
    }

    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        self.run("commit_import", |session| {
            session.commit_import(quotas, meta)
        })
    }

    fn end_import(&mut self) -> Result<()> {
        self.run("end_import", Session::end_import)
    }
}
