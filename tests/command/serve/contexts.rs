//! Contexts, tags, listing and erasing.

use serde_json::{Value, json};

use super::{Server, put};
use crate::Folder;

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
        let body = with(json!({"query": "x", "embedding": [1, 0, 0]}), more);
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
