//! Exact hits while a crowd is silent and the embedder hangs.

use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Server, put};
use crate::Folder;

const SILENT: usize = 1100;
const HUNG: usize = 600;
const ASKED: usize = 2000;
/// The aims are 50 ms for hits and 20 ms for /livez on an idle machine. These are for one that is
/// busy.
const HIT: Duration = Duration::from_millis(250);
const LIVE: Duration = Duration::from_millis(100);

fn p99(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

#[test]
fn a_silent_crowd_and_a_hung_embedder_hold_up_no_hit() {
    let folder = Folder::new();
    let embedder = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("openai:http://{}/v1,m,3", embedder.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command.env("MNEME_EMBEDDER", &spec);
    let server = Server::run(command, &folder, &["--embed-timeout", "60"], None);
    for n in 0..100 {
        server
            .post("/v1/put", &put(&format!("known {n}"), [1.0, n as f32, 0.0]))
            .ok();
    }
    let silent: Vec<_> = (0..SILENT).map(|_| server.connect()).collect();
    let unknown = r#"{"query":"unknown"}"#;
    let ask = format!(
        "POST /v1/get HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{unknown}",
        unknown.len()
    );
    let hung: Vec<_> = (0..HUNG).map(|_| server.say(&ask)).collect();
    let waited = AtomicU64::new(0);
    let (mut hits, mut lives) = std::thread::scope(|scope| {
        let (server, waited) = (&server, &waited);
        let livez = scope.spawn(move || {
            let mut times = Vec::new();
            while waited.load(Ordering::Relaxed) < 4 {
                let asked = Instant::now();
                server.ask("GET", "/livez").ok();
                times.push(asked.elapsed());
            }
            times
        });
        let asking: Vec<_> = (0..4)
            .map(|client| {
                scope.spawn(move || {
                    let mut times = Vec::new();
                    for n in 0..ASKED / 4 {
                        let question = json!({"query": format!("KNOWN {}", (n + client) % 100)});
                        let asked = Instant::now();
                        assert_eq!(server.post("/v1/get", &question).ok()["hit"], true);
                        times.push(asked.elapsed());
                    }
                    waited.fetch_add(1, Ordering::Relaxed);
                    times
                })
            })
            .collect();
        let hits: Vec<_> = asking
            .into_iter()
            .flat_map(|times| times.join().unwrap())
            .collect();
        (hits, livez.join().unwrap())
    });
    let (hit, live) = (p99(&mut hits), p99(&mut lives));
    println!(
        "{SILENT} silent connections and {HUNG} hung embeddings: p99 of {} exact hits {:.1} ms, of {} /livez {:.1} ms",
        hits.len(),
        hit.as_secs_f64() * 1e3,
        lives.len(),
        live.as_secs_f64() * 1e3
    );
    assert!(hit < HIT && live < LIVE, "{hit:?}, {live:?}");
    drop((silent, hung));
}
