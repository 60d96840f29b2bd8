//! Dumping the cache to an archive, and loading an archive into it.
//!
//! The store first receives and checks a native archive. Then its rows are read and checked
//! here, like those of a portable one. An archive that is loaded unchanged replaces the store's
//! data as a whole; any other goes row by row through an import.

use super::bounding;
use super::evicting::Oldest;
use super::kept;
use super::storing::{BATCH_BYTES, size};
use super::weighing::Weights;
use super::{Cache, EVICTING, Open, REPLACING_KEY, Sizes, WRITING_LATER, opened};
use crate::bound::ticket;
use crate::checkpoint::manifest::{
    FORMAT_VERSION, SCHEMA_VERSION, check_embedder, check_namespaces, check_store,
};
use crate::checkpoint::overrides::Overrides;
use crate::checkpoint::reader::{Part, Reader, Verified};
use crate::checkpoint::rows::Entries;
use crate::checkpoint::state::{State, add_counters};
use crate::checkpoint::{ENTRIES_PER_READ, Limits, SNAPSHOT, refused, writer};
use crate::coordination::Follower;
use crate::counters::{self, ATTEMPTS};
use crate::error::{Result, invalid};
use crate::host::{Archive, Host};
use crate::options;
use crate::quotas::{self, Quotas};
use crate::store::Store;
use crate::types::{
    BackendError, DumpOptions, DumpReport, Entry, Error, ImportMode, InspectOptions, Layout,
    LoadOptions, LoadReport, Manifest, MetaChange, NamespaceSummary, Options, Restored, Summary,
    Unit,
};
use std::collections::{BTreeMap, BTreeSet};

impl<S: Store, H: Host> Cache<S, H> {
    /// See `checkpoint.dump`.
    pub fn dump(&mut self, options: &DumpOptions, archive: &impl Archive) -> Result<DumpReport> {
        let (store, host, open) = self.parts()?;
        let now = host.now();
        // The archive does not depend on it.
        let flushed = open.write_backlog(store, now);
        open.note(WRITING_LATER, flushed);
        // A native archive contains it.
        while open.keep_index(store, host).is_under() {}
        let described = Manifest {
            format_version: FORMAT_VERSION,
            schema_version: SCHEMA_VERSION,
            embedder_fingerprint: open.options.embedder_fingerprint.clone(),
            embedder_dim: open.options.embedder_dim,
            layout: Layout::Portable,
            store: String::new(),
            vector_dtype: open.options.vector_dtype,
            created_at: now.seconds(),
            namespaces: Vec::new(),
            written_by: None,
            consistent: false,
        };
        let limits = Limits::of(&open.options);
        let uses = open.oldest.uses();
        writer::dump(store, archive, options, described, limits, uses)
    }

    /// See `checkpoint.load`.
    pub fn load(&mut self, options: LoadOptions, archive: &impl Archive) -> Result<LoadReport> {
        let (store, host, open) = (&self.store, &self.host, opened(&mut self.open)?);
        let overrides = Overrides::new(&options)?;
        check_expansion(options.max_expansion)?;
        options::check_max_entries(options.max_entries)?;
        let now = host.now();
        let flushed = open.write_backlog(store, now);
        open.note(WRITING_LATER, flushed);
        let limits = Limits::of(&open.options);
        let reader = Reader::open(archive, options.max_expansion, limits)?;
        let manifest = reader.manifest().clone();
        check_embedder(
            &manifest,
            &open.options.embedder_fingerprint,
            open.options.embedder_dim,
        )?;
        let capabilities = store.capabilities();
        check_store(&manifest, &capabilities.name, capabilities.snapshot)?;
        check_namespaces(&manifest, options.namespaces.as_deref().unwrap_or_default())?;
        if options.mode == ImportMode::Empty {
            check_empty(store.count(None)?)?;
        }
        let named = named_quotas(store, options.mode, &open.options)?;
        let mut import = Import {
            store,
            archive,
            mode: options.mode,
            overrides: &overrides,
            dim: open.options.embedder_dim,
            limits,
            named,
            max_batch: open.max_batch,
            batch: Vec::new(),
            batch_bytes: 0,
            entries: 0,
            skipped: 0,
            expected: None,
        };
        match manifest.layout {
            Layout::Native => import.native(reader)?,
            Layout::Portable => import.portable(reader)?,
        }
        let (entries, skipped) = (import.entries, import.skipped);
        open.start_over();
        // A native archive brings its own key.
        let replaced = open.replace_ticket_key(store);
        open.note(REPLACING_KEY, replaced);
        if let Some(dtype) = options.vector_dtype {
            open.options.vector_dtype = dtype;
        }
        if options.max_entries.is_some() {
            open.options.max_entries = options.max_entries;
        }
        // The archive is loaded, so later failures do not fail the call.
        let evicted = open.shrink(store, host, now);
        let count = *evicted.as_ref().unwrap_or(&0);
        open.note(EVICTING, evicted.map(drop));
        Ok(LoadReport {
            manifest,
            entries,
            skipped,
            evicted: count,
        })
    }

