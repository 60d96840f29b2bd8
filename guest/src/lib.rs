//! The mneme semantic cache, as it runs inside the WebAssembly component.
//!
//! The decisions are plain Rust over two traits: [`Store`](store::Store) for the data, and
//! [`Host`](host::Host) for the clock and the host's own policies. Unit tests run them natively.
//! The data types are generated from `wit/`, so the glue, `component.rs`, converts nothing.
//!
//! | module | holds |
//! |---|---|
//! | [`cache`] | the decisions: look up, store, remove, report |
//! | [`query`] | normalising and hashing |
//! | [`vector`] | checking and comparing embeddings |
//! | [`index`] | finding the rows that may be similar enough |
//! | [`judge`] | why a near candidate must not answer |
//! | [`bound`] | from which score candidates may answer, by labels |
//! | [`policy`] | confidence and validator |
//! | [`counters`], [`backlog`] | what is counted, and written later |
//! | [`coordination`] | following other processes |
//! | [`checkpoint`] | archives of a whole cache: dump, load, inspect |
//! | [`options`], [`range`], [`quotas`] | defaults and limits |
//!
//! ```
//! use mneme_guest::query;
//!
//! let text = query::normalize("  How do I\treset my PASSWORD? ");
//! assert_eq!(text, "how do i reset my password?");
//! assert_eq!(query::hash(&text, "").len(), 64);
//! assert_ne!(query::hash(&text, "staging"), query::hash(&text, ""));
//! ```

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "mneme",
        additional_derives: [PartialEq],
        generate_all,
        pub_export_macro: true,
    });
}

pub mod backlog;
pub mod bound;
pub mod cache;
pub mod checkpoint;
#[cfg(target_arch = "wasm32")]
mod component;
pub mod coordination;
pub mod counters;
pub mod error;
pub mod host;
pub mod index;
pub mod judge;
pub mod options;
pub mod policy;
pub mod query;
pub mod quotas;
pub mod range;
pub mod store;
pub mod vector;

#[cfg(any(test, feature = "testing"))]
#[allow(missing_docs)]
pub mod testing;

/// The contract's data types, generated from `wit/`.
pub mod types {
    pub use crate::bindings::exports::mneme::cache::cache::{
        CacheStats, ConfidenceRule, Coordination, Counters, Decay, DeepHealth, Embedding,
        EntryFilter, EntryPage, Erasure, Explained, ExplainedOutcome, Explanation, GetRequest,
        GraphOptions, HealthReport, Hit, IndexKeeping, IndexKind, JudgedEntry, Lookup, Miss,
        NamespaceStats, Nearest, NormalizedQuery, Options, PutOutcome, PutRequest, Reading, Step,
        TtlChoice, ValidatorRule, VectorSource, Verdict, VetoCounts,
    };
    pub use crate::bindings::exports::mneme::cache::checkpoint::{
        Compression, DumpOptions, DumpReport, InspectOptions, Layout, LoadOptions, LoadReport,
        Manifest, NamespaceSummary, Summary, TtlOverride,
    };
    pub use crate::bindings::mneme::cache::archive::Unit;
    pub use crate::bindings::mneme::cache::events::{
        CountEvent, Event, HitEvent, Layer, MissEvent, MissReason, VetoEvent,
    };
    pub use crate::bindings::mneme::cache::policy::Candidate;
    pub use crate::bindings::mneme::cache::store::{
        CapabilitySet, Change, ChangePage, ImportMode, Inserted, MetaChange, Neighbour, Restored,
        Selection, StampPage, Touch, VectorPage, VectorQuery,
    };
    pub use crate::bindings::mneme::cache::trust::{
        BoundReport, BoundState, Bounded, ErrorBound, Judgement, Label, LabelSource, Opinion,
        Verification, Verifying, Veto, VetoKind,
    };
    pub use crate::bindings::mneme::cache::types::{
        BackendError, DimensionMismatch, Entry, EntryKey, EntryRef, Error, Filter,
        FingerprintMismatch, VectorDtype,
    };
}
