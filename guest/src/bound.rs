//! How often may an answer by meaning be wrong? The user says it; labels keep to it.
//!
//! A label says of one request whether its candidate's answer was right. A miss gives one without cost:
//! the host computes the answer anyway, and compares. Of the requests that would be answered, a share
//! is refused to get a label: they explore. From the labels follows the lowest score from which
//! candidates may answer. With too few labels, or with bad ones, nothing answers by meaning.
//!
//! ```
//! use mneme_guest::bound::{DEFAULT, Label, State, Why};
//!
//! let bound = DEFAULT;
//! let mut state = State::default();
//! assert_eq!(state.threshold(&bound), None);
//! for _ in 0..300 {
//!     state.observe(Some(0.97));
//!     state.label(0.97, Label::Same);
//! }
//! assert_eq!(state.threshold(&bound), Some(0.97));
//! for _ in 0..40 {
//!     state.label(0.97, Label::Different);
//! }
//! assert_eq!(state.report(&bound).why, Why::LabelsErr);
//! ```
//!
//! # The rule
//!
//! Scores are counted in 30 bins. A bin has `m` requests, `n` labels, and `w` labels that are not
//! "same"; all of them halve every 2,000 requests of the namespace. At a threshold, bins above it have
//!
//! ```text
//! share wrong   p  = Σ m/M · w/n
//! labels worth  n* = the least of
//!                    M·Σm / Σ m²/n                     (all bins err alike)
//!                    p·(1-p) / Σ (m/M)²·w/n·(1-w/n)/n  (each bin errs as its labels say)
//! ```
//!
//! `M` is the sum of `m` above the threshold where the bound is of answers, and all requests that were
//! not answered exactly where it is of requests. The threshold is open if
//! `P(X ≤ p·n*) ≤ 1 - confidence` for `X` binomial of `n*` and `delta`. That is where the upper limit of
//! Clopper and Pearson is at most `delta`.
//!
//! Thresholds are tested from the top down. The first that fails ends the scan, so that many tests err
//! no more often than one does: whoever opens a bad threshold has passed the highest bad one.
//! A threshold whose labels are too few to pass with five wrong ones among them is not tested but passed
//! over: that depends on how many labels there are, and not on what they say.
//!
//! Where the bound is of requests, a threshold also fails if more answers are wrong than right.
//!
//! Bins with fewer than 20 labels are counted as one with the bins below them. So a bin
//! without labels opens nothing, for it is taken to be as bad as those below; and it blocks nothing. An
//! empty bin is passed over.
//!
//! The confidence is that of one look at the labels. Thresholds are looked at again and again, and a
//! cache that answers changes what its next candidates are; halving the counts is what bounds the harm.
//!
//! # Sources
//!
//! - C. J. Clopper, E. S. Pearson: The use of confidence or fiducial limits illustrated in the case of the
//!   binomial. Biometrika 26, 1934.
//! - E. L. Korn, B. I. Graubard: Confidence intervals for proportions with small expected number of positive
//!   counts estimated from survey data. Survey Methodology 24, 1998. The second line of `n*`.
//! - L. Kish: Survey Sampling, 1965. The first line of `n*`.
//! - W. Maurer, L. A. Hothorn, W. Lehmacher: Multiple comparisons in drug clinical trials and preclinical
//!   assays: a-priori ordered hypotheses, 1995. Fixed-sequence testing.

mod codec;
mod ledger;
mod scan;
mod state;
mod tail;
pub mod ticket;
pub mod used;

#[cfg(test)]
mod tests;

pub use ledger::Ledger;
pub use scan::{Report, Why};
pub use state::State;
pub use tail::upper_bound;

use crate::error::{Result, invalid};
use crate::query;
pub use crate::types::{BoundReport, Bounded as Of, ErrorBound, Label};
use sha2::{Digest, Sha256};

