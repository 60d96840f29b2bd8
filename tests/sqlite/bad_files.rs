//! Files that are not as they should be, and disks that are full: typed errors with a
//! remedy, nothing half written, and the next call works.

use mneme::checkpoint::DumpOptions;
use mneme::store::{SqliteStore, Store};
use mneme::{Builder, Error, PutRequest, SemanticCache};
use mneme_tests::children::{self, Running, argument, say};
use mneme_tests::embedders::{DIM, FINGERPRINT, Words};
use mneme_tests::suite::Ran;
use mneme_tests::{assert_answers, sqlite, unless_it_hangs};
use std::path::{Path, PathBuf};
use std::process::Command;

mneme_tests::tests![
    a_file_cut_off_anywhere_gives_typed_errors_only,
    what_is_no_cache_is_refused_and_left_alone,
    a_newer_schema_is_refused_and_left_alone,
    #[cfg(unix)]
    a_file_that_may_not_be_written_is_read,
    #[cfg(unix)]
    a_file_that_may_not_grow_keeps_what_it_has,
    #[cfg(target_os = "linux")]
    a_full_disk_is_named_and_keeps_what_it_has,
    #[cfg(target_os = "linux")]
    a_disk_that_others_filled_is_named_by_who_only_asks,
];

mneme_tests::children![
    child_only_reads,
    child_fills_the_disk,
    child_asks_on_a_full_disk,
];

fn builder(path: &Path) -> Builder {
    SemanticCache::builder()
        .store(SqliteStore::new(path))
        .embedder(Words)
}
/// A second store finds what the first one wrote.
fn entries(path: &Path) -> u64 {
    let mut store = SqliteStore::new(path);
    store.open(FINGERPRINT, DIM).unwrap();
    store.count(None).unwrap()
}

/// The backend failed, and calling again would not help.
fn assert_final(error: &Error) {
    assert!(
        matches!(
            error,
            Error::Backend {
                retryable: false,
                ..
            }
        ),
        "{error:?}"
    );
}

/// As [`assert_final`], and the text names a remedy.
fn assert_refused(error: &Error, remedy: &str) {
    assert_final(error);
    assert!(error.to_string().contains(remedy), "{error}");
}

/// The file of a closed cache with 200 entries.
fn closed_file(dir: &Path) -> PathBuf {
    let path = dir.join("cache.db");
    let cache = builder(&path).open().unwrap();
    let long = "x".repeat(500);
    cache
        .put_many(
            (0..200)
                .map(|n| PutRequest::new(format!("question {n}"), &long))
                .collect(),
        )
        .unwrap();
    cache.close().unwrap();
    path
}

fn a_file_cut_off_anywhere_gives_typed_errors_only() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(closed_file(dir.path())).unwrap();
    let path = dir.path().join("cut.db");
    // SQLite itself takes a file of one byte for an empty one.
    for length in [
        2,
        15,
        99,
        100,
        1000,
        4095,
        4096,
        4097,
        8192,
        20_000,
        whole.len() / 2,
        // The end of its last page, which may be zeros: SQLite reads those that are missing.
        whole.len() - 4096,
    ] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let mut errors = Vec::new();
        match builder(&path).open() {
            Err(error) => errors.push(error),
            Ok(cache) => {
                for n in 0..200 {
                    errors.extend(cache.get(format!("question {n}")).err());
                }
                errors.extend(cache.get("unlike any").err());
                let health = cache.health(true).unwrap();
                assert!(
                    !health.healthy
                        && health
                            .deep
                            .is_some_and(|deep| deep.integrity_ok != Some(true)),
                    "cut at {length}: {health:?}"
                );
                errors.extend(cache.put(PutRequest::new("new", "r")).err());
                errors.extend(cache.close().err());
            }
        }
        assert!(!errors.is_empty(), "cut at {length}: nothing was noticed");
        for error in errors {
            assert!(
                matches!(error, Error::Corrupt(_) | Error::Schema(_)),
                "cut at {length}: {error:?}"
            );
            let says = [
                "move the file away",
                "restore a checkpoint",
                "give another path",
            ];
            assert!(
                says.iter().any(|what| error.to_string().contains(what)),
                "{error}"
            );
        }
    }
}

