//! The `mneme` command: a semantic cache for the shell.

mod args;
mod commands;
mod embedder_spec;
mod embedding;
mod ending;
mod exit;
mod json;
mod json_lines;
mod output;
mod picture;
mod progress;
mod session;
mod store_url;
mod target;
mod thresholds_plot;
mod ttl_field;
mod verify_program;
mod watched;

use std::ffi::OsStr;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::args::{Args, Command};
use crate::exit::ERROR;
use crate::output::Output;

fn main() -> ExitCode {
    writes_past_a_limit_are_errors();
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let out = Output::new(args.global.json);
    // `serve` ends in its own time.
    if !matches!(args.command, Command::Serve(_)) {
        ending::leave_nothing_behind();
    }
    let ended = commands::dispatch(&args, out);
    // `serve` may have left threads whose calls hang.
    ending::clean_up();
    match ended {
        Ok(code) => ExitCode::from(code),
        // The reader of the output has closed it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(kind(&error), &output::message(&error));
            ExitCode::from(ERROR)
        }
    }
}

/// A write beyond the limit on the size of files (`ulimit -f`) fails, and does not end the process.
/// Programs that are started from here get the usual behaviour.
fn writes_past_a_limit_are_errors() {
    #[cfg(unix)]
    {
        use signal_hook::consts::SIGXFSZ;
        // The flag is not looked at: the write itself reports the error.
        let _ = signal_hook::flag::register(SIGXFSZ, std::sync::Arc::default());
    }
}

/// Help, the version, or an error on the command line.
fn usage(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    let mut args = std::env::args_os().take_while(|arg| arg != OsStr::new("--"));
    if !help && args.any(|arg| arg == OsStr::new("--json")) {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        Output::new(true).error("usage", message);
    } else {
        let _ = error.print();
    }
    ExitCode::from(if help { 0 } else { ERROR })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut io = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What went wrong, for programs: the kind of the cache's error, else `embedder`, `io` or
/// `argument`.
fn kind(error: &anyhow::Error) -> &'static str {
    for cause in error.chain() {
        if let Some(cause) = cause.downcast_ref::<mneme::Error>() {
            return cause.kind();
        }
        if cause.is::<mneme::embedder::EmbedError>() {
            return "embedder";
        }
        if cause.is::<io::Error>() {
            return "io";
        }
    }
    "argument"
}
