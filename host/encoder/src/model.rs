//! [`Model`]: a sentence model that is ready to encode.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::bert::{self, Config};
use crate::dense::Step;
use crate::engine::{Engine, Output, Source};
use crate::error::Error;
use crate::folder::{self, Folder, Wishes};
use crate::operators;
use crate::pooling::{Pooling, unit};
use crate::tokens::{Tokenization, Tokens, Use};
use crate::weights::Weights;

/// Tokens that go through a model at once. More do not make it faster, and take memory.
const MOST_TOKENS: usize = 2_048;

/// Tokens of which a model is tried before anybody relies on it. What it does with more shows when a
/// text has them.
const TRIED_TOKENS: usize = 512;

/// Vectors are not cut to fewer values: too many texts would seem to be the same.
const LEAST_DIM: usize = 16;

/// Two texts whose vectors are nowhere further apart have the same.
const SAME: f32 = 1e-6;

/// How a model is used. The default is what its files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Cuts vectors to their first values, at least 16, for models that were trained to be cut
    /// (Matryoshka).
    pub dim: Option<usize>,
    /// Threads that compute, for all callers together. Default: one a core.
    pub threads: Option<usize>,
    /// Tokens that are read of a text, at most as many as the model has places for, and 32,768.
    pub max_tokens: Option<usize>,
    /// The name of the prompt that is written before each text; empty for none. Default: `query`, if
    /// the model has it, else the model's default.
    pub prompt: Option<String>,
    /// For a few texts: the weights are not packed for the processor. It opens sooner and needs less
    /// memory, and each text takes up to twice as long. Vectors are the same. Default false.
    pub few_texts: bool,
    /// The file of the weights, within the folder, where there are several.
    pub file: Option<String>,
}

/// A text's vector, and what was read of the text.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// [`Model::dim`] values, of length 1 together.
    pub vector: Vec<f32>,
    /// The tokens of the text. Where it is longer than 64 KiB, an estimate from the first 64 KiB.
    pub tokens: usize,
    /// How many of them were read: fewer where the text is longer than the model reads.
    pub tokens_read: usize,
    /// How many of those read the model does not know: they are not in its vocabulary, or of a script
    /// that it has not learned.
    pub tokens_unknown: usize,
}

/// A sentence model. Clones are cheap and share the weights.
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Shared>);

#[derive(Clone)]
pub(crate) struct Shared {
    pub engine: Arc<Engine>,
    pub tokenization: Arc<Tokenization>,
    pub pooling: Pooling,
    pub steps: Arc<[Step]>,
    /// Whether each text goes through the model alone, as a vector would depend on its neighbours.
    pub is_alone: bool,
    pub fingerprint: String,
    pub dim: usize,
}

