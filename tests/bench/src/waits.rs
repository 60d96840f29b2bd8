//! How long a caller waits while another caller's work is under way.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mneme::embedder::Precomputed;
use mneme::{Coordination, GetRequest, PutRequest, SemanticCache, Ttl, VectorDtype, store};
use serde_json::{Value, json};

use crate::vectors::Generator;
use crate::{Progress, THRESHOLD};

/// What one `put_many` stores while filling.
const BATCH: usize = 1000;
/// How many entries the other caller asks for.
const ASKED: usize = 1000;
/// Entries that expire, that a namespace of its own holds, or that are too many.
const SOME: usize = 20_000;
/// The most memory a component can have: 4 GiB.
const MEMORY: usize = 1 << 32;
/// The longest that reading a large index may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// The waits at one number of entries.
pub struct Waits {
    pub entries: usize,
    pub dim: usize,
    pub works: Vec<Wait>,
}

/// One kind of work, and what it did to others.
pub struct Wait {
    /// The work of the one caller.
    pub work: &'static str,
    /// How often it was done, and how long one took at most.
    pub calls: usize,
    pub longest_call: Duration,
    /// The exact look-ups of the other caller meanwhile, and the longest that one took.
    pub others: u64,
    pub longest_wait: Duration,
    /// How much the processor worked for the work during one of these look-ups, at most. Unlike
    /// the wait, it does not depend on what else the machine does. Linux counts it in
    /// milliseconds; 0 elsewhere.
    pub longest_wait_cpu: Duration,
}

impl Waits {
    pub fn json(&self) -> Vec<Value> {
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let works = self.works.iter().map(|wait| {
            json!({
                "work": wait.work,
                "entries": self.entries,
                "dims": self.dim,
                "calls": wait.calls,
                "longest_call_ms": millis(wait.longest_call),
                "exact_hits_meanwhile": wait.others,
                "longest_wait_ms": millis(wait.longest_wait),
                "longest_wait_cpu_ms": millis(wait.longest_wait_cpu),
            })
        });
        works.collect()
    }

    /// The table's lines: work, calls, longest call, look-ups meanwhile, longest wait, and what
    /// the processor did for the work in it.
    pub fn lines(&self) -> impl Iterator<Item = [String; 6]> {
        let millis = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        self.works.iter().map(move |wait| {
            [
                wait.work.to_owned(),
                wait.calls.to_string(),
                millis(wait.longest_call),
                wait.others.to_string(),
                millis(wait.longest_wait),
                millis(wait.longest_wait_cpu),
            ]
        })
    }
}

