//! `conformance`.

mod report;

use anyhow::{Context, Result, bail};
use glob::Pattern;
use mneme::conformance::{Battery, Case, Processes, Report, Seed, Stores, Writer};
use mneme::store;
use serde_json::json;

use crate::args::{Conformance, Global};
use crate::output::Output;
use crate::progress;
use crate::store_url::StoreUrl;

/// `conformance`: 0 if no case failed, else 1.
pub fn conformance(global: &Global, out: Output, args: &Conformance) -> Result<u8> {
    if let Some(writer) = Writer::of_this_process() {
        let store = store::from_url(writer.place());
        writer.write(store);
        return Ok(0);
    }
    let battery = Battery::new()?;
    let cases = choose(battery.cases(), args.case.as_deref())?;
    if args.list {
        out.result(|| json!({"cases": cases}), || report::list(&cases))?;
        return Ok(0);
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => Seed::from_env().map_err(anyhow::Error::msg)?,
    };
    let Some(url) = StoreUrl::named(global.store.as_deref()) else {
        bail!("conformance: name the store to judge, with --store URL or in $MNEME_STORE");
    };
    // A bad URL is not a failure of the store.
    url.store()?;

    let report = run(out, &battery, &cases, seed, url);
    out.result(
        || serde_json::to_value(&report).unwrap_or_default(),
        || report::text(&report),
    )?;
    Ok(u8::from(report.summary.failed > 0))
}

/// The cases that match a glob, or all.
fn choose<'a>(cases: &'a [Case], glob: Option<&str>) -> Result<Vec<&'a Case>> {
    let Some(glob) = glob else {
        return Ok(cases.iter().collect());
    };
    let pattern = Pattern::new(glob).with_context(|| format!("--case {glob:?}"))?;
    let chosen: Vec<_> = cases.iter().filter(|c| pattern.matches(&c.name)).collect();
    if chosen.is_empty() {
        bail!(
            "--case {glob:?} matches none of the {} cases; see --list",
            cases.len()
        );
    }
    Ok(chosen)
}

fn run(out: Output, battery: &Battery, cases: &[&Case], seed: Seed, url: StoreUrl) -> Report {
    // A command line is public, and the URL may hold a password.
    let processes = Processes::this_program(["conformance"]).told("", url.secret());
    let stores = Stores::boxed(move || store::from_url(url.secret())).processes(processes);
    let bar = progress::bar(out);
    progress::style(&bar, progress::CASES);
    bar.set_length(cases.len() as u64);
    out.note("judging the store; nobody else may write to it meanwhile");
    let report = battery.judge(cases.iter().copied(), seed, &stores, |judged| {
        if judged.outcome.is_failed() {
            bar.println(format!(
                "{} {}",
                console::style("failed").for_stderr().red(),
                judged.case.name
            ));
        }
        bar.set_message(judged.case.section.clone());
        bar.inc(1);
    });
    bar.finish_and_clear();
    report
}
