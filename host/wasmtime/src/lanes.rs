//! The instances of one cache, side by side over the same data.
//!
//! Calls of one instance run one at a time, and the network of its store is a part of that. So a cache
//! may have several, each with a handle of the store. *Semantic lanes* have an index each. The first of
//! them does everything; the others look up only. *Exact lanes* have no index: they answer what needs
//! none. In-process they are told who has written and what was used, so that a lane need not ask the
//! store for news before each look-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crate::component::Instance;
use crate::contract::api::Options;
use crate::error::{Error, Result};
use crate::turn::{self, Turn};

/// So many hits are remembered for the lane that evicts. More are told to the store only, as those of
/// other processes are.
const MOST_USED: usize = 4_096;

/// The instances of one cache.
pub(crate) struct Lanes {
    semantic: Vec<Lane>,
    exact: Vec<Lane>,
    /// Where to begin to look for a lane that is free.
    next: AtomicUsize,
    /// How often a lane has written.
    writes: Arc<AtomicU64>,
    /// Hits of lanes other than the first, by id, that it has not been told of.
    used: parking_lot::Mutex<Vec<u64>>,
}

/// One instance, and who waits for it.
pub(crate) struct Lane {
    /// Never locked while embedding or computing.
    instance: parking_lot::Mutex<Instance>,
    /// Held by the one who asks for a lock of the store, while others wait for it too.
    locked: parking_lot::Mutex<()>,
    has_index: bool,
    /// How many callers have it or wait for it.
    callers: AtomicUsize,
    /// How many of the lanes' writes it knows.
    known: AtomicU64,
    /// It has what was not written yet.
    is_used: AtomicBool,
    /// Whether its index is loaded, or somebody is about to.
    readiness: AtomicUsize,
}

/// What [`Lane::readiness`] says.
const COLD: usize = 0;
const WARMING: usize = 1;
const WARM: usize = 2;

/// What a call of a lane needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The exact layer only.
    Exact,
    /// An index.
    Index,
}

impl Lane {
    fn new(instance: Instance, has_index: bool) -> Self {
        Lane {
            has_index,
            instance: parking_lot::Mutex::new(instance),
            locked: parking_lot::Mutex::default(),
            callers: AtomicUsize::new(0),
            known: AtomicU64::new(0),
            is_used: AtomicBool::new(false),
            readiness: AtomicUsize::new(COLD),
        }
    }

    /// Waits for the right to call it.
    pub fn wait(&self, cache: usize) -> Result<Turn<'_>> {
        Turn::wait(&self.instance, cache)
    }
}

/// Counts a caller of a lane as long as it lives.
struct Caller<'a>(&'a AtomicUsize);

