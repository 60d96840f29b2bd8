//! What the program prints.

use std::io::{self, IsTerminal, Write};

use console::style;
use serde_json::{Value, json};

/// Prints the result to standard output, all else to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Output in JSON, or else for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the result is printed as JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// The result: `value` as one line under --json, else `text`.
    pub fn result(
        self,
        value: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = match self.json {
            true => format!("{}\n", value()),
            false => text(),
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// A remark for people: dropped under --json and if standard error is not a terminal.
    pub fn note(self, text: &str) {
        if !self.json && io::stderr().is_terminal() {
            let _ = writeln!(io::stderr(), "{}", style(text).for_stderr().dim());
        }
    }

    /// Something that went wrong without stopping the program.
    pub fn warn(self, message: &str) {
        let text = match self.json {
            true => json!({"warning": {"message": message}}).to_string(),
            false => format!(
                "{} {message}",
                style("mneme: warning:").for_stderr().yellow()
            ),
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// The error that stopped the program.
    pub fn error(self, kind: &str, message: &str) {
        let text = match self.json {
            true => json!({"error": {"kind": kind, "message": message}}).to_string(),
            false => format!("{} {message}", style("mneme:").for_stderr().red()),
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// An error with those causes that add something.
pub fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text += &format!(": {cause}");
        }
    }
    text
}
