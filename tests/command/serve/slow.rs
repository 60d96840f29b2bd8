//! Connections that are silent, slow, or never end.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{ARCHIVE, JSON, Server, TOKEN, all_of, put, until};
use crate::Folder;

const TIMES: [&str; 4] = ["--idle-timeout", "1", "--body-timeout", "1"];
/// After which nothing that is limited to a second may still be there.
const SOON: Duration = Duration::from_secs(20);

/// Sends bytes, again and again, until the server has closed the connection.
fn drip(mut stream: TcpStream, piece: &[u8], pause: Duration) -> String {
    let started = Instant::now();
    stream.set_read_timeout(Some(pause)).unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(started.elapsed() < SOON, "it is served for ever");
        let _ = stream.write_all(piece);
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&buffer[..length]),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(_) => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn connections_that_bring_no_request_are_closed() {
    let folder = Folder::new();
    let server = Server::with(&folder, &TIMES, Some(TOKEN));
    let started = Instant::now();
    let nothing = server.connect();
    let half_a_head = server.say("GET /livez HTTP/1.1\r\nhost: localhost\r\n");
    let half_http_2 = server.say("PRI * HTTP/2.0\r\n");
    let http_2 = server.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0");
    for mut stream in [nothing, half_a_head, half_http_2] {
        assert_eq!(all_of(&mut stream), "");
    }
    let mut frames = Vec::new();
    let _ = { http_2 }.read_to_end(&mut frames);
    // One that was served, and then is silent.
    let mut kept = server.say("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(all_of(&mut kept).contains("{\"live\":true}"));
    // Heads that never end.
    let endless = server.say("GET /livez HTTP/1.1\r\nhost: localhost\r\n");
    drip(endless, b"x: y\r\n", Duration::from_millis(100));
    assert!(started.elapsed() < SOON);
    assert!(server.stop());
}

