//! Weights in a safetensors file.

use std::path::Path;

use half::{bf16, f16};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::Error;

/// Values that share a scale where weights have four bits.
pub(crate) const GROUP: usize = 32;

/// The weights of a model.
pub(crate) struct Weights<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    /// What the names of all weights begin with.
    prefix: &'static str,
}

impl<'a> Weights<'a> {
    /// Reads the table of a file.
    pub fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            Error::invalid(
                path,
                format!("is no safetensors file: {error}; get it again"),
            )
        })?;
        // Models with a task on top keep those of the encoder apart.
        let prefix = ["", "bert.", "roberta.", "distilbert.", "mpnet.", "model."]
            .into_iter()
            .find(|prefix| {
                let probe = format!("{prefix}embeddings.word_embeddings.weight");
                tensors.names().iter().any(|name| name.starts_with(&probe))
            })
            .unwrap_or("");
        Ok(Self {
            path,
            tensors,
            prefix,
        })
    }

    fn tensor(&self, name: &str) -> Result<TensorView<'_>, Error> {
        let name = format!("{}{name}", self.prefix);
        self.tensors.tensor(&name).map_err(|_| {
            Error::invalid(
                self.path,
                format!(
                    "has no weights {name:?}; it is of another kind of model, export that to ONNX"
                ),
            )
        })
    }

    /// The bytes of a tensor of this shape.
    fn bytes(&self, name: &str, dtype: Dtype, shape: &[usize]) -> Result<TensorView<'_>, Error> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != dtype
            || tensor.shape().iter().product::<usize>() != shape.iter().product::<usize>()
        {
            return Err(self.wrong(name, &tensor, shape));
        }
        Ok(tensor)
    }

    fn wrong(&self, name: &str, tensor: &TensorView<'_>, shape: &[usize]) -> Error {
        Error::invalid(
            self.path,
            format!(
                "the weights {name:?} are {:?} of {:?}; config.json asks for {shape:?}; get the files of one model",
                tensor.shape(),
                tensor.dtype()
            ),
        )
    }

    /// Weights of this shape: from four bits, sixteen or thirty-two.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let tensor = self.tensor_of(name, shape)?;
        let mut values = Vec::new();
        tensor.read(0, shape.iter().product(), &mut values);
        Ok(values)
    }

    /// The same, to be read part by part.
    pub fn tensor_of(&self, name: &str, shape: &[usize]) -> Result<Tensor<'_>, Error> {
        if self.is_packed(name) {
            let (nibbles, scales) = self.packed(name, shape)?;
            return Ok(Tensor::Packed { nibbles, scales });
        }
        let tensor = self.tensor(name)?;
        if tensor.shape() != shape {
            return Err(self.wrong(name, &tensor, shape));
        }
        match tensor.dtype() {
            Dtype::F32 => Ok(Tensor::F32(tensor.data().as_chunks().0)),
            Dtype::F16 => Ok(Tensor::F16(tensor.data().as_chunks().0)),
            Dtype::BF16 => Ok(Tensor::BF16(tensor.data().as_chunks().0)),
            _ => Err(self.wrong(name, &tensor, shape)),
        }
    }

    /// Whether weights have four bits.
    pub fn is_packed(&self, name: &str) -> bool {
        self.tensors
            .tensor(&format!("{}{name}.q4", self.prefix))
            .is_ok()
    }

    /// Weights of four bits, two a byte, the low one first and 8 more than it means; and the scales
    /// of each [`GROUP`], of sixteen bits.
    pub fn packed(&self, name: &str, shape: &[usize]) -> Result<(&[u8], &[u8]), Error> {
        let values: usize = shape.iter().product();
        let nibbles = self.bytes(&format!("{name}.q4"), Dtype::U8, &[values / 2])?;
        let scales = self.bytes(&format!("{name}.scales"), Dtype::F16, &[values / GROUP])?;
        Ok((nibbles.data(), scales.data()))
    }
}

/// The values of a tensor, as they are in the file.
pub(crate) enum Tensor<'a> {
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    BF16(&'a [[u8; 2]]),
    Packed { nibbles: &'a [u8], scales: &'a [u8] },
}

impl Tensor<'_> {
    /// Reads so many values from a place on, instead of what is in `values`. Where they are packed, both
    /// are multiples of [`GROUP`].
    pub fn read(&self, from: usize, count: usize, values: &mut Vec<f32>) {
        values.clear();
        match self {
            Self::F32(all) => {
                values.extend(
                    all[from..from + count]
                        .iter()
                        .map(|value| f32::from_le_bytes(*value)),
                );
            }
            Self::F16(all) => {
                let part = all[from..from + count].iter();
                values.extend(part.map(|value| f16::from_le_bytes(*value).to_f32()));
            }
            Self::BF16(all) => {
                let part = all[from..from + count].iter();
                values.extend(part.map(|value| bf16::from_le_bytes(*value).to_f32()));
            }
            Self::Packed { nibbles, scales } => {
                values.resize(count, 0.0);
                let packed = nibbles[from / 2..].as_chunks::<{ GROUP / 2 }>().0;
                let scales = scales.as_chunks().0[from / GROUP..].iter();
                let groups = values.as_chunks_mut::<GROUP>().0.iter_mut().zip(packed);
                for ((group, packed), scale) in groups.zip(scales) {
                    let scale = f16::from_le_bytes(*scale).to_f32();
                    for (byte, pair) in packed.iter().zip(group.as_chunks_mut::<2>().0) {
                        let value = |nibble: u8| (f32::from(nibble) - 8.0) * scale;
                        *pair = [value(byte & 15), value(byte >> 4)];
                    }
                }
            }
        }
    }
}
