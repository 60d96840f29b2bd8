//! Exact hits while a crowd is silent and the embedder hangs.

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{JSON, Server, put};
use crate::Folder;

const SILENT: usize = 1100;
const HUNG: usize = 600;
const CLIENTS: usize = 4;
/// Hits that each client asks of each server.
const ASKED: usize = 500;

/// The aims on a machine that does nothing else, where `MNEME_IDLE=1` says that it is one.
const HIT: Duration = Duration::from_millis(50);
const LIVE: Duration = Duration::from_millis(20);

/// How long the same requests took, sorted: of the server with a crowd, and of one without.
struct Times {
    crowded: Vec<Duration>,
    calm: Vec<Duration>,
}

impl Times {
    /// Asks the two by turns, so that whatever else the machine does holds up both.
    fn of(mut ask: impl FnMut(usize, bool) -> bool) -> Self {
        let (mut crowded, mut calm) = (Vec::new(), Vec::new());
        for n in 0.. {
            let is_crowded = n % 2 == 0;
            let asked = Instant::now();
            if !ask(n / 2, is_crowded) {
                break;
            }
            match is_crowded {
                true => crowded.push(asked.elapsed()),
                false => calm.push(asked.elapsed()),
            }
        }
        Self { crowded, calm }
    }

    fn together(all: impl IntoIterator<Item = Self>) -> Self {
        let (mut crowded, mut calm) = (Vec::new(), Vec::new());
        for times in all {
            crowded.extend(times.crowded);
            calm.extend(times.calm);
        }
        crowded.sort_unstable();
        calm.sort_unstable();
        Self { crowded, calm }
    }

    /// Fails where the crowd makes much of a difference.
    fn hold(&self, what: &str, aim: Duration) {
        for (percent, factor, slack) in [(50, 3, 2), (99, 4, 20)] {
            let at = |times: &[Duration]| times[times.len() * percent / 100];
            let (crowded, calm) = (at(&self.crowded), at(&self.calm));
            println!(
                "{what}, p{percent} of {}: {crowded:.1?} with {SILENT} silent connections and {HUNG} hung embeddings, {calm:.1?} without",
                self.crowded.len()
            );
            assert!(
                crowded < factor * calm + Duration::from_millis(slack),
                "{what}, p{percent}: {crowded:?}, {calm:?} without the crowd"
            );
            if std::env::var_os("MNEME_IDLE").is_some_and(|idle| idle == "1") {
                assert!(crowded < aim, "{what}, p{percent}: {crowded:?}");
            }
        }
    }
}

/// Whether nothing has come, and nobody has closed the connection.
fn is_waiting(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let came = stream.peek(&mut [0]);
    came.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn a_silent_crowd_and_a_hung_embedder_hold_up_no_hit() {
    let embedder = TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = format!("openai:http://{}/v1,m,3", embedder.local_addr().unwrap());
    let folders = [Folder::new(), Folder::new()];
    let [crowded, calm] = folders.each_ref().map(|folder| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
        command.env("MNEME_EMBEDDER", &spec);
        let args = ["--embed-timeout", "600", "--request-timeout", "600"];
        let server = Server::run(command, folder, &args, None);
        for n in 0..100 {
            let known = put(&format!("known {n}"), [1.0, n as f32, 0.0]);
            server.post("/v1/put", &known).ok();
        }
        server
    });
    let silent: Vec<_> = (0..SILENT).map(|_| crowded.connect()).collect();
    let hung: Vec<_> = (0..HUNG)
        .map(|_| {
            let unknown = br#"{"query":"unknown"}"#;
            let mut asking = crowded.begin("/v1/get", JSON, unknown.len(), "");
            asking.write_all(unknown).unwrap();
            asking
        })
        .collect();
    let server = |is_crowded| if is_crowded { &crowded } else { &calm };
    let done = AtomicUsize::new(0);
    let (hits, lives) = std::thread::scope(|scope| {
        let done = &done;
        let live = scope.spawn(move || {
            Times::of(|n, is_crowded| {
                server(is_crowded).ask("GET", "/livez").ok();
                // At least once each.
                n == 0 || done.load(Ordering::Relaxed) < CLIENTS
            })
        });
        let asking: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let times = Times::of(|n, is_crowded| {
                        let question = json!({"query": format!("KNOWN {}", (n + client) % 100)});
                        let reply = server(is_crowded).post("/v1/get", &question);
                        assert_eq!(reply.ok()["hit"], true);
                        n < ASKED
                    });
                    done.fetch_add(1, Ordering::Relaxed);
                    times
                })
            })
            .collect();
        let hits = asking.into_iter().map(|times| times.join().unwrap());
        (
            Times::together(hits),
            Times::together([live.join().unwrap()]),
        )
    });
    assert!(
        hung.iter().all(is_waiting),
        "nobody waits for the embedder any more, so this was no test"
    );
    hits.hold("exact hits", HIT);
    lives.hold("/livez", LIVE);
    drop((silent, hung));
}
