//! Evicting: what goes when a namespace or the whole cache has too many entries.

use super::Open;
use super::steps::Turn;
use super::uses::Uses;
use crate::checkpoint::order::LastUse;
use crate::counters::Kind;
use crate::error::Result;
use crate::host::{Host, Now};
use crate::store::Store;
use crate::types::{EntryRef, Event};
use std::collections::{BTreeSet, VecDeque};

/// The most entries that go because of one `put`, unless it stored more than half as many: some
/// milliseconds of a store's time. Later calls evict the rest.
const EVICTED_PER_CALL: u64 = 64;
/// If far more have to go, references to so many are read at a time. Finding them may take a scan
/// of the store.
const READ_AHEAD: u64 = 1_024;
/// The most entries that go in one step where all that is too much goes at once.
const EVICTED_PER_STEP: u64 = 1 << 16;
/// For so long a `put` evicts at most.
const LONGEST_MILLIS: u64 = 1_000;
/// References that are older are not used. Hits of others wait for about as long before they
/// reach the store.
const FRESH_MILLIS: u64 = 5_000;

/// The least recently used entries that have been read, but not yet evicted: of all, and of one
/// namespace.
#[derive(Default)]
pub(super) struct Oldest {
    queues: Vec<Queue>,
    uses: Uses,
    /// There is a limit, so it matters which entries go first.
    is_limited: bool,
}

/// References in the order in which they go.
struct Queue {
    namespace: Option<String>,
    read: Now,
    entries: VecDeque<EntryRef>,
}

impl Oldest {
    /// There is a limit: from here on it is known in which order entries are used.
    pub(super) fn matters(&mut self) {
        self.is_limited = true;
    }

    /// The last uses that are known, in their order.
    pub(super) fn uses(&self) -> Vec<LastUse> {
        self.uses.in_order()
    }

    /// A new entry was stored.
    pub(super) fn came(&mut self, id: u64) {
        self.uses.came(id);
    }

    /// An entry was replaced or hit, so it is no longer one of the oldest.
    pub(super) fn was_used(&mut self, id: u64, now: Now) {
        self.were_used(&[id], now);
    }

    /// The same of several, in that order.
    pub(super) fn were_used(&mut self, ids: &[u64], now: Now) {
        if self.is_limited {
            ids.iter().for_each(|&id| self.uses.used(id, now.seconds()));
            self.leave_out(&ids.iter().copied().collect());
        }
    }

    /// Entries have been used, or are gone.
    fn leave_out(&mut self, ids: &BTreeSet<u64>) {
        for queue in &mut self.queues {
            queue.entries.retain(|entry| !ids.contains(&entry.id));
        }
    }

    /// Takes the next `n` entries, if they are known.
    fn take(&mut self, namespace: Option<&str>, n: usize, now: Now) -> Option<Vec<EntryRef>> {
        let mut of = self.queues.iter_mut();
        let queue = of.find(|queue| queue.namespace.as_deref() == namespace)?;
        let is_fresh = now >= queue.read && now.since(queue.read) < FRESH_MILLIS;
        (is_fresh && queue.entries.len() >= n).then(|| queue.entries.drain(..n).collect())
    }

    /// Keeps entries for later, in place of others.
    fn keep(&mut self, namespace: Option<&str>, entries: VecDeque<EntryRef>, now: Now) {
        self.queues
            .retain(|queue| queue.namespace.is_some() != namespace.is_some());
        if !entries.is_empty() {
            self.queues.push(Queue {
                namespace: namespace.map(str::to_owned),
                read: now,
                entries,
            });
        }
    }
}

/// What a call has stored.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// The ids, in that order.
    pub ids: &'a [u64],
    pub bytes: u64,
}

impl Open {
    /// Evicts entries beyond the quotas of these namespaces, and then beyond the global caps.
    pub(super) fn enforce_limits(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespaces: &BTreeSet<String>,
        stored: Stored,
        now: Now,
    ) -> Result<()> {
        let most = EVICTED_PER_CALL.max(2 * stored.ids.len() as u64);
        for namespace in namespaces {
            if let Some(quota) = self.quotas.get(store, namespace)? {
                self.evict(store, host, Some(namespace), quota, (stored.ids, most), now)?;
            }
        }
        if let Some(cap) = self.options.max_entries {
            self.evict(store, host, None, cap, (stored.ids, most), now)?;
        }
        self.evict_bytes(store, host, (stored, most), now)
    }

