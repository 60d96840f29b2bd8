//! What `dump`, `load` and `inspect` print.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mneme::checkpoint::{Compression, DumpReport, LoadReport, Manifest, Summary};
use serde_json::{Value, json};

use crate::{json, output};

pub fn dump_json(report: &DumpReport, file: &Path, seconds: f64) -> Value {
    json!({
        "file": file.to_string_lossy(),
        "layout": json::layout_name(report.layout),
        "entries": report.entries,
        "bytes": report.bytes,
        "compressed_bytes": report.compressed_bytes,
        "consistent": report.consistent,
        "seconds": seconds,
    })
}

pub fn dump_text(report: &DumpReport, file: &Path, seconds: f64) -> String {
    let entries = report.entries.map_or_else(String::new, |entries| {
        format!("{}, ", output::counted(entries, "entry", "entries"))
    });
    format!(
        "{}: {entries}{} ({} before compression), {} layout, in {}",
        file.display(),
        output::bytes(report.compressed_bytes),
        output::bytes(report.bytes),
        json::layout_name(report.layout),
        output::duration(seconds)
    )
}

pub fn load_text(report: &LoadReport, seconds: f64) -> String {
    let mut text = format!(
        "{} loaded",
        output::counted(report.entries, "entry", "entries")
    );
    if report.skipped > 0 {
        let _ = write!(text, ", {} of other namespaces skipped", report.skipped);
    }
    if report.evicted > 0 {
        let _ = write!(text, ", {} evicted", report.evicted);
    }
    let _ = writeln!(text, ", in {}", output::duration(seconds));
    text + &manifest_text(&report.manifest)
}

pub fn summary_json(summary: &Summary) -> Value {
    let namespaces: Vec<Value> = summary
        .namespaces
        .iter()
        .map(|item| {
            json!({
                "namespace": item.namespace,
                "entries": item.entries,
                "quota": item.quota,
            })
        })
        .collect();
    json!({
        "manifest": json::Manifest::from(&summary.manifest),
        "compression": compression_name(summary.compression),
        "checksummed": summary.checksummed,
        "entries": summary.entries,
        "namespaces": namespaces,
        "meta_keys": summary.meta_keys,
        "bytes": summary.bytes,
        "compressed_bytes": summary.compressed_bytes,
    })
}

pub fn summary_text(summary: &Summary) -> String {
    let mut table = output::table(&["namespace", "entries", "quota"]);
    for item in &summary.namespaces {
        table.add_row([
            plain(&item.namespace),
            item.entries.to_string(),
            item.quota
                .map_or_else(|| "-".into(), |quota| quota.to_string()),
        ]);
    }
    if summary.namespaces.len() != 1 {
        table.add_row(["(all)".into(), summary.entries.to_string(), "-".into()]);
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    let sums = match summary.checksummed {
        true => "checksums compared",
        false => "no checksums except those of its compression",
    };
    text += &manifest_text(&summary.manifest);
    let _ = writeln!(
        text,
        " size       {} of {}, {} unpacked; {sums}",
        output::bytes(summary.compressed_bytes),
        compression_name(summary.compression),
        output::bytes(summary.bytes)
    );
    if !summary.meta_keys.is_empty() {
        let keys: Vec<String> = summary.meta_keys.iter().map(|key| plain(key)).collect();
        let _ = writeln!(text, " meta       {}", keys.join(", "));
    }
    text
}

fn manifest_text(manifest: &Manifest) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let age = now.map_or(0, |now| now.as_secs().saturating_sub(manifest.created_at));
    let by = manifest.written_by.as_deref().unwrap_or("mneme-cache");
    let consistent = match manifest.consistent {
        true => "",
        false => "; others may have written to the store meanwhile",
    };
    format!(
        " archive    {} layout, of a {} store\n embedder   {}, {} dimensions\n written    {} ago by {}{consistent}\n",
        json::layout_name(manifest.layout),
        plain(&manifest.store),
        plain(&manifest.embedder_fingerprint),
        manifest.embedder_dim,
        output::age(age),
        plain(by)
    )
}

/// Text of an archive may hold anything, including terminal commands.
fn plain(text: &str) -> String {
    text.escape_debug().to_string()
}

fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}
