//! The graph of BERT and its kin, for weights that come without one.

mod config;

use std::path::Path;

use rten_onnx::onnx::DataType;

use crate::engine::{Data, Source};
use crate::error::Error;
use crate::graph::{Attribute, Graph, Value};
use crate::weights::{GROUP, Tensor, Weights};
pub(crate) use config::Config;
use config::{DISTANCES, Names};

/// Builds the graph of a model.
///
/// `bytes` is the file of the weights, if it stays in memory for ever: what is packed in it is then
/// read in place. So many threads write the weights.
pub(crate) fn graph(
    path: &Path,
    config: &Config,
    weights: &Weights<'_>,
    bytes: Option<&'static [u8]>,
    threads: usize,
) -> Result<Source<'static>, Error> {
    let mut builder = Builder {
        graph: Graph::default(),
        config,
        weights,
        bytes,
    };
    builder.build()?;
    let finished = builder.graph.finish(
        "input_ids",
        "last_hidden_state",
        config.hidden_size,
        threads,
    );
    let (graph, data) = finished.map_err(|error| Error::invalid(path, error))?;
    let mut files = vec![(Graph::DATA, Data::Owned(data))];
    files.extend(bytes.map(|bytes| (FILE, Data::Static(bytes))));
    Ok(Source::Graph { graph, data: files })
}

/// The name of the file of packed weights.
const FILE: &str = "packed.data";

struct Builder<'a> {
    graph: Graph<'a>,
    config: &'a Config,
    weights: &'a Weights<'a>,
    bytes: Option<&'static [u8]>,
}

impl<'a> Builder<'a> {
    fn build(&mut self) -> Result<(), Error> {
        let dim = self.config.hidden_size;
        let wide = self.config.intermediate_size;
        let shape = self.graph.operator("Shape", &["input_ids"], vec![]);
        let one = self.graph.integers(&[1]);
        let tokens =
            self.graph
                .operator("Gather", &[&shape, &one], vec![("axis", Attribute::Int(0))]);
        let mut hidden = self.embeddings(&tokens)?;
        let near = self.nearness(&tokens)?;
        let names = self.config.names();
        for layer in 0..self.config.num_hidden_layers {
            let name = |part: &str| format!("{}.{layer}.{part}", names.layer);
            let attended = self.attention(&hidden, near.as_deref(), names, layer)?;
            let attended = self.linear(&attended, &name(names.attended), dim, dim)?;
            let attended = self.graph.operator("Add", &[&attended, &hidden], vec![]);
            let attended = self.normalized(&attended, &name(names.attended_norm))?;
            let inner = self.linear(&attended, &name(names.inner), dim, wide)?;
            let inner = self.graph.operator("Gelu", &[&inner], vec![]);
            let inner = self.linear(&inner, &name(names.output), wide, dim)?;
            let inner = self.graph.operator("Add", &[&inner, &attended], vec![]);
            hidden = self.normalized(&inner, &name(names.output_norm))?;
        }
        self.graph
            .named("Identity", &[&hidden], vec![], "last_hidden_state");
        Ok(())
    }

    /// The sum of what stands for each token, its place and its kind.
    fn embeddings(&mut self, tokens: &str) -> Result<Value, Error> {
        let dim = self.config.hidden_size;
        let words = self.words()?;
        let first = self.config.first_position();
        let places = self.config.max_position_embeddings;
        let positions = self
            .weights
            .values("embeddings.position_embeddings.weight", &[places, dim])?;
        let kinds = self.config.type_vocab_size;
        let kind = match kinds {
            0 => vec![0.0; dim],
            _ => self
                .weights
                .values("embeddings.token_type_embeddings.weight", &[kinds, dim])?,
        };
        // All tokens are of the first kind.
        let positions = self.graph.matrix(&[places, dim], move |places| {
            let sums = positions.iter().zip(kind.iter().take(dim).cycle());
            write(places, sums.map(|(position, kind)| position + kind));
        });
        let from = self.graph.integers(&[first as i64]);
        let to = self.graph.operator("Add", &[tokens, &from], vec![]);
        let axis = self.graph.integers(&[0]);
        let positions = self
            .graph
            .operator("Slice", &[&positions, &from, &to, &axis], vec![]);
        let sum = self.graph.operator("Add", &[&words, &positions], vec![]);
        self.normalized(&sum, "embeddings.LayerNorm")
    }

