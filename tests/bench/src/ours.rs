//! Our side: a cache with one kind of index.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mneme::embedder::Precomputed;
use mneme::{GetRequest, IndexKind, PutRequest, SemanticCache, VectorDtype, store};

use crate::corpus::{Corpus, Query};
use crate::peer::Lookups;
use crate::tally::{Side, Work};
use crate::{Progress, THRESHOLD};

/// What one `put_many` stores while filling.
const BATCH: usize = 1000;
/// Look-ups that precede those that count, as the peers have them.
const WARM: usize = 10;
/// The most memory a component can have: 4 GiB.
const MEMORY: usize = 1 << 32;
/// The longest that reading a large index may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// How the cache of a measurement is made.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    pub dim: usize,
    pub dtype: VectorDtype,
    pub index: IndexKind,
}

impl Settings {
    /// Opens the cache of a file, or of memory.
    pub fn open(self, file: Option<&Path>, persist: bool) -> Result<SemanticCache> {
        let url = match file {
            Some(path) => format!("sqlite:{}", path.display()),
            None => "memory:".into(),
        };
        let cache = SemanticCache::builder()
            .boxed_store(store::from_url(&url).map_err(mneme::Error::from)?)
            .embedder(Precomputed::new("bench-1", self.dim as u32))
            .similarity_threshold(THRESHOLD as f32)
            .vector_dtype(self.dtype)
            .index(self.index)
            .persist_index(persist)
            .memory_limit(MEMORY)
            .call_timeout(TIMEOUT)
            .open()
            .with_context(|| format!("bench: {url}"))?;
        Ok(cache)
    }
}

/// Where our entries are.
#[derive(Debug, Clone)]
pub struct Files {
    /// With the index persisted beside the entries.
    pub persisted: PathBuf,
    /// With entries alone.
    pub plain: PathBuf,
}

/// A cache that is filled, with its index built.
pub struct Ours {
    pub side: Side,
    pub settings: Settings,
    pub files: Option<Files>,
    pub cache: SemanticCache,
    namespaces: Option<usize>,
}

impl Ours {
    /// Fills a cache and builds its index. Without files it is in memory.
    pub fn fill(
        name: &str,
        settings: Settings,
        files: Option<Files>,
        corpus: &Corpus,
        namespaces: Option<usize>,
        progress: &Progress,
    ) -> Result<Self> {
        let plain = files.as_ref().map(|files| &*files.plain);
        let mut cache = settings.open(plain, false)?;
        for first in (0..corpus.entries).step_by(BATCH) {
            let rows = first..(first + BATCH).min(corpus.entries);
            let requests: Result<Vec<PutRequest>> = rows
                .map(|n| Ok(request(corpus, n)?.namespace(namespace(n, namespaces))))
                .collect();
            cache.put_many(requests?)?;
            progress.step(&format!("filling ours ({name}), {first} entries"));
        }
        if let Some(files) = &files {
            cache.close()?;
            std::fs::copy(&files.plain, &files.persisted)
                .with_context(|| format!("bench: cannot write {:?}", files.persisted))?;
        }
        progress.step(&format!("building our index ({name})"));
        let start = Instant::now();
        if let Some(files) = &files {
            cache = settings.open(Some(&files.persisted), true)?;
        }
        if settings.index == IndexKind::Hnsw {
            build_graphs(&cache)?;
        }
        cache.warm_up()?;
        let took = nanos(start);
        let mut side = Side::new(name);
        side.add(Work::Build, [took]);
        side.memory = Some(cache.stats(None)?.index_bytes);
        Ok(Self {
            side,
            settings,
            files,
            cache,
            namespaces,
        })
    }

    /// Exact look-ups of entries.
    pub fn exact(&mut self, rows: &[usize]) -> Result<()> {
        let mut times = Vec::with_capacity(rows.len());
        for n in rows.iter().take(WARM).chain(rows) {
            let request = GetRequest::new(question(*n));
            let (took, lookup) = timed(|| self.cache.get(request))?;
            let hit = lookup.hit();
            anyhow::ensure!(
                hit.is_some_and(|hit| hit.response == format!("answer number {n}")),
                "bench: entry {n} was not found again by its query"
            );
            times.push(took);
        }
        let warm = rows.len().min(WARM);
        self.side.add(Work::ExactHit, times.split_off(warm));
        Ok(())
    }

