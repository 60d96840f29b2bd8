//! Models of folders: small ones that are made here, whole and spoilt.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use mneme_encoder::{Error, Model, Options};
use rten_onnx::onnx::{
    DataLocation, DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TypeProto, TypeProtoTensor, ValueInfoProto,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

const WORDS: [&str; 13] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "how", "do", "i", "reset", "my", "password", "a", "trial",
    "zulu",
];
const DIM: usize = 8;
const PLACES: usize = 16;

/// A folder with a model, of which one file after the other can be changed.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.json("tokenizer.json", &tokenizer());
        folder
    }

    /// A model of BERT's kind.
    fn bert() -> Self {
        let folder = Self::new();
        folder.json("config.json", &config());
        folder.write(
            "model.safetensors",
            &bert_weights(&mut fastrand::Rng::with_seed(7)),
        );
        folder
    }

    /// A model whose vectors of tokens are rows of a table.
    fn onnx() -> Self {
        let folder = Self::new();
        folder.write("model.onnx", &table().write_buf().unwrap());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string().as_bytes());
    }

    fn open(&self) -> Result<Model, Error> {
        Model::open(self.0.path(), Options::default())
    }

    fn with(&self, set: impl FnOnce(&mut Options)) -> Result<Model, Error> {
        let mut options = Options::default();
        set(&mut options);
        Model::open(self.0.path(), options)
    }

    /// Opening it fails, with this in the message.
    #[track_caller]
    fn refuses(&self, expected: &str) {
        let message = self.open().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> = WORDS
        .iter()
        .enumerate()
        .map(|(at, word)| ((*word).to_owned(), json!(at)))
        .collect();
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 10}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": false},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[SEP]", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {
                "[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
            },
        },
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
    })
}

fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": WORDS.len(),
        "max_position_embeddings": PLACES, "type_vocab_size": 2, "pad_token_id": 0,
    })
}

fn bert_weights(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        (
            "embeddings.word_embeddings.weight".into(),
            vec![WORDS.len(), DIM],
        ),
        (
            "embeddings.position_embeddings.weight".into(),
            vec![PLACES, DIM],
        ),
        (
            "embeddings.token_type_embeddings.weight".into(),
            vec![2, DIM],
        ),
    ];
    let norm = |name: &str, shapes: &mut Vec<(String, Vec<usize>)>| {
        shapes.push((format!("{name}.weight"), vec![DIM]));
        shapes.push((format!("{name}.bias"), vec![DIM]));
    };
    norm("embeddings.LayerNorm", &mut shapes);
    for layer in 0..2 {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, to, from) in [
            ("attention.self.query", DIM, DIM),
            ("attention.self.key", DIM, DIM),
            ("attention.self.value", DIM, DIM),
            ("attention.output.dense", DIM, DIM),
            ("intermediate.dense", 12, DIM),
            ("output.dense", DIM, 12),
        ] {
            shapes.push((format!("{}.weight", name(part)), vec![to, from]));
            shapes.push((format!("{}.bias", name(part)), vec![to]));
        }
        norm(&name("attention.output.LayerNorm"), &mut shapes);
        norm(&name("output.LayerNorm"), &mut shapes);
    }
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let values = (0..count)
                .flat_map(|_| (random.f32() - 0.5).to_le_bytes())
                .collect();
            (name, shape, values)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, values)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), values).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize(views, None).unwrap()
}

/// Looks each token up in a table of numbers.
fn table() -> ModelProto {
    let table = TensorProto {
        dims: vec![WORDS.len() as i64, DIM as i64],
        data_type: Some(DataType::FLOAT),
        float_data: (0..WORDS.len() * DIM).map(|at| (at as f32).sin()).collect(),
        name: Some("table".into()),
        ..TensorProto::default()
    };
    let info = |name: &str, dtype| ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TypeProtoTensor {
                elem_type: Some(dtype),
                shape: None,
            }),
            sequence: None,
        }),
    };
    ModelProto {
        ir_version: Some(9),
        graph: Some(GraphProto {
            node: vec![NodeProto {
                name: Some("look up".into()),
                input: vec!["table".into(), "input_ids".into()],
                output: vec!["last_hidden_state".into()],
                op_type: Some("Gather".into()),
                ..NodeProto::default()
            }],
            initializer: vec![table],
            input: vec![info("input_ids", DataType::INT64)],
            output: vec![info("last_hidden_state", DataType::FLOAT)],
            value_info: Vec::new(),
        }),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(17),
        }],
        ..ModelProto::default()
    }
}

