//! Contexts, tags, listing and erasing.

use serde_json::{Value, json};

use super::{Server, put};
use crate::{Folder, cannot_be_erased_whole};

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

#[test]
fn entries_are_scoped_listed_and_erased() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let entry = || put("q", [1.0, 0.0, 0.0]);
    server
        .post("/v1/put", &with(entry(), json!({"tags": ["b", "a"]})))
        .ok();
    server
        .post(
            "/v1/put",
            &with(entry(), json!({"context": "c", "tags": ["a"]})),
        )
        .ok();
    let other = "/v1/namespaces/other";
    server
        .post(
            &format!("{other}/put"),
            &with(entry(), json!({"tags": ["a"]})),
        )
        .ok();

    let ask = |more: Value| {
        let question = json!({"query": "x", "embedding": [1, 0, 0], "vetoes": []});
        let body = with(question, more);
        server.post("/v1/get", &body).ok()
    };
    assert_eq!(ask(json!({}))["tags"], json!(["a", "b"]));
    assert_eq!(ask(json!({"context": "c"}))["context"], "c");
    assert_eq!(ask(json!({"context": "d"}))["reason"], "no_match");
    assert_eq!(ask(json!({"context": "c", "tags": ["b"]}))["hit"], false);
    let why = with(
        json!({"query": "q", "embedding": [1, 0, 0]}),
        json!({"tags": ["none"]}),
    );
    let why = server.post("/v1/explain", &why).ok();
    assert_eq!(why["exact"]["verdict"], "other_tags");
    let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
    let bad = with(
        json!({"query": "q", "exact_only": true}),
        json!({"tags": many}),
    );
    assert_eq!(
        server.post("/v1/get", &bad).refused(400),
        "invalid_argument"
    );

    let list = |path: &str, body: &Value| {
        let page = server.post(path, body).ok();
        let ids = page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].clone());
        (ids.collect::<Vec<_>>(), page["next"].clone())
    };
    let none = Value::Null;
    assert_eq!(
        list("/v1/entries", &json!({})),
        (vec![json!(1), json!(2), json!(3)], none.clone())
    );
    assert_eq!(
        list(&format!("{other}/entries"), &json!({})),
        (vec![json!(3)], none.clone())
    );
    let page = json!({"filter": {"tags": ["a"]}, "limit": 2});
    assert_eq!(
        list("/v1/entries", &page),
        (vec![json!(1), json!(2)], json!(2))
    );
    let page = json!({"filter": {"context": "", "query": " Q "}, "after": 1});
    assert_eq!(list("/v1/entries", &page), (vec![json!(3)], none));
    let unknown = json!({"filter": {"tag": "a"}});
    assert_eq!(server.post("/v1/entries", &unknown).status, 400);

    let erase = |path: &str, body: Value| server.post(path, &body);
    // A list is not taken for the fields in their order.
    let list = erase("/v1/erase", json!([{}, true]));
    assert_eq!(list.refused(400), "invalid_argument");
    let bare = erase("/v1/erase", json!({}));
    assert_eq!(bare.refused(400), "invalid_argument");
    let both = erase(
        "/v1/erase",
        json!({"everything": true, "filter": {"ids": [1]}}),
    );
    assert_eq!(both.refused(400), "invalid_argument");
    let dry = erase(
        "/v1/erase",
        json!({"filter": {"tags": ["a"]}, "dry_run": true}),
    )
    .ok();
    assert_eq!(
        (&dry["ids"], &dry["dry_run"]),
        (&json!([1, 2, 3]), &json!(true))
    );
    let receipt = erase(
        &format!("{other}/erase"),
        json!({"filter": {"tags": ["a"]}}),
    )
    .ok();
    assert_eq!(
        (&receipt["ids"], &receipt["erased"]),
        (&json!([3]), &json!(1))
    );
    let delete = |context: &str| {
        let body = json!({"query": "q", "context": context});
        server.post("/v1/delete", &body).ok()
    };
    assert_eq!(delete("d"), json!({"deleted": false}));
    assert_eq!(delete("c"), json!({"deleted": true}));
    assert_eq!(ask(json!({}))["hit"], true);
    let all = erase("/v1/erase", json!({"everything": true})).ok();
    assert_eq!(all["ids"], json!([1]));
    assert_eq!(ask(json!({}))["hit"], false);
}