    fn words(&mut self) -> Result<Value, Error> {
        let name = "embeddings.word_embeddings.weight";
        let (count, dim) = (self.config.vocab_size, self.config.hidden_size);
        let Some(bytes) = self.bytes.filter(|_| self.weights.is_packed(name)) else {
            let words = self.weights.tensor_of(name, &[count, dim])?;
            let words = self
                .graph
                .matrix(&[count, dim], move |places| copy(&words, places));
            return Ok(self
                .graph
                .operator("Gather", &[&words, "input_ids"], vec![]));
        };
        // Most words are never asked for, so they stay packed.
        let (nibbles, scales) = self.weights.packed(name, &[count, dim])?;
        let offset = nibbles.as_ptr() as usize - bytes.as_ptr() as usize;
        let shape = [count, dim / 2];
        let nibbles = self
            .graph
            .external(&shape, DataType::UINT8, FILE, offset, nibbles.len());
        let scales = self
            .graph
            .raw(&[count, dim / GROUP], DataType::FLOAT16, scales);
        let nibbles = self
            .graph
            .operator("Gather", &[&nibbles, "input_ids"], vec![]);
        let scales = self
            .graph
            .operator("Gather", &[&scales, "input_ids"], vec![]);
        let to = |code| vec![("to", Attribute::Int(code))];
        let bytes = self
            .graph
            .operator("Cast", &[&nibbles], to(DataType::INT32.0.into()));
        let (sixteen, eight) = (self.graph.integer(16), self.graph.integer(8));
        let last = self.graph.integers(&[-1]);
        let low = self.graph.operator("Mod", &[&bytes, &sixteen], vec![]);
        let high = self.graph.operator("Div", &[&bytes, &sixteen], vec![]);
        let low = self.graph.operator("Unsqueeze", &[&low, &last], vec![]);
        let high = self.graph.operator("Unsqueeze", &[&high, &last], vec![]);
        let both =
            self.graph
                .operator("Concat", &[&low, &high], vec![("axis", Attribute::Int(-1))]);
        let both = self.graph.operator("Sub", &[&both, &eight], vec![]);
        let both = self
            .graph
            .operator("Cast", &[&both], to(DataType::FLOAT.0.into()));
        let groups = self
            .graph
            .integers(&[0, -1, (dim / GROUP) as i64, GROUP as i64]);
        let both = self.graph.operator("Reshape", &[&both, &groups], vec![]);
        let scales = self.graph.operator("Unsqueeze", &[&scales, &last], vec![]);
        let words = self.graph.operator("Mul", &[&both, &scales], vec![]);
        let flat = self.graph.integers(&[0, -1, dim as i64]);
        Ok(self.graph.operator("Reshape", &[&words, &flat], vec![]))
    }

    /// What is added to the score of two tokens for their distance, by head, if the model does so.
    fn nearness(&mut self, tokens: &str) -> Result<Option<Value>, Error> {
        if !self.config.is_relative() {
            return Ok(None);
        }
        let heads = self.config.num_attention_heads;
        let places = self.config.places();
        let table = self.weights.values(
            "encoder.relative_attention_bias.weight",
            &[DISTANCES, heads],
        )?;
        let table = self.graph.matrix(&[DISTANCES, heads], move |values| {
            write(values, table);
        });
        let kinds: Vec<u8> = (0..places)
            .flat_map(|from| (0..places).map(move |to| config::distance(from, to)))
            .flat_map(i32::to_ne_bytes)
            .collect();
        let kinds = self.graph.raw(&[places, places], DataType::INT32, &kinds);
        let (zero, zeros) = (self.graph.integers(&[0]), self.graph.integers(&[0, 0]));
        let axis = vec![("axis", Attribute::Int(0))];
        let both = self.graph.operator("Concat", &[tokens, tokens], axis);
        let axes = self.graph.integers(&[0, 1]);
        let kinds = self
            .graph
            .operator("Slice", &[&kinds, &zeros, &both, &axes], vec![]);
        let near = self.graph.operator("Gather", &[&table, &kinds], vec![]);
        let order = vec![("perm", Attribute::Ints(vec![2, 0, 1]))];
        let near = self.graph.operator("Transpose", &[&near], order);
        Ok(Some(self.graph.operator(
            "Unsqueeze",
            &[&near, &zero],
            vec![],
        )))
    }

