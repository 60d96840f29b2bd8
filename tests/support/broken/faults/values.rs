//! Faults of what is kept: an entry's values, quotas and meta.

use super::{Known, memory};
use crate::broken::entries::{EnforcesQuotas, Returns, Stores};
use crate::broken::settings::{
    ListsQuotas, MetaText, ReadsMeta, ReplacesMeta, SaysQuota, SetsQuota, regardless, reserved_too,
};
use crate::broken::texts;

/// Of the values of an entry.
pub fn stored_values() -> Vec<Known> {
    let stores = |change: fn(&mut mneme::store::Entry)| move || Stores(change);
    vec![
        memory(
            "text beyond U+FFFF is lost",
            "characters-beyond-the-first-plane-are-kept",
            stores(texts::three_bytes_only),
        ),
        memory(
            "text ends at U+0000",
            "odd-responses-are-kept",
            stores(texts::cut_at_nul),
        ),
        memory(
            "text is trimmed",
            "odd-responses-are-kept",
            stores(texts::trimmed),
        ),
        memory(
            "line ends are changed",
            "odd-responses-are-kept",
            stores(texts::line_ends),
        ),
        memory(
            "text is composed",
            "odd-queries-are-kept",
            stores(texts::composed),
        ),
        memory(
            "text ends at 64 KiB",
            "a-response-of-many-kilobytes-is-kept",
            stores(texts::cut_at_64k),
        ),
        memory(
            "empty text is taken for none",
            "empty-texts-are-kept",
            stores(texts::empty_is_null),
        ),
        memory(
            "the query is kept in lower case",
            "odd-queries-are-kept",
            stores(texts::query_in_lower_case),
        ),
        memory(
            "metadata is sorted",
            "metadata-keeps-order-and-spaces",
            stores(texts::sorted_metadata),
        ),
        memory(
            "vectors are cut",
            "every-position-of-a-vector-is-kept",
            || Returns(texts::last_value_lost),
        ),
        memory(
            "the last value of a vector is lost",
            "every-position-of-a-vector-is-kept",
            stores(texts::last_value_zero),
        ),
        memory(
            "vectors are rounded to 16 bits",
            "vectors-are-kept-bit-for-bit",
            stores(texts::half_precision),
        ),
        memory(
            "very small values of vectors are lost",
            "tiny-values-are-kept",
            stores(texts::no_small_numbers),
        ),
        memory(
            "vectors are made unit length",
            "vectors-are-kept-bit-for-bit",
            stores(texts::unit_length),
        ),
        memory(
            "numbers are cut to 32 bits",
            "great-numbers-are-kept-exactly",
            stores(texts::small_integers),
        ),
        memory(
            "numbers are kept as floating point",
            "great-numbers-are-kept-exactly",
            stores(texts::rounded_integers),
        ),
        memory(
            "a lifetime of 0 is taken for none",
            "a-ttl-of-zero-expires-at-once",
            stores(texts::zero_ttl_is_none),
        ),
        memory(
            "no lifetime is taken for 0",
            "an-entry-without-a-ttl-never-expires",
            stores(texts::no_ttl_is_zero),
        ),
        memory(
            "the last access is that of creation",
            "an-inserted-entry-is-there-whole",
            stores(texts::accessed_when_created),
        ),
        memory(
            "access counts begin at 0",
            "an-inserted-entry-is-there-whole",
            stores(texts::no_access_yet),
        ),
    ]
}

