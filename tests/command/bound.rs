//! `--error-bound` and `feedback`, of the command and of `serve`.

use mneme_tests::served::{Server, put};
use serde_json::{Value, json};

use crate::Folder;

const BOUND: [&str; 2] = ["--error-bound", "0.05"];

/// Questions that are near each other, with one answer or another.
fn log(questions: usize, labels: &[&str]) -> String {
    let words = [
        "red", "blue", "green", "small", "large", "old", "new", "round", "flat", "warm", "cold",
        "long", "short", "soft", "hard", "light", "dark", "clean", "quiet", "loud",
    ];
    let line = |n: usize| {
        let (a, b) = (words[n % 20], words[n / 20 % 20]);
        let label = labels[n % labels.len()];
        json!({"query": format!("Where can I buy a {a} and {b} chair?"), "label": label})
    };
    (0..questions).map(|n| format!("{}\n", line(n))).collect()
}

#[test]
fn a_replay_plays_the_loop_of_labels() {
    let folder = Folder::new();
    let replay = |file: &str, more: &[&str]| {
        let args = [&["--json", "replay", file, "--vetoes", "none"][..], more].concat();
        let done = folder.run("minilm", &args, b"");
        assert_eq!(done.code, 0, "{done:?}");
        done.json()
    };
    folder.write("same", log(400, &["shop"]));
    let same = replay("same", &BOUND);
    let [bound] = &same["outcomes"].as_array().unwrap()[..] else {
        panic!("the bound alone: {same}");
    };
    assert_eq!(
        (&bound["threshold"], &bound["error_bound"]),
        (&Value::Null, &json!({"delta": 0.05, "of": "answers"}))
    );
    assert!(bound["semantic"].as_u64().unwrap() > 50, "{bound}");
    assert!(bound["explored"].as_u64().unwrap() > 0, "{bound}");
    assert_eq!(bound["wrong"], 0);
    // Where a third is wrong, nothing is open; of all requests with a large share, something is.
    folder.write("mixed", log(400, &["shop", "shop", "other"]));
    let closed = replay("mixed", &[&BOUND[..], &["--thresholds", "0.8"]].concat());
    let outcomes = closed["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes[0]["wrong"].as_u64().unwrap() > 0, "{closed}");
    assert!(outcomes[0]["wrong_of_requests"].as_f64().unwrap() > 0.0);
    assert_eq!(outcomes[1]["semantic"], 0);
    let half = replay("mixed", &["--error-bound", "0.4", "--of", "requests"]);
    let open = &half["outcomes"][0];
    assert!(open["semantic"].as_u64().unwrap() > 0, "{open}");
    let args = [
        &["replay", "mixed", "--vetoes", "none"][..],
        &["--error-bound", "0.4", "--of", "requests"],
    ]
    .concat();
    let table = folder.run("minilm", &args, b"").stdout;
    let row = table
        .lines()
        .find(|line| line.contains("40.0 % of requests"));
    let semantic = open["semantic"].to_string();
    let mut cells = row.unwrap().split_whitespace();
    assert!(cells.any(|cell| cell == semantic), "{table}");
    let plot = [&args[..], &["--plot", "r.svg"]].concat();
    let plot = folder.run("minilm", &plot, b"");
    assert_eq!(plot.code, 2);
    assert!(plot.stderr.contains("add --thresholds"), "{plot:?}");
}

#[test]
fn pairs_say_what_a_bound_would_open() {
    let folder = Folder::new();
    let pair = |n: usize, same: bool| {
        let (a, b) = match same {
            true => (
                format!("where is chair {n}"),
                format!("Where is the chair {n}?"),
            ),
            false => (
                format!("where is chair {n}"),
                format!("how do I cook rice {n} times"),
            ),
        };
        json!({"a": a, "b": b, "same": same})
    };
    let pairs: String = (0..300)
        .map(|n| format!("{}\n{}\n", pair(n, true), pair(n, false)))
        .collect();
    folder.write("pairs", pairs);
    let done = folder.run(
        "minilm",
        &["--json", "calibrate", "pairs", "--error-bound", "0.05"],
        b"",
    );
    assert_eq!(done.code, 0, "{done:?}");
    let found = done.json();
    let opens = &found["bound"]["opens"];
    assert_eq!(
        (&opens["state"], &opens["wrong"]),
        (&json!("open"), &json!(0))
    );
    assert!(opens["threshold"].as_f64().unwrap() >= 0.7);
    let of = |name: &str| found["curve"][0][name].as_f64().unwrap();
    assert_eq!(of("wrong_of_requests"), of("wrong_hits") / 600.0);
    let text = folder.run(
        "minilm",
        &["calibrate", "pairs", "--error-bound", "0.001"],
        b"",
    );
    assert!(text.stdout.contains("nothing is open"), "{text:?}");
    let text = text.stdout;
    assert!(
        text.contains("of answers") && text.contains("of requests"),
        "{text}"
    );
}

#[test]
fn a_miss_has_a_ticket_that_feedback_takes_once() {
    let folder = Folder::new();
    let vector = |more: &str| format!("[1, 0, {more}]");
    let mneme = |args: &[&str]| folder.mneme(&[&BOUND[..], args].concat());
    let stored = mneme(&["put", "one", "the answer", "--embedding", &vector("0")]);
    assert_eq!(stored.code, 0, "{stored:?}");
    let asked = mneme(&["--json", "get", "two", "--embedding", &vector("0.1")]);
    assert_eq!(asked.code, 1, "{asked:?}");
    let miss = asked.json();
    assert_eq!(miss["reason"], "unproven");
    let nearest = &miss["nearest"];
    assert_eq!(
        (&nearest["query"], &nearest["response"]),
        (&json!("one"), &json!("the answer"))
    );
    let ticket = nearest["ticket"].as_str().unwrap();
    let given = mneme(&["--json", "feedback", ticket, "same"]);
    assert_eq!(given.code, 0, "{given:?}");
    assert_eq!(given.json()["bound"]["labels"], 1);
    let again = mneme(&["feedback", ticket, "same"]);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("was used"), "{again:?}");
    let stats = mneme(&["stats", "--namespace", "default"]).stdout;
    assert!(
        stats.contains("nothing is open: 1 label, 0 wrong"),
        "{stats}"
    );
    let why = mneme(&["explain", "two", "--embedding", &vector("0.1")]).stdout;
    assert!(why.contains("do not open the error bound"), "{why}");
    // A store that is only read has nothing to keep, and that is no failure.
    let only_read = ["--store", "sqlite:mneme.db?mode=ro", "get", "three"];
    let near = vector("0.1");
    let args = [&only_read[..], &["--embedding", &near]].concat();
    let read = mneme(&args);
    assert_eq!(read.code, 1, "{read:?}");
    assert!(!read.stderr.contains("not kept"), "{read:?}");
    for (args, expected) in [
        (&["--of", "requests", "stats"][..], "add --error-bound"),
        (&["--error-bound", "1", "stats"], "above 0 and below 1"),
        (&["feedback", ticket, "same"], "has no error bound"),
        (&["--error-bound", "0.1", "demo"], "leave --error-bound out"),
    ] {
        let done = folder.mneme(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert!(done.stderr.contains(expected), "{args:?}: {done:?}");
    }
}

#[test]
fn run_compares_the_answer_of_its_program() {
    let folder = Folder::new();
    let run = |question: &str, answer: &str| {
        let args = [&BOUND[..], &["run", "--", "echo", answer]].concat();
        let done = folder.run("minilm", &args, question.as_bytes());
        assert_eq!(done.code, 0, "{done:?}");
    };
    run("Where is my parcel?", "on its way");
    run("Where is my parcel now?", "On its  way");
    run("Where is my parcel today?", "lost");
    let stats = folder.run(
        "minilm",
        &["--json", "--error-bound", "0.05", "stats", "-n", "default"],
        b"",
    );
    let bound = &stats.json()["bound"];
    assert_eq!(
        (&bound["labels"], &bound["wrong"], &bound["unknown"]),
        (&json!(2), &json!(1), &json!(1)),
        "{bound}"
    );
    assert_eq!(
        (&bound["state"], bound["needed"].is_u64()),
        (&json!("too_few_labels"), true)
    );
}

#[test]
fn a_server_takes_feedback() {
    let folder = Folder::new();
    let server = Server::start(&folder, &BOUND);
    server.post("/v1/put", &put("one", [1.0, 0.0, 0.0])).ok();
    let ask = |n: u32| {
        let number = f64::from(n) / 10_000.0;
        let question =
            json!({"query": format!("q{n}"), "embedding": [1.0, 0.0, number], "vetoes": []});
        server.post("/v1/get", &question).ok()
    };
    let (mut opened, mut told_open) = (false, false);
    for n in 0..300 {
        let found = ask(n);
        let ticket = match found["hit"].as_bool().unwrap() {
            true => &found["ticket"],
            false => &found["nearest"]["ticket"],
        };
        opened |= found["hit"] == true;
        let feedback = json!({"ticket": ticket, "label": "same", "source": "judged"});
        let said = server.post("/v1/feedback", &feedback).ok();
        assert!(said["bound"]["labels"].as_u64().unwrap() > 0, "{said}");
        told_open |= said["bound"]["state"] == "open";
    }
    assert!(opened && told_open);
    let stats = server.ask("GET", "/v1/namespaces/default/stats").ok();
    assert!(stats["bound"]["labels"].as_u64().unwrap() > 150, "{stats}");
    let ticket = ask(1000);
    let ticket = ticket["ticket"]
        .as_str()
        .or(ticket["nearest"]["ticket"].as_str());
    for (body, expected) in [
        (json!({"ticket": ticket, "label": "right"}), "label"),
        (
            json!({"ticket": ticket, "label": "same", "source": "god"}),
            "source",
        ),
        (json!({"ticket": "00", "label": "same"}), "not issued"),
    ] {
        let refused = server.post("/v1/feedback", &body);
        assert_eq!(refused.status, 400);
        let said = refused.json.to_string();
        assert!(said.contains(expected), "{said}");
    }
    let elsewhere = json!({"ticket": ticket, "label": "same"});
    let other = server.post("/v1/namespaces/other/feedback", &elsewhere);
    assert_eq!(other.status, 400);
    server.post("/v1/feedback", &elsewhere).ok();
    assert_eq!(server.post("/v1/feedback", &elsewhere).status, 400);
}
