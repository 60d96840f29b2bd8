//! This cache beside the Python library mneme-cache: same data, same machine, same run.
//!
//!     cargo bench --bench peer -- [--entries N] [--json]
//!
//! Either keeps the entries in a SQLite file of its own on disk. Phases alternate: a part
//! of ours, the same part of theirs, the next part of ours. Each side times its calls
//! inside its own process; starting the process and loading its code are not counted.

use mneme::checkpoint::{Compression, DumpOptions, LoadOptions};
use mneme::embedder::Precomputed;
use mneme::{GetRequest, PutRequest, SemanticCache, SqliteStore};
use mneme_tests::children::Running;
use mneme_tests::{kept_folder, python};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const DIM: usize = 384;
/// Into how many parts each phase is cut.
const PARTS: usize = 5;
const EXACT: usize = 1000;
const PUTS: usize = 400;
const SEMANTIC: usize = 40;
/// How often the whole cache is dumped and loaded.
const CHECKPOINTS: usize = 3;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Arguments {
    entries: usize,
    json: bool,
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut parsed = Arguments {
            entries: 100_000,
            json: false,
        };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match &*argument {
                "--entries" => {
                    let entries = arguments
                        .next()
                        .and_then(|n| n.replace('_', "").parse().ok());
                    parsed.entries = entries
                        .filter(|&n| n >= 10)
                        .ok_or("--entries takes a number from 10 up")?;
                }
                "--json" => parsed.json = true,
                // cargo says that this is a benchmark.
                "--bench" => {}
                other => {
                    return Err(format!(
                        "unknown argument {other}; there are --entries N and --json"
                    )
                    .into());
                }
            }
        }
        Ok(parsed)
    }
}

/// A small generator of pseudo-random numbers; the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// About normally distributed.
    fn normal(&mut self) -> f32 {
        let sum: u64 = (0..4).map(|_| self.next() >> 40).sum();
        (sum as f32 / (1 << 25) as f32 - 1.0) * 1.732
    }

    /// A direction, heavier in the first dimensions, as the spectrum of sentence vectors is.
    fn direction(&mut self) -> Vec<f32> {
        unit(
            (0..DIM)
                .map(|i| self.normal() / (1.0 + i as f32 / 64.0).sqrt())
                .collect(),
        )
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= norm);
    vector
}

/// `a` and `b` of unit length and about orthogonal, mixed to a cosine with `a`.
fn mix(a: &[f32], b: &[f32], cosine: f32) -> Vec<f32> {
    let rest = (1.0 - cosine * cosine).sqrt();
    unit(
        a.iter()
            .zip(b)
            .map(|(a, b)| cosine * a + rest * b)
            .collect(),
    )
}

/// What both sides work on: entries to fill in, entries to put, queries that hit, queries
/// that miss.
struct Data {
    entries: usize,
    vectors: Vec<Vec<f32>>,
}

impl Data {
    /// Entries lie in topics of about 50, with cosines of about 0.6 within a topic.
    /// Queries that hit have a cosine of about 0.94 with an entry; those that miss are
    /// further entries of the topics.
    fn new(entries: usize) -> Self {
        let random = &mut Random(0x9e37_79b9_7f4a_7c15);
        let common = random.direction();
        let topics: Vec<Vec<f32>> = (0..entries.div_ceil(50))
            .map(|_| mix(&random.direction(), &common, 0.95))
            .collect();
        let mut in_topic = |n: usize| mix(&topics[n % topics.len()], &random.direction(), 0.775);
        let stored = entries + PARTS * PUTS;
        let mut vectors: Vec<Vec<f32>> = (0..stored).map(&mut in_topic).collect();
        let random = &mut Random(7);
        for _ in 0..PARTS * SEMANTIC {
            let like = random.below(entries);
            let query = mix(&vectors[like], &random.direction(), 0.94);
            vectors.push(query);
        }
        vectors.extend(
            (0..PARTS * SEMANTIC)
                .map(|n| mix(&topics[n % topics.len()], &random.direction(), 0.775)),
        );
        Data { entries, vectors }
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = Vec::with_capacity(self.vectors.len() * DIM * 4);
        for value in self.vectors.iter().flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        Ok(std::fs::write(path, bytes)?)
    }

