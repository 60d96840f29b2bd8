//! The SQLite store: what the battery cannot see of its files, and what is wrong with some.

mod bad_files;
mod blobs;
mod bounds;
mod changes;
mod damaged_texts;
mod files;
mod fuzz;
mod labels;
mod locks;
mod modes;
mod place;
mod read_only;
mod schemas;
mod sharing;
mod snapshots;
mod speed;
mod steps;
mod vanishing;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .children(bad_files::children())
        .children(fuzz::children())
        .children(read_only::children())
        .children(sharing::children())
        .tests(bad_files::tests())
        .tests(blobs::tests())
        .tests(bounds::tests())
        .tests(changes::tests())
        .tests(damaged_texts::tests())
        .tests(files::tests())
        .tests(fuzz::tests())
        .tests(labels::tests())
        .tests(locks::tests())
        .tests(modes::tests())
        .tests(read_only::tests())
        .tests(schemas::tests())
        .tests(sharing::tests())
        .tests(snapshots::tests())
        .tests(speed::tests())
        .tests(vanishing::tests())
        .run()
}
