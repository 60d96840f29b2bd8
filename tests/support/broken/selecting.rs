//! Faults of `select`: of its conditions and walks.

pub mod writes;

use super::entries::composed;
use super::{Fault, Known, Sound, all, changed, memory, reference};
use mneme::store::{BackendError, Entry, Filter, Result, Selection, StoreError};

impl Fault {
    /// Selects by other conditions.
    fn selects_where(self, meets: fn(&Filter, &Entry) -> bool) -> Self {
        self.select(move |store, filter, last_id, limit| {
            let mut found = after(store.sound, last_id)?;
            found.retain(|entry| meets(filter, entry));
            Ok(first_of(&found, limit))
        })
    }

    /// Compares a tag with those of an entry in another way.
    fn compares_tags(self, same: fn(&str, &str) -> bool) -> Self {
        self.select(move |store, filter, last_id, limit| {
            let mut found = after(store.sound, last_id)?;
            found.retain(|entry| {
                let has = |wanted: &String| entry.tags.iter().any(|tag| same(wanted, tag));
                untagged(filter).accepts(entry) && filter.tags.iter().all(has)
            });
            Ok(first_of(&found, limit))
        })
    }

    /// Changes what was asked for.
    fn selects_as(self, change: fn(&mut Filter, &mut u64, &mut u32)) -> Self {
        self.select(move |store, filter, mut last_id, mut limit| {
            let mut filter = filter.clone();
            change(&mut filter, &mut last_id, &mut limit);
            store.select(&filter, last_id, limit)
        })
    }

    /// Changes what was found.
    fn selections(self, change: fn(&mut Selection)) -> Self {
        self.select(move |store, filter, last_id, limit| {
            changed(store.select(filter, last_id, limit), change)
        })
    }
}

/// The filter without its tags.
fn untagged(filter: &Filter) -> Filter {
    Filter {
        tags: Vec::new(),
        ..filter.clone()
    }
}

/// The entries with a greater id.
fn after(store: &mut Sound, last_id: u64) -> Result<Vec<Entry>> {
    let mut entries = all(store)?;
    entries.retain(|entry| entry.id > last_id);
    Ok(entries)
}

/// The first of some entries, and where to go on.
fn first_of(found: &[Entry], limit: u32) -> Selection {
    let first = &found[..found.len().min(limit as usize)];
    Selection {
        entries: first.iter().map(reference).collect(),
        next: match first.len() < found.len() {
            true => first.last().map(|entry| entry.id),
            false => None,
        },
    }
}

/// A text as a pattern of SQL, with `%` at its end only.
fn like(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('%') {
        Some(prefix) => text.starts_with(prefix),
        None => text == pattern,
    }
}

/// No more than 64 characters.
fn beginning(text: &str) -> String {
    text.chars().take(64).collect()
}

