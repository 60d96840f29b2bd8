//! `dump`, `load` and `inspect`.

#[cfg(unix)]
mod ended;

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::{Folder, VECTORS};

/// A cache of four entries, two of them of a tenant that has a quota.
fn filled() -> Folder {
    let folder = Folder::new();
    folder.put("a", "1", "[1, 0, 0]");
    folder.put("b", "2", "[0, 1, 0]");
    for (query, response) in [("a", "3"), ("c", "4")] {
        let put = ["-n", "tenant", "put", query, response];
        let done = folder.mneme(&[&put[..], &["--embedding", "[0, 0, 1]"]].concat());
        assert_eq!(done.code, 0, "{done:?}");
    }
    assert_eq!(folder.mneme(&["-n", "tenant", "quota", "9"]).code, 0);
    folder
}

/// The names in the folder, without those of SQLite's own.
fn names(folder: &Folder) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path(""))
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-wal") && !name.ends_with("-shm"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_cache_goes_through_a_file() {
    let folder = filled();
    let dumped = folder.json(&["dump", "a.tar.gz"]);
    let size = fs::metadata(folder.path("a.tar.gz")).unwrap().len();
    assert_eq!(dumped["file"], "a.tar.gz");
    assert_eq!(dumped["layout"], "native");
    assert_eq!(dumped["entries"], json!(null));
    assert_eq!(dumped["compressed_bytes"], size);
    assert_eq!(dumped["consistent"], true);
    let portable = folder.json(&["dump", "--portable", "--level", "9", "b.tar.gz"]);
    assert_eq!(
        (&portable["layout"], &portable["entries"]),
        (&json!("portable"), &json!(4))
    );
    let zstd = folder.json(&["dump", "--portable", "--zstd", "c.tar.zst"]);
    assert_eq!(zstd["entries"], 4);
    assert_eq!(
        names(&folder),
        ["a.tar.gz", "b.tar.gz", "c.tar.zst", "mneme.db"]
    );

    for (file, layout, compression) in [
        ("a.tar.gz", "native", "gzip"),
        ("b.tar.gz", "portable", "gzip"),
        ("c.tar.zst", "portable", "zstd"),
    ] {
        let summary = folder.json(&["inspect", file]);
        assert_eq!(summary["manifest"]["layout"], layout);
        assert_eq!(summary["manifest"]["embedder_fingerprint"], "test-model");
        assert_eq!(summary["compression"], compression);
        assert_eq!(summary["checksummed"], true);
        assert_eq!(
            summary["namespaces"],
            json!([
                {"namespace": "default", "entries": 2, "quota": null},
                {"namespace": "tenant", "entries": 2, "quota": 9},
            ])
        );
        let store = format!("sqlite:{file}.db");
        let loaded = folder.json(&["--store", &store, "load", file]);
        assert_eq!(
            (&loaded["entries"], &loaded["skipped"]),
            (&json!(4), &json!(0))
        );
        assert_eq!(loaded["manifest"], summary["manifest"]);
        let done = folder.mneme(&["--store", &store, "-n", "tenant", "get", "C"]);
        assert_eq!(done.stdout, "4\n");
        let quota = folder.json(&["--store", &store, "-n", "tenant", "quota"]);
        assert_eq!(quota["quota"], 9);
    }
}

