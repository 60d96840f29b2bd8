//! `--embedder SPEC`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mneme::embedder::{Embedder, Guarded, MAX_DIM, MiniLm, Model, ModelOptions, Precomputed};

use crate::output::Output;

/// The embedder that a specification names.
#[derive(Clone, PartialEq, Eq)]
pub enum EmbedderSpec {
    /// `minilm[:threads=N]`
    MiniLm { threads: Option<usize> },
    /// `model:DIR[,OPTION=VALUE...]`
    Model { dir: PathBuf, options: ModelOptions },
    /// `openai:BASE_URL,MODEL[,DIM[,MAX_TOKENS]]`
    OpenAi {
        /// May hold a password.
        base_url: String,
        model: String,
        dim: Option<u32>,
        max_tokens: Option<u32>,
    },
    /// `vectors:FINGERPRINT,DIM`
    Vectors { fingerprint: String, dim: u32 },
}

/// What a command embeds, for an encoder that is part of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// A text, if the exact layer does not answer: nothing is loaded before.
    Perhaps,
    /// A few: the encoder is loaded beside the opening of the cache, in the form that is there first.
    Few,
    /// Many: the form that is quickest for each is worth its time.
    Many,
}

const KNOWN: &str = "minilm, model:DIR[,OPTION=VALUE...], openai:BASE_URL,MODEL[,DIM[,MAX_TOKENS]], vectors:FINGERPRINT,DIM";

impl EmbedderSpec {
    /// The embedder of the option, else of $MNEME_EMBEDDER, else `minilm`.
    pub fn choose(option: Option<&str>) -> Result<Self> {
        match option {
            Some(spec) => Self::parse(spec),
            None => match std::env::var("MNEME_EMBEDDER") {
                Ok(spec) if !spec.is_empty() => Self::parse(&spec),
                _ => Ok(Self::MiniLm { threads: None }),
            },
        }
    }

    /// Reads a specification.
    pub fn parse(spec: &str) -> Result<Self> {
        let (kind, rest) = spec.split_once(':').unwrap_or((spec, ""));
        match kind {
            "minilm" => match options(rest)? {
                ("", options) if options == threads_only(&options) => Ok(Self::MiniLm {
                    threads: options.threads,
                }),
                _ => bail!("--embedder: minilm has one option; write minilm, or minilm:threads=N"),
            },
            "model" => match options(rest)? {
                ("", _) => bail!(
                    "--embedder: model needs a folder; write model:DIR, such as model:models/all-MiniLM-L6-v2"
                ),
                (dir, options) => Ok(Self::Model {
                    dir: dir.into(),
                    options,
                }),
            },
            "openai" => {
                let mut parts = rest.split(',').map(str::trim);
                let (base_url, model) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
                // An empty part is one that was left out.
                let mut given = || {
                    parts
                        .next()
                        .map(|part| Some(part).filter(|p| !p.is_empty()))
                };
                let (dim, max_tokens) = (given().flatten(), given().flatten());
                if base_url.is_empty() || model.is_empty() || parts.next().is_some() {
                    bail!(
                        "--embedder: openai needs a base URL and a model; write openai:BASE_URL,MODEL[,DIM[,MAX_TOKENS]], such as openai:http://localhost:11434/v1,nomic-embed-text"
                    );
                }
                Ok(Self::OpenAi {
                    base_url: base_url.into(),
                    model: model.into(),
                    dim: dim.map(parse_dim).transpose()?,
                    max_tokens: max_tokens.map(parse_max_tokens).transpose()?,
                })
            }
            "vectors" => match rest.rsplit_once(',') {
                Some((fingerprint, dim)) if !fingerprint.is_empty() => Ok(Self::Vectors {
                    fingerprint: fingerprint.into(),
                    dim: parse_dim(dim)?,
                }),
                _ => bail!(
                    "--embedder: vectors needs the model's name and the length of its vectors; write vectors:FINGERPRINT,DIM, such as vectors:my-model-v1,768"
                ),
            },
            _ => bail!("--embedder: {kind:?} is not known; known are {KNOWN}"),
        }
    }

    /// Says so if it may read only the beginning of a text without a word.
    pub fn warn_of_cuts(&self, out: Output) {
        if let Self::OpenAi {
            max_tokens: None, ..
        } = self
        {
            out.warn("the embedder's server may cut long questions without a word, and those that begin alike then seem to be the same; say how many tokens its model reads: --embedder openai:BASE_URL,MODEL,DIM,MAX_TOKENS");
        }
    }

