//! `import`.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use indicatif::ProgressBar;
use mneme::PutRequest;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::args::{Global, Import};
use crate::embedder_spec::{EmbedderSpec, Texts};
use crate::embedding;
use crate::exit::ERROR;
use crate::json_lines::{self, Line, Lines};
use crate::output::{self, Output};
use crate::progress;
use crate::session::{self, Session};
use crate::ttl_field;

/// Lines that are embedded and stored together.
const BATCH: usize = 256;
/// The most bad lines that are listed.
const MAX_NAMED: usize = 20;

/// The shape of a line.
const SHAPE: &str = "{\"query\": ..., \"response\": ...}, optionally with namespace, context, tags, ttl, metadata, embedding, exact_only";

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    query: String,
    response: String,
    namespace: Option<String>,
    #[serde(default)]
    context: String,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, deserialize_with = "ttl_field::present")]
    ttl: ttl_field::TtlField,
    metadata: Option<Map<String, Value>>,
    embedding: Option<Vec<f32>>,
    #[serde(default)]
    exact_only: bool,
}

impl Entry {
    /// Reads a line; the error says what is wrong with it.
    fn parse(line: &Line) -> Result<Self, String> {
        let entry: Self = line.parse(SHAPE)?;
        match entry.exact_only && entry.embedding.is_some() {
            false => Ok(entry),
            true => Err(embedding::ONE_OF_BOTH.into()),
        }
    }

    fn request(&self, namespace: &str) -> PutRequest {
        let mut request = PutRequest::new(&self.query, &self.response)
            .namespace(self.namespace.as_deref().unwrap_or(namespace))
            .context(&self.context)
            .tags(&self.tags)
            .ttl(ttl_field::ttl(self.ttl));
        if let Some(metadata) = &self.metadata {
            request = request.metadata(Value::from(metadata.clone()).to_string());
        }
        if let Some(embedding) = &self.embedding {
            request = request.embedding(embedding.clone());
        }
        match self.exact_only {
            true => request.exact_only(),
            false => request,
        }
    }
}

/// `import`: 0 if every line was stored, else 2.
pub fn import(global: &Global, out: Output, args: &Import) -> Result<u8> {
    let (mut lines, size) = json_lines::open("import", &args.file)?;
    EmbedderSpec::choose(global.embedder.as_deref())?.warn_of_cuts(out);
    let session = Session::open_to_embed(global, Texts::Many)?;
    let mut job = Job {
        session: &session,
        namespace: global.namespace(),
        keep_going: args.keep_going,
        bar: progress::bar(out),
        batch: Vec::new(),
        stored: 0,
        bad: Vec::new(),
    };
    if let Some(size) = size {
        job.bar.set_length(size);
    }
    progress::style(
        &job.bar,
        match size {
            Some(_) => progress::BYTES,
            None => progress::BYTES_SO_FAR,
        },
    );
    let started = Instant::now();
    let result = job.read(&mut lines);
    job.bar.finish_and_clear();
    let (stored, bad) = (job.stored, job.bad);
    let closed = session.cache.close();
    let so_far = || {
        format!(
            "{} stored before it",
            output::counted(stored, "line", "lines")
        )
    };
    result.with_context(|| format!("import: stopped, {}", so_far()))?;
    closed?;

    let seconds = started.elapsed().as_secs_f64();
    for (line, message) in bad.iter().take(MAX_NAMED) {
        out.warn(&format!("line {line}: {message}"));
    }
    if bad.len() > MAX_NAMED {
        out.warn(&format!("and {} more bad lines", bad.len() - MAX_NAMED));
    }
    out.result(
        || {
            let bad: Vec<Value> = bad
                .iter()
                .map(|(line, message)| json!({"line": line, "message": message}))
                .collect();
            json!({"stored": stored, "failed": bad.len(), "seconds": seconds, "errors": bad})
        },
        || {
            let failed = match bad.len() {
                0 => String::new(),
                count => format!(", {} not", output::counted(count as u64, "line", "lines")),
            };
            format!(
                "{} stored{failed}, in {}",
                output::counted(stored, "entry", "entries"),
                output::duration(seconds)
            )
        },
    )?;
    Ok(if bad.is_empty() { 0 } else { ERROR })
}

