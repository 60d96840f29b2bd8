//! What a case works with: its own names, entries, and clearing up.

use std::collections::BTreeSet;

use crate::calls::called;
use crate::check::{About, Checked, Kind, Stop, check, failed, same_entries, same_entry};
use crate::contract::{CapabilitySet, Entry, EntryKey, EntryRef, Error, Filter, store};
use crate::{data, show};

/// The time at which the entries of the cases were created: far ahead, so that a
/// backend that expires entries by its own clock lets them be.
pub const START: u64 = 4_000_000_000;

/// The greatest number that every store keeps exactly.
pub const GREATEST: u64 = (1 << 53) - 1;

/// With what a store that names no other embedder is opened.
const FINGERPRINT: &str = "mneme-conformance@1";
const DIM: u32 = 8;

/// One phase of one case at work.
///
/// Whatever a case writes goes under names that hold the name of the case and the
/// seed. A namespace or a blob is known to the clearing-up when it has been named, a quota or
/// a meta key when it has been named or set.
#[derive(Debug)]
pub struct Case {
    prefix: String,
    seed: u64,
    /// What the store can do.
    pub capabilities: CapabilitySet,
    /// The embedder that the store is open with.
    pub fingerprint: String,
    /// The number of dimensions that the store is open with.
    pub dim: u32,
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) quotas: BTreeSet<String>,
    pub(crate) meta: BTreeSet<String>,
    pub(crate) blobs: BTreeSet<String>,
}

impl Case {
    /// A case that has done nothing yet.
    pub fn new(name: &str, seed: u64, capabilities: CapabilitySet) -> Self {
        Self {
            prefix: format!("conformance/{name}/{seed:x}"),
            seed: data::seed_of(name, seed),
            capabilities,
            fingerprint: FINGERPRINT.to_owned(),
            dim: DIM,
            namespaces: BTreeSet::new(),
            quotas: BTreeSet::new(),
            meta: BTreeSet::new(),
            blobs: BTreeSet::new(),
        }
    }

    // Opening and closing.

    /// Opens the store with the embedder that it names.
    pub fn open(&mut self) -> Checked {
        // The fingerprint may be another one, and then the dimensions.
        for _ in 0..2 {
            match store::open(&self.fingerprint, self.dim) {
                Ok(()) => return Ok(()),
                Err(Error::EmbedderMismatch(mismatch)) => self.fingerprint = mismatch.stored,
                Err(Error::EmbedderDimension(mismatch)) => self.dim = mismatch.expected,
                Err(error) => return Err(failed("open succeeds", show::error(&error))),
            }
        }
        called("open", store::open(&self.fingerprint, self.dim))
    }

    /// Takes up a store that an earlier phase has left open.
    pub fn resume(&mut self) -> Checked {
        let fingerprint = called("read-meta", store::read_meta("embedder_fingerprint"))?;
        let dim = called("read-meta", store::read_meta("embedder_dim"))?;
        let dim = dim.as_deref().and_then(|text| text.parse().ok());
        let (Some(fingerprint), Some(dim)) = (fingerprint, dim) else {
            return Err(failed(
                "read-meta gives the embedder of an open store",
                "embedder_fingerprint or embedder_dim is missing",
            ));
        };
        (self.fingerprint, self.dim) = (fingerprint, dim);
        Ok(())
    }

    /// Closes the store.
    pub fn close(&self) -> Checked {
        called("close", store::close())
    }

    /// Closes the store and opens it again.
    pub fn reopen(&mut self) -> Checked {
        self.close()?;
        self.open()
    }

    // Names.

    /// A namespace of this case.
    pub fn space(&mut self, name: &str) -> String {
        let space = format!("{}/{name}", self.prefix);
        self.namespaces.insert(space.clone());
        space
    }

    /// A namespace of this case that begins and ends with some text.
    pub fn space_around(&mut self, text: &str) -> String {
        let space = format!("{text}{}/{text}", self.prefix);
        self.namespaces.insert(space.clone());
        space
    }

    /// A meta key of this case.
    pub fn key(&mut self, name: &str) -> String {
        let key = format!("{}/{name}", self.prefix);
        self.meta.insert(key.clone());
        key
    }

    /// The name of a blob of this case, which has room for 30 bytes more.
    pub fn blob(&mut self, name: &str) -> String {
        let blob = format!("{}{name}", self.blob_prefix());
        self.blobs.insert(blob.clone());
        blob
    }

    /// What the names of all blobs of this case begin with. The name of the case would not
    /// always fit.
    pub fn blob_prefix(&self) -> String {
        let case: String = self.prefix.chars().take(50).collect();
        format!("{case}/{:016x}/", self.seed)
    }

    // Data.

    /// Whether a name is one of this case.
    pub fn is_own(&self, name: &str) -> bool {
        name.contains(&format!("{}/", self.prefix))
    }

