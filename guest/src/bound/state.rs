//! What is counted of a namespace.

use crate::range;
use crate::types::{Label, VetoKind as Kind};

/// How many bins scores are counted in.
pub const BINS: usize = 30;

/// Counts halve after so many requests.
const HALF_LIFE: u64 = 2_000;

/// What the next request weighs, if this one weighs 1: the half-life's root of 2.
const GROWTH: f64 = 1.000_346_633_653_845_3;

/// A count of 1 right after counts were halved. Counts are whole numbers of a fraction of it, so that
/// sums are exact.
const UNIT: f64 = 256.0;

/// The lowest score of a bin: ten of 0.03 from 0.5, then twenty of 0.01 up to 1 and above.
pub const fn edge(bin: usize) -> f32 {
    let hundredths = if bin < 10 { 50 + 3 * bin } else { 70 + bin };
    hundredths as f32 / 100.0
}

/// The bin of a score; none below all bins, and for what is not a number.
fn bin(score: f32) -> Option<usize> {
    (0..BINS).rev().find(|bin| score >= edge(*bin))
}

/// Counts of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    pub same: u64,
    pub different: u64,
    pub unknown: u64,
}

impl Labels {
    fn count(&mut self, label: Label, weight: u64) {
        let counter = match label {
            Label::Same => &mut self.same,
            Label::Different => &mut self.different,
            Label::Unknown => &mut self.unknown,
        };
        *counter = counter.saturating_add(weight);
    }

    pub fn all(&self) -> u64 {
        self.wrong().saturating_add(self.same)
    }

    pub fn wrong(&self) -> u64 {
        self.different.saturating_add(self.unknown)
    }
}

/// Counts of a range of scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bin {
    pub requests: u64,
    pub labels: Labels,
}

/// What is counted of a namespace: requests by the score of their candidate, and labels. Older counts
/// weigh less: half as much every 2,000 requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Requests ever. It says what a count of 1 is.
    pub(super) seen: u64,
    /// Requests without a candidate in a bin.
    pub(super) others: u64,
    pub(super) bins: [Bin; BINS],
    /// By the order of [`Kind::ALL`].
    pub(super) vetoes: [Labels; Kind::ALL.len()],
}

impl State {
    /// Counts a request that was not answered exactly, with the score of the candidate that no veto
    /// refused; none where there is no candidate.
    pub fn observe(&mut self, score: Option<f32>) {
        self.advance(1);
        let weight = self.weight();
        let counter = match score.and_then(bin) {
            Some(bin) => &mut self.bins[bin].requests,
            None => &mut self.others,
        };
        *counter = counter.saturating_add(weight);
    }

    /// Counts a label of a candidate that no veto refused, with its score. Those below all bins
    /// do not count.
    ///
    /// Whether there is a label must not depend on what it would say, nor on the score, but by the rule of
    /// the bound: all misses below the threshold, and what explores above it. A label of an answer that
    /// was given may be counted too; if most of those come from people who complain, less is open.
    pub fn label(&mut self, score: f32, label: Label) {
        if let Some(bin) = bin(score) {
            let weight = self.weight();
            self.bins[bin].labels.count(label, weight);
        }
    }

    /// Counts a label of a candidate that would have answered if this kind of veto, and no other, had not
    /// refused it: its score is at or above the open threshold.
    pub fn label_veto(&mut self, kind: Kind, label: Label) {
        let weight = self.weight();
        self.vetoes[kind as usize].count(label, weight);
    }

    /// Whether there are labels, of answers or of vetoes.
    pub fn is_labelled(&self) -> bool {
        let bins = self.bins.iter().map(|bin| &bin.labels);
        bins.chain(&self.vetoes).any(|labels| labels.all() > 0)
    }

    /// How many requests were counted ever.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Adds what was counted since. What is here grows older by its requests.
    pub fn add(&mut self, newer: &State) {
        self.advance(newer.seen);
        let (from, to) = (newer.weight(), self.weight());
        for (count, more) in self.counts_mut().zip(newer.counts()) {
            // A count has 53 bits, a weight 10.
            let more = (more.min(range::MAX) * to + from / 2) / from;
            *count = count.saturating_add(more).min(range::MAX);
        }
    }

    /// Makes all counts older.
    fn advance(&mut self, requests: u64) {
        let before = self.seen / HALF_LIFE;
        self.seen = self.seen.saturating_add(requests).min(range::MAX);
        let halvings = u32::try_from(self.seen / HALF_LIFE - before).unwrap_or(u32::MAX);
        if halvings > 0 {
            for count in self.counts_mut() {
                *count = count.checked_shr(halvings).unwrap_or(0);
            }
        }
    }

    /// What a count of 1 is now. It grows, instead of all older counts growing smaller, and is halved
    /// with them.
    pub(super) fn weight(&self) -> u64 {
        let mut weight = UNIT;
        let (mut factor, mut left) = (GROWTH, self.seen % HALF_LIFE);
        while left > 0 {
            if left % 2 == 1 {
                weight *= factor;
            }
            factor *= factor;
            left /= 2;
        }
        (weight + 0.5) as u64
    }

    /// All counts that grow older, in one order.
    fn counts(&self) -> impl Iterator<Item = u64> {
        let bins = self.bins.iter().flat_map(|bin| {
            let Labels {
                same,
                different,
                unknown,
            } = bin.labels;
            [bin.requests, same, different, unknown]
        });
        let vetoes = self.vetoes.iter().flat_map(|labels| {
            let Labels {
                same,
                different,
                unknown,
            } = *labels;
            [same, different, unknown]
        });
        [self.others].into_iter().chain(bins).chain(vetoes)
    }

    fn counts_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        let bins = self.bins.iter_mut().flat_map(|bin| {
            let Labels {
                same,
                different,
                unknown,
            } = &mut bin.labels;
            [&mut bin.requests, same, different, unknown]
        });
        let vetoes = self.vetoes.iter_mut().flat_map(|labels| {
            let Labels {
                same,
                different,
                unknown,
            } = labels;
            [same, different, unknown]
        });
        [&mut self.others].into_iter().chain(bins).chain(vetoes)
    }
}
