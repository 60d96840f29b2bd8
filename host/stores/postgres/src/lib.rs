//! A store in a Postgres database: [`PostgresStore`].
//!
#![doc = include_str!("production.md")]

mod batch;
mod blobs;
mod changes;
mod connection;
mod error;
mod hosts;
mod imports;
mod layout;
mod nearest;
mod options;
mod pooler;
mod reads;
mod rows;
mod select;
mod session;
mod tags;
mod tls;
mod values;
mod writes;

use std::fmt;
use std::time::Duration;

use self::error::{Fault, Outcome};
use self::options::Options;
use self::session::Session;
use mneme_store::changes::MAX_CHANGES;
use mneme_store::checks::Embedder;
use mneme_store::opened::{BOOKKEEPING_PATIENCE, Backend, MAX_BATCH, MAX_BLOB, Opened, Probe};
use mneme_store::{CapabilitySet, Result, Store, StoreError, for_each_operation, opened};

/// A store in one schema of a Postgres database, shared by any number of processes on any
/// number of machines.
///
/// The schema and its tables are created on first [`open`](Store::open). The layout is
/// that of the Python library `mneme-cache` 1.0: each opens what the other wrote, and both
/// may use it at the same time. The store needs Postgres 12 or newer, and a database with the encoding
/// UTF8.
///
/// This store adds columns to the table `entries`, which `mneme-cache` ignores: `metadata_text` and
/// `metadata_text_of` (metadata as given), `context` and `tags` (a JSONB array). An entry that
/// `mneme-cache` replaces keeps its context and tags; one that it inserts has none. By meaning,
/// `mneme-cache` answers from entries of any context. Tags are found by the table `entry_tags` (tag, id). Opening adds columns and tables, and gives the tables the rights that others have
/// on `entries`. A role that does not own `entries` is told what the owner has to run. A role or a server
/// that can only read reads without them: contexts are empty, and nothing has a tag.
///
/// The table `changes` is a log of the last 65,536 changes. A write of more than 1,000 entries, an import, and
/// whatever moves the version counter without the log, such as `mneme-cache`, ends what `changes_since`
/// knows, and the log begins again.
///
/// If the table `derived_blobs` is missing, the first write of a blob creates it, for which the role needs
/// the right CREATE on the schema. Without that right blobs cannot be written, and everything else works.
///
/// # URL
///
/// ```text
/// postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME&sslmode=verify-full
/// ```
///
/// `postgresql://` is the same. Special characters are written `%XX`. The parameters of this
/// store are
///
/// | parameter | default | meaning |
/// |---|---|---|
/// | `pooler` | `auto` | what stands between the store and the server: `auto`, `session` or `transaction`, see [the crate](crate#pgbouncer) |
/// | `nearest` | `off` | whether the store searches vectors itself: `vector`, `halfvec` or `off`, see [the crate](crate#vectors-in-postgres) |
/// | `schema` | `mneme` | the schema, any name of 1 to 63 bytes; `mneme-cache` takes letters, digits and `_` only |
/// | `sslmode` | see below | `disable`, `prefer`, `require` or `verify-full` |
/// | `sslrootcert` | `system` | a PEM file with the certificates to trust, instead of the system's |
/// | `connect_timeout_ms` | 5000 | see [`connect_timeout`](Self::connect_timeout) |
/// | `call_timeout_ms` | 10000 | see [`call_timeout`](Self::call_timeout) |
///
/// and these, which the client knows from libpq: `application_name` (default `mneme`),
/// `channel_binding`, `connect_timeout`, `dbname`, `host`, `hostaddr`, `keepalives`,
/// `keepalives_idle`, `keepalives_interval`, `keepalives_retries`, `load_balance_hosts`,
/// `options`, `password`, `port`, `target_session_attrs`, `tcp_user_timeout`, `user`. A host
/// that begins with `/` is the folder of a Unix socket. `host`, `hostaddr` and `port` may be lists with
/// commas. Environment variables and password files are not read. [The crate](crate#postgres-in-production) says
/// more of sockets, several hosts, poolers and rights.
///
/// # TLS
///
/// | `sslmode` | encrypted | server's certificate |
/// |---|---|---|
/// | `disable` | never | |
/// | `prefer` | if the server can | not checked, so that it only helps against listeners |
/// | `require`, `verify-full` | always | checked, including the name of the host |
///
/// `require` checks as much as `verify-full`, which is more than in libpq. The default is
/// `prefer` if every host is a loopback address, and `verify-full` otherwise. Unix sockets are
/// never encrypted.
///
/// # Lost connections
///
/// A store has one connection. The next call reopens it after a loss. A call that certainly
/// had no effect is repeated automatically. If the connection is lost during the commit,
/// nobody knows whether the write happened, and the error says so: `retryable` is true for
/// operations that may safely be called again (inserts, deletes, quotas) and false for
/// `update_access` and `replace_meta`, which would count twice.
///
/// After a call that timed out, calls fail at once with a retryable error,
/// until the server answers a probe in the background: at once, after 250 ms, and then in pauses of up to 5
/// seconds. `update_access` and `replace_meta` wait for 1 second at most.
///
/// If the tables of an open store were dropped, emptied or replaced by those of another cache,
/// writes fail with [`StoreError::Corrupt`] or [`StoreError::Schema`] and write nothing, and so does
/// the reading of the version counter. Opening the store again begins with what is there.
///
/// # Writers
///
/// Writers of entries go one after another, by a lock on the version counter. If a writer
/// waits for rows of another program while that program waits for the counter, the writer
/// gives way after half a second and starts again. `mneme-cache` takes the lock last, so a
/// smaller id may appear after a greater one when it inserts at the same time as others.
///
/// # Views and imports
///
/// A view is a read-only transaction of isolation level REPEATABLE READ. If the connection is
/// lost, reads fail until the view is ended or begun again, instead of showing later data.
///
/// An import gathers its entries in a temporary table, in a transaction on a second
/// connection. For this the role needs the right TEMPORARY on the database, which every role
/// has by default. Until the commit the import holds no lock on the tables. During the commit
/// other writers of entries wait; those whose call takes too long fail with a retryable error.
///
/// Views and imports may stay idle for any time: they set the server's
/// `idle_in_transaction_session_timeout` and `transaction_timeout` to 0. While one is open, the
/// server's vacuum keeps rows that were deleted since.
///
/// # Limits
///
/// One `insert` takes at most 1000 entries and 500 MB. Times, TTLs, access counts and quotas
/// go up to 2^53 - 1. Metadata must be JSON that a JSONB can hold. Namespaces and meta keys
/// have at most about 2,700 bytes, more if they compress. A blob has at most 4 MiB. Beyond
/// these limits it is [`StoreError::InvalidArgument`]. There are no snapshots: use `pg_dump`,
/// or a portable checkpoint.
///
/// Every text is returned exactly as it was given, but other programs see some texts
/// differently. Postgres cannot hold U+0000, which is stored as U+10FFFE and `0`. For metadata
/// they see the JSONB, where the halves of surrogate pairs are U+FFFD. Metadata that another
/// program replaces is returned as Postgres writes a JSONB.
///
/// ```no_run
/// use std::time::Duration;
/// use mneme_postgres::PostgresStore;
/// use mneme_store::Store;
///
/// let mut store = PostgresStore::from_url("postgres://ann:secret@db.example/app?schema=answers")?
///     .call_timeout(Duration::from_secs(2));
/// store.open("my-embedder@1", 384)?;
/// # Ok::<(), mneme_store::StoreError>(())
/// ```
pub struct PostgresStore {
    opened: Opened<Options>,
}

