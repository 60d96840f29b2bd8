//! A slow reading that callers share.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// What was read, and when, once it is there.
type Outcome<T> = Option<(Instant, T)>;

/// A reading. One is under way at a time, and whoever asks meanwhile waits for its result. It
/// goes on even if nobody waits any more, so what hangs is asked once.
pub struct Shared<T>(Mutex<Option<watch::Receiver<Outcome<T>>>>);

impl<T> Default for Shared<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone + Send + Sync + 'static> Shared<T> {
    /// The last result, if it is not older than `fresh`, else the next. None if that is not
    /// there within `patience`.
    pub async fn read<R>(
        &self,
        fresh: Duration,
        patience: Duration,
        read: impl FnOnce() -> R,
    ) -> Option<T>
    where
        R: Future<Output = T> + Send + 'static,
    {
        let mut result = self.current(fresh, read);
        let outcome = timeout(patience, result.wait_for(Option::is_some)).await;
        // An error within is a reading that panicked.
        let outcome = outcome.ok()?.ok()?;
        outcome.as_ref().map(|(_, value)| value.clone())
    }

    fn current<R>(&self, fresh: Duration, read: impl FnOnce() -> R) -> watch::Receiver<Outcome<T>>
    where
        R: Future<Output = T> + Send + 'static,
    {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(result) = &*last {
            let is_usable = match &*result.borrow() {
                Some((at, _)) => at.elapsed() < fresh,
                None => result.has_changed().is_ok(),
            };
            if is_usable {
                return result.clone();
            }
        }
        let (sender, result) = watch::channel(None);
        let read = read();
        tokio::spawn(async move {
            let value = read.await;
            // Perhaps nobody wants it any more.
            let _ = sender.send(Some((Instant::now(), value)));
        });
        *last = Some(result.clone());
        result
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_is_under_way_and_its_result_is_kept_for_a_while() {
        let shared = Shared::default();
        let (begun, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let read = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            async move {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                number
            }
        };
        let (fresh, patience) = (Duration::from_secs(10), Duration::from_secs(1));
        for _ in 0..3 {
            assert_eq!(shared.read(fresh, patience, read).await, None);
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        go.notify_one();
        assert_eq!(shared.read(fresh, patience, read).await, Some(0));
        assert_eq!(shared.read(fresh, patience, read).await, Some(0));
        tokio::time::advance(fresh).await;
        go.notify_one();
        assert_eq!(shared.read(fresh, patience, read).await, Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_panics_is_followed_by_another() {
        let shared = Shared::<u32>::default();
        let second = Duration::from_secs(1);
        let panics = || async { panic!("as asked") };
        assert_eq!(shared.read(second, second, panics).await, None);
        assert_eq!(shared.read(second, second, || async { 7 }).await, Some(7));
    }
}
