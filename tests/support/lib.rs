//! What the tests of this package share.

pub mod broken;
pub mod changes;
pub mod children;
pub mod command;
pub mod damage;
pub mod dynamodb;
pub mod dynamodb_wire;
pub mod embedders;
pub mod peer;
pub mod proxy;
pub mod python;
pub mod rows;
pub mod served;
pub mod servers;
pub mod sqlite;
pub mod stores;
pub mod suite;
pub mod tenants;
pub mod vanishing;

use mneme::{Builder, SemanticCache};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Begins a cache for questions that mean nothing, such as `q 1` and `q 2`: it looks for no vetoes.
pub fn builder() -> Builder {
    SemanticCache::builder().vetoes([])
}

/// A folder for what tests keep between runs: `tmp` in cargo's target folder, which test
/// programs lie three levels below.
pub fn kept_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program
        .ancestors()
        .nth(3)
        .map_or_else(std::env::temp_dir, |target| target.join("tmp"))
}

/// Fails where a cache that was asked "question" does not say "answer" any more.
///
/// # Panics
///
/// Where it does not.
pub fn assert_answers(cache: &SemanticCache) {
    let hit = cache.get("QUESTION").unwrap().hit();
    assert_eq!(hit.unwrap().response, "answer");
}

/// Runs `work` on its own thread, and fails where it hangs.
///
/// # Panics
///
/// Where `work` panics, or has not ended after two minutes.
pub fn unless_it_hangs(work: impl FnOnce() + Send + 'static) {
    let (done, ended) = channel();
    let worker = std::thread::spawn(move || {
        work();
        // Nobody listens any more where it was too late.
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(120)) {
        Ok(()) => {}
        Err(RecvTimeoutError::Timeout) => panic!("it hangs"),
        Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => unreachable!("a worker that ends says so"),
        },
    }
}
