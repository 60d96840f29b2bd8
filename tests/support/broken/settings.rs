//! Faults of quotas and meta.

use super::{Fault, Known, Sound, changed, cut_at_nul, memory, utf16};
use mneme::store::{Result, StoreError};

/// Keys with their values.
type Meta = Vec<(String, String)>;

impl Fault {
    /// Keys of meta by other rules.
    fn meta_keys(self, fold: fn(&str) -> String) -> Self {
        self.read_meta(move |store, key| store.read_meta(&fold(key)))
            .replace_meta(move |store, key, expected, value| {
                store.replace_meta(&fold(key), expected, value)
            })
    }

    /// Values of meta by other rules.
    fn meta_values(self, fold: fn(&str) -> String) -> Self {
        self.replace_meta(move |store, key, expected, value| {
            let (expected, value) = (expected.map(fold), value.map(fold));
            store.replace_meta(key, expected.as_deref(), value.as_deref())
        })
    }

    /// Changes the list of meta values.
    fn lists_meta(self, change: fn(&mut Meta)) -> Self {
        self.list_meta(move |store| changed(store.list_meta(), change))
    }
}

/// Sets a value whatever it is.
pub fn replace_regardless(store: &mut Sound, key: &str, value: Option<&str>) -> Result<bool> {
    let present = store.read_meta(key)?;
    store.replace_meta(key, present.as_deref(), value)
}

pub fn quotas() -> Vec<Known> {
    faults![
        memory("a quota of 0 is taken for none")
            .caught_by("a-quota-of-zero-is-a-quota")
            .set_namespace_quota(|store, name, quota| {
                store.set_namespace_quota(name, quota.filter(|quota| *quota > 0))
            }),
        memory("a quota cannot be overwritten")
            .caught_by("a-quota-can-be-changed")
            .set_namespace_quota(|store, name, quota| {
                match store.get_namespace_quota(name)?.and(quota) {
                    Some(_) => Ok(()),
                    None => store.set_namespace_quota(name, quota),
                }
            }),
        memory("a quota cannot be removed")
            .caught_by("a-quota-can-be-removed")
            .set_namespace_quota(|store, name, quota| match quota {
                Some(_) => store.set_namespace_quota(name, quota),
                None => Ok(()),
            }),
        memory("a quota is cut to 32 bits")
            .caught_by("large-quotas-are-kept-exactly")
            .set_namespace_quota(|store, name, quota| {
                store.set_namespace_quota(name, quota.map(|quota| quota & 0xffff_ffff))
            }),
        memory("a quota cannot be set before there are entries")
            .caught_by("a-quota-needs-no-entries")
            .set_namespace_quota(|store, name, quota| match store.count(Some(name))? {
                0 if quota.is_some() => Ok(()),
                _ => store.set_namespace_quota(name, quota),
            }),
        memory("a namespace without quota has one of 0")
            .caught_by("removing-no-quota-does-nothing")
            .get_namespace_quota(|store, name| Ok(store.get_namespace_quota(name)?.or(Some(0)))),
        memory("quotas are not sorted")
            .caught_by("quotas-are-listed-by-bytes")
            .list_namespace_quotas(|store| {
                changed(store.list_namespace_quotas(), |quotas| quotas.reverse())
            }),
        memory("quotas are listed where there are entries only")
            .caught_by("quotas-are-listed-by-bytes")
            .list_namespace_quotas(|store| {
                let names = store.list_namespaces(None, u32::MAX)?;
                changed(store.list_namespace_quotas(), |quotas| {
                    quotas.retain(|(name, _)| names.contains(name));
                })
            }),
        memory("quotas are enforced")
            .caught_by("a-store-enforces-no-quota")
            .insert(|store, entries| {
                for entry in &entries {
                    let quota = store.get_namespace_quota(&entry.namespace)?;
                    let asked = entries.iter().filter(|e| e.namespace == entry.namespace);
                    let count = store.count(Some(&entry.namespace))? + asked.count() as u64;
                    if quota.is_some_and(|quota| count > quota) {
                        return Err(StoreError::QuotaExceeded("the namespace is full".into()));
                    }
                }
                store.insert(entries)
            }),
    ]
}

