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
    /// Also embed entries without a vector, which only their exact words find. Without it they stay
    /// so: they were stored with `exact_only`, or while the embedder was down or could not read them
    #[arg(long)]
    pub embed_exact_only: bool,
}

/// The target, and what to copy.
#[derive(Debug, clap::Args)]
pub struct Target {
    /// The store to fill, as --store names one; the source is --store. Default:
    /// $MNEME_TARGET, for a URL with a password
    #[arg(long, value_name = "URL")]
    pub to: Option<String>,
    /// Copy only these namespaces. Default: all
    #[arg(long, value_name = "NS", num_args = 1..)]
    pub namespaces: Vec<String>,
    /// Add to the entries of the target; of two answers to the same query the newer stays
    #[arg(long)]
    pub merge: bool,
}

const AFTER: &str = "\
Query, response, metadata, lifetime, times, access counts and quotas are kept; counters start
at zero. The source is only read. Expired entries are not copied. After an interruption of any
kind, the same command continues where it stopped. To copy what the source got since, run it
again with --merge.

--json: {\"written\", \"exact_only\", \"present\", \"newer\", \"expired\", \"quotas\", \"resumed\",
\"seconds\"}: entries written, of them those without a vector, entries there already, newer in the
target, expired and not copied.";
