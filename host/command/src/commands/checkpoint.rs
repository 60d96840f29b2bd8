//! `dump`, `load` and `inspect`.

mod destination;
mod report;
mod stream;

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use mneme::checkpoint::{
    self, Compression, DumpOptions, ImportMode, InspectOptions, Layout, LoadOptions, Progress, Unit,
};
use mneme::{Error, SemanticCache};

use crate::args::{Dump, Global, Inspect, Load, Trust};
use crate::json;
use crate::output::{self, Output};
use crate::progress;
use crate::session::Session;
use crate::target::Target;

use destination::Destination;
use stream::Stream;

const NO_ROOM: &str =
    "load: the temporary folder cannot be used; free space in it, or name another with TMPDIR";

/// `dump`
pub fn dump(global: &Global, out: Output, args: &Dump) -> Result<u8> {
    if global.namespace.is_some() {
        bail!(
            "dump: an archive has all namespaces; omit --namespace, and choose with `load --only`"
        );
    }
    let destination = Destination::new(&Target::new("dump", &args.file, global)?)?;
    let session = Session::existing(global)?;
    let bar = Bar::new(out);
    let options = dump_options(args.portable, args.zstd, args.level).on_progress(bar.watch());
    let started = Instant::now();
    let dumped = session.cache.dump_verified(destination, options);
    bar.clear();
    let closed = session.cache.close();
    let (report, destination) = dumped.with_context(|| format!("dump: {:?}", args.file))?;
    closed?;
    destination
        .finish()
        .with_context(|| format!("dump: cannot write {:?}", args.file))?;
    let seconds = started.elapsed().as_secs_f64();
    if !report.consistent {
        out.warn("this store has no consistent snapshots: writes of others during the dump may be in it or not");
    }
    let json = || report::dump_json(&report, &args.file, seconds);
    let text = || report::dump_text(&report, &args.file, seconds);
    match args.file == Path::new("-") {
        true => out.aside(json, text),
        false => out.result(json, text)?,
    }
    Ok(0)
}

/// `load`
pub fn load(global: &Global, out: Output, args: &Load) -> Result<u8> {
    if global.namespace.is_some() {
        bail!("load: the archive names its namespaces; omit --namespace, and choose with --only");
    }
    let mut archive = open("load", &args.file, &args.trust)?;
    let bar = Bar::new(out);
    let session = match Session::existing(global) {
        Ok(session) => session,
        Err(_) => {
            // An archive that cannot be loaded leaves no empty cache behind.
            archive = checked(archive, args, &bar)?;
            Session::open(global)?
        }
    };
    let started = Instant::now();
    let loaded = session.cache.load(
        archive.reader(),
        load_options(args).on_progress(bar.watch()),
    );
    bar.clear();
    let hint = match &loaded {
        Err(Error::Checkpoint(_)) if !args.merge && !args.replace => present(&session.cache),
        _ => None,
    };
    let closed = session.cache.close();
    let report = loaded.with_context(|| match hint {
        Some(entries) => format!(
            "load: the store has {}: --merge adds to them, --replace deletes them",
            output::counted(entries, "entry", "entries")
        ),
        None => "load".into(),
    })?;
    closed?;
    let seconds = started.elapsed().as_secs_f64();
    out.result(
        || json::value(&json::Loaded::new(&report, seconds)),
        || report::load_text(&report, seconds),
    )?;
    Ok(0)
}

/// Refuses an archive that no store can load. A stream is copied to the temporary folder as far as
/// it proves to be an archive.
fn checked(archive: Opened, args: &Load, bar: &Bar) -> Result<Opened> {
    let again = |file: &File| file.try_clone().context(NO_ROOM);
    let (mut file, reader): (_, Box<dyn Read + Send>) = match archive {
        Opened::File(file) => (again(&file)?, Box::new(file)),
        Opened::Stream(stream) => {
            let file = tempfile::tempfile().context(NO_ROOM)?;
            let copied = stream.copied_to(again(&file)?);
            (file, Box::new(copied))
        }
    };
    let options = inspect_options(args.trust.max_expansion).on_progress(bar.watch());
    let checked = checkpoint::inspect(reader, options);
    bar.clear();
    checked.context("load")?;
    file.rewind().context(
        "load: cannot read the archive again; write it to a file on a local disk, and load that",
    )?;
    Ok(Opened::File(file))
}