#[test]
fn bodies_must_arrive() {
    let folder = Folder::new();
    let server = Server::start(&folder, &TIMES);
    for (path, kind) in [("/v1/put", JSON), ("/v1/load", ARCHIVE)] {
        let mut silent = server.begin(path, kind, 1_000_000, "");
        let answer = all_of(&mut silent);
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        assert!(answer.contains("connection: close\r\n"), "{path}: {answer}");
        let dripping = server.begin(path, kind, 1_000_000, "");
        let answer = drip(dripping, b" ", Duration::from_millis(50));
        assert!(answer.starts_with("HTTP/1.1 408"), "{path}: {answer}");
    }
    // One that is larger may take longer, and is loaded.
    for n in 0..200 {
        server
            .post("/v1/put", &put(&format!("q{n}"), [1.0, n as f32, 0.0]))
            .ok();
    }
    let archive = server.dump("?portable=true&level=0");
    assert!(archive.len() > 48 * 1024, "{}", archive.len());
    let path = "/v1/load?mode=replace";
    let mut stream = server.begin(path, ARCHIVE, archive.len(), "connection: close\r\n");
    let started = Instant::now();
    for piece in archive.chunks(archive.len().div_ceil(16)) {
        stream.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(
        started.elapsed() > Duration::from_millis(1500),
        "longer than the time-out"
    );
    let answer = all_of(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Nothing is left of those that did not arrive.
    let served = server.post("/v1/get", &serde_json::json!({"query": "Q7"}));
    assert_eq!(served.ok()["hit"], true);
    assert!(server.stop());
}

#[test]
fn a_reader_that_stops_reading_is_left() {
    let folder = Folder::new();
    let server = Server::start(&folder, &TIMES);
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap();
        let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        targets
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    };
    let at_first = sockets();
    let mut large = put("large", [1.0, 0.0, 0.0]);
    large["response"] = "x".repeat(4 << 20).into();
    server.post("/v1/put", &large).ok();
    let body = r#"{"query":"large"}"#;
    let ask = format!(
        "POST /v1/get HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // More than the buffers between the two hold.
    let mut stalled = server.say(&ask.repeat(8));
    assert_eq!(stalled.peek(&mut [0]).unwrap(), 1, "an answer has begun");
    until("the connection is closed", || sockets() == at_first);
    let mut received = Vec::new();
    // It may end with a reset.
    let _ = stalled.read_to_end(&mut received);
    assert!(received.starts_with(b"HTTP/1.1 200"));
    assert!(received.len() < 8 * (4 << 20), "{}", received.len());
    assert!(server.stop());
}

#[test]
fn slow_archives_hold_up_no_other_archive_and_no_check() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--body-timeout", "600"]);
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    let archive = server.dump("");
    let begin = || server.begun("/v1/load", ARCHIVE, 1000);
    let mut slow: Vec<_> = (0..15).map(|_| begin()).collect();
    assert!(!server.dump("").is_empty());
    server.load("?mode=replace", &archive).ok();
    server.ask("GET", "/v1/health?deep=true").ok();
    // Nobody asks for an archive by a HEAD.
    let head = "HEAD /v1/dump HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = all_of(&mut server.say(head));
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    assert!(answer.contains("allow: GET\r\n"), "{answer}");
    // There is an end to it.
    slow.push(begin());
    let refused = server.load("?mode=replace", &archive);
    assert_eq!(refused.refused(503), "busy");
    assert_eq!(server.ask("GET", "/v1/dump").refused(503), "busy");
    server.ask("GET", "/v1/health?deep=true").ok();
    drop(slow);
    until("there is room again", || {
        server.load("?mode=replace", &archive).status == 200
    });
    assert!(server.stop());
}

#[test]
fn archives_must_be_sent_and_taken_in_time() {
    let folder = Folder::new();
    let args = ["--archive-timeout", "5", "--body-timeout", "600"];
    let server = Server::start(&folder, &args);
    let mut random = fastrand::Rng::with_seed(1);
    for n in 0..8 {
        let mut large = put(&format!("q{n}"), [1.0, n as f32, 0.0]);
        let text: String = (0..4 << 20).map(|_| random.alphanumeric()).collect();
        large["response"] = text.into();
        server.post("/v1/put", &large).ok();
    }
    let take = || server.say("GET /v1/dump?level=0 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut taking = take();
    until("the answer has begun", || {
        let mut status = [0; 12];
        taking.peek(&mut status).unwrap();
        // A machine that is busy may take longer for an archive than it is given.
        let is_late = &status == b"HTTP/1.1 503";
        if is_late {
            taking = take();
        }
        !is_late
    });
    let sending = server.begin("/v1/load", ARCHIVE, 1_000_000, "");
    let answer = drip(sending, b"x", Duration::from_millis(50));
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("--archive-timeout"), "{answer}");
    // By now its time is up too. It takes what is on its way, which is not all.
    let mut taken = Vec::new();
    let _ = taking.read_to_end(&mut taken);
    let head = String::from_utf8_lossy(&taken[..taken.len().min(1000)]);
    let lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length: "));
    let lengths: Vec<usize> = lengths.map(|length| length.parse().unwrap()).collect();
    assert!(
        head.starts_with("HTTP/1.1 200") && lengths.len() == 1,
        "{head}"
    );
    assert!(
        taken.len() < lengths[0],
        "{} of {}",
        taken.len(),
        lengths[0]
    );
    assert!(server.stop());
}

#[test]
fn silent_connections_make_room_for_others() {
    let folder = Folder::new();
    let server = Server::with(
        &folder,
        &["--max-connections", "20", "--idle-timeout", "600"],
        Some(TOKEN),
    );
    let mut silent: Vec<_> = (0..60).map(|_| server.connect()).collect();
    for _ in 0..30 {
        let answer = all_of(
            &mut server.say("GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // The eldest went first.
    assert_eq!(all_of(&mut silent[0]), "");
    drop(silent);
    // Where each has a request under way, others are refused with a reason.
    let begin = |_| server.begun("/v1/put", JSON, 9);
    let busy: Vec<_> = (0..20).map(begin).collect();
    let refusal = all_of(&mut server.connect());
    assert!(
        refusal.starts_with("HTTP/1.1 503") && refusal.contains("too many connections"),
        "{refusal}"
    );
    drop(busy);
    until("there is room again", || {
        let asked = server.agent.get(format!("{}/livez", server.url)).call();
        asked.is_ok_and(|answer| answer.status() == 200)
    });
    assert!(server.stop());
}

#[test]
fn more_connections_than_files_are_refused_at_the_start() {
    let folder = Folder::new();
    let done = folder.mneme(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--max-connections",
        "4294967295",
    ]);
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("raise `ulimit -n`"), "{}", done.stderr);
}
