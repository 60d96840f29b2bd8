//! Checkpoints: a whole cache as one archive. `wit/checkpoint.wit` describes its format.
//!
//! Memory hardly grows with the cache. The writer holds one page of entries and its encoding,
//! and the reader holds a page's vectors and one row. Both need the buffers of [`compression`],
//! about 30 bytes for each entry, to find a question that comes twice,
//! and about 150 bytes for each member of the archive, that is for each 4 MiB of data. A page
//! ends with the entry that reaches [`PAGE_BYTES`]. Entries are read from the store
//! [`ENTRIES_PER_READ`] at a time. A row is refused before more of it is kept than an entry
//! within its limits can have.
//!
//! | module | holds |
//! |---|---|
//! | [`compression`], [`tarball`] | bytes and members |
//! | [`manifest`], [`rows`], [`state`] | what the members hold |
//! | [`order`] | which row comes when |
//! | [`overrides`] | what `load` changes about it |
//! | [`writer`], [`reader`] | the order of the members, and their checksums |

pub mod compression;
pub mod manifest;
pub mod order;
pub mod overrides;
pub mod reader;
pub mod rows;
pub mod state;
pub mod tarball;
pub mod writer;

use crate::error::{Result, describe};
use crate::types::{
    Compression, DumpOptions, Error, ImportMode, InspectOptions, LoadOptions, Options, TtlOverride,
};
use crate::{options, range};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// The first member, which describes the archive.
pub const MANIFEST: &str = "manifest.json";
/// The member with a store's own snapshot.
pub const SNAPSHOT: &str = "store";
/// The member with quotas and meta.
pub const STATE: &str = "state.json";
/// The last member, which holds the checksums.
pub const CHECKSUMS: &str = "checksums.json";

/// The most bytes of `manifest.json`, `state.json` and `checksums.json`.
pub const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;
/// The most bytes of a page's rows, if entries may not be larger. They are read line by line.
const MAX_ROWS_BYTES: u64 = 64 << 20;
/// The most bytes of a page's vectors: one more row than [`PAGE_BYTES`] have.
pub const MAX_VECTORS_BYTES: u64 = PAGE_BYTES as u64 + 4 * options::MAX_DIM as u64;
/// A page is written once it has this many bytes.
pub const PAGE_BYTES: usize = 4 << 20;
/// How many entries are read from the store at a time.
pub const ENTRIES_PER_READ: u32 = 64;
/// The most unknown members that a reader skips, and the most directories and global headers.
pub const MAX_UNKNOWN_MEMBERS: u32 = 1000;

/// The default of `max-expansion`. Where all vectors of 4,096 values are the same, it is about 120.
const MAX_EXPANSION: u32 = 128;

/// The names of the two members of a page, counted from 1: its vectors and its rows.
pub fn page_names(page: u32) -> (String, String) {
    (
        format!("vectors/{page:08}.f32"),
        format!("entries/{page:08}.jsonl"),
    )
}

/// The content of `checksums.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Checksums {
    /// Every member before this one, in order.
    pub members: Vec<Checksum>,
    /// How many entries the pages hold. None in a native archive.
    pub entries: Option<u64>,
}

/// The size and hash of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksum {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Their SHA-256, 64 lowercase hexadecimal digits.
    pub sha256: String,
}

impl Checksum {
    /// The checksum of a member that has been hashed.
    pub fn new(name: &str, size: u64, hash: Sha256) -> Self {
        Checksum {
            name: name.to_owned(),
            size,
            sha256: crate::query::hex(&hash.finalize()),
        }
    }

    /// The checksum of a member in memory.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Checksum::new(name, bytes.len() as u64, Sha256::new_with_prefix(bytes))
    }
}

/// The error for an archive that is refused because of one of its members.
pub fn refused(member: &str, reason: impl Display) -> Error {
    refused_at(&format!("member {member:?}"), reason)
}

/// The error for an archive that is refused because of something at `place`.
pub fn refused_at(place: &str, reason: impl Display) -> Error {
    Error::Checkpoint(format!("{place}: {reason}; nothing was loaded"))
}

/// Refuses a number of an archive that is out of [range].
fn check_number(member: &str, field: &str, value: u64) -> Result<()> {
    range::check(field, value).map_err(|error| refused(member, describe(&error)))
}

/// The most bytes of an entry's texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Limits {
    pub query: u32,
    pub response: u32,
    pub metadata: u32,
}

impl Limits {
    /// Those of a cache.
    pub fn of(options: &Options) -> Self {
        Limits {
            query: options.max_query_bytes,
            response: options.max_response_bytes,
            metadata: options.max_metadata_bytes,
        }
    }

    /// Those of an inspection.
    pub fn given(options: &InspectOptions) -> Self {
        Limits {
            query: options.max_query_bytes,
            response: options.max_response_bytes,
            metadata: options.max_metadata_bytes,
        }
    }

    /// The most bytes of a page's rows: a page is written once it is full, so one more row fits.
    pub fn rows(&self) -> u64 {
        MAX_ROWS_BYTES.max(PAGE_BYTES as u64 + self.row() as u64)
    }

    /// The most bytes of a row. JSON writes a byte as six at most.
    fn row(&self) -> usize {
        let texts = [
            self.query,
            self.response,
            self.metadata,
            options::MAX_NAME_BYTES as u32,
            options::MAX_NAME_BYTES as u32,
            options::MAX_TAGS_BYTES as u32,
        ];
        let bytes: u64 = texts.into_iter().map(u64::from).sum();
        usize::try_from(6 * bytes + 1024).unwrap_or(usize::MAX)
    }
}

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
        max_expansion: MAX_EXPANSION,
    }
}

/// The defaults of `inspect`.
pub fn default_inspect_options() -> InspectOptions {
    let cache = options::defaults("", 1);
    InspectOptions {
        max_expansion: MAX_EXPANSION,
        max_query_bytes: cache.max_query_bytes,
        max_response_bytes: cache.max_response_bytes,
        max_metadata_bytes: cache.max_metadata_bytes,
    }
}
