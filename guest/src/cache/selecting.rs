//! Finding entries by what is known of them, to list them or to erase them.

use super::reading::read_texts;
use super::steps::{Progress, Turn, take_turn};
use super::storing::size;
use super::{Cache, Open, by_namespace, kept};
use crate::error::{Result, invalid};
use crate::host::{Host, Now};
use crate::options;
use crate::range;
use crate::store::{Store, check_ids};
use crate::types::{
    CountEvent, Entry, EntryFilter, EntryKey, EntryPage, EntryRef, Erasure, Error, Event, Filter,
};

/// Entries to find, and to delete, in one call of the store: few where that takes long, because the store
/// deletes few at once or texts are compared.
const PER_PART: u32 = 128;
const MANY_PER_PART: u32 = 512;
/// A page of a list ends once it has so many bytes of texts.
const PAGE_BYTES: usize = 4 << 20;
/// The most entries of a page, and the most ids of a filter.
const MOST: u32 = 1024;

/// A filter that has been checked.
struct Wanted {
    filter: Filter,
    /// The query as the cache compares it.
    text: Option<String>,
    /// The only entry that can be meant.
    key: Option<EntryKey>,
    /// Ascending, each once.
    ids: Option<Vec<u64>>,
}

/// Entries that meet a filter, and where to go on.
type Part = (Vec<EntryRef>, Option<u64>);

impl<S: Store, H: Host> Cache<S, H> {
    /// See `cache.list-entries`.
    pub fn list_entries(
        &mut self,
        filter: EntryFilter,
        after: u64,
        limit: u32,
    ) -> Result<EntryPage> {
        let (store, host, open) = self.parts()?;
        let wanted = open.check_filter(filter, host.now())?;
        range::check("after", after)?;
        if !(1..=MOST).contains(&limit) {
            return Err(invalid(format!(
                "the limit is {limit}; it must be 1 to {MOST}"
            )));
        }
        let turn = Turn::begin(host);
        let (mut entries, mut bytes, mut next) = (Vec::new(), 0, Some(after));
        while let Some(after) = next {
            let missing = limit - entries.len() as u32;
            let (found, more) = open.find_part(store, &wanted, after, missing)?;
            next = more;
            let ids: Vec<u64> = found.iter().map(|entry| entry.id).collect();
            read_texts(store, &ids, |asked, read| {
                bytes += read.iter().map(size).sum::<usize>();
                entries.extend(read);
                let goes_on = bytes < PAGE_BYTES || asked.last() == ids.last();
                if !goes_on {
                    next = asked.last().copied();
                }
                goes_on
            })?;
            if bytes >= PAGE_BYTES || entries.len() >= limit as usize || turn.is_over(host) {
                break;
            }
        }
        Ok(EntryPage { entries, next })
    }

    /// See `cache.erase`.
    pub fn erase(
        &mut self,
        filter: EntryFilter,
        everything: bool,
        dry_run: bool,
        after: u64,
    ) -> Result<Erasure> {
        let (store, host, open) = self.parts()?;
        let now = host.now();
        check_scope(&filter, everything, now)?;
        let wanted = open.check_filter(filter, now)?;
        range::check("after", after)?;
        let deletes_many = store.capabilities().max_delete >= MANY_PER_PART;
        let per_part = match deletes_many && wanted.text.is_none() {
            true => MANY_PER_PART,
            false => PER_PART,
        };
        let version_before = store.read_version_counter()?;
        let (mut ids, mut next) = (Vec::new(), Some(after));
        let taken = take_turn(host, || {
            let Some(after) = next else {
                return Ok(Progress::Done);
            };
            let (found, more) = open.find_part(store, &wanted, after, per_part)?;
            match dry_run {
                true => ids.extend(found.iter().map(|entry| entry.id)),
                false => open.erase_part(store, host, found, &mut ids)?,
            }
            next = more;
            Ok(Progress::under_if(more.is_some()))
        });
        // Others may have kept an index meanwhile, or be about to, that knows what was erased.
        let forgotten = match dry_run || ids.is_empty() {
            true => Ok(()),
            false => kept::mark_erased(store).and_then(|()| kept::erase(store).map(drop)),
        };
        open.flush_if_due(store, now);
        // What was deleted is told, whatever fails then.
        let version_after = store.read_version_counter();
        let failed = taken.map(drop).and(forgotten).err();
        let failed = failed.or(version_after.as_ref().err().cloned());
        match failed {
            Some(error) if ids.is_empty() => Err(error),
            failed => Ok(Erasure {
                ids,
                version_before,
                version_after: version_after.unwrap_or(version_before),
                next,
                failed,
            }),
        }
    }
}

impl Open {
    fn check_filter(&self, filter: EntryFilter, now: Now) -> Result<Wanted> {
        let EntryFilter {
            namespace,
            context,
            tags,
            query,
            ids,
            min_age,
            max_age,
        } = filter;
        if let Some(namespace) = &namespace {
            options::check_namespace(namespace)?;
        }
        if let Some(context) = &context {
            options::check_context(context)?;
        }
        options::check_tags(&tags)?;
        if let Some(query) = &query {
            options::check_size("query", query, self.options.max_query_bytes)?;
        }
        for (field, age) in [
            ("min-age in seconds", min_age),
            ("max-age in seconds", max_age),
        ] {
            range::check(field, age.unwrap_or(0))?;
        }
        let ids = ids.map(check_listed).transpose()?;
        let (mut key, mut text) = (None, None);
        if let Some(query) = query {
            let (of, normalized) = self.key(
                &query,
                namespace.as_deref().unwrap_or_default(),
                context.as_deref().unwrap_or_default(),
            );
            key = (namespace.is_some() && context.is_some()).then_some(of);
            text = Some(normalized);
        }
        let seconds = now.seconds();
        Ok(Wanted {
            filter: Filter {
                namespace,
                context,
                tags,
                created_from: max_age.map(|age| seconds.saturating_sub(age)),
                // Of a time before the epoch there is nothing.
                created_before: min_age
                    .filter(|age| *age > 0)
                    .map(|age| (seconds + 1).saturating_sub(age)),
            },
            text,
            key,
            ids,
        })
    }

