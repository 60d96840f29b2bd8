//! What the server does by itself: removing expired entries, and writing when nobody asks.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::served::Served;
use crate::output::Output;

/// How often it looks whether nobody asks.
const TICK: Duration = Duration::from_millis(500);
/// How long nobody asks before what waits is written.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two removals passes at least this many times what the last one took.
const REST: u32 = 20;

/// Runs until it is dropped. `interval` is the time between two removals, zero for none.
pub async fn run(served: Arc<Served>, interval: Duration, out: Output) {
    let mut due = Instant::now() + interval;
    loop {
        sleep(TICK).await;
        if served.idle.begins(PAUSE) {
            let outcome = served.cache.run(|cache| cache.flush()).await;
            warn(out, "written access times and counters", outcome.err());
        }
        if !interval.is_zero() && Instant::now() >= due {
            let started = Instant::now();
            // In steps, between which others are served.
            let outcome = served.cache.run(|cache| cache.vacuum(None, false)).await;
            warn(out, "removed expired entries", outcome.err());
            due = Instant::now() + interval.max(started.elapsed() * REST);
        }
    }
}

fn warn(out: Output, what: &str, error: Option<mneme::Error>) {
    if let Some(error) = error {
        out.warn(&format!(
            "could not have {what}: {error}; it is tried again"
        ));
    }
}
