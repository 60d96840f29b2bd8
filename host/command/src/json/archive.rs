//! Archives, and the results of loading one.

use mneme::checkpoint::{self, Layout, LoadReport};
use serde::Serialize;
use utoipa::ToSchema;

/// The result of loading an archive.
#[derive(Debug, Serialize, ToSchema)]
pub struct Loaded {
    entries: u64,
    /// Entries of other namespaces than those asked for.
    skipped: u64,
    /// Entries evicted because of a quota or the cap.
    evicted: u64,
    /// How long it took.
    seconds: f64,
    manifest: Manifest,
}

impl Loaded {
    /// The report of a load that took this many seconds.
    pub fn new(report: &LoadReport, seconds: f64) -> Self {
        Self {
            entries: report.entries,
            skipped: report.skipped,
            evicted: report.evicted,
            seconds,
            manifest: (&report.manifest).into(),
        }
    }
}

/// The manifest of an archive.
#[derive(Debug, Serialize, ToSchema)]
pub struct Manifest {
    format_version: u32,
    schema_version: u32,
    embedder_fingerprint: String,
    embedder_dim: u32,
    /// `native` or `portable`.
    layout: &'static str,
    /// The kind of store it was made from.
    store: String,
    /// `float32`, `float16` or `int8`.
    vector_dtype: &'static str,
    /// Seconds since the Unix epoch.
    created_at: u64,
    namespaces: Vec<String>,
    /// null: mneme-cache.
    written_by: Option<String>,
    /// Whether it shows one instant.
    consistent: bool,
}

impl From<&checkpoint::Manifest> for Manifest {
    fn from(manifest: &checkpoint::Manifest) -> Self {
        Self {
            format_version: manifest.format_version,
            schema_version: manifest.schema_version,
            embedder_fingerprint: manifest.embedder_fingerprint.clone(),
            embedder_dim: manifest.embedder_dim,
            layout: layout_name(manifest.layout),
            store: manifest.store.clone(),
            vector_dtype: manifest.vector_dtype.name(),
            created_at: manifest.created_at,
            namespaces: manifest.namespaces.clone(),
            written_by: manifest.written_by.clone(),
            consistent: manifest.consistent,
        }
    }
}

/// A layout's name.
pub fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::Native => "native",
        Layout::Portable => "portable",
    }
}
