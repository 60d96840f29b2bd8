//! Checkpoints: a whole cache as one archive. `wit/checkpoint.wit` describes its format.
//!
//! Memory hardly grows with the cache. The writer holds one page of entries and its encoding,
//! and the reader holds one page. Both need the buffers of [`compression`], and about 150 bytes
//! for each member of the archive, that is for each 4 MiB of data. A page ends with the entry
//! that reaches [`PAGE_BYTES`]. Entries are read from the store [`ENTRIES_PER_READ`] at a time.
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
/// The most bytes of a page.
pub const MAX_PAGE_BYTES: u64 = 64 << 20;
/// A page is written once it has this many bytes.
pub const PAGE_BYTES: usize = 4 << 20;
/// How many entries are read from the store at a time.
pub const ENTRIES_PER_READ: u32 = 64;
/// The most unknown members that a reader skips.
pub const MAX_UNKNOWN_MEMBERS: u32 = 1000;
/// The greatest number that every store holds exactly.
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
