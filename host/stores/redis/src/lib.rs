//! A store on a Redis server.

mod blobs;
mod connection;
mod error;
mod imports;
mod layout;
mod memory;
mod options;
mod reads;
mod routes;
mod rows;
mod scripts;
mod servers;
mod session;
mod writes;

pub mod production {
    #![doc = include_str!("production.md")]
}

use std::fmt;
use std::time::Duration;

use self::connection::Wire;
use self::error::{Fault, Outcome};
use self::options::Options;
use self::session::Session;
use mneme_store::changes::MAX_CHANGES;
use mneme_store::checks::Embedder;
use mneme_store::opened::{BOOKKEEPING_PATIENCE, Backend, MAX_BATCH, MAX_BLOB, Opened, Probe};
use mneme_store::{CapabilitySet, Result, Store, StoreError, for_each_operation, opened};

/// A store on a Redis server (5.0 or later, or Valkey), in a Redis Cluster or behind Sentinel, shared
/// by any number of processes. [`production`] says what to set there.
///
/// All keys of a cache begin with its prefix and a colon. Their layout is that of the Python
/// library `mneme-cache` 1.0: each opens what the other wrote, and both can use it at the
/// same time.
///
/// # URL
///
/// `redis://[[user]:password@]host[:port][/db]`, by default port 6379 and database 0. Special
/// characters in user and password are written as `%XX`. `rediss` in place of `redis` is for TLS.
///
/// `redis+cluster://host[:port],host[:port]` names nodes of a [cluster](production#cluster), and
/// `redis+sentinel://host[:port],host[:port][/db]?master=NAME` [sentinels](production#sentinel).
///
/// | parameter | default | meaning |
/// |---|---|---|
/// | `prefix` | `mneme` | the prefix of all keys; in a cluster it gets a hash tag, `{mneme}` |
/// | `cafile` | the system's roots | with TLS: a PEM file with the certificates to trust instead |
/// | `certfile`, `keyfile` | none | with TLS: PEM files with the client's certificate and its key |
/// | `connect_timeout_ms` | 5000 | how long connecting may take, with all that finds the server |
/// | `call_timeout_ms` | 10000 | how long the server may be silent before it answers, 1 second at most for `update_access` and `replace_meta` |
/// | `master` | | with sentinels: what they call the master |
/// | `sentinel_user`, `sentinel_password` | none | with sentinels: for them, as user and password are for the master |
///
/// # What it survives
///
/// Durability depends on the server's configuration. Without persistence a restart loses
/// everything; with `appendfsync everysec` a crash loses a second. The server's
/// `maxmemory-policy` should be [`noeviction`](production#memory): with any other policy Redis may
/// drop single keys, and so a part of an entry.
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
/// # Contexts and tags
///
/// Contexts and tags are fields of an entry that `mneme-cache` does not know. Its entries have none.
/// An entry that it replaces keeps the context and the tags it had, as it sets only the fields that
/// it knows. By meaning, it answers from entries of any context. An entry that it deletes is found by no tag any more. What is left of that entry in the
/// index of tags goes with later writes of entries with tags.
///
/// By tag, `select` reads the entries of the tag that the fewest entries have. In a namespace of at
/// most 1,000 entries it reads those. Otherwise it goes through all entries. A call looks at 2,000
/// at most.
///
/// # Changes
///
/// The store logs the last 65,536 changes in a stream. A write of more than 1,000 entries, an
/// import, and whatever moves the version counter without the log, such as `mneme-cache`, ends what
/// `changes_since` knows, and the log begins again. So does a server that drops the stream for lack
/// of memory. Entries that Redis expires are not in it.
///
/// # Failures
///
/// The next call reopens a lost connection, and a read that finds it lost repeats itself. A
/// write without an answer is not repeated. Its error is retryable if the caller can safely
/// repeat it; that of `update_access`, `replace_meta` and `commit_import` is not.
///
/// After a call that timed out, calls fail at once with a retryable error,
/// until the server answers a probe in the background: at once, after 250 ms, and then in pauses of up to 5
/// seconds.
///
/// If the server has lost the data of an open store, or has another cache's in its place, reads and
/// writes fail with [`StoreError::Corrupt`] and write nothing. Opening the store again begins with
/// what is there.
///
/// A full memory (`OOM`) and a server that cannot save (`MISCONF`) are not retryable, and
/// nothing was stored. A replica (`READONLY`) is retryable: after a fail-over the next call
/// finds the new primary, by Sentinel, or where a name or an address leads to it.
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
/// The rights that a user needs are [listed](production#rights).
///
/// One `insert` or `write_import` takes at most 1000 entries and 500 MiB. Times, TTLs and
/// access counts go up to 2^53 - 1; greater ones are [`StoreError::InvalidArgument`]. A
/// `query_hash` must not contain a colon. No part of the prefix after its first colon may be
/// `entry`, `hash`, `lru` or `quota`, because two caches could then share keys.
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
    opened: Opened<Options>,
}

/// Without the password.
impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("options", &self.opened.backend)
            .field("open", &self.opened.is_open())
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
        Ok(Self {
            opened: Opened::new(Options::parse(url)?),
        })
    }

    /// The prefix of all keys. `mneme` by default. Takes effect on the next open, which
    /// refuses an [invalid](RedisStore#limits) prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.opened.backend.prefix = prefix.into();
        self
    }

    /// How long connecting may take, at least 1 ms. 5 seconds by default. The time to resolve
    /// the host's name does not count. Takes effect on the next open.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.connect_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// How long the server may be silent before it answers, at least 1 ms. 10 seconds by
    /// default. Takes effect on the next open.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.call_timeout = timeout.max(Duration::from_millis(1));
        self
    }
}

impl Store for RedisStore {
    for_each_operation!(opened![] changes entries);
}

impl Backend for Options {
    type Session = Session;
    type Fault = Fault;

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "redis".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: writes::MAX_DELETE,
            max_blob: MAX_BLOB,
            max_changes: MAX_CHANGES,
            nearest: false,
        }
    }

    fn recorded_embedder(&self) -> Outcome<Option<Embedder>> {
        self.check_prefix()?;
        layout::recorded_embedder(self)
    }

    fn open(&mut self, embedder: Embedder) -> Outcome<Session> {
        self.check_prefix()?;
        Session::open(self, embedder)
    }

    fn close(&mut self, mut session: Session) -> Outcome<()> {
        // What cannot be removed now expires.
        let _ = session.end_import();
        Ok(())
    }

    fn probe(&self, fault: &Fault) -> Option<Probe> {
        let options = self.clone().within(BOOKKEEPING_PATIENCE);
        fault
            .is_silence()
            .then(|| -> Probe { Box::new(move || connection::answers(&options)) })
    }

    fn server_time(&self, session: Option<&mut Session>) -> Outcome<Option<Duration>> {
        match session {
            Some(session) => session.server_time().map(Some),
            None => session::server_time(&mut Wire::new(self.clone())).map(Some),
        }
    }

    fn warnings(&self, session: &Session) -> Vec<String> {
        session.warnings.clone()
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        fault.at(&self.place(), operation)
    }
}
