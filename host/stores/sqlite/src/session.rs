//! An open store: its connection, and how it reads and writes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::bounds::{Bounds, CALL_TIME};
use super::changes::{self, Did};
use super::connection::{self, Opened, in_transaction};
use super::error::{Fault, Outcome};
use super::import::Import;
use super::options::Options;
use super::place::Place;
use super::restore::Restore;
use super::snapshot::Snapshot;
use super::{layout, reads, writes};
use mneme_store::cancel::is_cancelled;
use mneme_store::changes::trims_at;
use mneme_store::checks::Embedder;
use mneme_store::locks::{self, gave_way};

/// A transaction that took longer than this leaves a gap for other writers.
const LONG_HOLD: Duration = Duration::from_millis(2);

/// How long writes wait for a lock after one has timed out: callers take turns, and would wait for
/// one timeout after the other.
const LOCKED_PATIENCE: Duration = Duration::from_millis(20);

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
    conn: Connection,
    place: Place,
    bounds: Bounds,
    read_only: Option<String>,
    pub path: PathBuf,
    pub options: Options,
    pub embedder: Embedder,
    pub snapshot: Option<Snapshot>,
    pub restore: Option<Restore>,
    pub import: Option<Import>,
    /// A read transaction is open, from which all reads answer.
    view: bool,
    /// The greatest version that was seen.
    version: u64,
    /// How many changes were appended to the log since it was trimmed; 0 only before the first write.
    appended: usize,
    /// The last write waited for a lock as long as it may.
    is_locked: bool,
    /// When a long write transaction ended, and how long the next has to wait from then.
    gap: Option<(Instant, Duration)>,
}

impl Session {
    pub fn open(path: PathBuf, options: Options, embedder: Embedder) -> Outcome<Self> {
        let Opened {
            conn,
            place,
            bounds,
            read_only,
        } = connection::open(&path, &options, &embedder)?;
        bounds.take_up_to(CALL_TIME);
        Ok(Self {
            conn,
            place,
            bounds,
            read_only,
            path,
            options,
            embedder,
            snapshot: None,
            restore: None,
            import: None,
            view: false,
            version: 0,
            appended: 0,
            is_locked: false,
            gap: None,
        })
    }

    /// The connection, if the file is still where it was.
    pub fn conn(&self) -> Outcome<&Connection> {
        self.bounds.begin();
        self.check_place()?;
        Ok(&self.conn)
    }

    /// Another connection to the same file, opened in the same way.
    pub fn another(&self) -> Outcome<(Connection, Bounds)> {
        self.check_place()?;
        connection::again(&self.path, &self.options, self.is_read_only(), &self.place)
    }

    /// As [`conn`](Self::conn), to write by other means than [`write`](Self::write).
    pub fn conn_to_replace(&mut self) -> Outcome<&mut Connection> {
        self.accept_writes()?;
        Ok(&mut self.conn)
    }

