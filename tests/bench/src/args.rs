//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use mneme::{IndexKind, VectorDtype};

/// The most entries of one measurement.
const MOST_ENTRIES: usize = 10_000_000;
/// The most queries of a kind.
const MOST_QUERIES: usize = 100_000;

const AFTER_HELP: &str = "\
Ours and the peers work on the same vectors, in turns, with one caller; each times its calls
in its own process. Our entries are in SQLite files in --dir, or in memory with --store memory:.
usearch and hnswlib keep no entries: only their search is measured.

Peers need Python 3.11 or later with their packages. Without --python or $MNEME_BENCH_PYTHON
the program makes a virtual environment in the user's cache folder and downloads them. If that
fails, ours is measured alone, unless --peers names some.

Exit codes: 0 done; 2 an error, under --json {\"error\":{\"kind\",\"message\"}} on standard error.

--json: {\"rows\": [{\"work\", \"entries\", \"dims\", \"dtype\", \"index\", \"ours_p50_us\",
\"ours_p99_us\", \"peer\", \"peer_p50_us\", \"peer_p99_us\", \"ratio\" (peer / ours), \"recall\",
\"peer_recall\", ...}], \"waits\": [{\"work\", \"entries\", \"dims\", \"calls\",
\"longest_call_ms\", \"exact_hits_meanwhile\", \"longest_wait_ms\"}], \"embeddings\": [{\"model\",
\"threads\", \"texts\", \"batch\", \"ours_p50_us\", \"ours_p99_us\", \"onnxruntime_p50_us\",
\"onnxruntime_p99_us\", \"ratio\"}], \"machine\", \"versions\",
\"dataset\", \"settings\", \"notes\"}; null if unknown.";

/// Measures the semantic cache, beside mneme-cache, usearch and hnswlib.
#[derive(Debug, Parser)]
#[command(name = "mneme-bench", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Args {
    /// What to measure, separated by commas
    #[arg(
        long,
        value_name = "SUITE,...",
        value_delimiter = ',',
        default_value = "lookup,open"
    )]
    pub suite: Vec<Suite>,
    /// Numbers of entries, separated by commas, 1 to 10,000,000
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10000", value_parser = parse_size)]
    pub sizes: Vec<usize>,
    /// Lengths of the vectors, separated by commas, 2 to 8192. Default: 384, or that of the
    /// .npy file
    #[arg(long, value_name = "D,...", value_delimiter = ',', value_parser = parse_dim)]
    pub dims: Vec<usize>,
    /// How the index holds vectors, separated by commas
    #[arg(
        long,
        value_name = "DTYPE,...",
        value_delimiter = ',',
        default_value = "float32"
    )]
    pub dtypes: Vec<Dtype>,
    /// How our index searches, separated by commas
    #[arg(
        long,
        value_name = "KIND,...",
        value_delimiter = ',',
        default_value = "auto"
    )]
    pub index: Vec<Kind>,
    /// Vectors to use instead of generated ones: rows of little-endian numbers (.f32, .f16), or
    /// a .npy file of either. Where more are needed than it has, real ones are mixed
    #[arg(long, value_name = "FILE")]
    pub dataset: Option<PathBuf>,
    /// The folder of a sentence model for the suite `embed`; may be repeated. onnxruntime runs it
    /// too, unless --peers is `none`
    #[arg(long, value_name = "DIR")]
    pub model: Vec<PathBuf>,
    /// What to compare with, separated by commas. Default: all that can be installed
    #[arg(long, value_name = "PEER,...", value_delimiter = ',')]
    pub peers: Vec<PeerChoice>,
    /// The Python that runs the peers. Default: $MNEME_BENCH_PYTHON, else that of a virtual
    /// environment in the user's cache folder
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Semantic queries of each kind, hits and misses, 1 to 100,000
    #[arg(long, value_name = "N", default_value = "500", value_parser = parse_queries)]
    pub queries: usize,
    /// How many tenants share the entries in the suite `tenants`, which this adds.
    /// Default: 1000, or a tenth of the entries
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub namespaces: Option<usize>,
    /// Where our entries are: `memory:`. Default: SQLite files in --dir, deleted at the end
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The folder for files while it runs. Default: the folder for temporary files
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Also write the tables to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    /// Also draw latency against entries into this file, which ends in .svg
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub json: bool,
}

/// A group of measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Suite {
    /// Exact and semantic look-ups, puts, building the index, its memory
    Lookup,
    /// From opening to the first answer
    Open,
    /// Semantic look-ups in one of many namespaces
    Tenants,
    /// Dumping to archives and loading them
    Checkpoint,
    /// How long a caller waits beside each kind of work of another; not with peers, and not
    /// part of `all`
    Waits,
    /// Embedding with the bundled model and those of --model; not part of `all`
    Embed,
    /// All of them
    All,
}

/// A [`VectorDtype`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    Float32,
    Float16,
    Int8,
}

impl From<Dtype> for VectorDtype {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Float32 => Self::Float32,
            Dtype::Float16 => Self::Float16,
            Dtype::Int8 => Self::Int8,
        }
    }
}

/// An [`IndexKind`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// What the cache thinks best
    Auto,
    /// A scan that misses nothing
    Exact,
    /// Graphs
    Hnsw,
}

impl From<Kind> for IndexKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Auto => Self::Auto,
            Kind::Exact => Self::Exact,
            Kind::Hnsw => Self::Hnsw,
        }
    }
}

/// Peers on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerChoice {
    /// All that can be installed
    All,
    /// Nothing
    None,
    /// mneme-cache with its NumPy index
    MnemeCache,
    /// mneme-cache with its hnswlib index
    MnemeCacheHnsw,
    /// usearch alone
    Usearch,
    /// hnswlib alone
    Hnswlib,
}

fn within(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.replace('_', "")
        .parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("a whole number from {least} to {most} is needed"))
}

fn parse_size(text: &str) -> Result<usize, String> {
    within(text, 1, MOST_ENTRIES)
}

fn parse_dim(text: &str) -> Result<usize, String> {
    within(text, 2, 8192)
}

fn parse_queries(text: &str) -> Result<usize, String> {
    within(text, 1, MOST_QUERIES)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_size("100_000"), Ok(100_000));
        assert_eq!((parse_dim("2"), parse_dim("8192")), (Ok(2), Ok(8192)));
        for bad in ["0", "-1", "", "many", "10_000_001"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        for bad in ["0", "1", "8193"] {
            assert!(parse_dim(bad).is_err(), "{bad}");
        }
    }
}
