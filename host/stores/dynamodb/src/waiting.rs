//! Waiting: for several requests at the same time, and before another attempt.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::error::{Fault, Outcome};
use mneme_store::opened::BOOKKEEPING_PATIENCE;

/// Requests on the way at the same time.
pub(super) const PARALLEL: usize = 16;

/// Attempts at a request that fails because of the network or the server, including the first.
pub(super) const SENDINGS: u32 = 5;

/// The first wait before a failed request is sent again, at most.
pub(super) const FIRST_WAIT: Duration = Duration::from_millis(50);

/// The attempts that are left, and ever longer waits between them.
pub(super) struct Attempts {
    deadline: Option<Instant>,
    patience: Duration,
    first_wait: Duration,
    most: u32,
    tries: u32,
}

impl Attempts {
    /// As many as there is time for.
    pub fn new(patience: Duration) -> Self {
        Self {
            deadline: Instant::now().checked_add(patience),
            patience,
            first_wait: Duration::from_millis(8),
            most: u32::MAX,
            tries: 0,
        }
    }

    /// [`SENDINGS`], if there is time for them.
    pub fn of_sending(patience: Duration) -> Self {
        Self {
            first_wait: FIRST_WAIT,
            most: SENDINGS - 1,
            ..Self::new(patience)
        }
    }

    /// Waits before the next attempt, or fails where none is left.
    pub async fn again(&mut self, why: &str) -> Outcome<()> {
        match self.wait().await {
            true => Ok(()),
            false => Err(Fault::System {
                message: format!(
                    "{why}, {} times within {:?}; call again later",
                    self.tries + 1,
                    self.patience
                ),
                retryable: true,
            }),
        }
    }

    /// Waits before the next attempt; false where none is left.
    pub async fn wait(&mut self) -> bool {
        // At random, so that those who met once do not meet again.
        let longest = self.first_wait * (1 << self.tries.min(5));
        let pause = longest.mul_f64(random() as f64 / u64::MAX as f64);
        let in_time = |deadline| Instant::now() + pause < deadline;
        if self.tries >= self.most || !self.deadline.is_none_or(in_time) {
            return false;
        }
        self.tries += 1;
        tokio::time::sleep(pause).await;
        true
    }
}

/// How long bookkeeping may take: some waves of requests.
const PATIENCE: Duration = BOOKKEEPING_PATIENCE.saturating_mul(5);

/// Bookkeeping, which is given up soon.
pub(super) async fn in_short<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Fault::system(format!(
            "no answer within {} ms; it is unknown whether it was stored, so read before writing again",
            PATIENCE.as_millis()
        ))),
    }
}

/// Runs several requests at the same time, and returns the results in their order.
pub(super) async fn together<T, F>(futures: impl IntoIterator<Item = F>) -> Outcome<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Outcome<T>> + Send + 'static,
{
    let mut waiting = futures.into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut results = Vec::new();
    loop {
        while running.len() < PARALLEL
            && let Some((place, future)) = waiting.next()
        {
            results.push(None);
            running.spawn(async move { (place, future.await) });
        }
        match running.join_next().await {
            None => return Ok(results.into_iter().flatten().collect()),
            Some(Ok((place, result))) => results[place] = Some(result?),
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => return Err(Fault::system(format!("a request ended: {error}"))),
            },
        }
    }
}

/// A number that has not been before.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut none = Attempts::new(Duration::ZERO);
            let Err(Fault::System { message, retryable }) = none.again("busy").await else {
                panic!("there was no time left");
            };
            assert!(retryable && message.contains("busy, 1 times"), "{message}");
            assert!(Attempts::new(Duration::MAX).wait().await);
            let mut sending = Attempts::of_sending(Duration::MAX);
            let mut repeats = 0;
            while sending.wait().await {
                repeats += 1;
            }
            assert_eq!(repeats, SENDINGS - 1);
        });
    }

    #[test]
    fn results_come_in_order() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let numbers = (0..100u64).map(|n| async move {
            for _ in 0..(100 - n) {
                tokio::task::yield_now().await;
            }
            Ok(n)
        });
        let results = runtime.block_on(together(numbers)).unwrap();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
        let failing = (0..50).map(|n| async move {
            match n {
                40 => Err(Fault::system("no")),
                _ => Ok(()),
            }
        });
        assert!(runtime.block_on(together(failing)).is_err());
    }
}
