//! `--verify PROGRAM`.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mneme::Candidate;
use mneme::verifier::{Opinion, Verifier, VerifyError, describe, parse_opinion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// More of what a program prints is not read.
const MAX_OUTPUT: u64 = 64 << 10;

/// A program that verifies candidates: it is started for each.
pub struct Program {
    line: String,
    timeout: Duration,
}

impl Program {
    /// A command line of the shell, which is ended after this time.
    pub fn new(line: &str, timeout: Duration) -> Self {
        Self {
            line: line.to_owned(),
            timeout,
        }
    }

    /// What the program prints, if it ends well.
    async fn run(&self, asked: &[u8]) -> Result<Vec<u8>, String> {
        let (shell, option) = match cfg!(windows) {
            true => ("cmd", "/C"),
            false => ("sh", "-c"),
        };
        let mut command = Command::new(shell);
        command
            .args([option, &self.line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| format!("the program was not started: {error}"))?;
        let group = Group::of(&child);
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let ask = async {
            if let Some(mut stdin) = stdin {
                // A program need not read all of its input.
                let _ = stdin.write_all(asked).await;
            }
        };
        let listen = async {
            let mut said = Vec::new();
            if let Some(stdout) = stdout {
                stdout.take(MAX_OUTPUT).read_to_end(&mut said).await?;
            }
            Ok::<_, std::io::Error>(said)
        };
        // What the program has started and left behind may hold its output open.
        let end = async {
            let status = child.wait().await;
            drop(group);
            status
        };
        let ((), said, status) = tokio::join!(ask, listen, end);
        let status = status.map_err(|error| format!("the program's end was not seen: {error}"))?;
        if !status.success() {
            return Err(format!("the program failed: {status}"));
        }
        said.map_err(|error| format!("the program's output was not read: {error}"))
    }
}

/// The processes of a program, which end with this.
struct Group(Option<u32>);

/// The groups of programs that run.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

impl Group {
    fn of(child: &Child) -> Self {
        let leader = child.id();
        running().extend(leader);
        Self(leader)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            running().remove(&leader);
            kill(leader);
        }
    }
}

fn running() -> MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends all programs, before this one ends.
pub fn end_all() {
    for leader in std::mem::take(&mut *running()) {
        kill(leader);
    }
}

/// Ends a program and all that it has started.
fn kill(leader: u32) {
    #[cfg(unix)]
    if let Some(group) = i32::try_from(leader)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // Nobody may be left.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    #[cfg(not(unix))]
    let _ = leader;
}

impl Verifier for Program {
    fn name(&self) -> &str {
        "--verify"
    }

    fn verify(&self, candidate: &Candidate) -> Result<Opinion, VerifyError> {
        let failed = |what: String| VerifyError::transient(format!("--verify: {what}"));
        let asked = describe(candidate).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(format!("the program was not started: {error}")))?;
        let run = async { timeout(self.timeout, self.run(asked.as_bytes())).await };
        let Ok(said) = runtime.block_on(run) else {
            return Err(failed(format!(
                "the program did not end within {:?} and was stopped; raise --verify-timeout",
                self.timeout
            )));
        };
        parse_opinion(&String::from_utf8_lossy(&said.map_err(failed)?)).ok_or_else(|| {
            failed("the program printed something else than yes, no or unknown".into())
        })
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn verify(line: &str, seconds: u64) -> Result<Opinion, VerifyError> {
        let candidate = Candidate {
            id: 7,
            namespace: "default".into(),
            query: "turn it off?".into(),
            entry_query: "turn it on?".into(),
            response: "x".repeat(1 << 20),
            metadata: "{}".into(),
            similarity: 0.96,
            created_at: 100,
            age_seconds: 3,
        };
        Program::new(line, Duration::from_secs(seconds)).verify(&candidate)
    }

    #[test]
    fn a_program_says_its_opinion() {
        let asks = "grep -q '\"entry_query\":\"turn it on?\"' && echo no";
        assert_eq!(verify(asks, 60), Ok(Opinion::No));
        // It need not read the question.
        assert_eq!(verify("echo Yes.", 60), Ok(Opinion::Yes));
        for (line, expected) in [
            ("exit 3", "exit status: 3"),
            ("echo yes; exit 1", "exit status: 1"),
            ("echo perhaps", "something else"),
            ("true", "something else"),
            ("no-such-program-here", "exit status: 127"),
            ("yes maybe", "the program failed"),
        ] {
            let message = verify(line, 60).unwrap_err().message;
            assert!(message.contains(expected), "{line}: {message}");
        }
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_all_that_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let line = format!("sleep 600 & echo $! > {}; cat | sleep 600", pid.display());
        let message = verify(&line, 1).unwrap_err().message;
        assert!(message.contains("within 1s"), "{message}");
        let is_alive = |pid: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            // A zombie has ended.
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        let pid = std::fs::read_to_string(pid).unwrap();
        // The system ends it some moments after it was told to.
        let told = std::time::Instant::now();
        while is_alive(&pid) {
            assert!(told.elapsed() < Duration::from_secs(60), "{pid}");
            std::thread::yield_now();
        }
        // What is left behind keeps nobody waiting.
        assert_eq!(verify("sleep 600 & echo yes", 60), Ok(Opinion::Yes));
    }
}
