//! The benchmark, run as a process.
//!
//! A test that lacks Python with mneme-cache is shown as ignored, with the reason; with
//! `MNEME_REQUIRE_ALL=1` it fails.

mod alone;
mod beside;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

macro_rules! trials {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$(Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
            $module::$test();
            Ok(())
        })),*]
    };
}

fn main() -> ExitCode {
    let mut trials = trials![
        alone::models_are_timed_one_by_one_and_in_batches,
        alone::every_work_is_measured_for_every_setting,
        alone::tables_markdown_and_picture,
        alone::vectors_come_from_files,
        alone::memory_has_no_files_to_open,
        alone::small_and_large_edges_work,
        alone::bad_input_is_refused_before_anything_runs,
        alone::without_python_ours_is_measured_alone_unless_peers_are_named,
    ];
    let name = "beside::ours_and_mneme_cache_are_measured_side_by_side";
    trials.push(Trial::ignorable_test(name, || match beside::python() {
        Ok(python) => {
            beside::ours_and_mneme_cache_are_measured_side_by_side(&python);
            Ok(Completion::Completed)
        }
        Err(reason) if std::env::var("MNEME_REQUIRE_ALL").is_ok_and(|all| all == "1") => {
            let why = format!("MNEME_REQUIRE_ALL=1, and this test cannot run: {reason}");
            Err(Failed::from(why))
        }
        Err(reason) => Ok(Completion::ignored_with(reason)),
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A folder to run the program in.
struct Folder(TempDir);

/// What the program left.
#[derive(Debug)]
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    fn run(&self, args: &[&str]) -> Done {
        let output = Command::new(env!("CARGO_BIN_EXE_mneme-bench"))
            .current_dir(self.0.path())
            .env_remove("MNEME_BENCH_PYTHON")
            .env("TMPDIR", self.0.path())
            .args(args)
            .output()
            .unwrap();
        Done {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs what must succeed, and reads its JSON.
    fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[&["--json"], args].concat());
        assert_eq!(done.code, 0, "{args:?}: {done:?}");
        serde_json::from_str(&done.stdout).unwrap()
    }
}

impl Done {
    /// The JSON of the error that ended the program.
    fn error(&self) -> (String, String) {
        assert_eq!((self.code, self.stdout.as_str()), (2, ""), "{self:?}");
        let value: Value = serde_json::from_str(self.stderr.trim()).unwrap();
        let text = |field: &str| value["error"][field].as_str().unwrap().to_owned();
        (text("kind"), text("message"))
    }
}