pub fn conditions() -> Vec<Known> {
    faults![
        memory("without a condition select finds nothing")
            .caught_by("no-condition-selects-every-entry")
            .selects_where(|filter, entry| {
                let none = filter.namespace.is_none()
                    && filter.context.is_none()
                    && filter.tags.is_empty()
                    && filter.created_from.is_none()
                    && filter.created_before.is_none();
                !none && filter.accepts(entry)
            }),
        memory("select names no namespace")
            .caught_by("no-condition-selects-every-entry")
            .selections(|found| {
                let entries = found.entries.iter_mut();
                entries.for_each(|entry| entry.namespace.clear());
            }),
        memory("select names another version")
            .caught_by("no-condition-selects-every-entry")
            .selections(|found| {
                let entries = found.entries.iter_mut();
                entries.for_each(|entry| entry.created_at += 1);
            }),
        memory("select finds namespaces by prefix")
            .caught_by("select-keeps-to-its-namespace")
            .selects_where(|filter, entry| {
                let mut rest = filter.clone();
                let name = rest.namespace.take();
                rest.accepts(entry) && name.is_none_or(|name| entry.namespace.starts_with(&name))
            }),
        memory("select by tag ignores the namespace")
            .caught_by("select-keeps-to-its-namespace")
            .selects_as(|filter, _, _| {
                if !filter.tags.is_empty() {
                    filter.namespace = None;
                }
            }),
        memory("select compares contexts without case")
            .caught_by("select-keeps-to-its-context")
            .selects_where(|filter, entry| {
                let mut rest = filter.clone();
                let context = rest.context.take().map(|text| text.to_lowercase());
                rest.accepts(entry)
                    && context.is_none_or(|text| text == entry.context.to_lowercase())
            }),
        memory("select compares the beginning of contexts")
            .caught_by("select-keeps-to-its-context")
            .selects_where(|filter, entry| {
                let mut rest = filter.clone();
                let context = rest.context.take().map(|text| beginning(&text));
                rest.accepts(entry) && context.is_none_or(|text| text == beginning(&entry.context))
            }),
        memory("the empty context is no condition of select")
            .caught_by("the-empty-context-is-a-condition")
            .selects_as(|filter, _, _| {
                filter.context = filter.context.take().filter(|text| !text.is_empty());
            }),
        memory("select by tag ignores the empty context")
            .caught_by("the-empty-context-is-a-condition")
            .selects_as(|filter, _, _| {
                if !filter.tags.is_empty() && filter.context.as_deref() == Some("") {
                    filter.context = None;
                }
            }),
        memory("one of several tags is enough for select")
            .caught_by("select-wants-every-tag")
            .selects_where(|filter, entry| {
                let any = filter.tags.iter().any(|tag| entry.tags.contains(tag));
                untagged(filter).accepts(entry) && (filter.tags.is_empty() || any)
            }),
        memory("select compares the first tag only")
            .caught_by("select-wants-every-tag")
            .selects_as(|filter, _, _| filter.tags.truncate(1)),
        memory("select composes tags")
            .caught_by("neighbouring-tags-are-told-apart")
            .compares_tags(|one, other| composed(one) == composed(other)),
        memory("select finds no tag with a quote")
            .caught_by("select-compares-tags-byte-for-byte")
            .compares_tags(|one, other| one == other && !one.contains('\'')),
        memory("select finds no tag beyond U+FFFF")
            .caught_by("select-compares-tags-byte-for-byte")
            .compares_tags(|one, other| one == other && !one.contains(|c| c > '\u{ffff}')),
        memory("select finds tags by prefix")
            .caught_by("neighbouring-tags-are-told-apart")
            .compares_tags(|one, other| other.starts_with(one)),
        memory("select compares tags without case")
            .caught_by("neighbouring-tags-are-told-apart")
            .compares_tags(|one, other| one.to_lowercase() == other.to_lowercase()),
        memory("select takes tags for patterns")
            .caught_by("neighbouring-tags-are-told-apart")
            .compares_tags(like),
        memory("select looks for tags in their list as text")
            .caught_by("neighbouring-tags-are-told-apart")
            .selects_where(|filter, entry| {
                let text = format!("[\"{}\"]", entry.tags.join("\",\""));
                let has = |tag: &String| text.contains(&format!("\"{tag}\""));
                untagged(filter).accepts(entry) && filter.tags.iter().all(has)
            }),
        memory("select compares the beginning of tags")
            .caught_by("the-longest-tags-are-selected")
            .compares_tags(|one, other| beginning(one) == beginning(other)),
        memory("select counts the tags that an entry has of those asked for")
            .caught_by("a-tag-asked-for-twice-is-one")
            .selects_where(|filter, entry| {
                let has = entry.tags.iter().filter(|tag| filter.tags.contains(tag));
                untagged(filter).accepts(entry) && has.count() == filter.tags.len()
            }),
        memory("created-from is not included")
            .caught_by("created-from-is-included")
            .selects_as(|filter, _, _| {
                filter.created_from = filter.created_from.map(|time| time.saturating_add(1));
            }),
        memory("created-before is included")
            .caught_by("created-before-is-not-included")
            .selects_as(|filter, _, _| {
                filter.created_before = filter.created_before.map(|time| time.saturating_add(1));
            }),
        memory("select takes times for signed numbers")
            .caught_by("times-beyond-all-entries-may-be-asked-for")
            .selects_where(|filter, entry| {
                let time = entry.created_at.cast_signed();
                let mut rest = filter.clone();
                let (from, before) = (rest.created_from.take(), rest.created_before.take());
                rest.accepts(entry)
                    && from.is_none_or(|from| time >= from.cast_signed())
                    && before.is_none_or(|before| time < before.cast_signed())
            }),
        memory("select by tag ignores the times")
            .caught_by("conditions-hold-together")
            .selects_as(|filter, _, _| {
                if !filter.tags.is_empty() {
                    (filter.created_from, filter.created_before) = (None, None);
                }
            }),
        memory("select by namespace ignores the context")
            .caught_by("conditions-hold-together")
            .selects_as(|filter, _, _| {
                if filter.namespace.is_some() {
                    filter.context = None;
                }
            }),
        memory("select fails where it finds nothing")
            .caught_by("what-nothing-meets-selects-nothing")
            .select(|store, filter, last_id, limit| {
                let found = store.select(filter, last_id, limit)?;
                if found.entries.is_empty() {
                    return Err(StoreError::Backend(BackendError {
                        message: "no rows".into(),
                        retryable: false,
                    }));
                }
                Ok(found)
            }),
    ]
}

/// A walk that another fault goes on with.
#[derive(Default)]
struct Walk {
    /// Where it stands.
    place: Option<u64>,
    rows: Vec<Entry>,
    /// How many entries it has met.
    rank: usize,
}

