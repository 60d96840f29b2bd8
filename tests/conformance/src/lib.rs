//! The conformance battery: the judge of a store in any language.
//!
//! A component that imports `store` and exports `suite`. A host links it to the store
//! that is to be judged, calls `list-cases`, and runs the phases of each case in order;
//! `wit/suite.wit` says how. It imports nothing else, so the same bytes judge stores
//! under every host.
//!
//! | module | holds |
//! |---|---|
//! | [`battery`] | the table of all cases, and how one is run |
//! | [`case`] | what a case works with: its own names, entries, clearing up |
//! | [`calls`] | the operations of the store, an error being a failure of the case |
//! | [`check`] | how a case passes, fails or is skipped |
//! | [`picture`] | all that a store answers, to compare two moments |
//! | [`data`] | hashes, vectors and texts, made from the seed |
//! | [`show`] | values as a person reads them |
//! | [`cases`] | the cases, a file for each section |
//!
//! A new case is a function in the file of its section and a line in that file's table.
//! It must pass on every store that keeps the contract, also on one that holds data of
//! others: so it looks at what it wrote itself, and at differences.

#[allow(missing_docs, clippy::all)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "conformance",
        additional_derives: [PartialEq],
        generate_all,
    });
}

pub mod battery;
pub mod calls;
pub mod case;
pub mod cases;
pub mod check;
pub mod data;
pub mod picture;
pub mod show;

/// The contract, generated from `wit/`.
pub mod contract {
    pub use crate::bindings::exports::mneme::cache::suite::{
        Capability, Failure, Outcome, Phase, TestCase,
    };
    pub use crate::bindings::mneme::cache::store::{
        self, CapabilitySet, Change, ChangePage, ImportMode, Inserted, MetaChange, Neighbour,
        Restored, Selection, StampPage, Touch, VectorPage, VectorQuery,
    };
    pub use crate::bindings::mneme::cache::types::{Entry, EntryKey, EntryRef, Error, Filter};
}

// The names of a component's exports are none that a native linker takes.
#[cfg(target_arch = "wasm32")]
struct Suite;

#[cfg(target_arch = "wasm32")]
bindings::export!(Suite with_types_in bindings);

#[cfg(target_arch = "wasm32")]
impl bindings::exports::mneme::cache::suite::Guest for Suite {
    fn list_cases() -> Vec<contract::TestCase> {
        battery::list()
    }

    fn run(name: String, phase: u32, seed: u64) -> contract::Outcome {
        battery::run(&name, phase, seed)
    }
}
