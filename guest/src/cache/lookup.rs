//! Looking up: the exact layer, then the semantic layer.

use super::bounding::{Admission, Bounded, Bounding, score_of};
use super::candidates::{Ready, Shown, Sought};
use super::judging::{Asked, Ending, Judging, MOST_VETOED, candidate, miss_reason};
use super::steps::Turn;
use super::{Cache, Open, is_expired, is_stale};
use crate::counters::Kind;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::options;
use crate::policy;
use crate::query;
use crate::range;
use crate::store::Store;
use crate::types::{
    Candidate, Embedding, Entry, EntryKey, EntryRef, Error, Event, GetRequest, Hit, HitEvent,
    Layer, Lookup, Miss, MissEvent, MissReason, Nearest, NormalizedQuery, ValidatorRule,
    VectorSource, Verdict, Veto, VetoEvent, VetoKind,
};
use crate::vector::unit;
use std::ops::ControlFlow;

/// A request that has been checked.
pub(super) struct Question {
    pub key: EntryKey,
    pub text: String,
    pub asked: Asked,
    pub threshold: f32,
    pub path: Path,
    /// The validator is asked about an entry of the exact layer too.
    pub validate: bool,
}

impl Question {
    /// What the host is to embed.
    pub fn normalized(self) -> NormalizedQuery {
        NormalizedQuery {
            text: self.text,
            hash: self.key.query_hash,
        }
    }
}

