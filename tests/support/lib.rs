//! What the tests of this package share.

pub mod children;
pub mod embedders;
pub mod python;
pub mod sqlite;
pub mod stores;

use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// A folder of cargo's for what tests keep between runs.
pub fn kept_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(|root| root.join("target/tmp"))
        .unwrap_or_else(std::env::temp_dir)
}

/// Says that a test cannot run here, for the reason given; fails it where
/// `MNEME_REQUIRE_ALL=1` asks for every test.
///
/// # Panics
///
/// Where every test is required.
pub fn skip(reason: &str) {
    assert!(
        std::env::var_os("MNEME_REQUIRE_ALL").is_none_or(|value| value != "1"),
        "MNEME_REQUIRE_ALL=1, and this test cannot run: {reason}"
    );
    println!("skipped: {reason}");
}

/// Runs `work` on a thread of its own, and fails where it hangs.
///
/// # Panics
///
/// Where `work` panics, or has not ended after a minute.
pub fn unless_it_hangs(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let worker = std::thread::spawn(move || {
        work();
        // Nobody listens any more where it was too late.
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a worker that ends says so"),
        },
    }
}
