//! The command line of `calibrate` and `replay`.

use std::path::PathBuf;

use clap::ValueEnum;
use mneme::calibration::Metric;

use super::whole;

/// See [`Command::Calibrate`](super::Command::Calibrate).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line of PAIRS is {\"a\": ..., \"b\": ..., \"same\": true|false}; a line of the two other files is
{\"a\": ..., \"b\": ...}. Use questions of your users: 200 pairs of each kind give precision and
recall to 7 points or better. The best threshold fits these pairs best; expect a little less
with others. Intervals hold the true value with a confidence of 95 %.

--json: {\"threshold\", \"precision\", \"recall\", \"f1\", \"precision_interval\": [low, high],
\"recall_interval\", \"f1_interval\", \"metric\", \"pairs\", \"same\", \"embedder\",
\"curve\": [{\"threshold\", \"precision\", \"recall\", \"f1\", \"true_hits\", \"wrong_hits\",
\"lost_hits\", \"true_misses\"}, ...]}, with a point for each different similarity.")]
pub struct Calibrate {
    /// Labelled pairs of questions, as JSON lines; `-` is standard input
    #[arg(required_unless_present = "paraphrases")]
    pub pairs: Option<PathBuf>,
    /// Pairs that mean the same, instead of PAIRS
    #[arg(
        long,
        value_name = "FILE",
        requires = "distractors",
        conflicts_with = "pairs"
    )]
    pub paraphrases: Option<PathBuf>,
    /// Pairs that do not mean the same
    #[arg(long, value_name = "FILE", requires = "paraphrases")]
    pub distractors: Option<PathBuf>,
    /// What to maximise
    #[arg(long, value_enum, default_value = "f1")]
    pub metric: MetricName,
    /// The least acceptable precision, 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share)]
    pub min_precision: f64,
    /// The least acceptable recall, 0 to 1
    #[arg(long, value_name = "R", default_value_t = 0.0, value_parser = share)]
    pub min_recall: f64,
    /// Also write the whole curve to a file of comma-separated values
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also draw the curve, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

/// See [`Command::Judge`](super::Command::Judge).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line of PAIRS is {\"a\": ..., \"b\": ...}: a is stored, and b is asked. With \"same\": true|false,
whether the answer to a is the answer to b, right and wrong answers are counted. Other fields are
passed over. --vetoes says which vetoes are looked for.

--json: {\"pairs\": [{\"line\", \"same\", \"similarity\", \"vetoes\": [{\"kind\", \"query\", \"entry\"}, ...],
\"answers\"}, ...], \"summary\": {\"threshold\", \"pairs\", \"answered\", \"same\", \"same_answered\",
\"different\", \"different_answered\", \"vetoed\", \"vetoed_same\", \"vetoed_different\", \"embedder\"}};
`vetoed` are those that are similar enough.")]
pub struct Judge {
    /// Pairs of questions, as JSON lines; `-` is standard input
    pub pairs: PathBuf,
    /// The least similarity of an answer to a question in other words, -1 to 1
    #[arg(long, short, value_name = "T", default_value_t = 0.85, allow_negative_numbers = true, value_parser = cosine)]
    pub threshold: f32,
}

/// A [`Metric`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MetricName {
    /// The harmonic mean of precision and recall
    F1,
    /// The share of hits that are right
    Precision,
    /// The share of pairs of the same meaning that are hits
    Recall,
}

impl From<MetricName> for Metric {
    fn from(name: MetricName) -> Self {
        match name {
            MetricName::F1 => Self::F1,
            MetricName::Precision => Self::Precision,
            MetricName::Recall => Self::Recall,
        }
    }
}

/// See [`Command::Replay`](super::Command::Replay).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line is {\"query\": ...}, optionally with \"label\" (a name for its meaning: questions with the
same label have the same answer) or \"response\" (the true answer), \"namespace\", and \"time\"
(seconds since 1970, on every line or none: answers age between two questions). A hit is wrong
if its label, else its response, differs from that of the stored question. Without either it
is not judged.

--json: {\"questions\", \"embedder\", \"outcomes\": [{\"threshold\", \"hits\", \"exact\",
\"semantic\", \"hit_rate\", \"saved_calls\", \"judged\", \"wrong\", \"wrong_hit_rate\",
\"wrong_hits\": [{\"line\", \"query\", \"answered_as\", \"similarity\"}, ...]}, ...]}.")]
pub struct Replay {
    /// The questions in the order they were asked, as JSON lines; `-` is standard
    /// input
    pub log: PathBuf,
    /// The thresholds to try, separated by commas. Default: 0.7 to 1 in steps of 0.025
    #[arg(
        long,
        value_name = "T,T,...",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    pub thresholds: Vec<f32>,
    /// Lifetime of answers in seconds. Default: unlimited
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub ttl: Option<u64>,
    /// The most entries in the cache. Default: no limit
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub max_entries: Option<u64>,
    /// The most bytes of all entries together, texts and vectors, partly estimated. Default: no limit
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub max_bytes: Option<u64>,
    /// Name the first N wrong hits of each threshold
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub show_wrong: usize,
    /// Also write the table to a file of comma-separated values
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Also draw it, as SVG
    #[arg(long, value_name = "FILE.svg")]
    pub plot: Option<PathBuf>,
}

fn cosine(text: &str) -> Result<f32, String> {
    let value = text.parse().ok();
    value
        .filter(|value| (-1.0..=1.0).contains(value))
        .ok_or_else(|| "a number from -1 to 1 is needed".into())
}

fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok();
    value
        .filter(|value| (0.0..=1.0).contains(value))
        .ok_or_else(|| "a number from 0 to 1 is needed".into())
}
