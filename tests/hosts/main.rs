//! The other hosts of the component, beside the Rust library.

mod javascript;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new().tests(javascript::tests()).run()
}
