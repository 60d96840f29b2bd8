//! What the component's imports do: calls of the store, the clock and the policies.

use crate::checkpoint::archive::Archive;
use crate::contract::mneme::cache as imports;
use crate::contract::store::{
    CapabilitySet, ImportMode, Inserted, MetaChange, Restored, StampPage, Touch, VectorPage,
};
use crate::contract::types::{Entry, EntryKey, EntryRef, Error as StoreError};
use crate::contract::wasi::clocks::wall_clock;
use crate::contract::{archive, events, policy};
use crate::host::{Clock, Policies, SystemClock};
use crate::observe::Watch;
use crate::store::Store as Backend;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::ResourceLimiter;

/// Limits on the component.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub memory_bytes: usize,
    pub call_timeout: Duration,
    pub host_call_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 2 << 30,
            call_timeout: Duration::from_secs(60),
            host_call_bytes: 128 << 20,
        }
    }
}

/// What the component's imports work on.
pub(crate) struct State {
    pub store: Box<dyn Backend>,
    pub clock: Box<dyn Clock>,
    pub policies: Policies,
    pub limits: Limits,
    /// Who is told what the component does. Nobody unless it is set.
    pub watch: Arc<Watch>,
    /// The bytes of memory that the component has.
    pub memory_bytes: usize,
    /// The component was refused memory since this was last cleared.
    pub memory_denied: bool,
    /// What a checkpoint is written to or read from, during that call only.
    pub archive: Option<Archive>,
    /// How often the component has called the store or the archive.
    calls: u64,
    /// The same when its deadline was last set.
    calls_then: u64,
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
            watch: Arc::default(),
            memory_bytes: 0,
            memory_denied: false,
            archive: None,
            calls: 0,
            calls_then: 0,
        }
    }

    /// Of a component on a store of its own, with nothing but defaults.
    pub fn alone(store: impl Backend + 'static) -> Self {
        Self::new(
            Box::new(store),
            Box::new(SystemClock),
            Policies::default(),
            Limits::default(),
        )
    }

    /// Whether the component, at its deadline, deserves another: a checkpoint takes as long
    /// as its size and the other ends make it, as long as it goes on.
    pub fn deserves_time(&mut self) -> bool {
        let went_on = self.archive.is_some() && self.calls != self.calls_then;
        self.calls_then = self.calls;
        went_on
    }

    fn store_call<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(&mut dyn Backend) -> Stored<T>,
    ) -> Stored<T> {
        self.calls += 1;
        self.watch.store_call(name, || call(&mut *self.store))
    }

    fn archive(&mut self) -> Stored<&mut Archive> {
        self.calls += 1;
        let none = || StoreError::Unsupported("there is no archive outside of a checkpoint".into());
        self.archive.as_mut().ok_or_else(none)
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.limits.memory_bytes.min(maximum.unwrap_or(usize::MAX));
        self.memory_denied = desired > limit;
        if !self.memory_denied {
            self.memory_bytes += desired - current;
        }
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

impl imports::store::Host for State {
    fn capabilities(&mut self) -> CapabilitySet {
        self.calls += 1;
        self.store.capabilities()
    }

    fn open(&mut self, embedder_fingerprint: String, embedder_dim: u32) -> Stored<()> {
        self.store_call("open", |store| {
            store.open(&embedder_fingerprint, embedder_dim)
        })
    }

    fn close(&mut self) -> Stored<()> {
        self.store_call("close", |store| store.close())
    }

    fn get_by_hash(&mut self, keys: Vec<EntryKey>) -> Stored<Vec<Option<Entry>>> {
        self.store_call("get_by_hash", |store| store.get_by_hash(&keys))
    }

    fn get_by_ids(&mut self, ids: Vec<u64>) -> Stored<Vec<Entry>> {
        self.store_call("get_by_ids", |store| store.get_by_ids(&ids))
    }

    fn count(&mut self, namespace: Option<String>) -> Stored<u64> {
        self.store_call("count", |store| store.count(namespace.as_deref()))
    }

    fn list_namespaces(&mut self) -> Stored<Vec<String>> {
        self.store_call("list_namespaces", |store| store.list_namespaces())
    }

    fn iter_lru_ids(&mut self, n: u32, namespace: Option<String>) -> Stored<Vec<EntryRef>> {
        self.store_call("iter_lru_ids", |store| {
            store.iter_lru_ids(n, namespace.as_deref())
        })
    }

    fn iter_since(&mut self, last_id: u64, limit: u32) -> Stored<Vec<Entry>> {
        self.store_call("iter_since", |store| store.iter_since(last_id, limit))
    }

    fn iter_vectors(&mut self, last_id: u64, limit: u32) -> Stored<VectorPage> {
        self.store_call("iter_vectors", |store| store.iter_vectors(last_id, limit))
    }

    fn iter_stamps(&mut self, last_id: u64, limit: u32) -> Stored<StampPage> {
        self.store_call("iter_stamps", |store| store.iter_stamps(last_id, limit))
    }

    fn insert(&mut self, entries: Vec<Entry>) -> Stored<Vec<Inserted>> {
        self.store_call("insert", |store| store.insert(entries))
    }

    fn update_access(&mut self, touches: Vec<Touch>) -> Stored<()> {
        self.store_call("update_access", |store| store.update_access(&touches))
    }

    fn delete_by_id(&mut self, id: u64) -> Stored<bool> {
        self.store_call("delete_by_id", |store| store.delete_by_id(id))
    }

    fn delete_unchanged(&mut self, entries: Vec<EntryRef>) -> Stored<Vec<u64>> {
        self.store_call("delete_unchanged", |store| store.delete_unchanged(&entries))
    }

    fn delete_expired(
        &mut self,
        now: u64,
        namespace: Option<String>,
        limit: u32,
    ) -> Stored<Vec<EntryRef>> {
        self.store_call("delete_expired", |store| {
            store.delete_expired(now, namespace.as_deref(), limit)
        })
    }

    fn clear_namespace(&mut self, namespace: Option<String>) -> Stored<u64> {
        self.store_call("clear_namespace", |store| {
            store.clear_namespace(namespace.as_deref())
        })
    }

    fn set_namespace_quota(&mut self, namespace: String, max_entries: Option<u64>) -> Stored<()> {
        self.store_call("set_namespace_quota", |store| {
            store.set_namespace_quota(&namespace, max_entries)
        })
    }

    fn get_namespace_quota(&mut self, namespace: String) -> Stored<Option<u64>> {
        self.store_call("get_namespace_quota", |store| {
            store.get_namespace_quota(&namespace)
        })
    }

    fn list_namespace_quotas(&mut self) -> Stored<Vec<(String, u64)>> {
        self.store_call("list_namespace_quotas", |store| {
            store.list_namespace_quotas()
        })
    }

    fn read_version_counter(&mut self) -> Stored<u64> {
        self.store_call("read_version_counter", |store| store.read_version_counter())
    }

    fn read_meta(&mut self, key: String) -> Stored<Option<String>> {
        self.store_call("read_meta", |store| store.read_meta(&key))
    }

    fn replace_meta(
        &mut self,
        key: String,
        expected: Option<String>,
        value: Option<String>,
    ) -> Stored<bool> {
        self.store_call("replace_meta", |store| {
            store.replace_meta(&key, expected.as_deref(), value.as_deref())
        })
    }

    fn list_meta(&mut self) -> Stored<Vec<(String, String)>> {
        self.store_call("list_meta", |store| store.list_meta())
    }

    fn integrity_check(&mut self) -> Stored<bool> {
        self.store_call("integrity_check", |store| store.integrity_check())
    }

    fn read_blob(&mut self, name: String) -> Stored<Option<Vec<u8>>> {
        self.store_call("read_blob", |store| store.read_blob(&name))
    }

    fn write_blob(&mut self, name: String, bytes: Vec<u8>) -> Stored<()> {
        self.store_call("write_blob", |store| store.write_blob(&name, bytes))
    }

    fn delete_blobs(&mut self, names: Vec<String>) -> Stored<()> {
        self.store_call("delete_blobs", |store| store.delete_blobs(&names))
    }

    fn list_blobs(&mut self) -> Stored<Vec<String>> {
        self.store_call("list_blobs", |store| store.list_blobs())
    }

    fn begin_view(&mut self) -> Stored<bool> {
        self.store_call("begin_view", |store| store.begin_view())
    }

    fn end_view(&mut self) -> Stored<()> {
        self.store_call("end_view", |store| store.end_view())
    }

    fn begin_import(&mut self, mode: ImportMode) -> Stored<()> {
        self.store_call("begin_import", |store| store.begin_import(mode))
    }

    fn write_import(&mut self, entries: Vec<Entry>) -> Stored<()> {
        self.store_call("write_import", |store| store.write_import(entries))
    }

    fn commit_import(&mut self, quotas: Vec<(String, u64)>, meta: Vec<MetaChange>) -> Stored<bool> {
        self.store_call("commit_import", |store| store.commit_import(&quotas, &meta))
    }

    fn end_import(&mut self) -> Stored<()> {
        self.store_call("end_import", |store| store.end_import())
    }

    fn begin_snapshot(&mut self) -> Stored<u64> {
        self.store_call("begin_snapshot", |store| store.begin_snapshot())
    }

    fn read_snapshot(&mut self, max: u32) -> Stored<Vec<u8>> {
        self.store_call("read_snapshot", |store| store.read_snapshot(max))
    }

    fn end_snapshot(&mut self) -> Stored<()> {
        self.store_call("end_snapshot", |store| store.end_snapshot())
    }

    fn begin_restore(&mut self) -> Stored<()> {
        self.store_call("begin_restore", |store| store.begin_restore())
    }

    fn write_restore(&mut self, bytes: Vec<u8>) -> Stored<()> {
        self.store_call("write_restore", |store| store.write_restore(&bytes))
    }

    fn check_restore(&mut self) -> Stored<Restored> {
        self.store_call("check_restore", |store| store.check_restore())
    }

    fn read_restore(&mut self, last_id: u64, limit: u32) -> Stored<Vec<Entry>> {
        self.store_call("read_restore", |store| store.read_restore(last_id, limit))
    }

    fn commit_restore(&mut self, only_if_empty: bool) -> Stored<()> {
        self.store_call("commit_restore", |store| {
            store.commit_restore(only_if_empty)
        })
    }

    fn end_restore(&mut self) -> Stored<()> {
        self.store_call("end_restore", |store| store.end_restore())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::mneme::cache::store::Host;
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
