//! The command line of `dump`, `load` and `inspect`.

use std::path::PathBuf;

use mneme::checkpoint::TtlOverride;
use mneme::store::checks::GREATEST;

use super::whole;

/// See [`Command::Dump`](super::Command::Dump).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Only its owner can read the file. It gets its name when it is complete: a dump that fails or
is killed leaves the old file as it was. Nothing is embedded, so `--embedder
vectors:FINGERPRINT,DIM` is enough if the store's embedder is not available.

--json: {\"file\", \"layout\": \"native\"|\"portable\", \"entries\" (null: native, not counted),
\"bytes\", \"compressed_bytes\", \"consistent\", \"seconds\"}; for FILE `-` on standard error.")]
pub struct Dump {
    /// The file to write; `-` is standard output
    pub file: PathBuf,
    /// Write entries and vectors that fit every store, even if the store has a native format
    /// (sqlite)
    #[arg(long)]
    pub portable: bool,
    /// Compress with zstd instead of gzip; mneme-cache cannot read it
    #[arg(long)]
    pub zstd: bool,
    /// The gzip level, 0 (stored) to 9 (smallest). Default: 1
    #[arg(long, value_name = "N", conflicts_with = "zstd")]
    pub level: Option<u8>,
}

/// See [`Command::Load`](super::Command::Load).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Loads the whole archive in one step, or nothing. Nothing is embedded, so `--embedder
vectors:FINGERPRINT,DIM` is enough if the archive's embedder (see `mneme inspect`) is not
available.

--json: {\"entries\", \"skipped\", \"evicted\", \"seconds\", \"manifest\": as `inspect` has it}.")]
pub struct Load {
    /// The archive; `-` is standard input
    pub file: PathBuf,
    /// Add to the entries of the store; an entry with the same query is replaced
    #[arg(long)]
    pub merge: bool,
    /// Delete all entries of the store in the same step
    #[arg(long, conflicts_with = "merge")]
    pub replace: bool,
    /// Load only this namespace, by its name in the archive; repeatable. Default: all
    #[arg(long, value_name = "NS")]
    pub only: Vec<String>,
    /// Put this before the name of every namespace
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub prefix: String,
    /// Lifetimes: `keep`, `unlimited`, a number of seconds, or `max:SECONDS` for the
    /// longer and unlimited ones; counted from when the entry was stored
    #[arg(long, value_name = "TTL", default_value = "keep", value_parser = parse_ttl)]
    pub ttl: TtlOverride,
    /// Set this quota, by the namespace's name in the store, instead of the archive's;
    /// repeatable
    #[arg(long, value_name = "NS=N", value_parser = parse_quota)]
    pub quota: Vec<(String, u64)>,
    /// Ignore the archive's quotas
    #[arg(long, conflicts_with = "quota")]
    pub no_quotas: bool,
    /// Then evict the least recently used entries over this number
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub max_entries: Option<u64>,
    #[command(flatten)]
    pub trust: Trust,
}

/// See [`Command::Inspect`](super::Command::Inspect).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads and checks the whole archive, as `load` does. Needs no store and no embedder.

--json: {\"manifest\": {\"format_version\", \"schema_version\", \"embedder_fingerprint\",
\"embedder_dim\", \"layout\", \"store\", \"vector_dtype\", \"created_at\", \"namespaces\",
\"written_by\" (null: mneme-cache), \"consistent\"}, \"compression\": \"gzip\"|\"zstd\",
\"checksummed\", \"entries\", \"namespaces\": [{\"namespace\", \"entries\", \"quota\"}], \"meta_keys\",
\"bytes\", \"compressed_bytes\"}.")]
pub struct Inspect {
    /// The archive; `-` is standard input
    pub file: PathBuf,
    #[command(flatten)]
    pub trust: Trust,
}

/// The most bytes of an archive whose size is not known before it is read.
pub const MAX_ARCHIVE: u64 = 4 << 30;

/// Limits on an archive.
#[derive(Debug, clap::Args)]
pub struct Trust {
    /// Refuse an archive in which one byte expands to more than this many, after the first
    /// 64 MiB. Default: 128
    #[arg(long, value_name = "N")]
    pub max_expansion: Option<u32>,
    /// The most bytes of an archive from standard input, a pipe or a device, which may have no end. A
    /// file may have any size
    #[arg(long, value_name = "BYTES", default_value_t = MAX_ARCHIVE)]
    pub max_archive: u64,
}

fn parse_ttl(text: &str) -> Result<TtlOverride, String> {
    let seconds = |text: &str| {
        whole(text).map_err(|_| {
            format!(
                "`keep`, `unlimited`, a number of seconds or `max:SECONDS` is needed, up to {GREATEST}"
            )
        })
    };
    match text {
        "keep" => Ok(TtlOverride::Keep),
        "unlimited" => Ok(TtlOverride::Unlimited),
        _ => match text.strip_prefix("max:") {
            Some(most) => seconds(most).map(TtlOverride::AtMost),
            None => seconds(text).map(TtlOverride::Seconds),
        },
    }
}

/// A namespace may have any sign in its name, so the last `=` counts.
fn parse_quota(text: &str) -> Result<(String, u64), String> {
    text.rsplit_once('=')
        .and_then(|(name, most)| Some((name.to_owned(), whole(most).ok()?)))
        .ok_or_else(|| "a namespace and its quota are needed, such as tenant-a=1000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        assert_eq!(parse_ttl("keep"), Ok(TtlOverride::Keep));
        assert_eq!(parse_ttl("unlimited"), Ok(TtlOverride::Unlimited));
        assert_eq!(parse_ttl("60"), Ok(TtlOverride::Seconds(60)));
        assert_eq!(parse_ttl("max:60"), Ok(TtlOverride::AtMost(60)));
        for bad in ["", "-1", "max:", "max:x", "1h"] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quotas_of_namespaces() {
        assert_eq!(parse_quota("a=7"), Ok(("a".into(), 7)));
        assert_eq!(parse_quota("k=v=0"), Ok(("k=v".into(), 0)));
        for bad in ["", "a", "a=", "a=-1", "a=many"] {
            assert!(parse_quota(bad).is_err(), "{bad}");
        }
    }
}
