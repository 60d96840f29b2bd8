//! Progress bars on standard error, if that is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Bytes, of a known number.
pub const BYTES: &str =
    "{bar:40.cyan/dim} {percent:>3} %  {decimal_bytes}/{decimal_total_bytes}  {msg}  {eta} left";
/// Bytes, of an unknown number.
pub const BYTES_SO_FAR: &str = "{spinner} {decimal_bytes}  {msg}";
/// Entries, of a known number, and how fast.
pub const ENTRIES: &str =
    "{bar:40.cyan/dim} {percent:>3} %  {human_pos}/{human_len} entries  {per_sec}  {eta} left";
/// Entries, of an unknown number.
pub const ENTRIES_SO_FAR: &str = "{spinner} {human_pos} entries";
/// Embedded texts.
pub const TEXTS: &str = "{bar:40.cyan/dim} {percent:>3} %  {human_pos}/{human_len} texts embedded  {per_sec}  {eta} left";
/// Replayed thresholds.
pub const THRESHOLDS: &str = "{bar:40.cyan/dim} {human_pos}/{human_len} thresholds replayed";
/// Judged cases.
pub const CASES: &str = "{bar:40.cyan/dim} {pos}/{len}  {msg}";

/// A bar without a length. Hidden under --json.
pub fn bar(out: Output) -> ProgressBar {
    if out.is_json() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// Draws a bar in one of the styles above.
pub fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

/// Shows how much of the total is done.
pub fn show(bar: &ProgressBar, done: u64, total: u64) {
    bar.set_length(total);
    bar.set_position(done);
}
