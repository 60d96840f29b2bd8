//! Values kept beside the entries, compared and set.

use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{About, Checked, Kind, check, equal, refused};
use crate::contract::store;
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_missing_key_reads_as_none,
        "read-meta of a key that was never set is none"
    ),
    case!(
        a_new_key_is_set,
        "replace-meta expecting none sets a key that does not exist"
    ),
    case!(
        a_present_key_is_not_taken_for_new,
        "replace-meta expecting none is false where the key exists"
    ),
    case!(
        a_value_is_replaced_if_it_is_the_expected_one,
        "replace-meta replaces the value it expects, and no other"
    ),
    case!(
        a_missing_key_has_no_value_to_expect,
        "replace-meta expecting a value is false where the key is missing"
    ),
    case!(
        a_value_can_be_removed,
        "replace-meta to none removes the key, and a new start is possible"
    ),
    case!(
        removing_needs_the_expected_value,
        "a removal that expects another value is false and removes nothing"
    ),
    case!(
        removing_a_missing_key_is_true,
        "replace-meta from none to none is true and leaves the key missing"
    ),
    case!(
        replacing_by_the_same_is_true,
        "replace-meta to the value that is there is true"
    ),
    case!(
        an_empty_value_is_a_value,
        "an empty value is kept, and is not the same as none"
    ),
    case!(
        values_are_compared_exactly,
        "values that differ in case, white space or Unicode form are different"
    ),
    case!(
        keys_are_compared_exactly,
        "keys that differ in case, white space or Unicode form are different"
    ),
    case!(
        odd_keys_and_values_are_kept,
        "keys and values of any characters are kept byte for byte"
    ),
    case!(
        a_value_of_many_kilobytes_is_kept,
        "a value of 20 KB is kept, replaced and compared exactly"
    ),
    case!(
        a_huge_value_is_kept_or_refused,
        "a value of 1 MB is kept exactly, or refused and nothing changed"
    ),
    case!(
        the_stores_own_keys_are_readable,
        "schema_version, embedder_fingerprint and embedder_dim can be read"
    ),
    case!(
        the_stores_own_keys_are_not_writable,
        "writing or removing the store's own keys is invalid-argument"
    ),
    case!(
        keys_like_the_stores_own_are_free,
        "keys that resemble the store's own are like any others"
    ),
];

fn set(case: &mut Case, key: &str, value: &str) -> Checked {
    let done = case.replace_meta(key, None, Some(value))?;
    equal(&format!("replace-meta of the new key {key:?}"), done, true)
}

fn a_missing_key_reads_as_none(case: &mut Case) -> Checked {
    let key = case.key("never");
    equal("the value", case.meta(&key)?, None)
}

fn a_new_key_is_set(case: &mut Case) -> Checked {
    let (key, other) = (case.key("k"), case.key("other"));
    set(case, &key, "v")?;
    equal("the value", case.meta(&key)?.as_deref(), Some("v"))?;
    equal("the value of another key", case.meta(&other)?, None)
}

fn a_present_key_is_not_taken_for_new(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "v")?;
    equal(
        "replace-meta expecting none",
        case.replace_meta(&key, None, Some("w"))?,
        false,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("v"))?;
    equal(
        "replace-meta expecting none, to the same",
        case.replace_meta(&key, None, Some("v"))?,
        false,
    )
}

fn a_value_is_replaced_if_it_is_the_expected_one(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "v")?;
    equal(
        "replace-meta of the right value",
        case.replace_meta(&key, Some("v"), Some("w"))?,
        true,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("w"))?;
    equal(
        "replace-meta of an old value",
        case.replace_meta(&key, Some("v"), Some("x"))?,
        false,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("w"))
}

fn a_missing_key_has_no_value_to_expect(case: &mut Case) -> Checked {
    let key = case.key("k");
    for expected in ["", "v"] {
        let done = case.replace_meta(&key, Some(expected), Some("w"))?;
        equal(
            &format!("replace-meta expecting {expected:?} of a missing key"),
            done,
            false,
        )?;
    }
    equal("the value", case.meta(&key)?, None)
}