impl Model {
    /// Opens the model of a folder. It takes as long as reading its files, and a trial. Open no folder of
    /// those whom you do not trust: see [the crate](crate).
    ///
    /// # Errors
    ///
    /// [`Error`], which names the file: it is missing, damaged, no sentence model, asks for something
    /// that is not built here, or the files are not of one model.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let folder = Folder::read(
            dir,
            &Wishes {
                file: options.file.as_deref(),
                prompt: options.prompt.as_deref(),
                max_tokens: options.max_tokens,
            },
        )?;
        let bytes = folder::read(&folder.tokenizer, false)?;
        let tokenizer = folder::hex(Sha256::new_with_prefix(&bytes));
        let wishes = Use {
            max_tokens: folder.max_tokens,
            lowercase: folder.lowercase,
            prompt: folder.prompt.clone(),
            known: None,
        };
        let tokenization = Tokenization::parse(&folder.tokenizer, &bytes, wishes)?;
        let last = tokenization.last_token();
        if folder.vocabulary.is_some_and(|size| last as usize >= size) {
            return Err(Error::invalid(
                &folder.tokenizer,
                format!(
                    "has a token {last}, and config.json a vocabulary of {}; get the files of one model",
                    folder.vocabulary.unwrap_or_default()
                ),
            ));
        }
        let path = &folder.weights;
        let threads = threads(options.threads)?;
        let is_packed = !options.few_texts;
        let is_built = path.extension().is_some_and(|kind| kind == "safetensors");
        let task = folder.task.as_deref();
        let refuse = |task: &str| {
            Err(Error::unsupported(
                &folder.config,
                format!(
                    "is of a {task}, which is no sentence encoder; use a model that was trained to encode sentences"
                ),
            ))
        };
        let mut graph = None;
        let (digest, config, engine) = if is_built {
            if let Some(task) = task {
                return refuse(task);
            }
            let config = Config::parse(&folder.config, &folder::read(&folder.config, false)?)?;
            let bytes = folder::read(path, true)?;
            let weights = Weights::parse(path, &bytes)?;
            let source = bert::graph(path, &config, &weights, None, threads)?;
            let digest = folder::hex(Sha256::new_with_prefix(&bytes));
            drop(bytes);
            let name = config.name();
            let name = name.map_err(|error| Error::invalid(&folder.config, error))?;
            (
                digest,
                name,
                Engine::load(path, source, threads, is_packed)?,
            )
        } else {
            graph = Some(operators::check(path)?);
            let data = graph.iter().flat_map(|graph| &graph.data);
            let digest = folder::digest(path, data)?;
            let engine = Engine::load(path, Source::File(path), threads, is_packed)?;
            if let Some(task) = task
                && !engine.is_named()
            {
                return refuse(task);
            }
            (digest, String::new(), engine)
        };
        let untried = Shared {
            engine: Arc::new(engine),
            tokenization: Arc::new(tokenization),
            pooling: folder.pooling,
            steps: folder.steps.into(),
            is_alone: false,
            fingerprint: String::new(),
            dim: 0,
        };
        // What is built here has the places that it is said to have.
        let wanted = folder.max_tokens.saturating_add(folder.first_position);
        let has_places = graph.is_none_or(|graph| graph.places.is_some_and(|has| has >= wanted));
        let places = match has_places {
            true => 1,
            false => folder.max_tokens.min(TRIED_TOKENS),
        };
        let shared = untried.tried(path, options.dim, last, places)?;
        let steps: Vec<String> = shared.steps.iter().map(Step::name).collect();
        let steps = steps.join(",");
        let all = [
            &digest,
            &config,
            &tokenizer,
            folder.pooling.name(),
            &steps,
            &folder.prompt,
            &folder.lowercase.to_string(),
            &folder.max_tokens.to_string(),
            &shared.dim.to_string(),
        ];
        let all = folder::hex(Sha256::new_with_prefix(all.join("\n")));
        let fingerprint = format!(
            "model;weights={};tokenizer={};all={}",
            &digest[..16],
            &tokenizer[..16],
            &all[..16]
        );
        Ok(Self(Arc::new(Shared {
            fingerprint,
            ..shared
        })))
    }

    /// The bundled English model: `paraphrase-MiniLM-L3-v2` with weights of four bits, 384 values, 128
    /// tokens. Its weights are unpacked here; use clones.
    ///
    /// # Errors
    ///
    /// [`Error::Option`]. [`Options::file`] and [`Options::prompt`] have no use here.
    #[cfg(feature = "bundled")]
    pub fn bundled(options: Options) -> Result<Self, Error> {
        crate::bundled::open(options)
    }

    /// Names the weights, the tokenizer and how they are used, by their content. Vectors are comparable
    /// only where it is equal.
    pub fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    /// The number of threads that compute.
    pub fn threads(&self) -> usize {
        self.0.engine.threads()
    }

    /// The number of values of each vector.
    pub fn dim(&self) -> usize {
        self.0.dim
    }

    /// Vectors of texts, in their order. Of each text at most 64 KiB are read.
    ///
    /// # Errors
    ///
    /// [`Error::Blank`]; [`Error::Engine`] if the model gives no finite vector.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Encoded>, Error> {
        self.0.encode(texts)
    }
}

impl Shared {
    /// Makes sure that a model does what it should before anybody relies on it.
    fn tried(
        mut self,
        path: &Path,
        dim: Option<usize>,
        last: u32,
        places: usize,
    ) -> Result<Self, Error> {
        let refuse = |error: &dyn std::fmt::Display, what: &str| {
            Error::invalid(
                path,
                format!("{what}: {error}; get the files of one sentence model"),
            )
        };
        let engine = Arc::clone(&self.engine);
        let run = |ids: &[i32], texts: usize, what: &str| {
            engine.run(ids, texts).map_err(|error| match error {
                Error::Engine(error) => refuse(&error, what),
                other => other,
            })
        };
        let tokens = self.tokenization.tokens("a trial")?;
        if tokens.read == 0 {
            return Err(Error::Option {
                option: "prompt",
                message: format!(
                    "it fills the {} tokens that the model reads, and leaves none for a text; choose another, or prompt= for none",
                    self.tokenization.max_tokens()
                ),
            });
        }
        let output = run(&tokens.ids, 1, "gives no vectors")?;
        let whole = self
            .steps
            .iter()
            .try_fold(output.dim, |dim, step| step.values(dim))?;
        self.dim = dim_of(dim, whole, "this model")?;
        if output.rows != 1 && output.rows != tokens.ids.len() {
            return Err(refuse(
                &format!("{} for {} tokens", output.rows, tokens.ids.len()),
                "gives another number of vectors",
            ));
        }
        let last = i32::try_from(last).map_err(|error| refuse(&error, "has a token too many"))?;
        let other = vec![last; tokens.ids.len()];
        let neighbour = run(&other, 1, "does not know all tokens of the tokenizer")?;
        // A model that rounds to whole numbers may do so by the greatest value of all texts.
        let both = [tokens.ids, other].concat();
        let together = run(&both, 2, "takes one text and not two")?;
        let alone = output.values.iter().chain(&neighbour.values);
        let alone = alone.map(|value| value.to_bits());
        self.is_alone = !alone.eq(together.values.iter().map(|value| value.to_bits()));
        if places > 1 {
            run(
                &vec![last; places],
                1,
                &format!(
                    "does not take {places} tokens, and its files promise {}",
                    self.tokenization.max_tokens()
                ),
            )?;
        }
        let encoded = self.encode(&["a trial", "how do I reset my password?"]);
        let encoded = encoded.map_err(|error| match error {
            Error::Engine(error) => refuse(&error, "is of no use"),
            other => other,
        })?;
        let [one, two] = [0, 1].map(|at| encoded[at].vector.iter());
        if one.zip(two).all(|(a, b)| (a - b).abs() <= SAME) {
            return Err(refuse(
                &"two different texts have the same vector",
                "encodes nothing",
            ));
        }
        Ok(self)
    }

