//! Faults of imports: of a step as it is called. Those that remember something from one step
//! to the next are in the modules below.

pub mod modes;
pub mod results;
pub mod staging;

use super::{Fault, Sound, key, same_key};
use mneme::store::{Entry, ImportMode, MetaChange, Result, StoreError};

/// Quotas as an import has them.
pub type Quotas<'a> = &'a [(String, u64)];

/// Changes a step of an import.
pub struct Steps {
    /// Instead of beginning.
    pub begin: fn(&mut Sound, ImportMode) -> Result<()>,
    /// Instead of writing entries.
    pub write: fn(&mut Sound, Vec<Entry>) -> Result<()>,
    /// Instead of committing.
    pub commit: fn(&mut Sound, Quotas<'_>, &[MetaChange]) -> Result<bool>,
    /// Instead of ending.
    pub end: fn(&mut Sound) -> Result<()>,
}

/// The sound steps.
pub const SOUND: Steps = Steps {
    begin: |store, mode| store.begin_import(mode),
    write: |store, entries| store.write_import(entries),
    commit: |store, quotas, meta| store.commit_import(quotas, meta),
    end: |store| store.end_import(),
};

impl Fault for Steps {
    fn begin_import(&mut self, store: &mut Sound, mode: ImportMode) -> Result<()> {
        (self.begin)(store, mode)
    }

    fn write_import(&mut self, store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
        (self.write)(store, entries)
    }

    fn commit_import(
        &mut self,
        store: &mut Sound,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Result<bool> {
        (self.commit)(store, quotas, meta)
    }

    fn end_import(&mut self, store: &mut Sound) -> Result<()> {
        (self.end)(store)
    }
}

/// Changes entries on their way into an import.
pub struct Writes(pub fn(&mut Entry));

impl Fault for Writes {
    fn write_import(&mut self, store: &mut Sound, mut entries: Vec<Entry>) -> Result<()> {
        entries.iter_mut().for_each(self.0);
        store.write_import(entries)
    }
}

/// Whether two entries have one key.
pub(super) fn same_pair(one: &Entry, other: &Entry) -> bool {
    one.namespace == other.namespace && one.query_hash == other.query_hash
}

/// Begins with another mode.
///
/// # Errors
///
/// Those of the store.
pub fn begin_as(
    store: &mut Sound,
    mode: ImportMode,
    asked: ImportMode,
    taken: ImportMode,
) -> Result<()> {
    store.begin_import(if mode == asked { taken } else { mode })
}

/// Looks for entries at the beginning only.
///
/// # Errors
///
/// Those of the store.
pub fn empty_at_first(store: &mut Sound, mode: ImportMode) -> Result<()> {
    store.begin_import(mode)?;
    begin_as(store, mode, ImportMode::Empty, ImportMode::Merge)
}

/// Adds to what is there where the store should be empty.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn empty_or_not(store: &mut Sound, mode: ImportMode) -> Result<()> {
    match store.begin_import(mode) {
        Err(StoreError::Checkpoint(_)) => store.begin_import(ImportMode::Merge),
        result => result,
    }
}

/// Goes on with an import that was begun.
///
/// # Errors
///
/// Those of the store.
pub fn begin_once(store: &mut Sound, mode: ImportMode) -> Result<()> {
    if store.write_import(Vec::new()).is_ok() {
        return Ok(());
    }
    store.begin_import(mode)
}

/// Deletes what is there at once where an import is to replace it.
///
/// # Errors
///
/// Those of the store.
pub fn replace_at_once(store: &mut Sound, mode: ImportMode) -> Result<()> {
    if mode == ImportMode::Replace {
        store.clear_namespace(None)?;
    }
    store.begin_import(mode)
}

/// Begins an import where none was begun.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn write_anyway(store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
    match store.write_import(entries.clone()) {
        Err(StoreError::InvalidArgument(_)) => {
            store.begin_import(ImportMode::Merge)?;
            store.write_import(entries)
        }
        result => result,
    }
}

/// Stores the entries at once.
///
/// # Errors
///
/// Those of the store.
pub fn write_at_once(store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
    store.insert(entries).map(drop)
}

/// Keeps the lifetimes of entries that are there.
///
/// # Errors
///
/// Those of the store.
pub fn write_with_old_lifetimes(store: &mut Sound, mut entries: Vec<Entry>) -> Result<()> {
    for entry in &mut entries {
        if let Some(old) = same_key(store, entry)? {
            entry.ttl = entry.ttl.or(old.ttl);
        }
    }
    store.write_import(entries)
}

