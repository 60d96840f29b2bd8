//! Running the component: engine, linking, limits, and the restart after a trap.

use crate::checkpoint::archive::Archive;
use crate::contract::api::{NormalizedQuery, Options};
use crate::contract::exports::mneme::cache::cache::Guest;
use crate::contract::exports::mneme::cache::checkpoint::Guest as CheckpointGuest;
use crate::contract::trust::{BoundReport, ErrorBound, Judgement, Label, VetoKind};
use crate::contract::types::{Error as StoreError, VectorDtype};
use crate::contract::{Mneme, MnemePre};
use crate::embedder::Reading;
use crate::error::{Error, Result};
use crate::imports::State;
use crate::store::MemoryStore;
use mneme_component::{code_cache, compile, limited, reached, set_deadline};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Store};

/// The component's bytes, ready for any host that knows `wit/`.
pub fn component() -> &'static [u8] {
    mneme_component::cache()
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
    /// The process-wide engine, which caches use by default. The user's cache folder of
    /// wasmtime keeps the compiled code. Without such a folder each process compiles the
    /// component again, which takes some tenths of a second.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] if this machine cannot run it.
    pub fn shared() -> Result<Self> {
        static SHARED: OnceLock<Result<Engine, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| Self::compile(code_cache()).map_err(|e| e.to_string()))
            .clone()
            .map_err(Error::Component)
    }

    /// A new engine that keeps its compiled code in this folder. Only trusted users may have
    /// the right to write to it, because the code is run.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] if the folder cannot be used.
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

    /// A new engine that keeps nothing on disk.
    ///
    /// # Errors
    ///
    /// [`Error::Component`] if this machine cannot run it.
    pub fn without_code_cache() -> Result<Self> {
        Self::compile(None)
    }

    fn compile(cache: Option<Cache>) -> Result<Self> {
        let start = || -> wasmtime::Result<Self> {
            let (engine, component) = compile(component(), cache)?;
            let mut linker = Linker::new(&engine);
            Mneme::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut State| state)?;
            let pre = MnemePre::new(linker.instantiate_pre(&component)?)?;
            Ok(Engine { pre: Arc::new(pre) })
        };
        start().map_err(|error| {
            Error::Component(format!("the component cannot be compiled: {error:#}"))
        })
    }
}

