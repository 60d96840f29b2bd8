//! What `conformance` prints.

use std::fmt::{Display, Write};

use mneme::conformance::{Case, Counts, Report};

use crate::output;

/// The cases, by section.
pub fn list(cases: &[&Case]) -> String {
    let mut text = String::new();
    let mut section = "";
    for case in cases {
        if case.section != section {
            section = &case.section;
            let _ = writeln!(text, "{section}");
        }
        let needs = case.needs.map_or_else(String::new, |needs| {
            format!(" (stores that claim `{needs}`)")
        });
        let _ = writeln!(text, "  {}: {}{needs}", case.name, case.summary);
    }
    text
}

/// The report, for people.
pub fn text(report: &Report) -> String {
    let mut table = output::table(&["section", "passed", "failed", "skipped"]);
    let mut row = |name: &str, counts: Counts| {
        let count = |count: usize| match count {
            0 => "-".into(),
            count => count.to_string(),
        };
        table.add_row([
            name.to_owned(),
            count(counts.passed),
            count(counts.failed),
            count(counts.skipped),
        ]);
    };
    let sections = report.sections();
    for (name, counts) in &sections {
        row(name, *counts);
    }
    if sections.len() != 1 {
        row("(all)", report.summary);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for (case, failure) in report.failures() {
        let name = console::style(&case.name).red();
        let _ = writeln!(text, "\nfailed: {name} ({})", case.section);
        line(&mut text, "behaviour", &case.summary);
        line(&mut text, "expected", &failure.expected);
        line(&mut text, "actual", &failure.actual);
        if case.phases.len() > 1 {
            line(
                &mut text,
                "phase",
                &format!("{} of {:?}", failure.phase, case.phases),
            );
        }
    }
    skipped(&mut text, report);
    verdict(&mut text, report);
    text
}

/// A line about a failure. Stores may say anything, including terminal commands.
fn line(text: &mut String, name: &str, value: &str) {
    let value: String = value
        .chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let value = value.trim_end().replace('\n', "\n             ");
    let _ = writeln!(text, "  {name:<9}  {value}");
}

/// The skipped cases, by reason.
fn skipped(text: &mut String, report: &Report) {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for (case, reason) in report.skips() {
        match reasons.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, names)) => names.push(&case.name),
            None => reasons.push((reason, vec![&case.name])),
        }
    }
    for (reason, names) in reasons {
        let _ = writeln!(text, "\nskipped: {reason}");
        for name in names {
            let _ = writeln!(text, "  {name}");
        }
    }
}

fn verdict(text: &mut String, report: &Report) {
    let Counts {
        passed,
        failed,
        skipped,
    } = report.summary;
    let word: &dyn Display = match failed {
        0 => &console::style("conforms").green(),
        _ => &console::style("DOES NOT CONFORM").red(),
    };
    let _ = writeln!(
        text,
        "\nThe {} store {word}: {} passed, {failed} failed, {skipped} skipped (seed {}).",
        report.store,
        output::counted(passed as u64, "case", "cases"),
        report.seed
    );
    if failed > 0 {
        let _ = writeln!(
            text,
            "A failure may also come from another writer to the store.\nRepeat one with: mneme conformance --seed {} --case NAME",
            report.seed
        );
    }
}
