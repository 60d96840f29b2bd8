//! Removing entries: on request, because they expired, or because they were refused.

use super::{Cache, Open};
use crate::counters::Kind;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::options;
use crate::store::Store;
use crate::types::{CountEvent, EntryRef, Event, IndexKind};

/// Expired entries to delete in one call of the store.
const EXPIRED_PER_CALL: u32 = 1000;

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.delete`.
    pub fn delete(&mut self, query: &str, namespace: &str) -> Result<bool> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(namespace)?;
        options::check_size("query", query, open.options.max_query_bytes)?;
        let (key, _) = open.key(query, namespace);
        let Some(entry) = store.get_by_hash(&[key])?.pop().flatten() else {
            return Ok(false);
        };
        if !store.delete_by_id(entry.id)? {
            open.forget(&entry.namespace, entry.id);
            return Ok(false);
        }
        let entry = EntryRef {
            id: entry.id,
            namespace: entry.namespace,
            created_at: entry.created_at,
        };
        open.deleted(std::slice::from_ref(&entry));
        open.emit(host, || {
            Event::Deletion(CountEvent {
                namespace: entry.namespace,
                count: 1,
            })
        });
        Ok(true)
    }

    /// See `cache.clear`.
    pub fn clear(&mut self) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        let counts = match open.options.events {
            true => store.count_by_namespace()?,
            false => Vec::new(),
        };
        let count = store.clear_namespace(None)?;
        open.backlog.forget_all();
        open.sizes = super::Sizes::default();
        if let Some(index) = &mut open.index {
            index.clear();
        }
        if count > 0 {
            open.follower.wrote();
        }
        for (namespace, count) in counts {
            open.emit(host, || Event::Deletion(CountEvent { namespace, count }));
        }
        open.backlog.counters.reset(store, None)?;
        Ok(count)
    }

    /// See `cache.clear-namespace`.
    pub fn clear_namespace(&mut self, namespace: &str) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        options::check_namespace(namespace)?;
        let count = store.clear_namespace(Some(namespace))?;
        // Touches of entries that are gone are passed over by the store.
        open.sizes = super::Sizes::default();
        if let Some(index) = &mut open.index {
            index.clear_namespace(namespace);
        }
        if count > 0 {
            open.follower.wrote();
            open.emit(host, || {
                Event::Deletion(CountEvent {
                    namespace: namespace.to_owned(),
                    count,
                })
            });
        }
        open.backlog.counters.reset(store, Some(namespace))?;
        Ok(count)
    }

    /// See `cache.vacuum`.
    pub fn vacuum(&mut self, namespace: Option<&str>, compact: bool) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        if let Some(namespace) = namespace {
            options::check_namespace(namespace)?;
        }
        let now = host.now();
        let mut count = 0;
        loop {
            let expired = store.delete_expired(now.seconds(), namespace, EXPIRED_PER_CALL)?;
            count += expired.len() as u64;
            open.deleted(&expired);
            open.count_entries(host, Kind::Expirations, &expired, Event::Expiration, now);
            if expired.len() < EXPIRED_PER_CALL as usize {
                break;
            }
        }
        if compact && let Some(index) = &mut open.index {
            index.compact();
        }
        open.flush_if_due(store, now);
        Ok(count)
    }

    /// See `cache.compact`.
    pub fn compact(&mut self) -> Result<u64> {
        let (store, host, open) = self.parts()?;
        if open.options.index == IndexKind::Hnsw {
            let now = host.now();
            open.follow(store, now)?;
            open.resident_index(store, now)?;
        }
        let Some(index) = &mut open.index else {
            return Ok(0);
        };
        let tombstones = index.compact();
        index.seal()?;
        Ok(tombstones as u64)
    }
}

impl Open {
    /// Deletes entries that were seen to be expired, unless they have been replaced.
    pub(super) fn delete_expired_entries(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: &[EntryRef],
        now: Now,
    ) -> Result<()> {
        let deleted = self.delete_unchanged(store, entries)?;
        self.count_entries(host, Kind::Expirations, &deleted, Event::Expiration, now);
        Ok(())
    }

    /// Deletes entries that the validator refused, unless they have been replaced.
    pub(super) fn delete_rejected(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        entries: &[EntryRef],
    ) -> Result<()> {
        for entry in self.delete_unchanged(store, entries)? {
            self.emit(host, || {
                Event::Rejection(CountEvent {
                    namespace: entry.namespace,
                    count: 1,
                })
            });
        }
        Ok(())
    }

    fn delete_unchanged(
        &mut self,
        store: &impl Store,
        entries: &[EntryRef],
    ) -> Result<Vec<EntryRef>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let ids = store.delete_unchanged(entries)?;
        let deleted: Vec<EntryRef> = entries
            .iter()
            .filter(|entry| ids.contains(&entry.id))
            .cloned()
            .collect();
        self.deleted(&deleted);
        Ok(deleted)
    }
}
