//! Another time for a process, by Debian's package `faketime`.

use std::path::{Path, PathBuf};
use std::process::Command;

use mneme_tests::suite::Provided;

/// The library that tells a process another time.
pub struct Faketime(PathBuf);

impl Provided for Faketime {
    fn provide(_: &str) -> Result<Self, String> {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten();
        folders
            .filter_map(|folder| Some(folder.ok()?.path().join("faketime/libfaketimeMT.so.1")))
            .find(|library| library.exists())
            .map(Faketime)
            .ok_or_else(|| "no libfaketime; install the package faketime".into())
    }
}

impl Faketime {
    /// Lets a command run by a clock that is wrong by so much, such as `-5s`.
    pub fn shifted(&self, mut command: Command, by: &str) -> Command {
        self.load(&mut command);
        command.env("FAKETIME", by);
        command
    }

    /// Lets a command run by a clock that a [`Dial`] sets.
    pub fn dialled(&self, mut command: Command, dial: &Dial) -> Command {
        self.load(&mut command);
        command
            .env("FAKETIME_TIMESTAMP_FILE", &dial.0)
            .env("FAKETIME_NO_CACHE", "1");
        command
    }

    /// As where somebody sets the clock: what counts from the start of the machine goes on.
    fn load(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.0)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }
}

/// Sets the clock of a running process.
pub struct Dial(PathBuf);

impl Dial {
    /// A clock that is right.
    pub fn new(folder: &Path) -> Self {
        let dial = Dial(folder.join("faketime"));
        dial.set(0);
        dial
    }

    /// Sets the clock to so many seconds from now.
    pub fn set(&self, seconds: i64) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }
}
