//! Asking: the exact layer, then, with a vector, the semantic one.

use super::storing::unread;
use super::{SemanticCache, broken_promise};
use crate::contract::api::{self, VectorSource};
use crate::embedder::EmbedError;
use crate::error::Result;
use crate::flights::Key;
use crate::observe::{Stage, record_lookup};
use crate::request::{Answer, Explained, GetRequest, Lookup, Miss, Origin};
use std::sync::PoisonError;

impl SemanticCache {
    /// Asks for an answer: the entry with the same normalised query, or else the most
    /// similar one above the threshold. If the embedder fails, the result is a miss with its
    /// error in [`Miss::embedder_error`].
    ///
    /// # Errors
    ///
    /// [`InvalidArgument`](crate::Error::InvalidArgument) and
    /// [`EmbedderDimension`](crate::Error::EmbedderDimension) for a bad request; what the store
    /// returns; [`IndexUnavailable`](crate::Error::IndexUnavailable) and
    /// [`Limit`](crate::Error::Limit).
    pub fn get(&self, request: impl Into<GetRequest>) -> Result<Lookup> {
        self.look_up(request.into()).map(|(lookup, _)| lookup)
    }

    /// Asks for several answers, in order; their queries are embedded together. Every
    /// request is checked before the first is answered.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        self.watched("get_many", None, || self.look_up_many(requests))
    }

    fn look_up_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        let first: Vec<api::GetRequest> = requests.into_iter().map(Into::into).collect();
        let answers = Stage::Exact.run(|| {
            self.instance()?
                .call(|guest, store| guest.call_get_many(store, &first))
        })?;
        let texts: Vec<&str> = answers.iter().filter_map(text_to_embed).collect();
        let mut again = Vec::new();
        let mut error = None;
        if !texts.is_empty() {
            let vectors: Vec<VectorSource> = match self.embed(&texts) {
                Ok(vectors) => vectors.into_iter().map(unread).collect(),
                Err(failure) => {
                    let failed = VectorSource::Failed(failure.message.clone());
                    error = Some(failure);
                    vec![failed; texts.len()]
                }
            };
            let second: Vec<_> = first
                .into_iter()
                .zip(&answers)
                .filter(|(_, answer)| text_to_embed(answer).is_some())
                .zip(vectors)
                .map(|((request, _), vector)| api::GetRequest { vector, ..request })
                .collect();
            again = Stage::Search.run(|| {
                self.instance()?
                    .call(|guest, store| guest.call_get_many(store, &second))
            })?;
        }
        let mut again = again.into_iter();
        answers
            .into_iter()
            .map(|answer| match answer {
                api::Lookup::NeedsEmbedding(_) => again
                    .next()
                    .ok_or_else(broken_promise)
                    .and_then(|a| finish(a, error.clone())),
                answer => finish(answer, None),
            })
            .collect()
    }

    /// Says how [`get`](Self::get) would answer a question now, and why: the same outcome by
    /// the same rules, with the `limit` (1 to 1,000) nearest entries, and the entry that answers
    /// if it is not one of them. Counts nothing and changes nothing. It asks the embedder even
    /// if the exact layer answers; if the embedder fails, there are no candidates.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`InvalidArgument`](crate::Error::InvalidArgument) for a limit
    /// out of range.
    pub fn explain(&self, request: impl Into<GetRequest>, limit: u32) -> Result<Explained> {
        let first: api::GetRequest = request.into().into();
        self.watched("explain", Some(&first.namespace), || {
            let ask = |request: &api::GetRequest| {
                let mut turn = self.instance()?;
                turn.call(|guest, store| guest.call_explain(store, request, limit))
            };
            let (mut answer, mut embedder_error) = (ask(&first)?, None);
            if let api::Explained::NeedsEmbedding(text) = answer {
                let vector;
                (vector, embedder_error) = self.vector_source(&text);
                answer = ask(&api::GetRequest {
                    vector,
                    ..first.clone()
                })?;
            }
            match answer {
                api::Explained::Explanation(explanation) => Ok(Explained {
                    explanation,
                    embedder_error,
                }),
                api::Explained::NeedsEmbedding(_) => Err(broken_promise()),
            }
        })
    }

    /// The cached answer, or else what `compute` returns, which is then stored. Callers
    /// who ask the same (after normalisation) at the same time share one computation;
    /// if it fails, the next of them runs its own. The caller gets the answer even if
    /// storing it fails: see [`Origin::Computed`].
    ///
    /// ```
    /// # use mneme::{SemanticCache, MemoryStore, embedder::Precomputed, GetRequest};
    /// # let cache = SemanticCache::builder().store(MemoryStore::new()).embedder(Precomputed::new("v", 2)).open()?;
    /// let ask = || GetRequest::new("What is 6 x 7?").embedding(vec![1.0, 0.0]);
    /// let answer = cache.get_or_compute(ask(), || Ok::<_, std::io::Error>("42".into()))?;
    /// let again = cache.get_or_compute(ask(), || unreachable!("it is cached") as Result<_, std::io::Error>)?;
    /// assert_eq!(again.response, answer.response);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `compute` returns.
    pub fn get_or_compute<E>(
        &self,
        request: impl Into<GetRequest>,
        compute: impl FnOnce() -> std::result::Result<String, E>,
    ) -> std::result::Result<Answer, E> {
        let request = request.into();
        let vector = match self.look_up(request.clone()) {
            Ok((Lookup::Hit(hit), _)) => return Ok(from_cache(hit)),
            Ok((Lookup::Miss(_), vector)) => Ok(vector),
            Err(error) => Err(error),
        };
        let flight = self
            .flight_key(&request)
            .map(|key| self.inner.flights.join(key));
        // Whoever panicked while computing has left no response.
        let mut shared = flight.as_ref().map(|flight| {
            let response = flight.response().lock();
            response.unwrap_or_else(PoisonError::into_inner)
        });
        if let Some(Some(response)) = shared.as_deref() {
            return Ok(Answer {
                response: response.clone(),
                origin: Origin::Shared,
            });
        }
        if shared.is_some()
            && let Some(hit) = self.stored_meanwhile(&request)
        {
            return Ok(from_cache(hit));
        }
        let response = compute()?;
        let published = flight
            .as_ref()
            .zip(shared.as_deref_mut())
            .map(|(flight, shared)| flight.publish(shared, &response));
        let stored = self.keep(request, &response, vector);
        drop(published);
        Ok(Answer {
            response,
            origin: Origin::Computed(stored),
        })
    }

    /// Looks up, and returns the query's vector too, if it was given or embedded.
    pub(crate) fn look_up(&self, request: GetRequest) -> Result<(Lookup, Option<Vec<f32>>)> {
        let first: api::GetRequest = request.into();
        let mut embedded = None;
        let lookup = self.watched("get", Some(&first.namespace), || {
            let ask = |request: &api::GetRequest| {
                self.instance()?
                    .call(|guest, store| guest.call_get(store, request))
            };
            let stage = match first.vector {
                VectorSource::Pending => Stage::Exact,
                _ => Stage::Search,
            };
            let (mut answer, mut error) = (stage.run(|| ask(&first))?, None);
            if let api::Lookup::NeedsEmbedding(text) = answer {
                let vector;
                (vector, error) = self.vector_source(&text);
                let second = api::GetRequest {
                    vector,
                    ..first.clone()
                };
                answer = Stage::Search.run(|| ask(&second))?;
                embedded = Some(second.vector);
            }
            let lookup = finish(answer, error)?;
            record_lookup(&lookup);
            Ok(lookup)
        })?;
        let vector = match embedded.unwrap_or(first.vector) {
            VectorSource::Given(vector) => Some(vector),
            VectorSource::Embedded(embedding) => Some(embedding.vector),
            VectorSource::Absent => None,
            VectorSource::Pending | VectorSource::Failed(_) => None,
        };
        Ok((lookup, vector))
    }

    /// The vector of a text, or why there is none.
    fn vector_source(&self, text: &str) -> (VectorSource, Option<EmbedError>) {
        match self.embed_one(text) {
            Ok(vector) => (unread(vector), None),
            Err(error) => (VectorSource::Failed(error.message.clone()), Some(error)),
        }
    }

    /// The answer to exactly this question, if somebody has stored it since it was looked
    /// up: whoever was computing it may have finished between the two.
    pub(crate) fn stored_meanwhile(&self, request: &GetRequest) -> Option<api::Hit> {
        if request.bypass {
            return None;
        }
        let again = api::GetRequest {
            vector: VectorSource::Pending,
            ..request.clone().into()
        };
        let answer = self
            .instance()
            .and_then(|mut turn| turn.call(|guest, store| guest.call_get(store, &again)));
        match answer {
            Ok(api::Lookup::Hit(hit)) => Some(hit),
            _ => None,
        }
    }

    /// Names what is being asked, for those who ask the same.
    pub(crate) fn flight_key(&self, request: &GetRequest) -> Option<Key> {
        let hash = self.normalize(&request.query).ok()?.hash;
        Some((request.namespace.clone(), hash))
    }
}

pub(crate) fn from_cache(hit: api::Hit) -> Answer {
    Answer {
        response: hit.response.clone(),
        origin: Origin::Cache(Box::new(hit)),
    }
}

fn finish(answer: api::Lookup, embedder_error: Option<EmbedError>) -> Result<Lookup> {
    match answer {
        api::Lookup::Hit(hit) => Ok(Lookup::Hit(hit)),
        api::Lookup::Miss(reason) => Ok(Lookup::Miss(Miss {
            reason,
            embedder_error,
        })),
        api::Lookup::NeedsEmbedding(_) => Err(broken_promise()),
    }
}

fn text_to_embed(answer: &api::Lookup) -> Option<&str> {
    match answer {
        api::Lookup::NeedsEmbedding(text) => Some(text),
        _ => None,
    }
}