    /// What each token takes from the others, by head.
    fn attention(
        &mut self,
        hidden: &str,
        near: Option<&str>,
        names: &Names,
        layer: usize,
    ) -> Result<Value, Error> {
        let (dim, heads) = (self.config.hidden_size, self.config.num_attention_heads);
        let head = dim / heads;
        let split = self.graph.integers(&[0, 0, heads as i64, head as i64]);
        let mut part = |which: &str, order: [i64; 4]| -> Result<Value, Error> {
            let name = format!("{}.{layer}.{which}", names.layer);
            let values = self.linear(hidden, &name, dim, dim)?;
            let values = self.graph.operator("Reshape", &[&values, &split], vec![]);
            let order = vec![("perm", Attribute::Ints(order.to_vec()))];
            Ok(self.graph.operator("Transpose", &[&values], order))
        };
        let query = part(names.query, [0, 2, 1, 3])?;
        let key = part(names.key, [0, 2, 3, 1])?;
        let value = part(names.value, [0, 2, 1, 3])?;
        let scale = self.graph.numbers(&[1.0 / (head as f32).sqrt()]);
        let scores = self.graph.operator("MatMul", &[&query, &key], vec![]);
        let mut scores = self.graph.operator("Mul", &[&scores, &scale], vec![]);
        if let Some(near) = near {
            scores = self.graph.operator("Add", &[&scores, near], vec![]);
        }
        let axis = vec![("axis", Attribute::Int(-1))];
        let shares = self.graph.operator("Softmax", &[&scores], axis);
        let taken = self.graph.operator("MatMul", &[&shares, &value], vec![]);
        let order = vec![("perm", Attribute::Ints(vec![0, 2, 1, 3]))];
        let taken = self.graph.operator("Transpose", &[&taken], order);
        let whole = self.graph.integers(&[0, 0, dim as i64]);
        Ok(self.graph.operator("Reshape", &[&taken, &whole], vec![]))
    }

    fn linear(&mut self, input: &str, name: &str, from: usize, to: usize) -> Result<Value, Error> {
        let weights = self
            .weights
            .tensor_of(&format!("{name}.weight"), &[to, from])?;
        let matrix = self.graph.matrix(&[from, to], move |places| {
            transpose(&weights, from, places, to);
        });
        let bias = self.weights.values(&format!("{name}.bias"), &[to])?;
        let bias = self.graph.numbers(&bias);
        let product = self.graph.operator("MatMul", &[input, &matrix], vec![]);
        Ok(self.graph.operator("Add", &[&product, &bias], vec![]))
    }

    fn normalized(&mut self, input: &str, name: &str) -> Result<Value, Error> {
        let dim = [self.config.hidden_size];
        let scale = self.weights.values(&format!("{name}.weight"), &dim)?;
        let shift = self.weights.values(&format!("{name}.bias"), &dim)?;
        let (scale, shift) = (self.graph.numbers(&scale), self.graph.numbers(&shift));
        let attributes = vec![
            ("axis", Attribute::Int(-1)),
            ("epsilon", Attribute::Float(self.config.layer_norm_eps)),
        ];
        Ok(self
            .graph
            .operator("LayerNormalization", &[input, &scale, &shift], attributes))
    }
}

/// Makes `rows` rows of `width` values the columns of a matrix.
fn transpose(weights: &Tensor<'_>, width: usize, columns: &mut [[u8; 4]], rows: usize) {
    // As many rows at a time as a line of the processor's cache has values.
    const LINE: usize = 16;
    let mut values = Vec::new();
    for from in (0..rows).step_by(LINE) {
        let count = LINE.min(rows - from);
        weights.read(from * width, count * width, &mut values);
        for at in (0..width).step_by(LINE) {
            let across = LINE.min(width - at);
            // Of a fixed size, so that the compiler knows the bounds.
            let mut square = [[[0; 4]; LINE]; LINE];
            for (row, values) in values.chunks_exact(width).enumerate() {
                for (column, value) in square.iter_mut().zip(&values[at..at + across]) {
                    column[row] = value.to_le_bytes();
                }
            }
            for (column, square) in square.iter().take(across).enumerate() {
                let place = (at + column) * rows + from;
                columns[place..place + count].copy_from_slice(&square[..count]);
            }
        }
    }
}

/// Writes all values of a tensor.
fn copy(weights: &Tensor<'_>, places: &mut [[u8; 4]]) {
    const PART: usize = 128 * GROUP;
    let mut values = Vec::new();
    for (at, part) in places.chunks_mut(PART).enumerate() {
        weights.read(at * PART, part.len(), &mut values);
        write(part, values.iter().copied());
    }
}

/// Writes values one after the other.
fn write<'a>(
    places: impl IntoIterator<Item = &'a mut [u8; 4]>,
    values: impl IntoIterator<Item = f32>,
) {
    for (place, value) in places.into_iter().zip(values) {
        *place = value.to_le_bytes();
    }
}
