//! The types of the world `conformance`, generated from `wit/`. Its stores are the cache's.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "conformance",
    with: {
        "mneme:cache/types": crate::contract::mneme::cache::types,
        "mneme:cache/store": crate::contract::mneme::cache::store,
    },
});

pub use exports::mneme::cache::suite;
