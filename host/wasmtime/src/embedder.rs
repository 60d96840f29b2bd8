//! The [`Embedder`] trait, which turns text into vectors, and the embedders that
//! ship with this crate.
//!
//! | embedder | feature | runs where | needs |
//! |---|---|---|---|
//! | [`MiniLm`] | `minilm` (default) | in this process, on the CPU | nothing; the weights are part of the program |
//! | [`Model`] | `model` (default) | in this process, on the CPU | the folder of a sentence model |
//! | [`OpenAi`] | `openai` | behind any OpenAI-compatible `/embeddings` API | a URL, a model, often a key |
//! | [`Precomputed`] | always there | nowhere | the caller passes each vector |

mod guarded;
#[cfg(feature = "minilm")]
pub mod minilm;
#[cfg(feature = "model")]
pub mod model;
#[cfg(feature = "openai")]
pub mod openai;

use crate::contract::api;
use crate::pool::{self, Failure, Service};
use std::sync::Arc;

pub use guarded::Guarded;

#[cfg(feature = "minilm")]
pub use minilm::MiniLm;
#[cfg(feature = "model")]
pub use model::{Model, ModelOptions};
#[cfg(feature = "openai")]
pub use openai::{OpenAi, OpenAiBuilder};

/// The most values of a vector that a cache takes: the integer sums of its index rely on it. A
/// store takes more, [`checks::MAX_DIM`](crate::store::checks::MAX_DIM), as it computes nothing.
pub const MAX_DIM: u32 = 8192;

/// Turns text into vectors whose cosine tells how close two texts are in meaning.
///
/// The cache calls it on separate threads, without holding any lock, as many at a time as
/// [`Builder::embed_concurrency`](crate::Builder::embed_concurrency) and
/// [`max_calls`](Self::max_calls) allow. A call that takes longer than
/// [`Builder::embed_timeout`](crate::Builder::embed_timeout) is abandoned. [`Guarded`] calls it in
/// the same way for everything else: calibration, replay, migration. After five failures
/// in a row that are the embedder's ([`EmbedError::down`]), or one that no repetition mends, calls
/// fail at once: for a second, and then until a call that is tried after each pause succeeds. The
/// pauses grow to a minute. Meanwhile the exact layer goes on.
///
/// ```
/// use mneme::embedder::{EmbedError, Embedder};
///
/// /// Counts the letters a to z.
/// struct Letters;
///
/// impl Embedder for Letters {
///     fn fingerprint(&self) -> &str {
///         "letters-1"
///     }
///
///     fn dim(&self) -> u32 {
///         26
///     }
///
///     fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
///         texts
///             .iter()
///             .map(|text| {
///                 let mut counts = vec![0.0; 26];
///                 for letter in text.bytes().filter(u8::is_ascii_lowercase) {
///                     counts[usize::from(letter - b'a')] += 1.0;
///                 }
///                 if counts.iter().all(|&n| n == 0.0) {
///                     return Err(EmbedError::permanent("letters: the text has no letters"));
///                 }
///                 Ok(counts)
///             })
///             .collect()
///     }
/// }
///
/// assert_eq!(Letters.embed(&["abba"]).unwrap()[0][..2], [2.0, 2.0]);
/// ```
pub trait Embedder: Send + Sync {
    /// Names the model and its version, 1 to 1,024 bytes. It is stored with the
    /// data, and data of another fingerprint is refused. Change it exactly when
    /// old and new vectors must not be compared.
    fn fingerprint(&self) -> &str;

    /// The number of values of each vector, 1 to 8,192.
    fn dim(&self) -> u32;

    /// One vector for each text, in the order of the texts: [`dim`](Self::dim)
    /// finite values, not all zero. The same text gives the same vector. Texts are
    /// normalised queries: case-folded, white space collapsed, never blank. An empty
    /// list of texts gives an empty list of vectors.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] if any of the texts could not be embedded.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError>;

    /// As [`embed`](Self::embed), with how much of each text the vector stands for. A cache answers
    /// texts that were not read as a whole, or hardly understood, by the exact layer only. By
    /// default nothing is known of that.
    ///
    /// # Errors
    ///
    /// As there.
    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        let vectors = self.embed(texts)?;
        Ok(vectors.into_iter().map(Embedding::from).collect())
    }

    /// The most calls at the same time that are of use, at least 1. Default: no limit, as for a
    /// server. An embedder on this machine's cores names their number: with more calls each would
    /// only take longer.
    fn max_calls(&self) -> usize {
        usize::MAX
    }

    /// The most bytes of text in one call, so that it ends well within the time limit of calls. More
    /// texts go in several calls; a text that is longer goes alone. Default: no limit, as for a
    /// server. An embedder on this machine's cores names what they do in about a second.
    fn max_call_bytes(&self) -> usize {
        usize::MAX
    }
}

/// A vector, and how much of the text it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// The vector.
    pub vector: Vec<f32>,
    /// How much was read, if the embedder knows.
    pub reading: Option<Reading>,
}

