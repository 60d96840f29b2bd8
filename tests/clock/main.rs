//! The command, and `mneme serve`, by a clock that is wrong or jumps.

mod embedder;
mod faketime;
mod jumps;
mod once;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .tests(embedder::tests())
        .tests(jumps::tests())
        .tests(once::tests())
        .run()
}
