//! New vectors for entries.

use crate::component::Functions;
use crate::embedder::{EmbedError, Embedder, Embedding, read_each};
use crate::error::{Error, Result};
use crate::store::Entry;
use sha2::{Digest, Sha256};

/// Entries that are read at a time, and texts that are embedded in one call.
pub(super) const PAGE: usize = 64;

/// How far from 1 the length of a vector may be for it to be taken as it is; as a put has it.
const UNIT_TOLERANCE: f64 = 1e-6;

/// Gives entries the vectors of their queries, by calls of up to [`PAGE`] texts at the same time.
/// Those that the embedder cannot read become entries of the exact layer.
pub(super) fn embed(
    embedder: &dyn Embedder,
    functions: &mut Functions,
    entries: &mut [Entry],
    allow_unreadable: bool,
) -> Result<()> {
    let mut texts = Vec::with_capacity(entries.len());
    for entry in &*entries {
        texts.push(text_of(entry, functions)?);
    }
    let embeddings = std::thread::scope(|scope| {
        let calls: Vec<_> = texts
            .chunks(PAGE)
            .map(|batch| scope.spawn(|| embeddings_of(embedder, batch)))
            .collect();
        let mut embeddings = Vec::with_capacity(texts.len());
        for call in calls {
            let more = call
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            embeddings.extend(more?);
        }
        Ok::<_, EmbedError>(embeddings)
    });
    let embeddings = embeddings.map_err(Error::Embedder)?;
    for (entry, embedding) in entries.iter_mut().zip(embeddings) {
        entry.embedding = embedding.vector;
        if let Some(reading) = embedding.reading
            && !allow_unreadable
            && !functions.is_readable(reading)?
        {
            entry.embedding.fill(0.0);
        }
    }
    Ok(())
}

/// The text that was embedded for an entry: its normalised query or, where the cache did not
/// normalise, the query itself.
fn text_of(entry: &Entry, functions: &mut Functions) -> Result<String> {
    let normalized = functions.normalize(&entry.query)?;
    if normalized.hash == entry.query_hash {
        return Ok(normalized.text);
    }
    if hash(&entry.query) == entry.query_hash {
        return Ok(entry.query.clone());
    }
    Err(Error::Corrupt(format!(
        "entry {} of namespace {:?} has a hash that is not that of its query; delete it from the source, or leave its namespace out",
        entry.id, entry.namespace
    )))
}

/// SHA-256 in hexadecimal digits.
fn hash(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Embeds texts, and scales the vectors as a put would. Texts that the embedder refuses are of the
/// exact layer, as `get_or_compute` keeps them.
fn embeddings_of(embedder: &dyn Embedder, texts: &[String]) -> Result<Vec<Embedding>, EmbedError> {
    let scaled = |mut embedding: Embedding| {
        scale_to_unit(&mut embedding.vector, embedder)?;
        Ok(embedding)
    };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    match read_each(embedder, &texts) {
        Ok(embeddings) => embeddings.into_iter().map(scaled).collect(),
        Err(error) if error.down => Err(error),
        Err(_) => texts
            .iter()
            .map(|text| match read_each(embedder, &[text]) {
                Ok(mut one) => scaled(one.swap_remove(0)),
                Err(error) if error.down => Err(error),
                Err(_) => Ok(vec![0.0; embedder.dim() as usize].into()),
            })
            .collect(),
    }
}

fn scale_to_unit(vector: &mut [f32], embedder: &dyn Embedder) -> Result<(), EmbedError> {
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
