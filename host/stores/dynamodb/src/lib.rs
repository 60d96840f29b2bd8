//! A store in one DynamoDB table.

mod blobs;
mod connection;
mod decided;
mod error;
mod imports;
mod layout;
mod options;
mod pages;
mod pointers;
mod reads;
mod requests;
mod rows;
mod session;
mod settings;
mod staging;
mod transactions;
mod waiting;
mod writes;

use std::fmt;
use std::time::Duration;

use self::error::{Fault, Outcome};
use self::options::Options;
use self::session::Session;
use mneme_store::background;
use mneme_store::checks::{self, Embedder};
use mneme_store::{
    CapabilitySet, Entry, EntryKey, EntryRef, ImportMode, Inserted, MetaChange, Result, StampPage,
    Store, StoreError, Touch, VectorPage,
};

/// Nine of the largest items, and item 0 at its largest, stay below the 4 MB that one
/// transaction may have.
const MAX_BATCH: u32 = 9;

/// One blob is one item, also for servers that count the base64 of its bytes.
const MAX_BLOB: u32 = 300_000;

/// A store in one DynamoDB table, shared by any number of processes and machines.
///
/// The layout of the table is that of the Python library `mneme-cache` 1.0: each uses what the
/// other wrote, even at the same time. The table also has pointers, items with ids below zero,
/// which that library ignores. They make look-ups by query exact although DynamoDB's indexes lag
/// behind its tables. All stores of this kind see each other's writes at once. A look-up by query
/// may see a change by `mneme-cache` a moment later, and a query that both store at the same
/// moment may exist twice until it is stored again.
///
/// Region and credentials come from where every AWS program finds them: the environment, a
/// profile, or the role of the machine or container. [`region`](Self::region) and
/// [`endpoint`](Self::endpoint) take precedence. Connections are opened, and reopened after an
/// outage, as needed.
///
/// # Requests
///
/// A *wave* is up to 16 requests at the same time; it takes as long as one.
///
/// | operation | requests |
/// |---|---|
/// | `get_by_hash` | one wave for each 15 keys; a second one for entries that `mneme-cache` wrote, or that changed a moment ago |
/// | `get_by_ids` | one wave for each 1600 ids |
/// | `iter_since`, `iter_vectors`, `iter_stamps` | one wave for each 1600 rows; if most ids have been deleted, a scan of the table at the beginning of a walk |
/// | `insert` | one wave and one transaction |
/// | `update_access` | one wave of reads and one of transactions, of 50 entries each |
/// | `delete_by_id`, `delete_unchanged` | one read and one transaction for each 49 entries |
/// | `read_version_counter`, `read_meta`, `list_meta`, quotas | one |
/// | `replace_meta`, `set_namespace_quota` | one transaction |
/// | `iter_lru_ids` of a namespace | one query and one wave for each 1000 entries asked for, read from an index and checked in the table |
/// | `iter_lru_ids` of all, `count`, `list_namespaces`, `count_by_namespace` | a scan of the table |
/// | `delete_expired`, `clear_namespace` | a scan, and one transaction for each 49 entries deleted |
/// | `integrity_check` | a scan of up to 64 MB |
/// | `read_blob`, `list_blobs` | one |
/// | `write_blob` | one transaction |
/// | `delete_blobs` | one transaction for each 49 blobs |
/// | `begin_import` | a few; a scan with mode `empty` |
/// | `write_import` | one transaction |
/// | `commit_import` | for each 45 entries a read, four waves and a transaction, and a delete of 25 staged entries each, 16 at a time; a scan and one transaction for each 49 entries that mode `replace` deletes |
///
/// A scan reads the whole table, including blobs, 1 MB a request and four requests at a time.
/// DynamoDB charges for all of it.
///
/// # Imports
///
/// The entries of an import wait as items with ids below zero, in no index, where nobody looks
/// at them. `commit_import` decides by one write, which changes quotas and meta values and
/// reserves ids for new entries. It then stores the entries in steps of up to 45, which others
/// may see one after another; the version counter moves with the last step. Mode `replace`
/// deletes first, and all its entries get new ids. If an entry is replaced under its id, the
/// id of its place in the import stays unused.
///
/// Between the decision and the last step, every write and every open of a store of this kind
/// first completes the import, however long that takes. So an import that a killed process
/// has decided becomes part of the data as a whole. `mneme-cache` does not wait: the import may
/// overwrite its changes or duplicate them, as with any two writes at the same time.
///
/// An import that has not been decided or written to for an hour counts as abandoned. The next
/// open (up to 10,000 entries) or `begin_import` removes it. An import in progress holds about
/// 32 bytes for each entry in memory, to find keys that come twice.
///
/// # Failures
///
/// A request that fails because of the network, the server or throttling is sent up to five
/// times within the [`call_timeout`](Self::call_timeout). Transactions carry a token by which
/// DynamoDB recognises a repetition, so they take effect once. Writers that conflict wait and
/// try again until the timeout. All writes move one counter, so they go one by one.
///
/// An error is retryable if the network or the server failed or the table was throttled. It
/// is not retryable if it is unknown whether an `update_access`, a `replace_meta` or a
/// `commit_import` was stored, nor if an import is decided but not complete.
///
/// # Limits
///
/// - One `insert` takes at most 9 entries. An entry takes at most 400 KB, including its
///   embedding, and its namespace at most 2048 bytes. Meta values and quotas have 400 KB
///   together. Beyond that it is [`StoreError::InvalidArgument`].
/// - A blob has at most 300,000 bytes, and the names of all blobs have 400 KB together.
/// - One atomic step deletes at most 49 entries, and touches at most 50; longer lists take
///   several steps.
/// - An index finds the least recently used entries of one namespace. It may miss an entry
///   that was stored or touched a moment ago.
/// - There are no snapshots; use portable checkpoints, or DynamoDB's own backups.
///
/// ```no_run
/// use std::time::Duration;
/// use mneme_dynamodb::DynamoDbStore;
/// use mneme_store::Store;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut store = DynamoDbStore::new("answers")
///     .region("eu-north-1")
///     .create(true)
///     .call_timeout(Duration::from_secs(5));
/// store.open("my-embedder@1", 384)?;
/// assert_eq!(store.count(None)?, 0);
/// # Ok(())
/// # }
/// ```
pub struct DynamoDbStore {
    options: Options,
    session: Option<Session>,
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the endpoint, which is unchecked before `open`.
        f.debug_struct("DynamoDbStore")
            .field("table", &self.options.table)
            .field("region", &self.options.region)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl DynamoDbStore {
    /// A closed store on a table, by its name.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            options: Options::new(table.into()),
            session: None,
        }
    }

    /// A closed store from a URL:
    /// `dynamodb://TABLE?region=eu-north-1&endpoint=http://127.0.0.1:5000&create=true&connect_timeout_ms=5000&call_timeout_ms=10000`.
    /// Every parameter is optional, and sets the same as the method of its name. The URL takes
    /// no credentials.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for anything else; the message never contains a secret.
    pub fn from_url(url: &str) -> Result<Self> {
        let options = Options::from_url(url).map_err(|fault| fault.at("URL", "open", true))?;
        Ok(Self {
            options,
            session: None,
        })
    }

    /// The AWS region of the table. By default that of the environment or profile. Takes
    /// effect on the next open.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.options.region = Some(region.into());
        self
    }

    /// The address of the server, such as `http://127.0.0.1:8000` for your own server. By
    /// default that of the environment or profile, or else DynamoDB's in the region. Takes
    /// effect on the next open.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.options.endpoint = Some(endpoint.into());
        self
    }

    /// Whether opening creates a missing table, with on-demand billing, and waits until it can
    /// be used. False by default. Takes effect on the next open.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.options.create = create;
        self
    }

    /// How long connecting may take. 5 seconds by default. Takes effect on the next open.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// How long a request may take with all its repetitions, and how long a write that
    /// conflicts with others is repeated. 10 seconds by default. A single attempt has half of
    /// that. Takes effect on the next open.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.options.call_timeout = timeout;
        self
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.options.table
    }

    /// Runs an operation that may safely be called again.
    fn run<T>(
        &mut self,
        doing: &str,
        operation: impl AsyncFnOnce(&mut Session) -> Outcome<T>,
    ) -> Result<T> {
        self.run_as(doing, true, operation)
    }

    /// Runs an operation that must not be called again while its outcome is unknown.
    fn run_once<T>(
        &mut self,
        doing: &str,
        operation: impl AsyncFnOnce(&mut Session) -> Outcome<T>,
    ) -> Result<T> {
        self.run_as(doing, false, operation)
    }

    fn run_as<T>(
        &mut self,
        doing: &str,
        repeatable: bool,
        operation: impl AsyncFnOnce(&mut Session) -> Outcome<T>,
    ) -> Result<T> {
        let session = self.session.as_mut().ok_or(StoreError::Closed)?;
        wait(operation(session)).map_err(|fault| fault.at(&self.options.table, doing, repeatable))
    }
}

