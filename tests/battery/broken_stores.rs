//! The judge of stores, judged: the conformance battery must fail every store that is broken
//! on purpose, for the fault that it has, and pass the same store without it.

use mneme::conformance::{Battery, Case, Outcome, Processes, Seed, Stores, Writer};
use mneme_tests::broken::{
    Base, Known, all_known, hanging, healthy, panicking, without_blobs, without_changes,
};
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

mneme_tests::tests![
    a_store_without_a_fault_passes,
    every_fault_is_failed_by_the_case_that_names_it,
    faults_have_names_of_their_own,
    every_case_is_failed_by_some_store,
    a_panic_is_a_failure_that_says_so,
    a_call_that_does_not_return_is_a_failure_that_says_so,
];

/// The argument that makes this program the process which a case kills.
const WRITER: &str = "write-to-a-broken-store";

/// The battery, with less patience than usual: a fault may keep a case from ending.
fn battery() -> Battery {
    Battery::new().unwrap().time_limit(Duration::from_secs(10))
}

/// A store with a fault, on its own file.
struct Judged {
    known: Arc<Known>,
    folder: TempDir,
}

impl Judged {
    fn new(known: Known) -> Self {
        Judged {
            known: Arc::new(known),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// The outcome of a case.
    fn run(&self, battery: &Battery, case: &Case) -> Outcome {
        let known = Arc::clone(&self.known);
        let path = self.folder.path().join("broken.db");
        let place = path.display().to_string();
        let writers = Processes::this_program([WRITER]);
        let stores = Stores::boxed(move || Ok(known.store(&path)))
            .processes(writers.told(&self.known.name, place));
        battery.run(case, Seed::default(), &stores)
    }

    /// The names of those of the cases that fail.
    fn failed<'a>(
        &self,
        battery: &Battery,
        cases: impl IntoIterator<Item = &'a Case>,
    ) -> BTreeSet<String> {
        let cases = cases.into_iter();
        cases
            .filter(|case| self.run(battery, case).is_failed())
            .map(|case| case.name.clone())
            .collect()
    }
}

/// Whether this process is one that a case kills.
pub fn is_writer() -> bool {
    std::env::args().nth(1).as_deref() == Some(WRITER)
}

/// Writes to the store that the case names until it is killed.
pub fn write() -> ExitCode {
    let writer = Writer::of_this_process().expect("a case has started this process");
    let known = all_known()
        .into_iter()
        .find(|known| known.name == writer.store())
        .unwrap_or_else(|| healthy(Base::Sqlite));
    let store = known.store(writer.place().as_ref());
    writer.write(Ok(store))
}

/// Which cases a fault is failed by.
struct Verdict {
    fault: String,
    caught_by: &'static str,
    failed: BTreeSet<String>,
}

/// The verdicts on all faults, found once for all tests.
///
/// Those before a memory store go through all cases. A case takes longer on a file, so that
/// the others go through the cases that are left, and the ones they are expected to fail.
fn verdicts() -> &'static [Verdict] {
    static VERDICTS: OnceLock<Vec<Verdict>> = OnceLock::new();
    VERDICTS.get_or_init(|| {
        let battery = battery();
        let (quick, slow): (Vec<_>, Vec<_>) = all_known()
            .into_iter()
            .partition(|known| known.base == Base::Memory);
        let mut verdicts = judge(&battery, quick, |_, _| true);
        let failed: BTreeSet<_> = verdicts.iter().flat_map(|v| &v.failed).cloned().collect();
        verdicts.extend(judge(&battery, slow, |known, case| {
            case.name == known.caught_by || !failed.contains(&case.name)
        }));
        verdicts
    })
}

/// The verdicts on some faults, by the cases that are chosen.
fn judge(
    battery: &Battery,
    faults: Vec<Known>,
    chosen: impl Fn(&Known, &Case) -> bool + Sync,
) -> Vec<Verdict> {
    let judged: Vec<Judged> = faults.into_iter().map(Judged::new).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(store) = judged.get(next.fetch_add(1, Ordering::Relaxed)) {
            let known = &*store.known;
            let cases = battery.cases().iter().filter(|case| chosen(known, case));
            found.push(Verdict {
                fault: known.name.clone(),
                caught_by: known.caught_by,
                failed: store.failed(battery, cases),
            });
        }
        found
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let found = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap());
        found.collect()
    })
}

fn a_store_without_a_fault_passes() {
    let battery = battery();
    for base in [Base::Memory, Base::Sqlite] {
        for known in [healthy(base), without_blobs(base), without_changes(base)] {
            let failed = Judged::new(known).failed(&battery, battery.cases());
            assert!(failed.is_empty(), "{base:?}: {failed:#?}");
        }
    }
}

fn every_fault_is_failed_by_the_case_that_names_it() {
    let mut missed = Vec::new();
    for Verdict {
        fault,
        caught_by,
        failed,
    } in verdicts()
    {
        if !failed.contains(*caught_by) {
            missed.push(format!(
                "{fault}: {caught_by} should fail, and what does is {failed:?}"
            ));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

fn faults_have_names_of_their_own() {
    let faults = all_known();
    let names: BTreeSet<_> = faults.iter().map(|known| &known.name).collect();
    assert_eq!(names.len(), faults.len());
}

fn every_case_is_failed_by_some_store() {
    let battery = battery();
    let failed: BTreeSet<_> = verdicts().iter().flat_map(|v| &v.failed).collect();
    let names = battery.cases().iter().map(|case| &case.name);
    let never: Vec<_> = names.filter(|name| !failed.contains(name)).collect();
    assert!(never.is_empty(), "no broken store fails {never:#?}");
}

fn a_panic_is_a_failure_that_says_so() {
    let battery = battery();
    let judged = Judged::new(panicking());
    let failed = judged.failed(&battery, battery.cases());
    let case = case(&battery, judged.known.caught_by);
    match judged.run(&battery, case) {
        Outcome::Failed(failure) => {
            assert!(failure.actual.contains("panicked: no row"), "{failure:?}");
        }
        outcome => panic!("{outcome:?}"),
    }
    assert!(failed.len() < battery.cases().len() / 2, "{failed:?}");
}

fn a_call_that_does_not_return_is_a_failure_that_says_so() {
    let battery = battery().time_limit(Duration::from_secs(1));
    let judged = Judged::new(hanging());
    match judged.run(&battery, case(&battery, judged.known.caught_by)) {
        Outcome::Failed(failure) => {
            assert!(failure.actual.contains("has not returned"), "{failure:?}");
        }
        outcome => panic!("{outcome:?}"),
    }
}

fn case<'a>(battery: &'a Battery, name: &str) -> &'a Case {
    let found = battery.cases().iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("no case is named {name}"))
}
