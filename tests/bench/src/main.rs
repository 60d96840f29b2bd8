//! Measures the cache, beside other caches and indexes. `BENCHMARKS.md` has the method and a
//! recorded result.

mod args;
mod contest;
mod corpus;
mod dataset;
mod embedding;
mod machine;
mod ours;
mod output;
mod peer;
mod plot;
mod python;
mod report;
mod rivals;
mod tally;
mod unit;
mod vectors;
mod waits;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use clap::error::ErrorKind;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Map;

use crate::args::{Args, Dtype, Kind, PeerChoice, Suite};
use crate::contest::Contest;
use crate::corpus::Corpus;
use crate::dataset::Dataset;
use crate::output::Output;
use crate::peer::PeerError;
use crate::report::Report;
use crate::vectors::Generator;

/// The exit code of errors.
const ERROR: u8 = 2;

/// The length of vectors without --dims.
const DIM: usize = 384;
/// The least similarity of a hit: the default of either cache.
const THRESHOLD: f64 = 0.85;
/// Into how many parts, done in turns, the work is cut.
const PARTS: usize = 5;
/// Puts of a part.
const PUTS: usize = 400;
/// The most namespaces without --namespaces.
const NAMESPACES: usize = 1000;
/// How the line of progress looks.
const MEASURING: &str = "{spinner} {elapsed} {prefix}  {msg}";

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let out = Output::new(args.json);
    match run(&args, out) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output has closed it.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out.error(kind(&error), &output::message(&error));
            ExitCode::from(ERROR)
        }
    }
}

/// Help, the version, or an error on the command line.
fn usage(error: &clap::Error) -> ExitCode {
    let help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if !help && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ");
        Output::new(true).error("usage", message);
    } else {
        let _ = error.print();
    }
    ExitCode::from(if help { 0 } else { ERROR })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut io = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>());
    io.any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// What went wrong, for programs: the kind of the cache's error, else `peer`, `io` or
/// `argument`.
fn kind(error: &anyhow::Error) -> &'static str {
    for cause in error.chain() {
        if let Some(cause) = cause.downcast_ref::<mneme::Error>() {
            return cause.kind();
        }
        if cause.is::<PeerError>() {
            return "peer";
        }
        if cause.is::<io::Error>() {
            return "io";
        }
    }
    "argument"
}

/// What to measure, checked.
struct Plan {
    suites: Vec<Suite>,
    sizes: Vec<usize>,
    dims: Vec<usize>,
    dtypes: Vec<Dtype>,
    kinds: Vec<Kind>,
    dataset: Option<Dataset>,
    peers: Vec<peer::Kind>,
    /// Whether peers were asked for by name.
    required: bool,
    queries: usize,
    namespaces: Option<usize>,
    in_memory: bool,
    folder: PathBuf,
    models: Vec<PathBuf>,
}

impl Plan {
    fn new(args: &Args) -> Result<Self> {
        let in_memory = match args.store.as_deref() {
            None => false,
            Some("memory:") => true,
            Some(_) => bail!(
                "bench: --store takes only memory:; without it, entries are in SQLite files in --dir, deleted at the end"
            ),
        };
        let mut suites = args.suite.clone();
        if suites.contains(&Suite::All) {
            suites = vec![
                Suite::Lookup,
                Suite::Open,
                Suite::Tenants,
                Suite::Checkpoint,
            ];
        }
        if !args.model.is_empty() && !suites.contains(&Suite::Embed) {
            suites.push(Suite::Embed);
        }
        if args.namespaces.is_some() && !suites.contains(&Suite::Tenants) {
            suites.push(Suite::Tenants);
        }
        let sizes = unique(&args.sizes);
        if let Some(namespaces) = args.namespaces
            && let Some(size) = sizes.iter().find(|&&size| size < namespaces)
        {
            bail!("bench: --namespaces {namespaces}: {size} entries are fewer");
        }
        let (peers, required) = peers(&args.peers)?;
        if let Some(path) = &args.plot
            && path.extension().is_none_or(|extension| extension != "svg")
        {
            bail!("bench: --plot {path:?}: the name must end in .svg");
        }
        for path in args.markdown.iter().chain(&args.plot) {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            if path.is_dir() || folder.is_some_and(|folder| !folder.is_dir()) {
                bail!("bench: {path:?} cannot be written: not a file in an existing folder");
            }
        }
        let folder = args.dir.clone().unwrap_or_else(std::env::temp_dir);
        if !folder.is_dir() {
            bail!("bench: --dir {folder:?} is not a folder");
        }
        let mut dims = unique(&args.dims);
        let dataset = match &args.dataset {
            None => None,
            Some(path) => {
                if dims.len() > 1 {
                    bail!("bench: the vectors of a file have one length; give --dims one value");
                }
                Some(Dataset::open(path, dims.first().copied())?)
            }
        };
        if dims.is_empty() {
            dims = vec![dataset.as_ref().map_or(DIM, |dataset| dataset.dim)];
        }
        Ok(Self {
            suites,
            sizes,
            dims,
            dtypes: unique(&args.dtypes),
            kinds: unique(&args.index),
            dataset,
            peers,
            required,
            queries: args.queries,
            namespaces: args.namespaces,
            in_memory,
            folder,
            models: args.model.clone(),
        })
    }

    /// Whether any suite looks up vectors, beside the peers.
    fn needs_vectors(&self) -> bool {
        let apart = [Suite::Waits, Suite::Embed];
        self.suites.iter().any(|suite| !apart.contains(suite))
    }

