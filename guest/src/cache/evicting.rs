//! Evicting: what goes when a namespace or the whole cache has too many entries.

use super::{Open, Sizes};
use crate::counters::Kind;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::store::Store;
use crate::types::Event;
use std::collections::BTreeSet;

/// The most entries that go because of one `put`, unless it stored more than half as many: some
/// milliseconds of a store's time. Later calls evict the rest.
const EVICTED_PER_CALL: u64 = 128;

impl Open {
    /// Evicts entries beyond the quotas of these namespaces, and then beyond the global cap.
    /// `stored` holds the ids that this call has stored, in that order.
    pub(super) fn enforce_limits(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespaces: &BTreeSet<String>,
        stored: &[u64],
        now: Now,
    ) -> Result<()> {
        let most = EVICTED_PER_CALL.max(2 * stored.len() as u64);
        for namespace in namespaces {
            if let Some(quota) = self.quota(store, namespace)? {
                self.evict(store, host, Some(namespace), quota, (stored, most), now)?;
            }
        }
        if let Some(cap) = self.options.max_entries {
            self.evict(store, host, None, cap, (stored, most), now)?;
        }
        Ok(())
    }

    /// Evicts entries of one namespace, or of all, if there are more than `limit`: first those
    /// that are expired, then the least recently used, but none that was just stored. The excess
    /// goes, but at least a tenth of the limit, and at least one, and no more than `most`.
    fn evict(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
        limit: u64,
        (stored, most): (&[u64], u64),
        now: Now,
    ) -> Result<()> {
        if self.entries_in(store, namespace)? <= limit {
            return Ok(());
        }
        if self.follower.is_shared() {
            // Others may have deleted since the entries were counted.
            self.sizes = Sizes::default();
        }
        let to_go = |entries: u64| {
            let n = (entries - limit).max(limit / 10).max(1).min(most);
            u32::try_from(n).unwrap_or(u32::MAX)
        };
        let entries = self.entries_in(store, namespace)?;
        if entries <= limit {
            return Ok(());
        }
        let expired = store.delete_expired(now.seconds(), namespace, to_go(entries))?;
        self.deleted(&expired);
        self.count_entries(host, Kind::Expirations, &expired, Event::Expiration, now);
        let entries = self.entries_in(store, namespace)?;
        if entries <= limit || expired.len() as u64 >= most {
            return Ok(());
        }
        self.backlog.flush_touches(store)?;
        // A call that stores more than the limit keeps the last that it stored.
        let room = usize::try_from(limit).unwrap_or(usize::MAX);
        let spared: BTreeSet<u64> = stored.iter().rev().take(room).copied().collect();
        let n = to_go(entries);
        let asked = n.saturating_add(u32::try_from(spared.len()).unwrap_or(u32::MAX));
        let mut oldest = store.iter_lru_ids(asked, namespace)?;
        oldest.retain(|entry| !spared.contains(&entry.id));
        oldest.truncate(n as usize);
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

    /// Evicts all entries beyond the global cap, and returns how many.
    pub(super) fn shrink(&mut self, store: &impl Store, host: &impl Host, now: Now) -> Result<u64> {
        let Some(cap) = self.options.max_entries else {
            return Ok(0);
        };
        let before = store.count(None)?;
        self.evict(store, host, None, cap, (&[], u64::MAX), now)?;
        Ok(before.saturating_sub(store.count(None)?))
    }
}
