//! Running a case: its phases, each on the store that it asks for.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use wasmtime::Store as Running;

use super::contract::{Conformance, ConformancePre, suite};
use super::report::{Case, Outcome, Phase, Seed};
use super::{Battery, Stores, killed};
use mneme_component::{Guard, Guarded, Limit, Limits, limited, reached, set_deadline};
use mneme_store::{self as store, CapabilitySet, Store, contract, for_each_operation, lent, owned};

/// How much longer than the component a store may take before it is given up.
const GRACE: Duration = Duration::from_secs(5);

/// What the thread that runs a case tells.
enum Progress {
    Phase(usize),
    Done(Outcome),
}

/// Runs a case on a separate thread, so that neither a panic nor a call that never returns
/// reaches the caller.
pub(super) fn guarded(battery: &Battery, case: &Case, seed: Seed, stores: &Stores) -> Outcome {
    let (tell, hear) = channel();
    let mut running = Course {
        battery: battery.clone(),
        case: case.clone(),
        seed,
        stores: stores.clone(),
        first: None,
        second: None,
    };
    let worker = std::thread::Builder::new()
        .name(case.name.clone())
        .spawn(move || {
            let outcome = running.run(&tell);
            // The store goes before the outcome is told: dropping it may panic.
            drop(running);
            // Nobody listens any more where it was too late.
            let _ = tell.send(Progress::Done(outcome));
        });
    let worker = match worker {
        Ok(worker) => worker,
        Err(error) => {
            return Outcome::failed(0, "a thread to run on", format!("no thread: {error}"));
        }
    };
    let mut phase = 0;
    loop {
        match hear.recv_timeout(battery.time_limit.saturating_add(GRACE)) {
            Ok(Progress::Phase(number)) => phase = number,
            Ok(Progress::Done(outcome)) => return outcome,
            Err(RecvTimeoutError::Timeout) => {
                return Outcome::failed(
                    phase,
                    "calls that return",
                    format!(
                        "a call of the store has not returned within {} s",
                        battery.time_limit.as_secs()
                    ),
                );
            }
            Err(RecvTimeoutError::Disconnected) => {
                let said = worker.join().err();
                let said = said.map_or_else(String::new, |panic| panic_text(&*panic).to_owned());
                return panicked(phase, &said);
            }
        }
    }
}

/// Passes calls of the battery on to the store.
macro_rules! passed_on {
    ([] $($kind:ident $name:ident($($arg:ident: ($($type:tt)*)),*) -> ($($result:tt)*);)*) => {
        $(fn $name(&mut self $(, $arg: owned!($($type)*))*) -> store::Result<$($result)*> {
            self.store.$name($(lent!($arg: $($type)*)),*)
        })*
    };
}

#[deny(clippy::missing_trait_methods)]
impl contract::store::Host for State {
    fn capabilities(&mut self) -> CapabilitySet {
        self.store.capabilities()
    }

    for_each_operation!(passed_on![]);
}

impl contract::types::Host for State {}

/// A case under way.
struct Course {
    battery: Battery,
    case: Case,
    seed: Seed,
    stores: Stores,
    first: Option<Instance>,
    second: Option<Instance>,
}

impl Course {
    fn run(&mut self, tell: &Sender<Progress>) -> Outcome {
        if let Some(outcome) = self.not_claimed() {
            return outcome;
        }
        let last = self.case.phases.len().saturating_sub(1);
        for number in 0..=last {
            let _ = tell.send(Progress::Phase(number));
            let outcome = self.phase(number);
            if outcome == Outcome::Passed {
                continue;
            }
            if number < last && self.case.phases[last] != Phase::Killed {
                let _ = tell.send(Progress::Phase(last));
                // It removes what is left; what it finds does not count.
                let _ = self.phase(last);
            }
            return self.claimed(number, outcome);
        }
        Outcome::Passed
    }

    /// The outcome of a case that needs what the store does not claim.
    fn not_claimed(&self) -> Option<Outcome> {
        let needs = self.case.needs?;
        match self.stores.make() {
            Ok(store) if needs.is_claimed(&store.capabilities()) => None,
            Ok(_) => Some(Outcome::Skipped(format!(
                "the store does not claim `{needs}`"
            ))),
            Err(error) => Some(Outcome::not_made(0, &error)),
        }
    }

