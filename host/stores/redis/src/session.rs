//! An open store: its connection, and what it remembers.

use std::time::Duration;

use redis::{Cmd, Value};

use super::connection::{Call, Wire};
use super::error::{Fault, Outcome};
use super::imports::Import;
use super::layout;
use super::memory;
use super::options::{Options, Servers};
use super::rows::{self, Reader};
use super::scripts::Script;
use super::servers::Settling;
use super::writes::Expired;
use mneme_store::checks::{self, Embedder};
use mneme_store::opened::BOOKKEEPING_PATIENCE;

/// An open store.
pub(super) struct Session {
    wire: Wire,
    pub prefix: String,
    /// The key that every script is given.
    by_id: String,
    pub embedder: Embedder,
    /// Which cache it is, among all that were ever begun under the prefix.
    incarnation: Vec<u8>,
    /// What `delete_expired` has found and not deleted yet.
    pub expired: Option<Expired>,
    pub import: Option<Import>,
    /// What whoever runs the server should know.
    pub warnings: Vec<String>,
}

impl Session {
    pub fn open(options: &Options, embedder: Embedder) -> Outcome<Self> {
        let mut wire = Wire::new(options.clone());
        let by_id = options.by_id();
        let incarnation = layout::open(&mut wire, &by_id, &embedder)?;
        let many = !matches!(options.servers, Servers::One(_));
        if many && !incarnation.is_empty() {
            wire.settling = Some(Settling::new(&by_id, &incarnation));
        }
        let warnings = memory::warning(&mut wire).into_iter().collect();
        Ok(Self {
            wire,
            prefix: options.keys().into_owned(),
            by_id,
            embedder,
            incarnation,
            expired: None,
            import: None,
            warnings,
        })
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.wire.connections
    }

    /// Runs a script that changes nothing.
    pub fn read(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.run(Call::Read, script, args)
    }

    /// Runs a script that a caller can run again without harm.
    pub fn write(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.run(Call::Write, script, args)
    }

    /// Runs a script that must not be run again where the first run may have succeeded.
    pub fn write_once(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.run(Call::WriteOnce, script, args)
    }

    /// The same, for bookkeeping, which is given up soon.
    pub fn note(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.briefly(|session| session.write_once(script, args))
    }

    /// Runs bookkeeping, which is given up soon.
    pub fn briefly<T>(&mut self, work: impl FnOnce(&mut Self) -> Outcome<T>) -> Outcome<T> {
        self.wire.patience = BOOKKEEPING_PATIENCE;
        let outcome = work(self);
        self.wire.patience = Duration::MAX;
        outcome
    }

    fn run(&mut self, call: Call, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        let args = [args, &[&self.incarnation]].concat();
        self.wire.run(call, script, &self.by_id, &args)
    }

    /// Compares what a read found of the incarnation.
    pub fn check_incarnation(&self, found: Option<Vec<u8>>) -> Outcome<()> {
        match self.incarnation.is_empty() || found.as_ref() == Some(&self.incarnation) {
            true => Ok(()),
            false => Err(Fault::Corrupt(checks::vanished())),
        }
    }

    /// The same, for a script that may take so much longer than the call timeout.
    pub fn write_long(
        &mut self,
        script: &Script,
        args: &[&[u8]],
        longer: Duration,
    ) -> Outcome<Value> {
        self.wire.longer = longer;
        let outcome = self.write_once(script, args);
        self.wire.longer = Duration::ZERO;
        outcome
    }

    /// The time on the server's clock.
    pub fn server_time(&mut self) -> Outcome<Duration> {
        server_time(&mut self.wire)
    }

    /// Runs one command, which is about a key.
    pub fn ask(&mut self, call: Call, command: &Cmd, key: &str) -> Outcome<Value> {
        self.wire.ask(call, command).map_err(|fault| fault.of(key))
    }

    /// The full name of a key.
    pub fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.prefix)
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader {
            prefix: &self.prefix,
            dim: self.embedder.dim,
        }
    }
}

/// The time on the clock of the server that a wire leads to.
pub(super) fn server_time(wire: &mut Wire) -> Outcome<Duration> {
    let time = wire.ask(Call::Read, &redis::cmd("TIME"))?;
    let [seconds, _] = rows::tuple(time)?;
    let seconds = rows::bytes(seconds)?.unwrap_or_default();
    let seconds = rows::number(&seconds)
        .ok_or_else(|| Fault::Nonsense("the server's answer to TIME is no time".to_owned()))?;
    Ok(Duration::from_secs(seconds))
}
