//! Asking: the exact layer, then, with a vector, the semantic one.

use super::labelling::label_computed;
use super::storing::keep;
use super::verifying::verify;
use super::{SemanticCache, broken_promise, late};
use crate::contract::api::{self, Nearest, VectorSource};
use crate::contract::policy::Candidate;
use crate::embedder::EmbedError;
use crate::error::{Error, Result};
use crate::flights::Key;
use crate::front::{Front, Kind, embed, embedded, now, vector_source};
use crate::lanes::{Lane, Needs};
use crate::observe::{Call, Stage, record_lookup};
use crate::request::{Answer, Computed, Explained, GetRequest, Lookup, Miss, Origin};
use crate::verifier::VerifyError;
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
        now(look_up(self, request.into()))
    }

    /// Asks for several answers, in order; their queries are embedded together. Every
    /// request is checked before the first is answered.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn get_many(&self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        now(look_up_many(self, requests))
    }

    /// Says how [`get`](Self::get) would answer a question now, and why: the same outcome by
    /// the same rules, with the `limit` (1 to 1,000) nearest entries, and the entry that answers
    /// if it is not one of them. Counts nothing and changes nothing. It asks the embedder even
    /// if the exact layer answers; if the embedder fails, there are no candidates. It asks the verifier too.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`InvalidArgument`](crate::Error::InvalidArgument) for a limit
    /// out of range.
    pub fn explain(&self, request: impl Into<GetRequest>, limit: u32) -> Result<Explained> {
        now(explain(self, request.into(), limit))
    }

    /// The cached answer, or else what `compute` returns, which is then stored. Callers
    /// who ask the same (after normalisation) at the same time share one computation;
    /// if it fails, its caller gets the error as it is, nothing is stored, and the next of them runs
    /// its own. What the validator refuses, by default a blank response or one that begins with
    /// `[LLM Error]` or `[ERROR]`, is not stored; an entry of the exact layer that it refuses is no
    /// answer, and is replaced. The caller gets the answer even if it is not
    /// stored: see [`Origin::Computed`]. A
    /// [`Computed`] says how long the response may be used, and what to keep with it.
    ///
    /// ```
    /// # use mneme::{SemanticCache, MemoryStore, embedder::Precomputed, GetRequest};
    /// # let cache = SemanticCache::builder().store(MemoryStore::new()).embedder(Precomputed::new("v", 2)).open()?;
    /// let ask = || GetRequest::new("What is 6 x 7?").embedding(vec![1.0, 0.0]);
    /// let answer = cache.get_or_compute(ask(), || Ok::<_, std::io::Error>("42"))?;
    /// let again = cache.get_or_compute(ask(), || unreachable!("it is cached") as Result<String, std::io::Error>)?;
    /// assert_eq!(again.response, answer.response);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What `compute` returns.
    pub fn get_or_compute<E, C: Into<Computed>>(
        &self,
        request: impl Into<GetRequest>,
        compute: impl FnOnce() -> std::result::Result<C, E>,
    ) -> std::result::Result<Answer, E> {
        let request = request.into().validate(true);
        let before = self.stored();
        let (text, missed) = match Missed::of(now(look_up_to_keep(self, request.clone()))) {
            Ok(missed) => missed,
            Err(hit) => return Ok(from_cache(*hit)),
        };
        let flight = self
            .flight_key(&request, text)
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
            && self.stored() != before
            && let Some(hit) = self.stored_meanwhile(&request)
        {
            return Ok(from_cache(hit));
        }
        let computed: Computed = compute()?.into();
        let published = flight
            .as_ref()
            .zip(shared.as_deref_mut())
            .map(|(flight, shared)| flight.publish(shared, &computed.response));
        let response = computed.response.clone();
        let stored = now(keep(self, request, computed, missed.vector));
        drop(published);
        // Nobody who asks the same waits for the label.
        drop(shared);
        now(label_computed(self, missed.nearest, &stored, &response));
        Ok(Answer {
            response,
            origin: Origin::Computed(stored),
        })
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
        match self.ask(&again) {
            Ok(api::Lookup::Hit(hit)) => Some(hit),
            _ => None,
        }
    }

    /// Asks until there is an answer, and lets others have their turn in between. One lane answers, for
    /// it knows how far a search is.
    fn ask(&self, request: &api::GetRequest) -> Result<api::Lookup> {
        let lane = self.lane(needs(request));
        loop {
            match self.on_lane(lane, |guest, store| guest.call_get(store, request))? {
                api::Lookup::Later => {}
                answer => {
                    self.note_use(lane, &answer);
                    return Ok(answer);
                }
            }
        }
    }

    /// As [`ask`](Self::ask), for several requests.
    fn ask_all(&self, requests: &[api::GetRequest]) -> Result<Vec<api::Lookup>> {
        let is_exact = |request: &api::GetRequest| needs(request) == Needs::Exact;
        let lane = self.lane(match requests.iter().all(is_exact) {
            true => Needs::Exact,
            false => Needs::Index,
        });
        let answers = self.ask_all_on(lane, requests)?;
        answers
            .iter()
            .for_each(|answer| self.note_use(lane, answer));
        Ok(answers)
    }

    fn ask_all_on(&self, lane: &Lane, requests: &[api::GetRequest]) -> Result<Vec<api::Lookup>> {
        let ask = |requests: &[api::GetRequest]| {
            self.on_lane(lane, |guest, store| guest.call_get_many(store, requests))
        };
        let mut answers = ask(requests)?;
        loop {
            let late = late(&answers, |answer| matches!(answer, api::Lookup::Later));
            if late.is_empty() {
                return Ok(answers);
            }
            let rest: Vec<_> = late.iter().map(|&at| requests[at].clone()).collect();
            let again = ask(&rest)?;
            for (at, answer) in late.into_iter().zip(again) {
                answers[at] = answer;
            }
        }
    }

    fn note_use(&self, lane: &Lane, answer: &api::Lookup) {
        if let api::Lookup::Hit(hit) = answer {
            self.lanes().was_used(lane, hit.id);
        }
    }

    /// Names what is being asked, for those who ask what the exact layer takes for the same.
    /// `text` is what is compared, if it is known.
    pub(crate) fn flight_key(&self, request: &GetRequest, text: Option<String>) -> Option<Key> {
        let compared = || {
            let mut turn = self.instance().ok()?;
            turn.compared_text(request.query.clone()).ok()
        };
        let (namespace, context) = (request.namespace.clone(), request.context.clone());
        let text = text.or_else(compared)?;
        Some((namespace, context, request.tags.clone(), text))
    }
}

