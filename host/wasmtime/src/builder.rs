//! Opening a cache.

use crate::bound::SameAnswer;
use crate::cache::SemanticCache;
use crate::cache::verifying::Verifying as VerifyingPools;
use crate::component::{Engine, Instance};
use crate::contract::api::{ConfidenceRule, Decay, IndexKeeping, ValidatorRule};
use crate::contract::events::Event;
use crate::contract::policy::Candidate;
use crate::contract::trust::{ErrorBound, Label, Verifying, VetoKind};
use crate::contract::types::VectorDtype;
use crate::embedder::Embedder;
use crate::error::{Error, Result};
use crate::host::{Clock, ErrorFn, Policies, SystemClock};
use crate::imports::State;
use crate::lanes::Lanes;
use crate::observe::{Counting, Observer, Watch};
use crate::pool::{self, Pool};
use crate::store::Store;
use crate::verifier::Verifier;
use mneme_component::Limits;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use crate::contract::api::{Coordination, GraphOptions, IndexKind, Options};

/// The parts and settings of a cache, which [`open`](Self::open) opens. Everything has a
/// default except store and embedder.
pub struct Builder {
    store: Option<Box<dyn Store>>,
    handles: Option<Handles>,
    lanes: (u32, u32),
    embedder: Option<Box<dyn Embedder>>,
    engine: Option<Engine>,
    clock: Arc<dyn Clock>,
    policies: Policies,
    limits: Limits,
    observers: Vec<Box<dyn Observer>>,
    embedding: pool::Limits,
    verifier: Option<Box<dyn Verifier>>,
    verification: pool::Limits,
    same_answer: Option<SameAnswer>,
    on_error: Option<ErrorFn>,
    settings: Vec<Setting>,
}

/// A change of the default options.
type Setting = Box<dyn FnOnce(&mut Options)>;

/// Makes handles of one storage.
type Handles = Box<dyn Fn() -> Result<Box<dyn Store>>>;

/// The verifier is asked about what is similar enough.
const NOT_BELOW: Verifying = Verifying {
    band: None,
    later: false,
};

