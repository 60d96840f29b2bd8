//! What `demo` prints.

use std::time::Duration;

use anyhow::Result;
use console::{Style, StyledObject, style, truncate_str};
use mneme::embedder::Embedder;
use mneme::{JudgedEntry, Layer, Lookup};
use serde_json::{Value, json};

use crate::json;
use crate::output::{self, Output};
use crate::session::Session;
use crate::store_url::StoreUrl;

use super::questions::{Kind, Question};

/// The least similarity of a hit here. See [`THRESHOLD_WHY`].
pub const THRESHOLD: f32 = 0.8;

/// The reason for [`THRESHOLD`]: shares of 4,000 labelled pairs of questions from
/// Quora, embedded by the bundled encoder.
pub const THRESHOLD_WHY: &str =
    ": of 4,000 pairs of questions that people asked on Quora, the encoder
puts 75 % of the paraphrases and 22 % of the look-alikes above it
(0.85, the default: 56 % and 14 %; 0.9: 37 % and 7 %)";

/// Where questions begin.
const INDENT: usize = 43;
/// The most that is shown of an answer.
const WIDTH: usize = 60;

/// What filling the cache took.
pub struct Filled {
    pub entries: usize,
    pub embedding: Duration,
    pub cache: Duration,
}

/// What became of a question.
pub struct Asked {
    pub question: &'static Question,
    pub lookup: Lookup,
    /// The stored question next to a missed one.
    pub nearest: Option<JudgedEntry>,
    /// None where nothing was embedded.
    pub embedding: Option<Duration>,
    pub cache: Duration,
}

impl Asked {
    /// Whether the answer, or that there was none, is what a person would want.
    pub fn is_right(&self) -> bool {
        match (&self.lookup, self.question.answer) {
            (Lookup::Hit(hit), Some(answer)) => hit.query == answer,
            (Lookup::Miss(_), None) => true,
            _ => false,
        }
    }
}

/// The heading. `kept` is the namespace whose entries outlive the demo.
pub fn begin(out: Output, session: &Session, store: &StoreUrl, kept: Option<&str>) -> Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let line =
        |name: &str, text: String| format!("  {} {text}\n", style(format!("{name:<10}")).dim());
    let kept = match kept {
        Some(namespace) => format!("kept, in namespace {namespace:?}"),
        None => "removed at the end".into(),
    };
    let encoder = session
        .embedder
        .fingerprint()
        .split(';')
        .next()
        .unwrap_or_default();
    let mut text = format!(
        "{}\n\n",
        style("A semantic cache in one WebAssembly component").bold()
    );
    text += &line("component", output::bytes(mneme::component().len() as u64));
    text += &line("store", format!("{store} ({kept})"));
    text += &line(
        "encoder",
        format!("{encoder}, {} dimensions", session.embedder.dim()),
    );
    let why = match encoder.contains("minilm-l3") {
        true => THRESHOLD_WHY.replace('\n', "\n             "),
        false => ", chosen for another encoder".into(),
    };
    text += &line("threshold", format!("{THRESHOLD}{why}"));
    print(out, text)
}

/// How long filling took.
pub fn filled(out: Output, filled: &Filled) -> Result<()> {
    let text = format!(
        "  {} {} answers of a support desk; {} to embed them, {} to store them\n",
        style("filled    ").dim(),
        filled.entries,
        time(filled.embedding),
        time(filled.cache)
    );
    print(out, text)
}

/// The heading of a new kind of questions.
pub fn heading(out: Output, last: Option<&Asked>, next: &Question) -> Result<()> {
    if last.is_some_and(|last| last.question.kind == next.kind) {
        return Ok(());
    }
    let columns = match last {
        None => style(format!("{:>22}{:>10}{:>9}\n", "similar", "embed", "cache"))
            .dim()
            .to_string(),
        Some(_) => String::new(),
    };
    print(
        out,
        format!("\n{columns}{}\n", style(next.kind.title()).bold()),
    )
}

/// A question and its outcome.
pub fn asked(out: Output, asked: &Asked) -> Result<()> {
    let right = asked.is_right();
    let (verdict, colour, similarity) = match &asked.lookup {
        Lookup::Hit(hit) => (
            format!("HIT {}", hit.layer.name()),
            if right {
                Style::new().green()
            } else {
                Style::new().red()
            },
            style(format!("{:.3}", hit.similarity)),
        ),
        Lookup::Miss(_) => (
            "miss".to_owned(),
            if right {
                Style::new().cyan()
            } else {
                Style::new().yellow()
            },
            style(
                asked
                    .nearest
                    .as_ref()
                    .map_or_else(String::new, |near| format!("{:.3}", near.similarity)),
            )
            .dim(),
        ),
    };
    let verdict = colour.apply_to(format!("{verdict:<12}"));
    let embedding = asked.embedding.map_or_else(String::new, time);
    let mut text = format!(
        "  {verdict}{similarity:>8}{embedding:>10}{:>9}  {}\n",
        time(asked.cache),
        style(asked.question.text).bold(),
    );
    let mut below = |line: StyledObject<String>| text += &format!("{:INDENT$}{line}\n", "");
    match &asked.lookup {
        Lookup::Hit(hit) if !right => {
            below(style(format!("= {}", hit.query)).dim());
            below(style("wrong: that is another question".to_owned()).red());
        }
        Lookup::Hit(hit) => {
            if hit.query != asked.question.text {
                below(style(format!("= {}", hit.query)).dim());
            }
            if asked.question.kind == Kind::Reworded {
                below(style(truncate_str(&hit.response, WIDTH, "...").into_owned()).green());
            }
        }
        Lookup::Miss(miss) => {
            if let Some(error) = &miss.embedder_error {
                below(style(error.message.clone()).yellow());
            }
            if let Some(nearest) = &asked.nearest {
                let line = format!("nearest: {}", nearest.query);
                below(match asked.question.answer {
                    Some(answer) if answer == nearest.query => {
                        let why = match nearest.similarity < THRESHOLD {
                            true => "below the threshold",
                            false => "vetoed",
                        };
                        style(format!("{line} (right, but {why})")).yellow()
                    }
                    Some(answer) => style(format!("{line} (not {answer})")).yellow(),
                    None => style(line).dim(),
                });
                if nearest.similarity >= THRESHOLD
                    && let Some(veto) = nearest.vetoes.first()
                {
                    below(
                        style(format!(
                            "vetoed: {:?} there, {:?} here ({})",
                            veto.entry,
                            veto.query,
                            output::words(veto.kind.name())
                        ))
                        .cyan(),
                    );
                }
            }
        }
    }
    print(out, text)
}

