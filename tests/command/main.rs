//! The `mneme` command, run as a process.

#[cfg(unix)]
mod bound;
mod calibration;
mod checkpoints;
mod conformance;
mod contexts;
mod demo;
mod entries;
mod errors;
mod explain;
mod import;
mod migration;
mod models;
#[cfg(unix)]
mod run;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod trust;
mod upkeep;

use mneme_tests::command::{Done, Folder, VECTORS};

/// What an erasure of the tag `t` finds at a time.
const PER_PART: u64 = 512;

/// Fills a cache with entries of the tag `t`, of which one is damaged, so that no erasure gets past it.
/// Returns how many it erases before, and how many there are.
fn cannot_be_erased_whole(folder: &Folder) -> (u64, u64) {
    let all = 3 * PER_PART;
    let lines = (0..all).map(|n| {
        let line = serde_json::json!({
            "query": n.to_string(), "response": "r", "tags": ["t"], "exact_only": true,
        });
        format!("{line}\n")
    });
    folder.write("lines", lines.collect::<String>());
    let imported = folder.mneme(&["import", "lines"]);
    assert_eq!(imported.code, 0, "{imported:?}");
    let conn = rusqlite::Connection::open(folder.path("mneme.db")).unwrap();
    let damaged = 2 * PER_PART + 5;
    conn.execute(
        "UPDATE entries SET tags = '[1' WHERE id = ?1",
        [damaged as i64],
    )
    .unwrap();
    (2 * PER_PART, all)
}
