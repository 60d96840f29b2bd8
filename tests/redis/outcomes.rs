//! What the calls of a store are expected to return.

use mneme::store::{BackendError, Result, StoreError};
use std::fmt::Debug;

/// The error of a backend that failed; it names the store, and never the password.
#[track_caller]
pub fn failure<T: Debug>(outcome: Result<T>) -> BackendError {
    match outcome {
        Err(StoreError::Backend(error)) => {
            let text = &error.message;
            assert!(
                text.starts_with("Redis store ") && text.contains("127.0.0.1:"),
                "{text}"
            );
            assert!(!text.contains("secret"), "{text}");
            error
        }
        other => panic!("{other:?}"),
    }
}

/// Fails unless it is a backend error with this text that is retryable or not.
#[track_caller]
pub fn fails<T: Debug>(outcome: Result<T>, part: &str, retryable: bool) {
    let error = failure(outcome);
    assert!(
        error.message.contains(part),
        "{} lacks {part}",
        error.message
    );
    assert_eq!(error.retryable, retryable, "{}", error.message);
}
