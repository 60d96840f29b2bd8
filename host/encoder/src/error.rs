//! What can go wrong with a model or a text.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;

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

thread_local! {
    /// Whether what panics here becomes an error.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a library on files that may be hostile: where it gives up, that is an error, and this is what it
/// said. Nothing is printed.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static QUIET: Once = Once::new();
    if !thread::panicking() {
        QUIET.call_once(|| panic::set_hook(quiet(panic::take_hook())));
    }
    let before = IS_GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_GUARDED.set(before);
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it gave up".to_owned())
    })
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// A hook that tells of no panic that becomes an error.
fn quiet(usual: Hook) -> Hook {
    Box::new(move |panic| {
        let thread = thread::current();
        // The engine's own threads pass their panics on to the caller.
        let is_engine = thread.name().is_some_and(|name| name.starts_with("rten-"));
        if !is_engine && !IS_GUARDED.try_with(Cell::get).unwrap_or(false) {
            usual(panic);
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_panics_that_become_errors_are_quiet() {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        guarded(|| ()).unwrap();
        let before = panic::take_hook();
        panic::set_hook(quiet(Box::new(move |_| {
            tell.fetch_add(1, Ordering::SeqCst);
        })));
        assert_eq!(
            guarded(|| panic!("gave {}", "up")),
            Err::<(), _>("gave up".into())
        );
        let inner = guarded(|| guarded(|| panic!("inner")));
        assert_eq!(inner, Ok(Err::<(), _>("inner".into())));
        assert_eq!(told.load(Ordering::SeqCst), 0);
        let panicked = thread::spawn(|| panic!("outside")).join();
        panic::set_hook(before);
        assert!(panicked.is_err());
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }
}
