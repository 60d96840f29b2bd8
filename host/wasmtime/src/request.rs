//! The requests and answers of a cache.

use crate::contract::api::{self, Verdict, VetoCounts};
use crate::contract::trust::VetoKind;
use crate::embedder::EmbedError;
use crate::verifier::VerifyError;

pub use crate::contract::api::{Explanation, Hit, Nearest};
pub use crate::contract::events::{Layer, MissReason};

/// The namespace of requests that do not name one.
pub const DEFAULT_NAMESPACE: &str = "default";

/// The most bytes of a response, unless [`Builder::max_bytes`](crate::Builder::max_bytes) says
/// otherwise: 4 MiB.
pub const DEFAULT_MAX_RESPONSE_BYTES: usize = 4 << 20;

/// A question for the cache. A string is a question in the namespace `default`.
///
/// ```
/// use mneme::GetRequest;
///
/// let request = GetRequest::new("Where is my parcel?").namespace("support").threshold(0.9);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct GetRequest {
    pub(crate) query: String,
    pub(crate) namespace: String,
    pub(crate) context: String,
    pub(crate) tags: Vec<String>,
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) threshold: Option<f32>,
    pub(crate) max_age: Option<u64>,
    pub(crate) bypass: bool,
    pub(crate) validate: bool,
    pub(crate) exact_only: bool,
    pub(crate) vetoes: Option<Vec<VetoKind>>,
}

impl GetRequest {
    /// A question of at most 32 KiB, unless the cache has another limit.
    pub fn new(query: impl Into<String>) -> Self {
        GetRequest {
            query: query.into(),
            namespace: DEFAULT_NAMESPACE.into(),
            context: String::new(),
            tags: Vec::new(),
            embedding: None,
            threshold: None,
            max_age: None,
            bypass: false,
            validate: false,
            exact_only: false,
            vetoes: None,
        }
    }

    /// Asks in this namespace: 1 to 1,024 bytes without NUL.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Takes only answers of this context, byte for byte: what an answer depends on beside the query,
    /// such as a model, a system prompt or earlier turns. Give a hash of it if it is long: at most
    /// 1,024 bytes, no U+0000. Default: the empty context.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Takes only answers that carry this tag, and those asked for before: at most 32 of 1 to 128
    /// bytes without U+0000, each once.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Passes the query's embedding, so that the embedder is not asked. It is scaled to
    /// unit length.
    #[must_use]
    pub fn embedding(mut self, embedding: Vec<f32>) -> Self {
        self.embedding = Some(embedding);
        self
    }

    /// Replaces the cache's similarity threshold for this question: -1 to 1.
    #[must_use]
    pub fn threshold(mut self, threshold: f32) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// Takes only answers that carry each of these tags, beside those asked for before.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Takes only answers that were stored at most so many seconds ago. Older entries stay, for
    /// others. Default: answers of any age. The greatest is 2^53 - 1.
    #[must_use]
    pub fn max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// Asks the exact layer only, and does not ask the embedder. Replaces
    /// [`embedding`](Self::embedding).
    #[must_use]
    pub fn exact_only(mut self) -> Self {
        self.embedding = None;
        self.exact_only = true;
        self
    }

    /// Misses at once, and counts the miss.
    #[must_use]
    pub fn bypass(mut self, bypass: bool) -> Self {
        self.bypass = bypass;
        self
    }

    /// Whether to ask the cache's validator about an answer of the exact layer too: one that it
    /// refuses is no answer. Default false. For callers who can compute the answer;
    /// [`get_or_compute`](crate::SemanticCache::get_or_compute) always asks.
    #[must_use]
    pub fn validate(mut self, validate: bool) -> Self {
        self.validate = validate;
        self
    }

    /// Replaces the cache's [`vetoes`](crate::Builder::vetoes) for this question. An empty list
    /// switches them off.
    #[must_use]
    pub fn vetoes(mut self, kinds: impl IntoIterator<Item = VetoKind>) -> Self {
        self.vetoes = Some(kinds.into_iter().collect());
        self
    }
}

impl From<GetRequest> for api::GetRequest {
    fn from(request: GetRequest) -> Self {
        api::GetRequest {
            query: request.query,
            namespace: request.namespace,
            context: request.context,
            tags: request.tags,
            vector: vector(request.embedding, request.exact_only),
            threshold: request.threshold,
            max_age: request.max_age,
            bypass: request.bypass,
            validate: request.validate,
            vetoes: request.vetoes,
            verification: None,
        }
    }
}

impl From<&str> for GetRequest {
    fn from(query: &str) -> Self {
        GetRequest::new(query)
    }
}

impl From<String> for GetRequest {
    fn from(query: String) -> Self {
        GetRequest::new(query)
    }
}

impl From<&String> for GetRequest {
    fn from(query: &String) -> Self {
        GetRequest::new(query)
    }
}

/// An entry's lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ttl {
    /// The cache's default lifetime.
    #[default]
    Inherit,
    /// Unlimited.
    Unlimited,
    /// This many seconds from the put. With 0 the entry expires at once.
    Seconds(u64),
}