fn what_is_no_cache_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let text = "This is a letter, and not a database of any kind.\n".repeat(40);
    std::fs::write(&path, &text).unwrap();
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("give another path"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

    let path = dir.path().join("accounts.db");
    sqlite::execute(
        &path,
        "CREATE TABLE accounts (id, name); INSERT INTO accounts VALUES (1, 'a')",
    );
    let bytes = std::fs::read(&path).unwrap();
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Schema(_)), "{error:?}");
    assert!(error.to_string().contains("give another path"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);

    for (path, says) in [
        (dir.path().join("no/such/folder.db"), "create its directory"),
        (dir.path().into(), "path of a file"),
    ] {
        let error = builder(&path).open().unwrap_err();
        assert_refused(&error, says);
    }
}

fn a_newer_schema_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = closed_file(dir.path());
    sqlite::execute(
        &path,
        "UPDATE schema_meta SET value = '2' WHERE key = 'schema_version'",
    );
    let before = sqlite::dump(&path);
    let error = builder(&path).open().unwrap_err();
    assert!(matches!(error, Error::Schema(_)), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("use the release that wrote the file"),
        "{error}"
    );
    assert_eq!(sqlite::dump(&path), before);
    sqlite::execute(
        &path,
        "UPDATE schema_meta SET value = '1' WHERE key = 'schema_version'",
    );
    assert!(
        builder(&path)
            .open()
            .unwrap()
            .get("question 7")
            .unwrap()
            .is_hit()
    );
}

