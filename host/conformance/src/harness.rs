//! The battery as a test program, with one test for each case.

use std::any::Any;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use super::report::SEED;
use super::{Battery, Case, Outcome, Processes, Seed, Stores, Writer};
use mneme_store::{self as store, Store};

/// The exit code of a run that could not start.
const ERROR: u8 = 2;

/// Judges one store, as the `main` of a test program: reads the command line of `cargo test`,
/// runs one test for each case, and returns the exit code.
///
/// `make` makes a new, closed store on the same data each time, in this process and in others
/// that the harness starts from the same program. See the crate's documentation.
pub fn test<S: Store + 'static>(
    make: impl Fn() -> store::Result<S> + Send + Sync + 'static,
) -> ExitCode {
    Harness::new().store("", make).run()
}

/// Judges one or more stores, as the `main` of a test program.
///
/// ```no_run
/// use mneme::conformance::Harness;
/// # use mneme::store::{MemoryStore, MemoryStore as MyStore};
///
/// fn main() -> std::process::ExitCode {
///     Harness::new()
///         .store("memory", || Ok(MemoryStore::new()))
///         .store_at(
///             "mine",
///             || {
///                 let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
///                 let place = folder.path().display().to_string();
///                 Ok((place, folder))
///             },
///             |place| Ok(MyStore::new(/* place */)),
///         )
///         .run()
/// }
/// ```
#[derive(Debug, Default)]
pub struct Harness {
    stores: Vec<Named>,
    require_all: bool,
}

/// Makes a store at a place.
type Connect = dyn Fn(&str) -> store::Result<Box<dyn Store>> + Send + Sync;
/// Prepares a place, and gives what keeps it there.
type Prepare = dyn FnOnce() -> Result<(String, Box<dyn Any + Send>), String> + Send;

/// A store with its name.
#[derive(Clone)]
struct Named {
    name: Arc<str>,
    /// Locked while a case runs: no other may write to the store.
    place: Arc<Mutex<Place>>,
    connect: Arc<Connect>,
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// Where a store's data is.
enum Place {
    /// No case has asked for it yet.
    Unprepared(Box<Prepare>),
    There {
        place: String,
        _kept: Box<dyn Any + Send>,
    },
    Missing(String),
}

impl Harness {
    /// Without stores.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a store whose data is at a place that every process knows. The tests' names begin
    /// with `name::`, unless the name is empty.
    #[must_use]
    pub fn store<S: Store + 'static>(
        self,
        name: &str,
        make: impl Fn() -> store::Result<S> + Send + Sync + 'static,
    ) -> Self {
        self.store_at(name, || Ok((String::new(), ())), move |_| make())
    }

    /// Adds a store whose data is at a place that is only known at run time.
    ///
    /// `prepare` is called before the store's first case, and returns the place (a path, a
    /// URL) with a value that is dropped after the last test: a temporary folder, a server. If
    /// it returns an error, with the reason, the tests are ignored. `connect` makes a new,
    /// closed store at the place, in this process and in others. The place is passed privately,
    /// so it may contain a password.
    #[must_use]
    pub fn store_at<S: Store + 'static, K: Send + 'static>(
        mut self,
        name: &str,
        prepare: impl FnOnce() -> Result<(String, K), String> + Send + 'static,
        connect: impl Fn(&str) -> store::Result<S> + Send + Sync + 'static,
    ) -> Self {
        let prepare = Box::new(|| {
            let (place, kept) = prepare()?;
            Ok((place, Box::new(kept) as Box<dyn Any + Send>))
        });
        self.stores.push(Named {
            name: name.into(),
            place: Arc::new(Mutex::new(Place::Unprepared(prepare))),
            connect: Arc::new(move |place| Ok(Box::new(connect(place)?))),
        });
        self
    }

    /// Whether a store's tests fail if its place is missing, instead of being ignored. False by
    /// default.
    #[must_use]
    pub fn require_all(mut self, all: bool) -> Self {
        self.require_all = all;
        self
    }

    /// Runs the tests that the command line selects, one at a time, and returns the exit code.
    pub fn run(self) -> ExitCode {
        if let Some(writer) = Writer::of_this_process() {
            return self.write(writer);
        }
        let mut arguments = Arguments::from_args();
        // What a case says is told in its own line.
        arguments.test_threads.get_or_insert(1);
        let trials = match self.trials() {
            Ok(trials) => trials,
            Err(message) => {
                eprintln!("{message}");
                return ExitCode::from(ERROR);
            }
        };
        libtest_mimic::run(&arguments, trials).exit_code()
    }

    fn write(&self, writer: Writer) -> ExitCode {
        match self.stores.iter().find(|s| *s.name == *writer.store()) {
            Some(named) => {
                let store = (named.connect)(writer.place());
                writer.write(store)
            }
            None => {
                eprintln!("no store is named {:?} here", writer.store());
                ExitCode::from(ERROR)
            }
        }
    }

    fn trials(&self) -> Result<Vec<Trial>, String> {
        let seed = Seed::from_env()?;
        let battery = Battery::new().map_err(|error| error.to_string())?;
        let require_all = self.require_all;
        let mut trials = Vec::new();
        for named in &self.stores {
            for case in battery.cases() {
                let (battery, named, case) = (battery.clone(), named.clone(), case.clone());
                let name = named.name_of(&case);
                trials.push(Trial::ignorable_test(name, move || {
                    named.judge(&battery, &case, seed, require_all)
                }));
            }
        }
        Ok(trials)
    }
}

impl Named {
    /// The name of a case's test.
    fn name_of(&self, case: &Case) -> String {
        match &*self.name {
            "" => case.name.clone(),
            store => format!("{store}::{}", case.name),
        }
    }

    fn judge(
        &self,
        battery: &Battery,
        case: &Case,
        seed: Seed,
        require_all: bool,
    ) -> Result<Completion, Failed> {
        let mut guard = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let place = match guard.there() {
            Ok(place) => place.to_owned(),
            Err(reason) if require_all => return Err(reason.into()),
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        };
        let connect = Arc::clone(&self.connect);
        let told = Processes::this_program([""; 0]).told(&*self.name, &place);
        let stores = Stores::boxed(move || connect(&place)).processes(told);
        match battery.run(case, seed, &stores) {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
            Outcome::Failed(failure) => {
                let program = std::env::current_exe().unwrap_or_default();
                Err(format!(
                    "{}\n  expected  {}\n  actual    {}\n  phase     {} of {:?}\n  repeat    {SEED}={seed} {} --exact {}",
                    case.summary,
                    failure.expected,
                    failure.actual,
                    failure.phase,
                    case.phases,
                    program.display(),
                    self.name_of(case),
                )
                .into())
            }
        }
    }
}

impl Place {
    /// Where it is; the error says why it is not there.
    fn there(&mut self) -> Result<&str, &str> {
        if matches!(self, Place::Unprepared(_)) {
            let unprepared = Place::Missing("preparing it failed".into());
            if let Place::Unprepared(prepare) = std::mem::replace(self, unprepared) {
                *self = match prepare() {
                    Ok((place, kept)) => Place::There { place, _kept: kept },
                    Err(reason) => Place::Missing(reason),
                };
            }
        }
        match self {
            Place::There { place, .. } => Ok(place),
            Place::Missing(reason) => Err(reason),
            Place::Unprepared(_) => unreachable!("it was prepared above"),
        }
    }
}
