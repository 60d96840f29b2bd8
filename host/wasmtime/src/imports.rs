//! What the component's imports do: calls of the store, the clock and the policies.

use crate::checkpoint::archive::Archive;
use crate::contract::store::CapabilitySet;
use crate::contract::types::Error as StoreError;
use crate::contract::wasi::clocks::wall_clock;
use crate::contract::{archive, events, policy, trust};
use crate::host::{Clock, Policies, SystemClock};
use crate::observe::{StoreCall, Watch};
use crate::punctual::Punctual;
use crate::store::Store as Backend;
use mneme_component::{Guard, Guarded, Limits};
use mneme_store::{for_each_operation, lent, locks, owned};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// What depends on this machine's clock: the dates of entries.
const DATING: [&str; 2] = ["insert", "begin_import"];
/// The same: which entries have expired.
const EXPIRING: [&str; 2] = ["delete_expired", "delete_unchanged"];
/// What a call of the cache would tell otherwise if it was done twice.
const CHANGING: [&str; 6] = [
    "insert",
    "delete_by_id",
    "delete_unchanged",
    "delete_expired",
    "clear_namespace",
    "set_namespace_quota",
];

/// What begins something long, which a repeated turn would begin again.
const BEGINNING: [&str; 2] = ["begin_import", "begin_restore"];

/// What makes entries part of the data that were handed over before.
const COMMITTING: [&str; 2] = ["commit_import", "commit_restore"];

/// What forgets what was begun. It waits for nothing, and an earlier failure is still the last.
const ENDING: [&str; 2] = ["end_import", "end_restore"];

/// What the component's imports work on.
pub(crate) struct State {
    pub store: Box<dyn Backend>,
    pub clock: Arc<dyn Clock>,
    /// Shared by the lanes of a cache.
    pub policies: Arc<Mutex<Policies>>,
    pub guard: Guard,
    /// Who is told what the component does. Nobody unless it is set.
    pub watch: Arc<Watch>,
    /// What a checkpoint is written to or read from, during that call only.
    pub archive: Option<Archive>,
    /// Calls of the store that have given way to a lock in this turn.
    paused: Vec<StoreCall>,
    /// The same of the turn that this one repeats: they go on when it comes to them.
    resumed: Vec<StoreCall>,
    /// Whether the clock agrees with the store's.
    punctual: Punctual,
    /// The call deletes whatever the clock shows.
    pub timeless: bool,
    /// How often this component has changed entries, and all lanes of the cache have.
    pub own_writes: u64,
    pub writes: Arc<AtomicU64>,
    /// How often the component has called the store or the archive.
    calls: u64,
    /// The same when its deadline was last set.
    calls_then: u64,
}

impl State {
    pub fn new(
        store: Box<dyn Backend>,
        clock: Arc<dyn Clock>,
        policies: Arc<Mutex<Policies>>,
        limits: Limits,
    ) -> Self {
        State {
            store,
            clock,
            policies,
            guard: Guard::new(limits),
            watch: Arc::default(),
            archive: None,
            paused: Vec::new(),
            resumed: Vec::new(),
            punctual: Punctual::default(),
            timeless: false,
            own_writes: 0,
            writes: Arc::default(),
            calls: 0,
            calls_then: 0,
        }
    }

    /// The state of a component that is alone on a store, with defaults only.
    pub fn alone(store: impl Backend + 'static) -> Self {
        Self::new(
            Box::new(store),
            Arc::new(SystemClock),
            Arc::default(),
            Limits::default(),
        )
    }

