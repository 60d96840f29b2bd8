//! Taking turns: one call at a time, and no call inside another.

use crate::component::Instance;
use crate::error::{Error, Result};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use parking_lot::{Mutex, MutexGuard};

/// Why a turn has its instance.
const HELD: &str = "it is given back when the turn is dropped";

thread_local! {
    /// The instances whose calls this thread is in, by address.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The right to call an instance, until it is dropped.
pub(crate) struct Turn<'a> {
    /// None while it is dropped.
    instance: Option<MutexGuard<'a, Instance>>,
}

impl<'a> Turn<'a> {
    /// Waits for the turn. Callers are served in the order in which they came.
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
        // A panic in another thread leaves the instance in a state that it knows how to deal with.
        let instance = instance.lock();
        INSIDE.with_borrow_mut(|inside| inside.push(address));
        Ok(Turn {
            instance: Some(instance),
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Turns end in the reverse order of their beginning.
        INSIDE.with_borrow_mut(Vec::pop);
        if let Some(instance) = self.instance.take() {
            // Whoever waits longest is next. Otherwise this thread would take it again and again.
            MutexGuard::unlock_fair(instance);
        }
    }
}

impl Deref for Turn<'_> {
    type Target = Instance;

    fn deref(&self) -> &Instance {
        self.instance.as_deref().expect(HELD)
    }
}

impl DerefMut for Turn<'_> {
    fn deref_mut(&mut self) -> &mut Instance {
        self.instance.as_deref_mut().expect(HELD)
    }
}