#[cfg(unix)]
fn a_file_that_may_not_be_written_is_read() -> Ran {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = closed_file(dir.path());
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (folder, file) in [(0o700, 0o400), (0o500, 0o400), (0o500, 0o600)] {
        allow(&path, file);
        allow(dir.path(), folder);
        let child = children::command("child_only_reads", &[("PATH", path.to_str().unwrap())]);
        let mut command = match std::fs::OpenOptions::new().append(true).open(&path) {
            // Root may write to any file, unless it has given up that right.
            Ok(_) if folder == 0o700 || is_writable(dir.path()) => {
                let mut setpriv = Command::new("setpriv");
                setpriv.args(["--bounding-set", "-dac_override"]);
                run_by(setpriv, &child)
            }
            _ => child,
        };
        let output = command.output();
        let output = output.map_err(|error| format!("no setpriv: {error}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{folder:o} {file:o}: {said}");
        if folder == 0o500 {
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        allow(dir.path(), 0o700);
        for more in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(dir.path().join(format!("cache.db{more}")));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_writable(folder: &Path) -> bool {
    tempfile::tempfile_in(folder).is_ok()
}

/// Opens a file that it may not write.
fn child_only_reads() {
    let path = argument("PATH");
    let cache = builder(path.as_ref()).open().unwrap();
    for n in 0..200 {
        assert!(cache.get(format!("question {n}")).unwrap().is_hit());
    }
    assert!(!cache.get("unlike any").unwrap().is_hit());
    assert_eq!(cache.stats(None).unwrap().entries, 200);
    let health = cache.health(true).unwrap();
    assert!(health.store_ok && !health.healthy, "{health:?}");
    assert!(
        health.problems[0].contains("the cache can only be read"),
        "{health:?}"
    );
    // Not beside the file, where nothing can be written.
    let (_, archive) = cache
        .dump_verified(tempfile::tempfile().unwrap(), DumpOptions::new())
        .unwrap();
    assert!(archive.metadata().unwrap().len() > 200);
    for error in [
        cache.put(PutRequest::new("new", "r")).unwrap_err(),
        cache.delete("question 7", "default").unwrap_err(),
        cache.vacuum(None, false).unwrap_err(),
        cache.clear().unwrap_err(),
        cache.set_namespace_quota("default", Some(1)).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("the cache can only be read here"),
            "{error}"
        );
        assert!(error.to_string().contains(&path), "{error}");
    }
    // Hits wait for nothing that could not be written.
    cache.close().unwrap();
}

/// Fills a file until the disk refuses.
fn child_fills_the_disk() {
    let path = argument("PATH");
    let path = Path::new(&path);
    let cache = builder(path).open().unwrap();
    cache.put(PutRequest::new("question", "answer")).unwrap();
    let long = "x".repeat(20_000);
    let mut kept = Vec::new();
    let error =
        (0..10_000).find_map(
            |n| match cache.put(PutRequest::new(format!("fill {n}"), &long)) {
                Ok(_) => {
                    kept.push(n);
                    None
                }
                Err(error) => Some(error),
            },
        );
    let error = error.expect("the disk is full in the end");
    assert_final(&error);
    say(&error.to_string());
    let before = sqlite::dump(path);
    let batch = (0..50)
        .map(|n| PutRequest::new(format!("batch {n}"), &long))
        .collect();
    let error = cache.put_many(batch).unwrap_err();
    assert_final(&error);
    assert_eq!(
        sqlite::dump(path),
        before,
        "a put that failed has left something behind"
    );
    assert_answers(&cache);
    for n in &kept {
        assert!(cache.get(format!("fill {n}")).unwrap().is_hit());
    }
    say(&kept.len().to_string());
    // What waits may not find room any more.
    let _ = cache.close();
}

/// The command of a child, run by another.
fn run_by(mut other: Command, child: &Command) -> Command {
    other.arg(child.get_program()).args(child.get_args());
    let variables = child.get_envs();
    other.envs(variables.filter_map(|(key, value)| Some((key, value?))));
    other
}

/// Runs the child by a shell that first runs `prepare`, and checks the file afterwards.
fn on_a_full_disk(prepare: &str, path: &Path, by: &str, child: &str) -> Vec<String> {
    let child = children::command(child, &[("PATH", path.to_str().unwrap())]);
    let mut shell = Command::new(by);
    if by == "unshare" {
        shell.args(["--user", "--map-root-user", "--mount", "sh"]);
    }
    shell.args(["-c", &format!("{prepare} && exec \"$0\" \"$@\"")]);
    let mut running = Running::start(&mut run_by(shell, &child));
    let said: Vec<String> = std::iter::from_fn(|| running.line()).collect();
    running.finish();
    said
}

#[cfg(unix)]
fn a_file_that_may_not_grow_keeps_what_it_has() {
    unless_it_hangs(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache.db");
        // Blocks of 512 bytes in some shells, of 1024 in others.
        let said = on_a_full_disk(
            "trap '' XFSZ && ulimit -f 2000",
            &path,
            "sh",
            "child_fills_the_disk",
        );
        assert!(said[0].contains("disk"), "{said:?}");
        // Without the limit everything goes on.
        let kept: u64 = said[1].parse().unwrap();
        assert!(kept > 10);
        assert_eq!(entries(&path), kept + 1);
        let cache = builder(&path).open().unwrap();
        assert!(cache.health(true).unwrap().healthy);
        assert_answers(&cache);
        cache.put(PutRequest::new("more", "room")).unwrap();
        assert!(cache.get("more").unwrap().is_hit());
    });
}

/// The command that mounts a small file system on a folder, if it can be run here.
#[cfg(target_os = "linux")]
fn small_disk(folder: &Path) -> Result<String, String> {
    let mount = format!("mount -t tmpfs -o size=2m none {}", folder.display());
    let can = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
        .output();
    match can.is_ok_and(|output| output.status.success()) {
        true => Ok(mount),
        false => Err("no file system of a fixed size can be mounted here".to_owned()),
    }
}

/// Asks a cache where others have filled the disk.
fn child_asks_on_a_full_disk() {
    let path = argument("PATH");
    let path = Path::new(&path);
    let cache = builder(path).open().unwrap();
    cache.put(PutRequest::new("question", "answer")).unwrap();
    cache.close().unwrap();
    let fill = path.with_file_name("fill");
    let _ = std::fs::write(&fill, vec![1; 4 << 20]);
    let error = match builder(path).open() {
        Err(error) => error,
        Ok(cache) => {
            let _ = cache.get("question");
            cache.put(PutRequest::new("more", "room")).unwrap_err()
        }
    };
    assert_final(&error);
    say(&error.to_string());
    std::fs::remove_file(&fill).unwrap();
    let cache = builder(path).open().unwrap();
    assert!(cache.get("question").unwrap().is_hit());
}

#[cfg(target_os = "linux")]
fn a_disk_that_others_filled_is_named_by_who_only_asks() -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mount = small_disk(dir.path())?;
    unless_it_hangs(move || {
        let path = dir.path().join("cache.db");
        let said = on_a_full_disk(&mount, &path, "unshare", "child_asks_on_a_full_disk");
        assert!(said[0].contains("disk is full"), "{said:?}");
        assert!(said[0].contains("free space on the disk"), "{said:?}");
        assert!(said[0].contains("cache.db"), "{said:?}");
    });
    Ok(())
}

#[cfg(target_os = "linux")]
fn a_full_disk_is_named_and_keeps_what_it_has() -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let mount = small_disk(dir.path())?;
    unless_it_hangs(move || {
        let said = on_a_full_disk(
            &mount,
            &dir.path().join("cache.db"),
            "unshare",
            "child_fills_the_disk",
        );
        assert!(said[0].contains("free space on the disk"), "{said:?}");
        assert!(said[1].parse::<u64>().unwrap() > 10);
    });
    Ok(())
}
