//! Measuring ours and the peers in turns.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mneme::VectorDtype;
use mneme::checkpoint::{Compression, DumpOptions, LoadOptions};
use serde_json::{Map, Value, json};

use crate::args::{self, Dtype, Suite};
use crate::corpus::{Corpus, part};
use crate::ours::{Files, Ours, Settings, nanos, question, timed};
use crate::peer::Kind;
use crate::rivals::{Rival, Rivals, Start, judge, right};
use crate::tally::{Archive, Cell, Work};
use crate::vectors::seeded;
use crate::{PARTS, Plan, Progress};

/// Exact look-ups of a part.
const EXACT: usize = 1000;
/// How often caches are opened, and archives written and read.
const OPENS: usize = 5;
const CHECKPOINTS: usize = 3;

/// What every cell of a run shares.
pub struct Contest<'a> {
    pub plan: &'a Plan,
    /// None where no peer takes part.
    pub python: Option<&'a Path>,
    pub progress: &'a Progress,
    pub notes: Vec<String>,
    pub versions: Map<String, Value>,
}

impl Contest<'_> {
    /// All suites on one corpus with one dtype; files go into `folder`.
    pub fn run(&mut self, corpus: &Corpus, dtype: Dtype, folder: &Path) -> Result<Vec<Cell>> {
        let wants = |suite| self.plan.suites.contains(&suite);
        let mut cells = Vec::new();
        if [Suite::Lookup, Suite::Open, Suite::Checkpoint]
            .into_iter()
            .any(wants)
        {
            cells.push(self.alone(corpus, dtype, folder)?);
        }
        if self.plan.suites.contains(&Suite::Tenants) {
            cells.push(self.tenants(corpus, dtype, folder)?);
        }
        Ok(cells)
    }

    fn ours(
        &self,
        corpus: &Corpus,
        dtype: Dtype,
        folder: &Path,
        namespaces: Option<usize>,
    ) -> Result<Vec<Ours>> {
        let mut ours = Vec::new();
        for &kind in &self.plan.kinds {
            let name = kind_name(kind);
            let settings = Settings {
                dim: corpus.dim,
                dtype: dtype.into(),
                index: kind.into(),
            };
            let files = (!self.plan.in_memory).then(|| Files {
                persisted: folder.join(format!("ours-{name}.db")),
                plain: folder.join(format!("ours-{name}-plain.db")),
            });
            ours.push(Ours::fill(
                name,
                settings,
                files,
                corpus,
                namespaces,
                self.progress,
            )?);
        }
        Ok(ours)
    }

    /// All entries in one namespace.
    fn alone(&mut self, corpus: &Corpus, dtype: Dtype, folder: &Path) -> Result<Cell> {
        let (plan, progress) = (self.plan, self.progress);
        let wants = |suite| plan.suites.contains(&suite);
        let folder = tempfile::tempdir_in(folder).context("bench: cannot make a folder")?;
        let folder = folder.path();
        let mut ours = self.ours(corpus, dtype, folder, None)?;
        let mut rivals = Rivals::none(plan.required, &mut self.notes);
        if let Some(python) = self.python {
            let start = Start {
                python,
                kinds: &plan.peers,
                corpus,
                folder,
                dtype: VectorDtype::from(dtype).name(),
                namespaces: None,
                opens: wants(Suite::Open),
            };
            rivals.start(&start, &mut self.versions, progress)?;
        }
        if wants(Suite::Lookup) {
            look_up(corpus, &mut ours, &mut rivals, progress)?;
        }
        for ours in &ours {
            ours.close()?;
        }
        if wants(Suite::Open) && !plan.in_memory {
            let random = &mut seeded(11, corpus.entries);
            for number in 0..OPENS {
                progress.step(&format!("opening, {} of {OPENS}", number + 1));
                let exact = random.usize(..corpus.entries);
                let query = &corpus.hits[number % corpus.hits.len()];
                for ours in &mut ours {
                    ours.open(exact, query)?;
                }
                // The first opening of theirs has been counted.
                if number > 0 {
                    rivals.each(|rival| rival.reopen(exact, query))?;
                }
            }
        }
        for ours in &mut ours {
            ours.reopen()?;
        }
        if wants(Suite::Lookup) {
            for number in 0..PARTS {
                progress.step(&format!("putting, part {} of {PARTS}", number + 1));
                for ours in &mut ours {
                    ours.put(corpus, corpus.puts(number))?;
                }
                rivals.each(|rival| rival.put(corpus.puts(number)))?;
            }
        }
        if wants(Suite::Checkpoint) {
            checkpoints(corpus, &mut ours[0], &mut rivals, folder, progress)?;
        }
        finish(corpus, dtype, None, ours, rivals)
    }

    /// The entries in many namespaces.
    fn tenants(&mut self, corpus: &Corpus, dtype: Dtype, folder: &Path) -> Result<Cell> {
        let (plan, progress) = (self.plan, self.progress);
        let folder = tempfile::tempdir_in(folder).context("bench: cannot make a folder")?;
        let folder = folder.path();
        let namespaces = Some(corpus.namespaces);
        let mut ours = self.ours(corpus, dtype, folder, namespaces)?;
        let mut rivals = Rivals::none(plan.required, &mut self.notes);
        let caches: Vec<Kind> = plan
            .peers
            .iter()
            .copied()
            .filter(|k| k.is_cache())
            .collect();
        if let Some(python) = self.python {
            let start = Start {
                python,
                kinds: &caches,
                corpus,
                folder,
                dtype: VectorDtype::from(dtype).name(),
                namespaces,
                opens: false,
            };
            rivals.start(&start, &mut self.versions, progress)?;
        }
        for number in 0..PARTS {
            progress.step(&format!("asking tenants, part {} of {PARTS}", number + 1));
            let tenant = &corpus.tenants[number];
            for ours in &mut ours {
                let lookups = ours.look_up(&tenant.hits, tenant.number)?;
                judge(
                    &mut ours.side,
                    Work::TenantHit,
                    corpus,
                    &tenant.hits,
                    &lookups,
                )?;
                ours.side.add(Work::TenantHit, lookups.times);
            }
            rivals.each(|rival| rival.tenant(corpus, number))?;
        }
        finish(corpus, dtype, namespaces, ours, rivals)
    }
}

