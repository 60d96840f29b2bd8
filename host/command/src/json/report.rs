//! The state of a cache.

use mneme::Coordination;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use super::{Bound, digits};

/// Counts, settings and memory, of one namespace or of all.
#[derive(Debug, Serialize, ToSchema)]
pub struct Stats {
    /// The namespace asked for; null: all.
    namespace: Option<String>,
    entries: u64,
    /// Summed over the namespaces, with the misses of those that are too many to be told apart.
    counters: Counters,
    /// One for each namespace that has entries, a quota or counters, sorted by name; at most the first
    /// 65,536.
    namespaces: Vec<NamespaceStats>,
    /// How many such namespaces there are.
    namespace_count: u64,
    /// The global cap; null: none.
    max_entries: Option<u64>,
    /// The cap of the bytes of all entries; null: none.
    max_bytes: Option<u64>,
    /// The bytes that this cap limits, partly estimated; null if they are not known.
    bytes: Option<u64>,
    /// What labels say, of the namespace asked for; null without an error bound.
    bound: Option<Bound>,
    #[serde(serialize_with = "digits")]
    similarity_threshold: f32,
    embedder_fingerprint: String,
    embedder_dim: u32,
    /// `float32`, `float16` or `int8`.
    vector_dtype: &'static str,
    /// Whether the index has been read from the store yet.
    index_loaded: bool,
    index_rows: u64,
    index_bytes: u64,
    /// Deleted rows whose memory is not freed yet.
    index_tombstones: u64,
    /// Rows that a scan can rule out by codes.
    index_coded_rows: u64,
    /// Rows whose vectors are in memory.
    index_resident_rows: u64,
    /// Rows in a graph.
    index_graph_rows: u64,
    /// The share of rows that the codes did not rule out in the last searches, 0 to 1.
    #[serde(serialize_with = "digits")]
    index_pass_rate: f32,
}

/// One namespace.
#[derive(Debug, Serialize, ToSchema)]
struct NamespaceStats {
    namespace: String,
    entries: u64,
    /// null: unlimited.
    quota: Option<u64>,
    counters: Counters,
}

/// Counts of a namespace since it was last cleared, over all processes.
#[derive(Debug, Serialize, ToSchema)]
struct Counters {
    hits_exact: u64,
    hits_semantic: u64,
    misses: u64,
    /// Misses that an entry could have answered, and that the error bound wanted a label of: a part of
    /// `misses`.
    explored: u64,
    evictions: u64,
    expirations: u64,
    /// Candidates with a veto, by its kind: `opposites`, `negation`, `numbers`, `dates`, `identifiers`,
    /// `roles`, `names`, `question_word`. One with two kinds counts in both.
    vetoes: BTreeMap<&'static str, u64>,
}

/// The health of the cache.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// Whether no problem was found.
    healthy: bool,
    /// Whether the store answers, and still holds the data of this embedder.
    store_ok: bool,
    /// The problems, a sentence each.
    problems: Vec<String>,
    /// What only a deep check finds; null if it was not asked for.
    deep: Option<DeepHealth>,
    /// The kind of store.
    store: String,
    embedder_fingerprint: String,
    /// `float32`, `float16` or `int8`.
    vector_dtype: &'static str,
    /// `single` or `stale_tolerant`.
    coordination: &'static str,
}

/// What a check of the whole store found.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeepHealth {
    /// Null if the store could not say.
    integrity_ok: Option<bool>,
    entries: u64,
    namespaces: u64,
    oldest_entry_age_seconds: Option<u64>,
}

impl From<&mneme::Stats> for Stats {
    fn from(stats: &mneme::Stats) -> Self {
        let namespace = |item: &mneme::NamespaceStats| NamespaceStats {
            namespace: item.namespace.clone(),
            entries: item.entries,
            quota: item.quota,
            counters: (&item.counters).into(),
        };
        Self {
            namespace: stats.namespace.clone(),
            entries: stats.entries,
            counters: (&stats.counters).into(),
            namespaces: stats.namespaces.iter().map(namespace).collect(),
            namespace_count: stats.namespace_count,
            max_entries: stats.max_entries,
            max_bytes: stats.max_bytes,
            bytes: stats.bytes,
            bound: stats.bound.as_ref().map(Into::into),
            similarity_threshold: stats.similarity_threshold,
            embedder_fingerprint: stats.embedder_fingerprint.clone(),
            embedder_dim: stats.embedder_dim,
            vector_dtype: stats.vector_dtype.name(),
            index_loaded: stats.index_loaded,
            index_rows: stats.index_rows,
            index_bytes: stats.index_bytes,
            index_tombstones: stats.index_tombstones,
            index_coded_rows: stats.index_coded_rows,
            index_resident_rows: stats.index_resident_rows,
            index_graph_rows: stats.index_graph_rows,
            index_pass_rate: stats.index_pass_rate,
        }
    }
}

impl From<&mneme::Counters> for Counters {
    fn from(counters: &mneme::Counters) -> Self {
        Self {
            hits_exact: counters.hits_exact,
            hits_semantic: counters.hits_semantic,
            misses: counters.misses,
            explored: counters.explored,
            evictions: counters.evictions,
            expirations: counters.expirations,
            vetoes: counters
                .vetoes
                .each()
                .map(|(kind, count)| (kind.name(), count))
                .into(),
        }
    }
}

impl From<&mneme::Health> for Health {
    fn from(health: &mneme::Health) -> Self {
        Self {
            healthy: health.healthy,
            store_ok: health.store_ok,
            problems: health.problems.clone(),
            deep: health.deep.as_ref().map(|deep| DeepHealth {
                integrity_ok: deep.integrity_ok,
                entries: deep.entries,
                namespaces: deep.namespaces,
                oldest_entry_age_seconds: deep.oldest_entry_age_seconds,
            }),
            store: health.store.clone(),
            embedder_fingerprint: health.embedder_fingerprint.clone(),
            vector_dtype: health.vector_dtype.name(),
            coordination: match health.coordination {
                Coordination::Single => "single",
                Coordination::StaleTolerant(_) => "stale_tolerant",
            },
        }
    }
}
