//! The result of a look-up.

use mneme::MissReason;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{digits, metadata};

/// The result of a look-up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Lookup {
    Hit(Hit),
    Miss(Miss),
}

/// An answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Hit {
    /// true
    hit: bool,
    /// `exact` or `semantic`.
    layer: &'static str,
    /// -1 to 1; 1 in the exact layer.
    #[serde(serialize_with = "digits")]
    similarity: f32,
    /// 0 to 1.
    #[serde(serialize_with = "digits")]
    confidence: f32,
    /// Time since the answer was stored.
    age_seconds: u64,
    /// When the answer was stored, in seconds since 1970.
    created_at: u64,
    /// Seconds until it expires; null: it does not.
    ttl_left: Option<u64>,
    namespace: String,
    context: String,
    /// Sorted.
    tags: Vec<String>,
    response: String,
    /// The object that was stored with the answer.
    #[schema(value_type = Object)]
    metadata: Value,
    /// The question that the answer was stored under.
    query: String,
    /// The entry's id in the store.
    id: u64,
    /// With an error bound, of an answer to a question in other words: what `feedback` takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<String>,
}

/// No answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Miss {
    /// false
    hit: bool,
    /// `bypass`, `below_threshold`, `no_match`, `too_old`, `low_confidence`, `vetoed`, `unverified`,
    /// `verifier_failure`, `unproven`, `explored`, `unreadable`, `dim_mismatch` or `embedder_failure`.
    reason: &'static str,
    /// With an error bound: the entry to compare with the answer that is computed now.
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Nearest>,
    /// What is known of the failure of the embedder, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    embedder_error: Option<String>,
}

/// An entry that is near, and does not answer.
#[derive(Debug, Serialize, ToSchema)]
struct Nearest {
    /// What `feedback` takes.
    ticket: String,
    /// The entry's id in the store.
    id: u64,
    /// The question that the answer was stored under.
    query: String,
    response: String,
    /// -1 to 1.
    #[serde(serialize_with = "digits")]
    similarity: f32,
    age_seconds: u64,
}

impl From<&mneme::Nearest> for Nearest {
    fn from(nearest: &mneme::Nearest) -> Self {
        let of = &nearest.candidate;
        Self {
            ticket: nearest.ticket.clone(),
            id: of.id,
            query: of.entry_query.clone(),
            response: of.response.clone(),
            similarity: of.similarity,
            age_seconds: of.age_seconds,
        }
    }
}

impl From<&mneme::Lookup> for Lookup {
    fn from(lookup: &mneme::Lookup) -> Self {
        match lookup {
            mneme::Lookup::Hit(hit) => Self::Hit(hit.into()),
            mneme::Lookup::Miss(miss) => Self::Miss(miss.into()),
        }
    }
}

impl From<&mneme::Miss> for Miss {
    fn from(miss: &mneme::Miss) -> Self {
        Self {
            nearest: miss.nearest.as_ref().map(Into::into),
            embedder_error: miss.embedder_error.as_ref().map(|e| e.message.clone()),
            ..miss.reason.into()
        }
    }
}

impl From<&mneme::Hit> for Hit {
    fn from(hit: &mneme::Hit) -> Self {
        Self {
            hit: true,
            layer: hit.layer.name(),
            similarity: hit.similarity,
            confidence: hit.confidence,
            age_seconds: hit.age_seconds,
            created_at: hit.created_at,
            ttl_left: hit.ttl_left,
            namespace: hit.namespace.clone(),
            context: hit.context.clone(),
            tags: hit.tags.clone(),
            response: hit.response.clone(),
            metadata: metadata(&hit.metadata),
            query: hit.query.clone(),
            id: hit.id,
            ticket: hit.ticket.clone(),
        }
    }
}

impl From<MissReason> for Miss {
    fn from(reason: MissReason) -> Self {
        Self {
            hit: false,
            reason: reason.name(),
            nearest: None,
            embedder_error: None,
        }
    }
}
