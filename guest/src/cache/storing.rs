//! Storing.

use super::evicting::Stored;
use super::lookup::stored;
use super::steps::Turn;
use super::{Cache, EVICTING, Open, is_stale};
use crate::error::{Result, invalid, is_retryable};
use crate::host::{Host, Now};
use crate::index::scopes::Scope;
use crate::options;
use crate::query;
use crate::range;
use crate::store::Store;
use crate::types::{
    BackendError, CountEvent, Entry, Error, Event, NormalizedQuery, PutOutcome, PutRequest,
    TtlChoice, VectorSource,
};
use crate::vector::{absent, unit};
use std::collections::BTreeSet;

/// Bytes of a batch, at most. Hosts limit the size of a call; this is well below their limits.
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// Entries of a batch, at most: some milliseconds of a store's time.
const BATCH: usize = 256;

/// A request that has been checked.
enum Draft {
    Ready(Entry),
    NeedsEmbedding(NormalizedQuery),
    /// The validator refuses the response.
    Refused,
}

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.put`.
    pub fn put(&mut self, request: PutRequest) -> Result<PutOutcome> {
        let mut outcomes = self.put_many(vec![request])?;
        outcomes
            .pop()
            .ok_or_else(|| Error::Corrupt("the store returned no id for an insert".into()))
    }

    /// See `cache.put-many`.
    pub fn put_many(&mut self, requests: Vec<PutRequest>) -> Result<Vec<PutOutcome>> {
        let (store, host, open) = self.parts()?;
        let now = host.now();
        let drafts: Vec<Draft> = check_all(requests, |r| open.check_put(host, r, now))?;
        let waits = |draft: &Draft| matches!(draft, Draft::NeedsEmbedding(_));
        if drafts.iter().any(waits) {
            return Ok(drafts
                .into_iter()
                .map(|draft| match draft {
                    Draft::Ready(_) => PutOutcome::Ready,
                    Draft::NeedsEmbedding(query) => PutOutcome::NeedsEmbedding(query),
                    Draft::Refused => PutOutcome::Refused,
                })
                .collect());
        }
        let mut entries = Vec::with_capacity(drafts.len());
        let accepted: Vec<bool> = drafts
            .into_iter()
            .map(|draft| match draft {
                Draft::Ready(entry) => {
                    entries.push(entry);
                    true
                }
                _ => false,
            })
            .collect();
        let mut ids = open.store_entries(store, host, entries, now)?.into_iter();
        let outcomes = accepted.into_iter().map(|accepted| match accepted {
            true => ids.next().map_or(PutOutcome::Ready, PutOutcome::Stored),
            false => PutOutcome::Refused,
        });
        Ok(outcomes.collect())
    }
}

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.link`.
    pub fn link(
        &mut self,
        query: String,
        namespace: String,
        context: String,
        id: u64,
        created_at: u64,
    ) -> Result<Option<u64>> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(&namespace)?;
        options::check_context(&context)?;
        options::check_size("query", &query, open.options.max_query_bytes)?;
        let now = host.now();
        let found = store.get_by_ids(&[id], false)?;
        let meant = found.into_iter().find(|entry| {
            (entry.id, entry.created_at) == (id, created_at)
                && (&entry.namespace, &entry.context) == (&namespace, &context)
                && !is_stale(entry.created_at, entry.ttl, now)
        });
        let Some(entry) = meant else {
            return Ok(None);
        };
        let (key, _) = open.key(&query, &namespace, &context);
        let has_answer =
            stored(store, &key)?.is_some_and(|entry| !is_stale(entry.created_at, entry.ttl, now));
        if has_answer {
            return Ok(None);
        }
        let copy = PutRequest {
            query,
            response: entry.response,
            namespace,
            context,
            tags: entry.tags,
            vector: VectorSource::Absent,
            ttl: entry.ttl.map_or(TtlChoice::Unlimited, TtlChoice::Seconds),
            metadata: entry.metadata,
            validate: false,
        };
        match open.check_put(host, copy, now)? {
            Draft::Ready(copy) => {
                // It is as old as the answer.
                let copy = Entry {
                    created_at: entry.created_at,
                    ..copy
                };
                Ok(open.store_entries(store, host, vec![copy], now)?.pop())
            }
            Draft::NeedsEmbedding(_) | Draft::Refused => Ok(None),
        }
    }
}

