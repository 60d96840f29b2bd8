//! What all requests share, and how long they wait for the cache.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mneme::{AsyncSemanticCache, Error, Health, SemanticCache};
use prometheus::proto::MetricFamily;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::access::Access;
use super::activity::Activity;
use super::fault::Fault;
use super::metrics::Metrics;
use super::shared::Shared;
use crate::args::Serve;
use crate::store_url::StoreUrl;

/// The most dumps, loads and full checks at the same time.
pub const JOBS: usize = 4;

/// The most archives that are received or sent at the same time.
pub const TRANSFERS: usize = 16;

/// What all requests share.
pub struct Served {
    pub cache: AsyncSemanticCache,
    pub store: StoreUrl,
    /// The fingerprint of the embedder, and its dimension.
    pub embedder: (String, u32),
    pub access: Arc<Access>,
    pub metrics: Arc<Metrics>,
    pub activity: Arc<Activity>,
    pub limits: Limits,
    pub health: Shared<Result<Arc<Health>, String>>,
    pub gauges: Shared<Option<Vec<MetricFamily>>>,
    /// The right to the one full check.
    pub check: Arc<Semaphore>,
    pub jobs: Arc<Semaphore>,
    pub transfers: Arc<Semaphore>,
    pub idle: Idle,
    /// Something was found that may mean that the store has lost the cache.
    pub doubt: AtomicBool,
}

/// What requests may take.
pub struct Limits {
    pub body: usize,
    /// Of all JSON bodies, a permit for each byte.
    pub bodies: Arc<Semaphore>,
    pub archive: u64,
    /// Of an archive, where the operator gave it.
    pub unpacked: Option<u64>,
    pub request: Duration,
    pub job: Duration,
}

impl Limits {
    pub fn new(args: &Serve) -> Self {
        Self {
            body: args.max_body,
            bodies: Arc::new(Semaphore::new(args.max_bodies.min(Semaphore::MAX_PERMITS))),
            archive: args.max_archive,
            unpacked: args.max_unpacked,
            request: Duration::from_secs(args.request_timeout),
            job: Duration::from_secs(args.archive_timeout),
        }
    }
}

impl Served {
    /// Waits for a call of the cache, as long as a request may take.
    pub async fn call<T>(&self, call: impl Future<Output = mneme::Result<T>>) -> Result<T, Fault> {
        self.within(self.limits.request, call).await
    }

    /// Runs calls of the cache, and waits for them as long as a request may take.
    pub async fn run<T: Send + 'static>(
        &self,
        calls: impl FnOnce(&SemanticCache) -> mneme::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.call(self.cache.run(calls)).await
    }

    /// As [`run`](Self::run), for calls that only read.
    pub async fn read<T: Send + 'static>(
        &self,
        calls: impl FnOnce(&SemanticCache) -> mneme::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.call(self.cache.run_reading(calls)).await
    }

    /// Runs calls of the cache that take long, and hold this right until they end, even if
    /// nobody waits any more.
    pub async fn job<T: Send + 'static>(
        &self,
        right: Arc<OwnedSemaphorePermit>,
        calls: impl FnOnce(&SemanticCache) -> mneme::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let calls = self.cache.run(move |cache| {
            let outcome = calls(cache);
            drop(right);
            outcome
        });
        self.within(self.limits.job, calls).await
    }

    /// The right to one of the few jobs, for which a request waits in line.
    pub async fn start_job(&self) -> Result<Arc<OwnedSemaphorePermit>, Fault> {
        let right = Arc::clone(&self.jobs).acquire_owned();
        match timeout(self.limits.request, right).await {
            Ok(Ok(right)) => Ok(Arc::new(right)),
            _ => Err(Fault::busy(format!(
                "{JOBS} dumps, loads and full checks are under way; try again later"
            ))),
        }
    }

    /// The right to receive or send an archive.
    pub fn start_transfer(&self) -> Result<OwnedSemaphorePermit, Fault> {
        let right = Arc::clone(&self.transfers).try_acquire_owned();
        right.map_err(|_| {
            Fault::busy(format!(
                "{TRANSFERS} archives are being received or sent; try again later"
            ))
        })
    }

    async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = mneme::Result<T>>,
    ) -> Result<T, Fault> {
        self.idle.used();
        match timeout(patience, call).await {
            Ok(outcome) => outcome.map_err(|error| {
                if let Error::Corrupt(_) = error {
                    self.doubt.store(true, Ordering::Relaxed);
                }
                error.into()
            }),
            Err(_) if self.jobs.available_permits() < JOBS => {
                Err(Fault::held_up(patience.as_secs()))
            }
            Err(_) => Err(Fault::slow(patience.as_secs())),
        }
    }
}

/// Whether there is something to write when nobody asks.
#[derive(Default)]
pub struct Idle {
    last: Mutex<Option<Instant>>,
    is_used: AtomicBool,
}

impl Idle {
    /// The cache is called.
    pub fn used(&self) {
        self.is_used.store(true, Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether it was called after this time.
    pub fn was_used_since(&self, time: Instant) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last >= time)
    }

    /// Whether it was called, though not for so long. True once.
    pub fn begins(&self, pause: Duration) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| last.elapsed() >= pause)
            && self.is_used.swap(false, Ordering::Relaxed)
    }
}
