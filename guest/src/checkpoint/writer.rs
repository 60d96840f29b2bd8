//! Writing an archive, in one pass over the store.

use super::compression::Compressor;
use super::order::{LastUse, Order};
use super::rows::{Keys, Page};
use super::state::{State, check_stored_quotas};
use super::tarball::TarWriter;
use super::{
    CHECKSUMS, Checksum, Checksums, ENTRIES_PER_READ, Limits, MANIFEST, MAX_DESCRIPTION_BYTES,
    SNAPSHOT, STATE, manifest, page_names,
};
use crate::bound::ticket;
use crate::error::{Result, describe};
use crate::host::Archive;
use crate::options;
use crate::store::{Store, check_ids, each_names};
use crate::types::{DumpOptions, DumpReport, Entry, Error, Layout, Manifest, Unit};
use sha2::{Digest, Sha256};

/// Bytes of a snapshot that are read from the store at a time.
const SNAPSHOT_STEP: u32 = 1 << 20;

/// Writes the data of an open store. `described` is the manifest without layout, kind of store,
/// namespaces and consistency, which this fills in. `uses` are the last uses of entries, in their
/// order; a native archive has only what the store knows of them.
pub fn dump(
    store: &impl Store,
    archive: &impl Archive,
    options: &DumpOptions,
    described: Manifest,
    limits: Limits,
    uses: Vec<LastUse>,
) -> Result<DumpReport> {
    let capabilities = store.capabilities();
    let layout = options.layout.unwrap_or(match capabilities.snapshot {
        true => Layout::Native,
        false => Layout::Portable,
    });
    if layout == Layout::Native && !capabilities.snapshot {
        return Err(Error::Unsupported(format!(
            "the {} store cannot make snapshots; dump with the portable layout",
            capabilities.name
        )));
    }
    let tar = TarWriter::new(
        Compressor::new(archive, options.compression, options.level)?,
        described.created_at,
    );
    let writer = Writer {
        store,
        archive,
        tar,
        members: Vec::new(),
        limits,
        manifest: Manifest {
            layout,
            store: capabilities.name,
            ..described
        },
    };
    match layout {
        Layout::Native => {
            match store.list_namespace_quotas() {
                Ok(quotas) => check_stored_quotas(&mut quotas.iter().map(|(name, _)| name))?,
                // A snapshot takes what is damaged too. Whoever reads it finds the damage.
                Err(Error::Corrupt(_)) => {}
                Err(error) => return Err(error),
            }
            let size = store.begin_snapshot()?;
            let written = writer.native(size);
            let ended = store.end_snapshot();
            written.and_then(|report| ended.map(|()| report))
        }
        Layout::Portable => {
            let consistent = store.begin_view()?;
            let written = writer.portable(consistent, Order::new(uses));
            let ended = store.end_view();
            written.and_then(|report| ended.map(|()| report))
        }
    }
}

/// The rows of a portable archive, as far as they are written.
struct Rows {
    order: Order,
    /// How many entries the store counts.
    expected: u64,
    page: Page,
    keys: Keys,
    pages: u32,
    /// The rows of the pages before.
    entries: u64,
}

struct Writer<'a, S, A: Archive> {
    store: &'a S,
    archive: &'a A,
    tar: TarWriter<'a, A>,
    members: Vec<Checksum>,
    limits: Limits,
    manifest: Manifest,
}

