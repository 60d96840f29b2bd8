//! [`Model`]: any sentence model of a folder, inside the program.

use std::path::Path;

use mneme_encoder as encoder;

use super::{EmbedError, Embedder, Embedding, MAX_DIM, Reading};

pub use encoder::Options as ModelOptions;

/// Some 500 tokens: a model with 100 million weights takes about a second for them.
const MAX_CALL_BYTES: usize = 2 * 1024;

/// A sentence model from a folder, on the CPU: ONNX or safetensors with a `tokenizer.json`, in the layout
/// of sentence-transformers or of its ONNX exports.
///
/// Pooling, maximum length and prompts are read from its files. It
/// [tells](Embedder::read) how many tokens a text has, how many of them were read, and how many it
/// does not know. Blank text is an error. Its fingerprint comes from the content of its files, so
/// other weights under the same name are noticed.
///
/// ```no_run
/// use mneme::SemanticCache;
/// use mneme::embedder::Model;
///
/// let cache = SemanticCache::builder()
///     .embedder(Model::open("models/all-MiniLM-L6-v2")?)
///     .open()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    model: encoder::Model,
    dim: u32,
}

impl Model {
    /// Opens the model of a folder, used as its files say.
    ///
    /// # Errors
    ///
    /// [`EmbedError`] with the name of the file that is missing, damaged or not supported; or if
    /// vectors have more than [`MAX_DIM`] values.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, EmbedError> {
        Self::with(dir, ModelOptions::default())
    }

    /// Opens the model of a folder.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); also where an option has no use for this model.
    pub fn with(dir: impl AsRef<Path>, options: ModelOptions) -> Result<Self, EmbedError> {
        let dir = dir.as_ref();
        let model = encoder::Model::open(dir, options).map_err(failed)?;
        let dim = u32::try_from(model.dim()).ok();
        let dim = dim.filter(|dim| *dim <= MAX_DIM).ok_or_else(|| {
            EmbedError::permanent(format!(
                "model: {}: its vectors have {} values, and a cache takes {MAX_DIM}; use a smaller model, or cut them with the option dim",
                dir.display(),
                model.dim()
            ))
        })?;
        Ok(Self { model, dim })
    }
}

impl Embedder for Model {
    fn fingerprint(&self) -> &str {
        self.model.fingerprint()
    }

    fn dim(&self) -> u32 {
        self.dim
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
        Ok(vectors(self.read(texts)?))
    }

    fn read(&self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
        read(&self.model, texts)
    }

    fn max_calls(&self) -> usize {
        self.model.threads()
    }

    fn max_call_bytes(&self) -> usize {
        MAX_CALL_BYTES
    }
}

/// The vectors of embeddings.
pub(super) fn vectors(embeddings: Vec<Embedding>) -> Vec<Vec<f32>> {
    embeddings.into_iter().map(|each| each.vector).collect()
}

/// Encodes texts, with what was read of each.
pub(super) fn read(model: &encoder::Model, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError> {
    let encoded = model.encode(texts).map_err(failed)?;
    let count = |tokens| u32::try_from(tokens).unwrap_or(u32::MAX);
    let embeddings = encoded.into_iter().map(|text| Embedding {
        vector: text.vector,
        reading: Some(Reading {
            tokens: count(text.tokens),
            tokens_read: count(text.tokens_read),
            tokens_unknown: count(text.tokens_unknown),
        }),
    });
    Ok(embeddings.collect())
}

pub(super) fn failed(error: encoder::Error) -> EmbedError {
    EmbedError::permanent(format!("model: {error}"))
}
