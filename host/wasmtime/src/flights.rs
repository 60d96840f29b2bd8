//! Computing once what several callers ask for at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[cfg(test)]
mod pause;
#[cfg(test)]
mod tests;

/// What a computation is for: namespace and text, as the cache compares it.
pub(crate) type Key = (String, String, Vec<String>, String);

/// The computations under way. Their callers take turns at `L`, a lock around the response:
/// one that blocks, or one that is awaited.
pub(crate) struct Flights<L> {
    flights: Mutex<HashMap<Key, Flight<L>>>,
}

struct Flight<L> {
    response: Arc<L>,
    /// Who has joined and not left. Changes under the lock of the map only.
    callers: usize,
}

impl<L> Default for Flights<L> {
    fn default() -> Self {
        Flights {
            flights: Mutex::default(),
        }
    }
}

impl<L> std::fmt::Debug for Flights<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Flights")
    }
}

impl<L: Default> Flights<L> {
    /// Joins the computation for this key, which begins with its first caller.
    pub fn join(&self, key: Key) -> Joined<'_, L> {
        let mut flights = self.lock();
        let flight = flights.entry(key.clone()).or_insert_with(|| Flight {
            response: Arc::default(),
            callers: 0,
        });
        flight.callers += 1;
        let response = Arc::clone(&flight.response);
        drop(flights);
        #[cfg(test)]
        pause::reach(pause::JOINED);
        Joined {
            flights: self,
            key,
            response,
        }
    }
}

impl<L> Flights<L> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Flight<L>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A part in a computation, until it is dropped.
pub(crate) struct Joined<'a, L> {
    flights: &'a Flights<L>,
    key: Key,
    response: Arc<L>,
}

impl<L> Joined<'_, L> {
    /// The response, if somebody has computed it. Whoever finds none computes it with the lock
    /// held. If that fails, the next one finds none.
    pub fn response(&self) -> &L {
        &self.response
    }

    /// Gives all who have joined this response. Others join until what is returned is dropped,
    /// which must be before the lock of the response is released.
    pub fn publish<'s>(
        &'s self,
        locked: &'s mut Option<String>,
        response: &str,
    ) -> Published<'s, L> {
        *locked = Some(response.to_owned());
        Published {
            joined: self,
            _locked: locked,
        }
    }

    /// Takes the flight off the list, if it is still there and this is so.
    fn remove_if(&self, done: impl FnOnce(&mut Flight<L>) -> bool) {
        let mut flights = self.flights.lock();
        // Under the same key may be a later one.
        if let Some(flight) = flights.get_mut(&self.key)
            && Arc::ptr_eq(&flight.response, &self.response)
            && done(flight)
        {
            flights.remove(&self.key);
        }
    }
}

impl<L> Drop for Joined<'_, L> {
    fn drop(&mut self) {
        #[cfg(test)]
        pause::reach(pause::LEAVING);
        self.remove_if(|flight| {
            flight.callers -= 1;
            flight.callers == 0
        });
        #[cfg(test)]
        pause::reach(pause::LEFT);
    }
}

/// The end of a computation that has succeeded. When it is dropped, the next caller begins
/// another.
pub(crate) struct Published<'a, L> {
    joined: &'a Joined<'a, L>,
    /// Keeps the lock until the flight is off the list.
    _locked: &'a mut Option<String>,
}

impl<L> Drop for Published<'_, L> {
    fn drop(&mut self) {
        self.joined.remove_if(|_| true);
    }
}
