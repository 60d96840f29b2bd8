//! `replay`.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use mneme::Builder;
use mneme::replay::{Outcome, Question, Replay, Rule, Truth};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::args::{self, Global};
use crate::embedder_spec::{EmbedderSpec, Texts};
use crate::json_lines;
use crate::output::{self, Output};
use crate::picture;
use crate::progress;
use crate::target::Target;
use crate::thresholds_plot::{Line, Plot};

/// A line of the log.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    query: String,
    response: Option<String>,
    label: Option<String>,
    namespace: Option<String>,
    time: Option<u64>,
}

const SHAPE: &str = "{\"query\": ...}, optionally with label, response, namespace, time";

/// `replay`
pub fn replay(global: &Global, out: Output, args: &args::Replay) -> Result<u8> {
    global.verifying.refuse("replay")?;
    picture::check_name("replay", args.plot.as_deref())?;
    let target = |path| Target::optional("replay", path, global);
    let (table, plot) = (target(args.csv.as_ref())?, target(args.plot.as_ref())?);
    let rules = rules(global, args)?;
    if plot.is_some() && !rules.iter().any(|rule| matches!(rule, Rule::Threshold(_))) {
        bail!(
            "replay: --plot draws thresholds, and the error bound alone has none; add --thresholds"
        );
    }
    let lines = json_lines::read::<Entry>("replay", &args.log, SHAPE)?;
    let (numbers, log): (Vec<u64>, Vec<Question>) = lines
        .into_iter()
        .map(|(number, entry)| (number, question(entry, global.namespace())))
        .unzip();
    let embedder = EmbedderSpec::choose(global.embedder.as_deref())?
        .guarded(global.embed_timeout(), Texts::Many)?;
    let bar = progress::bar(out);
    progress::style(&bar, progress::TEXTS);
    let normalize = !global.comparing.keep_case;
    let embedded = Replay::with_progress(&log, &embedder, normalize, |done, all| {
        progress::show(&bar, done as u64, all as u64);
    });
    if embedded.is_err() {
        bar.finish_and_clear();
    }
    let replay = embedded.with_context(|| format!("replay: {:?}", args.log))?;
    let replay = replay.options(|builder| options(global.comparing.apply(builder), args));
    progress::style(&bar, progress::THRESHOLDS);
    let mut outcomes = Vec::new();
    for (done, rule) in rules.iter().enumerate() {
        progress::show(&bar, done as u64, rules.len() as u64);
        let outcome = replay.run_by(*rule);
        outcomes.push(outcome.with_context(|| format!("replay: at {}", name(*rule)))?);
    }
    bar.finish_and_clear();
    if let Some(table) = table {
        table.write(csv(&outcomes))?;
    }
    if let Some(plot) = plot {
        plot.write(draw(&outcomes)?)?;
    }
    let found = Found {
        log: &log,
        numbers: &numbers,
        outcomes: &outcomes,
        embedder: embedder.fingerprint(),
        show_wrong: args.show_wrong,
    };
    out.result(|| found.json(), || found.text())?;
    Ok(0)
}

/// The rules to try: the thresholds, and the error bound.
fn rules(global: &Global, args: &args::Replay) -> Result<Vec<Rule>> {
    let bound = global.bounding.bound()?;
    let thresholds = match &args.thresholds[..] {
        // The threshold does not count.
        [] if bound.is_some() => Vec::new(),
        given => thresholds(given)?,
    };
    let thresholds = thresholds.into_iter().map(Rule::Threshold);
    Ok(thresholds.chain(bound.map(Rule::Bound)).collect())
}

/// What a rule is called.
fn name(rule: Rule) -> String {
    match rule {
        Rule::Threshold(threshold) => threshold.to_string(),
        Rule::Bound(bound) => format!("{} of {}", output::percent(bound.delta), bound.of.name()),
    }
}

/// The thresholds to try, ascending and each once.
fn thresholds(given: &[f32]) -> Result<Vec<f32>> {
    if given.is_empty() {
        return Ok((28..=40).map(|n| (n * 25) as f32 / 1000.0).collect());
    }
    if let Some(wrong) = given.iter().find(|value| !(-1.0..=1.0).contains(*value)) {
        bail!("replay: --thresholds: {wrong} is not from -1 to 1");
    }
    let mut sorted = given.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    Ok(sorted)
}

fn question(entry: Entry, namespace: &str) -> Question {
    let question = Question::new(entry.query);
    let namespace = entry.namespace.as_deref().unwrap_or(namespace);
    let mut question = question.namespace(namespace);
    let label = entry.label.map(Truth::Label);
    if let Some(truth) = label.or(entry.response.map(Truth::Response)) {
        question = question.truth(truth);
    }
    match entry.time {
        Some(seconds) => question.time(seconds),
        None => question,
    }
}

fn options(mut builder: Builder, args: &args::Replay) -> Builder {
    if let Some(seconds) = args.ttl {
        builder = builder.default_ttl(seconds);
    }
    if let Some(most) = args.max_entries {
        builder = builder.max_entries(most);
    }
    if let Some(most) = args.max_bytes {
        builder = builder.max_total_bytes(most);
    }
    builder
}

/// What is printed.
struct Found<'a> {
    log: &'a [Question],
    /// The line numbers of the questions.
    numbers: &'a [u64],
    outcomes: &'a [Outcome],
    embedder: &'a str,
    show_wrong: usize,
}