impl<'a> Caller<'a> {
    fn of(lane: &'a Lane) -> Self {
        lane.callers.fetch_add(1, Ordering::Relaxed);
        Caller(&lane.callers)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lanes {
    /// Lanes that count their writes together. The first semantic one must be there.
    pub fn new(semantic: Vec<Instance>, exact: Vec<Instance>, writes: Arc<AtomicU64>) -> Self {
        let lanes = Lanes {
            semantic: semantic
                .into_iter()
                .map(|one| Lane::new(one, true))
                .collect(),
            exact: exact.into_iter().map(|one| Lane::new(one, false)).collect(),
            next: AtomicUsize::new(0),
            writes,
            used: parking_lot::Mutex::default(),
        };
        let first = &lanes.semantic[0];
        first.readiness.store(WARM, Ordering::Relaxed);
        // What they wrote when they were opened moved no counter.
        let now = lanes.writes.load(Ordering::Acquire);
        lanes
            .all()
            .for_each(|lane| lane.known.store(now, Ordering::Relaxed));
        lanes
    }

    /// Whether there is only one.
    pub fn is_one(&self) -> bool {
        self.semantic.len() + self.exact.len() == 1
    }

    /// The lane that does everything.
    pub fn first(&self) -> &Lane {
        &self.semantic[0]
    }

    /// All lanes, the first one first.
    pub fn all(&self) -> impl Iterator<Item = &Lane> {
        self.semantic.iter().chain(&self.exact)
    }

    /// All lanes with an index, the first one first.
    pub fn semantic(&self) -> &[Lane] {
        &self.semantic
    }

    /// The lanes, before they are dropped. The first one last.
    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        let lanes = self.exact.iter_mut().chain(self.semantic.iter_mut().rev());
        lanes.map(|lane| lane.instance.get_mut())
    }

    /// Tells them apart from those of other caches.
    pub fn cache(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// The lane with the fewest callers that has what is needed, and how many these are.
    pub fn pick(&self, needs: Needs) -> (&Lane, usize) {
        let lanes = match needs {
            Needs::Exact if !self.exact.is_empty() => &self.exact,
            _ => &self.semantic,
        };
        if let [only] = lanes.as_slice() {
            return (only, only.callers.load(Ordering::Relaxed));
        }
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..lanes.len()).map(|n| &lanes[(start + n) % lanes.len()]);
        let is_ready =
            |lane: &&Lane| needs == Needs::Exact || lane.readiness.load(Ordering::Acquire) == WARM;
        let callers = |lane: &Lane| lane.callers.load(Ordering::Relaxed);
        let ready = in_turn.filter(is_ready).map(|lane| (lane, callers(lane)));
        let free = ready.min_by_key(|(_, callers)| *callers);
        free.unwrap_or_else(|| (self.first(), callers(self.first())))
    }

    /// A lane whose index nobody has begun to load. Whoever gets it loads it, and says so.
    pub fn cold(&self) -> Option<usize> {
        let claims = |lane: &Lane| {
            let state = &lane.readiness;
            let claimed =
                state.compare_exchange(COLD, WARMING, Ordering::AcqRel, Ordering::Relaxed);
            claimed.is_ok()
        };
        self.semantic.iter().position(claims)
    }

    /// The index of a lane was loaded, or could not be.
    pub fn is_warm(&self, lane: usize, loaded: bool) {
        let state = if loaded { WARM } else { COLD };
        self.semantic[lane]
            .readiness
            .store(state, Ordering::Release);
    }

    /// Remembers a hit of a lane, for the one that evicts.
    pub fn was_used(&self, lane: &Lane, id: u64) {
        if !std::ptr::eq(lane, self.first()) {
            let mut used = self.used.lock();
            if used.len() < MOST_USED {
                used.push(id);
            }
        }
    }

    /// Works with a lane, alone. While the store cannot lock its data, others have their turn.
    pub fn in_turn<T>(&self, lane: &Lane, work: impl Fn(&mut Instance) -> Result<T>) -> Result<T> {
        let _caller = Caller::of(lane);
        turn::take(&lane.instance, &lane.locked, self.cache(), |instance| {
            self.call(lane, instance, &work)
        })
    }

    /// Works with an instance that the caller has: first it is told what the other lanes did.
    pub fn call<T>(
        &self,
        lane: &Lane,
        instance: &mut Instance,
        work: impl FnOnce(&mut Instance) -> Result<T>,
    ) -> Result<T> {
        if self.is_one() {
            return work(instance);
        }
        lane.is_used.store(true, Ordering::Relaxed);
        let is_first = std::ptr::eq(lane, self.first());
        let written = self.writes.load(Ordering::Acquire);
        let wrote = lane.has_index && lane.known.load(Ordering::Relaxed) != written;
        let used = match is_first {
            true => std::mem::take(&mut *self.used.lock()),
            false => Vec::new(),
        };
        if (wrote || !used.is_empty()) && instance.is_live() {
            instance.call(|guest, store| guest.call_others_did(store, wrote, &used))?;
        }
        let own = |instance: &mut Instance| instance.state().map_or(0, |state| state.own_writes);
        let before = own(instance);
        let outcome = work(instance);
        let did = own(instance).saturating_sub(before);
        // What others wrote meanwhile is still to be told.
        lane.known.store(written + did, Ordering::Relaxed);
        if let Err(Error::Limit(_) | Error::Component(_)) = &outcome
            && lane.has_index
            && !is_first
        {
            // It is started again, without an index.
            lane.readiness.store(COLD, Ordering::Release);
        }
        outcome
    }

    /// Has other lanes than the first begin again with the data as it is now, and with the settings of the
    /// first.
    pub fn begin_again(&self) -> Result<()> {
        if self.is_one() {
            return Ok(());
        }
        let like = self.first().wait(self.cache())?.options.clone();
        for lane in self.all().skip(1) {
            let mut instance = lane.wait(self.cache())?;
            instance.options = Options {
                persist_index: instance.options.persist_index,
                ..like.clone()
            };
            instance.reopen()?;
            lane.readiness.store(COLD, Ordering::Release);
        }
        Ok(())
    }

    /// What is wrong with other lanes than the first that have something to write.
    pub fn problems(&self) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        for lane in self.all().skip(1) {
            if lane.is_used.load(Ordering::Relaxed) {
                let health = self.in_turn(lane, |instance| {
                    instance.call(|guest, store| guest.call_health(store, false))
                });
                problems.append(&mut health?.problems);
            }
        }
        Ok(problems)
    }

    /// Has other lanes than the first write their counts and uses, so that the first tells them too. Where
    /// the store is busy they write them later, as each does by itself.
    pub fn gather_counts(&self) -> Result<()> {
        self.write_counts()
            .or_else(|error| match error.is_retryable() {
                true => Ok(()),
                false => Err(error),
            })
    }

    /// The same, but a store that is busy is an error.
    pub fn write_counts(&self) -> Result<()> {
        if self.is_one() {
            return Ok(());
        }
        for lane in self.all().skip(1) {
            if lane.is_used.swap(false, Ordering::Relaxed) {
                let flushed = self.in_turn(lane, |instance| {
                    instance.call(|guest, store| guest.call_flush(store))
                });
                lane.is_used.store(flushed.is_err(), Ordering::Relaxed);
                match flushed {
                    // A store that can only be read takes no counts.
                    Ok(_) | Err(Error::Unsupported(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