    /// The hash number `n` of this case.
    pub fn hash(&self, n: u64) -> String {
        data::hash(self.seed, n)
    }

    /// The vector number `n` of this case, as long as the store wants it.
    pub fn vector(&self, n: u64) -> Vec<f32> {
        data::vector(self.seed, n, self.dim)
    }

    /// Bytes that do not compress well and differ for each `n`.
    pub fn bytes(&self, n: u64, count: usize) -> Vec<u8> {
        data::bytes(self.seed ^ n, count)
    }

    /// A text that does not compress well.
    pub fn long_text(&self, n: u64, bytes: usize) -> String {
        data::long_text(self.seed ^ n, bytes)
    }

    /// The entry number `n` of this case. Numbers give it another hash, and other
    /// contents, contexts, tags and times.
    pub fn entry(&self, namespace: &str, n: u64) -> Entry {
        Entry {
            id: 0,
            namespace: namespace.to_owned(),
            context: match n % 3 {
                0 => String::new(),
                rest => format!("Context {rest} of ünequal"),
            },
            query_hash: self.hash(n),
            query: format!("Query {n}?"),
            response: format!("The response number {n}."),
            embedding: self.vector(n),
            metadata: format!("{{\"n\":{n}}}"),
            tags: (0..n % 4).map(|tag| format!("tag:{tag}")).collect(),
            created_at: START + n,
            last_accessed_at: START + 1_000 + n,
            ttl: None,
            access_count: n % 5,
        }
    }

    /// The entries number 0 to `n - 1`.
    pub fn entries(&self, namespace: &str, n: u64) -> Vec<Entry> {
        (0..n).map(|n| self.entry(namespace, n)).collect()
    }

    // Conditions.

    /// Skips the case unless the store takes this many entries in one call.
    pub fn needs_batch(&self, entries: u32) -> Checked {
        if self.capabilities.max_batch >= entries {
            return Ok(());
        }
        Err(Stop::Skipped(format!(
            "the store takes {} entries a call, and the case needs {entries}",
            self.capabilities.max_batch
        )))
    }

    /// Skips the case unless the vectors have this many values.
    pub fn needs_dim(&self, dim: u32) -> Checked {
        if self.dim >= dim {
            return Ok(());
        }
        Err(Stop::Skipped(format!(
            "the store's vectors have {} values, and the case needs {dim}",
            self.dim
        )))
    }

