//! Finding a model in a folder, and how it is meant to be used.

mod modules;

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Take};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::dense::Step;
use crate::error::Error;
use crate::pooling::Pooling;
use modules::Modules;

/// No file of weights may be larger: it is read into memory.
const MAX_WEIGHTS: u64 = 4 << 30;
/// The same of every other file.
const MAX_FILE: u64 = 64 << 20;
/// Tokens that a model reads if none of its files tells.
const USUAL_TOKENS: usize = 512;
/// No model reads more: what it needs grows with their square.
const MAX_TOKENS: usize = 32_768;

/// Where the weights may be, best first.
const WEIGHTS: [&str; 3] = ["onnx/model.onnx", "model.onnx", "model.safetensors"];
/// Names that weights have where they are written as Python objects.
const PICKLED: [&str; 4] = ["bin", "pt", "pth", "pkl"];

const PICKLED_REASON: &str = "is made of pickled Python objects, which run code when they are read; export the model to ONNX or safetensors";

/// The files of a model, and what they say.
#[derive(Debug)]
pub(crate) struct Folder {
    pub weights: PathBuf,
    pub tokenizer: PathBuf,
    pub config: PathBuf,
    pub pooling: Pooling,
    /// What comes after the pooling.
    pub steps: Vec<Step>,
    pub max_tokens: usize,
    /// The position of the first token.
    pub first_position: usize,
    pub lowercase: bool,
    /// What is written before a question.
    pub prompt: String,
    /// Words of the vocabulary of the model, if it tells.
    pub vocabulary: Option<usize>,
    /// What the model was made for, if that is not to encode.
    pub task: Option<String>,
}

/// What the caller asks for.
#[derive(Debug, Default)]
pub(crate) struct Wishes<'a> {
    pub file: Option<&'a str>,
    pub prompt: Option<&'a str>,
    pub max_tokens: Option<usize>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Sentences {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Prompts {
    prompts: std::collections::BTreeMap<String, String>,
    default_prompt_name: Option<String>,
}

/// What is read of any `config.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Sizes {
    model_type: Option<String>,
    max_position_embeddings: Option<usize>,
    pad_token_id: Option<usize>,
    vocab_size: Option<usize>,
    architectures: Option<Vec<String>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TokenizerConfig {
    model_max_length: Option<f64>,
}

impl Folder {
    /// Looks through a folder.
    pub fn read(dir: &Path, wishes: &Wishes<'_>) -> Result<Self, Error> {
        if !dir.is_dir() {
            return Err(Error::missing(
                dir,
                "is no folder; name the folder that holds the model and its tokenizer.json",
            ));
        }
        let tokenizer = dir.join("tokenizer.json");
        if !tokenizer.is_file() {
            return Err(Error::missing(
                &tokenizer,
                "is missing; it comes with the model, or is written by save_pretrained of a fast tokenizer",
            ));
        }
        let weights = weights(dir, wishes.file)?;
        let config = dir.join("config.json");
        let sizes: Sizes = optional(&config)?.unwrap_or_default();
        let sentences: Sentences =
            optional(&dir.join("sentence_bert_config.json"))?.unwrap_or_default();
        let limits: TokenizerConfig =
            optional(&dir.join("tokenizer_config.json"))?.unwrap_or_default();
        let prompts: Prompts =
            optional(&dir.join("config_sentence_transformers.json"))?.unwrap_or_default();
        let prompt = prompt(dir, prompts, wishes.prompt)?;
        let modules = Modules::read(dir, !prompt.is_empty())?;
        // Where modules make an encoder of it, it does not matter what it was before.
        let mut architectures = sizes.architectures.into_iter().flatten();
        let task = architectures.find(|name| !modules.are_told && has_a_task(name));

        // RoBERTa counts places from behind the padding, and its kin do the same.
        let first = match sizes.model_type.as_deref() {
            Some("roberta" | "xlm-roberta" | "camembert" | "mpnet") => {
                sizes.pad_token_id.unwrap_or(1).saturating_add(1)
            }
            _ => 0,
        };
        let places = sizes
            .max_position_embeddings
            .map(|places| places.saturating_sub(first));
        // Some tokenizers say 10^30 where they have no limit.
        let tokens = limits.model_max_length.filter(|length| *length < 1e6);
        let most = [
            sentences.max_seq_length,
            tokens.map(|length| length as usize),
        ];
        let most = most.into_iter().flatten().min();
        let max_tokens = wishes.max_tokens.or(most);
        let max_tokens = match (max_tokens, places) {
            (Some(tokens), Some(places)) if tokens > places && wishes.max_tokens.is_some() => {
                return Err(Error::Option {
                    option: "max",
                    message: format!(
                        "the model has places for {places} tokens; ask for at most as many"
                    ),
                });
            }
            (Some(tokens), Some(places)) => tokens.min(places),
            (tokens, places) => tokens
                .or(places.map(|places| places.min(USUAL_TOKENS)))
                .unwrap_or(USUAL_TOKENS),
        };
        if max_tokens > MAX_TOKENS {
            return Err(Error::Option {
                option: "max",
                message: format!(
                    "{max_tokens} tokens of a text would be read, and {MAX_TOKENS} are possible; ask for fewer"
                ),
            });
        }
        Ok(Self {
            weights,
            tokenizer,
            config,
            pooling: modules.pooling,
            steps: modules.steps,
            max_tokens,
            first_position: first,
            lowercase: sentences.do_lower_case,
            prompt,
            vocabulary: sizes.vocab_size,
            task,
        })
    }
}

/// Reads a file of the folder, whose size has a limit.
pub(crate) fn read(path: &Path, is_weights: bool) -> Result<Vec<u8>, Error> {
    let mut opened = Opened::new(path, is_weights)?;
    let mut bytes = Vec::with_capacity(opened.length as usize);
    let read = opened.file.read_to_end(&mut bytes);
    read.map_err(|error| unread(path, &error))?;
    opened.check(bytes.len() as u64)?;
    Ok(bytes)
}

/// Opens a file of weights.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    Opened::new(path, true).map(|opened| opened.file.into_inner())
}

