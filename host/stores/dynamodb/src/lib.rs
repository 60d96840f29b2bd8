//! A store in one DynamoDB table.

mod blobs;
mod connection;
mod decided;
mod error;
mod imports;
mod layout;
mod limits;
mod live;
mod opening;
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
use self::limits::{MAX_BATCH, MAX_BLOB};
use self::options::Options;
use self::session::Session;
use mneme_store::background;
use mneme_store::checks::Embedder;
use mneme_store::opened::{Backend, Opened};
use mneme_store::{CapabilitySet, Result, Store, StoreError, for_each_operation, opened};

/// A store in one DynamoDB table, shared by any number of processes and machines.
///
/// The layout of the table is that of the Python library `mneme-cache` 1.0, and each uses
/// what the other wrote, at the same time too. Beside the entries stand pointers, items
/// with ids below zero, which that library passes over: they make look-ups by query exact
/// although DynamoDB's indexes lag behind its tables. What this store has written is seen
/// at once by all others of its kind; a look-up by query may see what `mneme-cache`
/// changed a moment later, and a query that both store in the same moment may be there twice
/// until it is stored again.
///
/// Region and credentials are found where every AWS program finds them: in the environment,
/// a profile, or the role of the machine or container. [`region`](Self::region) and
/// [`endpoint`](Self::endpoint) go before those. Connections are made, and made again after
/// an outage, as they are needed.
///
/// # Requests
///
/// A *wave* is several requests at the same time, at most 16; it takes as long as one.
///
/// | operation | requests |
/// |---|---|
/// | `get_by_hash` | one wave for each 15 keys; a second one for entries that `mneme-cache` wrote, or that changed within the last moments |
/// | `get_by_ids` | one wave for each 1600 ids |
/// | `iter_since`, `iter_vectors`, `iter_stamps` | one wave for each 1600 rows; where most ids have been deleted, a scan of the table at the beginning of a walk |
/// | `insert` | one wave and one transaction |
/// | `update_access` | one wave of reads and one of transactions, of 50 entries each |
/// | `delete_by_id`, `delete_unchanged` | one read and one transaction for each 49 entries |
/// | `read_version_counter`, `read_meta`, `list_meta`, quotas | one |
/// | `replace_meta`, `set_namespace_quota` | one transaction |
/// | `iter_lru_ids` of a namespace | one query and one wave for each 1000 entries asked for, read from an index and checked in the table |
/// | `iter_lru_ids` of all, `count`, `list_namespaces` | a scan of the table |
/// | `delete_expired`, `clear_namespace` | a scan, and one transaction for each 49 entries deleted |
/// | `integrity_check` | a scan of up to 64 MB |
/// | `read_blob`, `list_blobs` | one |
/// | `write_blob` | one transaction |
/// | `delete_blobs` | one transaction for each 49 blobs |
/// | `begin_import` | a few; a scan with mode `empty` |
/// | `write_import` | one transaction |
/// | `commit_import` | for each 45 entries a read, four waves and a transaction, and a delete of 25 staged entries each, 16 at a time; a scan and one transaction for each 49 entries that mode `replace` deletes |
///
/// A scan reads, and DynamoDB charges for, the whole table, blobs too, 1 MB a request and four requests
/// at a time.
///
/// # Imports
///
/// The entries of an import wait as items with ids below zero, in no index, that nobody looks
/// at. `commit_import` decides by one write, with which quotas and meta values change and
/// new entries get their ids reserved, and then stores the entries in steps of up to 45, which
/// others may see one after another; the version counter moves with the last. Mode `replace`
/// deletes first, and all its entries get new ids. Where an entry is replaced under its id,
/// the id of its place in the import stays unused.
///
/// Between the decision and the last step every write of a store of this kind, and every
/// open, first completes the import, however long that takes. So one that a killed process
/// has decided becomes part of the data as a whole. `mneme-cache` does not wait: what it
/// replaces or inserts meanwhile may be overwritten by the import, or be there twice, as
/// with any two writes at the same time.
///
/// An import that has not been decided or written to for an hour is taken for abandoned, and
/// the next open (up to 10,000 entries) or `begin_import` removes it. One that is in progress
/// holds about 32 bytes an entry in memory, to know keys that come twice.
///
/// # Failures
///
/// A request that meets no network, a failing server or throttling is sent up to five times
/// within the [`call_timeout`](Self::call_timeout). Transactions carry a token by which
/// DynamoDB knows a repetition, so that they take effect once. Writers that meet wait and
/// try again until the timeout; since every write moves one counter, they go one by one.
///
/// An error is retryable where the network or the server failed or the table was throttled.
/// It is not where it is unknown whether an `update_access`, a `replace_meta` or a
/// `commit_import` was stored, nor where an import is decided and not complete.
///
/// # Limits
///
/// - One `insert` takes at most 9 entries. An entry takes at most 400 KB, its embedding
///   included, and its namespace at most 2048 bytes. Meta values and quotas have 400 KB
///   together. Beyond that it is [`StoreError::InvalidArgument`].
/// - A blob has at most 300,000 bytes, and the names of all blobs have 400 KB together.
/// - One atomic step deletes at most 49 entries, and touches at most 50; longer lists take
///   several steps.
/// - The longest unused entries of one namespace are found through an index, and one that
///   was stored or touched within the last moments may be missing there.
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
    opened: Opened<Options>,
}

