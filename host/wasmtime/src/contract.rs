//! The types of the contract, generated from `wit/`.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "mneme",
    additional_derives: [PartialEq],
});

pub use self::mneme::cache::{archive, events, policy, store, types};
pub use exports::mneme::cache::cache as api;
pub use exports::mneme::cache::checkpoint;
