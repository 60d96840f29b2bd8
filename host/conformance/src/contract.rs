//! The types of the world `conformance`, generated from `wit/`. Those of stores are the stores'
//! own.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "mneme:cache/conformance",
    with: {
        "mneme:cache/types": mneme_store::contract::types,
        "mneme:cache/store": mneme_store::contract::store,
    },
});

pub use exports::mneme::cache::suite;