/// The most lanes of each kind.
pub const MAX_LANES: u32 = 64;

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl SemanticCache {
    /// Starts to describe a cache.
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl Builder {
    fn new() -> Self {
        Builder {
            store: None,
            handles: None,
            lanes: (0, 1),
            embedder: None,
            engine: None,
            clock: Arc::new(SystemClock),
            policies: Policies::default(),
            limits: Limits::default(),
            observers: Vec::new(),
            embedding: pool::Limits::default(),
            verifier: None,
            verification: pool::Limits::default(),
            same_answer: None,
            on_error: None,
            settings: Vec::new(),
        }
    }

    /// Where entries are kept.
    #[must_use]
    pub fn store(self, store: impl Store + 'static) -> Self {
        self.boxed_store(Box::new(store))
    }

    /// Where entries are kept, for stores chosen at run time.
    #[must_use]
    pub fn boxed_store(mut self, store: Box<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Makes as many handles of one storage as are needed: each call makes another one on the same data.
    /// The cache works with the first, unless it has a [`store`](Self::store), and [`lanes`](Self::lanes)
    /// with others. On one more, [`Gauges`](crate::observe::Gauges) count entries, so that no caller waits
    /// for it; it is opened when they are read first. Without this, counting takes its turn like other
    /// calls.
    #[must_use]
    pub fn store_handles(mut self, another: impl Fn() -> Result<Box<dyn Store>> + 'static) -> Self {
        self.handles = Some(Box::new(another));
        self
    }

    /// How many instances of the component answer side by side, 0 to 64 `exact` and 1 to 64 `semantic`
    /// ones. Default 0 and 1: one caller after the other, as long as the embedder is not at work. Needs
    /// [`store_handles`](Self::store_handles).
    ///
    /// An exact lane has no index and takes some MiB. It answers what the exact layer knows: one caller
    /// at a time, so that with a store 1 ms away each gives a thousand answers a second. A semantic lane
    /// has an index of its rows in memory. The first does everything else too: it stores, evicts and
    /// looks after the data. The others load their index once several callers meet.
    ///
    /// It stays one cache: a look-up sees what was stored through any lane before it began, counters and
    /// quotas are those of all, and callbacks are called by one lane at a time.
    ///
    /// More than one semantic lane needs a store with a log of changes
    /// ([`CapabilitySet::max_changes`](crate::store::CapabilitySet::max_changes)).
    #[must_use]
    pub fn lanes(mut self, exact: u32, semantic: u32) -> Self {
        self.lanes = (exact, semantic);
        self
    }

    /// What turns queries into vectors.
    #[must_use]
    pub fn embedder(self, embedder: impl Embedder + 'static) -> Self {
        self.boxed_embedder(Box::new(embedder))
    }

    /// What turns queries into vectors, for embedders chosen at run time.
    #[must_use]
    pub fn boxed_embedder(mut self, embedder: Box<dyn Embedder>) -> Self {
        self.embedder = Some(embedder);
        self
    }

    /// The least similarity of a semantic hit, -1 to 1. Default 0.85. The right value
    /// depends on the embedder: measure it on your own questions.
    #[must_use]
    pub fn similarity_threshold(self, threshold: f32) -> Self {
        self.set(move |options| options.similarity_threshold = threshold)
    }

    /// The lifetime in seconds of entries that are put without one. Default: unlimited.
    #[must_use]
    pub fn default_ttl(self, seconds: u64) -> Self {
        self.set(move |options| options.default_ttl = Some(seconds))
    }

    /// The most entries in all namespaces together, at least 1. Default: no limit.
    #[must_use]
    pub fn max_entries(self, max_entries: u64) -> Self {
        self.set(move |options| options.max_entries = Some(max_entries))
    }

    /// The most bytes of all entries together, at least 1: their texts, tags, metadata and vectors, as
    /// [`Stats::bytes`](crate::Stats::bytes) tells. Entries that this cache has not stored are
    /// estimated from a sample, so leave some room. What the backend adds for itself is not counted.
    /// Default: no limit.
    #[must_use]
    pub fn max_total_bytes(self, max_bytes: u64) -> Self {
        self.set(move |options| options.max_bytes = Some(max_bytes))
    }

    /// The most entries of one namespace. 0 closes the namespace to writing.
    ///
    /// The quota is written to the store once, by [`open`](Self::open). Later changes hold
    /// until a cache is opened with this setting again: those of
    /// [`set_namespace_quota`](SemanticCache::set_namespace_quota), by any process, and those of
    /// an archive that is loaded. Where the archive has no quota for the namespace, the one that
    /// the namespace has stays, even if the load replaces everything else.
    #[must_use]
    pub fn namespace_quota(self, namespace: impl Into<String>, max_entries: u64) -> Self {
        let quota = (namespace.into(), max_entries);
        self.set(move |options| options.namespace_quotas.push(quota))
    }

    /// Confidence halves in this many seconds (at least 1; default 86,400), and
    /// semantic candidates below the cut-off (0 to 1) do not answer: the look-up misses as
    /// [`LowConfidence`](crate::MissReason::LowConfidence). Default 0: age refuses nothing, and
    /// freshness is what a TTL is for.
    #[must_use]
    pub fn confidence_decay(self, half_life_seconds: u64, cut_off: f32) -> Self {
        self.set(move |options| {
            options.confidence = ConfidenceRule::Decay(Decay {
                half_life_seconds,
                cut_off,
            });
        })
    }

    /// This function computes the confidence, 0 to 1, from similarity, age in seconds and
    /// metadata. Semantic candidates below the cut-off (0 to 1) do not answer.
    #[must_use]
    pub fn confidence_fn(
        mut self,
        cut_off: f32,
        confidence: impl FnMut(f32, u64, &str) -> f32 + Send + 'static,
    ) -> Self {
        self.policies.confidence = Some(Box::new(confidence));
        self.set(move |options| options.confidence = ConfidenceRule::Host(cut_off))
    }

    /// A semantic candidate answers only if this function accepts it; the next one is asked
    /// about otherwise. The default refuses, and deletes, blank responses, and those that begin with `[LLM Error]`
    /// or `[ERROR]`. It is also asked about an exact answer by
    /// [`get_or_compute`](crate::SemanticCache::get_or_compute), and about what that would keep.
    #[must_use]
    pub fn validator(mut self, accept: impl FnMut(&Candidate) -> bool + Send + 'static) -> Self {
        self.policies.validator = Some(Box::new(accept));
        self.set(|options| options.validator = ValidatorRule::Host)
    }

    /// Accepts every response.
    #[must_use]
    pub fn no_validator(self) -> Self {
        self.set(|options| options.validator = ValidatorRule::None)
    }

    /// Which vetoes are looked for between a question and the entries that are similar enough: reasons
    /// in the words why the answer to one cannot be the answer to the other, such as `turn on` and `turn
    /// off`. An entry with a veto does not answer and stays, and the next one is judged; after four the
    /// look-up misses as [`Vetoed`](crate::MissReason::Vetoed). They know English, and leave texts in
    /// other languages alone. Default: all but [`VetoKind::Names`] and [`VetoKind::QuestionWord`], which
    /// are often wrong. An empty list switches them off.
    #[must_use]
    pub fn vetoes(self, kinds: impl IntoIterator<Item = VetoKind>) -> Self {
        let kinds: Vec<VetoKind> = kinds.into_iter().collect();
        self.set(move |options| options.vetoes = kinds)
    }

    /// Asks this about the one candidate that is about to answer semantically. If it says no, or fails,
    /// the look-up is a miss, [`Unverified`](crate::MissReason::Unverified) or
    /// [`VerifierFailure`](crate::MissReason::VerifierFailure), and nothing is deleted. Exact answers
    /// are not verified. Default: nobody is asked.
    #[must_use]
    pub fn verifier(self, verifier: impl Verifier + 'static) -> Self {
        self.boxed_verifier(Box::new(verifier))
    }

    /// See [`verifier`](Self::verifier), for verifiers chosen at run time.
    #[must_use]
    pub fn boxed_verifier(mut self, verifier: Box<dyn Verifier>) -> Self {
        self.verifier = Some(verifier);
        self.set(|options| {
            options.verifying.get_or_insert(NOT_BELOW);
        })
    }

    /// The verify band: candidates that are less similar than the threshold, and at least so similar (-1
    /// to 1), answer if the verifier says yes. Default: none do. Needs a [`verifier`](Self::verifier).
    #[must_use]
    pub fn verify_band(self, least_similarity: f32) -> Self {
        self.set(move |options| {
            options.verifying.get_or_insert(NOT_BELOW).band = Some(least_similarity);
        })
    }

    /// Whether candidates of the [verify band](Self::verify_band) are verified afterwards. The look-up
    /// misses at once; if the verifier then says yes, and the question has no answer by that time, it is
    /// [linked](crate::SemanticCache::link) to the candidate's, and hits exactly next time. Two calls of
    /// the verifier at a time are of this kind, and a question is verified once; at most 256 wait, others
    /// are passed over, and closing the cache drops those that wait. Default false: the look-up waits for
    /// the verifier.
    #[must_use]
    pub fn verify_later(self, later: bool) -> Self {
        self.set(move |options| options.verifying.get_or_insert(NOT_BELOW).later = later)
    }

    /// Lets labels decide which candidates answer by meaning, so that at most a share of the answers is
    /// wrong; see [`ErrorBound::answers`] and [`ErrorBound::requests`]. They replace the similarity threshold; that of
    /// a request is a further limit. A candidate answers if its score reaches the threshold that the labels of its namespace
    /// open; with too few labels, or bad ones, nothing does, and [`Stats::bound`](crate::Stats) says why.
    /// [`get_or_compute`](crate::SemanticCache::get_or_compute) compares after each miss and labels; others
    /// [give feedback](crate::SemanticCache::feedback). Default: none, and the threshold decides.
    #[must_use]
    pub fn error_bound(self, bound: ErrorBound) -> Self {
        self.set(move |options| options.error_bound = Some(bound))
    }

    /// How [`get_or_compute`](crate::SemanticCache::get_or_compute) compares the response that it computed after
    /// a miss with that of the candidate that was near. The function runs on the thread that computed.
    /// Default: they are the same if they are equal after normalising; if not, nobody can say, and that
    /// counts as wrong. So whoever caches free text sets this, or
    /// [`same_answer_from`](Self::same_answer_from). Needs an [error bound](Self::error_bound).
    #[must_use]
    pub fn same_answer(
        mut self,
        compare: impl Fn(&Candidate, &str) -> Label + Send + Sync + 'static,
    ) -> Self {
        self.same_answer = Some(SameAnswer::Asked(Box::new(compare)));
        self
    }

    /// As [`same_answer`](Self::same_answer), by the cache's embedder: two responses are the same if they are
    /// equal after normalising, or the cosine of their embeddings is at least this, -1 to 1; else they
    /// differ. If the embedder fails there is no label.
    #[must_use]
    pub fn same_answer_from(mut self, least_similarity: f32) -> Self {
        self.same_answer = Some(SameAnswer::Embedded(least_similarity));
        self
    }

    /// The longest that a call of the verifier may take, and the longest that candidates wait in line
    /// while no call succeeds. Default 10 s. After that the look-up is a miss, and the call is
    /// abandoned: its thread ends when it returns. [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn verify_timeout(mut self, timeout: Duration) -> Self {
        self.verification.timeout = timeout;
        self
    }

    /// The most calls of the verifier at the same time, at least 1. Default 16. Others wait in line.
    #[must_use]
    pub fn verify_concurrency(mut self, calls: usize) -> Self {
        self.verification.concurrency = calls;
        self
    }

    /// Calls this function for every hit, miss, veto, put, deletion, eviction, expiration and
    /// rejection. It runs inside the call, while other callers wait, so it must be quick.
    /// Calls of the cache from within it fail.
    #[must_use]
    pub fn on_event(mut self, on_event: impl FnMut(&Event) + Send + 'static) -> Self {
        self.policies.on_event = Some(Box::new(on_event));
        self.set(|options| options.events = true)
    }

    /// Calls this function for every failure that the cache gets over: the embedder's in a look-up,
    /// which is then a miss, and that of storing what `get_or_compute` has computed. Any thread
    /// calls it, and waits for it.
    #[must_use]
    pub fn on_error(mut self, on_error: impl Fn(&Error) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(on_error));
        self
    }

    /// The longest that a call of the embedder may take, for at most 128 texts, and the longest that
    /// texts wait in line while no call succeeds: a busy embedder serves all in line, in their
    /// order, and one that hangs keeps nobody longer than this. Default 10 s. After that the text
    /// counts as one that could not be embedded: a look-up is a miss, a put an error. The call is
    /// abandoned, and its thread ends when it returns. [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn embed_timeout(mut self, timeout: Duration) -> Self {
        self.embedding.timeout = timeout;
        self
    }

    /// The most calls of the embedder at the same time, at least 1. Default 16, and never more than
    /// the embedder's [`max_calls`](crate::Embedder::max_calls). Others wait in line.
    #[must_use]
    pub fn embed_concurrency(mut self, calls: usize) -> Self {
        self.embedding.concurrency = calls;
        self
    }

    /// Adds an observer, which receives every event and the duration of calls, for metrics.
    /// Any number of observers is possible; default none. See [`observe`](crate::observe).
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observers.push(Box::new(observer));
        self.set(|options| options.events = true)
    }

    /// How the index holds vectors in memory. Default [`VectorDtype::Float32`]. Answers
    /// are the same with all of them. A row takes 4, 2 or 1 bytes a value, and about 110 bytes
    /// more (int8: 55).
    #[must_use]
    pub fn vector_dtype(self, dtype: VectorDtype) -> Self {
        self.set(move |options| options.vector_dtype = dtype)
    }

    /// How the index searches. Default [`IndexKind::Auto`]. With [`IndexKind::Store`] the store searches, and
    /// the cache holds no index; opening it fails with [`Error::Unsupported`](crate::Error::Unsupported)
    /// where the store [cannot do that](crate::store::CapabilitySet::nearest).
    #[must_use]
    pub fn index(self, index: IndexKind) -> Self {
        self.set(move |options| options.index = index)
    }

    /// How graphs are built and searched, if [`index`](Self::index) asks for them. Default:
    /// 100 candidates for searching and for building, without the heuristic for neighbours.
    #[must_use]
    pub fn graph(self, graph: GraphOptions) -> Self {
        self.set(move |options| options.graph = graph)
    }

    /// Whether the store keeps the index, so that the next process need not rebuild it. It
    /// adds about 110 bytes an entry to the store and to native archives (int8: 52, and a byte
    /// a value); portable archives leave it out. Default true; no effect in stores without
    /// blobs.
    ///
    /// [`warm_up`](SemanticCache::warm_up) builds and saves the index. Closing a cache also
    /// saves its index if more than 1/16 of the rows changed since the last save. A kept index
    /// is read at the first semantic look-up; its vectors follow, about a thousand a look-up.
    #[must_use]
    pub fn persist_index(self, persist: bool) -> Self {
        self.set(move |options| {
            options.persist_index = match persist {
                true => IndexKeeping::Write,
                false => IndexKeeping::None,
            }
        })
    }

    /// Whether other processes write to the same store. Default [`Coordination::Single`].
    #[must_use]
    pub fn coordination(self, coordination: Coordination) -> Self {
        self.set(move |options| options.coordination = coordination)
    }

    /// Whether the vectors of texts that the embedder could not read (they are longer than it
    /// reads, or in a script that it does not know) are compared all the same. Default false:
    /// such a text is found by the exact layer only, and a look-up misses as
    /// [`Unreadable`](crate::MissReason::Unreadable). A blank text is never embedded.
    #[must_use]
    pub fn allow_unreadable(self, allow: bool) -> Self {
        self.set(move |options| options.allow_unreadable = allow)
    }

    /// Whether queries are normalised (white space, case) before they are compared and
    /// embedded. If not, `US` and `us` are different questions, and so are two pieces of code
    /// that differ in their indentation. Default true.
    #[must_use]
    pub fn normalize(self, normalize: bool) -> Self {
        self.set(move |options| options.normalize = normalize)
    }

    /// The most bytes of a query, a response and the metadata. Default 32 KiB, 4 MiB and
    /// 64 KiB.
    #[must_use]
    pub fn max_bytes(self, query: u32, response: u32, metadata: u32) -> Self {
        self.set(move |options| {
            options.max_query_bytes = query;
            options.max_response_bytes = response;
            options.max_metadata_bytes = metadata;
        })
    }

    /// How many hits (default 128) and how many milliseconds (default 5,000) access data
    /// and counters may wait in memory before they are written to the store. A killed process
    /// loses them. Entries never wait.
    #[must_use]
    pub fn touches(self, limit: u32, interval_ms: u32) -> Self {
        self.set(move |options| {
            options.touch_limit = limit;
            options.touch_interval_ms = interval_ms;
        })
    }

    /// The source of the time. Default [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The most memory of the component, including the index. Default 2 GiB, at most 4 GiB. A
    /// call that needs more fails with [`Error::Limit`] or
    /// [`Error::IndexUnavailable`].
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.limits.memory_bytes = bytes;
        self
    }

    /// The longest that one call may take, including the store's time. Default 60 s. A call
    /// that takes longer fails with [`Error::Limit`]. The component checks this about every
    /// 50 ms, but cannot stop a store that hangs. A checkpoint may take any time; it fails if
    /// it has called neither store nor archive for this long.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.limits.call_timeout = timeout;
        self
    }

    /// The most bytes that one call of the component may hand to the store or the
    /// policies. Default 128 MiB. A call with more fails with [`Error::Limit`].
    #[must_use]
    pub fn host_call_bytes(mut self, bytes: usize) -> Self {
        self.limits.host_call_bytes = bytes;
        self
    }

    /// The compiled component to run. Default [`Engine::shared`].
    #[must_use]
    pub fn engine(mut self, engine: &Engine) -> Self {
        self.engine = Some(engine.clone());
        self
    }

    /// Opens the cache.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a setting out of range or a missing store or
    /// embedder; [`Error::EmbedderMismatch`], [`Error::EmbedderDimension`],
    /// [`Error::Schema`], [`Error::Corrupt`] and [`Error::Backend`] from the store;
    /// [`Error::Component`].
    pub fn open(self) -> Result<SemanticCache> {
        let missing = |what: &str| {
            Error::InvalidArgument(format!(
                "the cache has no {what}; set one with Builder::{what}"
            ))
        };
        let handle = || self.handles.as_ref().map(|another| another()).transpose();
        let store = match self.store {
            Some(store) => store,
            None => handle()?.ok_or_else(|| missing("store"))?,
        };
        let (exact, semantic) = self.lanes;
        check_lanes(exact, semantic, self.handles.is_some(), &*store)?;
        let embedder = self.embedder.ok_or_else(|| missing("embedder"))?;
        let engine = match self.engine {
            Some(engine) => engine,
            None => Engine::shared()?,
        };
        let watch = Arc::new(Watch::new(self.observers, store.capabilities().name));
        let writes = Arc::<AtomicU64>::default();
        let policies = Arc::new(Mutex::new(self.policies));
        let state = |store| {
            let mut state = State::new(
                store,
                Arc::clone(&self.clock),
                Arc::clone(&policies),
                self.limits,
            );
            state.watch = Arc::clone(&watch);
            state.writes = Arc::clone(&writes);
            state
        };
        let (fingerprint, dim) = (embedder.fingerprint(), embedder.dim());
        let settings = self.settings;
        let verifies = self.verifier.is_some();
        let are_many = exact > 0 || semantic > 1;
        let set = |mut options: Options| {
            for set in settings {
                set(&mut options);
            }
            if options.error_bound.is_some() {
                options.seed = seed();
            }
            if are_many && matches!(options.coordination, Coordination::Single) {
                // The lanes are told of each other's writes.
                options.coordination = Coordination::StaleTolerant(u32::MAX);
            }
            options
        };
        let mut first = Instance::open(engine.clone(), state(store), set, fingerprint, dim)?;
        if let Err(reason) = check_trust(&first.options, verifies, self.same_answer.as_ref()) {
            let _ = first.close();
            return Err(Error::InvalidArgument(reason));
        }
        for warning in first.warnings() {
            watch.warning(&warning);
        }
        let beside = |keeping: IndexKeeping| {
            let options = Options {
                persist_index: match first.options.persist_index {
                    IndexKeeping::None => IndexKeeping::None,
                    _ => keeping,
                },
                ..first.options.clone()
            };
            let store = handle()?.ok_or_else(|| missing("store_handles"))?;
            Instance::open(engine.clone(), state(store), |_| options, fingerprint, dim)
        };
        let exact: Vec<_> = (0..exact)
            .map(|_| beside(IndexKeeping::None))
            .collect::<Result<_>>()?;
        let others: Vec<_> = (1..semantic)
            .map(|_| beside(IndexKeeping::Read))
            .collect::<Result<_>>()?;
        let counting = handle()?.map(|store| Counting::beside(store, fingerprint, dim));
        let semantic = std::iter::once(first).chain(others).collect();
        let lanes = Lanes::new(semantic, exact, writes);
        watch.availability(embedder.fingerprint(), None);
        let fingerprint = embedder.fingerprint().to_owned();
        let told = Arc::clone(&watch);
        let pool = Pool::new(
            Arc::from(embedder),
            self.embedding,
            Box::new(move |error| told.availability(&fingerprint, error)),
        );
        let told = Arc::clone(&watch);
        let verifier = self
            .verifier
            .map(|verifier| VerifyingPools::new(verifier, self.verification, told));
        let cache = SemanticCache::new(
            lanes,
            pool,
            verifier,
            self.same_answer.unwrap_or_default(),
            self.on_error,
            Arc::clone(&watch),
            counting.unwrap_or_default(),
        );
        watch.opened(&cache.gauges());
        Ok(cache)
    }

    fn set(mut self, setting: impl FnOnce(&mut Options) + 'static) -> Self {
        self.settings.push(Box::new(setting));
        self
    }
}

