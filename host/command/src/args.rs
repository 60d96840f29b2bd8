//! The command line.

mod bounding;
mod calibration;
mod checkpoint;
mod comparing;
mod migration;
mod serve;
mod verifying;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, Subcommand, ValueEnum};
use mneme::conformance::Seed;
use mneme::store::checks::GREATEST;
use mneme::{Builder, Label, LabelSource, VectorDtype};

pub use bounding::Bounding;
pub use calibration::{Calibrate, Judge, MetricName, Replay};
pub use checkpoint::{Dump, Inspect, Load, Trust};
pub use comparing::{Comparing, Place};
pub use migration::{Copy, Reembed, Target};
pub use serve::Serve;
pub use verifying::Verifying;

const AFTER_HELP: &str = "\
Exit codes: 0 done, or an answer found; 1 no answer (get, explain), nothing to delete
(delete, erase), not healthy (health), a case failed (conformance); 2 an error.
`run` exits with the code of its program.

Under --json each command prints one JSON object on standard output; an error is
{\"error\":{\"kind\",\"message\"}} on standard error.

Examples:
  mneme put \"How do I reset my password?\" \"Choose 'Forgot password' ...\"
  mneme get \"I forgot my password, how do I reset it?\"
  echo \"What is a semantic cache?\" | mneme run -- my-llm --model small
  mneme demo";

/// The end of the help, with what this build can keep its entries in.
fn after_help() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let stores = mneme::store::built_in().join(", ");
        format!("{AFTER_HELP}\n\nStores of this build: {stores}")
    });
    &TEXT
}

/// A semantic cache: answers questions that were answered before, also in other words.
#[derive(Debug, Parser)]
#[command(name = "mneme", version, after_help = after_help(), max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Where the entries are: `sqlite:PATH`, `redis://HOST` (also `redis+cluster://HOST,HOST` and
    /// `redis+sentinel://HOST,HOST?master=NAME`), `postgres://HOST[,HOST...]/DB`, `dynamodb://TABLE`, each
    /// with the options of its store, or `memory:`, which is lost when this command ends.
    /// `sqlite:PATH?mode=ro`, or a file that cannot be written, is only read. A HOST of postgres may be
    /// the folder of a socket (`%2Frun%2Fpostgresql`) or a PgBouncer; of several hosts,
    /// `?target_session_attrs=read-write` takes one that writes. Default: $MNEME_STORE, else
    /// sqlite:mneme.db
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub store: Option<String>,

    /// What turns text into vectors: `minilm` (bundled, offline),
    /// `model:DIR[,OPTION=VALUE...]` (a sentence model of a folder; its options are dim, threads,
    /// max, prompt and file),
    /// `openai:BASE_URL,MODEL[,DIM[,MAX_TOKENS]]` (key from $OPENAI_API_KEY; without DIM a request
    /// asks the server for it; texts of MAX_TOKENS or more, which the server may cut, are found by
    /// their exact words only; without MAX_TOKENS, long texts that begin alike may seem to be the
    /// same), or `vectors:FINGERPRINT,DIM` (vectors come from --embedding).
    /// Default: $MNEME_EMBEDDER, else minilm
    #[arg(
        long,
        global = true,
        value_name = "SPEC",
        help_heading = "Global options"
    )]
    pub embedder: Option<String>,

    /// The most seconds, up to 86400, for a call of the embedder, of up to 128 texts. Texts in line
    /// for it wait as long as one of its calls succeeds in this time
    #[arg(
        long,
        global = true,
        value_name = "S",
        default_value_t = 10,
        value_parser = seconds(1),
        help_heading = "Global options"
    )]
    pub embed_timeout: u64,

    /// The namespace; no question is answered from another one.
    /// Default: `default`; for stats, vacuum, entries and erase: all
    #[arg(
        long,
        short,
        global = true,
        value_name = "NS",
        help_heading = "Global options"
    )]
    pub namespace: Option<String>,

    /// Print JSON, for programs
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    #[command(flatten)]
    pub comparing: Comparing,

    #[command(flatten)]
    pub verifying: Verifying,

    #[command(flatten)]
    pub bounding: Bounding,
}

