//! The numbers that a store keeps for namespaces. Enforcing them is the cache's affair.

use crate::battery::{Spec, case};
use crate::case::{Case, GREATEST};
use crate::check::{About, Checked, check, equal};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        a_quota_is_kept,
        "a quota that was set is read, in its own namespace only"
    ),
    case!(
        a_quota_can_be_changed,
        "setting a quota again replaces it, with a greater or a smaller one"
    ),
    case!(
        a_quota_can_be_removed,
        "a quota set to none is gone, also from the list"
    ),
    case!(
        removing_no_quota_does_nothing,
        "none for a namespace without a quota is accepted"
    ),
    case!(
        a_quota_of_zero_is_a_quota,
        "0 is kept, and is not the same as none"
    ),
    case!(
        large_quotas_are_kept_exactly,
        "quotas up to 2^53 - 1 are kept exactly"
    ),
    case!(
        a_quota_needs_no_entries,
        "a namespace without entries can have a quota"
    ),
    case!(
        a_store_enforces_no_quota,
        "more entries than the quota can be inserted"
    ),
    case!(
        quotas_are_listed_by_bytes,
        "list-namespace-quotas has each quota once, sorted by UTF-8 bytes"
    ),
    case!(
        quotas_of_odd_namespaces_are_kept,
        "namespaces of any characters can have a quota"
    ),
];

fn a_quota_is_kept(case: &mut Case) -> Checked {
    let names = ["a", "A", "ab", "a:", "a "].map(|name| case.space(name));
    case.set_quota(&names[0], Some(42))?;
    equal("the quota", case.quota(&names[0])?, Some(42))?;
    for name in &names[1..] {
        equal(&format!("the quota of {name:?}"), case.quota(name)?, None)?;
    }
    Ok(())
}

fn listed(case: &Case, namespace: &str) -> Checked<Vec<u64>> {
    let quotas = case.quotas()?.into_iter();
    Ok(quotas
        .filter(|(name, _)| name == namespace)
        .map(|(_, quota)| quota)
        .collect())
}

fn a_quota_can_be_changed(case: &mut Case) -> Checked {
    let space = case.space("a");
    for quota in [10, 11, 3, 3, 1_000_000] {
        case.set_quota(&space, Some(quota))?;
        equal("the quota last set", case.quota(&space)?, Some(quota))?;
    }
    equal(
        "the quotas listed for the namespace",
        listed(case, &space)?,
        [1_000_000],
    )
}

fn a_quota_can_be_removed(case: &mut Case) -> Checked {
    let (a, b) = (case.space("a"), case.space("b"));
    case.set_quota(&a, Some(1))?;
    case.set_quota(&b, Some(2))?;
    case.set_quota(&a, None)?;
    equal("the quota after its removal", case.quota(&a)?, None)?;
    equal("the quotas listed for the namespace", listed(case, &a)?, [])?;
    equal("the quota of another namespace", case.quota(&b)?, Some(2))?;
    case.set_quota(&a, Some(3))?;
    equal("a quota set after a removal", case.quota(&a)?, Some(3))
}

fn removing_no_quota_does_nothing(case: &mut Case) -> Checked {
    let space = case.space("never");
    let before = case.quotas()?.len();
    case.set_quota(&space, None)?;
    equal("the quota", case.quota(&space)?, None)?;
    equal("how many quotas are listed", case.quotas()?.len(), before)
}

fn a_quota_of_zero_is_a_quota(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.set_quota(&space, Some(0))?;
    equal("the quota", case.quota(&space)?, Some(0))?;
    equal(
        "the quotas listed for the namespace",
        listed(case, &space)?,
        [0],
    )
}

fn large_quotas_are_kept_exactly(case: &mut Case) -> Checked {
    let space = case.space("a");
    for quota in [
        1 << 31,
        u64::from(u32::MAX),
        1 << 32,
        (1 << 52) + 1,
        GREATEST,
    ] {
        case.set_quota(&space, Some(quota))?;
        equal("the quota", case.quota(&space)?, Some(quota))?;
        equal(
            "the quotas listed for the namespace",
            listed(case, &space)?,
            [quota],
        )?;
    }
    Ok(())
}

fn a_quota_needs_no_entries(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.set_quota(&space, Some(4))?;
    let stored = case.put(case.entry(&space, 1))?;
    case.delete(stored.id)?;
    equal(
        "the quota after the last entry is gone",
        case.quota(&space)?,
        Some(4),
    )
}

fn a_store_enforces_no_quota(case: &mut Case) -> Checked {
    let space = case.space("a");
    case.set_quota(&space, Some(1))?;
    case.insert(&case.entries(&space, 4))?;
    equal(
        "the count of a namespace with quota 1 after 4 inserts",
        case.count(Some(&space))?,
        4,
    )
}

fn quotas_are_listed_by_bytes(case: &mut Case) -> Checked {
    let names = [
        "b",
        "a",
        "B",
        "é",
        "ab",
        "a\0",
        "\u{FFFF}",
        "\u{10000}",
        "_",
        "10",
        "9",
    ]
    .map(|name| case.space(name));
    for (name, n) in names.iter().zip(0..) {
        case.set_quota(name, Some(n))?;
    }
    let all = case.quotas()?;
    check(
        all.is_sorted_by(|a, b| a.0.as_bytes() < b.0.as_bytes()),
        "all quotas come in ascending order of their namespaces' bytes, each once",
        || show::value(&all),
    )?;
    let mut wanted: Vec<_> = names.iter().cloned().zip(0..).collect();
    wanted.sort();
    let own: Vec<_> = all
        .into_iter()
        .filter(|(name, _)| names.contains(name))
        .collect();
    equal("the quotas of the case", own, wanted)
}

fn quotas_of_odd_namespaces_are_kept(case: &mut Case) -> Checked {
    let names: Vec<_> = data::ODD_TEXTS
        .iter()
        .map(|text| case.space_around(text))
        .collect();
    for (name, n) in names.iter().zip(1..) {
        case.set_quota(name, Some(n))?;
    }
    let all = case.quotas()?;
    for (name, n) in names.iter().zip(1..) {
        equal("its quota", case.quota(name)?, Some(n))
            .and_then(|()| {
                let listed = all
                    .iter()
                    .any(|(listed, quota)| listed == name && *quota == n);
                equal("whether its quota is listed", listed, true)
            })
            .about(|| format!("the namespace {name:?}"))?;
    }
    Ok(())
}
