//! `run`, with the programs of Unix.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::Folder;

const MINILM: &str = "minilm";

#[test]
fn the_program_runs_once_for_a_question_in_any_words() {
    let folder = Folder::new();
    let program = [
        "run",
        "--ttl",
        "100",
        "--",
        "sh",
        "-c",
        "echo x >> calls; tr a-z A-Z; printf end",
    ];
    let first = folder.run(MINILM, &program, b"How do I reset my password?\n");
    assert_eq!(
        (first.code, first.stdout.as_str()),
        (0, "HOW DO I RESET MY PASSWORD?\nend"),
        "{first:?}"
    );
    for query in [
        "how do I  reset my password?",
        "I forgot my password, how can I reset it?",
    ] {
        let again = folder.run(MINILM, &program, query.as_bytes());
        assert_eq!((again.code, &again.stdout), (0, &first.stdout), "{again:?}");
    }
    assert_eq!(fs::read_to_string(folder.path("calls")).unwrap(), "x\n");
}

#[test]
fn a_failure_is_passed_through_and_not_cached() {
    let folder = Folder::new();
    let program = ["--json", "run", "--", "sh", "-c", "cat; exit 7"];
    for _ in 0..2 {
        let done = folder.run(MINILM, &program, b"a question");
        assert_eq!(done.code, 7, "{done:?}");
        let expected = json!({
            "hit": false, "reason": "no_match", "response": "a question", "stored": false, "exit_code": 7,
        });
        assert_eq!(done.json(), expected);
    }
    let killed = folder.run(
        MINILM,
        &["run", "--", "sh", "-c", "kill -9 $$"],
        b"a question",
    );
    assert_eq!(killed.code, 137);
    let missing = folder.run(
        MINILM,
        &["--json", "run", "--", "./no-such-program"],
        b"a question",
    );
    assert!(
        missing
            .error()
            .1
            .contains("cannot start \"./no-such-program\"")
    );
}

#[test]
fn a_cache_that_fails_does_not_stop_the_program() {
    let folder = Folder::new();
    folder.write("broken.db", "not a database, by any means; ".repeat(40));
    let cases: [(&[&str], &[u8], &str); 4] = [
        (&["--store", "sqlite:broken.db"], b"question", "broken.db"),
        (&["--store", "ftp:x"], b"question", "ftp"),
        (&["--store", "memory:"], b"caf\xe9", "UTF-8"),
        (
            &["--embedder", "vectors:m,3"],
            b"question",
            "pass the embedding",
        ),
    ];
    for (options, input, warning) in cases {
        let args = [options, &["run", "--", "wc", "-c"]].concat();
        let done = folder.run(MINILM, &args, input);
        assert_eq!(
            (done.code, done.stdout.trim()),
            (0, input.len().to_string().as_str())
        );
        assert!(
            done.stderr.contains("warning") && done.stderr.contains(warning),
            "{done:?}"
        );
    }
}

#[test]
fn output_that_cannot_be_kept_is_passed_on() {
    let folder = Folder::new();
    let program = [
        "run",
        "--",
        "sh",
        "-c",
        "head -c 5000000 /dev/zero | tr '\\0' x",
    ];
    let done = folder.run(MINILM, &program, b"a long answer, please");
    assert_eq!((done.code, done.stdout.len()), (0, 5_000_000));
    assert!(
        done.stderr.contains("longer than 4.0 MiB"),
        "{}",
        done.stderr
    );
    let binary = folder.run(
        MINILM,
        &["--json", "run", "--", "printf", "\\377"],
        b"bytes",
    );
    assert_eq!(binary.json()["stored"], false);
}

#[test]
fn what_the_validator_refuses_is_not_kept() {
    let folder = Folder::new();
    for bad in ["cat > /dev/null", "echo '[ERROR] no such model'"] {
        for _ in 0..2 {
            let program = format!("echo x >> calls; {bad}");
            let done = folder.run(MINILM, &["run", "--", "sh", "-c", &program], b"a question");
            assert_eq!(done.code, 0, "{done:?}");
            assert!(done.stderr.contains("was not cached"), "{done:?}");
        }
    }
    assert_eq!(
        fs::read_to_string(folder.path("calls")).unwrap(),
        "x\n".repeat(4)
    );
    let good = ["run", "--", "sh", "-c", "echo an answer"];
    folder.run(MINILM, &good, b"a question");
    let again = folder.run(MINILM, &["run", "--", "false"], b"a question");
    assert_eq!(
        (again.code, again.stdout.as_str()),
        (0, "an answer\n"),
        "{again:?}"
    );
}

#[test]
fn a_stored_answer_that_the_validator_refuses_is_computed_and_replaced() {
    let folder = Folder::new();
    let blank = folder.run(MINILM, &["put", "a question", ""], b"");
    assert_eq!(blank.code, 0, "{blank:?}");
    for program in ["echo good", "echo other"] {
        let done = folder.run(MINILM, &["run", "--", "sh", "-c", program], b"a question");
        assert_eq!((done.code, done.stdout.as_str()), (0, "good\n"), "{done:?}");
    }
    let kept = folder.run(MINILM, &["get", "a question"], b"");
    assert_eq!(kept.stdout.trim_end(), "good", "{kept:?}");
}

#[test]
fn the_exit_code_is_the_programs_even_if_nobody_reads_its_output() {
    let folder = Folder::new();
    for json in [&[][..], &["--json"]] {
        // Its output begins when the reader has gone.
        let program = "while [ ! -e gone ]; do :; done; echo an answer; exit 7";
        let mut child = Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(folder.path(""))
            .env("MNEME_STORE", "sqlite:run.db")
            .args(json)
            .args(["run", "--", "sh", "-c", program])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        folder.write("gone", "");
        assert_eq!(child.wait().unwrap().code(), Some(7));
        fs::remove_file(folder.path("gone")).unwrap();
    }
}

#[test]
fn without_an_embedder_the_exact_layer_keeps_the_answer() {
    let folder = Folder::new();
    let program = ["run", "--", "sh", "-c", "echo x >> calls; echo an answer"];
    for _ in 0..2 {
        // Vectors that come with each call, and none came.
        let done = folder.run("vectors:m,3", &program, b"a question");
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, "an answer\n"),
            "{done:?}"
        );
    }
    assert_eq!(fs::read_to_string(folder.path("calls")).unwrap(), "x\n");
}

#[test]
fn a_question_is_found_by_its_exact_words_only_where_that_is_asked_for() {
    let folder = Folder::new();
    // Nobody embeds here.
    let nobody = "openai:http://127.0.0.1:1/v1,m,3";
    let program = ["run", "--exact", "--", "sh", "-c", "echo x >> calls; cat"];
    for (query, calls) in [
        ("What is it?", 1),
        ("what  IS it?", 1),
        ("What would it be?", 2),
        ("What would it be?", 2),
    ] {
        let done = folder.run(nobody, &program, query.as_bytes());
        assert_eq!((done.code, &*done.stderr), (0, ""), "{done:?}");
        let ran = fs::read_to_string(folder.path("calls")).unwrap();
        assert_eq!(ran.lines().count(), calls, "{query}");
    }
    let both = ["run", "--exact", "--threshold", "0.5", "--", "cat"];
    assert_eq!(folder.run(nobody, &both, b"q").code, 2);
}
