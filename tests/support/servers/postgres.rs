//! `postgres`, from any installed release.

use super::{Daemon, PATIENCE, free_port};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A Postgres server with one superuser, `mneme`, whose password is `secret-of-the-tests`,
/// and the database `postgres`.
pub struct Postgres {
    port: u16,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Daemon>,
}

/// The password of the server's user.
pub const PASSWORD: &str = "secret-of-the-tests";

impl Postgres {
    /// Starts a server. The error says why there is none.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn start() -> Result<Self, String> {
        Self::with(&[])
    }

    /// Starts a server with settings, such as `max_connections=3`.
    ///
    /// # Errors
    ///
    /// Where Postgres is not installed or does not answer.
    pub fn with(settings: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let data = folder.path().join("data");
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).map_err(|error| error.to_string())?;
        if is_root() {
            run(Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(folder.path()))?;
        }
        run(program("initdb")?
            .arg("--pgdata")
            .arg(&data)
            .args(["--username", "mneme", "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C", "--no-sync"])
            .arg("--pwfile")
            .arg(&password))?;
        let mut server = Postgres {
            port: free_port().map_err(|error| error.to_string())?,
            folder,
            options: settings.iter().map(ToString::to_string).collect(),
            process: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server and all of its processes with SIGKILL.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server anew on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    ///
    /// Where it does not answer.
    pub fn restart(&mut self) -> Result<(), String> {
        self.kill();
        let data = self.folder.path().join("data");
        let mut command = program("postgres")?;
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(self.options.iter().flat_map(|option| ["-c", option]));
        let log = self.folder.path().join("server.log");
        let pid_file = data.join("postmaster.pid");
        let start = Instant::now();
        loop {
            match Daemon::start(&mut command, &log, |pid| is_ready(&pid_file, pid)) {
                Ok(process) => {
                    self.process = Some(process);
                    return Ok(());
                }
                // The processes of a server that was killed take a moment to notice.
                Err(said) if said.contains("shared memory") && start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(said) => return Err(said),
            }
        }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of the server's database, without parameters.
    pub fn url(&self) -> String {
        format!(
            "postgres://mneme:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }
}

/// Whether the server says in its file that it takes connections.
fn is_ready(pid_file: &Path, pid: u32) -> bool {
    std::fs::read_to_string(pid_file).is_ok_and(|text| {
        let mut lines = text.lines();
        // A server that was killed has left its file.
        lines.next() == Some(&pid.to_string()) && lines.nth(6).map(str::trim) == Some("ready")
    })
}

/// A program of the installed Postgres. It does not run as root, so root lends it to the
/// user that Debian's package made.
fn program(name: &str) -> Result<Command, String> {
    let path = find(name).ok_or_else(|| format!("no server: {name} is not installed"))?;
    if !is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ])
        .arg(path)
        .current_dir("/");
    Ok(command)
}

/// Debian keeps the programs of each release in a folder of its own.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    if let Ok(releases) = std::fs::read_dir("/usr/lib/postgresql") {
        folders.extend(releases.flatten().map(|release| release.path().join("bin")));
    }
    folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = |program: &OsStr| program.to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{}: {}",
            name(command.get_program()),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => Err(format!(
            "no server: {}: {error}",
            name(command.get_program())
        )),
    }
}
