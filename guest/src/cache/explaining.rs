//! Explaining how a question is answered, without answering it.

use super::bounding::Admission;
use super::candidates::{Ready, Shown, Sought};
use super::judging::{Asked, Case, Ending, Judging, MOST_VETOED, candidate, miss_reason};
use super::lookup::{Path, Question, age, stored};
use super::searching::Search;
use super::{Cache, Open, is_expired};
use crate::error::{Result, invalid};
use crate::host::{Host, Now};
use crate::policy;
use crate::store::Store;
use crate::types::{
    Entry, Explained, ExplainedOutcome, Explanation, GetRequest, JudgedEntry, Judgement, Layer,
    MissReason, NormalizedQuery, Verdict,
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
            verified_from: self.options.verifying.map(|_| self.reach(threshold)),
            open_from: None,
            score: None,
            verification: asked.verification,
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
        let mut asked = asked;
        if let Some(bounding) = &mut self.bounding {
            bounding.refresh(store, &key.namespace, now)?;
            asked.vetoes = bounding.kinds(store, &key.namespace, &asked)?;
            explanation.open_from = bounding.threshold(store, &key.namespace)?;
        }
        let reach = self.reach(threshold);
        let search = Search::new(
            key.clone(),
            asked.clone(),
            vector.clone(),
            threshold,
            reach,
            now,
        );
        let admitted = match outcome {
            Some(_) => None,
            None => match self.admission(store, host, search, now)? {
                Some(admitted) => admitted,
                None => return Ok(Explained::Later),
            },
        };
        explanation.score = admitted.map(|(score, _)| score);
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
        let judging = Judging::of(&asked);
        let mut left = MOST_VETOED;
        let mut to_verify = None;
        let shown = self.best_first(store, host, &sought, &mut |open, entry, similarity| {
            let is_judged = outcome.is_none() && left > 0;
            if exact_id == Some(entry.id) {
                if let Some(verdict) = against.filter(|_| is_judged && similarity >= threshold) {
                    similar = Some(miss_reason(similar, verdict));
                }
                return ControlFlow::Continue(());
            }
            let may_answer = similarity >= reach;
            let mut judgement = Judged::from(open.case(host, &judging, &entry, similarity, now));
            if similarity < threshold {
                reason = MissReason::BelowThreshold;
            } else if is_judged {
                similar = Some(miss_reason(similar, judgement.verdict));
            }
            let mut ends = false;
            let verdict = &mut judgement.verdict;
            match *verdict {
                _ if !may_answer => *verdict = Verdict::BelowThreshold,
                Verdict::Vetoed if is_judged => left -= 1,
                Verdict::Answers if outcome.is_some() => *verdict = Verdict::Outranked,
                Verdict::Answers if left == 0 => *verdict = Verdict::Untried,
                Verdict::Answers => {
                    ends = true;
                    let ending = match admitted.map(|(_, admission)| admission) {
                        Some(Admission::Unproven) => Ending::Misses(MissReason::Unproven),
                        Some(Admission::Explores) => Ending::Misses(MissReason::Explored),
                        Some(Admission::TooFar) => Ending::Misses(MissReason::BelowThreshold),
                        _ => open.end_with(&asked, &entry, similarity >= threshold),
                    };
                    outcome = Some(match ending {
                        Ending::Answers => ExplainedOutcome::Hit(Layer::Semantic),
                        Ending::NeedsVerification => {
                            to_verify = Some(candidate(&asked.query, &entry, similarity, now));
                            return ControlFlow::Break(());
                        }
                        Ending::Doubt | Ending::Misses(MissReason::BelowThreshold) => {
                            *verdict = Verdict::BelowThreshold;
                            let why = similar.unwrap_or(MissReason::BelowThreshold);
                            ExplainedOutcome::Miss(why)
                        }
                        Ending::Misses(why) => {
                            *verdict = match why {
                                MissReason::Unproven => Verdict::Unproven,
                                MissReason::Explored => Verdict::Explored,
                                _ => Verdict::Unverified,
                            };
                            ExplainedOutcome::Miss(why)
                        }
                    });
                }
                _ => {}
            }
            if ends || explanation.candidates.len() < limit {
                let judged = judged_entry(entry, similarity, judgement, now);
                explanation.candidates.push(judged);
            }
            let is_decided = outcome.is_some() || left == 0 || !may_answer;
            match explanation.candidates.len() >= limit && is_decided {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        if shown == Shown::Later {
            return Ok(Explained::Later);
        }
        if let Some(candidate) = to_verify {
            return Ok(Explained::NeedsVerification(candidate));
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
        let verdict = asked.against(&entry, now).unwrap_or(match accepted {
            true => Verdict::Answers,
            false => Verdict::Refused,
        });
        let judged = Judged {
            confidence: self.confidence(host, 1.0, &entry, now),
            accepted,
            words: Judgement {
                vetoes: Vec::new(),
                partial: false,
            },
            verdict,
        };
        judged_entry(entry, 1.0, judged, now)
    }
}

/// Everything that decides whether an entry answers, beside its similarity.
struct Judged {
    confidence: f32,
    accepted: bool,
    words: Judgement,
    verdict: Verdict,
}

/// A look-up stops at the first reason against an entry; an explanation gives all.
impl<H: Host> From<Case<'_, '_, H>> for Judged {
    fn from(case: Case<'_, '_, H>) -> Self {
        Judged {
            verdict: case.verdict(),
            confidence: case.confidence(),
            accepted: case.is_accepted(),
            words: case.into_words(),
        }
    }
}

fn judged_entry(entry: Entry, similarity: f32, judged: Judged, now: Now) -> JudgedEntry {
    JudgedEntry {
        age_seconds: age(&entry, now),
        id: entry.id,
        query: entry.query,
        response: entry.response,
        metadata: entry.metadata,
        tags: entry.tags,
        similarity,
        confidence: judged.confidence,
        ttl: entry.ttl,
        accepted: judged.accepted,
        vetoes: judged.words.vetoes,
        partial: judged.words.partial,
        verdict: judged.verdict,
    }
}
