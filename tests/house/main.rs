//! Which package sees which, as cargo resolves it.

use std::collections::BTreeSet;
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
    let expected = ["mneme", "mneme-component", "mneme-sqlite", "mneme-store"];
    assert_eq!(ours(&names), BTreeSet::from(expected));
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

#[test]
fn the_library_does_not_see_the_command() {
    let names = packages("mneme", &["--all-features"]);
    for name in ["mneme-command", "axum"] {
        assert!(!names.contains(name), "{name}");
    }
}
