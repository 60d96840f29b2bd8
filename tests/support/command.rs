//! The command `mneme`, run as a process.

use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// The command, which cargo has built beside the test programs of its package.
///
/// # Panics
///
/// Where the path of this program is unknown.
pub fn program() -> PathBuf {
    let program = std::env::current_exe().expect("the path of this program");
    let folder = program.ancestors().nth(2).expect("it lies in a folder");
    folder
        .join("mneme")
        .with_extension(std::env::consts::EXE_EXTENSION)
}

/// A folder with a cache of three-dimensional vectors in it.
pub struct Folder(pub TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// What a command left.
#[derive(Debug)]
pub struct Done {
    /// The exit code.
    pub code: i32,
    /// What it has written to standard output.
    pub stdout: String,
    /// What it has written to standard error.
    pub stderr: String,
}

/// An embedder whose vectors come with each call.
pub const VECTORS: &str = "vectors:test-model,3";

impl Folder {
    /// An empty folder.
    ///
    /// # Panics
    ///
    /// Where there is no room for one.
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns its name.
    ///
    /// # Panics
    ///
    /// Where it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    /// The command, to be run in this folder.
    pub fn command(&self, embedder: &str) -> Command {
        let mut command = Command::new(program());
        command
            .current_dir(self.0.path())
            .env_remove("MNEME_STORE")
            .env("MNEME_EMBEDDER", embedder)
            .env("OPENAI_API_KEY", "sk-secret")
            .env("TMPDIR", self.0.path());
        command
    }

    /// Runs the command in this folder.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn output(&self, embedder: &str, args: &[&str], input: &[u8]) -> Output {
        output(self.command(embedder).args(args), input)
    }

    /// Runs the command in this folder, and reads its output as text.
    ///
    /// # Panics
    ///
    /// Where it is ended by a signal, or writes what is no text.
    pub fn run(&self, embedder: &str, args: &[&str], input: &[u8]) -> Done {
        Done::of(self.output(embedder, args, input))
    }

    /// Runs with given vectors.
    ///
    /// # Panics
    ///
    /// Where it is ended by a signal.
    pub fn mneme(&self, args: &[&str]) -> Done {
        self.run(VECTORS, args, b"")
    }

    /// Runs a command that must succeed, and reads its JSON.
    ///
    /// # Panics
    ///
    /// Where it fails, or writes no JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        let done = self.mneme(&[&["--json"], args].concat());
        assert!(done.code < 2, "{args:?}: {done:?}");
        done.json()
    }

    /// Stores an entry with this vector, a JSON list.
    ///
    /// # Panics
    ///
    /// Where it fails.
    pub fn put(&self, query: &str, response: &str, embedding: &str) {
        let done = self.mneme(&["put", query, response, "--embedding", embedding]);
        assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    }
}

/// Runs a command to its end.
fn output(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

impl Done {
    /// Runs a command without input.
    ///
    /// # Panics
    ///
    /// Where it does not start, is ended by a signal, or writes what is no text.
    pub fn run(command: &mut Command) -> Self {
        Self::of(output(command, b""))
    }

    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The JSON that it has written.
    ///
    /// # Panics
    ///
    /// Where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of the error that ended the command.
    ///
    /// # Panics
    ///
    /// Where it did not end with an error in JSON.
    pub fn error(&self) -> (String, String) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        let value: Value = serde_json::from_str(self.stderr.trim()).unwrap();
        let text = |field: &str| value["error"][field].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }
}
