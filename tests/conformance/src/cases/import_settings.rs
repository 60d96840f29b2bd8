//! Quotas and meta values that come with an import.

use super::import_steps::no_import;
use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST};
use crate::check::{Checked, Kind, equal, refused};
use crate::contract::{Entry, ImportMode, MetaChange, store};
use crate::data;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        an_import_sets_quotas,
        "quotas are set and replaced, and the others stay"
    ),
    case!(
        an_import_sets_meta,
        "meta values are set where they are the expected ones, and the others stay"
    ),
    case!(
        odd_settings_are_imported,
        "names, keys and values of any characters and sizes are imported"
    ),
    case!(
        quotas_limit_no_import,
        "an import may exceed a quota, even one that it sets itself"
    ),
    case!(
        unexpected_meta_is_false,
        "commit-import with another value than the expected one is false, and nothing changes"
    ),
    case!(
        expected_meta_is_compared_exactly,
        "missing keys, empty values and values that resemble each other are different"
    ),
    case!(
        a_refused_import_can_be_committed,
        "after commit-import was false, the import is committed with other changes"
    ),
    case!(
        an_import_sets_none_of_the_stores_own_meta,
        "a meta key of the store's own is invalid-argument, and the import is over"
    ),
];

/// A change of a meta value.
pub(super) fn change(key: &str, expected: Option<&str>, value: &str) -> MetaChange {
    MetaChange {
        key: key.to_owned(),
        expected: expected.map(str::to_owned),
        value: value.to_owned(),
    }
}

fn an_import_sets_quotas(case: &mut Case) -> Checked {
    let [a, b, c] = ["a", "b", "c"].map(|name| case.space(name));
    case.set_quota(&a, Some(3))?;
    case.set_quota(&c, Some(4))?;
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&case.entries(&a, 2))?;
    let quotas = [(b.clone(), 7), (a.clone(), 9)];
    equal("commit-import", case.commit_import(&quotas, &[])?, true)?;
    equal("a quota replaced", case.quota(&a)?, Some(9))?;
    equal("a quota set", case.quota(&b)?, Some(7))?;
    equal(
        "a quota that is not in the import",
        case.quota(&c)?,
        Some(4),
    )?;
    let mut listed = case.quotas()?;
    listed.retain(|(space, _)| [&a, &b, &c].contains(&space));
    equal("list-namespace-quotas", listed, [(a, 9), (b, 7), (c, 4)])
}

fn an_import_sets_meta(case: &mut Case) -> Checked {
    let [old, new, other] = ["old", "new", "other"].map(|name| case.key(name));
    case.replace_meta(&old, None, Some("1"))?;
    case.replace_meta(&other, None, Some("2"))?;
    let space = case.space("a");
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&case.entries(&space, 2))?;
    let changes = [change(&new, None, "n"), change(&old, Some("1"), "one")];
    equal("commit-import", case.commit_import(&[], &changes)?, true)?;
    equal("a value set", case.meta(&new)?.as_deref(), Some("n"))?;
    equal("a value replaced", case.meta(&old)?.as_deref(), Some("one"))?;
    equal("another value", case.meta(&other)?.as_deref(), Some("2"))?;
    let listed = [(new, "n"), (old, "one"), (other, "2")];
    let listed = listed.map(|(key, value)| (key, value.to_owned()));
    equal("list-meta", case.own_meta()?, listed)
}

fn odd_settings_are_imported(case: &mut Case) -> Checked {
    let middle = case.key("k");
    let mut quotas = Vec::new();
    let mut changes = Vec::new();
    for (text, n) in data::ODD_TEXTS.iter().zip(0..) {
        quotas.push((case.space_around(text), n));
        let key = format!("{text}{middle}{text}");
        changes.push(change(&key, None, &format!("{text}{text}")));
    }
    quotas.push((case.space("most"), GREATEST));
    let long = case.key("long");
    changes.push(change(&long, None, &case.long_text(1, 20_000)));
    case.begin_import(ImportMode::Merge)?;
    equal(
        "commit-import",
        case.commit_import(&quotas, &changes)?,
        true,
    )?;
    for (namespace, quota) in quotas {
        let demand = format!("the quota of {namespace:?}");
        equal(&demand, case.quota(&namespace)?, Some(quota))?;
    }
    for MetaChange { key, value, .. } in changes {
        equal(
            &format!("the value of {key:?}"),
            case.meta(&key)?,
            Some(value),
        )?;
    }
    Ok(())
}

