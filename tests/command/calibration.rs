//! `calibrate` and `replay`.

use std::fs;

use serde_json::{Value, json};

use crate::{Done, Folder};

/// Ten pairs of each kind, which the bundled encoder tells apart but for one.
fn pairs() -> Vec<(String, String, bool)> {
    const TOPICS: [(&str, &str); 5] = [
        (
            "How do I reset my password?",
            "How can I reset my password?",
        ),
        ("Where is my parcel?", "Where is my parcel now?"),
        (
            "What is the capital of France?",
            "Which city is the capital of France?",
        ),
        ("How do I bake bread?", "How can I bake bread at home?"),
        ("When does the shop open?", "What time does the shop open?"),
    ];
    let mut pairs = Vec::new();
    for (n, (a, b)) in TOPICS.iter().enumerate() {
        pairs.push(((*a).to_owned(), (*b).to_owned(), true));
        let (other, _) = TOPICS[(n + 1) % TOPICS.len()];
        pairs.push(((*b).to_owned(), other.to_owned(), false));
    }
    pairs
}

fn lines(pairs: &[(String, String, bool)]) -> String {
    let line = |(a, b, same): &(String, String, bool)| json!({"a": a, "b": b, "same": same});
    pairs
        .iter()
        .map(|pair| format!("{}\n", line(pair)))
        .collect()
}

fn run(folder: &Folder, args: &[&str]) -> Done {
    folder.run("minilm", args, b"")
}

