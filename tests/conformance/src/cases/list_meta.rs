//! Listing the values kept beside the entries.

use crate::battery::{Spec, case};
use crate::case::{Case, START};
use crate::check::{Checked, check, equal};
use crate::contract::Touch;
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        meta_that_was_set_is_listed,
        "list-meta has each key with the value that read-meta returns"
    ),
    case!(
        meta_is_listed_by_bytes,
        "list-meta is sorted by the UTF-8 bytes of the keys"
    ),
    case!(
        odd_meta_is_listed,
        "keys and values of any characters are listed byte for byte"
    ),
    case!(
        listed_meta_follows_every_change,
        "list-meta shows values replaced, and not those removed"
    ),
    case!(
        the_stores_own_meta_is_not_listed,
        "list-meta has no key that replace-meta has not set, whatever is written"
    ),
    case!(
        long_meta_is_listed_whole,
        "values of 20 KB are listed whole, more than one of them"
    ),
    case!(many_keys_are_listed, "list-meta lists 150 keys, each once"),
];

/// Sets keys, and returns them with their values, sorted.
fn set(case: &mut Case, pairs: Vec<(String, String)>) -> Checked<Vec<(String, String)>> {
    for (key, value) in &pairs {
        let done = case.replace_meta(key, None, Some(value))?;
        equal(&format!("replace-meta of the new key {key:?}"), done, true)?;
    }
    let mut sorted = pairs;
    sorted.sort();
    Ok(sorted)
}

fn lists(case: &Case, what: &str, wanted: &[(String, String)]) -> Checked {
    let listed = case.own_meta()?;
    let at = show::first_difference(wanted, &listed);
    check(
        at.is_none(),
        format!("list-meta has {what}: {} keys", wanted.len()),
        || {
            let at = at.unwrap_or_default();
            format!(
                "it has {}, and {} in place of {} at position {at}",
                listed.len(),
                show::value(&listed.get(at)),
                show::value(&wanted.get(at))
            )
        },
    )
}

fn meta_that_was_set_is_listed(case: &mut Case) -> Checked {
    lists(case, "nothing of this case", &[])?;
    let pairs = vec![
        (case.key("a"), "1".to_owned()),
        (case.key("b"), String::new()),
        (case.key("c"), "{\"n\":[1]}".to_owned()),
    ];
    let pairs = set(case, pairs)?;
    lists(case, "what was set", &pairs)?;
    for (key, value) in pairs {
        equal("the value by read-meta", case.meta(&key)?, Some(value))?;
    }
    Ok(())
}

fn meta_is_listed_by_bytes(case: &mut Case) -> Checked {
    let names = [
        "z", "B", "a", "b", "a b", "a/", "ab", "é", "e\u{301}", "\u{FFFF}", "🦀", "_", "10", "9",
    ];
    let pairs = names.map(|name| (case.key(name), name.to_owned()));
    let pairs = set(case, pairs.into())?;
    lists(case, "what was set, by bytes", &pairs)?;
    let all = case.list_meta()?;
    let unsorted = all.windows(2).find(|two| two[0].0 >= two[1].0);
    check(
        unsorted.is_none(),
        "list-meta is sorted by bytes, and has each key once",
        || show::value(&unsorted),
    )
}

fn odd_meta_is_listed(case: &mut Case) -> Checked {
    let middle = case.key("k");
    let pairs: Vec<_> = data::ODD_TEXTS
        .iter()
        .map(|text| (format!("{text}{middle}{text}"), format!("{text}{text}")))
        .collect();
    let pairs = set(case, pairs)?;
    lists(case, "odd keys and values", &pairs)
}

fn listed_meta_follows_every_change(case: &mut Case) -> Checked {
    let (a, b) = (case.key("a"), case.key("b"));
    let pairs = vec![(a.clone(), "1".to_owned()), (b.clone(), "2".to_owned())];
    set(case, pairs.clone())?;
    lists(case, "what was set", &pairs)?;
    case.replace_meta(&a, Some("1"), Some("one"))?;
    case.replace_meta(&b, Some("wrong"), Some("two"))?;
    let pairs = [(a.clone(), "one".to_owned()), (b.clone(), "2".to_owned())];
    lists(case, "the new value, and not one that was refused", &pairs)?;
    case.replace_meta(&a, Some("one"), None)?;
    lists(case, "no key that was removed", &pairs[1..])?;
    case.replace_meta(&a, None, Some("again"))?;
    let pairs = [(a, "again".to_owned()), pairs[1].clone()];
    lists(case, "a key that was set again", &pairs)?;
    case.reopen()?;
    lists(case, "the same after close and open", &pairs)
}

fn the_stores_own_meta_is_not_listed(case: &mut Case) -> Checked {
    let space = case.space("a");
    let before = case.list_meta()?;
    let stored = case.insert(&case.entries(&space, 3))?;
    case.set_quota(&space, Some(3))?;
    case.touch(&[Touch {
        id: stored[0].id,
        hits: 1,
        last_accessed_at: START,
    }])?;
    case.delete(stored[1].id)?;
    let own = ["schema_version", "embedder_fingerprint", "embedder_dim"];
    let found = before.iter().find(|(key, _)| own.contains(&key.as_str()));
    check(
        found.is_none(),
        "list-meta has none of the store's own keys",
        || show::value(&found),
    )?;
    equal(
        "list-meta after writes that set no meta",
        case.list_meta()?,
        before,
    )
}

fn long_meta_is_listed_whole(case: &mut Case) -> Checked {
    let pairs = (0..4)
        .map(|n| (case.key(&n.to_string()), case.long_text(n, 20_000)))
        .collect();
    let pairs = set(case, pairs)?;
    lists(case, "values of 20 KB", &pairs)
}

fn many_keys_are_listed(case: &mut Case) -> Checked {
    let pairs = (0..150)
        .map(|n| (case.key(&format!("{n}")), format!("{n}")))
        .collect();
    let pairs = set(case, pairs)?;
    lists(case, "all keys", &pairs)
}
