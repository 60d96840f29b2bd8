//! An open store: its connection, and what it remembers.

use std::time::Duration;

use redis::{Cmd, Value};

use super::connection::{Call, Wire};
use super::error::Outcome;
use super::imports::Import;
use super::layout;
use super::options::Options;
use super::rows::Reader;
use super::scripts::Script;
use super::writes::Expired;
use mneme_store::checks::Embedder;

/// An open store.
pub(super) struct Session {
    wire: Wire,
    pub prefix: String,
    /// The key that every script is given.
    by_id: String,
    pub embedder: Embedder,
    /// What `delete_expired` has found and not deleted yet.
    pub expired: Option<Expired>,
    pub import: Option<Import>,
}

impl Session {
    pub fn open(options: &Options, embedder: Embedder) -> Outcome<Self> {
        let mut wire = Wire::new(options.clone());
        let by_id = format!("{}:by_id", options.prefix);
        layout::open(&mut wire, &by_id, &embedder)?;
        Ok(Self {
            wire,
            prefix: options.prefix.clone(),
            by_id,
            embedder,
            expired: None,
            import: None,
        })
    }

    /// Runs a script that changes nothing.
    pub fn read(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.wire.run(Call::Read, script, &self.by_id, args)
    }

    /// Runs a script that a caller can run again without harm.
    pub fn write(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.wire.run(Call::Write, script, &self.by_id, args)
    }

    /// Runs a script that must not be run again where the first run may have succeeded.
    pub fn write_once(&mut self, script: &Script, args: &[&[u8]]) -> Outcome<Value> {
        self.wire.run(Call::WriteOnce, script, &self.by_id, args)
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
