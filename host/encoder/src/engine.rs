//! Running a model.

use std::path::Path;
use std::sync::Arc;

use rten::{
    DataType, Model, ModelOptions, NodeId, NodeInfo, OpRegistry, RunOptions, ThreadPool, Value,
    ValueOrView, ValueType, ValueView, op_registry,
};
use rten_tensor::Layout;

use crate::error::{Error, guarded};

/// Where the weights are.
pub(crate) enum Source<'a> {
    /// An ONNX file, with its external data beside it.
    File(&'a Path),
    /// A graph, and the data that it refers to by name.
    Graph {
        graph: Vec<u8>,
        data: Vec<(&'static str, Data)>,
    },
}

/// Weights in memory.
pub(crate) enum Data {
    Owned(Vec<u8>),
    Static(&'static [u8]),
}

/// What a model returns for some texts of the same number of tokens.
pub(crate) struct Output {
    /// One vector after the other.
    pub values: Vec<f32>,
    /// Their length.
    pub dim: usize,
    /// Vectors a text: 1 if the model has pooled them.
    pub rows: usize,
}

/// A model that is ready to run. Calls may overlap.
pub(crate) struct Engine {
    model: Model,
    inputs: Vec<(NodeId, Input)>,
    output: NodeId,
    /// Whether the name of the output says that it is what an encoder gives.
    is_named: bool,
    threads: usize,
    pool: Arc<ThreadPool>,
}

#[derive(Debug, Clone, Copy)]
enum Input {
    Ids,
    Mask,
    Types,
    Positions,
}

impl Engine {
    /// Loads a model. `path` is what errors name. Weights that are packed are held twice, and each text
    /// takes less time.
    pub fn load(
        path: &Path,
        source: Source<'_>,
        threads: usize,
        is_packed: bool,
    ) -> Result<Self, Error> {
        let load = || {
            let prepacked = |mut options: ModelOptions| {
                options.prepack_weights(is_packed);
                options
            };
            match source {
                Source::File(file) => prepacked(ModelOptions::with_all_ops()).load_file(file),
                Source::Graph { graph, data } => {
                    let mut options = prepacked(ModelOptions::with_ops(operators()));
                    for (name, data) in data {
                        match data {
                            Data::Owned(data) => options.external_data(name, data),
                            Data::Static(data) => options.external_data_static(name, data),
                        };
                    }
                    options.load(graph)
                }
            }
        };
        let model = guarded(load)
            .map_err(|panic| Error::invalid(path, format!("is damaged: {panic}; get it again")))?
            .map_err(|error| {
                Error::invalid(
                    path,
                    format!(
                        "cannot be loaded: {error}; get it again, or export it with another opset"
                    ),
                )
            })?;
        let mut inputs = Vec::new();
        for &id in model.input_ids() {
            let info = model.node_info(id);
            let name = info
                .as_ref()
                .and_then(|info| info.name())
                .unwrap_or_default();
            let input = match name {
                "input_ids" => Input::Ids,
                "attention_mask" => Input::Mask,
                "token_type_ids" => Input::Types,
                "position_ids" => Input::Positions,
                name => {
                    return Err(Error::unsupported(
                        path,
                        format!(
                            "is no sentence encoder: it has an input {name:?}; those known are input_ids, attention_mask, token_type_ids and position_ids"
                        ),
                    ));
                }
            };
            inputs.push((id, input));
        }
        if !inputs.iter().any(|(_, input)| matches!(input, Input::Ids)) {
            return Err(Error::unsupported(
                path,
                "is no sentence encoder: it has no input \"input_ids\"",
            ));
        }
        let output = output(&model).ok_or_else(|| {
            Error::unsupported(path, "is no sentence encoder: it has no output of numbers")
        })?;
        let info = model.node_info(output);
        let name = info.as_ref().and_then(NodeInfo::name).unwrap_or_default();
        if name.ends_with("logits") {
            return Err(Error::unsupported(
                path,
                format!(
                    "is no sentence encoder: its output {name:?} scores classes or words; export the model for feature extraction"
                ),
            ));
        }
        let is_named = OUTPUTS.contains(&name);
        Ok(Self {
            model,
            inputs,
            output,
            is_named,
            threads,
            pool: Arc::new(ThreadPool::with_num_threads(threads)),
        })
    }

    /// Whether the name of the output says that it is what an encoder gives.
    pub fn is_named(&self) -> bool {
        self.is_named
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs it on `texts` texts of equal length, whose tokens follow each other.
    pub fn run(&self, ids: &[i32], texts: usize) -> Result<Output, Error> {
        let tokens = ids.len() / texts;
        let ones = vec![1; ids.len()];
        let zeros = vec![0; ids.len()];
        let positions: Vec<i32> = (0..texts).flat_map(|_| 0..tokens as i32).collect();
        let failed = |error: &dyn std::fmt::Display| Error::Engine(error.to_string());
        let mut inputs: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(self.inputs.len());
        for (id, input) in &self.inputs {
            let values = match input {
                Input::Ids => ids,
                Input::Mask => &ones,
                Input::Types => &zeros,
                Input::Positions => &positions,
            };
            let view = ValueView::from_shape([texts, tokens], values).map_err(|e| failed(&e))?;
            inputs.push((*id, view.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.pool)));
        let run = || self.model.run_n(inputs, [self.output], Some(options));
        let [value] = guarded(run)
            .map_err(|panic| failed(&panic))?
            .map_err(|error| failed(&error))?;
        let shape = value.shape().to_vec();
        let values = match value {
            Value::FloatTensor(tensor) => tensor.into_data(),
            _ => return Err(failed(&"its output are no numbers")),
        };
        let (rows, dim) = match shape[..] {
            [some, dim] if some == texts => (1, dim),
            [some, rows, dim] if some == texts => (rows, dim),
            _ => return Err(failed(&format!("its output has the shape {shape:?}"))),
        };
        if dim == 0 || rows == 0 || values.len() != texts * rows * dim {
            return Err(failed(&format!("its output has the shape {shape:?}")));
        }
        Ok(Output { values, dim, rows })
    }
}

/// Names of outputs, best first: the vectors of the tokens, else that of the text.
const OUTPUTS: [&str; 3] = [
    "last_hidden_state",
    "token_embeddings",
    "sentence_embedding",
];

/// The vectors of the tokens, else that of the text: by name, else by shape.
fn output(model: &Model) -> Option<NodeId> {
    let outputs: Vec<_> = model
        .output_ids()
        .iter()
        .filter_map(|&id| model.node_info(id).map(|info| (id, info)))
        .collect();
    let find = |is_it: &dyn Fn(&NodeInfo<'_>) -> bool| {
        let found = outputs.iter().find(|(_, info)| is_it(info));
        found.map(|(id, _)| *id)
    };
    let named = |name: &'static str| find(&|info| info.name() == Some(name));
    let shaped = |rank| {
        find(&|info| {
            info.dtype() == Some(ValueType::Tensor(DataType::Float))
                && info.shape().is_some_and(|shape| shape.len() == rank)
        })
    };
    OUTPUTS
        .into_iter()
        .find_map(named)
        .or_else(|| shaped(3))
        .or_else(|| shaped(2))
        .or_else(|| outputs.first().map(|(id, _)| *id))
}

/// The operators of the graphs that are built here, so that a program that opens no others has no others.
fn operators() -> OpRegistry {
    op_registry!(
        Add,
        Cast,
        Concat,
        Div,
        Gather,
        Gelu,
        Identity,
        LayerNormalization,
        MatMul,
        Mod,
        Mul,
        Reshape,
        Shape,
        Slice,
        Softmax,
        Sub,
        Transpose,
        Unsqueeze
    )
}
