//! An open store: its connection, and how it reads and writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Options;
use super::connection::{self, in_transaction};
use super::error::{Fault, Outcome};
use super::import::Import;
use super::restore::Restore;
use super::snapshot::Snapshot;
use super::{reads, writes};
use mneme_store::checks::Embedder;

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
    pub restore: Option<Restore>,
    pub import: Option<Import>,
    /// A read transaction is open, from which all reads answer.
    view: bool,
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
            import: None,
            view: false,
            gap: None,
        })
    }

    /// Keeps one picture of the data for all reads up to `end_view`. Writers append to the
    /// log meanwhile.
    pub fn begin_view(&mut self) -> Outcome<bool> {
        self.end_view()?;
        connection::run(&self.conn, "BEGIN")?;
        self.view = true;
        // The picture is that of the first read.
        if let Err(fault) = reads::version(&self.conn) {
            self.end_view()?;
            return Err(fault);
        }
        Ok(true)
    }

    pub fn end_view(&mut self) -> Outcome<()> {
        self.view = false;
        // An error of the disk has ended it already.
        if self.conn.is_autocommit() {
            return Ok(());
        }
        connection::run(&self.conn, "ROLLBACK")
    }

    /// Runs several reads on one picture of the data.
    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        if self.view {
            return work(&self.conn);
        }
        in_transaction(&self.conn, "BEGIN", work)
    }

    /// Refuses writes in a view, which could not see them.
    pub fn outside_of_views(&self) -> Outcome<()> {
        if self.view {
            return Err(Fault::invalid(
                "this store is in a view, and cannot write; call end_view first",
            ));
        }
        Ok(())
    }

    /// Runs a write that leaves the version counter alone.
    pub fn write<T>(&mut self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.outside_of_views()?;
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
