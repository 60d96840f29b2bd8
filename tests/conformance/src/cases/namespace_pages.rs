//! Pages of namespaces, with and without the numbers of their entries.

use crate::battery::{Spec, case};
use crate::case::Case;
use crate::check::{About, Checked, check, equal};
use crate::{data, show};

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        pages_of_namespaces_follow_their_bytes,
        "pages of namespaces of any size join to the list of all"
    ),
    case!(
        a_page_of_namespaces_begins_after_any_name,
        "a page of namespaces begins after a name that may not exist"
    ),
    case!(
        a_page_of_namespaces_begins_after_odd_names,
        "a page of namespaces begins after a name of any characters"
    ),
    case!(
        a_page_may_begin_after_the_empty_namespace,
        "a page after the empty namespace lists all others"
    ),
    case!(
        a_walk_goes_on_after_a_namespace_that_is_gone,
        "a walk over namespaces goes on when one of them is gone"
    ),
    case!(
        pages_count_all_entries_of_their_namespaces,
        "a small page of counts has the counts of whole namespaces"
    ),
];

/// A page of both operations, which must have the same names.
fn page(case: &Case, after: Option<&str>, limit: u32) -> Checked<Vec<String>> {
    let doing = || format!("the page of {limit} after {after:?}");
    let names = case.namespaces_after(after, limit)?;
    let counts = case.counts_after(after, limit)?;
    let counted: Vec<_> = counts.into_iter().map(|(name, _)| name).collect();
    for (operation, page) in [
        ("list-namespaces", &names),
        ("count-by-namespace", &counted),
    ] {
        check(
            page.len() <= limit as usize,
            format!("{operation} returns at most as many namespaces as asked for"),
            || show::value(page),
        )
        .and_then(|()| {
            let after_it = |name: &String| after.is_none_or(|after| name.as_str() > after);
            check(
                page.iter().all(after_it) && page.is_sorted_by(|one, next| one < next),
                format!("{operation} returns later names, ascending by their bytes"),
                || show::value(page),
            )
        })
        .about(doing)?;
    }
    equal("the names of count-by-namespace", &counted, &names).about(doing)?;
    Ok(names)
}

/// All namespaces, in the order of their bytes.
fn all(case: &Case) -> Checked<Vec<String>> {
    let mut all = case.list_namespaces()?;
    all.sort_unstable();
    Ok(all)
}

/// The place of the first namespace of this case, and of the first behind its last. None of others is
/// between them.
fn own(case: &Case, all: &[String]) -> (usize, usize) {
    let is_own = |name: &String| case.is_own(name);
    let first = all.iter().position(is_own).unwrap_or(0);
    let last = all.iter().rposition(is_own).map_or(0, |last| last + 1);
    (first, last)
}

/// Fails unless pages of some size, from behind a name on, have these names one after another.
fn walk(case: &Case, after: Option<&String>, limit: u32, names: &[String]) -> Checked {
    let mut after = after.cloned();
    for wanted in names.chunks(limit as usize) {
        let mut found = page(case, after.as_deref(), limit)?;
        // Namespaces of others may follow the last.
        found.truncate(wanted.len());
        equal("the namespaces of a page", &found[..], wanted)
            .about(|| format!("the page of {limit} after {after:?}"))?;
        after = found.pop();
    }
    Ok(())
}

/// Stores an entry in each namespace.
fn fill(case: &mut Case, names: &[String]) -> Checked {
    let names = names.iter().zip(0..);
    let list: Vec<_> = names.map(|(name, n)| case.entry(name, n)).collect();
    case.insert(&list)?;
    Ok(())
}