impl fmt::Debug for DynamoDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the endpoint, which is unchecked before `open`.
        f.debug_struct("DynamoDbStore")
            .field("table", &self.opened.backend.table)
            .field("region", &self.opened.backend.region)
            .field("open", &self.opened.is_open())
            .finish_non_exhaustive()
    }
}

impl DynamoDbStore {
    /// A closed store on a table, by its name.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            opened: Opened::new(Options::new(table.into())),
        }
    }

    /// A closed store from a URL:
    /// `dynamodb://TABLE?region=eu-north-1&endpoint=http://127.0.0.1:5000&create=true&connect_timeout_ms=5000&call_timeout_ms=10000`.
    /// Every parameter may be left out, and is what the method of its name sets. Credentials
    /// have no place in it.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for anything else; the text holds no secret.
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self {
            opened: Opened::new(Options::from_url(url)?),
        })
    }

    /// The AWS region of the table. By default that of the environment or profile. Takes
    /// effect on the next open.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.opened.backend.region = Some(region.into());
        self
    }

    /// The address of the server, such as `http://127.0.0.1:8000` for one of your own. By
    /// default that of the environment or profile, or else DynamoDB's in the region. Takes
    /// effect on the next open.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.opened.backend.endpoint = Some(endpoint.into());
        self
    }

    /// Whether opening creates the table where it is missing, with on-demand billing, and
    /// waits until it can be used. No by default. Takes effect on the next open.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.opened.backend.create = create;
        self
    }

    /// How long a connection may take to be made. 5 seconds by default. Takes effect on the
    /// next open.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.connect_timeout = timeout;
        self
    }

    /// How long a request may take with all its repetitions, and how long a write goes on
    /// trying against others that write the same items. 10 seconds by default. A single
    /// attempt has half of that. Takes effect on the next open.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.call_timeout = timeout;
        self
    }

    /// The name of the table.
    pub fn table(&self) -> &str {
        &self.opened.backend.table
    }
}

impl Store for DynamoDbStore {
    for_each_operation!(opened![wait] entries);
}

/// Waits for a future; all that it waits for has timeouts of its own.
fn wait<T>(future: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    background::run(future, Duration::MAX)
        .unwrap_or_else(|unfinished| Err(Fault::system(unfinished.to_string())))
}

impl Backend for Options {
    type Session = Session;
    type Fault = Fault;

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "dynamodb".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: limits::MAX_DELETE,
            max_blob: MAX_BLOB,
        }
    }

    fn recorded_embedder(&self) -> Outcome<Option<Embedder>> {
        wait(Session::recorded_embedder(self))
    }

    fn open(&mut self, embedder: Embedder) -> Outcome<Session> {
        wait(Session::open(self, embedder))
    }

    fn close(&mut self, mut session: Session) -> Outcome<()> {
        wait(session.end_import())
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        // While it is unknown what became of them.
        let counts_twice = ["update_access", "replace_meta", "commit_import"].contains(&operation);
        fault.at(&self.table, operation, !counts_twice)
    }
}