impl Global {
    /// Sets what decides about answers, for commands that look up.
    pub fn apply(&self, builder: Builder) -> Result<Builder> {
        let builder = self.verifying.apply(self.comparing.apply(builder))?;
        self.bounding.apply(builder)
    }

    /// Refuses a namespace beside an option that means all of them. (clap sees no conflict with a global
    /// option before the command.)
    pub fn refuse_namespace(&self, option: &str) -> Result<()> {
        match &self.namespace {
            Some(name) => bail!(
                "{option} means all namespaces, and --namespace names {name:?}; leave one of them out"
            ),
            None => Ok(()),
        }
    }

    /// The namespace, for commands that work in one.
    pub fn namespace(&self) -> &str {
        self.namespace
            .as_deref()
            .unwrap_or(mneme::DEFAULT_NAMESPACE)
    }

    /// The most time for a call of the embedder.
    pub fn embed_timeout(&self) -> Duration {
        Duration::from_secs(self.embed_timeout)
    }
}

/// Reads a number of the range that a cache has for ids, times and counts: 0 to 2^53 - 1.
fn whole(text: &str) -> Result<u64, String> {
    let number = text.parse().ok().filter(|number| *number <= GREATEST);
    number.ok_or_else(|| format!("a whole number from 0 to {GREATEST} is needed"))
}

/// Reads seconds: at least so many, and at most a day.
fn seconds(least: u64) -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(least..=24 * 3600)
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look up a question; print the answer alone
    Get(Get),
    /// Store the answer to a question, replacing the one it has
    Put(Put),
    /// Say how a question would be answered, and why
    Explain(Explain),
    /// Say whether the answer of a look-up was right, for the error bound
    Feedback(Feedback),
    /// Delete the answer to a question (found by its words, not its meaning)
    Delete {
        /// The question; case does not count without --keep-case, and spacing not either
        query: String,
        /// The context that the answer was stored in. Default: empty
        #[arg(
            long,
            value_name = "TEXT",
            default_value = "",
            hide_default_value = true
        )]
        context: String,
    },
    /// List entries, of all namespaces unless --namespace names one
    Entries(Entries),
    /// Delete the entries that meet a filter, of all namespaces unless --namespace names one
    Erase(Erase),
    /// Delete all entries of the namespace; its quota stays
    Clear {
        /// In all namespaces
        #[arg(long, conflicts_with = "namespace")]
        all: bool,
    },
    /// List the namespaces that hold entries
    Namespaces,
    /// Show, set or remove the most entries that the namespace may hold
    Quota {
        /// A number, or `none` to remove the quota; with 0 the namespace takes no entries
        #[arg(value_name = "N", value_parser = parse_quota)]
        quota: Option<Quota>,
    },
    /// Delete expired entries
    Vacuum {
        /// Also free the index memory of deleted rows
        #[arg(long)]
        compact: bool,
    },
    /// Build the index and save it in the store, for later processes
    WarmUp,
    /// Count entries, hits and misses
    Stats,
    /// Check the store and report problems
    Health {
        /// Check all data, which takes seconds for gigabytes
        #[arg(long)]
        deep: bool,
    },
    /// Answer the query on standard input from the cache, else by a program
    Run(Run),
    /// Store many answers from a file of JSON lines
    Import(Import),
    /// Write the whole cache to an archive
    Dump(Dump),
    /// Load an archive into the cache
    Load(Load),
    /// Check an archive and show what is in it
    Inspect(Inspect),
    /// Copy the store into another one
    Copy(Copy),
    /// Copy the store into another one, with the vectors of another --embedder
    Reembed(Reembed),
    /// Find the best threshold, from pairs of questions that mean the same or do not
    Calibrate(Calibrate),
    /// Say for each pair of questions whether one would be answered by the other, and why
    Judge(Judge),
    /// Print the vectors of texts, and how much of each text was read
    Embed(Embed),
    /// Show what a cache would have done with a log of questions
    Replay(Replay),
    /// Serve the cache over HTTP
    Serve(Serve),
    /// Write the WebAssembly component to a file
    Component {
        /// The file to write; `-` is standard output
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// The conformance battery instead of the cache
        #[arg(long)]
        conformance: bool,
    },
    /// Judge a store: run the conformance battery on it
    Conformance(Conformance),
    /// See it work: fill a cache, then ask reworded, unrelated and opposite questions
    Demo,
}

