//! The [`Verifier`] trait: a second opinion about the candidate that is about to answer.

#[cfg(feature = "openai")]
mod http;

use crate::contract::policy::Candidate;
use crate::pool::{self, Failure, Service};
use std::sync::Arc;

pub use crate::contract::trust::Opinion;
#[cfg(feature = "openai")]
pub use http::{HttpVerifier, HttpVerifierBuilder};

/// Says whether the response of a similar entry answers a query: a language model, a cross-encoder, a
/// rule. See [`Builder::verifier`](crate::Builder::verifier).
///
/// The cache calls it on separate threads, without holding any lock, as many at a time as
/// [`Builder::verify_concurrency`](crate::Builder::verify_concurrency) allows. A call that takes longer
/// than [`Builder::verify_timeout`](crate::Builder::verify_timeout) is abandoned. After five failures
/// in a row, or one that no repetition mends, calls fail at once: for a second, and then until a call
/// that is tried after each pause succeeds. Meanwhile the exact layer goes on.
///
/// ```
/// use mneme::verifier::{Opinion, Verifier, VerifyError};
/// use mneme::Candidate;
///
/// /// Lets an answer be reused if both questions have the same last word.
/// struct LastWord;
///
/// impl Verifier for LastWord {
///     fn name(&self) -> &str {
///         "last-word"
///     }
///
///     fn verify(&self, candidate: &Candidate) -> Result<Opinion, VerifyError> {
///         let last = |text: &str| text.split_whitespace().last().map(str::to_lowercase);
///         Ok(match last(&candidate.query) == last(&candidate.entry_query) {
///             true => Opinion::Yes,
///             false => Opinion::No,
///         })
///     }
/// }
/// ```
pub trait Verifier: Send + Sync {
    /// Its name in errors.
    fn name(&self) -> &str {
        "verifier"
    }

    /// Whether the candidate's response answers the query. [`Opinion::Unknown`] leaves it to the
    /// similarity; [`Opinion::Failed`] is a failure, as an error is.
    ///
    /// # Errors
    ///
    /// [`VerifyError`] if it cannot be asked. The candidate then does not answer.
    fn verify(&self, candidate: &Candidate) -> Result<Opinion, VerifyError>;
}

impl<F> Verifier for F
where
    F: Fn(&Candidate) -> Result<Opinion, VerifyError> + Send + Sync,
{
    fn verify(&self, candidate: &Candidate) -> Result<Opinion, VerifyError> {
        self(candidate)
    }
}

/// Why a candidate could not be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct VerifyError {
    /// What happened, where, and what to do. Never contains a secret, nor the texts.
    pub message: String,
    /// True if the same call may succeed later without any repair, because a server is down,
    /// overloaded or slow.
    pub retryable: bool,
    /// True if the verifier is at fault and not the candidate: others would fail as well.
    pub down: bool,
}

impl VerifyError {
    /// An error that may go away without a repair.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: true,
            down: true,
        }
    }

    /// An error of this candidate, such as a text that is too long for a model, or an answer that is no
    /// opinion.
    pub fn of_candidate(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            down: false,
        }
    }

    /// An error that will repeat until something is repaired, such as a key that is refused.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            down: true,
        }
    }
}

impl Opinion {
    /// Its name in labels and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Opinion::Yes => "yes",
            Opinion::No => "no",
            Opinion::Unknown => "unknown",
            Opinion::Failed => "failed",
        }
    }
}

/// What verifying a candidate ends with.
pub(crate) type Outcome = pool::Outcome<dyn Verifier>;

/// The verifier with its limits.
pub(crate) type Pool = pool::Pool<dyn Verifier>;

impl Service for dyn Verifier {
    type Item = Candidate;
    type Done = Opinion;
    type Error = VerifyError;

    fn name(&self) -> String {
        format!("the verifier {:?}", Verifier::name(self))
    }

    fn call(&self, candidates: &[&Candidate]) -> Outcome {
        let each = candidates.iter();
        each.map(|candidate| match self.verify(candidate)? {
            Opinion::Failed => Err(VerifyError::transient(format!(
                "{} failed",
                Service::name(self)
            ))),
            opinion => Ok(opinion),
        })
        .collect()
    }

    fn max_calls(&self) -> usize {
        usize::MAX
    }

    /// A call judges one candidate.
    fn max_call_bytes(&self) -> usize {
        0
    }

    fn bytes(candidate: &Candidate) -> usize {
        candidate.response.len().max(1)
    }
}

impl Failure for VerifyError {
    fn of_service(message: String, retryable: bool) -> Self {
        VerifyError {
            message,
            retryable,
            down: true,
        }
    }

    fn is_down(&self) -> bool {
        self.down
    }

    fn is_retryable(&self) -> bool {
        self.retryable
    }
}

impl<V: Verifier + ?Sized> Verifier for Arc<V> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn verify(&self, candidate: &Candidate) -> Result<Opinion, VerifyError> {
        (**self).verify(candidate)
    }
}

/// The JSON object that describes a candidate, for a verifier outside of this program: `namespace`,
/// `query`, `entry_query`, `response`, `metadata`, `similarity` and `age_seconds`.
///
/// ```
/// # use mneme::Candidate;
/// # let candidate = Candidate { id: 7, namespace: "default".into(), query: "a?".into(),
/// #     entry_query: "A?".into(), response: "r".into(), metadata: "{}".into(), similarity: 0.96,
/// #     created_at: 100, age_seconds: 3 };
/// let json = mneme::verifier::describe(&candidate);
/// assert_eq!((&json["entry_query"], &json["similarity"]), (&"A?".into(), &0.96.into()));
/// ```
pub fn describe(candidate: &Candidate) -> serde_json::Value {
    // Metadata is one JSON object, which the cache has checked.
    let metadata: serde_json::Value = serde_json::from_str(&candidate.metadata).unwrap_or_default();
    serde_json::json!({
        "namespace": candidate.namespace,
        "query": candidate.query,
        "entry_query": candidate.entry_query,
        "response": candidate.response,
        "metadata": metadata,
        "similarity": digits(candidate.similarity),
        "age_seconds": candidate.age_seconds,
    })
}

/// A number with the digits of the f32, not of the nearest f64.
fn digits(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

/// The opinion that a text begins with: `yes`, `no` or `unknown`, in any case. What a reasoning model
/// thinks (`<think>...</think>`) is passed over. A text that has another of these words is none.
///
/// ```
/// use mneme::verifier::{Opinion, parse_opinion};
///
/// assert_eq!(parse_opinion("**No**, the units differ."), Some(Opinion::No));
/// assert_eq!(parse_opinion("<think>yes or no?</think> Yes."), Some(Opinion::Yes));
/// assert_eq!(parse_opinion("Nobody knows"), None);
/// assert_eq!(parse_opinion("yes, no or unknown?"), None);
/// ```
pub fn parse_opinion(text: &str) -> Option<Opinion> {
    let text = text.trim_start();
    let text = match text.strip_prefix("<think>") {
        Some(thought) => thought.split_once("</think>")?.1,
        None => text,
    };
    let all = [Opinion::Yes, Opinion::No, Opinion::Unknown];
    let opinion = |word: &str| {
        let mut all = all.into_iter();
        all.find(|opinion| opinion.name().eq_ignore_ascii_case(word))
    };
    let words = text.split(|c: char| !c.is_alphanumeric());
    let mut words = words.filter(|word| !word.is_empty());
    let said = opinion(words.next()?)?;
    let differs = |word: &str| opinion(word).is_some_and(|other| other != said);
    (!words.any(differs)).then_some(said)
}