impl<S: Store, A: Archive> Writer<'_, S, A> {
    fn native(mut self, size: u64) -> Result<DumpReport> {
        self.manifest.consistent = true;
        self.describe()?;
        self.tar.begin(SNAPSHOT, size)?;
        let mut hash = Sha256::new();
        let mut done = 0;
        loop {
            let bytes = self.store.read_snapshot(SNAPSHOT_STEP)?;
            if bytes.is_empty() {
                break;
            }
            hash.update(&bytes);
            self.tar.write(&bytes)?;
            done += bytes.len() as u64;
            self.archive.progress(done, Some(size), Unit::Bytes);
        }
        self.tar.end()?;
        self.members.push(Checksum::new(SNAPSHOT, size, hash));
        self.finish(None)
    }

    fn portable(mut self, consistent: bool, order: Order) -> Result<DumpReport> {
        self.manifest.consistent = consistent;
        self.describe()?;
        let mut state = State {
            quotas: self.store.list_namespace_quotas()?.into_iter().collect(),
            meta: self.store.list_meta()?.into_iter().collect(),
        };
        state.meta.retain(|key, _| !ticket::is_of_tickets(key));
        state.check_stored()?;
        self.member(STATE, &state.encode()?)?;
        let expected = self.store.count(None)?;
        let mut rows = Rows {
            order,
            expected,
            page: Page::default(),
            keys: Keys::default(),
            pages: 0,
            entries: 0,
        };
        let mut last_id = 0;
        loop {
            let read = self.store.iter_since(last_id, ENTRIES_PER_READ)?;
            check_ids("iter-since", read.iter().map(|entry| entry.id), last_id)?;
            let is_last = read.len() < ENTRIES_PER_READ as usize;
            for entry in &read {
                last_id = entry.id;
                self.due(&mut rows, Some(last_id))?;
                if rows.order.comes_now(entry) {
                    self.row(&mut rows, entry)?;
                }
            }
            if is_last {
                break;
            }
        }
        self.due(&mut rows, None)?;
        if rows.page.rows > 0 {
            self.page(&mut rows)?;
        }
        let entries = rows.entries;
        // Without a view, others may have written meanwhile.
        if consistent && entries != expected {
            return Err(Error::Corrupt(format!(
                "the store counts {expected} entries, and {entries} of them can be read; check its integrity"
            )));
        }
        self.archive.progress(entries, Some(entries), Unit::Entries);
        self.finish(Some(entries))
    }

    /// Writes the rows that come before that of an entry, or of the end.
    fn due(&mut self, rows: &mut Rows, next: Option<u64>) -> Result<()> {
        loop {
            let due = rows.order.due(next, ENTRIES_PER_READ as usize);
            if due.is_empty() {
                return Ok(());
            }
            // Without a view, some may be gone by now.
            for entry in &self.store.get_by_ids(&due, true)? {
                self.row(rows, entry)?;
            }
        }
    }

    /// Writes the next row.
    fn row(&mut self, rows: &mut Rows, entry: &Entry) -> Result<()> {
        if !rows.keys.add(entry) {
            return check_twice(entry, self.manifest.consistent);
        }
        let id = rows.order.next_id().unwrap_or(entry.id);
        rows.page
            .add(entry, id, self.manifest.embedder_dim, self.limits)?;
        if rows.page.is_full() {
            self.page(rows)?;
            let (done, expected) = (rows.entries, rows.expected.max(rows.entries));
            self.archive.progress(done, Some(expected), Unit::Entries);
        }
        Ok(())
    }

    /// Writes a page and empties it.
    fn page(&mut self, rows: &mut Rows) -> Result<()> {
        rows.pages += 1;
        let (vectors, lines) = page_names(rows.pages);
        let page = &mut rows.page;
        self.member(&vectors, &page.vectors)?;
        self.member(&lines, &page.lines)?;
        rows.entries += page.rows;
        page.vectors.clear();
        page.lines.clear();
        page.rows = 0;
        Ok(())
    }

    fn describe(&mut self) -> Result<()> {
        let namespaces = &mut self.manifest.namespaces;
        each_names(self.store, |page| namespaces.extend(page))?;
        for namespace in &self.manifest.namespaces {
            options::check_namespace(namespace).map_err(|error| {
                Error::Corrupt(format!(
                    "the namespace {namespace:.80?} in the store could not be loaded from a checkpoint: {}; clear it, and dump again",
                    describe(&error)
                ))
            })?;
        }
        let text = manifest::encode(&self.manifest)?;
        self.member(MANIFEST, &text)
    }

    fn member(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.tar.member(name, bytes)?;
        self.members.push(Checksum::of(name, bytes));
        Ok(())
    }

    fn finish(mut self, entries: Option<u64>) -> Result<DumpReport> {
        let checksums = Checksums {
            members: self.members,
            entries,
        };
        let text = serde_json::to_vec(&checksums).map_err(|error| {
            Error::Checkpoint(format!("{CHECKSUMS} cannot be written: {error}"))
        })?;
        if text.len() as u64 > MAX_DESCRIPTION_BYTES {
            return Err(Error::Checkpoint(format!(
                "the cache is too large for one archive: {CHECKSUMS} would have {} bytes, for {} members; at most {MAX_DESCRIPTION_BYTES} are read back",
                text.len(),
                checksums.members.len()
            )));
        }
        self.tar.member(CHECKSUMS, &text)?;
        let sizes = self.tar.finish()?;
        Ok(DumpReport {
            layout: self.manifest.layout,
            entries,
            bytes: sizes.plain,
            compressed_bytes: sizes.compressed,
            consistent: self.manifest.consistent,
        })
    }
}

/// What a second entry of one namespace and query hash means. Without a view, the first may have been
/// deleted meanwhile and stored again: the archive holds it as it was read first.
fn check_twice(entry: &Entry, consistent: bool) -> Result<()> {
    if !consistent {
        return Ok(());
    }
    Err(Error::Corrupt(format!(
        "entry {} of namespace {:?} in the store could not be loaded from a checkpoint: another has the same query_hash; delete one of the two, check the store's integrity, and dump again",
        entry.id, entry.namespace
    )))
}
