//! What `serve` refuses, whom, and how.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use super::{Server, TOKEN, put, reply};
use crate::{Folder, VECTORS};

#[test]
fn only_who_bears_the_token_is_served() {
    let folder = Folder::new();
    let mut server = Server::with(&folder, &[], Some(TOKEN));
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    server.token = Some("a-token-that-somebody-guess");
    for (method, path) in [
        ("GET", "/v1/stats"),
        ("GET", "/v1/dump"),
        ("DELETE", "/v1/namespaces/default"),
        ("GET", "/metrics"),
        ("GET", "/none"),
    ] {
        assert_eq!(server.ask(method, path).refused(401), "unauthorized");
    }
    server.token = None;
    let get = json!({"query": "q"});
    let refused = server.post("/v1/get", &get);
    assert_eq!(refused.refused(401), "unauthorized");
    assert!(!refused.json.to_string().contains(TOKEN));
    assert_eq!(server.ask("GET", "/health").ok(), json!({"healthy": true}));
    assert!(server.text("/openapi.json").contains("3.1"));
    server.token = Some(TOKEN);
    assert_eq!(server.post("/v1/get", &get).ok()["hit"], true);
    assert_eq!(server.ask("GET", "/health").ok()["store"], "sqlite");
    let checked = server.ask("GET", "/v1/health?deep=true").ok();
    assert_eq!(checked["deep"]["entries"], 1);
    assert!(server.stop());

    const FOR_EVER: &str = "18446744073709551615";
    for (args, token, expected) in [
        (
            &["--listen", "0.0.0.0:0"][..],
            "",
            "can be reached from other machines",
        ),
        (&[], "short", "16 or more"),
        (&["--token-file", "none"], "", "cannot read \"none\""),
        (&["--namespace", "x"], "", "omit --namespace"),
        (
            &["--listen", "192.0.2.1:1", "--without-token"],
            "",
            "cannot listen on 192.0.2.1:1",
        ),
        (
            &["--allow-host", "http://cache.test"],
            "",
            "not a host name",
        ),
        // What a clock cannot reach.
        (&["--idle-timeout", FOR_EVER], "", "1..=86400"),
        (&["--body-timeout", FOR_EVER], "", "1..=86400"),
        (&["--request-timeout", FOR_EVER], "", "1..=86400"),
        (&["--archive-timeout", FOR_EVER], "", "1..=86400"),
        (&["--embed-timeout", FOR_EVER], "", "1..=86400"),
        (&["--vacuum-interval", FOR_EVER], "", "0..=86400"),
        (&["--grace", FOR_EVER], "", "1..=3600"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(folder.0.path())
            .env("MNEME_TOKEN", token)
            .env("MNEME_EMBEDDER", VECTORS)
            .arg("serve")
            .args(args)
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr.contains(expected), "{stderr}");
        assert!(token.is_empty() || !stderr.contains(token));
    }
}

