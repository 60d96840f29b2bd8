//! Processes that write to a store until they are killed.
//!
//! The process is this program again. It reads what to do from its standard input, because the
//! store's URL may contain a password and everybody can see a command line. It reports on its
//! standard output, in marked lines, when its first write has returned, and the outcome of the
//! phase if that ever ends. It exits when its stdin closes, so it never outlives its parent.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::marked::Marked;
use super::report::{Case, Outcome, Seed};
use super::{Battery, Stores};
use mneme_store::{self as store, Store};

/// Set in the environment of a process that is to be killed.
const WRITER: &str = "MNEME_CONFORMANCE_WRITER";
/// Begins the lines of its output that are meant for its parent.
const MARK: &str = "mneme-conformance> ";
/// The exit code of a process whose parent has gone, or never told it what to do.
const ORPHANED: i32 = 3;
/// How long a process goes on writing after its first write, in milliseconds.
const WRITING: std::ops::Range<u64> = 20..300;

/// How to start a process that writes to a store until it is killed.
#[derive(Debug, Clone)]
pub struct Processes {
    args: Vec<OsString>,
    store: String,
    // A name that is not shown.
    place: Hidden,
}

#[derive(Clone)]
struct Hidden(String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

impl Processes {
    /// This same program, started with these arguments. It must call
    /// [`Writer::of_this_process`] before it does anything else with them.
    pub fn this_program<A: Into<OsString>>(args: impl IntoIterator<Item = A>) -> Self {
        Processes {
            args: args.into_iter().map(Into::into).collect(),
            store: String::new(),
            place: Hidden(String::new()),
        }
    }

    /// Which store the process must make, and where its data is: whatever the program needs
    /// for [`Writer::write`]. They are passed privately, and may contain passwords.
    #[must_use]
    pub fn told(mut self, store: impl Into<String>, place: impl Into<String>) -> Self {
        self.store = store.into();
        self.place = Hidden(place.into());
        self
    }
}

/// What the process receives.
#[derive(Serialize, Deserialize)]
struct Task {
    case: String,
    phase: usize,
    seed: u64,
    store: String,
    place: String,
}

/// What the process reports.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    /// The first write has returned.
    Wrote,
    /// The phase has ended, although it should run for ever.
    Ended(Outcome),
}

/// Runs a phase in a separate process and kills it.
pub(super) fn run(
    stores: &Stores,
    case: &Case,
    phase: usize,
    seed: Seed,
    limit: Duration,
) -> Outcome {
    let Some(processes) = &stores.processes else {
        return Outcome::Skipped(
            "no process can be killed here; run the battery by its test harness, or by the mneme command".into(),
        );
    };
    let task = Task {
        case: case.name.clone(),
        phase,
        seed: seed.0,
        store: processes.store.clone(),
        place: processes.place.0.clone(),
    };
    let mut process = match Process::start(processes, &task) {
        Ok(process) => process,
        Err(error) => {
            return Outcome::failed(
                phase,
                "a separate process",
                format!("none could be started: {error}"),
            );
        }
    };
    match process.hear.recv_timeout(limit) {
        Ok(Said::Wrote) => {}
        Ok(Said::Ended(outcome)) => return ended(phase, outcome),
        Err(RecvTimeoutError::Timeout) => {
            return Outcome::failed(
                phase,
                "writes that return",
                format!("none did within {} s", limit.as_secs()),
            );
        }
        Err(RecvTimeoutError::Disconnected) => return process.died(phase),
    }
    // Until the moment comes, nothing more should be heard.
    match process.hear.recv_timeout(writing_time(case, phase, seed)) {
        Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => return process.died(phase),
        Ok(Said::Ended(outcome)) => return ended(phase, outcome),
        Ok(Said::Wrote) => {}
    }
    match process.kill() {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::failed(
            phase,
            "a process that can be killed",
            format!("it cannot: {error}"),
        ),
    }
}

/// The outcome of a phase that was to be killed and was faster.
fn ended(phase: usize, outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Passed => Outcome::failed(
            phase,
            "writes without end",
            "the phase ended before its process was killed",
        ),
        outcome => outcome,
    }
}

