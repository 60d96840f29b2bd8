//! Folders with a small model, of which one file after the other can be changed.

use std::fs;
use std::path::PathBuf;

use mneme_encoder::{Error, Model, Options};
use rten_onnx::onnx::{
    DataType, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TypeProto,
    TypeProtoTensor, ValueInfoProto,
};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const WORDS: [&str; 13] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "how", "do", "i", "reset", "my", "password", "a", "trial",
    "zulu",
];
pub const DIM: usize = 32;
pub const PLACES: usize = 16;

/// A folder with a model, of which one file after the other can be changed.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        let folder = Folder(tempfile::tempdir().unwrap());
        folder.json("tokenizer.json", &tokenizer());
        folder
    }

    /// A model of BERT's kind.
    pub fn bert() -> Self {
        let folder = Self::new();
        folder.json("config.json", &config());
        folder.write(
            "model.safetensors",
            &bert_weights(&mut fastrand::Rng::with_seed(7)),
        );
        folder
    }

    /// A model whose vectors of tokens are rows of a table.
    pub fn onnx() -> Self {
        let folder = Self::new();
        folder.write("model.onnx", &table().write_buf().unwrap());
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub fn json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string().as_bytes());
    }

    pub fn open(&self) -> Result<Model, Error> {
        Model::open(self.0.path(), Options::default())
    }

    pub fn with(&self, set: impl FnOnce(&mut Options)) -> Result<Model, Error> {
        let mut options = Options::default();
        set(&mut options);
        Model::open(self.0.path(), options)
    }

    /// Opening it fails, with this in the message.
    #[track_caller]
    pub fn refuses(&self, expected: &str) {
        let message = self.open().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}

pub fn tokenizer() -> Value {
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

pub fn config() -> Value {
    json!({
        "model_type": "bert", "hidden_size": DIM, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 12, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": WORDS.len(),
        "max_position_embeddings": PLACES, "type_vocab_size": 2, "pad_token_id": 0,
    })
}

pub fn bert_weights(random: &mut fastrand::Rng) -> Vec<u8> {
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
pub fn table() -> ModelProto {
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
pub fn edit(folder: &Folder, change: impl FnOnce(&mut GraphProto)) {
    let mut model = table();
    change(model.graph.as_mut().unwrap());
    folder.write("model.onnx", &model.write_buf().unwrap());
}
