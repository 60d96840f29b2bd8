//! What the command prints.

use std::io::{self, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use mneme::Miss;
use serde_json::{Value, json};

/// Prints results to standard output, all else to standard error.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// Output in JSON, or else for people.
    pub fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether results are printed as JSON.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// The result: `value` as one line under --json, else `text` (unless empty).
    pub fn result(
        self,
        value: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        let text = if self.json {
            value().to_string()
        } else {
            text()
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        if !text.is_empty() && !text.ends_with('\n') {
            stdout.write_all(b"\n")?;
        }
        stdout.flush()
    }

    /// The result on standard error, if standard output has something else.
    pub fn aside(self, value: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        match self.json {
            true => {
                let _ = writeln!(io::stderr(), "{}", value());
            }
            false => self.note(&text()),
        }
    }

    /// A remark for people: dropped under --json and if standard error is not a terminal.
    pub fn note(self, text: &str) {
        if io::stderr().is_terminal() {
            self.remark(text);
        }
    }

    /// A remark for people and for whoever reads a pipe: dropped under --json only, which says it in
    /// the result.
    pub fn remark(self, text: &str) {
        if !self.json {
            let _ = writeln!(io::stderr(), "{}", console::style(text).for_stderr().dim());
        }
    }

    /// Something that went wrong without stopping the command.
    pub fn warn(self, message: &str) {
        let text = if self.json {
            json!({"warning": {"message": message}}).to_string()
        } else {
            format!(
                "{} {message}",
                console::style("mneme: warning:").for_stderr().yellow()
            )
        };
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// The message of the embedder, if its failure caused the miss.
    pub fn warn_of(self, miss: &Miss) {
        if let Some(error) = &miss.embedder_error {
            self.warn(&error.message);
        }
        if let Some(error) = &miss.verifier_error {
            self.warn(&error.message);
        }
    }

    /// The error that stopped the command.
    pub fn error(self, kind: &str, message: &str) {
        let text = if self.json {
            json!({"error": {"kind": kind, "message": message}}).to_string()
        } else {
            format!("{} {message}", console::style("mneme:").for_stderr().red())
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// A number with the digits of the f32, not of the nearest f64.
pub fn number(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, |value| json!(value))
}

/// A name of the contract as people read it.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// A share from 0 to 1, in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A count with its noun.
pub fn counted(count: u64, singular: &str, plural: &str) -> String {
    let noun = if count == 1 { singular } else { plural };
    format!("{count} {noun}")
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

/// An age, known in whole seconds.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => duration(seconds as f64),
    }
}

/// A duration in the unit that suits it.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.999_5 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

/// A number of bytes in the unit that suits it.
pub fn bytes(count: u64) -> String {
    match count as f64 {
        n if n < 1024.0 => format!("{count} B"),
        n if n < 1_048_576.0 => format!("{:.1} KiB", n / 1024.0),
        n => format!("{:.1} MiB", n / 1_048_576.0),
    }
}

/// A table of numbers, with names in the first column.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        let durations = [
            (0.000_012, "12 µs"),
            (0.000_999_9, "1.0 ms"),
            (0.5, "500.0 ms"),
            (90.0, "90.0 s"),
            (600.0, "10 min"),
            (86_400.0, "24 h"),
            (864_000.0, "10 days"),
        ];
        for (seconds, expected) in durations {
            assert_eq!(duration(seconds), expected);
        }
        assert_eq!(
            (age(0), age(60), age(7_200)),
            ("0 s".into(), "60 s".into(), "2 h".into())
        );
        assert_eq!(bytes(100), "100 B");
        assert_eq!(bytes(3 << 20), "3.0 MiB");
        assert_eq!(counted(1, "entry", "entries"), "1 entry");
        assert_eq!(number(0.85).to_string(), "0.85");
        assert_eq!(number(f32::NAN), Value::Null);
    }

    #[test]
    fn causes_are_told_once() {
        let error = anyhow::anyhow!("no route").context("the host failed: no route");
        assert_eq!(
            message(&error.context("import")),
            "import: the host failed: no route"
        );
    }
}
