//! `judge`.

use std::fmt::Write;

use anyhow::{Context, Result};
use console::style;
use mneme::Veto;
use mneme::calibration::{self, Judged, Pair};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{Global, Judge};
use crate::embedder_spec::{EmbedderSpec, Texts};
use crate::json;
use crate::json_lines;
use crate::output::{self, Output};
use crate::progress;

/// The most that is shown of a question.
const WIDTH: usize = 48;

/// A line of pairs.
#[derive(Deserialize)]
struct Line {
    #[serde(alias = "entry")]
    a: String,
    #[serde(alias = "query")]
    b: String,
    same: Option<bool>,
}

const SHAPE: &str = "{\"a\": ..., \"b\": ...}, optionally with \"same\": true|false";

/// What is found about a pair.
#[derive(Serialize)]
struct Found {
    line: u64,
    /// Whether the answers are the same, if the line says so.
    same: Option<bool>,
    /// Null if the embedder cannot read one of them.
    similarity: Option<Value>,
    vetoes: Vec<json::Veto>,
    answers: bool,
}

/// All pairs together.
#[derive(Default, Serialize)]
struct Summary {
    #[serde(serialize_with = "json::digits")]
    threshold: f32,
    pairs: u64,
    answered: u64,
    /// Of the pairs with the same answer, and of those answered.
    same: u64,
    same_answered: u64,
    /// Of the pairs with another answer: each of them that is answered is wrong.
    different: u64,
    different_answered: u64,
    /// Pairs that are similar enough, and have a veto.
    vetoed: u64,
    vetoed_same: u64,
    vetoed_different: u64,
    embedder: String,
}

/// What the cache makes of pairs, and the fingerprint of the embedder that the command has chosen.
pub(super) fn judge_pairs(
    command: &'static str,
    global: &Global,
    out: Output,
    pairs: &[Pair],
) -> Result<(Vec<Judged>, String)> {
    let spec = EmbedderSpec::choose(global.embedder.as_deref())?;
    spec.warn_of_cuts(out);
    let embedder = spec.guarded(global.embed_timeout(), Texts::Many)?;
    let bar = progress::bar(out);
    progress::style(&bar, progress::TEXTS);
    let comparison = global.comparing.comparison();
    let judged = calibration::judge(pairs, &embedder, comparison, |done, all| {
        progress::show(&bar, done as u64, all as u64);
    });
    bar.finish_and_clear();
    Ok((judged.context(command)?, embedder.fingerprint().to_owned()))
}

/// `judge`
pub fn judge(global: &Global, out: Output, args: &Judge) -> Result<u8> {
    global.verifying.refuse("judge")?;
    global.bounding.refuse("judge")?;
    let lines = json_lines::read::<Line>("judge", &args.pairs, SHAPE)?;
    let pairs: Vec<Pair> = lines
        .iter()
        .map(|(_, line)| Pair {
            a: line.a.clone(),
            b: line.b.clone(),
            same: line.same.unwrap_or_default(),
        })
        .collect();
    let (judged, embedder) = judge_pairs("judge", global, out, &pairs)?;
    let mut summary = Summary {
        threshold: args.threshold,
        embedder,
        ..Summary::default()
    };
    let mut found = Vec::with_capacity(lines.len());
    for ((number, line), judged) in lines.iter().zip(&judged) {
        summary.count(line.same, judged);
        found.push(Found {
            line: *number,
            same: line.same,
            similarity: judged.similarity.map(output::number),
            vetoes: judged.vetoes.iter().map(Into::into).collect(),
            answers: judged.answers(args.threshold),
        });
    }
    out.result(
        || json::value(&serde_json::json!({ "pairs": found, "summary": summary })),
        || {
            let pairs = lines.iter().zip(&judged);
            let rows = pairs.map(|((number, line), judged)| (*number, line, judged));
            table(rows, args.threshold) + &summary.text()
        },
    )?;
    Ok(0)
}

impl Summary {
    fn count(&mut self, same: Option<bool>, judged: &Judged) {
        let answers = judged.answers(self.threshold);
        let is_vetoed =
            !judged.vetoes.is_empty() && judged.similarity.is_some_and(|of| of >= self.threshold);
        self.pairs += 1;
        self.answered += u64::from(answers);
        self.vetoed += u64::from(is_vetoed);
        match same {
            Some(true) => {
                self.same += 1;
                self.same_answered += u64::from(answers);
                self.vetoed_same += u64::from(is_vetoed);
            }
            Some(false) => {
                self.different += 1;
                self.different_answered += u64::from(answers);
                self.vetoed_different += u64::from(is_vetoed);
            }
            None => {}
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, " {name:<10} {value}");
        };
        line(
            "answered",
            format!(
                "{} of {}",
                self.answered,
                output::counted(self.pairs, "pair", "pairs")
            ),
        );
        if self.same + self.different > 0 {
            line(
                "right",
                format!(
                    "{} of {} with the same answer",
                    self.same_answered, self.same
                ),
            );
            line(
                "wrong",
                format!(
                    "{} of {} with another answer",
                    self.different_answered, self.different
                ),
            );
        }
        let mut vetoed = format!("{} that were similar enough", self.vetoed);
        if self.same + self.different > 0 {
            let _ = write!(
                vetoed,
                ": {} would have been wrong, {} right",
                self.vetoed_different, self.vetoed_same
            );
        }
        line("vetoed", vetoed);
        line("threshold", self.threshold.to_string());
        line("embedder", self.embedder.escape_debug().to_string());
        text
    }
}

/// A row for each pair.
fn table<'a>(rows: impl Iterator<Item = (u64, &'a Line, &'a Judged)>, threshold: f32) -> String {
    let mut table = output::table(&[
        "line",
        "stored",
        "asked",
        "similarity",
        "answers",
        "because",
    ]);
    for (number, line, judged) in rows {
        let shown = |text: &str| {
            let text = text.escape_debug().to_string();
            console::truncate_str(&text, WIDTH, "\u{2026}").into_owned()
        };
        let answers = judged.answers(threshold);
        let is_right = line.same.is_none_or(|same| same == answers);
        let answer = match answers {
            true => style("yes"),
            false => style("no"),
        };
        table.add_row([
            number.to_string(),
            shown(&line.a),
            shown(&line.b),
            judged
                .similarity
                .map_or_else(|| "unreadable".into(), |of| format!("{of:.3}")),
            match is_right {
                true => answer.green().to_string(),
                false => answer.red().to_string(),
            },
            because(judged, threshold),
        ]);
    }
    format!("{}\n\n", table.trim_fmt())
}

fn because(judged: &Judged, threshold: f32) -> String {
    let veto = |veto: &Veto| {
        let kind = output::words(veto.kind.name());
        format!("{kind}: {:?}, {:?}", veto.entry, veto.query)
    };
    match judged.similarity {
        Some(of) if of < threshold => "not similar enough".into(),
        None => "the embedder cannot read one of them".into(),
        Some(_) if judged.vetoes.is_empty() => "nothing against it".into(),
        Some(_) => judged
            .vetoes
            .iter()
            .map(veto)
            .collect::<Vec<_>>()
            .join("; "),
    }
}
