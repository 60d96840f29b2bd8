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
use mneme_store::checks::Embedder;
use mneme_store::opened::{Backend, MAX_BATCH, MAX_BLOB, Opened};
use mneme_store::{CapabilitySet, Store, StoreError, for_each_operation, opened};

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
    opened: Opened<Sqlite>,
}

impl SqliteStore {
    /// A closed store on the file at `path`, which [`open`](Store::open) creates if it is
    /// missing; its directory must exist. A relative path is relative to the current directory
    /// at the time of opening.
    ///
    /// The path is taken literally; `file:` URIs are not interpreted.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let options = Options {
            busy_timeout: Duration::from_secs(10),
            synchronous: Synchronous::default(),
        };
        Self {
            opened: Opened::new(Sqlite {
                path: path.into(),
                options,
            }),
        }
    }

    /// How long to wait for another process's lock before failing. 10 seconds by default.
    /// Takes effect on the next open.
    #[must_use]
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.opened.backend.options.busy_timeout = timeout;
        self
    }

    /// What a write survives. [`Synchronous::Normal`] by default. Takes effect on the next
    /// open.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.opened.backend.options.synchronous = synchronous;
        self
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.opened.backend.path
    }
}

impl Store for SqliteStore {
    for_each_operation!(opened![]);
}

/// Where the file is, and how it is opened.
#[derive(Debug)]
struct Sqlite {
    path: PathBuf,
    options: Options,
}

impl Sqlite {
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
}

impl Backend for Sqlite {
    type Session = Session;
    type Fault = Fault;

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

    fn recorded_embedder(&self) -> Outcome<Option<Embedder>> {
        connection::recorded_embedder(&self.absolute()?, &self.options)
    }

    fn open(&mut self, embedder: Embedder) -> Outcome<Session> {
        Session::open(self.absolute()?, self.options, embedder)
    }

    fn close(&mut self, session: Session) -> Outcome<()> {
        session.conn.close().map_err(|(_, error)| error.into())
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        fault.at(&self.path, operation)
    }
}
