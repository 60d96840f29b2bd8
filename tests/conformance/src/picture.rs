//! All that a store answers, to compare two moments.

use std::fmt::Debug;

use crate::case::{Case, tagged};
use crate::check::{Checked, equal, same_entries};
use crate::contract::{Entry, EntryRef, StampPage, VectorPage};

/// The most rows looked at.
const ROWS: u32 = 100;

/// What a store answers at one moment.
#[derive(Debug)]
pub struct Picture {
    version: u64,
    count: u64,
    namespaces: Vec<String>,
    counts: Vec<(String, u64)>,
    entries: Vec<Entry>,
    vectors: VectorPage,
    stamps: StampPage,
    selected: Vec<EntryRef>,
    lru: Vec<EntryRef>,
    quotas: Vec<(String, u64)>,
    meta: Vec<(String, String)>,
}

impl Case {
    /// What the store answers now, of the rows with an id above `last_id`.
    pub fn picture(&self, last_id: u64) -> Checked<Picture> {
        let mut lru = Vec::new();
        for namespace in &self.namespaces {
            lru.extend(self.lru(ROWS, Some(namespace))?);
        }
        Ok(Picture {
            version: self.version()?,
            count: self.count(None)?,
            namespaces: self.list_namespaces()?,
            counts: self.counts()?,
            entries: self.since(last_id, ROWS)?,
            vectors: self.vectors(last_id, ROWS)?,
            stamps: self.stamps(last_id, ROWS)?,
            selected: self.select_all(&tagged(&["tag:1"]), last_id, ROWS)?,
            lru,
            quotas: self.quotas()?,
            meta: self.list_meta()?,
        })
    }

    /// Fails unless the store answers as it did when `before` was taken, after `last_id` too.
    pub fn unchanged(&self, what: &str, last_id: u64, before: &Picture) -> Checked {
        let now = self.picture(last_id)?;
        let same_of = |of: &str| format!("{what}: {of} stays");
        fn same<T: Debug + PartialEq>(demand: &str, now: &T, before: &T) -> Checked {
            equal(demand, now, before)
        }
        same(
            &same_of("the version counter"),
            &now.version,
            &before.version,
        )?;
        same(&same_of("the count"), &now.count, &before.count)?;
        same(
            &same_of("list-namespaces"),
            &now.namespaces,
            &before.namespaces,
        )?;
        same(&same_of("count-by-namespace"), &now.counts, &before.counts)?;
        same_entries(&same_of("iter-since"), &now.entries, &before.entries)?;
        same(&same_of("iter-vectors"), &now.vectors, &before.vectors)?;
        same(&same_of("iter-stamps"), &now.stamps, &before.stamps)?;
        same(&same_of("select"), &now.selected, &before.selected)?;
        same(&same_of("iter-lru-ids"), &now.lru, &before.lru)?;
        same(
            &same_of("list-namespace-quotas"),
            &now.quotas,
            &before.quotas,
        )?;
        same(&same_of("list-meta"), &now.meta, &before.meta)
    }
}