#[test]
fn bad_requests_are_told_what_is_wrong_and_change_nothing() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--max-body", "3000"]);
    let raw = |path: &str, kind: &str, body: &str| {
        let request = server.request("POST", path).header("content-type", kind);
        reply(server.agent.run(request.body(body.to_owned()).unwrap()))
    };
    const JSON: &str = "application/json";
    for (body, status, kind) in [
        ("", 400, "invalid_argument"),
        ("{", 400, "invalid_argument"),
        ("[]", 400, "invalid_argument"),
        ("null", 400, "invalid_argument"),
        (r#"{"query":1,"response":"r"}"#, 400, "invalid_argument"),
        (r#"{"query":"q"}"#, 400, "invalid_argument"),
        (
            r#"{"query":"q","response":"r","TTL":1}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","ttl":-1}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","ttl":1.5}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","metadata":[]}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","embedding":[1,2]}"#,
            400,
            "embedder_dimension",
        ),
        (
            r#"{"query":"q","response":"r","embedding":[0,0,0]}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","embedding":[1e39,0,0]}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"q","response":"r","embedding":["1",0,0]}"#,
            400,
            "invalid_argument",
        ),
        (
            r#"{"query":"\ud800","response":"r"}"#,
            400,
            "invalid_argument",
        ),
        (r#"{"query":"q","response":"r"}"#, 502, "embedder"),
    ] {
        let refused = raw("/v1/put", JSON, body);
        assert_eq!(refused.refused(status), kind, "{body}: {refused:?}");
    }
    let fine = put("q", [1.0, 0.0, 0.0]).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(
            raw("/v1/put", kind, &fine).refused(415),
            "unsupported_media_type"
        );
    }
    let large = json!({"query": "q", "response": "r".repeat(4000), "embedding": [1, 0, 0]});
    assert_eq!(server.post("/v1/put", &large).refused(413), "too_large");
    let get = json!({"query": "q", "threshold": 2});
    assert_eq!(
        server.post("/v1/get", &get).refused(400),
        "invalid_argument"
    );
    assert_eq!(
        server
            .post(
                "/v1/explain",
                &json!({"query": "q", "limit": 0, "embedding": [1, 0, 0]})
            )
            .refused(400),
        "invalid_argument"
    );

    // Invalid namespaces, and paths that try something.
    let long = format!("/v1/namespaces/{}/put", "n".repeat(1025));
    for path in [
        "/v1/namespaces//put",
        "/v1/namespaces/%00/put",
        "/v1/namespaces/a%00b/put",
        "/v1/namespaces/%ff/put",
        &long,
    ] {
        assert_eq!(
            raw(path, JSON, &fine).refused(400),
            "invalid_argument",
            "{path}"
        );
    }
    for path in ["/v1/namespaces/a/b/put", "/v1/putt", "/", "/v1/../v1/put/"] {
        assert_eq!(raw(path, JSON, &fine).refused(404), "not_found", "{path}");
    }
    assert_eq!(
        server.ask("GET", "/v1/put").refused(405),
        "method_not_allowed"
    );
    let twice = server
        .request("POST", "/v1/namespaces/a/put")
        .header("content-type", JSON)
        .header("mneme-namespace", "b");
    let twice = reply(server.agent.run(twice.body(fine.clone()).unwrap()));
    assert_eq!(twice.refused(400), "invalid_argument");
    // A page that has given its own name to this machine.
    let foreign = server
        .request("POST", "/v1/put")
        .header("content-type", JSON)
        .header("host", format!("evil.test:{}", server.port()));
    let foreign = reply(server.agent.run(foreign.body(fine.clone()).unwrap()));
    assert_eq!(foreign.refused(403), "forbidden");

    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], 0);
    // Names that look like paths are names.
    for name in ["..", "%2e%2e%2f%2e%2e", "a%2F..%2Fb", "%25"] {
        raw(
            &format!("/v1/namespaces/{}/put", name.replace("..", "%2E%2E")),
            JSON,
            &fine,
        )
        .ok();
    }
    assert_eq!(
        server.ask("GET", "/v1/namespaces").ok(),
        json!({"namespaces": ["%", "..", "../..", "a/../b"], "next": null})
    );
    let list = |asked: &str| server.ask("GET", &format!("/v1/namespaces?{asked}"));
    assert_eq!(
        list("limit=2").ok(),
        json!({"namespaces": ["%", ".."], "next": ".."})
    );
    assert_eq!(
        list("after=..&limit=3").ok(),
        json!({"namespaces": ["../..", "a/../b"], "next": null})
    );
    assert_eq!(
        list("after=a%2F..%2Fb").ok(),
        json!({"namespaces": [], "next": null})
    );
    for bad in [
        "limit=0",
        "limit=65537",
        "limit=-1",
        "limit=x",
        "from=a",
        "limit=1&limit=2",
    ] {
        assert!(
            ["bad_request", "invalid_argument"].contains(&list(bad).refused(400)),
            "{bad}"
        );
    }
    assert!(server.stop());
}

/// The head of a response, and its body.
pub fn read_response(stream: &mut BufReader<TcpStream>) -> (String, Vec<u8>) {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        assert!(
            stream.read_line(&mut line).unwrap() > 0,
            "closed after {head:?}"
        );
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head, body)
}

#[test]
fn a_refused_request_leaves_the_connection_to_the_next() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--max-body", "3000"]);
    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = BufReader::new(TcpStream::connect(address).unwrap());
    let large = "x".repeat(100_000);
    for (path, host, kind, body, status) in [
        ("/v1/none", "localhost", "application/json", "{}", 404),
        (
            "/openapi.json",
            "localhost",
            "application/json",
            &*large,
            405,
        ),
        ("/v1/get", "evil.test", "application/json", &large, 403),
        ("/v1/get", "localhost", "text/plain", &large, 415),
        ("/v1/get", "localhost", "application/json", &large, 413),
        (
            "/v1/namespaces/%ff/get",
            "localhost",
            "application/json",
            &large,
            400,
        ),
        (
            "/v1/load?mode=all",
            "localhost",
            "application/octet-stream",
            &large,
            400,
        ),
        (
            "/v1/get",
            "localhost",
            "application/json",
            r#"{"query":"q"}"#,
            200,
        ),
    ] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream
            .get_mut()
            .write_all((head + body).as_bytes())
            .unwrap();
        let (head, answer) = read_response(&mut stream);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {head}"
        );
        assert!(!head.contains("connection: close"), "{path}: {head}");
        assert!(serde_json::from_slice::<Value>(&answer).is_ok());
        assert_eq!(head.contains("allow: GET"), status == 405, "{head}");
    }
    // One that is too long to wait for.
    let head = "POST /v1/none HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100000000\r\n\r\n";
    stream.get_mut().write_all(head.as_bytes()).unwrap();
    let (head, _) = read_response(&mut stream);
    assert!(
        head.contains(" 404 ") && head.contains("connection: close"),
        "{head}"
    );
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed");
    assert!(server.stop());
}

