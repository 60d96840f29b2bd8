//! The Postgres store, on servers that the tests start.

mod changes;
mod conflicts;
mod faults;
mod hosts;
mod import_faults;
mod imports;
mod labels;
mod layout;
mod nearest;
mod outcomes;
mod places;
mod poolers;
mod vanishing;
mod views;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .tests(changes::tests())
        .tests(conflicts::tests())
        .tests(faults::tests())
        .tests(hosts::tests())
        .tests(import_faults::tests())
        .tests(imports::tests())
        .tests(labels::tests())
        .tests(layout::tests())
        .tests(nearest::tests())
        .tests(places::tests())
        .tests(poolers::tests())
        .tests(vanishing::tests())
        .tests(views::tests())
        .run()
}
