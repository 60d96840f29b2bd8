//! The component, through the Rust library: what it asks of a host, what it finds, what it
//! refuses, whom it keeps apart.

mod bad_input;
mod bad_labels;
mod bound;
mod contexts;
mod embedding;
mod erasing;
mod index;
mod lanes;
mod lying_logs;
mod namespaces;
mod normalization;
mod recorded;
mod round_trips;
mod sandbox;
mod tenants;
mod trust;

use mneme_tests::dynamodb::run_with_credentials;
use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(end) = run_with_credentials() {
        return end;
    }
    Suite::new()
        .tests(bad_input::tests())
        .tests(bad_labels::tests())
        .tests(bound::tests())
        .tests(contexts::tests())
        .tests(embedding::tests())
        .tests(erasing::tests())
        .tests(index::tests())
        .tests(lanes::tests())
        .tests(lying_logs::tests())
        .tests(namespaces::tests())
        .tests(normalization::tests())
        .tests(recorded::tests())
        .tests(round_trips::tests())
        .tests(sandbox::tests())
        .tests(tenants::tests())
        .tests(trust::tests())
        .run()
}
