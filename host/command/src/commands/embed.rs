//! `embed`

use std::io;

use anyhow::{Context, Result, bail};
use comfy_table::CellAlignment;
use mneme::embedder::Embedding;
use npyz::WriterBuilder;
use serde_json::{Value, json};

use crate::args::{Embed, Global};
use crate::embedder_spec::{EmbedderSpec, Texts};
use crate::json_lines::Lines;
use crate::output::{self, Output};
use crate::target::Target;

/// Texts a request to the embedder.
const BATCH: usize = 256;

/// Texts for which the encoder's weights are not packed: that takes the time of about ten.
const FEW: usize = 10;

/// The values of a vector that are shown to people.
const SHOWN: usize = 4;

/// The characters of a text that are shown to people.
const SHOWN_TEXT: usize = 60;

/// `embed`
pub fn embed(global: &Global, out: Output, args: &Embed) -> Result<u8> {
    let target = Target::optional("embed", args.npy.as_ref(), global)?;
    let texts = texts(&args.texts)?;
    let spec = EmbedderSpec::choose(global.embedder.as_deref())?;
    let count = match texts.len() {
        ..=FEW => Texts::Few,
        _ => Texts::Many,
    };
    let embedder = spec.guarded(global.embed_timeout(), count)?;
    let mut embeddings = Vec::with_capacity(texts.len());
    for batch in texts.chunks(BATCH) {
        embeddings.extend(embedder.read(batch.to_vec())?);
    }
    if let Some(target) = target {
        target.write(npy(embedder.dim(), &embeddings)?)?;
    }
    let with_vectors = args.npy.is_none();
    out.result(
        || {
            let texts = texts.iter().zip(&embeddings);
            json!({
                "fingerprint": embedder.fingerprint(),
                "dim": embedder.dim(),
                "texts": texts.map(|(text, each)| described(text, each, with_vectors)).collect::<Vec<_>>(),
            })
        },
        || table(&texts, &embeddings),
    )?;
    Ok(0)
}

/// The texts of the command line; `-` stands for the lines of standard input.
fn texts(args: &[String]) -> Result<Vec<String>> {
    let mut texts = Vec::with_capacity(args.len());
    for arg in args {
        match arg.as_str() {
            "-" => {
                let mut lines = Lines::of(io::stdin());
                while let Some(line) = lines.next().context("embed: standard input")? {
                    texts.push(line.text().context("embed: standard input")?.to_owned());
                }
            }
            text => texts.push(text.to_owned()),
        }
    }
    match texts.iter().position(|text| text.trim().is_empty()) {
        Some(at) => bail!(
            "embed: text {} of {} is blank and has no meaning to embed; leave it out",
            at + 1,
            texts.len()
        ),
        None => Ok(texts),
    }
}

/// The beginning of a long text.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_TEXT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn described(text: &str, embedding: &Embedding, with_vector: bool) -> Value {
    let mut value = json!({"text": text});
    if let Some(reading) = embedding.reading {
        value["tokens"] = reading.tokens.into();
        value["tokens_read"] = reading.tokens_read.into();
        value["tokens_unknown"] = reading.tokens_unknown.into();
    }
    if with_vector {
        let vector = embedding.vector.iter();
        value["vector"] = vector.map(|value| output::number(*value)).collect();
    }
    value
}

fn table(texts: &[String], embeddings: &[Embedding]) -> String {
    let mut table = output::table(&["text", "tokens", "read", "unknown", "vector"]);
    if let Some(vector) = table.column_mut(4) {
        vector.set_cell_alignment(CellAlignment::Left);
    }
    for (text, embedding) in texts.iter().zip(embeddings) {
        let count = |of: fn(mneme::embedder::Reading) -> u32| {
            embedding
                .reading
                .map_or("-".to_owned(), |reading| of(reading).to_string())
        };
        let first = embedding.vector.iter().take(SHOWN);
        let mut vector: Vec<String> = first.map(|value| format!("{value:.4}")).collect();
        if embedding.vector.len() > SHOWN {
            vector.push("...".to_owned());
        }
        table.add_row([
            shown(text),
            count(|reading| reading.tokens),
            count(|reading| reading.tokens_read),
            count(|reading| reading.tokens_unknown),
            vector.join(" "),
        ]);
    }
    table.to_string()
}

/// Vectors as an array of NumPy: float32, a row a text.
fn npy(dim: u32, embeddings: &[Embedding]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::<f32>::new()
        .default_dtype()
        .shape(&[embeddings.len() as u64, dim.into()])
        .writer(&mut bytes)
        .begin_nd()?;
    for embedding in embeddings {
        writer.extend(embedding.vector.iter().copied())?;
    }
    writer.finish()?;
    Ok(bytes)
}