pub fn walks() -> Vec<Known> {
    faults![
        memory("select answers in descending order")
            .caught_by("a-selection-is-ascending")
            .selections(|found| found.entries.reverse()),
        memory("select answers by namespace first")
            .caught_by("a-selection-is-ascending")
            .selections(|found| found.entries.sort_by_key(|entry| entry.namespace.clone())),
        memory("select by tag answers in the order of times")
            .caught_by("a-selection-is-ascending")
            .select(|store, filter, last_id, limit| {
                let mut found = store.select(filter, last_id, limit)?;
                if !filter.tags.is_empty() {
                    found.entries.sort_by_key(|entry| entry.created_at);
                }
                Ok(found)
            }),
        memory("the limit of select is ignored")
            .caught_by("a-selection-has-at-most-limit-entries")
            .selects_as(|_, _, limit| *limit = u32::MAX),
        memory("select answers one entry more than its limit")
            .caught_by("a-selection-has-at-most-limit-entries")
            .selects_as(|_, _, limit| *limit = limit.saturating_add(1)),
        memory("select begins with the last id")
            .caught_by("a-selection-begins-after-the-last-id")
            .selects_as(|_, last_id, _| *last_id = last_id.saturating_sub(1)),
        memory("select leaves out the first entry")
            .caught_by("a-selection-begins-after-the-last-id")
            .selects_as(|_, last_id, _| *last_id = last_id.saturating_add(1)),
        memory("select begins again after the greatest ids")
            .caught_by("a-selection-after-the-greatest-id-is-empty")
            .selects_as(
                |_, last_id, _| *last_id = u64::try_from(last_id.cast_signed()).unwrap_or(0)
            ),
        memory("select says nowhere that it goes on")
            .caught_by("a-walk-of-selections-meets-every-entry-once")
            .selections(|found| found.next = None),
        memory("select goes on where it was")
            .caught_by("a-walk-of-selections-meets-every-entry-once")
            .select(|store, filter, last_id, limit| {
                changed(store.select(filter, last_id, limit), |found| {
                    found.next = found.next.map(|_| last_id);
                })
            }),
        memory("select goes on one too far")
            .caught_by("a-walk-of-selections-meets-every-entry-once")
            .selections(|found| found.next = found.next.map(|next| next + 1)),
        memory("select goes on without end")
            .caught_by("a-walk-of-selections-meets-every-entry-once")
            .select(|store, filter, last_id, limit| {
                changed(store.select(filter, last_id, limit), |found| {
                    found.next = found.next.or(last_id.checked_add(1_000));
                })
            }),
        memory("select finds 100 entries of a tag")
            .caught_by("many-entries-of-one-tag-are-selected")
            .select(|store, filter, last_id, limit| {
                let mut found = all(store.sound)?;
                found.retain(|entry| filter.accepts(entry));
                if !filter.tags.is_empty() {
                    found.truncate(100);
                }
                found.retain(|entry| entry.id > last_id);
                Ok(first_of(&found, limit))
            }),
        memory("select looks at 100 entries and ends")
            .caught_by("a-rare-tag-is-found-among-many-entries")
            .select(|store, filter, last_id, limit| {
                let mut found = after(store.sound, last_id)?;
                found.truncate(100);
                found.retain(|entry| filter.accepts(entry));
                let mut found = first_of(&found, limit);
                let last = found.entries.last().map(|entry| entry.id);
                found.next = found.next.or(last);
                Ok(found)
            }),
        memory("a walk of select goes on by rank")
            .caught_by("a-walk-of-selections-goes-on-amid-writes")
            .keeping::<Walk>()
            .select(|store, filter, last_id, limit| {
                let mut found = all(store.sound)?;
                found.retain(|entry| filter.accepts(entry));
                let known = found.partition_point(|entry| entry.id <= last_id);
                let goes_on = store.kept.place == Some(last_id);
                let rank = if goes_on { store.kept.rank } else { known };
                let page = first_of(&found[rank.min(found.len())..], limit);
                store.kept.rank = rank + page.entries.len();
                store.kept.place = page.next;
                Ok(page)
            }),
        memory("a walk of select goes on in the entries of its beginning")
            .caught_by("an-entry-deleted-ahead-of-a-walk-is-not-met")
            .keeping::<Walk>()
            .select(|store, filter, last_id, limit| {
                let present = after(store.sound, last_id)?;
                if store.kept.place != Some(last_id) {
                    store.kept.rows = present;
                }
                let rows = store.kept.rows.iter();
                let rows = rows.filter(|entry| entry.id > last_id && filter.accepts(entry));
                let rows: Vec<Entry> = rows.cloned().collect();
                let page = first_of(&rows, limit);
                store.kept.place = page.next;
                Ok(page)
            }),
    ]
}
