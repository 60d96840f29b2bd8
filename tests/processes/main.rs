//! Many at once: threads and tasks on a cache, processes on a file or a server.

mod cluster;
mod erasing;
mod files;
mod servers;
mod threads;

use mneme_tests::suite::Suite;
use std::process::ExitCode;

fn main() -> ExitCode {
    Suite::new()
        .children(cluster::children())
        .children(erasing::children())
        .children(files::children())
        .children(servers::children())
        .tests(cluster::tests())
        .tests(erasing::tests())
        .tests(files::tests())
        .tests(servers::tests())
        .tests(threads::tests())
        .run()
}
