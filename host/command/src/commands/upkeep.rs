//! `vacuum`, `warm-up`, `stats` and `health`.

use std::fmt::Write;

use anyhow::Result;
use mneme::{Counters, Health, Stats};
use serde_json::json;

use crate::args::Global;
use crate::json;
use crate::output::{self, Output};
use crate::session::Session;

/// `vacuum`
pub fn vacuum(global: &Global, out: Output, compact: bool) -> Result<u8> {
    let session = Session::existing(global)?;
    let deleted = session.cache.vacuum(global.namespace.as_deref(), compact)?;
    session.cache.close()?;
    out.result(
        || json!({"deleted": deleted, "compacted": compact}),
        || {
            format!(
                "{} deleted",
                output::counted(deleted, "expired entry", "expired entries")
            )
        },
    )?;
    Ok(0)
}

/// `warm-up`
pub fn warm_up(global: &Global, out: Output) -> Result<u8> {
    let session = Session::existing(global)?;
    let rows = session.cache.warm_up()?;
    let bytes = session.cache.stats(None)?.index_bytes;
    // Closing saves the index.
    session.cache.close()?;
    out.result(
        || json!({"rows": rows, "index_bytes": bytes}),
        || {
            format!(
                "{} ready, {} in memory",
                output::counted(rows, "row", "rows"),
                output::bytes(bytes)
            )
        },
    )?;
    Ok(0)
}

/// `stats`
pub fn stats(global: &Global, out: Output) -> Result<u8> {
    let session = Session::existing(global)?;
    let stats = session.cache.stats(global.namespace.as_deref())?;
    session.cache.close()?;
    out.result(
        || json::value(&json::Stats::from(&stats)),
        || stats_text(&stats, global.bounding.error_bound.is_some()),
    )?;
    Ok(0)
}

/// `health`: 0 if the cache is healthy, else 1.
pub fn health(global: &Global, out: Output, deep: bool) -> Result<u8> {
    let session = Session::existing(global)?;
    let health = session.cache.health(deep)?;
    for warning in session.cache.warnings()? {
        out.warn(&warning);
    }
    session.cache.close()?;
    out.result(
        || json::value(&json::Health::from(&health)),
        || health_text(&health),
    )?;
    Ok(u8::from(!health.healthy))
}

/// Vetoes of all kinds.
fn vetoes(counters: &Counters) -> u64 {
    counters.vetoes.each().iter().map(|(_, count)| count).sum()
}

fn stats_text(stats: &Stats, has_bound: bool) -> String {
    let mut table = output::table(&[
        "namespace",
        "entries",
        "quota",
        "exact",
        "semantic",
        "misses",
        "hit rate",
        "vetoes",
        "evicted",
        "expired",
    ]);
    let mut row = |name: &str, entries: u64, quota: Option<u64>, counters: &Counters| {
        table.add_row([
            // A name may hold anything, including terminal commands.
            name.escape_debug().to_string(),
            entries.to_string(),
            quota.map_or_else(|| "-".into(), |quota| quota.to_string()),
            counters.hits_exact.to_string(),
            counters.hits_semantic.to_string(),
            counters.misses.to_string(),
            hit_rate(counters),
            vetoes(counters).to_string(),
            counters.evictions.to_string(),
            counters.expirations.to_string(),
        ]);
    };
    for item in &stats.namespaces {
        row(&item.namespace, item.entries, item.quota, &item.counters);
    }
    if stats.namespaces.len() != 1 {
        row("(all)", stats.entries, None, &stats.counters);
    }
    let mut text = format!("{}\n\n", table.trim_fmt());
    let listed = stats.namespaces.len() as u64;
    if listed < stats.namespace_count {
        let _ = writeln!(
            text,
            " {} more namespaces are in the sums only; --namespace shows one of them\n",
            stats.namespace_count - listed
        );
    }
    let cap = stats
        .max_entries
        .map_or_else(|| "none".into(), |cap| cap.to_string());
    let _ = writeln!(
        text,
        " embedder   {}, {} dimensions",
        stats.embedder_fingerprint, stats.embedder_dim
    );
    let _ = writeln!(text, " threshold  {}", stats.similarity_threshold);
    let _ = writeln!(text, " cap        {cap}");
    if stats.bound.is_none() && has_bound {
        let _ = writeln!(text, " bound      by namespace; --namespace shows one");
    }
    if let Some(bound) = &stats.bound {
        let _ = writeln!(text, " bound      {}", json::Bound::from(bound).text());
        let _ = writeln!(
            text,
            " explored   {} of the misses",
            stats.counters.explored
        );
    }
    let _ = match stats.index_loaded {
        true => writeln!(
            text,
            " index      {} as {}, {} ({} deleted)",
            output::counted(stats.index_rows, "row", "rows"),
            stats.vector_dtype.name(),
            output::bytes(stats.index_bytes),
            stats.index_tombstones
        ),
        false => writeln!(
            text,
            " index      not loaded until a semantic look-up needs it"
        ),
    };
    text
}

fn hit_rate(counters: &Counters) -> String {
    let hits = counters.hits_exact + counters.hits_semantic;
    match hits + counters.misses {
        0 => "-".into(),
        asked => output::percent(hits as f64 / asked as f64),
    }
}

fn health_text(health: &Health) -> String {
    let mut text = String::from(if health.healthy {
        "healthy\n"
    } else {
        "NOT HEALTHY\n"
    });
    for problem in &health.problems {
        let _ = writeln!(text, " problem    {problem}");
    }
    let Some(deep) = &health.deep else {
        let _ = writeln!(
            text,
            " store      {}, not checked in depth (--deep)",
            health.store
        );
        let _ = writeln!(text, " embedder   {}", health.embedder_fingerprint);
        return text;
    };
    let age = deep.oldest_entry_age_seconds;
    let age = age.map_or_else(String::new, |age| {
        format!(", the oldest {} old", output::age(age))
    });
    let integrity = match deep.integrity_ok {
        Some(true) => "ok",
        Some(false) => "damaged",
        None => "unknown",
    };
    let _ = writeln!(text, " store      {}, integrity {integrity}", health.store);
    let _ = writeln!(
        text,
        " entries    {} in {}{age}",
        deep.entries,
        output::counted(deep.namespaces, "namespace", "namespaces")
    );
    let _ = writeln!(text, " embedder   {}", health.embedder_fingerprint);
    text
}