/// Fills a SQLite file, and measures an exact look-up's waits beside each kind of work.
pub fn measure(
    generator: &Generator,
    entries: usize,
    dim: usize,
    folder: &Path,
    progress: &Progress,
) -> Result<Waits> {
    let file = folder.join("waits.db");
    let cache = open(&file, dim, None)?;
    let put = |n: usize, namespace: &str, ttl: Ttl| -> Result<PutRequest> {
        Ok(
            PutRequest::new(format!("question {n}"), format!("answer {n}"))
                .namespace(namespace)
                .ttl(ttl)
                .embedding(generator.row(n % entries)?),
        )
    };
    let fill = |count: usize, namespace: &str, ttl: Ttl| -> Result<()> {
        for start in (0..count).step_by(BATCH) {
            progress.step(&format!("filling {namespace}: {start} of {count}"));
            let batch: Result<Vec<_>> = (start..count.min(start + BATCH))
                .map(|n| put(n, namespace, ttl))
                .collect();
            cache.put_many(batch?)?;
        }
        Ok(())
    };
    fill(entries, "default", Ttl::Inherit)?;
    fill(SOME, "other", Ttl::Inherit)?;

    let other = open(&file, dim, None)?;
    let ask = |n: usize| -> Result<GetRequest> {
        Ok(GetRequest::new(format!("unlike {n}")).embedding(generator.row(n)?))
    };
    let mut works = Vec::new();
    let mut measure = |work, calls: usize, call: &mut dyn FnMut(usize) -> Result<()>| {
        progress.step(work);
        works.push(beside(&cache, work, calls, call)?);
        anyhow::Ok(())
    };
    measure("nothing", 1, &mut |_| {
        thread::sleep(Duration::from_secs(1));
        Ok(())
    })?;
    measure("first look-up, index from vectors", 1, &mut |n| {
        cache.get(ask(n)?).map(drop).map_err(Into::into)
    })?;
    measure("warm_up", 1, &mut |_| {
        cache.warm_up().map(drop).map_err(Into::into)
    })?;
    measure("flush with the index", 1, &mut |_| {
        cache.flush().map_err(Into::into)
    })?;
    measure("semantic look-up", 200, &mut |n| {
        cache.get(ask(n)?).map(drop).map_err(Into::into)
    })?;
    measure("put", 200, &mut |n| {
        cache.put(put(entries + n, "default", Ttl::Inherit)?)?;
        Ok(())
    })?;
    measure("put_many of 1,000", 3, &mut |n| {
        let batch = (n * BATCH..(n + 1) * BATCH).map(|n| put(entries + n, "batch", Ttl::Inherit));
        cache.put_many(batch.collect::<Result<_>>()?)?;
        Ok(())
    })?;
    measure("get_many of 100, semantic", 1, &mut |_| {
        let batch = (0..100).map(&ask).collect::<Result<_>>()?;
        cache.get_many(batch).map(drop).map_err(Into::into)
    })?;
    measure("stats", 3, &mut |_| {
        cache.stats(None).map(drop).map_err(Into::into)
    })?;
    measure("list_namespaces", 3, &mut |_| {
        cache.list_namespaces().map(drop).map_err(Into::into)
    })?;
    measure("health", 3, &mut |_| {
        cache.health(false).map(drop).map_err(Into::into)
    })?;
    measure("vacuum with nothing to do", 3, &mut |_| {
        cache.vacuum(None, false).map(drop).map_err(Into::into)
    })?;
    fill(SOME, "brief", Ttl::Seconds(0))?;
    measure("vacuum of 20,000 expired entries", 1, &mut |_| {
        cache.vacuum(None, false).map(drop).map_err(Into::into)
    })?;
    measure("look-up after another process has put", 100, &mut |n| {
        other.put(put(entries + 10_000 + n, "default", Ttl::Inherit)?)?;
        cache.get(ask(n)?).map(drop).map_err(Into::into)
    })?;
    fill(SOME, "other", Ttl::Inherit)?;
    cache.set_namespace_quota("other", Some(SOME as u64 / 2))?;
    measure("put over a quota by 10,000", 100, &mut |n| {
        cache.put(put(SOME + n, "other", Ttl::Inherit)?)?;
        Ok(())
    })?;
    fill(SOME, "brief", Ttl::Seconds(0))?;
    measure("vacuum of 20,000 and compact", 1, &mut |_| {
        cache.vacuum(None, true).map(drop).map_err(Into::into)
    })?;
    // In every block of the index; the other caller asks for the first 1,000.
    for n in (ASKED..entries).step_by((entries / SOME).max(2)) {
        cache.delete(&format!("question {n}"), "default")?;
    }
    measure("compact, dead rows in all blocks", 1, &mut |_| {
        cache.compact().map(drop).map_err(Into::into)
    })?;
    measure("compact with nothing to do", 1, &mut |_| {
        cache.compact().map(drop).map_err(Into::into)
    })?;
    measure("reopen", 1, &mut |_| cache.reopen().map_err(Into::into))?;
    measure("first look-up after reopen", 1, &mut |n| {
        cache.get(ask(n)?).map(drop).map_err(Into::into)
    })?;
    measure("clear of 10,000 entries", 1, &mut |_| {
        cache.clear_namespace("other").map(drop).map_err(Into::into)
    })?;
    let cap = cache.stats(None)?.entries.saturating_sub(SOME as u64);
    let capped = open(&file, dim, Some(cap.max(1)))?;
    progress.step("first look-up, index kept");
    works.push(beside(&capped, "first look-up, index kept", 1, &mut |n| {
        capped.get(ask(n)?).map(drop).map_err(Into::into)
    })?);
    progress.step("requantize");
    works.push(beside(&capped, "requantize", 1, &mut |_| {
        capped.requantize(VectorDtype::Float16).map_err(Into::into)
    })?);
    progress.step("put over the cap by 20,000");
    let over = beside(&capped, "put over the cap by 20,000", 100, &mut |n| {
        capped.put(put(entries + 20_000 + n, "default", Ttl::Inherit)?)?;
        Ok(())
    })?;
    works.push(over);
    progress.step("health, deep");
    works.push(beside(&capped, "health, deep", 1, &mut |_| {
        capped.health(true).map(drop).map_err(Into::into)
    })?);
    progress.step("clear of everything");
    works.push(beside(&capped, "clear of everything", 1, &mut |_| {
        capped.clear().map(drop).map_err(Into::into)
    })?);
    Ok(Waits {
        entries,
        dim,
        works,
    })
}