/// A regular file, of which no more is read than its limit and one byte.
struct Opened<'a> {
    path: &'a Path,
    file: Take<File>,
    /// What it says to have.
    length: u64,
    most: u64,
}

impl<'a> Opened<'a> {
    /// Opens nothing else: a pipe would never open or end.
    fn new(path: &'a Path, is_weights: bool) -> Result<Self, Error> {
        let failed = |error: io::Error| unread(path, &error);
        let there = fs::metadata(path).map_err(failed)?;
        if !there.is_file() {
            return Err(Error::unsupported(
                path,
                "is a folder, a pipe or a device, where a model has a file; get it again",
            ));
        }
        let most = if is_weights { MAX_WEIGHTS } else { MAX_FILE };
        let opened = Self {
            path,
            file: File::open(path).map_err(failed)?.take(most + 1),
            length: there.len(),
            most,
        };
        opened.check(opened.length)?;
        Ok(opened)
    }

    /// Fails where it has more bytes than are read.
    fn check(&self, length: u64) -> Result<(), Error> {
        if length <= self.most {
            return Ok(());
        }
        Err(Error::unsupported(
            self.path,
            format!(
                "has more than {} bytes, and no more are read; use a smaller model",
                self.most
            ),
        ))
    }
}

fn unread(path: &Path, error: &io::Error) -> Error {
    Error::missing(path, format!("cannot be read: {error}"))
}

/// Reads a JSON file if it is there.
fn optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read(path, false)?;
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|error| {
        Error::invalid(
            path,
            format!("is not what a model has there: {error}; get it again"),
        )
    })
}