    /// Semantic look-ups.
    pub fn look_up(&self, queries: &[Query], tenant: usize) -> Result<Lookups> {
        let mut lookups = Lookups {
            times: Vec::with_capacity(queries.len()),
            found: Vec::with_capacity(queries.len()),
        };
        for query in queries.iter().take(WARM).chain(queries) {
            let request = semantic(query).namespace(namespace(tenant, self.namespaces));
            let (took, lookup) = timed(|| self.cache.get(request))?;
            let number = lookup.hit().and_then(|hit| {
                let number = hit.response.rsplit(' ').next()?;
                number.parse().ok()
            });
            lookups.times.push(took);
            lookups.found.push(number);
        }
        let warm = queries.len().min(WARM);
        lookups.times.drain(..warm);
        lookups.found.drain(..warm);
        Ok(lookups)
    }

    /// Puts the entries of these rows.
    pub fn put(&mut self, corpus: &Corpus, rows: std::ops::Range<usize>) -> Result<()> {
        for n in rows {
            let request = request(corpus, n)?;
            let (took, _) = timed(|| self.cache.put(request))?;
            self.side.add(Work::Put, [took]);
        }
        Ok(())
    }

    /// Opens each file again, up to its first answer. The cache must be closed.
    pub fn open(&mut self, exact: usize, query: &Query) -> Result<()> {
        let Some(files) = self.files.clone() else {
            return Ok(());
        };
        let settings = self.settings;
        let text = question(exact);
        let works: [(Work, &Path, bool, GetRequest); 3] = [
            (Work::OpenExact, &files.persisted, true, text.into()),
            (Work::OpenPersisted, &files.persisted, true, semantic(query)),
            (Work::Open, &files.plain, false, semantic(query)),
        ];
        for (work, file, persist, request) in works {
            let start = Instant::now();
            let cache = settings.open(Some(file), persist)?;
            cache.get(request)?;
            let took = nanos(start);
            cache.close()?;
            self.side.add(work, [took]);
        }
        Ok(())
    }

    /// Opens the cache again, with its index complete.
    pub fn reopen(&mut self) -> Result<()> {
        if let Some(files) = &self.files {
            self.cache = self.settings.open(Some(&files.persisted), true)?;
            self.cache.warm_up()?;
        }
        Ok(())
    }

    /// Closes the cache where it can be opened again.
    pub fn close(&self) -> Result<()> {
        if self.files.is_some() {
            self.cache.close()?;
        }
        Ok(())
    }
}

/// Puts all rows into graphs that can be.
fn build_graphs(cache: &SemanticCache) -> Result<()> {
    let mut rows = None;
    loop {
        cache.compact()?;
        let now = Some(cache.stats(None)?.index_graph_rows);
        if now == rows {
            return Ok(());
        }
        rows = now;
    }
}

/// The stored question of a row. Vetoes compare its words with those of a look-up, and find nothing
/// against it.
pub fn question(row: usize) -> String {
    format!("what is known about {}", name(row))
}

/// A word for a row.
fn name(row: usize) -> String {
    let (consonants, vowels) = (b"bdfgklmnprstvz", b"aeiou");
    let mut rest = row;
    let mut syllable = || {
        let (consonant, vowel) = (rest % 14, rest / 14 % 5);
        rest /= 70;
        [char::from(consonants[consonant]), char::from(vowels[vowel])]
    };
    (0..4).flat_map(|_| syllable()).collect()
}

fn request(corpus: &Corpus, n: usize) -> Result<PutRequest> {
    let (query, response) = (question(n), format!("answer number {n}"));
    Ok(PutRequest::new(query, response).embedding(corpus.vector(n)?))
}

fn semantic(query: &Query) -> GetRequest {
    GetRequest::new(format!("what do people say of {}", name(query.row)))
        .embedding(query.vector.clone())
}

/// The namespace of an entry, as the peers have it.
fn namespace(n: usize, namespaces: Option<usize>) -> String {
    namespaces.map_or_else(
        || mneme::DEFAULT_NAMESPACE.to_owned(),
        |namespaces| format!("tenant-{}", n % namespaces),
    )
}

/// Nanoseconds that a call takes.
pub fn timed<T>(call: impl FnOnce() -> mneme::Result<T>) -> Result<(u64, T)> {
    let start = Instant::now();
    let value = call()?;
    Ok((nanos(start), value))
}

/// Nanoseconds since then.
pub fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
