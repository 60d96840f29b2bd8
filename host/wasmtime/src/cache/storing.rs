//! Storing, with the vectors that the component asks for.

use super::{SemanticCache, broken_promise};
use crate::contract::api::{self, PutOutcome, VectorSource};
use crate::error::{Error, Result};
use crate::request::{GetRequest, PutRequest};

impl SemanticCache {
    /// Stores a response and returns the id of its entry. It replaces the entry of the
    /// namespace with the same normalised query, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], [`Error::EmbedderDimension`], [`Error::QuotaExceeded`]
    /// for a quota of 0, [`Error::Embedder`], and what the store returns. After an error
    /// nothing was stored, except perhaps if a [`Limit::Time`](crate::Limit::Time) stopped
    /// the call.
    pub fn put(&self, request: PutRequest) -> Result<u64> {
        let namespace = request.namespace.clone();
        self.watched("put", Some(&namespace), || {
            let first = request.into();
            let outcome = self
                .instance()?
                .call(|guest, store| guest.call_put(store, &first))?;
            match outcome {
                PutOutcome::Stored(id) => Ok(id),
                PutOutcome::NeedsEmbedding(text) => {
                    let vector = self.embed_one(&text).map_err(Error::Embedder)?;
                    self.put_embedded(first, vector)
                }
                PutOutcome::Ready | PutOutcome::Refused => Err(broken_promise()),
            }
        })
    }

    /// Stores several responses and returns their ids, in order; their queries are
    /// embedded together. Every request is checked, and embedded, before the first is
    /// stored. They are stored in atomic steps of at most the store's batch size (SQLite:
    /// 1,000) and about 16 MiB. If a later step fails, the earlier ones stay.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    pub fn put_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        self.watched("put_many", None, || self.store_many(requests))
    }

    fn store_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        let mut requests: Vec<api::PutRequest> = requests.into_iter().map(Into::into).collect();
        let outcomes = self
            .instance()?
            .call(|guest, store| guest.call_put_many(store, &requests))?;
        if outcomes
            .iter()
            .all(|outcome| matches!(outcome, PutOutcome::Stored(_)))
        {
            return stored_ids(outcomes);
        }
        let (pending, texts): (Vec<&mut api::PutRequest>, Vec<&str>) = requests
            .iter_mut()
            .zip(&outcomes)
            .filter_map(|(request, outcome)| match outcome {
                PutOutcome::NeedsEmbedding(text) => Some((request, text.as_str())),
                _ => None,
            })
            .unzip();
        let vectors = self.embed(&texts).map_err(Error::Embedder)?;
        for (request, vector) in pending.into_iter().zip(vectors) {
            request.vector = unread(vector);
        }
        stored_ids(
            self.instance()?
                .call(|guest, store| guest.call_put_many(store, &requests))?,
        )
    }

    /// Stores a computed response, with the vector of its look-up if there is one.
    pub(crate) fn keep(
        &self,
        request: GetRequest,
        response: &str,
        vector: Result<Option<Vec<f32>>>,
    ) -> Result<u64> {
        let put = PutRequest::new(request.query, response).namespace(request.namespace);
        match vector? {
            Some(vector) => {
                let namespace = put.namespace.clone();
                self.watched("put", Some(&namespace), || {
                    self.put_embedded(put.into(), vector)
                })
            }
            None => self.put(put),
        }
    }

    fn put_embedded(&self, request: api::PutRequest, vector: Vec<f32>) -> Result<u64> {
        let request = api::PutRequest {
            vector: unread(vector),
            ..request
        };
        match self
            .instance()?
            .call(|guest, store| guest.call_put(store, &request))?
        {
            PutOutcome::Stored(id) => Ok(id),
            _ => Err(broken_promise()),
        }
    }
}

/// A vector from an embedder that does not say how much of the text it read.
pub(super) fn unread(vector: Vec<f32>) -> VectorSource {
    VectorSource::Embedded(api::Embedding {
        vector,
        reading: None,
    })
}

fn stored_ids(outcomes: Vec<PutOutcome>) -> Result<Vec<u64>> {
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            PutOutcome::Stored(id) => Ok(id),
            _ => Err(broken_promise()),
        })
        .collect()
}
