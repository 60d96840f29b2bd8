//! What some models do with the vector of a text: layers that come after the pooling.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::Error;
use crate::folder;
use crate::pooling::unit;
use crate::weights::Weights;

/// What is done with a vector, one after the other.
#[derive(Debug)]
pub(crate) enum Step {
    /// It gets the length 1.
    Normalize,
    Dense(Dense),
}

/// A layer that makes each value of all values.
#[derive(Debug)]
pub(crate) struct Dense {
    path: PathBuf,
    inputs: usize,
    /// A row an output.
    weights: Vec<f32>,
    bias: Vec<f32>,
    activation: Activation,
    /// The SHA-256 of its weights.
    digest: String,
    has_bias: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Activation {
    Identity,
    Tanh,
}

#[derive(Deserialize)]
struct Config {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    activation_function: Option<String>,
}

fn yes() -> bool {
    true
}

impl Dense {
    /// Reads the layer of a folder.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("config.json");
        let bytes = folder::read(&path, false)?;
        let config: Config = serde_json::from_slice(&bytes).map_err(|error| {
            Error::invalid(
                &path,
                format!("is no configuration of a dense layer: {error}; get it again"),
            )
        })?;
        let name = config.activation_function.as_deref().unwrap_or("Tanh");
        let activation = match name.rsplit('.').next() {
            Some("Identity") => Activation::Identity,
            Some("Tanh") => Activation::Tanh,
            _ => {
                return Err(Error::unsupported(
                    &path,
                    format!(
                        "the activation {name:?} is not built here; those known are Tanh and Identity"
                    ),
                ));
            }
        };
        let path = dir.join("model.safetensors");
        if !path.is_file() && dir.join("pytorch_model.bin").is_file() {
            return Err(Error::unsupported(
                &dir.join("pytorch_model.bin"),
                "is a pickled Python object, which runs code when it is read; save the model again, as safetensors",
            ));
        }
        let bytes = folder::read(&path, true)?;
        let weights = Weights::parse(&path, &bytes)?;
        let (inputs, outputs) = (config.in_features, config.out_features);
        if inputs == 0 || outputs == 0 {
            return Err(Error::invalid(
                &dir.join("config.json"),
                "is of a layer without values; get it again",
            ));
        }
        Ok(Self {
            path: path.clone(),
            inputs,
            weights: weights.values("linear.weight", &[outputs, inputs])?,
            bias: match config.bias {
                true => weights.values("linear.bias", &[outputs])?,
                false => vec![0.0; outputs],
            },
            activation,
            digest: folder::hex(Sha256::new_with_prefix(&bytes)),
            has_bias: config.bias,
        })
    }

    fn apply(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.weights.chunks_exact(self.inputs);
        let values = rows.zip(&self.bias).map(|(row, bias)| {
            let products = row.iter().zip(vector);
            let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let sum = sum + f64::from(*bias);
            match self.activation {
                Activation::Identity => sum as f32,
                Activation::Tanh => sum.tanh() as f32,
            }
        });
        values.collect()
    }
}

impl Step {
    /// Names it in fingerprints.
    pub fn name(&self) -> String {
        match self {
            Self::Normalize => "normalize".to_owned(),
            Self::Dense(dense) => format!(
                "dense={}{:?}{}",
                dense.digest, dense.activation, dense.has_bias
            ),
        }
    }

    /// How many values a vector of `dim` values has after it.
    pub fn values(&self, dim: usize) -> Result<usize, Error> {
        match self {
            Self::Normalize => Ok(dim),
            Self::Dense(dense) if dense.inputs == dim => Ok(dense.bias.len()),
            Self::Dense(dense) => Err(Error::invalid(
                &dense.path,
                format!(
                    "takes vectors of {} values, and gets {dim}; get the files of one model",
                    dense.inputs
                ),
            )),
        }
    }

    /// The vector after it. None if it cannot get the length 1.
    pub fn apply(&self, vector: Vec<f32>) -> Option<Vec<f32>> {
        match self {
            Self::Normalize => {
                let dim = vector.len();
                unit(vector, dim)
            }
            Self::Dense(dense) => Some(dense.apply(&vector)),
        }
    }
}
