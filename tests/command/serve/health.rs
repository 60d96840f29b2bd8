//! Whether a server lives, can answer, and has a sound store; and what it does by itself.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Server, TOKEN, a_put_is_in_flight, put, terminate, until};
use crate::Folder;

#[test]
fn a_store_that_is_not_well_is_reported_to_who_may_know() {
    let folder = Folder::new();
    folder.put("q", "r", "[1, 0, 0]");
    let conn = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    conn.execute("UPDATE entries SET embedding = x'00'", [])
        .unwrap();
    drop(conn);
    let mut server = Server::with(&folder, &[], Some(TOKEN));
    let report = server.ask("GET", "/v1/health?deep=true");
    assert_eq!(
        (report.status, &report.json["healthy"]),
        (503, &json!(false))
    );
    let problems = report.json["problems"].as_array().unwrap();
    assert!(!problems.is_empty());
    let told = report.json.to_string();
    let path = folder.0.path().to_str().unwrap();
    assert!(!told.contains(path) && !told.contains("mneme.db"), "{told}");
    assert_eq!(
        server.ask("GET", "/v1/health?depp=true").refused(400),
        "invalid_argument"
    );
    server.token = None;
    assert_eq!(
        server.ask("GET", "/v1/health?deep=true").refused(401),
        "unauthorized"
    );
    for path in ["/livez", "/readyz", "/health"] {
        let told = server.ask("GET", path).json;
        assert_eq!(told.as_object().unwrap().len(), 1, "{path}: {told}");
    }
    assert!(server.stop());
}

#[test]
fn a_store_that_has_lost_its_data_is_not_well() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    assert_eq!(server.ask("GET", "/health").ok()["healthy"], true);
    for name in ["mneme.db", "mneme.db-wal", "mneme.db-shm"] {
        let _ = std::fs::remove_file(folder.path(name));
    }
    until("the loss is noticed", || {
        server.ask("GET", "/health").status == 503
    });
    for path in ["/health", "/readyz", "/v1/health?deep=true"] {
        assert_eq!(server.ask("GET", path).status, 503, "{path}");
    }
    let unready = server.ask("GET", "/readyz").json;
    let problem = unready["problem"].as_str().unwrap();
    assert!(problem.contains("restart the server"), "{unready}");
    let lost = server.post("/v1/put", &put("p", [1.0, 0.0, 0.0]));
    assert_ne!(lost.status, 200, "{lost:?}");
    assert!(!folder.path("mneme.db").exists(), "a check makes no store");
    assert_eq!(server.ask("GET", "/livez").status, 200);
    terminate(&server.child);
    assert!(server.ended().is_some());
}

/// What is written to a log without a name is lost with the process.
#[test]
fn a_store_that_has_lost_its_log_takes_nothing_more() {
    let folder = Folder::new();
    let server = Server::start(&folder, &[]);
    for n in 0..4_u8 {
        let vector = [1.0, 0.0, f32::from(n)];
        server.post("/v1/put", &put(&format!("q{n}"), vector)).ok();
    }
    std::fs::remove_file(folder.path("mneme.db-wal")).unwrap();
    let refused = server.post("/v1/put", &put("p", [1.0, 0.0, 0.0]));
    assert!(refused.status >= 500, "{refused:?}");
    for path in ["/health", "/readyz", "/v1/health?deep=true"] {
        assert_eq!(server.ask("GET", path).status, 503, "{path}");
    }
    let unready = server.ask("GET", "/readyz").json;
    let problem = unready["problem"].as_str().unwrap();
    assert!(problem.contains("restart the server"), "{unready}");
    assert!(!folder.path("mneme.db-wal").exists());
    // What it had answered with 200 is there, even after a sudden end.
    drop(server);
    assert_eq!(folder.json(&["stats"])["entries"], 4);
}

