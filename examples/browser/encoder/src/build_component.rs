//! Builds the encoder for wasm and wraps it into a component: `cargo run --release -- OUTPUT.wasm`.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::Command;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<()> {
    let output = std::env::args_os()
        .nth(1)
        .context("name the file to write")?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.join("target");
    let status = Command::new("cargo")
        .current_dir(here)
        .args(["build", "--release", "--lib", "--target", TARGET])
        // A separate folder: cargo holds a lock on that of the running program.
        .arg("--target-dir")
        .arg(target.join("component"))
        .env("RUSTFLAGS", "--cfg getrandom_backend=\"custom\" -C target-feature=+simd128")
        .status()?;
    if !status.success() {
        bail!("building the encoder for {TARGET} failed; `rustup target add {TARGET}` may be due");
    }
    let module = target
        .join("component")
        .join(TARGET)
        .join("release/mneme_example_encoder.wasm");
    let component = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(&std::fs::read(module)?)?
        .encode()?;
    std::fs::write(&output, component)?;
    Ok(())
}
