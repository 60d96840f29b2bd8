//! Asking the verifier about candidates: before one answers, or afterwards.

use super::{SemanticCache, WeakSemanticCache};
use crate::contract::policy::Candidate;
use crate::contract::trust::{Opinion, Verification};
use crate::error::{Error, Result};
use crate::front::Front;
use crate::observe::{Call, Watch};
use crate::pool::{Caller, Limits};
use crate::verifier::{Outcome, Pool, Verifier, VerifyError};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// What the verifier says of each candidate, in order, and why it failed.
pub(super) async fn verify(
    front: &impl Front,
    call: &Call,
    candidates: Vec<Candidate>,
) -> Vec<(Verification, Option<VerifyError>)> {
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
    each.map(|((id, created_at), outcome)| {
        let (opinion, error) = opinion(front.cache(), outcome, started);
        let verification = Verification {
            id,
            created_at,
            opinion,
        };
        (verification, error)
    })
    .collect()
}

/// What an outcome says; observers are told, and of a failure who listens to errors.
fn opinion(
    cache: &SemanticCache,
    outcome: Outcome,
    started: Instant,
) -> (Opinion, Option<VerifyError>) {
    // There is one for each candidate.
    let (opinion, error) = match outcome.map(|said| said.first().copied()) {
        Ok(said) => (said.unwrap_or(Opinion::Failed), None),
        Err(error) => {
            cache.report(&Error::Verifier(error.clone()));
            (Opinion::Failed, Some(error))
        }
    };
    cache.watch().verified(opinion, started);
    (opinion, error)
}

impl SemanticCache {
    /// Stores the answer of an entry under another query of its namespace and context, for the exact
    /// layer only: for a program that has found out itself that it is the answer. Age, lifetime, tags and
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
        let Some(verifier) = self.verifier() else {
            return;
        };
        let question = Question {
            query: doubt.query.clone(),
            namespace: doubt.namespace.clone(),
            context,
            id: doubt.id,
            created_at: doubt.created_at,
        };
        if verifier.begin_later(&question) {
            let later = Later {
                cache: self.downgrade(),
                started: Instant::now(),
                question,
            };
            verifier.later.submit(vec![doubt], Box::new(later));
        }
    }
}

/// Questions that wait to be verified later, at most.
const MOST_LATER: usize = 256;
/// Calls of the verifier for them, at the same time.
const LATER_CALLS: usize = 2;

/// The verifier, with its limits: for look-ups that wait, and for questions that have time.
pub(crate) struct Verifying {
    pub now: Pool,
    later: Pool,
    pending: Mutex<BTreeSet<Question>>,
}

/// A query that may be linked to a version of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    query: String,
    namespace: String,
    context: String,
    id: u64,
    created_at: u64,
}

impl Verifying {
    pub fn new(verifier: Box<dyn Verifier>, limits: Limits, watch: Arc<Watch>) -> Self {
        let verifier: Arc<dyn Verifier> = Arc::from(verifier);
        let later = Limits {
            concurrency: limits.concurrency.min(LATER_CALLS),
            ..limits
        };
        let tell = move |error: Option<&VerifyError>| watch.verifier(error);
        Verifying {
            now: Pool::new(Arc::clone(&verifier), limits, Box::new(tell)),
            later: Pool::new(verifier, later, Box::new(|_| {})),
            pending: Mutex::default(),
        }
    }

    /// Whether a question is to be verified later: it does not wait yet, and few do.
    fn begin_later(&self, question: &Question) -> bool {
        let mut pending = self.pending.lock();
        pending.len() < MOST_LATER && pending.insert(question.clone())
    }

    fn end_later(&self, question: &Question) {
        self.pending.lock().remove(question);
    }
}

/// Who hears of a question that was verified later.
struct Later {
    cache: WeakSemanticCache,
    started: Instant,
    question: Question,
}

impl Caller<dyn Verifier> for Later {
    /// Locks nothing and holds no handle: the pool asks under its lock.
    fn waits(&self) -> bool {
        self.cache.is_alive()
    }

    fn tell(self: Box<Self>, outcome: Outcome) {
        let Some(cache) = self.cache.upgrade() else {
            return;
        };
        let Question {
            query,
            namespace,
            context,
            id,
            created_at,
        } = &self.question;
        let (opinion, _) = opinion(&cache, outcome, self.started);
        if opinion == Opinion::Yes {
            match cache.link(query, namespace, context, *id, *created_at) {
                Ok(_) | Err(Error::Closed) => {}
                Err(error) => cache.report(&error),
            }
        }
        if let Some(verifier) = cache.verifier() {
            verifier.end_later(&self.question);
        }
    }
}