/// Changes the graph of the model of a folder.
fn edit(folder: &Folder, change: impl FnOnce(&mut GraphProto)) {
    let mut model = table();
    change(model.graph.as_mut().unwrap());
    folder.write("model.onnx", &model.write_buf().unwrap());
}

#[test]
fn vectors_are_those_of_the_table_pooled_as_the_folder_says() {
    let folder = Folder::onnx();
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
    // [CLS] reset my [SEP]
    let tokens = [2, 7, 8, 3];
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
    let expected = [
        (json!({}), unit((0..DIM).map(sum).collect())),
        (
            json!({"pooling_mode_mean_tokens": true}),
            unit((0..DIM).map(sum).collect()),
        ),
        (
            json!({"pooling_mode_cls_token": true}),
            unit(row(2).collect()),
        ),
        (
            json!({"pooling_mode_lasttoken": true}),
            unit(row(3).collect()),
        ),
        (
            json!({"pooling_mode_max_tokens": true}),
            unit((0..DIM).map(greatest).collect()),
        ),
    ];
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
    assert!(encoded[1].tokens > 14 * 1_000, "{}", encoded[1].tokens);
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
    let cut = one.with(|options| options.dim = Some(3)).unwrap();
    assert_ne!(cut.fingerprint(), fingerprint);
    assert_eq!(cut.encode(&["how"]).unwrap()[0].vector.len(), 3);
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
}

