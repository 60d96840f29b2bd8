//! Candidates of a semantic search, best first: from the cache's index, or from the store's.

use super::Open;
use super::steps::{Progress, take_turn};
use crate::error::Result;
use crate::host::{Host, Now};
use crate::index::scopes::Scope;
use crate::index::{self, Found};
use crate::query;
use crate::store::Store;
use crate::types::{Entry, Error, IndexKind, VectorQuery};
use crate::vector::{cosine, is_absent, unit};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Candidates that the index is first asked for. Each further request asks for eight times as
/// many.
const FIRST_CANDIDATES: usize = 16;
/// Candidates that are read from the store at a time.
const CANDIDATES_PER_CALL: usize = 4;
/// Multiplications of a part of a search: a few milliseconds. One block in tests.
const SEARCH_PER_PART: u64 = if cfg!(test) { 1 } else { 16 << 20 };
/// Rounding puts the product of a unit vector with itself at least here. Its cosine is 1.
const SAME_AT_LEAST: f32 = 1.0 - 4e-6;
/// The most candidates that a store is asked for: see `store.nearest`.
const MOST_OF_STORE: usize = 1024;
/// What a store says of a similarity is wrong by this at most: see `store.neighbour`.
const STORE_ERROR: f32 = 0.01;

/// What a semantic search looks for.
pub(super) struct Sought {
    pub namespace: String,
    pub context: String,
    /// Tags without which an entry need not be shown.
    pub tags: Vec<String>,
    /// Entries that are expired at this time need not be shown.
    pub fresh_at: Option<u64>,
    pub vector: Vec<f32>,
    pub threshold: f32,
}

/// The namespace and context, and the bits of vector and threshold.
pub(super) type SoughtKey = (String, String, Vec<u32>, u32);

impl Sought {
    /// Where it is looked for.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            namespace: &self.namespace,
            context: &self.context,
        }
    }

    /// Two searches with one key find the same in an index.
    fn key(&self) -> SoughtKey {
        let bits = self.vector.iter().map(|value| value.to_bits()).collect();
        let (namespace, context) = (self.namespace.clone(), self.context.clone());
        (namespace, context, bits, self.threshold.to_bits())
    }

    /// The least similarity to look for.
    fn floor(&self) -> f32 {
        self.threshold.min(SAME_AT_LEAST)
    }
}

/// Whether a search can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    /// The index is being read: in a later turn.
    Later,
    /// After work that took its time.
    AfterWork,
    AtOnce,
}

/// How far a search is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// It goes on in a later turn.
    Later,
    /// There is nothing to compare with.
    Nothing,
    /// All that are similar enough, or those up to which it was broken off.
    All,
}

impl Open {
    /// Whether the store searches the vectors, and this cache holds no index.
    pub(super) fn leaves_search_to_store(&self) -> bool {
        self.options.index == IndexKind::Store
    }

    /// Follows what others have written, and reads the index if there is none.
    pub(super) fn make_ready(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        now: Now,
    ) -> Result<Ready> {
        let followed = self.follow(store, host, now)?;
        if self.leaves_search_to_store() {
            return Ok(Ready::AfterWork);
        }
        if self.index.is_some() {
            return Ok(match followed {
                true => Ready::AfterWork,
                false => Ready::AtOnce,
            });
        }
        let progress = self.load(store, host, self.options.vector_dtype)?;
        Ok(match progress {
            Progress::Under => Ready::Later,
            Progress::Done => Ready::AfterWork,
        })
    }

    /// How many entries a search in this scope compares with: with the store's index, those of the
    /// namespace.
    pub(super) fn rows_to_search(&mut self, store: &impl Store, sought: &Sought) -> Result<u64> {
        match self.leaves_search_to_store() {
            true => store.count(Some(&sought.namespace)),
            false => Ok(self.index()?.rows_in(sought.scope()) as u64),
        }
    }

    /// Shows the entries that are similar enough, best first, by similarity and then by id, until
    /// `show` breaks off. If the search is long it goes on in a later turn, which shows all of them
    /// again.
    pub(super) fn best_first(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        sought: &Sought,
        show: &mut dyn FnMut(&Self, Entry, f32) -> ControlFlow<()>,
    ) -> Result<Shown> {
        let mut limit = FIRST_CANDIDATES;
        let mut read: BTreeSet<u64> = BTreeSet::new();
        let mut ready: BTreeMap<Found, Entry> = BTreeMap::new();
        loop {
            let candidates = match self.leaves_search_to_store() {
                true => of_store(store, sought, limit)?,
                false => self.of_index(host, sought, limit)?,
            };
            let mut found = match candidates {
                Candidates::Later => return Ok(Shown::Later),
                Candidates::Nothing => return Ok(Shown::Nothing),
                Candidates::Found(found, of) => {
                    limit = of;
                    found
                }
            };
            for found in &mut found {
                if found.bound >= SAME_AT_LEAST {
                    found.bound = 1.0;
                }
            }
            found.sort_unstable_by(|a, b| b.cmp(a));
            let beyond = (found.len() == limit).then(|| found[limit - 1]);
            found.retain(|found| !read.contains(&found.id));
            let mut unread = found.into_iter().peekable();
            loop {
                // No unread candidate is better than this one.
                let rest = unread.peek().copied().or(beyond);
                while let Some((similar, entry)) = take_best(&mut ready, rest) {
                    if show(self, entry, similar.bound).is_break() {
                        return Ok(Shown::All);
                    }
                }
                let batch: Vec<u64> = unread
                    .by_ref()
                    .take(CANDIDATES_PER_CALL)
                    .map(|found| found.id)
                    .collect();
                if batch.is_empty() {
                    break;
                }
                read.extend(&batch);
                self.read_candidates(store, sought, &batch, &mut ready)?;
            }
            if beyond.is_none() || (self.leaves_search_to_store() && limit == MOST_OF_STORE) {
                return Ok(Shown::All);
            }
            limit = limit.saturating_mul(8);
        }
    }

