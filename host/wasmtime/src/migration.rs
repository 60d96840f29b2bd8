//! Copying a store into another one, for another backend or another embedder.
//!
//! ```
//! use mneme::embedder::{EmbedError, Embedder, Guarded};
//! use mneme::migration::Migration;
//! use mneme::{MemoryStore, Store};
//! # struct NewModel;
//! # impl Embedder for NewModel {
//! #     fn fingerprint(&self) -> &str { "new-model" }
//! #     fn dim(&self) -> u32 { 2 }
//! #     fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EmbedError> {
//! #         Ok(texts.iter().map(|text| vec![1.0, text.len() as f32]).collect())
//! #     }
//! # }
//! # let new_model = Guarded::new(NewModel);
//! # let mut source = MemoryStore::new();
//! # source.open("old-model", 3)?;
//! # source.close()?;
//!
//! let mut target = MemoryStore::new();
//! let report = Migration::new()
//!     .namespaces(["support"])
//!     .reembed(&mut source, &mut target, &new_model)?;
//! println!("{} entries are in the target", report.written + report.present);
//! # Ok::<(), mneme::Error>(())
//! ```
//!
//! Entries keep their query, response, metadata, lifetime, creation time and access data. Quotas
//! are copied too; counters start at zero. The source is only read. Expired entries stay behind.
//! A migration may miss what others write to the source meanwhile: run it once more.
//!
//! The target fills up in atomic steps. Run an interrupted migration again to resume it: what is
//! already in the target is neither embedded nor written a second time. Running it once more
//! after the end, with [`Migration::merge`] because the target is no longer empty, copies what
//! the source has received since. If both have an answer to the same query, the newer one stays.

mod mark;
#[cfg(test)]
mod tests;
mod vectors;

use crate::component::{Engine, Functions};
use crate::embedder::Guarded;
use crate::error::{Error, Result};
use crate::host::{Clock, SystemClock};
use crate::punctual::Punctual;
use crate::store::{Entry, EntryKey, Store, checks, count_all_namespaces};
use mark::Mark;
use std::collections::BTreeSet;
use vectors::PAGE;

pub use mark::META_KEY;

/// The most bytes of entries in one `insert`, and about the most that are read before they are
/// written.
const STEP_BYTES: usize = 16 << 20;

/// How to copy a store.
pub struct Migration<'a> {
    namespaces: Option<BTreeSet<String>>,
    merge: bool,
    embed_exact_only: bool,
    allow_unreadable: bool,
    source_name: String,
    clock: Box<dyn Clock + 'a>,
    watch: Box<dyn FnMut(Progress) + 'a>,
}

impl std::fmt::Debug for Migration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Migration")
            .field("namespaces", &self.namespaces)
            .field("merge", &self.merge)
            .finish_non_exhaustive()
    }
}

/// How far a migration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Entries of the source that are done.
    pub done: u64,
    /// Entries that the source had at the beginning.
    pub total: u64,
}

/// What a migration did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Entries written to the target.
    pub written: u64,
    /// Of these, entries without a vector, which only the exact layer finds.
    pub exact_only: u64,
    /// Entries that were already in the target, from an earlier run.
    pub present: u64,
    /// Entries not copied, because the target has a newer answer.
    pub newer: u64,
    /// Expired entries, which stayed behind.
    pub expired: u64,
    /// Quotas set.
    pub quotas: u64,
    /// Whether an earlier run had already filled a part of the target.
    pub resumed: bool,
}

