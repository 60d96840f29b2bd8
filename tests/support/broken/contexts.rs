//! Faults of keeping contexts and tags.

use super::entries::composed;
use super::{Fault, Known, all, memory, same_key, utf16};
use mneme::store::Entry;

impl Fault {
    /// Changes the context and each tag of entries on their way in.
    fn stores_labels(self, change: fn(&str) -> String) -> Self {
        self.insert(move |store, mut entries| {
            for entry in &mut entries {
                entry.context = change(&entry.context);
                entry.tags.iter_mut().for_each(|tag| *tag = change(tag));
            }
            store.insert(entries)
        })
    }
}

/// As many characters of a text as this, at most.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

pub fn faults() -> Vec<Known> {
    faults![
        memory("contexts are lost")
            .caught_by("contexts-are-kept-byte-for-byte")
            .stores(|entry| entry.context.clear()),
        memory("contexts and tags are trimmed")
            .caught_by("contexts-are-kept-byte-for-byte")
            .stores_labels(|text| text.trim().to_owned()),
        memory("contexts and tags are composed")
            .caught_by("contexts-are-kept-byte-for-byte")
            .stores_labels(composed),
        memory("tags are lost")
            .caught_by("tags-are-kept-byte-for-byte")
            .stores(|entry| entry.tags.clear()),
        memory("tags are kept in lower case")
            .caught_by("tags-are-kept-byte-for-byte")
            .stores_labels(str::to_lowercase),
        memory("tags are kept in one text")
            .caught_by("tags-are-kept-byte-for-byte")
            .returns(|entry| {
                let text = entry.tags.join(",");
                let tags = text.split(',').filter(|tag| !tag.is_empty());
                entry.tags = tags.map(str::to_owned).collect();
            }),
        memory("tags are sorted as UTF-16")
            .caught_by("tags-stay-in-the-order-of-their-bytes")
            .stores(|entry| entry.tags.sort_by_key(|tag| utf16(tag))),
        memory("contexts end at 255 characters")
            .caught_by("the-longest-context-is-kept")
            .stores(|entry| entry.context = cut(&entry.context, 255)),
        memory("an entry has 31 tags at most")
            .caught_by("the-most-and-longest-tags-are-kept")
            .stores(|entry| entry.tags.truncate(31)),
        memory("tags end at 100 characters")
            .caught_by("the-most-and-longest-tags-are-kept")
            .stores(|entry| entry.tags.iter_mut().for_each(|tag| *tag = cut(tag, 100))),
        memory("a replacement keeps the old context")
            .caught_by("upsert-replaces-context-and-tags")
            .keeps_old(|new, old| new.context.clone_from(&old.context)),
        memory("a replacement adds its tags to the old ones")
            .caught_by("upsert-replaces-context-and-tags")
            .keeps_old(|new, old| {
                new.tags.extend(old.tags.iter().cloned());
                new.tags.sort();
                new.tags.dedup();
            }),
        memory("a replacement without tags keeps the old ones")
            .caught_by("upsert-without-tags-removes-them")
            .keeps_old(|new, old| {
                if new.tags.is_empty() {
                    new.tags.clone_from(&old.tags);
                }
            }),
        memory("another context makes another entry")
            .caught_by("contexts-make-no-keys")
            .insert(|store, entries| {
                for entry in &entries {
                    if let Some(old) = same_key(store.sound, entry)?
                        && old.context != entry.context
                    {
                        store.delete_by_id(old.id)?;
                    }
                }
                store.insert(entries)
            }),
        memory("a touch takes the tags away")
            .caught_by("touches-leave-contexts-and-tags")
            .moves(|_, operation, moved| i64::from(moved && operation != "update_access"))
            .update_access(|store, touches| {
                store.update_access(touches)?;
                let ids: Vec<u64> = touches.iter().map(|touch| touch.id).collect();
                let mut entries = store.get_by_ids(&ids, true)?;
                entries.iter_mut().for_each(|entry| entry.tags.clear());
                store.insert(entries).map(drop)
            }),
        memory("a merge loses tags")
            .caught_by("a-merge-keeps-contexts-and-tags")
            .imports(|entries| entries.iter_mut().for_each(|entry| entry.tags.clear())),
        memory("an import loses contexts")
            .caught_by("other-imports-keep-contexts-and-tags")
            .imports(|entries| entries.iter_mut().for_each(|entry| entry.context.clear())),
        memory("closing loses tags")
            .caught_by("contexts-and-tags-stay-after-close-and-open")
            .close(|store| {
                if store.read_version_counter().is_ok() {
                    let bare = all(store.sound)?.into_iter().map(|entry| Entry {
                        tags: Vec::new(),
                        ..entry
                    });
                    let bare: Vec<Entry> = bare.collect();
                    store.insert(bare)?;
                }
                store.close()
            }),
    ]
}