impl Open {
    /// Stores entries until the turn is over, evicts what is then too much, and returns the ids
    /// of the entries that it has stored.
    fn store_entries(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: Vec<Entry>,
        now: Now,
    ) -> Result<Vec<u64>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        self.follow(store, host, now)?;
        let namespaces: BTreeSet<String> = entries
            .iter()
            .map(|entry| entry.namespace.clone())
            .collect();
        if self.options.max_entries.is_some() || self.options.max_bytes.is_some() {
            self.oldest.matters();
        }
        for namespace in &namespaces {
            let quota = self.quotas.get(store, namespace)?;
            if quota.is_some() {
                self.oldest.matters();
            }
            if quota == Some(0) {
                return Err(Error::QuotaExceeded(format!(
                    "the namespace {namespace:?} has a quota of 0 entries and takes none; raise or remove its quota"
                )));
            }
        }
        let mut ids = Vec::with_capacity(entries.len());
        let mut rest = entries.as_slice();
        let turn = Turn::begin(host);
        while !rest.is_empty() && (ids.is_empty() || !turn.is_over(host)) {
            let (batch, after) = rest.split_at(batch_length(rest, self.max_batch.min(BATCH)));
            match self.insert(store, host, batch, &mut ids, now) {
                Ok(()) => rest = after,
                // It may pass: the next call begins with this batch.
                Err(error) if !ids.is_empty() && is_retryable(&error) => break,
                Err(error) => return Err(error),
            }
        }
        // The entries are stored, so later failures do not fail the call.
        let bytes = entries[..ids.len()].iter().map(|entry| size(entry) as u64);
        let stored = Stored {
            ids: &ids,
            bytes: bytes.sum(),
        };
        let evicted = self.enforce_limits(store, host, &namespaces, stored, now);
        self.note(EVICTING, evicted);
        self.flush_if_due(store, now);
        Ok(ids)
    }

    fn check_put(&self, host: &impl Host, request: PutRequest, now: Now) -> Result<Draft> {
        let limits = &self.options;
        options::check_namespace(&request.namespace)?;
        options::check_size("query", &request.query, limits.max_query_bytes)?;
        options::check_size("response", &request.response, limits.max_response_bytes)?;
        options::check_size("metadata", &request.metadata, limits.max_metadata_bytes)?;
        options::check_metadata(&request.metadata)?;
        options::check_context(&request.context)?;
        let mut tags = request.tags;
        options::check_tags(&tags)?;
        tags.sort_unstable();
        let ttl = match request.ttl {
            TtlChoice::Inherit => limits.default_ttl,
            TtlChoice::Unlimited => None,
            TtlChoice::Seconds(ttl) => Some(ttl),
        };
        options::check_ttl(ttl)?;
        range::check("this machine's clock", now.seconds())?;
        let dim = limits.embedder_dim;
        let embedding = match request.vector {
            VectorSource::Pending => None,
            VectorSource::Given(vector) => Some(unit(vector, dim)?),
            VectorSource::Embedded(embedding) => {
                let readable = self.readable(embedding)?;
                Some(readable.unwrap_or_else(|| absent(dim)))
            }
            VectorSource::Absent => Some(absent(dim)),
            VectorSource::Failed(reason) => {
                return Err(Error::Backend(BackendError {
                    message: format!("the embedder failed, so nothing was stored: {reason}"),
                    retryable: false,
                }));
            }
        };
        let (key, text) = self.key(&request.query, &request.namespace, &request.context);
        let entry = Entry {
            id: 0,
            namespace: key.namespace,
            context: request.context,
            query_hash: key.query_hash,
            query: request.query,
            response: request.response,
            embedding: Vec::new(),
            metadata: request.metadata,
            tags,
            created_at: now.seconds(),
            last_accessed_at: now.seconds(),
            ttl,
            access_count: 0,
        };
        if request.validate && !self.accepts(host, &entry.query, &entry, 1.0, now) {
            return Ok(Draft::Refused);
        }
        Ok(match embedding {
            Some(embedding) => Draft::Ready(Entry { embedding, ..entry }),
            // It has no meaning to embed.
            None if query::is_blank(&text) => Draft::Ready(Entry {
                embedding: absent(dim),
                ..entry
            }),
            None => Draft::NeedsEmbedding(NormalizedQuery {
                text,
                hash: entry.query_hash,
            }),
        })
    }

    /// Inserts one batch, and updates everything derived from the entries.
    fn insert(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: &[Entry],
        ids: &mut Vec<u64>,
        now: Now,
    ) -> Result<()> {
        let inserted = store.insert(entries)?;
        self.wrote();
        if inserted.len() != entries.len() {
            self.drop_index();
            self.sizes = super::Sizes::default();
            return Err(Error::Corrupt(format!(
                "store.insert returned {} ids for {} entries; the store is at fault, run the conformance battery on it",
                inserted.len(),
                entries.len()
            )));
        }
        for (entry, inserted) in entries.iter().zip(inserted) {
            let (id, created_at) = (inserted.id, entry.created_at);
            let scope = Scope {
                namespace: &entry.namespace,
                context: &entry.context,
            };
            self.backlog.forget(id);
            self.follower.stored(id);
            if self.options.max_bytes.is_some() {
                self.weights.stored(id, entry);
            }
            if inserted.replaced {
                self.oldest.was_used(id, now);
            } else {
                self.oldest.came(id);
                self.sizes.add(&entry.namespace, 1);
            }
            let indexed = self
                .indexes()
                .try_for_each(|index| index.add(scope, id, created_at, &entry.embedding));
            if indexed.is_err() {
                // The entry is stored. The next semantic look-up reports what is wrong.
                self.drop_index();
            }
            ids.push(id);
            self.emit(host, || {
                Event::Put(CountEvent {
                    namespace: entry.namespace.clone(),
                    count: 1,
                })
            });
        }
        Ok(())
    }
}

/// How many of the entries to insert in one call: at least one, at most `max_batch`, and
/// no more than [`BATCH_BYTES`] together.
fn batch_length(entries: &[Entry], max_batch: usize) -> usize {
    let mut bytes = 0;
    entries
        .iter()
        .take(max_batch)
        .take_while(|entry| {
            bytes += size(entry);
            bytes <= BATCH_BYTES
        })
        .count()
        .max(1)
}

/// The bytes of an entry's texts and vector.
pub(super) fn size(entry: &Entry) -> usize {
    entry.query.len()
        + entry.response.len()
        + entry.metadata.len()
        + entry.context.len()
        + entry.tags.iter().map(String::len).sum::<usize>()
        + size_of_val(entry.embedding.as_slice())
}

/// Checks every request. If there are several, an error names the position of the first bad
/// one.
pub(super) fn check_all<R, T>(requests: Vec<R>, check: impl Fn(R) -> Result<T>) -> Result<Vec<T>> {
    let several = requests.len() > 1;
    requests
        .into_iter()
        .enumerate()
        .map(|(at, request)| {
            check(request).map_err(|error| match error {
                Error::InvalidArgument(message) if several => {
                    invalid(format!("request {at} (counted from 0): {message}"))
                }
                error => error,
            })
        })
        .collect()
}
