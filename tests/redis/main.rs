//! The Redis store, on servers that the tests start.

mod changes;
mod cluster;
mod damage;
mod expiry;
mod faults;
mod import_faults;
mod imports;
mod layout;
mod limits;
mod outcomes;
mod production;
mod sentinel;
mod tags;
mod vanishing;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .children(imports::children())
        .tests(changes::tests())
        .tests(cluster::tests())
        .tests(damage::tests())
        .tests(expiry::tests())
        .tests(faults::tests())
        .tests(import_faults::tests())
        .tests(imports::tests())
        .tests(layout::tests())
        .tests(limits::tests())
        .tests(production::tests())
        .tests(sentinel::tests())
        .tests(tags::tests())
        .tests(vanishing::tests())
        .run()
}
