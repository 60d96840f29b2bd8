//! Whatever is in the files of a folder, it ends in a model or in an error.

use std::fs;
use std::path::Path;

use mneme_encoder::{Error, Model};
use tempfile::TempDir;

use super::folder::Folder;

/// Whatever is in the files: a model, or an error with the name of a file.
#[test]
fn spoilt_files_end_in_errors() {
    let seconds = std::env::var("MNEME_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds.unwrap_or(5));
    let mut random = fastrand::Rng::with_seed(11);
    let mut tried = 0;
    let mut opened = 0;
    while tried < 200 || std::time::Instant::now() < until {
        let seed = random.u64(..);
        let outcome = std::panic::catch_unwind(|| spoil(&mut fastrand::Rng::with_seed(seed)));
        let is_open = outcome.unwrap_or_else(|_| panic!("seed {seed}: it panicked"));
        opened += usize::from(is_open);
        tried += 1;
    }
    assert!(opened > 0 && opened < tried, "{opened} of {tried}");
}

/// Spoils a file of a model and opens it.
fn spoil(random: &mut fastrand::Rng) -> bool {
    let (folder, files) = match random.bool() {
        true => (
            Folder::bert(),
            &["model.safetensors", "config.json", "tokenizer.json"][..],
        ),
        false => (Folder::onnx(), &["model.onnx", "tokenizer.json"][..]),
    };
    let path = folder.path(files[random.usize(..files.len())]);
    let mut bytes = fs::read(&path).unwrap();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..bytes.len());
        match random.u8(..6) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            2 => bytes[at] = [0, 0x7f, 0x80, 0xff, b'9', b'"'][random.usize(..6)],
            3 => bytes.truncate(at.max(1)),
            4 => {
                let end = (at + random.usize(..40)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + random.usize(..10)).min(bytes.len());
                bytes.drain(at..end);
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
        }
    }
    fs::write(&path, bytes).unwrap();
    try_all(&folder.open(), &folder.0)
}

fn try_all(model: &Result<Model, Error>, folder: &TempDir) -> bool {
    match model {
        Ok(model) => {
            // What opens may still fail on a text, with an error.
            let _ = model.encode(&["how do i reset my password", "xyz", "\u{202e}a"]);
            true
        }
        Err(error) => {
            let message = error.to_string();
            let place = Path::new(folder.path()).display().to_string();
            let is_named = message.contains(&place)
                || matches!(error, Error::Engine(_) | Error::Option { .. });
            assert!(is_named, "{message}");
            false
        }
    }
}