/// A response to keep.
///
/// ```
/// use mneme::{PutRequest, Ttl};
///
/// let request = PutRequest::new("Where is my parcel?", "On its way.")
///     .namespace("support")
///     .ttl(Ttl::Seconds(3600))
///     .metadata(r#"{"model": "small"}"#);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PutRequest {
    pub(crate) query: String,
    pub(crate) response: String,
    pub(crate) namespace: String,
    pub(crate) context: String,
    pub(crate) tags: Vec<String>,
    pub(crate) embedding: Option<Vec<f32>>,
    pub(crate) ttl: Ttl,
    pub(crate) metadata: String,
    pub(crate) validate: bool,
    pub(crate) exact_only: bool,
}

impl PutRequest {
    /// A response of at most 4 MiB to a query of at most 32 KiB, unless the cache has other
    /// limits.
    pub fn new(query: impl Into<String>, response: impl Into<String>) -> Self {
        PutRequest {
            query: query.into(),
            response: response.into(),
            namespace: DEFAULT_NAMESPACE.into(),
            context: String::new(),
            tags: Vec::new(),
            embedding: None,
            ttl: Ttl::Inherit,
            metadata: "{}".into(),
            validate: false,
            exact_only: false,
        }
    }

    /// Stores the response for requests of this context only; see [`GetRequest::context`].
    /// Default: the empty context.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.context = context.into();
        self
    }

    /// Puts a tag on the entry, beside those before, to ask and erase by: at most 32 of 1 to 128
    /// bytes without U+0000, each once.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Puts these tags on the entry, beside those before.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// Stores the response without a vector of its query, and does not ask the embedder: only the
    /// exact layer finds it. Replaces [`embedding`](Self::embedding).
    #[must_use]
    pub fn exact_only(mut self) -> Self {
        self.embedding = None;
        self.exact_only = true;
        self
    }

    /// Whether to ask the cache's validator first, and to store nothing if it refuses the response:
    /// the put fails with [`Error::Refused`](crate::Error::Refused). Default false. For responses
    /// that may be failures.
    #[must_use]
    pub fn validate(mut self, validate: bool) -> Self {
        self.validate = validate;
        self
    }

    /// Stores in this namespace: 1 to 1,024 bytes without NUL.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Passes the query's embedding, so that the embedder is not asked. It is scaled to
    /// unit length.
    #[must_use]
    pub fn embedding(mut self, embedding: Vec<f32>) -> Self {
        self.embedding = Some(embedding);
        self
    }

    /// How long the response may be used.
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// Keeps this JSON object, given as text, with the response: at most 64 KiB, unless
    /// the cache has another limit.
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

impl From<PutRequest> for api::PutRequest {
    fn from(request: PutRequest) -> Self {
        api::PutRequest {
            query: request.query,
            response: request.response,
            namespace: request.namespace,
            context: request.context,
            tags: request.tags,
            vector: vector(request.embedding, request.exact_only),
            ttl: match request.ttl {
                Ttl::Inherit => api::TtlChoice::Inherit,
                Ttl::Unlimited => api::TtlChoice::Unlimited,
                Ttl::Seconds(seconds) => api::TtlChoice::Seconds(seconds),
            },
            metadata: request.metadata,
            validate: request.validate,
        }
    }
}

/// The caller's vector, or none yet, or none at all.
fn vector(embedding: Option<Vec<f32>>, exact_only: bool) -> api::VectorSource {
    match exact_only {
        true => api::VectorSource::Absent,
        false => embedding.map_or(api::VectorSource::Pending, api::VectorSource::Given),
    }
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// An answer.
    Hit(Hit),
    /// No answer, and why.
    Miss(Miss),
}

impl Lookup {
    /// The answer, if there is one.
    pub fn hit(self) -> Option<Hit> {
        match self {
            Lookup::Hit(hit) => Some(hit),
            Lookup::Miss(_) => None,
        }
    }

    /// Whether there is an answer.
    pub fn is_hit(&self) -> bool {
        matches!(self, Lookup::Hit(_))
    }
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// The reason.
    pub reason: MissReason,
    /// With an [error bound](crate::Builder::error_bound): the candidate to compare with the response that
    /// is computed now, and the ticket that [`feedback`](crate::SemanticCache::feedback) takes. None where
    /// nothing is near.
    pub nearest: Option<Nearest>,
    /// The embedder's error, if it failed.
    pub embedder_error: Option<EmbedError>,
    /// The verifier's error, if it failed.
    pub verifier_error: Option<VerifyError>,
}

impl Layer {
    /// Its name in labels, JSON and spans.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Exact => "exact",
            Layer::Semantic => "semantic",
        }
    }
}

impl MissReason {
    /// Its name in labels, JSON and spans.
    pub fn name(self) -> &'static str {
        match self {
            MissReason::Bypass => "bypass",
            MissReason::BelowThreshold => "below_threshold",
            MissReason::NoMatch => "no_match",
            MissReason::TooOld => "too_old",
            MissReason::LowConfidence => "low_confidence",
            MissReason::Vetoed => "vetoed",
            MissReason::Unverified => "unverified",
            MissReason::VerifierFailure => "verifier_failure",
            MissReason::Unproven => "unproven",
            MissReason::Explored => "explored",
            MissReason::Unreadable => "unreadable",
            MissReason::DimMismatch => "dim_mismatch",
            MissReason::EmbedderFailure => "embedder_failure",
        }
    }
}

