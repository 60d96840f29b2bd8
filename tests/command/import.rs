//! `import`.

use serde_json::json;

use crate::{Folder, VECTORS};

#[test]
fn import_stops_at_the_first_bad_line() {
    let folder = Folder::new();
    let line = |query: &str| {
        format!("{{\"query\":\"{query}\",\"response\":\"r\",\"embedding\":[1,0,0]}}\n")
    };
    let file = folder.write(
        "a.jsonl",
        line("a") + "\n" + &line("b") + "{\"query\":\"c\"}\n" + &line("d"),
    );
    let (kind, message) = folder.mneme(&["--json", "import", &file]).error();
    assert_eq!(kind, "argument");
    for part in [
        "2 lines stored",
        "line 4",
        "missing field `response`",
        "--keep-going",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(folder.json(&["stats"])["entries"], 2);

    let done = folder.mneme(&["--json", "import", "--keep-going", &file]);
    assert_eq!(done.code, 2);
    let report = done.json();
    assert_eq!(
        (&report["stored"], &report["failed"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(report["errors"][0]["line"], 4);
    assert_eq!(folder.json(&["stats"])["entries"], 3);
}

#[test]
fn import_finds_the_line_that_the_cache_refuses() {
    let folder = Folder::new();
    let lines = [
        r#"{"query":"a","response":"r","embedding":[1,0,0],"namespace":"x","ttl":60,"metadata":{"k":1}}"#,
        r#"{"query":"b","response":"r","embedding":[1,0]}"#,
        r#"{"query":"c","response":"r"}"#,
        r#"{"query":"d","response":"r","embedding":[0,1,0],"namespace":""}"#,
        r#"{"query":"e","response":"r","embedding":[0,1,0]}"#,
    ];
    let done = folder.run(
        VECTORS,
        &["--json", "import", "--keep-going", "-"],
        lines.join("\n").as_bytes(),
    );
    assert_eq!(done.code, 2, "{done:?}");
    let report = done.json();
    let bad: Vec<u64> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| bad["line"].as_u64().unwrap())
        .collect();
    assert_eq!((report["stored"].as_u64(), bad), (Some(2), vec![2, 3, 4]));
    assert_eq!(
        folder.json(&["get", "A", "-n", "x"])["metadata"],
        json!({"k": 1})
    );

    let all = folder.run(VECTORS, &["import", "-"], lines[4].as_bytes());
    assert_eq!(
        (all.code, all.stdout.starts_with("1 entry stored, in ")),
        (0, true),
        "{all:?}"
    );
}
