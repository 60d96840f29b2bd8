//! Whole caches on their way: archives, and copies from store to store.

mod chain;
mod converted;
mod copies;
mod ends;
mod flat;
mod hostile;
mod labels;
mod limits;
mod migrations;
#[cfg(target_os = "linux")]
mod mutations;
mod parts;
mod pictures;
mod support;

use mneme_tests::dynamodb::run_with_credentials;
use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(end) = run_with_credentials() {
        return end;
    }
    let suite = Suite::new();
    #[cfg(target_os = "linux")]
    let suite = suite
        .children(mutations::children())
        .tests(mutations::tests());
    suite
        .children(pictures::children())
        .tests(chain::tests())
        .tests(converted::tests())
        .tests(copies::tests())
        .tests(ends::tests())
        .tests(hostile::tests())
        .tests(flat::tests())
        .tests(labels::tests())
        .tests(limits::tests())
        .tests(migrations::tests())
        .tests(pictures::tests())
        .run()
}