/// See [`Command::Get`].
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    pub question: Question,
    /// Do not look; counts a miss
    #[arg(long)]
    pub bypass: bool,
}

/// A question and its options.
#[derive(Debug, clap::Args)]
pub struct Question {
    /// The question
    pub query: String,
    /// The question's vector: a JSON array of numbers, or @FILE that holds one (@-
    /// for standard input)
    #[arg(long, value_name = "JSON|@FILE")]
    pub embedding: Option<String>,
    /// The least similarity of an answer to a question in other words, -1 to 1
    #[arg(long, short, value_name = "T", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    #[command(flatten)]
    pub scope: Scope,
    /// The greatest age of an answer, in seconds. Default: any
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub max_age: Option<u64>,
    /// Do not embed the question: only its exact words find an answer. Needs no embedder
    #[arg(long, alias = "exact-only", conflicts_with_all = ["embedding", "threshold"])]
    pub exact: bool,
}

/// The context and the tags of a question, an answer or a filter.
#[derive(Debug, clap::Args)]
pub struct Scope {
    /// What an answer depends on beside the question, such as a model or a system prompt; a
    /// question is answered from its context only. At most 1,024 bytes. Default: empty; for entries
    /// and erase: any
    #[arg(long, value_name = "TEXT")]
    pub context: Option<String>,
    /// A tag that the entry carries; give it several times for several tags
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
}

/// See [`Command::Feedback`].
#[derive(Debug, clap::Args)]
pub struct Feedback {
    /// The ticket of the hit or miss, from `get --json`; at most a day old
    pub ticket: String,
    /// What was found: the stored answer is the same as the right one, a different one, or nobody can say
    pub label: LabelName,
    /// Who found it
    #[arg(long, value_enum, default_value = "user")]
    pub source: SourceName,
}

/// See [`mneme::Label`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LabelName {
    Same,
    Different,
    Unknown,
}

impl From<LabelName> for Label {
    fn from(name: LabelName) -> Self {
        match name {
            LabelName::Same => Self::Same,
            LabelName::Different => Self::Different,
            LabelName::Unknown => Self::Unknown,
        }
    }
}

/// See [`mneme::LabelSource`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SourceName {
    Compared,
    Judged,
    User,
}

impl From<SourceName> for LabelSource {
    fn from(name: SourceName) -> Self {
        match name {
            SourceName::Compared => Self::Compared,
            SourceName::Judged => Self::Judged,
            SourceName::User => Self::User,
        }
    }
}

/// See [`Command::Put`].
#[derive(Debug, clap::Args)]
pub struct Put {
    /// The question
    pub query: String,
    /// The answer; `-` reads it from standard input
    pub response: String,
    /// The question's vector: a JSON array of numbers, or @FILE that holds one (@-
    /// for standard input)
    #[arg(long, value_name = "JSON|@FILE")]
    pub embedding: Option<String>,
    /// Do not embed the question: only its exact words find the answer. Needs no embedder
    #[arg(long, conflicts_with = "embedding")]
    pub exact_only: bool,
    #[command(flatten)]
    pub scope: Scope,
    /// Lifetime in seconds. Default: unlimited
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub ttl: Option<u64>,
    /// A JSON object to store with the answer
    #[arg(long, value_name = "JSON")]
    pub metadata: Option<String>,
}

