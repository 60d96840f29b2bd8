//! Making the contract's errors.

use crate::types::{DimensionMismatch, Error};

/// The result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// An [`Error::InvalidArgument`].
pub fn invalid(message: impl Into<String>) -> Error {
    Error::InvalidArgument(message.into())
}

/// An [`Error::EmbedderDimension`].
pub fn dimension(expected: u32, actual: usize) -> Error {
    Error::EmbedderDimension(DimensionMismatch {
        expected,
        actual: u32::try_from(actual).unwrap_or(u32::MAX),
    })
}

/// Whether the same call may succeed later.
pub fn is_retryable(error: &Error) -> bool {
    matches!(error, Error::Backend(failure) if failure.retryable)
}

/// The error as a sentence, for reports. Hosts word errors themselves.
pub fn describe(error: &Error) -> String {
    match error {
        Error::Closed => "the cache is closed".into(),
        Error::EmbedderMismatch(m) => format!(
            "the store was made with the embedder {:?}, not {:?}",
            m.stored, m.given
        ),
        Error::EmbedderDimension(m) => {
            format!("a vector has {} values instead of {}", m.actual, m.expected)
        }
        Error::Backend(e) => e.message.clone(),
        Error::Corrupt(m)
        | Error::Schema(m)
        | Error::Checkpoint(m)
        | Error::QuotaExceeded(m)
        | Error::IndexUnavailable(m)
        | Error::Quantization(m)
        | Error::InvalidArgument(m)
        | Error::Unsupported(m) => m.clone(),
    }
}
