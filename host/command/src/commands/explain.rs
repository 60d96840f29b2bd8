//! `explain`.

use std::fmt::Write;

use anyhow::Result;
use console::style;
use mneme::{ExplainedOutcome, Explanation, JudgedEntry, Layer, MissReason, Verdict, Veto};

use super::entries::question;
use crate::args::{Explain, Global};
use crate::json;
use crate::output::{self, Output};
use crate::session::Session;

/// The most that is shown of a question.
const WIDTH: usize = 60;

/// `explain`: 0 for a hit, else 1.
pub fn explain(global: &Global, out: Output, args: &Explain) -> Result<u8> {
    let request = question(&args.question, global.namespace())?;
    let session = Session::existing(global)?;
    let explained = session.cache.explain(request, args.limit)?;
    session.cache.close()?;
    if let Some(error) = &explained.embedder_error {
        out.warn(&error.message);
    }
    if let Some(error) = &explained.verifier_error {
        out.warn(&error.message);
    }
    let explanation = &explained.explanation;
    out.result(
        || json::value(&json::Explanation::from(&explained)),
        || text(explanation),
    )?;
    Ok(match explanation.outcome {
        ExplainedOutcome::Hit(_) => 0,
        ExplainedOutcome::Miss(_) => 1,
    })
}

/// The reason, in a sentence.
pub fn rule(explanation: &Explanation) -> String {
    let (threshold, cut_off) = (explanation.threshold, explanation.cut_off);
    let answering = explanation.candidates.iter();
    let answering = answering.clone().find(|c| c.verdict == Verdict::Answers);
    match explanation.outcome {
        ExplainedOutcome::Hit(Layer::Exact) => {
            "the same question is stored; the exact layer comes first".into()
        }
        ExplainedOutcome::Hit(Layer::Semantic) => match answering {
            Some(entry) => format!(
                "entry {} is the most similar usable one: similarity {:.3} reaches the threshold {threshold}, confidence {:.3} reaches the cut-off {cut_off}",
                entry.id, entry.similarity, entry.confidence
            ),
            None => "a similar entry answers".into(),
        },
        ExplainedOutcome::Miss(MissReason::Bypass) => "the request bypasses the cache".into(),
        ExplainedOutcome::Miss(MissReason::BelowThreshold) => {
            match explanation.candidates.first() {
                Some(nearest) => format!(
                    "the nearest entry, {}, is {:.3} similar; the threshold is {threshold}",
                    nearest.id, nearest.similarity
                ),
                None => format!("no entry reaches the threshold {threshold}"),
            }
        }
        ExplainedOutcome::Miss(MissReason::NoMatch) if explanation.candidates.is_empty() => {
            "the namespace has no entry of this context that could answer".into()
        }
        ExplainedOutcome::Miss(MissReason::NoMatch) => format!(
            "every entry that reaches the threshold {threshold} is expired, lacks a tag, or is refused by the validator"
        ),
        ExplainedOutcome::Miss(MissReason::TooOld) => {
            "the entries that could answer are older than --max-age takes".into()
        }
        ExplainedOutcome::Miss(MissReason::LowConfidence) => format!(
            "the entries that reach the threshold {threshold} are below the confidence cut-off {cut_off}"
        ),
        ExplainedOutcome::Miss(MissReason::Vetoed) => match vetoed(explanation) {
            Some((entry, veto)) => format!(
                "entry {} is {:.3} similar, and its question says something else ({}): {:?} where this one has {:?}",
                entry.id,
                entry.similarity,
                output::words(veto.kind.name()),
                veto.entry,
                veto.query
            ),
            None => format!(
                "the questions of the entries that reach the threshold {threshold} say something else"
            ),
        },
        ExplainedOutcome::Miss(MissReason::Unverified) => {
            "the verifier did not say that the most similar usable entry answers".into()
        }
        ExplainedOutcome::Miss(MissReason::VerifierFailure) => {
            "the verifier failed or took too long, so the most similar usable entry does not answer".into()
        }
        ExplainedOutcome::Miss(MissReason::Unproven) => match explanation.open_from {
            Some(open) => format!(
                "the labels open the error bound from a score of {open:.2} on; the most similar usable entry has {:.3}",
                explanation.score.unwrap_or_default()
            ),
            None => "the labels do not open the error bound for any entry; `mneme stats` with this namespace says why".into(),
        },
        ExplainedOutcome::Miss(MissReason::Explored) => {
            "the most similar usable entry could answer, and is refused this once to get a label".into()
        }
        ExplainedOutcome::Miss(MissReason::Unreadable) => {
            "the question is blank, or the embedder could not read it to its end or does not know its script, and the same question is not stored".into()
        }
        ExplainedOutcome::Miss(MissReason::DimMismatch) => {
            "the embedder's vector has another dimension than the store".into()
        }
        ExplainedOutcome::Miss(MissReason::EmbedderFailure) => {
            "the embedder gave no vector, and the same question is not stored".into()
        }
    }
}