/// Which entries are meant: those that meet every condition.
#[derive(Debug, clap::Args)]
pub struct Filter {
    #[command(flatten)]
    pub scope: Scope,
    /// The question that the answer was stored under; spacing and case do not count
    #[arg(long, value_name = "QUESTION")]
    pub query: Option<String>,
    /// The id of an entry; give it several times for several, at most 1,024
    #[arg(long = "id", value_name = "ID", value_parser = whole, allow_negative_numbers = true)]
    pub ids: Vec<u64>,
    /// Entries that were stored at least so many seconds ago
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub min_age: Option<u64>,
    /// Entries that were stored at most so many seconds ago
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub max_age: Option<u64>,
}

/// See [`Command::Entries`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
--json: {\"entries\": [{\"id\", \"namespace\", \"context\", \"tags\", \"query\", \"response\",
\"metadata\", \"created_at\", \"last_accessed_at\", \"ttl\", \"access_count\"}, ...], \"next\"};
`next` is the id for --after of the next page, null at the end. Without --context entries of
any context are listed; --context \"\" lists those of the empty one.")]
pub struct Entries {
    #[command(flatten)]
    pub filter: Filter,
    /// The most entries to list, 1 to 1,024
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub limit: u32,
    /// List entries with a greater id
    #[arg(long, value_name = "ID", default_value_t = 0, value_parser = whole, allow_negative_numbers = true)]
    pub after: u64,
}

/// See [`Command::Erase`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Asks before it deletes if standard input and standard error are a terminal. Quotas and counters
stay. What an erased entry has left in the index kept in the store goes with it. Archives that
were dumped before still hold it, and so does for a while a write-ahead log of SQLite or of a
server. Many entries go in several steps: run it again if it was interrupted. Without --context
the entries of any context are meant; --context \"\" means those of the empty one.

Exit codes: 0 something was erased, or would be; 1 no entry meets the filter; 2 an error.

--json: the receipt, {\"erased\", \"ids\", \"version_before\", \"version_after\", \"dry_run\"}.")]
pub struct Erase {
    #[command(flatten)]
    pub filter: Filter,
    /// All entries, of all namespaces
    #[arg(long, conflicts_with_all = ["namespace", "context", "tags", "query", "ids", "min_age", "max_age"])]
    pub all: bool,
    /// Delete nothing; say what would be deleted
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
}

/// See [`Command::Embed`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Texts are embedded as they are; the cache embeds the normalised question.

