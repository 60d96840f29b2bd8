//! The tables, Markdown and JSON of a run.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::style;
use serde_json::{Map, Value, json};

use crate::embedding::Embedding;
use crate::machine;
use crate::tally::{Cell, Row, Tally};
use crate::waits::Waits;
use crate::{PARTS, THRESHOLD};

const HEADER: [&str; 10] = [
    "work",
    "index",
    "p50",
    "p99",
    "recall",
    "peer",
    "p50",
    "p99",
    "recall",
    "peer/ours",
];

const WAITS_HEADER: [&str; 6] = [
    "work",
    "calls",
    "longest call, ms",
    "exact look-ups meanwhile",
    "longest wait, ms",
    "work's CPU in it, ms",
];

/// How to read the tables.
const LEGEND: [&str; 5] = [
    "Microseconds of one call; one caller; ours and the peers in turns, each timed in its own process.",
    "usearch and hnswlib keep no entries: their search is measured bare, and built with all cores.",
    "equal-recall: the least ef with which hnswlib finds the nearest entry as often as ours.",
    "recall: how often a look-up finds the nearest entry, by comparison with all in float32.",
    "open: to the first semantic answer; open-persisted: with our index kept in the store; open-exact: to the first exact one; build: caches from their entries, others from vectors.",
];

const EMBED_TITLE: &str = "Embedding, milliseconds of a call";
const EMBED_HEADER: [&str; 9] = [
    "model",
    "threads",
    "texts",
    "batch",
    "p50",
    "p99",
    "onnxruntime p50",
    "p99",
    "onnxruntime/ours",
];

/// All that was measured.
pub struct Report {
    pub cells: Vec<Cell>,
    pub waits: Vec<Waits>,
    pub embeddings: Vec<Embedding>,
    /// Where the vectors of each size come from.
    pub origins: Vec<String>,
    pub notes: Vec<String>,
    /// Of the peers.
    pub versions: Map<String, Value>,
    pub in_memory: bool,
    pub queries: usize,
}

