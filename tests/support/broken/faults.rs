//! The table of faults, and which case of the battery each of them is failed by.

mod blobs;
mod counts;
mod imports;
mod lives;
mod reads;
mod transfers;
mod values;
mod writes;

use super::blobs::NONE;
use super::{Base, Broken, Fault, crashing};
use std::path::Path;

/// A fault with what is expected of the battery.
pub struct Known {
    /// What is wrong.
    pub name: &'static str,
    /// The case that must fail.
    pub caught_by: &'static str,
    /// What the fault is put before.
    pub base: Base,
    make: Box<Make>,
}

/// Makes the fault of a store on the file at a path.
type Make = dyn Fn(&Path) -> Box<dyn Fault> + Send + Sync;

impl Known {
    /// A store with this fault, on the file at `path` if it has one.
    pub fn store(&self, path: &Path) -> Broken {
        self.base.broken(path, |path| (self.make)(path))
    }
}

fn known<F: Fault + 'static>(
    base: Base,
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn(&Path) -> F + Send + Sync + 'static,
) -> Known {
    Known {
        name,
        caught_by,
        base,
        make: Box::new(move |path| Box::new(make(path))),
    }
}

fn memory<F: Fault + 'static>(
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> Known {
    known(Base::Memory, name, caught_by, move |_| make())
}

fn sqlite<F: Fault + 'static>(
    name: &'static str,
    caught_by: &'static str,
    make: impl Fn(&Path) -> F + Send + Sync + 'static,
) -> Known {
    known(Base::Sqlite, name, caught_by, make)
}

/// All faults.
pub fn all_known() -> Vec<Known> {
    [
        writes::counting(),
        writes::ids(),
        reads::pages(),
        reads::eviction(),
        writes::deleting(),
        writes::hits(),
        writes::replacing(),
        values::stored_values(),
        reads::looking_up(),
        reads::names(),
        counts::by_namespace(),
        writes::batches(),
        values::quotas(),
        values::meta(),
        lives::opening(),
        lives::closed(),
        lives::capabilities(),
        lives::between_stores(),
        lives::snapshots(),
        transfers::listing_meta(),
        transfers::views(),
        transfers::checked_restores(),
        imports::results(),
        imports::steps_of_one(),
        imports::errors(),
        imports::settings(),
        imports::modes(),
        imports::between_stores(),
        blobs::bytes(),
        blobs::names(),
        blobs::beside(),
        blobs::claims(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A store that panics, which must be told from one that answers wrongly.
pub fn panicking() -> Known {
    memory(
        "a failure is a panic",
        "deleting-unknown-ids-is-false",
        || crashing::Panics,
    )
}

/// A store that does not return.
pub fn hanging() -> Known {
    memory(
        "a call does not return",
        "deleting-unknown-ids-is-false",
        || crashing::Hangs,
    )
}

/// No fault, before a store of either kind.
pub fn healthy(base: Base) -> Known {
    known(base, "none", "", |_| super::Healthy)
}

/// A store of either kind that keeps no blobs, and says so.
pub fn without_blobs(base: Base) -> Known {
    known(base, "none", "", |_| NONE)
}
