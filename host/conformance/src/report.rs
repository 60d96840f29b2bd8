//! What the battery checks, and its results.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::contract::suite;
use mneme_store::StoreError;

/// A check of one behaviour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Case {
    /// Unique; lowercase words joined by hyphens.
    pub name: String,
    /// The behaviour, in one line.
    pub summary: String,
    /// The operation or invariant of the store that it belongs to.
    pub section: String,
    /// The capability that the case needs.
    pub needs: Option<Capability>,
    /// Its phases, in order; at least one.
    pub phases: Vec<Phase>,
}

/// A capability that a store may claim; see
/// [`CapabilitySet`](mneme_store::CapabilitySet).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    /// Entries survive the end of the process.
    Durable,
    /// Other processes can open the same data at the same time.
    Shared,
    /// The store takes and restores snapshots.
    Snapshot,
    /// The store keeps blobs.
    Blobs,
}

/// The store that a part of a case works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A new store; the earlier ones are dropped without being closed.
    Fresh,
    /// A second store beside the first.
    Beside,
    /// The first store again.
    Back,
    /// A new store in a separate process, which is killed while it writes.
    Killed,
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The store does what the contract demands.
    Passed,
    /// The store does not.
    Failed(Failure),
    /// The case does not apply, for this reason.
    Skipped(String),
}

/// Why a case failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What the contract demands.
    pub expected: String,
    /// What the store did.
    pub actual: String,
    /// The phase of the case, counted from 0.
    pub phase: usize,
}

/// One case of a run, with its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The case.
    pub case: Case,
    /// Its outcome.
    pub outcome: Outcome,
}

/// The number of cases by outcome, in a section or in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many do not apply.
    pub skipped: usize,
}

/// The result of a run of the battery. It serialises to what `mneme conformance --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name that the store gives itself.
    pub store: String,
    /// The seed, which repeats the run.
    pub seed: Seed,
    /// The number of cases by outcome.
    pub summary: Counts,
    /// The cases, in the order they were run.
    pub cases: Vec<Judged>,
}

/// The seed of the cases' values: the same seed makes the same calls. It is written in decimal,
/// or in hexadecimal after `0x`. The default is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub u64);

/// The environment variable that sets the seed.
pub(super) const SEED: &str = "MNEME_CONFORMANCE_SEED";

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::Durable => "durable",
            Capability::Shared => "shared",
            Capability::Snapshot => "snapshot",
            Capability::Blobs => "blobs",
        })
    }
}

impl Capability {
    /// Whether a store claims it.
    pub fn is_claimed(self, claims: &mneme_store::CapabilitySet) -> bool {
        match self {
            Capability::Durable => claims.durable,
            Capability::Shared => claims.shared,
            Capability::Snapshot => claims.snapshot,
            Capability::Blobs => claims.max_blob > 0,
        }
    }
}

impl Outcome {
    /// Whether the store failed the case.
    pub fn is_failed(&self) -> bool {
        matches!(self, Outcome::Failed(_))
    }

    pub(super) fn failed(
        phase: usize,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Self {
        Outcome::Failed(Failure {
            expected: expected.into(),
            actual: actual.into(),
            phase,
        })
    }

    /// Of a store that could not be made.
    pub(super) fn not_made(phase: usize, error: &StoreError) -> Self {
        let error = mneme_store::text(error);
        Self::failed(phase, "a store", format!("none could be made: {error}"))
    }

    /// What the component said of a phase.
    pub(super) fn said(phase: usize, outcome: suite::Outcome) -> Self {
        match outcome {
            suite::Outcome::Passed => Outcome::Passed,
            suite::Outcome::Skipped(reason) => Outcome::Skipped(reason),
            suite::Outcome::Failed(failure) => {
                Outcome::failed(phase, failure.expected, failure.actual)
            }
        }
    }
}

impl Counts {
    /// Counts one more outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed(_) => self.failed += 1,
            Outcome::Skipped(_) => self.skipped += 1,
        }
    }
}

impl Report {
    pub(super) fn new(store: String, seed: Seed, cases: Vec<Judged>) -> Self {
        let mut summary = Counts::default();
        for judged in &cases {
            summary.add(&judged.outcome);
        }
        Report {
            store,
            seed,
            summary,
            cases,
        }
    }

    /// The sections with the counts of their cases, in the order of their first cases.
    pub fn sections(&self) -> Vec<(&str, Counts)> {
        let mut sections: Vec<(&str, Counts)> = Vec::new();
        for judged in &self.cases {
            let name = judged.case.section.as_str();
            let at = match sections.iter().position(|(other, _)| *other == name) {
                Some(at) => at,
                None => {
                    sections.push((name, Counts::default()));
                    sections.len() - 1
                }
            };
            sections[at].1.add(&judged.outcome);
        }
        sections
    }

