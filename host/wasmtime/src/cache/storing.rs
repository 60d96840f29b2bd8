//! Storing, with the vectors that the component asks for.

use super::{SemanticCache, broken_promise, late};
use crate::contract::api::{self, PutOutcome, VectorSource};
use crate::error::{Error, Result};
use crate::front::{Front, Kind, embed, embedded, now};
use crate::observe::Call;
use crate::request::{Computed, GetRequest, PutRequest};

impl SemanticCache {
    /// Stores a response and returns the id of its entry. It replaces the entry of the
    /// namespace with the same normalised query, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`], [`Error::EmbedderDimension`], [`Error::QuotaExceeded`]
    /// for a quota of 0, [`Error::Embedder`], [`Error::Refused`] for a request that
    /// [asks the validator](PutRequest::validate), and what the store returns. After an error
    /// nothing was stored, except perhaps if a [`Limit::Time`](crate::Limit::Time) stopped
    /// the call.
    pub fn put(&self, request: PutRequest) -> Result<u64> {
        now(put(self, request.into()))
    }

    /// Stores several responses and returns their ids, in order; their queries are
    /// embedded together. Every request is checked, and embedded, before the first is
    /// stored. They are stored in atomic steps of at most 256 entries and about 16 MiB, between
    /// which others are served. If a later step fails, the earlier ones stay.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put). If the validator refuses one of them, the others are stored.
    pub fn put_many(&self, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
        now(put_many(self, requests))
    }

    /// Stores all, unless one needs an embedding, and lets others have their turn in between.
    fn store_all(&self, requests: &[api::PutRequest]) -> Result<Vec<PutOutcome>> {
        let store = |requests: &[api::PutRequest]| -> Result<Vec<PutOutcome>> {
            let outcomes = self.turn(|guest, store| guest.call_put_many(store, requests))?;
            self.has_stored();
            Ok(outcomes)
        };
        let mut outcomes = store(requests)?;
        while !outcomes
            .iter()
            .any(|one| matches!(one, PutOutcome::NeedsEmbedding(_)))
        {
            let late = late(&outcomes, |one| matches!(one, PutOutcome::Ready));
            if late.is_empty() {
                break;
            }
            let rest: Vec<_> = late.iter().map(|&at| requests[at].clone()).collect();
            let again = store(&rest)?;
            for (at, outcome) in late.into_iter().zip(again) {
                outcomes[at] = outcome;
            }
        }
        Ok(outcomes)
    }
}

/// See [`SemanticCache::put`].
pub(crate) async fn put(front: &impl Front, request: api::PutRequest) -> Result<u64> {
    let watch = front.cache().watch();
    let call = watch.begin("put", Some(&request.namespace));
    let outcome = put_watched(front, &call, request).await;
    watch.end(&call, &outcome);
    outcome
}

async fn put_watched(front: &impl Front, call: &Call, first: api::PutRequest) -> Result<u64> {
    let (mut request, mut outcome) = store(front, call, first).await?;
    if let PutOutcome::NeedsEmbedding(query) = outcome {
        let embeddings = embed(front, call, vec![query.text]).await;
        // There is one for each text.
        let embedding = embeddings.map_err(Error::Embedder)?.swap_remove(0);
        request.vector = embedded(embedding);
        (_, outcome) = store(front, call, request).await?;
    }
    stored_id(outcome)
}

async fn store(
    front: &impl Front,
    call: &Call,
    request: api::PutRequest,
) -> Result<(api::PutRequest, PutOutcome)> {
    let part = call.part(move |cache: &SemanticCache| {
        let outcome = cache.turn(|guest, store| guest.call_put(store, &request))?;
        if matches!(outcome, PutOutcome::Stored(_)) {
            cache.has_stored();
        }
        Ok((request, outcome))
    });
    front.run(Kind::Changes, part).await
}

/// See [`SemanticCache::put_many`].
pub(crate) async fn put_many(front: &impl Front, requests: Vec<PutRequest>) -> Result<Vec<u64>> {
    let watch = front.cache().watch();
    let call = watch.begin("put_many", None);
    let outcome = put_many_watched(front, &call, requests).await;
    watch.end(&call, &outcome);
    outcome
}

async fn put_many_watched(
    front: &impl Front,
    call: &Call,
    requests: Vec<PutRequest>,
) -> Result<Vec<u64>> {
    let store = |requests: Vec<api::PutRequest>| {
        front.run(
            Kind::Changes,
            call.part(move |cache: &SemanticCache| {
                let outcomes = cache.store_all(&requests)?;
                Ok((requests, outcomes))
            }),
        )
    };
    let requests = requests.into_iter().map(Into::into).collect();
    let (mut requests, mut outcomes) = store(requests).await?;
    let (mut pending, mut texts) = (Vec::new(), Vec::new());
    for (request, outcome) in requests.iter_mut().zip(&outcomes) {
        if let PutOutcome::NeedsEmbedding(query) = outcome {
            pending.push(request);
            texts.push(query.text.clone());
        }
    }
    if !texts.is_empty() {
        let embeddings = embed(front, call, texts).await.map_err(Error::Embedder)?;
        for (request, embedding) in pending.into_iter().zip(embeddings) {
            request.vector = embedded(embedding);
        }
        (_, outcomes) = store(requests).await?;
    }
    outcomes.into_iter().map(stored_id).collect()
}

/// Stores a computed response, unless the validator refuses it. If there is no vector for its
/// query, only the exact layer finds it. A failure is reported, as the caller has the response
/// anyway.
pub(crate) async fn keep(
    front: &impl Front,
    request: GetRequest,
    computed: Computed,
    vector: Result<VectorSource>,
) -> Result<u64> {
    let mut put = PutRequest::new(request.query, computed.response)
        .namespace(request.namespace)
        .context(request.context)
        .ttl(computed.ttl)
        .metadata(computed.metadata)
        .validate(true);
    // The next such request asks for these tags too.
    put.tags = request.tags;
    for tag in computed.tags {
        if !put.tags.contains(&tag) {
            put.tags.push(tag);
        }
    }
    let stored = match vector {
        Ok(vector) => {
            let request = api::PutRequest {
                vector,
                ..put.into()
            };
            keep_watched(front, request).await
        }
        Err(error) => Err(error),
    };
    match &stored {
        Ok(_) | Err(Error::Refused(_)) => {}
        Err(error) => front.cache().report(error),
    }
    stored
}

async fn keep_watched(front: &impl Front, request: api::PutRequest) -> Result<u64> {
    let stored = put(front, request.clone()).await;
    match stored {
        Err(Error::Embedder(error)) => {
            front.cache().report(&Error::Embedder(error));
            let request = api::PutRequest {
                vector: VectorSource::Absent,
                ..request
            };
            put(front, request).await
        }
        stored => stored,
    }
}

fn stored_id(outcome: PutOutcome) -> Result<u64> {
    match outcome {
        PutOutcome::Stored(id) => Ok(id),
        PutOutcome::Refused => Err(Error::Refused(
            "the validator refuses the response, so it was not stored".into(),
        )),
        PutOutcome::NeedsEmbedding(_) | PutOutcome::Ready => Err(broken_promise()),
    }
}