impl Report {
    /// For programs.
    pub fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .cells
            .iter()
            .flat_map(Cell::rows)
            .map(|row| row_json(&row))
            .collect();
        json!({
            "rows": rows,
            "waits": self.waits.iter().flat_map(Waits::json).collect::<Vec<_>>(),
            "embeddings": self.embeddings.iter().map(Embedding::json).collect::<Vec<_>>(),
            "machine": machine::machine(),
            "versions": machine::versions(&self.versions),
            "dataset": self.origins,
            "settings": {
                "store": self.store(),
                "threshold": THRESHOLD,
                "queries": self.queries,
                "parts": PARTS,
            },
            "notes": self.notes,
        })
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut text = self.facts("  ");
        for cell in &self.cells {
            let _ = write!(text, "\n{}\n\n", style(title(cell)).bold());
            // All but the work, the index and the peer are numbers.
            let mut table = table(&HEADER, |column| ![0, 1, 5].contains(&column));
            let mut ratios = vec![None];
            for (row, fields) in lines(cell) {
                ratios.push(row.ratio());
                table.add_row(fields);
            }
            for (line, ratio) in table.trim_fmt().lines().zip(ratios) {
                let _ = writeln!(text, "{}", coloured(line, ratio));
            }
            let _ = writeln!(text, "\n  memory: {}", memory(cell));
        }
        for waits in &self.waits {
            let _ = writeln!(text, "\n{}\n", style(waits_title(waits)).bold());
            let mut table = table(&WAITS_HEADER, |column| column >= 1);
            for line in waits.lines() {
                table.add_row(line);
            }
            let _ = writeln!(text, "{}", table.trim_fmt());
        }
        if !self.embeddings.is_empty() {
            let _ = writeln!(text, "\n{}\n", style(EMBED_TITLE).bold());
            let mut table = table(&EMBED_HEADER, |column| column >= 3);
            for embedding in &self.embeddings {
                table.add_row(embedding.line());
            }
            let _ = writeln!(text, "{}", table.trim_fmt());
        }
        let _ = writeln!(text);
        for line in LEGEND {
            let _ = writeln!(text, "{}", style(line).dim());
        }
        text
    }

    /// For documents.
    pub fn markdown(&self) -> String {
        let mut text = self.facts("- ");
        for cell in &self.cells {
            let _ = writeln!(text, "\n### {}\n", title(cell));
            let _ = writeln!(text, "| {} |", HEADER.join(" | "));
            let _ = writeln!(text, "|---|---|--:|--:|--:|---|--:|--:|--:|--:|");
            for (_, fields) in lines(cell) {
                let _ = writeln!(text, "| {} |", fields.join(" | "));
            }
            let _ = writeln!(text, "\nMemory: {}.", memory(cell));
        }
        for waits in &self.waits {
            let _ = writeln!(text, "\n### {}\n", waits_title(waits));
            let _ = writeln!(text, "| {} |", WAITS_HEADER.join(" | "));
            let _ = writeln!(text, "|---|--:|--:|--:|--:|--:|");
            for line in waits.lines() {
                let _ = writeln!(text, "| {} |", line.join(" | "));
            }
        }
        if !self.embeddings.is_empty() {
            let _ = writeln!(text, "\n### {EMBED_TITLE}\n");
            let _ = writeln!(text, "| {} |", EMBED_HEADER.join(" | "));
            let _ = writeln!(text, "|---|--:|---|--:|--:|--:|--:|--:|--:|");
            for embedding in &self.embeddings {
                let _ = writeln!(text, "| {} |", embedding.line().join(" | "));
            }
        }
        text += "\n";
        for line in LEGEND {
            let _ = writeln!(text, "- {line}");
        }
        text
    }

    fn store(&self) -> &'static str {
        if self.in_memory { "memory" } else { "sqlite" }
    }

    /// Machine, versions, vectors and remarks, a line each.
    fn facts(&self, mark: &str) -> String {
        let versions: Vec<String> = machine::versions(&self.versions)
            .iter()
            .map(|(name, version)| format!("{name} {}", version.as_str().unwrap_or_default()))
            .collect();
        let mut text = String::new();
        let _ = writeln!(text, "{mark}machine: {}", machine::machine_text());
        let _ = writeln!(text, "{mark}versions: {}", versions.join(", "));
        let _ = writeln!(text, "{mark}store: {}; threshold {THRESHOLD}", self.store());
        for origin in &self.origins {
            let _ = writeln!(text, "{mark}vectors, {origin}");
        }
        for note in &self.notes {
            let _ = writeln!(text, "{mark}note: {note}");
        }
        text
    }
}

