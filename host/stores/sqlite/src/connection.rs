//! Connections: creating the file, waiting for locks, the settings.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::bounds::{Bounds, distrust, pause, size_of};
use super::error::{Fault, Outcome, is_full};
use super::layout::{self, Found};
use super::options::{Mode, Options};
use super::place::{self, Place, has_log, owner};
use super::session::PROBES;
use mneme_store::checks::Embedder;
use mneme_store::locks::may_wait;

/// Room for the indexes of some hundred thousand entries; taken as it is needed.
const CACHE_KIB: i64 = 32 * 1024;

/// Pages after which the log is copied into the database, which waits for the disk: some 20 ms
/// every two hundred entries. With more it is rarer and longer.
const CHECKPOINT_PAGES: i64 = 2000;

/// A write-ahead log that has grown beyond this shrinks at the next checkpoint.
const LOG_BYTES: i64 = 64 * 1024 * 1024;

/// The right to read, and to write too.
pub(super) const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY;
pub(super) const WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE;

/// What does not matter for an answer waits no longer than this for a lock.
pub(super) const SHORT: Duration = Duration::from_millis(100);

/// A connection to a cache.
#[derive(Debug)]
pub(super) struct Opened {
    pub conn: Connection,
    pub place: Place,
    pub bounds: Bounds,
    /// Why it can only be read.
    pub read_only: Option<String>,
}

/// Opens the cache at `path` as its options say. What may not be written is opened for
/// reading.
pub(super) fn open(path: &Path, options: &Options, embedder: &Embedder) -> Outcome<Opened> {
    if let Some(owner) = owner(path) {
        return Err(Fault::System(format!(
            "this is the name of a file that SQLite keeps beside {}; give that path, or another one",
            owner.display()
        )));
    }
    match options.mode {
        Mode::Create => create_private(path)?,
        Mode::Existing | Mode::ReadOnly if !path.try_exists().unwrap_or(true) => {
            return Err(no_cache());
        }
        Mode::Existing | Mode::ReadOnly => {}
    }
    place::check_kind(path)?;
    if options.mode == Mode::ReadOnly {
        return open_read_only(path, options, embedder, "it was opened with mode=ro".into());
    }
    match open_writable(path, options, embedder) {
        Err(Unopened::NotWritable(why)) => open_read_only(path, options, embedder, why),
        Err(Unopened::Failed(fault)) if fault.is_refusal() && !is_full(path) => {
            let why = "this process may not write to its directory".into();
            open_read_only(path, options, embedder, why)
        }
        Err(Unopened::Failed(fault)) => Err(fault),
        Ok(opened) => Ok(opened),
    }
}

/// Why a cache was not opened for writing.
enum Unopened {
    NotWritable(String),
    Failed(Fault),
}

impl<T: Into<Fault>> From<T> for Unopened {
    fn from(fault: T) -> Self {
        Self::Failed(fault.into())
    }
}

fn open_writable(path: &Path, options: &Options, embedder: &Embedder) -> Result<Opened, Unopened> {
    let (conn, bounds) = connect(path, WRITE, options.busy_timeout)?;
    // Until the file has proved to be ours, closing must not write to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    if conn.is_readonly("main")? {
        return Err(Unopened::NotWritable(
            "this process may not write it".into(),
        ));
    }
    let found = in_transaction(&conn, "BEGIN", layout::inspect)?;
    admit(&found, options.mode, embedder)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    use_wal(&conn, options.busy_timeout)?;
    configure(&conn, options)?;
    if !found.is_complete() {
        in_transaction(&conn, "BEGIN IMMEDIATE", |conn| {
            // Another process may have been first.
            admit(&layout::inspect(conn)?, options.mode, embedder)?;
            layout::provision(conn, embedder)
        })?;
    }
    layout::probe(&conn, PROBES)?;
    // The first read in this mode opens the log.
    layout::still_of(&conn, embedder)?;
    Ok(Opened {
        conn,
        place: Place::of(path, false).map_err(lost)?,
        bounds,
        read_only: None,
    })
}