    /// Some entries with ids after this one that are wanted.
    fn find_part(
        &self,
        store: &impl Store,
        wanted: &Wanted,
        after: u64,
        limit: u32,
    ) -> Result<Part> {
        let of = |entries: Vec<Entry>| {
            let meant = |entry: &Entry| entry.id > after && self.is_wanted(wanted, entry);
            let entries = entries.into_iter().filter(meant);
            entries.map(|entry| super::lookup::entry_ref(&entry))
        };
        let read = |ids: &[u64]| {
            let mut found = Vec::new();
            read_texts(store, ids, |_, entries| {
                found.extend(of(entries));
                true
            })?;
            Ok(found)
        };
        if let Some(ids) = &wanted.ids {
            let rest = &ids[ids.partition_point(|&id| id <= after)..];
            let now = &rest[..rest.len().min(limit as usize)];
            let next = now.last().copied().filter(|_| now.len() < rest.len());
            return Ok((read(now)?, next));
        }
        if let Some(key) = &wanted.key {
            let found = super::lookup::stored(store, key)?;
            return Ok((of(found.into_iter().collect()).collect(), None));
        }
        let selection = store.select(&wanted.filter, after, limit)?;
        let found = selection.entries;
        check_ids("select", found.iter().map(|entry| entry.id), after)?;
        let last = found.last().map_or(after + 1, |entry| entry.id);
        if selection.next.is_some_and(|next| next < last) || found.len() > limit as usize {
            return Err(Error::Corrupt(format!(
                "store.select after id {after} returned {} entries of at most {limit}, the last with id {last}, and goes on after {:?}; the store is at fault, run the conformance battery on it",
                found.len(),
                selection.next
            )));
        }
        if wanted.text.is_none() {
            return Ok((found, selection.next));
        }
        let ids: Vec<u64> = found.iter().map(|entry| entry.id).collect();
        Ok((read(&ids)?, selection.next))
    }

    /// Whether an entry meets every condition but that of the ids.
    fn is_wanted(&self, wanted: &Wanted, entry: &Entry) -> bool {
        let Filter {
            namespace,
            context,
            tags,
            created_from,
            created_before,
        } = &wanted.filter;
        namespace
            .as_ref()
            .is_none_or(|name| *name == entry.namespace)
            && context
                .as_ref()
                .is_none_or(|context| *context == entry.context)
            && tags.iter().all(|tag| entry.tags.contains(tag))
            && created_from.is_none_or(|from| entry.created_at >= from)
            && created_before.is_none_or(|before| entry.created_at < before)
            && wanted
                .text
                .as_ref()
                .is_none_or(|text| *text == self.text(&entry.query))
    }

    /// Deletes entries, and adds the ids of those that were there unchanged.
    fn erase_part(
        &mut self,
        store: &impl Store,
        host: &impl Host,
        mut found: Vec<EntryRef>,
        ids: &mut Vec<u64>,
    ) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        // First, so that an erasure that is stopped begins with it again.
        self.keeping = None;
        if kept::erase(store)?
            && let Some(index) = &mut self.index
        {
            index.is_not_kept();
        }
        let mut deleted = store.delete_unchanged(&found)?;
        deleted.sort_unstable();
        found.retain(|entry| deleted.binary_search(&entry.id).is_ok());
        self.deleted(&found);
        for (namespace, count) in by_namespace(&found) {
            self.emit(host, || {
                Event::Deletion(CountEvent {
                    namespace: namespace.to_owned(),
                    count,
                })
            });
        }
        ids.extend(found.iter().map(|entry| entry.id));
        Ok(())
    }
}

/// Refuses to erase everything by mistake.
fn check_scope(filter: &EntryFilter, everything: bool, now: Now) -> Result<()> {
    let EntryFilter {
        namespace,
        context,
        tags,
        query,
        ids,
        min_age,
        max_age,
    } = filter;
    // Ages that all entries have are no condition.
    let is_empty = namespace.is_none()
        && context.is_none()
        && tags.is_empty()
        && query.is_none()
        && ids.is_none()
        && min_age.unwrap_or(0) == 0
        && max_age.is_none_or(|age| age >= now.seconds());
    match (is_empty, everything) {
        (true, false) => Err(invalid(
            "the filter has no condition, or only an age that every entry has, so all entries would be erased; give a namespace, context, tag, query, id or age, or say that everything is meant (`--all` in the command)",
        )),
        (false, true) => Err(invalid(
            "the filter has a condition, such as a namespace, and everything is meant; leave one of them out",
        )),
        _ => Ok(()),
    }
}

/// Ids, ascending and each once.
fn check_listed(mut ids: Vec<u64>) -> Result<Vec<u64>> {
    if ids.len() > MOST as usize {
        return Err(invalid(format!(
            "the filter has {} ids; at most {MOST} are allowed, so split it",
            ids.len()
        )));
    }
    ids.sort_unstable();
    ids.dedup();
    match ids.last() {
        Some(&last) => range::check("an id", last).map(|()| ids),
        None => Ok(ids),
    }
}
