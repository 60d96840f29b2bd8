//! Storing.

use super::{Cache, EVICTING, Open};
use crate::error::{Result, invalid};
use crate::host::{Host, Now};
use crate::options;
use crate::store::Store;
use crate::types::{
    BackendError, CountEvent, Entry, Error, Event, PutOutcome, PutRequest, TtlChoice, VectorSource,
};
use crate::vector::unit;
use std::collections::BTreeSet;

/// Bytes of a batch, at most. Hosts limit the size of a call; this is well below their limits.
pub(super) const BATCH_BYTES: usize = 16 << 20;

/// A request that has been checked: the entry to store. Its vector is empty until the query has
/// been embedded.
struct Draft {
    entry: Entry,
    text: String,
    has_vector: bool,
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
        let drafts: Vec<Draft> = check_all(requests, |request| open.check_put(request, now))?;
        if drafts.iter().any(|draft| !draft.has_vector) {
            return Ok(drafts
                .into_iter()
                .map(|draft| match draft.has_vector {
                    true => PutOutcome::Ready,
                    false => PutOutcome::NeedsEmbedding(draft.text),
                })
                .collect());
        }
        open.follow(store, now)?;
        let namespaces: BTreeSet<String> = drafts
            .iter()
            .map(|draft| draft.entry.namespace.clone())
            .collect();
        for namespace in &namespaces {
            if open.quota(store, namespace)? == Some(0) {
                return Err(Error::QuotaExceeded(format!(
                    "the namespace {namespace:?} has a quota of 0 entries and takes none; raise or remove its quota"
                )));
            }
        }
        let entries: Vec<Entry> = drafts.into_iter().map(|draft| draft.entry).collect();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut rest = entries.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_length(rest, open.max_batch));
            open.insert(store, host, batch, &mut outcomes)?;
            rest = after;
        }
        // The entries are stored, so later failures do not fail the call.
        let evicted = open.enforce_limits(store, host, &namespaces, now);
        open.note(EVICTING, evicted);
        open.flush_if_due(store, now);
        Ok(outcomes)
    }
}

impl Open {
    fn check_put(&self, request: PutRequest, now: Now) -> Result<Draft> {
        let limits = &self.options;
        options::check_namespace(&request.namespace)?;
        options::check_size("query", &request.query, limits.max_query_bytes)?;
        options::check_size("response", &request.response, limits.max_response_bytes)?;
        options::check_size("metadata", &request.metadata, limits.max_metadata_bytes)?;
        options::check_metadata(&request.metadata)?;
        let embedding = match request.vector {
            VectorSource::Pending => None,
            VectorSource::Given(vector) | VectorSource::Embedded(vector) => {
                Some(unit(vector, limits.embedder_dim)?)
            }
            VectorSource::Failed(reason) => {
                return Err(Error::Backend(BackendError {
                    message: format!("the embedder failed, so nothing was stored: {reason}"),
                    retryable: false,
                }));
            }
        };
        let (key, text) = self.key(&request.query, &request.namespace);
        Ok(Draft {
            text,
            has_vector: embedding.is_some(),
            entry: Entry {
                id: 0,
                namespace: key.namespace,
                query_hash: key.query_hash,
                query: request.query,
                response: request.response,
                embedding: embedding.unwrap_or_default(),
                metadata: request.metadata,
                created_at: now.seconds(),
                last_accessed_at: now.seconds(),
                ttl: match request.ttl {
                    TtlChoice::Inherit => limits.default_ttl,
                    TtlChoice::Unlimited => None,
                    TtlChoice::Seconds(ttl) => Some(ttl),
                },
                access_count: 0,
            },
        })
    }

    /// Inserts one batch, and updates everything derived from the entries.
    fn insert(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: &[Entry],
        outcomes: &mut Vec<PutOutcome>,
    ) -> Result<()> {
        let inserted = store.insert(entries)?;
        self.follower.wrote();
        if inserted.len() != entries.len() {
            self.index = None;
            self.sizes = super::Sizes::default();
            return Err(Error::Corrupt(format!(
                "store.insert returned {} ids for {} entries; the store is at fault, run the conformance battery on it",
                inserted.len(),
                entries.len()
            )));
        }
        for (entry, inserted) in entries.iter().zip(inserted) {
            self.backlog.forget(inserted.id);
            if !inserted.replaced {
                self.sizes.add(&entry.namespace, 1);
            }
            if let Some(index) = &mut self.index {
                let (id, created_at) = (inserted.id, entry.created_at);
                if index
                    .add(&entry.namespace, id, created_at, &entry.embedding)
                    .is_err()
                {
                    // The entry is stored. The next semantic look-up reports what is wrong.
                    self.index = None;
                }
            }
            outcomes.push(PutOutcome::Stored(inserted.id));
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
