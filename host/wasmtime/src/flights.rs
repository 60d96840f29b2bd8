//! Computing once what several callers ask for at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a computation is for: namespace and query hash.
pub(crate) type Key = (String, String);

/// A computation under way, and its result for those who wait.
type Flight = Arc<Mutex<Option<String>>>;

/// The computations under way.
#[derive(Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Key, Flight>>,
}

impl Flights {
    /// Runs `compute`, or waits for another caller with the same key and takes the result. If
    /// that caller fails or panics, the next one computes.
    pub fn share<E>(
        &self,
        key: Key,
        compute: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let flight = {
            let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(key.clone()).or_default())
        };
        let outcome = {
            let mut result = flight.lock().unwrap_or_else(PoisonError::into_inner);
            match &*result {
                Some(response) => Ok(response.clone()),
                None => compute().inspect(|response| *result = Some(response.clone())),
            }
        };
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's handle and this one: nobody else waits.
        if Arc::strong_count(&flight) == 2 {
            flights.remove(&key);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn key() -> Key {
        ("n".into(), "h".into())
    }

    #[test]
    fn callers_at_the_same_time_share_one_computation() {
        let (flights, runs, at_once) = (Flights::default(), AtomicU32::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    at_once.wait();
                    let got = flights.share(key(), || {
                        runs.fetch_add(1, Ordering::SeqCst);
                        // Until all four hold the flight.
                        while Arc::strong_count(&flights.flights.lock().unwrap()[&key()]) < 5 {
                            std::thread::yield_now();
                        }
                        Ok::<_, ()>("r".into())
                    });
                    assert_eq!(got, Ok("r".into()));
                });
            }
        });
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert!(flights.flights.lock().unwrap().is_empty());
    }

    #[test]
    fn a_failure_is_not_shared_and_leaves_nothing() {
        let flights = Flights::default();
        assert_eq!(flights.share(key(), || Err("no")), Err("no"));
        assert_eq!(
            flights.share(key(), || Ok::<_, ()>("r".into())),
            Ok("r".into())
        );
        assert!(flights.flights.lock().unwrap().is_empty());
    }
}
