//! `get` and `put`.

use std::fs;

use serde_json::json;

use crate::{Folder, VECTORS};

#[test]
fn an_answer_alone_goes_to_standard_output() {
    let folder = Folder::new();
    folder.put("What is it?", "A cache.", "[1, 0, 0]");
    let exact = folder.mneme(&["get", "  what IS\tit? "]);
    assert_eq!(
        (exact.code, exact.stdout.as_str(), exact.stderr.as_str()),
        (0, "A cache.\n", "")
    );
    let semantic = folder.mneme(&["get", "What would it be?", "--embedding", "[2, 0.2, 0]"]);
    assert_eq!(
        (semantic.code, semantic.stdout.as_str()),
        (0, "A cache.\n"),
        "{semantic:?}"
    );
    let miss = folder.mneme(&["get", "Who?", "--embedding", "[0, 1, 0]"]);
    assert_eq!(
        (miss.code, miss.stdout.as_str(), miss.stderr.as_str()),
        (1, "", "")
    );
}

#[test]
fn case_and_space_count_where_they_are_kept() {
    let folder = Folder::new();
    let vector = ["--embedding", "[1, 0, 0]"];
    folder.json(&[&["--keep-case", "put", "US", "the country"][..], &vector].concat());
    let asked = |query: &str| folder.mneme(&["--keep-case", "get", query]).code;
    assert_eq!((asked("US"), asked("us"), asked("US ")), (0, 1, 1));
    // The same words mean the same all the same.
    let close = [&["--keep-case", "get", "us"][..], &vector].concat();
    assert_eq!(folder.mneme(&close).code, 0);
}

#[test]
fn age_counts_only_where_it_is_asked_for() {
    let folder = Folder::new();
    folder.put("old", "answer", "[1, 0, 0]");
    let with = |decay: &str| {
        let args = [
            "--json",
            "--vetoes",
            "none",
            "--decay",
            decay,
            "explain",
            "new",
            "--embedding",
            "[9, 1, 0]",
        ];
        folder.mneme(&args)
    };
    let done = with("1,1");
    assert_eq!(
        (done.code, &done.json()["outcome"]["reason"]),
        (1, &json!("low_confidence"))
    );
    assert_eq!(with("86400,0.5").code, 0);
    for bad in ["0,0.5", "10", "10,2", "10,x", ",1"] {
        let message = with(bad).stderr;
        assert!(message.contains("86400,0.7"), "{bad}: {message}");
    }
}

#[test]
fn get_in_json() {
    let folder = Folder::new();
    let id = folder.json(&[
        "put",
        "What is it?",
        "A cache.",
        "--embedding",
        "[3, 4, 0]",
        "--metadata",
        r#"{"by": "me"}"#,
    ])["id"]
        .clone();
    let mut hit = folder.json(&["get", "what is it?"]);
    assert!(hit["age_seconds"].take().as_u64().unwrap() < 60);
    assert!(hit["created_at"].take().as_u64().unwrap() > 1_700_000_000);
    let expected = json!({
        "hit": true, "layer": "exact", "similarity": 1.0, "confidence": 1.0, "age_seconds": null,
        "created_at": null, "ttl_left": null, "namespace": "default", "context": "", "tags": [], "response": "A cache.",
        "metadata": {"by": "me"}, "query": "What is it?", "id": id,
    });
    assert_eq!(hit, expected);

    folder.write("vector.json", "[6, 8, 0]\n");
    let hit = folder.json(&["get", "And what?", "--embedding", "@vector.json"]);
    assert_eq!(
        (&hit["layer"], &hit["similarity"]),
        (&json!("semantic"), &json!(1.0))
    );
    let hit = folder.run(
        VECTORS,
        &["--json", "get", "And?", "--embedding", "@-"],
        b"[3, 4, 0.1]",
    );
    assert_eq!(hit.json()["hit"], true);

    let hit = folder.json(&["get", "what is it?", "--exact", "--max-age", "600"]);
    assert_eq!(hit["layer"], "exact");

    let misses: [(&[&str], &str); 6] = [
        (&["get", "what is it?", "--bypass"], "bypass"),
        (
            &["get", "other", "--embedding", "[4, -3, 0]"],
            "below_threshold",
        ),
        (
            &["get", "other", "--embedding", "[3, 4, 1]", "-t", "0.99"],
            "below_threshold",
        ),
        (
            &["get", "other", "--embedding", "[3, 4, 0]", "-n", "empty"],
            "no_match",
        ),
        (&["get", "other"], "embedder_failure"),
        (&["get", "other", "--exact"], "no_match"),
    ];
    for (args, reason) in misses {
        let mut miss = folder.json(args);
        let error = miss.as_object_mut().unwrap().remove("embedder_error");
        assert_eq!(miss, json!({"hit": false, "reason": reason}), "{args:?}");
        assert_eq!(error.is_some(), reason == "embedder_failure", "{error:?}");
    }
    let failed = folder.mneme(&["get", "other"]);
    assert!(
        failed.stderr.contains("pass the embedding (3 values)"),
        "{failed:?}"
    );
}