impl Verdict {
    /// Its name in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Answers => "answers",
            Verdict::Outranked => "outranked",
            Verdict::BelowThreshold => "below_threshold",
            Verdict::Expired => "expired",
            Verdict::OtherTags => "other_tags",
            Verdict::TooOld => "too_old",
            Verdict::LowConfidence => "low_confidence",
            Verdict::Refused => "refused",
            Verdict::Vetoed => "vetoed",
            Verdict::Untried => "untried",
            Verdict::Unverified => "unverified",
            Verdict::Unproven => "unproven",
            Verdict::Explored => "explored",
        }
    }
}

impl VetoCounts {
    /// Nothing counted.
    pub const NONE: Self = VetoCounts {
        opposites: 0,
        negation: 0,
        numbers: 0,
        dates: 0,
        identifiers: 0,
        roles: 0,
        names: 0,
        question_word: 0,
    };

    /// The count of a kind.
    pub fn of_mut(&mut self, kind: VetoKind) -> &mut u64 {
        match kind {
            VetoKind::Opposites => &mut self.opposites,
            VetoKind::Negation => &mut self.negation,
            VetoKind::Numbers => &mut self.numbers,
            VetoKind::Dates => &mut self.dates,
            VetoKind::Identifiers => &mut self.identifiers,
            VetoKind::Roles => &mut self.roles,
            VetoKind::Names => &mut self.names,
            VetoKind::QuestionWord => &mut self.question_word,
        }
    }

    /// The count of each kind, in their order.
    pub fn each(mut self) -> [(VetoKind, u64); 8] {
        VetoKind::ALL.map(|kind| (kind, *self.of_mut(kind)))
    }
}

impl VetoKind {
    /// All kinds, in their order.
    pub const ALL: [Self; 8] = [
        VetoKind::Opposites,
        VetoKind::Negation,
        VetoKind::Numbers,
        VetoKind::Dates,
        VetoKind::Identifiers,
        VetoKind::Roles,
        VetoKind::Names,
        VetoKind::QuestionWord,
    ];

    /// Its name in options, labels, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            VetoKind::Opposites => "opposites",
            VetoKind::Negation => "negation",
            VetoKind::Numbers => "numbers",
            VetoKind::Dates => "dates",
            VetoKind::Identifiers => "identifiers",
            VetoKind::Roles => "roles",
            VetoKind::Names => "names",
            VetoKind::QuestionWord => "question_word",
        }
    }

    /// The kind of this name; hyphens count as underscores.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.replace('-', "_");
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How a question would be answered, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// What the cache says.
    pub explanation: Explanation,
    /// The embedder's error, if it failed. Then there are no candidates.
    pub embedder_error: Option<EmbedError>,
    /// The verifier's error, if it failed.
    pub verifier_error: Option<VerifyError>,
}

/// What `get_or_compute` is to keep: a response, and as in a [`PutRequest`] how long it may be used
/// and what goes with it. A string is a response with the cache's default lifetime.
///
/// ```
/// use mneme::{Computed, Ttl};
///
/// let computed = Computed::new("On its way.").ttl(Ttl::Seconds(60)).metadata(r#"{"model": "small"}"#);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Computed {
    pub(crate) response: String,
    pub(crate) ttl: Ttl,
    pub(crate) metadata: String,
    pub(crate) tags: Vec<String>,
}

impl Computed {
    /// A response of at most 4 MiB, unless the cache has another limit.
    pub fn new(response: impl Into<String>) -> Self {
        Computed {
            response: response.into(),
            ttl: Ttl::Inherit,
            metadata: "{}".into(),
            tags: Vec::new(),
        }
    }

    /// Puts a tag on the entry, beside those that the request asks for; see [`PutRequest::tag`].
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// See [`PutRequest::ttl`].
    #[must_use]
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// See [`PutRequest::metadata`].
    #[must_use]
    pub fn metadata(mut self, metadata: impl Into<String>) -> Self {
        self.metadata = metadata.into();
        self
    }
}

impl From<String> for Computed {
    fn from(response: String) -> Self {
        Computed::new(response)
    }
}

impl From<&str> for Computed {
    fn from(response: &str) -> Self {
        Computed::new(response)
    }
}

/// An answer found or computed by `get_or_compute`.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub response: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where an [`Answer`] comes from.
#[derive(Debug)]
pub enum Origin {
    /// The cache.
    Cache(Box<Hit>),
    /// The given function, now. The response was stored under this id; or the validator refused to
    /// keep it ([`Error::Refused`](crate::Error::Refused)), or storing it failed. The caller gets it
    /// in all cases. If the embedder failed, only the exact layer finds it.
    Computed(crate::Result<u64>),
    /// The function of another caller, who asked the same question at the same time.
    Shared,
}
