//! An open store: its connection, and how it reads and writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tempfile::NamedTempFile;

use super::Options;
use super::connection::{self, in_transaction};
use super::error::Outcome;
use super::snapshot::Snapshot;
use super::{reads, writes};
use crate::store::checks::Embedder;

/// A transaction that took longer than this leaves a gap for other writers.
const LONG_HOLD: Duration = Duration::from_millis(2);

/// The statements that fail on a table which is not as the store needs it.
pub(super) const PROBES: &[&str] = &[
    reads::BY_HASH,
    reads::QUOTA,
    writes::INSERT,
    writes::REPLACE,
    writes::SET_QUOTA,
    writes::SET_META,
    writes::BUMP,
];

/// An open store.
#[derive(Debug)]
pub(super) struct Session {
    pub conn: Connection,
    pub path: PathBuf,
    pub options: Options,
    pub embedder: Embedder,
    pub snapshot: Option<Snapshot>,
    pub restore: Option<NamedTempFile>,
    /// When a long write transaction ended, and how long the next has to wait from then.
    gap: Option<(Instant, Duration)>,
}

impl Session {
    pub fn open(path: PathBuf, options: Options, embedder: Embedder) -> Outcome<Self> {
        let conn = connection::open(&path, &options, &embedder)?;
        Ok(Self {
            conn,
            path,
            options,
            embedder,
            snapshot: None,
            restore: None,
            gap: None,
        })
    }

    /// Runs several reads on one picture of the data.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        in_transaction(&self.conn, "BEGIN", work)
    }

    /// Runs a write that leaves the version counter alone.
    pub fn write<T>(&mut self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.leave_gap();
        let start = Instant::now();
        let outcome = in_transaction(&self.conn, "BEGIN IMMEDIATE", work);
        let held = start.elapsed();
        self.gap = (held > LONG_HOLD).then(|| (Instant::now(), held / 10));
        outcome
    }

    /// Runs a write of entries, and moves the version counter in the same transaction if
    /// `changed` says so of its result.
    pub fn write_entries<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Outcome<T>,
        changed: impl FnOnce(&T) -> bool,
    ) -> Outcome<T> {
        self.write(|conn| {
            let value = work(conn)?;
            if changed(&value) {
                writes::bump_version(conn)?;
            }
            Ok(value)
        })
    }

    /// A writer that comes back at once after every long transaction would hold the
    /// lock practically always, and other processes would never find it free.
    fn leave_gap(&mut self) {
        if let Some((end, gap)) = self.gap.take() {
            let gap = gap.clamp(Duration::from_millis(1), Duration::from_millis(20));
            if let Some(rest) = gap.checked_sub(end.elapsed()) {
                std::thread::sleep(rest);
            }
        }
    }
}
