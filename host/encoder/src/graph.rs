//! Writing an ONNX graph, for models that come without one.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};
use std::thread;

use rten_onnx::onnx::{
    AttributeProto, AttributeType, DataLocation, DataType, Dimension, GraphProto, ModelProto,
    NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, TypeProtoTensor, ValueInfoProto,
};

/// The standard operators, with Gelu.
const OPSET: i64 = 20;

/// A name of a value.
pub(crate) type Value = String;

/// A graph that grows, and the large weights beside it.
#[derive(Default)]
pub(crate) struct Graph<'a> {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    matrices: Vec<Matrix<'a>>,
    /// The bytes of all matrices.
    length: usize,
    count: usize,
}

/// A matrix that is yet to be written.
struct Matrix<'a> {
    length: usize,
    fill: Fill<'a>,
}

/// Writes the values of a matrix, each little-endian.
type Fill<'a> = Box<dyn FnOnce(&mut [[u8; 4]]) + Send + 'a>;

/// An attribute of an operator.
pub(crate) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
}

impl<'a> Graph<'a> {
    /// The name of the file of the large weights.
    pub const DATA: &'static str = "weights.data";

    fn name(&mut self) -> Value {
        self.count += 1;
        format!("v{}", self.count)
    }

    /// Adds an operator.
    pub fn operator(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
    ) -> Value {
        let output = self.name();
        self.named(kind, inputs, attributes, &output);
        output
    }

    /// Adds an operator whose output has a given name.
    pub fn named(
        &mut self,
        kind: &str,
        inputs: &[&str],
        attributes: Vec<(&str, Attribute)>,
        output: &str,
    ) {
        self.nodes.push(NodeProto {
            domain: None,
            name: Some(output.to_owned()),
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            op_type: Some(kind.to_owned()),
            attribute: attributes.into_iter().map(attribute).collect(),
        });
    }

    /// Adds whole numbers, as a list.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.constant(&[values.len()], DataType::INT64, |tensor| {
            tensor.int64_data = values.to_vec();
        })
    }

    /// Adds one whole number of 32 bits.
    pub fn integer(&mut self, value: i32) -> Value {
        self.constant(&[], DataType::INT32, |tensor| {
            tensor.int32_data = vec![value]
        })
    }

    /// Adds a few numbers.
    pub fn numbers(&mut self, values: &[f32]) -> Value {
        self.constant(&[values.len()], DataType::FLOAT, |tensor| {
            tensor.float_data = values.to_vec();
        })
    }

    /// Adds a matrix, whose values stay beside the graph: `fill` writes them in the end.
    pub fn matrix(
        &mut self,
        shape: &[usize],
        fill: impl FnOnce(&mut [[u8; 4]]) + Send + 'a,
    ) -> Value {
        let offset = self.length;
        let length = shape.iter().product::<usize>() * 4;
        self.length += length;
        self.matrices.push(Matrix {
            length,
            fill: Box::new(fill),
        });
        self.external(shape, DataType::FLOAT, Self::DATA, offset, length)
    }

    /// Adds a tensor that is a part of a file beside the graph.
    pub fn external(
        &mut self,
        shape: &[usize],
        dtype: DataType,
        file: &str,
        offset: usize,
        length: usize,
    ) -> Value {
        let entry = |key: &str, value: String| StringStringEntryProto {
            key: Some(key.to_owned()),
            value: Some(value),
        };
        self.constant(shape, dtype, |tensor| {
            tensor.data_location = Some(DataLocation::EXTERNAL);
            tensor.external_data = vec![
                entry("location", file.to_owned()),
                entry("offset", offset.to_string()),
                entry("length", length.to_string()),
            ];
        })
    }

    /// Adds a tensor of bytes in the order of the machine.
    pub fn raw(&mut self, shape: &[usize], dtype: DataType, bytes: &[u8]) -> Value {
        self.constant(shape, dtype, |tensor| {
            tensor.raw_data = Some(RefCell::new(bytes.to_vec()));
        })
    }

    fn constant(
        &mut self,
        shape: &[usize],
        dtype: DataType,
        fill: impl FnOnce(&mut TensorProto),
    ) -> Value {
        let name = self.name();
        let mut tensor = TensorProto {
            dims: shape.iter().map(|&size| size as i64).collect(),
            data_type: Some(dtype),
            name: Some(name.clone()),
            ..TensorProto::default()
        };
        fill(&mut tensor);
        self.constants.push(tensor);
        name
    }

    /// The model, and its weights, which so many threads write. It takes whole numbers of shape
    /// texts x tokens, and returns vectors of `dim` numbers.
    pub fn finish(
        self,
        input: &str,
        output: &str,
        dim: usize,
        threads: usize,
    ) -> Result<(Vec<u8>, Vec<u8>), String> {
        let free = |name: &str| Dimension {
            dim_value: None,
            dim_param: Some(name.to_owned()),
        };
        let info = |name: &str, dtype, dim: Vec<Dimension>| ValueInfoProto {
            name: Some(name.to_owned()),
            r#type: Some(TypeProto {
                tensor_type: Some(TypeProtoTensor {
                    elem_type: Some(dtype),
                    shape: Some(TensorShapeProto { dim }),
                }),
                sequence: None,
            }),
        };
        let (texts, tokens) = (free("texts"), free("tokens"));
        let values = Dimension {
            dim_value: Some(dim as i64),
            dim_param: None,
        };
        let model = ModelProto {
            ir_version: Some(9),
            graph: Some(GraphProto {
                node: self.nodes,
                initializer: self.constants,
                input: vec![info(
                    input,
                    DataType::INT64,
                    vec![texts.clone(), tokens.clone()],
                )],
                output: vec![info(output, DataType::FLOAT, vec![texts, tokens, values])],
                value_info: Vec::new(),
            }),
            opset_import: vec![OperatorSetIdProto {
                domain: Some(String::new()),
                version: Some(OPSET),
            }],
            ..ModelProto::default()
        };
        let graph = model.write_buf().map_err(|error| error.to_string())?;
        Ok((graph, written(self.matrices, self.length, threads)))
    }
}

/// The matrices, one after the other.
fn written(matrices: Vec<Matrix<'_>>, length: usize, threads: usize) -> Vec<u8> {
    // It comes zeroed from the system: the threads that write it are the first to touch it.
    let mut data = vec![0; length];
    let mut rest = &mut data[..];
    let mut parts = Vec::with_capacity(matrices.len());
    for matrix in matrices {
        let (part, after) = rest.split_at_mut(matrix.length);
        parts.push((part, matrix.fill));
        rest = after;
    }
    let parts = Mutex::new(parts.into_iter());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let write = || {
        while let Some((part, fill)) = next() {
            fill(part.as_chunks_mut().0);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // Where there are no threads, this one writes it all.
            let _ = thread::Builder::new().spawn_scoped(scope, write);
        }
        write();
    });
    data
}

fn attribute((name, value): (&str, Attribute)) -> AttributeProto {
    let mut attribute = AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Int(value) => {
            attribute.i = Some(value);
            attribute.r#type = Some(AttributeType::INT);
        }
        Attribute::Ints(values) => {
            attribute.ints = values;
            attribute.r#type = Some(AttributeType::INTS);
        }
        Attribute::Float(value) => {
            attribute.f = Some(value);
            attribute.r#type = Some(AttributeType::FLOAT);
        }
    }
    attribute
}