    fn store_call<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut dyn Backend) -> Stored<T>,
    ) -> Stored<T> {
        self.calls += 1;
        if DATING.contains(&name) {
            let now = self.clock.now();
            self.punctual.check_storing(now, &mut *self.store)?;
        } else if EXPIRING.contains(&name) && !self.timeless {
            let now = self.clock.now();
            self.punctual.check_deletion(now, &mut *self.store)?;
        }
        let told = match self.resumed.iter().position(|call| call.name == name) {
            Some(at) => self.resumed.remove(at),
            None => StoreCall {
                name,
                started: Instant::now(),
            },
        };
        if !ENDING.contains(&name) {
            locks::begin_call();
        }
        let outcome = self.watch.store_call(name, || call(&mut *self.store));
        if outcome.is_err() && locks::gave_way() {
            self.paused.push(told);
            return outcome;
        }
        self.watch.store_called(&told, outcome.is_err());
        if outcome.is_ok() && CHANGING.contains(&name) {
            locks::changed();
        }
        if CHANGING.contains(&name) || COMMITTING.contains(&name) {
            // Also after an error: perhaps it was done.
            self.own_writes += 1;
            self.writes.fetch_add(1, Ordering::Release);
        }
        if outcome.is_ok() && BEGINNING.contains(&name) {
            locks::stay();
        }
        outcome
    }

    /// A turn begins, which repeats one in which these calls of the store have given way to a lock.
    pub fn resume(&mut self, calls: Vec<StoreCall>) {
        self.resumed = calls;
    }

    /// A turn ends. The calls that have given way to a lock go on if it `is_repeated`. If not, they
    /// have failed.
    pub fn end_turn(&mut self, is_repeated: bool) -> Vec<StoreCall> {
        let mut calls = std::mem::take(&mut self.resumed);
        calls.append(&mut self.paused);
        if is_repeated {
            return calls;
        }
        for call in calls {
            self.watch.store_called(&call, true);
        }
        Vec::new()
    }

    fn archive(&mut self) -> Stored<&mut Archive> {
        self.calls += 1;
        let none = || StoreError::Unsupported("an archive exists only during a checkpoint".into());
        self.archive.as_mut().ok_or_else(none)
    }
}

impl Guarded for State {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }

    /// A checkpoint takes as long as its size and the other ends make it, as long as it goes on.
    fn deserves_time(&mut self) -> bool {
        let went_on = self.archive.is_some() && self.calls != self.calls_then;
        self.calls_then = self.calls;
        went_on
    }
}

impl wall_clock::Host for State {
    fn now(&mut self) -> wall_clock::Datetime {
        let now = self.clock.now();
        wall_clock::Datetime {
            seconds: now.as_secs(),
            nanoseconds: now.subsec_nanos(),
        }
    }

    fn resolution(&mut self) -> wall_clock::Datetime {
        wall_clock::Datetime {
            seconds: 0,
            nanoseconds: 1_000_000,
        }
    }
}

impl crate::contract::types::Host for State {}
impl events::Host for State {}

impl trust::Host for State {}

impl policy::Host for State {
    fn confidence(&mut self, similarity: f32, age_seconds: u64, metadata: String) -> f32 {
        match &mut self.policies.lock().confidence {
            Some(confidence) => confidence(similarity, age_seconds, &metadata),
            None => similarity,
        }
    }

    fn accept(&mut self, candidate: policy::Candidate) -> bool {
        self.policies
            .lock()
            .validator
            .as_mut()
            .is_none_or(|accept| accept(&candidate))
    }

    fn on_event(&mut self, event: events::Event) {
        if let Some(on_event) = &mut self.policies.lock().on_event {
            on_event(&event);
        }
        self.watch.event(&event);
    }
}

impl archive::Host for State {
    fn read(&mut self, max: u32) -> Stored<Vec<u8>> {
        self.archive()?.read(max)
    }

    fn write(&mut self, bytes: Vec<u8>) -> Stored<()> {
        self.archive()?.write(&bytes)
    }

    fn progress(&mut self, done: u64, total: Option<u64>, unit: archive::Unit) {
        if let Ok(archive) = self.archive() {
            archive.progress(done, total, unit);
        }
    }
}

type Stored<T> = std::result::Result<T, StoreError>;

/// Passes calls of the component on to the store.
macro_rules! passed_on {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: owned!($($type)*))*) -> Stored<$($result)*> {
            self.store_call(stringify!($name), |store| store.$name($(lent!($arg: $($type)*)),*))
        })*
    };
}

#[deny(clippy::missing_trait_methods)]
impl crate::contract::store::Host for State {
    fn capabilities(&mut self) -> CapabilitySet {
        self.calls += 1;
        self.store.capabilities()
    }

    for_each_operation!(passed_on![]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::store::Host;
    use crate::store::MemoryStore;

    #[test]
    fn only_a_checkpoint_that_goes_on_gets_more_time() {
        let mut state = State::alone(MemoryStore::new());
        Host::capabilities(&mut state);
        assert!(!state.deserves_time(), "no checkpoint");
        state.archive = Some(Archive::reading(std::io::empty(), None));
        assert!(!state.deserves_time(), "nothing has happened since");
        Host::capabilities(&mut state);
        assert!(state.deserves_time());
        assert!(!state.deserves_time());
        assert_eq!(archive::Host::read(&mut state, 1), Ok(Vec::new()));
        assert!(state.deserves_time());
        state.archive = None;
        assert!(archive::Host::read(&mut state, 1).is_err());
    }
}
