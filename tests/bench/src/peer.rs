//! A peer: a process of Python that runs `peer.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::args::PeerChoice;
use crate::corpus::{Corpus, Query};

const SCRIPT: &str = include_str!("peer.py");

/// A peer that cannot be started, or failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("bench: {0}")]
pub struct PeerError(pub String);

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MnemeCache,
    MnemeCacheHnsw,
    Usearch,
    Hnswlib,
}

impl Kind {
    pub const ALL: [Kind; 4] = [
        Kind::MnemeCache,
        Kind::MnemeCacheHnsw,
        Kind::Usearch,
        Kind::Hnswlib,
    ];

    /// The peer of a choice that names one.
    pub fn named(choice: PeerChoice) -> Option<Kind> {
        match choice {
            PeerChoice::All | PeerChoice::None => None,
            PeerChoice::MnemeCache => Some(Kind::MnemeCache),
            PeerChoice::MnemeCacheHnsw => Some(Kind::MnemeCacheHnsw),
            PeerChoice::Usearch => Some(Kind::Usearch),
            PeerChoice::Hnswlib => Some(Kind::Hnswlib),
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::MnemeCache => "mneme-cache",
            Kind::MnemeCacheHnsw => "mneme-cache-hnsw",
            Kind::Usearch => "usearch",
            Kind::Hnswlib => "hnswlib",
        }
    }

    /// Whether it keeps entries, and not just vectors.
    pub fn is_cache(self) -> bool {
        matches!(self, Kind::MnemeCache | Kind::MnemeCacheHnsw)
    }
}

/// A running process of Python. Dropping it kills it.
pub struct Process {
    /// What it runs.
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// A running peer.
pub struct Peer {
    pub kind: Kind,
    process: Process,
}

/// Look-ups: nanoseconds, and the number of the entry found.
#[derive(Deserialize)]
pub struct Lookups {
    pub times: Vec<u64>,
    pub found: Vec<Option<usize>>,
}

/// Nanoseconds of opening, of the first exact and of the first semantic look-up.
#[derive(Deserialize, Clone, Copy)]
pub struct Opened {
    pub open: u64,
    pub exact: u64,
    pub semantic: u64,
}

impl Process {
    /// Starts what has this name in `peer.py`, and returns the versions that it runs.
    pub fn start(
        python: &Path,
        name: &'static str,
        mut arguments: Value,
    ) -> Result<(Self, Value), PeerError> {
        let failed = |error: &dyn std::fmt::Display| PeerError(format!("{python:?}: {error}"));
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"no pipes"));
        };
        let mut process = Self {
            name,
            child,
            input,
            output: BufReader::new(output),
        };
        arguments["kind"] = name.into();
        let versions = process.call("start", arguments)?;
        Ok((process, versions))
    }

    /// Calls a method.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        name: &str,
        arguments: Value,
    ) -> Result<T, PeerError> {
        let outcome = self.exchange(&json!([name, arguments]).to_string());
        let failed = |why: &str| PeerError(format!("{}: {name}: {why}", self.name));
        let mut outcome = outcome.map_err(|error| failed(&error.to_string()))?;
        if let Some(error) = outcome["error"].as_str() {
            return Err(failed(error));
        }
        serde_json::from_value(outcome["answer"].take()).map_err(|error| failed(&error.to_string()))
    }

    fn exchange(&mut self, line: &str) -> std::io::Result<Value> {
        writeln!(self.input, "{line}")?;
        self.input.flush()?;
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            return Err(std::io::Error::other("the process has ended"));
        }
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Peer {
    /// Starts one on the vectors of a corpus, and returns the versions that it runs.
    pub fn start(
        python: &Path,
        kind: Kind,
        corpus: &Corpus,
        store: &Path,
        dtype: &str,
    ) -> Result<(Self, Value), PeerError> {
        let arguments = json!({
            "vectors": corpus.path, "dim": corpus.dim, "path": store, "dtype": dtype,
        });
        let (process, versions) = Process::start(python, kind.name(), arguments)?;
        Ok((Self { kind, process }, versions))
    }

    /// Calls a method of the peer.
    pub fn call<T: DeserializeOwned>(
        &mut self,
        name: &str,
        arguments: Value,
    ) -> Result<T, PeerError> {
        self.process.call(name, arguments)
    }

    /// Semantic look-ups in a cache, within a tenant where there are any, or searches in
    /// an index.
    pub fn look_up(
        &mut self,
        queries: &[Query],
        namespaces: Option<usize>,
        tenant: usize,
    ) -> Result<Lookups, PeerError> {
        let rows: Vec<usize> = queries.iter().map(|query| query.row).collect();
        match self.kind.is_cache() {
            true => self.call(
                "semantic",
                json!({"rows": rows, "namespaces": namespaces, "tenant": tenant}),
            ),
            false => self.call("search", json!({"rows": rows})),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