    /// Skips the case unless the store keeps blobs.
    pub fn needs_blobs(&self) -> Checked {
        if self.capabilities.max_blob > 0 {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the store does not claim to keep blobs".to_owned(),
        ))
    }

    /// Skips the case unless the store keeps a log of changes.
    pub fn needs_changes(&self) -> Checked {
        if self.capabilities.max_changes > 0 {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the store does not claim to keep a log of changes".to_owned(),
        ))
    }

    /// Skips the case unless the store searches vectors.
    pub fn needs_nearest(&self) -> Checked {
        if self.capabilities.nearest {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the store does not claim to search vectors".to_owned(),
        ))
    }

    /// Skips the case unless the store makes snapshots.
    pub fn needs_snapshots(&self) -> Checked {
        if self.capabilities.snapshot {
            return Ok(());
        }
        Err(Stop::Skipped(
            "the store does not claim to make snapshots".to_owned(),
        ))
    }

    /// Skips the case unless the store holds no entry.
    pub fn needs_empty_store(&self) -> Checked {
        match self.count(None)? {
            0 => Ok(()),
            entries => Err(Stop::Skipped(format!(
                "the store holds {entries} entries of others, which the case would reach"
            ))),
        }
    }

    /// Skips the case unless the namespace without a name holds no entry.
    pub fn needs_empty_namespace(&self) -> Checked {
        match self.count(Some(""))? {
            0 => Ok(()),
            entries => Err(Stop::Skipped(format!(
                "the empty namespace holds {entries} entries of others"
            ))),
        }
    }

    /// Skips the case unless the store holds no entry, no quota and no meta value.
    pub fn needs_new_store(&self) -> Checked {
        self.needs_empty_store()?;
        let (quotas, meta) = (self.quotas()?.len(), self.list_meta()?.len());
        if (quotas, meta) == (0, 0) {
            return Ok(());
        }
        Err(Stop::Skipped(format!(
            "the store holds {quotas} quotas and {meta} meta values of others, which the case would reach"
        )))
    }

    // Checks that many cases make.

    /// Fails unless the entry is found by its key and by its id, bit for bit.
    pub fn holds(&self, demand: &str, entry: &Entry) -> Checked {
        let found = self.find(entry)?;
        same_entry(&format!("get-by-hash: {demand}"), found.as_ref(), entry)?;
        let found = self.by_ids(&[entry.id])?;
        same_entry(&format!("get-by-ids: {demand}"), found.first(), entry)
    }

    /// As [`holds`](Self::holds), of many entries in two calls.
    pub fn holds_all(&self, demand: &str, entries: &[Entry]) -> Checked {
        let keys: Vec<_> = entries.iter().map(key_of).collect();
        let found = self.by_keys(&keys)?;
        for (entry, found) in entries.iter().zip(&found) {
            same_entry(&format!("get-by-hash: {demand}"), found.as_ref(), entry)
                .about(|| show::key(entry))?;
        }
        let found = self.by_ids(&ids(entries))?;
        same_entries(&format!("get-by-ids: {demand}"), &found, entries)
    }

    /// Fails if the entry is found by its key or by its id.
    pub fn lacks(&self, demand: &str, entry: &Entry) -> Checked {
        let found = self.find(entry)?;
        check(found.is_none(), format!("get-by-hash: {demand}"), || {
            format!("{} was found", show::key(entry))
        })?;
        let found = self.by_ids(&[entry.id])?;
        check(found.is_empty(), format!("get-by-ids: {demand}"), || {
            format!("the entry with id {} was found", entry.id)
        })
    }

    /// Fails if the key of one of the entries is found.
    pub fn lacks_all(&self, demand: &str, entries: &[Entry]) -> Checked {
        let keys: Vec<_> = entries.iter().map(key_of).collect();
        let found = self.by_keys(&keys)?;
        check(
            found.iter().all(Option::is_none),
            format!("get-by-hash: {demand}"),
            || {
                format!(
                    "{} of {} were found",
                    found.iter().flatten().count(),
                    keys.len()
                )
            },
        )
    }

    /// Fails unless the blob has these bytes, or is not there where there are none.
    pub fn has_blob(&self, demand: &str, name: &str, bytes: Option<&[u8]>) -> Checked {
        let found = self.read_blob(name)?;
        check(
            found.as_deref() == bytes,
            format!("read-blob: {demand}: {}", show::bytes(bytes)),
            || show::bytes(found.as_deref()),
        )
    }

    /// Fails unless the version counter has moved on by `steps` since it was `before`.
    pub fn moved(&self, before: u64, steps: u64, doing: &str) -> Checked {
        let after = self.version()?;
        check(
            after == before + steps,
            format!("{doing} moves the version counter by {steps}"),
            || format!("it went from {before} to {after}"),
        )
    }

    // Clearing up.

    /// Removes what the case wrote, and closes the store.
    pub fn clear_up(&mut self) -> Checked {
        if let Err(error) = store::read_version_counter()
            && Kind::of(&error) == Kind::Closed
        {
            self.open()?;
        }
        // In a view nothing is written.
        let _ = store::end_view();
        // What cannot be removed keeps nothing else from being removed.
        let mut removals: Vec<Checked> = Vec::new();
        for namespace in &self.namespaces {
            removals.push(self.clear(namespace).map(|_| ()));
        }
        for namespace in &self.quotas {
            let outcome = store::set_namespace_quota(namespace, None);
            removals.push(called("set-namespace-quota", outcome));
        }
        for key in &self.meta {
            removals.push(self.remove_meta(key));
        }
        if self.capabilities.max_blob > 0 {
            let blobs: Vec<_> = self.blobs.iter().cloned().collect();
            removals.push(self.delete_blobs(&blobs));
        }
        removals.push(self.close());
        removals.into_iter().collect()
    }

    fn remove_meta(&self, key: &str) -> Checked {
        let present = self.meta(key)?;
        if present.is_some() {
            let outcome = store::replace_meta(key, present.as_deref(), None);
            called("replace-meta", outcome)?;
        }
        Ok(())
    }
}

/// The key of an entry.
pub fn key_of(entry: &Entry) -> EntryKey {
    EntryKey {
        namespace: entry.namespace.clone(),
        query_hash: entry.query_hash.clone(),
    }
}

/// The filter without a condition.
pub fn any() -> Filter {
    Filter {
        namespace: None,
        context: None,
        tags: Vec::new(),
        created_from: None,
        created_before: None,
    }
}

/// The filter of one namespace.
pub fn within(namespace: &str) -> Filter {
    Filter {
        namespace: Some(namespace.to_owned()),
        ..any()
    }
}

/// The filter of some tags.
pub fn tagged(tags: &[&str]) -> Filter {
    Filter {
        tags: owned(tags),
        ..any()
    }
}

/// Texts as entries have them.
pub fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The version of an entry.
pub fn reference(entry: &Entry) -> EntryRef {
    EntryRef {
        id: entry.id,
        namespace: entry.namespace.clone(),
        created_at: entry.created_at,
    }
}

/// The versions of some entries.
pub fn references(entries: &[Entry]) -> Vec<EntryRef> {
    entries.iter().map(reference).collect()
}

/// The ids of some entries.
pub fn ids(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id).collect()
}
