//! Bad input.

use std::fs;
use std::io::Write;

use crate::{Done, Folder, VECTORS};

#[test]
fn bad_input_gives_its_error_and_changes_nothing() {
    let folder = Folder::new();
    folder.put("question", "answer", "[1, 0, 0]");
    let good = fs::read(folder.path("mneme.db")).unwrap();
    folder.write("cut.db", &good[..good.len() / 2]);
    folder.write("text.db", "not a database, by any means; ".repeat(40));
    let long = "x".repeat(33 * 1024);
    let name = "n".repeat(10 * 1024);
    let given = ["--embedding", "[1, 0, 0]"];
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["--embedder", "vectors:other,3", "stats"],
            "embedder_mismatch",
            "other",
        ),
        (
            &["--embedder", "vectors:test-model,4", "stats"],
            "embedder_dimension",
            "4",
        ),
        (
            &["get", "other", "--embedding", "[1, 0]"],
            "embedder_dimension",
            "2",
        ),
        (
            &["put", "q", "r", "--embedding", "[1, 0]"],
            "embedder_dimension",
            "2",
        ),
        (&["put", "q", "r"], "embedder", "pass the embedding"),
        (
            &["put", "q", "r", "--embedding", "[0, 0, 0]"],
            "invalid_argument",
            "",
        ),
        (
            &["put", "q", "r", "--embedding", "[1e39, 0, 0]"],
            "invalid_argument",
            "",
        ),
        (
            &["get", "q", "--embedding", "[1e999, 0, 0]"],
            "argument",
            "JSON array of numbers",
        ),
        (
            &["get", "q", "--embedding", "[NaN, 0, 0]"],
            "argument",
            "JSON array of numbers",
        ),
        (
            &["get", "q", "--embedding", "@nothing"],
            "io",
            "cannot read \"nothing\"",
        ),
        (&["get", &long], "invalid_argument", ""),
        (
            &[&["put", &long, "r"], &given[..]].concat(),
            "invalid_argument",
            "",
        ),
        (
            &[&["put", "q", "r", "--metadata", "[1]"], &given[..]].concat(),
            "invalid_argument",
            "object",
        ),
        (
            &[&["put", "q", "r", "--metadata", "{"], &given[..]].concat(),
            "invalid_argument",
            "object",
        ),
        (&["-n", "", "get", "q"], "invalid_argument", "namespace"),
        (&["-n", &name, "get", "q"], "invalid_argument", "namespace"),
        (&["get", "q", "-t", "1.5"], "invalid_argument", "threshold"),
        (&["get", "q", "-t", "NaN"], "invalid_argument", "threshold"),
        (
            &["--store", "mysql://u:secret@h/x", "stats"],
            "argument",
            "memory:, sqlite:PATH",
        ),
        (
            &["--store", "mneme.db", "stats"],
            "argument",
            "sqlite:mneme.db",
        ),
        (
            &["--store", "sqlite:cut.db", "get", "question"],
            "corrupt",
            "cut.db",
        ),
        (
            &["--store", "sqlite:text.db", "stats"],
            "corrupt",
            "text.db",
        ),
        (
            &["--store", "sqlite:no/such/folder.db", "stats"],
            "backend",
            "no/such/folder.db",
        ),
        (
            &["--embedder", "bert", "stats"],
            "argument",
            "minilm, model",
        ),
        (
            &["--embedder", "vectors:x,0", "stats"],
            "argument",
            "1 to 8192",
        ),
        (
            &["component", "-o", "no/such/file.wasm"],
            "io",
            "no/such/file.wasm",
        ),
        (&["import", "nothing.jsonl"], "io", "nothing.jsonl"),
        (&["get"], "usage", "<QUERY>"),
        (&["quota", "many"], "usage", "none"),
        (&["clear", "--all", "-n", "x"], "usage", "cannot be used"),
    ];
    for &(args, kind, part) in cases {
        let done = folder.mneme(&[&["--json"], args].concat());
        let (found, message) = done.error();
        let shown: Vec<&str> = args.iter().map(|arg| &arg[..arg.len().min(40)]).collect();
        assert_eq!(found, kind, "{shown:?}: {message}");
        assert!(
            message.contains(part) && !message.contains("secret"),
            "{shown:?}: {message}"
        );
        assert_eq!(folder.json(&["stats"])["entries"], 1, "{shown:?}");
    }
    assert_eq!(folder.mneme(&["get", "question"]).stdout, "answer\n");
    let plain = folder.mneme(&["get", "q", "-t", "1.5"]);
    assert!(
        plain.stderr.starts_with("mneme: ") && plain.code == 2,
        "{plain:?}"
    );
}

