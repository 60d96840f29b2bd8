//! The model that is part of the program.
//!
//! `bundled/` holds `paraphrase-MiniLM-L3-v2` of Sentence Transformers, revision
//! 4ca70771034acceecb2e72475f72050fcdde4ddc, under the Apache License 2.0 in `bundled/LICENSE`. The
//! tokenizer and the configuration are unchanged. The matrices have four bits: groups of 32 values
//! between -7 and 7 share a scale of sixteen bits, their greatest value over 7. The files are those of
//! the package `pocket-encoder` 0.1.2.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::thread;

use crate::bert::{self, Config};
use crate::engine::Engine;
use crate::error::Error;
use crate::model::{Model, Options, Shared, dim_of, threads};
use crate::pooling::Pooling;
use crate::scripts::Scripts;
use crate::tokens::{Tokenization, Use, Vocabulary};
use crate::weights::Weights;

static WEIGHTS: &[u8] = include_bytes!("bundled/model.safetensors");
pub(crate) static TOKENIZER: &[u8] = include_bytes!("bundled/tokenizer.json");
static CONFIG: &[u8] = include_bytes!("bundled/config.json");

/// The [`fingerprint`](Model::fingerprint) of the bundled model. Caches on disk have it.
pub const FINGERPRINT: &str = "pocket-encoder/minilm-l3-q4-g32-v1;weights=dabb40d5d98a;tokenizer=a9576e4dadfe;all=805daf7f47338859";
/// The values of a vector of the bundled model.
pub const DIM: usize = 384;
/// Tokens that it reads, with the two that are added.
const MAX_TOKENS: usize = 128;
/// What errors name.
const NAME: &str = "the bundled model";

pub(crate) fn open(options: Options) -> Result<Model, Error> {
    let unknown = [
        ("file", options.file.is_some()),
        ("prompt", options.prompt.is_some()),
        ("max", options.max_tokens.is_some()),
    ];
    if let Some((option, _)) = unknown.into_iter().find(|(_, is_asked)| *is_asked) {
        return Err(Error::Option {
            option,
            message: "the bundled model has no such option; leave it out".to_owned(),
        });
    }
    let dim = dim_of(options.dim, DIM, NAME)?;
    // One of weights that are packed, and one for a few texts.
    static SHARED: [OnceLock<Result<Shared, Error>>; 2] = [const { OnceLock::new() }; 2];
    let load = || load(threads(options.threads)?, !options.few_texts);
    let shared = match options.threads {
        None => SHARED[usize::from(options.few_texts)]
            .get_or_init(load)
            .clone()?,
        Some(_) => load()?,
    };
    let fingerprint = match dim {
        DIM => FINGERPRINT.to_owned(),
        dim => format!("{FINGERPRINT};dim={dim}"),
    };
    Ok(Model(Arc::new(Shared {
        fingerprint,
        dim,
        ..shared
    })))
}

/// What `Vocabulary::of` finds in the tokenizer.
fn vocabulary() -> Vocabulary {
    Vocabulary {
        scripts: Scripts::latin(),
        last: 30_521,
    }
}

fn load(threads: usize, is_packed: bool) -> Result<Shared, Error> {
    // Each takes about half of the time. Where there are no threads, one follows the other.
    let (tokenization, engine) = thread::scope(|scope| {
        let beside = thread::Builder::new().spawn_scoped(scope, tokenization);
        let engine = engine(threads, is_packed);
        let tokenization = match beside {
            Ok(beside) => beside.join().unwrap_or_else(|panic| resume_unwind(panic)),
            Err(_) => tokenization(),
        };
        (tokenization, engine)
    });
    Ok(Shared {
        engine: Arc::new(engine?),
        tokenization: Arc::new(tokenization?),
        pooling: Pooling::Mean,
        steps: Arc::new([]),
        is_alone: false,
        fingerprint: String::new(),
        dim: DIM,
    })
}

fn tokenization() -> Result<Tokenization, Error> {
    let wishes = Use {
        max_tokens: MAX_TOKENS,
        lowercase: false,
        prompt: String::new(),
        known: Some(vocabulary()),
    };
    Tokenization::parse(Path::new(NAME), TOKENIZER, wishes)
}

fn engine(threads: usize, is_packed: bool) -> Result<Engine, Error> {
    let path = Path::new(NAME);
    let config = Config::parse(path, CONFIG)?;
    let weights = Weights::parse(path, WEIGHTS)?;
    let source = bert::graph(path, &config, &weights, Some(WEIGHTS), threads)?;
    Engine::load(path, source, threads, is_packed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Data on disk depends on it: it may change only with the model.
    #[test]
    fn the_files_are_those_that_the_fingerprint_names() {
        let head = |bytes| crate::folder::hex(Sha256::new_with_prefix(bytes))[..12].to_owned();
        assert!(FINGERPRINT.contains(&format!("weights={};", head(WEIGHTS))));
        assert!(FINGERPRINT.contains(&format!("tokenizer={};", head(TOKENIZER))));
    }

    #[test]
    fn the_vocabulary_is_what_it_is_said_to_be() {
        let tokenizer = tokenizers::Tokenizer::from_bytes(TOKENIZER).unwrap();
        assert_eq!(Vocabulary::of(&tokenizer), vocabulary());
    }

    /// Whoever embeds a few texts finds what others have stored.
    #[test]
    fn weights_that_are_not_packed_give_the_same_vectors() {
        let few = Options {
            few_texts: true,
            ..Options::default()
        };
        let few = Model::bundled(few).unwrap();
        let packed = Model::bundled(Options::default()).unwrap();
        let texts: Vec<String> = (1..=126).map(|words| "word ".repeat(words)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let together = packed.encode(&texts).unwrap();
        for (text, expected) in texts.iter().zip(&together) {
            assert_eq!(&few.encode(&[text]).unwrap()[0], expected, "{text}");
        }
        assert_eq!(
            few.encode(&["a question"; 9]).unwrap(),
            packed.encode(&["a question"; 9]).unwrap()
        );
    }

    #[test]
    fn options_are_of_use_or_refused() {
        let cut = Model::bundled(Options {
            dim: Some(64),
            ..Options::default()
        });
        let cut = cut.unwrap();
        let vector = &cut.encode(&["a question"]).unwrap()[0].vector;
        assert_eq!((cut.dim(), vector.len()), (64, 64));
        assert!(cut.fingerprint().ends_with(";dim=64"));
        for (options, name) in [
            (
                Options {
                    dim: Some(385),
                    ..Options::default()
                },
                "dim",
            ),
            (
                Options {
                    dim: Some(0),
                    ..Options::default()
                },
                "dim",
            ),
            (
                Options {
                    threads: Some(0),
                    ..Options::default()
                },
                "threads",
            ),
            (
                Options {
                    max_tokens: Some(9),
                    ..Options::default()
                },
                "max",
            ),
            (
                Options {
                    prompt: Some(String::new()),
                    ..Options::default()
                },
                "prompt",
            ),
            (
                Options {
                    file: Some("x".into()),
                    ..Options::default()
                },
                "file",
            ),
        ] {
            let error = Model::bundled(options).unwrap_err();
            assert!(
                matches!(&error, Error::Option { option, .. } if *option == name),
                "{error}"
            );
        }
    }
}
