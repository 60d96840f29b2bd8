//! The SQLite store: what the battery cannot see of its files, and what is wrong with some.

mod bad_files;
mod blobs;
mod files;
mod place;
mod sharing;
mod snapshots;
mod speed;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .children(bad_files::children())
        .children(sharing::children())
        .tests(bad_files::tests())
        .tests(blobs::tests())
        .tests(files::tests())
        .tests(sharing::tests())
        .tests(snapshots::tests())
        .tests(speed::tests())
        .run()
}
