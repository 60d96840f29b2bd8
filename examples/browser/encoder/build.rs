//! Finds the tokenizer of the model, which is part of the package `pocket-encoder` and which that
//! package does not export.

use std::path::Path;
use std::process::Command;

fn main() {
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    // What runs on this machine has no tokenizer.
    if !target.starts_with("wasm32") {
        return;
    }
    let cargo = std::env::var_os("CARGO").expect("cargo sets CARGO");
    let manifest = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked", "--manifest-path"])
        .arg(manifest)
        // Packages of other targets were not fetched, and offline cannot be.
        .arg("--filter-platform")
        .arg(target)
        .output()
        .expect("cargo metadata can be run");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let package = metadata["packages"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["name"] == "pocket-encoder"))
        .expect("the encoder is a dependency");
    let folder = Path::new(package["manifest_path"].as_str().expect("a path")).with_file_name("assets");
    let tokenizer = folder.join("tokenizer.json");
    println!("cargo::rustc-env=TOKENIZER={}", tokenizer.display());
    println!("cargo::rerun-if-changed=Cargo.lock");
}
