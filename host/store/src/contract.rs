//! The types of the contract that stores know, generated from `wit/`. Hosts of a component that
//! imports `store` map its interfaces to these.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "package mneme:backend; world backend { import mneme:cache/store@0.1.0; }",
    world: "mneme:backend/backend",
    additional_derives: [PartialEq],
});

pub use self::mneme::cache::{store, types};

impl types::VectorDtype {
    /// Its name in JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Float16 => "float16",
            Self::Int8 => "int8",
        }
    }
}
