//! What can go wrong.

use crate::contract::types::Error as ContractError;
use crate::embedder::EmbedError;
use crate::entries::Receipt;
use crate::verifier::VerifyError;

pub use mneme_component::Limit;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong with a cache. The text says what happened, where, and
/// what to do; it never contains a secret. After any error except
/// [`Closed`](Self::Closed) the cache still works.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache, or its store, is closed.
    #[error("the cache is closed; open it again to go on")]
    Closed,
    /// The store holds the vectors of another embedder.
    #[error(
        "the store was made with the embedder {stored:?} and is opened with {given:?}, whose vectors mean something else; use the first one, or another store"
    )]
    EmbedderMismatch {
        /// The fingerprint that the store was created with.
        stored: String,
        /// The fingerprint it was opened with.
        given: String,
    },
    /// A vector, or the store, has another number of dimensions.
    #[error(
        "{actual} dimensions where the store has {expected}; use the embedder that the store was made with"
    )]
    EmbedderDimension {
        /// The number of values that the store was created with.
        expected: u32,
        /// The number of values given.
        actual: u32,
    },
    /// Stored data is damaged.
    #[error("{0}")]
    Corrupt(String),
    /// This release does not know the version of the store's schema.
    #[error("{0}")]
    Schema(String),
    /// A checkpoint archive is malformed, or does not fit this cache.
    #[error("{0}")]
    Checkpoint(String),
    /// The namespace's quota leaves no room.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The vector index could not be built. The exact layer still answers.
    #[error("{0}")]
    IndexUnavailable(String),
    /// The chosen dtype cannot hold a vector.
    #[error("{0}")]
    Quantization(String),
    /// The validator refuses a response, which was not stored.
    #[error("{0}")]
    Refused(String),
    /// An argument is invalid; nothing changed.
    #[error("{0}")]
    InvalidArgument(String),
    /// The store does not offer the operation.
    #[error("{0}")]
    Unsupported(String),
    /// The store's backend failed.
    #[error("{message}")]
    Backend {
        /// What the backend said, where, and what to do.
        message: String,
        /// Whether the same call may succeed later without any repair.
        retryable: bool,
    },
    /// The embedder failed. A put that returns this has stored nothing.
    #[error("the embedder failed: {0}")]
    Embedder(#[source] EmbedError),
    /// The verifier failed, in a look-up that is a miss for it.
    #[error("the verifier failed: {0}")]
    Verifier(#[source] VerifyError),
    /// A call reached one of the component's limits and was stopped. What the store had
    /// completed by then stays, so a put may have been stored. Recent access data and
    /// counters may be lost; entries are not.
    /// [`Limit::AddressSpace`]: the component was not started, and nothing was done.
    #[error("{0}")]
    Limit(Limit),
    /// An erasure stopped half way. What it had erased is in the receipt; erase again, with the same
    /// filter, for the rest.
    #[error("the erasure stopped after {} entries: {source}; erase again for the rest", receipt.ids.len())]
    Unfinished {
        /// What was erased.
        receipt: Box<Receipt>,
        /// Why it stopped.
        source: Box<Error>,
    },
    /// The component could not be compiled or started, or it trapped, which is a bug in
    /// mneme.
    #[error("{0}")]
    Component(String),
}

impl Error {
    /// A stable name for the kind of error, in snake case, for logs and JSON. An erasure that stopped
    /// has that of its reason.
    pub fn kind(&self) -> &'static str {
        match self {
            Error::Closed => "closed",
            Error::EmbedderMismatch { .. } => "embedder_mismatch",
            Error::EmbedderDimension { .. } => "embedder_dimension",
            Error::Corrupt(_) => "corrupt",
            Error::Schema(_) => "schema",
            Error::Checkpoint(_) => "checkpoint",
            Error::QuotaExceeded(_) => "quota_exceeded",
            Error::IndexUnavailable(_) => "index_unavailable",
            Error::Quantization(_) => "quantization",
            Error::Refused(_) => "refused",
            Error::InvalidArgument(_) => "invalid_argument",
            Error::Unsupported(_) => "unsupported",
            Error::Backend { .. } => "backend",
            Error::Embedder(_) => "embedder",
            Error::Verifier(_) => "verifier",
            Error::Limit(_) => "limit",
            Error::Unfinished { source, .. } => source.kind(),
            Error::Component(_) => "component",
        }
    }

    /// Whether the same call may succeed later without any repair.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Backend { retryable, .. } => *retryable,
            Error::Embedder(error) => error.retryable,
            Error::Verifier(error) => error.retryable,
            Error::Unfinished { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
}

impl From<ContractError> for Error {
    fn from(error: ContractError) -> Self {
        match error {
            ContractError::Closed => Error::Closed,
            ContractError::EmbedderMismatch(m) => Error::EmbedderMismatch {
                stored: m.stored,
                given: m.given,
            },
            ContractError::EmbedderDimension(m) => Error::EmbedderDimension {
                expected: m.expected,
                actual: m.actual,
            },
            ContractError::Corrupt(m) => Error::Corrupt(m),
            ContractError::Schema(m) => Error::Schema(m),
            ContractError::Checkpoint(m) => Error::Checkpoint(m),
            ContractError::QuotaExceeded(m) => Error::QuotaExceeded(m),
            ContractError::IndexUnavailable(m) => Error::IndexUnavailable(m),
            ContractError::Quantization(m) => Error::Quantization(m),
            ContractError::InvalidArgument(m) => Error::InvalidArgument(m),
            ContractError::Unsupported(m) => Error::Unsupported(m),
            ContractError::Backend(e) => Error::Backend {
                message: e.message,
                retryable: e.retryable,
            },
        }
    }
}
