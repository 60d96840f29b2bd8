//! The types of the contract, generated from `wit/`. Those of stores are the stores' own.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "mneme:cache/mneme",
    additional_derives: [PartialEq],
    with: {
        "mneme:cache/types": mneme_store::contract::types,
        "mneme:cache/store": mneme_store::contract::store,
    },
});

pub use self::mneme::cache::{archive, events, policy, trust};
pub use exports::mneme::cache::cache as api;
pub use exports::mneme::cache::checkpoint;
pub use mneme_store::contract::{store, types};
