//! Taking turns: one call at a time, and no call inside another.
//!
//! A store may find its data locked, by another process say. It waits for the lock for a moment
//! within the turn, and whoever needs it asks again, outside of which others have their turns. Of all who
//! wait one asks, and the others stand behind.

use crate::component::Instance;
use crate::error::{Error, Result};
use crate::imports::State;
use crate::observe::StoreCall;
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use mneme_store::locks;
use parking_lot::{Mutex, MutexGuard};

/// How long a store waits for a lock in a turn, and how long others then have theirs.
const LOCK_WAIT: Duration = Duration::from_millis(20);

/// How long those wait who stand behind the one who asks, before they ask too.
const BEHIND: Duration = Duration::from_millis(250);

/// Why a turn has its instance.
const HELD: &str = "it is given back when the turn is dropped";

thread_local! {
    /// The caches whose calls this thread is in.
    static INSIDE: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Does work in a turn, or in several while the store finds its data locked. `asking` is held by
/// the one who asks again and again. `cache` tells caches apart.
pub(crate) fn take<T>(
    instance: &Mutex<Instance>,
    asking: &Mutex<()>,
    cache: usize,
    work: impl Fn(&mut Instance) -> Result<T>,
) -> Result<T> {
    let mut began = None;
    let mut first = None;
    let mut paused: Vec<StoreCall> = Vec::new();
    loop {
        let mut turn = Turn::wait(instance, cache)?;
        let before = began.get_or_insert_with(Instant::now).elapsed();
        // While somebody asks, nobody else needs to wait in a turn.
        let most = match first.is_some() || !asking.is_locked() {
            true => LOCK_WAIT,
            false => Duration::ZERO,
        };
        if let Some(state) = turn.state() {
            state.resume(paused);
        }
        let (outcome, may_repeat) = locks::during(before, most, || work(&mut turn));
        let is_repeated = may_repeat && outcome.as_ref().is_err_and(Error::is_retryable);
        let end = |state: &mut State| state.end_turn(is_repeated);
        paused = turn.state().map(end).unwrap_or_default();
        drop(turn);
        if !is_repeated {
            return outcome;
        }
        match &first {
            Some(_) => std::thread::sleep(LOCK_WAIT),
            None => first = asking.try_lock_for(BEHIND),
        }
    }
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
    pub fn wait(instance: &'a Mutex<Instance>, cache: usize) -> Result<Self> {
        if INSIDE.with_borrow(|inside| inside.contains(&cache)) {
            return Err(Error::InvalidArgument(
                "the cache was called by its own store, policy or clock, in the middle of a call; let them call it later, from another place".into(),
            ));
        }
        // A panic in another thread leaves the instance in a state that it knows how to deal with.
        let instance = instance.lock();
        INSIDE.with_borrow_mut(|inside| inside.push(cache));
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
