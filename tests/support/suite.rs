//! A test program whose tests may lack what they need: a server, Python, a browser.
//!
//! Such a test takes what it needs as arguments, which the suite provides. Where one is
//! missing, the test is shown as ignored, with the reason; with `MNEME_REQUIRE_ALL=1` it fails.

use crate::children;
use crate::servers::dynamodb::DynamoDb;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::process::ExitCode;

/// Something that a test needs, and this machine may lack.
pub trait Provided: Sized {
    /// Provides it to a test of a module, or says why it is not there.
    ///
    /// # Errors
    ///
    /// Why it is not there.
    fn provide(module: &str) -> Result<Self, String>;
}

/// What a test returns that starts a server with its own options: the error is the reason
/// why it cannot run here.
pub type Ran = Result<(), String>;

/// What a test may return: nothing, or [`Ran`].
pub trait Outcome {
    /// As [`Ran`].
    fn ran(self) -> Ran;
}

impl Outcome for () {
    fn ran(self) -> Ran {
        Ok(())
    }
}

impl Outcome for Ran {
    fn ran(self) -> Ran {
        self
    }
}

/// A function that is a test, with up to three arguments that are [`Provided`].
pub trait Function<Arguments>: Copy + Send + 'static {
    /// Calls it with what it needs.
    ///
    /// # Errors
    ///
    /// Why it cannot run here.
    fn call(self, module: &str) -> Ran;
}

macro_rules! function_of {
    ($($argument:ident)*) => {
        impl<F, O, $($argument),*> Function<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> O + Copy + Send + 'static,
            O: Outcome,
            $($argument: Provided,)*
        {
            #[allow(unused_variables)]
            fn call(self, module: &str) -> Ran {
                self($($argument::provide(module)?),*).ran()
            }
        }
    };
}
function_of!();
function_of!(A);
function_of!(A B);
function_of!(A B C);

/// A test of a [`Suite`]; made by [`tests!`](crate::tests).
pub struct Test {
    name: String,
    run: Box<dyn FnOnce() -> Ran + Send>,
}

impl Test {
    /// A test by the path of its module and the name of its function.
    pub fn new<A>(module: &'static str, name: &str, function: impl Function<A>) -> Self {
        // Without the name of the program, as the standard harness names tests.
        let path = module.split_once("::").map_or("", |(_, path)| path);
        Test::named(format!("{path}::{name}"), move || function.call(module))
    }

    /// A test of any name.
    pub fn named(name: String, run: impl FnOnce() -> Ran + Send + 'static) -> Self {
        Test {
            name,
            run: Box::new(run),
        }
    }
}

/// Lists the tests of a module: makes its function `tests`, which [`Suite::tests`] takes.
#[macro_export]
macro_rules! tests {
    ($($(#[$attribute:meta])* $test:ident),* $(,)?) => {
        /// The tests of this module.
        pub fn tests() -> Vec<$crate::suite::Test> {
            vec![$(
                $(#[$attribute])*
                $crate::suite::Test::new(module_path!(), stringify!($test), $test)
            ),*]
        }
    };
}

/// Lists the child processes of a module: makes its function `children`, which
/// [`Suite::children`] takes.
#[macro_export]
macro_rules! children {
    ($($child:ident),* $(,)?) => {
        /// The child processes of this module.
        pub fn children() -> Vec<(&'static str, fn())> {
            vec![$((stringify!($child), $child as fn())),*]
        }
    };
}

/// The tests of a program.
#[derive(Default)]
pub struct Suite {
    tests: Vec<Test>,
    children: Vec<(&'static str, fn())>,
}

impl Suite {
    /// No tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the tests of a module.
    #[must_use]
    pub fn tests(mut self, tests: Vec<Test>) -> Self {
        self.tests.extend(tests);
        self
    }

    /// Adds what this program does where a test of it starts it as a
    /// [child process](mod@crate::children).
    #[must_use]
    pub fn children(mut self, children: Vec<(&'static str, fn())>) -> Self {
        self.children.extend(children);
        self
    }

    /// Runs the tests that the command line asks for, several at a time.
    ///
    /// # Panics
    ///
    /// In a child process that no module lists.
    pub fn run(self) -> ExitCode {
        if let Some(name) = children::asked_for() {
            let child = self.children.iter().find(|(child, _)| *child == name);
            child
                .unwrap_or_else(|| panic!("no child is named {name}"))
                .1();
            return ExitCode::SUCCESS;
        }
        let trials = self.tests.into_iter().map(|test| {
            Trial::ignorable_test(test.name, move || match (test.run)() {
                Ok(()) => Ok(Completion::Completed),
                Err(reason) if every_test_is_required() => Err(Failed::from(format!(
                    "MNEME_REQUIRE_ALL=1, and this test cannot run: {reason}"
                ))),
                Err(reason) => Ok(Completion::ignored_with(reason)),
            })
        });
        let end = libtest_mimic::run(&Arguments::from_args(), trials.collect());
        DynamoDb::end_shared();
        end.exit_code()
    }
}

/// Whether `MNEME_REQUIRE_ALL=1` asks for every test.
pub fn every_test_is_required() -> bool {
    std::env::var_os("MNEME_REQUIRE_ALL").is_some_and(|value| value == "1")
}