    /// See `checkpoint.inspect`.
    pub fn inspect(&mut self, options: &InspectOptions, archive: &impl Archive) -> Result<Summary> {
        if self.open.is_some() {
            return Err(invalid("the cache is open; inspect works on a closed one"));
        }
        check_expansion(options.max_expansion)?;
        let store = &self.store;
        let limits = Limits::given(options);
        let reader = Reader::open(archive, options.max_expansion, limits)?;
        let manifest = reader.manifest().clone();
        let compression = reader.compression();
        // Entries and quota of each.
        let mut namespaces = BTreeMap::<String, (u64, Option<u64>)>::new();
        let mut tally = |entry: &Entry| match namespaces.get_mut(&entry.namespace) {
            Some((entries, _)) => *entries += 1,
            None => drop(namespaces.insert(entry.namespace.clone(), (1, None))),
        };
        let (verified, state) = match manifest.layout {
            Layout::Native => {
                let capabilities = store.capabilities();
                check_store(&manifest, &capabilities.name, capabilities.snapshot)?;
                store.open(&manifest.embedder_fingerprint, manifest.embedder_dim)?;
                let found = receive(store, archive, reader).and_then(|(verified, restored)| {
                    let entries = restored.entries;
                    let state = state_of(restored)?;
                    read_restored(store, manifest.embedder_dim, limits, entries, |entry| {
                        tally(&entry);
                        Ok(())
                    })?;
                    Ok((
                        Verified {
                            entries,
                            ..verified
                        },
                        state,
                    ))
                });
                // The first error is reported.
                let ended = store.end_restore();
                let closed = store.close();
                let found = found?;
                ended.and(closed)?;
                found
            }
            Layout::Portable => {
                let mut state = State::default();
                let verified = reader.read(&mut |part| {
                    match part {
                        Part::State(found) => state = found,
                        Part::Entry(entry) => tally(&entry),
                        Part::Snapshot(..) => {}
                    }
                    Ok(())
                })?;
                (verified, state)
            }
        };
        for (namespace, quota) in state.quotas {
            namespaces.entry(namespace).or_insert((0, None)).1 = Some(quota);
        }
        let summaries =
            namespaces
                .into_iter()
                .map(|(namespace, (entries, quota))| NamespaceSummary {
                    namespace,
                    entries,
                    quota,
                });
        Ok(Summary {
            manifest,
            compression,
            checksummed: verified.checksummed,
            entries: verified.entries,
            namespaces: summaries.collect(),
            meta_keys: state.meta.into_keys().collect(),
            bytes: verified.sizes.plain,
            compressed_bytes: verified.sizes.compressed,
        })
    }
}

/// The quotas, as they are now, of the namespaces that the options named at opening: a load
/// that replaces everything keeps them where the archive has none.
fn named_quotas(
    store: &impl Store,
    mode: ImportMode,
    options: &Options,
) -> Result<Vec<(String, u64)>> {
    if mode != ImportMode::Replace || options.namespace_quotas.is_empty() {
        return Ok(Vec::new());
    }
    let mut quotas = store.list_namespace_quotas()?;
    let named: BTreeSet<&String> = options.namespace_quotas.iter().map(|(n, _)| n).collect();
    quotas.retain(|(name, _)| named.contains(name));
    Ok(quotas)
}

impl Open {
    /// Forgets everything known about the store's data, which has been replaced.
    fn start_over(&mut self) {
        self.backlog.forget_all();
        self.drop_index();
        self.short = None;
        self.sizes = Sizes::default();
        self.oldest = Oldest::default();
        self.weights = Weights::default();
        self.quotas = Quotas::default();
        self.follower = Follower::new(self.options.coordination);
    }
}

/// An archive on its way into a store.
struct Import<'a, S, A> {
    store: &'a S,
    archive: &'a A,
    mode: ImportMode,
    overrides: &'a Overrides,
    dim: u32,
    limits: Limits,
    /// Quotas to keep where the archive has none.
    named: Vec<(String, u64)>,
    max_batch: usize,
    /// Entries to write next.
    batch: Vec<Entry>,
    batch_bytes: usize,
    entries: u64,
    skipped: u64,
    /// How many entries the archive has, if that is known.
    expected: Option<u64>,
}