    /// Keeps one picture of the data for all reads up to `end_view`. Writers append to the
    /// log meanwhile.
    pub fn begin_view(&mut self) -> Outcome<bool> {
        self.end_view()?;
        connection::run(self.conn()?, "BEGIN")?;
        self.view = true;
        // The picture is that of the first read.
        if let Err(fault) = self.read_version_counter() {
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
        let conn = self.conn()?;
        if self.view {
            return work(conn);
        }
        in_transaction(conn, "BEGIN", work)
    }

    /// Refuses writes in a view, which could not see them, and those of [`accept_changes`](Self::accept_changes).
    pub fn accept_writes(&self) -> Outcome<()> {
        if self.view {
            return Err(Fault::invalid(
                "this store is in a view, and cannot write; call end_view first",
            ));
        }
        self.accept_changes()
    }

    /// Refuses changes of what may only be read.
    pub fn accept_changes(&self) -> Outcome<()> {
        if let Some(why) = &self.read_only {
            return Err(Fault::ReadOnly(format!(
                "the cache can only be read here, for {why}; nothing was changed, so write where it can be written, or copy the file"
            )));
        }
        self.bounds.begin();
        self.check_place()
    }

    /// Fails if the file is not where it was. What is in a log that was removed would be lost with
    /// this process, so it goes into the file.
    fn check_place(&self) -> Outcome<()> {
        self.place.check().inspect_err(|_| {
            if self.place.has_lost_log() {
                let sql = "PRAGMA wal_checkpoint";
                // Closing tries it again.
                let _ = self.conn.query_row(sql, [], |_| Ok(()));
            }
        })
    }

    /// Whether the cache can only be read.
    pub fn is_read_only(&self) -> bool {
        self.read_only.is_some()
    }

    /// Why the cache can only be read, if so.
    pub fn read_only(&self) -> Option<&str> {
        self.read_only.as_deref()
    }

    /// The version counter of the data, which never goes back while they are the same.
    pub fn saw_version(&mut self, version: u64) -> Outcome<()> {
        if version < self.version {
            return Err(Fault::replaced(&format!(
                "its version counter was {}, and is {version}",
                self.version
            )));
        }
        self.version = version;
        Ok(())
    }

    /// Runs a write that leaves the version counter alone.
    pub fn write<T>(&mut self, work: impl FnOnce(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.accept_writes()?;
        self.leave_gap();
        let patience = self.bounds.patience();
        if self.is_locked {
            self.bounds.wait_up_to(patience.min(LOCKED_PATIENCE));
        }
        let start = Instant::now();
        let outcome = in_transaction(&self.conn, "BEGIN IMMEDIATE", |conn| {
            layout::still_of(conn, &self.embedder)?;
            work(conn)
        });
        self.bounds.wait_up_to(patience);
        let is_busy = outcome.as_ref().is_err_and(Fault::is_busy);
        // Whoever gave up or gave way has not waited to the end.
        if !(is_busy && (is_cancelled() || gave_way())) {
            self.is_locked = is_busy && (self.is_locked || patience >= self.options.busy_timeout);
        }
        let held = start.elapsed();
        self.gap = (held > LONG_HOLD).then(|| (Instant::now(), held / 10));
        outcome
    }

    /// Runs a write that can be done later, and that waits for a lock for this time at most, unless
    /// its caller has asked for it.
    pub fn write_within<T>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        self.waiting(patience, |session| session.write(work))
    }

    /// Runs writes that can be done later, and that wait for a lock for this time at most, unless
    /// their caller has asked for them.
    pub fn waiting<T>(
        &mut self,
        patience: Duration,
        writes: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        self.bounds
            .wait_up_to(locks::patience(patience, self.options.busy_timeout));
        let outcome = writes(self);
        self.bounds.wait_up_to(self.options.busy_timeout);
        outcome
    }

    /// Fails as a write would, and waits as it would until nobody else writes. What takes long, and
    /// writes at its end, finds out first.
    pub fn could_write(&mut self) -> Outcome<()> {
        match self.view {
            true => self.accept_changes(),
            false => self.write(|_| Ok(())),
        }
    }

    /// Runs a write that takes as long as it has rows.
    pub fn taking_its_time<T>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        self.bounds.take_up_to(Duration::MAX);
        let outcome = write(self);
        self.bounds.take_up_to(CALL_TIME);
        outcome
    }

    /// Runs a write of entries. If its result says that it did something, moves the version counter
    /// in the same transaction, and writes down what it did.
    pub fn write_entries<T>(
        &mut self,
        work: impl FnOnce(&Connection) -> Outcome<T>,
        did: impl FnOnce(&T) -> Did,
    ) -> Outcome<T> {
        let (seen, before) = (self.version, self.appended);
        let (value, version, appended) = self.write(|conn| {
            let value = work(conn)?;
            let did = did(&value);
            if matches!(did, Did::Nothing) {
                return Ok((value, seen, None));
            }
            let (version, last) = writes::bump_version(conn)?;
            if version <= seen {
                return Err(Fault::replaced(&format!(
                    "its version counter was {seen}, and would be {version}"
                )));
            }
            let appended = changes::append(conn, version, last, &did)?;
            let trims = trims_at(before).is_some_and(|at| version.is_multiple_of(at.into()));
            if trims {
                changes::trim(conn)?;
            }
            let before = if trims { 0 } else { before };
            Ok((value, version, Some(before + appended.max(1))))
        })?;
        self.version = version;
        if let Some(appended) = appended {
            self.appended = appended;
        }
        Ok(value)
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

/// What closes the last connection copies the log into the file and removes it, by its path. Of
/// another file that would be the log of others.
impl Drop for Session {
    fn drop(&mut self) {
        if self.place.check().is_err() && !self.place.has_lost_log() {
            let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            let _ = self.conn.set_db_config(keep, true);
        }
    }
}