/// Waits for a future, whose requests all have timeouts.
fn wait<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    background::run(future, Duration::MAX)
        .unwrap_or_else(|unfinished| Err(Fault::system(unfinished.to_string())))
}

impl Store for DynamoDbStore {
    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "dynamodb".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: writes::MAX_DELETE,
            max_blob: MAX_BLOB,
        }
    }

    fn recorded_embedder(&mut self) -> Result<Option<Embedder>> {
        wait(Session::recorded_embedder(&self.options))
            .map_err(|fault| fault.at(&self.options.table, "recorded_embedder", true))
    }

    fn open(&mut self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        self.close()?;
        let embedder = Embedder::given(embedder_fingerprint, embedder_dim)?;
        let session = wait(Session::open(&self.options, embedder))
            .map_err(|fault| fault.at(&self.options.table, "open", true))?;
        self.session = Some(session);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        if self.session.as_ref().is_some_and(Session::is_importing) {
            self.end_import()?;
        }
        self.session = None;
        Ok(())
    }

    fn get_by_hash(&mut self, keys: &[EntryKey]) -> Result<Vec<Option<Entry>>> {
        self.run("get_by_hash", async |session| {
            session.get_by_hash(keys).await
        })
    }

    fn get_by_ids(&mut self, ids: &[u64]) -> Result<Vec<Entry>> {
        self.run("get_by_ids", async |session| session.get_by_ids(ids).await)
    }

    fn count(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.run("count", async |session| session.count(namespace).await)
    }

    fn list_namespaces(&mut self) -> Result<Vec<String>> {
        self.run("list_namespaces", Session::list_namespaces)
    }

    fn count_by_namespace(&mut self) -> Result<Vec<(String, u64)>> {
        self.run("count_by_namespace", Session::count_by_namespace)
    }

    fn iter_lru_ids(&mut self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        self.run("iter_lru_ids", async |session| {
            session.iter_lru_ids(n, namespace).await
        })
    }

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        self.run("iter_since", async |session| {
            session.iter_since(last_id, limit).await
        })
    }

    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Result<VectorPage> {
        self.run("iter_vectors", async |session| {
            session.iter_vectors(last_id, limit).await
        })
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Result<StampPage> {
        self.run("iter_stamps", async |session| {
            session.iter_stamps(last_id, limit).await
        })
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Result<Vec<Inserted>> {
        self.run("insert", async |session| {
            checks::batch(&entries, MAX_BATCH, session.embedder.dim)?;
            session.insert(&entries).await
        })
    }

    fn update_access(&mut self, touches: &[Touch]) -> Result<()> {
        self.run_once("update_access", async |session| {
            session.update_access(touches).await
        })
    }

    fn delete_by_id(&mut self, id: u64) -> Result<bool> {
        self.run("delete_by_id", async |session| {
            session.delete_by_id(id).await
        })
    }

    fn delete_unchanged(&mut self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        self.run("delete_unchanged", async |session| {
            session.delete_unchanged(entries).await
        })
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        self.run("delete_expired", async |session| {
            session.delete_expired(now, namespace, limit).await
        })
    }

    fn clear_namespace(&mut self, namespace: Option<&str>) -> Result<u64> {
        self.run("clear_namespace", async |session| {
            session.clear_namespace(namespace).await
        })
    }

    fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        self.run("set_namespace_quota", async |session| {
            session.set_namespace_quota(namespace, max_entries).await
        })
    }

    fn get_namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        self.run("get_namespace_quota", async |session| {
            session.get_namespace_quota(namespace).await
        })
    }

    fn list_namespace_quotas(&mut self) -> Result<Vec<(String, u64)>> {
        self.run("list_namespace_quotas", Session::list_namespace_quotas)
    }

    fn read_version_counter(&mut self) -> Result<u64> {
        self.run("read_version_counter", Session::read_version_counter)
    }

    fn read_meta(&mut self, key: &str) -> Result<Option<String>> {
        self.run("read_meta", async |session| session.read_meta(key).await)
    }

    fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Result<bool> {
        self.run_once("replace_meta", async |session| {
            checks::meta_key(key)?;
            session.replace_meta(key, expected, value).await
        })
    }

    fn list_meta(&mut self) -> Result<Vec<(String, String)>> {
        self.run("list_meta", Session::list_meta)
    }

    fn integrity_check(&mut self) -> Result<bool> {
        self.run("integrity_check", Session::integrity_check)
    }

    fn read_blob(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        self.run("read_blob", async |session| {
            checks::blob_name(name)?;
            session.read_blob(name).await
        })
    }

    fn write_blob(&mut self, name: &str, bytes: Vec<u8>) -> Result<()> {
        self.run("write_blob", async |session| {
            checks::blob(name, &bytes, MAX_BLOB)?;
            session.write_blob(name, bytes).await
        })
    }

    fn delete_blobs(&mut self, names: &[String]) -> Result<()> {
        self.run("delete_blobs", async |session| {
            checks::blob_names(names)?;
            session.delete_blobs(names).await
        })
    }

    fn list_blobs(&mut self) -> Result<Vec<String>> {
        self.run("list_blobs", Session::list_blobs)
    }

    fn begin_import(&mut self, mode: ImportMode) -> Result<()> {
        self.run("begin_import", async |session| {
            session.begin_import(mode).await
        })
    }

    fn write_import(&mut self, entries: Vec<Entry>) -> Result<()> {
        self.run("write_import", async |session| {
            session.write_import(&entries).await
        })
    }

    fn commit_import(&mut self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        self.run_once("commit_import", async |session| {
            session.commit_import(quotas, meta).await
        })
    }

    fn end_import(&mut self) -> Result<()> {
        self.run("end_import", async |session| {
            session.end_import().await;
            Ok(())
        })
    }
}
