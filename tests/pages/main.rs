//! What a web page of another origin can do to `mneme serve`, in Chromium.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// The package whose browser driver is used.
const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../js");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/pages/attack.mjs");
const TOKEN: &str = "a-token-that-nobody-guesses";

fn main() -> ExitCode {
    let trial = |name: &str, token: Option<&'static str>| {
        Trial::ignorable_test(name, move || attack(token))
    };
    let trials = vec![
        trial("a_page_changes_and_learns_nothing_without_a_token", None),
        trial(
            "a_page_changes_and_learns_nothing_with_a_token",
            Some(TOKEN),
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What this machine lacks.
fn missing() -> Option<String> {
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    if !Path::new(&chromium).exists() {
        return Some(format!("no Chromium at {chromium}"));
    }
    let driver = Path::new(PACKAGE).join("node_modules/playwright-core");
    if !driver.exists() {
        return Some("no playwright-core; run `npm ci` in host/js".into());
    }
    let node = Command::new("node").arg("--version").output();
    node.err().map(|error| format!("no Node: {error}"))
}

fn attack(token: Option<&str>) -> Result<Completion, Failed> {
    if let Some(missing) = missing() {
        return match std::env::var("MNEME_REQUIRE_ALL").is_ok_and(|all| all == "1") {
            true => Err(missing.into()),
            false => Ok(Completion::ignored_with(missing)),
        };
    }
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command
        .current_dir(folder.path())
        .env_remove("MNEME_STORE")
        .env_remove("MNEME_TOKEN")
        .env("MNEME_EMBEDDER", "vectors:test-model,3")
        .args(["--json", "serve", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(token) = token {
        command.env("MNEME_TOKEN", token);
    }
    let mut server = command.spawn()?;
    let outcome = attacked(&mut server, token);
    let _ = server.kill();
    let _ = server.wait();
    outcome.map(|()| Completion::Completed)
}

/// Runs the script against the server.
fn attacked(server: &mut std::process::Child, token: Option<&str>) -> Result<(), Failed> {
    let stdout = server.stdout.take().ok_or("no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let told: Value = serde_json::from_str(&line)?;
    let url = told["listening"].as_str().ok_or("no address")?;
    let mut script = Command::new("node");
    script.current_dir(PACKAGE).arg(SCRIPT).arg(url).args(token);
    let output = script.output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match output.status.success() {
        true => {
            println!("{}", said.trim_end());
            Ok(())
        }
        false => Err(said.into_owned().into()),
    }
}
