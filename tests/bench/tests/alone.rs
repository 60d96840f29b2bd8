//! Without peers.

use std::fs;

use serde_json::Value;

use crate::Folder;

/// What every run here begins with.
const ALONE: [&str; 4] = ["--peers", "none", "--dir", "."];
/// What every row says.
const KEYS: [&str; 12] = [
    "work",
    "entries",
    "dims",
    "dtype",
    "index",
    "ours_p50_us",
    "ours_p99_us",
    "peer",
    "peer_p50_us",
    "peer_p99_us",
    "ratio",
    "recall",
];

fn bench(folder: &Folder, more: &[&str]) -> Value {
    folder.json(&[&ALONE[..], more].concat())
}

/// The values that rows have under a key, each once, in order.
fn values(report: &Value, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for row in report["rows"].as_array().unwrap() {
        let value = row[key].to_string().replace('"', "");
        if !found.contains(&value) {
            found.push(value);
        }
    }
    found
}

/// Rows of 8 values in random directions, as float32.
fn rows(count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(1);
    (0..count * 8).map(|_| random.f32() - 0.5).collect()
}

fn f32_bytes(rows: &[f32]) -> Vec<u8> {
    rows.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A .npy file, version 1.
fn npy(kind: &str, order: &str, shape: &str, body: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), body].concat()
}

pub fn models_are_timed_one_by_one_and_in_batches() {
    let folder = Folder::new();
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../host/encoder/tests/models/bert"
    );
    let report = bench(&folder, &["--suite", "embed", "--model", model]);
    let rows = report["embeddings"].as_array().unwrap();
    for name in ["minilm", "bert"] {
        for batch in [1, 32] {
            let measured = rows
                .iter()
                .filter(|row| row["model"] == name && row["batch"] == batch && row["threads"] == 1);
            for row in measured.clone() {
                assert!(row["ours_p50_us"].as_f64().unwrap() > 0.0, "{row}");
                assert!(row["ratio"].is_null(), "{row}");
            }
            assert_eq!(measured.count(), if batch == 1 { 2 } else { 1 });
        }
    }
    assert_eq!(report["rows"].as_array().unwrap().len(), 0);
    let (_, message) = folder
        .run(&["--json", "--peers", "none", "--model", "none"])
        .error();
    assert!(message.contains("--model"), "{message}");
}

