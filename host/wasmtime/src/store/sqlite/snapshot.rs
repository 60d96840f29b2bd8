//! Snapshots and restores, by SQLite's online backup.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};
use tempfile::NamedTempFile;

use super::connection::{connect, in_transaction, pause};
use super::error::{Fault, Outcome};
use super::layout::{self, Found};
use super::session::{PROBES, Session};
use super::{reads, writes};

/// Bytes 18 and 19 of a database file: 1 with a rollback journal, 2 with a write-ahead log.
const FORMAT_VERSIONS: u64 = 18;
const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database file, complete, that is being read out. It goes with the value.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: NamedTempFile,
    rest: u64,
}

impl Session {
    pub fn begin_snapshot(&mut self) -> Outcome<u64> {
        self.snapshot = None;
        let mut file = self.private_file()?;
        let mut copy = connect(file.path(), self.options.busy_timeout)?;
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        let backup = Backup::new(&self.conn, &mut copy)?;
        // In one step, and so from one picture; readers of a write-ahead log stop nobody.
        step(&backup, -1, self.options.busy_timeout)?;
        drop(backup);
        drop(copy);
        let rest = finish(file.as_file_mut()).map_err(|error| self.disk(&error))?;
        self.snapshot = Some(Snapshot { file, rest });
        Ok(rest)
    }

    pub fn read_snapshot(&mut self, max: u32) -> Outcome<Vec<u8>> {
        let Some(snapshot) = &mut self.snapshot else {
            return Err(Fault::invalid(
                "no snapshot was begun; call begin_snapshot first",
            ));
        };
        let wanted = snapshot.rest.min(max.into());
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(0)];
        if let Err(error) = snapshot.file.read_exact(&mut bytes) {
            return Err(self.disk(&error));
        }
        snapshot.rest -= bytes.len() as u64;
        Ok(bytes)
    }

    pub fn end_snapshot(&mut self) {
        self.snapshot = None;
    }

    pub fn begin_restore(&mut self) -> Outcome<()> {
        self.restore = None;
        self.restore = Some(self.private_file()?);
        Ok(())
    }

    pub fn write_restore(&mut self, bytes: &[u8]) -> Outcome<()> {
        let Some(file) = &mut self.restore else {
            return Err(Fault::invalid(
                "no restore was begun; call begin_restore first",
            ));
        };
        if let Err(error) = file.write_all(bytes) {
            self.restore = None;
            return Err(self.disk(&error));
        }
        Ok(())
    }

    pub fn commit_restore(&mut self) -> Outcome<()> {
        let Some(mut file) = self.restore.take() else {
            return Err(Fault::invalid(
                "no restore was begun; call begin_restore first",
            ));
        };
        let size = finish(file.as_file_mut()).map_err(|error| self.disk(&error))?;
        let source = self.admit(file.path(), size).map_err(unfit)?;
        let timeout = self.options.busy_timeout;
        let live = connect(&self.path, timeout)?;
        let backup = Backup::new(&source, &mut self.conn)?;
        // Copies nothing, but takes the write lock, which the backup holds to its end. So
        // nobody can move on what is read here.
        step(&backup, 0, timeout)?;
        overtake(&live, &source)?;
        step(&backup, -1, timeout)
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

    /// A file of the owner's, beside the database, where there is room for its like.
    fn private_file(&self) -> Outcome<NamedTempFile> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        tempfile::Builder::new()
            .prefix(".mneme-snapshot-")
            .tempfile_in(directory)
            .map_err(|error| self.disk(&error))
    }

    fn disk(&self, error: &io::Error) -> Fault {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        Fault::System(format!(
            "a temporary file in {} failed: {error}; check its free space and rights",
            directory.display()
        ))
    }
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

/// Makes a database file one that needs no file beside it, and returns its size.
fn finish(file: &mut File) -> io::Result<u64> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut head = [0; 20];
    if size >= head.len() as u64 {
        file.rewind()?;
        file.read_exact(&mut head)?;
        if head.starts_with(MAGIC) && head[18..] == [2, 2] {
            file.seek(SeekFrom::Start(FORMAT_VERSIONS))?;
            file.write_all(&[1, 1])?;
        }
    }
    file.flush()?;
    file.rewind()?;
    Ok(size)
}

fn step(backup: &Backup<'_, '_>, pages: i32, timeout: Duration) -> Outcome<()> {
    let since = Instant::now();
    let mut tries = 0;
    loop {
        match backup.step(pages)? {
            StepResult::Done => return Ok(()),
            StepResult::More if pages == 0 => return Ok(()),
            StepResult::Busy | StepResult::Locked if since.elapsed() >= timeout => {
                return Err(Fault::Sqlite(busy()));
            }
            _ => std::thread::sleep(pause(tries)),
        }
        tries += 1;
    }
}

fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(
        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
        Some("database is locked".into()),
    )
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
