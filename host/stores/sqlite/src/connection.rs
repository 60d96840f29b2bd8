//! Connections: creating the file, waiting for locks, the settings.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Options;
use super::error::{Fault, Outcome};
use super::layout::{self, Found};
use super::session::PROBES;
use mneme_store::checks::Embedder;

/// Room for the indexes of some hundred thousand entries; taken as it is needed.
const CACHE_KIB: i64 = 32 * 1024;

/// Pages after which the log is copied into the database, which waits for the disk; with
/// SQLite's 1000 that is every hundred entries.
const CHECKPOINT_PAGES: i64 = 4000;

/// A write-ahead log that has grown beyond this shrinks at the next checkpoint.
const LOG_BYTES: i64 = 64 * 1024 * 1024;

/// Opens the cache at `path`, creating it if there is none.
pub(super) fn open(path: &Path, options: &Options, embedder: &Embedder) -> Outcome<Connection> {
    create_private(path)?;
    if path.is_dir() {
        return Err(Fault::System(
            "this is a directory; give the path of a file".into(),
        ));
    }
    let conn = connect(path, options.busy_timeout)?;
    // Until the file has proved to be ours, closing must not write to it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let found = in_transaction(&conn, "BEGIN", layout::inspect)?;
    if let Found::Cache {
        embedder: stored, ..
    } = &found
    {
        stored.accept(embedder)?;
    }
    refuse_read_only(&conn)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    use_wal(&conn, options.busy_timeout)?;
    configure(&conn, options)?;
    if !matches!(found, Found::Cache { complete: true, .. }) {
        in_transaction(&conn, "BEGIN IMMEDIATE", |conn| {
            // Another process may have been first.
            if let Found::Cache {
                embedder: stored, ..
            } = layout::inspect(conn)?
            {
                stored.accept(embedder)?;
            }
            layout::provision(conn, embedder)
        })?;
    }
    layout::probe(&conn, PROBES)?;
    Ok(conn)
}

/// The embedder of the cache at `path`, if there is one. Writes nothing.
pub(super) fn recorded_embedder(path: &Path, options: &Options) -> Outcome<Option<Embedder>> {
    if !path.try_exists().unwrap_or(true) {
        return Ok(None);
    }
    let conn = connect(path, options.busy_timeout)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    match in_transaction(&conn, "BEGIN", layout::inspect)? {
        Found::Cache { embedder, .. } => Ok(Some(embedder)),
        Found::New => Ok(None),
    }
}

/// A connection to an existing file that waits up to `timeout` for locks.
pub(super) fn connect(path: &Path, timeout: Duration) -> Outcome<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(path, flags)?;
    wait_for_locks(&mut conn, timeout)?;
    conn.set_prepared_statement_cache_capacity(64);
    // What a file brings along must not run.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false)?;
    Ok(conn)
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

/// SQLite's own waiting polls every 100 ms, and so starves beside a writer that leaves
/// short gaps only.
fn wait_for_locks(conn: &mut Connection, timeout: Duration) -> Outcome<()> {
    let mut since = Instant::now();
    conn.busy_handler(Some(move |tries: i32| {
        if tries == 0 {
            since = Instant::now();
        }
        if since.elapsed() >= timeout {
            return false;
        }
        std::thread::sleep(pause(tries));
        true
    }))?;
    Ok(())
}

/// How long to wait before asking for a lock once more.
pub(super) fn pause(tries: i32) -> Duration {
    Duration::from_micros(match tries {
        ..20 => 100,
        20..200 => 500,
        _ => 2000,
    })
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
    let remedy = match error.kind() {
        ErrorKind::AlreadyExists => return Ok(()),
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

fn refuse_read_only(conn: &Connection) -> Outcome<()> {
    if conn.is_readonly("main")? {
        return Err(Fault::System(
            "the file is read-only; give this process the right to write it".into(),
        ));
    }
    Ok(())
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
            Err(fault) if !fault.is_busy() || since.elapsed() >= timeout => return Err(fault),
            Err(_) => std::thread::sleep(pause(tries)),
        }
        tries += 1;
    }
}

fn configure(conn: &Connection, options: &Options) -> Outcome<()> {
    conn.pragma_update(None, "synchronous", options.synchronous.sql())?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "journal_size_limit", LOG_BYTES)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_connection_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        create_private(&path).unwrap();
        let conn = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let Err(Fault::System(message)) = refuse_read_only(&conn) else {
            panic!("a read-only connection was accepted");
        };
        assert!(message.contains("read-only"));
    }
}