    fn puts(&self, part: usize) -> std::ops::Range<usize> {
        let first = self.entries + part * PUTS;
        first..first + PUTS
    }

    fn queries(&self, part: usize, hits: bool) -> std::ops::Range<usize> {
        let before = self.entries + PARTS * PUTS + if hits { 0 } else { PARTS * SEMANTIC };
        let first = before + part * SEMANTIC;
        first..first + SEMANTIC
    }
}

fn request(data: &Data, n: usize) -> PutRequest {
    PutRequest::new(format!("question number {n}"), format!("answer number {n}"))
        .embedding(data.vectors[n].clone())
}

/// Nanoseconds that a call takes.
fn timed<T>(call: impl FnOnce() -> mneme::Result<T>) -> Result<(u64, T)> {
    let start = Instant::now();
    let value = call()?;
    Ok((u64::try_from(start.elapsed().as_nanos())?, value))
}

/// This side.
struct Ours {
    path: PathBuf,
    cache: SemanticCache,
}

impl Ours {
    fn open(path: &Path) -> mneme::Result<SemanticCache> {
        let embedder = Precomputed::new("bench-1", DIM as u32);
        SemanticCache::builder()
            .store(SqliteStore::new(path))
            .embedder(embedder)
            .open()
    }

    fn reopen(&mut self, query: &str) -> Result<Vec<u64>> {
        self.cache.close()?;
        let (took, (cache, lookup)) = timed(|| {
            let cache = Self::open(&self.path)?;
            let lookup = cache.get(query)?;
            Ok((cache, lookup))
        })?;
        assert!(lookup.is_hit());
        self.cache = cache;
        Ok(vec![took])
    }

    fn put(&self, data: &Data, rows: std::ops::Range<usize>) -> Result<Vec<u64>> {
        rows.map(|n| {
            let request = request(data, n);
            Ok(timed(|| self.cache.put(request))?.0)
        })
        .collect()
    }

    fn exact(&self, rows: &[usize]) -> Result<Vec<u64>> {
        rows.iter()
            .map(|n| {
                let query = format!("question number {n}");
                let (took, lookup) = timed(|| self.cache.get(&query))?;
                assert_eq!(
                    lookup.hit().map(|hit| hit.response),
                    Some(format!("answer number {n}"))
                );
                Ok(took)
            })
            .collect()
    }

    fn semantic(&self, data: &Data, rows: std::ops::Range<usize>, hits: bool) -> Result<Vec<u64>> {
        rows.map(|n| {
            let request =
                GetRequest::new(format!("reworded {n}")).embedding(data.vectors[n].clone());
            let (took, lookup) = timed(|| self.cache.get(request))?;
            assert_eq!(lookup.is_hit(), hits, "query {n}: {lookup:?}");
            Ok(took)
        })
        .collect()
    }
}

/// A way to dump, by the name of its row and that of loading what it makes.
type Dump = (&'static str, &'static str, fn() -> DumpOptions);

/// The peer's archive is gzip at level 9, so that is one of them.
const DUMPS: [Dump; 4] = [
    ("dump (gzip 1)", "load (gzip 1)", DumpOptions::new),
    ("dump (gzip 6)", "load (gzip 6)", || {
        DumpOptions::new().level(6)
    }),
    ("dump (gzip 9)", "load (gzip 9)", || {
        DumpOptions::new().level(9)
    }),
    ("dump (zstd)", "load (zstd)", || {
        DumpOptions::new().compression(Compression::Zstd)
    }),
];

