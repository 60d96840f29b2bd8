//! Judges a store: the conformance battery, and a test harness that runs it.
//!
//! The battery is a WebAssembly component. The same bytes judge a store in any language;
//! here they judge an implementation of [`Store`]. A store that passes works
//! with the cache.
//!
//! # In the tests of your own store
//!
//! One line, in a test program without the standard harness:
//!
//! ```toml
//! # Cargo.toml
//! [[test]]
//! name = "conformance"
//! harness = false
//!
//! [dev-dependencies]
//! # From a clone of the repository; nothing is published yet.
//! mneme = { path = "…/host/wasmtime", features = ["conformance"] }
//! ```
//!
//! ```no_run
//! // tests/conformance.rs
//! # use mneme_store::MemoryStore as MyStore;
//! fn main() -> std::process::ExitCode {
//!     mneme::conformance::test(|| Ok(MyStore::new(/* where its data is */)))
//! }
//! ```
//!
//! `cargo test` then shows one test for each case. Filters, `--list` and nextest work as usual.
//! A case that does not apply is shown as ignored, with the reason. A failure names what the
//! contract demands, what the store did, and how to repeat it: the environment variable
//! `MNEME_CONFORMANCE_SEED` (decimal, or hexadecimal after `0x`) sets the seed of the cases'
//! values, 1 by default.
//!
//! The function makes a new, closed store on the same data each time it is called: some cases
//! drop a store and make another, use two side by side, or have a process killed in the
//! middle of a write. To kill a process the harness runs the test program again, which must
//! find the same data, for example at a fixed path or URL. If the place is only known at run
//! time (a temporary folder, the port of a server), use [`Harness::store_at`].
//!
//! # Which stores to judge
//!
//! Each case works in separate namespaces and removes them at the end, so the store may hold
//! other data. But **nobody else may write to it meanwhile**: the cases watch counters that
//! every write moves. An empty store keeps the battery's embedder, so use one that you can
//! throw away. The cases of one store run one at a time.
//!
//! # Skipped cases
//!
//! A case says which capability it needs. If the store does not claim it
//! ([`CapabilitySet`](mneme_store::CapabilitySet)), the case is skipped. A claim is a promise:
//! if the store claims the capability and the case still cannot check it, the case fails.
//!
//! # Without the harness
//!
//! ```
//! use mneme_conformance::{Battery, Seed, Stores};
//! use mneme_store::MemoryStore;
//!
//! # fn main() -> Result<(), mneme_conformance::Error> {
//! let battery = Battery::new()?;
//! let stores = Stores::new(|| Ok(MemoryStore::new()));
//! let case = &battery.cases()[0];
//! let outcome = battery.run(case, Seed::default(), &stores);
//! assert!(!outcome.is_failed(), "{}: {outcome:?}", case.name);
//! # Ok(())
//! # }
//! ```

mod contract;
mod harness;
mod killed;
mod marked;
mod report;
mod run;

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};

use self::contract::{Conformance, ConformancePre};
use mneme_component::{Limits, code_cache, compile};
use mneme_store::{self as store, MemoryStore, Store};

pub use harness::{Harness, test};
pub use killed::{Processes, Writer};
pub use report::{Capability, Case, Counts, Failure, Judged, Outcome, Phase, Report, Seed};

/// The battery's bytes, ready for any host that knows `wit/suite.wit`.
pub use mneme_component::conformance as component;

/// The battery could not be compiled or started on this machine.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The battery, compiled. Cloning is cheap.
#[derive(Clone)]
pub struct Battery {
    pre: Arc<ConformancePre<run::State>>,
    cases: Arc<[Case]>,
    time_limit: Duration,
}

impl std::fmt::Debug for Battery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Battery")
            .field("cases", &self.cases.len())
            .field("time_limit", &self.time_limit)
            .finish()
    }
}

