//! Restores, by SQLite's online backup.

use std::io::Write;
use std::path::Path;

use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use tempfile::NamedTempFile;

use super::connection::{connect, in_transaction};
use super::error::{Fault, Outcome};
use super::layout::{self, Found};
use super::session::{PROBES, Session};
use super::snapshot::{finish, step};
use super::{private, reads, writes};
use mneme_store::{Entry, Restored, StoreError};

/// A snapshot on its way in. Its file goes with the value.
#[derive(Debug)]
pub(super) enum Restore {
    /// Bytes are still to come.
    Receiving(NamedTempFile),
    /// Complete, sound, and of this embedder. The file is closed before it goes.
    Checked(Connection, NamedTempFile),
}

impl Session {
    pub fn begin_restore(&mut self) -> Outcome<()> {
        self.restore = None;
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
        self.outside_of_views()?;
        let timeout = self.options.busy_timeout;
        let live = connect(&self.path, timeout)?;
        let backup = Backup::new(&source, &mut self.conn)?;
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
        Ok(())
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
                let source = self.admit(file.path(), size).map_err(unfit)?;
                Ok((source, file))
            }
        }
    }

    /// Opens the `size` bytes received, if they are a sound cache of this embedder, and
    /// makes its layout complete.
    fn admit(&self, path: &Path, size: u64) -> Outcome<Connection> {
        let source = connect(path, self.options.busy_timeout)?;
        source.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        source.execute_batch(
            "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cell_size_check = ON;",
        )?;
        match layout::inspect(&source)? {
            Found::Cache { embedder, .. } => embedder.accept(&self.embedder)?,
            Found::New => return Err(Fault::Corrupt("it holds no cache".into())),
        }
        // SQLite takes the rest of a last page that is cut for zeros.
        let whole = pages(&source)?.saturating_mul(page_size(&source)?);
        if size < whole.unsigned_abs() {
            return Err(Fault::Corrupt("its end is missing".into()));
        }
        refuse_code(&source)?;
        layout::provision(&source, &self.embedder)?;
        layout::probe(&source, PROBES)?;
        reads::version(&source)?;
        if !reads::sound(&source, self.embedder.dim)? {
            return Err(Fault::Corrupt("its pages or rows are damaged".into()));
        }
        // A write-ahead log cannot take pages of another size.
        let size = page_size(&self.conn)?;
        if page_size(&source)? != size {
            source.execute_batch(&format!("PRAGMA page_size = {size}; VACUUM;"))?;
        }
        Ok(source)
    }
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
    let damage = fault.is_damage();
    match fault {
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
    const LAST_ID: &str = "SELECT max(seq) FROM sqlite_sequence WHERE name = 'entries'";
    let version = reads::version(live)?;
    let last_id: Option<i64> = live
        .query_row(LAST_ID, [], |row| row.get(0))
        .optional()?
        .flatten();
    in_transaction(source, "BEGIN IMMEDIATE", |source| {
        source.execute(
            "UPDATE multi_process_state SET value = ?1 WHERE key = 'version_counter'",
            [version.to_string()],
        )?;
        writes::bump_version(source)?;
        let Some(last_id) = last_id else {
            return Ok(());
        };
        let raised = source.execute(
            "UPDATE sqlite_sequence SET seq = max(seq, ?1) WHERE name = 'entries'",
            [last_id],
        )?;
        if raised == 0 {
            source.execute(
                "INSERT INTO sqlite_sequence (name, seq) VALUES ('entries', ?1)",
                [last_id],
            )?;
        }
        Ok(())
    })
}

/// A snapshot is data. What would run in other programs that open the file is refused.
fn refuse_code(source: &Connection) -> Outcome<()> {
    let active: Option<String> = source
        .query_row(
            "SELECT type || ' ' || name FROM sqlite_schema
             WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()?;
    match active {
        Some(what) => Err(Fault::Corrupt(format!(
            "it brings the {what}, and caches have plain tables only"
        ))),
        None => Ok(()),
    }
}

/// The size of a page, in bytes.
fn page_size(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_size", [], |row| row.get(0))?)
}

/// How many pages the file should have.
fn pages(conn: &Connection) -> Outcome<i64> {
    Ok(conn.query_row("PRAGMA page_count", [], |row| row.get(0))?)
}