/// The bound of a user who names no other values: 5 % of the answers.
pub const DEFAULT: ErrorBound = ErrorBound {
    delta: 0.05,
    of: Of::Answers,
    explore: 0.05,
    confidence: 0.95,
    floor: 0.7,
};

/// The most bytes of a response that is compared after normalising.
const MOST_COMPARED: usize = 64 << 10;

/// See `cache.compare`.
pub fn compare(response: &str, other: &str) -> Label {
    let is_short = response.len().max(other.len()) <= MOST_COMPARED;
    let is_equal =
        response == other || is_short && query::normalize(response) == query::normalize(other);
    match is_equal {
        true => Label::Same,
        false => Label::Unknown,
    }
}

/// See `cache.assess`.
pub fn assess(bound: &ErrorBound, labels: &[(f32, Label)]) -> Result<BoundReport> {
    bound.check()?;
    let mut state = State::default();
    for &(score, label) in labels {
        let score = (score >= bound.floor).then_some(score);
        state.observe(score);
        if let Some(score) = score {
            state.label(score, label);
        }
    }
    Ok(state.report(bound).into())
}

/// How much the answer of another candidate changes a score.
const AGREEMENT: f32 = 0.05;

/// The score of a candidate that the bound judges: its similarity, and 0.05 more or less where the next
/// candidate that no veto refuses gives the same answer or another one; the same where there is no
/// other.
///
/// Two entries that are near and give one answer are seldom both wrong. Where answers are one of a few,
/// as in support or routing, up to three times as many candidates may answer within the same bound.
/// Where no two answers are equal, nearly all scores are lower by as much, and so is the threshold.
///
/// ```
/// use mneme_guest::bound::score;
///
/// assert!(score(0.9, Some(true)) > score(0.9, None));
/// assert!(score(0.9, Some(false)) < score(0.9, None));
/// ```
pub fn score(similarity: f32, agrees: Option<bool>) -> f32 {
    match agrees {
        Some(true) => similarity + AGREEMENT,
        Some(false) => similarity - AGREEMENT,
        None => similarity,
    }
}

impl ErrorBound {
    /// Refuses values out of their ranges, and what is not a number.
    ///
    /// Errors: `invalid-argument`, with the field, the value and the range.
    pub fn check(&self) -> Result<()> {
        let Self {
            delta,
            of: _,
            explore,
            confidence,
            floor,
        } = *self;
        let fields = [
            (
                "delta",
                delta,
                delta > 0.0 && delta < 1.0,
                "above 0 and below 1",
            ),
            ("explore", explore, (0.0..=1.0).contains(&explore), "0 to 1"),
            (
                "confidence",
                confidence,
                confidence > 0.5 && confidence < 1.0,
                "above 0.5 and below 1",
            ),
            (
                "floor",
                floor.into(),
                (-1.0..1.0).contains(&floor),
                "-1 or more and below 1",
            ),
        ];
        for (name, value, is_valid, range) in fields {
            if !is_valid {
                let value = value as f32;
                return Err(invalid(format!(
                    "{name} of the error bound is {value}; it must be {range}"
                )));
            }
        }
        Ok(())
    }

    /// Whether a candidate that may answer is refused, so that its answer is computed and compared. It
    /// depends on what is asked and on who answers, and is the same on every host. The same query
    /// and entry explore each time, until the entry is stored again.
    ///
    /// `query_hash` is the hash of the query, `entry` and `created_at` are id and age of the candidate.
    pub fn explores(&self, namespace: &str, query_hash: &str, entry: u64, created_at: u64) -> bool {
        // A byte 0xFF is in no text, so that no two are read as one.
        let hash = Sha256::new()
            .chain_update(namespace)
            .chain_update([0xff])
            .chain_update(query_hash)
            .chain_update([0xff])
            .chain_update(entry.to_be_bytes())
            .chain_update(created_at.to_be_bytes())
            .finalize();
        let mut first = [0; 4];
        first.copy_from_slice(&hash[..4]);
        f64::from(u32::from_be_bytes(first)) < self.explore * 4_294_967_296.0
    }
}
