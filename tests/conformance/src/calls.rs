//! The operations of the store, an error being a failure of the case.

use std::collections::BTreeSet;

use crate::case::{Case, key_of};
use crate::check::{Checked, check, failed};
use crate::contract::{
    ChangePage, Entry, EntryKey, EntryRef, Error, Filter, ImportMode, Inserted, MetaChange,
    Neighbour, Selection, StampPage, Touch, VectorPage, VectorQuery, store,
};
use crate::show;

/// So many steps of a walk without an entry are too many, even where a store holds millions of
/// others.
const MANY_STEPS: u32 = 20_000;

/// The most items of one list.
const MAX_ITEMS: u32 = 1 << 20;

/// What an operation returned; its error is a failure.
pub fn called<T>(operation: &str, outcome: Result<T, Error>) -> Checked<T> {
    outcome.map_err(|error| failed(format!("{operation} succeeds"), show::error(&error)))
}

impl Case {
    /// Inserts entries, in as many calls as the store needs, and returns them with
    /// their ids.
    pub fn insert(&mut self, entries: &[Entry]) -> Checked<Vec<Entry>> {
        let mut stored = Vec::with_capacity(entries.len());
        for list in entries.chunks(self.capabilities.max_batch.max(1) as usize) {
            let inserted = self.insert_list(list)?;
            stored.extend(list.iter().zip(inserted).map(|(entry, inserted)| Entry {
                id: inserted.id,
                ..entry.clone()
            }));
        }
        Ok(stored)
    }

    /// Inserts entries in one call, and returns what it returned.
    pub fn insert_list(&mut self, entries: &[Entry]) -> Checked<Vec<Inserted>> {
        self.namespaces
            .extend(entries.iter().map(|entry| entry.namespace.clone()));
        let inserted = called("insert", store::insert(entries))?;
        check(
            inserted.len() == entries.len(),
            format!(
                "insert of {} entries returns as many results",
                entries.len()
            ),
            || format!("it returned {}", inserted.len()),
        )?;
        Ok(inserted)
    }

    /// Inserts one entry, and returns it with its id.
    pub fn put(&mut self, entry: Entry) -> Checked<Entry> {
        let inserted = self.insert_list(std::slice::from_ref(&entry))?;
        Ok(Entry {
            id: inserted[0].id,
            ..entry
        })
    }

    /// The entry under the key of this one.
    pub fn find(&self, entry: &Entry) -> Checked<Option<Entry>> {
        Ok(self.by_keys(&[key_of(entry)])?.pop().flatten())
    }

    /// The entry under a namespace and a hash.
    pub fn find_at(&self, namespace: &str, query_hash: &str) -> Checked<Option<Entry>> {
        let key = EntryKey {
            namespace: namespace.to_owned(),
            query_hash: query_hash.to_owned(),
        };
        Ok(self.by_keys(&[key])?.pop().flatten())
    }

    /// `get-by-hash` with vectors
    pub fn by_keys(&self, keys: &[EntryKey]) -> Checked<Vec<Option<Entry>>> {
        self.read_keys(keys, true)
    }

    /// `get-by-hash`
    pub fn read_keys(&self, keys: &[EntryKey], vectors: bool) -> Checked<Vec<Option<Entry>>> {
        let found = called("get-by-hash", store::get_by_hash(keys, vectors))?;
        check(
            found.len() == keys.len(),
            format!("get-by-hash of {} keys returns as many items", keys.len()),
            || format!("it returned {}", found.len()),
        )?;
        Ok(found)
    }

    /// Entries with the ids under which their keys are found.
    pub fn with_ids(&self, entries: &[Entry]) -> Checked<Vec<Entry>> {
        let keys: Vec<_> = entries.iter().map(key_of).collect();
        let found = self.by_keys(&keys)?.into_iter();
        let found = found.zip(entries).map(|(found, entry)| match found {
            Some(found) => Ok(Entry {
                id: found.id,
                ..entry.clone()
            }),
            None => Err(failed(
                format!("{} is there", show::key(entry)),
                "it was not found",
            )),
        });
        found.collect()
    }

    /// `get-by-ids` with vectors
    pub fn by_ids(&self, ids: &[u64]) -> Checked<Vec<Entry>> {
        self.read_ids(ids, true)
    }

    /// `get-by-ids`
    pub fn read_ids(&self, ids: &[u64], vectors: bool) -> Checked<Vec<Entry>> {
        called("get-by-ids", store::get_by_ids(ids, vectors))
    }

