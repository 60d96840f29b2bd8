//! How a case passes, fails or is skipped.

use std::fmt::Debug;

use crate::contract::{Entry, Error, Failure};
use crate::show;

/// Why a case ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// The store did something else than the contract demands.
    Failed(Failure),
    /// The case does not apply, for this reason.
    Skipped(String),
}

/// What the steps of a case return.
pub type Checked<T = ()> = Result<T, Stop>;

/// A failure: what the contract demands, and what the store did.
pub fn failed(expected: impl Into<String>, actual: impl Into<String>) -> Stop {
    Stop::Failed(Failure {
        expected: expected.into(),
        actual: actual.into(),
    })
}

/// Fails unless the condition holds.
pub fn check(holds: bool, expected: impl Into<String>, actual: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(failed(expected, actual()))
}

/// Fails unless both values are the same.
pub fn equal<A, B>(demand: &str, actual: A, expected: B) -> Checked
where
    A: Debug + PartialEq<B>,
    B: Debug,
{
    check(
        actual == expected,
        format!("{demand}: {}", show::value(&expected)),
        || show::value(&actual),
    )
}

/// Fails unless `actual` is `expected`, bit for bit.
pub fn same_entry(demand: &str, actual: Option<&Entry>, expected: &Entry) -> Checked {
    let Some(actual) = actual else {
        return Err(failed(
            demand,
            format!("{} was not found", show::key(expected)),
        ));
    };
    match show::difference(expected, actual) {
        None => Ok(()),
        Some(difference) => Err(failed(demand, difference)),
    }
}

/// Fails unless both lists hold the same entries in the same order, bit for bit.
pub fn same_entries(demand: &str, actual: &[Entry], expected: &[Entry]) -> Checked {
    let ids = |entries: &[Entry]| entries.iter().map(|entry| entry.id).collect::<Vec<_>>();
    equal(
        &format!("{demand}, with the ids"),
        ids(actual),
        ids(expected),
    )?;
    actual
        .iter()
        .zip(expected)
        .try_for_each(|(actual, expected)| {
            same_entry(demand, Some(actual), expected).about(|| show::key(expected))
        })
}

/// The kinds of error that the cases expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `closed`
    Closed,
    /// `invalid-argument`
    InvalidArgument,
    /// `unsupported`
    Unsupported,
    /// `corrupt`
    Corrupt,
    /// `schema`
    Schema,
    /// `embedder-mismatch`
    EmbedderMismatch,
    /// `embedder-dimension`
    EmbedderDimension,
    /// `checkpoint`
    Checkpoint,
    /// Any other one.
    Other,
}

impl Kind {
    /// The kind of an error.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::Closed => Self::Closed,
            Error::InvalidArgument(_) => Self::InvalidArgument,
            Error::Unsupported(_) => Self::Unsupported,
            Error::Corrupt(_) => Self::Corrupt,
            Error::Schema(_) => Self::Schema,
            Error::EmbedderMismatch(_) => Self::EmbedderMismatch,
            Error::EmbedderDimension(_) => Self::EmbedderDimension,
            Error::Checkpoint(_) => Self::Checkpoint,
            _ => Self::Other,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::InvalidArgument => "invalid-argument",
            Self::Unsupported => "unsupported",
            Self::Corrupt => "corrupt",
            Self::Schema => "schema",
            Self::EmbedderMismatch => "embedder-mismatch",
            Self::EmbedderDimension => "embedder-dimension",
            Self::Checkpoint => "checkpoint",
            Self::Other => "another error",
        }
    }
}

/// Fails unless `outcome` is an error of one of these kinds.
pub fn refused<T: Debug>(doing: &str, outcome: Result<T, Error>, kinds: &[Kind]) -> Checked {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let expected = format!("{doing} returns the error {}", names.join(" or "));
    match outcome {
        Err(error) if kinds.contains(&Kind::of(&error)) => Ok(()),
        Err(error) => Err(failed(expected, show::error(&error))),
        Ok(value) => Err(failed(
            expected,
            format!("it succeeded and returned {}", show::value(&value)),
        )),
    }
}

/// Says what a step was about, for steps that are taken for many values.
pub trait About {
    /// Puts `subject` in front of what was expected.
    fn about(self, subject: impl FnOnce() -> String) -> Self;
}

impl<T> About for Checked<T> {
    fn about(self, subject: impl FnOnce() -> String) -> Self {
        self.map_err(|stop| match stop {
            Stop::Failed(failure) => Stop::Failed(Failure {
                expected: format!("{}: {}", subject(), failure.expected),
                ..failure
            }),
            skipped @ Stop::Skipped(_) => skipped,
        })
    }
}