#[test]
fn a_cache_goes_through_pipes() {
    let folder = filled();
    let done = folder.output(VECTORS, &["--json", "dump", "--portable", "-"], b"");
    assert_eq!(done.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!(report["compressed_bytes"], done.stdout.len());
    let inspected = folder.run(VECTORS, &["--json", "inspect", "-"], &done.stdout);
    assert_eq!(inspected.json()["entries"], 4);
    let args = ["--store", "sqlite:b.db", "load", "-"];
    let loaded = folder.run(VECTORS, &args, &done.stdout);
    assert_eq!(loaded.code, 0, "{loaded:?}");
    assert!(
        loaded.stdout.starts_with("4 entries loaded, in "),
        "{loaded:?}"
    );
    assert!(loaded.stdout.contains("test-model, 3 dimensions"));
    // A native archive, into a store of another kind.
    let native = folder.output(VECTORS, &["dump", "-"], b"");
    let args = ["--json", "--store", "memory:", "load", "-"];
    let loaded = folder.run(VECTORS, &args, &native.stdout).json();
    assert_eq!(loaded["manifest"]["layout"], "native");
    assert_eq!(loaded["entries"], 4);
    assert_eq!(names(&folder), ["b.db", "mneme.db"]);
}

#[test]
fn load_takes_what_it_is_told_to() {
    let folder = filled();
    folder.json(&["dump", "a.tar.gz"]);
    let only = folder.json(&[
        "--store",
        "sqlite:b.db",
        "load",
        "--only",
        "tenant",
        "--prefix",
        "eu-",
        "--quota",
        "eu-tenant=1",
        "--max-entries",
        "1",
        "--ttl",
        "max:3600",
        "a.tar.gz",
    ]);
    let counts = ["entries", "skipped", "evicted"].map(|name| only[name].as_u64());
    assert_eq!(counts, [Some(2), Some(2), Some(1)]);
    let stats = folder.json(&["--store", "sqlite:b.db", "stats"]);
    assert_eq!(stats["namespaces"][0]["namespace"], "eu-tenant");
    assert_eq!(stats["namespaces"][0]["quota"], 1);

    let none = folder.json(&["--store", "sqlite:c.db", "load", "--no-quotas", "a.tar.gz"]);
    assert_eq!(none["entries"], 4);
    let quota = folder.json(&["--store", "sqlite:c.db", "-n", "tenant", "quota"]);
    assert_eq!(quota["quota"], json!(null));
}

#[test]
fn a_store_with_entries_needs_to_be_told_what_becomes_of_them() {
    let folder = filled();
    folder.json(&["dump", "a.tar.gz"]);
    let args = ["--json", "--store", "sqlite:b.db"];
    let run = |more: &[&str]| folder.mneme(&[&args[..], more].concat());
    assert_eq!(run(&["put", "mine", "5", "--embedding", "[1,1,0]"]).code, 0);
    let (kind, message) = run(&["load", "a.tar.gz"]).error();
    assert_eq!(kind, "checkpoint");
    for part in ["1 entry", "--merge", "--replace"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(run(&["load", "--merge", "a.tar.gz"]).json()["entries"], 4);
    assert_eq!(run(&["stats"]).json()["entries"], 5);
    assert_eq!(run(&["load", "--replace", "a.tar.gz"]).json()["entries"], 4);
    assert_eq!(run(&["stats"]).json()["entries"], 4);
}

#[test]
fn bad_archives_and_wrong_places_change_nothing() {
    let folder = filled();
    folder.json(&["dump", "--portable", "good.tar.gz"]);
    let good = fs::read(folder.path("good.tar.gz")).unwrap();
    folder.write("cut.tar.gz", &good[..good.len() / 2]);
    folder.write("text.tar.gz", "no archive at all");
    folder.write("empty.tar.gz", "");
    fs::create_dir(folder.path("dir")).unwrap();
    let other = "vectors:other,3";
    let before = names(&folder);
    let cases: &[(&[&str], &str, &str)] = &[
        (&["load", "--merge", "cut.tar.gz"], "checkpoint", ""),
        (&["load", "--merge", "text.tar.gz"], "checkpoint", ""),
        (&["load", "--merge", "empty.tar.gz"], "checkpoint", ""),
        (&["inspect", "cut.tar.gz"], "checkpoint", "cut.tar.gz"),
        (&["inspect", "text.tar.gz"], "checkpoint", "text.tar.gz"),
        (&["inspect", "nothing"], "io", "nothing"),
        (&["load", "nothing"], "io", "nothing"),
        (&["load", "dir"], "argument", "directory"),
        (&["dump", "dir"], "argument", "directory"),
        (&["dump", "no/such/file"], "io", "no/such/file"),
        (&["dump", "mneme.db"], "argument", "the store itself"),
        (&["-n", "tenant", "dump", "x"], "argument", "--only"),
        (
            &["-n", "tenant", "load", "good.tar.gz"],
            "argument",
            "--only",
        ),
        (&["dump", "--level", "10", "x"], "invalid_argument", "level"),
        (&["dump", "--zstd", "--level", "1", "x"], "usage", "--level"),
        (&["load", "--merge", "--replace", "x"], "usage", "--replace"),
        (&["load", "--ttl", "1h", "x"], "usage", "max:SECONDS"),
        (&["load", "--quota", "a", "x"], "usage", "tenant-a=1000"),
        (
            &[
                "--embedder",
                other,
                "--store",
                "memory:",
                "load",
                "good.tar.gz",
            ],
            "embedder_mismatch",
            "test-model",
        ),
        (
            &["load", "--merge", "--only", "nobody", "good.tar.gz"],
            "invalid_argument",
            "nobody",
        ),
    ];
    for &(args, kind, part) in cases {
        let (found, message) = folder.mneme(&[&["--json"], args].concat()).error();
        assert_eq!(found, kind, "{args:?}: {message}");
        assert!(message.contains(part), "{args:?}: {message}");
        assert_eq!(folder.json(&["stats"])["entries"], 4, "{args:?}");
        assert_eq!(names(&folder), before, "{args:?}");
    }
}

#[test]
fn what_cannot_be_stored_makes_no_cache() {
    let folder = filled();
    folder.json(&["dump", "--portable", "good.tar.gz"]);
    let good = fs::read(folder.path("good.tar.gz")).unwrap();
    folder.write("cut.tar.gz", &good[..good.len() / 2]);
    folder.write("text", "\nno archive, and no lines of JSON\n");
    let before = names(&folder);
    for args in [["load", "cut.tar.gz"], ["load", "text"], ["import", "text"]] {
        let done = folder.mneme(&[&["--store", "sqlite:new.db"], &args[..]].concat());
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert_eq!(names(&folder), before, "{args:?}");
    }
    let loaded = folder.json(&["--store", "sqlite:new.db", "load", "good.tar.gz"]);
    assert_eq!(loaded["entries"], 4);
}

#[test]
fn a_dump_that_fails_leaves_the_file_that_was_there() {
    let folder = filled();
    folder.write("a.tar.gz", "yesterday's");
    let done = folder.mneme(&["dump", "--level", "10", "a.tar.gz"]);
    assert_eq!(done.code, 2, "{done:?}");
    let there = || fs::read(folder.path("a.tar.gz")).unwrap();
    assert_eq!(there(), b"yesterday's");
    folder.json(&["dump", "a.tar.gz"]);
    assert_eq!(there()[..2], [0x1f, 0x8b]);
    assert_eq!(names(&folder), ["a.tar.gz", "mneme.db"]);
}

/// Whichever page is damaged, an archive that gets its name can be loaded, with everything.
#[test]
fn a_damaged_store_leaves_the_last_good_archive() {
    let folder = Folder::new();
    let line = |n: u32| {
        format!("{{\"query\":\"q{n}\",\"response\":\"answer {n}\",\"embedding\":[1,0,{n}]}}\n")
    };
    let lines: String = (0..200).map(line).collect();
    let done = folder.run(VECTORS, &["import", "-"], lines.as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    folder.json(&["dump", "a.tar.gz"]);
    let good = fs::read(folder.path("a.tar.gz")).unwrap();
    let sound = fs::read(folder.path("mneme.db")).unwrap();
    let before = names(&folder);
    let mut refused = 0;
    for page in (1..sound.len() / 4096).step_by(2) {
        let mut damaged = sound.clone();
        damaged[page * 4096 + 2..][..16].fill(0xff);
        folder.write("mneme.db", &damaged);
        for layout in [&["dump"][..], &["dump", "--portable"]] {
            folder.write("a.tar.gz", &good);
            let done = folder.mneme(&[layout, &["a.tar.gz"]].concat());
            if done.code == 0 {
                let inspected = folder.json(&["inspect", "a.tar.gz"]);
                assert_eq!(inspected["entries"], 200, "page {page}, {layout:?}");
            } else {
                refused += 1;
                assert_eq!(done.code, 2, "page {page}: {done:?}");
                let there = fs::read(folder.path("a.tar.gz")).unwrap();
                assert!(there == good, "page {page}, {layout:?}");
            }
            assert_eq!(names(&folder), before, "page {page}, {layout:?}");
        }
    }
    assert!(refused > 5, "{refused}");
    // The one that was seen from outside; to a pipe, nothing is sent.
    let mut damaged = sound;
    damaged[20_482..][..16].fill(0xff);
    folder.write("mneme.db", &damaged);
    let done = folder.output(VECTORS, &["dump", "-"], b"");
    assert_eq!((done.status.code(), done.stdout.len()), (Some(2), 0));
    assert!(!String::from_utf8_lossy(&done.stderr).contains("mneme-scratch-"));
}

/// What a killed command leaves in the folder of temporary files goes with the next one.
#[test]
#[cfg(unix)]
fn leftovers_of_killed_commands_are_removed() {
    let folder = filled();
    folder.json(&["dump", "a.tar.gz"]);
    let left = folder.path("mneme-scratch-killed");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("lock"), "").unwrap();
    fs::write(left.join("scratch.db"), "entries of somebody").unwrap();
    folder.json(&["inspect", "a.tar.gz"]);
    assert_eq!(names(&folder), ["a.tar.gz", "mneme.db"]);
}

#[test]
#[cfg(unix)]
fn an_archive_is_its_owners_alone() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    let folder = filled();
    folder.write("old.tar.gz", "");
    let open = fs::Permissions::from_mode(0o644);
    fs::set_permissions(folder.path("old.tar.gz"), open).unwrap();
    symlink("old.tar.gz", folder.path("link")).unwrap();
    let mode = |name: &str| fs::metadata(folder.path(name)).unwrap().mode() & 0o777;
    folder.json(&["dump", "new.tar.gz"]);
    folder.json(&["dump", "link"]);
    assert_eq!((mode("new.tar.gz"), mode("old.tar.gz")), (0o600, 0o600));
    assert!(folder.path("link").is_symlink());
    assert_eq!(
        names(&folder),
        ["link", "mneme.db", "new.tar.gz", "old.tar.gz"]
    );
    // What is no file is written to, not replaced.
    folder.json(&["dump", "/dev/null"]);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    if Path::new("/dev/full").exists() {
        let (kind, message) = folder.mneme(&["--json", "dump", "/dev/full"]).error();
        assert_eq!(kind, "io");
        assert!(message.contains("No space left on device"), "{message}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_dump_that_is_killed_leaves_nothing() {
    use std::io::Read;
    use std::process::{Command, Stdio};

    let folder = filled();
    // Large enough that the command is still writing when its reader has seen the beginning.
    let line = |n: u32| {
        let noise: String = (0..2000u32)
            .map(|i| {
                char::from(
                    b'a' + (n.wrapping_mul(2_654_435_761).wrapping_add(i * i * n) >> 13) as u8 % 26,
                )
            })
            .collect();
        format!("{{\"query\":\"q{n}\",\"response\":\"{noise}\",\"embedding\":[1,0,0]}}\n")
    };
    let lines: String = (0..2000).map(line).collect();
    let done = folder.run(VECTORS, &["import", "-"], lines.as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    folder.write("a.tar.gz", "yesterday's");
    let before = names(&folder);
    let start = |file: &str| {
        Command::new(env!("CARGO_BIN_EXE_mneme"))
            .current_dir(folder.path(""))
            .env("MNEME_EMBEDDER", VECTORS)
            .env("TMPDIR", folder.path(""))
            .args(["dump", "--portable", file])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    // Killed while it writes to a pipe that nobody empties.
    let mut child = start("-");
    let mut beginning = [0; 2];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut beginning)
        .unwrap();
    assert_eq!(beginning, [0x1f, 0x8b]);
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    assert_eq!(names(&folder), before);
    // Killed as soon as it has its file open, which has no name until it is complete.
    let mut child = start("a.tar.gz");
    let files = format!("/proc/{}/fd", child.id());
    let is_unnamed = |file: &Path| {
        let file = file.to_string_lossy();
        file.contains("/#") && file.ends_with("(deleted)")
    };
    let mut seen = false;
    while child.try_wait().unwrap().is_none() {
        let open = fs::read_dir(&files).into_iter().flatten().flatten();
        let mut open = open.filter_map(|file| fs::read_link(file.path()).ok());
        if open.any(|file| is_unnamed(&file)) {
            seen = true;
            child.kill().unwrap();
        }
    }
    assert!(seen, "it wrote elsewhere");
    if !child.wait().unwrap().success() {
        assert_eq!(fs::read(folder.path("a.tar.gz")).unwrap(), b"yesterday's");
    }
    assert_eq!(names(&folder), before);
}

/// What SQLite keeps beside a cache is as dear as the cache: entries wait there.
#[test]
#[cfg(unix)]
fn no_command_writes_over_a_file_of_the_store() {
    use std::os::unix::fs::symlink;

    let folder = filled();
    // Something has the cache open, so that its log is there.
    let conn = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    conn.query_row("SELECT count(*) FROM entries", [], |_| Ok(()))
        .unwrap();
    folder.put("d", "5", "[1, 1, 0]");
    let lines = "{\"query\": \"a\", \"label\": \"x\"}\n{\"query\": \"b\", \"label\": \"y\"}\n";
    folder.write("log.jsonl", lines);
    fs::create_dir(folder.path("dir")).unwrap();
    let files = [
        "mneme.db",
        "mneme.db-wal",
        "mneme.db-shm",
        "mneme.db-journal",
    ];
    for file in files {
        let absolute = folder.path(file);
        symlink(&absolute, folder.path("link.svg")).unwrap();
        symlink("link.svg", folder.path("dir/far")).unwrap();
        symlink("../link.svg", folder.path("dir/far.svg")).unwrap();
        fs::remove_file(folder.path("dir/far")).unwrap();
        let mut paths = vec![
            file.to_owned(),
            format!("./dir/../{file}"),
            absolute.to_str().unwrap().to_owned(),
            "link.svg".to_owned(),
            "dir/far.svg".to_owned(),
        ];
        if absolute.exists() {
            fs::hard_link(&absolute, folder.path("hard.svg")).unwrap();
            paths.push("hard.svg".to_owned());
        }
        let before = fs::read_dir(folder.path("")).unwrap().count();
        for path in &paths {
            let commands: [&[&str]; 6] = [
                &["dump", path],
                &["embed", "text", "--npy", path],
                &["component", "--output", path],
                &["replay", "log.jsonl", "--csv", path],
                &["replay", "log.jsonl", "--plot", path],
                &["calibrate", "log.jsonl", "--csv", path],
            ];
            for args in commands {
                let is_picture = args.contains(&"--plot");
                if is_picture && !path.ends_with(".svg") {
                    continue;
                }
                // The store is that of the option, of the variable, or the usual one.
                for store in [&[][..], &["--store", "sqlite:dir/../mneme.db?mode=ro"]] {
                    let (kind, message) =
                        folder.mneme(&[&["--json"], store, args].concat()).error();
                    assert_eq!(kind, "argument", "{args:?}: {message}");
                    assert!(message.contains("store"), "{args:?}: {message}");
                    assert!(message.contains("name another file"), "{args:?}: {message}");
                }
            }
        }
        assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), before);
        for link in ["link.svg", "dir/far.svg", "hard.svg"] {
            let _ = fs::remove_file(folder.path(link));
        }
    }
    assert_eq!(folder.json(&["stats"])["entries"], 5);
    // The files of another store, and names that only look alike, are anybody's.
    folder.json(&["dump", "other.db-wal"]);
    folder.json(&[
        "--store",
        "sqlite:other.db",
        "component",
        "--output",
        "mneme.db-old",
    ]);
    drop(conn);
    assert_eq!(folder.json(&["stats"])["entries"], 5);
}

/// What comes from a pipe or a device may have no end.
#[test]
#[cfg(unix)]
fn a_stream_is_copied_no_further_than_it_is_an_archive() {
    use std::io::{Read, Write};
    use std::process::Stdio;

    let folder = filled();
    folder.json(&["dump", "--portable", "a.tar.gz"]);
    let good = fs::read(folder.path("a.tar.gz")).unwrap();
    let before = names(&folder);
    // With a cache and without one.
    for store in ["sqlite:mneme.db", "sqlite:new.db", "memory:"] {
        let (kind, message) = folder
            .mneme(&["--json", "--store", store, "load", "--merge", "/dev/zero"])
            .error();
        assert_eq!(kind, "checkpoint", "{message}");
        let mut child = folder
            .command(VECTORS)
            .args(["--store", store, "load", "--merge", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut taken = 0;
        while input.write_all(&[7; 1 << 16]).is_ok() {
            taken += 1 << 16;
            assert!(taken < 64 << 20, "it goes on reading");
        }
        assert_eq!(child.wait().unwrap().code(), Some(2));
        let mut said = String::new();
        child.stderr.unwrap().read_to_string(&mut said).unwrap();
        assert!(said.contains("gzip begins with"), "{said}");

        // An archive that is too long, and one that is just as long as it may be.
        let most = |bytes: usize| {
            let most = bytes.to_string();
            let args = [
                "--json",
                "--store",
                store,
                "load",
                "--merge",
                "--max-archive",
                &most,
                "-",
            ];
            folder.run(VECTORS, &args, &good)
        };
        let (kind, message) = most(good.len() - 1).error();
        assert_eq!(kind, "backend", "{message}");
        for part in [
            &format!("more than {} bytes", good.len() - 1),
            "--max-archive",
        ] {
            assert!(message.contains(part), "{message}");
        }
        if store == "sqlite:new.db" {
            assert_eq!(names(&folder), before);
        }
        assert_eq!(most(good.len()).json()["entries"], 4);
        let _ = fs::remove_file(folder.path("new.db"));
    }
    let inspect = ["--json", "inspect", "--max-archive", "100", "-"];
    let (kind, message) = folder.run(VECTORS, &inspect, &good).error();
    assert_eq!(kind, "backend", "{message}");
    // A file has a size, whatever it is.
    folder.json(&["inspect", "--max-archive", "100", "a.tar.gz"]);

    // A pipe with a name serves as well as one without.
    let fifo = folder.path("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    let child = folder
        .command(VECTORS)
        .args(["--json", "--store", "sqlite:new.db", "load", "fifo"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    fs::write(&fifo, &good).unwrap();
    let loaded = child.wait_with_output().unwrap();
    let loaded: serde_json::Value = serde_json::from_slice(&loaded.stdout).unwrap();
    assert_eq!(loaded["entries"], 4);
}
