//! From what score on candidates may answer, and why from none.

use super::state::{BINS, Bin, Labels, State, edge};
use super::tail::{at_most, upper_bound};
use super::{ErrorBound, Of};
use crate::types::{BoundReport, BoundState, VetoKind as Kind};

/// Bins with fewer labels are counted as one with those below.
const LEAST_LABELS: f64 = 20.0;

/// A threshold is tested if its labels would pass with so many wrong ones among them: 208 labels where
/// `delta` is 5 %. Tested with fewer, a few bad labels at the very top end the scan before it has
/// begun; asked for more, the first hit comes later.
const SPARE: f64 = 5.0;

/// More labels are not asked for.
const MOST_NEEDED: u32 = 10_000;

/// What a threshold, or a kind of vetoes, is judged by.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The share that is wrong.
    wrong: f64,
    /// The share that is known to be wrong.
    different: f64,
    /// Of the answers alone, more are wrong than right.
    mostly_wrong: bool,
    /// What the labels are worth: as many of a simple sample.
    of: f64,
    /// What they are worth at most, whatever they say.
    at_most: f64,
}

impl Sample {
    /// Few answers may be wrong all together, and still be a small share of all requests.
    fn misleads(&self, bound: &ErrorBound) -> bool {
        bound.of == Of::Requests && self.mostly_wrong
    }

    fn passes(&self, bound: &ErrorBound) -> bool {
        !self.misleads(bound) && passes(self.wrong * self.of, self.of, bound)
    }
}

fn passes(wrong: f64, of: f64, bound: &ErrorBound) -> bool {
    at_most(wrong, of, bound.delta) <= 1.0 - bound.confidence
}

/// What a scan found.
#[derive(Default)]
struct Found {
    /// The lowest open threshold.
    open: Option<(f32, Sample)>,
    /// The threshold whose failing ended the scan.
    failed: Option<Sample>,
    /// The most that labels were worth where they were too few to be tested.
    untested: f64,
}

/// Bins that are counted as one.
#[derive(Clone, Copy, Default)]
struct Stratum {
    requests: f64,
    labels: f64,
    wrong: f64,
    different: f64,
}

impl Stratum {
    fn add(&mut self, bin: &Bin, unit: f64) {
        self.requests += bin.requests as f64 / unit;
        self.labels += bin.labels.all() as f64 / unit;
        self.wrong += bin.labels.wrong() as f64 / unit;
        self.different += bin.labels.different as f64 / unit;
    }
}

/// Sums over the strata above a threshold.
#[derive(Clone, Copy, Default)]
struct Sums {
    requests: f64,
    /// Requests that are answered wrong.
    wrong: f64,
    different: f64,
    /// Σ m²/n.
    squares: f64,
    /// Σ m²/n · w/n·(1-w/n).
    variance: f64,
}

impl Sums {
    fn add(&mut self, stratum: Stratum) {
        let Stratum {
            requests,
            labels,
            wrong,
            different,
        } = stratum;
        let share = wrong / labels;
        let square = requests * requests / labels;
        self.requests += requests;
        self.wrong += requests * share;
        self.different += requests * different / labels;
        self.squares += square;
        self.variance += square * share * (1.0 - share);
    }

    /// What they say of `all` requests. There is at least one request.
    fn sample(&self, all: f64) -> Sample {
        let wrong = self.wrong / all;
        let at_most = self.requests * all / self.squares;
        let of = if self.variance > 0.0 {
            let by_labels = wrong * (1.0 - wrong) * all * all / self.variance;
            by_labels.min(at_most)
        } else {
            at_most
        };
        Sample {
            wrong,
            different: self.different / all,
            mostly_wrong: self.wrong > self.requests / 2.0,
            of,
            at_most,
        }
    }
}

/// Why nothing is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A threshold is open.
    Open,
    /// The labels are too few, however right they are.
    TooFewLabels {
        /// At least so many more are needed, if as many of them are right as so far.
        needed: u32,
    },
    /// More of them than `delta` say that the answers differ. Where the bound is of requests: or most
    /// of those of answers are not "same".
    LabelsErr,
    /// More of them than `delta` are not "same", and that is because of answers nobody could compare.
    TooManyUnknown,
}

/// What is known of a namespace. Counts are of late: older ones weigh less.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Labels of candidates.
    pub labels: f64,
    /// Of these, those that say that the answers differ.
    pub wrong: f64,
    /// Of these, those of answers that nobody could compare.
    pub unknown: f64,
    /// Requests that were not answered exactly.
    pub requests: f64,
    /// The score from which candidates may answer.
    pub threshold: Option<f32>,
    /// The upper limit of the share of wrong ones at this threshold, of what the bound is of. At most
    /// `delta`.
    pub bound_now: Option<f64>,
    /// Whether a threshold is open, and why none is.
    pub why: Why,
    /// The kinds of vetoes that are switched off.
    pub vetoes_off: Vec<Kind>,
}