fn finish(
    corpus: &Corpus,
    dtype: Dtype,
    namespaces: Option<usize>,
    ours: Vec<Ours>,
    rivals: Rivals<'_>,
) -> Result<Cell> {
    let mut sides = Vec::new();
    for ours in ours {
        ours.cache.close()?;
        sides.push(ours.side);
    }
    Ok(Cell {
        entries: corpus.entries,
        dim: corpus.dim,
        dtype: VectorDtype::from(dtype).name(),
        namespaces,
        ours: sides,
        peers: rivals.finish(),
    })
}

fn look_up(
    corpus: &Corpus,
    ours: &mut [Ours],
    rivals: &mut Rivals<'_>,
    progress: &Progress,
) -> Result<()> {
    // Not timed: what peers have to match.
    progress.step("comparing answers");
    let mut recall = 0.0;
    for ours in &*ours {
        let found = ours.look_up(&corpus.hits, 0)?.found;
        let right = right(corpus, &corpus.hits, &found)? as f64;
        recall = f64::max(recall, right / corpus.hits.len() as f64);
    }
    rivals.each(|rival| rival.match_recall(corpus, recall))?;
    let random = &mut seeded(12, corpus.entries);
    for number in 0..PARTS {
        progress.step(&format!("looking up, part {} of {PARTS}", number + 1));
        let rows: Vec<usize> = (0..EXACT).map(|_| random.usize(..corpus.entries)).collect();
        for ours in &mut *ours {
            ours.exact(&rows)?;
        }
        rivals.each(|rival| rival.exact(&rows))?;
        for work in [Work::SemanticHit, Work::SemanticMiss] {
            let queries = match work {
                Work::SemanticHit => part(&corpus.hits, number),
                _ => part(&corpus.misses, number),
            };
            for ours in &mut *ours {
                let lookups = ours.look_up(queries, 0)?;
                if work == Work::SemanticHit {
                    judge(&mut ours.side, work, corpus, queries, &lookups)?;
                }
                ours.side.add(work, lookups.times);
            }
            rivals.each(|rival| rival.semantic(corpus, work, number, 0))?;
        }
        // Not right after the first side, which leaves the memory of the same queries warm.
        for work in [Work::SemanticHit, Work::SemanticMiss] {
            rivals.each(|rival| rival.semantic(corpus, work, number, 1))?;
        }
    }
    Ok(())
}

