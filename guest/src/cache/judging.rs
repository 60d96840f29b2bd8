//! Judging candidates: which entry that is similar enough may answer.

use super::lookup::age;
use super::{Open, is_of_the_future, is_stale};
use crate::host::{Host, Now};
use crate::judge::{Judge, Kinds};
use crate::policy;
use crate::types::{
    Candidate, Entry, Judgement, MissReason, Opinion, ValidatorRule, Verdict, Verification,
    Verifying, Veto,
};
use std::cell::OnceCell;

/// Candidates with a veto after which a search gives up.
pub(super) const MOST_VETOED: usize = 4;

/// What an entry is judged by, beside its similarity.
#[derive(Clone)]
pub(super) struct Asked {
    pub query: String,
    pub context: String,
    pub tags: Vec<String>,
    pub max_age: Option<u64>,
    pub vetoes: Kinds,
    pub verification: Option<Verification>,
}

impl Asked {
    /// Whether an entry carries every tag that is asked for.
    pub fn is_tagged(&self, entry: &Entry) -> bool {
        self.tags.iter().all(|tag| entry.tags.contains(tag))
    }

    /// Whether an entry is older than the request takes. The age of one that a wrong clock has dated
    /// is not known.
    pub fn is_too_old(&self, entry: &Entry, now: Now) -> bool {
        self.max_age
            .is_some_and(|most| age(entry, now) > most || is_of_the_future(entry.created_at, now))
    }
}

/// What is asked, with the query read for its vetoes when the first candidate needs it.
pub(super) struct Judging<'a> {
    pub asked: &'a Asked,
    judge: OnceCell<Judge<'a>>,
}

impl<'a> Judging<'a> {
    pub fn of(asked: &'a Asked) -> Self {
        Judging {
            asked,
            judge: OnceCell::new(),
        }
    }

    /// Why an entry must not answer, by the words of its query.
    pub fn vetoes(&self, entry: &Entry) -> Judgement {
        if self.asked.vetoes == Kinds::NONE {
            return Judgement {
                vetoes: Vec::new(),
                partial: false,
            };
        }
        let judge = self.judge.get_or_init(|| Judge::new(&self.asked.query));
        judge.vetoes(&entry.query, self.asked.vetoes)
    }
}

/// Why an entry does not answer, and its vetoes if these are the reason.
pub(super) struct Refusal {
    pub verdict: Verdict,
    pub vetoes: Vec<Veto>,
}

impl From<Verdict> for Refusal {
    fn from(verdict: Verdict) -> Self {
        Refusal {
            verdict,
            vetoes: Vec::new(),
        }
    }
}

/// What follows if nothing is against an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Answers,
    /// The verifier is asked first.
    NeedsVerification,
    /// It does not answer before it was verified, which has time.
    Doubt,
    Misses(MissReason),
}

impl Open {
    /// The confidence of a similar entry that may answer, or the first reason against it.
    pub(super) fn judge(
        &self,
        host: &impl Host,
        judging: &Judging,
        entry: &Entry,
        similarity: f32,
        now: Now,
    ) -> Result<f32, Refusal> {
        let asked = judging.asked;
        if is_stale(entry.created_at, entry.ttl, now) {
            return Err(Verdict::Expired.into());
        }
        if !asked.is_tagged(entry) {
            return Err(Verdict::OtherTags.into());
        }
        if asked.is_too_old(entry, now) {
            return Err(Verdict::TooOld.into());
        }
        let Judgement { vetoes, .. } = judging.vetoes(entry);
        if !vetoes.is_empty() {
            let verdict = Verdict::Vetoed;
            return Err(Refusal { verdict, vetoes });
        }
        if !self.accepts(host, &asked.query, entry, similarity, now) {
            return Err(Verdict::Refused.into());
        }
        let confidence = self.confidence(host, similarity, entry, now);
        match confidence < policy::cut_off(&self.options.confidence) {
            true => Err(Verdict::LowConfidence.into()),
            false => Ok(confidence),
        }
    }

    /// How a search ends with the first entry that nothing is against.
    pub(super) fn end_with(&self, asked: &Asked, entry: &Entry, is_similar: bool) -> Ending {
        let Some(Verifying { later, .. }) = self.options.verifying else {
            return Ending::Answers;
        };
        if later && !is_similar {
            return Ending::Doubt;
        }
        let Some(said) = asked.verification else {
            return Ending::NeedsVerification;
        };
        let is_meant = (said.id, said.created_at) == (entry.id, entry.created_at);
        match said.opinion {
            Opinion::Failed => Ending::Misses(MissReason::VerifierFailure),
            Opinion::Yes if is_meant => Ending::Answers,
            Opinion::Unknown if is_meant && is_similar => Ending::Answers,
            Opinion::Unknown if is_meant => Ending::Misses(MissReason::BelowThreshold),
            _ => Ending::Misses(MissReason::Unverified),
        }
    }

    /// The least similarity of an entry that may answer, perhaps after it was verified.
    pub(super) fn reach(&self, threshold: f32) -> f32 {
        let band = self.options.verifying.and_then(|verifying| verifying.band);
        band.map_or(threshold, |band| band.min(threshold))
    }

    /// Whether the validator lets an entry answer.
    pub(super) fn accepts(
        &self,
        host: &impl Host,
        query: &str,
        entry: &Entry,
        similarity: f32,
        now: Now,
    ) -> bool {
        let rule: ValidatorRule = self.options.validator;
        policy::accepts(rule, host, &entry.response, || {
            candidate(query, entry, similarity, now)
        })
    }

    pub(super) fn confidence(
        &self,
        host: &impl Host,
        similarity: f32,
        entry: &Entry,
        now: Now,
    ) -> f32 {
        let rule = &self.options.confidence;
        policy::confidence(rule, host, similarity, age(entry, now), &entry.metadata)
    }
}

/// What the host judges.
pub(super) fn candidate(query: &str, entry: &Entry, similarity: f32, now: Now) -> Candidate {
    Candidate {
        id: entry.id,
        namespace: entry.namespace.clone(),
        query: query.to_owned(),
        entry_query: entry.query.clone(),
        response: entry.response.clone(),
        metadata: entry.metadata.clone(),
        similarity,
        created_at: entry.created_at,
        age_seconds: age(entry, now),
    }
}

/// Why a search misses that has met another candidate with this verdict against it. What another
/// setting would let answer outweighs the others: a lower cut-off, then a greater age, then fewer
/// vetoes.
pub(super) fn miss_reason(so_far: Option<MissReason>, verdict: Verdict) -> MissReason {
    let reason = match verdict {
        Verdict::LowConfidence => MissReason::LowConfidence,
        Verdict::TooOld => MissReason::TooOld,
        Verdict::Vetoed => MissReason::Vetoed,
        _ => MissReason::NoMatch,
    };
    let weight = |reason: &MissReason| match reason {
        MissReason::LowConfidence => 3,
        MissReason::TooOld => 2,
        MissReason::Vetoed => 1,
        _ => 0,
    };
    so_far
        .into_iter()
        .chain([reason])
        .max_by_key(weight)
        .unwrap_or(reason)
}
