//! Evicting: what goes when a namespace or the whole cache has too many entries.

use super::{Open, Sizes};
use crate::counters::Kind;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::store::Store;
use crate::types::Event;
use std::collections::BTreeSet;

impl Open {
    /// Evicts entries beyond the quotas of these namespaces, and then beyond the global cap.
    pub(super) fn enforce_limits(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespaces: &BTreeSet<String>,
        now: Now,
    ) -> Result<()> {
        for namespace in namespaces {
            if let Some(quota) = self.quota(store, namespace)? {
                self.evict(store, host, Some(namespace), quota, now)?;
            }
        }
        if let Some(cap) = self.options.max_entries {
            self.evict(store, host, None, cap, now)?;
        }
        Ok(())
    }

    /// Evicts the least recently used entries of one namespace, or of all, if there are
    /// more than `limit`: the excess, but at least a tenth of the limit, and at least one.
    fn evict(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
        limit: u64,
        now: Now,
    ) -> Result<()> {
        if self.entries_in(store, namespace)? <= limit {
            return Ok(());
        }
        if self.follower.is_shared() {
            // Others may have deleted since the entries were counted.
            self.sizes = Sizes::default();
            if self.entries_in(store, namespace)? <= limit {
                return Ok(());
            }
        }
        self.backlog.flush_touches(store)?;
        let excess = self.entries_in(store, namespace)? - limit;
        let n = excess.max(limit / 10).max(1).try_into().unwrap_or(u32::MAX);
        let oldest = store.iter_lru_ids(n, namespace)?;
        let evicted = self.delete_unchanged(store, oldest)?;
        self.count_entries(host, Kind::Evictions, &evicted, Event::Eviction, now);
        Ok(())
    }

    /// How many entries a namespace, or all, hold.
    fn entries_in(&mut self, store: &impl Store, namespace: Option<&str>) -> Result<u64> {
        let known = match namespace {
            Some(namespace) => self.sizes.namespaces.get(namespace).copied(),
            None => self.sizes.total,
        };
        if let Some(count) = known {
            return Ok(count);
        }
        let count = store.count(namespace)?;
        match namespace {
            Some(namespace) => drop(self.sizes.namespaces.insert(namespace.to_owned(), count)),
            None => self.sizes.total = Some(count),
        }
        Ok(count)
    }

    /// Evicts entries beyond the global cap, and returns how many.
    pub(super) fn shrink(&mut self, store: &impl Store, host: &impl Host, now: Now) -> Result<u64> {
        if self.options.max_entries.is_none() {
            return Ok(0);
        }
        let before = store.count(None)?;
        self.enforce_limits(store, host, &BTreeSet::new(), now)?;
        Ok(before.saturating_sub(store.count(None)?))
    }
}
