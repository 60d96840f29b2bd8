//! The glue between the component's imports and exports and the cache.

use crate::bindings::exports::mneme::cache::cache::Guest;
use crate::bindings::exports::mneme::cache::checkpoint::Guest as CheckpointGuest;
use crate::bindings::mneme::cache::{archive, policy, store as imported};
use crate::bindings::wasi::clocks::wall_clock;
use crate::cache::Cache;
use crate::error::{Result, invalid};
use crate::host::{Archive, Host, Now};
use crate::judge::{Judge, Kinds};
use crate::policy as policy_rules;
use crate::store::Store;
use crate::types::*;
use crate::{bound, checkpoint, options, query, vector};
use std::cell::Cell;

/// The imported store.
struct ImportedStore;

/// The imported clock and policy.
struct ImportedHost;

/// The imported archive.
struct ImportedArchive;

type Instance = Cache<ImportedStore, ImportedHost>;

thread_local! {
    /// The one cache of this instance. A call takes it out while it runs, so that nothing is
    /// borrowed during an import.
    static CACHE: Cell<Option<Instance>> = const { Cell::new(Some(Cache::new(ImportedStore, ImportedHost))) };
}

/// Runs a call on the cache.
fn with<T>(call: impl FnOnce(&mut Instance) -> Result<T>) -> Result<T> {
    let Some(mut cache) = CACHE.take() else {
        return Err(invalid(
            "the cache is in the middle of another call; an import must not call back into it",
        ));
    };
    let result = call(&mut cache);
    CACHE.set(Some(cache));
    result
}

struct Component;

crate::bindings::export!(Component with_types_in crate::bindings);

impl Guest for Component {
    fn default_options(embedder_fingerprint: String, embedder_dim: u32) -> Options {
        options::defaults(&embedder_fingerprint, embedder_dim)
    }

    fn open(options: Options) -> Result<()> {
        with(|cache| cache.open(options))
    }

    fn close() -> Result<()> {
        with(Cache::close)
    }

    fn flush() -> Result<bool> {
        with(Cache::flush)
    }

    fn others_did(wrote: bool, used: Vec<u64>) -> Result<()> {
        with(|cache| cache.others_did(wrote, &used))
    }

    fn get(request: GetRequest) -> Result<Lookup> {
        with(|cache| cache.get(request))
    }

    fn get_many(requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        with(|cache| cache.get_many(requests))
    }

    fn explain(request: GetRequest, limit: u32) -> Result<Explained> {
        with(|cache| cache.explain(request, limit))
    }

    fn put(request: PutRequest) -> Result<PutOutcome> {
        with(|cache| cache.put(request))
    }

    fn put_many(requests: Vec<PutRequest>) -> Result<Vec<PutOutcome>> {
        with(|cache| cache.put_many(requests))
    }

    fn link(
        query: String,
        namespace: String,
        context: String,
        id: u64,
        created_at: u64,
    ) -> Result<Option<u64>> {
        with(|cache| cache.link(query, namespace, context, id, created_at))
    }

    fn feedback(
        namespace: String,
        ticket: String,
        label: Label,
        source: LabelSource,
    ) -> Result<()> {
        with(|cache| cache.feedback(&namespace, &ticket, label, source))
    }

    fn delete(query: String, namespace: String, context: String) -> Result<bool> {
        with(|cache| cache.delete(&query, &namespace, &context))
    }

    fn list_entries(filter: EntryFilter, after: u64, limit: u32) -> Result<EntryPage> {
        with(|cache| cache.list_entries(filter, after, limit))
    }

    fn erase(filter: EntryFilter, everything: bool, dry_run: bool, after: u64) -> Result<Erasure> {
        with(|cache| cache.erase(filter, everything, dry_run, after))
    }

    fn clear() -> Result<Step> {
        with(Cache::clear)
    }

    fn clear_namespace(namespace: String) -> Result<Step> {
        with(|cache| cache.clear_namespace(&namespace))
    }

    fn vacuum(namespace: Option<String>, compact: bool) -> Result<Step> {
        with(|cache| cache.vacuum(namespace.as_deref(), compact))
    }

    fn compact() -> Result<Step> {
        with(Cache::compact)
    }

    fn warm_up() -> Result<Step> {
        with(Cache::warm_up)
    }

    fn set_namespace_quota(namespace: String, max_entries: Option<u64>) -> Result<()> {
        with(|cache| cache.set_namespace_quota(&namespace, max_entries))
    }

    fn get_namespace_quota(namespace: String) -> Result<Option<u64>> {
        with(|cache| cache.namespace_quota(&namespace))
    }