    /// The embedder, for commands that embed without a cache.
    pub fn guarded(&self, timeout: Duration, texts: Texts) -> Result<Guarded> {
        Ok(Guarded::new(self.embedder(timeout, texts)?).timeout(guard(timeout)))
    }

    /// The embedder; `openai` without a dimension asks the server for it. No call of a server takes
    /// longer than `timeout`; who calls it waits for [`guard`].
    pub fn embedder(&self, timeout: Duration, texts: Texts) -> Result<Box<dyn Embedder>> {
        match self {
            Self::MiniLm { threads } => {
                let mut encoder = threads.map_or_else(MiniLm::new, MiniLm::with_threads);
                if texts != Texts::Many {
                    encoder = encoder.few_texts();
                }
                if texts != Texts::Perhaps {
                    encoder.load_ahead();
                }
                Ok(Box::new(encoder))
            }
            Self::Model { dir, options } => {
                let mut options = options.clone();
                options.few_texts = texts != Texts::Many;
                Ok(Box::new(Model::with(dir, options)?))
            }
            Self::OpenAi {
                base_url,
                model,
                dim,
                max_tokens,
            } => {
                let mut builder =
                    mneme::embedder::OpenAi::builder(base_url, model).timeout(timeout);
                if let Ok(key) = std::env::var("OPENAI_API_KEY") {
                    builder = builder.api_key(key);
                }
                if let Some(dim) = *dim {
                    builder = builder.dim(dim);
                }
                if let Some(tokens) = *max_tokens {
                    builder = builder.max_tokens(tokens);
                }
                Ok(Box::new(builder.connect()?))
            }
            Self::Vectors { fingerprint, dim } => Ok(Box::new(Precomputed::new(fingerprint, *dim))),
        }
    }
}

/// How long to wait for an embedder whose calls take at most `timeout`: a little longer, since what
/// it says of a timeout is more precise than what its caller could say.
pub fn guard(timeout: Duration) -> Duration {
    timeout + timeout / 20
}

/// Options of `model`.
const OPTIONS: [&str; 5] = ["dim", "threads", "max", "prompt", "file"];

/// Takes the options off the end of a text. What is before them may have commas, as names of folders
/// do.
fn options(text: &str) -> Result<(&str, ModelOptions)> {
    let mut options = ModelOptions::default();
    let mut given = Vec::new();
    let mut rest = text;
    loop {
        let (before, last) = match rest.rsplit_once(',') {
            Some((before, last)) => (before, last),
            None => ("", rest),
        };
        let Some((name, value)) = last.split_once('=') else {
            return Ok((rest, options));
        };
        let name = name.trim();
        let number = || {
            let number = value.parse::<usize>().ok().filter(|number| *number > 0);
            number.map(Some).with_context(|| {
                format!("--embedder: {name} is {value:?}; a number from 1 on is needed")
            })
        };
        match name {
            "dim" => options.dim = number()?,
            "threads" => options.threads = number()?,
            "max" => options.max_tokens = number()?,
            "prompt" => options.prompt = Some(value.to_owned()),
            "file" => options.file = Some(value.to_owned()),
            // A folder may have commas and equals signs in its name.
            _ if before.is_empty() || Path::new(rest).is_dir() => return Ok((rest, options)),
            _ => bail!(
                "--embedder: {name:?} is no option of a model, and there is no folder {rest:?}; options are {}",
                OPTIONS.join(", ")
            ),
        }
        if given.contains(&name) {
            bail!("--embedder: {name} is given twice; give it once");
        }
        given.push(name);
        rest = before;
    }
}

/// Of options, the number of threads.
fn threads_only(options: &ModelOptions) -> ModelOptions {
    let mut only = ModelOptions::default();
    only.threads = options.threads;
    only
}

fn parse_dim(text: &str) -> Result<u32> {
    let dim = text
        .trim()
        .parse()
        .ok()
        .filter(|dim| (1..=MAX_DIM).contains(dim));
    dim.with_context(|| {
        format!("--embedder: DIM is {text:?}; a number from 1 to {MAX_DIM} is needed")
    })
}

