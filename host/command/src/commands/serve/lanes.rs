//! How many lanes a server has, unless it is told.

use std::thread;
use std::time::{Duration, Instant};

use mneme::Store;

use crate::args::Place;
use crate::store_url::StoreUrl;

/// A store that answers later is across a network.
const FAR: Duration = Duration::from_micros(300);
/// About how long an exact lane works for an answer, apart from waiting for the store.
const WORK: Duration = Duration::from_micros(60);
/// More exact lanes than this are more connections than a server may want to give.
const MOST_EXACT: u32 = 16;
/// How often the distance is measured; the least counts.
const MEASUREMENTS: usize = 5;

/// The numbers of exact and semantic lanes for a store, of which there are handles. A store that does
/// not answer gets those of one that is near: opening the cache says what is wrong.
pub fn choose(store: &StoreUrl, index: Place, (fingerprint, dim): (&str, u32)) -> (u32, u32) {
    let handles = store.handles().is_some();
    // Creates it, as opening the cache would.
    let Some(mut store) = store.store().ok().filter(|_| handles) else {
        return (0, 1);
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let has_log = store.capabilities().max_changes > 0;
    let distance = store.open(fingerprint, dim).ok();
    let distance = distance.and_then(|()| distance_of(&mut *store));
    let _ = store.close();
    fitting(cores, distance.unwrap_or_default(), has_log, index)
}

/// How long the store takes to answer the shortest question.
fn distance_of(store: &mut dyn Store) -> Option<Duration> {
    let measured = (0..MEASUREMENTS).map(|_| {
        let started = Instant::now();
        store.read_version_counter().ok()?;
        Some(started.elapsed())
    });
    measured.flatten().min()
}

/// The lanes for so many cores and a store at this distance. A semantic lane with an index in memory is dear,
/// so there are few.
fn fitting(cores: usize, distance: Duration, has_log: bool, index: Place) -> (u32, u32) {
    let waiting = (distance.as_nanos() / WORK.as_nanos()) as u32;
    let cores = cores.try_into().unwrap_or(MOST_EXACT);
    let exact = waiting.max(cores).min(MOST_EXACT);
    let semantic = match (has_log, distance >= FAR) {
        (false, _) => 1,
        _ if index == Place::Store => exact / 2 + 1,
        (true, true) => 2,
        (true, false) => (cores / 2).clamp(1, 4),
    };
    (exact, semantic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_fit_cores_and_distance() {
        let (near, far) = (Duration::from_micros(20), Duration::from_millis(1));
        assert_eq!(fitting(2, near, true, Place::Memory), (2, 1));
        assert_eq!(fitting(8, near, true, Place::Memory), (8, 4));
        assert_eq!(fitting(64, near, true, Place::Memory), (16, 4));
        assert_eq!(fitting(2, far, true, Place::Memory), (16, 2));
        assert_eq!(fitting(1, far, false, Place::Memory), (16, 1));
        assert_eq!(fitting(2, far, true, Place::Store), (16, 9));
        assert_eq!(fitting(1, near, true, Place::Store), (1, 1));
        assert_eq!(
            fitting(1, Duration::from_secs(9), true, Place::Memory),
            (16, 2)
        );
    }
}
