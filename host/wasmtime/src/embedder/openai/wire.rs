//! The JSON of the `/embeddings` API.

use serde::{Deserialize, Serialize};

use crate::embedder::MAX_DIM;

/// What is asked.
#[derive(Serialize)]
pub struct Request<'a> {
    pub model: &'a str,
    pub input: &'a [&'a str],
    pub encoding_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
    /// Some servers leave it out, or say something else here.
    #[serde(default)]
    usage: serde_json::Value,
}

/// What was answered.
pub struct Answer {
    /// In the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// The tokens of all texts, if the server counted them.
    pub tokens: Option<u32>,
}

#[derive(Deserialize)]
struct Item {
    /// Some servers leave it out and answer in order.
    index: Option<usize>,
    embedding: Vec<f32>,
}

/// Checks the answer to `wanted` texts and puts its vectors in their order. Where `dim`
/// is 0, the first vector sets the length of all.
pub fn answer(body: &[u8], wanted: usize, dim: u32) -> Result<Answer, String> {
    // serde_json's own message may quote the answer.
    let reply: Reply = serde_json::from_slice(body).map_err(|error| {
        format!(
            "not the expected JSON (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    if reply.data.len() != wanted {
        return Err(format!("{} vectors for {wanted} texts", reply.data.len()));
    }
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; wanted];
    let mut length = (dim > 0).then_some(dim as usize);
    for (position, item) in reply.data.into_iter().enumerate() {
        let index = item.index.unwrap_or(position);
        let values = item.embedding.len();
        let expected = *length.get_or_insert(values);
        if values != expected {
            return Err(format!("a vector of {values} values instead of {expected}"));
        }
        if values == 0 || values > MAX_DIM as usize {
            return Err(format!(
                "a vector of {values} values; 1 to {MAX_DIM} are possible"
            ));
        }
        if item.embedding.iter().any(|value| !value.is_finite()) {
            return Err("a value that is not finite".into());
        }
        let slot = vectors.get_mut(index).filter(|slot| slot.is_none());
        let slot = slot.ok_or_else(|| format!("index {index} is out of range or repeated"))?;
        *slot = Some(item.embedding);
    }
    let tokens = reply.usage["prompt_tokens"].as_u64();
    Ok(Answer {
        vectors: vectors.into_iter().flatten().collect(),
        tokens: tokens
            .filter(|&tokens| tokens > 0)
            .map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX)),
    })
}