fn quotas_limit_no_import(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.set_quota(&a, Some(1))?;
    let mut list = case.entries(&a, 4);
    list.extend((10..13).map(|n| case.entry(&b, n)));
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    let quotas = [(b.clone(), 0)];
    equal("commit-import", case.commit_import(&quotas, &[])?, true)?;
    let stored = case.with_ids(&list)?;
    case.holds_all("the imported entry is there, over the quota", &stored)?;
    equal("the count over a quota", case.count(Some(&a))?, 4)?;
    equal("the count over a quota of 0", case.count(Some(&b))?, 3)
}

/// Begins an import of three entries, one of them there already.
fn begin(case: &mut Case) -> Checked<(Vec<Entry>, u64)> {
    let space = case.space("a");
    let known = case.put(case.entry(&space, 0))?;
    let mut list = case.entries(&space, 3);
    list[0].response = "imported".to_owned();
    case.begin_import(ImportMode::Merge)?;
    case.write_import(&list)?;
    Ok((list, known.id - 1))
}

fn unexpected_meta_is_false(case: &mut Case) -> Checked {
    let (key, new) = (case.key("k"), case.key("new"));
    case.replace_meta(&key, None, Some("1"))?;
    let (list, last_id) = begin(case)?;
    let before = case.picture(last_id)?;
    let quotas = [(list[0].namespace.clone(), 5)];
    let changes = [change(&new, None, "n"), change(&key, Some("2"), "3")];
    equal(
        "commit-import",
        case.commit_import(&quotas, &changes)?,
        false,
    )?;
    case.unchanged("after a commit-import that was false", last_id, &before)?;
    equal("a value of the same list", case.meta(&new)?, None)?;
    case.end_import()?;
    case.unchanged("after its end", last_id, &before)
}

fn expected_meta_is_compared_exactly(case: &mut Case) -> Checked {
    let [missing, empty, text] = ["missing", "empty", "text"].map(|name| case.key(name));
    case.replace_meta(&empty, None, Some(""))?;
    case.replace_meta(&text, None, Some("Valué"))?;
    let (_, last_id) = begin(case)?;
    let before = case.picture(last_id)?;
    let wrong = [
        (&missing, Some("")),
        (&missing, Some("v")),
        (&empty, None),
        (&empty, Some(" ")),
        (&text, None),
        (&text, Some("")),
        (&text, Some("valué")),
        (&text, Some("Value\u{301}")),
        (&text, Some("Valué ")),
        (&text, Some("Valu")),
    ];
    for (key, expected) in wrong {
        let changes = [change(key, expected, "new")];
        equal(
            &format!("commit-import expecting {expected:?} of {key:?}"),
            case.commit_import(&[], &changes)?,
            false,
        )?;
    }
    case.unchanged("after commits that were false", last_id, &before)?;
    let right = [
        change(&missing, None, "1"),
        change(&empty, Some(""), "2"),
        change(&text, Some("Valué"), "3"),
    ];
    equal("commit-import", case.commit_import(&[], &right)?, true)
}

fn a_refused_import_can_be_committed(case: &mut Case) -> Checked {
    let key = case.key("k");
    case.replace_meta(&key, None, Some("1"))?;
    let (list, _) = begin(case)?;
    let space = list[0].namespace.clone();
    let before = case.version()?;
    for _ in 0..2 {
        let wrong = [change(&key, Some("0"), "2")];
        equal("commit-import", case.commit_import(&[], &wrong)?, false)?;
    }
    let quotas = [(space.clone(), 5)];
    let right = [change(&key, Some("1"), "2")];
    equal("commit-import", case.commit_import(&quotas, &right)?, true)?;
    case.moved(before, 1, "an import that was refused twice")?;
    let stored = case.with_ids(&list)?;
    case.holds_all("the import is there", &stored)?;
    equal("the value", case.meta(&key)?.as_deref(), Some("2"))?;
    equal("the quota", case.quota(&space)?, Some(5))?;
    equal("the count", case.count(Some(&space))?, 3)?;
    no_import(case, "after the commit")
}

fn an_import_sets_none_of_the_stores_own_meta(case: &mut Case) -> Checked {
    let new = case.key("new");
    for key in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        let present = case.meta(key)?;
        for expected in [None, present.as_deref(), Some("0")] {
            let (list, last_id) = begin(case)?;
            let before = case.picture(last_id)?;
            let quotas = [(list[0].namespace.clone(), 5)];
            let changes = [change(&new, None, "n"), change(key, expected, "1")];
            case.quotas.insert(list[0].namespace.clone());
            refused(
                &format!("commit-import of {key}, expecting {expected:?},"),
                store::commit_import(&quotas, &changes),
                &[Kind::InvalidArgument],
            )?;
            equal(key, case.meta(key)?, present.clone())?;
            case.unchanged("after a refused commit-import", last_id, &before)?;
            no_import(case, "after a refused commit-import")?;
        }
    }
    Ok(())
}