pub fn meta() -> Vec<Known> {
    faults![
        memory("replace-meta ignores what is expected")
            .caught_by("a-value-is-replaced-if-it-is-the-expected-one")
            .replace_meta(|store, key, _, value| replace_regardless(store.sound, key, value)),
        memory("replace-meta ignores that nothing is expected")
            .caught_by("a-present-key-is-not-taken-for-new")
            .replace_meta(|store, key, expected, value| match expected {
                Some(_) => store.replace_meta(key, expected, value),
                None => replace_regardless(store.sound, key, value),
            }),
        memory("replace-meta says that it replaced")
            .caught_by("a-value-is-replaced-if-it-is-the-expected-one")
            .replace_meta(|store, key, expected, value| {
                store.replace_meta(key, expected, value).map(|_| true)
            }),
        memory("replace-meta says that it did not replace the same")
            .caught_by("replacing-by-the-same-is-true")
            .replace_meta(|store, key, expected, value| {
                Ok(store.replace_meta(key, expected, value)? && expected != value)
            }),
        memory("replace-meta takes the store's own keys")
            .caught_by("the-stores-own-keys-are-not-writable")
            .replace_meta(|store, key, expected, value| {
                match store.replace_meta(key, expected, value) {
                    Err(StoreError::InvalidArgument(_)) => Ok(true),
                    result => result,
                }
            }),
        memory("meta cannot be removed")
            .caught_by("a-value-can-be-removed")
            .replace_meta(|store, key, expected, value| match value {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.as_deref() == expected),
            }),
        memory("meta is emptied instead of removed")
            .caught_by("a-value-can-be-removed")
            .replace_meta(|store, key, expected, value| {
                store.replace_meta(key, expected, Some(value.unwrap_or_default()))
            }),
        memory("meta keys are compared without case")
            .caught_by("keys-are-compared-exactly")
            .meta_keys(str::to_lowercase),
        memory("meta keys are trimmed")
            .caught_by("keys-are-compared-exactly")
            .meta_keys(|key| key.trim().to_owned()),
        memory("meta values are trimmed")
            .caught_by("odd-keys-and-values-are-kept")
            .meta_values(|value| value.trim().to_owned()),
        memory("meta values end at U+0000")
            .caught_by("odd-keys-and-values-are-kept")
            .meta_values(cut_at_nul),
        memory("meta values end at 255 bytes")
            .caught_by("a-value-of-many-kilobytes-is-kept")
            .meta_values(|value| value.chars().take(255).collect()),
        memory("a missing meta key reads as empty")
            .caught_by("a-missing-key-reads-as-none")
            .read_meta(|store, key| Ok(Some(store.read_meta(key)?.unwrap_or_default()))),
        memory("the store's own keys cannot be read")
            .caught_by("the-stores-own-keys-are-readable")
            .read_meta(|store, key| {
                let value = store.read_meta(key)?;
                Ok(value.filter(|_| !key.starts_with("embedder_")))
            }),
        memory("a new meta key is not set")
            .caught_by("a-new-key-is-set")
            .replace_meta(|store, key, expected, value| match expected {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.is_none()),
            }),
    ]
}

pub fn listing_meta() -> Vec<Known> {
    faults![
        memory("list-meta leaves out its last key")
            .caught_by("meta-that-was-set-is-listed")
            .lists_meta(|list| drop(list.pop())),
        memory("list-meta is sorted by UTF-16")
            .caught_by("meta-is-listed-by-bytes")
            .lists_meta(|list| list.sort_by_key(|(key, _)| utf16(key))),
        memory("listed keys end at U+0000")
            .caught_by("odd-meta-is-listed")
            .lists_meta(|list| list.iter_mut().for_each(|(key, _)| *key = cut_at_nul(key))),
        memory("list-meta lists what was there at first")
            .caught_by("listed-meta-follows-every-change")
            .keeping::<Option<Meta>>()
            .list_meta(|store| {
                let listed = store.list_meta()?;
                Ok(store.kept.get_or_insert(listed).clone())
            }),
        memory("list-meta lists the embedder")
            .caught_by("the-stores-own-meta-is-not-listed")
            .lists_meta(|list| {
                list.push(("embedder_dim".into(), "8".into()));
                list.sort();
            }),
        memory("listed values end at 16 KiB")
            .caught_by("long-meta-is-listed-whole")
            .lists_meta(|list| {
                list.iter_mut()
                    .for_each(|(_, value)| value.truncate(16_384));
            }),
        memory("list-meta lists a hundred keys")
            .caught_by("many-keys-are-listed")
            .lists_meta(|list| list.truncate(100)),
    ]
}