/// Whether a request is answered without an index, or with a question for a vector.
fn needs(request: &api::GetRequest) -> Needs {
    match request.vector {
        VectorSource::Pending | VectorSource::Absent => Needs::Exact,
        _ => Needs::Index,
    }
}

pub(crate) fn from_cache(hit: api::Hit) -> Answer {
    Answer {
        response: hit.response.clone(),
        origin: Origin::Cache(Box::new(hit)),
    }
}

fn finish(
    answer: api::Lookup,
    embedder_error: Option<EmbedError>,
    verifier_error: Option<VerifyError>,
) -> Result<Lookup> {
    match answer {
        api::Lookup::Hit(hit) => Ok(Lookup::Hit(hit)),
        api::Lookup::Miss(miss) => Ok(Lookup::Miss(Miss {
            reason: miss.reason,
            nearest: miss.nearest,
            embedder_error,
            verifier_error,
        })),
        api::Lookup::NeedsEmbedding(_) | api::Lookup::NeedsVerification(_) | api::Lookup::Later => {
            Err(broken_promise())
        }
    }
}

/// Takes the candidate that is to be verified first out of an answer, which is asked for again.
fn take_candidate(answer: &mut api::Lookup) -> Option<Candidate> {
    match std::mem::replace(answer, api::Lookup::Later) {
        api::Lookup::NeedsVerification(candidate) => Some(candidate),
        other => {
            *answer = other;
            None
        }
    }
}

/// Takes the candidate that is to be verified later out of an answer.
fn take_doubt(answer: &mut api::Lookup) -> Option<Candidate> {
    match answer {
        api::Lookup::Miss(miss) => miss.doubt.take(),
        _ => None,
    }
}

/// Looks up.
pub(crate) async fn look_up(front: &impl Front, request: GetRequest) -> Result<Lookup> {
    let outcome = look_up_and(front, request, Vector::OfAnswer).await;
    outcome.map(|kept| kept.lookup)
}

/// Looks up, and keeps what a `put` of the same query needs after a miss. That put embeds nothing:
/// others wait for it.
pub(crate) async fn look_up_to_keep(front: &impl Front, request: GetRequest) -> Result<Kept> {
    look_up_and(front, request, Vector::OfMiss).await
}

/// A look-up, and what is known after it.
pub(crate) struct Kept {
    pub lookup: Lookup,
    /// The text that is compared, if the component has told it.
    pub text: Option<String>,
    pub vector: VectorSource,
}

