//! What one instance of the cache knows of a namespace: the sum that is stored, and what it has counted
//! since.

use super::{ErrorBound, Label, Report, State};
use crate::types::VetoKind as Kind;

/// A threshold is found again after so many requests without a label.
const STALE: u64 = 64;

/// A state that several instances count together. Each keeps what it counted apart, until it adds it to
/// the stored sum.
///
/// ```
/// use mneme_guest::bound::{Label, Ledger, State};
///
/// let mut ledger = Ledger::default();
/// ledger.observe(Some(0.9));
/// ledger.label(0.9, Label::Same);
/// // Another instance has stored nothing so far.
/// let mut stored = State::default();
/// stored.add(ledger.unwritten().unwrap());
/// let text = stored.to_text();
/// ledger.written(stored);
/// assert!(ledger.unwritten().is_none());
/// assert_eq!(State::from_text(&text).unwrap().seen(), 1);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// With all that is counted here.
    sum: State,
    /// What the store does not have.
    unwritten: State,
    found: Option<Found>,
}

/// What was found when it was last looked for.
#[derive(Clone, Copy, Debug)]
struct Found {
    bound: ErrorBound,
    seen: u64,
    threshold: Option<f32>,
    switched_off: [bool; Kind::ALL.len()],
}

impl Ledger {
    /// Counts a request; see [`State::observe`].
    pub fn observe(&mut self, score: Option<f32>) {
        self.sum.observe(score);
        self.unwritten.observe(score);
    }

    /// Counts a label; see [`State::label`].
    pub fn label(&mut self, score: f32, label: Label) {
        self.sum.label(score, label);
        self.unwritten.label(score, label);
        self.found = None;
    }

    /// Counts a label of a candidate that a veto refused; see [`State::label_veto`].
    pub fn label_veto(&mut self, kind: Kind, label: Label) {
        self.sum.label_veto(kind, label);
        self.unwritten.label_veto(kind, label);
        self.found = None;
    }

    /// The score from which candidates may answer, as of the last label, or of at most 64 requests ago.
    pub fn threshold(&mut self, bound: &ErrorBound) -> Option<f32> {
        self.found(bound).threshold
    }

    /// Whether a kind of vetoes is switched off, as of the last label, or of at most 64 requests ago.
    pub fn switched_off(&mut self, kind: Kind, bound: &ErrorBound) -> bool {
        self.found(bound).switched_off[kind as usize]
    }

    /// What is known now.
    pub fn report(&self, bound: &ErrorBound) -> Report {
        self.sum.report(bound)
    }

    /// Whether anything was ever labelled.
    pub fn is_labelled(&self) -> bool {
        self.sum.is_labelled()
    }

    /// What is to be added to the stored sum; none if nothing was counted since.
    pub fn unwritten(&self) -> Option<&State> {
        (self.unwritten != State::default()).then_some(&self.unwritten)
    }

    /// The sum was stored, with what was unwritten.
    pub fn written(&mut self, stored: State) {
        self.unwritten = State::default();
        self.read(stored);
    }

    /// The sum was read. It has what others have added.
    pub fn read(&mut self, stored: State) {
        self.sum = stored;
        self.sum.add(&self.unwritten);
        self.found = None;
    }

    fn found(&mut self, bound: &ErrorBound) -> &Found {
        let is_fresh = |found: &Found| {
            found.bound == *bound && self.sum.seen().saturating_sub(found.seen) < STALE
        };
        let found = match self.found.take().filter(is_fresh) {
            Some(found) => found,
            None => Found {
                bound: *bound,
                seen: self.sum.seen(),
                threshold: self.sum.threshold(bound),
                switched_off: Kind::ALL.map(|kind| self.sum.switched_off(kind, bound)),
            },
        };
        self.found.insert(found)
    }
}
