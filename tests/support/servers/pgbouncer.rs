//! `pgbouncer`, before a Postgres server.

use super::postgres::{PASSWORD, Postgres, lend, program, url};
use super::{Daemon, free_port, listens};
use std::fs;
use tempfile::TempDir;

/// A PgBouncer that gives each transaction any of its sessions, one after the other. It knows the roles
/// `mneme` and `tester`, with the password of the server's user.
pub struct PgBouncer {
    port: u16,
    folder: TempDir,
    process: Option<Daemon>,
}

impl PgBouncer {
    /// Starts it before a server, with settings such as `default_pool_size = 3`.
    ///
    /// # Errors
    ///
    /// Where PgBouncer is not installed or does not answer.
    pub fn before(server: &Postgres, settings: &[&str]) -> Result<Self, String> {
        let failed = |error: std::io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(failed)?;
        let port = free_port().map_err(failed)?;
        let roles = ["mneme", "tester"].map(|role| format!("\"{role}\" \"{PASSWORD}\"\n"));
        fs::write(folder.path().join("users.txt"), roles.concat()).map_err(failed)?;
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}/users.txt\n\
             pool_mode = transaction\nserver_round_robin = 1\n{}\n",
            server.port(),
            folder.path().display(),
            settings.join("\n")
        );
        fs::write(folder.path().join("pgbouncer.ini"), configuration).map_err(failed)?;
        lend(folder.path())?;
        let mut pooler = PgBouncer {
            port,
            folder,
            process: None,
        };
        pooler.restart()?;
        Ok(pooler)
    }

    /// Kills it with SIGKILL, and with it all of its connections.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again on the same port, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let mut command = program("pgbouncer")?;
        command.arg(self.folder.path().join("pgbouncer.ini"));
        let log = self.folder.path().join("pgbouncer.log");
        self.process = Some(Daemon::start(&mut command, &log, |_| listens(self.port))?);
        Ok(())
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server's database by way of it, without parameters.
    pub fn url(&self) -> String {
        url("mneme", self.port)
    }
}
