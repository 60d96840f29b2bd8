//! Files of JSON lines.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;

use crate::output;

/// The longest line: response, metadata and vector at their limits fit, even escaped.
const MAX_LINE: u64 = 32 << 20;

/// Opens a file, or standard input for `-`, with its size if it has one.
pub fn open(command: &str, path: &Path) -> Result<(Lines, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Lines::of(io::stdin()), None));
    }
    let file = File::open(path).with_context(|| format!("{command}: cannot open {path:?}"))?;
    let kind = file
        .metadata()
        .with_context(|| format!("{command}: cannot read {path:?}"))?;
    if kind.is_dir() {
        bail!("{command}: {path:?} is a directory; name a file of JSON lines");
    }
    let size = kind.is_file().then_some(kind.len());
    Ok((Lines::of(file), size))
}

/// The lines of a file.
pub struct Lines {
    reader: Box<dyn BufRead>,
    line: Line,
}

/// A line.
#[derive(Default)]
pub struct Line {
    /// Counted from 1, including blank lines.
    pub number: u64,
    /// With its line end.
    pub bytes: Vec<u8>,
}

impl Lines {
    /// The lines of whatever is read.
    pub fn of(reader: impl Read + 'static) -> Self {
        Self {
            reader: Box::new(BufReader::new(reader)),
            line: Line::default(),
        }
    }

    /// The next line; none at the end.
    pub fn next(&mut self) -> Result<Option<&Line>> {
        let line = &mut self.line;
        line.bytes.clear();
        let length = (&mut self.reader)
            .take(MAX_LINE + 1)
            .read_until(b'\n', &mut line.bytes)
            .context("cannot read further")?;
        if length == 0 {
            return Ok(None);
        }
        line.number += 1;
        if length as u64 > MAX_LINE {
            bail!(
                "line {} is longer than {}",
                line.number,
                output::bytes(MAX_LINE)
            );
        }
        Ok(Some(line))
    }
}

impl Line {
    /// The text without its line end.
    pub fn text(&self) -> Result<&str> {
        let text = std::str::from_utf8(&self.bytes)
            .with_context(|| format!("line {} is not UTF-8", self.number))?;
        let end = ["\r\n", "\n"].into_iter().find(|end| text.ends_with(end));
        Ok(&text[..text.len() - end.map_or(0, str::len)])
    }

    /// Whether it is blank.
    pub fn is_blank(&self) -> bool {
        self.bytes.trim_ascii().is_empty()
    }

    /// Reads the line's object; the error is for people. `shape` describes a line.
    pub fn parse<T: DeserializeOwned>(&self, shape: &str) -> Result<T, String> {
        // serde would take an array of the fields' values too.
        if !self.bytes.trim_ascii_start().starts_with(b"{") {
            return Err(format!("not a JSON object; a line is {shape}"));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or(&message);
            format!("{message} (column {}); a line is {shape}", error.column())
        })
    }
}

/// Reads all objects of a file, with the numbers of their lines.
pub fn read<T: DeserializeOwned>(command: &str, path: &Path, shape: &str) -> Result<Vec<(u64, T)>> {
    let (mut lines, _) = open(command, path)?;
    let mut objects = Vec::new();
    let mut read = || -> Result<()> {
        while let Some(line) = lines.next()? {
            if !line.is_blank() {
                let object = line
                    .parse(shape)
                    .map_err(|error| anyhow::anyhow!("line {}: {error}", line.number))?;
                objects.push((line.number, object));
            }
        }
        Ok(())
    };
    read().with_context(|| format!("{command}: {path:?}"))?;
    if objects.is_empty() {
        bail!("{command}: {path:?} has no lines; a line is {shape}");
    }
    Ok(objects)
}
