//! `copy` and `reembed`.

use std::cell::Cell;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use mneme::migration::{Migration, Progress, Report};
use mneme::store::Store;
use serde_json::json;

use crate::args::{Copy, Global, Reembed, Target};
use crate::embedder_spec::{EmbedderSpec, Texts};
use crate::output::{self, Output};
use crate::progress;
use crate::store_url::StoreUrl;

/// `copy`
pub fn copy(global: &Global, out: Output, args: &Copy) -> Result<u8> {
    if global.embedder.is_some() {
        bail!("copy: vectors are copied unchanged; omit --embedder, or use `mneme reembed`");
    }
    run(
        "copy",
        global,
        out,
        &args.target,
        |migration, source, target| migration.copy(source, target),
    )
}

/// `reembed`
pub fn reembed(global: &Global, out: Output, args: &Reembed) -> Result<u8> {
    let spec = EmbedderSpec::choose(global.embedder.as_deref())?;
    if let EmbedderSpec::Vectors { .. } = spec {
        bail!("reembed: `vectors:` cannot embed; give another --embedder");
    }
    spec.warn_of_cuts(out);
    let embedder = spec.guarded(global.embed_timeout(), Texts::Many)?;
    let embedder = embedder.concurrency(args.concurrency.into());
    run(
        "reembed",
        global,
        out,
        &args.target,
        |migration, source, target| {
            let migration = migration.embed_exact_only(args.embed_exact_only);
            migration.reembed(source, target, &embedder)
        },
    )
}

fn run(
    command: &'static str,
    global: &Global,
    out: Output,
    args: &Target,
    migrate: impl FnOnce(Migration<'_>, &mut dyn Store, &mut dyn Store) -> mneme::Result<Report>,
) -> Result<u8> {
    if global.namespace.is_some() {
        bail!("{command}: all namespaces are copied, or those of --namespaces; omit --namespace");
    }
    let source = StoreUrl::choose(global.store.as_deref());
    let target = StoreUrl::target(args.to.as_deref())
        .with_context(|| format!("{command}: --to is needed: the store to fill"))?;
    if source.is_same(&target) {
        bail!("{command}: --store and --to are the same store; give another target");
    }
    let mut from = source.store()?;
    let mut to = target.store()?;
    let bar = progress::bar(out);
    progress::style(&bar, progress::ENTRIES);
    let seen = Cell::new(None::<Progress>);
    let mut migration = Migration::new()
        .allow_unreadable(global.comparing.allow_unreadable)
        .merge(args.merge)
        .source_name(source.lasting_name())
        .on_progress(|now| {
            seen.set(Some(now));
            progress::show(&bar, now.done, now.total);
        });
    if !args.namespaces.is_empty() {
        migration = migration.namespaces(&args.namespaces);
    }
    let started = Instant::now();
    let outcome = migrate(migration, &mut *from, &mut *to);
    bar.finish_and_clear();
    let report = outcome.with_context(|| match seen.get() {
        Some(Progress { done, total }) => format!(
            "{command}: stopped after {done} of {}; the same command continues from there",
            output::counted(total, "entry", "entries")
        ),
        None => command.to_owned(),
    })?;
    let seconds = started.elapsed().as_secs_f64();
    out.result(
        || {
            json!({
                "written": report.written,
                "exact_only": report.exact_only,
                "present": report.present,
                "newer": report.newer,
                "expired": report.expired,
                "quotas": report.quotas,
                "resumed": report.resumed,
                "seconds": seconds,
            })
        },
        || text(&report, seconds),
    )?;
    Ok(0)
}

fn text(report: &Report, seconds: f64) -> String {
    let mut text = format!(
        "{} written in {}",
        output::counted(report.written, "entry", "entries"),
        output::duration(seconds)
    );
    for (count, what) in [
        (report.exact_only, "of them found by their exact words only"),
        (report.present, "there already"),
        (report.newer, "for which the target has a newer answer"),
        (report.expired, "expired and not copied"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if report.quotas > 0 {
        text += &format!(
            ", {}",
            output::counted(report.quotas, "quota set", "quotas set")
        );
    }
    text
}
