//! The end of a server, whatever is under way, and what it leaves.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{
    ARCHIVE, JSON, Server, a_put_is_in_flight, all_of, put, reply, terminate, until,
    until_it_listens_no_more,
};
use crate::Folder;

/// A server that tells its warnings.
fn start(folder: &Folder, args: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command.stderr(Stdio::piped());
    Server::run(command, folder, args, None)
}

/// Asks a server to end. Its exit code and warnings, and how long it took.
fn end(mut server: Server) -> (Option<i32>, String, Duration) {
    let asked = Instant::now();
    terminate(&server.child);
    let code = server.child.wait().unwrap().code();
    let took = asked.elapsed();
    let mut warnings = String::new();
    let mut stderr = server.child.stderr.take().unwrap();
    stderr.read_to_string(&mut warnings).unwrap();
    (code, warnings, took)
}

/// The grace of two seconds, and what a busy machine adds.
const LATEST: Duration = Duration::from_secs(8);

#[test]
fn a_signal_ends_what_never_ends_by_itself() {
    let folder = Folder::new();
    let started = start(&folder, &["--grace", "2", "--body-timeout", "600"]);
    started.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    // A load whose archive never arrives, silent connections, and half a head.
    let _loading = started.begun("/v1/load", ARCHIVE, 1000);
    let _others = [started.connect(), started.say("GET /v1/st")];
    let (code, warnings, took) = end(started);
    assert_eq!(code, Some(1), "{warnings}");
    assert!(warnings.contains("dropped: 1 POST /v1/load"), "{warnings}");
    assert!(took < LATEST, "{took:?}");

    // A store that does not answer: somebody else writes, for ever.
    let started = start(&folder, &["--grace", "2"]);
    let mut other = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let held = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let body = put("p", [0.0, 1.0, 0.0]).to_string();
    let mut putting = started.begun("/v1/put", JSON, body.len());
    putting.write_all(body.as_bytes()).unwrap();
    until("the put waits", || a_put_is_in_flight(&started));
    let (code, warnings, took) = end(started);
    assert_eq!(code, Some(1), "{warnings}");
    assert!(warnings.contains("dropped: 1 POST /v1/put"), "{warnings}");
    assert!(took < LATEST, "{took:?}");
    drop(held);
    let stored: i64 = other
        .query_row("SELECT count(*) FROM entries", [], |row| row.get(0))
        .unwrap();
    assert_eq!(stored, 1, "what was dropped is not stored");

    // Nothing under way: silent connections are no loss.
    let started = start(&folder, &["--grace", "20"]);
    let _silent = [started.connect(), started.say("GET /v1/st")];
    let (code, warnings, took) = end(started);
    assert_eq!((code, warnings.as_str()), (Some(0), ""));
    assert!(took < LATEST, "{took:?}");

    // A second signal does not wait for the grace.
    let started = start(&folder, &["--grace", "600", "--body-timeout", "600"]);
    let _loading = started.begun("/v1/load", ARCHIVE, 1000);
    terminate(&started.child);
    until_it_listens_no_more(&started);
    let (code, warnings, took) = end(started);
    assert_eq!(code, Some(1), "{warnings}");
    assert!(took < LATEST, "{took:?}");
}

#[test]
fn a_second_signal_leaves_the_closing_little_time() {
    let folder = Folder::new();
    let started = start(&folder, &["--grace", "600"]);
    started.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    let mut other = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let held = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let body = put("p", [0.0, 1.0, 0.0]).to_string();
    let mut putting = started.begin("/v1/put", JSON, body.len(), "");
    putting.write_all(body.as_bytes()).unwrap();
    until("the put waits", || a_put_is_in_flight(&started));
    terminate(&started.child);
    until_it_listens_no_more(&started);
    let (code, warnings, took) = end(started);
    assert_eq!(code, Some(1), "{warnings}");
    assert!(warnings.contains("dropped: 1 POST /v1/put"), "{warnings}");
    assert!(took < LATEST, "{took:?}");
    drop(held);
}

