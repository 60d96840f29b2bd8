//! The DynamoDB store, on servers that the tests start.

mod faults;
mod import_crashes;
mod imports;
mod index;
mod labels;
mod layout;
mod races;
mod tables;
mod vanishing;

use mneme_tests::children;
use mneme_tests::dynamodb::run_with_credentials;
use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    // A child process has the credentials that its parent gives it.
    if children::asked_for().is_none()
        && let Some(end) = run_with_credentials()
    {
        return end;
    }
    Suite::new()
        .children(faults::children())
        .tests(faults::tests())
        .tests(import_crashes::tests())
        .tests(imports::tests())
        .tests(index::tests())
        .tests(labels::tests())
        .tests(layout::tests())
        .tests(races::tests())
        .tests(tables::tests())
        .tests(vanishing::tests())
        .run()
}
