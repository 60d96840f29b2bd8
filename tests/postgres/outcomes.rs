//! What the calls of a store are expected to return.

use mneme::store::{BackendError, Result, StoreError};
use mneme_tests::servers::postgres::PASSWORD;
use std::fmt::Debug;

/// An error of the backend, which names the store and does not tell the password.
#[track_caller]
pub fn backend<T: Debug>(outcome: Result<T>) -> BackendError {
    match outcome {
        Err(StoreError::Backend(error)) => {
            assert!(!error.message.contains(PASSWORD), "{error:?}");
            assert!(error.message.contains("Postgres store"), "{error:?}");
            error
        }
        other => panic!("{other:?}"),
    }
}

/// The text of a failure after which the same call may succeed.
#[track_caller]
pub fn passing<T: Debug>(outcome: Result<T>) -> String {
    let error = backend(outcome);
    assert!(error.retryable, "{error:?}");
    error.message
}

/// The text of a failure that no repetition helps against.
#[track_caller]
pub fn lasting<T: Debug>(outcome: Result<T>) -> String {
    let error = backend(outcome);
    assert!(!error.retryable, "{error:?}");
    error.message
}
