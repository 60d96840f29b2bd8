//! Looking entries up by namespace and hash: an exact match, byte for byte.

use crate::battery::{Spec, case};
use crate::case::{Case, key_of};
use crate::check::{Checked, check, equal, same_entry};
use crate::contract::{Entry, EntryKey};
use crate::show;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        look_ups_answer_in_the_order_of_the_keys,
        "get-by-hash answers in the order asked, with none for what is missing"
    ),
    case!(
        a_look_up_of_no_keys_is_empty,
        "get-by-hash of no keys returns nothing"
    ),
    case!(
        a_key_may_be_asked_for_twice,
        "a key that comes twice is answered twice"
    ),
    case!(
        many_keys_can_be_asked_for_at_once,
        "get-by-hash answers 300 keys in one call"
    ),
    case!(
        both_parts_of_the_key_count,
        "a known namespace with another hash finds nothing, and the reverse"
    ),
    case!(
        letter_case_of_namespaces_counts,
        "namespaces that differ in letter case are different"
    ),
    case!(
        letter_case_of_hashes_counts,
        "a hash in capitals finds nothing"
    ),
    case!(
        white_space_in_namespaces_counts,
        "namespaces that differ in white space are different"
    ),
    case!(
        unicode_forms_of_namespaces_count,
        "namespaces that are equal after normalisation only are different"
    ),
    case!(
        invisible_characters_in_namespaces_count,
        "namespaces that look the same are different"
    ),
    case!(
        namespaces_that_begin_alike_are_different,
        "a namespace that is the beginning of another is another"
    ),
    case!(
        hashes_that_begin_alike_are_different,
        "hashes that differ in one digit are different"
    ),
    case!(
        part_of_a_hash_finds_nothing,
        "a hash with a digit less, a digit more or a space finds nothing"
    ),
    case!(
        key_parts_do_not_run_together,
        "a namespace that holds a separator and a hash is a different key"
    ),
    case!(
        expired_entries_are_returned,
        "an expired entry that is there is returned by every read"
    ),
];

fn look_ups_answer_in_the_order_of_the_keys(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    let stored = case.insert(&[case.entry(&a, 1), case.entry(&b, 1), case.entry(&a, 2)])?;
    let missing = key_of(&case.entry(&b, 9));
    let keys = [
        key_of(&stored[2]),
        missing.clone(),
        key_of(&stored[0]),
        missing,
        key_of(&stored[1]),
    ];
    let found = case.by_keys(&keys)?;
    let ids: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|entry| entry.id))
        .collect();
    let wanted = [
        Some(stored[2].id),
        None,
        Some(stored[0].id),
        None,
        Some(stored[1].id),
    ];
    equal("the ids found, in the order of the keys", ids, wanted)?;
    for (found, place) in [(0, 2), (2, 0), (4, 1)].map(|(at, place)| (&found[at], place)) {
        same_entry(
            "a look-up of many keys returns whole entries",
            found.as_ref(),
            &stored[place],
        )?;
    }
    Ok(())
}

fn a_look_up_of_no_keys_is_empty(case: &mut Case) -> Checked {
    equal("what no keys find", case.by_keys(&[])?.len(), 0)
}

fn a_key_may_be_asked_for_twice(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.put(case.entry(&space, 1))?;
    let missing = key_of(&case.entry(&space, 2));
    let keys = [key_of(&stored), missing.clone(), key_of(&stored), missing];
    let found = case.by_keys(&keys)?;
    same_entry("the first time", found[0].as_ref(), &stored)?;
    same_entry("the second time", found[2].as_ref(), &stored)?;
    check(
        found[1].is_none() && found[3].is_none(),
        "a missing key is none both times",
        || show::value(&found),
    )
}

fn many_keys_can_be_asked_for_at_once(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 30))?;
    let keys: Vec<_> = (0..300)
        .map(|n| key_of(&case.entry(&space, n % 150)))
        .collect();
    let found = case.by_keys(&keys)?;
    let ids: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|entry| entry.id))
        .collect();
    let wanted: Vec<_> = (0..300)
        .map(|n| stored.get(n % 150).map(|entry| entry.id))
        .collect();
    equal("the ids found by 300 keys", ids, wanted)
}

fn both_parts_of_the_key_count(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.put(case.entry(&a, 1))?;
    case.put(case.entry(&b, 2))?;
    let found = case.by_keys(&[key_of(&case.entry(&a, 2)), key_of(&case.entry(&b, 1))])?;
    check(
        found.iter().all(Option::is_none),
        "keys made of the parts of others find nothing",
        || show::value(&found),
    )
}

/// Stores an entry under the first name, looks for it under the others, and then
/// stores one under each.
fn all_different(case: &mut Case, names: &[String]) -> Checked {
    case.namespaces.extend(names.iter().cloned());
    let entry = |case: &Case, n: usize| Entry {
        response: format!("of name {n}"),
        ..case.entry(&names[n], 1)
    };
    let first = entry(case, 0);
    case.put(first)?;
    for name in &names[1..] {
        let found = case.find_at(name, &case.hash(1))?;
        check(
            found.is_none(),
            format!("{name:?} is not {:?}: it finds nothing", names[0]),
            || show::value(&found),
        )?;
        equal(
            &format!("the count of {name:?}, which is not {:?}", names[0]),
            case.count(Some(name))?,
            0,
        )?;
    }
    let list: Vec<_> = (0..names.len()).map(|n| entry(case, n)).collect();
    let stored = case.insert(&list)?;
    case.holds_all("it is a separate entry", &stored)?;
    for name in names {
        equal(
            &format!("the count of {name:?}"),
            case.count(Some(name))?,
            1,
        )?;
    }
    Ok(())
}