#[test]
fn an_answer_is_stored_for_its_exact_words_only() {
    let folder = Folder::new();
    let nobody = "openai:http://127.0.0.1:1/v1,m,3";
    let put = ["put", "What is it?", "a thing"];
    let failed = folder.run(nobody, &put, b"");
    assert_eq!(failed.code, 2, "{failed:?}");
    assert!(failed.stderr.contains("--exact-only"), "{failed:?}");
    assert!(!folder.path("mneme.db").exists());
    let stored = folder.run(nobody, &[&put[..], &["--exact-only"]].concat(), b"");
    assert_eq!(stored.code, 0, "{stored:?}");
    let asked = folder.run(nobody, &["get", "what is  IT?"], b"");
    assert_eq!((asked.code, &*asked.stdout), (0, "a thing\n"), "{asked:?}");
    let both = [&put[..], &["--exact-only", "--embedding", "[1,0,0]"]].concat();
    assert_eq!(folder.run(nobody, &both, b"").code, 2);
    let line = r#"{"query":"and that?","response":"another","exact_only":true}"#;
    let imported = folder.run(nobody, &["import", "-"], line.as_bytes());
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(folder.run(nobody, &["get", "And that?"], b"").code, 0);
    let both = r#"{"query":"q","response":"r","exact_only":true,"embedding":[1,0,0]}"#;
    let refused = folder.run(nobody, &["import", "-"], both.as_bytes());
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("line 1: exact_only is true"),
        "{refused:?}"
    );
}

#[test]
fn what_fails_or_only_reads_creates_no_cache() {
    let folder = Folder::new();
    let bad = r#"{"query":"q"}"#.as_bytes();
    let wrong = r#"{"query":"q","response":"r","embedding":[1]}"#.as_bytes();
    let commands: &[(&[&str], &[u8])] = &[
        (&["get", "q"], b""),
        (&["stats"], b""),
        (&["put", "q", "r"], b""),
        (&["put", "q", "r", "--embedding", "[1]"], b""),
        (&["import", "-"], bad),
        (&["import", "--keep-going", "-"], bad),
        (&["import", "--keep-going", "-"], wrong),
        (&["load", "-"], b"no archive"),
        (&["run", "--", "false"], b"q"),
        (&["run", "--", "no-such-program"], b"q"),
    ];
    for (args, input) in commands {
        let done = folder.run(VECTORS, args, input);
        assert_ne!(done.code, 0, "{args:?}: {done:?}");
        let left = fs::read_dir(folder.0.path()).unwrap().count();
        assert_eq!(left, 0, "{args:?}: {done:?}");
    }
    // An archive of another embedder, and one that fits.
    folder.put("q", "r", "[1, 0, 0]");
    folder.json(&["dump", "a.tar.gz"]);
    let archive = fs::read(folder.path("a.tar.gz")).unwrap();
    let load = ["--store", "sqlite:b.db", "load", "-"];
    let other = folder.run("vectors:other,3", &load, &archive);
    assert_eq!(other.code, 2, "{other:?}");
    assert!(!folder.path("b.db").exists());
    let loaded = folder.run(VECTORS, &load, &archive);
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert_eq!(
        folder.json(&["--store", "sqlite:b.db", "stats"])["entries"],
        1
    );
}

#[test]
fn the_store_is_named_by_option_or_environment() {
    let folder = Folder::new();
    let put = ["put", "q", "r", "--embedding", "[1, 0, 0]"];
    folder.mneme(&[&["--store", "sqlite:other.db"], &put[..]].concat());
    assert!(folder.path("other.db").exists() && !folder.path("mneme.db").exists());
    folder.mneme(&[&["--store", "memory:"], &put[..]].concat());
    assert_eq!(
        fs::read_dir(folder.0.path())
            .unwrap()
            .filter(|entry| {
                !entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("other.db")
            })
            .count(),
        0
    );
    assert_eq!(
        folder
            .mneme(&["--store", "sqlite:other.db", "get", "q"])
            .stdout,
        "r\n"
    );
}
