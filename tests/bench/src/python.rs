//! The Python that runs the peers.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::output::Output;
use crate::peer::PeerError;

/// What the peers need. hnswlib comes as source: it wants a C++ compiler, and may fail alone.
const PACKAGES: [&[&str]; 3] = [
    &["mneme-cache==1.0.1", "numpy==2.4.6", "usearch==2.26.6"],
    &["onnxruntime==1.32.0", "tokenizers==0.23.3"],
    &["hnswlib==0.8.0"],
];

/// The Python that is named, else $MNEME_BENCH_PYTHON, else that of the virtual environment,
/// which is made if it is missing. Notes tell what could not be installed.
pub fn choose(
    option: Option<&Path>,
    out: Output,
    notes: &mut Vec<String>,
) -> Result<PathBuf, PeerError> {
    let variable = std::env::var_os("MNEME_BENCH_PYTHON").filter(|path| !path.is_empty());
    if let Some(python) = option.map(Path::to_owned).or(variable.map(PathBuf::from)) {
        run(Command::new(&python).arg("--version"))?;
        return Ok(python);
    }
    let cache = dirs::cache_dir().ok_or_else(|| {
        PeerError("this system names no folder for caches; name a Python with --python".into())
    })?;
    create(&cache.join("mneme").join("bench"), out, notes)
}

fn create(folder: &Path, out: Output, notes: &mut Vec<String>) -> Result<PathBuf, PeerError> {
    let failed = |path: &Path, error: std::io::Error| PeerError(format!("{path:?}: {error}"));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    // Others may be at it.
    let path = folder.join("lock");
    let lock = File::create(&path).map_err(|error| failed(&path, error))?;
    lock.lock().map_err(|error| failed(&path, error))?;

    let venv = folder.join("venv");
    let python = venv.join(if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    });
    // Written last, so an interrupted environment is made again.
    let complete = venv.join("complete");
    let wanted = PACKAGES.concat().join("\n");
    if let Ok(found) = fs::read_to_string(&complete)
        && let Some(lacks) = found.strip_prefix(&wanted)
        && run(Command::new(&python).arg("--version")).is_ok()
    {
        notes.extend(
            lacks
                .lines()
                .filter(|line| !line.is_empty())
                .map(str::to_owned),
        );
        return Ok(python);
    }
    match fs::remove_dir_all(&venv) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed(&venv, error));
        }
        _ => {}
    }
    out.warn(&format!(
        "without --python: making an environment for the peers in {venv:?}, which downloads {}",
        PACKAGES.concat().join(", ")
    ));
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut lacks = String::new();
    for (n, packages) in PACKAGES.iter().enumerate() {
        out.note(&format!("installing {}", packages.join(", ")));
        let installed = run(Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--retries", "1"])
            .arg("--disable-pip-version-check")
            .args(*packages));
        match installed {
            Err(error) if n > 0 => {
                let last = error.0.lines().last().unwrap_or_default().to_owned();
                let lack = format!("{} could not be installed: {last}", packages.join(", "));
                lacks += &format!("\n{lack}");
                notes.push(lack);
            }
            outcome => outcome?,
        }
    }
    fs::write(&complete, wanted + &lacks).map_err(|error| failed(&complete, error))?;
    Ok(python)
}

/// Runs a command to its end; what it printed is part of the error.
fn run(command: &mut Command) -> Result<(), PeerError> {
    let program = command.get_program().to_owned();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| PeerError(format!("no Python: {program:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let arguments: Vec<_> = command.get_args().collect();
    let command = arguments.join(" ".as_ref());
    Err(PeerError(format!(
        "{program:?} {command:?}: {}",
        said.trim()
    )))
}
