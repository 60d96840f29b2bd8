//! Calls that somebody gives up while a store is at work.
//!
//! Whoever may give up runs the call in [`Cancel::during`]. A store whose operation takes long asks
//! [`is_cancelled`] now and then, on the thread of the call, and fails without a change.
//!
//! ```
//! use mneme_store::cancel::{Cancel, is_cancelled};
//!
//! let cancel = Cancel::default();
//! cancel.during(|| {
//!     assert!(!is_cancelled());
//!     // Anywhere else:
//!     cancel.cancel();
//!     assert!(is_cancelled());
//! });
//! assert!(!is_cancelled());
//! ```

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    static CURRENT: RefCell<Option<Cancel>> = const { RefCell::new(None) };
}

/// A wish to end calls. Its clones are the same wish.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Ends the calls that run in [`during`](Self::during), now and from now on.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Runs `work`, which this ends.
    pub fn during<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Restore(Option<Cancel>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }
}

/// Whether the call that runs on this thread was given up.
pub fn is_cancelled() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(Cancel::is_cancelled))
}
