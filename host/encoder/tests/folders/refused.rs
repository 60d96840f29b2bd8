//! Folders that hold no model that can be used.

use std::fs::{self, File};

use mneme_encoder::{Error, Model, Options};
use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, GraphProto, ModelProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto,
};
use serde_json::{Value, json};

use super::folder::{DIM, Folder, WORDS, config, edit, table};

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
    folder.refuses("has its weights in pytorch_model.bin, which is made of pickled Python objects");
    let error = folder.with(|options| options.file = Some("pytorch_model.bin".into()));
    let message = error.unwrap_err().to_string();
    assert!(message.contains("pickled Python objects"), "{message}");

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
    folder.json("modules.json", &json!([{"idx": 2, "name": "2", "path": "2_CNN", "type": "sentence_transformers.models.CNN"}]));
    folder.refuses("has a module \"CNN\"");
    for path in ["../elsewhere", "/etc"] {
        folder.json(
            "modules.json",
            &json!([{"path": path, "type": "sentence_transformers.models.Pooling"}]),
        );
        folder.refuses("which is not in the folder");
    }
    fs::remove_file(folder.path("modules.json")).unwrap();
    for (pooling, message) in [
        (
            json!({"pooling_mode_weightedmean_tokens": true}),
            "pooling by \"weightedmean_tokens\"",
        ),
        (
            json!({"pooling_mode": "attention"}),
            "pooling by \"attention\"",
        ),
        (json!({"pooling_mode_new": true}), "pooling by \"new\""),
        (
            json!({"pooling_mode": ["cls", "mean"]}),
            "several ways at once",
        ),
        (json!({"pooling_mode": []}), "sets no mode of pooling"),
        (
            json!({"embedding_dimension": DIM}),
            "sets no mode of pooling",
        ),
        (
            json!({"pooling_mode_mean_tokens": false}),
            "sets no mode of pooling",
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
    for operator in ["Loop", "Scan", "RandomNormalLike", "Multinomial"] {
        edit(&folder, |graph| {
            graph.node[0].op_type = Some(operator.into())
        });
        folder.refuses(&format!("it has the operator {operator}"));
        // In a branch too.
        edit(&folder, |graph| nested(graph, 1, operator));
        folder.refuses(&format!("it has the operator {operator}"));
    }
    // Whoever follows them needs a place on the stack for each, and a file has place for millions.
    edit(&folder, |graph| nested(graph, 5, "Add"));
    folder.refuses("it has graphs within graphs, 4 deep");
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
    edit(&folder, |graph| graph.initializer[0].float_data.fill(0.5));
    folder.refuses("two different texts have the same vector");
    let config = json!({"vocab_size": WORDS.len() - 1});
    edit(&folder, |_| ());
    folder.json("config.json", &config);
    folder.refuses("has a token 12, and config.json a vocabulary of 12");
}

/// Puts the graph's operator into a branch of a branch.
fn nested(graph: &mut GraphProto, depth: usize, operator: &str) {
    graph.node[0].op_type = Some(operator.into());
    for _ in 0..depth {
        let branch = AttributeProto {
            name: Some("then_branch".into()),
            r#type: Some(AttributeType::GRAPH),
            g: Some(GraphProto {
                node: graph.node.clone(),
                ..GraphProto::default()
            }),
            ..AttributeProto::default()
        };
        graph.node[0].op_type = Some("If".into());
        graph.node[0].attribute = vec![branch];
    }
}

fn output(graph: &mut GraphProto, name: &str) {
    graph.output[0].name = Some(name.into());
    graph.node[0].output[0] = name.into();
}

#[test]
fn models_of_other_tasks_are_refused() {
    let classifier = json!({"architectures": ["BertForSequenceClassification"]});
    let modules = json!([
        {"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {"path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"},
    ]);
    let folder = Folder::onnx();
    for logits in ["logits", "start_logits"] {
        edit(&folder, |graph| output(graph, logits));
        folder.refuses("scores classes or words; export the model for feature extraction");
    }
    edit(&folder, |graph| output(graph, "output"));
    folder.open().unwrap();
    folder.json("config.json", &classifier);
    folder.refuses("is of a BertForSequenceClassification, which is no sentence encoder");
    // The names of outputs say more of an export, and modules more of a folder.
    edit(&folder, |_| ());
    folder.open().unwrap();
    edit(&folder, |graph| output(graph, "output"));
    folder.json("modules.json", &modules);
    folder.open().unwrap();

    let folder = Folder::bert();
    for task in [
        "BertForMaskedLM",
        "RobertaForTokenClassification",
        "BertForQuestionAnswering",
    ] {
        let mut other = config();
        other["architectures"] = json!([task]);
        folder.json("config.json", &other);
        folder.refuses(&format!("is of a {task}"));
    }
    folder.json("modules.json", &modules);
    folder.open().unwrap();
}

/// Adds a table of positions, which a text may not have more tokens than.
fn with_positions(folder: &Folder, name: &str, places: usize) {
    edit(folder, |graph| {
        let mut table = graph.initializer[0].clone();
        table.name = Some(name.into());
        table.dims[0] = places as i64;
        table.float_data = (0..places * DIM).map(|at| (at as f32).cos()).collect();
        graph.initializer.push(table);
        let mut ids = graph.input[0].clone();
        ids.name = Some("position_ids".into());
        graph.input.push(ids);
        let mut places = graph.node[0].clone();
        places.name = Some("look up places".into());
        places.input = vec![name.into(), "position_ids".into()];
        places.output = vec!["of places".into()];
        graph.node[0].output = vec!["words".into()];
        let mut sum = places.clone();
        sum.name = Some("add".into());
        sum.op_type = Some("Add".into());
        sum.input = vec!["words".into(), "of places".into()];
        sum.output = vec!["last_hidden_state".into()];
        graph.node.extend([places, sum]);
    });
}

#[test]
fn a_promise_of_tokens_is_tried_and_has_a_limit() {
    let folder = Folder::onnx();
    folder.json("tokenizer_config.json", &json!({"model_max_length": 2_000}));
    with_positions(&folder, "places", 511);
    folder.refuses("does not take 512 tokens, and its files promise 2000");
    // Where the graph has a table with as many rows, nothing is tried.
    let with_table = |rows: usize| {
        let bytes = fs::read(folder.path("model.onnx")).unwrap();
        let mut model = ModelProto::parse_buf(&bytes).unwrap();
        let table = TensorProto {
            dims: vec![rows as i64, 1],
            data_type: Some(DataType::FLOAT),
            float_data: vec![0.0; rows],
            name: Some("embeddings.position_embeddings.weight".into()),
            ..TensorProto::default()
        };
        model.graph.as_mut().unwrap().initializer.push(table);
        folder.write("model.onnx", &model.write_buf().unwrap());
    };
    with_table(1_999);
    folder.refuses("does not take 512 tokens");
    with_positions(&folder, "places", 511);
    with_table(2_000);
    folder.open().unwrap();
    // A promise beyond that is kept or not when a text asks for it.
    with_positions(&folder, "places", 600);
    let model = folder.open().unwrap();
    let text = |words: usize| vec!["how"; words].join(" ");
    assert_eq!(model.encode(&[&text(598)]).unwrap()[0].tokens_read, 598);
    let error = model.encode(&[&text(599)]).unwrap_err();
    assert!(matches!(error, Error::Engine(_)), "{error}");

    for folder in [Folder::bert(), Folder::onnx()] {
        for most in [100_000_000, u64::from(u32::MAX), u64::MAX] {
            let mut other = config();
            other["max_position_embeddings"] = json!(most);
            folder.json("config.json", &other);
            folder.json(
                "sentence_bert_config.json",
                &json!({"max_seq_length": most}),
            );
            let error = folder.open().unwrap_err();
            assert!(error.to_string().contains("32768 are possible"), "{error}");
            let error = folder.with(|options| options.max_tokens = Some(1 << 20));
            assert!(matches!(error, Err(Error::Option { option: "max", .. })));
            fs::remove_file(folder.path("sentence_bert_config.json")).unwrap();
            other["model_type"] = json!("roberta");
            other["pad_token_id"] = json!(most);
            folder.json("config.json", &other);
            folder.open().unwrap_err();
            other["max_position_embeddings"] = json!(null);
            folder.json("config.json", &other);
            assert_eq!(folder.open().is_ok(), folder.path("model.onnx").exists());
        }
    }
}

/// Puts the table into a file beside the graph.
fn outside(folder: &Folder, file: &str) {
    edit(folder, |graph| {
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
}

#[test]
fn external_data_belongs_to_the_model() {
    let folder = Folder::onnx();
    let data = |seed: u64| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..WORDS.len() * DIM)
            .flat_map(|_| random.f32().to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let plain = folder.open().unwrap().fingerprint().to_owned();
    folder.write("notes.data", b"of no model");
    assert_eq!(folder.open().unwrap().fingerprint(), plain);
    outside(&folder, "model.onnx.data");
    folder.refuses("model.onnx.data: cannot be read");
    folder.write("model.onnx.data", &data(1)[1..]);
    folder.refuses("cannot be loaded");
    folder.write("model.onnx.data", &data(1));
    let one = folder.open().unwrap().fingerprint().to_owned();
    folder.write("notes.data", b"still not");
    assert_eq!(folder.open().unwrap().fingerprint(), one);
    folder.write("model.onnx.data", &data(2));
    assert_ne!(folder.open().unwrap().fingerprint(), one);
    for elsewhere in ["../secret.data", "/etc/passwd"] {
        outside(&folder, elsewhere);
        folder.refuses("cannot be loaded");
    }
}

#[test]
fn operators_are_of_known_versions_and_domains() {
    let folder = Folder::onnx();
    let with = |opsets: &[(&str, i64)], domain: &str| {
        let mut model = table();
        model.opset_import = opsets
            .iter()
            .map(|(domain, version)| OperatorSetIdProto {
                domain: Some((*domain).into()),
                version: Some(*version),
            })
            .collect();
        model.graph.as_mut().unwrap().node[0].domain = Some(domain.into());
        folder.write("model.onnx", &model.write_buf().unwrap());
    };
    for opset in 11..=21 {
        with(&[("com.microsoft", 1), ("", opset)], "");
        folder.open().unwrap();
        with(&[("ai.onnx", opset)], "ai.onnx");
        folder.open().unwrap();
    }
    for opset in [i64::MIN, 1, 10, 22, 99] {
        with(&[("", opset)], "");
        folder.refuses(&format!(
            "is of the opset {opset}; those known are 11 to 21"
        ));
    }
    with(&[("com.microsoft", 17)], "");
    folder.refuses("is of the opset none");
    with(&[("", 17)], "org.example");
    folder.refuses("has the operator \"Gather\" of the domain \"org.example\"");
    with(&[("", 17)], "com.microsoft");
    folder.refuses("cannot be loaded");
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
    folder.refuses("has more than 4294967296 bytes, and no more are read");
    hole("tokenizer.json", 65 << 20);
    folder.refuses("has more than 67108864 bytes, and no more are read");
}

/// What opens or reads such a file waits for ever, or fills the memory.
#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    let bert = ["config.json", "tokenizer.json", "model.safetensors"];
    let optional = [
        "sentence_bert_config.json",
        "tokenizer_config.json",
        "config_sentence_transformers.json",
        "modules.json",
        "1_Pooling/config.json",
    ];
    let onnx = ["model.onnx", "model.onnx.data", "model.onnx_data"].map(|name| {
        let folder = Folder::onnx();
        if name != "model.onnx" {
            outside(&folder, name);
        }
        (folder, name)
    });
    let names = bert
        .iter()
        .chain(&optional)
        .map(|name| (Folder::bert(), *name));
    let names = names.chain(onnx);
    for (folder, name) in names {
        let path = folder.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for make in [&["mkfifo"][..], &["ln", "-s", "/dev/zero"]] {
            let _ = fs::remove_file(&path);
            let made = std::process::Command::new(make[0])
                .args(&make[1..])
                .arg(&path)
                .status();
            assert!(made.unwrap().success());
            let error = folder.open().unwrap_err();
            let is_named = match &error {
                Error::Missing { path: named, .. } | Error::Unsupported { path: named, .. } => {
                    // Weights that are no file are not found.
                    *named == path || named == folder.0.path()
                }
                _ => false,
            };
            assert!(is_named, "{name}: {error}");
        }
    }
}

/// Files of `/proc` say that they are empty.
#[cfg(target_os = "linux")]
#[test]
fn a_file_whose_length_lies_is_read_as_it_is() {
    let folder = Folder::bert();
    fs::remove_file(folder.path("config.json")).unwrap();
    std::os::unix::fs::symlink("/proc/self/status", folder.path("config.json")).unwrap();
    folder.refuses("config.json: is not what a model has there");
}