    /// Among how many namespaces so many entries are divided.
    fn namespaces(&self, entries: usize) -> Option<usize> {
        let wanted = self.suites.contains(&Suite::Tenants);
        let usual = NAMESPACES.min(entries / 10).max(1);
        wanted.then(|| self.namespaces.unwrap_or(usual))
    }
}

/// The peers of the choices, and whether they were named.
fn peers(choices: &[PeerChoice]) -> Result<(Vec<peer::Kind>, bool)> {
    if choices.len() > 1
        && (choices.contains(&PeerChoice::All) || choices.contains(&PeerChoice::None))
    {
        bail!("bench: --peers: `all` and `none` stand alone");
    }
    let named: Vec<_> = choices
        .iter()
        .copied()
        .filter_map(peer::Kind::named)
        .collect();
    Ok(match choices {
        [] | [PeerChoice::All] => (peer::Kind::ALL.to_vec(), false),
        [PeerChoice::None] => (Vec::new(), false),
        _ => (unique(&named), true),
    })
}

fn unique<T: Copy + PartialEq>(items: &[T]) -> Vec<T> {
    let mut kept: Vec<T> = Vec::new();
    for &item in items {
        if !kept.contains(&item) {
            kept.push(item);
        }
    }
    kept
}

/// Measures and prints what the command line asks for.
fn run(args: &Args, out: Output) -> Result<()> {
    let plan = Plan::new(args)?;
    let mut notes = Vec::new();
    let with_peers = match plan.needs_vectors() {
        true => !plan.peers.is_empty(),
        false => !plan.models.is_empty() && !args.peers.contains(&PeerChoice::None),
    };
    let python = match with_peers {
        false => None,
        true => match python::choose(args.python.as_deref(), out, &mut notes) {
            Ok(python) => Some(python),
            Err(error) if plan.required => return Err(error.into()),
            Err(PeerError(why)) => {
                notes.push(format!("measured without peers: {why}"));
                None
            }
        },
    };
    let progress = Progress::new(out);
    let mut contest = Contest {
        plan: &plan,
        python: python.as_deref(),
        progress: &progress,
        notes,
        versions: Map::new(),
    };
    let mut embeddings = Vec::new();
    if plan.suites.contains(&Suite::Embed) {
        let (notes, versions) = (&mut contest.notes, &mut contest.versions);
        let python = python.as_deref();
        embeddings = embedding::measure(&plan.models, python, &progress, notes, versions)?;
    }
    let mut cells = Vec::new();
    let mut waits = Vec::new();
    let mut origins = Vec::new();
    let sizes = match plan.suites == [Suite::Embed] {
        true => &[][..],
        false => &plan.sizes,
    };
    for &dim in &plan.dims {
        for &entries in sizes {
            progress.prefix(&format!("{entries} x {dim}"));
            let folder = tempfile::Builder::new()
                .prefix("mneme-bench-")
                .tempdir_in(&plan.folder)
                .context("bench: cannot make a folder")?;
            if plan.suites.contains(&Suite::Waits) {
                let generator = Generator::new(plan.dataset.as_ref(), entries, dim);
                let measured = waits::measure(&generator, entries, dim, folder.path(), &progress);
                waits.push(measured?);
            }
            if !plan.needs_vectors() {
                continue;
            }
            progress.step("making vectors");
            let corpus = corpus(&plan, entries, dim, folder.path())?;
            origins.push(format!("{entries} x {dim}: {}", corpus.origin));
            if corpus.misses.is_empty() {
                let note =
                    format!("{entries} x {dim}: no query is far from every entry, so none misses");
                contest.notes.push(note);
            }
            for &dtype in &plan.dtypes {
                cells.extend(contest.run(&corpus, dtype, folder.path())?);
            }
        }
    }
    progress.clear();
    let mut notes = contest.notes;
    let mut seen = Vec::new();
    notes.retain(|note| {
        !seen.contains(note) && {
            seen.push(note.clone());
            true
        }
    });
    if plan.in_memory && plan.suites.contains(&Suite::Open) {
        notes.push("ours is in memory, which does not outlive its process: no opening".into());
    }
    let report = Report {
        cells,
        waits,
        embeddings,
        origins,
        notes,
        versions: contest.versions,
        in_memory: plan.in_memory,
        queries: plan.queries,
    };
    if let Some(path) = &args.markdown {
        write_file(path, &report.markdown())?;
    }
    if let Some(path) = &args.plot {
        write_file(path, &plot::draw(&report.cells)?)?;
    }
    out.result(|| report.json(), || report.text())?;
    Ok(())
}

fn write_file(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("bench: cannot write {path:?}"))
}

fn corpus(plan: &Plan, entries: usize, dim: usize, folder: &Path) -> Result<Corpus> {
    let generator = Generator::new(plan.dataset.as_ref(), entries + PARTS * PUTS, dim);
    let path = folder.join("vectors.f32");
    Corpus::create(
        &path,
        &generator,
        (entries, dim),
        plan.queries,
        plan.namespaces(entries),
    )
}

/// What is being done, on standard error, if that is a terminal. It is drawn between
/// measurements only.
struct Progress(ProgressBar);

impl Progress {
    fn new(out: Output) -> Self {
        let bar = match out.is_json() {
            true => ProgressBar::hidden(),
            false => ProgressBar::no_length(),
        };
        if let Ok(style) = ProgressStyle::with_template(MEASURING) {
            bar.set_style(style);
        }
        Self(bar)
    }

    fn prefix(&self, text: &str) {
        self.0.set_prefix(text.to_owned());
    }

    fn step(&self, text: &str) {
        self.0.set_message(text.to_owned());
        self.0.tick();
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}
