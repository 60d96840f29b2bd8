//! What the files of a folder say about its vectors.

use mneme_encoder::Error;
use serde_json::json;

use super::folder::{DIM, Folder, PLACES, WORDS, bert_weights, config, tokenizer};

#[test]
fn vectors_are_those_of_the_table_pooled_as_the_folder_says() {
    let folder = Folder::onnx();
    // Without a first and a last token of each text, which would be the same for all.
    let mut bare = tokenizer();
    bare["post_processor"] = json!(null);
    folder.json("tokenizer.json", &bare);
    let row = |token: usize| (0..DIM).map(move |at| ((token * DIM + at) as f32).sin());
    let unit = |values: Vec<f32>| {
        let length = values
            .iter()
            .map(|v| f64::from(*v).powi(2))
            .sum::<f64>()
            .sqrt();
        let values = values.into_iter();
        values
            .map(|v| (f64::from(v) / length) as f32)
            .collect::<Vec<f32>>()
    };
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    // reset my
    let tokens = [7, 8];
    let sum = |at: usize| {
        tokens
            .iter()
            .map(|&token| row(token).nth(at).unwrap())
            .sum::<f32>()
    };
    let greatest = |at: usize| {
        let values = tokens.iter().map(|&token| row(token).nth(at).unwrap());
        values.fold(f32::MIN, f32::max)
    };
    let mean = || unit((0..DIM).map(sum).collect());
    let (first, last) = (|| unit(row(7).collect()), || unit(row(8).collect()));
    let most = || unit((0..DIM).map(greatest).collect());
    let expected = [
        (json!({"pooling_mode_mean_tokens": true}), mean()),
        (
            json!({"pooling_mode": "mean", "embedding_dimension": DIM}),
            mean(),
        ),
        (
            json!({"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}),
            first(),
        ),
        (
            json!({"pooling_mode": "cls", "pooling_mode_mean_tokens": true}),
            first(),
        ),
        (json!({"pooling_mode_lasttoken": true}), last()),
        (
            json!({"pooling_mode": ["lasttoken"], "include_prompt": true}),
            last(),
        ),
        (json!({"pooling_mode_max_tokens": true}), most()),
        (json!({"pooling_mode": "max"}), most()),
    ];
    let plain = folder.open().unwrap();
    assert!(close(
        &plain.encode(&["reset my"]).unwrap()[0].vector,
        &mean()
    ));
    let mut fingerprints = std::collections::BTreeSet::new();
    for (pooling, vector) in &expected {
        folder.json("1_Pooling/config.json", pooling);
        let model = folder.open().unwrap();
        let encoded = &model.encode(&["reset my"]).unwrap()[0];
        assert!(
            close(&encoded.vector, vector),
            "{pooling}: {encoded:?} {vector:?}"
        );
        assert_eq!(
            (encoded.tokens, encoded.tokens_read, encoded.tokens_unknown),
            (2, 2, 0)
        );
        fingerprints.insert(model.fingerprint().to_owned());
    }
    assert_eq!(fingerprints.len(), 4);
}

#[test]
fn a_text_is_read_as_far_as_the_model_has_places() {
    let folder = Folder::bert();
    let model = folder.open().unwrap();
    let long = "how do i reset my password ".repeat(20_000);
    let texts = ["how do i", long.as_str(), "xyz", "xyz reset xyz 密码", "😀"];
    let encoded = model.encode(&texts).unwrap();
    let counts = |at: usize| {
        let text = &encoded[at];
        (text.tokens_read, text.tokens_unknown)
    };
    assert_eq!((encoded[0].tokens, counts(0)), (3, (3, 0)));
    assert_eq!(counts(1), (PLACES - 2, 0));
    // An estimate: only 64 KiB are looked at.
    assert!(
        encoded[1].tokens.abs_diff(6 * 20_000) < 10,
        "{}",
        encoded[1].tokens
    );
    assert_eq!((encoded[2].tokens, counts(2)), (1, (1, 1)));
    assert_eq!(counts(3), (5, 4));
    assert_eq!(counts(4), (1, 1));
    for text in &encoded {
        let squares: f64 = text.vector.iter().map(|v| f64::from(*v).powi(2)).sum();
        assert!((squares - 1.0).abs() < 1e-6);
    }
    // Fewer, if asked.
    let short = folder.with(|options| options.max_tokens = Some(4)).unwrap();
    assert_eq!(short.encode(&["how do i reset"]).unwrap()[0].tokens_read, 2);
    assert_ne!(short.fingerprint(), model.fingerprint());
    let error = folder.with(|options| options.max_tokens = Some(PLACES + 1));
    assert!(matches!(error, Err(Error::Option { option: "max", .. })));
    for blank in ["", " \n"] {
        let error = model.encode(&["how", blank]).unwrap_err();
        assert_eq!(error, Error::Blank { at: 2, of: 2 });
    }
}

#[test]
fn the_same_bits_alone_in_a_batch_and_with_any_number_of_threads() {
    let folder = Folder::bert();
    let mut random = fastrand::Rng::with_seed(3);
    let texts: Vec<String> = (0..200)
        .map(|_| {
            let words = (0..random.usize(1..20)).map(|_| WORDS[random.usize(4..WORDS.len())]);
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected = folder.open().unwrap().encode(&texts).unwrap();
    for threads in [1, 2, 5] {
        let model = folder
            .with(|options| options.threads = Some(threads))
            .unwrap();
        assert_eq!(model.threads(), threads);
        assert_eq!(model.encode(&texts).unwrap(), expected);
        for (text, alone) in texts.iter().zip(&expected) {
            assert_eq!(&model.encode(&[text]).unwrap()[0], alone);
        }
    }
}

#[test]
fn callers_at_the_same_time_get_their_own() {
    let model = Folder::bert().open().unwrap();
    let expected: Vec<_> = WORDS[4..]
        .iter()
        .map(|word| model.encode(&[word]).unwrap())
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                for (word, expected) in WORDS[4..].iter().zip(&expected).cycle().take(200) {
                    assert_eq!(&model.encode(&[word]).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn the_fingerprint_is_of_the_content() {
    let (one, two) = (Folder::bert(), Folder::bert());
    let fingerprint = one.open().unwrap().fingerprint().to_owned();
    assert_eq!(two.open().unwrap().fingerprint(), fingerprint);
    two.write(
        "model.safetensors",
        &bert_weights(&mut fastrand::Rng::with_seed(8)),
    );
    assert_ne!(two.open().unwrap().fingerprint(), fingerprint);
    let changed = Folder::bert();
    let mut other = tokenizer();
    other["normalizer"]["lowercase"] = json!(true);
    changed.json("tokenizer.json", &other);
    assert_ne!(changed.open().unwrap().fingerprint(), fingerprint);
    let cut = one.with(|options| options.dim = Some(16)).unwrap();
    assert_ne!(cut.fingerprint(), fingerprint);
    assert_eq!(cut.encode(&["how"]).unwrap()[0].vector.len(), 16);
    for dim in [0, 1, 15, DIM + 1] {
        let error = one.with(|options| options.dim = Some(dim)).unwrap_err();
        assert!(error.to_string().contains("ask for 16 to 32"), "{error}");
    }
    // What a file says of the weights changes vectors too.
    let mut names = vec![fingerprint];
    for (key, value) in [
        ("num_attention_heads", json!(4)),
        ("num_hidden_layers", json!(1)),
        ("layer_norm_eps", json!(1e-3)),
    ] {
        let mut other = config();
        other[key] = value;
        let changed = Folder::bert();
        let before = changed.open().unwrap().encode(&["how do i"]).unwrap();
        changed.json("config.json", &other);
        let changed = changed.open().unwrap();
        assert_ne!(changed.encode(&["how do i"]).unwrap(), before, "{key}");
        assert!(!names.contains(&changed.fingerprint().to_owned()), "{key}");
        names.push(changed.fingerprint().to_owned());
    }
}

#[test]
fn prompts_are_written_before_each_text() {
    let folder = Folder::bert();
    let plain = folder.open().unwrap();
    folder.json(
        "config_sentence_transformers.json",
        &json!({"prompts": {"query": "how do ", "passage": "reset "}, "default_prompt_name": "passage"}),
    );
    let prompted = folder.open().unwrap();
    let encoded = &prompted.encode(&["i reset"]).unwrap()[0];
    assert_eq!(
        encoded.vector,
        plain.encode(&["how do i reset"]).unwrap()[0].vector
    );
    assert_eq!((encoded.tokens, encoded.tokens_read), (2, 2));
    let passage = folder
        .with(|options| options.prompt = Some("passage".into()))
        .unwrap();
    assert_eq!(
        passage.encode(&["i"]).unwrap()[0].vector,
        plain.encode(&["reset i"]).unwrap()[0].vector
    );
    let none = folder
        .with(|options| options.prompt = Some(String::new()))
        .unwrap();
    assert_eq!(none.encode(&["i"]).unwrap(), plain.encode(&["i"]).unwrap());
    let error = folder
        .with(|options| options.prompt = Some("document".into()))
        .unwrap_err();
    assert!(error.to_string().contains("[passage, query]"), "{error}");
    // One that leaves no place for a text.
    let long = "how do i ".repeat(PLACES);
    folder.json(
        "config_sentence_transformers.json",
        &json!({"prompts": {"query": long}}),
    );
    folder.refuses("it fills the 16 tokens that the model reads");
}