/// A running component, and how to start it again.
pub(crate) struct Instance {
    pub engine: Engine,
    /// What it was opened with, without quotas, and kept up with later changes of the settings.
    pub options: Options,
    /// The namespaces whose quotas were set at opening. A component that takes over is told
    /// their present quotas.
    named: Vec<String>,
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
            named: Vec::new(),
            running: Running::Live { store, guest },
            closed: false,
        };
        let options = instance.options.clone();
        instance.call(|guest, store| guest.call_open(store, &options))?;
        // They are in the store. Whoever opens it again must not undo later changes.
        let set = std::mem::take(&mut instance.options.namespace_quotas);
        instance.named = set.into_iter().map(|(name, _)| name).collect();
        Ok(instance)
    }

    /// What the component's imports work on, unless it is gone.
    pub fn state(&mut self) -> Option<&mut State> {
        match &mut self.running {
            Running::Live { store, .. } | Running::Broken(store) => Some(store.data_mut()),
            Running::Gone => None,
        }
    }

    /// What the store warns of.
    pub fn warnings(&mut self) -> Vec<String> {
        let state = self.state();
        state.map_or_else(Vec::new, |state| state.store.warnings())
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
        self.run(|guest, store| call(guest.mneme_cache_cache(), store))
    }

    /// The text that this cache hashes and embeds for a query.
    pub fn compared_text(&mut self, query: String) -> Result<String> {
        match self.options.normalize {
            true => {
                let normalized =
                    self.call_infallible(|guest, store| guest.call_normalize(store, &query));
                Ok(normalized?.text)
            }
            false => Ok(query),
        }
    }

    /// Calls an export that reads or writes this archive, which is given back unless the
    /// call could not begin.
    pub fn call_with<T>(
        &mut self,
        archive: Archive,
        call: impl FnOnce(
            &CheckpointGuest,
            &mut Store<State>,
        ) -> wasmtime::Result<Result<T, StoreError>>,
    ) -> (Result<T>, Option<Archive>) {
        let mut back = None;
        let outcome = self.run(|guest, store| {
            let outcome = with_archive(archive, guest, store, call, &mut back);
            if outcome.is_err() {
                // What the component has begun in the store must not go on until it is
                // started again. Closing forgets it, and leaves nothing to be told.
                let _ = store.data_mut().store.close();
            }
            outcome
        });
        (outcome.and_then(|result| result.map_err(Error::from)), back)
    }

    /// Runs a call within its limits. If it panics, the component is dropped with its
    /// store; if it traps, the next one starts a new component.
    fn run<T>(
        &mut self,
        call: impl FnOnce(&Mneme, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T> {
        if self.closed {
            return Err(Error::Closed);
        }
        let (mut store, guest) = self.live()?;
        set_deadline(&mut store);
        store.data_mut().guard.denied = None;
        match call(&guest, &mut store) {
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

    /// The bytes of memory that the component has now.
    pub fn memory_bytes(&self) -> usize {
        match &self.running {
            Running::Live { store, .. } => store.data().guard.memory_bytes,
            Running::Broken(_) | Running::Gone => 0,
        }
    }

    /// Whether a component runs that holds what was not yet written.
    pub fn is_live(&self) -> bool {
        matches!(self.running, Running::Live { .. })
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Forgets everything but the settings, and opens the store again.
    pub fn reopen(&mut self) -> Result<()> {
        if self.closed {
            return Err(Error::Closed);
        }
        self.running = match std::mem::replace(&mut self.running, Running::Gone) {
            Running::Live { mut store, .. } | Running::Broken(mut store) => {
                // What cannot be released does not keep it from being opened.
                let _ = store.data_mut().store.close();
                Running::Broken(store)
            }
            Running::Gone => Running::Gone,
        };
        let (store, guest) = self.live()?;
        self.running = Running::Live { store, guest };
        Ok(())
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

    /// Takes the running component out, restarting it if it is broken.
    fn live(&mut self) -> Result<(Box<Store<State>>, Box<Mneme>)> {
        match std::mem::replace(&mut self.running, Running::Gone) {
            Running::Live { store, guest } => Ok((store, guest)),
            Running::Gone => Err(Error::Component(
                "the cache was lost when a store, policy, clock or archive of the program panicked; open it again".into(),
            )),
            Running::Broken(mut broken) => {
                let state = std::mem::replace(broken.data_mut(), State::alone(MemoryStore::new()));
                let dropping = drop_elsewhere(broken);
                let mut store = Box::new(limited(self.engine.pre.engine(), state));
                let started = instantiate(&self.engine, &mut store).or_else(|error| {
                    // There may have been room for one only.
                    let dropped = dropping.ok_or(error)?;
                    let _ = dropped.join();
                    instantiate(&self.engine, &mut store)
                });
                let resumed = started.and_then(|guest| {
                    self.resume(&mut store, &guest)?;
                    Ok(guest)
                });
                match resumed {
                    Ok(guest) => Ok((store, guest)),
                    Err(error) => {
                        self.running = Running::Broken(store);
                        Err(error)
                    }
                }
            }
        }
    }

    /// Opens the cache in a component that takes over.
    fn resume(&self, store: &mut Store<State>, guest: &Mneme) -> Result<()> {
        let mut options = self.options.clone();
        if !self.named.is_empty() {
            let backend = &mut store.data_mut().store;
            backend.open(&options.embedder_fingerprint, options.embedder_dim)?;
            for name in &self.named {
                if let Some(quota) = backend.get_namespace_quota(name)? {
                    options.namespace_quotas.push((name.clone(), quota));
                }
            }
        }
        let opened = guest.mneme_cache_cache().call_open(&mut *store, &options);
        opened.map_err(|error| explain(&error, store.data()))??;
        Ok(())
    }
}

/// Calls an export that needs no cache, in a component started for it alone. Gives the archive
/// back.
pub(crate) fn call_alone<T>(
    engine: &Engine,
    state: State,
    archive: Archive,
    call: impl FnOnce(&CheckpointGuest, &mut Store<State>) -> wasmtime::Result<Result<T, StoreError>>,
) -> (Result<T>, Option<Archive>) {
    let (mut store, guest) = match start(engine, state) {
        Ok(started) => started,
        Err(error) => return (Err(error), Some(archive)),
    };
    let mut back = None;
    let outcome = with_archive(archive, &guest, &mut store, call, &mut back);
    let outcome = outcome
        .map_err(|error| explain(&error, store.data()))
        .and_then(|result| result.map_err(Error::from));
    (outcome, back)
}

/// A component without a cache, for the functions that need none.
pub(crate) struct Functions {
    store: Box<Store<State>>,
    guest: Box<Mneme>,
}

impl Functions {
    pub fn start(engine: &Engine) -> Result<Self> {
        let state = State::alone(MemoryStore::new());
        let (store, guest) = start(engine, state)?;
        Ok(Functions { store, guest })
    }

    /// See `cache.hash`.
    pub fn hash(&mut self, text: &str, context: &str) -> Result<String> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        functions
            .call_hash(&mut *self.store, text, context)
            .map_err(|error| explain(&error, self.store.data()))
    }

    /// See `cache.normalize`.
    pub fn normalize(&mut self, query: &str) -> Result<NormalizedQuery> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        functions
            .call_normalize(&mut *self.store, query)
            .map_err(|error| explain(&error, self.store.data()))
    }

    /// The text that a cache hashes and embeds for a query.
    pub fn compared_text(&mut self, query: &str, normalize: bool) -> Result<String> {
        match normalize {
            true => Ok(self.normalize(query)?.text),
            false => Ok(query.to_owned()),
        }
    }

    /// The vetoes that a cache looks for by default.
    pub fn default_vetoes(&mut self) -> Result<Vec<VetoKind>> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        let options = functions.call_default_options(&mut *self.store, "any", 1);
        options
            .map(|options| options.vetoes)
            .map_err(|error| explain(&error, self.store.data()))
    }

    /// See `cache.judge`.
    pub fn judge(&mut self, query: &str, entry: &str, kinds: &[VetoKind]) -> Result<Judgement> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        functions
            .call_judge(&mut *self.store, query, entry, kinds)
            .map_err(|error| explain(&error, self.store.data()))
    }

    /// See `cache.assess`.
    pub fn assess(&mut self, bound: ErrorBound, labels: &[(f32, Label)]) -> Result<BoundReport> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        let assessed = functions.call_assess(&mut *self.store, bound, labels);
        Ok(assessed.map_err(|error| explain(&error, self.store.data()))??)
    }

    /// See `cache.is-readable`.
    pub fn is_readable(&mut self, reading: Reading) -> Result<bool> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        functions
            .call_is_readable(&mut *self.store, reading.into())
            .map_err(|error| explain(&error, self.store.data()))
    }

    /// See `cache.similarity`.
    pub fn similarity(&mut self, a: &[f32], b: &[f32], dtype: VectorDtype) -> Result<f32> {
        set_deadline(&mut self.store);
        let functions = self.guest.mneme_cache_cache();
        functions
            .call_similarity(&mut *self.store, a, b, dtype)
            .map_err(|error| explain(&error, self.store.data()))?
            .map_err(Error::from)
    }
}

