//! `integrity-check` of sound data. Damaging data is beyond what a store can be asked for.

use crate::battery::{Spec, case};
use crate::case::{Case, START};
use crate::check::{Checked, equal};
use crate::contract::Entry;

/// The cases of this section.
pub const CASES: &[Spec] = &[
    case!(
        sound_data_is_sound,
        "integrity-check is true before and after writes of every kind"
    ),
    case!(
        odd_data_is_sound,
        "integrity-check is true of empty, large and odd entries"
    ),
    case!(
        a_check_changes_nothing,
        "integrity-check leaves data and counter as they are"
    ),
];

fn sound(case: &Case, when: &str) -> Checked {
    equal(&format!("integrity-check {when}"), case.integrity()?, true)
}

fn sound_data_is_sound(case: &mut Case) -> Checked {
    let space = case.space("a");
    sound(case, "before any write")?;
    let list: Vec<_> = (0..12)
        .map(|n| Entry {
            ttl: (n % 3 == 0).then_some(10),
            ..case.entry(&space, n)
        })
        .collect();
    let stored = case.insert(&list)?;
    sound(case, "after inserts")?;
    case.insert(&list)?;
    sound(case, "after replacements")?;
    case.delete(stored[1].id)?;
    case.delete_expired(START + 1_000, Some(&space), 10)?;
    sound(case, "after deletes")?;
    case.clear(&space)?;
    sound(case, "after a clear")?;
    case.reopen()?;
    sound(case, "after close and open")
}

fn odd_data_is_sound(case: &mut Case) -> Checked {
    let names = ["", "\0", "🦀"].map(|name| case.space(name));
    for (name, n) in names.iter().zip(0..) {
        case.put(Entry {
            query: String::new(),
            response: case.long_text(n, 50_000),
            metadata: r#"{"a":"\u0000","a":1e400}"#.to_owned(),
            created_at: 0,
            ..case.entry(name, n)
        })?;
    }
    case.set_quota(&names[1], Some(0))?;
    sound(case, "of odd data")
}

fn a_check_changes_nothing(case: &mut Case) -> Checked {
    let space = case.space("a");
    let stored = case.insert(&case.entries(&space, 3))?;
    let before = case.version()?;
    sound(case, "the first time")?;
    sound(case, "the second time")?;
    case.moved(before, 0, "integrity-check")?;
    case.holds_all("the entry is as it was", &stored)
}