impl<S: Store, A: Archive> Import<'_, S, A> {
    fn portable(&mut self, reader: Reader<A>) -> Result<()> {
        self.store.begin_import(self.mode)?;
        let mut state = State::default();
        let imported = reader
            .read(&mut |part| match part {
                Part::State(found) => {
                    state = found;
                    Ok(())
                }
                Part::Entry(entry) => self.take(entry),
                Part::Snapshot(..) => Ok(()),
            })
            .and_then(|_| self.commit(state));
        self.forgetting(imported, S::end_import)
    }

    fn native(&mut self, reader: Reader<A>) -> Result<()> {
        let loaded = receive(self.store, self.archive, reader)
            .and_then(|(_, restored)| self.restored(restored));
        self.forgetting(loaded, S::end_restore)
    }

    /// Makes a snapshot part of the store's data. The store has received and checked it.
    fn restored(&mut self, restored: Restored) -> Result<()> {
        let rows = restored.entries;
        self.expected = Some(rows);
        let state = state_of(restored)?;
        let (store, dim, limits) = (self.store, self.dim, self.limits);
        if self.can_be_taken_whole(&state)? {
            read_restored(store, dim, limits, rows, |_| Ok(()))?;
            self.entries = rows;
            return self.store.commit_restore(self.mode == ImportMode::Empty);
        }
        self.store.begin_import(self.mode)?;
        let imported = read_restored(store, dim, limits, rows, |entry| self.take(entry))
            .and_then(|()| self.commit(state));
        self.forgetting(imported, S::end_import)
    }

    /// Whether the snapshot may replace the store's data unchanged: the options change nothing
    /// about it, and nothing of the present data must stay.
    fn can_be_taken_whole(&self, archived: &State) -> Result<bool> {
        Ok(self.overrides.change_nothing()
            && match self.mode {
                ImportMode::Replace => {
                    let mut kept = self.named.iter();
                    kept.all(|(name, _)| archived.quotas.contains_key(name))
                }
                ImportMode::Merge => false,
                ImportMode::Empty => {
                    self.store.list_meta()?.is_empty()
                        && self.store.list_namespace_quotas()?.is_empty()
                }
            })
    }

    fn take(&mut self, entry: Entry) -> Result<()> {
        let Some(entry) = self.overrides.entry(entry)? else {
            self.skipped += 1;
            return Ok(());
        };
        let size = size(&entry);
        if self.batch.len() >= self.max_batch || self.batch_bytes + size > BATCH_BYTES {
            self.write()?;
        }
        self.batch_bytes += size;
        self.batch.push(entry);
        self.entries += 1;
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        if !self.batch.is_empty() {
            self.store.write_import(&self.batch)?;
            self.batch.clear();
            self.batch_bytes = 0;
        }
        let done = self.entries + self.skipped;
        self.archive.progress(done, self.expected, Unit::Entries);
        Ok(())
    }

    fn commit(&mut self, archived: State) -> Result<()> {
        self.write()?;
        let mut state = self.overrides.state(archived)?;
        for (namespace, quota) in &self.named {
            state.quotas.entry(namespace.clone()).or_insert(*quota);
        }
        self.check_quotas(&state)?;
        let quotas: Vec<(String, u64)> = state.quotas.into_iter().collect();
        for _ in 0..ATTEMPTS {
            let meta = self.meta_changes(&state.meta)?;
            if self.store.commit_import(&quotas, &meta)? {
                return Ok(());
            }
        }
        Err(Error::Backend(BackendError {
            message: format!(
                "the cache's meta values were changed by others during {ATTEMPTS} attempts to load; nothing was loaded, try again when fewer write"
            ),
            retryable: true,
        }))
    }

    /// Refuses quotas that would be too many together with those that stay.
    fn check_quotas(&self, state: &State) -> Result<()> {
        if state.quotas.is_empty() {
            return Ok(());
        }
        let mut present = match self.mode {
            ImportMode::Replace => Vec::new(),
            ImportMode::Empty | ImportMode::Merge => self.store.list_namespace_quotas()?,
        };
        present.retain(|(name, _)| !state.quotas.contains_key(name));
        let staying = present.iter().map(|(name, _)| name);
        quotas::check(&mut state.quotas.keys().chain(staying)).map_err(|reason| {
            Error::Checkpoint(format!("after the load, {reason}; nothing was loaded"))
        })
    }

    /// The archive's values, with its counters added to those of the cache, whose labels stay. A version of
    /// the version counter means nothing in another store, and a key of tickets that others know protects
    /// nothing.
    fn meta_changes(&self, archived: &BTreeMap<String, String>) -> Result<Vec<MetaChange>> {
        archived
            .iter()
            .filter(|(key, _)| *key != kept::ERASED && !ticket::is_of_tickets(key))
            .map(|(key, value)| {
                let mut change = MetaChange {
                    key: key.clone(),
                    expected: None,
                    value: value.clone(),
                };
                if self.mode == ImportMode::Replace {
                    return Ok(change);
                }
                change.expected = self.store.read_meta(key)?;
                if key == counters::META_KEY {
                    change.value = add_counters(change.expected.as_deref(), value)
                        .map_err(|error| counters::damaged(&error))?;
                } else if key.starts_with(bounding::META_PREFIX)
                    && let Some(present) = &change.expected
                {
                    // Labels that come twice would count twice.
                    change.value.clone_from(present);
                }
                Ok(change)
            })
            .collect()
    }

    /// The outcome, after the store has been told to forget what is left over. The first error
    /// is reported. After a success nothing is left over.
    fn forgetting(&self, outcome: Result<()>, forget: fn(&S) -> Result<()>) -> Result<()> {
        let _ = forget(self.store);
        outcome
    }
}

