//! Explaining how a question is answered, without answering it.

use super::candidates::{Ready, Shown, Sought};
use super::lookup::{Asked, Path, Question, age, miss_reason, stored};
use super::{Cache, Open, is_expired, is_stale};
use crate::error::{Result, invalid};
use crate::host::{Host, Now};
use crate::policy;
use crate::store::Store;
use crate::types::{
    Entry, Explained, ExplainedOutcome, Explanation, GetRequest, JudgedEntry, Layer, MissReason,
    NormalizedQuery, Verdict,
};
use std::ops::ControlFlow;

/// The greatest limit of `explain`.
const MAX_LIMIT: u32 = 1000;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.explain`.
    pub fn explain(&mut self, request: GetRequest, limit: u32) -> Result<Explained> {
        let (store, host, open) = self.parts()?;
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(invalid(format!(
                "the limit of explain is {limit}; it must be from 1 to {MAX_LIMIT}"
            )));
        }
        let question = open.check_get(request)?;
        if let Path::Both(None) = question.path {
            return Ok(Explained::NeedsEmbedding(question.normalized()));
        }
        open.explain(store, host, question, limit as usize, host.now())
    }
}

impl Open {
    fn explain(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        question: Question,
        limit: usize,
        now: Now,
    ) -> Result<Explained> {
        let Question {
            key,
            text,
            asked,
            threshold,
            path,
            validate,
        } = question;
        let mut explanation = Explanation {
            namespace: key.namespace.clone(),
            context: asked.context.clone(),
            normalized: NormalizedQuery {
                text,
                hash: key.query_hash.clone(),
            },
            threshold,
            cut_off: policy::cut_off(&self.options.confidence),
            exact: None,
            candidates: Vec::new(),
            rows: 0,
            outcome: ExplainedOutcome::Miss(MissReason::Bypass),
        };
        let is_blank = matches!(path, Path::Unreadable);
        let (vector, failure) = match path {
            Path::Bypass => return Ok(Explained::Explanation(explanation)),
            Path::Miss(reason) => (None, reason),
            Path::Exact => (None, MissReason::NoMatch),
            Path::Unreadable => (None, MissReason::Unreadable),
            Path::Semantic(vector) => (Some(vector), MissReason::NoMatch),
            Path::Both(vector) => (vector, MissReason::NoMatch),
        };
        let exact = stored(store, &key)?;
        // A look-up deletes an expired entry of the exact layer before it searches.
        let is_deleted = exact
            .as_ref()
            .is_some_and(|entry| is_expired(entry.created_at, entry.ttl, now));
        explanation.exact = exact.map(|entry| {
            let accepted = !validate || self.accepts(host, &asked.query, &entry, 1.0, now);
            self.explain_exact(host, &asked, entry, accepted, now)
        });
        let mut outcome = match &explanation.exact {
            Some(exact) if exact.verdict == Verdict::Answers => {
                Some(ExplainedOutcome::Hit(Layer::Exact))
            }
            _ => None,
        };
        // Why it does not answer. The semantic layer meets it again.
        let against = explanation.exact.as_ref().map(|exact| exact.verdict);
        let against = against.filter(|verdict| *verdict != Verdict::Answers && !is_deleted);
        let Some(vector) = vector else {
            let failure = match (failure, against) {
                (reason, Some(Verdict::TooOld)) if is_blank || reason == MissReason::NoMatch => {
                    MissReason::TooOld
                }
                _ => failure,
            };
            explanation.outcome = outcome.unwrap_or(ExplainedOutcome::Miss(failure));
            return Ok(Explained::Explanation(explanation));
        };

        if self.make_ready(store, host, now)? == Ready::Later {
            return Ok(Explained::Later);
        }
        let sought = Sought {
            namespace: key.namespace,
            context: asked.context.clone(),
            // An explanation shows what has other tags and what is expired.
            tags: Vec::new(),
            fresh_at: None,
            vector,
            threshold: -1.0,
        };
        explanation.rows = self.rows_to_search(store, &sought)?;
        let exact_id = explanation.exact.as_ref().map(|exact| exact.id);
        let mut reason = match explanation.rows > u64::from(is_deleted) {
            true => MissReason::BelowThreshold,
            false => MissReason::NoMatch,
        };
        let mut similar: Option<MissReason> = None;
        let shown = self.best_first(store, host, &sought, &mut |open, entry, similarity| {
            if exact_id == Some(entry.id) {
                if let Some(verdict) = against.filter(|_| similarity >= threshold) {
                    similar = Some(miss_reason(similar, verdict));
                }
                return ControlFlow::Continue(());
            }
            let is_similar = similarity >= threshold;
            let mut judged = open.explain_similar(host, &asked, entry, similarity, now);
            if is_similar {
                similar = Some(miss_reason(similar, judged.verdict));
            } else {
                reason = MissReason::BelowThreshold;
                judged.verdict = Verdict::BelowThreshold;
            }
            let answers = judged.verdict == Verdict::Answers && outcome.is_none();
            if answers {
                outcome = Some(ExplainedOutcome::Hit(Layer::Semantic));
            } else if judged.verdict == Verdict::Answers {
                judged.verdict = Verdict::Outranked;
            }
            if answers || explanation.candidates.len() < limit {
                explanation.candidates.push(judged);
            }
            match explanation.candidates.len() >= limit && (outcome.is_some() || !is_similar) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if shown == Shown::Later {
            return Ok(Explained::Later);
        }
        explanation.outcome = outcome.unwrap_or(ExplainedOutcome::Miss(similar.unwrap_or(reason)));
        Ok(Explained::Explanation(explanation))
    }

    fn explain_exact(
        &self,
        host: &impl Host,
        asked: &Asked,
        entry: Entry,
        accepted: bool,
        now: Now,
    ) -> JudgedEntry {
        let confidence = self.confidence(host, 1.0, &entry, now);
        let verdict = if is_stale(entry.created_at, entry.ttl, now) {
            Verdict::Expired
        } else if !asked.is_tagged(&entry) {
            Verdict::OtherTags
        } else if asked.is_too_old(&entry, now) {
            Verdict::TooOld
        } else if accepted {
            Verdict::Answers
        } else {
            Verdict::Refused
        };
        judged_entry(entry, 1.0, confidence, accepted, verdict, now)
    }

    fn explain_similar(
        &self,
        host: &impl Host,
        asked: &Asked,
        entry: Entry,
        similarity: f32,
        now: Now,
    ) -> JudgedEntry {
        let judged = self.judge(host, asked, &entry, similarity, now);
        // A judgement stops at the first reason against the entry; an explanation gives all.
        let confidence = judged.unwrap_or_else(|_| self.confidence(host, similarity, &entry, now));
        let accepted = match judged {
            Ok(_) | Err(Verdict::LowConfidence) => true,
            Err(Verdict::Refused) => false,
            Err(_) => self.accepts(host, &asked.query, &entry, similarity, now),
        };
        let verdict = judged.err().unwrap_or(Verdict::Answers);
        judged_entry(entry, similarity, confidence, accepted, verdict, now)
    }
}

fn judged_entry(
    entry: Entry,
    similarity: f32,
    confidence: f32,
    accepted: bool,
    verdict: Verdict,
    now: Now,
) -> JudgedEntry {
    JudgedEntry {
        age_seconds: age(&entry, now),
        id: entry.id,
        query: entry.query,
        response: entry.response,
        metadata: entry.metadata,
        tags: entry.tags,
        similarity,
        confidence,
        ttl: entry.ttl,
        accepted,
        verdict,
    }
}