impl Found<'_> {
    fn json(&self) -> Value {
        let outcomes: Vec<Value> = self.outcomes.iter().map(|o| self.outcome(o)).collect();
        json!({
            "questions": self.log.len(),
            "embedder": self.embedder,
            "outcomes": outcomes,
        })
    }

    fn outcome(&self, outcome: &Outcome) -> Value {
        let wrong_hits: Vec<Value> = outcome
            .wrong_hits
            .iter()
            .take(self.show_wrong)
            .map(|hit| {
                json!({
                    "line": self.numbers[hit.question],
                    "query": self.log[hit.question].query(),
                    "answered_as": self.log[hit.answered_as].query(),
                    "similarity": output::number(hit.similarity),
                })
            })
            .collect();
        let (threshold, bound) = match outcome.rule {
            Rule::Threshold(threshold) => (Some(output::number(threshold)), Value::Null),
            Rule::Bound(bound) => (None, json!({"delta": bound.delta, "of": bound.of.name()})),
        };
        json!({
            "threshold": threshold,
            "error_bound": bound,
            "hits": outcome.hits(),
            "exact": outcome.exact,
            "semantic": outcome.semantic,
            "hit_rate": outcome.hit_rate(),
            "saved_calls": outcome.hits(),
            "judged": outcome.judged,
            "wrong": outcome.wrong,
            "wrong_hit_rate": outcome.wrong_hit_rate(),
            "wrong_of_requests": outcome.wrong_of_requests(),
            "vetoed": outcome.vetoed,
            "explored": outcome.explored,
            "wrong_hits": wrong_hits,
        })
    }

    /// Why no hit was judged; empty if one was.
    fn unjudged(&self) -> &'static str {
        let outcomes = self.outcomes;
        if outcomes.iter().any(|outcome| outcome.judged > 0) {
            ""
        } else if outcomes.iter().all(|outcome| outcome.hits() == 0) {
            let bounds = |outcome: &Outcome| matches!(outcome.rule, Rule::Bound(_));
            match outcomes.iter().any(bounds) {
                true if !self.log.iter().any(Question::has_truth) => {
                    " no hit to judge: the error bound opens by labels, and the log has no label or response\n"
                }
                true => " no hit to judge: the labels do not open the error bound\n",
                false => {
                    " no hit to judge: no question was answered from the cache; try lower thresholds\n"
                }
            }
        } else if !self.log.iter().any(Question::has_truth) {
            " no hit could be judged: the log has no label or response to compare\n"
        } else {
            " no hit could be judged: where a question hit, it or the stored one has no label or response\n"
        }
    }

    fn text(&self) -> String {
        let mut table = output::table(&[
            "threshold",
            "hit rate",
            "saved calls",
            "exact",
            "semantic",
            "judged",
            "wrong",
            "of answers",
            "of requests",
            "vetoed",
            "explored",
        ]);
        for outcome in self.outcomes {
            let share = |wrong: Option<f64>| wrong.map_or_else(|| "-".into(), output::percent);
            table.add_row([
                name(outcome.rule),
                output::percent(outcome.hit_rate()),
                outcome.hits().to_string(),
                outcome.exact.to_string(),
                outcome.semantic.to_string(),
                outcome.judged.to_string(),
                outcome.wrong.to_string(),
                share(outcome.wrong_hit_rate()),
                share(outcome.wrong_of_requests()),
                outcome.vetoed.to_string(),
                outcome.explored.to_string(),
            ]);
        }
        let mut text = format!(
            "{}\n\n {} by {}\n",
            table.trim_fmt(),
            output::counted(
                self.log.len() as u64,
                "question, embedded",
                "questions, embedded"
            ),
            self.embedder.escape_debug()
        );
        text += self.unjudged();
        for outcome in self.outcomes {
            for hit in outcome.wrong_hits.iter().take(self.show_wrong) {
                let _ = writeln!(
                    text,
                    " at {}, line {}: {:?} got the answer to {:?} ({:.3})",
                    name(outcome.rule),
                    self.numbers[hit.question],
                    self.log[hit.question].query(),
                    self.log[hit.answered_as].query(),
                    hit.similarity
                );
            }
        }
        text
    }
}

fn csv(outcomes: &[Outcome]) -> String {
    let mut text =
        "threshold,error_bound,questions,hits,exact,semantic,hit_rate,judged,wrong,wrong_hit_rate,wrong_of_requests,vetoed,explored\n".to_owned();
    for outcome in outcomes {
        let share = |wrong: Option<f64>| wrong.map_or_else(String::new, |wrong| wrong.to_string());
        let (threshold, bound) = match outcome.rule {
            Rule::Threshold(threshold) => (threshold.to_string(), String::new()),
            Rule::Bound(bound) => (
                String::new(),
                format!("{} of {}", bound.delta, bound.of.name()),
            ),
        };
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{},{},{},{},{},{},{}",
            threshold,
            bound,
            outcome.questions,
            outcome.hits(),
            outcome.exact,
            outcome.semantic,
            outcome.hit_rate(),
            outcome.judged,
            outcome.wrong,
            share(outcome.wrong_hit_rate()),
            share(outcome.wrong_of_requests()),
            outcome.vetoed,
            outcome.explored,
        );
    }
    text
}

fn draw(outcomes: &[Outcome]) -> Result<String> {
    let line = |name: &str, value: fn(&Outcome) -> Option<f64>| Line {
        name: name.to_owned(),
        points: outcomes
            .iter()
            .filter_map(|outcome| match outcome.rule {
                Rule::Threshold(threshold) => Some((f64::from(threshold), value(outcome)?)),
                Rule::Bound(_) => None,
            })
            .collect(),
    };
    Plot {
        title: "What a cache would have done with the log",
        lines: vec![
            line("wrong-hit rate", Outcome::wrong_hit_rate),
            line("hit rate", |outcome| Some(outcome.hit_rate())),
        ],
        mark: None,
    }
    .draw("replay")
}
