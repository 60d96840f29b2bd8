//! Clients that ask and take little or nothing, most of them over HTTP/2.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::refusals::read_response;
use super::{JSON, Server, TOKEN, all_of, put};
use crate::Folder;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const ASK: &str = "GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field whose name is in the table of HPACK, whose numbers take more than four bits from 15 on.
fn field(name: u8, value: &str) -> Vec<u8> {
    let mut field = match name {
        0..15 => vec![name],
        _ => vec![15, name - 15],
    };
    field.push(u8::try_from(value.len()).unwrap());
    field.extend(value.as_bytes());
    field
}

/// The head of a request: GET is 2, POST is 3.
fn head(stream: u32, flags: u8, method: u8, path: &str) -> Vec<u8> {
    const HTTP: u8 = 6;
    let mut fields = vec![0x80 | method, 0x80 | HTTP];
    fields.extend(field(4, path));
    fields.extend(field(1, "localhost"));
    fields.extend(field(31, JSON));
    frame(HEADERS, END_HEADERS | flags, stream, &fields)
}

/// An HTTP/2 connection whose streams may bring so many bytes at first, on which this was sent.
fn connect(server: &Server, window: u32, bytes: &[u8]) -> TcpStream {
    let mut stream = server.connect();
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    hello.extend(frame(SETTINGS, 0, 0, &setting));
    hello.extend(bytes);
    stream.write_all(&hello).unwrap();
    stream
}

/// The next frame: its kind, its flags and how long it is.
fn next(stream: &mut TcpStream) -> (u8, u8, usize) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).unwrap();
    (head[3], head[4], payload.len())
}

/// A connection with an answer that has no room, after its head has come.
fn stalled(server: &Server) -> TcpStream {
    let mut stream = connect(server, 0, &head(1, END_STREAM, 2, "/livez"));
    while next(&mut stream).0 != HEADERS {}
    stream
}

/// Sends something again and again, and says whether the server closes the connection in time.
fn is_closed(mut stream: TcpStream, mut more: impl FnMut(u32) -> Vec<u8>) -> bool {
    let started = Instant::now();
    let pause = Duration::from_millis(100);
    stream.set_read_timeout(Some(pause)).unwrap();
    for n in 1.. {
        if started.elapsed() > Duration::from_secs(20) {
            break;
        }
        let _ = stream.write_all(&more(n));
        match stream.read(&mut [0; 4096]) {
            Ok(0) => return true,
            Ok(_) => std::thread::sleep(pause),
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(_) => return true,
        }
    }
    false
}

#[test]
fn a_client_that_takes_nothing_is_left_whatever_it_sends() {
    let folder = Folder::new();
    let server = Server::with(&folder, &["--idle-timeout", "1"], Some(TOKEN));
    std::thread::scope(|scope| {
        let server = &server;
        let check = |what: &'static str, more: fn(u32) -> Vec<u8>| {
            scope.spawn(move || {
                assert!(is_closed(stalled(server), more), "{what}");
            })
        };
        check("PING", |_| frame(PING, 0, 0, &[7; 8]));
        check("SETTINGS", |_| frame(SETTINGS, 0, 0, &[]));
        check("WINDOW_UPDATE", |_| {
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        });
        check("other requests", |n| {
            let mut given_up = head(2 * n + 1, END_STREAM, 2, "/livez");
            given_up.extend(frame(RESET, 0, 2 * n + 1, &[0, 0, 0, 8]));
            given_up
        });
        // One that never asks.
        let silent = connect(server, 0, &[]);
        let pings = |_| frame(PING, 0, 0, &[7; 8]);
        assert!(is_closed(silent, pings), "no request");
    });
    assert!(server.stop());
}

#[test]
fn clients_that_take_nothing_shut_nobody_out() {
    let folder = Folder::new();
    let args = ["--max-connections", "8", "--idle-timeout", "600"];
    let server = Server::with(&folder, &args, Some(TOKEN));
    // Of a client that is known, and waits.
    let stats = format!(
        "GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\n\r\n"
    );
    let mut kept = BufReader::new(server.say(&stats));
    assert!(read_response(&mut kept).0.starts_with("HTTP/1.1 200"));
    let answers = |what: &str| {
        for _ in 0..10 {
            let answer = all_of(&mut server.say(ASK));
            assert!(answer.starts_with("HTTP/1.1 200"), "{what}: {answer}");
        }
    };
    let crowd: Vec<_> = (0..20).map(|_| stalled(&server)).collect();
    answers("responses that are not taken");
    drop(crowd);
    // Bodies that never come, of requests that are answered without them.
    let begin = || {
        let mut stream = connect(&server, 1 << 16, &head(1, 0, 2, "/livez"));
        // The request has arrived before this is answered.
        stream.write_all(&frame(PING, 0, 0, &[7; 8])).unwrap();
        while next(&mut stream).0 != PING {}
        stream
    };
    let crowd: Vec<_> = (0..20).map(|_| begin()).collect();
    answers("requests that do not end");
    drop(crowd);
    // HTTP/1 clients that ask, and do not read.
    let ask = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1000);
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            let stream = server.connect();
            stream.set_nonblocking(true).unwrap();
            // As much as it takes.
            let _ = (&stream).write(ask.as_bytes());
            stream
        })
        .collect();
    answers("HTTP/1 without reading");
    drop(crowd);
    kept.get_mut().write_all(stats.as_bytes()).unwrap();
    assert!(read_response(&mut kept).0.starts_with("HTTP/1.1 200"));
    assert!(server.stop());
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    const IDLE: Duration = Duration::from_secs(3);
    const PAUSE: Duration = Duration::from_millis(150);
    const LARGE: usize = 4 << 20;
    let folder = Folder::new();
    let server = Server::start(&folder, &["--idle-timeout", "3"]);
    let mut large = put("large", [1.0, 0.0, 0.0]);
    large["response"] = "x".repeat(LARGE).into();
    server.post("/v1/put", &large).ok();
    let question = r#"{"query":"large"}"#;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            const STEP: u32 = 128 << 10;
            let mut ask = head(1, 0, 3, "/v1/get");
            ask.extend(frame(DATA, END_STREAM, 1, question.as_bytes()));
            let mut stream = connect(&server, 0, &ask);
            let started = Instant::now();
            let (mut taken, mut allowed) = (0, 0);
            loop {
                if taken == allowed {
                    std::thread::sleep(PAUSE);
                    allowed += STEP as usize;
                    for id in [0, 1] {
                        let more = frame(WINDOW_UPDATE, 0, id, &STEP.to_be_bytes());
                        stream.write_all(&more).unwrap();
                    }
                }
                let (kind, flags, length) = next(&mut stream);
                if kind == DATA {
                    taken += length;
                    if flags & END_STREAM != 0 {
                        break;
                    }
                }
            }
            assert!(taken > LARGE, "{taken}");
            assert!(started.elapsed() > IDLE, "it was no slow reader");
        });
        scope.spawn(|| {
            const TIMES: usize = 8;
            let ask = format!(
                "POST /v1/get HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n{question}",
                question.len()
            );
            let mut stream = server.say(&ask.repeat(TIMES));
            let started = Instant::now();
            let (mut taken, mut piece) = (0, vec![0; 1 << 20]);
            while taken < TIMES * LARGE {
                std::thread::sleep(PAUSE);
                let length = stream.read(&mut piece).unwrap();
                assert!(length > 0, "closed after {taken} bytes");
                taken += length;
            }
            assert!(started.elapsed() > IDLE, "it was no slow reader");
        });
    });
    assert!(server.stop());
}
