//! `serve` is killed again and again while it stores.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{PATIENCE, Server, agent, put};
use crate::Folder;

/// How often it is killed.
const KILLS: u64 = 200;
const CLIENTS: u64 = 4;

#[test]
fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let acknowledged: Mutex<BTreeSet<String>> = Mutex::default();
    let mut random = fastrand::Rng::with_seed(200);
    for kill in 0..KILLS {
        let mut server = Server::start(&folder, &["--vacuum-interval", "1"]);
        let (stored, is_stored) = channel();
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                let (url, acknowledged, stored) = (&server.url, &acknowledged, stored.clone());
                scope.spawn(move || {
                    let agent = agent();
                    for n in 0.. {
                        let query = format!("question {kill} {client} {n}");
                        let body = put(&query, [1.0, n as f32, client as f32]);
                        let response = agent
                            .post(format!("{url}/v1/put"))
                            .header("content-type", "application/json")
                            .send(body.to_string());
                        let Ok(response) = response else { return };
                        assert_eq!(response.status(), 200);
                        acknowledged.lock().unwrap().insert(query);
                        // The killer may have heard enough.
                        let _ = stored.send(());
                    }
                });
            }
            for _ in 0..random.u32(1..60) {
                is_stored.recv_timeout(PATIENCE).unwrap();
            }
            server.child.kill().unwrap();
            server.child.wait().unwrap();
        });
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    let conn = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let mut query = conn.prepare("SELECT query FROM entries").unwrap();
    let stored: BTreeSet<String> = query
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(
        lost.is_empty(),
        "{} of {}: {lost:?}",
        lost.len(),
        acknowledged.len()
    );
    println!(
        "{KILLS} kills, {} puts were acknowledged, none is lost",
        acknowledged.len()
    );
    let server = Server::start(&folder, &[]);
    let health = server.ask("GET", "/v1/health?deep=true").ok();
    assert_eq!(health["deep"]["entries"], stored.len());
    assert!(server.stop());
}
