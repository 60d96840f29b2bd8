//! `mneme serve` on a Redis that loses its data: servers go on with an empty cache by themselves, and
//! leave another cache in its place alone. And on one that never answers again.

use mneme_tests::command::{Folder, program};
use mneme_tests::served::{JSON, Server, put, terminate, until};
use mneme_tests::servers::redis::Redis;
use mneme_tests::suite::Suite;
use std::fs::File;
use std::io::Write;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

mneme_tests::tests![
    an_emptied_redis_is_filled_again,
    another_cache_in_its_place_is_left_alone,
    a_redis_that_never_answers_does_not_keep_a_server_from_its_end,
];

fn main() -> ExitCode {
    Suite::new().tests(tests()).run()
}

const VECTOR: [f32; 3] = [1.0, 0.0, 0.0];

/// A server on this Redis. What it says goes to the file `said` of the folder.
fn serve(redis: &Redis, folder: &Folder, embedder: &str) -> Server {
    let mut command = Command::new(program());
    command
        .env("MNEME_EMBEDDER", embedder)
        .stderr(File::create(folder.path("said")).unwrap());
    Server::run(command, folder, &["--store", &redis.url()], None)
}

fn status_of_put(server: &Server, query: &str) -> u16 {
    server.post("/v1/put", &put(query, VECTOR)).status
}

fn an_emptied_redis_is_filled_again(redis: Redis) {
    let folders = [Folder::new(), Folder::new()];
    let servers = folders
        .each_ref()
        .map(|folder| serve(&redis, folder, "vectors:test-model,3"));
    let [one, two] = &servers;
    assert_eq!(status_of_put(one, "before"), 200);
    redis.client().run::<String>(&["FLUSHALL"]);
    assert_eq!(status_of_put(one, "lost"), 500);
    for server in [one, two] {
        until("it stores again", || status_of_put(server, "after") == 200);
        until("it is ready", || server.ask("GET", "/readyz").status == 200);
    }
    assert_eq!(two.ask("GET", "/v1/stats").ok()["entries"], 1);
    let said = std::fs::read_to_string(folders[0].path("said")).unwrap();
    assert!(said.contains("goes on with what is there now"), "{said}");
}

fn another_cache_in_its_place_is_left_alone(redis: Redis) {
    let (folder, other_folder) = (Folder::new(), Folder::new());
    let server = serve(&redis, &folder, "vectors:test-model,3");
    assert_eq!(status_of_put(&server, "before"), 200);
    redis.client().run::<String>(&["FLUSHALL"]);
    // Whoever comes first: a cache of another embedder keeps this one from going on.
    let other = serve(&redis, &other_folder, "vectors:another,3");
    until("it is not ready", || {
        server.ask("GET", "/readyz").status == 503
    });
    let told = server.ask("GET", "/readyz").json;
    let problem = told["problem"].as_str().unwrap();
    assert!(
        !problem.is_empty() && !problem.contains("restart"),
        "{told}"
    );
    assert_ne!(status_of_put(&server, "mine"), 200);
    assert_eq!(other.ask("GET", "/v1/stats").ok()["entries"], 0);
}

fn a_redis_that_never_answers_does_not_keep_a_server_from_its_end(redis: Redis) {
    let folder = Folder::new();
    let mut command = Command::new(program());
    command
        .env("MNEME_EMBEDDER", "vectors:test-model,3")
        .stderr(File::create(folder.path("said")).unwrap());
    let url = redis.url();
    let server = Server::run(command, &folder, &["--store", &url, "--grace", "2"], None);
    assert_eq!(status_of_put(&server, "before"), 200);
    redis
        .client()
        .run::<String>(&["CLIENT", "PAUSE", "600000", "ALL"]);
    let body = put("never", VECTOR).to_string();
    let mut putting = server.begin("/v1/put", JSON, body.len(), "");
    putting.write_all(body.as_bytes()).unwrap();
    until("the put waits", || {
        server.ask("GET", "/readyz").status == 503
    });
    let asked = Instant::now();
    terminate(&server.child);
    assert_eq!(server.ended(), Some(1));
    assert!(
        asked.elapsed() < Duration::from_secs(8),
        "{:?}",
        asked.elapsed()
    );
    let said = std::fs::read_to_string(folder.path("said")).unwrap();
    for part in ["dropped: 1 POST /v1/put", "did not end a call in time"] {
        assert!(said.contains(part), "{said}");
    }
}
