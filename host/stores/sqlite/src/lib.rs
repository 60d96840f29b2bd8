//! A store in one SQLite file.

mod blobs;
mod bounds;
mod changes;
mod connection;
mod error;
mod import;
mod labels;
mod layout;
mod options;
mod place;
mod private;
mod reads;
mod restore;
mod rows;
mod schema;
mod select;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use self::error::{Fault, Outcome};
use self::options::Options;
pub use self::options::{Mode, Synchronous};
use self::session::Session;
use mneme_store::changes::MAX_CHANGES;
use mneme_store::checks::Embedder;
use mneme_store::opened::{Backend, MAX_BATCH, MAX_BLOB, Opened};
use mneme_store::parameters::Parameters;
use mneme_store::{CapabilitySet, Store, StoreError, for_each_operation, opened};

/// A store in one SQLite file, shared by any number of processes on one machine.
///
/// The file is created on first [`open`](Store::open), readable and writable for its owner
/// only (mode 0600; an existing file keeps its mode). While it is open, a `-wal` and a `-shm`
/// file stand beside it. It must be on a local disk, because write-ahead logging needs memory
/// shared between the processes. Its layout is that of the Python library `mneme-cache` 1.0:
/// each opens what the other wrote. Opening for writing adds two columns to the table `entries`, `context` and
/// `tags` (a JSON array), the table `entry_tags` (tag, id), by which tags are found, and the table `changes`
/// (version, id, deleted), the log of the last writes; no row is rewritten. `mneme-cache` ignores them: an entry
/// that it replaces keeps its context and tags, one that it inserts has none, and by meaning it answers
/// from entries of any context. A file without them can be read too.
///
/// Reads never wait for writers. A write waits for other writers, at most
/// [`busy_timeout`](Self::busy_timeout); after that it fails with a retryable
/// [`StoreError::Backend`]. From then on writes wait for 20 ms, until one succeeds: otherwise callers
/// would wait for one timeout after the other. A cache over the store answers its other callers
/// meanwhile ([`locks`](mneme_store::locks)). Bookkeeping, such as access times, waits for 100 ms, unless
/// a call of a cache asked for it.
///
/// # Limits
///
/// One `insert` or `write_import` takes at most 1000 entries. Ids, times, TTLs, access counts and
/// quotas go up to 2^53 - 1; greater ones are [`StoreError::InvalidArgument`], and in a file they
/// are [`StoreError::Corrupt`], like numbers below zero. Fractions that another program wrote are
/// cut off. An entry holds at most about 1 GB, a blob at most 4 MiB.
///
/// A file with a table, an index, a trigger or a view that this store and `mneme-cache` do not
/// make, or with a changed one, is refused with [`StoreError::Schema`]. What `ANALYZE` makes is
/// allowed.
///
/// # Files that cannot be written
///
/// A file that this process may not write, or whose directory it may not write, is opened for
/// reading: every read answers, and every write is [`StoreError::Unsupported`] and says why. Only
/// [`update_access`](Store::update_access) and [`delete_unchanged`](Store::delete_unchanged) do
/// nothing instead, so that look-ups go on. [`Mode::ReadOnly`] asks for it; where it was not asked
/// for, [`read_only`](Store::read_only) says why, and so does the health of the cache.
/// This works on a read-only file system too, with what waits in a `-wal` file. If others write there by
/// another mount, their writes are seen as long as they have the file open when this process opens it; if
/// they open it later, calls fail from their first write until the store is opened again. On other
/// systems than Unix, a `-wal` file with writes and no `-shm` file beside it is refused.
///
/// # Files that go away
///
/// A file that is removed, moved or replaced while it is open makes every call fail until the
/// store is opened again, and so do data whose version counter went back or whose embedder has
/// changed. Nothing is written then. The same holds for the `-wal` and the `-shm` file beside it;
/// what is in a `-wal` file that was removed is saved to the file.
///
/// # Views, imports and snapshots
///
/// A view is a read transaction: it holds up nobody, but the `-wal` file grows with what
/// others write meanwhile. In a view the store refuses to write.
///
/// Imports, snapshots and restores use a private temporary file beside the database, readable
/// and writable for its owner only; a snapshot of a cache that can only be read, one in the
/// folder of temporary files. It is removed when they end, or when the store is closed
/// or dropped. On Unix, the file of a killed process is removed when the next one begins in
/// that directory. Beginning an import or a restore waits as a write does, so that a lock is found before
/// all is received. Committing it holds the write lock while it copies the
/// entries. After a restore, new ids are still above all ids that the file ever used. Blobs are
/// part of a snapshot, and a restore replaces the present blobs by those of the snapshot.
///
/// A snapshot on its way in is data that nobody vouches for. Its tables are never used: its rows
/// are checked, and copied into tables that this store makes. That takes room for another copy.
/// Its quotas and meta values may take 16 MiB of memory and a sixteenth of its size.
///
/// # Damaged and hostile files
///
/// Every connection is in SQLite's defensive mode, and trusts no schema. A call that takes more
/// instructions of SQLite than 100 million and 64 for each byte of the file is
/// [`StoreError::Corrupt`]: a sound file never needs so many, but pages that lead in circles do. A
/// call that was given up ([`cancel`](mneme_store::cancel)) ends soon, and changes nothing.
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
    /// The files of the cache at `path`: the database, and what SQLite keeps beside it while it is open,
    /// where entries wait that are not in the database yet. They need not be there. Nobody but
    /// SQLite may write, move or remove them.
    pub fn files(path: impl AsRef<Path>) -> [PathBuf; 4] {
        place::files(path.as_ref())
    }

    /// A closed store on the file at `path`, which [`open`](Store::open) creates if it is
    /// missing and the [`mode`](Self::mode) allows it; its directory must exist. A relative path
    /// is relative to the current directory at the time of opening.
    ///
    /// The path is taken literally. One that begins with `file:` is refused, since it is meant
    /// as a URI; for a file of such a name write `./file:…`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let options = Options {
            mode: Mode::default(),
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

    /// A closed store at a URL: `sqlite:PATH` or `sqlite://PATH`, with the parameter `mode`:
    /// `sqlite:answers.db?mode=ro`.
    ///
    /// | `mode` | |
    /// |---|---|
    /// | `rwc` | [`Mode::Create`], the default |
    /// | `rw` | [`Mode::Existing`] |
    /// | `ro` | [`Mode::ReadOnly`] |
    ///
    /// The path is taken literally up to a question mark; one with a question mark in it can only
    /// be given to [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for a malformed URL or an unknown parameter.
    pub fn from_url(url: &str) -> Result<Self, StoreError> {
        let invalid = |message: String| Err(StoreError::InvalidArgument(message));
        let Some(rest) = url.strip_prefix("sqlite:") else {
            return invalid(
                "the URL of a SQLite store begins with sqlite:, as in sqlite:mneme.db".into(),
            );
        };
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() {
            return invalid(
                "the URL of a SQLite store names no file; write sqlite:PATH, such as sqlite:mneme.db"
                    .into(),
            );
        }
        if let Some(path) = path.strip_prefix("file:") {
            return invalid(format!(
                "the URL of a SQLite store has file: before its path; write sqlite:{}",
                path.strip_prefix("//").unwrap_or(path)
            ));
        }
        let pairs = parameters.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut parameters = Parameters::read("a SQLite store", pairs, &["mode"], true)?;
        let mode = match parameters.take("mode").as_deref() {
            None | Some("rwc") => Mode::Create,
            Some("rw") => Mode::Existing,
            Some("ro") => Mode::ReadOnly,
            Some(_) => {
                return invalid(
                    "the parameter mode in the URL of a SQLite store is not rwc, rw or ro".into(),
                );
            }
        };
        Ok(Self::new(path).mode(mode))
    }

    /// What opening may do to the file. [`Mode::Create`] by default. Takes effect on the next
    /// open.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.opened.backend.options.mode = mode;
        self
    }

    /// The same store, that does not create the file.
    #[must_use]
    pub fn existing(mut self) -> Self {
        let mode = &mut self.opened.backend.options.mode;
        if *mode == Mode::Create {
            *mode = Mode::Existing;
        }
        self
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
    for_each_operation!(opened![] views changes snapshots entries);
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
        if self
            .path
            .as_os_str()
            .as_encoded_bytes()
            .starts_with(b"file:")
        {
            return Err(Fault::invalid(
                "the path of the store is a URI; give the path alone, without file: and parameters",
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
            max_changes: MAX_CHANGES,
            nearest: false,
        }
    }

    fn recorded_embedder(&self) -> Outcome<Option<Embedder>> {
        connection::recorded_embedder(&self.absolute()?, &self.options)
    }

    fn open(&mut self, embedder: Embedder) -> Outcome<Session> {
        Session::open(self.absolute()?, self.options, embedder)
    }

    fn close(&mut self, session: Session) -> Outcome<()> {
        drop(session);
        Ok(())
    }

    fn read_only(&self, session: &Session) -> Option<String> {
        match self.options.mode {
            Mode::ReadOnly => None,
            Mode::Create | Mode::Existing => session.read_only().map(str::to_owned),
        }
    }

    fn error(&self, fault: Fault, operation: &'static str) -> StoreError {
        fault.at(&self.path, operation)
    }
}