/// Counts over all questions.
struct Totals {
    exact: usize,
    semantic: usize,
    misses: usize,
    wrong: usize,
    missed: usize,
}

impl Totals {
    fn of(asked: &[Asked]) -> Self {
        let count =
            |test: &dyn Fn(&Asked) -> bool| asked.iter().filter(|asked| test(asked)).count();
        let layer = |asked: &Asked| match &asked.lookup {
            Lookup::Hit(hit) => Some(hit.layer),
            Lookup::Miss(_) => None,
        };
        Self {
            exact: count(&|asked| layer(asked) == Some(Layer::Exact)),
            semantic: count(&|asked| layer(asked) == Some(Layer::Semantic)),
            misses: count(&|asked| layer(asked).is_none()),
            wrong: count(&|asked| layer(asked).is_some() && !asked.is_right()),
            missed: count(&|asked| layer(asked).is_none() && !asked.is_right()),
        }
    }

    fn hits(&self) -> usize {
        self.exact + self.semantic
    }
}

/// The totals; everything under --json.
pub fn end(out: Output, session: &Session, filled: &Filled, asked: &[Asked]) -> Result<()> {
    let totals = Totals::of(asked);
    let caches = |embedded: bool| {
        let times = asked
            .iter()
            .filter(|asked| asked.embedding.is_some() == embedded);
        median(times.map(|asked| asked.cache).collect())
    };
    let embedding = median(asked.iter().filter_map(|asked| asked.embedding).collect());
    if out.is_json() {
        let value = json!({
            "threshold": output::number(THRESHOLD),
            "embedder_fingerprint": session.embedder.fingerprint(),
            "filled": {
                "entries": filled.entries,
                "embed_us": micros(filled.embedding),
                "cache_us": micros(filled.cache),
            },
            "questions": asked.iter().map(question_json).collect::<Vec<_>>(),
            "totals": {
                "asked": asked.len(),
                "hits_exact": totals.exact,
                "hits_semantic": totals.semantic,
                "misses": totals.misses,
                "wrong_hits": totals.wrong,
                "missed_hits": totals.missed,
            },
        });
        out.result(|| value, String::new)?;
        return Ok(());
    }
    let share = 100.0 * totals.hits() as f64 / asked.len().max(1) as f64;
    let text = format!(
        "\n{}\n  {} asked: {} exact and {} semantic hits, {} misses. {} of {} calls to a model saved ({share:.0} %).\n  {}\n  median time: {} for an exact hit; {} to embed a question, then {} to search.\n\n  Your turn:  mneme put \"a question\" \"its answer\"  and  mneme get \"the question in other words\"\n",
        style("Totals").bold(),
        asked.len(),
        totals.exact,
        totals.semantic,
        totals.misses,
        totals.hits(),
        asked.len(),
        verdict(&totals),
        time(caches(false)),
        time(embedding),
        time(caches(true)),
    );
    print(out, text)
}

fn verdict(totals: &Totals) -> String {
    let missed = match totals.missed {
        0 => String::new(),
        count => format!(
            " {} in the cache went unfound.",
            output::counted(count as u64, "answer", "answers")
        ),
    };
    match totals.wrong {
        0 => format!("No hit was wrong.{missed}"),
        count => format!(
            "{} wrong: one word can turn a question around and move its embedding little.{missed}",
            output::counted(count as u64, "hit was", "hits were")
        ),
    }
}

fn question_json(asked: &Asked) -> Value {
    let mut value = match &asked.lookup {
        Lookup::Hit(hit) => json::value(&json::Hit::from(hit)),
        Lookup::Miss(miss) => json::value(&json::Miss::from(miss.reason)),
    };
    value["question"] = json!(asked.question.text);
    value["kind"] = json!(asked.question.kind.name());
    value["right"] = json!(asked.is_right());
    if let Some(nearest) = &asked.nearest {
        let vetoes = nearest.vetoes.iter().map(json::Veto::from);
        value["nearest"] = json!({
            "query": nearest.query,
            "similarity": output::number(nearest.similarity),
            "vetoes": vetoes.collect::<Vec<_>>(),
        });
    }
    value["embed_us"] = json!(asked.embedding.map(micros));
    value["cache_us"] = json!(micros(asked.cache));
    value
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let half = times.len() / 2;
    match times.len() {
        0 => Duration::ZERO,
        count if count % 2 == 0 => (times[half - 1] + times[half]) / 2,
        _ => times[half],
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

fn time(time: Duration) -> String {
    output::duration(time.as_secs_f64())
}

fn print(out: Output, text: String) -> Result<()> {
    if !out.is_json() {
        out.result(|| Value::Null, || text)?;
    }
    Ok(())
}