#[test]
fn only_what_stores_makes_a_cache() {
    let folder = Folder::new();
    let at = |store: &'static str, args: &[&'static str]| {
        let args = [&["--json", "--store", store], args].concat();
        folder.mneme(&args)
    };
    let vector = ["--embedding", "[1, 0, 0]"];
    let reading: &[&[&str]] = &[
        &["get", "q"],
        &["explain", "q", vector[0], vector[1]],
        &["delete", "q"],
        &["clear", "--all"],
        &["namespaces"],
        &["quota"],
        &["vacuum"],
        &["warm-up"],
        &["stats"],
        &["health"],
        &["dump", "archive.gz"],
    ];
    for args in reading {
        let (kind, message) = at("sqlite:mistyped.db", args).error();
        assert_eq!(kind, "backend", "{args:?}: {message}");
        assert!(message.contains("mistyped.db"), "{args:?}: {message}");
        assert!(message.contains("no cache"), "{args:?}: {message}");
        assert_eq!(
            fs::read_dir(folder.0.path()).unwrap().count(),
            0,
            "{args:?}"
        );
    }
    let (_, message) = at("sqlite:mistyped.db", &["copy", "--to", "sqlite:target.db"]).error();
    assert!(message.contains("no cache"), "{message}");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);
    let (kind, message) = at("sqlite:file:t.db", &["get", "q"]).error();
    assert!(message.contains("write sqlite:t.db"), "{kind}: {message}");
    assert_eq!(fs::read_dir(folder.0.path()).unwrap().count(), 0);

    assert_eq!(
        at("sqlite:new.db", &["put", "q", "r", vector[0], vector[1]]).code,
        0
    );
    assert_eq!(at("sqlite:new.db", &["get", "q"]).json()["response"], "r");
    assert_eq!(
        at("sqlite:new.db?mode=ro", &["get", "q"]).json()["response"],
        "r"
    );
    let (kind, message) = at(
        "sqlite:new.db?mode=ro",
        &["put", "p", "r", vector[0], vector[1]],
    )
    .error();
    assert_eq!(kind, "unsupported", "{message}");
    assert!(message.contains("can only be read here"), "{message}");
}

#[test]
fn a_refused_key_is_not_shown() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ = stream.write_all(
                b"HTTP/1.1 401 X\r\ncontent-length: 9\r\nconnection: close\r\n\r\nsk-secret",
            );
        }
    });
    let folder = Folder::new();
    let spec = format!("openai:http://user:pass-word@127.0.0.1:{port}/v1,model");
    let (kind, message) = folder
        .run(&spec, &["--json", "--store", "memory:", "get", "q"], b"")
        .error();
    assert_eq!(kind, "embedder");
    assert!(
        message.contains("answered 401") && message.contains("check the API key"),
        "{message}"
    );
    assert!(
        !message.contains("secret") && !message.contains("pass-word"),
        "{message}"
    );
    // With the dimension given, opening asks nobody, and the failure is a miss.
    let done = folder.run(
        &format!("{spec},3"),
        &["--json", "--store", "memory:", "get", "q"],
        b"",
    );
    let miss = done.json();
    assert_eq!(miss["reason"], "embedder_failure");
    let said = miss["embedder_error"].as_str().unwrap();
    assert!(
        said.contains("answered 401") && !said.contains("secret"),
        "{said}"
    );
    assert!(
        done.stderr.contains("answered 401") && !done.stderr.contains("secret"),
        "{done:?}"
    );
}