/// Hands a native archive to the store, which reports its content. The store's data does not
/// change.
fn receive(
    store: &impl Store,
    archive: &impl Archive,
    reader: Reader<impl Archive>,
) -> Result<(Verified, Restored)> {
    store.begin_restore()?;
    let mut done = 0;
    let verified = reader.read(&mut |part| {
        if let Part::Snapshot(bytes, size) = part {
            store.write_restore(bytes)?;
            done += bytes.len() as u64;
            archive.progress(done, Some(size), Unit::Bytes);
        }
        Ok(())
    })?;
    let restored = store.check_restore().map_err(of_snapshot)?;
    Ok((verified, restored))
}

/// About how many bytes of a snapshot are read at a time.
const RESTORED_BYTES: usize = 1 << 20;

/// Reads and checks all `expected` entries of a snapshot that the store has received.
fn read_restored(
    store: &impl Store,
    dim: u32,
    limits: Limits,
    expected: u64,
    mut take: impl FnMut(Entry) -> Result<()>,
) -> Result<()> {
    let mut rows = 0;
    let mut entries = Entries::new(dim, limits);
    // Rows may be larger than any entry: the first is read alone, and many only where all are small.
    let mut limit = 1;
    loop {
        let page = store
            .read_restore(entries.last_id(), limit)
            .map_err(of_snapshot)?;
        let is_last = page.len() < limit as usize;
        let largest = page.iter().map(size).max().unwrap_or_default().max(1);
        limit = u32::try_from(RESTORED_BYTES / largest)
            .unwrap_or(u32::MAX)
            .clamp(1, ENTRIES_PER_READ);
        for entry in page {
            entries.check(&entry).map_err(|reason| {
                refused(
                    SNAPSHOT,
                    format!(
                        "entry {} of namespace {:?}: {reason}",
                        entry.id, entry.namespace
                    ),
                )
            })?;
            rows += 1;
            take(entry)?;
        }
        if is_last {
            break;
        }
    }
    if rows != expected {
        return Err(refused(
            SNAPSHOT,
            format!("it has {expected} entries, and {rows} of them with ids from 1 up"),
        ));
    }
    Ok(())
}

/// A snapshot that the store cannot read is the archive's fault, not that of the store's data.
fn of_snapshot(error: Error) -> Error {
    match error {
        Error::Corrupt(reason) | Error::InvalidArgument(reason) | Error::Unsupported(reason) => {
            refused(SNAPSHOT, reason)
        }
        error => error,
    }
}

fn state_of(restored: Restored) -> Result<State> {
    let state = State {
        quotas: restored.quotas.into_iter().collect(),
        meta: restored.meta.into_iter().collect(),
    };
    state.check(SNAPSHOT)?;
    Ok(state)
}

fn check_empty(entries: u64) -> Result<()> {
    if entries == 0 {
        return Ok(());
    }
    Err(Error::Checkpoint(format!(
        "the cache already holds {entries} entries; load with the mode merge to add to them, or replace to delete them"
    )))
}

fn check_expansion(max_expansion: u32) -> Result<()> {
    match max_expansion {
        0 => Err(invalid("option max-expansion is 0; it must be at least 1")),
        _ => Ok(()),
    }
}