/// Of quotas.
pub fn quotas() -> Vec<Known> {
    vec![
        memory(
            "a quota of 0 is taken for none",
            "a-quota-of-zero-is-a-quota",
            || {
                SetsQuota(|store, name, quota| {
                    store.set_namespace_quota(name, quota.filter(|quota| *quota > 0))
                })
            },
        ),
        memory(
            "a quota cannot be overwritten",
            "a-quota-can-be-changed",
            || {
                SetsQuota(
                    |store, name, quota| match store.get_namespace_quota(name)? {
                        Some(_) if quota.is_some() => Ok(()),
                        _ => store.set_namespace_quota(name, quota),
                    },
                )
            },
        ),
        memory(
            "a quota cannot be removed",
            "a-quota-can-be-removed",
            || {
                SetsQuota(|store, name, quota| match quota {
                    Some(_) => store.set_namespace_quota(name, quota),
                    None => Ok(()),
                })
            },
        ),
        memory(
            "a quota is cut to 32 bits",
            "large-quotas-are-kept-exactly",
            || {
                SetsQuota(|store, name, quota| {
                    store.set_namespace_quota(name, quota.map(|quota| quota & 0xffff_ffff))
                })
            },
        ),
        memory(
            "a quota cannot be set before there are entries",
            "a-quota-needs-no-entries",
            || {
                SetsQuota(|store, name, quota| match store.count(Some(name))? {
                    0 if quota.is_some() => Ok(()),
                    _ => store.set_namespace_quota(name, quota),
                })
            },
        ),
        memory(
            "a namespace without quota has one of 0",
            "removing-no-quota-does-nothing",
            || SaysQuota(|_, _, quota| Ok(quota.or(Some(0)))),
        ),
        memory(
            "quotas are not sorted",
            "quotas-are-listed-by-bytes",
            || {
                ListsQuotas(|_, quotas| {
                    quotas.reverse();
                    Ok(())
                })
            },
        ),
        memory(
            "quotas are listed where there are entries only",
            "quotas-are-listed-by-bytes",
            || {
                ListsQuotas(|store, quotas| {
                    let names = store.list_namespaces()?;
                    quotas.retain(|(name, _)| names.contains(name));
                    Ok(())
                })
            },
        ),
        memory("quotas are enforced", "a-store-enforces-no-quota", || {
            EnforcesQuotas
        }),
    ]
}

/// Of meta.
pub fn meta() -> Vec<Known> {
    vec![
        memory(
            "replace-meta ignores what is expected",
            "a-value-is-replaced-if-it-is-the-expected-one",
            || ReplacesMeta(regardless),
        ),
        memory(
            "replace-meta ignores that nothing is expected",
            "a-present-key-is-not-taken-for-new",
            || {
                ReplacesMeta(|store, key, expected, value| match expected {
                    Some(_) => store.replace_meta(key, expected, value),
                    None => regardless(store, key, expected, value),
                })
            },
        ),
        memory(
            "replace-meta says that it replaced",
            "a-value-is-replaced-if-it-is-the-expected-one",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    store.replace_meta(key, expected, value).map(|_| true)
                })
            },
        ),
        memory(
            "replace-meta says that it did not replace the same",
            "replacing-by-the-same-is-true",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    Ok(store.replace_meta(key, expected, value)? && expected != value)
                })
            },
        ),
        memory(
            "replace-meta takes the store's own keys",
            "the-stores-own-keys-are-not-writable",
            || ReplacesMeta(reserved_too),
        ),
        memory("meta cannot be removed", "a-value-can-be-removed", || {
            ReplacesMeta(|store, key, expected, value| match value {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.as_deref() == expected),
            })
        }),
        memory(
            "meta is emptied instead of removed",
            "a-value-can-be-removed",
            || {
                ReplacesMeta(|store, key, expected, value| {
                    store.replace_meta(key, expected, Some(value.unwrap_or_default()))
                })
            },
        ),
        memory(
            "meta keys are compared without case",
            "keys-are-compared-exactly",
            || MetaText {
                key: str::to_lowercase,
                value: str::to_owned,
            },
        ),
        memory("meta keys are trimmed", "keys-are-compared-exactly", || {
            MetaText {
                key: |key| key.trim().to_owned(),
                value: str::to_owned,
            }
        }),
        memory(
            "meta values are trimmed",
            "odd-keys-and-values-are-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.trim().to_owned(),
            },
        ),
        memory(
            "meta values end at U+0000",
            "odd-keys-and-values-are-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.split('\0').next().unwrap_or_default().to_owned(),
            },
        ),
        memory(
            "meta values end at 255 bytes",
            "a-value-of-many-kilobytes-is-kept",
            || MetaText {
                key: str::to_owned,
                value: |value| value.chars().take(255).collect(),
            },
        ),
        memory(
            "a missing meta key reads as empty",
            "a-missing-key-reads-as-none",
            || ReadsMeta(|_, value| Some(value.unwrap_or_default())),
        ),
        memory(
            "the store's own keys cannot be read",
            "the-stores-own-keys-are-readable",
            || ReadsMeta(|key, value| value.filter(|_| !key.starts_with("embedder_"))),
        ),
        memory("a new meta key is not set", "a-new-key-is-set", || {
            ReplacesMeta(|store, key, expected, value| match expected {
                Some(_) => store.replace_meta(key, expected, value),
                None => Ok(store.read_meta(key)?.is_none()),
            })
        }),
    ]
}