fn suffixed(case: &mut Case, suffixes: &[&str]) -> Vec<String> {
    suffixes.iter().map(|suffix| case.space(suffix)).collect()
}

fn letter_case_of_namespaces_counts(case: &mut Case) -> Checked {
    let names = suffixed(
        case,
        &[
            "Name", "name", "NAME", "nAME", "straße", "strasse", "STRASSE", "i", "I", "İ", "ı",
        ],
    );
    all_different(case, &names)
}

fn letter_case_of_hashes_counts(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let found = case.find_at(&space, &case.hash(1).to_uppercase())?;
    check(
        found.is_none(),
        "the hash in capitals finds nothing",
        || show::value(&found),
    )
}

fn white_space_in_namespaces_counts(case: &mut Case) -> Checked {
    let mut names = suffixed(
        case,
        &[
            "a b", "a  b", "a\tb", "a\u{A0}b", "ab", "a b ", "a b\n", "a b\0", "a\nb", "a\r\nb",
        ],
    );
    let around = [" ", "\n", "\t"].map(|text| case.space_around(text));
    names.extend(around);
    all_different(case, &names)
}

fn unicode_forms_of_namespaces_count(case: &mut Case) -> Checked {
    let names = suffixed(
        case,
        &[
            "é",
            "e\u{301}",
            "e",
            "Å",
            "\u{212B}",
            "A\u{30A}",
            "ﬁ",
            "fi",
            "ａ",
            "a",
            "q\u{307}\u{323}",
            "q\u{323}\u{307}",
            "한",
            "\u{1112}\u{1161}\u{11AB}",
            "²",
            "2",
        ],
    );
    all_different(case, &names)
}

fn invisible_characters_in_namespaces_count(case: &mut Case) -> Checked {
    let names = suffixed(
        case,
        &[
            "ab",
            "a\u{200B}b",
            "a\u{200D}b",
            "\u{FEFF}ab",
            "a\u{AD}b",
            "ab\u{FE0F}",
            "\u{202E}ab",
            "a\0b",
            "a\u{7F}b",
            "аb",
        ],
    );
    all_different(case, &names)
}

fn namespaces_that_begin_alike_are_different(case: &mut Case) -> Checked {
    let names = suffixed(
        case,
        &[
            "a", "", "aa", "a:", "a/", "a|", "a\0", "a ", "a:b", "a:b:c", "a*", "a%",
        ],
    );
    all_different(case, &names)
}

fn hashes_that_begin_alike_are_different(case: &mut Case) -> Checked {
    let space = case.space("a");
    let base = "0".repeat(62);
    let hashes = ["00", "01", "10", "0f", "f0"].map(|end| format!("{base}{end}"));
    let list: Vec<_> = hashes
        .iter()
        .zip(0..)
        .map(|(hash, n)| Entry {
            query_hash: hash.clone(),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    case.holds_all("a hash that differs in one digit is another", &stored)?;
    let mut flipped = list[0].clone();
    flipped.query_hash.replace_range(..1, "1");
    let found = case.find(&flipped)?;
    check(
        found.is_none(),
        "a hash that differs in the first digit finds nothing",
        || show::value(&found),
    )
}

fn part_of_a_hash_finds_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.put(case.entry(&space, 1))?;
    let hash = case.hash(1);
    let near = [
        hash[..63].to_owned(),
        format!("{hash}0"),
        format!("{hash} "),
        format!(" {hash}"),
        format!("{hash}\0"),
        String::new(),
        "%".to_owned(),
        "*".to_owned(),
    ];
    for other in near {
        let found = case.find_at(&space, &other)?;
        check(
            found.is_none(),
            format!("the hash {other:?} finds nothing"),
            || show::value(&found),
        )?;
    }
    Ok(())
}

fn key_parts_do_not_run_together(case: &mut Case) -> Checked {
    let space = case.space("a");
    let (one, two) = (case.hash(1), case.hash(2));
    let mut names = vec![space.clone()];
    for separator in [":", "/", "|", "\0", "#", "-", "_", "."] {
        names.push(format!("{space}{separator}{one}"));
    }
    case.namespaces.extend(names.iter().cloned());
    let list: Vec<_> = names
        .iter()
        .zip(0..)
        .map(|(name, n)| Entry {
            query_hash: two.clone(),
            ..case.entry(name, n)
        })
        .collect();
    let first = case.put(Entry {
        query_hash: one,
        ..case.entry(&space, 90)
    })?;
    let stored = case.insert(&list)?;
    case.holds_all("the entry is under its own key", &stored)?;
    case.holds("the entry is as it was", &first)?;
    let keys: Vec<EntryKey> = list.iter().map(key_of).collect();
    let found: Vec<_> = case
        .by_keys(&keys)?
        .into_iter()
        .flatten()
        .map(|entry| entry.query)
        .collect();
    equal(
        "the queries found",
        found,
        list.into_iter()
            .map(|entry| entry.query)
            .collect::<Vec<_>>(),
    )
}

fn expired_entries_are_returned(case: &mut Case) -> Checked {
    let space = case.space("a");
    let entry = case.put(Entry {
        ttl: Some(0),
        ..case.entry(&space, 1)
    })?;
    case.holds("an entry with ttl 0 is there until it is deleted", &entry)?;
    equal("the count", case.count(Some(&space))?, 1)?;
    equal(
        "the ids of the page",
        case.stamps(entry.id - 1, 5)?.ids,
        [entry.id],
    )?;
    equal(
        "the least recently used",
        case.lru(5, Some(&space))?.len(),
        1,
    )
}
