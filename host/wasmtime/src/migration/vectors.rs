//! New vectors for entries.

use super::Migration;
use crate::component::Functions;
use crate::embedder::Outcome;
use crate::embedder::{EmbedError, Embedding, Guarded};
use crate::error::{Error, Result};
use crate::store::Entry;

/// Entries that are read at a time, and texts that are embedded in one call.
pub(super) const PAGE: usize = 64;

/// How far from 1 the length of a vector may be for it to be taken as it is; as a put has it.
const UNIT_TOLERANCE: f64 = 1e-6;

/// Whether an entry has no vector: all its values are zero.
pub(super) fn is_exact_only(entry: &Entry) -> bool {
    entry.embedding.iter().all(|&x| x == 0.0)
}

/// Gives entries the vectors of their queries, by calls of up to [`PAGE`] texts at the same time.
/// Those that the embedder cannot read become entries of the exact layer, and those of the exact
/// layer stay so, unless the migration is told otherwise.
pub(super) fn embed(
    embedder: &Guarded,
    functions: &mut Functions,
    entries: &mut [Entry],
    migration: &Migration<'_>,
) -> Result<()> {
    let mut texts = Vec::with_capacity(entries.len());
    let mut semantic = Vec::with_capacity(entries.len());
    for entry in entries {
        // Before anything else, so that damage is found in each entry.
        let text = text_of(entry, functions)?;
        let is_exact_only = is_exact_only(entry);
        // Vectors of the two embedders may differ in length.
        entry.embedding = vec![0.0; embedder.dim() as usize];
        // A cache asks for no embedding of a blank text either.
        if !text.trim().is_empty() && (!is_exact_only || migration.embed_exact_only) {
            texts.push(text);
            semantic.push(entry);
        }
    }
    let mut semantic = semantic.into_iter();
    let outcomes = embedder.embed_all(texts.chunks(PAGE));
    for (batch, outcome) in texts.chunks(PAGE).zip(outcomes) {
        let embeddings = one_by_one(embedder, batch, outcome).map_err(Error::Embedder)?;
        // The entries come second: where `zip` ends, it has taken one more of what comes first.
        for (embedding, entry) in embeddings.into_iter().zip(semantic.by_ref()) {
            let Some(mut embedding) = embedding else {
                continue;
            };
            scale_to_unit(&mut embedding.vector, embedder).map_err(Error::Embedder)?;
            if let Some(reading) = embedding.reading
                && !migration.allow_unreadable
                && !functions.is_readable(reading)?
            {
                continue;
            }
            entry.embedding = embedding.vector;
        }
    }
    Ok(())
}

/// The text that was embedded for an entry: its normalised query or, where the cache did not
/// normalise, the query itself.
fn text_of(entry: &Entry, functions: &mut Functions) -> Result<String> {
    let normalized = functions.normalize(&entry.query)?;
    if functions.hash(&normalized.text, &entry.context)? == entry.query_hash {
        return Ok(normalized.text);
    }
    if functions.hash(&entry.query, &entry.context)? == entry.query_hash {
        return Ok(entry.query.clone());
    }
    Err(Error::Corrupt(format!(
        "entry {} of namespace {:?} has a hash that is not that of its query and context; delete it from the source, or leave its namespace out",
        entry.id, entry.namespace
    )))
}

/// The embeddings of a batch. If the embedder refused one of its texts, each is embedded alone;
/// those that it refuses have none, and are of the exact layer, as `get_or_compute` keeps them.
fn one_by_one(
    embedder: &Guarded,
    texts: &[String],
    outcome: Outcome,
) -> Result<Vec<Option<Embedding>>, EmbedError> {
    match outcome {
        Ok(embeddings) => Ok(embeddings.into_iter().map(Some).collect()),
        Err(error) if error.down => Err(error),
        Err(_) => texts
            .iter()
            .map(|text| match embedder.embed_one(text) {
                Ok(embedding) => Ok(Some(embedding)),
                Err(error) if error.down => Err(error),
                Err(_) => Ok(None),
            })
            .collect(),
    }
}

fn scale_to_unit(vector: &mut [f32], embedder: &Guarded) -> Result<(), EmbedError> {
    let squares = vector.iter().map(|&x| f64::from(x) * f64::from(x));
    let norm = squares.sum::<f64>().sqrt();
    let wrong = match () {
        () if vector.len() != embedder.dim() as usize => format!("has {} values", vector.len()),
        () if !norm.is_finite() => "holds a value that is not finite".to_owned(),
        () if norm == 0.0 => "is zero, which has no direction".to_owned(),
        () => String::new(),
    };
    if !wrong.is_empty() {
        return Err(EmbedError::permanent(format!(
            "a vector of the embedder {:?} {wrong}; it must have {} finite values, not all zero",
            embedder.fingerprint(),
            embedder.dim()
        )));
    }
    if (norm - 1.0).abs() > UNIT_TOLERANCE {
        for x in vector {
            *x = (f64::from(*x) / norm) as f32;
        }
    }
    Ok(())
}
