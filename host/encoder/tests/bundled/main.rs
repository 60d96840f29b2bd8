//! The model that is part of the program.

use mneme_encoder::{Model, Options};
use serde::Deserialize;

/// What `make.py` has made with torch.
#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    vectors: Vec<Vec<f32>>,
}

fn expected() -> Expected {
    serde_json::from_slice(include_bytes!("expected.json")).unwrap()
}

fn with_threads(threads: usize) -> Model {
    let mut options = Options::default();
    options.threads = Some(threads);
    Model::bundled(options).unwrap()
}

#[test]
fn vectors_are_those_of_torch() {
    let Expected { texts, vectors } = expected();
    assert_eq!((texts.len(), vectors.len()), (10, 10));
    let model = Model::bundled(Options::default()).unwrap();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for ((text, encoded), expected) in texts.iter().zip(model.encode(&texts).unwrap()).zip(vectors)
    {
        assert_eq!(encoded.vector.len(), expected.len());
        let apart = encoded.vector.iter().zip(&expected);
        let apart = apart.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{text:?}: {apart}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let Expected { texts, .. } = expected();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let one = with_threads(1).encode(&texts).unwrap();
    for threads in [2, 5] {
        let model = with_threads(threads);
        assert_eq!(model.threads(), threads);
        assert_eq!(model.encode(&texts).unwrap(), one);
        for (text, together) in texts.iter().zip(&one) {
            assert_eq!(&model.encode(&[text]).unwrap()[0], together);
        }
    }
}
