//! `redis-sentinel`.

use super::{Client, Redis, answers};
use crate::servers::{Daemon, free_port};
use std::process::Command;
use tempfile::TempDir;

/// The name that a [`Sentinel`] gives its master.
pub const MASTER: &str = "mymaster";

/// A sentinel that decides alone, when its master was silent for half a second.
pub struct Sentinel {
    port: u16,
    _folder: TempDir,
    _process: Daemon,
}

impl Sentinel {
    /// Starts a sentinel that watches a master.
    ///
    /// # Errors
    ///
    /// Where `redis-sentinel` is not installed or does not answer.
    pub fn start(master: &Redis) -> Result<Self, String> {
        let port = free_port().map_err(|error| error.to_string())?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\n\
             sentinel monitor {MASTER} 127.0.0.1 {} 1\n\
             sentinel down-after-milliseconds {MASTER} 1000\n\
             sentinel failover-timeout {MASTER} 2000\n",
            folder.path().display(),
            master.port()
        );
        let path = folder.path().join("sentinel.conf");
        std::fs::write(&path, configuration).map_err(|error| error.to_string())?;
        let mut command = Command::new("redis-sentinel");
        command.arg(&path);
        let log = folder.path().join("sentinel.log");
        let process = Daemon::start(&mut command, &log, |_| answers(port))?;
        Ok(Self {
            port,
            _folder: folder,
            _process: process,
        })
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A client of the sentinel.
    ///
    /// # Panics
    ///
    /// Where it cannot be reached.
    pub fn client(&self) -> Client {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        Client(client.get_connection().unwrap())
    }
}