    fn encode(&self, texts: &[&str]) -> Result<Vec<Encoded>, Error> {
        if let Some(at) = texts.iter().position(|text| text.trim().is_empty()) {
            return Err(Error::Blank {
                at: at + 1,
                of: texts.len(),
            });
        }
        let tokens = texts.iter().map(|text| self.tokenization.tokens(text));
        let tokens: Vec<Tokens> = tokens.collect::<Result<_, _>>()?;
        // Texts of equal length go together, so that nothing is padded: padding costs time, and
        // would make the bits of a vector depend on its neighbours.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&at| tokens[at].ids.len());
        let mut encoded: Vec<Option<Encoded>> = Vec::new();
        encoded.resize_with(texts.len(), || None);
        for group in order.chunk_by(|&a, &b| tokens[a].ids.len() == tokens[b].ids.len()) {
            let length = tokens[group[0]].ids.len();
            let most = match self.is_alone {
                true => 1,
                false => (MOST_TOKENS / length).max(1),
            };
            for part in group.chunks(most) {
                let ids: Vec<i32> = part
                    .iter()
                    .flat_map(|&at| &tokens[at].ids)
                    .copied()
                    .collect();
                let output = self.engine.run(&ids, part.len())?;
                let each = output.values.chunks_exact(output.rows * output.dim);
                for (&at, values) in part.iter().zip(each) {
                    let vector = self.vector(values, &output).ok_or_else(|| {
                        Error::Engine(
                            "it gives a vector that is not finite, or all zero".to_owned(),
                        )
                    })?;
                    encoded[at] = Some(Encoded {
                        vector,
                        tokens: tokens[at].all,
                        tokens_read: tokens[at].read,
                        tokens_unknown: tokens[at].unknown,
                    });
                }
            }
        }
        Ok(encoded.into_iter().flatten().collect())
    }

    /// The vector of a text, from those of its tokens. None if it is not finite, or all zero.
    fn vector(&self, tokens: &[f32], output: &Output) -> Option<Vec<f32>> {
        let mut vector = self.pooling.pool(tokens, output.dim);
        if !self.steps.is_empty() {
            let divisor = self.pooling.divisor(output.rows);
            for value in &mut vector {
                *value /= divisor;
            }
        }
        for step in &*self.steps {
            vector = step.apply(vector)?;
        }
        unit(vector, self.dim)
    }
}

/// The values of a vector that has `whole`, if so many are asked for.
pub(crate) fn dim_of(asked: Option<usize>, whole: usize, model: &str) -> Result<usize, Error> {
    let least = whole.min(LEAST_DIM);
    match asked {
        None => Ok(whole),
        Some(dim) if (least..=whole).contains(&dim) => Ok(dim),
        Some(_) => Err(Error::Option {
            option: "dim",
            message: format!("vectors of {model} have {whole} values; ask for {least} to {whole}"),
        }),
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model")
            .field("fingerprint", &self.0.fingerprint)
            .field("dim", &self.0.dim)
            .finish_non_exhaustive()
    }
}

/// The number of threads that a model computes on: as many as are asked for, or one a core.
///
/// # Errors
///
/// [`Error::Option`] if it is not 1 to 256.
pub fn threads(asked: Option<usize>) -> Result<usize, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match asked {
        None => Ok(cores),
        Some(threads @ 1..=256) => Ok(threads),
        Some(threads) => Err(Error::Option {
            option: "threads",
            message: format!("{threads} is not a number of threads; ask for 1 to 256"),
        }),
    }
}