#[test]
fn the_best_threshold_is_between_the_kinds() {
    let folder = Folder::new();
    let all = pairs();
    let file = folder.write("pairs.jsonl", lines(&all));
    let done = run(
        &folder,
        &[
            "calibrate",
            &file,
            "--json",
            "--csv",
            "c.csv",
            "--plot",
            "c.svg",
        ],
    );
    assert_eq!(done.code, 0, "{done:?}");
    let report = done.json();
    assert_eq!((&report["pairs"], &report["same"]), (&json!(10), &json!(5)));
    assert_eq!(
        (&report["precision"], &report["recall"]),
        (&json!(1.0), &json!(1.0))
    );
    let threshold = report["threshold"].as_f64().unwrap();
    assert!((0.5..0.99).contains(&threshold), "{threshold}");
    let [low, high] = [0, 1].map(|at| report["f1_interval"][at].as_f64().unwrap());
    assert!(low > 0.4 && low < 0.9 && high == 1.0, "{low} to {high}");
    let curve = report["curve"].as_array().unwrap();
    assert_eq!(curve.len(), 10);
    let csv = fs::read_to_string(folder.path("c.csv")).unwrap();
    assert_eq!(csv.lines().count(), 11);
    assert!(csv.starts_with("threshold,precision,recall,f1,"));
    let svg = fs::read_to_string(folder.path("c.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("precision") && svg.contains("</svg>"));

    // Two files say the same as one.
    let unlabelled = |same: bool| -> String {
        let of_kind = all.iter().filter(|pair| pair.2 == same);
        let line = |(a, b, _): &(String, String, bool)| format!("{}\n", json!({"a": a, "b": b}));
        of_kind.map(line).collect()
    };
    let same = folder.write("same.jsonl", unlabelled(true));
    let other = folder.write("other.jsonl", unlabelled(false));
    let two = [
        "calibrate",
        "--paraphrases",
        &same,
        "--distractors",
        &other,
        "--json",
    ];
    assert_eq!(run(&folder, &two).json()["threshold"], report["threshold"]);

    let table = run(&folder, &["calibrate", &file, "--metric", "recall"]);
    assert!(table.stdout.contains(" best"), "{table:?}");
    assert!(table.stderr.is_empty(), "{table:?}");
}

#[test]
fn bounds_that_cannot_be_met_are_said() {
    let folder = Folder::new();
    let mut all = pairs();
    all.push(("Turn it on".into(), "turn it ON".into(), false));
    let file = folder.write("pairs.jsonl", lines(&all));
    let bounds = ["--min-precision", "0.99", "--min-recall", "1"];
    let done = run(
        &folder,
        &[&["--json", "calibrate", &file], &bounds[..]].concat(),
    );
    let (kind, message) = done.error();
    assert_eq!(kind, "argument");
    assert!(
        message.contains("greatest precision with that recall is 0.8"),
        "{message}"
    );
}

#[test]
fn bad_pairs_are_refused_with_their_line() {
    let folder = Folder::new();
    let good = r#"{"a":"x","b":"y","same":true}"#;
    for (text, expected) in [
        (String::new(), "has no line"),
        ("\n\n".into(), "has no line"),
        (
            format!("{good}\n{{\"a\":\"x\",\"b\":\"y\"}}\n"),
            "line 2: missing field `same`",
        ),
        (format!("\n{good}\n[1]\n"), "line 3: not a JSON object"),
        (
            format!("{good}\n{{\"a\":1,\"b\":\"y\",\"same\":true}}"),
            "line 2: invalid type",
        ),
        (
            format!("{good}\n{{\"a\":\"x\",\"b\":\"y\",\"same\":\"yes\"}}"),
            "line 2: invalid type",
        ),
        (format!("{good}\n{{\"a\":\"x\""), "line 2: EOF"),
    ] {
        let file = folder.write("bad.jsonl", text);
        let (kind, message) = folder.mneme(&["--json", "calibrate", &file]).error();
        assert_eq!(kind, "argument");
        assert!(
            message.contains(expected) && message.contains("bad.jsonl"),
            "{message}"
        );
    }
    let (kind, message) = folder.mneme(&["--json", "calibrate", "none.jsonl"]).error();
    assert!(kind == "io" && message.contains("none.jsonl"), "{message}");
    // An embedder that makes no vectors, and pairs of one kind.
    let file = folder.write("one.jsonl", good);
    let (kind, _) = folder.mneme(&["--json", "calibrate", &file]).error();
    assert_eq!(kind, "embedder");
    {
        let (kind, message) = run(&folder, &["--json", "calibrate", &file]).error();
        assert_eq!(kind, "invalid_argument");
        assert!(message.contains("all pairs mean the same"), "{message}");
    }
    for wrong in [
        &["--plot", "c.png"][..],
        &["--min-recall", "2"],
        &["--metric", "accuracy"],
        &["--paraphrases", "x"],
    ] {
        let done = folder.mneme(&[&["--json", "calibrate", &file], wrong].concat());
        assert_eq!(done.code, 2, "{done:?}");
    }
    assert!(!folder.path("c.png").exists());
}

#[test]
fn a_log_is_replayed_at_every_threshold() {
    let folder = Folder::new();
    let log = [
        json!({"query": "How do I reset my password?", "label": "reset"}),
        json!({"query": "How can I reset my password?", "label": "reset"}),
        json!({"query": "how do i  reset my password?", "label": "reset"}),
        json!({"query": "How do I change my password?", "label": "change"}),
        json!({"query": "Where is my parcel?"}),
    ];
    let text: String = log.iter().map(|line| format!("{line}\n\n")).collect();
    let file = folder.write("log.jsonl", text);
    let args = [
        "replay",
        &file,
        "--thresholds",
        "1,0.6,0.6",
        "--show-wrong",
        "5",
    ];
    let more = ["--csv", "r.csv", "--plot", "r.svg"];
    let done = run(&folder, &[&["--json"], &args[..], &more].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let report = done.json();
    assert_eq!(report["questions"], 5);
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2);
    let (lax, strict) = (&outcomes[0], &outcomes[1]);
    assert_eq!(
        (&lax["threshold"], &lax["saved_calls"]),
        (&json!(0.6), &json!(3))
    );
    assert_eq!((&lax["judged"], &lax["wrong"]), (&json!(3), &json!(1)));
    let wrong = &lax["wrong_hits"][0];
    assert_eq!(wrong["line"], 7);
    assert_eq!(wrong["query"], "How do I change my password?");
    assert_eq!(wrong["answered_as"], "How do I reset my password?");
    assert_eq!((&strict["hits"], &strict["exact"]), (&json!(1), &json!(1)));
    assert_eq!(strict["wrong_hit_rate"], json!(0.0));
    assert_eq!(
        fs::read_to_string(folder.path("r.csv"))
            .unwrap()
            .lines()
            .count(),
        3
    );
    assert!(
        fs::read_to_string(folder.path("r.svg"))
            .unwrap()
            .contains("wrong-hit rate")
    );
    let table = run(&folder, &args);
    assert!(
        table.stdout.contains("60.0 %") && table.stdout.contains("line 7"),
        "{table:?}"
    );
    // The cache that the environment names is not touched.
    assert!(!folder.path("mneme.db").exists());
}

#[test]
fn a_replay_says_why_nothing_was_judged() {
    let folder = Folder::new();
    let reason = |lines: &[Value], threshold: &str| {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let file = folder.write("log.jsonl", text);
        run(&folder, &["replay", &file, "--thresholds", threshold]).stdout
    };
    let labelled = [
        json!({"query": "How do I reset my password?", "label": "reset"}),
        json!({"query": "Where is my parcel?", "label": "parcel"}),
    ];
    assert!(reason(&labelled, "1").contains("no hit to judge"));
    let bare = [
        json!({"query": "Where is it?"}),
        json!({"query": "where is it?"}),
    ];
    assert!(reason(&bare, "1").contains("the log has no label or response"));
    let half = [
        json!({"query": "Where is it?", "label": "parcel"}),
        json!({"query": "where is it?"}),
    ];
    assert!(reason(&half, "1").contains("has no label or response"));
}

#[test]
fn bad_logs_are_refused() {
    let folder = Folder::new();
    for (text, expected) in [
        ("{\"question\":\"x\"}", "line 1: unknown field"),
        (
            "{\"query\":\"x\",\"time\":2}\n{\"query\":\"x\",\"time\":1}",
            "question 2 is before",
        ),
        ("", "has no line"),
    ] {
        let file = folder.write("log.jsonl", text);
        let (_, message) = folder.mneme(&["--json", "replay", &file]).error();
        assert!(message.contains(expected), "{message}");
    }
    let file = folder.write("log.jsonl", "{\"query\":\"x\"}");
    let wrong = folder.mneme(&["--json", "replay", &file, "--thresholds", "0.5,7"]);
    assert!(wrong.error().1.contains("7 is not from -1 to 1"));
    assert!(!folder.path("mneme.db").exists());
}
