//! [`Guarded`]: an embedder that is called as a cache calls it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{EmbedError, Embedder, Embedding, Outcome};
use crate::pool::{Limits, Pool};

/// An embedder whose calls have a time limit, run so many at a time, and fail at once while it is
/// down, as those of a cache do. What embeds without a cache takes one:
/// [`calibration`](crate::calibration), [`replay`](crate::replay) and
/// [`migration`](crate::migration).
///
/// ```
/// use std::time::Duration;
/// use mneme::embedder::{Guarded, Precomputed};
///
/// let embedder = Guarded::new(Precomputed::new("model-7", 3)).timeout(Duration::from_secs(60));
/// assert_eq!((embedder.fingerprint(), embedder.dim()), ("model-7", 3));
/// ```
pub struct Guarded {
    pool: Pool,
}

impl Guarded {
    /// Guards an embedder, with the default limits of a cache.
    pub fn new(embedder: impl Embedder + 'static) -> Self {
        Self::with(Arc::new(embedder), Limits::default())
    }

    fn with(embedder: Arc<dyn Embedder>, limits: Limits) -> Self {
        Guarded {
            pool: Pool::new(embedder, limits, Box::new(|_| {})),
        }
    }

    /// See [`Builder::embed_timeout`](crate::Builder::embed_timeout).
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        let limits = Limits {
            timeout,
            ..self.pool.limits()
        };
        Self::with(Arc::clone(self.pool.service()), limits)
    }

    /// See [`Builder::embed_concurrency`](crate::Builder::embed_concurrency).
    #[must_use]
    pub fn concurrency(self, calls: usize) -> Self {
        let limits = Limits {
            concurrency: calls,
            ..self.pool.limits()
        };
        Self::with(Arc::clone(self.pool.service()), limits)
    }

    /// See [`Embedder::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        self.pool.service().fingerprint()
    }

    /// See [`Embedder::dim`].
    pub fn dim(&self) -> u32 {
        self.pool.service().dim()
    }

    /// See [`Embedder::read`]. There is an embedding for each text.
    ///
    /// # Errors
    ///
    /// As there; and if the time is up, or the embedder is left alone.
    pub fn read(&self, texts: Vec<String>) -> Result<Vec<Embedding>, EmbedError> {
        self.pool.call_blocking(texts)
    }

    /// The calls that run at the same time.
    pub(crate) fn calls(&self) -> usize {
        self.pool.limits().concurrency
    }

    /// Embeds batches of texts, as many at the same time as may be, and returns an outcome for each.
    pub(crate) fn embed_all<'t>(
        &self,
        batches: impl Iterator<Item = &'t [String]>,
    ) -> Vec<Outcome> {
        let begun: Vec<_> = batches
            .map(|batch| self.pool.begin(batch.to_vec()))
            .collect();
        begun.into_iter().map(|outcome| outcome.wait()).collect()
    }

    /// Embeds one text.
    pub(crate) fn embed_one(&self, text: &str) -> Result<Embedding, EmbedError> {
        let embeddings = self.read(vec![text.to_owned()]);
        // There is one for each text.
        embeddings.map(|mut embeddings| embeddings.swap_remove(0))
    }
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded")
            .field("fingerprint", &self.fingerprint())
            .field("limits", &self.pool.limits())
            .finish()
    }
}
