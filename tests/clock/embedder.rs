//! Deadlines and pauses of the embedder, which no jump of the clock makes longer or shorter.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mneme_tests::command::Folder;
use mneme_tests::served::{PATIENCE, Server, put, until};
use serde_json::{Value, json};

use super::faketime::{Dial, Faketime};

mneme_tests::tests![
    an_embedding_is_given_up_after_its_time_and_not_before,
    an_embedder_that_is_well_again_is_asked_again,
];

const JUMPS: [i64; 2] = [10 * 365 * 24 * 3600, -10 * 365 * 24 * 3600];

/// Speaks as an embedder does, where it is well; else as something else.
struct Embedder {
    address: SocketAddr,
    is_well: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
}

impl Embedder {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let embedder = Self {
            address: listener.local_addr().unwrap(),
            is_well: Arc::default(),
            asked: Arc::default(),
        };
        let (is_well, asked) = (Arc::clone(&embedder.is_well), Arc::clone(&embedder.asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (is_well, asked) = (Arc::clone(&is_well), Arc::clone(&asked));
                // A client that has gone is no failure of the test.
                std::thread::spawn(move || answer(stream.ok()?, &is_well, &asked).ok());
            }
        });
        embedder
    }
}

fn answer(stream: TcpStream, is_well: &AtomicBool, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim().to_ascii_lowercase();
            if let Some(of_body) = line.strip_prefix("content-length:") {
                length = of_body.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        asked.fetch_add(1, Ordering::SeqCst);
        let (status, answer) = match is_well.load(Ordering::SeqCst) {
            true => {
                let asked: Value = serde_json::from_slice(&body).unwrap();
                let texts = asked["input"].as_array().map_or(1, Vec::len);
                let of = |index| json!({"index": index, "embedding": [1, 0, 0]});
                let data: Vec<_> = (0..texts).map(of).collect();
                ("200 OK", json!({"data": data, "model": "m"}))
            }
            false => ("200 OK", json!({"message": "this is no embedding"})),
        };
        let answer = answer.to_string();
        write!(
            writer,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
    }
}

fn start(
    faketime: &Faketime,
    folder: &Folder,
    dial: &Dial,
    embedder: SocketAddr,
    args: &[&str],
) -> Server {
    let spec = format!("openai:http://{embedder}/v1,m,3");
    let command = faketime.dialled(folder.command(&spec), dial);
    Server::run(command, folder, args, None)
}

fn an_embedding_is_given_up_after_its_time_and_not_before(faketime: Faketime) {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for jump in JUMPS {
        let folder = Folder::new();
        let dial = Dial::new(folder.0.path());
        let address = silent.local_addr().unwrap();
        let server = start(
            &faketime,
            &folder,
            &dial,
            address,
            &["--embed-timeout", "2"],
        );
        server.post("/v1/put", &put("known", [1.0, 0.0, 0.0])).ok();
        let (took, miss) = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let asked = Instant::now();
                let miss = server.post("/v1/get", &json!({"query": "unknown"})).ok();
                (asked.elapsed(), miss)
            });
            // It waits for the embedder.
            let (_waiting, _) = silent.accept().unwrap();
            dial.set(jump);
            let known = server.post("/v1/get", &json!({"query": "known"}));
            assert_eq!(known.ok()["hit"], true);
            asking.join().unwrap()
        });
        assert_eq!(miss["reason"], "embedder_failure", "{miss}");
        assert!(
            took >= Duration::from_secs(2) && took < PATIENCE,
            "{jump}: {took:?}"
        );
        assert!(server.stop());
    }
}

fn an_embedder_that_is_well_again_is_asked_again(faketime: Faketime) {
    for jump in JUMPS {
        let folder = Folder::new();
        let dial = Dial::new(folder.0.path());
        let embedder = Embedder::start();
        let server = start(&faketime, &folder, &dial, embedder.address, &[]);
        server.post("/v1/put", &put("known", [1.0, 0.0, 0.0])).ok();
        let ask = || server.post("/v1/get", &json!({"query": "unknown"})).ok();
        // It fails, and is left alone for a while.
        until("it is left alone", || {
            let before = embedder.asked.load(Ordering::SeqCst);
            assert_eq!(ask()["reason"], "embedder_failure");
            embedder.asked.load(Ordering::SeqCst) == before
        });
        let left = Instant::now();
        dial.set(jump);
        let before = embedder.asked.load(Ordering::SeqCst);
        let still = ask()["reason"] == "embedder_failure"
            && embedder.asked.load(Ordering::SeqCst) == before;
        // The pause takes a second at least. A machine that was busy for as long proves nothing.
        assert!(
            still || left.elapsed() > Duration::from_millis(500),
            "{jump}: the jump has ended its pause"
        );
        embedder.is_well.store(true, Ordering::SeqCst);
        until("it is asked again", || ask()["hit"] == true);
        assert!(server.stop());
    }
}
