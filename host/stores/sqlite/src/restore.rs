//! Restores: what was received is read as data that nobody vouches for, and its rows are taken
//! over into tables that this store has made. Those replace the present ones by SQLite's online
//! backup.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tempfile::NamedTempFile;

use super::connection::{connect, connect_with, in_transaction};
use super::error::{Fault, Outcome};
use super::layout::{self, Found};
use super::schema::{BLOBS, CREATE_BLOBS, OBJECTS, Schema};
use super::session::Session;
use super::snapshot::{finish, step};
use super::{private, reads, writes};
use mneme_store::checks::{Embedder, wrong_namespace};
use mneme_store::{Entry, Restored, StoreError};

/// Reading a received file and taking it over may take this long, and a second for each MiB.
const LONGEST: Duration = Duration::from_secs(5);

/// Instructions of SQLite between two looks at the clock; less than a millisecond.
const PATIENCE: i32 = 10_000;

/// A snapshot on its way in. Its file goes with the value.
#[derive(Debug)]
pub(super) enum Restore {
    /// Bytes are still to come.
    Receiving(NamedTempFile),
    /// Its rows in tables of our own: sound, and of this embedder. The file is closed before
    /// it goes.
    Checked(Connection, NamedTempFile),
}

impl Session {
    pub fn begin_restore(&mut self) -> Outcome<()> {
        self.restore = None;
        self.accept_changes()?;
        self.restore = Some(Restore::Receiving(self.private_file(private::SNAPSHOT)?));
        Ok(())
    }

    pub fn write_restore(&mut self, bytes: &[u8]) -> Outcome<()> {
        match &mut self.restore {
            None => Err(not_begun()),
            Some(Restore::Checked(..)) => Err(Fault::invalid(
                "the snapshot is checked and therefore complete; begin another restore for other bytes",
            )),
            Some(Restore::Receiving(file)) => match file.write_all(bytes) {
                Ok(()) => Ok(()),
                Err(error) => {
                    self.restore = None;
                    Err(self.disk(&error))
                }
            },
        }
    }

    pub fn check_restore(&mut self) -> Outcome<Restored> {
        let (source, file) = self.checked()?;
        let restored = contents(&source).map_err(unfit)?;
        self.restore = Some(Restore::Checked(source, file));
        Ok(restored)
    }

    pub fn read_restore(&mut self, last_id: u64, limit: u32) -> Outcome<Vec<Entry>> {
        match &self.restore {
            None => Err(not_begun()),
            Some(Restore::Receiving(_)) => Err(Fault::invalid(
                "the snapshot is not checked yet; call check_restore first",
            )),
            Some(Restore::Checked(source, _)) => {
                reads::page(source, self.embedder.dim, last_id, limit).map_err(unfit)
            }
        }
    }

    pub fn commit_restore(&mut self, only_if_empty: bool) -> Outcome<()> {
        let (source, _file) = self.checked()?;
        self.accept_writes()?;
        let timeout = self.options.busy_timeout;
        let (live, _) = self.another()?;
        let backup = Backup::new(&source, self.conn_to_replace()?)?;
        // Copies nothing, but takes the write lock, which the backup holds to its end. So
        // nobody can move on what is read here.
        step(&backup, 0, timeout)?;
        if only_if_empty && layout::has_entries(&live)? {
            return Err(not_empty());
        }
        overtake(&live, &source)?;
        step(&backup, -1, timeout)?;
        drop(backup);
        // The log is as long as the file, and the next small write would have to copy it.
        // Where readers are in the way, that is how it will be.
        let _ = live.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        self.read_version_counter().map(drop)
    }

    pub fn end_restore(&mut self) -> Outcome<()> {
        self.restore = None;
        Ok(())
    }

    /// The snapshot, checked now if it has not been. The restore is over unless it is
    /// put back.
    fn checked(&mut self) -> Outcome<(Connection, NamedTempFile)> {
        match self.restore.take() {
            None => Err(not_begun()),
            Some(Restore::Checked(source, file)) => Ok((source, file)),
            Some(Restore::Receiving(mut file)) => {
                let size = finish(file.as_file_mut()).map_err(|error| self.disk(&error))?;
                self.take_over(file.path(), size).map_err(unfit)
            }
        }
    }

    /// The rows of the `size` bytes received, if they are a sound cache of this embedder.
    fn take_over(&self, path: &Path, size: u64) -> Outcome<(Connection, NamedTempFile)> {
        let deadline = Instant::now() + LONGEST + Duration::from_secs(size >> 20);
        let (mut received, _) = connect_with(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY,
            self.options.busy_timeout,
        )?;
        guard(&mut received, size, deadline)?;
        match layout::inspect(&received)? {
            Found::Cache { embedder, .. } => embedder.accept(&self.embedder)?,
            Found::New => return Err(Fault::Corrupt("it holds no cache".into())),
        }
        // SQLite takes the rest of a last page that is cut for zeros.
        let whole = pages(&received)?.saturating_mul(page_size(&received)?);
        if size < whole.unsigned_abs() {
            return Err(Fault::Corrupt("its end is missing".into()));
        }
        reads::check(&received, self.embedder.dim)?;
        check_namespaces(&received)?;

        let file = self.private_file(private::SNAPSHOT)?;
        let (mut ours, _) = connect(file.path(), self.options.busy_timeout)?;
        // A write-ahead log cannot take pages of another size.
        let page_size = page_size(self.conn()?)?;
        ours.execute_batch(&format!(
            "PRAGMA page_size = {page_size}; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;"
        ))?;
        guard(&mut ours, size, deadline)?;
        let uri = format!("file:{}?mode=ro", uri_path(path)?);
        ours.execute("ATTACH ?1 AS received", [uri])?;
        in_transaction(&ours, "BEGIN", |ours| copy(ours, &received, &self.embedder))?;
        ours.execute_batch("DETACH received")?;
        ours.progress_handler(0, None::<fn() -> bool>)?;
        Ok((ours, file))
    }
}

