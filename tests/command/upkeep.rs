//! The other commands on a cache, and `component`.

use std::fs;

use mneme::store::{Entry, Store};
use serde_json::json;

use crate::Folder;

#[test]
fn upkeep() {
    let folder = Folder::new();
    for (query, namespace) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let done = folder.mneme(&[
            "put",
            query,
            "r",
            "--embedding",
            "[1, 0, 0]",
            "-n",
            namespace,
        ]);
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(
        folder.json(&["namespaces"]),
        json!({"namespaces": ["x", "y"]})
    );
    assert_eq!(folder.mneme(&["namespaces"]).stdout, "x\ny\n");
    assert_eq!(
        folder.json(&["-n", "x", "delete", " A "]),
        json!({"deleted": true})
    );
    assert_eq!(folder.mneme(&["-n", "x", "delete", "a"]).code, 1);

    assert_eq!(folder.mneme(&["quota", "-n", "x"]).stdout, "none\n");
    assert_eq!(
        folder.json(&["quota", "-n", "x", "7"]),
        json!({"namespace": "x", "quota": 7})
    );
    assert_eq!(folder.mneme(&["quota", "-n", "x"]).stdout, "7\n");
    assert_eq!(folder.json(&["stats"])["namespaces"][0]["quota"], 7);
    assert_eq!(folder.mneme(&["quota", "-n", "x", "none"]).stdout, "none\n");
    let closed = folder.mneme(&["quota", "-n", "x", "0"]);
    assert_eq!(closed.stdout, "0\n");
    let refused = folder.mneme(&[
        "--json",
        "put",
        "d",
        "r",
        "--embedding",
        "[1, 0, 0]",
        "-n",
        "x",
    ]);
    assert_eq!(refused.error().0, "quota_exceeded");

    let gone = folder.mneme(&["put", "e", "r", "--embedding", "[1, 0, 0]", "--ttl", "0"]);
    assert_eq!(gone.code, 0);
    assert_eq!(
        folder.json(&["vacuum", "-n", "x", "--compact"])["deleted"],
        0
    );
    assert_eq!(
        folder.json(&["vacuum", "--compact"]),
        json!({"deleted": 1, "compacted": true})
    );

    let stats = folder.mneme(&["stats"]);
    for part in ["namespace", "x", "y", "(all)", "test-model, 3 dimensions"] {
        assert!(stats.stdout.contains(part), "{part}: {}", stats.stdout);
    }
    assert!(
        !stats.stdout.contains("more namespaces"),
        "{}",
        stats.stdout
    );
    // The default namespace has counters of what expired there.
    assert_eq!(folder.json(&["stats"])["namespace_count"], 3);
    assert_eq!(folder.json(&["stats", "-n", "y"])["entries"], 1);
    let health = folder.json(&["health", "--deep"]);
    assert_eq!(
        (&health["healthy"], &health["problems"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(
        folder.mneme(&["health"]).stdout.lines().next(),
        Some("healthy")
    );

    assert_eq!(folder.json(&["clear", "-n", "x"]), json!({"deleted": 1}));
    assert_eq!(
        folder.mneme(&["clear", "--all"]).stdout,
        "1 entry deleted\n"
    );
    assert_eq!(folder.json(&["namespaces"]), json!({"namespaces": []}));
}

#[test]
fn more_namespaces_than_statistics_list_are_in_the_sums() {
    let folder = Folder::new();
    folder.put("question", "answer", "[1, 0, 0]");
    let mut store = mneme::SqliteStore::new(folder.path("mneme.db"));
    store.open("test-model", 3).unwrap();
    let entry = store.iter_since(0, 1).unwrap().remove(0);
    let names: Vec<_> = (0..65_540).map(|n| format!("n{n:06}")).collect();
    for names in names.chunks(1000) {
        let entries = names.iter().map(|name| Entry {
            namespace: name.clone(),
            ..entry.clone()
        });
        store.insert(entries.collect()).unwrap();
    }
    store.close().unwrap();
    let listed = folder.mneme(&["namespaces"]).stdout;
    assert!(
        listed.lines().eq(["default"]
            .into_iter()
            .chain(names.iter().map(String::as_str)))
    );
    let stats = folder.json(&["stats"]);
    assert_eq!(stats["namespaces"].as_array().unwrap().len(), 65_536);
    assert_eq!(
        (&stats["namespace_count"], &stats["entries"]),
        (&json!(65_541), &json!(65_541))
    );
    let text = folder.mneme(&["stats"]).stdout;
    assert!(text.contains(" 5 more namespaces are in the sums only; --namespace shows"));
}

#[test]
fn warming_up_keeps_the_index_for_those_who_come_next() {
    let folder = Folder::new();
    folder.put("question", "answer", "[1, 0, 0]");
    assert_eq!(folder.mneme(&["delete", "question"]).code, 0);
    assert_eq!(
        folder.json(&["warm-up"]),
        json!({"rows": 0, "index_bytes": 0})
    );
    let lines: String = (0..1500)
        .map(|n| {
            let angle = f64::from(n) / 300.0;
            let entry = json!({"query": format!("q{n}"), "response": "r", "embedding": [angle.cos(), angle.sin(), 0.1]});
            format!("{entry}\n")
        })
        .collect();
    fs::write(folder.path("lines"), lines).unwrap();
    assert_eq!(folder.mneme(&["import", "lines"]).code, 0);
    let done = folder.json(&["warm-up"]);
    assert_eq!(done["rows"], 1500);
    assert!(done["index_bytes"].as_u64().unwrap() > 1500 * 12);
    assert!(
        folder
            .mneme(&["warm-up"])
            .stdout
            .starts_with("1500 rows ready")
    );
    let found = folder.json(&["get", "in other words", "--embedding", "[1, 0, 0.1]"]);
    assert_eq!(found["hit"], true, "{found}");
    let mut store = mneme::SqliteStore::new(folder.path("mneme.db"));
    store.open("test-model", 3).unwrap();
    let blobs = store.list_blobs().unwrap();
    assert!(blobs.contains(&"index/head".to_owned()), "{blobs:?}");
}

#[test]
fn the_component_is_written() {
    let folder = Folder::new();
    let done = folder.json(&["component", "-o", "mneme.wasm"]);
    let bytes = fs::read(folder.path("mneme.wasm")).unwrap();
    assert_eq!(done["bytes"], bytes.len());
    assert_eq!(bytes[..8], *b"\0asm\x0d\0\x01\0");
    assert_eq!(bytes, mneme::component());
}
