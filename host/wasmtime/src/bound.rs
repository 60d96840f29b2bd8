//! How often an answer by meaning may be wrong: what users say, and what labels say of it.

use crate::contract::policy::Candidate;
use crate::contract::trust::{BoundState, Bounded, ErrorBound, Label, LabelSource};

/// The share of the would-be answers that are refused to get a label, if nothing else is said.
const EXPLORE: f64 = 0.05;
/// How sure the bound is, if nothing else is said.
const CONFIDENCE: f64 = 0.95;
/// The least similarity that is looked at, if nothing else is said.
const FLOOR: f32 = 0.7;

impl ErrorBound {
    /// At most this share of the answers given by meaning may be wrong, above 0 and below 1. Of the would-be
    /// answers 5 % explore, the bound is 95 % sure, and no candidate below 0.7 is looked at; change the
    /// fields for other values.
    pub fn answers(delta: f64) -> Self {
        Self {
            delta,
            of: Bounded::Answers,
            explore: EXPLORE,
            confidence: CONFIDENCE,
            floor: FLOOR,
        }
    }

    /// At most this share of all requests that the exact layer does not answer may be answered wrong: as
    /// [`answers`](Self::answers) otherwise.
    pub fn requests(delta: f64) -> Self {
        Self {
            of: Bounded::Requests,
            ..Self::answers(delta)
        }
    }
}

impl Bounded {
    /// Its name in options, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Bounded::Answers => "answers",
            Bounded::Requests => "requests",
        }
    }
}

impl Label {
    /// All labels.
    pub const ALL: [Self; 3] = [Label::Same, Label::Different, Label::Unknown];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Label::Same => "same",
            Label::Different => "different",
            Label::Unknown => "unknown",
        }
    }
}

impl LabelSource {
    /// All sources.
    pub const ALL: [Self; 3] = [
        LabelSource::Compared,
        LabelSource::Judged,
        LabelSource::User,
    ];

    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            LabelSource::Compared => "compared",
            LabelSource::Judged => "judged",
            LabelSource::User => "user",
        }
    }
}

impl BoundState {
    /// Its name in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            BoundState::Open => "open",
            BoundState::TooFewLabels(_) => "too_few_labels",
            BoundState::LabelsErr => "labels_err",
            BoundState::TooManyUnknown => "too_many_unknown",
        }
    }
}

/// Compares a candidate's response with the right one.
type CompareFn = Box<dyn Fn(&Candidate, &str) -> Label + Send + Sync>;

/// How responses are compared after a miss.
#[derive(Default)]
pub(crate) enum SameAnswer {
    /// They are equal after normalising, or nobody can say.
    #[default]
    Equal,
    /// Their embeddings are at least so similar, or they differ.
    Embedded(f32),
    /// The program says.
    Asked(CompareFn),
}