impl Default for Migration<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Migration<'a> {
    /// Everything, into an empty target.
    pub fn new() -> Self {
        Migration {
            namespaces: None,
            merge: false,
            embed_exact_only: false,
            allow_unreadable: false,
            source_name: String::new(),
            clock: Box::new(SystemClock),
            watch: Box::new(|_| {}),
        }
    }

    /// Takes the entries and quotas of these namespaces only.
    #[must_use]
    pub fn namespaces(mut self, namespaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.namespaces = Some(namespaces.into_iter().map(Into::into).collect());
        self
    }

    /// Whether the target may have entries. They stay, unless the source has a newer answer to
    /// the same query; existing quotas stay too. Default false.
    #[must_use]
    pub fn merge(mut self, merge: bool) -> Self {
        self.merge = merge;
        self
    }

    /// Whether [`reembed`](Self::reembed) also makes vectors for entries that have none: those
    /// that only the exact layer finds. They were stored so on request, or as the embedder was down
    /// or could not read the text; the source does not say which. Default false: they stay as they
    /// are, so that no answer serves more questions than it was meant for.
    #[must_use]
    pub fn embed_exact_only(mut self, embed: bool) -> Self {
        self.embed_exact_only = embed;
        self
    }

    /// Whether texts that the embedder cannot read get its vectors all the same; see
    /// [`Builder::allow_unreadable`](crate::Builder::allow_unreadable). Default false.
    #[must_use]
    pub fn allow_unreadable(mut self, allow: bool) -> Self {
        self.allow_unreadable = allow;
        self
    }

    /// The name of the source in the target's mark, by which a run knows whether it may resume
    /// an earlier one. Do not use a secret: the target shows it. Default empty.
    #[must_use]
    pub fn source_name(mut self, name: impl Into<String>) -> Self {
        self.source_name = name.into();
        self
    }

    /// The clock that decides which entries are expired. Default [`SystemClock`].
    #[must_use]
    pub fn clock(mut self, clock: impl Clock + 'a) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Calls this function with the progress, after each step.
    #[must_use]
    pub fn on_progress(mut self, watch: impl FnMut(Progress) + 'a) -> Self {
        self.watch = Box::new(watch);
        self
    }

    /// Copies entries with their vectors. Pass both stores closed; they are closed again at the
    /// end. The source must support [`Store::recorded_embedder`].
    ///
    /// # Errors
    ///
    /// [`Error::InvalidArgument`] for a source without a cache, a target that is the source, and
    /// a target that already has other entries; [`Error::EmbedderMismatch`] and
    /// [`Error::EmbedderDimension`] for a target of another embedder; what the stores return.
    /// Entries written before the error stay, and the next run continues from there.
    pub fn copy(self, source: &mut dyn Store, target: &mut dyn Store) -> Result<Report> {
        self.migrate(source, target, None)
    }

    /// Copies entries with vectors that this embedder makes of their normalised queries, by calls
    /// of up to 64 texts. Entries without a vector are copied as they are, unless
    /// [`embed_exact_only`](Self::embed_exact_only) says otherwise.
    ///
    /// # Errors
    ///
    /// As [`copy`](Self::copy); [`Error::InvalidArgument`] for a source of this same embedder;
    /// [`Error::Embedder`]; [`Error::Corrupt`] for an entry whose hash is not that of its query.
    pub fn reembed(
        self,
        source: &mut dyn Store,
        target: &mut dyn Store,
        embedder: &Guarded,
    ) -> Result<Report> {
        self.migrate(source, target, Some(embedder))
    }

    fn migrate(
        mut self,
        source: &mut dyn Store,
        target: &mut dyn Store,
        embedder: Option<&Guarded>,
    ) -> Result<Report> {
        let from = source.recorded_embedder()?.ok_or_else(|| {
            Error::InvalidArgument(format!(
                "the source, a {} store, holds no cache; check its address",
                source.capabilities().name
            ))
        })?;
        let to = match embedder {
            None => from.clone(),
            Some(embedder) if embedder.fingerprint() == from.fingerprint => {
                return Err(Error::InvalidArgument(format!(
                    "the source was already made with the embedder {:?}; copy it without embedding it again",
                    from.fingerprint
                )));
            }
            Some(embedder) => checks::Embedder::given(embedder.fingerprint(), embedder.dim())?,
        };
        source.open(&from.fingerprint, from.dim)?;
        let outcome = target
            .open(&to.fingerprint, to.dim)
            .map_err(Error::from)
            .and_then(|()| self.between(source, target, embedder));
        let closed = target.close().and(source.close());
        let report = outcome?;
        closed?;
        Ok(report)
    }

    fn between(
        &mut self,
        source: &mut dyn Store,
        target: &mut dyn Store,
        embedder: Option<&Guarded>,
    ) -> Result<Report> {
        let now = self.clock.now();
        Punctual::default().check_expiring(now, source)?;
        Punctual::default().check_expiring(now, target)?;
        let mark = Mark::set(source, target, &self.source_name, self.merge)?;
        let mut report = Report {
            resumed: mark.resumed,
            ..Report::default()
        };
        let mut progress = Progress {
            done: 0,
            total: self.count(source)?,
        };
        self.copy_quotas(source, target, &mut report)?;
        let mut functions = match embedder {
            Some(_) => Some(Functions::start(&Engine::shared()?)?),
            None => None,
        };
        (self.watch)(progress);
        let step = PAGE * embedder.map_or(1, Guarded::calls);
        let mut last_id = 0;
        loop {
            let (mut read, mut bytes) = (Vec::new(), 0);
            while read.len() < step && bytes < STEP_BYTES {
                let page = source.iter_since(last_id, PAGE as u32)?;
                let is_last = page.len() < PAGE;
                checks::ascending(page.iter().map(|entry| entry.id), last_id)?;
                let Some(entry) = page.last() else { break };
                last_id = entry.id;
                bytes += page.iter().map(size).sum::<usize>();
                read.extend(page);
                if is_last {
                    break;
                }
            }
            if read.is_empty() {
                break;
            }
            if let Some(namespaces) = &self.namespaces {
                read.retain(|entry| namespaces.contains(&entry.namespace));
            }
            let dealt_with = read.len() as u64;
            let mut wanted = self.wanted(target, read, &mut report)?;
            if let (Some(embedder), Some(functions)) = (embedder, &mut functions) {
                vectors::embed(embedder, functions, &mut wanted, self)?;
            }
            let exact_only = wanted.iter().filter(|entry| vectors::is_exact_only(entry));
            report.exact_only += exact_only.count() as u64;
            report.written += write(target, wanted)?;
            progress.done += dealt_with;
            progress.total = progress.total.max(progress.done);
            (self.watch)(progress);
        }
        mark.remove(target)?;
        Ok(report)
    }

    fn count(&self, source: &mut dyn Store) -> Result<u64> {
        let Some(namespaces) = &self.namespaces else {
            return Ok(source.count(None)?);
        };
        let mut counts = count_all_namespaces(source)?;
        counts.retain(|(namespace, _)| namespaces.contains(namespace));
        Ok(counts.into_iter().map(|(_, count)| count).sum())
    }

    fn copy_quotas(
        &self,
        source: &mut dyn Store,
        target: &mut dyn Store,
        report: &mut Report,
    ) -> Result<()> {
        for (namespace, quota) in source.list_namespace_quotas()? {
            if let Some(namespaces) = &self.namespaces
                && !namespaces.contains(&namespace)
            {
                continue;
            }
            let present = target.get_namespace_quota(&namespace)?;
            if present != Some(quota) && (present.is_none() || !self.merge) {
                target.set_namespace_quota(&namespace, Some(quota))?;
                report.quotas += 1;
            }
        }
        Ok(())
    }

    /// The entries that the target is to get.
    fn wanted(
        &self,
        target: &mut dyn Store,
        mut entries: Vec<Entry>,
        report: &mut Report,
    ) -> Result<Vec<Entry>> {
        let now = self.clock.now().as_secs();
        let read = entries.len();
        entries.retain(|entry| {
            let end = entry.ttl.map(|ttl| entry.created_at.saturating_add(ttl));
            end.is_none_or(|end| now < end)
        });
        report.expired += (read - entries.len()) as u64;
        let keys: Vec<EntryKey> = entries
            .iter()
            .map(|entry| EntryKey {
                namespace: entry.namespace.clone(),
                query_hash: entry.query_hash.clone(),
            })
            .collect();
        let present = target.get_by_hash(&keys, true)?;
        let mut wanted = Vec::new();
        for (entry, present) in entries.into_iter().zip(present) {
            match present {
                Some(present) if is_copy(&entry, &present) => report.present += 1,
                Some(present) if present.created_at > entry.created_at => report.newer += 1,
                _ => wanted.push(entry),
            }
        }
        Ok(wanted)
    }
}

/// Whether the target has this version of the entry. Access data move on.
fn is_copy(entry: &Entry, present: &Entry) -> bool {
    entry.created_at == present.created_at
        && entry.ttl == present.ttl
        && entry.query == present.query
        && entry.response == present.response
        && entry.metadata == present.metadata
}

/// The bytes of an entry, but for a few.
fn size(entry: &Entry) -> usize {
    entry.query.len() + entry.response.len() + entry.metadata.len() + 4 * entry.embedding.len()
}

/// Writes entries in their order, and returns how many.
fn write(target: &mut dyn Store, entries: Vec<Entry>) -> Result<u64> {
    let count = entries.len() as u64;
    let max_batch = (target.capabilities().max_batch as usize).max(1);
    let (mut step, mut bytes) = (Vec::new(), 0);
    for entry in entries {
        let size = size(&entry);
        if !step.is_empty() && (step.len() == max_batch || bytes + size > STEP_BYTES) {
            target.insert(std::mem::take(&mut step))?;
            bytes = 0;
        }
        bytes += size;
        step.push(entry);
    }
    if !step.is_empty() {
        target.insert(step)?;
    }
    Ok(count)
}
