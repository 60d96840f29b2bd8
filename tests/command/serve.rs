//! `serve`, asked over HTTP.

mod archives;
mod contexts;
mod crowd;
mod foreign;
mod health;
mod http2;
mod kills;
mod load;
mod refusals;
mod slow;
mod stopping;
mod tenants;

use mneme_tests::served::{
    ARCHIVE, JSON, PATIENCE, Reply, Server, TOKEN, agent, all_of, put, reply, terminate, until,
    until_it_listens_no_more,
};
use serde_json::{Value, json};

use crate::Folder;

/// Whether a put is under way, as it is for long where the file of the store is locked.
fn a_put_is_in_flight(server: &Server) -> bool {
    let metrics = server.text("/metrics");
    let puts = "mneme_http_requests_in_flight{method=\"POST\",route=\"/v1/put\"} ";
    let mut puts = metrics.lines().filter_map(|line| line.strip_prefix(puts));
    puts.any(|count| count != "0")
}

#[test]
fn everything_that_a_cache_does() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--threshold", "0.9", "--ttl", "600"]);
    let mut first = put("What is it?", [1.0, 0.0, 0.0]);
    first["metadata"] = json!({"model": "small"});
    assert_eq!(
        server.post("/v1/put", &first).ok(),
        json!({"id": 1, "exact_only": false})
    );
    let hit = server
        .post("/v1/get", &json!({"query": " WHAT is it?"}))
        .ok();
    assert_eq!(
        (&hit["hit"], &hit["layer"]),
        (&json!(true), &json!("exact"))
    );
    assert_eq!(hit["metadata"], json!({"model": "small"}));
    let similar = json!({"query": "x", "embedding": [1.0, 0.1, 0.0]});
    let hit = server.post("/v1/get", &similar).ok();
    assert_eq!((&hit["layer"], &hit["id"]), (&json!("semantic"), &json!(1)));
    let far = json!({"query": "x", "embedding": [1.0, 1.0, 0.0]});
    let miss = server.post("/v1/get", &far).ok();
    assert_eq!(miss, json!({"hit": false, "reason": "below_threshold"}));
    let lax = json!({"query": "x", "embedding": [1.0, 0.9, 0.0], "threshold": 0.7});
    assert!(server.post("/v1/get", &lax).ok()["hit"].as_bool().unwrap());
    let exact = json!({"query": "what is it?", "exact_only": true, "max_age": 600});
    let hit = server.post("/v1/get", &exact).ok();
    let ttl_left = hit["ttl_left"].as_u64().unwrap();
    assert!((1..=600).contains(&ttl_left), "{hit}");
    let age = hit["age_seconds"].as_u64().unwrap();
    let created = hit["created_at"].as_u64().unwrap();
    assert_eq!(ttl_left + age, 600, "{hit}");
    assert!(created > 1_700_000_000, "{hit}");
    let other = json!({"query": "in other words", "exact_only": true});
    let miss = server.post("/v1/get", &other).ok();
    assert_eq!(miss, json!({"hit": false, "reason": "no_match"}));
    let both = json!({"query": "x", "exact_only": true, "embedding": [1.0, 0.0, 0.0]});
    assert_eq!(server.post("/v1/get", &both).status, 400);
    let none = server.post("/v1/get", &json!({"query": "no vector"})).ok();
    assert_eq!(none["reason"], "embedder_failure");
    assert!(
        none["embedder_error"]
            .as_str()
            .unwrap()
            .contains("pass the embedding")
    );

    let why = server.post(
        "/v1/explain",
        &json!({"query": "x", "embedding": [1, 1, 0], "limit": 1}),
    );
    let why = why.ok();
    assert_eq!(why["candidates"][0]["ttl"], 600);
    assert_eq!(why["outcome"]["reason"], "below_threshold");

    // Namespaces, in the path and in the header.
    let space = "/v1/namespaces/a%2Fb%20%C3%A9";
    server
        .post(&format!("{space}/put"), &put("q", [0.0, 1.0, 0.0]))
        .ok();
    assert_eq!(
        server.post("/v1/get", &json!({"query": "q"})).ok()["hit"],
        false
    );
    let request = server
        .request("POST", "/v1/get")
        .header("content-type", "application/json")
        .header("Mneme-Namespace", "a/b é".as_bytes());
    let found = reply(server.agent.run(request.body(r#"{"query":"q"}"#).unwrap())).ok();
    assert_eq!(found["namespace"], "a/b é");
    assert_eq!(
        server.ask("GET", "/v1/namespaces").ok(),
        json!({"namespaces": ["a/b é", "default"], "next": null})
    );

    let quota = |body: &Value| {
        let request = server
            .request("PUT", &format!("{space}/quota"))
            .header("content-type", "application/json");
        reply(server.agent.run(request.body(body.to_string()).unwrap()))
    };
    quota(&json!({"max_entries": 0})).ok();
    assert_eq!(
        server.ask("GET", &format!("{space}/quota")).ok(),
        json!({"max_entries": 0})
    );
    let full = server.post(&format!("{space}/put"), &put("p", [0.0, 1.0, 0.0]));
    assert_eq!(full.refused(409), "quota_exceeded");
    quota(&json!({"max_entries": null})).ok();

    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], 2);
    let stats = server.ask("GET", &format!("{space}/stats")).ok();
    assert_eq!(
        (&stats["entries"], &stats["counters"]["hits_exact"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        server
            .post("/v1/delete", &json!({"query": "what is IT?"}))
            .ok(),
        json!({"deleted": true})
    );
    assert_eq!(
        server
            .post("/v1/delete", &json!({"query": "what is IT?"}))
            .ok(),
        json!({"deleted": false})
    );
    assert_eq!(server.ask("DELETE", space).ok(), json!({"deleted": 1}));
    let health = server.ask("GET", "/health").ok();
    assert_eq!(
        (&health["healthy"], &health["store"]),
        (&json!(true), &json!("sqlite"))
    );
    // What was counted is written when it stops.
    let counted = server.ask("GET", "/v1/stats").ok()["counters"].clone();
    assert!(server.stop());
    assert_eq!(folder.json(&["stats"])["counters"], counted);
}

#[test]
fn archives_go_out_and_come_in() {
    let folder = Folder::new();
    let server = Server::start(
        &folder,
        &["--store", "sqlite:a.db", "--max-archive", "200000"],
    );
    for n in 0..50 {
        server
            .post("/v1/put", &put(&format!("q{n}"), [1.0, n as f32, 0.0]))
            .ok();
    }
    let mut files = Vec::new();
    for query in ["", "?portable=true&level=9", "?portable=true&zstd=true"] {
        let bytes = server.dump(query);
        let name = folder.write("archive", &bytes);
        let summary = folder.json(&["inspect", &name]);
        assert_eq!(summary["manifest"]["embedder_fingerprint"], "test-model");
        files.push(bytes);
    }
    let other = Server::start(&folder, &["--store", "memory:"]);
    let load = Server::load;
    for bytes in &files {
        assert_eq!(load(&other, "?mode=replace", bytes).ok()["entries"], 50);
    }
    assert_eq!(
        other.post("/v1/get", &json!({"query": "Q7"})).ok()["response"],
        "answer to q7"
    );
    assert_eq!(load(&other, "", &files[0]).refused(422), "checkpoint");
    assert_eq!(
        load(&other, "?mode=merge&prefix=x-", &files[1]).ok()["entries"],
        50
    );
    assert_eq!(other.ask("GET", "/v1/stats").ok()["entries"], 100);

    // What cannot be loaded changes nothing.
    let before = other.ask("GET", "/v1/stats").ok();
    let cut = &files[1][..files[1].len() / 2];
    assert_eq!(
        load(&other, "?mode=replace", cut).refused(422),
        "checkpoint"
    );
    assert_eq!(
        load(&other, "?mode=replace", b"{}").refused(422),
        "checkpoint"
    );
    assert_eq!(
        load(&other, "?mode=all", &files[0]).refused(400),
        "invalid_argument"
    );
    assert_eq!(
        load(&other, "?only=x", &files[0]).refused(400),
        "invalid_argument"
    );
    assert_eq!(
        load(&server, "?mode=replace", &vec![0; 300_000]).refused(413),
        "too_large"
    );
    assert_eq!(
        server.ask("GET", "/v1/dump?level=77").refused(400),
        "invalid_argument"
    );
    assert_eq!(other.ask("GET", "/v1/stats").ok(), before);
    assert!(other.stop() && server.stop());
    // Nothing is left of what lay between.
    let left: Vec<_> = std::fs::read_dir(folder.0.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| ["archive", "a.db"].contains(&name.to_str().unwrap())),
        "{left:?}"
    );
}

#[test]
fn the_document_and_the_metrics_are_true() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--max-namespaces", "1"]);
    let document: Value = serde_json::from_str(&server.text("/openapi.json")).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut names = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap().to_owned();
            assert!(!names.contains(&name), "{name} is not unique");
            names.push(name);
            assert!(!operation["summary"].as_str().unwrap().is_empty());
            let parameters = operation["parameters"].as_array();
            let in_path = parameters.into_iter().flatten().any(|p| p["in"] == "path");
            assert_eq!(in_path, path.contains('{'), "{path}");
            // Every route is there.
            let path = path.replace("{namespace}", "n");
            let status = server.ask_bare(&method.to_uppercase(), &path);
            assert!(![404, 405].contains(&status), "{method} {path}: {status}");
        }
    }
    assert_eq!(names.len(), 29, "{names:?}");
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }

    for namespace in ["a", "b", "c"] {
        let path = format!("/v1/namespaces/{namespace}/put");
        server.post(&path, &put("q", [1.0, 0.0, 0.0])).ok();
        server
            .post(&path.replace("put", "get"), &json!({"query": "q"}))
            .ok();
    }
    let metrics = server.text("/metrics");
    let others = metrics
        .lines()
        .find(|line| line.starts_with("mneme_hits_total{layer=\"exact\",namespace=\"\"}"));
    let named = metrics
        .lines()
        .filter(|line| line.starts_with("mneme_hits_total{"))
        .count();
    assert!(
        others.is_some_and(|line| line.ends_with(" 2")) || named == 1,
        "{metrics}"
    );
    for line in [
        "mneme_store_up 1",
        "mneme_http_requests_total{method=\"POST\",route=\"/v1/namespaces/{namespace}/put\",status=\"200\"} 3",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    assert!(!metrics.contains("namespace=\"c\""));
    assert!(server.stop());
}
