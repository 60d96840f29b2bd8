//! The types of the contract that stores know, generated from `wit/`. Hosts of a component that
//! imports `store` map its interfaces to these.

#![allow(missing_docs)]

wasmtime::component::bindgen!({
    path: "../../wit",
    inline: "package mneme:backend; world backend { import mneme:cache/store@0.2.0; }",
    world: "mneme:backend/backend",
    additional_derives: [PartialEq],
});

pub use self::mneme::cache::{store, types};

impl types::Filter {
    /// Whether an entry meets every condition.
    pub fn accepts(&self, entry: &types::Entry) -> bool {
        let Self {
            namespace,
            context,
            tags,
            created_from,
            created_before,
        } = self;
        namespace
            .as_ref()
            .is_none_or(|name| *name == entry.namespace)
            && context
                .as_ref()
                .is_none_or(|context| *context == entry.context)
            && tags.iter().all(|tag| entry.tags.contains(tag))
            && created_from.is_none_or(|from| entry.created_at >= from)
            && created_before.is_none_or(|before| entry.created_at < before)
    }
}

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
