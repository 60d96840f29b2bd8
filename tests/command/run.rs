//! `run`, with the programs of Unix.

use std::fs;

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
