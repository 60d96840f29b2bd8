//! `import`.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::{Folder, VECTORS};

#[test]
fn import_stops_at_the_first_bad_line() {
    let folder = Folder::new();
    let line = |query: &str| {
        format!("{{\"query\":\"{query}\",\"response\":\"r\",\"embedding\":[1,0,0]}}\n")
    };
    let file = folder.write(
        "a.jsonl",
        line("a") + "\n" + &line("b") + "{\"query\":\"c\"}\n" + &line("d"),
    );
    let (kind, message) = folder.mneme(&["--json", "import", &file]).error();
    assert_eq!(kind, "argument");
    for part in [
        "2 lines stored",
        "line 4",
        "missing field `response`",
        "--keep-going",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(folder.json(&["stats"])["entries"], 2);

    let done = folder.mneme(&["--json", "import", "--keep-going", &file]);
    assert_eq!(done.code, 2);
    let report = done.json();
    assert_eq!(
        (&report["stored"], &report["failed"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(report["errors"][0]["line"], 4);
    assert_eq!(folder.json(&["stats"])["entries"], 3);
}

#[test]
fn import_finds_the_line_that_the_cache_refuses() {
    let folder = Folder::new();
    let lines = [
        r#"{"query":"a","response":"r","embedding":[1,0,0],"namespace":"x","ttl":60,"metadata":{"k":1}}"#,
        r#"{"query":"b","response":"r","embedding":[1,0]}"#,
        r#"{"query":"c","response":"r"}"#,
        r#"{"query":"d","response":"r","embedding":[0,1,0],"namespace":""}"#,
        r#"{"query":"e","response":"r","embedding":[0,1,0]}"#,
    ];
    let done = folder.run(
        VECTORS,
        &["--json", "import", "--keep-going", "-"],
        lines.join("\n").as_bytes(),
    );
    assert_eq!(done.code, 2, "{done:?}");
    let report = done.json();
    let bad: Vec<u64> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bad| bad["line"].as_u64().unwrap())
        .collect();
    assert_eq!((report["stored"].as_u64(), bad), (Some(2), vec![2, 3, 4]));
    assert_eq!(
        folder.json(&["get", "A", "-n", "x"])["metadata"],
        json!({"k": 1})
    );

    let all = folder.run(VECTORS, &["import", "-"], lines[4].as_bytes());
    assert_eq!(
        (all.code, all.stdout.starts_with("1 entry stored, in ")),
        (0, true),
        "{all:?}"
    );
}

/// Killed 200 times while it reads, embeds or stores: what was committed stays, lines are
/// stored in their order, and the file is sound.
#[test]
fn an_import_that_is_killed_loses_nothing_that_was_stored() {
    const KILLS: u32 = 200;
    const BATCH: i64 = 256;
    let folder = Folder::new();
    folder.put("mine", "stays", "[1,0,0]");
    let path = folder.path("mneme.db");
    let database = Connection::open(&path).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    let count = |round: u32| -> (i64, i64) {
        let sql = "SELECT count(*), coalesce(max(CAST(substr(query, ?2) AS INTEGER)), -1) FROM entries WHERE query GLOB ?1";
        let prefix = format!("r{round} q");
        let arguments = (format!("{prefix}*"), prefix.len() as i64 + 1);
        database
            .query_row(sql, arguments, |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    };
    let mut random = fastrand::Rng::with_seed(7);
    let mut stored = Vec::new();
    for round in 0..KILLS {
        let lines = random.i64(0..3 * BATCH + 40);
        let mut child = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(folder.path(""))
            .env("MNEME_EMBEDDER", VECTORS)
            .args(["import", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let text: String = (0..lines)
            .map(|n| format!("{{\"query\":\"r{round} q{n}\",\"response\":\"answer\",\"embedding\":[1,{n},{round}]}}\n"))
            .collect();
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        // Some are killed as soon as they have read; the others when so much is stored.
        let seen = random.i64(0..=lines / BATCH) * BATCH;
        let deadline = Instant::now() + Duration::from_secs(60);
        while count(round).0 < seen {
            assert!(
                Instant::now() < deadline,
                "round {round}: {seen} of {lines}"
            );
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        drop(input);
        let (rows, last) = count(round);
        assert!(
            rows >= seen && rows <= lines,
            "round {round}: {rows} of {lines}"
        );
        assert_eq!(last, rows - 1, "round {round}");
        stored.push(rows);
    }
    for (round, &rows) in stored.iter().enumerate() {
        assert_eq!(count(round as u32).0, rows, "round {round}");
    }
    assert!(stored.iter().sum::<i64>() > i64::from(KILLS) * 50);
    let sound: String = database
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
    drop(database);
    let hit = folder.mneme(&["get", "mine", "--embedding", "[1,0,0]"]);
    assert_eq!((hit.code, hit.stdout.trim()), (0, "stays"), "{hit:?}");
    assert_eq!(folder.mneme(&["health"]).code, 0);
    let all = 1 + stored.iter().sum::<i64>();
    assert_eq!(folder.json(&["stats"])["entries"], all);
}