/// A table without rows yet, with numbers on the right.
fn table(header: &[&str], is_number: impl Fn(usize) -> bool) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    for (at, column) in table.column_iter_mut().enumerate() {
        if is_number(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A line that ends in a ratio: green where ours is faster, else red, on a terminal.
fn coloured(line: &str, ratio: Option<f64>) -> String {
    match (ratio, line.rsplit_once(' ')) {
        (Some(ratio), Some((rest, last))) => {
            let last = match ratio >= 1.0 {
                true => style(last).green(),
                false => style(last).red(),
            };
            format!("{rest} {last}")
        }
        _ => line.to_owned(),
    }
}

fn waits_title(waits: &Waits) -> String {
    let (entries, dim) = (grouped(waits.entries as u64), waits.dim);
    format!("Exact look-ups beside another caller's work, {entries} entries x {dim}")
}

fn title(cell: &Cell) -> String {
    let namespaces = cell.namespaces.map_or_else(String::new, |count| {
        format!(", in {} namespaces", grouped(count as u64))
    });
    format!(
        "{} entries x {}, {}{namespaces}",
        grouped(cell.entries as u64),
        cell.dim,
        cell.dtype
    )
}

/// The rows with their fields as text; what repeats is said once.
fn lines(cell: &Cell) -> Vec<(Row<'_>, Vec<String>)> {
    let mut last = (None, String::new());
    let rows = cell.rows().into_iter().map(|row| {
        let key = (Some(row.work), row.ours.0.name.clone());
        let mut fields = match key == last {
            true => vec![String::new(); 5],
            false => {
                let mut fields = vec![row.work.name(), key.1.clone()];
                fields.extend(numbers(row.ours.1));
                fields
            }
        };
        last = key;
        match row.peer {
            None => fields.extend(["-", "", "", "", ""].map(str::to_owned)),
            Some((side, tally)) => {
                let name = match side.ef {
                    Some(ef) if !side.name.contains("ef=") => format!("{} (ef={ef})", side.name),
                    _ => side.name.clone(),
                };
                fields.push(name);
                fields.extend(numbers(tally));
                fields.push(row.ratio().map_or_else(String::new, times));
            }
        }
        (row, fields)
    });
    rows.collect()
}

fn numbers(tally: &Tally) -> [String; 3] {
    let micros = |share| tally.quantile(share).map_or_else(String::new, micros);
    let recall = tally
        .recall()
        .map_or_else(String::new, |recall| format!("{recall:.3}"));
    [micros(0.5), micros(0.99), recall]
}

fn micros(value: f64) -> String {
    match value {
        v if v < 100.0 => format!("{v:.1}"),
        v => grouped(v.round() as u64),
    }
}

/// How many times as long, with two digits that tell something where it is less than once.
fn times(ratio: f64) -> String {
    match ratio {
        r if r < 0.95 => format!("{r:.2}x"),
        r => format!("{r:.1}x"),
    }
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What each contender holds in memory.
fn memory(cell: &Cell) -> String {
    let sides = cell
        .ours
        .iter()
        .map(|side| (format!("ours, {}", side.name), side));
    let peers = cell.peers.iter().map(|side| (side.name.clone(), side));
    let known = sides
        .chain(peers)
        .filter_map(|(name, side)| Some(format!("{name} {}", bytes(side.memory?))));
    let known: Vec<String> = known.collect();
    format!(
        "{} (ours: the index; peers: what their process grew by)",
        known.join("; ")
    )
}

/// A number of bytes in the unit that suits it.
fn bytes(count: u64) -> String {
    match count as f64 {
        n if n < 1024.0 => format!("{count} B"),
        n if n < 1_048_576.0 => format!("{:.1} KiB", n / 1024.0),
        n => format!("{:.1} MiB", n / 1_048_576.0),
    }
}

fn row_json(row: &Row<'_>) -> Value {
    let (ours, mine) = row.ours;
    let number = |value: Option<f64>| value.map_or(Value::Null, |value| json!(value));
    json!({
        "work": row.work.name(),
        "entries": row.cell.entries,
        "dims": row.cell.dim,
        "dtype": row.cell.dtype,
        "index": ours.name,
        "ours_p50_us": number(mine.quantile(0.5)),
        "ours_p99_us": number(mine.quantile(0.99)),
        "peer": row.peer.map(|(side, _)| &side.name),
        "peer_p50_us": number(row.peer.and_then(|(_, tally)| tally.quantile(0.5))),
        "peer_p99_us": number(row.peer.and_then(|(_, tally)| tally.quantile(0.99))),
        "ratio": number(row.ratio()),
        "recall": number(mine.recall()),
        "peer_recall": number(row.peer.and_then(|(_, tally)| tally.recall())),
        "peer_ef": row.peer.and_then(|(side, _)| side.ef),
        "namespaces": row.cell.namespaces,
        "memory_bytes": ours.memory,
        "peer_memory_bytes": row.peer.and_then(|(side, _)| side.memory),
        "calls": mine.calls(),
        "peer_calls": row.peer.map(|(_, tally)| tally.calls()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_text() {
        assert_eq!(grouped(7), "7");
        assert_eq!(
            (bytes(100), bytes(3 << 20)),
            ("100 B".into(), "3.0 MiB".into())
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(micros(9.64), "9.6");
        assert_eq!(
            (times(0.032), times(12.34)),
            ("0.03x".into(), "12.3x".into())
        );
        assert_eq!(micros(2_353.4), "2,353");
    }
}