    /// The cases that failed, with their failures.
    pub fn failures(&self) -> impl Iterator<Item = (&Case, &Failure)> {
        self.cases
            .iter()
            .filter_map(|judged| match &judged.outcome {
                Outcome::Failed(failure) => Some((&judged.case, failure)),
                _ => None,
            })
    }

    /// The cases that do not apply, with the reasons.
    pub fn skips(&self) -> impl Iterator<Item = (&Case, &str)> {
        self.cases
            .iter()
            .filter_map(|judged| match &judged.outcome {
                Outcome::Skipped(reason) => Some((&judged.case, reason.as_str())),
                _ => None,
            })
    }
}

impl Serialize for Judged {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Flat<'a> {
            name: &'a str,
            section: &'a str,
            summary: &'a str,
            outcome: &'static str,
            detail: Option<String>,
            #[serde(flatten)]
            failure: Option<&'a Failure>,
        }
        let (outcome, detail, failure) = match &self.outcome {
            Outcome::Passed => ("passed", None, None),
            Outcome::Failed(failure) => ("failed", Some(failure.to_string()), Some(failure)),
            Outcome::Skipped(reason) => ("skipped", Some(reason.clone()), None),
        };
        let flat = Flat {
            name: &self.case.name,
            section: &self.case.section,
            summary: &self.case.summary,
            outcome,
            detail,
            failure,
        };
        flat.serialize(to)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected {}; actual {} (phase {})",
            self.expected, self.actual, self.phase
        )
    }
}

impl Default for Seed {
    fn default() -> Self {
        Seed(1)
    }
}

impl Seed {
    /// The seed in the environment variable `MNEME_CONFORMANCE_SEED`, or else the default.
    ///
    /// # Errors
    ///
    /// A message, if the variable does not hold a seed.
    pub fn from_env() -> Result<Self, String> {
        match std::env::var_os(SEED) {
            None => Ok(Self::default()),
            Some(text) if text.is_empty() => Ok(Self::default()),
            Some(text) => text
                .to_str()
                .unwrap_or_default()
                .parse()
                .map_err(|error| format!("{SEED}: {error}")),
        }
    }
}

impl FromStr for Seed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        };
        number.map(Seed).map_err(|_| {
            "a seed is a whole number below 2^64, in decimal or in hexadecimal after 0x".to_owned()
        })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Seed {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Not every reader of JSON keeps 64 bits.
        to.collect_str(self)
    }
}

impl From<suite::TestCase> for Case {
    fn from(case: suite::TestCase) -> Self {
        Case {
            name: case.name,
            summary: case.summary,
            section: case.section,
            needs: case.needs.map(|capability| match capability {
                suite::Capability::Durable => Capability::Durable,
                suite::Capability::Shared => Capability::Shared,
                suite::Capability::Snapshot => Capability::Snapshot,
                suite::Capability::Blobs => Capability::Blobs,
            }),
            phases: case
                .phases
                .into_iter()
                .map(|phase| match phase {
                    suite::Phase::Fresh => Phase::Fresh,
                    suite::Phase::Beside => Phase::Beside,
                    suite::Phase::Back => Phase::Back,
                    suite::Phase::Killed => Phase::Killed,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, section: &str, outcome: Outcome) -> Judged {
        let case = Case {
            name: name.into(),
            summary: "s".into(),
            section: section.into(),
            needs: None,
            phases: vec![Phase::Fresh],
        };
        Judged { case, outcome }
    }

    #[test]
    fn seeds() {
        for (text, seed) in [("7", 7), ("0x1F", 31), ("0xffffffffffffffff", u64::MAX)] {
            let parsed: Seed = text.parse().unwrap();
            assert_eq!(parsed, Seed(seed));
            assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
        for text in ["", "-1", "0x", "ff", "0x1ffffffffffffffff"] {
            assert!(text.parse::<Seed>().is_err(), "{text}");
        }
    }

    #[test]
    fn reports() {
        let cases = vec![
            judged("a", "ids", Outcome::Passed),
            judged("b", "pages", Outcome::Skipped("why not".into())),
            judged("c", "ids", Outcome::failed(1, "one", "two")),
        ];
        let report = Report::new("memory".into(), Seed(16), cases);
        let counts = |passed, failed, skipped| Counts {
            passed,
            failed,
            skipped,
        };
        assert_eq!(
            report.sections(),
            [("ids", counts(1, 1, 0)), ("pages", counts(0, 0, 1))]
        );
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            serde_json::json!({
                "store": "memory",
                "seed": "0x10",
                "summary": {"passed": 1, "failed": 1, "skipped": 1},
                "cases": [
                    {"name": "a", "section": "ids", "summary": "s", "outcome": "passed", "detail": null},
                    {"name": "b", "section": "pages", "summary": "s", "outcome": "skipped", "detail": "why not"},
                    {
                        "name": "c", "section": "ids", "summary": "s", "outcome": "failed",
                        "detail": "expected one; actual two (phase 1)",
                        "expected": "one", "actual": "two", "phase": 1,
                    },
                ],
            })
        );
    }
}