impl From<Vec<f32>> for Embedding {
    fn from(vector: Vec<f32>) -> Self {
        Self {
            vector,
            reading: None,
        }
    }
}

impl From<Reading> for api::Reading {
    fn from(reading: Reading) -> Self {
        api::Reading {
            tokens: reading.tokens,
            tokens_read: reading.tokens_read,
            tokens_unknown: reading.tokens_unknown,
        }
    }
}

/// How much of a text an embedder has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The tokens of the text. Of a very long one it may be an estimate: the encoders of this crate look at
    /// the first 64 KiB.
    pub tokens: u32,
    /// How many of them were read: fewer where the text is longer than the model reads.
    pub tokens_read: u32,
    /// How many of those read the model does not know.
    pub tokens_unknown: u32,
}

impl<E: Embedder + ?Sized> Embedder for Arc<E> {
    fn fingerprint(&self) -> &str {
        (**self).fingerprint()
    }

    fn dim(&self) -> u32 {
        (**self).dim()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        (**self).embed(texts)
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        (**self).read(texts)
    }

    fn max_calls(&self) -> usize {
        (**self).max_calls()
    }

    fn max_call_bytes(&self) -> usize {
        (**self).max_call_bytes()
    }
}

impl<E: Embedder + ?Sized> Embedder for Box<E> {
    fn fingerprint(&self) -> &str {
        (**self).fingerprint()
    }

    fn dim(&self) -> u32 {
        (**self).dim()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        (**self).embed(texts)
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        (**self).read(texts)
    }

    fn max_calls(&self) -> usize {
        (**self).max_calls()
    }

    fn max_call_bytes(&self) -> usize {
        (**self).max_call_bytes()
    }
}

/// Why a text could not be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EmbedError {
    /// What happened, where, and what to do. Never contains a secret, nor the text.
    pub message: String,
    /// True if the same call may succeed later without any repair, because a server is
    /// down, overloaded or slow.
    pub retryable: bool,
    /// True if the embedder is at fault and not the text: other texts would fail as well.
    pub down: bool,
}

impl EmbedError {
    /// An error of these texts, which repeats whenever they are embedded.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            down: false,
        }
    }

    /// An error of the embedder that may go away without a repair.
    pub fn transient(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: true,
            down: true,
        }
    }

    /// An error of the embedder that will repeat with any text until something is repaired, such as
    /// a key that is refused.
    pub fn down(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            retryable: false,
            down: true,
        }
    }
}

/// What embedding texts ends with.
pub(crate) type Outcome = pool::Outcome<dyn Embedder>;

/// Holds the embedder to its promise of a vector for each text.
impl Service for dyn Embedder {
    type Item = String;
    type Done = Embedding;
    type Error = EmbedError;

    fn name(&self) -> String {
        format!("the embedder {:?}", self.fingerprint())
    }

    fn call(&self, texts: &[&String]) -> Outcome {
        let texts: Vec<&str> = texts.iter().map(|text| text.as_str()).collect();
        let embeddings = self.read(&texts)?;
        if embeddings.len() != texts.len() {
            return Err(EmbedError::down(format!(
                "the embedder {:?} returned {} vectors for {} texts; it must return one for each",
                self.fingerprint(),
                embeddings.len(),
                texts.len()
            )));
        }
        Ok(embeddings)
    }

    fn max_calls(&self) -> usize {
        Embedder::max_calls(self)
    }

    fn max_call_bytes(&self) -> usize {
        Embedder::max_call_bytes(self)
    }

    fn bytes(text: &String) -> usize {
        text.len()
    }
}

impl Failure for EmbedError {
    fn of_service(message: String, retryable: bool) -> Self {
        EmbedError {
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

/// Stands for an embedder that runs elsewhere. It names the vectors, and the caller passes a
/// vector with every look-up and `put`.
///
/// Without a vector, a look-up misses after the exact layer, and a `put` is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precomputed {
    fingerprint: String,
    dim: u32,
}

impl Precomputed {
    /// Vectors of `dim` values, made by the model that `fingerprint` names. Opening a
    /// cache checks both arguments.
    pub fn new(fingerprint: impl Into<String>, dim: u32) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            dim,
        }
    }
}

impl Embedder for Precomputed {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        Err(EmbedError::permanent(format!(
            "no embedder runs here for the vectors of {:?}; pass the embedding ({} values) with the request",
            self.fingerprint, self.dim
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precomputed_never_embeds() {
        let embedder: Box<dyn Embedder> = Box::new(Arc::new(Precomputed::new("model-7", 3)));
        assert_eq!((embedder.fingerprint(), embedder.dim()), ("model-7", 3));
        assert_eq!(embedder.embed(&[]), Ok(Vec::new()));
        let error = embedder.embed(&["text"]).unwrap_err();
        assert!(!error.retryable);
        assert!(
            error.message.contains("pass the embedding (3 values)"),
            "{error}"
        );
    }
}
