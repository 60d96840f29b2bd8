//! Layers after the pooling.

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::folder::{DIM, Folder};

const INPUTS: usize = DIM;
const OUTPUTS: usize = 24;

fn weight(row: usize, column: usize) -> f32 {
    ((row * INPUTS + column) as f32).cos()
}

/// A model with modules after its pooling, and a layer in the folder `2_Dense`.
fn folder(modules: &[&str], config: &Value) -> Folder {
    let folder = Folder::onnx();
    let module = |(at, kind): (usize, &&str)| json!({"idx": at, "name": at.to_string(), "path": format!("{at}_{kind}"), "type": format!("sentence_transformers.models.{kind}")});
    let all = ["Transformer", "Pooling"].iter().chain(modules);
    let modules: Vec<Value> = all.enumerate().map(module).collect();
    folder.json("modules.json", &json!(modules));
    folder.json("2_Dense/config.json", config);
    let weights: Vec<u8> = (0..OUTPUTS * INPUTS)
        .flat_map(|at| weight(at / INPUTS, at % INPUTS).to_le_bytes())
        .collect();
    let bias: Vec<u8> = (0..OUTPUTS)
        .flat_map(|at| (at as f32 / 8.0).to_le_bytes())
        .collect();
    let tensors = [
        (
            "linear.weight",
            TensorView::new(Dtype::F32, vec![OUTPUTS, INPUTS], &weights).unwrap(),
        ),
        (
            "linear.bias",
            TensorView::new(Dtype::F32, vec![OUTPUTS], &bias).unwrap(),
        ),
    ];
    folder.write(
        "2_Dense/model.safetensors",
        &safetensors::serialize(tensors, None).unwrap(),
    );
    folder
}

fn config(activation: &str) -> Value {
    let activation = format!("torch.nn.modules.activation.{activation}");
    json!({"in_features": INPUTS, "out_features": OUTPUTS, "bias": true, "activation_function": activation})
}

/// What a layer makes of the mean of some rows of the table, which are those of the tokens.
fn expected(activation: fn(f32) -> f32, divisor: f32) -> Vec<f32> {
    // [CLS] reset my [SEP]
    let tokens = [2, 7, 8, 3];
    let pooled: Vec<f32> = (0..INPUTS)
        .map(|at| {
            tokens
                .map(|token| ((token * DIM + at) as f32).sin())
                .iter()
                .sum::<f32>()
                / divisor
        })
        .collect();
    let values: Vec<f32> = (0..OUTPUTS)
        .map(|row| {
            let products = pooled
                .iter()
                .enumerate()
                .map(|(at, value)| weight(row, at) * value);
            activation(products.sum::<f32>() + row as f32 / 8.0)
        })
        .collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}

#[track_caller]
fn gives(folder: &Folder, expected: &[f32]) -> String {
    let model = folder.open().unwrap();
    assert_eq!(model.dim(), OUTPUTS);
    let vector = &model.encode(&["reset my"]).unwrap()[0].vector;
    let is_close = vector
        .iter()
        .zip(expected)
        .all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(
        is_close && vector.len() == OUTPUTS,
        "{vector:?} is not {expected:?}"
    );
    model.fingerprint().to_owned()
}

#[test]
fn a_dense_layer_follows_the_pooling() {
    let tanh = folder(&["Dense", "Normalize"], &config("Tanh"));
    let identity = folder(&["Dense"], &config("linear.Identity"));
    let one = gives(&tanh, &expected(f32::tanh, 4.0));
    let two = gives(&identity, &expected(|value| value, 4.0));
    assert_ne!(one, two);
    // Here the length of what is pooled matters.
    tanh.json(
        "1_Pooling/config.json",
        &json!({"pooling_mode_mean_sqrt_len_tokens": true}),
    );
    assert_ne!(gives(&tanh, &expected(f32::tanh, 2.0)), one);
    let cut = tanh.with(|options| options.dim = Some(20)).unwrap();
    assert_eq!(cut.encode(&["reset my"]).unwrap()[0].vector.len(), 20);
    assert!(
        tanh.with(|options| options.dim = Some(OUTPUTS + 1))
            .is_err()
    );
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let refused = |change: &dyn Fn(&mut Value), message: &str| {
        let mut config = config("Tanh");
        change(&mut config);
        folder(&["Dense"], &config).refuses(message);
    };
    refused(
        &|config| config["activation_function"] = json!("torch.nn.ReLU"),
        "the activation \"torch.nn.ReLU\" is not built here",
    );
    refused(
        &|config| config["out_features"] = json!(0),
        "a layer without values",
    );
    refused(
        &|config| config["out_features"] = json!(OUTPUTS + 1),
        "get the files of one model",
    );
    refused(
        &|config| *config = json!([]),
        "is no configuration of a dense layer",
    );
    folder(&["Dense", "Dense"], &config("Tanh")).refuses("3_Dense/config.json: cannot be read");
    let pickled = folder(&["Dense"], &config("Tanh"));
    std::fs::rename(
        pickled.path("2_Dense/model.safetensors"),
        pickled.path("2_Dense/pytorch_model.bin"),
    )
    .unwrap();
    pickled.refuses("is a pickled Python object");
    // It takes another number of values than the model gives.
    let narrow = folder(&["Dense"], &config("Tanh"));
    super::folder::edit(&narrow, |graph| {
        let table = &mut graph.initializer[0];
        table.dims[1] /= 2;
        table
            .float_data
            .truncate(super::folder::WORDS.len() * DIM / 2);
    });
    narrow.refuses("takes vectors of 32 values, and gets 16");
}