impl PostgresStore {
    /// A closed store at a URL, see [above](Self#url). Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for a malformed URL or an unknown parameter. The message
    /// does not show the URL.
    pub fn from_url(url: &str) -> Result<Self> {
        Ok(Self {
            opened: Opened::new(Options::parse(url)?),
        })
    }

    /// The schema, instead of that in the URL. Takes effect on the next open, which refuses
    /// a name that is empty, longer than 63 bytes, or contains U+0000.
    #[must_use]
    pub fn schema(mut self, name: impl Into<String>) -> Self {
        self.opened.backend.schema = name.into();
        self
    }

    /// How long connecting may take, including TLS and authentication, before it fails with
    /// a retryable [`StoreError::Backend`]. 5 seconds by default. Several hosts and addresses
    /// share it.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.connect_timeout = timeout;
        self
    }

    /// How long a call may take before it fails with a retryable [`StoreError::Backend`], not
    /// counting the time for a new connection. 10 seconds by default; deleting millions of
    /// entries takes longer. Committing an import has this time again for each 10,000 entries.
    /// The server gives up a little earlier. Takes effect on the next open.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.call_timeout = timeout;
        self
    }
}

/// Shows where the store is, without user and password.
impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("place", &self.opened.backend.place())
            .field("open", &self.opened.is_open())
            .finish_non_exhaustive()
    }
}

impl Store for PostgresStore {
    for_each_operation!(opened![] views changes nearest entries);
}

impl Backend for Options {
    type Session = Session;
    type Fault = Fault;

    fn capabilities(&self) -> CapabilitySet {
        CapabilitySet {
            name: "postgres".to_owned(),
            durable: true,
            shared: true,
            snapshot: false,
            max_batch: MAX_BATCH,
            max_delete: u32::MAX,
            max_blob: MAX_BLOB,
            max_changes: MAX_CHANGES,
            nearest: self.nearest.is_some(),
        }
    }

    fn recorded_embedder(&self) -> Outcome<Option<Embedder>> {
        self.check_schema()?;
        Session::recorded_embedder(self)
    }

    fn open(&mut self, embedder: Embedder) -> Outcome<Session> {
        self.check_schema()?;
        Session::open(self.clone(), embedder)
    }

    fn close(&mut self, session: Session) -> Outcome<()> {
        session.close();
        Ok(())
    }

    fn probe(&self, fault: &Fault) -> Option<Probe> {
        let options = self.clone().within(BOOKKEEPING_PATIENCE);
        fault
            .is_silence()
            .then(|| -> Probe { Box::new(move || session::answers(&options)) })
    }

    fn server_time(&self, session: Option<&mut Session>) -> Outcome<Option<Duration>> {
        match session {
            Some(session) => session.server_time().map(Some),
            None => session::server_time_at(self).map(Some),
        }
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        fault.at(&self.place(), operation)
    }
}
