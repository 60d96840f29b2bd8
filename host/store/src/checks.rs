//! The checks that every store makes before it touches its data. Use them in your store too.

use super::{
    DimensionMismatch, Entry, FingerprintMismatch, Result, StoreError, Touch, VectorQuery,
};

/// The version of the layout that stores write.
const SCHEMA_VERSION: u32 = 1;

/// The largest number of dimensions that a store accepts. A cache accepts fewer, 8,192:
/// the integer sums of its index rely on that, while a store computes nothing.
pub const MAX_DIM: u32 = 65_536;

/// The most bytes of a namespace.
pub const MAX_NAMESPACE: usize = 1024;

/// The most bytes of a context.
pub const MAX_CONTEXT: usize = 1024;

/// The most tags of an entry.
pub const MAX_TAGS: usize = 32;

/// The most bytes of a tag.
pub const MAX_TAG: usize = 128;

/// The meta keys that only a store itself writes.
const RESERVED_META: [&str; 3] = ["schema_version", "embedder_fingerprint", "embedder_dim"];

/// The greatest time, TTL, id, count or quota: 2^53 - 1. Up to here a double holds every whole
/// number, so every host and store does.
pub const GREATEST: u64 = (1 << 53) - 1;

/// The most bytes of a blob's name.
const MAX_BLOB_NAME: usize = 100;

/// The embedder that a store's vectors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Embedder {
    /// Names the model and its version.
    pub fingerprint: String,
    /// The number of values of its vectors, 1 to 65,536.
    pub dim: u32,
}

impl Embedder {
    /// The embedder given to `open`.
    ///
    /// # Errors
    ///
    /// [`StoreError::InvalidArgument`] for a `dim` out of range.
    pub fn given(fingerprint: &str, dim: u32) -> Result<Self> {
        if !(1..=MAX_DIM).contains(&dim) {
            return Err(StoreError::InvalidArgument(format!(
                "embedder_dim is {dim}; it must be from 1 to {MAX_DIM}"
            )));
        }
        Ok(Self {
            fingerprint: fingerprint.to_owned(),
            dim,
        })
    }

    /// The value of one of the store's own meta keys; none for any other key.
    pub fn meta(&self, key: &str) -> Option<String> {
        match key {
            "schema_version" => Some(SCHEMA_VERSION.to_string()),
            "embedder_fingerprint" => Some(self.fingerprint.clone()),
            "embedder_dim" => Some(self.dim.to_string()),
            _ => None,
        }
    }

    /// Compares the embedder of the data (`self`) with the one given to `open`.
    ///
    /// # Errors
    ///
    /// [`StoreError::EmbedderMismatch`], or [`StoreError::EmbedderDimension`] if only the
    /// number of values differs.
    pub fn accept(&self, given: &Self) -> Result<()> {
        if self.fingerprint != given.fingerprint {
            return Err(StoreError::EmbedderMismatch(FingerprintMismatch {
                stored: self.fingerprint.clone(),
                given: given.fingerprint.clone(),
            }));
        }
        if self.dim != given.dim {
            return Err(StoreError::EmbedderDimension(DimensionMismatch {
                expected: self.dim,
                actual: given.dim,
            }));
        }
        Ok(())
    }
}

/// A number from a store's data, if it is in the range that can be written: 0 to [`GREATEST`].
/// Anything else is damage; the store's reader says where it found it.
///
/// ```
/// use mneme_store::checks::{GREATEST, read_number};
///
/// assert_eq!(read_number(7_i64), Some(7));
/// assert_eq!(read_number(-1_i64), None);
/// assert_eq!(read_number(GREATEST + 1), None);
/// ```
pub fn read_number(found: impl TryInto<u64>) -> Option<u64> {
    found.try_into().ok().filter(|number| *number <= GREATEST)
}

