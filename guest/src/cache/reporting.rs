//! Settings and reports.

use super::following::STAMPS_PER_PAGE;
use super::indexing::check_stamps;
use super::{Cache, Open, is_of_the_future};
use crate::counters::{self, OTHERS, ZERO};
use crate::error::{Result, describe, invalid};
use crate::host::{Host, Now};
use crate::index::Index;
use crate::options;
use crate::store::{NAMESPACES_PER_PAGE, Store, check_names, each_counts, each_names};
use crate::types::{CacheStats, DeepHealth, HealthReport, NamespaceStats};
use std::collections::{BTreeMap, BTreeSet};

/// The most items of one list; see `store.wit`.
const MAX_ITEMS: u32 = 1 << 20;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.set-namespace-quota`.
    pub fn set_namespace_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Result<()> {
        let (store, _, open) = self.parts()?;
        options::check_namespace(namespace)?;
        options::check_quota(max_entries)?;
        match max_entries {
            Some(quota) => open.quotas.set(store, &[(namespace.to_owned(), quota)]),
            None => open.quotas.remove(store, namespace),
        }
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
    pub fn list_namespaces(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
        let (store, _, _) = self.parts()?;
        if !(1..=MAX_ITEMS).contains(&limit) {
            return Err(invalid(format!(
                "limit is {limit}; it must be 1 to {MAX_ITEMS}"
            )));
        }
        let mut names = store.list_namespaces(after, limit)?;
        check_names("list-namespaces", &names, after)?;
        names.truncate(limit as usize);
        Ok(names)
    }

    /// See `cache.stats`.
    pub fn stats(&mut self, namespace: Option<&str>) -> Result<CacheStats> {
        let (store, _, open) = self.parts()?;
        if let Some(namespace) = namespace {
            options::check_namespace(namespace)?;
        }
        let mut totals = open.backlog.counters.totals(store)?;
        let others = totals.remove(OTHERS);
        let quotas: BTreeMap<_, _> = store.list_namespace_quotas()?.into_iter().collect();
        let counted = match namespace {
            Some(name) => Counted::one(name, store.count(Some(name))?),
            None => Counted::all(store, totals.keys().chain(quotas.keys()))?,
        };
        let sum = match namespace {
            Some(name) => totals.get(name).copied().unwrap_or(ZERO),
            None => {
                let mut sum = others.unwrap_or(ZERO);
                for of_namespace in totals.values() {
                    counters::add(&mut sum, *of_namespace);
                }
                sum
            }
        };
        let namespaces = counted
            .first
            .into_iter()
            .take(NAMESPACES_PER_PAGE as usize)
            .map(|(name, entries)| NamespaceStats {
                entries,
                quota: quotas.get(&name).copied(),
                counters: totals.get(&name).copied().unwrap_or(ZERO),
                namespace: name,
            })
            .collect();
        let total = counted.entries;
        let bytes = match open.options.max_bytes {
            Some(_) if namespace.is_none() => {
                let dim = open.options.embedder_dim;
                open.weights.total(store, total, dim)?
            }
            _ => None,
        };
        let bound = open.bound_report(store, namespace)?;
        let index = open.index.as_ref();
        Ok(CacheStats {
            bound,
            namespace: namespace.map(str::to_owned),
            entries: total,
            counters: sum,
            namespaces,
            namespace_count: counted.namespaces,
            max_entries: open.options.max_entries,
            max_bytes: open.options.max_bytes,
            bytes,
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

    /// See `cache.index-rows`.
    pub fn index_rows(&mut self) -> Result<u64> {
        let (_, _, open) = self.parts()?;
        Ok(open.index.as_ref().map_or(0, |index| index.rows() as u64))
    }

    /// See `cache.health`.
    pub fn health(&mut self, deep: bool) -> Result<HealthReport> {
        let (store, host, open) = self.parts()?;
        let mut problems = Problems::default();
        open.check_store(store, &mut problems);
        let store_ok = problems.0.is_empty();
        let deep = deep.then(|| open.check_deeply(store, host.now(), &mut problems));
        let unindexable = open
            .index
            .as_ref()
            .map_or(0, |index| index.left_out().len());
        if unindexable > 0 {
            problems.0.push(format!(
                "{unindexable} entries have embeddings that are not unit vectors; only the exact layer finds them"
            ));
        }
        let background = open.problems.iter();
        problems.0.extend(
            background
                .map(|(work, error)| format!("{work} failed and will be tried again: {error}")),
        );
        Ok(HealthReport {
            healthy: problems.0.is_empty(),
            store_ok,
            problems: problems.0,
            deep,
            store: store.capabilities().name,
            embedder_fingerprint: open.options.embedder_fingerprint.clone(),
            vector_dtype: open.options.vector_dtype,
            coordination: open.options.coordination,
        })
    }
}

/// What statistics say of the entries of namespaces.
#[derive(Default)]
struct Counted {
    /// By name, those that the list of namespaces begins with. There may be others behind them.
    first: BTreeMap<String, u64>,
    /// How many namespaces there are in all.
    namespaces: u64,
    entries: u64,
}

impl Counted {
    fn one(namespace: &str, entries: u64) -> Self {
        Counted {
            first: BTreeMap::from([(namespace.to_owned(), entries)]),
            namespaces: 1,
            entries,
        }
    }

    /// Counts those that hold entries, and the others of these names.
    fn all<'a>(store: &impl Store, names: impl Iterator<Item = &'a String>) -> Result<Self> {
        let mut without: BTreeSet<&String> = names.collect();
        let mut all = Counted::default();
        each_counts(store, |page| {
            for (name, entries) in page {
                without.remove(&name);
                all.namespaces += 1;
                all.entries += entries;
                if all.first.len() < NAMESPACES_PER_PAGE as usize {
                    all.first.insert(name, entries);
                }
            }
        })?;
        all.namespaces += without.len() as u64;
        all.first
            .extend(without.into_iter().map(|name| (name.clone(), 0)));
        Ok(all)
    }
}

/// What is wrong, one sentence each.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    /// The answer, or `otherwise` and a problem.
    fn ask<T>(&mut self, what: &str, answer: Result<T>, otherwise: T) -> T {
        answer.unwrap_or_else(|error| {
            self.0
                .push(format!("{what} could not be read: {}", describe(&error)));
            otherwise
        })
    }
}

/// Names the store's record of the embedder.
const FINGERPRINT_KEY: &str = "embedder_fingerprint";

impl Open {
    /// Whether the store answers, and still holds the data that was opened.
    fn check_store(&self, store: &impl Store, problems: &mut Problems) {
        let known = self.follower.version();
        let version = problems.ask(
            "the version counter",
            store.read_version_counter(),
            u64::MAX,
        );
        if let Some(known) = known.filter(|&known| version < known) {
            problems.0.push(format!(
                "the store's version counter went back from {known} to {version}: its data was lost or replaced; close the cache and open it again"
            ));
        }
        let ours = &self.options.embedder_fingerprint;
        match store.read_meta(FINGERPRINT_KEY) {
            Ok(Some(fingerprint)) if fingerprint == *ours => {}
            Ok(Some(fingerprint)) => problems.0.push(format!(
                "the store holds the data of the embedder {fingerprint:?} instead of {ours:?}: it was replaced; close the cache and open it again"
            )),
            Ok(None) => problems.0.push(
                "the store no longer names an embedder: its data was lost; close the cache and open it again".into(),
            ),
            Err(error) => {
                problems.ask("the embedder's fingerprint", Err(error), ());
            }
        }
    }

    /// Checks all data.
    fn check_deeply(&self, store: &impl Store, now: Now, problems: &mut Problems) -> DeepHealth {
        let integrity_ok = match store.integrity_check() {
            Ok(true) => Some(true),
            Ok(false) => {
                let damaged = "the store's integrity check found damaged data";
                problems.0.push(damaged.into());
                Some(false)
            }
            Err(error) => {
                problems.0.push(format!(
                    "the store could not be checked: {}",
                    describe(&error)
                ));
                None
            }
        };
        let entries = problems.ask("the number of entries", store.count(None), 0);
        let mut namespaces = 0;
        let counted = each_names(store, |page| namespaces += page.len() as u64);
        problems.ask("the namespaces", counted, ());
        let ages = problems.ask("the ages of the entries", ages(store, now), Ages::default());
        if ages.of_the_future > 0 {
            problems.0.push(format!(
                "{} entries were stored by a clock that is ahead, the furthest by {} s; those with a TTL count as expired, and stay; set the clocks, and if yours was right, put, delete or clear these entries",
                ages.of_the_future, ages.furthest_seconds
            ));
        }
        problems.ask(
            "the counters",
            self.backlog.counters.totals(store).map(drop),
            (),
        );
        DeepHealth {
            integrity_ok,
            entries,
            namespaces,
            oldest_entry_age_seconds: ages.oldest_seconds,
        }
    }
}

/// What the times of storing show.
#[derive(Default)]
struct Ages {
    oldest_seconds: Option<u64>,
    /// The number of entries dated too far ahead.
    of_the_future: u64,
    furthest_seconds: u64,
}

fn ages(store: &impl Store, now: Now) -> Result<Ages> {
    let (mut ages, mut last_id) = (Ages::default(), 0);
    loop {
        let page = store.iter_stamps(last_id, STAMPS_PER_PAGE)?;
        check_stamps(&page, last_id)?;
        for &created_at in &page.created_at {
            let age = now.seconds().saturating_sub(created_at);
            ages.oldest_seconds = ages.oldest_seconds.max(Some(age));
            if is_of_the_future(created_at, now) {
                ages.of_the_future += 1;
                let ahead = created_at - now.seconds();
                ages.furthest_seconds = ages.furthest_seconds.max(ahead);
            }
        }
        match page.ids.last() {
            Some(&id) if page.ids.len() >= STAMPS_PER_PAGE as usize => last_id = id,
            _ => return Ok(ages),
        }
    }
}
