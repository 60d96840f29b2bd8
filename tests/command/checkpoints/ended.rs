//! Commands that a signal ends while they have temporary files.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use mneme_tests::command::program;
use mneme_tests::served::{send, until};

use super::names;
use crate::{Folder, VECTORS};

const SIGNALS: [(&str, i32); 3] = [("HUP", 1), ("INT", 2), ("TERM", 15)];

/// A cache of 8 MiB and its archives, which do not shrink.
fn large() -> Folder {
    let folder = Folder::new();
    let mut random = 1_u32;
    let mut letter = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (random >> 24) as u8 % 26)
    };
    let mut lines = String::new();
    for n in 0..1000 {
        let response: String = std::iter::repeat_with(&mut letter).take(8000).collect();
        lines +=
            &format!("{{\"query\":\"q{n}\",\"response\":\"{response}\",\"embedding\":[1,0,0]}}\n");
    }
    let done = folder.run(VECTORS, &["import", "-"], lines.as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    folder.json(&["dump", "--level", "0", "native.gz"]);
    folder.json(&["dump", "--level", "0", "--portable", "portable.gz"]);
    folder
}

/// Starts a command, which reads half of an archive and has more to come.
fn halfway(mut command: Command, folder: &Folder, archive: &str) -> (Child, ChildStdin, Vec<u8>) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut archive = fs::read(folder.path(archive)).unwrap();
    let rest = archive.split_off(archive.len() / 2);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&archive).unwrap();
    (child, stdin, rest)
}

fn has(folder: &Folder, prefix: &str) -> bool {
    names(folder).iter().any(|name| name.starts_with(prefix))
}

#[test]
fn a_signal_ends_a_command_and_leaves_no_temporary_file() {
    let folder = large();
    let before = names(&folder);
    let load: &[&str] = &["load", "--replace", "-"];
    for (signal, number) in SIGNALS {
        for (args, archive, staged) in [
            (load, "native.gz", ".mneme-snapshot-"),
            (load, "portable.gz", ".mneme-import-"),
            (&["inspect", "-"], "native.gz", "mneme-scratch-"),
        ] {
            let mut command = folder.command(VECTORS);
            command.args(args);
            let (mut child, _stdin, _) = halfway(command, &folder, archive);
            until(staged, || has(&folder, staged));
            send(&child, signal);
            let status = child.wait().unwrap();
            assert_eq!(status.signal(), Some(number), "{args:?} {signal}");
            assert_eq!(names(&folder), before, "{args:?} {archive} {signal}");
        }
        let mut child = folder
            .command(VECTORS)
            .args(["dump", "new.gz"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !has(&folder, ".mneme-snapshot-") {
            assert!(child.try_wait().unwrap().is_none(), "it staged nothing");
        }
        send(&child, signal);
        assert_eq!(child.wait().unwrap().signal(), Some(number), "{signal}");
        assert_eq!(names(&folder), before, "dump {signal}");
    }
    assert_eq!(folder.json(&["stats"])["entries"], 1000);
}

/// As under `nohup`.
#[test]
#[cfg(target_os = "linux")]
fn a_signal_that_is_ignored_ends_nothing() {
    let folder = large();
    let before = names(&folder);
    let like = folder.command(VECTORS);
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\""])
        .arg(program())
        .args(["load", "--replace", "-"])
        .current_dir(folder.path(""));
    for (name, value) in like.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let (mut child, mut stdin, rest) = halfway(command, &folder, "native.gz");
    until("it stages", || has(&folder, ".mneme-snapshot-"));
    send(&child, "HUP");
    stdin.write_all(&rest).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
    assert_eq!(names(&folder), before);
}
