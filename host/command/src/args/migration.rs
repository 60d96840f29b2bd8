//! The command line of `copy` and `reembed`.

/// See [`Command::Copy`](super::Command::Copy).
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Copy {
    #[command(flatten)]
    pub target: Target,
}

/// See [`Command::Reembed`](super::Command::Reembed).
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER)]
pub struct Reembed {
    #[command(flatten)]
    pub target: Target,
    /// How many calls of the embedder, of up to 64 texts each, run at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

/// Where to, and how much.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The store to fill, as --store names one; the source is --store. Default:
    /// $MNEME_TARGET, for a URL with a password
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Take these namespaces only. Default: all
    #[arg(long, value_name = "NS", num_args = 1..)]
    pub namespaces: Vec<String>,
    /// Add to what the target holds; of two answers to the same query the newer one stays
    #[arg(long)]
    pub merge: bool,
}

const AFTER: &str = "\
Query, response, metadata, lifetime, times, access counts and quotas are kept; counters begin
anew. The source is only read; expired entries stay behind. If it is interrupted, in whatever
way, the same command goes on where it was. Once more after the end, with --merge, it brings
over what the source has got since.

--json: {\"written\", \"present\", \"newer\", \"expired\", \"quotas\", \"resumed\", \"seconds\"}:
entries written, there already, kept for being newer, left behind.";
