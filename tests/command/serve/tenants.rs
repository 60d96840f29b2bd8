//! Tenants with nearly the same names, as the path and the header say them.

use mneme_tests::tenants::{names, refused};
use serde_json::json;

use super::{JSON, Server, put, reply};
use crate::Folder;

/// A route of a namespace, every byte of its name escaped.
fn path(name: &str, route: &str) -> String {
    let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("/v1/namespaces/{name}/{route}")
}

#[test]
fn tenants_meet_on_no_route() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let names = names();
    for (n, name) in names.iter().enumerate() {
        let mut body = put("question", [1.0, 0.0, 0.0]);
        body["response"] = json!(format!("answer {n}"));
        server.post(&path(name, "put"), &body).ok();
    }
    let asked = [
        json!({"query": "QUESTION"}),
        json!({"query": "in other words", "embedding": [1, 0, 0]}),
    ];
    for (n, name) in names.iter().enumerate() {
        for question in &asked {
            let hit = server.post(&path(name, "get"), question).ok();
            assert_eq!(hit["response"], format!("answer {n}"), "{name:?}");
            // A value of a header begins and ends with what can be seen.
            let is_plain = name.bytes().all(|byte| (0x20..0x7f).contains(&byte));
            if is_plain && name.trim() == name {
                let request = server.request("POST", "/v1/get");
                let request = request
                    .header("content-type", JSON)
                    .header("mneme-namespace", name);
                let request = request.body(question.to_string()).unwrap();
                let hit = reply(server.agent.run(request)).ok();
                assert_eq!(hit["response"], format!("answer {n}"), "{name:?}");
            }
        }
    }
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let listed = server.ask("GET", "/v1/namespaces").ok();
    assert_eq!(listed, json!({"namespaces": sorted, "next": null}));
    // What no head has room for is no matter of the cache.
    let fits = |name: &&String| (1..4096).contains(&name.len());
    for name in refused().iter().filter(fits) {
        let refusal = server.post(&path(name, "put"), &put("q", [1.0, 0.0, 0.0]));
        assert_eq!(refusal.refused(400), "invalid_argument", "{name:?}");
    }
    // Each goes alone.
    let mut left = names.len();
    for name in &names {
        assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], left);
        let gone = server.post(&path(name, "delete"), &json!({"query": "question"}));
        assert_eq!(gone.ok(), json!({"deleted": true}), "{name:?}");
        left -= 1;
    }
    assert!(server.stop());
}
