//! What the server does by itself: removing expired entries, writing when nobody asks, and going on
//! with an empty cache where a store has lost it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::health::is_lost;
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
    let mut flushing = Task::new("writing access times and counters");
    let mut removing = Task::new("removing expired entries");
    let mut reopening = Task::new("opening the cache again, which its store had lost");
    loop {
        sleep(TICK).await;
        if served.idle.begins(PAUSE) {
            let outcome = served.cache.run(|cache| cache.flush()).await;
            if outcome.is_err() {
                // What waits is still there.
                served.idle.used();
            }
            flushing.ended(out, outcome.err());
        }
        if served.doubt.swap(false, Ordering::Relaxed)
            && let Some(outcome) = reopen(&served).await
        {
            if outcome.is_ok() {
                out.warn(
                    "the store had lost the data of this cache; it goes on with what is there now",
                );
            }
            reopening.ended(out, outcome.err());
        }
        if !interval.is_zero() && Instant::now() >= due {
            let started = Instant::now();
            // In steps, between which others are served.
            let outcome = served.cache.run(|cache| cache.vacuum(None, false)).await;
            removing.ended(out, outcome.err());
            due = Instant::now() + interval.max(started.elapsed() * REST);
        }
    }
}

/// Opens the cache again if its server has lost it, such as a Redis that was restarted without
/// persistence: a cache fills again. A file that is gone is left alone, since it may come back.
async fn reopen(served: &Served) -> Option<mneme::Result<()>> {
    let health = served.cache.health(false).await.ok()?;
    let may_reopen = is_lost(&health) && served.store.file().is_none();
    match may_reopen {
        true => Some(served.cache.reopen().await),
        false => None,
    }
}

/// What is done again and again.
struct Task {
    what: &'static str,
    /// Why it failed the last time, if it did.
    failure: Option<String>,
}

impl Task {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            failure: None,
        }
    }

    /// Says why it failed, once for as long as that does not change.
    fn ended(&mut self, out: Output, error: Option<mneme::Error>) {
        if let Some(news) = self.news(error.map(|error| error.to_string())) {
            out.warn(&news);
        }
    }

    fn news(&mut self, failure: Option<String>) -> Option<String> {
        let is_new = failure != self.failure;
        self.failure = failure;
        let failure = self.failure.as_ref().filter(|_| is_new)?;
        let what = self.what;
        Some(format!("failed: {what}: {failure}; it will be tried again"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_once_until_it_changes() {
        let mut task = Task::new("doing it");
        let mut news = |failure: Option<&str>| task.news(failure.map(str::to_owned));
        let full = news(Some("the disk is full"));
        assert_eq!(
            full.as_deref(),
            Some("failed: doing it: the disk is full; it will be tried again")
        );
        assert_eq!(news(Some("the disk is full")), None);
        assert!(news(Some("it is read-only")).is_some());
        assert_eq!(news(None), None);
        assert!(news(Some("it is read-only")).is_some());
    }
}