/// Bounds what statements on a received file of `size` bytes may take.
fn guard(conn: &mut Connection, size: u64, deadline: Instant) -> Outcome<()> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.execute_batch("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0;")?;
    // No value is longer than the file that it is in.
    let longest = i32::try_from(size).unwrap_or(i32::MAX).max(1 << 20);
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, longest),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 100),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 1),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        conn.set_limit(limit, most)?;
    }
    conn.progress_handler(PATIENCE, Some(move || Instant::now() > deadline))?;
    Ok(())
}

/// Refuses names that no cache keeps anything under.
fn check_namespaces(received: &Connection) -> Outcome<()> {
    let quotas = reads::quotas(received)?;
    let of_quotas = quotas.iter().map(|(name, _)| ("namespace_quotas", name));
    let names = reads::namespaces(received)?;
    let of_entries = names.iter().map(|name| ("entries", name));
    for (table, name) in of_quotas.chain(of_entries) {
        if let Some(what) = wrong_namespace(name) {
            let shown: String = name.chars().take(40).collect();
            return Err(Fault::Corrupt(format!(
                "table {table}, column namespace holds {shown:?}, which {what}"
            )));
        }
    }
    Ok(())
}

/// Makes the tables, and takes the rows of the database `received` over.
fn copy(ours: &Connection, received: &Connection, embedder: &Embedder) -> Outcome<()> {
    let theirs = Schema::read(received)?;
    let tables = OBJECTS.iter().filter(|object| object.is_table());
    for object in tables.clone() {
        ours.execute_batch(object.sql)?;
    }
    if theirs.has(BLOBS) {
        ours.execute_batch(CREATE_BLOBS)?;
    }
    let names = tables.map(|object| object.name).chain([BLOBS]);
    for name in names.filter(|name| theirs.has(name)) {
        // Between tables of the same statement SQLite copies rows without taking them apart.
        ours.execute_batch(&format!(
            "INSERT INTO main.{name} SELECT * FROM received.{name}"
        ))?;
    }
    if let Some(last_id) = last_id(received)? {
        raise_last_id(ours, last_id)?;
    }
    // With the indexes, which are faster made once the rows are there.
    layout::provision(ours, embedder)
}

/// A path in a URI.
fn uri_path(path: &Path) -> Outcome<String> {
    let Some(path) = path.to_str() else {
        return Err(Fault::System(
            "the path is not valid UTF-8; put the cache where it is".into(),
        ));
    };
    let encoded = path.replace('%', "%25").replace('?', "%3F");
    Ok(encoded.replace('#', "%23"))
}

fn not_begun() -> Fault {
    Fault::invalid("no restore was begun, or it is over; call begin_restore first")
}

fn not_empty() -> Fault {
    Fault::Typed(StoreError::Checkpoint(
        "the store has entries, and this restore needs a store without entries; clear the store first, or let it replace them".into(),
    ))
}

/// What a snapshot holds besides its entries.
fn contents(source: &Connection) -> Outcome<Restored> {
    Ok(Restored {
        entries: reads::count(source)?,
        quotas: reads::quotas(source)?,
        meta: reads::meta(source)?,
    })
}

/// What was received is not the live file, and other remedies apply.
fn unfit(fault: Fault) -> Fault {
    let (damage, late) = (fault.is_damage(), fault.is_interrupted());
    match fault {
        Fault::Sqlite(_) if late => Fault::Corrupt(
            "the snapshot was refused: reading it takes longer than a file of its size can; nothing was changed, take another snapshot".into(),
        ),
        Fault::Corrupt(what) => Fault::Corrupt(format!(
            "the snapshot was refused: {what}; nothing was changed, take another snapshot"
        )),
        Fault::Schema(what) => Fault::Schema(format!(
            "the snapshot was refused: {what}; nothing was changed"
        )),
        Fault::Sqlite(error) if damage => Fault::Corrupt(format!(
            "the snapshot was refused: {error}; nothing was changed, take another snapshot"
        )),
        other => other,
    }
}

/// Sets the snapshot's counters above the live ones: whoever watches the version sees
/// it move, and no id is given twice.
fn overtake(live: &Connection, source: &Connection) -> Outcome<()> {
    let version = reads::version(live)?;
    let last_id = last_id(live)?;
    in_transaction(source, "BEGIN IMMEDIATE", |source| {
        source.execute(
            "UPDATE multi_process_state SET value = ?1 WHERE key = 'version_counter'",
            [version.to_string()],
        )?;
        writes::bump_version(source)?;
        match last_id {
            Some(last_id) => raise_last_id(source, last_id),
            None => Ok(()),
        }
    })
}

/// The greatest id that was ever given, if one was.
fn last_id(conn: &Connection) -> Outcome<Option<i64>> {
    const LAST_ID: &str = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'";
    let found = conn.query_row(LAST_ID, [], |row| row.get(0)).optional()?;
    Ok(found.flatten())
}

/// Has ids go on above one that was given.
fn raise_last_id(conn: &Connection, last_id: i64) -> Outcome<()> {
    let raised = conn.execute(
        "UPDATE main.sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'entries'",
        [last_id],
    )?;
    if raised == 0 {
        conn.execute(
            "INSERT INTO main.sqlite_sequence (name, seq) VALUES ('entries', ?1)",
            [last_id],
        )?;
    }
    Ok(())
}

/// The size of a page, in bytes.
fn page_size(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_size", [], |row| row.get(0))?)
}

/// How many pages the file should have.
fn pages(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_count", [], |row| row.get(0))?)
}