    /// Evicts as long as the entries have more bytes than the option says. A call that stores much evicts
    /// as much, so that the excess does not grow; what else is too much goes in later calls.
    fn evict_bytes(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        (stored, most): (Stored, u64),
        now: Now,
    ) -> Result<()> {
        let Some(limit) = self.options.max_bytes else {
            return Ok(());
        };
        let turn = Turn::begin(host);
        let mut first = None;
        loop {
            let entries = self.entries_in(store, host, None)?;
            let dim = self.options.embedder_dim;
            let bytes = self.weights.total(store, entries, dim)?.unwrap_or(0);
            let excess = bytes.saturating_sub(limit);
            let before = *first.get_or_insert(bytes);
            let is_paid = before.saturating_sub(bytes) >= stored.bytes;
            let is_over = turn.is_over(host) && (is_paid || turn.lasts(host, LONGEST_MILLIS));
            if excess == 0 || entries <= 1 || is_over {
                return Ok(());
            }
            let share = excess as f64 / bytes as f64;
            let to_go = ((share * entries as f64).ceil() as u64).clamp(1, entries - 1);
            let cap = entries - to_go;
            self.evict(store, host, None, cap, (stored.ids, most), now)?;
            if self.entries_in(store, host, None)? >= entries {
                // What is left was just stored, or others have written.
                return Ok(());
            }
        }
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
        self.oldest.matters();
        if self.entries_in(store, host, namespace)? <= limit {
            return Ok(());
        }
        if self.follower.is_shared() {
            // Others may have deleted since the entries were counted.
            self.sizes.others_wrote(now);
        }
        let to_go = |entries: u64| (entries - limit).max(limit / 10).max(1).min(most);
        let mut entries = self.entries_in(store, host, namespace)?;
        if entries <= limit {
            return Ok(());
        }
        // Always first: entries may have expired since the oldest were read.
        let asked = u32::try_from(to_go(entries)).unwrap_or(u32::MAX);
        let expired = store.delete_expired(now.seconds(), namespace, asked)?;
        if !expired.is_empty() {
            self.deleted(&expired);
            let ids = expired.iter().map(|entry| entry.id);
            self.oldest.leave_out(&ids.collect());
            self.count_entries(host, Kind::Expirations, &expired, Event::Expiration, now);
            entries = self.entries_in(store, host, namespace)?;
            if entries <= limit || expired.len() as u64 >= most {
                return Ok(());
            }
        }
        let n = to_go(entries) as usize;
        let mut oldest = self.oldest.take(namespace, n, now);
        if oldest.is_none() {
            self.backlog.flush_touches(store)?;
            // A call that stores more than the limit keeps the last that it stored.
            let room = usize::try_from(limit).unwrap_or(usize::MAX);
            let spared: BTreeSet<u64> = stored.iter().rev().take(room).copied().collect();
            let ahead = (entries - limit).clamp(n as u64, READ_AHEAD.max(n as u64));
            let asked = ahead.saturating_add(spared.len() as u64);
            let list = |n: u64| store.iter_lru_ids(u32::try_from(n).unwrap_or(u32::MAX), namespace);
            let mut found = list(asked)?;
            let more = self.oldest.uses.to_list(&found) as u64;
            if more > 0 && found.len() as u64 >= asked {
                found = list(asked.saturating_add(more))?;
            }
            let mut found = self.oldest.uses.sort(found);
            found.retain(|entry| !spared.contains(&entry.id));
            found.truncate(ahead as usize);
            let first = found.drain(..n.min(found.len())).collect();
            self.oldest.keep(namespace, found, now);
            oldest = Some(first);
        }
        let evicted = self.delete_unchanged(store, oldest.unwrap_or_default())?;
        self.count_entries(host, Kind::Evictions, &evicted, Event::Eviction, now);
        Ok(())
    }

    /// How many entries a namespace, or all, hold.
    pub(super) fn entries_in(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        namespace: Option<&str>,
    ) -> Result<u64> {
        let known = match namespace {
            Some(namespace) => self.sizes.namespaces.get(namespace).copied(),
            None => self.sizes.total,
        };
        if let Some(count) = known {
            return Ok(count);
        }
        let start = host.now();
        let count = store.count(namespace)?;
        self.sizes.counted(start, host.now());
        match namespace {
            Some(namespace) => drop(self.sizes.namespaces.insert(namespace.to_owned(), count)),
            None => self.sizes.total = Some(count),
        }
        Ok(count)
    }

    /// Evicts all entries beyond the cap of their number, and returns how many.
    pub(super) fn shrink(&mut self, store: &impl Store, host: &impl Host, now: Now) -> Result<u64> {
        let Some(cap) = self.options.max_entries else {
            return Ok(0);
        };
        let before = store.count(None)?;
        let mut left = before;
        while left > cap {
            self.evict(store, host, None, cap, (&[], EVICTED_PER_STEP), now)?;
            let now_left = store.count(None)?;
            if now_left >= left {
                break;
            }
            left = now_left;
        }
        Ok(before.saturating_sub(left))
    }
}
