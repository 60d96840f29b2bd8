//! Judging candidates: which entry that is similar enough may answer.

use super::lookup::age;
use super::{Open, is_of_the_future, is_stale};
use crate::host::{Host, Now};
use crate::judge::{Judge, Kinds};
use crate::policy;
use crate::types::{
    Candidate, Entry, Judgement, MissReason, Opinion, ValidatorRule, Verdict, Verification,
    Verifying,
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
    /// The request names its vetoes, so that labels switch none of them off.
    pub names_vetoes: bool,
    pub verification: Option<Verification>,
}

impl Asked {
    /// Whether an entry carries every tag that is asked for.
    fn is_tagged(&self, entry: &Entry) -> bool {
        self.tags.iter().all(|tag| entry.tags.contains(tag))
    }

    /// Whether an entry is older than the request takes. The age of one that a wrong clock has dated
    /// is not known.
    fn is_too_old(&self, entry: &Entry, now: Now) -> bool {
        self.max_age
            .is_some_and(|most| age(entry, now) > most || is_of_the_future(entry.created_at, now))
    }

    /// What is against an entry in either layer, whatever its similarity.
    pub fn against(&self, entry: &Entry, now: Now) -> Option<Verdict> {
        if is_stale(entry.created_at, entry.ttl, now) {
            Some(Verdict::Expired)
        } else if !self.is_tagged(entry) {
            Some(Verdict::OtherTags)
        } else if self.is_too_old(entry, now) {
            Some(Verdict::TooOld)
        } else {
            None
        }
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

    fn vetoes(&self, entry: &Entry) -> Judgement {
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

/// A similar entry before the judge. What is found about it is found when it is first needed, once.
pub(super) struct Case<'a, 'q, H> {
    open: &'a Open,
    host: &'a H,
    judging: &'a Judging<'q>,
    entry: &'a Entry,
    similarity: f32,
    now: Now,
    words: OnceCell<Judgement>,
    is_accepted: OnceCell<bool>,
    confidence: OnceCell<f32>,
}

impl<H: Host> Case<'_, '_, H> {
    /// The first reason against the entry, if there is one.
    pub fn verdict(&self) -> Verdict {
        if let Some(verdict) = self.judging.asked.against(self.entry, self.now) {
            verdict
        } else if !self.words().vetoes.is_empty() {
            Verdict::Vetoed
        } else if !self.is_accepted() {
            Verdict::Refused
        } else if self.confidence() < policy::cut_off(&self.open.options.confidence) {
            Verdict::LowConfidence
        } else {
            Verdict::Answers
        }
    }

    /// Why the entry must not answer, by the words of its query.
    pub fn words(&self) -> &Judgement {
        self.words.get_or_init(|| self.judging.vetoes(self.entry))
    }

    /// Whether the validator lets the entry answer.
    pub fn is_accepted(&self) -> bool {
        let query = &self.judging.asked.query;
        *self.is_accepted.get_or_init(|| {
            let (entry, similarity) = (self.entry, self.similarity);
            self.open
                .accepts(self.host, query, entry, similarity, self.now)
        })
    }

    /// The confidence that the entry answers: see `options.confidence`.
    pub fn confidence(&self) -> f32 {
        *self.confidence.get_or_init(|| {
            self.open
                .confidence(self.host, self.similarity, self.entry, self.now)
        })
    }

    /// As [`Case::words`], for the last that needs the case.
    pub fn into_words(self) -> Judgement {
        let found = self.words.into_inner();
        found.unwrap_or_else(|| self.judging.vetoes(self.entry))
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
    /// Puts a similar entry before the judge.
    pub(super) fn case<'a, 'q, H: Host>(
        &'a self,
        host: &'a H,
        judging: &'a Judging<'q>,
        entry: &'a Entry,
        similarity: f32,
        now: Now,
    ) -> Case<'a, 'q, H> {
        Case {
            open: self,
            host,
            judging,
            entry,
            similarity,
            now,
            words: OnceCell::new(),
            is_accepted: OnceCell::new(),
            confidence: OnceCell::new(),
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
        // The score depends on the next candidate too, whatever a request's own threshold.
        let bound = self.options.error_bound.as_ref();
        let threshold = bound.map_or(threshold, |bound| bound.floor);
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
