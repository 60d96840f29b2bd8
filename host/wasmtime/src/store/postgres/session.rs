//! An open store: its connection, and when an operation is begun anew.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use tokio_postgres_rustls::MakeRustlsConnect;

use super::connection::Connection;
use super::error::{Fault, Outcome, Repeat};
use super::options::Options;
use super::{layout, tls};
use crate::store::StoreError;
use crate::store::checks::Embedder;

/// An open store.
pub(super) struct Session {
    options: Options,
    tls: MakeRustlsConnect,
    pub embedder: Embedder,
    /// None after it was lost, until the next call.
    conn: Option<Connection>,
    place: String,
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
            place: options.place(),
            options,
            tls,
            embedder,
            conn: Some(conn),
        })
    }

    pub fn close(self) {
        if let Some(conn) = self.conn {
            conn.close();
        }
    }

    /// Says of a failure before anything was sent where it happened.
    pub fn here<T>(&self, doing: &str, outcome: Outcome<T>) -> Result<T, StoreError> {
        outcome.map_err(|fault| fault.at(&self.place, doing, None))
    }

    /// Runs an operation. It is begun anew, within the time of a call, where it is certain
    /// that nothing of it has happened: where the connection proves to be lost before
    /// anything was at risk, and where another transaction was in the way.
    pub fn run<T>(
        &mut self,
        doing: &str,
        repeat: Repeat,
        operation: impl AsyncFn(&Connection) -> Outcome<T>,
    ) -> Result<T, StoreError> {
        let mut start = None;
        let mut reconnected = false;
        let mut conflicts = 0;
        loop {
            let conn = match self.connected() {
                Ok(conn) => conn,
                Err(fault) => return Err(fault.at(&self.place, doing, None)),
            };
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
            let unknown = fault.is_lost() && conn.at_risk.get() && repeat != Repeat::Read;
            let is_late = matches!(fault, Fault::Unfinished(..)) || start.elapsed() >= limit;
            if !fault.spoils() {
                self.conn = Some(conn);
            } else if let (Fault::Statement(error), Some(cause)) = (&fault, conn.cause())
                && error.is_closed()
            {
                fault = Fault::Lost(format!("connection closed ({cause})"));
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
                return Err(fault.at(&self.place, doing, unknown.then_some(repeat)));
            }
        }
    }

    /// The connection, made anew where it was lost.
    fn connected(&mut self) -> Outcome<Connection> {
        if let Some(conn) = self.conn.take().filter(Connection::is_open) {
            return Ok(conn);
        }
        let conn = Connection::open(&self.options, &self.tls)?;
        conn.wait(
            layout::verify(&conn, &self.embedder),
            self.options.call_timeout,
        )?;
        Ok(conn)
    }
}

/// How many times other transactions may be in the way of one call.
const CONFLICTS: u32 = 20;

/// Longer each time, and not the same for two that were in each other's way.
fn pause(conflicts: u32) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    let longest = 1000 << conflicts.min(5);
    Duration::from_micros(random % longest)
}
