//! Sentence models on the CPU: texts become vectors whose cosine tells how close they are in meaning.
//!
//! [`Model::bundled`] is a small English model that is part of the program. [`Model::open`] opens any
//! model of a folder, in the layout of sentence-transformers or of its ONNX exports:
//!
//! | file | what is read of it |
//! |---|---|
//! | `onnx/model.onnx`, `model.onnx`, another `.onnx`, or `model.safetensors` | the weights; safetensors of models of the types `bert`, `distilbert`, `mpnet`, `roberta`, `xlm-roberta` and `camembert` |
//! | `tokenizer.json` | the tokens |
//! | `config.json` | places for tokens, size of the vocabulary, the task |
//! | `sentence_bert_config.json`, `tokenizer_config.json` | how many tokens are read, whether texts are made lower case |
//! | `modules.json`, `1_Pooling/config.json` | mean (default), CLS, max, last token; dense layers after it |
//! | `config_sentence_transformers.json` | prompts; the one called `query` is written before each text |
//!
//! Files that are damaged, or are not of a sentence model, are refused with an error that names them. A
//! model whose operators may never end (`Loop`) or roll dice is refused too. Beyond that, trust a
//! folder as you trust a program: its graph and its tokenizer may ask for any memory and any time, and
//! where the system does not give the memory, the process ends.
//!
//! The same text gives the same bits, alone or among others, with any number of threads. On
//! processors with other instructions the last bits differ.
//!
//! ```
//! # #[cfg(feature = "bundled")] {
//! let model = mneme_encoder::Model::bundled(Default::default())?;
//! let encoded = model.encode(&["how do i reset my password?", "i forgot my password"])?;
//! let cosine: f32 = encoded[0].vector.iter().zip(&encoded[1].vector).map(|(a, b)| a * b).sum();
//! assert!(cosine > 0.6);
//! # }
//! # Ok::<(), mneme_encoder::Error>(())
//! ```

mod bert;
#[cfg(feature = "bundled")]
mod bundled;
mod dense;
mod engine;
mod error;
mod folder;
mod graph;
mod model;
mod operators;
mod pooling;
mod scripts;
mod tokens;
mod weights;

#[cfg(feature = "bundled")]
pub use bundled::{DIM as BUNDLED_DIM, FINGERPRINT as BUNDLED_FINGERPRINT};
pub use error::Error;
pub use model::{Encoded, Model, Options, threads};
