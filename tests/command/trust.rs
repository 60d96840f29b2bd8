//! `judge`, `--vetoes` and `--verify`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use serde_json::{Value, json};

use crate::Folder;

const PAIRS: &str = r#"{"a": "How do I turn on the light?", "b": "How do I turn off the light?", "same": false, "kind": "opposites"}
{"entry": "Where is my parcel?", "query": "Where is my package?", "same": true}

{"a": "What is the capital of Peru?", "b": "How do I cook rice?"}
"#;

#[test]
fn pairs_are_judged_one_by_one() {
    let folder = Folder::new();
    folder.write("pairs", PAIRS);
    let judge = |more: &[&str]| {
        let args = [
            &["--json", "judge", "pairs", "--threshold", "0.8"][..],
            more,
        ]
        .concat();
        let done = folder.run("minilm", &args, b"");
        assert_eq!(done.code, 0, "{done:?}");
        done.json()
    };
    let found = judge(&[]);
    let [trap, parcel, other] = &found["pairs"].as_array().unwrap()[..] else {
        panic!("{found}");
    };
    assert_eq!(
        (&trap["line"], &trap["same"], &trap["answers"]),
        (&json!(1), &json!(false), &json!(false))
    );
    assert!(trap["similarity"].as_f64().unwrap() > 0.9, "{trap}");
    assert_eq!(
        trap["vetoes"],
        json!([{"kind": "opposites", "query": "turn off", "entry": "turn on"}])
    );
    assert_eq!(
        (&parcel["line"], &parcel["vetoes"]),
        (&json!(2), &json!([]))
    );
    assert_eq!(
        (&other["line"], &other["same"], &other["answers"]),
        (&json!(4), &Value::Null, &json!(false))
    );
    let summary = &found["summary"];
    assert_eq!(summary["threshold"].to_string(), "0.8");
    for (name, count) in [
        ("pairs", 3),
        ("same", 1),
        ("different", 1),
        ("different_answered", 0),
        ("vetoed", 1),
        ("vetoed_different", 1),
    ] {
        assert_eq!(summary[name], count, "{name} of {summary}");
    }
    let lax = judge(&["--vetoes", "none"]);
    assert_eq!(lax["pairs"][0]["answers"], true);
    assert_eq!(lax["summary"]["different_answered"], 1);
    let numbers = judge(&["--vetoes", "numbers,question-word"]);
    assert_eq!(numbers["pairs"][0]["vetoes"], json!([]));

    let text = folder
        .run("minilm", &["judge", "pairs", "-t", "0.8"], b"")
        .stdout;
    assert!(
        text.contains("opposites: \"turn on\", \"turn off\""),
        "{text}"
    );
    assert!(
        text.contains("1 that were similar enough: 1 would have been wrong, 0 right"),
        "{text}"
    );
    for (args, expected) in [
        (
            &["judge", "pairs", "--vetoes", "all"][..],
            "list of opposites",
        ),
        (&["judge", "pairs", "-t", "1.5"], "from -1 to 1"),
        (&["judge", "nowhere"], "cannot open"),
    ] {
        let done = folder.mneme(args);
        assert_eq!(done.code, 2);
        assert!(done.stderr.contains(expected), "{done:?}");
    }
}

#[test]
fn a_veto_is_the_reason_and_explained() {
    let folder = Folder::new();
    folder.put("turn on the light", "Press it.", "[1, 0, 0]");
    let question = ["turn off the light", "--embedding", "[9, 1, 0]"];
    let asked =
        |before: &[&str], command: &str| folder.mneme(&[before, &[command], &question].concat());
    assert_eq!(asked(&[], "get").code, 1);
    assert_eq!(asked(&["--vetoes", "none"], "get").code, 0);
    let explained = asked(&["--json"], "explain");
    assert_eq!(explained.code, 1);
    let explained = explained.json();
    assert_eq!(explained["outcome"]["reason"], "vetoed");
    let rule = explained["rule"].as_str().unwrap();
    assert!(
        rule.contains("\"turn on\" where this one has \"turn off\""),
        "{rule}"
    );
    let candidate = &explained["candidates"][0];
    assert_eq!(
        (&candidate["verdict"], &candidate["partial"]),
        (&json!("vetoed"), &json!(false))
    );
    let text = asked(&[], "explain").stdout;
    assert!(
        text.contains("entry 1, opposites: \"turn off\" here, \"turn on\" there"),
        "{text}"
    );
    let stats = folder.json(&["stats"]);
    assert_eq!(stats["counters"]["vetoes"]["opposites"], 1);
}