#[test]
fn a_reader_that_pauses_when_the_server_stops_gets_everything() {
    let folder = Folder::new();
    let mut server = start(&folder, &["--grace", "60"]);
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..8 {
        let mut large = put(&format!("q{n}"), [1.0, n as f32, 0.0]);
        let text: String = (0..4 << 20).map(|_| random.alphanumeric()).collect();
        large["response"] = text.into();
        server.post("/v1/put", &large).ok();
    }
    // More than the buffers between the two hold.
    let mut dump = server.say("GET /v1/dump?level=0 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert_eq!(dump.peek(&mut [0]).unwrap(), 1, "the answer has begun");
    let mut silent = server.connect();
    terminate(&server.child);
    until_it_listens_no_more(&server);
    // By now a connection that nothing is sent on has lasted too long.
    assert_eq!(all_of(&mut silent), "");
    let mut received = Vec::new();
    dump.read_to_end(&mut received).unwrap();
    let head = received.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = received.split_at(head.unwrap() + 4);
    let length = format!("content-length: {}\r\n", body.len());
    let head = String::from_utf8_lossy(head);
    assert!(head.contains(&length) && body.len() > 16 << 20, "{head}");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn an_embedder_that_hangs_holds_up_neither_hits_nor_the_end() {
    let folder = Folder::new();
    let embedder = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("openai:http://{}/v1,m,3", embedder.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command.env("MNEME_EMBEDDER", &spec).stderr(Stdio::piped());
    let args = [
        "--embed-timeout",
        "2",
        "--max-embeddings",
        "1",
        "--grace",
        "2",
    ];
    let server = Server::run(command, &folder, &args, None);
    server.post("/v1/put", &put("known", [1.0, 0.0, 0.0])).ok();
    // One is embedded, and the others wait in line.
    let asked = Instant::now();
    let replies: Vec<_> = std::thread::scope(|scope| {
        let ask = |_| scope.spawn(|| server.post("/v1/get", &json!({"query": "unknown"})));
        let asking: Vec<_> = (0..10).map(ask).collect();
        for _ in 0..20 {
            let asked = Instant::now();
            let hit = server.post("/v1/get", &json!({"query": "known"})).ok();
            assert_eq!(hit["hit"], true);
            assert!(
                asked.elapsed() < Duration::from_secs(1),
                "it waits for the embedder"
            );
        }
        asking
            .into_iter()
            .map(|reply| reply.join().unwrap())
            .collect()
    });
    assert!(asked.elapsed() >= Duration::from_secs(2) && asked.elapsed() < LATEST);
    for reply in replies {
        let miss = reply.ok();
        assert_eq!(miss["reason"], "embedder_failure");
        assert!(!miss.to_string().contains("127.0.0.1"), "{miss}");
    }
    let put = server.post("/v1/put", &json!({"query": "new", "response": "r"}));
    assert_eq!(put.refused(503), "embedder");
    assert_eq!(put.json["error"]["retryable"], true);
    assert!(!put.json.to_string().contains("127.0.0.1"), "{put:?}");
    let (code, warnings, took) = end(server);
    assert_eq!(code, Some(0), "a thread that hangs is no request");
    // It says why there was no vector, and nothing else.
    let is_of_embedder = |line: &str| line.contains("POST /v1/") && line.contains("embedder");
    // At the start it says that nobody knows how much of a text the embedder reads.
    let mut lines = warnings.lines();
    assert!(lines.next().unwrap().contains("MAX_TOKENS"), "{warnings}");
    assert!(lines.all(is_of_embedder), "{warnings}");
    assert!(warnings.contains("POST /v1/get"), "{warnings}");
    assert!(took < LATEST, "{took:?}");
}

#[test]
fn the_address_of_the_embedder_is_for_the_log_only() {
    let folder = Folder::new();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let address = unused.unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command
        .env("MNEME_EMBEDDER", format!("openai:http://{address}/v1,m,3"))
        .stderr(Stdio::piped());
    let server = Server::run(command, &folder, &[], None);
    let (ask, put) = (
        json!({"query": "unknown"}),
        json!({"query": "new", "response": "r"}),
    );
    for (path, body, status) in [
        ("/v1/get", &ask, 200),
        ("/v1/explain", &ask, 200),
        ("/v1/put", &put, 503),
    ] {
        let reply = server.post(path, body);
        assert_eq!(reply.status, status, "{path}: {reply:?}");
        let text = reply.json.to_string();
        let is_clean = !text.contains(&address) && text.contains("the embedder failed");
        assert!(is_clean, "{path}: {text}");
    }
    let (_, warnings, _) = end(server);
    assert!(warnings.contains(&address), "{warnings}");
}

#[test]
fn while_the_embedder_is_down_answers_are_stored_for_their_exact_words() {
    let folder = Folder::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command
        .env("MNEME_EMBEDDER", "openai:http://127.0.0.1:1/v1,m,3")
        .stderr(Stdio::piped());
    let server = Server::run(command, &folder, &[], None);
    let put = |query: &str, more: (&str, bool)| {
        let mut body = json!({"query": query, "response": "r"});
        body[more.0] = json!(more.1);
        server.post("/v1/put", &body)
    };
    let refused = put("What?", ("exact_only_if_needed", false));
    assert_eq!(refused.refused(503), "embedder");
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("exact_only"), "{message}");
    let stored = [
        put("What?", ("exact_only_if_needed", true)),
        put("And that?", ("exact_only", true)),
    ];
    for (id, stored) in (1..).zip(stored) {
        assert_eq!(stored.ok(), json!({"id": id, "exact_only": true}));
    }
    for query in ["what?", "and  THAT?"] {
        let hit = server.post("/v1/get", &json!({"query": query})).ok();
        assert_eq!(
            (&hit["hit"], &hit["layer"]),
            (&json!(true), &json!("exact"))
        );
    }
    let vector = json!({"query": "q", "response": "r", "embedding": [1, 0, 0]});
    let mut both = vector.clone();
    both["exact_only"] = json!(true);
    assert_eq!(
        server.post("/v1/put", &both).refused(400),
        "invalid_argument"
    );
    let mut given = vector;
    given["exact_only_if_needed"] = json!(true);
    let stored = server.post("/v1/put", &given).ok();
    assert_eq!(stored, json!({"id": 3, "exact_only": false}));
    end(server);
}

#[test]
fn a_client_that_leaves_ends_its_load() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--store", "memory:"]);
    for n in 0..3000 {
        server
            .post("/v1/put", &put(&format!("q{n}"), [1.0, n as f32, 0.0]))
            .ok();
    }
    let archive = server.dump("");
    let other = Server::start(&folder, &[]);
    for _ in 0..4 {
        let path = "/v1/load?mode=merge";
        let mut stream = other.begin(path, ARCHIVE, archive.len(), "");
        stream.write_all(&archive).unwrap();
    }
    // Were one of them loaded, this would be refused.
    let mut reply = other.load("?mode=empty", &archive);
    until("there is room for a load", || {
        if reply.status == 503 {
            reply = other.load("?mode=empty", &archive);
        }
        reply.status != 503
    });
    assert_eq!(reply.ok()["entries"], 3000);
    assert!(other.stop() && server.stop());
}

#[test]
fn what_a_killed_process_leaves_goes() {
    let folder = Folder::new();
    let left = || -> Vec<_> {
        let entries = std::fs::read_dir(folder.0.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.starts_with("mneme.db")).collect()
    };
    let mut killed = Server::start(&folder, &[]);
    let _loading = killed.begun("/v1/load", ARCHIVE, 1000);
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    assert_eq!(left(), [""; 0]);
    // One that was killed in the middle of a native archive leaves a folder, until the next.
    folder.put("q", "r", "[1, 0, 0]");
    let scratch = folder.path("mneme-scratch-killed");
    std::fs::create_dir(&scratch).unwrap();
    std::fs::write(scratch.join("lock"), "").unwrap();
    std::fs::write(scratch.join("scratch.db"), "an answer").unwrap();
    let next = Server::start(&folder, &[]);
    let archive = next.dump("");
    next.load("?mode=replace", &archive).ok();
    assert!(next.stop());
    assert_eq!(left(), [""; 0]);
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_not_the_end() {
    let folder = Folder::new();
    let mut command = Command::new("sh");
    // In units of 512 bytes.
    command.args([
        "-c",
        "ulimit -f 6000; exec \"$0\" \"$@\"",
        env!("CARGO_BIN_EXE_mneme"),
    ]);
    let server = Server::run(command, &folder, &[], None);
    let reply = |n: usize| {
        let mut large = put(&format!("q{n}"), [1.0, 0.0, 0.0]);
        large["response"] = "x".repeat(1 << 20).into();
        server.post("/v1/put", &large)
    };
    reply(0).ok();
    let full = (1..20)
        .map(reply)
        .find(|reply| reply.status != 200)
        .unwrap();
    assert!([500, 503].contains(&full.status), "{full:?}");
    assert_eq!(full.json["error"]["kind"], "backend");
    let path = folder.0.path().to_str().unwrap();
    assert!(!full.json.to_string().contains(path), "{full:?}");
    let hit = server.post("/v1/get", &json!({"query": "q0"})).ok();
    assert_eq!(hit["hit"], true);
    let mut alive =
        server.say("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(all_of(&mut alive).starts_with("HTTP/1.1 200"));
    terminate(&server.child);
    // What it counted may have found no room.
    assert!(server.ended().is_some(), "a signal has ended it");
}

#[test]
fn a_cache_that_cannot_be_written_is_told_at_the_start() {
    let folder = Folder::new();
    folder.put("q", "r", "[1, 0, 0]");
    let file = folder.path("mneme.db");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o400);
    std::fs::set_permissions(&file, permissions).unwrap();
    let program = env!("CARGO_BIN_EXE_mneme");
    // Root may write to any file, unless it has given up that right.
    let mut command = match std::fs::OpenOptions::new().append(true).open(&file) {
        Ok(_) => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", "-dac_override", program]);
            command
        }
        Err(_) => Command::new(program),
    };
    command.stderr(Stdio::piped());
    let server = Server::run(command, &folder, &[], None);
    assert_eq!(
        server.post("/v1/get", &json!({"query": "q"})).json["response"],
        "r"
    );
    let health = server.ask("GET", "/health");
    assert_eq!(health.status, 503);
    let problem = health.json["problems"][0].as_str().unwrap();
    assert!(problem.contains("can only be read"), "{problem}");
    assert_eq!(server.ask("GET", "/readyz").status, 200);
    let (code, warnings, _) = end(server);
    assert_eq!(code, Some(0), "{warnings}");
    assert!(
        warnings.contains("the cache can only be read"),
        "{warnings}"
    );
    assert!(!warnings.contains("mneme.db"), "{warnings}");
}

#[test]
fn what_a_store_does_not_do_is_told_without_its_path() {
    let folder = Folder::new();
    folder.put("q", "r", "[1, 0, 0]");
    let file = folder.path("mneme.db");
    let url = format!("sqlite:{}?mode=ro", file.display());
    let server = start(&folder, &["--store", &url]);
    let get = json!({"query": "q"});
    assert_eq!(server.post("/v1/get", &get).ok()["response"], "r");
    let quota = || {
        let request = server
            .request("PUT", "/v1/namespaces/default/quota")
            .header("content-type", JSON);
        let body = json!({"max_entries": 1}).to_string();
        reply(server.agent.run(request.body(body).unwrap()))
    };
    for refused in [
        server.post("/v1/put", &put("p", [0.0, 1.0, 0.0])),
        server.post("/v1/delete", &get),
        server.ask("DELETE", "/v1/namespaces/default"),
        quota(),
    ] {
        assert_eq!(refused.refused(501), "unsupported");
        let shown = refused.json.to_string();
        assert!(shown.contains("can only be read"), "{shown}");
        let folder = folder.0.path().to_str().unwrap();
        assert!(
            !shown.contains(folder) && !shown.contains("mneme.db"),
            "{shown}"
        );
    }
    assert_eq!(server.post("/v1/get", &get).ok()["response"], "r");
    // The server's users learn all of it.
    let (_, log, _) = end(server);
    assert!(log.contains(file.to_str().unwrap()), "{log}");
    assert!(log.contains("mode=ro"), "{log}");
}