/// What whoever computes after a miss keeps of it.
pub(crate) struct Missed {
    /// Of the query, or why the look-up failed.
    pub vector: Result<VectorSource>,
    /// The candidate to compare with.
    pub nearest: Option<Nearest>,
}

impl Missed {
    /// The text that is compared, if it is known, and what is kept; the hit if there is one.
    pub fn of(found: Result<Kept>) -> std::result::Result<(Option<String>, Self), Box<api::Hit>> {
        let (lookup, text, vector) = match found {
            Ok(Kept {
                lookup,
                text,
                vector,
            }) => (Some(lookup), text, Ok(vector)),
            Err(error) => (None, None, Err(error)),
        };
        let nearest = match lookup {
            Some(Lookup::Hit(hit)) => return Err(Box::new(hit)),
            Some(Lookup::Miss(miss)) => miss.nearest,
            None => None,
        };
        Ok((text, Missed { vector, nearest }))
    }
}

/// When a look-up needs a vector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Vector {
    /// If the answer depends on it.
    OfAnswer,
    /// Also after a miss, if the answer did not depend on it, as where the cache is bypassed.
    OfMiss,
}

async fn look_up_and(front: &impl Front, request: GetRequest, wanted: Vector) -> Result<Kept> {
    let first: api::GetRequest = request.into();
    let watch = front.cache().watch();
    let call = watch.begin("get", Some(&first.namespace));
    let outcome = look_up_watched(front, &call, first, wanted).await;
    watch.end(&call, &outcome);
    outcome
}

async fn look_up_watched(
    front: &impl Front,
    call: &Call,
    first: api::GetRequest,
    wanted: Vector,
) -> Result<Kept> {
    let stage = match first.vector {
        VectorSource::Pending => Stage::Exact,
        _ => Stage::Search,
    };
    let ask = |stage: Stage, request: api::GetRequest| {
        front.run(
            Kind::Reads,
            call.part(move |cache: &SemanticCache| {
                let answer = stage.run(|| cache.ask(&request))?;
                Ok((request, answer))
            }),
        )
    };
    let (mut request, mut answer) = ask(stage, first).await?;
    let (mut text, mut error) = (None, None);
    if let api::Lookup::NeedsEmbedding(query) = answer {
        text = Some(query.text.clone());
        (request.vector, error) = vector_source(front, call, query.text).await;
        (request, answer) = ask(Stage::Search, request).await?;
    }
    let mut verifier_error = None;
    if let api::Lookup::NeedsVerification(candidate) = answer {
        if let Some((said, failure)) = verify(front, call, vec![candidate]).await.pop() {
            (request.verification, verifier_error) = (Some(said), failure);
        }
        (request, answer) = ask(Stage::Search, request).await?;
    }
    if let Some(doubt) = take_doubt(&mut answer) {
        call.enter(|| front.cache().verify_later(request.context.clone(), doubt));
    }
    let lookup = finish(answer, error, verifier_error)?;
    call.enter(|| record_lookup(&lookup));
    if wanted == Vector::OfMiss
        && !lookup.is_hit()
        && matches!(request.vector, VectorSource::Pending)
    {
        let query = std::mem::take(&mut request.query);
        let part = call.part(move |cache: &SemanticCache| cache.instance()?.compared_text(query));
        let compared = front.run(Kind::Reads, part).await?;
        text = Some(compared.clone());
        // Of a blank text the component wants no embedding.
        if !compared.trim().is_empty() {
            (request.vector, _) = vector_source(front, call, compared).await;
        }
    }
    let vector = match request.vector {
        // It would fail again.
        VectorSource::Failed(_) => VectorSource::Absent,
        vector => vector,
    };
    Ok(Kept {
        lookup,
        text,
        vector,
    })
}

/// See [`SemanticCache::get_many`].
pub(crate) async fn look_up_many(
    front: &impl Front,
    requests: Vec<GetRequest>,
) -> Result<Vec<Lookup>> {
    let watch = front.cache().watch();
    let call = watch.begin("get_many", None);
    let outcome = look_up_many_watched(front, &call, requests).await;
    watch.end(&call, &outcome);
    outcome
}