    /// `select`, whose answer keeps to the limit and the order, and goes on.
    pub fn select(&self, filter: &Filter, last_id: u64, limit: u32) -> Checked<Selection> {
        let doing = format!("select after id {last_id} with limit {limit}");
        let found = called("select", store::select(filter, last_id, limit))?;
        let ids: Vec<u64> = found.entries.iter().map(|entry| entry.id).collect();
        let shown = || show::value(&found);
        check(
            ids.len() <= limit as usize,
            format!("{doing} returns at most as many entries"),
            shown,
        )?;
        check(
            ids.is_sorted_by(|one, next| one < next)
                && ids.first().is_none_or(|first| *first > last_id),
            format!("{doing} returns greater ids, ascending"),
            shown,
        )?;
        let last = ids.last().copied().unwrap_or(0);
        check(
            found.next.is_none_or(|next| next > last_id && next >= last),
            format!("{doing} goes on beyond that id, not before its last entry"),
            shown,
        )?;
        Ok(found)
    }

    /// What a walk from `next` to `next` meets of the case's own entries.
    pub fn select_all(&self, filter: &Filter, last_id: u64, limit: u32) -> Checked<Vec<EntryRef>> {
        let mut all = Vec::new();
        let mut place = Some(last_id);
        let mut empty = 0;
        while let Some(last_id) = place {
            let found = self.select(filter, last_id, limit)?;
            empty = if found.entries.is_empty() {
                empty + 1
            } else {
                0
            };
            check(
                empty < MANY_STEPS,
                format!("a walk of select finds an entry or ends within {MANY_STEPS} steps"),
                || format!("it still goes on after id {last_id}"),
            )?;
            all.extend(found.entries);
            place = found.next;
        }
        all.retain(|entry| self.is_own(&entry.namespace));
        Ok(all)
    }

    /// `count`
    pub fn count(&self, namespace: Option<&str>) -> Checked<u64> {
        called("count", store::count(namespace))
    }

    /// `list-namespaces`, of all in one page.
    pub fn list_namespaces(&self) -> Checked<Vec<String>> {
        self.namespaces_after(None, MAX_ITEMS)
    }

    /// `list-namespaces`
    pub fn namespaces_after(&self, after: Option<&str>, limit: u32) -> Checked<Vec<String>> {
        called("list-namespaces", store::list_namespaces(after, limit))
    }

    /// `count-by-namespace`, of all in one page.
    pub fn counts(&self) -> Checked<Vec<(String, u64)>> {
        self.counts_after(None, MAX_ITEMS)
    }

    /// `count-by-namespace`
    pub fn counts_after(&self, after: Option<&str>, limit: u32) -> Checked<Vec<(String, u64)>> {
        called(
            "count-by-namespace",
            store::count_by_namespace(after, limit),
        )
    }

    /// `iter-lru-ids`
    pub fn lru(&self, n: u32, namespace: Option<&str>) -> Checked<Vec<EntryRef>> {
        called("iter-lru-ids", store::iter_lru_ids(n, namespace))
    }

    /// `iter-since`
    pub fn since(&self, last_id: u64, limit: u32) -> Checked<Vec<Entry>> {
        called("iter-since", store::iter_since(last_id, limit))
    }

    /// `iter-vectors`, with as many vectors, namespaces and times as ids.
    pub fn vectors(&self, last_id: u64, limit: u32) -> Checked<VectorPage> {
        let page = called("iter-vectors", store::iter_vectors(last_id, limit))?;
        let rows = page.ids.len();
        let wanted = (rows, rows, rows, rows * self.dim as usize);
        let lengths = (
            page.namespaces.len(),
            page.contexts.len(),
            page.created_at.len(),
            page.vectors.len(),
        );
        check(
            lengths == wanted,
            format!(
                "iter-vectors returns one item a row, and {} values a vector",
                self.dim
            ),
            || {
                format!(
                    "{rows} ids came with {} namespaces, {} contexts, {} times and {} values",
                    lengths.0, lengths.1, lengths.2, lengths.3
                )
            },
        )?;
        Ok(page)
    }

    /// `iter-stamps`, with as many times as ids.
    pub fn stamps(&self, last_id: u64, limit: u32) -> Checked<StampPage> {
        let page = called("iter-stamps", store::iter_stamps(last_id, limit))?;
        check(
            page.ids.len() == page.created_at.len(),
            "iter-stamps returns one item a row",
            || {
                format!(
                    "{} ids came with {} times",
                    page.ids.len(),
                    page.created_at.len()
                )
            },
        )?;
        Ok(page)
    }