/// Lends the archive to the component for the time of the call.
fn with_archive<T>(
    archive: Archive,
    guest: &Mneme,
    store: &mut Store<State>,
    call: impl FnOnce(&CheckpointGuest, &mut Store<State>) -> T,
    back: &mut Option<Archive>,
) -> T {
    store.data_mut().archive = Some(archive);
    let outcome = call(guest.mneme_cache_checkpoint(), store);
    *back = store.data_mut().archive.take();
    outcome
}

fn start(engine: &Engine, state: State) -> Result<(Box<Store<State>>, Box<Mneme>)> {
    let mut store = Box::new(limited(engine.pre.engine(), state));
    let guest = instantiate(engine, &mut store)?;
    Ok((store, guest))
}

/// Starts the component in a store without one.
fn instantiate(engine: &Engine, store: &mut Store<State>) -> Result<Box<Mneme>> {
    let guard = &mut store.data_mut().guard;
    (guard.memory_bytes, guard.denied) = (0, None);
    let guest = engine.pre.instantiate(&mut *store);
    guest
        .map(Box::new)
        .map_err(|error| explain(&error, store.data()))
}

/// Drops a value on another thread, if one can be had: the memory of a large component takes a tenth of
/// a second to be given back, and whoever waits for a turn would wait for that too.
fn drop_elsewhere<T: Send + 'static>(value: T) -> Option<JoinHandle<()>> {
    thread::Builder::new().spawn(move || drop(value)).ok()
}

/// Says why a call of the component was stopped.
fn explain(error: &wasmtime::Error, state: &State) -> Error {
    match reached(error, &state.guard) {
        Some(limit) => Error::Limit(limit),
        None => Error::Component(format!(
            "the component failed, which is a bug in mneme: {error:#}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Part of an old instance, which takes as long to be dropped as the test wants.
    struct Slow {
        may_go: Mutex<Receiver<()>>,
        gone: Sender<()>,
    }

    impl Drop for Slow {
        fn drop(&mut self) {
            let _ = self.may_go.get_mut().unwrap().recv_timeout(PATIENCE);
            let _ = self.gone.send(());
        }
    }

    #[test]
    fn an_instance_that_is_replaced_holds_up_nobody_until_it_is_dropped() {
        let state = State::alone(MemoryStore::new());
        let engine = Engine::shared().unwrap();
        let mut instance = Instance::open(engine, state, |options| options, "e", 2).unwrap();
        let (let_go, may_go) = channel();
        let (gone, is_gone) = channel();
        let slow = Slow {
            may_go: Mutex::new(may_go),
            gone,
        };
        let Running::Live { store, .. } = &mut instance.running else {
            panic!("it runs");
        };
        store.epoch_deadline_callback(move |_| {
            let _ = &slow;
            Ok(wasmtime::UpdateDeadline::Continue(1))
        });
        instance.reopen().unwrap();
        let stats = instance.call(|guest, store| guest.call_stats(store, None));
        assert_eq!(stats.unwrap().entries, 0);
        assert!(is_gone.try_recv().is_err());
        let_go.send(()).unwrap();
        is_gone.recv_timeout(PATIENCE).unwrap();
    }
}