/// Rejects an entry with a number that is too large.
///
/// # Errors
///
/// Those of [`in_range`].
pub fn numbers(entry: &Entry) -> Result<()> {
    in_range("created_at", entry.created_at)?;
    in_range("last_accessed_at", entry.last_accessed_at)?;
    in_range("ttl", entry.ttl.unwrap_or(0))?;
    in_range("access_count", entry.access_count).map(drop)
}

/// Rejects hits at a time that is too large.
///
/// # Errors
///
/// Those of [`in_range`].
pub fn touches(touches: &[Touch]) -> Result<()> {
    let mut times = touches.iter().map(|touch| touch.last_accessed_at);
    times.try_for_each(|time| in_range("last_accessed_at", time).map(drop))
}

/// The most entries that one call of `nearest` finds.
pub const MAX_NEAREST: u32 = 1024;

/// Rejects a search for vectors of another length than `dim`, and one for no entry or more than
/// [`MAX_NEAREST`].
///
/// # Errors
///
/// [`StoreError::EmbedderDimension`], and [`StoreError::InvalidArgument`] for the limit.
pub fn vector_query(query: &VectorQuery, limit: u32, dim: u32) -> Result<()> {
    if query.vector.len() != dim as usize {
        return Err(StoreError::EmbedderDimension(DimensionMismatch {
            expected: dim,
            actual: u32::try_from(query.vector.len()).unwrap_or(u32::MAX),
        }));
    }
    match (1..=MAX_NEAREST).contains(&limit) {
        true => Ok(()),
        false => Err(StoreError::InvalidArgument(format!(
            "nearest is asked for {limit} entries; it finds 1 to {MAX_NEAREST}"
        ))),
    }
}

/// Rejects quotas that are too large.
///
/// # Errors
///
/// Those of [`in_range`].
pub fn quotas(quotas: impl IntoIterator<Item = u64>) -> Result<()> {
    let mut quotas = quotas.into_iter();
    quotas.try_for_each(|quota| in_range("the quota", quota).map(drop))
}

/// What is wrong with a namespace that a store received in a snapshot: it is empty, too long or
/// has U+0000. No cache stores an entry or a quota under such a name.
pub fn wrong_namespace(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        _ if name.len() > MAX_NAMESPACE => Some("has more than 1024 bytes"),
        _ if name.contains('\0') => Some("contains U+0000"),
        _ => None,
    }
}

/// What is wrong with the context of an entry that a store reads. No cache stores such a one.
pub fn wrong_context(context: &str) -> Option<&'static str> {
    match context {
        _ if context.len() > MAX_CONTEXT => Some("has more than 1024 bytes"),
        _ if context.contains('\0') => Some("contains U+0000"),
        _ => None,
    }
}

/// What is wrong with the tags of an entry that a store reads. No cache stores such tags.
pub fn wrong_tags(tags: &[String]) -> Option<&'static str> {
    if tags.len() > MAX_TAGS {
        return Some("has more than 32 tags");
    }
    tags.iter().find_map(|tag| match &**tag {
        "" => Some("has an empty tag"),
        _ if tag.len() > MAX_TAG => Some("has a tag of more than 128 bytes"),
        _ if tag.contains('\0') => Some("has a tag with U+0000"),
        _ => None,
    })
}

/// Rejects lists that `insert` and `write_import` must not store: with more than `max_batch`
/// entries, with a vector that does not have `dim` values, or with a number that is too large.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`] and [`StoreError::EmbedderDimension`].
pub fn batch(entries: &[Entry], max_batch: u32, dim: u32) -> Result<()> {
    if entries.len() > max_batch as usize {
        return Err(StoreError::InvalidArgument(format!(
            "the list has {} entries; this store takes at most {max_batch} a call, so split it",
            entries.len()
        )));
    }
    for entry in entries {
        if entry.embedding.len() != dim as usize {
            return Err(StoreError::EmbedderDimension(DimensionMismatch {
                expected: dim,
                actual: u32::try_from(entry.embedding.len()).unwrap_or(u32::MAX),
            }));
        }
        numbers(entry)?;
    }
    Ok(())
}