fn weights(dir: &Path, file: Option<&str>) -> Result<PathBuf, Error> {
    if let Some(file) = file {
        let path = dir.join(file);
        if !is_inside(file) || !path.is_file() {
            return Err(Error::missing(
                &path,
                "is no file of the folder; name one that is",
            ));
        }
        let is_pickled = |kind: &std::ffi::OsStr| PICKLED.iter().any(|known| kind == *known);
        if path.extension().is_some_and(is_pickled) {
            return Err(Error::unsupported(&path, PICKLED_REASON));
        }
        return Ok(path);
    }
    if let Some(found) = WEIGHTS
        .iter()
        .map(|name| dir.join(name))
        .find(|path| path.is_file())
    {
        return Ok(found);
    }
    let with = |extension: &str| -> Vec<PathBuf> {
        let folders = [dir.to_owned(), dir.join("onnx")];
        let entries = folders
            .iter()
            .filter_map(|folder| fs::read_dir(folder).ok())
            .flatten();
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|known| known == extension))
            .collect();
        paths.sort();
        paths
    };
    let names = |paths: &[PathBuf]| -> String {
        let names = paths.iter().filter_map(|path| path.strip_prefix(dir).ok());
        names
            .map(|name| name.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = with("onnx");
    if let [only] = &found[..] {
        return Ok(only.clone());
    }
    if !found.is_empty() {
        return Err(Error::Option {
            option: "file",
            message: format!("which model is meant? There are {}", names(&found)),
        });
    }
    let pickled: Vec<PathBuf> = PICKLED
        .iter()
        .flat_map(|extension| with(extension))
        .collect();
    if !pickled.is_empty() {
        let names = names(&pickled);
        return Err(Error::unsupported(
            dir,
            format!("has its weights in {names}, which {PICKLED_REASON}"),
        ));
    }
    Err(Error::missing(
        dir,
        "has no weights; they are in onnx/model.onnx, model.onnx or model.safetensors",
    ))
}

fn prompt(dir: &Path, prompts: Prompts, wish: Option<&str>) -> Result<String, Error> {
    let known = |name: &str| prompts.prompts.get(name).cloned();
    match wish {
        // The cache compares questions with questions.
        None => Ok(known("query")
            .or_else(|| prompts.default_prompt_name.as_deref().and_then(known))
            .unwrap_or_default()),
        Some("") => Ok(String::new()),
        Some(name) => known(name).ok_or_else(|| {
            let names: Vec<&str> = prompts.prompts.keys().map(String::as_str).collect();
            Error::Option {
                option: "prompt",
                message: format!(
                    "{}: no prompt is called {name:?}; its prompts are [{}]",
                    dir.join("config_sentence_transformers.json").display(),
                    names.join(", ")
                ),
            }
        }),
    }
}

/// Whether a model of this name has another task than to encode.
fn has_a_task(architecture: &str) -> bool {
    const TASKS: [&str; 6] = [
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForQuestionAnswering",
        "ForMultipleChoice",
        "ForMaskedLM",
        "ForCausalLM",
    ];
    TASKS.iter().any(|task| architecture.ends_with(task))
}

/// Whether a path that a file names stays in the folder.
fn is_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// A part of the folder that a file names.
fn inside(dir: &Path, named_in: &Path, path: &str) -> Result<PathBuf, Error> {
    match is_inside(path) {
        true => Ok(dir.join(path)),
        false => Err(Error::invalid(
            named_in,
            format!("names {path:?}, which is not in the folder; get it again"),
        )),
    }
}

/// The SHA-256 of the weights: of the file, and of the data beside it that it names. What is not beside
/// it, the engine refuses.
pub(crate) fn digest<'a>(
    path: &Path,
    data: impl IntoIterator<Item = &'a String>,
) -> Result<String, Error> {
    let mut paths = vec![path.to_owned()];
    let beside = data.into_iter().filter(|name| is_inside(name));
    paths.extend(beside.map(|name| path.with_file_name(name)));
    let mut hash = Sha256::new();
    for path in &paths {
        let mut opened = Opened::new(path, true)?;
        if paths.len() > 1 {
            hash.update(opened.length.to_le_bytes());
        }
        let mut read = 0;
        let mut reader = io::BufReader::with_capacity(1 << 20, opened.file.by_ref());
        loop {
            let bytes = reader.fill_buf().map_err(|error| unread(path, &error))?;
            if bytes.is_empty() {
                break;
            }
            hash.update(bytes);
            let length = bytes.len();
            reader.consume(length);
            read += length as u64;
        }
        opened.check(read)?;
    }
    Ok(hex(hash))
}

/// A digest in hexadecimal digits.
pub(crate) fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
