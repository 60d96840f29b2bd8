//! Beside mneme-cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Folder;

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

/// The Python of a virtual environment with mneme-cache, kept in cargo's target folder. The
/// error says why it cannot be made.
pub fn python() -> Result<PathBuf, String> {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-peer");
    let python = venv.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    if run(Command::new(&python).args(["-c", "import mneme, numpy"])).is_err() {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "mneme-cache==1.0.1", "numpy"]))?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("no Python: {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}", said.trim()))
}

pub fn ours_and_mneme_cache_are_measured_side_by_side(python: &Path) {
    let folder = Folder::new();
    let python = python.to_str().expect("its path is UTF-8");
    let report = folder.json(&[
        "--suite",
        "all",
        "--sizes",
        "300",
        "--dims",
        "48",
        "--queries",
        "20",
        "--peers",
        "mneme-cache",
        "--python",
        python,
    ]);
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
