//! A semantic cache for Rust programs: the mneme component, run by wasmtime.
//!
//! It keeps the result of an expensive function of text (a call of a language model, a
//! reranker, a translation) and returns it when a later input *means* the same. An exact
//! layer compares normalised queries, a semantic one compares embeddings.
//!
//! ```
//! # #[cfg(feature = "minilm")] {
//! use mneme::embedder::MiniLm;
//! use mneme::{MemoryStore, PutRequest, SemanticCache};
//!
//! let cache = SemanticCache::builder()
//!     .store(MemoryStore::new())      // or SqliteStore::new("answers.db")
//!     .embedder(MiniLm::new())        // part of this crate, nothing to download
//!     .similarity_threshold(0.75)
//!     .open()?;
//!
//! cache.put(PutRequest::new("How do I reset my password?", "Follow the link on the sign-in page."))?;
//!
//! let hit = cache.get("How can I reset my password")?.hit().expect("it means the same");
//! assert_eq!(hit.response, "Follow the link on the sign-in page.");
//! assert!(cache.get("What is the weather in Oslo?")?.hit().is_none());
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is where
//!
//! - [`SemanticCache`] is the cache, made by a [`Builder`]; with the feature `tokio`,
//!   `AsyncSemanticCache` is its asynchronous front.
//! - [`store`] has the [`Store`] trait and the stores. Implement the trait for your own backend.
//! - [`embedder`] has the [`Embedder`] trait and the embedders.
//! - [`verifier`] has the [`Verifier`] trait: a second opinion before a similar entry answers.
//! - [`observe`] has the [`Observer`] trait, metrics and the spans.
//! - [`calibration`] chooses the threshold by labelled pairs, [`replay`] by a log of questions.
//! - [`migration`] copies a store into another one, even for a new embedder.
//! - [`checkpoint`] moves a whole cache into an archive and out of one.
//! - [`trust`] says what fools a threshold, and what keeps it from answering.
//! - `conformance`, with the feature of that name, judges your own store.
//! - [`Engine`] is the compiled component; [`component()`] its bytes, for other hosts.
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `sqlite` | yes | `SqliteStore`, with SQLite compiled in |
//! | `minilm` | yes | `embedder::MiniLm`, a sentence encoder with its weights compiled in (about 10 MB) |
//! | `redis` | no | `RedisStore`, a Redis server |
//! | `postgres` | no | `PostgresStore`, a PostgreSQL server |
//! | `dynamodb` | no | `DynamoDbStore`, one table of Amazon DynamoDB |
//! | `openai` | no | `embedder::OpenAi`, any OpenAI-compatible `/embeddings` API; `verifier::HttpVerifier` |
//! | `tokio` | no | `AsyncSemanticCache` |
//! | `tracing` | no | spans of the crate `tracing`; see [`observe`] |
//! | `prometheus` | no | `observe::Prometheus` |
//! | `opentelemetry` | no | `observe::OpenTelemetry` |
//! | `conformance` | no | `conformance`, the battery that judges a [`Store`] |
//!
//! # Isolation
//!
//! The component has no access to files, network, environment or randomness. The [`Builder`]
//! limits its memory, the duration of its calls and the amount of data that it hands over. If
//! it ever traps, a new instance takes over on the same store.

#[cfg(feature = "tokio")]
mod asynchronous;
mod bound;
mod builder;
mod cache;
pub mod calibration;
pub mod checkpoint;
mod component;
mod contract;
pub mod embedder;
mod entries;
mod error;
mod flights;
mod front;
mod host;
#[cfg(feature = "openai")]
mod http;
mod imports;
mod lanes;
pub mod migration;
pub mod observe;
mod pool;
mod punctual;
pub mod replay;
mod request;
pub mod setups {
    #![doc = include_str!("setups.md")]
}
pub mod store;
pub mod trust {
    #![doc = include_str!("trust.md")]
}
mod turn;
pub mod verifier;

#[cfg(feature = "tokio")]
pub use asynchronous::AsyncSemanticCache;
pub use builder::{Builder, Coordination, GraphOptions, IndexKind};
pub use cache::{
    Counters, ExplainedOutcome, Explanation, Health, JudgedEntry, NamespaceStats, NormalizedQuery,
    SemanticCache, Stats, Verdict, VetoCounts, WeakSemanticCache,
};
pub use component::{Engine, component};
pub use contract::events::{CountEvent, Event, HitEvent, MissEvent, VetoEvent};
pub use contract::policy::Candidate;
pub use contract::trust::{
    BoundReport, BoundState, Bounded, ErrorBound, Judgement, Label, LabelSource, Verification,
    Veto, VetoKind,
};
pub use contract::types::VectorDtype;
pub use embedder::Embedder;
pub use entries::{EntryFilter, EntryPage, Receipt};
pub use error::{Error, Limit, Result};
pub use host::{Clock, ManualClock, SystemClock};
#[cfg(feature = "conformance")]
pub use mneme_conformance as conformance;
pub use observe::Observer;
pub use request::{
    Answer, Computed, DEFAULT_MAX_RESPONSE_BYTES, DEFAULT_NAMESPACE, Explained, GetRequest, Hit,
    Layer, Lookup, Miss, MissReason, Nearest, Origin, PutRequest, Ttl,
};
#[cfg(feature = "dynamodb")]
pub use store::DynamoDbStore;
#[cfg(feature = "postgres")]
pub use store::PostgresStore;
#[cfg(feature = "redis")]
pub use store::RedisStore;
#[cfg(feature = "sqlite")]
pub use store::SqliteStore;
pub use store::{MemoryStore, Store};
pub use verifier::Verifier;
