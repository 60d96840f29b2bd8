//! A store in one DynamoDB table.

mod blobs;
mod clock;
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
mod selecting;
mod session;
mod settings;
mod staging;
mod tags;
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
use mneme_store::opened::{BOOKKEEPING_PATIENCE, Backend, Opened, Probe};
use mneme_store::{CapabilitySet, Result, Store, StoreError, for_each_operation, opened};

/// A store in one DynamoDB table, shared by any number of processes and machines.
///
/// The layout of the table is that of the Python library `mneme-cache` 1.0: each uses what the
/// other wrote, even at the same time. The table also has pointers, items with ids below zero,
/// which that library ignores. They make look-ups by query exact although DynamoDB's indexes lag
/// behind its tables. All stores of this kind see each other's writes at once. A look-up by query
/// may see a change by `mneme-cache` a moment later, and a query that both store at the same
/// moment may exist twice until it is stored again.
///
/// Context and tags are attributes `context` (a text) and `tags` (a list of texts, in the order
/// given) of an entry's item. An entry without them has no such attribute, and its item is as that
/// library writes it. That library ignores both: by meaning it answers from entries of any context, its
/// touch keeps them, and its replacement of an entry loses them, since it writes the item as a whole. For each tag there are further items
/// with ids below zero, which hold the ids of up to 1000 entries each. Entries are found by them;
/// an id that is there although its entry has lost the tag costs a read, and nothing else.
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
/// | `select` by tag | one read, up to four waves over at most 1600 items of 1000 ids each, and the entries with the tag, in waves |
/// | `select` of all | as `iter_stamps`, of at most 1600 entries a call, which are charged for as a whole |
/// | `iter_since`, `iter_vectors`, `iter_stamps` | one wave for each 1600 rows; if most ids have been deleted, a scan of the table at the beginning of a walk |
/// | `insert` | one wave and one transaction; one wave more for each 16 different tags |
/// | `update_access` | one wave of reads and one of transactions, of 50 entries each |
/// | `delete_by_id`, `delete_unchanged` | one read and one transaction for each 49 entries; one wave more for each 16 different tags |
/// | `read_version_counter`, `read_meta`, `list_meta`, quotas | one |
/// | `replace_meta`, `set_namespace_quota` | one transaction |
/// | `iter_lru_ids` of a namespace | one query and one wave for each 1000 entries asked for, read from an index and checked in the table |
/// | `iter_lru_ids` of all, `count`, `list_namespaces`, `count_by_namespace` | a scan of the table |
/// | `delete_expired`, `clear_namespace` | a scan, and what `delete_unchanged` takes for the entries deleted |
/// | `integrity_check` | a scan of up to 64 MB |
/// | `read_blob`, `list_blobs` | one |
/// | `write_blob` | one transaction |
/// | `delete_blobs` | one transaction for each 49 blobs |
/// | `begin_import` | a few; a scan with mode `empty` |
/// | `write_import` | one transaction |
/// | `commit_import` | for each 45 entries a read, four waves and a transaction, and a delete of 25 staged entries each, 16 at a time; one wave more for each 16 different tags; a scan and one transaction for each 49 entries that mode `replace` deletes |
///
/// A scan reads the whole table, including blobs, 1 MB a request and four requests at a time.
/// DynamoDB charges for all of it. Reads without vectors transfer less, but DynamoDB charges for
/// the whole item.
///
/// `select` by tag reads the items of the tag for all ids since the first, also where they hold
/// nothing: a table that has given out a million ids has a thousand of them, which are ten
/// requests at the same time.
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
/// After a call that timed out, calls fail at once with a retryable error,
/// until DynamoDB answers a probe in the background: at once, after 250 ms, and then in pauses of up to 5
/// seconds. `update_access` and `replace_meta` wait for 5 seconds at most.
///
/// DynamoDB has no clock that a write could use, so entries have the time of the client that stores
/// them. The head of each response tells the server's time, to the second
/// ([`server_time`](Store::server_time)), by which a cache notices that its own clock is wrong.
///
/// If the table of an open store was emptied, or deleted and created again, reads of the version
/// counter and writes fail with [`StoreError::Corrupt`] and write nothing. Opening the store again
/// begins with what is there.
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
/// - Times, TTLs, access counts and quotas go up to 2^53 - 1.
/// - A blob has at most 300,000 bytes, and the names of all blobs have 400 KB together.
/// - One atomic step deletes at most 49 entries, and touches at most 50; longer lists take
///   several steps.
/// - An index finds the least recently used entries of one namespace. It may miss an entry
///   that was stored or touched a moment ago.
/// - There are no snapshots; use portable checkpoints, or DynamoDB's own backups.
/// - There is no log of changes: each write would pay for one more item in its transaction, and
///   for its removal later, and writers that now pass each other would have to wait.
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
    /// Every parameter is optional, and sets the same as the method of its name. The URL takes
    /// no credentials.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for anything else; the message never contains a secret.
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

    /// The address of the server, such as `http://127.0.0.1:8000` for your own server. By
    /// default that of the environment or profile, or else DynamoDB's in the region. Takes
    /// effect on the next open.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.opened.backend.endpoint = Some(endpoint.into());
        self
    }

    /// Whether opening creates a missing table, with on-demand billing, and waits until it can
    /// be used. False by default. Takes effect on the next open.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.opened.backend.create = create;
        self
    }

    /// How long connecting may take. 5 seconds by default. Takes effect on the next open.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.connect_timeout = timeout;
        self
    }

    /// How long a request may take with all its repetitions, and how long a write that
    /// conflicts with others is repeated. 10 seconds by default. A single attempt has half of
    /// that. Takes effect on the next open.
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

/// Waits for a future, whose requests all have timeouts.
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
            max_changes: 0,
            nearest: false,
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

    fn server_time(&self, session: Option<&mut Session>) -> Outcome<Option<Duration>> {
        match session {
            Some(session) => Ok(session.table.clock.now()),
            None => wait(Session::server_time(self)),
        }
    }

    fn probe(&self, fault: &Fault) -> Option<Probe> {
        let options = self.clone().within(BOOKKEEPING_PATIENCE);
        let answers = move || match wait(Session::recorded_embedder(&options)) {
            Err(fault) => !fault.is_silence(),
            Ok(_) => true,
        };
        fault.is_silence().then(|| -> Probe { Box::new(answers) })
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        // While it is unknown what became of them.
        let counts_twice = ["update_access", "replace_meta", "commit_import"].contains(&operation);
        fault.at(&self.table, operation, !counts_twice)
    }
}
