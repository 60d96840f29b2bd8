//! Models of each kind, tiny and random, against the vectors of onnxruntime. `make.py` makes them.

#[cfg(target_os = "linux")]
mod altered;

use std::fs;
use std::path::{Path, PathBuf};

use mneme_encoder::{Model, Options};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
    #[serde(default)]
    int8: Vec<Vec<f32>>,
}

fn models() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_dir()).collect()
}

fn expected(folder: &Path) -> Expected {
    serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap()
}

fn open(folder: &Path, file: &str) -> Model {
    let mut options = Options::default();
    options.file = Some(file.to_owned());
    Model::open(folder, options).unwrap()
}

/// Fails if a vector is further from what is expected, in 1 - cosine.
#[track_caller]
fn compare(model: &Model, expected: &[Vec<f32>], texts: &[String], most: f32) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = model.encode(&texts).unwrap();
    assert_eq!(together.len(), expected.len());
    for ((text, encoded), expected) in texts.iter().zip(&together).zip(expected) {
        let products = encoded.vector.iter().zip(expected).map(|(a, b)| a * b);
        let apart = 1.0 - products.sum::<f32>();
        assert!(apart.abs() < most, "{model:?}, {text:?}: {apart}");
        assert_eq!(&model.encode(&[text]).unwrap()[0], encoded);
    }
}

#[test]
fn vectors_are_those_of_onnxruntime() {
    let mut compared = 0;
    for folder in models() {
        let expected = expected(&folder);
        for file in ["model.onnx", "model.safetensors"] {
            if folder.join(file).exists() {
                compare(
                    &open(&folder, file),
                    &expected.vectors,
                    &expected.texts,
                    2e-6,
                );
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 11, "all kinds, most from both kinds of files");
}

#[test]
fn weights_of_eight_bits_are_rounded_as_onnxruntime_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/bert");
    let expected = expected(&folder);
    let model = open(&folder, "model_int8.onnx");
    compare(&model, &expected.int8, &expected.texts, 2e-3);
    let whole = open(&folder, "model.onnx");
    assert_ne!(model.fingerprint(), whole.fingerprint());
}

/// Where numbers are rounded by the greatest of all, a text would change its neighbour's vector.
#[test]
fn weights_of_eight_bits_give_a_text_the_same_bits_alone_and_together() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/bert");
    let model = open(&folder, "model_int8.onnx");
    let texts = ["password", "forgot", "weather", "städte"].map(|word| format!("reset my {word}"));
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let together = model.encode(&texts).unwrap();
    let alone: Vec<_> = texts
        .iter()
        .map(|text| model.encode(&[text]).unwrap().remove(0))
        .collect();
    let lengths: Vec<usize> = alone.iter().map(|text| text.tokens).collect();
    assert!(
        (1..lengths.len()).any(|at| lengths[..at].contains(&lengths[at])),
        "{lengths:?}"
    );
    assert_eq!(together, alone);
}

#[test]
fn a_kind_that_is_not_built_is_refused_by_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/modernbert");
    let copy = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    fs::write(copy.path().join("model.safetensors"), [0; 16]).unwrap();
    let error = Model::open(copy.path(), Options::default()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("export the model to ONNX"), "{message}");
}
