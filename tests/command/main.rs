//! The `mneme` command, run as a process.

mod calibration;
mod checkpoints;
mod conformance;
mod demo;
mod entries;
mod errors;
mod explain;
mod import;
mod migration;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod serve;
mod upkeep;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a cache of three-dimensional vectors in it.
struct Folder(TempDir);

/// What a command left.
#[derive(Debug)]
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

const VECTORS: &str = "vectors:test-model,3";

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        name.to_owned()
    }

    fn output(&self, embedder: &str, args: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(self.0.path())
            .env_remove("MNEME_STORE")
            .env("MNEME_EMBEDDER", embedder)
            .env("OPENAI_API_KEY", "sk-secret")
            .env("TMPDIR", self.0.path())
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    fn run(&self, embedder: &str, args: &[&str], input: &[u8]) -> Done {
        let output = self.output(embedder, args, input);
        Done {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs with given vectors.
    fn mneme(&self, args: &[&str]) -> Done {
        self.run(VECTORS, args, b"")
    }

    /// Runs a command that must succeed, and reads its JSON.
    fn json(&self, args: &[&str]) -> Value {
        let done = self.mneme(&[&["--json"], args].concat());
        assert!(done.code < 2, "{args:?}: {done:?}");
        done.json()
    }

    fn put(&self, query: &str, response: &str, embedding: &str) {
        let done = self.mneme(&["put", query, response, "--embedding", embedding]);
        assert_eq!((done.code, done.stdout.as_str()), (0, ""), "{done:?}");
    }
}

impl Done {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The JSON of the error that ended the command.
    fn error(&self) -> (String, String) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        let value: Value = serde_json::from_str(self.stderr.trim()).unwrap();
        let text = |field: &str| value["error"][field].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }
}
