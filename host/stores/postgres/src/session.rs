//! An open store: its connection, and when an operation starts again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::{Connection, PATIENT};
use super::error::{Fault, Outcome, Repeat};
use super::imports::Import;
use super::options::Options;
use super::writes::transaction;
use super::{layout, tls};
use mneme_store::checks::Embedder;

const BEGIN_VIEW: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
const KEEP_VIEW: &str = "SAVEPOINT view";
/// Without it, a statement that fails would end the view.
pub(super) const BACK_TO_VIEW: &str = "ROLLBACK TO SAVEPOINT view";
const END_VIEW: &str = "COMMIT";

/// An open store.
pub(super) struct Session {
    pub options: Options,
    tls: MakeRustlsConnect,
    pub embedder: Embedder,
    /// None after it was lost, until the next call.
    conn: Option<Connection>,
    /// Whether a view has begun. Its transaction is that of `conn`: without one it is lost.
    pub in_view: bool,
    pub import: Option<Import>,
}

impl Session {
    pub fn open(options: Options, embedder: Embedder) -> Outcome<Self> {
        let tls = tls::connector(&options)?;
        let conn = Connection::open(&options, &tls)?;
        conn.wait(
            layout::open(&conn, &options.schema, &embedder),
            options.call_timeout,
        )?;
        Ok(Self {
            options,
            tls,
            embedder,
            conn: Some(conn),
            in_view: false,
            import: None,
        })
    }

    /// The embedder of the cache in the schema, if there is one. Writes nothing.
    pub fn recorded_embedder(options: &Options) -> Outcome<Option<Embedder>> {
        let tls = tls::connector(options)?;
        let conn = Connection::open(options, &tls)?;
        let looking = layout::recorded_embedder(&conn, &options.schema);
        let found = conn.wait(looking, options.call_timeout);
        conn.close();
        found
    }

    pub fn close(self) {
        if let Some(import) = self.import {
            import.close();
        }
        if let Some(conn) = self.conn {
            conn.close();
        }
    }

    /// Fixes the data that is read from here on.
    pub fn begin_view(&mut self) -> Outcome<bool> {
        self.end_view()?;
        self.run(Repeat::Read, async |conn| {
            transaction(conn, async || {
                conn.plain(BEGIN_VIEW).await?;
                // The first query is the instant that the view shows.
                conn.plain(PATIENT).await?;
                conn.plain(KEEP_VIEW).await
            })
            .await
        })?;
        self.in_view = true;
        Ok(true)
    }

    pub fn end_view(&mut self) -> Outcome<()> {
        if !std::mem::take(&mut self.in_view) {
            return Ok(());
        }
        // Where it cannot be ended, it ends with its connection.
        let limit = self.options.call_timeout;
        let ended = |conn: &Connection| conn.wait(conn.plain(END_VIEW), limit).is_ok();
        self.conn = self.conn.take().filter(ended);
        Ok(())
    }

    /// Runs an operation. It starts again, within the time of a call, where it is certain
    /// that nothing of it has happened: where the connection proves to be lost before
    /// anything was at risk, and where another transaction was in the way. In a view it must
    /// be a read, and a lost connection is final.
    pub fn run<T>(
        &mut self,
        repeat: Repeat,
        operation: impl AsyncFn(&Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        if self.in_view && repeat != Repeat::Read {
            return Err(written_in_view());
        }
        let mut start = None;
        let mut reconnected = false;
        let mut conflicts = 0;
        loop {
            let conn = self.connected()?;
            let start = *start.get_or_insert_with(Instant::now);
            let limit = self.options.call_timeout;
            let left = limit.saturating_sub(start.elapsed());
            conn.at_risk.set(false);
            let mut fault = match conn.wait(operation(&conn), left) {
                Ok(value) => {
                    self.conn = Some(conn);
                    return Ok(value);
                }
                Err(Fault::Unfinished(why, _)) => Fault::Unfinished(why, limit),
                Err(fault) => fault,
            };
            let is_usable = !fault.spoils()
                && (!self.in_view || conn.wait(conn.plain(BACK_TO_VIEW), limit).is_ok());
            if self.in_view && !is_usable {
                return Err(Fault::View(explained(fault, &conn).text()));
            }
            let unknown = fault.is_lost() && conn.at_risk.get() && repeat != Repeat::Read;
            let is_late = matches!(fault, Fault::Unfinished(..)) || start.elapsed() >= limit;
            match is_usable {
                true => self.conn = Some(conn),
                false => fault = explained(fault, &conn),
            }
            let again = match fault {
                _ if unknown || is_late => false,
                ref fault if fault.is_conflict() => {
                    std::thread::sleep(pause(conflicts).min(left));
                    conflicts += 1;
                    conflicts < CONFLICTS
                }
                ref fault => fault.spoils() && !std::mem::replace(&mut reconnected, true),
            };
            if !again {
                return Err(match unknown {
                    true => Fault::Unknown(fault.text(), repeat),
                    false => fault,
                });
            }
        }
    }

    /// The connection, reopened if it was lost.
    fn connected(&mut self) -> Outcome<Connection> {
        if let Some(conn) = self.conn.take().filter(Connection::is_open) {
            return Ok(conn);
        }
        if self.in_view {
            return Err(Fault::View("the connection was lost".into()));
        }
        self.connect()
    }

    /// A connection to the same cache.
    pub fn connect(&self) -> Outcome<Connection> {
        let conn = Connection::open(&self.options, &self.tls)?;
        conn.wait(
            layout::verify(&conn, &self.embedder),
            self.options.call_timeout,
        )?;
        Ok(conn)
    }
}

/// A write in a view, whose transaction does not write.
pub(super) fn written_in_view() -> Fault {
    Fault::Misplaced("was called in a view, which only reads; end the view first")
}

/// Says of a connection that was found closed what had closed it.
pub(super) fn explained(fault: Fault, conn: &Connection) -> Fault {
    match (&fault, conn.cause()) {
        (Fault::Statement(error), Some(cause)) if error.is_closed() => {
            Fault::Lost(format!("connection closed ({cause})"))
        }
        _ => fault,
    }
}

/// How many times other transactions may be in the way of one call.
pub(super) const CONFLICTS: u32 = 20;

/// Longer each time, and not the same for two that were in each other's way.
pub(super) fn pause(conflicts: u32) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let longest = 1000 << conflicts.min(5);
    Duration::from_micros(random % longest)
}