/// Dumps a cache and loads that into a new one, up to the first exact hit.
fn checkpoints(
    corpus: &Corpus,
    ours: &mut Ours,
    rivals: &mut Rivals<'_>,
    folder: &Path,
    progress: &Progress,
) -> Result<()> {
    let random = &mut seeded(13, corpus.entries);
    for number in 0..CHECKPOINTS {
        progress.step(&format!("checkpoints, {} of {CHECKPOINTS}", number + 1));
        let exact = random.usize(..corpus.entries);
        for archive in Archive::ALL {
            checkpoint(ours, archive, folder, exact)?;
        }
        rivals.each(|rival| their_checkpoint(rival, folder, exact))?;
    }
    Ok(())
}

fn checkpoint(ours: &mut Ours, archive: Archive, folder: &Path, exact: usize) -> Result<()> {
    let options = match archive {
        Archive::Gzip(level) => DumpOptions::new().level(level),
        Archive::Zstd => DumpOptions::new().compression(Compression::Zstd),
    };
    let path = folder.join("ours.archive");
    let named = || format!("bench: {path:?}");
    let file = File::create(&path).with_context(named)?;
    let (took, _) = timed(|| ours.cache.dump(file, options))?;
    ours.side.add(Work::Dump(archive), [took]);
    // The database has several files; its folder is deleted with all of them.
    let loaded = tempfile::tempdir_in(folder).context("bench: cannot make a folder")?;
    let store = loaded.path().join("loaded.db");
    let store = ours.files.is_some().then_some(&*store);
    let file = File::open(&path).with_context(named)?;
    let start = Instant::now();
    let cache = ours.settings.open(store, true)?;
    cache.load(file, LoadOptions::new())?;
    let found = cache.get(question(exact))?.is_hit();
    let took = nanos(start);
    ensure!(found, "bench: entry {exact} was not found after loading");
    ours.side.add(Work::Load(archive), [took]);
    cache.close()?;
    Ok(())
}

/// mneme-cache has one format, whatever the index is.
fn their_checkpoint(rival: &mut Rival, folder: &Path, exact: usize) -> Result<()> {
    if rival.peer.kind != Kind::MnemeCache {
        return Ok(());
    }
    let archive = folder.join("theirs.tar.gz");
    let loaded = tempfile::tempdir_in(folder).context("bench: cannot make a folder")?;
    let dump: u64 = rival.peer.call("dump", json!({"archive": archive}))?;
    let arguments =
        json!({"archive": archive, "path": loaded.path().join("loaded.db"), "exact": exact});
    let load: u64 = rival.peer.call("restore", arguments)?;
    for archive in Archive::ALL {
        rival.sides[0].add(Work::Dump(archive), [dump]);
        rival.sides[0].add(Work::Load(archive), [load]);
    }
    Ok(())
}

/// The name of a kind of index.
pub fn kind_name(kind: args::Kind) -> &'static str {
    match kind {
        args::Kind::Auto => "auto",
        args::Kind::Exact => "exact",
        args::Kind::Hnsw => "hnsw",
    }
}