/// Takes the last of several entries of one key.
///
/// # Errors
///
/// Those of the store.
pub fn write_last_of_twins(store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
    let mut last: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        last.retain(|other| !same_pair(other, &entry));
        last.push(entry);
    }
    store.write_import(last)
}

/// Leaves out entries whose vectors have another length.
///
/// # Errors
///
/// Those of the store.
pub fn write_what_fits(store: &mut Sound, mut entries: Vec<Entry>) -> Result<()> {
    let dim = store.read_meta("embedder_dim")?;
    entries.retain(|entry| dim.as_deref() == Some(&entry.embedding.len().to_string()));
    store.write_import(entries)
}

/// Splits lists that are too long.
///
/// # Errors
///
/// Those of the store.
pub fn write_split(store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
    let most = store.capabilities().max_batch as usize;
    if entries.is_empty() {
        return store.write_import(entries);
    }
    let mut lists = entries.chunks(most);
    lists.try_for_each(|list| store.write_import(list.to_vec()))
}

/// Enforces the quotas itself.
///
/// # Errors
///
/// Those of the store, and one that is not due.
pub fn write_within_quotas(store: &mut Sound, entries: Vec<Entry>) -> Result<()> {
    for entry in &entries {
        let quota = store.get_namespace_quota(&entry.namespace)?;
        let asked = entries.iter().filter(|e| e.namespace == entry.namespace);
        if quota.is_some_and(|quota| asked.count() as u64 > quota) {
            return Err(StoreError::QuotaExceeded("the namespace is full".into()));
        }
    }
    store.write_import(entries)
}

/// Commits where no import was begun.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn commit_anyway(store: &mut Sound, quotas: Quotas<'_>, meta: &[MetaChange]) -> Result<bool> {
    match store.commit_import(quotas, meta) {
        Err(StoreError::InvalidArgument(_)) => Ok(true),
        result => result,
    }
}

/// Loses the entries.
///
/// # Errors
///
/// Those of the store.
pub fn commit_nothing(store: &mut Sound, _: Quotas<'_>, _: &[MetaChange]) -> Result<bool> {
    store.end_import()?;
    Ok(true)
}

/// Goes on with the import.
///
/// # Errors
///
/// Those of the store.
pub fn commit_and_go_on(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    let done = store.commit_import(quotas, meta)?;
    if done {
        store.begin_import(ImportMode::Merge)?;
    }
    Ok(done)
}

/// Forgets an import that meets an unexpected value.
///
/// # Errors
///
/// Those of the store.
pub fn commit_or_forget(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    let done = store.commit_import(quotas, meta)?;
    if !done {
        store.end_import()?;
    }
    Ok(done)
}

/// Cuts the namespaces of quotas at the first U+0000.
///
/// # Errors
///
/// Those of the store.
pub fn commit_cut_at_nul(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    let cut = |name: &str| name.split('\0').next().unwrap_or_default().to_owned();
    let quotas: Vec<_> = quotas
        .iter()
        .map(|(name, quota)| (cut(name), *quota))
        .collect();
    store.commit_import(&quotas, meta)
}

/// Takes a present value that is alike for the expected one.
fn commit_if_alike(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
    alike: fn(Option<&str>, Option<&str>) -> bool,
) -> Result<bool> {
    let mut meta = meta.to_vec();
    for change in &mut meta {
        let present = store.read_meta(&change.key)?;
        if alike(present.as_deref(), change.expected.as_deref()) {
            change.expected = present;
        }
    }
    store.commit_import(quotas, &meta)
}

/// Sets values whatever they are.
///
/// # Errors
///
/// Those of the store.
pub fn commit_regardless(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    commit_if_alike(store, quotas, meta, |_, _| true)
}

/// Compares values without case.
///
/// # Errors
///
/// Those of the store.
pub fn commit_without_case(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    commit_if_alike(store, quotas, meta, |present, expected| {
        present.map(str::to_lowercase) == expected.map(str::to_lowercase)
    })
}

/// Passes over keys of the store's own.
///
/// # Errors
///
/// Those of the store, but for the one that is due.
pub fn commit_what_is_free(
    store: &mut Sound,
    quotas: Quotas<'_>,
    meta: &[MetaChange],
) -> Result<bool> {
    let own = ["schema_version", "embedder_fingerprint", "embedder_dim"];
    let mut meta = meta.to_vec();
    meta.retain(|change| !own.contains(&change.key.as_str()));
    store.commit_import(quotas, &meta)
}

/// Refuses to end an import that was not begun.
///
/// # Errors
///
/// Those of the store, and one that is not due.
pub fn end_what_is_begun(store: &mut Sound) -> Result<()> {
    store.write_import(Vec::new())?;
    store.end_import()
}
