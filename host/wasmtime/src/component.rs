//! Running the component: engine, linking, limits, and starting anew after a trap.

use crate::contract::api::Options;
use crate::contract::exports::mneme::cache::cache::Guest;
use crate::contract::mneme::cache as imports;
use crate::contract::store::{CapabilitySet, Inserted, StampPage, Touch, VectorPage};
use crate::contract::types::{Entry, EntryKey, EntryRef, Error as StoreError};
use crate::contract::wasi::clocks::wall_clock;
use crate::contract::{Mneme, MnemePre, events, policy};
use crate::error::{Error, Limit, Result};
use crate::host::{Clock, Policies};
use crate::store::Store as Backend;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config, ResourceLimiter, Store, Trap};

/// How often the clock ticks by which calls are timed.
const TICK: Duration = Duration::from_millis(50);

/// The component's bytes, ready for any host that knows `wit/`.
pub fn component() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/mneme.wasm"))
}

/// The compiled component, shared by any number of caches. Cloning is cheap.
#[derive(Clone)]
pub struct Engine {
    pre: Arc<MnemePre<State>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// The process-wide engine that caches use unless told otherwise. Its compiled code
    /// is kept in wasmtime's cache folder of the user; where there can be none, it is
    /// compiled anew in each process (about 50 ms).
    ///
    /// # Errors
    ///
    /// [`Error::Component`] where this machine cannot run it.
    pub fn shared() -> Result<Self> {
        static SHARED: OnceLock<Result<Engine, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                Self::compile(Cache::new(CacheConfig::new()).ok()).map_err(|e| e.to_string())
            })
            .clone()
            .map_err(Error::Component)
    }

    /// An engine of its own that keeps its compiled code in this folder, which must be
    /// writable by trusted users only: what it holds is run.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] where the folder cannot be used.
    pub fn with_code_cache(folder: impl AsRef<Path>) -> Result<Self> {
        let mut config = CacheConfig::new();
        config.with_directory(folder.as_ref());
        let cache = Cache::new(config).map_err(|error| {
            Error::Component(format!(
                "the code cache folder {} cannot be used: {error:#}",
                folder.as_ref().display()
            ))
        })?;
        Self::compile(Some(cache))
    }

    /// An engine of its own that keeps nothing on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] where this machine cannot run it.
    pub fn without_code_cache() -> Result<Self> {
        Self::compile(None)
    }

    fn compile(cache: Option<Cache>) -> Result<Self> {
        let start = || -> wasmtime::Result<Self> {
            let mut config = Config::new();
            config.epoch_interruption(true).cache(cache);
            let engine = wasmtime::Engine::new(&config)?;
            let component = Component::new(&engine, component())?;
            let mut linker = Linker::new(&engine);
            Mneme::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
            let pre = MnemePre::new(linker.instantiate_pre(&component)?)?;
            let ticking = engine.weak();
            std::thread::Builder::new()
                .name("mneme-epoch".into())
                .spawn(move || {
                    while let Some(engine) = ticking.upgrade() {
                        engine.increment_epoch();
                        drop(engine);
                        std::thread::sleep(TICK);
                    }
                })?;
            Ok(Engine { pre: Arc::new(pre) })
        };
        start().map_err(|error| {
            Error::Component(format!("the component cannot be compiled: {error:#}"))
        })
    }
}

/// Limits on the component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub memory_bytes: usize,
    pub call_timeout: Duration,
    pub host_call_bytes: usize,
}

/// What the component's imports work on.
pub(crate) struct State {
    pub store: Box<dyn Backend>,
    pub clock: Box<dyn Clock>,
    pub policies: Policies,
    pub limits: Limits,
    memory_denied: bool,
}

impl State {
    pub fn new(
        store: Box<dyn Backend>,
        clock: Box<dyn Clock>,
        policies: Policies,
        limits: Limits,
    ) -> Self {
        State {
            store,
            clock,
            policies,
            limits,
            memory_denied: false,
        }
    }
}

/// A running component, and how to start it again.
pub(crate) struct Instance {
    engine: Engine,
    /// What it was opened with, kept up with later changes of the settings.
    pub options: Options,
    running: Running,
    closed: bool,
}

enum Running {
    Live {
        store: Box<Store<State>>,
        guest: Box<Mneme>,
    },
    /// A trap or a panic has left the component in the middle of something. Its next
    /// call starts a new one over the same store.
    Broken(Box<Store<State>>),
    /// Nothing can be started any more.
    Gone,
}

