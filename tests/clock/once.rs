//! One call by a clock that is behind or ahead.

use mneme_tests::command::{Done, Folder, VECTORS};
use mneme_tests::servers::postgres::Postgres;
use mneme_tests::servers::redis::Redis;
use serde_json::Value;

use super::faketime::Faketime;

mneme_tests::tests![
    what_a_clock_that_is_behind_puts_over_a_quota_stays,
    an_entry_of_the_future_with_a_ttl_is_no_answer,
    a_little_ahead_is_no_future,
    by_a_clock_that_is_behind_nothing_goes_to_a_server,
    a_wrong_clock_creates_no_cache,
    vacuum_keeps_what_is_of_the_future_and_health_says_what_to_do,
];

fn put(query: &str, response: &str) -> Vec<String> {
    let args = ["put", query, response, "--embedding", "[1,0,0]"];
    args.map(str::to_owned).to_vec()
}

/// Runs the command by a clock that is wrong by so much.
fn by(faketime: &Faketime, folder: &Folder, shift: &str, args: &[String]) -> Done {
    let mut command = faketime.shifted(folder.command(VECTORS), shift);
    Done::run(command.args(args))
}

fn get(folder: &Folder, query: &str) -> Value {
    folder.json(&["get", query, "--embedding", "[0,0,1]"])
}

fn what_a_clock_that_is_behind_puts_over_a_quota_stays(faketime: Faketime) {
    for shift in ["-5s", "-1h", "-10y"] {
        let folder = Folder::new();
        folder.json(&["quota", "3"]);
        for query in ["a", "b", "c"] {
            folder.put(query, "r", "[1,0,0]");
        }
        for query in ["late", "later"] {
            let done = by(&faketime, &folder, shift, &put(query, "an answer"));
            assert_eq!(done.code, 0, "{shift}: {done:?}");
            assert_eq!(get(&folder, query)["response"], "an answer", "{shift}");
            assert_eq!(folder.json(&["stats"])["entries"], 3, "{shift}");
        }
    }
}

fn an_entry_of_the_future_with_a_ttl_is_no_answer(faketime: Faketime) {
    let folder = Folder::new();
    let mut args = put("question", "of the future");
    args.extend(["--ttl".into(), "60".into()]);
    let done = by(&faketime, &folder, "+10y", &args);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(get(&folder, "question")["hit"], false);
    let similar = folder.json(&["get", "in other words", "--embedding", "[1,0,0]"]);
    assert_eq!(similar["hit"], false, "{similar}");
    let health = folder.json(&["health", "--deep"]).to_string();
    assert!(health.contains("a clock that is ahead"), "{health}");
    // The clock that put it was right, for all that is known: it is there in its time.
    let get_it = ["--json", "get", "question", "--embedding", "[0,0,1]"].map(str::to_owned);
    let then = by(&faketime, &folder, "+10y", &get_it);
    assert_eq!(then.json()["response"], "of the future");
    // And what is put now takes its place.
    folder.put("question", "of today", "[1,0,0]");
    assert_eq!(get(&folder, "question")["response"], "of today");
    assert_eq!(folder.json(&["stats"])["entries"], 1);
    let health = folder.json(&["health", "--deep"]);
    assert_eq!(health["healthy"], true, "{health}");
}

fn a_little_ahead_is_no_future(faketime: Faketime) {
    let folder = Folder::new();
    let mut args = put("question", "answer");
    args.extend(["--ttl".into(), "3600".into()]);
    let done = by(&faketime, &folder, "+200s", &args);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(get(&folder, "question")["response"], "answer");
}