/// Each side dumps its cache and loads that into a new one, up to the first exact hit.
fn checkpoints(data: &Data, dir: &Path, ours: &Ours, theirs: &mut Theirs) -> Result<Vec<Row>> {
    let random = &mut Random(5);
    let mut rows: Vec<Row> = DUMPS
        .iter()
        .flat_map(|(dump, load, _)| [Row::new(dump), Row::new(load)])
        .collect();
    for part in 0..CHECKPOINTS {
        eprintln!("checkpoint {} of {CHECKPOINTS}", part + 1);
        let query = format!("question number {}", random.below(data.entries));
        let archive = dir.join("theirs.tar.gz");
        let their_dump = theirs.time("dump", json!({"archive": archive}))?;
        let path = dir.join(format!("theirs-{part}.db"));
        let ask = json!({"archive": archive, "path": path, "query": query});
        let their_load = theirs.time("load", ask)?;
        remove_database(&path)?;
        for (rows, (_, _, options)) in rows.chunks_exact_mut(2).zip(DUMPS) {
            let archive = dir.join("ours.archive");
            let file = File::create(&archive)?;
            let (took, _) = timed(|| ours.cache.dump(file, options()))?;
            rows[0].add(vec![took], their_dump.clone());
            let path = dir.join("ours-loaded.db");
            let file = File::open(&archive)?;
            let (took, cache) = timed(|| {
                let cache = Ours::open(&path)?;
                cache.load(file, LoadOptions::new())?;
                assert!(cache.get(query.as_str())?.is_hit());
                Ok(cache)
            })?;
            rows[1].add(vec![took], their_load.clone());
            cache.close()?;
            remove_database(&path)?;
        }
    }
    Ok(rows)
}

fn remove_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// The other side.
struct Theirs(Running);

impl Theirs {
    fn call(&mut self, name: &str, arguments: Value) -> Result<Value> {
        self.0.tell(&json!([name, arguments]).to_string());
        let line = self
            .0
            .line()
            .ok_or("the peer has ended; see its message above")?;
        Ok(serde_json::from_str(&line)?)
    }

    fn time(&mut self, name: &str, arguments: Value) -> Result<Vec<u64>> {
        Ok(serde_json::from_value(self.call(name, arguments)?)?)
    }
}

/// What one operation took on both sides, in nanoseconds.
struct Row {
    name: &'static str,
    ours: Vec<u64>,
    theirs: Vec<u64>,
}

impl Row {
    fn new(name: &'static str) -> Self {
        Row {
            name,
            ours: Vec::new(),
            theirs: Vec::new(),
        }
    }

    fn add(&mut self, ours: Vec<u64>, theirs: Vec<u64>) {
        self.ours.extend(ours);
        self.theirs.extend(theirs);
    }
}

