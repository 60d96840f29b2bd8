//! The table of all cases, and how one is run.

use crate::case::Case;
use crate::cases;
use crate::check::{Checked, Stop, failed};
use crate::contract::{Capability, CapabilitySet, Outcome, Phase, TestCase, store};

/// A row of the table of cases.
#[derive(Debug)]
pub struct Spec {
    /// The name, with underscores for hyphens.
    pub name: &'static str,
    /// The behaviour, in one line.
    pub summary: &'static str,
    /// The capability without which it does not apply.
    pub needs: Option<Capability>,
    /// What it does, phase by phase.
    pub steps: &'static [Step],
}

/// One phase of a case.
#[derive(Debug)]
pub struct Step {
    /// The store to work on.
    pub phase: Phase,
    /// Whether the step opens the store itself.
    pub opens: bool,
    /// What to do.
    pub run: fn(&mut Case) -> Checked,
}

/// A case of one phase on an open store, named like its function.
macro_rules! case {
    ($run:ident, $summary:literal) => {
        $crate::battery::case!($run, $summary, opens: false, needs: None)
    };
    // The store is closed when the case begins.
    (closed $run:ident, $summary:literal) => {
        $crate::battery::case!($run, $summary, opens: true, needs: None)
    };
    (needs $capability:ident, $run:ident, $summary:literal) => {
        $crate::battery::case!(
            $run, $summary, opens: false,
            needs: Some($crate::contract::Capability::$capability)
        )
    };
    ($run:ident, $summary:literal, opens: $opens:literal, needs: $needs:expr) => {
        $crate::battery::Spec {
            name: stringify!($run),
            summary: $summary,
            needs: $needs,
            steps: &[$crate::battery::Step {
                phase: $crate::contract::Phase::Fresh,
                opens: $opens,
                run: $run,
            }],
        }
    };
}
pub(crate) use case;

/// A case of several phases.
macro_rules! phases {
    (needs $capability:ident, $name:ident, $summary:literal, [$($phase:ident => $run:expr),+ $(,)?]) => {
        $crate::battery::Spec {
            name: stringify!($name),
            summary: $summary,
            needs: Some($crate::contract::Capability::$capability),
            steps: &[$($crate::battery::Step {
                phase: $crate::contract::Phase::$phase,
                opens: false,
                run: $run,
            }),+],
        }
    };
}
pub(crate) use phases;

/// The sections with their cases, in the order to run them.
pub const SECTIONS: &[(&str, &[Spec])] = &[
    // First, as there is nothing to see once something was written.
    ("new storage", cases::new_storage::CASES),
    ("capabilities", cases::capabilities::CASES),
    ("open and close", cases::open::CASES),
    ("closed", cases::closed::CASES),
    ("insert", cases::insert::CASES),
    ("ids", cases::ids::CASES),
    ("upsert", cases::upsert::CASES),
    ("get-by-hash", cases::get_by_hash::CASES),
    ("get-by-ids", cases::get_by_ids::CASES),
    ("reads without vectors", cases::reads_without_vectors::CASES),
    ("count and namespaces", cases::count::CASES),
    ("count-by-namespace", cases::count_by_namespace::CASES),
    ("pages of namespaces", cases::namespace_pages::CASES),
    ("pages", cases::pages::CASES),
    ("select", cases::select::CASES),
    ("walks of select", cases::select_walks::CASES),
    ("select after writes", cases::select_after_writes::CASES),
    ("lru", cases::lru::CASES),
    ("touches", cases::touches::CASES),
    ("delete-by-id", cases::delete_by_id::CASES),
    ("delete-unchanged", cases::delete_unchanged::CASES),
    ("delete-expired", cases::delete_expired::CASES),
    ("clear-namespace", cases::clear::CASES),
    ("version counter", cases::version::CASES),
    ("changes", cases::changes::CASES),
    ("nearest", cases::nearest::CASES),
    ("quotas", cases::quotas::CASES),
    ("meta", cases::meta::CASES),
    ("list-meta", cases::list_meta::CASES),
    ("values", cases::values::CASES),
    ("contexts and tags", cases::contexts_and_tags::CASES),
    ("sizes", cases::sizes::CASES),
    ("numbers", cases::numbers::CASES),
    ("atomicity", cases::atomicity::CASES),
    ("integrity-check", cases::integrity::CASES),
    ("blobs", cases::blobs::CASES),
    ("views", cases::views::CASES),
    ("imports", cases::imports::CASES),
    ("ids of an import", cases::import_ids::CASES),
    ("steps of an import", cases::import_steps::CASES),
    ("errors of an import", cases::import_errors::CASES),
    (
        "quotas and meta of an import",
        cases::import_settings::CASES,
    ),
    ("modes of an import", cases::import_modes::CASES),
    ("snapshots", cases::snapshots::CASES),
    ("restores", cases::restores::CASES),
    ("restores that are checked", cases::checked_restores::CASES),
    ("durability", cases::durability::CASES),
    ("sharing", cases::sharing::CASES),
    ("blobs beside the rest", cases::blobs_beside::CASES),
    ("imports and other stores", cases::import_sharing::CASES),
    ("crashes", cases::crashes::CASES),
    ("imports and crashes", cases::import_crashes::CASES),
];