#[test]
fn a_program_verifies() {
    let folder = Folder::new();
    folder.put("turn on the light", "Press it.", "[1, 0, 0]");
    let question = ["the light goes on how", "--embedding", "[9, 1, 0]"];
    let asked =
        |before: &[&str], command: &str| folder.mneme(&[before, &[command], &question].concat());
    let knows = r#"grep -q '"response":"Press it."' && echo yes"#;
    assert_eq!(asked(&["--verify", knows], "get").code, 0);
    for (program, reason) in [
        ("echo no", "unverified"),
        ("exit 1", "verifier_failure"),
        ("echo maybe", "verifier_failure"),
    ] {
        let miss = asked(&["--json", "--verify", program], "get");
        assert_eq!(
            (miss.code, miss.json()["reason"].as_str().unwrap()),
            (1, reason),
            "{program}"
        );
    }
    let slow = asked(
        &[
            "--json",
            "--verify",
            "exec sleep 600",
            "--verify-timeout",
            "1",
        ],
        "get",
    );
    assert_eq!(slow.json()["reason"], "verifier_failure");
    let explained = asked(&["--json", "--verify", "echo no"], "explain").json();
    assert_eq!(
        (&explained["verification"], &explained["verified_from"]),
        (&json!("no"), &json!(0.85))
    );
    // Below the threshold only yes helps.
    let far = ["the light goes on how", "--embedding", "[9, 7, 0]"];
    let far = |before: &[&str]| folder.mneme(&[before, &["get"], &far].concat()).code;
    assert_eq!(far(&["--verify", "echo yes"]), 1);
    assert_eq!(far(&["--verify", "echo yes", "--verify-band", "0.7"]), 0);
    assert_eq!(
        far(&["--verify", "echo unknown", "--verify-band", "0.7"]),
        1
    );
    for (args, expected) in [
        (&["--verify-band", "0.7"][..], "need a verifier"),
        (&["--verify", "true", "--verify-later"], "let serve do it"),
        (
            &["--verify", "true", "--verify-url", "http://h"],
            "give one of them",
        ),
        (
            &["--verify-url", "openai:http://h"],
            "openai:BASE_URL,MODEL",
        ),
        (&["--verify-url", "h:1"], "write it with its scheme"),
    ] {
        let done = asked(args, "get");
        assert_eq!(done.code, 2, "{args:?}");
        assert!(done.stderr.contains(expected), "{done:?}");
    }
}

#[test]
fn a_service_verifies() {
    let folder = Folder::new();
    folder.put("turn on the light", "Press it.", "[1, 0, 0]");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/verify", listener.local_addr().unwrap());
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = String::new();
        let mut buffer = [0; 4096];
        let body_of = |asked: &str| {
            let (_, body) = asked.split_once("\r\n\r\n")?;
            serde_json::from_str::<Value>(body).ok()
        };
        let question = loop {
            let length = stream.read(&mut buffer).unwrap();
            assert!(length > 0, "the question ends too early: {asked}");
            asked += std::str::from_utf8(&buffer[..length]).unwrap();
            if let Some(body) = body_of(&asked) {
                break body;
            }
        };
        let body = r#"{"opinion": "no"}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        question
    });
    let args = [
        "--json",
        "--verify-url",
        &url,
        "get",
        "the light goes on how",
        "--embedding",
        "[9, 1, 0]",
    ];
    let miss = folder.mneme(&args).json();
    assert_eq!(miss["reason"], "unverified");
    let asked = serving.join().unwrap();
    assert_eq!(asked["entry_query"], "turn on the light");
}
