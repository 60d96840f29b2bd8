//! Child processes of a test: its own program, which runs one of the functions that
//! [`children!`](crate::children!) lists instead of tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const PREFIX: &str = "MNEME_TEST_";
/// Marks the lines of a child's output that are meant for its parent.
const MARK: &str = "child>";

/// The child that this process is, where it is one.
pub fn asked_for() -> Option<String> {
    std::env::var(format!("{PREFIX}CHILD")).ok()
}

/// What the parent has set under a name.
///
/// # Panics
///
/// Where it has set nothing.
pub fn argument(name: &str) -> String {
    let value = std::env::var(format!("{PREFIX}{name}"));
    value.unwrap_or_else(|_| panic!("the parent sets {name}"))
}

/// Tells the parent.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A parent that has gone away ends the child by its closed pipe.
    if writeln!(out, "\n{MARK}{line}")
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(3);
    }
}

/// The next line of the parent; none when it has closed the pipe.
pub fn hear() -> Option<String> {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(n) if n > 0 => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

/// A running child. Dropping it kills it.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// A command that runs the child `name` of this program, with arguments for [`argument`].
///
/// # Panics
///
/// Where the path of this program is unknown.
pub fn command(name: &str, arguments: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
    command.env(format!("{PREFIX}CHILD"), name);
    for (key, value) in arguments {
        command.env(format!("{PREFIX}{key}"), value);
    }
    command
}

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    ///
    /// Where it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Running {
            child,
            input,
            output,
        }
    }

    /// Starts the child `name` of this program.
    pub fn named(name: &str, arguments: &[(&str, &str)]) -> Self {
        Self::start(&mut command(name, arguments))
    }

    /// The next line that the child says; none when it has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            match self.output.read_line(&mut line) {
                Ok(n) if n > 0 => {
                    // A line cut off by a kill was not said.
                    if let Some(said) = line
                        .strip_prefix(MARK)
                        .and_then(|rest| rest.strip_suffix('\n'))
                    {
                        return Some(said.to_owned());
                    }
                }
                _ => return None,
            }
        }
    }

    /// The child's input, for a thread that tells it while another one listens.
    ///
    /// # Panics
    ///
    /// Where it was taken before.
    pub fn take_input(&mut self) -> ChildStdin {
        self.input.take().expect("its input is a pipe")
    }

    /// Tells the child.
    ///
    /// # Panics
    ///
    /// Where it does not listen.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is a pipe");
        writeln!(input, "{line}")
            .and_then(|()| input.flush())
            .expect("the child listens");
    }

    /// Kills the child with SIGKILL.
    ///
    /// # Panics
    ///
    /// Where it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child can be killed");
        self.child.wait().expect("the child ends");
    }

    /// Waits for the child's success.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn finish(mut self) {
        self.input = None;
        // A child that finds its pipe full would not end.
        while self.line().is_some() {}
        let status = self.child.wait().expect("the child ends");
        assert!(status.success(), "the child failed: {status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
