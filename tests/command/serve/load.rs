//! `serve` under load.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{JSON, Server, agent, put};
use crate::Folder;

const CONNECTIONS: usize = 64;
/// Requests on each of them.
const REQUESTS: u64 = 625;
/// How long it may take on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(300);
/// Memory that may be gained between the first third and the end.
const GAIN: u64 = 24 << 20;

/// The resident memory of a process in bytes.
#[cfg(target_os = "linux")]
fn resident(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn vector(n: u64) -> [f32; 3] {
    let (sin, cos) = ((n % 2000) as f32 / 300.0).sin_cos();
    [cos, sin, 0.1]
}

#[test]
#[cfg(target_os = "linux")]
fn mixed_load_on_64_connections_brings_no_error_and_no_growth() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    let (url, started) = (&server.url, Instant::now());
    let times: Mutex<Vec<u32>> = Mutex::default();
    let (hits, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let early = std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (times, hits, answered) = (&times, &hits, &answered);
            scope.spawn(move || {
                let agent = agent();
                let mut random = fastrand::Rng::with_seed(connection as u64);
                let mut taken = Vec::new();
                for _ in 0..REQUESTS {
                    let n = random.u64(..2000);
                    let space = ["a", "b", "c"][random.usize(..3)];
                    let query = format!("question {n}");
                    let (path, body) = match random.u32(..100) {
                        0..30 => ("put", put(&query, vector(n))),
                        30..32 => ("delete", json!({"query": query})),
                        32..34 => ("stats", json!(null)),
                        34..70 => ("get", json!({"query": query, "embedding": vector(n)})),
                        _ => (
                            "get",
                            json!({"query": "in other words", "embedding": vector(n)}),
                        ),
                    };
                    let asked = Instant::now();
                    let path_of = format!("{url}/v1/namespaces/{space}/{path}");
                    let response = match path {
                        "stats" => agent.get(path_of).call(),
                        _ => agent
                            .post(path_of)
                            .header("content-type", JSON)
                            .send(body.to_string()),
                    };
                    let mut response = response.unwrap();
                    let text = response.body_mut().read_to_string().unwrap();
                    taken.push(asked.elapsed().as_micros() as u32);
                    assert_eq!(response.status(), 200, "{path}: {text}");
                    answered.fetch_add(1, Ordering::Relaxed);
                    if text.contains("\"hit\":true") {
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                }
                times.lock().unwrap().extend(taken);
            });
        }
        let all = CONNECTIONS as u64 * REQUESTS;
        while answered.load(Ordering::Relaxed) < all / 3 {
            assert!(started.elapsed() < LONGEST, "it has stopped answering");
            std::thread::sleep(Duration::from_millis(10));
        }
        resident(&server)
    });
    let late = resident(&server);
    let mut times = times.into_inner().unwrap();
    times.sort_unstable();
    let at = |share: f64| f64::from(times[(times.len() as f64 * share) as usize]) / 1000.0;
    println!(
        "{} requests on {CONNECTIONS} connections in {} s: p50 {:.1} ms, p99 {:.1} ms; memory {} then {} MiB",
        times.len(),
        started.elapsed().as_secs(),
        at(0.5),
        at(0.99),
        early >> 20,
        late >> 20
    );
    assert!(hits.into_inner() > 100);
    assert!(
        late < early + GAIN,
        "memory grew from {early} to {late} bytes"
    );
    assert!(server.stop());
}