fn pages_of_namespaces_follow_their_bytes(case: &mut Case) -> Checked {
    let names = data::UNSORTED_NAMES.map(|name| case.space(name));
    fill(case, &names)?;
    let all = all(case)?;
    let (first, last) = own(case, &all);
    let mut wanted = names.to_vec();
    wanted.sort();
    wanted.dedup();
    equal("the namespaces of the case", &all[first..last], &wanted[..])?;
    for limit in [1, 2, 3, 7, 100] {
        for from in [first, first + 1] {
            let after = from.checked_sub(1).map(|at| &all[at]);
            walk(case, after, limit, &all[from..last])?;
        }
    }
    let rest = page(case, all.last().map(String::as_str), 5)?;
    equal("the namespaces after the last", rest, [""; 0])
}

fn a_page_of_namespaces_begins_after_any_name(case: &mut Case) -> Checked {
    let [b, c, cc, d] = ["b", "c", "cc", "d"].map(|name| case.space(name));
    fill(case, &[b.clone(), cc.clone(), d.clone()])?;
    for (after, wanted) in [
        (case.space("a"), &b),
        (case.space(""), &b),
        (case.space("b\0"), &cc),
        (case.space("bz"), &cc),
        (c, &cc),
        (case.space("ccc"), &d),
    ] {
        equal(
            &format!("the first namespace after {after:?}, which holds nothing"),
            page(case, Some(&after), 1)?,
            [wanted.clone()],
        )?;
    }
    Ok(())
}

fn a_page_of_namespaces_begins_after_odd_names(case: &mut Case) -> Checked {
    let texts = data::ODD_TEXTS.iter();
    let names: Vec<_> = texts.map(|text| case.space_around(text)).collect();
    fill(case, &names)?;
    let all = all(case)?;
    for name in &names {
        let at = all.partition_point(|one| one <= name);
        let next = all.get(at..(at + 1).min(all.len())).unwrap_or_default();
        equal(
            &format!("the first namespace after {name:?}"),
            page(case, Some(name), 1)?,
            next,
        )?;
    }
    Ok(())
}

fn a_page_may_begin_after_the_empty_namespace(case: &mut Case) -> Checked {
    case.needs_empty_namespace()?;
    let other = case.space("a");
    fill(case, &[String::new(), other])?;
    let all = all(case)?;
    equal("the first namespace", page(case, None, 1)?, [""])?;
    equal(
        "the first after the empty namespace",
        page(case, Some(""), 1)?,
        &all[1..2],
    )?;
    case.clear("")?;
    Ok(())
}

fn a_walk_goes_on_after_a_namespace_that_is_gone(case: &mut Case) -> Checked {
    let names = ["b", "c", "d", "e", "f", "g"].map(|name| case.space(name));
    fill(case, &names)?;
    let all = all(case)?;
    let (first, _) = own(case, &all);
    let before = first.checked_sub(1).map(|at| all[at].as_str());
    equal("the first page", &page(case, before, 2)?[..], &names[..2])?;
    case.clear(&names[0])?;
    case.clear(&names[1])?;
    equal(
        "the page after two namespaces that are gone",
        &page(case, Some(&names[1]), 2)?[..],
        &names[2..4],
    )?;
    let early = case.space("a");
    fill(case, &[early])?;
    equal(
        "the page after a namespace came before it",
        &page(case, Some(&names[3]), 2)?[..],
        &names[4..],
    )
}

fn pages_count_all_entries_of_their_namespaces(case: &mut Case) -> Checked {
    let names = ["a", "b", "c"].map(|name| case.space(name));
    // Entries of the namespaces come by turns.
    for round in 0..4 {
        for (name, most) in names.iter().zip([2, 4, 3]) {
            if round < most {
                case.put(case.entry(name, round))?;
            }
        }
    }
    let all = all(case)?;
    let (first, _) = own(case, &all);
    let mut after = first.checked_sub(1).map(|at| all[at].clone());
    for (name, count) in names.into_iter().zip([2_u64, 4, 3]) {
        equal(
            &format!("the page of one count after {after:?}"),
            case.counts_after(after.as_deref(), 1)?,
            [(name.clone(), count)],
        )?;
        after = Some(name);
    }
    Ok(())
}
