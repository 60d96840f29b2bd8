//! What a connection may take: how long it waits for locks, and how much a call may compute.
//!
//! A file is data of anybody. Its statements are known, but its pages may lead in circles, and then
//! a walk over a table has no end. So each call may run as many instructions of SQLite as a sound
//! file of that size could ever need, and on an open cache so much time as others can wait; and a
//! call that was given up ends as well.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use super::error::Outcome;
use super::place::log_of;
use mneme_store::cancel::is_cancelled;
use mneme_store::locks::may_wait;

/// Instructions of SQLite between two looks; less than a millisecond.
const STEP: i32 = 10_000;

/// Instructions that a call may always take; a second or two.
const FREE: u64 = 100_000_000;

/// Instructions for each byte of the file. The check of all pages and rows takes about two.
const PER_BYTE: u64 = 64;

/// What a call on an open cache may take, besides waiting for locks. Others wait for it.
pub(super) const CALL_TIME: Duration = Duration::from_secs(60);

thread_local! {
    static WAS_LATE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the last statement that was interrupted on this thread had run out of time, not of work.
pub(super) fn was_late() -> bool {
    WAS_LATE.get()
}

/// The bounds of a connection, which its handlers obey.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// What the times are counted from.
    since: Instant,
    /// What a call may take, in microseconds.
    time: Arc<AtomicU64>,
    /// When this call must end, in microseconds.
    end: Arc<AtomicU64>,
    /// In microseconds.
    patience: Arc<AtomicU64>,
    /// Instructions of this call.
    done: Arc<AtomicU64>,
}

impl Bounds {
    /// Bounds a connection to a file of this size. It waits for locks up to `patience`.
    pub fn set(
        conn: &mut Connection,
        patience: Duration,
        size: impl Fn() -> u64 + Send + 'static,
    ) -> Outcome<Self> {
        let bounds = Self {
            since: Instant::now(),
            time: Arc::new(AtomicU64::new(u64::MAX)),
            end: Arc::new(AtomicU64::new(u64::MAX)),
            patience: Arc::default(),
            done: Arc::default(),
        };
        bounds.wait_up_to(patience);
        wait_for_locks(conn, bounds.clone())?;
        let (
            Self {
                since, end, done, ..
            },
            mut most,
        ) = (bounds.clone(), FREE);
        let is_over = move || {
            let step = u64::from(STEP.unsigned_abs());
            let done = done.fetch_add(step, Ordering::Relaxed) + step;
            if done > most {
                most = FREE.saturating_add(size().saturating_mul(PER_BYTE));
            }
            let is_late = micros(since.elapsed()) > end.load(Ordering::Relaxed);
            WAS_LATE.set(is_late && done <= most);
            done > most || is_late || is_cancelled()
        };
        conn.progress_handler(STEP, Some(is_over))?;
        Ok(bounds)
    }

    /// Sets how long to wait for locks.
    pub fn wait_up_to(&self, patience: Duration) {
        self.patience.store(micros(patience), Ordering::Relaxed);
    }

    /// How long it waits for locks.
    pub fn patience(&self) -> Duration {
        Duration::from_micros(self.patience.load(Ordering::Relaxed))
    }

    /// Sets what a call may take from its beginning, besides waiting for locks.
    pub fn take_up_to(&self, time: Duration) {
        self.time.store(micros(time), Ordering::Relaxed);
    }

    /// Another call begins.
    pub fn begin(&self) {
        self.done.store(0, Ordering::Relaxed);
        let time = self.time.load(Ordering::Relaxed);
        let waiting = self.patience.load(Ordering::Relaxed);
        let end = micros(self.since.elapsed())
            .saturating_add(waiting)
            .saturating_add(time);
        self.end.store(end, Ordering::Relaxed);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Has SQLite trust nothing that a file brings along.
pub(super) fn distrust(conn: &Connection) -> Outcome<()> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        conn.set_db_config(setting, on)?;
    }
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_SQL_LENGTH, 100_000),
        (Limit::SQLITE_LIMIT_COLUMN, 100),
        (Limit::SQLITE_LIMIT_EXPR_DEPTH, 100),
        (Limit::SQLITE_LIMIT_ATTACHED, 0),
        (Limit::SQLITE_LIMIT_WORKER_THREADS, 0),
    ] {
        conn.set_limit(limit, most)?;
    }
    conn.execute_batch("PRAGMA cell_size_check = ON")?;
    Ok(())
}

/// The bytes of a database and of the log beside it, as they are when it is called.
pub(super) fn size_of(path: &Path) -> impl Fn() -> u64 + Send + 'static {
    let files: [PathBuf; 2] = [path.to_owned(), log_of(path)];
    move || {
        let sizes = files.iter().filter_map(|file| file.metadata().ok());
        sizes.map(|file| file.len()).sum()
    }
}

/// SQLite's own waiting polls every 100 ms, and so starves beside a writer that leaves
/// short gaps only.
fn wait_for_locks(conn: &mut Connection, bounds: Bounds) -> Outcome<()> {
    let mut since = Instant::now();
    conn.busy_handler(Some(move |tries: i32| {
        if tries == 0 {
            since = Instant::now();
        }
        if is_cancelled() || !may_wait(since.elapsed(), bounds.patience()) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;
    use mneme_store::StoreError;

    #[test]
    fn a_call_that_takes_too_long_ends_and_the_next_one_runs() {
        let mut conn = Connection::open_in_memory().unwrap();
        let bounds = Bounds::set(&mut conn, Duration::ZERO, || 0).unwrap();
        let count = |to: u64| {
            let sql = format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {to})
                SELECT count(*) FROM n"
            );
            conn.query_row(&sql, [], |row| row.get::<_, u64>(0))
        };
        bounds.take_up_to(Duration::ZERO);
        bounds.begin();
        let fault = Fault::from(count(100_000).unwrap_err());
        assert!(fault.is_of_machine() && !fault.is_damage());
        let StoreError::Backend(error) = fault.at(Path::new("a.db"), "count") else {
            panic!("time is no proof of damage");
        };
        for part in ["60 s", "integrity check"] {
            assert!(error.message.contains(part), "{error:?}");
        }
        // What does too much is damaged, however fast it was.
        bounds.take_up_to(Duration::MAX);
        bounds.begin();
        let fault = Fault::from(count(u64::MAX >> 1).unwrap_err());
        assert!(fault.is_damage() && !fault.is_of_machine());
        bounds.begin();
        assert_eq!(count(100_000).unwrap(), 100_000);
    }
}
