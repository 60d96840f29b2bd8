//! `entries` and `erase`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use anyhow::{Context, Result, bail};
use mneme::{EntryFilter, Error, Receipt};

use crate::args::{Entries, Erase, Filter, Global};
use crate::json;
use crate::output::{self, Output};
use crate::session::Session;

/// The most that is shown of a text.
const WIDTH: usize = 40;
/// The most ids that are shown.
const SHOWN_IDS: usize = 20;

/// The exit code if no entry meets the filter.
const NONE: u8 = 1;

/// `entries`
pub fn entries(global: &Global, out: Output, args: &Entries) -> Result<u8> {
    let filter = filter(global, &args.filter);
    let session = Session::existing(global)?;
    let page = session
        .cache
        .list_entries(&filter, args.after, args.limit)?;
    session.cache.close()?;
    out.result(
        || json::value(&json::EntryPage::from(&page)),
        || table(&page),
    )?;
    if let Some(next) = page.next {
        out.remark(&format!("there may be more: --after {next}"));
    }
    Ok(0)
}

/// `erase`: 1 if no entry meets the filter.
pub fn erase(global: &Global, out: Output, args: &Erase) -> Result<u8> {
    if args.all {
        global.refuse_namespace("--all")?;
    }
    let filter = match args.all {
        true => EntryFilter::everything(),
        false => filter(global, &args.filter),
    };
    let session = Session::existing(global)?;
    let asks =
        !args.dry_run && !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    if asks {
        let receipt = session.cache.erase(&filter, true)?;
        let found = receipt.ids.len() as u64;
        if found > 0 && !agrees(found)? {
            bail!("erase: nothing was erased");
        }
    }
    let (receipt, failed) = match session.cache.erase(&filter, args.dry_run) {
        Ok(receipt) => (receipt, None),
        Err(Error::Unfinished { receipt, source }) => (*receipt, Some(*source)),
        Err(error) => return Err(error.into()),
    };
    // The receipt first, which a failure must not lose.
    out.result(
        || json::value(&json::Receipt::new(&receipt, args.dry_run)),
        || text(&receipt, args.dry_run),
    )?;
    if let Some(error) = failed {
        return Err(error).context("the erasure stopped half way; erase again for the rest");
    }
    session.cache.close()?;
    Ok(if receipt.ids.is_empty() { NONE } else { 0 })
}

fn filter(global: &Global, args: &Filter) -> EntryFilter {
    let mut filter = EntryFilter::new().tags(&args.scope.tags);
    if let Some(namespace) = &global.namespace {
        filter = filter.namespace(namespace);
    }
    if let Some(context) = &args.scope.context {
        filter = filter.context(context);
    }
    if let Some(query) = &args.query {
        filter = filter.query(query);
    }
    if !args.ids.is_empty() {
        filter = filter.ids(args.ids.as_slice());
    }
    if let Some(seconds) = args.min_age {
        filter = filter.min_age(seconds);
    }
    match args.max_age {
        Some(seconds) => filter.max_age(seconds),
        None => filter,
    }
}

/// Asks whoever sits there.
fn agrees(found: u64) -> Result<bool> {
    eprint!(
        "erase {}? [y/N] ",
        output::counted(found, "entry", "entries")
    );
    io::stderr().flush().context("erase")?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).context("erase")?;
    let answer = answer.trim().to_ascii_lowercase();
    Ok(matches!(answer.as_str(), "y" | "yes"))
}

fn text(receipt: &Receipt, dry_run: bool) -> String {
    let count = output::counted(receipt.ids.len() as u64, "entry", "entries");
    let mut text = match dry_run {
        true => format!("{count} would be erased"),
        false => format!("{count} erased"),
    };
    let ids: Vec<String> = receipt
        .ids
        .iter()
        .take(SHOWN_IDS)
        .map(u64::to_string)
        .collect();
    if !ids.is_empty() {
        let more = receipt.ids.len() - ids.len();
        let _ = write!(text, ": {}", ids.join(", "));
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
    }
    text
}

fn table(page: &mneme::EntryPage) -> String {
    if page.entries.is_empty() {
        return "no entries\n".into();
    }
    let mut table = output::table(&[
        "question",
        "id",
        "namespace",
        "context",
        "tags",
        "ttl",
        "hits",
        "answer",
    ]);
    for entry in &page.entries {
        let short = |text: &str| {
            let text = text.escape_debug().to_string();
            console::truncate_str(&text, WIDTH, "\u{2026}").into_owned()
        };
        table.add_row([
            short(&entry.query),
            entry.id.to_string(),
            short(&entry.namespace),
            short(&entry.context),
            short(&entry.tags.join(", ")),
            entry.ttl.map_or_else(|| "-".into(), output::age),
            entry.access_count.to_string(),
            short(&entry.response),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_some_ids() {
        let receipt = |ids: std::ops::RangeInclusive<u64>| Receipt {
            ids: ids.collect(),
            version_before: 1,
            version_after: 2,
        };
        assert_eq!(text(&receipt(3..=3), false), "1 entry erased: 3");
        assert_eq!(
            text(&receipt(3..=4), true),
            "2 entries would be erased: 3, 4"
        );
        let many = text(&receipt(1..=30), false);
        assert!(many.starts_with("30 entries erased: 1, 2"), "{many}");
        assert!(many.ends_with("20 and 10 more"), "{many}");
        #[expect(clippy::reversed_empty_ranges, reason = "there are none")]
        let none = receipt(1..=0);
        assert_eq!(text(&none, false), "0 entries erased");
    }
}