fn parse_max_tokens(text: &str) -> Result<u32> {
    let tokens = text.parse().ok().filter(|&tokens| tokens > 0);
    tokens.with_context(|| {
        format!("--embedder: MAX_TOKENS is {text:?}; the number of tokens that the model reads is needed")
    })
}

impl fmt::Debug for EmbedderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MiniLm { .. } => "minilm",
            Self::Model { .. } => "model",
            Self::OpenAi { .. } => "openai",
            Self::Vectors { .. } => "vectors",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_have_commas_and_equals_signs() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a,b=c");
        std::fs::create_dir(&dir).unwrap();
        let mut options = ModelOptions::default();
        options.dim = Some(64);
        let spec = format!("model:{},dim=64", dir.display());
        let expected = EmbedderSpec::Model { dir, options };
        assert_eq!(EmbedderSpec::parse(&spec).unwrap(), expected);
    }

    #[test]
    fn specifications() {
        let openai = |base_url: &str, model: &str, dim, max_tokens| EmbedderSpec::OpenAi {
            base_url: base_url.into(),
            model: model.into(),
            dim,
            max_tokens,
        };
        let vectors = |fingerprint: &str, dim| EmbedderSpec::Vectors {
            fingerprint: fingerprint.into(),
            dim,
        };
        let model = |dir: &str, set: fn(&mut ModelOptions)| {
            let mut options = ModelOptions::default();
            set(&mut options);
            EmbedderSpec::Model {
                dir: dir.into(),
                options,
            }
        };
        let good = [
            ("minilm", EmbedderSpec::MiniLm { threads: None }),
            (
                "minilm:threads=2",
                EmbedderSpec::MiniLm { threads: Some(2) },
            ),
            ("model:some/dir", model("some/dir", |_| {})),
            ("model:a=b", model("a=b", |_| {})),
            (
                "model:a,b,dim=256,threads=2,max=64,prompt=query,file=onnx/m.onnx",
                model("a,b", |options| {
                    options.dim = Some(256);
                    options.threads = Some(2);
                    options.max_tokens = Some(64);
                    options.prompt = Some("query".into());
                    options.file = Some("onnx/m.onnx".into());
                }),
            ),
            (
                "openai:http://h:1/v1,m:latest",
                openai("http://h:1/v1", "m:latest", None, None),
            ),
            (
                "openai:https://h/v1,m,768",
                openai("https://h/v1", "m", Some(768), None),
            ),
            (
                "openai:https://h/v1,m,768,512",
                openai("https://h/v1", "m", Some(768), Some(512)),
            ),
            (
                "openai:https://h/v1,m,,512",
                openai("https://h/v1", "m", None, Some(512)),
            ),
            ("vectors:a,b:c,3", vectors("a,b:c", 3)),
        ];
        for (spec, expected) in good {
            assert_eq!(EmbedderSpec::parse(spec).unwrap(), expected, "{spec}");
        }
        let bad = [
            ("", "known are minilm, model"),
            ("bert", "known are minilm, model"),
            ("minilm:6", "minilm:threads=N"),
            ("minilm:dim=6", "minilm:threads=N"),
            ("model:", "model:DIR"),
            ("model:dim=3", "model:DIR"),
            ("model:a,dim=0", "dim is \"0\""),
            ("model:a,threads=x", "threads is \"x\""),
            ("model:a,dim=3,dim=4", "dim is given twice"),
            (
                "model:a,foo=1,dim=3",
                "\"foo\" is no option of a model, and there is no folder \"a,foo=1\"; options are dim, threads, max, prompt, file",
            ),
            ("openai:", "openai:BASE_URL,MODEL"),
            ("openai:http://u:secret@h", "openai:BASE_URL,MODEL"),
            ("openai:http://h,m,0", "1 to 8192"),
            ("openai:http://h,m,3,0", "MAX_TOKENS is \"0\""),
            ("openai:http://h,m,3,4,5", "openai:BASE_URL,MODEL"),
            ("vectors:3", "vectors:FINGERPRINT,DIM"),
            ("vectors:a,9000", "1 to 8192"),
        ];
        for (spec, expected) in bad {
            let message = EmbedderSpec::parse(spec).unwrap_err().to_string();
            assert!(
                message.contains(expected) && !message.contains("secret"),
                "{message}"
            );
        }
    }
}
