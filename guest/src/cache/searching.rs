//! Searching by meaning: which entry answers, and how a search ends.

use super::Open;
use super::bounding::{Admission, Bounded, Bounding, score_of};
use super::candidates::{Shown, Sought};
use super::is_expired;
use super::judging::{Asked, Ending, Judging, MOST_VETOED, candidate, miss_reason};
use super::lookup::entry_ref;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::store::Store;
use crate::types::{
    Candidate, Entry, EntryKey, EntryRef, MissReason, Nearest, ValidatorRule, Verdict, Veto,
    VetoKind,
};
use std::ops::ControlFlow;

/// An entry that nothing is against, its similarity and its confidence.
pub(super) type Best = (Entry, f32, f32);

/// What a search has met.
#[derive(Default)]
pub(super) struct Found {
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
pub(super) enum Outcome {
    /// This entry answers. With an error bound it has a ticket.
    Hit(Best, Option<String>),
    /// This candidate answers if the verifier lets it.
    Verify(Candidate),
    /// None answers. A candidate may be verified later, and one be labelled.
    Miss(MissReason, Option<Candidate>, Option<Nearest>),
}

/// A semantic search, and the entries to delete that it found.
pub(super) struct Search {
    pub sought: Sought,
    query_hash: String,
    asked: Asked,
    /// The least similarity of an entry that answers without being verified.
    threshold: f32,
    pub expired: Vec<EntryRef>,
    pub rejected: Vec<EntryRef>,
    /// The kinds of the vetoes that were found.
    pub vetoed: Vec<VetoKind>,
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

    /// The candidate that the error bound judges, with the response of the next one.
    fn bounded<'a>(&'a self, best: &'a Best, next: Option<&str>) -> Bounded<'a> {
        let (entry, similarity, _) = best;
        self.scored(entry, score_of(*similarity, &entry.response, next))
    }

    fn scored<'a>(&'a self, entry: &'a Entry, score: f32) -> Bounded<'a> {
        Bounded {
            namespace: &self.sought.namespace,
            query_hash: &self.query_hash,
            entry,
            score,
        }
    }
}

impl Open {
    /// The best entry that nothing is against, and what else decides. None if the search goes on in a
    /// later turn.
    pub(super) fn find_similar(
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
    pub(super) fn conclude(
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
        let bounded = search.bounded(&best, found.next.as_deref());
        let admission = bounding.admit(store, &bounded, best.1 >= search.threshold)?;
        Ok(Some(Some((bounded.score, admission))))
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
                let bounded = search.scored(&entry, similarity);
                nearest(bounding, &bounded, similarity, &vetoes)
            });
            return Ok(Outcome::Miss(none, None, to_label));
        };
        let bounded = search.bounded(&best, found.next.as_deref());
        let score = bounded.score;
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
}