    /// The rows of the index that may be similar enough, at most `limit`; or as many as a search that
    /// goes on was to find.
    fn of_index(&mut self, host: &impl Host, sought: &Sought, limit: usize) -> Result<Candidates> {
        let mut search = self
            .searching
            .take(&sought.key(), host.now())
            .unwrap_or_else(|| index::Search::new(sought.floor(), limit));
        let index = self.index()?;
        if index.rows_in(sought.scope()) == 0 {
            return Ok(Candidates::Nothing);
        }
        let progress = take_turn(host, || {
            let more = index.search(sought.scope(), &sought.vector, &mut search, SEARCH_PER_PART);
            Ok(Progress::under_if(more))
        })?;
        if progress.is_under() {
            self.searching.keep(sought.key(), search, host.now());
            return Ok(Candidates::Later);
        }
        let limit = search.limit();
        Ok(Candidates::Found(search.into_found(), limit))
    }

    /// Reads candidates from the store and adds those that are similar enough.
    fn read_candidates(
        &mut self,
        store: &impl Store,
        sought: &Sought,
        ids: &[u64],
        ready: &mut BTreeMap<Found, Entry>,
    ) -> Result<()> {
        let entries = store.get_by_ids(ids, true)?;
        for &id in ids {
            if !entries.iter().any(|entry| entry.id == id) {
                // Deleted by another process.
                self.forget(&sought.namespace, id);
            }
        }
        for mut entry in entries {
            if entry.namespace != sought.namespace
                || entry.context != sought.context
                || is_absent(&entry.embedding)
                // Whoever stored it may not know contexts, and have left its context out.
                || !query::is_hash_of(&entry.query_hash, &entry.query, &entry.context)
            {
                continue;
            }
            let vector = unit(std::mem::take(&mut entry.embedding), self.options.embedder_dim)
                .map_err(|_| {
                    Error::Corrupt(format!(
                        "the embedding of entry {} in namespace {:?} is damaged; put its query again or delete it",
                        entry.id, entry.namespace
                    ))
                })?;
            let similarity = cosine(&sought.vector, &vector);
            if similarity >= sought.threshold {
                let found = Found {
                    id: entry.id,
                    bound: similarity,
                };
                ready.insert(found, entry);
            }
        }
        Ok(())
    }
}

/// Rows that may be similar enough.
enum Candidates {
    /// The search goes on in a later turn.
    Later,
    /// There is nothing to compare with.
    Nothing,
    /// What was found, and how many at most. If it is as many, no other row has a greater bound than
    /// the last.
    Found(Vec<Found>, usize),
}

/// The entries that the store finds, at most `limit` or as many as a store may be asked for.
fn of_store(store: &impl Store, sought: &Sought, limit: usize) -> Result<Candidates> {
    let limit = limit.min(MOST_OF_STORE);
    let query = VectorQuery {
        namespace: sought.namespace.clone(),
        context: sought.context.clone(),
        tags: sought.tags.clone(),
        fresh_at: sought.fresh_at,
        vector: sought.vector.clone(),
    };
    let mut neighbours = store.nearest(&query, limit as u32)?;
    if neighbours.is_empty() {
        return Ok(Candidates::Nothing);
    }
    neighbours.truncate(limit);
    let found = neighbours.iter().map(|neighbour| Found {
        id: neighbour.id,
        // Also where it is no number.
        bound: (neighbour.similarity + STORE_ERROR).min(1.0),
    });
    let floor = sought.floor();
    let found = found.filter(|found| found.bound >= floor);
    Ok(Candidates::Found(found.collect(), limit))
}

/// Takes the best of the entries that have been read, if no unread one can be better. Their
/// `bound` is the similarity itself.
fn take_best(ready: &mut BTreeMap<Found, Entry>, rest: Option<Found>) -> Option<(Found, Entry)> {
    let best = ready.last_entry()?;
    rest.is_none_or(|rest| *best.key() >= rest)
        .then(|| best.remove_entry())
}
