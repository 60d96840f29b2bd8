//! Settings and reports.

use super::Cache;
use super::indexing::STAMPS_PER_PAGE;
use crate::counters::{self, ZERO};
use crate::error::{Result, describe};
use crate::host::{Host, Now};
use crate::index::Index;
use crate::options;
use crate::store::Store;
use crate::types::{CacheStats, HealthReport, NamespaceStats};
use std::collections::BTreeMap;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.set-namespace-quota`.
    pub fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        let (store, _, open) = self.parts()?;
        options::check_namespace(namespace)?;
        store.set_namespace_quota(namespace, max_entries)?;
        open.quotas = None;
        Ok(())
    }

    /// See `cache.get-namespace-quota`.
    pub fn namespace_quota(&mut self, namespace: &str) -> Result<Option<u64>> {
        let (store, _, _) = self.parts()?;
        options::check_namespace(namespace)?;
        store.get_namespace_quota(namespace)
    }

    /// See `cache.set-similarity-threshold`.
    pub fn set_similarity_threshold(&mut self, threshold: f32) -> Result<()> {
        let (_, _, open) = self.parts()?;
        options::check_threshold(threshold)?;
        open.options.similarity_threshold = threshold;
        Ok(())
    }

    /// See `cache.list-namespaces`.
    pub fn list_namespaces(&mut self) -> Result<Vec<String>> {
        let (store, _, _) = self.parts()?;
        store.list_namespaces()
    }

    /// See `cache.stats`.
    pub fn stats(&mut self, namespace: Option<&str>) -> Result<CacheStats> {
        let (store, _, open) = self.parts()?;
        if let Some(namespace) = namespace {
            options::check_namespace(namespace)?;
        }
        let totals = open.backlog.counters.totals(store)?;
        let quotas: BTreeMap<_, _> = store.list_namespace_quotas()?.into_iter().collect();
        let mut entries: BTreeMap<_, _> = match namespace {
            Some(name) => BTreeMap::from([(name.to_owned(), store.count(Some(name))?)]),
            None => store.count_by_namespace()?.into_iter().collect(),
        };
        if namespace.is_none() {
            for name in totals.keys().chain(quotas.keys()) {
                entries.entry(name.clone()).or_default();
            }
        }
        let namespaces: Vec<_> = entries
            .into_iter()
            .map(|(name, entries)| NamespaceStats {
                entries,
                quota: quotas.get(&name).copied(),
                counters: totals.get(&name).copied().unwrap_or(ZERO),
                namespace: name,
            })
            .collect();
        let mut sum = ZERO;
        for of_namespace in &namespaces {
            counters::add(&mut sum, of_namespace.counters);
        }
        let index = open.index.as_ref();
        Ok(CacheStats {
            namespace: namespace.map(str::to_owned),
            entries: namespaces.iter().map(|n| n.entries).sum(),
            counters: sum,
            namespaces,
            max_entries: open.options.max_entries,
            similarity_threshold: open.options.similarity_threshold,
            embedder_fingerprint: open.options.embedder_fingerprint.clone(),
            embedder_dim: open.options.embedder_dim,
            vector_dtype: open.options.vector_dtype,
            index_loaded: index.is_some(),
            index_rows: index.map_or(0, |index| index.rows() as u64),
            index_bytes: index.map_or(0, |index| index.bytes() as u64),
            index_tombstones: index.map_or(0, |index| index.tombstones() as u64),
            index_coded_rows: index.map_or(0, |index| index.coded_rows() as u64),
            index_resident_rows: index.map_or(0, |index| index.resident_rows() as u64),
            index_graph_rows: index.map_or(0, |index| index.graph_rows() as u64),
            index_pass_rate: index.map_or(0.0, Index::pass_rate),
        })
    }

    /// See `cache.health`.
    pub fn health(&mut self) -> Result<HealthReport> {
        let (store, host, open) = self.parts()?;
        let mut problems: Vec<String> = Vec::new();
        let integrity_ok = match store.integrity_check() {
            Ok(true) => true,
            Ok(false) => {
                problems.push("the store's integrity check found damaged data".into());
                false
            }
            Err(error) => {
                problems.push(format!(
                    "the store could not be checked: {}",
                    describe(&error)
                ));
                false
            }
        };
        let mut ask = |what: &str, answer: Result<u64>| {
            answer.unwrap_or_else(|error| {
                problems.push(format!("{what} could not be read: {}", describe(&error)));
                0
            })
        };
        let entries = ask("the number of entries", store.count(None));
        let namespaces = ask(
            "the namespaces",
            store.list_namespaces().map(|names| names.len() as u64),
        );
        let oldest = oldest_age(store, host.now()).unwrap_or_else(|error| {
            problems.push(format!(
                "the oldest entry could not be read: {}",
                describe(&error)
            ));
            None
        });
        if let Err(error) = open.backlog.counters.totals(store) {
            problems.push(describe(&error));
        }
        if open.unindexable > 0 {
            problems.push(format!(
                "{} entries have embeddings that are no unit vectors; only the exact layer finds them",
                open.unindexable
            ));
        }
        problems.extend(
            open.problems
                .iter()
                .map(|(work, error)| format!("{work} failed and will be tried again: {error}")),
        );
        Ok(HealthReport {
            healthy: problems.is_empty(),
            integrity_ok,
            problems,
            entries,
            namespaces,
            oldest_entry_age_seconds: oldest,
            store: store.capabilities().name,
            embedder_fingerprint: open.options.embedder_fingerprint.clone(),
            vector_dtype: open.options.vector_dtype,
            coordination: open.options.coordination,
        })
    }
}

/// The greatest age of an entry.
fn oldest_age(store: &impl Store, now: Now) -> Result<Option<u64>> {
    let (mut oldest, mut last_id) = (None, 0);
    loop {
        let page = store.iter_stamps(last_id, STAMPS_PER_PAGE)?;
        oldest = oldest.into_iter().chain(page.created_at).min();
        match page.ids.last() {
            Some(&id) if id > last_id && page.ids.len() >= STAMPS_PER_PAGE as usize => last_id = id,
            _ => break,
        }
    }
    Ok(oldest.map(|created_at| now.seconds().saturating_sub(created_at)))
}