/// Random bytes for the key of tickets; none if the system gives none.
fn seed() -> Vec<u8> {
    let mut seed = vec![0; 32];
    match getrandom::fill(&mut seed) {
        Ok(()) => seed,
        Err(_) => Vec::new(),
    }
}

/// Refuses settings that need another.
fn check_trust(
    options: &Options,
    verifies: bool,
    same_answer: Option<&SameAnswer>,
) -> std::result::Result<(), String> {
    if options.verifying.is_some() && !verifies {
        return Err(
            "the cache has a verify band and no verifier; set one with Builder::verifier".into(),
        );
    }
    if options.error_bound.is_some() && options.seed.is_empty() {
        return Err(
            "the error bound takes random bytes, and this system gives none; leave it out here"
                .into(),
        );
    }
    if options.error_bound.is_none() && same_answer.is_some() {
        return Err(
            "the cache compares answers and has no error bound; set one with Builder::error_bound"
                .into(),
        );
    }
    match same_answer {
        Some(SameAnswer::Embedded(least)) if !(-1.0..=1.0).contains(least) => Err(format!(
            "answers are the same from a similarity of {least}; it must be -1 to 1"
        )),
        _ => Ok(()),
    }
}

/// Refuses numbers of lanes that this store cannot have.
fn check_lanes(exact: u32, semantic: u32, handles: bool, store: &dyn Store) -> Result<()> {
    let invalid = |reason: String| Err(Error::InvalidArgument(reason));
    if exact > MAX_LANES || !(1..=MAX_LANES).contains(&semantic) {
        return invalid(format!(
            "{exact} exact and {semantic} semantic lanes; 0 to {MAX_LANES} exact and 1 to {MAX_LANES} semantic ones are possible"
        ));
    }
    let name = || store.capabilities().name;
    if (exact > 0 || semantic > 1) && !handles {
        return invalid(format!(
            "lanes need a handle each of the {} store; give Builder::store_handles, or leave the lanes out",
            name()
        ));
    }
    if semantic > 1 && store.capabilities().max_changes == 0 {
        return invalid(format!(
            "{semantic} semantic lanes need a log of changes, which the {} store lacks; take one, and as many exact ones as you like",
            name()
        ));
    }
    Ok(())
}
