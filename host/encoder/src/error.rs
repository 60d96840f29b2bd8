//! What can go wrong with a model or a text.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Why a model could not be opened, or a text not be encoded. Never contains the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that the model needs is not there, or cannot be read.
    #[error("{}: {message}", path.display())]
    Missing {
        /// The file or the folder.
        path: PathBuf,
        /// What is missing, and how to get it.
        message: String,
    },
    /// A file is damaged, or contradicts another.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        message: String,
    },
    /// A file is what it should be, and asks for something that is not built.
    #[error("{}: {message}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it asks for, and what to use instead.
        message: String,
    },
    /// An option has no use for this model.
    #[error("{option}: {message}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong, and which values are right.
        message: String,
    },
    /// A text has nothing to encode.
    #[error(
        "text {at} of {of} is blank and has no meaning to embed; ask a question that has words"
    )]
    Blank {
        /// Its place, from 1.
        at: usize,
        /// The number of texts.
        of: usize,
    },
    /// The model gave no vector for a text.
    #[error("the model failed: {0}; if it persists, get the model again, or use another one")]
    Engine(String),
}

impl Error {
    pub(crate) fn missing(path: &Path, message: impl Into<String>) -> Self {
        Self::Missing {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn invalid(path: &Path, message: impl Into<String>) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(crate) fn unsupported(path: &Path, message: impl Into<String>) -> Self {
        Self::Unsupported {
            path: path.to_owned(),
            message: message.into(),
        }
    }
}

/// Runs a library on files that may be hostile: where it gives up, that is an error, and this is what it
/// said.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it gave up".to_owned())
    })
}