#[test]
fn bodies_and_unpacked_archives_have_room_for_so_many_bytes() {
    let folder = Folder::new();
    let sized = ["--max-bodies", "300", "--max-unpacked", "100"];
    let server = Server::start(&folder, &sized);
    let mut large = put("large", [1.0, 0.0, 0.0]);
    large["response"] = json!("r".repeat(400));
    let refused = server.post("/v1/put", &large);
    assert_eq!(refused.json["error"]["retryable"], true, "{refused:?}");
    assert_eq!(refused.refused(503), "busy");
    // Each gives its room back.
    for n in 0..20 {
        server
            .post("/v1/put", &put(&format!("q{n}"), [1.0, 0.0, 0.0]))
            .ok();
    }
    let archive = server.dump("");
    assert!(archive.len() > 100);
    let refused = server.load("?mode=replace", &archive);
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("--max-unpacked"), "{message}");
    assert_eq!(refused.refused(413), "too_large");
    assert_eq!(server.ask("GET", "/v1/stats").ok()["entries"], 20);
    assert!(server.stop());
}

#[test]
fn no_answer_repeats_much_of_a_request() {
    let folder = Folder::new();
    let log = folder.0.path().join("log");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command.stderr(std::fs::File::create(&log).unwrap());
    let server = Server::run(command, &folder, &[], None);
    let long = "é".repeat(1 << 20);
    let is_short = |reply: super::Reply, what: &str| {
        let text = reply.json.to_string();
        assert!((400..500).contains(&reply.status), "{what}: {text:.1000}");
        assert!(text.len() < 8192, "{what}: {} bytes", text.len());
        reply.json["error"]["message"].as_str().unwrap().to_owned()
    };
    for body in [
        json!({"query": "q", &long: 1}),
        json!({"query": "q", "embedding": long}),
        json!({"query": "q", "embedding": [long]}),
        json!({"query": "q", "bypass": long}),
        json!(long),
    ] {
        let message = is_short(server.post("/v1/get", &body), "a body");
        let marks = message.matches("bytes left out").count();
        assert_eq!(marks, 1, "{message}");
        assert!(
            message.ends_with("GET /openapi.json says what belongs there"),
            "{message}"
        );
    }
    let metadata = json!({"query": "q", "response": "r", "metadata": {&long: {}}, &long: 1});
    is_short(server.post("/v1/put", &metadata), "an object");
    is_short(server.post("/v1/get", &json!({"query": long})), "a query");

    let long = "x".repeat(30_000);
    for path in [
        format!("/v1/dump?{long}=1"),
        format!("/v1/dump?level={long}"),
        format!("/v1/health?{long}=1"),
        format!("/v1/health?deep={long}"),
        format!("/v1/{long}"),
        format!("/v1/namespaces/{long}/stats"),
        format!("/v1/stats?{long}"),
    ] {
        is_short(server.ask("GET", &path), &path[..20]);
    }
    is_short(server.load(&format!("?mode={long}"), b"x"), "a mode");
    is_short(server.load(&format!("?prefix={long}"), b"x"), "a prefix");
    for (name, value) in [
        ("mneme-namespace", long.clone()),
        ("content-encoding", format!("gzip, {long}")),
        ("content-type", format!("application/json; charset={long}")),
        ("content-type", format!("application/{long}")),
        ("origin", format!("http://{long}")),
        ("host", long.clone()),
    ] {
        let mut request = server.request("POST", "/v1/get").header(name, value);
        if name != "content-type" {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(r#"{"query":"q"}"#).unwrap();
        is_short(reply(server.agent.run(request)), name);
    }
    assert!(server.stop());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.lines().all(|line| line.chars().count() < 5000));
}

#[test]
fn bodies_that_are_encoded_are_refused() {
    const JSON: &str = "application/json";
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let fine = put("q", [1.0, 0.0, 0.0]).to_string();
    let question = r#"{"query":"q"}"#;
    server.post("/v1/put", &put("kept", [1.0, 0.0, 0.0])).ok();
    let archive = server.dump("");
    for (method, path, kind, body) in [
        ("POST", "/v1/put", JSON, fine.as_bytes()),
        ("POST", "/v1/namespaces/a/put", JSON, fine.as_bytes()),
        ("POST", "/v1/get", JSON, question.as_bytes()),
        ("POST", "/v1/explain", JSON, question.as_bytes()),
        ("PUT", "/v1/quota", JSON, br#"{"max_entries":9}"#),
        (
            "POST",
            "/v1/load?mode=replace",
            "application/gzip",
            &archive,
        ),
        ("POST", "/v1/delete", JSON, question.as_bytes()),
    ] {
        let ask = |codings: &[&str]| {
            let mut request = server.request(method, path).header("content-type", kind);
            for coding in codings {
                request = request.header("content-encoding", *coding);
            }
            let request = request.body(body.to_vec()).unwrap();
            reply(server.agent.run(request))
        };
        for codings in [&["gzip"][..], &["identity", "br"], &["deflate, identity"]] {
            let refused = ask(codings);
            let message = refused.json["error"]["message"].as_str().unwrap();
            assert!(
                message.contains("content-encoding") && message.contains("as it is"),
                "{path}: {message}"
            );
            assert_eq!(refused.refused(415), "unsupported_media_type", "{path}");
        }
        ask(&["Identity"]).ok();
    }
    let transfer = |coding: &str| {
        let text = format!(
            "POST /v1/get HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: {coding}\r\n\r\nd\r\n{question}\r\n0\r\n\r\n"
        );
        super::all_of(&mut server.say(&text))
    };
    let refused = transfer("gzip, chunked");
    assert!(refused.starts_with("HTTP/1.1 501 "), "{refused}");
    assert!(refused.contains("transfer-encoding is"), "{refused}");
    let answered = transfer("chunked");
    assert!(answered.starts_with("HTTP/1.1 200 "), "{answered}");
    assert!(server.stop());
}

#[test]
fn what_is_wrong_with_parameters_and_vectors_is_said_with_a_remedy() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let message = |reply: mneme_tests::served::Reply| {
        assert_eq!(reply.status, 400, "{reply:?}");
        reply.json["error"]["message"].as_str().unwrap().to_owned()
    };
    let load = |query| message(server.load(query, b"x"));
    let ask = |path| message(server.ask("GET", path));
    let twice = "mode is given more than once; give it once";
    for (said, what) in [
        (load("?mode=merge&mode=replace"), twice),
        (load("?mode=all"), "empty"),
        (load("?only=x"), "unknown field only"),
        (
            ask("/v1/dump?level=1&level=2"),
            "level is given more than once",
        ),
        (ask("/v1/dump?zstd=yes"), "true"),
        (
            ask("/v1/health?deep=true&deep=true"),
            "deep is given more than once",
        ),
        (ask("/v1/health?depth=1"), "unknown field depth"),
    ] {
        assert!(said.starts_with("the parameters after ?: "), "{said}");
        assert!(said.contains(what), "{said}");
        assert!(
            said.ends_with("GET /openapi.json says what belongs there"),
            "{said}"
        );
        assert!(!said.contains("deserialize"), "{said}");
    }
    let short = json!({"query": "q", "response": "r", "embedding": [1, 0]});
    for reply in [
        server.post("/v1/put", &short),
        server.post("/v1/get", &json!({"query": "q", "embedding": [1, 0]})),
        server.post("/v1/explain", &json!({"query": "q", "embedding": [1, 0]})),
    ] {
        assert_eq!(
            reply.json["error"]["kind"], "embedder_dimension",
            "{reply:?}"
        );
        assert_eq!(
            message(reply),
            "the embedding has 2 numbers, and this cache takes 3; send 3 numbers"
        );
    }
    assert!(server.stop());
}

#[test]
fn a_blank_question_is_no_failure_of_the_embedder() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    for blank in ["", " ", "\t\n"] {
        let get = json!({"query": blank});
        let miss = server.post("/v1/get", &get).ok();
        assert_eq!(
            miss,
            json!({"hit": false, "reason": "unreadable"}),
            "{blank:?}"
        );
        let why = server.post("/v1/explain", &get).ok();
        assert_eq!(why["outcome"]["reason"], "unreadable", "{blank:?}");
        // The exact layer keeps it, as a text that no embedder can read.
        let put = json!({"query": blank, "response": "r"});
        server.post("/v1/put", &put).ok();
        let hit = server.post("/v1/get", &get).ok();
        assert_eq!(
            (&hit["response"], &hit["layer"]),
            (&json!("r"), &json!("exact"))
        );
        server.post("/v1/delete", &get).ok();
    }
    assert!(server.stop());
}