--json: {\"fingerprint\", \"dim\", \"texts\": [{\"text\", \"tokens\", \"tokens_read\",
\"tokens_unknown\", \"vector\"}, ...]}, without counts if the embedder does not tell them,
and without vectors if they go to a file.")]
pub struct Embed {
    /// The texts; `-` stands for the lines of standard input
    #[arg(required = true, value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Write the vectors to a file, as a float32 array of NumPy with a row a text
    #[arg(long, value_name = "FILE")]
    pub npy: Option<PathBuf>,
}

/// See [`Command::Explain`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Counts nothing and changes nothing. Exit codes as for `get`: 0 an answer would be found,
1 none, 2 an error.

--json: {\"namespace\", \"context\", \"normalized\": {\"text\", \"hash\"}, \"threshold\", \"cut_off\",
\"rows\", \"outcome\": {\"hit\", \"layer\"|\"reason\"}, \"rule\", \"exact\": an entry or null,
\"candidates\": [{\"id\", \"query\", \"response\", \"metadata\", \"tags\", \"similarity\", \"confidence\",
\"age_seconds\", \"ttl\", \"accepted\", \"verdict\"}, ...]}.")]
pub struct Explain {
    #[command(flatten)]
    pub question: Question,
    /// How many of the nearest entries to show, 1 to 1,000
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// See [`Command::Run`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The whole standard input is the query. On a miss the program reads it too. Its output is
passed on, and cached if it exits with 0. The program and its arguments are not part of
the key: give different programs different namespaces. If the cache fails, that is
reported on standard error and the program runs anyway.")]
pub struct Run {
    #[command(flatten)]
    pub scope: Scope,
    /// Lifetime of a new answer, in seconds. Default: unlimited
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub ttl: Option<u64>,
    /// The least similarity of an answer to a query in other words, -1 to 1
    #[arg(long, short, value_name = "T", allow_negative_numbers = true)]
    pub threshold: Option<f32>,
    /// The greatest age of an answer, in seconds; an older one is computed again. Default: any
    #[arg(long, value_name = "S", value_parser = whole, allow_negative_numbers = true)]
    pub max_age: Option<u64>,
    /// Do not embed the query: only its exact words find an answer, and a new one is found by them
    /// only. Needs no embedder
    #[arg(long, alias = "exact-only", conflicts_with = "threshold")]
    pub exact: bool,
    /// The program and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

/// See [`Command::Import`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each line is one object: {\"query\": ..., \"response\": ...}, optionally with
\"namespace\", \"context\", \"tags\" (an array of texts), \"ttl\" (seconds; null: unlimited),
\"metadata\" (an object) and \"embedding\" (an array of numbers), or \"exact_only\": true to embed
nothing. Blank lines are skipped.")]
pub struct Import {
    /// The file; `-` is standard input
    pub file: PathBuf,
    /// Skip bad lines and report them, instead of stopping at the first; the exit code is
    /// still 2
    #[arg(long)]
    pub keep_going: bool,
}

/// See [`Command::Conformance`].
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Name the store with --store or $MNEME_STORE; there is no default. Stop everything else that
writes to it. Its entries stay as they are, but an empty store keeps the battery's
embedder, so use one that you can throw away.

Exit codes: 0 no case failed; 1 a case failed; 2 an error.")]
pub struct Conformance {
    /// Run the cases whose names match, with `*`, `?` and `[...]` as in file names
    #[arg(long, value_name = "GLOB")]
    pub case: Option<String>,
    /// The seed of the cases' values, decimal or 0x...: the same seed makes the same
    /// calls. Default: $MNEME_CONFORMANCE_SEED, else 1
    #[arg(long, value_name = "N")]
    pub seed: Option<Seed>,
    /// List the cases instead of running them
    #[arg(long)]
    pub list: bool,
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

/// A namespace's quota; none means unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota(pub Option<u64>);

fn parse_quota(text: &str) -> Result<Quota, String> {
    if text == "none" {
        return Ok(Quota(None));
    }
    let number = whole(text).map_err(|needed| format!("{needed}, or `none`"))?;
    Ok(Quota(Some(number)))
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
    fn the_help_lists_the_stores_of_this_build() {
        let help = Args::command().render_help().to_string();
        let stores = mneme::store::built_in().join(", ");
        assert!(stores.starts_with("memory, sqlite"), "{stores}");
        assert!(
            help.trim_end()
                .ends_with(&format!("Stores of this build: {stores}")),
            "{help}"
        );
        let all = "memory, sqlite, redis, postgres, dynamodb";
        assert!(stores == all || !cfg!(feature = "servers"), "{stores}");
    }

    #[test]
    fn quotas() {
        assert_eq!(parse_quota("7"), Ok(Quota(Some(7))));
        assert_eq!(parse_quota("none"), Ok(Quota(None)));
        assert!(parse_quota("-1").is_err() && parse_quota("many").is_err());
    }

    #[test]
    fn the_program_of_run_keeps_its_own_options() {
        let args =
            Args::try_parse_from(["mneme", "run", "--ttl", "5", "--", "llm", "--json", "-t"]);
        let args = args.unwrap();
        assert!(!args.global.json);
        let Command::Run(run) = args.command else {
            panic!("{:?}", args.command)
        };
        assert_eq!((run.ttl, run.program.len()), (Some(5), 3));
    }
}