/// An instance of the component needs address space for all that it may ever address.
#[cfg(target_os = "linux")]
#[test]
fn too_little_address_space_is_named() {
    let folder = Folder::new();
    folder.put("q", "r", "[1, 0, 0]");
    let run = |kib: u32| {
        let script = format!("ulimit -v {kib}; exec \"$0\" --json get q --embedding '[1, 0, 0]'");
        let mut command = folder.command(VECTORS);
        let program = command.get_program().to_owned();
        let environment: Vec<_> = command
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        command = std::process::Command::new("sh");
        command
            .args(["-c", &script])
            .arg(program)
            .current_dir(folder.path(""))
            .env_remove("MNEME_STORE")
            .envs(environment);
        Done::run(&mut command)
    };
    let (kind, message) = run(4_000_000).error();
    assert_eq!(kind, "limit", "{message}");
    for part in ["4362076160 bytes of address space", "ulimit -v"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("bug"), "{message}");
    assert_eq!(run(8_000_000).json()["response"], "r");
}

/// What has no end is read up to a limit.
#[cfg(unix)]
#[test]
fn endless_input_is_refused() {
    let folder = Folder::new();
    for args in [
        &["put", "q", "-", "--embedding", "[1, 0, 0]"][..],
        &["put", "q", "r", "--embedding", "@-"],
        &["embed", "-"],
        &["import", "-"],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--token-file",
            "/dev/zero",
        ],
    ] {
        let mut command = folder.command(VECTORS);
        let zeros = fs::File::open("/dev/zero").unwrap();
        let done = command
            .arg("--json")
            .args(args)
            .stdin(zeros)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
    }
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_said_alike_by_every_command() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.path("pipe"))
        .status();
    assert!(made.unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(folder.path("socket")).unwrap();
    folder.write("secret.db", "");
    let no_rights = std::os::unix::fs::PermissionsExt::from_mode(0o0);
    fs::set_permissions(folder.path("secret.db"), no_rights).unwrap();
    // Root may read any file, unless it has given up that right.
    let is_root = fs::File::open(folder.path("secret.db")).is_ok();
    for (path, said) in [
        ("folder", "this is a directory; give the path of a file"),
        ("pipe", "this is a named pipe; give the path of a file"),
        ("socket", "this is a socket; give the path of a file"),
        ("/dev/null", "this is a device; give the path of a file"),
        ("secret.db", "this process may not read the file"),
    ] {
        let url = format!("sqlite:{path}");
        let mut messages = Vec::new();
        for args in [
            &["put", "q", "r", "--embedding", "[1,0,0]"][..],
            &["get", "q"],
            &["stats"],
            &["copy", "--to", "sqlite:other.db"],
        ] {
            let mut command = match is_root {
                true => {
                    let mut command = std::process::Command::new("setpriv");
                    command
                        .args(["--bounding-set", "-dac_override,-dac_read_search"])
                        .arg(mneme_tests::command::program());
                    command
                }
                false => std::process::Command::new(mneme_tests::command::program()),
            };
            command
                .current_dir(folder.0.path())
                .env("MNEME_EMBEDDER", VECTORS)
                .args(["--json", "--store", &url])
                .args(args);
            let (kind, message) = Done::run(&mut command).error();
            assert_eq!(kind, "backend", "{path} {args:?}: {message}");
            assert!(message.contains(said), "{path} {args:?}: {message}");
            messages.push(message.replace("copy: ", ""));
        }
        assert!(
            messages.iter().all(|one| *one == messages[0]),
            "{messages:?}"
        );
    }
}

#[test]
fn a_url_that_is_wrong_is_said_by_the_option_that_gave_it() {
    let folder = Folder::new();
    folder.put("q", "r", "[1,0,0]");
    let said = |args: &[&str]| folder.mneme(&[&["--json"], args].concat()).error().1;
    let secret = "user=u password=secret";
    for (args, start) in [
        (
            &["--store", secret, "stats"][..],
            "--store: the store has no scheme",
        ),
        (&["copy", "--to", secret], "--to: the store has no scheme"),
        (
            &["copy", "--to", "mysql://u:secret@h"],
            "--to: a store of the scheme",
        ),
    ] {
        let message = said(args);
        assert!(message.starts_with(start), "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
    for (variable, args) in [("MNEME_STORE", &["stats"]), ("MNEME_TARGET", &["copy"])] {
        let mut command = folder.command(VECTORS);
        command.env(variable, secret).arg("--json").args(args);
        let (_, message) = Done::run(&mut command).error();
        let start = format!("{variable}: the store has no scheme");
        assert!(message.starts_with(&start), "{message}");
    }
}
