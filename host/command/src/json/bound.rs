//! What labels say.

use std::fmt::Write;

use mneme::{BoundReport, BoundState};
use serde::Serialize;
use utoipa::ToSchema;

use crate::output;

/// What the labels of a namespace say. Older counts weigh less: half as much every 2,000 questions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bound {
    /// `open`; or why nothing is answered by its meaning: `too_few_labels`, `labels_err` (more is wrong
    /// than the bound allows) or `too_many_unknown` (mostly nobody could say).
    state: &'static str,
    /// Where labels are too few: at least so many more are needed, if as many are right as so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u64>,
    /// Questions whose exact words were not stored.
    requests: u64,
    labels: u64,
    /// Labels that are not `same`.
    wrong: u64,
    /// Labels that are `unknown`, a part of `wrong`.
    unknown: u64,
    /// The score from which entries answer; null: none does.
    #[serde(serialize_with = "super::optional_digits")]
    threshold: Option<f32>,
    /// The upper limit of the share of wrong answers from there on.
    share: Option<f64>,
    /// Kinds of vetoes that are not looked for, as labels show that they refuse right answers.
    vetoes_off: Vec<&'static str>,
}

impl From<&BoundReport> for Bound {
    fn from(report: &BoundReport) -> Self {
        Self {
            state: report.state.name(),
            needed: match report.state {
                BoundState::TooFewLabels(needed) => Some(needed),
                _ => None,
            },
            requests: report.requests,
            labels: report.labels,
            wrong: report.wrong,
            unknown: report.unknown,
            threshold: report.threshold,
            share: report.share,
            vetoes_off: report.vetoes_off.iter().map(|kind| kind.name()).collect(),
        }
    }
}

impl Bound {
    /// A sentence.
    pub fn text(&self) -> String {
        let labels = format!(
            "{}, {} wrong",
            output::counted(self.labels, "label", "labels"),
            self.wrong
        );
        let mut text = match (self.threshold, self.needed) {
            (Some(threshold), _) => format!(
                "open from {threshold:.2}: at most {} wrong, by {labels}",
                output::percent(self.share.unwrap_or(1.0))
            ),
            (None, Some(needed)) => {
                format!("nothing is open: {labels}; at least {needed} more are needed")
            }
            (None, None) => format!("nothing is open: {} ({labels})", output::words(self.state)),
        };
        if !self.vetoes_off.is_empty() {
            let _ = write!(text, "; no vetoes of {}", self.vetoes_off.join(", "));
        }
        text
    }
}
