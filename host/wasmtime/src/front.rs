//! How a call of the cache waits. The steps of a call are written once, as a future: the blocking
//! cache runs them on the caller's thread, the asynchronous one on threads that may block.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::cache::SemanticCache;
use crate::contract::api::{self, VectorSource};
use crate::contract::policy::Candidate;
use crate::embedder::{EmbedError, Embedding, Outcome};
use crate::error::{Error, Result};
use crate::observe::Call;
use crate::verifier;

/// The most texts in one call of the embedder: each call has a time limit.
const BATCH: usize = 128;

/// What a part of a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It reads, and waits for no lock of the store.
    Reads,
    /// It may change something, and wait for a lock.
    Changes,
}

/// Who waits, and how.
pub(crate) trait Front: Sync {
    fn cache(&self) -> &SemanticCache;

    /// Runs a part of a call that may block.
    fn run<T: Send + 'static>(
        &self,
        kind: Kind,
        part: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send;

    /// Begins to embed at once, and waits for the outcome.
    fn embed(&self, texts: Vec<String>) -> impl Future<Output = Outcome> + Send;

    /// Begins to verify candidates at once, and waits for an outcome each.
    fn verify(
        &self,
        candidates: Vec<Candidate>,
    ) -> impl Future<Output = Vec<verifier::Outcome>> + Send;
}

/// Waits on the caller's thread, so its futures are done when they are first asked.
impl Front for SemanticCache {
    fn cache(&self) -> &SemanticCache {
        self
    }

    async fn run<T: Send + 'static>(
        &self,
        _: Kind,
        part: impl FnOnce(&SemanticCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        part(self)
    }

    fn embed(&self, texts: Vec<String>) -> impl Future<Output = Outcome> + Send {
        let outcome = self.pool().call_blocking(texts);
        std::future::ready(outcome)
    }

    fn verify(
        &self,
        candidates: Vec<Candidate>,
    ) -> impl Future<Output = Vec<verifier::Outcome>> + Send {
        let begun: Vec<_> = self.verifier().map_or_else(Vec::new, |verifier| {
            let each = candidates.into_iter();
            each.map(|candidate| verifier.now.begin(vec![candidate]))
                .collect()
        });
        std::future::ready(begun.into_iter().map(|begun| begun.wait()).collect())
    }
}

/// The result of a future of a blocking front.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a blocking call waits on its thread"),
    }
}

/// Embeds the texts of a call.
pub(crate) async fn embed(front: &impl Front, call: &Call, texts: Vec<String>) -> Outcome {
    let cache = front.cache();
    let started = Instant::now();
    #[cfg(feature = "tracing")]
    let span = call.enter(|| tracing::debug_span!(target: "mneme", "embed", texts = texts.len()));
    let mut outcome = Ok(Vec::with_capacity(texts.len()));
    let mut texts = texts.into_iter().peekable();
    while let Ok(embeddings) = &mut outcome
        && texts.peek().is_some()
    {
        let batch: Vec<String> = texts.by_ref().take(BATCH).collect();
        let begin = || front.embed(batch);
        #[cfg(feature = "tracing")]
        let begin = || span.in_scope(begin);
        match call.enter(begin).await {
            Ok(more) => embeddings.extend(more),
            Err(error) => outcome = Err(error),
        }
    }
    cache.watch().embedded(
        cache.pool().service().fingerprint(),
        started,
        outcome.is_err(),
    );
    outcome
}

/// The vector of a text, or the error that prevented it.
pub(crate) async fn vector_source(
    front: &impl Front,
    call: &Call,
    text: String,
) -> (VectorSource, Option<EmbedError>) {
    match embed(front, call, vec![text]).await {
        // There is one for each text.
        Ok(mut embeddings) => (embedded(embeddings.swap_remove(0)), None),
        Err(error) => {
            front.cache().report(&Error::Embedder(error.clone()));
            (VectorSource::Failed(error.message.clone()), Some(error))
        }
    }
}

/// What the embedder made, for the component.
pub(crate) fn embedded(embedding: Embedding) -> VectorSource {
    VectorSource::Embedded(api::Embedding {
        vector: embedding.vector,
        reading: embedding.reading.map(Into::into),
    })
}
