//! Labels for the error bound: given by the program, or found by comparing after a miss.

use super::SemanticCache;
use crate::bound::SameAnswer;
use crate::contract::api::Nearest;
use crate::contract::trust::{BoundReport, Label, LabelSource};
use crate::contract::types::VectorDtype;
use crate::embedder::Embedding;
use crate::error::{Error, Result};
use crate::front::{Front, Kind, embed, now};
use crate::observe::Call;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl SemanticCache {
    /// Labels the candidate of a look-up for the [error bound](crate::Builder::error_bound): whether its
    /// response was the right one. The ticket is that of its [hit](crate::Hit) or
    /// [miss](crate::Miss::nearest), at most a day old; another process on the same store takes it too. Each is
    /// taken once: a cache remembers the last 8,192 that it has taken, and the store the last 512.
    /// [`get_or_compute`](Self::get_or_compute) labels its misses itself.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a ticket of another namespace, one that is too old, was used or was not
    /// issued by a cache of this store, and if the cache has no error bound; what the store returns.
    pub fn feedback(
        &self,
        namespace: &str,
        ticket: &str,
        label: Label,
        source: LabelSource,
    ) -> Result<()> {
        self.call("feedback", Some(namespace), |guest, store| {
            guest.call_feedback(store, namespace, ticket, label, source)
        })
    }

    /// Compares a response with the candidate of the miss that it was computed after, and labels the
    /// candidate, as [`get_or_compute`](Self::get_or_compute) does. Returns the label.
    ///
    /// # Errors
    ///
    /// Those of [`feedback`](Self::feedback), and [`Error::Embedder`] if the responses were to be embedded.
    pub fn compare_answer(&self, nearest: Nearest, response: &str) -> Result<Label> {
        now(label(self, nearest, response.to_owned()))
    }

    /// What the labels say of each namespace that this cache has counted for since it was opened, without
    /// asking the store; of 4,096 at most. [`stats`](Self::stats) tells it of any namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn bounds(&self) -> Result<Vec<(String, BoundReport)>> {
        self.turn(|guest, store| guest.call_bounds(store))
    }

    /// Whether the vector of a text stands for it, as for that of a query.
    fn is_read(&self, embedding: &Embedding) -> Result<bool> {
        let mut first = self.instance()?;
        if first.options.allow_unreadable {
            return Ok(true);
        }
        let Some(reading) = embedding.reading else {
            return Ok(true);
        };
        first.call_infallible(|guest, store| guest.call_is_readable(store, reading.into()))
    }

    /// What two responses say about each other by themselves.
    fn compare(&self, response: &str, other: &str) -> Result<Label> {
        self.instance()?
            .call_infallible(|guest, store| guest.call_compare(store, response, other))
    }
}

/// Labels the candidate of a miss by what was computed after it and stored. A failure is reported, as the
/// caller has the response anyway.
pub(crate) async fn label_computed(
    front: &impl Front,
    nearest: Option<Nearest>,
    stored: &Result<u64>,
    response: &str,
) {
    // What was not stored, such as what the validator refuses, may be no answer to compare with.
    let (Some(nearest), Ok(_)) = (nearest, stored) else {
        return;
    };
    let response = response.to_owned();
    match label(front, nearest, response).await {
        Ok(_) | Err(Error::Closed) => {}
        Err(error) => front.cache().report(&error),
    }
}

/// See [`SemanticCache::compare_answer`].
pub(crate) async fn label(front: &impl Front, nearest: Nearest, response: String) -> Result<Label> {
    let watch = front.cache().watch();
    let call = watch.begin("label", Some(&nearest.candidate.namespace));
    let outcome = label_watched(front, &call, nearest, response).await;
    watch.end(&call, &outcome);
    outcome
}

async fn label_watched(
    front: &impl Front,
    call: &Call,
    nearest: Nearest,
    response: String,
) -> Result<Label> {
    let Nearest { candidate, ticket } = nearest;
    let namespace = candidate.namespace.clone();
    let compare = call.part(move |cache: &SemanticCache| {
        let label = match &cache.inner.same_answer {
            SameAnswer::Asked(compare) => {
                let compare = || compare(&candidate, &response);
                // The caller must not lose what it has computed.
                catch_unwind(AssertUnwindSafe(compare)).map_err(|_| {
                    Error::InvalidArgument(
                        "the function that compares answers panicked, so there is no label; see Builder::same_answer"
                            .into(),
                    )
                })?
            }
            _ => cache.compare(&candidate.response, &response)?,
        };
        Ok((label, candidate.response, response))
    });
    let (mut label, old, new) = front.run(Kind::Reads, compare).await?;
    if let SameAnswer::Embedded(least) = front.cache().inner.same_answer
        && label != Label::Same
    {
        let embeddings = embed(front, call, vec![old, new]).await;
        let embeddings = embeddings.map_err(Error::Embedder)?;
        let compare = call.part(move |cache: &SemanticCache| {
            // There is one for each response.
            let [old, new] = &embeddings[..] else {
                return Ok(Label::Unknown);
            };
            if !cache.is_read(old)? || !cache.is_read(new)? {
                return Ok(Label::Unknown);
            }
            let similarity = cache.similarity(&old.vector, &new.vector, VectorDtype::Float32)?;
            Ok(match similarity >= least {
                true => Label::Same,
                false => Label::Different,
            })
        });
        label = front.run(Kind::Reads, compare).await?;
    }
    let give = call.part(move |cache: &SemanticCache| {
        cache.turn(|guest, store| {
            guest.call_feedback(store, &namespace, &ticket, label, LabelSource::Compared)
        })
    });
    front.run(Kind::Changes, give).await?;
    Ok(label)
}