async fn look_up_many_watched(
    front: &impl Front,
    call: &Call,
    requests: Vec<GetRequest>,
) -> Result<Vec<Lookup>> {
    let first: Vec<api::GetRequest> = requests.into_iter().map(Into::into).collect();
    let ask = |stage: Stage, requests: Vec<api::GetRequest>| {
        front.run(
            Kind::Reads,
            call.part(move |cache: &SemanticCache| {
                let answers = stage.run(|| cache.ask_all(&requests))?;
                Ok((requests, answers))
            }),
        )
    };
    // Asks those again to which something was added.
    let ask_again = async |open: &[usize],
                           requests: &[api::GetRequest],
                           answers: &mut [api::Lookup]|
           -> Result<()> {
        let asked = open.iter().map(|&at| requests[at].clone()).collect();
        let (_, found) = ask(Stage::Search, asked).await?;
        for (&at, answer) in open.iter().zip(found) {
            answers[at] = answer;
        }
        Ok(())
    };
    let (mut requests, mut answers) = ask(Stage::Exact, first).await?;
    let mut errors: Vec<Option<EmbedError>> = vec![None; answers.len()];
    let (mut open, mut texts) = (Vec::new(), Vec::new());
    for (at, answer) in answers.iter().enumerate() {
        if let api::Lookup::NeedsEmbedding(query) = answer {
            open.push(at);
            texts.push(query.text.clone());
        }
    }
    if !texts.is_empty() {
        match embed(front, call, texts).await {
            Ok(embeddings) => {
                for (&at, embedding) in open.iter().zip(embeddings) {
                    requests[at].vector = embedded(embedding);
                }
            }
            Err(failure) => {
                front.cache().report(&Error::Embedder(failure.clone()));
                for &at in &open {
                    requests[at].vector = VectorSource::Failed(failure.message.clone());
                    errors[at] = Some(failure.clone());
                }
            }
        }
        ask_again(&open, &requests, &mut answers).await?;
    }
    let mut failures: Vec<Option<VerifyError>> = vec![None; answers.len()];
    let (mut open, mut candidates) = (Vec::new(), Vec::new());
    for (at, answer) in answers.iter_mut().enumerate() {
        if let Some(candidate) = take_candidate(answer) {
            open.push(at);
            candidates.push(candidate);
        }
    }
    if !candidates.is_empty() {
        let said = verify(front, call, candidates).await;
        for (&at, (verification, failure)) in open.iter().zip(said) {
            requests[at].verification = Some(verification);
            failures[at] = failure;
        }
        ask_again(&open, &requests, &mut answers).await?;
    }
    let failed = errors.into_iter().zip(failures);
    let each = answers.into_iter().zip(requests).zip(failed);
    each.map(|((mut answer, request), (error, failure))| {
        if let Some(doubt) = take_doubt(&mut answer) {
            call.enter(|| front.cache().verify_later(request.context, doubt));
        }
        finish(answer, error, failure)
    })
    .collect()
}

/// See [`SemanticCache::explain`].
pub(crate) async fn explain(
    front: &impl Front,
    request: GetRequest,
    limit: u32,
) -> Result<Explained> {
    let first: api::GetRequest = request.into();
    let watch = front.cache().watch();
    let call = watch.begin("explain", Some(&first.namespace));
    let outcome = explain_watched(front, &call, first, limit).await;
    watch.end(&call, &outcome);
    outcome
}

async fn explain_watched(
    front: &impl Front,
    call: &Call,
    first: api::GetRequest,
    limit: u32,
) -> Result<Explained> {
    let ask = |request: api::GetRequest| {
        front.run(
            Kind::Reads,
            call.part(move |cache: &SemanticCache| {
                loop {
                    let answer =
                        cache.turn(|guest, store| guest.call_explain(store, &request, limit))?;
                    if !matches!(answer, api::Explained::Later) {
                        return Ok((request, answer));
                    }
                }
            }),
        )
    };
    let (mut request, mut answer) = ask(first).await?;
    let mut embedder_error = None;
    if let api::Explained::NeedsEmbedding(query) = answer {
        (request.vector, embedder_error) = vector_source(front, call, query.text).await;
        (request, answer) = ask(request).await?;
    }
    let mut verifier_error = None;
    if let api::Explained::NeedsVerification(candidate) = answer {
        if let Some((said, failure)) = verify(front, call, vec![candidate]).await.pop() {
            (request.verification, verifier_error) = (Some(said), failure);
        }
        (_, answer) = ask(request).await?;
    }
    match answer {
        api::Explained::Explanation(explanation) => Ok(Explained {
            explanation,
            embedder_error,
            verifier_error,
        }),
        api::Explained::NeedsEmbedding(_)
        | api::Explained::NeedsVerification(_)
        | api::Explained::Later => Err(broken_promise()),
    }
}