#[test]
fn a_folder_that_is_no_model_says_what_is_missing() {
    let error = Model::open("/no/such/folder", Options::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let folder = Folder::bert();
    folder.write("notes/a", b"");
    let error = Model::open(folder.path("model.safetensors"), Options::default()).unwrap_err();
    assert!(error.to_string().contains("is no folder"), "{error}");

    fs::remove_file(folder.path("tokenizer.json")).unwrap();
    folder.refuses("tokenizer.json: is missing");

    let folder = Folder::bert();
    fs::remove_file(folder.path("config.json")).unwrap();
    folder.refuses("config.json: cannot be read");
    fs::remove_file(folder.path("model.safetensors")).unwrap();
    folder.refuses("has no weights");
    folder.write("pytorch_model.bin", b"\x80\x02");
    folder.refuses("pickled Python objects (pytorch_model.bin)");

    let folder = Folder::new();
    folder.write("a.onnx", &table().write_buf().unwrap());
    folder.open().unwrap();
    folder.write("onnx/b.onnx", &table().write_buf().unwrap());
    folder.refuses("There are a.onnx, onnx/b.onnx");
    folder
        .with(|options| options.file = Some("onnx/b.onnx".into()))
        .unwrap();
    for outside in ["../x.onnx", "/etc/passwd", "none.onnx", ""] {
        let error = folder
            .with(|options| options.file = Some(outside.into()))
            .unwrap_err();
        assert!(
            error.to_string().contains("is no file of the folder"),
            "{outside}: {error}"
        );
    }
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    let folder = Folder::bert();
    let with = |key: &str, value: Value| {
        let mut config = config();
        config[key] = value;
        folder.json("config.json", &config);
    };
    with("model_type", json!("deberta-v2"));
    folder.refuses("a model of type \"deberta-v2\" is not built here; export the model to ONNX");
    with("hidden_act", json!("relu"));
    folder.refuses("the activation \"relu\"");
    with("position_embedding_type", json!("relative_key"));
    folder.refuses("relative_key");
    with("num_attention_heads", json!(3));
    folder.refuses("has sizes that no model has");
    with("hidden_size", json!(1_u64 << 40));
    folder.refuses("has sizes that no model has");
    with("hidden_size", json!(16));
    folder.refuses("get the files of one model");
    with("num_hidden_layers", json!(3));
    folder.refuses("has no weights \"encoder.layer.2.attention.self.query.weight\"");
    with("hidden_size", json!("eight"));
    folder.refuses("is not of a model of BERT's kind");

    let folder = Folder::onnx();
    folder.json("modules.json", &json!([{"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}]));
    folder.refuses("has a module \"Dense\"");
    fs::remove_file(folder.path("modules.json")).unwrap();
    for (pooling, message) in [
        (
            json!({"pooling_mode_weightedmean_tokens": true}),
            "the weighted mean",
        ),
        (
            json!({"pooling_mode_cls_token": true, "pooling_mode_max_tokens": true}),
            "several ways at once",
        ),
        (json!("mean"), "is not what a model has there"),
    ] {
        folder.json("1_Pooling/config.json", &pooling);
        folder.refuses(message);
    }
}

#[test]
fn models_that_encode_no_sentences_are_refused() {
    let folder = Folder::onnx();
    let input = |graph: &mut GraphProto, name: &str| {
        graph.input[0].name = Some(name.into());
        graph.node[0].input[1] = name.into();
    };
    edit(&folder, |graph| input(graph, "pixels"));
    folder.refuses("is no sentence encoder: it has an input \"pixels\"");
    edit(&folder, |graph| input(graph, "attention_mask"));
    folder.refuses("it has no input \"input_ids\"");
    edit(&folder, |graph| graph.output.clear());
    folder.refuses("model.onnx: ");
    // Whole numbers instead of vectors.
    edit(&folder, |graph| {
        graph.node[0].op_type = Some("Identity".into());
        graph.node[0].input.remove(0);
    });
    folder.refuses("gives no vectors");
    edit(&folder, |graph| {
        graph.node[0].op_type = Some("Sorcery".into())
    });
    folder.refuses("cannot be loaded");
    // A table that is too small for the tokenizer.
    edit(&folder, |graph| {
        let table = &mut graph.initializer[0];
        table.dims[0] -= 1;
        table.float_data.truncate((WORDS.len() - 1) * DIM);
    });
    folder.refuses("does not know all tokens of the tokenizer");
    for value in [f32::NAN, f32::INFINITY, 0.0] {
        edit(&folder, |graph| graph.initializer[0].float_data.fill(value));
        folder.refuses("not finite, or all zero");
    }
    let config = json!({"vocab_size": WORDS.len() - 1});
    edit(&folder, |_| ());
    folder.json("config.json", &config);
    folder.refuses("has a token 12, and config.json a vocabulary of 12");
}

#[test]
fn external_data_belongs_to_the_model() {
    let folder = Folder::onnx();
    let outside = |file: &str| {
        edit(&folder, |graph| {
            let table = &mut graph.initializer[0];
            table.float_data.clear();
            table.data_location = Some(DataLocation::EXTERNAL);
            let entry = |key: &str, value: &str| StringStringEntryProto {
                key: Some(key.into()),
                value: Some(value.into()),
            };
            let length = (WORDS.len() * DIM * 4).to_string();
            table.external_data = vec![
                entry("location", file),
                entry("offset", "0"),
                entry("length", &length),
            ];
        });
    };
    let data = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..WORDS.len() * DIM)
            .flat_map(|_| random.f32().to_le_bytes())
            .collect::<Vec<u8>>()
    };
    outside("model.onnx.data");
    folder.refuses("cannot be loaded");
    folder.write("model.onnx.data", &data(1)[1..]);
    folder.refuses("cannot be loaded");
    folder.write("model.onnx.data", &data(1));
    let one = folder.open().unwrap().fingerprint().to_owned();
    folder.write("model.onnx.data", &data(2));
    assert_ne!(folder.open().unwrap().fingerprint(), one);
    for elsewhere in ["../secret.data", "/etc/passwd"] {
        outside(elsewhere);
        folder.refuses("cannot be loaded");
    }
}

#[test]
fn files_that_are_too_large_are_not_read() {
    let folder = Folder::onnx();
    // A hole in a file takes no place.
    let hole = |name: &str, length: u64| {
        File::create(folder.path(name))
            .unwrap()
            .set_len(length)
            .unwrap();
    };
    hole("model.onnx", 5 << 30);
    folder.refuses("has 5368709120 bytes, and at most 4294967296 are read");
    hole("tokenizer.json", 65 << 20);
    folder.refuses("at most 67108864 are read");
}

/// Whatever is in the files: a model, or an error with the name of a file.
#[test]
fn spoilt_files_end_in_errors() {
    let seconds = std::env::var("MNEME_FUZZ_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = std::time::Instant::now() + std::time::Duration::from_secs(seconds.unwrap_or(5));
    // What libraries say as they give up is of no interest.
    let hook = std::panic::take_hook();
    let here = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.id() != here && thread.name().is_none_or(|name| !name.starts_with("rten")) {
            hook(panic);
        }
    }));
    let mut random = fastrand::Rng::with_seed(11);
    let mut tried = 0;
    let mut opened = 0;
    while tried < 200 || std::time::Instant::now() < until {
        let seed = random.u64(..);
        let outcome = std::panic::catch_unwind(|| spoil(&mut fastrand::Rng::with_seed(seed)));
        match outcome {
            Ok(is_open) => opened += usize::from(is_open),
            Err(_) => {
                let _ = std::panic::take_hook();
                panic!("seed {seed}: the engine's panic came through");
            }
        }
        tried += 1;
    }
    let _ = std::panic::take_hook();
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
