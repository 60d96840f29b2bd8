//! Snapshots, by SQLite's online backup.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::connection::{connect, pause};
use super::error::{Fault, Outcome};
use super::private;
use super::session::Session;

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
        let mut file = self.private_file(private::SNAPSHOT)?;
        let (mut copy, _) = connect(file.path(), self.options.busy_timeout)?;
        copy.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")?;
        let backup = Backup::new(self.conn()?, &mut copy)?;
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

    pub fn end_snapshot(&mut self) -> Outcome<()> {
        self.snapshot = None;
        Ok(())
    }

    /// A file of the owner's, beside the database, where there is room for its like.
    pub(super) fn private_file(&self, prefix: &str) -> Outcome<NamedTempFile> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        private::create(directory, prefix).map_err(|error| self.disk(&error))
    }

    pub(super) fn disk(&self, error: &io::Error) -> Fault {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full, so free space on it"
            }
            _ => "check its free space and rights",
        };
        Fault::System(format!(
            "a temporary file in {} failed: {error}; {remedy}",
            directory.display()
        ))
    }
}

/// Makes a database file one that needs no file beside it, and returns its size.
pub(super) fn finish(file: &mut File) -> io::Result<u64> {
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

/// Copies `pages` of a backup, all if below zero, waiting for locks.
pub(super) fn step(backup: &Backup<'_, '_>, pages: i32, timeout: Duration) -> Outcome<()> {
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
