//! An open store: its connection, and when an operation starts again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::{Connection, PATIENT};
use super::error::{Fault, Outcome, Repeat};
use super::imports::Import;
use super::layout::Lacking;
use super::options::Options;
use super::rows::{column, whole};
use super::writes::{FIRST, transaction};
use super::{layout, nearest, tls};
use mneme_store::checks::Embedder;
use mneme_store::opened::BOOKKEEPING_PATIENCE;

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
    incarnation: Option<i64>,
    /// What nobody may add who reads here.
    lacking: Lacking,
    /// None after it was lost, until the next call.
    conn: Option<Connection>,
    /// Whether a view has begun. Its transaction is that of `conn`: without one it is lost.
    pub in_view: bool,
    pub import: Option<Import>,
    /// Up to which id expired entries were just deleted. The next look goes on from there, and not
    /// over all rows that stay.
    pub expired_up_to: i64,
}

impl Session {
    pub fn open(options: Options, embedder: Embedder) -> Outcome<Self> {
        let tls = tls::connector(&options)?;
        let conn = Connection::open(&options, &tls)?;
        let opening = async {
            let lacking = layout::open(&conn, &options.schema, &embedder).await?;
            Ok((lacking, layout::incarnation(&conn).await?))
        };
        let (lacking, incarnation) = conn.wait(opening, options.call_timeout)?;
        conn.expect(incarnation);
        conn.supply(&lacking.columns);
        if let Some(element) = options.nearest {
            let limit = options.call_timeout;
            if !conn.wait(nearest::is_there(&conn, element, &embedder), limit)? {
                let limit = conn.wait(nearest::patience(&conn, limit), limit)?;
                let providing = nearest::provide(&conn, &options.schema, element, &embedder, limit);
                conn.wait(providing, limit)?;
            }
        }
        Ok(Self {
            options,
            tls,
            embedder,
            incarnation,
            lacking,
            conn: Some(conn),
            in_view: false,
            import: None,
            expired_up_to: FIRST,
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
                conn.begin(BEGIN_VIEW).await?;
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
        let ended = |conn: &Connection| conn.wait(conn.end(END_VIEW), limit).is_ok();
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
        self.run_within(Duration::MAX, repeat, operation)
    }

    /// The same for bookkeeping, which is given up soon.
    pub fn note<T>(&mut self, operation: impl AsyncFn(&Connection) -> Outcome<T>) -> Outcome<T> {
        self.run_within(BOOKKEEPING_PATIENCE, Repeat::Twice, operation)
    }

    /// Connects and runs within this time, or the timeouts if they are shorter.
    pub fn run_within<T>(
        &mut self,
        patience: Duration,
        repeat: Repeat,
        operation: impl AsyncFn(&Connection) -> Outcome<T>,
    ) -> Outcome<T> {
        if repeat != Repeat::Read {
            self.accept_writes()?;
        }
        let mut start = None;
        let mut reconnected = false;
        let mut conflicts = 0;
        loop {
            let conn = self.connected(patience)?;
            let start = *start.get_or_insert_with(Instant::now);
            let limit = self.options.call_timeout.min(patience);
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
                return Err(match fault {
                    fault if unknown => Fault::Unknown(Box::new(fault), repeat),
                    Fault::Unfinished(..) if conflicts > 0 => Fault::InTheWay(limit),
                    fault => fault,
                });
            }
        }
    }

    /// Refuses what a view, or a table that lacks columns, cannot take.
    pub fn accept_writes(&self) -> Outcome<()> {
        if self.in_view {
            return Err(written_in_view());
        }
        let Some(lacking) = self.lacking.columns.first() else {
            return Ok(());
        };
        Err(Fault::System(format!(
            "table entries lacks column {}, and this role or server can only read; nothing was changed, so open the cache once as the owner of the table, and here again",
            lacking.name
        )))
    }

    /// Whether there is no log of changes, and nobody may make one who reads here.
    pub fn lacks_log(&self) -> bool {
        self.lacking.log
    }

    /// The connection, reopened if it was lost.
    fn connected(&mut self, patience: Duration) -> Outcome<Connection> {
        if let Some(conn) = self.conn.take().filter(Connection::is_open) {
            return Ok(conn);
        }
        if self.in_view {
            return Err(Fault::View("the connection was lost".into()));
        }
        self.connect_within(patience)
    }

    /// A connection to the same cache.
    pub fn connect(&self) -> Outcome<Connection> {
        self.connect_within(Duration::MAX)
    }

    fn connect_within(&self, patience: Duration) -> Outcome<Connection> {
        // What the server is told of the call timeout is the same for every call.
        let options = Options {
            connect_timeout: self.options.connect_timeout.min(patience),
            ..self.options.clone()
        };
        let conn = Connection::open(&options, &self.tls)?;
        conn.expect(self.incarnation);
        conn.supply(&self.lacking.columns);
        let limit = self.options.call_timeout.min(patience);
        conn.wait(
            async {
                layout::verify(&conn, &self.embedder).await?;
                conn.check_ours().await
            },
            limit,
        )?;
        Ok(conn)
    }

    /// The time on the server's clock.
    pub fn server_time(&mut self) -> Outcome<Duration> {
        self.run(Repeat::Read, async |conn| server_time(conn).await)
    }
}

async fn server_time(conn: &Connection) -> Outcome<Duration> {
    let rows = conn
        .query("SELECT extract(epoch FROM clock_timestamp())::bigint", &[])
        .await?;
    let seconds: i64 = rows.first().map_or(Ok(0), |row| column(row, 0))?;
    Ok(Duration::from_secs(whole(seconds)))
}

/// The time on the clock of the server at this address.
pub(super) fn server_time_at(options: &Options) -> Outcome<Duration> {
    let tls = tls::connector(options)?;
    let conn = Connection::open(options, &tls)?;
    let time = conn.wait(server_time(&conn), options.call_timeout);
    conn.close();
    time
}

/// Whether a server at this address answers, whatever it says.
pub(super) fn answers(options: &Options) -> bool {
    let connected = tls::connector(options).and_then(|tls| Connection::open(options, &tls));
    match connected {
        Ok(conn) => {
            conn.close();
            true
        }
        Err(fault) => !fault.is_silence(),
    }
}

/// A write in a view, whose transaction does not write.
fn written_in_view() -> Fault {
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