/// The value that this share of the values does not exceed, in microseconds.
fn quantile(times: &[u64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (share * sorted.len() as f64).ceil() as usize;
    sorted
        .get(at.saturating_sub(1))
        .map_or(f64::NAN, |&nanos| nanos as f64 / 1000.0)
}

fn main() -> Result<()> {
    let arguments = Arguments::parse()?;
    let python = python::peer()?;
    let dir = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(kept_folder())?;
    let vectors = dir.path().join("vectors.f32");

    eprintln!("making {} vectors", arguments.entries);
    let data = Data::new(arguments.entries);
    data.write(&vectors)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peer.py");
    let mut theirs = Theirs(Running::start(Command::new(python).arg(script)));
    let start = json!({"path": dir.path().join("theirs.db"), "vectors": vectors, "dim": DIM});
    let versions: Vec<String> = serde_json::from_value(theirs.call("start", start)?)?;
    let path = dir.path().join("ours.db");
    let mut ours = Ours {
        cache: Ours::open(&path)?,
        path,
    };

    let mut rows = measure(&data, &mut ours, &mut theirs)?;
    rows.extend(checkpoints(&data, dir.path(), &ours, &mut theirs)?);
    ours.cache.close()?;
    theirs.call("close", json!({}))?;
    theirs.0.finish();
    if arguments.json {
        print_json(&arguments, &versions, &rows);
    } else {
        print_table(&arguments, &versions, &rows);
    }
    Ok(())
}

fn measure(data: &Data, ours: &mut Ours, theirs: &mut Theirs) -> Result<Vec<Row>> {
    let random = &mut Random(99);
    eprintln!("filling both");
    for start in (0..data.entries).step_by(1000) {
        let rows = start..(start + 1000).min(data.entries);
        ours.cache
            .put_many(rows.map(|n| request(data, n)).collect())?;
    }
    theirs.call("open", json!({}))?;
    theirs.call("put", json!({"first": 0, "count": data.entries}))?;

    let mut open = Row::new("open to first exact hit");
    let mut exact = Row::new("exact hit");
    let mut put = Row::new("put");
    let mut first = Row::new("open to first semantic");
    let mut hit = Row::new("semantic hit");
    let mut miss = Row::new("semantic miss");
    for part in 0..PARTS {
        eprintln!("part {} of {PARTS}", part + 1);
        let query = format!("question number {}", random.below(data.entries));
        theirs.call("close", json!({}))?;
        let opened = (
            ours.reopen(&query)?,
            theirs.time("reopen", json!({"query": query}))?,
        );
        let rows: Vec<usize> = (0..EXACT).map(|_| random.below(data.entries)).collect();
        exact.add(
            ours.exact(&rows)?,
            theirs.time("exact", json!({"rows": rows}))?,
        );
        let rows = data.queries(part, true);
        let ask = |rows: std::ops::Range<usize>, hits| json!({"rows": rows.collect::<Vec<_>>(), "hits": hits});
        let one = rows.start..rows.start + 1;
        // One side reads its vectors when it is opened, the other when it needs them.
        let asked = (
            ours.semantic(data, one.clone(), true)?,
            theirs.time("semantic", ask(one, true))?,
        );
        first.add(sums(&opened.0, &asked.0), sums(&opened.1, &asked.1));
        open.add(opened.0, opened.1);
        hit.add(
            ours.semantic(data, rows.clone(), true)?,
            theirs.time("semantic", ask(rows, true))?,
        );
        let rows = data.queries(part, false);
        miss.add(
            ours.semantic(data, rows.clone(), false)?,
            theirs.time("semantic", ask(rows, false))?,
        );
        // With the index of either side in memory, which a put has to keep up.
        let rows = data.puts(part);
        let ask = json!({"first": rows.start, "count": rows.len()});
        put.add(ours.put(data, rows)?, theirs.time("put", ask)?);
    }
    Ok(vec![open, first, exact, put, hit, miss])
}

fn sums(a: &[u64], b: &[u64]) -> Vec<u64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        "{}, {cores} cores, {os} {arch}",
        model.unwrap_or("unknown processor")
    )
}

fn ours_versions() -> String {
    format!(
        "mneme {}, SQLite {}",
        env!("CARGO_PKG_VERSION"),
        rusqlite::version()
    )
}

fn print_table(arguments: &Arguments, versions: &[String], rows: &[Row]) {
    println!(
        "{} entries of {DIM} dimensions, SQLite on disk; microseconds",
        arguments.entries
    );
    println!("machine: {}", machine());
    println!("ours:    {}", ours_versions());
    println!("peer:    {}", versions.join(", "));
    println!();
    println!(
        "{:<24} {:>12} {:>12} {:>12} {:>12} {:>11}",
        "", "ours p50", "ours p99", "peer p50", "peer p99", "peer/ours"
    );
    for row in rows {
        let (ours, theirs) = (quantile(&row.ours, 0.5), quantile(&row.theirs, 0.5));
        println!(
            "{:<24} {:>12.1} {:>12.1} {:>12.1} {:>12.1} {:>10.1}x",
            row.name,
            ours,
            quantile(&row.ours, 0.99),
            theirs,
            quantile(&row.theirs, 0.99),
            theirs / ours
        );
    }
}

fn print_json(arguments: &Arguments, versions: &[String], rows: &[Row]) {
    let side = |times: &[u64]| json!({"calls": times.len(), "p50_us": quantile(times, 0.5), "p99_us": quantile(times, 0.99)});
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let ratio = quantile(&row.theirs, 0.5) / quantile(&row.ours, 0.5);
            json!({"operation": row.name, "ours": side(&row.ours), "peer": side(&row.theirs), "peer_over_ours": ratio})
        })
        .collect();
    let report = json!({
        "entries": arguments.entries,
        "dimensions": DIM,
        "machine": machine(),
        "ours": ours_versions(),
        "peer": versions,
        "operations": rows,
    });
    println!("{report:#}");
}