    fn set_similarity_threshold(threshold: f32) -> Result<()> {
        with(|cache| cache.set_similarity_threshold(threshold))
    }

    fn requantize(dtype: VectorDtype) -> Result<bool> {
        with(|cache| cache.requantize(dtype))
    }

    fn list_namespaces(after: Option<String>, limit: u32) -> Result<Vec<String>> {
        with(|cache| cache.list_namespaces(after.as_deref(), limit))
    }

    fn stats(namespace: Option<String>) -> Result<CacheStats> {
        with(|cache| cache.stats(namespace.as_deref()))
    }

    fn index_rows() -> Result<u64> {
        with(Cache::index_rows)
    }

    fn health(deep: bool) -> Result<HealthReport> {
        with(|cache| cache.health(deep))
    }

    fn normalize(query: String) -> NormalizedQuery {
        let text = query::normalize(&query);
        NormalizedQuery {
            hash: query::hash(&text, ""),
            text,
        }
    }

    fn hash(text: String, context: String) -> String {
        query::hash(&text, &context)
    }

    fn is_readable(reading: Reading) -> bool {
        policy_rules::is_readable(&reading)
    }

    fn judge(query: String, entry: String, kinds: Vec<VetoKind>) -> Judgement {
        let kinds = kinds.into_iter().fold(Kinds::NONE, Kinds::with);
        Judge::new(&query).vetoes(&entry, kinds)
    }

    fn bounds() -> Result<Vec<(String, BoundReport)>> {
        with(Instance::bounds)
    }

    fn compare(response: String, other: String) -> Label {
        bound::compare(&response, &other)
    }

    fn assess(bound: ErrorBound, labels: Vec<(f32, Label)>) -> Result<BoundReport> {
        bound::assess(&bound, &labels)
    }

    fn similarity(a: Vec<f32>, b: Vec<f32>, dtype: VectorDtype) -> Result<f32> {
        vector::similarity(a, b, dtype)
    }
}

impl CheckpointGuest for Component {
    fn default_dump_options() -> DumpOptions {
        checkpoint::default_dump_options()
    }

    fn default_load_options() -> LoadOptions {
        checkpoint::default_load_options()
    }

    fn default_inspect_options() -> InspectOptions {
        checkpoint::default_inspect_options()
    }

    fn dump(options: DumpOptions) -> Result<DumpReport> {
        with(|cache| cache.dump(&options, &ImportedArchive))
    }

    fn load(options: LoadOptions) -> Result<LoadReport> {
        with(|cache| cache.load(options, &ImportedArchive))
    }

    fn inspect(options: InspectOptions) -> Result<Summary> {
        with(|cache| cache.inspect(&options, &ImportedArchive))
    }
}

impl Archive for ImportedArchive {
    fn read(&self, max: u32) -> Result<Vec<u8>> {
        archive::read(max)
    }

    fn write(&self, bytes: &[u8]) -> Result<()> {
        archive::write(bytes)
    }

    fn progress(&self, done: u64, total: Option<u64>, unit: Unit) {
        archive::progress(done, total, unit);
    }
}

impl Host for ImportedHost {
    fn now(&self) -> Now {
        let now = wall_clock::now();
        Now {
            millis: now
                .seconds
                .saturating_mul(1000)
                .saturating_add(u64::from(now.nanoseconds / 1_000_000)),
        }
    }

    fn confidence(&self, similarity: f32, age_seconds: u64, metadata: &str) -> f32 {
        policy::confidence(similarity, age_seconds, metadata)
    }

    fn accept(&self, candidate: &Candidate) -> bool {
        policy::accept(candidate)
    }

    fn on_event(&self, event: &Event) {
        policy::on_event(event);
    }
}

impl Store for ImportedStore {
    fn capabilities(&self) -> CapabilitySet {
        imported::capabilities()
    }