impl From<Report> for BoundReport {
    fn from(report: Report) -> Self {
        let count = |value: f64| value.round() as u64;
        BoundReport {
            requests: count(report.requests),
            labels: count(report.labels),
            wrong: count(report.wrong + report.unknown),
            unknown: count(report.unknown),
            threshold: report.threshold,
            share: report.bound_now,
            vetoes_off: report.vetoes_off,
            state: match report.why {
                Why::Open => BoundState::Open,
                Why::TooFewLabels { needed } => BoundState::TooFewLabels(needed.into()),
                Why::LabelsErr => BoundState::LabelsErr,
                Why::TooManyUnknown => BoundState::TooManyUnknown,
            },
        }
    }
}

impl State {
    /// The score from which candidates may answer; none if no candidate may.
    ///
    /// It costs up to some ten thousand divisions. [`Ledger`](super::Ledger) asks when something has
    /// changed.
    pub fn threshold(&self, bound: &ErrorBound) -> Option<f32> {
        self.scan(bound).open.map(|(threshold, _)| threshold)
    }

    /// Whether labels show that candidates which only this kind of veto refuses are wrong no more often
    /// than `delta`. Then it should refuse none in this namespace. As its labels grow old they are worth
    /// less; then it refuses again, and gets new ones.
    pub fn switched_off(&self, kind: Kind, bound: &ErrorBound) -> bool {
        let labels = self.vetoes[kind as usize];
        let unit = self.weight() as f64;
        passes(
            labels.wrong() as f64 / unit,
            labels.all() as f64 / unit,
            bound,
        )
    }

    /// What is known, and what follows from it.
    pub fn report(&self, bound: &ErrorBound) -> Report {
        let unit = self.weight() as f64;
        let of_bins = |count: fn(&Labels) -> u64| {
            let counts = self.bins.iter().map(|bin| count(&bin.labels) as f64);
            counts.sum::<f64>() / unit
        };
        let found = self.scan(bound);
        Report {
            labels: of_bins(Labels::all),
            wrong: of_bins(|labels| labels.different),
            unknown: of_bins(|labels| labels.unknown),
            requests: self.requests(),
            threshold: found.open.map(|(threshold, _)| threshold),
            bound_now: found.open.map(|(_, sample)| {
                upper_bound(sample.wrong * sample.of, sample.of, bound.confidence)
            }),
            why: found.why(bound),
            vetoes_off: Kind::ALL
                .into_iter()
                .filter(|kind| self.switched_off(*kind, bound))
                .collect(),
        }
    }

    /// All requests that count.
    fn requests(&self) -> f64 {
        let requests = self.bins.iter().map(|bin| bin.requests as f64);
        (self.others as f64 + requests.sum::<f64>()) / self.weight() as f64
    }

    fn scan(&self, bound: &ErrorBound) -> Found {
        let unit = self.weight() as f64;
        let all = self.requests();
        let mut found = Found::default();
        let mut sums = Sums::default();
        let mut stratum = Stratum::default();
        let mut enough = f64::INFINITY;
        for at in (0..BINS).rev() {
            let bin = &self.bins[at];
            if edge(at) < bound.floor {
                break;
            }
            if *bin == Bin::default() {
                continue;
            }
            stratum.add(bin, unit);
            if stratum.labels < LEAST_LABELS {
                continue;
            }
            sums.add(std::mem::take(&mut stratum));
            if sums.requests <= 0.0 {
                continue;
            }
            let sample = sums.sample(match bound.of {
                Of::Answers => sums.requests,
                Of::Requests => all,
            });
            // More labels pass where fewer did.
            if sample.at_most < enough && !passes(SPARE, sample.at_most, bound) {
                found.untested = sample.at_most.max(found.untested);
                continue;
            }
            enough = sample.at_most.min(enough);
            if sample.passes(bound) {
                found.open = Some((edge(at), sample));
            } else {
                found.failed = Some(sample);
                break;
            }
        }
        found
    }
}

impl Found {
    fn why(&self, bound: &ErrorBound) -> Why {
        if self.open.is_some() {
            return Why::Open;
        }
        let (rate, have) = match &self.failed {
            None => (0.0, self.untested),
            Some(sample) if sample.different > bound.delta => return Why::LabelsErr,
            Some(sample) if sample.wrong > bound.delta => return Why::TooManyUnknown,
            Some(sample) if sample.misleads(bound) => return Why::LabelsErr,
            Some(sample) => (sample.wrong, sample.of),
        };
        let enough = |labels: &u32| {
            let labels = f64::from(*labels);
            passes((rate * labels).max(SPARE), labels, bound)
        };
        let (mut few, mut many) = (0, MOST_NEEDED);
        while few + 1 < many {
            let half = (few + many) / 2;
            if enough(&half) {
                many = half;
            } else {
                few = half;
            }
        }
        Why::TooFewLabels {
            needed: many.saturating_sub(have as u32).max(1),
        }
    }
}