fn open_read_only(
    path: &Path,
    options: &Options,
    embedder: &Embedder,
    why: String,
) -> Outcome<Opened> {
    let (conn, bounds, found, frozen) = look(path, options.busy_timeout)?;
    admit(&found, Mode::ReadOnly, embedder)?;
    if let Found::Cache { schema, .. } = &found {
        layout::show_labels(&conn, schema)?;
    }
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok(Opened {
        conn,
        place: Place::of(path, frozen).map_err(lost)?,
        bounds,
        read_only: Some(why),
    })
}

/// Looks into a file without the right to write. Where not even the shared memory of a
/// write-ahead log can be made, nobody else has the file open, and it is taken for frozen.
fn look(path: &Path, timeout: Duration) -> Outcome<(Connection, Bounds, Found, bool)> {
    let (conn, bounds) = connect(path, READ, timeout)?;
    match in_transaction(&conn, "BEGIN", layout::inspect) {
        Err(fault) if fault.is_refusal() => {}
        found => return Ok((conn, bounds, found?, false)),
    }
    drop(conn);
    let (conn, bounds) = connect_frozen(path, timeout)?;
    let found = in_transaction(&conn, "BEGIN", layout::inspect)?;
    Ok((conn, bounds, found, true))
}

/// Another connection to a file that is open.
pub(super) fn again(
    path: &Path,
    options: &Options,
    read_only: bool,
    place: &Place,
) -> Outcome<(Connection, Bounds)> {
    let timeout = options.busy_timeout;
    match (place.is_frozen(), read_only) {
        (true, _) => connect_frozen(path, timeout),
        (false, true) => connect(path, READ, timeout),
        (false, false) => connect(path, WRITE, timeout),
    }
}

/// The URI of a file, with a parameter.
fn uri(path: &Path, parameter: &str) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02X}").bytes()),
            _ => uri.push(*byte),
        }
    }
    uri.extend(format!("?{parameter}").bytes());
    match String::from_utf8(uri) {
        Ok(uri) => uri.into(),
        // A path that is not UTF-8 is opened as it is, and SQLite says what is wrong.
        Err(_) => path.to_owned(),
    }
}

/// Whether what was found may be opened in this mode, with this embedder.
fn admit(found: &Found, mode: Mode, embedder: &Embedder) -> Outcome<()> {
    match found {
        Found::Cache {
            embedder: stored, ..
        } => Ok(stored.accept(embedder)?),
        Found::New if mode == Mode::Create => Ok(()),
        Found::New => Err(no_cache()),
    }
}

fn no_cache() -> Fault {
    Fault::System(
        "there is no cache here; check the path, or create the cache by storing something in it"
            .into(),
    )
}

fn lost(error: std::io::Error) -> Fault {
    Fault::System(format!(
        "the file went away as it was opened: {error}; open it again"
    ))
}

/// The embedder of the cache at `path`, if there is one. Writes nothing.
pub(super) fn recorded_embedder(path: &Path, options: &Options) -> Outcome<Option<Embedder>> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    place::check_kind(path)?;
    let writable = || {
        let (conn, _) = connect(path, WRITE, options.busy_timeout)?;
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        in_transaction(&conn, "BEGIN", layout::inspect)
    };
    let found = match writable() {
        Err(fault) if fault.is_refusal() => look(path, options.busy_timeout)?.2,
        found => found?,
    };
    match found {
        Found::Cache { embedder, .. } => Ok(Some(embedder)),
        Found::New => Ok(None),
    }
}

/// A connection to a file that anybody may have written. It waits up to `timeout` for locks.
pub(super) fn connect(
    path: &Path,
    access: OpenFlags,
    timeout: Duration,
) -> Outcome<(Connection, Bounds)> {
    connect_as(path, path, access, timeout)
}

