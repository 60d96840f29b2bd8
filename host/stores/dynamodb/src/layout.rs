//! The layout of the table, which is shared with the Python library `mneme-cache`.
//!
//! Item 0 keeps the counters, the embedder, the meta values and the quotas; entries have ids
//! from 1 upwards. Pointers, the entries of imports, blobs and the index over tags, which that
//! library passes over, have ids below zero; see `pointers`, `staging`, `blobs` and `tags`.

use super::error::{Fault, Outcome};
use super::rows::{Item, whole};
use mneme_store::checks;

/// The id of the item that keeps what is not an entry.
pub(super) const HEAD: &str = "0";

/// The attribute of item 0 that records a decided import.
pub(super) const DECIDED: &str = "import";

/// The attribute of item 0 with the tokens of imports.
pub(super) const TOKENS: &str = "imports";

/// The attribute of item 0 that tells a cache from one that was begun in its place. It is ours
/// alone.
pub(super) const INCARNATION: &str = "incarnation";

/// What tells which version of which entry it is, and where other items name it.
pub(super) const VERSION: &[&str] = &["id", "namespace", "query_hash", "tags", "created_at", "ttl"];

/// A counter of item 0.
pub(super) fn counter(head: &Item, name: &str) -> Outcome<u64> {
    head.get(name).and_then(whole).ok_or_else(|| {
        Fault::Corrupt(format!(
            "item 0, attribute {name} is not a number; set it to one above all that were in use, or restore a checkpoint into a new table"
        ))
    })
}

/// The error of a table whose item 0 is gone.
pub(super) fn headless() -> Fault {
    Fault::Corrupt(format!(
        "item 0, which holds the counters and the embedder, is not there: {}",
        checks::vanished()
    ))
}
