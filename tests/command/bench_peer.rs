//! `mneme bench` beside mneme-cache.

use mneme_tests::{kept_folder, python, skip};
use serde_json::Value;
use std::process::Command;

/// What a cache is measured at.
const WORKS: [&str; 8] = [
    "exact-hit",
    "semantic-hit",
    "semantic-miss",
    "put",
    "tenant-hit",
    "open",
    "dump-gzip-9",
    "load-gzip-9",
];

#[test]
fn ours_and_mneme_cache_are_measured_side_by_side() {
    let python = match python::peer() {
        Ok(python) => python,
        Err(reason) => return skip(reason),
    };
    // Built for the tests of its own package.
    let program = std::env::current_exe().expect("this program has a path");
    let name = format!("mneme{}", std::env::consts::EXE_SUFFIX);
    let Some(command) = program
        .ancestors()
        .skip(1)
        .map(|folder| folder.join(&name))
        .take(2)
        .find(|path| path.is_file())
    else {
        return skip("the mneme command is not built: cargo build --release --package mneme");
    };
    let done = Command::new(command)
        .args([
            "--json", "bench", "--suite", "all", "--sizes", "300", "--dims", "48",
        ])
        .args(["--queries", "20", "--peers", "mneme-cache", "--python"])
        .arg(python)
        .arg("--dir")
        .arg(kept_folder())
        .output()
        .expect("the command runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&done.stdout).expect("it prints JSON");
    let rows = report["rows"].as_array().expect("it has rows");
    for work in WORKS {
        let row = rows.iter().find(|row| row["work"] == work);
        let row = row.unwrap_or_else(|| panic!("no {work}: {report:#}"));
        assert_eq!(row["peer"], "mneme-cache numpy", "{row}");
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key}: {row}"));
        let ratio = number("peer_p50_us") / number("ours_p50_us");
        assert!((number("ratio") / ratio - 1.0).abs() < 1e-9, "{row}");
    }
    let hit = rows
        .iter()
        .find(|row| row["work"] == "semantic-hit")
        .expect("a hit");
    assert_eq!(
        (&hit["recall"], &hit["peer_recall"]),
        (&1.0.into(), &1.0.into())
    );
    assert_eq!(report["versions"]["mneme-cache"], "1.0.1");
    assert_eq!(report["notes"], serde_json::json!([]));
}
