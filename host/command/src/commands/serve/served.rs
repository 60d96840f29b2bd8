//! What all requests share.

use std::sync::Arc;
use std::time::Instant;

use mneme::{AsyncSemanticCache, Health};
use tokio::sync::Mutex;

use super::access::Access;
use super::metrics::Metrics;

/// What all requests share.
pub struct Served {
    pub cache: AsyncSemanticCache,
    pub access: Arc<Access>,
    pub metrics: Arc<Metrics>,
    pub health: HealthReports,
    pub max_body: usize,
    pub max_archive: u64,
}

/// The last report on health.
#[derive(Default)]
pub struct HealthReports(pub Mutex<Option<(Instant, Arc<Health>)>>);
