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
    assert_eq!(compared, 13, "all kinds, most from both kinds of files");
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

/// The models of packages and downloads, which are too large to lie here: each folder of the folder that
/// $MNEME_MODELS names.
#[test]
fn models_that_people_use_tell_what_means_the_same() {
    let Some(models) = std::env::var_os("MNEME_MODELS") else {
        println!("skipped: MNEME_MODELS names no folder of models");
        return;
    };
    let texts = [
        "How do I reset my password?",
        "I forgot my password, how can I reset it?",
        "The weather in Paris is nice today.",
    ];
    let mut tried = 0;
    for entry in fs::read_dir(models).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("tokenizer.json").exists() {
            continue;
        }
        let model = Model::open(&folder, Options::default()).unwrap();
        let encoded = model.encode(&texts).unwrap();
        let cosine = |other: usize| -> f32 {
            let products = encoded[0].vector.iter().zip(&encoded[other].vector);
            products.map(|(a, b)| a * b).sum()
        };
        assert!(cosine(1) > 0.6 && cosine(1) > cosine(2) + 0.2, "{model:?}");
        for (text, together) in texts.iter().zip(&encoded) {
            assert_eq!(&model.encode(&[text]).unwrap()[0], together, "{model:?}");
            assert_eq!(together.tokens_unknown, 0);
        }
        println!("{}: {:.3}, {:.3}", folder.display(), cosine(1), cosine(2));
        tried += 1;
    }
    assert!(tried > 0, "MNEME_MODELS names a folder without models");
}

/// Where numbers are rounded by the greatest of all, a text would change its neighbour's vector.
#[test]
fn weights_of_eight_bits_give_a_text_the_same_bits_alone_and_together() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/bert");
    let model = open(&folder, "model_int8.onnx");
    let texts = [
        "how do i reset my password",
        "password my reset i do how",
        "i do my password reset how",
        "a",
    ];
    let together = model.encode(&texts).unwrap();
    let alone: Vec<_> = texts
        .iter()
        .map(|text| model.encode(&[text]).unwrap().remove(0))
        .collect();
    let lengths: Vec<usize> = alone.iter().map(|text| text.tokens).collect();
    assert!(
        lengths[0] == lengths[1] && lengths[1] == lengths[2],
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
