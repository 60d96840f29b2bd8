//! Entries, and what was erased.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::metadata;

/// A page of entries.
#[derive(Debug, Serialize, ToSchema)]
pub struct EntryPage {
    /// Ascending by id, expired ones included.
    entries: Vec<Entry>,
    /// What to pass as `after` for the next page; null at the end.
    next: Option<u64>,
}

/// An entry, without its vector.
#[derive(Debug, Serialize, ToSchema)]
pub struct Entry {
    /// The entry's id in the store.
    id: u64,
    namespace: String,
    context: String,
    /// Sorted.
    tags: Vec<String>,
    /// The question that the answer was stored under.
    query: String,
    response: String,
    /// The object that was stored with the answer.
    #[schema(value_type = Object)]
    metadata: Value,
    /// When the answer was stored, in seconds since 1970.
    created_at: u64,
    /// When it last answered, or was stored.
    last_accessed_at: u64,
    /// Its lifetime in seconds, from `created_at`; null: unlimited.
    ttl: Option<u64>,
    /// How many questions it has answered.
    access_count: u64,
}

/// What was erased.
#[derive(Debug, Serialize, ToSchema)]
pub struct Receipt {
    /// How many entries.
    erased: u64,
    /// Their ids, ascending.
    ids: Vec<u64>,
    /// The store's version counter before. It moves with every write, those of others included.
    version_before: u64,
    /// The store's version counter after.
    version_after: u64,
    /// Whether nothing was deleted, and this says what would be.
    dry_run: bool,
}

impl From<&mneme::EntryPage> for EntryPage {
    fn from(page: &mneme::EntryPage) -> Self {
        let entries = page.entries.iter().map(|entry| Entry {
            id: entry.id,
            namespace: entry.namespace.clone(),
            context: entry.context.clone(),
            tags: entry.tags.clone(),
            query: entry.query.clone(),
            response: entry.response.clone(),
            metadata: metadata(&entry.metadata),
            created_at: entry.created_at,
            last_accessed_at: entry.last_accessed_at,
            ttl: entry.ttl,
            access_count: entry.access_count,
        });
        Self {
            entries: entries.collect(),
            next: page.next,
        }
    }
}

impl Receipt {
    /// What was erased, or would be.
    pub fn new(receipt: &mneme::Receipt, dry_run: bool) -> Self {
        Self {
            erased: receipt.ids.len() as u64,
            ids: receipt.ids.clone(),
            version_before: receipt.version_before,
            version_after: receipt.version_after,
            dry_run,
        }
    }
}
