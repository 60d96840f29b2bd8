//! Which package sees which, as cargo resolves it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The names of the packages that this one is built from, itself included.
fn packages(package: &str, features: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(["tree", "--offline", "--package", package])
        .args([
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])
        .args(features)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree -p {package}: {error}");
    let names: BTreeSet<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    assert!(names.contains(package), "{names:?}");
    names
}

/// Those of this repository.
fn ours(names: &BTreeSet<String>) -> BTreeSet<&str> {
    let names = names.iter().map(String::as_str);
    names
        .filter(|name| *name == "mneme" || name.starts_with("mneme-"))
        .collect()
}

#[test]
fn the_library_brings_no_server_no_command_line_and_no_picture() {
    let names = packages("mneme", &[]);
    let unwanted = [
        "clap",
        "axum",
        "plotters",
        "ndarray",
        "tokio-postgres",
        "redis",
    ];
    for name in &names {
        assert!(
            !unwanted.contains(&name.as_str()) && !name.starts_with("aws-"),
            "{name}"
        );
    }
    let expected = [
        "mneme",
        "mneme-component",
        "mneme-encoder",
        "mneme-sqlite",
        "mneme-store",
    ];
    assert_eq!(ours(&names), BTreeSet::from(expected));
}

#[test]
fn the_encoder_knows_no_cache() {
    let names = packages("mneme-encoder", &["--all-features"]);
    assert_eq!(ours(&names), BTreeSet::from(["mneme-encoder"]));
}

#[test]
fn the_contract_of_stores_knows_no_cache() {
    let names = packages("mneme-store", &["--all-features"]);
    assert_eq!(ours(&names), BTreeSet::from(["mneme-store"]));
}

#[test]
fn a_store_knows_the_contract_alone() {
    for package in [
        "mneme-sqlite",
        "mneme-redis",
        "mneme-postgres",
        "mneme-dynamodb",
    ] {
        let names = packages(package, &["--all-features"]);
        assert_eq!(ours(&names), BTreeSet::from([package, "mneme-store"]));
    }
}

#[test]
fn no_host_sees_the_source_of_the_guest() {
    let hosts = [
        "mneme-component",
        "mneme-conformance",
        "mneme",
        "mneme-command",
    ];
    for package in hosts {
        let names = packages(package, &["--all-features"]);
        assert!(!names.contains("mneme-guest"), "{package}");
    }
}

/// Every package that is built for the host.
const PACKAGES: [&str; 13] = [
    "mneme-component",
    "mneme-encoder",
    "mneme-store",
    "mneme-sqlite",
    "mneme-redis",
    "mneme-postgres",
    "mneme-dynamodb",
    "mneme",
    "mneme-conformance",
    "mneme-command",
    "mneme-bench",
    "mneme-tests",
    "mneme-examples",
];

/// The packages that see one.
fn seeing(name: &str) -> Vec<&'static str> {
    let sees = |package: &&str| packages(package, &["--all-features"]).contains(name);
    PACKAGES.into_iter().filter(sees).collect()
}

#[test]
fn only_the_command_serves_and_only_the_benchmark_measures() {
    assert_eq!(seeing("axum"), ["mneme-command"]);
    assert_eq!(seeing("mneme-command"), ["mneme-command"]);
    assert_eq!(seeing("ndarray"), ["mneme-bench"]);
    assert_eq!(seeing("plotters"), ["mneme-command", "mneme-bench"]);
}

#[test]
fn only_programs_read_command_lines() {
    // The harness of the battery does, as part of somebody's tests.
    let harness = "mneme-conformance";
    for package in seeing("clap") {
        let is_program = ["mneme-command", "mneme-bench"].contains(&package);
        let names = packages(package, &["--all-features"]);
        assert!(is_program || names.contains(harness), "{package}");
    }
}

/// Programs with a `main` function of their tests' suite drop what `#[test]` marks.
#[test]
fn no_test_is_marked_where_a_mark_has_no_effect() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let with_suite = std::fs::read_dir(tests).unwrap().filter_map(|folder| {
        let main = folder.unwrap().path().join("main.rs");
        let text = std::fs::read_to_string(&main).ok()?;
        // In two parts, so that this file does not have it.
        let suite = concat!("Suite", "::new()");
        text.contains(suite).then_some(main)
    });
    let mut looked_at = 0;
    for main in with_suite {
        for file in std::fs::read_dir(main.parent().unwrap()).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            looked_at += 1;
            let marked = text.lines().find(|line| {
                let line = line.trim();
                line == "#[test]" || (line.starts_with("#[") && line.contains("::test"))
            });
            assert_eq!(marked, None, "{}", path.display());
        }
    }
    assert!(looked_at > 40, "{looked_at}");
}

/// The statements in a source file that make tables and indexes, with single spaces.
fn statements(file: &str) -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join(file)).unwrap();
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("CREATE ") {
        // A statement is a string by itself, and none of them has an escaped character.
        let quote = text[..at].chars().next_back().unwrap();
        if !['"', '\'', '`'].contains(&quote) {
            continue;
        }
        let statement = text[at..].split(quote).next().unwrap();
        let words: Vec<_> = statement.split_whitespace().collect();
        if words.len() > 2 {
            found.insert(words.join(" ").replace("IF NOT EXISTS ", ""));
        }
    }
    found
}

/// A SQLite file belongs to both hosts, and each refuses statements that it does not know.
#[test]
fn both_hosts_know_the_same_tables_of_sqlite() {
    let rust = statements("host/stores/sqlite/src/schema.rs");
    let javascript = statements("host/js/src/stores/sql/schema.ts");
    let names = |of: &BTreeSet<String>| -> BTreeSet<String> {
        let third = |one: &String| one.split([' ', '(']).nth(2).unwrap().to_owned();
        of.iter().map(third).collect()
    };
    assert!(names(&rust).contains("entries") && names(&rust).contains("idx_entries_expiry"));
    assert_eq!(names(&javascript), names(&rust));
    assert_eq!(javascript, rust);
    assert_eq!(
        rust.len(),
        names(&rust).len(),
        "one statement a name: {rust:?}"
    );
}
