//! Builds the guest, and the conformance battery, for wasm and wraps them into the
//! components that the library embeds, so that `cargo build` needs no other tool.

use anyhow::{Context, Result, bail};
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()?;
    for input in [
        "guest/src",
        "guest/Cargo.toml",
        "guest/kernels/src",
        "guest/kernels/Cargo.toml",
        "wit",
        "Cargo.toml",
        "Cargo.lock",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }
    let out = PathBuf::from(
        env::var_os("OUT_DIR").context("OUT_DIR is not set; run this through cargo")?,
    );
    ensure_target()?;
    let mut packages = vec![("mneme-guest", "mneme.wasm")];
    if env::var_os("CARGO_FEATURE_CONFORMANCE").is_some() {
        let battery = root.join("tests/conformance");
        for input in ["src", "Cargo.toml"] {
            println!("cargo::rerun-if-changed={}", battery.join(input).display());
        }
        packages.push(("mneme-battery", "conformance.wasm"));
    }
    let modules = build(&root, &out.join("guest"), packages.iter().map(|(p, _)| *p))?;
    for (package, file) in packages {
        let module = modules.join(package.replace('-', "_") + ".wasm");
        let component = wit_component::ComponentEncoder::default()
            .validate(true)
            .module(&std::fs::read(module)?)?
            .encode()?;
        std::fs::write(out.join(file), component)?;
    }
    Ok(())
}

/// Adds the wasm target where it is missing.
fn ensure_target() -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = Command::new(rustc)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()?;
    let libdir = PathBuf::from(String::from_utf8(printed.stdout)?.trim());
    if libdir.is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        outcome => bail!(
            "the Rust target {TARGET} is not installed and `rustup target add {TARGET}` failed ({}); install the target's standard library",
            match outcome {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            }
        ),
    }
}

/// Compiles packages to modules in a separate target folder, since cargo holds a lock
/// on the other, and returns the folder that has them.
fn build<'a>(
    root: &Path,
    target_dir: &Path,
    packages: impl Iterator<Item = &'a str>,
) -> Result<PathBuf> {
    for package in packages {
        build_one(root, target_dir, package)?;
    }
    Ok(target_dir.join(TARGET).join("guest"))
}

fn build_one(root: &Path, target_dir: &Path, package: &str) -> Result<()> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        // As a cdylib alone: beside a rlib, cargo leaves link-time optimization out.
        .args(["rustc", "--lib", "--crate-type", "cdylib"])
        .args(["--profile", "guest", "--target", TARGET])
        .args(["--package", package, "--target-dir"])
        .arg(target_dir)
        // Else the linker pads every index to five bytes.
        .args(["--", "-Clink-arg=--compress-relocations"]);
    // What cargo has set for this crate must not leak into the guest's build.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        let leaks = name_text.starts_with("CARGO_")
            && name_text != "CARGO_HOME"
            && !name_text.starts_with("CARGO_NET_")
            && !name_text.starts_with("CARGO_HTTP_")
            && !name_text.starts_with("CARGO_REGISTR");
        if leaks
            || [
                "RUSTFLAGS",
                "RUSTC",
                "RUSTC_WRAPPER",
                "RUSTC_WORKSPACE_WRAPPER",
                "RUSTDOCFLAGS",
            ]
            .contains(&&*name_text)
        {
            cargo.env_remove(&name);
        }
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(root));
    let status = cargo.status()?;
    if !status.success() {
        bail!("building {package} for {TARGET} failed: {status}");
    }
    Ok(())
}

/// The flags of the guest's compiler, in the form that takes paths with spaces. Messages of panics
/// name source files: of the folders of whoever builds, nothing is to be seen in the component.
fn rustflags(root: &Path) -> String {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = home.map(|home| home.join("registry/src"));
    let registries = sources
        .and_then(|sources| std::fs::read_dir(sources).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()));
    let mut flags = vec!["-Ctarget-feature=+simd128".to_owned()];
    for folder in registries.chain([root.to_owned()]) {
        flags.push(format!("--remap-path-prefix={}=", folder.display()));
    }
    flags.join("\u{1f}")
}