/// How long to wait between the first write and the kill: drawn from the seed.
fn writing_time(case: &Case, phase: usize, seed: Seed) -> Duration {
    // FNV-1a, whose low bits are well mixed.
    let mut state = 0xcbf2_9ce4_8422_2325_u64;
    let bytes = case.name.bytes().chain(phase.to_le_bytes());
    for byte in bytes.chain(seed.0.to_le_bytes()) {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    Duration::from_millis(WRITING.start + state % (WRITING.end - WRITING.start))
}

/// A process that writes. Dropping it kills it.
struct Process {
    child: Child,
    /// Its end is the end of the process.
    _input: ChildStdin,
    hear: Receiver<Said>,
}

impl Process {
    fn start(processes: &Processes, task: &Task) -> std::io::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(&processes.args)
            .env(WRITER, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are pipes");
        };
        // A process that ends at once is found out by what it does not say.
        let _ = writeln!(input, "{}", serde_json::to_string(task)?);
        Ok(Process {
            child,
            _input: input,
            hear: listen(output),
        })
    }

    fn kill(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// The outcome of a phase whose process ended without a word.
    fn died(&mut self, phase: usize) -> Outcome {
        let status = self.child.wait();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Outcome::failed(
            phase,
            "a process that writes until it is killed",
            format!("it ended by itself: {status}"),
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.kill();
    }
}

/// Passes on what the process says, past whatever else it prints.
fn listen(output: ChildStdout) -> Receiver<Said> {
    let (tell, hear) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            let Ok(line) = line else { return };
            let said = line.strip_prefix(MARK).map(serde_json::from_str);
            if let Some(Ok(said)) = said
                && tell.send(said).is_err()
            {
                return;
            }
        }
    });
    hear
}

fn say(said: &Said) {
    let mut out = std::io::stdout().lock();
    let text = serde_json::to_string(said).unwrap_or_default();
    // The parent notices where it cannot be told: nothing else ends by itself.
    let _ = writeln!(out, "\n{MARK}{text}").and_then(|()| out.flush());
}

/// The other side: a process that was started to be killed.
pub struct Writer {
    task: Task,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("case", &self.task.case)
            .field("store", &self.task.store)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Whether [`Processes`] started this process.
    pub fn is_this_process() -> bool {
        std::env::var_os(WRITER).is_some()
    }

    /// The task of this process, if [`Processes`] started it. It reads the standard input, and
    /// exits when that closes.
    pub fn of_this_process() -> Option<Self> {
        if !Self::is_this_process() {
            return None;
        }
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let task = read.ok().and_then(|_| serde_json::from_str(&line).ok());
        let Some(task) = task else {
            eprintln!("{WRITER} is set, but nothing on standard input says what to write");
            std::process::exit(ORPHANED);
        };
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(ORPHANED);
        });
        Some(Writer { task })
    }

    /// Which store to make, as given to [`Processes::told`].
    pub fn store(&self) -> &str {
        &self.task.store
    }

    /// Where its data is, as given to [`Processes::told`].
    pub fn place(&self) -> &str {
        &self.task.place
    }

    /// Writes to the store until the process is killed. Returns only if the store fails, after
    /// reporting that to the parent.
    pub fn write(self, store: store::Result<Box<dyn Store>>) -> ExitCode {
        let said = Said::Ended(self.run(store));
        say(&said);
        ExitCode::SUCCESS
    }

    fn run(&self, store: store::Result<Box<dyn Store>>) -> Outcome {
        let Task { phase, seed, .. } = self.task;
        let store = match store {
            Ok(store) => store,
            Err(error) => return Outcome::not_made(phase, &error),
        };
        let mut first = true;
        let marked = Marked {
            store,
            wrote: move || {
                if std::mem::take(&mut first) {
                    say(&Said::Wrote);
                }
            },
        };
        // The parent sees to the time.
        let battery = Battery::new().map(|battery| battery.time_limit(Duration::MAX));
        let started = battery
            .map_err(|error| error.to_string())
            .and_then(|battery| {
                let started = battery.start(Box::new(marked));
                started.map_err(|error| format!("{error:#}"))
            });
        match started {
            Ok(mut instance) => {
                let called = instance.call(&self.task.case, phase, Seed(seed));
                called.unwrap_or_else(|outcome| outcome)
            }
            Err(error) => Outcome::failed(phase, "a battery that starts", error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Phase;

    fn case(name: &str) -> Case {
        Case {
            name: name.into(),
            summary: String::new(),
            section: String::new(),
            needs: None,
            phases: vec![Phase::Killed],
        }
    }

    #[test]
    fn the_time_of_writing_is_drawn_from_the_seed() {
        let times: Vec<_> = (0..100)
            .map(|seed| writing_time(&case("a"), 0, Seed(seed)))
            .collect();
        let again = writing_time(&case("a"), 0, Seed(7));
        assert_eq!(times[7], again);
        assert_ne!(again, writing_time(&case("b"), 0, Seed(7)));
        let (least, greatest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*least >= Duration::from_millis(20) && *least < Duration::from_millis(60));
        assert!(*greatest < Duration::from_millis(300) && *greatest > Duration::from_millis(250));
    }

    #[test]
    fn without_processes_it_is_skipped() {
        let stores = Stores::new(|| Ok(mneme_store::MemoryStore::new()));
        let outcome = run(&stores, &case("a"), 0, Seed(1), Duration::from_secs(1));
        assert!(matches!(outcome, Outcome::Skipped(reason) if reason.contains("harness")));
    }

    #[test]
    fn places_are_not_shown() {
        let processes = Processes::this_program(["x"]).told("redis", "redis://:secret@host");
        assert!(!format!("{processes:?}").contains("secret"));
    }
}