    /// `update-access`
    pub fn touch(&self, touches: &[Touch]) -> Checked {
        called("update-access", store::update_access(touches))
    }

    /// `delete-by-id`
    pub fn delete(&self, id: u64) -> Checked<bool> {
        called("delete-by-id", store::delete_by_id(id))
    }

    /// `delete-unchanged`
    pub fn delete_unchanged(&self, entries: &[EntryRef]) -> Checked<Vec<u64>> {
        called("delete-unchanged", store::delete_unchanged(entries))
    }

    /// `delete-expired`, whose order is the store's choice, in the order of the ids.
    pub fn delete_expired(
        &self,
        now: u64,
        namespace: Option<&str>,
        limit: u32,
    ) -> Checked<Vec<EntryRef>> {
        let mut expired = called(
            "delete-expired",
            store::delete_expired(now, namespace, limit),
        )?;
        expired.sort_unstable_by_key(|one| one.id);
        Ok(expired)
    }

    /// `clear-namespace` of one namespace
    pub fn clear(&self, namespace: &str) -> Checked<u64> {
        called("clear-namespace", store::clear_namespace(Some(namespace)))
    }

    /// `set-namespace-quota`
    pub fn set_quota(&mut self, namespace: &str, max_entries: Option<u64>) -> Checked {
        self.quotas.insert(namespace.to_owned());
        called(
            "set-namespace-quota",
            store::set_namespace_quota(namespace, max_entries),
        )
    }

    /// `get-namespace-quota`
    pub fn quota(&self, namespace: &str) -> Checked<Option<u64>> {
        called("get-namespace-quota", store::get_namespace_quota(namespace))
    }

    /// `list-namespace-quotas`
    pub fn quotas(&self) -> Checked<Vec<(String, u64)>> {
        called("list-namespace-quotas", store::list_namespace_quotas())
    }

    /// `read-version-counter`
    pub fn version(&self) -> Checked<u64> {
        called("read-version-counter", store::read_version_counter())
    }

    /// `changes-since`, whose answer is of whole versions and goes on.
    pub fn changes(&self, version: u64, limit: u32) -> Checked<Option<ChangePage>> {
        let doing = format!("changes-since {version} with limit {limit}");
        let found = called("changes-since", store::changes_since(version, limit))?;
        let Some(page) = &found else {
            return Ok(None);
        };
        let shown = || show::value(page);
        let one_version = page
            .changes
            .first()
            .is_none_or(|first| page.changes.iter().all(|one| one.version == first.version));
        check(
            page.changes.len() <= limit as usize || one_version,
            format!("{doing} returns at most as many changes, or one version"),
            shown,
        )?;
        check(
            page.changes.is_sorted_by_key(|one| one.version)
                && page
                    .changes
                    .iter()
                    .all(|one| one.version > version && one.version <= page.version),
            format!("{doing} returns later versions, ascending, up to the one that it names"),
            shown,
        )?;
        check(
            page.version > version || (page.version == version && page.changes.is_empty()),
            format!("{doing} goes on, if there is a change"),
            shown,
        )?;
        Ok(found)
    }

    /// `nearest`, which finds each entry once.
    pub fn nearest(&self, query: &VectorQuery, limit: u32) -> Checked<Vec<Neighbour>> {
        let found = called("nearest", store::nearest(query, limit))?;
        let ids: BTreeSet<u64> = found.iter().map(|one| one.id).collect();
        check(
            found.len() <= limit as usize && ids.len() == found.len(),
            format!("nearest with limit {limit} finds at most as many, each once"),
            || show::value(&found),
        )?;
        Ok(found)
    }

    /// `read-meta`
    pub fn meta(&self, key: &str) -> Checked<Option<String>> {
        called("read-meta", store::read_meta(key))
    }

    /// `replace-meta`
    pub fn replace_meta(
        &mut self,
        key: &str,
        expected: Option<&str>,
        value: Option<&str>,
    ) -> Checked<bool> {
        self.meta.insert(key.to_owned());
        called("replace-meta", store::replace_meta(key, expected, value))
    }

    /// What `list-meta` lists of the case's own keys.
    pub fn own_meta(&self) -> Checked<Vec<(String, String)>> {
        let mut listed = self.list_meta()?;
        listed.retain(|(key, _)| self.is_own(key));
        Ok(listed)
    }

    /// `list-meta`
    pub fn list_meta(&self) -> Checked<Vec<(String, String)>> {
        called("list-meta", store::list_meta())
    }

