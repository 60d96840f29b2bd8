//! `select`: which entries meet a filter.
//!
//! By tag, only entries of the [index over tags](super::tags) are read. Without a tag, it is a
//! walk over all ids. Either way one call reads the keys of a few waves at most, and says where
//! to go on.

use std::collections::BTreeSet;

use super::error::Outcome;
use super::requests::{KEYS_PER_REQUEST, KEYS_PER_WAVE};
use super::rows;
use super::session::Session;
use super::tags::SPAN;
use mneme_store::{EntryRef, Filter, Selection};

/// What a filter looks at.
const LABELS: &[&str] = &["id", "namespace", "context", "tags", "created_at"];

/// Spans that the first look into the index reads, and how many times as many each further one.
const FIRST_SPANS: u64 = 4;
const GROWTH: u64 = 16;

impl Session {
    pub async fn select(
        &mut self,
        filter: &Filter,
        last_id: u64,
        limit: u32,
    ) -> Outcome<Selection> {
        match filter.tags.is_empty() {
            true => self.select_of_all(filter, last_id, limit as usize).await,
            false => self.select_tagged(filter, last_id, limit as usize).await,
        }
    }

    async fn select_of_all(
        &mut self,
        filter: &Filter,
        last_id: u64,
        limit: usize,
    ) -> Outcome<Selection> {
        let mut found = Found::new(filter, limit);
        let mut last = last_id;
        let mut read = 0;
        while !found.is_full() {
            if read >= KEYS_PER_WAVE {
                return Ok(found.until(Some(last)));
            }
            // The more are missed, the further ahead it looks.
            let missed = read - found.entries.len();
            let rows = (found.wanted() + missed).min(KEYS_PER_WAVE - read);
            let page = self.page(last, rows as u32, LABELS).await?;
            if page.is_empty() {
                return Ok(found.until(None));
            }
            read += rows;
            let ended = page.len() < rows;
            for item in &page {
                last = rows::id(item)?;
                if !found.take(item)? {
                    break;
                }
            }
            if ended && !found.is_full() {
                return Ok(found.until(None));
            }
        }
        Ok(found.until_last())
    }

    async fn select_tagged(
        &mut self,
        filter: &Filter,
        last_id: u64,
        limit: usize,
    ) -> Outcome<Selection> {
        let mut found = Found::new(filter, limit);
        let end = self.table.next_id().await?.saturating_sub(1);
        if last_id >= end || limit == 0 {
            return Ok(found.until(None));
        }
        let tags: BTreeSet<&String> = filter.tags.iter().collect();
        let mut spans = (last_id + 1) / SPAN..end / SPAN + 1;
        let mut left = (KEYS_PER_WAVE / tags.len()).max(1) as u64;
        let mut ahead = FIRST_SPANS;
        let mut read = 0;
        while !spans.is_empty() {
            if left == 0 {
                return Ok(found.until(Some(spans.start * SPAN - 1)));
            }
            let part = spans.start..spans.end.min(spans.start + ahead.min(left));
            left -= part.end - part.start;
            ahead *= GROWTH;
            spans.start = part.end;
            let marked = self.table.marked(&tags, part).await?;
            let mut marked: Vec<u64> = marked.into_iter().filter(|id| *id > last_id).collect();
            while !marked.is_empty() {
                let most = found.wanted().clamp(KEYS_PER_REQUEST, KEYS_PER_WAVE);
                let ids: Vec<u64> = marked.drain(..most.min(marked.len())).collect();
                let last = ids.last().copied();
                read += ids.len();
                for item in self.table.entries(ids, LABELS).await?.values() {
                    if !found.take(item)? {
                        break;
                    }
                }
                if found.is_full() {
                    return Ok(found.until_last());
                }
                if read >= KEYS_PER_WAVE {
                    return Ok(found.until(last));
                }
            }
        }
        Ok(found.until(None))
    }
}

/// The entries that meet a filter, as far as they were looked at.
struct Found<'a> {
    filter: &'a Filter,
    limit: usize,
    entries: Vec<EntryRef>,
}

impl<'a> Found<'a> {
    fn new(filter: &'a Filter, limit: usize) -> Self {
        Self {
            filter,
            limit,
            entries: Vec::new(),
        }
    }

    /// How many more may come.
    fn wanted(&self) -> usize {
        self.limit - self.entries.len()
    }

    fn is_full(&self) -> bool {
        self.wanted() == 0
    }

    /// Takes an item if its entry meets the filter. False once there are enough.
    fn take(&mut self, item: &rows::Item) -> Outcome<bool> {
        if !self.is_full() && self.filter.accepts(&rows::labels(item)?) {
            self.entries.push(rows::reference(item)?);
        }
        Ok(!self.is_full())
    }

    fn until(self, next: Option<u64>) -> Selection {
        Selection {
            entries: self.entries,
            next,
        }
    }

    /// The end of one call at the last entry found.
    fn until_last(self) -> Selection {
        let next = self.entries.last().map(|entry| entry.id);
        self.until(next)
    }
}
