//! Checkpoints: a whole cache as one archive. The format is described in
//! `wit/checkpoint.wit`.

pub mod compression;
pub mod tarball;

use crate::types::{Compression, DumpOptions, ImportMode, LoadOptions, TtlOverride};

/// The defaults of `dump`.
pub fn default_dump_options() -> DumpOptions {
    DumpOptions {
        layout: None,
        compression: Compression::Gzip,
        level: None,
    }
}

/// The defaults of `load`.
pub fn default_load_options() -> LoadOptions {
    LoadOptions {
        mode: ImportMode::Empty,
        namespaces: None,
        namespace_prefix: String::new(),
        ttl: TtlOverride::Keep,
        quotas: None,
        max_entries: None,
        vector_dtype: None,
        max_expansion: 200,
    }
}
