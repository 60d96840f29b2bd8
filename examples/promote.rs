//! Promotes a cache from staging to production.
//!
//! `cargo run --release --package mneme-examples --example promote`
//!
//! Staging drops expired entries and dumps its cache into one archive. Production checks it,
//! loads it with other settings, and refuses an archive of another model.

use anyhow::{Context, ensure};
use mneme::checkpoint::{self, DumpOptions, InspectOptions, LoadOptions};
use mneme::embedder::{MiniLm, Precomputed};
use mneme::{Error, PutRequest, SemanticCache, SqliteStore, Ttl, VectorDtype};
use std::fs::File;
use std::path::Path;

const QUESTIONS: [&str; 4] = [
    "How do I reset my password?",
    "Where is my parcel?",
    "Can I pay by invoice?",
    "How do I delete my account?",
];

/// The nightly job in staging.
fn snapshot(store: &Path, archive: &Path) -> anyhow::Result<()> {
    let cache = SemanticCache::builder()
        .store(SqliteStore::new(store))
        .embedder(MiniLm::new())
        .open()?;
    for question in QUESTIONS {
        cache.put(PutRequest::new(
            question,
            format!("The answer to {question:?}"),
        ))?;
    }
    cache.put(PutRequest::new("Is the shop open today?", "Yes").ttl(Ttl::Seconds(0)))?;

    let expired = cache.vacuum(None, false)?;
    ensure!(expired == 1, "{expired} expired");
    // The file is given back, to make sure that it is on the disk.
    let (report, file) = cache.dump(File::create(archive)?, DumpOptions::new())?;
    file.sync_all()?;
    println!(
        "staging:     {expired} expired entry dropped, {} bytes dumped",
        report.compressed_bytes
    );
    Ok(cache.close()?)
}

/// The job in production. All of the archive is loaded, or nothing.
fn promote(archive: &Path, store: &Path) -> anyhow::Result<SemanticCache> {
    let summary = checkpoint::inspect(File::open(archive)?, InspectOptions::new())?;
    println!(
        "inspected:   {} entries, made with {}",
        summary.entries, summary.manifest.embedder_fingerprint
    );
    let cache = SemanticCache::builder()
        .store(SqliteStore::new(store))
        .embedder(MiniLm::new())
        .similarity_threshold(0.8)
        .open()?;
    let settings = LoadOptions::new()
        .max_entries(3)
        .vector_dtype(VectorDtype::Int8);
    let report = cache.load(File::open(archive)?, settings)?;
    println!(
        "production:  {} entries loaded, {} over the cap evicted",
        report.entries, report.evicted
    );
    Ok(cache)
}

fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("staging.tar.gz");
    snapshot(&folder.path().join("staging.db"), &archive)?;
    let cache = promote(&archive, &folder.path().join("production.db"))?;

    let stats = cache.stats(None)?;
    assert_eq!((stats.entries, stats.max_entries), (3, Some(3)));
    assert_eq!(stats.vector_dtype, VectorDtype::Int8);
    let hit = cache.get("how can I delete my account")?.hit();
    let hit = hit.context("it means the same as a question of staging")?;
    assert_eq!(hit.query, "How do I delete my account?");
    println!(
        "asked:       {:.2} similar, {}",
        hit.similarity, hit.response
    );

    // An archive of another model fails at once, and the store stays as it is.
    let other = SemanticCache::builder()
        .store(SqliteStore::new(folder.path().join("other.db")))
        .embedder(Precomputed::new("another-model", stats.embedder_dim))
        .open()?;
    let refused = other.load(File::open(&archive)?, LoadOptions::new());
    assert!(matches!(refused, Err(Error::EmbedderMismatch { .. })));
    assert_eq!(other.stats(None)?.entries, 0);
    println!("other model: refused");
    Ok(())
}
