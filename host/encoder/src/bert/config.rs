//! What `config.json` says of a model of BERT's kind, and how its weights are called.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What `config.json` says of a model.
#[derive(Debug, Clone, Deserialize, Serialize)]
pub(crate) struct Config {
    model_type: Kind,
    #[serde(alias = "dim")]
    pub hidden_size: usize,
    #[serde(alias = "n_layers")]
    pub num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    pub num_attention_heads: usize,
    #[serde(alias = "hidden_dim")]
    pub intermediate_size: usize,
    #[serde(alias = "activation")]
    hidden_act: String,
    #[serde(default = "usual_epsilon")]
    pub layer_norm_eps: f32,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    #[serde(default)]
    pub type_vocab_size: usize,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default = "usual_distances", skip_serializing)]
    relative_attention_num_buckets: usize,
    #[serde(default, skip_serializing)]
    position_embedding_type: Option<String>,
}

/// The kinds of models that can be built.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Bert,
    Roberta,
    #[serde(rename = "xlm-roberta")]
    XlmRoberta,
    Camembert,
    MpNet,
    DistilBert,
    #[serde(untagged)]
    Other(String),
}

/// Distances between so many places are written out.
const MOST_PLACES: usize = 4096;

/// No model has more values in a vector, layers, or heads. What is more is damage.
const MOST: usize = 1 << 16;

impl Config {
    /// Reads it, and refuses what [`graph`] does not build.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let config: Self = serde_json::from_slice(bytes).map_err(|error| {
            Error::unsupported(
                path,
                format!("is not of a model of BERT's kind: {error}; export the model to ONNX"),
            )
        })?;
        let refuse = |what: String| {
            Err(Error::unsupported(
                path,
                format!("{what} is not built here; export the model to ONNX"),
            ))
        };
        if let Kind::Other(kind) = &config.model_type {
            return refuse(format!("a model of type {kind:?}"));
        }
        if config.hidden_act != "gelu" {
            return refuse(format!("the activation {:?}", config.hidden_act));
        }
        let positions = config.position_embedding_type.as_deref();
        if positions.is_some_and(|kind| kind != "absolute") {
            return refuse(format!("the position embedding {positions:?}"));
        }
        if config.is_relative()
            && (config.relative_attention_num_buckets != DISTANCES || config.places() > MOST_PLACES)
        {
            return refuse(format!(
                "attention by {} distances over {} places",
                config.relative_attention_num_buckets,
                config.places()
            ));
        }
        let sizes = [
            config.hidden_size,
            config.num_hidden_layers,
            config.num_attention_heads,
            config.intermediate_size,
        ];
        let heads = config.num_attention_heads;
        if sizes.iter().any(|size| !(1..=MOST).contains(size))
            || !config.hidden_size.is_multiple_of(heads)
        {
            return Err(Error::invalid(
                path,
                format!("has sizes that no model has: {sizes:?}; get it again"),
            ));
        }
        Ok(config)
    }

    /// Names it in fingerprints: vectors depend on all of it.
    pub fn name(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }

    /// The position of the first token: models of RoBERTa's kind count from behind their padding.
    pub fn first_position(&self) -> usize {
        match self.model_type {
            Kind::Bert | Kind::DistilBert => 0,
            _ => self.pad_token_id.unwrap_or(1).saturating_add(1),
        }
    }

    /// Tokens that there are positions for.
    pub fn places(&self) -> usize {
        self.max_position_embeddings
            .saturating_sub(self.first_position())
    }

    /// Whether attention depends on how far tokens are from each other.
    pub fn is_relative(&self) -> bool {
        matches!(self.model_type, Kind::MpNet)
    }

    /// How the weights are called.
    pub fn names(&self) -> &'static Names {
        match self.model_type {
            Kind::DistilBert => &DISTILBERT,
            Kind::MpNet => &MPNET,
            _ => &BERT,
        }
    }
}

/// Kinds of distances, as [`distance`] numbers them.
pub(crate) const DISTANCES: usize = 32;

/// The kind of the distance of two tokens: exact if they are near, then by its logarithm; first
/// those of tokens before, then of tokens behind. As in T5, https://arxiv.org/abs/1910.10683.
pub(crate) fn distance(from: usize, to: usize) -> i32 {
    const HALF: u32 = DISTANCES as u32 / 2;
    const EXACT: u32 = HALF / 2;
    let apart = from.abs_diff(to) as u32;
    let kind = match apart < EXACT {
        true => apart,
        // Each doubling has two kinds; all from 128 on are one.
        false => (EXACT + (apart.saturating_mul(apart) / (EXACT * EXACT)).ilog2()).min(HALF - 1),
    };
    (if to > from { HALF + kind } else { kind }) as i32
}

/// How a kind of model calls its weights. All but the first are parts of a layer.
pub(crate) struct Names {
    /// What the names of all layers begin with.
    pub layer: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub attended: &'static str,
    pub attended_norm: &'static str,
    pub inner: &'static str,
    pub output: &'static str,
    pub output_norm: &'static str,
}

const BERT: Names = Names {
    layer: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attended: "attention.output.dense",
    attended_norm: "attention.output.LayerNorm",
    inner: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

const MPNET: Names = Names {
    query: "attention.attn.q",
    key: "attention.attn.k",
    value: "attention.attn.v",
    attended: "attention.attn.o",
    attended_norm: "attention.LayerNorm",
    ..BERT
};

const DISTILBERT: Names = Names {
    layer: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attended: "attention.out_lin",
    attended_norm: "sa_layer_norm",
    inner: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

fn usual_epsilon() -> f32 {
    1e-12
}

fn usual_distances() -> usize {
    DISTANCES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_numbered_as_models_learned_them() {
        let kinds = |from: usize, to: &[usize]| -> Vec<i32> {
            to.iter().map(|&to| distance(from, to)).collect()
        };
        assert_eq!(
            kinds(600, &[600, 599, 593, 592, 589, 588]),
            [0, 1, 7, 8, 8, 9]
        );
        assert_eq!(
            kinds(600, &[584, 537, 536, 510, 509, 0]),
            [10, 13, 14, 14, 15, 15]
        );
        assert_eq!(kinds(0, &[1, 7, 8, 11, 12, 16]), [17, 23, 24, 24, 25, 26]);
        assert_eq!(kinds(0, &[63, 64, 90, 91, 4095]), [29, 30, 30, 31, 31]);
    }
}
