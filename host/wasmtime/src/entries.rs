//! Listing and erasing entries.

use crate::cache::SemanticCache;
use crate::contract::api;
use crate::error::{Error, Result};

pub use crate::contract::api::EntryPage;

/// Which entries are meant: those that meet every condition.
///
/// ```
/// use mneme::EntryFilter;
///
/// let of_a_user = EntryFilter::new().namespace("support").tag("user:4711");
/// let old = EntryFilter::new().min_age(30 * 86_400);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct EntryFilter {
    conditions: api::EntryFilter,
    everything: bool,
}

impl Default for EntryFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl EntryFilter {
    /// A filter without a condition. [`SemanticCache::list_entries`] takes it for all entries;
    /// [`SemanticCache::erase`] refuses it.
    pub fn new() -> Self {
        EntryFilter {
            conditions: api::EntryFilter {
                namespace: None,
                context: None,
                tags: Vec::new(),
                query: None,
                ids: None,
                min_age: None,
                max_age: None,
            },
            everything: false,
        }
    }

    /// All entries, said on purpose. A condition beside it is an error.
    pub fn everything() -> Self {
        EntryFilter {
            everything: true,
            ..Self::new()
        }
    }

    /// Entries of this namespace only.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.conditions.namespace = Some(namespace.into());
        self
    }

    /// Entries of this context only, which may be the empty one.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.conditions.context = Some(context.into());
        self
    }

    /// Entries that carry this tag, and those given before: at most 32.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.conditions.tags.push(tag.into());
        self
    }

    /// Entries that carry each of these tags, beside those given before.
    #[must_use]
    pub fn tags(mut self, tags: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let tags = tags.into_iter().map(Into::into);
        self.conditions.tags.extend(tags);
        self
    }

    /// Entries of this query, compared after normalisation. With a namespace and a context one entry
    /// is looked up; otherwise all that meet the other conditions are read.
    #[must_use]
    pub fn query(mut self, query: impl Into<String>) -> Self {
        self.conditions.query = Some(query.into());
        self
    }

    /// Entries with these ids only: at most 1,024.
    #[must_use]
    pub fn ids(mut self, ids: impl Into<Vec<u64>>) -> Self {
        self.conditions.ids = Some(ids.into());
        self
    }

    /// Entries that were stored at least so many seconds ago.
    #[must_use]
    pub fn min_age(mut self, seconds: u64) -> Self {
        self.conditions.min_age = Some(seconds);
        self
    }

    /// Entries that were stored at most so many seconds ago.
    #[must_use]
    pub fn max_age(mut self, seconds: u64) -> Self {
        self.conditions.max_age = Some(seconds);
        self
    }
}

/// What an erasure has deleted, or would delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The ids of the entries, ascending.
    pub ids: Vec<u64>,
    /// The store's version counter before the erasure. It moves with every write, those of others
    /// included.
    pub version_before: u64,
    /// The store's version counter after it.
    pub version_after: u64,
}

impl SemanticCache {
    /// Entries that meet the filter, without their vectors, ascending by id: those with ids above
    /// `after`, at most `limit` (1 to 1,024) and about 4 MiB. Pass the `next` of a page as `after`
    /// for the next one; at the end there is none. Expired entries are listed too. No entry counts
    /// as used.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) and what the store returns.
    pub fn list_entries(&self, filter: &EntryFilter, after: u64, limit: u32) -> Result<EntryPage> {
        let namespace = filter.conditions.namespace.as_deref();
        self.call("list_entries", namespace, |guest, store| {
            guest.call_list_entries(store, &filter.conditions, after, limit)
        })
    }

    /// Deletes the entries that meet the filter, and says which they were. With `dry_run` it deletes
    /// nothing, and says which it would delete. It goes in steps of some milliseconds, between
    /// which others are served; an entry that is stored again meanwhile stays.
    ///
    /// Also deletes the index kept in the store, which holds codes of the vectors; the cache keeps
    /// one again without them.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument), also for a filter without a
    /// condition that is not [`EntryFilter::everything`]; what the store returns. If some entries were
    /// erased before, it is [`Error::Unfinished`], with the receipt.
    pub fn erase(&self, filter: &EntryFilter, dry_run: bool) -> Result<Receipt> {
        let EntryFilter {
            conditions,
            everything,
        } = filter;
        self.watched("erase", conditions.namespace.as_deref(), || {
            let mut receipt: Option<Receipt> = None;
            let mut next = Some(0);
            while let Some(after) = next {
                let step = self.turn(|guest, store| {
                    guest.call_erase(store, conditions, *everything, dry_run, after)
                });
                let failed = step.map(|step| {
                    next = step.next;
                    let receipt = receipt.get_or_insert_with(|| Receipt {
                        ids: Vec::new(),
                        version_before: step.version_before,
                        version_after: step.version_after,
                    });
                    receipt.ids.extend(step.ids);
                    receipt.version_after = step.version_after;
                    step.failed.map(Error::from)
                });
                if let Some(error) = failed.unwrap_or_else(Some) {
                    return Err(match receipt {
                        Some(receipt) if !dry_run && !receipt.ids.is_empty() => Error::Unfinished {
                            receipt: Box::new(receipt),
                            source: Box::new(error),
                        },
                        _ => error,
                    });
                }
            }
            receipt.ok_or_else(crate::cache::broken_promise)
        })
    }
}
