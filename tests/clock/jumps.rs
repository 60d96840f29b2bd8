//! A clock that jumps by years while `serve` runs.

use std::sync::atomic::{AtomicBool, Ordering};

use mneme_tests::command::{Folder, VECTORS};
use mneme_tests::served::{Server, put, until};
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use serde_json::{Value, json};

use super::faketime::{Dial, Faketime};

mneme_tests::tests![
    entries_live_and_expire_by_the_clock_wherever_it_jumps,
    requests_are_answered_while_the_clock_jumps,
    what_waits_is_written_by_a_clock_that_was_set_back,
    others_are_followed_by_a_clock_that_was_set_back,
    redis_stores_nothing_by_a_clock_that_is_wrong,
    postgres_stores_nothing_by_a_clock_that_is_wrong,
];

const TEN_YEARS: i64 = 10 * 365 * 24 * 3600;

fn start(faketime: &Faketime, folder: &Folder, dial: &Dial, args: &[&str]) -> Server {
    let command = faketime.dialled(folder.command(VECTORS), dial);
    Server::run(command, folder, args, None)
}

fn mortal(query: &str) -> Value {
    let mut body = put(query, [1.0, 0.0, 0.0]);
    body["ttl"] = json!(3600);
    body
}

fn is_hit(server: &Server, query: &str) -> bool {
    let question = json!({"query": query, "embedding": [0, 0, 1]});
    server.post("/v1/get", &question).ok()["hit"] == true
}

fn entries(server: &Server) -> Value {
    server.ask("GET", "/v1/stats").ok()["entries"].clone()
}

fn entries_live_and_expire_by_the_clock_wherever_it_jumps(faketime: Faketime) {
    let folder = Folder::new();
    let dial = Dial::new(folder.0.path());
    let args = ["--vacuum-interval", "1"];
    let server = start(&faketime, &folder, &dial, &args);
    server.post("/v1/put", &mortal("mortal")).ok();
    server
        .post("/v1/put", &put("lasting", [0.0, 1.0, 0.0]))
        .ok();
    assert!(is_hit(&server, "mortal") && is_hit(&server, "lasting"));

    dial.set(TEN_YEARS);
    assert!(!is_hit(&server, "mortal") && is_hit(&server, "lasting"));
    server.post("/v1/put", &mortal("of the future")).ok();
    assert!(is_hit(&server, "of the future"));

    dial.set(0);
    assert!(!is_hit(&server, "of the future") && is_hit(&server, "lasting"));
    server.post("/v1/put", &mortal("of the future")).ok();
    assert!(is_hit(&server, "of the future"), "it was put again");

    dial.set(-TEN_YEARS);
    assert!(!is_hit(&server, "of the future") && is_hit(&server, "lasting"));
    server.post("/v1/put", &mortal("of the past")).ok();
    assert!(is_hit(&server, "of the past"));

    // What has expired goes by itself, though the clock has been everywhere.
    assert_eq!(entries(&server), 3);
    dial.set(0);
    until("what has expired is gone", || entries(&server) == 2);
    assert!(!is_hit(&server, "of the past") && is_hit(&server, "of the future"));
    dial.set(TEN_YEARS);
    until("the rest is gone", || entries(&server) == 1);
    assert!(is_hit(&server, "lasting"));
    assert!(server.stop());
}

