//! Checkpoints: a whole cache as one archive, for backups, for moving it between
//! processes, machines and stores, and for bug reports.
//!
//! [`SemanticCache::dump`] writes an archive, [`SemanticCache::load`] makes it part of a cache,
//! all of it or nothing, and [`inspect`] reads it without a cache. An archive holds entries,
//! namespaces, quotas, counters, meta and access data. It names the embedder, and a cache with
//! another embedder refuses it. It streams through any reader or writer, in memory that
//! hardly grows with the cache: by about 30 bytes for each entry.
//!
//! ```
//! use mneme::checkpoint::{self, DumpOptions, InspectOptions, LoadOptions};
//! use mneme::embedder::Precomputed;
//! use mneme::{MemoryStore, PutRequest, SemanticCache};
//!
//! let open = || {
//!     SemanticCache::builder()
//!         .store(MemoryStore::new())
//!         .embedder(Precomputed::new("my-model-1", 2))
//!         .open()
//! };
//! let staging = open()?;
//! staging.put(PutRequest::new("ping", "pong").embedding(vec![1.0, 0.0]))?;
//!
//! // The writer is given back: bytes in memory here, a file to sync elsewhere.
//! let (report, archive) = staging.dump(Vec::new(), DumpOptions::new())?;
//! assert_eq!(report.entries, Some(1));
//!
//! // `Cursor` turns bytes in memory into a reader, which is consumed.
//! let summary = checkpoint::inspect(std::io::Cursor::new(archive.clone()), InspectOptions::new())?;
//! assert_eq!(summary.manifest.embedder_fingerprint, "my-model-1");
//!
//! let production = open()?;
//! let report = production.load(std::io::Cursor::new(archive), LoadOptions::new())?;
//! assert_eq!(report.entries, 1);
//! assert_eq!(production.get("ping")?.hit().unwrap().response, "pong");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A dump shows one instant on memory, SQLite and PostgreSQL. On Redis and DynamoDB each entry
//! is whole, and what others write meanwhile may be missing; [`DumpReport`] says which of the two.
//!
//! The `checkpoint` interface of the component, `wit/checkpoint.wit`, describes the archive
//! and the checks that an untrusted one must pass.

pub(crate) mod archive;
mod calls;
#[cfg(feature = "sqlite")]
mod convert;
mod keeping;
mod options;
#[cfg(feature = "sqlite")]
mod scratch;

use crate::cache::SemanticCache;
use crate::component::Engine;
use crate::contract::checkpoint as api;
use crate::error::{Error, Result};
use archive::Archive;
use std::io::{Read, Seek, SeekFrom, Write};

pub use crate::contract::archive::Unit;
pub use crate::contract::checkpoint::{
    Compression, DumpReport, Layout, LoadReport, Manifest, NamespaceSummary, Summary, TtlOverride,
};
pub use crate::contract::store::ImportMode;
pub use archive::Progress;
pub use options::{DumpOptions, InspectOptions, LoadOptions, MAX_EXPANSION};

