//! Looking up: the exact layer, then the semantic layer.

use super::candidates::Ready;
use super::judging::Asked;
use super::searching::{Outcome, Search};
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
    Embedding, Entry, EntryKey, EntryRef, Error, Event, GetRequest, Hit, HitEvent, Layer, Lookup,
    Miss, MissEvent, MissReason, NormalizedQuery, VectorSource, Verdict, VetoEvent, VetoKind,
};
use crate::vector::unit;

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
