//! Clients store until `serve` ends, by a kill or a signal: what was acknowledged is there.

use std::collections::BTreeSet;
use std::process::Child;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::{JSON, PATIENCE, Server, agent, put, terminate};
use crate::Folder;

/// The queries whose puts were acknowledged.
type Acknowledged = Mutex<BTreeSet<String>>;

/// Stores from many clients, under names that begin with `name`. After so many puts were
/// acknowledged, `end` ends the server.
fn store_until(
    server: &mut Server,
    (clients, name): (u64, &str),
    acknowledged: &Acknowledged,
    puts: usize,
    end: impl FnOnce(&mut Child),
) {
    let (stored, is_stored) = channel();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let (url, stored) = (&server.url, stored.clone());
            scope.spawn(move || {
                let agent = agent();
                for n in 0.. {
                    let query = format!("{name} {client} {n}");
                    let body = put(&query, [1.0, n as f32, client as f32]);
                    let response = agent
                        .post(format!("{url}/v1/put"))
                        .header("content-type", JSON)
                        .send(body.to_string());
                    // Whoever comes too late gets no answer, or is turned away.
                    let Ok(response) = response else { return };
                    if response.status() == 503 {
                        return;
                    }
                    assert_eq!(response.status(), 200);
                    acknowledged.lock().unwrap().insert(query);
                    // Enough may have been heard.
                    let _ = stored.send(());
                }
            });
        }
        for _ in 0..puts {
            is_stored.recv_timeout(PATIENCE).unwrap();
        }
        end(&mut server.child);
    });
}

/// Fails unless all that was acknowledged is in the file; returns how many it has.
fn assert_stored(folder: &Folder, file: &str, acknowledged: &Acknowledged) -> usize {
    let acknowledged = acknowledged.lock().unwrap();
    let conn = rusqlite::Connection::open(folder.path(file)).unwrap();
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
        "{} puts were acknowledged, {} are stored",
        acknowledged.len(),
        stored.len()
    );
    stored.len()
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let acknowledged = Acknowledged::default();
    let mut random = fastrand::Rng::with_seed(200);
    for kill in 0..200 {
        let mut server = Server::start(&folder, &["--vacuum-interval", "1"]);
        let clients = (4, &*format!("question {kill}"));
        let puts = random.usize(1..60);
        store_until(&mut server, clients, &acknowledged, puts, |child| {
            child.kill().unwrap();
            child.wait().unwrap();
        });
    }
    let stored = assert_stored(&folder, "mneme.db", &acknowledged);
    let server = Server::start(&folder, &[]);
    let health = server.ask("GET", "/v1/health?deep=true").ok();
    assert_eq!(health["deep"]["entries"], stored);
    assert!(server.stop());
}

#[test]
fn a_signal_in_the_middle_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    for file in ["a.db", "b.db"] {
        let mut server = Server::start(&folder, &["--store", &format!("sqlite:{file}")]);
        let acknowledged = Acknowledged::default();
        let clients = (16, "question");
        store_until(&mut server, clients, &acknowledged, 1000, |child| {
            terminate(child)
        });
        assert!(server.child.wait().unwrap().success());
        assert_stored(&folder, file, &acknowledged);
    }
}
