//! Checkpoints: a whole cache as one archive, whose format `wit/checkpoint.wit` describes.
//!
//! Nothing here grows with the cache. The writer holds one page of entries and its
//! encoding, the reader one page; to that come the buffers of [`compression`], and about 150
//! bytes for each member of the archive, that is for each 4 MiB of data. A page ends at
//! [`PAGE_BYTES`] or with the first entry beyond them, and entries are read from the store
//! [`ENTRIES_PER_READ`] at a time.
//!
//! | module | holds |
//! |---|---|
//! | [`compression`], [`tarball`] | bytes and members |
//! | [`manifest`], [`rows`], [`state`] | what the members hold |
//! | [`overrides`] | what `load` changes about it |
//! | [`writer`], [`reader`] | the order of the members, and their checksums |

pub mod compression;
pub mod manifest;
pub mod overrides;
pub mod reader;
pub mod rows;
pub mod state;
pub mod tarball;
pub mod writer;

use crate::types::{Compression, DumpOptions, Error, ImportMode, LoadOptions, TtlOverride};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::Display;

/// The member that describes the archive; the first.
pub const MANIFEST: &str = "manifest.json";
/// The member that holds a store's own snapshot.
pub const SNAPSHOT: &str = "store";
/// The member with quotas and meta.
pub const STATE: &str = "state.json";
/// The member with the checksums; the last.
pub const CHECKSUMS: &str = "checksums.json";

/// The greatest `manifest.json`, `state.json` and `checksums.json`, in bytes.
pub const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;
/// The greatest page, in bytes.
pub const MAX_PAGE_BYTES: u64 = 64 << 20;
/// A page that has reached so many bytes is written.
pub const PAGE_BYTES: usize = 4 << 20;
/// How many entries are read from the store at a time.
pub const ENTRIES_PER_READ: u32 = 64;
/// The most members that a reader passes over because it does not know them.
pub const MAX_UNKNOWN_MEMBERS: u32 = 1000;
/// The greatest number that every store keeps exactly.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

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
    /// How many entries the pages hold; none in a native archive.
    pub entries: Option<u64>,
}

/// What one member must be like.
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
    /// Of a member that has been hashed.
    pub fn new(name: &str, size: u64, hash: Sha256) -> Self {
        Checksum {
            name: name.to_owned(),
            size,
            sha256: crate::query::hex(&hash.finalize()),
        }
    }

    /// Of a member in memory.
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        Checksum::new(name, bytes.len() as u64, Sha256::new_with_prefix(bytes))
    }
}

/// The error for an archive that is not to be loaded, because of one of its members.
pub fn refused(member: &str, reason: impl Display) -> Error {
    refused_at(&format!("member {member:?}"), reason)
}

/// The error for an archive that is not to be loaded, because of what was found somewhere.
pub fn refused_at(place: &str, reason: impl Display) -> Error {
    Error::Checkpoint(format!("{place}: {reason}; nothing was loaded"))
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
        max_expansion: 200,
    }
}
