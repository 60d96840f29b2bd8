//! `run`.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result};
use mneme::{GetRequest, Lookup, PutRequest, Ttl};
use serde_json::{Value, json};

use crate::args::{Global, Run};
use crate::exit::ERROR;
use crate::json;
use crate::output::{self, Output};
use crate::session::Session;

use super::entries::describe;

/// Longer output is passed on but not stored: the cache would refuse it.
const MAX_RESPONSE: usize = mneme::DEFAULT_MAX_RESPONSE_BYTES;

/// `run`: the answer from the cache, else the program's, with its exit code.
pub fn run(global: &Global, out: Output, args: &Run) -> Result<u8> {
    let mut input = Vec::new();
    io::stdin()
        .lock()
        .read_to_end(&mut input)
        .context("run: cannot read the query from standard input")?;

    let mut cache = None;
    let mut reason = Value::Null;
    let mut nearest = None;
    // Where nothing is embedded, or that has failed, only the exact layer is to find the answer.
    let mut has_vector = !args.exact;
    match look_up(global, args, &input) {
        Ok((_, Lookup::Hit(hit))) => {
            out.note(&describe(&hit));
            if out.is_json() {
                out.result(|| json::value(&json::Hit::from(&hit)), String::new)?;
            } else {
                let mut stdout = io::stdout().lock();
                stdout.write_all(hit.response.as_bytes())?;
                stdout.flush()?;
            }
            return Ok(0);
        }
        Ok((session, Lookup::Miss(miss))) => {
            out.warn_of(&miss);
            has_vector &= miss.embedder_error.is_none();
            out.note(&format!(
                "miss: {}; running the program",
                miss.reason.name()
            ));
            reason = json!(miss.reason.name());
            nearest = miss.nearest;
            cache = Some(session);
        }
        Err(error) => out.warn(&format!(
            "running the program without the cache: {}",
            output::message(&error)
        )),
    }

    let finished = execute(out, &args.program, input.clone())?;
    let mut stored = false;
    if let Some(session) = cache.filter(|_| finished.status.success()) {
        match store(global, args, &session, &input, &finished, has_vector) {
            Ok(response) => {
                stored = true;
                if let Some(nearest) = nearest
                    && let Err(error) = session.cache.compare_answer(nearest, response)
                {
                    out.warn(&format!("the answer was not compared: {error}"));
                }
                if let Err(error) = session.cache.close() {
                    out.warn(&format!("access times and counters are not kept: {error}"));
                }
            }
            Err(error) => out.warn(&format!(
                "the answer was not cached: {}",
                output::message(&error)
            )),
        }
    }
    let code = exit_code(finished.status);
    if out.is_json() {
        let printed = out.result(
            || {
                json!({
                    "hit": false,
                    "reason": reason,
                    "response": String::from_utf8_lossy(&finished.output),
                    "stored": stored,
                    "exit_code": code,
                })
            },
            String::new,
        );
        // Whoever reads the output does not change how the program has ended.
        if let Err(error) = printed
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(error.into());
        }
    }
    Ok(code)
}

fn look_up(global: &Global, args: &Run, input: &[u8]) -> Result<(Session, Lookup)> {
    let query = query(input)?;
    let mut request = GetRequest::new(query)
        .namespace(global.namespace())
        .tags(&args.scope.tags)
        .validate(true);
    if let Some(context) = &args.scope.context {
        request = request.context(context);
    }
    if args.exact {
        request = request.exact_only();
    }
    if let Some(seconds) = args.max_age {
        request = request.max_age(seconds);
    }
    if let Some(threshold) = args.threshold {
        request = request.threshold(threshold);
    }
    let session = Session::open(global)?;
    let lookup = session.cache.get(request)?;
    Ok((session, lookup))
}

fn store<'a>(
    global: &Global,
    args: &Run,
    session: &Session,
    input: &[u8],
    finished: &'a Finished,
    has_vector: bool,
) -> Result<&'a str> {
    match finished.lacks {
        None => {}
        Some(Lack::TooLong) => {
            anyhow::bail!("it is longer than {}", output::bytes(MAX_RESPONSE as u64));
        }
        Some(Lack::Unread) => anyhow::bail!("the reader of the output has closed it"),
    }
    let response = std::str::from_utf8(&finished.output).context("it is not UTF-8 text")?;
    let mut request = PutRequest::new(query(input)?, response)
        .namespace(global.namespace())
        .tags(&args.scope.tags)
        .validate(true);
    if let Some(context) = &args.scope.context {
        request = request.context(context);
    }
    if !has_vector {
        request = request.exact_only();
    }
    if let Some(seconds) = args.ttl {
        request = request.ttl(Ttl::Seconds(seconds));
    }
    session.cache.put(request)?;
    Ok(response)
}

fn query(input: &[u8]) -> Result<&str> {
    std::str::from_utf8(input).context("the query is not UTF-8 text")
}

/// A program that has ended.
struct Finished {
    status: ExitStatus,
    output: Vec<u8>,
    /// Why `output` is not all of it, if it is not.
    lacks: Option<Lack>,
}

/// Why a part of a program's output is missing.
enum Lack {
    /// It has more than [`MAX_RESPONSE`] bytes.
    TooLong,
    /// Nobody reads it any more. Then the program is not read either, as if it wrote to the reader
    /// itself.
    Unread,
}

/// Runs the program on `input`; its output is kept and, except under --json, passed on as it
/// comes.
fn execute(out: Output, program: &[OsString], input: Vec<u8>) -> Result<Finished> {
    let mut child = Command::new(&program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| {
            format!(
                "run: cannot start {:?}; check its name and path",
                program[0]
            )
        })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program need not read all of its input.
        thread::spawn(move || stdin.write_all(&input));
    }
    let passed = pass_on(out, &mut child);
    // Waiting comes first, so the program ends before this process does.
    let status = child.wait().context("run: cannot wait for the program")?;
    let (output, lacks) = passed?;
    Ok(Finished {
        status,
        output,
        lacks,
    })
}

fn pass_on(out: Output, child: &mut Child) -> Result<(Vec<u8>, Option<Lack>)> {
    let (mut kept, mut lacks) = (Vec::new(), None);
    let Some(mut from) = child.stdout.take() else {
        return Ok((kept, lacks));
    };
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => return Ok((kept, lacks)),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("run: cannot read the program's output"),
        };
        let bytes = &buffer[..length];
        if !out.is_json() {
            let mut stdout = io::stdout().lock();
            match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok((kept, Some(Lack::Unread)));
                }
                written => written?,
            }
        }
        if kept.len() + length > MAX_RESPONSE {
            lacks = Some(Lack::TooLong);
        }
        if lacks.is_none() {
            kept.extend_from_slice(bytes);
        }
    }
}

/// The program's exit code; after a signal 128 plus its number, as in shells.
fn exit_code(status: ExitStatus) -> u8 {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return 128 + signal as u8;
    }
    // Windows has codes of 32 bits.
    status
        .code()
        .map_or(ERROR, |code| u8::try_from(code).unwrap_or(ERROR))
}
