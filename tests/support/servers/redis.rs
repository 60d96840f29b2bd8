//! `redis-server`.

use super::{Daemon, free_port};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use tempfile::TempDir;

/// A Redis server that writes each command to disk before it answers.
pub struct Redis {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Daemon>,
}

impl Redis {
    /// Starts a server. The error says why there is none.
    ///
    /// # Errors
    ///
    /// Where `redis-server` is not installed or does not answer.
    pub fn start() -> Result<Self, String> {
        Self::with(&[])
    }

    /// Starts a server with more options of its command line.
    ///
    /// # Errors
    ///
    /// Where `redis-server` is not installed or does not answer.
    pub fn with(options: &[&str]) -> Result<Self, String> {
        let mut server = Redis {
            port: free_port().map_err(|error| error.to_string())?,
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            options: options.iter().map(ToString::to_string).collect(),
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server anew on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.process = None;
        let port = self.port;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "yes"])
            .args(["--appendfsync", "always"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.options);
        let log = self.folder.path().join("server.log");
        self.process = Some(Daemon::start(&mut command, &log, |_| answers(port))?);
        Ok(())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server, without a path.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

/// Whether the server answers, and has read its data.
fn answers(port: u16) -> bool {
    let ask = || {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        connection.write_all(b"PING\r\n")?;
        let mut line = String::new();
        BufReader::new(connection).read_line(&mut line)?;
        Ok::<_, std::io::Error>(line)
    };
    // Also a server that wants a password is there.
    ask().is_ok_and(|line| line.starts_with("+PONG") || line.starts_with("-NOAUTH"))
}
