//! What a connection may take: how long it waits for locks, and how much a call may compute.
//!
//! A file is data of anybody. Its statements are known, but its pages may lead in circles, and then
//! a walk over a table has no end. So each call may run as many instructions of SQLite as a sound
//! file of that size could ever need, and a call that was given up ends as well.

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

/// Instructions of SQLite between two looks; less than a millisecond.
const STEP: i32 = 10_000;

/// Instructions that a call may always take; a second or two.
const FREE: u64 = 100_000_000;

/// Instructions for each byte of the file. The check of all pages and rows takes about two.
const PER_BYTE: u64 = 64;

/// The bounds of a connection, which its handlers obey.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
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
            patience: Arc::default(),
            done: Arc::default(),
        };
        bounds.wait_up_to(patience);
        wait_for_locks(conn, bounds.clone())?;
        let (done, mut most) = (Arc::clone(&bounds.done), FREE);
        let is_over = move || {
            let step = u64::from(STEP.unsigned_abs());
            let done = done.fetch_add(step, Ordering::Relaxed) + step;
            if done > most {
                most = FREE.saturating_add(size().saturating_mul(PER_BYTE));
            }
            done > most || is_cancelled()
        };
        conn.progress_handler(STEP, Some(is_over))?;
        Ok(bounds)
    }

    /// Sets how long to wait for locks.
    pub fn wait_up_to(&self, patience: Duration) {
        let micros = u64::try_from(patience.as_micros()).unwrap_or(u64::MAX);
        self.patience.store(micros, Ordering::Relaxed);
    }

    /// How long it waits for locks.
    pub fn patience(&self) -> Duration {
        Duration::from_micros(self.patience.load(Ordering::Relaxed))
    }

    /// Another call begins.
    pub fn begin(&self) {
        self.done.store(0, Ordering::Relaxed);
    }
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
        if since.elapsed() >= bounds.patience() || is_cancelled() {
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
