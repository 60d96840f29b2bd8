//! Files that are not as they should be, and disks that are full: typed errors with a
//! remedy, nothing half written, and the next call works.

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
    a_file_that_may_not_grow_keeps_what_it_has,
    #[cfg(target_os = "linux")]
    a_full_disk_is_named_and_keeps_what_it_has,
    #[cfg(target_os = "linux")]
    a_disk_that_others_filled_is_named_by_who_only_asks,
];

mneme_tests::children![child_fills_the_disk, child_asks_on_a_full_disk];

pub(super) fn builder(path: &Path) -> Builder {
    mneme_tests::builder()
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
pub(super) fn closed_file(dir: &Path) -> PathBuf {
    let path = dir.join("cache.db");
    filled(&path).close().unwrap();
    path
}

/// A cache with 200 entries.
pub(super) fn filled(path: &Path) -> SemanticCache {
    let cache = builder(path).open().unwrap();
    let long = "x".repeat(500);
    cache
        .put_many(
            (0..200)
                .map(|n| PutRequest::new(format!("question {n}"), &long))
                .collect(),
        )
        .unwrap();
    cache
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
pub(super) fn run_by(mut other: Command, child: &Command) -> Command {
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