/// The most similar entry with a veto, and its first veto.
fn vetoed(explanation: &Explanation) -> Option<(&JudgedEntry, &Veto)> {
    let mut candidates = explanation.candidates.iter();
    let entry = candidates.find(|entry| entry.verdict == Verdict::Vetoed)?;
    Some((entry, entry.vetoes.first()?))
}

fn text(explanation: &Explanation) -> String {
    let line =
        |name: &str, text: String| format!(" {} {text}\n", style(format!("{name:<10}")).dim());
    let outcome = match explanation.outcome {
        ExplainedOutcome::Hit(layer) => style(format!("{} hit", layer.name())).green(),
        ExplainedOutcome::Miss(reason) => style(format!("miss: {}", reason.name())).yellow(),
    };
    let mut text = line("embedded", format!("{:?}", explanation.normalized.text));
    text += &line("hash", explanation.normalized.hash.clone());
    text += &line(
        "namespace",
        format!(
            "{:?}, {} in the index",
            explanation.namespace,
            output::counted(explanation.rows, "row", "rows")
        ),
    );
    if !explanation.context.is_empty() {
        text += &line("context", format!("{:?}", explanation.context));
    }
    if let Some(said) = explanation.verification {
        text += &line("verifier", said.opinion.name().to_owned());
    }
    if let Some(open) = explanation.open_from {
        text += &line("open from", format!("{open:.2}"));
    }
    text += &line("outcome", outcome.bold().to_string());
    text += &line("because", rule(explanation));
    let entries = explanation.exact.iter().chain(&explanation.candidates);
    if entries.clone().next().is_none() {
        return text;
    }
    let mut table = output::table(&[
        "question",
        "id",
        "similarity",
        "confidence",
        "age",
        "ttl",
        "validator",
        "verdict",
    ]);
    for (place, entry) in entries.enumerate() {
        let is_exact = place == 0 && explanation.exact.is_some();
        let query = entry.query.escape_debug().to_string();
        table.add_row([
            console::truncate_str(&query, WIDTH, "\u{2026}").into_owned(),
            entry.id.to_string(),
            match is_exact {
                true => "exact".into(),
                false => format!("{:.3}", entry.similarity),
            },
            format!("{:.3}", entry.confidence),
            output::age(entry.age_seconds),
            entry.ttl.map_or_else(|| "-".into(), output::age),
            match (is_exact, entry.accepted) {
                (true, _) => "-".into(),
                (false, true) => "accepts".into(),
                (false, false) => "refuses".to_owned(),
            },
            output::words(entry.verdict.name()),
        ]);
    }
    let _ = writeln!(text, "\n{}", table.trim_fmt());
    for entry in &explanation.candidates {
        for veto in &entry.vetoes {
            let _ = writeln!(
                text,
                " entry {}, {}: {:?} here, {:?} there",
                entry.id,
                output::words(veto.kind.name()),
                veto.query,
                veto.entry
            );
        }
        if entry.partial {
            let _ = writeln!(
                text,
                " entry {}: a question is longer than 8 KiB or 2,048 words, and its middle was not compared",
                entry.id
            );
        }
    }
    text
}