impl Instance {
    /// Starts the component and opens its cache.
    pub fn open(
        engine: Engine,
        state: State,
        options: impl FnOnce(Options) -> Options,
        fingerprint: &str,
        dim: u32,
    ) -> Result<Self> {
        let (mut store, guest) = start(&engine, state)?;
        let defaults =
            guest
                .mneme_cache_cache()
                .call_default_options(&mut *store, fingerprint, dim);
        let defaults = defaults.map_err(|error| explain(&error, store.data()))?;
        let mut instance = Instance {
            engine,
            options: options(defaults),
            running: Running::Live { store, guest },
            closed: false,
        };
        let options = instance.options.clone();
        instance.call(|guest, store| guest.call_open(store, &options))?;
        Ok(instance)
    }

    /// Calls an export that may fail.
    pub fn call<T>(
        &mut self,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<Result<T, StoreError>>,
    ) -> Result<T> {
        self.call_infallible(call)?.map_err(Error::from)
    }

    /// Calls an export that cannot fail by itself.
    pub fn call_infallible<T>(
        &mut self,
        call: impl FnOnce(&Guest, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T> {
        if self.closed {
            return Err(Error::Closed);
        }
        let (mut store, guest) = self.live()?;
        set_deadline(&mut store);
        store.data_mut().memory_denied = false;
        // If the call panics, the component is dropped with the store.
        let outcome = call(guest.mneme_cache_cache(), &mut store);
        match outcome {
            Ok(value) => {
                self.running = Running::Live { store, guest };
                Ok(value)
            }
            Err(error) => {
                let error = explain(&error, store.data());
                self.running = Running::Broken(store);
                Err(error)
            }
        }
    }

    /// Closes the cache and its store, for good. Closing it again does nothing.
    pub fn close(&mut self) -> Result<()> {
        if self.closed {
            return Ok(());
        }
        let outcome = match std::mem::replace(&mut self.running, Running::Gone) {
            Running::Gone => Ok(()),
            Running::Broken(mut broken) => broken.data_mut().store.close().map_err(Error::from),
            live => {
                self.running = live;
                self.call(|guest, store| guest.call_close(store))
            }
        };
        self.running = Running::Gone;
        self.closed = true;
        outcome
    }

    /// Takes the running component out, starting it anew if it is broken.
    fn live(&mut self) -> Result<(Box<Store<State>>, Box<Mneme>)> {
        match std::mem::replace(&mut self.running, Running::Gone) {
            Running::Live { store, guest } => Ok((store, guest)),
            Running::Gone => Err(Error::Component(
                "the cache was lost when a store, policy or clock of the program panicked; open it again".into(),
            )),
            Running::Broken(broken) => {
                let mut state = broken.into_data();
                state.memory_denied = false;
                let (mut store, guest) = start(&self.engine, state)?;
                match guest.mneme_cache_cache().call_open(&mut *store, &self.options) {
                    Ok(Ok(())) => Ok((store, guest)),
                    Ok(Err(error)) => {
                        self.running = Running::Broken(store);
                        Err(error.into())
                    }
                    Err(error) => {
                        let error = explain(&error, store.data());
                        self.running = Running::Broken(store);
                        Err(error)
                    }
                }
            }
        }
    }
}

fn start(engine: &Engine, state: State) -> Result<(Box<Store<State>>, Box<Mneme>)> {
    let mut store = Box::new(Store::new(engine.pre.engine(), state));
    store.set_hostcall_fuel(store.data().limits.host_call_bytes);
    store.limiter(|state| state);
    set_deadline(&mut store);
    let guest = engine
        .pre
        .instantiate(&mut *store)
        .map_err(|error| explain(&error, store.data()))?;
    Ok((store, Box::new(guest)))
}

fn set_deadline(store: &mut Store<State>) {
    let timeout = store.data().limits.call_timeout;
    let ticks = timeout.as_millis().div_ceil(TICK.as_millis()) + 1;
    store.set_epoch_deadline(
        u64::try_from(ticks)
            .unwrap_or(u64::MAX / 2)
            .min(u64::MAX / 2),
    );
}

/// Says why a call of the component was stopped.
fn explain(error: &wasmtime::Error, state: &State) -> Error {
    let limits = state.limits;
    if state.memory_denied {
        return Error::Limit(Limit::Memory {
            bytes: limits.memory_bytes,
        });
    }
    if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
        let milliseconds = u64::try_from(limits.call_timeout.as_millis()).unwrap_or(u64::MAX);
        return Error::Limit(Limit::Time { milliseconds });
    }
    // wasmtime keeps the type of this error to itself.
    if error
        .root_cause()
        .to_string()
        .contains("fuel allocated for hostcalls")
    {
        return Error::Limit(Limit::HostCall {
            bytes: limits.host_call_bytes,
        });
    }
    Error::Component(format!(
        "the component failed, which is a bug of mneme: {error:#}"
    ))
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes.min(maximum.unwrap_or(usize::MAX));
        self.memory_denied = desired > limit;
        Ok(!self.memory_denied)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(true)
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

impl imports::types::Host for State {}
impl imports::events::Host for State {}

impl policy::Host for State {
    fn confidence(&mut self, similarity: f32, age_seconds: u64, metadata: String) -> f32 {
        match &mut self.policies.confidence {
            Some(confidence) => confidence(similarity, age_seconds, &metadata),
            None => similarity,
        }
    }

    fn accept(&mut self, candidate: policy::Candidate) -> bool {
        self.policies
            .validator
            .as_mut()
            .is_none_or(|accept| accept(&candidate))
    }

    fn on_event(&mut self, event: events::Event) {
        if let Some(on_event) = &mut self.policies.on_event {
            on_event(&event);
        }
    }
}

type Stored<T> = std::result::Result<T, StoreError>;

impl imports::store::Host for State {
    fn capabilities(&mut self) -> CapabilitySet {
        self.store.capabilities()
    }

    fn open(&mut self, embedder_fingerprint: String, embedder_dim: u32) -> Stored<()> {
        self.store.open(&embedder_fingerprint, embedder_dim)
    }

    fn close(&mut self) -> Stored<()> {
        self.store.close()
    }

    fn get_by_hash(&mut self, keys: Vec<EntryKey>) -> Stored<Vec<Option<Entry>>> {
        self.store.get_by_hash(&keys)
    }

    fn get_by_ids(&mut self, ids: Vec<u64>) -> Stored<Vec<Entry>> {
        self.store.get_by_ids(&ids)
    }

    fn count(&mut self, namespace: Option<String>) -> Stored<u64> {
        self.store.count(namespace.as_deref())
    }

    fn list_namespaces(&mut self) -> Stored<Vec<String>> {
        self.store.list_namespaces()
    }

    fn iter_lru_ids(&mut self, n: u32, namespace: Option<String>) -> Stored<Vec<EntryRef>> {
        self.store.iter_lru_ids(n, namespace.as_deref())
    }

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Stored<Vec<Entry>> {
        self.store.iter_since(last_id, limit)
    }

    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Stored<VectorPage> {
        self.store.iter_vectors(last_id, limit)
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Stored<StampPage> {
        self.store.iter_stamps(last_id, limit)
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Stored<Vec<Inserted>> {
        self.store.insert(entries)
    }

    fn update_access(&mut self, touches: Vec<Touch>) -> Stored<()> {
        self.store.update_access(&touches)
    }

    fn delete_by_id(&mut self, id: u64) -> Stored<bool> {
        self.store.delete_by_id(id)
    }

    fn delete_unchanged(&mut self, entries: Vec<EntryRef>) -> Stored<Vec<u64>> {
        self.store.delete_unchanged(&entries)
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<String>,
        limit: u32,
    ) -> Stored<Vec<EntryRef>> {
        self.store.delete_expired(now, namespace.as_deref(), limit)
    }

    fn clear_namespace(&mut self, namespace: Option<String>) -> Stored<u64> {
        self.store.clear_namespace(namespace.as_deref())
    }

    fn set_namespace_quota(&mut self, namespace: String, max_entries: Option<u64>) -> Stored<()> {
        self.store.set_namespace_quota(&namespace, max_entries)
    }

    fn get_namespace_quota(&mut self, namespace: String) -> Stored<Option<u64>> {
        self.store.get_namespace_quota(&namespace)
    }

    fn list_namespace_quotas(&mut self) -> Stored<Vec<(String, u64)>> {
        self.store.list_namespace_quotas()
    }

    fn read_version_counter(&mut self) -> Stored<u64> {
        self.store.read_version_counter()
    }

    fn read_meta(&mut self, key: String) -> Stored<Option<String>> {
        self.store.read_meta(&key)
    }

    fn replace_meta(
        &mut self,
        key: String,
        expected: Option<String>,
        value: String,
    ) -> Stored<bool> {
        self.store.replace_meta(&key, expected.as_deref(), &value)
    }

    fn integrity_check(&mut self) -> Stored<bool> {
        self.store.integrity_check()
    }

    fn begin_snapshot(&mut self) -> Stored<u64> {
        self.store.begin_snapshot()
    }

    fn read_snapshot(&mut self, max: u32) -> Stored<Vec<u8>> {
        self.store.read_snapshot(max)
    }

    fn end_snapshot(&mut self) -> Stored<()> {
        self.store.end_snapshot()
    }

    fn begin_restore(&mut self) -> Stored<()> {
        self.store.begin_restore()
    }

    fn write_restore(&mut self, bytes: Vec<u8>) -> Stored<()> {
        self.store.write_restore(&bytes)
    }

    fn commit_restore(&mut self) -> Stored<()> {
        self.store.commit_restore()
    }
}