/// How a question is to be answered.
pub(super) enum Path {
    Bypass,
    /// The exact layer, then the semantic one if there is a vector.
    Both(Option<Vec<f32>>),
    Exact,
    /// The exact layer, as nothing in the text has a meaning to embed.
    Unreadable,
    Semantic(Vec<f32>),
    Miss(MissReason),
}

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.get`.
    pub fn get(&mut self, request: GetRequest) -> Result<Lookup> {
        let (store, host, open) = self.parts()?;
        let question = open.check_get(request)?;
        let now = host.now();
        let answer = open.answer(store, host, question, now);
        open.flush_if_due(store, now);
        answer
    }

    /// See `cache.get-many`.
    pub fn get_many(&mut self, requests: Vec<GetRequest>) -> Result<Vec<Lookup>> {
        let (store, host, open) = self.parts()?;
        let questions: Vec<Question> = super::storing::check_all(requests, |r| open.check_get(r))?;
        let now = host.now();
        let turn = Turn::begin(host);
        let answers = questions
            .into_iter()
            .enumerate()
            .map(|(n, question)| match n > 0 && turn.is_over(host) {
                true => Ok(Lookup::Later),
                false => open.answer(store, host, question, now),
            })
            .collect();
        open.flush_if_due(store, now);
        answers
    }
}

impl Open {
    pub(super) fn check_get(&self, request: GetRequest) -> Result<Question> {
        options::check_namespace(&request.namespace)?;
        options::check_size("query", &request.query, self.options.max_query_bytes)?;
        if let Some(threshold) = request.threshold {
            options::check_threshold(threshold)?;
        }
        let threshold = match &self.options.error_bound {
            // Labels decide, from the floor on.
            Some(bound) => request.threshold.unwrap_or(bound.floor).max(bound.floor),
            None => request
                .threshold
                .unwrap_or(self.options.similarity_threshold),
        };
        options::check_context(&request.context)?;
        options::check_tags(&request.tags)?;
        if let Some(max_age) = request.max_age {
            range::check("max-age in seconds", max_age)?;
        }
        let names_vetoes = request.vetoes.is_some();
        let vetoes = request.vetoes.as_ref().unwrap_or(&self.options.vetoes);
        let vetoes = options::check_vetoes(vetoes)?;
        let dim = self.options.embedder_dim;
        let path = match request.vector {
            VectorSource::Given(vector) => Path::Both(Some(unit(vector, dim)?)),
            VectorSource::Pending => Path::Both(None),
            VectorSource::Embedded(embedding) => match self.readable(embedding) {
                Ok(Some(vector)) => Path::Semantic(vector),
                Ok(None) => Path::Miss(MissReason::Unreadable),
                Err(Error::EmbedderDimension(_)) => Path::Miss(MissReason::DimMismatch),
                Err(_) => Path::Miss(MissReason::EmbedderFailure),
            },
            VectorSource::Failed(_) => Path::Miss(MissReason::EmbedderFailure),
            VectorSource::Absent => Path::Exact,
        };
        let (key, text) = self.key(&request.query, &request.namespace, &request.context);
        let path = match path {
            Path::Both(None) if query::is_blank(&text) => Path::Unreadable,
            path => path,
        };
        Ok(Question {
            key,
            text,
            asked: Asked {
                query: request.query,
                context: request.context,
                tags: request.tags,
                max_age: request.max_age,
                vetoes,
                names_vetoes,
                verification: request.verification,
            },
            threshold,
            path: if request.bypass { Path::Bypass } else { path },
            validate: request.validate,
        })
    }

    /// The unit vector of an embedding; none if the embedder read too little of the text.
    pub(super) fn readable(&self, embedding: Embedding) -> Result<Option<Vec<f32>>> {
        let vector = unit(embedding.vector, self.options.embedder_dim)?;
        let readable = self.options.allow_unreadable
            || embedding.reading.as_ref().is_none_or(policy::is_readable);
        Ok(readable.then_some(vector))
    }

    fn answer(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        question: Question,
        now: Now,
    ) -> Result<Lookup> {
        let mut without_vector = match question.path {
            Path::Unreadable => MissReason::Unreadable,
            _ => MissReason::NoMatch,
        };
        if let Path::Both(_) | Path::Exact | Path::Unreadable = question.path
            && let Some(entry) = self.find_exact(store, host, &question.key, now)?
        {
            let asked = &question.asked;
            match asked.against(&entry, now) {
                Some(Verdict::TooOld) => without_vector = MissReason::TooOld,
                None if !question.validate
                    || self.accepts(host, &asked.query, &entry, 1.0, now) =>
                {
                    let confidence = self.confidence(host, 1.0, &entry, now);
                    let hit = self.hit(host, entry, Layer::Exact, 1.0, confidence, now);
                    return Ok(Lookup::Hit(hit));
                }
                _ => {}
            }
        }
        if let Path::Both(None) = question.path {
            return Ok(Lookup::NeedsEmbedding(question.normalized()));
        }
        let Question {
            key,
            asked,
            threshold,
            path,
            ..
        } = question;
        let vector = match path {
            Path::Semantic(vector) | Path::Both(Some(vector)) => Ok(vector),
            Path::Bypass => Err(MissReason::Bypass),
            Path::Miss(reason) => Err(reason),
            Path::Exact | Path::Unreadable | Path::Both(None) => Err(without_vector),
        };
        let vector = match vector {
            Ok(vector) => vector,
            Err(reason) => {
                return Ok(Lookup::Miss(self.miss(host, key.namespace, reason, now)));
            }
        };
        let ready = self.make_ready(store, host, now)?;
        if ready == Ready::Later {
            return Ok(Lookup::Later);
        }
        let mut asked = asked;
        if let Some(bounding) = &mut self.bounding {
            bounding.refresh(store, &key.namespace, now)?;
            asked.vetoes = bounding.kinds(store, &key.namespace, &asked)?;
        }
        let mut search = Search::new(key, asked, vector, threshold, self.reach(threshold), now);
        let found = self.find_similar(store, host, &mut search, now);
        let Some(found) = found.transpose() else {
            return Ok(Lookup::Later);
        };
        // One long work a call.
        if ready == Ready::AtOnce {
            self.improve_index(store);
        }
        let expired = std::mem::take(&mut search.expired);
        let rejected = std::mem::take(&mut search.rejected);
        // Expired and rejected entries are deleted even if the search failed later.
        self.delete_found(store, host, expired, rejected, now);
        let outcome = self.conclude(store, &search, found?, now)?;
        let namespace = search.sought.namespace;
        if !matches!(outcome, Outcome::Verify(_)) {
            self.count_vetoes(host, &namespace, &search.vetoed, now);
        }
        Ok(match outcome {
            Outcome::Hit(found, ticket) => {
                let (entry, similarity, confidence) = found;
                let hit = self.hit(host, entry, Layer::Semantic, similarity, confidence, now);
                Lookup::Hit(Hit { ticket, ..hit })
            }
            Outcome::Miss(reason, doubt, nearest) => {
                let miss = self.miss(host, namespace, reason, now);
                Lookup::Miss(Miss {
                    doubt,
                    nearest,
                    ..miss
                })
            }
            Outcome::Verify(candidate) => Lookup::NeedsVerification(candidate),
        })
    }

    /// The fresh entry under a key. An expired one is deleted.
    fn find_exact(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        key: &EntryKey,
        now: Now,
    ) -> Result<Option<Entry>> {
        let Some(entry) = stored(store, key)? else {
            return Ok(None);
        };
        if is_expired(entry.created_at, entry.ttl, now) {
            self.delete_found(store, host, vec![entry_ref(&entry)], Vec::new(), now);
        }
        Ok((!is_stale(entry.created_at, entry.ttl, now)).then_some(entry))
    }

    /// The best entry that nothing is against, and what else decides. None if the search goes on in a
    /// later turn.
    fn find_similar(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        search: &mut Search,
        now: Now,
    ) -> Result<Option<Found>> {
        let deletes_refused = self.options.validator == ValidatorRule::Builtin;
        // The bound compares the answers of two.
        let wants_next = self.bounding.is_some();
        let Search {
            sought,
            asked,
            threshold,
            expired,
            rejected,
            vetoed,
            ..
        } = search;
        let judging = Judging::of(asked);
        let mut found = Found::default();
        let mut left = MOST_VETOED;
        let shown = self.best_first(store, host, sought, &mut |open, entry, similarity| {
            let case = open.case(host, &judging, &entry, similarity, now);
            match case.verdict() {
                Verdict::Answers => match &found.best {
                    None => {
                        let confidence = case.confidence();
                        found.best = Some((entry, similarity, confidence));
                        if !wants_next {
                            return ControlFlow::Break(());
                        }
                    }
                    Some(_) => {
                        found.next = Some(entry.response);
                        return ControlFlow::Break(());
                    }
                },
                verdict => {
                    // What stands behind the best says nothing.
                    if found.best.is_none() && similarity >= *threshold {
                        found.reason = Some(miss_reason(found.reason, verdict));
                    }
                    match verdict {
                        Verdict::Expired if is_expired(entry.created_at, entry.ttl, now) => {
                            expired.push(entry_ref(&entry));
                        }
                        Verdict::Refused if deletes_refused => rejected.push(entry_ref(&entry)),
                        Verdict::Vetoed => {
                            let vetoes = case.into_words().vetoes;
                            if found.best.is_none() {
                                vetoed.extend(vetoes.iter().map(|veto| veto.kind));
                            }
                            if found.vetoed.is_none() {
                                found.vetoed = Some((entry, similarity, vetoes));
                            }
                            left -= 1;
                        }
                        _ => {}
                    }
                }
            }
            match left {
                0 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        })?;
        found.is_empty = shown == Shown::Nothing;
        Ok((shown != Shown::Later).then_some(found))
    }

    /// How a search ends.
    fn conclude(
        &mut self,
        store: &impl Store,
        search: &Search,
        found: Found,
        now: Now,
    ) -> Result<Outcome> {
        let none = match found.is_empty {
            true => MissReason::NoMatch,
            false => found.reason.unwrap_or(MissReason::BelowThreshold),
        };
        // It is taken out, so that the rest can be asked.
        let Some(mut bounding) = self.bounding.take() else {
            return Ok(match found.best {
                None => Outcome::Miss(none, None, None),
                Some(best) => self.end(search, best, none, now),
            });
        };
        let outcome = self.conclude_bounded(store, &mut bounding, search, found, none, now);
        self.bounding = Some(bounding);
        outcome
    }

    /// How a search ends with an entry that nothing is against. `so_far` is why it misses if this one is
    /// not similar enough.
    fn end(&self, search: &Search, best: Best, so_far: MissReason, now: Now) -> Outcome {
        let asked = &search.asked;
        let judged = || candidate(&asked.query, &best.0, best.1, now);
        match self.end_with(asked, &best.0, best.1 >= search.threshold) {
            Ending::NeedsVerification => Outcome::Verify(judged()),
            Ending::Doubt => Outcome::Miss(so_far, Some(judged()), None),
            // What was met before says more.
            Ending::Misses(MissReason::BelowThreshold) => Outcome::Miss(so_far, None, None),
            Ending::Misses(reason) => Outcome::Miss(reason, None, None),
            Ending::Answers => Outcome::Hit(best, None),
        }
    }

    /// The score of the entry that nothing else is against, and what the error bound says of it. None if
    /// there is no bound or no such entry; the outer one if the search goes on in a later turn.
    pub(super) fn admission(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        mut search: Search,
        now: Now,
    ) -> Result<Option<Option<(f32, Admission)>>> {
        if self.bounding.is_none() {
            return Ok(Some(None));
        }
        let Some(found) = self.find_similar(store, host, &mut search, now)? else {
            return Ok(None);
        };
        let (Some(bounding), Some(best)) = (&mut self.bounding, found.best) else {
            return Ok(Some(None));
        };
        let score = score_of(best.1, &best.0.response, found.next.as_deref());
        let admission = bounding.admit(
            store,
            &search.bounded(&best.0, score),
            best.1 >= search.threshold,
        )?;
        Ok(Some(Some((score, admission))))
    }

    /// How a search ends if labels decide what answers.
    fn conclude_bounded(
        &self,
        store: &impl Store,
        bounding: &mut Bounding,
        search: &Search,
        found: Found,
        none: MissReason,
        now: Now,
    ) -> Result<Outcome> {
        let namespace = &search.sought.namespace;
        let nearest =
            |bounding: &Bounding, bounded: &Bounded, similarity, vetoes: &[Veto]| Nearest {
                candidate: candidate(&search.asked.query, bounded.entry, similarity, now),
                ticket: bounding.ticket(bounded, vetoes, now),
            };
        let Some(best) = found.best else {
            bounding.observe(store, namespace, None)?;
            // One that only a veto keeps from answering says whether the veto is right.
            let open = bounding.threshold(store, namespace)?;
            let vetoed = found.vetoed.filter(|(_, similarity, vetoes)| {
                vetoes.len() == 1 && open.is_some_and(|open| *similarity >= open)
            });
            let to_label = vetoed.map(|(entry, similarity, vetoes)| {
                let bounded = search.bounded(&entry, similarity);
                nearest(bounding, &bounded, similarity, &vetoes)
            });
            return Ok(Outcome::Miss(none, None, to_label));
        };
        let score = score_of(best.1, &best.0.response, found.next.as_deref());
        let bounded = search.bounded(&best.0, score);
        let admission = bounding.admit(store, &bounded, best.1 >= search.threshold)?;
        let missed = match admission {
            Admission::Answers => None,
            Admission::TooFar => Some(none),
            Admission::Explores => Some(MissReason::Explored),
            Admission::Unproven => Some(MissReason::Unproven),
        };
        if let Some(reason) = missed {
            let nearest = nearest(bounding, &bounded, best.1, &[]);
            bounding.observe(store, namespace, Some(score))?;
            return Ok(Outcome::Miss(reason, None, Some(nearest)));
        }
        let ticket = bounding.ticket(&bounded, &[], now);
        // What the verifier refuses has no ticket: labels must not depend on what they would say.
        let outcome = self.end(search, best, none, now);
        if !matches!(outcome, Outcome::Verify(_)) {
            bounding.observe(store, namespace, Some(score))?;
        }
        Ok(match outcome {
            Outcome::Hit(best, _) => Outcome::Hit(best, Some(ticket)),
            other => other,
        })
    }

    fn hit(
        &mut self,
        host: &impl Host,
        entry: Entry,
        layer: Layer,
        similarity: f32,
        confidence: f32,
        now: Now,
    ) -> Hit {
        let kind = match layer {
            Layer::Exact => Kind::HitsExact,
            Layer::Semantic => Kind::HitsSemantic,
        };
        let age_seconds = age(&entry, now);
        self.backlog.touch(entry.id, now);
        self.oldest.was_used(entry.id, now);
        self.backlog.count(&entry.namespace, kind, 1, now);
        self.emit(host, || {
            Event::Hit(HitEvent {
                namespace: entry.namespace.clone(),
                layer,
                similarity,
                confidence,
                age_seconds,
            })
        });
        Hit {
            response: entry.response,
            metadata: entry.metadata,
            namespace: entry.namespace,
            context: entry.context,
            tags: entry.tags,
            layer,
            similarity,
            confidence,
            age_seconds,
            created_at: entry.created_at,
            ttl_left: entry.ttl.map(|ttl| {
                entry
                    .created_at
                    .saturating_add(ttl)
                    .saturating_sub(now.seconds())
            }),
            query: entry.query,
            id: entry.id,
            ticket: None,
        }
    }

    fn miss(&mut self, host: &impl Host, namespace: String, reason: MissReason, now: Now) -> Miss {
        self.backlog.count(&namespace, Kind::Misses, 1, now);
        if reason == MissReason::Explored {
            self.backlog.count(&namespace, Kind::Explored, 1, now);
        }
        self.emit(host, || Event::Miss(MissEvent { namespace, reason }));
        Miss {
            reason,
            doubt: None,
            nearest: None,
        }
    }

    fn count_vetoes(&mut self, host: &impl Host, namespace: &str, vetoed: &[VetoKind], now: Now) {
        for &kind in vetoed {
            self.backlog.count(namespace, Kind::Vetoes(kind), 1, now);
            self.emit(host, || {
                Event::Veto(VetoEvent {
                    namespace: namespace.to_owned(),
                    kind,
                })
            });
        }
    }
}

impl Search {
    /// A search for entries that may answer, from the similarity `reach` on.
    pub fn new(
        key: EntryKey,
        asked: Asked,
        vector: Vec<f32>,
        threshold: f32,
        reach: f32,
        now: Now,
    ) -> Self {
        Search {
            sought: Sought {
                namespace: key.namespace,
                context: asked.context.clone(),
                tags: asked.tags.clone(),
                fresh_at: Some(now.seconds()),
                vector,
                threshold: reach,
            },
            query_hash: key.query_hash,
            asked,
            threshold,
            expired: Vec::new(),
            rejected: Vec::new(),
            vetoed: Vec::new(),
        }
    }

    /// A candidate that the error bound judges.
    fn bounded<'a>(&'a self, entry: &'a Entry, score: f32) -> Bounded<'a> {
        Bounded {
            namespace: &self.sought.namespace,
            query_hash: &self.query_hash,
            entry,
            score,
        }
    }
}

/// An entry that nothing is against, its similarity and its confidence.
type Best = (Entry, f32, f32);

/// What a search has met.
#[derive(Default)]
struct Found {
    best: Option<Best>,
    /// The response of the next entry that nothing is against.
    next: Option<String>,
    /// The first candidate with a veto.
    vetoed: Option<(Entry, f32, Vec<Veto>)>,
    /// Why what was similar enough does not answer.
    reason: Option<MissReason>,
    /// There was nothing to compare with.
    is_empty: bool,
}

/// How a search ends.
enum Outcome {
    /// This entry answers. With an error bound it has a ticket.
    Hit(Best, Option<String>),
    /// This candidate answers if the verifier lets it.
    Verify(Candidate),
    /// None answers. A candidate may be verified later, and one be labelled.
    Miss(MissReason, Option<Candidate>, Option<Nearest>),
}

/// A semantic search, and the entries to delete that it found.
pub(super) struct Search {
    sought: Sought,
    query_hash: String,
    asked: Asked,
    /// The least similarity of an entry that answers without being verified.
    threshold: f32,
    expired: Vec<EntryRef>,
    rejected: Vec<EntryRef>,
    /// The kinds of the vetoes that were found.
    vetoed: Vec<VetoKind>,
}

/// The entry that the store has under a key, expired or not. One that is another's must never answer,
/// whatever an index of the storage says.
pub(super) fn stored(store: &impl Store, key: &EntryKey) -> Result<Option<Entry>> {
    let found = store.get_by_hash(std::slice::from_ref(key), false)?;
    let entry = found.into_iter().next().flatten();
    match entry {
        Some(entry) if entry.namespace != key.namespace || entry.query_hash != key.query_hash => {
            Err(Error::Corrupt(format!(
                "store.get-by-hash returned entry {} of namespace {:?} with hash {} for namespace {:?} and hash {}; an index of the store is damaged, so check its integrity and restore a checkpoint",
                entry.id, entry.namespace, entry.query_hash, key.namespace, key.query_hash
            )))
        }
        entry => Ok(entry),
    }
}

pub(super) fn age(entry: &Entry, now: Now) -> u64 {
    now.seconds().saturating_sub(entry.created_at)
}

pub(super) fn entry_ref(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}
