//! `conformance`.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Folder;

/// A case that every store goes through.
const CASE: &str = "a-call-takes-at-least-one-entry";
/// The embedder that the battery leaves in a store that had none.
const EMBEDDER: &str = "vectors:mneme-conformance@1,8";

#[test]
fn stores_conform() {
    let folder = Folder::new();
    for store in ["memory:", "sqlite:judged.db"] {
        let report = folder.json(&["--store", store, "conformance", "--seed", "0x2a"]);
        let cases = report["cases"].as_array().unwrap();
        let failed: Vec<&Value> = cases.iter().filter(|c| c["outcome"] == "failed").collect();
        assert!(failed.is_empty(), "{store}: {failed:#?}");
        assert_eq!(report["store"], store.split(':').next().unwrap());
        assert_eq!(report["seed"], "0x2a");
        let summary = &report["summary"];
        let counts = ["passed", "failed", "skipped"].map(|name| summary[name].as_u64().unwrap());
        assert_eq!(counts.iter().sum::<u64>(), cases.len() as u64);
        let skipped = cases.iter().filter(|case| case["outcome"] == "skipped");
        let skipped: BTreeSet<&str> = skipped
            .filter_map(|case| case["section"].as_str())
            .collect();
        // What a store does not claim to do.
        match store {
            "memory:" => assert!(skipped.contains("snapshots"), "{skipped:?}"),
            _ => assert_eq!(skipped, BTreeSet::from(["nearest"])),
        }
        for case in cases {
            assert!(case["name"].is_string() && case["section"].is_string());
            assert_eq!(case["detail"].is_null(), case["outcome"] == "passed");
        }
    }
    let left = ["--store", "sqlite:judged.db", "--embedder", EMBEDDER];
    let stats = folder.json(&[&left[..], &["stats"]].concat());
    assert_eq!(stats["entries"], 0, "{stats}");
}

#[test]
fn cases_are_chosen_by_name() {
    let folder = Folder::new();
    let done = folder.mneme(&[
        "--store",
        "memory:",
        "conformance",
        "--case",
        "a-call-takes-*",
    ]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(
        done.stdout
            .contains("The memory store conforms: 1 case passed"),
        "{done:?}"
    );
    for (glob, said) in [("no-such-*", "matches none"), ("[", "--case")] {
        let args = [
            "--json",
            "--store",
            "memory:",
            "conformance",
            "--case",
            glob,
        ];
        let (kind, message) = folder.mneme(&args).error();
        assert_eq!(kind, "argument");
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn cases_are_listed_without_a_store() {
    let folder = Folder::new();
    let listed = folder.json(&["conformance", "--list"]);
    let names: Vec<&str> = listed["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&CASE), "{names:?}");
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    let text = folder
        .mneme(&["conformance", "--list", "--case", CASE])
        .stdout;
    assert!(text.contains(CASE) && text.lines().count() == 2, "{text}");
    assert!(!folder.path("mneme.db").exists());
}

#[test]
fn a_store_must_be_named_and_the_seed_a_number() {
    let folder = Folder::new();
    let (kind, message) = folder.mneme(&["--json", "conformance"]).error();
    assert_eq!(kind, "argument");
    assert!(message.contains("--store"), "{message}");
    let bad = ["--json", "--store", "memory:", "conformance", "--seed", "x"];
    assert_eq!(folder.mneme(&bad).error().0, "usage");
    let secret = ["--json", "--store", "mysql://u:secret@h/x", "conformance"];
    let (kind, message) = folder.mneme(&secret).error();
    assert_eq!(kind, "argument");
    assert!(!message.contains("secret"), "{message}");
}

/// A file that is no database: every case that opens it fails.
#[test]
fn a_store_that_fails_is_told_by_exit_code_and_case() {
    let folder = Folder::new();
    folder.write("text.db", "not a database, by any means; ".repeat(40));
    let args = [
        "--store",
        "sqlite:text.db",
        "conformance",
        "--case",
        "insert-*",
    ];
    let done = folder.mneme(&args);
    assert_eq!(done.code, 1, "{done:?}");
    for part in [
        "failed: insert-",
        "expected",
        "actual",
        "DOES NOT CONFORM",
        "--seed 0x1",
    ] {
        assert!(done.stdout.contains(part), "{part}: {}", done.stdout);
    }
    let report = folder.mneme(&[&["--json"], &args[..]].concat());
    assert_eq!(report.code, 1, "{report:?}");
    let failed = &report.json()["cases"][0];
    assert_eq!(failed["outcome"], "failed");
    assert!(
        failed["detail"].as_str().unwrap().contains("text.db"),
        "{failed}"
    );
}
