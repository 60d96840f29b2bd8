//! Contexts, tags, `entries` and `erase`.

use serde_json::{Value, json};

use crate::{Folder, cannot_be_erased_whole};

const VECTOR: &str = "[1, 0, 0]";

/// A folder with three entries: of no context, of "gpt", and of another namespace.
fn filled() -> Folder {
    let folder = Folder::new();
    let put = |more: &[&str]| {
        let args = [&["put", "q", "r", "--embedding", VECTOR], more].concat();
        let done = folder.mneme(&args);
        assert_eq!(done.code, 0, "{done:?}");
    };
    put(&["--tag", "user:1", "--tag", "doc:9"]);
    put(&["--context", "gpt", "--tag", "user:2"]);
    put(&["-n", "other", "--tag", "user:1"]);
    folder
}

fn ids(page: &Value) -> Vec<u64> {
    let entries = page["entries"].as_array().unwrap().iter();
    entries.map(|entry| entry["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_question_is_answered_from_its_context_and_tags() {
    let folder = filled();
    let get = |more: &[&str]| {
        folder
            .mneme(&[&["--json", "get", "reworded", "--embedding", VECTOR], more].concat())
            .json()
    };
    assert_eq!(get(&[])["context"], "");
    assert_eq!(get(&[])["tags"], json!(["doc:9", "user:1"]));
    assert_eq!(get(&["--context", "gpt"])["tags"], json!(["user:2"]));
    assert_eq!(get(&["--context", "GPT"])["reason"], "no_match");
    assert_eq!(get(&["--tag", "user:1"])["hit"], true);
    assert_eq!(get(&["--tag", "user:1", "--tag", "user:2"])["hit"], false);
    let why = folder.mneme(&[
        "--json",
        "explain",
        "q",
        "--embedding",
        VECTOR,
        "--tag",
        "user:2",
    ]);
    assert_eq!(why.json()["exact"]["verdict"], "other_tags");
    assert_eq!(why.json()["exact"]["tags"], json!(["doc:9", "user:1"]));
    assert_eq!(folder.mneme(&["delete", "q", "--context", "none"]).code, 1);
    assert_eq!(folder.mneme(&["delete", "q", "--context", "gpt"]).code, 0);
    assert_eq!(get(&["--context", "gpt"])["hit"], false);
    let long = "x".repeat(1025);
    let refused = folder.mneme(&["--json", "get", "q", "--exact", "--context", &long]);
    assert_eq!(refused.error().0, "invalid_argument");
}

#[test]
fn entries_are_listed_by_page() {
    let folder = filled();
    let list = |more: &[&str]| folder.json(&[&["entries"], more].concat());
    assert_eq!(ids(&list(&[])), [1, 2, 3]);
    assert_eq!(ids(&list(&["-n", "default"])), [1, 2]);
    assert_eq!(ids(&list(&["--context", ""])), [1, 3]);
    assert_eq!(ids(&list(&["--tag", "user:1", "--tag", "doc:9"])), [1]);
    assert_eq!(ids(&list(&["--query", " Q"])), [1, 2, 3]);
    assert_eq!(ids(&list(&["--id", "3", "--id", "2"])), [2, 3]);
    assert_eq!(ids(&list(&["--min-age", "100000"])), [0_u64; 0]);
    // Also where nobody sits at a terminal: the list on standard output does not say it.
    let first = folder.mneme(&["entries", "--limit", "2"]);
    assert_eq!(first.stderr, "there may be more: --after 2\n");
    assert!(!first.stdout.contains("more"), "{first:?}");
    assert_eq!(folder.mneme(&["entries", "--after", "2"]).stderr, "");
    let json = folder.mneme(&["--json", "entries", "--limit", "2"]);
    assert_eq!(json.stderr, "", "`next` says it");
    let page = list(&["--limit", "2"]);
    assert_eq!((ids(&page), &page["next"]), (vec![1, 2], &json!(2)));
    assert_eq!(ids(&list(&["--limit", "2", "--after", "2"])), [3]);
    let entry = &page["entries"][1];
    assert_eq!(
        (&entry["context"], &entry["namespace"]),
        (&json!("gpt"), &json!("default"))
    );
    assert_eq!(
        (&entry["query"], &entry["response"]),
        (&json!("q"), &json!("r"))
    );
    assert!(entry.get("embedding").is_none());
    let table = folder.mneme(&["entries"]).stdout;
    for part in ["question", "gpt", "doc:9, user:1", "other"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    assert_eq!(
        folder.mneme(&["entries", "--tag", "none"]).stdout,
        "no entries\n"
    );
}

#[test]
fn what_meets_the_filter_is_erased() {
    let folder = filled();
    let erase = |more: &[&str]| folder.mneme(&[&["--json", "erase"], more].concat());
    let dry = erase(&["--tag", "user:1", "--dry-run"]);
    assert_eq!((dry.code, &dry.json()["ids"]), (0, &json!([1, 3])));
    assert_eq!(dry.json()["version_before"], dry.json()["version_after"]);
    assert_eq!(ids(&folder.json(&["entries"])), [1, 2, 3], "a dry run");
    assert_eq!(erase(&[]).error().0, "invalid_argument");
    assert_eq!(erase(&["--all", "--tag", "x"]).code, 2);
    for command in ["erase", "clear"] {
        // Wherever the namespace stands.
        for args in [["-n", "a", command, "--all"], [command, "--all", "-n", "a"]] {
            assert_eq!(folder.mneme(&args).code, 2, "{args:?}");
        }
    }
    assert_eq!(ids(&folder.json(&["entries"])), [1, 2, 3], "refused");

    let receipt = erase(&["--tag", "user:1"]);
    assert_eq!(receipt.json()["erased"], 2);
    assert_eq!(receipt.json()["ids"], json!([1, 3]));
    assert!(receipt.json()["version_after"].as_u64() > receipt.json()["version_before"].as_u64());
    assert_eq!(erase(&["--tag", "user:1"]).code, 1, "nothing is left of it");
    assert_eq!(ids(&folder.json(&["entries"])), [2]);
    assert_eq!(
        folder.mneme(&["erase", "--all"]).stdout,
        "1 entry erased: 2\n"
    );
    assert_eq!(ids(&folder.json(&["entries"])), [0_u64; 0]);
}

#[test]
fn lines_of_a_file_have_contexts_and_tags() {
    let folder = Folder::new();
    let line = json!({"query": "q", "response": "r", "embedding": [1, 0, 0], "context": "c", "tags": ["b", "a"]});
    folder.write("lines", format!("{line}\n"));
    assert_eq!(folder.mneme(&["import", "lines"]).code, 0);
    let page = folder.json(&["entries"]);
    assert_eq!(page["entries"][0]["context"], "c");
    assert_eq!(page["entries"][0]["tags"], json!(["a", "b"]));
    folder.write(
        "bad",
        format!(
            "{}\n",
            json!({"query": "q", "response": "r", "tags": [""], "exact_only": true})
        ),
    );
    let bad = folder.mneme(&["import", "bad"]);
    assert_eq!(bad.code, 2, "{bad:?}");
}

#[test]
fn bad_labels_and_filters_are_refused_and_change_nothing() {
    let folder = filled();
    let before = folder.json(&["entries"]);
    let refused = |args: &[&str], says: &str| {
        let done = folder.mneme(&[&["--json"], args].concat());
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        let (kind, message) = done.error();
        assert_eq!(kind, "invalid_argument", "{args:?}: {message}");
        assert!(message.contains(says), "{args:?}: {message}");
    };
    let (long, tag) = ("c".repeat(1025), "t".repeat(10 << 10));
    let many: Vec<String> = (0..33).map(|n| format!("--tag={n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let cases: [(&[&str], &str); 5] = [
        (&["--context", &long], "the context has 1025 bytes"),
        (&many, "33 tags; at most 32"),
        (&["--tag", ""], "a tag is empty"),
        (&["--tag", "a", "--tag", "b", "--tag", "a"], "comes twice"),
        (&["--tag", &tag], "10240 bytes; at most 128"),
    ];
    for (labels, says) in cases {
        for command in [
            &["put", "q", "s", "--exact-only"][..],
            &["get", "q", "--exact"],
            &["explain", "q", "--exact"],
            &["entries"],
            &["erase"],
            &["erase", "--dry-run"],
        ] {
            refused(&[command, labels].concat(), says);
        }
    }
    refused(
        &["delete", "q", "--context", &long],
        "the context has 1025 bytes",
    );
    let ids: Vec<String> = (0..1025).map(|n| format!("--id={n}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    refused(&[&["erase"], &ids[..]].concat(), "1025 ids; at most 1024");
    refused(&["erase", "--min-age", "0"], "all entries would be erased");
    refused(&["entries", "-n", ""], "the namespace is empty");
    assert_eq!(folder.json(&["entries"]), before);
}

#[test]
fn numbers_out_of_range_are_told_their_range() {
    let folder = filled();
    let cases: [&[&str]; 9] = [
        &["entries", "--id", "-1"],
        &["erase", "--id", "-1"],
        &["erase", "--id", "1", "--id", "9007199254740992"],
        &["entries", "--after", "-1"],
        &["entries", "--min-age", "-1"],
        &["entries", "--max-age", "1.5"],
        &["get", "q", "--max-age", "-5"],
        &["put", "q", "r", "--ttl", "-1"],
        &["quota", "18446744073709551616"],
    ];
    for args in cases {
        let done = folder.mneme(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        let value = args.last().unwrap();
        let says = ["a whole number from 0 to 9007199254740991", *value];
        for says in says {
            assert!(done.stderr.contains(says), "{args:?}: {done:?}");
        }
    }
    assert_eq!(ids(&folder.json(&["entries"])), [1, 2, 3]);
}

#[test]
fn an_erasure_that_stops_half_way_prints_what_it_has_erased() {
    let folder = Folder::new();
    let (erased, all) = cannot_be_erased_whole(&folder);
    let stopped = folder.mneme(&["--json", "erase", "--tag", "t"]);
    assert_eq!(stopped.code, 2, "{stopped:?}");
    let error: Value = serde_json::from_str(&stopped.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "corrupt");
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("erase again for the rest"), "{message}");
    let receipt = stopped.json();
    assert_eq!(
        (&receipt["erased"], &receipt["dry_run"]),
        (&json!(erased), &json!(false))
    );
    assert_eq!(receipt["ids"].as_array().unwrap().len() as u64, erased);
    assert!(receipt["version_after"].as_u64() > receipt["version_before"].as_u64());
    assert_eq!(folder.json(&["stats"])["entries"], all - erased);
    // Also for people: the receipt comes first.
    let again = folder.mneme(&["erase", "--tag", "t"]);
    assert_eq!(
        (again.code, &*again.stdout),
        (2, ""),
        "nothing was erased: {again:?}"
    );
    assert!(!again.stderr.contains("half way"), "{again:?}");
}

#[test]
fn of_a_name_that_comes_twice_in_metadata_the_last_one_counts() {
    let folder = Folder::new();
    let twice = r#"{"a":1,"b":{"c":1,"c":2},"a":2}"#;
    let put = ["put", "q", "r", "--exact-only", "--metadata", twice];
    assert_eq!(folder.mneme(&put).code, 0);
    let line = format!(r#"{{"query":"p","response":"r","exact_only":true,"metadata":{twice}}}"#);
    folder.write("lines", line);
    assert_eq!(folder.mneme(&["import", "lines"]).code, 0);
    for query in ["q", "p"] {
        let hit = folder.json(&["get", query]);
        assert_eq!(hit["metadata"], json!({"a": 2, "b": {"c": 2}}), "{query}");
    }
}