#[test]
fn a_locked_file_holds_up_nothing_but_writes() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--request-timeout", "3"]);
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    assert_eq!(server.ask("GET", "/readyz").ok(), json!({"ready": true}));
    assert_eq!(server.ask("GET", "/health").ok()["healthy"], true);
    assert_eq!(
        server.ask("GET", "/v1/health?deep=true").ok()["deep"]["entries"],
        1
    );
    let mut other = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let held = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let server = &server;
            scope.spawn(move || {
                let asked = Instant::now();
                let late = server.post("/v1/put", &put(&format!("q{n}"), [1.0, 0.0, 0.0]));
                assert_eq!(late.status, 503, "{late:?}");
                assert_eq!(late.json["error"]["retryable"], true);
                assert!(
                    asked.elapsed() < Duration::from_secs(10),
                    "{:?}",
                    asked.elapsed()
                );
            });
        }
        until("a put waits", || a_put_is_in_flight(&server));
        let quickly = |what: &str, ask: &dyn Fn()| {
            let asked = Instant::now();
            ask();
            assert!(asked.elapsed() < Duration::from_secs(1), "{what}");
        };
        quickly("live", &|| drop(server.ask("GET", "/livez").ok()));
        quickly("ready", &|| drop(server.ask("GET", "/readyz").ok()));
        quickly("a hit", &|| {
            let hit = server.post("/v1/get", &json!({"query": "q"})).ok();
            assert_eq!(hit["hit"], true);
        });
        quickly("metrics", &|| {
            let metrics = server.text("/metrics");
            assert!(metrics.contains("mneme_store_up 1"), "{metrics}");
            assert!(metrics.contains("mneme_http_requests_total"), "{metrics}");
        });
    });
    drop(held);
    until("it takes writes again", || {
        server.post("/v1/put", &put("q9", [1.0, 0.0, 0.0])).status == 200
    });
    assert!(server.stop());
}

#[test]
fn what_has_expired_goes_and_what_was_read_is_noted_by_themselves() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["--vacuum-interval", "1"]);
    let mut short = put("short", [1.0, 0.0, 0.0]);
    short["ttl"] = json!(1);
    server.post("/v1/put", &short).ok();
    server.post("/v1/namespaces/other/put", &short).ok();
    server.post("/v1/put", &put("long", [0.0, 1.0, 0.0])).ok();
    server.post("/v1/get", &json!({"query": "long"})).ok();
    let conn = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let number = |query: &str| -> i64 { conn.query_row(query, [], |row| row.get(0)).unwrap() };
    until("the access is written", || {
        number("SELECT max(access_count) FROM entries") > 0
    });
    until("they are removed", || {
        number("SELECT count(*) FROM entries") == 1
    });
    // 0 is never: what others remove in the meantime stays.
    let aside = Folder::new();
    let never = Server::start(&aside, &["--vacuum-interval", "0"]);
    never.post("/v1/put", &short).ok();
    for _ in 0..2 {
        server.post("/v1/put", &short).ok();
        until("it is removed", || {
            number("SELECT count(*) FROM entries") == 1
        });
    }
    assert_eq!(never.ask("GET", "/v1/stats").ok()["entries"], 1);
    assert!(never.stop() && server.stop());
}

#[test]
fn what_cannot_be_noted_under_steady_load_is_said_and_is_no_failure() {
    let folder = Folder::new();
    let said = folder.path("said");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mneme"));
    command.stderr(std::fs::File::create(&said).unwrap());
    let server = Server::run(command, &folder, &[], None);
    server.post("/v1/put", &put("q", [1.0, 0.0, 0.0])).ok();
    let mut other = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let held = other
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let times = || {
        let said = std::fs::read_to_string(&said).unwrap();
        said.matches("writing access data and counters").count()
    };
    let hit = || server.post("/v1/get", &json!({"query": "q"})).ok()["hit"] == true;
    until("it is said", || {
        assert!(hit());
        times() > 0
    });
    assert!(!server.dump("").is_empty());
    assert_eq!(times(), 1, "once, as long as it lasts");
    drop(held);
    assert!(hit() && server.stop());
}