fn a_value_can_be_removed(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "v")?;
    equal(
        "the removal",
        case.replace_meta(&key, Some("v"), None)?,
        true,
    )?;
    equal("the value", case.meta(&key)?, None)?;
    equal(
        "a second removal",
        case.replace_meta(&key, Some("v"), None)?,
        false,
    )?;
    set(case, &key, "w")?;
    equal("the value", case.meta(&key)?.as_deref(), Some("w"))
}

fn removing_needs_the_expected_value(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "v")?;
    equal(
        "a removal expecting another value",
        case.replace_meta(&key, Some("w"), None)?,
        false,
    )?;
    equal(
        "a removal expecting none",
        case.replace_meta(&key, None, None)?,
        false,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("v"))
}

fn removing_a_missing_key_is_true(case: &mut Case) -> Checked {
    let key = case.key("k");
    equal(
        "replace-meta from none to none",
        case.replace_meta(&key, None, None)?,
        true,
    )?;
    equal("the value", case.meta(&key)?, None)
}

fn replacing_by_the_same_is_true(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "v")?;
    equal(
        "replace-meta to the same",
        case.replace_meta(&key, Some("v"), Some("v"))?,
        true,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some("v"))
}

fn an_empty_value_is_a_value(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "")?;
    equal("the value", case.meta(&key)?.as_deref(), Some(""))?;
    equal(
        "replace-meta expecting none",
        case.replace_meta(&key, None, Some("v"))?,
        false,
    )?;
    equal(
        "replace-meta expecting the empty value",
        case.replace_meta(&key, Some(""), Some("v"))?,
        true,
    )?;
    equal(
        "replace-meta to the empty value",
        case.replace_meta(&key, Some("v"), Some(""))?,
        true,
    )?;
    equal("the value", case.meta(&key)?.as_deref(), Some(""))
}

fn values_are_compared_exactly(case: &mut Case) -> Checked {
    let key = case.key("k");
    set(case, &key, "Valué")?;
    for near in [
        "valué",
        "VALUÉ",
        "Value\u{301}",
        "Valué ",
        " Valué",
        "Valué\0",
        "Valu",
        "Value",
    ] {
        let done = case.replace_meta(&key, Some(near), Some("w"))?;
        equal(
            &format!("replace-meta expecting {near:?}, where \"Valué\" is"),
            done,
            false,
        )?;
    }
    equal("the value", case.meta(&key)?.as_deref(), Some("Valué"))
}

fn keys_are_compared_exactly(case: &mut Case) -> Checked {
    let keys = [
        "Ké",
        "ké",
        "KÉ",
        "Ke\u{301}",
        "Ké ",
        "Ké\0",
        "K",
        "Ké:",
        "Ké*",
        "K_",
    ]
    .map(|name| case.key(name));
    for (key, n) in keys.iter().zip(0..) {
        equal(
            &format!("the value of {key:?} before it is set"),
            case.meta(key)?,
            None,
        )?;
        set(case, key, &format!("value {n}"))?;
    }
    for (key, n) in keys.iter().zip(0..) {
        equal(
            &format!("the value of {key:?}"),
            case.meta(key)?,
            Some(format!("value {n}")),
        )?;
    }
    Ok(())
}

fn odd_keys_and_values_are_kept(case: &mut Case) -> Checked {
    for text in data::ODD_TEXTS {
        // The case's own name stands in the middle.
        let key = format!("{text}{}{text}", case.key("k"));
        let value = format!("{text}{text}");
        set(case, &key, &value)
            .and_then(|()| equal("the value", case.meta(&key)?, Some(value.clone())))
            .and_then(|()| {
                equal(
                    "replace-meta",
                    case.replace_meta(&key, Some(&value), Some(text))?,
                    true,
                )
            })
            .and_then(|()| equal("the new value", case.meta(&key)?.as_deref(), Some(*text)))
            .about(|| format!("the meta key {key:?}"))?;
        equal(
            "its removal",
            case.replace_meta(&key, Some(text), None)?,
            true,
        )?;
    }
    Ok(())
}

