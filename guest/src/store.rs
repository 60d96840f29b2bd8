//! The store as the cache sees it. `wit/store.wit` documents the operations.

#![allow(missing_docs)]

use crate::error::Result;
use crate::types::{
    CapabilitySet, ChangePage, Entry, EntryKey, EntryRef, Error, Filter, ImportMode, Inserted,
    MetaChange, Neighbour, Restored, Selection, StampPage, Touch, VectorPage, VectorQuery,
};

pub trait Store {
    fn capabilities(&self) -> CapabilitySet;
    fn open(&self, embedder_fingerprint: &str, embedder_dim: u32) -> Result<()>;
    fn close(&self) -> Result<()>;
    fn get_by_hash(&self, keys: &[EntryKey], vectors: bool) -> Result<Vec<Option<Entry>>>;
    fn get_by_ids(&self, ids: &[u64], vectors: bool) -> Result<Vec<Entry>>;
    fn select(&self, filter: &Filter, last_id: u64, limit: u32) -> Result<Selection>;
    fn count(&self, namespace: Option<&str>) -> Result<u64>;
    fn list_namespaces(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>>;
    fn count_by_namespace(&self, after: Option<&str>, limit: u32) -> Result<Vec<(String, u64)>>;
    fn iter_lru_ids(&self, n: u32, namespace: Option<&str>) -> Result<Vec<EntryRef>>;
    fn iter_since(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>>;
    fn iter_vectors(&self, last_id: u64, limit: u32) -> Result<VectorPage>;
    fn iter_stamps(&self, last_id: u64, limit: u32) -> Result<StampPage>;
    fn insert(&self, entries: &[Entry]) -> Result<Vec<Inserted>>;
    fn update_access(&self, touches: &[Touch]) -> Result<()>;
    fn delete_by_id(&self, id: u64) -> Result<bool>;
    fn delete_unchanged(&self, entries: &[EntryRef]) -> Result<Vec<u64>>;
    fn delete_expired(
        &self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EntryRef>>;
    fn clear_namespace(&self, namespace: Option<&str>) -> Result<u64>;
    fn set_namespace_quota(&self, namespace: &str, max_entries: Option<u64>) -> Result<()>;
    fn get_namespace_quota(&self, namespace: &str) -> Result<Option<u64>>;
    fn list_namespace_quotas(&self) -> Result<Vec<(String, u64)>>;
    fn read_version_counter(&self) -> Result<u64>;
    fn changes_since(&self, version: u64, limit: u32) -> Result<Option<ChangePage>>;
    fn nearest(&self, query: &VectorQuery, limit: u32) -> Result<Vec<Neighbour>>;
    fn read_meta(&self, key: &str) -> Result<Option<String>>;
    fn replace_meta(&self, key: &str, expected: Option<&str>, value: Option<&str>) -> Result<bool>;
    fn list_meta(&self) -> Result<Vec<(String, String)>>;
    fn integrity_check(&self) -> Result<bool>;
    fn read_blob(&self, name: &str) -> Result<Option<Vec<u8>>>;
    fn write_blob(&self, name: &str, bytes: &[u8]) -> Result<()>;
    fn delete_blobs(&self, names: &[String]) -> Result<()>;
    fn list_blobs(&self) -> Result<Vec<String>>;
    fn begin_view(&self) -> Result<bool>;
    fn end_view(&self) -> Result<()>;
    fn begin_import(&self, mode: ImportMode) -> Result<()>;
    fn write_import(&self, entries: &[Entry]) -> Result<()>;
    fn commit_import(&self, quotas: &[(String, u64)], meta: &[MetaChange]) -> Result<bool>;
    fn end_import(&self) -> Result<()>;
    fn begin_snapshot(&self) -> Result<u64>;
    fn read_snapshot(&self, max: u32) -> Result<Vec<u8>>;
    fn end_snapshot(&self) -> Result<()>;
    fn begin_restore(&self) -> Result<()>;
    fn write_restore(&self, bytes: &[u8]) -> Result<()>;
    fn check_restore(&self) -> Result<Restored>;
    fn read_restore(&self, last_id: u64, limit: u32) -> Result<Vec<Entry>>;
    fn commit_restore(&self, only_if_empty: bool) -> Result<()>;
    fn end_restore(&self) -> Result<()>;
}

/// Namespaces that one call asks for: names of 1 KiB take 64 MiB then.
pub const NAMESPACES_PER_PAGE: u32 = 1 << 16;

/// Gives `take` the namespaces that hold entries, page by page.
pub fn each_names(store: &impl Store, mut take: impl FnMut(Vec<String>)) -> Result<()> {
    let list = |after: Option<&str>, limit| store.list_namespaces(after, limit);
    each_page("list-namespaces", list, |name| name, &mut take)
}

/// As [`each_names`], with the numbers of their entries.
pub fn each_counts(store: &impl Store, mut take: impl FnMut(Vec<(String, u64)>)) -> Result<()> {
    let list = |after: Option<&str>, limit| store.count_by_namespace(after, limit);
    each_page("count-by-namespace", list, |(name, _)| name, &mut take)
}

fn each_page<T>(
    operation: &str,
    list: impl Fn(Option<&str>, u32) -> Result<Vec<T>>,
    name: fn(&T) -> &String,
    take: &mut impl FnMut(Vec<T>),
) -> Result<()> {
    let mut after: Option<String> = None;
    loop {
        let page = list(after.as_deref(), NAMESPACES_PER_PAGE)?;
        check_names(operation, page.iter().map(name), after.as_deref())?;
        let is_last = page.len() < NAMESPACES_PER_PAGE as usize;
        after = page.last().map(name).cloned();
        take(page);
        if is_last {
            return Ok(());
        }
    }
}

/// As [`check_ids`], of a page of namespaces.
pub fn check_names<'a>(
    operation: &str,
    names: impl IntoIterator<Item = &'a String>,
    after: Option<&'a str>,
) -> Result<()> {
    let mut last = after;
    for name in names {
        if let Some(last) = last.filter(|&last| name.as_str() <= last) {
            return Err(Error::Corrupt(format!(
                "store.{operation} returned the namespace {name:.80?} after {last:.80?}, and namespaces ascend by their bytes; the data is damaged or the store is at fault, so check its integrity"
            )));
        }
        last = Some(name);
    }
    Ok(())
}

/// Refuses a page of `operation` whose ids do not ascend from above `after`. Whoever reads on after
/// its last id would otherwise mix up rows, or never end.
pub fn check_ids(operation: &str, ids: impl IntoIterator<Item = u64>, after: u64) -> Result<()> {
    let mut last = after;
    for id in ids {
        if id <= last {
            return Err(Error::Corrupt(format!(
                "store.{operation} returned id {id} after id {last}, and ids ascend; the data is damaged or the store is at fault, so check its integrity"
            )));
        }
        last = id;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::describe;

    #[test]
    fn pages_whose_names_do_not_ascend_are_refused() {
        let check = |names: &[&str], after| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            check_names("list-namespaces", &names, after)
        };
        check(&[], None).unwrap();
        check(&["", "a", "b"], None).unwrap();
        check(&["aa", "\u{FFFF}", "\u{10000}"], Some("a")).unwrap();
        for (names, after) in [
            (["b", "a"], None),
            (["a", "a"], None),
            (["a", "b"], Some("a")),
            (["", "b"], Some("")),
            (["\u{10000}", "\u{FFFF}"], None),
        ] {
            let error = check(&names, after).unwrap_err();
            assert!(
                describe(&error).contains("ascend by their bytes"),
                "{error:?}"
            );
        }
    }
}
