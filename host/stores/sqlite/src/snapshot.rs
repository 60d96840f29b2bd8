//! Snapshots, by SQLite's online backup.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use tempfile::NamedTempFile;

use super::bounds::{pause, size_of};
use super::connection::connect_private;
use super::error::{Fault, Outcome};
use super::private;
use super::reads;
use super::session::Session;
use mneme_store::cancel::is_cancelled;
use mneme_store::locks::may_wait;
use mneme_store::staged::Staged;

/// Bytes 18 and 19 of a database file: 1 with a rollback journal, 2 with a write-ahead log.
const FORMAT_VERSIONS: u64 = 18;
/// Pages that are copied at a time.
const PAGES: i32 = 256;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// A database file, complete, that is being read out. It goes with the value.
#[derive(Debug)]
pub(super) struct Snapshot {
    file: Staged<NamedTempFile>,
    rest: u64,
}

impl Session {
    pub fn begin_snapshot(&mut self) -> Outcome<u64> {
        self.snapshot = None;
        let mut file = self.private_file(private::SNAPSHOT)?;
        let (mut copy, _) = connect_private(file.path(), size_of(file.path()))?;
        // One picture for all steps; readers of a write-ahead log stop nobody.
        self.read(|conn| {
            reads::version(conn)?;
            let backup = Backup::new(conn, &mut copy)?;
            step_to_the_end(&backup, self.options.busy_timeout)
        })?;
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

    /// A temporary file that only its owner can read.
    pub(super) fn private_file(&self, prefix: &str) -> Outcome<Staged<NamedTempFile>> {
        private::create(&self.private_folder(), prefix).map_err(|error| self.disk(&error))
    }

    /// Beside the database, where there is room for its like. Where nothing can be written there,
    /// the folder of temporary files.
    fn private_folder(&self) -> PathBuf {
        match (self.is_read_only(), self.path.parent()) {
            (true, _) => std::env::temp_dir(),
            (false, Some(beside)) => beside.to_owned(),
            (false, None) => PathBuf::from("."),
        }
    }

    pub(super) fn disk(&self, error: &io::Error) -> Fault {
        let directory = self.private_folder();
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
        if head.starts_with(MAGIC) && matches!(head[18..], [1 | 2, 1 | 2]) {
            file.seek(SeekFrom::Start(FORMAT_VERSIONS))?;
            file.write_all(&[1, 1])?;
        }
    }
    file.flush()?;
    file.rewind()?;
    Ok(size)
}

/// Copies the rest of a backup, unless the call is given up.
pub(super) fn step_to_the_end(backup: &Backup<'_, '_>, timeout: Duration) -> Outcome<()> {
    while step(backup, PAGES, timeout)? == StepResult::More {
        if is_cancelled() {
            return Err(Fault::Sqlite(failure(rusqlite::ffi::SQLITE_INTERRUPT)));
        }
    }
    Ok(())
}

/// Copies this many pages of a backup, waiting for locks.
pub(super) fn step(backup: &Backup<'_, '_>, pages: i32, timeout: Duration) -> Outcome<StepResult> {
    let since = Instant::now();
    let mut tries = 0;
    loop {
        match backup.step(pages)? {
            StepResult::Busy | StepResult::Locked => {}
            done => return Ok(done),
        }
        if is_cancelled() || !may_wait(since.elapsed(), timeout) {
            return Err(Fault::Sqlite(failure(rusqlite::ffi::SQLITE_BUSY)));
        }
        std::thread::sleep(pause(tries));
        tries += 1;
    }
}

fn failure(code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
}
