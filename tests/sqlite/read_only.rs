//! Files that may not be written, and file systems that are read-only: every read answers, and nothing is
//! written, whatever SQLite had left beside the file.

use std::fs;
use std::path::Path;
use std::process::Command;

use mneme::checkpoint::DumpOptions;
use mneme::store::SqliteStore;
use mneme::{Error, PutRequest};
use mneme_tests::children::{self, Running, argument, hear, say};
use mneme_tests::embedders::Words;
use mneme_tests::suite::Ran;

use super::bad_files::{builder, closed_file, filled, run_by};

mneme_tests::tests![
    #[cfg(unix)]
    a_file_that_may_not_be_written_is_read,
    #[cfg(target_os = "linux")]
    a_read_only_file_system_is_read_whatever_stands_beside_the_file,
    #[cfg(target_os = "linux")]
    what_others_write_by_another_mount_is_seen_or_told,
];

mneme_tests::children![child_only_reads, child_reads_while_others_write];

#[cfg(unix)]
fn a_file_that_may_not_be_written_is_read() -> Ran {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = closed_file(dir.path());
    let allow = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (folder, file) in [(0o700, 0o400), (0o500, 0o400), (0o500, 0o600)] {
        allow(&path, file);
        allow(dir.path(), folder);
        let child = children::command(
            "child_only_reads",
            &[("MODE", "rwc"), ("PATH", path.to_str().unwrap())],
        );
        let mut command = match fs::OpenOptions::new().append(true).open(&path) {
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
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        allow(dir.path(), 0o700);
        for more in ["-wal", "-shm"] {
            let _ = fs::remove_file(dir.path().join(format!("cache.db{more}")));
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
    let (path, mode) = (argument("PATH"), argument("MODE"));
    let store = SqliteStore::from_url(&format!("sqlite:{path}?mode={mode}")).unwrap();
    let cache = mneme_tests::builder().store(store).embedder(Words);
    let cache = cache.open().unwrap();
    for n in 0..200 {
        assert!(cache.get(format!("question {n}")).unwrap().is_hit());
    }
    let reworded = cache.get("7 question").unwrap().hit().unwrap();
    assert_eq!(reworded.response, "x".repeat(500));
    assert!(!cache.get("unlike any").unwrap().is_hit());
    assert_eq!(cache.stats(None).unwrap().entries, 200);
    let health = cache.health(true).unwrap();
    // Who asked for it is not told.
    let mut problems = health.problems.iter();
    let told = problems.any(|problem| problem.contains("the cache can only be read"));
    assert!(health.store_ok && told == (mode == "rwc"), "{health:?}");
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

/// A shell that has the folder mounted read-only at its own place, and goes on with a child.
#[cfg(target_os = "linux")]
fn where_it_is_read_only(folder: &Path, child: &Command) -> Command {
    let mount = format!(
        "mount --bind '{0}' '{0}' && mount -o remount,bind,ro '{0}' && exec \"$0\" \"$@\"",
        folder.display()
    );
    let mut shell = Command::new("unshare");
    shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount]);
    run_by(shell, child)
}

/// Whether a folder can be mounted so here.
#[cfg(target_os = "linux")]
fn can_be_mounted(folder: &Path) -> Ran {
    let mut touch = Command::new("touch");
    touch.arg(folder.join("new"));
    let told = where_it_is_read_only(folder, &touch).output();
    match told {
        Ok(output) if String::from_utf8_lossy(&output.stderr).contains("Read-only") => Ok(()),
        other => Err(format!(
            "no folder can be mounted read-only here: {other:?}"
        )),
    }
}

/// What is in a folder, by name.
#[cfg(target_os = "linux")]
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap())
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, fs::read(file.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[cfg(target_os = "linux")]
fn a_read_only_file_system_is_read_whatever_stands_beside_the_file() -> Ran {
    let there = tempfile::tempdir().unwrap();
    let path = there.path().join("cache.db");
    let cache = filled(&path);
    for beside in [&[][..], &["-wal"], &["-wal", "-shm"], &["-shm"]] {
        let dir = tempfile::tempdir().unwrap();
        can_be_mounted(dir.path())?;
        match beside.contains(&"-wal") {
            // As a killed process leaves it.
            true => {
                fs::copy(&path, dir.path().join("cache.db")).unwrap();
            }
            false => drop(closed_file(dir.path())),
        }
        for suffix in beside {
            let name = format!("cache.db{suffix}");
            fs::copy(there.path().join(&name), dir.path().join(&name)).unwrap();
        }
        let before = contents(dir.path());
        assert_eq!(before.len(), 1 + beside.len());
        for mode in ["rwc", "ro"] {
            let path = dir.path().join("cache.db");
            let path = path.to_str().unwrap();
            let child = children::command("child_only_reads", &[("MODE", mode), ("PATH", path)]);
            let output = where_it_is_read_only(dir.path(), &child).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{beside:?} {mode}: {said}");
            assert!(contents(dir.path()) == before, "{beside:?} {mode}");
        }
    }
    cache.close().unwrap();
    Ok(())
}

/// Reads at the word of its parent, and says what became of it.
fn child_reads_while_others_write() {
    let path = argument("PATH");
    let cache = builder(path.as_ref()).open().unwrap();
    assert!(cache.get("question 7").unwrap().is_hit());
    say("open");
    while hear().is_some() {
        match cache.get("what others wrote") {
            Ok(found) if found.is_hit() => say("seen"),
            Ok(_) => say("not there"),
            Err(error) => say(&error.to_string()),
        }
    }
}

#[cfg(target_os = "linux")]
fn what_others_write_by_another_mount_is_seen_or_told() -> Ran {
    let dir = tempfile::tempdir().unwrap();
    can_be_mounted(dir.path())?;
    let path = closed_file(dir.path());
    let start = || {
        let child = children::command(
            "child_reads_while_others_write",
            &[("PATH", path.to_str().unwrap())],
        );
        let mut child = Running::start(&mut where_it_is_read_only(dir.path(), &child));
        assert_eq!(child.line().as_deref(), Some("open"));
        child
    };
    // Nobody has it open, so nobody can be seen.
    let mut frozen = start();
    let writer = builder(&path).open().unwrap();
    writer
        .put(PutRequest::new("what others wrote", "r"))
        .unwrap();
    frozen.tell("ask");
    let told = frozen.line().unwrap();
    assert!(told.contains("it has been written"), "{told}");
    // While somebody has it open, what he writes is seen.
    let mut child = start();
    child.tell("ask");
    assert_eq!(child.line().as_deref(), Some("seen"));
    writer.delete("what others wrote", "default").unwrap();
    child.tell("ask");
    assert_eq!(child.line().as_deref(), Some("not there"));
    child.finish();
    frozen.finish();
    writer.close().unwrap();
    Ok(())
}