/// `inspect`
pub fn inspect(out: Output, args: &Inspect) -> Result<u8> {
    let archive = open("inspect", &args.file, &args.trust)?.reader();
    let bar = Bar::new(out);
    let options = inspect_options(args.trust.max_expansion).on_progress(bar.watch());
    let summary = checkpoint::inspect(archive, options);
    bar.clear();
    let summary = summary.with_context(|| format!("inspect: {:?}", args.file))?;
    out.result(
        || report::summary_json(&summary),
        || report::summary_text(&summary),
    )?;
    Ok(0)
}

/// How to dump, from the options of the command line or of `serve`.
pub fn dump_options(portable: bool, zstd: bool, level: Option<u8>) -> DumpOptions {
    let mut options = DumpOptions::new();
    if portable {
        options = options.layout(Layout::Portable);
    }
    if zstd {
        options = options.compression(Compression::Zstd);
    }
    match level {
        Some(level) => options.level(level),
        None => options,
    }
}

fn inspect_options(max_expansion: Option<u32>) -> InspectOptions {
    let options = InspectOptions::new();
    match max_expansion {
        Some(times) => options.max_expansion(times),
        None => options,
    }
}

fn load_options(args: &Load) -> LoadOptions {
    let mut options = LoadOptions::new()
        .namespace_prefix(&args.prefix)
        .ttl(args.ttl);
    if args.merge {
        options = options.mode(ImportMode::Merge);
    }
    if args.replace {
        options = options.mode(ImportMode::Replace);
    }
    if !args.only.is_empty() {
        options = options.namespaces(&args.only);
    }
    if args.no_quotas || !args.quota.is_empty() {
        options = options.quotas(args.quota.clone());
    }
    if let Some(cap) = args.max_entries {
        options = options.max_entries(cap);
    }
    if let Some(times) = args.trust.max_expansion {
        options = options.max_expansion(times);
    }
    options
}

/// The number of entries, unless there are none.
fn present(cache: &SemanticCache) -> Option<u64> {
    let entries = cache.stats(None).ok()?.entries;
    (entries > 0).then_some(entries)
}

/// An archive to read.
enum Opened {
    File(File),
    /// What can be read only once, up to a limit.
    Stream(Stream),
}

impl Opened {
    fn reader(self) -> Box<dyn Read + Send> {
        match self {
            Self::File(file) => Box::new(file),
            Self::Stream(stream) => Box::new(stream),
        }
    }
}

fn open(command: &str, path: &Path, trust: &Trust) -> Result<Opened> {
    let no_typing = |is_terminal| match is_terminal {
        true => bail!("{command}: an archive cannot be typed; name a file, or pipe one in"),
        false => Ok(()),
    };
    if path == Path::new("-") {
        let stdin = io::stdin();
        no_typing(stdin.is_terminal())?;
        return Ok(Opened::Stream(Stream::new(stdin, trust)));
    }
    let file = File::open(path).with_context(|| format!("{command}: cannot open {path:?}"))?;
    no_typing(file.is_terminal())?;
    let kind = file
        .metadata()
        .with_context(|| format!("{command}: cannot read {path:?}"))?;
    if kind.is_dir() {
        bail!("{command}: {path:?} is a directory; name an archive");
    }
    Ok(match kind.is_file() {
        true => Opened::File(file),
        false => Opened::Stream(Stream::new(file, trust)),
    })
}

/// Progress, on standard error, if that is a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(out: Output) -> Self {
        Bar(progress::bar(out))
    }

    fn watch(&self) -> impl FnMut(Progress) + Send + use<> {
        let bar = self.0.clone();
        let mut shown = None;
        move |progress| {
            let kind = (progress.unit, progress.total.is_some());
            if shown != Some(kind) {
                shown = Some(kind);
                progress::style(&bar, template(kind));
            }
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.done);
        }
    }

    fn clear(&self) {
        self.0.finish_and_clear();
    }
}

fn template((unit, bounded): (Unit, bool)) -> &'static str {
    match (unit, bounded) {
        (Unit::Bytes, true) => progress::BYTES,
        (Unit::Bytes, false) => progress::BYTES_SO_FAR,
        (Unit::Entries, true) => progress::ENTRIES,
        (Unit::Entries, false) => progress::ENTRIES_SO_FAR,
    }
}