fn requests_are_answered_while_the_clock_jumps(faketime: Faketime) {
    const JUMPS: i64 = 60;
    let folder = Folder::new();
    let dial = Dial::new(folder.0.path());
    for client in 0..4 {
        let space = format!("tenant-{client}");
        folder.json(&["-n", &space, "quota", "3"]);
    }
    // Deadlines of half a minute, which no jump may reach.
    let server = start(&faketime, &folder, &dial, &["--vacuum-interval", "1"]);
    let jumped = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (server, jumped) = (&server, &jumped);
                scope.spawn(move || {
                    let space = format!("/v1/namespaces/tenant-{client}");
                    let mut asked = 0;
                    while !jumped.load(Ordering::Relaxed) {
                        let query = format!("question {asked}");
                        let stored = put(&query, [1.0, asked as f32, 0.0]);
                        server.post(&format!("{space}/put"), &stored).ok();
                        // Whatever the clock says, it is not what is evicted.
                        let found = server.post(&format!("{space}/get"), &json!({"query": query}));
                        assert_eq!(found.ok()["hit"], true, "{space}: {query}");
                        assert_eq!(server.ask("GET", "/readyz").status, 200);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        let mut random = fastrand::Rng::with_seed(7);
        for jump in 0..JUMPS {
            dial.set(random.i64(-TEN_YEARS..=TEN_YEARS));
            // A few requests by each time.
            for n in 0..3 {
                let stored = put(&format!("jump {jump} {n}"), [0.0, 1.0, 0.0]);
                server.post("/v1/put", &stored).ok();
            }
        }
        jumped.store(true, Ordering::Relaxed);
        let asked = clients.into_iter().map(|client| client.join().unwrap());
        asked.sum::<u32>()
    });
    println!("{asked} puts were found at once, during {JUMPS} jumps");
    for client in 0..4 {
        let stats = server.ask("GET", &format!("/v1/namespaces/tenant-{client}/stats"));
        assert_eq!(stats.ok()["entries"], 3);
    }
    // By now no entry is of the future.
    dial.set(TEN_YEARS);
    let health = server.ask("GET", "/v1/health?deep=true").ok();
    assert_eq!(health["deep"]["entries"], entries(&server), "{health}");
    assert!(server.stop(), "a signal ends it in time");
}

fn what_waits_is_written_by_a_clock_that_was_set_back(faketime: Faketime) {
    let folder = Folder::new();
    let dial = Dial::new(folder.0.path());
    let server = start(&faketime, &folder, &dial, &[]);
    server
        .post("/v1/put", &put("question", [1.0, 0.0, 0.0]))
        .ok();
    let file = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let reads = || -> u32 {
        let sql = "SELECT access_count FROM entries";
        file.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    for (n, years) in [0, 10, 0, -10].into_iter().enumerate() {
        // The hit is noted by one clock, and written by another.
        assert!(is_hit(&server, "question"));
        dial.set(years * TEN_YEARS / 10);
        until("the hit is written", || reads() == n as u32 + 1);
    }
    assert!(server.stop());
}

fn others_are_followed_by_a_clock_that_was_set_back(faketime: Faketime) {
    let folder = Folder::new();
    let dial = Dial::new(folder.0.path());
    dial.set(TEN_YEARS);
    let server = start(&faketime, &folder, &dial, &["--follow", "100"]);
    server
        .post("/v1/put", &put("question", [1.0, 0.0, 0.0]))
        .ok();
    let similar = |vector: &Value| {
        let question = json!({"query": "in other words", "embedding": vector});
        server.post("/v1/get", &question).ok()["hit"] == true
    };
    // The index is there, and was compared in the future.
    assert!(similar(&json!([1, 0, 0])));
    for seconds in [0, -TEN_YEARS] {
        dial.set(seconds);
        let vector = json!([0, 1, seconds.signum()]);
        folder.put(&format!("by another, {seconds}"), "r", &vector.to_string());
        until("what another has put is found", || similar(&vector));
    }
    assert!(server.stop());
}

fn redis_stores_nothing_by_a_clock_that_is_wrong(faketime: Faketime, redis: Redis) {
    nothing_is_stored_by_a_clock_that_is_wrong(&faketime, &redis.url());
}

fn postgres_stores_nothing_by_a_clock_that_is_wrong(faketime: Faketime, postgres: Postgres) {
    nothing_is_stored_by_a_clock_that_is_wrong(&faketime, &postgres.url());
}

fn nothing_is_stored_by_a_clock_that_is_wrong(faketime: &Faketime, url: &str) {
    let folder = Folder::new();
    let dial = Dial::new(folder.0.path());
    let server = start(faketime, &folder, &dial, &["--store", url]);
    let lasting = put("lasting", [1.0, 0.0, 0.0]);
    server.post("/v1/put", &lasting).ok();
    for (seconds, side) in [
        (TEN_YEARS, "ahead"),
        (-TEN_YEARS, "behind"),
        (3600, "ahead"),
        (-3600, "behind"),
    ] {
        dial.set(seconds);
        for body in [mortal("mortal"), put("other", [0.0, 1.0, 0.0])] {
            let refusal = server.post("/v1/put", &body);
            assert_eq!(refusal.refused(500), "backend");
            let message = refusal.json["error"]["message"].as_str().unwrap();
            assert!(message.contains(side), "{seconds}: {message}");
        }
        assert!(is_hit(&server, "lasting") && !is_hit(&server, "mortal"));
        assert_eq!(entries(&server), 1);
        dial.set(0);
        server.post("/v1/put", &lasting).ok();
    }
    server.post("/v1/put", &mortal("mortal")).ok();
    assert!(is_hit(&server, "mortal"));
    // Deleting by a clock that is behind is no danger.
    dial.set(-TEN_YEARS);
    server.post("/v1/delete", &json!({"query": "mortal"})).ok();
    assert!(!is_hit(&server, "mortal") && is_hit(&server, "lasting"));
    assert!(server.stop());
}
