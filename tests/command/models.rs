//! `--embedder model:DIR`, and `embed`.

use std::fs;

use serde_json::Value;

use crate::Folder;

/// A tiny model with random weights, and what onnxruntime makes of some texts.
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../encoder/tests/models/bert");

struct Expected {
    texts: Vec<String>,
    vectors: Vec<Vec<f64>>,
}

fn expected() -> Expected {
    let file = fs::read(format!("{MODEL}/expected.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    Expected {
        texts: serde_json::from_value(file["texts"].clone()).unwrap(),
        vectors: serde_json::from_value(file["vectors"].clone()).unwrap(),
    }
}

#[track_caller]
fn is_close(vector: &[f64], expected: &[f64]) {
    assert_eq!(vector.len(), expected.len());
    let apart = vector.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f64::max);
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn vectors_of_a_folder_are_those_of_onnxruntime() {
    let folder = Folder::new();
    let spec = format!("model:{MODEL}");
    let Expected { texts, vectors } = expected();
    let mut args = vec!["--json", "embed"];
    args.extend(texts.iter().map(String::as_str));
    let done = folder.run(&spec, &args, b"").json();
    assert_eq!(done["dim"], vectors[0].len());
    let embedded = done["texts"].as_array().unwrap();
    assert_eq!(embedded.len(), texts.len());
    for ((text, each), expected) in texts.iter().zip(embedded).zip(&vectors) {
        assert_eq!(each["text"], text.as_str());
        assert_eq!(each["tokens"], each["tokens_read"]);
        let vector: Vec<f64> = serde_json::from_value(each["vector"].clone()).unwrap();
        is_close(&vector, expected);
    }
    // The same as an array, from lines.
    let lines = texts.join("\n");
    let done = folder.run(&spec, &["embed", "-", "--npy", "v.npy"], lines.as_bytes());
    assert_eq!(done.code, 0, "{done:?}");
    let array = fs::read(folder.path("v.npy")).unwrap();
    let length = vectors.len() * vectors[0].len() * 4;
    let values = array[array.len() - length..].as_chunks().0.iter();
    let values: Vec<f64> = values
        .map(|value| f32::from_le_bytes(*value).into())
        .collect();
    for (vector, expected) in values.chunks(vectors[0].len()).zip(&vectors) {
        is_close(vector, expected);
    }
}

#[test]
fn a_cache_answers_with_the_model_of_a_folder() {
    let folder = Folder::new();
    let spec = format!("model:{MODEL},file=model.safetensors,threads=1");
    let put = ["put", "how do i reset my password?", "Press the button."];
    let done = folder.run(&spec, &put, b"");
    assert_eq!(done.code, 0, "{done:?}");
    // Other words for the exact layer, the same tokens for the model.
    for query in [
        "How do I reset my password?",
        "how do i reset my password ?",
    ] {
        let done = folder.run(&spec, &["get", query], b"");
        assert_eq!(
            (done.code, done.stdout.as_str()),
            (0, "Press the button.\n"),
            "{done:?}"
        );
    }
    // Another file has other weights, as far as anybody can tell.
    let other = format!("model:{MODEL},file=model.onnx");
    let (kind, _) = folder.run(&other, &["--json", "get", "a"], b"").error();
    assert_eq!(kind, "embedder_mismatch");
    let (kind, message) = folder
        .run(&format!("{spec},threads=2"), &["--json", "get", "a"], b"")
        .error();
    assert!(
        message.contains("threads is given twice"),
        "{kind}: {message}"
    );
}

#[test]
fn embed_names_the_text_that_is_blank_and_shows_the_beginning_of_others() {
    let folder = Folder::new();
    let spec = format!("model:{MODEL}");
    let mut lines = vec!["how do i"; 300];
    lines[289] = " ";
    let lines = lines.join("\n");
    let (_, message) = folder
        .run(&spec, &["--json", "embed", "-"], lines.as_bytes())
        .error();
    assert!(message.contains("text 290 of 300 is blank"), "{message}");
    let long = "how do i reset my password ".repeat(4000);
    let done = folder.run(&spec, &["embed", "-"], long.as_bytes());
    assert_eq!(done.code, 0);
    let line = done.stdout.lines().last().unwrap();
    assert!(line.len() < 200 && line.contains("how do..."), "{line}");
}