/// Rejects a page whose ids do not ascend from above `after`. Whoever reads on after its last id
/// would otherwise mix up entries, or never end.
///
/// # Errors
///
/// [`StoreError::Corrupt`].
pub fn ascending(ids: impl IntoIterator<Item = u64>, after: u64) -> Result<()> {
    let mut last = after;
    for id in ids {
        if id <= last {
            return Err(StoreError::Corrupt(format!(
                "the store returned entry {id} after entry {last}, and ids ascend; check its integrity"
            )));
        }
        last = id;
    }
    Ok(())
}

/// Rejects the meta keys that only the store writes.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`] for these three keys.
pub fn meta_key(key: &str) -> Result<()> {
    if RESERVED_META.contains(&key) {
        return Err(StoreError::InvalidArgument(format!(
            "the meta key {key} belongs to the store and cannot be written; choose another key"
        )));
    }
    Ok(())
}

/// Rejects a number beyond [`GREATEST`], by the name of its field.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`].
pub fn in_range(field: &str, value: u64) -> Result<u64> {
    if value > GREATEST {
        return Err(StoreError::InvalidArgument(format!(
            "{field} is {value}, and a cache holds numbers up to {GREATEST}; give a smaller one"
        )));
    }
    Ok(value)
}

/// What to say where the data of an open store is gone, or is another cache's. Nothing was written.
pub fn vanished() -> String {
    "the data of this cache is gone: it was deleted, lost by its server, or replaced by another cache's; nothing was written; restore a backup, or open the cache again to go on with what is there now".to_owned()
}

/// Rejects invalid blob names.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`] for anything but 1 to 100 lowercase letters, digits, `-`,
/// `.` and `/`.
pub fn blob_name(name: &str) -> Result<()> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-./".contains(&b);
    if !(1..=MAX_BLOB_NAME).contains(&name.len()) || !name.bytes().all(fits) {
        return Err(StoreError::InvalidArgument(format!(
            "{:?} is not a valid blob name; give 1 to {MAX_BLOB_NAME} lowercase letters, digits, hyphens, dots and slashes",
            name.chars().take(MAX_BLOB_NAME).collect::<String>()
        )));
    }
    Ok(())
}

/// Rejects lists with an invalid blob name.
///
/// # Errors
///
/// Those of [`blob_name`].
pub fn blob_names(names: &[String]) -> Result<()> {
    names.iter().try_for_each(|name| blob_name(name))
}

/// Rejects a blob with more than `max_blob` bytes or an invalid name.
///
/// # Errors
///
/// [`StoreError::InvalidArgument`] for both.
pub fn blob(name: &str, bytes: &[u8], max_blob: u32) -> Result<()> {
    blob_name(name)?;
    if bytes.len() > max_blob as usize {
        return Err(StoreError::InvalidArgument(format!(
            "the blob {name} has {} bytes, and this store takes at most {max_blob}; split it",
            bytes.len()
        )));
    }
    Ok(())
}

/// The error of `begin_import` and `commit_import` in mode `empty` on a store with entries.
pub fn import_not_empty() -> StoreError {
    StoreError::Checkpoint(
        "the store has entries, and an import of mode empty needs a store without entries; use mode merge or replace, or clear the store first".into(),
    )
}

/// The error of `write_import` for an entry whose namespace and hash the import already has.
pub fn imported_twice(entry: &Entry) -> StoreError {
    StoreError::Checkpoint(format!(
        "namespace {:?} has two entries with the hash {:?}, and an import takes one; leave one of them out",
        entry.namespace, entry.query_hash
    ))
}

/// The error of `write_import` and `commit_import` if no import was begun.
pub fn import_not_begun() -> StoreError {
    StoreError::InvalidArgument(
        "no import was begun, or it is over; call begin_import first".into(),
    )
}