fn by_a_clock_that_is_behind_nothing_goes_to_a_server(
    faketime: Faketime,
    redis: Redis,
    postgres: Postgres,
) {
    for url in [redis.url(), postgres.url()] {
        let folder = Folder::new();
        let with_store = |args: &[&str]| -> Vec<String> {
            let all = ["--store", &url].into_iter().chain(args.iter().copied());
            all.map(str::to_owned).collect()
        };
        let vector = ["--embedding", "[1,0,0]"];
        let old = with_store(&["put", "old", "r", "--ttl", "3600", vector[0], vector[1]]);
        let lines = r#"{"query": "old", "response": "r", "embedding": [1, 0, 0]}"#;
        std::fs::write(folder.path("old.jsonl"), lines).unwrap();
        let import = with_store(&["import", "old.jsonl"]);
        for (shift, is_stored) in [("-1d", false), ("-400s", false), ("-200s", true)] {
            for args in [&old, &import] {
                let done = by(&faketime, &folder, shift, args);
                assert_eq!(done.code == 0, is_stored, "{shift}: {done:?}");
                assert_eq!(!done.stderr.contains("s behind"), is_stored, "{done:?}");
            }
            let get = with_store(&["--json", "get", "old", vector[0], "[0,0,1]"]);
            let done = Done::run(folder.command(VECTORS).args(&get));
            match is_stored {
                true => assert_eq!(done.json()["hit"], true, "{shift}: {done:?}"),
                // Not even an empty one.
                false => assert!(done.stderr.contains("there is no cache"), "{done:?}"),
            }
        }
    }
}

fn a_wrong_clock_creates_no_cache(faketime: Faketime, redis: Redis, postgres: Postgres) {
    let folder = Folder::new();
    folder.put("old", "r", "[1,0,0]");
    let dump = folder.mneme(&["dump", "--portable", "old.archive"]);
    assert_eq!(dump.code, 0, "{dump:?}");
    let lines = r#"{"query": "old", "response": "r", "embedding": [1, 0, 0]}"#;
    std::fs::write(folder.path("old.jsonl"), lines).unwrap();
    const TABLES: &str = "SELECT nspname, relname
        FROM pg_namespace LEFT JOIN pg_class ON relnamespace = pg_namespace.oid
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2";
    let there =
        || -> (Vec<String>, String) { (redis.client().run(&["KEYS", "*"]), postgres.sql(TABLES)) };
    let before = there();
    assert_eq!(before.0, [""; 0]);
    for url in [redis.url(), postgres.url()] {
        let with_store = |args: &[String]| -> Vec<String> {
            let all = ["--store".to_owned(), url.clone()];
            all.into_iter().chain(args.iter().cloned()).collect()
        };
        let import = ["import", "old.jsonl"].map(str::to_owned);
        let load = ["load", "old.archive"].map(str::to_owned);
        for shift in ["+10y", "-10y"] {
            for args in [&put("q", "r")[..], &import, &load] {
                let done = by(&faketime, &folder, shift, &with_store(args));
                assert_ne!(done.code, 0, "{shift} {args:?}: {done:?}");
                let said = done.stderr.contains("set the clock of this machine");
                assert!(said, "{shift} {args:?}: {done:?}");
                assert_eq!(there(), before, "{shift} {args:?} has created something");
            }
        }
    }
    for url in [redis.url(), postgres.url()] {
        let put = ["--store", &url, "put", "q", "r", "--embedding", "[1,0,0]"];
        let done = folder.mneme(&put);
        assert_eq!(done.code, 0, "{done:?}");
    }
    let after = there();
    assert!(!after.0.is_empty() && after.1 != before.1, "{after:?}");
}

fn vacuum_keeps_what_is_of_the_future_and_health_says_what_to_do(faketime: Faketime) {
    let folder = Folder::new();
    let store = || {
        let mut args = put("question", "of the future");
        args.extend(["--ttl".into(), "60".into()]);
        let done = by(&faketime, &folder, "+10y", &args);
        assert_eq!(done.code, 0, "{done:?}");
    };
    let again = ["put", "question", "of today", "--embedding", "[1,0,0]"];
    for remedy in [&again[..], &["delete", "question"], &["clear"]] {
        store();
        let vacuum = folder.json(&["vacuum"]);
        assert_eq!(vacuum["deleted"], 0, "{vacuum}");
        assert_eq!(folder.json(&["stats"])["entries"], 1);
        let health = folder.json(&["health", "--deep"]);
        assert_eq!(health["healthy"], false, "{health}");
        let said = "put, delete or clear these entries";
        assert!(health.to_string().contains(said), "{health}");
        let done = folder.mneme(remedy);
        assert_eq!(done.code, 0, "{done:?}");
        let health = folder.json(&["health", "--deep"]);
        assert_eq!(health["healthy"], true, "{remedy:?}: {health}");
    }
}