fn bad_line(number: u64, message: &str) -> anyhow::Error {
    anyhow!("line {number}: {message} (--keep-going skips bad lines)")
}

/// A running import.
struct Job<'a> {
    session: &'a Session,
    namespace: &'a str,
    keep_going: bool,
    bar: ProgressBar,
    /// Line numbers and requests.
    batch: Vec<(u64, Entry)>,
    stored: u64,
    bad: Vec<(u64, String)>,
}

impl Job<'_> {
    fn read(&mut self, lines: &mut Lines) -> Result<()> {
        loop {
            // The lines before a bad one are stored before it is reported.
            let line = match lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return self.store(),
                Err(error) => {
                    self.store()?;
                    return Err(error);
                }
            };
            let (number, length) = (line.number, line.bytes.len() as u64);
            if !line.is_blank() {
                match Entry::parse(line) {
                    Ok(entry) => self.batch.push((number, entry)),
                    Err(error) => {
                        self.store()?;
                        self.reject(number, &error)?;
                    }
                }
            }
            if self.batch.len() == BATCH {
                self.store()?;
            }
            self.bar.inc(length);
        }
    }

    /// Stores the batch together or, if the cache refuses it, line by line.
    fn store(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let requests = batch
            .iter()
            .map(|(_, line)| line.request(self.namespace))
            .collect();
        match self.session.cache.put_many(requests) {
            Ok(ids) => self.stored += ids.len() as u64,
            Err(error) if !session::blames_the_request(&error) => {
                let first = batch.first().map_or(0, |(number, _)| *number);
                return Err(error).with_context(|| format!("from line {first} on"));
            }
            Err(_) => {
                for (number, line) in &batch {
                    match self.session.cache.put(line.request(self.namespace)) {
                        Ok(_) => self.stored += 1,
                        Err(error) if session::blames_the_request(&error) => {
                            self.reject(*number, &error.to_string())?;
                        }
                        Err(error) => {
                            return Err(error).with_context(|| format!("line {number}"));
                        }
                    }
                }
            }
        }
        self.bar
            .set_message(output::counted(self.stored, "entry", "entries"));
        Ok(())
    }

    fn reject(&mut self, number: u64, message: &str) -> Result<()> {
        if !self.keep_going {
            return Err(bad_line(number, message));
        }
        self.bad.push((number, message.to_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Entry, String> {
        let bytes = text.as_bytes().to_vec();
        Entry::parse(&Line { number: 1, bytes })
    }

    #[test]
    fn lines() {
        let full =
            line(r#"{"query":"q","response":"r","ttl":null,"metadata":{"a":1},"embedding":[1,2]}"#);
        let full = full.unwrap();
        assert_eq!(
            (full.ttl, full.embedding),
            (Some(None), Some(vec![1.0, 2.0]))
        );
        assert_eq!(
            line(r#"{"query":"q","response":"r","ttl":5}"#).unwrap().ttl,
            Some(Some(5))
        );
        assert_eq!(line(r#"{"query":"q","response":"r"}"#).unwrap().ttl, None);
        for (text, expected) in [
            ("{", "EOF while parsing"),
            ("[]", "not a JSON object"),
            (r#"{"query":"q"}"#, "missing field `response`"),
            (
                r#"{"query":"q","response":"r","TTL":5}"#,
                "unknown field `TTL`",
            ),
            (r#"{"query":"q","response":"r","ttl":-5}"#, "invalid value"),
            (
                r#"{"query":"q","response":"r","metadata":[1]}"#,
                "expected a map",
            ),
        ] {
            let message = line(text).err().unwrap_or_default();
            assert!(
                message.contains(expected) && message.contains("a line is"),
                "{text}: {message}"
            );
        }
    }
}