fn open(file: &Path, dim: usize, cap: Option<u64>) -> Result<SemanticCache> {
    let url = format!("sqlite:{}", file.display());
    let mut builder = SemanticCache::builder()
        .boxed_store(store::from_url(&url).map_err(mneme::Error::from)?)
        .embedder(Precomputed::new("bench-1", dim as u32))
        .similarity_threshold(THRESHOLD as f32)
        .coordination(Coordination::StaleTolerant(0))
        .memory_limit(MEMORY)
        .call_timeout(TIMEOUT);
    if let Some(cap) = cap {
        builder = builder.max_entries(cap);
    }
    builder.open().with_context(|| format!("bench: {url}"))
}

/// The thread that works.
struct Worker(Option<PathBuf>);

impl Worker {
    /// This thread.
    fn here() -> Self {
        let thread = fs::read_link("/proc/thread-self").ok();
        Worker(thread.map(|thread| Path::new("/proc").join(thread).join("schedstat")))
    }

    /// For how long a processor has run it.
    fn cpu_nanos(&self) -> u64 {
        let read = self
            .0
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        read.and_then(|text| text.split_whitespace().next()?.parse().ok())
            .unwrap_or(0)
    }
}

/// Does the work, while another thread asks the exact layer without a pause.
fn beside(
    cache: &SemanticCache,
    work: &'static str,
    calls: usize,
    call: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Wait> {
    let (begun, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let (others, longest) = (AtomicU64::new(0), AtomicU64::new(0));
    let longest_cpu = AtomicU64::new(0);
    let worker = Worker::here();
    thread::scope(|scope| {
        let asker = scope.spawn(|| -> Result<()> {
            for n in 0.. {
                let (start, cpu) = (Instant::now(), worker.cpu_nanos());
                cache.get(format!("question {}", n % ASKED).as_str())?;
                let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                if n > 0 {
                    let cpu = worker.cpu_nanos().saturating_sub(cpu);
                    longest_cpu.fetch_max(cpu, Ordering::Relaxed);
                    others.fetch_add(1, Ordering::Relaxed);
                    longest.fetch_max(took, Ordering::Relaxed);
                }
                begun.store(true, Ordering::Release);
                if done.load(Ordering::Acquire) {
                    break;
                }
            }
            Ok(())
        });
        while !begun.load(Ordering::Acquire) && !asker.is_finished() {
            thread::yield_now();
        }
        let mut longest_call = Duration::ZERO;
        let outcome = (0..calls).try_for_each(|n| {
            let start = Instant::now();
            call(n)?;
            longest_call = longest_call.max(start.elapsed());
            anyhow::Ok(())
        });
        done.store(true, Ordering::Release);
        asker.join().expect("the asking thread does not panic")?;
        outcome?;
        Ok(Wait {
            work,
            calls,
            longest_call,
            others: others.load(Ordering::Relaxed),
            longest_wait: Duration::from_nanos(longest.load(Ordering::Relaxed)),
            longest_wait_cpu: Duration::from_nanos(longest_cpu.load(Ordering::Relaxed)),
        })
    })
}
