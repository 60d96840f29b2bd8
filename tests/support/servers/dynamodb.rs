//! moto's server, which speaks DynamoDB's protocol.

use super::{Daemon, free_port, listens};
use crate::python;
use crate::suite::Provided;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use tempfile::TempDir;

/// A server that keeps its tables in memory.
pub struct DynamoDb {
    port: u16,
    folder: TempDir,
    process: Option<Daemon>,
}

/// The server that tests share, and the module that they are of.
static SHARED: Mutex<Option<(String, Arc<DynamoDb>)>> = Mutex::new(None);

/// A server for one test.
impl Provided for DynamoDb {
    fn provide(_: &str) -> Result<Self, String> {
        Self::start()
    }
}

/// A server that the tests of a module share. Each works on its own tables.
///
/// moto copies all tables for each transaction, so the next module starts with none.
impl Provided for Arc<DynamoDb> {
    fn provide(module: &str) -> Result<Self, String> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, server)) = shared.as_ref().filter(|(of, _)| of == module) {
            return Ok(Arc::clone(server));
        }
        let server = Arc::new(DynamoDb::start()?);
        *shared = Some((module.to_owned(), Arc::clone(&server)));
        Ok(server)
    }
}

impl DynamoDb {
    /// Ends the server that tests have shared, if there is one.
    pub fn end_shared() {
        *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts a server without tables. The error says why there is none.
    ///
    /// # Errors
    ///
    /// Where moto cannot be installed or does not answer.
    pub fn start() -> Result<Self, String> {
        let mut server = DynamoDb {
            port: free_port().map_err(|error| error.to_string())?,
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server, and its tables with it.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again, without tables, on the same port.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.process = None;
        let port = self.port;
        let mut command = Command::new(python::peer()?);
        command
            .args(["-m", "moto.server", "--host", "127.0.0.1"])
            .args(["--port", &port.to_string()]);
        let log = self.folder.path().join("server.log");
        self.process = Some(Daemon::start(&mut command, &log, |_| listens(port))?);
        Ok(())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a table, which is created where it is missing. The server takes any
    /// credentials; set them with [`credentials`].
    pub fn url(&self, table: &str) -> String {
        format!(
            "dynamodb://{table}?region=eu-north-1&endpoint=http://127.0.0.1:{}&create=true",
            self.port
        )
    }
}

/// Environment variables that hold credentials for the server.
pub fn credentials() -> [(&'static str, &'static str); 2] {
    [
        ("AWS_ACCESS_KEY_ID", "tests"),
        ("AWS_SECRET_ACCESS_KEY", "secret-of-the-tests"),
    ]
}