    /// `read-blob`
    pub fn read_blob(&self, name: &str) -> Checked<Option<Vec<u8>>> {
        called("read-blob", store::read_blob(name))
    }

    /// `write-blob`
    pub fn write_blob(&mut self, name: &str, bytes: &[u8]) -> Checked {
        self.blobs.insert(name.to_owned());
        called("write-blob", store::write_blob(name, bytes))
    }

    /// `delete-blobs`
    pub fn delete_blobs(&self, names: &[String]) -> Checked {
        called("delete-blobs", store::delete_blobs(names))
    }

    /// `list-blobs`
    pub fn list_blobs(&self) -> Checked<Vec<String>> {
        called("list-blobs", store::list_blobs())
    }

    /// What `list-blobs` lists of the case's own blobs.
    pub fn own_blobs(&self) -> Checked<Vec<String>> {
        let mut listed = self.list_blobs()?;
        listed.retain(|name| name.starts_with(&self.blob_prefix()));
        Ok(listed)
    }

    /// `begin-view`
    pub fn begin_view(&self) -> Checked<bool> {
        called("begin-view", store::begin_view())
    }

    /// `end-view`
    pub fn end_view(&self) -> Checked {
        called("end-view", store::end_view())
    }

    /// `begin-import`
    pub fn begin_import(&self, mode: ImportMode) -> Checked {
        called("begin-import", store::begin_import(mode))
    }

    /// `write-import`, in as many calls as the store needs.
    pub fn write_import(&mut self, entries: &[Entry]) -> Checked {
        self.namespaces
            .extend(entries.iter().map(|entry| entry.namespace.clone()));
        entries
            .chunks(self.capabilities.max_batch.max(1) as usize)
            .try_for_each(|list| called("write-import", store::write_import(list)))
    }

    /// `commit-import`
    pub fn commit_import(
        &mut self,
        quotas: &[(String, u64)],
        meta: &[MetaChange],
    ) -> Checked<bool> {
        self.quotas
            .extend(quotas.iter().map(|(namespace, _)| namespace.clone()));
        self.meta
            .extend(meta.iter().map(|change| change.key.clone()));
        called("commit-import", store::commit_import(quotas, meta))
    }

    /// Commits an import without quotas and meta, and returns its entries with their ids.
    pub fn commit_entries(&mut self, entries: &[Entry]) -> Checked<Vec<Entry>> {
        let done = self.commit_import(&[], &[])?;
        check(done, "commit-import without meta is true", || {
            "it returned false".to_owned()
        })?;
        self.with_ids(entries)
    }

    /// Imports entries, and returns them with their ids.
    pub fn import(&mut self, mode: ImportMode, entries: &[Entry]) -> Checked<Vec<Entry>> {
        self.begin_import(mode)?;
        self.write_import(entries)?;
        self.commit_entries(entries)
    }

    /// `end-import`
    pub fn end_import(&self) -> Checked {
        called("end-import", store::end_import())
    }

    /// `integrity-check`
    pub fn integrity(&self) -> Checked<bool> {
        called("integrity-check", store::integrity_check())
    }

    /// Leaves a note for a later phase, in a meta key of the case.
    pub fn note(&mut self, name: &str, value: &str) -> Checked {
        let key = self.key(name);
        let done = self.replace_meta(&key, None, Some(value))?;
        check(
            done,
            format!("replace-meta sets the new key {key:?}"),
            || "it returned false".to_owned(),
        )
    }

    /// The note that an earlier phase left.
    pub fn noted(&mut self, name: &str) -> Checked<String> {
        let key = self.key(name);
        self.meta(&key)?.ok_or_else(|| {
            failed(
                format!("the meta key {key:?} has the value of an earlier phase"),
                "it does not exist",
            )
        })
    }

    /// The numbers that an earlier phase left.
    pub fn noted_numbers(&mut self, name: &str) -> Checked<Vec<u64>> {
        let text = self.noted(name)?;
        text.split(',')
            .map(|number| number.parse().ok())
            .collect::<Option<_>>()
            .ok_or_else(|| {
                failed(
                    format!("the meta key {name:?} has the value of an earlier phase"),
                    show::text(&text),
                )
            })
    }

    /// Leaves numbers for a later phase.
    pub fn note_numbers(&mut self, name: &str, numbers: &[u64]) -> Checked {
        let text: Vec<_> = numbers.iter().map(u64::to_string).collect();
        self.note(name, &text.join(","))
    }
}