#[test]
fn bad_labels_and_filters_are_refused_and_change_nothing() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    let many: Vec<String> = (0..33).map(|n| n.to_string()).collect();
    let bad = [
        (
            json!({"context": "c".repeat(1025)}),
            "the context has 1025 bytes",
        ),
        (json!({"context": "a\0b"}), "U+0000"),
        (json!({"tags": many}), "33 tags; at most 32"),
        (json!({"tags": ["a", ""]}), "a tag is empty"),
        (json!({"tags": ["a", "b", "a"]}), "comes twice"),
        (
            json!({"tags": ["t".repeat(10 << 10)]}),
            "10240 bytes; at most 128",
        ),
        (json!({"tags": ["a\0b"]}), "U+0000"),
        (json!({"context": 1}), "expected a string"),
        (json!({"tags": "a"}), "expected a list"),
    ];
    let refused = |path: &str, body: &Value, says: &str| {
        let refused = server.post(path, body);
        assert_eq!(refused.refused(400), "invalid_argument", "{path} {body}");
        let message = refused.json["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{path} {body}: {message}");
        assert!(refused.json.get("receipt").is_none(), "{refused:?}");
    };
    for (labels, says) in &bad {
        let question = json!({"query": "q", "embedding": [1, 0, 0]});
        for path in ["/v1/get", "/v1/explain"] {
            refused(path, &with(question.clone(), labels.clone()), says);
        }
        let new = put("new", [0.0, 1.0, 0.0]);
        refused("/v1/put", &with(new, labels.clone()), says);
        for path in ["/v1/entries", "/v1/erase"] {
            refused(path, &json!({"filter": labels}), says);
        }
    }
    let long = json!({"query": "q", "context": "c".repeat(1025)});
    refused("/v1/delete", &long, "the context has 1025 bytes");
    let ids: Vec<u64> = (0..1025).collect();
    for (filter, says) in [
        (json!({"ids": ids}), "1025 ids; at most 1024"),
        (json!({"ids": [-1]}), "invalid value"),
        (
            json!({"ids": [9_007_199_254_740_992_u64]}),
            "an id is 9007199254740992",
        ),
        (
            json!({"min_age": 9_007_199_254_740_992_u64}),
            "min-age in seconds",
        ),
        (json!({"query": "q".repeat(40_000)}), "max-query-bytes"),
    ] {
        for path in ["/v1/entries", "/v1/erase"] {
            refused(path, &json!({"filter": filter}), says);
        }
    }
    let only_age = json!({"filter": {"min_age": 0}});
    refused("/v1/erase", &only_age, "all entries would be erased");
    refused("/v1/entries", &json!({"limit": 1025}), "1 to 1024");
    let page = server.post("/v1/entries", &json!({})).ok();
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
    assert_eq!(page["entries"][0]["context"], "");
}

#[test]
fn an_erasure_that_stops_half_way_says_what_it_has_erased() {
    let folder = Folder::new();
    let (erased, all) = cannot_be_erased_whole(&folder);
    let server = Server::start(&folder, &[]);
    let body = json!({"filter": {"tags": ["t"]}});
    let stopped = server.post("/v1/erase", &body);
    assert_eq!(stopped.refused(500), "corrupt");
    let receipt = &stopped.json["receipt"];
    assert_eq!(
        (&receipt["erased"], &receipt["dry_run"]),
        (&json!(erased), &json!(false))
    );
    assert_eq!(receipt["ids"].as_array().unwrap().len() as u64, erased);
    assert!(receipt["version_after"].as_u64() > receipt["version_before"].as_u64());
    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], all - erased);
    let again = server.post("/v1/erase", &body);
    assert_eq!(again.refused(500), "corrupt");
    assert!(
        again.json.get("receipt").is_none(),
        "nothing was erased: {again:?}"
    );

    let document: Value = serde_json::from_str(&server.text("/openapi.json")).unwrap();
    let described = &document["components"]["schemas"]["Fault"]["properties"]["receipt"];
    let text = described.to_string();
    assert!(text.contains("#/components/schemas/Receipt"), "{text}");
    assert!(text.contains("before it stopped"), "{text}");
    let required = &document["components"]["schemas"]["Fault"]["required"];
    assert_eq!(required, &json!(["error"]));
}

#[test]
fn all_entries_together_have_no_more_bytes_than_are_allowed() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--max-bytes", "20000"]);
    let response = "r".repeat(1_000);
    for n in 0..60 {
        let entry =
            json!({"query": format!("question {n}"), "response": response, "exact_only": true});
        server.post("/v1/put", &entry).ok();
    }
    let stats = server.ask("GET", "/v1/stats").ok();
    assert_eq!(stats["max_bytes"], 20_000);
    let bytes = stats["bytes"].as_u64().unwrap();
    assert!((10_000..=20_000).contains(&bytes), "{stats}");
    let entries = stats["entries"].as_u64().unwrap();
    assert!((10..20).contains(&entries), "{stats}");
    let found = |query: &str| {
        let body = json!({"query": query, "exact_only": true});
        server.post("/v1/get", &body).ok()["hit"].clone()
    };
    assert_eq!(
        (found("question 59"), found("question 1")),
        (json!(true), json!(false))
    );
    assert!(server.stop());
    let refused = folder.mneme(&["serve", "--listen", "127.0.0.1:0", "--max-bytes", "0"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("max-bytes is 0"), "{refused:?}");
}
