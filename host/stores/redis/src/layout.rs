//! The keys: what a prefix must hold to be ours, and their creation.
//!
//! The layout is shared with the Python library `mneme-cache`; schema version 1 fixes the
//! keys and fields. Fields of an entry that are ours alone, and only there where they are not
//! empty: `context`, and `tags`, a JSON array. So are these keys:
//!
//! - `expiring`, a hash: for the id of each entry with a ttl it holds `query_hash:namespace`, to
//!   find the other keys when Redis has expired the entry.
//! - `by_tag`, a sorted set with the score 0: for each tag of each entry the tag, a zero byte and
//!   the id in 16 digits. So the ids of a tag are a range of members, in order.
//! - `tagged`, a hash: for the id of each entry with tags and a ttl the field `tags`, to find its
//!   members when Redis has expired the entry.
//! - `changes`, a stream: what the last writes did to which entry. See `log.lua`.
//! - `blobs`, a hash from names to what the cache has derived from the entries, which no script
//!   of an entry touches.
//! - `import:{number}:{name}`, the keys of an import, which all expire by themselves.
//!
//! No key of a cache with another prefix is named like one of these.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::connection::{Call, Wire};
use super::error::{Fault, Outcome};
use super::options::Options;
use super::rows;
use super::scripts;
use mneme_store::checks::Embedder;

/// The schema version that this release reads and writes.
const SCHEMA_VERSION: u64 = 1;

/// Checks what is there, and records version and embedder where there is nothing. Returns the
/// incarnation, empty where none could be recorded.
pub(super) fn open(wire: &mut Wire, by_id: &str, embedder: &Embedder) -> Outcome<Vec<u8>> {
    let (version, dim) = (SCHEMA_VERSION.to_string(), embedder.dim.to_string());
    let random = || RandomState::new().build_hasher().finish();
    let fresh = format!("{:016x}{:016x}", random(), random());
    let args = [
        version.as_bytes(),
        embedder.fingerprint.as_bytes(),
        dim.as_bytes(),
        fresh.as_bytes(),
        b"",
    ];
    // A second time it finds what it recorded the first.
    let reply = wire.run(Call::Write, &scripts::OPEN, by_id, &args)?;
    let [version, fingerprint, dim, entries, incarnation] = rows::tuple::<5>(reply)?;
    let entries = rows::count(&entries)?;
    if let Some(version) = text(version, "schema_version")? {
        check_version(&version)?;
    }
    let stored = (
        text(fingerprint, "embedder_fingerprint")?,
        text(dim, "embedder_dim")?,
    );
    let (fingerprint, dim) = match stored {
        (Some(fingerprint), Some(dim)) => (fingerprint, Some(dim)),
        // The script has recorded what was missing, if the rest agreed.
        (fingerprint, dim) if entries == 0 => (
            fingerprint.unwrap_or_else(|| embedder.fingerprint.clone()),
            dim,
        ),
        _ => {
            return Err(Fault::Corrupt(
                "key meta lacks embedder_fingerprint or embedder_dim though there are entries; restore a backup, or give another prefix".into(),
            ));
        }
    };
    let dim = match dim {
        None => embedder.dim,
        Some(dim) => parse_dim(&dim)?,
    };
    Embedder { fingerprint, dim }.accept(embedder)?;
    Ok(rows::bytes(incarnation)?.unwrap_or_default())
}

/// The embedder of the cache under the prefix, if there is one. Writes nothing.
pub(super) fn recorded_embedder(options: &Options) -> Outcome<Option<Embedder>> {
    let key = format!("{}:meta", options.keys());
    let mut command = redis::cmd("HMGET");
    command.arg(&key);
    for field in ["schema_version", "embedder_fingerprint", "embedder_dim"] {
        command.arg(field);
    }
    let mut wire = Wire::new(options.clone());
    let reply = wire
        .ask(Call::Read, &command)
        .map_err(|fault| fault.of(&key))?;
    let [version, fingerprint, dim] = rows::tuple::<3>(reply)?;
    if let Some(version) = text(version, "schema_version")? {
        check_version(&version)?;
    }
    let fingerprint = text(fingerprint, "embedder_fingerprint")?;
    let dim = text(dim, "embedder_dim")?;
    let (Some(fingerprint), Some(dim)) = (fingerprint, dim) else {
        return Ok(None);
    };
    let dim = parse_dim(&dim)?;
    Ok(Some(Embedder { fingerprint, dim }))
}

fn parse_dim(dim: &str) -> Outcome<u32> {
    dim.parse().map_err(|_| {
        Fault::Corrupt(format!(
            "key meta, field embedder_dim holds {dim:?}, which is not a number of dimensions; restore a backup, or give another prefix"
        ))
    })
}

fn text(value: redis::Value, field: &str) -> Outcome<Option<String>> {
    let Some(bytes) = rows::bytes(value)? else {
        return Ok(None);
    };
    String::from_utf8(bytes).map(Some).map_err(|_| {
        Fault::Corrupt(format!(
            "key meta, field {field} is not valid UTF-8; restore a backup, or give another prefix"
        ))
    })
}

fn check_version(text: &str) -> Outcome<()> {
    match text.parse::<u64>() {
        Ok(SCHEMA_VERSION) => Ok(()),
        Ok(newer) if newer > SCHEMA_VERSION => Err(Fault::Schema(format!(
            "schema_version is {newer}, and this release knows {SCHEMA_VERSION}; use the release that wrote the data, or a later one"
        ))),
        _ => Err(Fault::Schema(format!(
            "key meta, field schema_version holds {text:?}, which is not a version of a cache; give another prefix"
        ))),
    }
}
