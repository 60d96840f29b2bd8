//! `explain`.

use serde_json::{Value, json};

use crate::Folder;

#[test]
fn the_rule_and_the_candidates_are_told() {
    let folder = Folder::new();
    folder.put("What is it?", "A cache.", "[1, 0, 0]");
    folder.put("What was it?", "[ERROR] none", "[0.99, 0.1, 0]");
    folder.put("Who?", "Nobody.", "[0, 1, 0]");
    let explain = |more: &[&str]| folder.json(&[&["explain"], more].concat());

    let hit = explain(&["What would it be?", "--embedding", "[0.99, 0.1, 0]"]);
    assert_eq!(hit["outcome"], json!({"hit": true, "layer": "semantic"}));
    assert_eq!(hit["normalized"]["text"], "what would it be?");
    assert_eq!((&hit["rows"], &hit["exact"]), (&json!(3), &Value::Null));
    let verdicts: Vec<&str> = hit["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|candidate| candidate["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["refused", "answers", "below_threshold"]);
    assert_eq!(hit["candidates"][0]["accepted"], false);
    assert!(
        hit["rule"]
            .as_str()
            .unwrap()
            .contains("entry 1 is the most similar")
    );

    let exact = explain(&["WHO?", "--embedding", "[1, 0, 0]", "--limit", "1"]);
    assert_eq!(exact["outcome"]["layer"], "exact");
    assert_eq!(exact["exact"]["query"], "Who?");
    assert_eq!(exact["candidates"].as_array().unwrap().len(), 1);

    let miss = folder.mneme(&["explain", "x", "--embedding", "[0, 0, 1]", "-t", "0.5"]);
    assert_eq!(miss.code, 1);
    for part in [
        "miss: below_threshold",
        "the threshold is 0.5",
        "What was it?",
        "refuses",
    ] {
        assert!(miss.stdout.contains(part), "{part}: {}", miss.stdout);
    }
    // No vector, no candidates: said, and no error.
    let none = folder.mneme(&["explain", "y"]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("pass the embedding"), "{none:?}");
    assert!(none.stdout.contains("embedder_failure"));

    let stats = folder.json(&["stats"]);
    assert_eq!(
        (&stats["entries"], &stats["counters"]["misses"]),
        (&json!(3), &json!(0))
    );
    let (kind, _) = folder
        .mneme(&["--json", "explain", "x", "--limit", "0"])
        .error();
    assert_eq!(kind, "usage");
}
