//! `serve`, asked over HTTP.

mod crowd;
mod foreign;
mod health;
mod kills;
mod load;
mod refusals;
mod slow;
mod stopping;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;

use crate::{Folder, VECTORS};

/// How long what must happen is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

const TOKEN: &str = "a-token-that-nobody-guesses";

/// A server on a cache of three-dimensional vectors.
struct Server {
    child: Child,
    url: String,
    agent: Agent,
    token: Option<&'static str>,
}

/// What a request brought.
#[derive(Debug)]
struct Reply {
    status: u16,
    json: Value,
}

impl Server {
    fn start(folder: &Folder, args: &[&str]) -> Self {
        Self::with(folder, args, None)
    }

    fn with(folder: &Folder, args: &[&str], token: Option<&'static str>) -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_mneme"));
        Self::run(command, folder, args, token)
    }

    /// Starts a server by a command that runs `mneme` with the arguments that are added.
    fn run(
        mut command: Command,
        folder: &Folder,
        args: &[&str],
        token: Option<&'static str>,
    ) -> Self {
        if command.get_envs().all(|(name, _)| name != "MNEME_EMBEDDER") {
            command.env("MNEME_EMBEDDER", VECTORS);
        }
        command
            .current_dir(folder.0.path())
            .env_remove("MNEME_STORE")
            .env_remove("MNEME_TOKEN")
            .env("TMPDIR", folder.0.path())
            .args(["--json", "serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        if let Some(token) = token {
            command.env("MNEME_TOKEN", token);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        Self {
            child,
            url: told["listening"].as_str().unwrap().to_owned(),
            agent: agent(),
            token,
        }
    }

    /// A connection that nothing is sent on yet.
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection on which this was sent.
    fn say(&self, text: &str) -> TcpStream {
        let mut stream = self.connect();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    }

    fn load(&self, query: &str, archive: &[u8]) -> Reply {
        let request = self
            .request("POST", &format!("/v1/load{query}"))
            .header("content-type", "application/octet-stream");
        reply(self.agent.run(request.body(archive.to_vec()).unwrap()))
    }

    fn dump(&self, query: &str) -> Vec<u8> {
        let request = self
            .request("GET", &format!("/v1/dump{query}"))
            .body(())
            .unwrap();
        let response = self.agent.run(request).unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["mneme-consistent"], "true");
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader();
        body.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn port(&self) -> &str {
        self.url.rsplit_once(':').unwrap().1
    }

    fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        match self.token {
            Some(token) => request.header("authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn post(&self, path: &str, body: &Value) -> Reply {
        let request = self
            .request("POST", path)
            .header("content-type", "application/json");
        reply(self.agent.run(request.body(body.to_string()).unwrap()))
    }

    fn ask(&self, method: &str, path: &str) -> Reply {
        reply(self.agent.run(self.request(method, path).body(()).unwrap()))
    }

    fn text(&self, path: &str) -> String {
        let mut response = self.agent.run(self.request("GET", path).body(()).unwrap());
        let response = response.as_mut().unwrap();
        assert_eq!(response.status(), 200);
        response.body_mut().read_to_string().unwrap()
    }

    /// The status of a request without a body.
    fn ask_bare(&self, method: &str, path: &str) -> u16 {
        let request = self.request(method, path).body(()).unwrap();
        self.agent.run(request).unwrap().status().as_u16()
    }

    /// Asks it to end, and waits until it has.
    fn stop(self) -> bool {
        terminate(&self.child);
        self.ended() == Some(0)
    }

    /// The exit code, once it has ended.
    fn ended(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn terminate(child: &Child) {
    let sent = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Waits until it is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All that comes until the server closes the connection.
fn all_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // What it had not read is lost.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server did not close the connection: {error}"),
    }
    String::from_utf8(bytes).unwrap()
}

fn agent() -> Agent {
    Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .build()
        .into()
}

fn reply(response: Result<Response<ureq::Body>, ureq::Error>) -> Reply {
    let mut response = response.unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    Reply {
        status: response.status().as_u16(),
        json: serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}")),
    }
}

impl Reply {
    /// A success.
    fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.json
    }

    /// The kind of error.
    fn refused(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        assert!(!self.json["error"]["message"].as_str().unwrap().is_empty());
        self.json["error"]["kind"].as_str().unwrap()
    }
}

fn put(query: &str, vector: [f32; 3]) -> Value {
    json!({"query": query, "response": format!("answer to {query}"), "embedding": vector})
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
        json!({"namespaces": ["a/b é", "default"]})
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
    assert_eq!(names.len(), 23, "{names:?}");
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