impl SemanticCache {
    /// Flushes the cache, writes all of it to an archive, and returns the flushed writer. Other
    /// callers of this cache wait meanwhile; other processes do not.
    ///
    /// The writer gets large pieces, so a `BufWriter` gains nothing. To read the bytes while
    /// they are written, or after an error, pass a handle such as `Arc<File>`. For an example
    /// see [`checkpoint`](crate::checkpoint).
    ///
    /// # Errors
    ///
    /// [`Error::Backend`] with the writer's error, and from the store;
    /// [`Error::Unsupported`] for a native archive of a store without snapshots;
    /// [`Error::InvalidArgument`] for an invalid level; [`Error::Checkpoint`] for more quotas,
    /// meta values or members than an archive can hold; [`Error::Limit`]. The bytes written
    /// before an error are useless.
    pub fn dump<W: Write + Send + 'static>(
        &self,
        archive: W,
        options: DumpOptions,
    ) -> Result<(DumpReport, W)> {
        self.watched("dump", None, || {
            self.lanes().gather_counts()?;
            let (report, archive, _) = calls::dump(&mut *self.instance()?, archive, options)?;
            Ok((report, archive))
        })
    }

    /// Dumps to a file, and reads it back as [`load`](Self::load) does by default, with the limits
    /// of this cache, before it returns. So the archive can be loaded, and may replace an older
    /// one. The file is left at its end. Other callers go on while it is read back.
    ///
    /// A native archive of a store other than SQLite is not read back: only that store could.
    ///
    /// # Errors
    ///
    /// As [`dump`](Self::dump); [`Error::Corrupt`] if what was written cannot be loaded, because
    /// the store is damaged or holds what this cache does not accept; [`Error::Backend`] if the file cannot be read, or the folder of
    /// temporary files has no room for a native archive's content.
    pub fn dump_verified<F: Read + Write + Seek + Send + 'static>(
        &self,
        mut file: F,
        options: DumpOptions,
    ) -> Result<(DumpReport, F)> {
        let start = file.stream_position().map_err(|error| unread(&error))?;
        self.watched("dump", None, || {
            self.lanes().gather_counts()?;
            let mut instance = self.instance()?;
            let (report, mut file, watch) = calls::dump(&mut instance, file, options)?;
            let engine = instance.engine.clone();
            let choice = api::InspectOptions {
                max_expansion: MAX_EXPANSION,
                max_query_bytes: instance.options.max_query_bytes,
                max_response_bytes: instance.options.max_response_bytes,
                max_metadata_bytes: instance.options.max_metadata_bytes,
            };
            drop(instance);
            file.seek(SeekFrom::Start(start))
                .map_err(|error| unread(&error))?;
            let (summary, archive) =
                calls::inspect(&engine, Archive::reading(file, watch), choice);
            match summary {
                Ok(_) => {}
                Err(Error::Unsupported(_)) if report.layout == Layout::Native => {}
                Err(
                    Error::Checkpoint(reason) | Error::Corrupt(reason) | Error::Schema(reason),
                ) => {
                    return Err(Error::Corrupt(format!(
                        "what was dumped could not be loaded, so it is no backup: {reason}; if that does not say what to change, check the store's integrity"
                    )));
                }
                Err(error) => return Err(error),
            }
            let mut file: F = archive
                .and_then(|archive| archive.into_parts().0)
                .ok_or_else(calls::lost)?;
            file.seek(SeekFrom::End(0))
                .map_err(|error| unread(&error))?;
            Ok((report, file))
        })
    }

    /// Reads an archive and makes it part of the cache: all of it, or nothing. Other
    /// callers of this cache wait meanwhile. While another process holds the lock of a SQLite file, the
    /// load waits before it begins, and other callers go on.
    ///
    /// With the feature `sqlite`, a native archive of another kind of store is converted. This
    /// needs room for it in the folder of temporary files.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] for a malformed archive, and for a cache with entries unless
    /// [`LoadOptions::mode`] says what to do with them; [`Error::EmbedderMismatch`]
    /// and [`Error::EmbedderDimension`] for an archive of another embedder;
    /// [`Error::Schema`]; [`Error::InvalidArgument`] for options out of range;
    /// [`Error::Unsupported`] for a native archive that cannot be converted;
    /// [`Error::Backend`] with the reader's error, and from the store; [`Error::Limit`],
    /// after which the archive may have been loaded.
    pub fn load(
        &self,
        archive: impl Read + Send + 'static,
        options: LoadOptions,
    ) -> Result<LoadReport> {
        self.watched("load", None, || {
            #[cfg(feature = "sqlite")]
            return convert::load(self, archive, options);
            #[cfg(not(feature = "sqlite"))]
            calls::load_in_turns(self, archive, options.watch, &options.choice).0
        })
    }
}

/// Reads an archive and checks it as [`SemanticCache::load`] would, without a cache or an
/// embedder. A native archive needs the feature `sqlite`, and room for it in the folder of
/// temporary files.
///
/// # Errors
///
/// As [`SemanticCache::load`].
pub fn inspect(archive: impl Read + Send + 'static, options: InspectOptions) -> Result<Summary> {
    let engine = match options.engine {
        Some(engine) => engine,
        None => Engine::shared()?,
    };
    let archive = Archive::reading(archive, options.watch);
    calls::inspect(&engine, archive, options.choice).0
}

fn unread(error: &std::io::Error) -> Error {
    Error::Backend {
        message: format!("the archive cannot be read back: {error}"),
        retryable: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::call_alone;
    use crate::imports::State;
    use crate::store::MemoryStore;

    #[test]
    fn the_defaults_are_those_of_the_component() {
        let call = |call: fn(
            &crate::contract::exports::mneme::cache::checkpoint::Guest,
            &mut wasmtime::Store<State>,
        ) -> wasmtime::Result<String>| {
            let state = State::alone(MemoryStore::new());
            let archive = Archive::reading(std::io::empty(), None);
            let engine = Engine::shared().unwrap();
            call_alone(&engine, state, archive, |guest, store| {
                call(guest, store).map(Ok)
            })
            .0
            .unwrap()
        };
        let dump =
            call(|guest, store| Ok(format!("{:?}", guest.call_default_dump_options(store)?)));
        assert_eq!(format!("{:?}", DumpOptions::new()), dump);
        let load =
            call(|guest, store| Ok(format!("{:?}", guest.call_default_load_options(store)?)));
        assert_eq!(format!("{:?}", LoadOptions::new()), load);
        let inspect =
            call(|guest, store| Ok(format!("{:?}", guest.call_default_inspect_options(store)?)));
        assert_eq!(format!("{:?}", InspectOptions::new()), inspect);
    }
}
