//! Asking the verifier about candidates: before one answers, or afterwards.

use super::{SemanticCache, WeakSemanticCache};
use crate::contract::policy::Candidate;
use crate::contract::trust::{Opinion, Verification};
use crate::error::{Error, Result};
use crate::front::Front;
use crate::observe::Call;
use crate::pool::Caller;
use crate::verifier::{Outcome, Verifier};
use std::time::Instant;

/// What the verifier says of each candidate, in order.
pub(super) async fn verify(
    front: &impl Front,
    call: &Call,
    candidates: Vec<Candidate>,
) -> Vec<Verification> {
    let started = Instant::now();
    #[cfg(feature = "tracing")]
    let span = call
        .enter(|| tracing::debug_span!(target: "mneme", "verify", candidates = candidates.len()));
    let named: Vec<_> = candidates
        .iter()
        .map(|candidate| (candidate.id, candidate.created_at))
        .collect();
    let begin = || front.verify(candidates);
    #[cfg(feature = "tracing")]
    let begin = || span.in_scope(begin);
    let outcomes = call.enter(begin).await;
    let each = named.into_iter().zip(outcomes);
    each.map(|((id, created_at), outcome)| Verification {
        id,
        created_at,
        opinion: opinion(front.cache(), outcome, started),
    })
    .collect()
}

/// What an outcome says; observers are told, and of a failure who listens to errors.
fn opinion(cache: &SemanticCache, outcome: Outcome, started: Instant) -> Opinion {
    // There is one for each candidate.
    let opinion = match outcome.map(|said| said.first().copied()) {
        Ok(said) => said.unwrap_or(Opinion::Failed),
        Err(error) => {
            cache.report(&Error::Verifier(error));
            Opinion::Failed
        }
    };
    cache.watch().verified(opinion, started);
    opinion
}

impl SemanticCache {
    /// Stores the answer of an entry under another query of its namespace and context, for the exact
    /// layer only: for a program that has found out itself that it is the answer. Lifetime, tags and
    /// metadata are the entry's, and the copy does not follow its later changes. Returns the new entry's
    /// id; none if nothing was stored: the query has an answer by now, or the entry was replaced, deleted
    /// or has expired.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], [`Error::QuotaExceeded`] and what the store returns.
    pub fn link(
        &self,
        query: &str,
        namespace: &str,
        context: &str,
        id: u64,
        created_at: u64,
    ) -> Result<Option<u64>> {
        let linked = self.call("link", Some(namespace), |guest, store| {
            guest.call_link(store, query, namespace, context, id, created_at)
        })?;
        if linked.is_some() {
            self.has_stored();
        }
        Ok(linked)
    }

    /// Verifies the candidate of a look-up that has missed, and links the query to it if it is the
    /// answer. Nobody waits.
    pub(super) fn verify_later(&self, context: String, doubt: Candidate) {
        if let Some(verifier) = self.verifier() {
            let later = Later {
                cache: self.downgrade(),
                started: Instant::now(),
                query: doubt.query.clone(),
                namespace: doubt.namespace.clone(),
                context,
                id: doubt.id,
                created_at: doubt.created_at,
            };
            verifier.submit(vec![doubt], Box::new(later));
        }
    }
}

/// A query that may be linked to an entry.
struct Later {
    cache: WeakSemanticCache,
    started: Instant,
    query: String,
    namespace: String,
    context: String,
    id: u64,
    created_at: u64,
}

impl Caller<dyn Verifier> for Later {
    fn waits(&self) -> bool {
        self.cache.upgrade().is_some_and(|cache| !cache.is_closed())
    }

    fn tell(self: Box<Self>, outcome: Outcome) {
        let Some(cache) = self.cache.upgrade() else {
            return;
        };
        if opinion(&cache, outcome, self.started) != Opinion::Yes {
            return;
        }
        let Later {
            query,
            namespace,
            context,
            id,
            created_at,
            ..
        } = &*self;
        if let Err(error) = cache.link(query, namespace, context, *id, *created_at) {
            cache.report(&error);
        }
    }
}
