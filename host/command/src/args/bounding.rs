//! How many answers by meaning may be wrong, in every command that looks up.

use anyhow::{Result, bail};
use clap::ValueEnum;
use mneme::{Bounded, Builder, ErrorBound};

const HEADING: &str = "Bounding wrong answers";

/// The error bound.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Bounding {
    /// Let labels decide which similar questions are answered, so that at most this share of the answers
    /// is wrong: 0.05 is 5 %. They replace the cache's threshold; that of a question is a further limit.
    /// `run` labels by comparing; others give labels with `feedback`. With too few labels nothing is
    /// answered by its meaning
    #[arg(long, global = true, value_name = "SHARE", help_heading = HEADING)]
    pub error_bound: Option<f64>,

    /// What it is a share of: the answers in other words, or all questions whose exact words are not
    /// stored. Default: answers
    #[arg(long, global = true, value_enum, value_name = "WHAT", help_heading = HEADING)]
    pub of: Option<Of>,

    /// The share of the would-be answers that are refused to get a label, 0 to 1. Default: 0.05
    #[arg(long, global = true, value_name = "SHARE", help_heading = HEADING)]
    pub explore: Option<f64>,

    /// How sure the bound is at each look at the labels, above 0.5 and below 1. Default: 0.95
    #[arg(long, global = true, value_name = "SHARE", help_heading = HEADING)]
    pub confidence: Option<f64>,
}

/// What the bound is a share of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    Answers,
    Requests,
}

impl Bounding {
    /// The bound, if there is one.
    pub fn bound(&self) -> Result<Option<ErrorBound>> {
        let Some(delta) = self.error_bound else {
            if self.of.is_some() || self.explore.is_some() || self.confidence.is_some() {
                bail!(
                    "--of, --explore and --confidence are about the error bound; add --error-bound"
                );
            }
            return Ok(None);
        };
        let mut bound = ErrorBound::answers(delta);
        if self.of == Some(Of::Requests) {
            bound.of = Bounded::Requests;
        }
        if let Some(explore) = self.explore {
            bound.explore = explore;
        }
        if let Some(confidence) = self.confidence {
            bound.confidence = confidence;
        }
        Ok(Some(bound))
    }

    /// Sets the bound.
    pub fn apply(&self, builder: Builder) -> Result<Builder> {
        Ok(match self.bound()? {
            Some(bound) => builder.error_bound(bound),
            None => builder,
        })
    }

    /// Refuses a bound, for commands that have no labels.
    pub fn refuse(&self, command: &str) -> Result<()> {
        match self.bound()? {
            Some(_) => bail!("{command} does not heed an error bound; leave --error-bound out"),
            None => Ok(()),
        }
    }
}
