//! Data exchanged with the Python library mneme-cache, which runs for it: archives, and every
//! kind of place that both can use.

mod archives;
mod caches;
mod dynamodb;
mod labels;
mod place;
mod postgres;
mod redis;
mod rows;

use mneme_tests::dynamodb::run_with_credentials;
use mneme_tests::suite::Suite;
use place::Kind;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(end) = run_with_credentials() {
        return end;
    }
    let mut suite = Suite::new()
        .tests(archives::tests())
        .tests(dynamodb::tests())
        .tests(postgres::tests())
        .tests(redis::tests());
    for kind in Kind::ALL {
        suite = suite
            .tests(kind.tests(caches::TESTS))
            .tests(kind.tests(rows::TESTS));
    }
    for kind in [Kind::Sqlite, Kind::Postgres] {
        suite = suite.tests(kind.tests(labels::TESTS));
    }
    suite.run()
}
