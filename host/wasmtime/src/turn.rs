//! Taking turns: one call at a time, and no call inside another.

use crate::component::Instance;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

thread_local! {
    /// The instances whose calls this thread is in, by address.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The right to call an instance, until it is dropped.
pub(crate) struct Turn<'a> {
    instance: MutexGuard<'a, Instance>,
}

impl<'a> Turn<'a> {
    /// Waits for the turn.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] if this thread already has the turn. That happens when a
    /// store, policy or clock calls the cache that called it: it would wait for itself.
    pub fn wait(instance: &'a Mutex<Instance>) -> Result<Self> {
        let address = std::ptr::from_ref(instance).addr();
        if INSIDE.with_borrow(|inside| inside.contains(&address)) {
            return Err(Error::InvalidArgument(
                "the cache was called by its own store, policy or clock, in the middle of a call; let them call it later, from another place".into(),
            ));
        }
        // A panic in another thread left the instance in a state that it knows how to
        // deal with.
        let instance = instance.lock().unwrap_or_else(PoisonError::into_inner);
        INSIDE.with_borrow_mut(|inside| inside.push(address));
        Ok(Turn { instance })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Turns end in the reverse order of their beginning.
        INSIDE.with_borrow_mut(Vec::pop);
    }
}

impl Deref for Turn<'_> {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        &self.instance
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Instance {
        &mut self.instance
    }
}