fn a_value_of_many_kilobytes_is_kept(case: &mut Case) -> Checked {
    let key = case.key("k");
    let (one, two) = (case.long_text(1, 20_000), case.long_text(2, 20_000));
    set(case, &key, &one)?;
    let same = case.meta(&key)?.as_ref() == Some(&one);
    equal("whether a value of 20 KB is read as it was set", same, true)?;
    let near = format!("{}x", &one[..one.len() - 1]);
    equal(
        "replace-meta expecting a value that differs in its last byte",
        case.replace_meta(&key, Some(&near), Some(&two))?,
        false,
    )?;
    equal(
        "replace-meta expecting the value",
        case.replace_meta(&key, Some(&one), Some(&two))?,
        true,
    )?;
    let same = case.meta(&key)?.as_ref() == Some(&two);
    equal(
        "whether the new value of 20 KB is read as it was set",
        same,
        true,
    )
}

fn a_huge_value_is_kept_or_refused(case: &mut Case) -> Checked {
    let key = case.key("k");
    let huge = case.long_text(1, 1 << 20);
    set(case, &key, "v")?;
    match store::replace_meta(&key, Some("v"), Some(&huge)) {
        Ok(done) => {
            equal("replace-meta to a value of 1 MB", done, true)?;
            let read = case.meta(&key)?;
            check(
                read.as_ref() == Some(&huge),
                "a value of 1 MB is read as it was set",
                || show::text(&read.unwrap_or_default()),
            )
        }
        Err(error) => {
            refused(
                "replace-meta to a value of 1 MB, if it fails,",
                Err::<(), _>(error),
                &[Kind::InvalidArgument],
            )?;
            equal(
                "the value after a refusal",
                case.meta(&key)?.as_deref(),
                Some("v"),
            )
        }
    }
}

fn the_stores_own_keys_are_readable(case: &mut Case) -> Checked {
    equal(
        "embedder_fingerprint",
        case.meta("embedder_fingerprint")?.as_ref(),
        Some(&case.fingerprint),
    )?;
    equal(
        "embedder_dim",
        case.meta("embedder_dim")?,
        Some(case.dim.to_string()),
    )?;
    let version = case.meta("schema_version")?;
    check(
        version
            .as_deref()
            .is_some_and(|text| text.parse::<u64>().is_ok()),
        "schema_version is a whole number",
        || show::value(&version),
    )
}

fn the_stores_own_keys_are_not_writable(case: &mut Case) -> Checked {
    for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        let present = case.meta(key)?;
        for (expected, value) in [
            (None, Some("1")),
            (present.as_deref(), Some("1")),
            (present.as_deref(), present.as_deref()),
            (present.as_deref(), None),
            (None, None),
        ] {
            let outcome = store::replace_meta(key, expected, value);
            refused(
                &format!("replace-meta of {key} from {expected:?} to {value:?}"),
                outcome,
                &[Kind::InvalidArgument],
            )?;
            equal(
                &format!("{key} after a refused write"),
                case.meta(key)?,
                present.clone(),
            )?;
        }
    }
    Ok(())
}

fn keys_like_the_stores_own_are_free(case: &mut Case) -> Checked {
    let own = ["schema_version", "embedder_fingerprint", "embedder_dim"];
    let before = own.map(|key| case.meta(key));
    let names = [
        "schema_version",
        "embedder_dim",
        "SCHEMA_VERSION",
        "version_counter",
        "counters",
        "next_id",
    ];
    for name in names {
        let key = case.key(name);
        set(case, &key, "v")?;
        equal(
            &format!("the value of {key:?}"),
            case.meta(&key)?.as_deref(),
            Some("v"),
        )?;
    }
    for (key, before) in own.into_iter().zip(before) {
        equal(key, case.meta(key)?, before?)?;
    }
    Ok(())
}