pub fn every_work_is_measured_for_every_setting() {
    let folder = Folder::new();
    let report = bench(
        &folder,
        &[
            "--suite",
            "all",
            "--sizes",
            "100,1_000",
            "--dims",
            "64",
            "--dtypes",
            "float32,int8",
            "--index",
            "auto,exact",
            "--queries",
            "20",
        ],
    );
    for row in report["rows"].as_array().unwrap() {
        for key in KEYS {
            assert!(row.get(key).is_some(), "{key}: {row}");
        }
        assert!(row["ours_p50_us"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["ours_p99_us"].as_f64() >= row["ours_p50_us"].as_f64());
        for key in ["peer", "peer_p50_us", "peer_p99_us", "ratio"] {
            assert!(row[key].is_null(), "{key}: {row}");
        }
        let judged = ["semantic-hit", "tenant-hit"].contains(&row["work"].as_str().unwrap());
        assert_eq!(row["recall"].is_f64(), judged, "{row}");
        assert!(row["memory_bytes"].as_u64().unwrap() > 0, "{row}");
        if judged && row["dtype"] == "float32" {
            assert_eq!(row["recall"], 1.0, "{row}");
        }
    }
    let works = values(&report, "work");
    for work in [
        "exact-hit",
        "semantic-hit",
        "semantic-miss",
        "put",
        "open",
        "open-exact",
        "open-persisted",
        "build",
        "tenant-hit",
        "dump-gzip-1",
        "load-gzip-1",
        "dump-zstd",
    ] {
        assert!(works.iter().any(|found| found == work), "{work}: {works:?}");
    }
    assert_eq!(values(&report, "entries"), ["100", "1000"]);
    assert_eq!(values(&report, "dims"), ["64"]);
    assert_eq!(values(&report, "dtype"), ["float32", "int8"]);
    assert_eq!(values(&report, "index"), ["auto", "exact"]);
    assert!(report["machine"]["cores"].as_u64().unwrap() > 0);
    assert_eq!(report["versions"]["mneme"], env!("CARGO_PKG_VERSION"));
    // Nothing is left, and no store of the user's was touched.
    assert_eq!(fs::read_dir(folder.path(".")).unwrap().count(), 0);
}

pub fn tables_markdown_and_picture() {
    let folder = Folder::new();
    let args = [
        "--sizes",
        "50,200",
        "--dims",
        "32",
        "--queries",
        "10",
        "--suite",
        "lookup",
        "--markdown",
        "out.md",
        "--plot",
        "out.svg",
    ];
    let done = folder.run(&[&ALONE[..], &args].concat());
    assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{done:?}");
    let markdown = fs::read_to_string(folder.path("out.md")).unwrap();
    for text in [&done.stdout, &markdown] {
        for part in [
            "machine: ",
            "versions: mneme",
            "200 entries x 32",
            "semantic-hit",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains('\x1b'), "{text}");
    }
    let table: Vec<&str> = markdown
        .lines()
        .filter(|line| line.starts_with('|'))
        .collect();
    assert!(table.len() > 8);
    for line in table {
        assert_eq!(line.matches('|').count(), 11, "{line}");
    }
    let picture = fs::read_to_string(folder.path("out.svg")).unwrap();
    for part in [
        "<svg",
        "semantic hit",
        "mneme (auto)",
        "<polyline",
        "</svg>",
    ] {
        assert!(picture.contains(part), "{part}");
    }
}

pub fn vectors_come_from_files() {
    let folder = Folder::new();
    let (vectors, bytes) = (rows(40), f32_bytes(&rows(40)));
    let halves: Vec<u8> = vectors
        .iter()
        .flat_map(|&value| half::f16::from_f32(value).to_le_bytes())
        .collect();
    folder.write("a.f32", &bytes);
    folder.write("a.f16", &halves);
    folder.write("a.npy", npy("<f4", "False", "(40, 8)", &bytes));
    folder.write("b.npy", npy("<f2", "False", "(40, 8)", &halves));
    for (file, dims) in [
        ("a.f32", &["--dims", "8"][..]),
        ("a.f16", &["--dims", "8"]),
        ("a.npy", &[]),
        ("b.npy", &["--dims", "8"]),
    ] {
        let args = [
            "--dataset",
            file,
            "--sizes",
            "30",
            "--queries",
            "5",
            "--suite",
            "lookup",
        ];
        let report = bench(&folder, &[&args[..], dims].concat());
        assert_eq!(values(&report, "dims"), ["8"], "{file}");
        // 35 of the rows are stored, and puts want more than these.
        let origin = report["dataset"][0].as_str().unwrap();
        let (part, mixed) = (format!("35 vectors of {file}"), "mixed of two");
        assert!(origin.contains(&part) && origin.contains(mixed), "{origin}");
    }
}

pub fn memory_has_no_files_to_open() {
    let folder = Folder::new();
    let report = bench(
        &folder,
        &[
            "--store",
            "memory:",
            "--sizes",
            "100",
            "--dims",
            "32",
            "--queries",
            "5",
        ],
    );
    let works = values(&report, "work");
    assert!(works.contains(&"semantic-hit".to_owned()), "{works:?}");
    assert!(!works.contains(&"open".to_owned()), "{works:?}");
    assert!(
        report["notes"].to_string().contains("no opening"),
        "{report}"
    );
}

pub fn small_and_large_edges_work() {
    let folder = Folder::new();
    for (size, dims) in [("1", "2"), ("3", "8192")] {
        let args = [
            "--sizes",
            size,
            "--dims",
            dims,
            "--queries",
            "1",
            "--suite",
            "open",
        ];
        let report = bench(&folder, &args);
        assert_eq!(
            values(&report, "work"),
            ["open-exact", "open-persisted", "open", "build"]
        );
    }
}

pub fn bad_input_is_refused_before_anything_runs() {
    let folder = Folder::new();
    let mut bad = rows(40);
    folder.write("cut.f32", &f32_bytes(&bad)[..1001]);
    folder.write("few.f32", f32_bytes(&bad[..8 * 15]));
    folder.write("empty.f32", "");
    folder.write("a.txt", "vectors");
    folder.write("text.npy", "no header at all");
    folder.write("wide.npy", npy("<f8", "False", "(40, 4)", &f32_bytes(&bad)));
    folder.write(
        "fortran.npy",
        npy("<f4", "True", "(40, 8)", &f32_bytes(&bad)),
    );
    folder.write("flat.npy", npy("<f4", "False", "(320,)", &f32_bytes(&bad)));
    folder.write(
        "short.npy",
        npy("<f4", "False", "(41, 8)", &f32_bytes(&bad)),
    );
    folder.write(
        "eight.npy",
        npy("<f4", "False", "(40, 8)", &f32_bytes(&bad)),
    );
    bad[8 * 7 + 3] = f32::NAN;
    folder.write("nan.f32", f32_bytes(&bad));
    bad[8 * 7..8 * 8].fill(0.0);
    folder.write("zero.f32", f32_bytes(&bad));
    let cases: &[(&[&str], &str, &str)] = &[
        (&["--sizes", "0"], "usage", "from 1 to"),
        (&["--sizes", "10,x"], "usage", "from 1 to"),
        (&["--dims", "1"], "usage", "from 2 to 8192"),
        (&["--dims", "8193"], "usage", "from 2 to 8192"),
        (&["--queries", "0"], "usage", "from 1 to"),
        (&["--dtypes", "float64"], "usage", "float16"),
        (&["--index", "tree"], "usage", "hnsw"),
        (&["--suite", "speed"], "usage", "checkpoint"),
        (&["--namespaces", "0"], "usage", "from 1 to"),
        (
            &["--sizes", "10", "--namespaces", "11"],
            "argument",
            "fewer",
        ),
        (&["--store", "sqlite:mine.db"], "argument", "memory:"),
        (&["--namespace", "x"], "usage", "--namespace"),
        (&["--embedder", "minilm"], "usage", "--embedder"),
        (&["--dir", "no/such"], "argument", "no/such"),
        (&["--plot", "a.png"], "argument", ".svg"),
        (&["--plot", "no/such/a.svg"], "argument", "no/such"),
        (&["--markdown", "no/such/a.md"], "argument", "no/such"),
        (&["--dataset", "none.f32"], "io", "none.f32"),
        (&["--dataset", "a.txt"], "argument", ".npy"),
        (
            &["--dataset", "cut.f32", "--dims", "8"],
            "argument",
            "1001 bytes",
        ),
        (&["--dataset", "empty.f32"], "argument", "0 bytes"),
        (
            &["--dataset", "few.f32", "--dims", "8"],
            "argument",
            "at least 16",
        ),
        (
            &["--dataset", "nan.f32", "--dims", "8"],
            "argument",
            "vector 7",
        ),
        (
            &["--dataset", "zero.f32", "--dims", "8"],
            "argument",
            "vector 7",
        ),
        (
            &["--dataset", "nan.f32", "--dims", "8,16"],
            "argument",
            "one length",
        ),
        (&["--dataset", "text.npy"], "io", "not a .npy file"),
        (&["--dataset", "wide.npy"], "argument", "<f8"),
        (&["--dataset", "fortran.npy"], "argument", "Fortran"),
        (&["--dataset", "flat.npy"], "argument", "rows of vectors"),
        (&["--dataset", "short.npy"], "argument", "do not fit"),
        (
            &["--dataset", "eight.npy", "--dims", "16"],
            "argument",
            "8 values",
        ),
    ];
    for &(args, kind, part) in cases {
        let done = folder.run(&[&["--json"], &ALONE[..2], args].concat());
        let (found, message) = done.error();
        assert_eq!(found, kind, "{args:?}: {message}");
        assert!(message.contains(part), "{args:?}: {message}");
    }
    let both = folder.run(&["--json", "--peers", "all,usearch"]);
    assert!(both.error().1.contains("stand alone"));
}

pub fn without_python_ours_is_measured_alone_unless_peers_are_named() {
    let folder = Folder::new();
    let args = [
        "--python",
        "no/such/python",
        "--dir",
        ".",
        "--sizes",
        "50",
        "--dims",
        "16",
        "--queries",
        "5",
        "--suite",
        "lookup",
    ];
    let report = folder.json(&args);
    assert_eq!(values(&report, "peer"), ["null"]);
    assert!(
        report["notes"].to_string().contains("no/such/python"),
        "{report}"
    );
    let named = [&["--json"], &args[..], &["--peers", "hnswlib"]].concat();
    let (kind, message) = folder.run(&named).error();
    assert_eq!(kind, "peer");
    assert!(message.contains("no/such/python"), "{message}");
}
