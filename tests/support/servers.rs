//! Real servers on loopback, each with its own free port and folder, stopped when
//! the test that started it ends.

pub mod dynamodb;
pub mod pgbouncer;
pub mod postgres;
pub mod redis;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to answer after its start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nothing listens on.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A server's process. Dropping it kills it.
struct Daemon(Child);

impl Daemon {
    /// Starts a command whose output goes to `log`, and waits until it `answers`, which
    /// is asked with the id of the process.
    fn start(
        command: &mut Command,
        log: &Path,
        mut answers: impl FnMut(u32) -> bool,
    ) -> Result<Self, String> {
        let output = || File::create(log).map_err(|error| format!("{}: {error}", log.display()));
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(
                File::options()
                    .append(true)
                    .open(log)
                    .map_err(|error| format!("{}: {error}", log.display()))?,
            )
            .spawn()
            .map_err(|error| format!("no server: {program}: {error}"))?;
        let mut daemon = Daemon(child);
        let start = Instant::now();
        while !answers(daemon.0.id()) {
            let ended = daemon.0.try_wait().ok().flatten();
            if ended.is_some() || start.elapsed() > PATIENCE {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(format!("{program} does not answer ({ended:?}): {said}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(daemon)
    }

    /// Kills the process with SIGKILL.
    fn kill(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether something accepts connections on the port.
fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