    /// The outcome. A store cannot skip a case that needs a capability it claims.
    fn claimed(&self, phase: usize, outcome: Outcome) -> Outcome {
        match (self.case.needs, outcome) {
            (Some(needs), Outcome::Skipped(reason))
                if self.case.phases.get(phase) != Some(&Phase::Killed)
                    || self.stores.processes.is_some() =>
            {
                Outcome::failed(
                    phase,
                    format!("a case that applies, since the store claims `{needs}`"),
                    format!("the case does not apply: {reason}"),
                )
            }
            (_, outcome) => outcome,
        }
    }

    fn phase(&mut self, number: usize) -> Outcome {
        let slot = match self.case.phases.get(number) {
            None => return Outcome::failed(number, "a case with phases", "it has none"),
            Some(Phase::Killed) => {
                self.drop_stores();
                return killed::run(
                    &self.stores,
                    &self.case,
                    number,
                    self.seed,
                    self.battery.time_limit,
                );
            }
            Some(Phase::Fresh) => {
                self.drop_stores();
                &mut self.first
            }
            Some(Phase::Back) => &mut self.first,
            Some(Phase::Beside) => &mut self.second,
        };
        let mut instance = match slot.take() {
            Some(instance) => instance,
            // Also where an earlier phase has trapped, and this one cleans up after it.
            None => match self.stores.make().map(|store| self.battery.start(store)) {
                Ok(Ok(instance)) => instance,
                Ok(Err(error)) => {
                    return Outcome::failed(number, "a battery that starts", format!("{error:#}"));
                }
                Err(error) => return Outcome::not_made(number, &error),
            },
        };
        match instance.call(&self.case.name, number, self.seed) {
            Ok(outcome) => {
                *slot = Some(instance);
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    fn drop_stores(&mut self) {
        self.second = None;
        self.first = None;
    }
}

/// What the battery's imports work on.
pub struct State {
    store: Box<dyn Store>,
    guard: Guard,
}

impl Guarded for State {
    fn guard(&mut self) -> &mut Guard {
        &mut self.guard
    }
}

/// The component with a store.
pub(super) struct Instance {
    running: Running<State>,
    suite: Conformance,
}

impl Instance {
    pub fn start(
        pre: &ConformancePre<State>,
        store: Box<dyn Store>,
        limits: Limits,
    ) -> wasmtime::Result<Self> {
        let state = State {
            store,
            guard: Guard::new(limits),
        };
        let mut running = limited(pre.engine(), state);
        let suite = pre.instantiate(&mut running)?;
        Ok(Instance { running, suite })
    }

    pub fn cases(&mut self) -> wasmtime::Result<Vec<suite::TestCase>> {
        set_deadline(&mut self.running);
        let suite = self.suite.mneme_cache_suite();
        suite.call_list_cases(&mut self.running)
    }

    /// Runs a phase. The error is the outcome of one that leaves the instance unusable.
    pub fn call(&mut self, case: &str, phase: usize, seed: Seed) -> Result<Outcome, Outcome> {
        set_deadline(&mut self.running);
        let number = u32::try_from(phase).unwrap_or(u32::MAX);
        let called = unless_it_panics(|| {
            let suite = self.suite.mneme_cache_suite();
            suite.call_run(&mut self.running, case, number, seed.0)
        });
        match called {
            Ok(Ok(outcome)) => Ok(Outcome::said(phase, outcome)),
            Ok(Err(error)) => Err(self.trapped(phase, &error)),
            Err(said) => Err(panicked(phase, &said)),
        }
    }

    fn trapped(&self, phase: usize, error: &wasmtime::Error) -> Outcome {
        match reached(error, &self.running.data().guard) {
            Some(Limit::Time { milliseconds }) => Outcome::failed(
                phase,
                "a case that ends",
                format!("it was stopped after {} s", milliseconds / 1000),
            ),
            Some(
                Limit::Memory { bytes } | Limit::SystemMemory { bytes } | Limit::HostCall { bytes },
            ) => Outcome::failed(
                phase,
                "answers of a size that was asked for",
                format!("the battery needs more than its {bytes} bytes of memory to take them"),
            ),
            _ => Outcome::failed(
                phase,
                "a store that answers, or returns an error",
                format!("the battery trapped: {error:#}"),
            ),
        }
    }
}

fn panicked(phase: usize, said: &str) -> Outcome {
    Outcome::failed(
        phase,
        "failures that are returned as errors",
        format!("the store panicked: {said}"),
    )
}

/// Calls what may panic; the error is what the panic said.
pub(super) fn unless_it_panics<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic| panic_text(&*panic).to_owned())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic
            .downcast_ref::<&str>()
            .copied()
            .unwrap_or("nothing that can be printed"),
    }
}
