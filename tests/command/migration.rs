//! `copy` and `reembed`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::Folder;

/// An embedding server on this machine that kills who asks it once too often.
struct Server {
    port: u16,
    victim: Arc<Mutex<Option<(Child, usize)>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let victim: Arc<Mutex<Option<(Child, usize)>>> = Arc::default();
        let ended = Arc::new(AtomicBool::new(false));
        let (watched, end) = (Arc::clone(&victim), Arc::clone(&ended));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let watched = Arc::clone(&watched);
                thread::spawn(move || answer(stream.unwrap(), &watched));
            }
        });
        Self {
            port,
            victim,
            ended,
        }
    }

    fn spec(&self) -> String {
        format!("openai:http://127.0.0.1:{}/v1,new-model,4", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // The listener waits for one more.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn answer(stream: TcpStream, victim: &Mutex<Option<(Child, usize)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        if let Some((child, left)) = &mut *victim.lock().unwrap() {
            if *left == 0 {
                child.kill().unwrap();
                return;
            }
            *left -= 1;
        }
        let request: Value = serde_json::from_slice(&body).unwrap();
        let texts = request["input"].as_array().unwrap().iter();
        let data: Vec<Value> = texts
            .enumerate()
            .map(|(index, text)| {
                let text = text.as_str().unwrap();
                let sum: u32 = text.bytes().map(u32::from).sum();
                let vector = [
                    1.0,
                    f64::from(sum % 97),
                    f64::from(sum % 31),
                    text.len() as f64,
                ];
                json!({"index": index, "embedding": vector})
            })
            .collect();
        let body = json!({"data": data}).to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = reader.get_ref();
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// A source of 500 entries.
fn filled() -> Folder {
    let folder = Folder::new();
    let lines: String = (0..500)
        .map(|n| {
            let namespace = ["a", "b"][n % 2];
            let line = json!({
                "query": format!("Question {n}"), "response": format!("answer {n}"),
                "embedding": [1.0, n, 0.0], "namespace": namespace, "metadata": {"n": n},
            });
            format!("{line}\n")
        })
        .collect();
    let file = folder.write("entries.jsonl", lines);
    folder.json(&["import", &file]);
    folder.json(&["--namespace", "a", "quota", "900"]);
    folder
}

/// Every row of a store but for its id.
fn rows(folder: &Folder, name: &str) -> Vec<String> {
    let conn = rusqlite::Connection::open(folder.path(name)).unwrap();
    let mut rows = Vec::new();
    for sql in [
        "SELECT namespace, query_hash, query, response, metadata, created_at, last_accessed_at,
         ttl, access_count, hex(embedding) FROM entries ORDER BY id",
        "SELECT namespace, max_entries, '', '', '', '', '', '', '', '' FROM namespace_quotas ORDER BY 1",
        "SELECT key, value, '', '', '', '', '', '', '', '' FROM schema_meta ORDER BY 1",
    ] {
        let mut query = conn.prepare(sql).unwrap();
        let mut found = query.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let values: Vec<String> = (0..10)
                .map(|at| format!("{:?}", row.get_ref(at).unwrap()))
                .collect();
            rows.push(values.join(" "));
        }
    }
    rows
}

#[test]
fn killed_at_twenty_points_it_ends_as_if_it_had_not_been() {
    let folder = filled();
    let server = Server::start();
    let spec = server.spec();
    let before = rows(&folder, "mneme.db");
    let run = |target: &str| {
        let to = format!("sqlite:{target}");
        folder.run(&spec, &["--json", "reembed", "--to", &to], b"")
    };
    let whole = run("whole.db");
    assert_eq!(whole.code, 0, "{whole:?}");
    assert_eq!(whole.json()["written"], 500);
    let expected = rows(&folder, "whole.db");

    let mut random = fastrand::Rng::with_seed(3);
    for target in 0..20 {
        let target = format!("killed-{target}.db");
        // The eight calls are made one at a time, so that each leaves something behind.
        let child = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(folder.0.path())
            .args([
                "reembed",
                "--concurrency",
                "1",
                "--to",
                &format!("sqlite:{target}"),
            ])
            .args(["--store", "sqlite:mneme.db", "--embedder", &spec])
            .env("OPENAI_API_KEY", "sk-secret")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        *server.victim.lock().unwrap() = Some((child, random.usize(..8)));
        // The victim's lock is needed to kill it.
        let status = loop {
            if let Some((child, _)) = &mut *server.victim.lock().unwrap()
                && let Some(status) = child.try_wait().unwrap()
            {
                break status;
            }
            thread::yield_now();
        };
        assert!(!status.success());
        *server.victim.lock().unwrap() = None;
        let rest = run(&target);
        assert_eq!(rest.code, 0, "{rest:?}");
        let report = rest.json();
        let count = |name: &str| report[name].as_u64().unwrap();
        assert_eq!(count("written") + count("present"), 500);
        assert_eq!(rows(&folder, &target), expected, "{target}");
    }
    assert_eq!(rows(&folder, "mneme.db"), before);
}

#[test]
fn copies_go_where_they_are_sent_and_nowhere_else() {
    let folder = filled();
    let copy = |more: &[&str]| folder.mneme(&[&["--json", "copy"], more].concat());
    let done = copy(&["--to", "sqlite:copy.db", "--namespaces", "a", "none"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(
        (&done.json()["written"], &done.json()["quotas"]),
        (&json!(250), &json!(1))
    );
    let source = rows(&folder, "mneme.db");
    let copied = rows(&folder, "copy.db");
    assert!(copied.iter().all(|row| source.contains(row)));

    for (args, expected) in [
        (&["--to", "sqlite:mneme.db"][..], "the same store"),
        (&["--to", "sqlite:./mneme.db"], "the same store"),
        (&["--to", "sqlite:copy.db"], "has 250 entries"),
        (&["--to", "mysql://u:secret@h"], "not known"),
        (&[], "--to is needed"),
        (
            &["--to", "sqlite:x.db", "--store", "sqlite:none.db"],
            "holds no cache",
        ),
        (
            &["--to", "sqlite:x.db", "--namespace", "a"],
            "omit --namespace",
        ),
        (
            &["--to", "sqlite:x.db", "--embedder", "minilm"],
            "omit --embedder",
        ),
    ] {
        let (_, message) = copy(args).error();
        assert!(
            message.contains(expected) && !message.contains("secret"),
            "{message}"
        );
    }
    assert!(!folder.path("none.db").exists() && !folder.path("x.db").exists());
    let merged = copy(&["--to", "sqlite:copy.db", "--merge"]).json();
    assert_eq!(
        (&merged["written"], &merged["present"]),
        (&json!(250), &json!(250))
    );
    assert_eq!(rows(&folder, "copy.db").len(), source.len());

    // Each run is its own: a store in memory is another one each time.
    let memory = copy(&["--to", "memory:", "--store", "sqlite:copy.db"]);
    assert_eq!(memory.json()["written"], 500);

    let vectors = folder.mneme(&["--json", "reembed", "--to", "sqlite:y.db"]);
    assert!(vectors.error().1.contains("`vectors:` cannot embed"));
}

#[test]
fn an_embedder_that_fails_halfway_is_said_with_what_to_do() {
    let folder = filled();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let spec = format!("openai:http://127.0.0.1:{port}/v1,new-model,4,512");
    let done = folder.run(&spec, &["--json", "reembed", "--to", "sqlite:new.db"], b"");
    let (kind, message) = done.error();
    assert_eq!(kind, "embedder");
    for part in [
        "stopped after 0 of 500 entries",
        "continues from there",
        "127.0.0.1",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("sk-secret"), "{message}");
}