    fn open(&self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()> {
        imported::open(embedder_fingerprint, embedder_dim)
    }

    fn close(&self) -> Result<()> {
        imported::close()
    }

    fn get_by_hash(&self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>> {
        imported::get_by_hash(keys, vectors)
    }

    fn get_by_ids(&self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>> {
        imported::get_by_ids(ids, vectors)
    }

    fn select(&self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection> {
        imported::select(filter, last_id, limit)
    }

    fn count(&self, namespace: Option<&str>) -> Result<u64> {
        imported::count(namespace)
    }

    fn list_namespaces(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        imported::list_namespaces(after, limit)
    }

    fn count_by_namespace(&self, after: Option<&str>, limit: u32) -> Result<Vec<(String, u64)>> {
        imported::count_by_namespace(after, limit)
    }

    fn iter_lru_ids(&self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>> {
        imported::iter_lru_ids(n, namespace)
    }

    fn iter_since(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        imported::iter_since(last_id, limit)
    }

    fn iter_vectors(&self, last_id: u64, limit: u32) -> Result<VectorPage> {
        imported::iter_vectors(last_id, limit)
    }

    fn iter_stamps(&self, last_id: u64, limit: u32) -> Result<StampPage> {
        imported::iter_stamps(last_id, limit)
    }

    fn insert(&self, entries: &[Entry]) -> Result<Vec<Inserted>> {
        imported::insert(entries)
    }

    fn update_access(&self, touches: &[Touch]) -> Result<()> {
        imported::update_access(touches)
    }

    fn delete_by_id(&self, id: u64) -> Result<bool> {
        imported::delete_by_id(id)
    }

    fn delete_unchanged(&self, entries: &[EntryRef]) -> Result<Vec<u64>> {
        imported::delete_unchanged(entries)
    }

    fn delete_expired(
        &self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>> {
        imported::delete_expired(now, namespace, limit)
    }

    fn clear_namespace(&self, namespace: Option<&str>) -> Result<u64> {
        imported::clear_namespace(namespace)
    }

    fn set_namespace_quota(&self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        imported::set_namespace_quota(namespace, max_entries)
    }

    fn get_namespace_quota(&self, namespace: &str) -> Result<Option<u64>> {
        imported::get_namespace_quota(namespace)
    }

    fn list_namespace_quotas(&self) -> Result<Vec<(String, u64)>> {
        imported::list_namespace_quotas()
    }

    fn read_version_counter(&self) -> Result<u64> {
        imported::read_version_counter()
    }

    fn changes_since(&self, version: u64, limit: u32) -> Result<Option<ChangePage>> {
        imported::changes_since(version, limit)
    }

    fn nearest(&self, query: &VectorQuery, limit: u32) -> Result<Vec<Neighbour>> {
        imported::nearest(query, limit)
    }

    fn read_meta(&self, key: &str) -> Result<Option<String>> {
        imported::read_meta(key)
    }

    fn replace_meta(&self, key: &str, expected: Option<&str>, value: Option<&str>) -> Result<bool> {
        imported::replace_meta(key, expected, value)
    }

    fn list_meta(&self) -> Result<Vec<(String, String)>> {
        imported::list_meta()
    }

    fn integrity_check(&self) -> Result<bool> {
        imported::integrity_check()
    }

    fn read_blob(&self, name: &str) -> Result<Option<Vec<u8>>> {
        imported::read_blob(name)
    }

    fn write_blob(&self, name: &str, bytes: &[u8]) -> Result<()> {
        imported::write_blob(name, bytes)
    }

    fn delete_blobs(&self, names: &[String]) -> Result<()> {
        imported::delete_blobs(names)
    }

    fn list_blobs(&self) -> Result<Vec<String>> {
        imported::list_blobs()
    }

    fn begin_view(&self) -> Result<bool> {
        imported::begin_view()
    }

    fn end_view(&self) -> Result<()> {
        imported::end_view()
    }

    fn begin_import(&self, mode: ImportMode) -> Result<()> {
        imported::begin_import(mode)
    }

    fn write_import(&self, entries: &[Entry]) -> Result<()> {
        imported::write_import(entries)
    }

    fn commit_import(&self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool> {
        imported::commit_import(quotas, meta)
    }

    fn end_import(&self) -> Result<()> {
        imported::end_import()
    }

    fn begin_snapshot(&self) -> Result<u64> {
        imported::begin_snapshot()
    }

    fn read_snapshot(&self, max: u32) -> Result<Vec<u8>> {
        imported::read_snapshot(max)
    }

    fn end_snapshot(&self) -> Result<()> {
        imported::end_snapshot()
    }

    fn begin_restore(&self) -> Result<()> {
        imported::begin_restore()
    }

    fn write_restore(&self, bytes: &[u8]) -> Result<()> {
        imported::write_restore(bytes)
    }

    fn check_restore(&self) -> Result<Restored> {
        imported::check_restore()
    }

    fn read_restore(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>> {
        imported::read_restore(last_id, limit)
    }

    fn commit_restore(&self, only_if_empty: bool) -> Result<()> {
        imported::commit_restore(only_if_empty)
    }

    fn end_restore(&self) -> Result<()> {
        imported::end_restore()
    }
}
