//! Why a question is answered as it is.

use mneme::{Explained, ExplainedOutcome, JudgedEntry};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Miss, digits, metadata, optional_digits};
use crate::commands::explain::rule;

/// Why a question is answered as it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Explanation {
    namespace: String,
    context: String,
    normalized: Normalized,
    /// The least similarity of a hit.
    #[serde(serialize_with = "digits")]
    threshold: f32,
    /// The least confidence of a hit.
    #[serde(serialize_with = "digits")]
    cut_off: f32,
    /// The least similarity of what is verified; null: nothing is.
    #[serde(serialize_with = "optional_digits")]
    verified_from: Option<f32>,
    /// With an error bound: the score from which entries answer; null: none does, or there is no bound.
    #[serde(serialize_with = "optional_digits")]
    open_from: Option<f32>,
    /// With an error bound: the score of the entry that it judges; null: there is none.
    #[serde(serialize_with = "optional_digits")]
    score: Option<f32>,
    /// What the verifier said of the entry about to answer: `yes`, `no`, `unknown` or `failed`; null: it
    /// was not asked.
    verification: Option<&'static str>,
    /// Entries of the namespace that the index holds.
    rows: u64,
    outcome: Outcome,
    /// The reason, in a sentence.
    rule: String,
    /// The entry of the exact layer, if there is one, expired or not.
    exact: Option<Judged>,
    /// The nearest other entries, the most similar first.
    candidates: Vec<Judged>,
    /// What is known of the failure of the embedder, if it failed; then there are no candidates.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedder_error: Option<String>,
}

/// What was compared and embedded.
#[derive(Debug, Serialize, ToSchema)]
struct Normalized {
    text: String,
    /// SHA-256 in hexadecimal digits.
    hash: String,
}

/// What would answer, or why nothing would.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Outcome {
    Hit(Answering),
    Miss(Miss),
}

/// What would answer.
#[derive(Debug, Serialize, ToSchema)]
struct Answering {
    /// true
    hit: bool,
    /// `exact` or `semantic`.
    layer: &'static str,
}

/// An entry, and how it is judged as an answer.
#[derive(Debug, Serialize, ToSchema)]
struct Judged {
    id: u64,
    /// The question that the answer was stored under.
    query: String,
    response: String,
    #[schema(value_type = Object)]
    metadata: Value,
    /// Sorted.
    tags: Vec<String>,
    /// -1 to 1; 1 in the exact layer.
    #[serde(serialize_with = "digits")]
    similarity: f32,
    /// 0 to 1.
    #[serde(serialize_with = "digits")]
    confidence: f32,
    age_seconds: u64,
    /// Lifetime in seconds; null: unlimited.
    ttl: Option<u64>,
    /// Whether the validator would accept it; true in the exact layer, which has no validator.
    accepted: bool,
    /// Why it must not answer, by the words of its question.
    vetoes: Vec<Veto>,
    /// Whether a question is longer than 8 KiB or 2,048 words, and its middle was not compared.
    partial: bool,
    /// `answers`, `outranked`, `below_threshold`, `expired`, `other_tags`, `too_old`, `low_confidence`,
    /// `refused`, `vetoed`, `untried`, `unverified`, `unproven` or `explored`.
    verdict: &'static str,
}

/// A reason in the words why an entry must not answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Veto {
    /// `opposites`, `negation`, `numbers`, `dates`, `identifiers`, `roles`, `names` or `question_word`.
    kind: &'static str,
    /// Where it stands in the question that is asked.
    query: String,
    /// Where it stands in the question of the entry.
    entry: String,
}

impl From<&mneme::Veto> for Veto {
    fn from(veto: &mneme::Veto) -> Self {
        Self {
            kind: veto.kind.name(),
            query: veto.query.clone(),
            entry: veto.entry.clone(),
        }
    }
}

impl From<&Explained> for Explanation {
    fn from(explained: &Explained) -> Self {
        let of = &explained.explanation;
        Self {
            namespace: of.namespace.clone(),
            context: of.context.clone(),
            normalized: Normalized {
                text: of.normalized.text.clone(),
                hash: of.normalized.hash.clone(),
            },
            threshold: of.threshold,
            cut_off: of.cut_off,
            verified_from: of.verified_from,
            open_from: of.open_from,
            score: of.score,
            verification: of.verification.map(|said| said.opinion.name()),
            rows: of.rows,
            outcome: match of.outcome {
                ExplainedOutcome::Hit(layer) => Outcome::Hit(Answering {
                    hit: true,
                    layer: layer.name(),
                }),
                ExplainedOutcome::Miss(reason) => Outcome::Miss(reason.into()),
            },
            rule: rule(of),
            exact: of.exact.as_ref().map(Into::into),
            candidates: of.candidates.iter().map(Into::into).collect(),
            embedder_error: explained.embedder_error.as_ref().map(|e| e.message.clone()),
        }
    }
}

impl From<&JudgedEntry> for Judged {
    fn from(entry: &JudgedEntry) -> Self {
        Self {
            id: entry.id,
            query: entry.query.clone(),
            response: entry.response.clone(),
            metadata: metadata(&entry.metadata),
            tags: entry.tags.clone(),
            similarity: entry.similarity,
            confidence: entry.confidence,
            age_seconds: entry.age_seconds,
            ttl: entry.ttl,
            accepted: entry.accepted,
            vetoes: entry.vetoes.iter().map(Into::into).collect(),
            partial: entry.partial,
            verdict: entry.verdict.name(),
        }
    }
}
