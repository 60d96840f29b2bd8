//! How to dump, load and inspect.

use super::archive::{Progress, Watch};
use crate::component::Engine;
use crate::contract::checkpoint::{self as api, Compression, Layout, TtlOverride};
use crate::contract::store::ImportMode;
use crate::contract::types::VectorDtype;
use std::fmt;

/// How to dump. The default is gzip, in the store's native layout if it has one.
pub struct DumpOptions {
    pub(super) choice: api::DumpOptions,
    pub(super) watch: Option<Watch>,
}

impl Default for DumpOptions {
    fn default() -> Self {
        DumpOptions {
            choice: api::DumpOptions {
                layout: None,
                compression: Compression::Gzip,
                level: None,
            },
            watch: None,
        }
    }
}

impl DumpOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The layout. Default: native if the store has snapshots (SQLite), else portable. A
    /// native archive loads into a store of the same kind, and after a conversion into others.
    /// A portable archive loads into any store.
    #[must_use]
    pub fn layout(mut self, layout: Layout) -> Self {
        self.choice.layout = Some(layout);
        self
    }

    /// The compression. Default [`Compression::Gzip`], which mneme-cache reads too.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.choice.compression = compression;
        self
    }

    /// The level of gzip, 0 (stored) to 9 (smallest). Default 1, because vectors hardly
    /// compress. Zstd has only one level here.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.choice.level = Some(level);
        self
    }

    /// Calls this function with the progress, from time to time. It runs inside the call:
    /// calls of the cache from within it fail.
    #[must_use]
    pub fn on_progress(mut self, watch: impl FnMut(Progress) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }
}

/// How to load. The default loads everything unchanged into an empty cache.
pub struct LoadOptions {
    pub(super) choice: api::LoadOptions,
    pub(super) watch: Option<Watch>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            choice: api::LoadOptions {
                mode: ImportMode::Empty,
                namespaces: None,
                namespace_prefix: String::new(),
                ttl: TtlOverride::Keep,
                quotas: None,
                max_entries: None,
                vector_dtype: None,
                max_expansion: MAX_EXPANSION,
            },
            watch: None,
        }
    }
}

impl LoadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the load does with the cache's present data. Default [`ImportMode::Empty`]: the
    /// call fails if there is an entry.
    #[must_use]
    pub fn mode(mut self, mode: ImportMode) -> Self {
        self.choice.mode = mode;
        self
    }

    /// Takes only these namespaces, by their names in the archive. Default: all.
    #[must_use]
    pub fn namespaces(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.choice.namespaces = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// A prefix for every namespace's name. Default: none.
    #[must_use]
    pub fn namespace_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.choice.namespace_prefix = prefix.into();
        self
    }

    /// How the load changes the entries' lifetimes. Default [`TtlOverride::Keep`].
    #[must_use]
    pub fn ttl(mut self, ttl: TtlOverride) -> Self {
        self.choice.ttl = ttl;
        self
    }

    /// Quotas to set in place of the archive's, by the namespaces' names in the cache.
    /// Default: the archive's quotas.
    #[must_use]
    pub fn quotas(mut self, quotas: impl IntoIterator<Item = (impl Into<String>, u64)>) -> Self {
        let quotas = quotas.into_iter().map(|(name, most)| (name.into(), most));
        self.choice.quotas = Some(quotas.collect());
        self
    }

    /// The cache's cap from now on, at least 1. After the load, the least recently used
    /// entries over it are evicted. Default: the present cap.
    #[must_use]
    pub fn max_entries(mut self, max_entries: u64) -> Self {
        self.choice.max_entries = Some(max_entries);
        self
    }

    /// How the index of this cache holds vectors from now on. Default: no change.
    #[must_use]
    pub fn vector_dtype(mut self, dtype: VectorDtype) -> Self {
        self.choice.vector_dtype = Some(dtype);
        self
    }

    /// The most bytes that one byte of the archive may decompress to, past the first 64 MiB.
    /// Default 128.
    #[must_use]
    pub fn max_expansion(mut self, times: u32) -> Self {
        self.choice.max_expansion = times;
        self
    }

    /// Calls this function with the progress, from time to time. It runs inside the call:
    /// calls of the cache from within it fail.
    #[must_use]
    pub fn on_progress(mut self, watch: impl FnMut(Progress) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }
}

/// How to inspect. The default suits untrusted archives.
pub struct InspectOptions {
    pub(super) choice: api::InspectOptions,
    pub(super) engine: Option<Engine>,
    pub(super) watch: Option<Watch>,
}

impl Default for InspectOptions {
    fn default() -> Self {
        InspectOptions {
            choice: api::InspectOptions {
                max_expansion: MAX_EXPANSION,
                max_query_bytes: 32 << 10,
                max_response_bytes: 4 << 20,
                max_metadata_bytes: 64 << 10,
            },
            engine: None,
            watch: None,
        }
    }
}

impl InspectOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The most bytes that one byte of the archive may decompress to, past the first 64 MiB.
    /// Default 128.
    #[must_use]
    pub fn max_expansion(mut self, times: u32) -> Self {
        self.choice.max_expansion = times;
        self
    }

    /// The most bytes of a query, a response and the metadata of an entry. Default 32 KiB, 4 MiB
    /// and 64 KiB, as in [`Builder::max_bytes`](crate::Builder::max_bytes).
    #[must_use]
    pub fn max_bytes(mut self, query: u32, response: u32, metadata: u32) -> Self {
        self.choice.max_query_bytes = query;
        self.choice.max_response_bytes = response;
        self.choice.max_metadata_bytes = metadata;
        self
    }

    /// The compiled component to run. Default [`Engine::shared`].
    #[must_use]
    pub fn engine(mut self, engine: &Engine) -> Self {
        self.engine = Some(engine.clone());
        self
    }

    /// Calls this function with the progress, from time to time.
    #[must_use]
    pub fn on_progress(mut self, watch: impl FnMut(Progress) + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }
}

const MAX_EXPANSION: u32 = 128;

impl fmt::Debug for DumpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.choice.fmt(f)
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.choice.fmt(f)
    }
}

impl fmt::Debug for InspectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.choice.fmt(f)
    }
}