impl Battery {
    /// Compiles the battery. The user's cache folder of wasmtime keeps the compiled code.
    ///
    /// # Errors
    ///
    /// [`Error`] if this machine cannot run it.
    pub fn new() -> Result<Self, Error> {
        let start = || -> wasmtime::Result<Self> {
            let (engine, component) = compile(component(), code_cache())?;
            let mut linker = Linker::new(&engine);
            Conformance::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut run::State| {
                state
            })?;
            let mut battery = Battery {
                pre: Arc::new(ConformancePre::new(linker.instantiate_pre(&component)?)?),
                cases: Arc::new([]),
                time_limit: Duration::from_secs(120),
            };
            let mut instance = battery.start(Box::new(MemoryStore::new()))?;
            battery.cases = instance.cases()?.into_iter().map(Case::from).collect();
            Ok(battery)
        };
        start().map_err(|error| {
            Error(format!(
                "the conformance battery cannot be started: {error:#}"
            ))
        })
    }

    /// How long one phase of a case may take: 120 s by default. A case that takes longer is
    /// stopped and fails.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// All cases, in the order to run them.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// Runs one case on a store that nobody else writes to meanwhile.
    ///
    /// Whatever the store does is an outcome: an error, a panic or a call that does not end
    /// is [`Outcome::Failed`]. If a call does not end, its thread is left behind.
    pub fn run(&self, case: &Case, seed: Seed, stores: &Stores) -> Outcome {
        run::guarded(self, case, seed, stores)
    }

    /// Runs cases, one after the other, and calls `done` after each.
    pub fn judge<'a>(
        &self,
        cases: impl IntoIterator<Item = &'a Case>,
        seed: Seed,
        stores: &Stores,
        mut done: impl FnMut(&Judged),
    ) -> Report {
        let judge = |case: &Case| {
            let judged = Judged {
                case: case.clone(),
                outcome: self.run(case, seed, stores),
            };
            done(&judged);
            judged
        };
        let cases = cases.into_iter().map(judge).collect();
        let name = match run::unless_it_panics(|| stores.make().map(|s| s.capabilities().name)) {
            Ok(Ok(name)) => name,
            _ => "unknown".into(),
        };
        Report::new(name, seed, cases)
    }

    fn start(&self, store: Box<dyn Store>) -> wasmtime::Result<run::Instance> {
        // The component is trusted: these keep a bug of it from taking the machine along.
        let limits = Limits {
            memory_bytes: 2 << 30,
            call_timeout: self.time_limit,
            host_call_bytes: 1 << 30,
        };
        run::Instance::start(&self.pre, store, limits)
    }
}

/// Makes the stores that a case works on, all on the same data. Cloning is cheap.
#[derive(Clone)]
pub struct Stores {
    make: Arc<dyn Fn() -> store::Result<Box<dyn Store>> + Send + Sync>,
    processes: Option<Processes>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores")
            .field("processes", &self.processes)
            .finish_non_exhaustive()
    }
}

impl Stores {
    /// A function that makes a new, closed store on the same data each time. A store that is
    /// not durable may start empty each time.
    pub fn new<S: Store + 'static>(
        make: impl Fn() -> store::Result<S> + Send + Sync + 'static,
    ) -> Self {
        Self::boxed(move || Ok(Box::new(make()?)))
    }

    /// As [`new`](Self::new), for a store that is chosen at run time.
    pub fn boxed(make: impl Fn() -> store::Result<Box<dyn Store>> + Send + Sync + 'static) -> Self {
        Stores {
            make: Arc::new(make),
            processes: None,
        }
    }

    /// Sets how to start a process that writes to the same data until it is killed. Without
    /// it, cases that kill a process are skipped.
    #[must_use]
    pub fn processes(mut self, processes: Processes) -> Self {
        self.processes = Some(processes);
        self
    }

    fn make(&self) -> store::Result<Box<dyn Store>> {
        (self.make)()
    }
}