impl Spec {
    /// The name as the contract has it.
    pub fn hyphened(&self) -> String {
        self.name.replace('_', "-")
    }
}

/// All cases, in the order to run them.
pub fn list() -> Vec<TestCase> {
    let all = SECTIONS
        .iter()
        .flat_map(|(section, specs)| specs.iter().map(move |spec| (section, spec)));
    all.map(|(section, spec)| TestCase {
        name: spec.hyphened(),
        summary: spec.summary.to_owned(),
        section: (*section).to_owned(),
        needs: spec.needs,
        phases: spec.steps.iter().map(|step| step.phase).collect(),
    })
    .collect()
}

/// Runs one phase of a case.
pub fn run(name: &str, phase: u32, seed: u64) -> Outcome {
    let mut specs = SECTIONS.iter().flat_map(|(_, specs)| *specs);
    let Some(spec) = specs.find(|spec| spec.hyphened() == name) else {
        return failed("a case that list-cases names", format!("{name:?}")).into();
    };
    let Some(step) = spec.steps.get(phase as usize) else {
        let phases = spec.steps.len();
        return failed(
            format!("a phase below {phases}, which is how many {name} has"),
            phase.to_string(),
        )
        .into();
    };
    let capabilities = store::capabilities();
    if let Some(reason) = spec.needs.and_then(|need| missing(need, &capabilities)) {
        return Stop::Skipped(reason).into();
    }
    let mut case = Case::new(name, seed, capabilities);
    let outcome = begin(&mut case, step).and_then(|()| (step.run)(&mut case));
    let last = phase as usize + 1 == spec.steps.len();
    if last && spec.steps.len() > 1 {
        case.quotas.extend(case.namespaces.iter().cloned());
    }
    let cleared = if last { case.clear_up() } else { Ok(()) };
    match outcome.and(cleared) {
        Ok(()) => Outcome::Passed,
        Err(stop) => stop.into(),
    }
}

fn begin(case: &mut Case, step: &Step) -> Checked {
    match step.phase {
        _ if step.opens => Ok(()),
        Phase::Fresh | Phase::Killed => case.open(),
        Phase::Back => case.resume(),
        Phase::Beside => case.resume().or_else(|_| case.open()),
    }
}

fn missing(need: Capability, capabilities: &CapabilitySet) -> Option<String> {
    let (claimed, what) = match need {
        Capability::Durable => (capabilities.durable, "keep entries beyond its process"),
        Capability::Shared => (capabilities.shared, "share its data between processes"),
        Capability::Snapshot => (capabilities.snapshot, "make snapshots"),
        Capability::Blobs => (capabilities.max_blob > 0, "keep blobs"),
    };
    (!claimed).then(|| format!("the store does not claim to {what}"))
}

impl From<Stop> for Outcome {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Failed(failure) => Self::Failed(failure),
            Stop::Skipped(reason) => Self::Skipped(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_lowercase_words() {
        let mut names = BTreeSet::new();
        for case in list() {
            let words = case
                .name
                .split('-')
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()));
            assert!(words && case.name.len() <= 80, "{}", case.name);
            assert!(names.insert(case.name.clone()), "{} twice", case.name);
        }
        assert!(names.len() >= 120);
    }

    #[test]
    fn every_case_can_be_run_and_says_what_it_is() {
        for case in list() {
            assert!(!case.summary.is_empty() && !case.summary.contains('\n'));
            assert_eq!(case.phases[0], Phase::Fresh, "{}", case.name);
            let crosses = case.phases.len() > 1;
            assert!(!crosses || case.needs.is_some(), "{}", case.name);
            let dies = case.phases.contains(&Phase::Killed);
            assert!(!dies || case.phases.last() == Some(&Phase::Fresh));
        }
    }

    #[test]
    fn an_unknown_case_fails() {
        assert!(matches!(run("no-such-case", 0, 0), Outcome::Failed(_)));
        let first = &list()[0];
        assert!(matches!(run(&first.name, 9, 0), Outcome::Failed(_)));
    }
}
