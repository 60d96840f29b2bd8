//! How many entries there are, for gauges: counted seldom where that takes long, and beside the calls
//! of others where there is a handle for it.

use crate::error::Result;
use crate::store::{Store, count_all_namespaces};
use std::time::{Duration, Instant};

/// Counting that took less is done whenever somebody asks.
const QUICK: Duration = Duration::from_millis(5);
/// Other counts are used for so many times as long as counting took.
const REST: u32 = 10;

/// Entries by namespace.
pub(crate) type Counts = Vec<(String, u64)>;

/// The last counts, and another handle on the storage, if there is one.
#[derive(Default)]
pub(crate) struct Counting {
    beside: Option<Beside>,
    last: Option<(Instant, Duration, Counts)>,
}

impl Counting {
    /// Counts on another handle, for a cache of this embedder.
    pub fn beside(store: Box<dyn Store>, fingerprint: &str, dim: u32) -> Self {
        Counting {
            beside: Some(Beside {
                store,
                embedder: (fingerprint.to_owned(), dim),
                is_open: false,
            }),
            last: None,
        }
    }

    /// The last counts if counting again would be too soon, else those of `count`, or of the other
    /// handle.
    pub fn counts(&mut self, count: impl FnOnce() -> Result<Counts>) -> Result<Counts> {
        if let Some((ended, took, counts)) = &self.last
            && *took >= QUICK
            && ended.elapsed() < *took * REST
        {
            return Ok(counts.clone());
        }
        let started = Instant::now();
        let counts = match &mut self.beside {
            Some(beside) => beside.counts()?,
            None => count()?,
        };
        let ended = Instant::now();
        self.last = Some((ended, ended - started, counts.clone()));
        Ok(counts)
    }
}

struct Beside {
    store: Box<dyn Store>,
    embedder: (String, u32),
    is_open: bool,
}

impl Beside {
    fn counts(&mut self) -> Result<Counts> {
        if !self.is_open {
            let (fingerprint, dim) = &self.embedder;
            self.store.open(fingerprint, *dim)?;
            self.is_open = true;
        }
        let counts = count_all_namespaces(&mut *self.store);
        if counts.is_err() {
            // The next time it begins with a new connection.
            self.is_open = false;
            let _ = self.store.close();
        }
        Ok(counts?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_that_takes_long_is_done_seldom() {
        let mut counting = Counting::default();
        let mut asked = 0;
        for _ in 0..3 {
            let counts = counting.counts(|| {
                asked += 1;
                Ok(vec![("a".to_owned(), asked)])
            });
            assert_eq!(counts.unwrap(), [("a".to_owned(), asked)]);
        }
        assert_eq!(asked, 3);
        let (_, took, _) = counting.last.as_mut().unwrap();
        *took = Duration::from_secs(60);
        let again = counting.counts(|| unreachable!("it was counted a moment ago"));
        assert_eq!(again.unwrap(), [("a".to_owned(), 3)]);
        let (ended, ..) = counting.last.as_mut().unwrap();
        *ended -= Duration::from_secs(600);
        let counts = counting.counts(|| Ok(vec![("a".to_owned(), 4)]));
        assert_eq!(counts.unwrap(), [("a".to_owned(), 4)]);
    }
}