/// A connection to a file that nobody writes, not even beside it.
///
/// Writes that wait in a log are read too. Without the right to make shared memory, SQLite keeps what it
/// would hold there for itself, if it is told that nobody else uses the file and takes no locks, which
/// it could not take in a file that it may only read.
fn connect_frozen(path: &Path, timeout: Duration) -> Outcome<(Connection, Bounds)> {
    let flags = READ | OpenFlags::SQLITE_OPEN_URI;
    if !has_log(path) {
        return connect_as(&uri(path, "immutable=1"), path, flags, timeout);
    }
    if !cfg!(unix) {
        return Err(Fault::System(
            "writes wait in its -wal file, and cannot be read without the right to write to its directory; open it once with that right, or copy both files to where there is".into(),
        ));
    }
    let (conn, bounds) = connect_as(&uri(path, "vfs=unix-none"), path, flags, timeout)?;
    conn.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    Ok((conn, bounds))
}

fn connect_as(
    name: &Path,
    path: &Path,
    flags: OpenFlags,
    timeout: Duration,
) -> Outcome<(Connection, Bounds)> {
    let mut conn = Connection::open_with_flags(name, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let bounds = Bounds::set(&mut conn, timeout, size_of(path))?;
    conn.set_prepared_statement_cache_capacity(64);
    distrust(&conn)?;
    Ok((conn, bounds))
}

/// A connection to a private file, for tables that this store makes there. If the file is lost
/// half written, so is what it was for.
pub(super) fn connect_private(
    path: &Path,
    size: impl Fn() -> u64 + Send + 'static,
) -> Outcome<(Connection, Bounds)> {
    let mut conn = Connection::open_with_flags(path, WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let bounds = Bounds::set(&mut conn, Duration::ZERO, size)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
    Ok((conn, bounds))
}

/// Runs `work` in a transaction that `begin` opens, and rolls it back if it fails.
pub(super) fn in_transaction<T>(
    conn: &Connection,
    begin: &str,
    work: impl FnOnce(&Connection) -> Outcome<T>,
) -> Outcome<T> {
    run(conn, begin)?;
    let outcome = work(conn).and_then(|value| {
        run(conn, "COMMIT")?;
        Ok(value)
    });
    if outcome.is_err() && !conn.is_autocommit() {
        // The first error is the one to tell; SQLite rolls back at the latest on close.
        let _ = run(conn, "ROLLBACK");
    }
    outcome
}

/// Runs a statement that returns nothing.
pub(super) fn run(conn: &Connection, sql: &str) -> Outcome<()> {
    conn.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// Creates the file for its owner alone, which SQLite extends to the `-wal` and `-shm`
/// files. An existing file is not even opened: closing a descriptor would drop the
/// locks that SQLite holds on it elsewhere in this process.
fn create_private(path: &Path) -> Outcome<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let Err(error) = options.open(path) else {
        return Ok(());
    };
    if path.exists() {
        return Ok(());
    }
    let remedy = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => "create its directory first",
        ErrorKind::PermissionDenied => "give this process the right to write to its directory",
        ErrorKind::ReadOnlyFilesystem => "give a path on a file system that is not read-only",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space on its disk",
        _ => "give a path where a file can be created",
    };
    Err(Fault::System(format!(
        "the file cannot be created: {error}; {remedy}"
    )))
}

/// Switches to write-ahead logging. Two processes that do so on a new file at once get
/// an immediate "busy" without any waiting, so the waiting is done here.
fn use_wal(conn: &Connection, timeout: Duration) -> Outcome<()> {
    let since = Instant::now();
    let mut tries = 0;
    loop {
        let mode: Outcome<String> = conn
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(Fault::from);
        match mode {
            Ok(mode) if mode.eq_ignore_ascii_case("wal") => return Ok(()),
            Ok(mode) => {
                return Err(Fault::System(format!(
                    "the journal stays in mode {mode}, as write-ahead logging needs shared memory; put the file on a local disk"
                )));
            }
            Err(fault) if !fault.is_busy() || !may_wait(since.elapsed(), timeout) => {
                return Err(fault);
            }
            Err(_) => std::thread::sleep(pause(tries)),
        }
        tries += 1;
    }
}

fn configure(conn: &Connection, options: &Options) -> Outcome<()> {
    conn.pragma_update(None, "synchronous", options.synchronous.sql())?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // What is deleted is not left in free pages.
    conn.execute_batch("PRAGMA secure_delete = ON")?;
    conn.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(())
}
