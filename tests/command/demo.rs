//! `demo`.

use std::fs;

use crate::Folder;

#[test]
fn the_demo_is_worth_watching() {
    let folder = Folder::new();
    let done = folder.run("minilm", &["demo"], b"");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(!done.stdout.contains('\x1b'), "colour without a terminal");
    let report = folder.run("minilm", &["--json", "demo"], b"").json();
    assert_eq!(report["filled"]["entries"], 40);
    let questions = report["questions"].as_array().unwrap();
    for question in questions {
        match question["kind"].as_str().unwrap() {
            "same" => assert_eq!(question["layer"], "exact", "{question}"),
            "unrelated" => assert_eq!(question["hit"], false, "{question}"),
            "reworded" if question["hit"] == true => {
                assert_eq!(question["right"], true, "{question}")
            }
            _ => {}
        }
    }
    assert!(
        report["totals"]["hits_semantic"].as_u64().unwrap() >= 6,
        "{}",
        report["totals"]
    );
    // It used no store but its own.
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
}
